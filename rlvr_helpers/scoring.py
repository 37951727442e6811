"""Scoring: the log-prob of every completion token under a model. Rows are packed if the model
allows it, and padded if not."""

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rlvr_helpers.engine.packing import can_pack, read_packed
from rlvr_helpers.engine.reading import read_all


def token_logprobs(
    model: nn.Module,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    temperature: float = 1.0,
    group_size: int = 1,
) -> Tensor:
    """Log-prob of each completion token in nats under the model, [B, T], float32. It is 0 where the
    mask is 0.

    The prompts and their mask are [B, Tp], the completions and their mask [B, T]. The result is
    differentiable in the model's weights. Each token is scored from the logits one position
    earlier, divided by the temperature of the sampling. With `group_size` G, rows k * G to k * G +
    G - 1 share a prompt, and it is read (and differentiated) once for all.
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
    model: nn.Module,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    temperature: float = 1.0,
    group_size: int = 1,
    entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`token_logprobs` and the entropy of each position's distribution in nats, both [B, T].

    The entropy is None if a gradient is recorded, unless it is asked for.
    """
    check_batch(
        prompt_ids,
        prompt_mask,
        completion_ids,
        completion_mask=completion_mask,
        temperature=temperature,
        group_size=group_size,
    )
    # Packed: one row per group.
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
    # Padded: one row per completion.
    ids = torch.cat([prompt_ids, completion_ids], dim=1)
    mask = torch.cat([prompt_mask, completion_mask], dim=1)
    return masked_scores(
        read_all(model, ids, mask, last=completion_ids.shape[1] + 1),
        completion_ids,
        completion_mask,
        temperature=temperature,
        entropy=entropy,
    )


def check_batch(
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    temperature: float,
    group_size: int,
) -> None:
    """Raises ValueError if the tensors do not have the same rows, in whole groups, or the
    temperature is not above 0."""
    rows = len(completion_ids)
    # A greedy rollout has temperature 0, which nothing can be divided by.
    if not 0 < temperature < math.inf:
        raise ValueError(
            f"temperature must be above 0, not {temperature}: give the one of the sampling, or 1.0"
            " for a greedy one"
        )
    # The same rows, in whole groups.
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


def logprobs_from_logits(
    logits: Tensor, completion_ids: Tensor, completion_mask: Tensor, temperature: float = 1.0
) -> Tensor:
    """Log-prob of each completion token in nats, [B, T], float32. It is 0 where the mask is 0.

    logits: [B, T + 1, V], the first from the last prompt token, so that logits[:, t] predict
    completion_ids[:, t]. The last predict what would follow and can be left out. They are divided
    by the temperature of the sampling.
    """
    return masked_scores(logits, completion_ids, completion_mask, temperature=temperature)[0]


def masked_scores(
    logits: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    temperature: float = 1.0,
    entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`score_logits` of logits [B, T + 1, V] or [B, T, V]: [B, T] each, 0 where the mask is 0."""
    scores = score_logits(
        logits[:, : completion_ids.shape[1]], completion_ids, temperature, entropy=entropy
    )
    return tuple(x if x is None else torch.where(completion_mask.bool(), x, 0.0) for x in scores)


# How many numbers of logits are held at once: a quarter of a gigabyte in float32.
LARGEST_LOGITS = 2**26


def score_hidden(
    head: nn.Linear,
    hidden: Tensor,
    tokens: Tensor,
    temperature: float,
    entropy: bool = False,
    largest: int = LARGEST_LOGITS,
) -> tuple[Tensor, Tensor | None]:
    """`score_logits` of the logits that the model's last matrix makes of hidden states [N, D]: [N]
    each.

    At most `largest` numbers of logits are held at once. A large vocabulary's are computed part by
    part, and again in the backward pass.
    """

    def score(hidden: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        return score_logits(head(hidden), tokens, temperature, entropy=entropy)

    # Few enough to be held at once.
    rows = max(1, largest // head.out_features)
    if len(hidden) <= rows:
        return score(hidden, tokens)
    # Else part by part.
    parts = zip(hidden.split(rows), tokens.split(rows), strict=True)
    scores = [checkpoint(score, h, t, use_reentrant=False) for h, t in parts]
    return tuple(None if x[0] is None else torch.cat(x) for x in zip(*scores, strict=True))


def score_logits(
    logits: Tensor, tokens: Tensor, temperature: float, entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Log-prob of each token [...] and entropy of its distribution [...] in nats, float32, from
    logits [..., V].

    The entropy is only watched. So it is None if a gradient is recorded (in an update), unless it
    is asked for.
    """
    scaled = logits.float() / temperature
    # log softmax of one token needs only its own logit and the normaliser.
    normaliser = scaled.logsumexp(dim=-1)
    spread = None
    if entropy or not torch.is_grad_enabled():
        # H = log Z - mean logit, which needs no logarithm of a probability.
        with torch.no_grad():
            spread = normaliser - (torch.softmax(scaled, dim=-1) * scaled).sum(dim=-1)
    return scaled.gather(-1, tokens[..., None]).squeeze(-1) - normaliser, spread
