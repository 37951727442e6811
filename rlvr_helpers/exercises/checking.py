"""Calls a function that may do anything, within a time limit, and says how its result differs from the expected one."""

import copy
import ctypes
import dis
import inspect
import numbers
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

PATIENCE = 1.0  # seconds in which a function that runs too long is told to end


class TimeUp(SystemExit):
    """Raised inside a function that runs too long. No Exception, so that `except Exception` does not swallow it."""


@dataclass
class Outcome:
    """What a call gave: a value, or in words the error that ended it (`raised` is the error's name).

    gradient: of a fixed weighting of the value; zeros, with `cut_off`, where the value does not depend on the argument.
    blank: the function is not written yet. late: it ran out of time. changes_input: it wrote into an argument.
    """

    value: object = None
    gradient: Tensor | None = None
    cut_off: bool = False
    raised: str = ""
    error: str = ""
    blank: bool = False
    late: bool = False
    changes_input: bool = False


class Verdict(NamedTuple):
    """Whether a value is right, how near it is in a few words, and where it first differs."""

    right: bool
    text: str
    detail: str = ""


def call(function, case, gradient_of: int | None = None, seconds: float = 60.0) -> Outcome:
    """The outcome of function(*case.args, **case.kwargs) on copies of the arguments. Raises nothing of its own.

    With `gradient_of` that argument requires a gradient (as a copy of a leaf, so that it may be written into).
    """
    outcome = Outcome()

    def work():
        args, kwargs = copy.deepcopy((list(case.args), case.kwargs))
        if gradient_of is not None:
            leaf = args[gradient_of].requires_grad_()
            args[gradient_of] = leaf.clone()
        value = function(*args, **kwargs)
        if gradient_of is not None:
            gradient = weighted_gradient(value, leaf)
            outcome.cut_off = gradient is None
            outcome.gradient = torch.zeros_like(leaf) if gradient is None else gradient
        outcome.changes_input = not unchanged([*case.args, *case.kwargs.values()], [*args, *kwargs.values()])
        outcome.value = detached(value)

    error = run_limited(work, seconds)
    if isinstance(error, TimeUp):
        outcome.late, outcome.error = True, f"stopped after {seconds:g} s{place(error, function)}"
        if error.__traceback__ is None:
            outcome.error = f"still running after {seconds:g} s, and until you restart the kernel"
    elif error is not None:
        outcome.raised = type(error).__name__
        said = "".join(traceback.format_exception_only(error)).strip().splitlines()[0][:200]
        outcome.error = f"raised {said}{place(error, function)}"
    unfilled = isinstance(error, (TypeError, AttributeError)) and "ellipsis" in outcome.error  # computed with a `...`
    nothing = error is None and (outcome.value is ... or outcome.value is None and is_empty(function))
    outcome.blank = isinstance(error, NotImplementedError) or unfilled or nothing
    return outcome


def run_limited(work, seconds: float) -> BaseException | None:
    """Runs work() in a thread of its own. The exception that ended it (a TimeUp after `seconds`), or None.

    A TimeUp without a traceback says that it did not end: it sleeps, or catches whatever is raised in it. One call into C
    that never gives the interpreter back, as a regular expression that backtracks for ever, cannot be stopped from within.
    """
    ended, finished, recursion_limit = [], threading.Event(), sys.getrecursionlimit()

    def guarded():
        try:
            work()
            ended.append(None)
        except BaseException as error:  # also SystemExit and KeyboardInterrupt: they end the function, not the notebook
            ended.append(error)
        finally:
            sys.setrecursionlimit(recursion_limit)  # here: with a low limit the waiting thread could not go on
            finished.set()

    thread = threading.Thread(target=guarded, daemon=True)
    try:
        thread.start()
        end = time.monotonic() + seconds
        while (
            not finished.wait(min(0.1, seconds)) and time.monotonic() < end
        ):  # short, so that Windows too can interrupt the kernel
            pass
    finally:
        end = time.monotonic() + PATIENCE
        while (
            thread.ident and not finished.is_set() and time.monotonic() < end
        ):  # again, in case a bare `except` swallows it
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeUp))
            finished.wait(0.05)
        if finished.is_set():  # an Event tells: in Python 3.11 an interrupted join takes a running thread for ended
            thread.join()
    return ended[0] if ended else TimeUp()


