"""Runs notebooks from top to bottom and stores their outputs: what a reader sees before running
anything.

    python -m rlvr_helpers.tools.store_outputs notebooks/*.ipynb

Each runs in its own folder, in order. Widget state, execution times and other metadata are
stripped.
"""

import argparse
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

# What a reader or the lab extension needs. Everything else changes from run to run.
KEPT_METADATA = ("kernelspec", "language_info")
KEPT_OF_CELLS = ("tags", "jupyter", "slideshow", "jp-MarkdownHeadingCollapsed", "waiting_minutes")
WIDGET = "application/vnd.jupyter.widget-view+json"


def run_notebook(path: Path, timeout: int) -> nbformat.NotebookNode:
    """The notebook with the outputs of a fresh run. Raises nbclient's CellExecutionError if a cell
    fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
    )
    client.execute()
    return strip(notebook)


def strip(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Removes what is not for readers: widget state, live widgets without a kernel, timings,
    progress on stderr."""
    notebook.metadata = {
        key: notebook.metadata[key] for key in KEPT_METADATA if key in notebook.metadata
    }
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in KEPT_OF_CELLS}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if keep(output)]
    return notebook


def keep(output: nbformat.NotebookNode) -> bool:
    """Whether a reader needs this output."""
    if output.output_type == "stream" and output.name == "stderr":
        return False
    data = output.get("data", {})
    data.pop(WIDGET, None)
    return (
        output.output_type not in ("display_data", "execute_result")
        or any(kind != "text/plain" for kind in data)
        or (bool(data) and output.output_type == "execute_result")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--timeout", type=int, default=1500, help="seconds that one cell may take")
    options = parser.parse_args()
    for path in sorted(options.notebooks):
        started = time.monotonic()
        notebook = run_notebook(path, options.timeout)
        nbformat.write(notebook, path)
        print(
            f"{path.name}: {time.monotonic() - started:.0f} s, {path.stat().st_size / 1000:.0f} kB",
            flush=True,
        )


if __name__ == "__main__":
    main()
