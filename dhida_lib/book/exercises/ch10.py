"""Checks of Chapter 10, gradients by hand."""

from __future__ import annotations

from typing import Any

import torch

from dhida_lib.book.checks import exercise, expect, expect_close
from dhida_lib.losses import pairwise_nll
from dhida_lib.quantization import piecewise

READINGS = ("code", "bit")


@exercise("10.1")
def ex_10_1(answer: Any) -> str:
    """The gradient of L1 (batch pairs, a mean) by the outputs u, through f."""
    worst = 0.0
    for name, spread, symmetric in (
        ("codes inside [−1, 1], S symmetric", 0.3, True),
        ("codes inside [−1, 1], S not symmetric", 0.3, False),
        ("codes on both sides of ±1", 1.5, True),
    ):
        u = (spread * torch.randn(5, 3, dtype=torch.float64)).requires_grad_()  # 5×3
        if spread < 1:
            u = u.detach().clamp(-0.9, 0.9).requires_grad_()
        s = (torch.rand(5, 5) < 0.4).double()  # 5×5
        if symmetric:
            s = s.maximum(s.T)
        v = piecewise(u)  # 5×3
        (want,) = torch.autograd.grad(pairwise_nll(0.5 * v @ v.T, s), u)
        worst = max(worst, expect_close(answer(u.detach(), s), want, f"the gradient ({name})", 1e-10))
    return f"equal to autograd (largest difference {worst:.1e}), inside and outside [−1, 1]"


@exercise("10.2")
def ex_10_2(answer: Any) -> str:
    """A linear layer backwards: gradients of W, b and psi from that of u."""
    for B, d, K in ((5, 4, 3), (2, 3, 6), (4, 3, 3)):
        psi = torch.randn(B, d, dtype=torch.float64, requires_grad=True)
        W = torch.randn(d, K, dtype=torch.float64, requires_grad=True)
        b = torch.randn(K, dtype=torch.float64, requires_grad=True)
        g = torch.randn(B, K, dtype=torch.float64)
        want = torch.autograd.grad(psi @ W + b, (W, b, psi), grad_outputs=g)
        got = answer(psi.detach(), W.detach(), g)
        expect(
            isinstance(got, (tuple, list)) and len(got) == 3, "it should give three gradients: of W, b and ψ"
        )
        for name, mine, theirs in zip(("W", "b", "ψ"), got, want, strict=True):
            expect_close(mine, theirs, f"the gradient of {name} (B = {B}, d = {d}, K = {K})", 1e-10)
    return "the gradients of W, b and ψ for three sets of sizes"


@exercise("10.3")
def ex_10_3(answer: Any) -> str:
    """The central finite difference for every entry of a tensor."""
    target = torch.randn(2, 3, dtype=torch.float64)

    def cubic(x: torch.Tensor) -> torch.Tensor:
        return ((x - target) ** 3).sum() + x[0, 0] * x[1, 2]

    x = torch.randn(2, 3, dtype=torch.float64)  # 2×3
    before = x.clone()
    got = answer(cubic, x, 1e-4)
    expect(torch.equal(x, before), "x is changed after the call: put each entry back, or work on a copy")
    point = x.clone().requires_grad_()
    (want,) = torch.autograd.grad(cubic(point), point)
    # The central difference of a cube is off by ε² exactly, the one-sided one by about ε.
    error = expect_close(got, want, "the gradient", 1e-7)
    wide = answer(cubic, x, 0.5)
    want_wide = want + 0.25  # (x+ε)³ − (x−ε)³ over 2ε is 3x² + ε²
    expect_close(wide, want_wide, "the difference for ε = 0.5 (it should use the ε that it is given)", 1e-9)
    return f"a 2×3 tensor (largest difference {error:.1e}), and x is left alone"


@exercise("10.4")
def ex_10_4(answer: Any) -> str:
    """The gradient of the balance term by u, through f, in both readings."""
    u = 1.2 * torch.randn(4, 6, dtype=torch.float64)  # 4×6
    u[0, 0], u[1, 1] = 1.7, 0.2  # at least one on each side
    for reading in READINGS:
        point = u.clone().requires_grad_()
        means = piecewise(point).mean(dim=1 if reading == "code" else 0)  # B or K
        (want,) = torch.autograd.grad(means.square().mean(), point)
        expect_close(answer(u, reading), want, f"the gradient of the balance per {reading}", 1e-10)
    return "both readings, on 4 codes of 6 bits, some beyond ±1"
