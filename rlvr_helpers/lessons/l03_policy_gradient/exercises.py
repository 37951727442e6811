"""Exercises of lesson 03: the policy gradient."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rlvr_helpers.exercises.cases import numbers, ragged_mask, random_numbers
from rlvr_helpers.exercises.core import Case, Exercise, named

# --- score_function_gradient


def score_function_gradient(logits, actions, advantages):
    """logits [K] float, actions [n] whole numbers (each sample's arm), advantages [n] -> [K]."""
    scores = F.one_hot(actions, len(logits)) - logits.softmax(dim=0)
    return (advantages[:, None] * scores).mean(dim=0)


def sampled_cases() -> list[Case]:
    many = torch.randint(0, 5, (40,), generator=torch.Generator().manual_seed(0))
    return [
        # These advantages add up to 0, so the softmax's normaliser cancels. In the next case it
        # does not.
        Case(
            "four samples of four arms",
            (
                numbers([0.0, 1.0, 0.5, -0.5]),
                torch.tensor([1, 0, 1, 2]),
                numbers([-0.25, 0.75, -0.25, -0.25]),
            ),
        ),
        Case(
            "advantages that do not add up to 0",
            (
                numbers([0.2, -0.4, 0.1]),
                torch.tensor([2, 2, 0, 1, 0]),
                numbers([1.0, 1.0, 0.0, 2.0, -0.5]),
            ),
        ),
        Case("one sample", (numbers([0.0, 2.0]), torch.tensor([0]), numbers([1.0]))),
        Case("40 samples", (numbers([0.1, 0.7, -1.0, 0.0, 0.4]), many, random_numbers(40, seed=1))),
    ]


def taken(logits: Tensor, actions: Tensor) -> Tensor:
    """1 where the arm was taken, [n, K]."""
    return F.one_hot(actions, len(logits)).double()


def votes(logits: Tensor, actions: Tensor, advantages: Tensor) -> Tensor:
    """The advantage of each sample times the score of its arm, [n, K]."""
    return advantages[:, None] * (taken(logits, actions) - logits.softmax(dim=0))


SAMPLED_MISTAKES = {
    # The sign, or a factor.
    "sum in place of mean": (
        lambda logits, actions, advantages: votes(logits, actions, advantages).sum(dim=0),
        "you add the samples up. Divide by their number, or more samples would mean a longer step.",
    ),
    "sign forgotten": (
        lambda logits, actions, advantages: -score_function_gradient(logits, actions, advantages),
        (
            "the sign is turned round: that is the gradient of the loss. Here it is that of the"
            " expected reward."
        ),
    ),
    # What stands for the score.
    "no normaliser": (
        lambda logits, actions, advantages: (advantages[:, None] * taken(logits, actions)).mean(
            dim=0
        ),
        (
            "your score is 1 for the arm taken and 0 elsewhere. The softmax's normaliser adds - p"
            " for every arm."
        ),
    ),
    "p of the taken arm everywhere": (
        lambda logits, actions, advantages: (
            advantages[:, None] * (taken(logits, actions) - logits.softmax(dim=0)[actions][:, None])
        ).mean(dim=0),
        "you subtract the p of the arm that was taken at every arm. Each arm k loses its own p_k.",
    ),
    "only the taken arm's entry": (
        lambda logits, actions, advantages: (
            taken(logits, actions) * votes(logits, actions, advantages)
        ).mean(dim=0),
        (
            "you change only the entry of the arm that was taken. Each sample also pushes all other"
            " arms, by - p_k."
        ),
    ),
    "p of the taken arm twice": (
        lambda logits, actions, advantages: (
            votes(logits, actions, advantages)
            - advantages[:, None] * taken(logits, actions) * logits.softmax(dim=0)
        ).mean(dim=0),
        "you subtract p twice at the arm that was taken. Its score is 1 - p_a.",
    ),
    "probability instead of log-probability": (
        lambda logits, actions, advantages: score_function_gradient(
            logits, actions, advantages * logits.softmax(dim=0)[actions]
        ),
        "you differentiate p, not log p. Sampling already takes each arm with its probability.",
    ),
    # How advantages and scores are joined.
    "means multiplied": (
        lambda logits, actions, advantages: (
            advantages.mean()
            * score_function_gradient(logits, actions, torch.ones_like(advantages))
        ),
        (
            "you multiply two means. Multiply each score by its own advantage first, then take the"
            " mean."
        ),
    ),
    "advantages along the arms": (
        lambda logits, actions, advantages: (
            advantages * (taken(logits, actions) - logits.softmax(dim=0))
        ).mean(dim=0),
        (
            "[n] times [n, K] sets the advantages along the arms. Each sample has one:"
            " advantages[:, None]."
        ),
    ),
    # The form of the result.
    "one number": (
        lambda logits, actions, advantages: votes(logits, actions, advantages).mean(),
        (
            "you take the mean over samples and arms. The gradient has an entry for each arm:"
            " .mean(dim=0)."
        ),
    ),
    "one row a sample": (
        lambda logits, actions, advantages: votes(logits, actions, advantages),
        "you return a row for each sample. The estimate is their mean: .mean(dim=0).",
    ),
}

# --- surrogate_loss


def surrogate_loss(logp, advantages, mask):
    """logp [B, T] in nats, advantages [B], mask [B, T] of 0 and 1 -> a scalar tensor."""
    of_completions = torch.where(mask.bool(), logp, 0.0).sum(dim=1)
    return -(advantages * of_completions).mean()


def loss_cases() -> list[Case]:
    """Log-probs of ragged rows. Those in the padding must not count."""

    def case(
        label: str, lengths: list[int], width: int, seed: int, advantages: list[float]
    ) -> Case:
        logp = -random_numbers(len(lengths), width, seed=seed).abs()
        return Case(label, (logp, numbers(advantages), ragged_mask(lengths, width)))

    return [
        case("no padding", [4, 4, 4], 4, seed=0, advantages=[1.0, -0.5, -0.5]),
        case("ragged lengths", [5, 2, 3, 1], 6, seed=1, advantages=[0.5, 0.5, -0.5, -0.5]),
        # A square, in which advantages along the tokens raise no error.
        case("as many rows as tokens", [3, 2, 3], 3, seed=2, advantages=[2.0, -1.0, 0.25]),
        case("an empty row", [3, 0], 4, seed=3, advantages=[0.7, 1.1]),
    ]


def of_rows(logp: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.bool(), logp, 0.0).sum(dim=1)


LOSS_MISTAKES = {
    # The sign and the padding.
    "sign forgotten": (
        lambda logp, advantages, mask: -surrogate_loss(logp, advantages, mask),
        (
            "the sign is turned round: minimising this makes what was good less likely. The loss"
            " has a minus in front."
        ),
    ),
    "padding left in": (
        lambda logp, advantages, mask: surrogate_loss(logp, advantages, torch.ones_like(mask)),
        "you do not use the mask: the numbers in the padding belong to no token.",
    ),
    # What the sum is divided by.
    "mean over padding": (
        lambda logp, advantages, mask: surrogate_loss(logp, advantages, mask) / mask.shape[1],
        (
            "you divide each row by the padded width. The log-prob of a completion is the plain sum"
            " over its tokens."
        ),
    ),
    "mean over all tokens": (
        lambda logp, advantages, mask: (
            surrogate_loss(logp, advantages, mask) * len(mask) / mask.sum()
        ),
        (
            "you divide by the number of all tokens. Sum over the tokens of a completion, mean over"
            " completions."
        ),
    ),
    "mean over the row's tokens": (
        lambda logp, advantages, mask: surrogate_loss(
            logp, advantages / mask.sum(dim=1).clamp(min=1), mask
        ),
        (
            "you divide each row by its number of tokens. The log-prob of a completion is the sum"
            " over them."
        ),
    ),
    "sum in place of mean": (
        lambda logp, advantages, mask: surrogate_loss(logp, advantages, mask) * len(mask),
        "you add the rows up. The estimate is a mean over completions.",
    ),
    "not averaged": (
        lambda logp, advantages, mask: -advantages * of_rows(logp, mask),
        "you return a number for each row. The loss is one number: their mean.",
    ),
    # What the advantages are multiplied with.
    "probability instead of log-probability": (
        lambda logp, advantages, mask: -(advantages * of_rows(logp, mask).exp()).mean(),
        (
            "you take the probability of each completion. Take its log: sampling has already"
            " weighed the completions."
        ),
    ),
    "detached": (
        lambda logp, advantages, mask: surrogate_loss(logp.detach(), advantages, mask),
        (
            "your value is right but carries no gradient, so no weight would move: only the"
            " advantages are constants."
        ),
    ),
    "advantages along the tokens": (
        lambda logp, advantages, mask: (
            -torch.where(mask.bool(), advantages * logp, 0.0).sum(dim=1).mean()
        ),
        (
            "[B] times [B, T] sets the advantages along the tokens. Each row has one: advantages[:,"
            " None]."
        ),
    ),
}

EXERCISES = [
    Exercise(
        name="score_function_gradient",
        lesson="03",
        minutes=10,
        difficulty=2,
        reference=score_function_gradient,
        cases=sampled_cases,
        mistakes=named(SAMPLED_MISTAKES),
        hints=[
            (
                "Each sample votes: advantage times the gradient of the log-prob of its own arm."
                " Then take the mean."
            ),
            (
                "log p_a = logit_a - log(sum of exp(logits)). Its derivative by logit k is 1 - p_k"
                " for the arm that was taken, and - p_k for the others."
            ),
            (
                "`scores = torch.nn.functional.one_hot(actions, len(logits)) -"
                " logits.softmax(dim=0)` is [n, K]; then `(advantages[:, None] *"
                " scores).mean(dim=0)`."
            ),
        ],
    ),
    Exercise(
        name="surrogate_loss",
        lesson="03",
        minutes=10,
        difficulty=2,
        reference=surrogate_loss,
        cases=loss_cases,
        mistakes=named(LOSS_MISTAKES),
        hints=[
            (
                "First one number for each row: the log-prob of the whole completion. Probabilities"
                " of tokens multiply."
            ),
            (
                "`torch.where(mask.bool(), logp, 0.0).sum(dim=1)` is [B]. Multiply by the"
                " advantages, take the mean, and mind the sign."
            ),
            "`-(advantages * torch.where(mask.bool(), logp, 0.0).sum(dim=1)).mean()`",
        ],
        gradient_of=0,
    ),
]
