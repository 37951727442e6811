"""Lesson 03: its figures draw, say their numbers and take odd input; the weights behind them agree
with slow literal."""

import math
import re

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from rlvr_helpers import widgets
from rlvr_helpers.lessons.l04_advantages import figures
from rlvr_helpers.lessons.l04_advantages.exercises import problem_weight
from rlvr_helpers.lessons.l04_advantages.explorer import eight_rewards, problem_weights

RUNS = {
    "GRPO": [[0.4, 0.6, 0.3, 0.7] + [0.25] * 4, [0.7] * 4 + [0.05] * 4],
    "GSPO": [[0.6] * 4 + [0.2] * 4],
}


def check_figure(figure) -> str:
    """It draws, its texts lie within it, and its alternative text (returned) can be read out."""
    FigureCanvasAgg(figure).draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) >= 0
    assert len(figure.alt) > 20 and not re.search(
        r"\bnan\b|None\b(?! of)|\n|\.\.|\xa0", figure.alt
    ), figure.alt
    return figure.alt


# --- slow reference implementations


def slow_weight(right: int, size: int, divide: bool) -> tuple[float, float]:
    """What R - mean is multiplied by, and the sum of |A|, by loops over one group of 0 and 1."""
    rewards = [1.0] * right + [0.0] * (size - right)
    mean = sum(rewards) / size
    std = math.sqrt(sum((r - mean) ** 2 for r in rewards) / (size - 1))
    multiplier = 1 / (std + 1e-4) if divide else 1.0
    return multiplier, sum(abs(r - mean) * multiplier for r in rewards)


@pytest.mark.parametrize("size", [2, 3, 8, 33])
@pytest.mark.parametrize(("scale", "divide"), [("std", True), ("none", False)])
def test_weights_agree_with_the_reference(size, scale, divide):
    multiplier, total = figures.group_weights(size, scale)
    for right in range(1, size):
        assert (multiplier[right], total[right]) == pytest.approx(slow_weight(right, size, divide))
        assert problem_weight(right, size, scale) == pytest.approx(total[right])
    assert (
        total[0] == total[size] == 0 and math.isnan(multiplier[0]) and math.isnan(multiplier[size])
    )


def test_leave_one_out_is_a_constant_times_none():
    for size in (2, 5, 8):
        (multiplier, total), (_, none) = (
            figures.group_weights(size, "leave_one_out"),
            figures.group_weights(size, "none"),
        )
        assert total == pytest.approx(none * size / (size - 1))
        assert multiplier[1] == pytest.approx(size / (size - 1))


def test_the_numbers_that_the_lesson_names():
    multiplier, total = figures.group_weights(8, "std")
    assert [round(x, 2) for x in multiplier[1:5]] == [2.83, 2.16, 1.93, 1.87]
    assert (round(total[1], 2), round(total[4], 2)) == (4.95, 7.48)
    assert figures.group_weights(8, "none")[1][[1, 4]].tolist() == [1.75, 4.0]
    assert round(multiplier[1] / multiplier[4], 2) == 1.51


# --- figures


def test_bars_say_the_advantages():
    alt = check_figure(figures.advantage_bars([1, 0, 0, 1, 0, 1, 0, 0]))
    assert "3 of 8 right. A right answer gets: GRPO +1.21, Dr. GRPO +0.62, RLOO +0.71" in alt
    assert (
        "right: answer 1, answer 4, answer 6" in alt
        and "GRPO, GSPO: right +1.21, wrong minus 0.72" in alt
    )


@pytest.mark.parametrize("reward", [0, 1])
def test_bars_of_equal_rewards_are_exactly_zero(reward):
    figure = figures.advantage_bars([reward] * 8)
    assert f"All 8 {'right' if reward else 'wrong'}" in check_figure(figure)
    assert {bar.get_height() for bar in figure.axes[0].patches} == {0.0}


def test_bars_have_the_heights_of_the_advantages():
    heights = [bar.get_height() for bar in figures.advantage_bars([1, 0, 0, 0]).axes[0].patches]
    assert heights[4:] == pytest.approx([0.75, -0.25, -0.25, -0.25, 1.0, -1 / 3, -1 / 3, -1 / 3])
    assert heights[:4] == pytest.approx([0.75 / (0.5 + 1e-4)] + [-0.25 / (0.5 + 1e-4)] * 3)


def test_weight_curves_say_the_weights():
    alt = check_figure(figures.problem_weight_curves(8, 0.125))
    assert (
        "GRPO: multiplied by 2.83, total |A| 4.95" in alt
        and "Dr. GRPO: multiplied by 1.00, total |A| 1.75" in alt
    )
    alt = check_figure(figures.problem_weight_curves(8, 0.125, relative=True))
    assert "66 % of its largest weight under GRPO, 44 % under Dr. GRPO" in alt


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3, 64])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_weight_curves_take_every_end(size, share):
    check_figure(figures.problem_weight_curves(size, share))
    check_figure(figures.problem_weight_curves(size, share, relative=True))


def test_no_signal_curves_average_in_windows():
    alt = check_figure(figures.no_signal_curves(RUNS))
    assert "GRPO: 60 %, 15 %" in alt and "GSPO: 60 %, 20 %" in alt
    assert "60 % in the first 4 steps" in alt


@pytest.mark.parametrize(
    "runs", [{}, {"GRPO": []}, {"GRPO": [[]]}, {"GRPO": [[0.5]]}, {"GRPO": [[1.0] * 5, [0.5] * 9]}]
)
def test_no_signal_curves_take_odd_runs(runs):
    check_figure(figures.no_signal_curves(runs))


def test_wasted_samples_are_counted():
    alt = check_figure(figures.wasted_samples([64, 32], [0, 8], 128))
    assert "104 of 256 samples (41 %) taught nothing: 96 in groups all wrong, 8 all right" in alt
    assert "step 2: 32 in groups all wrong, 8 all right" in alt


@pytest.mark.parametrize(("wrong", "right"), [([], []), ([0], [0]), ([128] * 40, [0] * 40)])
def test_wasted_samples_take_odd_runs(wrong, right):
    check_figure(figures.wasted_samples(wrong, right, 128))


# --- explorers


def test_pressing_an_answer_changes_its_reward():
    explorer = eight_rewards()
    assert isinstance(explorer, widgets.Explorer) and "3 of 8 right" in explorer.picture.text
    explorer.controls["answer_8"].value = True
    assert "4 of 8 right" in explorer.picture.text and "answer 8" in explorer.picture.text


def test_the_mark_moves_to_a_problem():
    explorer = problem_weights()
    assert "1 of 8 right" in explorer.picture.text
    explorer.set(group_size=16, share_right=0.5)
    weight = problem_weight(8, 16, "std")
    assert (
        "8 of 16 right" in explorer.picture.text
        and f"total |A| {weight:.2f}" in explorer.picture.text
    )
    assert torch.isfinite(torch.tensor(weight))


def test_a_toggle_says_its_state_in_words():
    toggle = eight_rewards().controls["answer_8"]
    assert toggle.description == "8 wrong"
    toggle.value = True
    assert toggle.description == "8 right"
