"""What lesson 01 continues with: the learner's own function once it is correct."""

from rlvr_helpers.exercises.yours import yours_or_ours

__all__ = ["yours_or_ours"]
