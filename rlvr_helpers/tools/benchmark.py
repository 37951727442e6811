"""How fast is it, and where does the time go? One run, side by side with `generate` of transformers
and with TRL.

    uv run --group test python -m rlvr_helpers.tools.benchmark --out figures.json

Machines are noisy: both sides take turns (A B A B), medians stand beside the least and the largest
value, and the load of the machine is printed at both ends. `--quick` runs every part at a small
size, to see that it works. The original comparison's workload on a GPU is measured by
`gpu_benchmark`.
"""

import argparse
import copy
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median

import torch
import torch.nn.functional as F
from torch.profiler import profile
from transformers import PrinterCallback, TrainerCallback

from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.evaluation import evaluate
from rlvr_helpers.methods import GRPO, METHODS
from rlvr_helpers.minibatches import Learner, make_minibatches, score_before_updates, update
from rlvr_helpers.models import Policy, format_prompt, load_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, mask_after_end, sample_groups
from rlvr_helpers.tools.measuring import generated, header, now, peak_memory, timed
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import problems_of_step, train

COMMAND = "python -m rlvr_helpers.tools.benchmark"
TARGET = 0.9
EVALUATE_EVERY = 5
# figures whose ratio is worth a line
COMPARED = "tokens_per_second", "seconds", "cpu_seconds", "us_per_token"


@dataclass
class Work:
    """What is measured: a policy, its problems, the sizes of a step (`settings`), and how often."""

    policy: Policy
    train: list[Problem]
    test: list[Problem]
    settings: TrainSettings
    repeats: int

    def problems(self, turn: int) -> list[Problem]:
        return problems_of_step(self.train, turn + 1, self.settings)

    def prompts(self, turn: int) -> list[str]:
        return [format_prompt(self.policy, problem.question) for problem in self.problems(turn)]

    def fresh_policy(self) -> Policy:
        return replace(self.policy, model=copy.deepcopy(self.policy.model))


def make_work(args) -> Work:
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
        return Work(policy, train, test[:20], small, 2)
    return Work(policy, train, test[:200], settings, 8)


