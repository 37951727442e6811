"""Exercises of lesson 04: advantages."""

import torch
from torch import Tensor

from rlvr_helpers import advantages
from rlvr_helpers.exercises.cases import numbers
from rlvr_helpers.exercises.core import Case, Exercise, named

GRADED = [[1.0, 0.0, 0.5, 0.0], [2.0, -1.0, 0.25, 1.0], [0.5, 0.0, 0.5, 1.0]]
# In float32 the mean of seven such rewards is often not quite the reward itself, in whatever order
# they are added. The std of a single group of equal rewards is not quite 0 for many sizes.
EQUAL = [[value] * 7 for value in (0.1, 0.3, 0.6, 0.7, 0.8, 0.9)]
SINGLE = [(0.01, 8), (0.2, 8), (0.24, 5), (0.1, 12), (100.1, 8)]
STD_IS_ROUNDED = "float32 rounds the std: it is not 0. Compare the largest with the smallest."

# --- groups_without_signal


def groups_without_signal(rewards):
    """True for each group whose rewards are all equal, [P, G] -> [P]."""
    return rewards.amax(dim=1) == rewards.amin(dim=1)


def signal_cases() -> list[Case]:
    return [
        Case(
            "all right, all wrong, mixed",
            (numbers([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 1], [0, 0, 0, 1]]),),
        ),
        Case("graded rewards", (numbers([[0.5, 0.5, 0.5], [0.5, 1.0, 0.5], [1.0, 0.5, 0.0]]),)),
        Case("equal rewards in float32", (torch.tensor(EQUAL),)),
        *(
            Case(f"{size} rewards of {value} in float32", (torch.full((1, size), value),))
            for value, size in SINGLE
        ),
        Case("a group of 2", (numbers([[1, 0], [1, 1]]),)),
        Case("one reward that differs, in each place", (torch.eye(6, dtype=torch.float64)[:5],)),
        Case("a difference of 1e-9", (numbers([[1.0, 1.0, 1.0 + 1e-9], [1.0, 1.0, 1.0]]),)),
    ]


SIGNAL_MISTAKES = {
    # When rewards count as equal.
    "only all wrong": (
        lambda rewards: (rewards == 0).all(dim=1),
        (
            "you find the groups that are all wrong. A group that is all right has no signal"
            " either: nothing is better."
        ),
    ),
    "only all right or all wrong": (
        lambda rewards: (rewards == 0).all(dim=1) | (rewards == 1).all(dim=1),
        (
            "you look for rewards of 0 and 1. Rewards can be graded: a group of equal 0.5 teaches"
            " nothing either."
        ),
    ),
    "compared with the mean": (
        lambda rewards: (rewards == rewards.mean(dim=1, keepdim=True)).all(dim=1),
        "you compare with the mean, which float32 rounds. Compare the largest with the smallest.",
    ),
    "whether the std is 0": (lambda rewards: rewards.std(dim=1) == 0, STD_IS_ROUNDED),
    "a tolerance": (
        lambda rewards: rewards.amax(dim=1) - rewards.amin(dim=1) < 1e-6,
        "you allow a tolerance. Compare the largest reward with the smallest, exactly.",
    ),
    # Which rewards are compared, and the form of the result.
    "the other way round": (
        lambda rewards: rewards.amax(dim=1) != rewards.amin(dim=1),
        "you mark the groups that do have a signal. True is for those whose rewards are all equal.",
    ),
    "over the prompts": (
        lambda rewards: rewards.amax(dim=0) == rewards.amin(dim=0),
        "you compare down the columns (dim=0), over different prompts. A group is a row: dim=1.",
    ),
    "only some rewards compared": (
        lambda rewards: (rewards[:, :3] == rewards[:, -1:]).all(dim=1),
        "you compare only some rewards of a group. Compare the largest with the smallest.",
    ),
    "any in place of all": (
        lambda rewards: (rewards == rewards[:, :1]).any(dim=1),
        (
            "you ask whether any reward equals the first, and the first always does. Ask for all of"
            " them: .all(dim=1)."
        ),
    ),
    "one value for the batch": (
        lambda rewards: groups_without_signal(rewards).all(),
        "you give one value for all groups. Each row gets its own: .all(dim=1).",
    ),
}

