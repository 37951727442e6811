"""Is that all? The training loop: sample groups, reward them, turn rewards into advantages, take clipped steps.

    for record in train(policy, problems, GRPO, TrainSettings(steps=20)):
        print(record.step, record.reward_mean)

A step is one rollout of `prompts_per_step * group_size` completions and `epochs * minibatches` optimizer steps on it.
"""

import copy
import math
import numbers
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from rlvr_helpers.checkpoints import Checkpoints, name_of, name_of_problems
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.finite import BadUpdate, LastGood
from rlvr_helpers.engine.large import (
    LossScaler,
    explained_memory,
    lora_layers,
    make_optimizer,
    remake_activations,
    training_mode,
    without_lora,
)
from rlvr_helpers.evaluation import evaluate, judge
from rlvr_helpers.losses import PolicyLoss, policy_loss
from rlvr_helpers.methods import Method
from rlvr_helpers.minibatches import MiniBatch, make_minibatches
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.records import StepRecord, Update, observe, summarise
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, check_prompts, sample_groups, warn_of_gap
from rlvr_helpers.train_settings import TrainSettings


def train(
    policy: Policy,
    problems: list[Problem],
    method: Method,
    settings: TrainSettings | None = None,
    reward: Callable[[str, str], float] = correctness_reward,
    eval_problems: list[Problem] | None = None,
    checkpoint_dir=None,
    loss: Callable[..., PolicyLoss] | None = None,
    start_file=None,
) -> Iterator[StepRecord]:
    """Trains the policy's model in place and yields a record after each step.

    reward(text, gold) -> float judges a completion. `loss` stands in for `losses.policy_loss` and takes its arguments.
    Stop taking records at any time: what was learnt is kept. With a `checkpoint_dir` the run is saved every
    `checkpoint_every` steps and where it is stopped between two, and a run that finds a checkpoint there goes on from it:
    it first yields the records of the steps that are done, then trains on. On a CPU the resumed run equals the unbroken
    one bit for bit. It needs the same method, settings, problems, `reward` and `loss` (`checkpoints.name_of`).
    start_file: where runs from one start model keep it together, for the KL; by default each keeps its own.
    Raises ValueError on input that makes no run, and FloatingPointError, naming the step, where a loss, a gradient or a
    log-ratio is not finite. The model then has the weights of its last good update or, where these are at fault
    themselves, those of the last good step.
    """
    settings = settings or TrainSettings()
    if not isinstance(method, Method):
        raise ValueError(f"method must be a Method such as GRPO, or method_by_name(...), not {method!r}")
    if not problems:
        raise ValueError("there are no problems to train on")
    check_prompts(policy, [*problems, *(eval_problems or [])], settings.max_tokens)
    checkpoints = None
    if checkpoint_dir is not None:
        data = {"reward": name_of(reward), "loss": name_of(loss or policy_loss), "problems": name_of_problems(problems)}
        data["eval_problems"] = name_of_problems(eval_problems or [])
        checkpoints = Checkpoints(checkpoint_dir, method, settings, data, start_file)
        checkpoints.check()
    return _train(policy, problems, method, settings, reward, eval_problems, checkpoints, loss)


