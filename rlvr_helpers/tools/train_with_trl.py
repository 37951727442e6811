"""On to an engine that others use: the course's method, model, problems and settings, trained by TRL's GRPOTrainer.

    python -m rlvr_helpers.tools.train_with_trl --model tiny --method gspo --steps 60 --out runs/trl
    accelerate launch --num_processes 2 -m rlvr_helpers.tools.train_with_trl --model qwen2.5-0.5b --out runs/trl
    torchrun --nproc-per-node 2 -m rlvr_helpers.tools.train_with_trl --model tiny --out runs/trl

One process; two GPUs; two processes on a CPU, of which `accelerate launch` starts one only. Each process holds the whole
model and its share of the rows. `load_policy("runs/trl/model")` reads what was trained.

Each step has the problems and the learning rate that `training.train` would give it. Three things differ: TRL draws its
own noise; it shuffles the rows of a rollout, so that a mini-batch is not made of whole groups; and its weight decay, 0
here, spares biases and norms.
"""

import argparse
import copy
import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, TrainerCallback

from rlvr_helpers.evaluation import Evaluation, evaluate
from rlvr_helpers.methods import METHODS, Method, method_by_name
from rlvr_helpers.models import KNOWN, Policy, format_prompt, load_policy, save_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import encode_prompts
from rlvr_helpers.settings import settings_for
from rlvr_helpers.training import TrainSettings, problems_of_step
from rlvr_helpers.trl_settings import trl_train_config

COMMAND = "python -m rlvr_helpers.tools.train_with_trl"
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


def training_rows(policy: Policy, problems: list[Problem], settings: TrainSettings) -> dict[str, list[str]]:
    """TRL's columns, a row for each prompt of the whole run: `prompt`, through the chat template already, and `answer`.

    Raises ValueError where TRL would read a prompt as other tokens than `encode_prompts`: it calls the tokenizer in a
    way that adds special tokens, and a template that writes them as well would have them twice.
    """
    rows = [problem for step in range(1, settings.steps + 1) for problem in problems_of_step(problems, step, settings)]
    prompts = [format_prompt(policy, problem.question) for problem in rows]
    for prompt in dict.fromkeys(prompts):
        ours, theirs = encode_prompts(policy, [prompt])[0][0].tolist(), policy.tokenizer(text=[prompt]).input_ids[0]
        if ours != theirs:
            raise ValueError(
                f"the tokenizer adds special tokens to a prompt that is through the chat template: {theirs[:8]} instead of "
                f"{ours[:8]} at its start. Switch that off in the model's tokenizer_config.json (add_bos_token, add_eos_token)"
            )
    return {"prompt": prompts, "answer": [problem.answer for problem in rows]}


def correctness(completions: list[str], answer: list[str], **_) -> list[float]:
    """`correctness_reward` as TRL calls a reward function: with lists, and with every column of the rows by its name."""
    return [correctness_reward(text, gold) for text, gold in zip(completions, answer, strict=True)]


class ProgressLine(TrainerCallback):
    """One line for each rollout, after its last update; the gradient norm is that of the last update alone."""

    def on_log(self, args, state, control, logs=None, **_):
        if state.is_world_process_zero and "reward" in (logs or {}):
            updates = args.logging_steps
            print(
                f"step {state.global_step // updates} of {state.max_steps // updates}: reward {logs['reward']:.3f}, "
                f"loss {logs['loss']:.4f}, clip {logs['clip_ratio/region_mean']:.4f}, "
                f"length {logs['completions/mean_length']:.1f}, gradient norm {logs['grad_norm']:.3f}",
                flush=True,
            )


