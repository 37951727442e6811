"""Lesson 03: the policy gradient against literal reference implementations, its experiments on small policies, and its
figures."""

import math

import pytest
import torch
from matplotlib.figure import Figure

from rlvr_helpers.gradient import exact_gradient, score_function_gradient, surrogate_loss
from rlvr_helpers.lessons.l03_policy_gradient import experiment as lab
from rlvr_helpers.lessons.l03_policy_gradient import figures
from rlvr_helpers.lessons.l03_policy_gradient.questions import QUIZ
from rlvr_helpers.plots import to_svg

LOGITS = torch.tensor([0.0, 1.0, 0.5, -0.5], dtype=torch.float64)
REWARDS = torch.tensor([1.0, 0.0, 0.25, -0.5], dtype=torch.float64)


# --- literal reference implementations


def expected_reward(logits: list[float], rewards: list[float]) -> float:
    """J = sum over the arms of their probability times their reward."""
    total = sum(math.exp(x) for x in logits)
    return sum(math.exp(x) / total * r for x, r in zip(logits, rewards, strict=True))


def by_finite_differences(
    logits: list[float], rewards: list[float], h: float = 1e-6
) -> list[float]:
    gradient = []
    for k in range(len(logits)):
        up, down = list(logits), list(logits)
        up[k] += h
        down[k] -= h
        gradient.append((expected_reward(up, rewards) - expected_reward(down, rewards)) / (2 * h))
    return gradient


def by_scores(logits: list[float], actions: list[int], advantages: list[float]) -> list[float]:
    """Mean over the samples of A * (1 - p_k for the arm that was taken, - p_k for the others)."""
    total = sum(math.exp(x) for x in logits)
    gradient = []
    for k, x in enumerate(logits):
        votes = [
            a * ((1 if action == k else 0) - math.exp(x) / total)
            for action, a in zip(actions, advantages, strict=True)
        ]
        gradient.append(sum(votes) / len(votes))
    return gradient


def surrogate(logp, advantages, mask) -> float:
    """-(1/B) sum over rows of A times the sum of the log-probs where the mask is 1."""
    total = 0.0
    for row, advantage, keep in zip(logp, advantages, mask, strict=True):
        total += advantage * sum(value for value, m in zip(row, keep, strict=True) if m)
    return -total / len(logp)


def test_exact_gradient_is_that_of_finite_differences():
    expected = by_finite_differences(LOGITS.tolist(), REWARDS.tolist())
    assert exact_gradient(LOGITS, REWARDS).tolist() == pytest.approx(expected, abs=1e-9)


def test_score_function_gradient_is_its_reference():
    actions, advantages = [2, 0, 0, 3, 1], [1.0, -0.5, 2.0, 0.0, 0.3]
    found = score_function_gradient(
        LOGITS, torch.tensor(actions), torch.tensor(advantages, dtype=torch.float64)
    )
    assert found.tolist() == pytest.approx(by_scores(LOGITS.tolist(), actions, advantages))


def test_average_over_all_arms_is_exact_whatever_the_baseline():
    """Every arm taken as often as its probability says: the estimate has no noise left."""
    p = LOGITS.softmax(dim=0)
    for baseline in (0.0, 0.3, 7.0):
        estimates = [
            score_function_gradient(LOGITS, torch.tensor([a]), REWARDS[a : a + 1] - baseline)
            for a in range(4)
        ]
        assert torch.allclose(p @ torch.stack(estimates), exact_gradient(LOGITS, REWARDS))


def test_surrogate_loss_is_its_reference_in_value_and_gradient():
    logp = torch.tensor(
        [[-1.0, -0.5, float("nan")], [-2.0, 9.0, -3.0], [-0.1, -0.2, -0.3]], dtype=torch.float64
    )
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]])
    advantages = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    logp.requires_grad_()
    loss = surrogate_loss(logp, advantages, mask)
    assert loss.item() == pytest.approx(
        surrogate(logp.tolist(), advantages.tolist(), mask.tolist())
    )
    loss.backward()
    expected = [
        [-a / 3 if m else 0.0 for m in keep]
        for a, keep in zip([0.5, -1.0, 2.0], mask.tolist(), strict=True)
    ]
    assert logp.grad.tolist() == expected
    assert advantages.grad is None, "the advantages carry a gradient"


