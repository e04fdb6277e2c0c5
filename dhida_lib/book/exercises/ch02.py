"""Checks of Chapter 2: similarity with several labels, an audit of a split, the level of chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dhida_lib.book.checks import exercise, expect, expect_close
from dhida_lib.labels import similarity

__all__: list[str] = []


@exercise("2.1")
def similar(answer: Any) -> str:
    """At least one label in common, for two sides of unequal size."""
    a = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]])  # 5×4
    b = torch.tensor([[0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 1]])  # 3×4
    got = answer(a, b)
    expect(isinstance(got, torch.Tensor), f"the answer should be a tensor, but is a {type(got).__name__}")
    expect(
        got.shape == (5, 3),
        f"the shape should be n×m = (5, 3), one row for each of a, not {tuple(got.shape)}",
    )
    expect(
        got.dtype == torch.bool, f"the answer should be boolean, not {got.dtype}: compare the counts with 0"
    )
    want = similarity(a, b)
    for i, j in torch.nonzero(got != want).tolist():
        truth = "share a label" if want[i, j] else "share no label"
        expect(False, f"{a[i].tolist()} and {b[j].tolist()} {truth}, but you say {bool(got[i, j])}")
    big = (torch.rand(17, 6) < 0.3).long(), (torch.rand(29, 6) < 0.3).long()
    expect_close(answer(*big).long(), similarity(*big).long(), "S of random labels")
    return "boolean n×m, right for one, several and no labels"


def _cases() -> list[tuple[str, tuple[list[int], list[int], list[int]], set[str]]]:
    """Splits of twelve rows with labels 0 1 2 0 1 2 …, and their problems."""
    mixed = [8, 6, 10, 7, 11, 9]
    return [
        ("a sound split", ([0, 1, 2], [3, 4, 5], mixed), set()),
        ("the wide reading, which is sound", ([0, 1, 2], [3, 4, 5], [*mixed, 4, 3, 5]), set()),
        ("a query in the database", ([0, 1, 2], [3, 4, 5], [*mixed, 1]), {"leak"}),
        ("a query in the training set", ([0, 1, 2], [3, 4, 5, 0], mixed), {"leak"}),
        ("two queries of class 0 and one of class 1 and 2", ([0, 3, 1, 2], [4, 5], mixed), {"unbalanced"}),
        ("no query of the last class", ([0, 1], [3, 4, 5], mixed), {"unbalanced"}),
        ("a database sorted by class", ([0, 1, 2], [3, 4, 5], [9, 6, 10, 7, 8, 11]), {"sorted"}),
        (
            "everything wrong at once",
            ([0, 1, 9], [3, 4, 5], [9, 6, 10, 7, 8, 11]),
            {"leak", "unbalanced", "sorted"},
        ),
    ]


@exercise("2.2")
def audit(answer: Any) -> str:
    """The three problems, alone and together, and no false alarm."""
    labels = np.arange(12) % 3
    for what, parts, want in _cases():
        got = answer(*(np.array(part) for part in parts), labels.copy())
        expect(isinstance(got, set), f"the answer should be a Python set, but is a {type(got).__name__}")
        missed, false = sorted(want - got), sorted(map(str, got - want))
        expect(not missed, f"for {what} you miss {missed}")
        expect(not false, f"for {what} you report {false}, which is not so")
    return f"{len(_cases())} splits, each with its problems and no others"


@exercise("2.3")
def chance(answer: Any) -> str:
    """The mean share of right answers, for balanced and for uneven classes."""
    even = np.repeat(np.arange(5), 2), np.repeat(np.arange(5), 7)
    expect_close(answer(*even), 0.2, "chance for five equal classes")
    query, database = np.array([0, 0, 0, 1, 2]), np.repeat([0, 1, 3], [6, 3, 11])
    want = (3 * 6 / 20 + 3 / 20 + 0) / 5
    error = expect_close(answer(query, database), want, "chance for classes of unequal size")
    return f"equal and unequal classes (largest difference {error:.1e})"
