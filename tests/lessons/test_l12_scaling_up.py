"""Lesson 12: its figure says the calculator's numbers, its exercises are the calculator's, its
gradients are `train`'s, its weights those of the ratio."""

import importlib.util
import json
import re
from dataclasses import replace

import pytest
import torch
from small_policies import make_tiny, some_problems

from rlvr_helpers.kit.course_map import EXTRAS, LESSONS, lesson_table
from rlvr_helpers.lessons.l12_scaling_up import experiment as scaling
from rlvr_helpers.lessons.l12_scaling_up import figures
from rlvr_helpers.lessons.l12_scaling_up.exercises import token_seconds, training_bytes
from rlvr_helpers.lessons.l12_scaling_up.experiment import first_gradient, loss_beside_trl
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO
from rlvr_helpers.models import load_policy
from rlvr_helpers.plots import show
from rlvr_helpers.study.memory import (
    CARDS,
    GIB,
    SHAPES,
    Workload,
    cache_bytes,
    memory_gib,
    memory_parts,
    seconds_parts,
    trained_parameters,
)
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import problems_of_step, sample_step, score_rewards, train

LARGE, WORK = SHAPES["qwen2.5-1.5b"], Workload()
LONG = Workload(prompts=32, group_size=32, lora_rank=16, gradient_checkpointing=True)
SETTINGS = TrainSettings(
    steps=1, prompts_per_step=6, group_size=4, epochs=1, minibatches=1, max_tokens=12
)


# --- figures


def bar_ends(ax) -> list[float]:
    """Where the bars of each row end."""
    rows = {}
    for bar in ax.patches:
        if hasattr(bar, "get_y") and bar.get_height() == figures.BAR:
            rows[round(bar.get_y(), 3)] = max(
                rows.get(round(bar.get_y(), 3), 0.0), bar.get_x() + bar.get_width()
            )
    return [end for _, end in sorted(rows.items())]


@pytest.mark.parametrize("work", [WORK, LONG, replace(WORK, reference=True)])
def test_the_bars_are_the_calculators_and_the_longer_is_the_peak(work):
    figure = figures.cost_of_a_step("a model", LARGE, CARDS["H100"], work)
    memory, time = figure.axes
    assert max(bar_ends(memory)) == pytest.approx(memory_gib(LARGE, work))
    assert bar_ends(time) == [
        pytest.approx(sum(seconds_parts(LARGE, work, CARDS["H100"]).values()))
    ]
    assert ("reference" in figure.alt) == work.reference
    for part, size in memory_parts(LARGE, work).items():
        assert not size or f"{part} {figures.short(size)}" in figure.alt
    assert show(figure).html


@pytest.mark.parametrize(
    ("card", "work", "verdict"),
    [
        ("RTX 4090", WORK, "41.6 of 24 GiB, it does not fit"),
        ("A100 80GB", WORK, "41.6 of 80 GiB, it fits"),
        (
            "RTX 3060",
            replace(WORK, lora_rank=16, gradient_checkpointing=True),
            "11.4 of 12 GiB, it does not fit",
        ),
    ],
)
def test_the_title_says_whether_it_fits_with_the_reserve(card, work, verdict):
    assert verdict in figures.cost_of_a_step("a model", LARGE, CARDS[card], work).alt


