"""Records where the three methods differ (lesson 09): many short runs of `tiny`, decisive ones
first.

    python -m rlvr_helpers.tools.record_stress --out data/runs/stress/runs.jsonl

You can stop it at any time. The same command continues with the runs that are missing. The file
(read by `lessons.l09_train_all_three.experiment.recorded_stress`) has one JSON object per line:

    {"provenance": ...}           of the runs below it: command, hardware, date, versions
    {"cell": ..., "accuracy": ... }  one finished run, see `experiment.Cell` and `summary`

`--start FOLDER` adds the decisive runs from a second start model, such as one that
`tools.make_tiny` made anew, and some at 64 updates. The folder's name is that of the start.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from rlvr_helpers.lessons.l09_train_all_three.experiment import (
    ARMS,
    FRESH,
    SEEDS,
    Cell,
    recorded_stress,
    run_cell,
    summary,
)
from rlvr_helpers.models import load_policy
from rlvr_helpers.study.runs import provenance, rounded

OTHER_SEEDS = 3
UPDATES = (8, 16, 32, 64)
RATES = (1, 2, 4)
THREE = ("GRPO", "Dr. GRPO", "GSPO")
# Arms that are compared closely, and with a longer budget.
CLOSE = ("GRPO", "GSPO", "GRPO 0.02/0.03", "GRPO 0.0003/0.0004")
SETTLING = ("GRPO", "GSPO", "GRPO 0.0003/0.0004")
LONG = 128


def decisive(start: str = "tiny", seeds: int = len(SEEDS)) -> Iterator[Cell]:
    """Every arm at 32 updates, seed after seed, so that arms have the same seeds. The arms that
    collapse come in every third seed at first: few seeds show that."""
    late = []
    for seed in range(seeds):
        for arm in ARMS:
            cell = Cell(arm, start=start, seed=seed)
            if arm in CLOSE or seed % 3 == 0:
                yield cell
            else:
                late.append(cell)
    yield from late


def from_another_start(name: str) -> Iterator[Cell]:
    """The decisive runs from a second start model, then whether it holds out at 64 updates too."""
    yield from decisive(start=name, seeds=OTHER_SEEDS)
    for seed in range(OTHER_SEEDS):
        for arm in ("GRPO", "GSPO"):
            yield Cell(arm, updates=64, start=name, seed=seed)


def plan() -> Iterator[Cell]:
    """All runs from `tiny`, in the order in which they are worth having."""
    # All arms, then further seeds of those that are close.
    yield from decisive()
    for seed in FRESH:
        for arm in CLOSE:
            yield Cell(arm, seed=seed)
    # How it depends on updates and rate, and on the budget.
    for seed in range(OTHER_SEEDS):
        for updates in UPDATES:
            for rate in RATES:
                for arm in THREE:
                    yield Cell(arm, updates=updates, rate=rate, seed=seed)
    for seed in range(OTHER_SEEDS):
        for arm in SETTLING:
            yield Cell(arm, max_tokens=LONG, seed=seed)


def record(
    path: Path, cells: Iterable[Cell], run: Callable[[Cell], dict], command: str
) -> Iterator[tuple[Cell, dict]]:
    """Runs the cells that the file lacks. Appends each when it is finished, and yields it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = recorded_stress(path) if path.exists() else {}
    # Each cell once, and none that the file has.
    missing = [cell for cell in dict.fromkeys(cells) if cell not in done]
    if missing:
        append(path, {"provenance": provenance("tiny", "tiny", command=command)})
    for cell in missing:
        found = rounded(run(cell))
        append(path, {"cell": asdict(cell)} | found)
        yield cell, found


def append(path: Path, row: dict) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, separators=(",", ":")) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", help="folder of a second start model")
    options = parser.parse_args()
    cells = plan()
    if options.start:
        name = Path(options.start).name
        if name == "tiny":
            parser.error("the recording has the course's own model as tiny: rename the folder")
        cells = from_another_start(name)

    def run(cell: Cell) -> dict:
        return summary(list(run_cell(cell, load_policy(options.start or "tiny"))))

    command = "python -m rlvr_helpers.tools.record_stress"
    for cell, found in record(options.out, cells, run, command=command):
        print(f"{cell}: {found['accuracy'][-1]:.3f}, {found['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
