"""Lets a lesson continue with the learner's own function once it is correct."""

from collections.abc import Callable

from rlvr_helpers.exercises.core import alike, find, outcomes
from rlvr_helpers.exercises.words import WORDS


def yours_or_ours(name: str, function: Callable) -> Callable:
    """Your function if it is correct, else the course's. Prints which one it is.

    Raises ValueError on an exercise that does not exist.
    """
    exercise = find(name)
    expected = outcomes(exercise, exercise.reference)
    yours = outcomes(exercise, function, exercise.seconds)
    # A function that changes its input would spoil later cells, even if its result is correct.
    if alike(exercise, expected, yours) and not any(outcome.changes_input for outcome in yours):
        print(WORDS["yours"].format(name=name))
        return function
    print(WORDS["courses"].format(name=name))
    return exercise.reference
