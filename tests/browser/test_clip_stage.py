"""The clip stage in a real browser: its numbers, its handles by mouse and keyboard, what a screen
reader hears, its looks, its speed; as a page from disk and in JupyterLab."""

import itertools
import math
import os

import pytest
import torch
from live import OnPage
from playwright.sync_api import Page, expect

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.clipping import clip_binds
from rlvr_helpers.kit.recorded import recorded_drift
from rlvr_helpers.lessons.l06_clipping.experiment import RULES
from rlvr_helpers.lessons.l06_clipping.explorer import UNIT, ClipStage, clip_stage
from rlvr_helpers.ratios import sequence_ratios

pytestmark = pytest.mark.browser
ENVIRONMENT: dict[str, str] = {}
SIZES = {"wide": (1440, 790), "narrow": (732, 768)}
CLEAR = 4.5  # contrast of text
MOST_MS = 4.0  # of our own script in a frame
MORE_MB = 20.0
RATIOS = [1e-6, 0.5, 0.7999, 0.8, 0.98, 0.9996, 1.0, 1.0003, 1.03, 1.2, 1.2001, 1.28, 3.0, 1e4]
ADVANTAGES = [-2.47, -1e-6, 0.0, 1e-6, 0.5, 2.47]
RANGES = [(3e-4, 4e-4), (0.02, 0.03), (0.2, 0.28), (0.9, 0.9)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The stage as a page on disk, opened with a guess answered already."""
    path = tmp_path_factory.mktemp("page") / "clip_stage.html"
    path.write_text(clip_stage(predicting=False).page("The clip stage"), encoding="utf-8")
    return path


@pytest.fixture
def stage(chromium, exported, request):
    """A fresh page of the stage; `request.param`: size, colour scheme, whether motion is
    reduced."""
    size, scheme, motion = getattr(request, "param", ("wide", "light", "no-preference"))
    width, height = SIZES[size]
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion=motion,
        offline=True,
    )
    stage = OnPage(context.new_page())
    stage.page.goto(exported.as_uri())
    stage.faults.clear()  # the page itself was asked for
    stage.page.wait_for_function("document.querySelector('[data-rlvr]')?.rlvr")
    yield stage
    assert stage.faults == []
    context.close()


LIGHT_WIDE = ("wide", "light", "no-preference")
LOOKS = [
    pytest.param(look, marks=[] if look == LIGHT_WIDE else pytest.mark.slow, id=" ".join(look))
    for look in itertools.product(SIZES, ("light", "dark"), ("no-preference", "reduce"))
]
every_look = pytest.mark.parametrize("stage", LOOKS, indirect=True)


# --- numbers


@pytest.fixture(scope="module")
def js(chromium):
    """js("an expression of `given`", given) -> its value, computed beside the stage's script."""
    page = chromium.new_page()
    page.add_script_tag(content=ClipStage.source())
    yield lambda expression, given=None: page.evaluate(f"given => ({expression})", given)
    page.close()


def close(found, wanted) -> None:
    wanted = torch.as_tensor(wanted, dtype=torch.float64)
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), wanted, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("rule", RULES)
def test_objective_gradient_and_stops_are_the_package_s(js, rule):
    objective, stops = RULES[rule]
    grid = [(q, a, *span) for q, a, span in itertools.product(RATIOS, ADVANTAGES, RANGES)]
    calls = (
        f"given.map(([q, a, low, high]) => [OBJECTIVES.{rule}(q, a, low, high), pushOf('{rule}', q,"
        " a, low, high)])"
    )
    for (q, a, low, high), (value, push) in zip(grid, js(calls, grid), strict=True):
        low, high = (math.inf, math.inf) if rule == "none" else (low, high)
        log_ratio = torch.tensor(q, dtype=torch.float64).log().requires_grad_()
        advantage = torch.tensor(a, dtype=torch.float64)
        wanted = objective(log_ratio.exp(), advantage, low, high)
        close(value, wanted.item())
        # at a corner PyTorch takes the middle of two slopes
        if min(abs(q - (1 - low)), abs(q - (1 + high))) > 1e-9:
            close(push, torch.autograd.grad(wanted, log_ratio)[0].item())
    marks = js(f"given.map(([q, a, low, high]) => STOPS.{rule}(q, a, low, high))", grid)
    if rule == "none":
        assert not any(marks)
        return
    wanted = [
        bool(stops(*torch.tensor(place[:2], dtype=torch.float64), *place[2:])) for place in grid
    ]
    assert marks == wanted


