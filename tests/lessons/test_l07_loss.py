"""Lesson 07: its figures say their numbers, its experiment is fair, its exact pushes equal an
enumeration, its exercise is the package's loss."""

import itertools
import json
import xml.etree.ElementTree
from dataclasses import replace

import pytest
import torch
import traitlets

from rlvr_helpers import plots
from rlvr_helpers.lessons.l07_loss import experiment
from rlvr_helpers.lessons.l07_loss.exercises import method_cases, method_loss
from rlvr_helpers.lessons.l07_loss.experiment import LengthPoint, stop_push
from rlvr_helpers.lessons.l07_loss.explorer import (
    AGGREGATIONS,
    kl_explorer,
    reference_distribution,
    start_distributions,
    vote_explorer,
)
from rlvr_helpers.lessons.l07_loss.figures import kl_estimators, length_bias
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO, METHODS
from rlvr_helpers.models import load_policy
from rlvr_helpers.problems import load_problems

POINTS = [
    LengthPoint(method, seed, update, length + slope * update + seed)
    for method, length, slope in (("GRPO", 20.0, 2.0), ("Dr. GRPO", 20.0, 0.0))
    for seed in range(2)
    for update in (0, 4)
]

# --- method_loss


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kl_kind", ["", "k1", "k2", "k3"])
def test_the_exercise_is_the_loss_of_the_package(name, kl_kind):
    method = replace(METHODS[name], kl_coef=0.3, kl_kind=kl_kind) if kl_kind else METHODS[name]
    for case in method_cases():
        _, new, old, advantages, mask, budget, *_ = case.args
        ref = old.flip(0).contiguous()
        found = []
        for loss in (method_loss, lambda *args: policy_loss(*args).loss):
            leaf = new.clone().requires_grad_()
            value = loss(method, leaf, old, advantages, mask, budget, ref)
            found.append((value.item(), torch.autograd.grad(value, leaf)[0]))
        assert found[0][0] == pytest.approx(found[1][0], abs=1e-12)
        assert torch.allclose(found[0][1], found[1][1], atol=1e-12)


def test_the_clip_acts_on_some_places_of_the_cases_only():
    for case in method_cases():
        method, *rest = case.args
        assert method.kl_coef or 0.02 < float(policy_loss(method, *rest).clip_fraction) < 0.9, (
            case.label
        )


# --- the push on the logit of stopping


def enumerated_push(stop, max_tokens, rows, how):
    """The literal reference implementation: every batch of lengths, its chance, and the gradient of the loss that
    `policy_loss` gives it."""
    method = {"sequence_mean": GRPO, "constant": DR_GRPO, "token_mean": DAPO}[how]
    push = 0.0
    for lengths in itertools.product(range(1, max_tokens + 1), repeat=rows):
        logit = torch.tensor(stop, dtype=torch.float64).logit().requires_grad_()
        go_on, end = torch.nn.functional.logsigmoid(-logit), torch.nn.functional.logsigmoid(logit)
        table, mask, chance = (
            torch.zeros(rows, max_tokens).double(),
            torch.zeros(rows, max_tokens),
            1.0,
        )
        for i, length in enumerate(lengths):
            for t in range(length):
                last = t + 1 == length
                forced = t + 1 == max_tokens  # the budget ends it: nothing is chosen
                table[i, t] = 0.0 if forced else end if last else go_on
                mask[i, t] = 1
        chance = table.sum().exp().item()
        loss = policy_loss(
            method, table, table.detach(), -torch.ones(rows).double(), mask, max_tokens
        ).loss
        push -= (
            chance * torch.autograd.grad(loss, logit, allow_unused=True)[0].item()
            if loss.requires_grad
            else 0.0
        )
    return push


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize(("stop", "max_tokens", "rows"), [(0.3, 5, 1), (0.2, 4, 2), (0.5, 3, 3)])
def test_pushes_equal_an_enumeration_of_all_batches(how, stop, max_tokens, rows):
    assert stop_push(stop, max_tokens, rows, how) == pytest.approx(
        enumerated_push(stop, max_tokens, rows, how), abs=1e-12
    )


def test_the_bias_of_token_mean_falls_as_one_over_the_rows():
    left = [
        stop_push(1 / 30, 64, rows, "token_mean") / stop_push(1 / 30, 64, rows, "sequence_mean")
        for rows in (1, 32, 64)
    ]
    assert left[0] == pytest.approx(1) and left[1] / left[2] == pytest.approx(2, rel=0.05)


def test_an_unknown_aggregation_is_refused():
    with pytest.raises(ValueError, match="token_mean"):
        stop_push(0.1, 8, 2, "mean")


# --- the experiment


