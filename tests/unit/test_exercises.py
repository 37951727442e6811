"""Exercises: the reference passes, every mistake fails with its own message, and nothing a learner
writes does harm.

Every registered exercise is tested, so a new `lesson_NN.py` needs no change here.
"""

import _thread
import builtins
import decimal
import functools
import gc
import json
import locale
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_helpers.exercises import check, hint, show_progress, solution
from rlvr_helpers.exercises.comparing import shown_argument, verdict_on
from rlvr_helpers.exercises.core import (
    Case,
    Exercise,
    Mistake,
    alike,
    likely_mistakes,
    outcomes,
    registry,
)
from rlvr_helpers.exercises.questions import quizzes
from rlvr_helpers.exercises.words import WORDS

CLOSE = WORDS["close"]
each_exercise = pytest.mark.parametrize("exercise", registry().values(), ids=registry())


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    """The progress file of a test."""
    monkeypatch.setenv("RLVR_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path / "progress.json"


@pytest.fixture
def double(monkeypatch):
    """A small exercise: twice x, with its gradient."""
    exercise = Exercise(
        name="double",
        lesson="99",
        minutes=1,
        difficulty=1,
        reference=twice,
        cases=lambda: [
            Case("a row", (torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64),)),
            Case("two rows", (torch.tensor([[0.5, 1.0], [-4.0, 0.0]], dtype=torch.float64),)),
        ],
        mistakes=[
            Mistake("square", lambda x: x * x, "you square x."),
            Mistake("half", lambda x: x / 2, "you halve x."),
            Mistake("detached", lambda x: 2 * x.detach(), "you cut x off."),
            Mistake("sum", lambda x: 2 * x.sum(), "you sum over x."),
        ],
        hints=["More than x.", "x + x.", "2 * x"],
        gradient_of=0,
        seconds=0.2,
    )
    monkeypatch.setitem(registry(), "double", exercise)
    return exercise


def twice(x):
    return 2 * x


# --- every exercise


def faults(exercise):
    """What is wrong with an exercise, in words."""
    found, expected = [], outcomes(exercise, exercise.reference)
    if any(outcome.error or outcome.blank or outcome.changes_input for outcome in expected):
        found.append("the reference fails")
    if not alike(exercise, expected, outcomes(exercise, exercise.reference)):
        found.append("the cases are not the same each time")
    if any(
        outcome.gradient is not None and not outcome.gradient.isfinite().all()
        for outcome in expected
    ):
        found.append("the reference has a gradient that is not finite")
    labels = [case.label for case in exercise.cases()]
    if len(labels) < 2 or len(set(labels)) < len(labels):
        found.append("fewer than two cases, or two of one name")
    if len(exercise.mistakes) < 4 or len({m.message for m in exercise.mistakes}) < len(
        exercise.mistakes
    ):
        found.append("fewer than four mistakes, or two with one message")
    if len(exercise.hints) != 3 or len(set(exercise.hints)) != 3:
        found.append("not three hints")
    if exercise.difficulty not in (1, 2, 3) or not 1 <= exercise.minutes <= 45:
        found.append("difficulty or minutes out of range")
    results = [
        (mistake.name, outcomes(exercise, mistake.function)) for mistake in exercise.mistakes
    ]
    for i, (name, result) in enumerate(results):
        if alike(exercise, expected, result):
            found.append(f"{name}: passes")
        found += [
            f"{name}: the same as {other}"
            for other, theirs in results[:i]
            if alike(exercise, result, theirs)
        ]
    return found


@each_exercise
def test_exercise_has_no_faults(exercise):
    assert not faults(exercise)


FAULTY = {
    "the reference fails": {"reference": lambda x: 1 / 0},
    "the cases are not the same each time": {
        "cases": lambda: [Case("a", (torch.rand(2),)), Case("b", (torch.rand(2),))]
    },
    "the reference has a gradient that is not finite": {
        "reference": lambda x: (x.abs() - x).sqrt()
    },
    "fewer than two cases, or two of one name": {
        "cases": lambda: [Case("a", (torch.ones(2),))] * 2
    },
    "fewer than four mistakes, or two with one message": {"mistakes": []},
    "not three hints": {"hints": ["a", "b", "b"]},
    "difficulty or minutes out of range": {"difficulty": 4},
    "same: passes": {"mistakes": [Mistake("same", twice, "")]},
    "b: the same as a": {
        "mistakes": [Mistake("a", lambda x: -x, ""), Mistake("b", lambda x: 0 - x, "")]
    },
}


