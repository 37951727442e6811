"""Losses: every method against its literal reference implementation, in value and gradient; rules S14 to S19; KL;
micro-batches; named mistakes; errors."""

import math
from dataclasses import FrozenInstanceError, replace

import literal
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal import GARBAGE, close, ragged_batch

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.losses import aggregate, kl_estimate, policy_loss
from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO, PAPER_SETTINGS, RLOO

KL_KINDS = ("k1", "k2", "k3")
AGGREGATIONS = ("sequence_mean", "constant", "token_mean")
# binds for some rows of the test batch, not for all
GSPO_WIDE = replace(GSPO, clip_low=0.1, clip_high=0.15)
METHODS = {
    "GRPO": GRPO,
    "Dr. GRPO": DR_GRPO,
    "GSPO": GSPO_WIDE,
    "GSPO, the paper's range": PAPER_SETTINGS["gspo"],
    "RLOO": RLOO,
    "DAPO": DAPO,
    "GRPO with k3": replace(GRPO, kl_coef=0.04, kl_kind="k3"),
    "Dr. GRPO with k2": replace(DR_GRPO, kl_coef=0.3, kl_kind="k2"),
    "DAPO with k1": replace(DAPO, kl_coef=0.3, kl_kind="k1"),
    "GSPO with k3": replace(GSPO_WIDE, kl_coef=0.3, kl_kind="k3"),
    "GSPO by tokens with k2": replace(
        GSPO_WIDE, aggregation="token_mean", kl_coef=0.3, kl_kind="k2"
    ),
    "GSPO by budget": replace(GSPO_WIDE, aggregation="constant"),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def apply(function, method, batch, **totals):
    """What `function` returns, and the gradient of its loss with respect to the new log-probs. [B,
    T]"""
    new = batch.new.clone().requires_grad_()
    reference = batch.ref if method.kl_coef else None
    out = function(
        method,
        new,
        batch.old,
        batch.advantages,
        batch.mask,
        batch.max_tokens,
        logp_ref=reference,
        **totals,
    )
    (gradient,) = torch.autograd.grad(out.loss, new)
    return out, gradient


def totals_of(batch):
    return {"total_rows": len(batch.mask), "total_tokens": int(batch.mask.sum())}


# --- the comparisons that the package passes and every mistake fails ------------------------------


def check_value(function, method):
    batch = ragged_batch()
    out, _ = apply(function, method, batch)
    close(out.loss, literal.policy_loss(method, *batch.lists, batch.max_tokens, batch.ref.tolist()))


def check_gradient(function, method):
    batch = ragged_batch()
    _, gradient = apply(function, method, batch)
    close(
        gradient,
        literal.policy_gradient(method, *batch.lists, batch.max_tokens, batch.ref.tolist()),
    )


def check_clip_fraction(function, method):
    batch = ragged_batch()
    out, _ = apply(function, method, batch)
    # it may be float32
    close(float(out.clip_fraction), literal.clip_fraction(method, *batch.lists), 1e-6)


def check_padding(function, method):
    """NaN, infinities and 1e300 in the padding change nothing, not by a single bit."""
    clean, clean_gradient = apply(function, method, ragged_batch())
    dirty, dirty_gradient = apply(function, method, ragged_batch(garbage=True))
    assert torch.equal(dirty.loss, clean.loss), f"loss {dirty.loss} instead of {clean.loss}"
    assert float(dirty.clip_fraction) == float(clean.clip_fraction)
    assert torch.equal(dirty_gradient, clean_gradient)
    assert (dirty_gradient[ragged_batch().mask == 0] == 0).all()


def check_width(function, method):
    """The same rows padded to a greater width: same loss, same gradient (S16)."""
    batch, wide = ragged_batch(), ragged_batch()
    for name in ("new", "old", "ref", "mask"):
        setattr(wide, name, torch.nn.functional.pad(getattr(batch, name), (0, 9)))
    narrow, narrow_gradient = apply(function, method, batch)
    wider, wider_gradient = apply(function, method, wide)
    close(wider.loss, narrow.loss.detach())
    close(wider_gradient[:, : batch.mask.shape[1]], narrow_gradient)
    close(float(wider.clip_fraction), float(narrow.clip_fraction))


def check_micro_batches(function, method, parts=((3, 0), (1, 2, 4, 5, 9), (8,), (7, 6))):
    """Loss, clip fraction and gradient of the parts add up to the whole's, each part cut to its own
    width."""
    batch = ragged_batch()
    whole, expected = apply(function, method, batch)
    loss, fraction, gradient = 0.0, 0.0, torch.zeros_like(expected)
    for part in parts:
        micro = batch.rows(list(part))
        width = max(1, int(micro.mask.sum(1).max()))
        for name in ("new", "old", "ref", "mask"):
            setattr(micro, name, getattr(micro, name)[:, :width])
        out, micro_gradient = apply(function, method, micro, **totals_of(batch))
        loss, fraction = loss + out.loss.item(), fraction + float(out.clip_fraction)
        gradient[list(part), :width] += micro_gradient
    close(loss, whole.loss.detach())
    close(gradient, expected)
    close(fraction, float(whole.clip_fraction), 1e-6)


def check_old_and_ref_are_constants(function, method):
    """One tensor given as new, old and reference, as just after sampling: the gradient is the full
    one."""
    batch = ragged_batch()
    log_probs = batch.new.clone().requires_grad_()
    reference = log_probs if method.kl_coef else None
    out = function(
        method,
        log_probs,
        log_probs,
        batch.advantages,
        batch.mask,
        batch.max_tokens,
        logp_ref=reference,
    )
    (gradient,) = torch.autograd.grad(out.loss, log_probs)
    batch.old = batch.ref = batch.new
    close(
        gradient,
        literal.policy_gradient(method, *batch.lists, batch.max_tokens, batch.ref.tolist()),
    )


CHECKS = (
    check_value,
    check_gradient,
    check_clip_fraction,
    check_padding,
    check_width,
    check_micro_batches,
    check_old_and_ref_are_constants,
)


@pytest.mark.parametrize("check", CHECKS)
@every_method
def test_policy_loss_agrees_with_the_reference(check, method):
    check(policy_loss, method)


@every_method
def test_the_batch_is_one_on_which_the_clip_acts_on_some_places_only(method):
    assert 0.05 < literal.clip_fraction(method, *ragged_batch().lists) < 0.7


# The reference implementations that follow the papers' formulas, against the package and against the reference implementation made of
# parts.

PAPERS = {
    "GRPO": (GRPO, literal.grpo_loss, literal.grpo_gradient, False),
    "Dr. GRPO": (DR_GRPO, literal.dr_grpo_loss, literal.dr_grpo_gradient, True),
    "GSPO": (GSPO_WIDE, literal.gspo_loss, literal.gspo_gradient, False),
    "DAPO": (DAPO, literal.dapo_loss, literal.dapo_gradient, False),
}


@pytest.mark.parametrize(
    ("method", "loss", "gradient", "budget"), PAPERS.values(), ids=PAPERS.keys()
)
@pytest.mark.parametrize("seed", range(5))
def test_methods_are_what_their_papers_say(method, loss, gradient, budget, seed):
    batch = ragged_batch(seed)
    arguments = (
        *batch.lists,
        method.clip_low,
        method.clip_high,
        *([batch.max_tokens] if budget else []),
    )
    out, actual = apply(policy_loss, method, batch)
    close(out.loss, loss(*arguments))
    close(actual, gradient(*arguments))
    close(literal.policy_loss(method, *batch.lists, batch.max_tokens), loss(*arguments))
    close(literal.policy_gradient(method, *batch.lists, batch.max_tokens), gradient(*arguments))


def test_grpo_with_its_kl_term_is_what_the_paper_says():
    batch, method = ragged_batch(), METHODS["GRPO with k3"]
    expected = literal.grpo_loss(*batch.lists, 0.2, 0.2, beta=0.04, ref=batch.ref.tolist())
    close(apply(policy_loss, method, batch)[0].loss, expected)


@every_method
def test_closed_form_gradients_are_the_slopes_of_the_reference_implementations(method):
    """The closed forms themselves, by central differences of the literal loss."""
    batch, step = ragged_batch(3, lengths=(3, 0, 2, 4, 1, 3)), 1e-6
    ref = batch.ref.tolist()
    new, old, A, mask = batch.lists
    expected = literal.policy_gradient(method, new, old, A, mask, batch.max_tokens, ref)
    for i, row in enumerate(mask):
        for t in range(len(row)):
            ends = []
            for sign in (1, -1):
                moved = [list(r) for r in new]
                moved[i][t] += sign * step
                ends.append(literal.policy_loss(method, moved, old, A, mask, batch.max_tokens, ref))
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(expected[i][t], abs=1e-8)


# --- named mistakes -------------------------------------------------------------------------------
# `Parts` is a plain implementation made of exchangeable parts; each mistake exchanges one of them.


class Loss:
    def __init__(self, loss, clip_fraction):
        self.loss, self.clip_fraction = loss, clip_fraction


def inside(values, mask):
    """Zero wherever the mask is 0, in value and gradient."""
    return torch.where(mask.bool(), values, torch.zeros_like(values))


class Parts:
    def __call__(
        self,
        method,
        new,
        old,
        A,
        mask,
        max_tokens,
        logp_ref=None,
        total_rows=None,
        total_tokens=None,
    ):
        new, old = self.clean(new, mask), self.clean(self.detach(old), mask)
        q = self.ratio(method, new, old, mask)
        per_token = -self.objective(method, q, A.detach().unsqueeze(1)).expand(mask.shape)
        rows = len(mask) if total_rows is None else total_rows
        tokens = mask.sum().clamp(min=1) if total_tokens is None else total_tokens
        if method.kl_coef:
            reference = self.clean(logp_ref.detach(), mask)
            per_token = self.add_kl(method, per_token, self.kl(method, new, reference), mask, q)
        loss = self.aggregate(method, inside(per_token, mask), mask, max_tokens, rows, tokens)
        return Loss(loss, self.fraction(method, q.detach(), A.unsqueeze(1), mask, rows, tokens))

    def clean(self, values, mask):
        return inside(values, mask)

    def detach(self, old):
        return old.detach()

    def ratio(self, method, new, old, mask):  # [B, T] or [B, 1]
        if method.ratio_level == "token":
            return (new - old).exp()
        return ((new - old).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)).exp()

    def objective(self, method, q, A):
        return torch.minimum(q * A, q.clamp(1 - method.clip_low, 1 + method.clip_high) * A)

    def kl(self, method, new, reference):
        x = reference - new
        return {"k1": -x, "k2": x**2 / 2, "k3": x.exp() - x - 1}[method.kl_kind]

    def add_kl(self, method, per_token, kl, mask, q):
        return per_token + method.kl_coef * kl

    def aggregate(self, method, per_token, mask, max_tokens, rows, tokens):
        if method.aggregation == "sequence_mean":
            return (per_token.sum(1) / mask.sum(1).clamp(min=1)).sum() / rows
        if method.aggregation == "constant":
            return per_token.sum() / (rows * max_tokens)
        return per_token.sum() / tokens

    def fraction(self, method, q, A, mask, rows, tokens):
        binds = ((A > 0) & (q > 1 + method.clip_high)) | ((A < 0) & (q < 1 - method.clip_low))
        if method.ratio_level == "sequence":
            return binds.sum() / rows
        return (binds * mask).sum() / tokens


