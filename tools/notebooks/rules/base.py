"""What a rule is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..cells import Chapter

Finding = tuple["int | None", str]
RULES: dict[str, Callable[[Chapter], Iterable[Finding]]] = {}


def rule(function: Callable[[Chapter], Iterable[Finding]]) -> Callable[[Chapter], Iterable[Finding]]:
    """Register a rule under its function's name."""
    RULES[function.__name__.replace("_", "-")] = function
    return function
