"""Is that all? The training loop: sample groups, reward them, turn rewards into advantages, take clipped steps.

    for record in train(policy, problems, GRPO, TrainSettings(steps=20)):
        print(record.step, record.reward_mean)

A step is one rollout of `prompts_per_step * group_size` completions and `epochs * minibatches` optimizer steps on it.
"""

import copy
import math
import numbers
import random
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial

import torch
from torch import Tensor

from rlvr_helpers.advantages import group_advantages, groups_without_signal
from rlvr_helpers.checkpoints import Checkpoints, name_of, name_of_problems
from rlvr_helpers.clipping import clip_binds
from rlvr_helpers.evaluation import Evaluation, evaluate, judge
from rlvr_helpers.large import (
    LossScaler,
    autocast,
    lora_layers,
    make_optimizer,
    remake_activations,
    training_mode,
    without_lora,
)
from rlvr_helpers.losses import PolicyLoss, kl_estimate, policy_loss
from rlvr_helpers.methods import Method
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.ratios import masked_log_ratios, sequence_ratios
from rlvr_helpers.records import Distribution, StepRecord
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, check_prompts, sample_groups, score_tokens, warn_of_gap

# More than these no machine holds at once: they are slips of the keyboard.
MOST_COMPLETIONS = 100_000
MOST_TOKENS = 1_000_000


