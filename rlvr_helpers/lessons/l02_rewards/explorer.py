"""The explorers of lesson 02: ten texts to pay or not, and a completion to edit, as each reader
sees it."""

import html
from pathlib import Path

import ipywidgets
import traitlets

from rlvr_helpers.kit.recorded import four_rollouts
from rlvr_helpers.plots.house import GREEN, INK, ORANGE, Picture
from rlvr_helpers.rewards import (
    correctness_reward,
    extract_answer,
    format_reward,
    lenient_answer,
    lenient_correct,
    parse_number,
)
from rlvr_helpers.widgets.explorer import Explorer
from rlvr_helpers.widgets.live import LiveExplorer, Still, svg_text, value
from rlvr_helpers.widgets.words import PAY_OR_NOT

LONGEST = 60  # characters of a text that are shown
HEIGHT = 34  # pixels of a row
ROW = f"height:{HEIGHT}px;border-bottom:1px solid {INK};background:none"
CELL = (
    "padding:2px 8px;text-align:left;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
    ";border:0;color:inherit"
)
WIDTHS = (230, 330, 90)  # pixels of the columns


# (completion, known answer, why it is paid or not)
GAME = [
    (
        "<reasoning> It is about 72. </reasoning> <answer> 72 </answer>",
        "72",
        "The reward sees the result only. It pays a lucky guess.",
    ),
    ("48 + 24 = 72. So it is 72.", "72", "There is no answer tag, so there is no answer."),
    ("<answer> 72 clips per day </answer>", "72", "One number, and words that do not change it."),
    ("<answer> 72 or 73 </answer>", "72", "Two numbers. To pay them would reward listing several."),
    ("<answer> $1,080.00 </answer>", "1080", "The comma groups thousands: the value is 1080."),
    ("<answer> 1.080 </answer>", "1080", "A point begins the decimals: the value is 1.08."),
    (
        "<answer> 72 </answer> Wait. <answer> 73 </answer>",
        "72",
        "Two answers that disagree. Nobody can say which was meant.",
    ),
    (
        "<answer> 72 </answer> Yes. <answer> $72.00 </answer>",
        "72",
        "Two answers that agree are one answer.",
    ),
    ("<answer> about 72 </answer>", "72", "The word loosens the number, so no number is stated."),
    (
        "<answer> 72.0000000001 </answer>",
        "72",
        "Values are compared exactly. A near miss is wrong.",
    ),
]


class PayOrNot(LiveExplorer):
    """The game. `paid` is 1 or 0 for each text, or None until it is chosen."""

    script = Path(__file__).with_name("explorer.js")
    paid = value(traitlets.List())


def pay_or_not() -> PayOrNot:
    """The game on ten texts. `correctness_reward` decides which of them pay."""
    texts = [
        {"text": text, "gold": gold, "pays": int(correctness_reward(text, gold)), "why": why}
        for text, gold, why in GAME
    ]
    return PayOrNot({"texts": texts}, PAY_OR_NOT, still(), paid=[None] * len(texts))


def still() -> Still:
    """The texts and the known answers, without what is paid."""
    shapes = [
        svg_text(4, 20 + 24 * i, f"{i + 1}. {text} (known answer: {gold})", anchor="start")
        for i, (text, gold, _) in enumerate(GAME)
    ]
    return Still.of(
        shapes,
        760,
        24 * len(GAME) + 8,
        alt=PAY_OR_NOT["alt"],
        description=PAY_OR_NOT["still"],
        font="monospace",
    )


def in_tags(answer: str) -> str:
    return f"<reasoning> 48 + 24 = 72. </reasoning> <answer> {answer} </answer>"


def examples() -> dict[str, tuple[str, str]]:
    """Ready examples: what the menu says -> (completion, gold answer)."""
    four = four_rollouts()
    return {
        # What stands in the tag: one number, two, or none that can be read.
        "as asked": (in_tags("72"), "72"),
        "72 or 73": (in_tags("72 or 73"), "72"),
        "not 72 but 73": (in_tags("not 72 but 73"), "73"),
        "1072": (in_tags("1072"), "72"),
        "$1,080.00": (in_tags("$1,080.00"), "1080"),
        "1.080": (in_tags("1.080"), "1080"),
        "72 %": (in_tags("72 %"), "72"),
        "72 clips per day": (in_tags("72 clips per day"), "72"),
        r"\boxed{72}": (in_tags(r"\boxed{72}"), "72"),
        "70 + 2": (in_tags("70 + 2"), "72"),
        "72.0000000001": (in_tags("72.0000000001"), "72"),
        # The tags themselves.
        "no tags": ("48 + 24 = 72. So it is 72.", "72"),
        "tag never closed": ("<reasoning> 48 + 24 = 72. </reasoning> <answer> 72", "72"),
        "two tags that agree": (in_tags("72") + " <answer> $72.00 </answer>", "72"),
        "two tags that differ": (in_tags("72") + " <answer> 73 </answer>", "72"),
        "tags, and nothing right": (in_tags("99"), "72"),
        **{
            f"recorded: {kind}": (text, four.answer)
            for kind, text in zip(four.kinds, four.texts, strict=True)
        },
    }


