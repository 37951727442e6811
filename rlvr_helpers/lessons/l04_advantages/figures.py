"""Figures of lesson 04: the advantages of one group, a problem's weight, groups without a signal
over training."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlvr_helpers.advantages import STD_EPSILON, group_advantages
from rlvr_helpers.plots import house

# how each method makes advantages
SCALES = {"GRPO": "std", "Dr. GRPO": "none", "RLOO": "leave_one_out"}
RIGHT = "#0072B2"
WRONG = house.INK


def advantage_bars(rewards: Sequence[float]) -> Figure:
    """The advantages of one group of right (1) and wrong (0) answers by GRPO, Dr. GRPO and RLOO,
    side by side."""
    group = torch.tensor([list(rewards)], dtype=torch.float64)
    found = {name: group_advantages(group, scale)[0].tolist() for name, scale in SCALES.items()}
    size = len(rewards)
    right = [i for i, reward in enumerate(rewards) if reward]
    fig, axes = house.figure(
        3.1, _bars_title(found, right, size), right=1.75, bottom=0.55, title_lines=2
    )
    ax = axes[0, 0]
    places = np.arange(size)
    lines = [f"right: {', '.join(f'answer {i + 1}' for i in right) or 'none'}"]
    for k, (name, advantages) in enumerate(found.items()):
        ax.bar(places + 0.27 * (k - 1), advantages, width=0.24, color=house.color_of(name))
        values = [
            f"{word} {_signed(advantages[of[0]])}"
            for word, of in (("right", right), ("wrong", _others(right, size)))
            if of
        ]
        label = "GRPO, GSPO" if name == "GRPO" else name
        beside = {"transform": ax.transAxes, "va": "top", "linespacing": 1.3}
        ax.text(
            1.04,
            1.0 - 0.36 * k,
            label,
            color=house.color_of(name),
            size=9.5,
            weight="bold",
            **beside,
        )
        ax.text(1.04, 0.9 - 0.36 * k, "\n".join(values), color=house.INK, size=9, **beside)
        lines.append(f"{label}: {', '.join(values)}")
    ax.axhline(0, color=house.INK, lw=0.8)
    names = [f"{i + 1}\n{'right' if reward else 'wrong'}" for i, reward in enumerate(rewards)]
    ax.set_xticks(places, names)
    ax.tick_params(axis="x", length=0)
    ax.set(xlim=(-0.6, size - 0.4), ylim=(-2.7, 2.7), ylabel="advantage")
    ax.set_yticks([-2, -1, 0, 1, 2], ["−2", "−1", "0", "1", "2"])
    return house.finish(fig, f"Advantages of a group of {size} answers", lines)


def _others(right: Sequence[int], size: int) -> list[int]:
    return [i for i in range(size) if i not in right]


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if value else "0"


def _bars_title(found: Mapping[str, Sequence[float]], right: Sequence[int], size: int) -> str:
    if not right or len(right) == size:
        return (
            f"All {size} {'right' if right else 'wrong'}: no answer is better than another, and"
            " every advantage is exactly 0"
        )
    parts = [
        f"{name} {_signed(advantages[right[0]])}".replace(" ", house.NO_BREAK)
        for name, advantages in found.items()
    ]
    return f"{len(right)} of {size} right. A right answer gets: {', '.join(parts)}"


def group_weights(group_size: int, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """For 0 to G right answers of G: what R - mean is multiplied by (NaN where all are alike), and
    the group's total |A|."""
    # row k: k right answers
    rewards = torch.ones(group_size + 1, group_size, dtype=torch.float64).tril(-1)
    total = group_advantages(rewards, scale).abs().sum(dim=1).numpy()
    if scale == "std":
        multiplier = 1 / (rewards.std(dim=1).numpy() + STD_EPSILON)
    else:
        multiplier = np.full(
            group_size + 1, 1.0 if scale == "none" else group_size / (group_size - 1)
        )
    multiplier[[0, -1]] = np.nan
    return multiplier, total


