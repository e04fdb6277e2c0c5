"""Checks of Chapter 5's exercises: position attention."""

from __future__ import annotations

import copy
from typing import Any

import torch

from dhida_lib.attention import PositionAttention
from dhida_lib.book.checks import exercise, expect, expect_close


@exercise("5.1")
def ex_5_1(answer: Any) -> str:
    """The sum of Eq. 5 for one position."""
    B, C = torch.randn(2, 3, 7, dtype=torch.float64)  # inner×N
    D = torch.randn(5, 7, dtype=torch.float64)  # C×N
    P = (-(B.T @ C)).softmax(0).T  # [j, i]
    error = 0.0
    for j in (0, 4):
        error = max(error, expect_close(answer(B, C, D, j), D @ P[j], f"the sum for j = {j}"))
    return f"two positions of a map with 7, D wider than B (largest difference {error:.1e})"


@exercise("5.2")
def ex_5_2(answer: Any) -> str:
    """Eq. 3 in both readings."""
    M = torch.randn(2, 4, 4, dtype=torch.float64)
    error = 0.0
    for batch in (M, M[:1]):
        for axis, reduce in ((1, "column"), (2, "row")):
            t = (batch.amax(axis, keepdim=True) + batch.mean(axis, keepdim=True)) / 2
            what = f'M̃ with reduce="{reduce}" and a batch of {len(batch)}'
            error = max(error, expect_close(answer(batch.clone(), reduce), t - batch, what))
    return f"column and row, batches of 2 and 1 (largest difference {error:.1e})"


@exercise("5.3")
def ex_5_3(answer: Any) -> str:
    """A copy whose map is softmax(+M)."""
    module = PositionAttention(5).double()
    torch.nn.init.constant_(module.alpha, 0.7)
    before = copy.deepcopy(module.state_dict())
    A = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    B, C, D = (conv(A).flatten(2) for conv in (module.query, module.key, module.value))
    P = (B.transpose(1, 2) @ C).softmax(1).transpose(1, 2)  # [b, j, i]
    E = 0.7 * (D @ P.transpose(1, 2)).view_as(A) + A
    new = answer(module)
    expect(
        isinstance(new, PositionAttention),
        f"the answer gives back a {type(new).__name__}, not a PositionAttention",
    )
    after = module.state_dict()
    expect(
        new is not module and all(torch.equal(after[name], before[name]) for name in before),
        "the old module was changed: work on a copy (copy.deepcopy)",
    )
    expect_close(new.attention_map(A), P, "the new module's map")
    error = expect_close(new(A), E, "the new module's output")
    return f"the map is softmax(+M), the old module is as it was (largest difference {error:.1e})"
