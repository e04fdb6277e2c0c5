"""A copy of the chapters for the reader to work in: `make start` makes work/, or brings it up to date.

    python tools/start.py [FOLDER]

The copy is no part of the repository, so that answers never stand in the way of `git pull`. An update keeps
every answer: a chapter that the reader did not touch is replaced; of one with answers, the cells that the
reader changed stay as they are and all others become new. Where both changed the same cell, the reader's
stays and the new version lies beside it, as NAME.new.ipynb.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ".shipped"  # below the folder: each chapter as it was when it was last copied
Notebook = dict[str, Any]


@dataclass
class Report:
    """What became of each chapter."""

    new: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What is said to the reader."""
        said = [
            (self.new, "new"),
            (self.updated, "brought up to date, answers kept"),
            (self.kept, "as you left them: nothing in them is newer"),
            (
                self.beside,
                "changed by you and in the book at the same place: the book's lies beside as .new.ipynb",
            ),
        ]
        return [f"{len(names):3d} {what}" for names, what in said if names]


def source_of(cell: Mapping[str, Any]) -> str:
    """A cell's text; a notebook may hold it as lines."""
    text = cell.get("source", "")
    return text if isinstance(text, str) else "".join(text)


def by_id(notebook: Notebook) -> dict[str, Notebook]:
    """Cell id → cell."""
    return {str(cell.get("id", at)): cell for at, cell in enumerate(notebook["cells"])}


def merged(base: Notebook, mine: Notebook, new: Notebook) -> Notebook | None:
    """The new chapter with the reader's cells in it.

    Args:
        base: the chapter as it was copied.
        mine: what the reader made of it.
        new: the chapter as it is now.

    Returns:
        The new chapter: cells that the reader changed are the reader's, and cells that the reader added stand
        behind the cell that they stood behind. None if both changed a cell, or the book dropped one that the
        reader changed.
    """
    old, own, now = by_id(base), by_id(mine), by_id(new)
    changed = {name for name in own if name in old and source_of(own[name]) != source_of(old[name])}
    for name in changed:
        if name not in now or source_of(now[name]) not in (source_of(old[name]), source_of(own[name])):
            return None
    following: dict[str | None, list[Notebook]] = {}
    before: str | None = None
    for name, cell in own.items():
        if name in old:
            before = name
        elif name not in now:
            following.setdefault(before, []).append(cell)
    if any(name is not None and name not in now for name in following):
        return None
    cells = [*following.get(None, [])]
    for name, cell in now.items():
        cells += [own[name] if name in changed else cell, *following.get(name, [])]
    return {**new, "cells": cells}


def write(path: Path, notebook: Notebook) -> None:
    """Write a notebook whole, or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


def read(path: Path) -> Notebook | None:
    """A notebook, None for a file that is none any more."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("cells"), list) else None


def same(one: Notebook, other: Notebook) -> bool:
    """Whether the reader changed nothing: outputs and counts do not matter."""
    return [(n, source_of(c)) for n, c in by_id(one).items()] == [
        (n, source_of(c)) for n, c in by_id(other).items()
    ]


def bring(chapter: Path, folder: Path, report: Report) -> None:
    """Copy one chapter, or bring the reader's copy up to date."""
    path, shipped = folder / chapter.name, folder / SHIPPED / chapter.name
    new = read(chapter)
    if new is None:
        raise ValueError(f"{chapter} is no notebook; `git checkout -- {chapter}` brings it back")
    if not path.exists():
        write(path, new)
        report.new.append(path.name)
        write(shipped, new)
        return
    base, mine = read(shipped), read(path)
    if base is not None and same(base, new):
        report.kept.append(path.name)
        return
    result = merged(base, mine, new) if base is not None and mine is not None else None
    if result is None:
        write(path.with_suffix(".new.ipynb"), new)
        report.beside.append(path.name)
    else:
        write(path, result)
        report.updated.append(path.name)
    write(shipped, new)


def start(folder: Path, root: Path = ROOT) -> Report:
    """Make the reader's copy, or bring it up to date.

    Args:
        folder: where it is; made if it is not there.
        root: the project.

    Returns:
        What became of each chapter.

    Raises:
        ValueError: if the folder is the book's own.
        OSError: if something cannot be written.
    """
    if folder.resolve() == (root / "book").resolve():
        raise ValueError(f"{folder} is where the book itself is; name another folder")
    (folder / SHIPPED).mkdir(parents=True, exist_ok=True)
    report = Report()
    for chapter in sorted((root / "book").glob("*.ipynb")):
        bring(chapter, folder, report)
    pictures = root / "book" / "_static"
    for picture in pictures.glob("*.svg"):
        (folder / "_static").mkdir(exist_ok=True)
        shutil.copyfile(picture, folder / "_static" / picture.name)
    return report


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if len(words) > 1 or any(word.startswith("-") for word in words):
        print(__doc__)
        return 0 if words[0] in ("-h", "--help") else 2
    folder = Path(words[0]) if words else ROOT / "work"
    try:
        report = start(folder)
    except (OSError, ValueError) as error:
        print(f"make start: {error}", file=sys.stderr)
        return 1
    print("\n".join([f"your chapters are in {folder}:", *report.lines()]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
