"""The slider of lesson 00: a first look at a recorded run, and a test that sliders work on this
machine."""

import ipywidgets

from rlvr_helpers.lessons.l00_start_here.figures import run_up_to
from rlvr_helpers.paths import DATA
from rlvr_helpers.study.runs import load_run
from rlvr_helpers.widgets.explorer import Explorer


def run_explorer() -> Explorer:
    """A recorded run of GRPO on `tiny`; the slider goes through its steps."""
    records = load_run(DATA / "runs" / "tiny" / "grpo-seed0.json").records
    step = ipywidgets.IntSlider(0, min=0, max=len(records), description="training step")
    return Explorer(lambda step: run_up_to(records, step), step=step)
