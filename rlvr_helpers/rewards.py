r"""When is an answer right? Two rewards that a program can verify, built in lesson 02.

A completion earns them by ending in this shape:

    <reasoning> 48 / 2 = 24. 48 + 24 = 72. </reasoning> <answer> 72 </answer>

The reader is strict on purpose. A wrong answer that is paid for will be learnt, while a right one
that is refused only has to be written more plainly. So whatever could mean two things means
nothing.
"""

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rlvr_helpers.engine.answer_words import (
    AND_MORE,
    BEFORE,
    CHANGES_VALUE,
    FINAL_LINE,
    LAST,
    LETTERS,
    LINE_END,
    LINKS,
    OPENS_ANSWER,
    OPENS_QUESTION,
    PHRASES,
    SPELLED,
    UNIT,
)
from rlvr_helpers.engine.error_notes import call_own

TAG = re.compile(r"</?(?:reasoning|answer)>")
FORMAT = ["<reasoning>", "</reasoning>", "<answer>", "</answer>"]

CURRENCY = "$€£¥₹₩¢"
# These can stand on either side of a number.
AROUND = "\"'“”‘’`*_#()[]{}" + CURRENCY
# These can follow it.
AFTER = AROUND + ".,;:%°"
# These can stand inside a word ("clips/day"), not at its edge ("x< 72").
OPERATORS = "+-–—/<>|~±×÷·√≈≃≅∼≠≤≥∓¬&@"

# LaTeX that changes how a number looks, and not which number it is.
LATEX_FORMATTING = re.compile(
    r"\\(?:(?:boxed|[fmh]box|text(?:bf|it|normal|rm|sc|sf|sl|tt)?|math(?:rm|bf|it|sf|tt)|boldsymbol"
    r"|bm|bf|it|rm|emph|underline|displaystyle|left|right|q?quad|[lL]arge|small)(?![A-Za-z])"
    r"|[ ,;:!()\[\]])"
)

WORD = re.compile(r"[^\W_]+")
HYPHENATED = re.compile(r"[^\W_]+(?:-[^\W_]+)*")

# A sign, a currency, digits (plain, or in correct groups of three), decimals, a unit. (?a): only
# ASCII digits.
NUMBER = re.compile(
    rf"(?a)([+-]?)[{CURRENCY}]?(?=\.?\d)(\d*|[1-9]\d{{0,2}}(?:,\d{{3}})+)(?:\.(\d+))?({UNIT})"
)


def _require_text(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, str):
            advice = (
                "pass one text at a time, decode token ids first, write numbers as text ('72',"
                " not 72)"
            )
            raise TypeError(f"{name} must be a str, got {type(value).__name__}: {advice}")


def _holds_digit(word: str) -> bool:
    # Of any script: "5 ½" must not pass for 5.
    return any(char.isnumeric() for char in word)


def _is_plain(word: str) -> bool:
    """Whether this is a word without digits, or signs that may stand apart: not `-` or `*`, the
    operators."""
    if _holds_digit(word):
        return False
    if not any(map(str.isalpha, word)):
        return not word.strip(AFTER.replace("*", ""))
    bare = word.strip(AFTER)
    return bare[0] not in OPERATORS and bare[-1] not in OPERATORS


def _word_value(word: str) -> str | None:
    """The number one word spells, in canonical form: no commas, leading or trailing zeros or plus,
    and no minus before 0."""
    # One number, whatever stands around it.
    number = NUMBER.fullmatch(word.lstrip(AROUND).rstrip(AFTER))
    # 3.33... is not 3.33
    if number is None or ".." in word:
        return None
    sign, whole, decimals, unit = number.groups(default="")
    # $72m is 72 million
    if unit[:1].isalpha() and any(char in CURRENCY for char in word):
        return None
    whole = whole.replace(",", "").lstrip("0") or "0"
    decimals = decimals.rstrip("0")
    value = f"{whole}.{decimals}" if decimals else whole
    return "-" + value if sign == "-" and value != "0" else value


def _neighbours_change(before: list[str], after: list[str]) -> bool:
    """Whether the words next to a number make it another one: "a quarter of" 72, 72 "M", 72 "and a
    bit"."""
    before = [word.strip(AROUND + ".").lower() for word in before]
    after = [word.strip(AFTER) for word in after]
    while before and before[-1] in LINKS:
        before.pop()
    if before and before[-1] in BEFORE:
        return True
    if after and (after[0] in LETTERS or len(after) == 1 and after[0].lower() in LAST):
        return True
    return any(word == "and" and more in AND_MORE for word, more in pairwise(after))


def _without_latex(text: str) -> str:
    for latex, plain in [
        ("\N{MINUS SIGN}", "-"),
        ("{,}", ","),
        (r",\!", ","),
        (r"\$", "$"),
        (r"\%", "%"),
    ]:
        text = text.replace(latex, plain)
    return LATEX_FORMATTING.sub(" ", text)


