"""Predictions and quizzes: a guess before the result, and three questions at the end of a lesson.

The file `questions.py` in a lesson's room holds them as plain data, in PREDICTIONS and QUIZ.
"""

import html
import math
import random
from dataclasses import dataclass, replace
from functools import cache

from rlvr_helpers.exercises.rooms import rooms
from rlvr_helpers.exercises.tries import Record, change_record, saved_records
from rlvr_helpers.kit.language import translated

Guess = float | str | None

# What is printed and shown, for the catalogue of texts.
WORDS = translated(
    {
        "kept": "{name}: your guess is {guess}.",
        "again": "{name}: noted. The progress table keeps your first guess.",
        "no_guess": "{name}: it is {answer}. (You made no guess.)",
        "same": "{name}: it is {answer}, as you said.",
        "other": "{name}: you said {guess}, it is {answer}.",
        "off": "{name}: you said {guess}, it is {answer}: {off} off.",
        "points": "points",
        "put": "Put {what} in place of None, then run the cell again.",
        "percent": "a number from 0 to 100",
        "number": "a number",
        "choose": "Put one of these in place of None: {choices}",
        "correct": "Correct.",
        "incorrect": "Not so.",
    }
)


@dataclass(frozen=True)
class Prediction:
    """A guess to be made before a cell shows the result.

    unit: what the number counts, such as "%". choices: the answers to choose from, for a guess
    that is no number.
    """

    name: str
    lesson: str
    question: str
    unit: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """One answer of a question, and why it is correct or not."""

    text: str
    why: str
    correct: bool = False


@dataclass(frozen=True)
class Question:
    """One question of a quiz. Exactly one of its choices is correct."""

    name: str
    text: str
    choices: list[Choice]

    @property
    def shuffled(self) -> list[Choice]:
        """The choices in an order that does not depend on who wrote them, the same each time."""
        return random.Random(self.name).sample(self.choices, len(self.choices))


@cache
def predictions() -> dict[str, Prediction]:
    """All predictions by name, in the order of the lessons."""
    asked = [each for _, room in rooms("questions") for each in room.PREDICTIONS]
    # The choices stay English, since notebooks reveal one of them. `_shown` translates them.
    return {each.name: replace(translated(each), choices=each.choices) for each in asked}


@cache
def quizzes() -> dict[str, list[Question]]:
    """The questions of each lesson that has a quiz, by the lesson's number."""
    return {lesson: translated(room.QUIZ) for lesson, room in rooms("questions")}


# What was guessed since the kernel started, None included.
_session: dict[str, Guess] = {}


def find(name: str) -> Prediction:
    if name not in predictions():
        known = ", ".join(predictions())
        raise ValueError(f"there is no prediction {name!r}: choose from {known}")
    return predictions()[name]


def predict(name: str, guess: Guess) -> None:
    """Keeps your guess until `reveal` compares it. With None the result is shown without a score.

    guess: a number, or one of the prediction's choices. Raises ValueError, which says what can be
    guessed, on anything else.
    """
    prediction = find(name)
    guess = _read(prediction, guess)
    _session[name] = guess
    if guess is None:
        print(f"{prediction.question} {_how(prediction)}")
        return
    # After `reveal` the guess in the table stays.
    before = saved_records().get(_key(name), Record())
    if before.truth is None:
        change_record(_key(name), lambda record: setattr(record, "guess", guess))
        print(WORDS["kept"].format(name=name, guess=_shown(prediction, guess)))
    else:
        print(WORDS["again"].format(name=name))


def reveal(name: str, truth: float | str) -> None:
    """Prints the result beside your guess, and how far off it was.

    truth: a number, or one of the prediction's choices (ValueError otherwise).
    """
    prediction = find(name)
    if not prediction.choices:
        truth = float(truth)
    elif truth not in prediction.choices:
        raise ValueError(f"{name}: {truth!r} is none of its choices")
    # The guess of this session, or one that was kept before.
    saved = saved_records().get(_key(name), Record()).guess
    guess = _session.get(name, saved)
    given = {"name": name, "answer": _shown(prediction, truth)}
    if guess is None:
        print(WORDS["no_guess"].format(**given))
        return
    # The first result is compared with the first guess, and both are kept.
    change_record(_key(name), lambda record: setattr(record, "truth", truth))
    given["guess"] = _shown(prediction, guess)
    if prediction.choices:
        print(WORDS["same" if guess == truth else "other"].format(**given))
        return
    unit = WORDS["points"] if prediction.unit == "%" else prediction.unit
    print(WORDS["off"].format(**given, off=f"{_number(abs(guess - truth))} {unit}".rstrip()))


def is_close(prediction: Prediction, guess: Guess, truth: Guess) -> bool:
    """Whether a guess counts as near: the same choice, 10 points of percent, or a fifth of the
    result."""
    if prediction.choices:
        return guess == truth
    # A tenth of the scale for a percentage, since near 0 a fifth of the result is nothing.
    room = 10 if prediction.unit == "%" else 0.2 * abs(truth)
    return abs(guess - truth) <= room


