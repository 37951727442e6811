"""Exercises of lesson 07: aggregation, the KL term, the whole loss."""

from dataclasses import replace

import torch
from torch import Tensor

from rlvr_helpers.clipping import clipped_objective
from rlvr_helpers.exercises.core import Case, Exercise, Mistake
from rlvr_helpers.exercises.lesson_05 import batch, too_large_gradient
from rlvr_helpers.losses import aggregate, kl_estimate
from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO, Method
from rlvr_helpers.ratios import sequence_ratios, token_ratios


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- aggregate ----------------------------------------------------------------------------------------------------


def rows_of(lengths: list[int], width: int, padding: float = 7.0) -> tuple[Tensor, Tensor]:
    """Values and mask [rows, width], with `padding` where the mask is 0."""
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return torch.where(mask.bool(), numbers(len(lengths), width, seed=sum(lengths)), padding), mask


def aggregate_cases() -> list[Case]:
    ragged, with_nan = rows_of([5, 2, 3, 1], 6), rows_of([2, 5, 3], 6, padding=float("nan"))
    empty, part = rows_of([3, 0, 4], 4), rows_of([4, 2], 5)
    return [
        Case("ragged rows, sequence_mean", (*ragged, "sequence_mean", 8)),
        Case("ragged rows, constant", (*ragged, "constant", 8)),
        Case("ragged rows, token_mean", (*ragged, "token_mean", 8)),
        Case("NaN in the padding, sequence_mean", (*with_nan, "sequence_mean", 9)),
        Case("an empty row, sequence_mean", (*empty, "sequence_mean", 5)),
        Case("2 rows of a batch of 6, sequence_mean", (*part, "sequence_mean", 7, 6, 20)),
        Case("2 rows of a batch of 6, constant", (*part, "constant", 7, 6, 20)),
        Case("20 tokens in the whole batch, token_mean", (*part, "token_mean", 7, 6, 20)),
    ]


def add_up(
    values, mask, how, max_tokens, total_rows=None, total_tokens=None, *, width=None, rows=None, clean=None
) -> Tensor:
    """aggregate with parts that can be exchanged, to make the mistakes. width: a row's divisor in "sequence_mean"."""
    values = torch.where(mask.bool(), values, 0.0) if clean is None else clean(values, mask)
    width = mask.sum(dim=1).clamp(min=1) if width is None else width
    rows = (total_rows or len(mask)) if rows is None else rows
    if how == "sequence_mean":
        return (values.sum(dim=1) / width).sum() / rows
    return values.sum() / (rows * max_tokens if how == "constant" else total_tokens or mask.sum())


