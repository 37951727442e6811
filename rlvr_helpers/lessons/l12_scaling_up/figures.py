"""The figure of lesson 12: what one step takes on a card. All of it is calculated."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from rlvr_helpers.plots import house
from rlvr_helpers.study.memory import (
    Card,
    Shape,
    Workload,
    fits,
    memory_gib,
    memory_parts,
    seconds_parts,
)

# One colour per part. Each has a contrast of 3:1 on white and on black. Neighbours in a bar differ.
MEMORY_COLORS = {
    "weights": "#0072B2",
    "gradients": "#D55E00",
    "optimizer": "#009E73",
    "reference": "#9467BD",
    "16-bit copies": "#A0522D",
    "activations": "#C2649A",
    "logits": "#A8790B",
    "cache": "#2C93B5",
}
SECONDS_COLORS = {
    "generation": "#2C93B5",
    "scoring": "#A8790B",
    "forward": "#C2649A",
    "backward": "#D55E00",
    "optimizer": "#009E73",
}
# What is there in only one phase.
SAMPLING = ("cache",)
TRAINING = ("activations", "logits")
# The height of a bar, as a share of its row.
BAR = 0.56
# GiB, as in `memory.fits`.
RESERVE = 1.5


def above(ax: Axes, x: float, text: str, ha: str = "center", shift: float = 0) -> None:
    """A small text above the axes at x, moved by `shift` points."""
    ax.annotate(
        text,
        (x, 1),
        (shift, 3),
        ("data", "axes fraction"),
        "offset points",
        ha=ha,
        color=house.INK,
        size=8.5,
    )


def cost_of_a_step(name: str, shape: Shape, card: Card, work: Workload) -> Figure:
    """Memory while sampling and while training, by part, against the card's end. Below stand the
    seconds of a step by part."""
    # The parts, and the title's verdict on them.
    parts = counted(shape, work)
    seconds = seconds_parts(shape, work, card)
    total = sum(seconds.values())
    longest = max(seconds, key=seconds.get)
    verdict = "it fits" if fits(shape, work, card, reserve_gib=RESERVE) else "it does not fit"
    size = f"{short(memory_gib(shape, work))} of {card.memory_gib:g} GiB"
    title = (
        f"{name}, {card.name}: {size}, {verdict}. A step takes {short(total)}\xa0s if the assumed"
        f" speed is reached, {house.percent(seconds[longest] / total, 2)} of it {longest}"
    )
    # Memory above, seconds below.
    fig, axes = house.figure(
        3.95, title, rows=2, cols=1, left=0.85, right=0.25, bottom=0.85, hgap=1.3, title_lines=2
    )
    phases = {"sampling": without(parts, TRAINING), "training": without(parts, SAMPLING)}
    ends = draw_memory(axes[0, 0], card, phases, parts=parts)
    draw_seconds(axes[1, 0], seconds)
    # All numbers as text.
    lines = [f"while {phase} {short(end)} GiB" for phase, end in zip(phases, ends, strict=True)]
    lines.append("GiB: " + ", ".join(f"{part} {short(size)}" for part, size in parts.items()))
    lines.append("seconds: " + ", ".join(f"{part} {short(size)}" for part, size in seconds.items()))
    return house.finish(fig, "Memory and time of one training step, by calculation", lines)


def draw_memory(
    ax: Axes, card: Card, phases: Mapping[str, Mapping[str, float]], parts: Mapping[str, float]
) -> list[float]:
    """A bar of GiB for each phase, and the card's end. Returns where the bars end."""
    ends = [stack(ax, i, these, colors=MEMORY_COLORS) for i, these in enumerate(phases.values())]
    house.rows_axis(ax, (0, 1), list(phases))
    ax.set_ylim(1.55, -0.55)
    ax.set_xlim(0, 1.12 * max(card.memory_gib, *ends))
    # The card's end, before it the reserve, and the card's name on the side that has room.
    reserved = {"color": house.INK, "alpha": 0.3, "lw": 0, "zorder": 0}
    ax.axvspan(card.memory_gib - RESERVE, card.memory_gib, **reserved)
    ax.axvline(card.memory_gib, color=house.INK, lw=2)
    left = card.memory_gib < 0.4 * ax.get_xlim()[1]
    side = {"ha": "left", "shift": 4} if left else {"ha": "right", "shift": -4}
    above(ax, card.memory_gib, f"{card.name} ends", **side)
    ax.set_xlabel("GiB")
    entries = [(part, short(size)) for part, size in parts.items()]
    key(ax, entries, MEMORY_COLORS, below=0.62, columns=4)
    return ends


def draw_seconds(ax: Axes, seconds: Mapping[str, float]) -> None:
    """One bar of seconds by part."""
    stack(ax, 0, seconds, colors=SECONDS_COLORS)
    house.rows_axis(ax, (0,), ["a step"])
    ax.set_ylim(1.05, -1.05)
    ax.set_xlim(0, 1.12 * sum(seconds.values()))
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10)))
    ax.set_xlabel("seconds")
    entries = [(part, short(size)) for part, size in seconds.items()]
    key(ax, entries, SECONDS_COLORS, below=0.62, columns=5)


def counted(shape: Shape, work: Workload) -> dict[str, float]:
    """GiB by part. The reference is left out if there is none."""
    return {
        part: size
        for part, size in memory_parts(shape, work).items()
        if size or part != "reference"
    }


def without(parts: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """The parts that are not among the names."""
    return {name: size for name, size in parts.items() if name not in names}


def stack(ax: Axes, row: float, parts: Mapping[str, float], colors: Mapping[str, str]) -> float:
    """Draws a bar of parts side by side. Returns where it ends."""
    end = 0.0
    for name, size in parts.items():
        ax.barh(row, size, BAR, left=end, color=colors[name], lw=0)
        end += size
    return end


def key(
    ax: Axes,
    entries: Sequence[tuple[str, str]],
    colors: Mapping[str, str],
    below: float,
    columns: int,
) -> None:
    """Coloured squares with names and values, in rows that begin `below` inches under the
    axes."""
    fig = ax.figure
    width, height = fig.get_size_inches()
    for i, (name, value) in enumerate(entries):
        # The middle of the entry's left side, in inches.
        row, column = divmod(i, columns)
        x = 0.1 + column * (width - 0.2) / columns
        y = ax.get_position().y0 * height - below - 0.21 * row
        # A square of 0.11 inches, and the text beside it.
        corner = (x / width, (y - 0.045) / height)
        style = {"color": colors[name], "lw": 0, "transform": fig.transFigure}
        fig.add_artist(Rectangle(corner, 0.11 / width, 0.11 / height, **style))
        text = {"color": house.INK, "size": 8.5, "va": "center"}
        fig.text((x + 0.17) / width, y / height, f"{name} {value}", **text)


def short(size: float) -> str:
    """A size in few characters: 12,345, 128, 12.3, 0.81, 0.004, <0.001."""
    if size >= 99.5:
        return f"{size:,.0f}"
    if size >= 9.95:
        return f"{size:.1f}"
    return f"{size:.2f}" if size >= 0.0995 else f"{size:.1g}" if size >= 1e-3 else "<0.001"
