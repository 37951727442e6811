"""The explorers of lesson 07 in a real browser: numbers against the package, every handle by mouse
and keyboard, what a screen reader hears, contrast, frames."""

import itertools

import pytest
import torch
from live import OnPage, accessible, frame_times
from playwright.sync_api import expect
from test_clip_stage import CONTRASTS

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.kit.recorded import four_rollouts
from rlvr_helpers.lessons.l07_loss.explorer import (
    AGGREGATIONS,
    Votes,
    kl_explorer,
    reference_distribution,
    start_distributions,
    vote_explorer,
)
from rlvr_helpers.losses import aggregate, kl_estimate

pytestmark = pytest.mark.browser
SIZES = {"wide": (1440, 790), "narrow": (732, 768)}
MADE = {"votes": vote_explorer, "kl": kl_explorer}
MOST_MS = 4.0
MOST_HEIGHT = 640


@pytest.fixture
def shown(chromium, tmp_path):
    """shown("votes", size, scheme) -> an explorer on a page from disk with the network cut off."""
    opened = []

    def show(name: str, size: str = "wide", scheme: str = "light") -> OnPage:
        path = tmp_path / f"{name}.html"
        path.write_text(MADE[name]().page(name), encoding="utf-8")
        width, height = SIZES[size]
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
        )
        explorer = OnPage(context.new_page())
        explorer.page.goto(path.as_uri())
        explorer.faults.clear()  # the page itself was asked for
        explorer.page.wait_for_function("document.querySelector('[data-rlvr]')?.rlvr")
        opened.append((explorer, context))
        return explorer

    yield show
    for explorer, context in opened:
        assert explorer.faults == []
        context.close()


@pytest.fixture(scope="module")
def js(chromium):
    """js("an expression of `given`", given) -> its value, computed beside the explorers' script."""
    page = chromium.new_page()
    page.add_script_tag(content=Votes.source())
    yield lambda expression, given: page.evaluate(f"given => ({expression})", given)
    page.close()


def close(found: list, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), wanted.detach(), rtol=1e-6, atol=1e-6
    )


# --- numbers


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("lengths", [[11, 28, 11, 60], [1, 1, 1, 1], [1, 28, 5, 60]])
@pytest.mark.parametrize("rewards", [[1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]])
def test_votes_are_the_gradient_of_aggregate(js, how, lengths, rewards):
    mask = (torch.arange(60) < torch.tensor(lengths)[:, None]).long()
    a = group_advantages(torch.tensor([rewards]).double(), "none")[0]
    leaf = torch.zeros(4, 60, dtype=torch.float64, requires_grad=True)
    loss = aggregate(a[:, None] * leaf, mask, how, 96)
    (wanted,) = torch.autograd.grad(loss, leaf)
    found = js(f"votesOf(given).{how}", {"rewards": rewards, "lengths": lengths, "budget": 96})
    close(found["token"], wanted[:, 0])
    close(found["answer"], wanted.sum(dim=1))
    assert found["total"] == pytest.approx(wanted.sum(dim=1).abs().sum().item(), abs=1e-9)


REFERENCE = torch.tensor(reference_distribution()).double()
REFERENCE = REFERENCE / REFERENCE.sum()
POLICIES = [*map(torch.tensor, start_distributions().values()), REFERENCE]


@pytest.mark.parametrize("policy", range(len(POLICIES)))
def test_estimates_divergences_and_gradients_are_exact(js, policy):
    p = POLICIES[policy].double()
    p = p / p.sum()
    ref = REFERENCE
    given = {"p": p.tolist(), "ref": ref.tolist()}
    logits = p.log().requires_grad_()
    logp = logits.log_softmax(dim=0)
    now = logp.exp()
    sampled = {}
    for kind in ("k1", "k2", "k3"):
        k = kl_estimate(logp, ref.log(), kind)
        close(js(f"estimates(given.p, given.ref).{kind}", given), k)
        close(js(f"expected(given.p, estimates(given.p, given.ref).{kind})", given), p @ k)
        sampled[kind] = (now.detach() * k).sum()
    reward = -(kl_estimate(logp, ref.log(), "k1") * now).detach() @ logp
    sampled["reward"] = -reward
    for term, value in sampled.items():
        (wanted,) = torch.autograd.grad(value, logits, retain_graph=True)
        close(js(f"gradientOf('{term}', given.p, given.ref)", given), wanted)
    close(js("divergence(given.p, given.ref)", given), (now * (logp - ref.log())).sum())
    close(js("divergence(given.ref, given.p)", given), (ref * (ref.log() - logp)).sum())


