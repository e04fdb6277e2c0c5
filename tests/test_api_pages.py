"""The API reference: every public name is on a page, every docstring can be set, every example holds."""

from __future__ import annotations

import doctest
import importlib
import inspect
import sys
import types
from pathlib import Path

import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser, roles
from docutils.utils import new_document
from sphinx.ext.napoleon import Config, GoogleDocstring

import dhida_lib
from dhida_lib import attention

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import api_pages  # noqa: E402
import ledger  # noqa: E402

MODULES = api_pages.modules()


# ---- what stands on the pages --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages():
    return api_pages.pages()


@pytest.mark.parametrize("module", MODULES[1:], ids=lambda module: module.__name__)
def test_every_public_name_has_its_place(module, pages):
    """A name stands on its module's page, or this page says where it stands."""
    page = pages[api_pages.room(module)].splitlines()
    assert f".. automodule:: {module.__name__}" in page
    elsewhere = next((line for line in page if line.startswith("Names that can be")), "")
    for name in module.__all__:
        full = f"{module.__name__}.{name}"
        if full in api_pages.homes():
            assert (
                page.count(f".. autoclass:: {full}")
                + page.count(f".. autofunction:: {full}")
                + page.count(f".. autodata:: {full}")
                == 1
            )
        else:
            assert f"`{name} <" in "\n".join(page) or f"``{name}``" in "\n".join(page), elsewhere


def test_every_name_of_the_library_itself_leads_somewhere():
    for name in dhida_lib.__all__:
        thing = getattr(dhida_lib, name)
        assert api_pages.full_name(thing) or api_pages.constant(thing, name), name


def test_every_name_of_the_ledger_is_in_the_reference_and_knows_its_rows():
    for entry in ledger.entries():
        for name in entry.library:
            full = api_pages.resolved(name)
            assert full is not None, name
            if entry.cell:
                line = api_pages.in_the_book(full)
                assert entry.item in line
                assert f"<{entry.chapter}#" in line


def test_pages_are_written_and_those_of_rooms_that_are_gone_removed(tmp_path):
    (tmp_path / "gone.rst").write_text("An old page.")
    written = api_pages.write(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert {path.stem for path in written} == {api_pages.room(m) for m in MODULES} - {""}


# ---- docstrings ----------------------------------------------------------------------------------------


def test_an_indented_block_keeps_its_lines_and_an_example_stays_one():
    text = "A sum:\n\n    a = *b* + c_\n\nThen.\n\nExample:\n    >>> 1 * 2\n    2"
    done = api_pages.as_rst(text.split("\n"))
    assert done[2:5] == ["::", "", "    a = *b* + c_"]
    assert done[-3:] == ["Example:", "    >>> 1 * 2", "    2"]


def test_marks_that_mean_nothing_are_letters_and_an_emphasis_is_one():
    assert api_pages.inline("the *least* of 2*3, |S| and c_ of Σ_i") == (
        r"the *least* of 2\*3, \|S\| and c\_ of Σ_i"
    )


def test_names_become_links_only_if_they_are_documented():
    said = api_pages.inline(
        "`DualAttention`, `PositionAttention.attention_map`, `nonsense`, ``sign``, :class:`Doubled`s",
        attention,
    )
    home = "dhida_lib.attention"
    assert said == (
        f":py:obj:`DualAttention <{home}.DualAttention>`, "
        f":py:obj:`PositionAttention.attention_map <{home}.PositionAttention.attention_map>`, "
        rf"``nonsense``, ``sign``, :py:obj:`Doubled <{home}.Doubled>`\ s"
    )
    assert api_pages.resolved("HashNetwork.backbone.weights") is None
    assert api_pages.resolved("dhida_lib._validate.bad") is None
    assert api_pages.resolved("LOSSES", dhida_lib.losses) == "dhida_lib.losses.base.LOSSES"


def test_chapters_become_links():
    said = api_pages.chapters_linked("Chapter 5; Chapters 5 (position), 6 (channel)\nand 7, Chapter 99")
    assert said == (
        ":doc:`Chapter 5 </book/05_position_attention>`; Chapters :doc:`5 </book/05_position_attention>` "
        "(position), :doc:`6 </book/06_channel_attention>` (channel)\nand :doc:`7 </book/07_ida_module>`, "
        "Chapter 99"
    )


def test_what_is_returned_is_a_sentence():
    done = list(api_pages.returns_as_fields(["Returns:", "    One for each row: its shape", "    is that."]))
    assert done == [":returns: One for each row: its shape", "    is that."]


def documented(module: types.ModuleType) -> dict[str, object]:
    """What has a docstring: the module, its own names, and the methods of its classes."""
    found: dict[str, object] = {module.__name__: module}
    for name in module.__all__:
        thing = getattr(module, name)
        if api_pages.is_defined(thing) and thing.__module__ == module.__name__:
            found[name] = thing
            if inspect.isclass(thing):
                methods = {k: v for k, v in vars(thing).items() if k[0] != "_" and v.__doc__}
                kinds = (types.FunctionType, property, classmethod, staticmethod)
                found |= {f"{name}.{k}": v for k, v in methods.items() if isinstance(v, kinds)}
    return found


SETTINGS = get_default_settings(Parser)
SETTINGS.report_level, SETTINGS.halt_level, SETTINGS.warning_stream = 2, 5, False
for role in ("doc", "py:obj", "inbook"):
    roles.register_local_role(role, roles.GenericRole(role, nodes.emphasis))


def messages(text: str) -> list[str]:
    """What docutils says of a text."""
    tree = new_document("a docstring", SETTINGS)
    Parser().parse(text, tree)
    return [message.astext() for message in tree.findall(nodes.system_message)]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_docstring_can_be_set(module):
    """As Sphinx reads them; there, a warning ends the build of the site."""
    config, faults = Config(napoleon_use_ivar=True), {}
    for name, thing in documented(module).items():
        lines = api_pages.as_rst((inspect.getdoc(thing) or "").splitlines(), module)
        if said := messages(str(GoogleDocstring(lines, config, what="function"))):
            faults[name] = said
    assert faults == {}


def test_a_docstring_that_cannot_be_set_is_noticed():
    assert messages("A ``name.\n") != []


# ---- examples ------------------------------------------------------------------------------------------


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for module in MODULES for test in finder.find(module) if test.examples]


def outcome(test: doctest.DocTest) -> str:
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("test", examples(), ids=lambda test: test.name)
def test_every_example_of_a_docstring_holds(test):
    assert outcome(test) == ""


def test_there_are_examples_and_a_wrong_one_is_noticed():
    assert len(examples()) >= 15
    module = types.ModuleType("wrong", "A sum.\n\n>>> 1 + 1\n3\n")
    (test,) = doctest.DocTestFinder().find(module)
    assert "Expected:\n    3\nGot:\n    2" in outcome(test)


def test_modules_are_found_by_their_names():
    """The walk finds modules that a file was added for, and no private ones."""
    names = [module.__name__ for module in MODULES]
    assert names[0] == "dhida_lib"
    assert {"dhida_lib.attention", "dhida_lib.losses.dhida", "dhida_lib.search.store"} <= set(names)
    assert all(importlib.import_module(name) for name in names)
    assert not any("._" in name for name in names)
