"""Problems with answers that can be verified: where they come from and how they are read.

A problem is a question and its answer. `load_problems` reads three sources: "tiny" (generated word problems that
lie in `data/`), "arithmetic" (two-operand sums, generated on the spot) and "gsm8k" (from the hub or a local folder).
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"

PEOPLE = {"He": ["Ben", "Tom", "Max", "Leo", "Sam", "Dan"], "She": ["Anna", "Mia", "Zoe", "Eva", "Ida", "Lily"]}
THINGS = ["stamps", "clips", "coins", "cards", "shells", "books", "pens", "marbles", "stickers", "beads"]
CONTAINERS = ["bags", "boxes", "packs"]
GAIN = ["wins", "finds", "gets"]
LOSE = ["loses", "sells", "drops"]


@dataclass(frozen=True)
class Problem:
    """One question and its verifiable answer, a number as text ("38")."""

    question: str
    answer: str


@dataclass(frozen=True)
class Step:
    """One sentence of a word problem: `kind` is "gain", "lose", "bags" (bags x number gained) or "distractor"."""

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

    In 30 % of the problems one sentence is about somebody else and changes nothing (the distractor).
    """
    pronoun, other = rng.choice([("He", "She"), ("She", "He")])
    name, thing = rng.choice(PEOPLE[pronoun]), rng.choice(THINGS)
    start = total = rng.randint(4, 40)
    sentences, steps = [f"{name} has {total} {thing}."], []
    for _ in range(rng.choice([2, 3, 3, 4, 4, 5])):
        step = _random_step(rng, total, steps)
        total += {"gain": 1, "lose": -1, "bags": step.bags}[step.kind] * step.number
        sentences.append(_sentence(rng, pronoun, step))
        steps.append(step)
    if rng.random() < 0.3:
        place = rng.randint(0, len(steps) - 1)
        steps.insert(place, Step("distractor", rng.randint(2, 15)))
        sentences.insert(place + 1, f"{rng.choice(PEOPLE[other])} has {steps[place].number} {thing}.")
    sentences.append(f"How many {thing} does {name} have now?")
    return WordProblem(" ".join(sentences), str(total), start, tuple(steps))


def _random_step(rng: random.Random, total: int, before: list[Step]) -> Step:
    """A step that keeps the total within 0 to 99; at most two steps of a problem are bags."""
    while True:
        kind = rng.choice(["gain", "lose", "bags"])
        step = Step(kind, rng.randint(2, 6 if kind == "bags" else 15), rng.randint(2, 4) if kind == "bags" else 1)
        if kind == "bags" and (sum(s.kind == "bags" for s in before) == 2 or total + step.bags * step.number > 99):
            continue
        if (kind == "gain" and total + step.number > 99) or (kind == "lose" and step.number > total):
            continue
        return step


def _sentence(rng: random.Random, pronoun: str, step: Step) -> str:
    if step.kind == "bags":
        return f"{pronoun} buys {step.bags} {rng.choice(CONTAINERS)} of {step.number}."
    return f"{pronoun} {rng.choice(GAIN if step.kind == 'gain' else LOSE)} {step.number}."


def generate_arithmetic(rng: random.Random, largest: int = 99) -> Problem:
    """A two-operand addition or subtraction, for example "What is 27 + 58?", with a result of at least 0."""
    a, b = rng.randint(2, largest), rng.randint(2, largest)
    if rng.random() < 0.5:
        return Problem(f"What is {a} + {b}?", str(a + b))
    return Problem(f"What is {max(a, b)} - {min(a, b)}?", str(abs(a - b)))


def load_problems(split: str, source: str = "tiny") -> list[Problem]:
    """The problems of a split, always in the same order.

    split:  "train" or "test" (held out: no test problem is in train).
    source: "tiny", "arithmetic", "gsm8k", or a folder that holds train.jsonl and test.jsonl, one
            {"question": ..., "answer": ...} a line; GSM8K's own "... #### 72" answers are understood.
    Raises ValueError on an unknown split or source and on a broken line (it names file and line).
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", not {split!r}')
    if source == "tiny":
        return read_jsonl(DATA / "problems" / f"{split}.jsonl")
    if source == "arithmetic":
        return _arithmetic_split(split)
    if source == "gsm8k":
        return _gsm8k_from_hub(split)
    if Path(source).is_dir():
        return read_jsonl(Path(source) / f"{split}.jsonl")
    raise ValueError(
        f"no problems at {source!r}: give 'tiny', 'arithmetic', 'gsm8k', or a folder with train.jsonl and test.jsonl"
    )


def read_jsonl(path: Path) -> list[Problem]:
    """Problems from a file with one JSON object a line. Raises ValueError that names the line to mend."""
    if not path.is_file():
        raise ValueError(
            f"there is no problem file {path.name} in the folder {path.parent.name!r}; expected one JSON object a line"
        )
    problems = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would also break lines at U+2028
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is no UTF-8 text ({error.reason}): save it as UTF-8") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            problems.append(Problem(_text(row["question"]), _text(gold_answer(_text(row["answer"])))))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path.name}, line {number} is no problem: expected {{"question": text, "answer": text}} ({error!r})'
            ) from error
    if not problems:
        raise ValueError(f"{path.name} holds no problems: expected one JSON object a line")
    return problems


def _text(value) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{value!r} is no text")
    return value.strip()


def gold_answer(answer: str) -> str:
    """The final number of a GSM8K worked answer ("... #### 1,080" gives "1080"); other answers are left as they are."""
    return answer.rpartition("####")[2].strip().replace(",", "") if "####" in answer else answer


def _arithmetic_split(split: str) -> list[Problem]:
    """2,000 train or 500 test sums from fixed seeds; questions of the test split never stand in train."""
    rng = random.Random(20_01)
    unique = {problem.question: problem for problem in (generate_arithmetic(rng) for _ in range(6000))}
    problems = list(unique.values())
    return problems[:500] if split == "test" else problems[500:2500]


def _gsm8k_from_hub(split: str) -> list[Problem]:
    from datasets import load_dataset  # slow to import, and needed only here

    try:
        rows = load_dataset("openai/gsm8k", "main", split=split)
    except Exception as error:
        raise ValueError(
            "GSM8K could not be loaded from the hub (openai/gsm8k). Without a network give the folder that holds "
            "its train.jsonl and test.jsonl as source."
        ) from error
    return [Problem(row["question"], gold_answer(row["answer"])) for row in rows]
