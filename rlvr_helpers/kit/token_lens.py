"""The token lens: completions as text, each token tinted by what the next update does to it.

token_lens(four_rollouts())                    the four rollouts, before and after training
token_lens(recorded_group())                   a group over 16 updates, under each method
token_lens(rollout, rewards, policy)           any rollout: as sampled, and under the policy now
token_lens(rollout, rewards, policy, logprobs=[...])         the same over your own updates
what_else(four_rollouts(), policy)             probability and alternatives only (lesson 01)

`lens.token`, `.update`, `.method`, `.rewards`, `.shows` are what the page shows. Set them and the
page follows.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import traitlets
from torch import Tensor

from rlvr_helpers.kit.recorded import FourRollouts, RecordedGroup
from rlvr_helpers.kit.token_still import still_of
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO, Method
from rlvr_helpers.models import Policy
from rlvr_helpers.sampling import Rollout
from rlvr_helpers.widgets.live import Finite, LiveExplorer, refuse, value
from rlvr_helpers.widgets.words import TOKEN_LENS

# Log-probs (in nats) and probabilities travel as whole numbers of these, which are short as text.
UNIT = 1e-5
PROBABILITY = 1e-5
# Pieces of the number line that a token is shown with, its own included.
SHOWN = 8
# A method's CSS variable and dashes, as in every figure.
COLOURS = {"GRPO": ("--grpo", ""), "Dr. GRPO": ("--dr-grpo", "6 2"), "GSPO": ("--gspo", "2 2")}

Recorded = Rollout | RecordedGroup | FourRollouts


class TokenLens(LiveExplorer):
    """The lens. Its traits are what a reader changes in the page.

    token:   [completion, position] of the chosen one, from 0
    update:  how many updates have been made
    method:  a method's name, or "all"
    rewards: one for each completion
    shows:   "push", or "change" (what the update did)
    A value that does not fit the rollout raises a TraitError that names what fits.
    """

    script = Path(__file__).with_name("token_lens.js")
    parts = tuple(map(script.with_name, ["token_push.js", "token_chain.js", "what_else.js"]))
    token = value(traitlets.List(traitlets.Int(min=0), [0, 0], minlen=2, maxlen=2))
    update = value(traitlets.Int(0, min=0))
    method = value(traitlets.Unicode("GRPO"))
    rewards = value(traitlets.List(Finite()))
    shows = value(traitlets.Enum(["push", "change"], "push"))

    @traitlets.validate("token")
    def _token_exists(self, proposal: dict) -> list[int]:
        row, place = proposal["value"]
        lengths = [len(tokens) for tokens in self.data["rows"]]
        if row >= len(lengths) or place >= lengths[row]:
            wanted = f"[completion, place] in {len(lengths)} completions of {lengths} tokens"
            refuse("token", wanted, proposal["value"])
        return proposal["value"]

    @traitlets.validate("update")
    def _update_exists(self, proposal: dict) -> int:
        last = len(next(iter(self.data["logprobs"].values()))) - 1
        if proposal["value"] > last:
            refuse("update", f"a number from 0 to {last}", proposal["value"])
        return proposal["value"]

    @traitlets.validate("method")
    def _method_exists(self, proposal: dict) -> str:
        names = [*(method["name"] for method in self.data["methods"]), "all"]
        if proposal["value"] not in names:
            refuse("method", f"one of {names}", proposal["value"])
        return proposal["value"]

    @traitlets.validate("rewards")
    def _one_reward_each(self, proposal: dict) -> list[float]:
        count = len(self.data["rows"])
        if len(proposal["value"]) != count:
            refuse("rewards", f"{count} numbers, one for each completion", proposal["value"])
        return proposal["value"]


def token_lens(
    rollout: Recorded,
    rewards: Tensor | Sequence[float] | None = None,
    policy: Policy | None = None,
    *,
    logprobs: Sequence[Tensor] | Mapping[str, Sequence[Tensor]] | None = None,
    group: int = 0,
    methods: Sequence[Method] = (GRPO, DR_GRPO, GSPO),
    max_tokens: int | None = None,
    question: str = "",
    answer: str = "",
) -> TokenLens:
    """The lens over one group of a rollout.

    rewards:    [B] or [P, G], by default those of a recorded rollout
    policy:     gives the words of a `Rollout`'s tokens and, without `logprobs`, their log-probs now
    logprobs:   [B, T] tensors, the first as sampled, then after each update, or such a list for
                each method's name
    group:      which group of the rollout, from 0
    max_tokens: the budget of "Dr. GRPO", by default the width of the rollout
    Raises ValueError on rewards or log-probs that do not fit, and on a `Rollout` without rewards
    or policy.
    """
    # The rows of the group, their rewards, and log-probs at each moment.
    rows = _rows_of(rollout, group)
    mask = rollout.mask[rows].cpu()
    rewards = _rewards(rollout, rewards)[rows]
    by_method = _by_method(rollout, logprobs, policy)
    # What the page needs, as JSON.
    data = {
        **_text(rollout, rows, policy, question=question, answer=answer),
        "rewards": rewards,
        "methods": [_method(method) for method in methods],
        "max_tokens": max_tokens or getattr(rollout, "max_tokens", rollout.mask.shape[1]),
        "unit": UNIT,
        "logprobs": {
            name: _coded([step[rows] for step in steps], mask) for name, steps in by_method.items()
        },
    }
    # The four rollouts have names, and moments that are no single updates.
    if isinstance(rollout, FourRollouts):
        data["moments"] = list(rollout.logprobs)
        data["names"] = [f"{row + 1}" for row in range(len(mask))]
    moments = by_method.get(methods[0].name, by_method.get("*"))
    return _lens(data, methods[0], [moment[rows] for moment in moments], mask=mask)


def _lens(data: dict, method: Method, moments: Sequence[Tensor], mask: Tensor) -> TokenLens:
    """The lens as it opens, after half of the updates that were recorded."""
    # With few moments it opens before the first update.
    update = len(moments) // 2 if len(moments) > 3 else 0
    still = still_of(data, method, moments[update], old=moments[0], mask=mask)
    return TokenLens(
        data,
        TOKEN_LENS,
        still,
        rewards=data["rewards"],
        update=update,
        method=method.name,
        token=_undecided(data, moments[0]),
    )


def _rows_of(rollout: Recorded, group: int) -> slice:
    """The rows of a group. Raises ValueError on a group that the rollout does not have."""
    size = getattr(rollout, "group_size", len(rollout.mask))
    groups = len(rollout.mask) // size
    if not 0 <= group < groups:
        raise ValueError(
            f"there is no group {group}: the rollout holds {groups} groups, from 0: choose one"
        )
    return slice(group * size, (group + 1) * size)


def what_else(
    rollout: Recorded,
    policy: Policy,
    *,
    noise: Tensor | None = None,
    group: int = 0,
    question: str = "",
    answer: str = "",
) -> TokenLens:
    """The lens in its simplest form: how likely each token was, what else could have been said, and
    the noise that chose.

    noise: [B, T], the uniform numbers that chose the tokens, by default those of a recorded
        rollout. Without them the lens shows the piece of the line in which each must have fallen.
    """
    rows = _rows_of(rollout, group)
    mask = rollout.mask[rows].cpu()
    keep = mask.bool()
    # How likely each token was, and what else could have been said.
    probabilities = _distributions(rollout, rows, policy)[keep]
    taken = rollout.completion_ids[rows].cpu()[keep]
    own = probabilities.gather(1, taken[:, None]).squeeze(1).log()
    logprobs = torch.zeros(mask.shape, dtype=own.dtype).masked_scatter(keep, own)
    words, alternatives = _alternatives(probabilities, taken, policy)
    # What the page needs, as JSON.
    rewards = getattr(rollout, "rewards", torch.zeros(len(rollout.mask)))[rows]
    data = {
        **_text(rollout, rows, policy, question=question, answer=answer),
        "rewards": [float(reward) for reward in rewards],
        "methods": [_method(GRPO)],
        "max_tokens": rollout.mask.shape[1],
        "unit": UNIT,
        "logprobs": {"*": _coded([logprobs], mask)},
        "probability_unit": PROBABILITY,
        "vocabulary": words,
        "alternatives": alternatives,
    }
    # The noise that chose, where it is known.
    noise = noise if noise is not None else getattr(rollout, "noise", None)
    if noise is not None:
        data["noise"] = [round(x, 6) for x in noise[rows].cpu()[keep].tolist()]
    still = still_of(data, None, logprobs, old=logprobs, mask=mask)
    # Begin with the least likely token of all.
    least = (-logprobs.masked_fill(~keep, 0)).flatten().argmax().item()
    token = [least // mask.shape[1], least % mask.shape[1]]
    return TokenLens(data, TOKEN_LENS, still, rewards=data["rewards"], token=token)


def _text(
    rollout: Recorded, rows: slice, policy: Policy | None, question: str, answer: str
) -> dict:
    """Question, answer, and the words of every token of the group."""
    tokens = getattr(rollout, "tokens", None)
    if tokens is None and policy is None:
        raise ValueError(
            "give the policy as third argument: its tokenizer turns the rollout's token ids into"
            " words"
        )
    # The words: recorded, or decoded token by token.
    if tokens is None:
        ids = rollout.completion_ids[rows].tolist()
        lengths = rollout.lengths[rows].tolist()
        tokens = [[_word(policy, i) for i in row[:n]] for row, n in zip(ids, lengths, strict=True)]
    else:
        tokens = tokens[rows]
    # The question: given, recorded, or the whole prompt.
    if not question:
        prompt = rollout.prompt_ids[rows][0][rollout.prompt_mask[rows][0].bool()]
        question = getattr(rollout, "question", "") or policy.tokenizer.decode(
            prompt, skip_special_tokens=True
        )
    answer = answer or getattr(rollout, "answer", "?")
    return {"question": question, "answer": answer, "rows": tokens}


def _word(policy: Policy, token: int) -> str:
    """A token as text. A line break and an empty token become visible."""
    return policy.tokenizer.decode([token]).replace("\n", "↵") or "␣"


def _rewards(rollout: Recorded, rewards: Tensor | Sequence[float] | None) -> list[float]:
    """One number for each row of the rollout."""
    if rewards is None:
        rewards = getattr(rollout, "rewards", None)
    if rewards is None:
        raise ValueError(
            "give the rewards of the rollout as second argument, one for each completion"
        )
    rewards = torch.as_tensor(rewards, dtype=torch.float64).flatten().tolist()
    if len(rewards) != len(rollout.mask) or not all(map(math.isfinite, rewards)):
        raise ValueError(
            f"rewards must be {len(rollout.mask)} finite numbers, one for each completion, not"
            f" {rewards}"
        )
    return rewards


def _by_method(
    rollout: Recorded,
    logprobs: Sequence[Tensor] | Mapping[str, Sequence[Tensor]] | None,
    policy: Policy | None,
) -> dict[str, list[Tensor]]:
    """Log-probs [B, T] at each moment, by a method's name or, where all share them, under "*"."""
    # Those that were recorded, else as sampled and as the policy is now.
    if logprobs is None and isinstance(rollout, RecordedGroup):
        logprobs = {name: list(steps) for name, steps in rollout.logprobs.items()}
    if logprobs is None and isinstance(rollout, FourRollouts):
        logprobs = list(rollout.logprobs.values())
    if logprobs is None:
        logprobs = [rollout.logprobs, _score(rollout, policy)] if policy else [rollout.logprobs]
    by_method = dict(logprobs) if isinstance(logprobs, Mapping) else {"*": list(logprobs)}
    # Log-probs of another rollout would be drawn under the wrong tokens.
    for steps in by_method.values():
        for step in steps:
            if step.shape != rollout.mask.shape:
                raise ValueError(
                    f"log-probs must be {list(rollout.mask.shape)} like the mask, not"
                    f" {list(step.shape)}"
                )
    return by_method


