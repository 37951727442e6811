"""Runs in a tracker: TensorBoard or trackio, if they are installed.

for record in tracked(train(policy, problems, GRPO), TensorBoard("runs/board")):
    ...

pip install tensorboard     # then: tensorboard --logdir runs/board
pip install trackio         # then: trackio show --project rlvr
"""

import importlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from rlvr_helpers.records import StepRecord

# What is drawn of every record, by its name there.
PLAIN = """
    loss reward_mean reward_std no_signal accuracy format_rate length_mean truncated clip_fraction
    entropy kl sampler_gap grad_norm total_tokens
""".split()


def numbers_of(record: StepRecord) -> dict[str, float]:
    """What a tracker draws of a record. What was not measured is left out."""
    numbers = {name: getattr(record, name) for name in PLAIN}
    numbers |= {f"parts/{name}": value for name, value in record.parts.items()}
    numbers |= {f"seconds/{name}": value for name, value in record.seconds.items()}
    # The held-out problems, on steps that have an evaluation.
    if record.eval:
        numbers["eval/accuracy"] = record.eval.accuracy
        numbers |= {f"eval/{name}": value for name, value in record.eval.part_means.items()}
    return {name: float(value) for name, value in numbers.items() if value is not None}


class TensorBoard:
    """A callback that writes a record into TensorBoard's files, a folder for each run."""

    def __init__(self, folder: str | Path) -> None:
        self.board = _installed("torch.utils.tensorboard", "tensorboard")
        self.folder = Path(folder)
        self.writers: dict[str, Any] = {}

    def __call__(self, run: str, record: StepRecord) -> None:
        # A folder is made with its first record.
        if run not in self.writers:
            self.writers[run] = self.board.SummaryWriter(str(self.folder / run))
        for name, value in numbers_of(record).items():
            self.writers[run].add_scalar(name, value, record.step)

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()


class Trackio:
    """A callback that logs a record to trackio, a run of the project for each run here."""

    def __init__(self, project: str = "rlvr") -> None:
        self.trackio = _installed("trackio", "trackio")
        self.project = project
        self.runs: dict[str, Any] = {}

    def __call__(self, run: str, record: StepRecord) -> None:
        if run not in self.runs:
            self.runs[run] = self.trackio.init(project=self.project, name=run, embed=False)
        self.runs[run].log(numbers_of(record), step=record.step)

    def close(self) -> None:
        for run in self.runs.values():
            run.finish()


TRACKERS = {"tensorboard": TensorBoard, "trackio": Trackio}


def tracked(
    steps: Iterable, *trackers: Callable[[str, StepRecord], None], name: str = "run"
) -> Iterator:
    """Passes on records (of `train`) or progress (of `run_comparison`), and tells the trackers.

    name: of the run. A comparison names each by its method and seed.
    """
    try:
        for item in steps:
            label = f"{item.method.name} seed {item.seed}" if hasattr(item, "method") else name
            for tracker in trackers:
                tracker(label, getattr(item, "record", item))
            yield item
    finally:
        # The reader can stop early. Then the run is saved and the trackers' files are complete.
        if hasattr(steps, "close"):
            steps.close()
        for tracker in trackers:
            getattr(tracker, "close", lambda: None)()


def _installed(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"the tracker {package} is not installed: pip install {package}"
        ) from error