def parse_number(text: str) -> str | None:
    r"""The one number that `text` states, as a canonical string; None if there is none or more than
    one.

    The rule in two sentences: the text states one number in digits, and any words may stand around
    it, such as a short sentence before and a noun phrase after, its unit. But a second number, and
    every word or sign that changes the value (`double`, `million`, `!`), loosens it (`about`, `or`)
    or denies it (`not`, `wrong`), makes it unreadable.

    The words are listed in `answer_words`. A currency or percent sign, LaTeX and Markdown change
    nothing. Every word with a digit must be a whole number or a decimal, alone or with a known unit
    (`72kg`, `72/day`), so an exponent, a fraction, a date, a range or `72x` makes the text
    unreadable, and no part of it is taken. Nothing is calculated. Only an equals sign or a number
    in words may repeat the number (`72 = 72.0`, `72 (seventy-two)`). A string keeps every digit.

    >>> parse_number("$1,080.00"), parse_number(r"\boxed{72} clips"), parse_number("-0.50")
    ('1080', '72', '-0.5')
    >>> [parse_number(text) for text in ["72 or 73", "70-72", "1,08", "1/2", "1e3", "²", ""]]
    [None, None, None, None, None, None, None]
    """
    _require_text(text=text)
    text = " ".join(_without_latex(text).split())
    if PHRASES.search(text) or not CHANGES_VALUE.isdisjoint(WORD.findall(text.lower())):
        return None
    values = set()
    for side in set(text.split("=")):
        words = side.split()
        positions = [position for position, word in enumerate(words) if not _is_plain(word)]
        # Equal ones too: "5 of 5" is no 5, and "100 100" may be 100100.
        if len(positions) > 1:
            return None
        for position in positions:
            changed = _neighbours_change(words[:position], words[position + 1 :])
            values.add(None if changed else _word_value(words[position]))
        if len(values) > 1:
            return None
    # The same number can be repeated in words, another cannot.
    value = values.pop() if values else None
    spelled = {SPELLED[word] for word in HYPHENATED.findall(text.lower()) if word in SPELLED}
    return value if spelled <= {value} else None


def extract_answer(text: str) -> str | None:
    """What stands in the answer tag, stripped. None without a closed tag.

    Several blocks count if all state the same number (or are the same text), and the first is
    returned. An opening tag inside an open block leaves no answer. Any other tag without its
    partner is plain text.

    >>> extract_answer("<reasoning> 48 + 24 </reasoning> <answer> 72 clips </answer>")
    '72 clips'
    >>> [extract_answer(text) for text in ["72", "<answer>72"]]
    [None, None]
    >>> extract_answer("<answer> 72 </answer> <answer> 73 </answer>")
    """
    _require_text(text=text)
    # Splitting reads the text once. A lazy `.*?` would search to the end from every unclosed tag.
    pieces = text.split("<answer>")[1:]
    if any("</answer>" not in piece for piece in pieces[:-1]):
        return None
    blocks = [piece.partition("</answer>")[0].strip() for piece in pieces if "</answer>" in piece]
    readings = {parse_number(block) or block for block in blocks}
    return blocks[0] if len(readings) == 1 else None


def answers_match(predicted: str | None, gold: str) -> bool:
    """Whether both texts state the same number, compared digit by digit, with no tolerance.

    Answers are numbers: a gold answer `parse_number` cannot read (`1/2`) matches nothing, not even
    itself.

    >>> answers_match("$1,080.00", "1080"), answers_match("1.080", "1080")
    (True, False)
    >>> answers_match(None, "72")
    False
    """
    predicted = "" if predicted is None else predicted
    _require_text(predicted=predicted, gold=gold)
    value = parse_number(predicted)
    return value is not None and value == parse_number(gold)


def correctness_reward(text: str, gold: str) -> float:
    """1.0 if the tagged answer of the completion `text` is the number `gold`, else 0.0."""
    return float(answers_match(extract_answer(text), gold))


def format_reward(text: str) -> float:
    """1.0 for one reasoning block, then one answer block, neither blank, only white space around.
    Else 0.0.

    Pass the text without the end token, as a tokenizer decodes it when it skips special tokens.
    """
    _require_text(text=text)
    if TAG.findall(text) != FORMAT:
        return 0.0
    before, reasoning, between, answer, after = map(str.strip, TAG.split(text))
    return float(bool(reasoning and answer) and not (before or between or after))


def _first_answer(text: str) -> str:
    """The part of a text that answers first: without a question before it, and without what was
    made up after it."""
    # A tag without a digit is only the request, quoted.
    blocks = []
    for block in text.split("</answer>"):
        blocks.append(block)
        if _holds_digit(block.rpartition("<answer>")[2]):
            break
    answer = []
    in_question = False
    for line in LINE_END.split("\n".join(blocks)):
        if heading := OPENS_QUESTION.match(line):
            if any(map(_holds_digit, answer)):
                break
            answer = []
            in_question = True
            line = line[heading.end() :]
        if in_question:
            # The question fills this line, or the next that is not blank, up to an answer in it.
            question, *rest = OPENS_ANSWER.split(line, maxsplit=1)
            in_question = not rest and not question.strip(AFTER)
            line = "".join(rest)
        answer.append(line)
        if FINAL_LINE.fullmatch(line):
            break
    return "\n".join(answer)


