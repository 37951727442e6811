"""The race of lesson 04: one training, three advantages for each answer.

All three start from `tiny` and take the same problems. They differ only in what is subtracted from
the reward. Each rollout gets one update, on the surrogate loss of lesson 03.
"""

import json
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from rlvr_helpers.engine.work import score_rewards
from rlvr_helpers.gradient import surrogate_loss
from rlvr_helpers.models import format_prompt, load_policy
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import load_problems
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import sample_groups

PROBLEMS = 8  # per rollout
GROUP = 8  # answers to each
MAX_TOKENS = 64
LEARNING_RATE = 1e-4
STEPS = 16
LATE = 4  # rollouts at the end that are counted


def minus_mean(rewards: Tensor) -> Tensor:
    """Each reward less the mean of its group, [P, G] -> [P, G]."""
    return rewards - rewards.mean(dim=1, keepdim=True)


ARMS: dict[str, Callable[[Tensor], Tensor]] = {
    "R": lambda rewards: rewards,
    "R - mean": minus_mean,
    "R - 10": lambda rewards: rewards - 10,
}


def race(arm: str, seed: int, steps: int = STEPS) -> Iterator[float]:
    """Trains `tiny` with one of ARMS and yields each rollout's share of correct answers, before its
    update."""
    policy = load_policy("tiny")
    problems = load_problems("train")
    optimizer = torch.optim.Adam(policy.model.parameters(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    # One seed gives all arms the same problems in the same order.
    order = torch.randperm(len(problems), generator=generator).tolist()
    for step in range(steps):
        # Sample a group of answers to each of the next problems.
        chosen = [problems[i] for i in order[PROBLEMS * step : PROBLEMS * (step + 1)]]
        prompts = [format_prompt(policy, problem.question) for problem in chosen]
        rollout = sample_groups(policy, prompts, GROUP, max_tokens=MAX_TOKENS, generator=generator)
        rewards = score_rewards(rollout, chosen, correctness_reward).flatten()
        yield rewards.mean().item()
        # Take one update on them.
        logp = rollout.logprobs_under(policy.model)
        weights = ARMS[arm](rewards.reshape(PROBLEMS, GROUP)).flatten()
        optimizer.zero_grad()
        surrogate_loss(logp, weights, rollout.mask).backward()
        optimizer.step()


def recorded_race() -> dict[str, list[list[float]]]:
    """Arm -> for each of five seeds the share of correct answers in each rollout. Recorded by
    `tools/record_baseline_race.py`."""
    text = (DATA / "runs" / "baseline_race.json").read_text(encoding="utf-8")
    return json.loads(text)["rates"]


def late(runs: Sequence[Sequence[float]]) -> list[float]:
    """For each run the mean share of correct answers in its last LATE rollouts."""
    return [sum(run[-LATE:]) / LATE for run in runs]
