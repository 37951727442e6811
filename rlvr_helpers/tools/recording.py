"""What the recorders of `data/` share: their options, their files, and some rows of a rollout."""

import argparse
import json
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor

from rlvr_helpers.engine.files import write_whole
from rlvr_helpers.models import Policy
from rlvr_helpers.sampling import Rollout


def options_of(
    doc: str, arguments: list[str] | None = None, seeds: int | None = None
) -> argparse.Namespace:
    """The command line of a recorder. doc: of its module. seeds: how many it usually takes, if it
    takes several."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    if seeds is not None:
        parser.add_argument("--seeds", type=int, default=seeds)
    return parser.parse_args(arguments)


def write_json(out: Path, data: dict, indent: int | None = None) -> None:
    """Writes a file whole or not at all, in one line unless there is an indent, and says its
    size."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(data, separators=separators, indent=indent) + "\n"
    write_whole(out, lambda file: file.write(text.encode()))
    print(f"{out.name}: {out.stat().st_size / 1000:.0f} kB")


def write_runs(out: Path, data: dict) -> None:
    """Writes a file with a line for each of data["runs"], so that a new run changes one line."""
    head = json.dumps({name: value for name, value in data.items() if name != "runs"})
    runs = ",\n".join(json.dumps(run, separators=(",", ":")) for run in data["runs"])
    text = f'{head[:-1]}, "runs": [\n{runs}\n]}}\n'
    write_whole(out, lambda file: file.write(text.encode()))


def rows_of(rollout: Rollout, rows: list[int]) -> Rollout:
    """The rollout of some rows, whole groups of it."""
    whole = {field.name: getattr(rollout, field.name) for field in fields(rollout)}
    tensors = {name: value[rows] for name, value in whole.items() if isinstance(value, Tensor)}
    return replace(rollout, texts=[rollout.texts[row] for row in rows], **tensors)


@torch.no_grad()
def score(policy: Policy, rollout: Rollout) -> Tensor:
    """Log-probs of the completions' tokens under the policy as it is now, [B, T]."""
    return rollout.logprobs_under(policy.model)
