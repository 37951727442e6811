"""The clip stage without a browser: its data, its still picture, its traits, and what the recorded
trainings hold."""

import base64
import itertools
import json
import math
import xml.etree.ElementTree

import pytest
import torch
import traitlets

from rlvr_helpers.clipping import clip_binds
from rlvr_helpers.kit.recorded import recorded_drift
from rlvr_helpers.lessons.l06_clipping.experiment import RULES
from rlvr_helpers.lessons.l06_clipping.explorer import clip_stage, packed
from rlvr_helpers.paths import DATA
from rlvr_helpers.tools import export_explorer
from rlvr_helpers.tools.record_clip_stage import Watched, arms, key

MOST_BYTES = {"data": 80_000, "output": 150_000, "page": 500_000}


@pytest.fixture(scope="module")
def stage():
    return clip_stage()


def test_sizes(stage, tmp_path):
    assert len(json.dumps(stage.data, separators=(",", ":"))) <= MOST_BYTES["data"]
    assert len(stage.html.encode()) <= MOST_BYTES["output"]
    out = tmp_path / "clip_stage.html"
    export_explorer.main(["clip_stage", "--out", str(out)])
    assert out.stat().st_size <= MOST_BYTES["page"]


def unpacked(text: str) -> list[int]:
    found, number, factor = [], 0, 1
    for byte in base64.b64decode(text):
        number += (byte & 127) * factor
        factor *= 128
        if byte < 128:
            found.append(-(number + 1) // 2 if number % 2 else number // 2)
            number, factor = 0, 1
    return found


def test_whole_numbers_survive_packing():
    numbers = [0, 1, -1, 63, -64, 64, 127, 128, -128, 8191, 8192, 10**6, -(10**9), 2**40]
    assert unpacked(packed(numbers)) == numbers
    assert packed([]) == "" and len(base64.b64decode(packed([0] * 10))) == 10


def test_the_still_says_how_many_tokens_are_stopped(stage):
    drift = recorded_drift()
    keep, d = drift.mask.bool(), drift.log_ratios[7]
    stopped = int(clip_binds(d.exp(), drift.advantages[:, None], 0.2, 0.2)[keep].sum())
    assert f"{stopped} of {int(keep.sum()):,}" in stage.still.alt
    assert f"{stopped} of {int(keep.sum()):,}" in stage.still.description
    xml.etree.ElementTree.fromstring(stage.still.svg)


def test_the_token_of_the_first_guess_went_the_wrong_way(stage):
    drift = recorded_drift()
    keep = drift.mask.bool()
    ratio = drift.log_ratios[stage.update - 1][keep][stage.chosen].exp()
    advantage = drift.advantages[:, None].expand_as(keep)[keep][stage.chosen]
    assert advantage < 0 and ratio > 1 + stage.clip_high
    assert stage.predicting


@pytest.mark.parametrize(
    "name, value",
    [
        ("rule", "clip"),
        ("unit", "word"),
        ("clip_low", 1.0),
        ("clip_high", 0.0),
        ("clip_high", math.nan),
        ("clip_low", "0.2"),
        ("update", 17),
        ("advantage_scale", "mean"),
        ("chosen", 1311),
        ("chosen", -1),
        ("moved", math.inf),
        ("guess", math.nan),
        ("guess", -0.5),
        ("predicting", "yes"),
    ],
)
def test_a_value_that_is_none_is_refused(stage, name, value):
    before = getattr(stage, name)
    with pytest.raises(traitlets.TraitError, match=name):
        setattr(stage, name, value)
    assert getattr(stage, name) == before


# --- the recorded trainings


def test_every_arm_of_the_stage_is_recorded_with_the_same_seeds(stage):
    runs = json.loads((DATA / "runs" / "clip_stage.json").read_text())["runs"]
    assert len({key(run) for run in runs}) == len(runs)
    recorded = stage.data["record"]["arms"]
    names = {(arm["rule"], arm["unit"], arm["clip_low"], arm["clip_high"]) for arm in recorded}
    endless = {(rule, unit) for rule, unit, *_ in names if rule == "none"}
    assert endless == {("none", "token"), ("none", "sequence")}
    assert {name for name in names if name[0] != "none"} == {
        arm for arm in arms() if arm[0] != "none"
    }
    assert len({len(arm["seeds"]) for arm in recorded}) == 1


def test_every_run_has_its_measures_for_every_rollout():
    data = json.loads((DATA / "runs" / "clip_stage.json").read_text())
    steps = data["settings"]["steps"]
    assert data["provenance"]["command"] and data["eval_count"] == 200
    for run in data["runs"]:
        for name in ("stopped", "largest_ratio", "largest_token_ratio", "accuracy"):
            assert len(run[name]) == steps, (key(run), name)
        assert all(0 <= share <= 1 for share in run["stopped"] + run["accuracy"])
        assert (max(run["stopped"]) == 0) == (run["rule"] == "none")


@pytest.mark.parametrize("rule", RULES)
def test_a_watched_objective_counts_where_its_gradient_is_zero(rule):
    objective, stops = RULES[rule]
    watched = Watched(objective, stops)
    low, high = (math.inf, math.inf) if rule == "none" else (0.2, 0.28)
    grid = itertools.product([0.1, 0.79, 0.9, 1.0, 1.27, 1.29, 7.0], [-2.0, -0.3, 0.4, 2.0])
    q, a = torch.tensor(list(grid), dtype=torch.float64).T
    q.requires_grad_()
    (slope,) = torch.autograd.grad(watched(q, a, low, high).sum(), q)
    assert watched.stopped == int((slope == 0).sum())
    assert watched.largest == 7.0
    watched.reset()
    assert watched.stopped == 0


def test_clamp_and_minimum_differ_only_on_the_wrong_side():
    (clamped, outside), (minimum, binds) = RULES["clamp"], RULES["minimum"]
    q, a = torch.tensor([[0.5, 1.0], [1.5, -1.0], [1.5, 1.0], [0.5, -1.0], [1.0, 1.0]]).T
    assert (outside(q, a, 0.2, 0.2) != binds(q, a, 0.2, 0.2)).tolist() == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert (clamped(q, a, 0.2, 0.2) != minimum(q, a, 0.2, 0.2)).tolist() == [
        True,
        True,
        False,
        False,
        False,
    ]
