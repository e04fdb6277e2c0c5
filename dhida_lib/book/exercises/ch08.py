"""The checks of Chapter 8: the best spread, a leaky f, a clipped straight-through sign, a firm penalty."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close, expect_report

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
    """The expected quantization error of Gaussian outputs, and the spread for which it is smallest."""
    tau = torch.tensor([0.05, 0.5, 1.0, 2.5], dtype=torch.float64)
    got = answer(tau.clone())
    expect(
        isinstance(got, (tuple, list)) and len(got) == 2,
        "it should give two things: the errors and the best τ",
    )
    c = math.sqrt(2 / math.pi)
    want = tau**2 - 2 * c * tau + 1
    slips = {
        "the 2 of the mixed term 2·u·sign(u) is missing": tau**2 - c * tau + 1,
        "the mixed term has the wrong sign: it is −2·E|u|": tau**2 + 2 * c * tau + 1,
        "sign(u)² is 1, and it is missing": tau**2 - 2 * c * tau,
        "the mixed term is missing: E u·sign(u) is E|u|, not 0": tau**2 + 1,
        "E u² is τ², not τ": tau - 2 * c * tau + 1,
        "this takes u for its standard deviation, (τ − 1)²: u is not always near ±τ": (tau - 1) ** 2,
    }
    error = expect_close(got[0], want, "the expected error", slips=slips)
    spreads = {
        "this is the smallest error; asked is the τ where it lies": 1 - 2 / math.pi,
        "1 would be best if all |u| were equal; Gaussian numbers are not": 1.0,
        "the square root is missing": 2 / math.pi,
        "this is √(π/2), the inverse": 1 / c,
        "the minimum of τ² − 2cτ + 1 lies at c, not at 2c": 2 * c,
        "the minimum of τ² − 2cτ + 1 lies at c, not at c/2": c / 2,
        "the error at τ = 0 is 1, and it can be lower": 0.0,
    }
    expect_close(got[1], c, "the best τ", slips=spreads)
    return f"four errors (largest difference {error:.0e}) and the best τ, {c:.4f}"


@exercise("8.2")
def ex_8_2(answer: Any) -> str:
    """`leaky_piecewise(u, a)`: f inside, slope a outside, no jump."""
    u = torch.tensor(POINTS)
    f = u.clamp(-1, 1)
    for a in (0.1, 0.5):
        slips = {
            "there is a jump at ±1: the line outside starts at (1, 1), not at (0, 0)": torch.where(
                u.abs() <= 1, u, a * u
            ),
            "this is f itself: the leak a is not used": f,
            "the leak is added inside as well: u − f(u) is 0 there, u is not": f + a * u,
            "only the upper side leaks": torch.where(u > 1, 1 + a * (u - 1), u.clamp(min=-1)),
            "only the lower side leaks": torch.where(u < -1, -1 + a * (u + 1), u.clamp(max=1)),
            "below −1 the line goes the wrong way: it is −1 + a·(u + 1)": f + a * (u.abs() - f.abs()),
        }
        expect_close(answer(u, a), f + a * (u - f), f"with a = {a}", slips=slips)
        slope = torch.where(u.abs() < 1, 1.0, a)
        got = _gradient(lambda x, a=a: answer(x, a), u, "the answer")
        slips = {"the value leaks and the slope does not: the leak is detached": (u.abs() < 1).float()}
        expect_close(got, slope, f"the slope with a = {a}", slips=slips)
    zero = answer(torch.tensor([[5.0, -5.0]]), 0.0)
    error = expect_close(zero, torch.tensor([[1.0, -1.0]]), "a = 0, the value")
    return f"values, no jump, slopes; a = 0 is f itself (difference {error:.0e})"


@exercise("8.3")
def ex_8_3(answer: Any) -> str:
    """`clipped_straight_through(u)`: sign forward, gradient of f backward."""
    u = torch.tensor(POINTS)
    want = torch.where(u >= 0, 1.0, -1.0)
    got = answer(u)
    expect(isinstance(got, Tensor), f"the answer should be a tensor, but is a {type(got).__name__}")
    slips = {
        "this is f(u); going forward it must be the sign": u.clamp(-1, 1),
        "it gives 0 at u = 0; Eq. 2 says +1": torch.sign(u),
        "it gives −1 at u = 0; Eq. 2 says +1": torch.where(u > 0, 1.0, -1.0),
    }
    if not bool((got.abs() == 1).all()) and not any(torch.equal(got, numbers) for numbers in slips.values()):
        raise Wrong("going forward it must hold exactly −1 and +1, no number in between")
    expect_close(got, want, "the value", slips=slips)
    gradient = _gradient(answer, u, "the answer")
    slips = {
        "it is let through everywhere; where |u| > 1 it must be 0": torch.ones_like(u),
        "it is 0 everywhere: the sign itself gives none": torch.zeros_like(u),
        "it is turned round: 0 inside and 1 outside": (u.abs() > 1).float(),
    }
    expect_close(gradient, (u.abs() <= 1).float(), "the gradient", slips=slips)
    error = expect_close(answer(torch.randn(2, 5)).abs(), torch.ones(2, 5), "|value| for a 2×5 input")
    return f"exact codes going forward, the gradient of f going backward (difference {error:.0e})"


@exercise("8.4")
def ex_8_4(answer: Any) -> str:
    """A penalty that pulls each output to its code."""
    u = torch.tensor([[-3.0, -0.4, 0.0], [0.3, 1.0, 2.0]], dtype=torch.float64)
    h = torch.where(u >= 0, 1.0, -1.0).double()
    slips = {
        "torch.sign has let a 0 become the code 0; Eq. 2 says +1": ((u - torch.sign(u)) ** 2).mean(),
        "this is the distance of f(u) to its code, so numbers beyond ±1 cost nothing": (
            (u.clamp(-1, 1) - h) ** 2
        ).mean(),
        "this is a sum; the mean is asked for": ((u - h) ** 2).sum(),
        "this is |u − sign(u)| without the square": (u - h).abs().mean(),
    }
    error = expect_close(answer(u), ((u - h) ** 2).mean(), "the value", slips=slips)
    want = 2 * (u - h) / u.numel()
    slips = {
        "it is 0 everywhere: the straight-through slope still cancels that of u": torch.zeros_like(u),
        "it points away from the code: u is the constant now, and the code moves": -want,
        "it is half as long as it should be": want / 2,
    }
    expect_close(_gradient(answer, u, "the penalty"), want, "the gradient", slips=slips)
    return f"the old value (difference {error:.0e}), and a gradient that pulls each output to its code"


@exercise("8.5")
def ex_8_5(answer: Any) -> str:
    """A report on stand-ins and stuck bits."""
    return expect_report(answer, "clamp", "changed", "control")
