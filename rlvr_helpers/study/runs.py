"""Runs as small files: method, settings, records and where they come from, in one JSON file per
run."""

import json
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch
import transformers

from rlvr_helpers.engine.files import write_whole
from rlvr_helpers.engine.json_files import read_json
from rlvr_helpers.evaluation import Evaluation
from rlvr_helpers.methods import Method
from rlvr_helpers.records import StepRecord, read_records
from rlvr_helpers.train_settings import TrainSettings


@dataclass(frozen=True)
class Run:
    """A finished (or stopped) training run. provenance: policy, problems, date, hardware, versions,
    command."""

    method: Method
    settings: TrainSettings
    records: list[StepRecord]
    provenance: dict

    @property
    def start(self) -> Evaluation | None:
        """The held-out evaluation before training. None if there is none."""
        return self.records[0].start_eval if self.records else None

    @property
    def final(self) -> Evaluation:
        """The last held-out evaluation. If a run was stopped before its first, that of the
        start."""
        return next((record.eval for record in reversed(self.records) if record.eval), self.start)

    @property
    def final_step(self) -> int:
        """The step after which `final` was taken. 0 before training."""
        return next((record.step for record in reversed(self.records) if record.eval), 0)

    @property
    def stopped(self) -> bool:
        return not self.records or self.records[-1].step < self.settings.steps


def hardware() -> str:
    """The processor (and GPU) in words, without a name of the machine."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {torch.get_num_threads()} CPU threads"
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    # Linux tells the model, other systems less.
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if "model name" in line
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def provenance(policy: str, problems: str, **more: object) -> dict:
    """What a reader needs to judge a figure: policy, problems, date, hardware, versions and the
    command line."""
    # The command as one would type it.
    name = Path(sys.argv[0])
    module = (
        f"python -m rlvr_helpers.{name.stem}" if name.parent.name == "rlvr_helpers" else name.name
    )
    command = " ".join([module, *sys.argv[1:]])
    # Never the name of the machine, nor a path of it.
    return {
        "policy": policy,
        "problems": problems,
        "date": date.today().isoformat(),
        "hardware": hardware(),
        # Another version can round differently.
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "command": "in a notebook" if "ipykernel" in command else command,
        **more,
    }


def save_run(run: Run, path: str | Path) -> Path:
    """Writes a run as JSON, whole or not at all."""
    data = {
        "method": run.method.to_dict(),
        "settings": asdict(run.settings),
        "provenance": run.provenance,
        "records": [rounded(record.to_dict()) for record in run.records],
    }
    # Without spaces, since the course carries such files.
    text = json.dumps(data, separators=(",", ":"))
    write_whole(Path(path), lambda file: file.write(text.encode()))
    return Path(path)


def load_run(path: str | Path) -> Run:
    """Reads a run. Raises ValueError that names the file if it is no run."""
    path = Path(path)
    where = f"{path.name} in the folder {path.parent.name!r}"
    if not path.exists():
        raise ValueError(f"there is no run {where}: give the folder of a finished run")
    data = read_json(path)
    try:
        # Each part must be there and make sense.
        method = Method(**data["method"])
        settings = TrainSettings(**data["settings"])
        records = read_records(data["records"])
        if len(records) != settings.steps:
            raise ValueError(f"it holds {len(records)} records of {settings.steps} steps")
        if not isinstance(data["provenance"], dict):
            raise ValueError("it does not say where it comes from")
    except (KeyError, TypeError, ValueError) as error:
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{where} is no run that this version can read ({why}): move it away"
        ) from error
    return Run(method, settings, records, provenance=data["provenance"])


def rounded(value: object) -> object:
    """The same nested data with floats of six significant digits, which keeps the files small."""
    # Six digits are more than any figure here is sure of.
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value
