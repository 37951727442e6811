"""Parity with TRL: the real `GRPOTrainer` computes its loss on a tiny random model; ours must be
the same.

The same model, tokens, old log-probs and advantages go through `GRPOTrainer._compute_loss` and, as
log-probs from a literal log-softmax, through `policy_loss`. Compared are the loss, its gradient on
every parameter, and the clip fraction, after the model has moved away from the policy that sampled,
so that the clip acts on some places.

TRL 1.16 computes log-probs in a kernel that works in float32 whatever the model's precision is. The
comparisons in float64 therefore replace that kernel (and nothing else of TRL) by a literal
log-softmax; one test leaves TRL as it is and compares to float32's precision.
"""

from collections import namedtuple
from dataclasses import replace
from functools import partial

import pytest
import torch
import trl
import trl.trainer.utils as trl_utils
from literal import close

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.losses import kl_estimate, policy_loss
from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO
from rlvr_helpers.study.objectives import CISPO, SAPO, cispo

VOCABULARY = 32
PAD, END = 0, 1
GROUP = 4
BUDGET = 10  # L_max: more than the longest completion below
PROMPT_LENGTHS = (5, 5, 5, 5, 3, 3, 3, 3)
# one completion is masked out altogether, as a truncated one may be
LENGTHS = (6, 1, 3, 0, 5, 2, 6, 4)
REWARDS = (1.0, 0.0, 0.0, 1.0, 0.2, 0.0, 0.9, 0.1)

# a range that binds for some of these rows, not for all
GSPO_HERE = replace(GSPO, clip_low=0.05, clip_high=0.08)
Case = namedtuple("Case", "method config temperature")
CASES = {
    "GRPO": Case(GRPO, {"loss_type": "grpo", "scale_rewards": "group", "epsilon": 0.2}, 1.0),
    "Dr. GRPO": Case(
        DR_GRPO, {"loss_type": "dr_grpo", "scale_rewards": "none", "epsilon": 0.2}, 1.0
    ),
    "GSPO": Case(
        GSPO_HERE,
        {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon": GSPO_HERE.clip_low,
            "epsilon_high": GSPO_HERE.clip_high,
        },
        1.0,
    ),
    "DAPO loss": Case(DAPO, {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28}, 1.0),
    "GRPO at temperature 0.7": Case(GRPO, {"loss_type": "grpo", "epsilon": 0.2}, 0.7),
    "GRPO with k3": Case(
        replace(GRPO, kl_coef=0.04),
        {"loss_type": "grpo", "epsilon": 0.2, "beta": 0.04, "use_bias_correction_kl": False},
        1.0,
    ),
    "GSPO with k3": Case(
        replace(GSPO_HERE, kl_coef=0.3),
        {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon": GSPO_HERE.clip_low,
            "epsilon_high": GSPO_HERE.clip_high,
            "beta": 0.3,
            "use_bias_correction_kl": False,
        },
        1.0,
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
# Where rows of one optimizer step are split, all losses must add up: the four different
# aggregations.
FOUR = ("GRPO", "Dr. GRPO", "GSPO", "DAPO loss")


# --- a model, a tokenizer and a trainer of one's own, all made here
# ---------------------------------


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A random Llama of about 10,000 parameters in float64, as a folder: for a KL term TRL wants a
    path."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        tie_word_embeddings=False,
        pad_token_id=PAD,
        bos_token_id=None,
        eos_token_id=END,
    )
    folder = tmp_path_factory.mktemp("random_llama")
    LlamaForCausalLM(config).double().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": PAD, "<end>": END, "<unk>": 2} | {f"w{i}": i for i in range(3, VOCABULARY)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<end>",
        unk_token="<unk>",
        padding_side="left",
    )


