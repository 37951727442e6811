"""The GPU session: the whole of it at its small size, and its budget, limits and messages with
stages that do nothing."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rlvr_helpers.study.comparison import Comparison
from rlvr_helpers.study.runs import load_run
from rlvr_helpers.tools import gpu_session, gpu_stages
from rlvr_helpers.tools.gpu_findings import COMMAND, FINDINGS
from rlvr_helpers.tools.gpu_session import STAGES, Stage, main, read_findings, table
from rlvr_helpers.train_settings import TrainSettings

SMALL = TrainSettings(steps=2, prompts_per_step=2, group_size=4, minibatches=2, max_tokens=16)


@pytest.mark.slow
def test_the_whole_session_at_its_small_size(tmp_path):
    out = tmp_path / "gpu"
    command = [
        sys.executable,
        *COMMAND.split()[1:],
        "--quick",
        "--minutes",
        "30",
        "--out",
        str(out),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, timeout=1500)
    shown = done.stdout
    assert done.returncode == 0, shown
    assert [f"  {name}: done" in shown for name in STAGES] == [True] * 4
    assert (out / "table.txt").read_text() in shown
    for said in (
        "100% of its tokens the same",
        "packed",
        "the script's way",
        "GRPO - GSPO",
        "code cells in",
        "GiB",
    ):
        assert said in shown, said
    found = read_findings(out / FINDINGS)
    assert {each["stage"] for each in found} == set(STAGES)
    assert all(
        each["clip_first"] == 0 for each in found if each["what"] == "step" and "clip_first" in each
    )
    runs = [load_run(out / "runs" / f"{name}-seed0.json") for name in ("grpo", "dr_grpo", "gspo")]
    for run in runs:
        assert len(run.records) == run.settings.steps == 2 and run.final.strict
        assert run.provenance["policy"] == "tiny" and str(tmp_path) not in json.dumps(
            run.provenance
        )
    assert sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) < 2_000_000, (
        "nothing large is kept"
    )
    assert "3 methods x" in (out / "09_executed.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--quick", "--stages", "smoke,speed"],
            "there is no stage 'speed'; there are smoke, benchmark, train, notebook",
        ),
        (["--quick", "--minutes", "0"], "--minutes must be above 0"),
        (["--quick", "--minutes", "nan"], "--minutes must be above 0"),
        ([], "there is no CUDA GPU here .*--quick runs every stage"),
    ],
)
def test_what_makes_no_session_is_refused(given, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("RLVR_DEVICE", "")
    with pytest.raises(SystemExit) as ended:
        main([*given, "--out", str(tmp_path / "out")])
    words = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2 and re.search(said, words), words
    assert not (tmp_path / "out").exists()


def test_findings_of_another_session_are_not_written_over(tmp_path, capsys):
    (tmp_path / FINDINGS).write_text("{}")
    with pytest.raises(SystemExit):
        main(["--quick", "--out", str(tmp_path)])
    assert "choose a new folder for --out" in capsys.readouterr().err


@pytest.fixture
def stage(monkeypatch, tmp_path):
    """Runs a stage whose process does nothing but this Python expression."""

    def run(expression: str, left: float = 100.0, least: float = 30.0):
        monkeypatch.setattr(gpu_session, "COMMAND", f"python -c {expression}")
        monkeypatch.setattr(
            gpu_session, "STAGES", {"smoke": Stage(0.5, least, least), "train": Stage(0.5, 50, 50)}
        )
        args = gpu_session.parser().parse_args(["--quick", "--out", str(tmp_path)])
        return gpu_session.run_stage("smoke", ["smoke", "train"], left, args)

    return run


def test_a_stage_has_its_share_of_what_is_left_and_at_least_what_it_needs(stage):
    assert stage("0") | {"seconds": 0} == {"result": "done", "seconds": 0, "limit": 50.0}
    assert stage("0", left=40.0)["limit"] == 30.0
    skipped = stage("0", left=29.0)
    assert skipped == {
        "result": "skipped: 29 s are left and it needs 30",
        "seconds": 0.0,
        "limit": 0.0,
    }
    assert "skipped: 0 s" in stage("0", left=-3.0)["result"]


def test_a_stage_that_fails_says_its_last_line(stage, tmp_path):
    assert (
        stage("raise(SystemExit('out_of_luck'))")["result"]
        == "failed: out_of_luck (smoke.log says more)"
    )
    assert stage("raise(SystemExit(3))")["result"] == "failed: smoke.log is empty"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="processes have no groups here")
def test_a_stage_is_ended_at_its_limit_with_all_that_it_started(stage, tmp_path):
    child = tmp_path / "child"
    sleep = "[__import__('sys').executable,'-c','__import__(\"time\").sleep(600)']"
    started = f"__import__('subprocess').Popen({sleep})"
    wait = f"open('{child}','w').write(str({started}.pid)),__import__('time').sleep(600)"
    began = time.monotonic()
    ended = stage(wait, left=8.0, least=4.0)
    assert ended["result"] == "stopped at its limit of 4 s" and time.monotonic() - began < 60
    number = int(child.read_text())
    for _ in range(100):
        if (
            not Path(f"/proc/{number}").exists()
            or " Z " in Path(f"/proc/{number}/stat").read_text()
        ):
            return
        time.sleep(0.1)
    pytest.fail("what the stage started is still there")


def test_what_the_budget_cannot_hold_is_skipped_and_named(tmp_path, capsys):
    assert main(["--quick", "--minutes", "0.01", "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    for name in STAGES:
        assert f"  {name}: skipped: " in shown
    assert (tmp_path / "table.txt").read_text() in shown


def test_the_table_shows_what_was_found_and_a_line_that_was_cut_off_is_left_out(tmp_path):
    file = tmp_path / FINDINGS
    found = [
        {"stage": "smoke", "what": "machine", "shown": "a GPU"},
        {"stage": "smoke", "what": "step", "seconds": 1},
        {"stage": "smoke", "what": "graph", "shown": "fast\nvery"},
    ]
    file.write_text("\n".join(map(json.dumps, found)) + '\n{"stage": "smo')
    assert read_findings(file) == found and read_findings(tmp_path / "none") == []
    text = table({"smoke": {"result": "done", "seconds": 3.4, "limit": 60}}, found)
    assert text.splitlines() == [
        "a GPU",
        "stage      seconds  limit  result",
        "smoke            3     60  done",
        "",
        "smoke",
        "  graph: fast",
        "    very",
    ]


@pytest.mark.parametrize(
    ("seconds", "seeds", "steps"),
    [(10_000, 3, 40), (301, 3, 27), (121, 3, 9), (101, 2, 12), (51, 1, 12), (10, 1, 2), (-5, 1, 2)],
)
def test_a_budget_holds_few_long_runs_rather_than_many_short_ones(seconds, seeds, steps):
    whole = Comparison("tiny", settings=TrainSettings(steps=40))
    planned = gpu_stages.planned(whole, seconds, step_seconds=1.0, eval_seconds=1.0)
    assert (len(planned.seeds), planned.settings.steps) == (seeds, steps)
    assert planned.settings.eval_every == max(1, steps // 2)


def test_a_comparison_within_seconds_loads_once_and_names_what_it_left_out(tmp_path, monkeypatch):
    loaded, said = [], []
    start = gpu_stages.start_policy
    monkeypatch.setattr(
        gpu_stages, "start_policy", lambda *given: loaded.append(1) or start(*given)
    )
    comparison = Comparison("tiny", seeds=(0,), settings=SMALL, eval_count=4)

    def within(seconds, folder):
        said.clear()
        say = lambda what, shown=None, **figures: said.append((what, shown))  # noqa: E731
        return gpu_stages.compare_within(comparison, seconds, tmp_path / folder, "a command", say)

    results = within(1000, "whole")
    assert len(loaded) == 1 and [len(runs) for runs in results.values()] == [1, 1, 1]
    first = {runs[0].records[0].reward_mean for runs in results.values()}
    assert len(first) == 1, "each run begins with the same weights"
    assert within(0, "none") == {} and len(loaded) == 2
    assert ("time is up", "GRPO with seed 0 after 1 of 2 steps; the rest is left out") in said
    assert not list((tmp_path / "none").iterdir()), "a run that was cut off is no run file"
    kept = [
        load_run(tmp_path / "whole" / f"{name}-seed0.json") for name in ("grpo", "dr_grpo", "gspo")
    ]
    assert [len(run.records) for run in kept] == [2, 2, 2]
