"""The comparison, its table and its files, on the tiny model at a small size."""

import multiprocessing
from dataclasses import replace

import pytest

from rlvr_helpers.compare import Comparison, calibrate_clip_range, exceeded_by, load_trained, main, run_comparison
from rlvr_helpers.methods import GRPO, GSPO
from rlvr_helpers.records import BINS, Distribution
from rlvr_helpers.runs import load_run
from rlvr_helpers.tables import format_differences, format_table, paired_differences, table_rows
from rlvr_helpers.training import TrainSettings

SMALL = TrainSettings(steps=2, prompts_per_step=4, group_size=4, minibatches=2, max_tokens=24, eval_every=1)


def small(out=None, **more) -> Comparison:
    return Comparison(methods=(GRPO, GSPO), seeds=(0, 1), settings=SMALL, eval_count=8, out=out, **more)


def finish(comparison: Comparison) -> dict:
    results = {}
    for _ in run_comparison(comparison, results):
        pass
    return results


def test_methods_of_a_seed_share_start_problems_and_noise():
    results = finish(small())
    for seed in (0, 1):
        a, b = results["GRPO"][seed], results["GSPO"][seed]
        assert a.start == b.start
        assert a.records[0].reward_mean == b.records[0].reward_mean
        assert a.records[0].tokens == b.records[0].tokens
    assert results["GRPO"][0].records[0].tokens != results["GRPO"][1].records[0].tokens


@pytest.mark.slow
def test_a_stopped_comparison_goes_on_and_equals_the_unbroken_one(tmp_path):
    whole = finish(small())
    partial = {}
    for progress in run_comparison(small(tmp_path), partial):
        if progress.done == 3:  # in the middle of the second run
            break
    assert [len(run.records) for run in partial["GRPO"]] == [2]
    resumed = finish(small(tmp_path))
    for name, runs in whole.items():
        for mine, theirs in zip(resumed[name], runs, strict=True):
            assert mine.final.strict == theirs.final.strict
            assert [r.reward_mean for r in mine.records] == pytest.approx(
                [r.reward_mean for r in theirs.records], rel=1e-5
            )
    again = list(run_comparison(small(tmp_path), {}))
    assert all(progress.read_back for progress in again)
    start, trained = load_trained(small(tmp_path), GRPO, seed=1)
    assert trained.end_ids == start.end_ids


@pytest.mark.slow
def test_runs_side_by_side_equal_those_one_after_the_other(tmp_path):
    whole, seen = finish(small()), {}
    for progress in run_comparison(small(tmp_path, workers=2), seen):
        assert progress.total == 8
    assert list(seen) == ["GRPO", "GSPO"] and [run.settings.seed for run in seen["GSPO"]] == [0, 1]
    for name, runs in whole.items():
        for mine, theirs in zip(seen[name], runs, strict=True):
            assert mine.final.strict == theirs.final.strict
            assert [r.tokens for r in mine.records] == [r.tokens for r in theirs.records]
    assert all(progress.read_back for progress in run_comparison(small(tmp_path), {}))


@pytest.mark.slow
def test_side_by_side_stops_early_and_goes_on(tmp_path):
    partial = {}
    for progress in run_comparison(small(tmp_path, workers=2), partial):
        if progress.done == 2:
            break
    assert sum(len(run.records) for runs in partial.values() for run in runs) == 2
    assert not multiprocessing.active_children()
    assert len(finish(small(tmp_path, workers=2))["GSPO"]) == 2


@pytest.mark.slow
def test_a_worker_that_fails_is_heard(tmp_path):
    comparison = Comparison("nowhere", methods=(GRPO,), seeds=(0, 1), settings=SMALL, out=tmp_path, workers=2)
    with pytest.raises(RuntimeError, match="ValueError: no model 'nowhere': choose from"):
        finish(comparison)
    assert not multiprocessing.active_children()


def test_a_folder_with_other_settings_is_refused(tmp_path):
    finish(Comparison(methods=(GRPO,), seeds=(0,), settings=SMALL, eval_count=4, out=tmp_path))
    other = Comparison(methods=(GRPO,), seeds=(0,), settings=TrainSettings(steps=1), eval_count=4, out=tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        finish(other)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"reward": "answer_and_tags"}, "reward = 'correctness', not 'answer_and_tags'"),
        ({"faults": ("chat_template",)}, r"faults = \[\], not \['chat_template'\]"),
        ({"eval_count": 3}, "eval_count = 4, not 3"),
        ({"problems": "addition"}, "source = 'tiny', not 'addition'"),
    ],
)
def test_another_experiment_never_goes_on_in_a_run_s_folder(tmp_path, changes, message, ended):
    one = Comparison(methods=(GRPO,), seeds=(0,), settings=SMALL, eval_count=4, out=tmp_path)
    for _ in run_comparison(one, {}):
        if not ended:
            break
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=f"'grpo-seed0' holds a run with {message}: choose another folder"):
        finish(replace(one, **changes))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(finish(one)["GRPO"][0].records) == 2


def test_a_model_that_was_not_trained_yet_is_named(tmp_path):
    with pytest.raises(ValueError, match="no trained model yet"):
        load_trained(small(tmp_path), GRPO)


def test_the_table_and_the_differences_say_what_the_runs_hold():
    results = finish(small())
    rows = table_rows(results)
    assert [(row.method, row.seed) for row in rows] == [("GRPO", 0), ("GRPO", 1), ("GSPO", 0), ("GSPO", 1)]
    assert rows[0].gain == pytest.approx(rows[0].final - rows[0].initial)
    text = format_table(rows)
    assert "Wilson on 8 held-out problems" in text
    points = paired_differences(results)["GRPO - GSPO"]
    assert points == [pytest.approx(rows[i].final - rows[i + 2].final) for i in (0, 1)]
    assert "McNemar" in format_differences(results)


def test_the_command_line_prints_the_table_and_names_bad_input(tmp_path, capsys):
    assert main(["--model", "nowhere", "--out", str(tmp_path)]) == 2
    assert "choose from" in capsys.readouterr().err
    assert main(["--methods", "ppo", "--out", str(tmp_path)]) == 2
    assert "grpo" in capsys.readouterr().err
    arguments = [
        "--methods",
        "grpo",
        "--seeds",
        "1",
        "--steps",
        "1",
        "--eval-count",
        "4",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(arguments) == 0
    assert "GRPO" in capsys.readouterr().out
    assert (tmp_path / "run" / "log.txt").read_text().count("step 1:") == 1
    assert load_run(tmp_path / "run" / "grpo-seed0" / "run.json").settings.steps == 1


def test_the_pilot_measures_a_range_in_the_paper_s_proportion():
    low, high, records = calibrate_clip_range(
        settings=TrainSettings(steps=2, prompts_per_step=8, minibatches=2, seed=1000)
    )
    assert 0 < low < high
    assert high / low == pytest.approx(4 / 3)
    assert all(record.clip_fraction == 0.0 for record in records)


def test_exceeded_by_finds_the_quantile_of_a_known_distribution():
    flat = Distribution(6000, 0.0, 0.577, [], -1.0, 1.0, [100] * BINS)
    assert exceeded_by(flat, 0.30) == pytest.approx(0.70, abs=1e-6)
