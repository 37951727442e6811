"""What the aggregation does to length: training on incorrect answers only, and an exact push.

problems, held_out = load_problems("train"), load_problems("test")
for point in side_by_side(policy, problems, held_out, (GRPO, DR_GRPO), seeds=3):
    print(point.method, point.seed, point.update, point.length)
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlvr_helpers.engine.work import score_rewards
from rlvr_helpers.losses import PolicyLoss, policy_loss
from rlvr_helpers.methods import Method
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, sample_groups

# Sampling, as in the course's other runs.
MAX_TOKENS = 64
GROUP_SIZE = 8
# Problems per update.
PROMPTS = 8
# Held-out problems, with GROUP_SIZE answers to each, and updates between two measurements.
MEASURED = 16
BETWEEN = 4
LEARNING_RATE = 5e-5


@dataclass(frozen=True)
class LengthPoint:
    """Mean length, in tokens, of a policy's incorrect answers to the measured problems after
    `update` updates."""

    method: str
    seed: int
    update: int
    length: float


def side_by_side(
    policy: Policy,
    problems: list[Problem],
    held_out: list[Problem],
    methods: tuple[Method, ...],
    seeds: int,
    updates: int = 8,
) -> Iterator[LengthPoint]:
    """Trains a copy of the policy for each method and seed. The policy itself stays as it is.

    The methods of a seed take turns, with the same problems and the same noise. Yields `seeds *
    len(methods) * (updates / BETWEEN + 1)` points.
    """
    for seed in range(seeds):
        runs = [
            incorrect_answers_only(
                policy, problems, held_out, method=method, seed=seed, updates=updates
            )
            for method in methods
        ]
        for points in zip(*runs, strict=True):
            yield from points


def incorrect_answers_only(
    policy: Policy,
    problems: list[Problem],
    held_out: list[Problem],
    method: Method,
    seed: int,
    updates: int,
) -> Iterator[LengthPoint]:
    """One run: a fresh rollout for each update, and correct answers are ignored."""
    policy = replace(policy, model=copy.deepcopy(policy.model))
    optimizer = torch.optim.AdamW(
        policy.model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0
    )

    def measure(update: int) -> LengthPoint:
        length = mean_incorrect_length(policy, held_out[:MEASURED], seed)
        return LengthPoint(method.name, seed, update, length=length)

    yield measure(0)
    for step in range(updates):
        # The next problems. Problems and noise depend on seed and step, not on the method.
        start = (seed * updates + step) * PROMPTS
        batch = [problems[(start + i) % len(problems)] for i in range(PROMPTS)]
        rollout, incorrect = sample_and_judge(policy, batch, noise=1_000_003 * (seed + 1) + step)
        update_on_incorrect(policy, optimizer, method, rollout=rollout, incorrect=incorrect)
        if (step + 1) % BETWEEN == 0:
            yield measure(step + 1)


def update_on_incorrect(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    method: Method,
    rollout: Rollout,
    incorrect: Tensor,
    loss_of: Callable[..., PolicyLoss] = policy_loss,
) -> None:
    """One optimizer step that says "these were incorrect" and nothing else."""
    # The loss. The rollout is fresh, so every ratio is 1.
    advantages = torch.where(incorrect, -1.0, 0.0)
    logp = rollout.logprobs_under(policy.model)
    loss = loss_of(
        method, logp, logp.detach(), advantages=advantages, mask=rollout.mask, max_tokens=MAX_TOKENS
    ).loss
    # The step, with the gradient norm clipped to 1.
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()


def sample_and_judge(policy: Policy, batch: list[Problem], noise: int) -> tuple[Rollout, Tensor]:
    """A rollout, and which of its answers are incorrect, [B]. `noise` is the seed of the random
    numbers."""
    prompts = [format_prompt(policy, problem.question) for problem in batch]
    generator = torch.Generator().manual_seed(noise)
    rollout = sample_groups(policy, prompts, GROUP_SIZE, max_tokens=MAX_TOKENS, generator=generator)
    rewards = score_rewards(rollout, batch, correctness_reward).flatten()
    return rollout, rewards.to(rollout.mask.device) == 0


def mean_incorrect_length(policy: Policy, batch: list[Problem], seed: int) -> float:
    """Mean tokens of the incorrect answers, with the same noise each time. It is the budget if
    every answer is correct."""
    rollout, incorrect = sample_and_judge(policy, batch, noise=seed)
    lengths = rollout.lengths[incorrect].double()
    return lengths.mean().item() if len(lengths) else float(MAX_TOKENS)


def change_of_length(lengths: list[float]) -> str:
    """What lengths did from first to last, in the words of the lesson's prediction.

    Less than a token counts as no change.
    """
    change = lengths[-1] - lengths[0]
    if abs(change) < 1:
        return "they stay as they are"
    return "they become longer" if change > 0 else "they become shorter"


def stop_push(stop: float, max_tokens: int, rows: int, how: str) -> float:
    """How hard a batch of incorrect answers (A = -1) pushes the logit of stopping, exactly and in
    expectation. A negative push makes answers longer.

    The model is the simplest one that has a length: after each token it stops with probability
    `stop`, at the latest after `max_tokens`. A batch weighs its rows by w(lengths): 1/n for
    "sequence_mean", 1 over the batch's tokens for "token_mean", 1/max_tokens for "constant". The
    expectation of w times the gradient of the rows' log-probability is the gradient of E[w]. This
    is the log-derivative of lesson 04, read backwards.
    """
    logit = torch.tensor(stop, dtype=torch.float64).logit().requires_grad_()
    p = logit.sigmoid()
    n = torch.arange(1, max_tokens + 1, dtype=torch.float64)
    # The chance of each length. The last one takes all that has not stopped before.
    chance = torch.where(n < max_tokens, p * (1 - p) ** (n - 1), (1 - p) ** (n - 1))
    # E[w], whose gradient is the push.
    if how == "sequence_mean":
        expected = (chance / n).sum()
    elif how == "constant":
        expected = (chance / max_tokens).sum()
    elif how == "token_mean":
        # The chance of each total of `rows` lengths: their convolution, a power in Fourier space.
        size = rows * max_tokens + 1
        padded = torch.cat([chance.new_zeros(1), chance])
        total = torch.fft.irfft(torch.fft.rfft(padded, size) ** rows, size)
        expected = (total[1:] / torch.arange(1, size, dtype=torch.float64)).sum()
    else:
        raise ValueError(f'how must be "sequence_mean", "constant" or "token_mean", not {how!r}')
    return -torch.autograd.grad(expected, logit)[0].item()
