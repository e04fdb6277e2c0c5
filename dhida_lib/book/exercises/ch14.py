"""Checks of Chapter 14's exercises: the eight baselines."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from dhida_lib.book.checks import exercise, expect, expect_close
from dhida_lib.losses import DSHLoss


@exercise("14.1")
def ex_14_1(answer: Any) -> str:
    """The stable log cosh: values and gradients near 0 and far out."""
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)  # 3×5, both signs
    got = answer(x)
    error = expect_close(got, x.cosh().log(), "log cosh of moderate numbers")
    expect(got.requires_grad, "no gradient flows to x")
    expect_close(torch.autograd.grad(got.sum(), x)[0], x.tanh(), "its gradient, which is tanh x")
    for value in (0.0, 50.0, 89.0, 2000.0, -2000.0):
        t = torch.tensor([value], requires_grad=True)
        got = answer(t)
        want = abs(value) - math.log(2) if value else 0.0
        expect_close(got, torch.tensor([want]), f"log cosh at x = {value:.0f}")
        slope = torch.autograd.grad(got.sum(), t)[0]
        expect_close(slope, torch.tanh(t), f"the gradient at x = {value:.0f}")
    return f"values (largest difference {error:.1e}) and gradients, finite up to |x| = 2000"


@exercise("14.2")
def ex_14_2(answer: Any) -> str:
    """HashNet's weights of similar and dissimilar pairs."""
    S = torch.tensor([[1, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.float64)  # 3×5
    got = answer(S.clone())
    expect_close(got, torch.where(S > 0, 15 / 3, 15 / 12), "the weights of 3 similar and 12 other pairs")
    total = [float((got * kind).sum()) for kind in (S, 1 - S)]
    expect(math.isclose(*total, rel_tol=1e-5), f"the two kinds weigh {total[0]:.3g} and {total[1]:.3g}")
    for kind, what in ((torch.ones(2, 3), "similar"), (torch.zeros(2, 3), "dissimilar")):
        expect_close(answer(kind), torch.ones(2, 3), f"the weights if all 6 pairs are {what}")
    return "both kinds weigh the same, and a batch of one kind is no trouble"


@exercise("14.3")
def ex_14_3(answer: Any) -> str:
    """Spearman's rank correlation with ties."""
    a = torch.tensor([0.80, 0.71, 0.33, 0.60, 0.52, 0.11], dtype=torch.float64)
    expect_close(answer(a, a**3), 1.0, "ρ of a list and its cubes (the order is the same)")
    expect_close(answer(a, -a), -1.0, "ρ of a list and its negative")
    b = torch.tensor([0.70, 0.90, 0.20, 0.25, 0.10, 0.15], dtype=torch.float64)
    expect_close(answer(a, b), 1 - 6 * 8 / (6 * 35), "ρ of two lists of six without ties")
    tied = torch.tensor([0.9, 0.7, 0.7, 0.5, 0.7], dtype=torch.float64)  # ranks 1, 3, 3, 5, 3
    plain = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0], dtype=torch.float64)  # ranks 1, 5, 2, 4, 3
    want = 6 / math.sqrt(8 * 10)
    expect_close(answer(tied, plain), want, "ρ of five values, three of them tied")
    expect_close(answer(plain, tied), want, "ρ with the two lists swapped")
    return "without ties, with ties, both directions"


@exercise("14.4")
def ex_14_4(answer: Any) -> str:
    """DSH's pair term of a batch against the filled rows of a bank."""
    u = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)  # 4×5
    bank = torch.randn(9, 5, dtype=torch.float64)  # 9×5
    filled = torch.tensor([1, 0, 1, 1, 0, 0, 1, 1, 0], dtype=torch.bool)  # 9
    bank[~filled] = 0
    bank.requires_grad_()
    y, Y = torch.tensor([0, 1, 2, 1]), torch.tensor([0, 0, 1, 2, 0, 0, 1, 0, 0])
    D = (u[:, None] - bank[filled].detach()).square().sum(2)  # 4×5
    far = F.relu(DSHLoss(5).margin - D)
    want = (0.5 * D.where(y[:, None] == Y[filled], far)).mean()
    got = answer(u, y, bank, Y, filled)
    error = expect_close(got, want, "the loss")
    expect(got.requires_grad, "no gradient flows to the batch u")
    mine, theirs = torch.autograd.grad(got, (u, bank), allow_unused=True)
    expect(mine is not None, "no gradient flows to the batch u")
    expect(theirs is None or not theirs.any(), "the bank gets a gradient: its rows are constants")
    expect_close(mine, torch.autograd.grad(want, u)[0], "the gradient of the batch")
    return f"value (difference {error:.1e}), gradient of the batch, none of the bank"
