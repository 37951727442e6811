"""What makes a larger model fit: matrix products in 16 bits, gradient checkpointing, an 8-bit
optimizer, LoRA.

The master weights and the loss always stay in float32. `tiny` uses none of this.
"""

import copy
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# A layer's seven matrices, as transformers names them.
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def best_compute_dtype(device: str | torch.device) -> torch.dtype:
    """The dtype of matrix multiplications: bfloat16 on a GPU that has it, float16 on another GPU
    (T4), float32 on a CPU."""
    # float16 is slow on a CPU, and bfloat16 is only emulated on a T4.
    if torch.device(device).type != "cuda":
        return torch.float32
    return (
        torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    )


def use_expandable_segments() -> None:
    """Lets PyTorch's CUDA memory grow in place, since every rollout asks for other sizes. To be
    called before the first tensor is on the GPU. What you set yourself stays."""
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")


def autocast(device: torch.device, compute_dtype: torch.dtype) -> AbstractContextManager:
    """A context in which matrix products and attention run in `compute_dtype`. With float32
    nothing changes."""
    if compute_dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, compute_dtype)


def without_cudnn_attention(device: str | torch.device) -> None:
    """On a GPU, removes cuDNN from PyTorch's choice of attention kernels, for the whole process.

    From PyTorch 2.11 it comes first on Hopper cards. It makes a plan for every new shape, which
    takes 0.02 to 0.5 s each by public reports. Here the mask grows, so nearly every call has a new
    shape.
    """
    if torch.device(device).type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


class LossScaler:
    """Loss scaling for float16, whose smallest number is 6e-8.

    The loss is multiplied by a factor before the backward pass, and gradients are divided by it
    after. If they overflow, the update is skipped and the factor halved. After many good updates it
    is doubled (P. Micikevicius et al., arXiv 1710.03740, sec. 3.2). For other dtypes nothing is
    scaled.
    """

    def __init__(self, device: torch.device, compute_dtype: torch.dtype) -> None:
        self.scaler = torch.amp.GradScaler(device.type, enabled=compute_dtype == torch.float16)
        # This makes the factor. An update without rows needs it too.
        self.scaler.scale(torch.zeros((), device=device))

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        self.scaler.step(optimizer)
        self.scaler.update()

    def may_skip(self, grad_norm: float) -> bool:
        """Whether the gradients overflowed because of the factor. Then the next update can be
        good."""
        return (
            not math.isfinite(grad_norm)
            and self.scaler.is_enabled()
            and self.scaler.get_scale() > 1.0
        )

    def state_dict(self) -> dict:
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict) -> None:
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)


class OptimizerSettings(Protocol):
    """The fields of TrainSettings that an optimizer takes."""

    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    eight_bit_optimizer: bool


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """AdamW over the trained weights. With `eight_bit_optimizer` its two moments take one byte each
    instead of four (T. Dettmers et al., arXiv 2110.02861).

    Raises ValueError if the package for that is not installed, or all weights are frozen.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(
            "all weights of this model are frozen: call model.requires_grad_(True), or add_lora"
        )
    # The usual one, or the one of the package that is asked for.
    options = {
        "lr": settings.learning_rate,
        "betas": settings.betas,
        "weight_decay": settings.weight_decay,
    }
    if not settings.eight_bit_optimizer:
        return torch.optim.AdamW(parameters, **options, fused=True)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise ValueError(
            "eight_bit_optimizer needs the package bitsandbytes: pip install bitsandbytes"
        ) from error
    return AdamW8bit(parameters, **options)


def enable_gradient_checkpointing(model: nn.Module) -> None:
    """Gradient checkpointing: the backward pass computes each layer's activations again instead of
    keeping them.

    transformers does it in training mode only (see `training_mode`). So every dropout is set to 0.
    """
    # Models of transformers and of other libraries name it differently.
    enable = (
        getattr(model, "activation_checkpointing_enable", None)
        or model.gradient_checkpointing_enable
    )
    enable({"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if getattr(module, "attention_dropout", 0.0):
            module.attention_dropout = 0.0


@contextmanager
def training_mode(model: nn.Module, on: bool) -> Iterator[None]:
    """The model in training mode if `on`. Gradient checkpointing needs it."""
    was = model.training
    if on:
        model.train()
    try:
        yield
    finally:
        if on:
            model.train(was)


# -- LoRA


def add_lora(model: nn.Module, rank: int) -> None:
    """Freezes the model and adds a trained matrix of this rank to each of a layer's seven (E. Hu et
    al., arXiv 2106.09685). They begin at 0, so that nothing changes yet.

    Raises ValueError on a bad rank, without the package peft, and on a model that has none of these
    matrices.
    """
    if rank < 1:
        raise ValueError(f"the rank of LoRA must be at least 1, not {rank}: 8 or 16 is usual")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ValueError("LoRA needs the package peft: pip install peft") from error
    # Twice the rank is the usual alpha, so LoRA's product is added with weight 2.
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=list(LORA_TARGETS)
    )
    # peft warns about layers that are not there.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inject_adapter_in_model(config, model)
    # Only LoRA's weights are trained.
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def lora_layers(model: nn.Module) -> list[nn.Module]:
    """The layers that have LoRA. The list is empty for a model without it."""
    return [
        module
        for module in model.modules()
        if hasattr(module, "lora_A") and hasattr(module, "base_layer")
    ]


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """The model as it was before LoRA. It serves as the reference, so no copy is needed."""
    layers = lora_layers(model)
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def make_reference(model: nn.Module, compute_dtype: torch.dtype = torch.float32) -> nn.Module:
    """The start model, to measure the KL to: a frozen copy, or with LoRA the model itself, which
    holds it.

    If matrix products are made in 16 bits, its matrices are kept in them too. That takes half the
    memory and gives the same products, bit for bit. A matrix that is also the embedding stays as it
    is.
    """
    if lora_layers(model):
        return model
    # A frozen copy, in half the memory if its products are in 16 bits anyway.
    reference = copy.deepcopy(model).requires_grad_(False)
    if compute_dtype.itemsize == 2:
        embedding = reference.get_input_embeddings().weight
        for module in reference.modules():
            if isinstance(module, nn.Linear) and module.weight is not embedding:
                module.to(compute_dtype)
    return reference


def weight_of(linear: nn.Module) -> Tensor:
    """A linear layer's weight [out, in], with LoRA's added if it is on."""
    if not hasattr(linear, "base_layer"):
        return linear.weight
    # Only the base weight if LoRA is switched off, as for the reference.
    weight = linear.base_layer.weight
    return weight if linear.disable_adapters else weight + linear.get_delta_weight("default")


def merge_lora(model: nn.Module) -> None:
    """Adds LoRA's matrices to the weights for good. The model is then plain and can be saved as any
    other."""
    # The layer itself takes the place of its wrapper.
    names = {layer: name for name, layer in model.named_modules()}
    for layer in lora_layers(model):
        layer.merge()
        parent, _, own = names[layer].rpartition(".")
        setattr(model.get_submodule(parent), own, layer.base_layer)
    model.requires_grad_(True)
    vars(model).pop("peft_config", None)


@contextmanager
def explained_memory(where: str) -> Iterator[None]:
    """Raises RuntimeError that says what to do if a GPU's memory is full."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RuntimeError(
            f"{where}: the GPU's memory is full. What helps most: micro_batch_tokens (begin with"
            " 4096, then halve it) and gradient_checkpointing=True. Neither changes the result,"
            " and a run with checkpoints resumes from its last one when it is started again with"
            " them. If it is still full: LoRA, or fewer prompts_per_step."
            f" ({str(error).splitlines()[0]})"
        ) from error
