"""One symbol, one meaning: the tables of book/notation.md, and the formulas and tables of the chapters.

No machine knows what a formula means. What can be looked at: that every letter of every formula is in the
tables, for this chapter; that no letter has two lines that meet; that a letter of few chapters is explained
where it comes in; and that a letter of the whole book is not defined anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import notebooks  # noqa: E402

HOUSE = notebooks.House.at(ROOT)
CHAPTERS = [notebooks.Chapter.read(path, HOUSE) for path in HOUSE.notebooks()]
HEADER = ["symbol", "meaning", "shape", "in code"]
LOCAL = [*HEADER, "chapters"]
ATTENTION = [chapter for chapter in CHAPTERS if chapter.number in {5, 6, 7}]
# Chapters whose symbols differ from the notation still; a revised one is struck out.
OPEN = {14, 18}


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


def symbol_rows(text: str, header: list[str] = HEADER) -> list[list[str]]:
    """The rows of all tables with the header of the notation."""
    return [row for table in tables(text) if table[0] == header for row in table[2:]]


PAGE = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
NOTATION = symbol_rows(PAGE)
LOCAL_ROWS = [(row[:4], {int(n) for n in row[4].split(",")}) for row in symbol_rows(PAGE, LOCAL)]


def rows_of(number: int | None) -> dict[str, list[str]]:
    """The lines that hold in a chapter, by symbol."""
    own = [row for row, chapters in LOCAL_ROWS if number in chapters]
    return {row[0]: row for row in [*NOTATION, *own]}


def test_each_symbol_stands_once():
    symbols = [row[0] for row in NOTATION]
    assert len(NOTATION) > 20
    assert len(set(symbols)) == len(symbols)
    code = [row[3] for row in NOTATION if row[3]]
    assert len(LOCAL_ROWS) > 20
    assert len(set(code)) == len(code), "and so does each name in code"


@pytest.mark.parametrize("chapter", [c for c in CHAPTERS if c.number not in OPEN], ids=lambda c: c.path.stem)
def test_a_chapters_symbols_are_those_of_the_notation(chapter):
    known = rows_of(chapter.number)
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


EFFECTIVE = {5: {"effective_number"}, 13: {"effective"}}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.path.stem)
def test_effective_number_means_one_thing(chapter):
    """Chapter 5 builds it and compares it with the library's; Chapter 13 takes it of eigenvalues."""
    code = "\n".join(cell.source for cell in chapter.cells if cell.is_code)
    assert set(re.findall(r"^def (effective\w*)", code, re.M)) == EFFECTIVE.get(chapter.number, set())


# ---- the letters of the formulas ---------------------------------------------------------------------------

# Commands that are no symbols: operators, arrows, sizes, accents (the letter under an accent is read).
COMMANDS = re.findall(
    r"\w+",
    """frac tfrac dfrac sqrt sum prod binom cdot times ldots dots cdots le ge ne leq geq in to log exp max min
    ln partial lvert rvert lVert rVert mid approx bigl bigr Bigl Bigr big Big left right top cos sin tanh cosh
    arg Longrightarrow Rightarrow langle rangle propto pm cases quad qquad leftarrow lfloor rfloor lceil rceil
    cap cup tag bar tilde hat Pr""",
)
NAMES = r"\\(?:text|mathrm|operatorname|mathsf)\s*(?:\{(?:[^{}]|\{[^{}]*\})*\}|[A-Za-z])"
SIZE = r"(?<![A-Za-z\\])(?:HW|[A-Za-z]|\d+)"
NOT_READ = [
    r"\\(?:begin|end|tag)\{[^}]*\}",
    NAMES,
    r"\\mathbb\s*\{?[RE]\}?(?:\^\{[^}]*\})?",  # the real numbers with their sizes, an expectation
    r"\\mathbf\s*1",
    r"\^\{?\\?(?:top|T)\}?(?![a-z])",  # transposed
    rf"{SIZE}(?:\s*\\times\s*(?:HW|[A-Za-z]|\d+))+",  # a shape
]
FUNCTIONS = (
    "p",
    "P",
    "f",
    "O",
    r"\sigma",
)  # before a bracket they are functions, alone they are something else
SYMBOL = r"\\mathbf\{[A-Z]\}|\\mathcal\s*\{?[A-Z]\}?|\\[A-Za-z]+|HW|[A-Za-z]"


