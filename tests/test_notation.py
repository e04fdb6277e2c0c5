"""One symbol, one meaning: the table of book/notation.md, and the chapters' tables that repeat its lines."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import notebooks  # noqa: E402

HOUSE = notebooks.House.at(ROOT)
CHAPTERS = [notebooks.Chapter.read(path, HOUSE) for path in HOUSE.notebooks()]
HEADER = ["symbol", "meaning", "shape", "in code"]
ATTENTION = [chapter for chapter in CHAPTERS if chapter.number in {5, 6, 7}]
# Chapters whose symbols differ from the notation still; a revised one is struck out.
OPEN = {7, 14, 18}


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text as rows of cells."""
    blocks = re.findall(r"(?:^\|.*\|[ \t]*\n?)+", text, re.M)
    return [
        [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
            for line in block.strip().splitlines()
        ]
        for block in blocks
    ]


def symbol_rows(text: str) -> list[list[str]]:
    """The rows of all tables with the header of the notation."""
    return [row for table in tables(text) if table[0] == HEADER for row in table[2:]]


NOTATION = symbol_rows((ROOT / "book" / "notation.md").read_text(encoding="utf-8"))


def test_each_symbol_stands_once():
    symbols = [row[0] for row in NOTATION]
    assert len(NOTATION) > 20
    assert len(set(symbols)) == len(symbols)
    code = [row[3] for row in NOTATION if row[3]]
    assert len(set(code)) == len(code), "and so does each name in code"


@pytest.mark.parametrize("chapter", [c for c in CHAPTERS if c.number not in OPEN], ids=lambda c: c.path.stem)
def test_a_chapters_symbols_are_those_of_the_notation(chapter):
    known = {row[0]: row for row in NOTATION}
    for cell in chapter.cells:
        for row in symbol_rows(cell.source) if cell.is_text else ():
            assert row == known.get(row[0]), f"cell {cell.index}: {row[0]} differs from book/notation.md"


@pytest.mark.parametrize("chapter", [c for c in ATTENTION if c.number not in OPEN], ids=lambda c: c.path.stem)
def test_letters_that_the_paper_uses_twice(chapter):
    """In the formulas of the attention chapters a map is bold, and no number of positions is called N."""
    for cell in chapter.cells:
        for formula in re.findall(notebooks.MATH, cell.prose if cell.is_text else "", re.S):
            assert not re.search(r"(?<![\w{\\])N\b", formula), f"cell {cell.index}: N in {formula}"
            assert not re.search(r"(?<!mathbf\{)\b[ABCDE]_", formula), f"cell {cell.index}: {formula}"


EFFECTIVE = {5: {"effective_number"}, 7: {"effective"}, 13: {"effective"}}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.path.stem)
def test_effective_number_means_one_thing(chapter):
    """Chapter 5 builds it and compares it with the library's; Chapter 13 takes it of eigenvalues."""
    code = "\n".join(cell.source for cell in chapter.cells if cell.is_code)
    assert set(re.findall(r"^def (effective\w*)", code, re.M)) == EFFECTIVE.get(chapter.number, set())
