"""What lets a larger model fit changes memory and speed, not what is computed: each measure against
the plain way."""

import functools
import os
import sys
from dataclasses import replace

import pytest
import torch
from small_policies import make_model, make_tiny, some_problems
from torch import nn
from transformers import AutoModelForCausalLM

from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.engine.decoding import CacheDecoder, GraphDecoder, LayerDecoder
from rlvr_helpers.engine.finite import LastGood
from rlvr_helpers.engine.large import (
    LossScaler,
    add_lora,
    autocast,
    best_compute_dtype,
    lora_layers,
    merge_lora,
    use_expandable_segments,
    without_lora,
)
from rlvr_helpers.evaluation import evaluate_at_once
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO
from rlvr_helpers.minibatches import (
    Learner,
    make_minibatches,
    make_reference,
    score_before_updates,
    split_rows,
    update,
)
from rlvr_helpers.models import format_prompt, load_policy, save_policy
from rlvr_helpers.sampling import sample_groups
from rlvr_helpers.scoring import token_logprobs
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import Stages, sample_step, train

SMALL = TrainSettings(
    steps=3,
    prompts_per_step=4,
    group_size=4,
    epochs=2,
    minibatches=2,
    learning_rate=5e-3,
    max_tokens=8,
    eval_every=2,
)
LOW = [torch.bfloat16, torch.float16]


def letters(text, gold):
    return len(text) % 4 / 4


def weights(policy):
    return torch.cat([value.detach().flatten() for value in policy.model.parameters()]).clone()


def roll(policy, seed=0, group_size=4, max_tokens=12, temperature=1.0, **options):
    prompts = [format_prompt(policy, problem.question) for problem in some_problems()]
    generator = torch.Generator().manual_seed(seed)
    return sample_groups(policy, prompts, group_size, max_tokens, temperature, generator, **options)


def run(policy, settings=SMALL, method=GRPO, **options):
    return list(train(policy, some_problems(), method, settings, letters, **options))


# --- 16-bit matrix products -----------------------------------------------------------------------


def test_a_cpu_computes_in_float32_unless_asked():
    assert best_compute_dtype("cpu") == torch.float32
    assert load_policy("tiny").compute_dtype == torch.float32
    assert load_policy("tiny", compute_dtype=torch.bfloat16).compute_dtype == torch.bfloat16


