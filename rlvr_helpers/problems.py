"""Problems with answers that can be verified: where they come from and how they are read.

A problem is a question and its answer. `load_problems` reads them: "tiny" (generated word problems
that lie in `data/`), "arithmetic" and "two_step" (generated on the spot, for small language
models), "gsm8k" (from the hub or a local folder), and whatever of the package reasoning-gym has a
number for an answer.
"""

import random
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rlvr_helpers.engine.problem_words import CONTAINERS, GAIN, LOSE, PEOPLE, THINGS, TWO_STEP
from rlvr_helpers.engine.row_files import find_file, read_rows
from rlvr_helpers.paths import DATA
from rlvr_helpers.rewards import parse_number


@dataclass(frozen=True)
class Problem:
    """One question and its verifiable answer, a number as text ("38").

    With a scorer of your own the answer can be anything. columns: what else stands in the row of
    its file. `problem["numbers"]` is the column of that name, the question and the answer included.
    """

    question: str
    answer: str
    columns: dict = field(default_factory=dict, kw_only=True, compare=False, repr=False)

    def __getitem__(self, name: str) -> object:
        row = {"question": self.question, "answer": self.answer} | self.columns
        if name not in row:
            raise KeyError(
                f"the problem has no column {name!r}, it has {', '.join(row)}: choose one"
            )
        return row[name]


@dataclass(frozen=True)
class Step:
    """One sentence of a word problem: `kind` is "gain", "lose", "bags" (bags x number gained) or
    "distractor"."""

    kind: str
    number: int
    bags: int = 1


@dataclass(frozen=True)
class WordProblem(Problem):
    """A generated problem with what made it: the first total and the steps in order."""

    start: int
    steps: tuple[Step, ...]

    @property
    def operations(self) -> int:
        return sum(step.kind != "distractor" for step in self.steps)


def generate_word_problem(rng: random.Random) -> WordProblem:
    """A word problem of 2 to 5 operations on a running total that stays within 0 to 99.

    In 30 % of the problems one sentence is about somebody else and changes nothing (the
    distractor).
    """
    # Who has what, and how much of it.
    pronoun, other = rng.choice([("He", "She"), ("She", "He")])
    name = rng.choice(PEOPLE[pronoun])
    thing = rng.choice(THINGS)
    start = total = rng.randint(4, 40)
    sentences = [f"{name} has {total} {thing}."]
    steps = []
    # The steps, each as a sentence.
    for _ in range(rng.choice([2, 3, 3, 4, 4, 5])):
        step = _random_step(rng, total, steps)
        total += {"gain": 1, "lose": -1, "bags": step.bags}[step.kind] * step.number
        sentences.append(_sentence(rng, pronoun, step))
        steps.append(step)
    # Somebody else's things, which change nothing.
    if rng.random() < 0.3:
        place = rng.randint(0, len(steps) - 1)
        steps.insert(place, Step("distractor", rng.randint(2, 15)))
        sentences.insert(
            place + 1, f"{rng.choice(PEOPLE[other])} has {steps[place].number} {thing}."
        )
    sentences.append(f"How many {thing} does {name} have now?")
    return WordProblem(" ".join(sentences), str(total), start, steps=tuple(steps))


def _random_step(rng: random.Random, total: int, before: list[Step]) -> Step:
    """A step that keeps the total within 0 to 99. At most two steps of a problem are bags."""
    while True:
        # Propose a step, and draw again if the total would leave 0 to 99.
        kind = rng.choice(["gain", "lose", "bags"])
        step = Step(
            kind,
            rng.randint(2, 6 if kind == "bags" else 15),
            rng.randint(2, 4) if kind == "bags" else 1,
        )
        if kind == "bags" and (
            sum(s.kind == "bags" for s in before) == 2 or total + step.bags * step.number > 99
        ):
            continue
        if (kind == "gain" and total + step.number > 99) or (
            kind == "lose" and step.number > total
        ):
            continue
        return step


def _sentence(rng: random.Random, pronoun: str, step: Step) -> str:
    if step.kind == "bags":
        return f"{pronoun} buys {step.bags} {rng.choice(CONTAINERS)} of {step.number}."
    return f"{pronoun} {rng.choice(GAIN if step.kind == 'gain' else LOSE)} {step.number}."


@dataclass(frozen=True)
class Equation:
    """One line of a worked solution, for example "6 x 3 = 18". `sign` is "+", "-" or "x"."""

    left: int
    sign: str
    right: int

    @property
    def result(self) -> int:
        return {
            "+": self.left + self.right,
            "-": self.left - self.right,
            "x": self.left * self.right,
        }[self.sign]

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right} = {self.result}"


@dataclass(frozen=True)
class WorkedProblem(Problem):
    """A generated problem with the equations that solve it, in order. The last one gives the
    answer."""

    equations: tuple[Equation, ...]


