"""Checks of Chapter 14's exercises: the eight baselines."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dhida_lib.book.checks import exercise, expect, expect_close, expect_report
from dhida_lib.losses import DSHLoss


@exercise("14.1")
def ex_14_1(answer: Any) -> str:
    """The stable log cosh: values and gradients near 0 and far out."""
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)  # 3×5, both signs
    got = answer(x)
    y, size = x.detach(), x.detach().abs()
    slips = {
        "log 2 is missing: at 0 it should be 0": y.cosh().log() + math.log(2),
        "only the straight line |x| − log 2 is here; near 0 the bend is missing": size - math.log(2),
        "it is right for positive x only; log cosh is the same for x and −x": (
            y + F.softplus(-2 * y.clamp(min=0)) - math.log(2)
        ),
        "x in the place of 2x: the power that is left is exp(−2|x|)": size + F.softplus(-size) - math.log(2),
        "the absolute value is missing in the power: for negative x it grows": (
            size + F.softplus(-2 * y) - math.log(2)
        ),
    }
    error = expect_close(got, y.cosh().log(), "log cosh of moderate numbers", slips=slips)
    expect(got.requires_grad, "no gradient flows to x")
    expect_close(torch.autograd.grad(got.sum(), x)[0], x.tanh(), "its gradient, which is tanh x")
    for value in (0.0, 50.0, 89.0, 2000.0, -2000.0):
        t = torch.tensor([value], requires_grad=True)
        got = answer(t)
        expect(
            bool(torch.as_tensor(got).isfinite().all()),
            f"at x = {value:.0f} it is not finite: cosh itself overflows, so take the large power out first",
        )
        want = torch.tensor([abs(value) - math.log(2) if value else 0.0])
        expect(
            float(torch.as_tensor(got).detach()) > float(want) - 1,
            f"at x = {value:.0f} the value is too small: was x clamped? Beyond a clamp the gradient is 0",
        )
        expect_close(got, want, f"log cosh at x = {value:.0f}")
        slope = torch.autograd.grad(got.sum(), t)[0]
        expect_close(slope, torch.tanh(t), f"the gradient at x = {value:.0f}")
    return f"values (largest difference {error:.1e}) and gradients, finite up to |x| = 2000"


@exercise("14.2")
def ex_14_2(answer: Any) -> str:
    """HashNet's weights of similar and dissimilar pairs."""
    S = torch.tensor([[1, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]], dtype=torch.float64)  # 3×5
    got = answer(S.clone())
    ones, zeros = S.sum(1, keepdim=True), (1 - S).sum(1, keepdim=True)  # 3×1
    slips = {
        "the two weights have changed places": torch.where(S > 0, 15 / 11, 15 / 4),
        "the pairs were counted row by row; |S| is the number in the whole batch": torch.where(
            S > 0, 5 / ones, 5 / zeros
        ),
        "only the similar pairs have a weight; the dissimilar ones need theirs, too": torch.where(
            S > 0, 15 / 4, 1.0
        ),
        "this is the share of each kind; the weight is its inverse": torch.where(S > 0, 4 / 15, 11 / 15),
        "this is 1 over the count; the number of all pairs is missing": torch.where(S > 0, 1 / 4, 1 / 11),
        "all weights are 1": torch.ones_like(S),
        "this is the weight of some ports, the number of dissimilar pairs for each similar one": torch.where(
            S > 0, 11 / 4, 1.0
        ),
    }
    what = "the weights of 4 similar and 11 other pairs"
    expect_close(got, torch.where(S > 0, 15 / 4, 15 / 11), what, slips=slips)
    for kind, what in ((torch.ones(2, 3), "similar"), (torch.zeros(2, 3), "dissimilar")):
        got = answer(kind)
        expect(
            bool(torch.as_tensor(got).isfinite().all()),
            f"if all pairs are {what}, a weight is not finite: the count of the other kind is 0",
        )
        expect_close(got, torch.ones(2, 3), f"the weights if all 6 pairs are {what}")
    return "both kinds weigh the same, and a batch of one kind is no trouble"


def _ranks(x: Tensor) -> Tensor:
    """1 for the largest; tied values share the mean."""
    return (x > x[:, None]).sum(1) + ((x == x[:, None]).sum(1) + 1) / 2


def _by_place(x: Tensor) -> Tensor:
    """Ranks in which a tie is broken by the position."""
    return x.argsort(stable=True).argsort().double()


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """The correlation of two lists."""
    return torch.corrcoef(torch.stack([a, b]).double())[0, 1]


