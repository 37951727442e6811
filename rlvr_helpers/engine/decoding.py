"""Decoding token by token, fast: four decoders with the same methods, used by
`sampling.sample_groups`.

`start` reads each prompt once for its whole group, `step` adds one token to every row, `keep` drops
finished rows, `finish` ends it.
`LayerDecoder` writes the layers of the Llama family out over a cache that is allocated once;
`GraphDecoder` does the same on a GPU, where one recorded graph stands for the hundreds of small
operations of a step; `CacheDecoder` asks any model of transformers whose cache holds keys and
values, and is the reference implementation of both; `PlainDecoder` reads everything anew at each
step, which serves any model.
"""

import inspect
import math
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from rlvr_helpers.engine.large import autocast, weight_of


def decoder_for(model, max_tokens: int, compute_dtype: torch.dtype = torch.float32):
    """The fastest decoder that knows this model; it multiplies matrices in `compute_dtype`."""
    if keeps_state(model) or not gives_cache(model):
        return PlainDecoder(model, max_tokens, compute_dtype)
    if not is_written_out(model.config):
        return CacheDecoder(model, max_tokens, compute_dtype)
    return (GraphDecoder if model.device.type == "cuda" else LayerDecoder)(
        model, max_tokens, compute_dtype
    )


def is_written_out(config) -> bool:
    """Whether `LayerDecoder` knows every part of this model: Llama or Qwen2 as they come, without
    rarer options."""
    return (
        config.model_type in ("llama", "qwen2")
        and config.hidden_act == "silu"
        and not getattr(config, "mlp_bias", False)
        # also on the output, where Qwen2 has none
        and not (config.model_type == "llama" and config.attention_bias)
        and not has_window(config)
    )


# Layers whose keys and values are all that later tokens need. A sliding window is a matter of the
# mask.
ATTENTION = ("full_attention", "sliding_attention", "chunked_attention")


def layer_types(config) -> tuple[str, ...]:
    """The kinds of a model's layers, as far as its configuration names them."""
    return tuple(getattr(config, "layer_types", None) or ())


def has_window(config) -> bool:
    """Whether in some layer a token sees fewer than all earlier ones. Then neither `LayerDecoder`
    nor `packing` knows the mask."""
    return any(kind != "full_attention" for kind in layer_types(config))


def keeps_state(model) -> bool:
    """Whether some layer hands on a state (recurrent, convolution) that cannot be shared as keys
    and values can."""
    stateful = getattr(model, "_is_stateful", False)
    return stateful or any(kind not in ATTENTION for kind in layer_types(model.config))


def gives_cache(model) -> bool:
    """Whether a model takes and returns a cache; a few old ones (the first GPT, XLM) have none."""
    return "past_key_values" in inspect.signature(model.forward).parameters


