"""The comparison as a table: accuracies with intervals, and differences between methods, paired
over seeds."""

import itertools
from dataclasses import dataclass

from rlvr_helpers.evaluation import Evaluation, gain_interval, mcnemar, t_interval, wilson_interval
from rlvr_helpers.study.runs import Run


@dataclass(frozen=True)
class Row:
    """One line of the table: a method and a seed, with accuracies and the strict gain in percent.

    Each has its 95 % interval, Wilson's for an accuracy and a paired one for the gain.
    step: the step after which the final figures were taken. 0: none was evaluated, and they are
        those before training.
    done, steps: how many steps were taken, of how many.
    """

    method: str
    seed: int
    initial: float
    initial_interval: tuple[float, float]
    final: float
    final_interval: tuple[float, float]
    gain_interval: tuple[float, float]
    lenient_initial: float
    lenient_initial_interval: tuple[float, float]
    lenient_final: float
    lenient_final_interval: tuple[float, float]
    problems: int
    step: int = 0
    done: int = 0
    steps: int = 0

    @property
    def stopped(self) -> bool:
        return self.done < self.steps

    @property
    def gain(self) -> float:
        return self.final - self.initial


def table_rows(results: dict[str, list[Run]]) -> list[Row]:
    """A row for each run that was evaluated."""
    return [_row(name, run) for name, runs in results.items() for run in runs if run.start]


def _row(name: str, run: Run) -> Row:
    def percent(interval: tuple[float, float]) -> tuple[float, float]:
        return tuple(100 * end for end in interval)

    def scored(verdicts: list[bool]) -> tuple[float, tuple[float, float]]:
        correct = sum(verdicts)
        n = len(verdicts)
        return 100 * correct / n, percent(wilson_interval(correct, n))

    # In the order of the fields of Row.
    strict = (*scored(run.start.strict), *scored(run.final.strict))
    gain = percent(gain_interval(run.start.strict, run.final.strict))
    lenient = (*scored(run.start.lenient), *scored(run.final.lenient))
    at = run.final_step, run.records[-1].step, run.settings.steps
    return Row(name, run.settings.seed, *strict, gain, *lenient, len(run.final.strict), *at)


# Titles and widths: wide enough for an accuracy with its interval.
COLUMNS = (
    ("initial %", 19),
    ("at step", 9),
    ("final %", 19),
    ("gain", 21),
    ("lenient: initial %", 19),
    ("final %", 17),
)


def _cell(value: float, interval: tuple[float, float], form: str = "4.1f") -> str:
    return f"{value:{form}} [{interval[0]:{form}}, {interval[1]:{form}}]"


def format_table(rows: list[Row]) -> str:
    """The table as text: each run, then each method's mean over its seeds with a t-interval (95 %).

    A run that was stopped is marked, and counts in no mean.
    """
    if not rows:
        return "No run has been evaluated yet."
    head = (
        f"{'method':<10}{'seed':>4}  "
        + "".join(f"{title:<{width}}" for title, width in COLUMNS).rstrip()
    )
    lines = [head, rule := "-" * max(len(head), sum(width for _, width in COLUMNS) + 16)]
    # A line for each run, and one for each method's mean.
    lines += [_line(row.method, row.seed, _cells(row)) for row in rows]
    lines.append(rule)
    for name in dict.fromkeys(row.method for row in rows):
        # A stopped run has fewer steps, so it would pull the mean down.
        finished = [row for row in rows if row.method == name and not row.stopped]
        cells = _means(finished) if finished else ["no run has ended", *[""] * (len(COLUMNS) - 1)]
        lines.append(_line(name, "mean", cells))
    lines.append(
        f"95 % intervals, on {rows[0].problems} held-out problems: Wilson's for an accuracy,"
        " Agresti and Min's (paired)"
    )
    lines.append(
        "for a gain; in the lines of means Student's t over the seeds. initial: before training."
    )
    for row in rows:
        if row.stopped:
            taken = (
                f"its final figures are those after step {row.step}"
                if row.step
                else "not evaluated since it began"
            )
            lines.append(
                f"* {row.method}, seed {row.seed}: stopped after {row.done} of {row.steps} steps;"
                f" {taken}."
            )
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    """The cells of a run. If none of its steps was evaluated, there is no final figure."""
    initial = _cell(row.initial, row.initial_interval)
    lenient = _cell(row.lenient_initial, row.lenient_initial_interval)
    at = f"{row.step or '-'}{'*' * row.stopped}"
    if not row.step:
        return [initial, at, "-", "-", lenient, "-"]
    final = _cell(row.final, row.final_interval)
    gain = _cell(row.gain, row.gain_interval, "+.1f")
    return [initial, at, final, gain, lenient, _cell(row.lenient_final, row.lenient_final_interval)]


