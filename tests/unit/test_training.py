"""The training loop: against one written out with plain loops, micro-batches, seeds, stopping at
any time, errors."""

import inspect
import json
import math
import random
import warnings
from dataclasses import replace

import literal
import pytest
import torch
from small_policies import END_IDS, ID, make_tiny

from rlvr_helpers import losses, models
from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.evaluation import evaluate, judge
from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO, RLOO
from rlvr_helpers.minibatches import make_learner, make_minibatches, score_before_updates, update
from rlvr_helpers.models import format_prompt
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.records import BINS, LEVELS, Distribution, StepRecord
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import encode_prompts, sample_groups
from rlvr_helpers.scoring import score_tokens
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import Stages, problems_of_step, sample_step, score_rewards, train

SMALL = TrainSettings(
    steps=3,
    prompts_per_step=4,
    group_size=4,
    epochs=2,
    minibatches=2,
    learning_rate=5e-3,
    warmup_steps=0,
    max_tokens=6,
    eval_every=2,
)
METHODS = {"GRPO": GRPO, "Dr. GRPO": DR_GRPO, "GSPO": GSPO, "RLOO": RLOO, "DAPO": DAPO}
AND_KL = METHODS | {
    "GRPO with KL": replace(GRPO, kl_coef=0.3),
    "GSPO with KL": replace(GSPO, kl_coef=0.3, kl_kind="k2"),
}
THREE = pytest.mark.parametrize("method", [GRPO, DR_GRPO, GSPO], ids=["GRPO", "Dr. GRPO", "GSPO"])
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
every_method_and_kl = pytest.mark.parametrize("method", AND_KL.values(), ids=AND_KL.keys())


def letters(text, gold):
    """A reward between 0 and 1 that any text has and that differs between the texts of a group."""
    return len(text) % 4 / 4


def letters_of_some(text, gold):
    """The same, but groups of two of the problems have no signal."""
    return 0.5 if gold in ("7", "8") else letters(text, gold)


def weights(policy):
    return torch.cat([value.detach().flatten() for value in policy.model.parameters()]).clone()


def run(policy, problems, method=GRPO, settings=SMALL, reward=letters, **options):
    """All records of a run."""
    return list(train(policy, problems, method, settings, reward, **options))


def without_seconds(records):
    return [replace(record, seconds={}) for record in records]


@pytest.fixture
def all_in_float64():
    """The log-softmax of a model in float64 is float64 too, and so are rewards: for comparisons
    beyond the float32 of S9. Nothing else of the package is changed. (Llama's norms are float32 in
    any case, GPT-2's are not.)"""
    float32 = torch.Tensor.float

    def scored(*args):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                torch.Tensor, "float", lambda x: x if x.dtype == torch.float64 else float32(x)
            )
            return score_tokens(*args)

    return Stages(score=scored, rate=lambda *args: score_rewards(*args).double())


@pytest.mark.parametrize("wrong", ["Tom has 3 pens.", {"question": "?", "answer": "3"}, None])
def test_what_is_no_problem_is_refused_at_the_door(policy, problems, wrong):
    with pytest.raises(ValueError, match="is no problem: give those of load_problems"):
        train(policy, [*problems, wrong], GRPO)
    with pytest.raises(ValueError, match="is no problem: give those of load_problems"):
        train(policy, problems, GRPO, eval_problems=[wrong])


def test_ratios_are_those_of_the_last_pass_over_a_rollout(problems):
    """Two passes over two mini-batches: the record's spreads are made of the third and fourth
    update's log-ratios."""
    updates = []

    def kept(*args):
        updates.append(update(*args))
        return updates[-1]

    settings = replace(SMALL, steps=1, epochs=2, minibatches=2, learning_rate=0.01, warmup_steps=0)
    (record,) = run(
        make_tiny(), problems, GRPO, settings, letters_of_some, stages=Stages(update=kept)
    )
    assert len(updates) == 4
    for level in ("token_log_ratio", "sequence_log_ratio"):
        first, last = (
            torch.cat([r for u in part for r in getattr(u, f"{level}s")])
            for part in (updates[:2], updates[2:])
        )
        shown = getattr(record, level)
        assert shown.std == pytest.approx(
            last.std(correction=0).item(), rel=0.05
        ) and shown.count == len(last)
        assert shown.high == pytest.approx(last.max().item()) and shown.low == pytest.approx(
            last.min().item()
        )
        assert not math.isclose(first.max().item(), last.max().item(), rel_tol=0.05)


# --- one training step, written out ---------------------------------------------------------------


def rate_written_out(settings, step):
    """The learning rate falls in equal steps to a tenth, and stays there; in the first steps a part
    of it is taken, of 5 parts 1, 2, 3, 4 with four steps of warm-up."""
    fall = 0.9 * settings.learning_rate / settings.decay_steps if settings.decay_steps else 0.0
    rate = settings.learning_rate - fall * min(step - 1, settings.decay_steps or 0)
    return rate * step / (settings.warmup_steps + 1) if step <= settings.warmup_steps else rate


