"""The map of the course: its lessons, and the pipeline from problems to a trained model with one lesson's box lit."""

from typing import NamedTuple

from IPython.display import HTML, Markdown


class Lesson(NamedTuple):
    """One notebook: its number, file name without ending, the question it answers, minutes, and its box on the map."""

    number: str
    name: str
    question: str
    minutes: int
    box: str


LESSONS = [
    Lesson("00", "00_start_here", "Can a model teach itself arithmetic in one minute?", 15, "problems"),
    Lesson("01", "01_sampling", "What is a rollout?", 35, "sampling"),
    Lesson("02", "02_rewards", "When is an answer right?", 40, "rewards"),
    Lesson("03", "03_advantages", "Better than what?", 35, "advantages"),
    Lesson("04", "04_policy_gradient", "How can a reward move a weight?", 40, "gradient"),
    Lesson("05", "05_ratios", "What if the model has moved on since it sampled?", 35, "ratios"),
    Lesson("06", "06_clipping", "How far may it move?", 40, "clipping"),
    Lesson("07", "07_loss", "How do tokens become one number?", 40, "loss"),
    Lesson("08", "08_trainer", "Is that all?", 45, "trainer"),
    Lesson("09", "09_train_all_three", "Which one wins, and can you tell?", 30, "compare"),
]
INK, LIT = "#767676", "#0072B2"


def course_map(lesson: str = "") -> HTML:
    """The pipeline as a small drawing, 764 pixels wide; `lesson` ("00" to "09") is the box that is lit.

    Raises ValueError on a lesson that does not exist.
    """
    numbers = [lesson.number for lesson in LESSONS]
    if lesson and lesson not in numbers:
        raise ValueError(f"no lesson {lesson!r}: choose from {', '.join(numbers)}")
    shapes = []
    for i, (number, _, _, _, name) in enumerate(LESSONS):
        x, lit = 4 + i * 76, number == lesson
        fill, ink = (LIT, "#ffffff") if lit else ("none", INK)
        shapes.append(
            f'<rect x="{x}" y="6" width="66" height="40" rx="4" fill="{fill}" stroke="{LIT if lit else INK}"/>'
            f'<text x="{x + 33}" y="23" fill="{ink}">{number}</text><text x="{x + 33}" y="38" fill="{ink}">{name}</text>'
        )
        if i + 1 < len(LESSONS):
            shapes.append(f'<path d="M{x + 67} 26h7m-3 -3l3 3l-3 3" fill="none" stroke="{INK}"/>')
    label = "The course: " + ", ".join(f"{lesson.number} {lesson.box}" for lesson in LESSONS)
    label += f". You are in lesson {lesson}." if lesson else "."
    return HTML(
        f'<svg role="img" aria-label="{label}" viewBox="0 0 764 52" width="764" height="52" style="max-width:100%" '
        f'font-family="sans-serif" font-size="11" text-anchor="middle">{"".join(shapes)}</svg>'
    )


def lesson_table() -> Markdown:
    """All lessons as a table with links, for a notebook that lies in their folder."""
    rows = [f"| [{lesson.name}]({lesson.name}.ipynb) | {lesson.question} | {lesson.minutes} |" for lesson in LESSONS]
    return Markdown("\n".join(["| Notebook | Question | Minutes |", "| --- | --- | --- |", *rows]))
