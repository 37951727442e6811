"""What an exercise is, and what a learner calls: check, hint, solution.

The file `exercises.py` in a lesson's room holds its exercises as plain data, in a list EXERCISES.
"""

import dis
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import CodeType

import torch

from rlvr_helpers.exercises.checking import Outcome, call
from rlvr_helpers.exercises.comparing import Verdict, is_plain, shown_argument, verdict_on
from rlvr_helpers.exercises.isolation import untouched_state
from rlvr_helpers.exercises.rooms import rooms
from rlvr_helpers.exercises.tries import Record, change_record, saved_records
from rlvr_helpers.exercises.words import WORDS
from rlvr_helpers.kit.language import translated


@dataclass(frozen=True)
class Case:
    """One call that is compared: its name in the report, and its arguments. Each call gets copies
    of them."""

    label: str
    args: tuple
    kwargs: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Mistake:
    """An incorrect implementation that learners write, and what to tell who wrote it."""

    name: str
    function: Callable
    message: str


def named(mistakes: dict[str, tuple[Callable, str]]) -> list[Mistake]:
    """Mistakes written as name: (function, message)."""
    return [Mistake(name, function, message) for name, (function, message) in mistakes.items()]


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    reference:   a short solution, as `solution` prints it
    cases:       a function that returns a list of Case
    difficulty:  1 to 3
    hints:       three, from gentle to nearly the answer
    returns:     what the items of the result are called
    tolerance:   see `checking.verdict_on`
    gradient_of: the position of the argument whose gradient is compared as well
    constants:   positions of arguments through which no gradient should flow
    seconds:     the time limit of one call
    """

    name: str
    lesson: str
    minutes: int
    difficulty: int
    reference: Callable
    cases: Callable[[], list[Case]]
    mistakes: list[Mistake]
    hints: list[str]
    returns: tuple[str, ...] = ()
    tolerance: float = 1e-6
    gradient_of: int | None = None
    constants: tuple[int, ...] = ()
    seconds: float = 5.0


@cache
def registry() -> dict[str, Exercise]:
    """All exercises by name, in the order of the lessons."""
    found = {}
    for _, room in rooms("exercises"):
        for exercise in room.EXERCISES:
            if exercise.name in found:
                raise ValueError(f"two exercises are called {exercise.name!r}: rename one")
            found[exercise.name] = translated(exercise)
    return found


def find(name: str) -> Exercise:
    """The exercise of a name. Raises ValueError with all names if there is none."""
    if name not in registry():
        raise ValueError(f"there is no exercise {name!r}: choose from {', '.join(registry())}")
    return registry()[name]


def check(name: str, function: Callable) -> bool:
    """Whether a function of your own does what the exercise asks for. If not, prints what is wrong
    and probably why.

    The function gets copies of its arguments, can raise anything, and is stopped after a time
    limit. A function of this package is no answer, even if it is correct. (Your function can call
    it, and nobody can tell. `check` says that you finished. It is no exam.)
    """
    # The function itself, and not its result or its name.
    exercise = find(name)
    if not callable(function):
        print(WORDS["no_function"].format(name=name))
        return False
    # Call both in all cases.
    expected = outcomes(exercise, exercise.reference)
    yours = outcomes(exercise, function, exercise.seconds)
    # A stub, or the package's own function, is no try.
    if all(outcome.blank for outcome in yours):
        effort = {"minutes": exercise.minutes, "difficulty": exercise.difficulty}
        print(WORDS["not_attempted"].format(name=name, **effort))
        return False
    if is_ours(exercise, function) and alike(exercise, expected, yours):
        print(WORDS["ours"].format(name=name))
        return False
    correct = report(exercise, expected, yours)
    change_record(name, lambda record: note_try(record, correct))
    return correct


def is_ours(exercise: Exercise, function: Callable) -> bool:
    """Whether the function is the exercise's reference, or its code stands in this package."""
    code = getattr(function, "__code__", None)
    ours = Path(__file__).parents[1]
    # A learner's own file never lies in the package's folder.
    return function is exercise.reference or (
        code is not None and ours in Path(code.co_filename).parents
    )


def outcomes(exercise: Exercise, function: Callable, seconds: float = 60.0) -> list[Outcome]:
    """What the function gives in each case. Nothing is run after a case that ran out of time.

    Each call finds the same random state, so that a function that draws random numbers can be
    recognised.
    """
    # As many calls as end in time.
    found = []
    cases = exercise.cases()
    with untouched_state():
        for case in cases:
            torch.manual_seed(0)
            found.append(
                call(
                    function,
                    case,
                    exercise.gradient_of,
                    seconds=seconds,
                    constants=exercise.constants,
                )
            )
            if found[-1].late:
                break
    return found


