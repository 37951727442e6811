"""Figures of lesson 06: the clip in four quadrants over real ratios, its share against its range,
and the collapse."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_helpers.clipping import clip_binds
from rlvr_helpers.methods import GRPO, GSPO, Method
from rlvr_helpers.plots import house
from rlvr_helpers.records import StepRecord

HALF = {"token": 0.75, "sequence": 0.15}  # how far from 1 the axis of a ratio goes, on each level
STEP = {"token": 0.5, "sequence": 0.1}  # its ticks
UNITS = {"token": "tokens", "sequence": "sequences"}
BINS = 75  # odd, so that one is centred on ratio 1
SIGNS = {"positive": (1,), "negative": (-1,), "both": (1, -1)}  # of the advantage
# powers of ten between which the distance from 1 is drawn
NEAREST = -4.0
FARTHEST = 0.0
# what the clip has stopped, in every figure of this lesson: 3.9:1 on white, 4.8:1 on #111
CLIPPED = "#BF5F98"
SHADE = 0.16
FADED = 0.2


@dataclass(frozen=True)
class Ratios:
    """Ratios of one level and the advantage of each, [N] both."""

    ratios: np.ndarray
    advantages: np.ndarray

    def binds(self, clip_low: float, clip_high: float) -> np.ndarray:
        """Where the clip binds, [N], by `clip_binds` itself."""
        q, a = (
            torch.from_numpy(np.asarray(x, dtype=float)) for x in (self.ratios, self.advantages)
        )
        return clip_binds(q, a, clip_low, clip_high=clip_high).numpy()

    def of_signs(self, signs: Sequence[int]) -> "Ratios":
        """Those whose advantage has one of the signs."""
        keep = np.isin(np.sign(self.advantages), signs)
        return Ratios(self.ratios[keep], self.advantages[keep])


def four_quadrants(
    method: Method,
    clip_low: float,
    clip_high: float,
    found: Mapping[str, Ratios],
    when: str,
    sign: str = "both",
) -> Figure:
    """The clipped objective and its gradient against the ratio for both signs of A, over the
    histogram of real ratios.

    found: the ratios of both levels, "token" and "sequence"; the method's own are counted. when:
        "after update 8".
    """
    return FourQuadrants().draw(method, clip_low, clip_high, found, when, sign)


class FourQuadrants:
    """The figure of `four_quadrants`, built once and changed in place: building seven axes takes
    longer than a slider may. `draw` gives for the same arguments the same picture, whatever was
    drawn before."""

    def __init__(self):
        self.fig, grid = house.figure(5.02, " ", 4, 2, title_lines=2)
        self._arrange(grid)
        self.level = None  # whose axes are set up
        self.title = self.fig.texts[0]
        self.columns = [_Column(grid[:3, i], sign) for i, sign in enumerate((1, -1))]
        self.strip = _Strip(grid[3, 0])
        self.fig.delaxes(grid[3, 1])
        for ax, text in zip(grid[:3, 0], ("objective", "gradient", "real ratios"), strict=True):
            ax.set_ylabel(text)
            ax.yaxis.set_label_coords(-0.15, 0.5)

    def _arrange(self, grid) -> None:
        """Rows of unequal height, close to each other where they share the ratio's axis. In
        inches."""
        width, height = self.fig.get_size_inches()
        left = 0.68
        panel = 2.58
        gap = 0.55
        bottoms = (3.47, 2.57, 1.57, 0.42)
        heights = (1.05, 0.78, 0.88, 0.66)
        for row, bottom, tall in zip(grid, bottoms, heights, strict=True):
            for i, ax in enumerate(row):
                ax.set_position(
                    [
                        (left + i * (panel + gap)) / width,
                        bottom / height,
                        panel / width,
                        tall / height,
                    ]
                )
        grid[3, 0].set_position([0.95 / width, 0.42 / height, 5.4 / width, 0.66 / height])

    def draw(
        self,
        method: Method,
        clip_low: float,
        clip_high: float,
        found: Mapping[str, Ratios],
        when: str,
        sign: str = "both",
    ) -> Figure:
        level = method.ratio_level
        style = house.STYLES.get(method.name, house.OTHER)
        counted = {name: ratios.of_signs(SIGNS[sign]) for name, ratios in found.items()}
        mine = counted[level]
        binds = mine.binds(clip_low, clip_high)
        if level != self.level:
            self.level = level
            for column in self.columns:
                column.set_scale(level)
        tallest = max(column.count(mine, binds) for column in self.columns)
        lines = []
        for column in self.columns:
            column.draw(clip_low, clip_high, style, tallest, len(binds), column.sign in SIGNS[sign])
            lines.append(column.describe())
        self.strip.draw(level, clip_low, clip_high, style["color"], counted)
        title = _share_title(
            method, when, mine, binds=binds, low=clip_low, high=clip_high, sign=sign
        )
        self.title.set_text("\n".join(textwrap.wrap(title, 70)))
        range_ = f"clip range {_number(1 - clip_low)} to {_number(1 + clip_high)}"
        return house.finish(
            self.fig, "The clip in four quadrants", [range_, *lines, *self.strip.describe(counted)]
        )


class _Column:
    """Objective, gradient and histogram for one sign of A, over one axis of ratios."""

    def __init__(self, axes: Sequence[Axes], sign: int):
        self.axes = axes
        self.sign = sign
        objective, gradient, histogram = axes
        self.shades = [ax.axvspan(1, 2, color=CLIPPED, alpha=SHADE, lw=0, zorder=0) for ax in axes]
        self.curves = [_Curve(objective), _Curve(gradient)]
        for ax in axes:
            ax.axvline(1, color=house.INK, lw=0.6, alpha=0.6, zorder=0.5)
        gradient.axhline(0, color=house.INK, lw=0.6, alpha=0.6)
        gradient.set_ylim((-0.25, 1.35) if sign > 0 else (-1.35, 0.25))
        gradient.set_yticks([0, sign], ["0", "A"])
        edges = np.linspace(0, 1, BINS + 1)
        self.free = histogram.stairs(np.zeros(BINS), edges, fill=True, alpha=0.85)
        self.bound = histogram.stairs(np.zeros(BINS), edges, fill=True, color=CLIPPED)
        histogram.set_ylim(0, 1.3)
        histogram.set_yticks([])
        histogram.spines["left"].set_visible(False)
        for ax in axes[:2]:
            ax.set_xticks([])
        dead, other = (1, 0) if sign > 0 else (0, 1)
        self.shares = [_corner(histogram, side, 0.97, va="top") for side in (dead, other)]
        self.shares[0].set(color=CLIPPED, weight="bold")
        self.edge = _corner(objective, dead, 0.06, va="bottom")
        self.dead = gradient.text(
            0, 0.5 * sign, "no gradient", ha="center", va="center", size=8.5, color=house.INK
        )
        pushed = "pushed up →" if sign > 0 else "← pushed down"
        self.pushed = gradient.text(
            1 - (0.75, 0.25)[dead == 0],
            0.5 * sign,
            pushed,
            ha="center",
            va="center",
            size=8.5,
            color=house.INK,
            transform=gradient.get_yaxis_transform(),
        )
        kind = "A > 0: to be made likelier" if sign > 0 else "A < 0: to be made less likely"
        self.heading = objective.annotate(
            kind,
            (0, 1),
            (0, 6),
            "axes fraction",
            "offset points",
            color=house.INK,
            size=9.5,
            weight="bold",
        )

    def set_scale(self, level: str) -> None:
        """The axes of token or of sequence ratios."""
        half = HALF[level]
        step = STEP[level]
        ticks = [1 - step, 1, 1 + step]
        self.low = 1 - half
        self.high = 1 + half
        for ax in self.axes:
            ax.set_xlim(self.low, self.high)
        self.axes[2].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        self.axes[2].set_xlabel(f"{level} ratio", labelpad=1)
        middle = self.sign
        self.axes[0].set_ylim(middle - 1.12 * half, middle + 1.12 * half)
        self.axes[0].set_yticks(
            [self.sign * tick for tick in ticks], _minus(self.sign * tick for tick in ticks)
        )
        self.edges = np.linspace(self.low, self.high, BINS + 1)

    def count(self, found: Ratios, binds: np.ndarray) -> int:
        """Counts ratios in bins, those that are clipped apart; returns the fullest bin. The end
        bins hold what lies beyond the axis."""
        mine = np.sign(found.advantages) == self.sign
        inside = np.clip(found.ratios, self.low + 1e-9, self.high - 1e-9)
        self.all = np.histogram(inside[mine], self.edges)[0]
        self.dead_ones = np.histogram(inside[mine & binds], self.edges)[0]
        self.ratios = found.ratios[mine]
        return int(self.all.max(initial=0))

    def draw(
        self, clip_low: float, clip_high: float, style: dict, tallest: int, total: int, active: bool
    ) -> None:
        """All of the column. tallest: the fullest bin of both columns; total: of how many ratios
        shares are given."""
        up = self.sign > 0
        edge = 1 + clip_high if up else 1 - clip_low
        outer = self.high if up else self.low
        # whether there is a dead zone on this axis
        self.reaches = edge < outer if up else edge > outer
        start = edge if self.reaches else outer
        for shade in self.shades:
            shade.set_x(min(start, outer))
            shade.set_width(abs(outer - start))
        live = np.array([self.low, start] if up else [start, self.high])
        dead = np.array([start, outer])
        a = float(self.sign)
        fade = 1.0 if active else FADED
        self.curves[0].draw(
            (live, a * live), (dead, np.full(2, a * start)), (dead, a * dead), style, fade
        )
        self.curves[1].draw(
            (live, np.full(2, a)), (dead, np.zeros(2)), (dead, np.full(2, a)), style, fade
        )
        self.free.set_data(np.sqrt(self.all / max(tallest, 1)), self.edges)
        self.bound.set_data(np.sqrt(self.dead_ones / max(tallest, 1)), self.edges)
        self.free.set_color(style["color"])
        outside = int(
            (self.ratios < 1 - clip_low).sum() if up else (self.ratios > 1 + clip_high).sum()
        )
        self.said = (int(self.dead_ones.sum()), outside, total, active)
        texts = (
            f"clipped {_share(self.said[0], total)}",
            f"outside, kept {_share(outside, total)}",
        )
        for text, said in zip(self.shares, texts, strict=True):
            text.set_text(said if active else "")
        self.edge.set_text(f"flat {'above' if up else 'below'} {_number(edge)}")
        self.dead.set_x((start + outer) / 2)
        self.dead.set_visible(abs(outer - start) > 0.5 * (self.high - 1))
        for text in (self.heading, self.edge, self.dead, self.pushed):
            text.set_alpha(1.0 if active else 0.45)

    def describe(self) -> str:
        clipped, outside, total, active = self.said
        name = "A > 0" if self.sign > 0 else "A < 0"
        if not active:
            return f"{name}: not counted"
        return (
            f"{name}: gradient stops {self.edge.get_text().removeprefix('flat ')}, clipped"
            f" {_share(clipped, total)}, outside on the other side, gradient kept"
            f" {_share(outside, total)}"
        )


class _Curve:
    """A function of the ratio: alive in the method's colour, of another where the clip has stopped
    it, dashed without a clip."""

    def __init__(self, ax: Axes):
        (self.without,) = ax.plot([], [], color=house.INK, lw=1, dashes=(3, 2))
        (self.dead,) = ax.plot([], [], color=CLIPPED, lw=2.4)
        (self.live,) = ax.plot([], [], lw=2.4)

    def draw(self, live, dead, without, style: dict, alpha: float) -> None:
        for line, points in ((self.live, live), (self.dead, dead), (self.without, without)):
            line.set_data(*points)
            line.set_alpha(alpha)
        self.live.set_color(style["color"])
        self.live.set_linestyle(style["linestyle"])


class _Strip:
    """How far ratios are from 1 on one log scale: a bar for tokens, one for sequences, and the clip
    range on each."""

    def __init__(self, ax: Axes):
        self.ax = ax
        self.rows = {}
        ax.set_xlim(NEAREST, FARTHEST)
        ax.set_ylim(-0.6, 2.3)
        powers = np.arange(NEAREST, FARTHEST + 1)
        ax.set_xticks(powers, [f"{10**power:g}" for power in powers])
        ax.set_xlabel(
            "distance of the ratios from 1, log scale (bar: 5 to 95\xa0% of them, dot: median,"
            " ticks: clip range)",
            labelpad=1,
            size=8.5,
        )
        house.rows_axis(ax, [1.35, 0], ["tokens", "sequences"])
        for level, y in (("token", 1.35), ("sequence", 0)):
            (bar,) = ax.plot([], [], lw=6, solid_capstyle="butt")
            (dot,) = ax.plot([], [], "o", ms=5)
            marks = [
                ax.plot([], [], lw=2, color=house.INK, solid_capstyle="butt")[0] for _ in range(2)
            ]
            label = ax.text(0, y + 0.68, "", size=8, color=house.INK, ha="left", va="center")
            self.rows[level] = (y, bar, dot, marks, label)

    def draw(
        self,
        active: str,
        clip_low: float,
        clip_high: float,
        color: str,
        found: Mapping[str, Ratios],
    ) -> None:
        for level, (y, bar, dot, marks, label) in self.rows.items():
            usual = GRPO if level == "token" else GSPO
            low, high = (
                (clip_low, clip_high) if level == active else (usual.clip_low, usual.clip_high)
            )
            quantiles = _distance_quantiles(found[level].ratios)
            moved = bool(len(quantiles)) and quantiles[-1] > 0
            first, middle, last = (_power(q) for q in quantiles) if moved else (NEAREST,) * 3
            bar.set_data([first, last] if moved else [], [y, y] if moved else [])
            dot.set_data([middle] if moved else [], [y] if moved else [])
            for line, alpha in ((bar, 0.45), (dot, 1.0)):
                line.set_color(color if level == active else house.INK)
                line.set_alpha(alpha)
            for mark, eps in zip(marks, (low, high), strict=True):
                mark.set_data([_power(eps)] * 2, [y - 0.45, y + 0.45])
                mark.set_color(CLIPPED if level == active else house.INK)
            right = max(_power(low), _power(high))
            label.set_text(
                f"{_number(low)} / {_number(high)}" + ("" if level == active else " (usual)")
            )
            label.set_x(right + 0.04)
            label.set_ha("left")
            if right > -0.65:
                label.set_x(min(_power(low), _power(high)) - 0.04)
                label.set_ha("right")

    def describe(self, found: Mapping[str, Ratios]) -> list[str]:
        lines = []
        for level, ratios in found.items():
            quantiles = _distance_quantiles(ratios.ratios)
            if len(quantiles):
                low, middle, high = (_number(q) for q in quantiles)
                lines.append(
                    f"distance of {UNITS[level]} from 1: median {middle}, 5 to 95 % of them {low}"
                    f" to {high}"
                )
        return lines


def _distance_quantiles(ratios: np.ndarray) -> np.ndarray:
    return np.quantile(np.abs(ratios - 1), (0.05, 0.5, 0.95)) if len(ratios) else np.empty(0)


def _power(distance: float) -> float:
    """Where a distance from 1 stands on the strip."""
    return min(max(math.log10(max(distance, 1e-12)), NEAREST), FARTHEST)


def _corner(ax: Axes, side: int, y: float, va: str):
    style = {
        "transform": ax.transAxes,
        "ha": ("left", "right")[side],
        "va": va,
        "size": 8.5,
        "color": house.INK,
    }
    return ax.text((0.015, 0.985)[side], y, "", **style)


def _share_title(
    method: Method, when: str, found: Ratios, binds: np.ndarray, low: float, high: float, sign: str
) -> str:
    unit = UNITS[method.ratio_level]
    total = len(binds)
    outside = int(((found.ratios < 1 - low) | (found.ratios > 1 + high)).sum())
    whose = {"positive": " with A > 0", "negative": " with A < 0", "both": ""}[sign]
    whose = whose.replace(" > ", "\xa0>\xa0").replace(" < ", "\xa0<\xa0")
    return (
        f"{method.name}, {when}: the clip binds on {_share(int(binds.sum()), total)} of {total:,}"
        f" {unit}{whose}; {_share(outside, total)} lie outside its range"
    )


def _share(count: int, total: int) -> str:
    return house.percent(count / max(total, 1))


def _number(value: float) -> str:
    """Up to five places, no trailing zeros: 0.9997, 1.2, 0.00035."""
    return f"{value:.5f}".rstrip("0").rstrip(".") if abs(value) >= 1e-5 else "0"


def _minus(values) -> list[str]:
    return [f"{value:g}".replace("-", "−") for value in values]


# -- the clipped share against the range


def share_against_range(
    shares: Mapping[str, tuple[np.ndarray, np.ndarray]],
    found: Mapping[str, float],
    wanted: float,
    when: str,
) -> Figure:
    """The share on which a range of eps to both sides binds, against eps on a log scale, for tokens
    and for sequences.

    shares: "token" and "sequence" -> (eps ascending, share). found: the range of each that binds on
    the wanted share, as `range_that_binds` computes it; one beyond the ends of its curve is not
    drawn.
    """
    found = {
        level: eps if shares[level][0][0] <= eps <= shares[level][0][-1] else None
        for level, eps in found.items()
    }
    parts = [f"{_short(eps)} for {UNITS[level]}" for level, eps in found.items()]
    title = (
        f"{when.capitalize()} a clip range that binds on {house.percent(wanted)} is"
        f" {' and '.join(parts)}"
    )
    fig, axes = house.figure(2.9, title, left=0.75, right=1.0, bottom=0.5, title_lines=2)
    ax = axes[0, 0]
    places = []
    for level, (eps, share) in shares.items():
        color = house.color_of("GRPO" if level == "token" else "GSPO")
        ax.plot(
            np.log10(eps),
            share,
            lw=2,
            color=color,
            linestyle="-" if level == "token" else (0, (4, 1)),
        )
        place = int(np.argmin(np.abs(share - 0.6 * share[0]))) if share[0] > 0 else len(share) // 3
        places.append((level, float(np.log10(eps[place])), float(share[place]), color))
        if found[level] is not None:
            ax.plot([math.log10(found[level])] * 2, [0, wanted], lw=1, color=color)
            ax.plot(
                [math.log10(found[level])],
                [wanted],
                "o",
                ms=6,
                color=color,
                clip_on=False,
                zorder=3,
            )
    for level, x, y, color in places:
        ax.annotate(UNITS[level], (x, y), (6, 4), textcoords="offset points", color=color, size=9.5)
    ax.axhline(wanted, color=CLIPPED, lw=1, dashes=(3, 2))
    ax.text(
        1.02,
        wanted,
        house.percent(wanted),
        transform=ax.get_yaxis_transform(),
        color=CLIPPED,
        va="center",
        size=9.5,
    )
    powers = np.arange(NEAREST, FARTHEST + 1)
    ax.set_xticks(powers, [f"{10**power:g}" for power in powers])
    ax.set_xlim(NEAREST, math.log10(0.5))
    ax.set_ylim(0, 1)
    house.percent_axis(ax.yaxis, 0.25)
    ax.set_xlabel("clip range eps, the same above and below (log scale)")
    ax.set_ylabel("share clipped")
    lines = [
        f"{UNITS[level]}: {house.percent(share[0])} clipped at eps {_number(eps[0])}, "
        f"{house.percent(share[-1])} at {_number(eps[-1])}"
        for level, (eps, share) in shares.items()
    ]
    return house.finish(fig, "Clipped share against the clip range", lines)


def _short(eps: float | None) -> str:
    return "not on this axis" if eps is None else f"{eps:.3g}"


# -- the collapse


def collapse(runs: Mapping[str, Sequence[StepRecord]]) -> Figure:
    """What went on in runs with and without the clip, against the rollout, in four panels. runs:
    name -> records."""
    fig, axes = house.figure(
        4.2,
        _collapse_title(runs),
        2,
        2,
        left=0.6,
        right=0.35,
        top=0.55,
        bottom=0.5,
        wgap=0.6,
        hgap=0.55,
    )
    last = max((r.step for records in runs.values() for r in records), default=1)
    styles = (
        {"color": house.color_of("GRPO"), "linestyle": "-"},
        {"color": CLIPPED, "linestyle": (0, (4, 1.2))},
    )
    panels = [
        ("held-out accuracy (greedy)", _accuracies, 1.0),
        ("sd of token log-ratios, last pass", _spreads, None),
        ("entropy (nats a token)", lambda rs: [(r.step, r.entropy) for r in rs], None),
        ("KL to the start (nats a token)", lambda rs: [(r.step, r.kl) for r in rs], None),
    ]
    for ax, (name, points_of, top) in zip(axes.flat, panels, strict=True):
        house.heading(ax, name, size=9)
        curves = [
            [p for p in points_of(records) if house.finite([p[1]])] for records in runs.values()
        ]
        for curve, style in zip(curves, styles, strict=False):
            house.line(ax, [x for x, _ in curve], [y for _, y in curve], lw=2, **style)
        ax.set_xlim(0, max(last, 1))
        ax.set_ylim(0, top or 1.15 * max([1e-3, *(y for curve in curves for _, y in curve)]))
    for ax in axes[0]:
        ax.tick_params(labelbottom=False)
    for ax in axes[1]:
        ax.set_xlabel("rollout")
    house.percent_axis(axes[0, 0].yaxis, 0.5)
    for i, (name, style) in enumerate(zip(runs, styles, strict=False)):
        dash = ("—", "- -")[i]
        place = (0.6 * i, 1.3)  # over the first panel's heading
        axes[0, 0].text(
            *place, f"{dash} {name}", transform=axes[0, 0].transAxes, size=9.5, color=style["color"]
        )
    return house.finish(
        fig,
        "Runs with and without the clip",
        [_describe_run(n, records) for n, records in runs.items()],
    )


def _accuracies(records: Sequence[StepRecord]) -> list[tuple[int, float]]:
    start = [(0, r.start_eval.accuracy) for r in records[:1] if r.start_eval]
    return start + [(r.step, r.eval.accuracy) for r in records if r.eval]


def _spreads(records: Sequence[StepRecord]) -> list[tuple[int, float | None]]:
    return [(r.step, r.token_log_ratio.std if r.token_log_ratio else None) for r in records]


def _collapse_title(runs: Mapping[str, Sequence[StepRecord]]) -> str:
    ends = [
        f"{name} {house.percent(points[-1][1], 2)}"
        for name, rs in runs.items()
        if (points := _accuracies(rs))
    ]
    last = max((r.step for records in runs.values() for r in records), default=0)
    return (
        f"Accuracy after {last} rollouts: {', '.join(ends)}"
        if ends
        else "Runs with and without the clip"
    )


def _describe_run(name: str, records: Sequence[StepRecord]) -> str:
    if not records:
        return f"{name}: no records"
    last = records[-1]
    parts = [
        f"{name}: accuracy "
        + ", ".join(f"{house.percent(y, 2)} at {x}" for x, y in _accuracies(records))
    ]
    if last.token_log_ratio:
        parts.append(f"last spread of token log-ratios {last.token_log_ratio.std:.2f}")
    for field, what in (("entropy", "entropy"), ("kl", "KL to the start")):
        if house.finite([getattr(last, field)]):
            parts.append(f"{what} {getattr(last, field):.2f}")
    return "; ".join(parts)
