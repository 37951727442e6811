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
from rlvr_helpers.exercises.questions import predictions, quizzes
from rlvr_helpers.kit.course_map import EXTRAS, LESSONS

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
REFERENCES = (NOTEBOOKS / "REFERENCES.md").read_text(encoding="utf-8")
EVERY = LESSONS + EXTRAS
MOST_CELLS, MOST_LINES, MEDIAN_LINES, MOST_BYTES = 45, 25, 6, 600_000
MACHINE_PATH = re.compile(r"(?<![\w./~-])/(root|home|work|tmp|opt|Users)/\w")
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf]")
HOURS = (4.0, 7.0)  # what the whole course is to take

DEEPER = "Going deeper"
FOR_THE_LOST = "If the next cell does not find `rlvr_helpers`"
CORE_CELLS, DEEPER_CELLS, CORE_WORDS, CORE_LINES = 28, 17, 1200, 70
CELL_WORDS, MEDIAN_WORDS, LONGEST_MINUTES, MEAN_MINUTES = 80, 35, 45, 39
EXERCISE_MINUTES = {1: 6, 2: 10, 3: 15}  # by difficulty
CHECKED = re.compile(r'(?m)^check\("(\w+)", (\w+)\)')

each = pytest.mark.parametrize("lesson", EVERY, ids=[lesson.name for lesson in EVERY])


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


def listed_references() -> set[str]:
    return set(re.findall(r"(?m)^\| ([^|]+?) \|", REFERENCES)) - {"Short name", "---"}


@each
def test_it_is_short(lesson):
    notebook = read(lesson)
    counts = [lines(cell) for cell in code(notebook)]
    assert len(notebook.cells) <= MOST_CELLS
    assert statistics.median(counts) <= MEDIAN_LINES and max(counts) <= MOST_LINES, counts


@each
def test_its_references_exist(lesson):
    text = prose(read(lesson))
    section = text[text.index("## References") :].split("## Next")[0]
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


def core_of(notebook) -> list:
    """The cells before the optional part."""
    starts = [i for i, cell in enumerate(notebook.cells) if cell.source.startswith(f"## {DEEPER}")]
    assert len(starts) == 1, f'one cell starts with "## {DEEPER}"'
    return notebook.cells[: starts[0]]


def words(source: str, tables: bool = True) -> int:
    """Words of a text cell. A formula or a piece of code counts as one, and the line for whoever has
    no package as none."""
    lines = [line for line in source.splitlines() if not line.startswith(FOR_THE_LOST)]
    kept = [line for line in lines if tables or not line.startswith("|")]
    text = re.sub(r"\]\([^)]*\)", "]", "\n".join(kept))
    text = re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", " x ", text, flags=re.DOTALL)
    return len(re.findall(r"[^\W_]+(?:['’.,-][^\W_]+)*", text))


def computed_minutes(core: list) -> float:
    """What the core takes: reading, code, exercises, explorers, questions and waiting."""
    cells = [cell for cell in core if cell.cell_type == "code"]
    source = "\n".join(cell.source for cell in cells)
    read_words = sum(words(cell.source) for cell in core if cell.cell_type == "markdown")
    minutes = read_words / 150 + sum(map(lines, cells)) / 10
    for name, _ in CHECKED.findall(source):
        minutes += EXERCISE_MINUTES[registry()[name].difficulty]
    minutes += 3 * sum("explorer" in cell.metadata.get("tags", []) for cell in cells)
    minutes += len(re.findall(r"(?m)^predict\(", source))
    for lesson in re.findall(r'(?m)^quiz\("(\w+)"\)', source):
        minutes += len(quizzes()[lesson])
    return minutes + sum(cell.metadata.get("waiting_minutes", 0) for cell in cells)


def test_words_are_counted():
    assert words("Two words, `code(x)`, $x + y$ and 3.5 % of [links](a/b c).\n\n| a | b |") == 10
    assert words("| a | b |", tables=False) == 0


