"""The stages of `gpu_session`. Each says what it finds at once."""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from rlvr_helpers.evaluation import evaluate
from rlvr_helpers.methods import GSPO
from rlvr_helpers.models import Policy, default_device
from rlvr_helpers.paths import COURSE
from rlvr_helpers.problems import Problem
from rlvr_helpers.study.comparison import Comparison, split_problems, start_policy
from rlvr_helpers.study.memory import memory_gib
from rlvr_helpers.study.pilot import calibrate_clip_range, with_range
from rlvr_helpers.study.planning import choose_policy
from rlvr_helpers.study.recipes import (
    fit_to_card,
    on_this_card,
    problems_for,
    settings_for,
    shape_for,
    this_card,
    workload,
)
from rlvr_helpers.study.runs import Run, save_run
from rlvr_helpers.study.tables import format_differences, format_table, table_rows
from rlvr_helpers.tools import gpu_benchmark
from rlvr_helpers.tools.gpu_findings import COMMAND, FINDINGS
from rlvr_helpers.tools.gpu_smoke import Say, smoke
from rlvr_helpers.tools.measuring import header, peak_memory, timed
from rlvr_helpers.training import train


def run(name: str, args: argparse.Namespace) -> None:
    """One stage, with the time it has in `args.seconds`."""
    file = args.out / FINDINGS
    args.command = f"{COMMAND} --stages {name}" + " --quick" * args.quick

    def say(what: str, shown: str | None = None, **figures: object) -> None:
        found = {"stage": name, "what": what} | ({"shown": shown} if shown else {}) | figures
        line = json.dumps(found, default=str)
        print(line, flush=True)
        with file.open("a", encoding="utf-8") as findings:
            findings.write(line + "\n")

    # The machine, then the stage itself.
    machine = header(args.command)
    shown = (
        f"{machine['gpu'] if default_device().type == 'cuda' else machine['cpu']}, torch"
        f" {torch.__version__}"
    )
    say("machine", f"{shown}, {machine['date']}", **machine)
    {"smoke": smoke, "benchmark": benchmark, "train": train_all, "notebook": notebook}[name](
        args, say
    )


# -- benchmark ------------------------------------------------------------------------------------


def benchmark(args: argparse.Namespace, say: Say) -> None:
    """The original's workload with 1.5 billion weights, then with 0.5, as far as they fit and time
    is left."""
    began = time.monotonic()
    names = ["qwen2.5-1.5b"] if args.quick else ["qwen2.5-1.5b", "qwen2.5-0.5b"]
    card = this_card()
    for name in names:
        if card and not fit_to_card(name, gpu_benchmark.SETTINGS, card):
            say(name, f"does not fit the {card.name}")
            continue
        # As the command line of the benchmark would do it.
        given = f"--model {name} --repeats {1 if args.quick else 2}" + " --quick" * args.quick
        options = gpu_benchmark.parser().parse_args(given.split())
        results, work = gpu_benchmark.measure_all(
            options, args.command, lambda text: say("step", text=text)
        )
        gpu_benchmark.print_results(results, work)
        report_benchmark("a small model" if args.quick else name, results, say)
        del work
        # The next model would take as long again.
        taken = time.monotonic() - began
        if 2 * taken > args.seconds:
            break


def report_benchmark(name: str, results: dict, say: Say) -> None:
    """Seconds per step, the share of the roofline, and memory."""
    ours = results["sides"]["ours"]
    seconds = median(run["seconds"] for run in ours)
    shown = f"{seconds:.2f} s per step"
    if "script" in results["sides"]:
        script = median(run["seconds"] for run in results["sides"]["script"])
        shown += f", the script's way {script:.2f} s, {script / seconds:.1f} times as long"
    say(f"{name}, the original's workload", shown, **results)
    # What it could be at best: the roofline, and the calculated memory.
    generation = median(run["parts"]["generation"] for run in ours)
    share = results["roofline"]["generation"] / generation
    say(f"{name}, generation", f"{generation:.2f} s, {share:.0%} of the roofline")
    calculated = results["calculated"]
    beside = f"{calculated['gib']:.1f} GiB" if calculated else "for a GPU only"
    say(
        f"{name}, memory at the peak",
        f"{ours[0]['peak_gib']:.1f} GiB measured; calculated: {beside}",
    )


# -- train ----------------------------------------------------------------------------------------


