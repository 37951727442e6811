"""The dashboard of one run: what to watch while it trains, in six panels of fixed size."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_helpers.methods import Method
from rlvr_helpers.plots import histograms, house
from rlvr_helpers.records import StepRecord


def dashboard(
    records: Sequence[StepRecord],
    total_steps: int,
    method: Method | None = None,
    name: str | None = None,
) -> Figure:
    """What to watch while one run trains, in six panels of fixed size; `records` may be empty.

    name: what the title calls the run, by default the method. A key or heading names only what the
        run has measured.
    """
    last = records[-1] if records else None
    evals = [(0, r.start_eval) for r in records[:1] if r.start_eval] + [
        (r.step, r.eval) for r in records if r.eval
    ]
    now = f"reward {last.reward_mean:.2f}" if last else "waiting for the first step"
    held_out = f", held-out accuracy {house.percent(evals[-1][1].accuracy)}" if evals else ""
    if evals and evals[-1][0] != last.step:
        when = f"after step {evals[-1][0]}" if evals[-1][0] else "before training"
        held_out = f", held-out {house.percent(evals[-1][1].accuracy)} {when}"
    place = f"step {last.step if last else 0} of {total_steps}"
    title = f"{name or (method.name if method else 'Training')}, {place}: {now}{held_out}"
    fig, axes = house.figure(
        4.3, title, 2, 3, left=0.5, right=0.25, top=0.3, bottom=0.5, wgap=0.48, hgap=0.5
    )
    color = house.color_of(method.name if method and method.name in house.STYLES else "GRPO")
    unit = last.clip_unit if last else "ratios"
    panels = [
        (
            axes[0, 0],
            "reward (line), held-out (dots)" if evals else "reward",
            ["reward_mean"],
            [],
            1.0,
        ),
        (axes[0, 2], f"share of {unit} clipped", ["clip_fraction"], [], None),
        (
            axes[1, 0],
            "answer length (tokens)",
            ["length_right", "length_wrong"],
            ["right", "wrong"],
            None,
        ),
        (axes[1, 1], "nats a token", ["entropy", "kl"], ["entropy", "KL to the start"], None),
        (
            axes[1, 2],
            "shares of the rollout",
            ["no_signal", "truncated"],
            ["groups without signal", "answers cut off"],
            1.0,
        ),
    ]
    for ax, heading, fields, keys, top in panels:
        house.heading(ax, heading, size=9)
        _dashboard_lines(ax, records, fields, keys=keys, color=color, top=top)
        ax.set_xlim(0, max(total_steps, 1))
        ax.set_xticks([0, max(total_steps, 1)] if ax in axes[1] else [])
    for step, evaluation in evals:
        axes[0, 0].plot([step], [evaluation.accuracy], "o", ms=4, color=color, clip_on=False)
    _dashboard_ratios(axes[0, 1], last, method, color=color)
    for ax in axes[1]:
        ax.set_xlabel("step")
    facts = [title] + (
        [f"clip fraction {house.percent(last.clip_fraction)} of {unit}"] if last else []
    )
    return house.finish(fig, "Training dashboard", facts)


def _dashboard_lines(
    ax: Axes, records, fields: Sequence[str], keys: Sequence[str], color: str, top
) -> None:
    """One or two lines against step, the second grey and dashed, below a key for those that are
    there; the scale grows in round steps."""
    styles = ({"color": color, "linestyle": "-"}, {"color": house.INK, "linestyle": (0, (3, 1))})
    found = [[getattr(r, field) for r in records] for field in fields]
    for ys, style in zip(found, styles, strict=False):
        house.line(ax, [r.step for r in records], ys, lw=1.6, **style)
    if records and not ax.lines:
        house.empty(ax, "not measured")
    most = max(house.finite(y for ys in found for y in ys), default=0)
    top = top or _nice_ceiling(most if keys else 1.25 * most)
    ax.set_ylim(0, top * (1 + 0.18 * len(keys)))  # the keys have the room above the last tick
    # few ticks: they take most of the drawing time
    ax.set_yticks([0, top / 2, top], ["0", f"{top / 2:g}", f"{top:g}"])
    drawn = [
        row for row in zip(keys, styles, ("—", "- -"), found, strict=False) if house.finite(row[-1])
    ]
    for i, (key, style, dash, _) in enumerate(drawn):
        ax.text(
            0.98,
            0.99 - 0.13 * i,
            f"{dash} {key}",
            transform=ax.transAxes,
            ha="right",
            va="top",
            size=8,
            color=style["color"],
        )


def _dashboard_ratios(ax: Axes, last: StepRecord | None, method: Method | None, color: str) -> None:
    """The last step's ratios at the level that the method clips, with its range, which alone sets
    the axis."""
    level = method.ratio_level if method else "token"
    found = getattr(last, f"{level}_log_ratio") if last else None
    eps = [e for e in ((method.clip_low, method.clip_high) if method else ()) if 0 < e < math.inf]
    half = 4 * max(eps, default=0.15)
    house.heading(ax, f"{level} ratios, {'clip range' if eps else 'no clip'}", size=9)
    if found:
        heights = np.sqrt(histograms.shares_in_bins([found], half))
        ax.stairs(
            heights,
            np.linspace(-half, half, histograms.GRID + 1),
            fill=True,
            color=color,
            alpha=0.75,
        )
    ax.set_ylim(0, 1.15)
    ax.set_yticks([])
    histograms.ratio_axis(ax, half)
    if eps:
        low, high = histograms.draw_range(ax, method, half)
        shares = histograms.shares_outside([found], method) if found else ()
        for place, share in zip(((low - half) / 2, (high + half) / 2), shares, strict=False):
            ax.text(place, 1.02, house.percent(share), ha="center", size=8, color=house.INK)


def _nice_ceiling(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten, at least 0.01."""
    power = 10 ** math.floor(math.log10(max(value, 0.01)))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value * (1 - 1e-9))
