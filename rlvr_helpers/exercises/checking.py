"""Calling a learner's function, which can do anything, within a time limit, and saying how its
result differs from the expected one."""

import ast
import copy
import ctypes
import dis
import inspect
import numbers
import os
import re
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

# Seconds in which a function that runs too long is told to end.
PATIENCE = 1.0
CLOSE = "close (equal up to rounding)"


class Call(Protocol):
    """What is called with: `Case` of exercises.core."""

    args: tuple
    kwargs: dict


class TimeUp(SystemExit):
    """Raised inside a function that runs too long. It is no Exception, so that `except Exception`
    does not swallow it."""


@dataclass
class Outcome:
    """What a call gave: a value, or the error that ended it.

    gradient:      of a fixed weighting of the value. Zeros if the value does not depend on the
                   argument.
    cut_off:       the value does not depend on the argument
    leaks:         the value depends on an argument that should be a constant
    raised, error: the error's name, and what to print about it
    message:       its name and text without the numbers, such as sizes and values
    blank:         the function is not written yet
    late:          it ran out of time
    changes_input: it wrote into an argument
    no_return:     it gave None and has no `return` of a value
    """

    value: object = None
    gradient: Tensor | None = None
    cut_off: bool = False
    leaks: bool = False
    raised: str = ""
    message: str = ""
    error: str = ""
    blank: bool = False
    late: bool = False
    changes_input: bool = False
    no_return: bool = False


class Verdict(NamedTuple):
    """Whether a value is correct, how near it is in a few words, and where it first differs."""

    correct: bool
    text: str
    detail: str = ""


def call(
    function: Callable,
    case: Call,
    gradient_of: int | None = None,
    seconds: float = 60.0,
    constants: tuple[int, ...] = (),
) -> Outcome:
    """The outcome of function(*case.args, **case.kwargs) on copies of the arguments. Raises nothing
    of its own.

    The argument at `gradient_of` requires a gradient. So do those at `constants`, to show whether
    the value depends on them.
    """
    outcome = Outcome()
    error = run_limited(
        lambda: fill_in(outcome, function, case, gradient_of=gradient_of, constants=constants),
        seconds,
    )
    # What ended the call, in words.
    if isinstance(error, TimeUp):
        outcome.late = True
        outcome.error = f"stopped after {seconds:g} s{line_of(error, function)}"
        if error.__traceback__ is None:
            outcome.error = f"still running after {seconds:g} s, and until you restart the kernel"
    elif error is not None:
        outcome.raised = type(error).__name__
        said = "".join(traceback.format_exception_only(error)).strip().splitlines()[0][:200]
        outcome.message = re.sub(r"\d+", "", said)
        outcome.error = f"raised {said}{line_of(error, function)}"
    # Is the function still the stub, or does it compute with a `...`?
    unfilled = isinstance(error, (TypeError, AttributeError)) and "ellipsis" in outcome.error
    nothing = error is None and (
        outcome.value is ... or outcome.value is None and is_empty(function)
    )
    outcome.blank = isinstance(error, NotImplementedError) or unfilled or nothing
    return outcome


def fill_in(
    outcome: Outcome,
    function: Callable,
    case: Call,
    gradient_of: int | None,
    constants: tuple[int, ...],
) -> None:
    """Calls the function and writes its value and gradient into the outcome."""
    args, kwargs = copy.deepcopy((list(case.args), case.kwargs))
    # The function gets clones of the leaves, so that it can write into them.
    leaves = {}
    if gradient_of is not None:
        leaves = {i: args[i].requires_grad_() for i in (gradient_of, *constants)}
        for i, leaf in leaves.items():
            args[i] = leaf.clone()
    recursion_limit = sys.getrecursionlimit()
    try:
        value = function(*args, **kwargs)
    finally:
        # At once: with a low limit neither what follows nor the waiting thread could continue.
        sys.setrecursionlimit(recursion_limit)
    if gradient_of is not None:
        gradient, *others = weighted_gradients(value, list(leaves.values()))
        outcome.leaks = any(other is not None and other.any() for other in others)
        outcome.cut_off = gradient is None
        zeros = torch.zeros_like(leaves[gradient_of])
        outcome.gradient = zeros if gradient is None else gradient
    before = [*case.args, *case.kwargs.values()]
    outcome.changes_input = not unchanged(before, [*args, *kwargs.values()])
    outcome.value = detached(value)
    outcome.no_return = value is None and never_returns(function)


