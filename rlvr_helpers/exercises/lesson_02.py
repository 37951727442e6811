r"""Exercises of lesson 02: rewards. Most mistakes are what learners write at first, word for word."""

import re
from decimal import Decimal, InvalidOperation

from rlvr_helpers.exercises.core import Case, Exercise, Mistake
from rlvr_helpers.recorded import four_rollouts
from rlvr_helpers.rewards import (
    FORMAT,
    TAG,
    _is_dress,
    _word_value,
    answers_match,
    extract_answer,
    format_reward,
    parse_number,
)

THOUGHT = "<reasoning> 48 + 24 = 72. </reasoning>"
ONE = "<answer> 72 </answer>"

# --- extract_answer -----------------------------------------------------------------------------------------------


def extraction_cases() -> list[Case]:
    texts = {
        "one closed tag, over three lines": f"{THOUGHT} <answer>\n72 clips\n</answer>",
        "no tag": "So it is 72.",
        "a tag that is never closed": f"{THOUGHT} <answer> 72",
        "an empty tag": "<answer> </answer>",
        "two tags, 72 and 73": f"{ONE} or <answer> 73 </answer>",
        "two tags, 72 and 72": f"{ONE} and {ONE}",
        "two tags, 72 and $72.00": f"{ONE} <answer> $72.00 </answer>",
        "two tags, cat and dog": "<answer> cat </answer> <answer> dog </answer>",
        "a second tag that never closes": f"{ONE} <answer> 73",
        "an opening tag in an open tag": f"I put it in <answer> tags: {ONE}",
        "the recorded answer, wrong and long": four_rollouts().texts[3],
    }
    return [Case(label, (text,)) for label, text in texts.items()]


def closed_blocks(text: str) -> list[str]:
    return [block.strip() for block in re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)]


def agreeing_block(text: str, read) -> str | None:
    """extract_answer with another way to compare blocks."""
    if any("</answer>" not in piece for piece in text.split("<answer>")[1:-1]):
        return None
    blocks = closed_blocks(text)
    return blocks[0] if len({read(block) for block in blocks}) == 1 else None


def greedy(text):
    found = re.search(r"<answer>(.*)</answer>", text, re.DOTALL)
    return found.group(1).strip() if found else None


def one_line(text):
    found = re.search(r"<answer>(.*?)</answer>", text)
    return found.group(1).strip() if found else None


def unclosed(text):
    return text.split("<answer>")[1].split("</answer>")[0].strip() if "<answer>" in text else None


def not_stripped(text):
    answer = extract_answer(text)
    blocks = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    return next((block for block in blocks if block.strip() == answer), None)


def nested(text):
    blocks = closed_blocks(text)
    return blocks[0] if len({parse_number(block) or block for block in blocks}) == 1 else None


EXTRACTION_MISTAKES = [
    Mistake(
        "greedy across two blocks",
        greedy,
        "your `.*` is greedy: it reads from the first opening tag to the last closing one, over everything between. "
        "`.*?` stops at the nearest; then compare all blocks that you find.",
    ),
    Mistake(
        "first block",
        lambda text: next(iter(closed_blocks(text)), None),
        "you take the first block. A text with two different answers has none, or guessing twice would pay: "
        "look at all blocks, and return None unless they agree.",
    ),
    Mistake(
        "last block",
        lambda text: next(iter(closed_blocks(text)[-1:]), None),
        "you take the last block. A text with two different answers has none: return None unless all blocks agree.",
    ),
    Mistake(
        "unclosed tag accepted",
        unclosed,
        "you accept a tag that is never closed: splitting at `</answer>` gives the whole rest where there is none. "
        "Ask whether `</answer>` is in the piece, and compare all blocks, not only the first.",
    ),
    Mistake(
        "one line only",
        one_line,
        "your `.` stops at the end of a line, so an answer on a line of its own is lost: pass re.DOTALL. "
        "And compare all blocks, not only the first.",
    ),
    Mistake(
        "not stripped",
        not_stripped,
        "you return the block with the white space around it: .strip() it.",
    ),
    Mistake(
        "blocks compared as texts",
        lambda text: agreeing_block(text, lambda block: block),
        "you compare the blocks as texts, and 72 and $72.00 are one number. Compare what parse_number reads in them, "
        "and the text itself where it reads None.",
    ),
    Mistake(
        "two unreadable blocks agree",
        lambda text: agreeing_block(text, parse_number),
        "parse_number gives None for `cat` and for `dog`, and you take that for the same answer. Compare the texts where "
        "it reads no number: `parse_number(block) or block`.",
    ),
    Mistake(
        "an opening tag inside a block",
        nested,
        "a block of yours holds another `<answer>`. Where a tag opens before the last one closed, nobody can say which "
        "was meant: return None.",
    ),
    Mistake(
        "an empty tag is None",
        lambda text: extract_answer(text) or None,
        'you return None for an empty tag. It is there and holds the empty text "": `if answer` takes both for false, '
        "`if answer is None` does not.",
    ),
]