def generate_arithmetic(rng: random.Random, largest: int = 99) -> WorkedProblem:
    """A two-operand addition or subtraction, for example "What is 27 + 58?", with a result of at
    least 0."""
    # The larger number first, so that a difference is never below 0.
    a = rng.randint(2, largest)
    b = rng.randint(2, largest)
    equation = Equation(a, "+", b) if rng.random() < 0.5 else Equation(max(a, b), "-", min(a, b))
    question = f"What is {equation.left} {equation.sign} {equation.right}?"
    return WorkedProblem(question, str(equation.result), (equation,))


def generate_two_step(rng: random.Random) -> WorkedProblem:
    """A word problem of two steps with small numbers and an answer from 0 to 99."""
    # A pattern of two steps, and numbers that fit it.
    first, second, text = rng.choice(TWO_STEP)
    numbers, equations = _two_step_numbers(rng, first, second)
    # The words around them.
    he = rng.choice(["He", "She"])
    name = rng.choice(PEOPLE[he])
    thing = rng.choice(THINGS)
    words = {
        "gain": rng.choice(GAIN),
        "lose": rng.choice(LOSE),
        "containers": rng.choice(CONTAINERS),
    }
    question = text.format(
        name=name,
        He=he,
        he=he.lower(),
        thing=thing,
        how_many=f"How many {thing} does {name}",
        **words,
        **numbers,
    )
    return WorkedProblem(question, str(equations[1].result), equations)


def _two_step_numbers(
    rng: random.Random, first: str, second: str
) -> tuple[dict, tuple[Equation, Equation]]:
    """Numbers for a, b and c, and both equations: 2 to 20, in a product 2 to 6, and no result below
    0 or above 99."""
    while True:
        numbers = {letter: rng.randint(2, 20) for letter in "abc"}
        # A factor is small, 2 to 6.
        numbers |= {
            letter: 2 + numbers[letter] % 5 for letter in "abc" if _is_factor(letter, first, second)
        }
        one = _equation(first, numbers)
        # Else there would seldom be anything left.
        if second == "c - r":
            numbers["c"] += one.result
        two = _equation(second, numbers | {"r": one.result})
        if one.result >= 0 and 0 <= two.result <= 99:
            return numbers, (one, two)


def _is_factor(letter: str, *steps: str) -> bool:
    return any("x" in step and letter in step for step in steps)


def _equation(step: str, numbers: dict[str, int]) -> Equation:
    left, sign, right = step.split()
    return Equation(numbers[left], sign, numbers[right])


REASONING_GYM = "reasoning_gym:"


def load_problems(split: str, source: str | Path = "tiny", numbers: bool = True) -> list[Problem]:
    """The problems of a split, always in the same order.

    split:   "train" or "test" (held out: no test problem is in train).
    source:  "tiny", "arithmetic", "addition" (only the additions of "arithmetic"), "two_step" or
             "gsm8k". Or a folder that holds train.jsonl and test.jsonl, one
             {"question": ..., "answer": ...} per line, or the same as .csv or .parquet. Further
             columns stay with the problem. GSM8K's own "... #### 72" answers are understood.
             "reasoning_gym:chain_sum" asks the generator of that name in the package
             reasoning-gym, if it is installed. Rows whose answer is not one number, as
             `parse_number` reads it, are left out there.
    numbers: every answer must be one number, and is kept in canonical form ("1080" for
             "#### 1,080"). False, for a scorer of your own: answers stay as they are, and
             may be missing.
    Raises ValueError on an unknown split or source and on a broken line or answer. It names file
    and line.
    """
    # A source can be a Path.
    source = str(source)
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", not {split!r}')
    # The sources that are known by name.
    made = {
        "tiny": lambda: read_jsonl(DATA / "problems" / f"{split}.jsonl"),
        "arithmetic": lambda: _arithmetic_split(split),
        "addition": lambda: [p for p in _arithmetic_split(split) if "+" in p.question],
        "two_step": lambda: _two_step_split(split),
        "gsm8k": lambda: _gsm8k_from_hub(split),
    }
    if source in made:
        return made[source]()
    # Those that are not: a generator of another package, or a folder.
    if source.startswith(REASONING_GYM):
        return _reasoning_gym_split(split, source.removeprefix(REASONING_GYM), numbers)
    if Path(source).is_dir():
        return read_jsonl(find_file(Path(source), split), numbers)
    raise ValueError(
        f"no problems at {source!r}: give 'tiny', 'arithmetic', 'addition', 'two_step', 'gsm8k', "
        "'reasoning_gym:NAME', or a folder with train.jsonl and test.jsonl"
    )


def read_jsonl(path: Path, numbers: bool = True) -> list[Problem]:
    """Problems from a file with one JSON object per line, or from a CSV or Parquet file.

    Raises ValueError that names the line to fix.
    """
    return read_rows(path, lambda row: _problem(row, numbers))