def problem_weight_curves(group_size: int, share_right: float, relative: bool = False) -> Figure:
    """How much a problem weighs against the share of its answers that are right, under GRPO and Dr.
    GRPO: left what R - mean is multiplied by, right the group's total |A| (relative: divided by its
        largest). A mark at `share_right`."""
    right = round(share_right * group_size)
    curves = {name: group_weights(group_size, SCALES[name]) for name in ("GRPO", "Dr. GRPO")}
    if relative:
        curves = {
            name: (multiplier, total / total.max()) for name, (multiplier, total) in curves.items()
        }
    title = _weights_title(curves, right, group_size, relative=relative)
    fig, axes = house.figure(
        3.2, title, 1, 2, left=0.55, right=0.2, top=0.32, wgap=0.6, title_lines=2
    )
    shares = np.arange(group_size + 1) / group_size
    tops = (max(2.6, 1.15 * group_size**0.5), 1.12 if relative else 1.12 * group_size)
    headings = (
        "R − mean is multiplied by",
        "total |A| / its largest" if relative else "total |A| of the group",
    )
    for panel, (ax, top, text) in enumerate(zip(axes[0], tops, headings, strict=True)):
        for name, both in curves.items():
            style = {
                **house.STYLES[name],
                "markevery": max(1, group_size // 16),
                "ms": 3.5 if group_size <= 16 else 0,
            }
            ax.plot(shares, both[panel], lw=1.8, **style)
            value = both[panel][right]
            if np.isfinite(value):
                ax.plot(
                    [right / group_size],
                    [value],
                    "o",
                    ms=9,
                    mfc="none",
                    mec=house.color_of(name),
                    mew=1.6,
                )
        house.heading(ax, text)
        ax.set(xlim=(-0.03, 1.03), ylim=(0, top), xlabel="right answers in the group")
        house.percent_axis(ax.xaxis, 0.25)
        _weight_labels(ax, curves, panel, right=right)
    lines = [
        f"{name}: multiplied by {_number(multiplier[right])}, total |A|"
        f" {'share ' if relative else ''}{total[right]:.2f}"
        for name, (multiplier, total) in curves.items()
    ]
    return house.finish(
        fig,
        f"Weight of a problem, group of {group_size}",
        [f"{right} of {group_size} right", *lines],
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "nothing, since all are alike"


def _weight_labels(ax: Axes, curves, panel: int, right: int) -> None:
    """Each curve's name with its value at the mark: over the valley of the left panel, under the
    hill of the right one."""
    for i, (name, both) in enumerate(curves.items()):
        value = both[panel][right]
        text = f"{name} {value:.2f}" if np.isfinite(value) else name
        y = (0.92, 0.15)[panel] - 0.1 * i
        ax.text(
            0.5, y, text, transform=ax.transAxes, ha="center", color=house.color_of(name), size=9.5
        )


def _weights_title(curves, right: int, size: int, relative: bool) -> str:
    if right in (0, size):
        return (
            f"{'All' if right else 'None'} of {size} right: the problem weighs 0 under every method"
        )
    (grpo, grpo_total), (_, dr_total) = curves["GRPO"], curves["Dr. GRPO"]
    if relative:
        shares = (
            f"{house.percent(grpo_total[right], 2)} of its largest weight under GRPO,"
            f" {house.percent(dr_total[right], 2)}"
        )
        return f"{right} of {size} right: {shares} under Dr. GRPO"
    return (
        f"{right} of {size} right: GRPO multiplies R − mean by {grpo[right]:.2f}; "
        f"|A| adds up to {grpo_total[right]:.2f} under GRPO, {dr_total[right]:.2f} under Dr. GRPO"
    )


def no_signal_curves(shares: Mapping[str, Sequence[Sequence[float]]], window: int = 4) -> Figure:
    """Share of groups without a signal over training, a mean over each `window` steps. Thin: a run;
    bold: a method.

    shares: method -> for each run its shares, one a step.
    """
    blocks = {
        name: [_block_means(run, window) for run in runs if len(run)]
        for name, runs in shares.items()
    }
    blocks = {
        name: [run[: min(map(len, runs))] for run in runs] for name, runs in blocks.items() if runs
    }
    means = {name: np.mean(runs, axis=0) for name, runs in blocks.items()}
    title = _no_signal_title(means, window)
    fig, axes = house.figure(
        3.3, title, left=0.75, right=house.label_width({name: [] for name in means} or {"": []})
    )
    ax = axes[0, 0]
    last = 1.0
    for name, runs in blocks.items():
        style = {**house.STYLES.get(name, house.OTHER)}
        places = window * (np.arange(len(means[name])) + 0.5) + 0.5
        for run in runs:
            ax.plot(
                places, run, lw=0.8, alpha=0.45, color=style["color"], linestyle=style["linestyle"]
            )
        ax.plot(places, means[name], lw=2, ms=4.5, **style)
        last = max(last, places[-1])
    top = 0.25 * math.ceil(4 * max([0.25, *(max(run) for runs in blocks.values() for run in runs)]))
    ax.set(
        xlim=(0, last + window / 2),
        ylim=(0, top),
        xlabel="step (rollout)",
        ylabel="groups without a signal",
    )
    house.percent_axis(ax.yaxis, 0.25)
    house.spread_labels(ax, [(name, mean[-1], name) for name, mean in means.items()])
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


def _block_means(run: Sequence[float], window: int) -> np.ndarray:
    """Means over consecutive blocks of `window`; a shorter rest at the end counts as a block."""
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


def wasted_samples(wrong: Sequence[int], right: Sequence[int], samples: int) -> Figure:
    """How many of the `samples` of each step were in groups that taught nothing: all wrong (below),
    all right (above)."""
    steps = np.arange(1, len(wrong) + 1)
    total = samples * len(wrong)
    lost = sum(wrong) + sum(right)
    share = house.percent(lost / total, 2) if total else "no steps yet"
    parts = f"{sum(wrong):,} in groups all wrong, {sum(right):,} all right"
    title = f"{lost:,} of {total:,} samples ({share}) taught nothing: {parts}"
    fig, axes = house.figure(3.0, title, left=0.75, right=1.0)
    ax = axes[0, 0]
    ax.bar(steps, wrong, width=0.8, color=WRONG, alpha=0.55, lw=0)
    ax.bar(steps, right, width=0.8, bottom=wrong, color=RIGHT, lw=0)
    ax.text(
        1.02,
        0.3,
        "in groups\nall right",
        transform=ax.transAxes,
        color=RIGHT,
        size=9.5,
        va="center",
    )
    ax.text(
        1.02,
        0.1,
        "in groups\nall wrong",
        transform=ax.transAxes,
        color=WRONG,
        size=9.5,
        va="center",
    )
    ax.set(
        xlim=(0.3, len(wrong) + 0.7),
        ylim=(0, samples),
        xlabel="step (rollout)",
        ylabel="samples of the step",
    )
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}"))
    if not len(wrong):
        house.empty(ax, "no steps yet")
    lines = [
        f"step {i}: {w} in groups all wrong, {r} all right"
        for i, w, r in zip(steps, wrong, right, strict=True)
    ]
    return house.finish(fig, f"Samples without a signal, of {samples} a step", lines)
