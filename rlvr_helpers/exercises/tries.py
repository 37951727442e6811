"""The learner's progress: a small file on this machine, shown as a table. A broken or locked file
never stops a check."""

import errno
import html
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rlvr_helpers.kit.my_work import my_work_folder

# What a file that is no progress file makes `_read` raise.
BROKEN = (ValueError, TypeError, AttributeError, RecursionError)


@dataclass
class Record:
    """Of one exercise: failed and passed checks, hints seen, solution seen, and how it was done
    ("", "alone", "hints")."""

    tries: int = 0
    hints: int = 0
    solution: bool = False
    done: str = ""

    @property
    def state(self) -> str:
        if self.done:
            return {"alone": "done", "hints": "done after hints"}.get(self.done, "solution seen")
        if self.solution:
            return "solution seen"
        return (
            f"tried {self.tries} time{'s' * (self.tries != 1)}" if self.tries else "not attempted"
        )


Change = Callable[[Record], None]
UNSAVED: dict[Path, list[tuple[str, Change]]] = {}  # what could not be saved, kept for this session


def progress_file() -> Path:
    """`progress.json` in the learner's `my_work`, or the file that the variable RLVR_PROGRESS
    names."""
    return Path(os.environ.get("RLVR_PROGRESS") or my_work_folder() / "progress.json").expanduser()


def records() -> dict[str, Record]:
    """The records by exercise, with what could not be saved; a broken file is set aside."""
    path = progress_file()
    try:
        found = _load(path)
    except OSError:
        found = {}
    return _changed(found, UNSAVED.get(path, []))


def _load(path: Path) -> dict[str, Record]:
    try:
        return _read(path)
    except BROKEN:
        from rlvr_helpers.engine.locks import while_saving

        with while_saving(path):
            return _read_or_set_aside(path)


def _read(path: Path) -> dict[str, Record]:
    """What the file says. Raises one of BROKEN if it is no progress file, OSError if it cannot be
    read."""
    if path.is_dir():
        raise ValueError("a folder")
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a device")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: _record(**entry) for name, entry in entries.items()}


def _record(tries: int = 0, hints: int = 0, solution: bool = False, done: str = "", **_) -> Record:
    counts = all(type(count) is int and 0 <= count < 10**9 for count in (tries, hints))
    if not (counts and type(solution) is bool and done in ("", "alone", "hints", "solution")):
        raise ValueError("not what an exercise's record holds")
    return Record(tries, hints, solution, done=done)


def _read_or_set_aside(path: Path) -> dict[str, Record]:
    """For the owner of the lock: another process may have set the file aside and begun a new
    one."""
    try:
        return _read(path)
    except BROKEN:
        number = 1
        aside = path.with_name(f"{path.name}.broken")
        while aside.exists():
            number += 1
            aside = path.with_name(f"{path.name}.broken{number}")
        path.rename(aside)
        print(
            f"({path.name} could not be read. It is kept as {aside.name}, and progress starts"
            " anew.)"
        )
        return {}


def _changed(found: dict[str, Record], changes: list[tuple[str, Change]]) -> dict[str, Record]:
    for name, change in changes:
        change(found.setdefault(name, Record()))
    return found


def update(name: str, change: Change) -> None:
    """Applies change(record) to the record of an exercise and saves it; it is kept for the session
    if that fails."""
    path = progress_file()
    changes = UNSAVED.setdefault(path, [])
    changes.append((name, change))

    # late: they take long, and check is to start quickly
    from rlvr_helpers.engine.files import write_whole
    from rlvr_helpers.engine.locks import while_saving

    try:
        with while_saving(path):
            everything = _changed(_read_or_set_aside(path), changes)
            text = json.dumps({key: asdict(value) for key, value in everything.items()}, indent=1)
            write_whole(path, lambda file: file.write(text.encode()))
        changes.clear()
    except OSError as error:
        reason = (error.__cause__ or error).strerror or "no access"
        print(
            f"(progress is kept for this session only: {path.name} cannot be written,"
            f" {reason.lower()})"
        )


class ProgressTable:
    """The table of all exercises; a notebook shows it as HTML, anything else as text."""

    HEAD = ("lesson", "exercise", "minutes", "difficulty", "state")

    def __init__(self, rows: list[tuple]):
        self.rows = [tuple(map(str, row)) for row in rows]
        done = sum(row[-1].startswith("done") for row in self.rows)
        self.summary = f"{done} of {len(self.rows)} exercises done"

    def _repr_html_(self) -> str:
        lines = [
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
            for row in self.rows
        ]
        head = "".join(f"<th>{title}</th>" for title in self.HEAD)
        return f"<table><caption>{self.summary}</caption><tr>{head}</tr>{''.join(lines)}</table>"

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.HEAD, *self.rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in [self.HEAD, *self.rows]]
        return "\n".join([*lines, self.summary])