# --- group_advantages


def group_advantages(rewards, scale="std"):
    """Advantages within each group, [P, G] -> [P, G]. scale: "std", "none" or "leave_one_out"."""
    result = rewards - rewards.mean(dim=1, keepdim=True)
    if scale == "std":
        result = result / (rewards.std(dim=1, keepdim=True) + 1e-4)
    if scale == "leave_one_out":
        result = result * rewards.shape[1] / (rewards.shape[1] - 1)
    return result.masked_fill((rewards == rewards[:, :1]).all(dim=1, keepdim=True), 0.0)


def advantage_cases() -> list[Case]:
    pass_or_fail = numbers(
        [[1, 0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 1, 1, 1]]
    )
    return [
        Case("right and wrong answers, std", (pass_or_fail,)),
        *(
            Case(f"graded rewards, {scale}", (numbers(GRADED), scale))
            for scale in ("std", "none", "leave_one_out")
        ),
        Case("equal rewards in float32, std", (torch.tensor(EQUAL), "std")),
        # At this size subtracting the mean leaves a rounding error that is no longer small.
        *(
            Case(f"large equal rewards, {scale}", (1001 * torch.tensor(EQUAL), scale))
            for scale in ("none", "leave_one_out")
        ),
        # Here even the std is not quite 0.
        *(
            Case(f"a single group of equal rewards, {scale}", (torch.full((1, 8), 100.1), scale))
            for scale in ("std", "none")
        ),
    ]


def assembled(
    rewards: Tensor,
    scale: str,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    epsilon: float = 1e-4,
    silent: bool = True,
) -> Tensor:
    """group_advantages, whose parts can be exchanged to make the mistakes."""
    size = rewards.shape[1]
    mean = rewards.mean(dim=1, keepdim=True) if mean is None else mean
    std = rewards.std(dim=1, keepdim=True) if std is None else std
    factor = {"std": 1 / (std + epsilon), "none": 1.0, "leave_one_out": size / (size - 1)}[scale]
    result = (rewards - mean) * factor
    return result.masked_fill(groups_without_signal(rewards)[:, None], 0.0) if silent else result


def leaving_out(rewards: Tensor, scale: str, result: Tensor) -> Tensor:
    """group_advantages with another result for "leave_one_out"."""
    result = result.masked_fill(groups_without_signal(rewards)[:, None], 0.0)
    return result if scale == "leave_one_out" else group_advantages(rewards, scale)


