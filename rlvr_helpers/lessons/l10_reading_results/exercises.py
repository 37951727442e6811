"""The exercise of extras/10: the interval of a difference, paired over the problems."""

import math
import statistics
from collections.abc import Callable

import torch

from rlvr_helpers.exercises.core import Case, Exercise, named


def paired_interval(first, second):
    """95 % interval of accuracy(second) - accuracy(first), from verdicts on the same problems:
    two lists of bools -> (low, high)."""
    differences = torch.tensor(second).double() - torch.tensor(first).double()
    mean = differences.mean().item()
    half = 1.96 * differences.std().item() / math.sqrt(len(differences))
    return mean - half, mean + half


def read(verdicts: str) -> list[bool]:
    """ "+-" as [True, False]."""
    return [verdict == "+" for verdict in verdicts]


def interval_cases() -> list[Case]:
    pairs = {
        "10 problems, 2 gained, 1 lost": ("++++--+---", "+++-+++---"),
        "12 problems, more lost than gained": ("+++++++--++-", "++++--+-+--+"),
        "8 problems, all gained but two": ("------+-", "++++-+++"),
        "the same verdicts twice": ("++-+-", "++-+-"),
        "20 problems, 2 gained": ("+" * 15 + "-" * 5, "+" * 17 + "-" * 3),
    }
    return [Case(name, tuple(map(read, pair))) for name, pair in pairs.items()]


def around(
    first: list[bool], second: list[bool], half: Callable, sign: int = 1, scale: float = 1.0
) -> tuple[float, float]:
    """An interval with another half-width, made from the differences."""
    differences = [sign * (b - a) for a, b in zip(first, second, strict=True)]
    mean, width = statistics.mean(differences), half(differences)
    return scale * (mean - width), scale * (mean + width)


def error(values: list) -> float:
    """The standard error of a mean."""
    return statistics.stdev(values) / math.sqrt(len(values))


MISTAKES = {
    # Pairs ignored.
    "unpaired": (
        lambda first, second: around(
            first, second, lambda d: 1.96 * math.hypot(error(first), error(second))
        ),
        (
            "you add the variances of the two lists, as if they were on different problems. Take"
            " the difference problem by problem first, then its sd."
        ),
    ),
    "half-widths added": (
        lambda first, second: around(
            first, second, lambda d: 1.96 * (error(first) + error(second))
        ),
        (
            "you add the half-widths of the two accuracies. Take the difference problem by problem"
            " first. It has one interval."
        ),
    ),
    # The half-width. The first is told to whoever makes two of these mistakes.
    "biased sd": (
        lambda first, second: around(
            first, second, lambda d: 1.96 * statistics.pstdev(d) / math.sqrt(len(d))
        ),
        (
            "your sd divides by n. The unbiased one divides by n - 1: torch.std, or"
            " std(ddof=1) in numpy."
        ),
    ),
    "no square root of n": (
        lambda first, second: around(first, second, lambda d: 1.96 * statistics.stdev(d)),
        (
            "your interval holds single differences, not their mean. Divide the sd by the square"
            " root of the number of problems."
        ),
    ),
    "variance for sd": (
        lambda first, second: around(
            first, second, lambda d: 1.96 * statistics.variance(d) / math.sqrt(len(d))
        ),
        (
            "you divide the variance by the square root of n. The sd is the square root of the"
            " variance: take it first."
        ),
    ),
    "squared error": (
        lambda first, second: around(first, second, lambda d: 1.96 * error(d) ** 2),
        "you take the variance divided by n. The standard error is the square root of that.",
    ),
    "divided by n": (
        lambda first, second: around(first, second, lambda d: 1.96 * statistics.stdev(d) / len(d)),
        "you divide the sd by n. The sd of a mean is sd / sqrt(n).",
    ),
    "one standard error": (
        lambda first, second: around(first, second, lambda d: error(d)),
        "your interval reaches one standard error to each side, which is 68 %. Take 1.96 of them.",
    ),
    "one-sided": (
        lambda first, second: around(first, second, lambda d: 1.645 * error(d)),
        (
            "your factor of 1.645 cuts 5 % off each side. A 95 % interval cuts off 2.5 %: the"
            " factor is 1.96."
        ),
    ),
    "two standard errors": (
        lambda first, second: around(first, second, lambda d: 2 * error(d)),
        "your factor is 2. The interval of the exercise has 1.96.",
    ),
    # Sign and unit.
    "first less second": (
        lambda first, second: around(first, second, lambda d: 1.96 * error(d), sign=-1),
        "your sign is reversed: a gain, second better than first, is positive.",
    ),
    "in points": (
        lambda first, second: around(first, second, lambda d: 1.96 * error(d), scale=100),
        "your interval is in points. The exercise asks for shares: 0.05 for 5 points.",
    ),
    # Which differences are averaged.
    "only problems that changed": (
        lambda first, second: of_changed(first, second),
        (
            "you average over the problems that changed. All problems count, those with a"
            " difference of 0 too."
        ),
    ),
    "sizes of the differences": (
        lambda first, second: paired_interval([False] * len(first), changes(first, second)),
        "you average |difference|. A loss must cancel a gain: keep the sign.",
    ),
    # The result.
    "high before low": (
        lambda first, second: paired_interval(first, second)[::-1],
        "your bounds are swapped: return (low, high).",
    ),
}


def changes(first: list[bool], second: list[bool]) -> list[bool]:
    """True for each problem on which the two differ."""
    return [a != b for a, b in zip(first, second, strict=True)]


def of_changed(first: list[bool], second: list[bool]) -> tuple[float, float]:
    """The interval over the problems that changed; (0, 0) if there are fewer than two."""
    changed = [pair for pair in zip(first, second, strict=True) if pair[0] != pair[1]]
    return paired_interval(*zip(*changed, strict=True)) if len(changed) > 1 else (0.0, 0.0)


EXERCISES = [
    Exercise(
        name="paired_interval",
        lesson="10",
        minutes=6,
        difficulty=1,
        reference=paired_interval,
        cases=interval_cases,
        mistakes=named(MISTAKES),
        hints=[
            (
                "Each problem gives one number: 1 if it was gained, -1 if it was lost, 0 if nothing"
                " changed. The interval is that of the mean of these numbers."
            ),
            "The sd of a mean of n numbers is their sd, divided by the square root of n.",
            (
                "`differences = torch.tensor(second).double() - torch.tensor(first).double()`, then"
                " their `.mean().item()`, and `1.96 * differences.std().item() /"
                " math.sqrt(len(differences))` to each side."
            ),
        ],
        returns=("low", "high"),
        tolerance=1e-4,
    )
]
