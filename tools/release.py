"""What must hold before a release: `make release-check TAG=v0.1.0`. Each fault is one line, exit status 1.

python tools/release.py TAG

After a release the version in dhida_lib/__init__.py goes up at once: a chapter's setup cell installs the tag
of its own version, and as long as that tag does not exist, the wheel of the site.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def version_of(root: Path) -> str:
    """The version, from the one place that holds it."""
    text = (root / "dhida_lib" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.M)
    return found[1] if found else ""


def faults(root: Path, tag: str) -> Iterator[str]:
    """What stands in the way of a release under this tag."""
    version = version_of(root)
    if tag != f"v{version}":
        yield f"the tag is {tag!r}, but dhida_lib.__version__ asks for 'v{version}'"
    if f"\nversion: {version}\n" not in (root / "CITATION.cff").read_text(encoding="utf-8"):
        yield f"CITATION.cff does not say version: {version}"
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if f"\n## {version}\n" not in changes:
        yield f"CHANGELOG.md has no section {version}"
    if re.search(r"^## Unreleased\n+- ", changes, re.M):
        yield "CHANGELOG.md has lines under Unreleased: they belong under the new version"
    if "github.com/OWNER/" in (root / "_config.yml").read_text(encoding="utf-8"):
        yield "the address in _config.yml is still a placeholder, so every link to the sources is dead"


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if len(words) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    found = list(faults(ROOT, words[0]))
    print("\n".join(found) if found else f"{words[0]} can be released")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
