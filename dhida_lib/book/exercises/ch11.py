"""Checks of Chapter 11, training on CPU."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close, expect_report
from dhida_lib.quantization import piecewise, quantization_error


@exercise("11.1")
def ex_11_1(answer: Any) -> str:
    """The length of RMSProp's step t under a constant gradient."""
    t = torch.tensor([1, 2, 3, 10, 30, 300])
    error = 0.0
    for decay in (0.99, 0.9):
        left = decay ** t.double()  # what is left of the start
        slips = {
            "this is the first step at every t; the running mean goes on filling": torch.full_like(
                left, 1 / (1 - decay) ** 0.5
            ),
            "this is r in units of g²; the step divides by its root": 1 - left,
            "this is √r; the step divides by it": (1 - left).sqrt(),
            "the root is missing: the step divides by √r, not by r": 1 / (1 - left),
            "after t steps the gradient has been added t times, not t − 1 times": (1 - left / decay).rsqrt(),
            "after t steps the gradient has been added t times, not t + 1 times": (1 - left * decay).rsqrt(),
            "the t gradients do not all have the weight 1 − ρ: the older ones have faded": (
                (1 - decay) * t.double()
            ).rsqrt(),
            "ρᵗ is what is missing in r, not what is there": left.rsqrt(),
        }
        what = f"the length with the decay {decay}"
        error = max(error, expect_close(answer(t.clone(), decay), (1 - left).rsqrt(), what, slips=slips))
    return f"two decays, t up to 300 (largest difference {error:.1e})"


