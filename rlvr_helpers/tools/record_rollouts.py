"""Records the four rollouts that run through the lessons: real completions of one problem by the
start model.

    python -m rlvr_helpers.tools.record_rollouts --out data/rollouts/four.json

They are right and short, right and long, wrong and short, wrong and long. Each has the log-probs of
its tokens under the start model and under the model after one and after thirty steps of GRPO. It
also has the uniform numbers that chose the tokens.
"""

import torch

from rlvr_helpers.methods import GRPO
from rlvr_helpers.models import Policy, format_prompt, load_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, sample_groups
from rlvr_helpers.scoring import token_logprobs
from rlvr_helpers.study.runs import provenance, rounded
from rlvr_helpers.tools.recording import options_of, write_json
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

KINDS = ("right and short", "right and long", "wrong and short", "wrong and long")
SAMPLES = 24


def pick_four(rollout: Rollout, problems: list[Problem]) -> tuple[int, list[int]] | None:
    """The problem whose samples hold all four kinds with the widest spread of lengths, and their
    rows."""
    best = None
    for p, problem in enumerate(problems):
        # Complete and correct, or incorrect. Two of each kind are needed.
        rows = range(p * rollout.group_size, (p + 1) * rollout.group_size)
        correct = [
            r
            for r in rows
            if correctness_reward(rollout.texts[r], problem.answer) and not rollout.truncated[r]
        ]
        incorrect = [r for r in rows if not correctness_reward(rollout.texts[r], problem.answer)]
        if len(correct) < 2 or len(incorrect) < 2:
            continue
        # The extremes of both kinds, and how far apart they are.
        correct.sort(key=lambda r: int(rollout.lengths[r]))
        incorrect.sort(key=lambda r: int(rollout.lengths[r]))
        four = [correct[0], correct[-1], incorrect[0], incorrect[-1]]
        lengths = [int(rollout.lengths[r]) for r in four]
        # Beyond twice the length a pair shows no more.
        spread = min(lengths[1] / lengths[0], 2.0) + min(lengths[3] / lengths[2], 2.0)
        if best is None or spread > best[0]:
            best = spread, p, four
    return best and (best[1], best[2])


def scores(policy: Policy, rollout: Rollout, rows: list[int]) -> list[list[float]]:
    """Log-probs of the rows' tokens under the policy as it is now."""
    with torch.no_grad():
        logp = token_logprobs(
            policy.model,
            rollout.prompt_ids[rows],
            rollout.prompt_mask[rows],
            completion_ids=rollout.completion_ids[rows],
            completion_mask=rollout.mask[rows],
        )
    return [row[: int(n)].tolist() for row, n in zip(logp, rollout.lengths[rows], strict=True)]


def row_data(policy: Policy, rollout: Rollout, row: int, kind: str, problem: Problem) -> dict:
    """What is recorded of one completion, without its log-probs."""
    ids = rollout.completion_ids[row, : int(rollout.lengths[row])].tolist()
    return {
        "kind": kind,
        "text": rollout.texts[row],
        "reward": correctness_reward(rollout.texts[row], problem.answer),
        "truncated": bool(rollout.truncated[row]),
        "ids": ids,
        "tokens": policy.tokenizer.convert_ids_to_tokens(ids),
    }


def main() -> None:
    """The command."""
    out = options_of(__doc__).out
    policy = load_policy("tiny")
    problems = load_problems("train")
    # Problems that the first training steps do not use.
    candidates = problems[-200:]
    prompts = [format_prompt(policy, problem.question) for problem in candidates]
    rollout = sample_groups(
        policy, prompts, SAMPLES, max_tokens=64, generator=torch.Generator().manual_seed(0)
    )
    # What `sample_groups` draws before the first token.
    noise = torch.rand(len(rollout.texts), 64, generator=torch.Generator().manual_seed(0))
    chosen, rows = pick_four(rollout, candidates)
    # The same tokens under the model before, after one and after thirty steps.
    logprobs = {"start": scores(policy, rollout, rows)}
    for record in train(
        policy, problems[:-200], GRPO, settings=TrainSettings(steps=30, learning_rate=4e-5)
    ):
        if record.step in (1, 30):
            logprobs[f"after {record.step} steps"] = scores(policy, rollout, rows)
    problem = candidates[chosen]
    data = [
        row_data(policy, rollout, row, kind=kind, problem=problem)
        | {
            "logprobs": {name: values[i] for name, values in logprobs.items()},
            "noise": noise[row, : int(rollout.lengths[row])].tolist(),
        }
        for i, (kind, row) in enumerate(zip(KINDS, rows, strict=True))
    ]
    whole = {
        "question": problem.question,
        "answer": problem.answer,
        "prompt": prompts[chosen],
        "prompt_ids": policy.tokenizer(prompts[chosen], add_special_tokens=False).input_ids,
        "max_tokens": 64,
        "rollouts": data,
        "provenance": provenance("tiny", "tiny", temperature=1.0, samples=SAMPLES),
    }
    write_json(out, rounded(whole), indent=1)
    for item in data:
        print(item["kind"], len(item["ids"]), "tokens:", item["text"])


if __name__ == "__main__":
    main()
