"""The token lens in a real browser: its numbers, mouse, keyboard, screen reader, themes, as an
exported page from disk."""

import re

import pytest
import torch
from live import PLACE, accessible, contrasts, frame_times, heap, processor_time, slider_values
from playwright.sync_api import expect

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.kit.recorded import four_rollouts, recorded_group
from rlvr_helpers.kit.token_lens import TokenLens, token_lens, what_else
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO
from rlvr_helpers.models import load_policy
from rlvr_helpers.tools import export_explorer

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "x.html"
    export_explorer.main(["token_lens", "--out", str(out)])
    assert out.stat().st_size <= 500_000
    return out.read_text(encoding="utf-8")


# numbers


@pytest.mark.parametrize("method", [GRPO, DR_GRPO, GSPO], ids=lambda method: method.name)
def test_ratio_clip_and_gradient_of_every_token_are_those_of_the_package(pages, exported, method):
    group, lens = recorded_group(), token_lens(recorded_group())
    flipped = [1 - reward if row in (1, 5) else reward for row, reward in enumerate(lens.rewards)]
    page = pages(exported)
    page.add_script_tag(content=TokenLens.source())
    given = next(each for each in lens.data["methods"] if each["name"] == method.name)
    keep = group.mask.bool()
    for update in (0, 1, 8, 16):
        for rewards in (lens.rewards, flipped):
            found = page.evaluate(
                """([data, method, update, rewards]) => {
                    const found = judge(readGroup(data), method, update, rewards);
                    return [found.ratio, found.gradient, found.binds].map((of) => [...of]);
                }""",
                [lens.data, given, update, rewards],
            )
            steps = group.logprobs[method.name].double()
            new = steps[update].clone().requires_grad_()
            a = group_advantages(
                torch.tensor([rewards], dtype=torch.float64), method.advantage_scale
            )[0]
            out = policy_loss(method, new, steps[0], a, group.mask, group.max_tokens)
            out.loss.backward()
            ratios = out.ratios if out.ratios.dim() == 2 else out.ratios[:, None].expand_as(new)
            for numbers, wanted in zip(found, (ratios[keep], -new.grad[keep]), strict=False):
                found_here = torch.tensor(numbers, dtype=torch.float64)
                torch.testing.assert_close(found_here, wanted.detach(), rtol=1e-6, atol=1e-6)
            count = keep if method.ratio_level == "token" else torch.ones_like(keep) & keep
            bound = sum(found[2]) / int(count.sum())
            if method.ratio_level == "token":
                assert bound == pytest.approx(out.clip_fraction.item(), abs=1e-6)


# in a page of its own


def chosen(page):
    return page.get_by_role("option", selected=True)


def test_every_handle_by_mouse_and_keyboard(pages, exported):
    page = pages(exported)
    values = lambda name: page.evaluate(f"{PLACE}.values.get('{name}')")  # noqa: E731
    page.get_by_role("option", name="about").first.click()
    assert values("token") == [1, 3]
    page.keyboard.press("ArrowRight")
    assert values("token") == [1, 4]
    expect(chosen(page)).to_be_focused()
    for key, token in [
        ("ArrowLeft", [1, 3]),
        ("ArrowDown", [2, 3]),
        ("ArrowUp", [1, 3]),
        ("End", [1, 10]),
        ("Home", [1, 0]),
    ]:
        page.keyboard.press(key)
        assert values("token") == token, key
    update = page.get_by_role("slider", name="update")
    for key, value in [("ArrowRight", 9), ("ArrowLeft", 8), ("End", 16), ("Home", 0)]:
        update.press(key)
        assert values("update") == value, key
    expect(update).to_have_attribute("aria-valuetext", "after 0 updates")
    box = update.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert values("update") == 16
    page.get_by_role("radio", name="GSPO").click()
    page.get_by_role("radio", name="GSPO").press("ArrowRight")
    assert values("method") == "all"
    page.get_by_role("radio", name="what it did").click()
    assert values("shows") == "change"
    page.get_by_role("button", name="Reward of completion 2").click()
    assert values("rewards")[1] == 1
    page.get_by_role("button", name="Reward of completion 2").press("Enter")
    assert values("rewards")[1] == 0
    page.get_by_role("button", name="Reset").press("Enter")
    assert (values("update"), values("method"), values("shows")) == (8, "GRPO", "push")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(f"{PLACE}.values.get('update') > 9")
    page.get_by_role("button", name="Stop").click()
    assert page.faults == []