class SequenceRatioWithoutLength(Parts):
    def ratio(self, method, new, old, mask):
        return (new - old).sum(1, keepdim=True).exp()


class SequenceRatioMeanOverPadding(Parts):
    def ratio(self, method, new, old, mask):
        return (new - old).mean(1, keepdim=True).exp()


class GradientNTimesTooLarge(Parts):
    def ratio(self, method, new, old, mask):
        through = new.sum(1, keepdim=True)
        return super().ratio(method, new, old, mask).detach() * (through - through.detach()).exp()


class GradientOnTheLastTokenOnly(Parts):
    def ratio(self, method, new, old, mask):
        last = mask.cumsum(1) == mask.sum(1, keepdim=True)
        return super().ratio(method, torch.where(last, new, new.detach()), old, mask)


class TokenRatioWhereSequenceIsAsked(Parts):
    def ratio(self, method, new, old, mask):
        return (new - old).exp()


class OldNotDetached(Parts):
    def detach(self, old):
        return old


class RatioDetached(Parts):
    """The loss looks right; nothing is learnt."""

    def ratio(self, method, new, old, mask):
        return super().ratio(method, new, old, mask).detach() + 0 * new.sum()


class MaxForNegativeAdvantages(Parts):
    def objective(self, method, q, A):
        held = q.clamp(1 - method.clip_low, 1 + method.clip_high)
        return torch.where(A < 0, torch.maximum(q * A, held * A), torch.minimum(q * A, held * A))