class LiteralTrainer:
    """The training loop in plain loops: each row through the model by itself, no cache, no padding,
    no sharing, nothing left out, and the loss one token at a time."""

    def __init__(self, policy, problems, method, settings, reward):
        self.model, self.problems, self.method, self.settings, self.reward = (
            policy.model,
            problems,
            method,
            settings,
            reward,
        )
        self.start = {name: value.clone() for name, value in policy.model.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            policy.model.parameters(),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            foreach=False,
        )

    def problem_order(self, step):
        chosen = []
        for place in range(
            (step - 1) * self.settings.prompts_per_step, step * self.settings.prompts_per_step
        ):
            epoch = place // len(self.problems)
            order = list(range(len(self.problems)))
            random.Random(f"{self.settings.seed}/{epoch}").shuffle(order)
            chosen.append(self.problems[order[place % len(self.problems)]])
        return chosen

    def logits(self, tokens):
        """After each of these tokens, [n, V]."""
        return (
            self.model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
            / self.settings.temperature
        )

    def logprobs(self, prompt, completion):
        """A list of scalars."""
        table = self.logits(prompt + completion).log_softmax(dim=-1)
        return [table[len(prompt) + t - 1, token] for t, token in enumerate(completion)]

    @torch.no_grad()
    def sample(self, prompt, noise):
        completion = []
        while len(completion) < self.settings.max_tokens and not (
            completion and completion[-1] in END_IDS
        ):
            cumulative = self.logits(prompt + completion)[-1].softmax(dim=-1).cumsum(dim=0)
            completion.append(int((cumulative <= noise[len(completion)]).sum()))
        return completion

    def step(self, step):
        """One rollout and its updates; what the record of this step should say."""
        settings, size = self.settings, self.settings.group_size
        for group in self.optimizer.param_groups:
            group["lr"] = rate_written_out(settings, step)
        seed = settings.seed * 1_000_003 + step
        batch = self.problem_order(step)
        noise = torch.rand(
            len(batch) * size, settings.max_tokens, generator=torch.Generator().manual_seed(seed)
        )
        prompts, completions, rewards = [], [], []
        for problem in batch:
            group = []
            for _ in range(size):
                prompt = [ID[word] for word in f"<user> {problem.question} <assistant>".split()]
                completion = self.sample(prompt, noise[len(completions)].tolist())
                words = [
                    word for token in completion for word in [WORD[token]] if word not in SILENT
                ]
                group.append(self.reward(" ".join(words), problem.answer))
                prompts.append(prompt)
                completions.append(completion)
            rewards.append(group)
        advantages = {
            "std": literal.advantages_std,
            "none": literal.advantages_none,
            "leave_one_out": literal.advantages_leave_one_out,
        }[self.method.advantage_scale](rewards)
        advantages = [a for group in advantages for a in group]

        with torch.no_grad():
            old = [
                [float(x) for x in self.logprobs(p, c)]
                for p, c in zip(prompts, completions, strict=True)
            ]
            now = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.model.load_state_dict(self.start)
            ref = [
                [float(x) for x in self.logprobs(p, c)]
                for p, c in zip(prompts, completions, strict=True)
            ]
            self.model.load_state_dict(now)

        order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
        losses, fractions, norms = [], [], []
        for _ in range(settings.epochs):
            for groups in order.tensor_split(settings.minibatches):
                rows = [int(group) * size + k for group in groups for k in range(size)]
                loss, fraction = self.update(rows, prompts, completions, advantages, old, ref)
                losses.append(loss)
                fractions.append(fraction)
                norms.append(self.clip_and_step())
        return {
            "loss": sum(losses) / len(losses),
            "clip_fraction": sum(fractions) / len(fractions),
            "clip_fraction_first": fractions[0],
            "grad_norm": sum(norms) / len(norms),
            "tokens": sum(map(len, completions)),
            "reward_mean": sum(map(sum, rewards)) / len(advantages),
            "no_signal": sum(max(group) == min(group) for group in rewards) / len(rewards),
            "truncated": sum(c[-1] not in END_IDS for c in completions) / len(completions),
        }

    def update(self, rows, prompts, completions, advantages, old, ref):
        method, mask = self.method, [[1] * len(completions[i]) for i in rows]
        self.optimizer.zero_grad()
        total, bound, places = 0.0, 0, 0
        for j, i in enumerate(rows):
            new = self.logprobs(prompts[i], completions[i])
            n, a = len(new), advantages[i]
            weight = literal.weight(mask, j, method.aggregation, self.settings.max_tokens)
            sequence = torch.exp(sum(new[t] - old[i][t] for t in range(n)) / n)
            row_loss = 0.0
            for t in range(n):
                q = sequence if method.ratio_level == "sequence" else torch.exp(new[t] - old[i][t])
                held = torch.clamp(q, 1 - method.clip_low, 1 + method.clip_high)
                value = -torch.min(q * a, held * a)
                if method.kl_coef:
                    value = value + method.kl_coef * self.kl(ref[i][t] - new[t])
                row_loss = row_loss + weight * value
                if t == 0 or method.ratio_level == "token":
                    bound += literal.binds(q.item(), a, method.clip_low, method.clip_high)
                    places += 1
            row_loss.backward()
            total += row_loss.item()
        return total, bound / places

    def kl(self, x):
        return {"k1": -x, "k2": x**2 / 2, "k3": torch.exp(x) - x - 1}[self.method.kl_kind]

    def clip_and_step(self):
        """Scales the gradient down to the largest norm allowed and takes AdamW's step; the norm
        before."""
        gradients = [parameter.grad for parameter in self.model.parameters()]
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
        for gradient in gradients:
            gradient *= min(1.0, self.settings.max_grad_norm / (norm + 1e-6))
        self.optimizer.step()
        return norm


WORD = {number: word for word, number in ID.items()}
SILENT = {"<pad>", "<end>", "<unk>"}  # special tokens, which a text leaves out


CASES = [pytest.param(method, "gpt2", 1e-9, id=name) for name, method in AND_KL.items()]
CASES += [
    pytest.param(AND_KL[name], "llama", 1e-5, id=f"{name}, Llama")
    for name in ("Dr. GRPO", "GSPO with KL")
]


@pytest.mark.parametrize("method, family, tolerance", CASES)
def test_two_steps_equal_those_written_out(problems, method, family, tolerance, all_in_float64):
    """Weights and records, in float64, after two rollouts with four updates each. One group in
    three has no signal."""
    settings = replace(
        SMALL, steps=2, temperature=0.8, weight_decay=0.1, max_grad_norm=0.5, decay_steps=3, seed=4
    )
    policy, reference = (make_tiny(family, seed=1, dtype=torch.float64) for _ in range(2))
    trainer = LiteralTrainer(reference, problems, method, settings, letters_of_some)
    start = weights(reference)
    records = train(policy, problems, method, settings, letters_of_some, stages=all_in_float64)
    for step, record in enumerate(records, start=1):
        expected = trainer.step(step)
        for name, value in expected.items():
            assert getattr(record, name) == pytest.approx(value, rel=1e-6, abs=1e-7), (step, name)
        assert (weights(policy) - weights(reference)).abs().max() < tolerance
    assert (weights(reference) - start).abs().max() > 1e-2, (
        "the weights must have moved far more than the tolerance"
    )
    assert 0 < expected["no_signal"] < 1 or step == 2
    assert expected["truncated"] > 0, (
        "S4: rows that were cut off are in the baseline and in the loss"
    )


def test_the_steps_written_out_clip_something(problems):
    """The comparison above is about the clip too: some places are clipped, for tokens and for
    sequences."""
    for method in (GRPO, GSPO):
        settings = replace(SMALL, steps=1, temperature=0.8, seed=4)
        records = run(make_tiny(seed=1), problems, method, settings, letters_of_some)
        assert 0 < records[0].clip_fraction < 1


# --- S10 and S11: what the ratios start from ------------------------------------------------------


@every_method
def test_s10_no_place_is_clipped_before_the_first_update(policy, problems, method):
    for record in run(policy, problems, method):
        assert record.clip_fraction_first == 0.0


