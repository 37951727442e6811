"""Decoding token by token, fast: two decoders with the same three methods, used by `sampling.sample_groups`.

`start` reads each prompt once for its whole group, `step` adds one token to every row, `keep` drops finished rows.
`LayerDecoder` writes the layers of the Llama family out over a cache that is allocated once; `CacheDecoder` asks any
model of transformers, and is its test twin.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache


def decoder_for(model, max_tokens: int):
    """The fastest decoder that knows this model."""
    return (LayerDecoder if is_written_out(model.config) else CacheDecoder)(model, max_tokens)


def is_written_out(config) -> bool:
    """Whether `LayerDecoder` knows every part of this model: Llama or Qwen2 as they come, without rarer options."""
    return (
        config.model_type in ("llama", "qwen2")
        and config.hidden_act == "silu"
        and not getattr(config, "mlp_bias", False)
        and not (config.model_type == "llama" and config.attention_bias)  # also on the output, where Qwen2 has none
        and not getattr(config, "use_sliding_window", False)
    )


def prefill(model, prompt_ids: Tensor, prompt_mask: Tensor) -> tuple[Tensor, DynamicCache]:
    """Reads prompts [P, T]: the last position's logits [P, V], and the cache of keys and values."""
    positions = (prompt_mask.cumsum(1) - 1).clamp(min=0)
    out = model(
        input_ids=prompt_ids, attention_mask=prompt_mask, position_ids=positions, use_cache=True, logits_to_keep=1
    )
    return out.logits[:, -1], out.past_key_values


class CacheDecoder:
    """Decodes with the model's own forward and a cache that grows by a copy at every step."""

    def __init__(self, model, max_tokens: int):
        self.model = model

    def start(self, prompt_ids: Tensor, prompt_mask: Tensor, group_size: int) -> Tensor:
        logits, self.cache = prefill(self.model, prompt_ids, prompt_mask)
        self.cache.batch_repeat_interleave(group_size)
        self.mask = prompt_mask.repeat_interleave(group_size, dim=0)
        return logits.repeat_interleave(group_size, dim=0)

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [R] -> logits [R, V] of the next."""
        positions = self.mask.sum(dim=1, keepdim=True)
        self.mask = F.pad(self.mask, (0, 1), value=1)
        out = self.model(
            input_ids=tokens[:, None], attention_mask=self.mask, position_ids=positions, past_key_values=self.cache
        )
        return out.logits[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Goes on with these rows only: indices [P', G']."""
        self.cache.batch_select_indices(rows.flatten())
        self.mask = self.mask[rows.flatten()]


