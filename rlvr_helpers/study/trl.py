"""The same method in TRL: the four choices as keyword arguments of its `GRPOConfig` (TRL 1.16).

    GRPOConfig(**trl_config(DR_GRPO, max_tokens=400), num_generations=8, ...)
    GRPOConfig(output_dir="runs/trl", **trl_train_config(DR_GRPO, TrainSettings(), processes=2))

TRL is not needed here. `tests/unit/test_trl_settings.py` shows that it computes the same loss with
these arguments.

Over several processes the loss types used here, "grpo", "dr_grpo" and "dapo", have the loss and the
gradient of one process (`tests/unit/test_train_with_trl.py`, on two). TRL's "bnpo" has not: each
process divides by its own tokens.
"""

import copy
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, TrainerCallback

from rlvr_helpers.methods import Method
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.rewards import correctness_reward, score_completion
from rlvr_helpers.sampling import encode_prompts
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import problems_of_step

# What is the same for every method and settings.
FIXED = {
    # The whole distribution is sampled.
    "top_k": 0,
    "top_p": 1.0,
    "min_p": None,
    "repetition_penalty": 1.0,
    # The rows come in the order of `problems_of_step`.
    "shuffle_dataset": False,
    "lr_scheduler_type": "constant",
    "adam_epsilon": 1e-8,
    "disable_dropout": True,
    "ddp_find_unused_parameters": False,
    "logging_nan_inf_filter": False,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}
# Our choices -> its names.
SCALE_REWARDS = {"std": "group", "none": "none"}
LOSS_TYPE = {"sequence_mean": "grpo", "constant": "dr_grpo", "token_mean": "dapo"}


def trl_config(method: Method, max_tokens: int) -> dict:
    """Keyword arguments of GRPOConfig that make TRL's loss that of the method. `max_tokens` is the
    completion's budget.

    TRL's defaults are not relied on: each choice is stated. Raises ValueError if GRPOTrainer has no
    such choice. It has no leave-one-out advantages (use "none", which is (G - 1) / G times the
    same), and neither k1 nor k2 as the KL term.

    With "token_mean" and several optimizer steps on a rollout TRL divides by the rollout's tokens
    over the number of steps, where `aggregate` divides by the step's own tokens.
    """
    if method.advantage_scale not in SCALE_REWARDS:
        raise ValueError(
            'GRPOTrainer has no leave-one-out advantages: take advantage_scale "none", which is (G'
            " - 1) / G times the same"
        )
    if method.kl_coef > 0 and method.kl_kind != "k3":
        raise ValueError(
            f"GRPOTrainer knows only the KL estimate k3, not {method.kl_kind}: take k3"
        )
    config = {
        "scale_rewards": SCALE_REWARDS[method.advantage_scale],
        "importance_sampling_level": method.ratio_level,
        "epsilon": method.clip_low,
        "epsilon_high": method.clip_high,
        "loss_type": LOSS_TYPE[method.aggregation],
        "max_completion_length": max_tokens,
        "beta": method.kl_coef,
    }
    if method.objective is not None:
        own = getattr(method.functions()[0], "trl", None)
        if own is None:
            raise ValueError(
                f"GRPOTrainer does not know the objective of {method.name!r}. If it has it under"
                ' another name, say so: objective.trl = {"loss_type": ...}'
            )
        del config["epsilon"], config["epsilon_high"]
        config |= own
    if method.kl_coef > 0:
        # TRL's option to multiply the KL term by the ratio.
        config["use_bias_correction_kl"] = False
    return config


