"""Checks of Chapter 13's exercises: evaluating trained codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close


@exercise("13.1")
def ex_13_1(answer: Any) -> str:
    """Positions of the first results, ties by row number."""
    distance = np.array([2, 0, 3, 1, 1, 0, 2, 1, 0])
    rows = np.array([4, 90, 1, 33, 12, 7, 2, 50, 61])
    for m in (1, 5, 9):
        got = answer(distance.copy(), rows.copy(), m)
        got = torch.as_tensor(np.array(got))
        expect(got.shape == (m,), f"asked for {m} results, got something of shape {tuple(got.shape)}")
        inside = bool(((got >= 0) & (got < 9)).all())
        expect(inside, "the results are positions 0 … n−1, not row numbers of the source")
        own = distance[got.long().numpy()].tolist()
        expect(
            own == sorted(distance.tolist())[:m],
            f"the distances of your results are {own}: not nearest first",
        )
        want = np.lexsort((rows, distance))[:m]
        expect_close(got, want, f"the list of {m} positions (equal distances: smaller row number first)")
    return "three lengths, three ties"


@exercise("13.2")
def ex_13_2(answer: Any) -> str:
    """The mean over classes."""
    ap = torch.tensor([0.9, 0.7, 0.8, 0.8, 0.2, 0.1, 0.6], dtype=torch.float64)
    labels = torch.tensor([5, 5, 5, 5, 2, 2, 9])
    want = (0.8 + 0.15 + 0.6) / 3
    expect_close(answer(ap, labels), want, "the mean over three classes with 4, 2 and 1 queries")
    expect_close(answer(ap[:4], labels[:4]), 0.8, "the mean over a single class")
    return "classes of unequal size, ids that do not occur"


@exercise("13.3")
def ex_13_3(answer: Any) -> str:
    """Classes in the ball."""
    distance = torch.tensor(
        [[0, 2, 3, 2, 1, 5, 4], [2, 6, 6, 6, 6, 6, 6], [3, 4, 5, 3, 3, 6, 3], [1, 0, 2, 2, 2, 2, 3]]
    )
    q_labels, d_labels = torch.tensor([1, 1, 0, 2]), torch.tensor([1, 0, 1, 0, 1, 2, 2])
    want = torch.tensor([[0, 0, 0], [1 / 4, 3 / 4, 0], [1 / 3, 1 / 2, 1 / 6]], dtype=torch.float64)
    expect_close(
        answer(distance, q_labels, d_labels, 3, 2), want, "the table for radius 2 (class 0 has an empty ball)"
    )
    want = torch.tensor([[0, 0, 0], [0, 1 / 2, 0], [1, 0, 0]], dtype=torch.float64)
    expect_close(
        answer(distance, q_labels, d_labels, 3, 0), want, "the table for radius 0 (two balls are empty)"
    )
    return "two radii, with balls of unequal size and empty ones"


@exercise("13.4")
def ex_13_4(answer: Any) -> str:
    """The paired standard error."""
    a = torch.rand(11, dtype=torch.float64)
    b = 0.8 * a + 0.1 * torch.rand(11, dtype=torch.float64)
    for x, y, what in [(a, b, "a over b"), (b, a, "b over a")]:
        got = answer(x, y)
        try:
            mean, error = got
        except (TypeError, ValueError) as problem:
            raise Wrong("give back two numbers: the mean difference and its standard error") from problem
        difference = (x - y).numpy()
        expect_close(mean, difference.mean(), f"the mean difference ({what})")
        expect_close(error, difference.std(ddof=1) / 11**0.5, f"the standard error ({what})")
    return "eleven queries, both signs"
