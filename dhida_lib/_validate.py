"""One way to say that an argument is wrong: its name, what came, what is needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["bad", "choice", "positive", "positive_int"]


def bad(name: str, got: Any, need: str) -> ValueError:
    """Build the error for a wrong argument; the caller raises it.

    Args:
        name: the argument's name as the caller wrote it.
        got: the value (or a short description of it) that came.
        need: what would have been right, in words.
    """
    return ValueError(f"`{name}` must be {need}, but got {got!r}.")


def positive_int(name: str, value: Any) -> int:
    """Return ``value`` if it is an integer ≥ 1, else raise ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise bad(name, value, "a positive integer")
    return value


def positive(name: str, value: Any, *, zero: bool = False) -> float:
    """Return ``value`` as a float if it is > 0 (≥ 0 with ``zero``), else raise ``ValueError``."""
    need = "a number ≥ 0" if zero else "a number > 0"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad(name, value, need)
    if not (value >= 0 if zero else value > 0) or value == float("inf"):
        raise bad(name, value, need)
    return float(value)


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``options``, else raise a ``ValueError`` that lists them."""
    options = list(options)
    if value not in options:
        raise bad(name, value, "one of " + ", ".join(repr(o) for o in options))
    return value
