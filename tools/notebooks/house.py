"""What a chapter needs to know about the project: where it is, its address, its setup cell, its run times."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SETUP = """\
# @title Setup: run this first. PROFILE "full" is the paper's setting, on a GPU
try:
    import dhida_lib
except ModuleNotFoundError:
    import subprocess
    import sys
    from pathlib import Path

    near = (Path.cwd(), *Path.cwd().parents, *Path.cwd().glob("*"))
    roots = [p for p in near if (p / "dhida_lib" / "__init__.py").is_file()]
    if roots:  # in a checkout, or beside one: use its library
        sys.path.insert(0, str(roots[0]))
    else:  # alone, as on Colab: install the library, leave torch as it is
        {install}
    import dhida_lib

PROFILE = "fast"  # @param ["fast", "full"]
profile = dhida_lib.start(PROFILE)"""

INSTALL = """\
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        source = "git+{url}@{branch}"
        subprocess.run([*pip, source], check=True)"""
NO_ADDRESS = """\
        raise ImportError(
            "This book has no public address yet: unzip a copy of its repository "
            "beside this notebook, or `pip install --no-deps` it, and run this cell."
        ) from None"""
PLACEHOLDER = "https://github.com/OWNER/"
"""How an address begins that nobody has filled in yet."""


@dataclass
class House:
    """What a chapter needs to know about the project: where it is, its address, the measured run times."""

    root: Path
    url: str
    branch: str = "main"
    runtimes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def at(cls, root: Path = ROOT) -> House:
        """Read the house from `_config.yml` and the run-time records."""
        repository = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]
        records = root / "data" / "records" / "runtimes.json"
        runtimes = json.loads(records.read_text(encoding="utf-8")) if records.is_file() else {}
        return cls(root, repository["url"].rstrip("/"), repository["branch"], runtimes)

    @property
    def public(self) -> bool:
        """Has somebody given the book its address (`make address`)?"""
        return not self.url.startswith(PLACEHOLDER)

    @property
    def book(self) -> Path:
        """The folder of the chapters."""
        return self.root / "book"

    def notebooks(self) -> list[Path]:
        """All chapters, in the order of their numbers."""
        return sorted(self.book.glob("*.ipynb"))

    def setup(self) -> str:
        """The setup cell: the same bytes in every chapter."""
        install = INSTALL.replace("{url}", self.url).replace("{branch}", self.branch)
        text = SETUP.replace("        {install}", install if self.public else NO_ADDRESS)
        return text if self.public else text.replace("    import subprocess\n", "")

    def badge(self, name: str) -> str:
        """The line with the two links under a chapter's promise: plain text, so that no image is fetched."""
        page = f"{self.url.removeprefix('https://github.com/')}/blob/{self.branch}/book/{name}"
        return (
            f"[▶ Open in Colab](https://colab.research.google.com/github/{page}) · "
            f"[View source](https://github.com/{page})"
        )

    def run_time(self, name: str) -> str:
        """The row of the "At a glance" table with the measured run time."""
        record = self.runtimes.get(name)
        if record is None:
            return "| **Run time** | not measured yet |"
        return (
            f"| **Run time** | {max(1, round(record['seconds']))} s with the fast profile "
            f"on {record['machine']} (measured {record['date']}) |"
        )


def write_atomic(path: Path, text: str) -> None:
    """Write a file so that a reader sees either the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
