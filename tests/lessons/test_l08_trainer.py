"""Lesson 08: its figures draw and say their numbers, the bug hunt's bugs are what they are called,
guesses are judged."""

import itertools
import re
import shutil
from dataclasses import replace

import literal
import pytest
import torch
from matplotlib.figure import Figure
from small_policies import make_tiny, some_problems

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.engine.clock import Clock
from rlvr_helpers.exercises.core import check
from rlvr_helpers.lessons.l08_trainer import exercises as lesson_08
from rlvr_helpers.lessons.l08_trainer import experiment as bug_hunt
from rlvr_helpers.lessons.l08_trainer.experiment import (
    HEALTHY,
    LETTERS,
    SUSPECTS,
    check_guess,
    load_hunt,
)
from rlvr_helpers.lessons.l08_trainer.explorer import Hunt, hunt_dashboards
from rlvr_helpers.lessons.l08_trainer.figures import (
    HuntDashboard,
    dial_table,
    method_formula,
    name_of,
)
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import (
    AGGREGATIONS,
    DAPO,
    DR_GRPO,
    GRPO,
    GSPO,
    PAPER_SETTINGS,
    RLOO,
    Method,
)
from rlvr_helpers.minibatches import Learner, make_minibatches, score_before_updates, update
from rlvr_helpers.plots import house
from rlvr_helpers.scoring import token_logprobs
from rlvr_helpers.study.runs import load_run
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import problems_of_step, sample_step, score_rewards

SMALL = TrainSettings(
    steps=1,
    prompts_per_step=4,
    group_size=4,
    minibatches=2,
    warmup_steps=0,
    max_tokens=6,
    temperature=0.7,
)


@pytest.fixture(scope="module")
def runs():
    return load_hunt()


def letter_of(number: int) -> str:
    return next(letter for letter in LETTERS if bug_hunt._PLANTED[letter] == number)


# --- the figures


@pytest.mark.parametrize("method", [GRPO, DR_GRPO, GSPO, RLOO, DAPO, *PAPER_SETTINGS.values()])
def test_a_method_of_the_course_is_named(method):
    fig = method_formula(replace(method, name=""), 64)
    assert isinstance(fig, Figure) and house.to_svg(fig).startswith(b"<?xml")
    assert f"This is {method.name}" in fig.alt
    assert f"{1 - method.clip_low:.5g}, {1 + method.clip_high:.5g}" in fig.alt
    assert ("KL" in fig.alt.partition("In TRL")[0]) == (method.kl_coef > 0)


def test_names():
    assert name_of(GRPO) == "This is GRPO"
    assert name_of(replace(GRPO, clip_high=0.28)) == "This is GRPO, with a range of your own"
    assert name_of(PAPER_SETTINGS["gspo"]) == "This is GSPO, the paper's range"
    assert name_of(replace(GRPO, kl_coef=0.04)) == "This is GRPO and a KL term of 0.04"
    halved = name_of(replace(DR_GRPO, aggregation="sequence_mean"))
    assert halved == "No name of its own: GRPO with unscaled advantages"


@pytest.mark.slow
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("scale", ["std", "none", "leave_one_out"])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_every_formula_fits_its_figure(scale, level, aggregation):
    """The longest range and a KL term: nothing runs over the edge, and the size is always the
    same."""
    method = Method("", scale, level, 3e-4, 4e-4, aggregation, 0.001)
    widths = []
    for dpi in (100, 72):  # SVG is drawn at 72
        fig = method_formula(method, 4000)
        assert fig.get_size_inches().tolist() == method_formula(GRPO, 64).get_size_inches().tolist()
        fig.set_dpi(dpi)
        boxes = [artist.get_window_extent() for artist in [*fig.texts, *fig.artists, *fig.patches]]
        assert max(box.x1 for box in boxes) <= fig.bbox.width and min(box.y0 for box in boxes) >= 0
        formulas = boxes[len(fig.texts) :]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(formulas, 2))
        assert not any(formula.overlaps(boxes[0]) for formula in formulas), "over the title"
        widths.append([box.width / dpi for box in formulas])
    assert widths[0] == pytest.approx(widths[1], rel=0.01)


def test_trl_words_of_a_method_that_trl_lacks():
    assert "no leave-one-out" in method_formula(RLOO, 64).alt