@pytest.mark.parametrize(
    "level, micro_batch_rows", [("token", None), ("sequence", None), ("token", 3), ("token", 8)]
)
def test_s10_the_ratio_before_the_first_update_is_exactly_1(
    any_policy, problems, level, micro_batch_rows
):
    """With a clip range of no width every ratio counts that is not 1 to the last bit. The model is
    set to dropout before, and sampling at another temperature than 1."""
    method = replace(GRPO, ratio_level=level, clip_low=0.0, clip_high=0.0)
    settings = replace(SMALL, steps=2, temperature=0.7, micro_batch_rows=micro_batch_rows)
    any_policy.model.train()
    records = run(any_policy, problems, method, settings)
    assert [record.clip_fraction_first for record in records] == [0.0] * 2
    assert all(record.clip_fraction > 0 for record in records), (
        "after the first update there are some"
    )


def test_s10_the_sampler_s_log_probs_would_not_do(policy, problems):
    """What decoding with a cache saw differs in the last digits; it is kept as a diagnostic
    alone."""
    records = run(make_tiny(), problems, replace(GRPO, clip_low=0.0, clip_high=0.0))
    assert all(0 < record.sampler_gap < 1e-4 for record in records)

    def from_the_sampler(learner, minibatches, **options):
        score_before_updates(learner, minibatches, **options)
        for minibatch in minibatches:
            for micro in minibatch.micro:
                micro.logp_old = micro.logp_sampler

    stages = Stages(score_before=from_the_sampler)
    records = run(policy, problems, replace(GRPO, clip_low=0.0, clip_high=0.0), stages=stages)
    assert max(record.clip_fraction_first for record in records) > 0


def test_s10_old_log_probs_are_constants(policy, problems):
    batch = problems_of_step(problems, 1, SMALL)
    rollout = sample_step(policy, batch, 1, SMALL)
    rewards = score_rewards(rollout, batch, letters)
    minibatches = make_minibatches(rollout, rewards, GRPO, SMALL, 1)
    score_before_updates(make_learner(policy, replace(GRPO, kl_coef=0.1), SMALL), minibatches)
    for micro in (micro for minibatch in minibatches for micro in minibatch.micro):
        assert not micro.logp_old.requires_grad and not micro.logp_ref.requires_grad
        assert torch.equal(micro.logp_old, micro.score(policy.model)[0].detach())


@pytest.mark.parametrize("rows", [None, 3])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_s10_the_first_update_s_own_log_probs_are_those_of_scoring_before_it(
    problems, family, rows
):
    """Bit for bit, also in several micro-batches: records and weights are those of a run that
    scores everything."""
    settings = replace(SMALL, micro_batch_rows=rows)
    saving, scoring = make_tiny(family), make_tiny(family)
    records = run(saving, problems, GRPO, settings, letters_of_some)

    def everything(learner, minibatches, first):
        score_before_updates(learner, minibatches, first=True)

    stages = Stages(score_before=everything)
    again = run(scoring, problems, GRPO, settings, letters_of_some, stages=stages)
    assert without_seconds(records) == without_seconds(again)
    assert torch.equal(weights(saving), weights(scoring))


def test_s11_weights_are_float32_by_default():
    assert inspect.signature(models.load_policy).parameters["dtype"].default is torch.float32


def test_s11_optimizer_state_is_float32(policy, problems, tmp_path):
    run(policy, problems, settings=replace(SMALL, steps=1), checkpoint_dir=tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    states = saved["optimizer"]["state"].values()
    assert len(states) == len(list(policy.model.parameters()))
    for state in states:
        assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in saved["model"].values())


# --- S17: micro-batches and rows that are left out ------------------------------------------------


def after_a_run(
    problems, method, stages, micro_batch_rows=None, family="gpt2", reward=letters_of_some, steps=1
):
    """Weights and records of a run in float64, with a reward that gives some groups no signal.
    stages: `all_in_float64`."""
    policy = make_tiny(family, dtype=torch.float64)
    settings = replace(
        SMALL, steps=steps, epochs=3, minibatches=1, micro_batch_rows=micro_batch_rows
    )
    records = run(policy, problems, method, settings, reward, stages=stages)
    return weights(policy), records


@pytest.mark.parametrize("method, family, tolerance", CASES)
def test_s17_micro_batches_of_any_size_give_the_same_model(
    problems, method, family, tolerance, all_in_float64
):
    """1 and 3 rows do not share prompts, 3 do not divide a group, 8 are two whole groups."""
    whole, records = after_a_run(problems, method, all_in_float64, None, family)
    assert (whole - weights(make_tiny(family, dtype=torch.float64))).abs().max() > 1e-2
    for rows in (1, 3, 8):
        split, split_records = after_a_run(problems, method, all_in_float64, rows, family)
        assert (split - whole).abs().max() < tolerance, rows
        for one, two in zip(records, split_records, strict=True):
            for name in (
                "loss",
                "clip_fraction",
                "clip_low",
                "clip_high",
                "grad_norm",
                "entropy",
                "kl",
            ):
                assert getattr(one, name) == pytest.approx(
                    getattr(two, name), rel=1e-6, abs=1e-9
                ), name


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_s17_holds_in_float32_to_its_precision(policy, problems, rows):
    """One update, as readers run it: the gradient's norm and the model."""
    settings = replace(SMALL, steps=1, epochs=1, minibatches=1)
    whole, records = make_tiny(), []
    records += run(whole, problems, settings=settings)
    records += run(policy, problems, settings=replace(settings, micro_batch_rows=rows))
    assert records[0].grad_norm == pytest.approx(records[1].grad_norm, rel=1e-5)
    difference = (weights(whole) - weights(policy)).abs()
    assert (
        difference.max() < 0.02 * settings.learning_rate
        and difference.mean() < 1e-5 * settings.learning_rate
    )


def nothing_without_signal(stages):
    return replace(stages, no_signal=lambda rewards: torch.zeros(len(rewards), dtype=torch.bool))


@every_method
def test_s17_rows_without_signal_may_be_left_out(problems, method, all_in_float64):
    """Leaving groups without signal out of the computation gives the model that all rows give."""
    left_out, records = after_a_run(problems, method, all_in_float64)
    assert 0 < records[0].no_signal < 1
    everything, all_records = after_a_run(problems, method, nothing_without_signal(all_in_float64))
    assert (left_out - everything).abs().max() < 1e-9
    for one, two in zip(records, all_records, strict=True):
        for name in ("loss", "clip_fraction", "grad_norm"):
            assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-5, abs=1e-7), name


