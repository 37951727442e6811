r"""When is an answer right? Two rewards that a program can verify, built in lesson 02.

A completion earns them by ending in this shape:

    <reasoning> 48 / 2 = 24. 48 + 24 = 72. </reasoning> <answer> 72 </answer>

The reader is strict on purpose. A wrong answer that is paid for will be learnt, while a right one that is
refused only has to be written more plainly. So whatever could mean two things means nothing.
"""

import re

TAG = re.compile(r"</?(?:reasoning|answer)>")
FORMAT = ["<reasoning>", "</reasoning>", "<answer>", "</answer>"]

CURRENCY = "$€£¥₹₩¢"
AROUND = "\"'“”‘’`*_#()[]{}" + CURRENCY  # may stand on either side of a number
AFTER = AROUND + ".,;:%"  # may follow it

# LaTeX that changes how a number looks, and not which number it is.
LATEX_DRESS = re.compile(
    r"\\(?:(?:boxed|fbox|text|textbf|mathrm|mathbf|underline|displaystyle|left|right|quad)(?![A-Za-z])|[ ,;:!()\[\]])"
)

# With these, the digits are only a part of the number: minus 3, 2 million, x^ 3, \sqrt 9 (any command left), not 9. Words
# that may be a unit as well (times, quarters, thirds) are no part of the list, nor are numbers in words.
CHANGES_VALUE = re.compile(
    r"(?i)[\\^]|\b(?:minus|negative|not|half|twice|squared|cubed|root|k|bn|(?:dozen|hundred|thousand|[mbt]r?illion)s?)\b"
)

# A sign, a currency, digits (plain, or in correct groups of three), decimals; (?a): ASCII digits only.
NUMBER = re.compile(rf"(?a)([+-]?)[{CURRENCY}]?(?=\.?\d)(\d*|[1-9]\d{{0,2}}(?:,\d{{3}})+)(?:\.(\d+))?")

# Who or what asks. "### Problem breakdown" is the start of a solution.
ASKING = (
    r"(?:(?:next|new|another|second|follow-?up|bonus|practice|similar|math|word|user)\s+){0,2}"
    r"(?:(?:question|problem|exercise|query|prompt|instruction)s?\b|example(?=\s\d))"
    r"(?!\s+(?:is|solved|solving|solution|analysis|breakdown)\b)"
)
ASKER = r"(?:user|human|student|system|q)\s?\d{0,3}(?![\w'’])"

# A line that opens a question or the asker's turn: it holds nothing else, or a colon follows ("Question 2:", "<|user|>",
# "Q1."), or the word begins a Markdown heading or bold text ("### Question", "**Problem 2** Ben has").
OPENS_QUESTION = re.compile(
    rf"""(?ix) \s{{0,9}}(?:\#|\*\*|__)[\W_]{{0,9}}(?:{ASKING}|{ASKER})
    | [\W_]{{0,20}}(?:<\|?\w{{1,20}}\|?>[\W_]{{0,5}})?
      (?: \[?INST\]
        | {ASKING}(?: [^:]{{0,20}}: | > | [\W\d_]{{0,12}}$ | \s*\d{{0,3}}(?:\d[.)]|\s[-–—]\s) )
        | {ASKER}(?: [\W_]{{0,12}}(?::|$) | [.)]\s ) )"""
)

# On the same line as its question: "Question: How many? Answer: 72", or only "Question: How many? 72".
OPENS_ANSWER = re.compile(r"(?i)(?<!\w)(?:(?-i:A)|answer|solution|assistant|response|output)[\W_]{0,6}:|\?(?=\s*\S)")

# GSM8K's mark, with no more than a number and its unit: "#### 72 clips", but not "#### 1. Find the total".
FINAL_LINE = re.compile(r"[\W_]{0,9}#{4}\s*[^\s\w]{0,3}\d(?:[\d,.]*\d)?(?:[.:)]?[\W_]*|%?\s+[^\W\d]\D*)")


