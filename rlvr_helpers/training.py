"""Is that all? The training loop: sample groups, reward them, turn rewards into advantages, take
clipped steps.

    for record in train(policy, problems, GRPO, TrainSettings(steps=20)):
        print(record.step, record.reward_mean)

A step is one rollout of `prompts_per_step * group_size` completions and `epochs * minibatches`
optimizer steps on it.
"""

import math
import numbers
import random
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from rlvr_helpers.advantages import group_advantages, groups_without_signal
from rlvr_helpers.checkpoints import Checkpoints, name_of, name_of_problems
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.finite import LastGood
from rlvr_helpers.engine.large import explained_memory
from rlvr_helpers.evaluation import evaluate, judge
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import Method
from rlvr_helpers.minibatches import (
    Learner,
    make_learner,
    make_minibatches,
    score_before_updates,
    update,
)
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.records import StepRecord, summarise
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, check_prompts, sample_groups, warn_of_gap
from rlvr_helpers.scoring import score_tokens
from rlvr_helpers.train_settings import TrainSettings


@dataclass(frozen=True)
class Stages:
    """The functions that a step is made of. Give another to study what it does:
    `Stages(loss=my_loss)`.

    The bug hunt of lesson 08 is made so, and tests watch a step through them.
    """

    sample: Callable = field(default_factory=lambda: sample_step)
    rate: Callable = field(default_factory=lambda: score_rewards)
    advantages: Callable = group_advantages
    no_signal: Callable = groups_without_signal
    score: Callable = score_tokens
    score_before: Callable = score_before_updates
    loss: Callable = policy_loss
    update: Callable = update
    judge: Callable = judge

    @property
    def exchanged(self) -> dict[str, str]:
        """The names of those that are not the course's own, by stage; of the loss in any case."""
        own = Stages()
        names = [f.name for f in fields(self) if getattr(self, f.name) is not getattr(own, f.name)]
        return {name: name_of(getattr(self, name)) for name in dict.fromkeys(["loss", *names])}


def train(
    policy: Policy,
    problems: list[Problem],
    method: Method,
    settings: TrainSettings | None = None,
    reward: Callable[[str, str], float] = correctness_reward,
    eval_problems: list[Problem] | None = None,
    checkpoint_dir: str | Path | None = None,
    start_file: str | Path | None = None,
    stages: Stages | None = None,
) -> Iterator[StepRecord]:
    """Trains the policy's model in place and yields a record after each step.

    reward(text, gold) -> float judges a completion. You can stop taking records at any time: what
    was learnt is kept. With a `checkpoint_dir` the run is saved every `checkpoint_every` steps and
    where it is stopped between two, and a run that finds a checkpoint there continues it: it first
    yields the records of the steps that are done, then trains on. On a CPU the resumed run equals
    the unbroken one bit for bit. It needs the same method, settings, problems, `reward` and
    `stages` (`checkpoints.name_of`).
    start_file: where runs from one start model keep it together, for the KL; by default each keeps
    its own. Raises ValueError on input that makes no run, and FloatingPointError, naming the step,
    where a loss, a gradient or a log-ratio is not finite. The model then has the weights of its
    last good update or, where these are at fault themselves, those of the last good step.
    """
    settings = settings or TrainSettings()
    stages = stages or Stages()
    if not isinstance(method, Method):
        raise ValueError(
            f"method must be a Method such as GRPO, or method_by_name(...), not {method!r}"
        )
    if not problems:
        raise ValueError("there are no problems to train on")
    check_prompts(policy, [*problems, *(eval_problems or [])], settings.max_tokens)
    checkpoints = None
    if checkpoint_dir is not None:
        data = {
            "reward": name_of(reward),
            "problems": name_of_problems(problems),
        } | stages.exchanged
        data["eval_problems"] = name_of_problems(eval_problems or [])
        checkpoints = Checkpoints(
            checkpoint_dir, method, settings, data=data, start_file=start_file
        )
        checkpoints.check()
    return _train(
        policy,
        problems,
        method,
        settings=settings,
        reward=reward,
        eval_problems=eval_problems,
        checkpoints=checkpoints,
        stages=stages,
    )


def _train(
    policy, problems, method, settings, reward, eval_problems, checkpoints, stages
) -> Iterator[StepRecord]:
    # What is trained, continued from its checkpoint if there is one.
    learner = make_learner(policy, method, settings, score=stages.score, loss=stages.loss)
    records = checkpoints.resume(learner, policy.device) if checkpoints else []
    if len(records) > settings.steps:
        raise ValueError(
            f"the checkpoint holds {len(records)} steps, more than the {settings.steps} of these"
            " settings: choose another folder, or at least that many steps"
        )
    yield from records
    first_eval = None
    if eval_problems and not records:
        with explained_memory("the evaluation before training"):
            first_eval = evaluate(policy, eval_problems, settings.max_tokens)
    good = LastGood(learner.model)
    gap_is_known = False
    saved = time.monotonic()

    for step in range(len(records) + 1, settings.steps + 1):
        # One rollout and its updates.
        for group in learner.optimizer.param_groups:
            group["lr"] = settings.rate(step)
        with explained_memory(f"step {step}"), good.put_back(f"step {step}"):
            record = take_step(
                learner, policy, problems, step=step, reward=reward, stages=stages, good=good
            )
            gap_is_known = gap_is_known or warn_of_gap(policy, record.sampler_gap, step)
            if eval_problems and (step % settings.eval_every == 0 or step == settings.steps):
                record = with_evaluation(
                    record, policy, eval_problems, max_tokens=settings.max_tokens
                )
        # Its record, kept in a checkpoint when one is due, or when the reader stops here.
        total_tokens = record.tokens + (records[-1].total_tokens if records else 0)
        records.append(replace(record, total_tokens=total_tokens, start_eval=first_eval))
        first_eval = None
        due = step == settings.steps or is_due(settings, step, time.monotonic() - saved)
        if checkpoints and due:
            checkpoints.save(learner, records)
            saved = time.monotonic()
        try:
            yield records[-1]
        except GeneratorExit:
            if checkpoints and not due:
                checkpoints.save(learner, records)
            raise


