"""Imports of the first edition that lead nowhere: one error that says what to do.

Notebooks that learners copied before the package was rearranged import from the old places.
"""

import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder

MESSAGE = (
    "This notebook is of the first edition. Run copy_notebooks() for the new lessons: yours stay as"
    " they are. (from rlvr_helpers.kit.my_work import copy_notebooks)"
)

# Modules that were moved, and folders whose files were all moved.
MODULES = frozenset(
    """
    course_map decoding environment exercises.lesson_01 exercises.lesson_02 exercises.lesson_03
    exercises.lesson_04 exercises.lesson_05 exercises.lesson_06 exercises.lesson_07
    exercises.lesson_08 exercises.lesson_12 experiments experiments.bug_hunt
    experiments.collapse experiments.gradient experiments.length_bias experiments.ratios
    experiments.scaling interrupts large memory my_work packing planning plots.advantages
    plots.clipping plots.finals plots.gradient plots.loss plots.ratios plots.rewards
    plots.sampling plots.scaling plots.start plots.trainer presets recorded runs settings
    side_by_side tables trl_settings widgets.advantages widgets.clipping widgets.comparison
    widgets.gradient widgets.loss widgets.problem_box widgets.ratios widgets.rewards
    widgets.sampling widgets.scaling widgets.start widgets.trainer
    """.split()
)


class FirstEdition(MetaPathFinder):
    """Asked last, for what no other finder knows."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname.removeprefix("rlvr_helpers.") in MODULES:
            raise ImportError(MESSAGE, name=fullname)


def watch() -> None:
    """Answers imports of modules that were moved. Called once, by the package."""
    if not any(isinstance(finder, FirstEdition) for finder in sys.meta_path):
        sys.meta_path.append(FirstEdition())


def names(module: str, old: str) -> Callable[[str], object]:
    """A module's `__getattr__` that answers imports of names which it no longer holds."""

    def missing(name: str) -> object:
        if name in old.split():
            raise ImportError(MESSAGE, name=module)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return missing