AGGREGATE_MISTAKES = [
    Mistake(
        "mean over the padding",
        lambda v, m, how, *sizes: add_up(v, m, how, *sizes, width=m.shape[1]),
        'your "sequence_mean" divides each row by the padded width. Divide by the row\'s own tokens, mask.sum(dim=1).',
    ),
    Mistake(
        "padded width instead of the budget",
        lambda v, m, how, max_tokens, *totals: add_up(v, m, how, m.shape[1], *totals),
        'your "constant" divides by the padded width, which depends on the longest neighbour. Divide by max_tokens.',
    ),
    Mistake(
        "own length in constant",
        lambda v, m, how, *sizes: add_up(v, m, "sequence_mean" if how == "constant" else how, *sizes),
        'your "constant" still divides each row by its own length: that is "sequence_mean", the very thing that '
        "Dr. GRPO takes away.",
    ),
    Mistake(
        "mean of means as token mean",
        lambda v, m, how, *sizes: add_up(v, m, "sequence_mean" if how == "token_mean" else how, *sizes),
        'your "token_mean" is a mean of the rows\' means. Add up all tokens first, then divide once by their number.',
    ),
    Mistake(
        "token mean as mean of means",
        lambda v, m, how, *sizes: add_up(v, m, "token_mean" if how == "sequence_mean" else how, *sizes),
        'your "sequence_mean" is a mean over all tokens. Take each row\'s mean first, then the mean over rows.',
    ),
    Mistake(
        "constant without the rows",
        lambda v, m, how, *sizes: add_up(v, m, how, *sizes, rows=1 if how == "constant" else None),
        'your "constant" forgets the number of rows: divide by rows * max_tokens.',
    ),
    Mistake(
        "micro-batch divided by its own rows",
        lambda v, m, how, max_tokens, *totals: add_up(v, m, how, max_tokens),
        "you divide by the rows and tokens that you see. A micro-batch divides by those of its whole batch, total_rows "
        "and total_tokens, or the micro-batches do not add up to the batch.",
    ),
    Mistake(
        "total tokens ignored",
        lambda v, m, how, max_tokens, rows=None, tokens=None: add_up(v, m, how, max_tokens, rows),
        'you use total_rows but not total_tokens: "token_mean" divides by it where it is given.',
    ),
    Mistake(
        "empty rows left out",
        lambda v, m, how, max_tokens, rows=None, tokens=None: add_up(
            v, m, how, max_tokens, rows or int(m.any(dim=1).sum()), tokens
        ),
        "you leave rows without tokens out of the count. They add 0 and still count as rows.",
    ),
    Mistake(
        "0 / 0",
        lambda v, m, how, *sizes: add_up(v, m, how, *sizes, width=m.sum(dim=1)),
        "a row without tokens gives 0 / 0. Divide by at least 1: mask.sum(dim=1).clamp(min=1).",
    ),
    Mistake(
        "times the mask",
        lambda v, m, how, *sizes: add_up(v, m, how, *sizes, clean=lambda values, mask: values * mask),
        "you multiply by the mask, and NaN times 0 stays NaN. Choose with torch.where(mask.bool(), per_token, 0.0).",
    ),
    Mistake(
        "padding left in",
        lambda v, m, how, *sizes: add_up(v, m, how, *sizes, clean=lambda values, mask: values),
        "your sums run over the padding as well. Set the values to 0 where the mask is 0, before the sum.",
    ),
    Mistake(
        "detached",
        lambda v, *rest: aggregate(v.detach(), *rest),
        "your values are right but carry no gradient: keep to tensor operations, without .item() or .detach().",
    ),
]

# --- kl_estimate --------------------------------------------------------------------------------------------------


def kl_cases() -> list[Case]:
    logp, shift = -3 * torch.rand(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64), 0.6
    ref = logp + shift * numbers(3, 5, seed=1)
    return [
        *(Case(f"[3, 5], {kind}", (logp, ref, kind)) for kind in ("k1", "k2", "k3")),
        Case("policy and reference equal, k3", (logp[0], logp[0], "k3")),
        Case("without a kind", (logp[:2], ref[:2])),
    ]


def kl_of(x: Tensor, kind: str) -> Tensor:
    """The three estimates as functions of x, to make the mistakes."""
    return {"k1": -x, "k2": x.square() / 2, "k3": x.exp() - x - 1}[kind]


