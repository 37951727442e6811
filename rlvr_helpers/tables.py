"""The comparison as a table: accuracies with intervals, and differences between methods, paired over seeds."""

from dataclasses import dataclass

from rlvr_helpers.evaluation import gain_interval, mcnemar, t_interval, wilson_interval
from rlvr_helpers.runs import Run


@dataclass(frozen=True)
class Row:
    """One line of the table: a method and a seed; strict and lenient accuracies and the strict gain in percent, each with
    its 95 % interval: Wilson's for an accuracy, a paired one for the gain."""

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

    @property
    def gain(self) -> float:
        return self.final - self.initial


def table_rows(results: dict[str, list[Run]]) -> list[Row]:
    """A row for each run."""
    return [_row(name, run) for name, runs in results.items() for run in runs]


def _row(name: str, run: Run) -> Row:
    def percent(interval) -> tuple[float, float]:
        return tuple(100 * end for end in interval)

    def scored(verdicts: list[bool]) -> tuple[float, tuple[float, float]]:
        right, n = sum(verdicts), len(verdicts)
        return 100 * right / n, percent(wilson_interval(right, n))

    strict = (*scored(run.start.strict), *scored(run.final.strict))
    gain = percent(gain_interval(run.start.strict, run.final.strict))
    lenient = (*scored(run.start.lenient), *scored(run.final.lenient))
    return Row(name, run.settings.seed, *strict, gain, *lenient, len(run.final.strict))


COLUMNS = ("initial %", 19), ("final %", 19), ("gain", 21), ("lenient: initial %", 19), ("final %", 17)


def _cell(value: float, interval: tuple[float, float], form: str = "4.1f") -> str:
    return f"{value:{form}} [{interval[0]:{form}}, {interval[1]:{form}}]"


def format_table(rows: list[Row]) -> str:
    """The table as text: each run, then each method's mean over seeds with its t-interval (95 %)."""
    head = f"{'method':<10}{'seed':>4}  " + "".join(f"{title:<{width}}" for title, width in COLUMNS).rstrip()
    lines = [head, rule := "-" * max(len(head), sum(width for _, width in COLUMNS) + 16)]
    for row in rows:
        cells = [
            _cell(row.initial, row.initial_interval), _cell(row.final, row.final_interval),
            _cell(row.gain, row.gain_interval, "+.1f"), _cell(row.lenient_initial, row.lenient_initial_interval),
            _cell(row.lenient_final, row.lenient_final_interval),
        ]  # fmt: skip
        lines.append(_line(row.method, row.seed, cells))
    lines.append(rule)
    for name in dict.fromkeys(row.method for row in rows):
        lines.append(_line(name, "mean", _means([row for row in rows if row.method == name])))
    lines.append(
        f"95 % intervals, on {rows[0].problems} held-out problems: Wilson's for an accuracy, Agresti and Min's (paired)"
    )
    lines.append("for a gain; in the lines of means Student's t over the seeds.")
    return "\n".join(lines)


def _line(method: str, seed, cells: list[str]) -> str:
    padded = (f"{cell:<{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True))
    return f"{method:<10}{seed:>4}  {''.join(padded)}".rstrip()


def _means(rows: list[Row]) -> list[str]:
    """The cells of a method's mean over seeds. All seeds begin with the same model: its accuracies need no mean."""

    def mean(values: list[float], form: str = "4.1f") -> str:
        value, low, high = t_interval(values)
        return _cell(value, (low, high), form) if len(values) > 1 else f"{value:{form}}"

    final, gain = mean([row.final for row in rows]), mean([row.gain for row in rows], "+.1f")
    lenient = mean([row.lenient_final for row in rows])
    return [f"{rows[0].initial:4.1f}", final, gain, f"{rows[0].lenient_initial:4.1f}", lenient]


def paired_differences(results: dict[str, list[Run]]) -> dict[str, list[float]]:
    """For each pair of methods the difference of final accuracy, in points, seed by seed ("A - B": [..])."""
    names, differences = list(results), {}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            other = {run.settings.seed: run for run in results[second]}
            pairs = [(run, other[run.settings.seed]) for run in results[first] if run.settings.seed in other]
            differences[f"{first} - {second}"] = [100 * (a.final.accuracy - b.final.accuracy) for a, b in pairs]
    return differences


def format_differences(results: dict[str, list[Run]]) -> str:
    """The paired differences as text, with their t-interval over seeds and McNemar's p for each pair of checkpoints."""
    lines = []
    for pair, points in paired_differences(results).items():
        mean, low, high = t_interval(points)
        first, second = pair.split(" - ")
        other = {run.settings.seed: run for run in results[second]}
        tests = [
            f"{mcnemar(run.final.strict, other[run.settings.seed].final.strict).p_value:.2f}"
            for run in results[first] if run.settings.seed in other
        ]  # fmt: skip
        interval = f"[{low:+.1f}, {high:+.1f}]" if len(points) > 1 else "(one seed: no interval)"
        verdict = "cannot be told apart" if not (low > 0 or high < 0) else "differ over these seeds"
        seeds = ", ".join(f"{x:+.1f}" for x in points)
        lines.append(f"{pair:<18}{mean:+5.1f} points {interval}: {verdict}")
        lines.append(f"{'':<18}by seed {seeds}; McNemar's p, checkpoint by checkpoint: {', '.join(tests)}")
    return "\n".join(lines)
