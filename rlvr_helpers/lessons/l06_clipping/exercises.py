"""Exercises of lesson 06: clipping."""

import torch
from torch import Tensor

from rlvr_helpers.exercises.cases import numbers, random_numbers
from rlvr_helpers.exercises.core import Case, Exercise, named

# --- clipped_objective


def clipped_objective(ratios, advantages, clip_low, clip_high):
    """The smaller of q A and clip(q, 1 - clip_low, 1 + clip_high) A, in the shape that ratios and
    advantages broadcast to."""
    clipped = ratios.clamp(1 - clip_low, 1 + clip_high)
    return torch.minimum(ratios * advantages, clipped * advantages)


def clip_cases() -> list[Case]:
    """Ratios below, inside and above the range with advantages of both signs, none on the edge."""
    tokens = numbers(
        [[0.5, 0.9, 1.0, 1.1, 1.5], [1.7, 1.25, 1.0, 0.85, 0.3], [0.2, 0.95, 1.05, 1.3, 2.0]]
    )
    signs = numbers([[0.8], [-1.2], [0.0]])
    sequences = numbers([1.0006, 0.9995, 1.0002, 0.9999, 1.002, 0.998])
    many = (0.5 * random_numbers(4, 12, seed=0)).exp()
    return [
        Case("one advantage a row, range 0.2", (tokens, signs, 0.2, 0.2)),
        Case("higher above than below", (tokens, signs, 0.2, 0.28)),
        Case(
            "sequence ratios, a narrow range",
            (sequences, numbers([1, -1, -1, 1, -2, 2]), 3e-4, 4e-4),
        ),
        Case("many tokens", (many, random_numbers(4, 12, seed=1), 0.1, 0.3)),
    ]


def clip(ratios: Tensor, low: float, high: float) -> Tensor:
    return ratios.clamp(1 - low, 1 + high)


OBJECTIVE_MISTAKES = {
    # Which of the two products is taken.
    "max for negative advantages": (
        lambda q, a, low, high: torch.minimum(q, clip(q, low, high)) * a,
        (
            "with negative advantages you take the larger product (the smaller ratio). Take the"
            " smaller product always."
        ),
    ),
    "clip without the minimum": (
        lambda q, a, low, high: clip(q, low, high) * a,
        (
            "you always use the clipped ratio. The unclipped product stays where it is smaller:"
            " take the minimum."
        ),
    ),
    "maximum": (
        lambda q, a, low, high: torch.maximum(q * a, clip(q, low, high) * a),
        (
            "you take the larger of the two products. The objective is to be cautious: the smaller"
            " one."
        ),
    ),
    "Python's min": (
        lambda q, a, low, high: min(q * a, clip(q, low, high) * a),
        (
            "Python's min compares two tensors as wholes. torch.minimum takes the smaller one at"
            " each place."
        ),
    ),
    "no clip": (
        lambda q, a, low, high: q * a,
        "nothing is clipped: that is ratio times advantage.",
    ),
    "the loss": (
        lambda q, a, low, high: -clipped_objective(q, a, low, high),
        "your sign is turned round: that is the loss. The objective is to be maximised.",
    ),
    # The edges of the range, and what is clipped.
    "one range for both sides": (
        lambda q, a, low, high: clipped_objective(q, a, low, low),
        "you use clip_low on both sides. Above 1 the range is clip_high.",
    ),
    "clip_high on both sides": (
        lambda q, a, low, high: clipped_objective(q, a, high, high),
        "you use clip_high on both sides. Below 1 the range is clip_low.",
    ),
    "sides exchanged": (
        lambda q, a, low, high: clipped_objective(q, a, high, low),
        "the two sides are exchanged: the range is from 1 - clip_low to 1 + clip_high.",
    ),
    "product clipped": (
        lambda q, a, low, high: torch.minimum(q * a, clip(q * a, low, high)),
        (
            "you clip ratio times advantage. Only the ratio is clipped, then multiplied by the"
            " advantage."
        ),
    ),
    "range not around 1": (
        lambda q, a, low, high: torch.minimum(q * a, q.clamp(low, high) * a),
        "you clip to clip_low and clip_high themselves. Clip from 1 - clip_low to 1 + clip_high.",
    ),
    # The form of the result, and its gradient.
    "averaged": (
        lambda q, a, low, high: clipped_objective(q, a, low, high).mean(),
        "you average. Give the objective of each place; lesson 07 makes one number of them.",
    ),
    "detached": (
        lambda q, a, low, high: clipped_objective(q.detach(), a, low, high),
        (
            "your values are right but carry no gradient: detach advantages if you like, never the"
            " ratios."
        ),
    ),
}

