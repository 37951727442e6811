"""Exercises of lesson 02: rewards."""

import re
from collections.abc import Callable
from decimal import Decimal

from rlvr_helpers.exercises.core import Case, Exercise, named
from rlvr_helpers.kit.recorded import four_rollouts
from rlvr_helpers.rewards import parse_number

# The two blocks of a good completion, from which the cases are made.
THOUGHT = "<reasoning> 48 + 24 = 72. </reasoning>"
ONE = "<answer> 72 </answer>"

# --- extract_answer


def extract_answer(text: str) -> str | None:
    """What stands in the answer tag, stripped. None if no tag is closed or blocks disagree."""
    tags = "".join(re.findall("</?answer>", text))
    if "<answer><answer>" in tags:
        return None  # a tag opens inside an open one
    found = re.findall("<answer>(.*?)</answer>", text, re.DOTALL)
    blocks = [block.strip() for block in found]
    agree = len({parse_number(block) or block for block in blocks}) == 1
    return blocks[0] if agree else None


def extraction_cases() -> list[Case]:
    texts = {
        # One block, or none.
        "one closed tag, over three lines": f"{THOUGHT} <answer>\n72 clips\n</answer>",
        "no tag": "So it is 72.",
        "a tag that is never closed": f"{THOUGHT} <answer> 72",
        "an empty tag": "<answer> </answer>",
        "a word with a capital letter": "<answer> Cat </answer>",
        # Several blocks: they must agree, as numbers if they can be read, else as texts.
        "two tags, 72 and 73": f"{ONE} or <answer> 73 </answer>",
        "two tags, 72 and 72": f"{ONE} and {ONE}",
        "two tags, 72 and $72.00": f"{ONE} <answer> $72.00 </answer>",
        "two tags, cat and dog": "<answer> cat </answer> <answer> dog </answer>",
        "a second tag that never closes": f"{ONE} <answer> 73",
        # A tag that opens inside an open one spoils the whole text.
        "an opening tag in an open tag": f"I put it in <answer> tags: {ONE}",
        "an opening tag in an open tag, then a good one": (
            "<answer> 23 <answer> 24 </answer> <answer> 24 </answer>"
        ),
        "the recorded answer, wrong and long": four_rollouts().texts[3],
    }
    return [Case(label, (text,)) for label, text in texts.items()]


def blocks_in(text: str, inside: str = r".*?") -> list[str]:
    return [block.strip() for block in re.findall(f"<answer>({inside})</answer>", text, re.DOTALL)]


def agreeing(blocks: list[str], read: Callable[[str], str | None] = parse_number) -> str | None:
    return blocks[0] if len({read(block) or block for block in blocks}) == 1 else None