def test_k2_and_k3_pull_towards_their_own_kl_and_k1_nowhere(js):
    p, ref = start_distributions()["one"].tolist(), reference_distribution().tolist()
    given = {"p": p, "ref": ref}
    steps = "Array.from({{length: 40}}).reduce((p) => stepped('{0}', p, given.ref), given.p)"
    ends = {term: js(steps.format(term), given) for term in ("k1", "k2", "k3", "reward")}
    assert ends["k1"] == pytest.approx(p, abs=1e-4)
    assert ends["reward"] == pytest.approx(ends["k2"], abs=1e-9)
    hump = slice(10, 18)  # which the policy had lost
    assert sum(ends["k3"][hump]) > 0.5 * sum(ref[hump]) > 2 * sum(ends["k2"][hump])


def test_a_dragged_bar_keeps_a_distribution(js):
    p = start_distributions()["one"].tolist()
    for place, wanted in itertools.product((0, 5, 19), (-1.0, 0.0, 0.3, 0.9, 2.0)):
        given = {"p": p, "i": place, "value": wanted}
        found = js("withBar(given.p, given.i, given.value)", given)
        assert sum(found) == pytest.approx(1, abs=1e-4) and min(found) > 0
        assert found[place] == pytest.approx(min(max(wanted, 0.001), 0.981), abs=2e-3)


# --- handles


def test_votes_by_mouse(shown):
    votes = shown("votes")
    assert "= −2.1" not in votes.text(".told") and "4.2 thousandths" in votes.text(".told")
    end = votes.root.locator(".answer:nth-child(4) .end").bounding_box()
    goal = votes.root.locator(".answer:nth-child(4) .token:nth-child(20)").bounding_box()
    votes.page.mouse.move(end["x"] + 4, end["y"] + 20)
    votes.page.mouse.down()
    votes.page.mouse.move(goal["x"] + goal["width"], goal["y"] + 30, steps=5)
    votes.page.mouse.up()
    assert votes.get("lengths") == [11, 28, 11, 20]
    assert "1 / (4 answers × 20 tokens) = 12.5" in votes.text(".told")
    votes.root.get_by_role("button", name="Reward of right and long").click()
    assert votes.get("rewards") == [1, 0, 0, 0]
    votes.root.get_by_role("radio", name="constant (Dr. GRPO)").click()
    assert votes.get("how") == "constant" and "budget 64" in votes.text(".told")
    votes.root.locator(".answer:nth-child(1) .token").nth(4).click()
    assert votes.get("token") == [0, 4] and "“24”" in votes.text(".told")
    votes.root.get_by_role("button", name="Reset").click()
    assert (votes.get("lengths"), votes.get("how")) == ([11, 28, 11, 60], "sequence_mean")


def test_votes_by_keyboard(shown):
    votes = shown("votes")
    votes.slider("End of the answer wrong and long").press("ArrowLeft")
    assert votes.get("lengths")[3] == 59
    votes.slider("End of the answer wrong and long").press("Home")
    assert votes.get("lengths")[3] == 1
    votes.root.locator("[role=option][tabindex='0']").press("ArrowRight")
    assert votes.get("token") == [3, 1] and "cut off" in votes.text(".told")
    for key, token in [
        ("ArrowLeft", [3, 0]),
        ("ArrowUp", [2, 0]),
        ("End", [2, 10]),
        ("ArrowUp", [1, 10]),
        ("Home", [1, 0]),
        ("ArrowLeft", [0, 10]),
        ("ArrowUp", [0, 10]),
    ]:
        votes.page.keyboard.press(key)
        assert votes.get("token") == token, key
    chosen = votes.root.get_by_role("option", selected=True)
    expect(chosen).to_be_focused()
    assert "“<|end|>”, token 11 of 11 of right and short" in votes.text(".told")
    votes.slider("budget L_max").press("ArrowRight")
    assert votes.get("budget") == 65
    votes.root.get_by_role("radio", name="sequence_mean").press("ArrowRight")
    assert votes.get("how") == "constant"


