"""The house style of every figure: size, margins, ink, one colour per method, alternative text.

A figure starts with `figure(height, title)` and ends with `finish(fig, what, lines)`, which writes
its alternative text as `fig.alt`. Every figure can be read on white and on black. There is no
pyplot, since a slider that moves while a cell draws would close the figure.
"""

import base64
import html
import io
import math
import re
import textwrap
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from rlvr_helpers.records import StepRecord

# A method's name -> a list of records for each seed.
Runs = Mapping[str, Sequence[Sequence[StepRecord]]]

# Text, spines and ticks. The contrast is 4.5:1 on white and 4.2:1 on JupyterLab's dark #111.
INK = "#767676"
# Colours of Okabe and Ito, which colour-blind readers can tell apart, on white and on black.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
# One colour, line and marker per method, everywhere.
STYLES = {
    "GRPO": {"color": BLUE, "linestyle": "-", "marker": "o"},
    "Dr. GRPO": {"color": ORANGE, "linestyle": (0, (4, 1.2)), "marker": "s"},
    "GSPO": {"color": GREEN, "linestyle": (0, (1, 0.8)), "marker": "^"},
}
# Methods beside the three.
OTHER = {"color": INK, "linestyle": (0, (5, 1, 1, 1)), "marker": "D"}
# Inches.
WIDTH = 6.5
NO_BREAK = "\N{NO-BREAK SPACE}"


def color_of(method: str) -> str:
    """The colour of a method in every figure."""
    return STYLES.get(method, OTHER)["color"]


def figure(
    height: float,
    title: str,
    rows: int = 1,
    cols: int = 1,
    left: float = 0.65,
    right: float = 0.2,
    top: float = 0.15,
    bottom: float = 0.78,
    wgap: float = 0.3,
    hgap: float = 0.5,
    title_lines: int | None = None,
) -> tuple[Figure, np.ndarray]:
    """A transparent figure with axes [rows, cols] and a title over them. Height, margins and gaps
    are in inches.

    title_lines: room for the title whatever its length, so that a slider's picture keeps its size
        (70 characters per line)
    """
    # Make room for the title.
    lines = _even_lines(title)
    room = title_lines or len(lines)
    height += 0.2 * room - 0.2
    top += 0.15 + 0.2 * room
    # Margins and gaps, as the shares that matplotlib asks for.
    fig = Figure(figsize=(WIDTH, height), facecolor="none", layout="none")
    across = (WIDTH - left - right - (cols - 1) * wgap) / cols
    down = (height - top - bottom - (rows - 1) * hgap) / rows
    fig.subplots_adjust(
        left / WIDTH,
        bottom / height,
        1 - right / WIDTH,
        1 - top / height,
        wgap / across,
        hgap / down,
    )
    axes = fig.subplots(rows, cols, squeeze=False)
    for ax in axes.flat:
        _dress(ax)
    # The title, above the axes and at the left edge of the figure.
    at = 0.1 / WIDTH, 1 - 0.08 / height
    fig.text(*at, "\n".join(lines), color=INK, size=10.5, weight="bold", va="top")
    return fig, axes


def _even_lines(title: str) -> list[str]:
    """The title in as few lines as 70 columns allow, all of about the same length."""
    lines = textwrap.wrap(title, 70)
    # The narrowest width that needs no more lines.
    return next(
        even for width in range(20, 71) if len(even := textwrap.wrap(title, width)) == len(lines)
    )


def _dress(ax: Axes) -> None:
    """The course's ink on transparent axes, without the frame's upper and right side."""
    ax.set_facecolor("none")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(INK)
    ax.tick_params(colors=INK, labelsize=9)
    ax.xaxis.label.set(color=INK, size=9.5)
    ax.yaxis.label.set(color=INK, size=9.5)


def finish(fig: Figure, what: str, lines: Sequence[str]) -> Figure:
    """Sets the figure's alternative text: what is drawn, the title (the finding) and the
    numbers."""
    title = fig.texts[0].get_text().replace("\n", " ")
    # A line that repeats the title is left out, and signs become words for a screen reader.
    fig.alt = f"{what}. {title}. {'. '.join(line for line in lines if line != title)}."
    fig.alt = (
        fig.alt.replace(NO_BREAK, " ")
        .replace("→", "to")
        .replace("−", "minus ")
        .replace("minus  ", "minus ")
    )
    return fig


def heading(ax: Axes, text: str, side: int = 0, **style: object) -> None:
    """A text over the axes, at the left (side 0) or the right (1)."""
    style = {"color": INK, "size": 9.5, "ha": ("left", "right")[side], **style}
    ax.annotate(text, (side, 1), (0, 7), "axes fraction", "offset points", **style)


def note(fig: Figure, text: str) -> None:
    """A small text at the foot of the figure."""
    fig.text(0.1 / WIDTH, 0.08 / fig.get_figheight(), text, color=INK, size=8, va="bottom")