def test_the_rollout_arrives_whole(js):
    drift = recorded_drift()
    data = clip_stage().data["rollout"]
    keep = drift.mask.bool()
    found = js("readRollout(given).logRatios.map(d => [...d])", data)
    close(found[1:], torch.round(drift.log_ratios[:, keep].double() / UNIT) * UNIT)
    for scale in ("std", "none"):
        wanted = group_advantages(
            drift.rewards.double().view(-1, drift.group_size), scale
        ).flatten()
        close(js(f"readRollout(given).advantages.{scale}", data), wanted)
    assert js("readRollout(given).words", data) == [token for row in drift.tokens for token in row]


@pytest.mark.parametrize("update", [0, 1, 8, 16])
def test_ratios_of_tokens_sequences_and_products(js, update):
    drift = recorded_drift()
    d = torch.zeros_like(drift.mask, dtype=torch.float64)
    if update:
        d = torch.round(drift.log_ratios[update - 1].double() / UNIT) * UNIT
    keep = drift.mask.bool()
    of_rows = {
        "sequence": sequence_ratios(d, torch.zeros_like(d), drift.mask).log(),
        "product": d.sum(dim=1),
    }
    data = clip_stage().data["rollout"]
    close(js(f"[...unitLogRatios(readRollout(given), 'token', {update})]", data), d[keep])
    for unit, values in of_rows.items():
        found = js(f"[...unitLogRatios(readRollout(given), '{unit}', {update})]", data)
        close(found, values[:, None].expand_as(d)[keep])


@pytest.mark.parametrize(
    "update, unit, span",
    [(8, "token", (0.2, 0.2)), (16, "sequence", (0.02, 0.03)), (3, "product", (0.05, 0.5))],
)
def test_the_count_is_that_of_clip_binds(stage, update, unit, span):
    drift = recorded_drift()
    d = drift.log_ratios[update - 1].double()
    log_q = {
        "token": d[drift.mask.bool()],
        "sequence": d.sum(dim=1) / drift.lengths,
        "product": d.sum(dim=1),
    }[unit]
    a = (
        drift.advantages[:, None].expand_as(d)[drift.mask.bool()]
        if unit == "token"
        else drift.advantages
    )
    stopped = int(clip_binds(log_q.exp(), a, *span).sum())
    stage.set(rule="minimum", unit=unit, update=update, clip_low=span[0], clip_high=span[1])
    assert f"would stop {stopped} of {len(log_q):,}" in stage.text(".count")


def test_the_nearest_recorded_range_is_named_and_nothing_between_is_made_up(stage):
    record = clip_stage().data["record"]
    stage.set(rule="minimum", unit="token", clip_low=0.19, clip_high=0.22)
    said = stage.text(".record")
    assert "range 0.2." in said and "nearest to your 0.19/0.22" in said
    arm = next(
        arm
        for arm in record["arms"]
        if (arm["rule"], arm["unit"], arm["clip_high"]) == ("minimum", "token", 0.2)
    )
    for seed in arm["seeds"]:
        assert f"{100 * seed['accuracy'][-1]:.4g}" in said
    stage.set(clip_high=0.2, clip_low=0.2)
    assert "nearest" not in stage.text(".record")
    stage.set(unit="product")
    assert "not recorded" in stage.text(".record") and "seed" not in stage.text(".record")


