"""Records how the ratios of one rollout drift apart while the model takes sixteen updates on it,
without a clip.

    python -m rlvr_helpers.tools.record_drift --out data/rollouts/drift.json

The file (read it with `rlvr_helpers.kit.recorded.recorded_drift`), for B = 64 completions of 8
prompts, 8 each, prompt-major:

    questions   [P]     the problems, and their correct answers in `answers`
    tokens      [B]     each completion as a list of strings
    lengths     [B]     tokens of each completion, the end token included
    rewards     [B]     1 or 0
    advantages  [B]     GRPO's: (R - mean) / (std + 1e-4) within a group
    logp_old    [B]     log-probs of the tokens under the model that sampled, in nats, to four
                        decimals
    log_ratios  [U][B]  after each of U = 16 updates a list of `lengths[i]` whole numbers for each
                        row: logp_new - logp_old of its tokens in units of 1e-5 nats
    provenance          model, settings, date, hardware

The completions are the start model's. The 8 prompts are the first whose groups hold right and wrong
answers, so that every row has an advantage. An update is one step of AdamW on a mini-batch of two
groups, four mini-batches in turn: four passes over the rollout. The ratios are those of all rows,
also of those that the update did not see.
"""

import math
from dataclasses import replace

import torch

from rlvr_helpers.advantages import group_advantages, groups_without_signal
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.work import score_rewards
from rlvr_helpers.methods import GRPO
from rlvr_helpers.minibatches import Learner, make_minibatches, score_before_updates, update
from rlvr_helpers.models import Policy, format_prompt, load_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.ratios import masked_log_ratios
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, sample_groups
from rlvr_helpers.study.runs import provenance
from rlvr_helpers.tools.recording import options_of, rows_of, score, write_json
from rlvr_helpers.train_settings import TrainSettings

# The rate is that of the first steps of an ordinary run, in which it warms up from 1e-5 to 5e-5.
SETTINGS = TrainSettings(prompts_per_step=8, epochs=4, minibatches=4, learning_rate=1e-5)
UNCLIPPED = replace(GRPO, clip_low=math.inf, clip_high=math.inf)
CANDIDATES = 48
# In nats.
UNIT = 1e-5


def sample_with_signal(policy: Policy) -> tuple[Rollout, torch.Tensor, list[Problem]]:
    """The first groups of which some answers are right and some wrong, their rewards [P, G] and
    problems."""
    # Not those of the first training steps.
    problems = load_problems("train")[-CANDIDATES:]
    prompts = [format_prompt(policy, problem.question) for problem in problems]
    generator = torch.Generator().manual_seed(SETTINGS.seed)
    rollout = sample_groups(
        policy, prompts, SETTINGS.group_size, max_tokens=SETTINGS.max_tokens, generator=generator
    )
    rewards = score_rewards(rollout, problems, correctness_reward)
    # The rows of the first groups that teach something.
    groups = (~groups_without_signal(rewards)).nonzero().flatten()[: SETTINGS.prompts_per_step]
    rows = groups[:, None] * SETTINGS.group_size + torch.arange(SETTINGS.group_size)
    chosen = [problems[p] for p in groups.tolist()]
    return rows_of(rollout, rows.flatten().tolist()), rewards[groups], chosen


def drift(policy: Policy, rollout: Rollout, rewards: torch.Tensor) -> list[torch.Tensor]:
    """The log-ratios of all tokens after each update, [B, T] each."""
    # Nothing clips, so every update moves as far as it will.
    logp_old = score(policy, rollout)
    minibatches = make_minibatches(rollout, rewards, UNCLIPPED, settings=SETTINGS, step=1)
    optimizer = torch.optim.AdamW(
        policy.model.parameters(),
        lr=SETTINGS.learning_rate,
        betas=SETTINGS.betas,
        weight_decay=SETTINGS.weight_decay,
    )
    learner = Learner(policy.model, UNCLIPPED, SETTINGS, optimizer=optimizer)
    found = []
    score_before_updates(learner, minibatches)
    for _ in range(SETTINGS.epochs):
        for minibatch in minibatches:
            update(learner, minibatch, Clock(policy.device), position="the recorded drift")
            found.append(masked_log_ratios(score(policy, rollout), logp_old, rollout.mask))
    return found


def main() -> None:
    out = options_of(__doc__).out
    # The completions as lists without padding, and what the updates do to them.
    policy = load_policy("tiny")
    rollout, rewards, problems = sample_with_signal(policy)
    lengths = rollout.lengths.tolist()
    rows = [
        (ids[:n], logp[:n])
        for ids, logp, n in zip(
            rollout.completion_ids, score(policy, rollout), lengths, strict=True
        )
    ]
    data = {
        "questions": [problem.question for problem in problems],
        "answers": [problem.answer for problem in problems],
        "tokens": [policy.tokenizer.convert_ids_to_tokens(ids.tolist()) for ids, _ in rows],
        "logp_old": [[round(value, 4) for value in logp.tolist()] for _, logp in rows],
        "lengths": lengths,
        "rewards": rewards.flatten().tolist(),
        "advantages": [round(a, 6) for a in group_advantages(rewards).flatten().tolist()],
        "log_ratios": [
            [
                row[:n].mul(1 / UNIT).round().int().tolist()
                for row, n in zip(after, lengths, strict=True)
            ]
            for after in drift(policy, rollout, rewards)
        ],
        "provenance": provenance(
            "tiny",
            "tiny",
            method="GRPO without a clip",
            learning_rate=SETTINGS.learning_rate,
            epochs=SETTINGS.epochs,
            minibatches=SETTINGS.minibatches,
            temperature=1.0,
        ),
    }
    write_json(out, data)


if __name__ == "__main__":
    main()
