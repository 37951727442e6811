"""The same method in TRL: the four choices as keyword arguments of its `GRPOConfig` (TRL 1.16).

    GRPOConfig(**trl_config(DR_GRPO, max_tokens=400), num_generations=8, ...)
    GRPOConfig(output_dir="runs/trl", **trl_train_config(DR_GRPO, TrainSettings(), processes=2))

TRL is not needed here; `tests/unit/test_trl_settings.py` shows that it computes the same loss with these arguments.

Over several processes the loss types used here, "grpo", "dr_grpo" and "dapo", have the loss and the gradient of one
process (`tests/unit/test_train_with_trl.py`, on two). TRL's "bnpo" has not: each process divides by its own tokens.
"""

from rlvr_helpers.methods import Method
from rlvr_helpers.training import TrainSettings

SCALE_REWARDS = {"std": "group", "none": "none"}
LOSS_TYPE = {"sequence_mean": "grpo", "constant": "dr_grpo", "token_mean": "dapo"}


def trl_config(method: Method, max_tokens: int) -> dict:
    """Keyword arguments of GRPOConfig that make TRL's loss that of the method; `max_tokens` is the completion's budget.

    TRL's defaults are not relied on: each choice is stated. Raises ValueError where GRPOTrainer has no such choice:
    leave-one-out advantages (use "none", which is (G - 1) / G times the same), and k1 or k2 as the KL term.

    With "token_mean" and several optimizer steps on a rollout TRL divides by the rollout's tokens over the number of
    steps, where `aggregate` divides by the step's own tokens.
    """
    if method.advantage_scale not in SCALE_REWARDS:
        raise ValueError(
            'GRPOTrainer has no leave-one-out advantages: take advantage_scale "none", which is (G - 1) / G times the same'
        )
    if method.kl_coef > 0 and method.kl_kind != "k3":
        raise ValueError(f"GRPOTrainer knows the KL estimate k3 alone, not {method.kl_kind}")
    config = {
        "scale_rewards": SCALE_REWARDS[method.advantage_scale],
        "importance_sampling_level": method.ratio_level,
        "epsilon": method.clip_low,
        "epsilon_high": method.clip_high,
        "loss_type": LOSS_TYPE[method.aggregation],
        "max_completion_length": max_tokens,
        "beta": method.kl_coef,
    }
    if method.kl_coef > 0:
        config["use_bias_correction_kl"] = False  # TRL's option to multiply the KL term by the ratio
    return config


def trl_train_config(method: Method, settings: TrainSettings, processes: int = 1) -> dict:
    """All keyword arguments of GRPOConfig for a method and settings, but for the folder and the device.

    A rollout is cut into `minibatches` steps and gone through `epochs` times; the rows of a step are dealt out evenly to
    the processes. GRPOConfig has no learning rate like `TrainSettings.rate`; `tools/train_with_trl.py` brings it.
    Products are in float32 (bf16=False): TRL's own switch changes
    that. Raises ValueError where the rows cannot be dealt out, on `micro_batch_tokens`, and where `trl_config` does.
    """
    if settings.micro_batch_tokens:
        raise ValueError("TRL counts rows: give micro_batch_rows in place of micro_batch_tokens")
    at_once, accumulation = rows_at_once(settings, processes)
    optimizer = "adamw_bnb_8bit" if settings.eight_bit_optimizer else "adamw_torch_fused"
    updates = settings.epochs * settings.minibatches
    return trl_config(method, settings.max_tokens) | {
        "num_generations": settings.group_size,
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": accumulation,
        "steps_per_generation": settings.minibatches * accumulation,
        "num_iterations": settings.epochs,
        "max_steps": settings.steps * updates,
        "shuffle_dataset": False,  # the rows come in the order of `problems_of_step`
        "temperature": settings.temperature, "top_k": 0, "top_p": 1.0, "min_p": None, "repetition_penalty": 1.0,
        "learning_rate": settings.learning_rate, "lr_scheduler_type": "constant", "optim": optimizer,
        "adam_beta1": settings.betas[0], "adam_beta2": settings.betas[1], "adam_epsilon": 1e-8,
        "weight_decay": settings.weight_decay, "max_grad_norm": settings.max_grad_norm, "seed": settings.seed,
        "bf16": False, "gradient_checkpointing": settings.gradient_checkpointing,
        "disable_dropout": True, "ddp_find_unused_parameters": False,
        "logging_steps": updates, "logging_nan_inf_filter": False, "save_strategy": "no", "report_to": "none",
        "disable_tqdm": True,
    }  # fmt: skip


def rows_at_once(settings: TrainSettings, processes: int) -> tuple[int, int]:
    """Rows that each process takes through the model at once, and how often it does so for one optimizer step."""
    rows = settings.prompts_per_step * settings.group_size
    if processes < 1 or rows % (settings.minibatches * processes):
        raise ValueError(
            f"{settings.prompts_per_step} prompts of {settings.group_size} completions are {rows} rows, which cannot be dealt "
            f"out evenly to {settings.minibatches} minibatches on {processes} processes: choose other numbers"
        )
    share = rows // (settings.minibatches * processes)
    at_once = min(settings.micro_batch_rows or share, share)
    if share % at_once:
        raise ValueError(
            f"the {share} rows that a process has in a minibatch are no multiple of {at_once} micro_batch_rows"
        )
    return at_once, share // at_once