# --- clip_binds


def clip_binds(ratios, advantages, clip_low, clip_high):
    """True where the clip stops the gradient, in the shape that ratios and advantages broadcast
    to."""
    too_high = (advantages > 0) & (ratios > 1 + clip_high)
    too_low = (advantages < 0) & (ratios < 1 - clip_low)
    return too_high | too_low


BINDS_MISTAKES = {
    # The sign of the advantage. `a == a` is True everywhere and broadcasts.
    "outside the range": (
        lambda q, a, low, high: (clip(q, low, high) != q) & (a == a),
        (
            "you mark every ratio outside the range. Where the clip binds depends on the"
            " advantage's sign."
        ),
    ),
    "outside the range, 0 left out": (
        lambda q, a, low, high: (clip(q, low, high) != q) & (a != 0),
        (
            "you mark ratios outside the range on both sides. A positive advantage is stopped only"
            " above it."
        ),
    ),
    "signs exchanged": (
        lambda q, a, low, high: clip_binds(q, -a, low, high),
        (
            "the signs are exchanged. With a positive advantage the ratio is stopped above 1 +"
            " clip_high."
        ),
    ),
    "only above": (
        lambda q, a, low, high: (a > 0) & (q > 1 + high),
        (
            "you see only positive advantages. With a negative one the ratio is stopped below 1 -"
            " clip_low."
        ),
    ),
    # The edges of the range.
    "one range for both sides": (
        lambda q, a, low, high: clip_binds(q, a, low, low),
        "you use clip_low on both sides. Above 1 the range is clip_high.",
    ),
    "clip_high on both sides": (
        lambda q, a, low, high: clip_binds(q, a, high, high),
        "you use clip_high on both sides. Below 1 the range is clip_low.",
    ),
    "advantage 0 counted": (
        lambda q, a, low, high: torch.where(a >= 0, q > 1 + high, q < 1 - low),
        (
            "you count places where the advantage is 0, as with A >= 0. There is no gradient there"
            " that a clip could stop."
        ),
    ),
    "range not around 1": (
        lambda q, a, low, high: ((a > 0) & (q > high)) | ((a < 0) & (q < low)),
        (
            "you compare the ratio with clip_low and clip_high. The range is from 1 - clip_low to 1"
            " + clip_high."
        ),
    ),
    "times the advantage": (
        lambda q, a, low, high: clip_binds(1 + (q - 1) * a.abs(), a, low, high),
        (
            "you compare (q - 1) A with the range. The size of the advantage moves no edge: only"
            " its sign counts."
        ),
    ),
    # The form of the result.
    "numbers": (
        lambda q, a, low, high: clip_binds(q, a, low, high).float(),
        (
            "you give the numbers 1 and 0 in the right places. Give True and False, as comparisons"
            " joined with & and | do."
        ),
    ),
    "a fraction": (
        lambda q, a, low, high: clip_binds(q, a, low, high).double().mean(),
        (
            "you give the clipped fraction. Give True or False for each place; the fraction is its"
            " mean."
        ),
    ),
}

# --- range_that_binds


def range_that_binds(ratios, advantages, share):
    """The eps, the same above and below, that clips `share` of the places. A tensor without
    dimensions."""
    overshoots = (ratios - 1) * advantages.sign()
    return torch.quantile(overshoots, 1 - share).clamp(min=0)


def range_cases() -> list[Case]:
    """Ratios that went the way they were pushed and ratios that did not, rows of both signs and one
    of advantage 0."""
    # 15 and 30 % of 41 sequences fall on one of them, 5 and 40 % of 105 tokens between two.
    sequences = (0.02 * random_numbers(41, seed=1)).exp()
    each = random_numbers(41, seed=2)
    tokens = (0.1 * random_numbers(5, 21, seed=3) + 0.03).exp()
    rows = numbers([[1.5], [-0.4], [0.0], [-2.0], [0.6]])
    return [
        Case("sequences, 15 %", (sequences, each, 0.15)),
        Case("tokens of five rows, 5 %", (tokens, rows, 0.05)),
        Case("tokens of five rows, 40 %", (tokens, rows, 0.4)),
        Case(
            "nearly all moved the other way", (1 - each.sign() * (sequences - 1).abs(), each, 0.3)
        ),
    ]


def everywhere(values: Tensor, advantages: Tensor) -> Tensor:
    """Values broadcast against the advantages, one for each position."""
    return values.expand(torch.broadcast_shapes(values.shape, advantages.shape)).flatten()