def verdicts(text: str, gold: str) -> list[tuple[str, str, bool | None]]:
    """What each reader makes of a completion: (reader, what it sees, whether it pays or None if it
    only reads)."""
    # Let each reader read.
    answer = extract_answer(text)
    last = lenient_answer(text)
    number = None if answer is None else parse_number(answer)
    formatted = format_reward(text) == 1.0
    strict = correctness_reward(text, gold) == 1.0

    # Say what each one saw, from the form to the loosest reward.
    return [
        (
            "format_reward",
            "reasoning, then answer" if formatted else "not the shape asked for",
            formatted,
        ),
        ("extract_answer", "no answer" if answer is None else f"“{answer}”", None),
        ("the number in that answer", "none, or not just one" if number is None else number, None),
        ("strict: correctness_reward", f"is it {gold.strip() or 'missing'}?", strict),
        ("lenient: tag or not", "no number" if last is None else last, lenient_correct(text, gold)),
        ("leaky: gold in text", f"is “{gold}” anywhere?", bool(gold) and gold in text),
    ]


def reading_table(text: str, gold: str) -> Picture:
    """The readers and their verdicts as a table of fixed size."""
    # Make a row of each verdict, and a sentence for readers who do not see the table.
    rows = []
    words = []
    for reader, seen, pays in verdicts(text, gold):
        seen = seen if len(seen) <= LONGEST else f"{seen[: LONGEST - 1]}…"
        verdict = "" if pays is None else "pays 1" if pays else "pays 0"
        cells = (
            _cell(*cell)
            for cell in zip((_plain(reader), _plain(seen), _mark(pays)), WIDTHS, strict=True)
        )
        rows.append(f'<tr style="{ROW}">{"".join(cells)}</tr>')
        words.append(f"{reader}: {seen}{', ' + verdict if verdict else ''}")

    # Fix the size, so that the page does not jump while one types.
    width = sum(WIDTHS)
    height = HEIGHT * len(rows)
    table = (
        f'<table width="{width}" height="{height}"'
        f' style="width:{width}px;height:{height}px;margin:6px'
        f' 0;table-layout:fixed;border-collapse:collapse;font-size:14px">{"".join(rows)}</table>'
    )
    return Picture(table, ". ".join(words) + ".")


def _plain(text: str) -> str:
    return html.escape(" ".join(text.split()))


def _mark(pays: bool | None) -> str:
    """The verdict in the theme's own colour of text, behind a dot: filled and green, or hollow and
    orange."""
    if pays is None:
        return ""
    color, dot = (GREEN, "●") if pays else (ORANGE, "○")
    return (
        f'<span aria-hidden="true" style="color:{color}">{dot}</span> <strong>pays'
        f" {pays:d}</strong>"
    )


def _cell(content: str, width: int) -> str:
    return f'<td style="{CELL};width:{width}px;max-width:{width}px">{content}</td>'


def reward_explorer() -> Explorer:
    """A menu of ready completions, the completion itself to edit, and the gold answer."""
    ready = examples()
    first = next(iter(ready))
    menu = ipywidgets.Dropdown(options=list(ready), value=first, description="ready examples")
    text = ipywidgets.Textarea(ready[first][0], description="the completion", rows=5)
    gold = ipywidgets.Text(ready[first][1], description="the gold answer")

    def write_example(change: dict) -> None:
        text.value, gold.value = ready[change["new"]]

    menu.observe(write_example, "value")  # before the explorer's own, which then draws the new text

    def draw(example: str, text: str, gold: str) -> Picture:
        return reading_table(text, gold)  # the example has been written into the text

    return Explorer(draw, example=menu, text=text, gold=gold)
