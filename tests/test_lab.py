"""The chapters in JupyterLab as a reader meets them: a real server, a real kernel, a real browser.

`make test-lab` runs these tests; without JupyterLab or Chromium they are skipped, with the reason. Pictures
of what was seen are in `_build/lab`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import nbformat
import psutil
import pytest
from browser import CHROMIUM, Browser, Page

ROOT = Path(__file__).resolve().parents[1]
SEEN = ROOT / "_build" / "lab"
sys.path.insert(0, str(ROOT / "tools"))

import start  # noqa: E402

PATIENCE = 600.0  # seconds for a chapter: the machine may be busy

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
    pytest.mark.skipif(find_spec("jupyterlab") is None, reason="no JupyterLab"),
    pytest.mark.skipif(sys.platform == "win32", reason="a kernel is killed by a signal"),
]


def chapter(number: int) -> str:
    """The file name of a chapter."""
    (path,) = (ROOT / "book").glob(f"{number:02d}_*.ipynb")
    return path.name


# ---- a server, a window --------------------------------------------------------------------------------


@dataclass
class Lab:
    """A running JupyterLab."""

    folder: Path
    port: int
    process: subprocess.Popen

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/lab/tree/{path}?reset"

    def kernels(self) -> list[psutil.Process]:
        return [
            child
            for child in psutil.Process(self.process.pid).children(recursive=True)
            if "ipykernel_launcher" in " ".join(child.cmdline())
        ]


def serve(folder: Path, home: Path, **more) -> Iterator[Lab]:
    """A JupyterLab over a folder, with settings of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--port-retries=0"]
    line += ["--allow-root", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    line += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    line += [f"--ServerApp.root_dir={folder}"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "DHIDA_STATIC")}
    environment |= {"HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_CONFIG_DIR": str(home / "jupyter")}
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(
            line, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True, **more
        )
    lab = Lab(folder, port, process)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("JupyterLab did not start:\n" + (home / "log").read_text()[-2000:])
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield lab
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    """The reader's copy of the chapters in a checkout, as `make start` makes it, and a folder elsewhere."""
    top = tmp_path_factory.mktemp("lab")
    for name in ("checkout", "elsewhere", "home"):
        (top / name).mkdir()
    (top / "checkout" / "dhida_lib").symlink_to(ROOT / "dhida_lib")
    start.start(top / "checkout" / "work")
    shutil.copy(ROOT / "book" / chapter(2), top / "elsewhere")
    yield from serve(top, top / "home")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture
def opened(browser, lab, request):
    """Opens notebooks; afterwards takes a picture, ends the kernel and closes the page."""
    pages: list[Page] = []

    def open_notebook(path: str, where: Lab = lab) -> Page:
        page = browser.page(where.address(path))
        pages.append(page)
        page.wait(f"window.jupyterapp && {NOTEBOOK} && {NOTEBOOK}.isVisible", PATIENCE)
        page.wait(f"{KERNEL} && {KERNEL}.status === 'idle'", PATIENCE)
        return page

    yield open_notebook
    for page in pages:
        page.picture(SEEN / f"{request.node.name}.png")
        page.run(f"{NOTEBOOK}.sessionContext.shutdown()")
        page.close()


NOTEBOOK = "jupyterapp.shell.currentWidget"
KERNEL = f"{NOTEBOOK}.sessionContext.session?.kernel"
MENU = """[...document.querySelectorAll("%s")].find((e) => e.textContent.trim().startsWith("%s"))"""


def choose(page: Page, menu: str, item: str) -> None:
    """Take an item of a menu with the mouse."""
    page.wait(f"!!{MENU % ('.lm-MenuBar-item', menu)}")
    page.click(MENU % (".lm-MenuBar-item", menu))
    page.wait(f"!!{MENU % ('.lm-Menu-item', item)}")
    page.click(MENU % (".lm-Menu-item", item))


def run_all(page: Page) -> None:
    """Choose Run → Run All Cells, and wait until something runs."""
    choose(page, "Run", "Run All Cells")
    page.wait("[...document.querySelectorAll('.jp-InputPrompt')].some((e) => /\\d|\\*/.test(e.textContent))")


def finished(page: Page) -> list[dict]:
    """Wait until no cell waits any more; the code cells as they are now."""
    waiting = "[...document.querySelectorAll('.jp-InputPrompt')].some((e) => e.textContent.includes('*'))"
    page.wait(f"{KERNEL}.status === 'idle' && !{waiting}", PATIENCE)
    cells = json.loads(page.run(f"JSON.stringify({NOTEBOOK}.content.model.toJSON().cells)"))
    return [cell for cell in cells if cell["cell_type"] == "code"]


def errors(cells: list[dict]) -> list[str]:
    """What cells said on standard error, and the exceptions that ended them.

    Matplotlib says once in the life of a home that it looks for fonts; a reader sees it too.
    """
    outputs = [output for cell in cells for output in cell["outputs"]]
    said = [f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"]
    texts = ["".join(o["text"]) for o in outputs if o.get("name") == "stderr"]
    return said + [text for text in texts if "building the font cache" not in text]


# ---- what a reader does --------------------------------------------------------------------------------


def test_every_cell_of_a_chapter_runs_and_solutions_stay_folded(opened):
    page = opened(f"checkout/work/{chapter(2)}")
    run_all(page)
    cells = finished(page)
    assert errors(cells) == []
    assert [cell["id"] for cell in cells if cell["execution_count"] is None] == []
    shown = page.run(f"""{NOTEBOOK}.content.widgets.filter((cell) => cell.model.type === "code")
        .map((cell) => [cell.model.id, !cell.inputHidden])""")
    stored = nbformat.read(ROOT / "book" / chapter(2), as_version=4).cells
    folded = {"setup", "folded", "solution"}
    wanted = {c["id"]: not folded & set(c.metadata.get("tags", [])) for c in stored if c.cell_type == "code"}
    assert dict(shown) == wanted
    assert not all(wanted.values())
    solution = next(c for c in stored if "solution" in c.metadata.get("tags", []))
    at = [cell.id for cell in stored].index(solution.id)
    page.run(f"{NOTEBOOK}.content.scrollToItem({at}, 'center')")
    text = f"{NOTEBOOK}.content.widgets[{at}].node.innerText"
    page.wait(f"{text}.includes('# @title Solution')")
    assert "def " not in page.run(text)