def _require_text(**values) -> None:
    for name, value in values.items():
        if not isinstance(value, str):
            advice = "pass one text at a time, decode token ids first, write numbers as text ('72', not 72)"
            raise TypeError(f"{name} must be a str, got {type(value).__name__}: {advice}")


def _holds_digit(word: str) -> bool:
    return any(char.isnumeric() for char in word)  # of any script: "5 ½" must not pass for 5


def _is_dress(word: str) -> bool:
    """Whether this is a word without digits, or signs that may stand apart: not `-` or `*`, the operators."""
    return not _holds_digit(word) and (any(map(str.isalpha, word)) or not word.strip(AFTER.replace("*", "")))


def _word_value(word: str) -> str | None:
    """The number one word spells, in canonical form: no commas, idle zeros or plus, and no minus before 0."""
    number = NUMBER.fullmatch(word.lstrip(AROUND).rstrip(AFTER))
    if number is None or ".." in word:  # 3.33... is not 3.33
        return None
    sign, whole, decimals = number.groups(default="")
    whole, decimals = whole.replace(",", "").lstrip("0") or "0", decimals.rstrip("0")
    value = f"{whole}.{decimals}" if decimals else whole
    return "-" + value if sign == "-" and value != "0" else value


def _without_latex(text: str) -> str:
    for latex, plain in [("\N{MINUS SIGN}", "-"), ("{,}", ","), (r",\!", ","), (r"\$", "$"), (r"\%", "%")]:
        text = text.replace(latex, plain)
    return LATEX_DRESS.sub(" ", text)


def parse_number(text: str) -> str | None:
    r"""The one number that `text` states, as a canonical string; None if there is none or more than one.

    Around it may stand a currency or percent sign, a unit in words, a short sentence, LaTeX or Markdown.
    Few words are understood (CHANGES_VALUE). Every word with a digit must be a whole number or a decimal, so an exponent, a
    fraction, a date, a range or `72x` makes the text unreadable, and no part of it is taken. Nothing is
    calculated. Only an equals sign may repeat the number (`72 = 72.0`). A string keeps every digit.

    >>> parse_number("$1,080.00"), parse_number(r"\boxed{72} clips"), parse_number("-0.50")
    ('1080', '72', '-0.5')
    >>> [parse_number(text) for text in ["72 or 73", "70-72", "1,08", "1/2", "1e3", "²", ""]]
    [None, None, None, None, None, None, None]
    """
    _require_text(text=text)
    text = _without_latex(text)
    if CHANGES_VALUE.search(text):
        return None
    values = set()
    for side in text.split("="):
        numbers = [_word_value(word) for word in side.split() if not _is_dress(word)]
        if len(numbers) > 1:  # equal ones too: "5 of 5" is no 5, and "100 100" may be 100100
            return None
        values.update(numbers)
    return values.pop() if len(values) == 1 else None


def extract_answer(text: str) -> str | None:
    """What stands in the answer tag, stripped; None without a closed tag.

    Several blocks count if all state the same number (or are the same text), and the first is returned.
    An opening tag inside an open block leaves no answer. Any other tag without its partner is plain text.

    >>> extract_answer("<reasoning> 48 + 24 </reasoning> <answer> 72 clips </answer>")
    '72 clips'
    >>> [extract_answer(text) for text in ["72", "<answer>72", "<answer>72</answer> <answer>73</answer>"]]
    [None, None, None]
    """
    _require_text(text=text)
    # Splitting reads the text once; a lazy `.*?` would search to the end again from every unclosed tag.
    pieces = text.split("<answer>")[1:]
    if any("</answer>" not in piece for piece in pieces[:-1]):
        return None
    blocks = [piece.partition("</answer>")[0].strip() for piece in pieces if "</answer>" in piece]
    readings = {parse_number(block) or block for block in blocks}
    return blocks[0] if len(readings) == 1 else None