@pytest.mark.parametrize("supported, dtype", [(True, torch.bfloat16), (False, torch.float16)])
def test_a_card_without_bfloat16_takes_float16(monkeypatch, supported, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert best_compute_dtype("cuda") == dtype


@pytest.mark.parametrize("compute_dtype", LOW)
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_a_rollout_in_16_bits_is_scored_as_it_was_sampled(family, compute_dtype):
    """Decoding and scoring round alike: as near to each other as 16 bits are, and nearer than to
    float32's rounding."""
    policy = replace(make_tiny(family), compute_dtype=compute_dtype)
    rollout = roll(policy)
    assert rollout.compute_dtype == compute_dtype and rollout.logprobs.dtype == torch.float32
    with autocast(policy.device, compute_dtype):
        ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
        scored = token_logprobs(policy.model, *ids)
    assert scored.dtype == torch.float32
    assert (scored - rollout.logprobs).abs().max() < (
        0.15 if compute_dtype == torch.bfloat16 else 0.02
    )
    assert policy.model.lm_head.weight.dtype == torch.float32


class Rounded(LayerDecoder):
    """The mistake: the stream between layers is rounded to 16 bits."""

    @staticmethod
    def _add(x, inputs, weight):
        return (x.to(weight.dtype) + inputs @ weight).to(x.dtype)


def test_sums_stay_in_float32_as_autocast_leaves_them():
    """Were the stream between layers rounded to 16 bits at each of them, decoding would be twice as
    far from scoring."""
    policy, gaps = (
        replace(
            make_tiny(num_hidden_layers=12, initializer_range=0.1), compute_dtype=torch.bfloat16
        ),
        [],
    )
    for decoder in (LayerDecoder, Rounded):
        rollout = roll(policy, make_decoder=decoder)
        ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
        with autocast(policy.device, torch.bfloat16):
            gaps.append(
                (token_logprobs(policy.model, *ids) - rollout.logprobs)
                .abs()[rollout.mask.bool()]
                .mean()
            )
    assert gaps[0] < 0.7 * gaps[1]


@pytest.mark.parametrize("compute_dtype", LOW)
@pytest.mark.parametrize("method", [GRPO, DR_GRPO, GSPO], ids=lambda m: m.name)
def test_s10_the_ratio_before_the_first_update_is_1_in_16_bits_too(method, compute_dtype):
    records = run(
        replace(make_tiny(), compute_dtype=compute_dtype),
        method=replace(method, clip_low=0.0, clip_high=0.0),
    )
    assert [record.clip_fraction_first for record in records] == [0.0] * 3
    assert any(record.clip_fraction > 0 for record in records)


def test_s11_weights_gradients_and_moments_stay_in_float32(tmp_path):
    policy = replace(make_tiny(), compute_dtype=torch.bfloat16)
    run(policy, checkpoint_dir=tmp_path)
    moments = torch.load(tmp_path / "checkpoint.pt")["optimizer"]["state"]
    kept = {
        value.dtype for state in moments.values() for key, value in state.items() if key != "step"
    }
    assert kept == {torch.float32}
    assert {p.dtype for p in policy.model.parameters()} == {
        p.grad.dtype for p in policy.model.parameters()
    }
    assert policy.dtype == torch.float32


def test_the_gradient_in_16_bits_points_where_that_in_float32_does():
    gradients = []
    for compute_dtype in (torch.float32, torch.bfloat16):
        policy = make_tiny()
        rollout = replace(roll(policy), compute_dtype=compute_dtype)
        rewards = torch.tensor([float(letters(text, "")) for text in rollout.texts]).view(-1, 4)
        settings = replace(SMALL, minibatches=1, max_tokens=12)
        minibatches = make_minibatches(rollout, rewards, GRPO, settings, 1)
        learner = Learner(
            policy.model, GRPO, settings, torch.optim.SGD(policy.model.parameters(), lr=0.0)
        )
        score_before_updates(learner, minibatches)
        update(learner, minibatches[0], Clock(policy.device), "")
        gradients.append(torch.cat([p.grad.flatten() for p in policy.model.parameters()]))
    assert 0.995 < torch.cosine_similarity(*gradients, dim=0) < 1


# --- the recorded step ----------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("group_size", [1, 4])
def test_a_step_of_one_shape_decodes_what_the_others_do(monkeypatch, family, group_size):
    """The step that a GPU records, taken on a CPU: the same tokens and log-probs, with rows dropped
    on the way."""
    policy, rollouts, dropped = make_tiny(family), [], []
    keep, unset = GraphDecoder.keep, torch.Tensor.new_empty
    filled = lambda self, *size: unset(self, *size).fill_(torch.nan)  # noqa: E731 what memory may hold at worst
    monkeypatch.setattr(torch.Tensor, "new_empty", filled)
    monkeypatch.setattr(
        GraphDecoder, "keep", lambda self, rows: (dropped.append(len(rows)), keep(self, rows))
    )
    for kind in (CacheDecoder, LayerDecoder, GraphDecoder):
        rollouts.append(roll(policy, group_size=group_size, max_tokens=20, make_decoder=kind))
    for other in rollouts[:2]:
        assert torch.equal(other.completion_ids, rollouts[2].completion_ids)
        assert (other.logprobs - rollouts[2].logprobs).abs().max() < 2e-5
    assert dropped, "no rows were dropped, so that was not tried"


def test_a_step_of_one_shape_in_16_bits():
    policy = replace(make_tiny(), compute_dtype=torch.bfloat16)
    rollouts = []
    for kind in (LayerDecoder, GraphDecoder):
        # One token, before rounding can lead to other words.
        rollouts.append(roll(policy, max_tokens=1, make_decoder=kind))
    assert (rollouts[0].logprobs - rollouts[1].logprobs).abs().max() < 0.1


def test_a_recording_that_fails_is_done_without_unless_the_memory_is_full(monkeypatch):
    def fail(error):
        def record(self):
            raise error

        monkeypatch.setattr(GraphDecoder, "_record", record)
        return GraphDecoder(make_tiny().model, 3)

    with pytest.warns(UserWarning, match="without a CUDA graph.*no capture"):
        fail(RuntimeError("no capture"))._record_if_possible()
    with pytest.raises(torch.OutOfMemoryError):
        fail(torch.OutOfMemoryError("full"))._record_if_possible()


def test_fewer_rows_are_dropped_where_that_costs_a_recording(monkeypatch):
    kept = {}
    for kind in (LayerDecoder, GraphDecoder):
        calls = kept.setdefault(kind, [])
        keep = kind.keep
        monkeypatch.setattr(
            kind,
            "keep",
            lambda self, rows, calls=calls, keep=keep: (calls.append(1), keep(self, rows)),
        )
        roll(make_tiny(), max_tokens=20, group_size=8, make_decoder=kind)
        monkeypatch.undo()
    assert len(kept[GraphDecoder]) < len(kept[LayerDecoder])


# --- micro-batches by tokens ----------------------------------------------------------------------


def places(rollout, rows, shared):
    """Tokens that a packed micro-batch holds, counted literally: every group as wide as the
    widest."""
    groups = [rows[i : i + shared].tolist() for i in range(0, len(rows), shared)]
    width = max(
        int(rollout.prompt_mask[g[0]].sum()) + sum(int(rollout.lengths[r]) for r in g)
        for g in groups
    )
    return width * len(groups)


@pytest.mark.parametrize("budget", [1, 25, 40, 60, 90, 150, 10_000])
def test_parts_hold_every_row_once_within_the_budget(budget):
    rollout = roll(make_tiny())
    rows = torch.arange(len(rollout.mask)).view(-1, 4)[[3, 0, 5, 1]].flatten()
    parts = split_rows(rows, rollout, replace(SMALL, micro_batch_tokens=budget))
    assert sorted(torch.cat([part for part, _ in parts]).tolist()) == sorted(rows.tolist())
    for part, shared in parts:
        assert len(part) % shared == 0
        for i in range(0, len(part), shared):
            assert len({row // 4 for row in part[i : i + shared].tolist()}) == 1, (
                "rows that share no prompt"
            )
        assert places(rollout, part, shared) <= budget or len(part) == 1
    whole = [part for part, shared in parts if shared == 4]
    for one, next_one in zip(whole, whole[1:], strict=False):
        first = next_one[:4]  # the group that opened the next part: it did not fit in any more
        assert places(rollout, torch.cat([one, first]), 4) > budget
    if budget == 10_000:
        assert len(parts) == 1


@pytest.mark.parametrize("budget", [1, 40, 90, 10_000])
@pytest.mark.parametrize("method", [GRPO, DR_GRPO, GSPO], ids=lambda m: m.name)
def test_s17_a_budget_of_tokens_gives_the_same_model(method, budget):
    policies = [make_tiny(dtype=torch.float64) for _ in range(2)]
    run(policies[0], method=method)
    run(policies[1], replace(SMALL, micro_batch_tokens=budget), method=method)
    assert (weights(policies[0]) - weights(policies[1])).abs().max() < 1e-6
    assert (weights(policies[0]) - weights(make_tiny(dtype=torch.float64))).abs().max() > 1e-3


# --- gradient checkpointing -----------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_remade_activations_give_the_same_run(family):
    """gpt2 has dropout in its configuration, and stays in evaluation mode only because it is taken
    out."""
    policies = [make_tiny(family) for _ in range(2)]
    plain = run(policies[0])
    remade = run(policies[1], replace(SMALL, gradient_checkpointing=True))
    assert [r.loss for r in plain] == pytest.approx([r.loss for r in remade], abs=1e-6)
    assert (weights(policies[0]) - weights(policies[1])).abs().max() < 1e-5
    assert not policies[1].model.training


def test_remade_activations_are_not_kept():
    kept = {}
    for on in (False, True):
        policy, total = make_tiny(), []
        settings = replace(SMALL, steps=1, gradient_checkpointing=on, track_kl=False)
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda x, total=total: total.append(x.numel()) or x, lambda x: x
        )
        records = train(policy, some_problems(), GRPO, settings, letters)
        with hooks:
            next(records)
        kept[on] = sum(total)
    assert kept[True] < 0.6 * kept[False]


# --- float16 and its loss scaling -----------------------------------------------------------------


def test_an_overflow_is_left_out_and_the_next_update_does_better():
    policy = replace(make_tiny(), compute_dtype=torch.float16)
    start, scaler = weights(policy), LossScaler(policy.device, torch.float16)
    scaler.scaler.load_state_dict({**scaler.scaler.state_dict(), "scale": 2.0**40})
    skipped = [u.skipped for u in updates_of(policy, scaler, 40)]
    assert skipped[0] and not skipped[-1]
    assert skipped == sorted(skipped, reverse=True), (
        "once the factor is small enough no update is left out"
    )
    assert scaler.scaler.get_scale() == 2.0 ** (40 - sum(skipped))
    assert (weights(policy) - start).abs().max() > 1e-4


def updates_of(policy, scaler, count):
    rollout = roll(policy)
    rewards = torch.tensor([float(letters(text, "")) for text in rollout.texts]).view(-1, 4)
    settings = replace(SMALL, minibatches=1, max_tokens=12)
    minibatches = make_minibatches(rollout, rewards, GRPO, settings, 1)
    optimizer, clock = torch.optim.AdamW(policy.model.parameters(), 1e-3), Clock(policy.device)
    learner = Learner(policy.model, GRPO, settings, optimizer, scaler)
    score_before_updates(learner, minibatches)
    for parameter in policy.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return [update(learner, minibatches[0], clock, "here") for _ in range(count)]


def test_an_overflow_at_the_smallest_factor_stops_the_run(monkeypatch):
    policy = replace(make_tiny(), compute_dtype=torch.float16)
    scaler = LossScaler(policy.device, torch.float16)
    scaler.scaler.load_state_dict({**scaler.scaler.state_dict(), "scale": 1.0})
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda *a, **k: torch.tensor(float("inf"))
    )
    before = weights(policy)
    with pytest.raises(FloatingPointError, match="here: the loss is .* gradient norm inf"):
        updates_of(policy, scaler, 1)
    assert torch.equal(weights(policy), before)


