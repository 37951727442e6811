"""Lesson 06: the figure of the arms, the recorded arms, the range that clips a share, and the live
cell when it is interrupted."""

import ast
import json
import signal
from dataclasses import replace

import pytest
import torch
from contrast import contrast

from rlvr_helpers.clipping import clip_binds, range_that_binds
from rlvr_helpers.kit.recorded import recorded_drift, recorded_runs
from rlvr_helpers.lessons.l06_clipping.experiment import (
    EVAL_COUNT,
    EVERY_ROLLOUT,
    HARD,
    RULES,
    USUAL,
    recorded_arms,
    recorded_largest_ratios,
)
from rlvr_helpers.lessons.l06_clipping.explorer import recorded_trainings
from rlvr_helpers.lessons.l06_clipping.figures import LOOKS, arms
from rlvr_helpers.paths import COURSE, DATA
from rlvr_helpers.plots import to_svg
from rlvr_helpers.ratios import sequence_ratios
from rlvr_helpers.train_settings import TrainSettings

DRIFT = recorded_drift()
KEEP = DRIFT.mask.bool()
TOKEN_ADVANTAGES = DRIFT.advantages[:, None].expand(KEEP.shape)[KEEP].double()


def ratios_after(updates: int, level: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ratios of the recorded rollout and the advantage of each, [N] both."""
    d = DRIFT.log_ratios[updates - 1].double()
    if level == "token":
        return d.exp()[KEEP], TOKEN_ADVANTAGES
    return sequence_ratios(d, torch.zeros_like(d), DRIFT.mask), DRIFT.advantages.double()


# -- the range for a share


@pytest.mark.parametrize("share", [0.0, 0.05, 0.15, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_the_range_clips_the_wanted_share(level, share):
    q, a = ratios_after(8, level)
    eps = range_that_binds(q, a, share)
    clipped = clip_binds(q, a, eps.item(), eps.item()).double().mean().item()
    assert eps.shape == () and clipped <= share + 1 / len(q)
    # completions that are word for word the same have one ratio, and are clipped together or not at
    # all
    if eps > 0:
        tied = (((q - 1) * a.sign() - eps).abs() < 1e-12).double().mean().item()
        assert clipped + tied >= share - 1 / len(q)


def test_the_range_is_zero_where_all_went_the_other_way():
    assert range_that_binds(torch.tensor([0.9, 1.1]), torch.tensor([1.0, -1.0]), 0.5) == 0


# -- the arms


def test_the_recorded_arms_have_the_settings_of_the_lesson():
    for name, wanted in (("clip_stage", HARD), ("clip_usual", USUAL)):
        found = json.loads((DATA / "runs" / f"{name}.json").read_text())
        assert TrainSettings(**found["settings"]) == replace(wanted, **EVERY_ROLLOUT)
        assert found["eval_count"] == EVAL_COUNT
    for settings, regime in zip((USUAL, HARD), recorded_arms().values(), strict=True):
        assert list(regime) == list(RULES)
        for seeds in regime.values():
            assert [len(accuracies) for accuracies in seeds] == 3 * [settings.steps + 1]


def test_the_minimum_decides_in_the_hard_regime_only():
    usual, hard = recorded_arms().values()
    for none, clamp, minimum in zip(*hard.values(), strict=True):
        assert max(none[-1], clamp[-1]) < minimum[-1] - 0.25
    for none, clamp, minimum in zip(*usual.values(), strict=True):
        assert abs(clamp[-1] - minimum[-1]) < 0.1 and min(clamp[-1], minimum[-1]) >= 0.7
        assert none[3] > minimum[3] - 0.1, "for three rollouts no clip is needed"
    assert sum(none[-1] < 0.5 for none in usual["none"]) == 2


def test_the_largest_ratios_are_those_of_the_stage():
    arms_of = {
        (arm["rule"], arm["unit"], arm["clip_high"]): arm for arm in recorded_trainings()["arms"]
    }
    wanted = [seed["largest_ratio"] for seed in arms_of["minimum", "token", 0.2]["seeds"]]
    assert recorded_largest_ratios() == pytest.approx(wanted, abs=0.06)
    assert min(wanted) > 9
    without = [seed["largest_ratio"] for seed in arms_of["none", "token", None]["seeds"]]
    assert recorded_largest_ratios("none") == pytest.approx(without, abs=0.06)
    assert min(without) > 7 * max(wanted)


def test_the_quiz_says_what_the_package_computes():
    q = torch.tensor(1.5, requires_grad=True)
    (slope,) = torch.autograd.grad(RULES["minimum"][0](q, torch.tensor(-1.0), 0.2, 0.2), q)
    assert slope < 0, "wrong_and_likelier: pushed down"
    for level, (low, high), share in (
        ("sequence", (0.02, 0.03), 0.39),
        ("token", (0.2, 0.2), 0.032),
    ):
        q, a = ratios_after(8, level)
        binds = clip_binds(q, a, low, clip_high=high)
        assert binds.double().mean() == pytest.approx(share, abs=0.005), "range_of_a_sequence"
    q, a = ratios_after(16, "sequence")
    assert not clip_binds(q, a, 0.2, clip_high=0.2).any()


def test_the_figure_says_the_means_at_the_end():
    found = {"none": [[0.1, 0.2], [0.1, 0.4]], "clamp": [[0.1, 0.5]], "minimum": [[0.1, 0.505]]}
    drawn = arms({"one regime": found, "another": found}, yours=[0.1, 0.3])
    assert to_svg(drawn)
    assert "one regime: no clip 30 %, clamp only 50 %, minimum 50 %" in drawn.alt
    dots = next(line for line in drawn.axes[-1].lines if line.get_gid() == "yours")
    assert dots.get_xydata().tolist() == [[1, 0.1], [2, 0.3]], "after the first rollout and later"
    assert to_svg(arms({"one regime": found}))


def test_the_colours_of_the_lesson_can_be_read_in_both_themes():
    colours = [look["color"] for look in LOOKS.values()]
    assert (
        min(contrast(c, background) for c in colours for background in ("#ffffff", "#111111")) > 3.4
    )


IMPORTS = (ast.Import, ast.ImportFrom)


@pytest.mark.parametrize("steps", [0, 3])
def test_interrupting_the_live_cell_leaves_the_next_one_working(steps, capsys):
    """The run is interrupted in the step after so many; in the first it has no records."""

    def interrupted(*given, **named):
        records = [r for r in recorded_runs()["GRPO"][0].records if r.eval]
        yield from records[:steps]
        signal.raise_signal(signal.SIGINT)

    notebook = json.loads((COURSE / "notebooks" / "06_clipping.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    live = next(i for i, cell in enumerate(cells) if "progress_bar(" in cell)
    used = [ast.parse(cell).body for cell in cells[: live + 2]]
    imports = [node for body in used for node in body if isinstance(node, IMPORTS)]
    names = {"clamped": RULES["clamp"][0]}
    exec(compile(ast.Module(imports, []), "imports", "exec"), names)
    names["train"] = interrupted
    for body in used[live:]:
        rest = [node for node in body if not isinstance(node, IMPORTS)]
        exec(compile(ast.Module(rest, []), "cell", "exec"), names)
    assert len(names["yours"]) == steps
    assert ("clamp_end: it is" in capsys.readouterr().out) == (steps > 0)