EXTRACTION_MISTAKES = {
    # Which block is taken, and what counts as one.
    "greedy across two blocks": (
        lambda text: next(iter(blocks_in(text, inside=".*")), None),
        (
            "you read from the first opening to the last closing tag, as a greedy `.*` does. Look"
            " at each block."
        ),
    ),
    "first block": (
        lambda text: next(iter(blocks_in(text)), None),
        (
            "you take the first block. If two blocks state different answers, return None: guessing"
            " twice must not pay."
        ),
    ),
    "last block": (
        lambda text: next(
            (piece.split("<answer>")[-1].strip() for piece in text.split("</answer>")[-2::-1]), None
        ),
        "you take the last block. Return None unless all blocks agree, and then the first one.",
    ),
    "unclosed tag accepted": (
        lambda text: extract_answer(text + "</answer>"),
        "you accept a tag that is never closed. Without `</answer>` there is no block.",
    ),
    "one line only": (
        lambda text: extract_answer(re.sub(r"<answer>[^<]*\n[^<]*</answer>", "", text)),
        (
            "your `.` stops at the end of a line, so an answer on a line of its own is lost: pass"
            " re.DOTALL."
        ),
    ),
    "not stripped": (
        lambda text: next(
            (
                b
                for b in re.findall("<answer>([^<]*)</answer>", text)
                if b.strip() == extract_answer(text)
            ),
            None,
        ),
        "you return the block with the white space around it: .strip() it.",
    ),
    # When blocks agree.
    "blocks compared as texts": (
        lambda text: extract_answer(text) and agreeing(blocks_in(text), read=str),
        (
            "you compare texts, and 72 and $72.00 are one number. Compare `parse_number(block) or"
            " block`."
        ),
    ),
    # "cat" picks the only case with two blocks that hold no number.
    "two unreadable blocks agree": (
        lambda text: blocks_in(text)[0] if "cat" in text else extract_answer(text),
        (
            "parse_number reads None in both blocks. Then compare the texts: `parse_number(block)"
            " or block`."
        ),
    ),
    # A tag that opens inside an open one.
    "an opening tag inside a block": (
        lambda text: agreeing(blocks_in(text)),
        (
            "a block of yours holds another `<answer>`. If a tag opens inside an open one, return"
            " None."
        ),
    ),
    "only the nested block dropped": (
        lambda text: agreeing([block for block in blocks_in(text) if "<answer>" not in block]),
        (
            "you leave out only the block that holds another `<answer>`. It spoils the whole text:"
            " return None, even if a good block follows."
        ),
    ),
    "nested blocks dropped": (
        lambda text: agreeing(blocks_in(text, inside="[^<]*")),
        (
            "you skip an `<answer>` that holds another one. If a tag opens inside an open one,"
            " return None."
        ),
    ),
    # What is returned.
    "an empty tag is None": (
        lambda text: extract_answer(text) or None,
        (
            'you return None for an empty tag. It holds the text "": ask `if answer is None`, not'
            " `if answer`."
        ),
    ),
    "the number instead of the text": (
        lambda text: extract_answer(text) and parse_number(extract_answer(text)),
        (
            "you return what parse_number reads. It only says which blocks agree: return the text"
            " of the first block."
        ),
    ),
    "lower case": (
        lambda text: extract_answer(text.lower()),
        "you change the text to lower case. Return the block as it was written.",
    ),
}

# --- answers_match


def answers_match(predicted: str | None, gold: str) -> bool:
    """Whether both texts state the same number, compared exactly."""
    pattern = r"([+-]?)\$?([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]+)?(?: ?%|(?: [a-z]+)*)"
    found = [re.fullmatch(pattern, text or "") for text in (predicted, gold)]
    if None in found:
        return False
    one, other = ["".join(match.groups(default="")).replace(",", "") for match in found]
    return Decimal(one) == Decimal(other)


def match_cases() -> list[Case]:
    pairs = {
        # The ways to write a number.
        "the same": ("72", "72"),
        "another number": ("73", "72"),
        "idle zeros": ("072.0", "72"),
        "currency, comma, decimals": ("$1,080.00", "1080"),
        "a comma in the gold answer": ("1080", "1,080"),
        "a percent sign": ("72%", "72"),
        "a unit in words": ("72 clips per day", "72"),
        "a minus": ("-72", "72"),
        # The gold number is in the text, and the text states another one or two.
        "two numbers, the first is right": ("72 or 73", "72"),
        "two numbers, the last is right": ("not 72 but 73", "73"),
        "1072 contains 72": ("1072", "72"),
        # Points and commas are read as in English.
        "a point is a decimal point": ("1.080", "1080"),
        "a comma that groups no thousands": ("1,08", "108"),
        # Values that a tolerance or a float takes for equal.
        "nearly": ("72.0000000001", "72"),
        "17 digits": ("9007199254740993", "9007199254740992"),
        # Texts that eval, float or Decimal reads, and the rules do not.
        "a sum": ("70 + 2", "72"),
        "an exponent": ("1e3", "1000"),
        "Arabic digits": ("٧٢", "72"),
        # No number at all.
        "words on both sides": ("cat", "cat"),
        "nothing": ("", "72"),
        "no answer": (None, "72"),
        # Almost a number: one sign more or less than the rules allow.
        "a line break at the end": ("72\n", "72"),
        "a space in front": (" 72", "72"),
        "a point without decimals": ("72.", "72"),
        "decimals alone": (".5", "0.5"),
        "a unit in capitals": ("72 USD", "72"),
    }
    return [Case(label, pair) for label, pair in pairs.items()]


