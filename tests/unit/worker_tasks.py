"""Work for the processes of test_side_by_side.py, which import it anew, and a parent that a test
can kill."""

import os
import signal
import time

LARGE = "x" * 10_000_000  # more than a pipe holds


def counts(task):
    yield from range(task)


def sleeps(task):
    """A step that takes for ever."""
    yield "begun"
    time.sleep(3600)


def computes(task):
    """One call that never comes back to Python."""
    import torch

    yield "begun"
    a = torch.rand(2000, 2000)
    while True:
        a = torch.linalg.svd(a).U


def floods(task):
    """More than the parent reads: at the end of the task the worker waits for its queue."""
    yield "begun"
    for _ in range(20):
        yield LARGE
    time.sleep(0.5)


def takes_no_notice(task):
    """A worker that swallows every error."""
    yield "begun"
    while True:
        try:
            time.sleep(0.1)
        except BaseException:
            pass


def fails(task):
    yield "begun"
    raise ValueError("the wrong thing")


def is_killed(task):
    yield "begun"
    time.sleep(0.5)  # until that is sent
    os.kill(os.getpid(), signal.SIGKILL)


def leaves(task):
    yield "begun"
    time.sleep(0.5)
    os._exit(3)


STUBBORN = [sleeps, computes, floods, takes_no_notice]


def stubborn(number):
    """One of four ways not to end."""
    yield from STUBBORN[number](None)


def main() -> None:
    from rlvr_helpers.engine.parallel import side_by_side

    begun = 0
    for _, item in side_by_side(stubborn, list(range(len(STUBBORN))), len(STUBBORN)):
        begun += item == "begun"
        if begun == len(STUBBORN):
            print("begun", flush=True)
            time.sleep(3600)  # reads no more


if __name__ == "__main__":
    main()