# --- answers_match ------------------------------------------------------------------------------------------------


def match_cases() -> list[Case]:
    pairs = {
        "the same": ("72", "72"),
        "another number": ("73", "72"),
        "idle zeros": ("072.0", "72"),
        "currency, comma, decimals": ("$1,080.00", "1080"),
        "a comma in the gold answer": ("1080", "1,080"),
        "a percent sign": ("72%", "72"),
        "a unit in words": ("72 clips per day", "72"),
        "a minus": ("-72", "72"),
        "two numbers, the first is right": ("72 or 73", "72"),
        "two numbers, the last is right": ("not 72 but 73", "73"),
        "1072 contains 72": ("1072", "72"),
        "a point is a decimal point": ("1.080", "1080"),
        "a comma that groups no thousands": ("1,08", "108"),
        "nearly": ("72.0000000001", "72"),
        "17 digits": ("9007199254740993", "9007199254740992"),
        "a sum": ("70 + 2", "72"),
        "an exponent": ("1e3", "1000"),
        "Arabic digits": ("٧٢", "72"),
        "words on both sides": ("cat", "cat"),
        "nothing": ("", "72"),
        "no answer": (None, "72"),
    }
    return [Case(label, pair) for label, pair in pairs.items()]


PLAIN = r"(?a)([+-]?)\$?(\d+|\d{1,3}(?:,\d{3})+)(\.\d+)?(?:%|(?: [a-z]+)*)"


def value(text: str | None, pattern: str = PLAIN) -> Decimal | None:
    """The number of a text by the rules of the exercise, with a pattern that can be exchanged, to make the mistakes."""
    found = re.fullmatch(pattern, text or "")
    return Decimal("".join(part or "" for part in found.groups()).replace(",", "")) if found else None


def match_by(pattern: str):
    def match(predicted, gold):
        return value(predicted, pattern) is not None and value(predicted, pattern) == value(gold, pattern)

    return match


def bare(text: str | None) -> str:
    return re.sub(r"[$,%]", "", text or "")


def as_float(predicted, gold, tolerance=0.0):
    try:
        return abs(float(bare(predicted)) - float(bare(gold))) <= tolerance
    except ValueError:
        return False


def picked_number(place):
    def match(predicted, gold):
        found = re.findall(r"-?[\d,]*\.?\d+", predicted or "")
        return bool(found) and as_float(found[place], gold)

    return match


def evaluated(predicted, gold):
    try:
        return eval(bare(predicted)) == eval(bare(gold))  # on our own cases only
    except (SyntaxError, NameError):
        return False


def comma_as_point(predicted, gold):
    try:
        one, other = (Decimal((text or "").replace("$", "").replace(",", ".").strip("%")) for text in (predicted, gold))
    except InvalidOperation:
        return False
    return one == other


def digits(text: str | None) -> str:
    return "".join(filter(str.isdigit, text or ""))


def unreadable_matches(predicted, gold):
    return parse_number(predicted or "") == parse_number(gold)


