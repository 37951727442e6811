"""Lesson 09, second half: a regime in which the methods differ, with controls that say why."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO, Method
from rlvr_helpers.models import Policy
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import load_problems
from rlvr_helpers.records import StepRecord
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

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
EVAL_COUNT = 400
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
    """One run of the sweep: an arm, how hard a rollout is used, the learning rate as a multiple of
    RATE, the most tokens of a completion, the start model's name, and the seed."""

    arm: str
    updates: int = 32
    rate: int = 1
    max_tokens: int = 64
    start: str = "tiny"
    seed: int = 0

    @property
    def method(self) -> Method:
        return ARMS[self.arm]

    @property
    def settings(self) -> TrainSettings:
        return replace(
            SETTINGS,
            epochs=self.updates // MINIBATCHES,
            learning_rate=RATE * self.rate,
            max_tokens=self.max_tokens,
            seed=self.seed,
        )


def run_cell(cell: Cell, policy: Policy) -> Iterator[StepRecord]:
    """Trains the policy as the cell says, in place; a record after each rollout."""
    test = load_problems("test")[:EVAL_COUNT]
    return train(
        policy, load_problems("train"), cell.method, settings=cell.settings, eval_problems=test
    )


def summary(records: list[StepRecord]) -> dict:
    """What is kept of a run, one number per rollout.

    accuracy: held-out, greedy, the start model first. reward: of the sampled completions. clipped:
    share of tokens or sequences on which the clip binds. token_ratio, sequence_ratio: the largest
    in the last pass over the rollout.
    """

    def largest(name: str) -> list[float]:
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
    """Cell -> what is kept of its run (`summary`), as recorded once for the course."""
    lines = (path or DATA / "runs" / "stress" / "runs.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in lines.splitlines()]
    return {Cell(**row["cell"]): row for row in rows if "cell" in row}
