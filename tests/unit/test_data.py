"""The data that lies in the repository is what its README says."""

import json
import re

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr_helpers.evaluation import evaluate, mcnemar, wilson_interval
from rlvr_helpers.kit.recorded import four_rollouts, recorded_group, recorded_runs
from rlvr_helpers.models import load_policy
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import load_problems
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import mask_after_end, pick_tokens
from rlvr_helpers.scoring import token_logprobs
from rlvr_helpers.study.runs import load_run
from rlvr_helpers.study.tables import format_differences, format_table, table_rows
from rlvr_helpers.tools.make_tiny import new_model
from rlvr_helpers.tools.tiny_texts import build_tokenizer

ROOT = DATA.parent


def numbers_and_verbs(question: str) -> tuple:
    """What a problem asks to compute: its numbers and verbs, without the names and things."""
    told = question.rsplit(". How many", 1)[0]
    return tuple(re.findall(r"\d+|wins|finds|gets|loses|sells|drops|buys|has", told))


def test_no_held_out_problem_stands_in_train():
    train, test = load_problems("train"), load_problems("test")
    assert (len(train), len(test)) == (2000, 500)
    known = {numbers_and_verbs(problem.question) for problem in train}
    assert not [p for p in test if numbers_and_verbs(p.question) in known]
    assert len({p.question for p in train} | {p.question for p in test}) == 2500


