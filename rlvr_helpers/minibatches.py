"""A rollout, cut into the rows of each optimizer step, and that step: scored in micro-batches, then
one update."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rlvr_helpers.advantages import group_advantages, groups_without_signal
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.finite import BadUpdate
from rlvr_helpers.engine.large import (
    LossScaler,
    autocast,
    enable_gradient_checkpointing,
    make_optimizer,
    make_reference,
    training_mode,
    without_lora,
)
from rlvr_helpers.losses import PolicyLoss, policy_loss
from rlvr_helpers.methods import Method
from rlvr_helpers.models import Policy
from rlvr_helpers.ratios import masked_log_ratios, sequence_ratios
from rlvr_helpers.sampling import Rollout
from rlvr_helpers.scoring import score_tokens
from rlvr_helpers.train_settings import TrainSettings


@dataclass
class MicroBatch:
    """Rows that go through the model at once, cut to their own width, with what the loss needs. If
    `group_size` is above 1, the rows are whole groups, and each prompt is read once."""

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    mask: Tensor
    advantages: Tensor
    group_size: int
    temperature: float
    # As decoding saw them. Only a diagnostic.
    logp_sampler: Tensor
    # Of matrix multiplications, as in sampling.
    compute_dtype: torch.dtype = torch.float32
    # Filled in by `score_before_updates` or the first `update`.
    logp_old: Tensor | None = None
    logp_ref: Tensor | None = None
    entropy: Tensor | None = None

    @property
    def sampler_gap(self) -> float:
        """Largest difference between the log-probs of decoding and those of training, in nats."""
        return float(((self.logp_sampler - self.logp_old) * self.mask).abs().max())

    def score(
        self, model: nn.Module, score: Callable = score_tokens
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probs and entropies of the completion tokens under a model, [B, T] each."""
        ids = self.prompt_ids, self.prompt_mask, self.completion_ids, self.mask
        with autocast(self.mask.device, self.compute_dtype):
            # The first update of a rollout has not been scored before. It gives the entropy too.
            more = (True,) if torch.is_grad_enabled() and self.entropy is None else ()
            return score(model, *ids, self.temperature, self.group_size, *more)


@dataclass
class Learner:
    """What is trained, and by what. What travels together through a run.

    reference: the start model, to measure the KL to. None if nobody asks for it.
    score, loss: as `scoring.score_tokens` and `losses.policy_loss`, or what stands in for them
        (`training.Stages`).
    """

    model: nn.Module
    method: Method
    settings: TrainSettings
    optimizer: torch.optim.Optimizer
    scaler: LossScaler | None = None
    reference: nn.Module | None = None
    score: Callable = score_tokens
    loss: Callable[..., PolicyLoss] = policy_loss


def make_learner(
    policy: Policy,
    method: Method,
    settings: TrainSettings,
    score: Callable = score_tokens,
    loss: Callable[..., PolicyLoss] = policy_loss,
) -> Learner:
    """The policy's model with a fresh optimizer and, if the KL is asked for, a copy of it as
    reference."""
    # No dropout: log-probs of one text must not differ from call to call.
    model = policy.model.eval()
    if settings.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    optimizer = make_optimizer(model, settings)
    scaler = LossScaler(policy.device, policy.compute_dtype)
    # AdamW counts every update, also one in which no group has a signal.
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    watched = settings.track_kl or method.kl_coef > 0
    reference = make_reference(model, policy.compute_dtype) if watched else None
    return Learner(
        model,
        method,
        settings,
        optimizer=optimizer,
        scaler=scaler,
        reference=reference,
        score=score,
        loss=loss,
    )


@dataclass
class MiniBatch:
    """The rows of one optimizer step, as micro-batches. The totals count rows without signal too,
    which are left out."""

    micro: list[MicroBatch]
    total_rows: int
    total_tokens: int


def make_minibatches(
    rollout: Rollout,
    rewards: Tensor,
    method: Method,
    settings: TrainSettings,
    step: int,
    advantages_of: Callable = group_advantages,
    without_signal: Callable = groups_without_signal,
) -> list[MiniBatch]:
    """Splits a rollout into mini-batches of whole groups (together, so that their prompts are read
    once).

    Groups without signal are left out of the computation if the method has no KL term, since their
    gradient is exactly 0. They still count in every denominator.
    advantages_of, without_signal: see `training.Stages`.
    """
    # An advantage for each row, and the groups that teach something.
    advantages = advantages_of(rewards, method.advantage_scale)
    has_signal = (
        ~without_signal(rewards)
        if method.kl_coef == 0
        else torch.ones(len(rewards), dtype=torch.bool)
    )
    # The order of the groups is the step's own, so that a resumed run has it again.
    generator = torch.Generator().manual_seed(settings.noise_seed(step))
    order = torch.randperm(len(rewards), generator=generator)
    size = rollout.group_size
    lengths = rollout.lengths
    minibatches = []
    # Cut the groups into mini-batches, and each into micro-batches.
    for groups in order.tensor_split(settings.minibatches):
        all_rows = (groups[:, None] * size + torch.arange(size)).flatten()
        groups = groups[has_signal.cpu()[groups]]
        rows = (groups[:, None] * size + torch.arange(size)).flatten()
        parts = split_rows(rows, rollout, settings)
        micro = [
            cut_rows(
                rollout,
                part,
                advantages.flatten(),
                group_size=shared,
                temperature=settings.temperature,
            )
            for part, shared in parts
        ]
        minibatches.append(MiniBatch(micro, len(all_rows), int(lengths[all_rows].sum())))
    return minibatches


