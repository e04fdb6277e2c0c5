"""Checks of Chapter 6's exercises: channel attention."""

from __future__ import annotations

from typing import Any

import torch

from dhida_lib.book.checks import exercise, expect, expect_close


@exercise("6.1")
def ex_6_1(answer: Any) -> str:
    """X of Eq. 7 in both readings."""
    A = torch.randn(2, 5, 3, 4, dtype=torch.float64)  # batch×C×H×W
    error = 0.0
    for maps in (A, A[:1]):
        flat = maps.flatten(2)
        N = flat @ flat.transpose(1, 2)  # [b, i, j]
        for axis, reduce in ((1, "column"), (2, "row")):
            t = (N.amax(axis, keepdim=True) + N.mean(axis, keepdim=True)) / 2
            X = (t - N).softmax(1).transpose(1, 2)  # [b, j, i]
            got = answer(maps.clone(), reduce)
            what = f'X with reduce="{reduce}" and a batch of {len(maps)}'
            if isinstance(got, torch.Tensor) and got.shape == X.shape:
                turned = torch.allclose(got.double(), X.transpose(1, 2))
                expect(not turned, f"{what} is transposed: its columns sum to 1, its rows should")
            error = max(error, expect_close(got, X, what))
    return f"column and row, batches of 2 and 1 (largest difference {error:.1e})"


@exercise("6.2")
def ex_6_2(answer: Any) -> str:
    """Exponential of the entropy of each row."""
    known = torch.tensor([[0.25] * 4, [0.5, 0, 0.5, 0], [0, 1.0, 0, 0], [0.1, 0.2, 0.3, 0.4]]).double()
    random = torch.randn(3, 5, 5, dtype=torch.float64).softmax(2)
    error = 0.0
    for X, what in ((random, "the effective number of random rows"), (known[None], "that of rows with 0s")):
        want = torch.special.entr(X).sum(-1).exp()
        error = max(error, expect_close(answer(X.clone()), want, what))
    return f"random rows, uniform ones and rows with zeros (largest difference {error:.1e})"


@exercise("6.3")
def ex_6_3(answer: Any) -> str:
    """E of Eq. 8 with softmax(τ·N)."""
    A = torch.randn(2, 5, 3, 4, dtype=torch.float64)  # batch×C×H×W
    flat = A.flatten(2)
    N = flat @ flat.transpose(1, 2)
    error = 0.0
    for tau, beta in ((1.0, 0.7), (-1.0, 0.7), (0.0, 0.7), (-0.3, -2.0), (-1.0, 0.0)):
        X = (tau * N).softmax(1).transpose(1, 2)  # [b, j, i]
        E = beta * (X @ flat).view_as(A) + A
        what = f"E with τ = {tau:g} and β = {beta:g}"
        error = max(error, expect_close(answer(A.clone(), tau, beta), E, what))
    scalar = torch.tensor(-0.5, dtype=torch.float64, requires_grad=True)
    E = answer(A, scalar, 0.7)
    expect(E.requires_grad, "no gradient reaches τ, so it could not be learnt: is it detached?")
    (slope,) = torch.autograd.grad(E.pow(3).sum(), scalar, allow_unused=True)
    expect(slope is not None and slope != 0, "no gradient reaches τ, so it could not be learnt")
    return f"five pairs of τ and β, and τ gets a gradient (largest difference {error:.1e})"
