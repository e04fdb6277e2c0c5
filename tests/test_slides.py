"""tools/slides.py: which cells of a chapter become slides, and the page of them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import slides  # noqa: E402
import teach  # noqa: E402


def test_blocks_keep_equations_and_fences_whole():
    text = "a\nb\n\n$$\nx\n\ny\n$$\n\n\\begin{align}\n1\n\n2\n\\end{align}\n\n```\nc\n\nd\n```\n- e"
    whole = ["a\nb", "$$\nx\n\ny\n$$", "\\begin{align}\n1\n\n2\n\\end{align}", "```\nc\n\nd\n```\n- e"]
    assert slides.blocks(text) == whole


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        ("About 0.5 of it, i.e. half. Two.", "About 0.5 of it, i.e. half."),
        ("With $a. B$ in it. Two.", "With $a. B$ in it."),
        ("A **bold. One**. Two.", "A **bold. One**."),
        ("(One. Two.) Three.", "(One. Two.)"),
        ("Only one", "Only one"),
    ],
)
def test_the_first_sentence(text, first):
    assert slides.first_sentence(text) == first


def small() -> nbformat.NotebookNode:
    """A chapter in small, with a cell of each kind."""
    new = nbformat.v4
    shown = {"output_type": "stream", "name": "stdout", "text": "drawn"}

    def code(source, *tags, outputs=()):
        made = [nbformat.from_dict(output) for output in outputs]
        return new.new_code_cell(source, metadata={"tags": list(tags)}, outputs=made)

    cells = [
        new.new_markdown_cell("# 3 · A title\n\nThe promise.\n\n[▶ Open](x)\n\n| At a glance | |\n|---|---|"),
        code("setup()", "setup", outputs=[shown]),
        new.new_markdown_cell(
            "## First\n\nSaid first. Said in the notes.\n\n- a\n- b\n\n**Predict:** one? Two?"
        ),
        code("import torch\nfrom math import pi"),
        code("x = 1\nprint(x)", outputs=[shown]),
        code("# @title Figure\ndraw()", "folded", outputs=[shown]),
        new.new_markdown_cell("After the figure.\n\n<details>\nThe hint.\n\nMore.\n</details>"),
        new.new_markdown_cell("## Exercises\n\n### Exercise 3.1 · Asked\n\nDo it."),
        code("def f(): ...", "exercise"),
        code('checks.check("3.1", f)'),
        code("def f_solution(): return 1", "solution"),
        new.new_markdown_cell("## References and next\n\nA paper."),
    ]
    return new.new_notebook(cells=cells)


def test_what_becomes_a_slide():
    made = slides.slides_of(small())
    sources = {"markdown": "{}", "code": "code {}"}
    seen = [(s.title, [sources[c.cell_type].format(c.source) for c in s.cells]) for s in made]
    assert seen == [
        ("3 · A title", ["The promise."]),
        ("First", ["Said first.", "- a\n- b", "**Predict:** one? Two?"]),
        ("First", ["code x = 1\nprint(x)"]),
        ("First", ["code "]),
        ("First", ["After the figure."]),
        ("Exercise 3.1 · Asked", ["Do it."]),
    ]
    assert "Said in the notes." in made[1].notes
    assert "hint" not in "".join(slide.notes for slide in made)


def test_the_page_holds_all_and_loads_one_file(tmp_path):
    made = slides.slides_of(small())
    text = slides.render(made, made[0].title)
    assert text.count('<section class="slide">') == len(made)
    assert text.count("drawn") == 2
    assert "draw()" not in text
    assert "f_solution" not in text
    assert re.findall(r'(?:src|href)="([^"#]+)"', text) == [slides.MATHJAX.name]


def test_a_chapter_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert teach.main(["slides", str(tmp_path), "99"]) == 2
    assert "there is no chapter 99" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
