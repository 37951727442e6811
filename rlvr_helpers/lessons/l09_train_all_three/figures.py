"""Figures of lesson 09: final accuracies, paired differences of methods, and runs under stress."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_helpers.evaluation import t_interval, wilson_interval
from rlvr_helpers.plots import house
from rlvr_helpers.study.tables import Row


def final_accuracy_intervals(rows: Sequence[Row]) -> Figure:
    """Held-out accuracy before (hollow) and after (filled) each run, strict and lenient, with 95 %
    Wilson intervals.

    rows: one per run, as `tables.table_rows` makes them
    """
    # A row per run, and a gap between methods.
    names = list(dict.fromkeys(row.method for row in rows))
    rows = sorted(rows, key=lambda row: (names.index(row.method), row.seed))
    heights = [i + 0.7 * names.index(row.method) for i, row in enumerate(rows)]
    bottom = heights[-1] if rows else 1.0
    fig, axes = house.figure(
        1.45 + 0.22 * bottom,
        _finals_title(rows),
        cols=2,
        left=1.35,
        right=0.35,
        top=0.28,
        bottom=0.62,
        wgap=0.6,
    )
    # The runs, once by strict and once by lenient accuracy.
    for ax, kind in zip(axes[0], ("strict", "lenient"), strict=True):
        for row, y in zip(rows, heights, strict=True):
            _before_after(ax, y, row, kind=kind)
        house.heading(ax, f"{kind} accuracy")
        house.rows_axis(ax, heights, [_label(row) for row in rows] if kind == "strict" else None)
        ax.set(xlim=(0, 1), ylim=(bottom + 0.7, -0.7))
        house.percent_axis(ax.xaxis, 0.25)
    # Each method's name beside the middle of its rows.
    for name in names:
        mine = [y for row, y in zip(rows, heights, strict=True) if row.method == name]
        _name_beside(axes[0, 0], name, float(np.mean(mine)))
    house.note(
        fig,
        "Hollow: before training; filled: after. Bars: 95\xa0% Wilson interval of one evaluation.",
    )
    lines = [
        f"{row.method} seed {row.seed}: {row.initial:.1f} to {row.final:.1f} % strict"
        for row in rows
    ]
    return house.finish(fig, "Held-out accuracy before and after training", lines)


def difference_intervals(differences: Mapping[str, Sequence[float]]) -> Figure:
    """Differences of final accuracy between methods, in points: a circle per seed, their mean and
    its 95 % t-interval. One seed has no interval.

    differences: "GRPO - GSPO" -> one difference per seed, as `tables.paired_differences` makes them
    """
    found = {pair: t_interval(list(values)) for pair, values in differences.items() if len(values)}
    height = 1.5 + 0.42 * max(len(found), 1)
    fig, axes = house.figure(height, _differences_title(found), left=1.55)
    # A row per pair, with a line of text on each.
    ax = axes[0, 0]
    lines = []
    ax.axvline(0, color=house.INK, lw=1)
    for y, (pair, (mean, low, high)) in enumerate(found.items()):
        values = differences[pair]
        blue = house.color_of("GRPO")
        ax.plot(values, [y + 0.17] * len(values), "o", ms=5, mfc="none", mec=house.INK)
        ax.plot([low, high], [y - 0.1] * 2, color=blue, lw=2, solid_capstyle="butt")
        ax.plot([mean], [y - 0.1], "D", ms=6, color=blue)
        interval = (
            f"95 % interval {low:+.1f} to {high:+.1f}"
            if math.isfinite(low)
            else "one seed, no interval"
        )
        lines.append(f"{pair.replace(' - ', ' minus ')}: mean {mean:+.1f} points ({interval})")
    # Axes with 0 in the middle, wide enough for everything that is drawn.
    shown = [v for pair in found for v in (*differences[pair], *found[pair]) if math.isfinite(v)]
    reach = 1.1 * max([1.0, *map(abs, shown)])
    house.rows_axis(ax, range(len(found)), [pair.replace(" - ", " − ") for pair in found])
    ax.set(xlim=(-reach, reach), ylim=(max(len(found), 1) - 0.4, -0.6))
    ax.set_xlabel("difference in held-out accuracy (percentage points)")
    house.note(
        fig,
        "Circles: seeds (same start, same prompts). Diamond, bar: their mean and its 95\xa0%"
        " t-interval.",
    )
    if not found:
        house.empty(ax, "no pairs of runs")
    return house.finish(fig, "Paired differences between methods", lines)


def stress_curves(arms: Mapping[str, Sequence[dict]]) -> Figure:
    """Held-out accuracy after each rollout of the recorded stress runs.

    arms: method name -> its runs, as `experiment.recorded_stress` gives them. A thin line is a
        seed, the thick one their mean.
    """
    fig, axes = house.figure(2.7, "Held-out accuracy, 32 updates per rollout", right=1.6)
    ax = axes[0, 0]
    ends = []
    lines = []
    for name, runs in arms.items():
        # The seeds, then their mean.
        color = house.color_of(name)
        curves = np.array([run["accuracy"] for run in runs])
        steps = range(curves.shape[1])
        for curve in curves:
            ax.plot(steps, curve, color=color, lw=0.7, alpha=0.45)
        mean = curves.mean(axis=0)
        style = house.STYLES.get(name, house.OTHER)["linestyle"]
        ax.plot(steps, mean, color=color, lw=2.4, linestyle=style)
        ends.append((mean[-1], f"{name} {house.percent(mean[-1])}", color))
        lines.append(f"{name}: {house.percent(mean[-1])} at the end, mean of {len(runs)} seeds")
    ax.set(ylim=(0, 1), xlabel="rollouts")
    house.percent_axis(ax.yaxis, 0.25)
    house.name_ends(ax, ends)
    return house.finish(fig, "Accuracy under stress", lines)


def arm_accuracies(arms: Mapping[str, Sequence[dict]]) -> Figure:
    """The last held-out accuracy of each recorded stress run: a row per arm, a circle per seed, a
    diamond for the mean. The label says on what share the clip binds."""
    fig, axes = house.figure(
        1.2 + 0.42 * len(arms), "Held-out accuracy after 8 rollouts, by arm", left=2.75
    )
    ax = axes[0, 0]
    labels = []
    lines = []
    for y, (name, runs) in enumerate(arms.items()):
        # An arm such as "GSPO 0.2" has the colour of its method.
        color = house.color_of(name.rstrip("0123456789./ "))
        ends = [run["accuracy"][-1] for run in runs]
        bound = house.percent(float(np.mean([run["clipped"] for run in runs])), digits=2)
        ax.plot(ends, [y] * len(ends), "o", ms=5, mfc="none", mec=color)
        ax.plot([np.mean(ends)], [y], "D", ms=7, color=color)
        labels.append(f"{name} (binds on {bound})")
        lines.append(f"{name}: mean {house.percent(float(np.mean(ends)))} of {len(ends)} seeds")
    house.rows_axis(ax, range(len(arms)), labels)
    ax.set(xlim=(0, 1), ylim=(len(arms) - 0.4, -0.6))
    house.percent_axis(ax.xaxis, 0.25)
    house.note(fig, "Share of tokens (GRPO, Dr. GRPO) or sequences (GSPO) on which the clip binds.")
    return house.finish(fig, "Final accuracy under stress", lines)


def _label(row: Row) -> str:
    """The seed, and the step at which a run was stopped."""
    return f"seed {row.seed}" + (f", step {row.step}" if row.stopped else "")


def _name_beside(ax: Axes, name: str, y: float) -> None:
    """A method's name in its colour, left of its rows."""
    ax.annotate(
        name,
        (0, y),
        (-88, 0),
        ("axes fraction", "data"),
        "offset points",
        va="center",
        color=house.color_of(name),
        weight="bold",
        size=9.5,
    )


