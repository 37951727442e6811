"""Verdicts and statistics: intervals, pass@k and McNemar's test against textbook numbers and
against counting out."""

import json
import math
from itertools import combinations, product
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_helpers.evaluation import (
    T_95,
    Evaluation,
    evaluate,
    judge,
    mcnemar,
    mean_pass_at_k,
    pass_at_k,
    t_interval,
    wilson_interval,
)
from rlvr_helpers.models import format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.sampling import sample_groups

# --- Wilson's interval ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "right, total, low, high",
    [
        # R. G. Newcombe, Two-sided confidence intervals for the single proportion (1998), table I,
        # method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (36, 50, 0.5833, 0.8253),  # the 72 % of 50 items of spec.md: 58 to 83
    ],
)
def test_wilson_interval_against_textbook_values(right, total, low, high):
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("total", [1, 2, 7, 200, 10**6])
def test_wilson_interval_at_none_and_all_right(total):
    z = 1.959963984540054
    low, high = wilson_interval(0, total)
    assert low == pytest.approx(0, abs=1e-15) and high == pytest.approx(z**2 / (total + z**2))
    low, high = wilson_interval(total, total)
    assert high == pytest.approx(1, abs=1e-15) and low == pytest.approx(total / (total + z**2))


@given(st.integers(1, 400).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
@settings(max_examples=200, deadline=None)
def test_wilson_interval_solves_its_equation(case):
    """Its ends are the shares p at which |right / total - p| is z standard errors of p itself."""
    right, total = case
    low, high = wilson_interval(right, total)
    assert 0 <= low <= right / total + 1e-12 and right / total - 1e-12 <= high <= 1
    for p in (low, high):
        if 1e-9 < p < 1 - 1e-9:
            distance = abs(right / total - p) / math.sqrt(p * (1 - p) / total)
            assert distance == pytest.approx(1.959963984540054, rel=1e-6)
    mirrored = wilson_interval(total - right, total)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]), abs=1e-12)


@pytest.mark.parametrize("right, total", [(-1, 5), (6, 5), (0, 0), (0, -1)])
def test_shares_that_are_none(right, total):
    with pytest.raises(ValueError, match="between 0 and total"):
        wilson_interval(right, total)


# --- pass@k ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", range(1, 8))
def test_pass_at_k_counts_out_all_choices_of_k_samples(samples):
    for right in range(samples + 1):
        verdicts = [True] * right + [False] * (samples - right)
        for k in range(1, samples + 1):
            choices = list(combinations(verdicts, k))
            expected = sum(any(choice) for choice in choices) / len(choices)
            assert pass_at_k(samples, right, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("right", range(5))
@pytest.mark.parametrize("k", [1, 2, 3])
def test_pass_at_k_is_unbiased(right, k):
    """Averaged over all ways to draw 4 samples that are right with probability p, it is 1 - (1 -
    p)^k."""
    p = right / 4
    mean = 0.0
    for draws in product([True, False], repeat=4):
        probability = math.prod(p if draw else 1 - p for draw in draws)
        mean += probability * pass_at_k(4, sum(draws), k)
    assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-12)


@pytest.mark.parametrize(
    "samples, right, k", [(4, 1, 0), (4, 1, 5), (4, 5, 1), (4, -1, 1), (0, 0, 1)]
)
def test_pass_at_k_refuses_what_cannot_be_drawn(samples, right, k):
    with pytest.raises(ValueError, match="1 <= k <= samples"):
        pass_at_k(samples, right, k)


def evaluation_of(strict, **changes):
    n = len(strict)
    return Evaluation(
        **{
            "strict": strict,
            "lenient": strict,
            "formatted": [True] * n,
            "lengths": [3] * n,
            "truncated": [False] * n,
        }
        | changes
    )


def test_mean_pass_at_k_averages_over_problems():
    verdicts = [True, False, False, False, True, True, True, False, False, False, False, False]
    evaluation = evaluation_of(verdicts)
    for k in range(1, 5):
        expected = (pass_at_k(4, 1, k) + pass_at_k(4, 3, k) + pass_at_k(4, 0, k)) / 3
        assert mean_pass_at_k(evaluation, 4, k) == pytest.approx(expected)
    assert mean_pass_at_k(evaluation, 4, 1) == pytest.approx(evaluation.accuracy)


def test_mean_pass_at_k_refuses_verdicts_that_make_no_whole_problems():
    """12 verdicts are not 5 samples each; with the wrong number of samples every group would mix
    two problems."""
    with pytest.raises(ValueError):
        mean_pass_at_k(evaluation_of([True] * 12), 5, 1)


# --- paired comparison ----------------------------------------------------------------------------


def exact_binomial(only_first, only_second):
    """Two-sided: all sequences of fair coin tosses that are at least as far from even, counted
    out."""
    n = only_first + only_second
    distance = abs(only_first - n / 2)
    tosses = list(product([0, 1], repeat=n))
    return sum(abs(sum(toss) - n / 2) >= distance for toss in tosses) / len(tosses)


