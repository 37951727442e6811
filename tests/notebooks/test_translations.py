"""A translated notebook has its source's cells: the same ids in the same order, and the same code."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
LANGUAGES = [folder for folder in NOTEBOOKS.glob("[a-z][a-z]") if folder.is_dir()]
TRANSLATED = [path for folder in LANGUAGES for path in sorted(folder.glob("*.ipynb"))]
GLOSSARIES = sorted((ROOT / "docs").glob("[a-z][a-z]/glossary.md"))


def cells(path: Path) -> list[tuple[str, str]]:
    """(id, source) of each cell; of a text cell only its kind, since its words differ."""
    notebook = nbformat.read(path, as_version=4)
    kept = {"code": lambda cell: cell.source, "markdown": lambda cell: "text"}
    return [(cell.id, kept[cell.cell_type](cell)) for cell in notebook.cells]


def terms(path: Path) -> list[str]:
    rows = re.findall(r"(?m)^\| ([^|]+?) \|", path.read_text(encoding="utf-8"))
    return [term for term in rows if term not in ("Term", "English", "---")]


@pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_cells_and_code_are_those_of_the_source(path):
    assert cells(path) == cells(NOTEBOOKS / path.name)


@pytest.mark.parametrize("path", GLOSSARIES, ids=lambda path: path.parent.name)
def test_a_glossary_has_the_same_terms(path):
    assert terms(path) == terms(ROOT / "docs" / "glossary.md")
    assert len(terms(path)) >= 60


def test_the_glossary_names_lessons_that_exist():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    numbers = set(re.findall(r"(?m)\| (\d\d) \|$", text))
    assert numbers <= {f"{number:02d}" for number in range(14)}
