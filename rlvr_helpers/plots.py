"""Figures of the course: pure functions from records and numbers to a matplotlib Figure, without pyplot.

    from rlvr_helpers import plots

    plots.show(plots.accuracy_curves({"GRPO": [records]}))

`runs` is a dict from a method's name to a list of records for each seed. Every figure reads on white and on black, has
margins that never move, and its alternative text as `fig.alt`. Gaps in the data stay gaps in the picture.
"""

import base64
import html
import io
import math
import re
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from rlvr_helpers.evaluation import t_interval, wilson_interval
from rlvr_helpers.methods import Method
from rlvr_helpers.records import LEVELS, Distribution, StepRecord
from rlvr_helpers.tables import Row

Runs = Mapping[str, Sequence[Sequence[StepRecord]]]

INK = "#767676"  # text, spines, ticks: 4.5:1 on white, 4.2:1 on JupyterLab's dark #111
STYLES = {  # one colour, line and marker a method, everywhere; colours of Okabe and Ito, safe for colour-blind readers
    "GRPO": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    "Dr. GRPO": {"color": "#D55E00", "linestyle": (0, (4, 1.2)), "marker": "s"},
    "GSPO": {"color": "#009E73", "linestyle": (0, (1, 0.8)), "marker": "^"},
}
OTHER = {"color": INK, "linestyle": (0, (5, 1, 1, 1)), "marker": "D"}  # methods beside the three
WIDTH = 6.5  # inches
NO_BREAK = "\N{NO-BREAK SPACE}"
GRID = 45  # bins of a drawn histogram: odd, so that one is centred on ratio 1


def color_of(method: str) -> str:
    """The colour of a method in every figure."""
    return STYLES.get(method, OTHER)["color"]


# -- the figures ------------------------------------------------------------------------------------------------------


def accuracy_curves(runs: Runs, x: str = "steps", what: str = "strict", title: str | None = None) -> Figure:
    """Held-out accuracy against rollouts (x="steps") or generated tokens (x="tokens").

    Thin: a seed; bold: the mean over seeds where all have an evaluation; at the right the end of the mean with the
    Wilson interval of one evaluation. what: "strict" or "lenient". Step 0 is the first record's `start_eval`.
    """
    if x not in ("steps", "tokens") or what not in ("strict", "lenient"):
        raise ValueError(f'x must be "steps" or "tokens", what "strict" or "lenient", not {x!r} and {what!r}')
    curves = {name: curve for name, seeds in runs.items() if (curve := _Accuracy.of(seeds, what)).mean}
    column, unit = (0, 1) if x == "steps" else (1, 1e3)
    fig, axes = _figure(3.8, title or _accuracy_title(curves, x), left=0.8, right=0.95 + _label_width(runs))
    ax, end = axes[0, 0], 0.0
    for name, curve in curves.items():
        style = STYLES.get(name, OTHER)
        for seed in curve.seeds if len(curve.seeds) > 1 else ():
            thin = {**style, "marker": None, "lw": 0.8, "alpha": 0.55}
            ax.plot([p[column] / unit for p in seed], [p[2] for p in seed], **thin)
        places = [p[column] / unit for p in curve.mean]
        ax.plot(places, [p[2] for p in curve.mean], lw=2, ms=4.5, clip_on=False, **style)
        end = max([end, places[-1], *(seed[-1][column] / unit for seed in curve.seeds)])
    ax.set(xlim=(0, end or 1), ylim=(0, 1), xlabel="step (rollout)" if x == "steps" else "generated tokens (thousands)")
    ax.set_ylabel(f"held-out accuracy, {what}")
    _percent_axis(ax.yaxis, 0.25)
    _final_intervals(ax, curves)
    if not curves:
        _empty(ax, "no held-out evaluations")
    sizes = " or ".join(str(n) for n in sorted({curve.problems for curve in curves.values()}))
    seeds = "Bold: mean over seeds, thin: each seed. " if any(len(c.seeds) > 1 for c in curves.values()) else ""
    _note(fig, f"{seeds}Right: end of the curve with the 95\xa0% Wilson interval of {sizes or 'the'} problems.")
    return _finish(fig, f"Held-out accuracy ({what}) against {x}", [f"{n} {c.describe()}" for n, c in curves.items()])


