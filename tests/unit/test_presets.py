"""The original comparison and its corrections, settings for models and cards, and the command line
that takes them."""

from dataclasses import replace

import pytest
import torch

from rlvr_helpers.compare import comparison_of, main, parser
from rlvr_helpers.methods import GRPO, GSPO
from rlvr_helpers.models import KNOWN, format_prompt, load_policy
from rlvr_helpers.rewards import answer_and_tags_reward
from rlvr_helpers.study import recipes as settings
from rlvr_helpers.study.comparison import Comparison, run_comparison, split_problems, start_policy
from rlvr_helpers.study.memory import CARDS, SHAPES, Card
from rlvr_helpers.study.pilot import with_calibration
from rlvr_helpers.study.planning import choose_policy, plan_comparison
from rlvr_helpers.study.presets import CORRECTIONS, describe_corrections, fair, original
from rlvr_helpers.study.recipes import (
    fit_to_card,
    on_this_card,
    problems_for,
    seconds_a_step,
    settings_for,
    shape_for,
    this_card,
    workload,
)
from rlvr_helpers.study.runs import load_run, save_run
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

SMALL = {
    "steps": 2,
    "prompts_per_step": 4,
    "group_size": 4,
    "max_tokens": 24,
    "eval_every": 2,
    "micro_batch_tokens": None,
}
NAMES = [correction.name for correction in CORRECTIONS]


def on_tiny(comparison: Comparison, **changes) -> Comparison:
    """The comparison at a small size on the tiny model."""
    small = replace(comparison.settings, **SMALL | changes)
    return replace(comparison, policy="tiny", problems="tiny", settings=small, eval_count=8)


def finish(comparison: Comparison) -> dict:
    results = {}
    for _ in run_comparison(comparison, results):
        pass
    return results


# --- the original ---------------------------------------------------------------------------------


def test_the_original_s_settings_are_those_of_the_script():
    c = original()
    s = c.settings
    assert (c.policy, c.source, c.reward) == ("qwen2.5-1.5b", "gsm8k", "answer_and_tags")
    assert (s.steps, s.prompts_per_step, s.group_size, s.max_tokens) == (200, 2, 8, 400)
    assert [s.rate(step) for step in (1, 100, 200)] == [5e-6] * 3
    assert (s.max_grad_norm, s.betas, s.weight_decay, s.temperature) == (
        0.1,
        (0.9, 0.999),
        0.01,
        1.0,
    )
    assert {m.kl_coef for m in c.methods} == {0.04} and {m.kl_kind for m in c.methods} == {"k3"}
    assert [m.name for m in c.methods] == ["GSPO", "GRPO", "Dr. GRPO"]


def test_with_all_faults_put_back_it_is_what_the_script_was():
    c = original(tuple(NAMES))
    assert (c.settings.epochs, c.settings.minibatches) == (1, 1)
    assert {m.aggregation for m in c.methods} == {"sequence_mean"}
    assert {(m.clip_low, m.clip_high) for m in c.methods} == {(0.1, 0.1)}
    assert (c.eval_split, c.eval_count, c.faults) == (
        "train",
        50,
        ("chat_template", "end_tokens", "float32_masters"),
    )


