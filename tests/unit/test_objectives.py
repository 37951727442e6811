"""A method with an objective of its own: in the loss, in training, in files, and over several
workers."""

import json
import math
from dataclasses import replace

import pytest
import torch
from literal import ragged_batch
from small_policies import make_tiny, some_problems

from rlvr_helpers import plots
from rlvr_helpers.clipping import clip_binds, clipped_objective
from rlvr_helpers.compare import main, summary
from rlvr_helpers.engine.error_notes import with_notes
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import GRPO, GSPO, Method, method_from_text
from rlvr_helpers.records import StepRecord
from rlvr_helpers.study.comparison import Comparison
from rlvr_helpers.study.objectives import CISPO, SAPO
from rlvr_helpers.study.runs import Run, load_run, save_run
from rlvr_helpers.study.trl import trl_config
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

SMALL = TrainSettings(steps=2, prompts_per_step=4, group_size=4, minibatches=2, max_tokens=6)


def letters(text, gold):
    return len(text) % 4 / 4


def as_clipped(ratios, advantages, mask):
    return clipped_objective(ratios, advantages, 0.2, 0.2)


def as_clip_share(ratios, advantages, mask):
    return clip_binds(ratios, advantages, 0.2, 0.2)


def policy_gradient(ratios, advantages, mask):
    return ratios * advantages


def run(method, **options):
    policy = make_tiny()
    records = list(train(policy, some_problems(), method, SMALL, letters, **options))
    return records, torch.cat([p.flatten() for p in policy.model.parameters()])


@pytest.mark.parametrize("usual", [GRPO, replace(GSPO, clip_low=0.2, clip_high=0.2)])
def test_the_clip_written_as_ones_own_objective_is_the_same_method(usual):
    own = replace(usual, objective=as_clipped, clip_share=as_clip_share)
    (mine, my_weights), (theirs, their_weights) = run(own), run(usual)
    assert torch.equal(my_weights, their_weights)
    assert [replace(r, seconds={}) for r in mine] == [replace(r, seconds={}) for r in theirs]


def test_without_a_clip_share_none_is_recorded(tmp_path):
    method = replace(GRPO, name="No clip", objective=policy_gradient)
    records, _ = run(method)
    shares = [(r.clip_fraction, r.clip_low, r.clip_high, r.clip_fraction_first) for r in records]
    assert shares == [(None,) * 4] * 2
    assert "clip" not in summary(records[0])
    assert StepRecord.from_dict(json.loads(json.dumps(records[0].to_dict()))) == records[0]
    assert plots.dashboard(records, 2, method) and plots.clip_fraction_curves({"x": [records]})
    saved = load_run(save_run(Run(method, SMALL, records, {}), tmp_path / "run.json"))
    assert saved.method == replace(method, objective=f"{__name__}:policy_gradient")
    assert saved.method.functions()[0] is not None


def test_what_a_method_of_the_course_writes_is_unchanged():
    assert GRPO.to_dict() == {
        "name": "GRPO",
        "advantage_scale": "std",
        "ratio_level": "token",
        "clip_low": 0.2,
        "clip_high": 0.2,
        "aggregation": "sequence_mean",
        "kl_coef": 0.0,
        "kl_kind": "k3",
    }
    assert Method(**GRPO.to_dict()) == GRPO


def test_a_changed_objective_does_not_resume_a_run(tmp_path):
    def objective(scale):
        return lambda ratios, advantages, mask: scale * ratios * advantages

    run(replace(GRPO, objective=objective(1.0)), checkpoint_dir=tmp_path)
    run(replace(GRPO, objective=objective(1.0)), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="holds a run with objective"):
        run(replace(GRPO, objective=objective(2.0)), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="holds a run with objective"):
        run(GRPO, checkpoint_dir=tmp_path)


@pytest.mark.parametrize("method", [CISPO, SAPO], ids=lambda method: method.name)
def test_the_examples_train_and_are_known_to_trl(method):
    records, weights = run(method)
    assert not torch.equal(weights, run(GRPO)[1]) and math.isfinite(records[-1].loss)
    config = trl_config(method, 64)
    assert config["loss_type"] == method.name.lower()
    assert "epsilon" not in config


def test_trl_does_not_know_an_objective_that_says_no_name():
    with pytest.raises(ValueError, match="GRPOTrainer does not know the objective of 'No clip'"):
        trl_config(replace(GRPO, name="No clip", objective=policy_gradient), 64)