def ratio_distributions(
    runs: Runs, methods: Mapping[str, Method], steps: Sequence[int] | None = None, title: str | None = None
) -> Figure:
    """Histograms of token ratios (upper row) and sequence ratios (lower row), a column a method, a ridge a step.

    The method's clip range is drawn on the level where it acts: beyond it (shaded) the gradient stops for the sign of
    the advantage A that stands there, and the numbers are the shares of ratios. Heights are square roots of shares, or
    the tails could not be seen; ratios stand on a log scale; a row shares its axes, and what lies far out is cut off.
    Seeds are pooled with equal weight. steps: default the first, middle and last that every run has.
    """
    names = [name for name in methods if any(runs.get(name, ()))]
    steps = list(steps) if steps is not None else _early_middle_late({name: runs[name] for name in names})
    fig, axes = _figure(5.3, title or _ratio_title(runs, names), 2, max(len(names), 1),
                        left=0.7, right=0.1, top=0.28, bottom=0.9, wgap=0.12, hgap=0.8)  # fmt: skip
    lines = []
    for row, level in zip(axes, ("token", "sequence"), strict=True):
        found = {name: [_at_step(runs[name], step, level) for step in steps] for name in names}
        acting = [methods[name] for name in names if methods[name].ratio_level == level]
        half = _half_width([d for by_step in found.values() for ds in by_step for d in ds], acting)
        shares = {name: [_shares(ds, half) for ds in by_step] for name, by_step in found.items()}
        tallest = max((h.max() for by_step in shares.values() for h in by_step if h is not None), default=0) or 1.0
        for ax, name in zip(row, names, strict=False):
            _ridges(ax, [None if h is None else np.sqrt(h / tallest) for h in shares[name]], half, color_of(name))
            if methods[name] in acting:
                _range_with_shares(ax, methods[name], found[name], half)
            lines.append(_describe_ratios(name, level, methods[name], found[name], steps))
        for ax in row:
            _ratio_axis(ax, half)
            ax.set_xlabel(f"{level} ratio")
            _rows_axis(ax, range(len(steps)), [f"step {s}" for s in reversed(steps)] if ax is row[0] else None)
            ax.set_ylim(-0.05, len(steps) + 0.45)
    for ax, name in zip(axes[0], names, strict=False):
        _heading(ax, name, color=color_of(name), weight="bold")
    if not names:
        _empty(axes[0, 0], "no records")
    note = "Shaded: beyond the clip range the gradient stops for the sign of A shown; numbers: share of ratios there."
    _note(fig, f"{note}\nHeight: square root of the share, so that the tails show. Log scale, the same along a row.")
    return _finish(fig, "Histograms of token and sequence ratios", lines)


def clip_fraction_curves(runs: Runs, title: str | None = None) -> Figure:
    """Clip fraction against step: a panel for the methods that count tokens, one for those that count sequences."""
    unit_of = {name: r.clip_unit for name, seeds in runs.items() for records in seeds for r in records[:1]}
    by_unit = {unit: {n: runs[n] for n in unit_of if unit_of[n] == unit} for unit in ("tokens", "sequences")}
    by_unit = {unit: those for unit, those in by_unit.items() if those} or {"tokens": {}}
    found = [f"{_changes(those, 'clip_fraction', _percent)} of {unit}" for unit, those in by_unit.items() if those]
    panels = [(f"share of {unit} clipped", those, "clip_fraction") for unit, those in by_unit.items()]
    title = title or f"Clipped, first to last step: {'; '.join(found) or 'nothing yet'}"
    return _panels_figure(panels, title, "Clip fraction", _percent)


def length_curves(runs: Runs, title: str | None = None) -> Figure:
    """Mean length, in tokens, of right and of wrong answers against step; a gap where a rollout had none."""
    title = title or f"Wrong answers, tokens from first to last step: {_changes(runs, 'length_wrong', '{:.0f}'.format)}"
    panels = [(f"{kind} answers: mean tokens", runs, f"length_{kind}") for kind in ("right", "wrong")]
    return _panels_figure(panels, title, "Answer length", "{:.1f}".format)


def entropy_kl_curves(runs: Runs, title: str | None = None) -> Figure:
    """Entropy of the policy and KL to the start model (k3) against step, in nats a token, in two panels."""
    title = title or f"Entropy, first to last step: {_changes(runs, 'entropy', '{:.2f}'.format)}"
    panels = [("entropy (nats a token)", runs, "entropy"), ("KL to the start (nats a token)", runs, "kl")]
    return _panels_figure(panels, title, "Entropy and KL", "{:.3f}".format, shared=False)


def final_accuracy_intervals(rows: Sequence[Row], title: str | None = None) -> Figure:
    """Held-out accuracy before (hollow) and after (filled) each run, with 95 % Wilson intervals; strict and lenient.

    rows: a row a run, as `tables.table_rows` makes them.
    """
    names = list(dict.fromkeys(row.method for row in rows))
    rows = sorted(rows, key=lambda row: (names.index(row.method), row.seed))
    places = [i + 0.7 * names.index(row.method) for i, row in enumerate(rows)]
    bottom = places[-1] if rows else 1.0
    fig, axes = _figure(1.45 + 0.22 * bottom, title or _finals_title(rows), 1, 2,
                        left=1.35, right=0.35, top=0.28, bottom=0.62, wgap=0.6)  # fmt: skip
    for ax, kind in zip(axes[0], ("strict", "lenient"), strict=True):
        for row, y in zip(rows, places, strict=True):
            _before_after(ax, y, row, kind)
        _heading(ax, f"{kind} accuracy")
        _rows_axis(ax, places, [f"seed {row.seed}" for row in rows] if kind == "strict" else None)
        ax.set(xlim=(0, 1), ylim=(bottom + 0.7, -0.7))
        _percent_axis(ax.xaxis, 0.25)
    for name in names:
        middle = float(np.mean([y for row, y in zip(rows, places, strict=True) if row.method == name]))
        axes[0, 0].annotate(name, (0, middle), (-88, 0), ("axes fraction", "data"), "offset points", va="center",
                            color=color_of(name), weight="bold", size=9.5)  # fmt: skip
    _note(fig, "Hollow: before training; filled: after. Bars: 95\xa0% Wilson interval of one evaluation.")
    lines = [f"{row.method} seed {row.seed}: {row.initial:.1f} to {row.final:.1f} % strict" for row in rows]
    return _finish(fig, "Held-out accuracy before and after training", lines)


