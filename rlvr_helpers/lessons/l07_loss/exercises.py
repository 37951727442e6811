"""Exercises of lesson 07: aggregation, the KL term, the whole loss."""

from dataclasses import replace

import torch
from torch import Tensor

from rlvr_helpers import losses
from rlvr_helpers.clipping import clipped_objective
from rlvr_helpers.exercises.cases import batch, ragged_mask, random_numbers
from rlvr_helpers.exercises.core import Case, Exercise, named
from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO, Method
from rlvr_helpers.ratios import sequence_ratios, token_ratios

# --- aggregate


def aggregate(per_token, mask, how, max_tokens, total_rows=None, total_tokens=None):
    """One number from per-token values [B, T]; how: "sequence_mean", "constant" or "token_mean"."""
    values = torch.where(mask.bool(), per_token, 0.0)
    rows = len(mask) if total_rows is None else total_rows
    if how == "sequence_mean":
        return (values.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sum() / rows
    tokens = mask.sum() if total_tokens is None else total_tokens
    return values.sum() / (rows * max_tokens if how == "constant" else tokens)


def aggregate_cases() -> list[Case]:
    """Each aggregation on rows of different lengths, where a wrong count or mask shows."""

    def case(label: str, lengths: list[int], width: int, *sizes: int, padding: float = 7.0) -> Case:
        mask = ragged_mask(lengths, width)
        values = torch.where(
            mask.bool(), random_numbers(len(lengths), width, seed=sum(lengths)), padding
        )
        return Case(f"{label}, {sizes[0]}", (values, mask, *sizes))

    # The budget is above the width, so that the two make different numbers.
    return [
        case("ragged rows", [5, 2, 3, 1], 6, "sequence_mean", 8),
        case("ragged rows", [5, 2, 3, 1], 6, "constant", 8),
        case("ragged rows", [5, 2, 3, 1], 6, "token_mean", 8),
        case("NaN in the padding", [2, 5, 3], 6, "sequence_mean", 9, padding=float("nan")),
        case("an empty row", [3, 0, 4], 4, "sequence_mean", 5),
        # A micro-batch: the totals are those of the whole batch.
        case("2 rows of a batch of 6", [4, 2], 5, "sequence_mean", 7, 6, 20),
        case("2 rows of a batch of 6", [4, 2], 5, "constant", 7, 6, 20),
        case("20 tokens in the whole batch", [4, 2], 5, "token_mean", 7, 6, 20),
    ]


AGGREGATE_MISTAKES = {
    # The width of the padded batch as a count.
    "mean over the padding": (
        lambda v, m, how, n, r=None, t=None: (
            aggregate(v, m, "constant", m.shape[1], r)
            if how == "sequence_mean"
            else aggregate(v, m, how, n, r, t)
        ),
        (
            'your "sequence_mean" divides each row by the padded width. Divide by the row\'s own'
            " tokens, mask.sum(dim=1)."
        ),
    ),
    "padded width instead of the budget": (
        lambda v, m, how, n, *totals: aggregate(v, m, how, m.shape[1], *totals),
        (
            'your "constant" divides by the padded width, as .mean() does. Divide by max_tokens,'
            " the budget."
        ),
    ),
    # One aggregation in the place of another.
    "own length in constant": (
        lambda v, m, how, *sizes: aggregate(v, m, how.replace("constant", "sequence_mean"), *sizes),
        (
            'your "constant" divides each row by its own length. Dr. GRPO divides by max_tokens'
            " instead."
        ),
    ),
    "mean of means as token mean": (
        lambda v, m, how, *sizes: aggregate(
            v, m, how.replace("token_mean", "sequence_mean"), *sizes
        ),
        (
            'your "token_mean" is a mean of the rows\' means. Add up all tokens first, then divide'
            " once by their number."
        ),
    ),
    "token mean as mean of means": (
        lambda v, m, how, *sizes: aggregate(
            v, m, how.replace("sequence_mean", "token_mean"), *sizes
        ),
        (
            'your "sequence_mean" is a mean over all tokens. Take each row\'s mean first, then the'
            " mean over rows."
        ),
    ),
    # Counts that are left out.
    "constant without the rows": (
        lambda v, m, how, n, r=None, t=None: aggregate(
            v, m, how, n, 1 if how == "constant" else r, t
        ),
        'your "constant" forgets the number of rows: divide by rows * max_tokens.',
    ),
    "micro-batch divided by its own rows": (
        lambda v, m, how, n, *totals: aggregate(v, m, how, n),
        (
            "you divide by the rows and tokens that you see. Use total_rows and total_tokens if"
            " they are given."
        ),
    ),
    "total rows ignored": (
        lambda v, m, how, n, r=None, t=None: aggregate(v, m, how, n, None, t),
        (
            'you use total_tokens but not total_rows: "sequence_mean" and "constant" divide by it'
            " if it is given."
        ),
    ),
    "total tokens ignored": (
        lambda v, m, how, n, r=None, t=None: aggregate(v, m, how, n, r),
        'you use total_rows but not total_tokens: "token_mean" divides by it if it is given.',
    ),
    # Rows without tokens.
    "empty rows left out": (
        lambda v, m, how, n, r=None, t=None: aggregate(
            v, m, how, n, r or int(m.any(dim=1).sum()), t
        ),
        "you leave rows without tokens out of the count. They add 0 and still count as rows.",
    ),
    "0 / 0": (
        lambda v, m, how, *sizes: (
            aggregate(v, m, how, *sizes) + (0.0 if m.any(dim=1).all() else torch.nan)
        ),
        "a row without tokens gives 0 / 0. Divide by at least 1: mask.sum(dim=1).clamp(min=1).",
    ),
    # Padding.
    "times the mask": (
        lambda v, m, how, *sizes: aggregate(v, m, how, *sizes) + 0 * (v * m).sum(),
        (
            "you multiply by the mask, and NaN times 0 stays NaN. Choose with"
            " torch.where(mask.bool(), per_token, 0.0)."
        ),
    ),
    "padding left in": (
        lambda v, m, how, n, r=None, t=None: aggregate(
            v, torch.ones_like(m), how, n, r, t or int(m.sum())
        ),
        (
            "your sums run over the padding as well. Set the values to 0 where the mask is 0,"
            " before the sum."
        ),
    ),
    "detached": (
        lambda v, *rest: aggregate(v.detach(), *rest),
        (
            "your values are right but carry no gradient: keep to tensor operations, without"
            " .item() or .detach()."
        ),
    ),
}

# --- kl_estimate


def kl_estimate(logp, logp_ref, kind="k3"):
    """Estimate of KL(policy || reference) in nats at each token; kind: "k1", "k2" or "k3"."""
    x = logp_ref.detach() - logp
    return {"k1": -x, "k2": x.square() / 2, "k3": x.exp() - x - 1}[kind]


def kl_cases() -> list[Case]:
    """Each kind, its default, and a policy that has not moved."""
    logp = -random_numbers(3, 5, seed=0).abs()
    ref = logp + 0.6 * random_numbers(3, 5, seed=1)
    return [
        *(Case(f"[3, 5], {kind}", (logp, ref, kind)) for kind in ("k1", "k2", "k3")),
        Case("policy and reference equal, k3", (logp[0], logp[0], "k3")),
        Case("without a kind", (logp[:2], ref[:2])),
    ]


def with_x(x: Tensor, kind: str) -> Tensor:
    """The three estimates as functions of x, whose gradient is not stopped."""
    return {"k1": -x, "k2": x.square() / 2, "k3": x.exp() - x - 1}[kind]


KL_MISTAKES = {
    # Signs, and where the gradient goes.
    "reference not detached": (
        lambda logp, ref, kind="k3": with_x(ref - logp, kind),
        (
            "a gradient flows into the reference's log-probs. The reference is a constant:"
            " logp_ref.detach()."
        ),
    ),
    "x reversed": (
        lambda logp, ref, kind="k3": with_x(logp - ref.detach(), kind),
        (
            "your x has the wrong sign: x = logp_ref - logp. In k3 that makes another number; in k2"
            " it would not show."
        ),
    ),
    "k1 reversed": (
        lambda logp, ref, kind="k3": kl_estimate(logp, ref, kind) * (-1 if kind == "k1" else 1),
        (
            "your k1 has the wrong sign. KL(policy || reference) is the mean of logp - logp_ref, so"
            " k1 = -x."
        ),
    ),
    "k3 reversed": (
        lambda logp, ref, kind="k3": with_x(
            (logp - ref.detach()) * (1 if kind == "k3" else -1), kind
        ),
        "your k3 takes exp(logp - logp_ref). It takes exp(x) with x = logp_ref - logp.",
    ),
    # Terms of one kind.
    "k2 without the half": (
        lambda logp, ref, kind="k3": kl_estimate(logp, ref, kind) * (2 if kind == "k2" else 1),
        "your k2 is twice too large: it is x^2 / 2.",
    ),
    "k3 without the x": (
        lambda logp, ref, kind="k3": (
            kl_estimate(logp, ref, kind) + (ref.detach() - logp) * (kind == "k3")
        ),
        (
            "your k3 is e^x - 1, which is 0 on average whatever the KL is. The -x is what is"
            " measured: e^x - x - 1."
        ),
    ),
    "k3 with + x": (
        lambda logp, ref, kind="k3": (
            kl_estimate(logp, ref, kind) + 2 * (ref.detach() - logp) * (kind == "k3")
        ),
        "your k3 is e^x + x - 1, which can be negative. x is subtracted: e^x - x - 1.",
    ),
    # One estimate in the place of three, or one number for all tokens.
    "kind ignored": (
        lambda logp, ref, kind="k3": kl_estimate(logp, ref, "k3"),
        "you always give k3. Look at `kind`.",
    ),
    "averaged": (
        lambda logp, ref, kind="k3": kl_estimate(logp, ref, kind).mean(),
        "you average. Give an estimate for each token; `aggregate` makes one number of them.",
    ),
    "weighted by the probability": (
        lambda logp, ref, kind="k3": logp.exp() * kl_estimate(logp, ref, kind),
        (
            "you multiply by the token's probability. It was sampled with that probability already:"
            " leave it out."
        ),
    ),
    "detached": (
        lambda logp, ref, kind="k3": kl_estimate(logp.detach(), ref, kind),
        (
            "your values are right but carry no gradient: detach the reference's log-probs, never"
            " the policy's."
        ),
    ),
}

# --- method_loss


def method_loss(method, logp_new, logp_old, advantages, mask, max_tokens, logp_ref=None):
    ratios = token_ratios(logp_new, logp_old, mask)
    if method.ratio_level == "sequence":
        ratios = sequence_ratios(logp_new, logp_old, mask)[:, None].expand(mask.shape)
    loss = -clipped_objective(ratios, advantages[:, None], method.clip_low, method.clip_high)
    if method.kl_coef > 0:
        loss = loss + method.kl_coef * losses.kl_estimate(logp_new, logp_ref, method.kl_kind)
    return losses.aggregate(loss, mask, method.aggregation, max_tokens)


def method_cases() -> list[Case]:
    """The three methods, DAPO's loss, and a KL term, each on rows of different lengths."""

    def case(
        label: str,
        method: Method,
        lengths: list[int],
        width: int,
        seed: int,
        reference: bool = False,
    ) -> Case:
        # Log-probs far enough apart that the clip binds on some tokens.
        new, old, mask = batch(lengths, width, seed, spread=0.3, padding=[-1.0, -2.0])
        # Better and worse answers in turns, without a sum of 0.
        signs = torch.tensor([1.0, -1.0]).repeat(len(lengths))[: len(lengths)]
        advantages = random_numbers(len(lengths), seed=seed).abs() * signs
        # The reference is a third model: neither the policy nor the one that sampled.
        ref = (old + 0.5 * random_numbers(*old.shape, seed=seed + 50),) if reference else ()
        return Case(label, (method, new, old, advantages, mask, width + 3, *ref))

    return [
        case("GRPO", GRPO, [5, 2, 6, 1], 6, seed=0),
        case("Dr. GRPO", DR_GRPO, [4, 2, 6], 7, seed=1),
        # GSPO's own range is so narrow that every row would lie outside.
        case("GSPO", replace(GSPO, clip_low=0.1, clip_high=0.15), [3, 5, 1, 4, 6, 2], 6, seed=2),
        case("DAPO's loss", DAPO, [4, 2, 3, 4], 5, seed=3),
        case("GRPO with KL, k3", replace(GRPO, kl_coef=0.5), [5, 3], 6, seed=4, reference=True),
        case(
            "GSPO with KL, k1",
            replace(GSPO, kl_coef=0.5, kl_kind="k1"),
            [2, 4, 5],
            6,
            seed=5,
            reference=True,
        ),
    ]


def steeper(new: Tensor, mask: Tensor) -> Tensor:
    """The same log-probs, with a gradient as many times too large as the row has tokens."""
    return new.detach() + (new - new.detach()) * mask.sum(dim=1, keepdim=True)


def exchanged_kl(method: Method, new: Tensor, ref: Tensor, mask: Tensor, budget: int) -> Tensor:
    """The method's KL term with the policy where the reference belongs."""
    kl = method.kl_coef * losses.kl_estimate(ref, new, method.kl_kind)
    return losses.aggregate(kl, mask, method.aggregation, budget)


METHOD_MISTAKES = {
    # The objective.
    "sign": (
        lambda *args: -method_loss(*args),
        (
            "you minimise the objective: a good answer would become less likely. The loss is minus"
            " the clipped objective."
        ),
    ),
    "no clip": (
        lambda method, *rest: method_loss(replace(method, clip_low=1e9, clip_high=1e9), *rest),
        "nothing is clipped. Use clipped_objective with the method's clip_low and clip_high.",
    ),
    "one range for both sides": (
        lambda method, *rest: method_loss(replace(method, clip_high=method.clip_low), *rest),
        "you use clip_low on both sides. Above 1 the range is the method's clip_high.",
    ),
    # A choice of the method that is ignored.
    "token ratios for all": (
        lambda method, *rest: method_loss(replace(method, ratio_level="token"), *rest),
        (
            'you use token ratios for every method. With ratio_level "sequence" there is one ratio'
            " per row."
        ),
    ),
    "sequence_mean for all": (
        lambda method, *rest: method_loss(replace(method, aggregation="sequence_mean"), *rest),
        "you aggregate every method as GRPO does. Pass method.aggregation on to aggregate.",
    ),
    "width instead of the budget": (
        lambda method, new, old, a, mask, n, *ref: method_loss(
            method, new, old, a, mask, mask.shape[1], *ref
        ),
        "you give aggregate the padded width. Its last argument is the budget, max_tokens.",
    ),
    # The KL term.
    "no KL": (
        lambda method, *rest: method_loss(replace(method, kl_coef=0.0), *rest),
        (
            "the KL term is missing: if kl_coef is above 0, add kl_coef times kl_estimate to the"
            " per-token loss."
        ),
    ),
    "old in place of the reference": (
        lambda method, new, old, a, mask, n, ref=None: method_loss(
            method, new, old, a, mask, n, None if ref is None else old
        ),
        "your KL term compares with logp_old. The reference's log-probs are logp_ref.",
    ),
    "KL exchanged": (
        lambda method, new, old, a, mask, n, ref=None: (
            method_loss(replace(method, kl_coef=0.0), new, old, a, mask, n)
            + (0.0 if ref is None else exchanged_kl(method, new, ref, mask, n))
        ),
        (
            "your KL term has its two log-probs exchanged: kl_estimate takes logp_new first, then"
            " logp_ref."
        ),
    ),
    "KL subtracted": (
        lambda method, *rest: (
            2 * method_loss(replace(method, kl_coef=0.0), *rest) - method_loss(method, *rest)
        ),
        (
            "you subtract the KL term, which would reward leaving the reference. In a loss it is"
            " added."
        ),
    ),
    "KL without its coefficient": (
        lambda method, *rest: method_loss(
            replace(method, kl_coef=float(method.kl_coef > 0)), *rest
        ),
        "your KL term is not multiplied by the method's kl_coef.",
    ),
    "k3 for all": (
        lambda method, *rest: method_loss(replace(method, kl_kind="k3"), *rest),
        "you use k3 whatever the method says. Pass method.kl_kind on to kl_estimate.",
    ),
    # Shapes and gradients.
    "advantages along the tokens": (
        lambda method, new, old, a, mask, *rest: method_loss(
            method,
            new,
            old,
            a if method.ratio_level == "sequence" else clipped_objective(new, a, 0, 0),
            mask,
            *rest,
        ),
        (
            "[B] is laid along the last dimension, the tokens. Each row has one advantage:"
            " advantages[:, None]."
        ),
    ),
    "GSPO's gradient n times too large": (
        lambda method, new, old, a, mask, *rest: method_loss(
            method,
            new if method.ratio_level == "token" else steeper(new, mask),
            old,
            a,
            mask,
            *rest,
        ),
        (
            "your GSPO gradient is n times too large, that of the sum of the log-ratios. s is exp"
            " of their mean."
        ),
    ),
    "new detached": (
        lambda method, new, *rest: method_loss(method, new.detach(), *rest),
        (
            "your values are right but carry no gradient: detach the old log-probs, never the new"
            " ones."
        ),
    ),
}

EXERCISES = [
    Exercise(
        name="aggregate",
        lesson="07",
        minutes=10,
        difficulty=2,
        reference=aggregate,
        cases=aggregate_cases,
        mistakes=named(AGGREGATE_MISTAKES),
        hints=[
            (
                "Start with the padding: replace what stands there by 0, whatever it is. Then each"
                " of the three is a sum over a count. Which count?"
            ),
            (
                '"sequence_mean" divides twice: each row by its own tokens, then by the rows. The'
                ' others divide the sum of everything once: by rows * max_tokens ("constant") or by'
                ' the tokens ("token_mean").'
            ),
            (
                "`values = torch.where(mask.bool(), per_token, 0.0)`; "
                "`rows = len(mask) if total_rows is None else total_rows`; the first is "
                "`(values.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sum() / rows`."
            ),
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
        mistakes=named(KL_MISTAKES),
        hints=[
            "All three are functions of one number at each token: x = logp_ref - logp.",
            (
                "k1 is -x, k2 is x^2 / 2, k3 is e^x - x - 1. Mind the sign of x, which k2 does not"
                " show."
            ),
            "`x = logp_ref.detach() - logp`, then one line for each kind.",
        ],
        gradient_of=0,
        constants=(1,),
    ),
    Exercise(
        name="method_loss",
        lesson="07",
        minutes=12,
        difficulty=3,
        reference=method_loss,
        cases=method_cases,
        mistakes=named(METHOD_MISTAKES),
        hints=[
            (
                "Three steps: an objective for each token [B, T], minus it (plus a KL term) as the"
                " loss of each token, one number."
            ),
            (
                "For token ratios give clipped_objective `advantages[:, None]`. For sequence ratios"
                " everything is [B]: give the row's objective to each of its tokens with `[:,"
                " None].expand(mask.shape)`."
            ),
            (
                "End with `aggregate(per_token, mask, method.aggregation, max_tokens)`, where"
                " per_token is -objective and, if method.kl_coef is above 0, plus method.kl_coef *"
                " kl_estimate(logp_new, logp_ref, method.kl_kind)."
            ),
        ],
        gradient_of=1,
    ),
]