@pytest.mark.parametrize("fault", FAULTY)
def test_faults_are_found(fault, double):
    assert not faults(double)
    assert fault in faults(replace(double, **FAULTY[fault]))


def another(function):
    """The same function as another object, as a learner's copy of the reference would be."""

    @functools.wraps(function)
    def copied(*args, **kwargs):
        return function(*args, **kwargs)

    return copied


@each_exercise
def test_reference_passes(exercise, file, capsys):
    assert check(exercise.name, another(exercise.reference)) is True
    said = capsys.readouterr().out
    assert said.startswith(f"{exercise.name}: right\n") and "Likely" not in said
    assert json.loads(file.read_text())[exercise.name]["done"] == "alone"


@each_exercise
@pytest.mark.slow
def test_each_mistake_fails_with_its_own_message(exercise, capsys):
    for mistake in exercise.mistakes:
        assert check(exercise.name, mistake.function) is False, mistake.name
        said = [
            line for line in capsys.readouterr().out.splitlines() if line.startswith("Likely: ")
        ]
        assert said == [f"Likely: {mistake.message}"], mistake.name


def raises_not_implemented(*args, **kwargs):
    raise NotImplementedError


def says_nothing(*args, **kwargs):
    """A stub as in a notebook."""
    ...


def returns_ellipsis(*args, **kwargs):
    return ...


def computes_with_a_blank(*args, **kwargs):
    difference = ...
    return difference.exp()


STUBS = [raises_not_implemented, says_nothing, returns_ellipsis, computes_with_a_blank]


@each_exercise
@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.__name__)
def test_stub_is_met_politely(exercise, stub, file, capsys):
    assert check(exercise.name, stub) is False
    said = capsys.readouterr().out
    assert (
        said == f"{exercise.name}: not attempted yet ({exercise.minutes} minutes, difficulty"
        f" {exercise.difficulty} of 3)\n"
    )
    assert not file.exists(), "an untouched stub was written down"


def divides_by_zero(*args, **kwargs):
    return 1 / 0


def leaves(*args, **kwargs):
    raise SystemExit(3)


def interrupts(*args, **kwargs):
    raise KeyboardInterrupt


def loops(*args, **kwargs):
    while True:
        pass


def gives_an_object(*args, **kwargs):
    return object()


def takes_nothing():
    return 0


HARMFUL = {
    divides_by_zero: "raised ZeroDivisionError: division by zero, in line",
    leaves: "raised SystemExit: 3, in line",
    interrupts: "raised KeyboardInterrupt, in line",
    loops: "stopped after 0.1 s, in line",
    gives_an_object: "yours is of type object",
    takes_nothing: "raised TypeError: takes_nothing() takes 0 positional arguments",
}


@each_exercise
@pytest.mark.slow
@pytest.mark.parametrize("function", HARMFUL, ids=lambda function: function.__name__)
def test_harmful_functions_get_a_clear_message(exercise, function, monkeypatch, capsys):
    # Only the loop is to run out of time, also on a busy machine.
    seconds = 0.1 if function is loops else 60
    monkeypatch.setitem(registry(), exercise.name, replace(exercise, seconds=seconds))
    threads = threading.active_count()
    assert check(exercise.name, function) is False
    said = capsys.readouterr()
    assert HARMFUL[function] in said.out and f'hint("{exercise.name}")' in said.out and not said.err
    assert threading.active_count() == threads, "the function still runs"
    assert check(exercise.name, another(exercise.reference)) is True


@each_exercise
def test_wrong_shape_is_named(exercise, capsys):
    def one_more(*args, **kwargs):
        result = exercise.reference(*args, **kwargs)
        return result[None] if isinstance(result, torch.Tensor) else [result, result]

    assert check(exercise.name, one_more) is False
    said = capsys.readouterr().out
    assert (
        "expected shape" in said
        or "yours is a list or tuple" in said
        or "items, yours has 2" in said
    )


# --- messages


def said_about(function, capsys, right=False):
    assert check("double", function) is right
    return capsys.readouterr().out


