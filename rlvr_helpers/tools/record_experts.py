"""Records how ratios drift in a mixture of experts and in the dense model that it was made of
(extras/11).

    python -m rlvr_helpers.tools.record_experts --out data/runs/experts.json --seeds 3

You can stop it at any time. The same command continues with the runs that are missing. Every run
takes 16 updates on the 64 completions of the drift recording, without a clip. The arms:

    dense    `tiny`
    alike    8 experts per layer that are exact copies of the dense MLP, 2 chosen
    trained  8 experts that started as noisy copies and were trained on `tiny`'s own texts

The file (`lessons.l11_experts.experiment.recorded_arms` reads it): provenance, and
runs: [{arm, seed, updates, changed, sd, replayed, moved, moved_tokens, stayed, sequences,
sequences_replayed, share}]. Those after `updates` are lists with a number for each of them.

    changed   share of (token, layer) pairs with another expert set
    sd        of the tokens' log-ratios, in nats. replayed: under the old expert sets
    moved     sd of those tokens whose set changed in some layer (null below 2), how many there are
              (moved_tokens), and the sd of the others (stayed)
    sequences sd of the mean log-ratio of a completion. sequences_replayed: under the old sets
    share     of the choices that go to the busiest expert of a layer before the updates
"""

import json

import torch

from rlvr_helpers.lessons.l11_experts.experiment import (
    AT,
    JITTER,
    Moved,
    busiest,
    drift,
    drift_rows,
    make_experts,
    train_on_texts,
)
from rlvr_helpers.models import load_policy
from rlvr_helpers.study.runs import provenance, rounded
from rlvr_helpers.tools.recording import options_of, write_runs

ARMS = ("dense", "alike", "trained")


def record_run(arm: str, seed: int) -> dict:
    """One run of an arm."""
    policy = load_policy("tiny")
    rows, advantages = drift_rows(policy)
    # The dense model, or a mixture made of it.
    model = policy.model
    if arm == "alike":
        model = make_experts(policy, seed=seed)
    elif arm == "trained":
        model = make_experts(policy, JITTER, seed=seed)
        train_on_texts(model, policy, seed=seed)
    run = {"arm": arm, "seed": seed, "updates": list(AT), "share": busiest(model, rows)}
    found = drift(model, rows, advantages, seed=seed)
    lines = [summary(moved) for _, moved in found]
    return run | {name: [line[name] for line in lines] for name in lines[0]}


def summary(moved: Moved) -> dict[str, float | None]:
    """The numbers of one line of the file."""
    there = moved.any_layer
    values = {
        "sd": moved.log_ratios,
        "replayed": moved.replayed,
        "moved": moved.log_ratios[there],
        "stayed": moved.log_ratios[~there],
        "sequences": moved.of_sequences(moved.log_ratios),
        "sequences_replayed": moved.of_sequences(moved.replayed),
    }
    # A spread needs two values.
    spread = {name: float(x.std()) if len(x) > 1 else None for name, x in values.items()}
    changed = float(moved.changed.float().mean()) if len(moved.changed) else 0.0
    return {"changed": changed, "moved_tokens": int(there.sum())} | spread


def main() -> None:
    options = options_of(__doc__, seeds=3)
    torch.set_num_threads(1)
    # The runs that the file has are kept, the others are made.
    command = f"python -m rlvr_helpers.tools.record_experts --seeds {options.seeds}"
    data = {"provenance": provenance("tiny", "tiny", command=command), "runs": []}
    if options.out.exists():
        data["runs"] = json.loads(options.out.read_text(encoding="utf-8"))["runs"]
    done = {(run["arm"], run["seed"]) for run in data["runs"]}
    for seed in range(options.seeds):
        for arm in ARMS:
            if (arm, seed) in done:
                continue
            data["runs"].append(rounded(record_run(arm, seed)))
            write_runs(options.out, data)
            print(data["runs"][-1], flush=True)


if __name__ == "__main__":
    main()
