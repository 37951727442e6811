"""Notes on errors of a learner's own functions: the error keeps its kind, and says where it came
from."""

import traceback
from pathlib import Path


def note_where(error: Exception, caller: str, what: str) -> None:
    """Adds a note to an error that a function of your own raised: its file, its line, and `what` it
    was at.

    caller: the file that called it. The first line outside that file is the function's own.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"{Path(at.filename).name}, line {at.lineno}" for at in frames if at.filename != caller]
    error.add_note(f"({', '.join([*own[:1], f'{type(error).__name__} {what}'])})")


def with_notes(error: BaseException) -> str:
    """What an error and its notes say, in one line."""
    return " ".join([str(error), *getattr(error, "__notes__", [])])
