"""Which one wins, and can you tell? Accuracy with its interval, strict and lenient, pass@k, and
paired comparisons."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch

from rlvr_helpers.engine.json_files import typed
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.rewards import Score, as_scorer, score_completion
from rlvr_helpers.sampling import Rollout, sample_groups

# Two-sided 95 % quantile of the normal distribution.
Z_95 = 1.959963984540054
# Completions of the held-out problem that is read.
READ_AT_ONCE = 4
VERDICTS = ("strict", "lenient", "formatted", "lengths", "truncated")


@dataclass(frozen=True)
class Evaluation:
    """One verdict for each problem (or for each of k samples of it), in the order of the problems.

    strict:    correct, as the scorer says (by default, what the answer tag says)
    lenient:   correct if the last number counts where the tag is missing
    formatted: both blocks in order
    lengths:   tokens
    truncated: cut off by the budget
    parts:     the numbers that a scorer of your own named
    All lists have the same length.
    """

    strict: list[bool]
    lenient: list[bool]
    formatted: list[bool]
    lengths: list[int]
    truncated: list[bool]
    parts: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # As many verdicts of each kind, and of each part that the scorer named.
        lists = [getattr(self, name) for name in VERDICTS]
        counts = {len(values) for values in [*lists, *self.parts.values()]}
        if len(counts) > 1 or 0 in counts:
            raise ValueError(
                "an evaluation needs as many verdicts of each kind, at least 1, not"
                f" {sorted(counts)}"
            )

    @property
    def accuracy(self) -> float:
        """Strict accuracy, 0 to 1."""
        return sum(self.strict) / len(self.strict)

    @property
    def lenient_accuracy(self) -> float:
        return sum(self.lenient) / len(self.lenient)

    @property
    def format_rate(self) -> float:
        return sum(self.formatted) / len(self.formatted)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the strict accuracy."""
        return wilson_interval(sum(self.strict), len(self.strict))

    def to_dict(self) -> dict:
        """Plain lists of 0 and 1 for a JSON file. `Evaluation.from_dict` reads them."""
        data = {name: [int(value) for value in getattr(self, name)] for name in VERDICTS}
        return data | ({"parts": asdict(self)["parts"]} if self.parts else {})

    @property
    def part_means(self) -> dict[str, float]:
        """The mean of each part that the scorer named."""
        return {name: sum(values) / len(values) for name, values in self.parts.items()}

    @classmethod
    def from_dict(cls, data: dict) -> "Evaluation":
        """Raises ValueError on data that are no evaluation."""
        return typed(cls, data)


def score_rollout(
    scorer: Callable[..., Any], rollout: Rollout, problems: list[Problem]
) -> list[Score]:
    """The score of every completion. Problem p owns rows p * G to p * G + G - 1."""
    # A problem stands there once for each of its completions.
    of_rows = [problem for problem in problems for _ in range(rollout.group_size)]
    pairs = zip(rollout.texts, of_rows, strict=True)
    return [score_completion(scorer, text, problem) for text, problem in pairs]


def judge(
    rollout: Rollout, problems: list[Problem], scores: list[Score] | None = None
) -> Evaluation:
    """The verdicts on a rollout. scores: from `score_rollout`. None: those of the reader of
    numbers."""
    scores = score_rollout(as_scorer(), rollout, problems) if scores is None else scores
    return Evaluation(
        strict=[score.correct for score in scores],
        lenient=[score.lenient for score in scores],
        formatted=[score.formatted for score in scores],
        lengths=rollout.lengths.tolist(),
        truncated=rollout.truncated.tolist(),
        parts=_side_by_side([score.parts for score in scores]),
    )


def _side_by_side(rows: list[dict]) -> dict[str, list]:
    """A list for each named part, from one dict for each row. Raises ValueError if the names are
    not the same everywhere."""
    for row in rows:
        if row.keys() != rows[0].keys():
            raise ValueError(
                f"the scorer named the parts {', '.join(rows[0])} once and {', '.join(row)} another"
                " time: return the same parts for every completion"
            )
    return {name: [row[name] for row in rows] for name in rows[0]}