KL_MISTAKES = [
    Mistake(
        "x reversed",
        lambda logp, ref, kind="k3": kl_of(logp - ref, kind),
        "your x has the wrong sign: x = logp_ref - logp. In k3 that makes another number; in k2 it would not show.",
    ),
    Mistake(
        "k1 reversed",
        lambda logp, ref, kind="k3": ref - logp if kind == "k1" else kl_estimate(logp, ref, kind),
        "your k1 has the wrong sign. KL(policy || reference) is the mean of logp - logp_ref, so k1 = -x.",
    ),
    Mistake(
        "k3 reversed",
        lambda logp, ref, kind="k3": kl_of(logp - ref if kind == "k3" else ref - logp, kind),
        "your k3 takes exp(logp - logp_ref). The ratio in k3 is reference over policy: exp(x) with x = logp_ref - logp.",
    ),
    Mistake(
        "k2 without the half",
        lambda logp, ref, kind="k3": kl_estimate(logp, ref, kind) * (2 if kind == "k2" else 1),
        "your k2 is twice too large: it is x^2 / 2.",
    ),
    Mistake(
        "k3 without the 1",
        lambda logp, ref, kind="k3": kl_estimate(logp, ref, kind) + (1 if kind == "k3" else 0),
        "your k3 is 1 too large: it is e^x - x - 1, which is 0 where policy and reference agree.",
    ),
    Mistake(
        "k3 without the x",
        lambda logp, ref, kind="k3": (ref - logp).exp() - 1 if kind == "k3" else kl_estimate(logp, ref, kind),
        "your k3 is e^x - 1, which is 0 on average whatever the KL is. The -x is what is measured: e^x - x - 1.",
    ),
    Mistake(
        "k1 made positive",
        lambda logp, ref, kind="k3": (logp - ref).abs() if kind == "k1" else kl_estimate(logp, ref, kind),
        "your k1 is an absolute value. k1 may be negative at a token; only its mean is not.",
    ),
    Mistake(
        "kind ignored",
        lambda logp, ref, kind="k3": kl_estimate(logp, ref, "k3"),
        "you always give k3. Look at `kind`.",
    ),
    Mistake(
        "another default",
        lambda logp, ref, kind="k1": kl_estimate(logp, ref, kind),
        'your default is not "k3".',
    ),
    Mistake(
        "averaged",
        lambda logp, ref, kind="k3": kl_estimate(logp, ref, kind).mean(),
        "you average. Give an estimate for each token; `aggregate` makes one number of them.",
    ),
    Mistake(
        "detached",
        lambda logp, ref, kind="k3": kl_estimate(logp.detach(), ref, kind),
        "your values are right but carry no gradient: detach the reference's log-probs, never the policy's.",
    ),
]

# --- method_loss --------------------------------------------------------------------------------------------------


def method_loss(
    method: Method,
    logp_new: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    max_tokens: int,
    logp_ref: Tensor | None = None,
) -> Tensor:
    """The loss of any method, to be minimised: `policy_loss` without its checks and diagnostics.

    logp_new, logp_old, logp_ref, mask: [B, T]; advantages: [B].
    """
    clip_range = method.clip_low, method.clip_high
    if method.ratio_level == "token":
        objective = clipped_objective(token_ratios(logp_new, logp_old, mask), advantages[:, None], *clip_range)
    else:
        ratios = sequence_ratios(logp_new, logp_old, mask)
        objective = clipped_objective(ratios, advantages, *clip_range)[:, None].expand(mask.shape)
    per_token = -objective
    if method.kl_coef > 0:
        per_token = per_token + method.kl_coef * kl_estimate(logp_new, logp_ref, method.kl_kind)
    return aggregate(per_token, mask, method.aggregation, max_tokens)


def method_cases() -> list[Case]:
    def case(label: str, method: Method, lengths: list[int], width: int, seed: int, reference: bool = False) -> Case:
        new, old, mask = batch(lengths, width, seed, spread=0.3, padding=[-1.0, -2.0])
        advantages = numbers(len(lengths), seed=seed).abs() * torch.tensor([1.0, -1.0]).repeat(len(lengths))[: len(new)]
        ref = (old + 0.5 * numbers(*old.shape, seed=seed + 50),) if reference else ()
        return Case(label, (method, new, old, advantages, mask, width + 3, *ref))

    return [
        case("GRPO", GRPO, [5, 2, 6, 1], 6, seed=0),
        case("Dr. GRPO", DR_GRPO, [4, 2, 6], 7, seed=1),
        case("GSPO", replace(GSPO, clip_low=0.1, clip_high=0.15), [3, 5, 1, 4, 6, 2], 6, seed=2),
        case("DAPO's loss, 4 rows of up to 4 tokens", DAPO, [4, 2, 3, 4], 4, seed=3),
        case("GRPO with KL, k3", replace(GRPO, kl_coef=0.5), [5, 3], 6, seed=4, reference=True),
        case("GSPO with KL, k1", replace(GSPO, kl_coef=0.5, kl_kind="k1"), [2, 4, 5], 6, seed=5, reference=True),
    ]