def test_report_names_the_difference_and_the_first_wrong_row(double, capsys):
    said = said_about(lambda x: torch.where(x == -4.0, 7.0, 2 * x), capsys)
    assert "  a row: exact; gradient exact\n" in said
    assert "  two rows: largest difference 15 (row 1)\n" in said
    assert "    first wrong row, 1: expected [-8, 0], yours [7, 0]\n" in said
    assert "Likely" not in said and 'There are 3 hints: hint("double")' in said


def test_close_is_no_failure(double, capsys):
    said = said_about(lambda x: 2.00000001 * x, capsys, right=True)
    assert f"  a row: {CLOSE}; gradient {CLOSE}\n" in said


def test_gradients_are_compared(double, capsys):
    said = said_about(lambda x: 3 * x - x.detach(), capsys)
    assert (
        "a row: exact; gradient largest difference" in said
        and "    gradient, first wrong row, 0: expected" in said
    )
    said = said_about(lambda x: torch.tensor((2 * x).tolist(), dtype=torch.float64), capsys)
    assert "cut your result off" in said and "Likely: you cut x off." in said


def test_likely_mistake_needs_the_gradient_too(double):
    expected = outcomes(double, double.reference)
    square = outcomes(double, lambda x: x * x)
    assert likely_mistakes(double, expected, square)[0].name == "square"
    with_another_gradient = outcomes(double, lambda x: x * x.detach())
    assert likely_mistakes(double, expected, with_another_gradient) == []


def test_kinds_are_named(double, capsys):
    assert "expected a tensor of floats, yours is a tensor of integers" in said_about(
        lambda x: x.long(), capsys
    )
    assert "expected a tensor of floats, yours is a number" in said_about(
        lambda x: x.sum().item(), capsys
    )

    def forgets_return(x):
        2 * x

    said = said_about(forgets_return, capsys)
    assert "yours is None; is a `return` missing?" in said and "not attempted" not in said


def test_a_deliberate_none_is_no_missing_return(double, capsys):
    def gives_up(x):
        if x.dim() == 1:
            return None
        return 2 * x

    said = said_about(gives_up, capsys)
    assert "yours is None" in said and "missing" not in said


def test_the_failing_call_is_shown(double, capsys):
    said = said_about(lambda x: 3 * x, capsys)
    assert said.count("the call:") == 1 and "    the call: double(x=[1, -2, 3])\n" in said
    assert check("answers_match", lambda predicted, gold: predicted == gold) is False
    said = capsys.readouterr().out
    assert "    the call: answers_match(predicted='$1,080.00', gold='1080')\n" in said
    assert "    the call: answers_match(predicted='072.0', gold='72')\n" in said


def test_items_are_called_by_their_names(capsys):
    check(
        "pick_tokens", lambda logits, noise, temperature: (logits.argmax(dim=1), logits.amax(dim=1))
    )
    said = capsys.readouterr().out
    assert "tokens: 2 of 5 places differ" in said and "item" not in said


def test_a_mistake_is_told_by_the_cases_that_it_fails(double, monkeypatch, capsys):
    """Two mistakes at once: the one with the same wrong results first, then the one that explains
    the rest."""
    cases = [Case(str(number), (torch.tensor([number]),)) for number in (0.0, 1.0, 2.0, 3.0)]
    mistakes = [
        Mistake("one", lambda x: torch.where(x == 1, 7.0, 2 * x), "one is wrong."),
        Mistake("two", lambda x: torch.where(x == 2, 7.0, 2 * x), "two is wrong."),
        Mistake(
            "two and three", lambda x: torch.where(x >= 2, 7.0, 2 * x), "two and three are wrong."
        ),
        Mistake("all", lambda x: 7.0 + x, "all is wrong."),
    ]
    exercise = replace(double, cases=lambda: cases, mistakes=mistakes, gradient_of=None)
    monkeypatch.setitem(registry(), "double", exercise)

    def said(wrong):
        check("double", lambda x: torch.tensor([wrong.get(x.item(), 2 * x.item())]))
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("Likely")]

    assert said({2.0: 7.0}) == ["Likely: two is wrong."]
    assert said({2.0: 7.0, 3.0: 7.0}) == ["Likely: two and three are wrong."]
    assert said({1.0: 7.0, 2.0: 7.0, 3.0: 7.0}) == [
        "Likely: two and three are wrong.",
        "Likely: one is wrong.",
    ]
    assert said({1.0: 5.0}) == ["Likely: one is wrong."], "the cases alone"
    assert said({1.0: 5.0, 2.0: 5.0, 3.0: 5.0}) == ["Likely: two and three are wrong."], (
        "the cases alone"
    )
    assert said({0.0: 1.0, 1.0: 5.0, 2.0: 5.0, 3.0: 5.0}) == [], "all failed, nothing in common"


