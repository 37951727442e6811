"""Records GRPO and GSPO on one mixture of experts, routing recomputed and replayed (extras/11).

    python -m rlvr_helpers.tools.record_experts_race --out data/runs/experts_race.json --seeds 3

You can stop it at any time. The same command continues with the runs that are missing. All start
from one mixture: the trained one of `tools.record_experts` (seed 0), which answers hardly anything,
after 5 more steps on worked solutions. The runs of a seed have the same problems and noise.

The file (`lessons.l11_experts.experiment.recorded_race` reads it): provenance with the settings,
start (greedy accuracy on 400 held-out problems before training), and
runs: [{method, replay, seed, accuracy, reward, clipped, spread}].

    replay    whether an update sends each token to the experts that the sampling model chose
    accuracy  greedy, on the same held-out problems, after the last rollout
    reward    share of correct sampled completions, by rollout
    clipped   share of tokens (GRPO) or sequences (GSPO) that the clip stops, by rollout
    spread    sd of the tokens' log-ratios in the last pass over a rollout, in nats, by rollout
"""

import json
import random
from dataclasses import asdict, replace

import torch
from torch.nn.utils.rnn import pad_sequence

from rlvr_helpers.evaluation import evaluate
from rlvr_helpers.lessons.l11_experts.experiment import (
    JITTER,
    make_experts,
    make_optimizer,
    race,
    step,
    train_on_texts,
)
from rlvr_helpers.methods import GRPO, GSPO
from rlvr_helpers.models import Policy, load_policy, make_policy
from rlvr_helpers.problems import generate_word_problem, load_problems
from rlvr_helpers.study.runs import provenance, rounded
from rlvr_helpers.tools.make_tiny import encode_solution
from rlvr_helpers.tools.recording import options_of, write_runs
from rlvr_helpers.tools.tiny_texts import perfect_solution
from rlvr_helpers.train_settings import TrainSettings

METHODS = {"GRPO": GRPO, "GSPO": GSPO}
# 16 updates on each rollout.
SETTINGS = TrainSettings(
    steps=4, prompts_per_step=8, epochs=4, warmup_steps=1, decay_steps=None, track_kl=False
)
EVAL_COUNT = 400


def start_model(policy: Policy) -> Policy:
    """The mixture that all runs start from."""
    model = make_experts(policy, JITTER)
    train_on_texts(model, policy)
    learn_solutions(model, policy)
    return make_policy(model, policy.tokenizer, "mixture of experts")


def learn_solutions(model: torch.nn.Module, policy: Policy, steps: int = 5) -> None:
    """Trains a model on worked solutions without a fault, 16 a step, with AdamW at 3e-4."""
    rng = random.Random(0)
    optimizer = make_optimizer(model, 3e-4)
    for _ in range(steps):
        problems = [generate_word_problem(rng) for _ in range(16)]
        rows = [
            encode_solution(policy.tokenizer, problem, perfect_solution(problem, rng))
            for problem in problems
        ]
        # Right-padded. Only the solutions count.
        ids = [torch.tensor(row) for row, _ in rows]
        labels = [torch.tensor(row).masked_fill(~torch.tensor(keep), -100) for row, keep in rows]
        loss = model(
            input_ids=pad_sequence(ids, batch_first=True),
            labels=pad_sequence(labels, batch_first=True, padding_value=-100),
        ).loss
        step(model, optimizer, loss)


def accuracy(policy: Policy, count: int) -> float:
    """Of greedy answers to so many held-out problems."""
    return evaluate(policy, load_problems("test")[:count], SETTINGS.max_tokens).accuracy


def record_run(
    policy: Policy, name: str, replay: bool, settings: TrainSettings, count: int = EVAL_COUNT
) -> dict:
    """One run, which trains the policy in place."""
    records = list(race(policy, METHODS[name], replay, settings=settings))
    ratios = [record.token_log_ratio for record in records]
    return {
        "method": name,
        "replay": replay,
        "seed": settings.seed,
        "accuracy": accuracy(policy, count),
        "reward": [record.reward_mean for record in records],
        "clipped": [record.clip_fraction for record in records],
        "spread": [each and each.std for each in ratios],
    }


def main() -> None:
    options = options_of(__doc__, seeds=3)
    torch.set_num_threads(1)
    # All runs begin with these weights.
    policy = start_model(load_policy("tiny"))
    weights = {name: value.clone() for name, value in policy.model.state_dict().items()}
    command = f"python -m rlvr_helpers.tools.record_experts_race --seeds {options.seeds}"
    about = provenance("tiny", "tiny", command=command, settings=asdict(SETTINGS))
    data = {"provenance": about, "start": accuracy(policy, EVAL_COUNT), "runs": []}
    # The runs that the file has are kept, the others are made.
    if options.out.exists():
        data["runs"] = json.loads(options.out.read_text(encoding="utf-8"))["runs"]
    done = {(run["method"], run["replay"], run["seed"]) for run in data["runs"]}
    for seed in range(options.seeds):
        for name in METHODS:
            for replay in (False, True):
                if (name, replay, seed) in done:
                    continue
                policy.model.load_state_dict(weights)
                settings = replace(SETTINGS, seed=seed)
                data["runs"].append(rounded(record_run(policy, name, replay, settings=settings)))
                write_runs(options.out, data)
                print(data["runs"][-1], flush=True)


if __name__ == "__main__":
    main()
