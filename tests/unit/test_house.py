"""The house: which way imports run, and how large a file or a function may be."""

import ast
import json
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PACKAGE = REPO / "rlvr_helpers"
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
}
NOTEBOOKS = sorted((REPO / "notebooks").glob("**/[0-9][0-9]_*.ipynb"))
NOTEBOOKS = [path for path in NOTEBOOKS if "my_work" not in path.parts]
TOP_LEVEL = 20
FILE_LINES = 400
FUNCTION_LINES = 50
LOOP_LINES = 200
WIDTH = 100
PLACES = 5
LINES_BEFORE_THE_FIRST_RESULT = 8


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path) for path in TREES}


def imports_of(tree: ast.AST) -> set[str]:
    """The modules of the package that a tree imports anywhere, in its functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in inner}
    return found & MODULES


GRAPH = {name_of(path): imports_of(tree) - {name_of(path)} for path, tree in TREES.items()}
EDGES = sorted((module, other) for module, others in GRAPH.items() for other in others)


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The modules that can be reached from themselves, grouped with those that they reach back."""

    def reached_from(module: str) -> set[str]:
        reached = set()
        waiting = [module]
        while waiting:
            new = graph.get(waiting.pop(), set()) - reached
            reached |= new
            waiting += new
        return reached

    reached = {module: reached_from(module) for module in graph}
    return [
        {other for other in reached[module] if module in reached.get(other, ())}
        for module in sorted(graph)
        if module in reached[module]
    ]


def folder_of(module: str) -> str:
    """The folder of a module inside the package; "" at its top."""
    parts = module.split(".")[1:]
    is_folder = (PACKAGE.joinpath(*parts)).is_dir()
    return parts[0] if parts and (len(parts) > 1 or is_folder) else ""


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [{"b", "c"}, {"b", "c"}]


def test_no_modules_import_each_other_not_even_late():
    assert circles(GRAPH) == []


# What the modules of a folder must not import.
FORBIDDEN = {
    "": {"study", "lessons", "kit", "plots", "widgets", "exercises", "tools"},
    "engine": {"study", "lessons", "kit", "plots", "widgets", "exercises", "tools"},
    "study": {"lessons", "kit", "plots", "widgets", "exercises", "tools"},
    "plots": {"study", "lessons", "kit", "exercises", "tools"},
    "widgets": {"study", "lessons", "exercises", "tools"},
    "exercises": {"study", "lessons", "plots", "widgets", "tools"},
    "kit": {"lessons", "exercises", "tools"},
    "lessons": {"tools"},
}
# The command line of the comparison stands above `study`.
ABOVE = {"rlvr_helpers.compare"}


def test_imports_run_one_way():
    upward = [
        (module, other)
        for module, other in EDGES
        if module not in ABOVE and folder_of(other) in FORBIDDEN.get(folder_of(module), ())
    ]
    assert upward == []


def test_plots_and_widgets_know_arrays_and_no_models():
    models = "models sampling scoring training engine.decoding engine.layers engine.reading".split()
    known = [
        (module, other)
        for module, other in EDGES
        if folder_of(module) in ("plots", "widgets")
        and other.removeprefix("rlvr_helpers.") in models
    ]
    assert known == []


def test_no_room_imports_from_another():
    def room(module: str) -> str:
        return module.split(".")[2] if module.startswith("rlvr_helpers.lessons.l") else ""

    shared = [
        (module, other)
        for module, other in EDGES
        if room(module) and room(other) not in ("", room(module))
    ]
    assert shared == []


def test_the_rooms_hold_what_rooms_hold():
    names = {path.stem for path in (PACKAGE / "lessons").glob("l*/*.py")}
    assert names <= {"__init__", "exercises", "figures", "explorer", "experiment", "questions"}
    rooms = {path.name for path in (PACKAGE / "lessons").glob("l*")}
    assert rooms <= {f"l{path.stem}" for path in NOTEBOOKS}


def test_the_top_level_can_be_read_at_a_glance():
    files = [path.name for path in PACKAGE.glob("*.py") if path.name != "_moved.py"]
    assert len(files) <= TOP_LEVEL, sorted(files)


# Data rather than code: three exercises each, with the mistakes that learners make. A room has one
# file of exercises, and cutting it in two would hide which mistakes belong to which exercise.
LONG = """
    rlvr_helpers.lessons.l01_sampling.exercises
    rlvr_helpers.lessons.l02_rewards.exercises
    rlvr_helpers.lessons.l07_loss.exercises
""".split()