def evaluate(
    policy: Policy,
    problems: list[Problem],
    max_tokens: int,
    temperature: float = 0.0,
    samples: int = 1,
    generator: torch.Generator | None = None,
    batch_size: int | None = None,
    scorer: Callable[..., Any] | None = None,
) -> Evaluation:
    """Answers every problem `samples` times (temperature 0: greedy) and judges the answers. Rows
    are problem-major.

    batch_size: answers that are made at once. None: 256 on a CPU; on a GPU all of them, or half of
        that, and so on, until they fit its memory.
    scorer: what is correct (`rewards.as_scorer`). None: the number in the answer tag.
    """
    if not problems:
        raise ValueError("there are no problems to evaluate on: give at least one")
    if samples < 1:
        raise ValueError(f"samples must be at least 1 a problem, not {samples}")
    # A GPU's memory decides how many answers are made at once.
    if batch_size is None and policy.device.type == "cuda":
        answer = partial(evaluate, scorer=scorer)
        return evaluate_at_once(
            policy,
            problems,
            max_tokens,
            temperature=temperature,
            samples=samples,
            generator=generator,
            answer=answer,
        )
    # Sample the problems in batches, and judge each.
    options = {"max_tokens": max_tokens, "temperature": temperature, "generator": generator}
    parts = []
    per_batch = max(1, (batch_size or 256) // samples)
    for start in range(0, len(problems), per_batch):
        batch = problems[start : start + per_batch]
        prompts = [format_prompt(policy, problem.question) for problem in batch]
        rollout = sample_groups(policy, prompts, samples, **options)
        scores = score_rollout(as_scorer(scorer=scorer), rollout, batch)
        parts.append(judge(rollout, batch, scores))
    return _joined(parts)


def _joined(evaluations: list[Evaluation]) -> Evaluation:
    """One evaluation of several batches, in their order."""

    def all_of(lists: list[list]) -> list:
        return [value for values in lists for value in values]

    # The scorer must name the same parts in every batch.
    parts = _side_by_side([one.parts for one in evaluations])
    return Evaluation(
        **{name: all_of([getattr(one, name) for one in evaluations]) for name in VERDICTS},
        parts={name: all_of(lists) for name, lists in parts.items()},
    )


def evaluate_at_once(
    policy: Policy,
    problems: list[Problem],
    max_tokens: int,
    temperature: float = 0.0,
    samples: int = 1,
    generator: torch.Generator | None = None,
    answer: Callable[..., Evaluation] = evaluate,
) -> Evaluation:
    """`evaluate` in the largest batches that fit the memory: all answers at once, else half of
    them, and so on. Each try draws the same noise."""
    # Remember the noise, for the case that a try has to be repeated.
    drawn = generator.get_state() if generator else None
    size = len(problems) * samples
    while True:
        try:
            return answer(
                policy,
                problems,
                max_tokens,
                temperature=temperature,
                samples=samples,
                generator=generator,
                batch_size=size,
            )
        # Too large: take half of it, with the same noise.
        except torch.OutOfMemoryError:
            if size <= samples:
                raise
            size = max(samples, size // 2)
            if generator:
                generator.set_state(drawn)


@dataclass(frozen=True)
class Reading:
    """Completions of one held-out problem, to be read, with what the scorer says of each."""

    question: str
    answer: str
    texts: list[str]
    rewards: list[float]
    correct: list[bool]


def read_completions(
    policy: Policy,
    problem: Problem,
    max_tokens: int,
    temperature: float,
    seed: int,
    scorer: Callable[..., Any] | None = None,
) -> Reading:
    """A few completions of a problem.

    A seed always has the same noise, so that only the model makes a difference. No other generator
    is drawn from.
    """
    generator = torch.Generator().manual_seed(seed)
    rollout = sample_groups(
        policy,
        [format_prompt(policy, problem.question)],
        READ_AT_ONCE,
        max_tokens=max_tokens,
        temperature=temperature,
        generator=generator,
    )
    # What the scorer says of each.
    scores = score_rollout(as_scorer(scorer=scorer), rollout, [problem])
    return Reading(
        problem.question,
        str(problem.answer),
        rollout.texts,
        rewards=[float(score.reward) for score in scores],
        correct=[score.correct for score in scores],
    )


def wilson_interval(correct: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval for a share of correct/total (E. B. Wilson 1927): honest also near 0
    and 1."""
    if not 0 <= correct <= total or total < 1:
        raise ValueError(
            f"correct must lie between 0 and total, and total be at least 1, not {correct} of"
            f" {total}"
        )
    share = correct / total
    scale = 1 + z**2 / total
    # The centre is drawn towards 1/2, and more so for few problems.
    centre = (share + z**2 / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Probability that at least one of k samples is correct, estimated without bias from
    `correct` of `samples` ones.

    1 - C(samples - correct, k) / C(samples, k) (M. Chen et al., arXiv 2107.03374, eq. 1). Raises
    ValueError if k > samples.
    """
    if not (1 <= k <= samples and 0 <= correct <= samples):
        raise ValueError(
            f"need 1 <= k <= samples and 0 <= correct <= samples, not k={k}, samples={samples},"
            f" correct={correct}"
        )
    # One minus the chance that k answers drawn without replacement are all incorrect.
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def mean_pass_at_k(evaluation: Evaluation, samples: int, k: int) -> float:
    """pass@k, averaged over the problems of an evaluation with `samples` answers each."""
    if samples < 1 or len(evaluation.strict) % samples:
        raise ValueError(
            f"{len(evaluation.strict)} verdicts make no whole problems of {samples} samples each:"
            " give the number of samples that they were made with"
        )
    # Answers are problem-major, so each problem's stand together.
    groups = [evaluation.strict[i : i + samples] for i in range(0, len(evaluation.strict), samples)]
    return sum(pass_at_k(samples, sum(group), k) for group in groups) / len(groups)


@dataclass(frozen=True)
class Paired:
    """Two runs on the same problems: how many only one of them solved, and McNemar's exact
    two-sided p-value."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: list[bool], second: list[bool]) -> Paired:
    """Exact McNemar test on paired verdicts (Q. McNemar 1947). It is a statement about these two
    checkpoints on these problems, not about two methods. Raises ValueError if the lists differ in
    length."""
    if len(first) != len(second):
        raise ValueError(
            f"paired verdicts must be on the same problems, not {len(first)} and {len(second)} of"
            " them"
        )
    # Only the problems on which the two differ say anything.
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    n = only_first + only_second
    least = min(only_first, only_second)
    # By chance each of them would fall to either side with probability 1/2.
    tail = sum(math.comb(n, i) for i in range(least + 1)) / 2**n
    return Paired(only_first, only_second, min(1.0, 2 * tail))


def gain_interval(before: list[bool], after: list[bool], z: float = Z_95) -> tuple[float, float]:
    """95 % interval of the gain in share, after less before, on the same problems.

    It is the paired Wald interval with half a problem added to each of the four cells, which keeps
    it honest for few changes (A. Agresti and Y. Min 2005). Raises ValueError if the lists differ in
    length.
    """
    pairs = mcnemar(before, after)
    n = len(before) + 2
    # Half a problem more in each cell, so n grows by two.
    lost = pairs.only_first + 0.5
    gained = pairs.only_second + 0.5
    # As for a mean of n differences that are -1, 0 or 1.
    gain = (gained - lost) / n
    half = z * math.sqrt(lost + gained - (gained - lost) ** 2 / n) / n
    return max(-1.0, gain - half), min(1.0, gain + half)


# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom.
T_95 = [
    float(quantile)
    for quantile in """
    12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201 2.179 2.160 2.145 2.131
    2.120 2.110 2.101 2.093 2.086 2.080 2.074 2.069 2.064 2.060 2.056 2.052 2.048 2.045 2.042
    """.split()
]


def t_interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % t-interval of a few values, for example of one difference per seed. One value
    has NaN bounds."""
    n = len(values)
    if n == 0:
        raise ValueError("there are no values to average: give at least one")
    mean = sum(values) / n
    if n == 1:
        return mean, math.nan, math.nan
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    # With few seeds the t-quantile is far wider than the normal one.
    half = (T_95[n - 2] if n <= len(T_95) + 1 else Z_95) * sd / math.sqrt(n)
    return mean, mean - half, mean + half
