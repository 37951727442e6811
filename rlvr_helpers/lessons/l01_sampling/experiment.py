"""What lesson 01 continues with: the learner's own function once it is correct, and a measured
score as one of the prediction's choices."""

from rlvr_helpers.exercises.yours import yours_or_ours

__all__ = ["in_words", "yours_or_ours"]


def in_words(nats_per_token: float) -> str:
    """The choice of the prediction `own_place` for a mean log-prob. Chance gives -5.1."""
    if nats_per_token < -8:
        return "far below -5"
    return "about -5, as by chance" if nats_per_token < -3 else "about -0.7, as sampled"
