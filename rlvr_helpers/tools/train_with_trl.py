"""On to an engine that others use: the course's method, model, problems and settings, trained by
TRL's GRPOTrainer.

    python -m rlvr_helpers.tools.train_with_trl --model tiny --method gspo --steps 60 --out runs/trl
    accelerate launch --num_processes 2 -m rlvr_helpers.tools.train_with_trl --model qwen2.5-0.5b
    --out runs/trl torchrun --nproc-per-node 2 -m rlvr_helpers.tools.train_with_trl --model tiny
    --out runs/trl

One process; two GPUs; two processes on a CPU, of which `accelerate launch` starts one only. Each
process holds the whole model and its share of the rows. `load_policy("runs/trl/model")` reads what
was trained.

Each step has the problems and the learning rate that `training.train` would give it. Three things
differ: TRL draws its own noise; it shuffles the rows of a rollout, so that a mini-batch is not made
of whole groups; and its weight decay, 0 here, spares biases and norms.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from rlvr_helpers.evaluation import Evaluation, evaluate
from rlvr_helpers.methods import METHODS, method_by_name
from rlvr_helpers.models import KNOWN, load_policy, save_policy
from rlvr_helpers.problems import load_problems
from rlvr_helpers.study.recipes import settings_for
from rlvr_helpers.study.trl import COMMAND, make_trainer, require_trl
from rlvr_helpers.train_settings import TrainSettings

WHOLE_NUMBERS = (
    "steps",
    "prompts_per_step",
    "group_size",
    "epochs",
    "minibatches",
    "max_tokens",
    "micro_batch_rows",
    "seed",
)


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


def run(options: argparse.Namespace, settings: TrainSettings) -> None:
    """The whole run of the command line. Only the main process evaluates, saves and prints."""
    require_trl()
    method = method_by_name(options.method)
    out = Path(options.out)
    if (out / "model").exists():
        raise ValueError(
            f"{out.name!r} holds a trained model already: choose another folder for --out, or move"
            " it away"
        )
    out.mkdir(parents=True, exist_ok=True)
    # The trainer moves it to the device of its process.
    policy = load_policy(options.model, device="cpu")
    train, test = (
        load_problems(split, options.problems or policy.problems) for split in ("train", "test")
    )
    # TRL's trainer with our settings.
    trainer = make_trainer(
        policy, train, method, settings=settings, out=out, use_cpu=on_cpu(options.model)
    )
    # Evaluate, train, evaluate, save.
    held_out = test[: options.eval_count]
    if is_main():
        print_accuracy("before", evaluate(policy, held_out, settings.max_tokens))
    trainer.train()
    trainer.save_state()
    if is_main():
        print_accuracy("after", evaluate(policy, held_out, settings.max_tokens))
        folder = save_policy(policy, out / "model")
        print(f'saved: load_policy("{folder.as_posix()}")')
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def settings_of(options: argparse.Namespace) -> TrainSettings:
    """The settings that suit the model, with what the command line says. A budget of tokens becomes
    8 rows, since TRL counts rows."""
    settings = settings_for(options.model)
    if settings.micro_batch_tokens:
        settings = replace(settings, micro_batch_tokens=None, micro_batch_rows=8)
    names = ("learning_rate", "gradient_checkpointing", "eight_bit_optimizer", *WHOLE_NUMBERS)
    given = {name: getattr(options, name) for name in names}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help=f"{', '.join(KNOWN)}, or a folder")
    parser.add_argument(
        "--problems", help="tiny, arithmetic, gsm8k, or a folder; default: what suits the model"
    )
    parser.add_argument("--method", default="grpo", help=f"one of {', '.join(METHODS)}")
    parser.add_argument(
        "--out", required=True, help="folder for the trained model and TRL's trainer_state.json"
    )
    parser.add_argument(
        "--eval-count", type=int, default=200, help="held-out problems that are evaluated"
    )
    parser.add_argument(
        "--learning-rate", type=float, help="default of this and all below: what suits the model"
    )
    for name in WHOLE_NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    parser.add_argument("--gradient-checkpointing", action="store_true", default=None)
    parser.add_argument("--eight-bit-optimizer", action="store_true", default=None)
    options = parser.parse_args(arguments)
    try:
        run(options, settings_of(options))
    except (ValueError, OSError, RuntimeError) as error:
        # Every process says it, since the launcher ends the others at the first exit.
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; nothing was saved", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
