"""The explorers of lessons 03, 04 and 05 in a real browser: their numbers, every handle by mouse
and keyboard, what a screen reader hears, their looks, their speed."""

import json
import math
import re
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from live import accessible, contrasts, slider_values
from playwright.sync_api import Page

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.gradient import exact_gradient, score_function_gradient
from rlvr_helpers.kit.recorded import recorded_drift
from rlvr_helpers.lessons.l03_policy_gradient.explorer import FourArms, four_arms
from rlvr_helpers.lessons.l04_advantages.explorer import EightAnswers, eight_answers
from rlvr_helpers.lessons.l05_ratios.explorer import UNIT, ThreeRatios, drift_data, three_ratios
from rlvr_helpers.ratios import sequence_ratios

pytestmark = pytest.mark.browser
EXPLORERS = {"03": four_arms, "04": eight_answers, "05": three_ratios}
CLASSES = {"03": FourArms, "04": EightAnswers, "05": ThreeRatios}
WIDE, NARROW = (1440, 790), (732, 768)
slow = pytest.mark.slow
LOOKS = [
    (WIDE, "light"),
    pytest.param((WIDE, "dark"), marks=slow),
    pytest.param((NARROW, "light"), marks=slow),
    pytest.param((NARROW, "dark"), marks=slow),
]
MOVES = {
    "03": "values.set('counts', [k, 2 * k, 3, 1])",
    "04": "values.set('baseline', (k % 40) / 20)",
    "05": "(values.set('length', 128), values.set('update', k % 17))",
}
MOST_MS = {"03": 4.0, "04": 4.0, "05": 10.0}  # lesson 05 at 128 tokens: 8,192 in all
PLACE = "document.querySelector('[data-rlvr]').rlvr"


@pytest.fixture(scope="module")
def js(chromium):
    """js(lesson, "an expression of `given`", given) -> its value, beside the explorer's script."""
    pages = {}

    def evaluate(lesson: str, expression: str, given=None):
        if lesson not in pages:
            pages[lesson] = chromium.new_page()
            pages[lesson].add_script_tag(content=CLASSES[lesson].source())
        return pages[lesson].evaluate(f"given => ({expression})", given)

    return evaluate


@pytest.fixture
def opened(chromium, tmp_path):
    """opened(lesson) opens an explorer as a page from disk, offline; any fault on it fails."""

    @contextmanager
    def open_page(lesson: str, size=WIDE, scheme="light"):
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, offline=True
        )
        page, faults = context.new_page(), []
        page.on("console", lambda said: said.type == "error" and faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        file = tmp_path / f"{lesson}.html"
        file.write_text(EXPLORERS[lesson]().page("An explorer"), encoding="utf-8")
        page.goto(file.as_uri())
        page.on("request", lambda asked: faults.append(asked.url))
        page.wait_for_function(f"{PLACE.removesuffix('.rlvr')}?.rlvr")
        yield page
        assert faults == []
        context.close()

    return open_page


def get(page: Page, name: str):
    frames = "requestAnimationFrame(() => requestAnimationFrame(() => done(true)))"
    page.evaluate(f"new Promise(done => {frames})")
    return page.evaluate(f"{PLACE}.values.get({json.dumps(name)})")


def drag(page: Page, element, dx: float, dy: float) -> None:
    box = element.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx / 2, y + dy / 2, steps=3)
    page.mouse.move(x + dx, y + dy, steps=3)
    page.mouse.up()


