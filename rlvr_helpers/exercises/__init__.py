"""Exercises: check your function, ask for a hint, see a solution, look at your progress. Nothing
leaves the machine."""

from rlvr_helpers import _moved
from rlvr_helpers.exercises.core import check, hint, show_progress, solution

__all__ = ["check", "hint", "show_progress", "solution"]

# Names of the first edition that now stand elsewhere.
__getattr__ = _moved.names(__name__, "progress")
