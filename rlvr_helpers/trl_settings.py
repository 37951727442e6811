"""The same method in TRL: the four choices as keyword arguments of its `GRPOConfig` (TRL 1.16).

    GRPOConfig(**trl_config(DR_GRPO, max_tokens=400), num_generations=8, ...)

TRL is not needed here; `tests/unit/test_trl_settings.py` shows that it computes the same loss with these arguments.
"""

from rlvr_helpers.methods import Method

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
