"""The fixed parts of a chapter: what `sync` writes, what `check` forbids, what `time` measures.

    python tools/notebooks.py sync  [NOTEBOOK …]  strip outputs, write setup cell, badges, ids and folding
    python tools/notebooks.py check [NOTEBOOK …]  list every broken rule; exit status 1 if there is one
    python tools/notebooks.py time  [NOTEBOOK …]  run each chapter, write data/records/runtimes.json

Without names, all of book/*.ipynb. Each rule is one small function below, marked `@rule`;
tests/test_notebooks.py shows for each of them a notebook that breaks it.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import dis
import hashlib
import itertools
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 25  # of a code cell
MIN_ALT = 20  # characters of a figure's description
MIN_EXERCISES = 3
MIN_HINTS = 2
MIN_QUESTIONS = 3

BEFORE = ["Where we are", "The question", "The paper says", "By hand"]
AFTER = [
    "The library's version",
    "Break it",
    "Exercises",
    "Check yourself",
    "Take-away",
    "Differences from the paper",
    "References and next",
]
WITHOUT_PAPER = {2, 3, 11, 13}  # these chapters may leave "The paper says" out
# Chapters whose drawing code stands open still; a revised one is struck out, and its figures stay folded.
OPEN_FIGURES = set(range(1, 20)) - {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
GLANCE = ["You will be able to", "Before you start", "Paper", "Time to read", "Run time"]

SETUP = """\
# @title Setup: run this first. PROFILE "full" is the paper's setting, on a GPU
try:
    import dhida_lib
except ModuleNotFoundError:
    import subprocess
    import sys
    from pathlib import Path

    above = (Path.cwd(), *Path.cwd().parents)
    roots = [p for p in above if (p / "dhida_lib" / "__init__.py").is_file()]
    if roots:  # inside a checkout: use its library
        sys.path.insert(0, str(roots[0]))
    else:  # alone, as on Colab: install the library, leave torch as it is
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        source = "git+{url}@{branch}"
        subprocess.run([*pip, source], check=True)
    import dhida_lib

PROFILE = "fast"  # @param ["fast", "full"]
profile = dhida_lib.start(PROFILE)"""

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python"}
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}


# --------------------------------------------------------------------------------------------------------
# The house and its chapters


@dataclass
class House:
    """What a chapter needs to know about the project: where it is, its address, the measured run times."""

    root: Path
    url: str
    branch: str = "main"
    runtimes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def at(cls, root: Path = ROOT) -> House:
        """Read the house from `_config.yml` and the run-time records."""
        repository = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]
        records = root / "data" / "records" / "runtimes.json"
        runtimes = json.loads(records.read_text(encoding="utf-8")) if records.is_file() else {}
        return cls(root, repository["url"].rstrip("/"), repository["branch"], runtimes)

    @property
    def book(self) -> Path:
        """The folder of the chapters."""
        return self.root / "book"

    def notebooks(self) -> list[Path]:
        """All chapters, in the order of their numbers."""
        return sorted(self.book.glob("*.ipynb"))

    def setup(self) -> str:
        """The setup cell: the same bytes in every chapter."""
        return SETUP.replace("{url}", self.url).replace("{branch}", self.branch)

    def badge(self, name: str) -> str:
        """The line with the two links under a chapter's promise: plain text, so that no image is fetched."""
        page = f"{self.url.removeprefix('https://github.com/')}/blob/{self.branch}/book/{name}"
        return (
            f"[▶ Open in Colab](https://colab.research.google.com/github/{page}) · "
            f"[View source](https://github.com/{page})"
        )

    def run_time(self, name: str) -> str:
        """The row of the "At a glance" table with the measured run time."""
        record = self.runtimes.get(name)
        if record is None:
            return "| **Run time** | not measured yet |"
        return (
            f"| **Run time** | {max(1, round(record['seconds']))} s with the fast profile "
            f"on {record['machine']} (measured {record['date']}) |"
        )


