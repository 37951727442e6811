"""What should run on this machine, and how long will it take? What notebook 09 asks before it
starts."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rlvr_helpers.models import KNOWN, Known, is_here
from rlvr_helpers.study.comparison import Comparison
from rlvr_helpers.study.recipes import (
    eval_count_for,
    fit_to_card,
    on_this_card,
    problems_for,
    seconds_a_step,
    settings_for,
    this_card,
    workers_for,
)
from rlvr_helpers.train_settings import TrainSettings


def choose_policy(is_here: Callable[[Known], bool] = is_here) -> tuple[str, str]:
    """The largest policy that fits this machine and is already on it, and the reason in words."""
    if os.environ.get("RLVR_MODEL"):
        return os.environ["RLVR_MODEL"], "the environment variable RLVR_MODEL names it"
    card = this_card()
    if card is None:
        return "tiny", "there is no GPU here; tiny trains on any CPU in minutes"
    # From the largest to the smallest.
    for name in ("qwen2.5-1.5b", "qwen2.5-0.5b", "smollm2-135m"):
        fitting = fit_to_card(name, settings_for(name), card)
        if fitting and is_here(KNOWN[name]):
            how = (
                f"with LoRA of rank {fitting[1]}" if fitting[1] else "with all its weights trained"
            )
            return (
                name,
                f"it is on this machine and fits the {card.name} ({card.memory_gib:.0f} GiB) {how}",
            )
    return "tiny", "no larger policy is both on this machine and small enough for its GPU"


# What one run of 32 steps adds on two cores, where two go side by side. An Intel Xeon took 33 s, an
# AMD EPYC 52 s for 40 steps. Between the two, since a promise should hold on the slower one.
SECONDS_A_RUN = {"tiny": 45}


def expected_seconds(name: str, settings: TrainSettings, lora_rank: int | None) -> float | None:
    """What one run takes: measured for `tiny` on a CPU, calculated for a GPU (`memory`), else not
    known."""
    if name in SECONDS_A_RUN:
        return SECONDS_A_RUN[name] * settings.steps / TrainSettings.steps
    card = this_card()
    a_step = seconds_a_step(name, settings, lora_rank, card=card) if card else None
    return a_step * settings.steps if a_step else None


def plan_comparison(
    model: str | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    out: str | Path = "runs",
) -> Comparison:
    """The comparison of notebook 09, and in print what will run, why and for about how long.

    model, seeds and steps of None: the largest policy that fits this machine and is on it (the
    environment variable RLVR_MODEL comes first), three seeds if they take less than ten minutes and
    else one, the number of steps that suits the policy. On a GPU larger policies take gradient
    checkpointing or LoRA if they do not fit without.
    """
    # A short form, for tests of the notebook itself.
    if os.environ.get("RLVR_FAST"):
        seeds = 1
        steps = 4
    # The policy and its settings, as this machine can train them.
    name, reason = (model, "you chose it") if model else choose_policy()
    settings = settings_for(name)
    settings = settings if steps is None else replace(settings, steps=steps)
    settings, lora_rank = on_this_card(name, settings)
    # As many seeds as ten minutes allow.
    a_run = expected_seconds(name, settings, lora_rank)
    seeds = (3 if a_run and a_run * 9 <= 600 else 1) if seeds is None else seeds
    folder = Path(out) / f"{Path(name).name}-{settings.steps}-steps"
    comparison = Comparison(
        name,
        seeds=tuple(range(seeds)),
        settings=settings,
        out=folder,
        workers=workers_for(name, 3 * seeds),
        lora_rank=lora_rank,
        calibrate=name != "tiny",
        eval_count=eval_count_for(problems_for(name)),
    )
    print(
        f"{name}: {reason}.\n3 methods x {seeds} seeds x {settings.steps} steps:"
        f" {in_words(name, a_run, 3 * seeds)}. Kept in {folder.as_posix()}."
    )
    return comparison


def in_words(name: str, a_run: float | None, runs: int) -> str:
    """How long some runs will take, and where that is from."""
    if a_run is None:
        card = this_card()
        return f"speed not known on this {card.name}" if card else "a time not yet measured"
    # Where the figure is from belongs to it.
    source = (
        "on two CPU cores" if name in SECONDS_A_RUN else "by calculation, evaluations not counted"
    )
    minutes = round(a_run * runs / 60)
    return (
        f"about {minutes} minute{'s' * (minutes > 1)} {source}"
        if minutes
        else f"less than a minute {source}"
    )
