"""What completions were: strict and lenient accuracy, and format, over training steps."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_helpers.plots import house
from rlvr_helpers.records import StepRecord

# These are no method's colours. Each can be read on white and on black.
# What the reward function paid, or the lenient reader accepts.
PAID = {"color": "#B07A00", "linestyle": (0, (6, 1.5))}
# What the strict reader accepts.
TRUE = {"color": "#A65AA0", "linestyle": "-"}
# What has the tags, whatever its answer.
FORMAT = {"color": "#767676", "linestyle": (0, (2, 1))}


def strict_lenient_format(runs: Sequence[Sequence[StepRecord]]) -> Figure:
    """Strict accuracy, lenient accuracy and format over training, of the sampled completions. The
    mean over runs is drawn."""
    # The means over runs, and their changes in words.
    steps = [records[0].step for records in zip(*runs, strict=False)]
    means = {
        name: [
            house.mean_of(getattr(r, field) for r in records)
            for records in zip(*runs, strict=False)
        ]
        for name, field in (
            ("format", "format_rate"),
            ("strict", "accuracy"),
            ("lenient", "lenient_accuracy"),
        )
    }
    changes = {
        name: " → ".join(house.percent(ys[i], 2) for i in (0, -1))
        for name, ys in means.items()
        if ys
    }
    title = "; ".join(f"{name} {change}" for name, change in changes.items()) or "no runs"
    # One line each, with its name at its end.
    fig, axes = house.figure(3.2, title, top=0.3, left=0.65, right=1.1, bottom=0.72)
    styles = {"format": FORMAT, "lenient": PAID, "strict": TRUE}
    _labelled_lines(
        axes[0, 0],
        steps,
        {name: (ys, styles[name]) for name, ys in means.items()},
        top=1.0,
        form=lambda y: house.percent(y, 2),
    )
    house.percent_axis(axes[0, 0].yaxis, 0.25)
    axes[0, 0].set_xlabel("step")
    house.heading(axes[0, 0], "share of the sampled completions")
    house.note(fig, "One run." if len(runs) == 1 else f"Mean over {len(runs)} runs.")
    lines = [
        f"{name} {change}, steps {steps[0]} to {steps[-1]}" for name, change in changes.items()
    ]
    return house.finish(
        fig, "Format, lenient and strict accuracy against step", lines or ["nothing to draw"]
    )


def _labelled_lines(
    ax: Axes,
    steps: Sequence[int],
    lines: Mapping[str, tuple[Sequence[float | None], dict]],
    top: float,
    form: Callable[[float], str] = "{:.2f}".format,
) -> None:
    """Lines name -> (values, style), each with its name and last value at its right end."""
    ends = []
    for name, (ys, style) in lines.items():
        house.line(ax, steps, ys, lw=2, **style)
        if ys:
            ends.append((ys[-1], name, style["color"]))
    ax.set_ylim(0, top)
    ax.set_xlim(min([*steps, 1]), max([*steps, 2]))
    # Names at the ends, a line of text apart: 13 points, in units of the axis.
    gap = top * 13 / (72 * ax.get_position().height * ax.figure.get_figheight())
    ends.sort()
    for (y, name, color), shown_y in zip(
        ends, house.spread([y for y, _, _ in ends], gap, 0, top), strict=True
    ):
        ax.text(
            1.02,
            shown_y,
            f"{name} {form(y)}",
            transform=ax.get_yaxis_transform(),
            va="center",
            color=color,
            size=9.5,
        )