def test_both_rules_stand_beside_each_other_for_every_recorded_range(stage):
    stage.set(rule="minimum", unit="sequence", clip_low=0.06, clip_high=0.14)
    said = stage.text(".record")
    for arm in clip_stage().data["record"]["arms"]:
        if arm["unit"] == "sequence":
            assert ", ".join(f"{100 * seed['accuracy'][-1]:.4g}" for seed in arm["seeds"]) in said
    assert "range 0.05/0.07." in said and "a factor of 1.5 away" in said
    button = stage.root.get_by_role("button", name="Range 0.003/0.004")
    button.press("Enter")
    stage.settle()
    assert button.get_attribute("aria-pressed") == "true"
    focused = "document.querySelector('[data-rlvr]').shadowRoot.activeElement.textContent"
    assert stage.page.evaluate(focused) == "0.003/0.004"


def test_numbers_are_written_as_the_words_are_whatever_the_browser_s_language(chromium, exported):
    context = chromium.new_context(locale="de-DE", offline=True)
    german = OnPage(context.new_page())
    german.page.goto(exported.as_uri())
    assert "of 1,311 tokens" in german.text(".count")
    context.close()


def test_a_pulled_dot_does_not_count_in_the_headline(stage):
    before = stage.text(".count")
    stage.set(chosen=0, moved=2.0)
    assert stage.text(".count") == before
    stage.set(chosen=0, moved=-2.0)
    assert stage.text(".count") == before


def test_a_token_that_was_almost_certain_says_that_it_cannot_rise(stage):
    drift = recorded_drift()
    keep = drift.mask.bool()
    probs = drift.logp_old[keep].exp()
    inside = (drift.log_ratios[7][keep].exp() - 1).abs() < 0.01
    good = inside & (drift.advantages[:, None].expand_as(keep)[keep] > 0)
    stage.set(chosen=int((good & (probs > 0.9) & (probs < 0.95)).nonzero()[0]))
    assert "the upper edge is out of reach" in stage.text(".says")
    stage.set(clip_high=0.02)
    assert "out of reach" not in stage.text(".says")
    stage.set(clip_high=0.2, chosen=int((good & (probs < 0.5)).nonzero()[0]))
    assert "Its ratio may still rise" in stage.text(".says")


def test_a_completion_s_tokens_share_its_ratio_and_its_push(stage):
    stage.set(unit="sequence")
    assert stage.root.get_by_text("all 30 tokens").count() == 1
    assert "each of 30 tokens gets 1/30" in stage.text(".account")


def test_a_dot_changes_its_colour_when_it_arrives(stage):
    assert "stopped" not in stage.root.locator(".chosen").get_attribute("class")
    stage.page.evaluate("performance.now = () => 1000")  # time stands still
    stage.set(rule="clamp")
    assert "stopped" not in stage.root.locator(".chosen").get_attribute("class")
    stage.page.evaluate("performance.now = () => 2000")
    stage.settle()
    assert "stopped" in stage.root.locator(".chosen").get_attribute("class")


# --- handles


@every_look
def test_every_handle_by_mouse(stage):
    stage.drag(".edge:nth-of-type(2) .grip", 60)
    assert stage.get("clip_high") > 0.25 and stage.get("clip_low") == 0.2
    stage.drag(".edge:nth-of-type(1) .grip", -40)
    assert stage.get("clip_low") > 0.25
    stage.drag(".chosen circle", -60)
    moved = stage.get("moved")
    assert moved is not None and moved < math.log(1.9)
    assert f"{math.exp(moved):.2f}"[:3] in stage.text(".account td")
    stage.root.get_by_role("option").first.click()
    assert stage.get("moved") is None
    before = stage.get("chosen")
    stage.root.get_by_role("button", name="Next completion").click()
    assert stage.get("chosen") > before and "Completion 48" in stage.text(".text")
    for name, value, words in [("rule", "clamp", "clamp only"), ("unit", "sequence", "sequence")]:
        stage.root.get_by_role("radio", name=words, exact=True).click()
        assert stage.get(name) == value
    stage.slider("Updates").click(position={"x": 2, "y": 8})
    assert stage.get("update") == 0
    stage.root.get_by_role("button", name="Range 0.01/0.015").click()
    assert (stage.get("clip_low"), stage.get("clip_high")) == (0.01, 0.015)
    stage.root.get_by_role("checkbox", name="trails").click()
    assert stage.get("trails")
    stage.root.get_by_role("button", name="Reset").click()
    first = ("minimum", "token", 0.2, 0.2, 8, False, None)
    names = ("rule", "unit", "clip_low", "clip_high", "update", "trails", "moved")
    assert tuple(stage.get(name) for name in names) == first


