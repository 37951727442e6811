"""The explorer of lesson 02: edit a completion and watch what each reader makes of it."""

import html

import ipywidgets

from rlvr_helpers.kit.recorded import four_rollouts
from rlvr_helpers.plots import INK, Picture
from rlvr_helpers.rewards import (
    correctness_reward,
    extract_answer,
    format_reward,
    lenient_answer,
    lenient_correct,
    parse_number,
)
from rlvr_helpers.widgets.explorer import Explorer

PAYS = "#009E73"
REFUSES = "#D55E00"
LONGEST = 60  # characters of a text that are shown
HEIGHT = 34  # pixels of a row
ROW = f"height:{HEIGHT}px;border-bottom:1px solid {INK};background:none"
CELL = (
    "padding:2px 8px;text-align:left;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
    ";border:0;color:inherit"
)
WIDTHS = (230, 330, 90)  # pixels of the columns


def in_tags(answer: str) -> str:
    return f"<reasoning> 48 + 24 = 72. </reasoning> <answer> {answer} </answer>"


def examples() -> dict[str, tuple[str, str]]:
    """Ready examples: what the menu says -> (completion, gold answer)."""
    four = four_rollouts()
    return {
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
    """What each reader makes of a completion: (reader, what it sees, whether it pays; None: it only
    reads)."""
    answer = extract_answer(text)
    last = lenient_answer(text)
    number = None if answer is None else parse_number(answer)
    formatted = format_reward(text) == 1.0
    strict = correctness_reward(text, gold) == 1.0
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
    color, dot = (PAYS, "●") if pays else (REFUSES, "○")
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

    def write_example(change) -> None:
        text.value, gold.value = ready[change["new"]]

    menu.observe(write_example, "value")  # before the explorer's own, which then draws the new text

    def draw(example: str, text: str, gold: str) -> Picture:
        return reading_table(text, gold)  # the example has been written into the text

    return Explorer(draw, example=menu, text=text, gold=gold)
