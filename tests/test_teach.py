"""tools/teach.py: the edition without solutions, the answer key, and grading."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat

from dhida_lib.book import checks

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import teach  # noqa: E402

CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))


def numbers() -> list[str]:
    return [number for path in CHAPTERS for number in teach.exercises(nbformat.read(path, as_version=4))]


def test_the_edition_has_every_exercise_and_no_solution(tmp_path, capsys):
    assert teach.main(["edition", str(tmp_path / "class")]) == 0
    copies = sorted((tmp_path / "class").glob("*.ipynb"))
    assert [path.name for path in copies] == [path.name for path in CHAPTERS]
    for copy, chapter in zip(copies, CHAPTERS, strict=True):
        made, whole = (nbformat.read(path, as_version=4) for path in (copy, chapter))
        assert teach.exercises(made) == teach.exercises(whole)
        code = "\n".join(cell.source for cell in made.cells if cell.cell_type == "code")
        assert "# @title Solution" not in code
        assert len(re.findall(r"checks\.check\(", code)) >= len(teach.exercises(made))
        nbformat.validate(made)
    assert f"{len(CHAPTERS)} chapters" in capsys.readouterr().out


def test_the_chapters_are_never_overwritten(capsys):
    before = CHAPTERS[0].read_bytes()
    assert teach.main(["edition", str(ROOT / "book")]) == 2
    assert "name another folder" in capsys.readouterr().err
    assert CHAPTERS[0].read_bytes() == before


def test_the_key_has_a_section_for_every_exercise(tmp_path):
    assert teach.main(["key", str(tmp_path / "key.md")]) == 0
    text = (tmp_path / "key.md").read_text(encoding="utf-8")
    headed = re.findall(r"^## Exercise (\d+\.\d+) ", text, re.M)
    assert list(dict.fromkeys(headed)) == numbers()
    assert set(numbers()) <= set(checks.known())


def student(path: Path, answer: str, number: str = "8.1") -> Path:
    """A notebook with one exercise, as a student hands it in; its solution cell is still there."""
    cells = [
        nbformat.v4.new_code_cell("from dhida_lib import checks"),
        nbformat.v4.new_markdown_cell(f"### Exercise {number} · What is asked"),
        nbformat.v4.new_code_cell(answer),
        nbformat.v4.new_code_cell(f"checks.check({number!r}, answer)"),
        nbformat.v4.new_code_cell(
            "raise SystemError('the solution was run')", metadata={"tags": ["solution"]}
        ),
        nbformat.v4.new_markdown_cell("### Exercise 8.2 · Not reached"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def solution(number: str) -> str:
    """The book's own answer, under the name `answer`."""
    (path,) = (ROOT / "book").glob("08_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    title = f"# @title Solution {number}\n"
    (code,) = (cell.source for cell in cells if cell.source.startswith(title))
    code = re.sub(r"^checks\.check.*$", "", code, flags=re.M)
    (name,) = re.findall(r"^def (\w+_solution)\(", code, re.M)
    return f"import math, torch\n{code}\nanswer = {name}"


def test_grades_are_what_the_checks_say(tmp_path, capsys):
    right = student(tmp_path / "ada.ipynb", solution("8.1"))
    wrong = student(tmp_path / "bob.ipynb", "def answer(*args, **kwargs): return 0.5")
    untried = student(tmp_path / "eve.ipynb", "def answer(*args, **kwargs): raise NotImplementedError")
    before = right.read_bytes()
    assert teach.main(["grade", str(right), str(wrong), str(untried)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["notebook", "8.1", "8.2", "right"]
    assert [line.split()[1:] for line in lines[1:]] == [
        ["right", "-", "1", "of", "2"],
        ["wrong", "-", "0", "of", "2"],
        ["-", "-", "0", "of", "2"],
    ]
    assert right.read_bytes() == before


def test_a_file_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert teach.main(["grade", str(tmp_path / "nobody.ipynb")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_course_plans_name_every_chapter_that_there_is():
    text = (ROOT / "TEACHING.md").read_text(encoding="utf-8")
    plans = re.split(r"^## ", text, flags=re.M)
    for sessions in (6, 12):
        (plan,) = (part for part in plans if part.startswith(f"In {sessions} sessions"))
        rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|", plan, re.M)
        assert [int(number) for number, *_ in rows] == list(range(1, sessions + 1))
        named = {int(n) for _, chapters, _ in rows for n in re.findall(r"\d+", chapters)}
        assert named <= {int(path.name[:2]) for path in CHAPTERS}
        asked = {number for *_, tasks in rows for number in re.findall(r"\d+\.\d+", tasks)}
        assert asked <= set(numbers())
        assert len(asked) >= sessions
