"""Lesson 01 goes on with the learner's own function, once it is correct."""

from collections.abc import Callable

from rlvr_helpers.exercises.core import alike, find, outcomes


def yours_or_ours(name: str, function: Callable) -> Callable:
    """Your function if it does what the exercise asks for, else the course's; it says which.

    Raises ValueError on an exercise that does not exist.
    """
    exercise = find(name)
    expected = outcomes(exercise, exercise.reference)
    yours = outcomes(exercise, function, exercise.seconds)
    if alike(exercise, expected, yours) and not any(outcome.changes_input for outcome in yours):
        print(f"From here on: your own {name}.")
        return function
    print(f"From here on: the course's {name}, until yours is correct.")
    return exercise.reference
