"""Ratios: values and gradients against the literal reference implementations, padding that must not leak, the spread
over length, GSPO-token, named mistakes."""

import math

import literal
import pytest
import torch
from literal import close, ragged_batch

from rlvr_helpers.ratios import sequence_ratios, token_ratios

# Fixed upstream weights, so that a gradient of the wrong size or on the wrong token cannot cancel
# out.


def upstream(*shape):
    return torch.linspace(-1.0, 2.0, math.prod(shape), dtype=torch.float64).reshape(shape)


def value_and_gradient(function, batch):
    """The ratios, and the gradient of a fixed weighting of them with respect to the new
    log-probs."""
    new = batch.new.clone().requires_grad_()
    ratios = function(new, batch.old, batch.mask)
    (gradient,) = torch.autograd.grad((ratios * upstream(*ratios.shape)).sum(), new)
    return ratios.detach(), gradient


def reference_tokens(batch):
    new, old, _, mask = batch.lists
    value = [
        [literal.token_ratio(new, old, i, t) if m else 1.0 for t, m in enumerate(r)]
        for i, r in enumerate(mask)
    ]
    value = torch.tensor(value, dtype=torch.float64)
    return value, value * batch.mask * upstream(*value.shape)


def reference_sequences(batch):
    new, old, _, mask = batch.lists
    value = [literal.sequence_ratio(new, old, mask, i) for i in range(len(mask))]
    slope = [
        [literal.sequence_ratio_gradient(new, old, mask, i, t) for t in range(len(r))]
        for i, r in enumerate(mask)
    ]
    slope = torch.tensor(slope, dtype=torch.float64)
    return torch.tensor(value, dtype=torch.float64), slope * upstream(len(value)).unsqueeze(1)


# --- the comparisons ------------------------------------------------------------------------------


def check_value(function, reference):
    batch = ragged_batch()
    close(value_and_gradient(function, batch)[0], reference(batch)[0])


def check_gradient(function, reference):
    batch = ragged_batch()
    close(value_and_gradient(function, batch)[1], reference(batch)[1])


def check_padding(function, reference):
    """NaN, infinities and 1e300 in the padding change neither a value nor a gradient by a single
    bit."""
    clean, dirty = ragged_batch(), ragged_batch(garbage=True)
    for expected, actual in zip(
        value_and_gradient(function, clean), value_and_gradient(function, dirty), strict=True
    ):
        assert torch.equal(actual, expected), f"{actual} instead of {expected}"


def check_wider_padding(function, reference):
    """The same rows, padded to a greater width."""
    batch = ragged_batch()
    wide = [torch.nn.functional.pad(x, (0, 9)) for x in (batch.new, batch.old, batch.mask)]
    expected = function(batch.new, batch.old, batch.mask)
    actual = function(*wide)
    close(actual if actual.dim() == 1 else actual[:, : expected.shape[1]], expected)


def check_old_is_constant(function, reference):
    """Passing one and the same tensor as new and old must not make the gradient vanish."""
    batch = ragged_batch()
    log_probs = batch.new.clone().requires_grad_()
    ratios = function(log_probs, log_probs, batch.mask)
    (gradient,) = torch.autograd.grad((ratios * upstream(*ratios.shape)).sum(), log_probs)
    batch.old = batch.new
    close(gradient, reference(batch)[1])


CHECKS = (check_value, check_gradient, check_padding, check_wider_padding, check_old_is_constant)
RIGHT = ((token_ratios, reference_tokens), (sequence_ratios, reference_sequences))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("function", "reference"), RIGHT, ids=("token", "sequence"))
def test_ratios_agree_with_the_reference(check, function, reference):
    check(function, reference)


# --- named mistakes -------------------------------------------------------------------------------


def difference(new, old, mask):
    return torch.where(mask.bool(), new - old.detach(), torch.zeros_like(new))


def plain_tokens(new, old, mask):
    mask = mask.bool()
    return difference(new.masked_fill(~mask, 0), old.masked_fill(~mask, 0), mask).exp()


def plain_sequences(new, old, mask):
    inside = mask.bool()
    drift = difference(new.masked_fill(~inside, 0), old.masked_fill(~inside, 0), mask)
    return (drift.sum(1) / mask.sum(1).clamp(min=1)).exp()


def without_length_normalisation(new, old, mask):
    return difference(new, old, mask).sum(1).exp()


def mean_over_padding(new, old, mask):
    return difference(new, old, mask).mean(1).exp()


def mean_of_the_token_ratios(new, old, mask):
    """The arithmetic mean where GSPO has the geometric one."""
    rho = plain_tokens(new, old, mask) * mask
    return torch.where(
        mask.sum(1) > 0, rho.sum(1) / mask.sum(1).clamp(min=1), torch.ones_like(rho[:, 0])
    )


def gradient_n_times_too_large(new, old, mask):
    """The right value, with every token's log-prob let through whole: shows in no loss value."""
    value = plain_sequences(new, old, mask).detach()
    through = (new * mask).sum(1)
    return value * (through - through.detach()).exp()


