"""The figure of lesson 05: how three kinds of ratios spread over updates."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlvr_helpers.plots import house

COLORS = {"token": house.color_of("GRPO"), "sequence": house.color_of("GSPO"), "product": house.INK}


def spread_growth(
    token: Sequence[float], sequence: Sequence[float], product: Sequence[float]
) -> Figure:
    """Standard deviations of three log-ratios after 0, 1, 2 ... updates on one rollout."""
    # Say in the title how far each kind has spread at last.
    found = {"token": token, "sequence": sequence, "product": product}
    names = {
        "token": "token ratio",
        "sequence": "sequence ratio",
        "product": "product of token ratios",
    }
    last = len(token) - 1
    ends = {name: values[-1] for name, values in found.items()}
    title = (
        f"After {last} update{'s' * (last != 1)} token ratios spread {ends['token']:#.2g}, sequence"
        f" ratios {ends['sequence']:#.2g}, products {ends['product']:#.2g}"
    )

    # Draw a line for each kind.
    fig, axes = house.figure(2.9, title, left=0.6, right=2.0, bottom=0.5)
    ax = axes[0, 0]
    for name, values in found.items():
        house.line(ax, range(len(values)), values, lw=2, color=COLORS[name])
    top = 1.05 * max(max(ends.values()), 1e-6)
    ax.set(xlim=(0, max(last, 1)), ylim=(0, top))

    # Name each line beside its end, with its last value.
    house.name_ends(ax, [(y, f"{names[kind]} {y:#.2g}", COLORS[kind]) for kind, y in ends.items()])
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.set_xlabel("updates on this rollout")
    ax.set_ylabel("std of the log-ratio (nats)")
    lines = [f"{names[n]}: from {v[0]:.2g} to {v[-1]:#.2g}" for n, v in found.items()]
    return house.finish(fig, "Spread of log-ratios against updates on one rollout", lines)
