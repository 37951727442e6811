"""How long is a step of the original comparison's workload on this GPU, and how near to what the
card can do?

    python -m rlvr_helpers.tools.gpu_benchmark --model qwen2.5-1.5b --out figures.json

2 prompts x 8 completions x 400 tokens, one update, KL to the start. Where the model is not on this
machine, random weights of its sizes take its place: speed does not depend on them, and such weights
hardly ever end early, as was so there. Beside it, in turns in the same run, the step as that script
takes it: `generate` and a padded forward in bfloat16 weights. `--quick` runs every part at a small
size, also on a CPU, to see that it works.
"""

import argparse
import copy
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

from rlvr_helpers import sampling
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.large import (
    add_lora,
    best_compute_dtype,
    enable_gradient_checkpointing,
    merge_lora,
    training_mode,
    without_cudnn_attention,
)
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import GRPO
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
from rlvr_helpers.scoring import masked_scores
from rlvr_helpers.study.memory import GIB, SHAPES, Shape, cache_bytes, memory_gib, seconds_parts
from rlvr_helpers.study.recipes import fit_to_card, this_card, workload
from rlvr_helpers.tools.measuring import generated, header, peak_memory, timed
from rlvr_helpers.train_settings import TrainSettings

COMMAND = "python -m rlvr_helpers.tools.gpu_benchmark"
METHOD = replace(GRPO, kl_coef=0.04)
SETTINGS = TrainSettings(
    prompts_per_step=2,
    group_size=8,
    max_tokens=400,
    epochs=1,
    minibatches=1,
    learning_rate=5e-6,
    micro_batch_tokens=8192,
)
SMALL = Shape(2, 64, 4, kv_heads=2, head_dim=16, mlp=128, vocab=167, tied=True, qkv_bias=True)


def random_policy(shape: Shape, device, name: str = "random") -> Policy:
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


class Work:
    """A policy, its prompts of about 100 tokens, and the settings that fit this machine."""

    def __init__(self, args):
        self.device = default_device()
        known = KNOWN.get(args.model)
        self.shape = SMALL if args.quick else SHAPES[args.model]
        self.real = not args.quick and known is not None and is_here(known)
        self.policy = (
            load_policy(args.model, self.device)
            if self.real
            else random_policy(self.shape, self.device)
        )
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
        problems = load_problems("train", "tiny")[:2]
        question = (
            (lambda p: p.question) if self.real else (lambda p: " ".join([p.question] * 5)[:350])
        )
        self.prompts = [format_prompt(self.policy, question(problem)) for problem in problems]
        self.repeats = args.repeats


def our_side(work: Work):
    """A function that takes one step and returns its seconds by part and its tokens; the optimizer
    and the reference are made once."""
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
        # all have a signal
        rewards = (torch.arange(len(rollout.mask)).view(-1, s.group_size) % 2.0).to(policy.device)
        with clock.time("scoring"):
            minibatches = make_minibatches(rollout, rewards, METHOD, settings=s, step=turn + 1)
            score_before_updates(learner, minibatches)
        shown = update(learner, minibatches[0], clock, "")
        gap = max(micro.sampler_gap for micro in minibatches[0].micro)
        tokens = int(rollout.mask.sum())
        return {
            "parts": clock.seconds,
            "tokens": tokens,
            "sampler_gap": gap,
            "clip_first": shown.clip_fraction,
        }

    return step


def script_side(work: Work):
    """A function that takes one step as the script did: weights, gradients and moments in bfloat16,
    `generate`, every row padded with its prompt, full logits, gradient checkpointing."""
    policy = work.policy
    s = work.settings
    model, reference = (copy.deepcopy(policy.model).to(torch.bfloat16) for _ in range(2))
    for copied, trained in ((model, True), (reference, False)):
        merge_lora(copied)  # of our side
        copied.requires_grad_(trained)
    enable_gradient_checkpointing(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=s.learning_rate)

    def score(which, ids, mask, width):
        logits = which(input_ids=ids, attention_mask=mask, use_cache=False).logits[
            :, -width - 1 : -1
        ]
        return masked_scores(logits, ids[:, -width:], mask[:, -width:])[0]

    def step(turn: int) -> dict:
        clock = Clock(policy.device)
        with clock.time("generation"):
            prompt, prompt_mask, completions = generated(
                policy, work.prompts, s.group_size, max_tokens=s.max_tokens, seed=turn, model=model
            )
        ids = torch.cat([prompt, completions], dim=1)
        done = sampling.mask_after_end(completions, policy.end_ids)
        mask = torch.cat([prompt_mask, done], dim=1)
        width = done.shape[1]
        with clock.time("scoring"), torch.no_grad():
            old, ref = (score(which, ids, mask, width) for which in (model, reference))
        advantages = (torch.arange(len(ids), device=ids.device) % 2.0) * 2 - 1
        with clock.time("forward"), training_mode(model, True):
            new = score(model, ids, mask, width)
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