def read_all(model, ids: Tensor, mask: Tensor, last: int) -> Tensor:
    """The logits of the last positions [B, last, V] of left-padded rows [B, T], from one forward
    pass without a cache."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        logits_to_keep=last,
        use_cache=False,
    )
    return out.logits


def check_model(model) -> None:
    """Raises ValueError on a model that cannot be sampled and scored here. One whose layers are
    written out below can be; any other reads a few tokens, alone, after padding and before
    others."""
    if is_written_out(model.config):
        return
    kind = f"a model of the kind {model.config.model_type!r} cannot be used here"
    ids = torch.arange(3, device=model.device)[None]
    mask = torch.ones_like(ids)
    try:
        with torch.inference_mode():
            alone = read_all(model, ids, mask, last=1)[:, -1].float()
            padded = read_all(model, F.pad(ids, (2, 0)), F.pad(mask, (2, 0)), last=1)[:, -1].float()
            followed = read_all(model, F.pad(ids, (0, 2)), F.pad(mask, (0, 2), value=1), last=3)[
                :, 0
            ].float()
    except Exception as error:  # a model's forward may raise anything
        raise ValueError(
            f"{kind}: it does not read a short text ({type(error).__name__}: {error})"
        ) from error
    rounding = max(1e-3, 30 * torch.finfo(model.dtype).eps) * (alone.max() - alone.min())
    if (alone - followed).abs().max() > rounding:
        raise ValueError(
            f"{kind}: a token sees those that follow it, so it does not predict text token by token"
        )
    # Models with learned positions may mind it too; that shows in the sampler gap, of which `train`
    # warns.
    if keeps_state(model) and (alone - padded).abs().max() > rounding:
        raise ValueError(
            f"{kind}: padding before a prompt changes its recurrent state, so prompts cannot be"
            " batched"
        )


def prefill(
    model, prompt_ids: Tensor, prompt_mask: Tensor, compute_dtype: torch.dtype
) -> tuple[Tensor, DynamicCache]:
    """Reads prompts [P, T]: the last position's logits [P, V], and the cache of keys and values."""
    positions = (prompt_mask.cumsum(1) - 1).clamp(min=0)
    with autocast(prompt_ids.device, compute_dtype):
        # a cache that keeps everything: made from a configuration with a stray window, it would cut
        # what the model sees
        out = model(
            input_ids=prompt_ids,
            attention_mask=prompt_mask,
            position_ids=positions,
            past_key_values=DynamicCache(),
            use_cache=True,
            logits_to_keep=1,
        )
    return out.logits[:, -1], out.past_key_values