MATCH_MISTAKES = [
    Mistake(
        "texts compared",
        lambda predicted, gold: predicted == gold,
        "you compare texts. `$1,080.00` and `1080` are one number: read the number first, then compare.",
    ),
    Mistake(
        "floats compared",
        as_float,
        "you compare floats. They keep about 16 digits, so 9007199254740993 equals its neighbour, and float() reads more "
        "than plain numbers (1e3, Arabic digits). Use Decimal on text that a pattern has accepted.",
    ),
    Mistake(
        "float tolerance",
        lambda predicted, gold: as_float(predicted, gold, 1e-6),
        "you allow a tolerance, and a near miss is paid. Answers are exact: compare Decimals with ==.",
    ),
    Mistake(
        "substring",
        lambda predicted, gold: predicted is not None and gold in predicted,
        "you look for the gold text inside the answer: `1072` contains `72`, and `72 or 73` contains both. The whole "
        "answer must be the number.",
    ),
    Mistake(
        "first number",
        picked_number(0),
        "you take the first number of the text, so `72 or 73` passes for 72. Exactly one number may stand in it: match "
        "the whole text (re.fullmatch), not its beginning.",
    ),
    Mistake(
        "last number",
        picked_number(-1),
        "you take the last number of the text, so `not 72 but 73` passes for 73. Exactly one number may stand in it: "
        "match the whole text (re.fullmatch).",
    ),
    Mistake(
        "all commas dropped",
        match_by(PLAIN.replace(r"\d{1,3}(?:,\d{3})+", r"[\d,]+")),
        "you drop every comma, so `1,08` becomes 108. A comma counts only where it groups thousands: one to three "
        "digits, then groups of exactly three.",
    ),
    Mistake(
        "comma as decimal point",
        comma_as_point,
        "you read a comma as a decimal point, so 1,080 becomes 1.08. Here commas group thousands and are dropped.",
    ),
    Mistake(
        "eval",
        evaluated,
        "you let Python evaluate the answer: `70 + 2` becomes 72, and a model's text could run anything on your machine. "
        "Read the number with a pattern, never with eval.",
    ),
    Mistake(
        "digits only",
        lambda predicted, gold: bool(digits(predicted)) and digits(predicted) == digits(gold),
        "you keep only the digits, which drops points and signs: `1.080` becomes 1080, `-72` becomes 72.",
    ),
    Mistake(
        "sign dropped",
        lambda predicted, gold: answers_match((predicted or "").lstrip("-"), gold),
        "you drop the minus: -72 is not 72.",
    ),
    Mistake(
        "other scripts' digits",
        match_by(PLAIN.removeprefix("(?a)")),
        r"your \d matches the digits of every script. Write [0-9], or put (?a) in front of the pattern.",
    ),
    Mistake(
        "two unreadable texts match",
        unreadable_matches,
        "both texts hold no number, and you take None == None for a match. What cannot be read matches nothing.",
    ),
]

# --- format_reward ------------------------------------------------------------------------------------------------


def format_cases() -> list[Case]:
    texts = {
        "as asked": f"{THOUGHT} {ONE}",
        "on several lines": f"\n<reasoning>\n48 + 24\n= 72.\n</reasoning>\n{ONE}\n",
        "no tags": "72",
        "no reasoning": ONE,
        "answer first": f"{ONE} {THOUGHT}",
        "blank reasoning": f"<reasoning> </reasoning> {ONE}",
        "blank answer": f"{THOUGHT} <answer> </answer>",
        "text before": f"Sure. {THOUGHT} {ONE}",
        "text between": f"{THOUGHT} so {ONE}",
        "text after": f"{THOUGHT} {ONE} Done.",
        "two answers": f"{THOUGHT} {ONE} {ONE}",
        "a tag that is never closed": f"{THOUGHT} <answer> 72",
        "answer inside the reasoning": f"<reasoning> 48 + 24 {ONE} </reasoning>",
    }
    return [Case(label, (text,)) for label, text in texts.items()]


def matched(pattern: str, flags=0, how=re.fullmatch):
    return lambda text: float(bool(how(pattern, text, flags)))


TWO_BLOCKS = r"<reasoning>.+?</reasoning>\s*<answer>.+?</answer>"


def blank_accepted(text):
    if TAG.findall(text) != FORMAT:
        return 0.0
    pieces = TAG.split(text)
    return float(not any(piece.strip() for piece in (pieces[0], pieces[2], pieces[4])))


def text_around_accepted(text):
    if TAG.findall(text) != FORMAT:
        return 0.0
    pieces = TAG.split(text)
    return float(bool(pieces[1].strip() and pieces[3].strip()))


