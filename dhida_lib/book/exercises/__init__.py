"""The checks of every chapter's exercises: one module a chapter, read when it is first asked for.

A module ``chNN.py`` holds functions marked with `dhida_lib.book.checks.exercise`:

    @exercise("5.1")
    def ex_5_1(answer):
        got = answer(torch.randn(2, 3, 4, 5))
        error = expect_close(got, …, "the map")
        return f"shape and values (largest difference {error:.1e})"
"""

from __future__ import annotations

import importlib
import pkgutil

from dhida_lib._validate import whole

__all__ = ["chapters", "load"]


def chapters() -> list[int]:
    """The chapters that have checks.

    Returns:
        Their numbers, in order.
    """
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(int(name[2:]) for name in names if name.startswith("ch") and name[2:].isdigit())


def load(chapter: int) -> None:
    """Read the module of one chapter, which registers its checks; a chapter without one is left alone.

    Args:
        chapter: its number.

    Raises:
        ValueError: if ``chapter`` is no integer ≥ 0.
    """
    if whole("chapter", chapter) in chapters():
        importlib.import_module(f"{__name__}.ch{chapter:02d}")