def letters(formula: str) -> set[str]:
    """The symbols of a formula without their indices: `u` of $u_i^{T}$, `\\mathbf{A}`, `f(` of $f(u)$."""
    for pattern in NOT_READ:
        formula = re.sub(pattern, " ", formula)
    found = set()
    for match in re.finditer(SYMBOL, formula):
        symbol = match[0]
        called = symbol in FUNCTIONS and re.match(r"'?\s*(?:\\[bB]ig{1,2}l?)?\(", formula[match.end() :])
        if symbol.lstrip("\\") not in COMMANDS or symbol[0] != "\\":
            found.add(symbol + "(" if called else symbol)
    return found


@pytest.mark.parametrize(
    ("formula", "found"),
    [
        (r"u_i = W^{T} \psi(x_i; \theta) + b", {"u", "W", r"\psi", "x", r"\theta", "b", "i"}),
        (r"\mathbf{A}_i \in \mathbb{R}^{C\times HW}", {r"\mathbf{A}", "i"}),
        (r"f'(u) + f \quad\text{if } p(s \mid h)", {"f(", "f", "u", "p(", "s", "h"}),
        (r"\sigma\bigl(\tfrac12 \bar v^\top v\bigr) + \sigma", {r"\sigma(", r"\sigma", "v"}),
        (r"n\times K\qquad \mathrm{sign}(u)", {"u"}),
    ],
)
def test_letters(formula, found):
    assert letters(formula) == found


def letters_of_row(row: list[str]) -> set[str]:
    """The letters that a line of a table is about, without their indices."""
    symbols = re.sub(r"_(?:\{[^}]*\}|[a-z])", "", row[0])
    return {letter for formula in re.findall(r"\$[^$]*\$", symbols) for letter in letters(formula)}


BOOK = {letter for row in NOTATION for letter in letters_of_row(row)}
# Chapters with letters that no table has: 7 and 16 wait for a revision, 14 keeps the letters of its papers.
OPEN_LETTERS = {7, 14, 16}


def formulas(chapter: notebooks.Chapter) -> Iterator[tuple[notebooks.Cell, str]]:
    for cell in chapter.cells:
        for formula in re.findall(notebooks.MATH, cell.prose if cell.is_text else "", re.S):
            yield cell, formula


def chapter_ids(chapter: notebooks.Chapter) -> str:
    return chapter.path.stem


def test_a_letter_has_one_meaning_where_it_stands():
    seen: dict[str, set[int]] = {}
    for row, chapters in LOCAL_ROWS:
        for letter in letters_of_row(row):
            assert letter not in BOOK, f"{letter} has a meaning in all chapters: {row}"
            assert not chapters & seen.setdefault(letter, set()), (
                f"{letter} has two meanings in a chapter: {row}"
            )
            seen[letter] |= chapters


@pytest.mark.parametrize("chapter", [c for c in CHAPTERS if c.number not in OPEN_LETTERS], ids=chapter_ids)
def test_letters_are_those_of_the_notation(chapter):
    own = {
        letter for row, chapters in LOCAL_ROWS if chapter.number in chapters for letter in letters_of_row(row)
    }
    for cell, formula in formulas(chapter):
        unknown = letters(formula) - BOOK - own
        assert not unknown, (
            f"cell {cell.index}: {sorted(unknown)} of {formula} in no table of book/notation.md"
        )
    used = {letter for _, formula in formulas(chapter) for letter in letters(formula)}
    assert own <= used, f"book/notation.md lists {sorted(own - used)} for this chapter, which does not use it"


