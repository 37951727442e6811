"""What an exercise is, and what a learner calls: check, hint, solution, progress.

A file `lesson_NN.py` beside this one holds the exercises of a lesson as plain data, in a list EXERCISES.
"""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rlvr_helpers.exercises.checking import Outcome, Verdict, call, compare
from rlvr_helpers.exercises.isolation import untouched_state
from rlvr_helpers.exercises.progress import ProgressTable, Record, records, update


@dataclass(frozen=True)
class Case:
    """One call that is compared: its name in the report, and its arguments (copied for each call)."""

    label: str
    args: tuple
    kwargs: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Mistake:
    """A wrong implementation that learners write, and what to tell whoever wrote it."""

    name: str
    function: Callable
    message: str


@dataclass(frozen=True)
class Exercise:
    """One exercise. The reference is the package's own function where there is one.

    difficulty: 1 to 3. cases: a function that returns a list of Case. hints: three, from gentle to nearly the answer.
    helpers: functions that `solution` shows with the reference. tolerance: see `compare`. gradient_of: the position of
    the argument whose gradient is compared as well. seconds: the time limit of one call.
    """

    name: str
    lesson: str
    minutes: int
    difficulty: int
    reference: Callable
    cases: Callable[[], list[Case]]
    mistakes: list[Mistake]
    hints: list[str]
    helpers: tuple[Callable, ...] = ()
    tolerance: float = 1e-6
    gradient_of: int | None = None
    seconds: float = 5.0


@cache
def registry() -> dict[str, Exercise]:
    """All exercises by name, in the order of the lessons."""
    found = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("lesson_"):
            for exercise in importlib.import_module(f"{__package__}.{module.name}").EXERCISES:
                if exercise.name in found:
                    raise ValueError(f"two exercises are called {exercise.name!r}")
                found[exercise.name] = exercise
    return found


def find(name: str) -> Exercise:
    if name not in registry():
        raise ValueError(f"there is no exercise {name!r}, only {', '.join(registry())}")
    return registry()[name]


def check(name: str, function) -> bool:
    """Whether the function does what the exercise asks for; prints, if not, what is wrong and probably why.

    The function gets copies of its arguments, may raise anything, and is stopped after a time limit.
    """
    exercise = find(name)
    if not callable(function):
        print(f'{name}: give check the function itself, as in check("{name}", {name})')
        return False
    expected = outcomes(exercise, exercise.reference)
    with untouched_state():
        yours = outcomes(exercise, function, exercise.seconds)
    if all(outcome.blank for outcome in yours):
        print(f"{name}: not attempted yet ({exercise.minutes} minutes, difficulty {exercise.difficulty} of 3)")
        return False
    right = report(exercise, expected, yours)
    if function is exercise.reference:
        print("This is the course's own function: run the cell that defines yours again to check that one.")
    else:
        update(name, lambda record: note_try(record, right))
    return right


def outcomes(exercise: Exercise, function, seconds: float = 60.0) -> list[Outcome]:
    """What the function gives in each case; nothing is run after a case that ran out of time."""
    found = []
    for case in exercise.cases():
        found.append(call(function, case, exercise.gradient_of, seconds))
        if found[-1].late:
            break
    return found


def judge(exercise: Exercise, expected: Outcome, yours: Outcome) -> tuple[Verdict, Verdict | None]:
    """The verdicts on a value and on its gradient (None where none is compared, or the value is wrong already)."""
    if yours.error:
        return Verdict(False, yours.error), None
    value = compare(expected.value, yours.value, exercise.tolerance)
    if exercise.gradient_of is None or not value.right:
        return value, None
    gradient = compare(expected.gradient, yours.gradient, exercise.tolerance)
    if yours.cut_off and not gradient.right:
        cut_off = "none: .detach(), .item(), torch.tensor() or no_grad() cut your result off from its input"
        gradient = Verdict(False, cut_off)
    return value, gradient


