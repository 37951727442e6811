"""Extras/13: files that are never replaced, a scorer that is tested, and the same runs as a command
and in TRL."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from rlvr_helpers.compare import comparison_of, parser
from rlvr_helpers.exercises import check
from rlvr_helpers.lessons.l13_your_own_task import experiment as own
from rlvr_helpers.lessons.l13_your_own_task.exercises import equation_score
from rlvr_helpers.lessons.l13_your_own_task.questions import QUIZ
from rlvr_helpers.methods import GRPO
from rlvr_helpers.models import load_policy
from rlvr_helpers.problems import load_problems
from rlvr_helpers.study.comparison import Comparison
from rlvr_helpers.tools.train_with_trl import parser as trl_parser
from rlvr_helpers.tools.train_with_trl import read_method, settings_of
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

SCORER = """import re


def score(completion, problem):
    stated = re.findall(r"\\d+ [-+x] \\d+ = \\d+", completion)
    correct = float(stated == [problem["answer"]])
    short = 5 / max(5, len(completion.split()))
    return {"correct": correct, "short": short}


score.weights = {"short": 0.5}
"""
WIDE = replace(GRPO, name="GRPO wide", clip_low=0.4, clip_high=0.4)
SETTINGS = TrainSettings(
    steps=1, prompts_per_step=4, max_tokens=20, eval_every=1, track_kl=False, decay_steps=None
)
ROWS = [
    {
        "question": f"Tom has {a} pens. He wins {b}. How many pens does Tom have now?",
        "answer": f"{a} + {b} = {a + b}",
    }
    for a in (16, 17, 18)
    for b in (2, 3, 4)
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A task's folder with problems and a scorer of its own name, as modules stay imported."""
    monkeypatch.setenv("RLVR_MY_WORK", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "sums"))
    monkeypatch.delitem(sys.modules, "equation_task", raising=False)
    folder = own.folder_for("sums")
    for split, rows in (("test", ROWS[:4]), ("train", ROWS[4:])):
        own.keep(folder / f"{split}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    own.keep(folder / "equation_task.py", SCORER)
    return folder


def comparison_in(folder):
    return Comparison(
        methods=(GRPO, WIDE),
        seeds=(0, 1),
        settings=SETTINGS,
        problems=str(folder),
        eval_count=4,
        scorer=own.from_file(folder),
    )


def test_nothing_is_replaced(folder, capsys):
    file = folder / "test.jsonl"
    capsys.readouterr()
    before = file.read_text()
    own.keep(file, before)
    assert capsys.readouterr().out == "sums/test.jsonl: there already\n"
    own.keep(file, "other")
    assert "it differs. It stays" in capsys.readouterr().out and file.read_text() == before


def test_a_scorer_becomes_a_file_that_says_the_same(folder):
    first = own.from_file(folder)
    text = own.as_module(first)
    found = {}
    exec(text, found)
    for kind, each in own.TEXTS:
        assert found["score"](each, own.PROBLEM) == first(each, own.PROBLEM), kind
    assert found["score"].weights == first.weights == {"short": 0.5}
    assert text == SCORER


def test_the_ten_texts_are_what_they_are_called(folder):
    score = own.from_file(folder)
    assert len(own.TEXTS) == 10
    for kind, text in own.TEXTS:
        assert score(text, own.PROBLEM)["correct"] == (kind == "right"), text
    last = own.pay_table(score).splitlines()[-1]
    # the hole that the lesson is about
    assert last.startswith("hack    0.50") and last.endswith("''")


def test_the_exercise_closes_the_hole():
    for kind, text in own.TEXTS:
        correct, short = equation_score(text, own.PROBLEM.answer)
        assert (correct > 0, short > 0) == (kind == "right", kind == "right")


def test_the_exercise_takes_a_scorers_dict_and_knows_its_mistakes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RLVR_PROGRESS", str(tmp_path / "progress.json"))

    def as_dict(text, answer):
        correct, short = equation_score(text, answer)
        return {"correct": correct, "short": short}

    def with_the_hole(text, answer):
        return as_dict(text, answer) | {"short": 5 / max(5, len(text.split()))}

    assert check("equation_score", as_dict)
    assert not check("equation_score", with_the_hole)
    assert "Likely: `short` pays for an incorrect text too" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [bool, sum])
