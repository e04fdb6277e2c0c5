"""Checks of Chapter 9, the loss from likelihood."""

from __future__ import annotations

from typing import Any

import torch

from dhida_lib.book.checks import exercise, expect, expect_close
from dhida_lib.labels import similarity
from dhida_lib.losses import pairwise_nll


@exercise("9.1")
def ex_9_1(answer: Any) -> str:
    """The stable mean of log(1 + exp θ) − s·θ."""
    theta = torch.randn(3, 5, dtype=torch.float64)  # 3×5
    s = (torch.rand(3, 5) < 0.4).double()
    error = expect_close(answer(theta, s), pairwise_nll(theta, s), "the loss of moderate θ")
    for value in (60.0, 100.0, 1000.0, -1000.0):
        for similar in (0.0, 1.0):
            t = torch.tensor([value], requires_grad=True)
            one = torch.full((1,), similar)
            want = pairwise_nll(t, one)
            got = answer(t, one)
            case = f"θ = {value:.0f} and s = {similar:.0f}"
            expect_close(got, want, f"the loss at {case}")
            expect(got.requires_grad, f"no gradient flows from the loss to θ at {case}")
            grad = torch.autograd.grad(got, t)[0]
            expect_close(grad, torch.autograd.grad(want, t)[0], f"the gradient at {case}")
    return f"values (largest difference {error:.1e}), and finite with the right gradient up to |θ| = 1000"


@exercise("9.2")
def ex_9_2(answer: Any) -> str:
    """The two readings of Eq. 12."""
    v = torch.randn(4, 6, dtype=torch.float64).clamp(-1, 1) + 0.1  # 4×6
    got = answer(v)
    expect(isinstance(got, (tuple, list)) and len(got) == 2, "it should give two numbers: per code, per bit")
    expect_close(got[0], v.mean(dim=1).square().mean(), "the balance per code (the first)")
    expect_close(got[1], v.mean(dim=0).square().mean(), "the balance per bit (the second)")
    return "both readings, on 4 codes of 6 bits"


@exercise("9.3")
def ex_9_3(answer: Any) -> str:
    """L1 of a batch against the filled rows of a bank."""
    u = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)  # 4×5
    U = torch.randn(9, 5, dtype=torch.float64)  # 9×5
    filled = torch.tensor([1, 0, 1, 1, 0, 0, 1, 1, 0], dtype=torch.bool)  # 9
    U[~filled] = 0
    U.requires_grad_()
    y, Y = torch.tensor([0, 1, 2, 1]), torch.tensor([0, 0, 1, 2, 0, 0, 1, 0, 0])
    want = pairwise_nll(0.5 * u @ U[filled].detach().T, similarity(y, Y[filled]).double())
    got = answer(u, y, U, Y, filled)
    error = expect_close(got, want, "the loss")
    expect(got.requires_grad, "no gradient flows to the batch u")
    mine, theirs = torch.autograd.grad(got, (u, U), allow_unused=True)
    expect(mine is not None, "no gradient flows to the batch u")
    expect(theirs is None or not theirs.any(), "the bank U gets a gradient: its codes are constants")
    expect_close(mine, torch.autograd.grad(want, u)[0], "the gradient of the batch")
    return f"value (difference {error:.1e}), gradient of the batch, none of the bank"


@exercise("9.4")
def ex_9_4(answer: Any) -> str:
    """The largest factor by which codes near zero grow in one step."""
    for y, step in (
        (torch.arange(5).repeat_interleave(4), 20.0),
        (torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3]), 7.0),
    ):
        pull = (similarity(y).double() - 0.5) / len(y) ** 2  # B×B
        want = 1 + step * float(torch.linalg.eigvalsh(pull)[-1])
        sizes = ", ".join(str(n) for n in torch.bincount(y).tolist())
        expect_close(answer(y, step), want, f"the factor for classes of {sizes} images", 1e-4)
    return "classes of equal and of different sizes"
