"""Extras/10: pass@k and its luck from counted answers, the first script's counts, how many problems
and seeds a claim needs, and what choosing and stopping do."""

import itertools
import json

import numpy as np
import pytest

from rlvr_helpers.evaluation import gain_interval, mcnemar, pass_at_k
from rlvr_helpers.kit.recorded import recorded_runs
from rlvr_helpers.lessons.l10_reading_results.exercises import paired_interval
from rlvr_helpers.lessons.l10_reading_results.experiment import (
    KS,
    LOG,
    LOG_PROBLEMS,
    band,
    best_of_equals,
    chosen_and_new,
    correlation,
    curves,
    false_alarms,
    found_with_problems,
    found_with_seeds,
    half_widths,
    neighbours,
    p_values,
    pass_curve,
    problems_needed,
    read_answers,
    recorded_answers,
    seeds_needed,
    shared_counts,
    spread_of_seeds,
    verdicts,
)
from rlvr_helpers.lessons.l10_reading_results.figures import parts_of_gain, pass_curves
from rlvr_helpers.lessons.l10_reading_results.questions import QUIZ
from rlvr_helpers.paths import DATA
from rlvr_helpers.plots import to_svg
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.tools.record_many_answers import counted, working

RUNS = recorded_runs()


# --- pass@k


def test_the_working_is_that_of_the_problem():
    question = "Ida has 6 pens. She buys 3 bags of 2. Tom has 9 pens. She loses 4. She gets 1. How?"
    assert working(question) == "3 x 2 = 6. 6 + 6 = 12. 12 - 4 = 8. 8 + 1 = 9."
    for problem in load_problems("test"):
        assert working(problem.question).endswith(f"= {problem.answer}."), problem.question


def test_answers_are_counted_by_the_course_s_reader():
    problem = Problem("Ida has 2 pens. She gets 2. How many pens does Ida have now?", "4")
    texts = [
        "<reasoning> Let me check. 2 + 2 = 4. </reasoning> <answer> 4 </answer>",
        "<reasoning> It is about 4. </reasoning> <answer> 4 pens </answer>",
        "<reasoning> 2 + 2 = 4. 4 + 1 = 5. </reasoning> <answer> 5 </answer>",
        "2 + 2 = 4.",
        "<answer> 7 </answer>",
    ]
    assert counted(texts, problem, {"4", "5"}) == ({"4": 2, "5": 1}, 1)


def test_the_answers_of_a_problem_are_held_against_all_others():
    rows = [{"4": 3, "5": 1}, {"5": 2}, {"4": 6}]
    found = read_answers(rows, [2, 2, 0], ["4", "5", "4", "9"], samples=10)
    assert found.right.tolist() == [3, 2, 6] and found.worked.tolist() == [2, 2, 0]
    # for the first problem the answers to the second and the third, and so on
    assert found.others.tolist() == [[0, 6], [1, 0], [3, 0]]


def test_a_curve_is_the_unbiased_estimate():
    right = np.array([0, 3, 128])
    found = pass_curve(right, 128)
    wanted = [[pass_at_k(128, count, k) for k in KS] for count in right.tolist()]
    assert found == pytest.approx(np.array(wanted))
    assert pass_curve(np.array([[3, 0], [3, 3]]), 128)[:, 0] == pytest.approx([1.5 / 128, 3 / 128])


def test_a_band_is_about_that_of_the_mean():
    values = np.random.default_rng(1).random((200, 1))
    low, high = band(values)
    half = 1.96 * values.std() / 200**0.5
    assert [low[0], high[0]] == pytest.approx(
        [values.mean() - half, values.mean() + half], abs=4e-3
    )


def test_the_recording_holds_what_the_lesson_shows():
    answers = recorded_answers()
    assert {"start", "GRPO 0"} <= set(answers)
    for each in answers.values():
        assert len(each.right) == 100 and each.samples == KS[-1] == 128
        assert (each.worked <= each.right).all() and each.right.max() <= 128
    start, trained = answers["start"], answers["GRPO 0"]
    assert trained.right.mean() > 5 * start.right.mean()
    found = {name: curve.mean(axis=0) for name, curve in curves(answers).items()}
    luck = found["start, to another problem"]
    assert (luck < found["start"]).all() and luck[-1] > 0.3
    assert (DATA / "rollouts" / "many_answers.json").stat().st_size < 200_000


def test_the_recorded_answers_are_those_of_the_recorded_run():
    data = json.loads((DATA / "rollouts" / "many_answers.json").read_text())
    for seed, run in enumerate(RUNS["GRPO"]):
        if f"GRPO {seed}" in data["models"]:
            first = [record.reward_mean for record in run.records][:3]
            rewards = data["models"][f"GRPO {seed}"]["rewards"][:3]
            assert rewards == pytest.approx(first, rel=1e-3)


# --- the first script


def test_the_log_s_counts_fit_together():
    for log in LOG.values():
        before, after = verdicts(*log.strict, log.gained, LOG_PROBLEMS)
        pair = mcnemar(before, after)
        assert (sum(before), sum(after)) == log.strict and pair.only_second == log.gained
        assert len(before) == len(after) == LOG_PROBLEMS and log.had <= log.gained


