"""Figures of lesson 04: the race of three advantages, and groups without a signal over training."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from rlvr_helpers.lessons.l04_advantages.experiment import LATE, late
from rlvr_helpers.plots import house

# Of the arms of the race, in colours of no method. All read on white and on black.
ARM_STYLES = (
    {"color": "#A65AA0", "linestyle": "-"},
    {"color": "#B07A00", "linestyle": (0, (5, 1.5))},
    {"color": house.INK, "linestyle": (0, (1.5, 1))},
)


def race_curves(
    recorded: Mapping[str, Sequence[Sequence[float]]], live: Mapping[str, Sequence[float]]
) -> Figure:
    """Share of correct answers in each rollout. Bold is the mean over an arm's recorded runs, thin
    is each of them, and dots are the run made live.

    recorded: arm -> for each run its shares
    live:     arm -> the shares of one run, which can have been cut short
    """
    # Say in the title where the recorded runs end.
    means = {arm: float(np.mean(late(runs))) for arm, runs in recorded.items()}
    seeds = len(next(iter(recorded.values())))
    found = ", ".join(f"{_minus(arm)} {house.percent(mean, 2)}" for arm, mean in means.items())
    title = f"Correct in the last {LATE} rollouts, mean of {seeds} recorded runs: {found}"

    # Draw each arm: its runs, their mean, and the live run.
    fig, axes = house.figure(3.3, title, left=0.75, right=1.1)
    ax = axes[0, 0]
    ends = []
    for style, (arm, runs) in zip(ARM_STYLES, recorded.items(), strict=True):
        mean = np.mean(runs, axis=0)
        steps = range(1, len(mean) + 1)
        for run in runs:
            ax.plot(steps, run, lw=0.7, alpha=0.35, **style)
        ax.plot(steps, mean, lw=2.4, **style)
        done = live.get(arm, [])
        ax.plot(range(1, len(done) + 1), done, "o", ms=4, color=style["color"])
        ends.append((float(mean[-1]), _minus(arm), style["color"]))
    ax.set(xlim=(0.5, len(mean) + 0.5), ylim=(0, 0.7), xlabel="rollout", ylabel="correct")
    house.percent_axis(ax.yaxis, 0.1)

    # Name each arm beside the end of its mean.
    house.name_ends(ax, ends)
    house.note(fig, "Bold: mean of the recorded runs. Thin: each of them. Dots: your run.")
    lines = [
        f"{arm}: {', '.join(house.percent(x, 2) for x in late(runs))} at the end of each run"
        for arm, runs in recorded.items()
    ]
    return house.finish(fig, "Share of correct answers in a race of three advantages", lines)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def no_signal_curves(shares: Mapping[str, Sequence[Sequence[float]]], window: int = 4) -> Figure:
    """Share of groups without a signal over training, a mean over each `window` steps. Thin lines
    are runs, bold ones methods.

    shares: method -> for each run its shares, one per step
    """
    # Average each run over blocks of steps, and each method over its runs.
    blocks = _blocks(shares, window)
    means = {name: runs.mean(axis=0) for name, runs in blocks.items()}
    title = _no_signal_title(means, window)
    fig, axes = house.figure(
        3.3, title, left=0.75, right=house.label_width({name: [] for name in means} or {"": []})
    )

    # Draw each point in the middle of its block.
    ax = axes[0, 0]
    last = 1.0
    for name, runs in blocks.items():
        style = house.STYLES.get(name, house.OTHER)
        thin = {"color": style["color"], "linestyle": style["linestyle"], "lw": 0.8, "alpha": 0.45}
        middles = window * (np.arange(runs.shape[1]) + 0.5) + 0.5
        ax.plot(middles, runs.T, **thin)
        ax.plot(middles, means[name], lw=2, ms=4.5, **style)
        last = max(last, middles[-1])

    # Fit the axes, and name each method beside the end of its mean.
    top = 0.25 * math.ceil(4 * max([0.25, *(runs.max() for runs in blocks.values())]))
    ax.set(
        xlim=(0, last + window / 2),
        ylim=(0, top),
        xlabel="step (rollout)",
        ylabel="groups without a signal",
    )
    house.percent_axis(ax.yaxis, 0.25)
    house.name_ends(ax, [(mean[-1], name, house.color_of(name)) for name, mean in means.items()])
    if not means:
        house.empty(ax, "no runs")
    house.note(
        fig,
        f"Each point: a mean over {window} steps. Thin: each run; bold: mean over a method's runs.",
    )
    lines = [
        f"{name}: {', '.join(house.percent(x, 2) for x in mean)}" for name, mean in means.items()
    ]
    return house.finish(fig, f"Share of groups without a signal, in steps of {window}", lines)


def _blocks(shares: Mapping[str, Sequence[Sequence[float]]], window: int) -> dict[str, np.ndarray]:
    """Method -> means of its runs over blocks of steps, [runs, blocks]. A method's runs are cut to
    the shortest, and runs without a step are left out."""
    found = {}
    for name, all_runs in shares.items():
        runs = [_block_means(run, window) for run in all_runs if len(run)]
        if runs:
            found[name] = np.array([run[: min(map(len, runs))] for run in runs])
    return found


def _block_means(run: Sequence[float], window: int) -> np.ndarray:
    """Means over consecutive blocks of `window`. A shorter rest at the end counts as a block."""
    return np.array([np.mean(run[i : i + window]) for i in range(0, len(run), window)])


def _no_signal_title(means: Mapping[str, np.ndarray], window: int) -> str:
    if not means:
        return "No runs yet"
    steps = min(map(len, means.values()))
    together = np.mean([mean[:steps] for mean in means.values()], axis=0)
    start = together[0]
    low = together.min()
    end = together[-1]
    return (
        f"Groups without a signal: {house.percent(start, 2)} in the first {window} steps, "
        f"{house.percent(low, 2)} at the lowest, {house.percent(end, 2)} in the last {window}"
    )