def place(error: BaseException, function) -> str:
    """The line of the function's own source that was running, as words; empty where it is unknown."""
    file = getattr(getattr(inspect.unwrap(function), "__code__", None), "co_filename", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f", in line {frames[-1].lineno}: {frames[-1].line}" if frames else ""


def is_empty(function) -> bool:
    """Whether the function's body is nothing but a docstring, `...`, `pass` or `return None`."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    steps = (
        [] if code is None else [step for step in dis.get_instructions(code) if step.opname not in ("RESUME", "NOP")]
    )
    return 0 < len(steps) <= 2  # load None, return it


def weighted_gradient(value, leaf: Tensor) -> Tensor | None:
    """Gradient of a fixed random weighting of all tensors in the value, None where they do not depend on the leaf."""
    tensors = [v for v in flat(value) if isinstance(v, Tensor) and v.requires_grad]
    random_numbers = torch.Generator().manual_seed(0)
    weights = [torch.randn(t.shape, generator=random_numbers, dtype=torch.float64).to(t) for t in tensors]
    return torch.autograd.grad(tensors, leaf, weights, allow_unused=True)[0] if tensors else None


def flat(value) -> list:
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, (list, tuple)) else [value]


def detached(value):
    """The value with its tensors cut off from their past, so that nothing done later changes them."""
    if isinstance(value, (list, tuple)):
        return [detached(item) for item in value]
    return value.detach().clone() if isinstance(value, Tensor) else value


def unchanged(before: list, after: list) -> bool:
    """Whether the tensors, numbers and strings among the arguments are what they were."""
    before, after = flat(before), flat(after)
    plain = (Tensor, numbers.Number, str)
    pairs = zip(before, after, strict=False)
    return len(before) == len(after) and all(compare(*pair, 0.0).right for pair in pairs if isinstance(pair[0], plain))


def compare(expected, yours, tolerance: float) -> Verdict:
    """Compares tensors, numbers, strings, None, and lists or tuples of them.

    "close": |difference| <= tolerance * (1 + |expected|). NaN equals NaN.
    """
    if kind(expected) != kind(yours):
        missing = "; is a `return` missing?" if yours is None else ""
        return Verdict(False, f"expected {kind(expected)}, yours is {kind(yours)}{missing}")
    if isinstance(expected, (list, tuple)):
        return compare_items(expected, yours, tolerance)
    if isinstance(expected, Tensor):
        return compare_tensors(expected, yours, tolerance)
    if isinstance(expected, numbers.Number):
        near = compare_tensors(*(torch.tensor(x, dtype=torch.float64) for x in (expected, yours)), tolerance)
    else:
        near = Verdict(expected == yours, "exact")
    return near if near.right else Verdict(False, f"expected {short(expected)}, yours is {short(yours)}")


def compare_items(expected, yours, tolerance: float) -> Verdict:
    if len(expected) != len(yours):
        return Verdict(False, f"expected {len(expected)} items, yours has {len(yours)}")
    verdicts = [compare(*pair, tolerance) for pair in zip(expected, yours, strict=True)]
    for i, verdict in enumerate(verdicts):
        if not verdict.right:
            return Verdict(False, f"item {i}: {verdict.text}", verdict.detail)
    return Verdict(True, "exact" if all(v.text == "exact" for v in verdicts) else "close")


def compare_tensors(expected: Tensor, yours: Tensor, tolerance: float) -> Verdict:
    if expected.shape != yours.shape:
        return Verdict(False, f"expected shape {list(expected.shape)}, yours is {list(yours.shape)}")
    a, b = expected.detach().to("cpu", torch.float64), yours.detach().to("cpu", torch.float64)
    distance = torch.where(
        (a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
    )
    wrong = (distance > tolerance * (1 + a.abs())) | distance.isinf()
    if not wrong.any():
        return Verdict(True, "close" if distance.any() else "exact")
    if expected.dtype == torch.bool:
        text = f"{int(wrong.sum())} of {wrong.numel()} places differ"
    elif (b.isnan() & ~a.isnan()).any():
        text = "NaN where a number belongs"
    else:
        text = f"largest difference {distance.max():.3g}"
    if not expected.dim():
        return Verdict(False, text, f"expected {short(expected)}, yours is {short(yours)}")
    rows, wrong = distance.flatten(1) if a.dim() > 1 else distance[:, None], wrong.reshape(len(a), -1)
    row = int(wrong.any(dim=1).nonzero()[0])
    if expected.dtype != torch.bool:
        text += f" (row {int(rows.amax(dim=1).argmax())})"
    start = max(0, int(wrong[row].nonzero()[0]) - 3)
    expected, yours = (short(t[row].flatten() if t.dim() > 1 else t[row], start) for t in (expected, yours))
    return Verdict(False, text, f"first wrong row, {row}: expected {expected}, yours {yours}")


def kind(value) -> str:
    """What a value is, in the words of a message."""
    if isinstance(value, Tensor):
        whole = "booleans" if value.dtype == torch.bool else "complex numbers" if value.is_complex() else "integers"
        return f"a tensor of {'floats' if value.is_floating_point() else whole}"
    names = [(bool, "True or False"), (numbers.Real, "a number"), (str, "a string"), ((list, tuple), "a list or tuple")]
    other = "None" if value is None else f"of type {type(value).__name__}"
    return next((name for types, name in names if isinstance(value, types)), other)


def short(value, start: int = 0, width: int = 8) -> str:
    """A value in a few characters; of a row, `width` entries from `start` on."""
    if isinstance(value, Tensor) and value.dim():
        dots = ["..."] if start else [], ["..."] if start + width < len(value) else []
        return f"[{', '.join([*dots[0], *(short(v) for v in value[start : start + width]), *dots[1]])}]"
    value = value.item() if isinstance(value, Tensor) else value
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
