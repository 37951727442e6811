"""The map of the course: the pipeline from problems to a trained model, with one lesson's box lit."""

from IPython.display import HTML

BOXES = [
    ("00", "problems"), ("01", "sampling"), ("02", "rewards"), ("03", "advantages"), ("04", "gradient"),
    ("05", "ratios"), ("06", "clipping"), ("07", "loss"), ("08", "trainer"), ("09", "compare"),
]  # fmt: skip
INK, LIT = "#767676", "#0072B2"


def course_map(lesson: str = "") -> HTML:
    """The pipeline as a small drawing, 760 pixels wide; `lesson` ("00" to "09") is the box that is lit.

    Raises ValueError on a lesson that does not exist.
    """
    numbers = [number for number, _ in BOXES]
    if lesson and lesson not in numbers:
        raise ValueError(f"no lesson {lesson!r}: choose from {', '.join(numbers)}")
    shapes = []
    for i, (number, name) in enumerate(BOXES):
        x, lit = 4 + i * 76, number == lesson
        fill, ink = (LIT, "#ffffff") if lit else ("none", INK)
        shapes.append(
            f'<rect x="{x}" y="6" width="66" height="40" rx="4" fill="{fill}" stroke="{LIT if lit else INK}"/>'
            f'<text x="{x + 33}" y="23" fill="{ink}">{number}</text><text x="{x + 33}" y="38" fill="{ink}">{name}</text>'
        )
        if i + 1 < len(BOXES):
            shapes.append(f'<path d="M{x + 67} 26h7m-3 -3l3 3l-3 3" fill="none" stroke="{INK}"/>')
    label = "The course: " + ", ".join(f"{number} {name}" for number, name in BOXES)
    label += f". You are in lesson {lesson}." if lesson else "."
    return HTML(
        f'<svg role="img" aria-label="{label}" viewBox="0 0 764 52" width="764" height="52" style="max-width:100%" '
        f'font-family="sans-serif" font-size="11" text-anchor="middle">{"".join(shapes)}</svg>'
    )
