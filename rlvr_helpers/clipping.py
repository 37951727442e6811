"""How far may the model move? The clipped objective of PPO, on token or sequence ratios alike."""

import torch
from torch import Tensor


def clipped_objective(
    ratios: Tensor, advantages: Tensor, clip_low: float, clip_high: float
) -> Tensor:
    """min(q A, clip(q, 1 - clip_low, 1 + clip_high) A), to be maximised (PPO, arXiv 1707.06347, eq.
    7).

    ratios q and advantages A are broadcast against each other: [B, T] with [B, 1], or [B] with [B].
    Raises ValueError on a negative range and on shapes that do not fit.
    """
    _check_range(clip_low, clip_high)
    try:
        torch.broadcast_shapes(ratios.shape, advantages.shape)
    except RuntimeError as error:
        raise ValueError(
            f"ratios {list(ratios.shape)} and advantages {list(advantages.shape)} do not fit: token"
            " ratios [B, T] take advantages [B, 1] (advantages[:, None]), sequence ratios [B]"
            " take [B]"
        ) from error
    clipped = ratios.clamp(1 - clip_low, 1 + clip_high)
    return torch.minimum(ratios * advantages, clipped * advantages)


def clip_binds(ratios: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """True where the clip stops the gradient: A > 0 and q > 1 + clip_high, or A < 0 and q < 1 -
    clip_low.

    Outside the range with the other sign the clip changes nothing: the minimum keeps the unclipped
    term.
    """
    _check_range(clip_low, clip_high)
    too_high = (advantages > 0) & (ratios > 1 + clip_high)
    too_low = (advantages < 0) & (ratios < 1 - clip_low)
    return too_high | too_low


def range_that_binds(ratios: Tensor, advantages: Tensor, share: float) -> Tensor:
    """The clip range eps, the same above and below, that binds on `share` of the places, [].

    The clip binds where the ratio has gone further than eps the way its advantage pushes it:
    (q - 1) sign(A) > eps. So eps is the 1 - share quantile of these overshoots, and 0 if fewer went
    the pushed way. Broadcasts as above.
    """
    overshoots = (ratios - 1) * advantages.sign()
    return torch.quantile(overshoots, 1 - share).clamp(min=0)


def _check_range(clip_low: float, clip_high: float) -> None:
    if not (clip_low >= 0 and clip_high >= 0):
        raise ValueError(
            f"clip_low and clip_high must be 0 or more, not {clip_low} and {clip_high}"
        )
