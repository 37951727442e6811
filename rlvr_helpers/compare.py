"""Which one wins, and can you tell? The same start, problems, noise and token budget for each method, several seeds.

    python -m rlvr_helpers.compare --model tiny --seeds 3 --out runs/tiny
    python -m rlvr_helpers.compare --preset original --out runs/original     # see `presets`

It may be stopped at any time; the same command goes on where it stopped. The notebook 09 calls the same code.
"""

import argparse
import ast
import json
import logging
import math
import shutil
import statistics
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from rlvr_helpers.checkpoints import Checkpoints, identity_of, remove_dead_parts, write_whole
from rlvr_helpers.interrupts import finishing_steps
from rlvr_helpers.json_files import read_json
from rlvr_helpers.large import DTYPES, add_lora, merge_lora
from rlvr_helpers.locks import one_owner
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO, METHODS, Method, method_by_name
from rlvr_helpers.models import KNOWN, Policy, load_policy, save_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.records import StepRecord
from rlvr_helpers.rewards import REWARDS
from rlvr_helpers.runs import Run, load_run, provenance, save_run
from rlvr_helpers.settings import eval_count_for, on_this_card, problems_for, settings_for, workers_for
from rlvr_helpers.side_by_side import side_by_side
from rlvr_helpers.tables import format_differences, format_table, table_rows
from rlvr_helpers.training import TrainSettings, train

log = logging.getLogger("rlvr_helpers.compare")


@dataclass(frozen=True)
class Comparison:
    """What is compared: every method with every seed, on one policy. Everything but the method is shared.

    out: folder for the runs (one JSON file each), their checkpoints and the trained models; None keeps nothing.
    eval_count: held-out problems that are evaluated, the first ones of `eval_split`; those of "train" are kept out of
        training, as the original comparison did.
    workers: runs that are made side by side, each in a process of its own with one thread; 1: one after the other.
    reward: a name in `rewards.REWARDS`.
    lora_rank: train LoRA of this rank instead of all weights.
    compute: what matrix products are made in, a name in `large.DTYPES`; None: what suits the device.
    faults: of the original comparison, put back: "chat_template", "end_tokens", "float32_masters" (see `presets`).
    calibrate: find the clip range of sequence-level methods by a pilot first (`with_calibration`).
    """

    policy: str = "tiny"
    methods: tuple[Method, ...] = (GRPO, DR_GRPO, GSPO)
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: TrainSettings = field(default_factory=TrainSettings)
    problems: str | None = None
    eval_count: int = 200
    out: str | Path | None = None
    workers: int = 1
    eval_split: str = "test"
    reward: str = "correctness"
    lora_rank: int | None = None
    compute: str | None = None
    faults: tuple[str, ...] = ()
    calibrate: bool = False

    def __post_init__(self):
        names = [method.name for method in self.methods]
        for what, items in (("methods", names), ("seeds", self.seeds)):
            if not items or len(set(items)) < len(items):
                raise ValueError(f"{what} must be one or more, each once (methods by name), not {list(items)}")
        if self.eval_count < 1 or self.workers < 1:
            raise ValueError(f"eval_count and workers must be at least 1, not {self.eval_count} and {self.workers}")

    @property
    def source(self) -> str:
        """Where the problems come from."""
        return self.problems or problems_for(self.policy)

    @property
    def identity(self) -> dict:
        """What makes a run what it is, beside its method and settings; as it is read back from a file."""
        names = ("policy", "source", "eval_count", "eval_split", "reward", "lora_rank", "compute", "faults")
        return {name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in names}

    def new_run(self, method: Method, seed: int) -> Run:
        """A run of this comparison that has no records yet."""
        mine = ("eval_count", "eval_split", "reward", "lora_rank", "compute", "faults", "calibrate")
        usual = Comparison()
        more = {name: getattr(self, name) for name in mine if getattr(self, name) != getattr(usual, name)}
        return Run(
            method,
            replace(self.settings, seed=seed),
            [],
            provenance(self.policy, self.source, **{"eval_count": self.eval_count} | more),
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

    With an `out` folder each run is checkpointed (`TrainSettings.checkpoint_every`), saved when it ends and read back
    next time. Its checkpoint is removed once it is saved, and the start model that the runs share once all are.
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
        if comparison.out is not None:
            remove_start_model(Path(comparison.out))
    finally:  # also where the reader stops in the middle of a run: what there is can be looked at
        items.close()
        for number in sorted(runs):
            results.setdefault(runs[number].method.name, []).append(runs[number])


def run_case(task: tuple[Comparison, Method, int]) -> Iterator[tuple[StepRecord, bool] | Run]:
    """One run: each record and whether it was read back from a finished run, and at last the run as it is saved.

    Raises ValueError if another command is at work on this run.
    """
    folder = task[0].folder(*task[1:])
    finished = folder and (folder / "run.json").exists()  # it is read only
    with one_owner(None if finished else folder):
        yield from _run_case(*task)


def _run_case(comparison: Comparison, method: Method, seed: int) -> Iterator[tuple[StepRecord, bool] | Run]:
    folder, run = comparison.folder(method, seed), comparison.new_run(method, seed)
    finished = read_finished(folder, method, run.settings)
    if finished:
        check_identity(folder, comparison)
        remove_checkpoint(folder)  # the command may have been killed before it came to that
        yield from ((record, True) for record in finished.records)
        yield finished
        return
    if folder:
        check_identity(folder, comparison)
    policy, (problems, eval_problems) = start_policy(comparison, seed), split_problems(comparison)
    if folder:  # only now: a model or problems that are not there leave the folder free for a corrected command
        remove_dead_parts(folder)
        keep_identity(folder, comparison)
    kept = {"checkpoint_dir": folder / "checkpoint", "start_file": folder.parent / "start.pt"} if folder else {}
    reward = REWARDS[comparison.reward]
    for record in train(policy, problems, method, run.settings, reward, eval_problems=eval_problems, **kept):
        run.records.append(record)
        yield record, False
    merge_lora(policy.model)
    if folder:
        save_policy(policy, folder / "model")
        save_run(run, folder / "run.json")
        remove_checkpoint(folder)
    yield run


def remove_checkpoint(folder: Path) -> None:
    """Frees the disk of a checkpoint, several times as large as the model, whose run is saved."""
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)