@every_look
def test_every_handle_by_keyboard(stage):
    high = stage.slider("Upper edge of the range")
    high.press("ArrowRight")
    assert stage.get("clip_high") == 0.28
    high.press("Home")
    assert stage.get("clip_high") == 0.0001
    high.press("End")
    assert stage.get("clip_high") == 0.9
    low = stage.slider("Lower edge of the range")
    low.press("ArrowRight")  # to the right, so the range becomes smaller
    assert stage.get("clip_low") == 0.15
    dot = stage.slider("Chosen token")
    dot.press("ArrowLeft")
    assert stage.get("moved") == pytest.approx(0.671 - 0.02, abs=0.011)
    for name, key, wanted in [("Updates", "ArrowRight", 9), ("Updates", "End", 16)]:
        stage.slider(name).press(key)
        assert stage.get("update") == wanted
    stage.slider("clip_low").press("ArrowLeft")
    assert stage.get("clip_low") == 0.1
    chosen = stage.get("chosen")
    stage.root.locator("[role=option][tabindex='0']").press("ArrowRight")
    assert stage.get("chosen") == chosen + 1
    stage.root.locator("[role=option]:focus").press("ArrowDown")
    assert "Completion 48" in stage.text(".text")
    stage.root.get_by_role("radio", name="minimum").press("ArrowLeft")
    assert stage.get("rule") == "clamp"
    stage.root.get_by_role("button", name="GSPO").press("Enter")
    assert [stage.get(name) for name in ("unit", "clip_low", "clip_high", "rule")] == [
        "sequence",
        0.02,
        0.03,
        "minimum",
    ]


def test_edges_snap_at_usual_values_and_dots_at_edges(stage):
    for places, wanted in [(0.197, 0.2), (0.284, 0.28), (0.0301, 0.03), (0.00031, 0.0003)]:
        stage.set(clip_high=places)
        stage.drag(".edge:nth-of-type(2) .grip", 0.5)
        assert stage.get("clip_high") == wanted
    stage.set(clip_high=0.2)
    edge = stage.root.locator(".edge:nth-of-type(2) .line").bounding_box()["x"]
    dot = stage.root.locator(".chosen circle").bounding_box()
    stage.drag(".chosen circle", edge - dot["x"] - dot["width"] / 2 + 2)
    assert stage.get("moved") == pytest.approx(math.log(1.2), abs=1e-5)


def test_play_runs_to_the_end_and_stops(stage):
    stage.set(update=14)
    stage.root.get_by_role("button", name="Play").click()
    stage.page.wait_for_function(
        "document.querySelector('[data-rlvr]').rlvr.values.get('update') === 16"
    )
    stage.root.get_by_role("button", name="Play").wait_for()  # it said "Pause" meanwhile


def test_a_guess_is_answered_with_how_far_off_it_was(stage):
    for rule, unit, words in [
        ("minimum", "token", "becomes 0 at 0.8,"),
        ("none", "token", "never becomes 0"),
    ]:
        stage.set(predicting=True, guess=None, moved=None, rule=rule, unit=unit)
        assert stage.root.locator(".account tr:visible").count() == 2, (
            "the terms would give the answer away"
        )
        assert "stopped" not in stage.root.locator("[role=option]").first.get_attribute(
            "aria-label"
        )
        stage.drag(".chosen circle", -70)
        stage.root.get_by_role("button", name="This is my guess").click()
        assert not stage.get("predicting") and stage.get("guess") < 1.9
        assert words in stage.text(".says")
    stage.root.get_by_role("button", name="Guess another").click()
    assert stage.get("predicting") and stage.get("guess") is None
    stage.root.get_by_role("button", name="Skip").click()
    assert not stage.get("predicting")


