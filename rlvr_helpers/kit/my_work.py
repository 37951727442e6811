"""The learner's own copy of the notebooks. Updating the course never overwrites it."""

import json
import os
from pathlib import Path

from rlvr_helpers.paths import COURSE
from rlvr_helpers.widgets.words import MY_WORK


def my_work_folder() -> Path:
    """`notebooks/my_work` (git ignores it), or the folder that the environment variable
    RLVR_MY_WORK names ("~" is your home folder)."""
    return Path(os.environ.get("RLVR_MY_WORK") or COURSE / "notebooks" / "my_work").expanduser()


def notebooks_in(folder: Path) -> list[Path]:
    """The lessons of a folder and its extras."""
    return sorted([*folder.glob("*.ipynb"), *folder.glob("extras/*.ipynb")])


def to_copy(folder: Path) -> list[Path]:
    """The lessons and extras, and the page of references that they link to."""
    lessons = [path for path in notebooks_in(folder) if path.name != "lecture.ipynb"]
    return [*lessons, folder / "REFERENCES.md"]


def copy_notebooks() -> None:
    """Copies the notebooks that are not in `my_work` yet, and says what it did. It never replaces
    a file there.

    Raises ValueError without the course's notebooks, and OSError if `my_work` cannot be written.
    """
    source = COURSE / "notebooks"
    folder = my_work_folder()
    if not source.is_dir():
        raise ValueError(
            "the course's notebooks are not here: get the whole repository, not only the package"
        )
    # Copy only what is missing.
    new = [path for path in to_copy(source) if not (folder / path.relative_to(source)).exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in new:
            _copy(path, folder / path.relative_to(source))
    except OSError as error:
        raise type(error)(
            error.errno,
            f"the folder {folder.name!r} cannot be written ({error.strerror}): set the environment"
            " variable RLVR_MY_WORK to a folder that you can write to, then start JupyterLab"
            " again",
        ) from error
    # Count the notebooks, not the page of references.
    copied = sum(path.suffix == ".ipynb" for path in new)
    there = len(notebooks_in(folder)) - copied
    print(MY_WORK["copied"].format(copied=copied, there=there))
    print(MY_WORK["advice"])


def _copy(path: Path, mine: Path) -> None:
    """Copies a file whole or not at all."""
    text = path.read_text(encoding="utf-8")
    # Stored outputs would give the answers away.
    if path.suffix == ".ipynb":
        text = _without_outputs(text)
    mine.parent.mkdir(exist_ok=True)
    # A rename happens at once, so an interrupted copy leaves only the part.
    part = mine.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.rename(mine)


def _without_outputs(text: str) -> str:
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = []
            cell["execution_count"] = None
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
