"""The map of the course: its lessons, and the pipeline from problems to a trained model with one
lesson's box lit."""

from typing import NamedTuple

from IPython.display import HTML, Markdown


class Lesson(NamedTuple):
    """One notebook: its number, path without ending, the question it answers, minutes, and its box
    on the map."""

    number: str
    name: str
    question: str
    minutes: int
    box: str


LESSONS = [
    Lesson(
        "00",
        "00_start_here",
        "Can a model teach itself arithmetic in one minute?",
        minutes=15,
        box="problems",
    ),
    Lesson("01", "01_sampling", "What is a rollout?", minutes=35, box="sampling"),
    Lesson("02", "02_rewards", "When is an answer right?", minutes=40, box="rewards"),
    Lesson(
        "03", "03_policy_gradient", "How can a reward move a weight?", minutes=40, box="gradient"
    ),
    Lesson("04", "04_advantages", "Better than what?", minutes=35, box="advantages"),
    Lesson(
        "05",
        "05_ratios",
        "What if the model has moved on since it sampled?",
        minutes=35,
        box="ratios",
    ),
    Lesson("06", "06_clipping", "How far may it move?", minutes=40, box="clipping"),
    Lesson("07", "07_loss", "How do tokens become one number?", minutes=55, box="loss"),
    Lesson("08", "08_trainer", "Is that all?", minutes=70, box="trainer"),
    Lesson(
        "09", "09_train_all_three", "Which one wins, and can you tell?", minutes=30, box="compare"
    ),
]
EXTRAS = [  # after the course, each for itself, in any order
    Lesson("12", "extras/12_scaling_up", "And on real hardware?", minutes=45, box="scaling")
]
INK = "#767676"
LIT = "#0072B2"


def course_map(lesson: str = "") -> HTML:
    """The pipeline as a small drawing, 764 pixels wide; `lesson` is the box that is lit. An extra
    ("12") is drawn below the last lesson, from which it goes on.

    Raises ValueError on a lesson that does not exist.
    """
    numbers = [each.number for each in LESSONS + EXTRAS]
    if lesson and lesson not in numbers:
        raise ValueError(f"no lesson {lesson!r}: choose from {', '.join(numbers)}")
    shapes = []
    for i, each in enumerate(LESSONS):
        shapes.append(_box(4 + i * 76, 6, each, lit=lesson))
        if i + 1 < len(LESSONS):
            shapes.append(
                f'<path d="M{4 + i * 76 + 67} 26h7m-3 -3l3 3l-3 3" fill="none" stroke="{INK}"/>'
            )
    shown = LESSONS + [each for each in EXTRAS if each.number == lesson]
    if len(shown) > len(LESSONS):
        x = 4 + 76 * (len(LESSONS) - 1)
        shapes.append(f'<path d="M{x + 33} 47v13m-3 -3l3 3l3 -3" fill="none" stroke="{INK}"/>')
        shapes.append(_box(x, 62, shown[-1], lit=lesson))
    height = 52 if len(shown) == len(LESSONS) else 108
    label = "The course: " + ", ".join(f"{each.number} {each.box}" for each in shown)
    label += f". You are in lesson {lesson}." if lesson else "."
    return HTML(
        f'<svg role="img" aria-label="{label}" viewBox="0 0 764 {height}" width="764"'
        f' height="{height}" style="max-width:100%" font-family="sans-serif" font-size="11"'
        f' text-anchor="middle">{"".join(shapes)}</svg>'
    )


def _box(x: int, y: int, each: Lesson, lit: str) -> str:
    fill, ink = (LIT, "#ffffff") if each.number == lit else ("none", INK)
    stroke = LIT if each.number == lit else INK
    return (
        f'<rect x="{x}" y="{y}" width="66" height="40" rx="4" fill="{fill}" stroke="{stroke}"/>'
        f'<text x="{x + 33}" y="{y + 17}" fill="{ink}">{each.number}</text>'
        f'<text x="{x + 33}" y="{y + 32}" fill="{ink}">{each.box}</text>'
    )


LOOP = [
    ("sample", "8 answers to each problem"),
    ("reward", "1 if right, else 0"),
    ("advantage", "better than its group?"),
    ("update", "likelier, or less likely"),
]


def loop_picture() -> HTML:
    """The loop of a training step as a small drawing, 764 pixels wide: sample, reward, advantage,
    update, and again."""
    shapes = []
    for i, (name, what) in enumerate(LOOP):
        x = 4 + i * 194
        shapes.append(
            f'<rect x="{x}" y="6" width="170" height="46" rx="4" fill="none" stroke="{LIT}"/>'
            f'<text x="{x + 85}" y="25" fill="{LIT}" font-weight="bold">{name}</text>'
            f'<text x="{x + 85}" y="43" fill="{INK}">{what}</text>'
        )
        if i + 1 < len(LOOP):
            shapes.append(f'<path d="M{x + 172} 29h18m-5 -4l5 4l-5 4" fill="none" stroke="{INK}"/>')
    back = f'<path d="M671 54v16H89v-14m-4 5l4 -5l4 5" fill="none" stroke="{INK}"/>'
    again = f'<text x="380" y="86" fill="{INK}">the next step samples from the changed model</text>'
    label = (
        "The loop: "
        + ", then ".join(f"{name} ({what})" for name, what in LOOP)
        + ", then sample again."
    )
    return HTML(
        f'<svg role="img" aria-label="{label}" viewBox="0 0 764 92" width="764" height="92"'
        ' style="max-width:100%" font-family="sans-serif" font-size="12"'
        f' text-anchor="middle">{"".join(shapes)}{back}{again}</svg>'
    )


def lesson_table() -> Markdown:
    """All lessons and extras as a table with links, for a notebook that lies in the lessons'
    folder."""
    rows = [
        f"| [{each.name}]({each.name}.ipynb) | {each.question} | {each.minutes} |"
        for each in LESSONS + EXTRAS
    ]
    return Markdown("\n".join(["| Notebook | Question | Minutes |", "| --- | --- | --- |", *rows]))