@dataclass
class Cell:
    """One cell with what the rules ask of it."""

    index: int
    kind: str
    source: str
    tags: list[str]
    raw: dict[str, Any]

    @property
    def lines(self) -> list[str]:
        """The source, line by line."""
        return self.source.splitlines()

    @property
    def is_code(self) -> bool:
        """Is it code?"""
        return self.kind == "code"

    @property
    def is_text(self) -> bool:
        """Is it Markdown?"""
        return self.kind == "markdown"

    @property
    def tree(self) -> ast.Module:
        """The parsed code; empty where it does not parse (the rule `syntax` says so)."""
        try:
            return ast.parse(self.source)
        except SyntaxError:
            return ast.Module([], [])

    @property
    def unfenced(self) -> str:
        """The Markdown without fenced code; a directive in a fence is no code and stays."""
        return re.sub(r"^(`{3,}|~{3,})[^\n{]*\n.*?^\1[ \t]*$", "", self.source, flags=re.M | re.S)

    @property
    def prose(self) -> str:
        """The Markdown without code, whether fenced or inline."""
        return re.sub(r"(`+)(?!`)[^\n]*?(?<!`)\1(?!`)", "", self.unfenced)

    def names(self) -> tuple[set[str], set[str], set[str]]:
        """The names that the cell takes from above, that its functions look up, and that it gives.

        Read from the compiled code, which knows scopes and the order of things. An import gives nothing: it
        gives the same thing again.
        """
        taken: set[str] = set()
        looked_up: set[str] = set()
        given: set[str] = set()
        try:
            parts = [compile(self.source, "cell", "exec")]
        except SyntaxError:
            return taken, looked_up, given
        last = ""
        for step in dis.get_instructions(parts[0]):
            if step.opname == "LOAD_NAME" and step.argval not in given:
                taken.add(step.argval)
            elif step.opname in ("STORE_NAME", "DELETE_NAME") and not last.startswith("IMPORT_"):
                given.add(step.argval)
            last = step.opname
        while parts:
            # a class stores its own names, and `:=` in a comprehension those of the cell
            for part in (const for const in parts.pop().co_consts if hasattr(const, "co_code")):
                steps = list(dis.get_instructions(part))
                own = {s.argval for s in steps if s.opname in ("STORE_NAME", "STORE_GLOBAL")}
                names = {s.argval for s in steps if s.opname in ("LOAD_GLOBAL", "LOAD_NAME")} - own
                if part.co_name.startswith("<"):  # a comprehension or a lambda, used where it stands
                    taken |= names - given
                else:
                    looked_up |= names
                parts.append(part)
        return taken, looked_up, given

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """All calls as (dotted name, node)."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node


@dataclass
class Chapter:
    """A notebook as stored, and the house it stands in."""

    path: Path
    nb: Any
    house: House

    @classmethod
    def read(cls, path: Path, house: House) -> Chapter:
        """Read a notebook file."""
        with open(path, encoding="utf-8") as file:
            return cls(Path(path), nbformat.read(file, as_version=4), house)

    @property
    def number(self) -> int | None:
        """The NN of NN_slug.ipynb; None for another name."""
        found = re.match(r"(\d\d)_[a-z0-9_]+$", self.path.stem)
        return int(found[1]) if found else None

    @property
    def cells(self) -> list[Cell]:
        """The cells in their order."""
        return [
            Cell(i, c.cell_type, c.source, list(c.metadata.get("tags", [])), c)
            for i, c in enumerate(self.nb.cells)
        ]

    def headings(self, level: int) -> list[tuple[int, str]]:
        """The headings of one level as (cell index, text)."""
        mark = "#" * level + " "
        return [
            (cell.index, line[len(mark) :].strip())
            for cell in self.cells
            if cell.is_text
            for line in cell.prose.splitlines()
            if line.startswith(mark)
        ]

    def section(self, title: str) -> list[Cell]:
        """The cells from the level-2 heading `title` up to the next level-2 heading."""
        starts = [*self.headings(2), (len(self.nb.cells), "")]
        for (start, name), (end, _) in itertools.pairwise(starts):
            if name == title:
                return self.cells[start : max(end, start + 1)]
        return []

    def exercises(self) -> list[tuple[str, list[Cell]]]:
        """The exercises as (heading text, cells)."""
        cells = self.section("Exercises")
        if not cells:
            return []
        first, last = cells[0].index, cells[-1].index
        starts = [(i, t) for i, t in self.headings(3) if first <= i <= last and t.startswith("Exercise ")]
        ends = [i for i, _ in starts[1:]] + [last + 1]
        return [(t, self.cells[i : max(e, i + 1)]) for (i, t), e in zip(starts, ends, strict=True)]


# --------------------------------------------------------------------------------------------------------
# sync


def strip(cell: Any) -> None:
    """Remove outputs and counts, except where the tag `keep_output` asks to keep them for nbval."""
    if cell.cell_type == "code" and "keep_output" not in cell.metadata.get("tags", []):
        cell.outputs = []
        cell.execution_count = None


def fold(cell: Any) -> None:
    """Keep tags and figure settings; fold setup, solutions and what is tagged `folded` in all front ends."""
    kept = {key: cell.metadata[key] for key in ("tags", "mystnb") if cell.metadata.get(key)}
    tags = kept.get("tags", [])
    for tag, hide in (("setup", "hide-input"), ("folded", "hide-input"), ("solution", "hide-cell")):
        if tag in tags:
            tags = [tag, hide, *(t for t in tags if t not in (tag, hide))]
            kept.update(json.loads(json.dumps(FOLDED)))
    if tags:
        kept["tags"] = tags
    cell.metadata = nbformat.from_dict(kept)


def set_head(source: str, name: str, house: House) -> str:
    """Write the badge line and the run-time row into a chapter's first cell."""
    lines = [line.rstrip() for line in source.strip().splitlines()]
    lines = [line for line in lines if not line.startswith("[▶ Open in Colab](")]
    table = next((i for i, line in enumerate(lines) if line.startswith("|")), len(lines))
    head = lines[:table]
    while head and not head[-1]:
        head.pop()
    rows = [line for line in lines[table:] if not line.startswith("| **Run time**")]
    last = max((i for i, line in enumerate(rows) if line.startswith("|")), default=-1)
    if last >= 0:
        rows.insert(last + 1, house.run_time(name))
    return "\n".join([*head, "", house.badge(name), "", *rows]).strip()


