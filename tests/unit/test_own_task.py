"""A stranger's task from end to end: three numbers to be sorted, with an own scorer of two parts, an
own method and own problems; by API, by the command line with two workers, and on to TRL."""

import importlib
import importlib.util
import itertools
import json
import random
import sys

import pytest
from small_policies import make_tiny

from rlvr_helpers.compare import main
from rlvr_helpers.evaluation import gain_interval
from rlvr_helpers.methods import method_from_text
from rlvr_helpers.models import save_policy
from rlvr_helpers.study.comparison import Comparison, run_comparison
from rlvr_helpers.study.runs import load_run
from rlvr_helpers.train_settings import TrainSettings

SCORER = '''
"""Three numbers, to be written in order."""


def score(completion, problem):
    words = completion.split()
    wanted = [str(number) for number in sorted(problem["numbers"])]
    in_place = sum(a == b for a, b in zip(words, wanted)) / 3
    return {"correct": words == wanted, "places": in_place - 0.1 * abs(len(words) - 3)}


score.weights = {"places": 1.0}
'''
METHOD = "name=GRPO wide,clip_low=0.3,clip_high=0.4"
SETTINGS = TrainSettings(
    steps=80,
    learning_rate=5e-3,
    warmup_steps=0,
    decay_steps=None,
    max_tokens=5,
    eval_every=40,
    track_kl=False,
)
HELD_OUT = 48
SETS = ["learning_rate", "warmup_steps", "decay_steps", "max_tokens", "eval_every", "track_kl"]


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A folder with problems, a scorer and a start model that knows nothing."""
    folder = tmp_path_factory.mktemp("sorting")
    name = "sorting_of_a_test"
    (folder / f"{name}.py").write_text(SCORER)
    save_policy(make_tiny(), folder / "start")
    rows = [
        {"question": f"{who} {a} {b} {c}", "answer": "in order", "numbers": [a, b, c]}
        for who in ("Ben", "Mia", "He", "She", "Ben has", "Mia has")
        for a, b, c in itertools.permutations(range(1, 5), 3)
    ]
    random.Random(0).shuffle(rows)
    for split, chosen in (("test", rows[:HELD_OUT]), ("train", rows[HELD_OUT:])):
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, chosen)))
    sys.path.append(str(folder))
    yield folder, name
    sys.path.remove(str(folder))


def assert_learnt(run):
    """More than the interval of the gain above the start."""
    low, _ = gain_interval(run.start.strict, run.final.strict)
    assert low > 0, (run.start.accuracy, run.final.accuracy)


@pytest.mark.slow
def test_by_api(task):
    folder, name = task
    comparison = Comparison(
        str(folder / "start"),
        methods=(method_from_text(METHOD),),
        seeds=(0,),
        settings=SETTINGS,
        problems=str(folder),
        eval_count=HELD_OUT,
        scorer=importlib.import_module(name).score,
    )
    results = {}
    list(run_comparison(comparison, results))
    (run,) = results["GRPO wide"]
    assert_learnt(run)
    assert run.records[-1].parts.keys() == {"correct", "places"}
    assert run.records[-1].reading.question in [
        json.loads(line)["question"] for line in (folder / "test.jsonl").read_text().splitlines()
    ]


@pytest.mark.slow
def test_by_command_line_with_two_workers(task, tmp_path, monkeypatch, capsys):
    folder, name = task
    command = ["--model", str(folder / "start"), "--problems", str(folder), "--eval-count", "48"]
    command += ["--scorer", f"{name}:score", "--method", METHOD, "--seeds", "0,1"]
    command += ["--workers", "2", "--out", str(tmp_path), "--steps", str(SETTINGS.steps)]
    for setting in SETS:
        command += ["--set", f"{setting}={getattr(SETTINGS, setting)}"]
    assert main(command) == 0, capsys.readouterr().err
    runs = [load_run(tmp_path / f"grpo_wide-seed{seed}" / "run.json") for seed in (0, 1)]
    assert_learnt(runs[0])
    assert runs[1].records[-1].reward_mean > runs[1].records[0].reward_mean + 0.3


@pytest.mark.slow
def test_on_to_trl(task, tmp_path, capsys):
    if importlib.util.find_spec("trl") is None:
        pytest.skip("TRL is not installed")
    from rlvr_helpers.tools.train_with_trl import main as train_with_trl

    folder, name = task
    command = ["--model", str(folder / "start"), "--problems", str(folder), "--method", METHOD]
    command += ["--scorer", f"{name}:score", "--steps", "3", "--max-tokens", "5"]
    assert train_with_trl([*command, "--out", str(tmp_path)]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "step 3 of 3: reward" in printed and ", places " in printed
    assert (tmp_path / "model").is_dir()
