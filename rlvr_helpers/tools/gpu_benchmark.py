"""The GPU benchmark: the seconds of a step of the original comparison's workload, and how near that
is to what the card can do.

    python -m rlvr_helpers.tools.gpu_benchmark --model qwen2.5-1.5b --out figures.json

2 prompts x 8 completions x 400 tokens, one update, KL to the start. If the model is not on this
machine, random weights of its sizes take its place. Speed does not depend on them, and completions
hardly ever end early, as it was there. Beside it, in turns in the same run, stands the step of that
script: `generate` and a padded forward in bfloat16 weights. `--quick` runs every part at a small
size, also on a CPU, to see that it works.
"""

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.large import add_lora, best_compute_dtype, without_cudnn_attention
from rlvr_helpers.minibatches import make_learner, make_minibatches, score_before_updates, update
from rlvr_helpers.models import (
    KNOWN,
    Policy,
    default_device,
    format_prompt,
    is_here,
    load_policy,
    make_policy,
)
from rlvr_helpers.problems import load_problems
from rlvr_helpers.sampling import sample_groups
from rlvr_helpers.study.memory import SHAPES, Shape, cache_bytes, memory_gib, seconds_parts
from rlvr_helpers.study.recipes import fit_to_card, this_card, workload
from rlvr_helpers.tools.gpu_script import METHOD, Step, script_gib, script_side
from rlvr_helpers.tools.measuring import header, peak_memory, timed
from rlvr_helpers.train_settings import TrainSettings

COMMAND = "python -m rlvr_helpers.tools.gpu_benchmark"
SETTINGS = TrainSettings(
    prompts_per_step=2,
    group_size=8,
    max_tokens=400,
    epochs=1,
    minibatches=1,
    learning_rate=5e-6,
    micro_batch_tokens=8192,
)
# With --quick.
SMALL = Shape(2, 64, 4, kv_heads=2, head_dim=16, mlp=128, vocab=167, tied=True, qkv_bias=True)