def test_a_guess_by_keyboard_alone(stage):
    """Each button that a press hides hands the keyboard on: to the dot, to the next question."""
    press = lambda name: stage.root.get_by_role("button", name=name).press("Enter")  # noqa: E731
    dot = stage.slider("Chosen token")
    press("Guess another")
    expect(dot).to_be_focused()
    stage.page.keyboard.press("PageDown")
    press("This is my guess")
    assert "You guessed" in stage.text(".says")
    expect(stage.root.get_by_role("button", name="Guess another")).to_be_focused()
    stage.page.keyboard.press("Enter")
    expect(dot).to_be_focused()
    press("Skip")
    expect(stage.root.get_by_role("button", name="Guess another")).to_be_focused()


def test_a_pressed_button_can_be_read_under_the_pointer(stage):
    for role, name in (("button", "GSPO"), ("radio", "clamp only"), ("button", "Range 0.01")):
        button = stage.root.get_by_role(role, name=name).first
        button.click()
        button.hover()
        stage.page.wait_for_timeout(100)
        found = dict(stage.page.evaluate(CONTRASTS))
        assert min(found.values()) >= CLEAR, (name, found)


def test_dr_grpo_clips_as_grpo_does_and_pushes_less(stage):
    count, push = stage.text(".count"), stage.text(".account tr:last-child td")
    stage.root.get_by_role("button", name="Dr. GRPO").click()
    assert stage.text(".count") == count and stage.text(".account tr:last-child td") != push
    assert "Dr. GRPO was not trained here" in stage.text(".record")


@pytest.mark.parametrize(
    "rule, sentence",
    [("clamp", "no push of its own brings it back"), ("minimum", "back to the left")],
)
def test_a_token_on_the_wrong_side_is_trapped_or_pushed_back(stage, rule, sentence):
    stage.set(rule=rule)
    assert sentence in stage.text(".says")
    arrow = stage.root.locator(".push").get_attribute("d")
    assert (arrow == "M0 0") == (rule == "clamp")


INK = """() => {  // the share of the canvas that dots and arrows cover, and the columns between which they lie
  const canvas = document.querySelector('[data-rlvr]').rlvr.root.querySelector('canvas');
  const {width, height} = canvas;
  const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
  const inked = [];
  for (let i = 3; i < data.length; i += 4) if (data[i] > 200) inked.push(((i - 3) / 4) % width);
  return [inked.length, Math.min(...inked) / width, Math.max(...inked) / width];
}"""


def test_the_dots_of_a_completion_flow_together_and_those_of_a_product_apart(stage):
    found = {}
    for unit in ("token", "sequence", "product"):
        stage.set(unit=unit, update=16)
        stage.page.wait_for_timeout(700)
        found[unit] = stage.page.evaluate(INK)
    spread = {unit: right - left for unit, (_, left, right) in found.items()}
    assert spread["sequence"] < 0.75 * min(spread["token"], spread["product"])
    assert found["token"][0] > 4000
    assert all(count > 64 * 30 for count, *_ in found.values()), "a dot has some thirty pixels"
    stage.set(unit="sequence")
    assert "of 64 sequences" in stage.text(".count") and "exp(mean of 30" in stage.text(".account")
    stage.set(predicting=True)
    assert stage.page.evaluate(INK)[0] == 0, "the other dots would give the answer away"


# --- what it says, how it looks


