"""Everything about a training run but the method: steps, batch sizes, learning rate, what is
recorded."""

import math
from dataclasses import dataclass, fields

# No machine holds more than these at once: they are slips of the keyboard.
MOST_COMPLETIONS = 100_000
MOST_TOKENS = 1_000_000

# Settings that are at least 1, or None if their type allows it.
WHOLE = (
    "steps prompts_per_step epochs minibatches max_tokens eval_every checkpoint_every decay_steps"
    " micro_batch_rows micro_batch_tokens"
).split()


def _is_like(value: object, usual: object) -> bool:
    """Whether a setting has the type of its usual value. A whole number stands for any number, a
    list for a tuple."""
    if isinstance(usual, tuple):
        same = isinstance(value, (tuple, list)) and len(value) == len(usual)
        return same and all(_is_like(v, u) for v, u in zip(value, usual, strict=True))
    if isinstance(usual, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(usual, bool)
    return isinstance(value, (int, float) if isinstance(usual, float) else int)


@dataclass(frozen=True)
class TrainSettings:
    """Everything but the method. The defaults suit `tiny`. Raises ValueError on values that make no
    run."""

    # One step is one rollout, and `epochs * minibatches` updates on it.
    steps: int = 32
    prompts_per_step: int = 16
    group_size: int = 8
    epochs: int = 2
    minibatches: int = 4
    # The rate rises linearly over the first steps, since Adam's first updates know little of the
    # gradient's size. It falls linearly to a tenth, reached at decay_steps. None: no fall.
    learning_rate: float = 5e-5
    warmup_steps: int = 4
    decay_steps: int | None = 32
    # Of sampling: the budget of a completion, and what logits are divided by.
    max_tokens: int = 64
    temperature: float = 1.0
    # Of problems, noise and the order of mini-batches.
    seed: int = 0
    # Of AdamW, and the largest gradient norm.
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    # Rows that go through the model at once. None: a whole mini-batch. It changes memory, not the
    # result.
    micro_batch_rows: int | None = None
    # Measure the KL to the start model, on the first mini-batch of each rollout that has a signal.
    track_kl: bool = True
    # Steps between evaluations on the held-out problems. The first and last step always have one.
    eval_every: int = 5
    # micro_batch_rows as a budget of tokens: groups, or parts of one, with prompts and padding.
    micro_batch_tokens: int | None = None
    # Compute a layer's activations again in the backward pass: less memory, a third more time.
    gradient_checkpointing: bool = False
    # AdamW's two moments in one byte each (the package bitsandbytes).
    eight_bit_optimizer: bool = False
    # Steps between checkpoints, if `train` is given a folder for them. The last step always has
    # one.
    checkpoint_every: int = 1
    # Minutes between checkpoints instead of steps: a large model's takes many gigabytes.
    checkpoint_minutes: float | None = None

    def __post_init__(self) -> None:
        self._check_types()
        self._check_sizes()
        self._check_optimizer()
        # After a trip through JSON it is a list.
        object.__setattr__(self, "betas", tuple(self.betas))

    def _check_types(self) -> None:
        for own in fields(self):
            value = getattr(self, own.name)
            optional = "None" in str(own.type)
            # None as default: the type says whether it is a number of any kind or a whole one.
            whole = 1.0 if "float" in str(own.type) else 1
            usual = whole if own.default is None else own.default
            if not (value is None and optional) and not _is_like(value, usual):
                raise ValueError(
                    f"{own.name} must be like {usual!r}{' or None' * optional}, not {value!r}"
                )

    def _check_sizes(self) -> None:
        # Sizes that must be at least 1.
        for name in WHOLE:
            value = getattr(self, name)
            if value is not None and value < 1:
                or_none = " or None" * (name == "decay_steps")
                raise ValueError(f"{name} must be at least 1{or_none}, not {value}")
        # A rollout that fits in some machine.
        completions = self.prompts_per_step * self.group_size
        if completions > MOST_COMPLETIONS or self.max_tokens > MOST_TOKENS:
            raise ValueError(
                f"a step must have at most {MOST_COMPLETIONS} completions of at most {MOST_TOKENS}"
                f" tokens, not {self.prompts_per_step} prompts x {self.group_size} completions of"
                f" {self.max_tokens} tokens"
            )
        # Groups, and how a rollout is cut.
        if self.group_size < 2:
            raise ValueError(
                f"group_size must be at least 2, not {self.group_size}: an advantage compares"
                " answers"
            )
        if self.minibatches > self.prompts_per_step:
            raise ValueError(
                f"{self.minibatches} minibatches cannot be made of {self.prompts_per_step} prompts:"
                " choose a divisor of it, since a group stays whole"
            )
        if self.micro_batch_rows and self.micro_batch_tokens:
            raise ValueError("give micro_batch_rows or micro_batch_tokens, not both")

    def _check_optimizer(self) -> None:
        if not -(2**63) <= self.seed < 2**64:
            raise ValueError(f"seed must fit in 64 bits, not be {self.seed}")
        # Written so that NaN fails too.
        if not self.temperature > 0 or not self.learning_rate > 0 or not self.max_grad_norm > 0:
            raise ValueError("temperature, learning_rate and max_grad_norm must be above 0")
        finite = math.isfinite(self.learning_rate * self.temperature)
        if not finite or not 0 <= self.weight_decay < math.inf:
            raise ValueError(
                "temperature and learning_rate must be finite, weight_decay 0 or more and finite"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1, not {self.betas}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be 0 or more, not {self.warmup_steps}")
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes > 0:
            raise ValueError(f"checkpoint_minutes must be above 0, not {self.checkpoint_minutes}")

    def noise_seed(self, step: int) -> int:
        """The seed of a step's noise and of its order of mini-batches, in 64 bits."""
        return (self.seed * 1_000_003 + step) % 2**64

    def rate(self, step: int) -> float:
        """The learning rate of a step (from 1)."""
        done = min(1.0, (step - 1) / self.decay_steps) if self.decay_steps else 0.0
        warm = min(1.0, step / (self.warmup_steps + 1))
        return self.learning_rate * warm * (1 - 0.9 * done)

    def checkpoint_is_due(self, step: int, seconds: float) -> bool:
        """Whether a checkpoint is due after a step, so many seconds after the one before."""
        # Minutes come first, for models whose checkpoint takes long to write.
        if self.checkpoint_minutes is not None:
            return seconds >= 60 * self.checkpoint_minutes
        return step % self.checkpoint_every == 0