@exercise("11.2")
def ex_11_2(answer: Any) -> str:
    """Warm-up, then a cosine down to a floor."""
    total, warm, lr, floor = 50, 8, 0.4, 0.05
    for step in (0, 3, warm - 1):
        slips = {
            "the warm-up should begin at lr/warm, not at 0": lr * step / warm,
            "the warm-up should begin at lr/warm, not at the floor": floor + (lr - floor) * step / warm,
            "the warm-up rises from the floor; it should be lr·(step + 1)/warm": (
                floor + (lr - floor) * (step + 1) / warm
            ),
            "the cosine falls during the warm-up already; it should begin after it": (
                lr * (step + 1) / warm * (1 + math.cos(math.pi * step / total)) / 2
            ),
            "there is no warm-up": lr,
        }
        where = f"the rate at step {step} of the warm-up"
        expect_close(answer(step, total, warm, lr, floor), lr * (step + 1) / warm, where, slips=slips)
    for step in (warm, warm + 1, 29, total - 1, total):
        fall = (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2
        late = (1 + math.cos(math.pi * step / total)) / 2
        slips = {
            "the cosine begins at step 0, not at the end of the warm-up": floor + (lr - floor) * late,
            "the cosine begins at the end of the warm-up, but lasts `total` steps from there": (
                floor + (lr - floor) * (1 + math.cos(math.pi * (step - warm) / total)) / 2
            ),
            "the cosine scales all of lr, towards 0; it should scale only what lies above the floor": lr
            * fall,
            "the floor is added on top of the whole lr; the cosine scales only what lies above it": (
                floor + lr * fall
            ),
            "the cosine rises from the floor to lr": floor + (lr - floor) * (1 - fall),
            "this is a straight line, not half a cosine": (
                lr - (lr - floor) * (step - warm) / (total - warm)
            ),
            "this is a whole cosine, which comes back up: half a cosine needs π": (
                floor + (lr - floor) * (1 + math.cos(2 * math.pi * (step - warm) / (total - warm))) / 2
            ),
        }
        where = f"the rate at step {step} (warm-up {warm}, total {total})"
        want = floor + (lr - floor) * fall
        expect_close(answer(step, total, warm, lr, floor), want, where, slips=slips)
    try:
        first = answer(0, 10, 0, lr, 0.0)
    except ZeroDivisionError as problem:
        raise Wrong("without a warm-up (warm = 0) it divides by zero") from problem
    expect_close(first, lr, "the rate at step 0 without a warm-up")
    return "warm-up, cosine, floor, and no warm-up at all"


def _error(u: Tensor, f: bool = True) -> Tensor:
    """How far each output is from its sign, after f or without it."""
    v = piecewise(u) if f else u
    return v - torch.where(u >= 0, 1.0, -1.0)


@exercise("11.3")
def ex_11_3(answer: Any) -> str:
    """The quantization error of every epoch."""
    run = [[torch.randn(b, 6) * scale for b in (4, 4, 1)] for scale in (0.4, 2.0, 0.9)]  # 3 epochs, 9×6
    run[0][2][0] = 0.0
    given = answer([[u.clone() for u in parts] for parts in run])
    try:
        got = list(given)
    except TypeError as problem:
        raise Wrong("it should give a list with one number for each epoch") from problem
    expect(
        len(got) == 3,
        f"there are three epochs, and your list has {len(got)} numbers: one epoch is one number",
    )
    for epoch, (value, parts) in enumerate(zip(got, run, strict=True)):
        u = torch.cat(parts)
        v = piecewise(u)
        slips = {
            "this is the mean of the batches' means: the last batch of one image counts as much as four": (
                torch.stack([_error(part).square().mean() for part in parts]).mean()
            ),
            "the small last batch is missing": _error(torch.cat(parts[:-1])).square().mean(),
            "f is missing: outputs beyond ±1 have no error after f": _error(u, f=False).square().mean(),
            "this is the mean of the absolute values; the squares are asked for": _error(u).abs().mean(),
            "an output of exactly 0 has the sign +1, but here it has the sign 0": (
                (v - v.sign()).square().mean()
            ),
            "this is the sum over the bits; the mean over images and bits is asked for": (
                _error(u).square().sum(1).mean()
            ),
            "this is the sum, not the mean": _error(u).square().sum(),
            "this is the root of the mean": _error(u).square().mean().sqrt(),
        }
        what = f"the error of epoch {epoch} (batches of 4, 4 and 1 images)"
        expect_close(value, quantization_error(v), what, slips=slips)
    return "three epochs, with a last batch of one image"


def _rmsprop(
    w: Tensor,
    gradients: Tensor,
    lr: float,
    decay: float,
    weight_decay: float,
    *,
    scale: Any = lambda r, before, t, decay: r.sqrt() + 1e-8,
    beside: bool = False,
    once: bool = False,
) -> Tensor:
    """RMSProp with one thing changed: what a step is divided by, or where the weight decay stands."""
    start, r = w, torch.zeros_like(w)  # d
    for t, g in enumerate(gradients, 1):
        if not beside:
            g = g + weight_decay * (start if once else w)
        before, r = r, decay * r + (1 - decay) * g**2
        w = w - lr * g / scale(r, before, t, decay) - (lr * weight_decay * w if beside else 0)
    return w


@exercise("11.4")
def ex_11_4(answer: Any) -> str:
    """RMSProp on a sequence of gradients, also on tiny ones."""
    start = torch.randn(3, dtype=torch.float64)  # d
    gradients = torch.randn(5, 3, dtype=torch.float64)  # T×d
    cases = (
        (gradients[:1], 0.01, 0.99, 0.0, "1 step"),
        (gradients, 0.1, 0.9, 0.0, "5 steps"),
        (gradients, 0.1, 0.9, 0.5, "5 steps"),
        (1e-5 * gradients, 0.1, 0.9, 0.0, "5 steps with gradients near 1e-5"),
    )
    stepped: list[object] = []

    def watched(*args: Any) -> Any:
        handle = register_optimizer_step_pre_hook(lambda optimizer, *_: stepped.append(optimizer))
        try:
            return answer(*args)
        finally:
            handle.remove()

    still = watched(start.clone(), torch.zeros(2, 3, dtype=torch.float64), 0.1, 0.9, 0.0)
    expect(
        not isinstance(still, Tensor) or not still.isnan().any(),
        "a weight that never gets a gradient becomes nan, 0 divided by 0: this is what ε is for",
    )
    expect_close(still, start, "weights that never get a gradient")
    for rows, lr, decay, weight_decay, case in cases:
        weight = start.clone().requires_grad_()
        optimizer = torch.optim.RMSprop([weight], lr=lr, alpha=decay, weight_decay=weight_decay)
        for gradient in rows:
            weight.grad = gradient.clone()
            optimizer.step()
        given = start.clone()
        got = watched(given, rows.clone(), lr, decay, weight_decay)
        expect(torch.equal(given, start), "`w` itself was changed: it belongs to the caller")
        call = (start, rows, lr, decay, weight_decay)
        slips = {
            "ε stands under the root, where it weighs like its own root; it belongs outside": _rmsprop(
                *call, scale=lambda r, *_: (r + 1e-8).sqrt()
            ),
            "it divides by the mean before this gradient; update r first": _rmsprop(
                *call, scale=lambda r, before, *_: before.sqrt() + 1e-8
            ),
            "it corrects the running mean as Adam does; RMSProp does not": _rmsprop(
                *call, scale=lambda r, before, t, decay: (r / (1 - decay**t)).sqrt() + 1e-8
            ),
            "it divides by r, not by its root": _rmsprop(*call, scale=lambda r, *_: r + 1e-8),
            "the weight decay stands beside the gradient; it belongs into ḡ, and so into r": _rmsprop(
                *call, beside=True
            ),
            "the weight decay uses the weights of the start; it should use the current ones": _rmsprop(
                *call, once=True
            ),
            "the weight decay is not used": _rmsprop(start, rows, lr, decay, 0.0),
            "0.99 is written into it; use the argument `decay`": _rmsprop(
                start, rows, lr, 0.99, weight_decay
            ),
            "decay and 1 − decay have changed places": _rmsprop(start, rows, lr, 1 - decay, weight_decay),
        }
        what = f"the weights after {case} with decay {decay} and weight decay {weight_decay}"
        expect_close(got, weight, what, 1e-6, slips=slips)
    expect(not stepped, "the weights are right, but torch.optim took the steps: write the three formulas out")
    return "equal to torch.optim.RMSprop, with ordinary gradients and with tiny ones"


@exercise("11.5")
def ex_11_5(report: Any) -> str:
    """The report on the size of a batch, or another change."""
    return expect_report(report, "plain", "changed")
