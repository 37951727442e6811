"""The benchmark of the original's workload at its small size, on a CPU: every part is measured,
printed and written."""

import json

import pytest
import torch

from rlvr_helpers.study.memory import SHAPES, Shape
from rlvr_helpers.tools import gpu_benchmark
from rlvr_helpers.tools.gpu_benchmark import SETTINGS, random_policy

pytestmark = pytest.mark.slow


def test_every_part_is_measured(tmp_path, capsys):
    gpu_benchmark.main(["--quick", "--repeats", "2", "--out", str(tmp_path / "figures.json")])
    printed, figures = capsys.readouterr().out, json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["sides"]) == {"ours", "script"} and len(figures["sides"]["ours"]) == 2
    for runs in figures["sides"].values():
        for run in runs:
            assert set(run["parts"]) == {
                "generation",
                "scoring",
                "forward",
                "backward",
                "optimizer",
            }
            assert 8 <= run["tokens"] <= 2 * 4 * 8 and sum(run["parts"].values()) <= run["seconds"]
    assert all(
        run["clip_first"] == 0 and run["sampler_gap"] < 1e-3 for run in figures["sides"]["ours"]
    )
    assert figures["machine"]["flops_per_second"] > 0 and figures["roofline"]["generation"] > 0
    assert (
        "script / ours" in printed
        and "random weights" in printed
        and "--quick" in figures["header"]["command"]
    )


def test_with_lora_and_checkpointing(tmp_path, capsys):
    pytest.importorskip("peft", reason="the package peft is not installed")
    gpu_benchmark.main(
        ["--quick", "--repeats", "1", "--lora-rank", "2", "--checkpointing", "--no-script"]
    )
    assert "LoRA rank 2, gradient checkpointing True" in capsys.readouterr().out


def test_without_a_gpu_the_whole_workload_is_refused(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(SystemExit):
        gpu_benchmark.main(["--model", "qwen2.5-1.5b"])
    assert "--quick runs every part" in capsys.readouterr().err


def test_the_workload_is_the_original_s_and_random_weights_have_the_model_s_sizes():
    assert (
        SETTINGS.prompts_per_step,
        SETTINGS.group_size,
        SETTINGS.max_tokens,
        SETTINGS.learning_rate,
    ) == (2, 8, 400, 5e-6)
    shape = Shape(2, 96, 6, 2, 16, 64, 500, tied=True, qkv_bias=True)
    policy = random_policy(shape, "cpu")
    assert sum(p.numel() for p in policy.model.parameters()) == shape.parameters
    assert policy.model.config.model_type == "qwen2" and SHAPES["qwen2.5-1.5b"].qkv_bias


def test_a_side_s_memory_is_read_while_the_other_is_not_there(monkeypatch):
    alive, seen = [], []

    def side(name):
        class Side:
            def __init__(self, work):
                alive.append(name)

            def __call__(self, turn):
                seen.append(list(alive))
                return {}

            def __del__(self):
                alive.remove(name)

        return Side

    monkeypatch.setattr(gpu_benchmark, "our_side", side("ours"))
    monkeypatch.setattr(gpu_benchmark, "script_side", side("script"))
    monkeypatch.setattr(gpu_benchmark, "timed", lambda step, turn: ({"seconds": 1.0}, {}))
    work = type("Work", (), {"device": torch.device("cpu"), "repeats": 1})
    assert set(gpu_benchmark.measure_sides(work, True)) == {"ours", "script"}
    assert seen == [["script"], ["ours"]]


def test_the_script_s_side_is_plain_also_where_ours_is_lora(capsys):
    pytest.importorskip("peft", reason="the package peft is not installed")
    gpu_benchmark.main(["--quick", "--repeats", "1", "--lora-rank", "2"])
    assert "script / ours" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--repeats", "0"], ["--lora-rank", "-1"]])
def test_numbers_that_measure_nothing_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        gpu_benchmark.main(["--quick", *wrong])
    assert "must be at least" in capsys.readouterr().err
