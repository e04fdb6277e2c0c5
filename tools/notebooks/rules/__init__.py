"""What `check` forbids. Each rule is one small function marked `@rule` that yields (cell index or None,
what is wrong); tests/test_notebooks.py shows for each of them a chapter that breaks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..cells import Chapter
from ..house import House
from . import cells, figures, parts, text
from .base import RULES

__all__ = ["RULES", "cells", "check", "figures", "parts", "text"]


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
            for index, wrong in function(chapter):
                where = "" if index is None else f" cell {index}"
                findings.append(f"book/{path.name}{where}: [{label}] {wrong}")
    return findings + list(check_project(chapters))