class ClipWithoutMin(Parts):
    def objective(self, method, q, A):
        return q.clamp(1 - method.clip_low, 1 + method.clip_high) * A


class LowForBothSides(Parts):
    def objective(self, method, q, A):
        return torch.minimum(q * A, q.clamp(1 - method.clip_low, 1 + method.clip_low) * A)


class LossNotNegated(Parts):
    def objective(self, method, q, A):
        return -super().objective(method, q, A)


class MeanOverPadding(Parts):
    def aggregate(self, method, per_token, mask, max_tokens, rows, tokens):
        return per_token.mean(1).sum() / rows


class BudgetIsThePaddedWidth(Parts):
    def aggregate(self, method, per_token, mask, max_tokens, rows, tokens):
        return per_token.sum() / (rows * mask.shape[1])


class BudgetIsTheLength(Parts):
    """Dr. GRPO that still divides by the length of the completion."""

    def aggregate(self, method, per_token, mask, max_tokens, rows, tokens):
        return (per_token.sum(1) / mask.sum(1).clamp(min=1)).sum() / rows


class TokenMeanForEverything(Parts):
    def aggregate(self, method, per_token, mask, max_tokens, rows, tokens):
        return per_token.sum() / tokens


class TokenMeanPerMicroBatch(Parts):
    def aggregate(self, method, per_token, mask, max_tokens, rows, tokens):
        return per_token.sum() / mask.sum().clamp(min=1)


class RowMeanPerMicroBatch(Parts):
    def aggregate(self, method, per_token, mask, max_tokens, rows, tokens):
        return super().aggregate(method, per_token, mask, max_tokens, len(mask), tokens)


class EmptyRowsNotCounted(Parts):
    def aggregate(self, method, per_token, mask, max_tokens, rows, tokens):
        return super().aggregate(
            method, per_token, mask, max_tokens, (mask.sum(1) > 0).sum(), tokens
        )


class EmptyRowsDivideByZero(Parts):
    def aggregate(self, method, per_token, mask, max_tokens, rows, tokens):
        return (per_token.sum(1) / mask.sum(1)).sum() / rows


class MaskedByMultiplication(Parts):
    def clean(self, values, mask):
        return values * mask


class NotMaskedBeforeTheExponential(Parts):
    def clean(self, values, mask):
        return values


class K3WithTheSignSwapped(Parts):
    def kl(self, method, new, reference):
        x = new - reference
        return x.exp() - x - 1


class KlSubtracted(Parts):
    def add_kl(self, method, per_token, kl, mask, q):
        return per_token - method.kl_coef * kl


class KlTimesRatio(Parts):
    """What TRL calls the bias correction of the KL term."""

    def add_kl(self, method, per_token, kl, mask, q):
        return per_token + method.kl_coef * kl * q


class KlAveragedOverTokens(Parts):
    """A mean over all tokens beside a policy term that is a mean of row means."""

    def add_kl(self, method, per_token, kl, mask, q):
        mean = inside(kl, mask).sum() / mask.sum()
        return per_token + method.kl_coef * mean


class KlOnlyWhereTheAdvantageCounts(Parts):
    def add_kl(self, method, per_token, kl, mask, q):
        return per_token + method.kl_coef * kl * (per_token.detach() != 0)


class KlDetached(Parts):
    def add_kl(self, method, per_token, kl, mask, q):
        return per_token + method.kl_coef * kl.detach()


class FractionOfAllOutOfRange(Parts):
    def fraction(self, method, q, A, mask, rows, tokens):
        out = (q > 1 + method.clip_high) | (q < 1 - method.clip_low)
        return out.sum() / rows if method.ratio_level == "sequence" else (out * mask).sum() / tokens


class FractionOverPadding(Parts):
    def fraction(self, method, q, A, mask, rows, tokens):
        binds = ((A > 0) & (q > 1 + method.clip_high)) | ((A < 0) & (q < 1 - method.clip_low))
        return binds.double().mean()


class FractionOfTokensForRows(Parts):
    def fraction(self, method, q, A, mask, rows, tokens):
        binds = ((A > 0) & (q > 1 + method.clip_high)) | ((A < 0) & (q < 1 - method.clip_low))
        return (binds * mask).sum() / tokens


class FractionAsMeanOfRowMeans(Parts):
    def fraction(self, method, q, A, mask, rows, tokens):
        binds = ((A > 0) & (q > 1 + method.clip_high)) | ((A < 0) & (q < 1 - method.clip_low))
        return ((binds * mask).sum(1) / mask.sum(1).clamp(min=1)).sum() / rows


