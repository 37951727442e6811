"""Does it fit on this card, and how long is a step? Memory and time of RL training from a model's
shape.

    # LoRA with gradient checkpointing
    cheapest_fit(SHAPES["qwen2.5-1.5b"], Workload(), CARDS["RTX 4090"])

Counted is this course's training on one GPU: float32 weights (under LoRA the frozen ones too),
AdamW, autocast to 16 bits, a group packed in one row, logits made in parts. Memory is counted
tensor by tensor. Time is cruder: which shares of a card's peaks are reached is an assumption,
measured nowhere in this course, and an argument.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from rlvr_helpers.study.cards import CARDS as CARDS
from rlvr_helpers.study.cards import Card
from rlvr_helpers.study.cards import known_card as known_card

GIB = 2**30
# Numbers of logits that are made at once.
LARGEST_LOGITS = 2**26
# float32 tensors of that size at the peak, in the backward pass: measured with torch's profiler.
LOGIT_COPIES = 5
# Bytes per parameter of AdamW's two moments. In 8 bits there is a float32 for each block of 256
# (bitsandbytes).
MOMENTS = 8
MOMENTS_8_BIT = 2 + 2 * 4 / 256
# Of the card's figures: assumed, not measured.
REACHED = {"bandwidth": 0.5, "peak": 0.35}
# Operations of one layer, without views: counted on a CPU by torch's dispatcher.
STARTS = {"generation": 25, "forward": 56, "backward": 96}
# What Python and the driver take to start one operation: assumed, not measured.
SECONDS_A_START = 8e-6


def _check(thing: object, *whole: str) -> None:
    for name in whole:
        value = getattr(thing, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama or Qwen2 model. Raises ValueError on sizes that make no model.

    tied:     the last matrix is the embedding
    qkv_bias: queries, keys and values have biases (Qwen2)
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocab: int
    tied: bool
    qkv_bias: bool

    def __post_init__(self) -> None:
        _check(self, "layers", "hidden", "heads", "kv_heads", "head_dim", "mlp", "vocab")
        if self.heads % self.kv_heads:
            raise ValueError(
                f"{self.heads} heads cannot share {self.kv_heads} key-value heads evenly:"
                " choose a divisor"
            )

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """The shape in a configuration of transformers. Raises ValueError on a family or option
        that is not known."""
        # Families whose layers are counted here, without further options.
        c = config
        kind = config.model_type
        biased = kind == "llama" and (
            getattr(c, "attention_bias", False) or getattr(c, "mlp_bias", False)
        )
        if kind not in ("llama", "qwen2") or biased:
            raise ValueError(
                "only Llama without biases and Qwen2 are known here, not this configuration of"
                f" {kind!r}: give a Shape yourself"
            )
        # The same sizes under our names.
        return cls(
            layers=c.num_hidden_layers,
            hidden=c.hidden_size,
            heads=c.num_attention_heads,
            kv_heads=c.num_key_value_heads,
            head_dim=getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads,
            mlp=c.intermediate_size,
            vocab=c.vocab_size,
            tied=bool(c.tie_word_embeddings),
            qkv_bias=kind == "qwen2",
        )

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of a layer's matrices: q, k, v, o, gate, up, down."""
        h = self.hidden
        m = self.mlp
        q = self.heads * self.head_dim
        kv = self.kv_heads * self.head_dim
        return (h, q), (h, kv), (h, kv), (q, h), (h, m), (h, m), (m, h)

    @property
    def matrix_parameters(self) -> int:
        """Weights that a token is multiplied with, the last matrix included. Looking up an
        embedding is no product."""
        return self.layers * sum(i * o for i, o in self.matrices) + self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        """All weights: with norms, biases and, unless it is the last matrix, the embedding."""
        bias = (self.heads + 2 * self.kv_heads) * self.head_dim if self.qkv_bias else 0
        embedding = 0 if self.tied else self.vocab * self.hidden
        return (
            self.matrix_parameters
            + embedding
            + self.layers * (2 * self.hidden + bias)
            + self.hidden
        )


# The published configurations. That of tiny is in data/tiny.
SHAPES = {
    "tiny": Shape(
        4, 128, 4, kv_heads=4, head_dim=32, mlp=384, vocab=167, tied=True, qkv_bias=False
    ),
    "smollm2-135m": Shape(
        30, 576, 9, kv_heads=3, head_dim=64, mlp=1536, vocab=49152, tied=True, qkv_bias=False
    ),
    "qwen2.5-0.5b": Shape(
        24, 896, 14, kv_heads=2, head_dim=64, mlp=4864, vocab=151936, tied=True, qkv_bias=True
    ),
    "qwen2.5-1.5b": Shape(
        28, 1536, 12, kv_heads=2, head_dim=128, mlp=8960, vocab=151936, tied=True, qkv_bias=True
    ),
}