def test_s17_leaving_out_a_whole_first_rollout_changes_nothing_later(problems, all_in_float64):
    """Equal rewards in the first step, unequal ones in the second. AdamW counts its steps, also
    those whose gradient is
    0: whether rows are computed or left out must not show."""

    def one_by_one():
        calls = iter(range(10**6))
        return lambda text, gold: 1.0 if next(calls) < 16 else letters(text, gold)

    left_out, records = after_a_run(problems, GRPO, all_in_float64, reward=one_by_one(), steps=2)
    assert records[0].no_signal == 1 and records[1].no_signal < 1
    stages = nothing_without_signal(all_in_float64)
    everything, _ = after_a_run(problems, GRPO, stages, reward=one_by_one(), steps=2)
    assert (left_out - everything).abs().max() < 1e-9


def counting_rows(counts):
    """Stages that add to `counts` how many rows each forward pass of the trainer has."""

    def counted(model, prompt_ids, *rest):
        counts.append(len(prompt_ids))
        return score_tokens(model, prompt_ids, *rest)

    return Stages(score=counted)


def test_rows_without_signal_are_left_out_unless_there_is_a_kl_term(problems):
    settings = replace(SMALL, steps=1, epochs=1, minibatches=1, track_kl=False)

    first = problems_of_step(problems, 1, settings)[0]

    def reward(text, gold):
        return letters(text, gold) if gold == first.answer else 0.0

    counts = []
    run(make_tiny(), problems, GRPO, settings, reward, stages=counting_rows(counts))
    assert counts == [4], "the update of one group, whose own log-probs are the old ones"
    counts.clear()
    run(
        make_tiny(),
        problems,
        replace(GRPO, kl_coef=0.1),
        settings,
        reward,
        stages=counting_rows(counts),
    )
    assert counts == [16, 16], "reference and update, of all four groups"


@every_method
def test_equal_rewards_leave_the_model_exactly_as_it_is(policy, problems, method):
    before = weights(policy)
    (record,) = run(policy, problems, method, replace(SMALL, steps=1), lambda text, gold: 0.8)
    assert torch.equal(weights(policy), before)
    assert record.no_signal == 1 and record.loss == 0 and record.grad_norm == 0
    assert record.token_log_ratio is None and record.entropy is None and record.kl is None
    assert record.clip_fraction == 0 and record.sampler_gap == 0


def test_equal_rewards_with_a_kl_term_hold_the_model_to_its_start(policy, problems):
    """At the start the KL's gradient is 0 too (k3), but nothing is skipped: there is something to
    report."""
    (record,) = run(
        policy,
        problems,
        replace(GRPO, kl_coef=0.1),
        replace(SMALL, steps=1),
        lambda text, gold: 0.8,
    )
    assert record.no_signal == 1
    assert (
        record.entropy > 0
        and record.kl == 0
        and record.token_log_ratio.count == 2 * 0 + record.tokens
    )


def test_a_kl_term_pulls_back_to_the_start(problems):
    """A run with a large coefficient stays nearer to the start model than one without."""
    drift = {}
    for coefficient in (0.0, 3.0):
        records = run(
            make_tiny(), problems, replace(GRPO, kl_coef=coefficient), replace(SMALL, steps=5)
        )
        drift[coefficient] = records[-1].kl
    assert 0 < drift[3.0] < 0.7 * drift[0.0]


def test_every_row_is_in_one_mini_batch_and_counts_in_its_totals(policy, problems):
    settings = replace(SMALL, prompts_per_step=5, minibatches=3)
    batch = problems_of_step(problems, 1, settings)
    rollout = sample_step(policy, batch, 1, settings)
    rewards = score_rewards(rollout, batch, letters)
    expected = group_advantages(rewards).flatten()
    rows = sorted(zip(rollout.completion_ids.tolist(), expected.tolist(), strict=True))
    found = []
    for minibatch in make_minibatches(rollout, rewards, replace(GRPO, kl_coef=0.1), settings, 1):
        assert minibatch.total_rows in (4, 8), "whole groups, spread evenly"
        assert minibatch.total_rows == sum(len(micro.mask) for micro in minibatch.micro)
        assert minibatch.total_tokens == sum(int(micro.mask.sum()) for micro in minibatch.micro)
        for micro in minibatch.micro:
            assert micro.mask[:, -1].any() and micro.prompt_mask[:, 0].any(), (
                "no column is padding in every row"
            )
            for ids, mask, advantage in zip(
                micro.completion_ids, micro.mask, micro.advantages, strict=True
            ):
                padding = [policy.pad_id] * (settings.max_tokens - len(ids))
                found.append((ids.tolist() + padding, advantage.item()))
                assert mask.sum() == (
                    torch.isin(ids, torch.tensor(END_IDS)).cumsum(0) == 0
                ).sum() + (torch.isin(ids, torch.tensor(END_IDS)).any())
    assert sorted(found) == rows


def test_s4_a_truncated_row_stays_in_the_baseline(policy, problems):
    """Rows that were cut off earn 0 here, the others 1. Both kinds have an advantage, and they add
    up to 0."""
    batch = problems_of_step(problems, 1, SMALL)
    rollout = sample_step(policy, batch, 1, SMALL)
    rewards = (~rollout.truncated).float().view(4, 4)
    minibatches = make_minibatches(rollout, rewards, DR_GRPO, replace(SMALL, minibatches=1), 1)
    advantages = torch.cat([micro.advantages for micro in minibatches[0].micro])
    assert (advantages < 0).any() and (advantages > 0).any()
    assert torch.allclose(advantages.view(-1, 4).sum(dim=1), torch.zeros(1))
    assert len(advantages) == 4 * int(((rewards.sum(1) > 0) & (rewards.sum(1) < 4)).sum())


# --- seeds ----------------------------------------------------------------------------------------


def heard(texts):
    """A reward that writes down what it is asked."""

    def reward(text, gold):
        texts.append((text, gold))
        return letters(text, gold)

    return reward


@THREE
def test_the_same_seed_gives_the_same_run_bit_for_bit(problems, method):
    policies = make_tiny(), make_tiny()
    settings = replace(SMALL, steps=2)
    one, two = (
        run(policy, problems, method, settings, eval_problems=problems) for policy in policies
    )
    assert without_seconds(one) == without_seconds(two)
    assert torch.equal(weights(policies[0]), weights(policies[1]))


def test_another_seed_gives_another_run(problems):
    said = [], []
    for seed in (0, 1):
        run(make_tiny(), problems, settings=replace(SMALL, seed=seed), reward=heard(said[seed]))
    assert said[0][:16] != said[1][:16]


def test_another_method_meets_the_same_prompts_and_the_same_first_rollout(problems):
    said = {}
    for name, method in METHODS.items():
        said[name] = []
        run(
            make_tiny(),
            problems,
            method,
            replace(SMALL, steps=2, learning_rate=0.03),
            heard(said[name]),
        )
    golds = {name: [gold for _, gold in pairs] for name, pairs in said.items()}
    for name in METHODS:
        assert golds[name] == golds["GRPO"]
        assert said[name][:16] == said["GRPO"][:16]
    assert len({tuple(pairs) for pairs in said.values()}) == len(METHODS), (
        "and then go their own ways"
    )