def raising(message, where=lambda x: True):
    """Twice x, or a RuntimeError."""

    def function(x):
        if where(x):
            raise RuntimeError(f"{message} {len(x)}")
        return 2 * x

    return function


def test_errors_are_the_same_by_their_message_and_in_the_same_cases(double, monkeypatch, capsys):
    mistakes = [
        Mistake("one", raising("out of bounds", lambda x: x.dim() == 2), "one case raises."),
        Mistake("every", raising("does not match"), "every case raises."),
    ]
    monkeypatch.setitem(registry(), "double", replace(double, mistakes=mistakes))

    def likely(function):
        return [line for line in said_about(function, capsys).splitlines() if "Likely" in line]

    assert likely(raising("out of bounds", lambda x: x.dim() == 2)) == ["Likely: one case raises."]
    assert likely(raising("does not match")) == ["Likely: every case raises."]
    assert likely(raising("out of bounds")) == [], "it raises in every case, the mistake in one"
    assert likely(raising("no such thing")) == [], "another error of the same type"


def test_numbers_are_shown_with_the_digits_that_matter(double):
    shown = [shown_argument(x) for x in (1 - 2**-24, 0.123456, 3.0, 12345.6, 1e7, float("inf"))]
    assert shown == ["0.99999994", "0.1235", "3", "12345.6", "1e+07", "inf"]
    assert shown_argument(torch.full((9,), 0.5)) == "[0.5] * 9"


def test_in_place_change_is_told_and_harms_nothing(double, capsys):
    def in_place(x):
        x *= 2
        return x

    assert "changes its input in place" in said_about(in_place, capsys)
    assert "changes" not in said_about(another(twice), capsys, right=True)


def test_in_place_change_without_a_gradient(double, monkeypatch, capsys):
    """The cases share a tensor here: it must stay what it is."""
    shared = torch.tensor([1.0, 2.0])
    exercise = replace(
        double, gradient_of=None, cases=lambda: [Case("a", (shared,)), Case("b", (), {"x": shared})]
    )
    monkeypatch.setitem(registry(), "double", exercise)
    said = said_about(lambda x: x.mul_(2), capsys)
    assert "changes its input in place" in said and "  b: exact\n" in said
    assert shared.tolist() == [1.0, 2.0]


def test_line_of_an_exception_is_shown(double, capsys):
    def fails(x):
        missing = x[99, 99, 99]
        return missing

    said = said_about(fails, capsys)
    assert said.count("IndexError") == 1, "the same error was told for each case"
    assert f"in line {fails.__code__.co_firstlineno + 1}: missing = x[99, 99, 99]" in said


def test_unwritten_branch_is_no_stub(double, capsys):
    def half(x):
        if x.dim() == 2:
            raise NotImplementedError
        return 2 * x

    assert "two rows: raised NotImplementedError" in said_about(half, capsys)


def test_not_a_function(double, capsys):
    assert 'as in check("double", double)' in said_about(3.0, capsys)


def test_own_function_of_the_course_is_not_counted(double, file, capsys):
    assert "the course's own function" in said_about(twice, capsys)
    assert not file.exists()


@pytest.mark.parametrize("call", [lambda name: check(name, twice), hint, solution])
def test_unknown_name(call, double):
    with pytest.raises(ValueError, match="no exercise 'tripel': choose from .*double"):
        call("tripel")


