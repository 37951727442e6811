"""Figures of lesson 12: where a model's memory goes, and what one step takes on a card. All of it
is calculated."""

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

# One colour a part; each has a contrast of 3:1 on white and on black. Neighbours in a bar differ.
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
# what is there in one phase alone
SAMPLING = ("cache",)
TRAINING = ("activations", "logits")
BAR = 0.56
RESERVE = 1.5  # GiB, as `memory.fits`


def ways_to_fit(
    name: str, shape: Shape, ways: Mapping[str, Workload], memories: Sequence[float] = (12, 24, 40)
) -> Figure:
    """A stacked bar for each way of training: the memory at its peak, by part, and lines where
    cards end (GiB)."""
    peaks = {way: memory_gib(shape, work) for way, work in ways.items()}
    (first, most), (last, least) = list(peaks.items())[0], list(peaks.items())[-1]
    title = f"{name} peaks at {most:.0f} GiB ({first}), and at {least:.0f} GiB ({last})"
    fig, axes = house.figure(
        1.9 + 0.34 * len(ways), title, left=1.85, right=0.75, top=0.28, bottom=1.1
    )
    ax = axes[0, 0]
    lines = []
    seen = {}
    ax.set_xlim(0, 1.03 * max(*memories, *peaks.values()))
    for i, (way, work) in enumerate(ways.items()):
        parts = at_the_peak(counted(shape, work))
        end = stack(ax, i, parts, colors=MEMORY_COLORS)
        ax.text(
            1.1,
            i,
            f"{end:.1f}",
            transform=ax.get_yaxis_transform(),
            ha="right",
            va="center",
            color=house.INK,
            size=9.5,
        )
        lines.append(
            f"{way}: {end:.1f} GiB, "
            + ", ".join(f"{part} {size:.1f}" for part, size in parts.items())
        )
        seen |= parts
    house.rows_axis(ax, range(len(ways)), list(ways))
    ax.set_ylim(len(ways) - 0.5, -0.5)
    for memory in memories:
        ax.axvline(memory, color=house.INK, lw=1, ls=(0, (4, 2)), zorder=0)
        ax.annotate(
            f"a card of {memory:g}" if memory == memories[0] else f"{memory:g}",
            (memory, 1),
            (0, 3),
            ("data", "axes fraction"),
            "offset points",
            ha="center",
            color=house.INK,
            size=8.5,
        )
    ax.set_xlabel("GiB at the peak, by calculation")
    key(
        ax, [(part, None) for part in MEMORY_COLORS if part in seen], MEMORY_COLORS, 0.62, columns=4
    )
    return house.finish(fig, "Memory at the peak of a training step, by part", lines)


