"""Problems: generated ones are solved again by a reader of their English text; files with every
kind of mistake."""

import json
import random
import re
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlvr_helpers.problems import (
    Equation,
    Problem,
    generate_arithmetic,
    generate_two_step,
    generate_word_problem,
    gold_answer,
    load_problems,
    read_jsonl,
)
from rlvr_helpers.rewards import answers_match, parse_number

MANY = 4000
GSM8K = Path(__file__).parents[3] / "shared" / "gsm8k"


@pytest.fixture(scope="module")
def generated():
    rng = random.Random(0)
    return [generate_word_problem(rng) for _ in range(MANY)]


# --- a reader that knows nothing of the generator -------------------------------------------------

HAS = re.compile(r"(\w+) has (\d+) (\w+)")
BUYS = re.compile(r"(He|She) buys (\d+) \w+ of (\d+)")
DOES = re.compile(r"(He|She) (\w+) (\d+)")
ASKS = re.compile(r"How many (\w+) does (\w+) have now\?")
MORE, LESS = {"wins", "finds", "gets"}, {"loses", "sells", "drops"}


def solve(question):
    """All totals on the way, the last being the answer, and the sentences that change nothing."""
    *told, asked = question.split(". ")
    thing, name = ASKS.fullmatch(asked).groups()
    first = HAS.fullmatch(told[0])
    assert first[1] == name and first[3] == thing, (
        "the first sentence is about the person asked for"
    )
    totals, idle, pronouns = [int(first[2])], [], set()
    for sentence in told[1:]:
        if match := HAS.fullmatch(sentence):
            assert match[1] != name, "another person"
            idle.append(sentence)
        elif match := BUYS.fullmatch(sentence):
            pronouns.add(match[1])
            totals.append(totals[-1] + int(match[2]) * int(match[3]))
        else:
            pronoun, verb, number = DOES.fullmatch(sentence).groups()
            pronouns.add(pronoun)
            assert verb in MORE | LESS
            totals.append(totals[-1] + int(number) * (1 if verb in MORE else -1))
    assert len(pronouns) == 1, "he stays he, she stays she"
    return totals, idle


def test_the_reader_reads():
    question = (
        "Mia has 5 pens. She buys 2 bags of 3. Tom has 9 pens. She loses 4. She wins 2. How many"
        " pens does Mia have now?"
    )
    assert solve(question) == ([5, 11, 7, 9], ["Tom has 9 pens"])


def test_the_answer_is_what_the_text_says(generated):
    for problem in generated:
        assert problem.answer == str(solve(problem.question)[0][-1]), problem.question


def test_totals_stay_within_0_and_99(generated):
    for problem in generated:
        totals, _ = solve(problem.question)
        assert all(0 <= total <= 99 for total in totals), problem.question


def test_every_number_is_a_word_of_the_tiny_vocabulary(generated):
    """0 to 99, without signs or leading zeros."""
    for problem in generated:
        assert all(
            str(int(number)) == number and int(number) <= 99
            for number in re.findall(r"\d+", problem.question)
        )


def test_problems_have_two_to_five_operations(generated):
    counts = Counter(len(solve(problem.question)[0]) - 1 for problem in generated)
    assert counts.keys() == {2, 3, 4, 5}
    for operations, share in {2: 1 / 6, 3: 2 / 6, 4: 2 / 6, 5: 1 / 6}.items():
        assert counts[operations] / MANY == pytest.approx(share, abs=0.03)


def test_what_a_problem_says_of_itself_is_what_its_text_says(generated):
    for problem in generated:
        totals, idle = solve(problem.question)
        assert problem.start == totals[0]
        assert problem.operations == len(totals) - 1
        assert [step.number for step in problem.steps if step.kind == "distractor"] == [
            int(HAS.fullmatch(sentence)[2]) for sentence in idle
        ]
        total = problem.start
        for step in problem.steps:
            total += {"gain": 1, "lose": -1, "bags": step.bags, "distractor": 0}[
                step.kind
            ] * step.number
        assert str(total) == problem.answer


def test_about_30_percent_have_one_distractor(generated):
    counts = Counter(len(solve(problem.question)[1]) for problem in generated)
    assert counts.keys() == {0, 1}
    assert counts[1] / MANY == pytest.approx(0.3, abs=0.03)  # four standard errors


