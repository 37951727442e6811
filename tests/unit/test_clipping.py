"""Clipping: the objective and where it binds, in value and gradient, over a grid; named
mistakes."""

import literal
import pytest
import torch
from literal import close

from rlvr_helpers.clipping import clip_binds, clipped_objective

RANGES = [(0.2, 0.2), (0.2, 0.28), (3e-4, 4e-4), (0.25, 0.5), (0.0, 0.0)]
ADVANTAGES = torch.tensor([-2.0, -0.3, 0.0, 0.4, 1.7], dtype=torch.float64)


def ratio_grid(low, high):
    """Ratios well inside, near to, and far outside of the range, and exactly 1."""
    steps = torch.tensor([0.01, 0.5, 0.99, 1.01, 2.0, 5.0], dtype=torch.float64)
    far = torch.tensor([0.05, 0.7, 1.6, 30.0], dtype=torch.float64)
    return torch.cat(
        [1 - low * steps.clamp(max=3), torch.ones(1, dtype=torch.float64), 1 + high * steps, far]
    )


def value_and_gradient(function, ratios, advantages, low, high):
    ratios = ratios.clone().requires_grad_()
    objective = function(ratios, advantages, low, high)
    (gradient,) = torch.autograd.grad(objective.sum(), ratios)
    return objective.detach(), gradient


def grid(low, high):
    """Every ratio with every advantage: [N, 1] and [5], which broadcast."""
    return ratio_grid(low, high).unsqueeze(1).expand(-1, len(ADVANTAGES)), ADVANTAGES


def reference_table(function, low, high):
    return [
        [function(q, a, low, high) for a in ADVANTAGES.tolist()]
        for q in ratio_grid(low, high).tolist()
    ]


# --- the comparisons ------------------------------------------------------------------------------


def check_value(function, low, high):
    value, _ = value_and_gradient(function, *grid(low, high), low, high)
    close(value, reference_table(literal.clipped, low, high), 1e-12)


def check_gradient(function, low, high):
    _, gradient = value_and_gradient(function, *grid(low, high), low, high)
    close(gradient, reference_table(literal.clipped_gradient, low, high), 1e-12)


def check_binds(function, low, high):
    binds = function(*grid(low, high), low, high)
    assert binds.dtype == torch.bool
    assert torch.equal(binds, torch.tensor(reference_table(literal.binds, low, high)))


@pytest.mark.parametrize("check", (check_value, check_gradient))
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_clipped_objective_agrees_with_the_reference(check, low, high):
    check(clipped_objective, low, high)


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_clip_binds_agrees_with_the_reference(low, high):
    check_binds(clip_binds, low, high)


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_clip_binds_exactly_where_the_gradient_is_dead(low, high):
    ratios, advantages = grid(low, high)
    _, gradient = value_and_gradient(clipped_objective, ratios, advantages, low, high)
    signal = (advantages != 0).expand_as(ratios)
    assert torch.equal(clip_binds(ratios, advantages, low, high), (gradient == 0) & signal)


# --- named mistakes -------------------------------------------------------------------------------


def plain(q, a, low, high):
    return torch.minimum(q * a, q.clamp(1 - low, 1 + high) * a)


def plain_binds(q, a, low, high):
    return ((a > 0) & (q > 1 + high)) | ((a < 0) & (q < 1 - low))


def max_for_negative_advantages(q, a, low, high):
    """min and max exchanged where A < 0: a wrong answer that became likelier is no longer pushed
    down."""
    held = q.clamp(1 - low, 1 + high)
    return torch.where(a < 0, torch.maximum(q * a, held * a), torch.minimum(q * a, held * a))


def max_everywhere(q, a, low, high):
    return torch.maximum(q * a, q.clamp(1 - low, 1 + high) * a)


def clip_without_min(q, a, low, high):
    """The gradient dies outside the range on the side that should be free as well."""
    return q.clamp(1 - low, 1 + high) * a


def min_of_the_ratios(q, a, low, high):
    """min taken before the sign of A is known."""
    return torch.minimum(q, q.clamp(1 - low, 1 + high)) * a


def no_clip(q, a, low, high):
    return q * a


def low_for_both_sides(q, a, low, high):
    return plain(q, a, low, low)


def sides_exchanged(q, a, low, high):
    return plain(q, a, high, low)


def clip_in_log_space(q, a, low, high):
    return torch.minimum(q * a, q.log().clamp(-low, high).exp() * a)


def straight_through(q, a, low, high):
    """The right value, and the gradient of no clip at all."""
    return q * a + (plain(q, a, low, high) - q * a).detach()


def half_gradient_inside(q, a, low, high):
    """The right value; where both arms are equal only one of them carries a gradient, and only half
    of it."""
    value = plain(q, a, low, high)
    return torch.where(q.detach() == 1, 0.5 * value + 0.5 * value.detach(), value)


