"""Lesson 02: when is an answer right? A table of cases for each rule, and graders with named
mistakes."""

import doctest
import json
import re
import time
import unicodedata
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rlvr_helpers import rewards
from rlvr_helpers.models import FORMAT_REQUEST
from rlvr_helpers.rewards import (
    answers_match,
    correctness_reward,
    extract_answer,
    format_reward,
    lenient_answer,
    lenient_correct,
    parse_number,
)

GSM8K = Path(__file__).parents[3] / "shared" / "gsm8k"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"

# For each rule: answers that match their gold answer, and answers that do not.


def table(text):
    """`rule | gold | predicted | predicted ...` a line, as {rule: [(predicted, gold), ...]}."""
    cases = {}
    for line in text.strip().splitlines():
        rule, gold, *predicted = (cell.strip() for cell in line.split(" | "))
        cases.setdefault(rule, []).extend((answer, gold) for answer in predicted)
    return cases


RIGHT = table(r"""
plain       | 72    | 72 | 72. | +72 | 072 | 72.0 | 72.00
plain       | 0     | 0 | 00 | 0.0
currency    | 72    | $72 | $ 72 | 72 € | £72.00 | USD 72 | 72 dollars
currency    | $72   | 72 | €72
percent     | 72    | 72% | 72 % | 72 percent | 72\%
percent     | 72%   | 72% | 72
unit        | 72    | 72 clips per day | 72 km/h | 72 kg | 72 clips/day
sentence    | 72    | The answer is 72. | It is 72, I think. | She has $72 left; | Answer: 72
latex       | 72    | \boxed{72} | $72$ | $$72$$ | \(72\) | \[ 72 \] | $\boxed{72}$.
latex       | 72    | \boxed{72\%} | \textbf{72} | \boxed{x = 72}
latex       | 72    | \boxed{72\text{ clips}} | \text{72 clips} | 72\,\mathrm{cm} | $72\ \text{cm}$
latex       | 1080  | \$1,080.00 | $\$1,080.00$ | \boxed{\$1,080} | 1{,}080 | 1,\!080
markdown    | 72    | **72** | *72* | `72` | __72__ | _72_ | **72 clips**. | **72.** | #### 72 | **$72**
wrapped     | 72    | (72) | '72' | "72" | “72” | [72] | 72 (seventy-two)
commas      | 1080  | 1,080 | $1,080.00 | 1,080 clips | **1,080**
commas      | 1,080 | 1080 | 1,080 | 1080.0
commas      | 16800000 | 16,800,000 | $16,800,000
point       | 1.08  | 1.080 | 1.08 | $1.08
point       | .5    | 0.5 | 0.50 | .50
point       | 5     | 5. | 5.0
sign        | -72   | -72 | −72 | -$72 | $-72 | $-72$ | -\$72 | (-72) | \boxed{-72} | -72.0
sign        | 0     | -0 | −0 | -0.00 | +0
equals sign | 72    | x = 72 | x=72 | = $72 | 72 = 72.0 | $x=72$
exact       | 0.30000000000000001 | 0.300000000000000010 | .30000000000000001
issue | 72 | 72 clips | 72 clips per day | 72 clips/day | 72/day | 72 km/h | 72 °C | 72°C | 72kg | $72.00 | 72 %
issue | 72 | the answer is 72
issue | 72 | \textit{72} | **72**
glued units | 72 | 72m | 72cm | 72km/h | 72ml | 72h | 72min | 72% | 72° | 72°F | $72/hour | 72/week | 72kWh
glued units | 72 | 72mph | $72.00/day | 72lbs
units | 72 | 72 miles per hour | 72 square meters | 72 cubic feet | 72 third-graders | 72 two-litre bottles
units | 72 | 72 degrees Celsius
units | 72 | 72 apples and oranges | 72 men and women | 72 left over | 72 more clips | 72 fewer clips
units | 72 | 72 trips around the lake
units | 72 | 72 books about cats | 72 T-shirts | 72 quarters | 72 times | 72 percent of the class
units | 72 | 72 odd numbers | 72 grand pianos
units | 72 | 72 years old | 72 cents | 72 m | 72 t | 72 a day | 72 clips a day | 72 kg/m
units | 72 | 72 people who live here | 72 U.S. dollars
units | 72 | 72 over there, on the table | 72 dollars in total | 72 percentage points | 72 per cent | 72 weeks
sentences | 72 | She has $72 left; | It is 72, I think. | So x is 72.
sentences | 72 | Natalia sold 72 clips altogether in April and May.
sentences | 72 | It adds up to 72. | a total of 72 | a sum of 72 dollars | an average of 72
sentences | 72 | The square has an area of 72.
sentences | 72 | The minimum is 72. | Number of times: 72 | This comes to 72 | It is equal to 72
sentences | 72 | Great! The answer is 72. | Final answer: 72
sentences | 72 | exactly 72 | precisely 72 clips | only 72 | just 72 | another 72 | Maybe 72 | positive 72
sentences | 72 | 72 is the one | for one day: 72
sentences | 72 | On the third day she sold 72 | All in all 72 | It grew to 72 | The depth is 72 | a length of 72
sentences | 72 | After 72 days
in words | 72 | 72 (seventy-two) | seventy-two (72) | 72, seventy-two
dress | 72 | \emph{72} | \textrm{72} | \mathit{72} | \mathsf{72} | ***72*** | 72 \textit{clips} | (72)
dress | 72 | **Answer:** 72 | _72 clips_
equals | 72 | x = 72 | x=72 | total = 72 clips | 72 = 72.0
kept back | 72 | 72mL | 72qt | 72 ° | \boldsymbol{72} | \bm{72} | {\bf 72} | \mbox{72} | \textsc{72} | \large 72
kept back | 72 | 72 on either side | 72 miles north of town | 72 excess clips | 72 pavilions | 72 medallions | 72 errors
kept back | 72 | 72 people, most of them happy | a remainder of 72 | a loss of $72 | In May she sold 72. | 72 folders
""")
WRONG = table(r"""
other number     | 72   | 73 | 7 | 2 | 720 | 7.2 | 27 | 172
no number        | 0    | - | . | % | none | zero | -. | {}
no number        | 72   | seventy-two | LXXII
two numbers      | 72   | 72 or 73 | 70-72 | 70 - 72 | 72–74 | not 72 but 73 | 72, 73 | 72,73
two numbers      | 72   | 72 clips in 2 days | \boxed{72} \boxed{73} | 7 2 | 72 (or 73)
two numbers      | 72   | 48 + 24 = 72 | 72 = 73 | x = 72 = 73
two numbers      | 73   | 72 or 73 | not 72 but 73
two numbers      | 70   | 70-72 | 70 to 72
no arithmetic    | 72   | 70 + 2 | 70+2 | 8*9 | √72 | √ 72 | \sqrt{72} | \sqrt 72 | \log_{72}
no arithmetic    | 72   | ± 72 | > 72 | ≈72 | ~72
no arithmetic    | 5    | 5! | 5 x 5 | 5 * 1 | 5 of 5 | 5 - 5 | 5 * x | 5 + x | 5 / x
no arithmetic    | 100  | 100 100 | sum([100])
bad commas       | 108  | 1,08
bad commas       | 1080 | 10,80 | 1,,080 | 1 080 | 1'080 | 1_080 | 1.080 | ,1080
bad commas       | 1080.5 | 1.080,50
bad commas       | 1080000 | 1080,000 | 1,0800,00 | 1.080.000
bad commas       | 80   | 0,080
point            | 1080 | 1.080
point            | 3.33 | 3.33... | 3.33… | 3.33..
percent          | 0.72 | 72% | 72 %
percent          | 72%  | 0.72
sign             | -72  | 72 | - 72 | --72 | answer-72 | 72- | minus 72
sign             | 72   | -72 | −72 | - 72 | --72 | answer-72 | minus 72 | negative 72
exponent         | 1    | 1e3 | 1E3 | 1e-3
exponent         | 1000 | 1e3 | 10^3 | 10**3 | 10^{3} | $10^3$
exponent         | 10   | 10^3 | 10^{3} | 10 ^ 3 | 10^10
exponent         | 3    | 10^3 | 10^{3} | x^{3}
exponent         | 1.5  | 1.5×10^3 | 1.5 × 10^3 | 1.5e3
exponent         | 72   | 72 cm^2 | 72^\circ | x^ 72
fraction         | 1    | 1/2 | 1 / 2 | 1/1 | \frac{1}{2} | \frac{1}{1}
fraction         | 2    | 1/2 | 1 / 2 | \frac{1}{2} | \frac 1 2
fraction         | 0.5  | 1/2 | ½ | \frac{1}{2} | \frac12
fraction         | 5    | 5 ½ | 5½ | 5 1/2 | 5/1
fraction         | 12   | \frac12 | \frac{1}{2}
words            | 2    | 2 million | 2 and a half | 2 Hundred | minus 2
words            | 2000000 | 2 million
date             | 2024 | 2024-01-02 | 1/2/2024 | 2 January 2024
date             | 2    | 2024-01-02 | 1/2/2024
time             | 12   | 12:30 | 12h30 | 12:00
version          | 1.2  | 1.2.3 | v1.2
version          | 192.168 | 192.168.0.1
ratio            | 3    | 3:2 | 3 : 2 | 3:3
identifier       | 72   | x72 | 72x | 72nd | 0x48 | $72k | x_72 | #x72
special values   | nan  | nan | NaN
special values   | inf  | inf | -inf | Infinity | 1e999
special values   | 0    | nan | None | False | null
other scripts    | 72   | ٧٢ | ７２ | ७२ | 7² | 7₂ | 72 ² | 七十二 | 7２
other scripts    | ٧٢   | 72 | ٧٢
other scripts    | 1    | ¹ | ① | Ⅰ | 一 | 𝟏
exact            | 0.3  | 0.30000000000000001 | 0.1 + 0.2
exact            | 9007199254740992 | 9007199254740993
exact            | 72   | 72.0000000001 | 71.9999999999 | 72.00000000000000000000000000000001
gold no number   | 1/2  | 1/2 | 0.5 | 1
gold no number   | cat  | cat
issue | 72 | sqrt 72 | double 72 | half of 72 | isn't 72 | cannot be 72 | less than 72 | 72 below zero
issue | 72 | 72 factorial | 72! | 72 lakh
issue | 72 | 72 M | 72 k | 72 or 73 | 72 or seventy-three | neg 72 | wrong: 72
arithmetic | 72 | minus 72 | negative 72 | square root of 72 | the square of 72 | triple 72 | twice 72
arithmetic | 72 | thrice 72 | quarter of 72
arithmetic | 72 | a third of 72 | two thirds of 72 | three times 72 | several times 72 | ten percent of 72
arithmetic | 72 | log 72 | cube 72 | square 72
arithmetic | 72 | divided by 72 | multiply by 72 | 72 squared | 72 cubed | 72 percent of 10 | 72 plus two
arithmetic | 72 | 72 doubled | 72 halved | 72 mod x
arithmetic | 72 | one fifth of 72 | 72 hundredths | 72 thirds | 72 to the power | 72 to the third power
arithmetic | 72 | 72 to the n-th power | reciprocal of 72
arithmetic | 72 | the opposite of 72 | a multiple of 72 | out of 72 | one of 72 | part of the 72 | x 72 | 72 x
arithmetic | 72 | 72 n | 72 pi | 72 π | 72 i
arithmetic | 72 | 72 times itself | 72 times three | sin 72 | |72| | x< 72 | x- 72 | -x = 72 | x> 72 | &lt; 72
arithmetic | 72 | n + = 72 | √( 72 ) | 72 ! | ! 72
arithmetic | 72 | point 72 | zero point 72 | 72 point five | 72 in hexadecimal | subtract 72 | quadruple 72
arithmetic | 72 | 72 less two | 72 less a dozen
magnitudes | 72 | 72 thousand | 72 million | 72 dozen | 72 hundreds | 72 K | 72 B | 72 T | 72 bn | 72 crore
magnitudes | 72 | 72 crores | 72 tens | 72 grand
magnitudes | 72 | 72k | 72M | 72K | $72m | $72 M | $72m/year | 72 mio | 72 Billion | thousand 72 | 72 score
magnitudes | 72 | 72 gross | 72 G | seventy 72
bounds | 72 | at least 72 | at most 72 | more than 72 | greater than 72 | fewer than 72 | no more than 72
bounds | 72 | up to 72 | over 72 | under 72
bounds | 72 | above 72 | between 72 and eighty | within 72 | 72 or more | 72 or less | 72 at least | 72 max
bounds | 72 | minimum 72 | max 72 | exceeds 72
bounds | 72 | 72 to eighty | short of 72 | 72 short of the goal | shy of 72 | beyond 72 | 72 and up
bounds | 72 | 72 and counting | 72 and over | 72 plus | 72+
guesses | 72 | about 72 | around 72 | almost 72 | nearly 72 | roughly 72 | approximately 72 | approx. 72
guesses | 72 | circa 72 | close to 72 | some 72
guesses | 72 | an estimated 72 | 72 or so | 72 or thirty | 72ish | 72 ish | 72-odd | 72 odd | 72 give or take
guesses | 72 | ~72 | 72 and a bit | 72 and some | 72?
denials | 72 | no 72 | never 72 | not 72 | won't be 72 | isn’t 72 | isnt 72 | can't be 72 | cant be 72
denials | 72 | ain't 72 | it wasn't 72 | nothing but 72
denials | 72 | neither 72 | 72 is wrong | 72 is incorrect | 72 is false | 72 is not it | 72, no
denials | 72 | 72 is impossible | incorrect: 72 | false: 72
denials | 72 | anything but 72 | all but 72 | other than 72 | rather than 72 | instead of 72 | without 72
denials | 72 | except 72 | far from 72 | hardly 72
denials | 72 | 72 would be too high | mistaken: 72 | 72 is a mistake | 72 was ruled out | non 72 | ¬72 | ≠ 72
denials | 72 | \neq 72 | \neg 72 | != 72 | nor 72
two numbers | 72 | 72 (seventy-three) | 72, that is twelve | twenty 72 | 72 clips in two days | 72 fifty
two numbers | 72 | 72/two | 72 and three | 72 hundred
glued | 72 | 72x | 72nd | 72e | 72i | 72th | 72fold | 72-fold | 72s-x | 72/x | 72/2 | 72/pi | 72kgs2 | 72_x
glued | 72 | 72clips2
kept back | 72 | 72 milliards | 72 quadrillion | 72 zillion | 72 mln | 72 lac | 72 cr | 72 MM | 72 thou | 72 permille
kept back | 72 | tenfold 72 | sixfold 72 | 72 fold | quintuple 72 | squaring 72 | 72 factorials | 72 rounded | 72 times x
kept back | 72 | sine of 72 | logarithm of 72 | ceil 72 | a portion of 72 | 72 to the fourth | 72 to one | base-eight 72
kept back | 72 | ca. 72 | ca 72 | c. 72 | est. 72 | max. 72 | as much as 72 | upwards of 72 | in excess of 72 | north of 72
kept back | 72 | practically 72 | virtually 72 | at the very least 72 | 72 at the most | 72 at best | 72 and higher
kept back | 72 | closer to 72 | approaching 72 | ballpark 72 | in the region of 72 | 72 thereabouts | either 72
kept back | 72 | I doubt it is 72 | doubtful: 72 | unlikely 72 | unsure, 72 | error: 72 | 72 is bogus | unequal to 72
kept back | 72 | unlike 72 | it fails to be 72 | 72 is too many | 72 is too much | 72 is off by one | barring 72
kept back | 72 | 72% off | 72 off | $72 off the price | added to 72 | in addition to 72
kept back | 72 | compared to 72 | relative to the 72 | several 72 | a couple of 72
kept back | 72 | in place of 72 | in lieu of 72 | as opposed to 72 | 72 is out of the question | 72 increased by a few
""")
LONG = "1234567890" * 40  # 400 digits; floats, and Decimal's 28 places, would round it
HUGE = "9" * 5000  # more digits than int() reads
RIGHT["exact"] += [
    (LONG, LONG),
    (HUGE, HUGE),
    ("0." + LONG, f"0.{LONG}0"),
    ("-" + LONG, "-" + LONG),
]
RIGHT["white space"] = [("\n 72\t", "72"), (f"72{NO_BREAK_SPACE}kg", "72"), ("72", " 72\n")]
WRONG["exact"] += [
    (LONG, LONG[:-1] + "1"),
    (HUGE, HUGE[:-1] + "8"),
    ("0." + LONG, f"0.{LONG[:-2]}"),
]
WRONG["no number"] += [(None, "72"), ("", "72"), ("", "0"), (" \n", "0"), ("", "")]
WRONG["other scripts"] += [
    ("7\N{ZERO WIDTH SPACE}2", "72"),
    ("7\N{COMBINING LONG STROKE OVERLAY}2", "72"),
]
CASES = {pair: True for pairs in RIGHT.values() for pair in pairs}
CASES |= {pair: False for pairs in WRONG.values() for pair in pairs}