def lenient_answer(text: str) -> str | None:
    """The tagged answer if it holds a digit, else the last number of the first answer. For reports,
    not training.

    The first answer ends at `</answer>`, after GSM8K's `#### 72`, or where a line opens a new
    question or turn (`Question:`, `**Problem 2**`, `user`). A question that is repeated before the
    answer is passed over. If the last word with a digit is no number (`1/2`), there is none.

    >>> lenient_answer("48 + 24 = 72 clips.\\n### Question: Ben has 5 stamps.")
    '72'
    """
    tagged = extract_answer(text)
    if tagged is not None and _holds_digit(tagged):
        return tagged
    words = TAG.sub(" ", _first_answer(_without_latex(text))).replace("=", " ").split()
    return next((_word_value(word) for word in reversed(words) if _holds_digit(word)), None)


def lenient_correct(text: str, gold: str) -> bool:
    """Whether `lenient_answer` is the number `gold`. What `correctness_reward` pays, this accepts
    too."""
    return answers_match(lenient_answer(text), gold)


def answer_and_tags_reward(text: str, gold: str) -> float:
    """The reward of the comparison that this course grew from.

    It pays 2 if the answer tag holds the gold answer to the letter, 1.5 if it holds an equal
    number, and 0.2 for each of the four tags that occurs. So it pays for tags without an answer,
    which is why that comparison's gain was mostly format.
    """
    answer = extract_answer(text)
    exact = answer is not None and answer.strip() == gold
    correct = 2.0 if exact else 1.5 * answers_match(answer, gold)
    return correct + 0.2 * sum(tag in text for tag in FORMAT)


REWARDS = {"correctness": correctness_reward, "answer_and_tags": answer_and_tags_reward}


# --- one scorer for reward and evaluation


@dataclass(frozen=True)
class Score:
    """What a completion earns, and what is recorded of it. parts: the numbers that a scorer named,
    which are recorded apart."""

    reward: float
    correct: bool
    lenient: bool
    formatted: bool
    parts: dict[str, float] = field(default_factory=dict)


def as_scorer(
    reward: Callable[[str, str], float] | None = None, scorer: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """The one of the two that is given, as a scorer. Without either, that of `correctness_reward`.

    scorer(completion, problem) gives a number, or a dict of named numbers. Their weighted sum is
    the reward: `scorer.weights = {"tidy": 0.2}`, 1 for those that are not named. A completion is
    correct if the part named "correct" is 1. Without such a part, it is if the reward is 1.
    reward(text, gold) only pays: correct is then what the reader of numbers above says.
    Raises ValueError if both are given.
    """
    if reward is not None and scorer is not None:
        raise ValueError(
            "give a reward or a scorer, not both: a scorer is the reward and says what is correct"
        )
    if scorer is not None:
        return scorer
    # A reward pays. What is correct is read from the completion.
    paid = correctness_reward if reward is None else reward

    @functools.wraps(paid)
    def pay_and_read(completion: str, problem: Any) -> Score:
        gold = problem.answer
        return Score(
            paid(completion, gold),
            correct=correctness_reward(completion, gold) == 1.0,
            lenient=lenient_correct(completion, gold),
            formatted=format_reward(completion) == 1.0,
        )

    return pay_and_read


def score_completion(scorer: Callable[..., Any], completion: str, problem: Any) -> Score:
    """What a scorer says of a completion. problem: the whole row, a `problems.Problem`.

    Raises ValueError that shows the completion if it says no number, or no dict of named numbers.
    """
    what = f"of the scorer on the text {completion[:80]!r}"
    value = call_own(scorer, completion, problem, what=what)
    if isinstance(value, Score):
        if not _is_number(value.reward):
            raise ValueError(
                f"the reward function must return a finite number, not {value.reward!r}: it did"
                f" for the text {completion[:80]!r} and the answer {problem.answer!r}"
            )
        return value
    # One number, or some that have names.
    parts = value if isinstance(value, dict) else {"reward": value}
    if not parts or not all(isinstance(n, str) and _is_number(x) for n, x in parts.items()):
        raise ValueError(
            "the scorer must return a finite number, or a dict of named finite numbers, not"
            f" {value!r}: it did for the text {completion[:80]!r}"
        )
    # Weigh the parts that the scorer weighs.
    weights = getattr(scorer, "weights", {})
    if not isinstance(weights, dict):
        raise ValueError(f"the scorer's weights must be a dict as {{'tidy': 0.2}}, not {weights!r}")
    for name, weight in weights.items():
        if name not in parts or not _is_number(weight):
            raise ValueError(
                f"the scorer has the weight {weight!r} for {name!r}: give finite numbers for its"
                f" parts, which are {', '.join(parts)}"
            )
    parts = {name: float(part) for name, part in parts.items()}
    reward = sum(float(weights.get(name, 1.0)) * part for name, part in parts.items())
    # What the parts say.
    correct = math.isclose(parts.get("correct", reward), 1.0)
    shape = format_reward(completion) == 1.0
    return Score(reward, correct, lenient=correct, formatted=shape, parts=parts)


def _is_number(value: object) -> bool:
    try:
        return math.isfinite(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False
