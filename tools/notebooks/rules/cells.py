"""Rules for single cells and for the file that holds them: names, code, tags, what is stored."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..cells import Chapter
from ..stored import sync_notebook
from .base import Finding, rule

MAX_LINES = 25  # of a code cell


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
        yield 0, f"no measured run time: run `python tools/notebooks time book/{chapter.path.name}`"


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
        if cell.source != chapter.house.setup(chapter.chooses):
            yield cell.index, "the setup cell is not the one in tools/notebooks/house.py: run `make sync`"


@rule
def folded_title(chapter: Chapter) -> Iterator[Finding]:
    """A folded cell says in its first line what it does: Colab shows that line in the code's place."""
    for cell in chapter.cells:
        if "folded" in cell.tags and not re.match(r"# @title \S", cell.source):
            yield cell.index, "the first line of a folded cell is `# @title …`"


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