def train_all(args: argparse.Namespace, say: Say) -> None:
    """Three methods with several seeds, saved as run files. The table holds the seeds that all
    methods finished."""
    model = args.model or ("tiny" if args.quick else choose_policy()[0])
    settings, rank = on_this_card(model, settings_for(model))
    # With --quick every part is small.
    small = {}
    if args.quick:
        small = {"steps": 2, "prompts_per_step": 2, "group_size": 4, "minibatches": 2}
    comparison = Comparison(
        model,
        seeds=(0,) if args.quick else (0, 1, 2),
        settings=replace(settings, **small),
        problems=problems_for(model),
        eval_count=10 if args.quick else 200,
        lora_rank=rank,
        calibrate=True,
    )
    results = compare_within(
        comparison, args.seconds, args.out / "runs", command=args.command, say=say
    )
    whole = min(map(len, results.values()), default=0) if len(results) == 3 else 0
    if not whole:
        sys.exit("no seed was finished by all three methods: give it more time, or a smaller model")
    results = {name: runs[:whole] for name, runs in results.items()}
    text = format_table(table_rows(results)) + "\n\n" + format_differences(results)
    (args.out / "runs" / "table.txt").write_text(text + "\n", encoding="utf-8")
    say(f"{Path(model).name} on {comparison.source}", f"strict and lenient accuracy\n{text}")


def compare_within(
    comparison: Comparison, seconds: float, out: Path, command: str, say: Say
) -> dict[str, list[Run]]:
    """A comparison in one process. Returns the finished runs by method.

    The model is loaded once. As many steps and seeds are made as the seconds allow, and only the
    records are kept.
    """
    ends = time.monotonic() + seconds
    comparison = replace(comparison, out=out)
    out.mkdir(parents=True, exist_ok=True)
    policy = start_policy(comparison)
    problems, held_out = split_problems(comparison)
    # Every run starts from these weights.
    weights = {
        name: value.to("cpu", copy=True) for name, value in policy.model.state_dict().items()
    }
    # A pilot gives the clip range and the seconds of a step.
    comparison, step_seconds, eval_seconds = piloted(
        comparison, policy, problems, held_out=held_out, say=say
    )
    policy.model.load_state_dict(weights)
    # As many runs as there is time for.
    comparison = planned(
        comparison, ends - time.monotonic(), step_seconds, eval_seconds=eval_seconds
    )
    steps = comparison.settings.steps
    seeds = len(comparison.seeds)
    runs = f"{seeds} seed{'s' * (seeds > 1)} x 3 methods x {steps} steps"
    say("plan", f"{runs}, {step_seconds:.2f} s per step, {eval_seconds:.1f} s per evaluation")
    results: dict[str, list[Run]] = {}
    for method, seed in comparison.cases():
        policy.model.load_state_dict(weights)
        run = comparison.new_run(method, seed)
        # Without the path of one machine.
        run.provenance.update(policy=Path(comparison.policy).name, command=command)
        train_until(ends, run, policy, problems=problems, held_out=held_out, say=say)
        if len(run.records) < steps:
            done = f"{method.name} with seed {seed} after {len(run.records)} of {steps} steps"
            say("time is up", f"{done}; the rest is left out")
            break
        save_run(run, out / f"{comparison.folder(method, seed).name}.json")
        results.setdefault(method.name, []).append(run)
    say_memory(comparison, policy, say)
    return results


def train_until(
    ends: float,
    run: Run,
    policy: Policy,
    problems: list[Problem],
    held_out: list[Problem],
    say: Say,
) -> None:
    """Trains a run and keeps its records, until it is done or the time is up."""
    steps = train(policy, problems, run.method, settings=run.settings, eval_problems=held_out)
    for record in steps:
        run.records.append(record)
        say(
            "step",
            method=run.method.name,
            seed=run.settings.seed,
            step=record.step,
            reward=record.reward_mean,
            accuracy=record.eval.accuracy if record.eval else None,
            seconds=record.seconds,
            clip_first=record.clip_fraction_first,
        )
        # What is unfinished then is left out.
        if time.monotonic() > ends:
            break


def say_memory(comparison: Comparison, policy: Policy, say: Say) -> None:
    """The measured peak of training beside the calculated one."""
    shape = shape_for(comparison.policy)
    load = workload(comparison.settings, comparison.lora_rank)
    beside = f"{memory_gib(shape, load):.1f} GiB" if shape and this_card() else "for a GPU only"
    say(
        "memory at the peak of training",
        f"{peak_memory(policy.device) / 1024:.1f} GiB measured; calculated: {beside}",
    )


