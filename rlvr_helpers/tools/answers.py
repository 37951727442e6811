"""Prints all predictions and quizzes with their answers, for whoever teaches.

    python -m rlvr_helpers.tools.answers            # all lessons
    python -m rlvr_helpers.tools.answers 04 06      # some

The answer to a prediction is what the course's own notebook shows in its stored output.
"""

import argparse
import json

from rlvr_helpers.exercises.questions import Question, predictions, quizzes
from rlvr_helpers.kit.course_map import EXTRAS, LESSONS, Lesson
from rlvr_helpers.paths import COURSE


def printed(lesson: Lesson) -> list[str]:
    """All lines that the code cells of a notebook have printed, as stored."""
    path = COURSE / "notebooks" / f"{lesson.name}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = ["".join(output.get("text", "")) for output in outputs]
    return [line for text in texts for line in text.splitlines()]


def shown_question(number: int, question: Question) -> list[str]:
    """A question, its choices in the order in which the learner sees them, and each one's why."""
    lines = [f"{number}. {question.text}"]
    for choice in question.shuffled:
        said = choice.text.rstrip(".。")
        lines.append(f"   [{'x' if choice.correct else ' '}] {said}: {choice.why}")
    return lines


def answers(lesson: Lesson) -> list[str]:
    """What the lesson asks, with the answers. Empty if it asks nothing."""
    lines = []
    stored = printed(lesson)
    for each in predictions().values():
        if each.lesson == lesson.number:
            # `reveal` has printed the answer into the stored notebook.
            found = [line for line in stored if line.startswith(f"{each.name}: it is ")]
            answer = found[0].split(" (You made")[0] if found else f"{each.name}: no stored output"
            lines += [f"Prediction: {each.question}", f"   {answer}"]
    for number, question in enumerate(quizzes().get(lesson.number, []), start=1):
        lines += shown_question(number, question)
    return [f"{lesson.number} {lesson.question}", *lines, ""] if lines else []


def main(arguments: list[str] | None = None) -> None:
    every = {lesson.number: lesson for lesson in LESSONS + EXTRAS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", help="numbers of lessons, such as 04 06")
    numbers = parser.parse_args(arguments).lessons or list(every)
    unknown = [number for number in numbers if number not in every]
    if unknown:
        parser.error(f"no lesson {unknown[0]!r}: choose from {', '.join(every)}")
    for number in numbers:
        print("\n".join(answers(every[number])), end="")


if __name__ == "__main__":
    main()
