"""A method is four choices: how rewards are scaled, which ratio, how far it may move, how tokens
become one number.

    from rlvr_helpers.methods import GRPO, DR_GRPO, GSPO

The trainer knows no method by name. It reads these choices.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Real

from torch import Tensor

from rlvr_helpers.clipping import clip_binds, clipped_objective
from rlvr_helpers.engine.error_notes import noted
from rlvr_helpers.engine.names import as_function, name_to_import

ADVANTAGE_SCALES = ("std", "none", "leave_one_out")
RATIO_LEVELS = ("token", "sequence")
AGGREGATIONS = ("sequence_mean", "constant", "token_mean")
KL_KINDS = ("k1", "k2", "k3")
NUMBERS = {"clip_low", "clip_high", "kl_coef"}


@dataclass(frozen=True)
class Method:
    """The four choices and an optional KL term. Raises ValueError on a choice that does not exist.

    advantage_scale: see `advantages.group_advantages`
    ratio_level:     a ratio for each token, or one for each sequence (`ratios`)
    clip_low/high:   the ratio may fall to 1 - clip_low and rise to 1 + clip_high (`clipping`)
    aggregation:     see `losses.aggregate`
    kl_coef:         weight of the KL to the start model in the loss. 0 needs no reference log-probs
    objective:       one of your own in the place of the clipped one: a function of ratios,
                     advantages and mask that gives what is maximised on each token (or sequence, at
                     that level). A function, or its name as "module:function". The clip range has
                     no effect then
    clip_share:      of such an objective: a function of the same three that is True where it stops
                     the gradient. None: no clip share is recorded
    """

    name: str
    advantage_scale: str
    ratio_level: str
    clip_low: float
    clip_high: float
    aggregation: str
    kl_coef: float = 0.0
    kl_kind: str = "k3"
    objective: Callable[..., Tensor] | str | None = None
    clip_share: Callable[..., Tensor] | str | None = None

    def __post_init__(self) -> None:
        # Choices that exist, and numbers that make sense.
        for field, allowed in (
            ("advantage_scale", ADVANTAGE_SCALES),
            ("ratio_level", RATIO_LEVELS),
            ("aggregation", AGGREGATIONS),
            ("kl_kind", KL_KINDS),
        ):
            if getattr(self, field) not in allowed:
                raise ValueError(
                    f"{field} must be one of {', '.join(allowed)}, not {getattr(self, field)!r}"
                )
        # A clip range can be infinite, which is none.
        numbers = (self.clip_low, self.clip_high, self.kl_coef)
        sound = all(isinstance(number, Real) and number >= 0 for number in numbers)
        if not sound or self.kl_coef == math.inf:
            raise ValueError(
                "clip_low, clip_high and kl_coef must be 0 or more, and kl_coef finite, not"
                f" {', '.join(map(repr, numbers))}"
            )
        if not isinstance(self.name, str):
            raise ValueError(f"a method must have a name as 'GSPO wide', not {self.name!r}")
        # An objective of your own, and its clip share.
        if self.clip_share is not None and self.objective is None:
            raise ValueError("clip_share belongs to an objective of your own: give that too")
        for own in (self.objective, self.clip_share):
            if not (own is None or callable(own) or isinstance(own, str) and ":" in own):
                raise ValueError(
                    "objective and clip_share must be functions, or named as module:function, not"
                    f" {own!r}"
                )

    def functions(self) -> tuple[Callable[..., Tensor], Callable[..., Tensor] | None]:
        """What is maximised, and where that is clipped: both functions of ratios, advantages and
        mask."""
        if self.objective is None:
            clip = {"clip_low": self.clip_low, "clip_high": self.clip_high}
            return (
                lambda ratios, advantages, mask: clipped_objective(ratios, advantages, **clip),
                lambda ratios, advantages, mask: clip_binds(ratios, advantages, **clip),
            )
        own = {"objective": self.objective, "clip share": self.clip_share}
        return tuple(given and noted(as_function(given, what), what) for what, given in own.items())

    def to_dict(self) -> dict:
        """Plain numbers and texts, a function by its name. `Method(**data)` reads them."""
        data = {own.name: getattr(self, own.name) for own in fields(self)}
        for name in ("objective", "clip_share"):
            if data[name] is None:
                del data[name]
            else:
                data[name] = name_to_import(data[name])
        return data

    @property
    def clip_unit(self) -> str:
        """What the clip fraction counts: "tokens" or "sequences"."""
        return "tokens" if self.ratio_level == "token" else "sequences"


# GSPO's range was found by a pilot (`study.pilot.calibrate_clip_range`) on `tiny`, whose
# completions have some 30 tokens. At a learning rate of 4e-5 it gives 0.017/0.023, at 5e-5
# 0.029/0.039. The paper's range (below) is for far longer completions.
GRPO = Method("GRPO", "std", "token", clip_low=0.2, clip_high=0.2, aggregation="sequence_mean")
DR_GRPO = Method("Dr. GRPO", "none", "token", clip_low=0.2, clip_high=0.2, aggregation="constant")
GSPO = Method("GSPO", "std", "sequence", clip_low=0.02, clip_high=0.03, aggregation="sequence_mean")

# Relatives that the same four choices give. RLOO (arXiv 2402.14740) proper has no clip and one
# update per rollout. At ratio 1 this is its gradient divided by the token budget. DAPO (arXiv
# 2503.14476): its loss, without its sampling.
RLOO = Method("RLOO", "leave_one_out", "token", clip_low=0.2, clip_high=0.2, aggregation="constant")
DAPO = Method("DAPO loss", "std", "token", clip_low=0.2, clip_high=0.28, aggregation="token_mean")

METHODS = {"grpo": GRPO, "dr_grpo": DR_GRPO, "gspo": GSPO, "rloo": RLOO, "dapo": DAPO}

# What the papers themselves use, and why.
PAPER_SETTINGS = {
    # 2402.03300, sec. 4.2: a KL term, since a learned reward model can be led astray. It made one
    # update per rollout.
    "grpo": replace(GRPO, kl_coef=0.04),
    # 2503.20783, sec. 3.2: no division by std or length, each of which weights questions or answers
    # unevenly. No KL term, since a rule checks the answers.
    "dr_grpo": DR_GRPO,
    # 2507.18071, sec. 5.1: the ratio of a long completion, a geometric mean over its tokens, hardly
    # leaves 1, so the range is small. Four mini-batches per rollout, a mixture of experts of 30 B.
    "gspo": replace(GSPO, clip_low=3e-4, clip_high=4e-4),
    # 2503.14476, sec. 3.1: a higher upper bound, so that unlikely tokens can grow. A mean over
    # tokens, so that long completions count for what they are.
    "dapo": DAPO,
}


def method_by_name(name: str) -> Method:
    """The method of a short name such as "dr_grpo". Raises ValueError that lists the names."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}: choose from {', '.join(METHODS)}")
    return METHODS[name]


def method_from_text(text: str) -> Method:
    """A method of your own, from "name=GSPO wide,ratio_level=sequence,clip_low=0.2,clip_high=0.2".

    A choice that is left out is GRPO's. Raises ValueError on a choice or value that does not exist.
    """
    known = [own.name for own in fields(Method)]
    changes = {}
    # Read each choice once, as text.
    for pair in filter(str.strip, text.split(",")):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key not in known or not equals or not value or "=" in value or key in changes:
            raise ValueError(
                f"--method {text!r}: {pair.strip()!r} must be choice=value, each once, of"
                f" {', '.join(known)}"
            )
        changes[key] = value
    if "name" not in changes:
        raise ValueError(f"--method {text!r}: give it a name, as name=GSPO wide")
    # Those that are numbers become numbers.
    for key in NUMBERS & changes.keys():
        try:
            changes[key] = float(changes[key])
        except ValueError:
            raise ValueError(f"--method {text!r}: {key} must be a number") from None
    return replace(GRPO, **changes)
