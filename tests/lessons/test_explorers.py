"""Every explorer of every lesson, driven over its controls: it draws, keeps its size, says in words
what it shows, resets.

An explorer is a function in a lesson's room that needs no argument and is annotated to return an
`Explorer`; all are found by themselves. ipywidgets swallows exceptions of callbacks, so here the
callbacks are called directly.
"""

import importlib
import inspect
import itertools
import pkgutil
import random
import re
import statistics
import time

import ipywidgets
import pytest
from matplotlib.figure import Figure

from rlvr_helpers import lessons, plots
from rlvr_helpers.plots import house
from rlvr_helpers.widgets import Explorer
from rlvr_helpers.widgets.explorer import answers_at_once

MOST_POSITIONS = 60  # of one control; both ends and the first value are always among them
COMBINATIONS = 40
SECONDS = 0.150  # within which a slider answers; measured as CPU time, since the machine is shared
WIDGET = "application/vnd.jupyter.widget-view+json"
HOSTILE = [
    "",
    "x",
    "<b>&amp;</b>",
    "<answer>",
    "<answer> 1 </answer> <answer> 2 </answer>",
    "9" * 400,
    "½ ² ٣",
    "a" * 5000,
]


def find_explorers():
    found = {}
    for module in pkgutil.walk_packages(lessons.__path__, f"{lessons.__name__}."):
        module = importlib.import_module(module.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if (
                function.__module__ == module.__name__
                and inspect.signature(function).return_annotation is Explorer
            ):
                found[f"{module.__name__.split('.')[2]}.{name}"] = function
    return found


EXPLORERS = find_explorers()


@pytest.fixture(scope="module")
def explorer(request, made={}):  # noqa: B006
    """The explorer of this name, made once."""
    name = request.param
    if name not in made:
        made[name] = EXPLORERS[name]()
    return made[name]


each = pytest.mark.parametrize("explorer", EXPLORERS, indirect=True)


def positions(control) -> list:
    """What a control can be set to; long ranges are thinned out evenly, and keep their ends."""
    if isinstance(control, (ipywidgets.Text, ipywidgets.Textarea)):
        return [control.value, *HOSTILE]
    if isinstance(control, (ipywidgets.Checkbox, ipywidgets.ToggleButton)):
        return [True, False]
    if isinstance(control, ipywidgets.FloatLogSlider):
        count = round((control.max - control.min) / control.step)
        exponents = [control.min + i * control.step for i in thinned(range(count + 1))]
        return [control.base**exponent for exponent in exponents]
    if hasattr(control, "options"):
        return thinned(
            [option[1] if isinstance(option, tuple) else option for option in control.options]
        )
    if isinstance(control, (ipywidgets.IntRangeSlider, ipywidgets.FloatRangeSlider)):
        middle = (control.min + control.max) / 2
        ends = [
            (control.min, control.max),
            (control.min, control.min),
            (control.max, control.max),
            (middle, middle),
        ]
        return [tuple(map(type(control.min), pair)) for pair in ends]
    count = round((control.max - control.min) / control.step)
    return [control.min + i * control.step for i in thinned(range(count + 1))]


def thinned(values) -> list:
    values = list(values)
    if len(values) <= MOST_POSITIONS:
        return values
    return [
        values[round(i * (len(values) - 1) / (MOST_POSITIONS - 1))] for i in range(MOST_POSITIONS)
    ]


def size(picture) -> tuple[str, str]:
    return re.search(r'width="(\d+)" height="(\d+)"', picture.html).groups()


def assert_drawn(explorer, first_size) -> None:
    assert size(explorer.picture) == first_size, explorer.values
    assert len(explorer.picture.text) > 40, explorer.values
    assert "nan" not in re.findall(r"[a-z]+", explorer.picture.text.lower()), (
        explorer.values,
        explorer.picture.text,
    )
    assert explorer.image.value == explorer.picture.html


@each
def test_every_position_of_every_control(explorer):
    explorer.reset()
    first_size, first = size(explorer.picture), explorer.picture.html
    for name, control in explorer.controls.items():
        changed = False
        for position in positions(control):
            explorer.reset()
            control.value = position  # as a reader's move does, through the callback
            assert_drawn(explorer, first_size)
            changed |= explorer.picture.html != first
        assert changed, f"{name} changes nothing"
    explorer.reset()
    assert explorer.picture.html == first


@each
def test_combinations_of_extremes(explorer):
    explorer.reset()
    first_size = size(explorer.picture)
    ends = {
        name: [(p := positions(control))[0], p[-1]] for name, control in explorer.controls.items()
    }
    corners = list(itertools.product(*ends.values()))
    for corner in random.Random(0).sample(corners, min(COMBINATIONS, len(corners))):
        explorer.set(**dict(zip(ends, corner, strict=True)))
        assert_drawn(explorer, first_size)
    explorer.reset()


@each
def test_it_answers_at_once(explorer):
    explorer.reset()
    explorer.update()
    times = []
    for control in explorer.controls.values():
        for position in positions(control)[:8]:
            explorer.reset()
            started = time.process_time()
            control.value = position
            times.append(time.process_time() - started)
    explorer.reset()
    assert statistics.median(times) < SECONDS


@each
def test_it_can_be_read_without_widgets_and_used_by_keyboard(explorer):
    bundle = explorer._repr_mimebundle_()
    assert {WIDGET, "text/html", "text/plain"} <= set(bundle)
    assert (
        '<img alt="' in bundle["text/html"]
        or 'role="img"' in bundle["text/html"]
        or "<table" in bundle["text/html"]
    )
    for name, control in explorer.controls.items():
        assert control.description, f"{name} has no label"
        assert not getattr(control, "disabled", False)
    assert explorer.reset_button in explorer.box.children


# --- the class itself


def draw_line(end: int, bend: bool) -> Figure:
    fig, axes = house.figure(2.0, "A line that may bend", title_lines=1)
    axes[0, 0].plot([0, 1, 2], [0, 2 if bend else end / 2, end])
    return house.finish(
        fig, "A line", [f"it ends at {end} and {'bends' if bend else 'does not bend'}"]
    )


def a_line() -> Explorer:
    end = ipywidgets.IntSlider(3, min=0, max=9, description="end")
    return Explorer(draw_line, end=end, bend=ipywidgets.Checkbox(False, description="bend"))


def test_a_move_draws_and_reset_takes_it_back():
    explorer = a_line()
    first = explorer.image.value
    explorer.controls["end"].value = 7
    assert "ends at 7" in explorer.picture.text and explorer.image.value != first
    explorer.controls["bend"].value = True
    assert "and bends" in explorer.picture.text
    explorer.reset_button.click()
    assert explorer.values == {"end": 3, "bend": False} and explorer.image.value == first


def test_a_callback_that_raises_is_seen_by_these_tests():
    def draw(end):
        if end > 5:
            raise ZeroDivisionError
        return draw_line(end, False)

    explorer = Explorer(draw, end=ipywidgets.IntSlider(3, min=0, max=9, description="end"))
    with pytest.raises(ZeroDivisionError):
        explorer.controls["end"].value = 6


def test_several_values_are_set_with_one_drawing():
    drawn = []

    def draw(**values):
        drawn.append(values)
        return plots.Picture('<img alt="" width="1" height="1">', "nothing")

    explorer = Explorer(draw, a=ipywidgets.IntSlider(1), b=ipywidgets.IntSlider(2))
    explorer.set(a=5, b=6)
    assert drawn == [{"a": 1, "b": 2}, {"a": 5, "b": 6}]


def test_what_a_reader_does_is_left_to_the_thread_that_jupyterlab_chose():
    """ipykernel 7.4 notes in a control's comm which thread published last; no control of ours keeps
    that note."""

    class Comm:
        def __init__(self):
            self._reply_subshell_id = None

    class Control:
        def __init__(self):
            self.comm = Comm()

    first, second = Control(), Control()
    answers_at_once(first, second)
    assert vars(first.comm) == vars(second.comm) == {}
    # without such a note, and without a kernel: nothing to do
    answers_at_once(first, ipywidgets.Button())
