"""Makes nbgrader assignments of lessons: exercises with locked checks, two written questions, and a
fresh bug hunt.

    python -m rlvr_helpers.tools.make_assignment 04 05 06 --out source/

docs/grading.md says how they are handed out and graded, and what their points can and cannot show.
"""

import argparse
import ast
import random
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlvr_helpers.exercises.core import Exercise, registry, solution_source
from rlvr_helpers.kit.course_map import EXTRAS, LESSONS, Lesson
from rlvr_helpers.lessons.l08_trainer.experiment import record_hunt
from rlvr_helpers.paths import COURSE
from rlvr_helpers.tools.written_questions import POINTS, QUESTIONS

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
IMPORTS = """import math
import re

import torch
import torch.nn.functional as F

from rlvr_helpers.exercises import check, hint"""
RULES = """Write in the cells that say YOUR CODE HERE or YOUR ANSWER HERE. All other cells are
graded as they were handed out, whatever you change in them. A check that passes here passes when it
is graded. To try something, add a new cell: do not copy one of these."""
HUNT = """## A bug hunt that nobody has seen

The same suspects as in the lesson, other letters and another seed. Which run has which bug? Replace
each question mark by the number of a suspect. One point per run, graded with a key that is not
handed out."""
HUNT_RECORDS = """from pathlib import Path

from rlvr_helpers.lessons.l08_trainer.experiment import load_hunt, suspects
from rlvr_helpers.lessons.l08_trainer.figures import dial_table

suspects()
print(dial_table(load_hunt(Path("hunt")), steps=(1, 2, 4)))"""


def marked(cell: nbformat.NotebookNode, grade_id: str, **marks: object) -> nbformat.NotebookNode:
    """The cell with nbgrader's marks: locked, without points and without a solution, unless `marks`
    say otherwise."""
    marks = {"grade": False, "solution": False, "locked": True, "task": False} | marks
    cell.metadata["nbgrader"] = {
        "schema_version": 3,
        "grade_id": grade_id,
        "cell_type": cell.cell_type,
    } | marks
    return cell


def exercise_cells(lesson: Lesson, exercise: Exercise) -> list:
    """The exercise's text from the lesson, its function with the solution marked, and the check
    that earns the points."""
    name = exercise.name
    # The text, from its heading on.
    notebook = nbformat.read(COURSE / "notebooks" / f"{lesson.name}.ipynb", as_version=4)
    heading = f"## Exercise: {name}\n"
    text = next(cell.source for cell in notebook.cells if heading in cell.source)
    # The solution, between nbgrader's marks and below the docstring.
    lines = solution_source(exercise).rstrip().splitlines()
    docstring = ast.parse("\n".join(lines)).body[-1].body[0].end_lineno
    solution = [
        *lines[:docstring],
        "    ### BEGIN SOLUTION",
        *lines[docstring:],
        "    ### END SOLUTION",
    ]
    test = f'from rlvr_helpers.exercises import check\n\nassert check("{name}", {name})'
    return [
        marked(new_markdown_cell(text[text.index(heading) :]), f"{name}-text"),
        marked(new_code_cell("\n".join(solution)), name, solution=True, locked=False),
        marked(new_code_cell(test), f"{name}-check", grade=True, points=exercise.difficulty),
    ]


def hunt_cells(folder: Path, chance: random.Random) -> list:
    """The hunt: records in `folder`, a cell for the guesses, and one hidden test per letter."""
    # Which letter is which suspect is drawn anew.
    order = chance.sample("ABCDE", 5)
    key = record_hunt(folder, order, steps=4, seed=chance.randrange(1000, 1_000_000))
    guesses = (
        f"guesses = {dict.fromkeys(key, '?')}\n### BEGIN SOLUTION\nguesses = {key}\n### END"
        " SOLUTION"
    )
    cells = [
        marked(new_markdown_cell(HUNT), "hunt-text"),
        marked(new_code_cell(HUNT_RECORDS), "hunt-records"),
        marked(new_code_cell(guesses), "hunt", solution=True, locked=False),
    ]
    # nbgrader removes the hidden part before it hands the notebook out.
    for letter, number in key.items():
        hidden = (
            f'### BEGIN HIDDEN TESTS\nassert guesses["{letter}"] == {number}\n### END HIDDEN TESTS'
        )
        test = f'assert isinstance(guesses["{letter}"], int), "no guess yet"\n{hidden}'
        cells.append(marked(new_code_cell(test), f"hunt-{letter}", grade=True, points=1))
    return cells


def written_cells(topic: str) -> list:
    """The written questions as nbgrader's manually graded tasks, each with its mark scheme and room
    for an answer."""
    cells = []
    for number, (question, scheme) in enumerate(QUESTIONS.get(topic, []), 1):
        text = f"## Question {number} ({POINTS} points)\n\n{question}\n\nAnswer in the cell below."
        scheme = f"=== BEGIN MARK SCHEME ===\n\n{scheme}\n\n=== END MARK SCHEME ==="
        task = new_markdown_cell(f"{text}\n\n{scheme}")
        cells.append(marked(task, f"question-{number}", task=True, points=POINTS))
        cells.append(new_markdown_cell("YOUR ANSWER HERE"))
    return cells


def make_assignment(number: str, out: Path, chance: random.Random) -> Path:
    """Writes `out/NN_name/NN_name.ipynb`. Raises ValueError on a lesson without anything to
    grade, and rather than write over a source that is there already."""
    lesson = next((each for each in LESSONS + EXTRAS if each.number == number), None)
    name = Path(lesson.name).name if lesson else ""
    exercises = [exercise for exercise in registry().values() if exercise.lesson == number]
    written = written_cells(name.partition("_")[2])
    if not exercises + written:
        known = "choose from 01 to 10, 12 and 13"
        raise ValueError(f"lesson {number!r} has nothing to grade: {known}")
    # A teacher changes the source by hand.
    path = out / name / f"{name}.ipynb"
    if path.exists():
        raise ValueError(f"{path.name} is there already: move it away, or choose another --out")
    # Rules and imports, exercises, the hunt, written questions.
    title = new_markdown_cell(f"# Assignment {number}: {lesson.question}\n\n{RULES}")
    cells = [marked(title, "title"), marked(new_code_cell(IMPORTS), "imports")]
    for exercise in exercises:
        cells += exercise_cells(lesson, exercise)
    if lesson.box == "trainer":
        cells += hunt_cells(out / name / "hunt", chance)
    # As nbgrader expects its sources.
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells + written, metadata={"kernelspec": KERNEL}), path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="+", help="numbers of lessons, such as 04 05 06")
    parser.add_argument(
        "--out", type=Path, default=Path("source"), help="nbgrader's folder of sources"
    )
    parser.add_argument("--seed", help="makes the same bug hunt again; keep it to yourself")
    arguments = parser.parse_args()
    # Without a seed nobody, not even the teacher, can foresee the hunt.
    chance = random.Random(arguments.seed) if arguments.seed else random.SystemRandom()
    for number in arguments.lessons:
        try:
            print(make_assignment(number, arguments.out, chance))
        except ValueError as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()