class CacheDecoder:
    """Decodes with the model's own forward and a cache that grows by a copy at every step."""

    drop_at = 0.85  # rows are dropped when this share of them or less is not finished

    def __init__(self, model, max_tokens: int, compute_dtype: torch.dtype = torch.float32):
        self.model = model
        self.compute_dtype = compute_dtype

    def start(self, prompt_ids: Tensor, prompt_mask: Tensor, group_size: int) -> Tensor:
        logits, self.cache = prefill(
            self.model, prompt_ids, prompt_mask, compute_dtype=self.compute_dtype
        )
        self.size = group_size
        self.cache.batch_repeat_interleave(group_size)
        self.mask = prompt_mask.repeat_interleave(group_size, dim=0)
        return logits.repeat_interleave(group_size, dim=0)

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [R] -> logits [R, V] of the next."""
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
        """Goes on with these rows only: indices [P', G']."""
        self.cache.batch_select_indices(rows.flatten())
        self.mask = self.mask[rows.flatten()]

    def finish(self) -> None:
        """Nothing is left to do."""


class PlainDecoder:
    """Decodes without a cache: prompt and completion are read anew at every step, exactly as they
    are scored."""

    drop_at = 0.99

    def __init__(self, model, max_tokens: int, compute_dtype: torch.dtype = torch.float32):
        self.model = model
        self.compute_dtype = compute_dtype

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

    def finish(self) -> None:
        """Nothing is left to do."""


LARGEST_GROUP = 16  # rows that share a cache


class LayerDecoder:
    """The layers of Llama and Qwen2 written out over one cache a group, which holds the prompt's
    keys and values once and then, position by position, those of all the group's rows: [prompt |
    t=0: row 0, row 1, ... | t=1: ...]. A row attends to the prompt and to its own places; the
    others' are masked. That is more arithmetic, in far fewer operations; it grows with the square
    of the group, so a large group is decoded as several of at most LARGEST_GROUP rows.

    In 16 bits it does what autocast does to the model: weights, cache and products in 16 bits, sums
    and norms in float32; but the weights are turned once a rollout, not at every step.
    """

    drop_at = 0.85
    looks_ahead = False

    def __init__(self, model, max_tokens: int, compute_dtype: torch.dtype = torch.float32):
        self.model = model
        self.max_tokens = max_tokens
        self.compute_dtype = compute_dtype
        dtype = model.lm_head.weight.dtype if compute_dtype == torch.float32 else compute_dtype
        self.layers = [_fused(layer, dtype) for layer in model.model.layers]
        self.head = model.lm_head.weight.to(dtype)
        self.head_dim = model.model.layers[0].self_attn.head_dim
        self.eps = model.config.rms_norm_eps

    def start(self, prompt_ids: Tensor, prompt_mask: Tensor, group_size: int) -> Tensor:
        logits, cache = prefill(
            self.model, prompt_ids, prompt_mask, compute_dtype=self.compute_dtype
        )
        self.size = max(
            n for n in range(1, min(group_size, LARGEST_GROUP) + 1) if group_size % n == 0
        )
        if self.size < group_size:
            copies = group_size // self.size
            group_size = self.size
            cache.batch_repeat_interleave(copies)
            logits, prompt_mask = (
                x.repeat_interleave(copies, dim=0) for x in (logits, prompt_mask)
            )
        prompts = [(layer.keys, layer.values) for layer in cache.layers]  # each [P, KV, Tp, D]
        groups, kv_heads, width, dim = prompts[0][0].shape
        room = width + group_size * self.max_tokens
        shape = len(prompts), 2, groups, kv_heads, room, dim
        self.memory = take_memory(math.prod(shape), logits)
        if self.looks_ahead:
            # a masked place weighs 0, and 0 times a NaN that lay in memory is NaN
            self.memory.zero_()
        self.caches = self.memory[: math.prod(shape)].view(shape)
        for own, parts in zip(self.caches, prompts, strict=True):
            own[0, :, :, :width], own[1, :, :, :width] = parts
        self.lengths = prompt_mask.sum(dim=1)
        self.width = width
        self.count = 0
        self.prompt_bias = torch.zeros_like(prompt_mask, dtype=logits.dtype).masked_fill(
            prompt_mask == 0, -torch.inf
        )
        self.bias = self._bias(group_size)
        return logits.repeat_interleave(group_size, dim=0)

    def _bias(self, group_size: int) -> Tensor:
        """0 where a row may look, else -inf, [P, 1, G, Tp + max_tokens * G]: no padding, no place
        of another row."""
        others = self.prompt_bias.new_full((group_size, group_size), -torch.inf).fill_diagonal_(0)
        own = others.repeat(1, self.max_tokens).expand(len(self.prompt_bias), -1, -1)
        prompt = self.prompt_bias[:, None].expand(-1, group_size, -1)
        return torch.cat([prompt, own], dim=-1)[:, None]

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [R] -> logits [R, V] of the next."""
        size = len(tokens) // len(self.lengths)
        here = self.width + self.count * size
        place = slice(here, here + size)
        bias = self.bias[..., : here + size]
        logits = self._forward(tokens, self.lengths + self.count, place, bias)
        self.count += 1
        return logits

    def _forward(self, tokens: Tensor, positions: Tensor, place, bias: Tensor) -> Tensor:
        """One token a row [R] through the layers: a group's rows stand at its position [P], their
        keys and values go to `place` (a slice or indices), and they look at as many places as
        `bias` has."""
        core = self.model.model
        groups = len(positions)
        seen = bias.shape[-1]
        size = len(tokens) // groups
        x = core.embed_tokens(tokens)  # [R, hidden]
        cos, sin = core.rotary_emb(x, positions[:, None])
        # [P, 1, 1, D]
        cos = cos[:, :, None]
        sin = sin[:, :, None]
        for weights, cache in zip(self.layers, self.caches, strict=True):
            qkv, qkv_bias, out, gate_up, down = weights
            kv_heads = cache.shape[2]
            h = self._normed(x) @ qkv
            # [P, G, heads, D]
            h = (h if qkv_bias is None else h + qkv_bias).view(groups, size, -1, self.head_dim)
            turned = _rotate(h[:, :, :-kv_heads], cos, sin).to(cache.dtype)
            values = h[:, :, -kv_heads:]
            cache[0, :, :, place] = turned[:, :, -kv_heads:].transpose(1, 2)
            cache[1, :, :, place] = values.transpose(1, 2)
            keys, values = cache[:, :, :, :seen]
            x = _add(
                x, attend(turned[:, :, :-kv_heads], keys, values, bias=bias).flatten(0, 1), out
            )
            gate, up = (self._normed(x) @ gate_up).chunk(2, dim=-1)
            x = _add(x, F.silu(gate) * up, down)
        return F.linear(core.norm(x).to(self.head.dtype), self.head)

    def _normed(self, x: Tensor) -> Tensor:
        """x over its root mean square; the norm's weights are folded into the matrices that
        follow."""
        return F.rms_norm(x, x.shape[-1:], None, self.eps).to(self.head.dtype)

    def keep(self, rows: Tensor) -> None:
        """Goes on with these rows only: indices [P', G'], each line within one group. The cache
        closes up in place."""
        layers, _, _, kv_heads, room, dim = self.caches.shape
        size = self.bias.shape[2]
        new_size = rows.shape[1]
        groups = rows[:, 0] // size
        members = rows % size
        own = (
            self.width
            + torch.arange(self.count, device=rows.device)[:, None] * size
            + members[:, None]
        )  # [P', t, G']
        places = torch.cat(
            [torch.arange(self.width, device=rows.device).expand(len(rows), -1), own.flatten(1)],
            dim=1,
        )
        heads = (groups[:, None] * kv_heads + torch.arange(kv_heads, device=rows.device)) * room
        places = (
            heads[:, :, None] + places[:, None]
        ).flatten()  # of each [D] that stays, within a layer's keys or values
        shape = len(rows), kv_heads, self.width + new_size * self.max_tokens, dim
        old = self.caches.view(2 * layers, -1, dim)
        new = self.memory[: 2 * layers * math.prod(shape)].view(2 * layers, *shape)
        # in order, since what moves to the front lies over earlier layers alone
        for i in range(2 * layers):
            new[i, :, :, : self.width + self.count * new_size] = (
                old[i].index_select(0, places).view(*shape[:2], -1, dim)
            )
        self.caches = new.view(layers, 2, *shape)
        self.prompt_bias = self.prompt_bias[groups]
        self.lengths = self.lengths[groups]
        self.bias = self._bias(new_size)

    def finish(self) -> None:
        """Leaves the cache's memory for the next rollout."""
        leave_memory(self.memory)


