"""Exercises of lesson 01: sampling."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rlvr_helpers.exercises.core import Case, Exercise, Mistake
from rlvr_helpers.packing import score_logits
from rlvr_helpers.sampling import logprobs_from_logits, mask_after_end, masked_scores, pick_tokens


def some_logits(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- pick_tokens --------------------------------------------------------------------------------------------------


def pick_cases() -> list[Case]:
    noise = torch.tensor([0.02, 0.27, 0.47, 0.71, 0.96])
    four = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(5, 4)
    first_impossible = torch.tensor([[-torch.inf, 1.0, 0.0], [0.0, -torch.inf, 1.0]])
    return [
        Case("four tokens, five noise values", (four, noise, 1.0)),
        Case("temperature 0.5", (some_logits(5, 12, seed=1), noise, 0.5)),
        Case("temperature 2", (some_logits(5, 12, seed=2), noise, 2.0)),
        Case("noise 0 and a token with probability 0", (first_impossible, torch.zeros(2), 1.0)),
    ]


def pick(logits, noise, temperature, picked=None, said=None) -> tuple[Tensor, Tensor]:
    """pick_tokens in parts that can be exchanged, to make the mistakes: `picked` [R, V] are the probabilities that choose,
    `said` [R, V] the log-probs that are returned."""
    logp = F.log_softmax(logits / temperature, dim=-1)
    picked, said = logp.exp() if picked is None else picked, logp if said is None else said
    tokens = (picked.cumsum(dim=-1) <= noise[:, None]).sum(dim=-1, keepdim=True).clamp(max=logits.shape[1] - 1)
    return tokens.squeeze(1), said.gather(1, tokens).squeeze(1)


def pick_one_early(logits, noise, temperature):
    tokens = (pick(logits, noise, temperature)[0] - 1).clamp(min=0)
    return tokens, F.log_softmax(logits / temperature, dim=-1).gather(1, tokens[:, None]).squeeze(1)


def pick_reaching(logits, noise, temperature):
    """The first token at which the cumulative probability is at least the noise."""
    logp = F.log_softmax(logits / temperature, dim=-1)
    tokens = (logp.exp().cumsum(dim=-1) < noise[:, None]).sum(dim=-1)
    return tokens, logp.gather(1, tokens[:, None]).squeeze(1)


def pick_sorted(logits, noise, temperature):
    logp, order = F.log_softmax(logits / temperature, dim=-1).sort(dim=-1, descending=True)
    places = (logp.exp().cumsum(dim=-1) <= noise[:, None]).sum(dim=-1, keepdim=True).clamp(max=logits.shape[1] - 1)
    return places.squeeze(1), logp.gather(1, places).squeeze(1)


def pick_best(logits, noise, temperature):
    logp, tokens = F.log_softmax(logits / temperature, dim=-1).max(dim=-1)
    return tokens, logp


def pick_with_probabilities(logits, noise, temperature):
    tokens, logp = pick(logits, noise, temperature)
    return tokens, logp.exp()


PICK_MISTAKES = [
    Mistake(
        "temperature forgotten",
        lambda logits, noise, temperature: pick(logits, noise, 1.0),
        "you do not use the temperature. Divide the logits by it before the softmax.",
    ),
    Mistake(
        "multiplied by the temperature",
        lambda logits, noise, temperature: pick(logits, noise, 1 / temperature),
        "you multiply the logits by the temperature. Divide by it: a temperature below 1 makes the best token likelier.",
    ),
    Mistake(
        "log-probs at temperature 1",
        lambda logits, noise, temperature: pick(logits, noise, temperature, said=F.log_softmax(logits.float(), dim=-1)),
        "your tokens are right, but their log-probs are those at temperature 1. Return the log-probs of the "
        "distribution that you sample from.",
    ),
    Mistake(
        "one token early",
        pick_one_early,
        "your tokens stand one place too early. The token is the first whose cumulative probability, its own "
        "probability included, is above the noise.",
    ),
    Mistake(
        "reaching is not passing",
        pick_reaching,
        "you take the first token whose cumulative probability is at least the noise. With noise 0 that is token 0 even "
        "where its probability is 0. It must be above the noise: count cumulative <= noise, or searchsorted(..., right=True).",
    ),
    Mistake(
        "places in sorted order",
        pick_sorted,
        "you sort the probabilities and return places in the sorted order. A token id is its place in the vocabulary: "
        "do not sort, or translate back.",
    ),
    Mistake(
        "the best token",
        pick_best,
        "you always take the likeliest token, whatever the noise. That is greedy decoding, not sampling.",
    ),
    Mistake(
        "probabilities",
        pick_with_probabilities,
        "your tokens are right, but you return their probabilities. Return the logarithms.",
    ),
    Mistake(
        "cumulated logits",
        lambda logits, noise, temperature: pick(logits, noise, temperature, picked=logits / temperature),
        "you cumulate logits. Logits are no probabilities: take the softmax first.",
    ),
    Mistake(
        "one noise for all rows",
        lambda logits, noise, temperature: pick(logits, noise[:1].expand(len(noise)), temperature),
        "all your rows use the first noise value. Each row has its own: compare with noise[:, None].",
    ),
]

# --- mask_after_end -----------------------------------------------------------------------------------------------

PAD, END, OTHER_END = 0, 1, 8


def mask_cases() -> list[Case]:
    ragged = torch.tensor([[5, 6, END, PAD, PAD], [5, 6, 7, 9, END], [END, PAD, PAD, PAD, PAD]])
    cut_off = torch.tensor([[5, 6, 7, 9, 6], [5, 6, 7, END, PAD]])
    after = torch.tensor([[5, END, 6, 7, END], [5, 6, END, END, 7]])
    said_pad = torch.tensor([[5, PAD, 6, END, PAD], [5, 6, PAD, 7, 6]])
    two = torch.tensor([[5, OTHER_END, 6, END, PAD], [5, 6, END, PAD, PAD]])
    return [
        Case("three lengths", (ragged, (END,))),
        Case("a row that the budget cut off", (cut_off, (END,))),
        Case("tokens after the end", (after, (END,))),
        Case("a pad token that was sampled", (said_pad, (END,))),
        Case("two kinds of end token", (two, (END, OTHER_END))),
    ]


def is_end(ids, end_ids) -> Tensor:
    return torch.isin(ids, torch.tensor(end_ids))


def until_last_end(ids, end_ids) -> Tensor:
    ends = is_end(ids, end_ids).long()
    after = ends.flip(1).cumsum(dim=1).flip(1) > 0
    return torch.where(ends.any(dim=1, keepdim=True), after, True).long()


def only_rows_that_end(ids, end_ids) -> Tensor:
    return mask_after_end(ids, end_ids) * is_end(ids, end_ids).any(dim=1, keepdim=True)


MASK_MISTAKES = [
    Mistake(
        "without the end token",
        lambda ids, end_ids: (is_end(ids, end_ids).cumsum(dim=1) == 0).long(),
        "your mask stops before the end token. The model chose to stop, and that choice is trained as well: the first end "
        "token gets a 1.",
    ),
    Mistake(
        "guessed from the pad token",
        lambda ids, end_ids: (ids != PAD).long(),
        "you look for the pad token. It can be sampled like any other, and what stands after the end need not be padding: "
        "look for the first end token instead.",
    ),
    Mistake(
        "everything but end tokens",
        lambda ids, end_ids: (~is_end(ids, end_ids)).long(),
        "you only leave out the end tokens themselves. All that follows the first of them gets a 0, and it gets a 1.",
    ),
    Mistake(
        "up to the last end",
        until_last_end,
        "your mask goes on to the last end token of a row. The first one ends the completion.",
    ),
    Mistake(
        "one kind of end token",
        lambda ids, end_ids: mask_after_end(ids, end_ids[:1]),
        "you look for the first of end_ids alone. Every one of them ends a completion: torch.isin takes them all.",
    ),
    Mistake(
        "rows without an end left out",
        only_rows_that_end,
        "a row without an end token becomes all 0. The budget cut it off, and all its tokens were sampled: all 1.",
    ),
    Mistake(
        "booleans",
        lambda ids, end_ids: mask_after_end(ids, end_ids).bool(),
        "your mask holds True and False in the right places. Make it numbers with .long(): the next lessons add it up.",
    ),
]

# --- logprobs_from_logits -----------------------------------------------------------------------------------------

IDS = torch.tensor([[3, 1, 4, 1], [5, 2, 0, 0], [6, 5, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


def logprob_cases() -> list[Case]:
    logits = some_logits(3, 5, 7, seed=3)
    return [
        Case("temperature 1", (logits, IDS, MASK, 1.0)),
        Case("temperature 0.6", (logits, IDS, MASK, 0.6)),
        Case("logits in bfloat16", (some_logits(3, 5, 7, seed=4).bfloat16(), IDS, MASK, 1.0)),
        Case("one token, one row", (some_logits(1, 2, 7, seed=5), IDS[:1, :1], MASK[:1, :1], 1.0)),
    ]


def logprobs(logits, ids, mask, temperature, first=0, dim=-1, precise=True) -> Tensor:
    """logprobs_from_logits in parts that can be exchanged, to make the mistakes."""
    logits = logits[:, first : first + ids.shape[1]]
    logp = F.log_softmax((logits.float() if precise else logits) / temperature, dim=dim)
    return logp.gather(-1, ids[..., None]).squeeze(-1) * mask


LOGPROB_MISTAKES = [
    Mistake(
        "not shifted",
        lambda logits, ids, mask, temperature: logprobs(logits, ids, mask, temperature, first=1),
        "you score each token by the logits at its own place, which predict the one after it. Token t is predicted by "
        "logits[:, t], since they start at the last prompt token: drop the last position, not the first.",
    ),
    Mistake(
        "temperature forgotten",
        lambda logits, ids, mask, temperature: logprobs(logits, ids, mask, 1.0),
        "you do not use the temperature. Divide the logits by the temperature that the tokens were sampled at.",
    ),
    Mistake(
        "multiplied by the temperature",
        lambda logits, ids, mask, temperature: logprobs(logits, ids, mask, 1 / temperature),
        "you multiply the logits by the temperature. Divide by it.",
    ),
    Mistake(
        "log-probs divided by the temperature",
        lambda logits, ids, mask, temperature: logprobs(logits, ids, mask, 1.0) / temperature,
        "you divide the log-probs by the temperature. Divide the logits, before the softmax, or the probabilities no "
        "longer add up to 1.",
    ),
    Mistake(
        "padding kept",
        lambda logits, ids, mask, temperature: logprobs(logits, ids, torch.ones_like(mask), temperature),
        "you give padding a log-prob. Where the mask is 0, so is the result.",
    ),
    Mistake(
        "probabilities",
        lambda logits, ids, mask, temperature: logprobs(logits, ids, mask, temperature).exp() * mask,
        "you return probabilities. Take log_softmax rather than softmax.",
    ),
    Mistake(
        "softmax over positions",
        lambda logits, ids, mask, temperature: logprobs(logits, ids, mask, temperature, dim=1),
        "your softmax runs over positions. At each position the V tokens compete: the last dimension.",
    ),
    Mistake(
        "raw logits",
        lambda logits, ids, mask, temperature: (
            (logits[:, :-1].float() / temperature).gather(-1, ids[..., None]).squeeze(-1) * mask
        ),
        "you return the tokens' logits. Subtract the logarithm of the sum of exponentials, which log_softmax does.",
    ),
    Mistake(
        "the best token's",
        lambda logits, ids, mask, temperature: (
            F.log_softmax(logits[:, :-1].float() / temperature, dim=-1).amax(dim=-1) * mask
        ),
        "you return the log-prob of the likeliest token. Pick that of the token in completion_ids, with gather.",
    ),
    Mistake(
        "low precision",
        lambda logits, ids, mask, temperature: logprobs(logits, ids, mask, temperature, precise=False).float(),
        "your log_softmax runs in bfloat16 where the logits do, which is off by more than a clip range of lesson 06. "
        "Make the logits float32 first: logits.float().",
    ),
    Mistake(
        "cut off from the model",
        lambda logits, ids, mask, temperature: logprobs(logits.detach(), ids, mask, temperature),
        "your values are right, but their gradient is lost. Leave out .detach() and no_grad(): from lesson 04 on you "
        "train through this function.",
    ),
]

EXERCISES = [
    Exercise(
        name="pick_tokens",
        lesson="01",
        minutes=8,
        difficulty=2,
        reference=pick_tokens,
        cases=pick_cases,
        mistakes=PICK_MISTAKES,
        hints=[
            "Turn the logits into probabilities first, then add them up from left to right. Which function does that?",
            "`logp = torch.log_softmax(logits / temperature, dim=-1)` and `cumulative = logp.exp().cumsum(dim=-1)`. How "
            "many entries of a row are not above its noise? That count is the token.",
            "`tokens = (cumulative <= noise[:, None]).sum(dim=-1)`, and `logp.gather(1, tokens[:, None]).squeeze(1)`.",
        ],
        tolerance=1e-5,
    ),
    Exercise(
        name="mask_after_end",
        lesson="01",
        minutes=5,
        difficulty=1,
        reference=mask_after_end,
        cases=mask_cases,
        mistakes=MASK_MISTAKES,
        hints=[
            "Mark the end tokens. For each place, how many of them stand before it?",
            "`is_end = torch.isin(completion_ids, torch.tensor(end_ids))`; `is_end.cumsum(dim=1)` counts the end tokens up "
            "to and including each place.",
            "Subtract the place's own: `(is_end.cumsum(dim=1) - is_end.long() == 0).long()`.",
        ],
    ),
    Exercise(
        name="logprobs_from_logits",
        lesson="01",
        minutes=8,
        difficulty=2,
        reference=logprobs_from_logits,
        cases=logprob_cases,
        mistakes=LOGPROB_MISTAKES,
        hints=[
            "There is one position more than there are tokens. Which of the T + 1 predicts no token of the completion?",
            "`logits[:, :-1].float() / temperature`, then `log_softmax` over the vocabulary: [B, T, V].",
            "`logp.gather(-1, completion_ids[..., None]).squeeze(-1) * completion_mask` picks the tokens' own.",
        ],
        helpers=(masked_scores, score_logits),
        tolerance=1e-5,
        gradient_of=0,
    ),
]