class LayerDecoder:
    """The layers of Llama and Qwen2 written out. Rows stay a rectangle of groups: a group's rows share one copy of their
    prompt's keys and values, and each row's own lie in a cache that is allocated once."""

    def __init__(self, model, max_tokens: int):
        self.model, self.max_tokens = model, max_tokens
        self.layers = [_fused(layer) for layer in model.model.layers]
        self.head_dim = model.model.layers[0].self_attn.head_dim
        self.eps = model.config.rms_norm_eps

    def start(self, prompt_ids: Tensor, prompt_mask: Tensor, group_size: int) -> Tensor:
        logits, cache = prefill(self.model, prompt_ids, prompt_mask)
        self.prompts = [(layer.keys, layer.values) for layer in cache.layers]  # each [P, KV, Tp, D]
        groups, kv_heads = len(prompt_ids), cache.layers[0].keys.shape[1]
        shape = groups, group_size, kv_heads, self.max_tokens, self.head_dim
        self.own = [(logits.new_empty(shape), logits.new_empty(shape)) for _ in self.layers]
        self.bias = torch.zeros_like(prompt_mask, dtype=logits.dtype).masked_fill(prompt_mask == 0, float("-inf"))
        self.lengths, self.count = prompt_mask.sum(dim=1), 0
        return logits.repeat_interleave(group_size, dim=0)

    def step(self, tokens: Tensor) -> Tensor:
        """tokens [R] -> logits [R, V] of the next."""
        core, groups = self.model.model, len(self.lengths)
        x = core.embed_tokens(tokens).view(groups, len(tokens) // groups, -1)  # [P, G, hidden]
        cos, sin = core.rotary_emb(x, (self.lengths + self.count)[:, None])
        cos, sin = cos[:, :, None], sin[:, :, None]  # [P, 1, 1, D]: a group's rows stand at one position
        for weights, prompt, own in zip(self.layers, self.prompts, self.own, strict=True):
            norm, qkv, bias, out, norm_mlp, gate_up, down = weights
            kv_heads = own[0].shape[2]
            h = F.linear(F.rms_norm(x, x.shape[-1:], norm, self.eps), qkv, bias)
            h = h.view(*x.shape[:2], -1, self.head_dim)  # [P, G, heads, D]
            turned, values = _rotate(h[:, :, :-kv_heads], cos, sin), h[:, :, -kv_heads:]
            queries, keys = turned[:, :, :-kv_heads], turned[:, :, -kv_heads:]
            own[0][:, :, :, self.count], own[1][:, :, :, self.count] = keys, values
            so_far = own[0][:, :, :, : self.count + 1], own[1][:, :, :, : self.count + 1]
            x = x + F.linear(attend(queries, prompt, so_far, self.bias), out)
            gate, up = F.linear(F.rms_norm(x, x.shape[-1:], norm_mlp, self.eps), gate_up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, down)
        self.count += 1
        return self.model.lm_head(core.norm(x)).flatten(0, 1)

    def keep(self, rows: Tensor) -> None:
        """Goes on with these rows only: indices [P', G'], each line within one group."""
        group_size = self.own[0][0].shape[1]
        groups, members = rows[:, 0] // group_size, rows % group_size
        self.prompts = [(k[groups], v[groups]) for k, v in self.prompts]
        self.own = [(self._kept(k, groups, members), self._kept(v, groups, members)) for k, v in self.own]
        self.bias, self.lengths = self.bias[groups], self.lengths[groups]

    def _kept(self, cache: Tensor, groups: Tensor, members: Tensor) -> Tensor:
        """Some rows of a cache [P, G, KV, max_tokens, D]; only the positions that are written so far are copied."""
        kept = cache.new_empty(*members.shape, *cache.shape[2:])
        kept[:, :, :, : self.count] = cache[:, :, :, : self.count][groups[:, None], members]
        return kept


def attend(queries: Tensor, prompt: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
    """Attention of one new token a row over its group's prompt and its own past.

    queries [P, G, heads, D]; prompt keys and values [P, KV, Tp, D]; own ones [P, G, KV, t, D]; bias [P, Tp] is -inf on
    padding. Returns [P, G, heads * D]. One softmax runs over both parts: their scores stand side by side.
    """
    groups, size, heads, dim = queries.shape
    kv_heads, width = prompt[0].shape[1:3]
    q = queries.view(groups, size, kv_heads, -1, dim) * dim**-0.5  # [P, G, KV, heads / KV, D]
    by_group = q.transpose(1, 2).reshape(groups, kv_heads, -1, dim)  # all queries that read the same keys
    to_prompt = by_group @ prompt[0].transpose(-1, -2) + bias[:, None, None, :]
    to_prompt = to_prompt.view(groups, kv_heads, size, -1, width).transpose(1, 2)
    weights = torch.cat([to_prompt, q @ own[0].transpose(-1, -2)], dim=-1).softmax(dim=-1)
    on_prompt = weights[..., :width].transpose(1, 2).reshape(groups, kv_heads, -1, width) @ prompt[1]
    from_prompt = on_prompt.view(groups, kv_heads, size, -1, dim).transpose(1, 2)
    return (from_prompt + weights[..., width:] @ own[1]).reshape(groups, size, -1)


def _fused(layer) -> tuple:
    """One layer's weights, with the three projections of attention in one matrix and the two of the MLP in another."""
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    bias = torch.cat([p.bias for p in projections]) if attention.q_proj.bias is not None else None
    return (
        layer.input_layernorm.weight,
        torch.cat([p.weight for p in projections]),
        bias,
        attention.o_proj.weight,
        layer.post_attention_layernorm.weight,
        torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
        mlp.down_proj.weight,
    )


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of x [..., D]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