def test_an_overflow_in_float32_is_no_matter_of_scaling(monkeypatch):
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda *a, **k: torch.tensor(float("inf"))
    )
    with pytest.raises(FloatingPointError):
        run(make_tiny())


def test_the_norm_is_that_of_the_gradient_without_the_factor():
    norms = [
        run(replace(make_tiny(), compute_dtype=c), replace(SMALL, steps=1))[0].grad_norm
        for c in (torch.float32, *LOW)
    ]
    assert norms == pytest.approx([norms[0]] * 3, rel=0.3)


def test_updates_left_out_are_counted_and_do_not_spoil_the_norm():
    first = iter([True])

    def with_too_large_a_factor(learner, minibatches, **options):
        scaler = learner.scaler.scaler
        if next(first, False):
            scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**20})
        score_before_updates(learner, minibatches, **options)

    stages = Stages(score_before=with_too_large_a_factor)
    records = run(replace(make_tiny(), compute_dtype=torch.float16), stages=stages)
    assert records[0].skipped > 0 and records[-1].skipped == 0
    assert all(0 <= record.grad_norm < 1e6 for record in records)


# --- the 8-bit optimizer --------------------------------------------------------------------------


def test_without_the_package_the_8_bit_optimizer_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ValueError, match="pip install bitsandbytes"):
        run(make_tiny(), replace(SMALL, eight_bit_optimizer=True))