def verdicts_on(
    exercise: Exercise, expected: Outcome, yours: Outcome
) -> tuple[Verdict, Verdict | None]:
    """The verdicts on a value and on its gradient. The latter is None if no gradient is compared,
    or the value is already incorrect."""
    if yours.error:
        return Verdict(False, yours.error), None
    # The value, and a guess at why it is None.
    value = verdict_on(expected.value, yours.value, exercise.tolerance, names=exercise.returns)
    if yours.no_return and not value.correct:
        value = value._replace(text=WORDS["no_return"].format(text=value.text))
    if exercise.gradient_of is None or not value.correct:
        return value, None
    # The gradient: is it there, is it correct, and does it flow only where it should?
    gradient = verdict_on(expected.gradient, yours.gradient, exercise.tolerance)
    if yours.cut_off and not gradient.correct:
        gradient = Verdict(False, WORDS["cut_off"])
    elif gradient.correct and yours.leaks != expected.leaks:
        names = WORDS["and"].join(parameters(exercise)[i] for i in exercise.constants)
        gradient = Verdict(False, WORDS["flows"].format(names=names))
    return value, gradient


def same(exercise: Exercise, a: Outcome, b: Outcome, leaks: bool = True) -> bool:
    """Whether two outcomes are the same value and gradient (and leaks), or errors of the same
    name and message."""
    if a.error or b.error:
        return (a.message, a.late) == (b.message, b.late)
    b = b if leaks else replace(b, leaks=a.leaks)
    return all(verdict is None or verdict.correct for verdict in verdicts_on(exercise, a, b))


def alike(exercise: Exercise, these: list[Outcome], those: list[Outcome]) -> bool:
    """Whether two functions have the same outcomes in all cases."""
    return len(these) == len(those) and all(
        same(exercise, *pair) for pair in zip(these, those, strict=True)
    )


def report(exercise: Exercise, expected: list[Outcome], yours: list[Outcome]) -> bool:
    """Prints how near each case is. If one is incorrect, prints its call and the likely mistake.
    True if all are correct."""
    # Correct means: every case run, every value and gradient equal, no input changed.
    verdicts = [verdicts_on(exercise, *pair) for pair in zip(expected, yours, strict=False)]
    changes = any(outcome.changes_input for outcome in yours)
    complete = len(yours) == len(expected)
    correct = complete and not changes and all(all_correct(pair) for pair in verdicts)
    print(WORDS["right" if correct else "not_yet"].format(name=exercise.name))
    # The cases one by one, or the first of them if all fail in the same way.
    cases = exercise.cases()
    pairs = zip(yours, verdicts, strict=True)
    ways = {outcome.raised or value.text for outcome, (value, _) in pairs}
    first, _ = verdicts[0]
    if len(yours) > 1 and len(ways) == 1 and not first.correct:
        print("  " + WORDS["every_case"].format(error=first.text))
        print(shown_call(exercise, cases[0]))
        if first.detail:
            print(f"    {first.detail}")
    else:
        print_cases(exercise, cases, verdicts)
    # What to try.
    if changes:
        print(WORDS["in_place"])
    if any(outcome.late for outcome in yours):
        print(WORDS["endless"])
    if not correct:
        for mistake in likely_mistakes(exercise, expected, yours):
            print(WORDS["likely"].format(message=mistake.message))
        print(WORDS["hints"].format(n=len(exercise.hints), name=exercise.name))
    return correct


def all_correct(pair: tuple[Verdict, Verdict | None]) -> bool:
    """Whether a value and its gradient are correct."""
    return all(verdict is None or verdict.correct for verdict in pair)


def print_cases(
    exercise: Exercise, cases: list[Case], verdicts: list[tuple[Verdict, Verdict | None]]
) -> None:
    """Prints a line per case. Below it stands the call of each incorrect one. Of calls with tensors
    only the first is shown."""
    shown = False
    for case, (value, gradient) in zip(cases, verdicts, strict=False):
        said = value.text
        if gradient:
            said = WORDS["gradient"].format(value=said, gradient=gradient.text)
        print(f"  {case.label}: {said}")
        if all_correct((value, gradient)):
            continue
        # A tensor's call is long, and one of them is enough to try it.
        if not shown or is_plain(case.args):
            print(shown_call(exercise, case))
        shown = True
        if value.detail:
            print(f"    {value.detail}")
        elif gradient and gradient.detail:
            print("    " + WORDS["gradient_detail"].format(detail=gradient.detail))


