"""The set-up files agree with each other, and nothing in the repository is tied to one machine."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
import venv
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from rlvr_helpers.kit.course_map import EXTRAS, LESSONS
from rlvr_helpers.tools import public_links

ROOT = Path(__file__).resolve().parents[2]
COURSE_COMMAND = "uv run jupyter lab notebooks/00_start_here.ipynb"
CPU_COMMANDS = [
    'uv venv && uv pip install --torch-backend cpu -c constraints.txt -e ".[tested]"',
    "uv run --no-sync jupyter lab notebooks/00_start_here.ipynb",
]
TEST_COMMAND = "uv run --group test pytest"

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def requirements(lines):
    """Requirement by canonical name."""
    return {
        canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)
    }


EXTRAS_OF_PROJECT = PROJECT["optional-dependencies"]
BOUNDS = requirements(PROJECT["dependencies"])
LAB = requirements(EXTRAS_OF_PROJECT["lab"])
TESTED = requirements(EXTRAS_OF_PROJECT["tested"])
TEST_GROUP = requirements(PYPROJECT["dependency-groups"]["test"])
CLASS_GROUPS = requirements(
    [*PYPROJECT["dependency-groups"]["grading"], *PYPROJECT["dependency-groups"]["hub"]]
)
CONSTRAINTS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
# What the course's design promises on the conda way as well.
SEVEN = {"torch", "transformers", "datasets", "jupyterlab", "matplotlib", "ipywidgets", "nbval"}


def exact_version(requirement):
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is no exact pin"
    return Version(specifier.version)


# versions


def test_every_dependency_has_a_lower_and_an_upper_bound():
    for requirement in [*BOUNDS.values(), *LAB.values()]:
        assert {specifier.operator for specifier in requirement.specifier} == {">=", "<"}, str(
            requirement
        )


def test_jupyterlab_is_an_extra_so_that_colab_and_vs_code_keep_their_own():
    assert LAB.keys() == {"jupyterlab", "ipykernel"}
    assert not LAB.keys() & BOUNDS.keys()


def test_dependencies_with_lab_and_tested_pins_name_the_same_packages():
    assert TESTED.keys() == BOUNDS.keys() | LAB.keys()


def test_tested_versions_lie_within_the_bounds():
    for name, requirement in TESTED.items():
        bounds = (BOUNDS | LAB)[name]
        assert exact_version(requirement) in bounds.specifier, f"{requirement}: not {bounds}"


def test_uv_takes_the_tested_versions_from_the_same_place():
    assert PYPROJECT["tool"]["uv"]["default-groups"] == ["course"]
    assert PYPROJECT["dependency-groups"]["course"] == [f"{PROJECT['name']}[tested]"]


def test_this_environment_holds_the_tested_versions():
    wanted = {name: exact_version(requirement).public for name, requirement in TESTED.items()}
    installed = {name: Version(metadata.version(name)).public for name in wanted}
    if installed != wanted:
        found = [f"{name} {installed[name]}" for name in wanted if installed[name] != wanted[name]]
        message = "other versions than the tested ones: " + ", ".join(found)
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def test_constraints_are_exact_and_name_no_address():
    for requirement in CONSTRAINTS:
        assert requirement.url is None
        exact_version(requirement)


def test_constraints_agree_with_the_tested_versions():
    for name, pin in (TESTED | TEST_GROUP | CLASS_GROUPS).items():
        found = {
            exact_version(each) for each in CONSTRAINTS if canonicalize_name(each.name) == name
        }
        assert found and all(pin.specifier.contains(version) for version in found), (
            f"{pin}: constraints say {found}"
        )


def needed_by(names):
    """Names of every package that these need on this machine, themselves included, from the
    installed metadata."""
    todo, found = set(names), set()
    while todo:
        name = todo.pop()
        found.add(name)
        for requirement in map(Requirement, metadata.requires(name) or []):
            needed = canonicalize_name(requirement.name)
            if needed not in found and (
                not requirement.marker or requirement.marker.evaluate({"extra": ""})
            ):
                todo.add(needed)
    return found


def test_constraints_fix_everything_that_the_tested_packages_need():
    here = {
        canonicalize_name(each.name)
        for each in CONSTRAINTS
        if not each.marker or each.marker.evaluate()
    }
    assert needed_by(TESTED) - here <= {"setuptools"}


# every way of installing


def pip_section():
    """The arguments that conda gives to pip, in their order."""
    return [word for line in ENVIRONMENT["dependencies"][-1]["pip"] for word in shlex.split(line)]


UV_WAY = ["-e", ".[tested]"]  # what uv's default group holds
# docs/setup.md: venv with pip, and CPU-only on Linux
PIP_WAY = ["-c", "constraints.txt", "-e", ".[tested]"]


def test_environment_yml_takes_everything_but_python_from_pyproject():
    *conda, pip = ENVIRONMENT["dependencies"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[tested]", str(TEST_GROUP["nbval"])]}
    assert [line for line in conda if not line.startswith("python=")] == ["pip"]
    # repo2docker reads the Python version from exactly this form.
    (python,) = [line for line in conda if re.fullmatch(r"python=3\.\d+", line)]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python=") + ".99")


def test_environment_yml_declares_the_seven_packages():
    declared = requirements(
        word for word in pip_section() if re.match(r"\w", word) and word != "constraints.txt"
    )
    for extra in re.findall(r"-e \.\[([\w,]+)\]", " ".join(pip_section())):
        declared |= requirements(EXTRAS_OF_PROJECT[extra])
    assert declared.keys() >= SEVEN
    assert SEVEN - {"nbval", "jupyterlab"} <= BOUNDS.keys()


def install(arguments, folder, *options):
    """Let uv fill a fresh environment as pip would; skip if there is no uv or no network. What it
    says."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if not uv:
        pytest.skip("needs uv, which is not on this machine's path")
    venv.create(folder, with_pip=False)
    command = [uv, "pip", "install", "--python", str(folder), *options, *arguments]
    for mode in (["--offline"], []):  # from uv's cache if all of it is there
        done = subprocess.run(
            [*command, *mode], cwd=ROOT, capture_output=True, text=True, timeout=540
        )
        if done.returncode == 0:
            return done.stderr
    if re.search(
        r"error sending request|dns error|[Cc]onnection refused|timed out|network", done.stderr
    ):
        pytest.skip("needs the package registry, which does not answer: " + done.stderr[-300:])
    pytest.fail(f"{shlex.join(command)}\n{done.stderr}")


