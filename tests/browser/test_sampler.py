"""The sampler of lesson 01 in a real browser: its numbers, mouse, keyboard, screen reader, themes."""

import pytest
import torch
from live import PLACE, accessible, contrasts, frame_times, slider_values
from playwright.sync_api import expect

from rlvr_helpers.kit.recorded import four_rollouts
from rlvr_helpers.lessons.l01_sampling.explorer import Sampler, next_logprobs, next_token
from rlvr_helpers.models import load_policy
from rlvr_helpers.sampling import pick_tokens

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def sampler():
    return next_token()


@pytest.fixture(scope="module")
def exported(sampler):
    return sampler.page("sampler")


def value(page, name):
    return page.evaluate(f"{PLACE}.values.get('{name}')")


def test_the_token_and_its_probability_are_those_of_the_package(pages, exported, sampler):
    page = pages(exported)
    page.add_script_tag(content=Sampler.source())
    for _, text in sampler.data["nodes"][::9]:
        logits = torch.tensor([page.evaluate("text => readLogprobs(text)", text)])
        for temperature in (0.1, 0.7, 1.0, 2.0):
            wanted = (logits.double() / temperature).softmax(dim=-1)[0]
            for noise in (0.001, 0.31, 0.62, 0.9999):
                token, p = page.evaluate(
                    """([text, temperature, noise]) => {
                        const p = softmax(readLogprobs(text), temperature);
                        const { token } = pickToken(p, noise);
                        return [token, p];
                    }""",
                    [text, temperature, noise],
                )
                picked, _ = pick_tokens(logits, torch.tensor([noise]), temperature=temperature)
                assert token == picked.item()
                assert p == pytest.approx(wanted.tolist(), abs=1e-6)


def test_the_recorded_noise_says_the_four_rollouts_again(pages, exported):
    page = pages(exported)
    four = four_rollouts()
    for row in (1, 2):
        n = int(four.lengths[row])
        ids = four.completion_ids[row, :n].tolist()
        page.evaluate(f"ids => {PLACE}.values.set('prefix', ids)", ids[:1])
        for t in range(1, n):
            page.evaluate(f"x => {PLACE}.values.set('noise', x)", four.noise[row, t].item())
            page.get_by_role("button", name="Next token").press("Enter")
        assert value(page, "prefix") == ids
        expect(page.get_by_text("The completion has ended")).to_be_visible()
        # The button cannot be used now, does nothing, and the keyboard stays on it.
        button = page.get_by_role("button", name="Next token")
        expect(button).to_be_disabled()
        expect(button).to_be_focused()
        for name in ("Next token", "Finish the sentence"):
            page.get_by_role("button", name=name).press("Enter")
        assert value(page, "prefix") == ids
    assert page.faults == []


def test_every_handle_by_mouse_and_keyboard(pages, exported):
    page = pages(exported)
    needle = page.get_by_role("slider", name="needle")
    for key, wanted in [("Home", 0), ("ArrowRight", 0.01), ("PageUp", 0.11), ("End", 0.9999)]:
        needle.press(key)
        assert value(page, "noise") == wanted, key
    line = page.locator("svg.line").bounding_box()
    page.mouse.move(line["x"] + 0.9 * line["width"], line["y"] + 40)
    page.mouse.down()
    assert value(page, "noise") == pytest.approx(0.909, abs=0.01)
    page.mouse.up()
    handle = needle.bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + 12)
    page.mouse.down()
    page.mouse.move(line["x"] + 0.5 * line["width"], line["y"] + 12, steps=4)
    page.mouse.up()
    assert value(page, "noise") == pytest.approx(0.5, abs=0.01)
    page.get_by_role("slider", name="noise", exact=True).press("ArrowRight")
    page.get_by_role("slider", name="temperature").press("Home")
    assert value(page, "temperature") == 0.1
    page.get_by_role("button", name="Next token").click()
    assert len(value(page, "prefix")) == 2
    page.get_by_role("button", name="Start again").press("Enter")
    assert len(value(page, "prefix")) == 1
    expect(page.get_by_role("listitem")).to_have_count(1)
    assert page.faults == []


def test_the_sentence_branches_and_goes_back(pages, exported):
    page = pages(exported)
    page.get_by_role("slider", name="temperature").press("Home")
    page.get_by_role("slider", name="needle").press("End")
    page.get_by_role("button", name="Finish the sentence").click()
    expect(page.get_by_text("was not recorded").or_(page.get_by_text("has ended"))).to_be_visible(
        timeout=20_000
    )
    before = value(page, "prefix")
    page.locator(".said").nth(2).click()
    assert value(page, "prefix") == before[:2]
    assert " ".join(map(str, before)) and page.get_by_role("listitem").count() == 1
    assert page.faults == []


def test_a_word_is_pressed_while_the_sentence_goes_on(pages, exported):
    """Each new word draws the sentence anew. The press and the focus stay with their word."""
    page = pages(exported)
    page.get_by_role("slider", name="temperature").press("Home")
    word = page.locator(".said").first
    page.get_by_role("button", name="Finish the sentence").click()
    box = word.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    expect(page.locator(".said").nth(3)).to_be_visible()
    expect(word).to_be_focused()
    page.mouse.up()
    page.wait_for_timeout(300)
    assert len(value(page, "prefix")) == 1
    for _ in range(3):
        page.get_by_role("button", name="Next token").click()
    page.locator(".said").nth(2).press("Enter")
    expect(page.locator(".said")).to_have_count(2)
    expect(page.locator(".said").nth(1)).to_be_focused()
    assert page.faults == []


def test_the_model_answers_for_every_other_sentence(sampler):
    policy = load_policy("tiny")
    tokens = policy.tokenizer("<reasoning> Wait. Wait.").input_ids
    sampler.prefix = tokens
    name, text = sampler.more
    assert name == " ".join(map(str, tokens)) and text
    wanted = next_logprobs(policy, four_rollouts().prompt_ids[0], tokens)[-1]
    assert wanted.exp().sum() == pytest.approx(1)


def test_a_screen_reader_gets_names_and_values(pages, exported):
    page = pages(exported)
    assert all(name.strip() for _, name in accessible(page))
    assert slider_values(page)["noise"] == ("0.62", "0.62")
    assert slider_values(page)["temperature"] == ("1.0", "1")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_every_text_has_enough_contrast(pages, exported, scheme):
    page = pages(exported, color_scheme=scheme)
    page.get_by_role("button", name="Next token").click()
    page.get_by_role("button", name="Start again").click()
    page.wait_for_timeout(200)
    found = contrasts(page)
    assert len(found) > 15
    assert min(found)[0] >= 4.5, sorted(found)[:5]


@pytest.mark.parametrize(
    "width, height", [(1440, 790), pytest.param(1024, 768, marks=pytest.mark.slow)]
)
def test_everything_is_seen_at_once_and_nothing_jumps(pages, exported, width, height):
    page = pages(exported, width=width, height=height)
    first = page.locator("[data-rlvr]").bounding_box()
    page.get_by_role("button", name="Next token").click()
    page.wait_for_timeout(100)
    assert page.locator("[data-rlvr]").bounding_box() == first
    assert first["width"] <= 1060 and first["height"] <= 640


def test_a_move_is_drawn_within_four_milliseconds(pages, exported):
    page = pages(exported)
    # Of the round that other work on this machine disturbed least.
    rounds = [frame_times(page, "values.set('noise', (k % 100) / 100)") for _ in range(4)]
    assert min(times[int(0.95 * len(times))] for times in rounds) <= 4
