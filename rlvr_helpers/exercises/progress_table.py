"""How far the learner is: one row per lesson, or one per exercise of a lesson."""

import html

from rlvr_helpers.exercises.core import registry
from rlvr_helpers.exercises.questions import answered, guessed, quizzes
from rlvr_helpers.exercises.tries import Record, saved_records


class ProgressTable:
    """A table of what is done. A notebook shows it as HTML, anything else as text."""

    def __init__(self, head: tuple[str, ...], rows: list[tuple], summary: str) -> None:
        self.head = head
        self.rows = [tuple(map(str, row)) for row in rows]
        self.summary = summary

    def _repr_html_(self) -> str:
        lines = [
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
            for row in self.rows
        ]
        head = "".join(f"<th>{title}</th>" for title in self.head)
        return f"<table><caption>{self.summary}</caption><tr>{head}</tr>{''.join(lines)}</table>"

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in [self.head, *self.rows]]
        return "\n".join([*lines, self.summary])


def show_progress(lesson: str | None = None) -> ProgressTable:
    """How far you are: a row per lesson, or with a lesson's number a row per exercise of it.

    Raises ValueError for a lesson that asks nothing.
    """
    saved = saved_records()
    lessons = sorted({exercise.lesson for exercise in registry().values()} | set(quizzes()))
    if lesson is None:
        return _lessons(lessons, saved)
    if lesson not in lessons:
        raise ValueError(f"no exercises in lesson {lesson!r}: choose from {', '.join(lessons)}")
    rows = [
        (each.name, each.minutes, each.difficulty, saved.get(each.name, Record()).state)
        for each in registry().values()
        if each.lesson == lesson
    ]
    return ProgressTable(("exercise", "minutes", "difficulty", "state"), rows, _summary(rows))


def _lessons(lessons: list[str], saved: dict[str, Record]) -> ProgressTable:
    rows = []
    states = []
    # A lesson can ask nothing of one kind. Then its cell is empty.
    for lesson in lessons:
        own = [each for each in registry().values() if each.lesson == lesson]
        state = [(saved.get(each.name, Record()).state,) for each in own]
        states += state
        done = sum(row[0].startswith("done") for row in state)
        right, questions = answered(lesson, saved)
        close, made, asked = guessed(lesson, saved)
        rows.append(
            (
                lesson,
                f"{done} of {len(own)} done" if own else "",
                f"{made} of {asked} made, {close} close" if asked else "",
                f"{right} of {questions} correct" if questions else "",
            )
        )
    return ProgressTable(("lesson", "exercises", "predictions", "quiz"), rows, _summary(states))


def _summary(rows: list[tuple]) -> str:
    done = sum(row[-1].startswith("done") for row in rows)
    return f"{done} of {len(rows)} exercises done"