def remove_start_model(out: Path) -> None:
    """Removes the start model that the runs of a comparison share, unless one of them may be resumed."""
    if not any(out.glob("*/checkpoint")):
        (out / "start.pt").unlink(missing_ok=True)


def keep_identity(folder: Path, comparison: Comparison) -> None:
    """Writes what a run is beside it, once."""
    file = folder / "comparison.json"
    if not file.exists() and not (folder / "run.json").exists():  # a run of an older version has none
        write_whole(file, lambda f: f.write(json.dumps(comparison.identity).encode()))


def check_identity(folder: Path, comparison: Comparison) -> None:
    """Raises ValueError where the folder holds a run that is something else: a checkpoint of it must not be gone on with,
    nor its result be taken for this one's."""
    file = folder / "comparison.json"
    found = read_json(file) if file.exists() else comparison.identity
    for name, value in comparison.identity.items():
        if found.get(name) != value:
            raise ValueError(
                f"{folder.name!r} holds a run with {name} = {found.get(name)!r}, not {value!r}: choose another folder for `out`"
            )


def start_policy(comparison: Comparison, seed: int = 0) -> Policy:
    """The policy that a run of the comparison starts from."""
    dtype = torch.bfloat16 if "float32_masters" in comparison.faults else torch.float32
    compute = DTYPES[comparison.compute] if comparison.compute else None
    policy = load_policy(comparison.policy, dtype=dtype, compute=compute)
    if "chat_template" in comparison.faults:
        policy.chat = False
    if "end_tokens" in comparison.faults:
        policy.end_ids = (policy.tokenizer.eos_token_id,)
    if comparison.lora_rank:
        torch.manual_seed(seed)
        add_lora(policy.model, comparison.lora_rank)
    return policy


def split_problems(comparison: Comparison) -> tuple[list[Problem], list[Problem]]:
    """The problems to train on and those to evaluate on."""
    problems, count = load_problems("train", comparison.source), comparison.eval_count
    if comparison.eval_split == "train":
        return problems[count:], problems[:count]
    return problems, load_problems("test", comparison.source)[:count]


def read_finished(folder: Path | None, method: Method, settings: TrainSettings) -> Run | None:
    """The saved run of a folder. Raises ValueError if it was made with another method or other settings."""
    if folder is None or not (folder / "run.json").exists():
        return None
    run = load_run(folder / "run.json")
    same = identity_of(run.settings) == identity_of(settings) and run.settings.steps == settings.steps
    if run.method != method or not same:
        raise ValueError(
            f"{folder.name!r} holds a run with other settings: choose another folder for `out`, or repeat "
            f"with {run.method} and {run.settings}"
        )
    return run


