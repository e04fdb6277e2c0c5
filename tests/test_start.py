"""`make start`: a copy of the chapters that is brought up to date and loses no answer."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import start  # noqa: E402


def notebook(**cells: str) -> dict:
    made = [nbformat.v4.new_code_cell(text, id=name) for name, text in cells.items()]
    return json.loads(json.dumps(nbformat.v4.new_notebook(cells=made)))


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with two chapters, and a reader's copy of them."""
    (tmp_path / "book" / "_static").mkdir(parents=True)
    (tmp_path / "book" / "_static" / "a.svg").write_text("<svg/>")
    for name in ("01_a", "02_b"):
        start.write(tmp_path / "book" / f"{name}.ipynb", notebook(intro="1", task="yours", end="3"))
    report = start.start(tmp_path / "work", tmp_path)
    assert report.new == ["01_a.ipynb", "02_b.ipynb"]
    return tmp_path


def edit(path: Path, name: str, text: str) -> None:
    found = start.read(path)
    start.by_id(found)[name]["source"] = text
    start.write(path, found)


def sources(path: Path) -> dict[str, str]:
    return {name: start.source_of(cell) for name, cell in start.by_id(start.read(path)).items()}


def test_a_new_version_keeps_the_answers(project):
    mine, theirs = project / "work" / "01_a.ipynb", project / "book" / "01_a.ipynb"
    edit(mine, "task", "my answer")
    start.write(theirs, notebook(intro="1, said better", task="yours", more="4", end="3"))
    report = start.start(project / "work", project)
    assert (report.updated, report.kept) == (["01_a.ipynb"], ["02_b.ipynb"])
    assert sources(mine) == {"intro": "1, said better", "task": "my answer", "more": "4", "end": "3"}
    assert start.start(project / "work", project).updated == [], "a second call has nothing to do"
    assert sources(mine)["task"] == "my answer"


def test_cells_of_the_reader_stay_where_they_are(project):
    mine = project / "work" / "01_a.ipynb"
    found = start.read(mine)
    extra = [notebook(**{name: name})["cells"][0] for name in ("first", "note")]
    found["cells"] = [extra[0], *found["cells"][:2], extra[1], found["cells"][2]]
    start.write(mine, found)
    start.write(project / "book" / "01_a.ipynb", notebook(intro="new", task="yours", end="3"))
    start.start(project / "work", project)
    assert list(sources(mine)) == ["first", "intro", "task", "note", "end"]


@pytest.mark.parametrize(
    "new",
    [{"intro": "1", "task": "another task", "end": "3"}, {"intro": "1", "end": "3"}],
    ids=["both", "gone"],
)
def test_where_both_changed_a_cell_the_new_version_lies_beside(new, project):
    mine = project / "work" / "01_a.ipynb"
    edit(mine, "task", "my answer")
    before = mine.read_bytes()
    start.write(project / "book" / "01_a.ipynb", notebook(**new))
    report = start.start(project / "work", project)
    assert report.beside == ["01_a.ipynb"]
    assert mine.read_bytes() == before
    assert sources(project / "work" / "01_a.new.ipynb") == new
    assert "lies beside" in "\n".join(report.lines())


def test_a_cell_behind_one_that_is_gone_is_not_lost(project):
    mine = project / "work" / "01_a.ipynb"
    found = start.read(mine)
    found["cells"].insert(2, notebook(note="mine")["cells"][0])
    start.write(mine, found)
    start.write(project / "book" / "01_a.ipynb", notebook(intro="1", end="3"))
    assert start.start(project / "work", project).beside == ["01_a.ipynb"]
    assert "note" in sources(mine)


def test_a_copy_that_is_no_notebook_any_more_is_not_touched(project):
    mine = project / "work" / "01_a.ipynb"
    mine.write_text("half of a file")
    start.write(project / "book" / "01_a.ipynb", notebook(intro="new", task="yours", end="3"))
    assert start.start(project / "work", project).beside == ["01_a.ipynb"]
    assert mine.read_text() == "half of a file"


def test_a_chapter_that_was_only_run_becomes_the_new_one(project):
    mine = project / "work" / "01_a.ipynb"
    found = start.read(mine)
    found["cells"][0] |= {"execution_count": 7, "outputs": []}
    start.write(mine, found)
    start.write(project / "book" / "01_a.ipynb", notebook(intro="new", task="new", end="new"))
    start.start(project / "work", project)
    assert set(sources(mine).values()) == {"new"}


def test_what_goes_wrong_is_one_sentence(project, capsys, monkeypatch):
    monkeypatch.setattr(start, "ROOT", ROOT)
    assert start.main([str(ROOT / "book")]) == 1
    assert "name another folder" in capsys.readouterr().err
    (project / "file").write_text("")
    assert start.main([str(project / "file")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    (project / "book" / "01_a.ipynb").write_text("broken")
    with pytest.raises(ValueError, match="git checkout"):
        start.start(project / "work", project)


def test_the_real_chapters(tmp_path, capsys):
    assert start.main([str(tmp_path / "work")]) == 0
    chapters = {path.name for path in (ROOT / "book").glob("*.ipynb")}
    assert {path.name for path in (tmp_path / "work").glob("*.ipynb")} == chapters
    assert f"{len(chapters):3d} new" in capsys.readouterr().out
    for path in (tmp_path / "work").glob("*.ipynb"):
        nbformat.validate(nbformat.read(path, as_version=4))


def test_git_does_not_see_it():
    assert "/work/" in (ROOT / ".gitignore").read_text().splitlines()
    assert shutil.which("make") is None or "start:" in (ROOT / "Makefile").read_text()
