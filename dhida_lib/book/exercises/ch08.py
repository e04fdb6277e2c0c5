"""The checks of Chapter 8: dead bits, a leaky f, a clipped straight-through sign."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close

__all__: list[str] = []

POINTS = [-3.0, -1.5, -0.5, -0.25, 0.0, 0.25, 0.75, 1.25, 4.0]


def _gradient(function: Any, u: Tensor, what: str) -> Tensor:
    """The gradient of the sum of ``function(u)``; says so where the answer lets none through."""
    u = u.clone().requires_grad_()
    out = function(u)
    expect(isinstance(out, Tensor), f"{what} should be a tensor, but is a {type(out).__name__}")
    if not out.requires_grad:
        raise Wrong(f"{what} has the right values, but lets no gradient through (is it detached?)")
    out.sum().backward()
    expect(u.grad is not None, f"{what} has a gradient, but none that reaches u")
    assert u.grad is not None
    return u.grad


@exercise("8.1")
def ex_8_1(answer: Any) -> str:
    """`dead_bits(u)`: True for each column whose numbers all lie beyond ±1."""
    u = torch.tensor([[2.0, -3.0, 0.5, -1.0], [1.5, 1.2, 4.0, 2.0], [-1.1, -1.3, -2.0, 3.0]])  # 3×4
    got = answer(u)
    expect(isinstance(got, Tensor), f"the answer should be a tensor, but is a {type(got).__name__}")
    expect(got.shape == (4,), f"u is 3×4, so there are 4 bits; your answer has shape {tuple(got.shape)}")
    expect(got.dtype == torch.bool, f"the answer should hold True and False, but its dtype is {got.dtype}")
    want = [True, True, False, False]
    if not got[0] or not got[1]:
        raise Wrong("a bit beyond 1 on either side is dead: look at |u|, not at u")
    expect(not got[2], "bit 2 has one number inside (−1, 1): one living number keeps a bit alive")
    expect(not got[3], "bit 3 has a number at exactly −1, where our f has gradient 1: it is alive")
    for n, k in ((1, 3), (6, 2), (5, 7)):
        u = 2 * torch.randn(n, k)
        expect(torch.equal(answer(u), (u.abs() > 1).all(dim=0)), f"wrong for a random u of shape {n}×{k}")
    return f"four bits by hand {want} and three random batches"


@exercise("8.2")
def ex_8_2(answer: Any) -> str:
    """`leaky_piecewise(u, a)`: f inside, slope a outside, no jump."""
    u = torch.tensor(POINTS)
    for a in (0.1, 0.5):
        want = u.clamp(-1, 1) + a * (u - u.clamp(-1, 1))
        got = answer(u, a)
        inside = u.abs() < 1
        expect_close(got[inside], u[inside], f"inside (−1, 1), with a = {a}, the value")
        near = answer(torch.tensor([-1.0001, 1.0001]), a)
        expect_close(near, torch.tensor([-1.0, 1.0]), "just outside ±1 (no jump there!), the value", 1e-3)
        expect_close(got, want, f"with a = {a}, the value")
        slope = torch.where(inside, 1.0, a)
        expect_close(
            _gradient(lambda x, a=a: answer(x, a), u, "the answer"), slope, f"with a = {a}, the slope"
        )
    error = expect_close(
        answer(torch.tensor([[5.0, -5.0]]), 0.0), torch.tensor([[1.0, -1.0]]), "a = 0, the value"
    )
    return f"values, no jump, slopes; a = 0 is f itself (difference {error:.0e})"


@exercise("8.3")
def ex_8_3(answer: Any) -> str:
    """`clipped_straight_through(u)`: sign forward, gradient of f backward."""
    u = torch.tensor(POINTS)
    want = torch.where(u >= 0, 1.0, -1.0)
    got = answer(u)
    expect(isinstance(got, Tensor), f"the answer should be a tensor, but is a {type(got).__name__}")
    expect(not bool((got == 0).any()), "it gives 0 at u = 0; Eq. 2 says +1")
    expect(bool((got.abs() == 1).all()), "going forward it must hold exactly −1 and +1")
    expect_close(got, want, "the value")
    gradient = _gradient(answer, u, "the answer")
    expect(
        not bool((gradient[u.abs() > 1] != 0).any()),
        "the gradient must be 0 where |u| > 1; you let it through everywhere",
    )
    expect(not bool((gradient == 0).all()), "the gradient is 0 everywhere: the sign itself gives none")
    expect_close(gradient, (u.abs() <= 1).float(), "the gradient")
    error = expect_close(answer(torch.randn(2, 5)).abs(), torch.ones(2, 5), "|value| for a 2×5 input")
    return f"exact codes going forward, the gradient of f going backward (difference {error:.0e})"
