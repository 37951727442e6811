"""The figure of lesson 02: what was paid beside what was correct."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from rlvr_helpers.plots import house
from rlvr_helpers.records import StepRecord

# These are no method's colours. Each can be read on white and on black.
# What the reward function paid.
PAID = {"color": "#B07A00", "linestyle": (0, (6, 1.5))}
# What is correct: what the strict reader accepts.
CORRECT = {"color": "#A65AA0", "linestyle": "-"}


def paid_and_correct(runs: Mapping[str, Sequence[StepRecord]]) -> Figure:
    """A panel for each reward function: the mean reward, strict accuracy, and the gap between them
    shaded. Both are of the sampled completions, one point per step.

    runs: reward function -> the records of one run
    """
    # Say in words what became of each run.
    ends = {name: (records[0], records[-1]) for name, records in runs.items() if records}
    found = [
        f"{name}: paid {first.reward_mean:.2f} → {last.reward_mean:.2f}, correct in the tag "
        f"{house.percent(first.accuracy, 2)} → {house.percent(last.accuracy, 2)}"
        for name, (first, last) in ends.items()
    ]
    gaps = [
        f"{name}: paid minus correct is {last.reward_mean - last.accuracy:.2f}".replace("-", "−")
        for name, (_, last) in ends.items()
    ]
    title = "; ".join(gaps) or "Nothing trained yet"

    # Draw a panel for each, all on one scale.
    fig, axes = house.figure(
        2.8, title, cols=max(len(runs), 1), top=0.3, left=0.5, right=1.25, bottom=0.5, wgap=1.7
    )
    paid = [record.reward_mean for records in runs.values() for record in records]
    for ax, (name, records) in zip(axes[0], runs.items(), strict=False):
        steps = [record.step for record in records]
        correct = [record.accuracy for record in records]
        rewards = [record.reward_mean for record in records]
        ax.fill_between(steps, correct, rewards, color=PAID["color"], alpha=0.2, lw=0)
        ax.set(
            xlim=(min([*steps, 1]), max([*steps, 2])), ylim=(min([*paid, 0.0]), max([*paid, 1.0]))
        )
        lines = {"correct": (correct, CORRECT), "paid": (rewards, PAID)}
        for ys, style in lines.values():
            house.line(ax, steps, ys, lw=2, **style)
        house.name_ends(
            ax,
            [
                (ys[-1], f"{name} {ys[-1]:.2f}", style["color"])
                for name, (ys, style) in lines.items()
                if ys
            ],
        )
        house.heading(ax, name)
        ax.set_xlabel("step")
    return house.finish(fig, "Mean reward and strict accuracy against step", found)
