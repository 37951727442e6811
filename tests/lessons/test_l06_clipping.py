"""Lesson 06: the figures of the clip say what a literal count says; the range that clips a share;
the explorers' data."""

import ast
import json
import math
import re
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_helpers.clipping import clip_binds, range_that_binds
from rlvr_helpers.kit.recorded import recorded_drift, recorded_runs
from rlvr_helpers.lessons.l06_clipping import experiment as collapse_runs
from rlvr_helpers.lessons.l06_clipping import figures as clipping
from rlvr_helpers.lessons.l06_clipping.figures import (
    FourQuadrants,
    Ratios,
    collapse,
    four_quadrants,
    share_against_range,
)
from rlvr_helpers.lessons.l06_clipping.old_explorer import (
    RANGES,
    clip_explorer,
    range_explorer,
    ratios_after,
    shares_clipped,
)
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO, PAPER_SETTINGS
from rlvr_helpers.paths import COURSE, DATA
from rlvr_helpers.plots import house, to_svg
from rlvr_helpers.ratios import sequence_ratios
from rlvr_helpers.train_settings import TrainSettings

DRIFT = recorded_drift()
STATES = [
    (GRPO, 0.2, 0.2, 8, "both"),
    (GSPO, 0.02, 0.03, 16, "negative"),
    (GSPO, 3e-4, 4e-4, 1, "positive"),
    (DR_GRPO, 0.5, 1e-4, 0, "both"),
    (GSPO, 0.5, 0.5, 12, "both"),
]


def draw(figure: FourQuadrants, method, low, high, updates, sign):
    return figure.draw(
        method, low, high, ratios_after(DRIFT, updates), f"after {updates} updates", sign
    )


def literal_shares(method, low, high, updates, sign) -> tuple[int, int, int]:
    """Slow reference implementation: how many places are clipped, how many lie outside the range, how many there
    are."""
    binds = outside = total = 0
    for i in range(len(DRIFT.mask)):
        a, n = DRIFT.advantages[i].item(), int(DRIFT.lengths[i])
        logs = DRIFT.log_ratios[updates - 1][i, :n].tolist() if updates else [0.0] * n
        if (sign == "positive" and not a > 0) or (sign == "negative" and not a < 0):
            continue
        for log in logs if method.ratio_level == "token" else [sum(logs) / n]:
            q, total = math.exp(log), total + 1
            outside += q > 1 + high or q < 1 - low
            binds += (a > 0 and q > 1 + high) or (a < 0 and q < 1 - low)
    return binds, outside, total


@pytest.mark.parametrize("state", STATES, ids=str)
def test_the_shares_in_the_title_are_counted_right(state):
    binds, outside, total = literal_shares(*state)
    alt = draw(FourQuadrants(), *state).alt
    assert f"binds on {house.percent(binds / total)} of {total:,}".replace("\xa0", " ") in alt
    assert f"; {house.percent(outside / total)} lie outside".replace("\xa0", " ") in alt


@pytest.mark.parametrize("state", STATES, ids=str)
def test_columns_and_bars_hold_every_ratio_once(state):
    figure = FourQuadrants()
    draw(figure, *state)
    binds, outside, total = literal_shares(*state)
    assert sum(column.all.sum() for column in figure.columns) == total
    assert sum(column.dead_ones.sum() for column in figure.columns) == binds
    assert (
        sum(column.said[0] + column.said[1] for column in figure.columns if column.said[3])
        == outside
    )


@pytest.mark.slow
def test_a_figure_changed_in_place_is_the_figure_drawn_anew():
    figure = FourQuadrants()
    for state in [*STATES, *reversed(STATES)]:
        in_place = to_svg(draw(figure, *state))
        assert in_place == to_svg(draw(FourQuadrants(), *state)), state


def test_curves_are_the_objective_and_its_gradient():
    figure = FourQuadrants()
    draw(figure, GRPO, 0.2, 0.3, 8, "both")
    for column in figure.columns:
        a = column.sign
        for curve in (column.curves[0].live, column.curves[0].dead):
            for q, value in zip(*curve.get_data(), strict=True):
                assert value == pytest.approx(min(q * a, min(max(q, 0.8), 1.3) * a))
        live, dead = (curve.get_data() for curve in (column.curves[1].live, column.curves[1].dead))
        assert set(live[1]) == {a} and set(dead[1]) == {0.0}
        edge = 1.3 if a > 0 else 0.8
        assert edge in live[0] and edge in dead[0]
        assert column.shades[0].get_x() == pytest.approx(edge if a > 0 else column.low)
        assert column.shades[0].get_width() == pytest.approx(0.45 if a > 0 else 0.55)


def test_texts_lie_within_the_figure_and_numbers_in_the_alternative_text():
    for state in STATES:
        figure = draw(FourQuadrants(), *state)
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height, state
        assert not re.search(r"\bnan\b|None|\n|\xa0", figure.alt), figure.alt
        assert len(re.findall(r"\d", figure.alt)) > 10


def test_no_ratios_and_far_ratios_can_be_drawn():
    nothing = Ratios(np.empty(0), np.empty(0))
    far = Ratios(np.array([1e-9, 1.0, 1e9]), np.array([1.0, 0.0, 2.0]))
    for found in (nothing, far):
        figure = four_quadrants(
            GRPO, 0.2, 0.2, {"token": found, "sequence": found}, "after update 1"
        )
        assert to_svg(figure) and "nan" not in figure.alt.lower().split()


