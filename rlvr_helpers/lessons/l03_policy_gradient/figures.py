"""Figures of lesson 03: noise of the gradient, step size against improvement, pushes between
completions, a run that learns."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from rlvr_helpers.evaluation import wilson_interval
from rlvr_helpers.lessons.l03_policy_gradient.experiment import StepResult
from rlvr_helpers.plots import house

# Colours of no method. Both read on white and on black.
ACCENT = "#A65AA0"
SECOND = "#B07A00"
DASHES = (0, (4, 1.5))
PUSHES = ("#0072B2", SECOND, ACCENT, house.INK)


def error_curves(counts: Sequence[int], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Error of the sampled gradient against the number of samples, a line for each way to choose A.
    Needs at least 2 counts."""
    # Fit a slope to each line on log scales: the title says what it means.
    slopes = {
        name: float(np.polyfit(np.log(counts), np.log(line), 1)[0]) for name, line in errors.items()
    }
    slope = float(np.mean(list(slopes.values())))
    title = f"With 4 times as many samples the error is {4**-slope:.1f} times smaller"
    fig, axes = house.figure(3.0, title, left=0.8, right=1.3, bottom=0.55)
    ax = axes[0, 0]

    # Draw a line for each way.
    ends = []
    for (name, line), color, dash in zip(
        errors.items(), (ACCENT, SECOND), ("-", DASHES), strict=False
    ):
        ax.plot(counts, line, color=color, linestyle=dash, marker="o", ms=4, lw=1.8)
        ends.append((line[-1], name, color))
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="samples in the estimate",
        ylabel="error (root mean square)",
    )
    ax.set_xticks(list(counts), [f"{count:,}" for count in counts])
    ax.xaxis.set_minor_locator(NullLocator())
    house.name_ends(ax, ends)
    facts = [
        f"{name}: " + ", ".join(f"{e:.3g} with {n}" for n, e in zip(counts, line, strict=True))
        for name, line in errors.items()
    ]
    return house.finish(
        fig,
        "Error of the sampled gradient against the number of samples, both on log scales",
        facts,
    )


def step_curve(search: Sequence[StepResult], slope: float) -> Figure:
    """Share of correct answers after one step, against its length, beside the straight line that
    the gradient predicts.

    search: results of `line_search`, the first at step 0
    slope:  predicted gain for a step of length 1
    """
    # Take the shares with their intervals.
    steps = np.array([result.step for result in search])
    rates = np.array([result.rate for result in search])
    bounds = [wilson_interval(result.correct, result.count) for result in search]
    low, high = np.array(bounds).T
    best = int(rates.argmax())
    title = (
        f"{house.percent(rates[best], 2)} correct after a step of {steps[best]:g},"
        f" {house.percent(rates[-1], 2)} after one of {steps[-1]:g}"
    )

    # Draw what was counted.
    fig, axes = house.figure(2.9, title, left=0.8, right=1.3, bottom=0.55)
    ax = axes[0, 0]
    ax.fill_between(steps, low, high, color=ACCENT, alpha=0.25, lw=0)
    ax.plot(steps, rates, color=ACCENT, lw=1.8, marker="o", ms=4)

    # Draw what the gradient predicts, as far as it stays inside the axes.
    top = 0.1 * np.ceil(10 * max(high.max(), 0.3))
    straight = np.linspace(0, min((top - rates[0]) / max(slope, 1e-9), steps[-1]), 2)
    ax.plot(straight, rates[0] + slope * straight, color=house.INK, linestyle=DASHES, lw=1.5)
    ax.set(xlim=(0, steps[-1]), ylim=(0, top), xlabel="length of the step", ylabel="correct")
    house.percent_axis(ax.yaxis, 0.1)
    beside = {"transform": ax.transAxes, "va": "top", "size": 9.5}
    ax.text(1.03, 1.0, "- - predicted", color=house.INK, **beside)
    ax.text(1.03, 0.88, "real, with its\n95\xa0% interval", color=ACCENT, **beside)
    found = zip(steps[1:], rates[1:], strict=True)
    facts = [
        f"predicted slope {slope:.1f}",
        ", ".join(f"{house.percent(rate, 2)} after {step:g}" for step, rate in found),
    ]
    return house.finish(fig, "Share of correct answers against the length of one step", facts)


