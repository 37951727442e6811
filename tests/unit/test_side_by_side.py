"""Work in several processes: all items come, workers end with their parent, and Ctrl-C is heard by
the parent alone."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import worker_tasks

from rlvr_helpers.compare import main
from rlvr_helpers.engine.locks import one_owner
from rlvr_helpers.engine.parallel import side_by_side
from rlvr_helpers.methods import GRPO
from rlvr_helpers.study.comparison import Comparison, run_case
from rlvr_helpers.study.pilot import run_pilot
from rlvr_helpers.study.runs import load_run
from rlvr_helpers.train_settings import TrainSettings

HERE = Path(__file__).parent
LIMIT = 300  # seconds, for a machine that is busy

posix = pytest.mark.skipif(os.name != "posix", reason="sends signals")
slow = pytest.mark.slow


def test_all_items_of_all_tasks_come_in_their_order():
    found = {}
    for number, item in side_by_side(worker_tasks.counts, [3, 0, 2, 1], 2):
        found.setdefault(number, []).append(item)
    assert found == {0: [0, 1, 2], 2: [0, 1], 3: [0]}


@posix
@pytest.mark.parametrize(
    ("work", "said"),
    [
        (worker_tasks.fails, "ValueError: the wrong thing"),
        (worker_tasks.is_killed, "was killed, perhaps for lack of memory"),
        (worker_tasks.leaves, r"ended unexpectedly \(exit code 3\)"),
    ],
)
def test_a_worker_that_fails_or_dies_is_heard(work, said):
    with pytest.raises(RuntimeError, match=said):
        list(side_by_side(work, [0], 1))
    assert not multiprocessing.active_children()


def start(command: list[str], **more) -> subprocess.Popen:
    """A process group of its own, which hears Ctrl-C even if these tests run in the background,
    where nobody does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, *command], start_new_session=True, text=True, **more
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(what: Callable):
    """What it gives as soon as it gives something."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.01)
    pytest.fail("it did not come")


def workers_of(parent: subprocess.Popen, count: int) -> list[psutil.Process]:
    """The workers of a process, as soon as there are so many."""

    def found():
        children = psutil.Process(parent.pid).children()
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        return workers if len(workers) == count else None

    return wait_for(found)


@slow
@posix
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(kill):
    parent = start([str(HERE / "worker_tasks.py")], stdout=subprocess.PIPE)
    try:
        assert parent.stdout.readline() == "begun\n"
        parent.send_signal(kill)
        killed = time.monotonic()
        # until nobody holds the pipe any more, the workers neither
        parent.communicate(timeout=LIMIT)
        assert time.monotonic() - killed < 10
        assert parent.returncode == -kill
    finally:
        end_group(parent)


@slow
@posix
def test_workers_that_still_import_end_with_their_parent():
    parent = start(
        [str(HERE / "worker_tasks.py")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        workers_of(parent, count=4)
        parent.kill()
        parent.communicate(timeout=LIMIT)
    finally:
        end_group(parent)


def end_group(parent: subprocess.Popen) -> None:
    try:
        os.killpg(parent.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    parent.wait()


SMALL = [
    "--set",
    "prompts_per_step=4",
    "--set",
    "group_size=4",
    "--set",
    "minibatches=2",
    "--set",
    "max_tokens=16",
]
COMMAND = [
    "-m",
    "rlvr_helpers.compare",
    "--methods",
    "grpo",
    "--seeds",
    "2",
    "--workers",
    "2",
    "--eval-count",
    "4",
]
COMMAND += SMALL


@slow
@posix
@pytest.mark.parametrize(("seconds", "presses"), [(0.0, 1), (0.5, 2), (2.0, 1)])
def test_ctrl_c_while_workers_start(tmp_path, seconds, presses):
    """The terminal sends it to the whole group, also to workers that still import torch."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    parent = start([*COMMAND, "--steps", "500", "--out", str(tmp_path)], **pipes)
    try:
        workers_of(parent, count=2)
        time.sleep(seconds)
        for _ in range(presses):
            os.killpg(parent.pid, signal.SIGINT)
            time.sleep(0.2)
        said = parent.communicate(timeout=LIMIT)[1]
    finally:
        end_group(parent)
    assert parent.returncode == 130, said
    assert said.count("stopped; ") == 1 and "Traceback" not in said and "memory" not in said, said


@posix
def test_ctrl_c_while_the_command_imports_torch_prints_nothing(tmp_path):
    (tmp_path / "torch.py").write_text(
        "print('importing', flush=True)\nimport time\ntime.sleep(60)"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    first = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    parent = start(COMMAND, env=os.environ | {"PYTHONPATH": first}, **pipes)
    try:
        assert parent.stdout.readline() == "importing\n"
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.communicate(timeout=LIMIT)[1] == ""
    finally:
        end_group(parent)
    assert parent.returncode == -signal.SIGINT


def with_rate(rate: float, out: Path, steps: int) -> list[str]:
    usual = ["--methods", "grpo", "--seeds", "1", "--workers", "1", "--eval-count", "4", *SMALL]
    return [*usual, "--steps", str(steps), "--set", f"learning_rate={rate}", "--out", str(out)]


@slow
@posix
def test_a_run_has_one_owner_until_that_ends_or_is_killed(tmp_path, capsys):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = start(["-m", "rlvr_helpers.compare", *with_rate(1e-4, tmp_path, steps=5000)], **quiet)
    try:
        wait_for(lambda: (tmp_path / "grpo-seed0" / "checkpoint" / "checkpoint.pt").exists())
        assert main(with_rate(2e-4, tmp_path, steps=1)) == 2
        assert "another command is at work in 'grpo-seed0'" in capsys.readouterr().err
        assert main(with_rate(1e-4, tmp_path, steps=1)) == 2, "the same command twice"
        assert "another command is at work in 'grpo-seed0'" in capsys.readouterr().err
    finally:
        end_group(first)
    assert main(with_rate(2e-4, tmp_path, steps=1)) == 2
    assert "holds a run with learning_rate" in capsys.readouterr().err


@slow
@posix
def test_of_two_commands_at_once_one_gets_the_new_folder(tmp_path):
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    rates = (1e-4, 2e-4)
    both = [
        start(["-m", "rlvr_helpers.compare", *with_rate(rate, tmp_path, steps=2)], **pipes)
        for rate in rates
    ]
    said = [process.communicate(timeout=LIMIT)[1] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2], said
    refused = said[codes.index(2)]
    assert "another command is at work" in refused or "holds a run with" in refused
    run = load_run(tmp_path / "grpo-seed0" / "run.json")
    assert len(run.records) == 2 and run.settings.learning_rate == rates[codes.index(0)]


def test_a_pilot_has_one_owner_too(tmp_path):
    comparison = Comparison("nowhere", out=tmp_path, calibrate=True)
    with one_owner(tmp_path), pytest.raises(ValueError, match="another command is at work"):
        run_pilot(comparison)


def test_a_finished_run_is_read_back_while_another_command_holds_its_folder(tmp_path):
    settings = TrainSettings(steps=1, prompts_per_step=2, group_size=2, minibatches=1, max_tokens=4)
    task = (Comparison(settings=settings, eval_count=2, out=tmp_path), GRPO, 0)
    list(run_case(task))
    with one_owner(tmp_path / "grpo-seed0"):
        (record, read_back), run = run_case(task)
    assert read_back and run.records == [record]
