"""The exercise of extras/13: a scorer whose second part cannot be earned alone."""

import re

from rlvr_helpers.exercises.core import Case, Exercise, named

EQUATION = r"\d+ [-+x] \d+ = \d+"
ANSWER = "21 + 9 = 30"


def score_cases() -> list[Case]:
    """Texts as models write them, and as they would if something paid for it."""
    texts = {
        "the equation": "21 + 9 = 30",
        "with a point": "21 + 9 = 30.",
        "with words around it": "<reasoning> Let me think. 21 + 9 = 30. </reasoning>",
        "as tiny ends it": "<reasoning> 21 + 9 = 30. </reasoning> <answer> 30 </answer>",
        "two equations, the first correct": "21 + 9 = 30. 21 - 9 = 12.",
        "two equations, the second correct": "21 - 9 = 12. 21 + 9 = 30.",
        "the equation twice": "21 + 9 = 30. 21 + 9 = 30.",
        "an incorrect result": "21 + 9 = 31.",
        "a result that goes on": "21 + 9 = 301.",
        "a longer first number": "121 + 9 = 30.",
        "another sign": "21 - 9 = 12.",
        "the other order": "9 + 21 = 30.",
        "only the result": "It is 30.",
        "no text": "",
    }
    return [Case(label, (text, ANSWER)) for label, text in texts.items()]


def equation_score(text, answer):
    stated = re.findall(r"\d+ [-+x] \d+ = \d+", text)
    correct = float(stated == [answer])
    short = 5 / max(5, len(text.split()))
    return correct, correct * short


def _stated(text: str) -> list[str]:
    return re.findall(EQUATION, text)


def _pair(correct: bool, text: str, gated: bool = True) -> tuple[float, float]:
    """The two parts, once it is known whether the text is correct."""
    short = 5 / max(5, len(text.split()))
    return float(correct), float(correct) * short if gated else short


SCORE_MISTAKES = {
    "short for every text": (
        lambda text, answer: _pair(_stated(text) == [answer], text, gated=False),
        "`short` pays for an incorrect text too, and most of all for none. Multiply it by"
        " `correct`.",
    ),
    "the equation is in it": (
        lambda text, answer: _pair(answer in _stated(text), text),
        "you ask whether the equation stands somewhere in the text. Then a list of all equations"
        " is paid as well: compare all that are stated with `[answer]`.",
    ),
    "part of a number": (
        lambda text, answer: _pair(len(_stated(text)) == 1 and answer in text, text),
        "`21 + 9 = 30` also stands in `21 + 9 = 301`. Compare whole equations, not pieces of text.",
    ),
    "the first equation": (
        lambda text, answer: _pair(_stated(text)[:1] == [answer], text),
        "you look at the first equation only. The text must state one, so compare the whole list.",
    ),
    "the last equation": (
        lambda text, answer: _pair(_stated(text)[-1:] == [answer], text),
        "you look at the last equation only. The text must state one, so compare the whole list.",
    ),
    "each equation once": (
        lambda text, answer: _pair(set(_stated(text)) == {answer}, text),
        "you accept the equation twice. It has to be stated once: compare lists, not sets.",
    ),
    "nothing else": (
        lambda text, answer: _pair(text.strip(" .") == answer, text),
        "you accept the bare equation only. Words may stand around it: `short` sees to them.",
    ),
    "the result alone": (
        lambda text, answer: _pair(
            [x.split()[-1] for x in _stated(text)] == [answer.split()[-1]], text
        ),
        "you compare results. Another equation can have the same one: compare the whole equation.",
    ),
    "characters": (
        lambda text, answer: ((c := float(_stated(text) == [answer])), c * 5 / max(5, len(text))),
        "you count characters. `len(text.split())` counts words.",
    ),
    "a truth value": (
        lambda text, answer: ((c := _stated(text) == [answer]), _pair(c, text)[1]),
        "`correct` is True or False here. `float(...)` makes 1.0 or 0.0 of it.",
    ),
    "one number": (
        lambda text, answer: sum(_pair(_stated(text) == [answer], text)),
        "you return one number. Return both parts, `correct` and `short`, not their sum.",
    ),
    "words over five": (
        lambda text, answer: ((c := float(_stated(text) == [answer])), c * len(text.split()) / 5),
        "your `short` grows with the words. It is 5 over their number.",
    ),
}

EXERCISES = [
    Exercise(
        name="equation_score",
        lesson="13",
        minutes=8,
        difficulty=2,
        reference=equation_score,
        cases=score_cases,
        mistakes=named(SCORE_MISTAKES),
        hints=[
            "What does the empty text earn? It must earn nothing.",
            "`re.findall` gives a list of all equations. When is the text correct?",
            "`correct = float(stated == [answer])`, and `short` is multiplied by it.",
        ],
        returns=("correct", "short"),
    )
]
