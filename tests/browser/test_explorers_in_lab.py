"""All live explorers in one notebook in JupyterLab: untrusted, run twice, without their kernel,
beside another notebook, reloaded, and in every theme."""

import nbformat
import pytest
from explorers import CELLS, make
from live import CONTRAST, faults_of
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_lessons_in_browser import move_live

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ENVIRONMENT: dict[str, str] = {}
THEMES = ("JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast")


@pytest.fixture(scope="module")
def clone(lab):
    """Two notebooks with all explorers as a fresh clone has them: outputs that nobody here ran."""
    cells = [new_markdown_cell("a fresh clone")]
    for name, code in CELLS.items():
        bundle = make(name)._repr_mimebundle_()
        output = new_output("execute_result", data=bundle, execution_count=1)
        cells.append(new_code_cell(code, outputs=[output], execution_count=1))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    for file in ("clone.ipynb", "other.ipynb"):
        nbformat.write(new_notebook(cells=cells, metadata=kernel), lab.root / file)
    return "clone.ipynb"


def explorers(notebook):
    return [cell for cell in notebook.cells() if cell.source in CELLS.values()]


def assert_all_live(notebook):
    for cell in explorers(notebook):
        cell.widget("[data-rlvr] .rlvr").first.wait_for()
        assert cell.widget("[data-rlvr] .rlvr").count() == 1 and cell.pictures() == []
        move_live(cell)
        assert "Error" not in cell.text()


def test_a_picture_without_trust_and_live_with_it_whatever_became_of_the_kernel(lab, clone):
    with lab.open(clone) as notebook:
        faults = faults_of(notebook.page)
        for cell in explorers(notebook):
            (picture,) = cell.pictures()
            assert picture.width > 300 and 20 < len(picture.alt) <= 150, cell.source
            assert "function" not in cell.text() and len(cell.text()) > 40, cell.source
        for _ in range(2):
            notebook.run_all()
        assert_all_live(notebook)
        session = "jupyterapp.shell.currentWidget.context.sessionContext.session"
        notebook.page.evaluate(f"{session}.kernel.restart()")
        assert_all_live(notebook)
        notebook.command("docmanager:open", path="other.ipynb")
        pictures = notebook.page.locator(".jp-OutputArea-output img[src^='data:image/svg']")
        pictures.nth(len(CELLS) - 1).wait_for()
        assert notebook.page.locator("[data-rlvr] .rlvr").count() == len(CELLS)
        notebook.page.evaluate(
            "[...jupyterapp.shell.widgets('main')]"
            ".find((one) => one.context?.path === 'other.ipynb').dispose()"
        )
        notebook.wait_until(f"jupyterapp.shell.currentWidget?.context?.path === '{clone}'")
        assert_all_live(notebook)
        assert notebook.errors() == [] and faults == []
        notebook.command("docmanager:save")
    # Trusted now. Its new kernel knows nothing of the explorers.
    with lab.open(clone) as notebook:
        faults = faults_of(notebook.page)
        assert_all_live(notebook)
        assert faults == []
    assert lab.requests_out == []


def test_every_text_can_be_read_in_every_theme(lab, clone):
    with lab.open(clone) as notebook:
        notebook.run_all()
        for theme in THEMES:
            notebook.command("apputils:change-theme", theme=theme)
            notebook.page.wait_for_timeout(500)
            for cell in explorers(notebook):
                root = cell.widget("[data-rlvr]").first.evaluate_handle("place => place.rlvr.root")
                faint = [found for found in root.evaluate(CONTRAST) if found[0] < 4.5]
                assert faint == [], (theme, cell.source)