def overlap_arrows(
    overlaps: Sequence[Sequence[float]], weights: Sequence[float], names: Sequence[str], step: float
) -> Figure:
    """Arrows for how far each weighted completion i pushes the log-prob of each completion j:
    step * weights[i] * overlaps[i][j].

    overlaps: [B, B] products of the gradients of their log-probs
    names:    what each completion is called
    """
    # Work out how far each completion pushes each.
    moves = step * np.asarray(weights, dtype=float)[:, None] * np.asarray(overlaps, dtype=float)
    pushing = [i for i, weight in enumerate(weights) if weight]
    total = moves.sum(axis=0)
    title = f"{int((total > 0).sum())} of {len(names)} become likelier; each arrow is a push by one"

    # Draw a colour of arrows for each completion that pushes, side by side.
    fig, axes = house.figure(3.3, title, left=0.8, right=1.5, bottom=0.75)
    ax = axes[0, 0]
    offsets = np.linspace(-0.22, 0.22, len(pushing)) if len(pushing) > 1 else [0.0]
    for i, offset, color in zip(pushing, offsets, PUSHES, strict=False):
        for j, move in enumerate(moves[i]):
            style = {"arrowstyle": "-|>", "color": color, "lw": 2, "shrinkA": 0, "shrinkB": 0}
            ax.annotate("", (j + offset, move), (j + offset, 0), arrowprops=style)
        at = 1 - 0.17 * pushing.index(i)
        beside = {"transform": ax.transAxes, "va": "top", "size": 9.5}
        ax.text(1.03, at, f"push by\n{names[i]}", color=color, **beside)
    reach = 1.15 * max(np.abs(moves).max(), 1e-9)
    ax.axhline(0, color=house.INK, lw=0.8)
    ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(min(0, 1.3 * moves.min()), reach))

    # Write under each completion what becomes of it in all.
    labels = [
        f"{name.replace(' and ', chr(10) + 'and ')}\n{change:+.3f}".replace("-", "−")
        for name, change in zip(names, total, strict=True)
    ]
    ax.set_xticks(range(len(names)), labels)
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel("change of the log-prob")
    changes = [f"{change:+.3f}".replace("-", "−") for change in total]
    facts = [f"{name}: {change} in all" for name, change in zip(names, changes, strict=True)]
    return house.finish(fig, "Pushes between completions that share their weights", facts)


def pass_rate_curve(rates: Sequence[float], count: int) -> Figure:
    """Share of right answers in each step's `count` samples, with Wilson's 95 % intervals. Needs
    at least 1 step."""
    # Wilson's interval takes a count, so the rates become counts again.
    steps = np.arange(1, len(rates) + 1)
    low, high = np.array([wilson_interval(round(rate * count), count) for rate in rates]).T
    title = (
        f"{len(rates)} steps: from {house.percent(rates[0], 2)} right to"
        f" {house.percent(rates[-1], 2)}"
    )
    fig, axes = house.figure(2.7, title, left=0.8, bottom=0.55)
    ax = axes[0, 0]
    ax.fill_between(steps, low, high, color=ACCENT, alpha=0.25, lw=0)
    ax.plot(steps, rates, color=ACCENT, lw=1.8, marker="o", ms=4)
    ax.set(ylim=(0, 1.02), xlabel="step", ylabel=f"right of {count} sampled")
    house.percent_axis(ax.yaxis, 0.25)
    facts = [
        ", ".join(house.percent(rate, 2) for rate in rates),
        "the band is the 95 % interval of each point",
    ]
    return house.finish(fig, "Share of right answers to one problem against training step", facts)
