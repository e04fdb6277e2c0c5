"""What the reader sees while chapters run: the lines of `make book`, and that of a cell without end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest

from dhida_lib import Progress

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import build_progress  # noqa: E402

BUILD = r"""
print("Running Sphinx v7")
print("\x1b[01mreading sources... \x1b[39;49;00m[ 33%] book/01_a")
print("/x/book/01_a.ipynb: Executing notebook using local CWD [mystnb]")
print("[IPKernelApp] WARNING | Kernel is running over TCP without encryption. All of it is sent")
print("/x/book/01_a.ipynb: Executed notebook in 20.00 seconds [mystnb]")
print("/x/book/02_b.ipynb:10001: WARNING: a fault")
print("/x/book/02_b.ipynb: Executed notebook in 3.00 seconds [mystnb]")
print("/x/book/02_b.ipynb: Cached executed notebook: ID=2 [mystnb]")
print("/x/book/00_z.ipynb: Using cached notebook: ID=1 [mystnb]")
print("/x/book/03_c.ipynb: Executed notebook in 1.00 seconds [mystnb]")
print()
print()
print("build succeeded")
raise SystemExit(3)
"""


def test_a_line_for_each_chapter_with_what_is_left(tmp_path, capfd):
    records = tmp_path / "data" / "records"
    records.mkdir(parents=True)
    (records / "runtimes.json").write_text(
        json.dumps({"01_a.ipynb": {"seconds": 10}, "02_b.ipynb": {"seconds": 2}, "gone": {"seconds": 6}})
    )
    (tmp_path / "book").mkdir()
    for name in ("01_a", "02_b", "03_c"):  # the third was never measured: the mean of all, 6 s
        (tmp_path / "book" / f"{name}.ipynb").touch()
    status = build_progress.follow([sys.executable, "-c", BUILD], tmp_path, os.environ)
    assert status == 3
    shown = capfd.readouterr().out.splitlines()
    assert shown[:4] == [
        "Running Sphinx v7",
        "chapter 01_a: 20 s; at most 2 more, about 16 s",  # twice as long as measured: 2 · (2 + 6)
        "/x/book/02_b.ipynb:10001: WARNING: a fault",
        "chapter 02_b: 3 s; at most 1 more, about 12 s",  # 23 s for 12: 6 · 23 / 12
    ]
    assert shown[4] == "chapter 00_z: unchanged, its results are kept"
    assert shown[5].startswith("chapter 03_c: 1 s; the last one, ")
    assert shown[6:] == ["", "build succeeded"]


def test_the_patterns_are_what_the_builder_says():
    """The words stand in myst-nb; another version could say it in other words."""
    import myst_nb.core.execute.cache as builder

    text = Path(builder.__file__).read_text(encoding="utf-8")
    assert '"Executing notebook using "' in text
    assert 'f"Using cached notebook: ID=' in text
    assert 'f"Executed notebook in {result.time:.2f} seconds"' in text


def test_every_chapter_has_its_seconds():
    seconds = build_progress.measured(ROOT)
    assert set(seconds) == {path.stem for path in (ROOT / "book").glob("*.ipynb")}
    assert min(seconds.values()) > 0


def test_a_cell_that_takes_too_long_is_one_line(tmp_path):
    cells = [nbformat.v4.new_code_cell(code) for code in ("1", "import time; time.sleep(600)", "2")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "slow.ipynb")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "slow.ipynb", "--nbval-lax"]
    line += ["--nbval-current-env", "--nbval-cell-timeout=4"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    said = [text for text in done.stdout.splitlines() if "CELL_SECONDS=4 s" in text]
    assert said, done.stdout
    assert "slow.ipynb::Cell 1" in said[0]
    assert "make test CELL_SECONDS=8" in said[0]
    assert "Traceback" not in done.stdout
    assert "KeyboardInterrupt" not in done.stdout


@pytest.mark.parametrize(
    ("kernel", "static", "moves"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_the_bar_moves_in_a_notebook_that_is_open(kernel, static, moves, monkeypatch, capsys):
    """Not in a log file, and not where only the site's picture of a page is taken."""
    shell = types.SimpleNamespace(kernel=object()) if kernel else None
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setenv("DHIDA_STATIC", static)
    bar = Progress(epochs=2)
    for epoch in (1, 2):
        for batch in (1, 2, 3):
            bar.on_batch(epoch, batch, 3, 0.5)
            bar.bar.refresh()
    shown = capsys.readouterr().out
    assert ("epoch 1/2, loss 0.500" in shown) is moves
    assert ("4/6" in shown) is moves
