"""Predictions and quizzes: guesses are kept and compared, each choice is answered, and whatever a
room asks is whole."""

import json

import pytest

from rlvr_helpers.exercises import predict, quiz, reveal, show_progress
from rlvr_helpers.exercises import questions as asking
from rlvr_helpers.exercises.core import registry
from rlvr_helpers.exercises.questions import Choice, Prediction, Question
from rlvr_helpers.exercises.rooms import rooms
from rlvr_helpers.exercises.tries import Record, saved_records
from rlvr_helpers.kit.course_map import Lesson
from rlvr_helpers.tools import answers as tool

SHARE = Prediction("share", "98", "How many, in percent?", unit="%")
FACTOR = Prediction("factor", "98", "How many times longer?", unit="times")
MOVES = Prediction("moves", "98", "Does it rise?", choices=("rises", "falls", "stays"))
SUM = Question(
    "sum",
    "What is 1 + 1?",
    [Choice("2", "one and one", correct=True), Choice("1", "no"), Choice("11", "no text")],
)


@pytest.fixture(autouse=True)
def asked(tmp_path, monkeypatch):
    """Three predictions and a quiz of a lesson 98; gives the progress file."""
    monkeypatch.setenv("RLVR_PROGRESS", str(tmp_path / "progress.json"))
    for each in (SHARE, FACTOR, MOVES):
        monkeypatch.setitem(asking.predictions(), each.name, each)
    monkeypatch.setitem(asking.quizzes(), "98", [SUM])
    monkeypatch.setattr(asking, "_session", {})
    return tmp_path / "progress.json"


def last(capsys) -> str:
    return capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "guess", "truth", "said"),
    [
        ("share", 40, 72, "share: you said 40 %, it is 72 %: 32 points off."),
        ("share", "40 %", 72.04, "share: you said 40 %, it is 72 %: 32 points off."),
        ("factor", 2, 2.5, "factor: you said 2 times, it is 2.5 times: 0.5 times off."),
        ("factor", 200, 6036, "factor: you said 200 times, it is 6,036 times: 5,836 times off."),
        ("moves", " Falls ", "rises", 'moves: you said "falls", it is "rises".'),
        ("moves", "rises", "rises", 'moves: it is "rises", as you said.'),
        ("share", None, 72, "share: it is 72 %. (You made no guess.)"),
        ("moves", None, "rises", 'moves: it is "rises". (You made no guess.)'),
    ],
)
def test_a_guess_is_compared(name, guess, truth, said, capsys):
    predict(name, guess)
    reveal(name, truth)
    assert last(capsys) == said


def test_without_a_guess_the_question_is_shown(capsys):
    predict("share", None)
    assert last(capsys) == (
        "How many, in percent? Put a number from 0 to 100 in place of None, then run the cell again."
    )
    predict("moves", None)
    assert last(capsys).endswith("in place of None: 'rises', 'falls', 'stays'")


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        *[("share", guess) for guess in ("many", -1, 101, float("nan"), [40], "", "4 0", True)],
        *[("moves", guess) for guess in ("maybe", 1, "")],
        *[("factor", guess) for guess in (float("inf"), "2 apples", "1e999")],
    ],
)
def test_what_is_no_guess_is_refused(name, guess, asked):
    with pytest.raises(ValueError, match=r"cannot be read as a guess\. Put "):
        predict(name, guess)
    assert not asked.exists()


def test_the_first_guess_counts(capsys):
    predict("share", 70)
    reveal("share", 72)
    predict("share", 72)
    assert "keeps your first guess" in last(capsys)
    reveal("share", 72)
    assert "you said 72 %, it is 72 %: 0 points off" in last(capsys)
    assert saved_records()["question share"].guess == 70


def test_a_guess_of_another_session_is_compared(capsys):
    predict("share", 70)
    asking._session.clear()
    reveal("share", 72)
    assert "you said 70 %" in last(capsys)


def test_run_all_leaves_what_was_guessed(capsys):
    predict("share", 70)
    predict("share", None)
    reveal("share", 72)
    assert "You made no guess" in last(capsys)
    assert (saved_records()["question share"].guess, saved_records()["question share"].truth) == (
        70,
        None,
    )


def test_unknown_names(capsys):
    with pytest.raises(ValueError, match="there is no prediction 'shar': choose from"):
        predict("shar", 3)
    with pytest.raises(ValueError, match="no quiz '97': choose from"):
        quiz("97")
    with pytest.raises(ValueError, match="moves: 'grows' is none of its choices"):
        reveal("moves", "grows")