def changed(**fields):
    """A method_loss that takes some of the method's fields for others; a value may be a function of the method."""

    def wrong(method, *rest):
        new = {name: value(method) if callable(value) else value for name, value in fields.items()}
        return method_loss(replace(method, **new), *rest)

    return wrong


def from_objective(objective_of, method, new, old, advantages, mask, max_tokens, ref=None) -> Tensor:
    """method_loss with another objective [B, T]; the KL term is the right one."""
    per_token = -objective_of(method, new, old, advantages, mask)
    if method.kl_coef > 0:
        per_token = per_token + method.kl_coef * kl_estimate(new, ref, method.kl_kind)
    return aggregate(per_token, mask, method.aggregation, max_tokens)


def gspo_of_sum(method, new, old, advantages, mask) -> Tensor:
    """The objective, with sequence ratios whose gradient is that of the sum of log-ratios."""
    ratios = (
        token_ratios(new, old, mask) if method.ratio_level == "token" else too_large_gradient(new, old, mask)[:, None]
    )
    objective = clipped_objective(ratios, advantages[:, None], method.clip_low, method.clip_high)
    return objective.expand(mask.shape)


def along_the_tokens(method, new, old, advantages, mask) -> Tensor:
    """The objective, with the advantages laid along the tokens where ratios are [B, T]."""
    if method.ratio_level == "token":
        return clipped_objective(token_ratios(new, old, mask), advantages, method.clip_low, method.clip_high)
    return gspo_of_means(method, new, old, advantages, mask)


def gspo_of_means(method, new, old, advantages, mask) -> Tensor:
    ratios = sequence_ratios(new, old, mask)
    return clipped_objective(ratios, advantages, method.clip_low, method.clip_high)[:, None].expand(mask.shape)


METHOD_MISTAKES = [
    Mistake(
        "sign",
        lambda method, new, old, advantages, *rest: (
            -method_loss(replace(method, kl_coef=0.0), new, old, advantages, *rest)
            + (method_loss(method, new, old, 0 * advantages, *rest) if method.kl_coef > 0 else 0.0)
        ),
        "you minimise the objective: a good answer would become less likely. The loss is minus the clipped objective.",
    ),
    Mistake(
        "no clip",
        changed(clip_low=1e9, clip_high=1e9),
        "nothing is clipped. Use clipped_objective with the method's clip_low and clip_high.",
    ),
    Mistake(
        "one range for both sides",
        changed(clip_high=lambda method: method.clip_low),
        "you use clip_low on both sides. Above 1 the range is the method's clip_high.",
    ),
    Mistake(
        "token ratios for all",
        changed(ratio_level="token"),
        'you use token ratios for every method. With ratio_level "sequence" there is one ratio a row.',
    ),
    Mistake(
        "sequence_mean for all",
        changed(aggregation="sequence_mean"),
        "you aggregate every method as GRPO does. Pass method.aggregation on to aggregate.",
    ),
    Mistake(
        "width instead of the budget",
        lambda method, new, old, advantages, mask, max_tokens, *ref: method_loss(
            method, new, old, advantages, mask, mask.shape[1], *ref
        ),
        "you give aggregate the padded width. Its last argument is the budget, max_tokens.",
    ),
    Mistake(
        "no KL",
        changed(kl_coef=0.0),
        "the KL term is missing: where kl_coef is above 0, add kl_coef times kl_estimate to the per-token loss.",
    ),
    Mistake(
        "KL subtracted",
        lambda method, *rest: 2 * method_loss(replace(method, kl_coef=0.0), *rest) - method_loss(method, *rest),
        "you subtract the KL term, which would reward leaving the reference. In a loss it is added.",
    ),
    Mistake(
        "KL without its coefficient",
        changed(kl_coef=lambda method: 1.0 if method.kl_coef else 0.0),
        "your KL term is not multiplied by the method's kl_coef.",
    ),
    Mistake(
        "k3 for all",
        changed(kl_kind="k3"),
        "you use k3 whatever the method says. Pass method.kl_kind on to kl_estimate.",
    ),
    Mistake(
        "policy and reference exchanged",
        lambda method, new, old, advantages, mask, max_tokens, ref=None: (
            method_loss(replace(method, kl_coef=0.0), new, old, advantages, mask, max_tokens)
            + (
                aggregate(method.kl_coef * kl_estimate(ref, new, method.kl_kind), mask, method.aggregation, max_tokens)
                if method.kl_coef
                else 0.0
            )
        ),
        "policy and reference are exchanged in your KL term: kl_estimate(logp_new, logp_ref, kind).",
    ),
    Mistake(
        "advantages along the tokens",
        lambda *args: from_objective(along_the_tokens, *args),
        "an advantage belongs to a row, and [B] is laid along the last dimension, the tokens. For ratios [B, T] give "
        "advantages[:, None]. (Where B and T are equal nothing complains.)",
    ),
    Mistake(
        "GSPO's gradient n times too large",
        lambda *args: from_objective(gspo_of_sum, *args),
        "your GSPO values are right, but the gradient is n times too large: it is that of the sum of the log-ratios. "
        "s is exp of their mean.",
    ),
    Mistake(
        "new detached",
        lambda method, new, *rest: method_loss(method, new.detach(), *rest),
        "your values are right but carry no gradient: detach the old log-probs, never the new ones.",
    ),
]