def test_surrogate_loss_has_the_gradient_of_the_scores():
    actions, advantages = (
        torch.tensor([2, 0, 0, 3]),
        torch.tensor([1.0, -0.5, 2.0, 0.1], dtype=torch.float64),
    )
    theta = LOGITS.clone().requires_grad_()
    loss = surrogate_loss(theta.log_softmax(dim=0)[actions][:, None], advantages, torch.ones(4, 1))
    found = -torch.autograd.grad(loss, theta)[0]
    assert torch.allclose(found, score_function_gradient(LOGITS, actions, advantages))


def test_surrogate_loss_refuses_other_shapes():
    with pytest.raises(ValueError, match="advantages \\[rows\\]"):
        surrogate_loss(torch.zeros(2, 3), torch.zeros(3), torch.ones(2, 3))


# --- experiments


def test_error_of_sampling_is_the_theory():
    """sqrt(trace of the covariance / n), the covariance being that of A times the score."""
    p, J = LOGITS.softmax(dim=0), expected_reward(LOGITS.tolist(), REWARDS.tolist())
    for baseline in (0.0, J):
        one = torch.stack(
            [
                score_function_gradient(LOGITS, torch.tensor([a]), REWARDS[a : a + 1] - baseline)
                for a in range(4)
            ]
        )
        variance = p @ (one - exact_gradient(LOGITS, REWARDS)).square().sum(dim=1)
        found = lab.sampling_error(LOGITS, REWARDS, 64, baseline, repeats=2000)
        assert found == pytest.approx(math.sqrt(variance / 64), rel=0.06)


def test_weights_go_out_and_in(policy):
    weights = lab.get_weights(policy.model)
    lab.set_weights(policy.model, weights + 1)
    assert torch.equal(lab.get_weights(policy.model), weights + 1)
    lab.set_weights(policy.model, weights)
    assert torch.equal(lab.get_weights(policy.model), weights)
    assert sum(p.numel() for p in policy.model.parameters()) == len(weights)


@pytest.fixture
def answers(policy, problems):
    """12 completions of one prompt by a random policy; a text is right when its length is even."""

    def even(text, gold):
        return float(len(text) % 2 == 0)

    rollout, rewards = lab.sample_answers(
        policy, problems[0].question, "1", 12, seed=0, reward=even
    )
    assert 0 < rewards.mean() < 1
    return rollout, rewards


def test_gradient_of_parts_is_that_of_the_whole(policy, answers):
    rollout, rewards = answers
    whole = lab.surrogate_gradient(policy, rollout, rewards - rewards.mean())
    parts = lab.surrogate_gradient(policy, rollout, rewards - rewards.mean(), rows_at_once=5)
    assert torch.allclose(whole, parts, atol=1e-5 * float(whole.norm())) and whole.norm() > 0


def test_slope_along_the_gradient_is_its_length(policy, answers):
    rollout, rewards = answers
    gradient = lab.surrogate_gradient(policy, rollout, rewards - rewards.mean())
    before = lab.get_weights(policy.model)
    slope = lab.surrogate_slope(
        policy, rollout, rewards - rewards.mean(), gradient / gradient.norm()
    )
    assert slope.value == pytest.approx(float(gradient.norm()), rel=0.02) and slope.error > 0
    assert torch.equal(lab.get_weights(policy.model), before)