def peak_gib(step, work: Work) -> float:
    """Peak memory in GiB of one step, with all that lives beside it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step(0)
    return peak_memory(work.device) / 1024


def script_gib(work: Work) -> float:
    """About what the script's side takes: five tensors of 16-bit weights, and its logits in 16 bits
    and three times in float32."""
    s = work.settings
    places = s.prompts_per_step * s.group_size * (100 + s.max_tokens)
    return (5 * 2 * work.shape.parameters + places * work.shape.vocab * (2 + 3 * 4)) / GIB


def measure_sides(work: Work, with_script: bool, report: Callable[..., None] = print) -> dict:
    """Steps of both sides in turns; the first of each warms up. Each is reported as it ends. Peak
    memory in GiB is read while the other side is not there, but for the float32 weights of the
    policy, of which the script's side is a copy."""
    peaks = {"script": peak_gib(script_side(work), work)} if with_script else {}
    # Made once: it trains the policy itself, and may add LoRA to it.
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


def measure_machine(work: Work) -> dict:
    """Bytes a second of a large copy (read and written) and FLOPs a second of a large product in
    the compute dtype."""
    side = 256 if work.device.type == "cpu" else 8192
    dtype = work.policy.compute_dtype
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


def roofline(work: Work, machine: dict, run: dict) -> dict:
    """What this machine's measured rates allow at best, in seconds: every token reads 16-bit
    weights and its group's cache once; training is 2, 2 and 4 FLOPs a weight and place (scoring,
    forward, backward)."""
    s = work.settings
    shape = work.shape
    groups = s.prompts_per_step
    steps = s.max_tokens
    cache = cache_bytes(shape, groups * (100 + s.group_size * steps / 2))
    generation = steps * (2 * shape.matrix_parameters + cache) / machine["bytes_per_second"]
    places = run["tokens"] + groups * 100
    training_flops = (2 * 2 + 2 + 4) * shape.matrix_parameters * places
    return {"generation": generation, "training": training_flops / machine["flops_per_second"]}


def show(results: dict, work: Work) -> None:
    weights = "real weights" if work.real else "random weights of its sizes"
    print(
        f"{weights}, {work.shape.parameters / 1e6:,.1f} M parameters,"
        f" compute {work.policy.compute_dtype}"
    )
    print(
        f"LoRA rank {work.lora_rank}, gradient checkpointing {work.settings.gradient_checkpointing}"
    )
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
    machine = results["machine"]
    floor = results["roofline"]
    spent = {"generation": median(r["parts"]["generation"] for r in ours)}
    spent["training"] = median(
        sum(r["parts"][p] for p in ("scoring", "forward", "backward")) for r in ours
    )
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
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--model", default="qwen2.5-1.5b", choices=tuple(SHAPES))
    add("--repeats", type=int, default=5)
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
    add("--quick", action="store_true", help="a small model and a small workload, also on a CPU")
    add("--out", type=Path, help="a JSON file for all figures")
    return parser


def measure(args, command: str, report: Callable[..., None] = print) -> tuple[dict, Work]:
    """All figures of the benchmark, and what they were measured on."""
    work = Work(args)
    results = {"header": header(command)}
    load = workload(work.settings, work.lora_rank)
    calculated = memory_gib(work.shape, load)
    fits = work.card is None or calculated + script_gib(work) + 1.5 <= work.card.memory_gib
    results["sides"] = measure_sides(work, fits and not args.no_script, report)
    results["machine"] = measure_machine(work)
    results["roofline"] = roofline(work, results["machine"], results["sides"]["ours"][-1])
    known = work.card is not None and work.card.speed_is_known
    seconds = seconds_parts(work.shape, load, work.card) if known else "speed not known"
    results["calculated"] = work.card and {"gib": calculated, "seconds": seconds}
    return results, work


def main(arguments: list[str] | None = None) -> None:
    options = parser()
    args = options.parse_args(arguments)
    if args.repeats < 1 or (args.lora_rank or 0) < 0:
        options.error("--repeats must be at least 1 and --lora-rank at least 0")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)  # before anything is measured
    if default_device().type != "cuda" and not args.quick:
        options.error("there is no GPU here; --quick runs every part at a small size on a CPU")
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    results, work = measure(args, f"{COMMAND} {given}".strip())
    print(*(f"{name}: {value}" for name, value in results["header"].items()), sep="\n")
    show(results, work)
    print(f"load at the end: {os.getloadavg()[0]:.1f}")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