def test_a_run_leaves_torch_s_own_random_state_alone(policy, problems):
    """Nor does it depend on it: a reader may draw numbers between two steps."""
    before = torch.get_rng_state()
    records = run(policy, problems)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    random.seed(99)
    assert without_seconds(run(make_tiny(), problems)) == without_seconds(records)


@pytest.mark.parametrize("per_step", [1, 4, 6, 7, 13])
def test_problems_of_step_visits_every_problem_once_a_lap(problems, per_step):
    settings = replace(SMALL, prompts_per_step=per_step, minibatches=1)
    visited = [
        problem for step in range(1, 50) for problem in problems_of_step(problems, step, settings)
    ]
    epochs = [
        visited[i : i + len(problems)]
        for i in range(0, len(visited) - len(problems) + 1, len(problems))
    ]
    for epoch in epochs:
        assert sorted(epoch, key=str) == sorted(problems, key=str)
    assert len({tuple(epoch) for epoch in epochs}) > 1, "in another order each time"


def test_problems_of_step_depends_on_the_seed_and_the_step_alone(problems):
    settings = replace(SMALL, prompts_per_step=6, minibatches=1)
    assert problems_of_step(problems, 2, settings) == problems_of_step(
        problems, 2, replace(settings, max_tokens=9)
    )
    orders = {
        tuple(problems_of_step(problems, 1, replace(settings, seed=seed))) for seed in range(6)
    }
    assert len(orders) > 3


# --- does it learn? -------------------------------------------------------------------------------


def chance_of(word, policy, problems):
    """Mean probability that a completion begins with this word."""
    ids, mask = encode_prompts(
        policy, [format_prompt(policy, problem.question) for problem in problems]
    )
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=positions).logits[
            :, -1
        ]
    return float(logits.softmax(dim=-1)[:, ID[word]].mean())


@THREE
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_paid_for_becomes_more_likely_and_what_costs_less(problems, method, sign):
    word = "15" if sign > 0 else "8"  # 4 % and 16 % to start with
    policy = make_tiny()
    settings = replace(
        SMALL, steps=9, group_size=8, learning_rate=1e-2, max_tokens=2, track_kl=False
    )
    before = chance_of(word, policy, problems)
    records = run(
        policy,
        problems,
        method,
        settings,
        lambda text, gold: sign * float(text.split()[:1] == [word]),
    )
    after = chance_of(word, policy, problems)
    assert (after > 3 * before) if sign > 0 else (after < before / 3), (before, after)
    assert sum(r.reward_mean for r in records[-3:]) > sum(r.reward_mean for r in records[:3])


# --- records --------------------------------------------------------------------------------------


def test_as_many_records_as_steps(policy, problems):
    records = run(policy, problems, settings=replace(SMALL, steps=5))
    assert [record.step for record in records] == [1, 2, 3, 4, 5]
    assert {record.updates for record in records} == {4}
    total = 0
    for record in records:
        total += record.tokens
        assert record.total_tokens == total


def test_records_come_as_the_steps_are_taken(policy, problems):
    """Not all at the end: a reward function has been asked for one step's rows when its record
    comes."""
    said = []
    for k, _ in enumerate(train(policy, problems, GRPO, SMALL, heard(said)), start=1):
        assert len(said) == 16 * k


def test_a_record_says_what_the_rollout_was(policy, problems):
    said = []
    reference = make_tiny()
    record = next(train(policy, problems, GRPO, SMALL, heard(said)))
    batch = problems_of_step(problems, 1, SMALL)
    rollout = sample_step(reference, batch, 1, SMALL)
    assert [text for text, _ in said] == rollout.texts
    assert [gold for _, gold in said] == [problem.answer for problem in batch for _ in range(4)]
    verdict = judge(rollout, batch)
    rewards = torch.tensor([letters(*pair) for pair in said]).view(4, 4)
    assert record.reward_mean == pytest.approx(rewards.mean().item())
    assert record.reward_std == pytest.approx(rewards.std(dim=1).mean().item())
    assert (
        record.accuracy == verdict.accuracy and record.lenient_accuracy == verdict.lenient_accuracy
    )
    assert record.length_mean == pytest.approx(rollout.lengths.float().mean().item())
    assert record.truncated == pytest.approx(rollout.truncated.float().mean().item())
    assert record.tokens == int(rollout.mask.sum())
    assert record.length_right is None and record.length_wrong == record.length_mean, (
        "nothing is right here"
    )
    assert record.clip_unit == "tokens"
    assert record.token_log_ratio.count == record.tokens and record.sequence_log_ratio.count == 16
    assert {"generate", "score", "forward", "backward", "optimizer"} <= record.seconds.keys()


def test_lengths_of_right_and_of_wrong_completions(policy, problems):
    """A rollout in which every other completion is right, at known lengths."""
    verdicts = [i % 2 == 0 for i in range(16)]

    def verdict_made_here(*args):
        return replace(judge(*args), strict=verdicts)

    record = next(
        train(policy, problems, GRPO, SMALL, letters, stages=Stages(judge=verdict_made_here))
    )
    rollout = sample_step(make_tiny(), problems_of_step(problems, 1, SMALL), 1, SMALL)
    assert record.length_right == pytest.approx(rollout.lengths[::2].float().mean().item())
    assert record.length_wrong == pytest.approx(rollout.lengths[1::2].float().mean().item())


def test_clip_fractions_below_and_above_add_up(problems):
    """S15: below the range for a negative advantage, above it for a positive one."""
    for method in (GRPO, GSPO):
        records = run(make_tiny(), problems, method, replace(SMALL, steps=2, learning_rate=0.03))
        for record in records:
            assert record.clip_fraction == pytest.approx(
                record.clip_low + record.clip_high, abs=1e-6
            )
            assert record.clip_low > 0 and record.clip_high > 0
            assert record.clip_unit == ("tokens" if method is GRPO else "sequences")


def test_the_kl_is_0_at_the_start_and_above_0_later(problems):
    kls = [record.kl for record in run(make_tiny(), problems)]
    assert kls[0] == 0 and kls[1] > 0 and kls[2] > 0
    assert {r.kl for r in run(make_tiny(), problems, settings=replace(SMALL, track_kl=False))} == {
        None
    }


def test_the_kl_that_is_only_watched_costs_one_mini_batch(problems):
    settings = replace(SMALL, steps=1, epochs=1)
    rewards = iter([1.0, 0.0] * 8)
    counts = []
    run(
        make_tiny(),
        problems,
        GRPO,
        settings,
        lambda text, gold: next(rewards),
        stages=counting_rows(counts),
    )
    assert counts == [8, 8, 8, 8], (
        "reference of the first mini-batch, old of the second, two updates"
    )


