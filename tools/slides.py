"""A chapter as slides: one HTML file that needs no network, moved by arrow keys (`tools/teach.py slides`).

Headings of level 2 and 3 begin a slide; figures, results and code have slides of their own. Of a paragraph
the slide shows the first sentence; lists, tables, equations and predictions stand there whole. The full text
is in the notes of each slide, which the key N shows. Setup, solutions, hints, checks and references are left
out.
"""

from __future__ import annotations

import html
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

MATHJAX = Path("book/_static/vendor/tex-svg-full.js")
LEFT_OUT = {"References and next", "Differences from the paper"}  # sections
HIDDEN = {"setup", "solution", "exercise"}  # tags of cells
BLOCKS = 6  # of text on one slide
LINES = 26  # of code on one slide

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>%(title)s</title>
<script>window.MathJax = {tex: {inlineMath: [["$", "$"]], processEnvironments: true}};</script>
<script defer src="%(mathjax)s"></script>
<style>%(style)s
%(highlight)s</style></head>
<body>
%(slides)s
<p id="where" aria-live="polite"></p>
<script>%(script)s</script>
</body></html>
"""
STYLE = """
html { font: 1.55vw/1.45 system-ui, sans-serif; color: #1b1f24; background: #fff; }
body { margin: 0; }
.slide { box-sizing: border-box; display: none; height: 100vh; padding: 3vw 6vw 4vw; overflow: auto; }
.slide.now { display: block; }
.slide h1 { font-size: 3.2rem; line-height: 1.15; margin: 22vh 0 1rem; }
.slide h2 { font-size: 1.7rem; margin: 0 0 1rem; color: #0b5394; }
.slide pre { font-size: 0.86rem; line-height: 1.3; background: #f6f8fa; }
.slide pre { padding: 0.6em 0.8em; overflow: auto; }
.slide img { max-width: 100%; max-height: 68vh; width: auto; height: auto; }
.slide table { border-collapse: collapse; }
.slide th, .slide td { padding: 0.15em 0.7em; border-bottom: 1px solid #d0d7de; text-align: left; }
.slide details { font-size: 0.8rem; }
.anchor-link, .jp-InputPrompt, .jp-OutputPrompt, .prompt { display: none; }
.notes { display: none; margin-top: 2rem; border-top: 2px solid #d0d7de; font-size: 0.85rem; color: #444c56; }
.with-notes .notes { display: block; }
#where { position: fixed; right: 1.5vw; bottom: 0.6vw; margin: 0; font-size: 0.8rem; color: #57606a; }
@media print { .slide { display: block; height: auto; page-break-after: always; } #where { display: none; } }
"""
SCRIPT = """
const slides = [...document.querySelectorAll(".slide")];
function show(k) {
  k = Math.max(0, Math.min(slides.length - 1, k));
  slides.forEach((slide, i) => slide.classList.toggle("now", i === k));
  document.getElementById("where").textContent = (k + 1) + " / " + slides.length;
  history.replaceState(null, "", "#" + (k + 1));
  return k;
}
let at = show((parseInt(location.hash.slice(1)) || 1) - 1);
const moves = {ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1};
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, summary") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Home" || event.key === "End") at = show(event.key === "Home" ? 0 : slides.length - 1);
  else if (event.key === "n" || event.key === "N") document.body.classList.toggle("with-notes");
  else if (event.key in moves) at = show(at + moves[event.key]);
  else return;
  event.preventDefault();
});
addEventListener("hashchange", () => { at = show((parseInt(location.hash.slice(1)) || 1) - 1); });
"""


@dataclass
class Slide:
    """One slide: its title, its cells, and what may be said to it."""

    title: str
    cells: list[Any] = field(default_factory=list)
    notes: str = ""
    first: bool = False


def blocks(text: str) -> list[str]:
    """The blocks of a Markdown cell: parted by empty lines, except within fences and equations."""
    found: list[str] = []
    closing: str | None = None
    for line in text.splitlines():
        if closing is None and not line.strip():
            found.append("")
            continue
        if not found:
            found.append("")
        found[-1] += line + "\n"
        if closing is not None:
            closing = None if closing in line[1:] or line.strip() == closing else closing
        elif fence := re.match(r"`{3,}|~{3,}", line):
            closing = fence[0]
        elif begun := re.match(r"\\begin\{(.+?)\}", line):
            closing = None if rf"\end{{{begun[1]}}}" in line else rf"\end{{{begun[1]}}}"
        elif line.strip() == "$$":
            closing = "$$"
    return [block.rstrip() for block in found if block.strip()]


def first_sentence(paragraph: str) -> str:
    """The first sentence of a paragraph; marks of formulas, code and bold text stay in pairs."""
    text = " ".join(paragraph.split())
    for end in re.finditer(r"[.!?][)*\"”]*(?=\s+[^a-z\s])", text):
        head = text[: end.end()]
        if all(head.count(mark) % 2 == 0 for mark in ("$", "`", "**")) and head.count("(") <= head.count(")"):
            return head
    return text


def shown(block: str) -> str:
    """What of a block stands on the slide."""
    whole = re.match(r"[-*+] |\d+\. |\||>|\\begin|\$\$|`{3}|~{3}|<img|!\[", block)
    return block if whole or "**Predict" in block or "**Guess" in block else first_sentence(block)


def without_details(text: str) -> str:
    """The text without what is unfolded only on demand: hints and answers."""
    return re.sub(r"<details\b.*?</details>", "", text, flags=re.S)


def slides_of(notebook: Any) -> list[Slide]:
    """The slides of a chapter that was run.

    Args:
        notebook: with outputs.

    Returns:
        In order; the first one is the title.
    """
    made: list[Slide] = []
    section = ""
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type == "code":
            if section not in LEFT_OUT and not tags & HIDDEN and made:
                made += code_slides(cell, made[-1].title, "folded" in tags)
            continue
        for block in blocks(without_details(cell.source)):
            if heading := re.match(r"(#{1,3}) (.+)", block):
                section = heading[2] if len(heading[1]) == 2 else section
                if section not in LEFT_OUT:
                    made.append(Slide(heading[2], first=len(heading[1]) == 1))
                continue
            opening = made and made[0].first and len(made) == 1
            if not made or section in LEFT_OUT or (opening and (made[0].cells or "](" in block)):
                continue
            last = made[-1]
            if len(last.cells) >= BLOCKS or any(one.cell_type == "code" for one in last.cells):
                last = Slide(last.title)
                made.append(last)
            last.cells.append(nbformat.v4.new_markdown_cell(shown(block)))
            last.notes += block + "\n\n"
    return [slide for slide in made if slide.cells or slide.first]


def code_slides(cell: Any, title: str, folded: bool) -> Iterator[Slide]:
    """The slides of a code cell: its code unless it is folded or only imports, with what came of it."""
    code = cell.source.strip()
    checks = code.startswith("checks.check(")
    plain = all(re.match(r"(import|from)\b|[)\s]|$", line) for line in code.splitlines())
    one = nbformat.v4.new_code_cell("" if folded or plain else code)
    one.outputs = [o for o in cell.get("outputs", []) if o.output_type != "error"]
    if checks or not (one.source or one.outputs) or (plain and not one.outputs):
        return
    if one.outputs and len(one.source.splitlines()) > LINES - 12:
        alone = nbformat.v4.new_code_cell(one.source)
        yield Slide(title, [alone])
        one.source = ""
    yield Slide(title, [one])


def executed(path: Path, seconds: int) -> Any:
    """A chapter with its outputs, as on the site: no kernel will answer, so sliders hold their frames."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    patience = {"timeout": seconds, "startup_timeout": max(seconds, 300)}
    client = NotebookClient(notebook, **patience, kernel_name="python3", resources=resources)
    client.execute(env={**os.environ, "DHIDA_STATIC": "1"})
    return notebook


def render(slides: list[Slide], title: str) -> str:
    """The slides as one HTML page."""
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.embed_images = True

    def body(cells: list[Any]) -> str:
        bare = nbformat.v4.new_notebook(cells=cells)
        for cell in bare.cells:
            cell.metadata = nbformat.from_dict({})
        return exporter.from_notebook_node(bare)[0]

    parts = []
    for slide in slides:
        level = "h1" if slide.first else "h2"
        # a title may hold a formula or code; it is rendered as text is, without its paragraph
        head = f"<{level}>{html.escape(re.sub(r'`', '', slide.title))}</{level}>"
        drawn = [cell for cell in slide.cells if cell.cell_type == "markdown" or cell.source or cell.outputs]
        hide = any(cell.cell_type == "code" and not cell.source for cell in drawn)
        exporter.exclude_input = hide
        notes = ""
        inner = body(drawn) if drawn else ""
        exporter.exclude_input = False
        if slide.notes.strip():
            notes = f'<aside class="notes">{body([nbformat.v4.new_markdown_cell(slide.notes)])}</aside>'
        parts.append(f'<section class="slide">{head}{inner}{notes}</section>')
    return PAGE % {
        "title": html.escape(title),
        "mathjax": MATHJAX.name,
        "style": STYLE,
        "highlight": HtmlFormatter().get_style_defs(".highlight"),
        "slides": "\n".join(parts),
        "script": SCRIPT,
    }


def write(path: Path, folder: Path, root: Path, seconds: int = 600) -> tuple[Path, int]:
    """Run a chapter and write its slides, with what draws formulas beside them.

    Args:
        path: the chapter.
        folder: where they go; made if it is not there.
        root: the project.
        seconds: what one cell may take.

    Returns:
        The page, and how many slides it has.
    """
    slides = slides_of(executed(path, seconds))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / MATHJAX, folder / MATHJAX.name)
    page = folder / f"{path.stem}.html"
    page.write_text(render(slides, slides[0].title), encoding="utf-8")
    return page, len(slides)
