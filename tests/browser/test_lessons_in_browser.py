"""Every lesson in a real JupyterLab: Run All ends without an error, every explorer answers the
keyboard, nothing leaves.

Training is short here (RLVR_FAST=1: four steps a run); nbval runs everything in full.
"""

import pytest
from lab import PATIENCE, Cell, assert_reads
from playwright.sync_api import Locator, expect

from rlvr_helpers.kit.course_map import EXTRAS, LESSONS

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ENVIRONMENT = {"RLVR_FAST": "1"}
expect.set_options(timeout=1000 * PATIENCE)
SLIDERS, MENUS, TOGGLES = "[role=slider]", "select", ".widget-toggle-button:not(.mod-active)"


LISTED = LESSONS[:-1] + EXTRAS  # the last lesson has a test of its own


@pytest.mark.parametrize("lesson", LISTED, ids=[lesson.name for lesson in LISTED])
def test_a_lesson_runs_and_its_explorers_move(lab, lesson):
    with lab.open(f"{lesson.name}.ipynb") as notebook:
        notebook.run_all(timeout=600)
        assert notebook.errors() == []
        assert all(cell.execution_count for cell in notebook.cells())
        for cell in notebook.cells():
            for picture in cell.pictures():
                assert_reads(picture)
        explorers = [cell for cell in notebook.cells() if "explorer" in cell.tags]
        assert explorers or lesson in EXTRAS
        for cell in explorers:
            move = move_live if cell.widget("[data-rlvr]").count() else move_by_keyboard
            move(cell)
        assert notebook.errors() == []
    assert lab.requests_out == []


# What a live explorer has, and a key that moves it.
LIVE = [("slider", "End"), ("slider", "Home"), ("radio", "End"), ("radio", "Home")]
LIVE += [("option", "ArrowRight")]


def move_live(cell: Cell) -> None:
    """A key on a slider, a choice or a token of a live explorer changes what it holds."""
    place = cell.widget("[data-rlvr]").first
    read = "place => JSON.stringify(place.rlvr.values.values)"
    before = place.evaluate(read)
    for role, key in LIVE:
        handles = place.get_by_role(role)
        for handle in (handles.first, handles.last):
            if handle.count():
                handle.press(key)
                if place.evaluate(read) != before:
                    return
    raise AssertionError(f"no key moves {cell.source}")


def move_by_keyboard(cell: Cell) -> None:
    """Moves each slider and each menu of an explorer by keyboard, or where it has neither its first
    toggle: the picture changes and keeps its size, and Reset brings it back."""
    sliders, menus, toggles = (cell.widget(kind) for kind in (SLIDERS, MENUS, TOGGLES))
    assert sliders.count() or menus.count() or toggles.count(), f"nothing to move in {cell.source}"
    first = shown(cell)
    for number in range(sliders.count()):
        handle = sliders.nth(number)
        before = handle.get_attribute("aria-valuenow")
        at_end = before == handle.get_attribute("aria-valuemax")
        handle.press("Home" if at_end else "End")
        cell.notebook.wait_until(
            "([cell, n, old]) => document.querySelectorAll(cell)[n].getAttribute('aria-valuenow')"
            " !== old",
            given=[f'.jp-Cell[data-windowed-list-index="{cell.number}"] {SLIDERS}', number, before],
        )
    for menu in menus.all():
        choose_another(cell, menu)
    if not sliders.count() and not menus.count():
        toggles.first.press("Space")
    moved = cell.wait_for_content(other_than=first[0])
    assert moved[1:] == first[1:], f"the picture of {cell.source} changed its size"
    cell.widget("button", "Reset").click()
    cell.wait_for_content_again(first[0])


def choose_another(cell: Cell, menu: Locator) -> None:
    """Opens a menu, goes one down (from the last one up) and chooses. While it is closed an arrow
    key never arrives: JupyterLab binds the arrows of whatever has the focus in a notebook, and
    moves to another cell."""
    before, last = menu.evaluate("menu => [menu.selectedIndex, menu.length - 1]")
    keyboard = cell.notebook.page.keyboard  # an open menu takes all keys
    menu.press("Space")
    expect(menu.and_(cell.widget(":open"))).to_have_count(1)
    keyboard.press("ArrowUp" if before == last else "ArrowDown")
    keyboard.press("Enter")
    expect(menu).not_to_have_js_property("selectedIndex", before)


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
            pictures = cell.pictures()
            assert len(pictures) == cell.source.count("plots.show("), cell.source
            for picture in pictures:
                assert_reads(picture)

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
