"""The API reference of the site, from the docstrings of `dhida_lib`: a page for each of its rooms.

    python tools/api_pages.py              write the pages into book/api (the build of the site does it)

Sphinx loads this file as an extension (`local_extensions` in _config.yml). Its own autodoc and napoleon read
the docstrings; here stands what they cannot know: that a name in single backticks is a name of the library,
that an indented block is code, which chapter builds a piece, and which rows of the ledger name it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import ledger  # noqa: E402
from docutils import nodes  # noqa: E402
from docutils.parsers.rst import Directive, roles  # noqa: E402
from docutils.statemachine import StringList  # noqa: E402
from sphinx.addnodes import pending_xref  # noqa: E402
from sphinx.domains.python import PyObject  # noqa: E402

import dhida_lib  # noqa: E402
from dhida_lib._files import write_atomic  # noqa: E402

FOLDER = Path("book/api")
LONG = 100
"""Letters of a value that is shown beside its name; a longer one is left out."""


# ---- what there is -------------------------------------------------------------------------------------


@cache
def modules() -> tuple[ModuleType, ...]:
    """The library's public modules that say which names they offer."""
    walk = pkgutil.walk_packages(dhida_lib.__path__, "dhida_lib.")
    names = [m.name for m in walk if not any(part.startswith("_") for part in m.name.split("."))]
    found = [dhida_lib, *(importlib.import_module(name) for name in names)]
    return tuple(module for module in found if hasattr(module, "__all__"))


def room(module: ModuleType) -> str:
    """The page of a module: the first name behind the library's, empty for the library itself."""
    return ".".join(module.__name__.split(".")[1:2])


def is_defined(thing: object) -> bool:
    """Is it a class or a function, which know where they come from?"""
    return inspect.isclass(thing) or inspect.isfunction(thing)


@cache
def homes() -> dict[str, str]:
    """Where each documented name stands: its full name → its module."""
    found: dict[str, str] = {}
    for module in modules():
        source = inspect.getsource(module)
        for name in module.__all__:
            thing = getattr(module, name)
            if is_defined(thing):
                own = thing.__module__ == module.__name__
            else:
                own = not inspect.ismodule(thing) and bool(re.search(rf"^{name}\b.*=", source, re.M))
            if own:
                found[f"{module.__name__}.{name}"] = module.__name__
    return found


def full_name(thing: object) -> str | None:
    """The name under which a class, a function, a method or a module is documented, if it is."""
    if inspect.ismodule(thing):
        return thing.__name__ if thing in modules() and room(thing) else None
    thing = thing.fget if isinstance(thing, property) else getattr(thing, "__func__", thing)
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not module or not name or not getattr(thing, "__doc__", None):
        return None
    known = f"{module}.{name.split('.')[0]}" in homes()
    return f"{module}.{name}" if known and not name.split(".")[-1].startswith("_") else None


def constant(thing: object, name: str) -> str | None:
    """The full name of a value, which does not know its own."""
    found = (full for full in homes() if full.endswith(f".{name}"))
    return next((f for f in found if getattr(sys.modules[homes()[f]], name) is thing), None)


def resolved(text: str, *places: object) -> str | None:
    """The full name that a text such as `HashNetwork.load` means, looked for in these places in turn."""
    if not re.fullmatch(r"[A-Za-z]\w*(\.\w+)*", text):
        return None
    for place in (*places, dhida_lib):
        thing: Any = place
        for part in text.removeprefix("dhida_lib.").split("."):
            try:
                thing = (
                    inspect.getattr_static(thing, part) if inspect.isclass(thing) else getattr(thing, part)
                )
            except AttributeError:
                break
        else:
            if name := full_name(thing) or constant(thing, part):
                return name
    return None


# ---- a docstring as reStructuredText -------------------------------------------------------------------