@pytest.mark.parametrize("kl_coef", [0.0, 0.1])
def test_the_kl_is_a_mean_over_the_tokens_on_which_it_is_measured(problems, kl_coef):
    """Where the reference's log-probs lie one nat above those of the model, k3 is e - 2 on every
    token."""

    def one_nat_above(learner, minibatches, **options):
        score_before_updates(learner, minibatches, first=True)
        for micro in (micro for minibatch in minibatches for micro in minibatch.micro):
            if micro.logp_ref is not None:
                micro.logp_ref = micro.logp_old + 1

    stages = Stages(score_before=one_nat_above)
    for record in run(make_tiny(), problems, replace(GRPO, kl_coef=kl_coef), stages=stages):
        assert record.kl == pytest.approx(math.e - 2, rel=1e-5)


def test_measuring_the_kl_changes_nothing_else(problems):
    on, off = make_tiny(), make_tiny()
    run(on, problems, settings=replace(SMALL, steps=2))
    run(off, problems, settings=replace(SMALL, steps=2, track_kl=False))
    assert torch.equal(weights(on), weights(off))


def test_held_out_problems_are_evaluated_before_the_first_step_and_after_the_last(problems):
    policy, held_out = make_tiny(), [Problem("9 + 6 = ?", "15"), Problem("2 + 2 = ?", "4")]
    start = evaluate(make_tiny(), held_out, SMALL.max_tokens)
    records = run(policy, problems, settings=replace(SMALL, steps=5), eval_problems=held_out)
    assert records[0].start_eval == start
    assert [record.start_eval for record in records[1:]] == [None] * 4
    assert [record.eval is not None for record in records] == [False, True, False, True, True]
    assert records[-1].eval == evaluate(policy, held_out, SMALL.max_tokens)


def test_evaluating_changes_nothing_else(problems):
    on, off = make_tiny(), make_tiny()
    run(on, problems, settings=replace(SMALL, steps=2), eval_problems=problems)
    run(off, problems, settings=replace(SMALL, steps=2))
    assert torch.equal(weights(on), weights(off))


def test_a_record_survives_a_trip_through_json(policy, problems):
    for record in run(policy, problems, eval_problems=problems):
        assert StepRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    (empty,) = run(
        make_tiny(), problems, settings=replace(SMALL, steps=1), reward=lambda text, gold: 0.0
    )
    assert StepRecord.from_dict(json.loads(json.dumps(empty.to_dict()))) == empty


def test_a_distribution_describes_its_numbers():
    values = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    distribution = Distribution.of([values[:17], values[17:].view(-1, 3)[:, :0], values[17:]])
    ordered = sorted(values.tolist())
    assert distribution.count == sum(distribution.counts) == 5000
    assert distribution.mean == pytest.approx(sum(ordered) / 5000)
    assert distribution.std == pytest.approx(values.double().std(correction=0).item())
    assert len(distribution.counts) == BINS
    for level, quantile in zip(LEVELS, distribution.quantiles, strict=True):
        assert quantile == pytest.approx(ordered[round(level * 4999)])
    for low, high in ((-1.0, 1.0), (-0.3, 2.0), (0.5, 0.6)):
        outside = sum(value < low or value > high for value in ordered) / 5000
        assert distribution.share_outside(low, high) == pytest.approx(outside, abs=0.005)
    assert distribution.share_outside(-9, 9) == 0
    assert Distribution.of([]) is None and Distribution.of([torch.empty(0)]) is None


def test_a_distribution_of_equal_numbers():
    distribution = Distribution.of([torch.zeros(40)])
    assert (distribution.mean, distribution.std, sum(distribution.counts)) == (0, 0, 40)
    assert distribution.share_outside(-0.1, 0.1) == 0


# --- stopping at any time -------------------------------------------------------------------------


def assert_usable(policy, problems):
    """The model is finite, samples, and learns on."""
    assert weights(policy).isfinite().all()
    assert all(parameter.requires_grad for parameter in policy.model.parameters())
    rollout = sample_groups(policy, [format_prompt(policy, problems[0].question)], 4, 6)
    assert rollout.logprobs.isfinite().all()
    assert len(run(policy, problems, GSPO, replace(SMALL, steps=1))) == 1


@pytest.mark.parametrize("steps", [1, 3])
def test_breaking_out_keeps_what_was_learnt(policy, problems, steps):
    """After k steps of a longer run the model is what a run of k steps gives."""
    model, start = policy.model, weights(policy)
    for record in train(policy, problems, GRPO, replace(SMALL, steps=9), letters):
        if record.step == steps:
            break
    assert policy.model is model
    assert not torch.equal(weights(policy), start)
    shorter = make_tiny()
    run(shorter, problems, settings=replace(SMALL, steps=steps))
    assert torch.equal(weights(policy), weights(shorter))
    assert_usable(policy, problems)


def test_a_run_that_is_never_started_changes_nothing(policy, problems):
    start = weights(policy)
    train(policy, problems, GRPO, SMALL, letters)
    assert torch.equal(weights(policy), start)


def stopping_at(call, error=KeyboardInterrupt, reward=letters):
    calls = iter(range(1, 10**6))

    def interrupted(text, gold):
        if next(calls) == call:
            raise error
        return reward(text, gold)

    return interrupted


@pytest.mark.parametrize(
    "call, error",
    [
        (1, KeyboardInterrupt),
        (16, KeyboardInterrupt),
        (39, KeyboardInterrupt),
        (17, ZeroDivisionError),
    ],
)
def test_stop_while_rewarding_keeps_the_last_step(policy, problems, call, error):
    records = []
    with pytest.raises(error):
        for record in train(policy, problems, GRPO, SMALL, stopping_at(call, error)):
            records.append(record)
    done = (call - 1) // 16
    assert [record.step for record in records] == list(range(1, done + 1))
    shorter = make_tiny()
    if done:
        run(shorter, problems, settings=replace(SMALL, steps=done))
    assert torch.equal(weights(policy), weights(shorter))
    assert_usable(policy, problems)


@pytest.fixture
def states(monkeypatch):
    """The weights after each optimizer step, as it takes them."""
    taken, step = [], torch.optim.AdamW.step

    def observed(self, *args, **kwargs):
        result = step(self, *args, **kwargs)
        taken.append(
            torch.cat(
                [p.detach().flatten() for group in self.param_groups for p in group["params"]]
            ).clone()
        )
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", observed)
    return taken


