"""The script's side of the GPU benchmark: the original comparison's step, as its script takes
it."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlvr_helpers import sampling
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.large import enable_gradient_checkpointing, merge_lora, training_mode
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import GRPO
from rlvr_helpers.models import Policy
from rlvr_helpers.scoring import masked_scores
from rlvr_helpers.study.memory import GIB, Shape
from rlvr_helpers.tools.measuring import generated
from rlvr_helpers.train_settings import TrainSettings


class ScriptWork(Protocol):
    """What the script's side is measured on: `CardWork` of gpu_benchmark."""

    policy: Policy
    shape: Shape
    settings: TrainSettings
    prompts: list[str]


METHOD = replace(GRPO, kl_coef=0.04)
# Takes the turn's number and returns what the step measured.
Step = Callable[[int], dict]


def script_side(work: ScriptWork) -> Step:
    """The script's step: weights, gradients and moments in bfloat16, `generate`, every row padded
    with its prompt, full logits, gradient checkpointing."""
    policy = work.policy
    s = work.settings
    # Copies in 16 bits, one of them trained.
    model, reference = (copy.deepcopy(policy.model).to(torch.bfloat16) for _ in range(2))
    for copied, trained in ((model, True), (reference, False)):
        # Our side can have added LoRA.
        merge_lora(copied)
        copied.requires_grad_(trained)
    enable_gradient_checkpointing(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=s.learning_rate)

    def step(turn: int) -> dict:
        clock = Clock(policy.device)
        with clock.time("generation"):
            prompt, prompt_mask, completions = generated(
                policy, work.prompts, s.group_size, max_tokens=s.max_tokens, seed=turn, model=model
            )
        # Every row with its prompt, padded.
        ids = torch.cat([prompt, completions], dim=1)
        done = sampling.mask_after_end(completions, policy.end_ids)
        mask = torch.cat([prompt_mask, done], dim=1)
        width = done.shape[1]
        with clock.time("scoring"), torch.no_grad():
            old, ref = (score(which, ids, mask, width=width) for which in (model, reference))
        # Plus and minus one in turn. Speed does not depend on them.
        advantages = (torch.arange(len(ids), device=ids.device) % 2.0) * 2 - 1
        with clock.time("forward"), training_mode(model, True):
            new = score(model, ids, mask, width=width)
            loss = policy_loss(
                METHOD,
                new,
                old,
                advantages=advantages,
                mask=done,
                max_tokens=s.max_tokens,
                logp_ref=ref,
            ).loss
        with clock.time("backward"), training_mode(model, True):
            loss.backward()
        with clock.time("optimizer"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()
        return {"parts": clock.seconds, "tokens": int(done.sum())}

    return step


def score(model: PreTrainedModel, ids: Tensor, mask: Tensor, width: int) -> Tensor:
    """Log-probs of the last `width` tokens of padded rows, from full logits."""
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, -width - 1 : -1]
    return masked_scores(logits, ids[:, -width:], mask[:, -width:])[0]


def script_gib(work: ScriptWork) -> float:
    """About what the script's side takes: five copies of 16-bit weights, and its logits once in 16
    bits and three times in float32."""
    s = work.settings
    # Prompts have about 100 tokens.
    positions = s.prompts_per_step * s.group_size * (100 + s.max_tokens)
    return (5 * 2 * work.shape.parameters + positions * work.shape.vocab * (2 + 3 * 4)) / GIB