@pytest.mark.parametrize("rule", RIGHT)
def test_right_answers_match_both_ways(rule):
    for predicted, gold in RIGHT[rule]:
        assert answers_match(predicted, gold) is True, (predicted, gold)
        assert answers_match(gold, predicted) is True, (gold, predicted)


@pytest.mark.parametrize("rule", WRONG)
def test_wrong_answers_do_not_match(rule):
    for predicted, gold in WRONG[rule]:
        assert answers_match(predicted, gold) is False, (predicted, gold)
        assert correctness_reward(f"<answer>{predicted}</answer>", gold) == 0.0, (predicted, gold)


def test_parse_number_writes_one_canonical_form():
    texts = ["1080", "$1,080.00", " 01080.0 ", "**1,080**", r"\boxed{1{,}080}", "1,080 clips."]
    assert {parse_number(text) for text in texts} == {"1080"}
    assert [parse_number(text) for text in ["-0", ".50", "-$7.00"]] == ["0", "0.5", "-7"]


# Graders with one mistake each. All are in use somewhere; the table above must tell each from the
# right one.


def bare(text):
    return "" if text is None else text.strip().strip("$%*` ").replace(",", "")


def numbers_in(text):
    return re.findall(r"-?\d+(?:\.\d+)?", "" if text is None else text.replace(",", ""))