def run_limited(work: Callable[[], None], seconds: float) -> BaseException | None:
    """Runs work() in a thread of its own. Returns the exception that ended it, a TimeUp after
    `seconds`, or None.

    A TimeUp without a traceback says that work() did not end. It sleeps, or catches whatever is
    raised in it. A call into C that never gives the interpreter back cannot be stopped from within.
    One is a regular expression that backtracks for ever.
    """
    ended = []
    waiting = threading.Lock()
    finished = threading.Lock()
    waiting.acquire()
    finished.acquire()

    def guarded() -> None:
        waiting.acquire()
        try:
            work()
            ended.append(None)
        # SystemExit and KeyboardInterrupt too: they end the function, not the notebook.
        except BaseException as error:
            ended.append(error)
        finally:
            finished.release()

    thread = threading.Thread(target=guarded, daemon=True)
    # Short waits on Windows, so that the kernel can be interrupted there too.
    step = min(0.1, seconds) if os.name == "nt" else seconds
    try:
        thread.start()
        end = time.monotonic() + seconds
        # Let work() begin, and wait in one call: should it set a low recursion limit, no further
        # line of this deeper thread could run before the limit is put back.
        waiting.release()
        while not finished.acquire(timeout=step) and time.monotonic() < end:
            pass
    finally:
        end = time.monotonic() + PATIENCE
        # Raise TimeUp in the thread, again and again in case a bare `except` swallows it.
        while thread.ident and not ended and time.monotonic() < end:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident), ctypes.py_object(TimeUp)
            )
            finished.acquire(timeout=0.05)
        # Ask what it left: in Python 3.11 an interrupted join takes a running thread for ended.
        if ended:
            thread.join()
    return ended[0] if ended else TimeUp()


def line_of(error: BaseException, function: Callable) -> str:
    """The line of the function's own source that was running, in words. Empty if it is unknown."""
    file = getattr(getattr(inspect.unwrap(function), "__code__", None), "co_filename", None)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file
    ]
    return f", in line {frames[-1].lineno}: {frames[-1].line}" if frames else ""


def is_empty(function: Callable) -> bool:
    """Whether the function's body is nothing but a docstring, `...`, `pass` or `return None`."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    instructions = [] if code is None else dis.get_instructions(code)
    steps = [step for step in instructions if step.opname not in ("RESUME", "NOP")]
    # An empty body loads None and returns it.
    return 0 < len(steps) <= 2


def never_returns(function: Callable) -> bool:
    """Whether no `return` in the function's source has a value. False if the source cannot be
    read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    returns = [node for node in ast.walk(tree) if isinstance(node, (ast.Return, ast.Lambda))]
    return not any(isinstance(node, ast.Lambda) or node.value for node in returns)


def weighted_gradients(value: object, leaves: list[Tensor]) -> list[Tensor | None]:
    """Gradients of a fixed random weighting of all tensors in the value. None for a leaf on which
    they do not depend."""
    tensors = [v for v in flat(value) if isinstance(v, Tensor) and v.requires_grad]
    random_numbers = torch.Generator().manual_seed(0)
    # Random weights: a sum of ones would hide whatever cancels in it.
    weights = [
        torch.randn(t.shape, generator=random_numbers, dtype=torch.float64).to(t) for t in tensors
    ]
    if not tensors:
        return [None] * len(leaves)
    return list(torch.autograd.grad(tensors, leaves, weights, allow_unused=True))


def flat(value: object) -> list:
    """The values in nested lists and tuples."""
    if not isinstance(value, (list, tuple)):
        return [value]
    return [leaf for item in value for leaf in flat(item)]


def detached(value: object) -> object:
    """The value with copies of its tensors, without their graph, so that nothing later changes
    them."""
    if isinstance(value, (list, tuple)):
        return [detached(item) for item in value]
    return value.detach().clone() if isinstance(value, Tensor) else value


def unchanged(before: list, after: list) -> bool:
    """Whether the tensors, numbers and strings among the arguments are what they were."""
    before = flat(before)
    after = flat(after)
    plain = (Tensor, numbers.Number, str)
    pairs = zip(before, after, strict=False)
    return len(before) == len(after) and all(
        verdict_on(*pair, 0.0).correct for pair in pairs if isinstance(pair[0], plain)
    )


def verdict_on(
    expected: object, yours: object, tolerance: float, names: tuple[str, ...] = ()
) -> Verdict:
    """Compares tensors, numbers, strings, None, and lists or tuples of them.

    "close" means |difference| <= tolerance * (1 + |expected|). NaN equals NaN. names: what the
    items of a list are called
    """
    if kind(expected) != kind(yours):
        plain = not isinstance(expected, (Tensor, list, tuple))
        detail = f"expected {short(expected)}, yours is {short(yours)}" if plain else ""
        return Verdict(False, f"expected {kind(expected)}, yours is {kind(yours)}", detail)
    # Values of one kind, compared as that kind is.
    if isinstance(expected, (list, tuple)):
        return compare_items(expected, yours, tolerance, names=names)
    if isinstance(expected, Tensor):
        return compare_tensors(expected, yours, tolerance)
    if isinstance(expected, numbers.Number):
        near = compare_tensors(
            *(torch.tensor(x, dtype=torch.float64) for x in (expected, yours)), tolerance
        )
    else:
        near = Verdict(expected == yours, "exact")
    if near.correct:
        return near
    return Verdict(False, f"expected {short(expected)}, yours is {short(yours)}")