class FractionPerMicroBatch(Parts):
    def fraction(self, method, q, A, mask, rows, tokens):
        return super().fraction(method, q, A, mask, len(mask), mask.sum().clamp(min=1))


MISTAKES = [
    (SequenceRatioWithoutLength, "GSPO", check_value),
    (SequenceRatioWithoutLength, "GSPO", check_gradient),
    (SequenceRatioMeanOverPadding, "GSPO", check_value),
    (SequenceRatioMeanOverPadding, "GSPO", check_width),
    (GradientNTimesTooLarge, "GSPO", check_gradient),
    (GradientOnTheLastTokenOnly, "GSPO", check_gradient),
    (TokenRatioWhereSequenceIsAsked, "GSPO", check_value),
    (OldNotDetached, "GRPO", check_old_and_ref_are_constants),
    (OldNotDetached, "GSPO", check_old_and_ref_are_constants),
    (RatioDetached, "GRPO", check_gradient),
    (MaxForNegativeAdvantages, "GRPO", check_value),
    (MaxForNegativeAdvantages, "GSPO", check_gradient),
    (ClipWithoutMin, "GRPO", check_value),
    (ClipWithoutMin, "Dr. GRPO", check_gradient),
    (LowForBothSides, "DAPO", check_value),
    (LossNotNegated, "GRPO", check_gradient),
    (MeanOverPadding, "GRPO", check_value),
    (MeanOverPadding, "GRPO", check_width),
    (BudgetIsThePaddedWidth, "Dr. GRPO", check_value),
    (BudgetIsThePaddedWidth, "Dr. GRPO", check_width),
    (BudgetIsTheLength, "Dr. GRPO", check_value),
    (BudgetIsTheLength, "Dr. GRPO", check_gradient),
    (TokenMeanForEverything, "GRPO", check_gradient),
    (TokenMeanForEverything, "GSPO", check_gradient),
    (TokenMeanPerMicroBatch, "DAPO", check_micro_batches),
    (RowMeanPerMicroBatch, "GRPO", check_micro_batches),
    (RowMeanPerMicroBatch, "Dr. GRPO", check_micro_batches),
    (EmptyRowsNotCounted, "GRPO", check_value),
    (EmptyRowsNotCounted, "Dr. GRPO", check_gradient),
    (EmptyRowsDivideByZero, "GRPO", check_value),
    (MaskedByMultiplication, "GRPO", check_padding),
    (MaskedByMultiplication, "GSPO", check_padding),
    (NotMaskedBeforeTheExponential, "GRPO", check_padding),
    (K3WithTheSignSwapped, "GRPO with k3", check_value),
    (K3WithTheSignSwapped, "GRPO with k3", check_gradient),
    (KlSubtracted, "GRPO with k3", check_value),
    (KlTimesRatio, "GRPO with k3", check_value),
    (KlAveragedOverTokens, "GRPO with k3", check_gradient),
    (KlAveragedOverTokens, "GSPO with k3", check_value),
    (KlOnlyWhereTheAdvantageCounts, "GRPO with k3", check_gradient),
    (KlDetached, "GSPO with k3", check_gradient),
    (FractionOfAllOutOfRange, "GRPO", check_clip_fraction),
    (FractionOfAllOutOfRange, "GSPO", check_clip_fraction),
    (FractionOverPadding, "GRPO", check_clip_fraction),
    (FractionOfTokensForRows, "GSPO, the paper's range", check_clip_fraction),
    (FractionAsMeanOfRowMeans, "GRPO", check_clip_fraction),
    (FractionPerMicroBatch, "DAPO", check_micro_batches),
]
# These are the treacherous ones: everything that a loss curve can show is right.
SHOW_IN_NO_VALUE = [
    (GradientNTimesTooLarge, "GSPO"),
    (GradientOnTheLastTokenOnly, "GSPO"),
    (RatioDetached, "GRPO"),
    (KlDetached, "GSPO with k3"),
    (OldNotDetached, "GRPO"),
    (TokenMeanPerMicroBatch, "DAPO"),
    (RowMeanPerMicroBatch, "GRPO"),
]


@pytest.mark.parametrize("check", CHECKS)
@every_method
def test_the_parts_that_the_mistakes_exchange_are_right(check, method):
    check(Parts(), method)


@pytest.mark.parametrize(
    ("mistake", "name", "check"), MISTAKES, ids=lambda x: getattr(x, "__name__", x)
)
def test_mistake_is_caught(mistake, name, check):
    with pytest.raises(AssertionError):
        check(mistake(), METHODS[name])


@pytest.mark.parametrize(
    ("mistake", "name"), SHOW_IN_NO_VALUE, ids=lambda x: getattr(x, "__name__", x)
)
def test_mistake_shows_in_no_value(mistake, name):
    check_value(mistake(), METHODS[name])


# --- the rules ------------------------------------------------------------------------------------


@every_method
def test_s14_advantage_is_a_constant_for_the_gradient(method):
    """Advantages that hang together with the log-probs (they should not) let no gradient
    through."""
    batch = ragged_batch()
    new = batch.new.clone().requires_grad_()
    advantages = batch.advantages + 0.0 * new.sum() + (new - new.detach()).sum(1)
    out = policy_loss(
        method, new, batch.old, advantages, batch.mask, batch.max_tokens, logp_ref=batch.ref
    )
    (gradient,) = torch.autograd.grad(out.loss, new)
    close(
        gradient,
        literal.policy_gradient(method, *batch.lists, batch.max_tokens, batch.ref.tolist()),
    )


def test_s14_advantage_is_broadcast_over_the_tokens_of_its_row():
    batch = ragged_batch(lengths=(4, 4, 4, 4, 4, 4))
    batch.new = batch.old.clone()
    _, gradient = apply(policy_loss, GRPO, batch)
    close(gradient, -batch.advantages.unsqueeze(1).expand(6, 4) / 24)