_SECTION = re.compile(r"\s*[A-Z]\w+( \w+)?:\s*")
_INLINE = re.compile(r"(``.+?``|`[^`]+`)", re.S)
_MARKS = re.compile(r"(?<!\w)(\*\*?)\w(?:[^*\n]*\w)?\1(?!\w)|[*|]|(?<=\w)_+(?!\w)|(?<!\w)_+(?=\w)")
"""Marks with a meaning for docutils: an emphasis (kept), and such as are only letters here."""


def blocks_as_code(lines: list[str]) -> Iterator[str]:
    """Mark what is set off by a blank line and by its indentation: it keeps its lines."""
    before, blank, inside = "", True, -1
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip():
            if inside >= 0 and indent <= inside:
                inside = -1
            base = len(before) - len(before.lstrip())
            example = line.lstrip().startswith((">>>", "- "))
            set_off = blank and before and indent > base and not _SECTION.fullmatch(before)
            if inside < 0 and set_off and not example:
                inside = base
                yield from (" " * base + "::", "")
            before = line if inside < 0 else before
        blank = not line.strip()
        yield line


def returns_as_fields(lines: list[str]) -> Iterator[str]:
    """What is returned is a sentence: napoleon would take the words before a colon for a type."""
    field = ""
    for line in lines:
        if match := re.fullmatch(r"(Returns|Yields):\s*", line):
            field = match[1].lower()
        elif field and line.strip():
            yield f":{field}: {line.strip()}"
            field = ""
        else:
            yield line


@cache
def chapters() -> dict[int, str]:
    """Number → file name of a chapter."""
    return {int(p.stem[:2]): p.stem for p in sorted((ROOT / "book").glob("[0-9][0-9]_*.ipynb"))}


_CHAPTER = re.compile(r"Chapters?\s+\d+(?:(?:\s\(\w+\))?(?:,\s|\sand\s|\sto\s)\d+)*")


def chapters_linked(text: str) -> str:
    """Chapter 5 → a link to it; in a list of several each number is one."""

    def link(match: re.Match[str], words: str) -> str:
        file = chapters().get(int(match[match.re.groups]))
        return f":doc:`{words} </book/{file}>`" if file else words

    def every(match: re.Match[str]) -> str:
        if one := re.fullmatch(r"Chapter\s+(\d+)", match[0]):
            return link(one, f"Chapter {one[1]}")
        return re.sub(r"(\d+)", lambda m: link(m, m[1]), match[0])

    return _CHAPTER.sub(every, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0] if match[1] else re.sub(r"(.)", r"\\\1", match[0])


def inline(text: str, *places: object) -> str:
    """Names become links, chapters too, and marks that mean nothing here are taken as they stand."""
    pieces = _INLINE.split(text)
    for k, piece in enumerate(pieces):
        if piece.startswith("`"):
            if not piece.startswith("``"):
                words = " ".join(piece[1:-1].split())
                name = resolved(words, *places)
                pieces[k] = f":py:obj:`{words} <{name}>`" if name else f"``{words}``"
            if re.match(r"\w", pieces[k + 1]):
                pieces[k] += "\\ "  # a letter stands right behind it
        else:
            piece = re.sub(r":\w+:$", "", piece) if k + 1 < len(pieces) else piece
            piece = re.sub(
                r"(: |^)([A-Z]\.)$", r"\1\\\2", piece, flags=re.M
            )  # a letter, not a list's first item
            pieces[k] = chapters_linked(_MARKS.sub(_escaped, piece))
    return "".join(pieces)


def as_rst(docstring: list[str], *places: object) -> list[str]:
    """A docstring's lines in the form that napoleon and docutils read.

    Args:
        docstring: its lines, without common indentation.
        places: where names in it are looked for: a class, its module.
    """
    lines = list(blocks_as_code(list(returns_as_fields(docstring))))
    done, prose, indent = [], [], -1
    for line in [*lines, ""]:
        depth = len(line) - len(line.lstrip())
        if indent >= 0 and line.strip() and depth <= indent:
            indent = -1
        if indent < 0 and line.strip() and line.strip() != "::" and not line.lstrip().startswith(">>>"):
            prose.append(line)
            continue
        if prose:
            done += inline("\n".join(prose), *places).split("\n")
            prose = []
        if line.strip() == "::":
            indent = depth
        elif line.lstrip().startswith(">>>") and indent < 0:
            indent = depth - 1  # an example goes on to the next blank line or dedent
        elif not line.strip() and done and ">>>" in "".join(done[-1:]):
            indent = -1
        done.append(line)
    return done[:-1]