def measure_sampling(work: Work) -> dict:
    """Both samplers on the same prompts, in turns; useful tokens are those up to and including the
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
    return {name: rows[1:] for name, rows in runs.items()}  # the first turn warms up


def our_samples(work: Work, turn: int, prompts: list[str]) -> Rollout:
    s = work.settings
    generator = torch.Generator().manual_seed(turn)
    return sample_groups(
        work.policy, prompts, s.group_size, max_tokens=s.max_tokens, generator=generator
    )


def generated_samples(work: Work, turn: int, prompts: list[str]) -> torch.Tensor:
    s = work.settings
    return generated(work.policy, prompts, s.group_size, max_tokens=s.max_tokens, seed=turn)[2]


def measure_step(work: Work) -> dict:
    """Rollouts with all their updates, ours and TRL's in turns, each side training its own copy of
    the same model."""
    settings = replace(
        work.settings, steps=work.repeats + 1, track_kl=False, warmup_steps=0, decay_steps=None
    )
    records = train(work.fresh_policy(), work.train, GRPO, settings=settings)
    runs = {"ours": [], "trl": []}

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
        drive_trl(work, runs["trl"], our_turn)
    else:
        for _ in range(settings.steps):
            our_turn()
    for run in runs["ours"] + runs["trl"]:  # the sides draw their own completions
        run["us_per_token"] = run["seconds"] / run["tokens"] * 1e6
    return {side: rows[1:] for side, rows in runs.items()}  # the first turn warms up


def drive_trl(work: Work, runs: list[dict], other_side) -> None:
    """TRL's own `train()` with the same settings, reward function, problems in the same order and
    start weights, timed by a callback after the last update of each rollout; then it is the other
    side's turn."""
    from datasets import Dataset
    from trl import GRPOTrainer

    policy = work.fresh_policy()
    s = work.settings
    rollout = {}

    def reward(completions, answer, completion_ids, **_):
        values = [
            correctness_reward(text, gold) for text, gold in zip(completions, answer, strict=True)
        ]
        equal = [
            len(set(values[i : i + s.group_size])) == 1 for i in range(0, len(values), s.group_size)
        ]
        rollout.update(
            tokens=sum(map(len, completion_ids)), reward=mean(values), no_signal=mean(equal)
        )
        rollout["golds"] = answer[:: s.group_size]
        return values

    class TakeTurns(TrainerCallback):
        def on_train_begin(self, *args, **kwargs):
            self.start = now()

        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step % (s.epochs * s.minibatches) == 0:
                wall, cpu = now()
                runs.append(
                    {"seconds": wall - self.start[0], "cpu_seconds": cpu - self.start[1]} | rollout
                )
                other_side()
                self.start = now()

    problems = [problem for turn in range(work.repeats + 1) for problem in work.problems(turn)]
    rows = {
        "prompt": [format_prompt(policy, p.question) for p in problems],
        "answer": [p.answer for p in problems],
    }
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=policy.model,
            args=trl_config(work, folder),
            reward_funcs=reward,
            processing_class=policy.tokenizer,
            train_dataset=Dataset.from_dict(rows),
            callbacks=[TakeTurns()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def trl_config(work: Work, folder: str):
    """Our settings in TRL's words: a rollout is cut into `minibatches` steps and gone through
    `epochs` times."""
    from trl import GRPOConfig

    s = work.settings
    return GRPOConfig(
        output_dir=folder,
        use_cpu=work.policy.device.type == "cpu",
        bf16=False,
        gradient_checkpointing=False,
        num_generations=s.group_size,
        per_device_train_batch_size=s.prompts_per_step * s.group_size // s.minibatches,
        steps_per_generation=s.minibatches,
        num_iterations=s.epochs,
        gradient_accumulation_steps=1,
        max_steps=(work.repeats + 1) * s.epochs * s.minibatches,
        max_completion_length=s.max_tokens,
        temperature=s.temperature,
        beta=0.0,
        epsilon=GRPO.clip_low,
        loss_type="grpo",
        scale_rewards="group",
        learning_rate=s.learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=s.betas[0],
        adam_beta2=s.betas[1],
        weight_decay=s.weight_decay,
        max_grad_norm=s.max_grad_norm,
        disable_dropout=True,
        seed=s.seed,
        shuffle_dataset=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def measure_trace(work: Work) -> dict:
    """Generation, and the scoring and updates of one rollout as if every group had a signal.

    The floor counts each useful token once (prompts once a group): 2 operations a weight to decode
    or to score it, 6 for forward and backward.
    """
    s = work.settings
    policy = work.fresh_policy()
    optimizer = torch.optim.AdamW(policy.model.parameters(), s.learning_rate, fused=True)
    prompts = work.prompts(0)
    rollout = our_samples(work, 0, prompts)
    rewards = torch.arange(len(rollout.mask)).view(-1, s.group_size) % 2.0
    minibatches = make_minibatches(rollout, rewards.to(policy.device), GRPO, settings=s, step=1)

    learner = Learner(policy.model, GRPO, s, optimizer=optimizer)

    def updates() -> None:
        score_before_updates(learner, minibatches)
        for minibatch in minibatches * s.epochs:
            update(learner, minibatch, Clock(policy.device), "")

    tokens = int(rollout.mask.sum()) + int(rollout.prompt_mask.sum()) // s.group_size
    generation = trace_part(
        work, lambda: our_samples(work, 0, prompts), 2 * tokens, rows=len(rollout.mask)
    )
    training_part = trace_part(
        work, updates, (2 + 6 * s.epochs) * tokens, rows=tokens // s.minibatches
    )
    return {"generation": generation, "scoring and updates": training_part}


def trace_part(work: Work, function, per_weight: int, rows: int) -> dict:
    """Seconds of a part, its top operations, and what its matrix products alone would take at the
    rate that the machine reaches in this run with `rows` tokens at once; `per_weight` counts
    operations for each weight."""
    weights = [
        module.weight
        for module in work.policy.model.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    inputs = [
        torch.randn(rows, weight.shape[1], device=weight.device, dtype=weight.dtype)
        for weight in weights
    ]
    size = sum(weight.numel() for weight in weights)
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


def top_operations(function, count: int = 8) -> list[dict]:
    """The operations that took the most time of their own, with their share of all."""
    with profile() as trace:
        function()
    kind = "device" if torch.cuda.is_initialized() else "cpu"
    own = {event: getattr(event, f"self_{kind}_time_total") for event in trace.key_averages()}
    first = sorted(own, key=own.get, reverse=True)[:count]
    total = sum(own.values())
    return [
        {"name": e.key, "calls": e.count, "ms": own[e] / 1e3, "share": own[e] / total}
        for e in first
    ]


def measure_reach(args) -> dict:
    """Training to the target with each method (--quick: one), in a process of its own for its peak
    memory."""
    given = ["--quick"] if args.quick else []
    for name in ("model", "problems", "threads"):
        given += [f"--{name}", str(getattr(args, name))] if getattr(args, name) else []
    results = {}
    for method in ("grpo", "dr_grpo", "gspo")[: 1 if args.quick else 3]:
        command = [sys.executable, *COMMAND.split()[1:], "--reach-with", method, *given]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[method] = json.loads(done.stdout.splitlines()[-1])
    return results


def reach(work: Work, method: str) -> dict:
    """Steps, seconds and memory until the held-out greedy accuracy is at the target; evaluation is
    timed apart."""
    policy = work.policy
    settings = work.settings
    records = train(policy, work.train, METHODS[method], settings=settings)
    memory = peak_memory(policy.device)
    seconds = 0.0
    evaluating = 0.0
    curve = []
    for step in range(settings.steps + 1):
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


def show_sides(sides: dict, columns: dict[str, str], over: str, under: str) -> None:
    """A line for each side: median (least to most) of every column; then the ratio of two sides,
    turn by turn."""
    for name, runs in sides.items():
        values = {column: sorted(run[column] for run in runs) for column in columns}
        spreads = [
            f"{median(v):,.4g} ({v[0]:,.4g} to {v[-1]:,.4g}) {columns[c]}"
            for c, v in values.items()
            if v
        ]
        print(f"  {name:13s} " + ", ".join(spreads))
    for column in [c for c in columns if c in COMPARED] if sides[over] and sides[under] else []:
        ratios = sorted(
            o[column] / u[column] for o, u in zip(sides[over], sides[under], strict=True)
        )
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"  {over} / {under}, turn by turn: {spread} in {columns[column]}")


def show_sampling(sides: dict) -> None:
    columns = {
        "tokens_per_second": "useful tokens/s",
        "cpu_seconds": "CPU-s",
        "tokens": "useful tokens",
    }
    show_sides(sides, columns | {"decoding_steps": "steps"}, "sample_groups", under="generate")


def show_step(sides: dict) -> None:
    columns = {
        "seconds": "s",
        "cpu_seconds": "CPU-s",
        "us_per_token": "microseconds a token",
        "tokens": "tokens",
    }
    columns["no_signal"] = "of groups without signal"
    show_sides(sides, columns, "trl", under="ours")
    if not sides["trl"]:
        print(
            "  TRL is not installed, so its side is left out. With it: uv run --group test"
            f" {COMMAND}"
        )
    total = sum(run["seconds"] for run in sides["ours"])
    parts = {
        part: sum(run["parts"].get(part, 0) for run in sides["ours"])
        for part in sides["ours"][0]["parts"]
    }
    parts["the rest"] = total - sum(parts.values())
    print(
        "  our time: "
        + ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in parts.items())
    )


def show_trace(parts: dict) -> None:
    for name, part in parts.items():
        seconds = median(part["seconds"])
        floor = part["floor_seconds"]
        rate = median(part["matmul_flops_per_second"])
        print(
            f"  {name}: {seconds:.3f} s, {seconds / floor:.1f} times the floor"
            f" ({part['flops'] / 1e9:.1f} GFLOP at {rate / 1e9:.0f} GFLOP/s, {part['rows']} rows at"
            f" once: {floor:.3f} s)"
        )
        for row in part["operations"]:
            print(
                f"    {row['share']:4.0%} {row['ms']:9.1f} ms {row['calls']:6d} x"
                f" {row['name'][:70]}"
            )


def show_reach(results: dict) -> None:
    for method, r in results.items():
        (_, start, _), (step, accuracy, seconds) = r["curve"][0], r["curve"][-1]
        print(
            f"  {method:8s} {'reached' if r['reached'] else 'not reached'}: {start:.1%} to"
            f" {accuracy:.1%} in {step} steps, {seconds:.1f} s and {r['evaluation_seconds']:.1f} s"
            f" of evaluation; at most {r['peak_mb']:.0f} MB ({r['peak_mb_before']:.0f} before"
            " training)"
        )


PARTS = {  # title, measured by, shown by
    "sampling": (
        "Sampling, both on the same prompts: median (least to most)",
        measure_sampling,
        show_sampling,
    ),
    "step": (
        (
            "A rollout with all its updates, both from the same start with the same problems:"
            " median (least to most)"
        ),
        measure_step,
        show_step,
    ),
    "trace": (
        (
            "Where the time goes, and the floor: the matrix products that must be, at this"
            " machine's rate"
        ),
        measure_trace,
        show_trace,
    ),
    "reach": (
        (
            f"From the start to {TARGET:.0%} held-out accuracy (greedy, strict), evaluated every"
            f" {EVALUATE_EVERY} steps"
        ),
        measure_reach,
        show_reach,
    ),
}


def main() -> None:
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
        args.out.parent.mkdir(parents=True, exist_ok=True)  # before anything is measured
    torch.set_num_threads(args.threads)
    try:
        work = make_work(args)
    except ValueError as error:
        parser.error(str(error))
    if args.reach_with:
        return print(json.dumps(reach(work, args.reach_with)))
    results = {"header": header(" ".join([COMMAND, *sys.argv[1:]]))}
    print(*(f"{name}: {value}" for name, value in results["header"].items()), sep="\n")
    for part in args.parts:
        title, measure, show = PARTS[part]
        print(f"\n{title}", flush=True)
        results[part] = measure(args if part == "reach" else work)
        show(results[part])
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
