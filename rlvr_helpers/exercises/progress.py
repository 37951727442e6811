"""The learner's progress: a small file on this machine, shown as a table. A broken or locked file never stops a check."""

import html
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rlvr_helpers.my_work import my_work_folder

UNSAVED: dict[Path, dict] = {}  # what could not be written, kept for this session


@dataclass
class Record:
    """Of one exercise: failed and passed checks, hints seen, solution seen, and how it was done ("", "alone", "hints")."""

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
        return f"tried {self.tries} time{'s' * (self.tries != 1)}" if self.tries else "not attempted"


def progress_file() -> Path:
    """`progress.json` in the learner's `my_work`, or the file that the variable RLVR_PROGRESS names."""
    return Path(os.environ.get("RLVR_PROGRESS") or my_work_folder() / "progress.json")


def load() -> dict[str, Record]:
    """The records by exercise. A file that is no progress file is set aside. Raises OSError if it cannot be read."""
    path = progress_file()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {name: _record(**entry) for name, entry in entries.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError):
        number, aside = 1, path.with_name(f"{path.name}.broken")
        while aside.exists():
            number += 1
            aside = path.with_name(f"{path.name}.broken{number}")
        path.rename(aside)
        print(f"({path.name} could not be read. It is kept as {aside.name}, and progress starts anew.)")
        return {}


def _record(tries=0, hints=0, solution=False, done="", **_) -> Record:
    return Record(int(tries), int(hints), bool(solution), str(done))


def records() -> dict[str, Record]:
    """The records by exercise, with those that could not be saved; those alone if the file cannot be read."""
    unsaved = UNSAVED.get(progress_file(), {})
    try:
        return load() | unsaved
    except OSError:
        return dict(unsaved)


def update(name: str, change) -> None:
    """Applies change(record) to the record of an exercise and saves it; it is kept for the session if that fails."""
    path = progress_file()
    everything = records()
    record = everything.setdefault(name, Record())
    change(record)
    try:
        load()  # never write over a file that could not be read
        from rlvr_helpers.checkpoints import write_whole  # late: it brings transformers, and check is to start quickly

        text = json.dumps({key: asdict(value) for key, value in everything.items()}, indent=1)
        write_whole(path, lambda file: file.write(text.encode()))
        UNSAVED.pop(path, None)
    except OSError as error:
        UNSAVED.setdefault(path, {})[name] = record
        reason = (error.__cause__ or error).strerror or "no access"
        print(f"(progress is kept for this session only: {path.name} cannot be written, {reason.lower()})")


class ProgressTable:
    """The table of all exercises; a notebook shows it as HTML, anything else as text."""

    HEAD = ("lesson", "exercise", "minutes", "difficulty", "state")

    def __init__(self, rows: list[tuple]):
        self.rows = [tuple(map(str, row)) for row in rows]
        done = sum(row[-1].startswith("done") for row in self.rows)
        self.summary = f"{done} of {len(self.rows)} exercises done"

    def _repr_html_(self) -> str:
        lines = [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows]
        head = "".join(f"<th>{title}</th>" for title in self.HEAD)
        return f"<table><caption>{self.summary}</caption><tr>{head}</tr>{''.join(lines)}</table>"

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.HEAD, *self.rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in [self.HEAD, *self.rows]]
        return "\n".join([*lines, self.summary])