@pytest.mark.slow  # the package takes seconds to load
def test_the_8_bit_optimizer_learns_with_moments_of_one_byte(tmp_path):
    pytest.importorskip("bitsandbytes", reason="the package bitsandbytes is not installed")

    def policy():
        # it leaves matrices below 4,096 numbers in float32
        return make_tiny(hidden_size=64, intermediate_size=128)

    unbroken, resumed, settings = policy(), policy(), replace(SMALL, eight_bit_optimizer=True)
    run(unbroken, settings)
    assert (weights(unbroken) - weights(policy())).abs().max() > 1e-3
    run(policy(), replace(settings, steps=2), checkpoint_dir=tmp_path)
    assert torch.uint8 in set(dtypes(torch.load(tmp_path / "checkpoint.pt")["optimizer"]))
    run(resumed, settings, checkpoint_dir=tmp_path)
    assert torch.equal(weights(resumed), weights(unbroken))


def dtypes(value):
    if torch.is_tensor(value):
        yield value.dtype
    for item in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from dtypes(item)


# --- LoRA -----------------------------------------------------------------------------------------


@pytest.fixture
def peft():
    return pytest.importorskip("peft", reason="the package peft is not installed")


def lora_policy(rank=2, family="llama"):
    policy = make_tiny(family)
    torch.manual_seed(0)
    add_lora(policy.model, rank)
    return policy


