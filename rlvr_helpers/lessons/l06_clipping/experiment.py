"""The experiment of lesson 06: no clip, the clamp without the minimum, and the minimum.

python -m rlvr_helpers.lessons.l06_clipping.experiment --out data/runs/clip_usual.json

The command records the three rules at the course's usual settings. `tools/record_clip_stage.py` has
recorded them in a harder regime, with more updates on each rollout.
"""

import argparse
import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from rlvr_helpers.clipping import clip_binds, clipped_objective
from rlvr_helpers.engine.files import write_whole
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import GRPO
from rlvr_helpers.models import load_policy
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import load_problems
from rlvr_helpers.study.runs import provenance
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import Stages, train

# Each rollout is used for 16 updates, so that the clip has work.
HARD = TrainSettings(
    steps=8, epochs=4, minibatches=4, learning_rate=6e-5, warmup_steps=2, decay_steps=None
)
# The course's usual settings: 8 updates per rollout at 5e-5.
USUAL = TrainSettings(steps=10)
EVERY_ROLLOUT = {"eval_every": 1, "track_kl": False}
EVAL_COUNT = 200  # held-out problems
SEEDS = 3


def clamped_objective(
    ratios: Tensor, advantages: Tensor, clip_low: float, clip_high: float
) -> Tensor:
    """clip(q, 1 - clip_low, 1 + clip_high) A: the clamp without the minimum.

    Broadcasts as `clipped_objective`.
    """
    return ratios.clamp(1 - clip_low, 1 + clip_high) * advantages


def outside(ratios: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """True where the clamp without the minimum stops the gradient: outside the range if A is not 0.

    Unlike in `clip_binds` the sign of A does not matter.
    """
    return ((ratios < 1 - clip_low) | (ratios > 1 + clip_high)) & (advantages != 0)


def plain_objective(
    ratios: Tensor, advantages: Tensor, clip_low: float, clip_high: float
) -> Tensor:
    """q A: nothing is clipped, whatever the range."""
    return ratios * advantages


def never(ratios: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """False everywhere: without a rule no gradient is stopped."""
    return torch.zeros_like(ratios * advantages, dtype=torch.bool)


# Rule -> what is maximised, and where its gradient is 0.
RULES = {
    "none": (plain_objective, never),
    "clamp": (clamped_objective, outside),
    "minimum": (clipped_objective, clip_binds),
}


def accuracies(rule: str, seed: int) -> list[float]:
    """Held-out accuracy before training and after each rollout, in the usual regime."""
    records = list(
        train(
            load_policy("tiny"),
            load_problems("train"),
            GRPO,
            settings=replace(USUAL, seed=seed, **EVERY_ROLLOUT),
            eval_problems=load_problems("test")[:EVAL_COUNT],
            stages=Stages(loss=partial(policy_loss, objective=RULES[rule][0])),
        )
    )
    return [records[0].start_eval.accuracy, *(record.eval.accuracy for record in records)]


def recorded_arms() -> dict[str, dict[str, list[list[float]]]]:
    """Regime -> rule -> for each seed the accuracy before training and after each rollout."""
    stage = json.loads((DATA / "runs" / "clip_stage.json").read_text(encoding="utf-8"))
    usual = json.loads((DATA / "runs" / "clip_usual.json").read_text(encoding="utf-8"))
    hard = {
        rule: [[stage["start"], *run["accuracy"]] for run in _grpo_runs(stage, rule)]
        for rule in RULES
    }
    return {"8 updates at 5e-5": usual["accuracy"], "16 updates at 6e-5": hard}


def recorded_largest_ratios(rule: str = "minimum") -> list[float]:
    """The largest token ratio of each recorded training by GRPO in the hard regime, under a rule of
    RULES."""
    stage = json.loads((DATA / "runs" / "clip_stage.json").read_text(encoding="utf-8"))
    return [round(max(run["largest_ratio"]), 1) for run in _grpo_runs(stage, rule)]


def _grpo_runs(stage: dict, rule: str) -> list[dict]:
    """The recorded runs of a rule with GRPO's ratio and range, in the order of their seeds."""
    # Without a rule there is no range, and the record says None.
    ranges = [[GRPO.clip_low, GRPO.clip_high], [None, None]]
    return sorted(
        (
            run
            for run in stage["runs"]
            if run["rule"] == rule
            and run["unit"] == "token"
            and [run["clip_low"], run["clip_high"]] in ranges
        ),
        key=lambda run: run["seed"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    # Train each rule on each seed.
    found = {rule: [] for rule in RULES}
    for seed in range(SEEDS):
        for rule in RULES:
            found[rule].append(accuracies(rule, seed))
            print(f"seed {seed}, {rule}: {found[rule][-1]}", flush=True)

    # Write the accuracies with what is needed to repeat them.
    data = {
        "accuracy": found,
        "eval_count": EVAL_COUNT,
        "settings": asdict(replace(USUAL, **EVERY_ROLLOUT)),
        "provenance": provenance(
            "tiny", "tiny", command="python -m rlvr_helpers.lessons.l06_clipping.experiment"
        ),
    }
    text = json.dumps(data, indent=1) + "\n"
    write_whole(options.out, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