@pytest.fixture
def build_trainer(model_folder, tokenizer, tmp_path):
    from datasets import Dataset
    from transformers import LlamaForCausalLM

    def build(case, rewards=REWARDS, rows=8, **more):
        config = {
            "num_generations": GROUP,
            "per_device_train_batch_size": rows,
            **case.config,
            **more,
        }
        trainer = trl.GRPOTrainer(
            model=LlamaForCausalLM.from_pretrained(model_folder, dtype=torch.float64),
            args=trl.GRPOConfig(
                output_dir=str(tmp_path),
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                report_to="none",
                max_completion_length=BUDGET,
                temperature=case.temperature,
                **config,
            ),
            reward_funcs=lambda completions, **_: list(rewards[: len(completions)]),
            train_dataset=Dataset.from_dict({"prompt": ["w3 w4 w5 w6 w7", "w8 w9 w10"]}),
            processing_class=tokenizer,
        )
        trainer.model.train()
        # Set by the training loop, which does not run here.
        trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
        return trainer

    return build


class LiteralLogProbs:
    """In the place of TRL's kernel: log-softmax of the whole vocabulary, in the model's own
    precision."""

    @staticmethod
    def apply(hidden, weight, bias, targets, temperature, *_):
        logits = hidden @ weight.T if bias is None else hidden @ weight.T + bias
        log_probs = (logits / temperature).log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(1, targets.unsqueeze(1)).squeeze(1), entropy, None, None, None


@pytest.fixture
def in_float64(monkeypatch):
    monkeypatch.setattr(trl_utils, "_ChunkedLogProbFunction", LiteralLogProbs)


# --- the inputs


def random_tokens(lengths, width, side, generator):
    ids = torch.randint(3, VOCABULARY, (len(lengths), width), generator=generator)
    place = torch.arange(width).expand(len(lengths), width)
    limits = torch.tensor(lengths).unsqueeze(1)
    mask = (place < limits) if side == "right" else (place >= width - limits)
    return ids.masked_fill(~mask, PAD), mask.long()


def log_probs(model, inputs, temperature):
    """Log-probs of the completions, [B, T], by the book: all logits, one position earlier,
    log-softmax.

    Position ids are left to the model, as TRL leaves them (a rotary model does not mind)."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    logits = model(input_ids=ids, attention_mask=attention).logits[:, :-1] / temperature
    chosen = logits.log_softmax(-1).gather(2, ids[:, 1:].unsqueeze(2)).squeeze(2)
    return chosen[:, -inputs["completion_ids"].shape[1] :]


@torch.no_grad()
def move(model, size, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter += size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def make_inputs(trainer, case):
    """What `_compute_loss` takes: ragged rows with old log-probs, reference and advantages. The
    model moves
    twice: after the reference was frozen, and after the completions were sampled."""
    generator = torch.Generator().manual_seed(0)
    prompt_ids, prompt_mask = random_tokens(PROMPT_LENGTHS, max(PROMPT_LENGTHS), "left", generator)
    completion_ids, completion_mask = random_tokens(LENGTHS, max(LENGTHS), "right", generator)
    inputs = {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": completion_mask,
    }
    rewards = torch.tensor(REWARDS, dtype=torch.float64).view(-1, GROUP)
    with torch.no_grad():
        inputs["ref_per_token_logps"] = log_probs(trainer.model, inputs, case.temperature)
        move(trainer.model, 0.02, seed=1)
        inputs["old_per_token_logps"] = log_probs(trainer.model, inputs, case.temperature)
        move(trainer.model, 0.02, seed=2)
    inputs["advantages"] = group_advantages(rewards, case.method.advantage_scale).flatten()
    inputs["num_items_in_batch"] = completion_mask.sum()
    return inputs


def rows_of(inputs, rows):
    """A micro-batch: some rows; what belongs to the whole batch stays."""
    return {name: value[rows] if value.dim() else value for name, value in inputs.items()}


def our_loss(trainer, case, inputs, **totals):
    return policy_loss(
        case.method,
        log_probs(trainer.model, inputs, case.temperature),
        inputs["old_per_token_logps"],
        inputs["advantages"],
        inputs["completion_mask"],
        BUDGET,
        logp_ref=inputs["ref_per_token_logps"] if case.method.kl_coef else None,
        **totals,
    )


def gradients(loss, model):
    """Of every parameter, in one vector each, by name."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def assert_same_gradients(actual, expected, relative):
    """Each parameter's difference, relative to that parameter's gradient."""
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.norm() > 0, name
        error = (actual[name] - gradient).norm() / gradient.norm()
        assert error < relative, f"{name}: off by {error:.1e}"


# --- the loss and its gradient


