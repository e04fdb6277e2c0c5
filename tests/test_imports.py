"""What an import costs, and that imports point one way."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import dhida_lib

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
