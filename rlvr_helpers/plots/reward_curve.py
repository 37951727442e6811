"""The dashboard in one panel: the reward of a run so far, and held-out accuracy."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from rlvr_helpers.methods import Method
from rlvr_helpers.plots import house
from rlvr_helpers.records import StepRecord


def reward_curve(
    records: Sequence[StepRecord],
    total_steps: int,
    method: Method | None = None,
    name: str | None = None,
) -> Figure:
    """The mean reward of each step (line) and held-out accuracy (dots). `records` can be empty.

    name: what the title calls the run, by default the method.
    """
    # What there is to show.
    label = name or (method.name if method else "Training")
    step = records[-1].step if records else 0
    now = f"reward {records[-1].reward_mean:.2f}" if records else "waiting for the first step"
    evals = [(0, r.start_eval.accuracy) for r in records[:1] if r.start_eval]
    evals += [(r.step, r.eval.accuracy) for r in records if r.eval]
    title = f"{label}, step {step} of {total_steps}: {now}"

    # The line and the dots.
    fig, axes = house.figure(2.3, title, left=0.5, right=1.6, bottom=0.5, title_lines=1)
    ax = axes[0, 0]
    color = house.color_of(method.name if method and method.name in house.STYLES else "GRPO")
    ax.plot([r.step for r in records], [r.reward_mean for r in records], color=color, lw=1.8)
    for when, accuracy in evals:
        ax.plot([when], [accuracy], "o", color=color, ms=6, clip_on=False)
    ax.set(xlim=(0, max(total_steps, 1)), ylim=(0, 1), xlabel="step")
    ax.set_yticks([0, 0.5, 1])
    ax.xaxis.get_major_locator().set_params(integer=True)
    # The names of both at their right ends.
    ends = [(records[-1].reward_mean, "— reward, practice", color)] if records else []
    ends += [(evals[-1][1], "● correct, held out", color)] if evals else []
    house.name_ends(ax, ends)
    said = [f"held-out accuracy {house.percent(a)} after step {s}" for s, a in evals[-1:]]
    said = said or ["held-out accuracy is not measured"]
    return house.finish(fig, "Training dashboard", said)
