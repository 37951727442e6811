"""The figure of lesson 06: three arms of the clip, in two regimes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from rlvr_helpers.plots import house

NAMES = {"none": "no clip", "clamp": "clamp only", "minimum": "minimum"}
LOOKS = {
    "none": {"color": house.INK, "linestyle": (0, (1, 0.8))},
    "clamp": {"color": "#BF5F98", "linestyle": (0, (4, 1.2))},
    "minimum": {"color": house.color_of("GRPO"), "linestyle": "-"},
}

# Rule -> for each seed its accuracies, before training and after each rollout.
Arms = Mapping[str, Sequence[Sequence[float]]]


def arms(regimes: Mapping[str, Arms], yours: Sequence[float] = ()) -> Figure:
    """A panel per regime: held-out accuracy against rollouts, thin a seed, bold the mean.

    yours: accuracies of a run of the clamp in the last regime after each rollout, drawn as dots
    """
    # Draw a panel for each regime.
    title = "Three rules in two regimes: means over the seeds after the last rollout"
    fig, axes = house.figure(
        3.1, title, cols=len(regimes), left=0.6, right=1.25, top=0.4, bottom=0.7, wgap=1.4
    )
    for ax, (name, found) in zip(axes[0], regimes.items(), strict=True):
        _panel(ax, name, found)

    # Add the learner's own run to the last one.
    rollouts = range(1, len(yours) + 1)
    look = {"color": LOOKS["clamp"]["color"], "clip_on": False}
    axes[0, -1].plot(rollouts, yours, "o", ms=4, gid="yours", **look)
    house.note(
        fig,
        "Thin: each seed; bold: the mean. Held-out problems, greedy."
        + (" Dots: your run." if len(yours) else ""),
    )
    lines = [f"{name}: {', '.join(_ends(found).values())}" for name, found in regimes.items()]
    return house.finish(fig, "Held-out accuracy under three rules", lines)


def _mean(seeds: Sequence[Sequence[float]]) -> np.ndarray:
    return np.mean(seeds, axis=0)


def _ends(found: Arms) -> dict[str, str]:
    """Rule -> its name and mean accuracy after the last rollout."""
    return {
        rule: f"{NAMES[rule]} {house.percent(float(_mean(seeds)[-1]), 2)}"
        for rule, seeds in found.items()
    }


def _panel(ax: Axes, name: str, found: Arms) -> None:
    """Draws one regime: each seed thin, each rule's mean bold, with its name beside its end."""
    # Draw the lines.
    for rule, seeds in found.items():
        for accuracies in seeds:
            ax.plot(accuracies, lw=0.8, alpha=0.5, **LOOKS[rule])
        ax.plot(_mean(seeds), lw=2.2, **LOOKS[rule])
    house.heading(ax, name)
    longest = max(len(seeds[0]) for seeds in found.values())
    ax.set(xlim=(0, longest - 1), ylim=(0, 1), xlabel="rollout")
    ax.xaxis.set_major_locator(MultipleLocator(2))
    house.percent_axis(ax.yaxis, 0.5)

    # Name each rule beside the end of its mean.
    texts = _ends(found)
    house.name_ends(
        ax, [(_mean(seeds)[-1], texts[rule], LOOKS[rule]["color"]) for rule, seeds in found.items()]
    )