# ---- the ledger ----------------------------------------------------------------------------------------


@cache
def rows() -> dict[str, list[ledger.Entry]]:
    """Full name → the entries of the ledger that name it."""
    found = defaultdict(list)
    for entry in ledger.entries():
        for name in entry.library:
            if full := resolved(name):
                found[full].append(entry)
    return dict(found)


def in_the_book(name: str) -> str:
    """A line that says which items of the paper a piece does, and where the book builds them."""
    places: dict[str, list[str]] = defaultdict(list)
    for entry in rows().get(name, ()):
        if not entry.cell:
            continue
        chapter = ledger.read_chapter(ROOT / "book" / f"{entry.chapter}.ipynb")
        title, anchor = ledger.section(chapter, entry.cell)
        words = re.sub(r"[`<>\\]", "", title.replace("$", ""))
        place = f":inbook:`Chapter {int(entry.chapter[:2])}, {words} <{entry.chapter}#{anchor}>`"
        places[place].append(entry.item + ("" if entry.status == "as printed" else f" ({entry.status})"))
    if not places:
        return ""
    text = "; ".join(f"{', '.join(items)} in {place}" for place, items in places.items())
    return f"*In the* :doc:`ledger </book/ledger>`: {text}."


# ---- the pages -----------------------------------------------------------------------------------------


def titled(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def of_module(module: ModuleType) -> Iterator[str]:
    """The directives for a module: what it says, its own names, and where the others stand."""
    yield from (f".. automodule:: {module.__name__}", "")
    elsewhere = []
    for name in module.__all__:
        thing, full = getattr(module, name), f"{module.__name__}.{name}"
        if full not in homes():
            home = full_name(thing) or constant(thing, name)
            elsewhere.append(f":py:obj:`{name} <{home}>`" if home else f"``{name}``")
        elif inspect.isclass(thing):
            yield from (f".. autoclass:: {full}", "   :members:", "   :show-inheritance:", "")
        elif inspect.isfunction(thing):
            yield from (f".. autofunction:: {full}", "")
        else:
            short = ["   :no-value:"] if len(repr(thing)) > LONG else []
            yield from (f".. autodata:: {full}", *short, "")
    if elsewhere:
        yield from ("Names that can be imported from here too: " + ", ".join(elsewhere) + ".", "")


def pages() -> dict[str, str]:
    """Name of a page → its text."""
    found: dict[str, list[str]] = defaultdict(list)
    for module in modules():
        if name := room(module):
            found[name] += titled(module.__name__, "-" if found[name] else "=")
            found[name] += of_module(module)
    return {name: "\n".join(lines) for name, lines in found.items()}


def write(folder: Path = ROOT / FOLDER) -> list[Path]:
    """Write all pages; one of a room that is gone is removed.

    Returns:
        Their files.
    """
    texts = {folder / f"{name}.rst": text for name, text in pages().items()}
    folder.mkdir(exist_ok=True)
    for path in set(folder.glob("*.rst")) - set(texts):
        path.unlink()
    for path, text in texts.items():
        write_atomic(path, lambda new, text=text: Path(new).write_text(text, encoding="utf-8"))
    return list(texts)


def first_sentence(thing: object) -> str:
    """The first sentence of a docstring, on one line."""
    paragraph = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.:])\s", paragraph)[0].rstrip(":")


# ---- the extension -------------------------------------------------------------------------------------