def answers_match(predicted: str | None, gold: str) -> bool:
    """Whether both texts state the same number, compared digit by digit, with no tolerance.

    Answers are numbers: a gold answer `parse_number` cannot read (`1/2`) matches nothing, not even itself.

    >>> answers_match("$1,080.00", "1080"), answers_match("1.080", "1080"), answers_match(None, "72")
    (True, False, False)
    """
    predicted = "" if predicted is None else predicted
    _require_text(predicted=predicted, gold=gold)
    value = parse_number(predicted)
    return value is not None and value == parse_number(gold)


def correctness_reward(text: str, gold: str) -> float:
    """1.0 if the tagged answer of the completion `text` is the number `gold`, else 0.0."""
    return float(answers_match(extract_answer(text), gold))


def format_reward(text: str) -> float:
    """1.0 for one reasoning block, then one answer block, neither blank, only white space around; else 0.0.

    Pass the text without the end token, as a tokenizer decodes it when it skips special tokens.
    """
    _require_text(text=text)
    if TAG.findall(text) != FORMAT:
        return 0.0
    before, reasoning, between, answer, after = map(str.strip, TAG.split(text))
    return float(bool(reasoning and answer) and not (before or between or after))


def _first_answer(text: str) -> str:
    """The part of a text that answers first: without a question before it, and without what was made up after it."""
    # a tag without a digit is only the request, quoted
    blocks = []
    for block in text.split("</answer>"):
        blocks.append(block)
        if _holds_digit(block.rpartition("<answer>")[2]):
            break
    answer = []
    in_question = False
    for line in "\n".join(blocks).split("\n"):
        if heading := OPENS_QUESTION.match(line):
            if any(map(_holds_digit, answer)):
                break
            answer = []
            in_question = True
            line = line[heading.end() :]
        if in_question:
            # the question fills this line, or the next that is not blank, up to an answer on the same line
            question, *rest = OPENS_ANSWER.split(line, maxsplit=1)
            in_question = not rest and not question.strip(AFTER)
            line = "".join(rest)
        answer.append(line)
        if FINAL_LINE.fullmatch(line):
            break
    return "\n".join(answer)


def lenient_answer(text: str) -> str | None:
    """The tagged answer if it holds a digit, else the last number of the first answer. For reports, not training.

    The first answer ends at `</answer>`, after GSM8K's `#### 72`, or where a line opens a new question or turn
    (`Question:`, `**Problem 2**`, `user`). A question that is repeated before the answer is passed over.
    If the last word with a digit is no number (`1/2`), there is none.

    >>> lenient_answer("48 + 24 = 72 clips.\\n### Question: Ben has 5 stamps.")
    '72'
    """
    tagged = extract_answer(text)
    if tagged is not None and _holds_digit(tagged):
        return tagged
    words = _without_latex(TAG.sub(" ", _first_answer(text))).replace("=", " ").split()
    return next((_word_value(word) for word in reversed(words) if _holds_digit(word)), None)


def lenient_correct(text: str, gold: str) -> bool:
    """Whether `lenient_answer` is the number `gold`. What `correctness_reward` pays, this accepts too."""
    return answers_match(lenient_answer(text), gold)


def answer_and_tags_reward(text: str, gold: str) -> float:
    """The reward of the comparison that this course grew from: 2 where the answer tag holds the gold answer to the letter,
    1.5 where it holds an equal number, and 0.2 for each of the four tags that occurs. It pays for tags without an answer,
    which is why that comparison's gain was mostly format."""
    answer = extract_answer(text)
    right = 2.0 if answer is not None and answer.strip() == gold else 1.5 if answers_match(answer, gold) else 0.0
    return right + 0.2 * sum(tag in text for tag in FORMAT)


REWARDS = {"correctness": correctness_reward, "answer_and_tags": answer_and_tags_reward}
