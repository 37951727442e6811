"""Lesson 00: the recorded updates of its explorer are those that the package makes, and forbidding
a first word forbids nothing else."""

import json

import pytest
import torch

from rlvr_helpers.evaluation import evaluate
from rlvr_helpers.lessons.l00_start_here.experiment import first_words, greedy_answers
from rlvr_helpers.lessons.l00_start_here.explorer import one_group
from rlvr_helpers.models import load_policy
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import load_problems
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.tools.record_first_update import first_word, marks, sample_group, updated


@pytest.fixture(scope="module")
def policy():
    return load_policy("tiny")


@pytest.fixture(scope="module")
def recorded():
    return json.loads((DATA / "rollouts" / "first_update.json").read_text(encoding="utf-8"))


def test_the_recorded_group_is_what_the_start_model_says(policy, recorded):
    problem, group = sample_group(policy)
    assert (problem.question, group.texts) == (recorded["question"], recorded["texts"])
    assert recorded["rewards"] == [correctness_reward(t, problem.answer) for t in group.texts]
    assert one_group().marks == recorded["rewards"]


@pytest.mark.parametrize("pattern", [0, 145, 16, 255])
def test_a_recorded_update_is_made_again(policy, recorded, pattern):
    problem, group = sample_group(policy)
    changed = updated(policy, group, torch.tensor(marks(pattern, 8)))
    words = policy.tokenizer.convert_tokens_to_ids(recorded["words"])
    found = first_word(changed, problem)[words]
    assert found.tolist() == pytest.approx(recorded["after"][pattern], abs=2e-3)


def test_equal_marks_change_nothing(recorded):
    assert recorded["after"][0] == recorded["after"][255] == recorded["before"]


def test_without_a_forbidden_word_the_answers_are_the_greedy_ones(policy):
    problems = load_problems("test")[:12]
    texts = greedy_answers(policy, problems)
    found = [correctness_reward(t, p.answer) == 1 for t, p in zip(texts, problems, strict=True)]
    assert found == evaluate(policy, problems, max_tokens=64).strict


@pytest.mark.parametrize("forbidden", [("It",), ("It", "Let")])
def test_a_forbidden_word_is_never_the_first(policy, forbidden):
    texts = greedy_answers(policy, load_problems("test")[:12], forbidden)
    assert not {text.split()[1] for text in texts} & set(forbidden)
    assert all(text.startswith("<reasoning> ") for text in texts)


def test_an_unknown_word_cannot_be_forbidden(policy):
    with pytest.raises(ValueError, match="zebra"):
        greedy_answers(policy, load_problems("test")[:1], ("zebra",))


def test_first_words_are_shares_that_add_up_to_one(policy):
    shares = first_words(policy, load_problems("test")[:5])
    assert set(list(shares)[:3]) == {"It", "Let", "a number"}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