nan, inf = float("nan"), float("inf")
COMPARISONS = [
    (1.0, 1, "exact"),
    (1.0, 1.0 + 1e-9, CLOSE),
    (1.0, 1.5, "expected 1, yours is 1.5"),
    (nan, nan, "exact"),
    (inf, 1.0, "expected inf, yours is 1"),
    (1.0, True, "expected a number, yours is True or False"),
    (1.0, np.float32(1.0), "exact"),
    (True, False, "expected True, yours is False"),
    ("72", "72", "exact"),
    ("72", "73", "expected '72', yours is '73'"),
    (None, None, "exact"),
    (None, "72", "expected None, yours is a string"),
    ((1, "a"), [1, "a"], "exact"),
    ((1, 2), (1, 2, 3), "expected 2 items, yours has 3"),
    ((1, 2), (1, 3), "item [1]: expected 2, yours is 3"),
    (torch.tensor([1.0, nan]), torch.tensor([1.0, nan]), "exact"),
    (torch.tensor([1.0, 2.0]), torch.tensor([1.0, nan]), "NaN where a number belongs (row 1)"),
    (torch.tensor([inf, 2.0]), torch.tensor([1.0, 2.0]), "largest difference inf (row 0)"),
    (torch.tensor([True, True]), torch.tensor([True, False]), "1 of 2 places differ"),
    (
        torch.tensor([1]),
        torch.tensor([True]),
        "expected a tensor of integers, yours is a tensor of booleans",
    ),
    (torch.zeros(2), torch.zeros(2, 1), "expected shape [2], yours is [2, 1]"),
    (torch.tensor(1.0), torch.tensor(2.0), "largest difference 1"),
    (torch.zeros(0, 3), torch.zeros(0, 3), "exact"),
    (torch.zeros(1), np.zeros(1), "expected a tensor of floats, yours is of type ndarray"),
]


@pytest.mark.parametrize(("expected", "yours", "text"), COMPARISONS)
def test_comparison(expected, yours, text):
    verdict = verdict_on(expected, yours, 1e-6)
    assert verdict.text == text and verdict.correct == (text in ("exact", CLOSE))


@pytest.mark.parametrize(
    ("yours", "text"),
    [
        ({"low": 1.0, "high": 2.0}, "exact"),
        ({"high": 2.0, "low": 1.0}, "exact"),
        ({"low": 1.0, "high": 3.0}, "high: expected 2, yours is 3"),
        ({"low": 1.0}, "expected a list or tuple, yours is of type dict"),
        ({"low": 1.0, "top": 2.0}, "expected a list or tuple, yours is of type dict"),
    ],
)
def test_a_dict_of_the_items_names_is_as_good_as_a_list(yours, text):
    verdict = verdict_on((1.0, 2.0), yours, 1e-6, names=("low", "high"))
    assert verdict.text == text and verdict.correct == (text == "exact")
    assert not verdict_on((1.0, 2.0), yours, 1e-6).correct, "they have no names"


def test_long_rows_are_shown_around_the_difference():
    expected, yours = torch.zeros(2, 40), torch.zeros(2, 40)
    yours[1, 20] = 5.0
    shown = "[..., 0, 0, 0, 5, 0, 0, 0, 0, ...]"
    assert verdict_on(expected, yours, 1e-6).detail.endswith(f"yours {shown}")


# --- harm


def test_random_state_and_dtype_stay(double, capsys):
    def meddles(x):
        torch.manual_seed(1), random.seed(1), np.random.seed(1)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return 2 * x

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    check("double", meddles)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()


