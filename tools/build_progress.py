"""What `make book` says while it works: a line for each chapter, with its seconds and what is left.

Sphinx and the kernels say far more, line upon line. What they say of a fault is passed on as it is.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

EXECUTED = re.compile(r"book/(\w+)\.ipynb: Executed notebook in ([\d.]+) seconds")
STORED = re.compile(r"book/(\w+)\.ipynb: Using cached notebook")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
NOISE = re.compile(
    r"(reading sources|writing output|copying (images|downloads|static files|extra files))\.\.\. *\["
    r"|: (Executing notebook|Cached executed notebook)|MdParserConfig|NbParserConfig"
    r"|Kernel is running over TCP without encryption"
)
"""Lines that say nothing to the reader: the steps of a count, and ipykernel's warning that a kernel which
only this machine can reach is not encrypted."""


class Progress:
    """Turns the lines of a build into those that are shown.

    Args:
        expected: chapter → the seconds that it took when it was measured.
        clock: tells the time in seconds.
    """

    def __init__(self, expected: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self.expected = dict(expected)
        self.left = set(expected)
        self.clock, self.begin = clock, clock()
        self.spent = self.planned = 0.0

    def shown(self, line: str) -> str | None:
        """The line to show in place of one of the build's, None for nothing."""
        line = COLOUR.sub("", line)
        if NOISE.search(line):
            return None
        if stored := STORED.search(line):
            self.left.discard(stored[1])
            return f"chapter {stored[1]}: unchanged, its results are kept"
        if (done := EXECUTED.search(line)) is None:
            return line
        name, seconds = done[1], float(done[2])
        self.left.discard(name)
        self.spent += seconds
        self.planned += self.expected.get(name, seconds)
        return f"chapter {name}: {seconds:.0f} s; {self.remaining()}"

    def remaining(self) -> str:
        """How many chapters are left, and about how long they take, at the pace of those that are done."""
        if not self.left:
            return f"the last one, {self.clock() - self.begin:.0f} s in all; now the pages are written"
        pace = self.spent / self.planned if self.planned else 1.0
        seconds = pace * sum(self.expected[name] for name in self.left)
        return f"at most {len(self.left)} more, about {seconds:.0f} s"


def measured(root: Path) -> dict[str, float]:
    """Chapter → its measured seconds, of all chapters in the book; one that was not measured has the mean."""
    path = root / "data" / "records" / "runtimes.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    seconds = {name: float(record["seconds"]) for name, record in known.items()}
    mean = sum(seconds.values()) / len(seconds) if seconds else 10.0
    return {file.stem: seconds.get(file.name, mean) for file in (root / "book").glob("*.ipynb")}


def follow(command: Sequence[str], root: Path, environment: Mapping[str, str]) -> int:
    """Run a build and show its progress.

    Args:
        command: what is run.
        root: where.
        environment: its environment.

    Returns:
        Its exit status.
    """
    progress, blank = Progress(measured(root)), False
    started = subprocess.Popen(
        command,
        cwd=root,
        env=dict(environment) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    with started as build:
        assert build.stdout is not None
        for line in build.stdout:
            text = progress.shown(line.rstrip())
            if text is not None and not (blank and not text):
                print(text, flush=True)
                blank = not text
    return build.returncode
