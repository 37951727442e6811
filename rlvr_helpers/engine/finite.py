"""What to do when a run is no longer finite: put the last good weights back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

# The most bytes of weights of which a copy is kept.
LARGEST_COPY = 2**30


class BadUpdate(FloatingPointError):
    """A loss or a gradient is not finite. The weights were not changed by it."""


class LastGood:
    """The trained weights when a rollout was last sampled from them without a fault.

    No copy of a large model is kept. There memory is scarce, and a checkpoint is rarely old.
    """

    def __init__(self, model: nn.Module, largest: int = LARGEST_COPY) -> None:
        self.weights = [p.detach() for p in model.parameters() if p.requires_grad]
        if sum(weight.nbytes for weight in self.weights) > largest:
            self.weights = []
        self.kept = [weight.clone() for weight in self.weights]

    def keep(self) -> None:
        if self.kept:
            torch._foreach_copy_(self.kept, self.weights)

    @contextmanager
    def put_back(self, where: str) -> Iterator[None]:
        """Puts the weights back if the model's log-probs are not finite. Raises FloatingPointError
        that names the step."""
        try:
            yield
        # The weights are still those of the last good update.
        except BadUpdate:
            raise
        except FloatingPointError as error:
            said = str(error) if str(error).startswith(where) else f"{where}: {error}"
            # Sampling or scoring met weights that are at fault themselves.
            weights = "cannot be used any more: continue from the last checkpoint"
            if self.kept:
                torch._foreach_copy_(self.weights, self.kept)
                weights = "are again those of the last good step"
            raise FloatingPointError(
                f"{said}. The weights {weights}. Lower the learning rate, or look at the rewards"
                " and log-probs of this step."
            ) from error
