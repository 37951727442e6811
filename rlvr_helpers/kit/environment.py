"""A check of the machine before the first lesson: is everything there?"""

import importlib.metadata as metadata
import platform

import torch

from rlvr_helpers.paths import DATA

PACKAGES = ("torch", "transformers", "ipywidgets", "matplotlib")


def check_environment() -> bool:
    """Prints what the course needs and whether it is there, each with what to do if not. True if
    nothing is missing."""
    lines = [(True, f"Python {platform.python_version()}")]
    # Packages, data, and what the machine has.
    for package in PACKAGES:
        try:
            lines.append((True, f"{package} {metadata.version(package)}"))
        except metadata.PackageNotFoundError:
            lines.append(
                (False, f"{package} is missing: start the course by the command in README.md")
            )
    for part in ("tiny/model.safetensors", "problems/train.jsonl", "problems/test.jsonl"):
        there = (DATA / part).is_file()
        lines.append(
            (
                there,
                f"data/{part}"
                + ("" if there else " is missing: get the whole repository, not only the package"),
            )
        )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none (none is needed)"
    lines.append((True, f"{torch.get_num_threads()} CPU threads; GPU: {gpu}"))
    for fine, text in lines:
        print("ok     " if fine else "MISSING", text)
    return all(fine for fine, _ in lines)
