"""Rules for figures: each has a description, and its code is folded."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..cells import Cell, Chapter
from .base import Finding, rule

MIN_ALT = 20  # characters of a figure's description
# Chapters whose drawing code stands open still; a revised one is struck out, and its figures stay folded.
OPEN_FIGURES = set(range(1, 20)) - {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19}
FIGURES = {"figure", "subplots", "subplot_mosaic", "image_grid", "heatmap", "curve", "pipeline", "gallery"}
SHOWS = {"show", "frame_slider", "live", "where_we_are"}


@rule
def folded_figures(chapter: Chapter) -> Iterator[Finding]:
    """Drawing code and alt texts are folded: what they say would answer the prediction above them."""
    for cell in chapter.cells:
        drawn = any(dotted.split(".")[-1] in {"show", "frame_slider"} for dotted, _ in cell.calls())
        closed = {"folded", "solution"} & set(cell.tags)
        if cell.is_code and drawn and not closed and chapter.number not in OPEN_FIGURES:
            yield cell.index, "it draws a figure in open code: tag it `folded`"


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
