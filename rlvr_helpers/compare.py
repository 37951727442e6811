"""Which one wins, and can you tell? The same start, problems, noise and token budget for each method, several seeds.

    python -m rlvr_helpers.compare --model tiny --seeds 3 --out runs/tiny

It may be stopped at any time; the same command goes on where it stopped. The notebook 09 calls the same code.
"""

import argparse
import logging
import math
import os
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO, METHODS, Method, method_by_name
from rlvr_helpers.models import KNOWN, Policy, is_here, load_policy, save_policy
from rlvr_helpers.problems import load_problems
from rlvr_helpers.records import StepRecord
from rlvr_helpers.runs import Run, load_run, provenance, save_run
from rlvr_helpers.side_by_side import cores, side_by_side
from rlvr_helpers.tables import format_differences, format_table, table_rows
from rlvr_helpers.training import TrainSettings, train

log = logging.getLogger("rlvr_helpers.compare")


@dataclass(frozen=True)
class Comparison:
    """What is compared: every method with every seed, on one policy. Everything but the method is shared.

    out: folder for the runs (one JSON file each), their checkpoints and the trained models; None keeps nothing.
    eval_count: held-out problems that are evaluated, the first ones of the test split.
    workers: runs that are made side by side, each in a process of its own with one thread; 1: one after the other.
    """

    policy: str = "tiny"
    methods: tuple[Method, ...] = (GRPO, DR_GRPO, GSPO)
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: TrainSettings = field(default_factory=TrainSettings)
    problems: str | None = None
    eval_count: int = 200
    out: str | Path | None = None
    workers: int = 1

    @property
    def source(self) -> str:
        """Where the problems come from."""
        return self.problems or problems_for(self.policy)

    def new_run(self, method: Method, seed: int) -> Run:
        """A run of this comparison that has no records yet."""
        return Run(
            method,
            replace(self.settings, seed=seed),
            [],
            provenance(self.policy, self.source, eval_count=self.eval_count),
        )

    def cases(self) -> list[tuple[Method, int]]:
        """All (method, seed) pairs, seed by seed, so that a stopped comparison holds whole comparisons."""
        return [(method, seed) for seed in self.seeds for method in self.methods]

    def folder(self, method: Method, seed: int) -> Path | None:
        name = method.name.lower().replace(". ", "_").replace(" ", "_")
        return Path(self.out) / f"{name}-seed{seed}" if self.out is not None else None


@dataclass(frozen=True)
class Progress:
    """One record of a comparison that is under way. done counts steps of all runs, out of total; run_steps is the
    length of this run. read_back: the run was finished before, and this record comes from its file."""

    method: Method
    seed: int
    record: StepRecord
    done: int
    total: int
    run_steps: int
    read_back: bool = False


def run_comparison(comparison: Comparison, results: dict[str, list[Run]]) -> Iterator[Progress]:
    """Runs what is not done yet and yields every record; runs are put into `results` by method name, seeds in order.

    With an `out` folder each run is checkpointed at every step, saved when it ends and read back next time.
    """
    cases = comparison.cases()
    tasks = [(comparison, method, seed) for method, seed in cases]
    if comparison.workers > 1:
        items = side_by_side(run_case, tasks, comparison.workers)
    else:
        items = ((number, item) for number, task in enumerate(tasks) for item in run_case(task))
    runs: dict[int, Run] = {}
    done, total = 0, comparison.settings.steps * len(cases)
    try:
        for number, item in items:
            if isinstance(item, Run):
                runs[number] = item
                continue
            record, read_back = item
            if number not in runs:
                runs[number] = comparison.new_run(*cases[number])
            runs[number].records.append(record)
            done += 1
            yield Progress(*cases[number], record, done, total, comparison.settings.steps, read_back)
    finally:  # also where the reader stops in the middle of a run: what there is can be looked at
        items.close()
        for number in sorted(runs):
            results.setdefault(runs[number].method.name, []).append(runs[number])


