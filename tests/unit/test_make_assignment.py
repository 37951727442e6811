"""Assignments for nbgrader: what they hold, and the points that nbgrader gives to odd
submissions."""

import json
import os
import random
import re
import sys
from pathlib import Path

import nbformat
import pytest

from rlvr_helpers.exercises.core import registry
from rlvr_helpers.kit.course_map import EXTRAS, LESSONS
from rlvr_helpers.lessons.l08_trainer.experiment import SUSPECTS, load_hunt
from rlvr_helpers.tools import make_assignment as tool
from rlvr_helpers.tools.written_questions import POINTS, QUESTIONS

GRADED = [
    lesson
    for lesson in LESSONS + EXTRAS
    if any(e.lesson == lesson.number for e in registry().values())
]
MAIN_SEQUENCE = [lesson for lesson in LESSONS if lesson.number != "00"]


@pytest.fixture(autouse=True)
def no_hunt(request, monkeypatch):
    """Six trainings take long: only the tests marked `slow` record them."""
    if not request.node.get_closest_marker("slow"):
        monkeypatch.setattr(
            tool, "record_hunt", lambda *_, **__: dict(zip("ABCDE", (1, 2, 3, 4, 5), strict=True))
        )


def made(lesson, folder):
    return nbformat.read(
        tool.make_assignment(lesson.number, folder, random.Random(0)), as_version=4
    )


def graded_cells(notebook):
    return {
        cell.metadata.nbgrader.grade_id: cell
        for cell in notebook.cells
        if "nbgrader" in cell.metadata
    }


@pytest.mark.parametrize("lesson", GRADED, ids=lambda lesson: lesson.number)
def test_a_source_passes_its_own_locked_checks_with_points_by_difficulty(lesson, tmp_path):
    cells, namespace = graded_cells(made(lesson, tmp_path)), {}
    exec(cells["imports"].source, namespace)
    for exercise in [e for e in registry().values() if e.lesson == lesson.number]:
        name, test = exercise.name, cells[f"{exercise.name}-check"]
        assert cells[f"{name}-text"].source.startswith(f"## Exercise: {name}\n")
        assert test.source.endswith(f'assert check("{name}", {name})')
        assert test.metadata.nbgrader.points == exercise.difficulty
        assert test.metadata.nbgrader.locked and test.metadata.nbgrader.grade
        exec(cells[name].source, namespace)
        exec(test.source, namespace)


def test_each_lesson_of_the_course_has_two_written_questions_with_a_mark_scheme(tmp_path):
    for lesson in MAIN_SEQUENCE:
        cells = graded_cells(made(lesson, tmp_path))
        tasks = [cell for cell in cells.values() if cell.metadata.nbgrader.task]
        assert len(tasks) == 2, lesson.name
        for task in tasks:
            assert task.metadata.nbgrader.points == POINTS
            scheme = task.source[task.source.index("=== BEGIN MARK SCHEME") :]
            assert (
                sum(map(int, re.findall(r"(\d) points?:", scheme.split("Refusing")[0]))) == POINTS
            ), scheme


def test_every_topic_with_questions_is_a_lesson():
    assert set(QUESTIONS) <= {
        Path(lesson.name).name.partition("_")[2] for lesson in LESSONS + EXTRAS
    }


def test_a_source_that_a_teacher_changed_is_not_written_over(tmp_path):
    path = tool.make_assignment("06", tmp_path, random.Random(0))
    path.write_text("changed", encoding="utf-8")
    with pytest.raises(ValueError, match="06_clipping.ipynb is there already: move it away"):
        tool.make_assignment("06", tmp_path, random.Random(0))
    assert path.read_text(encoding="utf-8") == "changed"


