"""Lesson 04: the race and its figures, and the numbers that the lesson names."""

import re

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.exercises import check
from rlvr_helpers.lessons.l04_advantages import experiment as lab
from rlvr_helpers.lessons.l04_advantages import figures
from rlvr_helpers.lessons.l04_advantages.exercises import problem_weight
from rlvr_helpers.lessons.l04_advantages.questions import QUIZ

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


# --- numbers that the lesson names


def test_the_weights_of_problems():
    totals = {right: problem_weight(right, 8, "std") for right in range(1, 8)}
    assert [round(totals[right], 2) for right in (1, 2, 3, 4)] == [4.95, 6.48, 7.24, 7.48]
    assert problem_weight(1, 8, "none") == 1.75 and problem_weight(4, 8, "none") == 4.0
    one, four = (torch.tensor([1.0] * k + [0.0] * (8 - k)).std() for k in (1, 4))
    assert (four / one).item() == pytest.approx(1.51, abs=0.005)


def test_the_quiz_is_answered_by_the_package():
    assert (group_advantages(torch.zeros(1, 8)) == 0).all()
    found = group_advantages(torch.tensor([[1.0] * 7 + [0.0]]))[0]
    assert found[7].item() == pytest.approx(-2.47, abs=0.01)
    assert found[0].item() == pytest.approx(0.35, abs=0.01) and found.abs().argmax() == 7
    rewards = torch.tensor([[1.0, 0.0, 0.5, 0.0]])
    assert torch.equal(group_advantages(rewards + 5, "none"), group_advantages(rewards, "none"))
    whys = [choice.why for question in QUIZ for choice in question.choices if choice.correct]
    assert "-2.47, against +0.35" in whys[1]


WHOLE_BATCH = {
    "one mean for all rows": lambda r, scale="std": (r - r.mean()) / (r.std() + 1e-4),
    "one mean for all rows, nothing divided": lambda r, scale="std": r - r.mean(),
    "the std of all rewards": lambda r, scale="std": (
        (r - r.mean(dim=1, keepdim=True)) / (r.std() + 1e-4)
    ),
}


@pytest.mark.parametrize("mistake", WHOLE_BATCH)
def test_a_mean_or_std_of_the_whole_batch_is_named(mistake, capsys):
    """Also where `scale` and the rounding are not thought of yet."""
    assert check("group_advantages", WHOLE_BATCH[mistake]) is False
    likely = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Likely")]
    assert mistake.split(",")[0] in likely[0]


# --- the race


def test_the_arms_differ_in_what_is_subtracted():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    found = {name: weigh(rewards).tolist() for name, weigh in lab.ARMS.items()}
    assert found["R"] == rewards.tolist()
    assert found["R - mean"] == [[0.5, -0.5, -0.5, 0.5], [-0.25, -0.25, -0.25, 0.75]]
    assert found["R - 10"] == [[-9.0, -10.0, -10.0, -9.0], [-10.0, -10.0, -10.0, -9.0]]


def test_the_recorded_race_is_whole_and_its_arms_begin_alike():
    rates = lab.recorded_race()
    assert list(rates) == list(lab.ARMS)
    assert all([len(run) for run in runs] == [lab.STEPS] * 5 for runs in rates.values())
    assert len({str([run[0] for run in runs]) for runs in rates.values()}) == 1
    assert all(0 <= rate <= 1 for runs in rates.values() for run in runs for rate in run)


@pytest.mark.slow
def test_the_recorded_race_is_real():
    steps = [rate for rate, _ in zip(lab.race("R", seed=0), range(3), strict=False)]
    assert steps == pytest.approx(lab.recorded_race()["R"][0][:3], abs=0.05)


def test_late_is_the_mean_of_the_last_rollouts():
    assert lab.late([[0.9, 0.1, 0.2, 0.3, 0.4], [1.0] * 4]) == pytest.approx([0.25, 1.0])


# --- figures


def test_race_curves_say_the_ends():
    recorded = {"R": [[0.1] * 5, [0.3] * 5], "R - mean": [[0.5] * 5] * 2, "R - 10": [[0.0] * 5] * 2}
    alt = check_figure(figures.race_curves(recorded, {"R": [0.2, 0.3], "R - mean": []}))
    assert "mean of 2 recorded runs: R 20 %, R minus mean 50 %, R minus 10 0 %" in alt
    assert "R: 10 %, 30 % at the end of each run" in alt


def test_no_signal_curves_average_in_windows():
    alt = check_figure(figures.no_signal_curves(RUNS))
    assert "GRPO: 60 %, 15 %" in alt and "GSPO: 60 %, 20 %" in alt
    assert "60 % in the first 4 steps" in alt


@pytest.mark.parametrize(
    "runs", [{}, {"GRPO": []}, {"GRPO": [[]]}, {"GRPO": [[0.5]]}, {"GRPO": [[1.0] * 5, [0.5] * 9]}]
)
def test_no_signal_curves_take_odd_runs(runs):
    check_figure(figures.no_signal_curves(runs))