@every_case
def test_loss_and_gradient_are_trls_in_float64(case, build_trainer, in_float64):
    trainer = build_trainer(case)
    inputs = make_inputs(trainer, case)
    theirs = trainer._compute_loss(trainer.model, inputs)
    ours = our_loss(trainer, case, inputs)
    assert theirs.dtype == torch.float64
    assert abs(theirs.item()) > 1e-3
    assert 0.05 < float(ours.clip_fraction) < 0.6, (
        "the clip must act on some places, and not on all"
    )
    close(ours.loss, theirs.detach(), 1e-12)
    assert_same_gradients(
        gradients(ours.loss, trainer.model), gradients(theirs, trainer.model), 1e-6
    )


# Objectives of one's own. Ratios here stay near 1, so CISPO's weights are cut off at 1.02.
OWN = {
    "CISPO": Case(
        replace(CISPO, objective=partial(cispo, high=1.02), clip_share=None),
        {"loss_type": "cispo", "epsilon_high": 1.02},
        1.0,
    ),
    "SAPO": Case(SAPO, SAPO.objective.trl, 1.0),
}


@pytest.mark.parametrize("case", OWN.values(), ids=OWN.keys())
def test_an_objective_of_ones_own_has_trls_value_and_gradient(case, build_trainer, in_float64):
    """TRL's CISPO multiplies by the log-prob, ours by the log-ratio: the value differs by the
    weighted old log-probs, which are constants for the gradient."""
    trainer = build_trainer(case)
    inputs = make_inputs(trainer, case)
    theirs = trainer._compute_loss(trainer.model, inputs)
    ours = our_loss(trainer, case, inputs)
    mask = inputs["completion_mask"]
    constant = 0.0
    if case.config["loss_type"] == "cispo":
        assert ((ours.ratios > 1.02) & mask.bool()).any() and (ours.ratios < 1.02).any()
        weights = ours.ratios.detach().clamp(max=1.02) * inputs["advantages"][:, None]
        constant = (weights * inputs["old_per_token_logps"] * mask).sum() / mask.sum()
        assert abs(constant) > 1e-3
    assert ours.clip_fraction is None
    close(ours.loss, theirs.detach() + constant, 1e-12)
    assert_same_gradients(
        gradients(ours.loss, trainer.model), gradients(theirs, trainer.model), 1e-6
    )


@every_case
def test_gradient_on_the_log_probs_is_trls(case, build_trainer, in_float64, monkeypatch):
    """Closer than any parameter can show it, since Llama's norms compute in float32 in every
    model."""
    trainer = build_trainer(case)
    inputs = make_inputs(trainer, case)
    seen = []
    original = trainer._get_per_token_logps_and_entropies

    def remember(*args, **kwargs):
        out = original(*args, **kwargs)
        seen.append(out[0])
        return out

    monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", remember)
    theirs = trainer._compute_loss(trainer.model, inputs)
    (their_gradient,) = torch.autograd.grad(theirs, seen[0])
    new = log_probs(trainer.model, inputs, case.temperature).detach().requires_grad_()
    reference = inputs["ref_per_token_logps"] if case.method.kl_coef else None
    ours = policy_loss(
        case.method,
        new,
        inputs["old_per_token_logps"],
        inputs["advantages"],
        inputs["completion_mask"],
        BUDGET,
        logp_ref=reference,
    )
    (our_gradient,) = torch.autograd.grad(ours.loss, new)
    close(our_gradient, their_gradient * inputs["completion_mask"], 1e-13)
    assert ((our_gradient == 0) & (inputs["completion_mask"] == 1)).any() or case.method.kl_coef
    assert (our_gradient != 0).sum() >= 10


@every_case
def test_loss_and_gradient_are_trls_as_it_comes(case, build_trainer):
    """Nothing of TRL replaced: equal as far as its float32 log-probs go, and that is 1e-6."""
    trainer = build_trainer(case)
    inputs = make_inputs(trainer, case)
    theirs = trainer._compute_loss(trainer.model, inputs)
    ours = our_loss(trainer, case, inputs)
    close(ours.loss, theirs.detach(), 1e-6)
    assert_same_gradients(
        gradients(ours.loss, trainer.model), gradients(theirs, trainer.model), 1e-6
    )


