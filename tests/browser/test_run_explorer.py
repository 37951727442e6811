"""The run explorer of lesson 09 in a real browser: its numbers, its handles by mouse and keyboard,
what a screen reader hears, its looks."""

import itertools
import json

import pytest
from live import PLACE, accessible, slider_values

from rlvr_helpers.kit.recorded import recorded_runs
from rlvr_helpers.lessons.l09_train_all_three.explorer import recorded_answers, run_explorer

pytestmark = pytest.mark.browser
SIZES = {"wide": (1440, 790), "narrow": (732, 768)}
TALLEST = 640


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "run_explorer.html"
    path.write_text(run_explorer().page("The run explorer"), encoding="utf-8")
    return path


@pytest.fixture
def page(chromium, exported, request):
    """A fresh page of the explorer; `request.param`: size and colour scheme."""
    size, scheme = getattr(request, "param", ("wide", "light"))
    width, height = SIZES[size]
    page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    faults = []
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(exported.as_uri())
    page.wait_for_function("document.querySelector('[data-rlvr]')?.rlvr")
    yield page
    assert faults == []
    page.close()


LOOKS = [
    pytest.param(look, marks=[] if look == ("wide", "light") else pytest.mark.slow)
    for look in itertools.product(SIZES, ("light", "dark"))
]
every_look = pytest.mark.parametrize("page", LOOKS, indirect=True)


def settle(page) -> None:
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def get(page, name: str):
    settle(page)
    return page.evaluate(f"{PLACE}.values.get({json.dumps(name)})")


def put(page, **values) -> None:
    for name, value in values.items():
        page.evaluate(f"([n, v]) => {PLACE}.values.set(n, v)", [name, value])
    settle(page)


def text(page, selector: str) -> str:
    settle(page)
    return page.locator(selector).inner_text()


# --- numbers


@pytest.mark.parametrize("seed, step", [(0, 5), (1, 20), (2, 32)])
def test_it_says_the_accuracy_and_the_spread_of_the_records(page, seed, step):
    put(page, seed=seed, step=step)
    for name, runs in recorded_runs().items():
        record = runs[seed].records[step - 1]
        assert f"{name} {100 * record.eval.accuracy:.1f}" in text(page, ".now")
        spread = float(f"{record.token_log_ratio.std:.3g}")
        said = text(page, ".spreads >> nth=0")
        assert f"{name}: sd {spread:.2g}" in said or f"{name}: sd {spread:.1g}" in said


def test_between_two_evaluations_the_last_one_is_named(page):
    put(page, step=7)
    assert "(step 5)" in text(page, ".now")
    put(page, quantity="entropy")
    first = recorded_runs()["GRPO"][0].records[6].entropy
    assert f"GRPO {float(f'{first:.3g}'):.3f}" in text(page, ".now")
    put(page, step=0)
    assert text(page, ".now").count("not measured") == 3


def test_the_answers_are_those_recorded_and_what_changed_is_underlined(page):
    answers = recorded_answers()
    for problem, step in ((0, 0), (3, 4), (7, 32)):
        put(page, problem=problem, step=step)
        for card, (name, steps) in enumerate(answers["answers"].items()):
            shown = text(page, f".card >> nth={card}")
            number = steps[step][problem]
            assert answers["texts"][number] in " ".join(shown.split())
            correct = number in answers["correct"][problem]
            assert f"{name}: {'correct' if correct else 'incorrect'}" in shown
            changed = len({each[problem] for each in steps[: step + 1]}) > 1
            assert changed == (page.locator(f".card >> nth={card} >> u").count() > 0)


# --- handles


@every_look
def test_every_handle_by_mouse(page):
    box = page.locator(".curves svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 50, steps=4)
    page.mouse.up()
    assert get(page, "step") in (31, 32)
    page.get_by_role("radio", name="reward").click()
    assert get(page, "quantity") == "reward_mean"
    page.get_by_role("radiogroup", name="seed").get_by_role("radio", name="2").click()
    assert get(page, "seed") == 2
    for name in ("GRPO", "Dr. GRPO", "GSPO"):
        page.get_by_role("button", name=f"Show or hide {name}", exact=True).click()
    assert get(page, "shown") == ["GSPO"], "one always stays"
    page.get_by_role("button", name="Previous problem").click()
    assert get(page, "problem") == 7 and "Problem 8 of 8" in text(page, ".answers")
    page.locator(".strip rect >> nth=3").hover()
    page.mouse.down()  # at once: while Play runs the cards are soon others
    assert get(page, "step") == 3
    page.mouse.up()
    assert get(page, "step") == 3


def test_every_handle_by_keyboard(page):
    cursor = page.get_by_role("slider", name="Step on the curves")
    cursor.press("End")
    assert get(page, "step") == 32
    cursor.press("ArrowLeft")
    assert get(page, "step") == 31
    page.get_by_role("slider", name="step", exact=True).press("Home")
    assert get(page, "step") == 0
    page.get_by_role("radio", name="held-out accuracy").press("ArrowRight")
    assert get(page, "quantity") == "reward_mean"
    page.get_by_role("button", name="Show or hide GRPO", exact=True).press("Enter")
    assert "GRPO" not in get(page, "shown")
    page.get_by_role("button", name="Next problem").press("Enter")
    assert get(page, "problem") == 1


def test_play_runs_to_the_end_and_stops(page):
    put(page, step=31)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(f"{PLACE}.values.get('step') === 32")
    page.get_by_role("button", name="Play").wait_for()  # it said "Pause" meanwhile


# --- what it says, how it looks


def test_names_and_values_as_a_screen_reader_gets_them(page):
    put(page, step=4)
    assert [role for role, name in accessible(page) if not name] == []
    values = slider_values(page)
    assert values["Step on the curves"][0] == values["step"][0] == "step 4"
    put(page, step=0)
    assert slider_values(page)["step"][0] == "before training"


@every_look
def test_it_fits_and_nothing_jumps(page):
    heights = set()
    for step, problem in ((0, 0), (6, 1), (32, 7)):
        put(page, step=step, problem=problem)
        box = page.locator("[data-rlvr]").bounding_box()
        heights.add(round(box["height"]))
    assert max(heights) <= TALLEST and max(heights) - min(heights) <= 40, heights
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_is_small():
    explorer = run_explorer()
    assert len(json.dumps(explorer.data, separators=(",", ":"))) <= 80_000
    assert len(explorer.html) <= 150_000