CHANGED = {
    "chat_template": {"faults"},
    "end_tokens": {"faults"},
    "float32_masters": {"faults"},
    "several_updates": {"settings", "methods"},
    "dr_grpo_divisor": {"methods"},
    "test_split": {"eval_split", "eval_count"},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_switch_changes_what_it_says_and_nothing_else(name):
    mended, faulty = original(), original((name,))
    changed = {
        f for f in Comparison.__dataclass_fields__ if getattr(mended, f) != getattr(faulty, f)
    }
    assert changed == CHANGED[name]


def test_every_correction_is_listed_with_its_reason_and_its_switch(capsys):
    assert main(["--preset", "original", "--corrections", "--without", "end_tokens"]) == 0
    text = capsys.readouterr().out
    assert text.strip() == describe_corrections(("end_tokens",))
    for correction in CORRECTIONS:
        assert correction.reason in text and correction.was in text and correction.now in text
        assert (f"--without {correction.name}" in text) == (correction.name != "end_tokens")


def test_an_unknown_correction_is_named(capsys):
    with pytest.raises(ValueError, match="no correction 'magic': choose from chat_template"):
        original(("magic",))
    assert main(["--preset", "original", "--without", "magic", "--out", "x"]) == 2
    assert "choose from" in capsys.readouterr().err


def test_faults_are_really_put_back():
    sound = start_policy(on_tiny(original()))
    faulty = start_policy(on_tiny(original(("chat_template", "end_tokens", "float32_masters"))))
    faulty.system_prompt = "Say it in tags."
    assert "<|user|>" in format_prompt(sound, "2 + 3 ?")
    assert format_prompt(faulty, "2 + 3 ?") == "Say it in tags.\n2 + 3 ?"
    assert faulty.end_ids == (faulty.tokenizer.eos_token_id,)
    assert (sound.dtype, faulty.dtype) == (torch.float32, torch.bfloat16)


@pytest.mark.slow
def test_with_one_update_a_rollout_gspo_is_grpo():
    """As the script had it: the ratio is 1, so the two make the same model; with several updates
    they do not."""
    for without, same in ((("several_updates",), True), ((), False)):
        comparison = on_tiny(original(without), learning_rate=1e-3)
        results = finish(replace(comparison, methods=comparison.methods[:2]))
        grpo, gspo = results["GRPO"][0].records, results["GSPO"][0].records
        assert (
            [r.grad_norm for r in grpo] == pytest.approx([r.grad_norm for r in gspo], rel=1e-4)
        ) == same
        assert (max(r.clip_fraction for r in [*grpo, *gspo]) == 0.0) == same
        assert (abs(grpo[0].token_log_ratio.std) < 1e-6) == same


@pytest.mark.slow
def test_in_bfloat16_weights_a_small_rate_moves_hardly_any():
    moved = {}
    for without in ((), ("float32_masters",)):
        comparison = on_tiny(original(without))
        policy = start_policy(comparison)
        start = [p.detach().clone() for p in policy.model.parameters()]
        problems, _ = split_problems(comparison)
        for _ in train(
            policy, problems, comparison.methods[1], comparison.settings, answer_and_tags_reward
        ):
            pass
        pairs = zip(policy.model.parameters(), start, strict=True)
        moved[without] = sum(int((a != b).sum()) for a, b in pairs) / sum(p.numel() for p in start)
    assert moved[()] > 0.9
    assert moved[("float32_masters",)] < 0.2


def test_problems_evaluated_from_the_train_split_are_not_trained_on():
    train, evaluated = split_problems(replace(on_tiny(original(("test_split",))), eval_count=50))
    assert len(evaluated) == 50 and not {p.question for p in train} & {
        p.question for p in evaluated
    }
    assert len(train) == 1950


TAGS = "<reasoning> 2 + 3 </reasoning> <answer> {} </answer>"


@pytest.mark.parametrize(
    "text, reward",
    [
        (TAGS.format("5"), 2.8),
        (TAGS.format("5.0"), 2.3),
        (TAGS.format("6"), 0.8),
        ("<answer> 5 </answer>", 2.4),
        ("5", 0.0),
        ("<answer> 5", 0.2),
        ("", 0.0),
    ],
)
def test_the_original_s_reward(text, reward):
    assert answer_and_tags_reward(text, "5") == pytest.approx(reward)


def test_a_run_remembers_its_reward_and_its_faults():
    provenance = on_tiny(original(("end_tokens",))).new_run(GRPO, 0).provenance
    assert (provenance["reward"], provenance["faults"]) == ("answer_and_tags", ("end_tokens",))
    assert "faults" not in Comparison().new_run(GRPO, 0).provenance


# --- ours -----------------------------------------------------------------------------------------


def test_the_fair_comparison_evaluates_the_whole_test_split_and_calibrates():
    c = fair()
    assert (c.policy, c.source, c.eval_count, c.eval_split, c.calibrate) == (
        "qwen2.5-1.5b",
        "gsm8k",
        1319,
        "test",
        True,
    )
    assert c.settings.epochs * c.settings.minibatches >= 2 and len(c.seeds) == 3
    assert fair("tiny").settings == TrainSettings() and not fair("tiny").calibrate


def test_a_calibrated_range_is_kept_for_the_run_that_goes_on(tmp_path):
    comparison = replace(
        on_tiny(fair(), steps=1), methods=(GRPO, GSPO), out=tmp_path, calibrate=True
    )
    once = with_calibration(comparison)
    assert once.methods[0] == GRPO and once.methods[1].clip_low != GSPO.clip_low
    kept = load_run(tmp_path / "pilot.json")
    assert (kept.method.clip_low, kept.method.clip_high) == (
        once.methods[1].clip_low,
        once.methods[1].clip_high,
    )
    assert len(kept.records) == 8 and kept.records[-1].clip_fraction == 0.0
    save_run(
        replace(kept, method=replace(kept.method, clip_low=0.5, clip_high=0.75)),
        tmp_path / "pilot.json",
    )
    assert with_calibration(comparison).methods[1].clip_high == 0.75
    assert with_calibration(replace(comparison, calibrate=False)).methods[1] == GSPO
    other_rate = replace(comparison, settings=replace(comparison.settings, learning_rate=1e-3))
    for other in (
        other_rate,
        replace(comparison, problems="arithmetic"),
        replace(comparison, reward="answer_and_tags"),
    ):
        with pytest.raises(ValueError, match="pilot .* was made with another"):
            with_calibration(other)


# --- settings for models and cards ----------------------------------------------------------------


def test_every_known_policy_has_settings_and_a_shape():
    for name in KNOWN:
        assert settings_for(name) and shape_for(name) == SHAPES[name]
    assert settings_for("tiny") == TrainSettings()
    assert shape_for("nowhere") is None and settings_for("nowhere") == settings_for("qwen2.5-0.5b")
    tiny = KNOWN["tiny"].where
    assert shape_for(tiny) == SHAPES["tiny"] and settings_for(tiny) == TrainSettings()
    assert [problems_for(name) for name in (*KNOWN, tiny)] == [
        "tiny",
        "arithmetic",
        "gsm8k",
        "gsm8k",
        "tiny",
    ]
    assert problems_for("a folder of something larger") == "gsm8k"


def test_training_is_made_to_fit():
    s = settings_for("qwen2.5-1.5b")
    assert fit_to_card("qwen2.5-1.5b", s, CARDS["H100"])[1] is None
    small, rank = fit_to_card("qwen2.5-1.5b", s, CARDS["RTX 4090"])
    assert rank == 16
    assert fit_to_card("qwen2.5-1.5b", s, replace(CARDS["T4"], memory_gib=4)) is None
    assert fit_to_card("another", s, CARDS["T4"]) == (s, None)


def test_a_step_is_expected_to_be_faster_on_a_faster_card():
    s = settings_for("qwen2.5-1.5b")
    seconds = [
        seconds_a_step("qwen2.5-1.5b", s, None, CARDS[name])
        for name in ("H100", "A100 80GB", "RTX 4090")
    ]
    assert seconds == sorted(seconds) and seconds[0] > 0
    assert workload(s).prompts == s.prompts_per_step and workload(s).reference


class Properties:
    total_memory = 80 * 2**30


@pytest.fixture
def gpu(monkeypatch):
    """A machine that says it has a GPU of this name."""

    def pretend(name):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: name)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)

    return pretend


