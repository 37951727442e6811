"""`trl_config`: TRL accepts the arguments, and with them computes the loss and gradient of the
method."""

from dataclasses import replace

import pytest

from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO, RLOO
from rlvr_helpers.study.trl import trl_config, trl_train_config
from rlvr_helpers.train_settings import TrainSettings

WIDE_GSPO = replace(GSPO, clip_low=0.05, clip_high=0.08)
METHODS = {
    "GRPO": GRPO,
    "Dr. GRPO": DR_GRPO,
    "GSPO": WIDE_GSPO,
    "DAPO loss": DAPO,
    "GRPO with k3": replace(GRPO, kl_coef=0.04),
    "unscaled, sequence ratios, token mean": replace(
        WIDE_GSPO, advantage_scale="none", aggregation="token_mean"
    ),
    "sequence ratios, constant": replace(WIDE_GSPO, aggregation="constant", kl_coef=0.1),
    "unscaled, token ratios, row means, clip-higher": replace(
        GRPO, advantage_scale="none", clip_high=0.28
    ),
}
each = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def test_the_three_methods_are_those_of_the_specification():
    assert trl_config(GRPO, 64) == {
        "scale_rewards": "group",
        "importance_sampling_level": "token",
        "epsilon": 0.2,
        "epsilon_high": 0.2,
        "loss_type": "grpo",
        "max_completion_length": 64,
        "beta": 0.0,
    }
    changed = dict(trl_config(DR_GRPO, 64).items() - trl_config(GRPO, 64).items())
    assert changed == {"scale_rewards": "none", "loss_type": "dr_grpo"}
    changed = dict(trl_config(GSPO, 64).items() - trl_config(GRPO, 64).items())
    assert changed == {
        "importance_sampling_level": "sequence",
        "epsilon": GSPO.clip_low,
        "epsilon_high": GSPO.clip_high,
    }


def test_the_kl_term_is_not_corrected():
    config = trl_config(replace(GRPO, kl_coef=0.04), 64)
    assert config["beta"] == 0.04 and config["use_bias_correction_kl"] is False


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (RLOO, "leave-one-out"),
        (replace(GRPO, kl_coef=0.1, kl_kind="k2"), "only the KL estimate k3, not k2"),
    ],
)
def test_what_trl_does_not_have_is_said(method, words):
    with pytest.raises(ValueError, match=words):
        trl_config(method, 64)


def test_a_kind_of_kl_that_is_not_used_is_no_matter():
    assert trl_config(replace(GRPO, kl_kind="k2"), 64) == trl_config(GRPO, 64)


# --- against TRL itself, with the model, trainer and inputs of the parity tests

pytest.importorskip("trl")
import test_trl_parity as parity  # noqa: E402
from test_trl_parity import build_trainer, in_float64, model_folder, one_thread, tokenizer  # noqa: E402, F401


def case_of(method):
    config = trl_config(method, parity.BUDGET)
    # the parity tests' trainer brings it
    assert config.pop("max_completion_length") == parity.BUDGET
    return parity.Case(method, config, 1.0)


@each
def test_trl_computes_the_loss_and_gradient_of_the_method(method, build_trainer, in_float64):  # noqa: F811
    case = case_of(method)
    trainer = build_trainer(case)
    inputs = parity.make_inputs(trainer, case)
    theirs, ours = (
        trainer._compute_loss(trainer.model, inputs),
        parity.our_loss(trainer, case, inputs),
    )
    assert 0.02 < float(ours.clip_fraction) < 0.7, (
        "the clip must act on some places, and not on all"
    )
    parity.close(ours.loss, theirs.detach(), 1e-12)
    expected = parity.gradients(theirs, trainer.model)
    parity.assert_same_gradients(parity.gradients(ours.loss, trainer.model), expected, 1e-6)


@pytest.mark.parametrize(
    "change", ["loss_type", "scale_rewards", "importance_sampling_level", "epsilon", "beta"]
)
def test_each_argument_matters(change, build_trainer, tokenizer, in_float64):  # noqa: F811
    """With any of them changed, TRL's loss or advantages are others: the comparison above would see
    it."""
    other = {
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
        "importance_sampling_level": "sequence",
        "epsilon": 0.05,
    }
    case = case_of(GRPO)
    changed = case._replace(config=case.config | {change: other.get(change, 0.5)})
    if change == "scale_rewards":
        first, second = (
            parity.trls_advantages(build_trainer(c), tokenizer)["advantages"].abs().max()
            for c in (case, changed)
        )
    else:
        trainer = build_trainer(changed)
        inputs = parity.make_inputs(trainer, case)
        first, second = (
            trainer._compute_loss(trainer.model, inputs),
            parity.our_loss(trainer, case, inputs).loss,
        )
    assert abs(float(first.detach()) - float(second.detach())) > 1e-6


def test_memory_settings_are_handed_on_and_a_budget_of_tokens_is_refused():
    settings = TrainSettings(gradient_checkpointing=True, eight_bit_optimizer=True)
    config = trl_train_config(GRPO, settings)
    assert (config["gradient_checkpointing"], config["optim"]) == (True, "adamw_bnb_8bit")
    assert trl_train_config(GRPO, TrainSettings())["optim"] == "adamw_torch_fused"
    with pytest.raises(ValueError, match="give micro_batch_rows in place of micro_batch_tokens"):
        trl_train_config(GRPO, TrainSettings(micro_batch_tokens=4096))