def test_the_start_model_loads_as_it_is_and_is_small():
    assert (DATA / "tiny" / "model.safetensors").stat().st_size <= 4_000_000
    model = AutoModelForCausalLM.from_pretrained(DATA / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(DATA / "tiny")
    assert model.dtype == torch.float32
    messages = [
        {
            "role": "user",
            "content": "Ben has 16 stamps. He wins 6. How many stamps does Ben have now?",
        }
    ]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
    ids = ids if isinstance(ids, torch.Tensor) else ids["input_ids"]
    assert tokenizer.unk_token_id not in ids[0].tolist()
    out = model.generate(ids, max_new_tokens=64, do_sample=False)
    assert "<reasoning>" in tokenizer.decode(out[0, ids.shape[1] :])


def test_the_start_accuracy_is_the_one_that_was_measured():
    measured = json.loads((DATA / "tiny" / "measured.json").read_text())["start"]
    greedy = evaluate(load_policy("tiny"), load_problems("test"), 64)
    # two problems: rounding differs by CPU
    assert greedy.accuracy == pytest.approx(measured["greedy"], abs=0.0045)
    assert greedy.accuracy < 0.20


def test_the_four_rollouts_are_real():
    data = json.loads((DATA / "rollouts" / "four.json").read_text())
    policy = load_policy("tiny")
    kinds = [rollout["kind"] for rollout in data["rollouts"]]
    assert kinds == ["right and short", "right and long", "wrong and short", "wrong and long"]
    prompt = torch.tensor([data["prompt_ids"]])
    for rollout in data["rollouts"]:
        assert correctness_reward(rollout["text"], data["answer"]) == rollout["reward"]
        assert (rollout["reward"] == 1.0) == rollout["kind"].startswith("right")
        ids = torch.tensor([rollout["ids"]])
        ones = torch.ones_like
        logp = token_logprobs(policy.model, prompt, ones(prompt), ids, ones(ids))
        assert torch.allclose(logp[0], torch.tensor(rollout["logprobs"]["start"]), atol=1e-3)
        assert len(rollout["logprobs"]["after 1 steps"]) == len(rollout["ids"])


def test_the_recorded_runs_show_what_the_readme_says():
    files = sorted((DATA / "runs" / "tiny").glob("*.json"))
    assert len(files) == 9
    for file in files:
        run = load_run(file)
        assert run.start.accuracy < 0.20 and run.final.accuracy > 0.80, file.name
        assert len(run.final.strict) >= 200
        assert {"hardware", "date", "versions", "command"} <= set(run.provenance)
        assert max(record.clip_fraction_first for record in run.records) == 0.0


def test_the_four_rollouts_are_what_the_start_model_says():
    four = four_rollouts()
    policy = load_policy("tiny")
    assert list(zip(four.kinds, four.rewards.tolist(), strict=True)) == [
        ("right and short", 1.0),
        ("right and long", 1.0),
        ("wrong and short", 0.0),
        ("wrong and long", 0.0),
    ]
    assert policy.pad_id == 0 and (four.completion_ids[~four.mask.bool()] == 0).all()
    assert torch.equal(mask_after_end(four.completion_ids, policy.end_ids) * four.mask, four.mask)
    with torch.no_grad():
        ids = four.prompt_ids, four.prompt_mask, four.completion_ids, four.mask
        logp = token_logprobs(policy.model, *ids)
    torch.testing.assert_close(logp, four.logprobs["start"], atol=1e-4, rtol=0)
    assert [correctness_reward(text, four.answer) for text in four.texts] == four.rewards.tolist()


def test_recorded_runs_are_read_as_a_comparison_gives_them():
    runs = recorded_runs()
    assert list(runs) == ["GRPO", "Dr. GRPO", "GSPO"]
    assert all([run.settings.seed for run in group] == [0, 1, 2] for group in runs.values())
    assert "GSPO" in format_table(table_rows(runs))
    with pytest.raises(ValueError, match="no runs of 'nobody' are recorded: choose from .*tiny"):
        recorded_runs("nobody")


def test_readme_and_the_page_of_results_tell_the_recorded_comparison():
    table = format_table(table_rows(recorded_runs()))
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert table in page and format_differences(recorded_runs()) in page
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for line in table.splitlines():
        if found := re.match(r"(\w.*?) +mean +[\d.]+ +([\d.]+) \[([\d., ]+)\]", line):
            method, mean, interval = found.groups()
            assert f"{method} {mean} % [{interval}]" in readme, line


def test_the_page_of_results_tells_the_whole_recorded_run_of_a_real_model():
    run = recorded_runs("smollm2-135m")["GRPO"][0]
    middle = next(record.eval for record in run.records if record.step == 12)
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for name, values in (("format", "formatted"), ("(strict)", "strict"), ("(lenient)", "lenient")):
        line = next(
            line
            for line in page.splitlines()
            if name in line and line.startswith("|") and "[" in line
        )
        for verdicts, cell in zip(
            (run.start, middle, run.final), line.split("|")[2:5], strict=True
        ):
            right = sum(getattr(verdicts, values))
            low, high = wilson_interval(right, 100)
            assert cell.strip() == f"{right} % [{100 * low:.0f}, {100 * high:.0f}]", name
    assert len(run.records) == 24 and max(record.clip_fraction_first for record in run.records) == 0
    pairs = mcnemar(run.start.lenient, run.final.lenient)
    assert (pairs.only_first, pairs.only_second) == (12, 12)


@pytest.mark.parametrize("read", [four_rollouts, recorded_group])
def test_the_recorded_noise_chose_the_recorded_tokens(read):
    recorded, policy = read(), load_policy("tiny")
    ids = torch.cat([recorded.prompt_ids, recorded.completion_ids], dim=1)
    with torch.no_grad():
        logits = policy.model(input_ids=ids, use_cache=False).logits[
            :, recorded.prompt_ids.shape[1] - 1 : -1
        ]
    keep = recorded.mask.bool()
    tokens, _ = pick_tokens(logits[keep], recorded.noise[keep], 1.0)
    assert tokens.tolist() == recorded.completion_ids[keep].tolist()


def test_the_recorded_group_is_real():
    group, policy = recorded_group(), load_policy("tiny")
    texts = policy.tokenizer.batch_decode(group.completion_ids, skip_special_tokens=True)
    assert [correctness_reward(text, group.answer) for text in texts] == group.rewards.tolist()
    assert list(group.logprobs) == ["GRPO", "Dr. GRPO", "GSPO"]
    with torch.no_grad():
        ids = group.prompt_ids, group.prompt_mask, group.completion_ids, group.mask
        start = token_logprobs(policy.model, *ids)
    for logprobs in group.logprobs.values():
        assert logprobs.shape == (17, *group.mask.shape)
        torch.testing.assert_close(logprobs[0], start, atol=1e-4, rtol=0)
        assert (logprobs[:, ~group.mask.bool()] == 0).all()
    assert (DATA / "rollouts" / "group.json").stat().st_size <= 80_000


def test_another_seed_makes_another_model():
    tokenizer = build_tokenizer()
    first, again, other = (new_model(tokenizer, seed).lm_head.weight.sum() for seed in (1, 1, 2))
    assert first == again != other