def set_ids(cells: list[Any], prefix: str) -> None:
    """Give every cell an id that is unique over the project; ids that are already right stay."""
    seen: set[str] = set()
    for cell in cells:
        setup = "setup" in cell.metadata.get("tags", [])
        wanted = f"{prefix}-setup" if setup else cell.get("id", "")
        if not setup and (not re.fullmatch(re.escape(prefix) + r"-[0-9a-f]{8}", wanted) or wanted in seen):
            salt = 0
            while True:
                digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}\n{salt}".encode()).hexdigest()
                wanted = f"{prefix}-{digest[:8]}"
                if wanted not in seen:
                    break
                salt += 1
        seen.add(wanted)
        cell["id"] = wanted


def sync_notebook(path: Path, house: House) -> str:
    """Return the text that the notebook at `path` should have."""
    nb = Chapter.read(path, house).nb
    for cell in nb.cells:
        cell.source = "\n".join(line.rstrip() for line in cell.source.strip("\n").splitlines())
        strip(cell)
        fold(cell)
    setups = [c for c in nb.cells if "setup" in c.metadata.get("tags", [])]
    if not setups:
        setups = [nbformat.v4.new_code_cell(metadata={"tags": ["setup"]})]
        nb.cells.insert(min(1, len(nb.cells)), setups[0])
        fold(setups[0])
    setups[0].source = house.setup()
    if nb.cells[0].cell_type == "markdown":
        nb.cells[0].source = set_head(nb.cells[0].source, path.name, house)
    found = re.match(r"\d\d(?=_)", path.stem)
    set_ids(nb.cells, found[0] if found else path.stem.replace("_", "-"))
    nb.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": LANGUAGE})
    nb.nbformat, nb.nbformat_minor = 4, 5
    return nbformat.writes(nb, version=4).rstrip("\n") + "\n"


def write_atomic(path: Path, text: str) -> None:
    """Write a file so that a reader sees either the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


def sync(paths: Iterable[Path], house: House) -> list[Path]:
    """Bring notebooks to their stored form; return those that changed."""
    changed = []
    for path in paths:
        text = sync_notebook(path, house)
        if text != path.read_text(encoding="utf-8"):
            write_atomic(path, text)
            changed.append(path)
    return changed


# --------------------------------------------------------------------------------------------------------
# check: one function a rule; each yields (cell index or None, what is wrong)

Finding = tuple["int | None", str]
RULES: dict[str, Callable[[Chapter], Iterable[Finding]]] = {}


def rule(function: Callable[[Chapter], Iterable[Finding]]) -> Callable[[Chapter], Iterable[Finding]]:
    """Register a rule under its function's name."""
    RULES[function.__name__.replace("_", "-")] = function
    return function


@rule
def name(chapter: Chapter) -> Iterator[Finding]:
    """A chapter's file is named after its number."""
    if chapter.number is None:
        yield None, "a notebook is named like 05_position_attention.ipynb (pages without code are .md)"


@rule
def synced(chapter: Chapter) -> Iterator[Finding]:
    """The stored bytes are those that `sync` writes."""
    if sync_notebook(chapter.path, chapter.house) != chapter.path.read_text(encoding="utf-8"):
        yield None, "not in its stored form: run `make sync`"


@rule
def run_time(chapter: Chapter) -> Iterator[Finding]:
    """Every chapter shows a measured run time."""
    if chapter.path.name not in chapter.house.runtimes:
        yield 0, f"no measured run time: run `python tools/notebooks.py time book/{chapter.path.name}`"


@rule
def syntax(chapter: Chapter) -> Iterator[Finding]:
    """Code cells are plain Python."""
    for cell in chapter.cells:
        if cell.is_code:
            try:
                ast.parse(cell.source)
            except SyntaxError as error:
                yield cell.index, f"does not parse as Python: {error.msg} (line {error.lineno})"


@rule
def no_shell(chapter: Chapter) -> Iterator[Finding]:
    """No `!command` and no `%magic`: nbval passes them even when they fail."""
    for cell in chapter.cells:
        if cell.is_code and re.search(r"^\s*(?:[!%]{1,2}\w|get_ipython\()", cell.source, re.M):
            yield cell.index, "a shell or magic line; use subprocess.run(check=True) in the library"


@rule
def empty_cell(chapter: Chapter) -> Iterator[Finding]:
    """No empty cells."""
    for cell in chapter.cells:
        if not cell.source.strip():
            yield cell.index, "an empty cell"


