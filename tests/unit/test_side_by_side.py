"""Work in several processes: all items come, workers end with their parent, and Ctrl-C is heard by the parent alone."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import worker_tasks

from rlvr_helpers.side_by_side import side_by_side

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
        (worker_tasks.is_killed, "was killed, perhaps for want of memory"),
        (worker_tasks.leaves, r"ended unexpectedly \(exit code 3\)"),
    ],
)
def test_a_worker_that_fails_or_dies_is_heard(work, said):
    with pytest.raises(RuntimeError, match=said):
        list(side_by_side(work, [0], 1))
    assert not multiprocessing.active_children()


def start(command: list[str], **more) -> subprocess.Popen:
    """A process group of its own, which hears Ctrl-C even if these tests run in the background, where nobody does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen([sys.executable, *command], start_new_session=True, text=True, **more)
    finally:
        signal.signal(signal.SIGINT, before)


def workers_of(parent: subprocess.Popen, count: int) -> list[psutil.Process]:
    """The workers of a process, as soon as there are so many."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and parent.poll() is None:
        children = psutil.Process(parent.pid).children()
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        if len(workers) == count:
            return workers
        time.sleep(0.01)
    pytest.fail(f"no {count} workers: {parent.communicate(timeout=LIMIT)}")


@slow
@posix
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(kill):
    parent = start([str(HERE / "worker_tasks.py")], stdout=subprocess.PIPE)
    try:
        assert parent.stdout.readline() == "begun\n"
        parent.send_signal(kill)
        killed = time.monotonic()
        parent.communicate(timeout=LIMIT)  # until nobody holds the pipe any more, the workers neither
        assert time.monotonic() - killed < 10
        assert parent.returncode == -kill
    finally:
        end_group(parent)


@slow
@posix
def test_workers_that_still_import_end_with_their_parent():
    parent = start([str(HERE / "worker_tasks.py")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
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


COMMAND = ["-m", "rlvr_helpers.compare", "--methods", "grpo", "--seeds", "2", "--workers", "2", "--eval-count", "4"]
COMMAND += ["--set", "prompts_per_step=4", "--set", "group_size=4", "--set", "minibatches=2", "--set", "max_tokens=16"]


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
