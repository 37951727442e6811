"""The token lens: completions as text, each token tinted by what the next update does to it, and
its whole calculation.

    token_lens(four_rollouts())                                 the four rollouts, before and after
    training token_lens(recorded_group())                                a group over 16 updates,
    under each method token_lens(rollout, rewards, policy)                        any rollout: as it
    was sampled, and under the policy now token_lens(rollout, rewards, policy, logprobs=[...])
     the same over your own updates what_else(four_rollouts(), policy)
     probability and alternatives only (lesson 01)

`lens.token`, `.update`, `.method`, `.rewards`, `.shows` are what the page shows; set them and the
page follows.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import torch
import traitlets
from torch import Tensor

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.clipping import clip_binds
from rlvr_helpers.engine.packing import can_pack
from rlvr_helpers.kit.recorded import FourRollouts, RecordedGroup
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO, Method
from rlvr_helpers.models import Policy
from rlvr_helpers.ratios import masked_log_ratios
from rlvr_helpers.sampling import Rollout
from rlvr_helpers.scoring import token_logprobs
from rlvr_helpers.widgets.live import LiveExplorer, Still, value
from rlvr_helpers.widgets.words import TOKEN_LENS

UNIT = 1e-5  # nats: log-probs travel as whole numbers
PROBABILITY = 1e-5
SHOWN = 8  # alternatives of a token
COLOURS = {"GRPO": ("--grpo", ""), "Dr. GRPO": ("--dr-grpo", "6 2"), "GSPO": ("--gspo", "2 2")}
UP = "#0072B2"
DOWN = "#D55E00"
INK = "#767676"


class TokenLens(LiveExplorer):
    """token: [completion, place] of the chosen one, from 0; update: how many updates have been
    made; method: a name or "all"; rewards: one for each completion; shows: "push", or "change"
    (what the update did)."""

    script = Path(__file__).with_name("token_lens.js")
    parts = (script.with_name("token_chain.js"), script.with_name("what_else.js"))
    token = value(traitlets.List([0, 0]))
    update = value(traitlets.Int(0))
    method = value(traitlets.Unicode("GRPO"))
    rewards = value(traitlets.List())
    shows = value(traitlets.Unicode("push"))


def token_lens(
    rollout: Rollout | RecordedGroup | FourRollouts,
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

    rewards:    [B] or [P, G]; a recorded rollout brings its own
    policy:     gives the words of a `Rollout`'s tokens and, without `logprobs`, their log-probs as
                it is now
    logprobs:   [B, T] tensors, the first as sampled, then after each update; or such a list for
                each method's name
    group:      which group of the rollout, from 0
    max_tokens: the budget, for the method "Dr. GRPO"; the width of the rollout if it is not given
    Raises ValueError on rewards or log-probs that do not fit, and on a `Rollout` without rewards
    and policy.
    """
    size = getattr(rollout, "group_size", len(rollout.mask))
    rows = slice(group * size, (group + 1) * size)
    mask = rollout.mask[rows].cpu()
    if not len(mask):
        raise ValueError(
            f"there is no group {group}: the rollout holds {len(rollout.mask) // size} groups"
        )
    rewards = _rewards(rollout, rewards)[rows]
    by_method = _by_method(rollout, logprobs, policy)
    data = {
        **_text(rollout, rows, policy, question, answer),
        "rewards": rewards,
        "methods": [_method(method) for method in methods],
        "max_tokens": max_tokens or getattr(rollout, "max_tokens", rollout.mask.shape[1]),
        "unit": UNIT,
        "logprobs": {
            name: _coded([step[rows] for step in steps], mask) for name, steps in by_method.items()
        },
    }
    if isinstance(rollout, FourRollouts):
        data["moments"] = list(rollout.logprobs)
        data["names"] = [f"{row + 1}" for row in range(size)]
    first = methods[0]
    steps = len(next(iter(by_method.values())))
    update = steps // 2 if steps > 3 else 0
    moments = by_method.get(first.name, by_method.get("*"))
    still = _still(
        data, first, moments[update][rows], old=moments[0][rows], mask=mask, words=TOKEN_LENS
    )
    return TokenLens(
        data,
        TOKEN_LENS,
        still,
        rewards=rewards,
        update=update,
        method=first.name,
        token=_undecided(data, moments[0][rows]),
    )