def split_rows(rows: Tensor, rollout: Rollout, settings: TrainSettings) -> list[tuple[Tensor, int]]:
    """The rows of a mini-batch (whole groups) in parts that go through the model at once, each with
    how many rows in succession share a prompt."""
    size = rollout.group_size
    if not len(rows):
        return []
    if settings.micro_batch_tokens is None:
        per_micro = settings.micro_batch_rows or len(rows)
        return [(part, size if per_micro % size == 0 else 1) for part in rows.split(per_micro)]
    # By tokens: a part is as many whole groups as fit the budget.
    budget = settings.micro_batch_tokens
    lengths = rollout.lengths.tolist()
    prompts = rollout.prompt_mask.sum(dim=1).tolist()
    parts = []
    # Whole groups that fit together, and the places of the longest: the others are padded to it.
    waiting = []
    widest = 0
    for group in rows.view(-1, size).tolist():
        positions = prompts[group[0]] + sum(lengths[row] for row in group)
        # It does not fit with those that wait: they go first.
        if waiting and max(widest, positions) * (len(waiting) + 1) > budget:
            parts.append((torch.tensor(waiting).flatten(), size))
            waiting = []
            widest = 0
        # Too large by itself: cut it. Else it waits for others.
        if positions > budget:
            parts += [
                (torch.tensor(part), len(part))
                for part in split_group(group, prompts, lengths, budget=budget)
            ]
        else:
            waiting = [*waiting, group]
            widest = max(widest, positions)
    return [*parts, (torch.tensor(waiting).flatten(), size)] if waiting else parts


def split_group(
    group: list[int], prompts: list[int], lengths: list[int], budget: int
) -> list[list[int]]:
    """The rows of a group in parts of at most `budget` tokens, the prompt once in each. A part has
    at least one row."""
    parts = [[]]
    positions = prompts[group[0]]
    for row in group:
        if parts[-1] and positions + lengths[row] > budget:
            parts = [*parts, []]
            positions = prompts[row]
        parts[-1].append(row)
        positions += lengths[row]
    return parts


def cut_rows(
    rollout: Rollout, rows: Tensor, advantages: Tensor, group_size: int, temperature: float
) -> MicroBatch:
    """Some rows of a rollout, without the columns that are padding in all of them."""
    rows = rows.to(rollout.mask.device)
    # Prompts are padded on the left, completions on the right.
    prompt_width = int(rollout.prompt_mask[rows].sum(dim=1).max())
    width = int(rollout.lengths[rows].max())
    return MicroBatch(
        rollout.prompt_ids[rows][:, -prompt_width:],
        rollout.prompt_mask[rows][:, -prompt_width:],
        rollout.completion_ids[rows][:, :width],
        mask=rollout.mask[rows][:, :width],
        advantages=advantages[rows],
        group_size=group_size,
        temperature=temperature,
        logp_sampler=rollout.logprobs[rows][:, :width],
        compute_dtype=rollout.compute_dtype,
    )


@torch.no_grad()
def score_before_updates(
    learner: Learner, minibatches: list[MiniBatch], first: bool = True
) -> None:
    """Log-probs under the model that sampled, in the very micro-batches that are trained on. They
    have the same dtype, padding and shape, so the ratio before the first update is exactly 1 on a
    CPU.

    And under the reference: everywhere if the loss needs them, else in the first mini-batch with
    rows, which is enough to watch the KL.
    first: the first mini-batch too. Otherwise its `update` takes its own log-probs for the old
        ones, which are the same, bit for bit.
    """
    # Where the KL is watched if the loss does not need it.
    watched = next((minibatch for minibatch in minibatches if minibatch.micro), None)
    for minibatch in minibatches:
        for micro in minibatch.micro:
            if first or minibatch is not minibatches[0]:
                micro.logp_old, micro.entropy = micro.score(learner.model, learner.score)
            if learner.reference is not None and (
                learner.method.kl_coef > 0 or minibatch is watched
            ):
                with without_lora(learner.reference):
                    micro.logp_ref, _ = micro.score(learner.reference, learner.score)