def calibrate_clip_range(
    policy: Policy | str = "tiny",
    method: Method = GSPO,
    settings: TrainSettings | None = None,
    share: float = 0.30,
    problems: list[Problem] | None = None,
) -> tuple[float, float, list[StepRecord]]:
    """A clip range for a method from a pilot without the clip, on training problems: (clip_low, clip_high, records).

    epsilon is where |log ratio| is exceeded by `share` of the ratios of the last pass, the median over the pilot's steps;
    about half of those have the sign that makes the clip bind. Low and high keep the paper's proportion of 3 to 4.
    The policy (a name, or a Policy, which is trained) is not to be used for the comparison itself.
    """
    settings = settings or TrainSettings(steps=8, seed=1000)
    pilot = replace(method, clip_low=math.inf, clip_high=math.inf)
    policy = load_policy(policy) if isinstance(policy, str) else policy
    records = list(train(policy, problems or load_problems("train", policy.problems), pilot, settings))
    level = "token_log_ratio" if method.ratio_level == "token" else "sequence_log_ratio"
    found = [exceeded_by(getattr(r, level), share) for r in records if getattr(r, level) is not None]
    if not found:
        raise ValueError("no group of the pilot had a signal: the problems are too hard for this policy, or too easy")
    epsilon = statistics.median(found)
    return epsilon * 6 / 7, epsilon * 8 / 7, records  # 3 to 4, and epsilon is their mean


PILOT_OF = ("policy", "problems", "reward", "lora_rank", "compute", "faults")  # what a kept pilot must share


def run_pilot(comparison: Comparison) -> tuple[float, float, list[StepRecord]]:
    """`calibrate_clip_range` for a comparison's policy, problems and settings: eight steps of GSPO without the clip. With
    an `out` folder the pilot is kept there in `pilot.json`, so that a comparison goes on with the range that it had."""
    folder = Path(comparison.out) if comparison.out is not None else None
    finished = folder and (folder / "pilot.json").exists()
    with one_owner(None if finished else folder):
        return _run_pilot(comparison)


def _run_pilot(comparison: Comparison) -> tuple[float, float, list[StepRecord]]:
    file = Path(comparison.out) / "pilot.json" if comparison.out is not None else None
    settings = replace(comparison.settings, steps=8, seed=1000)
    mine = comparison.new_run(GSPO, settings.seed)
    if file and file.exists():
        run = load_run(file)
        same = {key: run.provenance.get(key) == mine.provenance.get(key) for key in PILOT_OF}
        if identity_of(run.settings) != identity_of(settings) or not all(same.values()):
            raise ValueError(
                f"the pilot in {file.parent.name!r} was made with another policy, other problems or other settings: choose "
                "another folder for `out`"
            )
        return run.method.clip_low, run.method.clip_high, run.records
    policy, (problems, _) = start_policy(comparison), split_problems(comparison)
    low, high, records = calibrate_clip_range(policy, GSPO, settings, problems=problems)
    if file:
        run = replace(mine, settings=settings, records=records)
        save_run(replace(run, method=replace(GSPO, clip_low=low, clip_high=high)), file)
    return low, high, records


def with_calibration(comparison: Comparison) -> Comparison:
    """The comparison with the range that its pilot finds for sequence-level methods, if it asks for that."""
    if not comparison.calibrate:
        return comparison
    low, high, _ = run_pilot(comparison)
    methods = [
        replace(m, clip_low=low, clip_high=high) if m.ratio_level == "sequence" else m for m in comparison.methods
    ]
    return replace(comparison, methods=tuple(methods))


def exceeded_by(distribution, share: float) -> float:
    """The epsilon that |x| exceeds in this share of a distribution, by bisection on its histogram."""
    low, high = 0.0, max(abs(distribution.low), abs(distribution.high))
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if distribution.share_outside(-middle, middle) > share else (low, middle)
    return high


def load_trained(comparison: Comparison, method: Method, seed: int = 0) -> tuple[Policy, Policy]:
    """The start policy, and the one that a run of the comparison trained, from its folder; prompted alike.

    Of a run that was stopped it is the one of its last checkpoint, and a warning says of which step. Raises ValueError if
    there is none yet.
    """
    folder = comparison.folder(method, seed)
    if folder is not None and (folder / "model").is_dir():
        trained = load_policy(str(folder / "model"))
    elif folder is not None and (folder / "checkpoint" / "checkpoint.pt").exists():
        trained = start_policy(comparison, seed)
        step = Checkpoints(folder / "checkpoint", method, comparison.settings).load_weights(trained.model)
        merge_lora(trained.model)
        warnings.warn(f"{method.name} with seed {seed} was stopped: this is its model after step {step}", stacklevel=2)
    else:
        raise ValueError(f"{method.name} with seed {seed} has no trained model yet: let its run take a step first")
    start = start_policy(replace(comparison, lora_rank=None))
    for name in ("problems", "system_prompt", "examples", "chat", "end_ids", "compute"):
        setattr(trained, name, getattr(start, name))
    return start, trained


