"""Rules for a chapter's parts: opening, sections, exercises, questions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..cells import Chapter
from .base import Finding, rule

MIN_EXERCISES = 3
MIN_HINTS = 2
MIN_QUESTIONS = 3
BEFORE = ["Where we are", "The question", "The paper says", "By hand"]
AFTER = [
    "The library's version",
    "Break it",
    "Exercises",
    "Check yourself",
    "Take-away",
    "Differences from the paper",
    "References and next",
]
WITHOUT_PAPER = {2, 3, 11, 13}  # these chapters may leave "The paper says" out
GLANCE = ["You will be able to", "Before you start", "Paper", "Time to read", "Run time"]


@rule
def opening(chapter: Chapter) -> Iterator[Finding]:
    """The first cell: title, promise, badge, and the table "At a glance" with its five rows."""
    first = chapter.cells[0] if chapter.cells else None
    if first is None or not first.is_text:
        yield 0, "the first cell is Markdown with the title"
        return
    lines = first.source.splitlines()
    if not re.match(rf"# {chapter.number} · \S", lines[0] if lines else ""):
        yield 0, f"the title is `# {chapter.number} · Title`"
    if len(chapter.headings(1)) != 1:
        yield 0, "exactly one heading of level 1"
    badge = chapter.house.badge(chapter.path.name)
    if badge not in lines:
        yield 0, "the badge line is missing or leads elsewhere: run `make sync`"
    elif not any(line.strip() for line in lines[1 : lines.index(badge)]):
        yield 0, "a sentence that says what the reader will have by the end stands before the badge"
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", first.source, re.M)
    if rows != GLANCE:
        yield 0, f"the table `| At a glance | |` has the rows {', '.join(GLANCE)} in this order, not {rows}"


@rule
def template(chapter: Chapter) -> Iterator[Finding]:
    """The sections of a chapter, in their order."""
    have = [text for _, text in chapter.headings(2)]
    optional = {"The paper says"} if chapter.number in WITHOUT_PAPER else set()
    for title in [*BEFORE, *AFTER]:
        if have.count(title) != 1 and not (title in optional and title not in have):
            yield None, f"`## {title}` stands {have.count(title)} times, not once"
    fixed = [title for title in have if title in {*BEFORE, *AFTER}]
    if fixed != sorted(fixed, key=[*BEFORE, *AFTER].index):
        yield None, f"the sections are out of order: {fixed}"
    if "By hand" in have and "The library's version" in have and "Break it" in have:
        hand, library, broken = (have.index(t) for t in ("By hand", "The library's version", "Break it"))
        if library - hand < 2:
            yield None, "no section of its own between `By hand` and `The library's version`"
        for i, title in enumerate(have):
            if title not in fixed and not hand < i < broken:
                yield None, f"`## {title}`: sections of its own stand between `By hand` and `Break it`"


@rule
def parity(chapter: Chapter) -> Iterator[Finding]:
    """`The library's version` asserts that the chapter's piece and the library's agree."""
    cells = [cell for cell in chapter.section("The library's version") if cell.is_code]
    asserts = any(isinstance(n, ast.Assert) for cell in cells for n in ast.walk(cell.tree))
    calls = any(
        re.search("assert_close|assert_equal", dotted) for cell in cells for dotted, _ in cell.calls()
    )
    if not asserts and not calls:
        yield None, "`The library's version` asserts nothing"


@rule
def exercises(chapter: Chapter) -> Iterator[Finding]:
    """Each exercise has its line, stub, check, two hints and a folded solution that passes the check."""
    found = chapter.exercises()
    if len(found) < MIN_EXERCISES:
        yield None, f"{len(found)} exercises, at least {MIN_EXERCISES}"
    for m, (heading, cells) in enumerate(found, 1):
        number = f"{chapter.number}.{m}"
        start = cells[0].index
        if not heading.startswith(f"Exercise {number} · "):
            yield start, f"the heading is `### Exercise {number} · Title`, not `### {heading}`"
        text = "\n".join(cell.source for cell in cells if cell.is_text)
        if not re.search(r"^difficulty [●○]{5} · importance [●○]{5} · \d+ min$", text, re.M):
            yield start, f"exercise {number}: no line like `difficulty ●●○○○ · importance ●●●●○ · 10 min`"
        hints = text.count("<details>")
        if hints < MIN_HINTS:
            yield start, f"exercise {number}: {hints} hints in <details>, at least {MIN_HINTS}"
        if sum("exercise" in cell.tags for cell in cells) != 1:
            yield start, f"exercise {number}: exactly one stub cell with the tag `exercise`"
        solutions = [cell for cell in cells if "solution" in cell.tags]
        if len(solutions) != 1 or solutions[0].lines[:1] != [f"# @title Solution {number}"]:
            yield start, f"exercise {number}: one cell tagged `solution`, first `# @title Solution {number}`"
        for where, strict in (([c for c in cells if c not in solutions], False), (solutions, True)):
            calls = [n for c in where if c.is_code for d, n in c.calls() if d.endswith("checks.check")]
            if [check_of(n) for n in calls] != [(number, strict)]:
                line = f'checks.check("{number}", name{", strict=True" if strict else ""})'
                which = "solution" if strict else "check"
                yield start, f"exercise {number}: the {which} cell calls `{line}` once"


def check_of(node: ast.Call) -> tuple[str, bool]:
    """The number and strictness of one call of checks.check."""
    number = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""
    return str(number), any(k.arg == "strict" and ast.unparse(k.value) == "True" for k in node.keywords)


@rule
def questions(chapter: Chapter) -> Iterator[Finding]:
    """`Check yourself` has at least three questions with folded answers."""
    count = sum(cell.source.count("<details>") for cell in chapter.section("Check yourself") if cell.is_text)
    if count < MIN_QUESTIONS:
        yield None, f"`Check yourself` has {count} folded answers, at least {MIN_QUESTIONS}"
