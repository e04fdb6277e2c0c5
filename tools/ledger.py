"""Write the ledger page, book/ledger.md, from book/ledger.toml: each item of the paper, and its place here.

    python tools/ledger.py          write the page
    python tools/ledger.py check    list entries that point at nothing; exit status 1 if there is one

An entry names a cell by its id; the page links to the section that holds it. tests/test_ledger.py runs the
check, so an entry whose cell, library name or test is gone turns the tests red.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import itertools
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import notebooks
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

ROOT = notebooks.ROOT
DATA, PAGE = Path("book/ledger.toml"), Path("book/ledger.md")
ANCHORS = 3  # `myst_heading_anchors` of _config.yml: headings up to this level can be linked to
STATUS = {
    "as printed": "the formula or step as it stands in the paper",
    "corrected": "a slip of the print is mended; the [errata](errata.md) say how we know",
    "our reading": "the paper leaves it open or unclear; we chose, and say what",
    "not yet": "not measured yet; the reason stands beside it",
}
ALGORITHM = ["input", "output", "initialization 1", "initialization 2", "initialization 3", "step 1"]
ALGORITHM += ["step 2", "step 3", "step 4, codes", "step 4, derivatives", "step 5", "until", "end"]
GROUPS = {
    "Equations": [f"Eq. {n}" for n in range(1, 20)],
    "Algorithm 1": [f"Alg. 1, {step}" for step in ALGORITHM],
    "Tables": [f"Table {n}" for n in range(1, 5)],
    "Figures": [f"Fig. {n}" for n in range(1, 10)],
}
ITEMS = list(itertools.chain(*GROUPS.values()))


@dataclass(frozen=True)
class Entry:
    """One item of the paper; `note` says why its status is not "as printed".

    `cell` is the id of a cell, or the text of a heading. It is empty while the chapter is awaited.
    """

    item: str
    what: str
    chapter: str
    cell: str
    library: list[str]
    tests: list[str]
    status: str
    note: str = ""


def entries(root: Path = ROOT) -> list[Entry]:
    """Read the data file. What an awaited chapter will treat is "not yet" until its notebook is there."""
    data = tomllib.loads((root / DATA).read_text(encoding="utf-8"))
    gone = {name for name in data.get("awaited", []) if not (root / "book" / f"{name}.ipynb").is_file()}
    found = [Entry(**entry) for entry in data["entry"]]
    later = {"cell": "", "status": "not yet", "note": "the chapter is being written"}
    return [replace(entry, **later) if entry.chapter in gone else entry for entry in found]


# --------------------------------------------------------------------------------------------------------
# Where a cell stands


def slug(heading: str) -> str:
    """A heading's anchor on the site: MyST's rule, which is GitHub's (formulas do not count)."""
    inline = MarkdownIt().use(dollarmath_plugin).parseInline(heading)[0]
    title = "".join(c.content for c in inline.children or [] if c.type in ("text", "code_inline"))
    return re.sub(r"[^\w\u4e00-\u9fff\- ]", "", title.lower().replace(" ", "-"))


def outline(chapter: notebooks.Chapter) -> list[tuple[int, str, str]]:
    """A chapter's headings that can be linked to, in order: (cell index, text, anchor)."""
    found: list[tuple[int, str, str]] = []
    for cell in chapter.cells:
        for line in cell.unfenced.splitlines() if cell.is_text else ():
            if match := re.match(rf"#{{1,{ANCHORS}}} +(.+)", line):
                anchor, k = slug(match[1].strip()), 1
                while anchor in (a for _, _, a in found):
                    anchor, k = f"{anchor}-{k}", k + 1
                found.append((cell.index, match[1].strip(), anchor))
    return found


@cache
def read_chapter(path: Path) -> notebooks.Chapter:
    """A chapter, read once."""
    return notebooks.Chapter.read(path, notebooks.House(path.parents[1], ""))


def section(chapter: notebooks.Chapter, cell: str) -> tuple[str, str]:
    """Heading and anchor of the section that holds a cell, or is named so; KeyError if it is gone."""
    heads = outline(chapter)
    named = [h for h in heads if h[1] == cell]
    if named:
        return named[0][1:]
    index = next((c.index for c in chapter.cells if c.raw.get("id") == cell), None)
    if index is None:
        raise KeyError(cell)
    own = [h for h in heads if h[0] == index][:1]  # a text cell that opens a section belongs to it
    _, text, anchor = (own or [h for h in heads if h[0] < index])[-1]
    return text, anchor


# --------------------------------------------------------------------------------------------------------
# Does an entry point at something?


