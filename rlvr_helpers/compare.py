"""Which one wins, and can you tell? The same start, problems, noise and token budget for each
method, several seeds.

    python -m rlvr_helpers.compare --model tiny --seeds 3 --out runs/tiny
    python -m rlvr_helpers.compare --preset original --out runs/original     # see `presets`
    python -m rlvr_helpers.compare --problems my_folder --scorer my_task:score --out runs/mine

You can stop it at any time. The same command resumes it. Notebook 09 calls the same code.
"""

import signal

# Ctrl-C while torch is imported ends the command without a traceback.
if __name__ == "__main__":
    heard = signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import ast
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from rlvr_helpers import _moved
from rlvr_helpers.engine.error_notes import say
from rlvr_helpers.engine.interrupts import finishing_steps
from rlvr_helpers.engine.large import DTYPES
from rlvr_helpers.engine.names import load_by_name
from rlvr_helpers.methods import METHODS, method_by_name, method_from_text
from rlvr_helpers.models import KNOWN
from rlvr_helpers.records import StepRecord
from rlvr_helpers.study import presets
from rlvr_helpers.study.comparison import Comparison, run_comparison
from rlvr_helpers.study.pilot import with_calibration
from rlvr_helpers.study.recipes import (
    eval_count_for,
    on_this_card,
    problems_for,
    settings_for,
    workers_for,
)
from rlvr_helpers.study.runs import Run
from rlvr_helpers.study.tables import format_differences, format_table, table_rows
from rlvr_helpers.study.trackers import TRACKERS, tracked
from rlvr_helpers.train_settings import TrainSettings

log = logging.getLogger("rlvr_helpers.compare")

PROBLEMS = (
    "tiny, arithmetic, addition, two_step, gsm8k, reasoning_gym:NAME, or a folder with train and"
    " test files (.jsonl, .csv or .parquet); default: what suits the model"
)


# -- the command line


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.corrections:
            print(presets.describe_corrections(tuple(options.without)))
            return 0
        # Whatever a user can cause ends in one sentence, not in a traceback.
        comparison = comparison_of(options)
        results = run_with_progress_bar(comparison, tracker_of(options))
    except Exception as error:
        return say(error)
    except KeyboardInterrupt:
        print("\nstopped; the same command continues from here", file=sys.stderr)
        return 130
    # The table, on the screen and in a file.
    text = format_table(table_rows(results)) + "\n\n" + format_differences(results)
    print(text)
    (Path(options.out) / "table.txt").write_text(text + "\n", encoding="utf-8")
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rlvr_helpers.compare", description=__doc__.splitlines()[0]
    )
    add_what(parser.add_argument)
    add_how(parser.add_argument)
    return parser


def add_what(add: Callable) -> None:
    """The options that say what is compared."""
    add("--model", help=f"{', '.join(KNOWN)}, or a folder; default: tiny, or the preset's")
    add("--problems", help=PROBLEMS)
    add("--scorer", metavar="MODULE:FUNCTION", help="a scorer of your own, instead of the reward")
    add("--methods", help=f"of {', '.join(METHODS)}; default: grpo,dr_grpo,gspo, or the preset's")
    add(
        "--method",
        action="append",
        default=[],
        metavar="NAME=VALUE,...",
        help='a method of your own, as "name=GSPO wide,ratio_level=sequence,clip_low=0.2"; what is'
        " left out is as in GRPO",
    )
    # How many runs, how long, and how they are measured.
    add("--seeds", help="how many seeds, from 0, as 3, or the seeds themselves, as 4,5,6")
    add("--steps", type=int)
    add(
        "--eval-count",
        type=int,
        help="held-out problems that are evaluated; default: 200, all of gsm8k, or the preset's",
    )
    # Ready-made comparisons, and changes to them.
    add("--preset", choices=("original", "fair"), help="see rlvr_helpers/study/presets.py")
    add(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help="of the preset original: put a fault back",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any of TrainSettings, as prompts_per_step=4",
    )
    add("--calibrate", action="store_true", help="find GSPO's clip range by a pilot first")


def add_how(add: Callable) -> None:
    """The options that say how it is run, and where its results go."""
    # Where it runs and how, which does not change what is compared.
    add("--out", help="folder for runs, checkpoints and models; also where to continue")
    add(
        "--workers",
        type=int,
        help="runs side by side, one thread each; default: what suits the model",
    )
    add(
        "--lora-rank",
        type=int,
        help="train LoRA of this rank; 0: all weights; default: what fits the GPU",
    )
    add(
        "--compute",
        choices=tuple(DTYPES),
        help="of matrix products; default: what suits the device",
    )
    # What is shown besides the table.
    add("--track", choices=tuple(TRACKERS), help="also into this tracker, if it is installed")
    add(
        "--corrections",
        action="store_true",
        help="list the corrections of the preset original, and do nothing",
    )


