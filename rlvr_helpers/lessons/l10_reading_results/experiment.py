"""What a result shows: pass@k and its luck, the size that a claim needs, choosing and stopping.

A gain is a share, 0.05 for 5 points.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from rlvr_helpers.evaluation import Z_95, mcnemar, pass_at_k, t_interval
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import load_problems
from rlvr_helpers.study.runs import Run
from rlvr_helpers.study.tables import paired_differences

KS = (1, 2, 4, 8, 16, 32, 64, 128)
# A true gain is found in 80 of 100 repetitions.
Z_80 = 0.8416212335729143
# Simulated comparisons.
REPEATS = 4000


# --- pass@k


@dataclass(frozen=True)
class Answers:
    """Many sampled answers of one model to each of P problems.

    right:  [P] how many of the `samples` answers are correct
    worked: [P] how many of those follow from the whole correct working
    others: [P, P - 1] how many of the answers to each other problem are correct for this one
    """

    samples: int
    right: np.ndarray
    worked: np.ndarray
    others: np.ndarray


def recorded_answers(path: Path | None = None) -> dict[str, Answers]:
    """The answers that `tools/record_many_answers.py` recorded: "start" is the start model,
    "GRPO 0" the one that seed 0 trained."""
    path = path or DATA / "rollouts" / "many_answers.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    golds = [problem.answer for problem in load_problems("test")]
    return {
        name: read_answers(model["answers"], model["worked"], golds, samples=data["samples"])
        for name, model in data["models"].items()
    }


def read_answers(
    counts: Sequence[Mapping[str, int]], worked: Sequence[int], golds: Sequence[str], samples: int
) -> Answers:
    """counts: for each problem, answer -> how often it is given. golds: the correct answers."""
    # [P, P] the correct answer of each row, given to the problem of each column
    given = np.array([[row.get(gold, 0) for row in counts] for gold in golds[: len(counts)]])
    own = np.eye(len(counts), dtype=bool)
    others = given[~own].reshape(len(counts), -1)
    return Answers(samples, given[own], np.array(worked), others=others)


def pass_curve(right: np.ndarray, samples: int) -> np.ndarray:
    """pass@k of each problem at every k of KS, [P] -> [P, K]. Of a table [P, N], the mean over
    N."""
    table = [[pass_at_k(samples, count, k) for k in KS] for count in range(samples + 1)]
    found = np.array(table)[right]
    return found.mean(axis=1) if found.ndim == 3 else found


def curves(answers: Mapping[str, Answers]) -> dict[str, np.ndarray]:
    """The curves [P, K] of the figure, by name."""
    start, trained = answers["start"], answers["GRPO 0"]
    return {
        "trained": pass_curve(trained.right, trained.samples),
        "start": pass_curve(start.right, start.samples),
        "start, with working": pass_curve(start.worked, start.samples),
        "start, to another problem": pass_curve(start.others, start.samples),
    }


def band(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """The 95 % band of the mean over problems, [P, K] -> [2, K]: problems are drawn anew with
    replacement, 1,000 times (a bootstrap)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(values), size=(1000, len(values)))
    return np.quantile([values[draw].mean(axis=0) for draw in draws], (0.025, 0.975), axis=0)


# --- the first script's table


@dataclass(frozen=True)
class Log:
    """Counts of one method in the first script's log, of 50 problems before and after training.

    gained: incorrect before and correct after (strict). had: those of them that already had the
    correct number before, without its tags (lenient).
    """

    strict: tuple[int, int]
    lenient: tuple[int, int]
    gained: int
    had: int

    @property
    def parts(self) -> tuple[int, int, int]:
        """Of the problems correct afterwards: correct before too, gained of those that had the
        number, gained of the others."""
        return self.strict[1] - self.gained, self.had, self.gained - self.had


LOG_PROBLEMS = 50
LOG = {
    "GRPO": Log((6, 36), (39, 37), gained=32, had=27),
    "GSPO": Log((6, 36), (39, 36), gained=31, had=27),
    "Dr. GRPO": Log((6, 29), (39, 35), gained=25, had=22),
}


def verdicts(before: int, after: int, gained: int, total: int) -> tuple[list[bool], list[bool]]:
    """Verdicts on `total` problems, before and after, with these counts. Their order is free."""
    kept = after - gained
    first = [True] * before + [False] * (total - before)
    second = [True] * kept + [False] * (before - kept)
    second += [True] * gained + [False] * (total - before - gained)
    return first, second


