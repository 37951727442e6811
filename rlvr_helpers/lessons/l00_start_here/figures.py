"""The figures of lesson 00: one run of training, as far as a slider has come."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from rlvr_helpers.plots import house
from rlvr_helpers.records import StepRecord


def run_up_to(records: Sequence[StepRecord], step: int) -> Figure:
    """Reward of each rollout (line) and held-out accuracy (dots) of one run, bold up to a step
    (from 0), pale beyond."""
    evals = [(0, r.start_eval.accuracy) for r in records[:1] if r.start_eval]
    evals += [(r.step, r.eval.accuracy) for r in records if r.eval]
    done = [r for r in records if r.step <= step]
    seen = [point for point in evals if point[0] <= step]
    reward = (
        f"{house.percent(done[-1].reward_mean)} of its answers are right"
        if done
        else "nothing is learnt yet"
    )
    fig, axes = house.figure(
        2.6, f"After {step} of {records[-1].step} steps: {reward}", title_lines=1, right=1.35
    )
    ax = axes[0, 0]
    color = house.color_of("GRPO")
    for part, alpha in ((records, 0.3), (done, 1.0)):
        ax.plot(
            [r.step for r in part], [r.reward_mean for r in part], color=color, lw=1.8, alpha=alpha
        )
    ax.plot(*zip(*evals, strict=True), "o", ms=5, mfc="none", mec=color, alpha=0.4, clip_on=False)
    ax.plot(*zip(*seen, strict=True), "o", ms=5, color=color, clip_on=False)
    ax.set(xlim=(0, records[-1].step), ylim=(0, 1), xlabel="step")
    house.percent_axis(ax.yaxis, 0.25)
    ends = [
        ("GRPO", evals[-1][1] + 0.04, "● held out"),
        ("GRPO", records[-1].reward_mean - 0.04, "— practice"),
    ]
    house.spread_labels(ax, ends)
    house.note(
        fig,
        "Practice answers are sampled, with chance in every word; held-out ones are the model's"
        " likeliest words.",
    )
    lines = [f"held-out accuracy at step {s} is {house.percent(share)}" for s, share in seen[-1:]]
    return house.finish(fig, "Share of right answers against training step", lines)