def content_words(text: str) -> set[str]:
    """What a text speaks of: the stems of its longer words."""
    return {word.lower()[:5] for word in re.findall(r"[^\W\d_]{4,}", re.sub(r"\$[^$]*\$", " ", text))}


@pytest.mark.parametrize("chapter", [c for c in CHAPTERS if c.number not in OPEN_LETTERS], ids=chapter_ids)
def test_a_chapters_own_letter_is_explained_where_it_comes_in(chapter):
    printed = {cell.index for cell in chapter.section("The paper says")}
    for row, chapters in LOCAL_ROWS:
        spoken = chapter.number in chapters and not row[1].startswith("an index")
        for letter in letters_of_row(row) if spoken else ():
            cells = [cell for cell, formula in formulas(chapter) if letter in letters(formula)]
            ours = [
                cell for cell in cells if cell.index not in printed
            ]  # the paper does not explain its letters
            told = [
                content_words(row[1]) & content_words(cell.prose + chapter.cells[cell.index - 1].source)
                for cell in (cells[0], *ours[:1])
            ]
            assert any(told), f"cell {cells[0].index} brings {letter} in and does not say: {row[1]}"


# Letters of the whole book: what may stand on the right of `letter =`, besides numbers.
DEFINED_AS = {
    "u": r"W\^|xW|\\cos|\\sum_l W",  # Eq. 14; a wave of spectral hashing
    "h": r"\\mathrm\{sign\}|\\pm 1",
    "H": r"\\mathrm\{sign\}",
    "s": r"\\begin\{cases\}|\\frac\{y_i",  # graded by the cosine in Exercise 2.5
    "S": r"\\\{s_",
    r"\theta": r"\\t?frac12",
    "L": r"L_1 \+|\\sum|\\frac",
    "M": r"\\mathbf\{B\}_i",
    "G": r"\\mathbf\{A\}_i",
    "P": r"\\frac\{\\exp",
    "X": r"\\frac\{\\exp",
    r"\mathbf{E}": r"\\(?:alpha|beta) \\sum",
    "p": r"e\^\{s_i",
    "d": r"512",
    "j": r"1",
}
# Definitions anew that wait for their chapter's next revision: a block's output, a mixture's value.
AWAITED = {(4, "y"), (5, "y")}
BEGIN = r"(?:^|(?<!\\)[,;]|\\q?quad)\s*(?:\\min\s*)?"  # of a formula, or of a part of it
DEFINITION = rf"{BEGIN}({SYMBOL})(?:_\{{[^}}]*\}}|_[A-Za-z0-9])?\s*=\s*(.+?)(?=,\s*\\q|\\qquad|$)"


def definitions_anew(chapter: notebooks.Chapter) -> Iterator[tuple[str, str]]:
    """Formulas that give a letter of the whole book another meaning."""
    for _, formula in formulas(chapter):
        inside = re.sub(r"\\(?:begin|end)\{equation\*\}|\\tag\{\d+\}|\$", "", formula).strip()
        for symbol, right in re.findall(DEFINITION, inside, re.S):
            numbers = not letters(right)
            if symbol in BOOK and not numbers and not re.match(DEFINED_AS.get(symbol, r"(?!)"), right):
                yield symbol, formula


@pytest.mark.parametrize("chapter", [c for c in CHAPTERS if c.number not in OPEN_LETTERS], ids=chapter_ids)
def test_a_letter_of_the_book_is_not_defined_anew(chapter):
    found = dict(definitions_anew(chapter))
    awaited = {symbol for number, symbol in AWAITED if number == chapter.number}
    assert set(found) == awaited, {symbol: found.get(symbol) for symbol in set(found) ^ awaited}


def test_another_meaning_is_noticed():
    text = (
        r"So $u_i = W^{\top}\psi + b$, $u = 1.5$ and $h=\mathrm{sign}(u)$, but $x = u - m,\quad h = K - D$."
    )
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    anew = definitions_anew(notebooks.Chapter(Path("99_x.ipynb"), nb, HOUSE))
    assert [symbol for symbol, _ in anew] == ["x", "h"]
