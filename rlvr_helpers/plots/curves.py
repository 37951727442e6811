"""Curves over training steps: accuracy, clip fraction, lengths, entropy and KL. Gaps in the data
stay gaps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlvr_helpers.evaluation import wilson_interval
from rlvr_helpers.plots import house
from rlvr_helpers.plots.house import Runs
from rlvr_helpers.records import StepRecord


def accuracy_curves(runs: Runs, x: str = "steps", what: str = "strict") -> Figure:
    """Held-out accuracy against rollouts (x="steps") or generated tokens (x="tokens").

    A thin line is a seed. The bold one is the mean over seeds where all have an evaluation. At the
    right stands the end of the mean with the Wilson interval of one evaluation. Step 0 is the first
    record's `start_eval`.
    what: "strict" or "lenient"
    """
    if x not in ("steps", "tokens") or what not in ("strict", "lenient"):
        raise ValueError(
            f'x must be "steps" or "tokens", what "strict" or "lenient", not {x!r} and {what!r}'
        )
    # Methods without an evaluation are left out.
    curves = {
        name: curve for name, seeds in runs.items() if (curve := _Accuracy.of(seeds, what)).mean
    }
    fig, axes = house.figure(
        3.8, _accuracy_title(curves, x), left=0.8, right=0.95 + house.label_width(runs)
    )
    # The curves, their axes, and the intervals beside them.
    ax = axes[0, 0]
    end = _draw_accuracy(ax, curves, x)
    ax.set(
        xlim=(0, end or 1),
        ylim=(0, 1),
        xlabel="step (rollout)" if x == "steps" else "generated tokens (thousands)",
    )
    ax.set_ylabel(f"held-out accuracy, {what}")
    house.percent_axis(ax.yaxis, 0.25)
    if x == "steps":
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _final_intervals(ax, curves)
    if not curves:
        house.empty(ax, "no held-out evaluations")
    # What the lines mean, and the numbers as text.
    sizes = " or ".join(str(n) for n in sorted({curve.problems for curve in curves.values()}))
    several = any(len(curve.seeds) > 1 for curve in curves.values())
    seeds = "Bold: mean over seeds, thin: each seed. " if several else ""
    house.note(
        fig,
        f"{seeds}Right: end of the curve with the 95\xa0% Wilson interval of {sizes or 'the'}"
        " problems.",
    )
    lines = [f"{name} {curve.describe()}" for name, curve in curves.items()]
    return house.finish(fig, f"Held-out accuracy ({what}) against {x}", lines)


def _draw_accuracy(ax: Axes, curves: Mapping[str, "_Accuracy"], x: str) -> float:
    """Draws seeds (thin) and means (bold) against steps or thousands of tokens. Returns where the
    longest ends."""
    column = 0 if x == "steps" else 1
    unit = 1 if x == "steps" else 1e3
    end = 0.0
    for name, curve in curves.items():
        style = house.STYLES.get(name, house.OTHER)
        thin = {**style, "marker": None, "lw": 0.8, "alpha": 0.55}
        for seed in curve.seeds if len(curve.seeds) > 1 else ():
            ax.plot([p[column] / unit for p in seed], [p[2] for p in seed], **thin)
        xs = [p[column] / unit for p in curve.mean]
        ax.plot(xs, [p[2] for p in curve.mean], lw=2, ms=4.5, clip_on=False, **style)
        end = max([end, xs[-1], *(seed[-1][column] / unit for seed in curve.seeds)])
    return end


def clip_fraction_curves(runs: Runs) -> Figure:
    """Clip fraction against step, in a panel for methods that count tokens and one for methods that
    count sequences."""
    # The methods that count tokens, and those that count sequences.
    unit_of = {
        name: r.clip_unit for name, seeds in runs.items() for records in seeds for r in records[:1]
    }
    by_unit = {
        unit: {n: runs[n] for n in unit_of if unit_of[n] == unit}
        for unit in ("tokens", "sequences")
    }
    by_unit = {unit: those for unit, those in by_unit.items() if those} or {"tokens": {}}
    # The title names the largest share of each method.
    found = [
        f"{_highest(those, 'clip_fraction', house.percent)} of {unit}"
        for unit, those in by_unit.items()
        if those
    ]
    panels = [
        (f"share of {unit} clipped", those, "clip_fraction") for unit, those in by_unit.items()
    ]
    title = f"Largest share clipped in any step: {'; '.join(found) or 'nothing yet'}"
    return _panels_figure(panels, title, "Clip fraction", form=house.percent)


def length_curves(runs: Runs) -> Figure:
    """Mean length, in tokens, of correct and of incorrect answers against step. A gap means that a
    rollout had none."""
    changes = _changes(runs, "length_wrong", "{:.0f}".format)
    title = f"Wrong answers, tokens from first to last step: {changes}"
    panels = [
        (f"{kind} answers: mean tokens", runs, f"length_{kind}") for kind in ("right", "wrong")
    ]
    return _panels_figure(panels, title, "Answer length", form="{:.1f}".format)


def entropy_kl_curves(runs: Runs) -> Figure:
    """Entropy of the policy and KL to the start model (k3) against step, in nats per token, in two
    panels."""
    title = f"Entropy, first to last step: {_changes(runs, 'entropy', '{:.2f}'.format)}"
    panels = [
        ("entropy (nats a token)", runs, "entropy"),
        ("KL to the start (nats a token)", runs, "kl"),
    ]
    return _panels_figure(panels, title, "Entropy and KL", form="{:.3f}".format, shared=False)


def _panels_figure(
    panels: Sequence[tuple[str, Runs, str]],
    title: str,
    what: str,
    form: Callable,
    shared: bool = True,
) -> Figure:
    """Panels side by side. Each shows a field of the records against step, thin for a seed and bold
    for the mean over seeds.

    panels: (heading, runs, field)
    form:   how a value is written
    shared: one scale for all panels
    """
    labels = house.label_width(*(runs for _, runs, _ in panels))
    fig, axes = house.figure(3.2, title, cols=len(panels), top=0.3, right=labels, wgap=labels + 0.4)
    # Draw each panel, and remember where its curves end.
    last = max(
        (r.step for _, runs, _ in panels for seeds in runs.values() for s in seeds for r in s),
        default=1,
    )
    ends = []
    for (heading, runs, field), ax in zip(panels, axes[0], strict=True):
        at_end = {name: _draw_seeds(ax, name, seeds, field=field) for name, seeds in runs.items()}
        ends.append(
            [(y, name, house.color_of(name)) for name, y in at_end.items() if y is not None]
        )
        house.heading(ax, heading)
        ax.set(xlabel="step", xlim=(min(1, last - 1), last))
        if form is house.percent:
            house.percent_axis(ax.yaxis)
        if not ends[-1]:
            house.empty(ax, "not measured")
    # Scales and labels, once all curves are drawn.
    tops = [
        max((np.nanmax(line.get_ydata()) for line in ax.lines), default=0) * 1.06 or 1.0
        for ax in axes[0]
    ]
    for ax, top, labels in zip(axes[0], tops, ends, strict=True):
        ax.set_ylim(0, max(tops) if shared else top)
        house.name_ends(ax, labels)
    several = any(len(seeds) > 1 for _, runs, _ in panels for seeds in runs.values())
    house.note(fig, "Bold: mean over seeds; thin: each seed." if several else "One seed.")
    lines = [f"{heading}: {_changes(runs, field, form)}" for heading, runs, field in panels]
    return house.finish(fig, f"{what} against step, first to last", lines)


def _draw_seeds(
    ax: Axes, name: str, seeds: Sequence[Sequence[StepRecord]], field: str
) -> float | None:
    """Draws the seeds and, over the steps that all of them have, their mean. Returns where the mean
    ends."""
    by_seed = [{r.step: getattr(r, field) for r in records} for records in seeds if records]
    if not any(house.finite(values.values()) for values in by_seed):
        return None
    style = {**house.STYLES.get(name, house.OTHER), "marker": None}
    for values in by_seed if len(by_seed) > 1 else ():
        house.line(ax, list(values), list(values.values()), lw=0.8, alpha=0.45, **style)
    # The mean, where all seeds have the step.
    steps = sorted(set.intersection(*map(set, by_seed)))
    means = [house.mean_of([values[step] for values in by_seed]) for step in steps]
    house.line(ax, steps, means, lw=2, **style)
    # Seeds without a common step still have an end of their own.
    known = house.finite(means) or [y for each in by_seed for y in house.finite(each.values())]
    return known[-1]


def _changes(runs: Runs, field: str, form: Callable) -> str:
    """ "GRPO 12 → 30, GSPO 12 → 28": means over seeds of the first and of the last known value."""
    parts = []
    for name, seeds in runs.items():
        known = [
            values
            for records in seeds
            if (values := house.finite(getattr(r, field) for r in records))
        ]
        if known:
            first, last = (
                form(house.mean_of([values[end] for values in known])) for end in (0, -1)
            )
            parts.append(f"{name} {first} → {last}".replace(" ", house.NO_BREAK))
    return ", ".join(parts) or "not measured"


def _highest(runs: Runs, field: str, form: Callable) -> str:
    """ "GRPO 2 %, GSPO 17 %": the highest of the steps' means over seeds."""
    parts = []
    for name, seeds in runs.items():
        steps = [
            house.finite(getattr(r, field) for r in rs)
            for rs in zip(*(rs for rs in seeds if rs), strict=False)
        ]
        if means := [house.mean_of(values) for values in steps if values]:
            parts.append(f"{name} {form(max(means))}".replace(" ", house.NO_BREAK))
    return ", ".join(parts) or "not measured"


