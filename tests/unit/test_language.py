"""Texts in another language: one catalogue holds them all, and each is looked up by its English."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from rlvr_helpers.exercises import questions
from rlvr_helpers.exercises.questions import Choice, Prediction, Question
from rlvr_helpers.exercises.words import WORDS
from rlvr_helpers.kit import language
from rlvr_helpers.kit.language import translated
from rlvr_helpers.tools import catalogue as tool

ROOT = Path(__file__).resolve().parents[2]
CHINESE = {"rises": "上升", "Does it rise?": "会上升吗？", "What is 1 + 1?": "1 + 1 等于几？"}


@pytest.fixture
def chinese(tmp_path, monkeypatch):
    """RLVR_LANGUAGE is zh, with a catalogue of three texts."""
    folder = tmp_path / "locale"
    folder.mkdir()
    lines = [f'msgid "{english}"\nmsgstr "{text}"\n' for english, text in CHINESE.items()]
    (folder / "zh.po").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(language, "DATA", tmp_path)
    monkeypatch.setenv("RLVR_LANGUAGE", "zh")
    monkeypatch.setenv("RLVR_PROGRESS", str(tmp_path / "progress.json"))
    language._texts.cache_clear()
    yield
    language._texts.cache_clear()


def test_what_check_says_is_in_the_catalogue():
    texts = tool.texts()
    for value in WORDS.values():
        for text in [value] if isinstance(value, str) else value:
            assert not text.strip() or text in texts


@dataclass(frozen=True)
class Note:
    name: str
    text: str
    number: int


def test_texts_are_found_wherever_they_stand(chinese):
    assert translated("rises") == "上升"
    assert translated("not translated yet") == "not translated yet"
    assert translated({"rises": ["rises", 3]}) == {"rises": ["上升", 3]}
    assert translated(Note("rises", "rises", 3)) == Note("rises", "上升", 3)


def test_without_the_variable_nothing_is_read(monkeypatch):
    monkeypatch.delenv("RLVR_LANGUAGE", raising=False)
    monkeypatch.setattr(language, "_texts", None)
    note = Note("a", "rises", 3)
    assert translated(note) is note


def test_an_unknown_language_is_refused(chinese, monkeypatch):
    monkeypatch.setenv("RLVR_LANGUAGE", "xx")
    with pytest.raises(ValueError, match="'xx': choose from zh, or unset it"):
        translated("rises")


def test_a_prediction_and_a_question_speak_it(chinese, monkeypatch, capsys):
    moves = Prediction("moves", "98", "Does it rise?", choices=("rises", "falls"))
    choices = [Choice("rises", "", correct=True), Choice("falls", "")]
    monkeypatch.setattr(questions, "_session", {})
    monkeypatch.setitem(questions.predictions(), "moves", moves)
    assert translated(Question("q", "What is 1 + 1?", choices)).text == "1 + 1 等于几？"
    for guess in ("上升", "rises"):
        questions.predict("moves", guess)
        questions.reveal("moves", "rises")
        assert '"上升", as you said' in capsys.readouterr().out


def test_the_catalogue_has_every_text_and_keeps_translations(tmp_path, capsys):
    out = tmp_path / "zh.po"
    some = next(iter(tool.texts()))
    out.write_text(f'msgid "{some}"\nmsgstr "译文"\n', encoding="utf-8")
    tool.main(["--out", str(out)])
    said = capsys.readouterr().out
    assert re.search(r"zh.po: \d{3,} texts, 1 of them translated", said)
    assert "译文" in out.read_text(encoding="utf-8")
    shown = set(tool.texts().values())
    assert {"TOKEN_LENS", "CLIP_STAGE", "exercise clip_binds"} <= shown


def test_the_catalogue_is_made_from_the_english_only(tmp_path, monkeypatch, capsys):
    out = tmp_path / "new" / "zh.po"
    tool.main(["--out", str(out)])
    made = out.read_bytes()
    monkeypatch.setenv("RLVR_LANGUAGE", "zh")
    with pytest.raises(SystemExit):
        tool.main(["--out", str(out)])
    assert "RLVR_LANGUAGE is set: unset it" in capsys.readouterr().err
    assert out.read_bytes() == made


def test_chinese_has_every_text_of_lesson_00():
    with (ROOT / "data" / "locale" / "zh.po").open("rb") as stream:
        chinese = {message.id for message in read_po(stream) if message.string}
    lesson = {"ONE_GROUP", "LOOP", "LESSON_TABLE", "MY_WORK", "DASHBOARD", "lessons", "questions"}
    lesson |= {"quiz 00"} | {
        f"prediction {name}"
        for name, each in questions.predictions().items()
        if each.lesson == "00"
    }
    shown = {text for text, place in tool.texts().items() if place in lesson}
    # What the model writes, and a unit. The button Stop is called so in the lesson's text too.
    assert shown - chinese <= {"<reasoning>", "%", "Stop"}
