"""Training by TRL: it learns, it reads and ends texts as the course does, and two processes do what
one does.

For the last, this file is started again as a script, by `torchrun` on two CPU processes. The
completions are then no samples but follow from the prompt and the place in its group, so that both
see the same rows.
"""

import importlib.util
import json
import os
import random
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import literal
import pytest
import torch
from literal import close, ragged_batch
from small_policies import END, ID, NUMBERS, make_model, make_tiny, make_tokenizer, some_problems
from transformers import TrainerCallback

from rlvr_helpers.evaluation import evaluate
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO, RLOO
from rlvr_helpers.models import format_prompt, load_policy, make_policy, save_policy
from rlvr_helpers.problems import load_problems
from rlvr_helpers.sampling import encode_prompts, mask_after_end
from rlvr_helpers.study import trl as trl_study
from rlvr_helpers.study.trl import ProgressLine, make_trainer, training_rows, trl_train_config
from rlvr_helpers.tools import train_with_trl
from rlvr_helpers.tools.train_with_trl import main
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import problems_of_step

HAS_TRL = importlib.util.find_spec("trl") is not None
needs_trl = pytest.mark.skipif(not HAS_TRL, reason="TRL is not installed")
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
SMALL = TrainSettings(
    steps=2, prompts_per_step=3, group_size=4, epochs=3, minibatches=1, max_tokens=30
)


# --- the arguments


def test_the_defaults_in_trls_words():
    config = trl_train_config(GSPO, TrainSettings())
    expected = {
        "num_generations": 8,
        "per_device_train_batch_size": 32,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": 4,
        "num_iterations": 2,
        "max_steps": 256,
        "max_completion_length": 64,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": None,
        "repetition_penalty": 1.0,
        "learning_rate": 5e-5,
        "adam_beta1": 0.9,
        "adam_beta2": 0.99,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "seed": 0,
        "bf16": False,
        "disable_dropout": True,
        "logging_steps": 8,
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "epsilon": GSPO.clip_low,
        "beta": 0.0,
    }
    assert {name: config[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("processes", "micro", "at_once", "accumulation"),
    [
        (1, None, 32, 1),
        (2, None, 16, 1),
        (4, None, 8, 1),
        (1, 8, 8, 4),
        (2, 8, 8, 2),
        (4, 8, 8, 1),
        (8, 8, 4, 1),
    ],
)
def test_the_rows_of_a_step_are_the_same_for_any_number_of_processes(
    processes, micro, at_once, accumulation
):
    config = trl_train_config(GRPO, TrainSettings(micro_batch_rows=micro), processes)
    assert (
        config["per_device_train_batch_size"] == at_once
        and config["gradient_accumulation_steps"] == accumulation
    )
    assert processes * at_once * accumulation == 32, "a minibatch"
    assert processes * at_once * config["steps_per_generation"] == 128, "a rollout"
    assert config["max_steps"] == 32 * 2 * 4


@pytest.mark.parametrize(
    ("method", "settings", "processes", "words"),
    [
        (GRPO, {}, 3, "128 rows, which cannot be dealt out evenly to 4 minibatches on 3 processes"),
        (GRPO, {"prompts_per_step": 5, "group_size": 2, "minibatches": 4}, 1, "10 rows"),
        (
            GRPO,
            {"micro_batch_rows": 5},
            2,
            "the 16 rows that a process has in a minibatch are no multiple of 5",
        ),
        (GRPO, {}, 0, "0 processes"),
        (RLOO, {}, 1, "leave-one-out"),
    ],
)
def test_what_cannot_be_dealt_out_is_said(method, settings, processes, words):
    with pytest.raises(ValueError, match=words):
        trl_train_config(method, TrainSettings(**settings), processes)


@needs_trl
def test_trl_takes_the_arguments(tmp_path):
    from trl import GRPOConfig

    config = trl_train_config(GRPO, TrainSettings())
    args = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, **config)
    assert {name: getattr(args, name) for name in config if name != "report_to"} == {
        name: value for name, value in config.items() if name != "report_to"
    }
    assert args.generation_batch_size == 128 and not args.report_to


# --- what TRL reads, writes and ends