def test_lora_begins_where_the_model_was(peft):
    plain, policy = make_tiny(), lora_policy()
    assert len(lora_layers(policy.model)) == 14 and not lora_layers(plain.model)
    one, other = roll(plain), roll(policy)
    assert torch.equal(one.completion_ids, other.completion_ids)
    assert (one.logprobs - other.logprobs).abs().max() < 1e-5


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_lora_is_trained_alone_sampled_from_and_merged(peft, tmp_path, family):
    policy, start = lora_policy(family=family), make_tiny(family)
    records = run(policy, replace(SMALL, learning_rate=2e-2))
    trained = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    base = {
        n.replace(".base_layer", ""): p
        for n, p in policy.model.named_parameters()
        if "lora_" not in n
    }
    assert all(torch.equal(p, base[name]) for name, p in start.model.named_parameters())
    assert records[0].kl == 0 and records[-1].kl > 1e-4
    assert max(record.sampler_gap for record in records) < 1e-4, (
        "decoding does not see what was trained"
    )

    rollout = roll(policy)
    with without_lora(policy.model):
        assert torch.equal(roll(start).completion_ids, roll(policy).completion_ids)
    merge_lora(policy.model)
    assert not lora_layers(policy.model) and all(p.requires_grad for p in policy.model.parameters())
    assert [n for n, _ in policy.model.named_parameters()] == [
        n for n, _ in start.model.named_parameters()
    ]
    assert (roll(policy).logprobs - rollout.logprobs).abs().max() < 1e-4
    again = AutoModelForCausalLM.from_pretrained(save_policy(policy, tmp_path / "model"))
    assert torch.equal(weights(replace(policy, model=again)), weights(policy))


def test_a_lora_run_goes_on_bit_for_bit_from_a_small_checkpoint(peft, tmp_path):
    unbroken = lora_policy()
    records = run(unbroken)
    run(lora_policy(), replace(SMALL, steps=2), checkpoint_dir=tmp_path)
    resumed = lora_policy()
    assert [replace(r, seconds={}) for r in run(resumed, checkpoint_dir=tmp_path)] == [
        replace(r, seconds={}) for r in records
    ]
    assert torch.equal(weights(resumed), weights(unbroken))
    assert not (tmp_path / "start.pt").exists()
    assert all("lora_" in name for name in torch.load(tmp_path / "checkpoint.pt")["model"])


def test_lora_says_what_is_wrong(peft, monkeypatch):
    with pytest.raises(ValueError, match="at least 1, not 0"):
        add_lora(make_model(), 0)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match="pip install peft"):
        add_lora(make_model(), 2)


# --- memory that is full, and what may change when a run goes on ----------------------------------


def test_full_memory_names_the_ways_out_and_loses_nothing(tmp_path):
    unbroken = make_tiny()
    run(unbroken)
    calls = []

    @functools.wraps(sample_step)
    def full(*args):
        calls.append(1)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB\nmore")
        return sample_step(*args)

    stages = Stages(sample=full)
    with pytest.raises(
        RuntimeError, match="step 3: .* micro_batch_tokens .* gradient_checkpointing=True"
    ) as caught:
        run(make_tiny(), checkpoint_dir=tmp_path, stages=stages)
    assert "20 MiB" in str(caught.value) and "more" not in str(caught.value).splitlines()[-1][-6:]
    policy = make_tiny()
    settings = replace(
        SMALL, micro_batch_tokens=60, gradient_checkpointing=True, checkpoint_every=2
    )
    records = run(policy, settings, checkpoint_dir=tmp_path, stages=stages)
    assert [record.step for record in records] == [1, 2, 3] and len(calls) == 4
    assert (weights(policy) - weights(unbroken)).abs().max() < 1e-4


