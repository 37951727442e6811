"""Completions of one held-out problem at every evaluation: in the record, under the dashboard, and
without an effect on anything else."""

import json
from dataclasses import replace

import pytest
import torch
from small_policies import make_tiny, some_problems

from rlvr_helpers import plots
from rlvr_helpers.evaluation import READ_AT_ONCE, Reading
from rlvr_helpers.methods import GRPO
from rlvr_helpers.plots.reading import readings
from rlvr_helpers.records import StepRecord
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train
from rlvr_helpers.widgets import TrainingDashboard

SMALL = TrainSettings(
    steps=4, prompts_per_step=4, group_size=4, minibatches=2, max_tokens=6, eval_every=2
)


def letters(text, gold):
    return len(text) % 4 / 4


def run(eval_problems, **changes):
    policy = make_tiny()
    settings = replace(SMALL, **changes)
    records = list(train(policy, some_problems(), GRPO, settings, letters, eval_problems))
    return records, torch.cat([p.flatten() for p in policy.model.parameters()])


@pytest.fixture(scope="module")
def trained():
    return run(some_problems()[:2], learning_rate=5e-3)


def test_they_are_read_at_every_evaluation_with_the_same_noise(trained):
    records, _ = trained
    assert list(readings(records)) == [0, 2, 4]
    first = records[0].start_reading
    problem = some_problems()[0]
    assert (first.question, first.answer) == (problem.question, problem.answer)
    assert len(first.texts) == len(first.rewards) == len(first.correct) == READ_AT_ONCE
    assert records[3].reading.texts != first.texts, "the model has moved"
    still, _ = run(some_problems()[:2], learning_rate=1e-12)
    assert {tuple(reading.texts) for reading in readings(still).values()} == {tuple(first.texts)}


def test_nothing_else_changes(trained):
    records, weights = trained
    without, same = run(None, learning_rate=5e-3)
    assert torch.equal(weights, same) and not readings(without)
    plain = [
        replace(r, seconds={}, eval=None, start_eval=None, reading=None, start_reading=None)
        for r in records
    ]
    assert plain == [replace(record, seconds={}) for record in without]


def test_they_are_kept_in_the_record(trained):
    records, _ = trained
    data = [json.loads(json.dumps(record.to_dict())) for record in records]
    assert [StepRecord.from_dict(one) for one in data] == records
    assert "reading" not in data[0] and "start_reading" in data[0]


def test_they_are_shown_as_text(trained):
    records, _ = trained
    spoilt = replace(
        records[3], reading=Reading("3 < 4 ?", "<b>", ["<script>", "a"], [1.0, 0.5], [True, False])
    )
    shown = plots.completions([spoilt])
    assert "&lt;script&gt;" in shown.html and "<script>" not in shown.html
    assert "3 &lt; 4 ? (answer: &lt;b&gt;)" in shown.html
    assert "4  1.00  yes  <script>" in shown.text and "0.50  no  a" in shown.text
    assert plots.completions([records[2]]).html == ""
    both = plots.completions(records)
    assert both.text.count("\n") == 2 * READ_AT_ONCE
    assert plots.completions(records, steps=[2]).text.count("\n") == READ_AT_ONCE


def test_the_dashboard_shows_them_under_the_picture(trained):
    records, _ = trained
    dashboard = TrainingDashboard(total_steps=4, method=GRPO)
    seen = list(dashboard.watch(iter(records)))
    assert seen == records
    assert some_problems()[0].question in dashboard.completions.value