@rule
def long_cell(chapter: Chapter) -> Iterator[Finding]:
    """Code cells are short: one idea each."""
    for cell in chapter.cells:
        if cell.is_code and "setup" not in cell.tags and len(cell.lines) > MAX_LINES:
            yield cell.index, f"{len(cell.lines)} lines of code, at most {MAX_LINES}"


@rule
def run_again(chapter: Chapter) -> Iterator[Finding]:
    """Any cell can be run again when all have run: no later cell has changed what it takes from above."""
    said = [(cell.index, *cell.names()) for cell in chapter.cells if cell.is_code]
    for i, (index, taken, looked_up, given) in enumerate(said):
        above = set().union(*(names for *_, names in said[:i]))
        below = [(later, names) for later, *_, names in said[i + 1 :]]
        for name in sorted((taken & above) | (looked_up & (above | given))):
            if name in taken & given:
                yield index, f"it takes `{name}` from above and changes it: a second run finds another"
            for later in [later for later, names in below if name in names][:1]:
                yield later, f"it changes `{name}`, which cell {index} takes from above: choose another name"


@rule
def setup_cell(chapter: Chapter) -> Iterator[Finding]:
    """One setup cell, the first code cell, with the canonical bytes."""
    code = [cell for cell in chapter.cells if cell.is_code]
    tagged = [cell for cell in code if "setup" in cell.tags]
    if len(tagged) != 1 or code[0] is not tagged[0]:
        yield None, "exactly one cell is tagged `setup`, and it is the first code cell"
    for cell in tagged:
        if cell.source != chapter.house.setup():
            yield cell.index, "the setup cell differs from tools/notebooks.py: run `make sync`"


@rule
def folded_title(chapter: Chapter) -> Iterator[Finding]:
    """A folded cell says in its first line what it does: Colab shows that line in the code's place."""
    for cell in chapter.cells:
        if "folded" in cell.tags and not re.match(r"# @title \S", cell.source):
            yield cell.index, "the first line of a folded cell is `# @title …`"


@rule
def folded_figures(chapter: Chapter) -> Iterator[Finding]:
    """Drawing code and alt texts are folded: what they say would answer the prediction above them."""
    for cell in chapter.cells:
        drawn = any(dotted.split(".")[-1] in {"show", "frame_slider"} for dotted, _ in cell.calls())
        closed = {"folded", "solution"} & set(cell.tags)
        if cell.is_code and drawn and not closed and chapter.number not in OPEN_FIGURES:
            yield cell.index, "it draws a figure in open code: tag it `folded`"


@rule
def tags(chapter: Chapter) -> Iterator[Finding]:
    """No cell may fail or be skipped."""
    bad_tags = {"raises-exception", "skip-execution", "nbval-skip", "nbval-raises-exception", "remove-cell"}
    for cell in chapter.cells:
        for tag in sorted(bad_tags & set(cell.tags)):
            yield cell.index, f"the tag `{tag}` hides a cell from the tests or the reader"
        if cell.is_code and re.search(r"^\s*#\s*NBVAL_(SKIP|RAISES_EXCEPTION)", cell.source, re.M):
            yield cell.index, "a comment that makes nbval skip the cell or expect an error"


@rule
def metadata(chapter: Chapter) -> Iterator[Finding]:
    """Nothing of Colab's or a widget's state is stored."""
    for key in ("colab", "widgets", "accelerator"):
        if key in chapter.nb.metadata:
            yield None, f"stored `{key}` metadata: run `make sync`"
    for cell in chapter.cells:
        for key in ("colab", "outputId", "id", "executionInfo"):
            if key in cell.raw.metadata:
                yield cell.index, f"stored `{key}` metadata: run `make sync`"


@rule
def kept_output(chapter: Chapter) -> Iterator[Finding]:
    """An output that is kept is text, and has the count without which nbval never compares it."""
    for cell in chapter.cells:
        if cell.is_code and "keep_output" in cell.tags:
            outs = cell.raw.outputs
            texts = all(o.output_type == "stream" or set(o.get("data", {})) == {"text/plain"} for o in outs)
            if not outs or cell.raw.execution_count is None or not texts:
                yield cell.index, "`keep_output` needs a stored text output and its execution count"


@rule
def assert_message(chapter: Chapter) -> Iterator[Finding]:
    """Every assert says what it means."""
    for cell in chapter.cells:
        if cell.is_code:
            for node in ast.walk(cell.tree):
                if isinstance(node, ast.Assert) and node.msg is None:
                    yield cell.index, f"line {node.lineno}: an assert without a message"


@rule
def private_names(chapter: Chapter) -> Iterator[Finding]:
    """A chapter uses only the library's public names."""

    def private(part: str) -> bool:
        return part.startswith("_") and not part.endswith("__")

    for cell in chapter.cells:
        for node in ast.walk(cell.tree) if cell.is_code else ():
            names: list[str] = []
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dhida_lib":
                names = [*(node.module or "").split("."), *(a.name for a in node.names)]
            elif isinstance(node, ast.Import):
                names = [p for a in node.names if a.name.startswith("dhida_lib") for p in a.name.split(".")]
            elif isinstance(node, ast.Attribute) and private(node.attr):
                owner = ast.unparse(node.value)
                names = [node.attr] if owner.split(".")[0] in {"dhida_lib", *imported(chapter)} else []
            for part in filter(private, names):
                yield cell.index, f"`{part}` is private to dhida_lib"