def test_the_prompts_are_those_of_our_own_training(policy, problems):
    settings = replace(SMALL, steps=5)
    rows = training_rows(policy, problems, settings)
    expected = [
        problem for step in range(1, 6) for problem in problems_of_step(problems, step, settings)
    ]
    assert rows["prompt"] == [format_prompt(policy, problem.question) for problem in expected]
    assert rows["answer"] == [problem.answer for problem in expected]


def test_a_tokenizer_that_would_add_its_special_tokens_again_is_refused(problems):
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<end> $A", special_tokens=[("<end>", END)]
    )
    with pytest.raises(ValueError, match="adds special tokens to a prompt"):
        training_rows(make_policy(make_model(), tokenizer), problems, SMALL)


@needs_trl
def test_trls_own_rollout_reads_ends_and_fills_as_ours_does(problems, tmp_path):
    """One rollout of TRL. The tokenizer pads with its end token, as Qwen's does: TRL must not."""
    policy, seen = make_policy(make_model(), make_tokenizer(pad_token="<end>")), {}

    def noting(**columns):
        seen.update(columns)
        return [0.0] * 12

    trainer = make_trainer(policy, problems, GRPO, SMALL, tmp_path, reward_func=noting)
    rows = [row for row in trainer.train_dataset for _ in range(4)][:12]
    inputs = trainer._generate_and_score_completions(rows)
    assert seen["prompts"] == [row["prompt"] for row in rows] and seen["answer"] == [
        row["answer"] for row in rows
    ]
    ids, mask = encode_prompts(policy, seen["prompts"])
    assert torch.equal(inputs["prompt_ids"], ids) and torch.equal(inputs["prompt_mask"], mask)
    assert policy.pad_id not in policy.end_ids and policy.pad_id != policy.tokenizer.pad_token_id
    completions, mask = inputs["completion_ids"], inputs["completion_mask"]
    assert torch.equal(mask, mask_after_end(completions, policy.end_ids)), (
        "all three end tokens end"
    )
    assert {row[-1] for row in seen["completion_ids"]} >= set(policy.end_ids), (
        "and each of them did"
    )
    assert (completions[mask == 0] == policy.pad_id).all()