@exercise("14.3")
def ex_14_3(answer: Any) -> str:
    """Spearman's rank correlation with ties."""
    a = torch.tensor([0.80, 0.71, 0.33, 0.60, 0.52, 0.11], dtype=torch.float64)
    b = torch.tensor([0.70, 0.90, 0.20, 0.25, 0.10, 0.15], dtype=torch.float64)
    tied = torch.tensor([0.9, 0.7, 0.7, 0.5, 0.7], dtype=torch.float64)  # ranks 1, 3, 3, 5, 3
    plain = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0], dtype=torch.float64)  # ranks 1, 5, 2, 4, 3
    for x, y, what in (
        (a, b, "two lists of six without ties"),
        (tied, plain, "five values, three of them tied"),
        (plain, tied, "the same with the two lists swapped"),
    ):
        A, B = _ranks(x), _ranks(y)
        rho, n = _correlation(A, B), len(x)
        best = [(z > z[:, None]).sum(1).double() for z in (x, y)]
        worst = [(z >= z[:, None]).sum(1).double() for z in (x, y)]
        slips = {
            "this is the correlation of the values, not of their ranks": _correlation(x, y),
            "one `argsort` gives the order; the ranks need a second one (or a count)": _correlation(
                x.argsort().double(), y.argsort().double()
            ),
            "one of the two lists is ranked from the other end": -rho,
            "this is ρ²": rho**2,
            "tied values got different ranks, by their place; they share the mean": _correlation(
                _by_place(x), _by_place(y)
            ),
            "tied values got the best of their ranks; they share the mean": _correlation(*best),
            "tied values got the worst of their ranks; they share the mean": _correlation(*worst),
            "the formula with 6Σd² holds only without ties": 1 - 6 * (A - B).square().sum() / (n**3 - n),
        }
        expect_close(answer(x.clone(), y.clone()), rho, f"ρ of {what}", slips=slips)
    expect_close(answer(a, a**3), 1.0, "ρ of a list and its cubes (the order is the same)")
    expect_close(answer(a, -a), -1.0, "ρ of a list and its negative")
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
    margin = DSHLoss(5).margin

    def term(u: Tensor, rows: Tensor, like: Tensor, margin: float = margin) -> Tensor:
        D = (u[:, None] - rows).square().sum(2)
        return 0.5 * D.where(like, F.relu(margin - D))

    like = y[:, None] == Y
    constant, some = bank.detach(), like[:, filled]  # 9×5, 4×5
    pairs = term(u, constant[filled], some)  # 4×5
    want = pairs.mean()
    still, rows = u.detach(), constant[filled]
    slips = {
        "the empty rows count as pairs": term(still, constant, like).mean(),
        "it is divided by all rows of the bank; divide by the pairs that exist": pairs.sum() / like.numel(),
        "the ½ is missing": 2 * want,
        "the margin should be 2K: D of two codes is four times their Hamming distance": term(
            still, rows, some, margin / 2
        ).mean(),
        "dissimilar pairs are pushed beyond the margin: max(m − D, 0) has gone": term(
            still, rows, some, 1e3
        ).mean(),
        "similar and dissimilar pairs have changed places": term(still, rows, ~some).mean(),
        "this is the sum over the pairs, not the mean": pairs.sum(),
    }
    got = answer(u, y, bank, Y, filled)
    error = expect_close(got, want, "the loss", slips=slips)
    expect(got.requires_grad, "no gradient flows to the batch u")
    mine, theirs = torch.autograd.grad(got, (u, bank), allow_unused=True)
    expect(mine is not None, "no gradient flows to the batch u")
    expect(theirs is None or not theirs.any(), "the bank gets a gradient: its rows are constants")
    expect_close(mine, torch.autograd.grad(want, u)[0], "the gradient of the batch")
    return f"value (difference {error:.1e}), gradient of the batch, none of the bank"


@exercise("14.5")
def ex_14_5(answer: Any) -> str:
    """Where the push of a dissimilar pair has fallen to a share."""
    q = 0.05 + 0.9 * torch.rand(6, dtype=torch.float64)
    odds = (q / (1 - q)).log()
    error = 0.0
    for K, m in ((16, 3.0), (64, 0.0)):
        want = K / 2 + m - odds
        slips = {
            "the sign of the odds: a smaller push lies further out": K / 2 + m + odds,
            "the margin moves the curve to larger h, not to smaller": K / 2 - m - odds,
            "θ is K/2 − h, not K − h": K + m - odds,
            "θ is K/2 − h: the K/2 is missing": m - odds,
            "this is where the *cost* is q, not the push": K / 2 + m - torch.expm1(q).log(),
            "q must be solved for the odds q/(1 − q), not for q alone": K / 2 + m - q.log(),
            "1 − q in the place of q/(1 − q)": K / 2 + m + (1 - q).log(),
            "the margin is missing": K / 2 - odds,
        }
        what = f"h for K = {K} and m = {m:g}"
        error = max(error, expect_close(answer(K, m, q.clone()), want, what, slips=slips))
    return f"six shares, with a margin and without (largest difference {error:.1e})"


@exercise("14.6")
def ex_14_6(report: Any) -> str:
    """The report on the printed DBDH."""
    return expect_report(report, "plain", "changed")
