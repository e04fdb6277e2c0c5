"""Build the site into _build/html: execute every chapter, warnings are errors.

    python tools/build_book.py [--clean]

Jupyter's cache keeps the outputs of a chapter whose cells did not change, but it does not see that the
library or the data did. So the cache is keyed here: when a file of dhida_lib/, data/ or requirements.txt
changes, the cache goes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import build_progress

ROOT = Path(__file__).resolve().parents[1]


def sources(root: Path) -> Iterator[Path]:
    """The files that decide what a chapter prints, besides the chapter itself."""
    for folder in ("dhida_lib", "data"):
        yield from sorted((root / folder).rglob("*"))
    yield root / "requirements.txt"


def key(root: Path) -> str:
    """A hash over the names and bytes of these files, and over the Python that runs them."""
    digest = hashlib.sha256(f"{sys.version} {sys.prefix}".encode())
    for path in sources(root):
        # The run times are copied into the chapters' text, which the cache sees.
        if path.is_file() and "__pycache__" not in path.parts and path.name != "runtimes.json":
            digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def refresh_cache(root: Path) -> bool:
    """Drop the execution cache if the library, the data or the requirements changed; say whether it did."""
    build, now = root / "_build", key(root)
    stamp = build / "cache-key"
    if stamp.is_file() and stamp.read_text() == now:
        return False
    shutil.rmtree(build / ".jupyter_cache", ignore_errors=True)
    build.mkdir(exist_ok=True)
    stamp.write_text(now)
    return True


def environment() -> dict[str, str]:
    """The build's environment: figures that need no kernel, and always the same number of threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    return os.environ | threads | {"DHIDA_STATIC": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the site into _build/html.")
    parser.add_argument("--clean", action="store_true", help="remove _build first")
    arguments = parser.parse_args(argv)
    if arguments.clean:
        shutil.rmtree(ROOT / "_build", ignore_errors=True)
    refresh_cache(ROOT)
    start = time.perf_counter()
    # Sphinx does not notice a changed style sheet: `--all` writes every page anew; it executes nothing twice.
    cli = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", cli, "build", ".", "-W", "-n", "--keep-going", "--all"]
    status = build_progress.follow(command, ROOT, environment())
    if status:
        print("The book was not built: see the warnings and errors above.", file=sys.stderr)
        return status
    html = ROOT / "_build" / "html"
    # `make pdf` and the others made these of pages before
    shutil.rmtree(html / "files", ignore_errors=True)
    for step in ("front_page.py", "try_it.py", "wheel.py", "finish_site.py", "gallery.py"):
        command = [sys.executable, str(ROOT / "tools" / step)]
        done = subprocess.run(command, cwd=ROOT, env=environment(), check=False)
        if done.returncode:
            print(f"The book was not finished: tools/{step} failed.", file=sys.stderr)
            return done.returncode
    (html / ".nojekyll").touch()  # GitHub Pages would leave out folders that begin with an underscore
    print(f"\nThe book is built ({time.perf_counter() - start:.0f} s): _build/html/index.html")
    print("Open that file in a browser (it needs no server and no network).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
