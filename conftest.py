"""For all tests: notebooks train `tiny`, whatever GPU and models a machine has, and leave the
learner's progress alone.

Test files run side by side (pyproject.toml), so each has one thread: with more, threads of torch
wait for each other.
"""

import os
import tempfile

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["RLVR_MODEL"] = "tiny"
os.environ["RLVR_PROGRESS"] = os.path.join(
    tempfile.gettempdir(), f"rlvr-progress-{os.getpid()}.json"
)
os.environ["RLVR_MY_WORK"] = os.path.join(tempfile.gettempdir(), f"rlvr-my-work-{os.getpid()}")
