"""The fixed parts of a chapter: what `sync` writes, what `check` forbids, what `time` measures.

    python tools/notebooks sync  [NOTEBOOK …]  strip outputs, write setup cell, badges, ids and folding
    python tools/notebooks check [NOTEBOOK …]  list every broken rule; exit status 1 if there is one
    python tools/notebooks time  [NOTEBOOK …]  run each chapter, write data/records/runtimes.json

Without names, all of book/*.ipynb.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a folder: the package is found beside it

from notebooks import House, check, sync, time_notebooks  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="notebooks", description=__doc__, formatter_class=raw)
    parser.add_argument("command", choices=["sync", "check", "time"])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of book/")
    arguments = parser.parse_args(argv)
    house = House.at()
    paths = arguments.notebooks or house.notebooks()
    missing = [path for path in paths if not path.is_file()]
    if missing:
        print(f"no such notebook: {missing[0]}", file=sys.stderr)
        return 2
    if arguments.command == "sync":
        changed = sync(paths, house)
        print(
            "\n".join(
                [f"{len(paths)} notebooks, {len(changed)} rewritten", *(f"  {p.name}" for p in changed)]
            )
        )
        return 0
    if arguments.command == "time":
        return 1 if time_notebooks(paths, house) else 0
    findings = check(paths, house)
    print("\n".join([*findings, f"{len(paths)} notebooks, {len(findings)} findings"]))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
