"""The experiments of lesson 12: ways of saving memory, TRL's loss beside ours, a rounded sampler.

    python -m rlvr_helpers.lessons.l12_scaling_up.experiment

The command records the runs with a sampler whose weights are rounded. Each gradient is that of all
weights in one flat vector, with no clip of its norm.
"""

import argparse
import copy
import json
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.clipping import clipped_objective
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.files import write_whole
from rlvr_helpers.engine.large import enable_gradient_checkpointing
from rlvr_helpers.evaluation import evaluate
from rlvr_helpers.kit.recorded import FourRollouts, four_rollouts
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import GRPO, Method
from rlvr_helpers.minibatches import (
    Learner,
    MiniBatch,
    Update,
    make_minibatches,
    score_before_updates,
    update,
)
from rlvr_helpers.models import Policy, load_policy
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.ratios import masked_log_ratios
from rlvr_helpers.sampling import Rollout
from rlvr_helpers.scoring import token_logprobs
from rlvr_helpers.study.memory import Card, Shape, Workload, cheapest_fit
from rlvr_helpers.study.runs import provenance
from rlvr_helpers.study.trl import make_trainer, no_telemetry, require_trl
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import Stages, problems_of_step, sample_step, train


def way_to_train(shape: Shape, card: Card) -> str:
    """The first of "all", "checkpoint" and "LoRA" that fits a card, or "no"."""
    work = cheapest_fit(shape, Workload(), card)
    if work is None:
        return "no"
    if work.lora_rank:
        return "LoRA"
    return "checkpoint" if work.gradient_checkpointing else "all"


