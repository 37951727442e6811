"""Lesson 05: its figure says its numbers, its toy agrees with a slow reference implementation, its
recording is what it says."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.kit.recorded import four_rollouts, recorded_drift
from rlvr_helpers.lessons.l05_ratios import figures
from rlvr_helpers.lessons.l05_ratios.experiment import WEIGHTS, bias_and_noise
from rlvr_helpers.lessons.l05_ratios.questions import QUIZ
from rlvr_helpers.plots import show
from rlvr_helpers.ratios import masked_log_ratios, sequence_ratios, token_ratios
from rlvr_helpers.tools import record_drift


def words(figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


# --- figures


def test_spread_growth_says_where_it_ends():
    figure = figures.spread_growth([0, 0.1, 0.2], [0, 0.05, 0.19], [0, 0.5, 1.5])
    assert (
        "After 2 updates token ratios spread 0.20, sequence ratios 0.19, products 1.5" in figure.alt
    )
    assert words(figure) == [
        "sequence ratio 0.19",
        "token ratio 0.20",
        "product of token ratios 1.5",
    ]
    heights = [text.get_position()[1] for text in figure.axes[0].texts]
    assert heights == sorted(heights) and min(np.diff(heights)) > 0.09, "labels touch"


@pytest.mark.parametrize("count", [1, 2, 4])
def test_spread_growth_draws_a_run_that_was_cut_short(count):
    assert show(figures.spread_growth([0.0] * count, [0.0] * count, [0.0] * count)).html


# --- the toy


def slow_bias_and_noise(length: int, drift: float, toy: int) -> dict:
    """One toy by loops and autograd, one text at a time."""
    noise = torch.Generator().manual_seed(toy)
    old = torch.randn(length, 2, generator=noise, dtype=torch.float64)
    new = (
        old + drift * torch.randn(length, 2, generator=noise, dtype=torch.float64)
    ).requires_grad_()
    texts = list(itertools.product(range(2), repeat=length))

    def logps(logits, text):
        return torch.stack([logits[t].log_softmax(0)[word] for t, word in enumerate(text)])

    p_old = [logps(old, text).sum().exp() for text in texts]
    rewards = [float(text.count(0) >= length / 2) for text in texts]
    baseline = sum(p * r for p, r in zip(p_old, rewards, strict=True))
    expected = sum(
        logps(new, text).sum().exp() * (r - baseline)
        for text, r in zip(texts, rewards, strict=True)
    )
    true = torch.autograd.grad(expected, new)[0]
    found = {}
    for name in WEIGHTS:
        samples = []
        for text, reward in zip(texts, rewards, strict=True):
            logp, d = logps(new, text), logps(new, text).detach() - logps(old, text)
            weight = {
                "none": 1.0,
                "token": d.exp(),
                "sequence": d.mean().exp(),
                "product": d.sum().exp(),
            }[name]
            samples.append(torch.autograd.grad((weight * logp).sum() * (reward - baseline), new)[0])
        mean = sum(p * g for p, g in zip(p_old, samples, strict=True))
        variance = sum(p * (g - mean).square().sum() for p, g in zip(p_old, samples, strict=True))
        found[name] = (
            ((mean - true).norm() / true.norm()).item(),
            (variance.sqrt() / true.norm()).item(),
        )
    return found


def test_the_toy_agrees_with_its_slow_reference():
    quick, slow = (
        bias_and_noise(4, 0.5, toys=2),
        [slow_bias_and_noise(4, 0.5, toy) for toy in range(2)],
    )
    for name in WEIGHTS:
        assert quick[name] == pytest.approx(np.mean([one[name] for one in slow], axis=0), abs=1e-12)
    assert quick["product"][0] < 1e-12, "the product is the exact weight"


# --- the recording


def test_the_recorded_drift_is_whole():
    drift = recorded_drift()
    assert (
        drift.log_ratios.shape == (16, *drift.mask.shape)
        and drift.updates == 16
        and len(drift.mask) == 64
    )
    assert (drift.log_ratios[:, drift.mask == 0] == 0).all() and (drift.lengths > 0).all()
    expected = group_advantages(drift.rewards.view(-1, drift.group_size)).flatten()
    assert torch.allclose(drift.advantages, expected, atol=1e-5) and (expected != 0).all()
    spread = drift.log_ratios[:, drift.mask.bool()].std(dim=1)
    assert (spread.diff() > 0).all(), "the rollout drifts apart with every update"
    assert [len(tokens) for tokens in drift.tokens] == drift.lengths.tolist()
    assert len(drift.questions) == len(drift.answers) == len(drift.mask) / drift.group_size
    assert (drift.logp_old <= 0).all() and (drift.logp_old[drift.mask == 0] == 0).all()


@pytest.mark.slow
def test_the_recorded_drift_is_real(monkeypatch):
    policy, drift = record_drift.load_policy("tiny"), recorded_drift()
    rollout, rewards, problems = record_drift.sample_with_signal(policy)
    assert [problem.question for problem in problems] == drift.questions
    tokens = policy.tokenizer.convert_ids_to_tokens(rollout.completion_ids[0].tolist())
    assert tokens[: len(drift.tokens[0])] == drift.tokens[0]
    assert (
        rollout.lengths.tolist() == drift.lengths.tolist()
        and rewards.flatten().tolist() == drift.rewards.tolist()
    )
    monkeypatch.setattr(record_drift, "SETTINGS", replace(record_drift.SETTINGS, epochs=1))
    for found, recorded in zip(
        record_drift.drift(policy, rollout, rewards), drift.log_ratios, strict=False
    ):
        found = found[:, : drift.mask.shape[1]]  # the padding of the rows that were left out
        # rounding differs by CPU
        assert (found - recorded)[drift.mask.bool()].abs().median() < 1e-4
        assert found.std() == pytest.approx(recorded.std().item(), rel=0.02)


def test_the_four_rollouts_move_as_the_lesson_says():
    four = four_rollouts()
    d = masked_log_ratios(four.logprobs["after 30 steps"], four.logprobs["start"], four.mask)
    assert d.exp().min() < 0.003 and d.exp().max() > 14


def test_the_product_follows_its_first_order_part_as_the_lesson_says():
    drift = recorded_drift()
    for updates, wanted in ((1, 0.997), (4, 0.993), (8, 0.995), (16, 0.970)):
        d = drift.log_ratios[updates - 1]
        rho = token_ratios(d, torch.zeros_like(d), drift.mask)
        pair = torch.stack([rho.prod(dim=1), 1 + (rho - 1).sum(dim=1)])
        assert torch.corrcoef(pair)[0, 1].item() == pytest.approx(wanted, abs=6e-4)


def test_product_and_first_order_part_have_the_same_gradient_at_1():
    old = -torch.rand(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    new = old.clone().requires_grad_()
    rho = token_ratios(new, old, torch.ones(3, 5))
    product = torch.autograd.grad(rho.prod(dim=1).sum(), new, retain_graph=True)[0]
    assert torch.allclose(product, torch.autograd.grad((rho - 1).sum(), new)[0])


# --- quiz


def test_the_quiz_is_answered_by_the_ratios():
    old = -torch.rand(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.ones(2, 4)
    # one update: every ratio is 1, and the means of GRPO and GSPO have the same gradient
    new = old.clone().requires_grad_()
    grpo = token_ratios(new, old, mask).mean(dim=1).sum()
    gspo = sequence_ratios(new, old, mask).sum()
    gradients = [torch.autograd.grad(value, new)[0] for value in (grpo, gspo)]
    assert grpo.item() == gspo.item() == 2 and torch.allclose(*gradients)
    # not detached: the package detaches, a plain exp(x - x) carries no gradient
    assert (torch.autograd.grad((new - new).exp().sum(), new)[0] == 0).all()
    # independent tokens: four times as long, half the spread of log s
    noise = torch.randn(4000, 256, generator=torch.Generator().manual_seed(0))
    ratio = noise[:, :64].mean(dim=1).std() / noise.mean(dim=1).std()
    assert ratio.item() == pytest.approx(2, rel=0.05)
    correct = [choice.text for question in QUIZ for choice in question.choices if choice.correct]
    assert correct[1] == "It halves."