@pytest.mark.parametrize(
    "name, card",
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
    ],
)
def test_the_card_is_told_by_its_name(gpu, name, card):
    gpu(name)
    assert this_card() == replace(CARDS[card], name=name, memory_gib=80.0)


def test_a_card_that_is_not_known_is_taken_for_no_other(gpu, capsys, monkeypatch):
    monkeypatch.delenv("RLVR_FAST", raising=False)
    gpu("Something new")
    assert this_card() == Card("Something new", 80.0)
    assert seconds_a_step("qwen2.5-1.5b", settings_for("qwen2.5-1.5b"), None, this_card()) is None
    assert plan_comparison("qwen2.5-1.5b").seeds == (0,)
    assert "200 steps: speed not known on this Something new. Kept in" in capsys.readouterr().out


def test_the_policy_for_this_machine(gpu, monkeypatch):
    monkeypatch.delenv("RLVR_MODEL", raising=False)
    assert choose_policy() == ("tiny", "there is no GPU here; tiny trains on any CPU in minutes")
    gpu("NVIDIA H100 80GB HBM3")
    name, reason = choose_policy(lambda known: "0.5B" in known.where or "SmolLM2" in known.where)
    assert (
        name == "qwen2.5-0.5b"
        and "fits the NVIDIA H100 80GB HBM3 (80 GiB) with all its weights trained" in reason
    )
    assert choose_policy(lambda known: False)[0] == "tiny"