def first_gradient(
    policy: Policy,
    rollout: Rollout,
    rewards: Tensor,
    settings: TrainSettings,
    compute_dtype: torch.dtype | None = None,
) -> Tensor:
    """The gradient of GRPO's loss on a whole rollout before the first update, as `train` computes
    it.

    compute_dtype: dtype of matrix multiplications. None: as the rollout was sampled.
    """
    # One mini-batch holds the whole rollout, and nothing clips the norm.
    settings = replace(settings, minibatches=1, max_grad_norm=math.inf)
    rollout = replace(rollout, compute_dtype=compute_dtype or rollout.compute_dtype)
    model = policy.model
    if settings.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    # One update of the trainer, at a learning rate of 0.
    (minibatch,) = make_minibatches(rollout, rewards, GRPO, settings=settings, step=1)
    learner = Learner(model, GRPO, settings, optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
    update(learner, minibatch, Clock(policy.device), position="the first update")
    return flat_gradient(model)


def flat_gradient(model: nn.Module) -> Tensor:
    """The gradients of all weights in one vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone()


def loss_beside_trl(method: Method, learning_rate: float = 4e-5) -> tuple[float, float, float]:
    """Our loss, that of TRL's GRPOTrainer, and how far their gradients are apart, relative to ours.

    They are computed on the four rollouts of the lessons, after one step of AdamW, so that ratios
    differ from 1. Raises ValueError that says how to install TRL if it is missing.
    """
    require_trl()
    policy = load_policy("tiny")
    four = four_rollouts()
    ids = four.prompt_ids, four.prompt_mask, four.completion_ids, four.mask
    # One step of AdamW.
    advantages = group_advantages(four.rewards.view(1, -1), method.advantage_scale).flatten()
    old = token_logprobs(policy.model, *ids).detach()
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=learning_rate, weight_decay=0.0)

    def our_loss() -> Tensor:
        new = token_logprobs(policy.model, *ids)
        return policy_loss(
            method, new, old, advantages=advantages, mask=four.mask, max_tokens=four.max_tokens
        ).loss

    our_loss().backward()
    optimizer.step()

    # Our loss and gradient.
    optimizer.zero_grad()
    ours = our_loss()
    ours.backward()
    our_gradient = flat_gradient(policy.model)

    # TRL's.
    optimizer.zero_grad()
    theirs = _trl_loss(method, policy, four, old=old, advantages=advantages)
    theirs.backward()
    apart = (flat_gradient(policy.model) - our_gradient).norm() / our_gradient.norm()
    return ours.item(), theirs.item(), float(apart)


def _trl_loss(
    method: Method, policy: Policy, four: FourRollouts, old: Tensor, advantages: Tensor
) -> Tensor:
    """The loss that TRL's trainer computes on the four rollouts."""
    # A trainer whose step is the four rollouts as one group. It needs a problem and samples none.
    one_group = {"prompts_per_step": 1, "group_size": len(four.mask), "minibatches": 1}
    settings = TrainSettings(steps=1, epochs=1, max_tokens=four.max_tokens, **one_group)
    problems = load_problems("train")[:1]
    with tempfile.TemporaryDirectory() as folder, no_telemetry():
        trainer = make_trainer(policy, problems, method, settings=settings, out=folder)
    # The training loop sets this, and it does not run here.
    trainer.current_gradient_accumulation_steps = 1
    # The tensors that its own sampling would hand to the loss.
    inputs = {
        "prompt_ids": four.prompt_ids,
        "prompt_mask": four.prompt_mask.long(),
        "completion_ids": four.completion_ids,
        "completion_mask": four.mask.long(),
        "old_per_token_logps": old,
        "ref_per_token_logps": None,
        "advantages": advantages,
        "num_items_in_batch": four.mask.sum(),
    }
    return trainer._compute_loss(trainer.model, inputs)


# --- the sampler has rounded weights

# Five rollouts of 8 updates. The rate does not fall, so that the arms separate sooner.
GAP_SETTINGS = TrainSettings(steps=5, warmup_steps=1, decay_steps=None, track_kl=False)
# Held-out problems.
EVAL_COUNT = 200
# Bits of the sampler's weights (32: not rounded), and what is done about them.
ARMS = [(32, "nothing"), (4, "nothing"), (4, "token_truncate"), (4, "sequence_mask")]
# TRL's names.
MODES = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
RECORD = DATA / "runs" / "rounded_sampler.json"


@torch.no_grad()
def rounded(policy: Policy, bits: int) -> Policy:
    """A copy of the policy whose weight matrices have 2^bits - 1 values per row, evenly spaced."""
    model = copy.deepcopy(policy.model)
    # The values of a row run from -largest to largest, in steps of its spacing.
    largest = 2 ** (bits - 1) - 1
    for W in model.parameters():
        if W.dim() == 2:
            # A row of zeros, such as that of a token that is never used, stays zero.
            spacing = W.abs().amax(dim=1, keepdim=True).clamp(min=1e-9) / largest
            W.copy_((W / spacing).round() * spacing)
    return replace(policy, model=model)


@torch.no_grad()
def two_opinions(policy: Policy, sampler: Policy, seed: int = 0) -> tuple[Rollout, Tensor]:
    """A rollout of the sampler (16 problems, 8 completions each), and the policy's log-probs of its
    tokens, [B, T]."""
    settings = TrainSettings(seed=seed)
    batch = problems_of_step(load_problems("train"), 1, settings)
    rollout = sample_step(sampler, batch, 1, settings=settings)
    return rollout, rollout.logprobs_under(policy.model)


def sample_rounded(
    policy: Policy, batch: list[Problem], step: int, settings: TrainSettings, bits: int
) -> Rollout:
    """`sample_step` by the rounded copy of the policy as it is now."""
    return sample_step(rounded(policy, bits), batch, step, settings=settings)


def gap_weights(
    logp_trainer: Tensor,
    logp_sampler: Tensor,
    mask: Tensor,
    mode: str,
    low: float = 0.0,
    high: float = 3.0,
) -> Tensor:
    """What each token's objective is multiplied by, since another model sampled it: [B, T] for
    tokens, [B, 1] for sequences.

    mode: as TRL's `vllm_importance_sampling_mode`. low, high: as its `clip_min` and `clip_max`.
    """
    log_ratios = masked_log_ratios(logp_trainer, logp_sampler, mask)
    # The ratio of a sequence is the product of its tokens' ratios.
    if mode.startswith("sequence"):
        log_ratios = log_ratios.sum(dim=1, keepdim=True)
    ratios = log_ratios.exp()
    # Large ratios are cut to the limit, or left out.
    if mode.endswith("truncate"):
        return ratios.clamp(low, high)
    return torch.where((ratios >= low) & (ratios <= high), ratios, 0.0)


def stages_for_gap(
    bits: int = 32, mode: str = "nothing", weights_of: Callable | None = None
) -> Stages:
    """A step whose completions come from a sampler with rounded weights (32: as they are).

    mode:       "nothing", a mode of `gap_weights`, or "sampler as old", which takes the sampler's
                log-probs for the old ones
    weights_of: weights_of(logp_trainer, logp_sampler, mask), in the place of a mode
    """
    sample = partial(sample_rounded, bits=bits) if bits < 32 else sample_step
    if mode == "sampler as old":
        return Stages(sample=sample, score_before=take_the_samplers)
    if mode == "nothing" and weights_of is None:
        return Stages(sample=sample)
    weights_of = weights_of or partial(gap_weights, mode=mode)
    return Stages(
        sample=sample, score_before=score_all, update=partial(weighted_update, weights_of)
    )


def take_the_samplers(learner: Learner, minibatches: list[MiniBatch], first: bool) -> None:
    """The old log-probs are those that the sampler reported."""
    for minibatch in minibatches:
        for micro in minibatch.micro:
            micro.logp_old = micro.logp_sampler


def score_all(learner: Learner, minibatches: list[MiniBatch], first: bool) -> None:
    """The old log-probs are the trainer's, of the first mini-batch too."""
    score_before_updates(learner, minibatches)


def weighted_update(
    weights_of: Callable, learner: Learner, minibatch: MiniBatch, clock: Clock, position: str
) -> Update:
    """One update by GRPO's objective, each token's multiplied by its weight."""
    # A mini-batch without signal has nothing to weigh.
    if not minibatch.micro:
        return update(learner, minibatch, clock, position=position)
    (micro,) = minibatch.micro
    weights = weights_of(micro.logp_old, micro.logp_sampler, micro.mask)

    def objective(ratios: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
        return weights * clipped_objective(ratios, advantages, clip_low=low, clip_high=high)

    loss = partial(policy_loss, objective=objective)
    return update(replace(learner, loss=loss), minibatch, clock, position=position)


@contextmanager
def meant_to_disagree() -> Iterator[None]:
    """Hides the warnings of `train` that sampler and trainer disagree."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def recorded_gap() -> list[dict]:
    """The recorded runs, as `run_of` gives them."""
    return json.loads(RECORD.read_text(encoding="utf-8"))["runs"]


def run_of(bits: int, mode: str, seed: int) -> dict:
    """Trains `tiny` by GRPO with a sampler of so many bits. Returns what is kept of the run."""
    policy = load_policy("tiny")
    settings = replace(GAP_SETTINGS, seed=seed)
    stages = stages_for_gap(bits, mode)
    with meant_to_disagree():
        records = list(
            train(policy, load_problems("train"), GRPO, settings=settings, stages=stages)
        )
    return {
        "bits": bits,
        "mode": mode,
        "seed": seed,
        "accuracy": evaluate(policy, load_problems("test")[:EVAL_COUNT], 64).accuracy,
        "reward": [record.reward_mean for record in records],
        "gap": [record.sampler_gap for record in records],
        "clip_fraction_first": [record.clip_fraction_first for record in records],
        "clip_fraction": [record.clip_fraction for record in records],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    # Seed by seed, so that an interrupted recording has all arms of the same seeds.
    runs = []
    for seed in range(options.seeds):
        for bits, mode in ARMS:
            runs.append(run_of(bits, mode, seed))
            print(f"seed {seed}, {bits} bits, {mode}: {runs[-1]['accuracy']}", flush=True)
            # Written after every run.
            command = f"python -m {__spec__.name} --seeds {options.seeds}"
            data = {
                "runs": runs,
                "eval_count": EVAL_COUNT,
                "settings": asdict(GAP_SETTINGS),
                "provenance": provenance("tiny", "tiny", command=command),
            }
            text = json.dumps(data, indent=1) + "\n"
            write_whole(options.out, lambda file, text=text: file.write(text.encode()))


if __name__ == "__main__":
    main()
