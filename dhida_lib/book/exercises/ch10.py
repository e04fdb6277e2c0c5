"""Checks of Chapter 10, gradients by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close, expect_report
from dhida_lib.book.exercises._calls import TorchCalls
from dhida_lib.losses import pairwise_nll
from dhida_lib.quantization import piecewise

AUTOGRAD = {"grad", "backward"}
FOUND_BY_AUTOGRAD = "the gradients are right, but autograd found them: write them out by hand"


@exercise("10.1")
def ex_10_1(answer: Any) -> str:
    """The gradients of the mean triplet loss by a, p and n."""
    leaves = [torch.randn(6, 5, dtype=torch.float64, requires_grad=True) for _ in range(3)]  # T×K each

    def gradients(half: float = 0.5, margin: float = 0.7, over: int = 6) -> list[Tensor]:
        a, p, n = leaves
        lead = half * (a * p).sum(dim=1) - half * (a * n).sum(dim=1) - margin  # T
        return list(torch.autograd.grad(softplus(-lead).sum() / over, leaves))

    a, p, n = (leaf.detach() for leaf in leaves)
    with TorchCalls() as called:
        got = answer(a.clone(), p.clone(), n.clone(), 0.7)
    expect(isinstance(got, (tuple, list)) and len(got) == 3, "it should give three gradients: of a, p and n")
    want, error = gradients(), 0.0
    doubled, summed, bare, turned = (
        gradients(1.0),
        gradients(over=1),
        gradients(margin=0),
        gradients(margin=-0.7),
    )
    lead = 0.5 * (a * (p - n)).sum(dim=1, keepdim=True) - 0.7  # T×1
    swapped = [torch.sigmoid(lead) / torch.sigmoid(-lead) * w for w in want]
    for i, name in enumerate("apn"):
        slips = {
            "it points uphill and downhill the wrong way round: the sign is turned over": -want[i],
            "the half of θ = ½uᵀu' is missing in the error and in the weights": doubled[i],
            "the factor ½ of the weights is missing": 2 * want[i],
            "this is the gradient of the sum; for the mean divide by T": summed[i],
            "the margin is missing inside the error": bare[i],
            "the margin has the wrong sign inside the error": turned[i],
            "the error is σ(x), the probability of the right order; it should be σ(−x)": swapped[i],
            "this is the error alone; it is multiplied by what stands beside it": want[i] / a
            if i
            else want[0],
        }
        error = max(error, expect_close(got[i], want[i], f"the gradient of {name}", 1e-9, slips=slips))
    expect(not called.names & AUTOGRAD, FOUND_BY_AUTOGRAD)
    return f"the gradients of a, p and n for six triplets (largest difference {error:.1e})"


@exercise("10.2")
def ex_10_2(answer: Any) -> str:
    """Class centres that learn: the gradients by the outputs and by the centres."""
    u = (1.2 * torch.randn(6, 3, dtype=torch.float64)).requires_grad_()  # B×K, some beyond ±1
    C = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)  # c×K
    s = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 1, 2, 3, 1, 0])]  # B×c

    def gradients(half: float = 0.5, f: Callable = piecewise) -> tuple[Tensor, ...]:
        return torch.autograd.grad(pairwise_nll(half * f(u) @ C.T, s), (u, C))

    with TorchCalls() as called:
        got = answer(u.detach().clone(), C.detach().clone(), s.clone())
    expect(isinstance(got, (tuple, list)) and len(got) == 2, "it should give two gradients: of u and of C")
    (by_u, by_C), doubled, without_f = gradients(), gradients(half=1.0), gradients(f=lambda x: x)
    v = piecewise(u).detach()
    delta = (torch.sigmoid(0.5 * v @ C.detach().T) - s) / s.numel()  # B×c
    slips = {
        "the factor of f is missing: beyond ±1 an output gets nothing": 0.5 * delta @ C.detach(),
        "the ½ of the derivative of θ is missing": 2 * by_u,
        "the half of θ = ½vCᵀ is missing": doubled[0],
        "f is missing: θ is made of v = f(u)": without_f[0],
        "this is the gradient of a sum over the pairs; for the mean divide by B·c": by_u * s.numel(),
        "it is divided by B only; there are B·c pairs": by_u * s.shape[1],
        "the sign is turned over": -by_u,
    }
    error = expect_close(got[0], by_u, "the gradient of u", 1e-9, slips=slips)
    slips = {
        "the outputs beyond ±1 are missing: they get nothing, but they still pull on the centres": 0.5
        * delta.T
        @ (v * (u.detach().abs() <= 1)),
        "this takes u; the centres meet v = f(u)": 0.5 * delta.T @ u.detach(),
        "the ½ of the derivative of θ is missing": 2 * by_C,
        "the half of θ = ½vCᵀ is missing": doubled[1],
        "this is the gradient of a sum over the pairs; for the mean divide by B·c": by_C * s.numel(),
        "it is divided by B only; there are B·c pairs": by_C * s.shape[1],
        "the sign is turned over": -by_C,
    }
    error = max(error, expect_close(got[1], by_C, "the gradient of C", 1e-9, slips=slips))
    expect(not called.names & AUTOGRAD, FOUND_BY_AUTOGRAD)
    return f"6 images and 4 centres, outputs on both sides of ±1 (largest difference {error:.1e})"


@exercise("10.3")
def ex_10_3(answer: Any) -> str:
    """A gradient checker that accepts what is right and nothing else."""
    target = torch.randn(2, 3, dtype=torch.float64)
    x = torch.randn(2, 3, dtype=torch.float64)  # 2×3

    def cubic(z: Tensor) -> Tensor:
        return ((z - target) ** 3).sum() + z[0, 0] * z[1, 2]

    def right(z: Tensor) -> Tensor:
        leaf = z.detach().clone().requires_grad_()
        return torch.autograd.grad(cubic(leaf), leaf)[0]

    def off(amount: float, at: tuple[int, int]) -> Callable:
        def gradient(z: Tensor) -> Tensor:
            out = right(z).clone()
            out[at] += amount
            return out

        return gradient

    before = x.clone()
    verdict = answer(cubic, right, x)
    expect(torch.equal(x, before), "x is changed after the call: put each entry back, or work on a copy")
    if not isinstance(verdict, bool):
        raise Wrong(f"it should give True or False, but gave a {type(verdict).__name__}")
    wrong = {
        "it accepts a gradient that is much too large: look at the sign inside the last line": off(
            50.0, (0, 1)
        ),
        "it accepts a gradient of zeros: are `above` and `below` two different tensors?": torch.zeros_like,
        "it accepts a gradient that is too small in one entry": off(-0.5, (1, 2)),
        "it accepts a gradient whose first entry is wrong": off(0.5, (0, 0)),
        "it accepts −∇ in the place of ∇": lambda z: -right(z),
    }
    accepted = [sentence for sentence, gradient in wrong.items() if answer(cubic, gradient, x)]
    sum_only = verdict and answer(cubic, lambda z: off(0.5, (0, 0))(z) + off(-0.5, (0, 1))(z) - right(z), x)
    expect(not accepted, accepted[0] if accepted else "")
    expect(not sum_only, "it accepts two mistakes that cancel in the sum: compare entry by entry")
    expect(verdict, "it rejects the right gradient of a smooth function")
    strict = answer(cubic, off(1e-3, (1, 1)), x, tolerance=1e-2) and not answer(cubic, off(1e-3, (1, 1)), x)
    expect(strict, "it does not use the tolerance that it is given")
    return "accepts the right gradient, rejects six wrong ones, leaves x alone"


@exercise("10.4")
def ex_10_4(answer: Any) -> str:
    """A report on the mistakes that an optimiser hides."""
    return expect_report(answer, "right", "mistake", "control")
