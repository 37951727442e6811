"""Checkpoints of a training run: written whole or not at all, and resumed bit for bit."""

import os
import random
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import torch

from rlvr_helpers.large import lora_layers
from rlvr_helpers.records import StepRecord

# Settings that may differ when a run goes on: they change its length, memory or files, not what it computes.
FREE = ("steps", "micro_batch_rows", "micro_batch_tokens", "gradient_checkpointing", "checkpoint_every")


class Checkpoints:
    """The checkpoint of one run in a folder: `checkpoint.pt` (replaced at every step) and `start.pt` (the reference).

    With LoRA it holds what is trained alone. Raises ValueError where the folder holds a run with another method or other
    settings (those in FREE may differ).
    """

    def __init__(self, folder, method, settings):
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(
                f"{self.folder.name!r} is a file, and checkpoints need a folder: choose another name"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file, self.start_file = self.folder / "checkpoint.pt", self.folder / "start.pt"
        self.identity = {"method": asdict(method), "settings": identity_of(settings)}
        self.defaults = {f.name: f.default for f in fields(settings) if f.default is not MISSING}  # of older runs
        if self.file.exists():
            self._check(self._load_state()["identity"])

    def _check(self, found: dict) -> None:
        for part in ("method", "settings"):
            for key, value in self.identity[part].items():
                there = found[part].get(key, self.defaults.get(key))
                if there != value:
                    raise ValueError(
                        f"{self.folder.name!r} holds a run with {key} = {there!r}, not {value!r}: "
                        "choose another folder, or the same settings to go on with that run"
                    )

    def save(self, model, optimizer, reference, records: list[StepRecord], scaler=None) -> None:
        """Saves the run after a step. Raises OSError that says what to do; the checkpoint before stays as it was."""
        begun = self.file.exists() and self.start_file.exists()  # a start model without a checkpoint is another run's
        if reference not in (None, model) and not begun:
            write_whole(self.start_file, lambda file: torch.save(reference.state_dict(), file))
        state = {
            "identity": self.identity,
            "model": trained_state(model),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else {},
            "records": [record.to_dict() for record in records],
            "random": {"python": random.getstate(), "torch": torch.get_rng_state()},
        }
        write_whole(self.file, lambda file: torch.save(state, file))

    def resume(self, model, optimizer, reference, device, scaler=None) -> list[StepRecord]:
        """Puts model, optimizer, reference and random states where the checkpoint left them; the records so far."""
        if not self.file.exists():
            return []
        state = self._load_state(device)
        shapes = {name: tensor.shape for name, tensor in trained_state(model).items()}
        if shapes != {name: tensor.shape for name, tensor in state["model"].items()}:
            raise ValueError(f"the checkpoint in {self.folder.name!r} is of another model: choose another folder")
        model.load_state_dict(state["model"], strict=not lora_layers(model))
        optimizer.load_state_dict(state["optimizer"])
        if scaler:
            scaler.load_state_dict(state.get("scaler", {}))
        if reference not in (None, model):
            reference.load_state_dict(self._load(self.start_file, device))
        random.setstate(state["random"]["python"])
        torch.set_rng_state(state["random"]["torch"].cpu())
        return [StepRecord.from_dict(record) for record in state["records"]]

    def _load_state(self, device="cpu") -> dict:
        state = self._load(self.file, device)
        if not isinstance(state, dict) or not {"identity", "model", "optimizer", "records", "random"} <= set(state):
            raise self._unreadable(self.file, "it is no checkpoint of a run")
        return state

    def _load(self, file: Path, device="cpu") -> dict:
        try:
            return torch.load(file, map_location=device, weights_only=True)
        except Exception as error:
            raise self._unreadable(file, error) from error

    def _unreadable(self, file: Path, why) -> ValueError:
        return ValueError(
            f"{file.name} in the folder {self.folder.name!r} cannot be read ({why}): move it away to start anew"
        )


def identity_of(settings) -> dict:
    """The settings that make a run what it is."""
    return {key: value for key, value in asdict(settings).items() if key not in FREE}


def trained_state(model) -> dict:
    """What training changes: all of a model's state, or with LoRA its trained matrices alone."""
    state = model.state_dict()
    return {name: tensor for name, tensor in state.items() if "lora_" in name} if lora_layers(model) else state


def write_whole(path: Path, write) -> None:
    """Calls write(file) on a temporary file beside `path`, then puts it in place: readers see the old file or the new.

    Raises OSError that says what to do when the disk is full or the folder cannot be written; the old file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if not isinstance(error, (OSError, RuntimeError)):  # torch.save turns a full disk into a RuntimeError
            raise
        raise OSError(
            f"{path.name} could not be written ({error}). Free some disk space or choose another folder, then run again: "
            "what was saved before is untouched."
        ) from error
