"""What an import costs, that imports point one way, and that functions are short and know no names."""

import ast
import pkgutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import dhida_lib
from dhida_lib.backbones import BACKBONES
from dhida_lib.data import DATASETS
from dhida_lib.losses import LOSSES

HEAVY = (
    "matplotlib",
    "IPython",
    "seaborn",
    "ipywidgets",
    "pandas",
    "faiss",
    "lancedb",
    "torchvision",
    "timm",
)


@pytest.mark.parametrize("statement", ["import dhida_lib", "import dhida_lib.attention"])
def test_an_import_loads_nothing_heavy(statement):
    """In a fresh process: nothing for drawing, searching or notebooks, and little time beyond torch's."""
    code = (
        "import sys, time\nimport torch\nbegin = time.process_time()\n"
        f"{statement}\nprint(time.process_time() - begin)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 1.0, "a bound against accidents; `make bench` measures"


def test_every_name_of_the_package_can_be_had():
    for name in dhida_lib.__all__:
        assert getattr(dhida_lib, name) is not None
    assert set(dhida_lib.__all__) <= set(dir(dhida_lib))
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = dhida_lib.no_such_name


def test_type_checkers_see_the_same_names():
    """The imports under TYPE_CHECKING are those that happen lazily."""
    tree = ast.parse(Path(dhida_lib.__file__).read_text(encoding="utf-8"))
    seen = {
        (node.module, alias.name)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {name for _, name in seen} == set(dhida_lib.__all__)
    assert {(home, name) for name, home in dhida_lib._HOME.items()} <= seen


def test_no_name_is_a_module_too():
    """A function that is called as its module would turn into the module once somebody imports that."""
    names = {name for name in dhida_lib.__all__ if name in dhida_lib._HOME}
    modules = {m.name for m in pkgutil.iter_modules(dhida_lib.__path__)}
    assert not names & modules


# ---- imports point one way ---------------------------------------------------------------------------------

PACKAGE = Path(dhida_lib.__file__).parent
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
ROOMS = (
    *("__main__", "commands", "book", "testing", "experiments", "search", "runs", "training", "records"),
    *("config", "frozen", "models", "losses", "data", "metrics"),
    *("attention", "backbones", "unsupervised", "codes", "quantization", "labels", "extensions"),
    *("_tensors", "_registry", "_distributed", "_files", "_validate"),
)
"""Modules and packages of the library from top to bottom: each imports only what stands behind it."""
EXCEPTIONS = {  # `from_folders` asks the source of folders when it is called
    ("dhida_lib.data.splits", "dhida_lib.data.source"),
}
"""Imports that close a circle inside a package, and why they may."""


def imports(name: str) -> set[str]:
    """The library's modules that a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in FILES}
        elif isinstance(node, ast.ImportFrom) and node.module in FILES:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module if module in FILES else node.module for module in below}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: an import says the whole name"
    return found - {name}


def room(name: str) -> str:
    return name.split(".")[1]


INSIDE = [name for name in FILES if "." in name]


def test_every_module_has_its_place():
    assert {room(name) for name in INSIDE} == set(ROOMS)
    assert len(set(ROOMS)) == len(ROOMS)


@pytest.mark.parametrize("name", sorted(INSIDE))
def test_no_import_points_up(name):
    """Also those inside functions: what stands below must work without what stands above."""
    below = ROOMS[ROOMS.index(room(name)) :]
    for other in imports(name) - {"dhida_lib"}:
        assert room(other) in below, f"{name} imports {other}, which stands above it"
    for node in ast.walk(TREES[name]):  # of the package itself, only the version: the rest is lazy
        if isinstance(node, ast.ImportFrom) and node.module == "dhida_lib":
            taken = {alias.name for alias in node.names if f"dhida_lib.{alias.name}" not in FILES}
            assert taken <= {"__version__"}, f"{name} takes {taken} from dhida_lib"


def test_no_circle():
    """Importing goes from leaf to root: what is left over, and needs itself, is a circle."""
    left = {name: imports(name) - {"dhida_lib"} for name in INSIDE}
    for above, below in EXCEPTIONS:
        assert below in left[above], f"{above} no longer imports {below}: take it off the list"
        left[above].discard(below)
    while ready := [name for name, needs in left.items() if not needs]:
        for name in ready:
            del left[name]
        for needs in left.values():
            needs.difference_update(ready)
    assert left == {}, "a circle, or what needs one"


# ---- short functions, and no names in conditions -----------------------------------------------------------


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many lines a function has without its head and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


def test_functions_are_short():
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [lines(node) for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, kinds)]
    assert len(found) > 500
    assert statistics.median(found) <= 8


def homes() -> dict[str, set[Path]]:
    """Name of a loss, a data set or a backbone → the files that define it."""
    found: dict[str, set[Path]] = {}
    for registry in (LOSSES, DATASETS, BACKBONES):
        for name, thing in registry.items():
            kind = thing if isinstance(thing, type) else type(thing)
            if kind.__module__.startswith("dhida_lib."):
                found.setdefault(name, set()).add(FILES[kind.__module__])
    return found


def compared(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and text of all that a value is compared with (`==`, `in`, `case` …) or looked up in."""
    sides: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and not any(isinstance(op, (ast.Is, ast.IsNot)) for op in node.ops):
            sides += [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides.append(node.value)
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):  # {"dhida": …}[method]
            sides += node.value.keys
    each = [part for side in sides for part in getattr(side, "elts", [side])]
    texts = [p for p in each if isinstance(p, ast.Constant) and isinstance(p.value, str)]
    return sorted((text.lineno, text.value) for text in texts)


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_condition_asks_for_a_name(name):
    """What a method, a data set or a backbone is like stands in its own file; nobody asks who it is."""
    own = {text for text, files in homes().items() if FILES[name] in files}
    assert [(line, text) for line, text in compared(TREES[name]) if text in set(homes()) - own] == []


def test_such_a_condition_would_be_found():
    code = "a = b == 'dhida'\nif c not in ('x', 'cifar10'): pass\nmatch d:\n    case 'alexnet': pass\n"
    code += "e = {'dsh': 1}[f]\ng.get('folder') is None"
    assert compared(ast.parse(code)) == [(1, "dhida"), (2, "cifar10"), (2, "x"), (4, "alexnet"), (5, "dsh")]
    assert {"dhida", "cifar10", "alexnet", "folder"} <= set(homes())
    assert homes()["dhida"] == {PACKAGE / "losses" / "dhida.py"}
