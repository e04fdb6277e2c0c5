"""Checks of Chapter 2: whose labels these are, an audit of a split, chance, several and graded labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close, expect_report

__all__: list[str] = []


@exercise("2.1")
def similarity_of(answer: Any) -> str:
    """S in the order of the data set, from batches in any order."""
    labels = torch.tensor([4, 4, 7, 2, 7, 4, 9])
    order = torch.tensor([5, 2, 0, 6, 3, 1, 4])  # a shuffle that is not its own inverse
    batches = [(rows, labels[rows]) for rows in order.split([3, 2, 2])]
    arrived = labels[order]
    sorted_rows = labels[order][order]  # reads where it should write
    want = labels[:, None] == labels

    def matrix(ids: torch.Tensor) -> torch.Tensor:
        return (ids[:, None] == ids).double()

    slips = {
        "its rows are in the order in which the images arrived, not in that of the data set": matrix(arrived),
        "labels[rows] is the opposite permutation: assign to ordered[rows]": matrix(sorted_rows),
        "only the rows are put in order; the columns belong to the same images": (
            labels[:, None] == arrived
        ).double(),
        "only the columns are put in order; the rows belong to the same images": (
            arrived[:, None] == labels
        ).double(),
        "this says where labels differ": 1 - matrix(labels),
    }
    got = answer(batches)
    expect(isinstance(got, torch.Tensor), f"the answer should be a tensor, but is a {type(got).__name__}")
    expect_close(got.double(), want.double(), "S from batches in a shuffled order", slips=slips)
    one = answer([(torch.arange(7), labels)])
    expect_close(one.double(), want.double(), "S from one batch in order")
    return "seven images in three shuffled batches, and in one"


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
        ("a database whose classes only go down", ([0, 1, 2], [3, 4, 5], [8, 11, 7, 10, 6, 9]), set()),
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
    """The mean share of right answers, for uneven and for balanced classes."""
    query, database = np.array([0, 0, 0, 1, 2]), np.repeat([0, 1, 3], [6, 3, 11])
    sizes = np.bincount(database) / len(database)  # share of each class
    want = float((query[:, None] == database).mean())
    slips = {
        "the classes are not equally large, so 1 / (their number) is not enough": 1 / 3,
        "this is the chance of two images of the database; a query need not be like them": (sizes**2).sum(),
        "this is the number of right answers; divide by the size of the database": want * len(database),
        "this is the share of the largest class, whoever asks": sizes.max(),
        "each class counts once here; the mean runs over the queries": sizes[[0, 1, 2]].mean(),
    }
    error = expect_close(answer(query, database), want, "chance for classes of unequal size", slips=slips)
    even = np.repeat(np.arange(5), 2), np.repeat(np.arange(5), 7)
    expect_close(answer(*even), 0.2, "chance for five equal classes")
    return f"equal and unequal classes (largest difference {error:.1e})"


@exercise("2.4")
def share_probability(answer: Any) -> str:
    """The chance that two random label sets meet."""
    cases = [(3, 4, 10), (1, 1, 10), (2, 5, 21), (0, 4, 10), (6, 7, 10)]
    for a, b, c in cases:
        avoid = math.comb(c - a, b) / math.comb(c, b)
        slips = {
            "this is the chance that they share nothing": avoid,
            "ab/c is the mean number of shared labels, not the chance of at least one": a * b / c,
            "no label stands twice in a set: the labels are drawn without putting back": 1 - (1 - a / c) ** b,
            "this is the chance to share exactly one label": a
            * math.comb(c - a, b - 1 if b else c)
            / math.comb(c, b),
            "the second set is one of C(c, b), not of C(c, a)": 1 - math.comb(c - a, b) / math.comb(c, a),
        }
        expect_close(
            answer(a, b, c), 1 - avoid, f"the probability for a = {a}, b = {b}, c = {c}", 1e-9, slips
        )
    return f"{len(cases)} pairs of sizes, also where a label in common is certain or impossible"


@exercise("2.5")
def graded(answer: Any) -> str:
    """The cosine of multi-hot rows."""
    a = torch.tensor([[1, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])  # 4×5
    b = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 1, 0]])  # 3×5
    x, y = a.double(), b.double()
    shared = x @ y.T
    size_a, size_b = x.sum(1)[:, None], y.sum(1)  # labels of each row
    root = (size_a * size_b).sqrt()
    want = shared / root.clamp(min=1)
    union = (size_a + size_b - shared).clamp(min=1)
    slips = {
        "an image without labels has the length 0, and 0/0 is nan: its similarity is 0": shared / root,
        "this is the number of shared labels; divide by both lengths": shared,
        "the length of a row of k ones is √k, not k": shared / (size_a * size_b).clamp(min=1),
        "this divides by the labels of either (Jaccard), not by the two lengths": shared / union,
        "this is S of 'at least one label': the cosine has values between": (shared > 0).double(),
        "rows and columns are swapped: a row is an image of a": want.T,
        "only the rows of a are divided by their length": shared / size_a.sqrt().clamp(min=1),
        "only the rows of b are divided by their length": shared / size_b.sqrt().clamp(min=1),
    }
    try:
        got = answer(a, b)
    except RuntimeError as error:
        raise Wrong(f"whole numbers have no length with a root: call .float() first ({error})") from error
    off = expect_close(got, want, "the graded similarity", slips=slips)
    return f"4 images against 3, one without labels on each side (largest difference {off:.1e})"


@exercise("2.6")
def gain_of_wide(answer: Any) -> str:
    """The report on the wide reading."""
    return expect_report(answer, "plain", "changed")
