"""Rows of a file with one row for each problem: JSON lines, CSV or Parquet."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

TABLE = "a table with the columns question and answer"
# What a file of each kind must hold, for errors.
KINDS = {"jsonl": "one JSON object per line", "csv": TABLE, "parquet": TABLE}


def find_file(folder: Path, split: str) -> Path:
    """The file of a split: the first of train.jsonl, train.csv and train.parquet that there is, or
    else the first name."""
    files = [folder / f"{split}.{kind}" for kind in KINDS]
    return next((file for file in files if file.is_file()), files[0])


def read_rows(path: Path, make: Callable[[dict], object]) -> list:
    """make(row) for every row of a file, in order. Raises ValueError that names the line to fix."""
    expected = KINDS.get(path.suffix[1:], KINDS["jsonl"])
    if not path.is_file():
        raise ValueError(
            f"there is no problem file {path.name} in the folder {path.parent.name!r}: give one"
            f" with {expected}"
        )
    made = []
    unit = "row" if path.suffix == ".parquet" else "line"
    read = {".csv": _csv, ".parquet": _parquet}.get(path.suffix, _json_lines)
    for number, row in read(path):
        try:
            row = json.loads(row) if isinstance(row, str) else row
            made.append(make(row))
        # A JSONDecodeError is a ValueError.
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = str(error)
            if isinstance(error, KeyError):
                what = f"the key {error} is missing, there are {', '.join(row)}"
            raise ValueError(
                f'{path.name}, {unit} {number} is no problem: expected {{"question": text,'
                f' "answer": text}} ({what})'
            ) from error
    if not made:
        raise ValueError(f"{path.name} holds no problems: expected {expected}")
    return made


def _text_of(path: Path) -> str:
    try:
        # -sig: Windows editors begin with a mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        number = 1 + error.object[: error.start].count(b"\n")
        raise ValueError(
            f"{path.name}, line {number} is no UTF-8 text ({error.reason}): save the file as UTF-8"
        ) from error


def _json_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines that are not blank. splitlines would also break at U+2028."""
    for number, line in enumerate(_text_of(path).split("\n"), start=1):
        if line.strip():
            yield number, line


def _csv(path: Path) -> Iterator[tuple[int, dict]]:
    """(number of its last line, row). Every value is text, as written."""
    reader = csv.DictReader(io.StringIO(_text_of(path), newline=""), strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        # A row keeps only the last of two columns with one name. Tables often have nameless ones.
        named = list(filter(None, names))
        if len(set(named)) < len(named):
            raise csv.Error(f"two of the columns {', '.join(named)} have one name: rename one")
        reader.fieldnames = names
        for row in reader:
            # csv fills short rows with None, and puts what is too much under the key None.
            if None in row or None in row.values():
                raise csv.Error(f"it has not as many cells as the {len(reader.fieldnames)} columns")
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(
            f"{path.name}, line {reader.line_num} is no row of a table ({error}): correct it"
        ) from error


def _parquet(path: Path) -> Iterator[tuple[int, dict]]:
    from datasets import Dataset  # slow to import
    from datasets.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory() as cache:
            table = Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True)
            rows = table.to_list()
    # datasets and pyarrow each raise kinds of their own.
    except Exception as error:
        why = type(error.__cause__ or error).__name__
        raise ValueError(
            f"{path.name} cannot be read as a Parquet table ({why}):"
            " save it as one, or as JSON lines"
        ) from error
    finally:
        if shown:
            enable_progress_bars()
    yield from enumerate(rows, start=1)
