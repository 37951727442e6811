"""The explorer of lesson 03: how far to step."""

from collections.abc import Sequence

import ipywidgets
from matplotlib.figure import Figure

from rlvr_helpers.kit.recorded import four_rollouts
from rlvr_helpers.lessons.l03_policy_gradient.experiment import (
    StepResult,
    line_search,
    sample_answers,
    surrogate_gradient,
    surrogate_slope,
)
from rlvr_helpers.lessons.l03_policy_gradient.figures import step_panels
from rlvr_helpers.models import load_policy
from rlvr_helpers.widgets.explorer import Explorer


def step_size(search: Sequence[StepResult] | None = None, slope: float = 0.0) -> Explorer:
    """Step size against improvement, on four arms and on `tiny`.

    search: results of `line_search`, the first at step 0; slope: the gain that the surrogate
    predicts for a step of length 1. Without them a short search is made (some seconds).
    """
    if search is None:
        search, slope = short_search()
    steps = [result.step for result in search]
    rates = [result.rate for result in search]

    def draw(step: float, chance: float) -> Figure:
        return step_panels(chance, step, steps, rates=rates, slope=slope)

    first = min(steps[1:], key=lambda step: abs(step - 0.01))
    return Explorer(
        draw,
        step=ipywidgets.SelectionSlider(
            options=[(f"{step:g}", step) for step in steps[1:]],
            value=first,
            description="length of the step",
        ),
        chance=ipywidgets.FloatSlider(
            0.2,
            min=0.02,
            max=0.9,
            step=0.02,
            readout_format=".2f",
            description="four arms: chance at first",
        ),
    )


def short_search(count: int = 64) -> tuple[list[StepResult], float]:
    """A coarse line search along the gradient on the problem of the four rollouts, and the
    predicted slope."""
    policy = load_policy("tiny")
    four = four_rollouts()
    rollout, rewards = sample_answers(policy, four.prompt, four.answer, count=count, seed=0)
    gradient = surrogate_gradient(policy, rollout, rewards - rewards.mean())
    direction = gradient / gradient.norm()
    slope = surrogate_slope(policy, rollout, rewards - rewards.mean(), direction=direction).value
    return (
        list(
            line_search(
                policy,
                four.prompt,
                four.answer,
                direction=direction,
                steps=(0, 0.003, 0.01, 0.03, 0.1),
                count=count,
            )
        ),
        slope,
    )