def piloted(
    comparison: Comparison,
    policy: Policy,
    problems: list[Problem],
    held_out: list[Problem],
    say: Say,
) -> tuple[Comparison, float, float]:
    """The comparison with the clip range that a pilot of at most four steps finds, and the seconds
    of a step and an evaluation. The policy is trained by it."""
    # How long an evaluation takes.
    tokens = comparison.settings.max_tokens
    eval_seconds = timed(evaluate, policy, held_out, tokens)[0]["seconds"]
    # How long a step takes, and the range that it finds.
    settings = replace(comparison.settings, steps=min(4, comparison.settings.steps), seed=1000)
    began = time.monotonic()
    low = GSPO.clip_low
    high = GSPO.clip_high
    try:
        low, high, _ = calibrate_clip_range(policy, GSPO, settings, problems=problems)
        say("pilot", f"GSPO's clip range is -{low:.4f}/+{high:.4f}")
    except ValueError as error:
        say("pilot", f"none, so GSPO keeps its paper's range ({error})")
    step_seconds = (time.monotonic() - began) / settings.steps
    return with_range(comparison, low, high), step_seconds, eval_seconds


def planned(
    comparison: Comparison, seconds: float, step_seconds: float, eval_seconds: float
) -> Comparison:
    """The comparison with as many of its seeds as leave eight steps to a run, and as many of its
    steps as the seconds hold. Held-out problems are evaluated at the start, in the middle and at
    the end."""
    for seeds in range(len(comparison.seeds), 0, -1):
        a_run = 0.9 * seconds / (len(comparison.methods) * seeds)
        steps = int((a_run - 3 * eval_seconds) / step_seconds)
        if steps >= 8:
            break
    steps = max(2, min(steps, comparison.settings.steps))
    settings = replace(comparison.settings, steps=steps, eval_every=max(1, steps // 2))
    return replace(comparison, seeds=comparison.seeds[:seeds], settings=settings)


# -- notebook -------------------------------------------------------------------------------------

# Seconds that are enough for the whole notebook. With fewer it runs in its short form: four steps
# per run, one seed.
WHOLE_NOTEBOOK = 1800
# With --quick: up to the plan of what will run.
FIRST_CELLS = 8


def notebook(args: argparse.Namespace, say: Say) -> None:
    """Notebook 09 executed here and kept with its outputs, also if a cell fails or time is up."""
    import nbformat
    from nbclient import NotebookClient

    began = time.monotonic()
    # The notebook without its outputs.
    book = nbformat.read(COURSE / "notebooks" / "09_train_all_three.ipynb", 4)
    book.cells = book.cells[:FIRST_CELLS] if args.quick else book.cells
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    for cell in cells:
        cell.outputs = []
        cell.execution_count = None
    os.environ |= notebook_environment(args)

    def executed(cell: dict, cell_index: int, execute_reply: dict) -> None:
        say("cell", number=cell_index, at=time.monotonic() - began)
        nbformat.write(book, args.out / "09_executed.ipynb")

    # What it trains lies there and is removed.
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            book,
            timeout_func=lambda cell: max(1, int(args.seconds - (time.monotonic() - began))),
            allow_errors=True,
            shutdown_kernel="immediate",
            resources={"metadata": {"path": folder}},
            on_cell_executed=executed,
        )
        try:
            client.execute()
        # Time is up, or the kernel died.
        except Exception as error:
            say("stopped", f"{type(error).__name__}: {str(error)[:200]}")
    # What it did.
    outputs = [output for cell in cells for output in cell.outputs]
    errors = [output.evalue for output in outputs if output.output_type == "error"]
    plan = [output.text.strip() for output in outputs if "3 methods x" in output.get("text", "")]
    done = sum(cell.execution_count is not None for cell in cells)
    seconds = time.monotonic() - began
    counted = f"{done} of {len(cells)} code cells in {seconds:.0f} s, {len(errors)} failed"
    form = "short form" if os.environ.get("RLVR_FAST") else "whole"
    form = "its first cells" if args.quick else form
    say(f"09, {form}", "\n".join([counted, *plan]), errors=[text[:300] for text in errors])
    if errors or done < len(cells):
        sys.exit(counted)


def notebook_environment(args: argparse.Namespace) -> dict[str, str]:
    """Which model it takes, and whether it trains in full."""
    model = args.model or ("tiny" if args.quick else "")
    if Path(model).is_dir():
        model = str(Path(model).resolve())
    short = args.quick or args.seconds < WHOLE_NOTEBOOK
    return ({"RLVR_MODEL": model} if model else {}) | ({"RLVR_FAST": "1"} if short else {})
