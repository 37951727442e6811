"""Decoding Llama and Qwen2 with their layers written out: `LayerDecoder`, and `GraphDecoder` for a
GPU."""

import math
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlvr_helpers.engine.large import weight_of
from rlvr_helpers.engine.reading import prefill

# Rows that share a cache.
LARGEST_GROUP = 16


class LayerDecoder:
    """The layers of Llama and Qwen2 written out over one cache per group.

    The cache holds the prompt's keys and values once. After them it holds those of all the group's
    rows, step by step: [prompt | t=0: row 0, row 1, ... | t=1: ...]. A row attends to the prompt
    and to its own positions. The others' are masked. That is more arithmetic in far fewer
    operations. It grows with the square of the group, so a large group is decoded in parts of at
    most LARGEST_GROUP rows.

    In 16 bits it does what autocast does to the model: weights, cache and products in 16 bits, sums
    and norms in float32. But it converts the weights once per rollout, not at every step.
    """

    drop_at = 0.85
    # Whether a step attends to positions that are not written yet.
    looks_ahead = False

    def __init__(
        self, model: PreTrainedModel, max_tokens: int, compute_dtype: torch.dtype = torch.float32
    ) -> None:
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
        # A large group is cut into equal parts. Each has its own copy of the prompt's cache.
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

        # Room for the whole rollout, with the prompts at its beginning. Each is [P, KV, Tp, D].
        prompts = [(layer.keys, layer.values) for layer in cache.layers]
        groups, kv_heads, width, dim = prompts[0][0].shape
        room = width + group_size * self.max_tokens
        shape = len(prompts), 2, groups, kv_heads, room, dim
        self.memory = take_memory(math.prod(shape), logits)
        if self.looks_ahead:
            # A masked position weighs 0, and 0 times a NaN left in memory is NaN.
            self.memory.zero_()
        self.caches = self.memory[: math.prod(shape)].view(shape)
        for own, parts in zip(self.caches, prompts, strict=True):
            own[0, :, :, :width], own[1, :, :, :width] = parts

        # Where the next tokens stand, and what each row attends to.
        self.lengths = prompt_mask.sum(dim=1)
        self.width = width
        self.count = 0
        self.prompt_bias = torch.zeros_like(prompt_mask, dtype=logits.dtype).masked_fill(
            prompt_mask == 0, -torch.inf
        )
        self.bias = self._bias(group_size)
        return logits.repeat_interleave(group_size, dim=0)

    def _bias(self, group_size: int) -> Tensor:
        """0 where a row attends, else -inf, [P, 1, G, Tp + max_tokens * G]. A row attends neither
        to padding nor to another row."""
        others = self.prompt_bias.new_full((group_size, group_size), -torch.inf).fill_diagonal_(0)
        own = others.repeat(1, self.max_tokens).expand(len(self.prompt_bias), -1, -1)
        prompt = self.prompt_bias[:, None].expand(-1, group_size, -1)
        return torch.cat([prompt, own], dim=-1)[:, None]

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [R] -> logits [R, V] of the next."""
        size = len(tokens) // len(self.lengths)
        here = self.width + self.count * size
        index = slice(here, here + size)
        bias = self.bias[..., : here + size]
        logits = self._forward(tokens, self.lengths + self.count, index, bias=bias)
        self.count += 1
        return logits

    def _forward(
        self, tokens: Tensor, position_ids: Tensor, index: slice | Tensor, bias: Tensor
    ) -> Tensor:
        """One token per row [R] through the layers, to logits [R, V].

        All rows of a group have its position id [P]. Their keys and values are written to `index`
        of the cache. They attend to as many positions as `bias` has.
        """
        core = self.model.model
        groups = len(position_ids)
        seen = bias.shape[-1]
        size = len(tokens) // groups
        x = core.embed_tokens(tokens)  # [R, hidden]
        cos, sin = core.rotary_emb(x, position_ids[:, None])
        # The rotation of each position, [P, 1, 1, D].
        cos = cos[:, :, None]
        sin = sin[:, :, None]
        for weights, cache in zip(self.layers, self.caches, strict=True):
            qkv, qkv_bias, out, gate_up, down = weights
            kv_heads = cache.shape[2]
            # Queries, keys and values from one product, [P, G, heads, D].
            h = self._normed(x) @ qkv
            h = (h if qkv_bias is None else h + qkv_bias).view(groups, size, -1, self.head_dim)
            turned = _rotate(h[:, :, :-kv_heads], cos, sin).to(cache.dtype)
            values = h[:, :, -kv_heads:]
            cache[0, :, :, index] = turned[:, :, -kv_heads:].transpose(1, 2)
            cache[1, :, :, index] = values.transpose(1, 2)
            # Attention over what the cache holds, then the MLP.
            keys, values = cache[:, :, :, :seen]
            mixed = attend(turned[:, :, :-kv_heads], keys, values, bias=bias)
            x = self._add(x, mixed.flatten(0, 1), out)
            gate, up = (self._normed(x) @ gate_up).chunk(2, dim=-1)
            x = self._add(x, F.silu(gate) * up, down)
        return F.linear(core.norm(x).to(self.head.dtype), self.head)

    def _normed(self, x: Tensor) -> Tensor:
        """x divided by its root mean square. The norm's weights are part of the next matrix."""
        return F.rms_norm(x, x.shape[-1:], None, self.eps).to(self.head.dtype)

    @staticmethod
    def _add(x: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
        """x + inputs @ weight. A sum in float32 stays in float32 if the product is in 16 bits."""
        return torch.addmm(x, inputs, weight) if x.dtype == weight.dtype else x + inputs @ weight

    def keep(self, rows: Tensor) -> None:
        """Continues with these rows only: indices [P', G'], each line within one group. The cache
        is compacted in place."""
        layers, _, _, kv_heads, room, dim = self.caches.shape
        size = self.bias.shape[2]
        new_size = rows.shape[1]
        groups = rows[:, 0] // size
        members = rows % size
        # Which positions of a group stay: the prompt, and of each step t those of the kept rows.
        prompt = torch.arange(self.width, device=rows.device).expand(len(rows), -1)
        steps = torch.arange(self.count, device=rows.device)[:, None] * size
        own = self.width + steps + members[:, None]  # [P', t, G']
        kept = torch.cat([prompt, own.flatten(1)], dim=1)
        # The same for each head, as indices of vectors [D] within a layer's keys or values.
        heads = (groups[:, None] * kv_heads + torch.arange(kv_heads, device=rows.device)) * room
        kept = (heads[:, :, None] + kept[:, None]).flatten()
        # Move them to the front of the memory, layer by layer. In this order only layers that were
        # already moved are overwritten.
        shape = len(rows), kv_heads, self.width + new_size * self.max_tokens, dim
        old = self.caches.view(2 * layers, -1, dim)
        new = self.memory[: 2 * layers * math.prod(shape)].view(2 * layers, *shape)
        for i in range(2 * layers):
            new[i, :, :, : self.width + self.count * new_size] = (
                old[i].index_select(0, kept).view(*shape[:2], -1, dim)
            )
        self.caches = new.view(layers, 2, *shape)
        self.prompt_bias = self.prompt_bias[groups]
        self.lengths = self.lengths[groups]
        self.bias = self._bias(new_size)

    def finish(self) -> None:
        """Leaves the cache's memory for the next rollout."""
        leave_memory(self.memory)


class GraphDecoder(LayerDecoder):
    """A `LayerDecoder` whose steps all have one shape, so that a GPU can replay a CUDA graph.

    A row attends to the whole cache, and what is not written yet is masked. The step's number is
    kept on the device. One step is recorded as a CUDA graph and replayed. On a CPU the same step
    runs without a graph, which is how it is tested.

    A recording costs as much as some steps and must be repeated when rows are dropped. So rows are
    dropped less often.
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
        """tokens [R] -> logits [R, V] of the next token. The next step overwrites them."""
        self.tokens.copy_(tokens)
        self.count += 1
        if self.graph is None:
            return self._one_step()
        self.graph.replay()
        return self.logits

    def _prepare(self) -> None:
        """Puts on the device where the next step stands. On a GPU it records a step."""
        device = self.lengths.device
        size = self.bias.shape[2]
        self.tokens = torch.zeros(len(self.lengths) * size, dtype=torch.long, device=device)
        self.index = self.width + self.count * size + torch.arange(size, device=device)
        self.position_ids = self.lengths + self.count
        self.order = torch.arange(self.bias.shape[-1], device=device)
        self.graph = None
        if device.type == "cuda" and self.count < self.max_tokens:
            self._record_if_possible()

    def _record_if_possible(self) -> None:
        try:
            self._record()
        # This error says what to do, and decoding without a graph would not fit either.
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.graph = None
            warnings.warn(
                f"decoding continues without a CUDA graph, more slowly ({error})", stacklevel=2
            )

    def _one_step(self) -> Tensor:
        bias = self.bias.masked_fill(self.order > self.index[-1], -torch.inf)
        logits = self._forward(self.tokens, self.position_ids, self.index, bias=bias)
        self.index += self.bias.shape[2]
        self.position_ids += 1
        return logits

    def _record(self) -> None:
        """Records the next step, and checks that its replay gives the same logits. The decoder
        stands where it stood before.

        Raises RuntimeError if the replay differs.
        """
        index = self.index.clone()
        position_ids = self.position_ids.clone()

        def go_back() -> None:
            self.index.copy_(index)
            self.position_ids.copy_(position_ids)

        # Run the step twice, so that libraries take their memory before the recording.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):
                expected = self._one_step()
                go_back()
        torch.cuda.current_stream().wait_stream(aside)
        # Record it and replay it once.
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.logits = self._one_step()
        self.graph.replay()
        go_back()
        if not torch.allclose(self.logits.float(), expected.float(), rtol=1e-2, atol=1e-1):
            raise RuntimeError("its step differs from the one that was recorded")


def attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention of one new token per row, [P, G, heads * D].

    queries [P, G, heads, D], keys and values [P, KV, S, D], bias [P, 1, G, S]. All queries of a
    group that read the same keys go into one product.
    """
    groups, size, heads, dim = queries.shape
    # Heads that read the same keys go side by side, [P, KV, heads / KV * G, D].
    sharing = heads // keys.shape[1]
    q = queries.view(groups, size, -1, sharing, dim).permute(0, 2, 3, 1, 4).flatten(2, 3)
    mixed = F.scaled_dot_product_attention(
        q, keys, values, attn_mask=bias if sharing == 1 else bias.repeat(1, 1, sharing, 1)
    )
    return mixed.unflatten(2, (sharing, size)).permute(0, 3, 1, 2, 4).flatten(2)


# Touching fresh memory costs a CPU a third of the decoding time of a small model. So the last cache
# is kept for the next rollout. Who takes it leaves none, so two threads never share it.
KEEP_BYTES = 256 * 2**20
_spare: list[Tensor] = []


def take_memory(numbers: int, like: Tensor) -> Tensor:
    """Uninitialised memory for this many numbers, with a tensor's dtype and device. It is the spare
    memory if that is large enough."""
    # Another thread can have taken it in the meantime.
    try:
        spare = _spare.pop()
    except IndexError:
        spare = like.new_empty(0)
    fits = spare.numel() >= numbers and (spare.dtype, spare.device) == (like.dtype, like.device)
    # Memory made in inference mode cannot be written to outside it.
    fits = fits and spare.is_inference() == torch.is_inference_mode_enabled()
    return spare if fits else like.new_empty(numbers)


def leave_memory(memory: Tensor, most: int = KEEP_BYTES) -> None:
    """Keeps memory for `take_memory`, unless it is large or on a GPU. A GPU's allocator keeps it
    anyway."""
    if memory.device.type == "cpu" and memory.numel() * memory.element_size() <= most:
        _spare[:] = [memory]


def _fused(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor | None, ...]:
    """One layer's weights as [in, out]: qkv, the bias of qkv, out, gate_up, down.

    Attention's three projections are one matrix, and two of the MLP's are another. The weights of
    the norm before each are multiplied in.
    """
    attention = layer.self_attn
    mlp = layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    bias = (
        torch.cat([p.bias for p in projections]).to(dtype)
        if attention.q_proj.bias is not None
        else None
    )
    # The norm's weights scale the inputs, which are the columns of [out, in].
    qkv = torch.cat([weight_of(p) for p in projections]) * layer.input_layernorm.weight
    gate_up = (
        torch.cat([weight_of(mlp.gate_proj), weight_of(mlp.up_proj)])
        * layer.post_attention_layernorm.weight
    )
    out = weight_of(attention.o_proj)
    down = weight_of(mlp.down_proj)
    # As [in, out], so that each product is inputs @ weight.
    qkv, out, gate_up, down = (weight.to(dtype).T for weight in (qkv, out, gate_up, down))
    return qkv, bias, out, gate_up, down


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of x [..., D]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
