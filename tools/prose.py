"""How the chapters' prose reads, in two numbers: words a sentence, and the share of short sentences.

    python tools/prose.py [NOTEBOOK …]   default: all of book/

Counted is what a reader reads as sentences: paragraphs, list items that are sentences, hints and answers.
A formula or a piece of code is one word. Not counted: headings, tables, fenced code, the line of an
exercise's difficulty, the options (a) (b) (c) of a question, the references, items that are no sentences.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import notebooks

SHORT = 8  # words: a sentence of so many or fewer is a short one
NOT_PROSE = {"References and next"}  # sections that list works, not sentences
DISPLAY = r"\s*(?:\$\$(.*?)\$\$|\\begin\{equation\*\}(.*?)\\end\{equation\*\})\s*(?=(.?))"
FORMULA = "⟨formula⟩"
# A point after one of these ends no sentence.
ABBREVIATIONS = ("e.g", "i.e", "Eq", "Eqs", "Fig", "Figs", "cf", "vs", "al", "resp", "Sec", "approx", "No")
END = r"[.!?][)\"'”*_]*(?=\s|$)"


def plain(source: str) -> str:
    """A Markdown cell with each formula and code span as one word, and without what is not read as text."""
    text = re.sub(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1[ \t]*$", "", source, flags=re.M | re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<summary>.*?</summary>|</?details>", "\n\n", text, flags=re.S)
    text = re.sub(DISPLAY, displayed, text, flags=re.S)
    text = re.sub(r"\$[^$\n]*\$", FORMULA, text)
    text = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "⟨code⟩", text, flags=re.S)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def displayed(formula: re.Match[str]) -> str:
    """A formula on a line of its own: a part of the sentence before it, and perhaps its end."""
    body = re.sub(r"\\tag\{[^}]*\}|\\[,;]|\s", "", formula[1] or formula[2])
    over = body.endswith(".") or formula[3].isupper()
    return f" {FORMULA}{'.' if over else ''} "


def blocks(text: str) -> Iterator[str]:
    """Paragraphs and list items."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if line.strip()]
        lines = [line.lstrip("> ") for line in lines]
        kept = [
            line for line in lines if not re.match(r"#{1,6} |\||difficulty [●○]|\[?▶ Open in Colab", line)
        ]
        for item in re.split(r"\n(?=\s*(?:[-*+]|\d+\.)\s)", "\n".join(kept)):
            yield " ".join(item.split())


def sentences(source: str) -> list[str]:
    """The sentences of a Markdown cell."""
    found = []
    for block in blocks(plain(source)):
        item = re.match(r"(?:[-*+]|\d+\.)\s+", block)
        block = block[item.end() :] if item else block
        block = re.sub(r"^\*\*\d+\.\*\*\s*(.*?)\s*\(a\).*$", r"\1", block)  # a question, without its options
        block = re.sub(r"(?:^|(?<=\s))\([a-e]\)(?:[.:]|(?=\s*[A-Z⟨]))\s*", "", block)  # an answer's "(b)."
        start = 0
        for mark in re.finditer(END, block):
            word = re.search(r"[\w.]*$", block[: mark.start()])
            if mark[0][0] == "." and word and word[0] in ABBREVIATIONS:
                continue
            found.append(block[start : mark.end()].strip())
            start = mark.end()
        rest = block[start:].strip(" *_)\"'”")
        if not item and rest.endswith((":", FORMULA)):  # what a list, a table or a formula goes on with
            found.append(rest)
    return [s for s in found if words(s.replace(FORMULA, "")) > 0]


def words(sentence: str) -> int:
    """How many words a sentence has."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def chapter_sentences(chapter: notebooks.Chapter) -> list[str]:
    """All sentences of a chapter, in order."""
    skipped = {cell.index for title in NOT_PROSE for cell in chapter.section(title)}
    cells = [cell for cell in chapter.cells if cell.is_text and cell.index not in skipped]
    return [s for cell in cells for s in sentences(cell.source)]


def measure(lengths: Iterable[int]) -> tuple[float, float]:
    """Mean words a sentence, and the share of sentences of `SHORT` words or fewer."""
    lengths = list(lengths)
    return statistics.fmean(lengths), sum(n <= SHORT for n in lengths) / len(lengths)


def main(argv: list[str] | None = None) -> int:
    house = notebooks.House.at()
    paths = [Path(name) for name in (sys.argv[1:] if argv is None else argv)] or house.notebooks()
    missing = [path for path in paths if not path.is_file()]
    if missing:
        print(f"no such notebook: {missing[0]}", file=sys.stderr)
        return 2
    print(f"{'chapter':34}{'sentences':>10}{'words each':>12}{f'of {SHORT} or fewer':>15}")
    for path in paths:
        lengths = [words(s) for s in chapter_sentences(notebooks.Chapter.read(path, house))]
        if not lengths:
            print(f"{path.stem:34}{0:10}")
            continue
        mean, short = measure(lengths)
        print(f"{path.stem:34}{len(lengths):10}{mean:12.1f}{short:15.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
