"""Reading texts with a model in one forward pass, and which kinds of models can be read here."""

import inspect

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel

from rlvr_helpers.engine.large import autocast


def is_written_out(config: PretrainedConfig) -> bool:
    """Whether `LayerDecoder` knows every part of this model: Llama or Qwen2 without rarer
    options."""
    return (
        config.model_type in ("llama", "qwen2")
        and config.hidden_act == "silu"
        and not getattr(config, "mlp_bias", False)
        # Llama's option puts a bias on the output projection too. Qwen2 has none there.
        and not (config.model_type == "llama" and config.attention_bias)
        and not has_window(config)
    )


# Layers whose keys and values are all that later tokens need. A sliding window only changes the
# mask.
ATTENTION = ("full_attention", "sliding_attention", "chunked_attention")


def layer_types(config: PretrainedConfig) -> tuple[str, ...]:
    """The kinds of a model's layers, as far as its configuration names them."""
    return tuple(getattr(config, "layer_types", None) or ())


def has_window(config: PretrainedConfig) -> bool:
    """Whether in some layer a token sees fewer than all earlier ones. Then neither `LayerDecoder`
    nor `packing` knows the mask."""
    return any(kind != "full_attention" for kind in layer_types(config))


def keeps_state(model: PreTrainedModel) -> bool:
    """Whether some layer keeps a recurrent or convolution state. It cannot be shared by a group as
    keys and values can."""
    stateful = getattr(model, "_is_stateful", False)
    return stateful or any(kind not in ATTENTION for kind in layer_types(model.config))


def gives_cache(model: PreTrainedModel) -> bool:
    """Whether a model takes and returns a cache. A few old ones (the first GPT, XLM) have none."""
    return "past_key_values" in inspect.signature(model.forward).parameters


def read_all(model: nn.Module, ids: Tensor, mask: Tensor, last: int) -> Tensor:
    """The logits of the last positions [B, last, V] of left-padded rows [B, T]. One forward pass,
    no cache."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        logits_to_keep=last,
        use_cache=False,
    )
    return out.logits


def check_model(model: PreTrainedModel) -> None:
    """Raises ValueError on a model that cannot be sampled and scored here.

    A model whose layers `engine.layers` writes out can be. Any other is tried: it reads a few
    tokens alone, after padding and before other tokens.
    """
    if is_written_out(model.config):
        return
    kind = f"a model of the kind {model.config.model_type!r} cannot be used here"
    other = "Take a causal language model such as Llama or Qwen2."
    # Read three tokens in three ways.
    ids = torch.arange(3, device=model.device)[None]
    mask = torch.ones_like(ids)
    try:
        with torch.inference_mode():
            alone = read_all(model, ids, mask, last=1)[:, -1].float()
            padded = read_all(model, F.pad(ids, (2, 0)), F.pad(mask, (2, 0)), last=1)[:, -1].float()
            longer = F.pad(ids, (0, 2)), F.pad(mask, (0, 2), value=1)
            followed = read_all(model, *longer, last=3)[:, 0].float()
    # A model's forward can raise anything.
    except Exception as error:
        raise ValueError(
            f"{kind}: it does not read a short text ({type(error).__name__}: {error}). {other}"
        ) from error
    # What follows a token must not change its logits, nor must padding before it.
    rounding = max(1e-3, 30 * torch.finfo(model.dtype).eps) * (alone.max() - alone.min())
    if (alone - followed).abs().max() > rounding:
        raise ValueError(
            f"{kind}: a token sees those that follow it, so it does not predict text token by"
            f" token. {other}"
        )
    # Padding can disturb models with learned positions too. That shows in the sampler gap, and
    # `train` warns of it.
    if keeps_state(model) and (alone - padded).abs().max() > rounding:
        raise ValueError(
            f"{kind}: padding before a prompt changes its recurrent state, so prompts cannot be"
            f" batched. {other}"
        )


def prefill(
    model: PreTrainedModel, prompt_ids: Tensor, prompt_mask: Tensor, compute_dtype: torch.dtype
) -> tuple[Tensor, DynamicCache]:
    """Reads prompts [P, T]. Returns the last position's logits [P, V] and the cache of keys and
    values."""
    positions = (prompt_mask.cumsum(1) - 1).clamp(min=0)
    with autocast(prompt_ids.device, compute_dtype):
        # This cache keeps everything. One made from a configuration with a stray window would cut
        # off what the model sees.
        out = model(
            input_ids=prompt_ids,
            attention_mask=prompt_mask,
            position_ids=positions,
            past_key_values=DynamicCache(),
            use_cache=True,
            logits_to_keep=1,
        )
    return out.logits[:, -1], out.past_key_values
