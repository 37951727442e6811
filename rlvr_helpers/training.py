"""Is that all? The training loop: sample groups, reward them, turn rewards into advantages, take
clipped steps.

    for record in train(policy, problems, GRPO, TrainSettings(steps=20)):
        print(record.step, record.reward_mean)

A step is one rollout of `prompts_per_step * group_size` completions and `epochs * minibatches`
optimizer steps on it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from rlvr_helpers.checkpoints import Checkpoints
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.finite import LastGood
from rlvr_helpers.engine.large import explained_memory
from rlvr_helpers.engine.work import Stages, Work, problems_of_step, with_evaluation
from rlvr_helpers.engine.work import sample_step as sample_step
from rlvr_helpers.engine.work import score_rewards as score_rewards
from rlvr_helpers.evaluation import score_rollout
from rlvr_helpers.methods import Method
from rlvr_helpers.minibatches import Learner, make_learner, make_minibatches
from rlvr_helpers.minibatches import make_optimizer as make_optimizer
from rlvr_helpers.minibatches import score_before_updates as score_before_updates
from rlvr_helpers.minibatches import update as update
from rlvr_helpers.models import Policy
from rlvr_helpers.problems import Problem
from rlvr_helpers.records import StepRecord, summarise, warn_of_early_clip
from rlvr_helpers.rewards import as_scorer
from rlvr_helpers.sampling import check_prompts, warn_of_gap
from rlvr_helpers.train_settings import TrainSettings


def _train(
    work: Work, method: Method, settings: TrainSettings, checkpoints: Checkpoints | None
) -> Iterator[StepRecord]:
    """The loop: one record after each step. `train` is its door."""
    # What is trained, continued from its checkpoint if there is one.
    policy = work.policy
    learner = make_learner(policy, method, settings, score=work.stages.score, loss=work.stages.loss)
    records = checkpoints.resume(learner, policy.device) if checkpoints else []
    if len(records) > settings.steps:
        raise ValueError(
            f"the checkpoint holds {len(records)} steps, more than the {settings.steps} of these"
            " settings: choose another folder, or at least that many steps"
        )
    yield from records
    with explained_memory("the evaluation before training"):
        before = {} if records else work.held_out(settings)
    before = {f"start_{name}": value for name, value in before.items()}
    # What is kept from step to step.
    good = LastGood(learner.model)
    gap_is_known = False
    saved = time.monotonic()

    for step in range(len(records) + 1, settings.steps + 1):
        # One rollout and its updates, and how it does on held-out problems.
        for group in learner.optimizer.param_groups:
            group["lr"] = settings.rate(step)
        with explained_memory(f"step {step}"), good.put_back(f"step {step}"):
            record = take_step(learner, work, step, good=good)
            gap_is_known = gap_is_known or warn_of_gap(policy, record.sampler_gap, step)
            if step % settings.eval_every == 0 or step == settings.steps:
                record = with_evaluation(record, work, settings)
        # Its record, kept in a checkpoint when one is due, or when the reader stops here.
        total_tokens = record.tokens + (records[-1].total_tokens if records else 0)
        records.append(replace(record, total_tokens=total_tokens, **before))
        before = {}
        due = step == settings.steps or settings.checkpoint_is_due(step, time.monotonic() - saved)
        if checkpoints and due:
            checkpoints.save(learner, records)
            saved = time.monotonic()
        try:
            yield records[-1]
        except GeneratorExit:
            if checkpoints and not due:
                checkpoints.save(learner, records)
            raise


def take_step(learner: Learner, work: Work, step: int, good: LastGood | None = None) -> StepRecord:
    """One rollout and all its updates. good: where to keep the weights, if the rollout shows them
    to be sound."""
    settings = learner.settings
    stages = work.stages
    clock = Clock(work.policy.device)
    # Sample groups of completions, and reward each.
    with clock.time("generate"):
        batch = problems_of_step(work.problems, step, settings)
        rollout = stages.sample(work.policy, batch, step, settings)
    if good and rollout.logprobs.isfinite().all():
        good.keep()
    scores = score_rollout(work.scorer, rollout, batch)
    rewards = stages.rate(rollout, batch, scores).to(work.policy.device)
    # Turn rewards into advantages, and keep the log-probs before any update.
    with clock.time("score"):
        minibatches = make_minibatches(
            rollout,
            rewards,
            learner.method,
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
    # What the step showed.
    record = summarise(
        step,
        rollout,
        stages.judge(rollout, batch, scores),
        rewards=rewards,
        minibatches=minibatches,
        updates=updates,
        method=learner.method,
        no_signal=stages.no_signal(rewards),
    )
    warn_of_early_clip(record)
    return replace(record, seconds=clock.seconds)


def train(
    policy: Policy,
    problems: list[Problem],
    method: Method,
    settings: TrainSettings | None = None,
    reward: Callable[[str, str], float] | None = None,
    eval_problems: list[Problem] | None = None,
    checkpoint_dir: str | Path | None = None,
    start_file: str | Path | None = None,
    stages: Stages | None = None,
    scorer: Callable[[str, Problem], float | dict[str, float]] | None = None,
) -> Iterator[StepRecord]:
    """Trains the policy's model in place and yields a record after each step.

    You can stop iterating at any time. The trained weights are kept. With a `checkpoint_dir` the
    run is saved every `checkpoint_every` steps, and where you stop between two. A run that finds a
    checkpoint there resumes it. It yields the records of the steps that are done, then the others,
    on a CPU bit for bit those of an unbroken run. It needs the same method, settings, problems,
    prompt, end tokens, reward or scorer, and `stages`.

    reward(text, gold) -> float: pays for a completion. None: `correctness_reward`.
    scorer(completion, problem) -> float or dict of parts: pays, and says what is correct on the
        held-out problems (`rewards.as_scorer`). Give it in place of a reward.
    start_file: where runs from one start model keep it together, for the KL. By default each keeps
        its own.
    Raises ValueError on input that makes no run, and when the first record is taken while another
    process trains in `checkpoint_dir`. Raises FloatingPointError, naming the step, if a
    loss, a gradient or a log-ratio is not finite. The model then has the weights of its last good
    update or, if these are at fault themselves, those of the last good step.
    """
    # Check everything at the door: a wrong input fails here, not when the first record is taken.
    settings = settings or TrainSettings()
    paid = as_scorer(reward, scorer)
    stages = stages or Stages()
    work = Work(
        policy, problems, paid, eval_problems=eval_problems or [], verdicts=scorer, stages=stages
    )
    if not isinstance(method, Method):
        raise ValueError(
            f"method must be a Method such as GRPO, or method_by_name(...), not {method!r}"
        )
    if not problems:
        raise ValueError("there are no problems to train on: give at least one")
    # A prompt without room for an answer would end a run at a late step.
    check_prompts(policy, [*problems, *work.eval_problems], settings.max_tokens)
    checkpoints = Checkpoints.of_run(
        checkpoint_dir, method, settings, data=work.names, start_file=start_file
    )
    steps = _train(work, method, settings, checkpoints=checkpoints)
    return checkpoints.alone(steps) if checkpoints else steps
