"""Every exercise of every chapter: the solution passes, typical mistakes do not, the stub is no attempt."""

from __future__ import annotations

import ast
import importlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dhida_lib import checks

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(Path(__file__).parent)]

import notebooks  # noqa: E402

HOUSE = notebooks.House.at(ROOT)
CHAPTERS = {c.number: c for c in (notebooks.Chapter.read(p, HOUSE) for p in HOUSE.notebooks()) if c.number}
IN_BOOK = [heading.split()[1] for chapter in CHAPTERS.values() for heading, _ in chapter.exercises()]
MIN_WRONG = 3
# Chapters whose cases do not all have the sentence yet that the reader is told; a finished one is struck out.
WITHOUT_SENTENCES = set(range(1, 20)) - {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19}


def definitions(source: str) -> ast.Module:
    """The imports, functions and classes of a cell."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    return ast.Module([node for node in ast.parse(source).body if isinstance(node, kinds)], [])


def answer(number: str, which: str) -> Any:
    """The stub (`exercise`) or the solution (`solution`) of an exercise, lifted out of its notebook."""
    chapter = CHAPTERS[int(number.split(".")[0])]
    cells = next(cells for heading, cells in chapter.exercises() if heading.split()[1] == number)
    own = next(cell for cell in cells if which in cell.tags)
    names: dict[str, Any] = {"__name__": f"chapter{number}"}
    hidden = {"exercise", "solution"}
    for cell in chapter.cells[: own.index]:
        if cell.is_code and "setup" not in cell.tags and not hidden & set(cell.tags):
            exec(compile(definitions(cell.source), str(chapter.path), "exec"), names)
    statements = [node for node in own.tree.body if not isinstance(node, ast.Expr)]  # all but the check
    exec(compile(ast.Module(statements, []), str(chapter.path), "exec"), names)
    checking = [c for c in cells if ("solution" in c.tags) == (which == "solution")]
    call = next(node for c in checking for dotted, node in c.calls() if dotted.endswith("checks.check"))
    return eval(ast.unparse(call.args[1]), names)


@cache
def wrong_answers(chapter: int) -> dict[str, list[tuple[str, Any, str]]]:
    """The chapter's cases: exercise → (label, wrong answer, what its reader must be told)."""
    listed = importlib.import_module(f"exercise_cases.ch{chapter:02d}").WRONG
    return {
        number: [(label, wrong, *(sentence or [""])) for label, wrong, *sentence in answers]
        for number, answers in listed.items()
    }


def cases() -> list[Any]:
    """(number, wrong answer, sentence) of every exercise."""
    found = []
    for number in checks.known():
        for label, wrong, sentence in wrong_answers(int(number.split(".")[0])).get(number, []):
            found.append(pytest.param(number, wrong, sentence, id=f"{number} {label}"))
    return found


def test_book_and_library_have_the_same_exercises():
    assert sorted(IN_BOOK) == sorted(checks.known())


@pytest.mark.parametrize("number", checks.known())
def test_enough_wrong_answers(number):
    labels = [label for label, *_ in wrong_answers(int(number.split(".")[0])).get(number, [])]
    assert len(set(labels)) == len(labels) >= MIN_WRONG


@pytest.mark.parametrize("chapter", sorted({int(n.split(".")[0]) for n in checks.known()}))
def test_no_case_without_exercise(chapter):
    assert set(wrong_answers(chapter)) == set(checks.known(chapter))


@pytest.mark.parametrize("number", IN_BOOK)
def test_solution_passes(number, capsys):
    checks.check(number, answer(number, "solution"), strict=True)
    assert capsys.readouterr().out.startswith(f"✓ Exercise {number}: ")


@pytest.mark.parametrize("number", IN_BOOK)
def test_stub_is_no_attempt(number, capsys):
    checks.check(number, answer(number, "exercise"))
    assert capsys.readouterr().out.startswith(f"Exercise {number}: not attempted yet")


@pytest.mark.parametrize("chapter", sorted({int(n.split(".")[0]) for n in checks.known()}))
def test_cases_say_what_the_reader_is_told(chapter):
    """Each wrong answer has a sentence of its own: that it "differs by up to" names no mistake."""
    sentences = [s for answers in wrong_answers(chapter).values() for *_, s in answers]
    vague = ("", "differs by up to", "not finite", "has shape")
    finished = not any(s == v or s.startswith(v + " ") for s in sentences for v in vague)
    assert finished == (chapter not in WITHOUT_SENTENCES)


@pytest.mark.parametrize(("number", "wrong", "sentence"), cases())
def test_wrong_answer_is_rejected(number, wrong, sentence, capsys):
    checks.check(number, wrong)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ Exercise {number}: ")
    assert sentence in out, "the mistake is named"
    assert len(out.splitlines()[0]) > len(f"✗ Exercise {number}: ") + 15, "the message says what is wrong"
    with pytest.raises(AssertionError, match=r"✗ Exercise"):
        checks.check(number, wrong, strict=True)