ADVANTAGE_MISTAKES = {
    # The mean and the std.
    "mean over the batch": (
        lambda rewards, scale="std": assembled(rewards, scale, mean=rewards.mean()),
        (
            "you subtract the mean of all rewards. Take the mean of each group: dim=1 with"
            " keepdim=True."
        ),
    ),
    "mean and std over the batch": (
        lambda rewards, scale="std": assembled(
            rewards, scale, mean=rewards.mean(), std=rewards.std(), silent=False
        ),
        "you use one mean for all rows. Take mean and std of each row: dim=1, keepdim=True.",
    ),
    "mean over the prompts": (
        lambda rewards, scale="std": assembled(rewards, scale, mean=rewards.mean(dim=0)),
        "your mean runs down the columns (dim=0), over different prompts. A group is a row: dim=1.",
    ),
    "biased std": (
        lambda rewards, scale="std": assembled(
            rewards, scale, std=rewards.std(dim=1, keepdim=True, correction=0)
        ),
        (
            "your std divides by G. The unbiased one divides by G - 1, which is what torch.std does"
            " by default."
        ),
    ),
    "std over the batch": (
        lambda rewards, scale="std": assembled(rewards, scale, std=rewards.std()),
        "you divide by the std of all rewards. Take the std of each row: dim=1, keepdim=True.",
    ),
    "no epsilon": (
        lambda rewards, scale="std": assembled(rewards, scale, epsilon=0.0, silent=scale != "std"),
        (
            "you divide by the std alone, so a group of equal rewards gives 0 / 0. Add 1e-4 to the"
            " std."
        ),
    ),
    "another epsilon": (
        lambda rewards, scale="std": assembled(rewards, scale, epsilon=0.0),
        (
            "you add less than 1e-4 to the std, or nothing. The difference is small, and TRL and"
            " verl add 1e-4."
        ),
    ),
    # The sign, and groups of equal rewards.
    "the other sign": (
        lambda rewards, scale="std": -group_advantages(rewards, scale),
        "your signs are reversed: a reward above the mean has a positive advantage, R - mean.",
    ),
    "rounding errors kept": (
        lambda rewards, scale="std": assembled(rewards, scale, silent=scale == "leave_one_out"),
        "a group of equal rewards keeps a rounding error. Set its advantages to exactly 0.",
    ),
    "rounding errors kept beside std": (
        lambda rewards, scale="std": assembled(rewards, scale, silent=scale != "none"),
        (
            'with "none" a group of equal rewards keeps a rounding error. Set its advantages to'
            " exactly 0."
        ),
    ),
    "whether the std is 0": (
        lambda r, scale="std": assembled(r, scale, silent=False).masked_fill(
            r.std(dim=1, keepdim=True) == 0, 0.0
        ),
        STD_IS_ROUNDED,
    ),
    # What `scale` changes.
    "always divided by the std": (
        lambda rewards, scale="std": group_advantages(rewards),
        (
            'you divide by the std whatever `scale` says. Only "std" does; "none" leaves R - mean'
            " as it is."
        ),
    ),
    "leave_one_out divided by the std": (
        lambda r, scale="std": leaving_out(
            r, scale, group_advantages(r, "std") * r.shape[1] / (r.shape[1] - 1)
        ),
        'your "leave_one_out" is divided by the std. Only "std" is.',
    ),
    "leave_one_out keeps the answer itself": (
        lambda r, scale="std": leaving_out(r, scale, group_advantages(r, "none")),
        (
            'your "leave_one_out" subtracts the mean of all G rewards. Leave R itself out: (sum -'
            " R) / (G - 1)."
        ),
    ),
    "leave_one_out divided by G": (
        lambda r, scale="std": leaving_out(
            r, scale, r - (r.sum(dim=1, keepdim=True) - r) / r.shape[1]
        ),
        (
            'your "leave_one_out" divides the sum of the other rewards by G. They are G - 1: (sum -'
            " R) / (G - 1)."
        ),
    ),
    "leave_one_out divides the whole sum": (
        lambda r, scale="std": leaving_out(
            r, scale, r - r.sum(dim=1, keepdim=True) / (r.shape[1] - 1)
        ),
        (
            'your "leave_one_out" divides the whole sum by G - 1. Leave R itself out: (sum - R) /'
            " (G - 1)."
        ),
    ),
}

# --- problem_weight


def problem_weight(correct, group_size, scale="std"):
    """Sum of |A| over a group: `correct` of its `group_size` rewards are 1, the others 0."""
    rewards = torch.tensor([[1.0] * correct + [0.0] * (group_size - correct)])
    return advantages.group_advantages(rewards, scale).abs().sum().item()


def weight_cases() -> list[Case]:
    std = [(1, 8, "std"), (4, 8, "std"), (8, 8, "std")]
    others = [(1, 8, "none"), (3, 5, "none"), (0, 4, "none"), (2, 6, "leave_one_out")]
    return [
        Case(f"{correct} of {size} correct, {scale}", (correct, size, scale))
        for correct, size, scale in std + others
    ]


def of_group(correct: int, group_size: int, scale: str) -> Tensor:
    """The advantages of a group, [G]."""
    return group_advantages(numbers([[1.0] * correct + [0.0] * (group_size - correct)]), scale)[0]


