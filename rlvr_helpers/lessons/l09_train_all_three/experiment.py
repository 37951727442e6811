"""Lesson 09, second half: a regime in which the methods differ, with controls that say why."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rlvr_helpers.evaluation import t_interval
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO, Method
from rlvr_helpers.models import Policy, load_policy
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import load_problems
from rlvr_helpers.records import StepRecord
from rlvr_helpers.study.runs import Run
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

# The learning rate that a cell multiplies, and mini-batches per pass over a rollout.
RATE = 5e-5
MINIBATCHES = 4
# Each rollout is used for 32 updates instead of 8.
SETTINGS = TrainSettings(
    steps=8,
    epochs=8,
    minibatches=MINIBATCHES,
    learning_rate=RATE,
    warmup_steps=2,
    decay_steps=None,
    eval_every=1,
    track_kl=False,
)
# Held-out problems of the recorded runs.
EVAL_COUNT = 400
# Nobody had seen the fresh seeds when the settings and arms were chosen.
SEEDS = range(10)
FRESH = range(10, 16)
UNDECIDED = "cannot be told apart"
# Each method as it is used, and controls: one method with the range of the other.
ARMS = {
    "GRPO": GRPO,
    "GSPO": GSPO,
    "GRPO 0.02/0.03": replace(GRPO, clip_low=0.02, clip_high=0.03),
    "GRPO 0.0003/0.0004": replace(GRPO, clip_low=0.0003, clip_high=0.0004),
    "GSPO 0.2": replace(GSPO, clip_low=0.2, clip_high=0.2),
    "Dr. GRPO": DR_GRPO,
}


@dataclass(frozen=True)
class Cell:
    """One run of the sweep.

    updates: on each rollout
    rate:    the learning rate, as a multiple of RATE
    start:   the name of the start model
    """

    arm: str
    updates: int = 32
    rate: int = 1
    max_tokens: int = 64
    start: str = "tiny"
    seed: int = 0

    @property
    def method(self) -> Method:
        """The method of the arm."""
        return ARMS[self.arm]

    @property
    def settings(self) -> TrainSettings:
        """SETTINGS with what the cell changes."""
        return replace(
            SETTINGS,
            epochs=self.updates // MINIBATCHES,
            learning_rate=RATE * self.rate,
            max_tokens=self.max_tokens,
            seed=self.seed,
        )


def run_cell(
    cell: Cell, policy: Policy, eval_count: int = EVAL_COUNT, eval_every: int = 1
) -> Iterator[StepRecord]:
    """Trains the policy as the cell says, in place. Yields a record after each rollout."""
    return train(
        policy,
        load_problems("train"),
        cell.method,
        settings=replace(cell.settings, eval_every=eval_every),
        eval_problems=load_problems("test")[:eval_count],
    )


def run_live(arm: str, seed: int, count: int = 200) -> Iterator[StepRecord]:
    """The decisive run of an arm, short enough for a lesson: it is only evaluated at the end."""
    cell = Cell(arm, seed=seed)
    return run_cell(cell, load_policy("tiny"), eval_count=count, eval_every=SETTINGS.steps)


def summary(records: list[StepRecord]) -> dict:
    """What is kept of a run, one number per rollout.

    accuracy:    held-out, greedy, the start model first
    reward:      of the sampled completions
    clipped:     share of tokens or sequences on which the clip binds
    token_ratio: the largest in the last pass over the rollout. `sequence_ratio` likewise.
    """

    def largest(name: str) -> list[float]:
        """The largest ratio. Without a record nothing has moved, and every ratio is 1."""
        found = [getattr(record, name) for record in records]
        return [math.exp(each.quantiles[-1]) if each else 1.0 for each in found]

    start = records[0].start_eval.accuracy
    return {
        "accuracy": [start, *(record.eval.accuracy for record in records)],
        "reward": [record.reward_mean for record in records],
        "clipped": [record.clip_fraction for record in records],
        "token_ratio": largest("token_log_ratio"),
        "sequence_ratio": largest("sequence_log_ratio"),
        "seconds": sum(sum(record.seconds.values()) for record in records),
    }


def recorded_stress(path: Path | None = None) -> dict[Cell, dict]:
    """What is kept of each recorded run (`summary`), by its cell."""
    lines = (path or DATA / "runs" / "stress" / "runs.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in lines.splitlines()]
    # Other lines say where the runs come from.
    return {Cell(**row["cell"]): row for row in rows if "cell" in row}


def of_arm(
    recorded: dict[Cell, dict], arm: str, seeds: Sequence[int] = SEEDS, **same: object
) -> dict[int, dict]:
    """The runs of an arm by seed. `same` chooses other cells than the decisive ones."""
    wanted = Cell(arm, **same)
    return {
        cell.seed: run
        for cell, run in recorded.items()
        if cell.seed in seeds and replace(cell, seed=0) == wanted
    }


def differences(
    recorded: dict[Cell, dict],
    first: str,
    second: str,
    seeds: Sequence[int] = SEEDS,
    **same: object,
) -> list[float]:
    """Final accuracy of the first arm less that of the second, in points, for each shared seed.
    `same` chooses other cells than the decisive ones."""
    runs, others = (of_arm(recorded, arm, seeds, **same) for arm in (first, second))
    shared = sorted(runs.keys() & others.keys())
    return [100 * (runs[seed]["accuracy"][-1] - others[seed]["accuracy"][-1]) for seed in shared]


def t_quantile(level: float, freedom: int) -> float:
    """t such that Student's distribution has `level` of its mass between -t and t.

    With x = sqrt(freedom) tan(angle) its density is cos(angle) ** (freedom - 1).
    """
    # The density from 0 to a right angle, its integral by trapezoids, and the angle at `level`.
    angle = np.linspace(0, np.pi / 2, 100_001)
    heights = np.cos(angle) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum((heights[1:] + heights[:-1]) / 2)])
    return math.sqrt(freedom) * math.tan(np.interp(level, mass / mass[-1], angle))


def corrected_interval(values: list[float], tests: int = 1) -> tuple[float, float, float]:
    """Mean and t-interval of paired differences. A single one has NaN bounds.

    If `tests` intervals are read at once, all of them hold their true value in at least 95 of 100
    repetitions (Bonferroni).
    """
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan, math.nan
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = t_quantile(1 - 0.05 / tests, len(values) - 1) * sd / math.sqrt(len(values))
    return mean, mean - half, mean + half


def differences_table(
    recorded: dict[Cell, dict], pairs: list[tuple[str, str]], seeds: Sequence[int] = SEEDS
) -> str:
    """A line per pair of arms: the mean difference, its interval, and the corrected one."""
    lines = [f"{'':<36}seeds   mean   interval         corrected for {len(pairs)}"]
    for first, second in pairs:
        # The interval of this pair by itself, and as one of several.
        found = differences(recorded, first, second, seeds=seeds)
        mean, low, high = corrected_interval(found)
        _, wide_low, wide_high = corrected_interval(found, len(pairs))
        verdict = "differ" if wide_low > 0 or wide_high < 0 else UNDECIDED
        lines.append(
            f"{first + ' - ' + second:<36}{len(found):>4}  {mean:>+6.1f}"
            f"  [{low:+.1f}, {high:+.1f}]".ljust(67)
            + f"[{wide_low:+.1f}, {wide_high:+.1f}] {verdict}"
        )
    return "\n".join(lines)


def sweep_table(recorded: dict[Cell, dict], seeds: Sequence[int] = range(3)) -> str:
    """A line per recorded setting: final accuracy of each method in percent, mean over seeds, then
    GSPO - GRPO in points for each seed."""
    places = {
        (cell.start != "tiny", cell.start, cell.max_tokens, cell.updates, cell.rate)
        for cell in recorded
        if cell.arm == "GSPO" and cell.seed in seeds
    }
    lines = ["start     max tokens  updates  rate   GRPO  Dr. GRPO  GSPO   GSPO - GRPO by seed"]
    for _, start, max_tokens, updates, rate in sorted(places):
        same = {"start": start, "max_tokens": max_tokens, "updates": updates, "rate": rate}
        # The mean of each method, or nothing where it lacks a seed that GSPO has.
        runs = [of_arm(recorded, arm, seeds, **same) for arm in ("GRPO", "Dr. GRPO", "GSPO")]
        ends = [[run["accuracy"][-1] for run in each.values()] for each in runs]
        means = [
            f"{100 * sum(each) / len(each):.1f}" if len(each) == len(ends[-1]) else ""
            for each in ends
        ]
        apart = [f"{x:>+4.0f}" for x in differences(recorded, "GSPO", "GRPO", seeds=seeds, **same)]
        lines.append(
            f"{start:<10}{max_tokens:>10}  {updates:>7}  {rate:>3}x  {means[0]:>5}  {means[1]:>8}"
            f"  {means[2]:>4}   {' '.join(apart)}"
        )
    return "\n".join(lines)


def intervals_over_time(
    results: dict[str, list[Run]], pairs: list[tuple[str, str]]
) -> Iterator[tuple[str, int, tuple[float, float, float]]]:
    """(pair, step, paired interval in points) at each evaluation that all seeds of a pair have."""
    for first, second in pairs:
        curves = [[accuracies(run) for run in results[name]] for name in (first, second)]
        steps = set.intersection(*(set(found) for runs in curves for found in runs))
        for step in sorted(steps):
            found = [100 * (a[step] - b[step]) for a, b in zip(*curves, strict=True)]
            yield f"{first} - {second}", step, corrected_interval(found)


def accuracies(run: Run) -> dict[int, float]:
    """Held-out accuracy by step."""
    return {record.step: record.eval.accuracy for record in run.records if record.eval}


def winner(differences: Mapping[str, Sequence[float]]) -> str:
    """The method whose paired intervals with all others lie above 0, else UNDECIDED.

    differences: "GRPO - GSPO" -> one difference per seed, as `study.paired_differences` gives them.
    """
    # Whom each method beats.
    beaten = {}
    for pair, values in differences.items():
        first, second = pair.split(" - ")
        beaten.setdefault(first, set())
        beaten.setdefault(second, set())
        _, low, high = t_interval(list(values))
        if low > 0:
            beaten[first].add(second)
        if high < 0:
            beaten[second].add(first)
    # The winner beats all others.
    alone = [name for name, others in beaten.items() if len(others) == len(beaten) - 1 > 0]
    return alone[0] if alone else UNDECIDED