def random_policy(shape: Shape, device: torch.device, name: str = "random") -> Policy:
    """A policy of these sizes with random weights, and the tokenizer of `tiny`, whose tokens are
    among its vocabulary."""
    sizes = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "tie_word_embeddings": shape.tied,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    # The model, on its device at once.
    config, kind = (
        (Qwen2Config, Qwen2ForCausalLM) if shape.qkv_bias else (LlamaConfig, LlamaForCausalLM)
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = kind(config(**sizes)).eval()
    policy = make_policy(model, load_policy("tiny").tokenizer, name, known=KNOWN["tiny"])
    policy.compute_dtype = best_compute_dtype(device)
    without_cudnn_attention(device)
    return policy


class CardWork:
    """A policy, its prompts of about 100 tokens, and the settings that fit this machine."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.device = default_device()
        known = KNOWN.get(args.model)
        self.shape = SMALL if args.quick else SHAPES[args.model]
        self.real = not args.quick and known is not None and is_here(known)
        self.policy = (
            load_policy(args.model, self.device)
            if self.real
            else random_policy(self.shape, self.device)
        )
        # Settings that fit the card.
        small = {"group_size": 4, "max_tokens": 8} if args.quick else {}
        self.settings = replace(SETTINGS, **small)
        self.lora_rank = args.lora_rank
        self.card = this_card()
        if self.card and args.lora_rank is None:
            self.settings, self.lora_rank = fit_to_card(args.model, self.settings, self.card) or (
                self.settings,
                16,
            )
        if args.checkpointing:
            self.settings = replace(self.settings, gradient_checkpointing=True)
        # Real prompts, or longer ones of words that `tiny` knows.
        problems = load_problems("train", "tiny")[:2]
        question = (
            (lambda p: p.question) if self.real else (lambda p: " ".join([p.question] * 5)[:350])
        )
        self.prompts = [format_prompt(self.policy, question(problem)) for problem in problems]
        self.repeats = args.repeats


def our_side(work: CardWork) -> Step:
    """Our step. It returns its seconds by part and its tokens. The optimizer and the reference are
    made once."""
    policy = work.policy
    s = work.settings
    if work.lora_rank:
        add_lora(policy.model, work.lora_rank)
    learner = make_learner(policy, METHOD, s)

    def step(turn: int) -> dict:
        clock = Clock(policy.device)
        with clock.time("generation"):
            generator = torch.Generator().manual_seed(turn)
            rollout = sample_groups(
                policy, work.prompts, s.group_size, max_tokens=s.max_tokens, generator=generator
            )
        # Every group has a signal.
        rewards = (torch.arange(len(rollout.mask)).view(-1, s.group_size) % 2.0).to(policy.device)
        with clock.time("scoring"):
            minibatches = make_minibatches(rollout, rewards, METHOD, settings=s, step=turn + 1)
            score_before_updates(learner, minibatches)
        # The update, and what it says of decoding and scoring.
        shown = update(learner, minibatches[0], clock, position="")
        gap = max(micro.sampler_gap for micro in minibatches[0].micro)
        tokens = int(rollout.mask.sum())
        return {
            "parts": clock.seconds,
            "tokens": tokens,
            "sampler_gap": gap,
            "clip_first": shown.clip_fraction,
        }

    return step


def peak_gib(step: Step, work: CardWork) -> float:
    """Peak memory in GiB of one step, with all that lives beside it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step(0)
    return peak_memory(work.device) / 1024


def measure_sides(work: CardWork, with_script: bool, report: Callable[..., None] = print) -> dict:
    """Steps of both sides in turns. The first of each warms up. Each is reported when it ends.

    Peak memory in GiB is read while the other side is not there. Only the float32 weights of the
    policy are, since the script's side is a copy of them.
    """
    peaks = {"script": peak_gib(script_side(work), work)} if with_script else {}
    # Made once, since it trains the policy itself and can add LoRA to it.
    steps = {"ours": our_side(work)}
    peaks["ours"] = peak_gib(steps["ours"], work)
    if with_script:
        steps["script"] = script_side(work)
    runs = {name: [] for name in steps}
    for turn in range(work.repeats + 1):
        for name, step in steps.items():
            run, shown = timed(step, turn)
            runs[name].append(run | shown | {"peak_gib": peaks[name]})
            report(f"turn {turn}, {name}: {run['seconds']:.2f} s")
    return {name: rows[1:] for name, rows in runs.items()}


def measure_machine(work: CardWork) -> dict:
    """Bytes per second of a large copy (read and written), and FLOPs per second of a large product
    in the compute dtype."""
    side = 256 if work.device.type == "cpu" else 8192
    dtype = work.policy.compute_dtype
    # A square to multiply, and sixteen to copy.
    a, big = (torch.randn(n, side, device=work.device, dtype=dtype) for n in (side, side * 16))
    other = torch.empty_like(big)
    copies = []
    products = []
    for _ in range(6):
        copies.append(
            2 * big.numel() * big.element_size() / timed(lambda: other.copy_(big))[0]["seconds"]
        )
        products.append(2 * side**3 / timed(lambda: a @ a)[0]["seconds"])
    return {"bytes_per_second": median(copies[1:]), "flops_per_second": median(products[1:])}


def roofline(work: CardWork, machine: dict, run: dict) -> dict:
    """What this machine's measured rates allow at best, in seconds.

    Every token reads 16-bit weights and its group's cache once. Scoring, forward and backward are
    2, 2 and 4 FLOPs per weight and position. Two models are scored.
    """
    s = work.settings
    shape = work.shape
    groups = s.prompts_per_step
    steps = s.max_tokens
    # Half of the completion is in the cache on average.
    cache = cache_bytes(shape, groups * (100 + s.group_size * steps / 2))
    # Reading, at the rate of a large copy.
    generation = steps * (2 * shape.matrix_parameters + cache) / machine["bytes_per_second"]
    # Arithmetic, at the rate of a large product.
    positions = run["tokens"] + groups * 100
    training_flops = (2 * 2 + 2 + 4) * shape.matrix_parameters * positions
    return {"generation": generation, "training": training_flops / machine["flops_per_second"]}


def print_results(results: dict, work: CardWork) -> None:
    """What was measured, side by side, and beside the machine's rates."""
    weights = "real weights" if work.real else "random weights of its sizes"
    print(
        f"{weights}, {work.shape.parameters / 1e6:,.1f} M parameters,"
        f" compute {work.policy.compute_dtype}"
    )
    print(
        f"LoRA rank {work.lora_rank}, gradient checkpointing {work.settings.gradient_checkpointing}"
    )
    # Seconds and rates of each side.
    for name, runs in results["sides"].items():
        seconds = sorted(run["seconds"] for run in runs)
        parts = ", ".join(
            f"{p} {median(r['parts'][p] for r in runs):.2f}" for p in runs[0]["parts"]
        )
        rate = median(run["tokens"] / run["parts"]["generation"] for run in runs)
        print(
            f"  {name:7s} {median(seconds):.2f} s a step ({seconds[0]:.2f} to {seconds[-1]:.2f}):"
            f" {parts}; decoding {rate:,.0f} tokens/s; at most"
            f" {max(run['peak_gib'] for run in runs):.1f} GiB"
        )
    ours = results["sides"]["ours"]
    if "script" in results["sides"]:
        ratio = median(r["seconds"] for r in results["sides"]["script"]) / median(
            r["seconds"] for r in ours
        )
        print(f"  script / ours: {ratio:.1f}")
    print(
        f"  before the update {max(r['clip_first'] for r in ours):.2%} of tokens are clipped;"
        f" decoding and scoring differ by at most {max(r['sampler_gap'] for r in ours):.3f} nats"
    )
    print_machine(results)


def print_machine(results: dict) -> None:
    """The machine's rates, and our step beside the roofline and the calculation."""
    ours = results["sides"]["ours"]
    machine = results["machine"]
    floor = results["roofline"]
    # Seconds of ours, as the roofline is cut.
    spent = {"generation": median(r["parts"]["generation"] for r in ours)}
    spent["training"] = median(
        sum(r["parts"][p] for p in ("scoring", "forward", "backward")) for r in ours
    )
    # In words.
    rates = (
        f"{machine['bytes_per_second'] / 1e9:,.0f} GB/s, {machine['flops_per_second'] / 1e12:,.2f}"
        " TFLOPS"
    )
    shares = [
        f"{part} takes {spent[part]:.2f} s, {floor[part] / spent[part]:.0%} of the roofline"
        for part in floor
    ]
    print(f"  this machine: {rates}; {', '.join(shares)}")
    if results["calculated"]:
        print(
            f"  calculated: {results['calculated']['gib']:.1f} GiB,"
            f" {results['calculated']['seconds']}"
        )


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.partition("\n")[0])
    add = parser.add_argument
    # What is measured.
    add("--model", default="qwen2.5-1.5b", choices=tuple(SHAPES))
    add("--repeats", type=int, default=5)
    # With which savings.
    add("--lora-rank", type=int, help="default: what fits this GPU")
    add(
        "--checkpointing",
        action="store_true",
        help="gradient checkpointing also where it is not needed",
    )
    add(
        "--no-script",
        action="store_true",
        help="leave the script's side out; so it is if it does not fit",
    )
    # How, and where the figures go.
    add("--quick", action="store_true", help="a small model and a small workload, also on a CPU")
    add("--out", type=Path, help="a JSON file for all figures")
    return parser