def test_a_distractor_stands_anywhere_and_is_about_the_other_pronoun(generated):
    """So that whoever wins and loses is never in doubt."""
    women = {"Anna", "Mia", "Zoe", "Eva", "Ida", "Lily"}
    places = set()
    for problem in generated:
        _, idle = solve(problem.question)
        if idle:
            name = problem.question.split()[0]
            assert (name in women) != (idle[0].split()[0] in women)
            assert (name in women) == (" She " in problem.question)
            places.add(problem.question.split(". ").index(idle[0]))
    assert places >= {1, 2, 3, 4}


def test_at_most_two_steps_are_bags(generated):
    assert max(problem.question.count(" buys ") for problem in generated) == 2


def test_the_same_seed_gives_the_same_problems():
    one, two = (
        [generate_word_problem(random.Random(seed)) for seed in range(20)] for _ in range(2)
    )
    assert one == two
    assert len({problem.question for problem in one}) == 20


def test_answers_are_spread(generated):
    """No answer is so common that guessing it pays."""
    counts = Counter(problem.answer for problem in generated)
    assert max(counts.values()) / MANY < 0.05
    assert len(counts) > 80


# --- two operands ---------------------------------------------------------------------------------


def solve_arithmetic(question):
    a, sign, b = re.fullmatch(r"What is (\d+) ([+-]) (\d+)\?", question).groups()
    return int(a) + int(b) if sign == "+" else int(a) - int(b)


def test_arithmetic_is_right_and_never_below_0():
    rng = random.Random(1)
    problems = [generate_arithmetic(rng) for _ in range(2000)]
    for problem in problems:
        assert problem.answer == str(solve_arithmetic(problem.question))
        assert int(problem.answer) >= 0
    assert 0.4 < sum("+" in problem.question for problem in problems) / 2000 < 0.6


def test_arithmetic_keeps_to_its_largest_number():
    rng = random.Random(2)
    for _ in range(200):
        assert max(map(int, re.findall(r"\d+", generate_arithmetic(rng, largest=9).question))) <= 9


def test_the_arithmetic_splits_are_disjoint_and_right():
    train, test = load_problems("train", "arithmetic"), load_problems("test", "arithmetic")
    assert (len(train), len(test)) == (2000, 500)
    questions = [problem.question for problem in train + test]
    assert len(set(questions)) == 2500, "no question twice, in one split or in both"
    for problem in train + test:
        assert problem.answer == str(solve_arithmetic(problem.question))


def test_the_arithmetic_splits_are_always_the_same():
    assert load_problems("train", "arithmetic") == load_problems("train", "arithmetic")
    assert load_problems("test", "arithmetic") == load_problems("test", "arithmetic")


def test_an_arithmetic_problem_keeps_its_equation():
    for problem in load_problems("test", "arithmetic"):
        (equation,) = problem.equations
        assert problem.question == f"What is {equation.left} {equation.sign} {equation.right}?"
        assert equation.result == int(problem.answer)


def test_additions_are_those_of_arithmetic():
    for split, least in (("train", 900), ("test", 200)):
        problems = load_problems(split, "addition")
        assert problems == [
            problem for problem in load_problems(split, "arithmetic") if "-" not in problem.question
        ]
        assert len(problems) > least


# --- two steps ------------------------------------------------------------------------------------


def signed(verb, number):
    return int(number) if verb in MORE else -int(number)