def test_a_larger_budget_changes_the_sum_and_no_share(shown):
    votes = shown("votes")
    shares = votes.root.locator(".shares").all_inner_texts()
    before = votes.text("p.soft >> nth=1")
    votes.set(budget=128)
    assert votes.root.locator(".shares").all_inner_texts() == shares
    after = votes.text("p.soft >> nth=1")
    assert "constant 214.8" in before and "constant 107.4" in after


def test_the_bars_by_mouse_and_keyboard(shown):
    kl = shown("kl")
    box = kl.root.locator(".bar .area").nth(14).bounding_box()
    x, bottom = box["x"] + box["width"] / 2, box["y"] + 258
    kl.page.mouse.move(x, bottom)
    kl.page.mouse.down()
    kl.page.mouse.move(x, bottom - 100, steps=4)
    kl.page.mouse.up()
    raised = kl.get("probabilities")[14]
    assert 0.15 < raised < 0.25 and kl.get("chosen") == 14
    bar = kl.slider("Probability of token o")
    bar.press("ArrowUp")
    assert kl.get("probabilities")[14] == pytest.approx(raised + 0.01, abs=0.006)
    bar.press("ArrowRight")
    assert kl.get("chosen") == 15
    kl.root.get_by_role("radio", name="k1 in the loss").click()
    before = kl.get("probabilities")
    kl.root.get_by_role("button", name="Take a step").click()
    assert kl.get("probabilities") == pytest.approx(before, abs=2e-6)
    assert "Nothing moves" in kl.text(".does")
    kl.root.get_by_role("radio", name="k1 in the loss").press("End")
    assert kl.get("term") == "reward"
    kl.root.get_by_role("button", name="Play").click()
    kl.root.get_by_role("button", name="Pause").click()
    assert kl.get("probabilities") != before
    kl.root.get_by_role("button", name="flat").click()
    assert kl.get("probabilities") == start_distributions()["flat"].tolist()
    kl.root.get_by_role("button", name="Reset").click()
    assert kl.get("probabilities") == start_distributions()["one"].tolist()


# --- what they say, how they look


@pytest.mark.parametrize("name", MADE)
def test_everything_has_a_name(shown, name):
    explorer = shown(name)
    explorer.settle()
    assert [role for role, said in accessible(explorer.page) if not said] == []
    tokens = sum(len(row) for row in four_rollouts().tokens)
    options = explorer.root.get_by_role("option").count()
    assert options == (tokens if name == "votes" else 0)


LOOKS = [
    pytest.param(*look, marks=[] if look == ("wide", "light") else pytest.mark.slow)
    for look in itertools.product(SIZES, ("light", "dark"))
]


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
@pytest.mark.parametrize("name", MADE)
def test_it_fits_and_can_be_read(shown, name, size, scheme):
    explorer = shown(name, size, scheme)
    explorer.settle()
    found = explorer.page.evaluate(CONTRASTS)
    assert found and [text for text, contrast in found if contrast < 4.5] == []
    box = explorer.root.bounding_box()
    assert box["height"] <= MOST_HEIGHT
    assert explorer.page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


MOVES = {
    "votes": "values.set('lengths', [11, 28, 11, 1 + k % 60])",
    "kl": "values.set('probabilities', values.get('probabilities').map((p, i, all) => all.at(i - 1)))",
}


@pytest.mark.parametrize("name", MOVES)
def test_a_frame_is_quick(shown, name):
    page = shown(name).page
    # Of the round that other work on this machine disturbed least.
    rounds = [frame_times(page, MOVES[name]) for _ in range(4)]
    assert min(times[int(0.95 * len(times))] for times in rounds) <= MOST_MS