def _before_after(ax: Axes, y: float, row: Row, kind: str) -> None:
    """One run: hollow start and filled end with their Wilson intervals, joined by a thin line."""
    values = (
        (row.initial, row.final) if kind == "strict" else (row.lenient_initial, row.lenient_final)
    )
    color = house.color_of(row.method)
    shares = [value / 100 for value in values]
    ax.plot(shares, [y, y], color=color, lw=0.8, alpha=0.5)
    # A run that was not evaluated after training has no end to fill.
    faces = ("none", color) if row.step else ("none",)
    for share, face in zip(shares, faces, strict=False):
        interval = wilson_interval(round(share * row.problems), row.problems)
        ax.plot(interval, [y, y], color=color, lw=2.2, solid_capstyle="butt", alpha=0.6)
        ax.plot(
            [share],
            [y],
            house.STYLES.get(row.method, house.OTHER)["marker"],
            ms=5.5,
            mfc=face,
            mec=color,
            clip_on=False,
        )


def _finals_title(rows: Sequence[Row]) -> str:
    """From where to where the runs went, and how far their intervals reach."""
    if not rows:
        return "No finished runs yet"
    start = house.percent(min(row.initial for row in rows) / 100)
    low = min(row.final for row in rows)
    high = max(row.final for row in rows)
    lowest = min(row.final_interval[0] for row in rows)
    highest = max(row.final_interval[1] for row in rows)
    # One number if all runs end at the same accuracy.
    finals = house.percent(high / 100)
    if high - low >= 0.05:
        finals = f"between {low:.1f} and {finals}"
    return f"From {start} to {finals} (strict), intervals within {lowest:.1f} and {highest:.1f}"


def _differences_title(found: Mapping[str, tuple[float, float, float]]) -> str:
    """Which pairs can be told apart: their intervals do not hold 0."""
    apart = [
        f"{pair.replace(' - ', ' − ')} {f[0]:+.1f} points"
        for pair, f in found.items()
        if f[1] > 0 or f[2] < 0
    ]
    if not found:
        return "No pairs of runs yet"
    if any(math.isnan(low) for _, low, _ in found.values()):
        return "One seed: a difference without an interval tells no method from another"
    if not apart:
        return "No two methods can be told apart: every 95\xa0% interval holds 0"
    return f"Told apart over these seeds (95\xa0% interval without 0): {', '.join(apart)}"