@pytest.mark.parametrize("method", (GRPO, DR_GRPO, DAPO))
def test_s15_clip_fraction_counts_tokens_where_the_clip_binds(method):
    """Ten tokens, ratios out of range on both sides; only those whose sign stops the gradient
    count."""
    ratios = torch.tensor(
        [[2.0, 0.5, 1.0, 2.0, 1.0], [2.0, 0.5, 0.5, 0.5, 1.0], [9.0, 0.1, 9.0, 0.1, 9.0]]
    )
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]])
    advantages = torch.tensor([1.0, -1.0, 0.0])
    out = policy_loss(method, ratios.log(), torch.zeros(3, 5), advantages, mask, 5)
    assert float(out.clip_fraction) == pytest.approx((2 + 3 + 0) / 10)


def test_s15_clip_fraction_counts_rows_for_gspo():
    ratios = torch.tensor([[2.0, 0.9, 1.2], [0.4, 0.5, 9.0], [0.5, 9.0, 9.0], [2.0, 2.0, 2.0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0])
    out = policy_loss(GSPO_WIDE, ratios.log(), torch.zeros(4, 3), advantages, mask, 3)
    assert float(out.clip_fraction) == pytest.approx(2 / 4)
    assert out.ratios.shape == (4,)


@every_method
def test_s15_clip_fraction_is_exactly_zero_before_the_first_update(method):
    batch = ragged_batch(garbage=True)
    for dtype in (torch.float32, torch.float64):
        log_probs = batch.new.to(dtype)
        out = policy_loss(
            method,
            log_probs,
            log_probs,
            batch.advantages.to(dtype),
            batch.mask,
            12,
            logp_ref=log_probs,
        )
        assert float(out.clip_fraction) == 0.0
        assert (out.ratios == 1).all()


@every_method
def test_s16_padded_width_plays_no_part(method):
    check_width(policy_loss, method)


def test_s16_constant_divides_by_the_configured_budget():
    batch = ragged_batch()
    one, _ = apply(policy_loss, DR_GRPO, batch)
    batch.max_tokens *= 3
    three, _ = apply(policy_loss, DR_GRPO, batch)
    close(three.loss * 3, one.loss.detach())


@pytest.mark.parametrize(
    "name", [name for name, method in METHODS.items() if method.aggregation != "constant"]
)
def test_s16_the_budget_plays_no_part_elsewhere(name):
    batch = ragged_batch()
    one, _ = apply(policy_loss, METHODS[name], batch)
    batch.max_tokens *= 3
    assert torch.equal(apply(policy_loss, METHODS[name], batch)[0].loss, one.loss)


ROWS = 10
partitions = st.permutations(range(ROWS)).flatmap(
    lambda order: st.lists(st.integers(1, ROWS), max_size=ROWS).map(
        lambda cuts: [
            order[a:b]
            for a, b in zip(
                [0, *sorted(set(cuts) - {ROWS})], [*sorted(set(cuts) - {ROWS}), ROWS], strict=True
            )
        ]
    )
)


@every_method
@settings(max_examples=8, deadline=None, derandomize=True)
@given(parts=partitions)
def test_s17_micro_batches_of_any_sizes_add_up(method, parts):
    assert sorted(i for part in parts for i in part) == list(range(ROWS))
    check_micro_batches(policy_loss, method, parts)


@pytest.mark.parametrize("how", AGGREGATIONS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(parts=partitions)
def test_s17_aggregates_of_micro_batches_add_up(how, parts):
    batch = ragged_batch()
    whole = aggregate(batch.new, batch.mask, how, 12)
    each = [
        aggregate(batch.new[part], batch.mask[part], how, 12, **totals_of(batch)) for part in parts
    ]
    close(sum(each), whole)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.kl_coef])
def test_s17_rows_skipped_for_zero_advantage_still_count(name):
    batch, method = ragged_batch(), METHODS[name]
    batch.advantages[[0, 3]] = 0.0
    kept = batch.advantages != 0
    whole, expected = apply(policy_loss, method, batch)
    out, gradient = apply(policy_loss, method, batch.rows(kept), **totals_of(batch))
    assert 0 < kept.sum() < len(kept)
    close(out.loss, whole.loss.detach())
    close(gradient, expected[kept])
    close(float(out.clip_fraction), float(whole.clip_fraction))


def test_s17_rows_with_zero_advantage_may_not_be_skipped_when_there_is_a_kl_term():
    batch, method = ragged_batch(), METHODS["GRPO with k3"]
    batch.advantages[[0, 3]] = 0.0
    _, gradient = apply(policy_loss, method, batch)
    assert (gradient[[0, 3]][batch.mask[[0, 3]] == 1] != 0).all()


@every_method
def test_s17_totals_of_the_batch_itself_are_the_default(method):
    batch = ragged_batch()
    assert torch.equal(
        apply(policy_loss, method, batch)[0].loss,
        apply(policy_loss, method, batch, **totals_of(batch))[0].loss,
    )


@every_method
def test_s18_empty_rows_contribute_nothing_and_still_count(method):
    """Two empty rows among ten: without them, the mean over rows is a mean over eight."""
    batch = ragged_batch(garbage=True)
    full = batch.mask.sum(1) > 0
    with_empty, gradient = apply(policy_loss, method, batch)
    without, gradient_without = apply(policy_loss, method, batch.rows(full))
    assert full.sum() == 8 and len(full) == 10
    factor = 1.0 if method.aggregation == "token_mean" else 0.8
    close(with_empty.loss, without.loss.detach() * factor)
    close(gradient[full], gradient_without * factor)
    assert (gradient[~full] == 0).all()