def _train(policy, problems, method, settings, reward, eval_problems, checkpoints, loss) -> Iterator[StepRecord]:
    model = policy.model.eval()  # no dropout: log-probs of one text must not differ from call to call
    if settings.gradient_checkpointing:
        remake_activations(model)
    optimizer, scaler = make_optimizer(model, settings), LossScaler(policy.device, policy.compute)
    for parameter in model.parameters():  # AdamW counts every update, also one in which no group has a signal
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    reference = make_reference(model) if settings.track_kl or method.kl_coef > 0 else None
    records = checkpoints.resume(model, optimizer, reference, policy.device, scaler) if checkpoints else []
    if len(records) > settings.steps:
        raise ValueError(
            f"the checkpoint holds {len(records)} steps, more than the {settings.steps} of these settings: choose another "
            "folder, or at least that many steps"
        )
    yield from records
    first_eval = None
    if eval_problems and not records:
        with explained_memory("the evaluation before training"):
            first_eval = evaluate(policy, eval_problems, settings.max_tokens)
    total_tokens, good = records[-1].total_tokens if records else 0, LastGood(model)
    gap_is_known = False

    for step in range(len(records) + 1, settings.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step)
        with explained_memory(f"step {step}"), good.put_back(f"step {step}"):
            record = take_step(
                policy, problems, method, settings, reward, optimizer, scaler, reference, step, loss, good
            )
            gap_is_known = gap_is_known or warn_of_gap(policy, record.sampler_gap, step)
            if eval_problems and (step % settings.eval_every == 0 or step == settings.steps):
                clock = Clock(policy.device)
                with clock.time("evaluate"):
                    record = replace(record, eval=evaluate(policy, eval_problems, settings.max_tokens))
                record.seconds.update(clock.seconds)
        total_tokens += record.tokens
        record = replace(record, total_tokens=total_tokens, start_eval=first_eval)
        records, first_eval = [*records, record], None
        save = checkpoints and partial(checkpoints.save, model, optimizer, records, scaler)
        due = step % settings.checkpoint_every == 0 or step == settings.steps
        if save and due:
            save()
        try:
            yield record
        except GeneratorExit:  # the reader stops here: what was done since the last checkpoint is kept too
            if save and not due:
                save()
            raise


def take_step(
    policy, problems, method, settings, reward, optimizer, scaler, reference, step: int, loss=None, good=None
) -> StepRecord:
    """One rollout and all its updates."""
    clock, model = Clock(policy.device), policy.model
    with clock.time("generate"):
        batch = problems_of_step(problems, step, settings)
        rollout = sample_step(policy, batch, step, settings)
    if good and rollout.logprobs.isfinite().all():
        good.keep()
    rewards = score_rewards(rollout, batch, reward).to(policy.device)
    with clock.time("score"):
        minibatches = make_minibatches(rollout, rewards, method, settings, step)
        score_before_updates(minibatches, model, reference, everywhere=method.kl_coef > 0, first=False)
    updates = [
        update(model, optimizer, minibatch, method, settings, clock, f"step {step}, epoch {epoch + 1}", scaler, loss)
        for epoch in range(settings.epochs)
        for minibatch in minibatches
    ]
    record = summarise(step, rollout, judge(rollout, batch), rewards, minibatches, updates, method, settings)
    if record.clip_fraction_first > 0:
        warnings.warn(
            f"step {step}: before the first update {record.clip_fraction_first:.2%} of {record.clip_unit} are clipped "
            "already, since log-probs are not reproduced exactly here; compare the clip fraction with that",
            stacklevel=3,
        )
    return replace(record, seconds=clock.seconds)


def make_reference(model):
    """The start model, to measure the KL to: a frozen copy, or with LoRA the model itself, which holds it."""
    return model if lora_layers(model) else copy.deepcopy(model).requires_grad_(False)


