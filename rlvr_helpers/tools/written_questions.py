"""Two written questions per lesson with a mark scheme, for `make_assignment`. They stand in
`written_questions.md`, where a teacher can change them."""

import re
from pathlib import Path

# What each question earns, one point for each thing that its mark scheme names.
POINTS = 3
BOTH = re.compile(
    r"\*\*Question\.\*\* (.*?)\s+\*\*Mark scheme\.\*\* (.*?)(?=\s+\*\*Question|\s*\Z)", re.DOTALL
)


def read_questions(text: str) -> dict[str, list[tuple[str, str]]]:
    """Lesson without its number -> its pairs of question and mark scheme."""
    found = {}
    for part in text.split("\n## ")[1:]:
        topic, _, rest = part.partition("\n")
        # A line break in the file is a space in the text.
        pairs = BOTH.findall(rest)
        found[topic] = [
            (" ".join(asked.split()), " ".join(marks.split())) for asked, marks in pairs
        ]
    return found


QUESTIONS = read_questions(Path(__file__).with_suffix(".md").read_text(encoding="utf-8"))
