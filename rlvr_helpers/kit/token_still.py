"""The picture of the token lens where no script runs."""

import math

import torch
from torch import Tensor

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.clipping import clip_binds
from rlvr_helpers.methods import Method
from rlvr_helpers.plots.house import BLUE, ORANGE
from rlvr_helpers.ratios import masked_log_ratios
from rlvr_helpers.widgets.live import Still, svg_text
from rlvr_helpers.widgets.words import TOKEN_LENS


def still_of(data: dict, method: Method | None, now: Tensor, old: Tensor, mask: Tensor) -> Still:
    """The text with its tints as an SVG. Every letter has the same width, so that lines can be
    broken without measuring."""
    # How strongly each token is tinted, relative to the strongest.
    push = _pushes(data, method, now, old=old, mask=mask) if method else _surprises(now)
    top = max(push.abs().max().item(), 1e-9)
    # The question, then each completion, broken into lines of 750 pixels.
    shapes = [svg_text(4, 16, data["question"][:100], anchor="start", font_weight="bold")]
    y = 42
    for row, tokens in enumerate(data["rows"]):
        shapes.append(svg_text(4, y, f"R={data['rewards'][row]:g}", anchor="start"))
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
    # The picture with its words. Without a method it is the simple lens of lesson 01.
    kind = "" if method else "_simple"
    given = {"rows": len(data["rows"]), "method": method.name if method else ""}
    alt = TOKEN_LENS[f"alt{kind}"].format(**given)
    long = TOKEN_LENS[f"still{kind}"]
    return Still.of(shapes, 760, round(y - 6), alt=alt, description=long, font="monospace", size=12)


def _chip(x: float, y: float, width: float, token: str, strength: float) -> str:
    colour = BLUE if strength > 0 else ORANGE
    # A square root, so that a tenth of the strongest can still be seen.
    alpha = 0.08 + 0.42 * math.sqrt(abs(strength)) if strength else 0
    box = (
        f'<rect x="{x:.0f}" y="{y - 13:.0f}" width="{width:.0f}" height="17" fill="{colour}"'
        f' opacity="{alpha:.2f}"/>'
    )
    return (box if alpha else "") + svg_text(x + 3, y, token, anchor="start")


def _pushes(data: dict, method: Method, now: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """The gradient of the method's objective on every token's log-prob, [G, T]. `judge` of
    `token_lens.js` computes the same."""
    log_ratios = masked_log_ratios(now, old, mask).double()
    rewards = torch.tensor([data["rewards"]])
    advantages = group_advantages(rewards, method.advantage_scale)[0][:, None].double()
    lengths = mask.sum(dim=1, keepdim=True)
    if method.ratio_level == "sequence":
        log_ratios = (log_ratios.sum(dim=1, keepdim=True) / lengths).expand_as(log_ratios)
    ratios = log_ratios.exp()
    # The weight up to a factor, since only relative strengths are drawn.
    weight = 1 / lengths if method.aggregation == "sequence_mean" else torch.ones_like(lengths)
    binds = clip_binds(ratios, advantages, method.clip_low, clip_high=method.clip_high)
    return torch.where(binds | ~mask.bool(), 0.0, weight * ratios * advantages)


def _surprises(logprobs: Tensor) -> Tensor:
    """How unlikely each token was, 0 to 1. 5 nats and more are the strongest tint."""
    return (-logprobs / 5).clamp(max=1)
