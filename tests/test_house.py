"""The house: one address, documented names, requirements that agree, the paper's tables, no stray files."""

from __future__ import annotations

import ast
import csv
import email
import hashlib
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import defaultdict
from importlib import metadata
from pathlib import Path

import matplotlib
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dhida_lib
from dhida_lib._files import read_card

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import notebooks  # noqa: E402
import pictures  # noqa: E402

HOUSE = notebooks.House.at(ROOT)
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


def tracked() -> list[Path]:
    """The files that git has or would take."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        out = subprocess.run(listing, cwd=ROOT, env=clean, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in out.split("\0") if name and (ROOT / name).is_file()]


def read(path: Path) -> str | None:
    """The text of a file, None for a binary one."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


# ---- one address -----------------------------------------------------------------------------------------


def test_every_address_of_this_repository_is_the_one_in_the_settings():
    """Badges, setup cells, CITATION, README and pages follow `repository.url`."""
    project = HOUSE.url.rsplit("/", 1)[1]
    found = set()
    for path in tracked():
        if path.parent == ROOT / "tests" or path == ROOT / "_config.yml":
            continue
        for owner in re.findall(rf"github(?:\.com)?/([\w.-]+)/{re.escape(project)}\b", read(path) or ""):
            found.add((path.relative_to(ROOT).as_posix(), f"https://github.com/{owner}/{project}"))
    assert {address for _, address in found} <= {HOUSE.url}, found
    assert {name for name, _ in found} >= {"CITATION.cff", *(f"book/{p.name}" for p in HOUSE.notebooks())}


def test_launch_links_need_a_branch():
    assert CONFIG["repository"]["branch"] == "main"
    assert CONFIG["repository"]["url"] == HOUSE.url


def test_table_of_contents_and_chapters_agree():
    pages = re.findall(
        r"^\s*(?:- file|root|- url): *(\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"), re.M
    )
    assert len(pages) == len(set(pages))
    files = {p for p in pages if not p.startswith("http")}
    for page in files:
        assert any((ROOT / f"{page}{ext}").is_file() for ext in (".md", ".ipynb")), page
    chapters = {f"book/{path.stem}" for path in HOUSE.notebooks()}
    assert chapters <= files, f"not in _toc.yml: {sorted(chapters - files)}"
    assert [p for p in pages if p in chapters] == sorted(chapters), (
        "the chapters are in the order of their numbers"
    )


# ---- requirements ----------------------------------------------------------------------------------------


def requirement_lines() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("line", requirement_lines(), ids=lambda line: line.split("#")[0].strip())
def test_requirement_is_explained_bounded_and_installed(line):
    assert re.search(r"\s#\s*\S.{7,}", line), "a comment says which chapter or command uses it"
    requirement = Requirement(line.split("#")[0].strip())
    bounds = {spec.operator for spec in requirement.specifier}
    assert ">=" in bounds
    assert bounds <= {">=", "<"}, "lower bounds; an upper one only with its reason"
    assert requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(r) for r in lines] for name, lines in PROJECT["optional-dependencies"].items()}
OPTIONAL = [requirement for lines in EXTRAS.values() for requirement in lines]
BROUGHT = {"IPython": "ipywidgets", "cycler": "matplotlib", "pyarrow": "lancedb"}
"""Modules that come with a package which is declared."""


def modules_of(requirements: list[Requirement]) -> set[str]:
    """The top modules that these packages install."""
    packages = {canonicalize_name(requirement.name) for requirement in requirements}
    found = metadata.packages_distributions().items()
    return {module for module, owners in found if packages & {canonicalize_name(o) for o in owners}}


def foreign_imports(path: Path, at_import: bool) -> set[str]:
    """What a file imports from others than the standard library; ``at_import`` leaves functions out."""
    found: set[str] = set()
    nodes: list[ast.AST] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while nodes:
        node = nodes.pop()
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if at_import and (typing or isinstance(node, (ast.FunctionDef, ast.Lambda))):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        nodes.extend(ast.iter_child_nodes(node))
    return {name for name in found if name.split(".")[0] not in sys.stdlib_module_names}


def tops(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names} - {"dhida_lib"}


LIBRARY = sorted((ROOT / "dhida_lib").rglob("*.py"))
OUTSIDE = [path for path in LIBRARY if ROOT / "dhida_lib" / "book" not in path.parents]


