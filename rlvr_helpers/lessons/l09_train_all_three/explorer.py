"""The explorer of lesson 09: pick a run and a step, and see its ratios with the clip range drawn
in."""

import ipywidgets
from matplotlib.figure import Figure

from rlvr_helpers import plots
from rlvr_helpers.kit.recorded import recorded_runs
from rlvr_helpers.study.runs import Run
from rlvr_helpers.widgets.explorer import Explorer


def ratio_run_explorer(results: dict[str, list[Run]] | None = None) -> Explorer:
    """Token and sequence ratios of one step of one run, with the method's clip range on the level
    where it acts.

    results: runs by method name, as `run_comparison` fills them; default: those recorded in
        `data/runs/tiny`.
    """
    results = results or recorded_runs()
    steps = max(len(run.records) for runs in results.values() for run in runs)
    seeds = max(map(len, results.values()))

    def draw(method: str, seed: int, step: int) -> Figure:
        run = results[method][min(seed, len(results[method]) - 1)]
        record = run.records[min(step, len(run.records)) - 1]
        share = record.clip_fraction
        clipped = "no clip" if share is None else f"{share:.1%} of {record.clip_unit} clipped"
        title = f"{method}, seed {run.settings.seed}, step {record.step}: {clipped}"
        return plots.ratio_distributions(
            {method: [run.records]}, {method: run.method}, [record.step], title
        )

    return Explorer(
        draw,
        method=ipywidgets.ToggleButtons(options=list(results), description="method"),
        seed=ipywidgets.IntSlider(0, min=0, max=max(seeds - 1, 1), description="seed"),
        step=ipywidgets.IntSlider(1, min=1, max=max(steps, 2), description="step"),
    )
