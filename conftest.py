"""For all tests: notebooks train `tiny`, whatever GPU and models a machine has, and leave the learner's progress alone."""

import os
import tempfile

os.environ["RLVR_MODEL"] = "tiny"
os.environ["RLVR_PROGRESS"] = os.path.join(tempfile.gettempdir(), f"rlvr-progress-{os.getpid()}.json")
os.environ["RLVR_MY_WORK"] = os.path.join(tempfile.gettempdir(), f"rlvr-my-work-{os.getpid()}")
