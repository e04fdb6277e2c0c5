"""What commands print, so that no file name and no number can steer a terminal."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path
from typing import Any, TextIO

__all__ = ["harmless", "make_folder", "say", "summary"]


def harmless(text: str) -> str:
    """The text with every character spelled out that steers a terminal or hides: file names may hold any."""
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else repr(c)[1:-1] for c in text)


def say(*lines: str, file: TextIO | None = None) -> None:
    """Print lines at once: a full disk is an error of the command, not a complaint after its end."""
    file = file or sys.stdout
    encoding = file.encoding or "utf-8"
    try:
        for line in lines:
            shown = harmless(line).encode(encoding, "backslashreplace").decode(encoding)
            print(shown, file=file, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())  # Python would try once more when it ends
        if isinstance(error, BrokenPipeError):  # the reader has seen enough, as `head` has after ten lines
            raise SystemExit(141) from None  # 128 + SIGPIPE, as a shell has it
        raise


def make_folder(name: str, path: Path) -> None:
    """Make a folder before hours of work go into it; ``name`` is the flag that names it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        from dhida_lib._validate import bad

        raise bad(name, str(path), f"a folder, or one that can be made ({error.strerror})") from error


def summary(metrics: dict[str, Any]) -> tuple[str, str]:
    """Two lines that say what was measured and under which rule."""
    k = "ALL" if metrics["k"] is None else metrics["k"]
    bounds = ""
    if metrics["map_pessimistic"] is not None:
        low, high = metrics["map_pessimistic"], metrics["map_optimistic"]
        bounds = f" ({low:.4f} to {high:.4f} by the order of ties)"
    return (
        f"mAP@{k} {metrics['map']:.4f}, expected under ties{bounds}; {metrics['bits']} bits, "
        f"{metrics['queries']:,} queries, {metrics['database']:,} images in the database",
        f"precision within Hamming radius 2: {metrics['precision_within_radius']:.4f} "
        f"({metrics['empty_balls']:.1%} of the balls are empty and count 0)",
    )
