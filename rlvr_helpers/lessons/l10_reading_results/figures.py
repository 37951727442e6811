"""The figures of extras/10: pass@k before and after training, and what a strict gain consists
of."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from rlvr_helpers.plots import house

# Colour and line of each curve; names that are not listed have the last.
LOOKS = {
    "trained": ("#0072B2", "-"),
    "start": ("#D55E00", (0, (4, 1.2))),
    "start, with working": ("#009E73", (0, (1, 0.8))),
    "": (house.INK, (0, (5, 1, 1, 1))),
}
PARTS = {
    "correct before too": house.INK,
    "gained, had the number": "#D55E00",
    "gained, had another": "#0072B2",
}


def pass_curves(
    ks: Sequence[int], found: Mapping[str, np.ndarray], bands: Mapping[str, np.ndarray]
) -> Figure:
    """pass@k over k on a logarithmic axis, each curve with its band and its name.

    found: name -> the mean at each k. bands: name -> [2, K], its low and high end
    """
    fig, axes = house.figure(3.2, "Solved within k answers", right=2.05)
    ax = axes[0, 0]
    # A line and a band for each curve.
    lines = []
    for name, values in found.items():
        color, dash = LOOKS.get(name, LOOKS[""])
        ax.fill_between(ks, *bands[name], color=color, alpha=0.2, lw=0)
        ax.plot(ks, values, color=color, ls=dash, lw=1.8)
        lines.append(f"{name}: {values[0]:.0%} to {values[-1]:.0%}")
    # The axes.
    ax.set_xscale("log", base=2)
    ax.set_xticks(ks, list(map(str, ks)))
    ax.set(xlim=(ks[0], ks[-1]), ylim=(0, 1), xlabel="k, answers per problem")
    house.percent_axis(ax.yaxis, 0.25)
    # The names at the ends, moved apart where they would touch.
    house.name_ends(
        ax, [(values[-1], name, LOOKS.get(name, LOOKS[""])[0]) for name, values in found.items()]
    )
    return house.finish(fig, f"pass@{ks[0]} to {ks[-1]}", lines)


def parts_of_gain(parts: Mapping[str, Sequence[int]], total: int) -> Figure:
    """A bar per method: of `total` problems those that are correct after training, in the parts of
    PARTS."""
    height = 1.35 + 0.42 * len(parts)
    fig, axes = house.figure(height, f"Correct after training, of {total}", left=0.95, top=0.35)
    ax = axes[0, 0]
    # The parts of each bar, with their numbers.
    lines = []
    for y, (method, counts) in enumerate(parts.items()):
        left = 0
        for color, count in zip(PARTS.values(), counts, strict=True):
            ax.barh(y, count, left=left, height=0.5, color=color)
            style = {"ha": "center", "va": "center", "color": house.INK, "size": 9}
            ax.text(left + count / 2, y - 0.38, str(count), **style)
            left += count
        lines.append(f"{method}: {', '.join(map(str, counts))}")
    # The names of the parts over the bars.
    for place, (name, color) in zip((0, 0.27, 0.62), PARTS.items(), strict=True):
        style = {"color": color, "size": 9.5}
        ax.annotate(name, (place, 1), (0, 7), "axes fraction", "offset points", **style)
    house.rows_axis(ax, range(len(parts)), list(parts))
    ax.set(xlim=(0, total), ylim=(len(parts) - 0.6, -0.6), xlabel="problems")
    return house.finish(fig, ", ".join(PARTS), lines)