def test_the_plan_says_the_time_before_it_starts(gpu, monkeypatch, capsys):
    monkeypatch.delenv("RLVR_FAST", raising=False)
    monkeypatch.delenv("RLVR_MODEL", raising=False)
    assert plan_comparison("tiny").settings == TrainSettings()
    assert "about 7 minutes on two CPU cores" in capsys.readouterr().out
    gpu("NVIDIA H100 80GB HBM3")
    plan = plan_comparison("qwen2.5-1.5b")
    assert plan.settings.max_tokens == 400 and plan.seeds == (0,) and plan.workers == 1
    out = capsys.readouterr().out
    assert "3 methods x 1 seeds x 200 steps: about " in out and "by calculation" in out


def test_a_model_that_fits_in_no_way_says_so():
    small, own = Card("small", 2, 320, 65, False), settings.settings_for("qwen2.5-1.5b")
    with pytest.raises(
        ValueError, match="qwen2.5-1.5b does not fit the small .* take a smaller model"
    ):
        on_this_card("qwen2.5-1.5b", own, small)
    assert on_this_card("qwen2.5-1.5b", own, CARDS["RTX 4090"])[1] == 16


# --- the command line -----------------------------------------------------------------------------


def asked(*arguments) -> Comparison:
    return comparison_of(parser().parse_args([*arguments, "--out", "x"]))


def test_the_command_line_changes_any_setting():
    c = asked(
        "--model",
        "tiny",
        "--set",
        "prompts_per_step=4",
        "--set",
        "learning_rate=1e-5",
        "--set",
        "decay_steps=None",
    )
    assert (c.settings.prompts_per_step, c.settings.learning_rate, c.settings.decay_steps) == (
        4,
        1e-5,
        None,
    )
    assert (
        asked().settings == TrainSettings()
        and len(asked().seeds) == 3
        and asked().eval_count == 200
    )
    assert asked("--compute", "bfloat16", "--lora-rank", "8").lora_rank == 8
    assert (
        asked("--problems", "gsm8k").eval_count
        == asked("--model", "qwen2.5-0.5b").eval_count
        == 1319
    )
    assert asked("--problems", "gsm8k", "--eval-count", "50").eval_count == 50
    preset = asked("--preset", "original", "--model", "tiny", "--seeds", "2", "--steps", "3")
    assert (preset.policy, preset.seeds, preset.settings.steps, preset.eval_count) == (
        "tiny",
        (0, 1),
        3,
        1319,
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--set", "colour=3"], "no setting 'colour'; there are steps"),
        (["--set", "steps=many"], "'many' is no number"),
        (["--set", "group_size=1"], "group_size must be at least 2"),
        (["--without", "end_tokens"], "belongs to --preset original"),
        (["--seeds", "0"], "give how many seeds, as 3"),
        (["--seeds", "-1"], "give how many seeds, as 3"),
        (["--methods", "grpo,grpo"], "methods must be one or more, each once"),
        (["--methods", ""], "unknown method"),
        (["--eval-count", "0"], "eval_count and workers must be at least 1"),
        (["--workers", "0"], "eval_count and workers must be at least 1"),
        (["--set", "seed=5"], "given by --seeds"),
        (["--set", "learning_rate='a'"], "learning_rate must be like 5e-05, not 'a'"),
        (["--set", "learning_rate=None"], "learning_rate must be like 5e-05, not None"),
        (["--set", "betas=0.9"], "betas must be like (0.9, 0.99), not 0.9"),
        (["--set", "steps=True"], "steps must be like 32, not True"),
        (["--set", "track_kl=1"], "track_kl must be like True, not 1"),
    ],
)
def test_the_command_line_names_what_is_wrong(arguments, message, capsys):
    assert main([*arguments, "--out", "x"]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_folder_is_asked_for(capsys):
    assert main([]) == 2
    assert "--out is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_lora_from_the_command_line_ends_in_a_plain_model(tmp_path, capsys):
    pytest.importorskip("peft", reason="the package peft is not installed")
    small = [
        f"--set={name}={value}" for name, value in SMALL.items() if name != "micro_batch_tokens"
    ]
    arguments = [
        "--methods=grpo",
        "--seeds=1",
        "--eval-count=4",
        "--lora-rank=4",
        "--compute=bfloat16",
        *small,
    ]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    saved = load_policy(str(tmp_path / "grpo-seed0" / "model"))
    assert not any("lora" in name for name, _ in saved.model.named_parameters())
    start = torch.cat([p.flatten() for p in load_policy("tiny").model.parameters()])
    assert (torch.cat([p.flatten() for p in saved.model.parameters()]) - start).abs().max() > 0