def p_values(one: int, other: int, total: int) -> tuple[float, float]:
    """The smallest and the largest p of McNemar's test that two counts of correct answers on the
    same problems allow."""
    found = []
    for only_other in range(min(other, total - one) + 1):
        if 0 <= one - other + only_other <= one:
            pair = verdicts(one, other, gained=only_other, total=total)
            found.append(mcnemar(*pair).p_value)
    return min(found), max(found)


def strict_and_lenient(run: Run) -> str:
    """A table of strict and lenient accuracy before and after: a run, and the first script's."""
    rows = {
        "tiny, GRPO": [(each.accuracy, each.lenient_accuracy) for each in (run.start, run.final)]
    }
    for name, log in LOG.items():
        pairs = zip(log.strict, log.lenient, strict=True)
        rows[f"first script, {name}"] = [(a / LOG_PROBLEMS, b / LOG_PROBLEMS) for a, b in pairs]
    lines = [f"{'':<24}strict              lenient"]
    for name, (before, after) in rows.items():
        kinds = (f"{a:>6.1%} to {b:>6.1%}" for a, b in zip(before, after, strict=True))
        lines.append(f"{name:<22}" + "    ".join(kinds))
    return "\n".join(lines)


# --- paired and unpaired


def decided(pairs: Sequence[tuple], half: np.ndarray) -> int:
    """On how many of the pairs the interval leaves out 0."""
    gains = np.array([np.mean(b) - np.mean(a) for a, b in pairs])
    return int((np.abs(gains) > half).sum())


def half_widths(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float]:
    """Half of the 95 % interval of a difference in accuracy: as if the verdicts were on different
    problems, and paired."""
    a, b = np.array([first, second], dtype=float)
    unpaired = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))
    return Z_95 * unpaired, Z_95 * float((b - a).std(ddof=1)) / math.sqrt(len(a))


def neighbours(runs: Mapping[str, Sequence[Run]]) -> list[tuple[list[bool], list[bool]]]:
    """The verdicts of each evaluation of each run, and of the next one."""
    evaluations = [[r.eval.strict for r in run.records if r.eval] for run in sum(runs.values(), [])]
    return [pair for those in evaluations for pair in zip(those, those[1:], strict=False)]


# --- how many problems, how many seeds


def correlation(runs: Mapping[str, Sequence[Run]]) -> float:
    """How far the final verdicts of two runs agree, problem by problem: the mean correlation over
    all pairs of runs."""
    finals = [run.final.strict for run in sum(runs.values(), [])]
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in combinations(finals, 2)]))


def spread_of_seeds(runs: Mapping[str, Sequence[Run]]) -> float:
    """The sd over seeds of a paired difference between two methods, pooled over the pairs."""
    found = paired_differences(runs).values()
    return math.sqrt(np.mean([np.var(values, ddof=1) for values in found])) / 100


def problems_needed(gain: float, accuracy: float = 0.8, correlation: float = 0.0) -> int:
    """Problems after which the 95 % interval of a true gain leaves out 0 in 80 of 100 repetitions.

    correlation: of the two models' verdicts on a problem; 0: each has problems of its own
    """
    variances = [p * (1 - p) for p in (accuracy, accuracy + gain)]
    variance = sum(variances) - 2 * correlation * math.sqrt(math.prod(variances))
    return math.ceil((Z_95 + Z_80) ** 2 * variance / gain**2)


def seeds_needed(gain: float, spread: float) -> int:
    """The same for seeds and Student's interval. spread: sd of the difference over seeds. The 1.92
    pays for an sd that is estimated (W. C. Guenther 1981)."""
    return math.ceil((Z_95 + Z_80) ** 2 * spread**2 / gain**2 + Z_95**2 / 2)


def shared_counts(
    problems: int, gain: float, accuracy: float, correlation: float, rng: np.random.Generator
) -> np.ndarray:
    """[REPEATS, 4] how many problems both models solve, only the first, only the second, none."""
    second = accuracy + gain
    spread = math.sqrt(accuracy * (1 - accuracy) * second * (1 - second))
    both = accuracy * second + correlation * spread
    shares = [both, accuracy - both, second - both, 1 - accuracy - second + both]
    return rng.multinomial(problems, shares, size=REPEATS)


