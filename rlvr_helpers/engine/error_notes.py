"""Errors of a learner's own functions: they keep their kind, and say where they come from."""

import functools
import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# These would end the loop or the program around a function without a word.
SILENT = (SystemExit, GeneratorExit, StopIteration)
# What a command's input can cause.
USUAL = (ValueError, OSError, FloatingPointError, RuntimeError)
# A function's own lines begin behind those of this package.
CALLERS = (str(Path(__file__).parent.parent), importlib.__file__, "<frozen")


def call_own(function: Callable, *arguments: object, what: str) -> Any:
    """What a function of your own gives. A note on its error says its file, its line, and `what` it
    was.

    Raises RuntimeError if it ends the program (`sys.exit`) or a loop (StopIteration).
    """
    try:
        return function(*arguments)
    except (Exception, *SILENT) as error:
        note = f"({', '.join([*place_of(error), f'{type(error).__name__} {what}'])})"
        if isinstance(error, SILENT):
            # In its place, since nothing would be said of it.
            ended = RuntimeError("a function of yours ended the run instead of returning a value")
            ended.add_note(note)
            raise ended from error
        error.add_note(note)
        raise


def noted(function: Callable, what: str) -> Callable:
    """The same function, called by `call_own`."""

    @functools.wraps(function)
    def called(*arguments: object) -> Any:
        return call_own(function, *arguments, what=f"of the {what}")

    return called


def place_of(error: BaseException) -> list[str]:
    """File and line of the function's own line at which an error arose. Empty if it did not come so
    far."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [at for at in frames if not at.filename.startswith(CALLERS)]
    return [f"{Path(at.filename).name}, line {at.lineno}" for at in own[:1]]


def with_notes(error: BaseException) -> str:
    """What an error and its notes say, in one line."""
    return " ".join([str(error), *getattr(error, "__notes__", [])])


def say(error: Exception) -> int:
    """Prints in one line what a user can cause, and returns a command's exit status. Raises any
    other error again.

    A function of your own can raise anything, and a note says so.
    """
    if not isinstance(error, USUAL) and not hasattr(error, "__notes__"):
        raise error
    print(f"error: {with_notes(error)}", file=sys.stderr)
    return 2
