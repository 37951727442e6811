"""Records one group of eight completions, and what sixteen updates on it do to every token, once
for each method.

    python -m rlvr_helpers.tools.record_group --out data/rollouts/group.json

The file (read it with `rlvr_helpers.kit.recorded.recorded_group`), for B = 8 completions of one
problem by the start model:

    question, answer, prompt, max_tokens
    rewards     [B]     1 or 0
    tokens      [B]     a list of strings for each completion, the end token included
    ids, noise  [B]     a list for each completion: token ids, and the uniform numbers that chose
                        them
    logprobs            a method's name -> [U + 1][B]: a list of whole numbers for each completion,
                        log-probs of its tokens in units of 1e-5 nats, before the first and after
                        each of U = 16 updates. The first are whole, the others differences from the
                        update before.
    provenance          settings, date, hardware

An update is one step of AdamW on the whole group and nothing else. So what it does to a token is
due to this group. Every method begins with the same completions and the same weights.
"""

import torch

from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.large import make_optimizer
from rlvr_helpers.engine.work import score_rewards
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO, Method
from rlvr_helpers.minibatches import Learner, make_minibatches, score_before_updates, update
from rlvr_helpers.models import Policy, format_prompt, load_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, sample_groups
from rlvr_helpers.study.runs import provenance
from rlvr_helpers.tools.recording import options_of, rows_of, score, write_json
from rlvr_helpers.train_settings import TrainSettings

SETTINGS = TrainSettings(prompts_per_step=1, epochs=16, minibatches=1, learning_rate=5e-6)
THREE = (GRPO, DR_GRPO, GSPO)
# In nats.
UNIT = 1e-5
# Problems from the end of train, not those of the first training steps.
CANDIDATES = 100
# Chosen by eye among 800 groups: two correct answers of different length, a guess, misread
# problems, a missing tag, and one that rambles until its budget ends.
SEED = 1
GROUP = 40


def sample_group(policy: Policy) -> tuple[Rollout, torch.Tensor, Problem]:
    """The chosen group, the uniform numbers that chose its tokens [B, T], and its problem."""
    problems = load_problems("train")[-CANDIDATES:]
    size = SETTINGS.group_size
    prompts = [format_prompt(policy, problem.question) for problem in problems]
    generator = torch.Generator().manual_seed(SEED)
    rollout = sample_groups(
        policy, prompts, size, max_tokens=SETTINGS.max_tokens, generator=generator
    )
    # What `sample_groups` draws before the first token.
    noise = torch.rand(
        CANDIDATES * size, SETTINGS.max_tokens, generator=torch.Generator().manual_seed(SEED)
    )
    rows = list(range(GROUP * size, (GROUP + 1) * size))
    return rows_of(rollout, rows), noise[rows], problems[GROUP]


def logprobs_over_updates(method: Method, rollout: Rollout, rewards: torch.Tensor) -> torch.Tensor:
    """Log-probs before the first and after each update from the start model, [U + 1, B, T]."""
    policy = load_policy("tiny")
    # The whole group in one mini-batch, updated again and again.
    (minibatch,) = make_minibatches(rollout, rewards, method, settings=SETTINGS, step=1)
    learner = Learner(
        policy.model, method, SETTINGS, optimizer=make_optimizer(policy.model, SETTINGS)
    )
    score_before_updates(learner, [minibatch])
    found = [score(policy, rollout)]
    for _ in range(SETTINGS.epochs):
        update(learner, minibatch, Clock(policy.device), position="the recorded group")
        found.append(score(policy, rollout))
    return torch.stack(found)


def coded(logprobs: torch.Tensor, lengths: list[int]) -> list[list[list[int]]]:
    """Whole numbers of UNIT: the first in full, then differences. Undone by
    `recorded.recorded_group`."""
    whole = (logprobs.double() / UNIT).round().long()
    steps = torch.cat([whole[:1], whole.diff(dim=0)])
    return [[row[:n].tolist() for row, n in zip(step, lengths, strict=True)] for step in steps]


def main() -> None:
    out = options_of(__doc__).out
    # The group, as lists without padding.
    policy = load_policy("tiny")
    rollout, noise, problem = sample_group(policy)
    rewards = score_rewards(rollout, [problem], correctness_reward)
    lengths = rollout.lengths.tolist()
    ids = [row[:n] for row, n in zip(rollout.completion_ids.tolist(), lengths, strict=True)]
    noise = [row[:n] for row, n in zip(noise.tolist(), lengths, strict=True)]
    data = {
        "question": problem.question,
        "answer": problem.answer,
        "prompt": format_prompt(policy, problem.question),
        "prompt_ids": rollout.prompt_ids[0, rollout.prompt_mask[0].bool()].tolist(),
        "max_tokens": SETTINGS.max_tokens,
        "rewards": rewards.flatten().tolist(),
        "tokens": [policy.tokenizer.convert_ids_to_tokens(row) for row in ids],
        "ids": ids,
        "noise": [[round(x, 7) for x in row] for row in noise],
        "logprobs": {
            m.name: coded(logprobs_over_updates(m, rollout, rewards), lengths) for m in THREE
        },
        "provenance": provenance(
            "tiny",
            "tiny",
            learning_rate=SETTINGS.learning_rate,
            updates=SETTINGS.epochs,
            seed=SEED,
            temperature=1.0,
        ),
    }
    write_json(out, data)


if __name__ == "__main__":
    main()
