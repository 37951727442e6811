"""One group, step by step: eight answers, their marks, and the first word before and after one
update.

group = one_group()
group                        # as a cell's last line it shows itself
group.marks = [0] * 8        # every value that a reader changes is a trait
"""

import json
from pathlib import Path

import traitlets

from rlvr_helpers.paths import DATA
from rlvr_helpers.plots.house import BLUE, ORANGE
from rlvr_helpers.widgets.live import LiveExplorer, Still, svg_text, value
from rlvr_helpers.widgets.words import ONE_GROUP

OPENING = "<reasoning> "
LONGEST = 88  # characters of an answer in the still picture


class OneGroup(LiveExplorer):
    """Its traits are what a reader changes.

    stage: "sample", "reward", "advantage" or "update"
    marks: 1 or 0 for each of the eight answers
    """

    script = Path(__file__).with_name("explorer.js")
    stage = value(traitlets.Enum(["sample", "reward", "advantage", "update"], "sample"))
    marks = value(traitlets.List(traitlets.Int(min=0, max=1), minlen=8, maxlen=8))


def one_group(stage: str = "sample") -> OneGroup:
    """The group that `tools/record_first_update.py` recorded, at its first stage."""
    recorded = json.loads((DATA / "rollouts" / "first_update.json").read_text(encoding="utf-8"))
    data = group_data(recorded)
    return OneGroup(data, ONE_GROUP, still(data), stage=stage, marks=data["rewards"])


def group_data(recorded: dict) -> dict:
    """The recording for the page: each answer as its first word and the rest."""
    rows = []
    for first, text in zip(recorded["first"], recorded["texts"], strict=True):
        rows.append([first, text.removeprefix(OPENING + first).strip()])
    names = ("question", "answer", "words", "before", "after")
    return {
        **{name: recorded[name] for name in names},
        "rows": rows,
        "rewards": [int(reward) for reward in recorded["rewards"]],
    }


def still(data: dict) -> Still:
    """The answers with their marks, and the first word before and after the update."""
    # Write the question, then a line per answer.
    question = ONE_GROUP["question"].format(**data)
    shapes = [svg_text(4, 16, question, anchor="start", font_weight="bold")]
    y = 44
    for reward, (first, rest) in zip(data["rewards"], data["rows"], strict=True):
        text = f"{first} {rest}"
        text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
        shapes.append(
            svg_text(4, y, f"R = {reward}", anchor="start", fill=BLUE if reward else ORANGE)
        )
        shapes.append(svg_text(62, y, text, anchor="start"))
        y += 22

    # Write each first word's share before and after the update. The recording has an update for
    # each of the 256 ways to mark the answers: bit i of its number is mark i.
    after = data["after"][sum(reward << i for i, reward in enumerate(data["rewards"]))]
    told = []
    for word, old, new in zip(data["words"], data["before"], after, strict=True):
        told.append(f"“{word}” {100 * old:.0f} % → {100 * new:.0f} %")
        shapes.append(svg_text(62, y + 12, told[-1], anchor="start", font_weight="bold"))
        y += 22
    alt = ONE_GROUP["alt"].format(told=", ".join(told[:2]))
    return Still.of(shapes, 760, y + 6, alt=alt, description=ONE_GROUP["still"])
