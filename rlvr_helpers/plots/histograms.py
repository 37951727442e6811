"""Ratio distributions: histograms of token and of sequence ratios, with the clip range drawn in."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from rlvr_helpers.methods import Method
from rlvr_helpers.plots import house
from rlvr_helpers.plots.house import Runs
from rlvr_helpers.records import LEVELS, Distribution, StepRecord

# Bins of a drawn histogram. It is odd, so that one bin is centred on ratio 1.
GRID = 45


def ratio_distributions(
    runs: Runs, methods: Mapping[str, Method], steps: Sequence[int] | None = None
) -> Figure:
    """Histograms of token ratios (upper row) and sequence ratios (lower row), with a column per
    method and a ridge per step.

    The method's clip range is drawn on the level where it acts. Beyond it (shaded) the gradient
    stops for the sign of the advantage A that stands there, and the numbers are the shares of
    ratios. Heights are square roots of shares, so that the tails show. Ratios stand on a log scale.
    A row shares its axes, and what lies far out is cut off. Seeds are pooled with equal weight.
    steps: by default the first, middle and last that every run has
    """
    # The methods that have runs, and the steps to show.
    names = [name for name in methods if any(runs.get(name, ()))]
    if steps is None:
        steps = _early_middle_late({name: runs[name] for name in names})
    # Two rows, one per level. The methods' names stand over the upper one.
    fig, axes = house.figure(
        5.3,
        _ratio_title(runs, names),
        rows=2,
        cols=max(len(names), 1),
        left=0.7,
        right=0.1,
        top=0.28,
        bottom=0.9,
        wgap=0.12,
        hgap=0.8,
    )
    drawn = {name: runs[name] for name in names}
    lines = []
    for row, level in zip(axes, ("token", "sequence"), strict=True):
        lines += _draw_level(row, level, drawn, methods=methods, steps=steps)
    for ax, name in zip(axes[0], names, strict=False):
        house.heading(ax, name, color=house.color_of(name), weight="bold")
    if not names:
        house.empty(axes[0, 0], "no records")
    house.note(
        fig,
        "Shaded: beyond the clip range the gradient stops for the sign of A shown; numbers: share"
        " of ratios there.\nHeight: square root of the share, so that the tails show. Log scale,"
        " the same along a row.",
    )
    return house.finish(fig, "Histograms of token and sequence ratios", lines)


def _draw_level(
    row: Sequence[Axes], level: str, runs: Runs, methods: Mapping[str, Method], steps: Sequence[int]
) -> list[str]:
    """Draws the ratios of one level, "token" or "sequence", and returns a line on each method."""
    found = {name: [_at_step(runs[name], step, level) for step in steps] for name in runs}
    acting = [methods[name] for name in runs if methods[name].ratio_level == level]
    # One axis and one height for the whole row.
    half = _half_width([d for by_step in found.values() for ds in by_step for d in ds], acting)
    shares = {name: [shares_in_bins(ds, half) for ds in by_step] for name, by_step in found.items()}
    heights = [h.max() for by_step in shares.values() for h in by_step if h is not None]
    tallest = max(heights, default=0) or 1.0
    # A column per method.
    lines = []
    for ax, name in zip(row, runs, strict=False):
        ridges = [None if h is None else np.sqrt(h / tallest) for h in shares[name]]
        _ridges(ax, ridges, half, color=house.color_of(name))
        if methods[name] in acting:
            _range_with_shares(ax, methods[name], found[name], half=half)
        lines.append(_describe_ratios(name, level, methods[name], by_step=found[name], steps=steps))
    # Only the first column names the steps.
    labels = [f"step {step}" for step in reversed(steps)]
    for ax in row:
        ratio_axis(ax, half)
        ax.set_xlabel(f"{level} ratio")
        house.rows_axis(ax, range(len(steps)), labels if ax is row[0] else None)
        ax.set_ylim(-0.05, len(steps) + 0.45)
    return lines


def _at_step(seeds: Sequence[Sequence[StepRecord]], step: int, level: str) -> list[Distribution]:
    """The log-ratio distributions of one step and level, one for each seed that has it."""
    found = [
        getattr(r, f"{level}_log_ratio") for records in seeds for r in records if r.step == step
    ]
    return [d for d in found if d is not None]


def _early_middle_late(runs: Runs) -> list[int]:
    """First, middle and last of the steps that every run has."""
    have = [{r.step for r in records} for seeds in runs.values() for records in seeds if records]
    steps = sorted(set.intersection(*have)) if have else []
    return sorted({steps[0], steps[(len(steps) - 1) // 2], steps[-1]}) if steps else []


def _half_width(distributions: Sequence[Distribution], methods: Sequence[Method]) -> float:
    """How far from 0 an axis of log-ratios goes: to the usual 1 % tails, and beyond the clip
    ranges."""
    tails = [
        max(abs(d.quantiles[LEVELS.index(0.01)]), abs(d.quantiles[LEVELS.index(0.99)]))
        for d in distributions
    ]
    # Both ends of each range lie well inside, and the median of the tails ignores a stray run.
    ranges = [2.5 * eps for m in methods for eps in (m.clip_low, m.clip_high) if math.isfinite(eps)]
    return max([1e-6, 1.2 * float(np.median(tails or [0.0])), *ranges])


def shares_in_bins(distributions: Sequence[Distribution], half: float) -> np.ndarray | None:
    """Share of log-ratios in each of GRID bins from -half to half, averaged over distributions.
    What lies outside is left out. None if there is no distribution."""
    edges = np.linspace(-half, half, GRID + 1)
    parts = []
    for d in distributions:
        # The recorded bins, read as a cumulative distribution at the drawn edges.
        edges_of_record = np.linspace(d.low, max(d.high, d.low + 1e-9), len(d.counts) + 1)
        parts.append(
            np.diff(np.interp(edges, edges_of_record, np.cumsum([0, *d.counts]) / d.count))
        )
    return np.mean(parts, axis=0) if parts else None


def shares_outside(distributions: Sequence[Distribution], method: Method) -> tuple[float, float]:
    """Shares of the ratios below and above a method's clip range, averaged over distributions."""
    # A range that reaches down to ratio 0 has no lower end in logs.
    low = math.log(1 - method.clip_low) if method.clip_low < 1 else -math.inf
    high = math.log1p(method.clip_high)
    parts = [
        (d.share_outside(low, math.inf), d.share_outside(-math.inf, high)) for d in distributions
    ]
    return tuple(float(share) for share in np.mean(parts, axis=0))


