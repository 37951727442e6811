"""How the notebooks are tested.

nbval runs `notebooks/*.ipynb` themselves (see `addopts` and `testpaths` in pyproject.toml): each
code cell is one test, which fails when the cell raises, or when it carries the tag
`nbval-check-output` and gives another output than is stored. This file checks what nbval would pass
over in silence, and that a wrong number really turns red.
"""

import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
RAISES = {"raises-exception", "nbval-raises-exception"}
NBVAL_TAGS = {"nbval-check-output", "nbval-ignore-output", "nbval-skip"} | RAISES


def faults(notebook):
    """(cell number, fault) for everything that would keep nbval from looking at a cell."""
    found = []
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append((None, "the kernel is not python3"))
    for number, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        for tag in tags:
            if "nbval" in tag.lower().replace("_", "") and tag not in NBVAL_TAGS:
                found.append((number, f"nbval does not know the tag {tag!r}"))
        if cell.cell_type != "code":
            if NBVAL_TAGS & set(tags):
                found.append((number, "nbval passes over a cell that is no code"))
            continue
        if "nbval-check-output" in tags:
            if cell.execution_count is None:
                found.append(
                    (number, "its output is to be checked, but it was not run when stored")
                )
            elif not cell.outputs:
                found.append((number, "its output is to be checked, but none is stored"))
        if not RAISES & set(tags):
            if any(output.output_type == "error" for output in cell.outputs):
                found.append((number, "an error is stored as its output"))
    return found


def code_cell(source, printed=None, tags=(), count=1):
    outputs = [] if printed is None else [new_output("stream", name="stdout", text=printed)]
    return new_code_cell(
        source, outputs=outputs, execution_count=count, metadata={"tags": list(tags)}
    )


COPIES = {".ipynb_checkpoints", "my_work", "runs"}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
CHECK = ["nbval-check-output"]


def test_notebooks_have_no_faults():
    found = {}
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        name = path.relative_to(ROOT)
        if not COPIES & set(name.parts):
            found[str(name)] = faults(nbformat.read(path, as_version=4))
    assert not {name: what for name, what in found.items() if what}


def test_faults_are_found():
    cells = [
        code_cell("print(1)", "1\n", CHECK),
        code_cell("print(1)", "1\n", ["NBVAL_CHECK_OUTPUT"]),
        code_cell("print(1)", "1\n", ["nbval_check_output"]),
        code_cell("print(1)", None, CHECK, count=None),
        code_cell("x = 1", None, CHECK),
        new_code_cell("1 / 0", outputs=[new_output("error", ename="E")], execution_count=1),
    ]
    assert [number for number, _ in faults(new_notebook(cells=cells, metadata=KERNEL))] == [
        1,
        2,
        3,
        4,
        5,
    ]


def run_pytest(notebook_path):
    """pytest on one notebook, with the project's own settings: its exit status and what it said."""
    settings = ["-c", "pyproject.toml", "--rootdir=.", "-p", "no:cacheprovider", "-n0"]
    command = [sys.executable, "-m", "pytest", *settings, str(notebook_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_a_wrong_checked_output_turns_red_and_nothing_else_does(tmp_path):
    cells = [
        code_cell(
            f"import sys\nassert sys.prefix == {sys.prefix!r}, 'the kernel is of another"
            " environment'"
        ),
        code_cell("print(2 + 2)", "4\n", CHECK),
        code_cell("print('took 12.3 s')", "took 0.5 s\n", CHECK),
        code_cell("print(2 + 2)", "5\n"),
        code_cell("print(2 + 2)", "5\n", CHECK),
        code_cell("print(2 + 2)"),
    ]
    path = tmp_path / "checked.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), path)
    status, said = run_pytest(path)
    assert status == 1, said
    assert "1 failed, 5 passed" in said, said
    assert "Cell outputs differ" in said and "Cell 4" in said, said


def test_a_cell_that_raises_turns_red(tmp_path):
    path = tmp_path / "raises.ipynb"
    nbformat.write(new_notebook(cells=[code_cell("1 / 0")], metadata=KERNEL), path)
    status, said = run_pytest(path)
    assert status == 1 and "ZeroDivisionError" in said, said