@pytest.mark.parametrize("name", FOUR)
def test_on_the_first_update_of_a_rollout_too(name, build_trainer, in_float64):
    """Without old log-probs TRL takes the current ones, detached; so may we. Nothing is clipped
    then."""
    case = CASES[name]
    trainer = build_trainer(case)
    inputs = make_inputs(trainer, case)
    del inputs["old_per_token_logps"]
    theirs = trainer._compute_loss(trainer.model, inputs)
    new = log_probs(trainer.model, inputs, case.temperature)
    ours = policy_loss(
        case.method, new, new, inputs["advantages"], inputs["completion_mask"], BUDGET
    )
    assert float(ours.clip_fraction) == 0.0
    close(ours.loss, theirs.detach(), 1e-12)
    assert_same_gradients(
        gradients(ours.loss, trainer.model), gradients(theirs, trainer.model), 1e-6
    )


@pytest.mark.parametrize("name", FOUR)
def test_accumulated_micro_batches_are_trls(name, build_trainer, in_float64):
    """Four micro-batches of two rows: TRL's gradient accumulation, our totals of the whole batch,
    and the whole batch at once all give one gradient."""
    case = CASES[name]
    trainer = build_trainer(case, rows=2, gradient_accumulation_steps=4)
    inputs = make_inputs(trainer, case)
    totals = {"total_rows": len(LENGTHS), "total_tokens": sum(LENGTHS)}
    parts = [rows_of(inputs, slice(k, k + 2)) for k in range(0, len(LENGTHS), 2)]
    theirs = sum(trainer._compute_loss(trainer.model, part) for part in parts)
    each = [our_loss(trainer, case, part, **totals) for part in parts]
    ours = sum(part.loss for part in each)
    whole = our_loss(trainer, case, inputs)
    close(ours, theirs.detach(), 1e-12)
    close(ours, whole.loss.detach(), 1e-12)
    expected = gradients(theirs, trainer.model)
    assert_same_gradients(gradients(ours, trainer.model), expected, 1e-6)
    assert_same_gradients(gradients(whole.loss, trainer.model), expected, 1e-6)
    close(float(sum(part.clip_fraction for part in each)), float(whole.clip_fraction), 1e-6)


# --- where TRL differs by design, written down


def test_trls_token_mean_counts_the_tokens_of_the_rollout_not_of_the_step(
    build_trainer, in_float64
):
    """With several optimizer steps a rollout, TRL divides each by the rollout's tokens over the
    number of steps; here (S17) it is the step's own tokens. The two agree exactly when
    `total_tokens` is given so."""
    case = CASES["DAPO loss"]
    trainer = build_trainer(case, rows=4, steps_per_generation=2, gradient_accumulation_steps=1)
    inputs = make_inputs(trainer, case)
    first = rows_of(inputs, slice(0, 4))
    theirs = trainer._compute_loss(trainer.model, first)
    close(
        our_loss(trainer, case, first, total_tokens=sum(LENGTHS) / 2).loss, theirs.detach(), 1e-12
    )
    own_tokens = sum(LENGTHS[:4])
    close(
        our_loss(trainer, case, first).loss * own_tokens / (sum(LENGTHS) / 2),
        theirs.detach(),
        1e-12,
    )
    assert own_tokens != sum(LENGTHS) / 2


@pytest.mark.parametrize("name", FOUR)
def test_clip_fraction_is_trls_clip_ratio_of_a_batch(name, build_trainer, in_float64):
    """TRL's `clip_ratio/region_mean` counts what we count: places where the clip binds, of tokens,
    or of sequences for GSPO. Over several micro-batches it averages their shares, whatever their
    numbers of tokens."""
    case = CASES[name]
    trainer = build_trainer(case)
    inputs = make_inputs(trainer, case)
    trainer._compute_loss(trainer.model, inputs)
    whole = float(our_loss(trainer, case, inputs).clip_fraction)
    metrics = trainer._metrics["train"]
    close(metrics["clip_ratio/region_mean"][-1], whole, 1e-6)
    assert metrics["clip_ratio/low_mean"][-1] > 0 or metrics["clip_ratio/high_mean"][-1] > 0
    if case.method.ratio_level == "token":
        shares = []
        for rows in (slice(0, 4), slice(4, 8)):
            trainer._compute_loss(trainer.model, rows_of(inputs, rows))
            shares.append(metrics["clip_ratio/region_mean"][-1])
        assert abs(sum(shares) / 2 - whole) > 1e-3