def chosen_versions(arguments, folder):
    said = install(arguments, folder, "--dry-run")
    return {
        canonicalize_name(name): version
        for name, version in re.findall(r"^ \+ ([\w.-]+)==([^\s+]+)", said, re.M)
    }


@pytest.mark.parametrize("way", [UV_WAY, PIP_WAY, pip_section()], ids=["uv", "pip", "conda"])
def test_every_way_resolves_to_the_tested_versions(way, tmp_path):
    chosen = chosen_versions(way, tmp_path / "env")
    assert {name: chosen.get(name) for name in TESTED} == {
        name: exact_version(requirement).public for name, requirement in TESTED.items()
    }
    assert chosen.keys() >= (SEVEN if way == pip_section() else SEVEN - {"nbval"})


def test_a_plain_install_brings_no_jupyterlab_and_no_kernel(tmp_path):
    assert not chosen_versions(["-e", "."], tmp_path / "env").keys() & LAB.keys()


def assert_starts_jupyterlab(python, folder):
    """Starts JupyterLab over the lessons and asks it for lesson 00."""
    homes = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    options = ["--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    log = folder / "jupyterlab.log"
    with log.open("w") as out:
        command = [python, "-m", "jupyter", "lab", *options, "notebooks/00_start_here.ipynb"]
        server = subprocess.Popen(command, cwd=ROOT, env=os.environ | homes, stdout=out, stderr=out)
        try:
            for _ in range(600):
                address = re.search(r"http://127\.0\.0\.1:\d+/lab\S*\?token=\w+", log.read_text())
                if address or server.poll() is not None:
                    break
                time.sleep(0.2)
            assert address, log.read_text()
            status, page = fetch(address[0])
            assert status == 200 and b"JupyterLab" in page
        finally:
            server.terminate()
            server.wait(60)


def fetch(address):
    """Status and content of a page. A server names its address before it listens there."""
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.URLError as error:
            refused = isinstance(error.reason, ConnectionRefusedError)
            if not refused or time.monotonic() > end:
                raise
            time.sleep(0.5)


@pytest.mark.slow
def test_this_environment_starts_jupyterlab(tmp_path):
    assert_starts_jupyterlab(sys.executable, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("CI"), reason="installs 1.3 GB or more: done in CI only")
def test_pip_section_installs_and_starts_jupyterlab(tmp_path):
    install(pip_section(), tmp_path / "env")
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    imports = "import rlvr_helpers, datasets, matplotlib, nbval, torch, transformers"
    done = subprocess.run(
        [python, "-c", imports], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert_starts_jupyterlab(python, tmp_path)


def test_the_container_installs_without_cuda_and_by_a_way_of_the_setup_page():
    container = json.loads(
        (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    )
    assert CPU_COMMANDS[0].replace('"', "'") in container["postCreateCommand"]


# the commands


def lines_of(name):
    return [line.strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]


def test_readme_gives_the_two_commands():
    lines = lines_of("README.md")
    assert COURSE_COMMAND in lines
    assert TEST_COMMAND in lines
    assert (ROOT / COURSE_COMMAND.split()[-1]).is_file()


def test_ci_runs_the_test_command_of_the_readme():
    script = ROOT / ".ci" / "run"
    assert TEST_COMMAND in [
        line.strip() for line in script.read_text(encoding="utf-8").splitlines()
    ]
    assert os.name == "nt" or os.access(script, os.X_OK)


@pytest.mark.parametrize("page", ["README.md", "docs/setup.md"])
def test_on_linux_the_cpu_only_commands_come_first_and_never_sync(page):
    lines = lines_of(page)
    open_without_cuda = CPU_COMMANDS[1]
    assert (
        lines.index(CPU_COMMANDS[0]) + 1
        == lines.index(open_without_cuda)
        < lines.index(COURSE_COMMAND)
    )
    assert "--no-sync" in open_without_cuda


def test_the_setup_page_gives_the_test_command_without_cuda_and_every_way():
    lines = lines_of("docs/setup.md")
    assert "uv run --no-sync pytest" in lines
    assert f'.venv/bin/python -m pip install {shlex.join(PIP_WAY[:3])} ".[tested]"' in lines
    assert "conda env create -f environment.yml" in lines


# the pages

PAGES = [
    ROOT / "README.md",
    ROOT / "notebooks" / "TEACHING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def test_the_readme_is_short_and_begins_with_pictures():
    lines = lines_of("README.md")
    assert len(lines) <= 120
    assert lines[2].startswith("![")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_to_files_and_headings_that_exist(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, heading = target.partition("#")
        if not re.match(r"\w+:", target):
            file = page.parent / name
            assert file.exists(), target
            titles = (
                re.findall(r"(?m)^#+ (.*)$", file.read_text(encoding="utf-8")) if heading else []
            )
            assert not heading or heading in [
                re.sub(r"[^\w-]", "", t.lower().replace(" ", "-")) for t in titles
            ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_calls_is_in_the_package(page):
    code = "\n".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "rlvr_helpers").rglob("*.py")
    )
    for name in re.findall(r"`(\w+)\(", page.read_text(encoding="utf-8")):
        assert re.search(rf"\b(def {name}\(|class {name}\b)", code), name


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        assert f"({page.relative_to(ROOT).as_posix()})" in readme


def test_links_with_the_public_address_are_those_of_the_one_setting():
    for name in public_links.PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert public_links.page_with_links(name, public_links.public_address()) == text
        without = public_links.page_with_links(name, "")
        assert "mybinder.org" not in without and "git-pull?" not in without


def test_a_public_address_gives_links_to_binder_codespaces_and_nbgitpuller():
    readme = public_links.page_with_links("README.md", "https://github.com/someone/course")
    assert "https://mybinder.org/v2/git/https%3A%2F%2Fgithub.com%2Fsomeone%2Fcourse/HEAD" in readme
    assert "https://codespaces.new/someone/course" in readme
    assert "codespaces" not in public_links.page_with_links(
        "README.md", "https://git.example/course"
    )
    page = public_links.page_with_links("docs/class.md", "https://github.com/someone/course")
    settings = yaml.safe_load(
        public_links.page_with_links("docs/_config.yml", "https://github.com/someone/course")
    )
    assert settings["repository"]["url"] == "https://github.com/someone/course"
    assert settings["launch_buttons"] == {
        "binderhub_url": "https://mybinder.org",
        "notebook_interface": "jupyterlab",
    }
    assert (
        "git-pull?repo=https%3A%2F%2Fgithub.com%2Fsomeone%2Fcourse&urlpath=lab%2Ftree%2Fcourse%2Fnotebooks"
        in page
    )


# what belongs to one machine or to one registry


def repository_files():
    """Every file that git tracks or would add; without git, every file that .gitignore does not
    name."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = (
            subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
            .stdout.decode()
            .split("\0")
        )
        paths = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
        patterns = [line.strip("/") for line in [*lines, ".git"] if line and line[0] != "#"]

        def is_ignored(path):
            name = path.relative_to(ROOT)
            parts = [*name.parts, *map(str, name.parents), str(name)]
            return any(fnmatch.filter(parts, pattern) for pattern in patterns)

        paths = [path for path in ROOT.rglob("*") if not is_ignored(path)]
    return [path for path in paths if path.is_file()]


# The "~" is taken out again; it is there so that this file does not hold what it looks for.
def pattern(*alternatives):
    return re.compile("|".join(text.replace("~", "") for text in alternatives).encode())


REGISTRIES = pattern(
    r"py~pi\.org",
    r"python~hosted\.org",
    r"download\.~pytorch\.org",
    r"(?:conda|repo)\.~anaconda\.(?:org|com)",
    r"npm~js\.(?:org|com)",
    r"yarn~pkg\.com",
)
MACHINE_PATHS = pattern(
    r"(?:(?<![\w+/.\x7e])|(?<=file://))/(?:(?:root|work|tmp|opt)/|(?:home|Users)/\w)",
    r"\b[A-Za-z]:\\{1,2}~Users",
)


def test_the_patterns_find_what_they_should():
    assert REGISTRIES.search(b"https://" + b"pypi" + b".org/simple")
    for start, rest in [
        (b'"', b"work/x"),
        (b"in ", b"tmp/x"),
        (b"file://", b"root/x"),
        (b"=", b"home/x"),
    ]:
        assert MACHINE_PATHS.search(start + b"/" + rest), rest
    for harmless in [
        b"a/my_work/",
        b"~/work/",
        b"./tmp/",
        b"#!/usr/bin/env",
        b"/dev/null",
        b"a/home/x",
    ]:
        assert not MACHINE_PATHS.search(harmless), harmless


def places(wanted):
    """`file:line: text` of every hit in the repository's text files."""
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.splitlines(), 1):
            hit = wanted.search(line)
            if hit:
                seen = line[max(0, hit.start() - 40) : hit.end() + 40].decode(errors="replace")
                found.append(f"{path.relative_to(ROOT)}:{number}: {seen}")
    return found


def test_no_file_names_a_package_registry():
    assert places(REGISTRIES) == []


def test_no_file_holds_a_path_of_one_machine():
    assert places(MACHINE_PATHS) == []


# what no notebook does

FORBIDDEN = {
    "edits the import path": re.compile(r"\bsys\.path\b|\bPYTHONPATH\b|\baddsitedir\b"),
    "installs something": re.compile(
        r"\b(?:pip3?|conda|mamba|uv)\s+(?:pip\s+)?(?:install|add|sync)\b"
    ),
    "imports everything": re.compile(r"^\s*from\s+\S+\s+import\s+\*|^\s*%pylab\b", re.MULTILINE),
}


def offences(notebook):
    """What a notebook (parsed JSON) does that it must not: (cell number, offence)."""
    found = []
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            found += [
                (number, offence)
                for offence, pattern in FORBIDDEN.items()
                if pattern.search(source)
            ]
    return found


def test_offences_are_found():
    sources = [
        "sys.path.insert(0, '..')",
        "%pip install x",
        "!uv add x",
        "from math import *",
        "x = 2 * 3",
    ]
    cells = [{"cell_type": "code", "source": source} for source in sources]
    assert [number for number, _ in offences({"cells": cells})] == [0, 1, 2, 3]


def test_notebooks_keep_the_rules():
    found = {}
    for path in repository_files():
        if path.suffix == ".ipynb":
            found[path.name] = offences(json.loads(path.read_text(encoding="utf-8")))
    assert not {name: what for name, what in found.items() if what}


MISSING = (
    "If the next cell does not find `rlvr_helpers`, start JupyterLab by the command in the course's `README.md`. "
    "In Colab or VS Code, run `pip install -e .` in a clone of the course."
)


@pytest.mark.parametrize("lesson", LESSONS + EXTRAS, ids=lambda lesson: lesson.number)
def test_a_lesson_says_in_one_line_what_to_do_without_the_package(lesson):
    notebook = json.loads((ROOT / "notebooks" / f"{lesson.name}.ipynb").read_text(encoding="utf-8"))
    assert MISSING in "".join(notebook["cells"][0]["source"]).splitlines()


def test_the_readme_lists_every_lesson_with_its_minutes():
    for lesson in LESSONS + EXTRAS:
        row = (
            f"| [{lesson.name}](notebooks/{lesson.name}.ipynb) | {lesson.question} |"
            f" {lesson.minutes} |"
        )
        assert row in (ROOT / "README.md").read_text(encoding="utf-8").splitlines(), row
