"""The clip stage in JupyterLab: linked to Python, trusted or not, with and without its kernel."""

import nbformat
import pytest
from lab import BUSY
from live import THEMES, faults_of
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from test_clip_stage import CLEAR, CONTRASTS, DRIVE

from rlvr_helpers.lessons.l06_clipping.explorer import clip_stage

pytestmark = pytest.mark.browser
ENVIRONMENT: dict[str, str] = {}
CELL = """\
from rlvr_helpers.lessons.l06_clipping.explorer import clip_stage

stage = clip_stage(predicting=False)
stage"""
STATE = "print('state', stage.clip_low, stage.clip_high, stage.update, stage.unit, stage.rule)"


def run(notebook, text: str):
    cell = notebook.cell(text)
    cell.start()
    notebook.wait()
    return cell


@pytest.mark.parametrize("theme", THEMES)
def test_page_and_python_follow_each_other(lab, theme):
    change = "stage.clip_low = 0.02; stage.unit = 'sequence'"
    name = lab.write(f"stage {theme}.ipynb", CELL, STATE, change, BUSY)
    with lab.open(name, theme) as notebook:
        page, faults = notebook.page, faults_of(notebook.page)
        page.set_viewport_size({"width": 1440, "height": 790})
        for _ in range(2):  # run twice: one stage, and it is linked
            cell = run(notebook, CELL)
        page.locator("[data-rlvr] .rlvr").wait_for()
        assert page.locator(".rlvr").count() == 1 and cell.pictures() == []
        assert page.locator(".rlvr").bounding_box()["height"] <= 640
        page.get_by_role("slider", name="Upper edge of the range").press("ArrowRight")
        page.get_by_role("slider", name="Updates").press("ArrowRight")
        page.get_by_role("radio", name="clamp only").click()
        page.wait_for_timeout(700)
        assert run(notebook, STATE).wait_for_text("state.*")[0] == "state 0.2 0.28 9 token clamp"
        run(notebook, change)
        notebook.wait_until(
            "document.querySelector('[data-rlvr]').rlvr.values.get('unit') === 'sequence'"
        )
        low = page.get_by_role("slider", name="Lower edge of the range")
        assert low.get_attribute("aria-valuetext") == "ratio 0.98, epsilon 0.02"
        with lab.kept_busy(notebook):
            frames, _ = page.evaluate(DRIVE, 60)
        assert frames >= 60, "a busy kernel holds nothing up"
        assert {text for text, ratio in page.evaluate(CONTRASTS) if ratio < CLEAR} == set()
        assert faults == [] and notebook.errors() == []
    assert lab.requests_out == []


def test_without_trust_a_picture_and_with_it_a_live_stage_whatever_became_of_the_kernel(lab):
    stage = clip_stage()
    output = nbformat.v4.new_output(
        "execute_result", data=stage._repr_mimebundle_(), execution_count=1
    )
    cells = [
        new_markdown_cell("a fresh clone"),
        new_code_cell(CELL, outputs=[output], execution_count=1),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), lab.root / "clone.ipynb")
    with lab.open("clone.ipynb") as notebook:
        cell = notebook.cell(CELL)
        (picture,) = cell.pictures()
        assert picture.width > 600 and picture.alt == stage.still.alt
        assert "flat ground" in cell.text() and "function" not in cell.text()
        run(notebook, CELL)
        notebook.page.locator("[data-rlvr] .rlvr").wait_for()
        notebook.command("docmanager:save")
    # trusted now; its new kernel knows nothing of the stage
    with lab.open("clone.ipynb") as notebook:
        faults = faults_of(notebook.page)
        time = notebook.page.get_by_role("slider", name="Updates")
        time.press("ArrowRight")
        assert time.input_value() == "9"
        assert "Error" not in notebook.cell(CELL).text() and faults == []
