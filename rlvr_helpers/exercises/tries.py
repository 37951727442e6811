"""The learner's progress: a small file on this machine. A broken or locked file never stops a
check."""

import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rlvr_helpers.exercises.words import WORDS
from rlvr_helpers.kit.my_work import my_work_folder

# What a file that is no progress file makes `_read` raise.
BROKEN = (ValueError, TypeError, AttributeError, RecursionError)


@dataclass
class Record:
    """What was done with one exercise, prediction or question.

    Of an exercise: failed and passed checks, hints seen, solution seen, and how it was done ("",
    "alone", "hints", "solution"). Of a prediction or a question: the first guess, and the result.
    """

    tries: int = 0
    hints: int = 0
    solution: bool = False
    done: str = ""
    guess: float | str | None = None
    truth: float | str | None = None

    @property
    def state(self) -> str:
        """In words, for the table of progress."""
        # Only what was done alone is called done without a remark.
        if self.done:
            done = {"alone": "done", "hints": "done_after_hints"}
            return WORDS[done.get(self.done, "solution_seen")]
        if self.solution:
            return WORDS["solution_seen"]
        if not self.tries:
            return WORDS["untried"]
        return WORDS["tried_once" if self.tries == 1 else "tried"].format(n=self.tries)

    @property
    def finished(self) -> bool:
        """Whether it was done before its solution was looked at."""
        return self.done in ("alone", "hints")


Change = Callable[[Record], None]
# What could not be saved. It is kept for this session.
UNSAVED: dict[Path, list[tuple[str, Change]]] = {}


def progress_file() -> Path:
    """The file that the environment variable RLVR_PROGRESS names, or `progress.json` in the
    learner's `my_work`."""
    return Path(os.environ.get("RLVR_PROGRESS") or my_work_folder() / "progress.json").expanduser()


def saved_records() -> dict[str, Record]:
    """The records by exercise, with what could not be saved. A broken file is set aside."""
    path = progress_file()
    try:
        found = _load(path)
    except OSError:
        found = {}
    return _changed(found, UNSAVED.get(path, []))


def _load(path: Path) -> dict[str, Record]:
    """What the file says. A broken one is set aside under its lock."""
    try:
        return _read(path)
    except BROKEN:
        from rlvr_helpers.engine.locks import while_saving

        with while_saving(path):
            return _read_or_set_aside(path)


def _read(path: Path) -> dict[str, Record]:
    """What the file says. Raises one of BROKEN if it is no progress file, and OSError if it cannot
    be read."""
    if path.is_dir():
        raise ValueError("a folder")
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a device")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: _record(**entry) for name, entry in entries.items()}


def _record(**entry: object) -> Record:
    """A record from what a file holds. Raises ValueError if that is no record."""
    known = {field.name: entry[field.name] for field in fields(Record) if field.name in entry}
    record = Record(**known)
    # Whatever a person or another version can have written there.
    counts = all(type(n) is int and 0 <= n < 10**9 for n in (record.tries, record.hints))
    done = record.done in ("", "alone", "hints", "solution")
    values = all(_is_guess(value) for value in (record.guess, record.truth))
    if not (counts and type(record.solution) is bool and done and values):
        raise ValueError("not what an exercise's record holds")
    return record


def _is_guess(value: object) -> bool:
    """None, a text, or a finite number."""
    if value is None or isinstance(value, str):
        return True
    return type(value) in (int, float) and math.isfinite(value)


def _plain(record: Record) -> dict:
    """A record as JSON, without what was never guessed."""
    return {key: value for key, value in asdict(record).items() if value is not None}


def _read_or_set_aside(path: Path) -> dict[str, Record]:
    """What the file says, for the owner of the lock. It reads again, since another process can have
    set the file aside and begun a new one."""
    try:
        return _read(path)
    except BROKEN:
        # The first free name beside it.
        number = 1
        aside = path.with_name(f"{path.name}.broken")
        while aside.exists():
            number += 1
            aside = path.with_name(f"{path.name}.broken{number}")
        path.rename(aside)
        print(WORDS["unreadable"].format(file=path.name, aside=aside.name))
        return {}


def _changed(found: dict[str, Record], changes: list[tuple[str, Change]]) -> dict[str, Record]:
    """The records after these changes."""
    for name, change in changes:
        change(found.setdefault(name, Record()))
    return found


def change_record(name: str, change: Change) -> None:
    """Applies change(record) to the record of an exercise and saves it. If that fails, it is kept
    for the session."""
    path = progress_file()
    changes = UNSAVED.setdefault(path, [])
    changes.append((name, change))

    # Imported late, since they take long and the first check should start quickly.
    from rlvr_helpers.engine.files import write_whole
    from rlvr_helpers.engine.locks import while_saving

    try:
        with while_saving(path):
            # Read again under the lock, since another notebook can have written.
            everything = _changed(_read_or_set_aside(path), changes)
            text = json.dumps({key: _plain(value) for key, value in everything.items()}, indent=1)
            write_whole(path, lambda file: file.write(text.encode()))
        changes.clear()
    except OSError as error:
        reason = (error.__cause__ or error).strerror or "no access"
        print(WORDS["unwritable"].format(file=path.name, reason=reason.lower()))