def test_a_flipped_reward_changes_the_chain_and_says_that_no_update_was_recorded(pages, exported):
    page = pages(exported)
    page.get_by_role("slider", name="update").press("Home")
    page.get_by_role("button", name="Reward of completion 2").click()
    chain = page.get_by_role("region")
    expect(chain).to_contain_text("not recorded with these rewards")
    rewards = torch.tensor([[1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    expect(chain).to_contain_text(f"{group_advantages(rewards)[0, 0]:+.3f}")
    assert page.faults == []


def test_what_an_update_did_is_shown_for_the_recorded_rewards_only(pages, exported):
    page = pages(exported)
    page.add_script_tag(content=TokenLens.source())
    lens = token_lens(recorded_group())
    tints = page.evaluate(
        """([data, rewards]) => [true, false].map((recorded) => {
            const verdicts = [judge(readGroup(data), data.methods[0], 8, rewards)];
            return Math.max(...strengths(verdicts, "change", recorded)[0].map(Math.abs));
        })""",
        [lens.data, lens.rewards],
    )
    assert tints == [1, 0]


def test_a_reward_is_flipped_to_0_and_back_to_what_it_was(pages, exported):
    page = pages(exported)
    page.add_script_tag(content=TokenLens.source())
    back = "given => given.map(([now, recorded]) => flipped([now], [recorded], 0)[0])"
    pairs = [[1, 1], [0, 1], [0, 0], [0.5, 0.5], [0, 0.5], [-1, -1], [0, -1]]
    assert page.evaluate(back, pairs) == [0, 1, 1, 0, 0.5, 1, 1]


UNTINTED = f"""() => {{
    const {{root}} = {PLACE};
    const canvas = root.querySelector('canvas');
    const all = canvas.getBoundingClientRect();
    const context = canvas.getContext('2d');
    return [...root.querySelectorAll('.token')].filter((token) => {{
        const box = token.getBoundingClientRect();
        const at = [box.left - all.left + 2, box.top - all.top + box.height / 2 + 5];
        const [x, y] = at.map((place) => Math.round((place * canvas.width) / all.width));
        return context.getImageData(x, y, 1, 1).data[3] === 0;
    }}).map((token) => token.textContent);
}}"""


def test_tints_lie_behind_their_tokens_however_short_a_completion_is(pages):
    lens = token_lens(recorded_group(), group=0)
    lens.data = {
        **lens.data,
        "rows": [row[:3] for row in lens.data["rows"]],
        "logprobs": {
            name: [[row[:3] for row in step] for step in steps]
            for name, steps in lens.data["logprobs"].items()
        },
    }
    lens.update, lens.token = 0, [0, 0]
    page = pages(lens.page("short"))
    page.wait_for_timeout(300)
    assert page.evaluate(UNTINTED) == [] and page.faults == []


def test_a_screen_reader_gets_names_and_values_in_words(pages, exported):
    page = pages(exported)
    found = accessible(page)
    assert all(name.strip() for _, name in found)
    assert slider_values(page) == {"update": ("after 8 updates", "8")}
    names = [name for _, name in found]
    assert "Reward of completion 3 is 0.00. Press to flip it." in names
    (token,) = [name for name in names if name.startswith("4: token 2 of 24 in completion 1")]
    assert "GRPO: the clip binds" in token


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ["GRPO", "all three"])
def test_every_text_has_enough_contrast(pages, exported, scheme, method):
    page = pages(exported, color_scheme=scheme)
    page.get_by_role("radio", name=method, exact=True).click()
    page.wait_for_timeout(200)
    found = contrasts(page)
    assert len(found) > 200
    assert min(found)[0] >= 4.5, sorted(found)[:5]


@pytest.mark.parametrize(
    "width, height", [(1440, 790), pytest.param(1024, 768, marks=pytest.mark.slow)]
)
def test_everything_is_seen_at_once_and_nothing_jumps(pages, exported, width, height):
    page = pages(exported, width=width, height=height)

    def size():
        box = page.evaluate(
            "(() => { const {width, height} = document.querySelector('[data-rlvr]')"
            ".getBoundingClientRect(); return [width, height]; })()"
        )
        return tuple(box)

    first = size()
    assert first[0] <= 1060 and first[1] <= 640
    for name in ("all three", "what it did", "Dr. GRPO", "GSPO"):
        page.get_by_role("radio", name=name).click()
        page.wait_for_timeout(100)
        assert size() == first, name


@pytest.mark.slow
def test_less_motion_changes_no_result(pages, exported):
    page = pages(exported, reduced_motion="reduce")
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(600)
    assert page.evaluate(f"{PLACE}.values.get('update')") == 8  # one step a second
    page.wait_for_function(f"{PLACE}.values.get('update') === 9")


def test_two_thousand_moves_leave_the_memory_as_it_was(pages, exported):
    page = pages(exported)
    frame_times(page, "values.set('update', k % 17)", 50)
    before = heap(page)
    page.evaluate(f"""async () => {{
        const {{values}} = {PLACE};
        for (let k = 0; k < 2000; k++) {{
            values.set('update', k % 17);
            values.set('token', [k % 8, k % 11]);
            values.set('method', k % 40 ? 'all' : 'GRPO');
            if (k % 10 === 0) await new Promise(requestAnimationFrame);
        }}
    }}""")
    assert heap(page) - before < 20


def test_the_four_rollouts_and_the_simplest_form(pages):
    page = pages(token_lens(four_rollouts()).page("four"))
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "start")
    page.get_by_role("slider").press("End")
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "after 30 steps")
    assert page.faults == []
    page = pages(what_else(four_rollouts(), load_policy("tiny")).page("else"))
    page.get_by_role("option", name="51").first.click()
    expect(page.get_by_role("region")).to_contain_text("that is “51”")
    said = page.get_by_role("region").inner_text()
    start, end = map(
        float, re.search(r"between ([\d.]+) and ([\d.]+): that is “51”", said).groups()
    )
    assert start - 1e-4 <= float(re.search(r"noise ([\d.]+)", said)[1]) <= end + 1e-4
    expect(page.get_by_role("button")).to_have_count(0)  # no rewards yet
    assert min(contrasts(page))[0] >= 4.5 and page.faults == []


def test_ten_thousand_tokens_are_drawn_in_time(pages):
    """Three methods, another update each frame. By processor time, and by the clock in a round that
    other work on this machine disturbs little."""
    lens = token_lens(recorded_group(), group=0)
    copies = -(-10_000 // sum(map(len, lens.data["rows"])))
    many = {name: copies * lens.data[name] for name in ("rows", "rewards")}
    coded = {
        name: [copies * step for step in steps] for name, steps in lens.data["logprobs"].items()
    }
    lens.data = {**lens.data, **many, "logprobs": coded}
    lens.rewards = many["rewards"]
    lens.method = "all"
    page, moves = pages(lens.page("many")), "values.set('update', k % 17)"
    assert min(processor_time(page, moves, 60) for _ in range(4)) <= 6
    rounds = (frame_times(page, moves, 60) for _ in range(12))
    assert any(times[len(times) // 2] <= 6 for times in rounds)
