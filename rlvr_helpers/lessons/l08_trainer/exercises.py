"""Exercises of lesson 08: the updates on one rollout, and micro-batches that add up."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import torch
from torch import Tensor

from rlvr_helpers.exercises.cases import numbers, ragged_mask
from rlvr_helpers.exercises.core import Case, Exercise, named
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO, Method

# Eight rows of different lengths, up to the width, which is below the budget.
LENGTHS = [5, 2, 7, 3, 6, 1, 4, 4]
WIDTH, VOCABULARY, BUDGET = 7, 6, 10
# Of both signs. They differ from row to row and do not cancel.
ADVANTAGES = numbers([1.5, -0.5, 0.7, -1.2, 0.9, -0.3, 1.1, -0.8])

# --- take_updates


def take_updates(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
    """Takes len(minibatches) * epochs optimizer steps; returns the list of losses. advantages [B],
    mask [B, T]."""
    logp_old = score(torch.arange(len(mask))).detach()
    losses = []
    for rows in minibatches * epochs:
        loss = policy_loss(
            method, score(rows), logp_old[rows], advantages[rows], mask[rows], max_tokens
        ).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            [p for group in optimizer.param_groups for p in group["params"]], 1.0
        )
        optimizer.step()
        losses.append(loss.item())
    return losses


class Table(torch.nn.Module):
    """A model as small as can be: logits for each position, [T, V], whatever the prompt. Called
    with row numbers it gives their log-probs, [len(rows), T]."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        noise = torch.Generator().manual_seed(seed)
        self.logits = torch.nn.Parameter(
            torch.randn(WIDTH, VOCABULARY, generator=noise, dtype=torch.float64)
        )
        self.ids = torch.randint(VOCABULARY, (len(LENGTHS), WIDTH), generator=noise)

    def forward(self, rows: Tensor) -> Tensor:
        """Log-probs of the rows' tokens."""
        logp = self.logits.log_softmax(-1).expand(len(rows), -1, -1)
        return logp.gather(2, self.ids[rows][..., None]).squeeze(2)


def updates_case(
    label: str,
    method: Method,
    minibatches: list[list[int]],
    epochs: int,
    rate: float,
    seed: int = 0,
) -> Case:
    """Plain gradient descent, so that the size of a gradient shows, which AdamW hides."""
    score = Table(seed)
    optimizer = torch.optim.SGD(score.parameters(), rate)
    rows = [torch.tensor(numbers) for numbers in minibatches]
    mask = ragged_mask(LENGTHS, WIDTH)
    return Case(label, (score, optimizer, rows, ADVANTAGES, mask, method, BUDGET, epochs))


def updates_cases() -> list[Case]:
    """Several mini-batches and passes, whose rows are not in order, and one large gradient."""
    halves = [[0, 1, 6, 7], [4, 5, 2, 3]]
    pairs = [[6, 7], [0, 1], [4, 5], [2, 3]]
    whole = [[2, 3, 0, 1, 4, 5, 6, 7]]
    strong = replace(DR_GRPO, name="large gradients")
    return [
        updates_case("GRPO, two mini-batches, two passes", GRPO, halves, 2, 1.0),
        updates_case("Dr. GRPO, four mini-batches, three passes", DR_GRPO, pairs, 3, 2.0, 1),
        updates_case("GSPO, one mini-batch, three passes", GSPO, whole, 3, 0.2, 2),
        big_case(strong, halves),
    ]


def big_case(method: Method, minibatches: list[list[int]]) -> Case:
    """Advantages so large that the norm of the gradient has to be clipped to 1."""
    case = updates_case("advantages a hundred times as large", method, minibatches, 2, 0.3, 3)
    args = list(case.args)
    args[3] = 100 * args[3]
    return Case(case.label, tuple(args))


def without_limit(optimizer: torch.optim.Optimizer) -> SimpleNamespace:
    """The optimizer with its parameters hidden from clip_grad_norm_."""
    return SimpleNamespace(param_groups=[], zero_grad=optimizer.zero_grad, step=optimizer.step)


def piling_up(optimizer: torch.optim.Optimizer) -> SimpleNamespace:
    """The optimizer with a zero_grad that does nothing."""
    return SimpleNamespace(
        param_groups=optimizer.param_groups, zero_grad=lambda: None, step=optimizer.step
    )


def first_rows(values: Tensor, minibatches: list[Tensor]) -> Tensor:
    """Values such that each mini-batch finds the first ones."""
    firsts = torch.cat([torch.arange(len(rows)) for rows in minibatches])
    return values[firsts[torch.cat(minibatches).argsort()]]


