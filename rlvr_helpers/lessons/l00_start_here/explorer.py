"""One group, step by step: eight answers, their marks, and the first word before and after one
update.

group = one_group()
group                        # as a cell's last line it shows itself
group.marks = [0] * 8        # every value that a reader changes is a trait
"""

import json
from html import escape
from pathlib import Path

import traitlets

from rlvr_helpers.paths import DATA
from rlvr_helpers.widgets.live import LiveExplorer, Still, value
from rlvr_helpers.widgets.words import ONE_GROUP

OPENING = "<reasoning> "
INK = "#767676"  # reads on white and on black
# Blue and orange of the Okabe-Ito palette, which colour-blind readers tell apart.
UP = "#0072B2"
DOWN = "#D55E00"
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
    shapes = [f'<text x="4" y="16" font-weight="bold">{escape(question)}</text>']
    y = 44
    for reward, (first, rest) in zip(data["rewards"], data["rows"], strict=True):
        colour = UP if reward else DOWN
        text = f"{first} {rest}"
        text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
        shapes.append(f'<text x="4" y="{y}" fill="{colour}">R = {reward}</text>')
        shapes.append(f'<text x="62" y="{y}">{escape(text)}</text>')
        y += 22

    # Write each first word's share before and after the update. The recording has an update for
    # each of the 256 ways to mark the answers: bit i of its number is mark i.
    after = data["after"][sum(reward << i for i, reward in enumerate(data["rewards"]))]
    told = []
    for word, old, new in zip(data["words"], data["before"], after, strict=True):
        told.append(f"“{word}” {100 * old:.0f} % → {100 * new:.0f} %")
        shapes.append(f'<text x="62" y="{y + 12}" font-weight="bold">{escape(told[-1])}</text>')
        y += 22
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{y + 6}" fill="{INK}"'
        f' font-family="sans-serif" font-size="13">{"".join(shapes)}</svg>'
    )
    alt = ONE_GROUP["alt"].format(told=", ".join(told[:2]))
    return Still(svg, alt, 760, height=y + 6, description=ONE_GROUP["still"])