@torch.no_grad()
def _score(rollout: Rollout, policy: Policy) -> Tensor:
    """Log-probs of the rollout's tokens under the policy as it is now, [B, T]."""
    return rollout.logprobs_under(policy.model)


def _coded(steps: Sequence[Tensor], mask: Tensor) -> list[list[list[int]]]:
    """Whole numbers of UNIT, a list for each completion: the first step in full, then
    differences."""
    whole = torch.stack([(step.detach().cpu().double() / UNIT).round().long() for step in steps])
    coded = torch.cat([whole[:1], whole.diff(dim=0)])
    return [
        [row[:n].tolist() for row, n in zip(step, mask.sum(dim=1).tolist(), strict=True)]
        for step in coded
    ]


def _method(method: Method) -> dict:
    """What the page needs of a method."""
    colour, dash = COLOURS.get(method.name, ("--line", "8 2 2 2"))
    # JSON has no infinity: a range without an end is a very large one.
    limits = {"clip_low": min(method.clip_low, 1e9), "clip_high": min(method.clip_high, 1e9)}
    choices = ("name", "advantage_scale", "ratio_level", "aggregation")
    chosen = {name: getattr(method, name) for name in choices}
    return {**chosen, **limits, "colour": colour, "dash": dash}


@torch.no_grad()
def _distributions(rollout: Recorded, rows: slice, policy: Policy) -> Tensor:
    """The next-token distribution at every position of the completions, [G, T, V]."""
    # Prompts and completions in one rectangle. Padding takes no position.
    prompt = rollout.prompt_ids[rows]
    prompt_mask = rollout.prompt_mask[rows]
    mask = torch.cat([prompt_mask, rollout.mask[rows]], dim=1)
    ids = torch.cat([prompt, rollout.completion_ids[rows]], dim=1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    logits = policy.model(
        **{name: x.to(policy.device) for name, x in given.items()}, use_cache=False
    ).logits
    # The logits before the first completion token up to those before the last.
    return logits[:, prompt.shape[1] - 1 : -1].double().softmax(dim=-1).cpu()


def _alternatives(
    probabilities: Tensor, taken: Tensor, policy: Policy
) -> tuple[list[str], list[list[list[int]]]]:
    """For each token the likeliest others and itself: [word, start, length] of their pieces of the
    number line."""
    # A piece starts where those of all words before it in the vocabulary end.
    starts = probabilities.cumsum(dim=1) - probabilities
    words: dict[int, int] = {}
    found = []
    for p, start, own in zip(probabilities, starts, taken.tolist(), strict=True):
        likely = [i for i in p.topk(SHOWN).indices.tolist() if p[i] >= 0.001 and i != own]
        pieces = sorted([own, *likely[: SHOWN - 1]])
        index = [words.setdefault(i, len(words)) for i in pieces]
        whole = [[round(x[i].item() / PROBABILITY) for i in pieces] for x in (start, p)]
        found.append([list(piece) for piece in zip(index, *whole, strict=True)])
    return [_word(policy, i) for i in words], found


def _undecided(data: dict, logprobs: Tensor) -> list[int]:
    """The token to begin with: the least likely one of the first completion whose reward is above
    the mean."""
    mean = sum(data["rewards"]) / len(data["rewards"])
    row = next((row for row, reward in enumerate(data["rewards"]) if reward > mean), 0)
    return [row, int(logprobs[row, : len(data["rows"][row])].argmin())]