def quantile(values: Tensor, share: float) -> Tensor:
    return torch.quantile(values, 1 - share).clamp(min=0)


RANGE_MISTAKES = {
    # How far a ratio went the way it was pushed.
    "outside the range": (
        lambda q, a, share: quantile(everywhere((q - 1).abs(), a), share),
        (
            "you take the distance from 1 on both sides. The clip binds only where the advantage"
            " pushes."
        ),
    ),
    "sign ignored": (
        lambda q, a, share: quantile(everywhere(q - 1, a), share),
        (
            "you look only at ratios above 1. With a negative advantage the clip binds below 1: use"
            " the sign."
        ),
    ),
    "signs exchanged": (
        lambda q, a, share: quantile((1 - q) * a.sign(), share),
        (
            "your sign is turned round. With a positive advantage the ratio is pushed up, so q - 1"
            " counts as it is."
        ),
    ),
    "times the advantage": (
        lambda q, a, share: quantile((q - 1) * a, share),
        "you multiply by the advantage. Its size moves no edge of the range: take its sign.",
    ),
    # Which quantile, and of which places.
    "the wrong end": (
        lambda q, a, share: quantile((q - 1) * a.sign(), 1 - share),
        (
            "you take the quantile at `share`. On the share that is clipped the overshoot is larger"
            " than eps: 1 - share."
        ),
    ),
    "below 0": (
        lambda q, a, share: torch.quantile((q - 1) * a.sign(), 1 - share),
        (
            "your range can be negative. If fewer places went the pushed way than are to be"
            " clipped, it is 0."
        ),
    ),
    "only those that went the pushed way": (
        lambda q, a, share: quantile(((q - 1) * a.sign())[(q - 1) * a.sign() > 0], share),
        (
            "you leave out the places that went the other way. They are not clipped and still count"
            " in the share."
        ),
    ),
    "advantage 0 left out": (
        lambda q, a, share: quantile(((q - 1) * a.sign()).flatten()[everywhere(a, q) != 0], share),
        (
            "you leave out places whose advantage is 0. They are never clipped and still count in"
            " the share."
        ),
    ),
    "no quantile between two places": (
        lambda q, a, share: torch.quantile(
            (q - 1) * a.sign(), 1 - share, interpolation="higher"
        ).clamp(min=0),
        (
            "you take the overshoot of one place. torch.quantile also goes between two neighbours,"
            " as the text asks."
        ),
    ),
    "a Python number": (
        lambda q, a, share: range_that_binds(q, a, share).item(),
        (
            "your number is right. Return it as a tensor: .clamp(min=0) instead of max(0.0,"
            " ....item())."
        ),
    ),
}

EXERCISES = [
    Exercise(
        name="clipped_objective",
        lesson="06",
        minutes=8,
        difficulty=2,
        reference=clipped_objective,
        cases=clip_cases,
        mistakes=named(OBJECTIVE_MISTAKES),
        hints=[
            (
                "Two candidates: ratio times advantage, and clipped ratio times advantage. Which"
                " one is cautious?"
            ),
            (
                "`ratios.clamp(low, high)` clips; the range lies around 1. Multiply both ratios by"
                " the advantage first."
            ),
            (
                "`torch.minimum(ratios * advantages, ratios.clamp(1 - clip_low, 1 + clip_high) *"
                " advantages)`"
            ),
        ],
        gradient_of=0,
    ),
    Exercise(
        name="clip_binds",
        lesson="06",
        minutes=6,
        difficulty=1,
        reference=clip_binds,
        cases=clip_cases,
        mistakes=named(BINDS_MISTAKES),
        hints=[
            (
                "Draw the objective over the ratio, once for A > 0 and once for A < 0. Where is it"
                " flat?"
            ),
            "For A > 0 it is flat above 1 + clip_high. For A < 0 it is flat on the other side.",
            "`((advantages > 0) & (ratios > 1 + clip_high)) | ((advantages < 0) & ...)`",
        ],
    ),
    Exercise(
        name="range_that_binds",
        lesson="06",
        minutes=10,
        difficulty=3,
        reference=range_that_binds,
        cases=range_cases,
        mistakes=named(RANGE_MISTAKES),
        hints=[
            (
                "How far has each ratio gone the way its advantage pushes it? A number for each"
                " place, negative if it went back."
            ),
            (
                "With `overshoot = (ratios - 1) * advantages.sign()` the clip binds where overshoot"
                " > eps."
            ),
            "`torch.quantile(overshoot, 1 - share)`, and never below 0: `.clamp(min=0)`.",
        ],
    ),
]
