"""What came out: accuracy before and after with its intervals, and paired differences between
methods."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_helpers.evaluation import t_interval, wilson_interval
from rlvr_helpers.plots import house
from rlvr_helpers.study.tables import Row


def final_accuracy_intervals(rows: Sequence[Row], title: str | None = None) -> Figure:
    """Held-out accuracy before (hollow) and after (filled) each run, with 95 % Wilson intervals;
    strict and lenient.

    rows: a row a run, as `tables.table_rows` makes them.
    """
    names = list(dict.fromkeys(row.method for row in rows))
    rows = sorted(rows, key=lambda row: (names.index(row.method), row.seed))
    places = [i + 0.7 * names.index(row.method) for i, row in enumerate(rows)]
    bottom = places[-1] if rows else 1.0
    fig, axes = house.figure(
        1.45 + 0.22 * bottom,
        title or _finals_title(rows),
        1,
        2,
        left=1.35,
        right=0.35,
        top=0.28,
        bottom=0.62,
        wgap=0.6,
    )
    for ax, kind in zip(axes[0], ("strict", "lenient"), strict=True):
        for row, y in zip(rows, places, strict=True):
            _before_after(ax, y, row, kind=kind)
        house.heading(ax, f"{kind} accuracy")
        house.rows_axis(ax, places, [_label(row) for row in rows] if kind == "strict" else None)
        ax.set(xlim=(0, 1), ylim=(bottom + 0.7, -0.7))
        house.percent_axis(ax.xaxis, 0.25)
    for name in names:
        middle = float(
            np.mean([y for row, y in zip(rows, places, strict=True) if row.method == name])
        )
        axes[0, 0].annotate(
            name,
            (0, middle),
            (-88, 0),
            ("axes fraction", "data"),
            "offset points",
            va="center",
            color=house.color_of(name),
            weight="bold",
            size=9.5,
        )
    house.note(
        fig,
        "Hollow: before training; filled: after. Bars: 95\xa0% Wilson interval of one evaluation.",
    )
    lines = [
        f"{row.method} seed {row.seed}: {row.initial:.1f} to {row.final:.1f} % strict"
        for row in rows
    ]
    return house.finish(fig, "Held-out accuracy before and after training", lines)


def difference_intervals(
    differences: Mapping[str, Sequence[float]], title: str | None = None
) -> Figure:
    """Differences of final accuracy between methods, in points: a circle a seed, their mean and 95
    % t-interval.

    differences: "GRPO - GSPO" -> one difference a seed, as `tables.paired_differences` makes them.
    One seed has no interval.
    """
    found = {pair: t_interval(list(values)) for pair, values in differences.items() if len(values)}
    fig, axes = house.figure(
        1.5 + 0.42 * max(len(found), 1), title or _differences_title(found), left=1.55
    )
    ax = axes[0, 0]
    lines = []
    ax.axvline(0, color=house.INK, lw=1)
    for y, (pair, (mean, low, high)) in enumerate(found.items()):
        ax.plot(
            differences[pair],
            [y + 0.17] * len(differences[pair]),
            "o",
            ms=5,
            mfc="none",
            mec=house.INK,
        )
        ax.plot(
            [low, high], [y - 0.1] * 2, color=house.color_of("GRPO"), lw=2, solid_capstyle="butt"
        )
        ax.plot([mean], [y - 0.1], "D", ms=6, color=house.color_of("GRPO"))
        interval = (
            f"95 % interval {low:+.1f} to {high:+.1f}"
            if math.isfinite(low)
            else "one seed, no interval"
        )
        lines.append(f"{pair.replace(' - ', ' minus ')}: mean {mean:+.1f} points ({interval})")
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


def _label(row: Row) -> str:
    return f"seed {row.seed}" + (f", step {row.step}" if row.stopped else "")


def _before_after(ax: Axes, y: float, row: Row, kind: str) -> None:
    """One run: hollow start and filled end with their Wilson intervals, joined by a thin line."""
    values = (
        (row.initial, row.final) if kind == "strict" else (row.lenient_initial, row.lenient_final)
    )
    color = house.color_of(row.method)
    shares = [value / 100 for value in values]
    ax.plot(shares, [y, y], color=color, lw=0.8, alpha=0.5)
    # not evaluated after training: nothing to fill
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
    if not rows:
        return "No finished runs yet"
    start, low, high = (
        f(getattr(r, n) for r in rows)
        for f, n in ((min, "initial"), (min, "final"), (max, "final"))
    )
    lowest = min(r.final_interval[0] for r in rows)
    highest = max(r.final_interval[1] for r in rows)
    finals = (
        house.percent(low / 100)
        if high - low < 0.05
        else f"between {low:.1f} and {house.percent(high / 100)}"
    )
    return (
        f"From {house.percent(start / 100)} to {finals} (strict), intervals within {lowest:.1f} and"
        f" {highest:.1f}"
    )


def _differences_title(found: Mapping[str, tuple[float, float, float]]) -> str:
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
