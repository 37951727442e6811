"""The figure of extras/11: where a layer sends a token to other experts than before."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from rlvr_helpers.plots import house

CHANGED = "#D55E00"


def changed_sets(after: Mapping[str, np.ndarray], tokens: Sequence[str]) -> Figure:
    """A panel per name: layers over the tokens of one completion, filled where the set changed.

    after: name -> bool [layers, tokens]
    """
    fig, axes = house.figure(
        3.9,
        "Expert sets of one completion that have changed",
        len(after),
        1,
        left=0.75,
        bottom=0.95,
        top=0.35,
        hgap=0.4,
    )
    # A grid for each name: transparent, or filled where the set changed.
    colors = ListedColormap([(0, 0, 0, 0), CHANGED])
    lines = []
    for ax, (name, changed) in zip(axes[:, 0], after.items(), strict=True):
        ax.pcolormesh(changed, cmap=colors, vmin=0, vmax=1, edgecolors=house.INK, linewidth=0.4)
        house.heading(ax, name)
        layers = len(changed)
        ax.set_yticks(np.arange(layers) + 0.5, [f"layer {i + 1}" for i in range(layers)])
        ax.set_xticks([])
        ax.tick_params(axis="y", length=0)
        lines.append(f"{name}: {int(changed.sum())} of {changed.size} sets changed")
    # The lowest panel names the tokens of all.
    axes[-1, 0].set_xticks(np.arange(len(tokens)) + 0.5, tokens, rotation=90)
    axes[-1, 0].tick_params(axis="x", length=0, labelsize=8)
    return house.finish(fig, "Layers over tokens", lines)
