"""The comparison as a table: accuracies with intervals, and differences between methods, paired over seeds."""

from dataclasses import dataclass

from rlvr_helpers.evaluation import mcnemar, t_interval, wilson_interval
from rlvr_helpers.runs import Run


@dataclass(frozen=True)
class Row:
    """One line of the table: a method and a seed, accuracies in percent with Wilson's 95 % intervals."""

    method: str
    seed: int
    initial: float
    initial_interval: tuple[float, float]
    final: float
    final_interval: tuple[float, float]
    lenient_initial: float
    lenient_final: float
    problems: int

    @property
    def gain(self) -> float:
        return self.final - self.initial


def table_rows(results: dict[str, list[Run]]) -> list[Row]:
    """A row for each run, strict accuracy with its interval and lenient accuracy beside it."""
    rows = []
    for name, runs in results.items():
        for run in runs:
            n = len(run.final.strict)
            intervals = [tuple(100 * x for x in wilson_interval(sum(e.strict), n)) for e in (run.start, run.final)]
            rows.append(
                Row(
                    name,
                    run.settings.seed,
                    100 * run.start.accuracy,
                    intervals[0],
                    100 * run.final.accuracy,
                    intervals[1],
                    100 * run.start.lenient_accuracy,
                    100 * run.final.lenient_accuracy,
                    n,
                )  # fmt: skip
            )
    return rows


def format_table(rows: list[Row]) -> str:
    """The table as text: each run, then each method's mean over seeds with its t-interval (95 %)."""
    head = f"{'method':<10}{'seed':>5}  {'initial %':<22}{'final %':<22}{'gain':>6}   lenient %"
    lines = [head, "-" * len(head)]
    for row in rows:
        first = f"{row.initial:5.1f} [{row.initial_interval[0]:4.1f}, {row.initial_interval[1]:4.1f}]"
        last = f"{row.final:5.1f} [{row.final_interval[0]:4.1f}, {row.final_interval[1]:4.1f}]"
        lenient = f"{row.lenient_initial:5.1f} to {row.lenient_final:.1f}"
        lines.append(f"{row.method:<10}{row.seed:>5}  {first:<22}{last:<22}{row.gain:+6.1f}   {lenient}")
    lines.append("-" * len(head))
    for name in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == name]
        mean, low, high = t_interval([row.final for row in mine])
        gain = sum(row.gain for row in mine) / len(mine)
        spread = f"{mean:5.1f} [{low:4.1f}, {high:4.1f}]" if len(mine) > 1 else f"{mean:5.1f}"
        lines.append(f"{name:<10}{'mean':>5}  {mine[0].initial:5.1f}{'':<17}{spread:<22}{gain:+6.1f}")
    lines.append(
        f"Intervals: Wilson on {rows[0].problems} held-out problems for a run, Student's t over seeds for a mean (95 %)."
    )
    return "\n".join(lines)


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