def test_p_values_go_from_no_losses_to_as_many_as_fit():
    assert p_values(180, 190, 200) == pytest.approx((2 / 2**10, 0.0987), abs=1e-4)
    assert p_values(36, 36, 50) == (1.0, 1.0)
    found = [
        mcnemar([True] * 3 + [False] * 2, order).p_value
        for order in itertools.product([False, True], repeat=5)
        if sum(order) == 2
    ]
    assert p_values(3, 2, 5) == (min(found), max(found))


# --- paired and unpaired


def test_half_widths_are_those_of_two_textbook_formulas():
    first, second = [True] * 6 + [False] * 4, [True] * 8 + [False] * 2
    unpaired, paired = half_widths(first, second)
    assert unpaired == pytest.approx(1.96 * ((0.24 + 0.16) / 9) ** 0.5, rel=1e-4)
    low, high = paired_interval(first, second)
    assert paired == pytest.approx((high - low) / 2, rel=1e-4)


def test_the_exercise_is_near_the_package_s_interval():
    first, second = neighbours(RUNS)[0]
    assert paired_interval(first, second) == pytest.approx(gain_interval(first, second), abs=0.01)


def test_neighbours_are_all_evaluations_of_a_run_in_a_row():
    pairs = neighbours(RUNS)
    runs = sum(RUNS.values(), [])
    assert len(pairs) == sum(len([r for r in run.records if r.eval]) - 1 for run in runs)
    assert pairs[0][1] == pairs[1][0]


# --- how many


@pytest.mark.parametrize("gain", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_so_many_problems_find_the_gain(gain, shared):
    needed = problems_needed(gain, correlation=shared)
    assert 0.77 < found_with_problems(needed, gain, correlation=shared) < 0.88
    assert found_with_problems(needed // 2, gain, correlation=shared) < 0.65


def test_so_many_seeds_find_the_gain():
    for gain, spread in ((0.02, 0.014), (0.05, 0.15), (0.1, 0.15)):
        assert 0.76 < found_with_seeds(seeds_needed(gain, spread), gain, spread) < 0.86


def test_simulated_verdicts_have_the_correlation():
    rng = np.random.default_rng(0)
    both, first, second, neither = shared_counts(1000, 0.05, 0.8, 0.5, rng=rng).mean(axis=0)
    a = np.repeat([1, 1, 0, 0], np.round([both, first, second, neither]).astype(int))
    b = np.repeat([1, 0, 1, 0], np.round([both, first, second, neither]).astype(int))
    assert a.mean() == pytest.approx(0.8, abs=0.01) and b.mean() == pytest.approx(0.85, abs=0.01)
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(0.5, abs=0.01)


def test_what_was_measured_lies_where_the_lesson_takes_it():
    assert 0.3 < correlation(RUNS) < 0.7 and 0.005 < spread_of_seeds(RUNS) < 0.03


# --- choosing and stopping


def test_the_best_of_equals_shows_too_much_and_less_so_if_they_agree():
    one, seven = (best_of_equals(models, 200, 0.8) for models in (1, 7))
    assert one == pytest.approx(0.8, abs=0.003) and 0.83 < seven < 0.845
    assert one < best_of_equals(7, 200, 0.8, correlation=0.5) < seven


def test_what_was_chosen_is_worse_on_new_problems():
    chosen, new = chosen_and_new(RUNS)
    assert 0.003 < chosen - new < 0.03


def test_looking_often_finds_more_differences_that_are_not_there():
    once, often = false_alarms([500]), false_alarms(range(50, 501, 50))
    assert 0.035 < once < 0.065 and often > 2.5 * once


# --- figures and quiz


def test_the_figures_say_their_numbers():
    found = {name: np.linspace(0.1, 0.8, len(KS)) for name in ("start", "trained")}
    bands = {name: np.stack([each - 0.05, each + 0.05]) for name, each in found.items()}
    figure = pass_curves(KS, found, bands)
    assert "start: 10% to 80%" in figure.alt and to_svg(figure)
    figure = parts_of_gain({"GRPO": (4, 27, 5)}, 50)
    assert "GRPO: 4, 27, 5" in figure.alt and to_svg(figure)


def test_what_a_screen_reader_says_of_them_is_short():
    found = curves(recorded_answers())
    means = {name: each.mean(axis=0) for name, each in found.items()}
    bands = {name: np.stack([each, each]) for name, each in means.items()}
    parts = {name: each.parts for name, each in LOG.items()}
    for figure in (pass_curves(KS, means, bands), parts_of_gain(parts, LOG_PROBLEMS)):
        assert len(figure.alt) <= 150, figure.alt


def test_the_quiz_s_numbers_are_computed():
    why = {question.name: [choice.why for choice in question.choices] for question in QUIZ}
    least, most = p_values(180, 190, 200)
    assert f"p = {least:.3f}" in why["what_is_missing"][0]
    assert f"20 gained and 10 lost has p = {most:.2f}" in why["what_is_missing"][0]
    # with the correlation that the recorded runs have
    flattered = 100 * (best_of_equals(7, 200, 0.8, correlation(RUNS)) - 0.8)
    assert f"about {flattered:.0f} points" in why["best_of_seven"][0]