def what_else(
    rollout: Rollout | RecordedGroup | FourRollouts,
    policy: Policy,
    *,
    noise: Tensor | None = None,
    group: int = 0,
    question: str = "",
    answer: str = "",
) -> TokenLens:
    """The lens in its simplest form: how likely each token was, what else could have been said, and
    the noise that chose.

    noise: [B, T], the uniform numbers that chose the tokens; a recorded rollout brings its own.
    Without them the lens shows the piece of the line in which each must have fallen.
    """
    size = getattr(rollout, "group_size", len(rollout.mask))
    rows = slice(group * size, (group + 1) * size)
    mask = rollout.mask[rows].cpu()
    probabilities = _distributions(rollout, rows, policy)[mask.bool()]
    taken = rollout.completion_ids[rows].cpu()[mask.bool()]
    own = probabilities.gather(1, taken[:, None]).squeeze(1).log()
    steps = torch.zeros(mask.shape, dtype=own.dtype).masked_scatter(mask.bool(), own)
    noise = noise if noise is not None else getattr(rollout, "noise", None)
    words, alternatives = _alternatives(probabilities, taken, policy)
    data = {
        **_text(rollout, rows, policy, question, answer),
        "rewards": [
            float(r) for r in getattr(rollout, "rewards", torch.zeros(len(rollout.mask)))[rows]
        ],
        "methods": [_method(GRPO)],
        "max_tokens": rollout.mask.shape[1],
        "unit": UNIT,
        "logprobs": {"*": _coded([steps], mask)},
        "probability_unit": PROBABILITY,
        "vocabulary": words,
        "alternatives": alternatives,
    }
    if noise is not None:
        data["noise"] = [round(x, 6) for x in noise[rows].cpu()[mask.bool()].tolist()]
    rewards = data["rewards"]
    still = _still(data, None, steps, old=steps, mask=mask, words=TOKEN_LENS)
    least = (-steps.masked_fill(~mask.bool(), 0)).flatten().argmax().item()
    token = [least // mask.shape[1], least % mask.shape[1]]
    return TokenLens(data, TOKEN_LENS, still, rewards=rewards, token=token)


def _text(rollout, rows: slice, policy: Policy | None, question: str, answer: str) -> dict:
    """Question, answer, and the words of every token of the group."""
    tokens = getattr(rollout, "tokens", None)
    if tokens is None and policy is None:
        raise ValueError(
            "give the policy as third argument: its tokenizer turns the rollout's token ids into"
            " words"
        )
    if tokens is None:
        ids = rollout.completion_ids[rows].tolist()
        lengths = rollout.lengths[rows].tolist()
        tokens = [[_word(policy, i) for i in row[:n]] for row, n in zip(ids, lengths, strict=True)]
    else:
        tokens = tokens[rows]
    if not question:
        prompt = rollout.prompt_ids[rows][0][rollout.prompt_mask[rows][0].bool()]
        question = getattr(rollout, "question", "") or policy.tokenizer.decode(
            prompt, skip_special_tokens=True
        )
    return {
        "question": question,
        "answer": answer or getattr(rollout, "answer", "?"),
        "rows": tokens,
    }


def _word(policy: Policy, token: int) -> str:
    return policy.tokenizer.decode([token]).replace("\n", "↵") or "␣"


def _rewards(rollout, rewards) -> list[float]:
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


def _by_method(rollout, logprobs, policy: Policy | None) -> dict[str, list[Tensor]]:
    """Log-probs [B, T] at each moment, by a method's name or, where all share them, under "*"."""
    if logprobs is None and isinstance(rollout, RecordedGroup):
        logprobs = {name: list(steps) for name, steps in rollout.logprobs.items()}
    if logprobs is None and isinstance(rollout, FourRollouts):
        logprobs = list(rollout.logprobs.values())
    if logprobs is None:
        logprobs = [rollout.logprobs, _score(rollout, policy)] if policy else [rollout.logprobs]
    by_method = dict(logprobs) if isinstance(logprobs, Mapping) else {"*": list(logprobs)}
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
    ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    return token_logprobs(
        policy.model, *ids, group_size=rollout.group_size if can_pack(policy.model) else 1
    )


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
    """What the page needs of a method. JSON has no infinity: a range without an end is a very large
    one."""
    colour, dash = COLOURS.get(method.name, ("--line", "8 2 2 2"))
    limits = {"clip_low": min(method.clip_low, 1e9), "clip_high": min(method.clip_high, 1e9)}
    choices = ("name", "advantage_scale", "ratio_level", "aggregation")
    return {
        **{name: getattr(method, name) for name in choices},
        **limits,
        "colour": colour,
        "dash": dash,
    }


@torch.no_grad()
def _distributions(rollout, rows: slice, policy: Policy) -> Tensor:
    """The next-token distribution at every place of the completions, [G, T, V]."""
    prompt = rollout.prompt_ids[rows]
    prompt_mask = rollout.prompt_mask[rows]
    mask = torch.cat([prompt_mask, rollout.mask[rows]], dim=1)
    ids = torch.cat([prompt, rollout.completion_ids[rows]], dim=1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    logits = policy.model(
        **{name: x.to(policy.device) for name, x in given.items()}, use_cache=False
    ).logits
    return logits[:, prompt.shape[1] - 1 : -1].double().softmax(dim=-1).cpu()


def _alternatives(
    probabilities: Tensor, taken: Tensor, policy: Policy
) -> tuple[list[str], list[list[list[int]]]]:
    """For each token the likeliest others and itself: [word, start, length] of their pieces of the
    number line."""
    starts = probabilities.cumsum(dim=1) - probabilities
    words: dict[int, int] = {}
    found = []
    for p, start, own in zip(probabilities, starts, taken.tolist(), strict=True):
        likely = [i for i in p.topk(SHOWN).indices.tolist() if p[i] >= 0.001 and i != own]
        pieces = sorted([own, *likely[: SHOWN - 1]])
        place = [words.setdefault(i, len(words)) for i in pieces]
        whole = [[round(x[i].item() / PROBABILITY) for i in pieces] for x in (start, p)]
        found.append([list(piece) for piece in zip(place, *whole, strict=True)])
    return [_word(policy, i) for i in words], found


def _undecided(data: dict, logprobs: Tensor) -> list[int]:
    """The token to begin with: the least likely one of the first completion with a reward above the
    mean."""
    mean = sum(data["rewards"]) / len(data["rewards"])
    row = next((row for row, reward in enumerate(data["rewards"]) if reward > mean), 0)
    return [row, int(logprobs[row, : len(data["rows"][row])].argmin())]


# ---------------------------------------------------------------- the still picture


def _still(
    data: dict, method: Method | None, now: Tensor, old: Tensor, mask: Tensor, words: dict
) -> Still:
    """The text with its tints as an SVG in which every letter has the same width."""
    push = _pushes(data, method, now, old=old, mask=mask) if method else _surprises(now)
    top = max(push.abs().max().item(), 1e-9)
    shapes = [f'<text x="4" y="16" font-weight="bold">{escape(data["question"][:100])}</text>']
    y = 42
    for row, tokens in enumerate(data["rows"]):
        shapes.append(f'<text x="4" y="{y}">R={data["rewards"][row]:g}</text>')
        x = 52
        for t, token in enumerate(tokens):
            width = 7.3 * len(token) + 6
            if x + width > 750:
                x = 52
                y = y + 19
            strength = push[row, t].item() / top
            shapes.append(_chip(x, y, width, token=token, strength=strength))
            x += width + 2
        y += 26
    style = f'font-family="monospace" font-size="12" fill="{INK}"'
    height = round(y - 6)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" '
        f'viewBox="0 0 760 {height}" {style}>{"".join(shapes)}</svg>'
    )
    rows = len(data["rows"])
    alt = (
        words["alt"].format(rows=rows, method=method.name)
        if method
        else words["alt_simple"].format(rows=rows)
    )
    return Still(
        svg, alt, 760, height=height, description=words["still" if method else "still_simple"]
    )


def _chip(x: float, y: float, width: float, token: str, strength: float) -> str:
    colour = UP if strength > 0 else DOWN
    alpha = 0.08 + 0.42 * math.sqrt(abs(strength)) if strength else 0
    box = (
        f'<rect x="{x:.0f}" y="{y - 13:.0f}" width="{width:.0f}" height="17" fill="{colour}"'
        f' opacity="{alpha:.2f}"/>'
    )
    return (box if alpha else "") + f'<text x="{x + 3:.0f}" y="{y:.0f}">{escape(token)}</text>'


def _pushes(data: dict, method: Method, now: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """The gradient of the method's objective on every token's log-prob, [G, T]; see
    `token_lens.js`."""
    log_ratios = masked_log_ratios(now, old, mask).double()
    advantages = group_advantages(torch.tensor([data["rewards"]]), method.advantage_scale)[0][
        :, None
    ].double()
    lengths = mask.sum(dim=1, keepdim=True)
    if method.ratio_level == "sequence":
        log_ratios = (log_ratios.sum(dim=1, keepdim=True) / lengths).expand_as(log_ratios)
    ratios = log_ratios.exp()
    weight = 1 / lengths if method.aggregation == "sequence_mean" else torch.ones_like(lengths)
    binds = clip_binds(ratios, advantages, method.clip_low, clip_high=method.clip_high)
    return torch.where(binds | ~mask.bool(), 0.0, weight * ratios * advantages)


def _surprises(logprobs: Tensor) -> Tensor:
    return (-logprobs / 5).clamp(max=1)
