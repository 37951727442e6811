"""The figure of lesson 01: groups by their number of correct answers."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_helpers.evaluation import wilson_interval
from rlvr_helpers.plots import house

# Groups with 0, 1, 2, and 3 or more correct answers.
COLORS = ("#9a9a9a", "#5BA3D0", "#0072B2", "#00609A")
NAMES = ("none correct", "1 correct", "2 correct", "3 or more")


def groups_by_correct(correct: Mapping[int, Sequence[int]], group_size: int) -> Figure:
    """Shares of groups with no, one, two, and more correct answers, a bar for each number of
    operations.

    correct: number of operations -> correct answers of each group
    """
    # Take the share of each kind of group, and of those with some correct answer.
    shares = {
        n: np.bincount(np.minimum(counts, 3), minlength=4) / len(counts)
        for n, counts in correct.items()
    }
    solved = {n: f"{100 * (1 - share[0]):.0f}{house.NO_BREAK}%" for n, share in shares.items()}
    first = min(correct)
    last = max(correct)
    title = (
        f"A correct answer among {group_size}: in {solved[first]} of the groups at {first}"
        f" operations, in {solved[last]} at {last}"
    )

    # Draw a bar for each number of operations, with its interval beside it.
    fig, axes = house.figure(2.85, title, left=1.15, right=1.35, top=0.25, bottom=0.5)
    ax = axes[0, 0]
    lines = []
    for y, n in enumerate(sorted(correct)):
        low, high = wilson_interval(sum(count > 0 for count in correct[n]), len(correct[n]))
        _bar(ax, y, shares[n])
        about = f"some correct {solved[n]}\n(95\xa0%: {100 * low:.0f}–{100 * high:.0f})"
        ax.text(1.02, y, about, va="center", color=house.INK, size=8.5)
        told = ", ".join(
            f"{name} {house.percent(share)}" for name, share in zip(NAMES, shares[n], strict=True)
        )
        about = f"{100 * low:.0f} to {100 * high:.0f} %"
        lines.append(
            f"{n} operations, {len(correct[n])} groups: {told}; some correct {solved[n]} (95 %"
            f" interval {about})"
        )

    # Name the segments and the axes.
    _name_segments(ax, shares[first])
    house.rows_axis(ax, range(len(correct)), [f"{n} operations" for n in sorted(correct)])
    ax.set_ylim(len(correct) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    house.percent_axis(ax.xaxis, 0.25)
    ax.set_xlabel("share of groups")
    return house.finish(fig, "Bars of groups by the number of correct answers", lines)


def _bar(ax: Axes, y: int, shares: np.ndarray) -> None:
    """One bar in four colours. A share above 7 % has its number on it."""
    start = 0.0
    for share, color in zip(shares, COLORS, strict=True):
        ax.barh(y, share, left=start, height=0.66, color=color)
        if share > 0.07:
            ink = "white" if color in COLORS[2:] else "black"
            style = {"ha": "center", "va": "center", "size": 8.5, "color": ink}
            ax.text(start + share / 2, y, f"{100 * share:.0f}\xa0%", **style)
        start += share


def _name_segments(ax: Axes, shares: np.ndarray) -> None:
    """Names what the colours of the first bar mean, above it."""
    middles = shares.cumsum() - shares / 2
    apart = house.spread(list(middles), 0.13, low=0.05, high=1.02)
    for name, height in zip(NAMES, apart, strict=True):
        style = {"ha": "center", "size": 8.5, "color": house.INK}
        ax.annotate(name, (height, 1), (0, 5), ("data", "axes fraction"), "offset points", **style)