@pytest.mark.parametrize("colors", [figures.MEMORY_COLORS, figures.SECONDS_COLORS])
@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_colours_can_be_seen_in_both_themes_and_are_told_apart(colors, background):
    for part, color in colors.items():
        light, dark = sorted((luminance(color), luminance(background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 2.9, (part, color)
    assert len(set(colors.values())) == len(colors)


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (12345.6, "12,346"),
        (99.6, "100"),
        (12.34, "12.3"),
        (9.96, "10.0"),
        (0.812, "0.81"),
        (0.0042, "0.004"),
    ],
)
def test_sizes_in_few_characters(size, text):
    assert figures.short(size) == text
    assert figures.short(1e-7) == "<0.001"


# --- exercises


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("rank", [None, 16])
def test_the_bytes_are_the_calculators(name, rank):
    shape, work = SHAPES[name], Workload(lora_rank=rank)
    parts = memory_parts(shape, work)
    adapters = trained_parameters(shape, work) if rank else 0
    counted = GIB * sum(parts[part] for part in ("weights", "gradients", "optimizer"))
    assert training_bytes(shape.parameters, adapters) == pytest.approx(counted)


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_the_seconds_of_a_token_are_the_calculators_without_cache_and_attention(card):
    work = Workload(prompts=1, group_size=2, prompt_tokens=1, completion_tokens=1)
    peaks = {"bandwidth": 1, "peak": 1}
    cache = cache_bytes(LARGE, work.prompt_tokens + work.group_size / 2)
    counted = seconds_parts(LARGE, work, card, peaks)["generation"] - cache / (
        card.bandwidth_gb_s * 1e9
    )
    found = token_seconds(LARGE.matrix_parameters, 2, card.bandwidth_gb_s * 1e9, card.tflops * 1e12)
    assert found == pytest.approx(counted)


# --- gradients


def letters(text, gold):
    return len(text) % 4 / 4


@pytest.fixture(scope="module")
def rolled():
    policy, problems = make_tiny(), some_problems()
    rollout = sample_step(policy, problems[:6], 1, SETTINGS)
    return rollout, score_rewards(rollout, problems[:6], letters)


def test_the_first_gradient_is_not_cut_and_leaves_the_weights(rolled):
    policy, start = make_tiny(), make_tiny()
    gradient = first_gradient(policy, *rolled, replace(SETTINGS, minibatches=3, max_grad_norm=1e-3))
    assert gradient.shape == (sum(p.numel() for p in policy.model.parameters()),)
    assert gradient.norm() > 1e-2
    assert all(
        torch.equal(a, b)
        for a, b in zip(policy.model.parameters(), start.model.parameters(), strict=True)
    )


def test_the_first_gradient_is_that_of_train():
    """One update of `train`, whose gradient is cut at 1, keeps it in the weights' `grad`."""
    policy, problems = make_tiny(), some_problems()
    record = next(train(policy, problems, GRPO, replace(SETTINGS, track_kl=False), letters))
    theirs = scaling.flat_gradient(policy.model)
    again = make_tiny()
    batch = problems_of_step(problems, 1, SETTINGS)
    rollout = sample_step(again, batch, 1, SETTINGS)
    ours = first_gradient(again, rollout, score_rewards(rollout, batch, letters), SETTINGS)
    assert float(ours.norm()) == pytest.approx(record.grad_norm, rel=1e-5)
    assert (ours / max(1.0, record.grad_norm) - theirs).norm() < 1e-5 * theirs.norm()


@pytest.mark.parametrize("changes", [{"gradient_checkpointing": True}, {"micro_batch_tokens": 40}])
def test_savings_leave_the_gradient_and_16_bits_nearly(rolled, changes):
    plain = first_gradient(make_tiny(), *rolled, SETTINGS)
    saved = first_gradient(make_tiny(), *rolled, replace(SETTINGS, **changes))
    low = first_gradient(make_tiny(), *rolled, SETTINGS, torch.bfloat16)
    assert (saved - plain).norm() < 1e-5 * plain.norm()
    assert 1e-4 < (low - plain).norm() / plain.norm() < 0.2


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("trl"), reason="TRL is not installed")
@pytest.mark.parametrize("method", [GRPO, DR_GRPO, GSPO], ids=lambda method: method.name)
def test_loss_and_gradient_beside_trls(method, monkeypatch):
    from huggingface_hub.utils import _telemetry

    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setattr(
        _telemetry, "_start_telemetry_thread", lambda: pytest.fail("the hub is told of it")
    )
    ours, theirs, apart = loss_beside_trl(method)
    assert abs(ours) > 1e-3 and ours == pytest.approx(theirs, rel=1e-4)
    assert apart < 1e-4


def test_without_trl_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="trl is not installed"):
        loss_beside_trl(GRPO)


# --- the sampler has rounded weights


@pytest.mark.parametrize("bits", [8, 4])
def test_rounded_rows_have_so_many_values_and_the_policy_stays(bits):
    policy, start = make_tiny(), make_tiny()
    copies = scaling.rounded(policy, bits).model.parameters()
    for W, kept, was in zip(
        copies, policy.model.parameters(), start.model.parameters(), strict=True
    ):
        assert torch.equal(kept, was)
        if W.dim() < 2:
            assert torch.equal(W, was)
            continue
        assert max(len(row.unique()) for row in W) <= 2**bits - 1
        spacing = was.abs().amax(dim=1, keepdim=True).clamp(min=1e-9) / (2 ** (bits - 1) - 1)
        assert ((W - was).abs() <= 0.5001 * spacing).all()


