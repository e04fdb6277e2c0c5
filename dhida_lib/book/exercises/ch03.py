"""Checks of Chapter 3: distances, AP@k, the Hamming ball, expected P@N."""

from __future__ import annotations

from typing import Any

import torch

from dhida_lib.book.checks import exercise, expect, expect_close


@exercise("3.1")
def ex_3_1(answer: Any) -> str:
    """Hamming distances of all pairs."""
    q, d = (torch.randint(0, 2, (n, 6)) * 2.0 - 1 for n in (3, 5))
    want = (q[:, None] != d).sum(-1)  # 3×5
    expect_close(answer(q, d), want, "the table of distances (3 queries, 5 items, 6 bits)")
    own = torch.as_tensor(answer(q, q))
    expect(bool((own.diagonal() == 0).all()), "a code must have distance 0 to itself")
    return "15 pairs equal the counted bits"


@exercise("3.2")
def ex_3_2(answer: Any) -> str:
    """AP@k divided by min(R, k)."""
    cases = [
        ([1, 0, 1, 0, 1, 0], 6, 34 / 45, "a ranking without a cut"),
        ([1, 0, 0, 0, 0, 1, 1, 1, 1, 1], 5, 1 / 5, "one early hit and a cut (R above k)"),
        ([0, 1, 0, 0, 1, 1], 4, 1 / 6, "a cut with R below k"),
        ([0, 0, 1, 1], 2, 0.0, "a ranking without a hit in the top k"),
        ([0, 0, 0], 2, 0.0, "a ranking without any relevant item"),
    ]
    for relevance, k, want, what in cases:
        expect_close(answer(torch.tensor(relevance), k), want, f"AP@{k} of {what}")
    return f"{len(cases)} rankings, with and without a cut"


@exercise("3.3")
def ex_3_3(answer: Any) -> str:
    """P@H≤radius, the empty ball counts 0."""
    distance = torch.tensor([[0, 2, 3, 4], [1, 1, 2, 2], [2, 5, 5, 6]])
    relevant = torch.tensor([[1, 0, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
    expect_close(answer(distance, relevant, 2), (1 / 2 + 1 / 4 + 1) / 3, "P@H≤2 (no ball is empty)")
    want = (1 + 1 / 2 + 0) / 3
    expect_close(answer(distance, relevant, 1), want, "P@H≤1 (the third query's ball is empty)")
    return "means over three queries, one of them with an empty ball"


@exercise("3.4")
def ex_3_4(answer: Any) -> str:
    """Expected P@N of one query."""
    counts, relevant = [1, 3, 0, 4, 2], [1, 1, 0, 3, 0]
    slots = [p / c for c, p in zip(counts, relevant, strict=True) for _ in range(c)]
    for n in range(1, len(slots) + 1):
        expect_close(answer(counts, relevant, n), sum(slots[:n]) / n, f"the expected P@{n}")
    expect_close(answer([0, 0, 2], [0, 0, 1], 1), 0.5, "the expected P@1 with nothing at distances 0 and 1")
    return f"every N from 1 to {len(slots)}, and empty distances"
