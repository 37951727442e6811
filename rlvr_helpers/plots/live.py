"""The dashboard of one run: what to watch while it trains, in six panels of fixed size."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_helpers.evaluation import Evaluation
from rlvr_helpers.methods import Method
from rlvr_helpers.plots import histograms, house
from rlvr_helpers.records import StepRecord

# Fields of the records that share a panel, with their keys.
LENGTHS = {"length_right": "right", "length_wrong": "wrong"}
NATS = {"entropy": "entropy", "kl": "KL to the start"}
SHARES = {"no_signal": "groups without signal", "truncated": "answers cut off"}


def dashboard(
    records: Sequence[StepRecord],
    total_steps: int,
    method: Method | None = None,
    name: str | None = None,
) -> Figure:
    """What to watch while one run trains, in six panels of fixed size. `records` can be empty.

    name: what the title calls the run, by default the method. Keys and headings name only what the
        run has measured.
    """
    # The evaluations so far, as (step, evaluation). Step 0 is before training.
    last = records[-1] if records else None
    evals = [(0, r.start_eval) for r in records[:1] if r.start_eval]
    evals += [(r.step, r.eval) for r in records if r.eval]
    title = _title(last, evals, total_steps, name=name or (method.name if method else "Training"))
    fig, axes = house.figure(
        4.3, title, rows=2, cols=3, left=0.5, right=0.25, top=0.3, bottom=0.5, wgap=0.48, hgap=0.5
    )
    color = house.color_of(method.name if method and method.name in house.STYLES else "GRPO")
    # Five panels of lines, and one of the last step's ratios.
    unit = last.clip_unit if last else "ratios"
    reward = "reward (line), held-out (dots)" if evals else "reward"
    panels = [
        (axes[0, 0], reward, {"reward_mean": ""}, 1.0),
        (axes[0, 2], f"share of {unit} clipped", {"clip_fraction": ""}, None),
        (axes[1, 0], "answer length (tokens)", LENGTHS, None),
        (axes[1, 1], "nats a token", NATS, None),
        (axes[1, 2], "shares of the rollout", SHARES, 1.0),
    ]
    for ax, heading, fields, top in panels:
        house.heading(ax, heading, size=9)
        _dashboard_lines(ax, records, fields, color=color, top=top)
        ax.set_xlim(0, max(total_steps, 1))
        ax.set_xticks([0, max(total_steps, 1)] if ax in axes[1] else [])
    _dashboard_ratios(axes[0, 1], last, method, color=color)
    # The evaluations are dots beside the rewards.
    for step, evaluation in evals:
        axes[0, 0].plot([step], [evaluation.accuracy], "o", ms=4, color=color, clip_on=False)
    for ax in axes[1]:
        ax.set_xlabel("step")
    facts = []
    if last and last.clip_fraction is not None:
        facts = [f"clip fraction {house.percent(last.clip_fraction)} of {unit}"]
    return house.finish(fig, "Training dashboard", [title, *facts])


def _title(
    last: StepRecord | None, evals: Sequence[tuple[int, Evaluation]], total_steps: int, name: str
) -> str:
    """The run, its step, its reward and its last evaluation."""
    now = f"reward {last.reward_mean:.2f}" if last else "waiting for the first step"
    held_out = f", held-out accuracy {house.percent(evals[-1][1].accuracy)}" if evals else ""
    if evals and evals[-1][0] != last.step:
        when = f"after step {evals[-1][0]}" if evals[-1][0] else "before training"
        held_out = f", held-out {house.percent(evals[-1][1].accuracy)} {when}"
    return f"{name}, step {last.step if last else 0} of {total_steps}: {now}{held_out}"


def _dashboard_lines(
    ax: Axes,
    records: Sequence[StepRecord],
    fields: Mapping[str, str],
    color: str,
    top: float | None,
) -> None:
    """One or two lines against step, the second one grey and dashed. The scale grows in round
    steps.

    fields: fields of the records, with their keys. "" stands for no key.
    """
    keys = [key for key in fields.values() if key]
    styles = ({"color": color, "linestyle": "-"}, {"color": house.INK, "linestyle": (0, (3, 1))})
    found = [[getattr(r, field) for r in records] for field in fields]
    for ys, style in zip(found, styles, strict=False):
        house.line(ax, [r.step for r in records], ys, lw=1.6, **style)
    if records and not ax.lines:
        house.empty(ax, "not measured")
    most = max(house.finite(y for ys in found for y in ys), default=0)
    top = top or _nice_ceiling(most if keys else 1.25 * most)
    # The keys have the room above the last tick. Ticks are few, since they take most of the drawing
    # time.
    ax.set_ylim(0, top * (1 + 0.18 * len(keys)))
    ax.set_yticks([0, top / 2, top], ["0", f"{top / 2:g}", f"{top:g}"])
    # A key for each line that is there.
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
    """Draws the last step's ratios at the level that the method clips, with its clip range. Only
    the range sets the axis."""
    level = method.ratio_level if method else "token"
    found = getattr(last, f"{level}_log_ratio") if last else None
    eps = [e for e in ((method.clip_low, method.clip_high) if method else ()) if 0 < e < math.inf]
    # Four times the range, so that its ends stand at about the same place for every method.
    half = 4 * max(eps, default=0.15)
    house.heading(ax, f"{level} ratios, {'clip range' if eps else 'no clip'}", size=9)
    # Square roots of shares, so that the tails show.
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
    # The clip range, and the shares beyond it.
    if eps:
        low, high = histograms.draw_range(ax, method, half)
        shares = histograms.shares_outside([found], method) if found else ()
        for x, share in zip(((low - half) / 2, (high + half) / 2), shares, strict=False):
            ax.text(x, 1.02, house.percent(share), ha="center", size=8, color=house.INK)


def _nice_ceiling(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten, at least 0.01."""
    power = 10 ** math.floor(math.log10(max(value, 0.01)))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value * (1 - 1e-9))
