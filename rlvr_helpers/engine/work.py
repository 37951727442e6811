"""What a run works on, and the functions that its steps are made of."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from rlvr_helpers.advantages import group_advantages, groups_without_signal
from rlvr_helpers.checkpoints import name_of_problems
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.names import digest, name_of
from rlvr_helpers.evaluation import evaluate, judge, read_completions, score_rollout
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.minibatches import score_before_updates, update
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.records import StepRecord
from rlvr_helpers.rewards import Score, as_scorer
from rlvr_helpers.sampling import Rollout, sample_groups
from rlvr_helpers.scoring import score_tokens
from rlvr_helpers.train_settings import TrainSettings


def problems_of_step(problems: list[Problem], step: int, settings: TrainSettings) -> list[Problem]:
    """The problems of a step (from 1): epoch after epoch of a shuffled list, the same for every
    method of a seed."""
    # Which epochs the step touches. A list shorter than a step is gone through several times.
    count = len(problems)
    positions = range((step - 1) * settings.prompts_per_step, step * settings.prompts_per_step)
    epochs = {epoch: list(problems) for epoch in sorted({at // count for at in positions})}
    for epoch, order in epochs.items():
        random.Random(f"{settings.seed}/{epoch}").shuffle(order)
    return [epochs[at // count][at % count] for at in positions]


def sample_step(
    policy: Policy, batch: list[Problem], step: int, settings: TrainSettings
) -> Rollout:
    """The rollout of a step. Its noise depends only on seed, step, row and position."""
    # On the CPU, so that a GPU draws the same noise.
    generator = torch.Generator().manual_seed(settings.noise_seed(step))
    prompts = [format_prompt(policy, problem.question) for problem in batch]
    return sample_groups(
        policy,
        prompts,
        settings.group_size,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        generator=generator,
    )


def score_rewards(
    rollout: Rollout, batch: list[Problem], reward: Callable[[str, str], float] | list[Score]
) -> Tensor:
    """The rewards of a rollout, [P, G]. reward: a reward(text, gold), or the scores of
    `score_rollout`. Raises ValueError if the reward function returns no number."""
    scores = reward
    if not isinstance(reward, list):
        scores = score_rollout(as_scorer(reward), rollout, batch)
    values = [score.reward for score in scores]
    return torch.tensor(values, dtype=torch.float32).view(len(batch), rollout.group_size)


@dataclass(frozen=True)
class Stages:
    """The functions that a step is made of. Give another to study what it does:
    `Stages(loss=my_loss)`.

    The bug hunt of lesson 08 is made so, and tests watch a step through them.
    """

    # In the order in which a step runs them.
    sample: Callable = sample_step
    rate: Callable = score_rewards
    advantages: Callable = group_advantages
    no_signal: Callable = groups_without_signal
    score: Callable = score_tokens
    score_before: Callable = score_before_updates
    loss: Callable = policy_loss
    update: Callable = update
    judge: Callable = judge

    @property
    def exchanged(self) -> dict[str, str]:
        """The names of those that are not the course's own, by stage. Of the loss in any case."""
        # The loss stands there in any case, so that a changed loss never resumes another run.
        own = Stages()
        names = [f.name for f in fields(self) if getattr(self, f.name) is not getattr(own, f.name)]
        return {name: name_of(getattr(self, name)) for name in dict.fromkeys(["loss", *names])}


@dataclass(frozen=True)
class Work:
    """What a run works on. It travels through the loop together.

    scorer:   pays for completions
    verdicts: the scorer that says what is correct on the held-out problems. None: the reader of
              numbers
    """

    policy: Policy
    problems: list[Problem]
    scorer: Callable[..., Any]
    eval_problems: list[Problem] = field(default_factory=list)
    verdicts: Callable[..., Any] | None = None
    stages: Stages = Stages()

    def __post_init__(self) -> None:
        for problem in (*self.problems, *self.eval_problems):
            if not isinstance(problem, Problem):
                raise ValueError(
                    f"{problem!r:.60} is no problem: give those of load_problems(...), or"
                    " Problem(question, answer)"
                )

    @property
    def names(self) -> dict[str, str]:
        """What a run is made of beside method and settings, by name, so that no other resumes
        it."""
        # A scorer of your own can read every column, and its weights are part of the reward.
        weights = getattr(self.verdicts, "weights", None)
        whole = self.verdicts is not None
        policy = self.policy
        prompt = policy.system_prompt, policy.examples, policy.chat
        return {
            "prompt": f"{(policy.system_prompt or '')[:40]!r} ({digest(prompt)})",
            "end_ids": str(list(policy.end_ids)),
            "reward": name_of(self.scorer) + (f" with weights {weights}" if weights else ""),
            "problems": name_of_problems(self.problems, whole),
            "eval_problems": name_of_problems(self.eval_problems, whole),
        } | self.stages.exchanged

    def held_out(self, settings: TrainSettings) -> dict[str, Any]:
        """`eval` and `reading` of a record: the accuracy on the held-out problems, and completions
        of the first one. Empty if there are none."""
        if not self.eval_problems:
            return {}
        # How many it solves, and one of them to be read.
        first = self.eval_problems[0]
        return {
            "eval": evaluate(
                self.policy, self.eval_problems, settings.max_tokens, scorer=self.verdicts
            ),
            "reading": read_completions(
                self.policy,
                first,
                settings.max_tokens,
                temperature=settings.temperature,
                seed=settings.noise_seed(0),
                scorer=self.verdicts,
            ),
        }


def with_evaluation(record: StepRecord, work: Work, settings: TrainSettings) -> StepRecord:
    """The record with what the held-out problems show after the step, and the seconds of that."""
    clock = Clock(work.policy.device)
    with clock.time("evaluate"):
        found = work.held_out(settings)
    return replace(record, **found, seconds=record.seconds | (clock.seconds if found else {}))
