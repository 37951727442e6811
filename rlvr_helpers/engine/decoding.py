"""Decoding token by token: which decoder suits a model, and the two that any model can use.

`sampling.sample_groups` drives a decoder by four methods. `start` reads each prompt once for its
whole group. `step` adds one token to every row. `keep` drops finished rows. `finish` ends it.

There are four decoders:

* `LayerDecoder` writes out the layers of the Llama family over a cache that is allocated once.
* `GraphDecoder` does the same on a GPU. One CUDA graph replaces the hundreds of small operations of
  a step.
* `CacheDecoder` works with any model of transformers whose cache holds keys and values. It is the
  reference implementation of the two above.
* `PlainDecoder` reads everything again at each step. It works with any model.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from rlvr_helpers.engine.large import autocast
from rlvr_helpers.engine.layers import GraphDecoder, LayerDecoder
from rlvr_helpers.engine.reading import gives_cache, is_written_out, keeps_state, prefill, read_all


def decoder_for(
    model: PreTrainedModel, max_tokens: int, compute_dtype: torch.dtype = torch.float32
) -> "CacheDecoder | PlainDecoder | LayerDecoder":
    """The fastest decoder that knows this model. It multiplies matrices in `compute_dtype`."""
    # A recurrent state cannot be shared by a group, so there is nothing to keep.
    if keeps_state(model) or not gives_cache(model):
        return PlainDecoder(model, max_tokens, compute_dtype)
    if not is_written_out(model.config):
        return CacheDecoder(model, max_tokens, compute_dtype)
    fastest = GraphDecoder if model.device.type == "cuda" else LayerDecoder
    return fastest(model, max_tokens, compute_dtype)


class _Forward:
    """What both decoders share that call the model's own forward."""

    def __init__(
        self, model: PreTrainedModel, max_tokens: int, compute_dtype: torch.dtype = torch.float32
    ) -> None:
        self.model = model
        self.compute_dtype = compute_dtype

    def finish(self) -> None:
        """Nothing is left to do."""


class CacheDecoder(_Forward):
    """Decodes with the model's own forward and a cache that grows by a copy at every step."""

    # Finished rows are dropped when at most this share of the rows is still running.
    drop_at = 0.85

    def start(self, prompt_ids: Tensor, prompt_mask: Tensor, group_size: int) -> Tensor:
        logits, self.cache = prefill(
            self.model, prompt_ids, prompt_mask, compute_dtype=self.compute_dtype
        )
        self.size = group_size
        # Each prompt is read once. Its cache is copied to every row of the group.
        self.cache.batch_repeat_interleave(group_size)
        self.mask = prompt_mask.repeat_interleave(group_size, dim=0)
        return logits.repeat_interleave(group_size, dim=0)

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [R] -> logits [R, V] of the next."""
        # Positions count from the prompt's first token, not from the padding.
        positions = self.mask.sum(dim=1, keepdim=True)
        self.mask = F.pad(self.mask, (0, 1), value=1)
        with autocast(tokens.device, self.compute_dtype):
            out = self.model(
                input_ids=tokens[:, None],
                attention_mask=self.mask,
                position_ids=positions,
                past_key_values=self.cache,
            )
        return out.logits[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Continues with these rows only: indices [P', G']."""
        self.cache.batch_select_indices(rows.flatten())
        self.mask = self.mask[rows.flatten()]


class PlainDecoder(_Forward):
    """Decodes without a cache. Prompt and completion are read again at every step, exactly as they
    are scored."""

    # Every row costs a whole reading, so finished rows are dropped at once.
    drop_at = 0.99

    def start(self, prompt_ids: Tensor, prompt_mask: Tensor, group_size: int) -> Tensor:
        self.size = group_size
        self.ids = prompt_ids
        self.mask = prompt_mask
        logits = self._read()
        self.ids, self.mask = (
            x.repeat_interleave(group_size, dim=0) for x in (prompt_ids, prompt_mask)
        )
        return logits.repeat_interleave(group_size, dim=0)

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [R] -> logits [R, V] of the next."""
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)
        self.mask = F.pad(self.mask, (0, 1), value=1)
        return self._read()

    def _read(self) -> Tensor:
        with autocast(self.ids.device, self.compute_dtype):
            return read_all(self.model, self.ids, self.mask, last=1)[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Continues with these rows only: indices [P', G']."""
        self.ids = self.ids[rows.flatten()]
        self.mask = self.mask[rows.flatten()]
