"""Records the race of lesson 04 over several seeds: one training with R, R - mean and R - 10.

python -m rlvr_helpers.tools.record_baseline_race --out data/runs/baseline_race.json
"""

from rlvr_helpers.lessons.l04_advantages.experiment import ARMS, STEPS, race
from rlvr_helpers.study.runs import provenance
from rlvr_helpers.tools.recording import options_of, write_json


def main(arguments: list[str] | None = None) -> None:
    options = options_of(__doc__, arguments, seeds=5)
    rates = {arm: [] for arm in ARMS}
    for seed in range(options.seeds):
        for arm, runs in rates.items():
            runs.append([round(rate, 6) for rate in race(arm, seed, STEPS)])
            print(seed, arm, runs[-1], flush=True)
    command = "python -m rlvr_helpers.tools.record_baseline_race --out data/runs/baseline_race.json"
    provenance_of_race = provenance("tiny", "tiny", command=command)
    write_json(options.out, {"provenance": provenance_of_race, "rates": rates})


if __name__ == "__main__":
    main()