WEIGHT_MISTAKES = {
    # What is added up.
    "signs cancel": (
        lambda correct, group_size, scale="std": 0.0,
        (
            "your weight is 0: advantages of a group always sum to 0. Take the absolute value"
            " before the sum."
        ),
    ),
    "mean instead of sum": (
        lambda correct, group_size, scale="std": (
            problem_weight(correct, group_size, scale) / group_size
        ),
        "you average |A| over the group. The weight of a problem is the sum.",
    ),
    "only the correct answers": (
        lambda correct, group_size, scale="std": problem_weight(correct, group_size, scale) / 2,
        "you count half of it: the incorrect answers pull as much as the correct ones push.",
    ),
    # What `scale` changes.
    "scale ignored": (
        lambda correct, group_size, scale="std": problem_weight(correct, group_size),
        "you divide by the std whatever `scale` says: pass `scale` on to group_advantages.",
    ),
    "the mean alone taken off": (
        lambda correct, group_size, scale="std": problem_weight(correct, group_size, "none"),
        "you take off the mean and do no more. Pass `scale` on to group_advantages.",
    ),
    "biased std": (
        lambda correct, group_size, scale="std": (
            problem_weight(correct, group_size, scale)
            * (group_size / (group_size - 1)) ** (0.5 * (scale == "std"))
        ),
        "your std divides by G; the unbiased one divides by G - 1.",
    ),
    # Another measure, or another type.
    "the length": (
        lambda correct, group_size, scale="std": of_group(correct, group_size, scale).norm().item(),
        (
            "you give the length of A as a vector, the root of the sum of squares. The weight is"
            " the sum of |A|."
        ),
    ),
    "a tensor": (
        lambda correct, group_size, scale="std": of_group(correct, group_size, scale).abs().sum(),
        "you return a tensor. Its .item() is the number that is asked for.",
    ),
}

EXERCISES = [
    Exercise(
        name="groups_without_signal",
        lesson="04",
        minutes=4,
        difficulty=1,
        reference=groups_without_signal,
        cases=signal_cases,
        mistakes=named(SIGNAL_MISTAKES),
        hints=[
            (
                "When all rewards of a group are equal, every advantage is 0. Which two numbers of"
                " a row tell you that?"
            ),
            (
                "If the largest equals the smallest, all are equal. No rounding is involved, unlike"
                " with a mean or a std."
            ),
            "`rewards.amax(dim=1)` gives the largest of each row, [P]; `amin` the smallest.",
        ],
    ),
    Exercise(
        name="group_advantages",
        lesson="04",
        minutes=10,
        difficulty=2,
        reference=group_advantages,
        cases=advantage_cases,
        mistakes=named(ADVANTAGE_MISTAKES),
        hints=[
            "A group is a row. What should each reward of the row be compared with?",
            (
                "`rewards.mean(dim=1, keepdim=True)` is [P, 1] and can be subtracted from [P, G]."
                " For `std`, divide by the row's std plus 1e-4; for `leave_one_out`, multiply by G"
                " / (G - 1)."
            ),
            (
                "Last, set the groups of equal rewards to exactly 0:"
                " `advantages.masked_fill(rewards.amax(1, keepdim=True) == rewards.amin(1,"
                " keepdim=True), 0.0)`."
            ),
        ],
    ),
    Exercise(
        name="problem_weight",
        lesson="04",
        minutes=6,
        difficulty=2,
        reference=problem_weight,
        cases=weight_cases,
        mistakes=named(WEIGHT_MISTAKES),
        hints=[
            "Write the group's rewards down first: `correct` ones, then zeros, as one row.",
            (
                "`group_advantages(rewards, scale)` needs [1, group_size]. How much does the row"
                " pull in all, either way?"
            ),
            (
                "`group_advantages(rewards, scale).abs().sum().item()`; or by hand 2 k (G - k) / G,"
                ' divided by the std for "std", and 0 where all rewards are equal.'
            ),
        ],
        tolerance=1e-3,  # lets the formula without the 1e-4 pass as well
    ),
]