OBJECTIVE_MISTAKES = [
    (max_for_negative_advantages, (0.2, 0.2), check_value),
    (max_everywhere, (0.2, 0.2), check_value),
    (clip_without_min, (0.2, 0.2), check_value),
    (clip_without_min, (0.2, 0.2), check_gradient),
    (min_of_the_ratios, (0.2, 0.2), check_value),
    (no_clip, (0.2, 0.2), check_value),
    (low_for_both_sides, (0.2, 0.28), check_value),
    (sides_exchanged, (0.2, 0.28), check_value),
    (sides_exchanged, (3e-4, 4e-4), check_value),
    (clip_in_log_space, (0.2, 0.2), check_value),
    (straight_through, (0.2, 0.2), check_gradient),
    (half_gradient_inside, (0.2, 0.2), check_gradient),
]


def every_place_out_of_range(q, a, low, high):
    return ((q > 1 + high) | (q < 1 - low)) & (a == a)


def the_wrong_sign(q, a, low, high):
    return plain_binds(q, -a, low, high)


def zero_advantage_counts(q, a, low, high):
    return ((a >= 0) & (q > 1 + high)) | ((a <= 0) & (q < 1 - low))


def the_upper_side_only(q, a, low, high):
    return (a > 0) & (q > 1 + high)


def where_value_and_clip_differ(q, a, low, high):
    return q * a != q.clamp(1 - low, 1 + high) * a


BINDS_MISTAKES = [
    every_place_out_of_range,
    the_wrong_sign,
    zero_advantage_counts,
    the_upper_side_only,
    where_value_and_clip_differ,
]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_the_formulas_that_the_mistakes_depart_from_are_right(low, high):
    check_value(plain, low, high)
    check_gradient(plain, low, high)
    check_binds(plain_binds, low, high)


@pytest.mark.parametrize(
    ("mistake", "clip", "check"), OBJECTIVE_MISTAKES, ids=lambda x: getattr(x, "__name__", str(x))
)
def test_mistake_in_the_objective_is_caught(mistake, clip, check):
    with pytest.raises(AssertionError):
        check(mistake, *clip)


@pytest.mark.parametrize("mistake", (straight_through, half_gradient_inside))
def test_these_mistakes_show_in_no_value(mistake):
    check_value(mistake, 0.2, 0.2)


@pytest.mark.parametrize("mistake", BINDS_MISTAKES, ids=lambda x: x.__name__)
def test_mistake_in_where_the_clip_binds_is_caught(mistake):
    with pytest.raises(AssertionError):
        check_binds(mistake, 0.2, 0.2)


# --- corner cases ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("advantage", (-1.5, 0.7))
def test_at_ratio_one_the_gradient_is_full_and_nothing_binds(low, high, advantage):
    one, a = torch.ones(1, dtype=torch.float64), torch.tensor([advantage], dtype=torch.float64)
    value, gradient = value_and_gradient(clipped_objective, one, a, low, high)
    assert value.item() == advantage and gradient.item() == advantage
    assert not clip_binds(one, a, low, high).any()


@pytest.mark.parametrize(("ratio", "advantage"), [(1.5, 2.0), (0.75, -2.0)])
def test_on_the_edge_itself_the_gradient_still_lives(ratio, advantage):
    """Dead is strictly outside. The ranges 0.25 and 0.5 have edges that are exact in binary."""
    q, a = (
        torch.tensor([ratio], dtype=torch.float64),
        torch.tensor([advantage], dtype=torch.float64),
    )
    value, gradient = value_and_gradient(clipped_objective, q, a, 0.25, 0.5)
    assert value.item() == ratio * advantage and gradient.item() == advantage
    assert not clip_binds(q, a, 0.25, 0.5).any()


def test_a_wrong_answer_that_became_likelier_is_pushed_down_without_limit():
    q = torch.tensor([5.0, 50.0], dtype=torch.float64)
    a = torch.tensor(-1.0, dtype=torch.float64)
    value, gradient = value_and_gradient(clipped_objective, q, a, 0.2, 0.2)
    assert value.tolist() == [-5.0, -50.0] and gradient.tolist() == [-1.0, -1.0]


def test_sequence_and_token_ratios_both_broadcast():
    rho = torch.linspace(0.5, 1.5, 15, dtype=torch.float64).reshape(5, 3)
    by_token = clipped_objective(rho, ADVANTAGES.unsqueeze(1), 0.2, 0.2)
    assert by_token.shape == (5, 3)
    assert clip_binds(rho, ADVANTAGES.unsqueeze(1), 0.2, 0.2).shape == (5, 3)
    for t in range(3):
        assert torch.equal(by_token[:, t], clipped_objective(rho[:, t], ADVANTAGES, 0.2, 0.2))


@pytest.mark.parametrize("function", (clipped_objective, clip_binds))
@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.2), (0.2, -0.1), (float("nan"), 0.2)])
def test_a_negative_clip_range_is_refused(function, low, high):
    with pytest.raises(ValueError, match="(?i)clip"):
        function(torch.ones(3), torch.ones(3), low, high)


@pytest.mark.parametrize("ratios, advantages", [((3, 5), (3,)), ((3, 5), (4, 1)), ((3,), (5,))])
def test_shapes_that_do_not_fit_are_told_what_to_do(ratios, advantages):
    with pytest.raises(
        ValueError, match=r"do not fit: token ratios \[B, T\] take advantages \[B, 1\]"
    ):
        clipped_objective(torch.ones(ratios), torch.ones(advantages), 0.2, 0.2)