@every_method
def test_s18_a_batch_of_empty_rows_has_loss_zero(method):
    batch = ragged_batch(garbage=True)
    batch.mask = torch.zeros_like(batch.mask)
    batch.new, batch.old, batch.ref = (torch.full_like(batch.new, x) for x in GARBAGE[:3])
    out, gradient = apply(policy_loss, method, batch)
    assert out.loss.item() == 0.0 and float(out.clip_fraction) == 0.0
    assert torch.equal(gradient, torch.zeros_like(gradient))
    if out.kl is not None:
        assert out.kl.detach().item() == 0.0


@pytest.mark.parametrize("kl_coef", (0.0, 0.3))
@pytest.mark.parametrize("seed", range(3))
def test_s19_at_ratio_one_grpo_and_gspo_are_the_same(kl_coef, seed):
    """In value and gradient, on ragged lengths. After a first update they part."""
    batch = ragged_batch(seed)
    grpo, gspo = (replace(m, kl_coef=kl_coef) for m in (GRPO, PAPER_SETTINGS["gspo"]))
    drifted = [apply(policy_loss, m, batch) for m in (grpo, gspo)]
    batch.new = batch.old.clone()
    first = [apply(policy_loss, m, batch) for m in (grpo, gspo)]
    close(first[0][0].loss, first[1][0].loss.detach())
    close(first[0][1], first[1][1])
    assert first[0][1].abs().max() > 0
    assert not torch.allclose(drifted[0][1], drifted[1][1])


def whole_groups(lengths, scale):
    """Two groups of four rows, at ratio one, with advantages from rewards."""
    batch = ragged_batch(1, lengths=lengths)
    batch.new = batch.old.clone()
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.2, 0.0, 0.9, 0.0]], dtype=torch.float64)
    batch.advantages = group_advantages(rewards, scale).reshape(-1)
    return batch


@pytest.mark.parametrize("method", (GRPO, GSPO, RLOO), ids=lambda m: m.name)
def test_s19_over_whole_groups_the_loss_at_ratio_one_is_zero_or_the_kl_term(method):
    """So a loss curve says nothing about learning, while the gradient is not zero."""
    method = replace(method, ratio_level=method.ratio_level, aggregation="sequence_mean")
    batch = whole_groups((7, 1, 3, 4, 5, 2, 7, 3), method.advantage_scale)
    out, gradient = apply(policy_loss, method, batch)
    close(out.loss, 0.0)
    assert gradient.abs().max() > 0.01
    out, _ = apply(policy_loss, replace(method, kl_coef=0.3), batch)
    new, _, _, mask = batch.lists
    ref = batch.ref.tolist()
    each = [
        [literal.kl(new[i][t], ref[i][t], method.kl_kind) if m else 0.0 for t, m in enumerate(r)]
        for i, r in enumerate(mask)
    ]
    close(out.loss, 0.3 * literal.aggregate(each, mask, "sequence_mean"))


@pytest.mark.parametrize("method", (DR_GRPO, DAPO), ids=lambda m: m.name)
def test_s19_with_constant_or_token_mean_the_loss_at_ratio_one_is_not_zero(method):
    batch = whole_groups((7, 1, 3, 4, 5, 2, 7, 3), method.advantage_scale)
    assert abs(apply(policy_loss, method, batch)[0].loss.item()) > 0.01


def test_s19_a_mini_batch_that_splits_a_group_has_a_loss_that_is_not_zero():
    batch = whole_groups((7, 1, 3, 4, 5, 2, 7, 3), "std").rows(torch.tensor([0, 1, 2, 4, 5]))
    assert abs(apply(policy_loss, GRPO, batch)[0].loss.item()) > 0.01


# --- aggregation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("totals", ({}, {"total_rows": 40, "total_tokens": 99}))
def test_aggregate_agrees_with_the_reference(how, totals):
    batch = ragged_batch()
    values = batch.new.clone().requires_grad_()
    _, _, _, mask = batch.lists
    out = aggregate(values, batch.mask, how, 12, **totals)
    assert out.shape == ()
    close(out, literal.aggregate(batch.new.tolist(), mask, how, 12, **totals))
    (gradient,) = torch.autograd.grad(out, values)
    expected = [
        [literal.weight(mask, i, how, 12, **totals) if m else 0.0 for m in r]
        for i, r in enumerate(mask)
    ]
    close(gradient, expected)


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("dtype", (torch.bool, torch.int64, torch.float32))
def test_aggregate_takes_any_mask_and_ignores_what_it_hides(how, dtype):
    clean, dirty = ragged_batch(), ragged_batch(garbage=True)
    values = dirty.new.clone().requires_grad_()
    out = aggregate(values, dirty.mask.to(dtype), how, 12)
    close(out, aggregate(clean.new, clean.mask, how, 12))
    (gradient,) = torch.autograd.grad(out, values)
    assert gradient.isfinite().all() and (gradient[dirty.mask == 0] == 0).all()


def test_what_a_token_weighs_in_each_aggregation():
    """A short and a long row: GRPO weighs the row, Dr. GRPO and DAPO the token."""
    mask = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1]])
    weights = {}
    for how in AGGREGATIONS:
        values = torch.zeros(2, 4, requires_grad=True)
        (weights[how],) = torch.autograd.grad(aggregate(values, mask, how, 8), values)
    assert weights["sequence_mean"][:, 0].tolist() == [1 / 2, 1 / 8]
    assert weights["constant"][:, 0].tolist() == [1 / 16, 1 / 16]
    assert weights["token_mean"][:, 0].tolist() == pytest.approx([1 / 5, 1 / 5])