def trl_train_config(
    method: Method,
    settings: TrainSettings,
    processes: int = 1,
    compute_dtype: torch.dtype = torch.float32,
) -> dict:
    """All keyword arguments of GRPOConfig but the folder and the device.

    A rollout is cut into `minibatches` steps and used `epochs` times. Processes share the rows of a
    step evenly. `make_trainer` brings the learning rate of `TrainSettings.rate`. Raises ValueError
    if the rows cannot be shared, on `micro_batch_tokens`, and as `trl_config` does.
    """
    if settings.micro_batch_tokens:
        raise ValueError("TRL counts rows: give micro_batch_rows in place of micro_batch_tokens")
    # TRL counts optimizer steps, where our settings count rollouts.
    at_once, accumulation = rows_at_once(settings, processes)
    optimizer = "adamw_bnb_8bit" if settings.eight_bit_optimizer else "adamw_torch_fused"
    updates = settings.epochs * settings.minibatches
    chosen = trl_config(method, settings.max_tokens) | FIXED
    return chosen | {
        # Rows and steps.
        "num_generations": settings.group_size,
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": accumulation,
        "steps_per_generation": settings.minibatches * accumulation,
        "num_iterations": settings.epochs,
        "max_steps": settings.steps * updates,
        # Sampling and the optimizer.
        "temperature": settings.temperature,
        "learning_rate": settings.learning_rate,
        "optim": optimizer,
        "adam_beta1": settings.betas[0],
        "adam_beta2": settings.betas[1],
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        # Memory, and a line in the log for each rollout.
        "bf16": compute_dtype == torch.bfloat16,
        "fp16": compute_dtype == torch.float16,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "logging_steps": updates,
    }


def rows_at_once(settings: TrainSettings, processes: int) -> tuple[int, int]:
    """Rows that each process takes through the model at once, and how often it does so for one
    optimizer step."""
    rows = settings.prompts_per_step * settings.group_size
    if processes < 1 or rows % (settings.minibatches * processes):
        raise ValueError(
            f"{settings.prompts_per_step} prompts of {settings.group_size} completions are {rows}"
            f" rows, which cannot be dealt out evenly to {settings.minibatches} minibatches on"
            f" {processes} processes: choose other numbers"
        )
    # As many at once as the settings allow.
    share = rows // (settings.minibatches * processes)
    at_once = min(settings.micro_batch_rows or share, share)
    if share % at_once:
        raise ValueError(
            f"the {share} rows that a process has in a minibatch are no multiple of {at_once}"
            " micro_batch_rows: choose a divisor"
        )
    return at_once, share // at_once


COMMAND = "python -m rlvr_helpers.tools.train_with_trl"


def training_rows(
    policy: Policy, problems: list[Problem], settings: TrainSettings
) -> dict[str, list]:
    """TRL's columns, a row for each prompt of the whole run: `prompt`, through the chat template
    already, `answer`, and `row`, the problem's number.

    Raises ValueError if TRL would read a prompt as other tokens than `encode_prompts`. It calls the
    tokenizer in a way that adds special tokens. A template that writes them as well would have them
    twice.
    """
    order = [
        row
        for step in range(1, settings.steps + 1)
        for row in problems_of_step(list(range(len(problems))), step, settings)
    ]
    rows = [problems[row] for row in order]
    prompts = [format_prompt(policy, problem.question) for problem in rows]
    # Each prompt must be the same tokens on both sides.
    for prompt in dict.fromkeys(prompts):
        ours = encode_prompts(policy, [prompt])[0][0].tolist()
        theirs = policy.tokenizer(text=[prompt]).input_ids[0]
        if ours != theirs:
            raise ValueError(
                "the tokenizer adds special tokens to a prompt that is through the chat template:"
                f" {theirs[:8]} instead of {ours[:8]} at its start. Switch that off in the model's"
                " tokenizer_config.json (add_bos_token, add_eos_token)"
            )
    return {"prompt": prompts, "answer": [str(problem.answer) for problem in rows], "row": order}


def correctness(completions: list[str], answer: list[str], **_: Any) -> list[float]:
    """`correctness_reward` as TRL calls a reward function: with lists, and with every column of the
    rows by its name."""
    return [correctness_reward(text, gold) for text, gold in zip(completions, answer, strict=True)]


def paid_by(scorer: Callable[..., Any], problems: list[Problem]) -> Callable[..., list[float]]:
    """A scorer as TRL calls a reward function. Its parts are logged apart, as `parts/NAME`."""

    def scored(
        completions: list[str], row: list[int], log_metric: Callable, **_: Any
    ) -> list[float]:
        # The column `row` leads back to the whole problem, which a scorer can read.
        pairs = zip(completions, row, strict=True)
        scores = [score_completion(scorer, text, problems[number]) for text, number in pairs]
        for name in scores[0].parts if scores else ():
            log_metric(f"parts/{name}", sum(score.parts[name] for score in scores) / len(scores))
        return [score.reward for score in scores]

    scored.__name__ = getattr(scorer, "__name__", "scorer")
    return scored


