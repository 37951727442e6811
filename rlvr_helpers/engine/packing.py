"""Scoring a group in one row: the prompt once, then its completions one after the other, with no
padding between them.

    [ prompt | completion 0 | completion 1 | ... ]

A token looks at the prompt and at its own completion alone, and stands at the position that it had
by itself, so the log-probs are those of the plain layout (one padded row a completion), which is
this one's test twin. In the first 8 steps of training `tiny` with the default settings it computes
13,774 places, the plain layout 38,016.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rlvr_helpers.engine.decoding import has_window

# owners of a place, beside the rows of a group
PROMPT = -1
EMPTY = -2


class Packed(NamedTuple):
    """P groups as P rows of S places.

    ids, positions: [P, S]; places that hold nothing have id 0
    look:           [P, 1, S, S] True where a place (third axis) may look at another (fourth)
    group, place:   [N] where the prediction of each completion token stands, rows of the batch in
                    order
    """

    ids: Tensor
    positions: Tensor
    look: Tensor
    group: Tensor
    place: Tensor


def can_pack(model) -> bool:
    """Whether a model takes a mask of its own for every pair of places, and has its logits from one
    last matrix."""
    known = (
        model.config.model_type in ("llama", "qwen2")
        and model.config._attn_implementation == "sdpa"
    )
    return known and not has_window(model.config)


def pack(
    prompt_ids: Tensor, prompt_mask: Tensor, completion_ids: Tensor, mask: Tensor, group_size: int
) -> Packed:
    """Packs a batch whose rows k * G to k * G + G - 1 share a prompt; arguments [B, Tp] twice, [B,
    T] twice.

    A row's last token is predicted but predicts nothing, so it is left out.
    """
    prompt_ids = prompt_ids[::group_size]
    prompt_mask = prompt_mask[::group_size].bool()
    mask = mask.bool()
    groups = len(prompt_ids)
    width = prompt_ids.shape[1]
    length = mask.shape[1]
    follows = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
    read = (mask & follows).view(groups, -1)  # [P, G * T] tokens that the model reads
    place = width - 1 + read.cumsum(dim=1)  # where each of them stands
    total = width + int(read.sum(dim=1).max())

    ids, positions = prompt_ids.new_zeros(2, groups, total)
    # whose a place is: a row of the group, the prompt, nobody
    owner = prompt_ids.new_full((groups, total), EMPTY)
    ids[:, :width] = prompt_ids
    positions[:, :width] = (prompt_mask.cumsum(dim=1) - 1).clamp(min=0)
    owner[:, :width].masked_fill_(prompt_mask, PROMPT)
    group, token = read.nonzero(as_tuple=True)
    there = group, place[group, token]
    ids[there] = completion_ids.reshape(groups, -1)[group, token]
    positions[there] = prompt_mask.sum(dim=1)[group] + token % length
    owner[there] = token // length

    order = torch.arange(total, device=ids.device)
    seen = owner[:, None]
    seer = owner[:, :, None]
    look = ((seen == seer) | (seen == PROMPT)) & (seen != EMPTY) & (order <= order[:, None])
    # a place that holds nothing sees itself: a softmax over nothing is NaN
    look |= order == order[:, None]
    group, token = mask.view(groups, -1).nonzero(as_tuple=True)
    place = torch.where(token % length == 0, width - 1, place.roll(1, dims=1)[group, token])
    return Packed(ids, positions, look[:, None], group=group, place=place)


def read_packed(
    model: nn.Module,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    mask: Tensor,
    group_size: int,
) -> Tensor:
    """The hidden states that predict the completion tokens, [N, D], rows of the batch in order: one
    packed row a group."""
    packed = pack(prompt_ids, prompt_mask, completion_ids, mask=mask, group_size=group_size)
    read = model.model(
        input_ids=packed.ids,
        attention_mask=packed.look,
        position_ids=packed.positions,
        use_cache=False,
    )
    return read.last_hidden_state[packed.group, packed.place]
