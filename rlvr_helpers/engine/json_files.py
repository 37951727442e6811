"""Reading JSON files back, with one clear error for whatever else such a file can hold."""

import json
import sys
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin


def read_json(path: Path) -> dict:
    """A JSON object from a file. Raises ValueError with the file's name if it holds anything
    else."""
    where = f"{path.name} in the folder {path.parent.name!r}"
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_constant)
    # Brackets a thousand deep are valid JSON.
    except RecursionError:
        raise ValueError(f"{where} cannot be read (it is nested too deep): move it away") from None
    except (ValueError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"{where} cannot be read ({why}): move it away") from None
    if not isinstance(data, dict):
        raise ValueError(f"{where} cannot be read (it holds no JSON object): move it away")
    return data


def _constant(text: str) -> float:
    """Infinity is the clip range of a method without a clip. NaN is never written."""
    if text == "NaN":
        raise ValueError("it holds NaN")
    return float(text)


def typed(kind: type, data: dict) -> Any:
    """A dataclass from plain data. Every field has the type that its annotation says.

    A whole number can stand for a float, and 0 and 1 for False and True. Raises ValueError on
    anything else, on NaN and infinity, and on a missing or unknown field.
    """
    name = kind.__name__
    if not isinstance(data, dict):
        raise ValueError(f"a {name} cannot be made of {str(data)[:40]!r}")
    # Which fields there are, and which must be given.
    known = {own.name: own.type for own in fields(kind)}
    needed = [
        own.name
        for own in fields(kind)
        if own.default is MISSING and own.default_factory is MISSING
    ]
    missing = [key for key in needed if key not in data]
    unknown = [key for key in data if key not in known]
    if missing or unknown:
        raise ValueError(
            f"a {name} must have the field {missing[0]!r}"
            if missing
            else f"a {name} has no {unknown[0]!r}"
        )
    return kind(**{key: _fitted(value, known[key], f"{name}.{key}") for key, value in data.items()})


def _fitted(value: Any, kind: Any, name: str) -> Any:
    """The value as this type. Raises ValueError if it has another."""
    # Unions with None, dataclasses and containers are taken apart.
    outer = get_origin(kind)
    inner = get_args(kind)
    if outer is UnionType:
        return None if value is None else _fitted(value, inner[0], name)
    if is_dataclass(kind):
        return typed(kind, value)
    if outer is list and isinstance(value, list):
        return [_fitted(item, inner[0], name) for item in value]
    if outer is dict and isinstance(value, dict):
        return {key: _fitted(item, inner[1], name) for key, item in value.items()}
    # Plain values.
    if kind is bool and isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    # A whole number can be too large for a float.
    is_number = type(value) in (int, float) and abs(value) <= sys.float_info.max
    if is_number and kind in (type(value), float) or kind is str and type(value) is str:
        return value
    raise ValueError(f"{name} must be {getattr(kind, '__name__', kind)}, not {str(value)[:40]!r}")