def empty(ax: Axes, text: str) -> None:
    """A text in axes that have nothing to show."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=INK, size=9.5)


def percent(share: float, digits: int = 3) -> str:
    """0.935 -> "93.5 %", 0.004 -> "0.4 %": one decimal at most."""
    decimals = 1 if digits > 2 or share < 0.0995 else 0
    return f"{100 * share:.{decimals}f}".removesuffix(".0") + "\xa0%"


def percent_axis(axis: Axis, every: float | None = None) -> None:
    """Ticks as percentages, at multiples of `every` if it is given."""
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}\xa0%"))
    if every:
        axis.set_major_locator(MultipleLocator(every))


def rows_axis(ax: Axes, rows: Sequence[float], labels: Sequence[str] | None) -> None:
    """A vertical axis of named rows without ticks or spine. Without labels the rows have no
    names."""
    ax.set_yticks(rows, labels if labels is not None else [""] * len(rows))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def label_width(*runs: Runs) -> float:
    """Inches that the longest name beside an axes takes."""
    return 0.2 + 0.085 * max([8, *(len(name) for those in runs for name in those)])


def name_ends(ax: Axes, ends: Iterable[tuple[float, str, str]], x: float = 1.02) -> None:
    """Texts (y, text, colour) beside the axes at the ends of lines, moved apart where they would
    touch. Set the limits of the axes before.

    x: where the texts begin, 1 is the right end of the axes
    """
    # Heights in the axes from 0 to 1, so that a log axis needs nothing of its own.
    ends = sorted(ends, key=lambda end: end[0])
    across = ax.get_xlim()[1]
    in_axes = ax.transData + ax.transAxes.inverted()
    heights = [in_axes.transform((across, y))[1] for y, _, _ in ends]
    # A line of text takes 13 points.
    gap = 13 / (72 * ax.get_position().height * ax.figure.get_figheight())
    style = {"transform": ax.transAxes, "va": "center", "size": 9.5}
    for (_, text, color), y in zip(ends, spread(heights, gap, 0, high=1), strict=True):
        ax.text(x, y, text, color=color, **style)


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending values, moved as little as possible to be `gap` apart and between low and high:
    isotonic regression by pooling adjacent violators."""
    # Blocks of values without their gaps. Neighbours are merged until the means ascend.
    blocks: list[list[float]] = []
    for i, value in enumerate(values):
        blocks.append([value - i * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    means = [float(np.mean(block)) for block in blocks for _ in block]
    # The gaps put back, and all of them kept within the ends.
    return [
        max(low, min(mean, high - (len(values) - 1) * gap)) + i * gap
        for i, mean in enumerate(means)
    ]


def line(ax: Axes, xs: Sequence[float], ys: Sequence[float | None], **style: object) -> None:
    """A line with gaps where y is None or not finite. A value between two gaps becomes a dot."""
    y = np.array([v if v is not None and math.isfinite(v) else math.nan for v in ys])
    known = np.pad(np.isfinite(y), 1)
    if not known.any():
        return
    ax.plot(xs, y, **style)
    # A line of a single point is not drawn.
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    if alone.any():
        ax.plot(
            np.array(xs)[alone],
            y[alone],
            "o",
            ms=2 + style["lw"],
            color=style["color"],
            clip_on=False,
        )


def finite(values: Iterable[float | None]) -> list[float]:
    """The values that are finite numbers."""
    return [v for v in values if v is not None and math.isfinite(v)]


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of the finite values. None if there is none."""
    known = finite(values)
    return sum(known) / len(known) if known else None


@dataclass
class Picture:
    """What a cell displays: HTML, and plain text where there is none."""

    html: str
    text: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def show(figure: Figure, caption: str = "") -> Picture:
    """A figure as an <img> of fixed size, 100 pixels per inch, with its alternative text, which
    JupyterLab drops from ordinary image outputs. Put it last in a cell, or `display` it."""
    width, height = (round(100 * inches) for inches in figure.get_size_inches())
    data = base64.b64encode(to_svg(figure)).decode()
    image = (
        f'<img alt="{html.escape(figure.alt)}" width="{width}" height="{height}"'
        f' style="max-width:none" src="data:image/svg+xml;base64,{data}">'
    )
    return Picture(
        image + (f"<div>{html.escape(caption)}</div>" if caption else ""),
        f"{figure.alt} {caption}".strip(),
    )


def to_png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as PNG bytes, the same bytes every time."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()


# matplotlib's settings are global, and JupyterLab runs callbacks on a second thread.
_SETTINGS = threading.Lock()


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG bytes with text as text, the same bytes every time. It is a third of the
    PNG's size and drawn in half the time."""
    file = io.BytesIO()
    with _SETTINGS, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rlvr"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    # Paths to hundredths of a point: finer than a screen shows, and half the bytes.
    return re.sub(
        rb' d="[^"]*"', lambda path: re.sub(rb"(\.\d\d)\d+", rb"\1", path[0]), file.getvalue()
    )
