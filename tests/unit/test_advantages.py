"""Advantages against the literal reference implementations; rules S12 to S14; the lessons' numbers; named mistakes;
errors."""

import math

import literal
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal import close

from rlvr_helpers.advantages import group_advantages

SCALES = ("std", "none", "leave_one_out")
REFERENCES = {
    "std": literal.advantages_std,
    "none": literal.advantages_none,
    "leave_one_out": literal.advantages_leave_one_out,
}
# Right and wrong, partial credit, one right of eight, all alike, rewards far from zero, negative
# ones.
GROUPS = [
    [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    [0.1, 0.7, 1.1, 0.1, 0.35, 0.0, 1.0, 0.2],
    [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
    [0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8],
    [9.0, 10.0, 10.0, 9.5, 9.0, 9.0, 10.0, 10.0],
    [-1.0, 1.0, -1.0, -1.0, 1.0, -0.5, -1.0, 1.0],
]


def tensor(groups):
    return torch.tensor(groups, dtype=torch.float64)


# --- the comparison that the package passes and every mistake below fails -------------------------


def check_values(function, scale):
    close(function(tensor(GROUPS), scale), REFERENCES[scale](GROUPS), 1e-12)


def check_equal_rewards(function, scale):
    for dtype in (torch.float32, torch.float64):
        for reward in (0.8, 0.1, 1 / 3, 0.0, 1.0, -0.7, 1e6 + 0.1):
            for size in (2, 3, 6, 7, 8, 16, 64):
                out = function(torch.full((2, size), reward, dtype=dtype), scale)
                assert (out == 0).all(), f"{reward} x {size} in {dtype}: {out[0]}"


def check_groups_are_separate(function, scale):
    """A group's advantages do not change when another group stands beside it."""
    alone = function(tensor(GROUPS[:1]), scale)
    close(function(tensor(GROUPS), scale)[:1], alone, 1e-12)


@pytest.mark.parametrize("check", (check_values, check_equal_rewards, check_groups_are_separate))
@pytest.mark.parametrize("scale", SCALES)
def test_group_advantages_agree_with_the_reference(check, scale):
    check(group_advantages, scale)


# --- named mistakes -------------------------------------------------------------------------------


def guarded(rewards, advantages):
    equal = rewards.max(1, keepdim=True).values == rewards.min(1, keepdim=True).values
    return torch.where(equal, torch.zeros_like(advantages), advantages)


def plain(rewards, scale, unbiased=True):
    """The right formulas with nothing left out, from which each mistake departs in one place."""
    centred = rewards - rewards.mean(1, keepdim=True)
    if scale == "std":
        centred = centred / (rewards.std(1, keepdim=True, correction=int(unbiased)) + 1e-4)
    if scale == "leave_one_out":
        centred = centred * rewards.shape[1] / (rewards.shape[1] - 1)
    return guarded(rewards, centred)


def biased_std(rewards, scale):
    return plain(rewards, scale, unbiased=False)


def no_epsilon(rewards, scale):
    centred = rewards - rewards.mean(1, keepdim=True)
    return torch.nan_to_num(guarded(rewards, centred / rewards.std(1, keepdim=True)))


def epsilon_under_the_root(rewards, scale):
    centred = rewards - rewards.mean(1, keepdim=True)
    return guarded(rewards, centred / (rewards.var(1, keepdim=True) + 1e-4).sqrt())


def across_the_batch(rewards, scale):
    return plain(rewards.reshape(1, -1), scale).reshape(rewards.shape)


def std_across_the_batch(rewards, scale):
    centred = rewards - rewards.mean(1, keepdim=True)
    return guarded(rewards, centred / (rewards.std() + 1e-4))


def across_the_prompts(rewards, scale):
    return plain(rewards.T, scale).T


def no_guard_for_equal_rewards(rewards, scale):
    centred = rewards - rewards.mean(1, keepdim=True)
    if scale == "std":
        centred = centred / (rewards.std(1, keepdim=True) + 1e-4)
    return centred


def guard_by_small_std(rewards, scale):
    """A guard, but an approximate one: it also silences a group whose rewards differ by little."""
    out = plain(rewards, scale)
    return torch.where(rewards.std(1, keepdim=True) < 0.5, torch.zeros_like(out), out)


def leaving_none_out(rewards, scale):
    return plain(rewards, "none")


def dividing_by_std_twice(rewards, scale):
    return plain(rewards, "std")


MISTAKES = [
    (biased_std, "std", check_values),
    (no_epsilon, "std", check_values),
    (epsilon_under_the_root, "std", check_values),
    (across_the_batch, "std", check_groups_are_separate),
    (across_the_batch, "none", check_groups_are_separate),
    (std_across_the_batch, "std", check_groups_are_separate),
    (across_the_prompts, "none", check_values),
    (no_guard_for_equal_rewards, "std", check_equal_rewards),
    (no_guard_for_equal_rewards, "none", check_equal_rewards),
    (guard_by_small_std, "std", check_values),
    (leaving_none_out, "leave_one_out", check_values),
    (dividing_by_std_twice, "none", check_values),
]


@pytest.mark.parametrize("scale", SCALES)
def test_the_formulas_that_the_mistakes_depart_from_are_right(scale):
    check_values(plain, scale)
    check_equal_rewards(plain, scale)
    check_groups_are_separate(plain, scale)


@pytest.mark.parametrize(
    ("mistake", "scale", "check"), MISTAKES, ids=lambda x: getattr(x, "__name__", x)
)
def test_mistake_is_caught(mistake, scale, check):
    with pytest.raises(AssertionError):
        check(mistake, scale)


# --- the rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
def test_s12_equal_rewards_give_exactly_zero(scale):
    """Eight times 0.8 in float32: the rounded mean is not 0.8, and dividing by a std as small as
    that error would turn it into an advantage for every row."""
    rewards = torch.full((3, 8), 0.8, dtype=torch.float32)
    assert (rewards - rewards.mean(1, keepdim=True)).abs().max() > 0, (
        "the case must be one that rounding spoils"
    )
    assert torch.equal(group_advantages(rewards, scale), torch.zeros(3, 8))


@pytest.mark.parametrize("scale", SCALES)
def test_s12_does_not_silence_groups_that_differ_by_little(scale):
    rewards = tensor([[0.5, 0.5, 0.5, 0.5 + 1e-9]])
    assert (group_advantages(rewards, scale) != 0).all()


@pytest.mark.parametrize("size", (2, 4, 8, 16))
def test_s13_std_is_unbiased_and_the_biased_one_is_only_a_factor(size):
    rewards = torch.randn(
        5, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size)
    )
    centred = rewards - rewards.mean(1, keepdim=True)
    close(
        group_advantages(rewards, "std"),
        centred / (rewards.std(1, keepdim=True, correction=1) + 1e-4),
        1e-12,
    )
    biased, unbiased = rewards.std(1, correction=0), rewards.std(1, correction=1)
    close(
        biased / unbiased,
        torch.full((5,), math.sqrt((size - 1) / size), dtype=torch.float64),
        1e-12,
    )


@pytest.mark.parametrize("scale", SCALES)
def test_s14_advantage_is_a_constant_for_the_gradient(scale):
    rewards = tensor(GROUPS).requires_grad_()
    assert not group_advantages(rewards, scale).requires_grad


def test_leave_one_out_is_a_multiple_of_none():
    for size in (2, 3, 8):
        rewards = torch.rand(
            4, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size)
        )
        expected = size / (size - 1) * group_advantages(rewards, "none")
        close(group_advantages(rewards, "leave_one_out"), expected, 1e-12)


