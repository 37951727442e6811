"""Figures of lesson 03: noise of the gradient, step size against improvement, loss beside
reward."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from rlvr_helpers.evaluation import wilson_interval
from rlvr_helpers.plots import house
from rlvr_helpers.records import StepRecord

# neither is a method's; both read on white and on black
ACCENT = "#A65AA0"
SECOND = "#B07A00"
DASHES = (0, (4, 1.5))
# of the axis of chances: where lines end, and with room for the key
TOP = 1.05
ROOM = 1.35
# steps that a run's start and end are the mean of
FIRST = slice(None, 5)
LAST = slice(-5, None)


def error_curves(counts: Sequence[int], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Error of the sampled gradient against the number of samples, a line for each way to choose A;
    at least 2 counts."""
    slopes = {
        name: float(np.polyfit(np.log(counts), np.log(line), 1)[0]) for name, line in errors.items()
    }
    slope = float(np.mean(list(slopes.values())))
    title = f"With 4 times as many samples the error is {4**-slope:.1f} times smaller"
    fig, axes = house.figure(3.0, title, left=0.8, right=1.3, bottom=0.55)
    ax = axes[0, 0]
    ends = []
    for (name, line), color, dash in zip(
        errors.items(), (ACCENT, SECOND), ("-", DASHES), strict=False
    ):
        ax.plot(counts, line, color=color, linestyle=dash, marker="o", ms=4, lw=1.8)
        ends.append((np.log10(line[-1]), name, color))
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="samples in the estimate",
        ylabel="error (root mean square)",
    )
    ax.set_xticks(list(counts), [f"{count:,}" for count in counts])
    ax.xaxis.set_minor_locator(NullLocator())
    low, high = (np.log10(limit) for limit in ax.get_ylim())
    ends.sort()
    for (_, name, color), y in zip(
        ends, house.spread([e[0] for e in ends], (high - low) / 12, low, high), strict=True
    ):
        ax.annotate(
            name,
            (1.02, 10**y),
            xycoords=ax.get_yaxis_transform(),
            va="center",
            color=color,
            size=9.5,
        )
    facts = [
        f"{name}: " + ", ".join(f"{e:.3g} with {n}" for n, e in zip(counts, line, strict=True))
        for name, line in errors.items()
    ]
    return house.finish(
        fig,
        "Error of the sampled gradient against the number of samples, both on log scales",
        facts,
    )


def toy_rates(chance: float, steps: Sequence[float]) -> tuple[np.ndarray, float]:
    """Exact expected reward of four arms after steps along the exact gradient's direction, and its
    slope at the start.

    One arm is right and has this chance at first; the other three share the rest.
    """
    p = np.array([chance, *[(1 - chance) / 3] * 3])
    gradient = p * (np.array([1, 0, 0, 0]) - chance)
    length = float(np.linalg.norm(gradient))
    logits = np.log(p) + np.outer(steps, gradient / length)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights[:, 0] / weights.sum(axis=1), length


def step_panels(
    chance: float, step: float, steps: Sequence[float], rates: Sequence[float], slope: float
) -> Figure:
    """Step size against improvement: four arms (exact) beside `tiny` (counted), with the prediction
    and a marker at `step`.

    steps, rates: what was counted, the first at step 0; slope: predicted gain of the pass rate for
        a step of length 1.
    """
    grid = np.geomspace(steps[1] / 1.3, steps[-1] * 1.3, 60)
    toy, toy_slope = toy_rates(chance, grid)
    panels = [  # name, start, real curve, real value at the marker, predicted slope
        (
            "four arms, each with its own weight",
            chance,
            (grid, toy),
            toy_rates(chance, [step])[0][0],
            toy_slope,
        ),
        (
            "tiny, 874,496 shared weights",
            rates[0],
            (steps[1:], rates[1:]),
            np.interp(step, steps, rates),
            slope,
        ),
    ]
    moves = [f"{house.percent(start)} to {house.percent(real)}" for _, start, _, real, _ in panels]
    title = f"A step of {step:g}: four arms {moves[0]}, tiny {moves[1]}"
    fig, axes = house.figure(
        3.2, title, 1, 2, left=0.8, top=0.35, bottom=0.55, wgap=0.35, title_lines=1
    )
    said = [f"{name}: predicted {_chance(start + by * step)}" for name, start, _, _, by in panels]
    for ax, (name, start, curve, real, by) in zip(axes[0], panels, strict=True):
        house.heading(ax, name)
        _step_panel(ax, grid, curve, start=start, slope=by, step=step, real=real)
    axes[0, 0].set_ylabel("chance of a right answer")
    axes[0, 1].set_yticklabels([])
    counted = ", ".join(
        f"{house.percent(r, 2)} after {s:g}" for s, r in zip(steps[1:], rates[1:], strict=True)
    )
    return house.finish(
        fig,
        "Chance of a right answer against the length of one step",
        [*said, f"tiny, real: {counted}"],
    )


