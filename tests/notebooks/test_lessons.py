"""Every lesson has the course's shape: its sections, its length, its exercises and slider,
references that exist."""

import ast
import json
import re
import statistics
from pathlib import Path

import nbformat
import pytest

from rlvr_helpers.exercises.core import registry
from rlvr_helpers.kit.course_map import EXTRAS, LESSONS

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
REFERENCES = (NOTEBOOKS / "REFERENCES.md").read_text(encoding="utf-8")
EVERY = LESSONS + EXTRAS
BUILT = [lesson for lesson in EVERY if lesson.number not in ("00", "09")]  # these build something
FIRST, LAST = ["Predict"], ["What people ask", "Recap", "References", "Next"]
MOST_CELLS, MOST_LINES, MEDIAN_LINES, MOST_BYTES = 45, 25, 6, 600_000
MACHINE_PATH = re.compile(r"(?<![\w./~-])/(root|home|work|tmp|opt|Users)/\w")
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf]")
HOURS = (4.0, 7.0)  # what the whole course is to take

each = pytest.mark.parametrize("lesson", EVERY, ids=[lesson.name for lesson in EVERY])
each_built = pytest.mark.parametrize("lesson", BUILT, ids=[lesson.name for lesson in BUILT])


def read(lesson):
    return nbformat.read(NOTEBOOKS / f"{lesson.name}.ipynb", as_version=4)


def prose(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lines(cell) -> int:
    """Lines of a cell that are neither blank nor imports."""
    nodes = [
        node
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    imports = {number for node in nodes for number in range(node.lineno, node.end_lineno + 1)}
    written = enumerate(cell.source.splitlines(), start=1)
    return len([line for number, line in written if line.strip() and number not in imports])


def sections(notebook) -> list[str]:
    return re.findall(r"(?m)^## (.*)$", prose(notebook))


def listed_references() -> set[str]:
    return set(re.findall(r"(?m)^\| ([^|]+?) \|", REFERENCES)) - {"Short name", "---"}


@each
def test_it_opens_with_question_formula_time_and_map(lesson):
    notebook = read(lesson)
    first = notebook.cells[0].source
    assert first.startswith(f"# {lesson.number} {lesson.question}\n")
    assert first.count("$$") == 2
    assert "| Time | Needs | Afterwards you can |" in first
    assert f"{lesson.minutes} minutes" in first
    assert any(f'course_map("{lesson.number}")' in cell.source for cell in code(notebook))


@each
def test_it_has_the_sections_in_order(lesson):
    found = sections(read(lesson))
    assert found[-len(LAST) :] == LAST
    assert found.index("Predict") <= 2 and any(name.startswith("See it") for name in found)
    if lesson in BUILT:
        order = [
            next(i for i, s in enumerate(found) if s.startswith(word))
            for word in ("Predict", "See", "Build")
        ]
        assert order == sorted(order)
        assert any(name.startswith("Exercise") for name in found)
        assert any(name.startswith("Explore") for name in found)


@each
def test_it_is_short(lesson):
    notebook = read(lesson)
    counts = [lines(cell) for cell in code(notebook)]
    assert len(notebook.cells) <= MOST_CELLS
    assert statistics.median(counts) <= MEDIAN_LINES and max(counts) <= MOST_LINES, counts


@each_built
def test_every_exercise_is_checked_and_left_undone(lesson):
    notebook = read(lesson)
    names = [e.name for e in registry().values() if e.lesson == lesson.number]
    checked = {}
    for cell in code(notebook):
        for name, function in re.findall(r'(?m)^check\("(\w+)", (\w+)\)', cell.source):
            checked[name] = "".join(output.get("text", "") for output in cell.outputs)
            assert function == name
    assert 2 <= len(names) <= 4 and sorted(checked) == sorted(names)
    for name, said in checked.items():
        assert said.startswith(f"{name}: not attempted yet"), said
    for name in names:
        exercise = registry()[name]
        about = f"{exercise.minutes} minutes, difficulty {exercise.difficulty} of 3"
        assert about in prose(notebook), f"{name}: {about}"


@each_built
def test_it_has_an_explorer_and_checked_numbers(lesson):
    cells = code(read(lesson))
    assert any("explorer" in cell.metadata.get("tags", []) for cell in cells)
    assert sum("nbval-check-output" in cell.metadata.get("tags", []) for cell in cells) >= 3


@each
def test_its_references_exist(lesson):
    text = prose(read(lesson))
    section = text[text.index("## References") : text.index("## Next")]
    named = re.findall(r"(?m)^\* \*\*(.+?)\*\*", section)
    assert named, "each reference is `* **Short name**, what to read in it`"
    assert not set(named) - listed_references()
    assert not [number for number in re.findall(r"\d{4}\.\d{5}", text) if number not in REFERENCES]


@each
def test_its_prose_and_code_keep_the_house_rules(lesson):
    notebook = read(lesson)
    text = re.sub(r"`[^`]*`|\$[^$]*\$|```.*?```", "", prose(notebook), flags=re.DOTALL)
    assert not EMOJI.search(text)
    assert not re.search(r"!(?!\[)", text), "an exclamation mark"
    for cell in code(notebook):
        assert not re.search(r"(?m)sys\.path|import \*|^[!%]|pyplot|pip install", cell.source), (
            cell.source
        )


@each
def test_its_stored_outputs_are_clean(lesson):
    notebook = read(lesson)
    assert (NOTEBOOKS / f"{lesson.name}.ipynb").stat().st_size < MOST_BYTES
    assert "widgets" not in notebook.metadata
    for cell in code(notebook):
        assert cell.execution_count, f"not run: {cell.source}"
        said = json.dumps(cell.outputs)
        assert not MACHINE_PATH.search(said), cell.source
        assert "widget-view" not in said and '"stderr"' not in said, cell.source


def test_every_next_leads_to_the_lesson_that_follows():
    for lesson, following in zip(LESSONS, LESSONS[1:], strict=False):
        text = prose(read(lesson))
        assert following.name in text[text.index("## Next") :], lesson.name


def test_every_listed_reference_is_used():
    used = "\n".join(prose(read(lesson)) for lesson in EVERY)
    assert not [name for name in listed_references() if f"**{name}**" not in used]


def test_the_course_takes_about_five_hours():
    assert HOURS[0] <= sum(lesson.minutes for lesson in LESSONS) / 60 <= HOURS[1]
    assert [lesson.number for lesson in LESSONS] == [f"{i:02d}" for i in range(len(LESSONS))]
