"""The benchmark at its small size, as its command: every part is measured, printed and written. No
speed is asserted."""

import importlib.util
import json
import subprocess
import sys
from statistics import median

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlvr_helpers.models import make_policy, save_policy
from rlvr_helpers.tools.benchmark import COMMAND
from rlvr_helpers.tools.make_tiny import build_tokenizer


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What the command printed, and what it wrote, for a random model of two small layers."""
    folder, tokenizer = tmp_path_factory.mktemp("benchmark"), build_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=192,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    save_policy(make_policy(LlamaForCausalLM(config), tokenizer), folder / "model")
    options = [
        "--quick",
        "--threads",
        "1",
        "--model",
        folder / "model",
        "--out",
        folder / "figures.json",
    ]
    command = [sys.executable, *COMMAND.split()[1:], *map(str, options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return done.stdout, json.loads((folder / "figures.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_both_samplers_decoded_the_same_number_of_rows(measured):
    printed, figures = measured
    assert "useful tokens/s" in printed and "sample_groups / generate, turn by turn: " in printed
    for side in ("sample_groups", "generate"):
        runs = figures["sampling"][side]
        assert len(runs) == 2, "the warm-up does not count"
        for run in runs:
            assert 16 <= run["tokens"] <= 16 * 8 and 1 <= run["decoding_steps"] <= 8
            assert (
                run["tokens_per_second"] == pytest.approx(run["tokens"] / run["seconds"])
                and run["cpu_seconds"] > 0
            )


@pytest.mark.slow
def test_a_step_is_measured_beside_trls(measured):
    printed, figures = measured
    ours, trl = figures["step"]["ours"], figures["step"]["trl"]
    assert len(ours) == 2 and {"generate", "score", "optimizer"} <= set(ours[0]["parts"])
    assert all(sum(run["parts"].values()) <= run["seconds"] for run in ours)
    if importlib.util.find_spec("trl"):
        assert len(trl) == 2 and "trl / ours, turn by turn: " in printed
        assert all(
            16 <= run["tokens"] <= 16 * 8 and 0 <= run["no_signal"] <= 1 for run in ours + trl
        )
        assert [run["golds"] for run in trl] == [run["golds"] for run in ours] and len(
            ours[0]["golds"]
        ) == 4
        assert ours[0]["golds"] != ours[1]["golds"], "the same problems on both sides, turn by turn"
    else:
        assert trl == [] and "uv run --group test" in printed


@pytest.mark.slow
def test_the_trace_names_operations_and_a_floor(measured):
    printed, figures = measured
    assert "times the floor" in printed
    for part in figures["trace"].values():
        assert part["floor_seconds"] == pytest.approx(
            part["flops"] / median(part["matmul_flops_per_second"])
        )
        assert len(part["seconds"]) == 2 and part["rows"] > 0
        shares = [operation["share"] for operation in part["operations"]]
        assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
    # weights that a token is multiplied with
    layers = 2 * (4 * 16 * 16 + 3 * 16 * 32) + 16 * len(build_tokenizer())
    generation, updates = (
        figures["trace"]["generation"]["flops"],
        figures["trace"]["scoring and updates"]["flops"],
    )
    assert generation % (2 * layers) == 0 and updates == 7 * generation, (
        "2 to decode, 2 + 2 * 6 to score and to train"
    )


@pytest.mark.slow
def test_the_way_to_the_target_has_steps_seconds_and_memory(measured):
    printed, figures = measured
    run = figures["reach"]["grpo"]
    assert "not reached" in printed and run["reached"] is False
    assert [step for step, _, _ in run["curve"]] == [0, 1] and run["curve"][-1][1] < 0.9
    assert (
        run["seconds"] > 0
        and run["evaluation_seconds"] > 0
        and run["peak_mb"] >= run["peak_mb_before"] > 50
    )


@pytest.mark.slow
def test_the_header_says_what_was_measured_where(measured):
    printed, figures = measured
    header = figures["header"]
    assert {"date", "command", "versions", "cpu"} <= set(header) and header["versions"][
        "torch"
    ] == torch.__version__
    assert "--quick" in header["command"] and all(f"{name}: " in printed for name in header)
