"""Exercises: check your function, ask for a hint, see a solution, show your progress. Nothing
leaves the machine."""

from rlvr_helpers import _moved
from rlvr_helpers.exercises.core import check, hint, solution
from rlvr_helpers.exercises.progress_table import show_progress
from rlvr_helpers.exercises.questions import predict, quiz, reveal

__all__ = ["check", "hint", "predict", "quiz", "reveal", "show_progress", "solution"]

# Names of the first edition that now stand elsewhere.
__getattr__ = _moved.names(__name__, "progress")
