"""Better than what? Rewards of a group become advantages: how much better than the other answers to
the same prompt."""

from torch import Tensor

STD_EPSILON = 1e-4  # added to the standard deviation, as TRL and verl do


def group_advantages(rewards: Tensor, scale: str = "std") -> Tensor:
    """Advantages within each group, [P, G] -> [P, G]: P prompts, G completions of each.

    "std":           (R - mean) / (std + 1e-4), with the unbiased std (GRPO, arXiv 2402.03300, sec.
                     4.1.2, and GSPO eq. 6)
    "none":          R - mean (Dr. GRPO, arXiv 2503.20783, sec. 3.2)
    "leave_one_out": R - mean of the other G - 1 (RLOO, arXiv 2402.14740), which is G / (G - 1)
        times "none"

    A group whose rewards are all equal gets exactly 0, also where float32 would leave a rounding
    error in R - mean. The result is a constant for the gradient. Raises ValueError on another
    shape, G < 2 or rewards that are not finite.
    """
    if rewards.dim() != 2 or rewards.shape[1] < 2:
        raise ValueError(
            "rewards must be [prompts, group size] with a group size of at least 2, not"
            f" {list(rewards.shape)}: an advantage compares answers to the same prompt"
        )
    # Compare each answer with its group.
    rewards = rewards.detach()
    if not rewards.is_floating_point():
        rewards = rewards.float()
    if not rewards.isfinite().all():
        raise ValueError("a reward is NaN or infinite: fix the reward function")
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    if scale == "std":
        advantages = centred / (rewards.std(dim=1, keepdim=True) + STD_EPSILON)
    elif scale == "none":
        advantages = centred
    elif scale == "leave_one_out":
        size = rewards.shape[1]
        advantages = centred * (size / (size - 1))
    else:
        raise ValueError(f'scale must be "std", "none" or "leave_one_out", not {scale!r}')
    # A group without a difference teaches nothing, whatever rounding says.
    return advantages.masked_fill(groups_without_signal(rewards)[:, None], 0.0)


def groups_without_signal(rewards: Tensor) -> Tensor:
    """True for each group whose rewards are all equal, [P, G] -> [P]: such a group teaches
    nothing."""
    return rewards.amax(dim=1) == rewards.amin(dim=1)
