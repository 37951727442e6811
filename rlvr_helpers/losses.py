"""How do tokens become one number? Aggregation, the KL term, and the loss that all methods
share."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rlvr_helpers.methods import Method
from rlvr_helpers.ratios import sequence_ratios, token_ratios


class PolicyLoss(NamedTuple):
    """What a batch gives to be minimised, and what is recorded of it.

    loss:          [], to be minimised
    ratios:        [B, T] or [B]
    clip_fraction: [], the share of tokens or sequences (the method's `clip_unit`) on which the clip
                   binds. None for an objective without a clip share
    kl:            [] to the reference, aggregated as the loss is. None without a reference
    """

    loss: Tensor
    ratios: Tensor
    clip_fraction: Tensor | None
    kl: Tensor | None


def aggregate(
    per_token: Tensor,
    mask: Tensor,
    how: str,
    max_tokens: int,
    total_rows: int | None = None,
    total_tokens: int | None = None,
) -> Tensor:
    """One number from per-token values [B, T]. Only places where the mask [B, T] is 1 count.

    "sequence_mean": mean over rows of each row's mean (GRPO, arXiv 2402.03300, eq. 3)
    "constant":      sum / (rows * max_tokens), max_tokens being the budget, not the padded width
                     (Dr. GRPO, arXiv 2503.20783, sec. 3.2)
    "token_mean":    sum / number of tokens (DAPO, arXiv 2503.14476, eq. 8)

    A micro-batch gives the rows and tokens of its whole optimizer batch as `total_rows` and
    `total_tokens`. Then the micro-batches add up to the batch. Rows without tokens add 0 and count
    as rows.
    """
    if per_token.shape != mask.shape or mask.dim() != 2:
        raise ValueError(
            f"per_token and mask must have one shape [rows, tokens], not {list(per_token.shape)}"
            f" and {list(mask.shape)}"
        )
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be the generation budget, at least 1, not {max_tokens}")
    # What is masked has no effect, not even NaN.
    keep = mask.bool()
    values = torch.where(keep, per_token, 0.0)
    rows = len(mask) if total_rows is None else total_rows
    # Three ways to weigh tokens against each other.
    if how == "sequence_mean":
        return (values.sum(dim=1) / keep.sum(dim=1).clamp(min=1)).sum() / max(rows, 1)
    if how == "constant":
        return values.sum() / (max(rows, 1) * max_tokens)
    if how == "token_mean":
        tokens = (
            keep.sum()
            if total_tokens is None
            else torch.as_tensor(total_tokens, device=mask.device)
        )
        return values.sum() / tokens.clamp(min=1)
    raise ValueError(
        f'aggregation must be "sequence_mean", "constant" or "token_mean", not {how!r}'
    )


def kl_estimate(logp: Tensor, logp_ref: Tensor, kind: str = "k3") -> Tensor:
    """Estimate of KL(policy || reference) in nats at each sampled token, from x = logp_ref - logp.

    "k1": -x     "k2": x^2 / 2     "k3": e^x - x - 1
    (J. Schulman, "Approximating KL divergence". GRPO eq. 4 is k3.) Same shape.
    """
    x = logp_ref.detach() - logp
    if kind == "k1":
        return -x
    if kind == "k2":
        return x.square() / 2
    if kind == "k3":
        return x.exp() - x - 1
    raise ValueError(f'kl kind must be "k1", "k2" or "k3", not {kind!r}')


def policy_loss(
    method: Method,
    logp_new: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    max_tokens: int,
    logp_ref: Tensor | None = None,
    total_rows: int | None = None,
    total_tokens: int | None = None,
    objective: Callable[[Tensor, Tensor, float, float], Tensor] | None = None,
) -> PolicyLoss:
    """The loss of GRPO, Dr. GRPO, GSPO and relatives, differentiable in logp_new.

    logp_new, logp_old, logp_ref, mask: [B, T]
    advantages:               [B]
    total_rows, total_tokens: see `aggregate`
    objective(ratios, advantages, clip_low, clip_high): what is maximised, in the place of the
                              method's
    Raises ValueError on shapes that do not fit, and on a KL coefficient without logp_ref.
    """
    check_shapes(method, advantages, mask, logp_ref=logp_ref)
    # Ratios and advantages, for each token or for each sequence.
    of_tokens = method.ratio_level == "token"
    ratios_of = token_ratios if of_tokens else sequence_ratios
    ratios = ratios_of(logp_new, logp_old, mask)
    advantages = advantages.detach()[:, None] if of_tokens else advantages.detach()
    # The objective, spread over the tokens, as one number.
    own, clips = method.functions()
    if objective is not None:
        values = objective(ratios, advantages, method.clip_low, method.clip_high)
    else:
        values = own(ratios, advantages, mask)
    check_values(values, mask, ratios)
    per_token = -values if values.dim() == 2 else -values[:, None].expand(mask.shape)
    sizes = (method.aggregation, max_tokens, total_rows, total_tokens)
    loss = aggregate(per_token, mask, *sizes)
    # The KL term.
    kl = None
    if logp_ref is not None:
        x = (torch.where(mask.bool(), logp, 0.0) for logp in (logp_new, logp_ref))
        kl = aggregate(kl_estimate(*x, method.kl_kind), mask, *sizes)
    if method.kl_coef > 0:
        loss = loss + method.kl_coef * kl
    share = None
    if clips is not None:
        counted = mask.bool() if of_tokens else mask.bool().any(dim=1)
        binds = clips(ratios.detach(), advantages, mask)
        share = share_of(binds, counted, total_tokens if of_tokens else total_rows)
    return PolicyLoss(loss, ratios, share, kl=kl)


def share_of(binds: Tensor, counted: Tensor, total: int | None) -> Tensor:
    """The share, [], of the counted tokens [B, T] or sequences [B] on which the clip binds.

    total: of how many, in the whole batch. None: of these tokens, or of these rows, empty ones
        included. Raises ValueError if a clip share of your own gives anything but True or False for
        each.
    """
    shape = getattr(binds, "shape", None)
    if shape != counted.shape or getattr(binds, "dtype", None) != torch.bool:
        given = f"{list(shape)} of {binds.dtype}" if shape is not None else repr(binds)
        raise ValueError(
            f"the clip share must give {list(counted.shape)} values, True or False, as `ratios >"
            f" 1.2` does, not {given}"
        )
    if total is None:
        total = counted.sum() if counted.dim() == 2 else len(counted)
    return (binds & counted).sum() / torch.as_tensor(total, device=counted.device).clamp(min=1)


def check_shapes(method: Method, advantages: Tensor, mask: Tensor, logp_ref: Tensor | None) -> None:
    """Raises ValueError on what `policy_loss` cannot use."""
    if advantages.shape != mask.shape[:1]:
        raise ValueError(
            f"advantages must be [rows] = [{len(mask)}], one for each row, not"
            f" {list(advantages.shape)}"
        )
    if method.kl_coef > 0 and logp_ref is None:
        raise ValueError(
            f"{method.name} has kl_coef {method.kl_coef}: give logp_ref, the reference's log-probs"
        )
    if logp_ref is not None and logp_ref.shape != mask.shape:
        raise ValueError(
            f"logp_ref must be {list(mask.shape)} like the mask, not {list(logp_ref.shape)}"
        )


def check_values(values: Tensor, mask: Tensor, ratios: Tensor) -> None:
    """Raises ValueError if an objective of your own gives no number for each token, or none that
    depends on the ratios."""
    # A value for each token, or at the sequence level also one for each row.
    allowed = [mask.shape] if ratios.dim() == 2 else [mask.shape, mask.shape[:1]]
    shape = getattr(values, "shape", None)
    if not isinstance(values, Tensor) or shape not in allowed:
        raise ValueError(
            f"the objective must give {' or '.join(str(list(one)) for one in allowed)} values, one"
            f" for each token, in a tensor, not {list(shape) if shape is not None else values!r}"
        )
    if ratios.requires_grad and not values.requires_grad:
        raise ValueError(
            "the objective's values do not depend on the ratios, so nothing can be learnt: use"
            " torch's functions of `ratios`, without detach() or whole numbers"
        )