def paired_differences(differences: Mapping[str, Sequence[float]], title: str | None = None) -> Figure:
    """Differences of final accuracy between methods, in points: a circle a seed, their mean and 95 % t-interval.

    differences: "GRPO - GSPO" -> one difference a seed, as `tables.paired_differences` makes them. One seed has no
    interval.
    """
    found = {pair: t_interval(list(values)) for pair, values in differences.items() if len(values)}
    fig, axes = _figure(1.5 + 0.42 * max(len(found), 1), title or _differences_title(found), left=1.55)
    ax, lines = axes[0, 0], []
    ax.axvline(0, color=INK, lw=1)
    for y, (pair, (mean, low, high)) in enumerate(found.items()):
        ax.plot(differences[pair], [y + 0.17] * len(differences[pair]), "o", ms=5, mfc="none", mec=INK)
        ax.plot([low, high], [y - 0.1] * 2, color=color_of("GRPO"), lw=2, solid_capstyle="butt")
        ax.plot([mean], [y - 0.1], "D", ms=6, color=color_of("GRPO"))
        interval = f"95 % interval {low:+.1f} to {high:+.1f}" if math.isfinite(low) else "one seed, no interval"
        lines.append(f"{pair.replace(' - ', ' minus ')}: mean {mean:+.1f} points ({interval})")
    shown = [v for pair in found for v in (*differences[pair], *found[pair]) if math.isfinite(v)]
    reach = 1.1 * max([1.0, *map(abs, shown)])
    _rows_axis(ax, range(len(found)), [pair.replace(" - ", " − ") for pair in found])
    ax.set(xlim=(-reach, reach), ylim=(max(len(found), 1) - 0.4, -0.6))
    ax.set_xlabel("difference in held-out accuracy (percentage points)")
    _note(fig, "Circles: seeds (same start, same prompts). Diamond, bar: their mean and its 95\xa0% t-interval.")
    if not found:
        _empty(ax, "no pairs of runs")
    return _finish(fig, "Paired differences between methods", lines)


def dashboard(records: Sequence[StepRecord], total_steps: int, method: Method | None = None) -> Figure:
    """What to watch while one run trains, in six panels of fixed size; `records` may be empty."""
    last = records[-1] if records else None
    evals = [(0, r.start_eval) for r in records[:1] if r.start_eval] + [(r.step, r.eval) for r in records if r.eval]
    now = f"reward {last.reward_mean:.2f}" if last else "waiting for the first step"
    held_out = f", held-out accuracy {_percent(evals[-1][1].accuracy)}" if evals else ""
    place = f"step {last.step if last else 0} of {total_steps}"
    title = f"{method.name if method else 'Training'}, {place}: {now}{held_out}"
    fig, axes = _figure(4.3, title, 2, 3, left=0.5, right=0.25, top=0.3, bottom=0.5, wgap=0.48, hgap=0.5)
    color = color_of(method.name if method and method.name in STYLES else "GRPO")
    unit = last.clip_unit if last else "ratios"
    panels = [
        (axes[0, 0], "reward (line), held-out (dots)", ["reward_mean"], [], 1.0),
        (axes[0, 2], f"share of {unit} clipped", ["clip_fraction"], [], None),
        (axes[1, 0], "answer length (tokens)", ["length_right", "length_wrong"], ["right", "wrong"], None),
        (axes[1, 1], "nats a token", ["entropy", "kl"], ["entropy", "KL to the start"], None),
        (axes[1, 2], "shares of the rollout", ["no_signal", "truncated"],
         ["groups without signal", "answers cut off"], 1.0),
    ]  # fmt: skip
    for ax, heading, fields, keys, top in panels:
        _heading(ax, heading, size=9)
        _dashboard_lines(ax, records, fields, keys, color, top)
        ax.set_xlim(0, max(total_steps, 1))
        ax.set_xticks([0, max(total_steps, 1)] if ax in axes[1] else [])
    for step, evaluation in evals:
        axes[0, 0].plot([step], [evaluation.accuracy], "o", ms=4, color=color, clip_on=False)
    _dashboard_ratios(axes[0, 1], last, method, color)
    for ax in axes[1]:
        ax.set_xlabel("step")
    facts = [title] + ([f"clip fraction {_percent(last.clip_fraction)} of {unit}"] if last else [])
    return _finish(fig, "Training dashboard", facts)