@dataclass(frozen=True)
class Workload:
    """One step: `prompts * group_size` completions are sampled, scored once, and trained on
    `updates_per_token` times, in one optimizer step each time. Every completion counts at its full
    length. Raises ValueError on numbers below 1.

    micro_batch_tokens:     places that go through the model at once, at least one prompt with one
                            completion
    lora_rank:              train adapters of this rank on q, k, v, o, gate, up and down. None:
                            train all weights
    eight_bit_optimizer:    keep AdamW's moments in 8 bits
    gradient_checkpointing: keep only each layer's input, and compute a layer again in the backward
                            pass
    reference:              a KL term to the start model. It needs a copy of it, except under LoRA
    minibatches:            optimizer steps that each of `updates_per_token` is cut into
    """

    prompts: int = 2
    group_size: int = 8
    prompt_tokens: int = 100
    completion_tokens: int = 400
    updates_per_token: int = 1
    micro_batch_tokens: int = 4096
    lora_rank: int | None = None
    eight_bit_optimizer: bool = False
    gradient_checkpointing: bool = False
    reference: bool = False
    minibatches: int = 1

    def __post_init__(self) -> None:
        _check(self, "prompts", "group_size", "prompt_tokens", "completion_tokens", "minibatches")
        _check(self, "updates_per_token", "micro_batch_tokens")
        if self.lora_rank is not None:
            _check(self, "lora_rank")

    @property
    def row(self) -> int:
        """Places of a packed group: the prompt once, then every completion."""
        return self.prompt_tokens + self.group_size * self.completion_tokens

    @property
    def places_at_once(self) -> int:
        return min(
            max(self.micro_batch_tokens, self.prompt_tokens + self.completion_tokens),
            self.prompts * self.row,
        )

    @property
    def side(self) -> int:
        """Places that each place is compared with: its row's, or the micro-batch's if that is
        smaller."""
        return min(self.row, self.places_at_once)


def trained_parameters(shape: Shape, work: Workload) -> int:
    """Weights that have a gradient: all, or those of the LoRA adapters, on all of a layer's
    matrices."""
    if work.lora_rank is None:
        return shape.parameters
    return shape.layers * work.lora_rank * sum(i + o for i, o in shape.matrices)


def layer_bytes(shape: Shape, side: int) -> int:
    """Bytes that autograd keeps of a place in one layer, under autocast, where a place is compared
    with `side` others.

    Each norm: its input and the normed one in float32, a scale. Each of q, k, v, gate, up: its
    16-bit input, which autocast casts anew for every product. Attention: queries, keys, values
    (repeated for all heads), output, a normaliser a head, a line of the mask, made 16-bit in every
    layer. MLP: gate, silu(gate), up, and what `down` reads.
    """
    norms = 2 * (2 * 4 * shape.hidden + 4)
    inputs = 5 * 2 * shape.hidden
    attention = 4 * 2 * shape.heads * shape.head_dim + 4 * shape.heads + 2 * side
    return norms + inputs + attention + 4 * 2 * shape.mlp


def cache_bytes(shape: Shape, positions: float) -> float:
    """Bytes of the 16-bit keys and values of so many places. A group's prompt is kept once."""
    return 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim * positions


def memory_parts(shape: Shape, work: Workload) -> dict[str, float]:
    """GiB by part. `memory_gib` says which of them are there at once.

    Under LoRA, activations count as without it (about 15 % too much: adapters read the same inputs,
    but frozen norms keep less). "logits" holds the last matrix's gradient too: 16-bit while it adds
    up, then also in float32.
    """
    full = work.lora_rank is None
    trained = trained_parameters(shape, work)
    # Of one place: the input of each layer, and what a layer keeps.
    stream = 4 * shape.hidden
    head = shape.vocab * shape.hidden if full else 0
    layer = layer_bytes(shape, work.side)
    inputs = shape.layers * stream
    layers = inputs + layer - stream if work.gradient_checkpointing else shape.layers * layer
    logits = LOGIT_COPIES * 4 * min(LARGEST_LOGITS, work.places_at_once * shape.vocab)
    parts = {
        "weights": 4 * (shape.parameters + (0 if full else trained)),
        "gradients": 4 * trained,
        "optimizer": (MOMENTS_8_BIT if work.eight_bit_optimizer else MOMENTS) * trained,
        "reference": 4 * shape.parameters if work.reference and full else 0,
        "16-bit copies": 2 * shape.matrix_parameters,
        # Also the last norm's input, and the last matrix's.
        "activations": work.places_at_once * (layers + 3 * stream),
        "logits": 2 * head + max(logits, 4 * head),
        "cache": cache_bytes(shape, work.prompts * work.row),
    }
    return {name: size / GIB for name, size in parts.items()}


def memory_gib(shape: Shape, work: Workload) -> float:
    """The peak in GiB. The cache lives while completions are sampled, activations and logits while
    they are trained on. The larger side counts. All else is there throughout. So are gradients,
    since the trainer sets them to zero and does not free them."""
    parts = memory_parts(shape, work)
    training = parts.pop("activations") + parts.pop("logits")
    return max(parts.pop("cache"), training) + sum(parts.values())