def test_a_checkpoint_every_few_steps_and_at_the_end(tmp_path):
    settings, steps = replace(SMALL, steps=5, checkpoint_every=2), []
    for record in train(
        make_tiny(), some_problems(), GRPO, settings, letters, checkpoint_dir=tmp_path
    ):
        file = tmp_path / "checkpoint.pt"
        steps.append(len(torch.load(file)["records"]) if file.exists() else 0)
        assert record.step == len(steps)
    assert steps == [0, 2, 2, 4, 5]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"micro_batch_tokens": 0}, "micro_batch_tokens must be at least 1, not 0"),
        ({"micro_batch_tokens": 9, "micro_batch_rows": 9}, "not both"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1"),
        ({"checkpoint_minutes": 0.0}, "checkpoint_minutes must be above 0"),
    ],
)
def test_settings_that_make_no_run(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


# --- what a GPU's memory and disk ask for ---------------------------------------------------------


def test_checkpoints_come_by_time_where_that_is_asked_for(tmp_path):
    """Far fewer minutes than a step takes: one each step. Far more: only the last."""
    for minutes, expected in ((1e-9, [1, 2, 3]), (60.0, [0, 0, 3])):
        folder, steps = tmp_path / str(minutes), []
        settings = replace(SMALL, steps=3, checkpoint_minutes=minutes)
        records = train(
            make_tiny(), some_problems(), GRPO, settings, letters, checkpoint_dir=folder
        )
        for _ in records:
            file = folder / "checkpoint.pt"
            steps.append(len(torch.load(file)["records"]) if file.exists() else 0)
        assert steps == expected


def test_minutes_between_checkpoints_may_change_when_a_run_is_resumed(tmp_path):
    run(make_tiny(), replace(SMALL, steps=2, checkpoint_minutes=5.0), checkpoint_dir=tmp_path)
    assert len(run(make_tiny(), replace(SMALL, steps=3), checkpoint_dir=tmp_path)) == 3


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_a_reference_in_16_bits_says_the_same_bit_for_bit(family):
    policy = replace(make_tiny(family), compute_dtype=torch.bfloat16)
    reference = make_reference(policy.model, torch.bfloat16)
    kept = {module.weight.dtype for module in reference.modules() if isinstance(module, nn.Linear)}
    assert torch.bfloat16 in kept or family == "gpt2", "gpt2 has layers of another class"
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad(), autocast(policy.device, torch.bfloat16):
        assert torch.equal(reference(ids).logits, policy.model(ids).logits)
    records = run(policy)
    assert records[0].kl == 0 and records[-1].kl > 0


def test_a_run_in_16_bits_resumes_with_its_reference(tmp_path):
    def policy():
        return replace(make_tiny(), compute_dtype=torch.bfloat16)

    whole = run(policy())
    run(policy(), replace(SMALL, steps=2), checkpoint_dir=tmp_path)
    resumed = run(policy(), checkpoint_dir=tmp_path)
    assert [record.kl for record in resumed] == [record.kl for record in whole]


def test_an_evaluation_that_does_not_fit_is_halved_and_draws_the_same_noise():
    sizes, noises = [], []

    def answer(policy, problems, max_tokens, generator, batch_size, **options):
        sizes.append(batch_size)
        noises.append(torch.rand(3, generator=generator).tolist())
        if batch_size > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    generator = torch.Generator().manual_seed(3)
    problems = some_problems()[:6]
    said = evaluate_at_once(make_tiny(), problems, 6, samples=2, generator=generator, answer=answer)
    assert said == "done" and sizes == [12, 6, 3] and noises[0] == noises[1] == noises[2]

    def never(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        evaluate_at_once(make_tiny(), problems, 6, samples=2, answer=never)


def test_of_a_large_model_no_copy_is_kept():
    good = LastGood(make_model(), largest=100)
    assert good.kept == []
    good.keep()
    with pytest.raises(
        FloatingPointError, match="step 3: bad. The weights cannot be used any more"
    ):
        with good.put_back("step 3"):
            raise FloatingPointError("bad")


def test_memory_grows_in_place_unless_you_say_otherwise(monkeypatch):
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    use_expandable_segments()
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "backend:native")
    use_expandable_segments()
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "backend:native"
