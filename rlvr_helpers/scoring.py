"""The log-prob of every completion token under a model: in the plain layout, or packed where the
model allows it."""

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rlvr_helpers.engine.decoding import read_all
from rlvr_helpers.engine.packing import can_pack, read_packed


def token_logprobs(
    model,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    temperature: float = 1.0,
    group_size: int = 1,
) -> Tensor:
    """Log-prob of each completion token in nats under the model, [B, T], float32; 0 where the mask
    is 0.

    prompt_ids, prompt_mask [B, Tp]; completion_ids, completion_mask [B, T]. Differentiable in the
    model's weights. Each token is scored from the logits one position earlier, divided by the
    temperature it was sampled at. With `group_size` G, rows k * G to k * G + G - 1 share a prompt,
    and it is read (and differentiated) once for all.
    """
    return score_tokens(
        model,
        prompt_ids,
        prompt_mask,
        completion_ids=completion_ids,
        completion_mask=completion_mask,
        temperature=temperature,
        group_size=group_size,
    )[0]


def score_tokens(
    model,
    prompt_ids,
    prompt_mask,
    completion_ids,
    completion_mask,
    temperature=1.0,
    group_size=1,
    entropy=False,
) -> tuple[Tensor, Tensor | None]:
    """`token_logprobs` and, where it is asked for or no gradient is recorded, the entropy of each
    position's distribution in nats (else None), both [B, T]."""
    rows, width = completion_ids.shape
    if not 0 < temperature < math.inf:
        raise ValueError(
            f"temperature must be above 0, not {temperature}: nothing is sampled from at 0"
        )
    same = (
        len(prompt_ids) == rows
        and prompt_mask.shape == prompt_ids.shape
        and completion_mask.shape == completion_ids.shape
    )
    if not same or group_size < 1 or rows % group_size:
        raise ValueError(
            f"prompts {list(prompt_ids.shape)}, their mask {list(prompt_mask.shape)}, completions"
            f" {list(completion_ids.shape)} and their mask {list(completion_mask.shape)} must have"
            f" the same rows, in whole groups of {group_size}"
        )
    if group_size > 1 and can_pack(model):
        mask = completion_mask.bool()
        hidden = read_packed(
            model,
            prompt_ids,
            prompt_mask,
            completion_ids=completion_ids,
            mask=completion_mask,
            group_size=group_size,
        )
        scores = score_hidden(
            model.lm_head, hidden, completion_ids[mask], temperature=temperature, entropy=entropy
        )
        return tuple(
            x if x is None else x.new_zeros(mask.shape).masked_scatter(mask, x) for x in scores
        )
    ids = torch.cat([prompt_ids, completion_ids], dim=1)
    mask = torch.cat([prompt_mask, completion_mask], dim=1)
    return masked_scores(
        read_all(model, ids, mask, last=width + 1),
        completion_ids,
        completion_mask,
        temperature=temperature,
        entropy=entropy,
    )


def logprobs_from_logits(
    logits: Tensor, completion_ids: Tensor, completion_mask: Tensor, temperature: float = 1.0
) -> Tensor:
    """Log-prob of each completion token in nats, [B, T], float32; 0 where the mask is 0.

    logits: [B, T + 1, V], the first from the last prompt token, so that logits[:, t] predict
    completion_ids[:, t]; the last, which predict what would follow, may be left out. They are
    divided by the temperature of the sampling.
    """
    return masked_scores(logits, completion_ids, completion_mask, temperature=temperature)[0]


def masked_scores(
    logits, completion_ids, completion_mask, temperature=1.0, entropy=False
) -> tuple[Tensor, Tensor | None]:
    """What `score_logits` says of [B, T + 1, V] or [B, T, V] logits, [B, T] each, 0 where the mask
    is 0."""
    scores = score_logits(
        logits[:, : completion_ids.shape[1]], completion_ids, temperature, entropy=entropy
    )
    return tuple(x if x is None else torch.where(completion_mask.bool(), x, 0.0) for x in scores)


# numbers of logits that are held at once: a quarter of a gigabyte in float32
LARGEST_LOGITS = 2**26


def score_hidden(
    head,
    hidden: Tensor,
    tokens: Tensor,
    temperature: float,
    entropy: bool = False,
    largest: int = LARGEST_LOGITS,
) -> tuple[Tensor, Tensor | None]:
    """Log-prob of each token [N] and, as in `score_logits`, entropy of its distribution [N], from
    hidden states [N, D].

    The logits of a large vocabulary are never held for all tokens at once, but at most `largest`
    numbers: they are made part by part, and again in the backward pass.
    """

    def score(hidden: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        return score_logits(head(hidden), tokens, temperature, entropy=entropy)

    rows = max(1, largest // head.out_features)
    if len(hidden) <= rows:
        return score(hidden, tokens)
    parts = zip(hidden.split(rows), tokens.split(rows), strict=True)
    scores = [checkpoint(score, h, t, use_reentrant=False) for h, t in parts]
    return tuple(None if x[0] is None else torch.cat(x) for x in zip(*scores, strict=True))


def score_logits(
    logits: Tensor, tokens: Tensor, temperature: float, entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Log-prob of each token [...] and entropy of its distribution [...] in nats, float32, from
    logits [..., V].

    The entropy is only watched, so where a gradient is recorded (in an update) it is left out,
    unless asked for: None.
    """
    scaled = logits.float() / temperature
    normaliser = scaled.logsumexp(dim=-1)
    spread = None
    if entropy or not torch.is_grad_enabled():
        with torch.no_grad():
            spread = normaliser - (torch.softmax(scaled, dim=-1) * scaled).sum(dim=-1)
    return scaled.gather(-1, tokens[..., None]).squeeze(-1) - normaliser, spread