# -- showing and saving -----------------------------------------------------------------------------------------------


@dataclass
class Picture:
    """What a cell displays: HTML, and plain text where there is none."""

    html: str
    text: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def show(figure: Figure, caption: str = "") -> Picture:
    """A figure as an <img> of fixed size, 100 pixels an inch, with its alternative text, which JupyterLab drops from
    ordinary image outputs. Put it last in a cell, or `display` it."""
    width, height = (round(100 * inches) for inches in figure.get_size_inches())
    data = base64.b64encode(to_svg(figure)).decode()
    image = (
        f'<img alt="{html.escape(figure.alt)}" width="{width}" height="{height}" style="max-width:none" '
        f'src="data:image/svg+xml;base64,{data}">'
    )
    return Picture(image + (f"<div>{html.escape(caption)}</div>" if caption else ""), f"{figure.alt} {caption}".strip())


def to_png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as PNG bytes, the same bytes every time."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()


_SETTINGS = threading.Lock()  # matplotlib's settings are global, and JupyterLab runs callbacks on a second thread


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG bytes, text as text, the same bytes every time: a third of the PNG, drawn in half the time."""
    file = io.BytesIO()
    with _SETTINGS, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rlvr"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    # Paths to hundredths of a point: finer than a screen shows, and half the bytes.
    return re.sub(rb' d="[^"]*"', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path[0]), file.getvalue())


# -- curves over steps ------------------------------------------------------------------------------------------------


def _panels_figure(
    panels: Sequence[tuple[str, Runs, str]], title: str, what: str, form: Callable, shared: bool = True
) -> Figure:
    """Panels (heading, runs, field of the records) side by side: a field against step, thin for a seed, bold for the
    mean over seeds. form: how a value is written. shared: one scale for all panels."""
    labels = _label_width(*(runs for _, runs, _ in panels))
    fig, axes = _figure(3.2, title, 1, len(panels), top=0.3, right=labels, wgap=labels + 0.4)
    last = max((r.step for _, runs, _ in panels for seeds in runs.values() for s in seeds for r in s), default=1)
    ends = []
    for (heading, runs, field), ax in zip(panels, axes[0], strict=True):
        at_end = {name: _draw_seeds(ax, name, seeds, field) for name, seeds in runs.items()}
        ends.append([(name, y, name) for name, y in at_end.items() if y is not None])
        _heading(ax, heading)
        ax.set(xlabel="step", xlim=(min(1, last - 1), last))
        if form is _percent:
            _percent_axis(ax.yaxis)
        if not ends[-1]:
            _empty(ax, "not measured")
    tops = [max((np.nanmax(line.get_ydata()) for line in ax.lines), default=0) * 1.06 or 1.0 for ax in axes[0]]
    for ax, top, labels in zip(axes[0], tops, ends, strict=True):
        ax.set_ylim(0, max(tops) if shared else top)
        _spread_labels(ax, labels)
    several = any(len(seeds) > 1 for _, runs, _ in panels for seeds in runs.values())
    _note(fig, "Bold: mean over seeds; thin: each seed." if several else "One seed.")
    lines = [f"{heading}: {_changes(runs, field, form)}" for heading, runs, field in panels]
    return _finish(fig, f"{what} against step, first to last", lines)


def _draw_seeds(ax: Axes, name: str, seeds, field: str) -> float | None:
    """Draws the seeds and, over the steps that all of them have, their mean; returns where the mean ends."""
    by_seed = [{r.step: getattr(r, field) for r in records} for records in seeds if records]
    if not any(_known(values.values()) for values in by_seed):
        return None
    style = {**STYLES.get(name, OTHER), "marker": None}
    for values in by_seed if len(by_seed) > 1 else ():
        _line(ax, list(values), list(values.values()), lw=0.8, alpha=0.45, **style)
    steps = sorted(set.intersection(*map(set, by_seed)))
    means = [_mean([values[step] for values in by_seed]) for step in steps]
    _line(ax, steps, means, lw=2, **style)
    return (_known(means) or [y for values in by_seed for y in _known(values.values())])[-1]


def _line(ax: Axes, xs: Sequence[float], ys: Sequence[float | None], **style) -> None:
    """A line with gaps where y is None or not finite; a value between two gaps becomes a dot."""
    y = np.array([v if v is not None and math.isfinite(v) else math.nan for v in ys])
    known = np.pad(np.isfinite(y), 1)
    if not known.any():
        return
    ax.plot(xs, y, **style)
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    if alone.any():
        ax.plot(np.array(xs)[alone], y[alone], "o", ms=2 + style["lw"], color=style["color"], clip_on=False)


def _known(values) -> list[float]:
    return [v for v in values if v is not None and math.isfinite(v)]


def _mean(values) -> float | None:
    known = _known(values)
    return sum(known) / len(known) if known else None


def _changes(runs: Runs, field: str, form: Callable) -> str:
    """ "GRPO 12 → 30, GSPO 12 → 28": means over seeds of the first and of the last known value."""
    parts = []
    for name, seeds in runs.items():
        known = [values for records in seeds if (values := _known(getattr(r, field) for r in records))]
        if known:
            first, last = (form(_mean([values[end] for values in known])) for end in (0, -1))
            parts.append(f"{name} {first} → {last}".replace(" ", NO_BREAK))
    return ", ".join(parts) or "not measured"


# -- accuracy ---------------------------------------------------------------------------------------------------------


@dataclass
class _Accuracy:
    """Held-out accuracy of one method as (step, tokens, share) points: of each seed, and their mean."""

    seeds: list[list[tuple[float, float, float]]]
    mean: list[tuple[float, float, float]]
    problems: int

    @classmethod
    def of(cls, seeds: Sequence[Sequence[StepRecord]], what: str) -> "_Accuracy":
        points, problems = [], 0
        for records in seeds:
            found = [(0, 0, r.start_eval) for r in records[:1]] + [(r.step, r.total_tokens, r.eval) for r in records]
            found = [(step, tokens, e) for step, tokens, e in found if e is not None]
            points.append([(s, t, e.accuracy if what == "strict" else e.lenient_accuracy) for s, t, e in found])
            problems = len(found[-1][2].strict) if found else problems
        points = [seed for seed in points if seed]
        by_step = [{point[0]: point for point in seed} for seed in points]
        common = sorted(set.intersection(*map(set, by_step))) if by_step else []
        return cls(points, [tuple(np.mean([seed[step] for seed in by_step], axis=0)) for step in common], problems)

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(round(self.mean[-1][2] * self.problems), self.problems)

    def describe(self) -> str:
        (low, high), (step, tokens, end) = self.interval, self.mean[-1]
        return (
            f"from {_percent(self.mean[0][2])} to {_percent(end)} at step {step:.0f} ({tokens:,.0f} tokens), interval "
            f"{_percent(low)} to {_percent(high)}, mean of {len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"
        )


def _accuracy_title(curves: Mapping[str, _Accuracy], x: str) -> str:
    """When each method first reached the highest round share that all end above; else from where to where each went."""
    if not curves:
        return "No held-out evaluations yet"
    mark = math.floor(10 * min(curve.mean[-1][2] for curve in curves.values()) + 1e-9) / 10
    if mark <= max(curve.mean[0][2] for curve in curves.values()):
        ends = [f"{n} {_percent(c.mean[0][2])} → {_percent(c.mean[-1][2])}" for n, c in curves.items()]
        return f"Held-out accuracy, start to end: {', '.join(end.replace(' ', NO_BREAK) for end in ends)}"
    first = {name: next(point for point in curve.mean if point[2] >= mark) for name, curve in curves.items()}
    when = [f"{n} by {f'step {p[0]:.0f}' if x == 'steps' else f'{p[1] / 1e3:.0f}k tokens'}" for n, p in first.items()]
    who = {1: "Reaches", 2: "Both reach", 3: "All three reach"}.get(len(curves), "All reach")
    mean = " in the mean over seeds" if any(len(curve.seeds) > 1 for curve in curves.values()) else ""
    return f"{who} {_percent(mark)}{mean}: {', '.join(part.replace(' ', NO_BREAK) for part in when)}"


def _final_intervals(ax: Axes, curves: Mapping[str, _Accuracy]) -> None:
    """The ends of the curves beside the axes, with their intervals and labels that do not collide."""
    for i, (name, curve) in enumerate(curves.items()):
        beside = {"transform": ax.get_yaxis_transform(), "clip_on": False, "color": color_of(name)}
        place = 1.04 + 0.035 * i
        ax.plot([place] * 2, curve.interval, lw=1.6, solid_capstyle="butt", **beside)
        ax.plot([place], [curve.mean[-1][2]], marker=STYLES.get(name, OTHER)["marker"], ms=5, **beside)
    ends = [(name, curve.mean[-1][2], f"{name} {_percent(curve.mean[-1][2])}") for name, curve in curves.items()]
    _spread_labels(ax, ends, 1.035 + 0.035 * len(curves))


def _before_after(ax: Axes, y: float, row: Row, kind: str) -> None:
    """One run: hollow start and filled end with their Wilson intervals, joined by a thin line."""
    values = (row.initial, row.final) if kind == "strict" else (row.lenient_initial, row.lenient_final)
    color, shares = color_of(row.method), [value / 100 for value in values]
    ax.plot(shares, [y, y], color=color, lw=0.8, alpha=0.5)
    for share, face in zip(shares, ("none", color), strict=True):
        interval = wilson_interval(round(share * row.problems), row.problems)
        ax.plot(interval, [y, y], color=color, lw=2.2, solid_capstyle="butt", alpha=0.6)
        ax.plot([share], [y], STYLES.get(row.method, OTHER)["marker"], ms=5.5, mfc=face, mec=color, clip_on=False)


def _finals_title(rows: Sequence[Row]) -> str:
    if not rows:
        return "No finished runs yet"
    start, low, high = (f(getattr(r, n) for r in rows) for f, n in ((min, "initial"), (min, "final"), (max, "final")))
    overlap = max(r.final_interval[0] for r in rows) <= min(r.final_interval[1] for r in rows)
    verdict = "all final intervals overlap" if overlap else "not all final intervals overlap"
    finals = _percent(low / 100) if high - low < 0.05 else f"between {low:.1f} and {_percent(high / 100)}"
    return f"From {_percent(start / 100)} to {finals} (strict)" + (f"; {verdict}" if len(rows) > 1 else "")


def _differences_title(found: Mapping[str, tuple[float, float, float]]) -> str:
    apart = [f"{pair.replace(' - ', ' − ')} {f[0]:+.1f} points" for pair, f in found.items() if f[1] > 0 or f[2] < 0]
    if not found:
        return "No pairs of runs yet"
    if any(math.isnan(low) for _, low, _ in found.values()):
        return "One seed: a difference without an interval tells no method from another"
    if not apart:
        return "No two methods can be told apart: every 95\xa0% interval holds 0"
    return f"Told apart over these seeds (95\xa0% interval without 0): {', '.join(apart)}"


# -- ratios -----------------------------------------------------------------------------------------------------------


def _at_step(seeds: Sequence[Sequence[StepRecord]], step: int, level: str) -> list[Distribution]:
    """The log-ratio distributions of one step, one for each seed that has it; level: "token" or "sequence"."""
    found = [getattr(r, f"{level}_log_ratio") for records in seeds for r in records if r.step == step]
    return [d for d in found if d is not None]


def _early_middle_late(runs: Runs) -> list[int]:
    """First, middle and last of the steps that every run has."""
    have = [{r.step for r in records} for seeds in runs.values() for records in seeds if records]
    steps = sorted(set.intersection(*have)) if have else []
    return sorted({steps[0], steps[(len(steps) - 1) // 2], steps[-1]}) if steps else []


def _half_width(distributions: Sequence[Distribution], methods: Sequence[Method]) -> float:
    """How far from 0 an axis of log-ratios goes: to the usual 1 % tails, and beyond the clip ranges."""
    tails = [max(abs(d.quantiles[LEVELS.index(0.01)]), abs(d.quantiles[LEVELS.index(0.99)])) for d in distributions]
    ranges = [2.5 * eps for m in methods for eps in (m.clip_low, m.clip_high) if math.isfinite(eps)]
    return max([1e-6, 1.2 * float(np.median(tails or [0.0])), *ranges])


def _shares(distributions: Sequence[Distribution], half: float) -> np.ndarray | None:
    """Share of log-ratios in each of GRID bins from -half to half, averaged over distributions; what lies outside is
    left out. None without any."""
    edges, parts = np.linspace(-half, half, GRID + 1), []
    for d in distributions:
        places = np.linspace(d.low, max(d.high, d.low + 1e-9), len(d.counts) + 1)
        parts.append(np.diff(np.interp(edges, places, np.cumsum([0, *d.counts]) / d.count)))
    return np.mean(parts, axis=0) if parts else None


def _outside(distributions: Sequence[Distribution], method: Method) -> tuple[float, float]:
    """Shares of the ratios below and above a method's clip range, averaged over distributions."""
    low = math.log(1 - method.clip_low) if method.clip_low < 1 else -math.inf
    high = math.log1p(method.clip_high)
    parts = [(d.share_outside(low, math.inf), d.share_outside(-math.inf, high)) for d in distributions]
    return tuple(float(share) for share in np.mean(parts, axis=0))