def test_names_and_values_as_a_screen_reader_gets_them(stage):
    """Every part has a name in the browser's accessibility tree, and every slider says its value in
    words."""
    session = stage.page.context.new_cdp_session(stage.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node.get("role", {}).get("value"), node.get("name", {}).get("value", "")) for node in nodes
    ]
    roles = {"button", "radio", "checkbox", "option", "listbox", "radiogroup", "slider", "image"}
    assert [role for role, name in named if role in roles and not name] == []
    values = {
        "Lower edge of the range": "ratio 0.8, epsilon 0.2",
        "Upper edge of the range": "ratio 1.2, epsilon 0.2",
        "Chosen token": "4, ratio 1.96",
        "Updates": "8",
        "clip_low": "0.2",
        "clip_high": "0.2",
    }
    assert sorted(name for role, name in named if role == "slider") == sorted(values)
    assert {name: stage.slider(name).get_attribute("aria-valuetext") for name in values} == values
    options = [name for role, name in named if role == "option"]
    assert len(options) == 30 and "4, ratio 1.96, its push lowers it" in options


# Every text of the stage with its contrast to what is behind it; on the stage also to the grey of a
# dead zone.
CONTRASTS = """() => {
  const brush = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {  // of any way to write a colour
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], back) => [r, g, b].map((c, i) => c * a + back[i] * (1 - a));
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const root = document.querySelector('[data-rlvr]').rlvr.root;
  const raised = rgba(getComputedStyle(root).getPropertyValue('--raised'));
  const page = root.classList.contains('dark') ? [17, 17, 17] : [255, 255, 255];
  const behind = (element) => {
    const grip = element.closest('.edge')?.querySelector('.grip');
    if (grip) return [rgba(getComputedStyle(grip).fill).slice(0, 3)];
    const layers = [];
    for (let at = element; at; at = at.parentNode ?? at.host) {
      if (at instanceof Element) layers.push(rgba(getComputedStyle(at).backgroundColor));
    }
    const back = layers.reduceRight((under, colour) => over(colour, under), page);
    return element.closest('.frame') ? [back, raised.slice(0, 3)] : [back];
  };
  const speaks = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const shown = (element) => element.localName !== 'style' && element.checkVisibility({visibilityProperty: true});
  return [...root.querySelectorAll('*')].filter((one) => speaks(one) && shown(one)).flatMap((element) => {
    const style = getComputedStyle(element);
    const ink = rgba(element instanceof SVGElement ? style.fill : style.color);
    return behind(element).map((back) => {
      const [one, two] = [light(over(ink, back)), light(back)].sort((a, b) => b - a);
      return [element.textContent.slice(0, 30), (one + 0.05) / (two + 0.05)];
    });
  });
}"""
TOO_WIDE = """root => {
  const end = root.getBoundingClientRect().right + 4;
  const shown = [...root.querySelectorAll('*')].filter((e) => e.localName !== 'style' && !e.closest('svg'));
  return shown.filter((e) => e.getBoundingClientRect().right > end).map((e) => e.className + e.textContent);
}"""


@every_look
@pytest.mark.parametrize("rule, unit", [("minimum", "token"), ("clamp", "sequence")])
def test_every_text_has_contrast(stage, rule, unit):
    stage.set(rule=rule, unit=unit, update=16)
    measured = stage.page.evaluate(CONTRASTS)
    assert len(measured) > 60
    assert {text: ratio for text, ratio in measured if ratio < CLEAR} == {}


STATES = [
    {"rule": "minimum"},
    {"unit": "sequence"},
    {"rule": "clamp", "update": 16},
    {"unit": "product"},
    {"unit": "sequence", "rule": "clamp", "clip_low": 0.0015, "advantage_scale": "none"},
    {"predicting": True},
    {"predicting": False, "guess": 1.37},
    {"rule": "none", "unit": "token"},
    {"chosen": 1000},
]


@every_look
def test_it_fits_and_nothing_jumps(stage):
    heights = set()
    for values in STATES:
        stage.set(**values)
        box = stage.root.bounding_box()
        assert box["height"] <= 640 and box["width"] <= 1060, (values, box)
        heights.add(stage.root.locator(".frame").bounding_box()["height"])
        assert stage.root.evaluate(TOO_WIDE) == []
    assert len(heights) == 1