def test_std_is_the_default():
    assert torch.equal(group_advantages(tensor(GROUPS)), group_advantages(tensor(GROUPS), "std"))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_shape_and_dtype_are_kept_and_the_rewards_left_alone(scale, dtype):
    rewards = tensor(GROUPS).to(dtype)
    before = rewards.clone()
    out = group_advantages(rewards, scale)
    assert out.shape == rewards.shape and out.dtype == dtype
    assert torch.equal(rewards, before)


small_tables = st.integers(2, 6).flatmap(
    lambda size: st.lists(
        st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=size, max_size=size),
        min_size=1,
        max_size=4,
    )
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(small_tables, st.sampled_from(SCALES))
def test_any_rewards_agree_with_the_reference_and_sum_to_zero(groups, scale):
    out = group_advantages(tensor(groups), scale)
    close(out, REFERENCES[scale](groups), 1e-9)
    close(out.sum(1), [0.0] * len(groups), 1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(small_tables, st.floats(-3, 3), st.sampled_from(SCALES))
def test_a_constant_added_to_all_rewards_changes_nothing(groups, shift, scale):
    close(
        group_advantages(tensor(groups) + shift, scale),
        group_advantages(tensor(groups), scale),
        1e-7,
    )


def test_std_removes_the_scale_of_the_rewards_and_none_keeps_it():
    rewards = tensor(GROUPS)
    close(group_advantages(3 * rewards, "none"), 3 * group_advantages(rewards, "none"), 1e-12)
    # not exactly: the 1e-4
    close(group_advantages(3 * rewards, "std"), group_advantages(rewards, "std"), 2e-3)


# --- numbers that the lessons quote ---------------------------------------------------------------


def right_of_eight(count):
    return tensor([[1.0] * count + [0.0] * (8 - count)])


@pytest.mark.parametrize(("count", "multiplier"), [(1, 2.83), (2, 2.16), (3, 1.93), (4, 1.87)])
def test_difficulty_bias_multipliers(count, multiplier):
    """1 / std for 1 to 4 right of eight: by how much `std` enlarges what `none` gives."""
    rewards = right_of_eight(count)
    ratio = group_advantages(rewards, "std") / group_advantages(rewards, "none")
    assert torch.allclose(ratio, torch.full_like(ratio, multiplier), atol=5e-3)
    mirrored = group_advantages(1 - rewards, "std") / group_advantages(1 - rewards, "none")
    assert torch.allclose(ratio, mirrored)


def test_one_right_of_eight_is_weighted_1_51_times_four_of_eight():
    multipliers = [
        (group_advantages(right_of_eight(c), "std") / group_advantages(right_of_eight(c), "none"))[
            0, 0
        ]
        for c in (1, 4)
    ]
    assert float(multipliers[0] / multipliers[1]) == pytest.approx(1.51, abs=5e-3)


@pytest.mark.parametrize(
    ("scale", "count", "total"),
    [("std", 1, 4.95), ("std", 4, 7.48), ("none", 1, 1.75), ("none", 4, 4.0)],
)
def test_total_weight_of_a_group_is_still_smaller_when_it_is_hard(scale, count, total):
    assert float(group_advantages(right_of_eight(count), scale).abs().sum()) == pytest.approx(
        total, abs=5e-3
    )


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("count", (0, 8))
def test_groups_all_right_or_all_wrong_weigh_nothing(scale, count):
    assert torch.equal(
        group_advantages(right_of_eight(count), scale), torch.zeros(1, 8, dtype=torch.float64)
    )


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
def test_group_size_one_is_refused(scale):
    with pytest.raises(ValueError, match="(?i)group"):
        group_advantages(torch.ones(4, 1), scale)


@pytest.mark.parametrize("scale", SCALES)
def test_empty_groups_are_refused(scale):
    with pytest.raises(ValueError, match="(?i)group"):
        group_advantages(torch.ones(4, 0), scale)


def test_unknown_scale_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ValueError) as error:
        group_advantages(tensor(GROUPS), "variance")
    assert "variance" in str(error.value)
    assert all(scale in str(error.value) for scale in SCALES)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("bad", (float("nan"), float("inf"), float("-inf")))
def test_rewards_that_are_no_numbers_are_refused(scale, bad):
    rewards = tensor(GROUPS)
    rewards[2, 3] = bad
    with pytest.raises(ValueError, match="(?i)nan|finite"):
        group_advantages(rewards, scale)


@pytest.mark.parametrize("shape", ((8,), (2, 2, 2), ()))
def test_rewards_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"(?i)group size.*not \["):
        group_advantages(torch.zeros(shape), "std")