@pytest.mark.parametrize("only_first", range(7))
@pytest.mark.parametrize("only_second", range(6))
def test_mcnemar_is_the_exact_binomial_test(only_first, only_second):
    first = [True] * only_first + [False] * only_second + [True, True, False]
    second = [False] * only_first + [True] * only_second + [True, True, False]
    paired = mcnemar(first, second)
    assert (paired.only_first, paired.only_second) == (only_first, only_second)
    assert paired.p_value == pytest.approx(exact_binomial(only_first, only_second), abs=1e-12)
    assert mcnemar(second, first).p_value == paired.p_value


def test_mcnemar_against_a_known_value():
    """1 against 9 of 10: 2 (1 + 10) / 1024."""
    first, second = [True] + [False] * 9, [False] + [True] * 9
    assert mcnemar(first, second).p_value == pytest.approx(22 / 1024)


def test_mcnemar_with_many_problems_does_not_overflow():
    n = 1200  # 2^n is beyond any float
    assert mcnemar([True] * n, [False] * n).p_value == 0.0
    assert mcnemar([True, False] * n, [False, True] * n).p_value == 1.0


def test_mcnemar_of_equal_verdicts_says_nothing():
    assert mcnemar([True, False], [True, False]).p_value == 1.0
    assert mcnemar([], []).p_value == 1.0


def test_mcnemar_refuses_verdicts_on_different_problems():
    with pytest.raises(ValueError, match="same problems, not 2 and 3"):
        mcnemar([True] * 2, [True] * 3)


# --- t-interval -----------------------------------------------------------------------------------


def test_t_interval_against_textbook_numbers():
    """1 to 5: mean 3, sd sqrt(2.5), t(4) = 2.776. And the sleep data of Student (1908), 10
    differences, t(9) = 2.262."""
    mean, low, high = t_interval([1, 2, 3, 4, 5])
    assert (mean, low, high) == pytest.approx((3, 3 - 1.963, 3 + 1.963), abs=1e-3)
    sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    assert t_interval(sleep) == pytest.approx((1.58, 0.70, 2.46), abs=5e-3)


def test_t_interval_of_three_seeds():
    values = [0.91, 0.95, 0.93]
    mean, low, high = t_interval(values)
    assert mean == pytest.approx(0.93)
    assert high - mean == pytest.approx(4.303 * 0.02 / math.sqrt(3), rel=1e-6)
    assert mean - low == pytest.approx(high - mean)


