"""Draws the README's pictures from the recorded runs, on white.

python -m rlvr_helpers.tools.readme_figures --runs data/runs/tiny --out data/figures
"""

import argparse
from pathlib import Path

from rlvr_helpers import plots
from rlvr_helpers.engine.files import write_whole
from rlvr_helpers.study.runs import Run, load_run


def load_runs(folder: Path) -> dict[str, list[Run]]:
    """All runs of a folder by method name, in the order of GRPO, Dr. GRPO, GSPO, seeds in order."""
    runs: dict[str, list[Run]] = {}
    # By name Dr. GRPO would come first.
    for path in sorted(
        folder.glob("*.json"),
        key=lambda p: (p.stem.startswith("gspo"), p.stem.startswith("dr_"), p.stem),
    ):
        run = load_run(path)
        runs.setdefault(run.method.name, []).append(run)
    if not runs:
        raise ValueError(f"there is no run in the folder {folder.name!r}: give one with run files")
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    runs = load_runs(options.runs)
    records = {name: [run.records for run in of_method] for name, of_method in runs.items()}
    methods = {name: of_method[0].method for name, of_method in runs.items()}
    # Accuracy over the steps, and how the ratios spread.
    figures = {
        "accuracy": plots.accuracy_curves(records),
        "ratios": plots.ratio_distributions(records, methods),
    }
    for name, figure in figures.items():
        # White, since a README is also read in a dark theme.
        figure.patch.set_facecolor("white")
        png = plots.to_png(figure, dpi=130)
        write_whole(options.out / f"{name}.png", lambda file, png=png: file.write(png))
        print(f"{name}.png: {figure.alt}")


if __name__ == "__main__":
    main()