@dataclass
class _Accuracy:
    """Held-out accuracy of one method as (step, tokens, share) points, of each seed and in the
    mean."""

    seeds: list[list[tuple[float, float, float]]]
    mean: list[tuple[float, float, float]]
    problems: int

    @classmethod
    def of(cls, seeds: Sequence[Sequence[StepRecord]], what: str) -> "_Accuracy":
        """The points of each seed, from its start to its last evaluation, and their mean."""
        field = "accuracy" if what == "strict" else "lenient_accuracy"
        points = []
        problems = 0
        for records in seeds:
            found = [(0, 0, r.start_eval) for r in records[:1]]
            found += [(r.step, r.total_tokens, r.eval) for r in records]
            found = [(step, tokens, e) for step, tokens, e in found if e is not None]
            if found:
                points.append([(step, tokens, getattr(e, field)) for step, tokens, e in found])
                problems = len(found[-1][2].strict)
        by_step = [{point[0]: point for point in seed} for seed in points]
        # The mean over seeds at the steps that all of them have.
        common = sorted(set.intersection(*map(set, by_step))) if by_step else []
        return cls(
            points,
            [tuple(np.mean([seed[step] for seed in by_step], axis=0)) for step in common],
            problems,
        )

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson interval of one evaluation at the last mean."""
        return wilson_interval(round(self.mean[-1][2] * self.problems), self.problems)

    def describe(self) -> str:
        """The numbers as text, for the alternative text."""
        low, high = self.interval
        step, tokens, end = self.mean[-1]
        return (
            f"from {house.percent(self.mean[0][2])} to {house.percent(end)} at step {step:.0f}"
            f" ({tokens:,.0f} tokens), mean of {len(self.seeds)} seed{'s' * (len(self.seeds) > 1)};"
            f" Wilson interval of one evaluation at that accuracy {house.percent(low)} to"
            f" {house.percent(high)}"
        )


def _accuracy_title(curves: Mapping[str, _Accuracy], x: str) -> str:
    """When each method first reached the highest round share that all end above. If one of them
    began above it, from where to where each went."""
    if not curves:
        return "No held-out evaluations yet"
    # The round share: the highest multiple of 10 % that every mean reaches at the end.
    mark = math.floor(10 * min(curve.mean[-1][2] for curve in curves.values()) + 1e-9) / 10
    if mark <= max(curve.mean[0][2] for curve in curves.values()):
        ends = [
            f"{n} {house.percent(c.mean[0][2])} → {house.percent(c.mean[-1][2])}"
            for n, c in curves.items()
        ]
        return (
            "Held-out accuracy, start to end:"
            f" {', '.join(end.replace(' ', house.NO_BREAK) for end in ends)}"
        )
    # The point at which each method first reached it.
    first = {
        name: next(point for point in curve.mean if point[2] >= mark)
        for name, curve in curves.items()
    }
    when = [
        f"{n} by {f'step {p[0]:.0f}' if x == 'steps' else f'{p[1] / 1e3:.0f}k tokens'}"
        for n, p in first.items()
    ]
    who = {1: "Reaches", 2: "Both reach", 3: "All three reach"}.get(len(curves), "All reach")
    mean = (
        " in the mean over seeds" if any(len(curve.seeds) > 1 for curve in curves.values()) else ""
    )
    return (
        f"{who} {house.percent(mark)}{mean}:"
        f" {', '.join(part.replace(' ', house.NO_BREAK) for part in when)}"
    )


def _final_intervals(ax: Axes, curves: Mapping[str, _Accuracy]) -> None:
    """Draws the ends of the curves beside the axes, with intervals and labels that do not
    collide."""
    # One column of the margin for each method: its interval as a bar, its end as a marker.
    outside = {"transform": ax.get_yaxis_transform(), "clip_on": False}
    for i, (name, curve) in enumerate(curves.items()):
        beside = {**outside, "color": house.color_of(name)}
        x = 1.04 + 0.035 * i
        ax.plot([x] * 2, curve.interval, lw=1.6, solid_capstyle="butt", **beside)
        marker = house.STYLES.get(name, house.OTHER)["marker"]
        ax.plot([x], [curve.mean[-1][2]], marker=marker, ms=5, **beside)
    # Names and values, right of all columns.
    ends = [
        (end, f"{name} {house.percent(end)}", house.color_of(name))
        for name, curve in curves.items()
        for end in [curve.mean[-1][2]]
    ]
    house.name_ends(ax, ends, 1.035 + 0.035 * len(curves))