def compare_items(
    expected: list | tuple, yours: list | tuple, tolerance: float, names: tuple[str, ...]
) -> Verdict:
    """The verdict on the first item that differs."""
    if len(expected) != len(yours):
        return Verdict(False, f"expected {len(expected)} items, yours has {len(yours)}")
    names = names or tuple(f"item {i}" for i in range(len(expected)))
    verdicts = [verdict_on(*pair, tolerance) for pair in zip(expected, yours, strict=True)]
    for name, verdict in zip(names, verdicts, strict=True):
        if not verdict.correct:
            return Verdict(False, f"{name}: {verdict.text}", verdict.detail)
    return Verdict(True, "exact" if all(v.text == "exact" for v in verdicts) else CLOSE)


def compare_tensors(expected: Tensor, yours: Tensor, tolerance: float) -> Verdict:
    """The verdict on a tensor. Its detail shows the first row that differs."""
    if expected.shape != yours.shape:
        return Verdict(
            False, f"expected shape {list(expected.shape)}, yours is {list(yours.shape)}"
        )
    a = expected.detach().to("cpu", torch.float64)
    b = yours.detach().to("cpu", torch.float64)
    # Equal values and pairs of NaN have no distance. Whatever else is not finite is far away.
    distance = torch.where(
        (a == b) | (a.isnan() & b.isnan()),
        0.0,
        (a - b).abs().nan_to_num(nan=torch.inf, posinf=torch.inf),
    )
    incorrect = (distance > tolerance * (1 + a.abs())) | distance.isinf()
    if not incorrect.any():
        return Verdict(True, CLOSE if distance.any() else "exact")
    # How far apart they are, in words.
    if not expected.is_floating_point():
        text = f"{int(incorrect.sum())} of {incorrect.numel()} places differ"
    elif (b.isnan() & ~a.isnan()).any():
        text = "NaN where a number belongs"
    else:
        text = f"largest difference {distance.max():.3g}"
    if not expected.dim():
        return Verdict(False, text, f"expected {short(expected)}, yours is {short(yours)}")
    # The first incorrect row, from a little before the first difference.
    rows = distance.flatten(1) if a.dim() > 1 else distance[:, None]
    incorrect = incorrect.reshape(len(a), -1)
    row = int(incorrect.any(dim=1).nonzero()[0])
    if expected.is_floating_point():
        text += f" (row {int(rows.amax(dim=1).argmax())})"
    start = max(0, int(incorrect[row].nonzero()[0]) - 3)
    expected, yours = (
        short(t[row].flatten() if t.dim() > 1 else t[row], start) for t in (expected, yours)
    )
    return Verdict(False, text, f"first wrong row, {row}: expected {expected}, yours {yours}")


def kind(value: object) -> str:
    """What a value is, in the words of a message."""
    if isinstance(value, Tensor):
        # A tensor is told by its dtype.
        if value.is_floating_point():
            return "a tensor of floats"
        if value.dtype == torch.bool:
            return "a tensor of booleans"
        return f"a tensor of {'complex numbers' if value.is_complex() else 'integers'}"
    # A boolean is a number to Python, so it comes first.
    names = [(bool, "True or False"), (numbers.Real, "a number"), (str, "a string")]
    names += [((list, tuple), "a list or tuple")]
    other = "None" if value is None else f"of type {type(value).__name__}"
    return next((name for types, name in names if isinstance(value, types)), other)


def short(value: object, start: int = 0, width: int = 8) -> str:
    """A value in a few characters. Of a row it shows `width` entries from `start` on."""
    if isinstance(value, Tensor) and value.dim():
        dots = ["..."] if start else [], ["..."] if start + width < len(value) else []
        shown = [short(v) for v in value[start : start + width]]
        return f"[{', '.join([*dots[0], *shown, *dots[1]])}]"
    value = value.item() if isinstance(value, Tensor) else value
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def is_plain(value: object) -> bool:
    """Whether this is a text, a number or None, or a list or tuple of them."""
    return all(item is None or isinstance(item, (str, numbers.Number)) for item in flat(value))


def shown_argument(value: object, limit: int = 40) -> str:
    """An argument of a call. Texts are shown in full, and so are tensors of at most `limit`
    numbers. Larger ones are shown by their shape, and a long list of one value as [value] * n."""
    if isinstance(value, Tensor):
        if value.numel() > limit:
            return f"<tensor of shape {list(value.shape)}>"
        return shown_argument(value.tolist())
    if isinstance(value, (list, tuple)):
        items = [shown_argument(item) for item in value]
        if len(items) > 8 and len(set(items)) == 1:
            return f"[{items[0]}] * {len(items)}"
        return f"[{', '.join(items)}]"
    if isinstance(value, float):
        short = f"{value:.4g}"
        # More digits where four would make another number whole, as 0.99999994 would become 1.
        return f"{value:.8g}" if float(short).is_integer() and float(short) != value else short
    return repr(value) if is_plain(value) else f"<{getattr(value, 'name', type(value).__name__)}>"