# what a text says, and what it comes to; written without a look at the generator's own steps
TWO_STEP = {
    r"has (\d+) \w+\. (?:He|She) (\w+) (\d+)(?: more)? and then (\w+) (\d+)(?: more)?\.": (
        lambda a, v, b, w, c: int(a) + signed(v, b) + signed(w, c)
    ),
    r"has (\d+) \w+ of (\d+) \w+ each and (\d+) loose": lambda a, b, c: int(a) * int(b) + int(c),
    r"buys (\d+) \w+ of (\d+) \w+ each and gives (\d+) \w+ away": (
        lambda a, b, c: int(a) * int(b) - int(c)
    ),
    r"has (\d+) red and (\d+) blue \w+\. Each holds (\d+)": (
        lambda a, b, c: int(c) * (int(a) + int(b))
    ),
    r"has (\d+) coins\. A cap costs (\d+) coins and a ball (\d+) coins": (
        lambda a, b, c: int(a) - int(b) - int(c)
    ),
    r"sells (\d+) rolls in the morning, (\d+) at noon and (\d+) in": (
        lambda a, b, c: int(a) + int(b) + int(c)
    ),
    r"has (\d+) eggs and sells (\d+) boxes of (\d+) eggs each": (
        lambda a, b, c: int(a) - int(b) * int(c)
    ),
    r"are (\d+) people on a bus\. At the next stop (\d+) get off and (\d+) get on": (
        lambda a, b, c: int(a) - int(b) + int(c)
    ),
    r"are (\d+) children at a party\. First (\d+) of them go home, and later (\d+)": (
        lambda a, b, c: int(a) - int(b) - int(c)
    ),
    r"has (\d+) boys and (\d+) girls\. Each child gets (\d+)": (
        lambda a, b, c: (int(a) + int(b)) * int(c)
    ),
    r"has (\d+) pages\. \w+ reads (\d+) pages a day for (\d+) days": (
        lambda a, b, c: int(a) - int(b) * int(c)
    ),
}


def solve_two_step(question):
    """Which text this is, and what it comes to."""
    readings = [
        (text, found, value)
        for text, value in TWO_STEP.items()
        if (found := re.search(text, question))
    ]
    ((text, found, value),) = readings
    assert len(re.findall(r"\d+", question)) == 3, "every number is read"
    return text, value(*found.groups())


@pytest.fixture(scope="module")
def two_step():
    rng = random.Random(3)
    return [generate_two_step(rng) for _ in range(MANY)]


def test_a_two_step_problem_comes_to_what_its_text_says(two_step):
    kinds = Counter()
    for problem in two_step:
        text, value = solve_two_step(problem.question)
        assert problem.answer == str(value), problem.question
        kinds[text] += 1
    assert kinds.keys() == TWO_STEP.keys()
    assert min(kinds.values()) > MANY / 12 * 0.7, "every text has its share"


def test_two_step_numbers_are_small(two_step):
    for problem in two_step:
        numbers = [int(number) for number in re.findall(r"\d+", problem.question)]
        assert min(numbers) >= 2, "no plural of one"
        assert max(numbers) <= 60
        assert 0 <= int(problem.answer) <= 99


def test_the_two_equations_solve_a_two_step_problem(two_step):
    for problem in two_step:
        first, second = problem.equations
        assert first.result in (second.left, second.right), "the second goes on from the first"
        assert first.result >= 0 and problem.answer == str(second.result)
        used = sorted([first.left, first.right, second.left, second.right])
        used.remove(first.result)
        assert used == sorted(map(int, re.findall(r"\d+", problem.question))), (
            "with the numbers of the text"
        )


def test_two_step_texts_are_whole_sentences(two_step):
    for problem in two_step:
        assert re.fullmatch(r"(?:[A-Z][^.?{}]*\. ){1,2}(?:How|If) [^.?{}]*\?", problem.question), (
            problem.question
        )
        assert "  " not in problem.question
        he, she = (
            re.search(rf"\b(?:{word}|{word.lower()})\b", problem.question) for word in ("He", "She")
        )
        assert not (he and she), "he stays he, she stays she"


@pytest.mark.parametrize(
    "equation, text, result",
    [
        (Equation(6, "x", 3), "6 x 3 = 18", 18),
        (Equation(6, "-", 6), "6 - 6 = 0", 0),
        (Equation(9, "+", 20), "9 + 20 = 29", 29),
    ],
)
def test_an_equation_in_words(equation, text, result):
    assert str(equation) == text and equation.result == result


def test_the_two_step_splits_are_disjoint_and_right():
    train, test = load_problems("train", "two_step"), load_problems("test", "two_step")
    assert (len(train), len(test)) == (2000, 500)
    assert len({problem.question for problem in train + test}) == 2500
    assert len({problem.equations for problem in train + test}) == 2500, (
        "also not under other names"
    )
    for problem in train + test:
        assert problem.answer == str(solve_two_step(problem.question)[1])


def test_the_two_step_splits_are_always_the_same():
    assert load_problems("train", "two_step") == load_problems("train", "two_step")
    assert load_problems("test", "two_step") == load_problems("test", "two_step")
    first = load_problems("test", "two_step")[0]
    assert first.question.startswith("A book has 32 pages. Max reads 4 pages a day for 5 days.")


