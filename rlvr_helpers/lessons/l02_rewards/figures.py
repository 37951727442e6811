"""Figures of lesson 02: what was paid beside what was right, and format beside mathematics."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from rlvr_helpers.plots import house
from rlvr_helpers.plots.answers import PAID, TRUE, _labelled_lines
from rlvr_helpers.records import StepRecord


def paid_and_right(runs: Mapping[str, Sequence[StepRecord]], paid_most: float = 1.0) -> Figure:
    """A panel for each reward function (a name -> the records of one run): the mean reward, and
    strict accuracy.

    Both are of the sampled completions, one point a step. paid_most: the upper end of the scale, at
    least 1.
    """
    ends = {name: (records[0], records[-1]) for name, records in runs.items() if records}
    found = [
        f"{name}: paid {first.reward_mean:.2f} → {last.reward_mean:.2f}, right in the tag "
        f"{house.percent(first.accuracy, 2)} → {house.percent(last.accuracy, 2)}"
        for name, (first, last) in ends.items()
    ]
    said = [
        f"{name}: pay {_way(first.reward_mean, last.reward_mean)}, accuracy"
        f" {_way(first.accuracy, last.accuracy)}"
        for name, (first, last) in ends.items()
    ]
    title = "; ".join(said).capitalize() or "Nothing trained yet"
    fig, axes = house.figure(
        3.0, title, 1, max(len(runs), 1), top=0.3, left=0.5, right=1.15, bottom=0.5, wgap=1.6
    )
    for ax, (name, records) in zip(axes[0], runs.items(), strict=False):
        lines = {
            "right in tag": ([r.accuracy for r in records], TRUE),
            "paid": ([r.reward_mean for r in records], PAID),
        }
        _labelled_lines(ax, [r.step for r in records], lines, top=max(1.0, paid_most))
        house.heading(ax, name)
        ax.set_xlabel("step")
    return house.finish(fig, "Mean reward and strict accuracy against step", found)


def format_or_maths(rows: Mapping[str, tuple[int, int, int, int]], of: int) -> Figure:
    """Right by the tag and right anywhere, before and after training. rows: a method's name ->
    strict before and after, anywhere before and after, out of `of` items."""
    titles = [("right number in the tag", 0), ("right number, tag or not", 2)]
    gains = [[row[i + 1] - row[i] for row in rows.values()] for _, i in titles]
    spans = [f"{min(gain):+d} to {max(gain):+d}".replace("-", "−\xa0") for gain in gains]
    title = f"Right in the tag: {spans[0]} answers of {of}; right number, tag or not: {spans[1]}"
    fig, axes = house.figure(2.9, title, 1, 2, top=0.3, left=0.5, right=1.15, bottom=0.4, wgap=1.15)
    lines = []
    for (heading, i), ax in zip(titles, axes[0], strict=True):
        house.heading(ax, heading)
        ax.set(xlim=(-0.1, 1.1), ylim=(0, of))
        ax.set_xticks([0, 1], ["before", "after"])
        ends = []
        for name, row in rows.items():
            style = house.STYLES.get(name, house.OTHER)
            ax.plot([0, 1], row[i : i + 2], lw=2, ms=5, clip_on=False, **style)
            ends.append((name, row[i + 1], f"{name} {row[i + 1]}"))
            lines.append(f"{name}, {heading}: {row[i]} → {row[i + 1]} of {of}")
        starts = sorted({row[i] for row in rows.values()})
        ax.annotate(
            ", ".join(map(str, starts)),
            (0, starts[-1]),
            (0, 7),
            textcoords="offset points",
            ha="center",
            size=9.5,
            color=house.INK,
        )
        house.spread_labels(ax, ends)
    return house.finish(fig, f"Right answers of {of} before and after training", lines)


def _way(first: float, last: float) -> str:
    """What became of a share, in a word; less than 2 points are none."""
    return "rises" if last > first + 0.02 else "falls" if last < first - 0.02 else "stays"