def _ridges(ax: Axes, heights: Sequence[np.ndarray | None], half: float, color: str) -> None:
    """Histograms one below the other, the first on top and palest; a height of 1 reaches the next ridge."""
    edges = np.linspace(-half, half, GRID + 1)
    for i, height in enumerate(heights):
        base = len(heights) - 1 - i
        ax.axhline(base, color=INK, lw=0.6, alpha=0.6)
        if height is not None:
            top = base + 0.92 * height
            face = to_rgba(color, 0.2 + 0.5 * (i + 1) / len(heights))
            ax.stairs(top, edges, baseline=base, fill=True, facecolor=face, edgecolor=color, lw=0.8)


def _draw_range(ax: Axes, method: Method, half: float) -> tuple[float, float]:
    """Shades what lies beyond a method's clip range on an axis of log-ratios; returns its ends."""
    low = max(math.log(1 - method.clip_low) if method.clip_low < 1 else -half, -half)
    high = min(math.log1p(method.clip_high), half)
    for start, end, edge in ((-half, low, low), (high, half, high)):
        ax.axvspan(start, end, color=INK, alpha=0.13, lw=0, zorder=0)
        ax.axvline(edge, color=INK, lw=0.9, zorder=1)
    return low, high


def _range_with_shares(ax: Axes, method: Method, by_step: Sequence[Sequence[Distribution]], half: float) -> None:
    """The clip range, its ends in numbers, and for each ridge the share of ratios on either side."""
    low, high = _draw_range(ax, method, half)
    text = {"ha": "center", "va": "center", "size": 8, "color": INK}
    ends = f"{max(1 - method.clip_low, 0):.5g} to {1 + method.clip_high:.5g}".replace("inf", "∞")
    _heading(ax, f"range {ends}", 1, size=8)
    for side, start, end in ((0, -half, low), (1, high, half)):
        if end - start < 0.1 * half:
            continue
        ax.text((start + end) / 2, len(by_step) + 0.2, ("A < 0", "A > 0")[side], **text)
        for i, distributions in enumerate(by_step):
            if distributions:
                share = _percent(_outside(distributions, method)[side], digits=2)
                ax.text((start + end) / 2, len(by_step) - 0.4 - i, share, **text)


