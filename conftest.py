"""For all tests: notebooks train `tiny`, whatever GPU and models a machine has."""

import os

os.environ["RLVR_MODEL"] = "tiny"