def leaves_out_0(lost: np.ndarray, gained: np.ndarray, problems: int) -> np.ndarray:
    """Whether the paired 95 % interval leaves out 0."""
    difference = gained - lost
    variance = (gained + lost - difference**2 / problems) / (problems - 1)
    return np.abs(difference) / problems > Z_95 * np.sqrt(variance / problems)


def found_with_problems(
    problems: int, gain: float, accuracy: float = 0.8, correlation: float = 0.0, seed: int = 0
) -> float:
    """The share of simulated comparisons on so many problems that find the gain."""
    rng = np.random.default_rng(seed)
    counts = shared_counts(problems, gain, accuracy, correlation=correlation, rng=rng)
    return float(leaves_out_0(counts[:, 1], counts[:, 2], problems).mean())


def found_with_seeds(seeds: int, gain: float, spread: float, seed: int = 0) -> float:
    """The share of simulated comparisons over so many seeds that find the gain."""
    draws = np.random.default_rng(seed).normal(gain, spread, size=(REPEATS // 4, seeds))
    intervals = [t_interval(list(row)) for row in draws]
    return float(np.mean([low > 0 or high < 0 for _, low, high in intervals]))


def sizes_table(correlation: float, spreads: Sequence[float], accuracy: float = 0.8) -> str:
    """What gains of 2, 5 and 10 points need, and in brackets how often a simulation of that size
    finds them: problems of their own, the same problems, and seeds for each of the spreads."""
    heads = ["own problems", "same problems", *(f"seeds, sd {100 * sd:.1f}" for sd in spreads)]
    lines = [f"{f'gain from {accuracy:.0%}':<14}" + "".join(f"{head:>16}" for head in heads)]
    for gain in (0.02, 0.05, 0.1):
        cells = []
        for shared in (0.0, correlation):
            needed = problems_needed(gain, accuracy, shared)
            cells.append((needed, found_with_problems(needed, gain, accuracy, correlation=shared)))
        for spread in spreads:
            needed = seeds_needed(gain, spread)
            cells.append((needed, found_with_seeds(needed, gain, spread)))
        row = "".join(f"{f'{needed:,} ({power:.0%})':>16}" for needed, power in cells)
        lines.append(f"{f'+{100 * gain:.0f} points':<14}{row}")
    return "\n".join(lines)


# --- choosing and stopping


def chosen_and_new(
    runs: Mapping[str, Sequence[Run]], splits: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Each run's best evaluation, chosen on a random half of the problems: its mean accuracy there,
    and on the other half."""
    rng = np.random.default_rng(seed)
    found = []
    for run in sum(runs.values(), []):
        verdicts = np.array([r.eval.strict for r in run.records if r.eval], dtype=float)
        for _ in range(splits):
            order = rng.permutation(verdicts.shape[1])
            half, rest = np.array_split(order, 2)
            best = verdicts[:, half].mean(axis=1).argmax()
            found.append((verdicts[best, half].mean(), verdicts[best, rest].mean()))
    chosen, new = np.mean(found, axis=0)
    return float(chosen), float(new)


def best_of_equals(
    models: int, problems: int, accuracy: float, correlation: float = 0.0, seed: int = 0
) -> float:
    """The mean accuracy that the best of equally good models shows.

    correlation: of their verdicts on a problem. A verdict is the problem's own with probability
    sqrt(correlation), else the model's own.
    """
    rng = np.random.default_rng(seed)
    shape = (REPEATS // 4, models, problems)
    common = rng.random((shape[0], 1, problems)) < accuracy
    own = rng.random(shape) < accuracy
    shared = rng.random(shape) < math.sqrt(correlation)
    return float(np.where(shared, common, own).mean(axis=2).max(axis=1).mean())


def false_alarms(
    looks: Sequence[int], accuracy: float = 0.8, correlation: float = 0.5, seed: int = 0
) -> float:
    """The share of comparisons of two equally good models that end with "they differ", if you look
    after each number of problems in `looks` and stop as soon as the interval leaves out 0."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((REPEATS, 4), dtype=int)
    alarm = np.zeros(REPEATS, dtype=bool)
    for before, problems in zip((0, *looks), looks, strict=False):
        counts += shared_counts(problems - before, 0.0, accuracy, correlation=correlation, rng=rng)
        alarm |= leaves_out_0(counts[:, 1], counts[:, 2], problems)
    return float(alarm.mean())
