"""Lesson 12: its figures say the calculator's numbers, its exercises are the calculator's, its
gradients are `train`'s."""

import importlib.util
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


def test_ways_to_fit_names_the_first_and_the_last_and_draws_every_peak():
    ways = {"whole": WORK, "LoRA": replace(WORK, lora_rank=16), "many": LONG}
    figure = figures.ways_to_fit("Qwen", LARGE, ways)
    assert "Qwen peaks at 42 GiB (whole), and at 20 GiB (many)" in figure.alt
    assert bar_ends(figure.axes[0]) == pytest.approx(
        [memory_gib(LARGE, work) for work in ways.values()]
    )
    assert "cache 11.0" in figure.alt.partition("many: ")[2], (
        "the cache is part of that peak, and activations are not"
    )
    assert "activations" not in figure.alt.partition("many: ")[2]


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


# --- the course map


def test_the_table_links_the_extras_too():
    table = lesson_table().data
    assert re.findall(r"\]\((.+?)\.ipynb\)", table) == [lesson.name for lesson in LESSONS + EXTRAS]
