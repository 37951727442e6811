"""Records in TensorBoard and trackio. Both are extras: each test needs its package."""

from dataclasses import replace

import pytest
from small_policies import make_tiny, some_problems

from rlvr_helpers.compare import main
from rlvr_helpers.methods import GRPO
from rlvr_helpers.study import trackers
from rlvr_helpers.study.trackers import TensorBoard, Trackio, numbers_of, tracked
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

SMALL = TrainSettings(
    steps=3, prompts_per_step=4, group_size=4, minibatches=2, max_tokens=6, eval_every=2
)


def words(completion, problem):
    return {"correct": float(len(completion) % 2), "words": len(completion.split())}


def run():
    problems = some_problems()
    return train(make_tiny(), problems, GRPO, SMALL, scorer=words, eval_problems=problems[:2])


def test_what_was_not_measured_is_left_out():
    record = next(run())
    numbers = numbers_of(replace(record, kl=None))
    assert "kl" not in numbers and "eval/accuracy" not in numbers
    assert numbers["parts/words"] == pytest.approx(record.parts["words"])


def test_a_tracker_is_told_every_record_and_closed_when_the_reader_stops():
    told = []

    class Tracker:
        def __call__(self, name, record):
            told.append((name, record.step))

        def close(self):
            told.append("closed")

    for record in tracked(run(), Tracker(), name="mine"):
        if record.step == 2:
            break
    assert told[:2] == [("mine", 1), ("mine", 2)]
    list(tracked(run(), Tracker()))
    assert told[-1] == "closed" and told.count("closed") == 2


def test_tensorboard_holds_every_number(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    records = list(tracked(run(), TensorBoard(tmp_path), name="mine"))
    board = EventAccumulator(str(tmp_path / "mine")).Reload()
    assert [event.step for event in board.Scalars("reward_mean")] == [1, 2, 3]
    for record, event in zip(records, board.Scalars("parts/words"), strict=True):
        assert event.value == pytest.approx(record.parts["words"])
    assert [event.step for event in board.Scalars("eval/accuracy")] == [2, 3]


def test_trackio_holds_every_number(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    trackio = pytest.importorskip("trackio")
    records = list(tracked(run(), Trackio("course"), name="mine"))
    logged = trackio.Api().runs("course")
    assert [one.name for one in logged] == ["mine"] and len(records) == 3


def test_a_command_with_a_tracker(tmp_path, capsys):
    pytest.importorskip("tensorboard")
    small = ["prompts_per_step=4", "group_size=4", "minibatches=2", "max_tokens=12"]
    command = ["--methods", "grpo", "--seeds", "1", "--steps", "1", "--eval-count", "4"]
    command += [word for pair in small for word in ("--set", pair)]
    assert main([*command, "--track", "tensorboard", "--out", str(tmp_path)]) == 0
    assert list((tmp_path / "board" / "GRPO seed 0").glob("events*"))


def test_a_tracker_that_is_not_installed_says_so():
    with pytest.raises(ValueError, match="not installed: pip install nonesuch"):
        trackers._installed("no_such_module_here", "nonesuch")