@pytest.mark.slow
def test_it_is_fair_and_leaves_the_policy_as_it_was():
    policy = load_policy("tiny")
    before = [parameter.clone() for parameter in policy.model.parameters()]
    problems = load_problems("train")[:8], load_problems("test")[:4]
    points = list(
        experiment.side_by_side(policy, *problems, (GRPO, GSPO, DR_GRPO), seeds=1, updates=4)
    )
    assert [(p.method, p.update) for p in points[:4]] == [
        ("GRPO", 0),
        ("GSPO", 0),
        ("Dr. GRPO", 0),
        ("GRPO", 4),
    ]
    assert len(points) == 6 and len({p.length for p in points[:3]}) == 1, "the copies start alike"
    lengths = {m: [p.length for p in points if p.method == m] for m in ("GRPO", "GSPO", "Dr. GRPO")}
    assert lengths["GRPO"] == lengths["GSPO"], (
        "with one update a rollout they are the same algorithm"
    )
    assert all(torch.equal(a, b) for a, b in zip(before, policy.model.parameters(), strict=True))


def test_only_wrong_answers_are_heard():
    policy, seen = load_policy("tiny"), []
    rollout, _ = experiment.sample_and_judge(policy, load_problems("train")[:1], noise=0)
    wrong = torch.tensor([True, False] * 4)

    def watched(method, logp, old, advantages, **rest):
        seen.append(advantages)
        return policy_loss(method, logp, old, advantages=advantages, **rest)

    optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.0)
    experiment.update_on_incorrect(
        policy, optimizer, GRPO, rollout=rollout, incorrect=wrong, loss_of=watched
    )
    assert seen[0].tolist() == [-1.0, 0.0] * 4


# --- figures


def drawn(figure) -> str:
    assert plots.to_svg(figure)
    assert "nan" not in figure.alt
    return figure.alt


def test_kl_figure_names_the_widest_and_the_one_that_is_off():
    said = drawn(kl_estimators({"k1": [-1.0, 3.0], "k2": [1.0, 3.0], "k3": [0.5, 1.5]}, 1.0))
    assert "k1 spreads 4.0 times as wide as k3; the sampled mean of k2 is off by 100 %" in said


def test_length_figure_says_where_each_method_went():
    said = drawn(length_bias(POINTS))
    assert "GRPO 20 to 28, Dr. GRPO 20 to 20" in said.replace("\n", " ")
    assert "GRPO, seed 1: from 21.0 to 29.0 tokens" in said
    assert "nothing yet" in drawn(length_bias([]))
    assert "seed 0: from 20.0 to 20.0" in drawn(length_bias(POINTS[:1]))


# --- the explorers (their numbers: tests/browser/test_loss_explorers.py)


@pytest.fixture(scope="module")
def explorers():
    return {"votes": vote_explorer(), "kl": kl_explorer()}


@pytest.mark.parametrize("name", ["votes", "kl"])
def test_an_explorer_is_small_and_has_a_still(explorers, name):
    explorer = explorers[name]
    xml.etree.ElementTree.fromstring(explorer.still.svg)
    assert '<img alt="' in explorer.html and explorer.still.description
    assert len(json.dumps(explorer.data)) <= 80_000 and len(explorer.html.encode()) <= 150_000


@pytest.mark.parametrize(
    "name, trait, wrong",
    [
        ("votes", "how", "mean"),
        ("votes", "budget", 0),
        ("votes", "lengths", [11, 28, 11]),
        ("votes", "lengths", [11, 28, 11, 61]),
        ("votes", "lengths", [0, 28, 11, 60]),
        ("votes", "rewards", [1.0]),
        ("votes", "token", [4, 0]),
        ("votes", "token", [0, 11]),
        ("votes", "token", []),
        ("votes", "lengths", []),
        ("votes", "rewards", []),
        ("votes", "rewards", [1.0, float("nan"), 0.0, 0.0]),
        ("kl", "probabilities", []),
        ("kl", "term", "k4"),
        ("kl", "chosen", 20),
        ("kl", "probabilities", [0.5, 0.5]),
        ("kl", "probabilities", [0.1] * 20),
        ("kl", "probabilities", [1.0] + 19 * [0.0]),
    ],
)
def test_a_value_that_is_none_is_refused(explorers, name, trait, wrong):
    before = getattr(explorers[name], trait)
    with pytest.raises(traitlets.TraitError):
        setattr(explorers[name], trait, wrong)
    assert getattr(explorers[name], trait) == before


def test_keywords_set_the_traits():
    assert vote_explorer(how="constant", lengths=[1, 2, 3, 4]).lengths == [1, 2, 3, 4]
    assert kl_explorer(term="k3").term == "k3"
    with pytest.raises(traitlets.TraitError):
        vote_explorer(lengths=[1])


def test_the_distributions_are_distributions():
    for p in (reference_distribution(), *start_distributions().values()):
        assert p.sum() == pytest.approx(1, abs=1e-4) and p.min() > 0 and len(p) == 20