def shown_call(exercise: Exercise, case: Case) -> str:
    """The call of a case, one argument per line if it is long."""
    # With the names that the exercise gives its arguments.
    named = [*zip(parameters(exercise), case.args, strict=False), *case.kwargs.items()]
    arguments = [f"{name}={shown_argument(value)}" for name, value in named]
    call_text = "    " + WORDS["the_call"].format(call=f"{exercise.name}({', '.join(arguments)})")
    if len(call_text) <= 120 or len(arguments) == 1:
        return call_text
    lines = [f"        {argument}," for argument in arguments]
    first = WORDS["the_call"].format(call=f"{exercise.name}(")
    return "\n".join([f"    {first}", *lines, "    )"])


def parameters(exercise: Exercise) -> list[str]:
    """What the arguments of the exercise's function are called."""
    return list(inspect.signature(exercise.reference).parameters)


def likely_mistakes(
    exercise: Exercise, expected: list[Outcome], yours: list[Outcome]
) -> list[Mistake]:
    """The named mistakes that explain most of what is incorrect: none, one, or a second one for
    what the first does not explain.

    A mistake is a candidate if all cases that it fails are among those that you fail. The candidate
    with the same incorrect results in most cases comes first. Ties go to the one with the fewest
    other results, then to the one that fails most of your cases, then to the first in the list. If
    none has an incorrect result in common with yours, only the cases decide. They say nothing if
    you fail them all or raise an error. A mistake that returns a value somewhere does not explain a
    function that raises in every case.
    """
    # The candidates: the mistake, the cases that it fails, and those with the same result as yours.
    failed = failures(exercise, expected, yours)
    never_ran = all(outcome.raised for outcome in yours)
    candidates = []
    for mistake in exercise.mistakes:
        theirs = outcomes(exercise, mistake.function)
        fails = failures(exercise, expected, theirs)
        comparable = not never_ran or all(outcome.raised for outcome in theirs)
        if comparable and fails and fails <= failed:
            ran = fails & set(range(min(len(yours), len(theirs))))
            shared = {i for i in ran if same(exercise, theirs[i], yours[i], leaks=False)}
            candidates.append((mistake, fails, shared))
    # The best one, and a second one for cases that it does not explain.
    first = max(
        candidates, key=lambda c: (len(c[2]), len(c[2]) / len(c[1]), len(c[1])), default=None
    )
    cases_tell = len(failed) < len(expected) and not any(outcome.raised for outcome in yours)
    if first is None or not (first[2] or cases_tell):
        return []
    second = max(candidates, key=lambda candidate: len(candidate[2] - first[1]))
    return [first[0], second[0]] if second[2] - first[1] else [first[0]]


def failures(exercise: Exercise, expected: list[Outcome], theirs: list[Outcome]) -> set[int]:
    """The numbers of the cases with an incorrect outcome. Those that were not run count too."""
    correct = [same(exercise, *pair) for pair in zip(expected, theirs, strict=False)]
    return {i for i in range(len(expected)) if i >= len(correct) or not correct[i]}


def note_try(record: Record, correct: bool) -> None:
    """Counts a try, and notes how the exercise was done if it was."""
    record.tries += 1
    if correct and not record.done:
        record.done = "solution" if record.solution else "hints" if record.hints else "alone"


def hint(name: str) -> None:
    """Prints the exercise's next hint. After the third it prints all, and where the solution is."""
    hints = find(name).hints
    seen = saved_records().get(name, Record()).hints
    # One more each time. After the last all of them.
    shown = hints if seen >= len(hints) else hints[seen : seen + 1]
    for text in shown:
        print(WORDS["hint"].format(number=hints.index(text) + 1, n=len(hints), text=text))
    if seen >= len(hints):
        print(WORDS["all_hints"].format(name=name))
    else:
        change_record(name, lambda record: setattr(record, "hints", seen + 1))


def solution(name: str) -> None:
    """Shows the source of the reference, with the imports that it needs beyond torch, math, re and
    F."""
    source = solution_source(find(name))
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython():
        from IPython.display import Markdown, display

        # Markdown rather than Code, since its colours follow the theme.
        display(Markdown(f"```python\n{source}```"))
    else:
        print(source)
    change_record(name, lambda record: setattr(record, "solution", True))


def solution_source(exercise: Exercise) -> str:
    """The reference as text that runs by itself."""
    # Imports of what a namespace with torch, math, re and F lacks.
    function = exercise.reference
    imports = []
    for name in sorted(names_in(function.__code__)):
        value = function.__globals__.get(name)
        source = getattr(value, "__module__", None) or getattr(value, "__package__", None)
        if source and name not in ("torch", "math", "re", "F"):
            imports.append(f"from {source} import {name}\n")
    return "".join(imports) + "\n\n" * bool(imports) + inspect.getsource(function)


def names_in(code: CodeType) -> set[str]:
    """The global names that a function uses, also in its comprehensions."""
    used = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    return used.union(*(names_in(part) for part in code.co_consts if isinstance(part, CodeType)))