@dataclass
class Update:
    """What one optimizer step showed. Log-ratios are those that the loss saw, before the step. The
    clip fractions are None for an objective without a clip share."""

    loss: float = 0.0
    clip_fraction: float | None = 0.0
    clip_low: float | None = 0.0
    clip_high: float | None = 0.0
    grad_norm: float = 0.0
    # By float16's loss scaling.
    skipped: bool = False
    token_log_ratios: list[Tensor] = field(default_factory=list)
    sequence_log_ratios: list[Tensor] = field(default_factory=list)


def update(learner: Learner, minibatch: MiniBatch, clock: Clock, position: str) -> Update:
    """One optimizer step. The micro-batches' gradients add up to that of the whole mini-batch.

    position: where in the run, for errors. Raises FloatingPointError if a loss, a gradient or a
        log-ratio is not finite.
    """
    model = learner.model
    result = Update()
    learner.optimizer.zero_grad(set_to_none=False)
    scaler = learner.scaler or LossScaler(model.device, torch.float32)
    for micro in minibatch.micro:
        with clock.time("forward"), training_mode(model, learner.settings.gradient_checkpointing):
            logp_new, entropy = micro.score(model, learner.score)
            # In the first update nothing has moved since sampling.
            if micro.logp_old is None:
                micro.logp_old = logp_new.detach()
            if micro.entropy is None:
                micro.entropy = entropy
            out = loss_of(learner, minibatch, micro, logp_new=logp_new)
        with clock.time("backward"), training_mode(model, learner.settings.gradient_checkpointing):
            scaler.backward(out.loss)
        observe(
            result, out, logp_new.detach(), micro=micro, minibatch=minibatch, method=learner.method
        )
    # No step on ratios that are not finite.
    if not all(
        ratios.isfinite().all() for ratios in result.token_log_ratios + result.sequence_log_ratios
    ):
        learner.optimizer.zero_grad()
        raise FloatingPointError(f"{position}: log-ratios are not finite")
    with clock.time("optimizer"):
        step_if_finite(learner, scaler, result, position=position)
    return result


def loss_of(
    learner: Learner, minibatch: MiniBatch, micro: MicroBatch, logp_new: Tensor
) -> PolicyLoss:
    """A micro-batch's share of the mini-batch's loss."""
    return learner.loss(
        learner.method,
        logp_new,
        micro.logp_old,
        micro.advantages,
        micro.mask,
        learner.settings.max_tokens,
        micro.logp_ref if learner.method.kl_coef > 0 else None,
        minibatch.total_rows,
        minibatch.total_tokens,
    )


def step_if_finite(learner: Learner, scaler: LossScaler, result: Update, position: str) -> None:
    """Clips the gradient norm and takes the step. Raises BadUpdate if loss or gradient are not
    finite."""
    # Clip the norm of the gradient, back in its own scale.
    scaler.unscale(learner.optimizer)
    parameters = learner.model.parameters()
    result.grad_norm = float(
        torch.nn.utils.clip_grad_norm_(parameters, learner.settings.max_grad_norm)
    )
    # In float16 the scaling can ask to skip a step. Nothing else excuses what is not finite.
    result.skipped = math.isfinite(result.loss) and scaler.may_skip(result.grad_norm)
    if not (math.isfinite(result.loss) and math.isfinite(result.grad_norm) or result.skipped):
        learner.optimizer.zero_grad()
        raise BadUpdate(
            f"{position}: the loss is {result.loss} and the gradient norm {result.grad_norm}. The"
            " weights are those of the last good update. Lower the learning rate, or look at the"
            " rewards and log-probs of this step."
        )
    scaler.step(learner.optimizer)


def observe(
    result: Update,
    out: PolicyLoss,
    logp_new: Tensor,
    micro: MicroBatch,
    minibatch: MiniBatch,
    method: Method,
) -> None:
    """Adds what a micro-batch showed to the update's record."""
    keep = micro.mask.bool()
    result.loss += out.loss.item()
    # Where the clip binds, below and above.
    _, clips = method.functions()
    if clips is None:
        result.clip_fraction = result.clip_low = result.clip_high = None
    else:
        token_level = method.ratio_level == "token"
        advantages = micro.advantages[:, None] if token_level else micro.advantages
        counted = keep if token_level else keep.any(dim=1)
        binds = clips(out.ratios.detach(), advantages, micro.mask) & counted
        total = minibatch.total_tokens if token_level else minibatch.total_rows
        result.clip_fraction += out.clip_fraction.item()
        result.clip_low += int((binds & (advantages < 0)).sum()) / total
        result.clip_high += int((binds & (advantages > 0)).sum()) / total
    # The log-ratios at both levels.
    log_ratios = masked_log_ratios(logp_new, micro.logp_old, micro.mask)
    result.token_log_ratios.append(log_ratios[keep].cpu())
    result.sequence_log_ratios.append(
        sequence_ratios(logp_new, micro.logp_old, micro.mask).log().cpu()
    )