def test_trls_logged_kl_is_a_mean_over_tokens(build_trainer, in_float64):
    """Logged as a token mean, while the loss takes the mean of row means, as ours does."""
    case = CASES["GRPO with k3"]
    trainer = build_trainer(case)
    inputs = make_inputs(trainer, case)
    trainer._compute_loss(trainer.model, inputs)
    with torch.no_grad():
        ours = our_loss(trainer, case, inputs)
        per_token = kl_estimate(
            log_probs(trainer.model, inputs, 1.0), inputs["ref_per_token_logps"], "k3"
        )
    mask = inputs["completion_mask"]
    logged = trainer._metrics["train"]["kl"][-1]
    close(logged, (per_token * mask).sum() / mask.sum(), 1e-6)
    assert abs(logged - float(ours.kl)) > 1e-4


def test_trls_bias_correction_is_another_kl_term(build_trainer, in_float64):
    """With `use_bias_correction_kl=True` TRL multiplies the KL term by the ratio: no setting of
    ours."""
    case = CASES["GRPO with k3"]
    trainer = build_trainer(case, use_bias_correction_kl=True)
    inputs = make_inputs(trainer, case)
    theirs = trainer._compute_loss(trainer.model, inputs)
    assert abs(theirs.item() - our_loss(trainer, case, inputs).loss.item()) > 1e-6


# --- advantages


def trls_advantages(trainer, tokenizer):
    """Through TRL's own path: it generates, calls the reward function, and computes advantages."""
    prompts = [{"prompt": "w3 w4 w5 w6 w7"}] * GROUP + [{"prompt": "w8 w9 w10"}] * GROUP
    return trainer._generate_and_score_completions(prompts)


@pytest.mark.parametrize(("name", "scale"), [("GRPO", "std"), ("Dr. GRPO", "none")])
def test_advantages_are_trls(name, scale, build_trainer, tokenizer):
    """Including the 1e-4 added to the unbiased std. TRL keeps rewards in float32."""
    out = trls_advantages(build_trainer(CASES[name]), tokenizer)
    rewards = torch.tensor(REWARDS).view(-1, GROUP)
    close(group_advantages(rewards, scale).flatten(), out["advantages"], 1e-6)
    without_epsilon = (rewards - rewards.mean(1, keepdim=True)) / rewards.std(1, keepdim=True)
    if scale == "std":
        assert (without_epsilon.flatten() - out["advantages"]).abs().max() > 1e-5


def test_equal_rewards_are_exactly_zero_here_and_not_quite_in_trl(build_trainer, tokenizer):
    """S12: eight rewards of 0.8 in float32. TRL gives every row the same advantage, small but not
    0."""
    rewards = (0.8,) * 8
    theirs = trls_advantages(
        build_trainer(CASES["GRPO"], rewards=rewards, num_generations=8), tokenizer
    )
    assert torch.equal(group_advantages(torch.tensor([rewards])), torch.zeros(1, 8))
    assert 0 < theirs["advantages"].abs().max() < 1e-2


def test_trls_own_rollout_gives_the_same_loss(build_trainer, tokenizer, in_float64):
    """Inputs not made here but sampled, padded, masked and scored by TRL."""
    case = CASES["GRPO"]
    trainer = build_trainer(case)
    inputs = trls_advantages(trainer, tokenizer)
    with torch.no_grad():
        inputs["old_per_token_logps"] = log_probs(trainer.model, inputs, 1.0)
        inputs["ref_per_token_logps"] = None
        move(trainer.model, 0.02, seed=2)
    theirs = trainer._compute_loss(trainer.model, inputs)
    ours = our_loss(trainer, case, inputs)
    close(ours.loss, theirs.detach(), 1e-12)
    assert_same_gradients(
        gradients(ours.loss, trainer.model), gradients(theirs, trainer.model), 1e-6
    )