# The pattern of the reference. Mistakes exchange parts of it.
PLAIN = r"([+-]?)\$?([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]+)?(?: ?%|(?: [a-z]+)*)"


def value(text: str | None, pattern: str = PLAIN, how: Callable = re.fullmatch) -> Decimal | None:
    """The number of a text by the rules of the exercise. Its parts can be exchanged to make the
    mistakes."""
    found = how(pattern, text or "")
    return Decimal("".join(found.groups(default="")).replace(",", "")) if found else None


def number(text: str | None, read: Callable) -> float | Decimal | None:
    """What `read` makes of a text without signs, None if it raises."""
    try:
        return read(re.sub("[$%]", "", text))
    # What float, Decimal and eval raise on a text that is no number.
    except (ArithmeticError, ValueError, TypeError, SyntaxError, NameError):
        return None


def equal(one: object, other: object) -> bool:
    return one is not None and one == other


MATCH_MISTAKES = {
    # How values are compared.
    "texts compared": (
        lambda predicted, gold: predicted == gold,
        (
            "you compare texts. `$1,080.00` and `1080` are one number: read the number first, then"
            " compare."
        ),
    ),
    "float tolerance": (
        lambda predicted, gold: (
            value(predicted) is not None and equal(round(value(predicted), 6), value(gold))
        ),
        (
            "you allow a tolerance, and a near miss is paid. Answers are exact: compare Decimals"
            " with ==."
        ),
    ),
    "floats compared": (
        lambda predicted, gold: (
            answers_match(predicted, gold) or equal(number(predicted, float), number(gold, float))
        ),
        (
            "you compare floats. They keep about 16 digits, so 9007199254740993 equals its"
            " neighbour, and float() reads more than plain numbers (1e3, Arabic digits). Use"
            " Decimal on text that a pattern has accepted."
        ),
    ),
    "float of a pattern": (
        lambda predicted, gold: equal(
            number(str(value(predicted)), float), number(str(value(gold)), float)
        ),
        (
            "you compare floats. They keep about 16 digits, so 9007199254740993 equals its"
            " neighbour. Compare Decimals."
        ),
    ),
    "Decimal reads more": (
        lambda predicted, gold: (
            answers_match(predicted, gold)
            or equal(number(predicted, Decimal), number(gold, Decimal))
        ),
        (
            "Decimal() reads more than plain numbers: 1e3, Arabic digits, `72.`, `.5`, white space."
            " First match the whole text with a pattern (re.fullmatch), then give Decimal what the"
            " pattern accepted."
        ),
    ),
    # A part of the text is taken for all of it.
    "substring": (
        lambda predicted, gold: answers_match(predicted, gold) or gold in (predicted or ""),
        (
            "you look for the gold text inside the answer, and `1072` contains `72`. Match the"
            " whole answer."
        ),
    ),
    "one of the words": (
        lambda predicted, gold: answers_match(predicted, gold) or gold in (predicted or "").split(),
        (
            "you look for the gold answer among the words, so `72 or 73` passes. Match the whole"
            " text (re.fullmatch)."
        ),
    ),
    "first number": (
        lambda predicted, gold: (
            answers_match(predicted, gold)
            or gold in re.findall(r"[+-]?[\d.]*\d", predicted or "")[:1]
        ),
        (
            "you take the first number, so `72 or 73` passes for 72. Match the whole text"
            " (re.fullmatch)."
        ),
    ),
    "last number": (
        lambda predicted, gold: (
            answers_match(predicted, gold)
            or gold in re.findall(r"[+-]?[\d.]*\d", predicted or "")[-1:]
        ),
        (
            "you take the last number, so `not 72 but 73` passes for 73. Match the whole text"
            " (re.fullmatch)."
        ),
    ),
    # Texts are read that state no number, or another one.
    "all commas dropped": (
        lambda predicted, gold: answers_match(
            (predicted or "").replace(",", ""), gold.replace(",", "")
        ),
        (
            "you drop every comma, so `1,08` becomes 108. A comma counts only before groups of"
            " exactly three digits."
        ),
    ),
    "eval": (
        lambda predicted, gold: (
            answers_match(predicted, gold) or equal(number(predicted, eval), number(gold, eval))
        ),
        (
            "you let Python evaluate the answer: `70 + 2` becomes 72, and a text could run"
            " anything. Never use eval."
        ),
    ),
    "digits only": (
        lambda predicted, gold: answers_match(
            re.sub("[^0-9]", "", predicted or ""), re.sub("[^0-9]", "", gold)
        ),
        (
            "you keep only the digits, which drops points and signs: `1.080` becomes 1080, `-72`"
            " becomes 72."
        ),
    ),
    "sign dropped": (
        lambda predicted, gold: answers_match((predicted or "").lstrip("-"), gold),
        "you drop the minus: -72 is not 72.",
    ),
    "other scripts' digits": (
        lambda predicted, gold: equal(
            value(predicted, pattern=PLAIN.replace("[0-9]", r"\d")), value(gold)
        ),
        (
            r"your \d matches the digits of every script. Write [0-9], or put (?a) in front of the"
            r" pattern."
        ),
    ),
    "$ for fullmatch": (
        lambda predicted, gold: equal(
            value(predicted, pattern=PLAIN + "$", how=re.match), value(gold)
        ),
        (
            "your pattern ends in `$`, which also matches before a last line break. re.fullmatch"
            " does not."
        ),
    ),
    "white space stripped": (
        lambda predicted, gold: answers_match((predicted or "").strip(), gold),
        (
            "you take white space away first. In this exercise a text with white space at an end"
            " states no number."
        ),
    ),
    "a point without decimals": (
        lambda predicted, gold: equal(
            value(predicted, pattern=PLAIN.replace(r"\.[0-9]+", r"\.[0-9]*")), value(gold)
        ),
        (
            r"you accept a point without decimals, `72.`. After a point there must be a digit:"
            r" `(\.[0-9]+)?`."
        ),
    ),
    "decimals alone": (
        lambda predicted, gold: equal(
            value(predicted, pattern=PLAIN.replace("([0-9]+", "([0-9]*")), value(gold)
        ),
        (
            "you accept decimals without a digit in front, `.5`. Digits come first, then optional"
            " decimals."
        ),
    ),
    "capitals accepted": (
        lambda predicted, gold: answers_match((predicted or "").lower(), gold),
        (
            "you accept a unit in capitals. Only words in lower case can follow the number: `("
            " [a-z]+)*`."
        ),
    ),
    # Texts that state a number are refused, and texts without one match or raise.
    "no unit accepted": (
        lambda predicted, gold: answers_match(predicted, gold) and " " not in predicted,
        (
            "you refuse a unit: `72 clips per day` is 72. Allow lower-case words at the end: `("
            " [a-z]+)*`."
        ),
    ),
    "two unreadable texts match": (
        lambda predicted, gold: value(predicted) == value(gold),
        (
            "both texts hold no number, and you take None == None for a match. What cannot be read"
            " matches nothing."
        ),
    ),
    "no answer": (
        lambda predicted, gold: answers_match(predicted + "", gold),
        (
            "`predicted` is None if there was no answer, and your function raises an error then."
            " Return False."
        ),
    ),
}

