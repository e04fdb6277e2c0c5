"""The library's wheel, served by the site: for a chapter alone, where the repository does not answer.

    python tools/wheel.py            (make book does it, into _build/html/wheel)

The wheel holds the library and the data that ship, under the version that the chapters' setup cells ask for.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import notebooks

SITE = notebooks.ROOT / "_build" / "html"


def build(site: Path = SITE) -> Path:
    """Build the wheel into a site, in place of any older one.

    Args:
        site: the site's folder.

    Returns:
        The wheel.

    Raises:
        FileNotFoundError: if it is not where the setup cells look for it.
    """
    wheel = site / notebooks.House.at().wheel
    shutil.rmtree(wheel.parent, ignore_errors=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheel.parent)]
    subprocess.run(command, cwd=notebooks.ROOT, check=True, stdout=subprocess.DEVNULL)
    if not wheel.is_file():
        made = ", ".join(path.name for path in wheel.parent.iterdir())
        raise FileNotFoundError(f"the setup cells look for {wheel.name}, but {made or 'nothing'} was built")
    return wheel


if __name__ == "__main__":
    print(f"{build().name}: the library's wheel, for chapters alone")