def compares_the_strings(predicted, gold):
    return predicted == gold


def compares_floats(predicted, gold):
    return float(bare(predicted)) == float(bare(gold))


def allows_a_tolerance(predicted, gold):
    return abs(Decimal(bare(predicted)) - Decimal(bare(gold))) < Decimal("1e-6")


def rounds_in_decimal(predicted, gold):
    return +Decimal(bare(predicted)) == +Decimal(bare(gold))


def calls_int(predicted, gold):
    return int(bare(predicted)) == int(bare(gold))


def evaluates(predicted, gold):
    return eval(bare(predicted), {"__builtins__": {}}) == eval(bare(gold), {"__builtins__": {}})


def takes_the_first_number(predicted, gold):
    return numbers_in(predicted)[:1] == numbers_in(gold)[:1]


def takes_the_last_number(predicted, gold):
    return numbers_in(predicted)[-1:] == numbers_in(gold)[-1:]


def accepts_any_of_the_numbers(predicted, gold):
    return bool(set(numbers_in(predicted)) & set(numbers_in(gold)))


def looks_for_the_gold_text(predicted, gold):
    return predicted is not None and gold in predicted


def drops_all_commas(predicted, gold):
    return answers_match(bare(predicted), bare(gold))


def drops_all_points(predicted, gold):
    return answers_match((predicted or "").replace(".", ""), gold.replace(".", ""))