def _chance(predicted: float) -> str:
    """A predicted chance in words: a straight line knows no limits."""
    return (
        "below 0"
        if predicted < 0
        else f"above 100{house.NO_BREAK}%"
        if predicted > 1
        else house.percent(predicted)
    )


def _step_panel(
    ax: Axes, grid: np.ndarray, curve, start: float, slope: float, step: float, real: float
) -> None:
    """The real curve and the straight prediction (bent by the log scale), with a dot on each at
    `step`."""
    predicted = start + slope * grid
    inside = (predicted >= 0) & (predicted <= TOP)
    ax.plot(grid[inside], predicted[inside], color=house.INK, linestyle=DASHES, lw=1.5)
    ax.plot(*curve, color=ACCENT, lw=1.8)
    ax.axhline(start, color=house.INK, lw=0.7)
    ax.axvline(step, ymax=TOP / ROOM, color=house.INK, lw=0.7, linestyle=(0, (1, 2)))
    ax.plot([step], [real], "o", ms=8, color=ACCENT, clip_on=False)
    if 0 <= start + slope * step <= TOP:
        ax.plot([step], [start + slope * step], "o", ms=7, mfc="none", mec=house.INK, mew=1.5)
    ax.set(xscale="log", xlim=(grid[0], grid[-1]), ylim=(0, ROOM), xlabel="length of the step")
    shown = [10.0**power for power in range(-3, 2) if grid[0] <= 10.0**power <= grid[-1]]
    ax.set_xticks(shown, [f"{place:g}" for place in shown])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks([0, 0.5, 1], ["0", "50\xa0%", "100\xa0%"])
    says = (
        (f"- -  predicted {_chance(start + slope * step)}", house.INK),
        (f"—  real {house.percent(real)}", ACCENT),
    )
    for place, (text, color) in zip((0.97, 0.88), says, strict=True):
        ax.text(0.02, place, text, transform=ax.transAxes, va="top", size=9, color=color)


def loss_and_reward(runs: Sequence[Sequence[StepRecord]], method: str) -> Figure:
    """Mean reward over mean loss, step by step, one line for each seed: records of one method, at
    least 1 step each."""
    ends = {}
    for name in ("reward_mean", "loss"):
        values = [[getattr(r, name) for r in records] for records in runs]
        ends[name] = [
            float(np.mean([part for line in values for part in line[where]]))
            for where in (FIRST, LAST)
        ]
    reward = ends["reward_mean"]
    loss = ends["loss"]
    verb = "rises too" if loss[1] > loss[0] else "falls"
    title = (
        f"The reward rises from {reward[0]:.2f} to {reward[1]:.2f}; the loss {verb}, {loss[0]:.4f}"
        f" to {loss[1]:.4f}"
    )
    fig, axes = house.figure(
        3.4, title.replace("-", "−"), 2, 1, left=0.8, top=0.3, bottom=0.55, hgap=0.4
    )
    style = {"color": house.color_of(method), "lw": 1.2}
    for ax, name, text in zip(
        axes[:, 0], ("reward_mean", "loss"), ("mean reward", "loss"), strict=True
    ):
        house.heading(
            ax, f"{text}, a line for each of {len(runs)} seeds" if name == "reward_mean" else text
        )
        for records in runs:
            house.line(ax, [r.step for r in records], [getattr(r, name) for r in records], **style)
    axes[0, 0].set(ylim=(0, 1))
    axes[0, 0].set_xticklabels([])
    axes[1, 0].axhline(0, color=house.INK, lw=0.7)
    axes[1, 0].set_xlabel("step")
    facts = [f"{method}; mean over the first 5 and the last 5 steps of all seeds"]
    return house.finish(fig, "Mean reward and loss of recorded runs against step", facts)


def pass_rate_curve(rates: Sequence[float], count: int) -> Figure:
    """Share of right answers in each step's `count` samples, with Wilson's 95 % intervals; at least
    1 step."""
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
