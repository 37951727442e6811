"""The experiment of lesson 03: the gradient against the truth, on four arms and on one problem.

A direction and the weights are flat vectors of all weights. `set_weights` copies into the model and
leaves the given vector as it is.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from rlvr_helpers.gradient import exact_gradient, score_function_gradient, surrogate_loss
from rlvr_helpers.models import Policy
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, sample_groups
from rlvr_helpers.scoring import token_logprobs

ROWS = 128  # completions that go through the model at once


class Estimate(NamedTuple):
    """A mean over samples and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, samples: Tensor) -> "Estimate":
        return cls(samples.mean().item(), samples.std().item() / math.sqrt(len(samples)))


class StepResult(NamedTuple):
    """What a step of this length did: correct answers among `count` sampled ones."""

    step: float
    correct: int
    count: int

    @property
    def rate(self) -> float:
        return self.correct / self.count


def sampling_error(
    logits: Tensor,
    rewards: Tensor,
    count: int,
    baseline: float = 0.0,
    repeats: int = 500,
    seed: int = 0,
) -> float:
    """Root mean square distance between the exact gradient and `repeats` estimates of it, each from
    `count` samples. A = R - baseline."""
    # All ways to choose A get the same samples, so only A makes the difference.
    generator = torch.Generator().manual_seed(seed)
    exact = exact_gradient(logits, rewards)
    probabilities = logits.softmax(dim=0)
    squares = []
    for _ in range(repeats):
        actions = torch.multinomial(probabilities, count, replacement=True, generator=generator)
        estimate = score_function_gradient(logits, actions, rewards[actions] - baseline)
        squares.append((estimate - exact).square().sum().item())
    return math.sqrt(sum(squares) / repeats)


def get_weights(model: nn.Module) -> Tensor:
    """A copy of all weights as one vector."""
    return parameters_to_vector(model.parameters()).detach().clone()


@torch.no_grad()
def set_weights(model: nn.Module, weights: Tensor) -> None:
    """Copies a vector of all weights into the model."""
    parameters = list(model.parameters())
    for parameter, part in zip(
        parameters, weights.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.copy_(part.view_as(parameter))


def sample_answers(
    policy: Policy,
    prompt: str,
    gold: str,
    count: int,
    seed: int,
    reward: Callable[[str, str], float] = correctness_reward,
) -> tuple[Rollout, Tensor]:
    """`count` completions of one prompt and their rewards, [count]. With the same seed all models
    get the same noise."""
    generator = torch.Generator().manual_seed(seed)
    rollout = sample_groups(policy, [prompt], count, max_tokens=64, generator=generator)
    return rollout, torch.tensor([reward(text, gold) for text in rollout.texts])


def score_rows(policy: Policy, rollout: Rollout, rows: Tensor) -> Tensor:
    """Log-probs of some completions of a rollout of one prompt, [rows, T]. The prompt is read
    once."""
    ids = (
        rollout.prompt_ids[rows],
        rollout.prompt_mask[rows],
        rollout.completion_ids[rows],
        rollout.mask[rows],
    )
    return token_logprobs(policy.model, *ids, group_size=len(rows))


def surrogate_gradient(
    policy: Policy, rollout: Rollout, advantages: Tensor, rows_at_once: int = ROWS
) -> Tensor:
    """Minus the gradient of the surrogate loss, as one vector: the direction in which the expected
    reward should grow."""
    parameters = list(policy.model.parameters())
    total = torch.zeros_like(get_weights(policy.model))
    for rows in torch.arange(len(advantages)).split(rows_at_once):
        loss = surrogate_loss(
            score_rows(policy, rollout, rows), advantages[rows], rollout.mask[rows]
        )
        share = len(rows) / len(advantages)  # each part is a mean over its own rows
        total -= share * parameters_to_vector(torch.autograd.grad(loss, parameters))
    return total


def completion_gradients(policy: Policy, rollout: Rollout) -> Tensor:
    """The gradient of each completion's log-prob as a row, [B, weights]. All answer one prompt."""
    parameters = list(policy.model.parameters())
    # All rows share one graph, so it is kept until the last gradient.
    logps = score_rows(policy, rollout, torch.arange(len(rollout.mask))).sum(dim=1)
    rows = [torch.autograd.grad(logp, parameters, retain_graph=True) for logp in logps]
    return torch.stack([parameters_to_vector(row) for row in rows])


@torch.no_grad()
def surrogate_slope(
    policy: Policy, rollout: Rollout, advantages: Tensor, direction: Tensor, h: float = 1e-3
) -> Estimate:
    """The slope that the surrogate predicts along the direction: the mean of A times the slope of
    each completion's log-prob. Slopes come from log-probs at weights h to either side."""
    # Score at the weights on both sides of the start, a part of the rows at a time.
    start = get_weights(policy.model)
    sides = []
    for sign in (1, -1):
        set_weights(policy.model, start + sign * h * direction)
        parts = torch.arange(len(advantages)).split(ROWS)
        sides.append(torch.cat([score_rows(policy, rollout, rows).sum(dim=1) for rows in parts]))
    set_weights(policy.model, start)
    return Estimate.of(advantages * (sides[0] - sides[1]) / (2 * h))


def counted_slope(
    policy: Policy,
    prompt: str,
    gold: str,
    direction: Tensor,
    h: float = 0.01,
    count: int = 1024,
    seed: int = 100,
    sample: Callable[..., tuple[Rollout, Tensor]] = sample_answers,
) -> Estimate:
    """Slope of the pass rate along the direction by counting correct answers at the weights h on
    either side (with the same noise). No log-prob and no gradient is used."""
    # The same seed on both sides: much of the sampling noise cancels in the difference.
    start = get_weights(policy.model)
    sides = []
    for sign in (1, -1):
        set_weights(policy.model, start + sign * h * direction)
        sides.append(sample(policy, prompt, gold, count=count, seed=seed)[1])
    set_weights(policy.model, start)
    return Estimate.of((sides[0] - sides[1]) / (2 * h))


def line_search(
    policy: Policy,
    prompt: str,
    gold: str,
    direction: Tensor,
    steps: Sequence[float],
    count: int = 512,
    seed: int = 200,
    sample: Callable[..., tuple[Rollout, Tensor]] = sample_answers,
) -> Iterator[StepResult]:
    """Counts correct answers after steps of several lengths along a direction of length 1. Each
    step starts at the model's weights, which it has again at the end."""
    start = get_weights(policy.model)
    # `finally` also runs when the caller stops before the last step.
    try:
        for step in steps:
            set_weights(policy.model, start + step * direction)
            rewards = sample(policy, prompt, gold, count=count, seed=seed)[1]
            yield StepResult(step, int(rewards.sum()), count)
    finally:
        set_weights(policy.model, start)