def comparison_of(options: argparse.Namespace) -> Comparison:
    """The comparison that the command line asks for. Raises ValueError on what makes none."""
    if not options.out:
        raise ValueError("--out is missing: give the folder for runs, checkpoints and models")
    if options.without and options.preset != "original":
        raise ValueError("--without belongs to --preset original: give both, or neither")
    # Begin with the preset, or with what suits the model.
    model = options.model or ("qwen2.5-1.5b" if options.preset else "tiny")
    comparison = starting_point(options, model)
    # What the command line says about methods, seeds, problems and the scorer.
    own_methods = tuple(method_from_text(text) for text in options.method)
    if options.methods is not None:
        named = tuple(method_by_name(name.strip()) for name in options.methods.split(","))
        own_methods = named + own_methods
    given = {
        "problems": options.problems,
        "eval_count": options.eval_count,
        "compute": options.compute,
        "methods": own_methods or None,
        "seeds": None if options.seeds is None else read_seeds(options.seeds),
        "calibrate": options.calibrate or None,
        "out": options.out,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if options.scorer:
        given |= {"scorer": load_by_name(options.scorer, "scorer"), "reward": None}
    # Its settings, and what of this machine they take.
    steps = {"steps": options.steps} if options.steps is not None else {}
    settings = replace(comparison.settings, **read_settings(options.set), **steps)
    rank = options.lora_rank
    if rank is None:
        settings, rank = on_this_card(model, settings)
    comparison = replace(comparison, **given, settings=settings, lora_rank=rank or None)
    # As many workers as there are runs, or fewer.
    runs = len(comparison.methods) * len(comparison.seeds)
    workers = workers_for(model, runs) if options.workers is None else options.workers
    return replace(comparison, workers=workers)


def starting_point(options: argparse.Namespace, model: str) -> Comparison:
    """The comparison that the other options change: the preset's, or what suits the model."""
    if options.preset == "original":
        return replace(presets.original(tuple(options.without)), policy=model)
    if options.preset == "fair":
        return presets.fair(model)
    # Without a preset everything suits the model.
    count = eval_count_for(options.problems or problems_for(model))
    return Comparison(model, settings=settings_for(model), eval_count=count)


def read_seeds(text: str) -> tuple[int, ...]:
    """The seeds of "3", which are 0, 1 and 2, or of "4,5,6". Raises ValueError on other texts."""
    try:
        seeds = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        seeds = []
    if not seeds or "," not in text and seeds[0] < 1:
        raise ValueError(
            f"--seeds {text}: give how many seeds, as 3, or the seeds themselves, as 4,5,6"
        )
    return tuple(seeds) if "," in text else tuple(range(seeds[0]))


def read_settings(pairs: list[str]) -> dict:
    """The changes in ["prompts_per_step=4", ...]. Raises ValueError on a name or value that
    TrainSettings does not have."""
    changes = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        # Each run gets a seed of its own, so this one would have no effect.
        if name == "seed":
            raise ValueError(f"--set {pair}: the seeds of a comparison are given by --seeds")
        if name not in TrainSettings.__dataclass_fields__:
            known = ", ".join(TrainSettings.__dataclass_fields__)
            raise ValueError(f"--set {pair}: there is no setting {name!r}; there are {known}")
        try:
            # A value is read as Python writes it, and never run.
            changes[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            raise ValueError(f"--set {pair}: {value!r} is no number, True, False or None") from None
    return changes


STOPPING = (
    "stopping after the step under way. Once more stops at once, without what was not saved yet"
)


def tracker_of(options: argparse.Namespace) -> Callable | None:
    """The tracker that is asked for. TensorBoard's files lie in the folder `board` of --out."""
    if options.track is None:
        return None
    return TRACKERS[options.track](
        Path(options.out) / "board" if options.track == "tensorboard" else Path(options.out).name
    )


def run_with_progress_bar(
    comparison: Comparison, tracker: Callable | None = None
) -> dict[str, list[Run]]:
    """Runs a comparison with a progress bar, and a line in `log.txt` for each step."""
    # The log stands beside the results.
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
        with (
            tqdm(total=total, unit="step") as bar,
            finishing_steps(lambda: bar.write(STOPPING)) as interrupted,
        ):
            # Show each step in the bar, in the log and in the tracker.
            trackers = [] if tracker is None else [tracker]
            for progress in tracked(run_comparison(comparison, results), *trackers):
                record = progress.record
                bar.update(progress.done - bar.n)
                bar.set_description(
                    f"{progress.method.name} seed {progress.seed}: reward {record.reward_mean:.2f}"
                )
                log.info("%s seed %d %s", progress.method.name, progress.seed, summary(record))
                # The generator's end saves what is not saved yet.
                if interrupted():
                    raise KeyboardInterrupt
    finally:
        log.removeHandler(handler)
        handler.close()
    return results


def summary(record: StepRecord) -> str:
    """A record in one line."""
    # What only some steps have.
    held_out = f", held-out {record.eval.accuracy:.3f}" if record.eval else ""
    parts = "".join(f", {name} {value:.3f}" for name, value in record.parts.items())
    share = record.clip_fraction
    clip = "" if share is None else f", clip {share:.4f} of {record.clip_unit}"
    return (
        f"step {record.step}: reward {record.reward_mean:.3f}{parts}{held_out}{clip},"
        f" length {record.length_mean:.1f},"
        f" gradient norm {record.grad_norm:.3f}, {record.total_tokens} tokens"
    )


# Names of the first edition that now stand elsewhere.
__getattr__ = _moved.names(
    __name__,
    "Comparison calibrate_clip_range load_trained run_comparison run_pilot with_calibration",
)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, heard)
    sys.exit(main())