# --- reasoning-gym --------------------------------------------------------------------------------


def gym(monkeypatch, rows):
    """A stand-in for the package, whose only generator is called "sums"; returns what it was
    asked."""
    asked = []

    def create_dataset(name, size, seed):
        asked.append((name, size, seed))
        if name != "sums":
            raise ValueError(f"Dataset '{name}' not registered")
        return iter(rows)

    monkeypatch.setitem(
        sys.modules, "reasoning_gym", SimpleNamespace(create_dataset=create_dataset)
    )
    return asked


def test_reasoning_gym_gives_disjoint_splits_of_what_is_one_number(monkeypatch):
    rows = [{"question": f"{i} + 1 = ? ", "answer": str(i + 1), "metadata": {}} for i in range(20)]
    # once more, which counts once
    rows += [{"question": f"{i} + 1 = ?", "answer": str(i + 1)} for i in range(20)]
    unread = ["1/2", "1 or 2", "yes", "", "x = y", "[1, 2]", "1e3", "2,5", "1.080,00", "7 \ud83d"]
    rows += [{"question": f"unread {i}", "answer": text} for i, text in enumerate(unread)]
    rows += [{"question": "a comma", "answer": "1,080"}, {"question": "a number", "answer": -4}]
    asked = gym(monkeypatch, rows)
    train, test = (
        load_problems("train", "reasoning_gym:sums"),
        load_problems("test", "reasoning_gym:sums"),
    )
    assert test == [Problem(f"{i} + 1 = ?", str(i + 1)) for i in range(4)]
    assert train[:16] == [Problem(f"{i} + 1 = ?", str(i + 1)) for i in range(4, 20)]
    assert train[16:] == [Problem("a comma", "1080"), Problem("a number", "-4")]
    assert len(set(asked)) == 1, "both splits are parts of one list"


def test_reasoning_gym_splits_have_the_sizes_of_the_other_sources(monkeypatch):
    gym(monkeypatch, [{"question": f"{i} + 1 = ?", "answer": str(i + 1)} for i in range(3000)])
    assert len(load_problems("train", "reasoning_gym:sums")) == 2000
    assert len(load_problems("test", "reasoning_gym:sums")) == 500


def test_an_unknown_name_in_reasoning_gym(monkeypatch):
    gym(monkeypatch, [])
    with pytest.raises(ValueError, match="makes no problems named 'nonesuch'.*not registered"):
        load_problems("train", "reasoning_gym:nonesuch")


def test_a_reasoning_gym_generator_without_numbers(monkeypatch):
    gym(monkeypatch, [{"question": "Is it so?", "answer": "yes"}] * 5)
    with pytest.raises(ValueError, match="'sums' too few answers are one number: choose another"):
        load_problems("train", "reasoning_gym:sums")


def test_without_reasoning_gym_a_reader_is_told_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)  # importing it fails
    with pytest.raises(
        ValueError, match="'reasoning_gym:chain_sum' need the package.*pip install reasoning-gym"
    ):
        load_problems("train", "reasoning_gym:chain_sum")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.skipif(not find_spec("reasoning_gym"), reason="reasoning-gym is not installed")
def test_reasoning_gym_itself():
    train, test = (load_problems(split, "reasoning_gym:chain_sum") for split in ("train", "test"))
    assert test == load_problems("test", "reasoning_gym:chain_sum"), "always the same"
    assert (len(train), len(test)) == (2000, 500)
    assert not {problem.question for problem in train} & {problem.question for problem in test}
    for problem in train + test:
        numbers, signs = (
            re.findall(r"\d+", problem.question),
            re.findall(r" ([+-]) ", problem.question),
        )
        total = int(numbers[0]) + sum(
            int(f"{sign}{number}") for sign, number in zip(signs, numbers[1:], strict=True)
        )
        assert problem.answer == str(total), problem.question
    with pytest.raises(ValueError, match="makes no problems named 'nonesuch'"):
        load_problems("train", "reasoning_gym:nonesuch")


# --- files ----------------------------------------------------------------------------------------