def _problem(row: dict, numbers: bool = True) -> Problem:
    """The door for every source: a problem from a row. See `load_problems` on `numbers`.

    Raises KeyError without a question or answer, TypeError if one of the two is no text, and
    ValueError if the answer is not exactly one number or a text cannot be encoded.
    """
    question = _text(row["question"])
    answer = _number(row["answer"]) if numbers else _any_answer(row.get("answer", ""))
    columns = {name: value for name, value in row.items() if name not in ("question", "answer")}
    return Problem(question, answer, columns=columns)


def _number(answer: str) -> str:
    number = parse_number(gold_answer(_text(answer)))
    # GSM8K's answers can hold more than one "####". Those with a number must agree.
    finals = [part.partition("\n")[0] for part in answer.split("####")[1:]]
    finals = [final for final in finals if any(map(str.isnumeric, final))]
    if number is None or any(parse_number(final) != number for final in finals):
        raise ValueError(
            f"the answer {answer.strip()[-40:]!r} does not state one plain number such as 1,080 or"
            " 2.5: write decimals after a point, and commas only between groups of three digits."
            " Other answers need a scorer of your own and load_problems(..., numbers=False)"
        )
    return number


def _any_answer(answer: object) -> object:
    return gold_answer(_text(answer)) if isinstance(answer, str) and answer.strip() else answer


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{value!r} is no text")
    check_encodable(value, "it")
    return value.strip()


def check_encodable(text: str, what: str) -> None:
    """Raises ValueError on a text that no tokenizer takes. what: which text it is, for the
    error."""
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError(
            f"{what} holds half of a surrogate pair such as \\ud83d, which no tokenizer can encode:"
            " write the whole character"
        )


def gold_answer(answer: str) -> str:
    """The final number of a GSM8K worked answer ("... #### 1,080" gives "1080"). Other answers are
    left as they are."""
    _, mark, final = answer.rpartition("####")
    return parse_number(final) or final.strip() if mark else answer


def _arithmetic_split(split: str) -> list[Problem]:
    """2,000 train or 500 test sums from a fixed seed. No question of the test split stands in
    train."""
    rng = random.Random(20_01)
    # Each question once, so that no test question can stand in train.
    unique = {
        problem.question: problem for problem in (generate_arithmetic(rng) for _ in range(6000))
    }
    problems = list(unique.values())
    return problems[:500] if split == "test" else problems[500:2500]


def _two_step_split(split: str) -> list[Problem]:
    """2,000 train or 500 test word problems from a fixed seed. No two have the same equations, so
    that no test problem stands in train under other names."""
    rng = random.Random(20_02)
    # Each pair of equations once, whatever the names around it.
    unique = {}
    while len(unique) < 2500:
        problem = generate_two_step(rng)
        unique.setdefault(problem.equations, problem)
    problems = list(unique.values())
    return problems[:500] if split == "test" else problems[500:]


def _reasoning_gym_split(split: str, name: str, numbers: bool) -> list[Problem]:
    """The first fifth of up to 2,500 different questions of a generator is the test split, the rest
    train."""
    try:
        import reasoning_gym  # optional, and slow to import
    except ImportError as error:
        raise ValueError(
            f"the problems 'reasoning_gym:{name}' need the package reasoning-gym: pip install"
            " reasoning-gym"
        ) from error
    try:
        rows = list(reasoning_gym.create_dataset(name, size=3000, seed=20_03))
    # An unknown name, a needed option, a package that the generator lacks.
    except Exception as error:
        raise ValueError(
            f"reasoning-gym makes no problems named {name!r} ({str(error)[:150]}): choose another"
        ) from error
    unique = {}
    for row in rows:
        # What is not one number is left out.
        with suppress(ValueError, TypeError):
            row = {**row, "answer": str(row["answer"])} if numbers else row
            problem = _problem(row, numbers)
            unique.setdefault(problem.question, problem)
    problems = list(unique.values())[:2500]
    if len(problems) < 2:
        raise ValueError(
            f"of reasoning-gym's {name!r} too few answers are one number: choose another name"
        )
    # At least one problem on either side.
    held_out = max(1, len(problems) // 5)
    return problems[:held_out] if split == "test" else problems[held_out:]


def _gsm8k_from_hub(split: str) -> list[Problem]:
    from datasets import load_dataset  # slow to import, and needed only here

    try:
        rows = load_dataset("openai/gsm8k", "main", split=split)
    except Exception as error:
        raise ValueError(
            "GSM8K could not be loaded from the hub (openai/gsm8k). Without a network give the"
            " folder that holds its train.jsonl and test.jsonl as source."
        ) from error
    problems = []
    for number, row in enumerate(rows, start=1):
        try:
            problems.append(_problem(row))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"openai/gsm8k, {split}, row {number} is no problem ({error}). Give"
                " a folder with corrected files"
            ) from error
    return problems
