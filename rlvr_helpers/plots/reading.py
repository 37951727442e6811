"""What the model writes while it learns: completions of one held-out problem, as a table."""

import html
from collections.abc import Sequence

from rlvr_helpers.evaluation import Reading
from rlvr_helpers.plots.house import Picture
from rlvr_helpers.records import StepRecord

CELL = "padding:2px 8px;text-align:left;vertical-align:top"


def readings(records: Sequence[StepRecord]) -> dict[int, Reading]:
    """The completions of each evaluation, by step. Step 0 is before training."""
    start = [(0, record.start_reading) for record in records[:1]]
    later = [(record.step, record.reading) for record in records]
    return {step: reading for step, reading in start + later if reading}


def completions(records: Sequence[StepRecord], steps: Sequence[int] | None = None) -> Picture:
    """The completions of the held-out problem that a run reads at every evaluation.

    steps: of which evaluations, by default the first and the last. Nothing is shown if none is
        there.
    """
    # The evaluations to show: of the sorted steps the first and the last.
    found = readings(records)
    chosen = sorted(found)[:: max(1, len(found) - 1)] if steps is None else steps
    chosen = [step for step in chosen if step in found]
    if not chosen:
        return Picture("", "")
    # The problem, then a line for each completion.
    problem = found[chosen[0]]
    title = f"One held-out problem: {problem.question}"
    if problem.answer:
        title += f" (answer: {problem.answer})"
    lines = [line for step in chosen for line in _lines(step, found[step])]
    # The lines as an HTML table, and as text.
    rows = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{html.escape(cell)}</td>' for cell in line) + "</tr>"
        for line in lines
    )
    names = ("step", "reward", "correct", "completion")
    head = "".join(f'<th scope="col" style="{CELL}">{name}</th>' for name in names)
    table = f'<table style="font-size:12px">\n<tr>{head}</tr>{rows}</table>'
    text = "\n".join([title, *("  ".join(line) for line in lines)])
    return Picture(f"<div><div>{html.escape(title)}</div>{table}</div>", text)


def _lines(step: int, reading: Reading) -> list[tuple[str, str, str, str]]:
    """A line for each completion. The step stands in the first."""
    rows = zip(reading.rewards, reading.correct, reading.texts, strict=True)
    return [
        (str(step) if k == 0 else "", f"{reward:.2f}", "yes" if correct else "no", text)
        for k, (reward, correct, text) in enumerate(rows)
    ]