def test_hunt_dashboard_says_the_numbers_of_the_run_and_keeps_nothing(runs):
    dashboard = HuntDashboard(runs, HEALTHY)
    first = house.to_svg(dashboard.figure("A"))
    for name, records in runs.items():
        fig = dashboard.figure(name)
        assert (
            f"sampler gap {records[0].sampler_gap:.3g} to {records[-1].sampler_gap:.3g}" in fig.alt
        )
        assert f"length of right answers {records[0].length_right:.3g}" in fig.alt
    assert house.to_svg(dashboard.figure("A")) == first


def test_hunt_dashboard_bears_gaps_and_values_off_the_scale(runs):
    odd = [
        replace(record, length_right=None, kl=None, sampler_gap=0.0, loss=99.0)
        for record in runs[HEALTHY]
    ]
    fig = HuntDashboard({HEALTHY: runs[HEALTHY], "odd": odd}, HEALTHY).figure("odd")
    assert "length of right answers none" in fig.alt and house.to_svg(fig)


def test_dial_table_has_each_value_once(runs):
    table = dial_table(runs, (1, 10)).splitlines()
    assert table[0].split() == ["dial", "step", *runs]
    assert table[1].split() == [
        "reward_mean",
        "1",
        *[f"{records[0].reward_mean:.3g}" for records in runs.values()],
    ]
    assert len(table) == 1 + 2 * 10


# --- the recorded runs


def test_recorded_runs_are_of_one_start_and_give_no_bug_away(runs):
    assert list(runs) == [HEALTHY, *LETTERS]
    assert len({records[0].reward_mean for records in runs.values()}) == 1
    for name in runs:
        run = load_run(bug_hunt.FOLDER / f"{name}.json")
        assert (
            run.settings == bug_hunt.SETTINGS
            and run.method == GRPO
            and len(run.records) == run.settings.steps
        )
        said = (bug_hunt.FOLDER / f"{name}.json").read_text()
        assert not re.search("pad|shift|width|across|bug(?!_hunt)", said)


def test_what_the_lesson_says_of_the_dials(runs):
    """From step 1, where all look at the same rollout: each bug shows in its own dial."""
    first = {name: records[0] for name, records in runs.items()}
    healthy = first[HEALTHY]
    planted = (number for number in SUSPECTS if number != 6)
    pads, shift, heat, width, across = (first[letter_of(number)] for number in planted)
    assert pads.length_right == pads.length_wrong != healthy.length_wrong
    assert shift.sampler_gap > 10 and shift.length_wrong == healthy.length_wrong
    assert 0.5 < heat.sampler_gap < 5 and heat.entropy > 1.2 * healthy.entropy
    assert abs(width.loss) > 10 * abs(healthy.loss) and width.sampler_gap < 1e-3
    assert across.no_signal == 0 and across.accuracy * 128 < 16 <= 16 * (1 + healthy.no_signal)
    assert all(record.clip_fraction_first == 0 for records in runs.values() for record in records)


# --- each bug against a literal reference implementation


def one_rollout(policy):
    batch = problems_of_step(some_problems(), 1, SMALL)
    return batch, sample_step(policy, batch, 1, SMALL)


def test_mask_of_ones():
    policy, rollout = make_tiny(), None
    batch, rollout = one_rollout(policy)
    wrong = bug_hunt.mask_of_ones(policy, batch, 1, SMALL)
    assert wrong.mask.all() and not rollout.mask.all() and wrong.texts == rollout.texts


@torch.no_grad()
def test_shifted_log_probs_are_those_of_the_token_s_own_position():
    policy = make_tiny()
    _, rollout = one_rollout(policy)
    ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    logp, _ = bug_hunt.score_shifted(policy.model, *ids, 0.7, 4)
    for row in range(3):
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row].bool()]
        completion = rollout.completion_ids[row][rollout.mask[row].bool()]
        logits = policy.model(torch.cat([prompt, completion])[None]).logits[0] / 0.7
        own = logits.log_softmax(-1)[len(prompt) :].gather(1, completion[:, None]).squeeze(1)
        last = (
            len(completion) - 1
        )  # behind the last token nothing follows: what stands there is arbitrary at full width
        torch.testing.assert_close(logp[row, :last], own[:last], atol=1e-5, rtol=0)


@torch.no_grad()
def test_score_at_one_forgets_the_temperature():
    policy = make_tiny()
    _, rollout = one_rollout(policy)
    ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    logp, _ = bug_hunt.score_at_one(policy.model, *ids, 0.7, 4)
    torch.testing.assert_close(logp, token_logprobs(policy.model, *ids, 1.0), atol=1e-5, rtol=0)
    assert (logp - token_logprobs(policy.model, *ids, 0.7)).abs().max() > 0.01


