"""Exercises of lesson 05: importance ratios."""

import torch

from rlvr_helpers.exercises.cases import batch
from rlvr_helpers.exercises.core import Case, Exercise, named


def ratio_cases() -> list[Case]:
    # Numbers in the padding show whether the mask is used, NaN whether it is used early enough.
    return [
        Case("no padding", batch([4, 4], 4, seed=0, spread=0.3, padding=[0.0])),
        Case(
            "ragged lengths", batch([5, 2, 3, 1], 6, seed=1, spread=0.3, padding=[-1.0, 2.0, -0.5])
        ),
        Case("an empty row", batch([3, 0, 4], 4, seed=2, spread=0.3, padding=[-0.7, 0.4])),
        Case("NaN in the padding", batch([2, 5, 3], 6, seed=3, spread=0.3, padding=[float("nan")])),
    ]


# --- token_ratios


def token_ratios(logp_new, logp_old, mask):
    """exp(logp_new - logp_old) where the mask is 1, and 1 elsewhere, [B, T]. logp_old carries no
    gradient."""
    log_ratios = torch.where(mask.bool(), logp_new - logp_old.detach(), 0.0)
    return log_ratios.exp()


TOKEN_MISTAKES = {
    # The gradient of the old log-probs, and the mask.
    "old log-probs not detached": (
        lambda new, old, mask: torch.where(mask.bool(), new - old, 0.0).exp(),
        "a gradient flows into the old log-probs. They are a constant: logp_old.detach().",
    ),
    "padding left in": (
        lambda new, old, mask: (new - old.detach()).exp(),
        "you do not use the mask. Where it is 0 the ratio is 1, whatever stands there.",
    ),
    "ratio 0 in the padding": (
        lambda new, old, mask: torch.where(mask.bool(), token_ratios(new, old, mask), 0.0),
        "your ratio is 0 where the mask is 0. It is to be 1 there: nothing has moved.",
    ),
    "ratio times the mask": (
        lambda new, old, mask: (new - old.detach()).exp() * mask,
        (
            "you multiply the ratio by the mask: 0 instead of 1, and NaN stays NaN. Choose with"
            " torch.where."
        ),
    ),
    "difference times the mask": (
        lambda new, old, mask: ((new - old.detach()) * mask).exp(),
        (
            "you multiply by the mask, and NaN times 0 stays NaN. Choose with"
            " torch.where(mask.bool(), difference, 0.0)."
        ),
    ),
    "masked after exp": (
        lambda new, old, mask: torch.where(mask.bool(), (new - old.detach()).exp(), 1.0),
        (
            "a gradient is NaN: torch.where sends 0 back through exp, and 0 times NaN is NaN. Mask"
            " before exp."
        ),
    ),
    # What is made of the two log-probs.
    "upside down": (
        lambda new, old, mask: 1 / token_ratios(new, old, mask),
        "your ratio is upside down: the new probability stands above, the old one below.",
    ),
    "no exp": (
        lambda new, old, mask: torch.where(mask.bool(), token_ratios(new, old, mask).log(), 1.0),
        "you give the difference of the log-probs, which is the log of the ratio: exp is missing.",
    ),
    "log-probs divided": (
        lambda new, old, mask: torch.where(mask.bool(), new / old.detach(), 1.0),
        (
            "you divide the log-probs. A ratio of probabilities is exp of the difference of their"
            " logs."
        ),
    ),
    "detached": (
        lambda new, old, mask: token_ratios(new.detach(), old, mask),
        (
            "your values are right but carry no gradient: detach the old log-probs, never the new"
            " ones."
        ),
    ),
}

# --- sequence_ratios


def sequence_ratios(logp_new, logp_old, mask):
    """exp of the mean of logp_new - logp_old over each row's own tokens, [B]. logp_old carries no
    gradient."""
    log_ratios = torch.where(mask.bool(), logp_new - logp_old.detach(), 0.0)
    return (log_ratios.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).exp()