def write(folder, *lines, split="train"):
    folder.mkdir(exist_ok=True)
    (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


def line(question="3 + 4 = ?", answer="7", **more):
    return json.dumps({"question": question, "answer": answer} | more)


def test_a_folder_of_problems_is_read_in_order(tmp_path):
    folder = write(tmp_path, *(line(f"{i} + 1 = ?", str(i + 1)) for i in range(5)))
    write(tmp_path, line("9 + 9 = ?", "18"), split="test")
    assert load_problems("train", folder) == [Problem(f"{i} + 1 = ?", str(i + 1)) for i in range(5)]
    assert load_problems("test", folder) == [Problem("9 + 9 = ?", "18")]


def test_blank_lines_further_keys_and_white_space_do_not_matter(tmp_path):
    folder = write(
        tmp_path,
        "",
        line(" 3 + 4 = ? ", " 7\t", source="a book"),
        "   ",
        "",
        line("5", "5") + "\r",
        "",
    )
    assert load_problems("train", folder) == [Problem("3 + 4 = ?", "7"), Problem("5", "5")]


MADE_UP_IN_THE_MANNER_OF_GSM8K = [
    (
        "A baker makes 12 trays of 90 rolls. How many rolls are that?",
        "Each tray holds 90 rolls.\nIn all there are 12*90=<<12*90=1080>>1080 rolls.\n#### 1,080",
        "1080",
    ),
    (
        "A lake loses 3 of 1,000,000 litres. What is left?",
        "1,000,000-3 litres.\n#### 999,997",
        "999997",
    ),
    ("Ida owes 4 coins and has none. What is she worth?", "0-4=<<0-4=-4>>-4\n#### -4", "-4"),
    ("What is half of 5?", "5/2=<<5/2=2.5>>2.5\n####2.5  ", "2.5"),
    (
        "A row with the sign twice: how many?",
        "The mark #### stands before the number.\n#### 12",
        "12",
    ),
]


def test_answers_in_the_manner_of_gsm8k_are_understood(tmp_path):
    folder = write(
        tmp_path,
        *(line(question, worked) for question, worked, _ in MADE_UP_IN_THE_MANNER_OF_GSM8K),
    )
    problems = load_problems("train", folder)
    assert problems == [
        Problem(question, answer) for question, _, answer in MADE_UP_IN_THE_MANNER_OF_GSM8K
    ]
    for problem in problems:
        assert parse_number(problem.answer) == problem.answer
    assert answers_match("$1,080.00", problems[0].answer)


def test_other_answers_are_left_as_they_are():
    assert gold_answer("1,080") == "1,080"
    assert gold_answer("one half") == "one half"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_line_feeds_end_a_line(tmp_path, separator):
    """A JSON text may hold U+2028 and its like as they are: to Python's splitlines they end a line,
    in a file of JSON lines they do not. (JSON escapes the ASCII ones, which makes no difference
    here.)"""
    question = f"First part.{separator}Second part: 3 + 4 = ?"
    row = json.dumps({"question": question, "answer": "7"}, ensure_ascii=False)
    assert load_problems("train", write(tmp_path, row, line("5", "5"))) == [
        Problem(question, "7"),
        Problem("5", "5"),
    ]


def test_a_split_that_does_not_exist():
    with pytest.raises(ValueError, match='split must be "train" or "test", not \'dev\''):
        load_problems("dev")


@pytest.mark.parametrize("source", ["nonesuch", "gsm9k", "no/such/folder"])
def test_a_source_that_does_not_exist(source):
    with pytest.raises(
        ValueError,
        match=(
            f"no problems at '{source}': give 'tiny', 'arithmetic', 'addition', 'two_step', 'gsm8k'"
        ),
    ):
        load_problems("train", source)


def test_a_folder_without_the_file_of_the_split(tmp_path):
    folder = write(tmp_path / "mine", line())
    with pytest.raises(ValueError, match="no problem file test.jsonl in the folder 'mine'"):
        load_problems("test", folder)


@pytest.mark.parametrize("content", ["", "\n\n", "   \n"])
def test_an_empty_file(tmp_path, content):
    (tmp_path / "train.jsonl").write_text(content)
    with pytest.raises(
        ValueError, match="train.jsonl holds no problems: expected one JSON object per line"
    ):
        load_problems("train", str(tmp_path))


BROKEN_LINES = {
    "cut off": '{"question": "3 + 4',
    "no JSON": "question: 3 + 4, answer: 7",
    "a list": '["3 + 4", "7"]',
    "a number": "7",
    "a text": '"question"',
    "null": "null",
    "no answer": '{"question": "3 + 4 = ?"}',
    "no question": '{"answer": "7"}',
    "the answer as a number": '{"question": "3 + 4 = ?", "answer": 7}',
    "the question as a list": '{"question": ["3 + 4 = ?"], "answer": "7"}',
    "no text in the answer": '{"question": "3 + 4 = ?", "answer": null}',
    "an empty question": '{"question": "", "answer": "7"}',
    "a blank answer": '{"question": "3 + 4 = ?", "answer": "  "}',
    "no number after the mark": '{"question": "3 + 4 = ?", "answer": "3+4=7 ####"}',
    "an answer that is no number": '{"question": "3 + 4 = ?", "answer": "blue"}',
    "two objects": '{"question": "3 + 4 = ?", "answer": "7"} {"question": "5", "answer": "5"}',
}


@pytest.mark.parametrize("broken", BROKEN_LINES.values(), ids=BROKEN_LINES.keys())
def test_a_broken_line_is_named_with_its_file(tmp_path, broken):
    folder = write(tmp_path, line(), "", broken, line("5", "5"))
    with pytest.raises(
        ValueError, match="train.jsonl, line 3 is no problem: expected .*question.*answer"
    ):
        load_problems("train", folder)


def test_a_folder_may_be_given_as_a_path(tmp_path):
    assert load_problems("train", Path(write(tmp_path, line("5", "5")))) == load_problems(
        "train", str(tmp_path)
    )


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "train.jsonl").write_bytes(
        line().encode() + b'\n{"question": "Wie gro\xdf?", "answer": "7"}\n'
    )
    with pytest.raises(ValueError, match="train.jsonl"):
        load_problems("train", str(tmp_path))


