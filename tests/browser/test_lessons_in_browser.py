"""Every lesson in a real JupyterLab: Run All ends without an error, every explorer answers the keyboard, nothing leaves.

Training is short here (RLVR_FAST=1: four steps a run); nbval runs everything in full.
"""

import pytest
from lab import Cell, assert_reads

from rlvr_helpers.course_map import LESSONS

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ENVIRONMENT = {"RLVR_FAST": "1"}
SLIDERS, TOGGLES = "[role=slider]", ".widget-toggle-button:not(.mod-active)"
CONTROLS = f"{TOGGLES}, select, input[type=checkbox], textarea, input[type=text]"


@pytest.mark.parametrize("lesson", LESSONS[:-1], ids=[lesson.name for lesson in LESSONS[:-1]])
def test_a_lesson_runs_and_its_explorers_move(lab, lesson):
    with lab.open(f"{lesson.name}.ipynb") as notebook:
        notebook.run_all(timeout=600)
        assert notebook.errors() == []
        assert all(cell.execution_count for cell in notebook.cells())
        for cell in notebook.cells():
            for picture in cell.pictures():
                assert_reads(picture)
        explorers = [cell for cell in notebook.cells() if "explorer" in cell.tags]
        assert explorers
        for cell in explorers:
            move_every_slider(cell)
        assert notebook.errors() == []
    assert lab.requests_out == []


def move_every_slider(cell: Cell) -> None:
    """Moves each slider of an explorer by keyboard, or where it has none its first toggle: the picture changes and keeps
    its size, and Reset brings it back. Of an explorer with menus and text alone only Reset is pressed (tests/widgets
    drives those over all their values)."""
    sliders, toggle = cell.widget(SLIDERS), cell.widget(TOGGLES)
    assert sliders.count() or cell.widget(CONTROLS).count(), f"nothing to move in {cell.source}"
    first = shown(cell)
    for number in range(sliders.count()):
        handle = sliders.nth(number)
        before = handle.get_attribute("aria-valuenow")
        at_end = before == handle.get_attribute("aria-valuemax")
        handle.press("Home" if at_end else "End")
        cell.notebook.wait_until(
            "([cell, n, old]) => document.querySelectorAll(cell)[n].getAttribute('aria-valuenow') !== old",
            given=[f'.jp-Cell[data-windowed-list-index="{cell.number}"] {SLIDERS}', number, before],
        )
    if not sliders.count() and not toggle.count():
        cell.widget("button", "Reset").click()
        return
    if not sliders.count():
        toggle.first.press("Space")
    moved = cell.wait_for_content(other_than=first[0])
    assert moved[1:] == first[1:], f"the picture of {cell.source} changed its size"
    cell.widget("button", "Reset").click()
    cell.wait_for_content(other_than=moved[0])
    assert shown(cell)[0] == first[0]


def shown(cell: Cell) -> tuple[str, float, float]:
    return cell.wait_for_content(other_than=None)


def test_all_three_methods_train_and_the_problem_box_answers(lab):
    with lab.open("09_train_all_three.ipynb") as notebook:
        notebook.run_all(timeout=900)  # two minutes here, but CI may be slow
        assert notebook.errors() == []
        assert all(cell.execution_count for cell in notebook.cells())
        plots = [cell for cell in notebook.cells() if "plots.show(" in cell.source]
        assert len(plots) >= 6
        for cell in plots:
            assert [assert_reads(picture) for picture in cell.pictures()] == [None], cell.source

        box = notebook.cell("ProblemBox(")
        question = box.widget("textarea")
        assert "start" in box.text() and "trained" in box.text()
        before = box.text()
        question.fill("Tom has 7 coins. He buys 2 bags of 4. How many coins does Tom have now?")
        box.widget("button", "Answer").click()
        box.wait_for_other_text(before)
        assert "cannot read" not in box.text()

        question.fill("Tom has 7 zebras. He buys 2 crates of 4. How many zebras does Tom have now?")
        box.widget("button", "Answer").click()
        assert "zebras" in box.wait_for_text(r"cannot read: ([^)]*)")[1]
        question.fill("")
        box.widget("button", "Answer").click()
        box.wait_for_text("Type a problem first")
    assert lab.requests_out == []