class LibraryNames(Directive):
    """``library-names``: the rooms of the library, and the names that it offers, each with its sentence."""

    def run(self) -> list[nodes.Node]:
        """The lists."""
        lines = []
        for module in modules():
            if room(module) and module.__name__.count(".") == 1:
                sentence = inline(first_sentence(module), module)
                lines += [
                    f":doc:`{module.__name__} </{FOLDER.as_posix()}/{room(module)}>`",
                    f"   {sentence}",
                    "",
                ]
        lines += [".. rubric:: Names that ``dhida_lib`` itself offers", ""]
        for name in dhida_lib.__all__:
            thing = getattr(dhida_lib, name)
            full = full_name(thing) or constant(thing, name)
            about = first_sentence(thing) if is_defined(thing) or inspect.ismodule(thing) else ""
            home = inspect.getmodule(thing)
            lines += [f":py:obj:`{name} <{full}>`", f"   {inline(about, home) or 'A value.'}", ""]
        place = nodes.container()
        self.state.nested_parse(StringList(lines, source="library-names"), self.content_offset, place)
        return place.children


def in_book_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = ()
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """``:inbook:`words <chapter#section>```: a link to a section of a chapter, by its anchor on the site."""
    words, target = re.fullmatch(r"(.*) <([^<>]*)>", text, re.S).groups()
    reference = pending_xref("", nodes.inline("", words), refdomain="", reftype="inbook", reftarget=target)
    reference["refwarn"] = True
    return [reference], []


def find_section(app: Any, env: Any, node: Any, content: Any) -> nodes.reference | None:
    """Resolve what `in_book_role` left: the heading's id on the page."""
    if node.get("reftype") != "inbook":
        return None
    chapter, _, anchor = node["reftarget"].partition("#")
    docname = f"book/{chapter}"
    slugs = env.metadata.get(docname, {}).get("myst_slugs", {})
    if anchor not in slugs:
        return None  # Sphinx warns
    return refnode(app, node.get("refdoc", env.docname), docname, slugs[anchor][1], content)


def refnode(app: Any, here: str, there: str, anchor: str, content: nodes.Node) -> nodes.reference:
    address = app.builder.get_relative_uri(here, there)
    return nodes.reference("", "", content, internal=True, refuri=f"{address}#{anchor}")


def link_names(app: Any, tree: nodes.document, docname: str) -> None:
    """Names in code become links to this reference: all in the ledger, elsewhere those with `dhida_lib.`."""
    known = app.env.get_domain("py").objects
    everywhere = docname == ledger.PAGE.with_suffix("").as_posix()
    for literal in list(tree.findall(nodes.literal)):
        text, parent = literal.astext(), literal.parent
        while parent is not None and not isinstance(parent, (nodes.reference, nodes.section)):
            parent = parent.parent
        if isinstance(parent, nodes.reference) or not (everywhere or text.startswith("dhida_lib.")):
            continue
        entry = known.get(resolved(text) or "")
        if entry is not None and entry.docname != docname:
            literal.replace_self(refnode(app, docname, entry.docname, entry.node_id, literal.deepcopy()))


def read_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Before napoleon: a docstring in its form, with what the ledger says of the name."""
    if what == "data" and lines[:1] == (type(thing).__doc__ or "").split("\n")[:1]:
        lines.clear()  # a value without words of its own: not those of its type
    parts = name.split(".")
    places: list[Any] = []
    for cut in range(len(parts), 0, -1):
        try:
            place: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        places = [place]
        for part in parts[cut:]:
            place = getattr(place, part, None)
            if inspect.isclass(place):
                places.insert(0, place)
        break
    lines[:] = as_rst(lines, *places)
    if said := in_the_book(name):
        lines += ["", said, ""]


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx: the pages are written before it looks for files."""
    write(Path(app.srcdir) / FOLDER)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"  # as the docstrings call them
    app.add_directive("library-names", LibraryNames)
    roles.register_local_role("inbook", in_book_role)
    app.connect("autodoc-process-docstring", read_docstring, priority=100)
    app.connect("missing-reference", find_section)
    app.connect("doctree-resolved", link_names)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    for written in write():
        print(written.relative_to(ROOT))