def run_case(task: tuple[Comparison, Method, int]) -> Iterator[tuple[StepRecord, bool] | Run]:
    """One run: each record and whether it was read back from a finished run, and at last the run as it is saved."""
    comparison, method, seed = task
    folder, run = comparison.folder(method, seed), comparison.new_run(method, seed)
    finished = read_finished(folder, method, run.settings)
    if finished:
        yield from ((record, True) for record in finished.records)
        yield finished
        return
    source, policy = comparison.source, load_policy(comparison.policy)
    eval_problems = load_problems("test", source)[: comparison.eval_count]
    checkpoints = folder / "checkpoint" if folder else None
    for record in train(
        policy, load_problems("train", source), method, run.settings,
        eval_problems=eval_problems, checkpoint_dir=checkpoints,
    ):  # fmt: skip
        run.records.append(record)
        yield record, False
    if folder:
        save_policy(policy, folder / "model")
        save_run(run, folder / "run.json")
    yield run


def read_finished(folder: Path | None, method: Method, settings: TrainSettings) -> Run | None:
    """The saved run of a folder. Raises ValueError if it was made with another method or other settings."""
    if folder is None or not (folder / "run.json").exists():
        return None
    run = load_run(folder / "run.json")
    if run.method != method or run.settings != settings:
        raise ValueError(
            f"{folder.name!r} holds a run with other settings: choose another folder for `out`, or repeat "
            f"with {run.method} and {run.settings}"
        )
    return run


def problems_for(policy: str) -> str:
    """The problems that suit a policy: tiny has word problems, SmolLM2 sums, Qwen GSM8K."""
    return KNOWN[policy].problems if policy in KNOWN else "tiny"


def calibrate_clip_range(policy_name: str = "tiny", method: Method = GSPO, settings: TrainSettings | None = None,
                         share: float = 0.30) -> tuple[float, float, list[StepRecord]]:  # fmt: skip
    """A clip range for a method from a pilot without the clip, on training problems: (clip_low, clip_high, records).

    epsilon is where |log ratio| is exceeded by `share` of the ratios of the last pass, the median over the pilot's steps;
    about half of those have the sign that makes the clip bind. Low and high keep the paper's proportion of 3 to 4.
    """
    settings = settings or TrainSettings(steps=8, seed=1000)
    pilot = replace(method, clip_low=math.inf, clip_high=math.inf)
    problems = load_problems("train", problems_for(policy_name))
    records = list(train(load_policy(policy_name), problems, pilot, settings))
    level = "token_log_ratio" if method.ratio_level == "token" else "sequence_log_ratio"
    found = [exceeded_by(getattr(r, level), share) for r in records if getattr(r, level) is not None]
    epsilon = statistics.median(found)
    return epsilon * 6 / 7, epsilon * 8 / 7, records


def exceeded_by(distribution, share: float) -> float:
    """The epsilon that |x| exceeds in this share of a distribution, by bisection on its histogram."""
    low, high = 0.0, max(abs(distribution.low), abs(distribution.high))
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if distribution.share_outside(-middle, middle) > share else (low, middle)
    return high


# -- which policy, and the command line -----------------------------------------------------------------------------


def choose_policy() -> tuple[str, str]:
    """The largest policy that fits this machine and is already on it, and the reason in words."""
    if os.environ.get("RLVR_MODEL"):
        return os.environ["RLVR_MODEL"], "the environment variable RLVR_MODEL names it"
    if not torch.cuda.is_available():
        return "tiny", "there is no GPU here; tiny trains on any CPU in minutes"
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    for name, needed in (("qwen2.5-1.5b", 60), ("qwen2.5-0.5b", 24), ("smollm2-135m", 8)):
        if memory >= needed and is_here(KNOWN[name]):
            return name, f"it is on this machine and fits the GPU ({memory:.0f} GiB, it needs about {needed})"
    return "tiny", "no larger policy is both on this machine and small enough for its GPU"


# What one run of 32 steps adds on two cores, where two go side by side: 33 s on an Intel Xeon; an AMD EPYC took 52 s for
# 40 steps. Between the two, since a promise should hold on the slower one. Others are not measured yet.
SECONDS_A_RUN = {"tiny": 45}