def _key(name: str) -> str:
    """Under which a prediction or a question is kept beside the exercises."""
    return f"question {name}"


def _read(prediction: Prediction, guess: object) -> Guess:
    """The guess as a number or as one of the choices."""
    if guess is None:
        return None
    text = str(guess).strip().removesuffix(prediction.unit or "\0").strip()
    # One of the choices, in English or as it is shown.
    if prediction.choices:
        by_text = {translated(choice).lower(): choice for choice in prediction.choices}
        by_text |= {choice.lower(): choice for choice in prediction.choices}
        if text.lower() in by_text:
            return by_text[text.lower()]
    else:
        # Or a number, and of a percentage one that can be.
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number) and (prediction.unit != "%" or 0 <= number <= 100):
            return number
    raise ValueError(f"{prediction.name}: {guess!r} cannot be read as a guess. {_how(prediction)}")


def _how(prediction: Prediction) -> str:
    """What can be given instead of None."""
    if prediction.choices:
        choices = ", ".join(map(repr, translated(prediction.choices)))
        return WORDS["choose"].format(choices=choices)
    return WORDS["put"].format(what=WORDS["percent" if prediction.unit == "%" else "number"])


def _number(value: float) -> str:
    """Three digits, and all before the point: 0.0123, 61.9, 6,036."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _shown(prediction: Prediction, value: float | str) -> str:
    if prediction.choices:
        return f'"{translated(value)}"'
    return f"{_number(value)} {prediction.unit}".rstrip()


def quiz(lesson: str) -> None:
    """Shows the questions of a lesson. Each choice is answered at once, and the first one counts.

    Raises ValueError for a lesson without a quiz.
    """
    if lesson not in quizzes():
        raise ValueError(f"no quiz {lesson!r}: choose from {', '.join(quizzes())}")

    # Imported late, so that `check` starts quickly.
    import ipywidgets
    from IPython.display import display

    questions = quizzes()[lesson]
    # Live where a kernel runs, a plain list where none does.
    box = ipywidgets.VBox([_asked(i, each) for i, each in enumerate(questions, 1)])
    still = "".join(_still(i, each) for i, each in enumerate(questions, 1))
    plain = "\n".join(each.text for each in questions)
    bundle = {**box._repr_mimebundle_(), "text/html": still, "text/plain": plain}
    display(bundle, raw=True)


def _still(number: int, question: Question) -> str:
    """A question where no kernel runs: its choices, without the answer."""
    items = "".join(f"<li>{html.escape(choice.text)}</li>" for choice in question.shuffled)
    return f"<p>{number}. {html.escape(question.text)}</p><ul>{items}</ul>"


def _asked(number: int, question: Question) -> object:
    """A question as radio buttons, with a line below that answers the choice."""
    import ipywidgets

    choices = question.shuffled
    text = ipywidgets.HTML(f"<b>{number}. {html.escape(question.text)}</b>")
    buttons = ipywidgets.RadioButtons(options=[choice.text for choice in choices], index=None)
    buttons.layout.width = "auto"
    buttons.add_class("jp-RenderedHTMLCommon")
    said = ipywidgets.HTML('<div role="status">&nbsp;</div>')

    def answer(change: dict) -> None:
        # Every choice is answered at once, with its reason.
        choice = choices[change["new"]]
        change_record(_key(question.name), lambda record: note_choice(record, choice))
        start = WORDS["correct" if choice.correct else "incorrect"]
        said.value = f'<div role="status"><b>{start}</b> {html.escape(choice.why)}</div>'

    buttons.observe(answer, names="index")
    return ipywidgets.VBox([text, buttons, said], layout={"margin": "0 0 12px 0"})


def note_choice(record: Record, choice: Choice) -> None:
    """The first choice is kept. A later correct one is noted as found in the end."""
    record.tries += 1
    if record.guess is None:
        record.guess = choice.text
    if choice.correct and not record.done:
        record.done = "alone" if record.tries == 1 else "hints"


def answered(lesson: str, saved: dict[str, Record]) -> tuple[int, int]:
    """How many questions of a lesson's quiz were answered correctly at first, and how many there
    are."""
    names = [_key(question.name) for question in quizzes().get(lesson, [])]
    return sum(saved.get(name, Record()).done == "alone" for name in names), len(names)


def guessed(lesson: str, saved: dict[str, Record]) -> tuple[int, int, int]:
    """How many predictions of a lesson came close, how many were made, and how many there are."""
    asked = [each for each in predictions().values() if each.lesson == lesson]
    kept = [(each, saved.get(_key(each.name), Record())) for each in asked]
    made = [(each, r) for each, r in kept if r.guess is not None and r.truth is not None]
    close = [each for each, r in made if is_close(each, r.guess, r.truth)]
    return len(close), len(made), len(asked)