def test_the_weights_by_hand():
    trainer = torch.tensor([[1.0, 1.0, 5.0], [-1.0, -0.5, 9.0]])
    sampler, mask = torch.zeros(2, 3), torch.tensor([[1, 1, 0], [1, 1, 0]])
    e = torch.tensor([[1.0, 1.0, 0.0], [-1.0, -0.5, 0.0]]).exp()
    product = torch.tensor([[2.0], [-1.5]]).exp()
    wanted = {
        "token_truncate": e,
        "token_mask": e,
        "sequence_truncate": product.clamp(max=3.0),
        "sequence_mask": product * torch.tensor([[0.0], [1.0]]),
    }
    for mode in scaling.MODES:
        found = scaling.gap_weights(trainer, sampler, mask, mode)
        assert torch.allclose(found, wanted[mode]), mode
    low = scaling.gap_weights(trainer, sampler, mask, "token_mask", low=0.5, high=2.0)
    assert torch.allclose(low, torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.6065, 1.0]]), atol=1e-4)


def trained(**stages):
    policy = make_tiny()
    settings = replace(SETTINGS, steps=2, minibatches=2, track_kl=False)
    stages = scaling.stages_for_gap(**stages)
    with scaling.meant_to_disagree():
        records = list(train(policy, some_problems(), GRPO, settings, letters, stages=stages))
    return records, torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def test_weights_of_one_change_nothing_and_others_do():
    (_, plain), (_, ones) = trained(), trained(weights_of=lambda new, old, mask: mask.float())
    assert torch.equal(plain, ones)
    _, halves = trained(weights_of=lambda new, old, mask: mask * torch.rand(mask.shape))
    assert not torch.equal(plain, halves)


def test_the_samplers_log_probs_as_old_are_clipped_before_the_first_update():
    records, _ = trained(bits=4, mode="sampler as old")
    assert records[0].clip_fraction_first > 0
    for mode in ("nothing", *scaling.MODES):
        records, _ = trained(bits=4, mode=mode)
        assert records[0].clip_fraction_first == 0 and records[0].sampler_gap > 0.01


def test_the_recorded_runs_are_those_of_the_command():
    kept = json.loads(scaling.RECORD.read_text(encoding="utf-8"))
    assert TrainSettings(**kept["settings"]) == scaling.GAP_SETTINGS
    assert kept["eval_count"] == scaling.EVAL_COUNT
    found = [(run["seed"], run["bits"], run["mode"]) for run in scaling.recorded_gap()]
    assert found == [(seed, *arm) for seed in range(3) for arm in scaling.ARMS]
    accuracy = {arm: run["accuracy"] for arm, run in zip(found, kept["runs"], strict=True)}
    for mode in ("token_truncate", "sequence_mask"):
        better = [accuracy[seed, 4, mode] > accuracy[seed, 4, "nothing"] for seed in range(3)]
        assert sum(better) == 1, "each correction: worse in two seeds, better in one"
    orders = set()
    for seed in range(3):
        own, *four = (accuracy[seed, *arm] for arm in scaling.ARMS)
        assert max(four) < own, "a 4-bit sampler: less in every seed"
        orders.add(tuple(sorted(range(3), key=four.__getitem__)))
    assert len(orders) > 1, "no order of the corrections that holds in every seed"


def test_the_quiz_says_what_the_package_computes():
    policy = load_policy("tiny")
    rollout, logp = scaling.two_opinions(policy, scaling.rounded(policy, 4))
    keep = rollout.mask.bool()
    of = {
        mode: scaling.gap_weights(logp, rollout.logprobs, rollout.mask, mode).expand(keep.shape)
        for mode in scaling.MODES
    }
    assert of["token_truncate"][keep].mean() == pytest.approx(1, abs=0.03)
    for mode in ("sequence_truncate", "sequence_mask"):
        assert 0.4 < (of[mode][keep] < 0.1).float().mean() < 0.6, "which_mode_bites"
    assert 0.9**25 == pytest.approx(0.07, abs=0.005)
    eight, sixteen = (
        seconds_parts(LARGE, replace(WORK, group_size=size), CARDS["A100 80GB"]) for size in (8, 16)
    )
    assert sixteen["generation"] < 1.1 * eight["generation"], "which_step_is_long"
    assert sixteen["backward"] == pytest.approx(2 * eight["backward"], rel=0.05)


# --- the course map


def test_the_table_links_the_extras_too():
    table = lesson_table().data
    assert re.findall(r"\]\((.+?)\.ipynb\)", table) == [lesson.name for lesson in LESSONS + EXTRAS]