def splits_at_the_slash(predicted, gold):
    return answers_match((predicted or "").split("/")[0], gold)


def splits_at_the_hyphen(predicted, gold):
    return answers_match((predicted or "").split("-")[-1], gold)


def divides_the_percentage(predicted, gold):
    def value(text):
        return Decimal(bare(text)) / (100 if "%" in text else 1)

    return value(predicted) == value(gold)


def keeps_only_the_digits(predicted, gold):
    return "".join(filter(str.isdigit, predicted)) == "".join(filter(str.isdigit, gold))


def normalises_unicode(predicted, gold):
    return answers_match(
        unicodedata.normalize("NFKC", predicted), unicodedata.normalize("NFKC", gold)
    )


def matches_two_unreadable_answers(predicted, gold):
    return parse_number(predicted or "") == parse_number(gold)


# Each mistake, and one case that gives it away: what it says there is wrong, or it raises.
MISTAKES = [
    (compares_the_strings, "$1,080.00", "1080"),
    (compares_floats, "9007199254740993", "9007199254740992"),
    (compares_floats, "1e3", "1000"),
    (compares_floats, "inf", "inf"),
    (allows_a_tolerance, "72.0000000001", "72"),
    (rounds_in_decimal, LONG, LONG[:-1] + "1"),
    (calls_int, "٧٢", "72"),
    (calls_int, HUGE, HUGE),
    (calls_int, "1_080", "1080"),
    (evaluates, "70 + 2", "72"),
    (evaluates, "10**3", "1000"),
    (takes_the_first_number, "72 or 73", "72"),
    (takes_the_last_number, "not 72 but 73", "73"),
    (takes_the_last_number, "1/2", "2"),
    (accepts_any_of_the_numbers, "70-72", "70"),
    (looks_for_the_gold_text, "720", "72"),
    (drops_all_commas, "1,08", "108"),
    (drops_all_points, "1.080", "1080"),
    (splits_at_the_slash, "1/2", "1"),
    (splits_at_the_hyphen, "70-72", "72"),
    (divides_the_percentage, "72%", "0.72"),
    (keeps_only_the_digits, "72nd", "72"),
    (keeps_only_the_digits, "1.080", "1080"),
    (normalises_unicode, "7²", "72"),
    (matches_two_unreadable_answers, "cat", "cat"),
]


def verdict(grader, predicted, gold):
    try:
        return grader(predicted, gold)
    except Exception as error:
        return error


@pytest.mark.parametrize("mistake, predicted, gold", MISTAKES)
def test_table_catches_mistake(mistake, predicted, gold):
    assert mistake("72", "72") is True and mistake("73", "72") is False  # at first sight it works
    truth = CASES[predicted, gold]
    assert verdict(mistake, predicted, gold) is not truth
    assert verdict(answers_match, predicted, gold) is truth


# The answer tag.

ONE = "<answer> 72 </answer>"
EXTRACTED = [
    ("<reasoning> 48 + 24 </reasoning> <answer>72 clips</answer>", "72 clips"),
    ("<answer>\n 72\n</answer>", "72"),
    ("<answer></answer>", ""),
    (f"{ONE} and {ONE}", "72"),
    ("<answer>72</answer> <answer>$72.00</answer>", "72"),
    ("<answer>no idea</answer> <answer>no idea</answer>", "no idea"),
    ("<answer>not 72 but 73</answer>", "not 72 but 73"),
    ("</answer> <answer>72</answer> </answer>", "72"),
    ("<answer>72</answer> <answer>73", "72"),  # the second block never ends, so it is none
    ("", None),
    ("72", None),
    ("<answer>72", None),
    ("72</answer>", None),
    ("</answer>72<answer>", None),
    ("<answer>72<answer>", None),
    ("<Answer>72</Answer>", None),
    ("< answer >72</ answer >", None),
    ("<answer>72</answer> <answer>73</answer>", None),
    ("<answer>72</answer> <answer></answer>", None),
    ("<answer>cat</answer> <answer>dog</answer>", None),
    ("<answer><answer>72</answer></answer>", None),
    ("<answer>71 <answer>72</answer>", None),
    ("I write it in <answer> tags: <answer>72</answer>", None),
    (r"\boxed{72}", None),
]