def cost_of_a_step(name: str, shape: Shape, card: Card, work: Workload) -> Figure:
    """Memory while sampling and while training, by part, against the card's end; and the seconds of
    a step by part."""
    parts = counted(shape, work)
    seconds = seconds_parts(shape, work, card)
    peak = memory_gib(shape, work)
    total = sum(seconds.values())
    longest = max(seconds, key=seconds.get)
    verdict = "it fits" if fits(shape, work, card, reserve_gib=RESERVE) else "it does not fit"
    title = (
        f"{name}, {card.name}: {short(peak)} of {card.memory_gib:g} GiB, {verdict}. A step takes"
        f" {short(total)}\xa0s if the assumed speed is reached,"
        f" {house.percent(seconds[longest] / total, 2)} of it {longest}"
    )
    fig, axes = house.figure(
        3.95, title, 2, 1, left=0.85, right=0.25, bottom=0.85, hgap=1.3, title_lines=2
    )
    memory, time = axes[:, 0]
    phases = {"sampling": without(parts, TRAINING), "training": without(parts, SAMPLING)}
    ends = [
        stack(memory, i, these, colors=MEMORY_COLORS) for i, these in enumerate(phases.values())
    ]
    house.rows_axis(memory, (0, 1), list(phases))
    memory.set_ylim(1.55, -0.55)
    memory.set_xlim(0, 1.12 * max(card.memory_gib, *ends))
    memory.axvspan(
        card.memory_gib - RESERVE, card.memory_gib, color=house.INK, alpha=0.3, lw=0, zorder=0
    )
    memory.axvline(card.memory_gib, color=house.INK, lw=2)
    left = card.memory_gib < 0.4 * memory.get_xlim()[1]
    memory.annotate(
        f"{card.name} ends",
        (card.memory_gib, 1),
        (4 if left else -4, 3),
        ("data", "axes fraction"),
        "offset points",
        ha="left" if left else "right",
        color=house.INK,
        size=8.5,
    )
    memory.set_xlabel("GiB")
    key(
        memory,
        [(part, short(size)) for part, size in parts.items()],
        MEMORY_COLORS,
        0.62,
        columns=4,
    )

    stack(time, 0, seconds, colors=SECONDS_COLORS)
    house.rows_axis(time, (0,), ["a step"])
    time.set_ylim(1.05, -1.05)
    time.set_xlim(0, 1.12 * total)
    time.xaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10)))
    time.set_xlabel("seconds")
    key(
        time,
        [(part, short(size)) for part, size in seconds.items()],
        SECONDS_COLORS,
        0.62,
        columns=5,
    )
    lines = [f"while {phase} {short(end)} GiB" for phase, end in zip(phases, ends, strict=True)]
    lines.append("GiB: " + ", ".join(f"{part} {short(size)}" for part, size in parts.items()))
    lines.append("seconds: " + ", ".join(f"{part} {short(size)}" for part, size in seconds.items()))
    return house.finish(fig, "Memory and time of one training step, by calculation", lines)


def counted(shape: Shape, work: Workload) -> dict[str, float]:
    """GiB by part, the reference only where there is one."""
    return {
        part: size
        for part, size in memory_parts(shape, work).items()
        if size or part != "reference"
    }


def at_the_peak(parts: Mapping[str, float]) -> dict[str, float]:
    """The parts that are there when memory is fullest: those of sampling or those of training are
    left out."""
    sampling = sum(parts[name] for name in SAMPLING) > sum(parts[name] for name in TRAINING)
    return without(parts, TRAINING if sampling else SAMPLING)


def without(parts: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    return {name: size for name, size in parts.items() if name not in names}


def stack(ax: Axes, row: float, parts: Mapping[str, float], colors: Mapping[str, str]) -> float:
    """A bar of parts side by side; returns where it ends."""
    end = 0.0
    for name, size in parts.items():
        ax.barh(row, size, BAR, left=end, color=colors[name], lw=0)
        end += size
    return end


def key(
    ax: Axes,
    entries: Sequence[tuple[str, str | None]],
    colors: Mapping[str, str],
    below: float,
    columns: int,
):
    """Coloured squares with names (and values), in rows that begin so many inches below the
    axes."""
    fig = ax.figure
    width, height = fig.get_size_inches()
    for i, (name, value) in enumerate(entries):
        row, column = divmod(i, columns)
        x = 0.1 + column * (width - 0.2) / columns
        y = ax.get_position().y0 * height - below - 0.21 * row
        fig.add_artist(
            Rectangle(
                (x / width, (y - 0.045) / height),
                0.11 / width,
                0.11 / height,
                color=colors[name],
                transform=fig.transFigure,
                lw=0,
            )
        )
        fig.text(
            (x + 0.17) / width,
            y / height,
            f"{name} {value}" if value else name,
            color=house.INK,
            size=8.5,
            va="center",
        )


def short(size: float) -> str:
    """A size in few characters: 12,345, 128, 12.3, 0.81, 0.004, <0.001."""
    if size >= 99.5:
        return f"{size:,.0f}"
    if size >= 9.95:
        return f"{size:.1f}"
    return f"{size:.2f}" if size >= 0.0995 else f"{size:.1g}" if size >= 1e-3 else "<0.001"
