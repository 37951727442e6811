"""The comparison, its table and its files, on the tiny model at a small size."""

import json
import multiprocessing
import signal
from dataclasses import replace

import pytest
import torch

from rlvr_helpers.compare import main
from rlvr_helpers.evaluation import Evaluation, mcnemar, wilson_interval
from rlvr_helpers.methods import GRPO, GSPO
from rlvr_helpers.models import load_policy, save_policy
from rlvr_helpers.paths import DATA
from rlvr_helpers.plots.live import dashboard
from rlvr_helpers.problems import load_problems
from rlvr_helpers.records import BINS, Distribution
from rlvr_helpers.study import comparison as runs_of
from rlvr_helpers.study import pilot
from rlvr_helpers.study.comparison import Comparison, load_trained, run_comparison
from rlvr_helpers.study.pilot import calibrate_clip_range, exceeded_by
from rlvr_helpers.study.runs import Run, load_run
from rlvr_helpers.study.tables import (
    format_differences,
    format_table,
    paired_differences,
    table_rows,
)
from rlvr_helpers.train_settings import TrainSettings

SMALL = TrainSettings(
    steps=2, prompts_per_step=4, group_size=4, minibatches=2, max_tokens=24, eval_every=1
)


def small(out=None, **more) -> Comparison:
    return Comparison(
        methods=(GRPO, GSPO), seeds=(0, 1), settings=SMALL, eval_count=8, out=out, **more
    )


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
    comparison = Comparison(
        "nowhere", methods=(GRPO,), seeds=(0, 1), settings=SMALL, out=tmp_path, workers=2
    )
    with pytest.raises(RuntimeError, match="ValueError: no model 'nowhere': choose from"):
        finish(comparison)
    assert not multiprocessing.active_children()


def test_a_folder_with_other_settings_is_refused(tmp_path):
    finish(Comparison(methods=(GRPO,), seeds=(0,), settings=SMALL, eval_count=4, out=tmp_path))
    other = Comparison(
        methods=(GRPO,), seeds=(0,), settings=TrainSettings(steps=1), eval_count=4, out=tmp_path
    )
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
    with pytest.raises(
        ValueError, match=f"'grpo-seed0' holds a run with {message}: choose another folder"
    ):
        finish(replace(one, **changes))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(finish(one)["GRPO"][0].records) == 2


def test_the_start_model_comes_first_and_the_trained_one_from_its_folder(tmp_path):
    policy, tiny = load_policy("tiny"), load_policy("tiny").model.lm_head.weight
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(2)
    save_policy(policy, small(tmp_path).folder(GRPO, 1) / "model")
    start, trained = load_trained(small(tmp_path), GRPO, seed=1)
    assert torch.equal(start.model.lm_head.weight, tiny) and torch.equal(
        trained.model.lm_head.weight, 2 * tiny
    )


def test_a_model_that_was_not_trained_yet_is_named(tmp_path):
    with pytest.raises(ValueError, match="no trained model yet"):
        load_trained(small(tmp_path), GRPO)


def test_the_table_and_the_differences_say_what_the_runs_hold():
    results = finish(small())
    rows = table_rows(results)
    assert [(row.method, row.seed) for row in rows] == [
        ("GRPO", 0),
        ("GRPO", 1),
        ("GSPO", 0),
        ("GSPO", 1),
    ]
    assert rows[0].gain == pytest.approx(rows[0].final - rows[0].initial)
    assert "on 8 held-out problems: Wilson's" in format_table(rows)
    assert "McNemar" in format_differences(results)


def verdicts(strict: int, lenient: int, n: int = 20) -> Evaluation:
    """The first problems are right."""
    return Evaluation(
        [i < strict for i in range(n)],
        [i < lenient for i in range(n)],
        [True] * n,
        [9] * n,
        [False] * n,
    )


def made_up(method, finals: dict[int, tuple[int, int]]) -> list[Run]:
    """Runs of no step but their evaluations: from 2 (leniently 3) of 20 to what is given by
    seed."""
    record = load_run(next((DATA / "runs" / "tiny").glob("*.json"))).records[-1]
    return [
        Run(
            method,
            replace(SMALL, seed=seed),
            [replace(record, start_eval=verdicts(2, 3), eval=verdicts(*end))],
            {},
        )
        for seed, end in finals.items()
    ]