class GraphDecoder(LayerDecoder):
    """`LayerDecoder` whose steps all have one shape: a row looks over the whole cache, what is not
    written yet is masked, and where a step stands is a number on the device. So a GPU can record
    one step as a CUDA graph and play it again and again. On a CPU the same step is simply taken,
    which is how it is tested.

    A recording costs some steps and is needed anew when rows are dropped, so fewer are.
    """

    drop_at = 0.5
    looks_ahead = True

    def start(self, prompt_ids: Tensor, prompt_mask: Tensor, group_size: int) -> Tensor:
        logits = super().start(prompt_ids, prompt_mask, group_size)
        self._prepare()
        return logits

    def keep(self, rows: Tensor) -> None:
        super().keep(rows)
        self._prepare()

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [R] -> logits [R, V] of the next, which the next step writes over."""
        self.tokens.copy_(tokens)
        self.count += 1
        if self.graph is None:
            return self._one_step()
        self.graph.replay()
        return self.logits

    def _prepare(self) -> None:
        """Where the next step stands, on the device; and on a GPU the recording of a step."""
        device = self.lengths.device
        size = self.bias.shape[2]
        self.tokens = torch.zeros(len(self.lengths) * size, dtype=torch.long, device=device)
        self.place = self.width + self.count * size + torch.arange(size, device=device)
        self.positions = self.lengths + self.count
        self.order = torch.arange(self.bias.shape[-1], device=device)
        self.graph = None
        if device.type == "cuda" and self.count < self.max_tokens:
            self._record_if_possible()

    def _record_if_possible(self) -> None:
        try:
            self._record()
        # it says what to do, and decoding without a graph would not fit either
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.graph = None
            warnings.warn(
                f"decoding goes on without a CUDA graph, more slowly ({error})", stacklevel=2
            )

    def _one_step(self) -> Tensor:
        bias = self.bias.masked_fill(self.order > self.place[-1], -torch.inf)
        logits = self._forward(self.tokens, self.positions, self.place, bias)
        self.place += self.bias.shape[2]
        self.positions += 1
        return logits

    def _record(self) -> None:
        """Takes the next step twice, records it, plays it once to see that it says the same, and
        goes back."""
        place = self.place.clone()
        positions = self.positions.clone()

        def go_back() -> None:
            self.place.copy_(place)
            self.positions.copy_(positions)

        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries take their memory before the recording
            for _ in range(2):
                expected = self._one_step()
                go_back()
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.logits = self._one_step()
        self.graph.replay()
        go_back()
        if not torch.allclose(self.logits.float(), expected.float(), rtol=1e-2, atol=1e-1):
            raise RuntimeError("its step differs from the one that was recorded")


def attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention of one new token a row: queries [P, G, heads, D]; keys, values [P, KV, S, D]; bias
    [P, 1, G, S].

    Returns [P, G, heads * D]. All queries of a group that read the same keys go in one product.
    """
    groups, size, heads, dim = queries.shape
    sharing = heads // keys.shape[1]  # heads that read the same keys
    # [P, KV, heads / KV * G, D]
    q = queries.view(groups, size, -1, sharing, dim).permute(0, 2, 3, 1, 4).flatten(2, 3)
    mixed = F.scaled_dot_product_attention(
        q, keys, values, attn_mask=bias if sharing == 1 else bias.repeat(1, 1, sharing, 1)
    )
    return mixed.unflatten(2, (sharing, size)).permute(0, 3, 1, 2, 4).flatten(2)


