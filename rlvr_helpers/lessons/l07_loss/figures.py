"""Figures of lesson 07: how three KL estimators spread, and what the aggregation does to length."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_helpers.plots import house


def kl_estimators(estimates: Mapping[str, Sequence[float]], true_kl: float) -> Figure:
    """A row for each estimator: where its single-token values lie (5 % to 95 %, thick the middle
    half), their mean as a diamond, and the true KL as a line."""
    # The title names the widest estimator and the one whose mean is furthest off.
    estimates = {kind: np.asarray(values, dtype=float) for kind, values in estimates.items()}
    spreads = {kind: float(values.std()) for kind, values in estimates.items()}
    errors = {kind: abs(float(values.mean()) / true_kl - 1) for kind, values in estimates.items()}
    widest = max(spreads, key=spreads.get)
    narrowest = min(spreads, key=spreads.get)
    worst = max(errors, key=errors.get)
    title = (
        f"True KL {true_kl:.3f}: {widest} spreads {spreads[widest] / spreads[narrowest]:.1f} times"
        f" as wide as {narrowest}; the sampled mean of {worst} is off by"
        f" {house.percent(errors[worst], digits=2)}"
    )
    fig, axes = house.figure(2.5, title, left=0.5, right=1.75, top=0.3, bottom=0.7)
    # A row for each, from top to bottom: two bars, a diamond, and the numbers beside the axes.
    ax = axes[0, 0]
    bar = {"color": house.color_of("GRPO"), "alpha": 0.8, "solid_capstyle": "butt"}
    beside = {"transform": ax.get_yaxis_transform(), "va": "center", "size": 9.5}
    for i, (kind, values) in enumerate(estimates.items()):
        y = len(estimates) - 1 - i
        for ends, width in (((5, 95), 2), ((25, 75), 7)):
            ax.plot(np.percentile(values, ends), [y, y], lw=width, **bar)
        ax.plot([values.mean()], [y], "D", ms=7, color=house.color_of("Dr. GRPO"), zorder=3)
        text = f"mean {values.mean():.3f}, sd {spreads[kind]:.2f}"
        ax.text(1.02, y, text, color=house.INK, **beside)
    # The true value, the axes, and the numbers as text.
    ax.axvline(true_kl, color=house.INK, lw=1)
    house.heading(ax, "line: true KL")
    ax.set(ylim=(-0.5, len(estimates) - 0.4), xlabel="estimate at one sampled token (nats)")
    house.rows_axis(ax, range(len(estimates)), list(estimates)[::-1])
    house.note(fig, "Thin: 5 % to 95 % of the samples; thick: the middle half; diamond: the mean.")
    lines = [
        f"{kind}: mean {np.mean(v):.3f}, standard deviation {spreads[kind]:.3f}"
        for kind, v in estimates.items()
    ]
    return house.finish(fig, "Three estimators of the KL", lines)


def length_bias(points: Sequence) -> Figure:
    """Mean length of incorrect answers against updates on incorrect answers only. A thin line is a
    seed, the bold one the mean over seeds.

    points: with method, seed, update and length, as `experiment.side_by_side` gives them
    """
    # Lengths by method, seed and update, and their means over seeds.
    runs: dict[str, dict[int, dict[int, float]]] = {}
    for point in points:
        runs.setdefault(point.method, {}).setdefault(point.seed, {})[point.update] = point.length
    means = {name: _mean_over_seeds(seeds) for name, seeds in runs.items()}
    # The title tells how far each mean went.
    changes = [
        f"{name} {m[min(m)]:.0f} → {m[max(m)]:.0f}".replace(" ", house.NO_BREAK)
        for name, m in means.items()
    ]
    title = (
        "Tokens of wrong answers, trained on wrong answers alone:"
        f" {', '.join(changes) or 'nothing yet'}"
    )
    # Axes that fit all updates and lengths, then the curves.
    fig, axes = house.figure(3.2, title, right=1.3, top=0.3)
    last = max([1, *(u for m in means.values() for u in m)])
    top = 1.1 * max((point.length for point in points), default=1.0)
    axes[0, 0].set(xlim=(0, last), ylim=(0, top), xlabel="updates on wrong answers alone")
    _length_curves(axes[0, 0], runs, means)
    count = max((len(seeds) for seeds in runs.values()), default=0)
    house.note(
        fig, f"Bold: mean over {count} seeds; thin: each seed." if count > 1 else "One seed."
    )
    # The numbers of each seed as text.
    lines = [
        f"{name}, seed {seed}: from {lengths[min(lengths)]:.1f} to {lengths[max(lengths)]:.1f}"
        " tokens"
        for name, seeds in runs.items()
        for seed, lengths in seeds.items()
    ]
    return house.finish(fig, "Length of wrong answers against updates", lines)


def _length_curves(
    ax: Axes,
    runs: Mapping[str, Mapping[int, Mapping[int, float]]],
    means: Mapping[str, Mapping[int, float]],
) -> None:
    """Draws each seed (thin) and the mean over seeds (bold), with names at the right."""
    for name, seeds in runs.items():
        style = {**house.STYLES.get(name, house.OTHER), "marker": None}
        for lengths in seeds.values():
            ax.plot(list(lengths), list(lengths.values()), **{**style, "lw": 0.8, "alpha": 0.55})
        ax.plot(list(means[name]), list(means[name].values()), **{**style, "lw": 2.2})
    if not runs:
        house.empty(ax, "nothing yet")
    house.heading(ax, "mean tokens of a wrong answer, held-out problems")
    house.name_ends(
        ax,
        [(m[max(m)], f"{name} {m[max(m)]:.1f}", house.color_of(name)) for name, m in means.items()],
    )


def _mean_over_seeds(seeds: Mapping[int, Mapping[int, float]]) -> dict[int, float]:
    """The mean at each update that every seed has reached."""
    common = sorted(set.intersection(*map(set, seeds.values())))
    return {
        update: float(np.mean([lengths[update] for lengths in seeds.values()])) for update in common
    }