def test_a_row_holds_start_end_and_gain_with_their_intervals():
    (row,) = table_rows({"GRPO": made_up(GRPO, {7: (15, 18)})})
    assert (row.method, row.seed, row.problems) == ("GRPO", 7, 20)
    for share, interval, right in (
        (row.initial, row.initial_interval, 2),
        (row.final, row.final_interval, 15),
        (row.lenient_initial, row.lenient_initial_interval, 3),
        (row.lenient_final, row.lenient_final_interval, 18),
    ):
        assert share == pytest.approx(5 * right)
        assert interval == pytest.approx([100 * end for end in wilson_interval(right, 20)])
    gain = 13 / 22  # none lost, 13 gained, half a problem added to each cell of 20 pairs
    half = 1.959964 * ((14 - 22 * gain**2) ** 0.5) / 22
    assert row.gain == pytest.approx(65) and row.gain_interval == pytest.approx(
        [100 * (gain - half), 100 * (gain + half)]
    )
    text = format_table([row])
    assert (
        "10.0 [ 2.8, 30.1]" in text
        and f"+65.0 [{row.gain_interval[0]:+.1f}" in text
        and "18 of" not in text
    )


def test_differences_are_paired_by_seed_whatever_their_order():
    results = {
        "GRPO": made_up(GRPO, {0: (15, 15), 1: (12, 12)}),
        "GSPO": made_up(GSPO, {1: (18, 18), 0: (14, 14)}),
    }
    assert paired_differences(results) == {
        "GRPO - GSPO": [pytest.approx(5.0), pytest.approx(-30.0)]
    }
    text = format_differences(results)
    p_values = [
        mcnemar(verdicts(a, 0).strict, verdicts(b, 0).strict).p_value
        for a, b in ((15, 14), (12, 18))
    ]
    assert "by seed +5.0, -30.0" in text and ", ".join(f"{p:.2f}" for p in p_values) in text


def test_train_and_held_out_problems_go_where_they_belong():
    seen = []

    def spy(policy, problems, method, settings, *rest, eval_problems=None, **more):
        seen.append((problems, eval_problems))
        return iter(())

    train_set, test_set = load_problems("train"), load_problems("test")
    assert {p.question for p in train_set}.isdisjoint(p.question for p in test_set)
    list(runs_of.run_case((small(), GRPO, 0), trainer=spy))
    with pytest.raises(ValueError, match="no group of the pilot had a signal"):
        pilot.run_pilot(small(), trainer=spy)
    with pytest.raises(ValueError, match="no group of the pilot had a signal"):
        calibrate_clip_range(trainer=spy)
    assert seen == [(train_set, test_set[:8]), (train_set, None), (train_set, None)]
    held_back = runs_of.split_problems(replace(small(), eval_split="train"))
    assert held_back == (train_set[8:], train_set[:8])


@pytest.mark.parametrize(
    "wrong", [["--problems", "/nope"], ["--model", "nowhere"], ["--lora-rank", "-1"]]
)
def test_a_command_that_failed_leaves_its_folder_to_the_corrected_one(tmp_path, wrong, capsys):
    usual = [
        "--methods",
        "grpo",
        "--seeds",
        "1",
        "--steps",
        "1",
        "--eval-count",
        "4",
        "--out",
        str(tmp_path),
    ]
    assert main([*usual, *wrong]) == 2
    assert "error: " in capsys.readouterr().err
    small = [
        "--set",
        "prompts_per_step=4",
        "--set",
        "group_size=4",
        "--set",
        "minibatches=2",
        "--set",
        "max_tokens=16",
    ]
    assert main([*usual, *small]) == 0