def _ridges(ax: Axes, heights: Sequence[np.ndarray | None], half: float, color: str) -> None:
    """Histograms one below the other. The first is on top and palest. A height of 1 reaches the
    next ridge."""
    edges = np.linspace(-half, half, GRID + 1)
    for i, height in enumerate(heights):
        base = len(heights) - 1 - i
        ax.axhline(base, color=house.INK, lw=0.6, alpha=0.6)
        if height is not None:
            top = base + 0.92 * height
            # The later, the stronger the colour.
            face = to_rgba(color, 0.2 + 0.5 * (i + 1) / len(heights))
            ax.stairs(top, edges, baseline=base, fill=True, facecolor=face, edgecolor=color, lw=0.8)


def draw_range(ax: Axes, method: Method, half: float) -> tuple[float, float]:
    """Shades what lies beyond a method's clip range on an axis of log-ratios. Returns its ends."""
    low = max(math.log(1 - method.clip_low) if method.clip_low < 1 else -half, -half)
    high = min(math.log1p(method.clip_high), half)
    for start, end, edge in ((-half, low, low), (high, half, high)):
        ax.axvspan(start, end, color=house.INK, alpha=0.13, lw=0, zorder=0)
        ax.axvline(edge, color=house.INK, lw=0.9, zorder=1)
    return low, high


def _range_with_shares(
    ax: Axes, method: Method, by_step: Sequence[Sequence[Distribution]], half: float
) -> None:
    """Draws the clip range, its ends in numbers, and for each ridge the share of ratios on either
    side."""
    low, high = draw_range(ax, method, half)
    text = {"ha": "center", "va": "center", "size": 8, "color": house.INK}
    ends = f"{max(1 - method.clip_low, 0):.5g} to {1 + method.clip_high:.5g}".replace("inf", "∞")
    house.heading(ax, f"range {ends}", 1, size=8)
    # The shares on both sides, if there is room for them.
    for side, start, end in ((0, -half, low), (1, high, half)):
        if end - start < 0.1 * half:
            continue
        ax.text((start + end) / 2, len(by_step) + 0.2, ("A < 0", "A > 0")[side], **text)
        for i, distributions in enumerate(by_step):
            if distributions:
                share = house.percent(shares_outside(distributions, method)[side], digits=2)
                ax.text((start + end) / 2, len(by_step) - 0.4 - i, share, **text)


def ratio_axis(ax: Axes, half: float) -> None:
    """An axis of log-ratios from -half to half. Its ticks name ratios: 0.9, 1, 1.1 or 0.5, 1, 2."""
    # The widest round pair of ratios that fits.
    steps = [digit * 10.0**power for power in range(6, -9, -1) for digit in (5, 2, 1)]
    ends = [(1 - step, 1 + step) if step < 1 else (1 / (1 + step), 1 + step) for step in steps]
    down, up = next((down, up) for down, up in ends if -math.log(down) <= 0.9 * half)
    ax.set_xticks([math.log(down), 0, math.log(up)], [f"{down:.4g}", "1", f"{up:.5g}"])
    ax.set_xlim(-half, half)


def _describe_ratios(
    name: str,
    level: str,
    method: Method,
    by_step: Sequence[Sequence[Distribution]],
    steps: Sequence[int],
) -> str:
    """A line of the alternative text: spread and share outside the clip range, step by step."""
    parts = []
    for step, distributions in zip(steps, by_step, strict=True):
        if distributions:
            share = (
                f", {house.percent(sum(shares_outside(distributions, method)))} outside"
                if method.ratio_level == level
                else ""
            )
            parts.append(f"step {step} spread {np.mean([d.std for d in distributions]):.3f}{share}")
    return f"{name}, {level} log-ratios: {'; '.join(parts) or 'none'}"


def _ratio_title(runs: Runs, names: Sequence[str]) -> str:
    """How much wider tokens spread than sequences, over all steps and methods."""
    # The mean standard deviation of log-ratios at each level.
    records = [r for name in names for seed in runs[name] for r in seed]
    token, sequence = (
        house.mean_of([d.std for r in records if (d := getattr(r, f"{level}_log_ratio"))])
        for level in ("token", "sequence")
    )
    if not token or not sequence:
        return "Ratios of tokens and of sequences"
    times = f"{token / sequence:.1f}"
    return (
        f"Token ratios spread on average {times} times as wide as sequence ratios: each level needs"
        " its own range"
    )