def test_library_needs_nothing_that_the_book_does_not_install():
    book = {
        (r.name, str(r.specifier)) for r in (Requirement(line.split("#")[0]) for line in requirement_lines())
    }
    assert {(r.name, str(r.specifier)) for r in [*BASE, *OPTIONAL]} <= book


def test_the_base_install_and_the_extras_are_those_that_are_promised():
    assert {r.name for r in BASE} == {"torch", "numpy", "pillow", "safetensors", "tqdm"}
    assert set(EXTRAS) == {"book", "search", "scale", "imagenet", "timm", "fast", "logs"}
    assert not {r.name for r in BASE} & {r.name for r in OPTIONAL}
    for what in {r.name for r in BASE}:
        modules = modules_of([Requirement(what)])
        assert any(tops(foreign_imports(path, True)) & modules for path in OUTSIDE), (
            f"nothing outside the book imports {what}"
        )


def test_outside_the_book_a_module_imports_only_what_the_base_install_has():
    """A module that needs more from its first line on must itself be imported late, inside a function."""
    allowed = modules_of(BASE)
    at_import = {path: foreign_imports(path, True) for path in OUTSIDE}
    for path, names in at_import.items():
        more = tops(names) - allowed
        if more:
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            early = [p.name for p, found in at_import.items() if any(f.startswith(dotted) for f in found)]
            assert not early, f"{path.name} imports {more}, and {early} import {path.name} at import time"
    early = {p.name for p, found in at_import.items() if any(f.startswith("dhida_lib.book") for f in found)}
    assert not early, f"{early} import the book's part at import time"


def test_library_imports_only_what_it_declares():
    for module, bringer in BROUGHT.items():
        owner = metadata.packages_distributions()[module][0]
        assert canonicalize_name(owner) in {
            canonicalize_name(Requirement(line).name) for line in metadata.requires(bringer) or ()
        }, f"{bringer} no longer brings {module}"
    declared = modules_of([*BASE, *OPTIONAL]) | set(BROUGHT)
    for path in LIBRARY:
        strange = tops(foreign_imports(path, False)) - declared
        assert not strange, f"{path.name} imports {strange}"


WITHOUT = """
import importlib, io, pkgutil, sys
for name in {absent}:
    sys.modules[name] = None  # an import fails, as if the package were not there
import torch, dhida_lib
for found in pkgutil.walk_packages(dhida_lib.__path__, "dhida_lib."):
    if not found.name.startswith(("dhida_lib.book", "dhida_lib.__main__", "dhida_lib.metrics.compiled")):
        importlib.import_module(found.name)
from dhida_lib.__main__ import main
model = dhida_lib.HashNetwork.load({model!r})
data = dhida_lib.load_dataset("fashion-mini")
print(dhida_lib.encode(model, data.query)[:20].abs().sum().item())
net = dhida_lib.HashNetwork("narrow-resnet", bits=8, in_channels=1)
print(net(torch.zeros(2, 1, 28, 28)).shape[1])
try:
    dhida_lib.HashNetwork("resnet18")
except ImportError as error:
    print(error)
sys.exit(main(["train", "--help"]))
"""