@needs_trl
def test_dropout_is_off(problems, tmp_path):
    policy = make_tiny("gpt2", resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    trainer = make_trainer(policy, problems, GRPO, SMALL, tmp_path)
    rates = [
        module.p
        for module in trainer.model.train().modules()
        if isinstance(module, torch.nn.Dropout)
    ]
    assert rates and not any(rates)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "ppo"], "unknown method 'ppo'"),
        (["--method", "rloo"], "leave-one-out"),
        (["--model", "no-such-model"], "no model 'no-such-model'"),
        (["--problems", "no-such-problems"], "no problems at 'no-such-problems'"),
        (["--prompts-per-step", "5", "--minibatches", "3"], "40 rows"),
        (["--steps", "0"], "steps must be at least 1"),
    ],
)
@needs_trl
def test_bad_input_meets_one_clear_error(arguments, words, tmp_path, capsys):
    assert main(["--out", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1


def test_without_trl_it_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["--out", str(tmp_path)]) == 2
    assert "trl is not installed" in capsys.readouterr().err


# --- it trains


def printed_accuracy(printed, when):
    """(accuracy, low, high) in percent."""
    line = re.search(
        rf"held-out accuracy {when}: ([\d.]+)% \(95 % interval ([\d.]+)% to ([\d.]+)%", printed
    )
    return tuple(map(float, line.groups()))


@needs_trl
@pytest.mark.slow
def test_it_learns_and_what_it_saved_is_what_it_measured(tmp_path, capsys):
    assert (
        main(["--method", "gspo", "--steps", "4", "--eval-count", "100", "--out", str(tmp_path)])
        == 0
    )
    printed = capsys.readouterr().out
    (before, _, high), (after, low, _) = (
        printed_accuracy(printed, when) for when in ("before", "after")
    )
    assert before < 15 and low > high, printed
    assert printed.count("step ") == 4 and "step 4 of 4: reward 0." in printed
    saved = evaluate(load_policy(str(tmp_path / "model")), load_problems("test")[:100], 64)
    assert 100 * saved.accuracy == pytest.approx(after)


@needs_trl
@pytest.mark.slow
@pytest.mark.parametrize("method", ["grpo", "dr_grpo", "dapo"])
def test_the_other_methods_train_too(method, problems, tmp_path, capsys):
    """Two steps of a random model with three end tokens, from a folder and on problems from a
    folder. The reward is one that it gets at times; it sees the prompts in the order of our own
    training."""
    policy, asked = make_tiny(), []

    def odd_length(prompts, completions, **_):
        asked.extend(prompts)
        return [len(text) % 2 for text in completions]

    save_policy(policy, tmp_path / "start")
    for split in ("train", "test"):
        rows = [
            json.dumps({"question": problem.question, "answer": problem.answer})
            for problem in problems
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    sizes = [
        "--steps",
        "2",
        "--prompts-per-step",
        "6",
        "--group-size",
        "4",
        "--minibatches",
        "2",
        "--max-tokens",
        "12",
    ]
    places = [
        "--model",
        str(tmp_path / "start"),
        "--problems",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(["--method", method, *sizes, *places], reward_func=odd_length) == 0
    trained = load_policy(str(tmp_path / "out" / "model"))
    assert trained.end_ids == policy.end_ids and trained.pad_id == policy.pad_id
    changed = [
        (a != b).any()
        for a, b in zip(trained.model.parameters(), policy.model.parameters(), strict=True)
    ]
    assert "step 2 of 2" in capsys.readouterr().out
    assert any(changed)
    settings = TrainSettings(steps=2, prompts_per_step=6)
    assert asked == [
        prompt for prompt in training_rows(policy, problems, settings)["prompt"] for _ in range(4)
    ]
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text(encoding="utf-8"))[
        "log_history"
    ]
    assert [entry["step"] for entry in log if "reward" in entry] == [4, 8]


# --- two processes

# Groups of four rows on two processes of six: the middle group lies on both. Ratios leave 1 in the
# second pass.
WHOLE = replace(SMALL, learning_rate=3e-3, warmup_steps=1, decay_steps=4)
PARTS = replace(WHOLE, micro_batch_rows=3)
SAME = {
    "GRPO": (GRPO, WHOLE, {}),
    "Dr. GRPO": (DR_GRPO, WHOLE, {}),
    "GSPO": (GSPO, WHOLE, {}),
    "DAPO loss": (DAPO, WHOLE, {}),
    "GRPO in parts": (GRPO, PARTS, {}),
    "DAPO loss in parts": (DAPO, PARTS, {}),
}
CASES = SAME | {"bnpo": (GRPO, WHOLE, {"loss_type": "bnpo"})}


def written_completions(policy, problems):
    """A `rollout_func`: right and wrong answers of different lengths, each by its prompt and its
    place in the group."""
    golds = {format_prompt(policy, problem.question): problem.answer for problem in problems}

    def rollout(prompts, trainer):
        first = trainer.accelerator.process_index * len(prompts)
        completions = []
        for row, prompt in enumerate(prompts, start=first):
            rng = random.Random(f"{prompt}/{row % trainer.num_generations}")
            words = rng.choices(NUMBERS, k=rng.randint(1, 20))
            answer = golds[prompt] if rng.random() < 0.5 else "3"
            text = ["<reasoning>", *words, "</reasoning>", "<answer>", answer, "</answer>", "<end>"]
            completions.append([ID[word] for word in text])
        prompt_ids = policy.tokenizer(prompts, add_special_tokens=False).input_ids
        return {"prompt_ids": prompt_ids, "completion_ids": completions, "logprobs": None}

    return rollout


class Gradients(TrainerCallback):
    """Keeps the gradient of every update, as the optimizer gets it, in one vector each."""

    def __init__(self, model):
        self.model, self.vectors = model, []

    def on_pre_optimizer_step(self, *_, **__):
        self.vectors.append(
            torch.cat([parameter.grad.flatten() for parameter in self.model.parameters()])
        )


def record_run(name, folder):
    """Losses, gradient norms and rates of every update, as TRL logs them, and the gradients
    themselves."""
    method, settings, changes = CASES[name]
    policy, problems = make_tiny(), some_problems()
    rollout = written_completions(policy, problems)
    trainer = make_trainer(
        policy, problems, method, settings, folder, rollout_func=rollout, logging_steps=1, **changes
    )
    gradients = Gradients(policy.model)
    trainer.remove_callback(ProgressLine)
    trainer.add_callback(gradients)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    columns = ("loss", "grad_norm", "learning_rate", "clip_ratio/region_mean")
    return {
        "processes": trainer.accelerator.num_processes,
        "gradients": torch.stack(gradients.vectors),
    } | {column: torch.tensor([entry[column] for entry in logs]) for column in columns}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes found: every case's records by its name, and the sums of our own loss."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-addr",
        "127.0.0.1",
        "--master-port",
        str(port),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | LOOPBACK
    shared = str(Path(literal.__file__).parent)
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [shared, os.environ.get("PYTHONPATH")])
    )
    command = [sys.executable, "-m", *launcher, __file__, str(folder / "found.pt")]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "found.pt")