@each
def test_its_core_is_short(lesson):
    core = core_of(read(lesson))
    texts = [cell.source for cell in core if cell.cell_type == "markdown"]
    counts = [words(text, tables=False) for text in texts]
    cells = [cell for cell in core if cell.cell_type == "code"]
    assert len(core) <= CORE_CELLS
    assert sum(map(words, texts)) <= CORE_WORDS
    assert statistics.median(counts) <= MEDIAN_WORDS, counts
    assert max(counts) <= CELL_WORDS, texts[counts.index(max(counts))]
    assert sum(map(lines, cells)) <= CORE_LINES
    # an extra may do without an explorer
    explorers = sum("explorer" in cell.metadata.get("tags", []) for cell in cells)
    assert (lesson in LESSONS) <= explorers <= 2


@each
def test_its_core_opens_with_something_to_do(lesson):
    notebook = read(lesson)
    first = notebook.cells[0].source
    assert first.startswith(f"# {lesson.number} {lesson.question}\n") and "$$" not in first
    assert "| Time | Needs | Afterwards you can |" in first
    assert f"{lesson.minutes} minutes" in first
    assert "code" in [cell.cell_type for cell in notebook.cells[1:3]]
    found = re.findall(r"(?m)^## (.*)$", prose(notebook))
    assert found[-4:] == ["Quiz", "Recap", "Next", DEEPER]


@each
def test_its_deeper_part_is_closed_and_says_its_minutes(lesson):
    notebook = read(lesson)
    deeper = notebook.cells[len(core_of(notebook)) :]
    assert len(deeper) <= DEEPER_CELLS
    assert deeper[0].metadata.get("jp-MarkdownHeadingCollapsed") is True
    assert re.search(r"Optional, \d+ minutes", deeper[0].source)
    assert re.findall(r"(?m)^### (.*)$", deeper[-1].source)[-1] == "References"


@each
def test_its_minutes_are_computed(lesson):
    minutes = computed_minutes(core_of(read(lesson)))
    assert abs(lesson.minutes - minutes) <= 1, minutes
    assert lesson.minutes <= LONGEST_MINUTES


def test_the_mean_core_is_short():
    assert statistics.mean(lesson.minutes for lesson in LESSONS) <= MEAN_MINUTES


@each
def test_it_predicts_before_it_reveals_and_ends_in_a_quiz(lesson):
    source = "\n".join(cell.source for cell in code(read(lesson)))
    asked = re.findall(r'(?m)^predict\("(\w+)", None\)', source)
    shown = re.findall(r'\breveal\("(\w+)"', source)
    assert asked and asked == [n for n, p in predictions().items() if p.lesson == lesson.number]
    assert sorted(shown) == sorted(asked)
    for name in asked:
        assert source.index(f'predict("{name}"') < source.index(f'reveal("{name}"')
    if lesson in LESSONS:
        assert f'quiz("{lesson.number}")' in source


@each
def test_its_exercises_are_checked_and_left_undone(lesson):
    notebook = read(lesson)
    in_core = [name for cell in core_of(notebook) for name, _ in CHECKED.findall(cell.source)]
    checked = {}
    for cell in code(notebook):
        for name, function in CHECKED.findall(cell.source):
            checked[name] = "".join(output.get("text", "") for output in cell.outputs)
            assert function == name
    names = [e.name for e in registry().values() if e.lesson == lesson.number]
    assert sorted(checked) == sorted(names)
    assert bool(in_core) == bool(names) and len(in_core) <= 2
    for name, said in checked.items():
        assert said.startswith(f"{name}: not attempted yet"), said


@each
def test_its_cell_ids_are_names(lesson):
    ids = [cell.id for cell in read(lesson).cells]
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) for name in ids), ids
    assert not [name for name in ids if re.fullmatch(r"\w+-\d+", name)]


def test_every_next_leads_to_the_lesson_that_follows():
    for lesson, following in zip(LESSONS, LESSONS[1:], strict=False):
        text = prose(read(lesson))
        assert following.name in text[text.index("## Next") :].split("\n## ")[0], lesson.name


def test_every_listed_reference_is_used():
    used = "\n".join(prose(read(lesson)) for lesson in EVERY)
    assert not [name for name in listed_references() if f"**{name}**" not in used]


def test_the_course_takes_about_five_hours():
    assert HOURS[0] <= sum(lesson.minutes for lesson in LESSONS) / 60 <= HOURS[1]
    assert [lesson.number for lesson in LESSONS] == [f"{i:02d}" for i in range(len(LESSONS))]