def _ratio_axis(ax: Axes, half: float) -> None:
    """An axis of log-ratios from -half to half whose ticks name ratios: 0.9, 1, 1.1 or 0.5, 1, 2."""
    steps = [digit * 10.0**power for power in range(6, -9, -1) for digit in (5, 2, 1)]
    ends = [(1 - step, 1 + step) if step < 1 else (1 / (1 + step), 1 + step) for step in steps]
    down, up = next((down, up) for down, up in ends if -math.log(down) <= 0.9 * half)
    ax.set_xticks([math.log(down), 0, math.log(up)], [f"{down:.4g}", "1", f"{up:.5g}"])
    ax.set_xlim(-half, half)


def _describe_ratios(name: str, level: str, method: Method, by_step, steps: Sequence[int]) -> str:
    parts = []
    for step, distributions in zip(steps, by_step, strict=True):
        if distributions:
            share = f", {_percent(sum(_outside(distributions, method)))} outside" if method.ratio_level == level else ""
            parts.append(f"step {step} spread {np.mean([d.std for d in distributions]):.3f}{share}")
    return f"{name}, {level} log-ratios: {'; '.join(parts) or 'none'}"


def _ratio_title(runs: Runs, names: Sequence[str]) -> str:
    """How much wider tokens spread than sequences, over all steps and methods."""
    records = [r for name in names for seed in runs[name] for r in seed]
    token, sequence = (_mean([d.std for r in records if (d := getattr(r, f"{level}_log_ratio"))])
                       for level in ("token", "sequence"))  # fmt: skip
    if not token or not sequence:
        return "Ratios of tokens and of sequences"
    times = f"{token / sequence:.1f}"
    return f"Token ratios spread {times} times as wide as sequence ratios: each level needs its own range"