def _is_like(value, usual) -> bool:
    """Whether a setting has the type of its usual value; a whole number will do for any number, a list for a tuple."""
    if isinstance(usual, tuple):
        same = isinstance(value, (tuple, list)) and len(value) == len(usual)
        return same and all(_is_like(v, u) for v, u in zip(value, usual, strict=True))
    if isinstance(usual, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(usual, bool)
    return isinstance(value, (int, float) if isinstance(usual, float) else int)


@dataclass(frozen=True)
class TrainSettings:
    """Everything but the method; the defaults suit `tiny`. Raises ValueError on values that make no run.

    learning_rate, warmup_steps, decay_steps: the rate rises linearly over the first steps (Adam's first updates know
                      little of the gradient's size) and falls linearly to a tenth, reached at decay_steps; None: no fall.
    micro_batch_rows: rows that go through the model at once; None: a whole mini-batch. It changes memory, not the result.
    micro_batch_tokens: the same as a budget of tokens: groups, or parts of one, with their prompts and padding.
    gradient_checkpointing: a layer's activations are made again in the backward pass; less memory, a third more time.
    eight_bit_optimizer: AdamW's two moments in one byte each (the package bitsandbytes).
    checkpoint_every: steps between checkpoints, where `train` is given a folder for them; the last step always has one.
    track_kl:         measure the KL to the start model, on the first mini-batch of each rollout that has a signal.
    eval_every:       steps between evaluations on the held-out problems; the first and last step always have one.
    """

    steps: int = 32
    prompts_per_step: int = 16
    group_size: int = 8
    epochs: int = 2
    minibatches: int = 4
    learning_rate: float = 5e-5
    warmup_steps: int = 4
    decay_steps: int | None = 32
    max_tokens: int = 64
    temperature: float = 1.0
    seed: int = 0
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    micro_batch_rows: int | None = None
    track_kl: bool = True
    eval_every: int = 5
    micro_batch_tokens: int | None = None
    gradient_checkpointing: bool = False
    eight_bit_optimizer: bool = False
    checkpoint_every: int = 1

    def __post_init__(self):
        for own in fields(self):
            value, optional = getattr(self, own.name), "None" in str(own.type)
            usual = own.default if own.default is not None else 1  # the settings that may be None are whole numbers
            if not (value is None and optional) and not _is_like(value, usual):
                raise ValueError(f"{own.name} must be like {usual!r}{' or None' * optional}, not {value!r}")
        whole = ("steps", "prompts_per_step", "epochs", "minibatches", "max_tokens", "eval_every", "checkpoint_every")
        for name in whole:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not -(2**63) <= self.seed < 2**64:
            raise ValueError(f"seed must fit in 64 bits, not be {self.seed}")
        if self.prompts_per_step * self.group_size > MOST_COMPLETIONS or self.max_tokens > MOST_TOKENS:
            raise ValueError(
                f"a step must have at most {MOST_COMPLETIONS} completions of at most {MOST_TOKENS} tokens, not "
                f"{self.prompts_per_step} prompts x {self.group_size} completions of {self.max_tokens} tokens"
            )
        if self.group_size < 2:
            raise ValueError(f"group_size must be at least 2, not {self.group_size}: an advantage compares answers")
        if self.minibatches > self.prompts_per_step:
            raise ValueError(
                f"{self.minibatches} minibatches cannot be made of {self.prompts_per_step} prompts: a group stays whole"
            )
        if not self.temperature > 0 or not self.learning_rate > 0 or not self.max_grad_norm > 0:
            raise ValueError("temperature, learning_rate and max_grad_norm must be above 0")
        if not math.isfinite(self.learning_rate * self.temperature) or not 0 <= self.weight_decay < math.inf:
            raise ValueError("temperature and learning_rate must be finite, weight_decay 0 or more and finite")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1, not {self.betas}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be 0 or more, not {self.warmup_steps}")
        if self.decay_steps is not None and self.decay_steps < 1:
            raise ValueError(f"decay_steps must be at least 1 or None, not {self.decay_steps}")
        for name in ("micro_batch_rows", "micro_batch_tokens"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.micro_batch_rows and self.micro_batch_tokens:
            raise ValueError("give micro_batch_rows or micro_batch_tokens, not both")
        object.__setattr__(self, "betas", tuple(self.betas))  # a list, after a trip through JSON

    def noise_seed(self, step: int) -> int:
        """The seed of a step's noise and of its order of mini-batches, in 64 bits."""
        return (self.seed * 1_000_003 + step) % 2**64

    def rate(self, step: int) -> float:
        """The learning rate of a step (from 1)."""
        done = min(1.0, (step - 1) / self.decay_steps) if self.decay_steps else 0.0
        warm = min(1.0, step / (self.warmup_steps + 1))
        return self.learning_rate * warm * (1 - 0.9 * done)


@dataclass
class MicroBatch:
    """Rows that go through the model at once, cut to their own width, with what the loss needs. `group_size` is above
    1 where the rows are whole groups, whose prompts are then read once."""

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    mask: Tensor
    advantages: Tensor
    group_size: int
    temperature: float
    logp_sampler: Tensor  # as decoding saw them: a diagnostic only
    compute: torch.dtype = torch.float32  # what matrix products are made in, as in sampling
    logp_old: Tensor | None = None
    logp_ref: Tensor | None = None
    entropy: Tensor | None = None

    @property
    def sampler_gap(self) -> float:
        """Largest difference between the log-probs of decoding and those of training, in nats."""
        return float(((self.logp_sampler - self.logp_old) * self.mask).abs().max())

    def score(self, model) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies of the completion tokens under a model, [B, T] each."""
        ids = self.prompt_ids, self.prompt_mask, self.completion_ids, self.mask
        with autocast(self.mask.device, self.compute):
            # the first update of a rollout has not been scored before: it gives the entropy too
            more = (True,) if torch.is_grad_enabled() and self.entropy is None else ()
            return score_tokens(model, *ids, self.temperature, self.group_size, *more)


@dataclass
class MiniBatch:
    """The rows of one optimizer step, as micro-batches. The totals count rows without signal too, which are left out."""

    micro: list[MicroBatch]
    total_rows: int
    total_tokens: int


@dataclass
class Update:
    """What one optimizer step showed. Log-ratios are those that the loss saw, before the step."""

    loss: float = 0.0
    clip_fraction: float = 0.0
    clip_low: float = 0.0
    clip_high: float = 0.0
    grad_norm: float = 0.0
    skipped: bool = False  # by float16's loss scaling
    token_log_ratios: list[Tensor] = field(default_factory=list)
    sequence_log_ratios: list[Tensor] = field(default_factory=list)


class BadUpdate(FloatingPointError):
    """A loss or a gradient is not finite. The weights, with which the model still says something, are kept."""


class LastGood:
    """The trained weights as they were when a rollout was last sampled from them without a fault."""

    def __init__(self, model):
        self.weights = [parameter.detach() for parameter in model.parameters() if parameter.requires_grad]
        self.kept = [weight.clone() for weight in self.weights]

    def keep(self) -> None:
        torch._foreach_copy_(self.kept, self.weights)

    @contextmanager
    def put_back(self, place: str):
        """Puts them back where the weights have become such that the model's log-probs are not finite. Raises
        FloatingPointError that names the place."""
        try:
            yield
        except BadUpdate:
            raise
        except FloatingPointError as error:
            torch._foreach_copy_(self.weights, self.kept)
            said = str(error) if str(error).startswith(place) else f"{place}: {error}"
            raise FloatingPointError(
                f"{said}. The weights are again those of the last good step. Lower the learning rate, or look at "
                "the rewards and log-probs of this step."
            ) from error


class Clock:
    """Adds up the seconds spent in each part of a step."""

    def __init__(self, device: torch.device):
        self.seconds: dict[str, float] = {}
        self.cuda = device.type == "cuda"

    @contextmanager
    def time(self, part: str):
        started = self._now()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + self._now() - started

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


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


@contextmanager
def explained_memory(place: str):
    """Says what to do where a GPU's memory is full. Raises RuntimeError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RuntimeError(
            f"{place}: the GPU's memory is full. What helps most: micro_batch_tokens (begin with 4096, then halve it) and "
            "gradient_checkpointing=True; neither changes the result, and a run with checkpoints goes on from its last one "
            "when it is started again with them. If it is still full: LoRA, or fewer prompts_per_step. "
            f"({str(error).splitlines()[0]})"
        ) from error


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


def make_minibatches(
    rollout: Rollout, rewards: Tensor, method: Method, settings: TrainSettings, step: int
) -> list[MiniBatch]:
    """Splits a rollout into mini-batches of whole groups (together, so that their prompts are read once).

    Groups without signal are left out of the computation where the method has no KL term: their gradient is exactly 0.
    They still count in every denominator.
    """
    advantages = group_advantages(rewards, method.advantage_scale)
    has_signal = ~groups_without_signal(rewards) if method.kl_coef == 0 else torch.ones(len(rewards), dtype=torch.bool)
    generator = torch.Generator().manual_seed(settings.noise_seed(step))
    order = torch.randperm(len(rewards), generator=generator)
    size, lengths = rollout.group_size, rollout.lengths
    minibatches = []
    for groups in order.tensor_split(settings.minibatches):
        all_rows = (groups[:, None] * size + torch.arange(size)).flatten()
        groups = groups[has_signal.cpu()[groups]]
        rows = (groups[:, None] * size + torch.arange(size)).flatten()
        parts = split_rows(rows, rollout, settings)
        micro = [cut_rows(rollout, part, advantages.flatten(), shared, settings.temperature) for part, shared in parts]
        minibatches.append(MiniBatch(micro, len(all_rows), int(lengths[all_rows].sum())))
    return minibatches


def split_rows(rows: Tensor, rollout: Rollout, settings: TrainSettings) -> list[tuple[Tensor, int]]:
    """The rows of a mini-batch (whole groups) in parts that go through the model at once, each with how many rows in
    succession share a prompt."""
    size = rollout.group_size
    if not len(rows):
        return []
    if settings.micro_batch_tokens is None:
        per_micro = settings.micro_batch_rows or len(rows)
        return [(part, size if per_micro % size == 0 else 1) for part in rows.split(per_micro)]
    budget, lengths = settings.micro_batch_tokens, rollout.lengths.tolist()
    prompts, parts = rollout.prompt_mask.sum(dim=1).tolist(), []
    # whole groups that fit together, and the places of the longest: the others are padded to it
    waiting, widest = [], 0
    for group in rows.view(-1, size).tolist():
        places = prompts[group[0]] + sum(lengths[row] for row in group)
        if waiting and max(widest, places) * (len(waiting) + 1) > budget:
            parts.append((torch.tensor(waiting).flatten(), size))
            waiting, widest = [], 0
        if places > budget:
            parts += [(torch.tensor(part), len(part)) for part in split_group(group, prompts, lengths, budget)]
        else:
            waiting, widest = [*waiting, group], max(widest, places)
    return [*parts, (torch.tensor(waiting).flatten(), size)] if waiting else parts


def split_group(group: list[int], prompts: list[int], lengths: list[int], budget: int) -> list[list[int]]:
    """The rows of a group in parts that hold at most `budget` tokens, the prompt once each; at least one row a part."""
    parts, places = [[]], prompts[group[0]]
    for row in group:
        if parts[-1] and places + lengths[row] > budget:
            parts, places = [*parts, []], prompts[row]
        parts[-1].append(row)
        places += lengths[row]
    return parts


def cut_rows(rollout: Rollout, rows: Tensor, advantages: Tensor, group_size: int, temperature: float) -> MicroBatch:
    """Some rows of a rollout, without the columns that are padding in all of them."""
    rows = rows.to(rollout.mask.device)
    prompt_width = int(rollout.prompt_mask[rows].sum(dim=1).max())
    width = int(rollout.lengths[rows].max())
    return MicroBatch(
        rollout.prompt_ids[rows][:, -prompt_width:],
        rollout.prompt_mask[rows][:, -prompt_width:],
        rollout.completion_ids[rows][:, :width],
        rollout.mask[rows][:, :width],
        advantages[rows],
        group_size,
        temperature,
        rollout.logprobs[rows][:, :width],
        rollout.compute,
    )


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


def observe(result: Update, out, logp_new: Tensor, micro: MicroBatch, minibatch: MiniBatch, method: Method) -> None:
    """Adds what a micro-batch showed to the update's record."""
    keep = micro.mask.bool()
    token_level = method.ratio_level == "token"
    advantages = micro.advantages[:, None] if token_level else micro.advantages
    ratios, counted = out.ratios.detach(), keep if token_level else keep.any(dim=1)
    binds = clip_binds(ratios, advantages, method.clip_low, method.clip_high) & counted
    total = minibatch.total_tokens if token_level else minibatch.total_rows
    result.loss += out.loss.item()
    result.clip_fraction += out.clip_fraction.item()
    result.clip_low += int((binds & (advantages < 0)).sum()) / total
    result.clip_high += int((binds & (advantages > 0)).sum()) / total
    log_ratios = masked_log_ratios(logp_new, micro.logp_old, micro.mask)
    result.token_log_ratios.append(log_ratios[keep].cpu())
    result.sequence_log_ratios.append(sequence_ratios(logp_new, micro.logp_old, micro.mask).log().cpu())


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def summarise(
    step, rollout: Rollout, verdict: Evaluation, rewards, minibatches, updates, method, settings
) -> StepRecord:
    """The record of a step: what a practitioner watches, under its standard name."""
    lengths = rollout.lengths.float().cpu()
    right = torch.tensor(verdict.strict)
    last_pass = updates[-len(minibatches) :]
    micro = [m for minibatch in minibatches for m in minibatch.micro]

    def token_mean(values: list[Tensor], micro: list[MicroBatch]) -> float | None:
        tokens = sum(int(m.mask.sum()) for m in micro)
        return float(sum(v.sum() for v in values)) / tokens if tokens else None

    watched = [m for m in micro if m.logp_ref is not None]
    kl = token_mean([kl_estimate(m.logp_old, m.logp_ref, "k3") * m.mask for m in watched], watched)
    return StepRecord(
        step=step,
        loss=mean([u.loss for u in updates]),
        reward_mean=rewards.mean().item(),
        reward_std=rewards.std(dim=1).mean().item(),
        no_signal=groups_without_signal(rewards).float().mean().item(),
        accuracy=verdict.accuracy,
        lenient_accuracy=verdict.lenient_accuracy,
        format_rate=verdict.format_rate,
        length_mean=lengths.mean().item(),
        length_right=lengths[right].mean().item() if right.any() else None,
        length_wrong=lengths[~right].mean().item() if not right.all() else None,
        truncated=rollout.truncated.float().mean().item(),
        clip_unit=method.clip_unit,
        clip_fraction=mean([u.clip_fraction for u in updates]),
        clip_low=mean([u.clip_low for u in updates]),
        clip_high=mean([u.clip_high for u in updates]),
        clip_fraction_first=updates[0].clip_fraction,
        token_log_ratio=Distribution.of([r for u in last_pass for r in u.token_log_ratios]),
        sequence_log_ratio=Distribution.of([r for u in last_pass for r in u.sequence_log_ratios]),
        entropy=token_mean([m.entropy for m in micro], micro),
        kl=kl,
        sampler_gap=max((m.sampler_gap for m in micro), default=0.0),
        grad_norm=mean([u.grad_norm for u in updates if not u.skipped] or [0.0]),
        updates=len(updates),
        skipped=sum(u.skipped for u in updates),
        tokens=int(rollout.mask.sum()),
    )