@pytest.mark.parametrize(
    "values, words",
    [(1.0, "not 1.0"), (torch.zeros(3), r"not \[3\]"), (torch.zeros(()), r"not \[\]")],
)
def test_values_of_another_shape_are_refused(values, words):
    batch = ragged_batch()
    method = replace(GRPO, objective=lambda ratios, advantages, mask: values)
    with pytest.raises(ValueError, match=f"the objective must give .*{words}"):
        policy_loss(method, batch.new, batch.old, batch.advantages, batch.mask, 10)


@pytest.mark.parametrize(
    "own, words",
    [
        ({"objective": lambda r, a, m: (r * a).detach()}, "do not depend on the ratios"),
        ({"objective": lambda r, a, m: (r * a).long()}, "do not depend on the ratios"),
        ({"objective": lambda r, a, m: (r * a).detach().numpy()}, "in a tensor"),
        ({"clip_share": lambda r, a, m: (r > 1.2).float()}, "True or False.*float32"),
        ({"clip_share": lambda r, a, m: (r > 1.2).any()}, r"True or False.*not \[\]"),
        ({"clip_share": lambda r, a, m: None}, "True or False.*not None"),
    ],
)
@pytest.mark.parametrize("usual", [GRPO, GSPO])
def test_values_that_teach_nothing_and_shares_that_count_nothing_are_refused(usual, own, words):
    batch = ragged_batch()
    method = replace(usual, **{"objective": policy_gradient} | own)
    new = batch.new.detach().requires_grad_()
    with pytest.raises(ValueError, match=words):
        policy_loss(method, new, batch.old, batch.advantages, batch.mask, 10)


@pytest.mark.parametrize("what", ["objective", "clip_share"])
def test_an_error_of_ones_own_objective_says_its_line(what):
    def broken(ratios, advantages, mask):
        return {}["x"]

    batch = ragged_batch()
    method = replace(GRPO, **{"objective": policy_gradient} | {what: broken})
    with pytest.raises(KeyError) as caught:
        policy_loss(method, batch.new, batch.old, batch.advantages, batch.mask, 10)
    line = broken.__code__.co_firstlineno + 1
    of = f"KeyError of the {what.replace('_', ' ')}"
    assert f"(test_objectives.py, line {line}, {of})" in with_notes(caught.value)


def test_an_objective_sees_a_ratio_of_1_where_the_mask_is_0():
    batch = ragged_batch()
    seen = []

    def objective(ratios, advantages, mask):
        seen.append((ratios, advantages, mask))
        return ratios * advantages

    for method in (GRPO, GSPO):
        own = replace(method, objective=objective)
        policy_loss(own, batch.new, batch.old, batch.advantages, batch.mask, 10)
    (ratios, advantages, mask), (sequences, of_rows, _) = seen
    assert (ratios[mask == 0] == 1).all() and torch.equal(mask, batch.mask)
    assert advantages.shape == (len(mask), 1) and sequences.shape == of_rows.shape == (len(mask),)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"objective": 3}, "must be functions, or named as module:function"),
        ({"objective": "clip"}, "must be functions, or named as module:function"),
        ({"clip_share": as_clip_share}, "clip_share belongs to an objective"),
    ],
)
def test_what_is_no_objective_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(GRPO, **changes)
    named = method_from_text("name=A,objective=no_such_module:here")
    with pytest.raises(ValueError, match="there is no objective 'no_such_module:here'"):
        named.functions()


def test_several_workers_need_a_name():
    own = replace(GRPO, objective=lambda ratios, advantages, mask: ratios * advantages)
    with pytest.raises(ValueError, match="several workers import the objective by its name"):
        Comparison(methods=(own,), workers=2)
    assert Comparison(methods=(own,), workers=1)


def test_the_command_line_takes_an_objective_with_two_workers(tmp_path, capsys):
    own = "name=SAPO,objective=rlvr_helpers.study.objectives:sapo"
    small = ["prompts_per_step=4", "group_size=4", "minibatches=2", "max_tokens=12"]
    command = ["--method", own, "--methods", "grpo", "--seeds", "1", "--steps", "1"]
    command += [word for pair in small for word in ("--set", pair)]
    command += ["--eval-count", "4", "--workers", "2", "--out", str(tmp_path)]
    assert main(command) == 0, capsys.readouterr().err
    kept = load_run(tmp_path / "sapo-seed0" / "run.json").method
    assert kept.objective == "rlvr_helpers.study.objectives:sapo"
    assert main(command) == 0, "it is read back"