def test_mean_over_width():
    new, old, advantages, mask = loss_inputs()
    out = bug_hunt.mean_over_width(GRPO, new, old, advantages, mask, 99, None, 3, 9)
    expected = 0.0
    for i, row in enumerate(mask.tolist()):
        for t, keep in enumerate(row):
            rho = (new[i, t] - old[i, t]).exp()
            a = advantages[i]
            expected -= keep * float(torch.min(rho * a, rho.clamp(0.8, 1.2) * a)) / len(row) / 3
    assert float(out.loss) == pytest.approx(expected)
    assert float(out.loss) != pytest.approx(
        float(policy_loss(GRPO, new, old, advantages, mask, 99).loss)
    )


def loss_inputs():
    noise = torch.Generator().manual_seed(0)
    old = torch.randn(3, 5, generator=noise, dtype=torch.float64)
    new = old + 0.3 * torch.randn(3, 5, generator=noise, dtype=torch.float64)
    return (
        new,
        old,
        torch.tensor([1.0, -2.0, 0.5]).double(),
        (torch.arange(5) < torch.tensor([5, 1, 3])[:, None]).long(),
    )


def test_advantages_of_the_batch():
    rewards = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    expected = literal.advantages_std([rewards.flatten().tolist()])[0]
    assert bug_hunt.advantages_of_batch(rewards, "std").flatten().tolist() == pytest.approx(
        expected
    )
    assert bug_hunt.silent_batch(rewards).tolist() == [False, False]
    assert bug_hunt.silent_batch(torch.ones(2, 3)).tolist() == [True, True]


# --- a suspect trains -----------------------------------------------------------------------------


@pytest.mark.parametrize("letter", [HEALTHY, *LETTERS])
def test_a_suspect_trains_with_its_bug_alone(letter, problems):
    changes = {
        field: getattr(SMALL, field)
        for field in ("prompts_per_step", "group_size", "minibatches", "max_tokens")
    }
    steps = bug_hunt.train_suspect(letter, make_tiny(), problems, steps=2, **changes)
    assert [record.step for record in steps] == [1, 2]


# --- guesses


def test_guesses_are_judged_and_explained(capsys):
    for letter in LETTERS:
        for number, suspect in SUSPECTS.items():
            right = bug_hunt._PLANTED[letter] == number
            assert check_guess(letter, number) is right
            said = capsys.readouterr().out
            assert (
                suspect.name in said
                and ("gives it away" in said) == right
                and ("speaks against" in said) != right
            )
            if not right:
                assert SUSPECTS[bug_hunt._PLANTED[letter]].name not in said, (
                    "the answer is given away"
                )
            assert max(map(len, said.splitlines())) <= 100


def test_one_suspect_is_in_no_run_so_that_the_last_is_not_found_by_elimination():
    innocent = set(SUSPECTS) - set(bug_hunt._PLANTED.values())
    assert [SUSPECTS[number].stages for number in innocent] == [None]
    assert len(bug_hunt._PLANTED) == len(LETTERS)


def test_the_game_counts_hints_and_wrong_guesses_once(capsys):
    hunt, key = Hunt(), bug_hunt._PLANTED
    hunt.guess(**{letter: None for letter in LETTERS})
    assert "A: no guess yet" in capsys.readouterr().out and hunt.score == 0
    wrong = next(number for number in SUSPECTS if number != key["A"])
    hunt.guess(A=wrong)
    hunt.guess(A=wrong)
    capsys.readouterr()
    hunt.hint("B")
    hunt.hint("B")
    said = capsys.readouterr().out
    assert SUSPECTS[key["B"]].dial in said and SUSPECTS[key["B"]].name not in said
    hunt.guess(**key)
    assert hunt.score == 13 and "score: 13 of 15" in capsys.readouterr().out
    hunt.guess(A=wrong)
    hunt.hint("A")
    assert hunt.score == 13, "what is found stays found"


def test_a_score_never_falls_below_0(capsys):
    hunt, right = Hunt(), bug_hunt._PLANTED["A"]
    for number in [*(number for number in SUSPECTS if number != right), right]:
        hunt.guess(A=number)
    assert hunt.score == 0


