"""The explorer of lesson 04: eight answers with rewards to click, the baseline as a line, and 200
sampled updates around their mean.

answers = eight_answers()
answers                   # as a cell's last line it shows itself
answers.baseline = 2.0    # every value that a reader changes is a trait
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import traitlets

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.kit.language import translated
from rlvr_helpers.kit.recorded import RecordedGroup, recorded_group
from rlvr_helpers.plots.house import BLUE, INK, ORANGE
from rlvr_helpers.rewards import extract_answer
from rlvr_helpers.widgets.live import LiveExplorer, Still, svg_text, value

WIDTH = 640

WORDS = {
    # The answers above.
    "question": "{question} Correct: {answer}.",
    "picture": "Rewards with the baseline, and the advantages",
    "hover": "Press an answer to flip its reward. Drag the line to move the baseline.",
    "text": "{n}: {text}",
    "flip": "Answer {n}, {says}: reward {reward}, advantage {a}. Press to flip the reward.",
    "none": "none",
    # The controls and the axes.
    "kind": "A =",
    "kinds": {
        "fixed": "R − b",
        "none": "R − mean",
        "leave_one_out": "R − mean of others",
        "std": "(R − mean) / std",
    },
    "reset": "Reset",
    "baseline": "baseline b",
    "line": "Baseline, as a line",
    "baseline_is": "baseline {b}",
    "reward_axis": "reward",
    "advantage_axis": "advantage",
    # The cloud of updates.
    "cloud": "200 updates, each from 8 answers drawn from these (equally likely)",
    "along": (
        "Right is along the exact gradient (thin arrow). The thick arrow is the expected update."
        " Up and down is sideways: noise."
    ),
    "says": (
        "The expected update is {factor} times the exact gradient. Single updates scatter around it"
        " by {scatter} times its length."
    ),
    "silent": "All rewards are equal: the exact gradient is 0. What you see is noise.",
    # What a screen reader says of the cloud.
    "heard": "{cloud}. {says} {ahead} of the {all} point along the exact gradient.",
    # The still picture in words.
    "alt": "Eight answers to one problem, {right} correct, with their advantages as bars.",
    "long": (
        "With the mean as baseline, the {right} correct answers have the advantage {plus}, the"
        " others {minus}."
    ),
}
WORDS = translated(WORDS)


class EightAnswers(LiveExplorer):
    """A group of eight answers.

    rewards:  of each answer, 1 or 0
    kind:     how advantages are made: "fixed" (R - baseline), or a `scale` of `group_advantages`
    baseline: the fixed number that is subtracted
    """

    script = Path(__file__).with_name("explorer.js")
    rewards = value(traitlets.List())
    kind = value(traitlets.Enum(["fixed", "none", "leave_one_out", "std"], "fixed"))
    baseline = value(traitlets.Float(0.0, min=-1.0, max=3.0))


def eight_answers(**values: object) -> EightAnswers:
    """The recorded group of eight answers. Keywords set the explorer's traits."""
    group = recorded_group()
    words = {**WORDS, "question": question_of(group)}
    rewards = [int(reward) for reward in group.rewards.tolist()]
    values = {"rewards": rewards, **values}
    return EightAnswers(
        data={"answers": answers_of(group)}, words=words, still=still(rewards), **values
    )


def question_of(group: RecordedGroup) -> str:
    return WORDS["question"].format(question=group.question, answer=group.answer)


def answers_of(group: RecordedGroup) -> list[dict[str, str]]:
    """What each answer says in its tag, and its whole text."""
    found = []
    for tokens in group.tokens:
        text = " ".join(token for token in tokens if not token.startswith("<|"))
        found.append({"says": extract_answer(text) or WORDS["none"], "text": text})
    return found


def still(rewards: Sequence[int]) -> Still:
    """The advantages with the group's mean as baseline. It reads on white and on black."""
    advantages = group_advantages(torch.tensor([rewards], dtype=torch.float64), "none")[0].tolist()
    parts = [f'<path d="M20 130H{WIDTH - 20}" stroke="{INK}"/>']
    # Draw each advantage as a bar, up or down from the line, under its reward.
    for k, (reward, advantage) in enumerate(zip(rewards, advantages, strict=True)):
        x = 60 + 74 * k
        height = 100 * abs(advantage)
        top = 130 - max(100 * advantage, 0)
        colour = BLUE if advantage > 0 else ORANGE
        parts += [
            f'<rect x="{x - 22}" y="{top:.0f}" width="44" height="{height:.0f}" fill="{colour}"/>',
            svg_text(x, 24, f"reward {reward}"),
            svg_text(x, 200, f"{advantage:+.2f}".replace("-", "−")),
        ]
    given = {
        "right": sum(rewards),
        "plus": f"{max(advantages):+.2f}",
        "minus": f"{min(advantages):+.2f}".replace("-", "−"),
    }
    alt, long = (WORDS[name].format(**given) for name in ("alt", "long"))
    return Still.of(parts, WIDTH, 215, alt=alt, description=long)
