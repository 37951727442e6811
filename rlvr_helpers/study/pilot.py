"""A pilot run without the clip, which finds the clip range of a sequence-level method."""

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from rlvr_helpers.checkpoints import identity_of
from rlvr_helpers.engine.locks import one_owner
from rlvr_helpers.methods import GSPO, Method
from rlvr_helpers.models import Policy, load_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.records import Distribution, StepRecord
from rlvr_helpers.study.comparison import Comparison, split_problems, start_policy
from rlvr_helpers.study.runs import load_run, save_run
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train


def calibrate_clip_range(
    policy: Policy | str = "tiny",
    method: Method = GSPO,
    settings: TrainSettings | None = None,
    share: float = 0.30,
    problems: list[Problem] | None = None,
    reward: Callable[[str, str], float] | None = None,
    scorer: Callable[..., float | dict[str, float]] | None = None,
    trainer: Callable[..., Iterator[StepRecord]] = train,
) -> tuple[float, float, list[StepRecord]]:
    """A clip range for a method from a pilot without the clip, on training problems: (clip_low,
    clip_high, records).

    epsilon is where |log ratio| is exceeded by `share` of the ratios of the last pass, the median
    over the pilot's steps. About half of those have the sign that makes the clip bind. Low and high
    keep the paper's proportion of 3 to 4. The policy (a name, or a Policy, which is trained) must
    not be used for the comparison itself. reward, scorer: as in `train`.
    """
    # Train without the clip, on a seed that no comparison uses.
    settings = settings or TrainSettings(steps=8, seed=1000)
    pilot = replace(method, clip_low=math.inf, clip_high=math.inf)
    policy = load_policy(policy) if isinstance(policy, str) else policy
    problems = problems or load_problems("train", policy.problems)
    steps = trainer(policy, problems, pilot, settings=settings, reward=reward, scorer=scorer)
    records = list(steps)
    # The range that this share of the ratios leaves, step by step.
    level = "token_log_ratio" if method.ratio_level == "token" else "sequence_log_ratio"
    found = [
        exceeded_by(getattr(r, level), share) for r in records if getattr(r, level) is not None
    ]
    if not found:
        raise ValueError(
            "no group of the pilot had a signal: the problems are too hard for this policy, or too"
            " easy. Choose other problems, or a larger group_size"
        )
    epsilon = statistics.median(found)
    # 3 to 4, and epsilon is their mean.
    return epsilon * 6 / 7, epsilon * 8 / 7, records


# What a kept pilot must share.
PILOT_OF = ("policy", "problems", "reward", "scorer", "lora_rank", "compute", "faults")


def run_pilot(
    comparison: Comparison, trainer: Callable[..., Iterator[StepRecord]] = train
) -> tuple[float, float, list[StepRecord]]:
    """`calibrate_clip_range` for a comparison's policy, problems and settings: eight steps of GSPO
    without the clip. With an `out` folder the pilot is kept there in `pilot.json`, so that a
    resumed comparison keeps the range that it had."""
    folder = Path(comparison.out) if comparison.out is not None else None
    finished = folder and (folder / "pilot.json").exists()
    with one_owner(None if finished else folder):
        return _run_pilot(comparison, trainer)


def _run_pilot(
    comparison: Comparison, trainer: Callable[..., Iterator[StepRecord]]
) -> tuple[float, float, list[StepRecord]]:
    file = Path(comparison.out) / "pilot.json" if comparison.out is not None else None
    settings = replace(comparison.settings, steps=8, seed=1000)
    mine = comparison.new_run(GSPO, settings.seed)
    # A pilot that was made before, of the same comparison.
    if file and file.exists():
        run = load_run(file)
        same = {key: run.provenance.get(key) == mine.provenance.get(key) for key in PILOT_OF}
        if identity_of(run.settings) != identity_of(settings) or not all(same.values()):
            raise ValueError(
                f"the pilot in {file.parent.name!r} was made with another policy, other problems or"
                " other settings: choose another folder for `out`"
            )
        return run.method.clip_low, run.method.clip_high, run.records
    # Else it is made and kept.
    policy = start_policy(comparison)
    problems, _ = split_problems(comparison)
    low, high, records = calibrate_clip_range(
        policy, GSPO, settings, problems=problems, trainer=trainer, **comparison.pays
    )
    if file:
        run = replace(mine, settings=settings, records=records)
        save_run(replace(run, method=replace(GSPO, clip_low=low, clip_high=high)), file)
    return low, high, records


def with_calibration(comparison: Comparison) -> Comparison:
    """The comparison with the range that its pilot finds for sequence-level methods, if it asks for
    that."""
    if not comparison.calibrate:
        return comparison
    low, high, _ = run_pilot(comparison)
    return with_range(comparison, low, high)


def with_range(comparison: Comparison, low: float, high: float) -> Comparison:
    """The comparison with this clip range in its sequence-level methods."""
    methods = [
        replace(m, clip_low=low, clip_high=high) if m.ratio_level == "sequence" else m
        for m in comparison.methods
    ]
    return replace(comparison, methods=tuple(methods))


def exceeded_by(distribution: Distribution, share: float) -> float:
    """The epsilon that |x| exceeds in this share of a distribution, by bisection on its
    histogram."""
    low = 0.0
    high = max(abs(distribution.low), abs(distribution.high))
    # Fifty halvings leave nothing of the interval.
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if distribution.share_outside(-middle, middle) > share else (low, middle)
        )
    return high