def _line(method: str, seed: object, cells: list[str]) -> str:
    padded = (f"{cell:<{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True))
    return f"{method:<10}{seed:>4}  {''.join(padded)}".rstrip()


def _means(rows: list[Row]) -> list[str]:
    """The cells of a method's mean over seeds. All seeds begin with the same model, so its
    accuracies need no mean."""

    def mean(values: list[float], form: str = "4.1f") -> str:
        value, low, high = t_interval(values)
        return _cell(value, (low, high), form) if len(values) > 1 else f"{value:{form}}"

    final = mean([row.final for row in rows])
    gain = mean([row.gain for row in rows], "+.1f")
    lenient = mean([row.lenient_final for row in rows])
    # Seeds can have stopped at different steps. Then no step is named.
    at = str(rows[0].step) if len({row.step for row in rows}) == 1 else ""
    return [f"{rows[0].initial:4.1f}", at, final, gain, f"{rows[0].lenient_initial:4.1f}", lenient]


def compared(results: dict[str, list[Run]]) -> tuple[int, list[int]]:
    """The step at which methods can be compared, and the seeds. It is the last step that is
    evaluated in every run of these seeds. A seed counts if each method has a run of it with an
    evaluation after training began. (0, []) if none does."""
    # The evaluated steps of every run, by seed.
    steps: dict[int, list[set[int]]] = {}
    for runs in results.values():
        for run in runs:
            steps.setdefault(run.settings.seed, []).append({r.step for r in run.records if r.eval})
    whole = {
        seed: found
        for seed, found in steps.items()
        if len(found) == len(results) and set.intersection(*found)
    }
    common = (
        set.intersection(*(found for sets in whole.values() for found in sets)) if whole else set()
    )
    return (max(common), sorted(whole)) if common else (0, [])


def _pairs(results: dict[str, list[Run]]) -> dict[str, list[tuple[Evaluation, Evaluation]]]:
    """For each pair of methods their evaluations at the step of `compared`, seed by seed."""
    step, seeds = compared(results)
    # The evaluations at that step, by method and seed.
    of = {
        name: {
            run.settings.seed: next((r.eval for r in run.records if r.step == step), None)
            for run in runs
        }
        for name, runs in results.items()
    }
    # Every two methods, in the order of the table.
    pairs = itertools.combinations(results, 2)
    return {
        f"{a} - {b}": [(of[a][seed], of[b][seed]) for seed in of[a] if seed in seeds]
        for a, b in pairs
    }


def paired_differences(results: dict[str, list[Run]]) -> dict[str, list[float]]:
    """For each pair of methods the difference of accuracy, in points, seed by seed ("A - B": [..]),
    at the last step that is evaluated in all their runs (`compared`)."""
    pairs = _pairs(results)
    return {
        pair: [100 * (a.accuracy - b.accuracy) for a, b in found] for pair, found in pairs.items()
    }


def format_differences(results: dict[str, list[Run]]) -> str:
    """The paired differences as text, with their t-interval over seeds and McNemar's p for each
    pair of checkpoints."""
    step, seeds = compared(results)
    if not step:
        return "No differences: there is no step after which every method was evaluated."
    lines = []
    # Say so if some runs have gone further than others.
    if any(run.final_step != step or run.stopped for runs in results.values() for run in runs):
        named = ", ".join(map(str, seeds))
        lines.append(
            f"Not all runs have ended: differences after step {step}, the last that all have, seeds"
            f" {named}."
        )
    for pair, found in _pairs(results).items():
        points = [100 * (a.accuracy - b.accuracy) for a, b in found]
        mean, low, high = t_interval(points)
        # McNemar speaks of two checkpoints, the t-interval of two methods.
        tests = [_p_value(mcnemar(a.strict, b.strict).p_value) for a, b in found]
        # Three possible statements: differ, cannot be told apart, or none at all.
        verdict = f"[{low:+.1f}, {high:+.1f}]: differ over these seeds"
        if len(points) == 1:
            verdict = "(one seed: no statement)"
        elif low <= 0 <= high:
            verdict = f"[{low:+.1f}, {high:+.1f}]: cannot be told apart"
        lines.append(f"{pair:<18}{mean:+5.1f} points {verdict}")
        by_seed = ", ".join(f"{x:+.1f}" for x in points)
        lines.append(
            f"{'':<18}by seed {by_seed}; McNemar's p, checkpoint by checkpoint: {', '.join(tests)}"
        )
    return "\n".join(lines)


def _p_value(p: float) -> str:
    return f"{p:.2f}" if p >= 0.005 else "<0.005"