SEQUENCE_MISTAKES = {
    "old log-probs not detached": (
        lambda new, old, mask: sequence_ratios(new, old, mask) / sequence_ratios(old, old, mask),
        "a gradient flows into the old log-probs. They are a constant: logp_old.detach().",
    ),
    # What is averaged, and over how many tokens.
    "sum instead of mean": (
        lambda new, old, mask: token_ratios(new, old, mask).prod(dim=1),
        (
            "you sum the differences, which gives the product of the token ratios. Divide by the"
            " row's number of tokens."
        ),
    ),
    "mean over the padding": (
        lambda new, old, mask: token_ratios(new, old, mask).log().mean(dim=1).exp(),
        (
            "you divide by the padded width. Divide by each row's own number of tokens,"
            " mask.sum(dim=1)."
        ),
    ),
    "mean over the batch's tokens": (
        lambda new, old, mask: (token_ratios(new, old, mask).log().sum(dim=1) / mask.sum()).exp(),
        (
            "you divide by the number of tokens of the whole batch. Each row has its own:"
            " mask.sum(dim=1)."
        ),
    ),
    "mean of the ratios": (
        lambda new, old, mask: (
            (token_ratios(new, old, mask) * mask).sum(1) / mask.sum(1).clamp(min=1) + ~mask.any(1)
        ),
        "you average the token ratios. GSPO takes exp of the mean difference (a geometric mean).",
    ),
    "mean of the ratios, 0 in an empty row": (
        lambda new, old, mask: (
            (token_ratios(new, old, mask) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        ),
        (
            "you average the token ratios. GSPO takes exp of the mean difference; in an empty row"
            " that is exp(0) = 1."
        ),
    ),
    # What is made of the mean, and rows without tokens.
    "no exp": (
        lambda new, old, mask: sequence_ratios(new, old, mask).log(),
        "you give the mean difference of the log-probs, the log of the ratio: exp is missing.",
    ),
    "upside down": (
        lambda new, old, mask: 1 / sequence_ratios(new, old, mask),
        "your ratio is upside down: the new probability stands above, the old one below.",
    ),
    "empty row": (
        lambda new, old, mask: (
            token_ratios(new, old, mask).log().sum(dim=1) / mask.sum(dim=1)
        ).exp(),
        "a row without tokens gives 0 / 0. Divide by at least 1: mask.sum(dim=1).clamp(min=1).",
    ),
    "difference times the mask": (
        lambda new, old, mask: (
            ((new - old.detach()) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        ).exp(),
        (
            "you multiply by the mask, and NaN times 0 stays NaN. Choose with"
            " torch.where(mask.bool(), difference, 0.0)."
        ),
    ),
    # Right values with another gradient or shape.
    "gradient n times too large": (
        lambda new, old, mask: (
            sequence_ratios(new.detach(), old, mask) * token_ratios(new, new, mask).prod(dim=1)
        ),
        (
            "your gradient is n times too large, that of the sum. Divide the sum by the row's"
            " number of tokens."
        ),
    ),
    "one column": (
        lambda new, old, mask: sequence_ratios(new, old, mask)[:, None],
        (
            "your values are right, as a column [B, 1]. One number for each row is asked for, [B]:"
            " leave out keepdim."
        ),
    ),
    "detached": (
        lambda new, old, mask: sequence_ratios(new.detach(), old, mask),
        (
            "your values are right but carry no gradient: detach the old log-probs, never the new"
            " ones."
        ),
    ),
}

# --- gspo_token_ratios


def gspo_token_ratios(logp_new, logp_old, mask):
    """sg(s[i]) * exp(l - sg(l)) where the mask is 1, and 1 elsewhere, [B, T]."""
    log_ratios = torch.where(mask.bool(), logp_new - logp_old, 0.0).detach()
    s = (log_ratios.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)).exp()
    one = torch.where(mask.bool(), logp_new - logp_new.detach(), 0.0).exp()
    return torch.where(mask.bool(), s * one, 1.0)


GSPO_MISTAKES = {
    # What carries the gradient.
    "s carries a gradient": (
        lambda new, old, mask: torch.where(
            mask.bool(),
            sequence_ratios(new, old, mask)[:, None] * token_ratios(new, new, mask),
            1.0,
        ),
        (
            "your values are right but s carries a gradient as well, so each token's is counted"
            " twice: detach s."
        ),
    ),
    "the sequence ratio itself": (
        lambda new, old, mask: torch.where(
            mask.bool(), sequence_ratios(new, old, mask)[:, None], 1.0
        ),
        (
            "the gradient runs through s, shared by the row's tokens. In eq. 14 it runs through"
            " each token's l."
        ),
    ),
    "no gradient": (
        lambda new, old, mask: gspo_token_ratios(new.detach(), old, mask),
        (
            "your values are right but the gradient is 0: in exp(l - l) it cancels. Detach only the"
            " second l."
        ),
    ),
    # The value of each factor.
    "old log-probs in exp": (
        lambda new, old, mask: (
            gspo_token_ratios(new, old, mask) * token_ratios(new.detach(), old, mask)
        ),
        (
            "you multiply s by the token ratio. The second factor is exp(l - sg(l)), l being the"
            " new log-prob."
        ),
    ),
    "sum instead of mean": (
        lambda new, old, mask: torch.where(
            mask.bool(),
            token_ratios(new, old, mask).prod(1).detach()[:, None] * token_ratios(new, new, mask),
            1.0,
        ),
        (
            "your s is the product of the token ratios: the sum in its exponent is to be a mean"
            " over the row's tokens."
        ),
    ),
    # The padding.
    "padding left in": (
        lambda new, old, mask: (
            sequence_ratios(new, old, mask).detach()[:, None] * (new - new.detach()).exp()
        ),
        (
            "you do not use the mask for the second factor. Where the mask is 0 the result is 1,"
            " whatever stands there."
        ),
    ),
    "masked after exp": (
        lambda new, old, mask: torch.where(
            mask.bool(),
            sequence_ratios(new, old, mask).detach()[:, None] * (new - new.detach()).exp(),
            1.0,
        ),
        (
            "a gradient is NaN: torch.where sends 0 back through exp, and 0 times NaN is NaN. Mask"
            " before exp."
        ),
    ),
    "0 in the padding": (
        lambda new, old, mask: torch.where(mask.bool(), gspo_token_ratios(new, old, mask), 0.0),
        "you give 0 where the mask is 0. It is to be 1 there, as in token_ratios.",
    ),
    "s in the padding": (
        lambda new, old, mask: (
            sequence_ratios(new, old, mask).detach()[:, None] * token_ratios(new, new, mask)
        ),
        (
            "the padding of a row carries its sequence ratio. It is to be 1 where the mask is 0:"
            " torch.where at the end."
        ),
    ),
}

# The gradient by logp_new is compared, and none should flow into logp_old.
COMMON = {"lesson": "05", "cases": ratio_cases, "gradient_of": 0, "constants": (1,)}

EXERCISES = [
    Exercise(
        name="token_ratios",
        minutes=5,
        difficulty=1,
        reference=token_ratios,
        mistakes=named(TOKEN_MISTAKES),
        hints=[
            "Log-probs are logs: how do you get p_new / p_old from log p_new and log p_old?",
            (
                "exp(logp_new - logp_old). The padding may hold NaN, so it has to be out of the way"
                " before exp."
            ),
            (
                "`torch.where(mask.bool(), logp_new - logp_old.detach(), 0.0).exp()`: exp(0) is the"
                " 1 that the padding needs."
            ),
        ],
        **COMMON,
    ),
    Exercise(
        name="sequence_ratios",
        minutes=8,
        difficulty=2,
        reference=sequence_ratios,
        mistakes=named(SEQUENCE_MISTAKES),
        hints=[
            "One number a row: the geometric mean of its token ratios. What is that in logs?",
            (
                "exp of the mean of logp_new - logp_old, over the row's own tokens and not over the"
                " padding."
            ),
            (
                "With `d = torch.where(mask.bool(), logp_new - logp_old.detach(), 0.0)`: "
                "`d.sum(dim=1) / mask.sum(dim=1).clamp(min=1)`, then exp."
            ),
        ],
        **COMMON,
    ),
    Exercise(
        name="gspo_token_ratios",
        minutes=10,
        difficulty=3,
        reference=gspo_token_ratios,
        mistakes=named(GSPO_MISTAKES),
        hints=[
            (
                "The value and the gradient are two things here. `.detach()` keeps a value and"
                " stops its gradient."
            ),
            (
                "`exp(l - l.detach())` is 1 and has the gradient of l. Which factor gives it the"
                " right value?"
            ),
            (
                "`s = sequence_ratios(logp_new, logp_old, mask).detach()[:, None]`, times "
                "`token_ratios(logp_new, logp_new.detach(), mask)`, and 1 where the mask is 0."
            ),
        ],
        **COMMON,
    ),
]
