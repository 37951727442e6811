"""The run explorer of lesson 09: scrub through the steps of recorded runs, methods over each other.

run = run_explorer()         # the recorded runs. run_explorer(results) shows your own.
run                          # as a cell's last line it shows itself
run.step = 16                # every value that a reader changes is a trait
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import traitlets

from rlvr_helpers.evaluation import Reading
from rlvr_helpers.kit.recorded import recorded_runs
from rlvr_helpers.paths import DATA
from rlvr_helpers.plots.histograms import shares_in_bins
from rlvr_helpers.plots.house import BLUE, GREEN, INK, ORANGE
from rlvr_helpers.records import LEVELS, Distribution, StepRecord
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.study.runs import Run
from rlvr_helpers.widgets.live import LiveExplorer, Still, svg_text, value
from rlvr_helpers.widgets.words import RUN_EXPLORER

# Shares in a histogram travel as whole numbers of this.
UNIT = 1e-3
QUANTITIES = ("accuracy", "reward_mean", "clip_fraction", "entropy", "kl", "length_mean")
# A method's CSS variable and dashes, and the colours where there is no CSS.
LOOKS = {"GRPO": ("grpo", ""), "Dr. GRPO": ("dr-grpo", "6 2"), "GSPO": ("gspo", "2 2")}
COLOURS = {"grpo": BLUE, "dr-grpo": ORANGE, "gspo": GREEN, "ink": INK}


class RunExplorer(LiveExplorer):
    """The explorer. Its traits are what a reader changes in the page.

    step:     0 (before training) to the last
    seed:     which of a method's runs, counted from 0
    quantity: what the curves show, one of QUANTITIES
    shown:    names of the methods that are drawn
    problem:  which of the problems whose answers are shown
    """

    script = Path(__file__).with_name("explorer.js")
    step = value(traitlets.Int(0, min=0))
    seed = value(traitlets.Int(0, min=0))
    quantity = value(traitlets.Enum(QUANTITIES, "accuracy"))
    shown = value(traitlets.List())
    problem = value(traitlets.Int(0, min=0))


def run_explorer(results: dict[str, list[Run]] | None = None, **values: object) -> RunExplorer:
    """The explorer over runs by method name, as `run_comparison` fills them.

    results: by default those recorded in `data/runs/tiny`, with the answers to some problems
    values:  of its traits
    """
    answers = recorded_answers() if results is None else own_answers(results)
    results = results or recorded_runs()
    # All runs share the axes of their histograms.
    half = {level: half_width(results, level) for level in ("token", "sequence")}
    data = {
        "methods": [
            method_data(name, runs) | {"runs": [run_data(run, half) for run in runs]}
            for name, runs in results.items()
        ],
        "steps": max(len(run.records) for runs in results.values() for run in runs),
        "unit": UNIT,
        "half": half,
        "answers": answers,
    }
    values = {"shown": list(results), "step": 1, **values}
    return RunExplorer(data=data, words=RUN_EXPLORER, still=still(results), **values)


def method_data(name: str, runs: Sequence[Run]) -> dict:
    """A method's name, its looks, and the range that it clips to."""
    method = runs[0].method
    look, dash = LOOKS.get(name, ("ink", ""))
    # A range without an end is not drawn.
    ends = [method.clip_low, method.clip_high]
    return {
        "name": name,
        "look": look,
        "dash": dash,
        "level": method.ratio_level,
        "unit": method.clip_unit,
        "range": ends if all(map(math.isfinite, ends)) else None,
    }


def run_data(run: Run, half: dict[str, float]) -> dict:
    """One run for the page: a list per quantity (null where it was not measured), histograms."""
    histograms = {
        level: [histogram(getattr(r, f"{level}_log_ratio"), half[level]) for r in run.records]
        for level in half
    }
    spreads = {
        level: [rounded(getattr(r, f"{level}_log_ratio"), "std") for r in run.records]
        for level in half
    }
    curves = {name: curve(run.records, name) for name in QUANTITIES}
    return {"curves": curves, "histograms": histograms, "spreads": spreads}


def curve(records: Sequence[StepRecord], name: str) -> list[float | None]:
    """A quantity before training and after each step. None where it was not measured."""
    if name == "accuracy":
        return [rounded(records[0].start_eval, name), *(rounded(r.eval, name) for r in records)]
    return [None, *(rounded(record, name) for record in records)]


def rounded(found: object, name: str) -> float | None:
    """An attribute with three digits. None if there is no object or no number."""
    number = getattr(found, name, None)
    return None if number is None else float(f"{number:.3g}")


def histogram(found: Distribution | None, half: float) -> list[int]:
    """Shares of log-ratios in equal bins from -half to half, in units of UNIT. The number of the
    first bin that is not empty comes first, then all bins up to the last that is not."""
    if found is None:
        return []
    shares = np.round(shares_in_bins([found], half) / UNIT).astype(int)
    filled = np.flatnonzero(shares)
    return [int(filled[0]), *shares[filled[0] : filled[-1] + 1].tolist()] if len(filled) else []


