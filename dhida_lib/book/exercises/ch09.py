"""Checks of Chapter 9, the loss from likelihood."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from dhida_lib.book.checks import exercise, expect, expect_close, expect_report
from dhida_lib.labels import similarity
from dhida_lib.losses import pairwise_nll
from dhida_lib.quantization import piecewise


@exercise("9.1")
def ex_9_1(answer: Any) -> str:
    """Where a pair with a similarity between 0 and 1 costs least, and what it costs there."""
    s = torch.tensor([[0.1, 0.3, 0.5], [0.62, 0.8, 0.97]], dtype=torch.float64)  # 2×3
    got = answer(s.clone())
    expect(isinstance(got, (tuple, list)) and len(got) == 2, "it should give two things: θ and the cost")
    best = torch.log(s / (1 - s))
    slips = {
        "the sign is turned over: a pair with s near 1 should have a large θ": -best,
        "this is the logarithm of s; solve σ(θ) = s for θ": torch.log(s),
        "this is σ(s); the slope is zero where σ(θ) = s, so σ has to be undone": torch.sigmoid(s),
        "this is s itself; the slope is σ(θ) − s, not θ − s": s,
        "this is the odds s/(1 − s); θ is their logarithm": s / (1 - s),
    }
    expect_close(got[0], best, "θ at the minimum", slips=slips)
    cost = -(s * torch.log(s) + (1 - s) * torch.log(1 - s))
    alone = torch.log(1 + torch.exp(best))
    slips = {
        "it cannot be negative: the logarithms of s and 1 − s are": -cost,
        "this is counted in bits (base 2); the loss has the natural logarithm": cost / math.log(2),
        "this is what a pair with s = 1 costs there; the second term is s·θ": alone - best,
        "this is log(1 + exp θ) alone; the term −s·θ is missing": alone,
        "a doubtful pair is never free: put your θ into log(1 + exp θ) − s·θ": torch.zeros_like(s),
    }
    error = expect_close(got[1], cost, "the cost at the minimum", slips=slips)
    return f"θ and cost for six values of s (largest difference {error:.1e})"


@exercise("9.2")
def ex_9_2(answer: Any) -> str:
    """The likelihood of triplets."""
    a, p, n = (torch.randn(6, 5, dtype=torch.float64) for _ in range(3))  # T×K each

    def nll(half: float = 0.5, near: Tensor = p, far: Tensor = n, margin: float = 0.7) -> Tensor:
        return softplus(half * (a * far).sum(dim=1) - half * (a * near).sum(dim=1) + margin)  # T

    slips = {
        "the half of θ = ½uᵀu' is missing": nll(half=1.0).mean(),
        "p and n have changed places: a lead of p should lower the cost": nll(near=n, far=p).mean(),
        "the margin has the wrong sign: it is taken away from the lead of p": nll(margin=-0.7).mean(),
        "the margin is not used": nll(margin=0.0).mean(),
        "this is a sum over the triplets; a mean is asked for": nll().sum(),
        "this is one number for each triplet; the mean is missing": nll(),
        "every a meets every p and n (T×T); row t of a belongs to row t of p and n": softplus(
            0.5 * a @ n.T - 0.5 * a @ p.T + 0.7
        ).mean(),
    }
    error = expect_close(answer(a.clone(), p.clone(), n.clone(), 0.7), nll().mean(), "the loss", slips=slips)
    for sign, want in (
        (1.0, 0.0),
        (-1.0, -5.0),
    ):  # p leads by thousands, or n does: the slope is 0, or −½·30/3
        long = torch.full((3, 5), 30.0)
        near = (sign * long).requires_grad_()
        got = answer(long, near, -sign * long, 0.0)
        expect(torch.isfinite(got), "it overflows for long outputs: log(1 + exp x) has a form that does not")
        expect(got.requires_grad, "no gradient flows from the loss to p")
        grad = torch.autograd.grad(got, near)[0]
        expect(bool(grad.isfinite().all()), "for long outputs the gradient is nan, though the loss is not")
        if want:
            expect(bool(grad.any()), "the slope is cut off for long outputs: is something clamped?")
        expect_close(grad, torch.full((3, 5), want), "the gradient of p for long outputs")
    return f"six triplets (difference {error:.1e}), and finite with the right gradient for long outputs"


@exercise("9.3")
def ex_9_3(answer: Any) -> str:
    """A bank in which class 0 is a class."""
    bank = answer(9, 5)  # n, K
    codes, labels = torch.zeros(9, 5), torch.full((9,), -1)
    calls = torch.tensor([[0, 1, 2, 1], [2, 0, 0, 2]]), torch.tensor([[0, 2, 3, 6], [7, 1, 3, 4]])
    for call, (y, index) in enumerate(zip(*calls, strict=True), 1):
        u = (1.3 * torch.randn(len(y), 5)).requires_grad_()  # B×K, some beyond ±1
        v = piecewise(u)
        codes[index], labels[index] = v.detach(), y

        def nll(rows: Tensor, half: float = 0.5, V: Tensor = codes, v: Tensor = v, y: Tensor = y) -> Tensor:
            s = similarity(y, labels[rows].clamp(min=0)).float()
            return pairwise_nll(half * v @ V[rows].T, s)

        want = nll(labels >= 0)
        got = bank.loss(u, y, index)
        slips = {
            "class 0 is still left out: its label is 0, like that of an empty row": nll(labels > 0),
            "the empty rows count: each adds log 2, and belongs to no class": nll(labels > -2),
            "the half of θ = ½vᵀV is missing": nll(labels >= 0, half=1.0),
        }
        expect_close(got, want, f"the loss of call {call}", slips=slips)
        expect(got.requires_grad, "no gradient flows to the batch u")
        both = nll(labels >= 0, V=codes.index_copy(0, index, v))
        mine, right, doubled = (
            torch.autograd.grad(loss, u, retain_graph=True)[0] for loss in (got, want, both)
        )
        slips = {"the bank's codes of this batch carry a gradient, but they are constants": doubled}
        expect_close(mine, right, "the gradient of the batch", slips=slips)
    return "two calls, class 0 among them: values, and the gradient of the batch"


@exercise("9.4")
def ex_9_4(answer: Any) -> str:
    """The largest factor by which outputs near zero grow in one step."""
    for y, step in (
        (torch.arange(5).repeat_interleave(4), 20.0),
        (torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3]), 7.0),
    ):
        B, s = len(y), similarity(y).double()  # B×B

        def growth(pull: Tensor, step: float = step, B: int = B) -> float:
            return 1 + step * float(torch.linalg.eigvalsh(pull)[-1]) / B**2

        want = growth(s - 0.5)
        slips = {
            "the mean over B² pairs is missing: divide by B², not by B": 1 + (want - 1) * B,
            "the −½ is missing: S alone gives the pull of the similar pairs only": growth(s),
            "this is the eigenvalue alone; a step adds it to 1": want - 1,
            "this is 1 + η/(Bc), which holds for classes of equal size only": 1
            + step / (B * len(y.unique())),
            "this is the smallest factor; the largest eigenvalue stands last": 1
            + step * float(torch.linalg.eigvalsh(s - 0.5)[0]) / B**2,
        }
        sizes = ", ".join(str(n) for n in torch.bincount(y).tolist())
        expect_close(answer(y, step), want, f"the factor for classes of {sizes} images", 1e-6, slips=slips)
    return "classes of equal and of different sizes"


@exercise("9.5")
def ex_9_5(answer: Any) -> str:
    """A report on leaving the saddle sooner."""
    return expect_report(answer, "plain", "changed", "control")
