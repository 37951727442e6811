"""Records what training did under each rule, unit and range of the clip stage (lesson 06), on
`tiny`.

    python -m rlvr_helpers.tools.record_clip_stage --out data/runs/clip_stage.json --seeds 3

The settings are those of the collapse: every rollout is used for 16 updates. You can stop it at any
time. The same command continues with the runs that are missing. Seeds come in order, so that all
arms have the same ones. The file (read by `lessons.l06_clipping.explorer.recorded_trainings`):

    settings, eval_count, provenance
    start        held-out accuracy before training
    runs         [{rule, unit, clip_low, clip_high, seed, stopped, largest_ratio,
    largest_token_ratio, accuracy}]

The last four are lists with one number per rollout. stopped: share of the tokens (or sequences)
whose gradient the rule stopped, over all updates on the rollout. largest_ratio: the largest of the
unit's ratios that the loss saw in those updates. largest_token_ratio: the same for tokens in the
last pass, whatever the unit. accuracy: held-out, greedy.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

from torch import Tensor

from rlvr_helpers.lessons.l06_clipping.experiment import EVAL_COUNT, EVERY_ROLLOUT, HARD, RULES
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import GRPO, GSPO
from rlvr_helpers.models import load_policy
from rlvr_helpers.problems import load_problems
from rlvr_helpers.study.runs import provenance, rounded
from rlvr_helpers.tools.recording import options_of, write_runs
from rlvr_helpers.training import Stages, train

SETTINGS = replace(HARD, **EVERY_ROLLOUT)
# A ratio of a sequence is a mean, so it moves far less than that of a token.
METHOD_OF_UNIT = {"token": GRPO, "sequence": GSPO}
# From narrow to so wide that it hardly acts, the course's own among them.
RANGES = {
    "token": [(0.05, 0.05), (0.1, 0.1), (0.2, 0.2), (0.2, 0.28), (0.5, 0.5)],
    "sequence": [(0.003, 0.004), (0.01, 0.015), (0.02, 0.03), (0.05, 0.07), (0.2, 0.2)],
}


class Watched:
    """An objective that counts where its gradient is stopped and keeps the largest ratio that it
    saw."""

    def __init__(self, objective: Callable[..., Tensor], stops: Callable[..., Tensor]) -> None:
        self.objective = objective
        self.stops = stops
        self.reset()

    def reset(self) -> None:
        self.stopped = 0
        self.largest = 1.0

    def __call__(
        self, ratios: Tensor, advantages: Tensor, clip_low: float, clip_high: float
    ) -> Tensor:
        seen = ratios.detach()
        self.stopped += int(self.stops(seen, advantages, clip_low, clip_high).sum())
        self.largest = max([self.largest, *seen.flatten().tolist()])
        return self.objective(ratios, advantages, clip_low, clip_high)


def arms() -> list[tuple[str, str, float, float]]:
    """Every (rule, unit, clip_low, clip_high) that is recorded."""
    # Each range by both rules. The unclipped arms come before them.
    bounded = [
        (rule, unit, *span)
        for unit, spans in RANGES.items()
        for rule in ("clamp", "minimum")
        for span in spans
    ]
    return [*((("none", unit, math.inf, math.inf)) for unit in RANGES), *bounded]


def record_run(
    rule: str, unit: str, clip_low: float, clip_high: float, seed: int
) -> tuple[dict, float]:
    """One run from the start model, and its held-out accuracy before training."""
    # The arm: a method with this range, whose objective is watched.
    method = replace(METHOD_OF_UNIT[unit], clip_low=clip_low, clip_high=clip_high)
    watched = Watched(*RULES[rule])
    run = {
        "rule": rule,
        "unit": unit,
        "clip_low": _or_none(clip_low),
        "clip_high": _or_none(clip_high),
        "seed": seed,
    }
    # Train, and note what each rollout showed.
    run |= {name: [] for name in ("stopped", "largest_ratio", "largest_token_ratio", "accuracy")}
    records = train(
        load_policy("tiny"),
        load_problems("train"),
        method,
        settings=replace(SETTINGS, seed=seed),
        eval_problems=load_problems("test")[:EVAL_COUNT],
        stages=Stages(loss=partial(policy_loss, objective=watched)),
    )
    for record in records:
        # Of how many the share is, over all updates on the rollout.
        seen = record.tokens if unit == "token" else SETTINGS.prompts_per_step * SETTINGS.group_size
        tokens = record.token_log_ratio
        run["stopped"].append(watched.stopped / (seen * SETTINGS.epochs))
        run["largest_ratio"].append(watched.largest)
        run["largest_token_ratio"].append(math.exp(tokens.quantiles[-1]) if tokens else 1.0)
        run["accuracy"].append(record.eval.accuracy)
        watched.reset()
        if record.start_eval:
            start = record.start_eval.accuracy
    return run, start


def _or_none(value: float) -> float | None:
    """A range without an end is null in JSON."""
    return value if math.isfinite(value) else None


def key(run: dict) -> tuple:
    """What tells runs apart."""
    return run["rule"], run["unit"], run["clip_low"], run["clip_high"], run["seed"]


def main() -> None:
    options = options_of(__doc__, seeds=3)
    command = f"python -m rlvr_helpers.tools.record_clip_stage --seeds {options.seeds}"
    data = {
        "settings": asdict(SETTINGS),
        "eval_count": EVAL_COUNT,
        "provenance": provenance("tiny", "tiny", command=command),
        "start": None,
        "runs": [],
    }
    if options.out.exists():
        data |= {name: json.loads(options.out.read_text())[name] for name in ("start", "runs")}
    # Make those that are missing, and write each as soon as it is done.
    done = {key(run) for run in data["runs"]}
    for seed in range(options.seeds):
        for rule, unit, clip_low, clip_high in arms():
            if (rule, unit, _or_none(clip_low), _or_none(clip_high), seed) in done:
                continue
            started = time.perf_counter()
            run, data["start"] = record_run(rule, unit, clip_low, clip_high=clip_high, seed=seed)
            data["runs"].append(rounded(run))
            write_runs(options.out, data)
            took = time.perf_counter() - started
            print(key(run), [round(a, 3) for a in run["accuracy"]], f"{took:.0f} s", flush=True)


if __name__ == "__main__":
    main()
