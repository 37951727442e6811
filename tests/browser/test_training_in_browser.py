"""Training as a reader meets it: JupyterLab, a real browser, real clicks. It is shown live, stops,
and loses no picture."""

import re

import pytest
from lab import assert_reads

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ENVIRONMENT: dict[str, str] = {}  # training runs in full here

STEP = r"step (\d+) of (\d+)"
ENDED = r"(Done|Stopped) after (\d+) of (\d+) steps"


def test_start_here_runs_to_its_end_and_shows_training_live(lab):
    with lab.open("00_start_here.ipynb") as notebook:
        notebook.start()
        training = notebook.cell("dashboard.watch")
        first = training.wait_for_picture()
        step = int(training.wait_for_text(STEP)[1])
        second = training.wait_for_picture(other_than=first)
        assert (second.width, second.height) == (first.width, first.height)
        assert int(training.wait_for_text(STEP)[1]) > step
        assert_reads(second)
        notebook.wait()

        assert notebook.errors() == []
        assert all(cell.execution_count for cell in notebook.cells())
        assert re.search(ENDED, training.text()).groups() == ("Done", "20", "20")
        assert training.widget(".jupyter-widgets").count() == 0, (
            "the live picture stays, which needs a kernel"
        )
        for cell in (training, notebook.cell("course_map(")):
            assert_reads(cell.pictures()[0])
    assert lab.requests_out == []


@pytest.mark.parametrize("way", ["the Stop button", "an interrupt of the kernel"])
def test_stopped_training_keeps_what_was_learnt(lab, way):
    with lab.open("00_start_here.ipynb") as notebook:
        notebook.start()
        training = notebook.cell("dashboard.watch")
        at_step = int(training.wait_for_text(r"step ([2-9]) of")[1])
        if way == "the Stop button":
            training.widget("button", "Stop").click()
        else:
            notebook.interrupt()
        ended, steps, of = training.wait_for_text(ENDED).groups()
        notebook.wait()

        assert (ended, of) == ("Stopped", "20")
        assert at_step <= int(steps) <= at_step + 2
        assert notebook.errors() == []
        assert all(cell.execution_count for cell in notebook.cells()), "the later cells did not run"
        assert re.search(r"after_a_minute: it is \d+ %", notebook.cell("end = evaluate").text())
        assert_reads(training.pictures()[0])


SLIDER = """
import ipywidgets
from IPython.display import display
from matplotlib.figure import Figure
from rlvr_helpers import plots

slider, image = ipywidgets.IntSlider(5, 1, 50), ipywidgets.Image()
def draw(change=None):
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot(range(slider.value))
    image.value = plots.to_png(figure)
slider.observe(draw, "value")
draw()
display(slider, image)
"""

TRAINING = """
from rlvr_helpers.methods import GRPO
from rlvr_helpers.models import load_policy
from rlvr_helpers.problems import load_problems
from rlvr_helpers.training import TrainSettings, train

settings, records = TrainSettings(steps=4, prompts_per_step=4), []
for record in train(load_policy("tiny"), load_problems("train"), GRPO, settings):
    records.append(record)
    for _ in range(6):
        display(plots.show(plots.accuracy_curves({"GRPO": [records]})))
"""


def test_a_slider_moved_during_training_loses_no_picture(lab):
    with lab.open(lab.write("slider_while_training.ipynb", SLIDER, TRAINING)) as notebook:
        moving, training = notebook.cell("slider.observe"), notebook.cell("train(")
        moving.start()
        picture = moving.wait_for_picture()
        notebook.wait()
        handle = moving.widget("[role=slider]")
        # from its first answer on the kernel hears a widget while a cell runs
        handle.press("ArrowRight")
        picture = moving.wait_for_picture(other_than=picture)

        training.start()
        training.wait_for_picture()
        answers = 0
        while not notebook.ended():
            handle.press("ArrowRight")
            earlier, picture = picture, moving.wait_for_picture(other_than=picture)
            assert picture.width == earlier.width
            answers += 1
        assert answers >= 3
        assert notebook.errors() == []
        assert len(training.pictures()) == 24
        assert len(moving.pictures()) == 1