UPDATES_MISTAKES = {
    # When the old log-probs are computed.
    "old log-probs at each update": (
        lambda score, opt, mb, a, m, method, n, epochs: [
            loss
            for rows in mb * epochs
            for loss in take_updates(score, opt, [rows], a, m, method, n, 1)
        ],
        (
            "you score logp_old before every update, so the ratio is always 1. Score all rows once,"
            " before the loops."
        ),
    ),
    "old log-probs at each pass": (
        lambda score, opt, mb, a, m, method, n, epochs: [
            loss for _ in range(epochs) for loss in take_updates(score, opt, mb, a, m, method, n, 1)
        ],
        (
            "you score logp_old anew in each pass. The rollout was sampled once: score all rows"
            " once, before the loops."
        ),
    ),
    # One optimizer step.
    "gradients pile up": (
        lambda score, opt, *rest: take_updates(score, piling_up(opt), *rest),
        (
            "the gradients of earlier mini-batches are still there. Call optimizer.zero_grad()"
            " before each backward."
        ),
    ),
    "one step a pass": (
        lambda score, opt, mb, *rest: take_updates(score, opt, [torch.cat(mb)], *rest),
        "you take one optimizer step per pass. Each mini-batch gets its own, in the inner loop.",
    ),
    "no limit on the gradient": (
        lambda score, opt, *rest: take_updates(score, without_limit(opt), *rest),
        (
            "the gradient's norm is not clipped to 1: clip_grad_norm_ belongs between backward and"
            " step."
        ),
    ),
    "uphill": (
        lambda score, opt, *rest: (
            opt.param_groups[0].update(lr=-opt.param_groups[0]["lr"])
            or take_updates(score, opt, *rest)
        ),
        (
            "your steps make the loss larger: policy_loss is to be minimised already, so backward"
            " goes without a minus."
        ),
    ),
    # Rows, and the order of the loops.
    "advantages of other rows": (
        lambda score, opt, mb, a, *rest: take_updates(score, opt, mb, first_rows(a, mb), *rest),
        "you take the first advantages whatever the mini-batch. Index everything with `rows`.",
    ),
    "old log-probs in another order": (
        lambda score, opt, mb, *rest: take_updates(
            lambda rows: score(torch.cat(mb) if len(rows) == len(LENGTHS) else rows), opt, mb, *rest
        ),
        (
            "you score logp_old in the order of the mini-batches, then index it by row numbers."
            " Score torch.arange(len(mask))."
        ),
    ),
    "batch by batch": (
        lambda score, opt, mb, a, m, method, n, epochs: take_updates(
            score, opt, [rows for rows in mb for _ in range(epochs)], a, m, method, n, 1
        ),
        "you repeat one mini-batch before the next. The loop over passes is the outer one.",
    ),
    "batch by batch, old log-probs at each": (
        lambda score, opt, mb, a, m, method, n, epochs: [
            loss
            for rows in mb
            for loss in take_updates(score, opt, [rows], a, m, method, n, epochs)
        ],
        (
            "you repeat one mini-batch before the next, and score logp_old anew for each. Score all"
            " rows once, before the loops. The loop over passes is the outer one."
        ),
    ),
    # What is returned.
    "losses of the last pass": (
        lambda score, opt, mb, *rest: take_updates(score, opt, mb, *rest)[-len(mb) :],
        "you give only the losses of the last pass: make the list before the loop over passes.",
    ),
    "one pass": (
        lambda score, opt, mb, a, m, method, n, epochs: take_updates(
            score, opt, mb, a, m, method, n, 1
        ),
        "you go over the mini-batches once. Do it `epochs` times.",
    ),
    "losses as tensors": (
        lambda *args: [torch.tensor(loss, dtype=torch.float64) for loss in take_updates(*args)],
        "your losses are tensors. Append loss.item(): a tensor keeps its whole graph in memory.",
    ),
}

# --- accumulated_loss


def accumulated_loss(method, logp_new, logp_old, advantages, mask, max_tokens, micro_rows):
    """Loss of all rows, [], computed micro_rows rows at a time. logp_new, logp_old, mask [B, T];
    advantages [B]."""
    totals = {"total_rows": len(mask), "total_tokens": int(mask.sum())}
    loss = 0.0
    for rows in torch.arange(len(mask)).split(micro_rows):
        part = policy_loss(
            method,
            logp_new[rows],
            logp_old[rows],
            advantages[rows],
            mask[rows],
            max_tokens,
            **totals,
        )
        loss = loss + part.loss
    return loss


def accumulated_cases() -> list[Case]:
    """Micro-batches that do not divide the rows, rows of very different lengths, one of them
    empty."""
    lengths = [9, 1, 3, 0, 8, 2, 5]
    noise = torch.Generator().manual_seed(4)
    old = -2 * torch.rand(len(lengths), 9, generator=noise, dtype=torch.float64)
    new = old + 0.2 * torch.randn(old.shape, generator=noise, dtype=torch.float64)
    mask, advantages = ragged_mask(lengths, 9), ADVANTAGES[: len(lengths)]
    methods = {"GRPO": GRPO, "Dr. GRPO": DR_GRPO, "GSPO": GSPO, "DAPO's loss": DAPO}
    return [
        Case(f"{name}, {size} rows at once", (method, new, old, advantages, mask, 12, size))
        for (name, method), size in zip(methods.items(), (3, 2, 4, 3), strict=True)
    ] + [Case("all rows at once", (GRPO, new, old, advantages, mask, 12, 7))]


