"""A rollout, cut into the rows of each optimizer step, and those into what goes through the model at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr_helpers.advantages import group_advantages, groups_without_signal
from rlvr_helpers.engine.large import autocast
from rlvr_helpers.methods import Method
from rlvr_helpers.sampling import Rollout
from rlvr_helpers.scoring import score_tokens
from rlvr_helpers.train_settings import TrainSettings


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