def spoilt_loss(call, change):
    """Stages whose loss is changed from this call on."""
    calls = iter(range(1, 10**6))

    def spoilt(*args):
        out = losses.policy_loss(*args)
        return change(out) if next(calls) >= call else out

    return Stages(loss=spoilt)


def stop(out):
    raise KeyboardInterrupt


@pytest.mark.parametrize("call", [1, 2, 6])
def test_stop_in_the_midst_of_the_updates_keeps_the_last_of_them(policy, problems, states, call):
    start = weights(policy)
    with pytest.raises(KeyboardInterrupt):
        run(policy, problems, stages=spoilt_loss(call, stop))
    assert len(states) == call - 1
    assert torch.equal(weights(policy), states[-1] if states else start)
    assert_usable(policy, problems)


INF = float("inf")
BAD_LOSSES = {
    "infinite loss and gradient": lambda out: out._replace(loss=out.loss * INF),
    "NaN": lambda out: out._replace(loss=out.loss * float("nan")),
    "infinite gradient": lambda out: out._replace(
        loss=out.loss + (out.ratios.sum() - out.ratios.sum().detach()) * INF
    ),
    "infinite loss with a finite gradient": lambda out: out._replace(loss=out.loss + INF),
    "minus infinity with a finite gradient": lambda out: out._replace(loss=out.loss - INF),
}


@pytest.mark.parametrize("call, place", [(1, "step 1, epoch 1"), (8, "step 2, epoch 2")])
@pytest.mark.parametrize("change", BAD_LOSSES.values(), ids=BAD_LOSSES.keys())
def test_what_is_not_finite_stops_the_run_at_the_last_good_update(
    policy, problems, states, change, call, place
):
    start, records = weights(policy), []
    stages = spoilt_loss(call, change)
    with pytest.raises(
        FloatingPointError, match=f"{place}.*The weights are those of the last good update"
    ):
        for record in train(policy, problems, GRPO, SMALL, letters, stages=stages):
            records.append(record)
    assert len(records) == (call - 1) // 4
    assert len(states) == call - 1
    assert torch.equal(weights(policy), states[-1] if states else start)
    assert_usable(policy, problems)


def test_a_bad_micro_batch_after_a_good_one_leaves_no_trace(policy, problems, states):
    """The second of four micro-batches of the very first update: nothing of the first one's
    gradient is used."""
    start = weights(policy)
    stages = spoilt_loss(2, BAD_LOSSES["NaN"])
    with pytest.raises(FloatingPointError, match="step 1"):
        run(policy, problems, settings=replace(SMALL, micro_batch_rows=2), stages=stages)
    assert not states
    assert torch.equal(weights(policy), start)


@THREE
@pytest.mark.parametrize("rate", [1.0, 30.0])
def test_a_diverged_run_names_the_step_and_gives_back_the_last_good_weights(method, rate):
    """One step of such a rate makes weights with which log-probs are minus infinity or NaN."""
    policy, problems = models.load_policy("tiny"), load_problems("train")
    start = weights(policy)
    settings = TrainSettings(steps=3, prompts_per_step=8, learning_rate=rate, warmup_steps=0)
    with pytest.raises(
        FloatingPointError,
        match="^step 1, epoch 1: log-ratios are not finite. The weights are again",
    ):
        run(policy, problems, method, settings, correctness_reward)
    assert torch.equal(weights(policy), start)


def spoilt_scores(call, value):
    """Stages in which from this forward pass with a gradient on one token's log-prob is `value`."""
    calls = iter(range(1, 10**6))

    def spoilt(*args):
        logp, entropy = score_tokens(*args)
        if torch.is_grad_enabled() and next(calls) >= call:
            logp = torch.where(torch.arange(logp.numel()).view_as(logp) == 0, value, logp)
        return logp, entropy

    return Stages(score=spoilt)


@THREE
@pytest.mark.parametrize("value", [-float("inf"), float("inf"), float("nan")])
@pytest.mark.parametrize("call, place", [(2, "step 1, epoch 1"), (8, "step 2, epoch 2")])
def test_a_log_ratio_that_is_not_finite_stops_the_run(policy, problems, method, value, call, place):
    """The step's weights are given back as they were when it began. Minus infinity makes a ratio of
    0 and a finite loss."""
    shorter = make_tiny()
    records = (
        list(train(shorter, problems, method, replace(SMALL, steps=1), letters)) if call > 4 else []
    )
    stages, found = spoilt_scores(call, value), []
    with pytest.raises(
        FloatingPointError, match=f"^{place}: log-ratios are not finite. The weights are again"
    ):
        for record in train(policy, problems, method, SMALL, letters, stages=stages):
            found.append(record)
    assert without_seconds(found) == without_seconds(records)
    assert torch.equal(weights(policy), weights(shorter))
    assert_usable(policy, problems)


def test_a_rollout_that_cannot_be_sampled_names_the_step_and_gives_back_the_last_good_weights(
    policy, problems
):
    """The last update of step 2 has made weights that say nothing: those that step 2 began with are
    the last good ones."""
    taken = []

    def sample(policy, batch, step, settings):
        taken.append(weights(policy))
        if step == 3:
            raise FloatingPointError("the logits are NaN")
        return sample_step(policy, batch, step, settings)

    with pytest.raises(
        FloatingPointError, match="^step 3: the logits are NaN. The weights are again"
    ):
        run(policy, problems, stages=Stages(sample=sample))
    assert torch.equal(weights(policy), taken[1]) and not torch.equal(taken[1], taken[2])


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"prompts_per_step": 0}, "prompts_per_step must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"minibatches": 0}, "minibatches must be at least 1"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"eval_every": 0}, "eval_every must be at least 1"),
        ({"steps": -3}, "steps must be at least 1, not -3"),
        ({"group_size": 1}, "group_size must be at least 2, not 1: an advantage compares"),
        ({"group_size": 0}, "group_size must be at least 2"),
        ({"minibatches": 17}, "17 minibatches cannot be made of 16 prompts"),
        ({"temperature": 0.0}, "temperature, learning_rate and max_grad_norm must be above 0"),
        ({"learning_rate": INF}, "temperature and learning_rate must be finite"),
        ({"weight_decay": -1.0}, "weight_decay 0 or more"),
        ({"betas": (0.9, 1.0)}, "betas must be at least 0 and below 1"),
        ({"temperature": float("nan")}, "must be above 0"),
        ({"learning_rate": 0.0}, "must be above 0"),
        ({"learning_rate": -1e-4}, "must be above 0"),
        ({"learning_rate": float("nan")}, "must be above 0"),
        ({"max_grad_norm": 0.0}, "must be above 0"),
        ({"decay_steps": 0}, "decay_steps must be at least 1 or None, not 0"),
        ({"micro_batch_rows": 0}, "micro_batch_rows must be at least 1"),
        ({"seed": 2**64}, "seed must fit in 64 bits"),
        ({"seed": -(2**63) - 1}, "seed must fit in 64 bits"),
        (
            {"prompts_per_step": 99999999999},
            "at most 100000 completions of at most 1000000 tokens, not 99999999999",
        ),
        ({"group_size": 99999999999}, "at most 100000 completions"),
        ({"max_tokens": 99999999999}, "at most 1000000 tokens"),
    ],
)
def test_settings_that_make_no_run(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**changes)


