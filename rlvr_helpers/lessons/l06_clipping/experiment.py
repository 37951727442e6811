"""Lesson 06: the same run with and without the clip, with several seeds, recorded.

python -m rlvr_helpers.lessons.l06_clipping.experiment --out data/runs/collapse.json
"""

import argparse
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

from rlvr_helpers.engine.files import write_whole
from rlvr_helpers.methods import GRPO
from rlvr_helpers.models import load_policy
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import load_problems
from rlvr_helpers.study.runs import provenance
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

# Each rollout is used for 16 updates, so that the clip has work. Lesson 06 shows the same settings.
SETTINGS = TrainSettings(
    steps=8,
    epochs=4,
    minibatches=4,
    learning_rate=6e-5,
    warmup_steps=2,
    decay_steps=None,
    eval_every=2,
)
METHODS = {
    "with the clip": GRPO,
    "without the clip": replace(GRPO, clip_low=math.inf, clip_high=math.inf),
}
EVAL_COUNT = 100


def last_accuracy(method, seed: int) -> float:
    """Held-out accuracy after the last rollout of a run from the start model."""
    policy = load_policy("tiny")
    test = load_problems("test")[:EVAL_COUNT]
    settings = replace(SETTINGS, seed=seed)
    *_, last = train(policy, load_problems("train"), method, settings=settings, eval_problems=test)
    return last.eval.accuracy


def recorded_collapse() -> dict[int, dict[str, float]]:
    """seed -> {"with the clip": accuracy, "without the clip": accuracy}, as measured once for the
    course."""
    rows = json.loads((DATA / "runs" / "collapse.json").read_text())["accuracy"]
    return {int(seed): row for seed, row in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    accuracy = {}
    for seed in range(options.seeds):
        accuracy[seed] = {name: last_accuracy(method, seed) for name, method in METHODS.items()}
        print(f"seed {seed}: {accuracy[seed]}", flush=True)
    found = {
        "accuracy": accuracy,
        "eval_count": EVAL_COUNT,
        "settings": asdict(SETTINGS),
        "provenance": provenance(
            "tiny", "tiny", command="python -m rlvr_helpers.lessons.l06_clipping.experiment"
        ),
    }
    text = json.dumps(found, indent=1) + "\n"
    write_whole(options.out, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