def test_estimate_is_mean_and_standard_error():
    value, error = lab.Estimate.of(torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert value == 3.0 and error == pytest.approx(math.sqrt(14 / 3 / 4))


def test_counted_slope_divides_by_both_sides(policy):
    """A stand-in that is right on every second text ahead and on none behind: 0.5 over 2 h."""
    middle = lab.get_weights(policy.model)
    direction = torch.ones_like(middle) / math.sqrt(len(middle))

    def sample(policy, prompt, gold, count, seed):
        ahead = (lab.get_weights(policy.model) - middle).mean() > 0
        return None, (torch.arange(count) % 2).float() * ahead

    slope = lab.counted_slope(policy, "a prompt", "1", direction, h=0.1, count=8, sample=sample)
    assert slope.value == pytest.approx(2.5)
    assert torch.equal(lab.get_weights(policy.model), middle)


def test_line_search_starts_each_step_anew_and_puts_the_model_back(policy):
    start, seen = lab.get_weights(policy.model), []

    def sample(policy, prompt, gold, count, seed):
        seen.append((lab.get_weights(policy.model) - start).norm().item())
        return None, torch.ones(count)

    direction = torch.zeros_like(start)
    direction[0] = 1.0
    search = {"count": 4, "sample": sample}
    found = list(lab.line_search(policy, "a prompt", "1", direction, [0, 0.1, 0.5], **search))
    assert seen == pytest.approx([0, 0.1, 0.5]) and [(r.step, r.rate) for r in found] == [
        (0, 1.0),
        (0.1, 1.0),
        (0.5, 1.0),
    ]
    assert torch.equal(lab.get_weights(policy.model), start)
    stopped = lab.line_search(policy, "a prompt", "1", direction, [0.1, 0.5], **search)
    next(stopped)
    stopped.close()  # as an interrupt does
    assert torch.equal(lab.get_weights(policy.model), start)


# --- figures


def drawn(figure: Figure) -> str:
    """The alternative text of a figure that can be drawn."""
    assert to_svg(figure).startswith(b"<?xml") and "nan" not in figure.alt
    return figure.alt


def test_error_curves_say_their_numbers():
    alt = drawn(
        figures.error_curves([4, 16, 64], {"A = R": [0.4, 0.2, 0.1], "A = R − J": [0.2, 0.1, 0.05]})
    )
    assert "4 times as many samples the error is 2.0 times smaller" in alt and "0.05 with 64" in alt
    drawn(figures.error_curves([4, 16], {"A = R": [0.4, 0.4]}))


def test_overlap_arrows_add_up_the_pushes():
    overlaps = [[4.0, 1.0, -2.0], [1.0, 3.0, 0.5], [-2.0, 0.5, 2.0]]
    alt = drawn(figures.overlap_arrows(overlaps, [1.0, 0.0, -1.0], ["a", "b", "c"], 0.1))
    assert "2 of 3 become likelier" in alt
    assert "a: +0.600 in all" in alt and "b: +0.050 in all" in alt and "c: minus 0.400" in alt
    drawn(figures.overlap_arrows(overlaps, [0.0, 0.0, 0.0], ["a", "b", "c"], 0.1))


def test_step_curve_says_its_numbers():
    found = [lab.StepResult(step, right, 100) for step, right in ((0, 20), (0.01, 28), (0.1, 1))]
    alt = drawn(figures.step_curve(found, slope=8.0))
    assert "28 % correct after a step of 0.01, 1 % after one of 0.1" in alt
    assert "predicted slope 8.0" in alt
    drawn(figures.step_curve(found[:2], slope=-8.0))


def test_pass_rate_curve_says_its_numbers():
    alt = drawn(figures.pass_rate_curve([0.25, 0.5, 1.0], 64))
    assert "3 steps: from 25 % right to 100 %" in alt and "25 %, 50 %, 100 %" in alt
    drawn(figures.pass_rate_curve([0.0], 64))


# --- quiz


def test_the_quiz_is_answered_by_the_loss():
    """No reward, no gradient; ten times the reward, ten times the gradient; loss and -J differ."""
    actions = torch.tensor([0, 2, 0, 1])
    gradients = []
    for paid in (0.0, 1.0, 10.0):
        theta = LOGITS.clone().requires_grad_()
        logp = theta.log_softmax(dim=0)[actions][:, None]
        loss = surrogate_loss(logp, paid * (actions == 0).double(), torch.ones(4, 1))
        gradients.append(torch.autograd.grad(loss, theta)[0])
    assert (gradients[0] == 0).all() and torch.allclose(gradients[2], 10 * gradients[1])
    correct = [choice.text for question in QUIZ for choice in question.choices if choice.correct]
    assert correct[0] == "Nothing." and correct[1].startswith("The step is ten times as long")