def relative(one, two):
    """The largest difference of two vectors, of each row, by the first one's norm."""
    return float(((one - two).norm(dim=-1) / one.norm(dim=-1)).max())


@needs_trl
@pytest.mark.slow
@pytest.mark.parametrize("name", SAME)
def test_two_processes_do_what_one_does(name, two_processes, tmp_path):
    one, two = record_run(name, tmp_path), two_processes[name]
    assert (one["processes"], two["processes"]) == (1, 2)
    passes = torch.tensor([1, 2, 4, 5])  # the second and third passes of both rollouts
    assert (one["loss"][passes].abs() > 1e-3).all() and (
        one["clip_ratio/region_mean"][passes] > 0
    ).all()
    assert (one["grad_norm"] > 0.1).all()
    assert one["loss"].tolist() == pytest.approx(two["loss"].tolist(), rel=1e-5, abs=1e-6)
    assert one["grad_norm"].tolist() == pytest.approx(two["grad_norm"].tolist(), rel=1e-5)
    assert relative(one["gradients"], two["gradients"]) < 1e-5
    rates = [CASES[name][1].rate(step) for step in (1, 1, 1, 2, 2, 2)]
    assert one["learning_rate"].tolist() == two["learning_rate"].tolist() == pytest.approx(rates)


@needs_trl
@pytest.mark.slow
def test_a_loss_that_each_process_divides_by_its_own_tokens_is_seen(two_processes, tmp_path):
    """TRL's "bnpo": the comparison above can fail, and not by little."""
    one, two = record_run("bnpo", tmp_path), two_processes["bnpo"]
    assert relative(one["gradients"][:1], two["gradients"][:1]) > 0.01


def test_accelerate_that_started_one_process_of_two_is_refused(monkeypatch):
    """What `accelerate launch --cpu --num_processes 2` (1.15) leaves in the environment of the one
    that it starts."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(
        ValueError, match="torchrun --nproc-per-node 2 -m rlvr_helpers.tools.train_with_trl"
    ):
        trl_study.processes()


# --- our own loss over two processes


def summed_losses():
    """What our loss gives on this process's rows, summed over both: for each method with the totals
    of all rows, and with those of the process alone."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    rows = (slice(0, 4), slice(4, 10))[torch.distributed.get_rank()]
    found = {
        name: [our_loss(method, rows, shared) for shared in (True, False)]
        for name, method in OURS.items()
    }
    for pairs in found.values():
        for tensor in (tensor for pair in pairs for tensor in pair):
            torch.distributed.all_reduce(tensor)
    return found


OURS = {
    "GRPO": GRPO,
    "Dr. GRPO": DR_GRPO,
    "GSPO": replace(GSPO, clip_low=0.05, clip_high=0.08),
    "DAPO loss": DAPO,
}


def our_loss(method, rows, shared=True):
    """The loss of some rows and its gradient on weights that all rows share, in float64. `shared`:
    with the totals of all rows; else with those of the process alone, which is wrong."""
    batch = ragged_batch()
    part = batch.rows(rows)
    features = torch.randn(
        *batch.new.shape, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )[rows]
    weights = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    totals = (
        {"total_rows": len(batch.mask), "total_tokens": int(batch.mask.sum())} if shared else {}
    )
    new = part.new + features @ weights
    loss = policy_loss(
        method, new, part.old, part.advantages, part.mask, part.max_tokens, **totals
    ).loss
    loss.backward()
    return loss.detach(), weights.grad


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_our_loss_over_two_processes_adds_up_to_that_of_one(name, two_processes):
    loss, gradient = our_loss(OURS[name], slice(None))
    (summed_loss, summed_gradient), (own_loss, own_gradient) = two_processes["ours"][name]
    assert abs(loss) > 1e-3 and (gradient != 0).all()
    close(summed_loss, loss, 1e-14)
    close(summed_gradient, gradient, 1e-14)
    assert abs(own_loss - loss) > 1e-3 and (own_gradient - gradient).norm() > 1e-3, (
        "the totals matter"
    )


