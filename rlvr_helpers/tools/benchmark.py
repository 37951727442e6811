"""The benchmark: speed beside `generate` of transformers and beside TRL, and where the time goes.

    uv run --group test python -m rlvr_helpers.tools.benchmark --out figures.json

Machines are noisy. So both sides take turns (A B A B), medians stand beside the least and the
largest value, and the load of the machine is printed at both ends. `--quick` runs every part at a
small size, to see that it works. `gpu_benchmark` measures the original comparison's workload on a
GPU.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch.profiler import profile

from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.evaluation import evaluate
from rlvr_helpers.methods import GRPO, METHODS
from rlvr_helpers.minibatches import Learner, make_minibatches, score_before_updates, update
from rlvr_helpers.models import load_policy
from rlvr_helpers.problems import load_problems
from rlvr_helpers.sampling import Rollout, mask_after_end, sample_groups
from rlvr_helpers.tools.benchmark_report import print_reach, print_sampling, print_step, print_trace
from rlvr_helpers.tools.benchmark_trl import drive_trl
from rlvr_helpers.tools.measuring import StepWork, generated, header, peak_memory, timed
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

COMMAND = "python -m rlvr_helpers.tools.benchmark"
TARGET = 0.9
EVALUATE_EVERY = 5


def make_work(args: argparse.Namespace) -> StepWork:
    """The workload: a policy with the default settings of training, or with small ones."""
    policy = load_policy(args.model)
    settings = TrainSettings(steps=60)
    train, test = (
        load_problems(split, args.problems or policy.problems) for split in ("train", "test")
    )
    if args.quick:
        small = replace(
            settings, steps=1, prompts_per_step=4, group_size=4, minibatches=2, max_tokens=8
        )
        return StepWork(policy, train, test[:20], settings=small, repeats=2)
    # Eight turns, so that a median and a range mean something.
    return StepWork(policy, train, test[:200], settings=settings, repeats=8)


def measure_sampling(work: StepWork) -> dict:
    """Both samplers on the same prompts, in turns. Useful tokens are those up to and including the
    end token."""
    runs = {"sample_groups": [], "generate": []}
    for turn in range(work.repeats + 1):
        prompts = work.prompts(turn)
        for name, function in (("sample_groups", our_samples), ("generate", generated_samples)):
            run, result = timed(function, work, turn, prompts)
            mask = (
                result.mask
                if isinstance(result, Rollout)
                else mask_after_end(result, work.policy.end_ids)
            )
            run |= {"tokens": int(mask.sum()), "decoding_steps": mask.shape[1]}
            runs[name].append(run | {"tokens_per_second": run["tokens"] / run["seconds"]})
    # The first turn warms up.
    return {name: rows[1:] for name, rows in runs.items()}


def our_samples(work: StepWork, turn: int, prompts: list[str]) -> Rollout:
    s = work.settings
    generator = torch.Generator().manual_seed(turn)
    return sample_groups(
        work.policy, prompts, s.group_size, max_tokens=s.max_tokens, generator=generator
    )


def generated_samples(work: StepWork, turn: int, prompts: list[str]) -> torch.Tensor:
    s = work.settings
    return generated(work.policy, prompts, s.group_size, max_tokens=s.max_tokens, seed=turn)[2]


def measure_step(work: StepWork) -> dict:
    """Rollouts with all their updates, ours and TRL's in turns. Each side trains its own copy of
    the same model."""
    settings = replace(
        work.settings, steps=work.repeats + 1, track_kl=False, warmup_steps=0, decay_steps=None
    )
    records = train(work.fresh_policy(), work.train, GRPO, settings=settings)
    runs = {"ours": [], "trl": []}

    # One step of ours.
    def our_turn() -> None:
        run, record = timed(next, records)
        run |= {
            "tokens": record.tokens,
            "reward": record.reward_mean,
            "no_signal": record.no_signal,
        }
        golds = [problem.answer for problem in work.problems(record.step - 1)]
        runs["ours"].append(run | {"golds": golds, "parts": record.seconds})

    if importlib.util.find_spec("trl"):
        drive_trl(work, settings, runs["trl"], other_side=our_turn)
    else:
        for _ in range(settings.steps):
            our_turn()
    # The sides draw their own completions, so time per token is compared too.
    for run in runs["ours"] + runs["trl"]:
        run["us_per_token"] = run["seconds"] / run["tokens"] * 1e6
    # The first turn warms up.
    return {side: rows[1:] for side, rows in runs.items()}


def measure_trace(work: StepWork) -> dict:
    """Generation, and the scoring and updates of one rollout as if every group had a signal.

    The floor counts each useful token once, and prompts once per group. It is 2 operations per
    weight to decode or score a token, and 6 for forward and backward.
    """
    s = work.settings
    policy = work.fresh_policy()
    optimizer = torch.optim.AdamW(policy.model.parameters(), s.learning_rate, fused=True)
    prompts = work.prompts(0)
    rollout = our_samples(work, 0, prompts)
    rewards = torch.arange(len(rollout.mask)).view(-1, s.group_size) % 2.0
    # Every group has a signal.
    minibatches = make_minibatches(rollout, rewards.to(policy.device), GRPO, settings=s, step=1)

    learner = Learner(policy.model, GRPO, s, optimizer=optimizer)

    def updates() -> None:
        score_before_updates(learner, minibatches)
        for minibatch in minibatches * s.epochs:
            update(learner, minibatch, Clock(policy.device), position="")

    # What each part must compute at least.
    tokens = int(rollout.mask.sum()) + int(rollout.prompt_mask.sum()) // s.group_size
    generation = trace_part(
        work, lambda: our_samples(work, 0, prompts), 2 * tokens, rows=len(rollout.mask)
    )
    training_part = trace_part(
        work, updates, (2 + 6 * s.epochs) * tokens, rows=tokens // s.minibatches
    )
    return {"generation": generation, "scoring and updates": training_part}


def trace_part(work: StepWork, function: Callable[[], object], per_weight: int, rows: int) -> dict:
    """Seconds of a part, its top operations, and the seconds that only its matrix products would
    take.

    The rate is what the machine reaches in this run with `rows` tokens at once. `per_weight` counts
    operations for each weight.
    """
    weights = [
        module.weight
        for module in work.policy.model.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    # Inputs of as many rows as the part has, for every matrix of the model.
    inputs = [
        torch.randn(rows, weight.shape[1], device=weight.device, dtype=weight.dtype)
        for weight in weights
    ]
    size = sum(weight.numel() for weight in weights)
    # The part and bare matrix products, in turns.
    runs = []
    rates = []
    for _ in range(work.repeats + 1):
        runs.append(timed(function)[0]["seconds"])
        with torch.no_grad():
            rates.append(
                2 * rows * size / timed(lambda: list(map(F.linear, inputs, weights)))[0]["seconds"]
            )
    figures = {
        "seconds": runs[1:],
        "flops": per_weight * size,
        "rows": rows,
        "matmul_flops_per_second": rates[1:],
    }
    return figures | {
        "floor_seconds": per_weight * size / median(rates[1:]),
        "operations": top_operations(function),
    }


def top_operations(function: Callable[[], object], count: int = 8) -> list[dict]:
    """The operations that took the most time of their own, with their share of all."""
    with profile() as trace:
        function()
    kind = "device" if torch.cuda.is_initialized() else "cpu"
    # Time of their own: without that of the operations that they call.
    own = {event: getattr(event, f"self_{kind}_time_total") for event in trace.key_averages()}
    first = sorted(own, key=own.get, reverse=True)[:count]
    total = sum(own.values())
    return [
        {"name": e.key, "calls": e.count, "ms": own[e] / 1e3, "share": own[e] / total}
        for e in first
    ]


def measure_reach(args: argparse.Namespace) -> dict:
    """Training to the target with each method (only one with --quick). Each has a process of its
    own, for its peak memory."""
    given = ["--quick"] if args.quick else []
    for name in ("model", "problems", "threads"):
        given += [f"--{name}", str(getattr(args, name))] if getattr(args, name) else []
    results = {}
    # The figures are the last line that the process prints.
    for method in ("grpo", "dr_grpo", "gspo")[: 1 if args.quick else 3]:
        command = [sys.executable, *COMMAND.split()[1:], "--reach-with", method, *given]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[method] = json.loads(done.stdout.splitlines()[-1])
    return results


def reach(work: StepWork, method: str) -> dict:
    """Steps, seconds and memory until the held-out greedy accuracy reaches the target. Evaluation
    is timed separately."""
    policy = work.policy
    settings = work.settings
    # Train step by step, evaluate now and then, and stop at the target.
    records = train(policy, work.train, METHODS[method], settings=settings)
    memory = peak_memory(policy.device)
    seconds = 0.0
    evaluating = 0.0
    curve = []
    for step in range(settings.steps + 1):
        # Step 0 is the evaluation before training.
        seconds += timed(next, records)[0]["seconds"] if step else 0.0
        if step % EVALUATE_EVERY == 0 or step == settings.steps:
            run, evaluation = timed(evaluate, policy, work.test, settings.max_tokens)
            evaluating += run["seconds"]
            curve.append([step, evaluation.accuracy, seconds])
            if evaluation.accuracy >= TARGET:
                break
    return {
        "reached": curve[-1][1] >= TARGET,
        "curve": curve,
        "seconds": seconds,
        "evaluation_seconds": evaluating,
        "peak_mb": peak_memory(policy.device),
        "peak_mb_before": memory,
    }


# Title, what measures it, what prints it.
PARTS = {
    "sampling": (
        "Sampling, both on the same prompts: median (least to most)",
        measure_sampling,
        print_sampling,
    ),
    "step": (
        (
            "A rollout with all its updates, both from the same start with the same problems:"
            " median (least to most)"
        ),
        measure_step,
        print_step,
    ),
    "trace": (
        (
            "Where the time goes, and the floor: the matrix products that must be, at this"
            " machine's rate"
        ),
        measure_trace,
        print_trace,
    ),
    "reach": (
        (
            f"From the start to {TARGET:.0%} held-out accuracy (greedy, strict), evaluated every"
            f" {EVALUATE_EVERY} steps"
        ),
        measure_reach,
        print_reach,
    ),
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--model", default="tiny", help="a policy's name, or a model folder; default: tiny"
    )
    parser.add_argument(
        "--problems", help="where the problems come from; default: those of the model"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="everything at a small size")
    parser.add_argument("--out", type=Path, help="a JSON file for all raw figures")
    parser.add_argument("--reach-with", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads < 1:
        parser.error("--threads must be at least 1")
    if args.out:
        # A folder that cannot be made should fail before anything is measured.
        args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    try:
        work = make_work(args)
    except ValueError as error:
        parser.error(str(error))
    # A child process of measure_reach.
    if args.reach_with:
        return print(json.dumps(reach(work, args.reach_with)))
    results = {"header": header(" ".join([COMMAND, *sys.argv[1:]]))}
    print(*(f"{name}: {value}" for name, value in results["header"].items()), sep="\n")
    for part in args.parts:
        title, measure, print_figures = PARTS[part]
        print(f"\n{title}", flush=True)
        results[part] = measure(args if part == "reach" else work)
        print_figures(results[part])
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