def test_the_method_sets_its_range_and_the_sliders_move_freely():
    explorer = clip_explorer(DRIFT)
    explorer.controls["method"].value = "GSPO"
    assert (explorer.values["clip_low"], explorer.values["clip_high"]) == (
        GSPO.clip_low,
        GSPO.clip_high,
    )
    paper = PAPER_SETTINGS["gspo"]
    explorer.set(clip_low=paper.clip_low, clip_high=paper.clip_high)
    assert "binds on 82.8 % of 64 sequences" in explorer.picture.text
    explorer.set(method="Dr. GRPO")
    assert (
        explorer.values["clip_high"] == 0.2 and "Dr. GRPO, after 8 updates" in explorer.picture.text
    )
    explorer.reset()
    assert explorer.values["method"] == "GRPO" and explorer.values["clip_low"] == 0.2


def test_a_choice_of_method_is_drawn_once(monkeypatch):
    explorer, drawn = clip_explorer(DRIFT), []
    whole = clipping.FourQuadrants.draw
    monkeypatch.setattr(clipping.FourQuadrants, "draw", lambda *a: drawn.append(1) or whole(*a))
    explorer.controls["method"].value = "GSPO"
    assert len(drawn) == 1


# -- the range for a share


@pytest.mark.parametrize("share", [0.0, 0.05, 0.15, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_the_range_clips_the_wanted_share(level, share):
    found = ratios_after(DRIFT, 8)[level]
    q, a = torch.from_numpy(found.ratios), torch.from_numpy(found.advantages)
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


def test_share_curves_equal_a_count():
    found = ratios_after(DRIFT, 4)
    curves = shares_clipped(found)
    for level, ratios in found.items():
        eps, share = curves[level]
        for place in (0, 40, 80, 119):
            side = (ratios.ratios - 1) * np.sign(ratios.advantages)
            assert share[place] == pytest.approx((side > eps[place]).mean())
        assert (np.diff(share) <= 0).all() and eps is RANGES


def test_a_range_beyond_the_axis_is_said_to_be_there():
    eps, share = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.2, 0.0])
    curves = {"token": (eps, share), "sequence": (eps, share)}
    alt = share_against_range(curves, {"token": 0.2, "sequence": 0.25}, 0.2, "after 1 update").alt
    assert "binds on 20 % is 0.2 for tokens and 0.25 for sequences" in alt
    for off in (0.0, 0.09, 0.31):
        alt = share_against_range(
            curves, {"token": off, "sequence": 0.2}, 0.2, "after 1 update"
        ).alt
        assert "not on this axis for tokens" in alt


@pytest.mark.parametrize("updates", [1, 4, 8, 16])
def test_the_explorer_says_the_range_that_the_lesson_computes(updates):
    explorer = range_explorer(DRIFT)
    explorer.set(updates=updates)
    d = DRIFT.log_ratios[updates - 1]
    s = sequence_ratios(d, torch.zeros_like(d), DRIFT.mask)
    assert (
        f"{range_that_binds(s, DRIFT.advantages, 0.15).item():.3g} for sequences"
        in explorer.picture.text
    )


# -- the collapse


def test_the_collapse_takes_any_records():
    from test_plots import RUNS  # made-up runs, as the other figures are tested with

    records = RUNS["GRPO"][0]
    alt = collapse({"with the clip": records, "without the clip": records[:3]}).alt
    assert "Accuracy after" in alt and "with the clip" in alt and "nan" not in alt
    gaps = [
        replace(r, kl=None, entropy=float("nan"), token_log_ratio=None, eval=None, start_eval=None)
        for r in records
    ]
    for odd in ({}, {"a": []}, {"a": records[:1]}, {"a": gaps, "b": []}):
        assert to_svg(collapse(odd))


def test_both_colours_of_the_lesson_can_be_read_in_both_themes():
    from test_plots import contrast

    assert (
        min(contrast(clipping.CLIPPED, background) for background in ("#ffffff", "#111111")) > 3.5
    )


def test_the_recorded_collapse_is_that_of_the_lesson():
    """Its settings are the module's, and the clip matters in every recorded pair."""
    found = json.loads((DATA / "runs" / "collapse.json").read_text())
    assert TrainSettings(**found["settings"]) == collapse_runs.SETTINGS
    assert found["eval_count"] == collapse_runs.EVAL_COUNT
    clipped, free = collapse_runs.METHODS.values()
    assert clipped == GRPO and free == replace(GRPO, clip_low=math.inf, clip_high=math.inf)
    accuracy = collapse_runs.recorded_collapse()
    assert sorted(accuracy) == [0, 1, 2]
    assert all(row["without the clip"] < row["with the clip"] - 0.1 for row in accuracy.values())


IMPORTS = (ast.Import, ast.ImportFrom)


@pytest.mark.parametrize("steps", [(0, 0), (0, 3), (3, 0), (1, 2)])
def test_interrupting_the_live_cell_twice_leaves_later_cells_working(steps, monkeypatch, capsys):
    """Each of the two runs is interrupted twice in the step after so many; twice in the first, it
    has no records."""
    left = iter(steps)

    def interrupted(policy, problems, method, settings, eval_problems):
        yield from recorded_runs()["GRPO"][0].records[: next(left)]
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    notebook = json.loads((COURSE / "notebooks" / "06_clipping.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    live = next(i for i, cell in enumerate(cells) if "TrainingDashboard(" in cell)
    names = {}
    used = [ast.parse(cell).body for cell in cells[: live + 3]]
    imports = [node for body in used for node in body if isinstance(node, IMPORTS)]
    exec(compile(ast.Module(imports, []), "imports", "exec"), names)
    names["train"] = interrupted
    for body in used[live:]:
        rest = [node for node in body if not isinstance(node, IMPORTS)]
        exec(compile(ast.Module(rest, []), "cell", "exec"), names)
    said = capsys.readouterr().out
    assert said.count("seed ") == 3 and said.count("of the last rollout") == sum(
        count > 0 for count in steps
    )
