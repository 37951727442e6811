"""Writes all texts of explorers, exercises, predictions and quizzes as one gettext catalogue.

    python -m rlvr_helpers.tools.catalogue --out texts.pot
    python -m rlvr_helpers.tools.catalogue --out data/locale/zh.po     # keeps what is translated

docs/translating.md says how a language is added.
"""

import argparse
import os
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from rlvr_helpers.exercises import questions
from rlvr_helpers.exercises.core import registry
from rlvr_helpers.exercises.questions import predictions, quizzes
from rlvr_helpers.exercises.rooms import rooms
from rlvr_helpers.exercises.words import WORDS
from rlvr_helpers.kit.course_map import EXTRAS, LESSONS
from rlvr_helpers.kit.language import with_texts
from rlvr_helpers.widgets import words


def texts() -> dict[str, str]:
    """Every text that is shown -> where it is shown."""
    # Explorers and figures, then exercises, predictions and quizzes.
    shown = {name: value for name, value in vars(words).items() if name.isupper()}
    for lesson, room in rooms("explorer"):
        shown[f"explorer {lesson}"] = getattr(room, "WORDS", {})
    shown |= {"check": WORDS, "questions": questions.WORDS}
    shown |= {"lessons": [lesson.question for lesson in LESSONS + EXTRAS]}
    shown |= {f"exercise {name}": each for name, each in registry().items()}
    shown |= {f"prediction {name}": each for name, each in predictions().items()}
    shown |= {f"quiz {lesson}": asked for lesson, asked in quizzes().items()}
    found = {}
    # A text that is shown twice is translated once.
    for place, value in shown.items():
        with_texts(value, lambda text, place=place: found.setdefault(text, place) and text)
    return {text: place for text, place in found.items() if text.strip()}


def catalogue(translations: dict[str, str]) -> Catalog:
    """A catalogue of all texts, with these translations where the English has not changed."""
    made = Catalog(project="rlvr-helpers", charset="utf-8", fuzzy=False)
    for text, place in texts().items():
        made.add(text, translations.get(text, ""), auto_comments=[place])
    return made


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a .pot or .po file")
    out = parser.parse_args(arguments).out
    # The package's texts would be translated ones, and the English would be lost.
    if os.environ.get("RLVR_LANGUAGE"):
        parser.error("RLVR_LANGUAGE is set: unset it, since a catalogue begins with the English")
    # What is translated already is kept.
    translations = {}
    if out.exists():
        with out.open("rb") as stream:
            translations = {each.id: each.string for each in read_po(stream) if each.id}
    made = catalogue(translations)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as stream:
        write_po(stream, made, width=100, omit_header=True)
    done = sum(bool(translations.get(text)) for text in texts())
    print(f"{out.name}: {len(texts())} texts, {done} of them translated")


if __name__ == "__main__":
    main()
