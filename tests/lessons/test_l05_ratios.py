"""Lesson 05: its figures draw and say their numbers, its toy agrees with a slow reference implementation, its recording
is what it says."""

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.kit.recorded import four_rollouts, recorded_drift
from rlvr_helpers.lessons.l05_ratios import figures
from rlvr_helpers.lessons.l05_ratios.experiment import WEIGHTS, bias_and_noise
from rlvr_helpers.lessons.l05_ratios.explorer import effective_count, ratio_explorer
from rlvr_helpers.plots import show
from rlvr_helpers.ratios import masked_log_ratios
from rlvr_helpers.tools import record_drift

MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
# the padding does not count
LOG_RATIOS = np.array([[0.0, math.log(2), -0.1, 0.0], [math.log(0.25), 0.0, 9.0, np.nan]])


def words(figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


# --- figures


def test_ratios_along_names_the_tokens_that_moved_and_counts_those_that_did_not():
    figure = figures.ratios_along(LOG_RATIOS, MASK, [list("abcd"), list("ef")], ["one", "two"])
    # a factor of 2 is not named
    assert words(figure) == ["one, 4 tokens", "two, 2 tokens", "“e” × 0.25"]
    assert "67 % of the tokens" in figure.alt and "range from 0.25 to 2 times" in figure.alt
    assert "one: ratios from 0.9 to 2" in figure.alt and "two: ratios from 0.25 to 1" in figure.alt
    assert len(figure.axes[1].patches) == 2, "padding is drawn"
    assert show(figure).html


@pytest.mark.parametrize(
    "log_ratios", [np.zeros((2, 4)), np.full((2, 4), 30.0), np.full((2, 4), -1e-9)]
)
def test_ratios_along_draws_what_hardly_happens(log_ratios):
    assert "nan" not in figures.ratios_along(log_ratios, MASK, [["x"] * 4] * 2, ["one", "two"]).alt
    assert figures.ratios_along(log_ratios[:1], np.zeros((1, 4)), [[]], ["empty"]).alt


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
    assert heights == sorted(heights) and min(np.diff(heights)) > 0.1, "labels touch"


@pytest.mark.parametrize("count", [1, 2, 4])
def test_spread_growth_draws_a_run_that_was_cut_short(count):
    assert show(figures.spread_growth([0.0] * count, [0.0] * count, [0.0] * count)).html


def test_three_ratios_say_the_spreads_of_three_numbers():
    alt = figures.three_ratios(LOG_RATIOS, MASK, "A title").alt
    tokens = [0.0, math.log(2), -0.1, 0.0, math.log(0.25), 0.0]
    sums = [math.log(2) - 0.1, math.log(0.25)]
    means = [sums[0] / 4, sums[1] / 2]
    for name, values in (
        ("token ratio", tokens),
        ("sequence ratio s", means),
        ("product of token ratios", sums),
    ):
        assert f"{name}: sd of the log {np.std(values):.3f}" in alt.replace("1.040", "1.04")


def test_three_ratios_count_every_value_once_and_keep_far_ones_in_the_end_bars():
    d = np.concatenate([np.full((199, 1), 0.01), [[50.0]]])
    figure = figures.three_ratios(d, np.ones_like(d), "A title")
    for ax in figure.axes:
        heights = ax.patches[-1].get_data().values
        assert heights[-1] == pytest.approx(math.sqrt(1 / 199)) and heights.max() == 1


@pytest.mark.parametrize("scale", [0.0, 1e-7, 1e-3, 1.0, 30.0])
def test_three_ratios_draw_at_every_scale(scale):
    d = scale * np.random.default_rng(0).standard_normal((8, 5))
    mask = np.arange(5) < np.array([5, 5, 1, 2, 3, 4, 5, 0])[:, None]
    alt = figures.three_ratios(d, mask, "A title").alt
    assert len(re.findall("sd of the log", alt)) == 3 and "nan" not in alt


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1, "1"),
        (1.00043, "1.0004"),
        (0.9978, "0.9978"),
        (1.123, "1.12"),
        (0.5, "0.5"),
        (14.18, "14"),
        (0.002, "0.002"),
        (1e-4, "10⁻⁴"),
        (4e-7, "4·10⁻⁷"),
        (2e5, "2·10⁵"),
    ],
)
def test_ratios_in_few_characters(ratio, text):
    assert figures._short(ratio) == text


def test_ticks_lie_within_the_axis_and_are_told_apart():
    for half in 10.0 ** np.linspace(-3, 1.8, 60):
        places, labels = figures._ticks(half)
        assert -half <= places[0] < places[1] == 0 < places[2] <= half
        assert len(set(labels)) == 3 and labels[1] == "1", (half, labels)


# --- the explorer


def test_the_effective_count_is_kishs():
    assert effective_count(np.zeros(7)) == pytest.approx(7)
    assert effective_count(np.array([0.0, 800.0])) == pytest.approx(1)
    weights = np.array([1.0, 2.0, 3.0])
    assert effective_count(np.log(weights)) == pytest.approx(36 / 14)


def test_drift_and_length_act_as_the_lesson_says():
    explorer = ratio_explorer()

    def spreads(**values):
        explorer.set(**values)
        return [float(sd) for sd in re.findall(r"sd of the log ([\d.]+\d)", explorer.picture.text)]

    early, late = spreads(updates=2), spreads(updates=16)
    assert all(b > 3 * a for a, b in zip(early, late, strict=True))
    short, long = spreads(length=8), spreads(length=512)
    assert (
        long[0] == pytest.approx(short[0], rel=0.1)
        and long[1] < short[1] / 3
        and long[2] > 3 * short[2]
    )
    explorer.reset()
    assert spreads(updates=0) == [0, 0, 0] and "every ratio is 1" in explorer.picture.text


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
