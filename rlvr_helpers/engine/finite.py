"""What a run that is no longer finite gives back: the last good weights."""

from contextlib import contextmanager

import torch
from torch import nn

LARGEST_COPY = 2**30  # bytes of weights of which a copy is kept


class BadUpdate(FloatingPointError):
    """A loss or a gradient is not finite. The weights, with which the model still says something,
    are kept."""


class LastGood:
    """The trained weights as they were when a rollout was last sampled from them without a fault.

    Of a large model no copy is kept: memory is scarcer there than a checkpoint is old.
    """

    def __init__(self, model: nn.Module, largest: int = LARGEST_COPY):
        self.weights = [p.detach() for p in model.parameters() if p.requires_grad]
        if sum(weight.nbytes for weight in self.weights) > largest:
            self.weights = []
        self.kept = [weight.clone() for weight in self.weights]

    def keep(self) -> None:
        if self.kept:
            torch._foreach_copy_(self.kept, self.weights)

    @contextmanager
    def put_back(self, place: str):
        """Puts them back where the weights have become such that the model's log-probs are not
        finite. Raises FloatingPointError that names the place."""
        try:
            yield
        except BadUpdate:
            raise
        except FloatingPointError as error:
            said = str(error) if str(error).startswith(place) else f"{place}: {error}"
            weights = "cannot be used any more: continue from the last checkpoint"
            if self.kept:
                torch._foreach_copy_(self.weights, self.kept)
                weights = "are again those of the last good step"
            raise FloatingPointError(
                f"{said}. The weights {weights}. Lower the learning rate, or look at the rewards"
                " and log-probs of this step."
            ) from error