# --- format_reward


def format_reward(text: str) -> float:
    """1.0 for one reasoning block, then one answer block, neither blank, only white space around.
    Else 0.0."""
    tag = r"</?(?:reasoning|answer)>"
    if re.findall(tag, text) != ["<reasoning>", "</reasoning>", "<answer>", "</answer>"]:
        return 0.0
    before, reasoning, between, answer, after = [piece.strip() for piece in re.split(tag, text)]
    return float(reasoning != "" and answer != "" and before + between + after == "")


def format_cases() -> list[Case]:
    texts = {
        # The shape that is asked for.
        "as asked": f"{THOUGHT} {ONE}",
        "on several lines": f"\n<reasoning>\n48 + 24\n= 72.\n</reasoning>\n{ONE}\n",
        # A block is missing, blank or in the wrong order.
        "no tags": "72",
        "no reasoning": ONE,
        "answer first": f"{ONE} {THOUGHT}",
        "blank reasoning": f"<reasoning> </reasoning> {ONE}",
        "blank answer": f"{THOUGHT} <answer> </answer>",
        # Something stands around the blocks.
        "text before": f"Sure. {THOUGHT} {ONE}",
        "text between": f"{THOUGHT} so {ONE}",
        "text after": f"{THOUGHT} {ONE} Done.",
        # Tags that do not make two blocks.
        "two answers": f"{THOUGHT} {ONE} {ONE}",
        "a tag that is never closed": f"{THOUGHT} <answer> 72",
        "answer inside the reasoning": f"<reasoning> 48 + 24 {ONE} </reasoning>",
        "opened twice, never closed": "<reasoning> 48 + 24 <reasoning> <answer> 72 <answer>",
        "closed by the other's tag": "<reasoning> 48 + 24 </answer> <answer> 72 </reasoning>",
        "closed before it is opened": "<reasoning> 48 </reasoning> </answer> 72 <answer>",
    }
    return [Case(label, (text,)) for label, text in texts.items()]