SPREAD = """([width, space]) => {
  const {root} = document.querySelector('[data-rlvr]').rlvr;
  root.getRootNode().host.style.width = `${width}px`;
  const style = document.createElement('style');
  style.textContent = `.rlvr * { letter-spacing: ${space}px !important; }`;
  root.before(style);
}"""


@pytest.mark.parametrize("width", [988, 716, 572])  # 988 and 572: in JupyterLab at 1440 and 1024
@pytest.mark.parametrize("space, most", [(0, 600), (0.65, 640)])
def test_it_fits_in_other_fonts_too(stage, width, space, most):
    """The next machine has another font: text that is a tenth wider may wrap, but not too often.
    Below 700 pixels the picture comes first: it may be higher than a screen."""
    stage.page.evaluate(SPREAD, [width, space])
    most = most if width > 900 else 640 if width >= 700 else 720
    for values in STATES:
        stage.set(**values)
        assert stage.root.bounding_box()["height"] <= most, values


def test_without_motion_dots_are_there_at_once(chromium, exported):
    context = chromium.new_context(reduced_motion="reduce", viewport={"width": 1440, "height": 790})
    page = OnPage(context.new_page())
    page.page.goto(exported.as_uri())
    page.set(unit="sequence")
    assert (
        page.page.evaluate("document.querySelector('[data-rlvr]').rlvr.root.frameTimes.length") <= 3
    )
    context.close()


# --- speed, memory


DRIVE = """async (moves) => {
  const {values, root} = document.querySelector('[data-rlvr]').rlvr;
  const frame = () => new Promise(requestAnimationFrame);
  const names = ['clip_high', 'update', 'moved'];
  root.frameTimes.length = 0;
  for (let i = 0; i < moves; i++) {
    values.set(names[i % 3], [0.1 + 0.003 * (i % 90), i % 17, 0.01 * (i % 90)][i % 3]);
    await frame();
    await frame();
  }
  const times = [...root.frameTimes].sort((a, b) => a - b);
  return [times.length, times[Math.floor(0.95 * times.length)]];
}"""


def script_times(page: Page, rounds: int = 5, moves: int = 60) -> tuple[float, float]:
    """Milliseconds of script in a frame: the 95th percentile by the clock, of the round least
    disturbed by what else this machine does, and the mean of the page's own processor time, which
    nothing disturbs."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def processor() -> float:
        found = {
            one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]
        }
        return 1000 * found["ScriptDuration"]

    started = processor()
    found = [page.evaluate(DRIVE, moves) for _ in range(rounds)]
    assert all(count >= moves for count, _ in found)
    return min(time for _, time in found), (processor() - started) / sum(
        count for count, _ in found
    )


def test_frames_are_fast(stage):
    """By the clock, or on a crowded machine, on which every third frame is interrupted, by
    processor time."""
    clock, processor = script_times(stage.page)
    assert processor <= MOST_MS
    assert clock <= MOST_MS or os.getloadavg()[0] > os.cpu_count(), (
        f"{clock} ms, processor time {processor:.1f} ms"
    )


def test_memory_stays(stage):
    session = stage.page.context.new_cdp_session(stage.page)

    def heap() -> float:
        session.send("HeapProfiler.collectGarbage")
        return session.send("Runtime.getHeapUsage")["usedSize"] / 1e6

    moves = """async (moves) => {
      const {values} = document.querySelector('[data-rlvr]').rlvr;
      for (let i = 0; i < moves; i++) {
        values.set('update', i % 17);
        values.set('chosen', (i * 37) % 1311);
        values.set('unit', ['token', 'sequence', 'product'][i % 3]);
        if (i % 10 === 0) await new Promise(requestAnimationFrame);
      }
    }"""
    stage.page.evaluate(moves, 200)
    before = heap()
    stage.page.evaluate(moves, 2000)
    assert heap() - before < MORE_MB
