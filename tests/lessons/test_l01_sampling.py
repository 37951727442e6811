"""Lesson 01: its figures draw, say their numbers and take odd input; formulas agree with slow
reference implementations; scoring from logits is what scoring by the model is."""

import base64
import itertools
import re

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from small_policies import make_tiny, some_problems

from rlvr_helpers.exercises.core import registry
from rlvr_helpers.kit.recorded import four_rollouts
from rlvr_helpers.lessons.l01_sampling import figures
from rlvr_helpers.lessons.l01_sampling.explorer import next_token, pass_at_k_of_a_group
from rlvr_helpers.models import format_prompt
from rlvr_helpers.sampling import sample_groups
from rlvr_helpers.scoring import logprobs_from_logits, token_logprobs


def check_figure(figure) -> str:
    """It draws, its texts lie within it, and its alternative text (returned) can be read out."""
    FigureCanvasAgg(figure).draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) >= 0
    assert len(figure.alt) > 20 and not re.search(r"\bnan\b|None\b|\n|\xa0", figure.alt), figure.alt
    return figure.alt


# --- slow reference implementations


def test_tokens_that_carry_a_share():
    surprise = np.array([1.0, 4.0, 2.0, 3.0])
    assert [figures.tokens_that_carry(surprise, share) for share in (0.1, 0.4, 0.5, 0.71, 1.0)] == [
        1,
        1,
        2,
        3,
        4,
    ]


def test_scoring_logits_is_what_scoring_by_the_model_is():
    """With the last place or without it, at any temperature."""
    policy = make_tiny()
    prompts = [format_prompt(policy, problem.question) for problem in some_problems()]
    rollout = sample_groups(policy, prompts, 2, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.cat([rollout.prompt_mask, rollout.mask], dim=1)
    with torch.no_grad():
        logits = policy.model(
            input_ids=torch.cat([rollout.prompt_ids, rollout.completion_ids], dim=1),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        ).logits[:, rollout.prompt_ids.shape[1] - 1 :]
        for temperature in (1.0, 0.6):
            parts = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
            expected = token_logprobs(policy.model, *parts, temperature)
            for part in (logits, logits[:, :-1]):
                found = logprobs_from_logits(
                    part, rollout.completion_ids, rollout.mask, temperature
                )
                assert (
                    torch.allclose(found, expected, atol=1e-5)
                    and (expected[rollout.mask == 1] < 0).all()
                )


def test_no_noise_of_the_exercise_lies_where_rounding_decides():
    for case in registry()["pick_tokens"].cases()[:-1]:
        logits, noise, temperature = case.args
        cumulative = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
        assert (cumulative - noise[:, None]).abs().min() > 1e-4, case.label


# --- figures


def recorded_rows():
    four = four_rollouts()
    rows = zip(four.kinds, four.tokens, four.logprobs["start"], four.lengths, strict=True)
    return {kind: (tokens, row[:n].tolist()) for kind, tokens, row, n in rows}


def test_the_surprise_of_the_four_rollouts():
    rows = recorded_rows()
    alt = check_figure(figures.surprise_bars(rows))
    flat = sorted((-x for _, logprobs in rows.values() for x in logprobs), reverse=True)
    few = next(n for n in range(1, len(flat)) if sum(flat[:n]) >= sum(flat) / 2)
    assert f"{few} of {len(flat)} tokens carry half" in alt and (few, len(flat)) == (7, 110)
    assert "right and short: 11 tokens, 15.1 nats in all, most for 'gets' with 8.5" in alt


def test_the_surprise_of_one_token():
    assert "1 of 1 tokens" in check_figure(figures.surprise_bars({"alone": (["x"], [-0.5])}))


def test_groups_by_right():
    alt = check_figure(figures.groups_by_right({2: [0, 1, 2, 3, 8, 0, 1, 1], 5: [0] * 9 + [1]}, 8))
    assert "in 75 % of the groups at 2 operations, in 10 % at 5" in alt
    assert (
        "5 operations, 10 groups: none right 90 %, 1 right 10 %, 2 right 0 %, 3 or more 0 %" in alt
    )
    assert (
        "2 operations, 8 groups: none right 25 %, 1 right 37.5 %, 2 right 12.5 %, 3 or more 25 %"
        in alt
    )


@pytest.mark.parametrize("counts", [[0], [8, 8], [0, 0, 8]])
def test_groups_by_right_at_the_ends(counts):
    check_figure(figures.groups_by_right({2: counts, 3: [0], 4: [1]}, 8))


@pytest.mark.parametrize("right", range(9))
def test_pass_at_k_curve(right):
    """The shares in the alternative text are those of all subsets, counted."""
    alt = check_figure(figures.pass_at_k_curve(right, 4))
    draws = list(itertools.combinations([1] * right + [0] * (8 - right), 4))
    share = 100 * sum(any(draw) for draw in draws) / len(draws)
    assert float(re.search(r"pass@4 ([\d.]+) %", alt)[1]) == pytest.approx(share, abs=0.051)
    told = re.search(
        rf"{right} of 8 right: 4 answers drawn from them hold a right one in ([\d.]+) % of draws",
        alt,
    )
    assert float(told[1]) == pytest.approx(share, abs=0.051)


# --- explorers


def test_the_sampler_has_recorded_every_beginning_of_the_four_rollouts():
    sampler, four = next_token(), four_rollouts()
    recorded = dict(sampler.data["nodes"])
    for row, length in zip(four.completion_ids.tolist(), four.lengths.tolist(), strict=True):
        for t in range(1, length):
            packed = recorded[" ".join(map(str, row[:t]))]
            logprobs = np.frombuffer(base64.b64decode(packed), dtype=np.int16) / 1000
            assert np.exp(logprobs).sum() == pytest.approx(1, abs=1e-3)
            where = four.completion_ids.tolist().index(row)
            assert logprobs[row[t]] == pytest.approx(
                four.logprobs["start"][where, t].item(), abs=2e-3
            )


def test_pass_at_k_explorer():
    explorer = pass_at_k_of_a_group()
    explorer.set(right=3, k=2)
    assert "3 of 8 right: 2 answers" in explorer.picture.text
