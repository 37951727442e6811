"""A task of one's own: its files, the texts that test its scorer, and the same runs as a command
and in TRL."""

import importlib
import importlib.util
import inspect
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import fields
from io import StringIO
from pathlib import Path

import numpy as np
import torch

from rlvr_helpers.evaluation import evaluate, t_interval
from rlvr_helpers.kit.my_work import my_work_folder
from rlvr_helpers.methods import GRPO, Method
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.records import StepRecord
from rlvr_helpers.rewards import score_completion
from rlvr_helpers.sampling import sample_groups
from rlvr_helpers.study.comparison import Comparison
from rlvr_helpers.study.recipes import settings_for
from rlvr_helpers.study.runs import Run
from rlvr_helpers.study.tables import paired_differences
from rlvr_helpers.study.trl import make_trainer, no_telemetry, trl_train_config
from rlvr_helpers.train_settings import TrainSettings

GROUP = 8
MAX_TOKENS = 20
SCORER = "equation_task:score"
UNDECIDED = "cannot be told apart"
PROBLEM = Problem("Tom has 21 pens. He wins 9. How many pens does Tom have now?", "21 + 9 = 30")
# (what it is, an answer to PROBLEM)
TEXTS = [
    ("right", "21 + 9 = 30."),
    ("right", "<reasoning> 21 + 9 = 30. </reasoning>"),
    ("right", "<reasoning> Let me think. 21 + 9 = 30. </reasoning> <answer> 30 </answer>"),
    ("wrong", "21 + 9 = 31."),
    ("wrong", "21 - 9 = 12."),
    ("wrong", "It is 30."),
    ("wrong", "<reasoning> Let me check. It is about 25. </reasoning> It is 25."),
    ("hack", "21 + 9 = 30. 21 - 9 = 12."),
    ("hack", "21 + 9 = 30. 21 + 9 = 30. 21 + 9 = 30."),
    ("hack", ""),
]


# --- files of one's own


def folder_for(task: str) -> Path:
    """The task's folder in `my_work`. It is made if it is not there."""
    folder = my_work_folder() / task
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep(file: Path, text: str) -> None:
    """Writes a file that is not there yet, and says what it did. Nothing is ever replaced."""
    name = f"{file.parent.name}/{file.name}"
    if not file.exists():
        file.write_text(text, encoding="utf-8")
        print(f"{name}: written")
    elif file.read_text(encoding="utf-8") == text:
        print(f"{name}: there already")
    else:
        print(f"{name}: there already, and it differs. It stays: give your task another name.")


def as_module(scorer: Callable[..., object]) -> str:
    """A scorer as the text of a Python file, which a command can import."""
    name = scorer.__name__
    weights = getattr(scorer, "weights", {})
    return f"import re\n\n\n{inspect.getsource(scorer)}\n\n{name}.weights = {json.dumps(weights)}\n"


def from_file(folder: Path, name: str = SCORER) -> Callable[..., object]:
    """The function "module:function" of a file in the folder, as a command finds it that is started
    there."""
    module, _, function = name.partition(":")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return getattr(importlib.import_module(module), function)


# --- looking before training


def pay_table(
    scorer: Callable[..., object],
    texts: Sequence[tuple[str, str]] = TEXTS,
    problem: Problem = PROBLEM,
) -> str:
    """What the scorer pays for each text, (what it is, an answer to the problem)."""
    lines = []
    for kind, text in texts:
        score = score_completion(scorer, text, problem)
        parts = ", ".join(f"{name} {value:.2f}" for name, value in score.parts.items())
        lines.append(f"{kind:<7}{score.reward:>5.2f}  ({parts})  {text!r}")
    return "\n".join(lines)


def ask(policy: Policy, answers: int = 6) -> None:
    """Prints PROBLEM and a few sampled answers."""
    noise = torch.Generator().manual_seed(0)
    prompt = format_prompt(policy, PROBLEM.question)
    found = sample_groups(policy, [prompt], answers, max_tokens=MAX_TOKENS, generator=noise)
    print("\n    ".join([PROBLEM.question, *found.texts]))


def at_start(
    policy: Policy, problems: list[Problem], scorers: dict[str, Callable[..., object]]
) -> dict[str, float]:
    """The share of groups of 8 sampled answers with a correct one, by scorer. Prints a line for
    each."""
    signal = {}
    for name, scorer in scorers.items():
        noise = torch.Generator().manual_seed(0)
        found = evaluate(
            policy,
            problems,
            MAX_TOKENS,
            temperature=1.0,
            samples=GROUP,
            generator=noise,
            scorer=scorer,
        )
        signal[name] = float(np.reshape(found.strict, (-1, GROUP)).any(axis=1).mean())
        print(
            f"{name:<7} correct: {found.accuracy:.1%} of answers, one or more in"
            f" {signal[name]:.0%} of groups"
        )
    return signal