def library_has(dotted: str) -> bool:
    """Can the name be reached from the library by public names?"""
    parts = dotted.split(".")
    if parts[0] != "dhida_lib" or any(part.startswith("_") for part in parts):
        return False
    for cut in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@cache
def tests_of(path: Path) -> frozenset[str]:
    """The test functions of a file."""
    if not path.is_file():
        return frozenset()
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return frozenset(n.name for n in body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_"))


def problems_of(entry: Entry, root: Path = ROOT) -> Iterator[str]:
    """What one entry points at that is not there."""
    if entry.status not in STATUS:
        yield f"status {entry.status!r} is not one of {', '.join(STATUS)}"
    if entry.status != "as printed" and not entry.note:
        yield f"{entry.status!r} without a note that says why"
    path = root / "book" / f"{entry.chapter}.ipynb"
    if not path.is_file():
        if entry.cell or entry.status != "not yet":
            yield f"no chapter {entry.chapter}"
    else:
        chapter = read_chapter(path)
        try:
            section(chapter, entry.cell)
        except KeyError:
            yield f"no cell or heading {entry.cell!r} in {entry.chapter}"
        number = re.fullmatch(r"Eq\. (\d+)", entry.item)
        if number and not any(f"\\tag{{{number[1]}}}" in cell.source for cell in chapter.cells):
            yield f"{entry.chapter} does not print {entry.item}"
    if not entry.library or not entry.tests:
        yield "no library name or no test"
    yield from (f"no library name {name}" for name in entry.library if not library_has(name))
    for test in entry.tests:
        file, _, name = test.partition("::")
        if name not in tests_of(root / file):
            yield f"no test {test}"


def problems(found: list[Entry], root: Path = ROOT) -> list[str]:
    """All that is wrong with the ledger."""
    counts = Counter(entry.item for entry in found)
    wrong = [f"{item}: {counts[item]} entries, not one" for item in ITEMS if counts[item] != 1]
    wrong += [f"{item}: not an item of the paper" for item in counts if item not in ITEMS]
    return wrong + [f"{entry.item}: {text}" for entry in found for text in problems_of(entry, root)]


# --------------------------------------------------------------------------------------------------------
# The page


def row(entry: Entry, root: Path = ROOT) -> str:
    """An entry as a row of a table."""
    number = int(entry.chapter[:2])
    if entry.cell:
        head, anchor = section(read_chapter(root / "book" / f"{entry.chapter}.ipynb"), entry.cell)
        place = f"[{number} · {head}]({entry.chapter}.ipynb#{anchor})"
        place += f", cell `{entry.cell}`" if entry.cell != head else ""
    else:
        place = f"Chapter {number}"
    names = "<br>".join(f"`{name.removeprefix('dhida_lib.')}`" for name in entry.library)
    tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in entry.tests)
    status = f"**{entry.status}**" + (f": {entry.note}" if entry.note else "")
    return f"| {entry.item} | {entry.what}<br>{status} | {place} | {names}<br>{tests} |"


def page(found: list[Entry], root: Path = ROOT) -> str:
    """The page's text."""
    counts = Counter(entry.status for entry in found)
    lines = [
        "# Ledger: the paper, item by item",
        "",
        "<!-- Written by tools/ledger.py from book/ledger.toml. Edit that file, then run `make ledger`. -->",
        "",
        "Every equation, every line of Algorithm 1, every table and every figure of the paper, with the",
        "place in this book that treats it, the piece of `dhida_lib` that does it, and the test that holds",
        "it. `tests/test_ledger.py` fails if an item is missing, or if a row names a cell, a piece of the",
        "library or a test that does not exist.",
        "",
        "| status | items | meaning |",
        "|---|---|---|",
        *(f"| {status} | {counts[status]} | {meaning} |" for status, meaning in STATUS.items()),
    ]
    by_item = {entry.item: entry for entry in found}
    for group, items in GROUPS.items():
        lines += [
            "",
            f"## {group}",
            "",
            "| paper | what, and its status | chapter and cell | in `dhida_lib`, and the test |",
        ]
        lines += ["|---|---|---|---|", *(row(by_item[item], root) for item in items)]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("command", nargs="?", choices=["write", "check"], default="write")
    command = parser.parse_args(argv).command
    sys.path.insert(0, str(ROOT))
    found = entries()
    wrong = problems(found)
    if not wrong:
        text, path = page(found), ROOT / PAGE
        if command == "write":
            notebooks.write_atomic(path, text)
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            wrong.append(f"{PAGE} differs from what the tool writes: run `make ledger`")
    print("\n".join([*wrong, f"{len(found)} entries, {len(wrong)} findings"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