def seconds_parts(
    shape: Shape, work: Workload, card: Card, reached: dict[str, float] | None = None
) -> dict[str, float]:
    """Seconds of one step by part, if the card reaches these shares of its "bandwidth" and "peak"
    (default: REACHED).

    Sampling a token reads the 16-bit weights and the cache (at its mean length), or takes its
    arithmetic if that is longer. Scoring and training are arithmetic: 2 FLOPs a weight and place
    forward, 4 backward (2 under LoRA), and attention's. AdamW reads and writes. Not counted: the
    prompts' first reading, the logits' second making, and the start of each operation from Python
    (`start_parts`), most of a small model's time. Raises ValueError on other or impossible shares,
    and on a card whose speed is not known.
    """
    if not card.speed_is_known:
        raise ValueError(
            f"the speed of the card {card.name} is not known: choose a card of CARDS to"
            " calculate a time"
        )
    # Bytes and operations per second that the card reaches.
    shares = REACHED | (reached or {})
    if set(shares) != set(REACHED) or not all(0 < share <= 1 for share in shares.values()):
        raise ValueError(
            f"reached takes the shares {', '.join(REACHED)}, each above 0 and at most 1, not"
            f" {reached}"
        )
    bandwidth = card.bandwidth_gb_s * 1e9 * shares["bandwidth"]
    rate = card.tflops * 1e12 * shares["peak"]
    weights = 2 * shape.matrix_parameters
    pair = 4 * shape.layers * shape.heads * shape.head_dim
    # Of a group's cache, on average.
    seen = work.prompt_tokens + work.group_size * work.completion_tokens / 2
    read = (weights + cache_bytes(shape, work.prompts * seen)) / bandwidth
    compute = work.prompts * work.group_size * (weights + pair * seen) / rate
    # Scoring and training: the products and attention's arithmetic of all positions.
    positions = work.prompts * work.row
    updates = work.updates_per_token
    full = work.lora_rank is None
    product = positions * weights / rate
    attention = positions * pair * work.side / rate
    again = product + attention if work.gradient_checkpointing else 0
    moved = 3 * 4 + 2 * (MOMENTS_8_BIT if work.eight_bit_optimizer else MOMENTS)
    return {
        "generation": work.completion_tokens * max(read, compute),
        "scoring": (2 if work.reference else 1) * (product + attention),
        "forward": updates * (product + attention),
        "backward": updates * ((2 if full else 1) * product + 2 * attention + again),
        "optimizer": (
            updates * work.minibatches * trained_parameters(shape, work) * moved / bandwidth
        ),
    }


def start_parts(shape: Shape, work: Workload) -> dict[str, float]:
    """Seconds by part that Python takes to start the operations: layers x operations of a layer x
    tokens decoded one after the other, or passes of a micro-batch through the model. Decoding
    counts as if no CUDA graph were recorded, and recording one costs time as well."""
    # Operations of all layers, once per token decoded or per pass of a micro-batch.
    a_layer = {part: shape.layers * count * SECONDS_A_START for part, count in STARTS.items()}
    passes = work.minibatches * math.ceil(
        work.prompts * work.row / work.minibatches / work.places_at_once
    )
    forward = passes * a_layer["forward"]
    backward = passes * a_layer["backward"]
    return {
        "generation": work.completion_tokens * a_layer["generation"],
        "scoring": (2 if work.reference else 1) * forward,
        "forward": work.updates_per_token * forward,
        "backward": (
            work.updates_per_token * (backward + (forward if work.gradient_checkpointing else 0))
        ),
        "optimizer": 0.0,
    }


def step_seconds(shape: Shape, work: Workload, card: Card) -> float:
    """Seconds of one step. The card computes while Python starts what comes next, so of each part
    the longer counts: `seconds_parts` for a large model, `start_parts` for a small one."""
    starts = start_parts(shape, work)
    return sum(
        max(seconds, starts[part]) for part, seconds in seconds_parts(shape, work, card).items()
    )


def fits(shape: Shape, work: Workload, card: Card, reserve_gib: float = 1.5) -> bool:
    """Whether the peak and a reserve (the driver's share, gaps between tensors) are within the
    card's memory."""
    if not 0 <= reserve_gib < math.inf:
        raise ValueError(f"reserve_gib must be a number of at least 0, not {reserve_gib}")
    return memory_gib(shape, work) + reserve_gib <= card.memory_gib


def cheapest_fit(
    shape: Shape,
    work: Workload,
    card: Card,
    reserve_gib: float = 1.5,
    allow_eight_bit: bool = False,
) -> Workload | None:
    """The workload with the fewest savings that fits. None if nothing fits.

    The order is: none, gradient checkpointing, that with an 8-bit optimizer (if allowed), LoRA of
    rank 16, that with checkpointing. Savings in `work` are set aside.
    """
    # From the fewest savings to the most.
    plain = replace(work, lora_rank=None, eight_bit_optimizer=False, gradient_checkpointing=False)
    checkpointed = replace(plain, gradient_checkpointing=True)
    lora = replace(plain, lora_rank=16)
    eight_bit = [replace(checkpointed, eight_bit_optimizer=True)] if allow_eight_bit else []
    choices = [plain, checkpointed, *eight_bit, lora, replace(lora, gradient_checkpointing=True)]
    return next(
        (choice for choice in choices if fits(shape, choice, card, reserve_gib=reserve_gib)), None
    )