def take_step(
    learner: Learner,
    policy: Policy,
    problems: list[Problem],
    step: int,
    reward: Callable[[str, str], float] = correctness_reward,
    stages: Stages | None = None,
    good: LastGood | None = None,
) -> StepRecord:
    """One rollout and all its updates. good: where to keep the weights, if the rollout shows them
    to be sound."""
    method = learner.method
    settings = learner.settings
    stages = stages or Stages()
    clock = Clock(policy.device)
    # Sample groups of completions, and reward each.
    with clock.time("generate"):
        batch = problems_of_step(problems, step, settings)
        rollout = stages.sample(policy, batch, step, settings)
    if good and rollout.logprobs.isfinite().all():
        good.keep()
    rewards = stages.rate(rollout, batch, reward).to(policy.device)
    # Turn rewards into advantages; the log-probs before any update.
    with clock.time("score"):
        minibatches = make_minibatches(
            rollout,
            rewards,
            method,
            settings=settings,
            step=step,
            advantages_of=stages.advantages,
            without_signal=stages.no_signal,
        )
        stages.score_before(learner, minibatches, first=False)
    # Clipped steps, several on each rollout.
    updates = [
        stages.update(learner, minibatch, clock, f"step {step}, epoch {epoch + 1}")
        for epoch in range(settings.epochs)
        for minibatch in minibatches
    ]
    verdict = stages.judge(rollout, batch)
    record = summarise(
        step,
        rollout,
        verdict,
        rewards=rewards,
        minibatches=minibatches,
        updates=updates,
        method=method,
        no_signal=stages.no_signal(rewards),
    )
    if record.clip_fraction_first > 0:
        warnings.warn(
            f"step {step}: before the first update {record.clip_fraction_first:.2%} of"
            f" {record.clip_unit} are clipped already, since log-probs are not reproduced exactly"
            " here; compare the clip fraction with that",
            stacklevel=3,
        )
    return replace(record, seconds=clock.seconds)


def is_due(settings: TrainSettings, step: int, seconds: float) -> bool:
    """Whether a checkpoint is due after a step, so many seconds after the one before."""
    if settings.checkpoint_minutes is not None:
        return seconds >= 60 * settings.checkpoint_minutes
    return step % settings.checkpoint_every == 0


def with_evaluation(
    record: StepRecord, policy: Policy, problems: list[Problem], max_tokens: int
) -> StepRecord:
    """The record with the held-out accuracy after the step, and the seconds that it took."""
    clock = Clock(policy.device)
    with clock.time("evaluate"):
        found = evaluate(policy, problems, max_tokens)
    return replace(record, eval=found, seconds=record.seconds | clock.seconds)


def problems_of_step(problems: list[Problem], step: int, settings: TrainSettings) -> list[Problem]:
    """The problems of a step (from 1). Each epoch goes through a shuffled list, the same for every
    method of a seed."""
    drawn = range((step - 1) * settings.prompts_per_step, step * settings.prompts_per_step)
    epochs = {epoch: list(problems) for epoch in {i // len(problems) for i in drawn}}
    for epoch, order in epochs.items():
        random.Random(f"{settings.seed}/{epoch}").shuffle(order)
    return [epochs[i // len(problems)][i % len(problems)] for i in drawn]


def sample_step(
    policy: Policy, batch: list[Problem], step: int, settings: TrainSettings
) -> Rollout:
    """The rollout of a step; its noise depends on seed, step, row and position alone."""
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


def score_rewards(rollout: Rollout, batch: list[Problem], reward) -> Tensor:
    """The rewards of a rollout, [P, G]. Raises ValueError where the reward function returns no
    number."""
    golds = [problem.answer for problem in batch for _ in range(rollout.group_size)]
    values = [reward(text, gold) for text, gold in zip(rollout.texts, golds, strict=True)]
    for value, text, gold in zip(values, rollout.texts, golds, strict=True):
        if not (isinstance(value, numbers.Real) and math.isfinite(value)):
            raise ValueError(
                f"the reward function must return a finite number, not {value!r}: it did for the"
                f" text {text[:80]!r} and the answer {gold!r}"
            )
    return torch.tensor(values, dtype=torch.float32).view(len(batch), rollout.group_size)
