"""How far the learner is: one row per lesson, or one per exercise of a lesson."""

import html

from rlvr_helpers.exercises.core import registry
from rlvr_helpers.exercises.questions import answered, guessed, quizzes
from rlvr_helpers.exercises.tries import Record, saved_records
from rlvr_helpers.exercises.words import WORDS


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
    own = [each for each in registry().values() if each.lesson == lesson]
    records = [saved.get(each.name, Record()) for each in own]
    rows = [
        (each.name, each.minutes, each.difficulty, record.state)
        for each, record in zip(own, records, strict=True)
    ]
    return ProgressTable(WORDS["exercise_head"], rows, _summary(records))


def _lessons(lessons: list[str], saved: dict[str, Record]) -> ProgressTable:
    rows = []
    every = []
    # A lesson can ask nothing of one kind. Then its cell is empty.
    for lesson in lessons:
        own = [each for each in registry().values() if each.lesson == lesson]
        records = [saved.get(each.name, Record()) for each in own]
        every += records
        done = sum(record.finished for record in records)
        correct, questions = answered(lesson, saved)
        close, made, asked = guessed(lesson, saved)
        rows.append(
            (
                lesson,
                WORDS["some_done"].format(done=done, n=len(own)) if own else "",
                WORDS["some_made"].format(made=made, n=asked, close=close) if asked else "",
                WORDS["some_correct"].format(correct=correct, n=questions) if questions else "",
            )
        )
    return ProgressTable(WORDS["lesson_head"], rows, _summary(every))


def _summary(records: list[Record]) -> str:
    done = sum(record.finished for record in records)
    return WORDS["exercises_done"].format(done=done, n=len(records))