@pytest.mark.parametrize("number", ["00", "77", "x", "6"])
def test_a_lesson_without_anything_to_grade_is_refused(number, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["make_assignment", number, "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        tool.main()
    said = f"lesson '{number}' has nothing to grade: choose from 01 to 10, 12 and 13"
    assert said in capsys.readouterr().err
    numbers = {f"{each:02}" for each in range(1, 11)} | {"12", "13"}
    assert {lesson.number for lesson in GRADED} | {each.number for each in MAIN_SEQUENCE} == numbers


@pytest.mark.slow
def test_the_hunt_is_fresh_and_its_key_is_right(tmp_path):
    cells = tool.hunt_cells(tmp_path, random.Random(1))
    (key,) = re.findall(r"BEGIN SOLUTION\nguesses = (.*)\n", cells[2].source)
    key = eval(key)
    runs, known = load_hunt(tmp_path), load_hunt()
    assert sorted(key.values()) == sorted(set(key.values())) and set(key.values()) <= set(SUSPECTS)
    assert runs["healthy"][0].loss != known["healthy"][0].loss
    for letter, number in key.items():
        if SUSPECTS[number].name == "log-probs at another temperature than was sampled":
            assert (
                runs[letter][0].sampler_gap > 0.5
                and runs[letter][0].length_mean == runs["healthy"][0].length_mean
            )
    for letter in "ABCDE":
        said = json.loads((tmp_path / f"{letter}.json").read_text())
        assert not any(suspect.name in str(said) for suspect in SUSPECTS.values())


# nbgrader itself

ENDLESS = "def {name}(*_):\n    while True:\n        pass"
TRICKS = {
    # sys.exit, an endless loop, and a check of one's own under the check's name
    "hostile": {
        "clipped_objective": "import sys\n\n\ndef clipped_objective(*_):\n    sys.exit(0)",
        "clip_binds": ENDLESS.format(name="clip_binds"),
        "range_that_binds": "check = lambda *_: True\nrange_that_binds = lambda *_: None",
    },
    "killer": {"clipped_objective": "import os\n\n\ndef clipped_objective(*_):\n    os._exit(0)"},
    "patched": {
        "clipped_objective": "import rlvr_helpers.exercises as own\n\nown.check = lambda *_: True\n"
        "clipped_objective = None"
    },
    "stuck": {"clipped_objective": "while True:\n    pass"},
    "wrong": {
        "clip_binds": "def clip_binds(q, A, low, high):\n    return (q < 1 - low) | (q > 1 + high)"
    },
}


def submission(released, source, student):
    """A student's notebook, made from the released one and the teacher's solutions."""
    notebook, solved = nbformat.from_dict(released), graded_cells(source)
    for name, cell in graded_cells(notebook).items():
        if student != "empty" and cell.metadata.nbgrader.solution:
            cell.source = TRICKS.get(student, {}).get(name, solved[name].source)
        if student == "edited" and cell.metadata.nbgrader.solution:
            cell.source = f"{name} = None"
        if student == "edited" and name.endswith("-check"):
            cell.source = "assert True"
            cell.metadata.nbgrader.points = 100
    if student == "copied":
        notebook.cells.append(notebook.cells[3])
    return notebook


@pytest.mark.slow
def test_nbgrader_gives_the_points_that_each_submission_deserves(tmp_path, monkeypatch):
    pytest.importorskip("nbgrader", reason="needs nbgrader: uv sync --group grading")
    from nbgrader.api import Gradebook
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    monkeypatch.setenv("RLVR_PROGRESS", str(tmp_path / "progress.json"))
    # nbgrader calls alembic, which lies beside this Python.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    path = tool.make_assignment("06", tmp_path / "source", random.Random(0))
    name, source = path.stem, nbformat.read(path, as_version=4)
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.Execute.timeout = 40
    grader = NbGraderAPI(config=config)
    assert grader.generate_assignment(name)["success"]
    released = nbformat.read(tmp_path / "release" / name / path.name, as_version=4)
    text = "\n".join(cell.source for cell in released.cells)
    assert (
        "torch.minimum" not in text
        and "MARK SCHEME" not in text
        and text.count("YOUR CODE HERE") == 3 + 1
    )

    ids = [f"{each}-check" for each in ("clipped_objective", "clip_binds", "range_that_binds")]
    deserved = {  # points of the three exercises, whose difficulties are 2, 1 and 3
        "correct": [2, 1, 3],
        "wrong": [2, 0, 3],
        "empty": [0, 0, 0],
        "edited": [0, 0, 0],
        "hostile": [0, 0, 0],
        "stuck": [0, 1, 3],
        "patched": [2, 1, 3],
    }
    for student in [*deserved, "killer", "copied"]:
        folder = tmp_path / "submitted" / student / name
        folder.mkdir(parents=True)
        nbformat.write(submission(released, source, student), folder / path.name)
        graded = grader.autograde(name, student)["success"]
        assert graded == (student not in ("killer", "copied")), student
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        for student, points in deserved.items():
            found = [gradebook.find_grade(each, name, name, student) for each in ids]
            assert [grade.auto_score for grade in found] == points, student
            assert [grade.max_score for grade in found] == [2, 1, 3]
        assert gradebook.find_submission(name, "killer").score == 0
