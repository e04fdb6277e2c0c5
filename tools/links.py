"""Ask every address that pages and chapters name whether it is there: `make links`. Needs the network.

    python tools/links.py

Exit status 1 if one is gone. An address that refuses programs (403, 429 and the like) is there for people,
and counts as there; so does one that a first try did not reach, if a second does.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"https?://[^\s<>\"'`\\\])}|]+(?:\([^\s()]*\)[^\s<>\"'`\\\])}|]*)*")
PLACEHOLDER = "github.com/OWNER/"  # until the book has an address of its own
GONE = (404, 410)
TRIES, SECONDS = 2, 20


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each page, and of the prose of each chapter."""
    for page in sorted([*root.glob("*.md"), *(root / "book").glob("*.md")]):
        yield page.name, page.read_text(encoding="utf-8")
    for chapter in sorted((root / "book").glob("*.ipynb")):
        cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
        prose = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        yield chapter.name, "\n".join(prose)


def addresses(root: Path) -> dict[str, list[str]]:
    """Address → the pages that name it."""
    found: dict[str, list[str]] = {}
    for name, text in texts(root):
        for address in sorted(set(ADDRESS.findall(text))):
            if PLACEHOLDER not in address:
                found.setdefault(address.rstrip(".,;:").split("#")[0], []).append(name)
    return found


def fault(address: str, seconds: float = SECONDS) -> str:
    """Why an address is not there; nothing if it is."""
    agent = {"User-Agent": "Mozilla/5.0 (link check of the DHIDA book)"}
    reason = ""
    for _ in range(TRIES):
        try:
            with urllib.request.urlopen(urllib.request.Request(address, headers=agent), timeout=seconds):
                return ""
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {error.reason}"
            if error.code not in GONE and error.code < 500:
                return ""
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error))
    return reason


def check(root: Path, ask: Callable[[str], str] = fault) -> list[str]:
    """A line for each address that is not there."""
    found = addresses(root)
    with ThreadPoolExecutor(8) as pool:
        reasons = list(pool.map(ask, found))
    return [
        f"{address}: {reason} (in {', '.join(found[address])})"
        for address, reason in zip(found, reasons, strict=True)
        if reason
    ]


def main() -> int:
    lines = check(ROOT)
    print("\n".join([*lines, f"{len(addresses(ROOT))} addresses, {len(lines)} not there"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