def measure_all(
    args: argparse.Namespace, command: str, report: Callable[..., None] = print
) -> tuple[dict, CardWork]:
    """All figures of the benchmark, and what they were measured on."""
    work = CardWork(args)
    results = {"header": header(command)}
    load = workload(work.settings, work.lora_rank)
    calculated = memory_gib(work.shape, load)
    # The script's side holds more copies, so it can be too much where ours fits.
    fits = work.card is None or calculated + script_gib(work) + 1.5 <= work.card.memory_gib
    results["sides"] = measure_sides(work, fits and not args.no_script, report)
    results["machine"] = measure_machine(work)
    results["roofline"] = roofline(work, results["machine"], results["sides"]["ours"][-1])
    # What the calculator expects, to be held beside what was measured.
    known = work.card is not None and work.card.speed_is_known
    seconds = seconds_parts(work.shape, load, work.card) if known else "speed not known"
    results["calculated"] = work.card and {"gib": calculated, "seconds": seconds}
    return results, work


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    options = parser()
    args = options.parse_args(arguments)
    if args.repeats < 1 or (args.lora_rank or 0) < 0:
        options.error("--repeats must be at least 1 and --lora-rank at least 0")
    if args.out:
        # A folder that cannot be made should fail before anything is measured.
        args.out.parent.mkdir(parents=True, exist_ok=True)
    if default_device().type != "cuda" and not args.quick:
        options.error("there is no GPU here; --quick runs every part at a small size on a CPU")
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    results, work = measure_all(args, f"{COMMAND} {given}".strip())
    print(*(f"{name}: {value}" for name, value in results["header"].items()), sep="\n")
    print_results(results, work)
    print(f"load at the end: {os.getloadavg()[0]:.1f}")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
