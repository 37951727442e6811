"""The teacher's page names every lesson once in its table, only sections that exist, and plans that
add up from the lessons' own minutes; the lecture keeps its clock."""

import ast
import re

import nbformat
from test_lessons import LESSONS, NOTEBOOKS, prose

import rlvr_helpers
from rlvr_helpers.exercises.core import registry

PAGE = (NOTEBOOKS / "TEACHING.md").read_text(encoding="utf-8")
LECTURE = nbformat.read(NOTEBOOKS / "lecture.ipynb", as_version=4)
CONTENT = 80  # minutes of the lecture, in a plan of 90


def part(title: str) -> str:
    return PAGE[PAGE.index(f"## {title}") :].split("\n## ")[0]


def minutes(title: str) -> int:
    return sum(map(int, re.findall(r"(?m)^\| (\d+) \|", part(title))))


def kind(cell) -> str:
    return cell.metadata["slideshow"]["slide_type"]


def test_every_lesson_has_a_misconception():
    assert re.findall(r"(?m)^\| (\d\d) \|", part("One misconception per lesson")) == [
        lesson.number for lesson in LESSONS
    ]


def test_the_sections_that_it_names_exist():
    named = re.findall(r'(\d\d), "([^"]+)"', PAGE)
    assert len(named) >= 10
    for number, title in named:
        lesson = next(lesson for lesson in LESSONS if lesson.number == number)
        text = prose(nbformat.read(NOTEBOOKS / f"{lesson.name}.ipynb", as_version=4))
        assert re.search(rf"(?m)^##+ {re.escape(title)}", text), (number, title)


def test_the_plans_add_up():
    assert minutes("A talk of ninety minutes") == 90
    assert minutes("A lab of three hours") == 180
    assert 6.5 <= minutes("One day") / 60 <= 8


def test_a_lesson_has_its_own_minutes_in_every_plan():
    plans = part("A lab of three hours") + part("One day")
    planned = re.findall(r"(?m)^\| (\d+) \| (\d\d)\b", plans)
    assert len(planned) >= 14
    own = {lesson.number: lesson.minutes for lesson in LESSONS}
    assert not [(m, number) for m, number in planned if int(m) != own[number]]


def test_the_lab_has_two_hours_of_work():
    rows = re.findall(r"(?m)^\| (\d+) \| \d\d: .*\| (?:everyone|pairs) \|", part("A lab of three"))
    assert 110 <= sum(map(int, rows)) <= 130


def test_its_exercises_exist():
    named = re.findall(r"`(\w+)`", part("One day"))
    assert named and set(named) <= set(registry())


def test_the_lecture_keeps_its_clock():
    notes = [cell.source for cell in LECTURE.cells if kind(cell) == "notes"]
    spoken = [int(re.match(r"\*\*(\d+) minutes", text)[1]) for text in notes]
    assert sum(spoken) == CONTENT
    rows = re.findall(r"(?m)^\| (\d+) \|", part("A talk of ninety minutes"))
    assert [int(row) for row in rows][:-1] == spoken
    assert all("*Bridge:*" in text for text in notes[1:-1])


def test_a_projected_note_is_folded_to_its_minutes():
    first, *notes = [cell for cell in LECTURE.cells if kind(cell) == "notes"]
    assert not first.metadata.get("jupyter")
    for cell in notes:
        assert cell.metadata["jupyter"]["source_hidden"]
        # A folded note shows its first line, so that must not give the answer away.
        assert re.fullmatch(r"\*\*\d+ minutes[^*]*\*\*", cell.source.splitlines()[0])
        assert len(cell.source.split()) <= 80


def test_the_lecture_votes_before_it_shows():
    kinds = [kind(cell) for cell in LECTURE.cells]
    assert set(kinds) == {"slide", "fragment", "notes"} and len(kinds) <= 28
    for cell, following in zip(LECTURE.cells, LECTURE.cells[1:], strict=False):
        if following.cell_type == "code":
            assert "**Vote:**" in cell.source and kind(following) == "fragment"


def test_the_lecture_calls_explorers_of_the_face():
    for cell in LECTURE.cells:
        if cell.cell_type == "code":
            (node, call) = ast.parse(cell.source).body
            assert node.module == "rlvr_helpers" and len(cell.source.splitlines()) <= 4
            assert call.value.func.id in rlvr_helpers.__all__
            said = str(cell.outputs)
            assert "<img" in said and "widget-view" not in said