# --- KL -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KL_KINDS)
def test_kl_estimate_agrees_with_the_reference(kind):
    batch = ragged_batch()
    new = batch.new.clone().requires_grad_()
    estimate = kl_estimate(new, batch.ref, kind)
    pairs = zip(batch.new.flatten().tolist(), batch.ref.flatten().tolist(), strict=True)
    value, slope = zip(
        *[(literal.kl(a, b, kind), literal.kl_gradient(a, b, kind)) for a, b in pairs], strict=True
    )
    assert estimate.shape == batch.new.shape
    close(estimate.flatten(), list(value))
    close(torch.autograd.grad(estimate.sum(), new)[0].flatten(), list(slope))


def test_k3_is_the_default_and_never_negative():
    batch = ragged_batch()
    assert torch.equal(kl_estimate(batch.new, batch.ref), kl_estimate(batch.new, batch.ref, "k3"))
    assert (kl_estimate(batch.new, batch.ref, "k3") >= 0).all()
    assert (kl_estimate(batch.new, batch.new, "k3") == 0).all()


def categorical():
    """Logits of a policy and of a reference over six tokens."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, generator=generator, dtype=torch.float64).requires_grad_()
    return logits, torch.randn(6, generator=generator, dtype=torch.float64).log_softmax(0)


@pytest.mark.parametrize("kind", ("k1", "k3"))
def test_k1_and_k3_have_the_kl_as_expectation(kind):
    logits, ref = categorical()
    new = logits.log_softmax(0)
    close((new.exp() * kl_estimate(new, ref, kind)).sum(), (new.exp() * (new - ref)).sum().detach())


@pytest.mark.parametrize("kind", KL_KINDS)
def test_expected_gradient_of_each_kl_kind(kind):
    """Samples are constants: k1 pushes nowhere, k2 down KL(policy||ref), k3 down
    KL(ref||policy)."""
    logits, ref = categorical()
    new = logits.log_softmax(0)
    truth = {
        "k1": 0.0 * logits.sum(),
        "k2": (new.exp() * (new - ref)).sum(),
        "k3": (ref.exp() * (ref - new)).sum(),
    }[kind]
    (expected,) = torch.autograd.grad(truth, logits, retain_graph=True)
    (actual,) = torch.autograd.grad(
        (new.exp().detach() * kl_estimate(new, ref, kind)).sum(), logits
    )
    close(actual, expected)


def test_without_a_kl_term_the_reference_plays_no_part_in_the_loss():
    batch = ragged_batch()
    arguments = (GRPO, batch.new, batch.old, batch.advantages, batch.mask, batch.max_tokens)
    expected = policy_loss(*arguments).loss
    assert torch.equal(policy_loss(*arguments, logp_ref=batch.ref).loss, expected)
    # a coefficient of 0 times an infinite KL would be NaN
    for extreme in (-1e4, 1e4, float("-inf")):
        reference = torch.full_like(batch.ref, extreme)
        assert torch.equal(policy_loss(*arguments, logp_ref=reference).loss, expected), extreme


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.kl_coef])
def test_kl_that_comes_back_is_aggregated_as_the_loss_is_and_adds_up(name):
    batch, method = ragged_batch(garbage=True), METHODS[name]
    new, _, _, mask = batch.lists
    ref = batch.ref.tolist()
    each = [
        [literal.kl(new[i][t], ref[i][t], method.kl_kind) if m else 0.0 for t, m in enumerate(row)]
        for i, row in enumerate(mask)
    ]
    expected = literal.aggregate(each, mask, method.aggregation, batch.max_tokens)
    close(apply(policy_loss, method, batch)[0].kl, expected)
    parts = [batch.rows(rows) for rows in ([0, 7, 2], [8], [1, 3, 4, 5, 6, 9])]
    close(
        sum(apply(policy_loss, method, part, **totals_of(batch))[0].kl.item() for part in parts),
        expected,
    )


# --- what comes back ------------------------------------------------------------------------------


@every_method
def test_policy_loss_returns_a_scalar_and_ratios_of_its_level(method):
    batch = ragged_batch(garbage=True)
    out, _ = apply(policy_loss, method, batch)
    new, old, _, mask = batch.lists
    assert out.loss.shape == () and out.loss.dtype == torch.float64
    if method.ratio_level == "sequence":
        close(out.ratios, [literal.sequence_ratio(new, old, mask, i) for i in range(len(mask))])
    else:
        close(
            out.ratios,
            [
                [literal.token_ratio(new, old, i, t) if m else 1.0 for t, m in enumerate(r)]
                for i, r in enumerate(mask)
            ],
        )


@every_method
def test_clip_fraction_carries_no_graph(method):
    out, _ = apply(policy_loss, method, ragged_batch())
    assert not out.clip_fraction.requires_grad


@every_method
@pytest.mark.parametrize("dtype", (torch.bool, torch.int64, torch.float32))
def test_any_kind_of_mask_will_do(method, dtype):
    batch = ragged_batch(garbage=True)
    expected, _ = apply(policy_loss, method, batch)
    batch.mask = batch.mask.to(dtype)
    actual, _ = apply(policy_loss, method, batch)
    close(actual.loss, expected.loss.detach())
    close(float(actual.clip_fraction), float(expected.clip_fraction), 1e-6)


@every_method
def test_float32_agrees_to_rounding(method):
    batch = ragged_batch()
    expected, expected_gradient = apply(policy_loss, method, batch)
    for name in ("new", "old", "ref", "advantages", "mask"):
        setattr(batch, name, getattr(batch, name).float())
    actual, gradient = apply(policy_loss, method, batch)
    assert actual.loss.dtype == torch.float32
    close(actual.loss, expected.loss.detach(), 1e-5)
    close(gradient, expected_gradient, 1e-5)


# --- the methods ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "scale", "level", "aggregation"),
    [
        (GRPO, "std", "token", "sequence_mean"),
        (DR_GRPO, "none", "token", "constant"),
        (GSPO, "std", "sequence", "sequence_mean"),
        (DAPO, "std", "token", "token_mean"),
    ],
    ids=lambda x: getattr(x, "name", x),
)
def test_a_method_is_its_four_choices(method, scale, level, aggregation):
    assert (method.advantage_scale, method.ratio_level, method.aggregation) == (
        scale,
        level,
        aggregation,
    )
    assert method.kl_coef == 0.0 and method.kl_kind == "k3"


def test_rloo_leaves_one_out():
    assert RLOO.advantage_scale == "leave_one_out"


@pytest.mark.parametrize(
    ("method", "low", "high"),
    [(GRPO, 0.2, 0.2), (DR_GRPO, 0.2, 0.2), (DAPO, 0.2, 0.28)],
    ids=lambda x: getattr(x, "name", x),
)
def test_clip_ranges_of_the_constants(method, low, high):
    assert (method.clip_low, method.clip_high) == (low, high)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("grpo", 0.2, 0.2), ("dr_grpo", 0.2, 0.2), ("gspo", 3e-4, 4e-4)]
)
def test_clip_ranges_of_the_papers(name, low, high):
    assert (PAPER_SETTINGS[name].clip_low, PAPER_SETTINGS[name].clip_high) == (low, high)


def test_the_grpo_paper_has_a_kl_term():
    assert (PAPER_SETTINGS["grpo"].kl_coef, PAPER_SETTINGS["grpo"].kl_kind) == (0.04, "k3")


def test_the_three_methods_differ_in_nothing_but_their_choices():
    """GRPO becomes each of the others by exchanging fields."""
    assert (
        replace(GRPO, name=DR_GRPO.name, advantage_scale="none", aggregation="constant") == DR_GRPO
    )
    assert (
        replace(
            GRPO,
            name=GSPO.name,
            ratio_level="sequence",
            clip_low=GSPO.clip_low,
            clip_high=GSPO.clip_high,
        )
        == GSPO
    )


def test_a_method_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        GRPO.clip_low = 0.3


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "known"),
    [
        ("ratio_level", "word", ("token", "sequence")),
        ("aggregation", "median", AGGREGATIONS),
        ("kl_kind", "k4", KL_KINDS),
        ("advantage_scale", "variance", ("std", "none", "leave_one_out")),
    ],
)
def test_unknown_choices_are_refused_and_the_known_ones_named(field, value, known):
    batch = ragged_batch()
    with pytest.raises(ValueError) as error:
        method = replace(METHODS["GRPO with k3"], **{field: value})
        group_advantages(torch.rand(2, 4), method.advantage_scale)
        apply(policy_loss, method, batch)
    assert value in str(error.value)
    assert all(name in str(error.value) for name in known)


def test_unknown_aggregation_and_kl_kind_are_refused_by_the_functions_themselves():
    batch = ragged_batch()
    with pytest.raises(ValueError) as error:
        aggregate(batch.new, batch.mask, "median", 12)
    assert "median" in str(error.value) and all(name in str(error.value) for name in AGGREGATIONS)
    with pytest.raises(ValueError) as error:
        kl_estimate(batch.new, batch.ref, "k4")
    assert "k4" in str(error.value) and all(name in str(error.value) for name in KL_KINDS)


@pytest.mark.parametrize("field", ("clip_low", "clip_high"))
def test_a_negative_clip_range_is_refused(field):
    with pytest.raises(ValueError, match="(?i)clip"):
        apply(policy_loss, replace(GRPO, **{field: -0.2}), ragged_batch())


@pytest.mark.parametrize("name", ("new", "old", "advantages", "mask", "ref"))
@pytest.mark.parametrize(
    "method", (METHODS["GRPO with k3"], METHODS["GSPO with k3"]), ids=lambda m: m.name
)
def test_shapes_that_do_not_fit_are_refused(method, name):
    """One row too few, and a single row that broadcasting would accept in silence."""
    for rows in (ROWS - 1, 1):
        batch = ragged_batch()
        setattr(batch, name, getattr(batch, name)[:rows])
        with pytest.raises(ValueError, match=rf"must .*\[{rows}\b"):
            apply(policy_loss, method, batch)


def test_advantages_for_every_token_are_refused():
    batch = ragged_batch()
    batch.advantages = batch.advantages.unsqueeze(1)
    with pytest.raises(ValueError, match="advantages must"):
        apply(policy_loss, GRPO, batch)


def test_aggregate_refuses_a_mask_that_does_not_fit():
    with pytest.raises(ValueError, match="(?i)shape"):
        aggregate(torch.zeros(4, 5), torch.ones(4, 1), "token_mean", 5)


@pytest.mark.parametrize("max_tokens", (0, -3))
def test_a_budget_that_is_not_positive_is_refused(max_tokens):
    batch = ragged_batch()
    with pytest.raises(ValueError, match="max_tokens"):
        aggregate(batch.new, batch.mask, "constant", max_tokens)


def test_a_kl_term_without_a_reference_is_refused():
    batch = ragged_batch()
    with pytest.raises(ValueError, match="logp_ref"):
        policy_loss(
            METHODS["GRPO with k3"],
            batch.new,
            batch.old,
            batch.advantages,
            batch.mask,
            batch.max_tokens,
        )


# --- another objective


@pytest.mark.parametrize("method", [GRPO, GSPO_WIDE], ids=["tokens", "sequences"])
def test_another_objective_takes_the_place_of_the_minimum(method):
    """The plain product in its place gives the loss and gradient of a range without an end."""
    batch = ragged_batch()
    endless = replace(method, clip_low=math.inf, clip_high=math.inf)
    expected, slope = apply(policy_loss, endless, batch)
    found, found_slope = apply(
        policy_loss, method, batch, objective=lambda q, a, clip_low, clip_high: q * a
    )
    assert torch.equal(found.loss, expected.loss) and torch.equal(found_slope, slope)
    assert not torch.equal(found.loss, apply(policy_loss, method, batch)[0].loss)