def mask_by_multiplication(new, old, mask):
    return (((new - old.detach()) * mask).sum(1) / mask.sum(1).clamp(min=1)).exp()


def tokens_masked_by_multiplication(new, old, mask):
    return ((new - old.detach()) * mask).exp()


def tokens_masked_after_the_exponential(new, old, mask):
    """Values are clean, the gradient is not: 0 times infinity."""
    return torch.where(mask.bool(), (new - old.detach()).exp(), torch.ones_like(new))


def empty_rows_divide_by_zero(new, old, mask):
    return (difference(new, old, mask).sum(1) / mask.sum(1)).exp()


def padding_has_ratio_zero(new, old, mask):
    return plain_tokens(new, old, mask) * mask


def old_and_new_exchanged(new, old, mask):
    return plain_tokens(-new, -old, mask)


def difference_instead_of_ratio(new, old, mask):
    return torch.where(mask.bool(), new.exp() - old.exp() + 1, torch.ones_like(new))


def tokens_with_old_not_detached(new, old, mask):
    return torch.where(mask.bool(), new - old, torch.zeros_like(new)).exp()


def sequences_with_old_not_detached(new, old, mask):
    drift = torch.where(mask.bool(), new - old, torch.zeros_like(new))
    return (drift.sum(1) / mask.sum(1).clamp(min=1)).exp()


MISTAKES = [
    (without_length_normalisation, reference_sequences, check_value),
    (mean_over_padding, reference_sequences, check_value),
    (mean_over_padding, reference_sequences, check_wider_padding),
    (mean_of_the_token_ratios, reference_sequences, check_value),
    (gradient_n_times_too_large, reference_sequences, check_gradient),
    (mask_by_multiplication, reference_sequences, check_padding),
    (empty_rows_divide_by_zero, reference_sequences, check_value),
    (sequences_with_old_not_detached, reference_sequences, check_old_is_constant),
    (tokens_masked_by_multiplication, reference_tokens, check_padding),
    (tokens_masked_after_the_exponential, reference_tokens, check_padding),
    (padding_has_ratio_zero, reference_tokens, check_value),
    (old_and_new_exchanged, reference_tokens, check_value),
    (difference_instead_of_ratio, reference_tokens, check_value),
    (tokens_with_old_not_detached, reference_tokens, check_old_is_constant),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("function", "reference"),
    ((plain_tokens, reference_tokens), (plain_sequences, reference_sequences)),
    ids=("token", "sequence"),
)
def test_the_formulas_that_the_mistakes_depart_from_are_right(check, function, reference):
    check(function, reference)


@pytest.mark.parametrize(("mistake", "reference", "check"), MISTAKES, ids=lambda x: x.__name__)
def test_mistake_is_caught(mistake, reference, check):
    with pytest.raises(AssertionError):
        check(mistake, reference)


def test_a_gradient_n_times_too_large_shows_in_no_value():
    check_value(gradient_n_times_too_large, reference_sequences)


# --- what the ratios are --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", (torch.bool, torch.int64, torch.float32, torch.float64))
@pytest.mark.parametrize("function", (token_ratios, sequence_ratios))
def test_any_kind_of_mask_will_do(function, dtype):
    batch = ragged_batch()
    assert torch.equal(
        function(batch.new, batch.old, batch.mask.to(dtype)),
        function(batch.new, batch.old, batch.mask),
    )


@pytest.mark.parametrize("function", (token_ratios, sequence_ratios))
def test_same_policy_gives_exactly_one(function):
    batch = ragged_batch(garbage=True)
    for dtype in (torch.float32, torch.float64):
        ratios = function(batch.new.to(dtype), batch.new.to(dtype), batch.mask)
        assert ratios.dtype == dtype and (ratios == 1).all()


def test_token_ratios_are_one_in_the_padding_and_empty_rows_have_sequence_ratio_one():
    batch = ragged_batch(garbage=True)
    assert (token_ratios(batch.new, batch.old, batch.mask)[batch.mask == 0] == 1).all()
    assert (sequence_ratios(batch.new, batch.old, batch.mask)[batch.mask.sum(1) == 0] == 1).all()


def test_sequence_ratio_is_the_geometric_mean_of_the_token_ratios():
    batch = ragged_batch()
    rho = token_ratios(batch.new, batch.old, batch.mask)
    geometric = rho.prod(1) ** (1 / batch.mask.sum(1).clamp(min=1))
    close(sequence_ratios(batch.new, batch.old, batch.mask), geometric)


def test_a_completion_of_one_token_has_one_ratio():
    new, old, mask = torch.tensor([[-0.5]]), torch.tensor([[-0.7]]), torch.ones(1, 1)
    assert torch.equal(token_ratios(new, old, mask)[:, 0], sequence_ratios(new, old, mask))


# --- how the spread depends on the length ---------------------------------------------------------