def accumulated(
    method: Method,
    new: Tensor,
    old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    max_tokens: int,
    size: int,
    totals: tuple[str, ...] | None = None,
    weight: Callable | None = None,
    parts: Callable | None = None,
) -> Tensor:
    """accumulated_loss with parts that can be exchanged, to make the mistakes."""
    whole = {"total_rows": len(mask), "total_tokens": int(mask.sum())}
    totals = whole if totals is None else {name: whole[name] for name in totals}
    parts = torch.arange(len(mask)).split(size) if parts is None else parts(len(mask), size)
    weight = (lambda rows, parts: 1.0) if weight is None else weight
    losses = [
        weight(rows, parts)
        * policy_loss(
            method, new[rows], old[rows], advantages[rows], mask[rows], max_tokens, **totals
        ).loss
        for rows in parts
    ]
    return sum(losses)


ACCUMULATED_MISTAKES = {
    # Without the totals of the whole.
    "sum of means": (
        lambda *a: accumulated(*a, totals=()),
        (
            "each micro-batch divides by its own rows or tokens. Pass total_rows and total_tokens"
            " of the whole."
        ),
    ),
    "mean of means": (
        lambda *a: accumulated(*a, totals=(), weight=lambda rows, parts: 1 / len(parts)),
        (
            "you average the losses, so short parts count too much. Pass the totals of the whole"
            " and add up."
        ),
    ),
    "weighted by rows": (
        lambda *a: accumulated(
            *a, totals=(), weight=lambda rows, parts: len(rows) / sum(map(len, parts))
        ),
        (
            "you weigh micro-batches by their rows. A mean over tokens (DAPO's) needs total_tokens:"
            " pass both totals."
        ),
    ),
    "no total of tokens": (
        lambda *a: accumulated(*a, totals=("total_rows",)),
        (
            "total_tokens is missing: where the loss is a mean over tokens each micro-batch divides"
            " by its own."
        ),
    ),
    "no total of rows": (
        lambda *a: accumulated(*a, totals=("total_tokens",)),
        (
            "total_rows is missing or leaves out rows without tokens. A mean over rows divides by"
            " all rows of the whole."
        ),
    ),
    # With them, and something else on top.
    "totals and a mean": (
        lambda *a: accumulated(*a, weight=lambda rows, parts: 1 / len(parts)),
        (
            "with the totals of the whole, each micro-batch already brings its own share. Do not"
            " average again."
        ),
    ),
    "last micro-batch lost": (
        lambda *a: accumulated(*a, parts=lambda n, size: torch.arange(n - n % size).split(size)),
        "the rows left over are missing: 7 rows, 3 at a time, are three micro-batches.",
    ),
    "the number of micro-batches": (
        lambda *a: accumulated(*a, weight=lambda rows, parts: 1 / len(rows)),
        "you divide each loss by its rows once more. policy_loss has divided already.",
    ),
    "detached": (
        lambda *a: accumulated(a[0], a[1].detach(), *a[2:]),
        (
            "your value is right but carries no gradient: add up the losses themselves, not their"
            " .item()."
        ),
    ),
}

EXERCISES = [
    Exercise(
        name="take_updates",
        lesson="08",
        minutes=15,
        difficulty=3,
        reference=take_updates,
        cases=updates_cases,
        mistakes=named(UPDATES_MISTAKES),
        hints=[
            (
                "Two loops, passes outside and mini-batches inside. One thing is computed before"
                " both: which log-probs belong to the moment of sampling?"
            ),
            (
                "`with torch.no_grad(): logp_old = score(torch.arange(len(mask)))`. In the inner"
                " loop, with everything indexed by `rows`: loss, zero_grad, backward,"
                " clip_grad_norm_, step."
            ),
            (
                "`loss = policy_loss(method, score(rows), logp_old[rows], advantages[rows],"
                " mask[rows], max_tokens).loss`; the parameters for clip_grad_norm_ are `[p for g"
                ' in optimizer.param_groups for p in g["params"]]`.'
            ),
        ],
        tolerance=1e-9,
        seconds=10.0,
    ),
    Exercise(
        name="accumulated_loss",
        lesson="08",
        minutes=10,
        difficulty=2,
        reference=accumulated_loss,
        cases=accumulated_cases,
        mistakes=named(ACCUMULATED_MISTAKES),
        hints=[
            (
                "A mean is a sum divided by a count. Whose count, when only some of the rows are"
                " there?"
            ),
            (
                "policy_loss takes total_rows and total_tokens. With those of the whole mini-batch"
                " the losses of the parts add up."
            ),
            (
                "`for rows in torch.arange(len(mask)).split(micro_rows):` add `policy_loss(method,"
                " logp_new[rows], ..., max_tokens, total_rows=len(mask),"
                " total_tokens=int(mask.sum())).loss`."
            ),
        ],
        gradient_of=1,
    ),
]
