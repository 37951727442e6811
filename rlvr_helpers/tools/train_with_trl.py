"""The course's method, model, problems and settings, trained by TRL's GRPOTrainer.

    python -m rlvr_helpers.tools.train_with_trl --method gspo --steps 60 --out runs/trl
    accelerate launch --num_processes 2 -m rlvr_helpers.tools.train_with_trl --out runs/trl
    torchrun --nproc-per-node 2 -m rlvr_helpers.tools.train_with_trl --model tiny --out runs/trl

The first is one process, the second two GPUs, the third two processes on a CPU (of which
`accelerate launch` starts only one). Each process holds the whole model and its share of the rows.
`load_policy("runs/trl/model")` reads what was trained. A scorer of your own, its problems and your
method are given as to `rlvr_helpers.compare`.

Each step has the problems and the learning rate that `training.train` would give it. Three things
differ. TRL draws its own noise. It shuffles the rows of a rollout, so that a mini-batch is not made
of whole groups. Its weight decay, 0 here, spares biases and norms.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from rlvr_helpers.compare import PROBLEMS, read_settings
from rlvr_helpers.engine.error_notes import say
from rlvr_helpers.engine.large import DTYPES, best_compute_dtype
from rlvr_helpers.engine.names import load_by_name
from rlvr_helpers.evaluation import Evaluation, evaluate
from rlvr_helpers.methods import METHODS, Method, method_by_name, method_from_text
from rlvr_helpers.models import KNOWN, load_policy, save_policy
from rlvr_helpers.problems import load_problems
from rlvr_helpers.study.recipes import settings_for
from rlvr_helpers.study.trl import COMMAND, OneOfSeveral, make_trainer, processes, require_trl
from rlvr_helpers.train_settings import TrainSettings

# Settings that are options of their own.
WHOLE_NUMBERS = (
    "steps prompts_per_step group_size epochs minibatches max_tokens micro_batch_rows seed"
    " warmup_steps decay_steps"
).split()
NUMBERS = ("learning_rate", "temperature")


def is_main() -> bool:
    """Whether this is the main process."""
    return os.environ.get("RANK", "0") == "0"


def on_cpu(model: str) -> bool:
    """Whether to train on the CPU: as `load_policy` chooses (tiny is faster there), or as
    accelerate was told."""
    told = os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("1", "true")
    return told or model == "tiny" or not torch.cuda.is_available()


def print_accuracy(when: str, evaluation: Evaluation) -> None:
    """A line with the held-out accuracy and its interval."""
    low, high = evaluation.interval
    print(
        f"held-out accuracy {when}: {evaluation.accuracy:.1%} (95 % interval {low:.1%} to"
        f" {high:.1%}; greedy, {len(evaluation.strict)} problems)",
        flush=True,
    )


def run(
    options: argparse.Namespace,
    settings: TrainSettings,
    reward_func: Callable[..., list[float]] | None = None,
) -> None:
    """The whole run of the command line. Only the main process evaluates, saves and prints."""
    require_trl()
    # A wrong number of processes is said before anything is loaded.
    processes()
    method = read_method(options.method)
    scorer = load_by_name(options.scorer, "scorer") if options.scorer else None
    out = Path(options.out)
    if (out / "model").exists():
        raise ValueError(
            f"{out.name!r} holds a trained model already: choose another folder for --out, or move"
            " it away"
        )
    out.mkdir(parents=True, exist_ok=True)
    # What is trained, on which problems. The trainer moves it to the device of its process.
    policy = load_policy(options.model, device="cpu")
    source = options.problems or policy.problems
    train, test = (load_problems(split, source, scorer is None) for split in ("train", "test"))
    trainer = make_trainer(
        policy,
        train,
        method,
        settings=settings,
        out=out,
        use_cpu=on_cpu(options.model),
        scorer=scorer,
        reward_func=reward_func,
        **config_of(options, settings),
    )
    # Training, between two evaluations.
    evaluated = {"problems": test[: options.eval_count], "max_tokens": settings.max_tokens}
    if is_main():
        print_accuracy("before", evaluate(policy, **evaluated, scorer=scorer))
    trainer.train(resume_from_checkpoint=any(out.glob("checkpoint-*")))
    trainer.save_state()
    if is_main():
        print_accuracy("after", evaluate(policy, **evaluated, scorer=scorer))
        folder = save_policy(policy, out / "model")
        print(f'saved: load_policy("{folder.as_posix()}")')
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def read_method(text: str) -> Method:
    """A method by its short name, or one of your own, as in `compare --method`."""
    return method_from_text(text) if "=" in text else method_by_name(text)


def config_of(options: argparse.Namespace, settings: TrainSettings) -> dict[str, object]:
    """The arguments of GRPOConfig that are no part of method and settings."""
    device = "cpu" if on_cpu(options.model) else "cuda"
    compute = DTYPES[options.compute] if options.compute else best_compute_dtype(device)
    config = {"report_to": options.report_to}
    config |= {"bf16": compute == torch.bfloat16, "fp16": compute == torch.float16}
    # TRL counts updates, where the command line counts steps.
    if options.save_every:
        updates = settings.epochs * settings.minibatches
        config |= {"save_strategy": "steps", "save_steps": options.save_every * updates}
        config |= {"save_total_limit": 1}
    return config


def settings_of(options: argparse.Namespace) -> TrainSettings:
    """What suits the model, with what the command line says. A budget of tokens becomes 8 rows,
    since TRL counts rows."""
    settings = settings_for(options.model)
    if settings.micro_batch_tokens:
        settings = replace(settings, micro_batch_tokens=None, micro_batch_rows=8)
    # An option that is not given changes nothing.
    names = ("gradient_checkpointing", "eight_bit_optimizer", *NUMBERS, *WHOLE_NUMBERS)
    given = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    return replace(settings, **given, **read_settings(options.set))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    add = parser.add_argument
    # What is trained, on what, and how.
    add("--model", default="tiny", help=f"{', '.join(KNOWN)}, or a folder")
    add("--problems", help=PROBLEMS)
    add("--scorer", metavar="MODULE:FUNCTION", help="a scorer of your own, as in compare")
    add(
        "--method",
        default="grpo",
        help=f"one of {', '.join(METHODS)}, or one of your own, as in compare",
    )
    # Where the results go.
    add("--out", required=True, help="folder for the trained model and TRL's trainer_state.json")
    add("--save-every", type=int, help="steps between checkpoints; the same command resumes them")
    add("--report-to", default="none", help="a tracker of TRL, as tensorboard or trackio")
    add(
        "--compute",
        choices=tuple(DTYPES),
        help="of matrix products; default: what suits the device",
    )
    add("--eval-count", type=int, default=200, help="held-out problems that are evaluated")
    # Settings: any of them, and the usual ones by name.
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="any of TrainSettings")
    for name in NUMBERS:
        add(f"--{name.replace('_', '-')}", type=float, help="default: what suits the model")
    for name in WHOLE_NUMBERS:
        add(f"--{name.replace('_', '-')}", type=int)
    add("--gradient-checkpointing", action="store_true", default=None)
    add("--eight-bit-optimizer", action="store_true", default=None)
    return parser


def main(
    arguments: list[str] | None = None, reward_func: Callable[..., list[float]] | None = None
) -> int:
    """The command line. reward_func: paid instead of the scorer, as TRL calls it."""
    options = parser().parse_args(arguments)
    try:
        run(options, settings_of(options), reward_func)
    except OneOfSeveral as error:
        # 0, since accelerate answers any other number with a traceback of its own.
        print(f"nothing was trained: {error}", file=sys.stderr)
        return 0
    # Every process says it, since the launcher ends the others at the first exit.
    except Exception as error:
        return say(error)
    except KeyboardInterrupt:
        print("\nstopped; only what --save-every saved is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