# Touching fresh memory costs a CPU a third of the decoding time of a small model, so the last cache
# is kept for the next rollout. Whoever takes it leaves none: two threads never share it.
KEEP_BYTES = 256 * 2**20
_spare: list[Tensor] = []


def take_memory(numbers: int, like: Tensor) -> Tensor:
    """Unset memory for so many numbers of a tensor's dtype, on its device: the spare one if it is
    large enough."""
    try:
        spare = _spare.pop()
    except IndexError:
        spare = like.new_empty(0)
    fits = spare.numel() >= numbers and (spare.dtype, spare.device) == (like.dtype, like.device)
    # else it could not be written to
    fits = fits and spare.is_inference() == torch.is_inference_mode_enabled()
    return spare if fits else like.new_empty(numbers)


def leave_memory(memory: Tensor) -> None:
    """Keeps memory for `take_memory`, unless it is large or on a GPU, whose allocator does that by
    itself."""
    if memory.device.type == "cpu" and memory.numel() * memory.element_size() <= KEEP_BYTES:
        _spare[:] = [memory]


def _fused(layer, dtype: torch.dtype) -> tuple:
    """One layer's weights as [in, out], the three projections of attention in one matrix and the
    two of the MLP in another, and the bias of the former."""
    attention = layer.self_attn
    mlp = layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    bias = (
        torch.cat([p.bias for p in projections]).to(dtype)
        if attention.q_proj.bias is not None
        else None
    )
    qkv = torch.cat([weight_of(p) for p in projections]) * layer.input_layernorm.weight
    gate_up = (
        torch.cat([weight_of(mlp.gate_proj), weight_of(mlp.up_proj)])
        * layer.post_attention_layernorm.weight
    )
    out = weight_of(attention.o_proj)
    down = weight_of(mlp.down_proj)
    qkv, out, gate_up, down = (weight.to(dtype).T for weight in (qkv, out, gate_up, down))
    return qkv, bias, out, gate_up, down


def _add(x: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    """x + inputs @ weight; a sum in float32 stays one where the product is in 16 bits."""
    return torch.addmm(x, inputs, weight) if x.dtype == weight.dtype else x + inputs @ weight


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of x [..., D]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
