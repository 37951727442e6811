"""A check of the machine before the first lesson: is everything there?"""

import importlib.metadata as metadata
import platform

import torch

from rlvr_helpers.paths import DATA

PACKAGES = ("torch", "transformers", "ipywidgets", "matplotlib")


def check_environment() -> bool:
    """Prints what the course needs, whether it is there, and what to do if not. True if nothing is
    missing."""
    lines = [(True, f"Python {platform.python_version()}")]
    # The packages that the lessons import.
    for package in PACKAGES:
        try:
            lines.append((True, f"{package} {metadata.version(package)}"))
        except metadata.PackageNotFoundError:
            advice = "start the course by the command in README.md"
            lines.append((False, f"{package} is missing: {advice}"))
    # The data: the model and the problems stand for the rest.
    for part in ("tiny/model.safetensors", "problems/train.jsonl", "problems/test.jsonl"):
        there = (DATA / part).is_file()
        advice = " is missing: get the whole repository, not only the package"
        lines.append((there, f"data/{part}{'' if there else advice}"))
    # The machine. Every lesson runs without a GPU.
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none (none is needed)"
    lines.append((True, f"{torch.get_num_threads()} CPU threads; GPU: {gpu}"))
    for fine, text in lines:
        print("ok     " if fine else "MISSING", text)
    return all(fine for fine, _ in lines)