def alike(exercise: Exercise, these: list[Outcome], those: list[Outcome]) -> bool:
    """Whether two functions gave the same values and gradients, or errors of the same name, in all cases."""
    if len(these) != len(those):
        return False
    for a, b in zip(these, those, strict=True):
        if a.error or b.error:
            if (a.raised, a.late) != (b.raised, b.late):
                return False
        elif not all(verdict is None or verdict.right for verdict in judge(exercise, a, b)):
            return False
    return True


def report(exercise: Exercise, expected: list[Outcome], yours: list[Outcome]) -> bool:
    """Prints how near each case is and, if one is wrong, the likely mistake. True if all are right."""
    verdicts = [judge(exercise, *pair) for pair in zip(expected, yours, strict=False)]
    changes = any(outcome.changes_input for outcome in yours)
    right = not changes and len(yours) == len(expected) and all(v is None or v.right for pair in verdicts for v in pair)
    print(f"{exercise.name}: {'right' if right else 'not yet right'}")
    if len(yours) > 1 and yours[0].raised and len({outcome.raised for outcome in yours}) == 1:
        print(f"  in every case, here the first: {yours[0].error}")
    else:
        for case, pair in zip(exercise.cases(), verdicts, strict=False):
            print_case(case.label, *pair)
    if changes:
        print("Your function changes its input in place: make a new tensor, as in x = x * 2 rather than x *= 2.")
    if any(outcome.late for outcome in yours):
        print(
            "Is there a loop that never ends? See what makes its condition false. Slow code: replace loops by tensors."
        )
    if not right:
        likely = likely_mistake(exercise, yours)
        if likely:
            print(f"Likely: {likely.message}")
        print(
            f'There are {len(exercise.hints)} hints: hint("{exercise.name}"), after from rlvr_helpers.exercises import hint'
        )
    return right


def print_case(label: str, value: Verdict, gradient: Verdict | None) -> None:
    print(f"  {label}: {value.text}" + (f"; gradient {gradient.text}" if gradient else ""))
    if value.detail:
        print(f"    {value.detail}")
    elif gradient and gradient.detail:
        print(f"    gradient, {gradient.detail}")


def likely_mistake(exercise: Exercise, yours: list[Outcome]) -> Mistake | None:
    """The named mistake that gives the same results in every case, if there is one."""
    return next((m for m in exercise.mistakes if alike(exercise, outcomes(exercise, m.function), yours)), None)


def note_try(record: Record, right: bool) -> None:
    record.tries += 1
    if right and not record.done:
        record.done = "solution" if record.solution else "hints" if record.hints else "alone"


def hint(name: str) -> None:
    """Prints the exercise's next hint; after the third all of them, and where the solution is."""
    hints = find(name).hints
    seen = records().get(name, Record()).hints
    shown = hints if seen >= len(hints) else hints[seen : seen + 1]
    for text in shown:
        print(f"Hint {hints.index(text) + 1} of {len(hints)}: {text}")
    if seen >= len(hints):
        print(f'These were all. One way to write it: solution("{name}")')
    else:
        update(name, lambda record: setattr(record, "hints", seen + 1))


def solution(name: str) -> None:
    """Shows the source of the reference (and of the functions it needs)."""
    exercise = find(name)
    source = "\n\n".join(inspect.getsource(f).rstrip() + "\n" for f in (*exercise.helpers, exercise.reference))
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython():
        from IPython.display import Markdown, display

        display(Markdown(f"```python\n{source}```"))  # Markdown rather than Code: its colours follow the theme
    else:
        print(source)
    update(name, lambda record: setattr(record, "solution", True))


def progress() -> ProgressTable:
    """How far you are, as a table of all exercises."""
    saved = records()
    return ProgressTable(
        [(e.lesson, e.name, e.minutes, e.difficulty, saved.get(e.name, Record()).state) for e in registry().values()]
    )