# -- the command line -----------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.corrections:
            from rlvr_helpers.presets import describe_corrections

            print(describe_corrections(tuple(options.without)))
            return 0
        comparison = comparison_of(options)
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


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rlvr_helpers.compare", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", help=f"{', '.join(KNOWN)}, or a folder; default: tiny, or the preset's")
    add(
        "--problems",
        help="tiny, arithmetic, addition, two_step, gsm8k, reasoning_gym:NAME, or a folder; default: what suits the model",
    )
    add("--methods", help=f"of {', '.join(METHODS)}; default: grpo,dr_grpo,gspo, or the preset's")
    add("--seeds", type=int, help="how many seeds, from 0; default: 3, or the preset's")
    add("--steps", type=int)
    add(
        "--eval-count",
        type=int,
        help="held-out problems that are evaluated; default: 200, all of gsm8k, or the preset's",
    )
    add("--workers", type=int, help="runs side by side, one thread each; default: what suits the model")
    add("--out", help="folder for runs, checkpoints and models; also where to go on")
    add("--preset", choices=("original", "fair"), help="see rlvr_helpers/presets.py")
    add("--without", action="append", default=[], metavar="NAME", help="of the preset original: put a fault back")
    add("--corrections", action="store_true", help="list the corrections of the preset original, and do nothing")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="any of TrainSettings, as prompts_per_step=4")
    add("--lora-rank", type=int, help="train LoRA of this rank; 0: all weights; default: what fits the GPU")
    add("--compute", choices=tuple(DTYPES), help="of matrix products; default: what suits the device")
    add("--calibrate", action="store_true", help="find GSPO's clip range by a pilot first")
    return parser


def comparison_of(options) -> Comparison:
    """The comparison that the command line asks for. Raises ValueError on what makes none."""
    from rlvr_helpers import presets  # they are made of this file's parts

    if not options.out:
        raise ValueError("--out is missing: the folder for runs, checkpoints and models")
    if options.without and options.preset != "original":
        raise ValueError("--without belongs to --preset original")
    model = options.model or ("qwen2.5-1.5b" if options.preset else "tiny")
    if options.preset == "original":
        comparison = replace(presets.original(tuple(options.without)), policy=model)
    elif options.preset == "fair":
        comparison = presets.fair(model)
    else:
        source = options.problems or problems_for(model)
        comparison = Comparison(model, settings=settings_for(model), eval_count=eval_count_for(source))
    given = {"problems": options.problems, "eval_count": options.eval_count, "compute": options.compute}
    if options.methods is not None:
        given |= {"methods": tuple(method_by_name(name) for name in options.methods.split(","))}
    if options.seeds is not None:
        given |= {"seeds": tuple(range(options.seeds))}
    given |= {"calibrate": options.calibrate or None}
    changes = read_settings(options.set) | ({"steps": options.steps} if options.steps is not None else {})
    settings, rank = replace(comparison.settings, **changes), options.lora_rank
    if rank is None:
        settings, rank = on_this_card(model, settings)
    comparison = replace(comparison, **{name: value for name, value in given.items() if value is not None})
    runs = len(comparison.methods) * len(comparison.seeds)
    workers = workers_for(model, runs) if options.workers is None else options.workers
    return replace(comparison, settings=settings, lora_rank=rank or None, out=options.out, workers=workers)


def read_settings(pairs: list[str]) -> dict:
    """The changes in ["prompts_per_step=4", ...]. Raises ValueError on a name or value that TrainSettings does not have."""
    changes = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name == "seed":
            raise ValueError(f"--set {pair}: the seeds of a comparison are given by --seeds")
        if name not in TrainSettings.__dataclass_fields__:
            known = ", ".join(TrainSettings.__dataclass_fields__)
            raise ValueError(f"--set {pair}: there is no setting {name!r}; there are {known}")
        try:
            changes[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            raise ValueError(f"--set {pair}: {value!r} is no number, True, False or None") from None
    return changes


STOPPING = "stopping after the step under way; once more: at once, without what was not saved yet"


def run_with_progress_bar(comparison: Comparison) -> dict[str, list[Run]]:
    """Runs a comparison with a progress bar, and a line in `log.txt` for each step."""
    out = Path(comparison.out)
    out.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(out / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    results: dict[str, list[Run]] = {}
    comparison = with_calibration(comparison)
    try:
        total = comparison.settings.steps * len(comparison.cases())
        with tqdm(total=total, unit="step") as bar, finishing_steps(lambda: bar.write(STOPPING)) as interrupted:
            for progress in run_comparison(comparison, results):
                record = progress.record
                bar.update(progress.done - bar.n)
                bar.set_description(f"{progress.method.name} seed {progress.seed}: reward {record.reward_mean:.2f}")
                log.info("%s seed %d %s", progress.method.name, progress.seed, summary(record))
                if interrupted():  # the generator's end saves what is not saved yet
                    raise KeyboardInterrupt
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