def test_a_fresh_hunt_has_a_key_that_does_not_read_as_one(tmp_path, capsys):
    key = dict(zip(LETTERS, (5, 4, 3, 2, 1), strict=True))
    for name in (HEALTHY, *LETTERS):
        shutil.copy(bug_hunt.FOLDER / f"{name}.json", tmp_path)
    bug_hunt.write_key(tmp_path, key)
    assert not re.search(r": ?[1-6]\b", (tmp_path / "key.json").read_text())
    hunt = Hunt(tmp_path)
    assert hunt.planted == key
    hunt.guess(**key)
    assert hunt.score == 15
    # Its dials, not those of the course's hunt.
    (tmp_path / "A.json").unlink()
    with pytest.raises(ValueError, match="no run A.json"):
        hunt_dashboards(tmp_path)


@pytest.mark.parametrize(
    ("letter", "guess", "words"),
    [
        ("A", "?", "A: no guess yet"),
        (" b ", "...", "B: no guess yet"),
        ("F", 1, "no run 'F': choose from A, B"),
        ("A", 7, "a number from 1 to 6"),
        ("A", "padding", "a number from 1 to 6"),
    ],
)
def test_odd_guesses_get_a_clear_answer(letter, guess, words, capsys):
    assert check_guess(letter, guess) is False
    assert words in capsys.readouterr().out


def test_a_number_as_text_is_a_guess(capsys):
    assert check_guess("a", str(bug_hunt._PLANTED["A"])) is True


# --- the exercises' own references, which are no functions of the package


def test_take_updates_is_what_the_trainer_does():
    """The same losses as `minibatches.update`, mini-batch by mini-batch, with the same
    optimizer."""
    settings = replace(SMALL, temperature=1.0, epochs=2)
    policy, reference = make_tiny(dtype=torch.float64), make_tiny(dtype=torch.float64)
    batch, rollout = one_rollout(policy)
    rewards = score_rewards(rollout, batch, lambda text, gold: len(text) % 4 / 4)
    minibatches = make_minibatches(rollout, rewards, DR_GRPO, settings, 1)
    optimizers = [
        torch.optim.AdamW(p.model.parameters(), 1e-2, weight_decay=0.0) for p in (policy, reference)
    ]
    for parameter in policy.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    clock, learner = Clock(policy.device), Learner(policy.model, DR_GRPO, settings, optimizers[0])
    score_before_updates(learner, minibatches)
    theirs = [
        update(learner, minibatch, clock, "here").loss
        for _ in range(2)
        for minibatch in minibatches
    ]
    parts = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    order = torch.randperm(4, generator=torch.Generator().manual_seed(1))
    rows = [(groups[:, None] * 4 + torch.arange(4)).flatten() for groups in order.tensor_split(2)]
    ours = lesson_08.take_updates(
        lambda i: token_logprobs(reference.model, *(part[i] for part in parts)),
        optimizers[1],
        rows,
        group_advantages(rewards, "none").flatten(),
        rollout.mask,
        DR_GRPO,
        settings.max_tokens,
        2,
    )
    assert ours == pytest.approx(theirs, abs=1e-6) and len(set(map(abs, ours))) == 4


def test_swapped_loops_are_told_with_old_log_probs_anew_for_each_mini_batch(capsys):
    def swapped(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
        losses = []
        for rows in minibatches:
            old = score(rows).detach()
            for _ in range(epochs):
                given = advantages[rows], mask[rows], max_tokens
                loss = policy_loss(method, score(rows), old, *given).loss
                optimizer.zero_grad()
                loss.backward()
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                losses.append(loss.item())
        return losses

    assert check("take_updates", swapped) is False
    assert "Likely: you repeat one mini-batch before the next, and score" in capsys.readouterr().out


def test_rows_without_tokens_that_are_left_out_of_the_total_are_told(capsys):
    def without_empty(method, new, old, advantages, mask, max_tokens, micro_rows):
        totals = {"total_rows": int(mask.any(dim=1).sum()), "total_tokens": int(mask.sum())}
        return sum(
            policy_loss(
                method, new[rows], old[rows], advantages[rows], mask[rows], max_tokens, **totals
            ).loss
            for rows in torch.arange(len(mask)).split(micro_rows)
        )

    assert check("accumulated_loss", without_empty) is False
    assert "leaves out rows without tokens" in capsys.readouterr().out


@pytest.mark.parametrize("method", [GRPO, DR_GRPO, GSPO, DAPO])
def test_accumulated_loss_is_that_of_the_whole(method):
    _, new, old, advantages, mask, budget, _ = lesson_08.accumulated_cases()[0].args
    for size in range(1, 9):
        ours = lesson_08.accumulated_loss(method, new, old, advantages, mask, budget, size)
        assert float(ours) == pytest.approx(
            float(policy_loss(method, new, old, advantages, mask, budget).loss)
        )
