"""What a run that is no longer finite gives back: the last good weights."""

from contextlib import contextmanager

import torch


class BadUpdate(FloatingPointError):
    """A loss or a gradient is not finite. The weights, with which the model still says something,
    are kept."""


class LastGood:
    """The trained weights as they were when a rollout was last sampled from them without a
    fault."""

    def __init__(self, model):
        self.weights = [
            parameter.detach() for parameter in model.parameters() if parameter.requires_grad
        ]
        self.kept = [weight.clone() for weight in self.weights]

    def keep(self) -> None:
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
            torch._foreach_copy_(self.weights, self.kept)
            said = str(error) if str(error).startswith(place) else f"{place}: {error}"
            raise FloatingPointError(
                f"{said}. The weights are again those of the last good step. Lower the learning"
                " rate, or look at the rewards and log-probs of this step."
            ) from error