@pytest.mark.parametrize("text, answer", EXTRACTED)
def test_extract_answer(text, answer):
    assert extract_answer(text) == answer


def takes_the_first_block(text):
    return text.partition("<answer>")[2].partition("</answer>")[0].strip() or None


def takes_the_last_block(text):
    return text.rpartition("<answer>")[2].partition("</answer>")[0].strip()


def forgets_that_tags_must_close(text):
    found = re.search(r"<answer>(.*?)(?:</answer>|$)", text, re.DOTALL)
    return found and found[1].strip()


def reads_one_line_only(text):
    found = re.search(r"<answer>(.*?)</answer>", text)
    return found and found[1].strip()


def reads_from_the_first_to_the_last_tag(text):
    found = re.search(r"<answer>(.*)</answer>", text, re.DOTALL)
    return found and found[1].strip()


@pytest.mark.parametrize(
    "mistake, text",
    [
        (takes_the_first_block, "<answer>72</answer> <answer>73</answer>"),
        (takes_the_last_block, "72"),
        (takes_the_last_block, "<answer>72</answer> <answer>73</answer>"),
        (forgets_that_tags_must_close, "<answer>72"),
        (reads_one_line_only, "<answer>\n 72\n</answer>"),
        (reads_from_the_first_to_the_last_tag, f"{ONE} and {ONE}"),
    ],
)
def test_table_catches_mistaken_extraction(mistake, text):
    assert mistake(ONE) == "72"
    assert mistake(text) != dict(EXTRACTED)[text]


def test_correctness_reward_is_strict():
    assert correctness_reward("<reasoning> 48 + 24 </reasoning> <answer> 72 </answer>", "72") == 1.0
    assert correctness_reward("<answer> $1,080.00 </answer>", "1,080") == 1.0
    assert correctness_reward("So the answer is 72.", "72") == 0.0
    assert correctness_reward("<answer> 72 or 73 </answer>", "72") == 0.0
    assert type(correctness_reward(ONE, "72")) is float


# The format.

THOUGHT = "<reasoning> 48 + 24 </reasoning>"
GOOD_FORMAT = [
    f"{THOUGHT} {ONE}",
    f"{THOUGHT}{ONE}",
    f"\n {THOUGHT}\n\n{ONE} \n",
    f"{THOUGHT}<answer>cat</answer>",
]
BAD_FORMAT = [
    "",
    "72",
    THOUGHT,
    ONE,
    f"{ONE} {THOUGHT}",
    f"Sure. {THOUGHT} {ONE}",
    f"{THOUGHT} so {ONE}",
    f"{THOUGHT} {ONE} Done.",
    f"{THOUGHT} {ONE} <|endoftext|>",
    f"{THOUGHT} {ONE} {ONE}",
    f"{THOUGHT} {THOUGHT} {ONE}",
    f"<reasoning> </reasoning> {ONE}",
    f"{THOUGHT} <answer>\n</answer>",
    "<reasoning> 48 + 24 <answer> 72 </answer>",
    "<reasoning> 48 + 24 <answer> 72 </answer> </reasoning>",
    f"{THOUGHT} <answer> 72",
    f"<reasoning> {THOUGHT} </reasoning> {ONE}",
    f"<reasoning> I use <answer> tags </reasoning> {ONE}",
    f"<Reasoning> 48 </Reasoning> {ONE}",
]


def test_format_reward():
    assert [text for text in GOOD_FORMAT if format_reward(text) != 1.0] == []
    assert [text for text in BAD_FORMAT if format_reward(text) != 0.0] == []
    assert type(format_reward("")) is float


def only_looks_for_the_tags(text):
    return float(all(tag in text for tag in rewards.FORMAT))


def searches_instead_of_matching(text):
    return float(
        bool(re.search(r"<reasoning>.+?</reasoning>\s*<answer>.+?</answer>", text, re.DOTALL))
    )


def lets_dots_pass_the_tags(text):
    return float(
        bool(
            re.fullmatch(r"\s*<reasoning>.+</reasoning>\s*<answer>.+</answer>\s*", text, re.DOTALL)
        )
    )


@pytest.mark.parametrize(
    "mistake, text",
    [
        (only_looks_for_the_tags, f"{ONE} {THOUGHT}"),
        (searches_instead_of_matching, f"{THOUGHT} {ONE} Done."),
        (lets_dots_pass_the_tags, f"{THOUGHT} {ONE} {ONE}"),
        (lets_dots_pass_the_tags, f"<reasoning> </reasoning> {ONE}"),
    ],
)
def test_table_catches_mistaken_format(mistake, text):
    assert mistake(GOOD_FORMAT[0]) == 1.0 and mistake("72") == 0.0
    assert text in BAD_FORMAT and mistake(text) == 1.0


# Lenient reading, for reports.


