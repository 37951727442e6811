"""The site is built by the command of docs/contributing.md: no warning, no dead link, nothing that
only a server could give."""

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
COMMAND = re.search(r"(?m)^uvx .*jupyter-book build.*$", PAGE)[0]
LINK = re.compile(r'(?:href|src)="([^"#?][^"#?]*)')

needs_uvx = pytest.mark.skipif(not shutil.which("uvx"), reason="needs uvx, which comes with uv")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built pages."""
    return build(tmp_path_factory.mktemp("site"), []) / "html"


def build(folder: Path, more: list[str]) -> Path:
    command = [*COMMAND.replace("build/site", str(folder)).split(), *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return folder / "_build"


def dead_links(folder: Path) -> list[tuple[str, str]]:
    """(page, link) of every link to a file that is not there."""
    dead = []
    for page in folder.rglob("*.html"):
        if "_static" in page.parts:  # templates of the theme
            continue
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            inside = not re.match(r"[a-z]+:|//", link)
            if inside and not (page.parent / unquote(link)).exists():
                dead.append((page.relative_to(folder).as_posix(), link))
    return dead


def test_dead_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html"></a><a href="a.html"></a>')
    assert dead_links(tmp_path) == [("a.html", "b.html")]


@needs_uvx
@pytest.mark.slow
def test_the_site_has_every_page_and_no_dead_link(site):
    for folder in ("notebooks", "notebooks/extras", "docs"):
        for source in [*(ROOT / folder).glob("*.ipynb"), *(ROOT / folder).glob("*.md")]:
            page = site / source.relative_to(ROOT).with_suffix(".html")
            assert page.is_file(), f"{source.name} is not in docs/_toc.yml"
    assert dead_links(site) == []


@needs_uvx
@pytest.mark.slow
def test_its_pages_load_nothing_from_elsewhere(site):
    """Formulas are drawn without a network too: MathJax and its fonts lie beside the pages."""
    loads = re.compile(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="((?:https?:)?//[^"]*)')
    pages = list(site.rglob("*.html"))
    assert [url for page in pages for url in loads.findall(page.read_text("utf-8"))] == []
    formulas = (site / "docs" / "formulas.html").read_text("utf-8")
    assert '_static/mathjax/tex-chtml.js"' in formulas
    assert list(site.glob("_static/mathjax/output/chtml/fonts/*/*.woff"))


@needs_uvx
@pytest.mark.slow
def test_its_texts_can_be_translated(tmp_path):
    folder = build(tmp_path, ["--builder", "custom", "--custom-builder", "gettext"])
    catalogues = list(folder.rglob("*.pot"))
    messages = sum(file.read_text(encoding="utf-8").count("\nmsgid ") for file in catalogues)
    assert len(catalogues) >= 15 and messages > 800


def test_the_workflow_runs_the_same_command():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "site.yml").read_text())
    steps = workflow["jobs"]["site"]["steps"]
    assert COMMAND in [step.get("run") for step in steps]
