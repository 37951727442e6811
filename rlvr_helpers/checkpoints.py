"""Checkpoints of a training run: written whole or not at all, and resumed bit for bit."""

import pickle
import random
import zipfile
from collections.abc import Iterator
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import torch
from torch import nn

from rlvr_helpers.engine.files import remove_dead_parts, write_whole
from rlvr_helpers.engine.large import lora_layers
from rlvr_helpers.engine.locks import one_process
from rlvr_helpers.engine.names import as_function, digest, name_of
from rlvr_helpers.methods import Method
from rlvr_helpers.minibatches import Learner
from rlvr_helpers.records import StepRecord, read_records
from rlvr_helpers.train_settings import TrainSettings

# Settings that can differ when a run is resumed. They change its length, memory or files, not what
# it computes.
FREE = (
    "steps",
    "micro_batch_rows",
    "micro_batch_tokens",
    "gradient_checkpointing",
    "checkpoint_every",
    "checkpoint_minutes",
)


class Checkpoints:
    """The checkpoint of one run in a folder: `checkpoint.pt` (replaced each time) and `start.pt`
    (the reference). With LoRA it holds only what is trained.

    data:       what the run is made of beside method and settings, by name, as text (`name_of`,
                `name_of_problems`). A checkpoint of an older version does not say it, and is
                resumed.
    start_file: where runs with the same start model keep it together
    """

    def __init__(
        self,
        folder: str | Path,
        method: Method,
        settings: TrainSettings,
        data: dict[str, str] | None = None,
        start_file: str | Path | None = None,
    ) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(
                f"{self.folder.name!r} is a file, and checkpoints need a folder: choose another"
                " name"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_dead_parts(self.folder)
        # The checkpoint itself, and the start model: its own, or one that several runs share.
        self.file = self.folder / "checkpoint.pt"
        self.start_file = self.folder / "start.pt"
        self.shared = start_file is not None and not self.start_file.exists()
        if self.shared:
            self.start_file = Path(start_file)
        # What the run is, as the file says it too.
        self.identity = {
            "method": method.to_dict() | names_of_functions(method),
            "settings": identity_of(settings),
            "data": data or {},
        }
        defaults = {f.name: f.default for f in fields(settings) if f.default is not MISSING}
        # What a checkpoint of an older version does not say.
        self.older = defaults | self.identity["data"]

    @classmethod
    def of_run(
        cls,
        folder: str | Path | None,
        method: Method,
        settings: TrainSettings,
        data: dict[str, str],
        start_file: str | Path | None,
    ) -> "Checkpoints | None":
        """Those of the folder, checked. None without a folder."""
        if folder is None:
            return None
        own = cls(folder, method, settings, data=data, start_file=start_file)
        own.check()
        return own

    def alone(self, steps: Iterator[StepRecord]) -> Iterator[StepRecord]:
        """The steps, taken while no other process trains in the folder."""
        with one_process(self.folder):
            yield from steps

    def check(self) -> None:
        """Raises ValueError if the folder holds another run (settings in FREE can differ) or a
        damaged checkpoint."""
        if not self.file.exists():
            return
        found = self._load_state()["identity"]
        # Name the first difference, with both values.
        for part, own in self.identity.items():
            for key, value in own.items():
                there = found.get(part, {}).get(key, self.older.get(key))
                if there != value:
                    raise ValueError(
                        f"{self.folder.name!r} holds a run with {key} = {there!r}, not {value!r}: "
                        "choose another folder, or the same settings to resume that run"
                    )

    def _keep_start(self, reference: nn.Module, device: torch.device) -> None:
        """Saves the start model of a new run. A file that is already there belongs to another run,
        or to all runs together."""
        if self.shared and self.start_file.exists():
            # Runs of one comparison share the file, so it must hold the very same weights.
            kept = self._load(self.start_file, device)
            own = reference.state_dict()
            if not (
                kept.keys() == own.keys()
                and all(torch.equal(kept[name], own[name]) for name in own)
            ):
                raise ValueError(
                    f"start.pt in the folder {self.start_file.parent.name!r} is another start"
                    " model, of other runs there: choose another folder"
                )
            return
        write_whole(self.start_file, lambda file: torch.save(reference.state_dict(), file))

    def save(self, learner: Learner, records: list[StepRecord]) -> None:
        """Saves the run after a step. Raises OSError that says what to do. If so, the checkpoint
        before stays as it was."""
        # Everything that the next step depends on.
        state = {
            "identity": self.identity,
            "model": trained_state(learner.model),
            "optimizer": learner.optimizer.state_dict(),
            "scaler": learner.scaler.state_dict() if learner.scaler else {},
            "records": [record.to_dict() for record in records],
            "random": {"python": random.getstate(), "torch": torch.get_rng_state()},
        }
        write_whole(self.file, lambda file: torch.save(state, file))

    def resume(self, learner: Learner, device: torch.device) -> list[StepRecord]:
        """Puts model, optimizer, reference and random states where the checkpoint left them.
        Returns the records so far. A new run has none, and its start model is saved."""
        model = learner.model
        reference = learner.reference
        if not self.file.exists():
            if reference not in (None, model):
                self._keep_start(reference, device)
            return []
        # Read and check everything before anything is changed.
        state = self._load_state(device, checked=True)
        try:
            records = read_records(state["records"])
        except ValueError as error:
            raise self._unreadable(self.file, str(error)) from error
        if reference not in (None, model):
            start = self._load(self.start_file, device)
            if not all_finite(list(start.values())):
                raise self._unreadable(self.start_file, "it holds numbers that are not finite")
        # Put back models, optimizer and random states.
        self.load_weights(model, state)
        if reference not in (None, model):
            reference.load_state_dict(start)
        learner.optimizer.load_state_dict(state["optimizer"])
        if learner.scaler:
            learner.scaler.load_state_dict(state.get("scaler", {}))
        random.setstate(state["random"]["python"])
        torch.set_rng_state(state["random"]["torch"].cpu())
        return records

    def load_weights(self, model: nn.Module, state: dict | None = None) -> int:
        """Gives a model the weights of the checkpoint, and returns their step. Raises ValueError if
        they are another model's or not finite."""
        state = state or self._load_state(model.device)
        # The same model?
        shapes = {name: tensor.shape for name, tensor in trained_state(model).items()}
        if shapes != {name: tensor.shape for name, tensor in state["model"].items()}:
            raise ValueError(
                f"the checkpoint in {self.folder.name!r} is of another model: choose another folder"
            )
        # Only finite numbers?
        moments = [
            moment
            for of_weight in state["optimizer"]["state"].values()
            for moment in of_weight.values()
        ]
        if not all_finite([*state["model"].values(), *moments]):
            raise self._unreadable(self.file, "it holds numbers that are not finite")
        model.load_state_dict(state["model"], strict=not lora_layers(model))
        return len(state["records"])

    def _load_state(self, device: torch.device | str = "cpu", checked: bool = False) -> dict:
        state = self._load(self.file, device, checked)
        parts = {
            "identity": dict,
            "model": dict,
            "optimizer": dict,
            "records": list,
            "random": dict,
        }
        # Are all parts there?
        if not isinstance(state, dict) or not all(
            isinstance(state.get(name), kind) for name, kind in parts.items()
        ):
            raise self._unreadable(self.file, "it is no checkpoint of a run")
        if not all(
            isinstance(state["identity"].get(part), dict) for part in ("method", "settings")
        ):
            raise self._unreadable(self.file, "it does not say of which run it is")
        return state

    def _load(self, file: Path, device: torch.device | str = "cpu", checked: bool = False) -> dict:
        """What torch.save wrote. It is a zip file with a checksum of each part, which torch.load
        does not check."""
        try:
            if not checked:
                with zipfile.ZipFile(file) as parts:
                    if parts.testzip():
                        raise zipfile.BadZipFile
            return torch.load(file, map_location=device, weights_only=True)
        except FileNotFoundError as error:
            raise self._unreadable(file, "it is missing") from error
        # torch's own message would say how to switch the protection off.
        except pickle.UnpicklingError as error:
            raise self._unreadable(
                file, "it holds more than tensors and numbers, which could run code"
            ) from error
        except Exception as error:
            raise self._unreadable(file, "it is damaged, or no checkpoint") from error

    def _unreadable(self, file: Path, why: str) -> ValueError:
        return ValueError(
            f"{file.name} in the folder {file.parent.name!r} cannot be read ({why}): move it away"
            " to start anew"
        )


def all_finite(values: list[torch.Tensor | int]) -> bool:
    """Whether all tensors hold finite numbers. An 8-bit optimizer has plain numbers too."""
    tensors = [v for v in values if isinstance(v, torch.Tensor) and v.is_floating_point()]
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def names_of_functions(method: Method) -> dict[str, str | None]:
    """The functions of a method's own, named with a digest of what they do. None if it has none."""
    own = {"objective": method.objective, "clip_share": method.clip_share}
    return {
        name: None if given is None else name_of(as_function(given, name))
        for name, given in own.items()
    }


def identity_of(settings: TrainSettings) -> dict:
    """The settings that make a run what it is."""
    return {key: value for key, value in asdict(settings).items() if key not in FREE}


def name_of_problems(problems: list, whole: bool = False) -> str:
    """How many problems, and a digest of their texts and answers in their order. whole: of their
    further columns too, which a scorer can read."""
    # Columns count only if something reads them.
    rows = [
        (problem.question, problem.answer, *([sorted(problem.columns.items())] * whole))
        for problem in problems
    ]
    return f"{len(problems)} ({digest(rows)})"


def trained_state(model: nn.Module) -> dict:
    """What training changes: all of a model's state, or with LoRA only its trained matrices."""
    state = model.state_dict()
    if not lora_layers(model):
        return state
    return {name: tensor for name, tensor in state.items() if "lora_" in name}