EXERCISES = [
    Exercise(
        name="aggregate",
        lesson="07",
        minutes=10,
        difficulty=2,
        reference=aggregate,
        cases=aggregate_cases,
        mistakes=AGGREGATE_MISTAKES,
        hints=[
            "Start with the padding: replace what stands there by 0, whatever it is. Then each of the three is a sum over "
            "a count. Which count?",
            '"sequence_mean" divides twice: each row by its own tokens, then by the rows. The others divide the sum of '
            'everything once: by rows * max_tokens ("constant") or by the tokens ("token_mean").',
            "`values = torch.where(mask.bool(), per_token, 0.0)`; "
            "`rows = len(mask) if total_rows is None else total_rows`; the first is "
            "`(values.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sum() / rows`.",
        ],
        gradient_of=0,
    ),
    Exercise(
        name="kl_estimate",
        lesson="07",
        minutes=5,
        difficulty=1,
        reference=kl_estimate,
        cases=kl_cases,
        mistakes=KL_MISTAKES,
        hints=[
            "All three are functions of one number at each token: x = logp_ref - logp.",
            "k1 is -x, k2 is x^2 / 2, k3 is e^x - x - 1. Mind the sign of x, which k2 does not show.",
            "`x = logp_ref.detach() - logp`, then one line for each kind.",
        ],
        gradient_of=0,
    ),
    Exercise(
        name="method_loss",
        lesson="07",
        minutes=12,
        difficulty=3,
        reference=method_loss,
        cases=method_cases,
        mistakes=METHOD_MISTAKES,
        hints=[
            "Three steps: an objective for each token [B, T], minus it (plus a KL term) as the loss of each token, one number.",
            "For token ratios give clipped_objective `advantages[:, None]`. For sequence ratios everything is [B]: give the "
            "row's objective to each of its tokens with `[:, None].expand(mask.shape)`.",
            "End with `aggregate(per_token, mask, method.aggregation, max_tokens)`, where per_token is -objective and, if "
            "method.kl_coef is above 0, plus method.kl_coef * kl_estimate(logp_new, logp_ref, method.kl_kind).",
        ],
        gradient_of=1,
    ),
]