def test_read_jsonl_names_no_path_of_the_machine(tmp_path):
    folder = write(tmp_path / "mine", "{broken")
    with pytest.raises(ValueError) as caught:
        load_problems("train", folder)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(ValueError) as caught:
        read_jsonl(tmp_path / "mine" / "other.jsonl")
    assert str(tmp_path) not in str(caught.value)


# Reference answers of which no part may be taken: decimal commas, wrong groups, other digits, sums,
# several numbers.
NOT_ONE_NUMBER = """
2,5 | 0,5 | -2,5 | 12,34 | 2,50 € | $2,50 | 1,08 | 1.080,00 | 1.080.000 | 1,00,000 | 10,80 | 1080,000 | 1,080,5 | ,5
1,,080 | 0,125 | 1 234 | 1 234,5 | 1'234 | 1_234 | 1·5 | 1/2 | 1 1/2 | 3:2 | ½ | 2½ | 5e3 | 5E3 | 5×10^3 | 10^3 | 2**3
٣ | ７ | 5² | 0x10 | 70-72 | 70 to 72 | 72 or 73 | 72, 73 | 72; 73 | 72 and 73 | 70 + 2 | 72 million | half of 72 | 72!
√72 | ±72 | ~72 | about 72 | not 72 | 12:30 | 2024-01-02 | nan | inf | seventy-two | 72x | \\frac{1}{2} | 3.33...
72 or so | 72 k | double 72 | wrong: 72
"""
NOT_ONE_NUMBER = [
    answer for row in NOT_ONE_NUMBER.strip().splitlines() for answer in row.split(" | ")
]


@pytest.mark.parametrize("answer", NOT_ONE_NUMBER)
@pytest.mark.parametrize("worked", ["{}", "#### {}", "It is 3 + 4.\n#### {}", "####{}"])
def test_a_reference_answer_that_is_not_one_plain_number_is_refused_by_its_line(
    tmp_path, answer, worked
):
    folder = write(tmp_path, line(), "", line(answer=worked.format(answer)))
    with pytest.raises(
        ValueError, match="train.jsonl, line 3 is no problem: .* does not state one plain number"
    ):
        load_problems("train", folder)


@pytest.mark.parametrize(
    "answer, number",
    [
        ("1,080", "1080"),
        ("#### $1,080.50", "1080.5"),
        ("#### -4", "-4"),
        ("2.5", "2.5"),
        ("1,234,567.89", "1234567.89"),
        ("72 clips", "72"),
        ("72 %", "72"),
        ("#### 72 #### 72.0", "72"),
        ("#### First step\n48\n#### 72", "72"),
        ("He counts 12 of them.\n#### 11", "11"),
    ],
)
def test_reference_answers_are_kept_as_the_number_that_they_state(tmp_path, answer, number):
    (problem,) = load_problems("train", write(tmp_path, line(answer=answer)))
    assert problem.answer == number and answers_match(number, problem.answer)


