"""A chapter and its cells, with what the rules ask of them."""

from __future__ import annotations

import ast
import dis
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from .house import House


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

    @property
    def chooses(self) -> bool:
        """Does a cell after the setup cell read `profile` or `PROFILE`?"""
        rest = [cell for cell in self.cells if cell.is_code and "setup" not in cell.tags]
        return any({"profile", "PROFILE"} & set().union(*cell.names()[:2]) for cell in rest)

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