@pytest.mark.parametrize(
    "text, answer",
    [
        ("<answer> 72 clips </answer> 73", "72 clips"),  # a tagged answer is taken as it stands
        ("48 + 24 = 72 clips.", "72"),
        ("So the total is **$1,080.00**.", "1080"),
        (r"The answer is \boxed{72}.", "72"),
        ("#### 72", "72"),
        ("16+6=22.", "22"),
        ("<reasoning> 48 + 24 = 72</reasoning>", "72"),
        ("<answer>72", "72"),
        ("72</answer> 73", "72"),
        ("<answer>72</answer> <answer>73</answer>", "72"),
        ("It is 72.\nQuestion: Ben has 5 stamps. He wins 6.", "72"),
        ("It is 72.\n  Q: Ben has 5 stamps. <answer>", "72"),
        ("It is 72.\nQuestion 2: Ben has 5 stamps.", "72"),
        ("It is 72.\n\nUser: thanks, and 3 times that?", "72"),
        ("The question: is it 72?\nIt is 73.", "73"),
        ("Q is the number of clips that we look for: 72", "72"),  # a sentence, no heading
        ("It is 1/2", None),  # never read as one of its parts
        ("It is 5 ½", None),
        ("no idea", None),
        ("", None),
    ],
)
def test_lenient_answer(text, answer):
    assert lenient_answer(text) == answer


# A made-up next question in every dress, a repeated question or request, GSM8K's mark: what the
# first answer is.
FIRST_ANSWERS = r"""
It is 72.\n### Question: Ben has 5 => 72
It is 72.\n**Question:** Ben has 5 stamps. => 72
It is 72.\n**Question**: Ben has 5 stamps. => 72
It is 72.\n**Question**\nBen has 5 stamps. => 72
It is 72.\n__Problem 2__ Ben has 5 stamps. => 72
It is 72.\n## Problem\nBen has 5 stamps. => 72
It is 72.\n### Problem 2\nBen has 5 stamps. => 72
It is 72.\n# Exercise 3: Ben has 5 stamps. => 72
It is 72.\nuser: Ben has 5 stamps. => 72
It is 72.\nUSER: Ben has 5 stamps. => 72
It is 72.\nuser\nBen has 5 stamps. => 72
It is 72.\nHuman\nBen has 5 stamps. => 72
It is 72.\nHuman: Ben has 5 stamps. => 72
It is 72.\n\nHUMAN\n\nBen has 5 stamps. => 72
It is 72.\n### Human\nBen has 5 stamps. => 72
It is 72.\nquestion: Ben has 5 stamps. => 72
It is 72.\nQUESTION 2\nBen has 5 stamps. => 72
It is 72.\nNext question: Ben has 5 stamps. => 72
It is 72.\nNew problem:\nBen has 5 stamps. => 72
It is 72.\nProblem: Ben has 5 stamps. => 72
It is 72.\nq: Ben has 5 stamps. => 72
It is 72.\nQ. Ben has 5 stamps. => 72
It is 72.\nQ2: Ben has 5 stamps. => 72
It is 72.\n> **Q:** Ben has 5 stamps. => 72
It is 72.\n- Question: Ben has 5 stamps. => 72
It is 72.\n<|user|>\nBen has 5 stamps. => 72
It is 72.\n<|im_start|>user\nBen has 5 stamps. => 72
It is 72.\n[INST] Ben has 5 stamps. [/INST] => 72
It is 72.\nInstruction: Ben has 5 stamps. => 72
It is 72.\n[Question]\nBen has 5 stamps. => 72
It is 72.\nQuestion 3. Ben has 5 stamps. => 72
It is 72.\n#### 72\n#### 11 => 72
It is 72.\n#### 72\nBen has 5 stamps.\n#### 11 => 72
#### 72 clips\n#### 11 => 72
#### $72\n\nBen has 5 stamps.\n#### 11 => 72
**#### 72**\n#### 11 => 72
#### 1. Find May\n48 / 2 = 24\n#### 2. Add\n48 + 24 = 72 => 72
Question: She sold 48 clips, half as many in May. How many?\nAnswer: 72 => 72
Question: She sold 48 clips. How many?\nAnswer: 72\nQuestion: Ben has 5.\nAnswer: 9 => 72
**Question:** She sold 48 clips. How many?\n\n**Answer:** 72\n\n**Question:** Ben has 5. => 72
### Question\nShe sold 48 clips. How many?\n### Answer\n72\n### Question\nBen has 5. => 72
Question:\nAnswer: 72 => 72
Q: She sold 48 clips. How many? A: 72 => 72
Q: She sold 48 clips.\nA: 72\nQ: Ben has 5\nA: 11 => 72
User: She sold 48 clips.\nAssistant: It is 72.\nUser: 5? => 72
Problem: She sold 48 clips, and half in May.\nHow many in all?\n48 / 2 = 24. 48 + 24 = 72 => 72
Let me restate it.\nProblem: She sold 48 clips.\nSolution: 72 => 72
Write the final number alone between <answer> and </answer>.\n48 + 24 = 72. => 72
First <reasoning> and </reasoning>, then <answer> and </answer>. <reasoning> 48 + 24 = 72 </reasoning> <answer> 72 </answer> => 72
Between <answer> and </answer>: <answer> 72 </answer>\nQuestion: Ben has 5. <answer> 5 </answer> => 72
<reasoning> ... </reasoning> <answer> ... </answer>\nIt is 72.\nUser: 5? => 72
It is 72. <answer> </answer> => 72
<answer> unknown </answer> => None
I do not know.\nQuestion: Ben has 5 stamps. => None
Question: Ben has 5 stamps. He wins 6. => None
It is seventy-two.\n### Question: Ben has 5 stamps. => None
The question: is it 72?\nIt is 73. => 73
Q is the number of clips that we look for: 72 => 72
Problem solved: 72 => 72
The user has 48.\nUser 3 has 24.\nIn all 72. => 72
Users: 72 => 72
48 in April.\n### Problem breakdown\n24 in May\nSo 72 => 72
Human hours: 72 => 72
No problem.\nIt is 72. => 72
Questions like this need care. 48 + 24 = 72 => 72
A human has 48.\nHuman's total is 72. => 72
48 + 24\n= 72\nQuickly done. => 72
Question: She sold 48 clips, and half in May. How many? 72 => 72
It is 72.\nUser query: Ben has 5 => 72
It is 72.\nExample 2: Ben has 5 => 72
It is 72.\nProblem 2 - Ben has 5 => 72
It is 72.\nQuestion – Ben has 5 => 72
It is 72.\n*Question (easy):* Ben has 5 => 72
It is 72.\nSystem: 5 rules => 72
It is 72.\n=== Question 2 ===\nBen has 5 => 72
It is 72.\n<question>Ben has 5</question> => 72
It is 72.</answer> Question: Ben has 5 => 72
For example 48.\nIt is 72. => 72
It is 72.<|im_end|>\n<|im_start|>user\nBen has 5 stamps. => 72
It is 72.<|im_end|><|im_start|>user\nBen has 5 stamps. => 72
It is 72.\n<|start_header_id|>user<|end_header_id|>\n\nBen has 5 stamps. => 72
It is 72.<end_of_turn>\n<start_of_turn>user\nBen has 5 stamps. => 72
It is 72. <|user|> Ben has 5 stamps. => 72
It is 72.<|endoftext|>Ben has 5 stamps. => 72
It is 72.</s>\n<s>[INST] Ben has 5 stamps. => 72
It is 72. [INST] Ben has 5 stamps. [/INST] => 72
[INST] She sold 48 clips. [/INST] 72 [INST] Ben has 5. [/INST] => 72
It is 72. Question: Ben has 5 stamps. => 72
It is 72. **Question:** Ben has 5 stamps. => 72
It is 72. Human: Ben has 5 stamps. => 72
It is 72.\n2. Question: Ben has 5 stamps. => 72
It is 72.\n3. Problem\nBen has 5 stamps. => 72
It is 72.\n### Input:\nBen has 5 stamps. => 72
It is 72.\nTask 2: Ben has 5 stamps. => 72
It is 72.\nFollow-up: Ben has 5 stamps. => 72
It is 72.\nAnother example: Ben has 5 stamps. => 72
It is 72.\nCustomer: Ben has 5 stamps. => 72
It is 72.\nHere is another problem: Ben has 5 stamps. => 72
It is 72.\n**Here's a new question:** Ben has 5 stamps. => 72
Here is the problem: She sold 48 clips.\nIn all 72. => 72
It is 48.\nHere is the solution: 72 => 72
It is 72.\n**Client:** Ben has 5 stamps. => 72
Customers: 48\nCustomer service: 24\nIn all 72 => 72
It is 48.\nNext: 48 + 24 = 72 => 72
It is 72.\nYour turn: Ben has 5 stamps. => 72
It is 72.\nUser says: Ben has 5 stamps. => 72
It is 72.\nuser> Ben has 5 stamps. => 72
It is 72.\n<user>Ben has 5 stamps.</user> => 72
It is 72.\n<h2>Question</h2>\nBen has 5 stamps. => 72
It is 72.\nQuestion：Ben has 5 stamps. => 72
#### 72 #### 11 => 72
The answer is #### 72\nBen has 5.\n#### 11 => 72
#### The answer is 72\n\nBen has 5.\n#### 11 => 72
#### Answer: 72\n#### 11 => 72
#### \boxed{72}\n#### 11 => 72
#### 72 (seventy-two)\n#### 11 => 72
#### = 72\n#### 11 => 72
#### Step 1\n48\n#### Step 2\n72 => 72
Questions answered: 72 => 72
Exercise minutes: 72 => 72
She solves 48.\nProblems in May: 24\n48 + 24 = 72 => 72
She asks 48.\n**Questions in May:** 24\nTotal: 72 => 72
No problem. Question: 48 + 24? It is 72. => 72
"""