def imported(chapter: Chapter) -> set[str]:
    """The names under which a chapter knows dhida_lib or parts of it."""
    found: set[str] = set()
    for cell in chapter.cells:
        for node in ast.walk(cell.tree) if cell.is_code else ():
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dhida_lib":
                found |= {a.asname or a.name for a in node.names}
            elif isinstance(node, ast.Import):
                found |= {a.asname for a in node.names if a.asname and a.name.startswith("dhida_lib")}
    return found


FIGURES = {"figure", "subplots", "subplot_mosaic", "image_grid", "heatmap", "curve", "pipeline", "gallery"}
SHOWS = {"show", "frame_slider", "live", "where_we_are"}


def own_calls(cell: Cell) -> Iterator[tuple[str, ast.Call]]:
    """The calls a cell makes when it runs: those inside function and class bodies are left out."""
    stack: list[ast.AST] = list(cell.tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node
        stack.extend(ast.iter_child_nodes(node))


@rule
def figures(chapter: Chapter) -> Iterator[Finding]:
    """A figure reaches the reader only through `show(fig, alt=…)` or `frame_slider`, with a description."""
    for cell in chapter.cells:
        if not cell.is_code:
            continue
        calls = list(cell.calls())
        if any(dotted in ("plt.show", "pyplot.show", "matplotlib.pyplot.show") for dotted, _ in calls):
            yield cell.index, "plt.show() gives a figure without alt text; use plots.show(fig, alt=…)"
            continue
        made = [d for d, _ in own_calls(cell) if d.split(".")[-1] in FIGURES and "." in d]
        shown = [(d.split(".")[-1], n) for d, n in calls if d.split(".")[-1] in SHOWS]
        if made and not shown:
            yield cell.index, f"`{made[0]}` makes a figure that is not shown with plots.show(fig, alt=…)"
        for how, node in shown:
            if how == "show":
                yield from ((cell.index, text) for text in alt_of(node))


def alt_of(node: ast.Call) -> Iterator[str]:
    """What is wrong with the alt text of a call of show; show itself checks a text made at run time."""
    positional = node.args[1] if len(node.args) > 1 else None
    given = next((k.value for k in node.keywords if k.arg == "alt"), positional)
    if given is None:
        yield "show() without alt text"
    elif isinstance(given, ast.Constant) and len(str(given.value).strip()) < MIN_ALT:
        yield f"alt text of {len(str(given.value).strip())} characters, at least {MIN_ALT}"


@rule
def markdown_images(chapter: Chapter) -> Iterator[Finding]:
    """Images are made by code: a relative link does not travel to Colab, and a remote one is a request."""
    for cell in chapter.cells:
        if cell.is_text and re.search(r"!\[[^\]]*\]\(|<img\b", cell.prose):
            yield cell.index, "an image in Markdown; draw it in a code cell and use plots.show(fig, alt=…)"


LINE = r"^[ \t>]*"  # the begin of a line, also inside a quote
PORTABLE: list[tuple[str, str]] = [  # looked for in the text without code blocks
    (LINE + r"(?:`{3,}|~{3,})\{", "a directive in a fence"),
    (LINE + r":{3,}", "a colon fence"),
    (r"(?<![`\w])\{[a-zA-Z][\w:+-]*\}`+[^`\s]", "a role such as {eq}`…`"),
    (LINE + r"\([\w:-]+\)=\s*$", "a target `(label)=`"),
    (r"\$\$[ \t]*\([\w:-]+\)", "a labelled $$ block"),
    (r"\[\^[\w-]+\]", "a footnote"),
    (r"\\(?:label|ref|eqref|cite)\{", "a LaTeX reference"),
    (r"^%", "a line that begins with %, which the site takes for a comment,"),
    (r"^\+{3}", "a block break +++"),
    (r"^:[ \t]", "a definition list"),
    (LINE + r"[-*+][ \t]+\[[ xX]\][ \t]", "a task list"),
    (r"(?<!!)\[\]\(", "a link without text"),
]
IN_WORDS: list[tuple[str, str]] = [  # looked for outside inline code and formulas, too
    (r"\{\{", "a substitution {{…}}"),
    (r"\{[.#][a-zA-Z][^}\n]*\}", "an attribute {#id} or {.class}"),
    (r"~~\S", "strikethrough"),
    (r"\\\\[(\[]", "a formula in \\\\( or \\\\["),
    (r"<[a-z]+[^>\n]*\s(?:style|class|id|on[a-z]+)=", "an HTML attribute such as style"),
    (r"<(?:inv|project|path|myst):", "a link that only MyST knows"),
]
TAGS = {"details", "summary", "br", "sub", "sup", "kbd"}
MATH = r"\$\$.*?\$\$|\$[^$\n]*\$|\\begin\{equation\*\}.*?\\end\{equation\*\}"


@rule
def portable_markdown(chapter: Chapter) -> Iterator[Finding]:
    """Text reads the same in JupyterLab, on Colab and on the site."""
    for cell in chapter.cells:
        if cell.is_code and re.search(r"^\s*(?:import|from) +myst_nb\b", cell.source, re.M):
            yield cell.index, "glue of myst_nb works on the site only"
        if not cell.is_text:
            continue
        words = re.sub(MATH, "", cell.prose, flags=re.S)
        for patterns, text in ((PORTABLE, cell.unfenced), (IN_WORDS, words)):
            for pattern, what in patterns:
                if re.search(pattern, text, re.M):
                    yield cell.index, f"{what} does not work in JupyterLab, on Colab or on the site"
        for tag in sorted(set(re.findall(r"</?([a-zA-Z][\w-]*)(?=[\s/>])", words)) - TAGS):
            yield cell.index, f"the HTML tag <{tag}>; allowed are {', '.join(sorted(TAGS))}"
        for line in cell.prose.splitlines():
            if line.lstrip("> ").startswith("|") and any("|" in m for m in re.findall(r"\$[^$]*\$", line)):
                yield (
                    cell.index,
                    "a | inside a formula ends the cell of a table; use \\lvert … \\rvert or \\mid",
                )


ENVIRONMENTS = r"\\begin\{(equation|(?:math|displaymath|(?:fl)?align(?:at)?|gather|multline|eqnarray)\*?)\}"


@rule
def equations(chapter: Chapter) -> Iterator[Finding]:
    r"""A numbered equation is `\begin{equation*} … \tag{n} \end{equation*}`; other environments stay out."""
    for cell in chapter.cells:
        if not cell.is_text:
            continue
        for env in re.findall(ENVIRONMENTS, cell.prose):
            yield cell.index, f"\\begin{{{env}}}: use \\begin{{equation*}} … \\tag{{n}} \\end{{equation*}}"
        if re.search(r"\$\$[^$]*\\tag\{[^$]*\$\$", cell.prose):
            yield cell.index, "\\tag inside $$: use \\begin{equation*} … \\tag{n} \\end{equation*}"
        if cell.prose.count("\\begin{equation*}") != cell.prose.count("\\end{equation*}"):
            yield cell.index, "\\begin{equation*} and \\end{equation*} do not pair"


@rule
def links(chapter: Chapter) -> Iterator[Finding]:
    """A link leads to the web or to a file of the book that is there."""
    for cell in chapter.cells:
        for target in re.findall(r"\]\(([^)\s]+)\)", cell.prose) if cell.is_text else ():
            if target.startswith("#"):
                yield cell.index, f"a link to {target}: a heading's anchor differs between front ends"
                continue
            if scheme := re.match(r"[a-z]+(?=:)", target):
                if scheme[0] not in {"http", "https", "mailto"}:
                    yield cell.index, f"a link to {target}, which only MyST knows"
                continue
            file = (chapter.path.parent / target.split("#")[0]).resolve()
            if not file.is_file():
                yield cell.index, f"a link to {target}, which is not there"


# A decimal or a percentage that is no part of a section's number, an exercise's, a DOI, a date or a version.
NUMBER = (
    r"(?<![\w.,/§–-])(?<!§ )(?<!Section )(?<!Sections )(?<!Exercise )(?<!arXiv )(?<!arXiv:)(?<!doi )(?<!doi:)"
    r"(?:\d+\.\d+(?:[ \u00a0\u202f]?%)?|\d+[ \u00a0\u202f]?%)(?![\w/]|[.,-]\d)"
)
CITED = (
    r"\bpaper|\bTables? [1-4]\b|§"  # a sentence that quotes the paper: a reader can look the number up there
)
TYPED = r"<!-- typed: (.*?) -->"  # which numbers of a cell may stand there, and why


@rule
def typed_number(chapter: Chapter) -> Iterator[Finding]:
    """A number in the text comes from a cell, or is the paper's, or a comment says where it comes from."""
    in_code = {
        abs(node.value)
        for cell in chapter.cells
        for node in ast.walk(cell.tree if cell.is_code else ast.Module([], []))
        if isinstance(node, ast.Constant) and type(node.value) in (int, float)
    }
    for cell in chapter.cells:
        if not cell.is_text or cell.index == 0:  # the first cell's numbers are written by `sync`
            continue
        allowed = set(re.findall(NUMBER, " ".join(re.findall(TYPED, cell.source))))
        words = re.sub(rf"{MATH}|<!--.*?-->|\]\([^)]*\)|^#+ [^\n]*", " ", cell.prose, flags=re.S | re.M)
        for sentence in re.split(r"(?<=[.!?])\s+(?=\W*[A-Z])|\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.)\s)", words):
            for text in re.findall(NUMBER, sentence):
                value = float(text.rstrip("% \u00a0\u202f"))
                known = {value, value / 100} if "%" in text else {value}
                if text not in allowed and not known & in_code and not re.search(CITED, sentence):
                    yield (
                        cell.index,
                        (
                            f"the number {text} is typed: print it in a cell, or say why with "
                            f"`<!-- typed: {text}: reason -->`"
                        ),
                    )


@rule
def opening(chapter: Chapter) -> Iterator[Finding]:
    """The first cell: title, promise, badge, and the table "At a glance" with its five rows."""
    first = chapter.cells[0] if chapter.cells else None
    if first is None or not first.is_text:
        yield 0, "the first cell is Markdown with the title"
        return
    lines = first.source.splitlines()
    if not re.match(rf"# {chapter.number} · \S", lines[0] if lines else ""):
        yield 0, f"the title is `# {chapter.number} · Title`"
    if len(chapter.headings(1)) != 1:
        yield 0, "exactly one heading of level 1"
    badge = chapter.house.badge(chapter.path.name)
    if badge not in lines:
        yield 0, "the badge line is missing or leads elsewhere: run `make sync`"
    elif not any(line.strip() for line in lines[1 : lines.index(badge)]):
        yield 0, "a sentence that says what the reader will have by the end stands before the badge"
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", first.source, re.M)
    if rows != GLANCE:
        yield 0, f"the table `| At a glance | |` has the rows {', '.join(GLANCE)} in this order, not {rows}"


@rule
def template(chapter: Chapter) -> Iterator[Finding]:
    """The sections of a chapter, in their order."""
    have = [text for _, text in chapter.headings(2)]
    optional = {"The paper says"} if chapter.number in WITHOUT_PAPER else set()
    for title in [*BEFORE, *AFTER]:
        if have.count(title) != 1 and not (title in optional and title not in have):
            yield None, f"`## {title}` stands {have.count(title)} times, not once"
    fixed = [title for title in have if title in {*BEFORE, *AFTER}]
    if fixed != sorted(fixed, key=[*BEFORE, *AFTER].index):
        yield None, f"the sections are out of order: {fixed}"
    if "By hand" in have and "The library's version" in have and "Break it" in have:
        hand, library, broken = (have.index(t) for t in ("By hand", "The library's version", "Break it"))
        if library - hand < 2:
            yield None, "no section of its own between `By hand` and `The library's version`"
        for i, title in enumerate(have):
            if title not in fixed and not hand < i < broken:
                yield None, f"`## {title}`: sections of its own stand between `By hand` and `Break it`"


@rule
def parity(chapter: Chapter) -> Iterator[Finding]:
    """`The library's version` asserts that the chapter's piece and the library's agree."""
    cells = [cell for cell in chapter.section("The library's version") if cell.is_code]
    asserts = any(isinstance(n, ast.Assert) for cell in cells for n in ast.walk(cell.tree))
    calls = any(
        re.search("assert_close|assert_equal", dotted) for cell in cells for dotted, _ in cell.calls()
    )
    if not asserts and not calls:
        yield None, "`The library's version` asserts nothing"


@rule
def exercises(chapter: Chapter) -> Iterator[Finding]:
    """Each exercise has its line, stub, check, two hints and a folded solution that passes the check."""
    found = chapter.exercises()
    if len(found) < MIN_EXERCISES:
        yield None, f"{len(found)} exercises, at least {MIN_EXERCISES}"
    for m, (heading, cells) in enumerate(found, 1):
        number = f"{chapter.number}.{m}"
        start = cells[0].index
        if not heading.startswith(f"Exercise {number} · "):
            yield start, f"the heading is `### Exercise {number} · Title`, not `### {heading}`"
        text = "\n".join(cell.source for cell in cells if cell.is_text)
        if not re.search(r"^difficulty [●○]{5} · importance [●○]{5} · \d+ min$", text, re.M):
            yield start, f"exercise {number}: no line like `difficulty ●●○○○ · importance ●●●●○ · 10 min`"
        hints = text.count("<details>")
        if hints < MIN_HINTS:
            yield start, f"exercise {number}: {hints} hints in <details>, at least {MIN_HINTS}"
        if sum("exercise" in cell.tags for cell in cells) != 1:
            yield start, f"exercise {number}: exactly one stub cell with the tag `exercise`"
        solutions = [cell for cell in cells if "solution" in cell.tags]
        if len(solutions) != 1 or solutions[0].lines[:1] != [f"# @title Solution {number}"]:
            yield start, f"exercise {number}: one cell tagged `solution`, first `# @title Solution {number}`"
        for where, strict in (([c for c in cells if c not in solutions], False), (solutions, True)):
            calls = [n for c in where if c.is_code for d, n in c.calls() if d.endswith("checks.check")]
            if [check_of(n) for n in calls] != [(number, strict)]:
                line = f'checks.check("{number}", name{", strict=True" if strict else ""})'
                which = "solution" if strict else "check"
                yield start, f"exercise {number}: the {which} cell calls `{line}` once"


def check_of(node: ast.Call) -> tuple[str, bool]:
    """The number and strictness of one call of checks.check."""
    number = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""
    return str(number), any(k.arg == "strict" and ast.unparse(k.value) == "True" for k in node.keywords)


@rule
def questions(chapter: Chapter) -> Iterator[Finding]:
    """`Check yourself` has at least three questions with folded answers."""
    count = sum(cell.source.count("<details>") for cell in chapter.section("Check yourself") if cell.is_text)
    if count < MIN_QUESTIONS:
        yield None, f"`Check yourself` has {count} folded answers, at least {MIN_QUESTIONS}"


@rule
def details(chapter: Chapter) -> Iterator[Finding]:
    """Every <details> is closed, has a summary, and a blank line before its text (else it stays raw)."""
    for cell in chapter.cells:
        if not cell.is_text or "<details>" not in cell.prose:
            continue
        if len({cell.prose.count(tag) for tag in ("<details>", "</details>", "<summary>", "</summary>")}) > 1:
            yield cell.index, "a <details> without </details> or without <summary>"
        if re.search(r"</summary>[ \t]*\n?[ \t]*[^\s]", cell.prose):
            yield cell.index, "a blank line is needed after </summary>"


def check_project(chapters: list[Chapter]) -> Iterator[str]:
    """Cell ids are unique over all chapters."""
    seen: dict[str, str] = {}
    for chapter in chapters:
        for cell in chapter.nb.cells:
            other = seen.setdefault(cell.get("id", ""), chapter.path.name)
            if other != chapter.path.name:
                yield f"book/{chapter.path.name}: [cell-ids] id {cell.get('id')!r} is also in {other}"


def check(paths: Iterable[Path], house: House) -> list[str]:
    """Every broken rule of these notebooks, one line each."""
    chapters, findings = [], []
    for path in paths:
        try:
            chapter = Chapter.read(path, house)
        except Exception as error:  # nbformat has many ways to say that a file is no notebook
            findings.append(f"book/{path.name}: [unreadable] {error}")
            continue
        chapters.append(chapter)
        for label, function in RULES.items():
            for index, text in function(chapter):
                where = "" if index is None else f" cell {index}"
                findings.append(f"book/{path.name}{where}: [{label}] {text}")
    return findings + list(check_project(chapters))


# --------------------------------------------------------------------------------------------------------
# time


def machine() -> str:
    """This machine in words, without names that only its owner knows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    words = f"{cores} CPU core{'s' * (cores > 1)} ({platform.machine()}, {platform.system()})"
    try:
        import torch

        gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    except ImportError:
        gpu = None
    return f"{words} and one {gpu}" if gpu else f"{words}, no GPU"


def measure(path: Path) -> float:
    """Seconds to run a notebook from a fresh kernel to its last cell."""
    from nbclient import NotebookClient

    with open(path, encoding="utf-8") as file:
        nb = nbformat.read(file, as_version=4)
    start = time.perf_counter()
    NotebookClient(nb, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    return time.perf_counter() - start


def time_notebooks(paths: Iterable[Path], house: House) -> int:
    """Run notebooks, keep their times, rewrite their run-time rows. Returns how many failed."""
    os.environ["DHIDA_STATIC"] = "1"
    records = house.root / "data" / "records" / "runtimes.json"
    today, failed = datetime.date.today().isoformat(), 0
    for path in paths:
        try:
            seconds = measure(path)
        except Exception as error:
            print(f"{path.name}: failed: {str(error).strip().splitlines()[-1]}", flush=True)
            failed += 1
            continue
        print(f"{path.name}: {seconds:.1f} s", flush=True)
        house.runtimes = json.loads(records.read_text(encoding="utf-8")) if records.is_file() else {}
        house.runtimes[path.name] = {"seconds": round(seconds, 1), "machine": machine(), "date": today}
        write_atomic(records, json.dumps(house.runtimes, indent=1, sort_keys=True) + "\n")
        sync([path], house)
    return failed


def main(argv: list[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("command", choices=["sync", "check", "time"])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of book/")
    arguments = parser.parse_args(argv)
    house = House.at()
    paths = arguments.notebooks or house.notebooks()
    missing = [path for path in paths if not path.is_file()]
    if missing:
        print(f"no such notebook: {missing[0]}", file=sys.stderr)
        return 2
    if arguments.command == "sync":
        changed = sync(paths, house)
        print(
            "\n".join(
                [f"{len(paths)} notebooks, {len(changed)} rewritten", *(f"  {p.name}" for p in changed)]
            )
        )
        return 0
    if arguments.command == "time":
        return 1 if time_notebooks(paths, house) else 0
    findings = check(paths, house)
    print("\n".join([*findings, f"{len(paths)} notebooks, {len(findings)} findings"]))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
