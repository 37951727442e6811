"""JavaScript's numbers are the package's: the formulas of `widgets/rlvr.js` in a real browser, to
1e-6."""

import itertools
import math

import pytest
import torch
from lab import CHROMIUM
from playwright.sync_api import sync_playwright

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.clipping import clip_binds, clipped_objective
from rlvr_helpers.losses import aggregate, policy_loss
from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO
from rlvr_helpers.ratios import sequence_ratios
from rlvr_helpers.widgets.live import SHARED

pytestmark = pytest.mark.browser
RATIOS = [
    0.0,
    1e-6,
    0.5,
    0.7999,
    0.8,
    0.97,
    0.98,
    0.9996,
    1.0,
    1.0003,
    1.03,
    1.2,
    1.2001,
    1.28,
    3.0,
    1e4,
]
ADVANTAGES = [-2.47, -1.0, -1e-6, 0.0, 1e-6, 0.5, 2.47]
RANGES = [(0.0, 0.0), (3e-4, 4e-4), (0.02, 0.03), (0.2, 0.2), (0.2, 0.28), (0.5, 0.5), (1.0, 10.0)]
REWARDS = [
    [1, 0, 0, 0],
    [1, 1, 0, 0, 0, 0, 0, 0],
    [0, 0, 0],
    [1, 1],
    [0.1, 0.1, 0.1],
    [-5.0, 2.5, 100.0, 0.0],
]
ROWS = [[0.0], [0.1, -0.3, 0.25], [-20.0, 3.0], [1e-5] * 64, [0.4] * 8, [-0.05, 0.02]]


@pytest.fixture(scope="module")
def call(browser_path):
    """call("function", arguments of many calls) -> the results, computed by the browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=CHROMIUM)
        page = browser.new_page()
        page.add_script_tag(content=SHARED.read_text(encoding="utf-8"))
        yield lambda name, calls: page.evaluate(
            f"calls => calls.map(given => {name}(...given))", calls
        )
        browser.close()


def close(found, wanted) -> None:
    wanted = torch.as_tensor(wanted, dtype=torch.float64)
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), wanted, rtol=1e-6, atol=1e-6
    )


def test_objective_clip_and_gradient(call):
    grid = [(q, a, *limits) for q, a, limits in itertools.product(RATIOS, ADVANTAGES, RANGES)]
    q, a = (
        torch.tensor(column, dtype=torch.float64) for column in list(zip(*grid, strict=True))[:2]
    )
    objectives, binds, gradients = [], [], []
    for ratio, advantage, (_, _, low, high) in zip(q, a, grid, strict=True):
        log_ratio = ratio.log().requires_grad_()
        value = clipped_objective(log_ratio.exp(), advantage, low, high)
        objectives.append(clipped_objective(ratio, advantage, low, high).item())
        binds.append(clip_binds(ratio, advantage, low, high).item())
        # PyTorch's own derivative of the rule, except at its corners, where it takes the middle of
        # two.
        at_corner = min(abs(ratio - (1 - low)), abs(ratio - (1 + high))) < 1e-9
        slope = (
            torch.autograd.grad(value, log_ratio)[0].item() if ratio > 0 and not at_corner else None
        )
        gradients.append(slope)
    close(call("objective", grid), objectives)
    assert call("clipBinds", grid) == binds
    checked = [i for i, slope in enumerate(gradients) if slope is not None]
    assert len(checked) > 600
    found = call("gradient", grid)
    close([found[i] for i in checked], [gradients[i] for i in checked])


def test_sequence_ratio(call):
    wanted = []
    for row in ROWS:
        logp = torch.tensor([row], dtype=torch.float64)
        wanted.append(sequence_ratios(logp, torch.zeros_like(logp), torch.ones_like(logp)).item())
    close(call("sequenceRatio", [(row,) for row in ROWS]), wanted)
    assert call("sequenceRatio", [([],)]) == [1]


@pytest.mark.parametrize("scale", ["std", "none", "leave_one_out"])
def test_advantages(call, scale):
    for rewards, found in zip(
        REWARDS, call("groupAdvantages", [(r, scale) for r in REWARDS]), strict=True
    ):
        close(found, group_advantages(torch.tensor([rewards], dtype=torch.float64), scale)[0])


@pytest.mark.parametrize("how", ["sequence_mean", "constant", "token_mean"])
def test_weights_by_aggregation(call, how):
    for lengths in ([1], [11, 30, 12, 64], [8] * 8, [0, 5, 3]):
        mask = torch.tensor([[t < n for t in range(64)] for n in lengths]).long()
        values = torch.ones(mask.shape, dtype=torch.float64, requires_grad=True)
        aggregate(values, mask, how, 64).backward()
        (found,) = call("tokenWeights", [(lengths, how, 64)])
        for n, weight, row in zip(lengths, found, values.grad, strict=True):
            close([weight] * n, row[:n])


@pytest.mark.parametrize("method", [GRPO, DR_GRPO, GSPO, DAPO], ids=lambda method: method.name)
def test_the_gradient_on_a_log_prob_is_that_of_the_whole_loss(call, method):
    """weight times gradient of the ratio's log is what autograd finds through `policy_loss`, for
    every method."""
    lengths = [1, 4, 7, 2]
    mask = torch.tensor([[t < n for t in range(7)] for n in lengths]).long()
    drift = 0.3 * torch.randn(4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logp = (drift * mask).requires_grad_()
    advantages = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), method.advantage_scale)[
        0
    ].double()
    policy_loss(method, logp, torch.zeros_like(logp), advantages, mask, 16).loss.backward()
    (weights,) = call("tokenWeights", [(lengths, method.aggregation, 16)])
    for i, n in enumerate(lengths):
        row = drift[i, :n].tolist()
        of_row = call("sequenceRatio", [(row,)]) * n
        ratios = of_row if method.ratio_level == "sequence" else [math.exp(x) for x in row]
        given = [(q, advantages[i].item(), method.clip_low, method.clip_high) for q in ratios]
        close([weights[i] * slope for slope in call("gradient", given)], -logp.grad[i, :n])