@pytest.mark.parametrize("first", ["11", "2,5", "1/2", "half of 24", "12 or 13"])
def test_two_final_answers_are_refused(tmp_path, first):
    answer = f"It is so.\n#### {first}\nOr not?\n#### 12"
    with pytest.raises(ValueError, match="line 1 is no problem"):
        load_problems("train", write(tmp_path, line(answer=answer)))


@pytest.mark.parametrize(
    "row", [{"question": "3 + \ud83d = ?"}, {"answer": "#### 7 \udc00"}, {"answer": "\ud800"}]
)
def test_half_of_a_surrogate_pair_is_refused_by_its_line(tmp_path, row):
    folder = write(tmp_path, line(), line(**row), line(question="\U0001f600 + 1 = ?"))
    with pytest.raises(
        ValueError, match=r"train.jsonl, line 2 is no problem: .*half of a surrogate pair"
    ):
        load_problems("train", folder)


def test_the_line_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "train.jsonl").write_bytes(
        line().encode() + b"\n\n" + b'{"question": "\xed\xa0\xbd", "answer": "7"}\n'
    )
    with pytest.raises(ValueError, match="train.jsonl, line 3 is no UTF-8 text"):
        load_problems("train", str(tmp_path))


@pytest.mark.skipif(not GSM8K.is_dir(), reason="GSM8K is not on this machine")
@pytest.mark.parametrize("split, count", [("train", 7473), ("test", 1319)])
def test_all_of_gsm8k_is_loaded(split, count):
    problems = load_problems(split, GSM8K)
    rows = [
        json.loads(row)["answer"]
        for row in (GSM8K / f"{split}.jsonl").read_text("utf-8").strip().split("\n")
    ]
    assert len(problems) == count
    assert [problem.answer for problem in problems] == [
        row.split("#### ")[1].replace(",", "") for row in rows
    ]


# --- the hub --------------------------------------------------------------------------------------


def test_gsm8k_comes_from_the_hub_in_the_same_form(monkeypatch):
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return [
            {"question": question, "answer": worked}
            for question, worked, _ in MADE_UP_IN_THE_MANNER_OF_GSM8K
        ]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    problems = load_problems("test", "gsm8k")
    assert problems == [
        Problem(question, answer) for question, _, answer in MADE_UP_IN_THE_MANNER_OF_GSM8K
    ]
    assert asked == [(("openai/gsm8k", "main"), {"split": "test"})]


@pytest.mark.parametrize("answer", ["#### 2,5", "#### 1/2", "#### 7 \ud83d"])
def test_a_row_of_the_hub_meets_the_same_door(monkeypatch, answer):
    rows = [{"question": "1 + 1?", "answer": "#### 2"}, {"question": "5 / 2?", "answer": answer}]
    monkeypatch.setitem(
        sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_, **__: rows)
    )
    with pytest.raises(ValueError, match="openai/gsm8k, test, row 2 is no problem"):
        load_problems("test", "gsm8k")


@pytest.mark.parametrize(
    "error", [ConnectionError("unreachable"), FileNotFoundError("no cache"), ValueError("no such")]
)
def test_gsm8k_without_a_network_says_what_to_do(monkeypatch, error):
    def load_dataset(*_, **__):
        raise error

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(
        ValueError, match="could not be loaded from the hub.*Without a network give the folder"
    ):
        load_problems("train", "gsm8k")


def test_a_file_of_a_windows_editor_is_read(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(
            '{"question": "1 + 1?", "answer": "2"}\n', encoding="utf-8-sig"
        )
    assert load_problems("train", str(tmp_path)) == [Problem("1 + 1?", "2")]


@pytest.mark.parametrize(
    "line, what", [('{"question": "1 + 1?"}', "the key 'answer' is missing"), ("[" * 100_000, "")]
)
def test_a_broken_line_is_named_without_a_traceback_of_its_own(tmp_path, line, what):
    (tmp_path / "train.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"train.jsonl, line 1 is no problem: .*\(.*{what}"):
        load_problems("train", str(tmp_path))
