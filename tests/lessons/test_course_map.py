"""The course map and the picture of the loop: images with short names, legible on any page."""

import base64
import json
import re

import pytest

from rlvr_helpers.kit.course_map import (
    EXTRAS,
    FILL,
    LESSONS,
    LIT,
    course_map,
    lesson_table,
    loop_picture,
)
from rlvr_helpers.paths import COURSE
from rlvr_helpers.widgets.live import LONGEST_ALT

NUMBERS = [lesson.number for lesson in LESSONS + EXTRAS]


def drawing(html: str) -> tuple[str, str]:
    """The alternative text of the one image in a cell's output, and its SVG."""
    alt, data = re.fullmatch(
        r'<img alt="([^"]*)" width="764" height="\d+" src="data:image/svg\+xml;base64,(.*)">', html
    ).groups()
    return alt, base64.b64decode(data).decode()


@pytest.mark.parametrize("number", ["", *NUMBERS])
def test_the_map_is_an_image_with_a_short_name_and_one_box_lit(number):
    alt, svg = drawing(course_map(number).data)
    extra = number in [lesson.number for lesson in EXTRAS]
    assert len(alt) <= LONGEST_ALT and (f"You are in {number}" in alt) == bool(number)
    assert svg.count("<rect") == len(LESSONS) + extra
    assert svg.count(f'fill="{LIT}"') == bool(number)


@pytest.mark.parametrize("html", [course_map("03").data, loop_picture().data])
def test_every_word_is_white_on_a_box_that_is_dark_enough(html):
    svg = drawing(html)[1]
    assert "#ffffff" in svg.split(">")[0] and "<text fill" not in svg
    boxes = [
        tuple(int(x) for x in found)
        for found in re.findall(r'<rect x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"', svg)
    ]
    for x, y in re.findall(r'<text x="(\d+)" y="(\d+)"', svg):
        assert any(
            left < int(x) < left + width and top < int(y) < top + height
            for left, top, width, height in boxes
        )
    assert min(white_on(FILL), white_on(LIT)) >= 4.5


def white_on(colour: str) -> float:
    """The contrast of white to a colour, as WCAG 2 computes it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_an_unknown_lesson_is_named():
    with pytest.raises(ValueError, match="choose from 00, .*, 13"):
        course_map("99")


@pytest.mark.parametrize("language", ["", "zh"])
def test_links_of_the_lesson_table_lead_to_notebooks_from_the_folder_of_the_language(
    language, monkeypatch
):
    monkeypatch.setenv("RLVR_LANGUAGE", language)
    links = re.findall(r"\]\(([^)]+)\)", lesson_table().data)
    assert len(links) == len(LESSONS + EXTRAS)
    folder = COURSE / "notebooks" / language
    assert [link for link in links if not (folder / link).is_file()] == []
    # A lesson that is translated is the one beside it.
    assert links[0] == "00_start_here.ipynb"


def test_the_table_stored_in_lesson_00_is_todays():
    stored = (COURSE / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8")
    outputs = next(cell for cell in json.loads(stored)["cells"] if cell["id"] == "lessons")
    assert "".join(outputs["outputs"][0]["data"]["text/markdown"]) == lesson_table().data