if __name__ == "__main__":
    cases = CASES if HAS_TRL else ()
    found = {name: record_run(name, os.path.dirname(sys.argv[1])) for name in cases} | {
        "ours": summed_losses()
    }
    if train_with_trl.is_main():
        torch.save(found, sys.argv[1])
    torch.distributed.destroy_process_group()


WORDS_TASK = '''
def score(completion, problem):
    """It reads a column that is no answer."""
    words = completion.split()
    return {"correct": float(len(words) > problem["least"]), "words": len(words) / 8}

score.weights = {"words": 0.5}
'''


@needs_trl
def test_a_scorer_saves_reports_and_settings_of_our_own(problems, tmp_path, capsys, monkeypatch):
    """A random model, a scorer that reads a column, a checkpoint, TensorBoard's files if it is
    installed, and a second command that resumes."""
    name = f"words_{os.getpid()}"
    (tmp_path / f"{name}.py").write_text(WORDS_TASK)
    monkeypatch.chdir(tmp_path)
    save_policy(make_tiny(), tmp_path / "start")
    for split in ("train", "test"):
        rows = [json.dumps({"question": p.question, "least": 2}) for p in problems]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    command = ["--model", "start", "--problems", ".", "--scorer", f"{name}:score"]
    command += ["--method", "name=Wide,clip_low=0.3,clip_high=0.3", "--out", "out"]
    command += ["--set", "prompts_per_step=6", "--set", "minibatches=2", "--group-size", "4"]
    command += ["--max-tokens", "8", "--temperature", "0.9", "--save-every", "1"]
    if importlib.util.find_spec("tensorboard"):
        command += ["--report-to", "tensorboard"]
    assert main([*command, "--steps", "1"]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert re.search(r"step 1 of 1: reward [\d.]+, correct [\d.]+, words [\d.]+, loss", printed)
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text(encoding="utf-8"))
    (entry,) = [entry for entry in state["log_history"] if "reward" in entry]
    total = entry["parts/correct"] + 0.5 * entry["parts/words"]
    assert entry["reward"] == pytest.approx(total, rel=1e-4) and total > 0
    (tmp_path / "out" / "model").rename(tmp_path / "first")
    assert main([*command, "--steps", "2"]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "step 2 of 2" in printed and "step 1 of 2" not in printed


@needs_trl
def test_precision_temperature_and_schedule_are_ours(problems, tmp_path):
    settings = replace(SMALL, temperature=0.7, warmup_steps=3, decay_steps=5)
    config = trl_train_config(GRPO, settings, compute_dtype=torch.bfloat16)
    assert (config["bf16"], config["fp16"], config["temperature"]) == (True, False, 0.7)
    trainer = make_trainer(make_tiny(), problems, GRPO, settings, tmp_path)
    trainer.create_optimizer_and_scheduler(6)
    assert trainer.lr_scheduler.get_last_lr()[0] == pytest.approx(settings.rate(1))


@needs_trl
@pytest.mark.slow
def test_accelerate_launch_on_cpu_processes_ends_with_one_line_and_no_traceback(tmp_path):
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command = [*launcher, "-m", "rlvr_helpers.tools.train_with_trl", "--out", str(tmp_path)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=300)
    assert "Traceback" not in done.stderr and "gemm_4bit" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "nothing was trained" in line]
    assert "torchrun --nproc-per-node 2 -m rlvr_helpers.tools.train_with_trl" in line
    assert not (tmp_path / "model").exists()


def test_a_trained_model_is_never_written_over(tmp_path, capsys):
    (tmp_path / "runs" / "model").mkdir(parents=True)
    (tmp_path / "runs" / "model" / "mine").write_text("weights")
    assert main(["--steps", "1", "--out", str(tmp_path / "runs")]) == 2
    assert "'runs' holds a trained model already: choose another folder" in capsys.readouterr().err
    assert (tmp_path / "runs" / "model" / "mine").read_text() == "weights"