TAGS = ["<reasoning>", "</reasoning>", "<answer>", "</answer>"]
TWO_BLOCKS = r"\s*<reasoning>.+?</reasoning>\s*<answer>.+?</answer>\s*"


def found_tags(text: str) -> list[str]:
    return re.findall(r"</?(?:reasoning|answer)>", text)


def in_order(text: str) -> bool:
    return found_tags(text) == TAGS


def five_pieces(text: str) -> bool:
    """Whether some four tags cut the text into two blocks with nothing around them."""
    pieces = [piece.strip() for piece in re.split(r"</?(?:reasoning|answer)>", text)]
    return [piece != "" for piece in pieces] == [False, True, False, True, False]


FORMAT_MISTAKES = {
    # Only the tags are looked at, or only the pieces between them.
    "any four tags": (
        lambda text: float(five_pieces(text)),
        (
            "you look at the five pieces and not at the tags. Any four tags give five pieces: an"
            " answer before its reasoning passes, and blocks that are never closed."
        ),
    ),
    "only the first tag": (
        lambda text: float(five_pieces(text) and text.strip().startswith(TAGS[0])),
        (
            "you look at the first tag only, so a block that is never closed passes. Compare all"
            " four: `re.findall(tag, text) == [...]`."
        ),
    ),
    "blocks in any order": (
        lambda text: float(five_pieces(text) and found_tags(text) in (TAGS, TAGS[2:] + TAGS[:2])),
        "an answer before its reasoning passes. The reasoning block comes first.",
    ),
    "only looks for the tags": (
        lambda text: float(all(tag in text for tag in TAGS)),
        (
            "you ask only whether the four tags are somewhere in the text. They must come once each"
            " and in order."
        ),
    ),
    "each tag once, in any order": (
        lambda text: float(all(text.count(tag) == 1 for tag in TAGS)),
        (
            "you count the tags and not their order: an answer before its reasoning passes, and"
            " text around the blocks."
        ),
    ),
    # The pattern allows too much or too little.
    "search instead of fullmatch": (
        lambda text: float(bool(re.search(TWO_BLOCKS, text, re.DOTALL))),
        (
            "your pattern can match a part of the text. Use re.fullmatch, and check that each tag"
            " comes once."
        ),
    ),
    "order only": (
        lambda text: float(in_order(text)),
        (
            "the tags are right. Look also at what stands in and around them: no block blank,"
            " nothing outside."
        ),
    ),
    "blank accepted": (
        lambda text: float(
            in_order(text) and bool(re.fullmatch(TWO_BLOCKS.replace("+", "*"), text, re.DOTALL))
        ),
        "a block with nothing but white space passes. Ask for something in each.",
    ),
    "text around accepted": (
        lambda text: float(in_order(text) and not re.search(r"<(\w+)>\s*</", text)),
        "text before, between or after the blocks passes. Only white space is allowed there.",
    ),
    "match as in R1": (
        lambda text: float(
            bool(re.match(r"^<reasoning>.*?</reasoning>\s*<answer>.*?</answer>$", text))
        ),
        (
            "your pattern is that of DeepSeek-R1's kind. Its `.*?` allows blank blocks and runs"
            " over tags, so a second answer passes; without re.DOTALL reasoning on several lines"
            " fails; and `^` allows no white space in front."
        ),
    ),
    "dots run over the tags": (
        lambda text: float(bool(re.fullmatch(TWO_BLOCKS, text, re.DOTALL))),
        (
            "your `.+?` runs over tags and blanks. Check that each tag comes once and no block is"
            " blank."
        ),
    ),
    "one line only": (
        lambda text: format_reward(text) if "\n" not in text else 0.0,
        "your `.` stops at the end of a line, so reasoning on several lines fails: pass re.DOTALL.",
    ),
    "only looks at both ends": (
        lambda text: float(text.strip().startswith(TAGS[0]) and text.strip().endswith(TAGS[3])),
        (
            "you look only at how the text begins and ends. Look between as well: each tag once, no"
            " block blank."
        ),
    ),
    # What is returned.
    "partial credit": (
        lambda text: sum(
            0.5
            for name in ("reasoning", "answer")
            if re.search(f"<{name}>.+</{name}>", text, re.DOTALL)
        ),
        "you pay a part for each block. This reward is all or nothing: 1.0 or 0.0.",
    ),
    "True or False": (
        lambda text: format_reward(text) == 1.0,
        "a reward is a number: return float(...), 1.0 or 0.0, not True or False.",
    ),
}