@pytest.mark.parametrize("row", FIRST_ANSWERS.strip().splitlines())
def test_where_the_first_answer_begins_and_ends(row):
    text, _, answer = row.rpartition(" => ")
    assert str(lenient_answer(text.replace("\\n", "\n"))) == answer


@pytest.mark.parametrize(
    "answer", ["48 + 24 = 72.", f"{THOUGHT} {ONE}", "Question: 48 + 24?\nAnswer: 72"]
)
def test_the_request_may_be_quoted_before_the_answer(answer):
    assert lenient_correct(f"{FORMAT_REQUEST}\n{answer}\n### Question\nBen has 5.", "72")


def test_lenient_correct():
    assert lenient_correct("48 + 24 = 72 clips.", "72") is True
    assert lenient_correct("48 + 24 = 72 clips.", "48") is False
    assert lenient_correct("72 <answer> 73 </answer>", "72") is False  # the tag decides
    assert lenient_correct("no idea", "72") is False


# Bad input, and documentation.


@pytest.mark.parametrize("value", [72, 72.0, None, b"72", ["72"]])
def test_what_is_no_text_meets_one_clear_error(value):
    calls = [
        lambda: extract_answer(value),
        lambda: parse_number(value),
        lambda: format_reward(value),
        lambda: lenient_answer(value),
        lambda: correctness_reward(value, "72"),
        lambda: correctness_reward("no tag", value),
        lambda: answers_match(None, value),
        lambda: lenient_correct("72", value),
    ]
    if value is not None:
        calls.append(lambda: answers_match(value, "72"))
    for call in calls:
        with pytest.raises(TypeError, match=r"must be a str, got \w+: .*as text \('72', not 72\)"):
            call()


def test_docstring_examples():
    assert doctest.testmod(rewards).failed == 0


# Properties.

ANY_TEXT = st.text(max_size=200)
TAGS = "<answer> </answer> <reasoning> </reasoning>"
FRAGMENTS = TAGS + r" 72 73 , . - − $ % = \ \frac \boxed{ } ^ e / * ½ ² ٧ nan inf Q:"
HOSTILE_TEXT = st.lists(st.sampled_from([*FRAGMENTS.split(), " ", "\n"]), max_size=30).map("".join)
TEXTS = ANY_TEXT | HOSTILE_TEXT
NUMBERS = st.integers().map(str) | st.decimals(allow_nan=False, allow_infinity=False).map(
    lambda n: f"{n:f}"
)
DRESS = r"""N | N. | **N** | `N` | _N_ | (N) | "N" | N% | N % | N\% | $N | \$N | N € | $N$ | $$ N $$ | \(N\)
\boxed{N} | $\boxed{N}$ | \text{N} | \boxed{N\text{ clips}} | N\,\mathrm{cm} | #### N | N clips per day
The answer is N. | x = N | x=N | = **N** | N = N"""
quick = settings(deadline=None, max_examples=100)