def test_a_result_of_another_kind_is_said_once(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RLVR_PROGRESS", str(tmp_path / "progress.json"))

    def answer_of(text, answer):
        found = equation_score(text, answer)
        return sum(found) if kind is sum else (bool(found[0]), found[1])

    assert not check("equation_score", answer_of)
    said = capsys.readouterr().out
    assert "in every case, here the first: " in said and len(said.splitlines()) <= 6


def test_the_untrained_model_has_a_signal_under_one_scorer_only(folder, capsys):
    def strict(completion, problem):
        return float(completion.strip(" .") == problem["answer"])

    problems = load_problems("train", folder, numbers=False)
    scorers = {"strict": strict, "score": own.from_file(folder)}
    signal = own.at_start(load_policy("tiny"), problems, scorers)
    assert signal["strict"] == 0 < signal["score"]
    assert "strict  correct: 0.0% of answers, one or more in 0% of groups" in (
        capsys.readouterr().out
    )


def test_groups_that_are_all_wrong_teach_nothing(folder):
    problems = load_problems("train", folder, numbers=False)
    settings = replace(SETTINGS, steps=2)
    records = list(train(load_policy("tiny"), problems, GRPO, settings, scorer=lambda c, p: 0.0))
    assert [record.grad_norm for record in records] == [0.0, 0.0]
    assert [record.no_signal for record in records] == [1.0, 1.0]


def test_the_command_asks_for_the_same_comparison(folder):
    comparison = comparison_in(folder)
    asked = comparison_of(parser().parse_args(own.command_for(comparison)))
    assert replace(asked, out=None) == comparison
    # and not for another one
    assert replace(asked, out=None) != replace(comparison, seeds=(0,))
    assert replace(asked, out=None) != replace(comparison, settings=replace(SETTINGS, steps=2))


def test_the_trl_command_asks_for_the_same_method_and_settings(folder):
    comparison = comparison_in(folder)
    options = trl_parser().parse_args(own.trl_command_for(comparison))
    assert read_method(options.method) == WIDE and settings_of(options) == SETTINGS
    assert options.problems == str(folder) and options.scorer == own.SCORER


def test_what_is_shown_is_the_command(folder):
    words = own.command_for(comparison_in(folder))
    text = own.shown("compare", words, folder)
    assert str(folder) not in text and max(map(len, text.splitlines())) < 100
    typed = shlex.split(text.replace("\\\n", " "))
    assert typed[:3] == ["python", "-m", "rlvr_helpers.compare"]
    assert [str(folder) if word == "." else word for word in typed[3:]] == words


@pytest.mark.slow
def test_the_command_runs_in_the_folder(folder):
    words = own.command_for(comparison_in(folder))
    words = ["." if word == str(folder) else word for word in words]
    command = [sys.executable, "-m", "rlvr_helpers.compare", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "GRPO - GRPO wide" in done.stdout and (folder / "runs" / "table.txt").is_file()


def test_trl_gets_the_same_numbers():
    lines = own.beside_trl(WIDE, SETTINGS).splitlines()
    assert len(lines) == len(own.TRL_NAMES) and all(line.endswith("equal") for line in lines)


def test_without_trl_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(own.importlib.util, "find_spec", lambda name: None)
    own.try_trl(None, [], WIDE, SETTINGS, scorer=None)
    said = capsys.readouterr().out
    assert said.startswith("TRL is not installed, so this run is left out.")


def test_the_quiz_of_two_parts_is_computed():
    question = next(each for each in QUIZ if each.name == "own_two_parts")
    correct = next(choice for choice in question.choices if choice.correct)
    rewards = [0 + 0.5 * 1, 1 + 0.5 * 0.5]
    assert correct.text == f"{rewards[0]} and {rewards[1]}."


def test_a_comparison_that_was_stopped_early_says_nothing():
    assert own.winner({}) == own.winner({"GRPO": []}) == own.UNDECIDED


def test_the_ends_of_a_comparison_are_told_by_seed():
    runs = [SimpleNamespace(final=SimpleNamespace(accuracy=end)) for end in (0.99, 1.0)]
    assert own.ends({"GRPO": runs, "GRPO wide": []}) == "GRPO        99%  100%\nGRPO wide"
