"""The face of the package, and imports of the first edition's notebooks."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rlvr_helpers
from rlvr_helpers import study
from rlvr_helpers._moved import MODULES

AGAIN = "This notebook is of the first edition. Run copy_notebooks() for the new lessons"


@pytest.mark.parametrize("package", [rlvr_helpers, study], ids=lambda package: package.__name__)
def test_every_name_of_a_face_is_there(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018


def test_the_package_itself_loads_neither_torch_nor_transformers():
    code = (
        "import sys, rlvr_helpers; print({'torch', 'transformers', 'matplotlib'} &"
        " set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_that_was_moved_says_what_to_do(module):
    if Path(rlvr_helpers.__file__).parent.joinpath(*module.split(".")).is_dir():
        pytest.skip("a folder of compiled files of the first edition is left here")
    with pytest.raises(ImportError, match=re.escape(AGAIN)):
        importlib.import_module(f"rlvr_helpers.{module}")


@pytest.mark.parametrize(
    "module, name",
    [
        ("compare", "load_trained"),
        ("compare", "run_pilot"),
        ("sampling", "logprobs_from_logits"),
        ("widgets", "ProblemBox"),
        ("widgets", "progress"),
        ("exercises", "progress"),
    ],
)
def test_a_name_that_was_moved_says_what_to_do(module, name):
    with pytest.raises(ImportError, match=re.escape(AGAIN)):
        exec(f"from rlvr_helpers.{module} import {name}", {})


def test_a_slip_of_the_keyboard_is_an_ordinary_error():
    with pytest.raises(ModuleNotFoundError, match="samplng"):
        importlib.import_module("rlvr_helpers.samplng")
    with pytest.raises(ImportError, match="cannot import name"):
        exec("from rlvr_helpers.sampling import sample_group", {})


# Public names of the first edition that people rely on stay where they were.
STAYED = """
advantages.group_advantages ratios.token_ratios ratios.sequence_ratios clipping.clipped_objective
clipping.clip_binds losses.aggregate losses.kl_estimate losses.policy_loss sampling.token_logprobs
sampling.sample_groups sampling.Rollout rewards.extract_answer rewards.answers_match
rewards.correctness_reward rewards.format_reward rewards.lenient_answer problems.load_problems
models.load_policy models.make_policy models.format_prompt methods.GRPO methods.DR_GRPO methods.GSPO
methods.Method training.train training.TrainSettings exercises.check exercises.solution
exercises.core.registry compare.main
"""


@pytest.mark.parametrize("path", STAYED.split())
def test_public_names_stay_where_they_were(path):
    module, _, name = path.rpartition(".")
    assert hasattr(importlib.import_module(f"rlvr_helpers.{module}"), name)
