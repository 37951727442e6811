"""The stress sweep: decisive runs first, and a sweep that was stopped continues."""

import itertools
import json

import pytest

from rlvr_helpers.lessons.l09_train_all_three.experiment import ARMS, SEEDS, Cell, recorded_stress
from rlvr_helpers.tools.record_stress import from_another_start, main, plan, record

FOUND = {"accuracy": [0.1, 0.2], "seconds": 1.0}


def test_the_decisive_runs_come_first_and_seed_after_seed():
    cells = list(plan())
    first = cells[: len(SEEDS) * len(ARMS)]
    assert {cell.updates for cell in first} == {32} and {cell.rate for cell in first} == {1}
    assert set(first) == {Cell(arm, seed=seed) for arm in ARMS for seed in SEEDS}
    assert [cell.arm for cell in first[: len(ARMS)]] == list(ARMS)
    close = [cell for cell in first if cell.arm == "GSPO"]
    assert [cell.seed for cell in close] == list(SEEDS)


def test_a_cell_says_what_differs_from_the_usual_run():
    settings = Cell("GSPO", updates=64, rate=2, max_tokens=128, seed=7).settings
    assert settings.epochs * settings.minibatches == 64
    assert (settings.learning_rate, settings.max_tokens, settings.seed) == (1e-4, 128, 7)


def test_a_stopped_sweep_continues_with_what_is_missing(tmp_path):
    path = tmp_path / "runs.jsonl"
    cells = [Cell("GRPO", seed=seed) for seed in range(4)]
    asked = []

    def run(cell):
        asked.append(cell)
        return FOUND

    list(itertools.islice(record(path, cells, run, command="sweep"), 2))
    list(record(path, cells, run, command="sweep"))
    assert asked == cells and list(recorded_stress(path)) == cells
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = "".join("p" if "provenance" in row else "r" for row in rows)
    assert kinds == "prrprr"


def test_a_finished_sweep_appends_nothing(tmp_path):
    path = tmp_path / "runs.jsonl"
    list(record(path, [Cell("GRPO")], lambda cell: FOUND, command="sweep"))
    before = path.read_text()
    assert list(record(path, [Cell("GRPO")], lambda cell: FOUND, command="sweep")) == []
    assert path.read_text() == before


def test_a_second_start_model_has_a_name_of_its_own(tmp_path, monkeypatch, capsys):
    given = ["record_stress", "--out", str(tmp_path / "runs.jsonl"), "--start", "second/tiny"]
    monkeypatch.setattr("sys.argv", given)
    with pytest.raises(SystemExit):
        main()
    assert "rename the folder" in capsys.readouterr().err
    assert not (tmp_path / "runs.jsonl").exists()


def test_every_recorded_run_is_one_of_the_plans():
    planned = {*plan(), *from_another_start("second")}
    assert set(recorded_stress()) <= planned
    assert set(from_another_start("second")) <= set(recorded_stress())