# -- the dashboard's panels -------------------------------------------------------------------------------------------


def _dashboard_lines(ax: Axes, records, fields: Sequence[str], keys: Sequence[str], color: str, top) -> None:
    """One or two lines against step, the second grey and dashed, with a key; the scale grows in round steps."""
    styles = ({"color": color, "linestyle": "-"}, {"color": INK, "linestyle": (0, (3, 1))})
    found = [[getattr(r, field) for r in records] for field in fields]
    for ys, style in zip(found, styles, strict=False):
        _line(ax, [r.step for r in records], ys, lw=1.6, **style)
    top = top or _nice_ceiling(1.25 * max(_known(y for ys in found for y in ys), default=0))
    ax.set_ylim(0, top)
    ax.set_yticks([0, top / 2, top], ["0", f"{top / 2:g}", f"{top:g}"])  # few ticks: they take most of the drawing time
    for i, (key, style, dash) in enumerate(zip(keys, styles, ("—", "- -"), strict=False)):
        ax.text(0.98, 0.99 - 0.13 * i, f"{dash} {key}", transform=ax.transAxes, ha="right", va="top", size=8,
                color=style["color"])  # fmt: skip


def _dashboard_ratios(ax: Axes, last: StepRecord | None, method: Method | None, color: str) -> None:
    """The last step's ratios at the level that the method clips, with its range, which alone sets the axis."""
    level = method.ratio_level if method else "token"
    _heading(ax, f"{level} ratios, clip range", size=9)
    found = getattr(last, f"{level}_log_ratio") if last else None
    eps = [e for e in ((method.clip_low, method.clip_high) if method else ()) if 0 < e < math.inf]
    half = 4 * max(eps, default=0.15)
    if found:
        heights = np.sqrt(_shares([found], half))
        ax.stairs(heights, np.linspace(-half, half, GRID + 1), fill=True, color=color, alpha=0.75)
    ax.set_ylim(0, 1.15)
    ax.set_yticks([])
    _ratio_axis(ax, half)
    if method:
        low, high = _draw_range(ax, method, half)
        shares = _outside([found], method) if found else ()
        for place, share in zip(((low - half) / 2, (high + half) / 2), shares, strict=False):
            ax.text(place, 1.02, _percent(share), ha="center", size=8, color=INK)