def test_the_base_install_is_enough_for_the_narrow_networks_and_the_shipped_model():
    """In a fresh process that finds none of the optional packages."""
    absent = sorted((modules_of(OPTIONAL) | set(BROUGHT)) - modules_of(BASE))
    assert {"matplotlib", "torchvision", "timm", "faiss", "numba", "ipywidgets"} <= set(absent)
    model = str(dhida_lib.data_path("checkpoints/fashion-mini-dhida-16/model.json"))
    code = WITHOUT.format(absent=absent, model=model)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["320.0", "8"]  # 20 codes of 16 bits; 8 outputs
    assert "pip install 'dhida-lib[imagenet]'" in done.stdout.splitlines()[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel as pip builds it from these files."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


def test_the_wheel_is_typed_and_has_the_data(wheel):
    names = set(wheel.namelist())
    assert {p.relative_to(ROOT).as_posix() for p in LIBRARY} <= names
    assert {"dhida_lib/py.typed", "dhida_lib/_data/checkpoints/fashion-mini-dhida-16/model.json"} <= names
    assert not [name for name in names if name.startswith(("tests/", "tools/", "book/"))]


def test_the_wheel_names_what_it_needs_and_its_extras(wheel):
    [name] = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    about = email.message_from_bytes(wheel.read(name))
    assert set(about.get_all("Provides-Extra", [])) == set(EXTRAS)
    needs = [Requirement(line) for line in about.get_all("Requires-Dist", [])]
    for extra, wanted in {"": BASE, **EXTRAS}.items():
        chosen = [r for r in needs if r.marker is None or r.marker.evaluate({"extra": extra})]
        got = {str(r).split(";")[0].strip() for r in chosen}
        assert got == {str(r) for r in [*BASE, *wanted]}, extra


# ---- public names ----------------------------------------------------------------------------------------


def modules() -> list[str]:
    """All public modules of the library."""
    walk = pkgutil.walk_packages(dhida_lib.__path__, "dhida_lib.")
    return ["dhida_lib", *(m.name for m in walk if not any(p.startswith("_") for p in m.name.split(".")))]


def public() -> list[tuple[str, object]]:
    """Every public function and class, once, with the module that defines it."""
    found: dict[str, object] = {}
    for module in [importlib.import_module(name) for name in modules()]:  # a package has its parts only then
        for public_name in getattr(module, "__all__", []):
            thing = getattr(module, public_name)
            if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__.startswith(
                "dhida_lib"
            ):
                found[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return sorted(found.items())


@pytest.mark.parametrize("name", modules())
def test_module_says_what_it_is(name):
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), "a module has a docstring"
    assert name.startswith("dhida_lib.book.exercises.") or hasattr(module, "__all__"), (
        "a module lists its names"
    )
    for public_name in getattr(module, "__all__", []):
        assert hasattr(module, public_name), f"{public_name} is in __all__ but not there"


@pytest.mark.parametrize(("name", "thing"), [pytest.param(n, t, id=n) for n, t in public()])
def test_public_name_is_documented(name, thing):
    text = inspect.getdoc(thing) or ""
    assert text.strip(), "no docstring"
    if thing.__doc__ is None:
        pytest.fail("the docstring is inherited")
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return
    described = text.split("Args:")[1] if "Args:" in text else text.split("Attributes:")[-1]
    elsewhere = re.search(r"see `dhida_lib\.\w+` for the arguments", text)
    for parameter in () if elsewhere else inspect.signature(thing).parameters.values():
        if parameter.name not in {"self", "args", "kwargs"} and not parameter.name.startswith("_"):
            assert re.search(rf"\b{parameter.name}\b", described), f"`{parameter.name}` is not described"
    if inspect.isfunction(thing) and thing.__annotations__.get("return") not in (None, "None"):
        summary = text.strip().splitlines()[0]
        assert "Returns:" in text or "Yields:" in text or summary.startswith("Return"), (
            "what it returns is not said"
        )


# ---- the paper's tables ------------------------------------------------------------------------------------

# A second reading of Table 3, typed apart from the parse: method, then 16/32/48/64 bits on CIFAR-10, on
# NUS-WIDE and on
# ImageNet-100, in units of 0.0001.
TABLE_3 = """
DHIDA    8213 8359 8420 8428  8278 8414 8519 8552  6346 6296 6573 6870
DBDH     8021 8113 8129 8209  8150 8360 8442 8484  3358 3215 5626 6321
DSDH     7761 7881 8086 8183  8085 8373 8441 8441  1612 3011 3638 4268
DHN      7695 7871 7869 7966  8108 8069 7854 7910  4900 4808 4747 5664
LCDSH    7383 7661 8083 8202  8071 8304 8425 8436  2269 3177 4517 4671
HashNet  6975 7892 7878 7949  7453 8180 8361 8297  3017 4690 5400 5719
IDHN     6641 7296 7762 7682  7820 7795 7601 7366  2721 3255 4477 5539
DFH      5947 6347 7298 7662  7893 8185 8350 8372  1727 3435 3445 3430
DSH      5095 4663 4702 4714  6680 7383 7563 7940  3109 3848 4294 4403
"""
K = {"CIFAR-10": "all", "NUS-WIDE": "5000", "ImageNet-100": "1000"}


def table(name: str) -> list[dict[str, str]]:
    with open(ROOT / "data" / "paper" / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_table_3_is_the_papers():
    want = {}
    for line in TABLE_3.strip().splitlines():
        method, *values = line.split()
        cells = [(dataset, bits) for dataset in K for bits in (16, 32, 48, 64)]
        want |= {(method, d, b): int(v) for (d, b), v in zip(cells, values, strict=True)}
    rows = table("table3.csv")
    have = {(r["method"], r["dataset"], int(r["bits"])): round(float(r["map"]) * 1e4) for r in rows}
    assert have == want
    assert len(rows) == len(want) == 108
    assert all(r["map_k"] == K[r["dataset"]] for r in rows)


def test_table_3_agrees_with_the_papers_prose():
    """§4.3 gives DHIDA's gains over DBDH (points a length) and over HashNet (mean of the lengths)."""
    have: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in table("table3.csv"):
        have[row["method"], row["dataset"]].append(100 * float(row["map"]))
    over_dbdh = {
        "CIFAR-10": [1.9, 2.5, 2.9, 2.2],
        "NUS-WIDE": [1.3, 0.5, 0.8, 0.7],
        "ImageNet-100": [29.9, 30.8, 9.5, 5.5],
    }
    for dataset, gains in over_dbdh.items():
        pairs = zip(have["DHIDA", dataset], have["DBDH", dataset], strict=True)
        assert [a - b for a, b in pairs] == pytest.approx(gains, abs=0.0501)
    for dataset, gain in (("CIFAR-10", 6.8), ("NUS-WIDE", 3.6), ("ImageNet-100", 18.1)):
        mean = sum(have["DHIDA", dataset]) / 4 - sum(have["HashNet", dataset]) / 4
        assert mean == pytest.approx(gain, abs=0.1)  # the paper cuts 3.68 to 3.6


def test_table_4_is_the_papers():
    want = [
        ("DHIDA-A", {"alexnet"}, 0.7240),
        ("DHIDA-I", {"alexnet", "f_u"}, 0.7641),
        ("DHIDA-R", {"resnet18", "f_u"}, 0.8021),
        ("DHIDA-D", {"resnet18", "f_u", "danet"}, 0.8076),
        ("DHIDA", {"resnet18", "f_u", "ida"}, 0.8213),
    ]
    parts = ["alexnet", "resnet18", "f_u", "danet", "ida"]
    have = [(r["model"], {p for p in parts if r[p] == "1"}, float(r["map"])) for r in table("table4.csv")]
    assert have == want


# ---- files -----------------------------------------------------------------------------------------------


def test_no_large_files():
    assert [p for p in tracked() if p.stat().st_size > 5_000_000] == []


def test_no_path_of_a_machine():
    pattern = re.compile(r"(?<![\w.\-/<])/(?:work|tmp|root|home|Users)/[A-Za-z]")
    found = [
        (path.relative_to(ROOT).as_posix(), match[0])
        for path in tracked()
        if "vendor" not in path.parts and path.name != "test_house.py"
        for match in [pattern.search(read(path) or "")]
        if match
    ]
    assert found == []


def test_vendored_files_are_those_that_the_readme_names():
    vendor = ROOT / "book" / "_static" / "vendor"
    rows = re.findall(
        r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (vendor / "README.md").read_text(encoding="utf-8"), re.M
    )
    assert {name for name, _ in rows} == {p.name for p in vendor.iterdir()} - {"README.md", "LICENSE-mathjax"}
    for name, digest in rows:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest


def test_picture_of_the_welcome_page_is_up_to_date():
    stored = (ROOT / "book" / "_static" / "pipeline.svg").read_text(encoding="utf-8")
    if f"Matplotlib v{matplotlib.__version__}," not in stored:
        pytest.skip("drawn by another version of matplotlib")
    assert stored == pictures.pipeline_svg(), "run `python tools/pictures.py`"


def test_licences_and_citation():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == dhida_lib.__version__
    assert citation["references"][0]["doi"] == "10.3390/info12070285"
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    text = (ROOT / "LICENSE-text.md").read_text(encoding="utf-8")
    assert "Section 8 – Interpretation" in text, "the full text of CC BY 4.0"


def test_a_shipped_model_names_the_record_beside_it():
    cards = sorted((ROOT / "data" / "checkpoints").glob("*/model.json"))
    assert cards
    for card in cards:
        about = read_card(card)["about"]
        record = (card.parent / about["record"]).read_text(encoding="utf-8").encode()
        assert hashlib.sha256(record).hexdigest() == about["record_sha256"], card.parent.name