def shown_quiz(monkeypatch):
    """The radio buttons and the line below them of lesson 98's question."""
    shown = []
    make = asking._asked
    monkeypatch.setattr(asking, "_asked", lambda *args: shown.append(make(*args)) or shown[-1])
    quiz("98")
    _, buttons, said = shown[0].children
    return buttons, said


def choose(buttons, text):
    buttons.index = buttons.options.index(text)


def test_each_choice_is_answered_and_the_first_counts(monkeypatch):
    buttons, said = shown_quiz(monkeypatch)
    assert sorted(buttons.options) == ["1", "11", "2"] and buttons.index is None
    choose(buttons, "11")
    assert "Not so.</b> no text" in said.value
    choose(buttons, "2")
    assert "Correct.</b> one and one" in said.value
    assert saved_records()["question sum"] == Record(tries=2, done="hints", guess="11")
    assert show_progress().rows[-1][3] == "0 of 1 correct"


def test_progress_counts_predictions_and_questions(monkeypatch, asked):
    predict("share", 65)
    reveal("share", 72)
    predict("factor", 9)
    reveal("factor", 2)
    predict("moves", "falls")
    buttons, _ = shown_quiz(monkeypatch)
    choose(buttons, "2")
    row = show_progress().rows[-1]
    assert row == ("98", "", "2 of 3 made, 1 close", "1 of 1 correct")
    saved = json.loads(asked.read_text())
    assert saved["question share"] == {
        "tries": 0,
        "hints": 0,
        "solution": False,
        "done": "",
        "guess": 65.0,
        "truth": 72.0,
    }


def test_a_quiz_without_a_kernel_shows_questions_and_no_answers(capsys):
    still = asking._still(1, SUM)
    assert "What is 1 + 1?" in still and "<li>2</li>" in still and "one and one" not in still


def test_names_are_unique():
    names = [each.name for _, room in rooms("questions") for each in room.PREDICTIONS]
    names += [each.name for _, room in rooms("questions") for each in room.QUIZ]
    assert len(set(names)) == len(names) and not set(names) & set(registry())


def test_every_room_asks_whole_questions():
    for lesson, room in rooms("questions"):
        assert all(each.lesson == lesson for each in room.PREDICTIONS)
        assert len(room.QUIZ) == 3, lesson
        for question in room.QUIZ:
            assert sum(choice.correct for choice in question.choices) == 1, question.name
            assert len({choice.text for choice in question.choices}) >= 3, question.name
            assert all(choice.why for choice in question.choices), question.name


def test_whoever_teaches_gets_all_answers(monkeypatch, capsys):
    lesson = Lesson("98", "98_sums", "What is a sum?", minutes=5, box="sums")
    monkeypatch.setattr(tool, "LESSONS", [lesson])
    monkeypatch.setattr(tool, "EXTRAS", [])
    stored = ["share: it is 72 %. (You made no guess.)", "factor: it is 2.5 times."]
    monkeypatch.setattr(tool, "printed", lambda lesson: stored)
    tool.main(["98"])
    said = capsys.readouterr().out
    assert said.startswith("98 What is a sum?\nPrediction: How many, in percent?\n")
    assert "   share: it is 72 %.\n" in said and "   moves: no stored output\n" in said
    assert "   [x] 2: one and one\n" in said and "   [ ] 11: no text\n" in said
    with pytest.raises(SystemExit):
        tool.main(["97"])


def test_every_prediction_has_an_answer_in_its_notebook(capsys):
    tool.main([])
    said = capsys.readouterr().out
    assert "no stored output" not in said
    # A choice that is a sentence keeps no full stop before its colon.
    assert ".:" not in said


def test_the_correct_choice_is_not_always_in_one_place_and_stays_where_it_is():
    real = [each for lesson, quiz in asking.quizzes().items() if lesson != "98" for each in quiz]
    for each in real:
        assert each.shuffled == each.shuffled
        assert sorted(each.shuffled, key=str) == sorted(each.choices, key=str)
    # Nobody gets most of the points by always taking the first, or the last.
    for place in (0, -1):
        correct = sum(each.shuffled[place].correct for each in real)
        assert correct <= 0.45 * len(real), f"place {place}: {correct} of {len(real)}"
