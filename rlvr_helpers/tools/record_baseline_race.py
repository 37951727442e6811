"""Records the race of lesson 04 over several seeds: one training with R, R - mean and R - 10.

python -m rlvr_helpers.tools.record_baseline_race --out data/runs/baseline_race.json
"""

import argparse
import json
from pathlib import Path

from rlvr_helpers.lessons.l04_advantages.experiment import ARMS, STEPS, race
from rlvr_helpers.study.runs import provenance


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args(arguments)
    rates = {arm: [] for arm in ARMS}
    for seed in range(options.seeds):
        for arm, runs in rates.items():
            runs.append([round(rate, 6) for rate in race(arm, seed, STEPS)])
            print(seed, arm, runs[-1], flush=True)
    command = "python -m rlvr_helpers.tools.record_baseline_race --out data/runs/baseline_race.json"
    recorded = {"provenance": provenance("tiny", "tiny", command=command), "rates": rates}
    options.out.write_text(json.dumps(recorded), encoding="utf-8")


if __name__ == "__main__":
    main()
