"""Lesson 01: its figures draw, say their numbers and take odd input; formulas agree with slow
reference implementations; scoring from logits is what scoring by the model is."""

import base64
import re

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from small_policies import make_tiny, some_problems

from rlvr_helpers.exercises.core import registry
from rlvr_helpers.kit.recorded import four_rollouts
from rlvr_helpers.lessons.l01_sampling import figures
from rlvr_helpers.lessons.l01_sampling.experiment import in_words, yours_or_ours
from rlvr_helpers.lessons.l01_sampling.explorer import next_token
from rlvr_helpers.lessons.l01_sampling.questions import PREDICTIONS, QUIZ
from rlvr_helpers.models import format_prompt
from rlvr_helpers.sampling import pick_tokens, sample_groups
from rlvr_helpers.scoring import logprobs_from_logits, token_logprobs


def check_figure(figure) -> str:
    """It draws, its texts lie within it, and its alternative text (returned) can be read out."""
    FigureCanvasAgg(figure).draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) >= 0
    assert len(figure.alt) > 20 and not re.search(r"\bnan\b|None\b|\n|\xa0", figure.alt), figure.alt
    return figure.alt


# --- slow reference implementations


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
    for case in registry()["pick_tokens"].cases()[:-2]:
        logits, noise, temperature = case.args
        cumulative = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
        assert (cumulative - noise[:, None]).abs().min() > 1e-4, case.label


def test_in_the_case_just_below_one_only_the_last_token_can_be_meant():
    logits, noise, _ = registry()["pick_tokens"].cases()[-1].args
    assert (logits.double().softmax(dim=-1).cumsum(dim=-1)[:, :-1] < noise[:, None] - 1e-4).all()
    assert (logits.softmax(dim=-1).cumsum(dim=-1)[:, -1] < noise).any()


# --- figures


def test_groups_by_correct():
    alt = check_figure(
        figures.groups_by_correct({2: [0, 1, 2, 3, 8, 0, 1, 1], 5: [0] * 9 + [1]}, 8)
    )
    assert "in 75 % of the groups at 2 operations, in 10 % at 5" in alt
    assert (
        "5 operations, 10 groups: none correct 90 %, 1 correct 10 %, 2 correct 0 %, 3 or more 0 %"
        in alt
    )
    assert (
        "2 operations, 8 groups: none correct 25 %, 1 correct 37.5 %, 2 correct 12.5 %, 3 or more 25 %"
        in alt
    )


@pytest.mark.parametrize("counts", [[0], [8, 8], [0, 0, 8]])
def test_groups_by_correct_at_the_ends(counts):
    check_figure(figures.groups_by_correct({2: counts, 3: [0], 4: [1]}, 8))


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


# --- your own function, predictions, quiz


def test_the_loop_goes_on_with_a_correct_function_of_your_own(capsys):
    def good(logits, noise, temperature):
        return registry()["pick_tokens"].reference(logits, noise, temperature)

    def bad(logits, noise, temperature):
        return registry()["pick_tokens"].reference(logits, noise, 1.0)

    def blank(logits, noise, temperature): ...

    assert yours_or_ours("pick_tokens", good) is good
    assert "your own" in capsys.readouterr().out
    for function in (bad, blank):
        assert yours_or_ours("pick_tokens", function) is registry()["pick_tokens"].reference
        assert "the course's" in capsys.readouterr().out


def test_seven_tokens_carry_half_of_the_surprise():
    four = four_rollouts()
    surprise = sorted((-four.logprobs["start"][four.mask.bool()]).tolist(), reverse=True)
    assert (sum(surprise[:6]) < sum(surprise) / 2 <= sum(surprise[:7])) and len(surprise) == 110


def test_each_choice_of_own_place_has_its_scores():
    own_place = next(asked for asked in PREDICTIONS if asked.name == "own_place")
    assert tuple(in_words(nats) for nats in (-0.7, -5.1, -14.3)) == own_place.choices


def test_the_answers_of_the_quiz_are_those_of_the_package():
    right = {
        question.name: next(choice.text for choice in question.choices if choice.correct)
        for question in QUIZ
    }
    logits = torch.tensor([[0.6, 0.4]]).log()
    ids = torch.tensor([[0]])
    cold = logprobs_from_logits(logits[None], ids, torch.ones_like(ids), 0.5).exp().item()
    assert right["colder"].startswith("0.60") and f"{cold:.2f}" in right["colder"]
    pieces = torch.tensor([[0.5, 0.3, 0.2]]).log()
    noise = torch.tensor([float(right["which_noise"])])
    assert pick_tokens(pieces, noise, 1.0)[0].item() == 1
    for other in (0.3, 0.8):
        assert pick_tokens(pieces, torch.tensor([other]), 1.0)[0].item() != 1
