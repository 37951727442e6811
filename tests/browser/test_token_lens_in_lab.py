"""The token lens in JupyterLab: linked to Python, trusted or not, with and without its kernel."""

import nbformat
import pytest
from lab import BUSY
from live import PLACE, THEMES, contrasts, faults_of, frame_times
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import expect

from rlvr_helpers.kit.recorded import recorded_group
from rlvr_helpers.kit.token_lens import token_lens

pytestmark = pytest.mark.browser
ENVIRONMENT = {}
CELL = """\
from rlvr_helpers.kit.recorded import recorded_group
from rlvr_helpers.kit.token_lens import token_lens

lens = token_lens(recorded_group())
lens"""
STATE = "print('state', lens.update, lens.method, lens.token, float(lens.rewards[1]), lens.shows)"


def state(notebook) -> str:
    """What Python knows, once it knows it: the page's last word may still be on its way."""
    cell = notebook.cell(STATE)
    notebook.page.wait_for_timeout(700)
    cell.start()
    notebook.wait()
    return cell.wait_for_text(r"state .*")[0]


@pytest.mark.parametrize("theme", THEMES)
def test_page_and_python_follow_each_other(lab, theme):
    name = lab.write(f"lens {theme}.ipynb", CELL, STATE, "lens.update = 3; lens.method = 'all'")
    with lab.open(name, theme) as notebook:
        faults, page = faults_of(notebook.page), notebook.page
        cell = notebook.cell("token_lens(")
        for _ in range(2):  # run twice: one lens, and it is linked
            cell.start()
            notebook.wait()
        page.get_by_role("listbox").first.wait_for()
        expect(page.get_by_role("slider", name="update")).to_have_count(1)
        assert cell.pictures() == []
        (output,) = cell.outputs()
        assert set(output["data"]) == {"text/html", "text/plain"}
        assert len("".join(output["data"]["text/html"])) <= 150_000
        assert state(notebook) == "state 8 GRPO [0, 1] 0.0 push"
        page.get_by_role("slider", name="update").press("ArrowRight")
        page.get_by_role("option", name="about").first.click()
        cell.widget("[role=option][aria-selected=true]").press("ArrowRight")
        page.get_by_role("button", name="Reward of completion 2").click()
        page.get_by_role("radio", name="GSPO").click()
        assert state(notebook) == "state 9 GSPO [1, 4] 1.0 push"
        notebook.cell("lens.update = 3").start()
        notebook.wait()
        expect(page.get_by_role("slider", name="update")).to_have_attribute(
            "aria-valuetext", "after 3 updates"
        )
        expect(page.get_by_role("radio", name="all three")).to_be_checked()
        assert min(contrasts(page))[0] >= 4.5
        dark = "JupyterLab Light" if "Dark" in theme else "JupyterLab Dark"
        notebook.command("apputils:change-theme", theme=dark)
        page.wait_for_function(
            f"{PLACE}.root.classList.contains('dark') === {str('Dark' in dark).lower()}"
        )
        page.wait_for_timeout(1000)
        assert min(contrasts(page))[0] >= 4.5
        assert faults == [] and notebook.errors() == []
    assert lab.requests_out == []


def test_without_trust_a_picture_and_with_it_a_live_lens_whatever_became_of_the_kernel(lab):
    lens = token_lens(recorded_group())
    output = nbformat.v4.new_output(
        "execute_result", data=lens._repr_mimebundle_(), execution_count=1
    )
    cells = [
        new_markdown_cell("a fresh clone"),
        new_code_cell(CELL, outputs=[output], execution_count=1),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), lab.root / "clone.ipynb")
    with lab.open("clone.ipynb") as notebook:
        cell = notebook.cell("token_lens(")
        (picture,) = cell.pictures()
        assert picture.width > 600 and picture.alt == lens.still.alt
        assert "choose a token" in cell.text() and "function" not in cell.text()
        expect(notebook.page.get_by_role("listbox", name="Completion")).to_have_count(0)
        # The same, trusted and saved, then opened again with a new kernel that knows nothing of it.
        notebook.command("notebook:run-all-cells")
        notebook.page.get_by_role("listbox", name="Completion").first.wait_for()
        notebook.command("docmanager:save")
    with lab.open("clone.ipynb") as notebook:
        faults = faults_of(notebook.page)
        notebook.page.get_by_role("slider", name="update").press("ArrowRight")
        expect(notebook.page.get_by_role("slider", name="update")).to_have_attribute(
            "aria-valuetext", "after 9 updates"
        )
        assert "Error" not in notebook.cell("token_lens(").text() and faults == []


@pytest.mark.slow
def test_frames_while_the_kernel_is_busy(lab):
    name = lab.write("busy.ipynb", CELL, BUSY)
    with lab.open(name) as notebook:
        notebook.cell("token_lens(").start()
        notebook.wait()
        notebook.page.get_by_role("listbox").first.wait_for()
        # What counts is the round that other work on the machine disturbed least.
        moves = "values.set('update', k % 17)"
        with lab.kept_busy(notebook):
            runs = (frame_times(notebook.page, moves) for _ in range(12))
            p95s = ((len(times), times[int(0.95 * len(times))]) for times in runs)
            assert any(drawn >= 100 and p95 <= 4 for drawn, p95 in p95s)