def _nice_ceiling(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten, at least 0.01."""
    power = 10 ** math.floor(math.log10(max(value, 0.01)))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value * (1 - 1e-9))


# -- the house style --------------------------------------------------------------------------------------------------


def _figure(height: float, title: str, rows: int = 1, cols: int = 1, left=0.65, right=0.2, top=0.15, bottom=0.78,
            wgap=0.3, hgap=0.5) -> tuple[Figure, np.ndarray]:  # fmt: skip
    """A transparent figure with axes [rows, cols], a title over them, and margins and gaps in inches that stay."""
    lines = textwrap.wrap(title, 70)
    lines = next(even for width in range(20, 71) if len(even := textwrap.wrap(title, width)) == len(lines))
    height += 0.2 * len(lines) - 0.2
    top += 0.15 + 0.2 * len(lines)
    fig = Figure(figsize=(WIDTH, height), facecolor="none", layout="none")
    across, down = (WIDTH - left - right - (cols - 1) * wgap) / cols, (height - top - bottom - (rows - 1) * hgap) / rows
    fig.subplots_adjust(left / WIDTH, bottom / height, 1 - right / WIDTH, 1 - top / height, wgap / across, hgap / down)
    axes = fig.subplots(rows, cols, squeeze=False)
    for ax in axes.flat:
        ax.set_facecolor("none")
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(INK)
        ax.tick_params(colors=INK, labelsize=9)
        ax.xaxis.label.set(color=INK, size=9.5)
        ax.yaxis.label.set(color=INK, size=9.5)
    fig.text(0.1 / WIDTH, 1 - 0.08 / height, "\n".join(lines), color=INK, size=10.5, weight="bold", va="top")
    return fig, axes


def _finish(fig: Figure, what: str, lines: Sequence[str]) -> Figure:
    """Sets the figure's alternative text: what is drawn, the title (the finding) and the numbers."""
    title = fig.texts[0].get_text().replace("\n", " ")
    fig.alt = f"{what}. {title}. {'. '.join(line for line in lines if line != title)}."
    fig.alt = fig.alt.replace(NO_BREAK, " ").replace("→", "to").replace("−", "minus")
    return fig


def _heading(ax: Axes, text: str, side: int = 0, **style) -> None:
    """A text over the axes, at the left (side 0) or the right (1)."""
    style = {"color": INK, "size": 9.5, "ha": ("left", "right")[side], **style}
    ax.annotate(text, (side, 1), (0, 7), "axes fraction", "offset points", **style)


def _note(fig: Figure, text: str) -> None:
    fig.text(0.1 / WIDTH, 0.08 / fig.get_figheight(), text, color=INK, size=8, va="bottom")


def _empty(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=INK, size=9.5)


def _percent(share: float, digits: int = 3) -> str:
    """0.935 -> "93.5 %", 0.004 -> "0.4 %": one decimal at most."""
    decimals = 1 if digits > 2 or share < 0.0995 else 0
    return f"{100 * share:.{decimals}f}".removesuffix(".0") + "\xa0%"


def _percent_axis(axis, every: float | None = None) -> None:
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}\xa0%"))
    if every:
        axis.set_major_locator(MultipleLocator(every))


def _rows_axis(ax: Axes, places: Sequence[float], labels: Sequence[str] | None) -> None:
    """A vertical axis of named rows without ticks or spine; labels None: only the places."""
    ax.set_yticks(places, labels if labels is not None else [""] * len(places))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _label_width(*runs: Runs) -> float:
    """Inches that the longest name beside an axes takes."""
    return 0.2 + 0.085 * max([8, *(len(name) for those in runs for name in those)])


def _spread_labels(ax: Axes, ends: Sequence[tuple[str, float, str]], place: float = 1.02) -> None:
    """Labels (method, y, text) beside the axes at their y, moved apart where they would touch."""
    bottom, top = ax.get_ylim()
    gap = (top - bottom) * 13 / (72 * ax.get_position().height * ax.figure.get_figheight())
    ordered = sorted(ends, key=lambda end: end[1])
    for (name, _, text), y in zip(ordered, spread([end[1] for end in ordered], gap, bottom, top), strict=True):
        ax.text(place, y, text, transform=ax.get_yaxis_transform(), va="center", color=color_of(name), size=9.5)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending places, moved as little as possible (least squares) to be `gap` apart and within low and high."""
    blocks: list[list[float]] = []  # of places less their gaps: merged until the means ascend
    for i, place in enumerate(places):
        blocks.append([place - i * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    means = [float(np.mean(block)) for block in blocks for _ in block]
    return [max(low, min(mean, high - (len(places) - 1) * gap)) + i * gap for i, mean in enumerate(means)]