# What a function changes in the process, and how to read it: nothing of this outlives the check.
CHANGES = {
    "folder": (lambda: os.chdir("/"), os.getcwd),
    "recursion limit": (lambda: sys.setrecursionlimit(99_999), sys.getrecursionlimit),
    "a low recursion limit": (lambda: sys.setrecursionlimit(30), sys.getrecursionlimit),
    "switch interval": (lambda: sys.setswitchinterval(0.5), sys.getswitchinterval),
    "warning filters": (lambda: warnings.simplefilter("error"), lambda: list(warnings.filters)),
    "warnings shown": (
        lambda: setattr(warnings, "showwarning", print),
        lambda: warnings.showwarning,
    ),
    "variables": (lambda: os.environ.update(HOME="x", RLVR_NEW="1"), lambda: dict(os.environ)),
    "no variables": (os.environ.clear, lambda: dict(os.environ)),
    "sys.path": (lambda: sys.path.insert(0, "/x"), lambda: list(sys.path)),
    "another sys.path": (lambda: setattr(sys, "path", []), lambda: (id(sys.path), list(sys.path))),
    "stdout": (lambda: setattr(sys, "stdout", None), lambda: sys.stdout),
    "stderr": (lambda: setattr(sys, "stderr", None), lambda: sys.stderr),
    "a closed stdout": (lambda: sys.stdout.close(), lambda: sys.stdout.closed),
    "locale": (
        lambda: locale.setlocale(locale.LC_ALL, "C"),
        lambda: locale.setlocale(locale.LC_ALL),
    ),
    "decimal": (
        lambda: setattr(decimal.getcontext(), "prec", 3),
        lambda: decimal.getcontext().prec,
    ),
    "logging": (lambda: logging.disable(50), lambda: logging.root.manager.disable),
    "root logger": (lambda: logging.root.setLevel(1), lambda: logging.root.level),
    "log handlers": (lambda: logging.basicConfig(force=True), lambda: list(logging.root.handlers)),
    "garbage": (gc.disable, gc.isenabled),
    "garbage thresholds": (lambda: gc.set_threshold(1), gc.get_threshold),
    "a built-in": (lambda: setattr(builtins, "sum", None), lambda: builtins.sum),
    "a function of torch": (lambda: setattr(torch, "exp", torch.log), lambda: torch.exp),
    "a function of torch's F": (
        lambda: setattr(torch.nn.functional, "softmax", None),
        lambda: torch.nn.functional.softmax,
    ),
    "a signal handler": (
        lambda: signal.signal(signal.SIGINT, print),
        lambda: signal.getsignal(signal.SIGINT),
    ),
    "python's random numbers": (lambda: random.seed(1), random.getstate),
    "numpy's": (lambda: np.random.seed(1), lambda: np.random.get_state()[1].tolist()),
    "torch's": (lambda: torch.manual_seed(1), lambda: torch.get_rng_state().tolist()),
    "dtype": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "inference": (lambda: torch.inference_mode().__enter__(), torch.is_inference_mode_enabled),
    "threads": (lambda: torch.set_num_threads(7), torch.get_num_threads),
    "precision": (
        lambda: torch.set_float32_matmul_precision("medium"),
        torch.get_float32_matmul_precision,
    ),
    "deterministic": (
        lambda: torch.use_deterministic_algorithms(True),
        torch.are_deterministic_algorithms_enabled,
    ),
    "anomaly": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "print options": (
        lambda: torch.set_printoptions(precision=1),
        lambda: str(torch.tensor(1.23456)),
    ),
    "numpy's print options": (
        lambda: np.set_printoptions(precision=1),
        lambda: str(np.array(1.23456)),
    ),
    "numpy's errors": (lambda: np.seterr(all="raise"), np.geterr),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_check_leaves_the_process_as_it_was(what, double, capsys):
    change, read = CHANGES[what]

    def meddles(x):
        change()
        return 2 * x

    before = read()
    check("double", meddles)
    assert read() == before
    assert check("double", another(twice)) is True


def test_check_works_where_gradients_are_off(double):
    with torch.no_grad():
        assert check("double", another(twice)) is True


def test_prints_are_shown_up_to_a_limit(double, capsys):
    def prints(x):
        print("x is", x.shape)
        return 2 * x

    assert "x is torch.Size([3])\nx is torch.Size([2, 2])\n" in said_about(
        prints, capsys, right=True
    )

    def prints_for_ever(x):
        while True:
            print("for ever")

    said = said_about(prints_for_ever, capsys)
    assert (
        "for ever" in said
        and "is left out" in said
        and "stopped after 0.2 s" in said
        and len(said) < 3000
    )


def test_errors_too_are_printed_up_to_a_limit(double, capsys):
    def warns_for_ever(x):
        while True:
            print("for ever", file=sys.stderr)

    assert check("double", warns_for_ever) is False
    said = capsys.readouterr().err
    assert said.startswith("for ever") and said.endswith("is left out)\n") and len(said) < 3000


def test_loops_that_catch_everything_are_stopped(double, capsys):
    def stubborn(x):
        while True:
            try:
                x = x + 1
            except:  # noqa: E722
                pass

    threads = threading.active_count()
    said = said_about(stubborn, capsys)
    assert "stopped after 0.2 s" in said and "loop that never ends" in said
    assert threading.active_count() == threads


def test_interrupting_the_kernel_ends_the_function_too(double):
    def interrupted(x):
        _thread.interrupt_main()  # as the kernel's stop button does
        while True:
            pass

    threads, stdout = threading.active_count(), sys.stdout
    # a shell's background ignores SIGINT
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            check("double", interrupted)
    finally:
        signal.signal(signal.SIGINT, before)
    assert threading.active_count() == threads and sys.stdout is stdout


def test_later_cases_are_not_run_after_a_loop(double):
    calls = []

    def counts(x):
        calls.append(x)
        loops()

    assert check("double", counts) is False
    assert len(calls) == 1


def test_function_that_cannot_be_stopped_is_left_alone(double, capsys):
    release, start = threading.Event(), time.monotonic()
    said = said_about(lambda x: release.wait(20), capsys)
    assert "a row: still running after 0.2 s, and until you restart the kernel" in said
    assert time.monotonic() - start < 5
    release.set()


# --- hints, solution, progress


def test_hints_come_one_by_one(double, capsys):
    shown = []
    for _ in range(4):
        hint("double")
        shown.append(capsys.readouterr().out)
    assert shown[:3] == [
        "Hint 1 of 3: More than x.\n",
        "Hint 2 of 3: x + x.\n",
        "Hint 3 of 3: 2 * x\n",
    ]
    assert (
        shown[3] == "".join(shown[:3]) + 'These were all. One way to write it: solution("double")\n'
    )


@each_exercise
def test_solution_shows_the_source(exercise, file, capsys):
    solution(exercise.name)
    assert f"def {exercise.reference.__name__}(" in capsys.readouterr().out
    assert json.loads(file.read_text())[exercise.name]["solution"] is True


def state(name="double"):
    lesson = registry()[name].lesson
    return next(row[-1] for row in show_progress(lesson).rows if row[0] == name)


def test_states(double, capsys):
    assert state() == "not attempted"
    check("double", torch.square)
    assert state() == "tried 1 time"
    check("double", divides_by_zero)
    assert state() == "tried 2 times"
    check("double", another(twice))
    assert state() == "done"
    solution("double")
    check("double", torch.square)
    assert state() == "done", "what was done alone stays so"


def test_states_with_help(double, file):
    hint("double")
    assert state() == "not attempted"
    check("double", another(twice))
    assert state() == "done after hints"
    file.unlink()
    solution("double")
    assert state() == "solution seen"
    check("double", another(twice))
    assert state() == "solution seen"


def test_table(double):
    lessons = {exercise.lesson for exercise in registry().values()} | set(quizzes())
    table = show_progress()
    assert {row[0] for row in table.rows} == lessons
    assert table._repr_html_().count("<tr>") == len(lessons) + 1
    assert repr(table).splitlines()[0].split() == ["lesson", "exercises", "predictions", "quiz"]
    assert repr(table).endswith(f"0 of {len(registry())} exercises done")
    with pytest.raises(ValueError, match="no exercises in lesson '98': choose from"):
        show_progress("98")


BROKEN = [
    "",
    "{",
    "[]",
    "null",
    '"text"',
    "[" * 200_000,
    '{"a":' * 200_000,
    "1" * 5000,
    '{"double": 3}',
    '{"double": null}',
    '{"double": {"tries": "x"}}',
    '{"double": {"tries": Infinity}}',
    '{"double": {"tries": NaN}}',
    '{"double": {"tries": 1e400}}',
    '{"double": {"tries": -1}}',
    '{"double": {"tries": [1]}}',
    '{"double": {"hints": true}}',
    '{"double": {"hints": 1.5}}',
    '{"double": {"solution": "no"}}',
    '{"double": {"done": 1}}',
    '{"double": {"done": ["alone"]}}',
    '{"double": {"done": "never"}}',
    '{"double": {"guess": NaN}}',
    '{"double": {"guess": true}}',
    '{"double": {"truth": [1]}}',
    '{"another": {"tries": {}}}',
    "\udcff",
    "\0" * 100,
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda text: repr(text[:30]))
def test_broken_file_is_set_aside(broken, double, file, capsys):
    file.write_bytes(broken.encode(errors="surrogateescape"))
    file.with_name("progress.json.broken").write_text("an older one")
    assert check("double", another(twice)) is True
    assert "It is kept as progress.json.broken2" in capsys.readouterr().out
    assert file.with_name("progress.json.broken2").read_bytes() == broken.encode(
        errors="surrogateescape"
    )
    assert file.with_name("progress.json.broken").read_text() == "an older one"
    assert state() == "done"


@pytest.mark.parametrize(
    "reads", [show_progress, lambda: hint("double"), lambda: solution("double")]
)
def test_whatever_reads_a_broken_file_sets_it_aside(reads, double, file, capsys):
    file.write_text("[" * 200_000)
    reads()
    assert capsys.readouterr().out.count("It is kept as progress.json.broken,") == 1
    assert file.with_name("progress.json.broken").stat().st_size == 200_000


def test_a_folder_in_the_place_of_the_file_is_set_aside(double, file, capsys):
    file.mkdir()
    (file / "mine.txt").write_text("kept")
    assert check("double", another(twice)) is True
    assert "It is kept as progress.json.broken" in capsys.readouterr().out and state() == "done"
    assert (file.with_name("progress.json.broken") / "mine.txt").read_text() == "kept"


def test_a_device_is_left_alone(double, monkeypatch, capsys):
    monkeypatch.setenv("RLVR_PROGRESS", os.devnull)
    assert check("double", another(twice)) is True
    assert "progress is kept for this session only" in capsys.readouterr().out and state() == "done"
    assert not os.path.isfile(os.devnull)


EIGHT_KERNELS = """
import os
import rlvr_helpers.checkpoints, rlvr_helpers.engine.locks  # once, before there are eight
from rlvr_helpers.exercises.tries import change_record

def another_try(record):
    record.tries += 1

start, go = os.pipe()
for kernel in range(8):
    if not os.fork():
        os.close(go)
        os.read(start, 1)  # until all are there
        for _ in range(20):
            change_record(f"kernel {kernel}", another_try)
            change_record("all", another_try)
        os._exit(0)
os.close(go)
for kernel in range(8):
    os.wait()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its processes by fork, which is quick")
def test_eight_processes_at_once_lose_no_try(file):
    file.write_text("[" * 200_000)  # and one of them alone sets a broken file aside
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", EIGHT_KERNELS]
    said = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    tries = {name: record["tries"] for name, record in json.loads(file.read_text()).items()}
    assert tries == {f"kernel {i}": 20 for i in range(8)} | {"all": 160}
    assert said.count("It is kept as progress.json.broken") == 1 and "this session only" not in said


def test_unwritable_place_gives_one_line(double, file, monkeypatch, capsys):
    file.write_text("a file where the folder should be")
    monkeypatch.setenv("RLVR_PROGRESS", str(file / "progress.json"))
    assert check("double", another(twice)) is True
    assert capsys.readouterr().out.count("progress is kept for this session only") == 1
    assert state() == "done", "not even kept for the session"
    hint("double")
    hint("double")
    assert "Hint 2 of 3" in capsys.readouterr().out


def test_unreadable_file_is_not_overwritten(double, file, monkeypatch, capsys):
    def locked(*_, **__):
        raise PermissionError(13, "Permission denied")

    file.write_text("{}")
    monkeypatch.setattr("pathlib.Path.read_text", locked)
    assert check("double", another(twice)) is True
    assert (
        "progress is kept for this session only" in capsys.readouterr().out
        and file.read_bytes() == b"{}"
    )


def test_failed_write_leaves_the_old_file(double, file, monkeypatch, capsys):
    check("double", torch.square)
    before = file.read_text()
    with monkeypatch.context() as patched:
        patched.setattr("os.replace", full_disk)
        assert check("double", another(twice)) is True
        assert "no space left on device" in capsys.readouterr().out and file.read_text() == before
    assert state() == "done", "not even kept for the session"
    hint("double")
    assert json.loads(file.read_text())["double"]["done"] == "alone", (
        "not saved once there was room again"
    )


def full_disk(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.slow
def test_import_is_quick():
    """The package brings in neither the lessons nor transformers."""
    code = (
        "import torch, numpy, sys, time; start = time.perf_counter(); import"
        " rlvr_helpers.exercises;print(time.perf_counter() - start, 'transformers' in sys.modules,"
        " 'rlvr_helpers.ratios' in sys.modules)"
    )
    seconds, *brought = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    ).stdout.split()
    assert float(seconds) < 0.5 and brought == ["False", "False"]