@pytest.mark.parametrize("seed", [-(2**63), -1, 2**63, 2**64 - 1])
def test_every_seed_of_64_bits_makes_a_run(policy, problems, seed):
    assert len(run(policy, problems, settings=replace(SMALL, steps=1, seed=seed))) == 1


@pytest.mark.parametrize("decay_steps", [None, 1, 7, 30])
def test_the_learning_rate_falls_to_a_tenth(decay_steps):
    settings = replace(SMALL, decay_steps=decay_steps, warmup_steps=0)
    for step in range(1, 50):
        assert settings.rate(step) == pytest.approx(rate_written_out(settings, step), rel=1e-12)
    assert settings.rate(1) == settings.learning_rate
    assert settings.rate(1000) == pytest.approx(
        settings.learning_rate * (1.0 if decay_steps is None else 0.1)
    )


def test_the_learning_rate_rises_over_the_first_steps():
    settings = replace(SMALL, warmup_steps=4)
    for step in range(1, 50):
        assert settings.rate(step) == pytest.approx(rate_written_out(settings, step), rel=1e-12)
    assert settings.rate(1) == settings.learning_rate / 5
    assert settings.rate(5) == replace(settings, warmup_steps=0).rate(5)


def test_the_learning_rate_does_not_depend_on_how_many_steps_are_asked_for():
    """Or else a run that is gone on with would differ from a longer one."""
    assert [replace(SMALL, steps=9).rate(step) for step in (1, 2, 3)] == [
        SMALL.rate(step) for step in (1, 2, 3)
    ]


def test_settings_survive_a_trip_through_json():
    from dataclasses import asdict

    settings = replace(SMALL, micro_batch_rows=8)
    assert TrainSettings(**json.loads(json.dumps(asdict(settings)))) == settings


def test_the_default_settings_take_several_updates_a_rollout():
    assert TrainSettings().epochs * TrainSettings().minibatches >= 2


def test_no_problems_no_run(policy):
    with pytest.raises(ValueError, match="no problems"):
        train(policy, [], GRPO)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("eval_problems", [False, True])
def test_an_overlong_problem_is_named_before_the_first_step(problems, family, eval_problems):
    """Also one that this run would not meet, so that a longer run does not end there either."""
    long = Problem("Mia has 9 stamps . " * 20, "9")
    there = {"eval_problems": [*problems, long]} if eval_problems else {}
    with pytest.raises(
        ValueError, match="the prompt of 'Mia has 9 stamps.* tokens .*96 positions: shorten"
    ):
        train(
            make_tiny(family),
            problems if there else [*problems, long],
            GRPO,
            replace(SMALL, steps=1),
            **there,
        )


class NoPositions(torch.nn.Module):
    """A model with learned positions that is told none in training, where padding then shifts
    them."""

    def __init__(self, model):
        super().__init__()
        self.config, self.transformer, self.generation_config = (
            model.config,
            model,
            model.generation_config,
        )

    @property
    def device(self):
        return self.transformer.device

    def forward(self, position_ids=None, past_key_values=None, use_cache=True, **inputs):
        position_ids = position_ids if use_cache else None
        return self.transformer(
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **inputs,
        )


def test_one_warning_per_run_if_the_model_is_not_scored_as_it_is_sampled(problems):
    policy = make_tiny("gpt2")
    policy.model = NoPositions(policy.model)
    with pytest.warns(
        UserWarning, match="step 1: decoding and training differ by .* nats"
    ) as caught:
        records = run(policy, problems)
    assert len(records) > 1 and min(record.sampler_gap for record in records) > 0.1
    assert sum("decoding and training differ" in str(w.message) for w in caught) == 1


@pytest.mark.parametrize("compute_dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_rounding_gives_no_warning(problems, family, compute_dtype):
    policy = make_tiny(family)
    policy.compute_dtype = compute_dtype
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*decoding and training differ")
        run(policy, problems)


@pytest.mark.parametrize("method", ["grpo", "nonesuch", None])
def test_a_name_is_no_method(policy, problems, method):
    """`train` takes a method, not its name; it says so at once, with or without a checkpoint
    folder."""
    with pytest.raises((ValueError, TypeError), match="(?i)method"):
        train(policy, problems, method, SMALL)


@pytest.mark.parametrize("value", [float("nan"), INF, -INF])
def test_a_reward_that_is_not_finite_is_refused_before_any_update(policy, problems, value):
    start = weights(policy)
    with pytest.raises(
        ValueError, match="must return a finite number, not .* for the text .* and the answer"
    ):
        run(policy, problems, reward=lambda text, gold: value)
    assert torch.equal(weights(policy), start)


@pytest.mark.parametrize("value", ["1.0", None, [1.0], (1.0,)])
def test_a_reward_that_is_no_number_is_refused_before_any_update(policy, problems, value):
    start = weights(policy)
    with pytest.raises(ValueError, match="must return a finite number") as caught:
        run(policy, problems, reward=lambda text, gold: value)
    assert repr(value) in str(caught.value)
    assert torch.equal(weights(policy), start)


def test_rewards_may_be_true_and_false_or_whole_numbers(problems):
    by_kind = []
    for kind in (float, int, bool):
        policy = make_tiny()
        run(
            policy,
            problems,
            settings=replace(SMALL, steps=1),
            reward=lambda text, gold, kind=kind: kind(len(text) % 2),
        )
        by_kind.append(weights(policy))
    assert torch.equal(by_kind[0], by_kind[1]) and torch.equal(by_kind[0], by_kind[2])


def test_another_loss_takes_the_place_of_the_package_s(policy, problems):
    """A loss that only watches is called once per update and changes nothing."""
    seen = []

    def watched(method, *args):
        seen.append(method)
        return losses.policy_loss(method, *args)

    start = weights(policy)
    expected = run(policy, problems)
    trained = weights(policy)
    torch.nn.utils.vector_to_parameters(start, policy.model.parameters())
    assert without_seconds(run(policy, problems, stages=Stages(loss=watched))) == without_seconds(
        expected
    )
    assert torch.equal(weights(policy), trained)
    assert seen == [GRPO] * SMALL.steps * SMALL.epochs * SMALL.minibatches
