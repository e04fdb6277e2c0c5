"""What a chapter needs to know about the project: where it is, its address, its setup cell, its run times."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from release import version_of

ROOT = Path(__file__).resolve().parents[2]
SETUP = """\
# @title Setup: run this first{about}
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

{start}"""
ABOUT = """. PROFILE "full" is the paper's setting, on a GPU"""
CHOICE = """\
PROFILE = "fast"  # @param ["fast", "full"]
profile = dhida_lib.start(PROFILE)"""
NO_CHOICE = "profile = dhida_lib.start()"

INSTALL = """\
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        for place in (
            "git+{url}@v{version}",
            "{site}/{wheel}",
            "git+{url}@{branch}",
        ):
            if subprocess.run([*pip, place], capture_output=True).returncode == 0:
                break
            print("The library of this page is not at", place)"""
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

    @property
    def site(self) -> str:
        """The address at which GitHub Pages publishes the site."""
        owner, name = self.url.rstrip("/").split("/")[-2:]
        return f"https://{owner.lower()}.github.io/{name}"

    @property
    def wheel(self) -> str:
        """The library's wheel, as a path in the site."""
        return f"wheel/dhida_lib-{version_of(ROOT)}-py3-none-any.whl"

    def setup(self, choice: bool = True) -> str:
        """The setup cell: the same bytes in every chapter that offers a profile, and in all the others.

        Alone in a folder, it installs the library of this version: from its tag, else from the site's wheel,
        else, while there is neither, from the branch.

        Args:
            choice: does the chapter read `profile`, so that there is something to choose?
        """
        install = INSTALL if self.public else NO_ADDRESS
        for name in ("url", "branch", "site", "wheel"):
            install = install.replace(f"{{{name}}}", getattr(self, name))
        text = SETUP.replace("        {install}", install.replace("{version}", version_of(ROOT)))
        text = text.replace("{about}", ABOUT * choice).replace("{start}", CHOICE if choice else NO_CHOICE)
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