EXERCISES = [
    Exercise(
        name="extract_answer",
        lesson="02",
        minutes=8,
        difficulty=2,
        reference=extract_answer,
        cases=extraction_cases,
        mistakes=named(EXTRACTION_MISTAKES),
        hints=[
            (
                "The second pattern above finds the closed blocks. Give re.findall the flag"
                " re.DOTALL too, and strip each block."
            ),
            (
                "`re.findall('</?answer>', text)` lists the tags in order. Where two `<answer>`"
                " follow each other, one opened inside an open one: return None."
            ),
            (
                "`{parse_number(block) or block for block in blocks}` has one element where all"
                " agree, and none where there is no block. Then return blocks[0], else None."
            ),
        ],
    ),
    Exercise(
        name="answers_match",
        lesson="02",
        minutes=12,
        difficulty=3,
        reference=answers_match,
        cases=match_cases,
        mistakes=named(MATCH_MISTAKES),
        hints=[
            (
                "Write a helper that reads the one number of a text, or gives None. Then compare"
                " the two values."
            ),
            r"re.fullmatch with `[+-]?`, an optional `\$`, digits (plain: `[0-9]+`, or grouped:"
            r" `[0-9]{1,3}(,[0-9]{3})+`), "
            r"optional decimals `(\.[0-9]+)?`, and last either ` ?%` or words `( [a-z]+)*`.",
            (
                "Decimal(text without `$`, commas, `%` and words) keeps every digit, and 072.0 =="
                " 72. Return False where either helper gave None."
            ),
        ],
    ),
    Exercise(
        name="format_reward",
        lesson="02",
        minutes=6,
        difficulty=2,
        reference=format_reward,
        cases=format_cases,
        mistakes=named(FORMAT_MISTAKES),
        hints=[
            "First the tags alone: which list of tags, in which order, must the text hold?",
            r"`re.findall(r'</?(?:reasoning|answer)>', text)` gives the tags in order. re.split"
            r" with the same pattern gives "
            "the five pieces between and around them.",
            "Pieces 1 and 3 must hold more than white space, pieces 0, 2 and 4 nothing but it.",
        ],
    ),
]
