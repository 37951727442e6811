"""Records one group of eight answers, and what one update does to the first word, for every way to
mark the eight.

    python -m rlvr_helpers.tools.record_first_update --out data/rollouts/first_update.json

The file (the explorer of lesson 00 reads it), for eight answers of the start model to one problem:

    question, answer, texts, rewards
    first       the first word of each answer's reasoning
    words       the words whose probabilities follow
    before      their probabilities as the first word, before the update
    after       [256] the same after one update. In entry m answer i is marked correct if bit i of m
                is 1
    provenance  settings, date, hardware

An update is the first step of AdamW on GRPO's loss over the whole group, at the usual learning
rate. Each of the 256 begins with the same weights.
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import GRPO
from rlvr_helpers.models import Policy, format_prompt, load_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, encode_prompts, sample_groups
from rlvr_helpers.study.runs import provenance
from rlvr_helpers.tools.recording import options_of, write_json
from rlvr_helpers.train_settings import TrainSettings

SETTINGS = TrainSettings()
# Of test: three correct answers in eight, one of them a lucky guess.
PROBLEM = 2
SEED = 2
# First words that are named.
WORDS = 4


def sample_group(policy: Policy) -> tuple[Problem, Rollout]:
    """The problem and its eight answers."""
    problem = load_problems("test")[PROBLEM]
    prompt = format_prompt(policy, problem.question)
    generator = torch.Generator().manual_seed(SEED)
    size = SETTINGS.group_size
    group = sample_groups(
        policy, [prompt], size, max_tokens=SETTINGS.max_tokens, generator=generator
    )
    return problem, group


@torch.no_grad()
def first_word(policy: Policy, problem: Problem) -> Tensor:
    """The distribution of the first word of the reasoning, [V]."""
    # The tag is given, so that the next token is the first word.
    prompt = format_prompt(policy, problem.question) + "<reasoning>"
    ids, mask = encode_prompts(policy, [prompt])
    return policy.model(input_ids=ids, attention_mask=mask).logits[0, -1].softmax(dim=-1)


def updated(policy: Policy, group: Rollout, rewards: Tensor) -> Policy:
    """A copy of the policy after one update on the group with these rewards [G]."""
    changed = replace(policy, model=copy.deepcopy(policy.model))
    optimizer = torch.optim.AdamW(
        changed.model.parameters(), lr=SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay
    )
    # The first update: the policy that sampled is the one that is trained.
    logprobs = group.logprobs_under(changed.model)
    advantages = group_advantages(rewards[None])[0]
    out = policy_loss(
        GRPO,
        logprobs,
        logprobs.detach(),
        advantages=advantages,
        mask=group.mask,
        max_tokens=SETTINGS.max_tokens,
    )
    out.loss.backward()
    optimizer.step()
    return changed


def marks(pattern: int, count: int) -> list[float]:
    """Rewards of a pattern: answer i is correct where bit i is 1."""
    return [float(pattern >> i & 1) for i in range(count)]


def record() -> dict:
    """What the file holds."""
    # The group and its first words.
    policy = load_policy("tiny")
    problem, group = sample_group(policy)
    before = first_word(policy, problem)
    words = before.topk(WORDS).indices
    count = len(group.texts)

    # One update for every way to mark it.
    after = []
    for pattern in range(2**count):
        changed = updated(policy, group, torch.tensor(marks(pattern, count)))
        after.append(rounded(first_word(changed, problem)[words]))
    name = policy.tokenizer.convert_ids_to_tokens
    return {
        "question": problem.question,
        "answer": problem.answer,
        "texts": group.texts,
        "rewards": [correctness_reward(text, problem.answer) for text in group.texts],
        "first": name(group.completion_ids[:, 1].tolist()),
        "words": name(words.tolist()),
        "before": rounded(before[words]),
        "after": after,
        "provenance": provenance(
            "tiny", "tiny", learning_rate=SETTINGS.learning_rate, updates=1, seed=SEED
        ),
    }


def rounded(probabilities: Tensor) -> list[float]:
    return [round(p, 4) for p in probabilities.tolist()]


def main() -> None:
    write_json(options_of(__doc__).out, record())


if __name__ == "__main__":
    main()
