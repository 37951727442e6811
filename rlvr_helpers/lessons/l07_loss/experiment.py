"""What does the average do to length? Training on wrong answers alone, with the aggregation as the
only difference.

for point in side_by_side(policy, load_problems("train"), load_problems("test"), (GRPO, DR_GRPO),
seeds=3):
    print(point.method, point.seed, point.update, point.length)
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlvr_helpers.losses import PolicyLoss, policy_loss
from rlvr_helpers.methods import Method
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, sample_groups
from rlvr_helpers.scoring import token_logprobs

MAX_TOKENS = 64
GROUP_SIZE = 8
PROMPTS = 8  # of an update
MEASURED = 16  # held-out problems, GROUP_SIZE answers to each
BETWEEN = 4  # updates between two measurements
LEARNING_RATE = 5e-5


@dataclass(frozen=True)
class LengthPoint:
    """Mean length in tokens of a policy's wrong answers to the measured problems after some
    updates."""

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
    """Trains a copy of the policy for each method and seed; the methods of a seed go on in turns,
    with the same problems and the same noise. The policy itself stays as it is. Yields `seeds *
    len(methods) * (updates / BETWEEN + 1)` points."""
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
    """One run: a fresh rollout for each update, and no word about right answers."""
    policy = replace(policy, model=copy.deepcopy(policy.model))
    optimizer = torch.optim.AdamW(
        policy.model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0
    )
    yield LengthPoint(
        method.name, seed, 0, length=mean_incorrect_length(policy, held_out[:MEASURED], seed)
    )
    for step in range(updates):
        start = (seed * updates + step) * PROMPTS
        batch = [problems[(start + i) % len(problems)] for i in range(PROMPTS)]
        rollout, incorrect = sample_and_judge(policy, batch, noise=1_000_003 * (seed + 1) + step)
        update_on_incorrect(policy, optimizer, method, rollout=rollout, incorrect=incorrect)
        if (step + 1) % BETWEEN == 0:
            yield LengthPoint(
                method.name,
                seed,
                step + 1,
                length=mean_incorrect_length(policy, held_out[:MEASURED], seed),
            )


def update_on_incorrect(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    method: Method,
    rollout: Rollout,
    incorrect: Tensor,
    loss_of: Callable[..., PolicyLoss] = policy_loss,
) -> None:
    """One optimizer step that says "these were wrong" and nothing else."""
    advantages = torch.where(incorrect, -1.0, 0.0)
    ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    logp = token_logprobs(policy.model, *ids, group_size=rollout.group_size)
    loss = loss_of(
        method, logp, logp.detach(), advantages=advantages, mask=rollout.mask, max_tokens=MAX_TOKENS
    ).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()


def sample_and_judge(policy: Policy, batch: list[Problem], noise: int) -> tuple[Rollout, Tensor]:
    """A rollout, and which of its answers are wrong, [B]. `noise` is the seed of the random
    numbers."""
    prompts = [format_prompt(policy, problem.question) for problem in batch]
    rollout = sample_groups(
        policy,
        prompts,
        GROUP_SIZE,
        max_tokens=MAX_TOKENS,
        generator=torch.Generator().manual_seed(noise),
    )
    golds = [problem.answer for problem in batch for _ in range(GROUP_SIZE)]
    rewards = [
        correctness_reward(text, gold) for text, gold in zip(rollout.texts, golds, strict=True)
    ]
    return rollout, torch.tensor(rewards, device=rollout.mask.device) == 0


def mean_incorrect_length(policy: Policy, batch: list[Problem], seed: int) -> float:
    """Mean tokens of the wrong answers, the same noise each time; the budget where every answer is
    right."""
    rollout, incorrect = sample_and_judge(policy, batch, noise=seed)
    return (
        rollout.lengths[incorrect].double().mean().item() if incorrect.any() else float(MAX_TOKENS)
    )


def change_of_length(lengths: list[float]) -> str:
    """What lengths did from first to last, in the words of the lesson's prediction.

    Less than a token counts as no change.
    """
    change = lengths[-1] - lengths[0]
    if abs(change) < 1:
        return "they stay as they are"
    return "they become longer" if change > 0 else "they become shorter"


def final_differences(points: list[LengthPoint], first: Method, second: Method) -> list[float]:
    """Length at the end under the first method minus that under the second, for each seed that both
    have finished."""
    ends = {(point.method, point.seed): point.length for point in points}
    seeds = sorted({point.seed for point in points})
    pairs = [(ends.get((first.name, seed)), ends.get((second.name, seed))) for seed in seeds]
    return [a - b for a, b in pairs if a is not None and b is not None]


def stop_push(stop: float, max_tokens: int, rows: int, how: str) -> float:
    """How hard a batch of wrong answers (A = -1) pushes the logit of stopping, exactly and in
    expectation.

    The model is the simplest one that has a length: after each token it stops with probability
    `stop`, at the latest after `max_tokens`. A batch weighs its rows by w(lengths), and the
    expectation of w times the gradient of the rows' log-probability is the gradient of E[w] (lesson
    04's log-derivative, read backwards). w is 1/n for "sequence_mean", 1 over the batch's tokens
    for "token_mean" and 1/max_tokens for "constant". A negative push makes answers longer.
    """
    logit = torch.tensor(stop, dtype=torch.float64).logit().requires_grad_()
    p = logit.sigmoid()
    n = torch.arange(1, max_tokens + 1, dtype=torch.float64)
    # of each length
    chance = torch.where(n < max_tokens, p * (1 - p) ** (n - 1), (1 - p) ** (n - 1))
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