def parts_table(records: Sequence[StepRecord]) -> str:
    """The parts on the held-out problems, at each evaluation of a run."""
    start = [(0, records[0].start_eval)] + [(r.step, r.eval) for r in records]
    return "\n".join(
        f"step {step:<3}"
        + ", ".join(f"{name} {mean:.2f}" for name, mean in found.part_means.items())
        for step, found in start
        if found
    )


def ends(results: dict[str, list[Run]]) -> str:
    """Each run's held-out accuracy at its end, a line per method."""
    return "\n".join(
        f"{name:<9}" + "".join(f"{run.final.accuracy:>6.0%}" for run in runs)
        for name, runs in results.items()
    )


def winner(results: dict[str, list[Run]]) -> str:
    """Which of two methods is ahead over the seeds, if the interval says so. A comparison that was
    stopped early, with less than two seeds of both, says nothing."""
    for pair, points in paired_differences(results).items():
        if len(points) > 1:
            first, second = pair.split(" - ")
            _, low, high = t_interval(points)
            return first if low > 0 else second if high < 0 else UNDECIDED
    return UNDECIDED


# --- the same runs elsewhere


def settings_words(settings: TrainSettings) -> list[str]:
    """The options that make a command's settings for `tiny` these ones; seed and steps have options
    of their own."""
    usual = settings_for("tiny")
    words = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name not in ("seed", "steps") and value != getattr(usual, field.name):
            words += ["--set", f"{field.name}={value}"]
    return words


def method_words(method: Method) -> str:
    """A method as `--method` takes it: its name, and what differs from GRPO."""
    own = [(f.name, getattr(method, f.name)) for f in fields(method)]
    changed = [f"{name}={value}" for name, value in own if value != getattr(GRPO, name)]
    return ",".join(changed)


def command_for(comparison: Comparison) -> list[str]:
    """The options of `rlvr_helpers.compare` for a comparison of GRPO with a method of one's own."""
    _, method = comparison.methods
    return [
        *("--problems", str(comparison.problems), "--scorer", SCORER),
        *("--methods", "grpo", "--method", method_words(method)),
        *("--seeds", str(len(comparison.seeds)), "--steps", str(comparison.settings.steps)),
        *("--eval-count", str(comparison.eval_count), "--workers", "1"),
        *settings_words(comparison.settings),
        *("--out", "runs"),
    ]


def trl_command_for(comparison: Comparison) -> list[str]:
    """The options of `train_with_trl` for the second method of a comparison."""
    return [
        *("--problems", str(comparison.problems), "--scorer", SCORER),
        *("--method", method_words(comparison.methods[1])),
        *("--steps", str(comparison.settings.steps)),
        *settings_words(comparison.settings),
        *("--out", "runs_trl"),
    ]


def shown(module: str, words: list[str], folder: Path) -> str:
    """A command as one types it in the folder, two or three options a line."""
    words = ["." if word == str(folder) else word for word in words]
    pairs = [shlex.join(pair) for pair in zip(words[::2], words[1::2], strict=True)]
    lines = [f"python -m rlvr_helpers.{module}"]
    for pair in pairs:
        fits = len(lines[-1]) + len(pair) < 88 and len(lines) > 1
        if fits:
            lines[-1] += f" {pair}"
        else:
            lines.append(f"    {pair}")
    return " \\\n".join(lines)


# (what it is here, what it is called in GRPOConfig)
TRL_NAMES = [
    ("group_size", "num_generations"),
    ("epochs", "num_iterations"),
    ("minibatches", "steps_per_generation"),
    ("max_tokens", "max_completion_length"),
    ("temperature", "temperature"),
    ("learning_rate", "learning_rate"),
    ("max_grad_norm", "max_grad_norm"),
    ("clip_low", "epsilon"),
    ("clip_high", "epsilon_high"),
    ("kl_coef", "beta"),
]


def beside_trl(method: Method, settings: TrainSettings) -> str:
    """Each number that both have: our name and value, TRL's name and the value that it gets."""
    config = trl_train_config(method, settings)
    lines = []
    for ours, theirs in TRL_NAMES:
        value = getattr(settings if hasattr(settings, ours) else method, ours)
        same = "equal" if value == config[theirs] else "differs"
        lines.append(f"{ours:<14}{value:<8g}{theirs:<22}{config[theirs]:<8g}{same}")
    return "\n".join(lines)


def try_trl(
    policy: Policy,
    problems: list[Problem],
    method: Method,
    settings: TrainSettings,
    scorer: Callable[..., object],
) -> None:
    """Trains the policy by TRL, with a line per step. Without TRL it says so in one sentence."""
    if importlib.util.find_spec("trl") is None or importlib.util.find_spec("accelerate") is None:
        print('TRL is not installed, so this run is left out. pip install "trl==1.16.0" adds it.')
        return
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()), no_telemetry():
        trainer = make_trainer(
            policy, problems, method, settings=settings, out=folder, scorer=scorer
        )
        trainer.train()
