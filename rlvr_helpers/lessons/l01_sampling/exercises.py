"""Exercises of lesson 01: sampling."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rlvr_helpers.exercises.core import Case, Exercise, named


def some_logits(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- pick_tokens


def pick_tokens(logits, noise, temperature):
    """One token per row, and its log-prob: two tensors [B]."""
    logp = F.log_softmax(logits / temperature, dim=-1)
    tokens = (logp.exp().cumsum(dim=-1) <= noise[:, None]).sum(dim=-1)
    tokens = tokens.clamp(max=logits.shape[1] - 1)  # a rounded sum can end below the noise
    return tokens, logp.gather(1, tokens[:, None]).squeeze(1)


def pick_cases() -> list[Case]:
    # Spread over the line from 0 to 1, so that rows pick early and late tokens.
    noise = torch.tensor([0.02, 0.27, 0.47, 0.71, 0.96])
    four = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(5, 4)
    first_impossible = torch.tensor([[-torch.inf, 1.0, 0.0], [0.0, -torch.inf, 1.0]])
    return [
        Case("four tokens, five noise values", (four, noise, 1.0)),
        Case("temperature 0.5", (some_logits(5, 12, seed=1), noise, 0.5)),
        Case("temperature 2", (some_logits(5, 12, seed=2), noise, 2.0)),
        Case("noise 0 and a token with probability 0", (first_impossible, torch.zeros(2), 1.0)),
        # The largest float32 below 1. In some of the 40 rows the rounded sum ends below it.
        Case(
            "noise just below 1", (some_logits(40, 12, seed=2), torch.full((40,), 1 - 2**-24), 1.0)
        ),
    ]


def scored(tokens: Tensor, logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Tokens with their log-probs."""
    tokens = tokens.clamp(min=0, max=logits.shape[1] - 1)
    return tokens, F.log_softmax(logits / temperature, dim=-1).gather(1, tokens[:, None]).squeeze(1)


