"""The stored form of a chapter: no outputs, setup cell, badges, ids and folding. What `sync` writes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from .cells import Chapter
from .house import House, write_atomic

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python"}
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}


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
    chapter = Chapter.read(path, house)
    nb = chapter.nb
    for cell in nb.cells:
        cell.source = "\n".join(line.rstrip() for line in cell.source.strip("\n").splitlines())
        strip(cell)
        fold(cell)
    setups = [c for c in nb.cells if "setup" in c.metadata.get("tags", [])]
    if not setups:
        setups = [nbformat.v4.new_code_cell(metadata={"tags": ["setup"]})]
        nb.cells.insert(min(1, len(nb.cells)), setups[0])
        fold(setups[0])
    setups[0].source = house.setup(chapter.chooses)
    if nb.cells[0].cell_type == "markdown":
        nb.cells[0].source = set_head(nb.cells[0].source, path.name, house)
    found = re.match(r"\d\d(?=_)", path.stem)
    set_ids(nb.cells, found[0] if found else path.stem.replace("_", "-"))
    nb.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": LANGUAGE})
    nb.nbformat, nb.nbformat_minor = 4, 5
    return nbformat.writes(nb, version=4).rstrip("\n") + "\n"


def sync(paths: Iterable[Path], house: House) -> list[Path]:
    """Bring notebooks to their stored form; return those that changed."""
    changed = []
    for path in paths:
        text = sync_notebook(path, house)
        if text != path.read_text(encoding="utf-8"):
            write_atomic(path, text)
            changed.append(path)
    return changed
