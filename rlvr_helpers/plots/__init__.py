"""Figures of training runs: functions that make a matplotlib Figure from records and numbers.

    from rlvr_helpers import plots

    plots.show(plots.accuracy_curves({"GRPO": [records]}))

`runs` is a dict from a method's name to a list of records for each seed. A lesson's own figures are
imported from its room: `from rlvr_helpers.lessons.l06_clipping.figures import ...`.
"""

from rlvr_helpers.plots.curves import (
    accuracy_curves,
    clip_fraction_curves,
    entropy_kl_curves,
    length_curves,
)
from rlvr_helpers.plots.histograms import ratio_distributions
from rlvr_helpers.plots.house import INK, STYLES, Picture, color_of, show, spread, to_png, to_svg
from rlvr_helpers.plots.live import dashboard
from rlvr_helpers.plots.reading import completions
from rlvr_helpers.plots.reward_curve import reward_curve

__all__ = [
    "INK",
    "STYLES",
    "Picture",
    "accuracy_curves",
    "clip_fraction_curves",
    "color_of",
    "completions",
    "dashboard",
    "entropy_kl_curves",
    "length_curves",
    "ratio_distributions",
    "reward_curve",
    "show",
    "spread",
    "to_png",
    "to_svg",
]