@pytest.mark.parametrize("path", TREES, ids=name_of)
def test_a_file_and_its_functions_are_small(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert (len(lines) > FILE_LINES) == (name_of(path) in LONG)
    functions = [
        node
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in functions
        if node.end_lineno - node.lineno >= FUNCTION_LINES
    }
    assert long == {}
    assert [number for number, line in enumerate(lines, 1) if len(line) > WIDTH] == []
    assert not any("fmt: skip" in line or "fmt: off" in line for line in lines)


def test_the_loop_is_on_the_first_page_of_its_file():
    path = PACKAGE / "training.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LOOP_LINES
    functions = [node.name for node in TREES[path].body if isinstance(node, ast.FunctionDef)]
    assert functions == ["_train", "take_step", "train"]


def by_position(tree: ast.AST, own: set[str]) -> list[str]:
    """The calls of own functions that give more than three arguments by position."""
    return [
        ast.unparse(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and len(node.args) > 3
        and not any(isinstance(each, ast.Starred) for each in node.args)
        and ast.unparse(node.func).split(".")[-1] in own
    ]


def own_functions(trees: list[ast.AST]) -> set[str]:
    """The names of functions and classes, but of those that take any number of positions."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    classes = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    any_number = {node.name for node in functions if node.args.vararg}
    return (classes | {node.name for node in functions}) - any_number


def test_what_is_given_by_position_is_found():
    tree = ast.parse("def f(a, b, c, d=0): ...\ndef g(*xs): ...")
    calls = ast.parse("f(1, 2, 3, d=4), f(1, 2, 3), a.f(1, 2, 3, 4), g(1, 2, 3, 4), h(1, 2, 3, 4)")
    assert by_position(calls, own_functions([tree])) == ["a.f"]


# These are handed in, and the reader's own function can have other names for its parameters.
HANDED_IN = {"objective", "self.objective", "measure", "stages.sample", "stages.update"}


def test_arguments_are_given_by_name_from_the_fourth_on():
    own = own_functions(list(TREES.values()))
    # An exercise is called by position: by its cases, and by the mistakes that pass them on.
    found = {
        name_of(path): set(by_position(tree, own)) - HANDED_IN
        for path, tree in TREES.items()
        if path.stem != "exercises"
    }
    assert {module: calls for module, calls in found.items() if calls} == {}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.js")), ids=lambda path: path.name)
def test_a_file_of_javascript_is_small_and_says_what_it_is_for(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= FILE_LINES and lines[0].startswith("// ")
    assert [number for number, line in enumerate(lines, 1) if len(line) > WIDTH] == []


def unannotated(tree: ast.AST) -> list[str]:
    """The functions of a tree whose signature is not annotated from end to end."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        given += [each for each in (node.args.vararg, node.args.kwarg) if each]
        bare = {each.arg for each in given if each.annotation is None}
        if node.returns is None or bare - {"self", "cls"}:
            found.append(node.name)
    return found


def test_what_is_not_annotated_is_found():
    tree = ast.parse("def a(self, x: int) -> int: ...\ndef b(x) -> int: ...\ndef c(*, x: int): ...")
    assert unannotated(tree) == ["b", "c"]
    assert unannotated(ast.parse("def d(*xs, **ys) -> None: ...")) == ["d"]


@pytest.mark.parametrize("path", TREES, ids=name_of)
def test_whole_signatures_are_annotated(path):
    found = unannotated(TREES[path])
    if path.stem == "exercises":  # a solution is written as a learner writes it: without any
        found = [name for name in found if name not in without_any(TREES[path])]
    assert found == []


def without_any(tree: ast.AST) -> set[str]:
    """The functions of a tree whose signature has no annotation at all."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {
        node.name
        for node in functions
        if node.returns is None and all(each.annotation is None for each in node.args.args)
    }


def place_of(module: str) -> str:
    """Where a notebook imports from; a lesson's room is one place."""
    return ".".join(module.split(".")[:3]) if ".lessons." in module else module


def code_cells(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_from_few_places(path):
    nodes = [node for source in code_cells(path) for node in ast.walk(ast.parse(source))]
    places = {
        place_of(node.module)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module.startswith("rlvr_helpers")
    }
    assert len(places) <= PLACES, places


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_a_result_soon(path):
    first = code_cells(path)[0].splitlines()
    imports = [line for line in first if line.strip() and not line.startswith("#")]
    assert len(imports) <= LINES_BEFORE_THE_FIRST_RESULT
