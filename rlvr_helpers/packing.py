"""Scoring a group in one row: the prompt once, then its completions one after the other, with no padding between them.

    [ prompt | completion 0 | completion 1 | ... ]

A token looks at the prompt and at its own completion alone, and stands at the position that it had by itself, so the
log-probs are those of the plain layout (one padded row a completion), which is this one's test twin. In the first 8
steps of training `tiny` with the default settings it computes 13,774 places, the plain layout 38,016.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rlvr_helpers.decoding import has_window

PROMPT, EMPTY = -1, -2  # owners of a place, beside the rows of a group
LARGEST_LOGITS = 2**26  # numbers of logits that are held at once: a quarter of a gigabyte in float32


class Packed(NamedTuple):
    """P groups as P rows of S places.

    ids, positions: [P, S]; places that hold nothing have id 0
    look:           [P, 1, S, S] True where a place (third axis) may look at another (fourth)
    group, place:   [N] where the prediction of each completion token stands, rows of the batch in order
    """

    ids: Tensor
    positions: Tensor
    look: Tensor
    group: Tensor
    place: Tensor


def can_pack(model) -> bool:
    """Whether a model takes a mask of its own for every pair of places, and has its logits from one last matrix."""
    known = model.config.model_type in ("llama", "qwen2") and model.config._attn_implementation == "sdpa"
    return known and not has_window(model.config)


def pack(prompt_ids: Tensor, prompt_mask: Tensor, completion_ids: Tensor, mask: Tensor, group_size: int) -> Packed:
    """Packs a batch whose rows k * G to k * G + G - 1 share a prompt; arguments [B, Tp] twice, [B, T] twice.

    A row's last token is predicted but predicts nothing, so it is left out.
    """
    prompt_ids, prompt_mask, mask = prompt_ids[::group_size], prompt_mask[::group_size].bool(), mask.bool()
    groups, width, length = len(prompt_ids), prompt_ids.shape[1], mask.shape[1]
    follows = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
    read = (mask & follows).view(groups, -1)  # [P, G * T] tokens that the model reads
    place = width - 1 + read.cumsum(dim=1)  # where each of them stands
    total = width + int(read.sum(dim=1).max())

    ids, positions = prompt_ids.new_zeros(2, groups, total)
    owner = prompt_ids.new_full((groups, total), EMPTY)  # whose a place is: a row of the group, the prompt, nobody
    ids[:, :width], positions[:, :width] = prompt_ids, (prompt_mask.cumsum(dim=1) - 1).clamp(min=0)
    owner[:, :width].masked_fill_(prompt_mask, PROMPT)
    group, token = read.nonzero(as_tuple=True)
    there = group, place[group, token]
    ids[there] = completion_ids.reshape(groups, -1)[group, token]
    positions[there] = prompt_mask.sum(dim=1)[group] + token % length
    owner[there] = token // length

    order = torch.arange(total, device=ids.device)
    seen, seer = owner[:, None], owner[:, :, None]
    look = ((seen == seer) | (seen == PROMPT)) & (seen != EMPTY) & (order <= order[:, None])
    look |= order == order[:, None]  # a place that holds nothing sees itself: a softmax over nothing is NaN
    group, token = mask.view(groups, -1).nonzero(as_tuple=True)
    place = torch.where(token % length == 0, width - 1, place.roll(1, dims=1)[group, token])
    return Packed(ids, positions, look[:, None], group, place)


def score_packed(
    model, prompt_ids, prompt_mask, completion_ids, mask, temperature: float, group_size: int, entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """What `sampling.score_tokens` returns, [B, T] twice, from one packed row a group."""
    packed, mask = pack(prompt_ids, prompt_mask, completion_ids, mask, group_size), mask.bool()
    read = model.model(input_ids=packed.ids, attention_mask=packed.look, position_ids=packed.positions, use_cache=False)
    hidden, tokens = read.last_hidden_state[packed.group, packed.place], completion_ids[mask]
    scores = score_hidden(model.lm_head, hidden, tokens, temperature, entropy)
    return tuple(x if x is None else x.new_zeros(mask.shape).masked_scatter(mask, x) for x in scores)


def score_hidden(
    head, hidden: Tensor, tokens: Tensor, temperature: float, entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Log-prob of each token [N] and, as in `score_logits`, entropy of its distribution [N], from hidden states [N, D].

    The logits of a large vocabulary are never held for all tokens at once: they are made part by part, and again in the
    backward pass.
    """

    def score(hidden: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        return score_logits(head(hidden), tokens, temperature, entropy)

    rows = max(1, LARGEST_LOGITS // head.out_features)
    if len(hidden) <= rows:
        return score(hidden, tokens)
    parts = zip(hidden.split(rows), tokens.split(rows), strict=True)
    scores = [checkpoint(score, h, t, use_reentrant=False) for h, t in parts]
    return tuple(None if x[0] is None else torch.cat(x) for x in zip(*scores, strict=True))


def score_logits(
    logits: Tensor, tokens: Tensor, temperature: float, entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Log-prob of each token [...] and entropy of its distribution [...] in nats, float32, from logits [..., V].

    The entropy is only watched, so where a gradient is recorded (in an update) it is left out, unless asked for: None.
    """
    scaled = logits.float() / temperature
    normaliser, spread = scaled.logsumexp(dim=-1), None
    if entropy or not torch.is_grad_enabled():
        with torch.no_grad():
            spread = normaliser - (torch.softmax(scaled, dim=-1) * scaled).sum(dim=-1)
    return scaled.gather(-1, tokens[..., None]).squeeze(-1) - normaliser, spread
