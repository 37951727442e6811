"""Lesson 02: its figures draw and say their numbers, its explorer reads as the rewards do, its
exercise keeps its word."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from rlvr_helpers import plots
from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.exercises.core import check, registry
from rlvr_helpers.lessons.l02_rewards.experiment import WAYS, what_it_learnt
from rlvr_helpers.lessons.l02_rewards.explorer import (
    GAME,
    examples,
    pay_or_not,
    reading_table,
    reward_explorer,
    verdicts,
)
from rlvr_helpers.lessons.l02_rewards.figures import paid_and_correct
from rlvr_helpers.rewards import (
    answers_match,
    correctness_reward,
    extract_answer,
    format_reward,
    lenient_correct,
    parse_number,
)
from rlvr_helpers.study.runs import load_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def records():
    return load_run(ROOT / "data/runs/tiny/grpo-seed0.json").records


def lines_of(figure: Figure) -> list[list[list[float]]]:
    """What each line of each axes draws, without the gaps."""
    return [[list(line.get_ydata()) for line in ax.lines] for ax in figure.axes]


def test_paid_and_correct_draws_the_reward_and_the_strict_accuracy(records):
    leaky = [replace(record, reward_mean=0.5 + record.step / 100) for record in records]
    figure = paid_and_correct({"leaky": leaky, "strict": records})
    expected = [
        [[r.accuracy for r in these], [r.reward_mean for r in these]] for these in (leaky, records)
    ]
    assert lines_of(figure) == expected
    first, last = leaky[0], leaky[-1]
    assert f"leaky: paid {first.reward_mean:.2f} to {last.reward_mean:.2f}" in figure.alt
    assert f"correct in the tag {100 * first.accuracy:.1f}"[:21] in figure.alt
    gap = last.reward_mean - last.accuracy
    said = " ".join(text.get_text() for text in figure.texts)
    assert f"paid minus correct is {gap:.2f}".replace("-", "−") in said.replace("\n", " ")
    assert "<img" in plots.show(figure).html


@pytest.mark.parametrize("runs", [{}, {"leaky": []}])
def test_paid_and_correct_without_records(runs):
    assert "Nothing trained yet" in paid_and_correct(runs).alt
    plots.show(paid_and_correct(runs))


@pytest.mark.parametrize("paid, limits", [(1.4, (0, 1.4)), (0.5, (0, 1)), (-0.3, (-0.3, 1))])
def test_paid_and_correct_of_one_step_and_of_rewards_beyond_the_scale(records, paid, limits):
    one = [replace(records[0], reward_mean=paid)]
    assert paid_and_correct({"bonus": one}).axes[0].get_ylim() == limits
    plots.show(paid_and_correct({"bonus": one}))


# --- the explorers, what was learnt, the quiz


def test_the_game_pays_what_the_reward_pays_and_has_a_reason_for_each_text():
    game = pay_or_not()
    for text, (completion, gold, why) in zip(game.data["texts"], GAME, strict=True):
        assert text["pays"] == correctness_reward(completion, gold)
        assert why.endswith(".") and len(why) < 90
    assert sum(text["pays"] for text in game.data["texts"]) == 4 and len(GAME) == 10
    assert game.paid == [None] * 10


@pytest.mark.parametrize(
    "accuracy, form, length, learnt",
    [
        (0.3125, 0.94, 35.6, "solves more"),
        (0.0, 0.008, 28.2, "drops the tag"),
        (0.0078, 0.76, 13.0, "guesses without working"),
        (0.0156, 0.2, 48.3, "adds useless words"),
        (0.1, 0.7, 24.0, "something else"),
    ],
)
def test_what_was_learnt_in_recorded_and_made_up_runs(records, accuracy, form, length, learnt):
    """The first four are measured: strict, half a point, minus 0.02 per word, 1/8 for each "="."""
    lengths = {"length_right": length, "length_wrong": length}
    first = replace(records[0], accuracy=0.086, format_rate=0.7, length_right=23, length_wrong=23.3)
    last = replace(records[-1], accuracy=accuracy, format_rate=form, **lengths)
    assert what_it_learnt([first, last]) == learnt
    assert learnt in WAYS


def test_nothing_was_learnt_without_records():
    with pytest.raises(ValueError, match="train first"):
        what_it_learnt([])


def test_floats_and_other_scripts_digits_are_both_told(capsys):
    pattern = r"([+-]?)\$?(\d+|\d{1,3}(?:,\d{3})+)(\.\d+)?(?: ?%|(?: [a-z]+)*)"

    def number(text):
        found = re.fullmatch(pattern, text or "")
        return found and float("".join(found.groups(default="")).replace(",", ""))

    def wrong(predicted, gold):
        return None not in (number(predicted), number(gold)) and number(predicted) == number(gold)

    assert check("answers_match", wrong) is False
    said = capsys.readouterr().out
    assert said.count("Likely:") == 2 and r"your \d" in said and "you compare floats" in said


def test_the_answers_of_the_quiz_are_those_of_the_package():
    rewards = torch.tensor([[0.5, *[0.0] * 7]])
    advantages = group_advantages(rewards)[0]
    assert advantages[0] > 0 and (advantages[1:] < 0).all() and rewards.mean() == 0.0625
    tags = "<answer> {} </answer> <answer> {} </answer>"
    assert [correctness_reward(tags.format(*x), "24") for x in ((25, 24), (24, 25), (24, 24))] == [
        0,
        0,
        1,
    ]


def test_the_readers_agree_with_the_package_on_every_example():
    for text, gold in examples().values():
        pays = {reader: paid for reader, _, paid in verdicts(text, gold) if paid is not None}
        found = [
            pays[next(name for name in pays if name.startswith(kind))]
            for kind in ("format", "strict", "lenient")
        ]
        assert found == [
            format_reward(text) == 1,
            correctness_reward(text, gold) == 1,
            lenient_correct(text, gold),
        ]


def test_the_examples_show_what_they_are_for():
    strict = {name: correctness_reward(*example) for name, example in examples().items()}
    right = [
        "as asked",
        "$1,080.00",
        "72 %",
        "72 clips per day",
        r"\boxed{72}",
        "two tags that agree",
    ]
    assert [
        name for name, paid in strict.items() if paid and not name.startswith("recorded")
    ] == right
    assert [paid for name, paid in strict.items() if name.startswith("recorded")] == [1, 1, 0, 0]
    assert lenient_correct(*examples()["no tags"]) and not strict["no tags"]
    assert examples()["72 or 73"][1] in examples()["72 or 73"][0]


def test_an_example_is_written_into_the_text_and_can_be_edited():
    explorer = reward_explorer()
    explorer.controls["example"].value = "$1,080.00"
    assert explorer.values["gold"] == "1080" and "$1,080.00" in explorer.values["text"]
    assert "correctness_reward: is it 1080?, pays 1" in explorer.picture.text
    explorer.controls["text"].value = explorer.values["text"].replace("$1,080.00", "1,08")
    assert "correctness_reward: is it 1080?, pays 0" in explorer.picture.text
    explorer.reset_button.click()
    assert explorer.values == reward_explorer().values


def test_the_table_shows_text_as_text():
    picture = reading_table("<answer> <b>7</b> & 2 </answer>", "<i>")
    assert "&lt;b&gt;7" in picture.html and "<b>" not in picture.html and "<i>" not in picture.html
    assert len(re.findall("<tr", picture.html)) == len(verdicts("", ""))


# --- the exercise


# Of these the exercise says that they state no number, and the package reads one.
STRICTER = {
    "a line break at the end",
    "a space in front",
    "a point without decimals",
    "decimals alone",
    "a unit in capitals",
}


def test_the_rules_that_the_exercise_states_give_the_verdicts_of_the_package_or_are_stricter():
    exercise = registry()["answers_match"]
    for case in exercise.cases():
        stated = exercise.reference(*case.args)
        assert (stated is answers_match(*case.args)) is (case.label not in STRICTER), case.label


def test_what_the_hints_say_solves_the_exercises():
    def by_the_hints(text):
        pieces = text.split("<answer>")[1:]
        if any("</answer>" not in piece for piece in pieces[:-1]):
            return None
        blocks = [
            piece.partition("</answer>")[0].strip() for piece in pieces if "</answer>" in piece
        ]
        return blocks[0] if len({parse_number(block) or block for block in blocks}) == 1 else None

    def shape_by_the_hints(text):
        tag = r"</?(?:reasoning|answer)>"
        if re.findall(tag, text) != ["<reasoning>", "</reasoning>", "<answer>", "</answer>"]:
            return 0.0
        pieces = [piece.strip() for piece in re.split(tag, text)]
        return float(all(pieces[1::2]) and not any(pieces[0::2]))

    assert all(
        by_the_hints(*case.args) == extract_answer(*case.args)
        for case in registry()["extract_answer"].cases()
    )
    assert all(
        shape_by_the_hints(*case.args) == format_reward(*case.args)
        for case in registry()["format_reward"].cases()
    )