def past_the_last(logits: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens without the clamp. Raises RuntimeError if a sum ends below the noise."""
    logp = F.log_softmax(logits, dim=-1)
    tokens = (logp.exp().cumsum(dim=-1) <= noise[:, None]).sum(dim=-1)
    return tokens, logp.gather(1, tokens[:, None]).squeeze(1)


PICK_MISTAKES = {
    # The temperature.
    "temperature forgotten": (
        lambda logits, noise, temperature: pick_tokens(logits, noise, 1.0),
        "you do not use the temperature. Divide the logits by it before the softmax.",
    ),
    "multiplied by the temperature": (
        lambda logits, noise, temperature: pick_tokens(logits, noise, 1 / temperature),
        (
            "you multiply the logits by the temperature. Divide by it: below 1 it makes the best"
            " token likelier."
        ),
    ),
    "log-probs at temperature 1": (
        lambda logits, noise, temperature: scored(
            pick_tokens(logits, noise, temperature)[0], logits, 1.0
        ),
        (
            "your tokens are right, but their log-probs are at temperature 1. Use the distribution"
            " sampled from."
        ),
    ),
    # Which token the noise picks.
    "own random numbers": (
        lambda logits, noise, temperature: scored(
            torch.multinomial(F.softmax(logits / temperature, dim=-1), 1).squeeze(1),
            logits,
            temperature,
        ),
        (
            "you draw random numbers of your own, as torch.multinomial does. Use the randomness in"
            " `noise`."
        ),
    ),
    "one token early": (
        lambda logits, noise, temperature: scored(
            pick_tokens(logits, noise, temperature)[0] - 1, logits, temperature
        ),
        (
            "your tokens stand one place too early. The cumulative probability includes the token's"
            " own."
        ),
    ),
    "reaching is not passing": (
        lambda logits, noise, temperature: scored(
            (F.softmax(logits / temperature, dim=-1).cumsum(dim=-1) < noise[:, None]).sum(dim=-1),
            logits,
            temperature,
        ),
        (
            "you take the first token whose cumulative probability is at least the noise. With"
            " noise 0 that is token 0 even if its probability is 0. It must be above the noise:"
            " count cumulative <= noise."
        ),
    ),
    "a token past the last": (
        lambda logits, noise, temperature: past_the_last(logits / temperature, noise),
        (
            "your token can be V, which is no token. A rounded sum can end just below the noise:"
            " then take the last token, as .clamp(max=V - 1) does."
        ),
    ),
    "token 0 above all sums": (
        lambda logits, noise, temperature: scored(
            (F.softmax(logits / temperature, dim=-1).cumsum(dim=-1) > noise[:, None])
            .long()
            .argmax(dim=-1),
            logits,
            temperature,
        ),
        (
            "where no sum is above the noise, argmax gives token 0. A rounded sum can end just"
            " below the noise: then take the last token."
        ),
    ),
    "cumulated over the rows": (
        lambda logits, noise, temperature: scored(
            (F.softmax(logits / temperature, dim=-1).cumsum(dim=0) <= noise[:, None]).sum(dim=-1),
            logits,
            temperature,
        ),
        (
            "you add up over the rows (dim=0), which are different completions. Add up along a row:"
            " cumsum(dim=-1)."
        ),
    ),
    "places in sorted order": (
        lambda logits, noise, temperature: pick_tokens(
            logits.sort(dim=-1, descending=True).values, noise, temperature
        ),
        (
            "you return places in the sorted order. A token id is its place in the vocabulary: do"
            " not sort."
        ),
    ),
    "the best token": (
        lambda logits, noise, temperature: scored(logits.argmax(dim=-1), logits, temperature),
        (
            "you always take the likeliest token, whatever the noise. That is greedy decoding, not"
            " sampling."
        ),
    ),
    # The form of the result, and noise for each row.
    "probabilities": (
        lambda logits, noise, temperature: [
            f(x)
            for f, x in zip(
                (Tensor.clone, Tensor.exp), pick_tokens(logits, noise, temperature), strict=True
            )
        ],
        "your tokens are right, but you return their probabilities. Return the logarithms.",
    ),
    "one noise for all rows": (
        lambda logits, noise, temperature: pick_tokens(
            logits, noise[:1].expand(len(noise)), temperature
        ),
        (
            "all your rows use the first noise value. Each row has its own: compare with noise[:,"
            " None]."
        ),
    ),
    "noise across the tokens": (
        lambda logits, noise, temperature: scored(
            (F.softmax(logits, dim=-1).cumsum(dim=-1) <= noise).sum(dim=-1), logits, temperature
        ),
        (
            "your noise is [B] and the sums are [B, V], so the two do not fit. Compare row by row:"
            " noise[:, None]."
        ),
    ),
    "all log-probs": (
        lambda logits, noise, t: (
            pick_tokens(logits, noise, t)[0],
            (logits / t).log_softmax(dim=-1),
        ),
        (
            "your tokens are right, but you return the log-probs of the whole vocabulary. Pick each"
            " row's own with gather."
        ),
    ),
    "one column": (
        lambda logits, noise, temperature: [
            x[:, None] for x in pick_tokens(logits, noise, temperature)
        ],
        "your values are right, as columns [B, 1]. Take the last dimension away with .squeeze(1).",
    ),
}

# --- mask_after_end

# Token ids. A policy can sample the pad token like any other.
PAD, END, OTHER_END = 0, 1, 8


def mask_after_end(completion_ids, end_ids):
    """1 up to and including the first end token of each row, 0 after it: integers [B, T]."""
    is_end = torch.isin(completion_ids, torch.tensor(end_ids)).long()
    return (is_end.cumsum(dim=1) - is_end == 0).long()


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


def ends(ids: Tensor, end_ids: tuple[int, ...]) -> Tensor:
    return torch.isin(ids, torch.tensor(end_ids)).long()


MASK_MISTAKES = {
    # Which token ends a row, and whether it counts.
    "without the end token": (
        lambda ids, end_ids: (ends(ids, end_ids).cumsum(dim=1) == 0).long(),
        (
            "your mask stops before the end token. Choosing to stop is trained as well: the first"
            " end token gets a 1."
        ),
    ),
    "guessed from the pad token": (
        lambda ids, end_ids: (ids != PAD).long(),
        (
            "you look for the pad token, which can be sampled like any other. Look for the first"
            " end token."
        ),
    ),
    "up to the second end": (
        lambda ids, end_ids: (ends(ids, end_ids).cumsum(dim=1) <= 1).long(),
        (
            "your mask goes on to the second end token: up to there the count of end tokens is 1."
            " Count only those before a place, without its own: is_end.cumsum(dim=1) -"
            " is_end.long() == 0."
        ),
    ),
    "one kind of end token": (
        lambda ids, end_ids: mask_after_end(ids, end_ids[:1]),
        (
            "you look only for the first of end_ids. Every one of them ends a completion:"
            " torch.isin takes them all."
        ),
    ),
    # Rows: their direction, and those without an end token.
    "counted over the rows": (
        lambda ids, end_ids: (ends(ids, end_ids).cumsum(dim=0) - ends(ids, end_ids) == 0).long(),
        (
            "you count end tokens down the columns (dim=0), over different completions. Count along"
            " a row: dim=1."
        ),
    ),
    "rows without an end left out": (
        lambda ids, end_ids: (
            mask_after_end(ids, end_ids) * ends(ids, end_ids).any(dim=1, keepdim=True)
        ),
        (
            "a row without an end token becomes all 0. The budget cut it off, and all its tokens"
            " were sampled: all 1."
        ),
    ),
    "a row without an end": (
        lambda ids, end_ids: (
            torch.arange(ids.shape[1]) <= ends(ids, end_ids).argmax(dim=1)[:, None]
        ).long(),
        (
            "argmax gives 0 for a row without an end token. All tokens of such a row were sampled:"
            " all 1."
        ),
    ),
    # The form of the result.
    "0 and 1 exchanged": (
        lambda ids, end_ids: 1 - mask_after_end(ids, end_ids),
        "your mask is turned round: 1 is for what was sampled, 0 for what stands after the end.",
    ),
    "booleans": (
        lambda ids, end_ids: mask_after_end(ids, end_ids).bool(),
        "your mask holds True and False in the right places. Make it integers with .long().",
    ),
    "floats": (
        lambda ids, end_ids: mask_after_end(ids, end_ids).float(),
        "your mask holds the right numbers as floats. Make it integers with .long().",
    ),
}

# --- logprobs_from_logits

# Three completions of 4, 2 and 3 tokens. The ids behind them are padding.
IDS = torch.tensor([[3, 1, 4, 1], [5, 2, 0, 0], [6, 5, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


def logprobs_from_logits(logits, completion_ids, completion_mask, temperature=1.0):
    """Log-prob of each completion token in nats, [B, T], float32. 0 where the mask is 0."""
    logp = F.log_softmax(logits[:, :-1].float() / temperature, dim=-1)
    of_tokens = logp.gather(-1, completion_ids[..., None]).squeeze(-1)
    return torch.where(completion_mask.bool(), of_tokens, 0.0)


def logprob_cases() -> list[Case]:
    logits = some_logits(3, 5, 7, seed=3)
    coarse = some_logits(3, 5, 7, seed=4).bfloat16()
    return [
        Case("temperature 1", (logits, IDS, MASK, 1.0)),
        Case("temperature 0.6", (logits, IDS, MASK, 0.6)),
        Case("logits in bfloat16", (coarse, IDS, MASK, 1.0)),
        Case("the same at temperature 0.6", (coarse, IDS, MASK, 0.6)),
        Case("one token, one row", (some_logits(1, 2, 7, seed=5), IDS[:1, :1], MASK[:1, :1], 1.0)),
        # The softmax underflows here, and log 0 is -inf.
        Case("tokens of probability below 1e-40", (100 * logits, IDS, MASK, 1.0)),
    ]


def gathered(scores: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """The tokens' own scores, out of [B, T, V], times the mask."""
    return scores.gather(-1, ids[..., None]).squeeze(-1) * mask


LOGPROB_MISTAKES = {
    # The position and the temperature.
    "not shifted": (
        lambda logits, ids, mask, temperature: logprobs_from_logits(
            logits.roll(-1, 1), ids, mask, temperature
        ),
        (
            "you score each token by the logits at its own place, which predict the one after it."
            " Token t is predicted by logits[:, t], since they start at the last prompt token: drop"
            " the last position, not the first."
        ),
    ),
    "temperature forgotten": (
        lambda logits, ids, mask, temperature: logprobs_from_logits(logits, ids, mask, 1.0),
        (
            "you do not use the temperature. Divide the logits by the temperature that the tokens"
            " were sampled at."
        ),
    ),
    "multiplied by the temperature": (
        lambda logits, ids, mask, temperature: logprobs_from_logits(
            logits, ids, mask, 1 / temperature
        ),
        "you multiply the logits by the temperature. Divide by it.",
    ),
    "log-probs divided by the temperature": (
        lambda logits, ids, mask, temperature: (
            logprobs_from_logits(logits, ids, mask, 1.0) / temperature
        ),
        "you divide the log-probs by the temperature. Divide the logits, before the softmax.",
    ),
    # What is returned.
    "padding kept": (
        lambda logits, ids, mask, temperature: logprobs_from_logits(
            logits, ids, torch.ones_like(mask), temperature
        ),
        "you give padding a log-prob. Where the mask is 0, so is the result.",
    ),
    "probabilities": (
        lambda logits, ids, mask, temperature: (
            logprobs_from_logits(logits, ids, mask, temperature).exp() * mask
        ),
        "you return probabilities. Take log_softmax rather than softmax.",
    ),
    "log of softmax": (
        lambda logits, ids, mask, temperature: gathered(
            F.softmax(logits[:, :-1].float() / temperature, dim=-1).log(), ids, mask
        ),
        (
            "you take the log of the softmax, and a tiny probability becomes 0, its log -inf. Use"
            " log_softmax."
        ),
    ),
    "the other sign": (
        lambda logits, ids, mask, temperature: (
            -logprobs_from_logits(logits, ids, mask, temperature)
        ),
        (
            "your sign is turned round: F.cross_entropy gives minus the log-prob. A log-prob is"
            " never above 0."
        ),
    ),
    "softmax over positions": (
        lambda logits, ids, mask, temperature: gathered(
            F.log_softmax(logits[:, :-1].float() / temperature, dim=1), ids, mask
        ),
        (
            "your softmax runs over positions. At each position the V tokens compete: the last"
            " dimension."
        ),
    ),
    "raw logits": (
        lambda logits, ids, mask, temperature: gathered(
            logits[:, :-1].float() / temperature, ids, mask
        ),
        (
            "you return the tokens' logits. Subtract the logarithm of the sum of exponentials,"
            " which log_softmax does."
        ),
    ),
    "added up over the row": (
        lambda logits, ids, mask, temperature: logprobs_from_logits(
            logits, ids, mask, temperature
        ).sum(dim=1),
        "you add up each row. One log-prob for each token is asked for, [B, T].",
    ),
    # Precision and gradient: the values are nearly or fully right.
    "low precision": (
        lambda logits, ids, mask, temperature: gathered(
            F.log_softmax(logits[:, :-1] / temperature, dim=-1), ids, mask
        ).float(),
        (
            "your log_softmax runs in bfloat16, which rounds too coarsely. Make the logits float32:"
            " logits.float()."
        ),
    ),
    "divided in bfloat16": (
        lambda logits, ids, mask, temperature: logprobs_from_logits(
            logits / temperature, ids, mask, 1.0
        ),
        (
            "you divide by the temperature in bfloat16, which rounds too coarsely. Make the logits"
            " float32 first: logits.float() / temperature."
        ),
    ),
    "cut off from the model": (
        lambda logits, ids, mask, temperature: logprobs_from_logits(
            logits.detach(), ids, mask, temperature
        ),
        "your values are right, but their gradient is lost. Leave out .detach() and no_grad().",
    ),
}

EXERCISES = [
    Exercise(
        name="pick_tokens",
        lesson="01",
        minutes=8,
        difficulty=2,
        reference=pick_tokens,
        cases=pick_cases,
        mistakes=named(PICK_MISTAKES),
        hints=[
            (
                "Turn the logits into probabilities first, then add them up from left to right."
                " Which function does that?"
            ),
            (
                "`logp = torch.log_softmax(logits / temperature, dim=-1)` and `cumulative ="
                " logp.exp().cumsum(dim=-1)`. How many entries of a row are not above its noise?"
                " That count is the token."
            ),
            (
                "`tokens = (cumulative <= noise[:, None]).sum(dim=-1)`, and `logp.gather(1,"
                " tokens[:, None]).squeeze(1)`. A rounded sum can end just below the noise, so add"
                " `.clamp(max=logits.shape[1] - 1)` to the tokens."
            ),
        ],
        returns=("tokens", "log-probs"),
        tolerance=1e-5,
    ),
    Exercise(
        name="mask_after_end",
        lesson="01",
        minutes=5,
        difficulty=1,
        reference=mask_after_end,
        cases=mask_cases,
        mistakes=named(MASK_MISTAKES),
        hints=[
            "Mark the end tokens. For each place, how many of them stand before it?",
            (
                "`is_end = torch.isin(completion_ids, torch.tensor(end_ids))`;"
                " `is_end.cumsum(dim=1)` counts the end tokens up to and including each place."
            ),
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
        mistakes=named(LOGPROB_MISTAKES),
        hints=[
            (
                "There is one position more than there are tokens. Which of the T + 1 predicts no"
                " token of the completion?"
            ),
            (
                "`logits[:, :-1].float() / temperature`, then `log_softmax` over the vocabulary:"
                " [B, T, V]."
            ),
            (
                "`logp.gather(-1, completion_ids[..., None]).squeeze(-1) * completion_mask` picks"
                " the tokens' own."
            ),
        ],
        tolerance=1e-5,
        gradient_of=0,
    ),
]