@quick
@given(TEXTS, TEXTS)
@example("-", "0")
def test_any_text_is_graded_without_an_error(text, gold):
    assert extract_answer(text) is None or isinstance(extract_answer(text), str)
    assert lenient_answer(text) is None or isinstance(lenient_answer(text), str)
    assert answers_match(text, gold) is answers_match(gold, text)
    assert correctness_reward(text, gold) in (0.0, 1.0) and format_reward(text) in (0.0, 1.0)
    assert correctness_reward(text, gold) <= lenient_correct(text, gold)


@quick
@given(TEXTS)
def test_what_is_read_is_canonical(text):
    value = parse_number(text)
    if value is not None:
        assert re.fullmatch(r"0|-?(?:[1-9][0-9]*|(?:0|[1-9][0-9]*)\.[0-9]*[1-9])", value)
        assert parse_number(value) == value


@quick
@given(NUMBERS, st.sampled_from(re.split(r" \| |\n", DRESS)))
def test_dress_changes_nothing(number, dress):
    answer = dress.replace("N", number)
    assert answers_match(answer, number)
    assert correctness_reward(f"{THOUGHT}<answer>{answer}</answer>", number) == 1.0


@quick
@given(NUMBERS, NUMBERS)
@example("0", "-0")
@example("9007199254740993", "9007199254740992")
def test_numbers_match_exactly_when_they_are_equal(one, other):
    assert (
        answers_match(one, other) is answers_match(other, one) is (Decimal(one) == Decimal(other))
    )


@quick
@given(
    NUMBERS,
    NUMBERS,
    st.sampled_from([" or ", "-", " ", ", ", "/", " = ", " x ", ":", "^", " but not "]),
)
def test_two_different_numbers_are_wrong(one, other, between):
    assume(Decimal(one) != Decimal(other))
    assert parse_number(one + between + other) is None
    assert correctness_reward(f"<answer>{one}</answer> <answer>{other}</answer>", one) == 0.0


@quick
@given(st.integers(), st.integers(0, 10**9), st.sampled_from(["", ".5", ".00"]))
def test_a_thousands_comma_never_changes_the_verdict(number, gold, decimals):
    plain, grouped = f"{number}{decimals}", f"{number:,}{decimals}"
    assert answers_match(plain, grouped) and answers_match(grouped, plain)
    assert answers_match(plain, str(gold)) is answers_match(grouped, f"{gold:,}")


@quick
@given(*[TEXTS.map(lambda text: text.replace("answer", "reply"))] * 3)
def test_a_single_closed_tag_yields_exactly_what_stands_in_it(before, content, after):
    assert extract_answer(f"{before}<answer>{content}</answer>{after}") == content.strip()


# Time: a quadratic search of 100,000 characters takes minutes, not a tenth of a second.

HOSTILE_UNITS = r"""<answer> </answer> <answer></answer> <answer>1</answer> <answer <reasoning> </ Q Question:
, 1 1, ,111 1. . .1 - --1 1- − \ \boxed{ \text { {,} \, \\ $ % = 1= * **1 ( )" 1: 1e /1 ^ a ٧ ½
minus million""".split()
HOSTILE_UNITS += [
    "#",
    "####",
    "#### 1,",
    "\n#### ",
    "next new ",
    "Question: A: ",
    "<|a|>",
    "\n**Question",
    "?",
]
HOSTILE_UNITS += [
    "and a ",
    "seventy-",
    "ths ",
    "n't ",
    "to the ",
    "adds up to ",
    "one of ",
    "not ",
    "72kg ",
    "km/",
]
HOSTILE_UNITS += [
    " ",
    "1 ",
    "\n",
    "\t\n",
    " \n",
    "Q ",
    "\nQ ",
    "\nQuestion 1",
    "<answer>1 or 2</answer>",
]


@pytest.mark.parametrize("unit", HOSTILE_UNITS)
def test_time_is_linear(unit):
    hostile = (unit * 100_000)[:100_000]
    for text in (hostile, "1" + hostile + "x", f"{THOUGHT}<answer>{hostile}</answer>"):
        start = time.process_time()
        correctness_reward(text, text)
        format_reward(text)
        lenient_correct(text, "72")
        assert time.process_time() - start < 1.0, repr(text[:40])


# The gold answers of the real data set.


@pytest.mark.skipif(not GSM8K.is_dir(), reason="GSM8K is not on this machine")
@pytest.mark.parametrize("split, with_comma", [("train", 79), ("test", 14)])
def test_every_gsm8k_answer_matches_itself_with_and_without_commas(split, with_comma):
    lines = (GSM8K / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    golds = [json.loads(line)["answer"].split("#### ")[-1] for line in lines]
    assert sum("," in gold for gold in golds) == with_comma
    for gold in golds:
        plain = gold.replace(",", "")
        for form in (gold, plain, f"{int(plain):,}", f"${int(plain):,}.00"):
            assert correctness_reward(f"<answer> {form} </answer>", gold) == 1.0, gold
        assert correctness_reward(f"<answer> {int(plain) + 1} </answer>", gold) == 0.0, gold


@pytest.mark.parametrize(
    "text",
    [
        "‘72’",
        "72¢",
        "₩72",
        r"\left(72\right)",
        r"\underline{72}",
        r"$\displaystyle 72$",
        "72 times",
    ],
)
def test_dress_around_a_number(text):
    assert parse_number(text) == "72"


@pytest.mark.parametrize(
    "text", ["not 72", "72 dozen", "twice 72", "square root of 72", "72 k", "2 bn", "72 squared"]
)
def test_words_that_change_the_number(text):
    assert parse_number(text) is None