FORMAT_MISTAKES = [
    Mistake(
        "only looks for the tags",
        lambda text: float(all(tag in text for tag in FORMAT)),
        "you ask only whether the four tags are somewhere in the text. They must come once each and in order, with "
        "something inside and nothing around.",
    ),
    Mistake(
        "each tag once, in any order",
        lambda text: float(all(text.count(tag) == 1 for tag in FORMAT)),
        "you count the tags and not their order: an answer before its reasoning passes, and text around the blocks.",
    ),
    Mistake(
        "order only",
        lambda text: float(TAG.findall(text) == FORMAT),
        "the tags are right, and you do not look at what stands in and around them: neither block may be blank, and "
        "outside them only white space is allowed.",
    ),
    Mistake(
        "blank accepted",
        blank_accepted,
        "a block with nothing but white space passes. Ask for something in each.",
    ),
    Mistake(
        "text around accepted",
        text_around_accepted,
        "text before, between or after the blocks passes. Only white space is allowed there.",
    ),
    Mistake(
        "search instead of fullmatch",
        matched(TWO_BLOCKS, re.DOTALL, re.search),
        "your pattern may match a part of the text. re.fullmatch asks for all of it; and `.` also matches the signs of "
        "a tag, so check that each tag comes once.",
    ),
    Mistake(
        "dots run over the tags",
        matched(rf"\s*{TWO_BLOCKS}\s*", re.DOTALL),
        "your `.+?` runs over tags and blanks: a second answer block, or a block of white space, passes. Check that the "
        "four tags come once each, and that what is inside is not blank.",
    ),
    Mistake(
        "one line only",
        matched(rf"\s*{TWO_BLOCKS}\s*"),
        "your `.` stops at the end of a line, so reasoning on several lines fails: pass re.DOTALL. And it runs over "
        "tags, so a second answer block passes.",
    ),
    Mistake(
        "True or False",
        lambda text: format_reward(text) == 1.0,
        "a reward is a number: return float(...), 1.0 or 0.0, not True or False.",
    ),
]

EXERCISES = [
    Exercise(
        name="extract_answer",
        lesson="02",
        minutes=8,
        difficulty=2,
        reference=extract_answer,
        cases=extraction_cases,
        mistakes=EXTRACTION_MISTAKES,
        hints=[
            'What does `text.split("<answer>")` give? Everything before the first tag, then one piece for each opening tag.',
            "A piece with `</answer>` in it starts with a closed block. If a piece that is not the last has none, a tag "
            "opened inside an open block: no answer.",
            "Collect `piece.partition('</answer>')[0].strip()` of the closed pieces. "
            "`{parse_number(block) or block for block in blocks}` has one element where all agree.",
        ],
    ),
    Exercise(
        name="answers_match",
        lesson="02",
        minutes=12,
        difficulty=3,
        reference=answers_match,
        cases=match_cases,
        mistakes=MATCH_MISTAKES,
        hints=[
            "Write a helper that reads the one number of a text, or gives None. Then compare the two values.",
            r"re.fullmatch with `[+-]?`, an optional `\$`, digits (plain: `[0-9]+`, or grouped: `[0-9]{1,3}(,[0-9]{3})+`), "
            r"optional decimals `(\.[0-9]+)?`, and last either `%` or words `( [a-z]+)*`.",
            "Decimal(text without `$`, commas, `%` and words) keeps every digit, and 072.0 == 72. Return False where "
            "either helper gave None.",
        ],
        helpers=(_is_dress, _word_value, parse_number),
    ),
    Exercise(
        name="format_reward",
        lesson="02",
        minutes=6,
        difficulty=2,
        reference=format_reward,
        cases=format_cases,
        mistakes=FORMAT_MISTAKES,
        hints=[
            "First the tags alone: which list of tags, in which order, must the text hold?",
            r"`re.findall(r'</?(?:reasoning|answer)>', text)` gives the tags in order. re.split with the same pattern gives "
            "the five pieces between and around them.",
            "Pieces 1 and 3 must hold more than white space, pieces 0, 2 and 4 nothing but it.",
        ],
    ),
]