def half_width(results: dict[str, list[Run]], level: str) -> float:
    """How far from 0 an axis of log-ratios goes: past nine in ten of the records' 1 % tails, and
    past every range that acts there."""
    # The tails of every step of every run.
    runs = [run for runs in results.values() for run in runs]
    found = [getattr(r, f"{level}_log_ratio") for run in runs for r in run.records]
    places = LEVELS.index(0.01), LEVELS.index(0.99)
    tails = [max(abs(each.quantiles[i]) for i in places) for each in found if each]
    # The ranges of the methods that clip at this level.
    acting = [run.method for run in runs if run.method.ratio_level == level]
    ends = [1.6 * end for method in acting for end in (method.clip_low, method.clip_high)]
    ends = [end for end in ends if math.isfinite(end)]
    return float(f"{max([1e-6, float(np.quantile(tails or [0.0], 0.9)), *ends]):.3g}")


def recorded_answers() -> dict:
    """What `tools/record_answers.py` recorded: texts, which of them are correct, and for each
    method [steps + 1][problems] numbers of texts."""
    data = json.loads((DATA / "rollouts" / "answers.json").read_text(encoding="utf-8"))
    correct = [
        [n for n, text in enumerate(data["texts"]) if correctness_reward(text, problem["answer"])]
        for problem in data["problems"]
    ]
    return {name: data[name] for name in ("problems", "texts", "answers")} | {"correct": correct}


def own_answers(results: dict[str, list[Run]]) -> dict | None:
    """The same from the readings of your own runs: samples of one problem, of each method's first
    run. A step between two readings has those of the earlier one. None if nothing was read."""
    readings = {name: readings_of(runs[0]) for name, runs in results.items()}
    if not all(each and each[0] for each in readings.values()):
        return None
    first = next(iter(readings.values()))[0]
    problem = {"question": first.question, "answer": first.answer}
    # Each text is stored once and has a number. A sample counts as a problem of its own.
    count = len(first.texts)
    texts = {}
    correct = [set() for _ in range(count)]
    answers = {}
    for name, steps in readings.items():
        answers[name] = []
        for reading in steps:
            numbers = [texts.setdefault(text, len(texts)) for text in reading.texts]
            answers[name].append(numbers)
            for place, number in enumerate(numbers):
                if reading.correct[place]:
                    correct[place].add(number)
    return {
        "problems": [problem] * count,
        "texts": list(texts),
        "answers": answers,
        "correct": [sorted(each) for each in correct],
        "sampled": True,
    }


def readings_of(run: Run) -> list[Reading | None]:
    """The last reading before training and after each step."""
    found = [run.records[0].start_reading]
    for record in run.records:
        found.append(record.reading or found[-1])
    return found


# --- the picture where no script runs -------------------------------------------------------------

# Pixels: the picture, and the left and lower end of its axes.
WIDTH = 700
HEIGHT = 260
LEFT = 50
FLOOR = 220


def still(results: dict[str, list[Run]]) -> Still:
    """Held-out accuracy of every run against steps, legible on white and on black."""
    steps = max(len(run.records) for runs in results.values() for run in runs)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - 90) * step / steps

    def y(share: float) -> float:
        return FLOOR - (FLOOR - 20) * share

    # The axes, then a line per run.
    parts = [f'<path d="M{LEFT} 20V{FLOOR}H{x(steps):.0f}" fill="none" stroke="{INK}"/>']
    parts += [
        svg_text(LEFT - 6, y(share) + 4, f"{share:.0%}", anchor="end") for share in (0, 0.5, 1)
    ]
    parts += [
        svg_text(x(step), FLOOR + 17, str(step), anchor="middle") for step in range(0, steps + 1, 8)
    ]
    parts.append(svg_text((LEFT + x(steps)) / 2, FLOOR + 35, RUN_EXPLORER["step"], anchor="middle"))
    ends = []
    for place, (name, runs) in enumerate(results.items()):
        look, dash = LOOKS.get(name, ("ink", ""))
        for run in runs:
            found = enumerate(curve(run.records, "accuracy"))
            points = [f"{x(step):.1f} {y(share):.1f}" for step, share in found if share is not None]
            style = f'fill="none" stroke="{COLOURS[look]}" stroke-dasharray="{dash}"'
            parts.append(f'<path d="M{"L".join(points)}" stroke-width="2" {style}/>')
        parts.append(
            svg_text(x(steps) + 8, 34 + 18 * place, name, anchor="start", fill=COLOURS[look])
        )
        ends += [run.final.accuracy for run in runs if run.final]
    # Where the runs ended as text.
    low, high = (f"{100 * end:.3g}" for end in (min(ends, default=0), max(ends, default=0)))
    alt = RUN_EXPLORER["alt"].format(runs=sum(map(len, results.values())), low=low, high=high)
    return Still.of(parts, WIDTH, HEIGHT, alt=alt, description=RUN_EXPLORER["long"], size=12)
