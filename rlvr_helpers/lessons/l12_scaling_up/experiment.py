"""Lesson 12: one gradient by several ways of saving memory, and TRL's loss beside ours on the four
rollouts.

Each gradient is that of all weights in one flat vector, with no clip of its norm.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from huggingface_hub import constants
from torch import Tensor, nn

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.large import enable_gradient_checkpointing
from rlvr_helpers.kit.recorded import FourRollouts, four_rollouts
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import GRPO, Method
from rlvr_helpers.minibatches import Learner, make_minibatches, update
from rlvr_helpers.models import Policy, load_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.sampling import Rollout
from rlvr_helpers.scoring import token_logprobs
from rlvr_helpers.train_settings import TrainSettings


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
    settings = replace(settings, minibatches=1, max_grad_norm=math.inf)
    rollout = replace(rollout, compute_dtype=compute_dtype or rollout.compute_dtype)
    model = policy.model
    if settings.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    (minibatch,) = make_minibatches(rollout, rewards, GRPO, settings=settings, step=1)
    learner = Learner(model, GRPO, settings, optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
    update(learner, minibatch, Clock(policy.device), "the first update")
    return flat_gradient(model)


def flat_gradient(model: nn.Module) -> Tensor:
    """The gradients of all weights in one vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone()


def loss_beside_trl(method: Method, learning_rate: float = 4e-5) -> tuple[float, float, float]:
    """Our loss, that of TRL's GRPOTrainer, and how far their gradients are apart, relative to ours.

    They are computed on the four rollouts of the lessons, after one step of AdamW, so that ratios
    differ from 1. Raises ValueError that says how to install TRL if it is missing.
    """
    from rlvr_helpers.study.trl import make_trainer, require_trl

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
    theirs = _trl_loss(
        method,
        policy,
        load_problems("train")[:1],
        four=four,
        old=old,
        advantages=advantages,
        make_trainer=make_trainer,
    )
    theirs.backward()
    apart = (flat_gradient(policy.model) - our_gradient).norm() / our_gradient.norm()
    return ours.item(), theirs.item(), float(apart)


def _trl_loss(
    method: Method,
    policy: Policy,
    problems: list[Problem],
    four: FourRollouts,
    old: Tensor,
    advantages: Tensor,
    make_trainer: Callable,
) -> Tensor:
    """The loss that TRL's trainer computes on the four rollouts."""
    rows = len(four.mask)
    settings = TrainSettings(
        steps=1,
        prompts_per_step=1,
        group_size=rows,
        epochs=1,
        minibatches=1,
        max_tokens=four.max_tokens,
    )
    with tempfile.TemporaryDirectory() as folder, no_telemetry():
        trainer = make_trainer(policy, problems, method, settings=settings, out=folder)
    # The training loop sets this, and it does not run here.
    trainer.current_gradient_accumulation_steps = 1
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


@contextmanager
def no_telemetry() -> Iterator[None]:
    """Switches off TRL's report of every new trainer to the hub."""
    was = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = was
