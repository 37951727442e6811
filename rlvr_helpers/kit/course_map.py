"""The map of the course: its lessons, and the pipeline from problems to a trained model with one
lesson's box lit."""

import os
from typing import NamedTuple

from IPython.display import HTML, Markdown

from rlvr_helpers.kit.language import translated
from rlvr_helpers.paths import COURSE
from rlvr_helpers.widgets.live import Still
from rlvr_helpers.widgets.words import LESSON_TABLE, LOOP


class Lesson(NamedTuple):
    """One notebook.

    name:    its path below `notebooks`, without ending
    box:     the word in its box on the map
    """

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
        minutes=18,
        box="problems",
    ),
    Lesson("01", "01_sampling", "What is a rollout?", minutes=42, box="sampling"),
    Lesson("02", "02_rewards", "When is an answer right?", minutes=28, box="rewards"),
    Lesson(
        "03", "03_policy_gradient", "How can a reward move a weight?", minutes=31, box="gradient"
    ),
    Lesson("04", "04_advantages", "Better than what?", minutes=34, box="advantages"),
    Lesson(
        "05",
        "05_ratios",
        "What if the model has moved on since it sampled?",
        minutes=39,
        box="ratios",
    ),
    Lesson("06", "06_clipping", "How far may it move?", minutes=36, box="clipping"),
    Lesson("07", "07_loss", "How do tokens become one number?", minutes=34, box="loss"),
    Lesson("08", "08_trainer", "Is that all?", minutes=38, box="trainer"),
    Lesson(
        "09", "09_train_all_three", "Which one wins, and can you tell?", minutes=27, box="compare"
    ),
]
EXTRAS = [  # after the course, each for itself, in any order
    Lesson(
        "10", "extras/10_reading_results", "What did it really learn?", minutes=24, box="reading"
    ),
    Lesson(
        "11",
        "extras/11_experts",
        "Why did GSPO come from a mixture-of-experts team?",
        minutes=18,
        box="experts",
    ),
    Lesson("12", "extras/12_scaling_up", "And on real hardware?", minutes=25, box="scaling"),
    Lesson("13", "extras/13_your_own_task", "And on my own problem?", minutes=29, box="own task"),
]
# White on either is legible on a page of any colour: an image cannot know its theme.
FILL = "#595959"
LIT = "#0072B2"
# The lines between the boxes.
INK = "#767676"
STYLE = 'font-family="sans-serif" text-anchor="middle" fill="#ffffff"'


def course_map(lesson: str = "") -> HTML:
    """The pipeline as a small drawing, 764 pixels wide, in which the box of `lesson` is lit. An
    extra ("12") is drawn in a second row.

    Raises ValueError on a lesson that does not exist.
    """
    found = {each.number: each for each in LESSONS + EXTRAS}
    if lesson and lesson not in found:
        raise ValueError(f"no lesson {lesson!r}: choose from {', '.join(found)}")
    # The row of lessons, with an arrow from each to the next.
    shapes = []
    for i, each in enumerate(LESSONS):
        shapes.append(_box(4 + i * 76, 6, each, lit=lesson))
    for i in range(len(LESSONS) - 1):
        shapes.append(_arrow(f"M{71 + i * 76} 26h7m-3 -3l3 3l-3 3"))
    # The second row, for an extra.
    height = 52
    if lesson in [each.number for each in EXTRAS]:
        x = 4 + 76 * (len(LESSONS) - 1)
        shapes.append(_arrow(f"M{x + 33} 47v13m-3 -3l3 3l3 -3"))
        shapes.append(_box(x, 62, found[lesson], lit=lesson))
        height = 108
    # What the drawing says, as text.
    alt = "The course: " + ", ".join(each.box for each in LESSONS)
    alt += f". You are in {lesson} {found[lesson].box}." if lesson else "."
    return _image(shapes, height, alt=alt, font=11)


def _box(x: int, y: int, each: Lesson, lit: str) -> str:
    fill = LIT if each.number == lit else FILL
    return (
        f'<rect x="{x}" y="{y}" width="66" height="40" rx="4" fill="{fill}"/>'
        f'<text x="{x + 33}" y="{y + 17}">{each.number}</text>'
        f'<text x="{x + 33}" y="{y + 32}">{each.box}</text>'
    )


def _arrow(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{INK}"/>'


def _image(shapes: list[str], height: int, alt: str, font: int) -> HTML:
    """The shapes as an `<img>`: inline SVG is stripped from notebooks that are not trusted."""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 764 {height}" width="764"'
        f' height="{height}" {STYLE} font-size="{font}">{"".join(shapes)}</svg>'
    )
    return HTML(Still(svg, alt, 764, height=height).html)


def loop_picture() -> HTML:
    """The loop of a training step as a small drawing, 764 pixels wide: sample, reward, advantage,
    update, and again."""
    # A box for each stage, with an arrow to the next.
    shapes = []
    for i, (name, what) in enumerate(LOOP["stages"]):
        x = 4 + i * 194
        shapes.append(
            f'<rect x="{x}" y="6" width="170" height="46" rx="4" fill="{FILL}"/>'
            f'<text x="{x + 85}" y="25" font-weight="bold">{name}</text>'
            f'<text x="{x + 85}" y="43">{what}</text>'
        )
    for i in range(len(LOOP["stages"]) - 1):
        shapes.append(_arrow(f"M{176 + i * 194} 29h18m-5 -4l5 4l-5 4"))
    # The way back, below the boxes.
    shapes.append(_arrow("M671 54v16H89v-14m-4 5l4 -5l4 5"))
    shapes.append(f'<rect x="235" y="60" width="290" height="22" rx="4" fill="{FILL}"/>')
    shapes.append(f'<text x="380" y="75">{LOOP["again"]}</text>')
    return _image(shapes, 92, alt=LOOP["alt"], font=12)


def _beside(lesson: Lesson) -> str:
    """The path of a lesson from the folder of the language. A lesson that is not translated is the
    English one in the folder above."""
    language = os.environ.get("RLVR_LANGUAGE", "")
    file = f"{lesson.name}.ipynb"
    here = not language or (COURSE / "notebooks" / language / file).exists()
    return file if here else f"../{file}"


def lesson_table() -> Markdown:
    """All lessons and extras as a table with links. They work in the lessons' folder and in the
    folder of a language (RLVR_LANGUAGE) below it."""
    rows = [
        f"| [{each.name}]({_beside(each)}) | {translated(each.question)} | {each.minutes} |"
        for each in LESSONS + EXTRAS
    ]
    head = f"| {' | '.join(LESSON_TABLE)} |"
    return Markdown("\n".join([head, "| --- | --- | --- |", *rows]))
