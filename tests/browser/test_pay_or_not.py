"""The game of lesson 02 in a real browser: mouse, keyboard, screen reader, themes."""

import pytest
from live import PLACE, accessible, contrasts
from playwright.sync_api import expect

from rlvr_helpers.lessons.l02_rewards.explorer import pay_or_not

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def exported():
    return pay_or_not().page("pay or not")


def paid(page):
    return page.evaluate(f"{PLACE}.values.get('paid')")


def test_every_choice_is_answered_by_mouse_and_by_keyboard(pages, exported):
    page = pages(exported)
    texts = pay_or_not().data["texts"]
    for row, text in enumerate(texts):
        group = page.get_by_role("radiogroup", name=f"Text {row + 1}: pay or not?")
        button = group.get_by_role("radio", name="Pay 1" if text["pays"] else "Pay nothing")
        if row % 2:
            button.press("Enter")
        else:
            button.click()
        expect(page.get_by_text(f"Correct. {text['why']}")).to_be_visible()
    assert paid(page) == [text["pays"] for text in texts]
    expect(page.get_by_text("10 of 10 correct")).to_be_visible()
    first = page.get_by_role("radiogroup", name="Text 1: pay or not?").get_by_role("radio")
    first.first.press("ArrowRight")
    expect(page.get_by_text(f"Not so. {texts[0]['why']}")).to_be_visible()
    expect(page.get_by_text("9 of 10 correct")).to_be_visible()
    page.get_by_role("button", name="Play again").press("Enter")
    assert paid(page) == [None] * 10
    assert all(name.strip() for _, name in accessible(page))
    assert page.faults == []


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_every_text_has_enough_contrast(pages, exported, scheme):
    page = pages(exported, color_scheme=scheme)
    for row in range(10):
        page.get_by_role("radio", name="Pay 1").nth(row).click()
    page.wait_for_timeout(100)
    found = contrasts(page)
    assert len(found) > 50 and min(found)[0] >= 4.5, sorted(found)[:5]


@pytest.mark.parametrize(
    "width, height", [(1440, 790), pytest.param(1024, 768, marks=pytest.mark.slow)]
)
def test_everything_is_seen_at_once_and_nothing_jumps(pages, exported, width, height):
    page = pages(exported, width=width, height=height)
    first = page.locator("[data-rlvr]").bounding_box()
    assert first["width"] <= 1060 and first["height"] <= 640
    for row in range(10):
        page.get_by_role("radio", name="Pay nothing").nth(row).click()
    page.wait_for_timeout(100)
    assert page.locator("[data-rlvr]").bounding_box() == first
