"""Lesson 09: intervals and their correction, the stress recording, and what the run explorer
shows."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.evaluation import T_95, Reading, t_interval
from rlvr_helpers.kit.recorded import four_rollouts, recorded_runs
from rlvr_helpers.lessons.l09_train_all_three.experiment import (
    ARMS,
    FRESH,
    UNDECIDED,
    Cell,
    corrected_interval,
    differences,
    differences_table,
    intervals_over_time,
    of_arm,
    recorded_stress,
    sweep_table,
    t_quantile,
    winner,
)
from rlvr_helpers.lessons.l09_train_all_three.explorer import (
    QUANTITIES,
    UNIT,
    histogram,
    run_explorer,
)
from rlvr_helpers.lessons.l09_train_all_three.figures import arm_accuracies, stress_curves
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import GRPO, GSPO
from rlvr_helpers.paths import DATA
from rlvr_helpers.plots.histograms import shares_in_bins
from rlvr_helpers.records import Distribution
from rlvr_helpers.rewards import correctness_reward


def made_up(**ends: list[float]) -> dict[Cell, dict]:
    """A recording of GRPO and GSPO with these last accuracies by seed."""
    arms = {"grpo": "GRPO", "gspo": "GSPO"}
    return {
        Cell(arms[name], seed=seed): {"accuracy": [0.1, end], "clipped": [0.1]}
        for name, values in ends.items()
        for seed, end in enumerate(values)
    }


@pytest.mark.parametrize("freedom", range(1, len(T_95) + 1))
def test_the_quantile_of_student_s_distribution(freedom):
    assert t_quantile(0.95, freedom) == pytest.approx(T_95[freedom - 1], abs=1e-3)


def test_the_correction_widens_and_one_test_needs_none():
    values = [3.0, -1.0, 4.0, 1.5]
    assert corrected_interval(values) == pytest.approx(t_interval(values), abs=1e-2)
    _, low, high = corrected_interval(values, 6)
    assert low < corrected_interval(values)[1] and high > corrected_interval(values)[2]


def test_differences_pair_the_seeds_that_both_have():
    recorded = made_up(grpo=[0.2, 0.3, 0.1], gspo=[0.7, 0.6])
    assert differences(recorded, "GSPO", "GRPO") == pytest.approx([50.0, 30.0])
    recorded[Cell("GRPO", updates=8)] = {"accuracy": [0.1, 0.9]}
    assert len(of_arm(recorded, "GRPO")) == 3 and len(of_arm(recorded, "GRPO", updates=8)) == 1


def test_the_table_says_which_pairs_differ():
    far = made_up(grpo=[0.2, 0.21, 0.2, 0.22], gspo=[0.7, 0.72, 0.69, 0.71])
    assert differences_table(far, [("GSPO", "GRPO")]).endswith("differ")
    near = made_up(grpo=[0.2, 0.3, 0.4], gspo=[0.3, 0.2, 0.5])
    assert differences_table(near, [("GSPO", "GRPO")]).endswith("cannot be told apart")


def test_the_recording_holds_what_the_lesson_shows():
    recorded = recorded_stress()
    assert {cell.arm for cell in recorded} <= set(ARMS)
    for run in recorded.values():
        assert len(run["accuracy"]) == len(run["clipped"]) + 1 == 9
        assert all(0 <= share <= 1 for share in run["accuracy"] + run["clipped"])
    starts = {}
    for cell, run in recorded.items():
        starts.setdefault((cell.start, cell.max_tokens), set()).add(run["accuracy"][0])
    assert all(len(found) == 1 for found in starts.values()), starts


def test_the_readme_s_sentence_is_that_of_the_recording():
    recorded = recorded_stress()
    found = corrected_interval(differences(recorded, "GSPO", "GRPO", FRESH), 5)
    readme = (DATA.parent / "README.md").read_text(encoding="utf-8")
    said = "GSPO leads GRPO by {:.0f} points [{:.0f}, {:.0f}] (six fresh seeds".format(*found)
    assert said in readme
    # Beside it: the lead over GRPO at a narrow range, which is sure as well.
    leads = [
        corrected_interval(differences(recorded, "GSPO", arm, FRESH), 5)
        for arm in ("GRPO 0.02/0.03", "GRPO 0.0003/0.0004")
    ]
    assert all(low > 0 for _, low, _ in leads)
    assert f"by {math.floor(min(mean for mean, _, _ in leads))} points or more" in readme
    # And what a second start model says of both.
    there = {"seeds": range(3), "start": "second"}
    for updates, said in (
        (32, "leads by {:.0f} points [{:+.1f}, {:+.1f}] at 32 updates"),
        (64, "{:.0f} points [{:+.1f}, {:+.1f}] at 64 (three seeds each)"),
    ):
        found = differences(recorded, "GSPO", "GRPO", updates=updates, **there)
        assert said.format(*corrected_interval(found)) in readme
    for arm in ("GRPO 0.02/0.03", "GRPO 0.0003/0.0004"):
        mean, _, high = corrected_interval(differences(recorded, arm, "GRPO", **there))
        assert -25 < mean < -20 and high < 0


def test_the_sweep_s_table_has_a_line_per_setting():
    recorded = made_up(grpo=[0.2, 0.3, 0.1], gspo=[0.7, 0.6, 0.8])
    recorded |= {
        Cell(arm, updates=8, start="second", seed=seed): {"accuracy": [0.1, 0.5]}
        for arm in ("GRPO", "GSPO")
        for seed in range(3)
    }
    # One seed of three is no mean beside the others: its place stays empty.
    recorded[Cell("Dr. GRPO")] = {"accuracy": [0.1, 0.9]}
    _, usual, second = sweep_table(recorded).splitlines()
    assert usual.split()[:6] == ["tiny", "64", "32", "1x", "20.0", "70.0"]
    assert usual.split()[6:] == ["+50", "+30", "+70"]
    assert second.split()[:4] == ["second", "64", "8", "1x"]
    assert second.split()[4:] == ["50.0", "50.0", "+0", "+0", "+0"]


def test_three_seeds_give_no_verdict_on_a_line_of_the_sweep():
    recorded = recorded_stress()
    places = {replace(cell, arm="GSPO", seed=0) for cell in recorded if cell.arm == "GSPO"}
    shown = sweep_table(recorded).splitlines()[1:]
    whole = [place for place in places if replace(place, arm="GRPO") in recorded]
    assert len(shown) == len(whole) == 15
    for place in whole:
        where = {name: getattr(place, name) for name in ("start", "max_tokens", "updates", "rate")}
        found = differences(recorded, "GSPO", "GRPO", range(3), **where)
        _, low, high = corrected_interval(found, len(whole))
        assert len(found) == 3 and low < 0 < high


def test_the_lead_grows_with_the_updates_per_rollout_at_the_usual_rate_and_at_twice_it():
    recorded = recorded_stress()
    for rate in (1, 2):
        leads = [
            np.mean(differences(recorded, "GSPO", "GRPO", range(3), updates=updates, rate=rate))
            for updates in (8, 16, 32, 64)
        ]
        assert leads == sorted(leads)


def test_its_figures_say_their_numbers():
    recorded = made_up(grpo=[0.2, 0.3], gspo=[0.7, 0.6])
    arms = {name: list(of_arm(recorded, name).values()) for name in ("GRPO", "GSPO")}
    assert "GSPO: 65 % at the end, mean of 2 seeds" in stress_curves(arms).alt
    assert "GRPO: mean 25 % of 2 seeds" in arm_accuracies(arms).alt


def test_intervals_over_time_are_those_of_each_evaluation():
    results = recorded_runs()
    found = list(intervals_over_time(results, [("GRPO", "GSPO")]))
    assert [step for _, step, _ in found] == [5, 10, 15, 20, 25, 30, 32]
    ends = [
        [100 * run.final.accuracy for run in results[name] if run.final]
        for name in ("GRPO", "GSPO")
    ]
    wanted = t_interval([a - b for a, b in zip(*ends, strict=True)])
    assert found[-1][2] == pytest.approx(wanted, abs=1e-2)


def test_the_winner_must_beat_all_others():
    clear = {"A - B": [9, 10, 11], "A - C": [4, 5, 6], "B - C": [0, 1, -1]}
    assert winner(clear) == "A"
    assert winner(clear | {"A - C": [-4, 5, 6]}) == UNDECIDED
    assert winner({"A - B": [-9, -10, -11]}) == "B"
    assert winner({"A - B": [9.0]}) == winner({}) == UNDECIDED


def test_the_quiz_s_gradients_are_equal_at_ratio_1():
    four = four_rollouts()
    advantages = group_advantages(four.rewards.view(1, 4)).flatten()
    found = []
    for method in (GRPO, GSPO):
        logp = four.logprobs["start"].clone().requires_grad_()
        loss = policy_loss(method, logp, logp.detach(), advantages, four.mask, four.max_tokens).loss
        found += torch.autograd.grad(loss, logp)
    torch.testing.assert_close(*found)


# --- the run explorer


def test_a_histogram_is_that_of_the_package():
    found = Distribution.of([torch.randn(2000, generator=torch.Generator().manual_seed(0)) * 0.05])
    first, *counts = histogram(found, 0.12)
    shares = np.zeros(45)
    shares[first : first + len(counts)] = np.array(counts) * UNIT
    assert shares == pytest.approx(shares_in_bins([found], 0.12), abs=UNIT / 2 + 1e-12)
    assert histogram(None, 0.12) == []


def test_the_explorer_has_every_step_of_every_run():
    results = recorded_runs()
    explorer = run_explorer()
    for method in explorer.data["methods"]:
        for run, shown in zip(results[method["name"]], method["runs"], strict=True):
            assert set(shown["curves"]) == set(QUANTITIES)
            wanted = [None, *(record.reward_mean for record in run.records)]
            assert shown["curves"]["reward_mean"][1:] == pytest.approx(wanted[1:], rel=6e-3)
            assert len(shown["histograms"]["token"]) == len(run.records)
    assert len(json.dumps(explorer.data)) < 150_000


def test_the_recorded_answers_are_judged_by_the_course_s_reward():
    answers = run_explorer().data["answers"]
    for number, problem in enumerate(answers["problems"]):
        for steps in answers["answers"].values():
            for step in steps:
                text = answers["texts"][step[number]]
                correct = step[number] in answers["correct"][number]
                assert correct == (correctness_reward(text, problem["answer"]) == 1.0)


def test_the_recorded_answers_belong_to_the_recorded_runs():
    file = DATA / "rollouts" / "answers.json"
    recorded = json.loads(file.read_text())["rewards"]
    for name, runs in recorded_runs().items():
        first = [record.reward_mean for record in runs[0].records][:3]
        assert recorded[name][:3] == pytest.approx(first, rel=1e-3)


def test_runs_of_your_own_have_no_recorded_answers():
    results = {name: runs[:1] for name, runs in recorded_runs().items()}
    explorer = run_explorer(results)
    assert explorer.data["answers"] is None and explorer.shown == list(results)
    assert math.isfinite(explorer.data["half"]["token"])


def test_readings_of_your_own_runs_are_shown_until_the_next():
    def reading(*texts: str) -> Reading:
        correct = [text == "good" for text in texts]
        return Reading("q?", "4", list(texts), rewards=[float(c) for c in correct], correct=correct)

    results = {}
    for name, runs in recorded_runs().items():
        records = list(runs[0].records[:3])
        records[0] = replace(records[0], start_reading=reading("bad", "worse"))
        records[1] = replace(records[1], reading=reading("good", "bad"))
        results[name] = [replace(runs[0], records=records)]
    answers = run_explorer(results).data["answers"]
    assert len(answers["problems"]) == 2 and answers["sampled"]
    shown = [[answers["texts"][n] for n in step] for step in answers["answers"]["GRPO"]]
    assert shown == [["bad", "worse"], ["bad", "worse"], ["good", "bad"], ["good", "bad"]]
    assert [[answers["texts"][n] for n in each] for each in answers["correct"]] == [["good"], []]