class ProgressLine(TrainerCallback):
    """One line for each rollout, after its last update. The gradient norm is only that of the last
    update."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if state.is_world_process_zero and "reward" in (logs or {}):
            # TRL counts updates. The line counts rollouts.
            updates = args.logging_steps
            parts = [name for name in logs if name.startswith("parts/")]
            named = "".join(f", {name.removeprefix('parts/')} {logs[name]:.3f}" for name in parts)
            print(
                f"step {state.global_step // updates} of {state.max_steps // updates}: reward"
                f" {logs['reward']:.3f}{named}, loss {logs['loss']:.4f}, clip"
                f" {logs['clip_ratio/region_mean']:.4f}, length"
                f" {logs['completions/mean_length']:.1f}, gradient norm {logs['grad_norm']:.3f}",
                flush=True,
            )


def make_trainer(
    policy: Policy,
    problems: list[Problem],
    method: Method,
    settings: TrainSettings,
    out: str | Path,
    use_cpu: bool = True,
    rollout_func: Callable | None = None,
    scorer: Callable[..., float | dict[str, float]] | None = None,
    reward_func: Callable[..., list[float]] | None = None,
    **changes: object,
) -> Any:
    """A GRPOTrainer that trains the policy's model in place. The number of processes is the
    launcher's.

    rollout_func: TRL's own, for completions that the model did not sample. scorer: as in `train`.
    reward_func: a reward function as TRL calls it, instead of a scorer. changes: other arguments of
    GRPOConfig. Raises ValueError on settings that TRL cannot follow, and if it would end or fill
    completions with other tokens.
    """
    require_trl()
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    # Our schedule of the learning rate, which counts rollouts and not updates.
    class Trainer(GRPOTrainer):
        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
            updates = settings.epochs * settings.minibatches
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer,
                lambda done: settings.rate(done // updates + 1) / settings.learning_rate,
            )
            return self.lr_scheduler

    # Our choices, in its words.
    config = trl_train_config(method, settings, processes()) | changes
    rows = Dataset.from_dict(training_rows(policy, problems, settings))
    trainer = Trainer(
        model=policy.model,
        args=GRPOConfig(output_dir=str(out), use_cpu=use_cpu, **config),
        reward_funcs=reward_func or (paid_by(scorer, problems) if scorer else correctness),
        train_dataset=rows,
        processing_class=tokenizer_with_pad(policy),
        callbacks=[ProgressLine()],
        rollout_func=rollout_func,
    )
    # One line for each rollout is enough.
    trainer.remove_callback(PrinterCallback)
    check_tokens(trainer, policy)
    return trainer


def tokenizer_with_pad(policy: Policy) -> Any:
    """A copy of the tokenizer that pads with the policy's pad token. Qwen's own, for example, is
    also an end token."""
    tokenizer = copy.deepcopy(policy.tokenizer)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(policy.pad_id)
    return tokenizer


def check_tokens(trainer: Any, policy: Policy) -> None:
    # What TRL derived from tokenizer and model, beside what the policy knows.
    ends = trainer.eos_token_ids
    pad = trainer.processing_class.pad_token_id
    if set(ends) != set(policy.end_ids) or pad in ends:
        raise ValueError(
            f"TRL would end completions with {ends} and pad with {pad}, not {policy.end_ids},"
            f" {policy.pad_id}: set both in the model's tokenizer"
        )


def require_trl() -> None:
    for name in ("trl", "accelerate"):
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f'{name} is not installed. Either pip install "trl==1.16.0", or: uv run --group'
                f" test {COMMAND}"
            )


@contextmanager
def no_telemetry() -> Iterator[None]:
    """Switches off TRL's report of every new trainer to the hub."""
    was = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = was


class OneOfSeveral(ValueError):
    """`accelerate launch` was asked for several processes and started one."""


def processes() -> int:
    """How many processes train together: what `accelerate launch` or `torchrun` started, else 1.

    Raises OneOfSeveral if `accelerate launch` was asked for several and started one, as it does
    without GPUs.
    """
    by_accelerate = "ACCELERATE_MIXED_PRECISION" in os.environ
    if by_accelerate and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        raise OneOfSeveral(
            "accelerate was asked for several processes and started one: it starts several only on"
            f" GPUs. For two on CPUs: torchrun --nproc-per-node 2{COMMAND.removeprefix('python')}"
        )
    return int(os.environ.get("WORLD_SIZE", "1"))
