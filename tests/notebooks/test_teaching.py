"""The teacher's page names every lesson once in its table, only sections that exist, and plans that
add up."""

import re

import nbformat
from test_lessons import LESSONS, NOTEBOOKS, prose

from rlvr_helpers.exercises.core import registry

PAGE = (NOTEBOOKS / "TEACHING.md").read_text(encoding="utf-8")


def part(title: str) -> str:
    return PAGE[PAGE.index(f"## {title}") :].split("\n## ")[0]


def minutes(title: str) -> int:
    return sum(map(int, re.findall(r"(?m)^\| (\d+) \|", part(title))))


def test_every_lesson_has_a_misconception():
    assert re.findall(r"(?m)^\| (\d\d) \|", part("One misconception a lesson")) == [
        lesson.number for lesson in LESSONS
    ]


def test_the_sections_that_it_names_exist():
    named = re.findall(r'(\d\d), (?:to |from |the question )?"([^"]+)"', PAGE)
    assert len(named) >= 12
    for number, title in named:
        lesson = next(lesson for lesson in LESSONS if lesson.number == number)
        text = prose(nbformat.read(NOTEBOOKS / f"{lesson.name}.ipynb", as_version=4))
        assert f"## {title}" in text or f"**{title}" in text, (number, title)


def test_the_plans_add_up():
    assert minutes("Ninety minutes") == 90
    assert 6.5 <= minutes("One day") / 60 <= 9


def test_its_exercises_exist():
    named = re.findall(r"`(\w+)`", part("One day"))
    assert named and set(named) <= set(registry())
