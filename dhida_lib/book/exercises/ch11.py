"""Checks of Chapter 11, training on CPU."""

from __future__ import annotations

import math
from typing import Any

import torch

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close
from dhida_lib.quantization import piecewise, quantization_error, sign
from dhida_lib.training import bit_balance


@exercise("11.1")
def ex_11_1(answer: Any) -> str:
    """The bit balance of n×K codes."""
    constant = torch.tensor([[1.0, -1.0, 1.0]]).expand(5, 3)  # 5×3
    expect_close(answer(constant), 1.0, "the balance of five equal codes")
    halves = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])  # 2×3
    expect_close(answer(halves), 0.0, "the balance of a code and its opposite")
    codes = sign(torch.randn(7, 4) + 0.3)  # 7×4
    error = expect_close(answer(codes), bit_balance(codes), "the balance of 7 codes of 4 bits")
    return f"constant bits, balanced bits, random ones (difference {error:.1e})"


@exercise("11.2")
def ex_11_2(answer: Any) -> str:
    """Warm-up, then a cosine down to a floor."""
    total, warm, lr, floor = 50, 8, 0.4, 0.05
    for step in (0, 3, warm - 1):
        want = lr * (step + 1) / warm
        expect_close(answer(step, total, warm, lr, floor), want, f"the rate at step {step} of the warm-up")
    for step in (warm, warm + 1, 29, total - 1, total):
        progress = (step - warm) / (total - warm)
        want = floor + (lr - floor) * (1 + math.cos(math.pi * progress)) / 2
        where = f"the rate at step {step} (warm-up {warm}, total {total})"
        expect_close(answer(step, total, warm, lr, floor), want, where)
    expect_close(answer(0, 10, 0, lr, 0.0), lr, "the rate at step 0 without a warm-up")
    return "warm-up, cosine, floor, and no warm-up at all"


@exercise("11.3")
def ex_11_3(answer: Any) -> str:
    """The quantization error of every epoch."""
    run = [[torch.randn(b, 6) * scale for b in (4, 4, 1)] for scale in (0.4, 2.0, 0.9)]  # 3 epochs, 9×6
    run[0][2][0] = 0.0
    given = answer(run)
    try:
        got = list(given)
    except TypeError as problem:
        raise Wrong("it should give a list with one number for each epoch") from problem
    expect(len(got) == 3, f"there are three epochs, and your list has {len(got)} numbers")
    for epoch, (value, parts) in enumerate(zip(got, run, strict=True)):
        want = quantization_error(piecewise(torch.cat(parts)))
        expect_close(value, want, f"the error of epoch {epoch} (batches of 4, 4 and 1 images)")
    return "three epochs, with a last batch of one image"


@exercise("11.4")
def ex_11_4(answer: Any) -> str:
    """RMSProp on a sequence of gradients."""
    start = torch.randn(3, dtype=torch.float64)  # d
    gradients = torch.randn(5, 3, dtype=torch.float64)  # T×d
    for lr, decay, weight_decay, rows in ((0.01, 0.99, 0.0, 1), (0.1, 0.9, 0.0, 5), (0.1, 0.9, 0.5, 5)):
        weight = start.clone().requires_grad_()
        optimizer = torch.optim.RMSprop([weight], lr=lr, alpha=decay, weight_decay=weight_decay)
        for gradient in gradients[:rows]:
            weight.grad = gradient.clone()
            optimizer.step()
        given = start.clone()
        got = answer(given, gradients[:rows].clone(), lr, decay, weight_decay)
        case = f"{rows} step{'s' * (rows > 1)} with decay {decay} and weight decay {weight_decay}"
        expect_close(got, weight, f"the weights after {case}", 1e-6)
        expect(torch.equal(given, start), "`w` itself was changed: it belongs to the caller")
    return "equal to torch.optim.RMSprop after one step and after five"