def close(found, wanted) -> None:
    wanted = torch.as_tensor(wanted, dtype=torch.float64)
    found = torch.tensor(found, dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


# --- numbers


@pytest.mark.parametrize("rewards", [[1.0, 0.0, 0.0, 0.0], [1.0, -1.0, 0.0, 1.0], [0.0] * 4])
@pytest.mark.parametrize("logits", [[0.0, 1.0, 0.5, -0.5], [-9.0, 4.0, 0.0, 0.0], [0.0] * 4])
def test_pushes_and_gradient_are_the_package_s(js, rewards, logits):
    x, R = (torch.tensor(values, dtype=torch.float64) for values in (logits, rewards))
    p = js("03", "softmax(given)", logits)
    close(p, x.softmax(dim=0))
    close(js("03", "exactGradient(...given)", [p, rewards]), exact_gradient(x, R))
    for counts in ([1, 0, 0, 0], [0, 7, 2, 1], [40, 30, 20, 10]):
        actions = torch.arange(4).repeat_interleave(torch.tensor(counts))
        wanted = score_function_gradient(x, actions, R[actions])
        close(js("03", "meanPush(...given)", [p, rewards, counts]), wanted)


def test_the_pushes_weighted_by_their_probabilities_add_up_to_the_gradient(js):
    p, rewards = js("03", "softmax(given)", [0.0, 1.0, 0.5, -0.5]), [1.0, -1.0, 0.0, 1.0]
    pushes = [js("03", "pushOf(...given)", [p, rewards, arm]) for arm in range(4)]
    total = torch.tensor(p, dtype=torch.float64) @ torch.tensor(pushes, dtype=torch.float64)
    close(js("03", "exactGradient(...given)", [p, rewards]), total)


def test_a_bar_gets_its_probability_and_the_others_keep_their_shares(js):
    p = js("03", "softmax(withProbability([0, 1, 0.5, -0.5], 1, 0.9))")
    assert p[1] == pytest.approx(0.9, abs=1e-4)
    assert p[0] / p[2] == pytest.approx(math.exp(-0.5), rel=1e-3)


GROUPS = [[1, 0, 0, 1, 0, 0, 0, 0], [0] * 8, [1] * 8, [1, 1, 1, 1, 1, 1, 1, 0]]


@pytest.mark.parametrize("rewards", GROUPS)
@pytest.mark.parametrize("kind", ["fixed", "none", "leave_one_out", "std"])
def test_advantages_and_updates_are_the_package_s(js, rewards, kind):
    """An update is the mean of advantage times score, each answer with the probability 1/8."""
    R = torch.tensor([rewards], dtype=torch.float64)
    wanted = R[0] - 0.3 if kind == "fixed" else group_advantages(R, kind)[0]
    close(js("04", "advantagesOf(...given)", [rewards, kind, 0.3]), wanted)
    even = torch.zeros(8, dtype=torch.float64)
    close(js("04", "exactGradient(given)", rewards), exact_gradient(even, R[0]))
    group = torch.tensor([0, 3, 3, 7, 1, 2, 2, 2])
    drawn = R[:, group]
    A = drawn[0] - 0.3 if kind == "fixed" else group_advantages(drawn, kind)[0]
    found = js("04", "updateOf(...given)", [group.tolist(), rewards, kind, 0.3])
    close(found, score_function_gradient(even, group, A))


@pytest.mark.parametrize("kind", ["fixed", "none", "leave_one_out", "std"])
def test_the_expected_update_is_the_mean_over_many(js, kind):
    rewards = [1, 0, 0, 1, 1, 0, 0, 0]
    even, R = torch.zeros(8, dtype=torch.float64), torch.tensor(rewards, dtype=torch.float64)
    groups = torch.randint(0, 8, (20_000, 8), generator=torch.Generator().manual_seed(0))
    A = R[groups] - 2 if kind == "fixed" else group_advantages(R[groups], kind)
    mean = score_function_gradient(even, groups.flatten(), A.flatten())
    exact = exact_gradient(even, R)
    factor = js("04", "expectedFactor(...given)", [rewards, kind])
    assert factor == pytest.approx((mean @ exact / (exact @ exact)).item(), rel=0.03)
    assert factor == pytest.approx({"none": 7 / 8, "std": factor}.get(kind, 1.0))


def effective_count(logs: torch.Tensor) -> float:
    weights = logs.exp()
    return (weights.sum() ** 2 / weights.square().sum()).item()


@pytest.mark.parametrize("update", [0, 1, 8, 16])
def test_the_three_ratios_are_the_package_s(js, update):
    drift = recorded_drift()
    found = js(
        "05",
        """(drift => {
            const kinds = threeKinds(completions(drift, [], given.update, 0));
            return { ...kinds, token: [...kinds.token] };
        })(readDrift(given.data))""",
        {"data": drift_data(drift), "update": update},
    )
    keep = drift.mask.bool()
    d = drift.log_ratios[update - 1].double() if update else torch.zeros(keep.shape).double()
    rounded = torch.where(keep, (d / UNIT).round() * UNIT, 0.0)
    close(found["token"], rounded[keep])
    close(found["product"], rounded.sum(dim=1))
    s = sequence_ratios(rounded, torch.zeros_like(rounded), drift.mask)
    close(np.exp(found["sequence"]).tolist(), s)
    wanted = effective_count(rounded.sum(dim=1))
    assert js("05", "worth(given)", found["product"]) == pytest.approx(wanted, rel=1e-6)
    token = found["token"]
    spread = js("05", "spreadOf(given)", token)
    quantiles = np.quantile(rounded[keep].numpy(), (0, 0.05, 0.5, 0.95, 1))
    wanted = dict(zip(("least", "low", "median", "high", "most"), quantiles, strict=True))
    assert spread == pytest.approx({"sd": rounded[keep].numpy().std(), **wanted})
    assert sum(js("05", "sharesOf(given, 0.01)", token)) == pytest.approx(1)


def test_with_length_products_spread_and_sequence_ratios_draw_together(js):
    data = drift_data(recorded_drift())
    script = """(drift => given.lengths.map(n => {
        const kinds = threeKinds(completions(drift, drawTokens(drift, 512), 8, n));
        return ["token", "sequence", "product"].map(kind => spreadOf(kinds[kind]).sd);
    }))(readDrift(given.data))"""
    (t8, s8, p8), (t512, s512, p512) = js("05", script, {"data": data, "lengths": [8, 512]})
    assert t512 == pytest.approx(t8, rel=0.2)
    # a sixty-fourth of the variance, and 64 times it
    assert s512 == pytest.approx(s8 / 8, rel=0.3)
    assert p512 == pytest.approx(p8 * 8, rel=0.3)


# --- handles


def test_03_bars_rewards_and_samples(opened):
    with opened("03") as page:
        bar = page.get_by_role("slider", name="Probability of 51")
        drag(page, bar, 0, -40)
        p = np.exp(get(page, "logits"))
        assert (p / p.sum())[1] > 0.6
        before = get(page, "logits")
        bar.press("ArrowDown")
        assert get(page, "logits")[1] < before[1]
        bar.press("End")
        get(page, "logits")
        assert bar.get_attribute("aria-valuetext") == "97\xa0%"
        page.get_by_role("button", name="take 24").click()
        assert get(page, "counts") == [1, 0, 0, 0] and get(page, "arm") == 0
        page.get_by_role("button", name="take 12").press("Enter")
        assert get(page, "counts") == [1, 0, 1, 0]
        assert "it pushes nothing" in page.locator("[role=status]").inner_text()
        page.get_by_role("button", name="12: 0").press("Enter")
        assert get(page, "rewards") == [1, 0, -1, 0]
        page.get_by_role("button", name="100 more").click()
        assert sum(get(page, "counts")) == 102
        assert "After 102 samples" in page.locator("[role=status]").inner_text()
        page.get_by_role("button", name="step along the mean").click()
        assert get(page, "counts") == [0, 0, 0, 0]
        page.get_by_role("button", name="Reset").click()
        assert get(page, "logits") == [0.0, 1.0, 0.5, -0.5] and get(page, "rewards")[2] == 0
        page.get_by_role("button", name="10 more").click()
        page.get_by_role("button", name="forget samples").click()
        assert get(page, "arm") == -1


def test_03_many_samples_come_near_the_gradient(opened):
    with opened("03") as page:
        for _ in range(30):
            page.get_by_role("button", name="100 more").click()
        said = page.locator("[role=status]").inner_text()
        assert float(said.split("the mean is ")[1].split(" ")[0]) < 0.02


def test_04_rewards_baseline_and_kind(opened):
    with opened("04") as page:
        page.get_by_role("button", name="Answer 2, 18").click()
        assert get(page, "rewards")[1] == 1
        page.get_by_role("button", name="Answer 2, 18").press("Enter")
        assert get(page, "rewards")[1] == 0
        line = page.get_by_role("slider", name="Baseline, as a line")
        drag(page, line, 0, -30)
        assert get(page, "baseline") > 0.8
        line.press("ArrowDown")
        line.press("Home")
        assert get(page, "baseline") == -1
        page.get_by_role("slider", name="baseline b").press("End")
        assert get(page, "baseline") == 3
        status = page.locator("[role=status]")
        assert "1.00 times the exact gradient" in status.inner_text()
        page.get_by_role("radio", name="R − mean", exact=True).click()
        get(page, "kind")
        assert "0.88 times the exact gradient" in status.inner_text()
        assert line.get_attribute("aria-valuetext") == "0.25"
        line.press("ArrowUp")
        assert get(page, "kind") == "fixed", "a moved line is a fixed baseline"
        for number in (1, 4):
            page.get_by_role("button", name=f"Answer {number}, 36").click()
        get(page, "kind")
        assert "All rewards are equal" in status.inner_text()
        page.get_by_role("button", name="Reset").click()
        assert get(page, "baseline") == 0 and sum(get(page, "rewards")) == 2


def test_04_a_good_baseline_shrinks_the_cloud_and_keeps_its_mean(js):
    script = """given.map(baseline => {
        const values = { get: name => ({ rewards: [1, 0, 0, 1, 0, 0, 0, 0], kind: "fixed", baseline })[name] };
        const draws = drawn(1600, 8);
        const state = stateOf(values, Array.from({ length: 200 }, (_, i) => draws.slice(8 * i, 8 * i + 8)));
        return [state.arrow, state.scatter];
    })"""
    (mean, at_mean), (zero, at_0), (two, at_2) = js("04", script, [0.25, 0, 2])
    assert mean == zero == two and at_mean < at_0 < at_2


def test_05_update_length_completion_and_axis(opened):
    with opened("05") as page:
        update = page.get_by_role("slider", name="Updates")
        update.press("ArrowRight")
        assert get(page, "update") == 9
        length = page.get_by_role("slider", name="Length")
        length.press("End")
        assert get(page, "length") == 512
        assert length.get_attribute("aria-valuetext") == "512 tokens"
        drag(page, length, -70, 0)
        assert get(page, "length") < 512
        page.get_by_role("slider", name="Completion").press("ArrowRight")
        assert get(page, "completion") == 2
        page.get_by_role("radio", name="1/2 to 2").click()
        assert get(page, "zoom") == "near"
        page.get_by_role("button", name="Reset").click()
        assert (get(page, "update"), get(page, "length"), get(page, "zoom")) == (8, 0, "far")
        drag(page, page.locator(".place").nth(2), 95, 0)
        picked = get(page, "completion")
        totals = recorded_drift().log_ratios[7].sum(dim=1)
        wanted = 95 / 560 * 2 * math.log(100)
        assert abs(totals[picked - 1] - wanted) <= (totals - wanted).abs().min() + 0.05
        update.press("Home")
        get(page, "update")
        assert "they are worth 64" in page.locator("[role=status]").inner_text()


# --- what a picture shows, for a screen reader


def heard(page: Page) -> list[str]:
    """The names of the pictures that can be focused, in their order on the page."""
    get(page, "rewards")
    return [name for role, name in accessible(page) if role in ("img", "image")]


def test_04_the_cloud_and_the_advantages_are_told(opened):
    with opened("04") as page:
        (cloud,) = heard(page)
        assert page.locator("[role=status]").inner_text() in cloud
        ahead = int(re.search(r"(\d+) of the 200 point along the exact gradient", cloud)[1])
        page.get_by_role("slider", name="baseline b").press("End")
        worse = int(re.search(r"(\d+) of the 200", *heard(page))[1])
        assert 100 < worse < ahead <= 200
        page.get_by_role("radio", name="R − mean", exact=True).click()
        get(page, "kind")
        names = [name for _, name in accessible(page) if name.startswith("Answer")]
        assert "reward 1, advantage +0.75" in names[0] and "advantage −0.25" in names[1]


def test_05_every_histogram_is_told(opened):
    drift = recorded_drift()
    logs = drift.log_ratios[7]
    with opened("05") as page:
        page.get_by_role("radio", name="1/2 to 2").click()
        token, sequence, product = heard(page)
        for text, each in ((token, logs[drift.mask.bool()]), (product, logs.sum(dim=1))):
            median = float(re.search(r"median ([\d.]+)", text)[1])
            outside = float(re.search(r"([\d.]+)\xa0% outside 0.50 to 2.00", text)[1])
            assert median == pytest.approx(each.quantile(0.5).exp().item(), abs=0.0051)
            share = (each.abs() > math.log(2)).double().mean().item()
            assert outside == pytest.approx(100 * share, abs=0.51)
        assert token.startswith(f"token ratio: {int(drift.mask.sum())} from ")
        assert sequence.startswith("sequence ratio s: 64 from ") and "0\xa0% outside" in sequence
        page.get_by_role("slider", name="Updates").press("Home")
        assert ["from 1.00 to 1.00, median 1.00," in text for text in heard(page)] == [True] * 3
        page.locator("[role=img]").nth(1).focus()
        focused = page.evaluate(f"{PLACE}.root.getRootNode().activeElement.ariaLabel")
        assert focused == heard(page)[1]


# --- what every explorer must do


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("lesson", EXPLORERS)
def test_it_is_seen_at_once_and_legible(opened, lesson, look):
    size, scheme = look
    with opened(lesson, size, scheme) as page:
        box = page.locator(".rlvr").bounding_box()
        assert box["height"] <= 640 and box["width"] <= 1060
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        found = contrasts(page)
        assert len(found) > 10 and min(found)[0] >= 4.5, sorted(found)[:3]
        assert all(name.strip() for _, name in accessible(page))
        assert all(text.strip() for text, _ in slider_values(page).values())


@pytest.mark.parametrize("lesson", EXPLORERS)
def test_it_draws_in_time(opened, lesson):
    with opened(lesson) as page:
        times = page.evaluate(f"""async () => {{
            const {{ values, root }} = {PLACE};
            for (let k = 1; k < 100; k++) {{
                {MOVES[lesson]};
                await new Promise(requestAnimationFrame);
            }}
            return [...root.frameTimes].sort((a, b) => a - b);
        }}""")
        # half of the frames: the other half may share the processor with other tests
        assert times[len(times) // 2] <= MOST_MS[lesson]


@pytest.mark.parametrize("lesson", EXPLORERS)
def test_what_a_notebook_stores_is_a_picture_and_small(lesson):
    explorer = EXPLORERS[lesson]()
    stored = explorer._repr_mimebundle_()
    assert set(stored) == {"text/html", "text/plain"} and "<img alt=" in stored["text/html"]
    assert len(stored["text/html"].encode()) <= 150_000
    assert len(json.dumps(explorer.data, separators=(",", ":"))) <= 80_000