def test_ctrl_c_in_a_step_saves_the_steps_before_and_the_one_under_way(
    tmp_path, monkeypatch, capsys
):
    """On a GPU a checkpoint is not written every step."""
    true_step, updates = torch.optim.AdamW.step, []

    def interrupted(*args, **options):
        updates.append(1)
        if len(updates) == 2 * 4 + 1:  # in the third step, of 4 updates each
            signal.raise_signal(signal.SIGINT)
        return true_step(*args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    small = [
        "--set",
        "prompts_per_step=4",
        "--set",
        "group_size=4",
        "--set",
        "minibatches=2",
        "--set",
        "max_tokens=16",
    ]
    usual = [
        "--methods",
        "grpo",
        "--seeds",
        "1",
        "--steps",
        "6",
        "--eval-count",
        "4",
        "--out",
        str(tmp_path),
        *small,
    ]
    usual += ["--set", "checkpoint_every=100", "--set", "track_kl=False"]
    before = signal.getsignal(signal.SIGINT)
    assert main(usual) == 130 and "continues from here" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    updates.extend([1] * 99)
    assert main(usual) == 0
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert [log.count(f"step {step}:") for step in range(1, 7)] == [2, 2, 2, 1, 1, 1], (
        "three steps were read back"
    )


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


# --- run.json, pilot.json and comparison.json, read back ------------------------------------------


def changed(**changes):
    return lambda data: data | changes


def record_changed(**changes):
    return lambda data: data | {"records": [data["records"][0] | changes, *data["records"][1:]]}


def of_ratio(data, **changes):
    ratio = data["records"][0]["token_log_ratio"] | changes
    return record_changed(token_log_ratio=ratio)(data)


BAD_RUNS = {
    "no records": changed(records=[]),
    "null for the records": changed(records=None),
    "fewer records than steps": lambda data: data | {"records": data["records"][:-1]},
    "more records than steps": (
        lambda data: data | {"records": [*data["records"], data["records"][-1]]}
    ),
    "another order": lambda data: data | {"records": data["records"][::-1]},
    "a record of null": lambda data: data | {"records": [None, *data["records"][1:]]},
    "a number of null": record_changed(reward_mean=None),
    "NaN": record_changed(loss=float("nan")),
    "infinity": record_changed(loss=float("inf")),
    "an evaluation without verdicts": record_changed(
        eval={"strict": [], "lenient": [], "formatted": [], "lengths": [], "truncated": []}
    ),
    "a number beyond all floats": record_changed(loss=10**400),
    "a count beyond all floats": record_changed(tokens=10**400),
    "a method without a name": lambda data: data | {"method": data["method"] | {"name": None}},
    "a clip range in words": lambda data: data | {"method": data["method"] | {"clip_low": "wide"}},
    "no settings": lambda data: {key: value for key, value in data.items() if key != "settings"},
    "no provenance": changed(provenance=None),
    "a distribution without quantiles": lambda data: of_ratio(data, quantiles=[]),
    "a distribution with too few bins": lambda data: of_ratio(data, counts=[1]),
    "null": lambda data: None,
    "a list": lambda data: [data],
}


@pytest.mark.parametrize("spoil", BAD_RUNS.values(), ids=BAD_RUNS.keys())
def test_a_file_that_is_no_run_is_one_clear_error(tmp_path, spoil):
    data = json.loads(next((DATA / "runs" / "tiny").glob("*.json")).read_text(encoding="utf-8"))
    (tmp_path / "run.json").write_text(json.dumps(spoil(data)), encoding="utf-8")
    with pytest.raises(ValueError, match="^run.json in the folder .*: move it away") as caught:
        load_run(tmp_path / "run.json")
    assert str(tmp_path) not in str(caught.value)


def test_a_folder_in_the_place_of_a_run_is_one_clear_error(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(ValueError, match="^run.json in the folder .*: move it away") as caught:
        load_run(tmp_path / "run.json")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["pilot.json", "grpo-seed0/run.json", "grpo-seed0/comparison.json"]
)
def test_a_file_nested_too_deep_ends_the_command_with_one_clear_error(tmp_path, name, capsys):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("[" * 200_000)
    pilot = ["--calibrate"] if name == "pilot.json" else []
    assert (
        main(
            ["--methods", "grpo", "--seeds", "1", "--workers", "1", "--out", str(tmp_path), *pilot]
        )
        == 2
    )
    said = capsys.readouterr().err
    assert (
        f"error: {name.split('/')[-1]} in the folder" in said
        and "nested too deep" in said
        and "Traceback" not in said
    )


# --- what a comparison leaves on the disk, and what a stopped one has -----------------------------


def names(folder) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*.pt")}


def test_a_checkpoint_is_removed_once_its_run_is_saved_and_the_start_model_once_all_are(tmp_path):
    comparison = replace(small(tmp_path), seeds=(0,))
    seen = [(progress.done, names(tmp_path)) for progress in run_comparison(comparison, {})]
    one, other = "grpo-seed0/checkpoint/checkpoint.pt", "gspo-seed0/checkpoint/checkpoint.pt"
    assert seen == [(done, {"start.pt", one if done <= 2 else other}) for done in (1, 2, 3, 4)]
    assert not names(tmp_path) and len(list(tmp_path.glob("*/run.json"))) == 2
    assert not list(tmp_path.glob("*/checkpoint"))


def test_a_command_that_is_killed_before_it_removes_the_checkpoint_loses_nothing(tmp_path):
    comparison = replace(small(tmp_path), methods=(GRPO,), seeds=(0,))
    finish(comparison)
    # What a kill after the run was saved leaves behind.
    checkpoint = tmp_path / "grpo-seed0" / "checkpoint" / "checkpoint.pt"
    checkpoint.parent.mkdir()
    for file in (checkpoint, tmp_path / "start.pt"):
        file.write_bytes(b"left behind")
    assert all(progress.read_back for progress in run_comparison(comparison, {}))
    assert not names(tmp_path)


def test_a_stopped_run_s_last_checkpoint_can_be_tried(tmp_path):
    for progress in run_comparison(small(tmp_path), {}):
        if progress.done == 1:
            break
    file = tmp_path / "grpo-seed0" / "checkpoint" / "checkpoint.pt"
    state = torch.load(file)
    # of a step without a signal the weights are those of the start
    state["model"]["lm_head.weight"] *= 2
    torch.save(state, file)
    with pytest.warns(
        UserWarning, match="GRPO with seed 0 was stopped: this is its model after step 1"
    ):
        start, trained = load_trained(small(tmp_path), GRPO, seed=0)
    assert all(
        torch.equal(value, state["model"][name])
        for name, value in trained.model.state_dict().items()
    )
    assert trained.end_ids == start.end_ids
    assert torch.equal(2 * start.model.lm_head.weight, trained.model.lm_head.weight)
    with pytest.raises(ValueError, match="GSPO with seed 0 has no trained model yet"):
        load_trained(small(tmp_path), GSPO, seed=0)


# --- a comparison that was stopped ----------------------------------------------------------------


def recorded(cuts: dict[str, dict[int, int]]) -> dict[str, list[Run]]:
    """The recorded runs of these methods and seeds, each stopped after so many steps of 32."""
    runs = [load_run(file) for file in sorted((DATA / "runs" / "tiny").glob("*.json"))]
    by_name = {name: [run for run in runs if run.method.name == name] for name in cuts}
    return {
        name: [
            replace(r, records=r.records[: seeds[r.settings.seed]])
            for r in by_name[name]
            if r.settings.seed in seeds
        ]
        for name, seeds in cuts.items()
    }


def test_stopped_runs_are_marked_and_are_not_compared_with_an_untrained_model():
    results = recorded({"GRPO": {0: 14}, "Dr. GRPO": {0: 8}, "GSPO": {0: 3}})
    rows = table_rows(results)
    assert [(row.step, row.done, row.steps, row.stopped) for row in rows] == [
        (10, 14, 32, True),
        (5, 8, 32, True),
        (0, 3, 32, True),
    ]
    text = format_table(rows)
    assert (
        "* GRPO, seed 0: stopped after 14 of 32 steps; its final figures are those after step 10."
        in text
    )
    assert "* GSPO, seed 0: stopped after 3 of 32 steps; not evaluated since it began." in text
    assert "+0.0" not in text and text.count("no run has ended") == 3
    assert format_differences(results).startswith("No differences")
    assert not any(paired_differences(results).values())


def test_differences_are_taken_at_the_last_step_that_all_have():
    results = recorded({"GRPO": {0: 14, 1: 32}, "Dr. GRPO": {0: 32, 1: 9}, "GSPO": {0: 6, 1: 32}})
    points = paired_differences(results)
    at_5 = {name: [run.records[4].eval.accuracy for run in runs] for name, runs in results.items()}
    for pair, found in points.items():
        first, second = pair.split(" - ")
        assert found == pytest.approx(
            [100 * (a - b) for a, b in zip(at_5[first], at_5[second], strict=True)]
        )
    text = format_differences(results)
    assert text.startswith(
        "Not all runs have ended: differences after step 5, the last that all have, seeds 0, 1."
    )
    p_values = [line.partition("checkpoint: ")[2] for line in text.splitlines()]
    assert "0.00" not in " ".join(p_values).replace("<0.005", "") and "<0.005" in text


def test_a_seed_that_not_every_method_has_is_left_out():
    results = recorded({"GRPO": {0: 32, 1: 14}, "GSPO": {0: 32, 1: 3}})
    (points,) = paired_differences(results).values()
    assert points == pytest.approx(
        [100 * (results["GRPO"][0].final.accuracy - results["GSPO"][0].final.accuracy)]
    )
    text = format_differences(results)
    assert "after step 32, the last that all have, seeds 0." in text
    assert "(one seed: no statement)" in text and "told apart" not in text


def test_finished_runs_are_compared_at_their_end_without_a_remark():
    results = recorded({name: dict.fromkeys((0, 1, 2), 32) for name in ("GRPO", "GSPO")})
    assert format_differences(results).startswith("GRPO - GSPO") and "*" not in format_table(
        table_rows(results)
    )


def test_nothing_was_evaluated_yet():
    assert (
        format_table(table_rows({"GRPO": [Run(GRPO, SMALL, [], {})]}))
        == "No run has been evaluated yet."
    )
    assert format_differences({"GRPO": [Run(GRPO, SMALL, [], {})]}).startswith("No differences")


@pytest.mark.parametrize("steps, said", [(2, "before training"), (5, "%"), (7, "after step 5")])
def test_the_dashboard_says_of_which_step_the_held_out_accuracy_is(steps, said):
    (run,) = recorded({"GRPO": {0: steps}})["GRPO"]
    title = dashboard(run.records, 32, GRPO)._suptitle
    shown = (
        title.get_text()
        if title
        else " ".join(t.get_text() for t in dashboard(run.records, 32, GRPO).texts)
    )
    assert said in " ".join(shown.split()) and f"step {steps} of 32" in " ".join(shown.split())
