"""Calling a learner's function, which can do anything, within a time limit."""

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
from typing import Protocol

import torch
from torch import Tensor

from rlvr_helpers.exercises.comparing import flat, verdict_on
from rlvr_helpers.exercises.words import WORDS

# Seconds in which a function that runs too long is told to end.
PATIENCE = 1.0


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
        line = line_of(error, function)
        outcome.error = WORDS["late"].format(seconds=seconds, line=line)
        if error.__traceback__ is None:
            outcome.error = WORDS["still_running"].format(seconds=seconds)
    elif error is not None:
        outcome.raised = type(error).__name__
        said = "".join(traceback.format_exception_only(error)).strip().splitlines()[0][:200]
        outcome.message = re.sub(r"\d+", "", said)
        outcome.error = WORDS["raised"].format(error=said, line=line_of(error, function))
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
    if not frames:
        return ""
    return WORDS["line"].format(number=frames[-1].lineno, line=frames[-1].line)


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
