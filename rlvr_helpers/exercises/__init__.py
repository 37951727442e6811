"""Exercises: check your function, ask for a hint, see a solution, look at your progress. Nothing leaves the machine."""

from rlvr_helpers.exercises.core import check, hint, progress, solution

__all__ = ["check", "hint", "progress", "solution"]
