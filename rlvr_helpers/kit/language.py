"""The course in another language: each text that Python shows is looked up by its English.

The variable RLVR_LANGUAGE names the language ("zh"). Its texts stand in data/locale/<language>.po.
Without the variable everything is English. A text without a translation stays English.
"""

import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import TypeVar

from rlvr_helpers.paths import DATA

T = TypeVar("T")
# Fields of an exercise, a prediction or a question that are no text to read.
NAMES = ("name", "lesson", "returns")


def translated(value: T) -> T:
    """The same value with each text in it translated: a text, a dict, list or tuple of them, or a
    dataclass."""
    language = os.environ.get("RLVR_LANGUAGE")
    if not language:
        return value
    return with_texts(value, lambda text: _texts(language).get(text) or text)


def with_texts(value: T, change: Callable[[str], str]) -> T:
    """The same value with each text in it changed. Names that code uses stay as they are: the keys
    of a dict, and a dataclass's fields in NAMES."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: with_texts(text, change) for key, text in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(with_texts(item, change) for item in value)
    # An exercise, a prediction or a question: its fields, without those that are names.
    if is_dataclass(value):
        own = [field.name for field in fields(value) if field.name not in NAMES]
        return replace(value, **{name: with_texts(getattr(value, name), change) for name in own})
    # Numbers, functions and None hold no text.
    return value


@cache
def _texts(language: str) -> dict[str, str]:
    """English -> this language. Raises ValueError that names the languages there are."""
    file = DATA / "locale" / f"{language}.po"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in (DATA / "locale").glob("*.po")))
        raise ValueError(
            f"RLVR_LANGUAGE is {language!r}: choose from {known}, or unset it for English"
        )

    # Imported here: only a translated course needs babel, which JupyterLab brings.
    from babel.messages.pofile import read_po

    with file.open("rb") as stream:
        return {message.id: message.string for message in read_po(stream) if message.id}