def plan_comparison(
    model: str | None = None, seeds: int | None = None, steps: int | None = None, out: str | Path = "runs"
) -> Comparison:
    """The comparison of notebook 09, and in print what will run, why and for about how long.

    None: the largest policy that fits this machine and is on it (the variable RLVR_MODEL of the environment comes
    first), three seeds where they take less than ten minutes and else one, the default number of steps.
    """
    if os.environ.get("RLVR_FAST"):  # a short form for tests of the notebook itself
        seeds, steps = 1, 4
    name, reason = (model, "you chose it") if model else choose_policy()
    settings = TrainSettings(steps=steps) if steps else TrainSettings()
    known = SECONDS_A_RUN.get(name)
    one_seed = known and known * settings.steps / TrainSettings.steps * 3
    seeds = seeds or (3 if one_seed and one_seed * 3 <= 600 else 1)
    folder = Path(out) / f"{Path(name).name}-{settings.steps}-steps"
    comparison = Comparison(
        name, seeds=tuple(range(seeds)), settings=settings, out=folder, workers=workers_for(name, 3 * seeds)
    )
    expected = f"about {one_seed * seeds / 60:.0f} minutes on two CPU cores" if known else "a time not yet measured"
    print(
        f"{name}: {reason}.\n3 methods x {seeds} seeds x {settings.steps} steps: {expected}. Kept in {folder.as_posix()}."
    )
    return comparison


def workers_for(name: str, runs: int) -> int:
    """How many runs to make side by side: `tiny` one a core, at most four (each takes 0.6 GB); larger policies one."""
    return min(cores(), runs, 4) if name == "tiny" else 1


def load_trained(comparison: Comparison, method: Method, seed: int = 0) -> tuple[Policy, Policy]:
    """The start policy, and the one that a run of the comparison trained, both loaded from their folders."""
    folder = comparison.folder(method, seed)
    if folder is None or not (folder / "model").is_dir():
        raise ValueError(f"{method.name} with seed {seed} has no trained model yet: let its run end first")
    return load_policy(comparison.policy), load_policy(str(folder / "model"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m rlvr_helpers.compare", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help=f"{', '.join(KNOWN)}, or a folder")
    parser.add_argument("--problems", help="tiny, arithmetic, gsm8k, or a folder; default: what suits the model")
    parser.add_argument("--methods", default="grpo,dr_grpo,gspo", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0")
    parser.add_argument("--steps", type=int, default=TrainSettings.steps)
    parser.add_argument("--eval-count", type=int, default=200, help="held-out problems that are evaluated")
    parser.add_argument("--workers", type=int, help="runs side by side, one thread each; default: what suits the model")
    parser.add_argument("--out", required=True, help="folder for runs, checkpoints and models; also where to go on")
    options = parser.parse_args(arguments)
    try:
        methods = tuple(method_by_name(name) for name in options.methods.split(","))
        comparison = Comparison(
            options.model, methods, tuple(range(options.seeds)), TrainSettings(steps=options.steps), options.problems,
            options.eval_count, options.out, options.workers or workers_for(options.model, len(methods) * options.seeds),
        )  # fmt: skip
        results = run_with_progress_bar(comparison)
    except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    text = format_table(table_rows(results)) + "\n\n" + format_differences(results)
    print(text)
    (Path(options.out) / "table.txt").write_text(text + "\n", encoding="utf-8")
    return 0


def run_with_progress_bar(comparison: Comparison) -> dict[str, list[Run]]:
    """Runs a comparison with a progress bar, and a line in `log.txt` for each step."""
    out = Path(comparison.out)
    out.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(out / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    results: dict[str, list[Run]] = {}
    try:
        with tqdm(total=comparison.settings.steps * len(comparison.cases()), unit="step") as bar:
            for progress in run_comparison(comparison, results):
                record = progress.record
                bar.update(progress.done - bar.n)
                bar.set_description(f"{progress.method.name} seed {progress.seed}: reward {record.reward_mean:.2f}")
                log.info("%s seed %d %s", progress.method.name, progress.seed, summary(record))
    finally:
        log.removeHandler(handler)
        handler.close()
    return results


def summary(record: StepRecord) -> str:
    """A record in one line."""
    held_out = f", held-out {record.eval.accuracy:.3f}" if record.eval else ""
    return (
        f"step {record.step}: reward {record.reward_mean:.3f}{held_out}, clip {record.clip_fraction:.4f} of {record.clip_unit}, "
        f"length {record.length_mean:.1f}, gradient norm {record.grad_norm:.3f}, {record.total_tokens} tokens"
    )


if __name__ == "__main__":
    sys.exit(main())
