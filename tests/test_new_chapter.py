"""`make new-chapter`: the chapter that it makes keeps every rule and passes every test of a chapter."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project, without what is large, and with a new chapter."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("book", "tools", "tests", "dhida_lib"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("_config.yml", "_toc.yml", "pyproject.toml", "data/records/runtimes.json"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, root / file)
    assert call(root, "tools/new_chapter.py", "21", "Codes that agree").returncode == 0
    return root


def call(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    return done


def test_the_rules_for_notebooks_hold(copy):
    done = call(copy, "tools/notebooks", "check")
    assert done.returncode == 0
    assert "0 findings" in done.stdout
    toc = (copy / "_toc.yml").read_text()
    before = max((ROOT / "book").glob("[0-9][0-9]_*.ipynb")).stem
    assert f"      - file: book/{before}\n      - file: book/21_codes_that_agree\n" in toc


def test_its_exercises_and_cells_pass(copy):
    """Solutions pass, wrong answers are rejected and named, and nbval finds no failing cell."""
    exercises = ["tests/test_exercises.py", "-k", "21 or 21.1 or 21.2 or 21.3 or same_exercises"]
    done = call(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *exercises)
    assert done.returncode == 0
    assert "passed" in done.stdout
    cells = ["book/21_codes_that_agree.ipynb", "--nbval-lax", "--nbval-current-env"]
    assert call(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *cells).returncode == 0


def test_its_files_are_in_the_house_style(copy):
    made = [
        "book/21_codes_that_agree.ipynb",
        "dhida_lib/book/exercises/ch21.py",
        "tests/exercise_cases/ch21.py",
    ]
    for check in (["check"], ["format", "--check"]):
        assert call(copy, "-m", "ruff", *check, *made).returncode == 0


def test_a_number_that_is_taken_is_refused(copy):
    done = call(copy, "tools/new_chapter.py", "21", "Another")
    assert done.returncode == 2
    assert "Chapter 21 is there: 21_codes_that_agree.ipynb" in done.stderr
    assert not list((copy / "book").glob("21_another*"))