def t_quantile(freedom):
    """The 97.5 % quantile of Student's t, from its density by Simpson's rule and bisection."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(
        freedom * math.pi
    )

    def between(x, parts=4000):
        heights = [
            (1 + (x * i / parts) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(parts + 1)
        ]
        return (
            scale
            * x
            / parts
            / 3
            * (heights[0] + 4 * sum(heights[1::2]) + 2 * sum(heights[2:-1:2]) + heights[-1])
        )

    low, high = 1.9, 13.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if between(middle) < 0.475 else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 12, 19, 30])
def test_the_table_of_quantiles(freedom):
    assert T_95[freedom - 1] == pytest.approx(t_quantile(freedom), abs=6e-4)


def test_the_table_of_quantiles_falls():
    assert len(T_95) == 30
    assert list(T_95) == sorted(T_95, reverse=True)


@pytest.mark.parametrize("n", [31, 32, 60])
def test_many_values_use_the_normal_quantile_beyond_the_table(n):
    values = [float(i % 2) for i in range(n)]
    mean, low, high = t_interval(values)
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    assert (high - mean) / (sd / math.sqrt(n)) == pytest.approx(
        2.042 if n == 31 else 1.959964, abs=1e-6
    )


def test_one_value_has_no_interval():
    mean, low, high = t_interval([0.5])
    assert mean == 0.5 and math.isnan(low) and math.isnan(high)


def test_equal_values_have_an_interval_of_no_width():
    assert t_interval([0.25] * 4) == (0.25, 0.25, 0.25)


def test_no_values_have_no_mean():
    with pytest.raises(ValueError, match="no values"):
        t_interval([])


# --- verdicts on texts ----------------------------------------------------------------------------


def made_by_hand(texts, group_size, lengths=None, truncated=None):
    lengths = lengths or [len(text.split()) for text in texts]
    return SimpleNamespace(
        texts=texts,
        group_size=group_size,
        lengths=torch.tensor(lengths),
        truncated=torch.tensor(truncated or [False] * len(texts)),
    )


def test_judge_on_texts_made_by_hand():
    seven, eleven = Problem("3 + 4 = ?", "7"), Problem("5 + 6 = ?", "11")
    texts = [
        "<reasoning> 3 + 4 = 7 </reasoning> <answer> 7 </answer>",  # right in every way
        "<answer> 7.0 </answer>",  # right, without the reasoning
        "3 + 4 = 7",  # the right number, without the tags
        "<reasoning> 3 + 4 </reasoning> <answer> 11 </answer>",  # the other problem's answer
        "<reasoning> 5 + 6 </reasoning> <answer> 7 </answer>",
        "<reasoning> 5 + 6 </reasoning> <answer> 11 or 12 </answer>",
        "",
        "<reasoning> 5 + 6 = 11 </reasoning> <answer> 11",  # cut off
    ]
    truncated = [False] * 7 + [True]
    evaluation = judge(made_by_hand(texts, 4, truncated=truncated), [seven, eleven])
    assert evaluation.strict == [True, True, False, False, False, False, False, False]
    assert evaluation.lenient == [True, True, True, False, False, False, False, True]
    assert evaluation.formatted == [True, False, False, True, True, True, False, False]
    assert evaluation.truncated == truncated
    assert evaluation.lengths == [len(text.split()) for text in texts]
    assert evaluation.accuracy == 2 / 8
    assert evaluation.lenient_accuracy == 4 / 8
    assert evaluation.format_rate == 4 / 8
    assert evaluation.interval == wilson_interval(2, 8)


def test_judge_refuses_a_rollout_on_other_problems():
    with pytest.raises(ValueError):
        judge(made_by_hand(["7"] * 4, 2), [Problem("3 + 4 = ?", "7")])


def test_an_evaluation_survives_a_trip_through_json():
    evaluation = evaluation_of(
        [True, False, True],
        lenient=[True, True, True],
        lengths=[1, 22, 64],
        truncated=[False, False, True],
    )
    data = json.loads(json.dumps(evaluation.to_dict()))
    assert all(type(value) is int for values in data.values() for value in values)
    again = Evaluation.from_dict(data)
    assert again == evaluation
    assert all(type(value) is bool for value in again.strict + again.truncated)
    assert again.lengths == [1, 22, 64]


# --- evaluating a policy --------------------------------------------------------------------------


@pytest.fixture
def many_problems(problems):
    """Every length of prompt beside every other one; some answers are what the model says, so that
    verdicts differ."""
    return [
        Problem(f"{problem.question} {number}", problem.answer)
        for number in range(4)
        for problem in problems
    ]


def test_greedy_evaluation_is_deterministic_and_independent_of_the_batch_size(
    any_policy, many_problems
):
    expected = evaluate(any_policy, many_problems, 8)
    assert len(expected.strict) == len(many_problems)
    assert len(set(expected.lengths)) > 1
    for batch_size in (1, 2, 7, 24, 1000):
        assert evaluate(any_policy, many_problems, 8, batch_size=batch_size) == expected
    assert (
        evaluate(any_policy, many_problems, 8, generator=torch.Generator().manual_seed(3))
        == expected
    )


def test_evaluation_keeps_the_order_of_the_problems(policy, many_problems):
    """A problem whose answer is the number that the model says at the end is leniently right; only
    those are."""
    prompts = [format_prompt(policy, problem.question) for problem in many_problems]
    texts = sample_groups(policy, prompts, 1, 8, temperature=0.0).texts
    said = [
        next((word for word in reversed(text.split()) if word.isdigit()), "99") for text in texts
    ]
    wanted = [i % 3 == 0 for i in range(len(texts))]
    problems = [
        Problem(problem.question, number if want else "1234")
        for problem, number, want in zip(many_problems, said, wanted, strict=True)
    ]
    expected = [want and number != "99" for want, number in zip(wanted, said, strict=True)]
    assert sum(expected) > 3
    assert evaluate(policy, problems, 8, batch_size=5).lenient == expected


def test_sampled_evaluation_is_problem_major_and_seeded(policy, many_problems):
    def run(seed):
        return evaluate(
            policy,
            many_problems[:5],
            8,
            1.0,
            samples=4,
            generator=torch.Generator().manual_seed(seed),
        )

    evaluation = run(0)
    assert len(evaluation.strict) == len(evaluation.lengths) == 20
    assert run(0) == evaluation
    assert run(1).lengths != evaluation.lengths
    prompts = [format_prompt(policy, problem.question) for problem in many_problems[:5]]
    rollout = sample_groups(policy, prompts, 4, 8, generator=torch.Generator().manual_seed(0))
    assert evaluation == judge(rollout, many_problems[:5])


def test_more_samples_than_fit_in_a_batch_still_come_problem_by_problem(policy, problems):
    evaluation = evaluate(
        policy, problems, 4, 1.0, samples=5, generator=torch.Generator(), batch_size=3
    )
    assert len(evaluation.strict) == 5 * len(problems)


def test_no_problems_no_evaluation(policy):
    with pytest.raises(ValueError, match="no problems"):
        evaluate(policy, [], 8)


@pytest.mark.parametrize("samples", [0, -1])
def test_no_samples_no_evaluation(policy, problems, samples):
    with pytest.raises(ValueError):
        evaluate(policy, problems, 8, samples=samples)


def test_a_budget_of_no_tokens_is_refused(policy, problems):
    with pytest.raises(ValueError, match="max_tokens must be at least 1"):
        evaluate(policy, problems, 0)