def make_trainer(
    policy: Policy, problems: list[Problem], method: Method, settings: TrainSettings, out, use_cpu: bool = True,
    rollout_func=None, **changes,
):  # fmt: skip
    """A GRPOTrainer that trains the policy's model in place. The number of processes is the launcher's.

    rollout_func: TRL's own, for completions that the model did not sample. changes: other arguments of GRPOConfig.
    Raises ValueError on settings that TRL cannot follow, and where it would end or fill completions with other tokens.
    """
    require_trl()
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    class Trainer(GRPOTrainer):
        def create_scheduler(self, num_training_steps, optimizer=None):
            updates = settings.epochs * settings.minibatches
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer, lambda done: settings.rate(done // updates + 1) / settings.learning_rate
            )
            return self.lr_scheduler

    config = trl_train_config(method, settings, processes()) | changes
    rows = Dataset.from_dict(training_rows(policy, problems, settings))
    trainer = Trainer(
        model=policy.model, args=GRPOConfig(output_dir=str(out), use_cpu=use_cpu, **config), reward_funcs=correctness,
        train_dataset=rows, processing_class=tokenizer_with_pad(policy), callbacks=[ProgressLine()],
        rollout_func=rollout_func,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    check_tokens(trainer, policy)
    return trainer


def tokenizer_with_pad(policy: Policy):
    """A copy of the tokenizer that pads with the policy's pad token: Qwen's own, for one, is an end token as well."""
    tokenizer = copy.deepcopy(policy.tokenizer)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(policy.pad_id)
    return tokenizer


def check_tokens(trainer, policy: Policy) -> None:
    ends, pad = trainer.eos_token_ids, trainer.processing_class.pad_token_id
    if set(ends) != set(policy.end_ids) or pad in ends:
        raise ValueError(
            f"TRL would end completions with {ends} and pad with {pad}, not {policy.end_ids}, {policy.pad_id}"
        )


def require_trl() -> None:
    for name in ("trl", "accelerate"):
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f'{name} is not installed. Either pip install "trl==1.16.0", or: uv run --group test {COMMAND}'
            )


def processes() -> int:
    """How many processes train together: what `accelerate launch` or `torchrun` started, else 1.

    Raises ValueError where `accelerate launch` was asked for several and started one, as it does without GPUs."""
    by_accelerate = "ACCELERATE_MIXED_PRECISION" in os.environ
    if by_accelerate and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        raise ValueError(
            "accelerate was asked for several processes and started one: it starts several on GPUs alone. For two on CPUs: "
            f"torchrun --nproc-per-node 2{COMMAND.removeprefix('python')}"
        )
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def on_cpu(model: str) -> bool:
    """As `load_policy` chooses (tiny is faster on a CPU), and where accelerate was told so."""
    told = os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("1", "true")
    return told or model == "tiny" or not torch.cuda.is_available()


def show(when: str, evaluation: Evaluation) -> None:
    low, high = evaluation.interval
    print(
        f"held-out accuracy {when}: {evaluation.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}; greedy, "
        f"{len(evaluation.strict)} problems)",
        flush=True,
    )


def run(options, settings: TrainSettings) -> None:
    """The whole run of the command line; the main process alone evaluates, saves and prints."""
    require_trl()
    method, out = method_by_name(options.method), Path(options.out)
    if (out / "model").exists():
        raise ValueError(
            f"{out.name!r} holds a trained model already: choose another folder for --out, or move it away"
        )
    out.mkdir(parents=True, exist_ok=True)
    policy = load_policy(options.model, device="cpu")  # the trainer moves it to the device of its process
    train, test = (load_problems(split, options.problems or policy.problems) for split in ("train", "test"))
    trainer = make_trainer(policy, train, method, settings, out, on_cpu(options.model))
    held_out = test[: options.eval_count]
    if is_main():
        show("before", evaluate(policy, held_out, settings.max_tokens))
    trainer.train()
    trainer.save_state()
    if is_main():
        show("after", evaluate(policy, held_out, settings.max_tokens))
        folder = save_policy(policy, out / "model")
        print(f'saved: load_policy("{folder.as_posix()}")')
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def settings_of(options) -> TrainSettings:
    """What suits the model, with what the command line says; a budget of tokens becomes 8 rows, since TRL counts rows."""
    settings = settings_for(options.model)
    if settings.micro_batch_tokens:
        settings = replace(settings, micro_batch_tokens=None, micro_batch_rows=8)
    names = ("learning_rate", "gradient_checkpointing", "eight_bit_optimizer", *WHOLE_NUMBERS)
    given = {name: getattr(options, name) for name in names}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help=f"{', '.join(KNOWN)}, or a folder")
    parser.add_argument("--problems", help="tiny, arithmetic, gsm8k, or a folder; default: what suits the model")
    parser.add_argument("--method", default="grpo", help=f"one of {', '.join(METHODS)}")
    parser.add_argument("--out", required=True, help="folder for the trained model and TRL's trainer_state.json")
    parser.add_argument("--eval-count", type=int, default=200, help="held-out problems that are evaluated")
    parser.add_argument("--learning-rate", type=float, help="default of this and all below: what suits the model")
    for name in WHOLE_NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    parser.add_argument("--gradient-checkpointing", action="store_true", default=None)
    parser.add_argument("--eight-bit-optimizer", action="store_true", default=None)
    options = parser.parse_args(arguments)
    try:
        run(options, settings_of(options))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)  # from every process: the launcher ends the others at the first exit
        return 2
    except KeyboardInterrupt:
        print("\nstopped; nothing was saved", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