SPREAD = [(16, 0.0125, 0.20, 0.21), (64, 0.0063, 0.42, 0.45), (256, 0.0031, 0.95, 1.30)]


def drifting(rows, tokens, mean=0.0):
    generator = torch.Generator().manual_seed(tokens)
    drift = mean + 0.05 * torch.randn(rows, tokens, generator=generator, dtype=torch.float64)
    old = torch.full_like(drift, -1.0)
    return old + drift, old, torch.ones_like(old)


@pytest.mark.parametrize(("tokens", "sequence", "product_mean_one", "product_median_one"), SPREAD)
def test_spread_of_the_ratios_over_length(tokens, sequence, product_mean_one, product_median_one):
    """Independent drift of sd 0.05: token ratios spread by 0.050 at any length, GSPO's by 0.05 /
    sqrt(n)."""
    new, old, mask = drifting(8_000, tokens)
    assert token_ratios(new, old, mask).std().item() == pytest.approx(0.050, abs=0.0005)
    assert sequence_ratios(new, old, mask).std().item() == pytest.approx(sequence, rel=0.03)


@pytest.mark.parametrize(("tokens", "sequence", "product_mean_one", "product_median_one"), SPREAD)
def test_spread_of_the_raw_product(tokens, sequence, product_mean_one, product_median_one):
    """For a lognormal sqrt(exp(n v) - 1) with the mean held at 1, times exp(n v / 2) with the
    median at 1."""
    variance = tokens * 0.05**2
    exact = math.sqrt(math.exp(variance) - 1)
    assert exact == pytest.approx(product_mean_one, abs=0.006)
    assert exact * math.exp(variance / 2) == pytest.approx(product_median_one, abs=0.006)
    new, old, mask = drifting(8_000, tokens, mean=-(0.05**2) / 2)
    product = sequence_ratios(new, old, mask) ** tokens
    assert product.mean().item() == pytest.approx(1.0, abs=0.05)
    assert product.std().item() == pytest.approx(exact, rel=0.1)


# --- GSPO-token, eq. 14 ---------------------------------------------------------------------------


def gspo_token_ratios(new, old, mask):
    """sg(s_i) * pi / sg(pi), [B, T]: GSPO eq. 14. Every token's value is s_i, its gradient its
    own."""
    new = new.masked_fill(mask == 0, 0.0)
    return sequence_ratios(new, old, mask).detach().unsqueeze(1) * (new - new.detach()).exp()


def row_mean_objective(ratios, advantages, mask):
    return ((ratios * advantages * mask).sum(1) / mask.sum(1).clamp(min=1)).sum()


def test_gspo_token_with_one_advantage_a_row_is_gspo():
    batch = ragged_batch(garbage=True)
    new = batch.new.clone().requires_grad_()
    advantages = batch.advantages.unsqueeze(1)
    by_token = gspo_token_ratios(new, batch.old, batch.mask)
    by_row = sequence_ratios(new, batch.old, batch.mask).unsqueeze(1).expand_as(by_token)
    close(by_token, by_row.detach())
    objectives = [
        row_mean_objective(ratios, advantages, batch.mask) for ratios in (by_token, by_row)
    ]
    close(objectives[0], objectives[1].detach())
    gradients = [
        torch.autograd.grad(objective, new, retain_graph=True)[0] for objective in objectives
    ]
    assert gradients[0].abs().max() > 0
    close(gradients[0], gradients[1])


def test_gspo_token_with_many_advantages_moves_each_token_by_its_own():
    """The gradient is s_i A[i][t] / n_i. GSPO itself would move all of a row's tokens alike."""
    batch = ragged_batch()
    new = batch.new.clone().requires_grad_()
    advantages = upstream(*new.shape)
    ratios = gspo_token_ratios(new, batch.old, batch.mask)
    (gradient,) = torch.autograd.grad(row_mean_objective(ratios, advantages, batch.mask), new)
    s, n = sequence_ratios(batch.new, batch.old, batch.mask), batch.mask.sum(1).clamp(min=1)
    close(gradient, (s / n).unsqueeze(1) * advantages * batch.mask)
    by_row = sequence_ratios(new, batch.old, batch.mask).unsqueeze(1).expand_as(ratios)
    (of_gspo,) = torch.autograd.grad(row_mean_objective(by_row, advantages, batch.mask), new)
    with pytest.raises(AssertionError):
        close(of_gspo, gradient)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", (token_ratios, sequence_ratios))
@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 5), (4, 6), (4, 5)),
        ((4, 5), (4, 5), (4, 6)),
        ((4, 5), (1, 5), (4, 5)),
        ((4, 5), (4, 5), (4, 1)),
        ((5,),) * 3,
    ],
    ids=str,
)
def test_shapes_that_do_not_fit_are_refused(function, shapes):
    """Also those that broadcasting would accept in silence."""
    with pytest.raises(ValueError, match="(?i)shape"):
        function(*(torch.zeros(shape) for shape in shapes))