def problems_of_step(problems: list[Problem], step: int, settings: TrainSettings) -> list[Problem]:
    """The problems of a step (from 1): pass after pass through a shuffled list, the same for every method of a seed."""
    places = range((step - 1) * settings.prompts_per_step, step * settings.prompts_per_step)
    laps = {lap: list(problems) for lap in sorted({place // len(problems) for place in places})}
    for lap, order in laps.items():
        random.Random(f"{settings.seed}/{lap}").shuffle(order)
    return [laps[place // len(problems)][place % len(problems)] for place in places]


def sample_step(policy: Policy, batch: list[Problem], step: int, settings: TrainSettings) -> Rollout:
    """The rollout of a step; its noise depends on seed, step, row and position alone."""
    generator = torch.Generator().manual_seed(settings.noise_seed(step))
    prompts = [format_prompt(policy, problem.question) for problem in batch]
    return sample_groups(policy, prompts, settings.group_size, settings.max_tokens, settings.temperature, generator)


def score_rewards(rollout: Rollout, batch: list[Problem], reward) -> Tensor:
    """The rewards of a rollout, [P, G]. Raises ValueError where the reward function returns no number."""
    golds = [problem.answer for problem in batch for _ in range(rollout.group_size)]
    values = [reward(text, gold) for text, gold in zip(rollout.texts, golds, strict=True)]
    for value, text, gold in zip(values, rollout.texts, golds, strict=True):
        if not (isinstance(value, numbers.Real) and math.isfinite(value)):
            raise ValueError(
                f"the reward function must return a finite number, not {value!r}: it did for the text {text[:80]!r} and the "
                f"answer {gold!r}"
            )
    return torch.tensor(values, dtype=torch.float32).view(len(batch), rollout.group_size)


@torch.no_grad()
def score_before_updates(
    minibatches: list[MiniBatch], model, reference=None, everywhere: bool = True, first: bool = True
) -> None:
    """Log-probs under the model that sampled, in the very micro-batches that are trained on: the same dtype, padding and
    shape, so that the ratio before the first update is exactly 1 on a CPU. And under the reference: everywhere where the
    loss needs them, else in the first mini-batch with rows, which is enough to watch the KL. first: the first mini-batch
    too, whose `update` otherwise takes its own log-probs for the old ones: the same, bit for bit."""
    watched = next((minibatch for minibatch in minibatches if minibatch.micro), None)
    for minibatch in minibatches:
        for micro in minibatch.micro:
            if first or minibatch is not minibatches[0]:
                micro.logp_old, micro.entropy = micro.score(model)
            if reference is not None and (everywhere or minibatch is watched):
                with without_lora(reference):
                    micro.logp_ref = micro.score(reference)[0]


def update(
    model, optimizer, minibatch: MiniBatch, method: Method, settings, clock: Clock, place: str, scaler=None, loss=None
) -> Update:
    """One optimizer step. The micro-batches' gradients add up to that of the whole mini-batch. loss: see `train`."""
    result, scaler = Update(), scaler or LossScaler(model.device, torch.float32)
    optimizer.zero_grad(set_to_none=False)
    for micro in minibatch.micro:
        with clock.time("forward"), training_mode(model, settings.gradient_checkpointing):
            logp_new, entropy = micro.score(model)
            if micro.logp_old is None:  # nothing has moved since sampling
                micro.logp_old = logp_new.detach()
            if micro.entropy is None:
                micro.entropy = entropy
            out = (loss or policy_loss)(
                method, logp_new, micro.logp_old, micro.advantages, micro.mask, settings.max_tokens,
                micro.logp_ref if method.kl_coef > 0 else None, minibatch.total_rows, minibatch.total_tokens,
            )  # fmt: skip
        with clock.time("backward"), training_mode(model, settings.gradient_checkpointing):
            scaler.backward(out.loss)
        observe(result, out, logp_new.detach(), micro, minibatch, method)
    if not all(ratios.isfinite().all() for ratios in result.token_log_ratios + result.sequence_log_ratios):
        optimizer.zero_grad()
        raise FloatingPointError(f"{place}: log-ratios are not finite")
    with clock.time("optimizer"):
        scaler.unscale(optimizer)
        result.grad_norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm))
        result.skipped = math.isfinite(result.loss) and scaler.may_skip(result.grad_norm)
        if not (math.isfinite(result.loss) and math.isfinite(result.grad_norm) or result.skipped):
            optimizer.zero_grad()
            raise BadUpdate(
                f"{place}: the loss is {result.loss} and the gradient norm {result.grad_norm}; the weights are those of "
                "the last good update. Lower the learning rate, or look at the rewards and log-probs of this step."
            )
        scaler.step(optimizer)
    return result
