"""Checks of Chapter 12, training on a GPU."""

from __future__ import annotations

from typing import Any

import torch

from dhida_lib.book.checks import exercise, expect, expect_close
from dhida_lib.losses import DHIDALoss


class _Device:
    """A pretend GPU with a pretend clock: a launch returns at once, the work is done later."""

    def __init__(self, costs: list[float]) -> None:
        self.costs, self.now, self.free, self.launched = list(costs), 0.0, 0.0, 0

    def step(self) -> None:
        cost = self.costs[min(self.launched, len(self.costs) - 1)]
        self.launched += 1
        self.now += 0.25  # the launch itself
        self.free = max(self.now, self.free) + cost

    def synchronize(self) -> None:
        self.now = max(self.now, self.free)

    def clock(self) -> float:
        return self.now


@exercise("12.1")
def ex_12_1(answer: Any) -> str:
    """Honest times of a step on a device that works behind the clock's back."""
    for warmup, repeats in ((2, 5), (1, 4), (0, 3)):
        slow = [400.0, 90.0, 30.0][:warmup]  # what the first steps cost: compiling, filling caches
        true = [7.0, 9.0, 8.0, 60.0, 10.0][:repeats]
        gpu = _Device([*slow, *true, 8.0])
        got = answer(gpu.step, gpu.synchronize, gpu.clock, warmup, repeats)
        case = f"warm-up {warmup}, {repeats} repeats"
        expect(
            gpu.launched == warmup + repeats,
            f"with {case} the step should run {warmup + repeats} times, but it ran {gpu.launched} times",
        )
        want = torch.tensor(true).quantile(0.5) + 0.25
        expect_close(got, want, f"the median of one step ({case})")
    return "the pretend GPU was timed honestly, in three cases"


@exercise("12.2")
def ex_12_2(answer: Any) -> str:
    """How a loss scaler moves its scale."""
    for interval, overflows in ((3, {5, 6, 12}), (2, {1}), (4, set())):
        scale, good = 1024.0, 0
        for step in range(1, 15):
            finite = step not in overflows
            got = answer(scale, good, finite, interval)
            expect(isinstance(got, tuple) and len(got) == 2, "it should return a pair: (scale, good)")
            if finite:
                good += 1
                if good == interval:
                    scale, good = scale * 2, 0
            else:
                scale, good = scale / 2, 0
            what = "finite gradients" if finite else "an overflow"
            where = f"after {what} in step {step} (interval {interval})"
            expect_close(got[0], scale, f"the scale {where}")
            expect_close(got[1], good, f"the count of good steps {where}")
    return "three runs of fourteen steps, with overflows and without"


@exercise("12.3")
def ex_12_3(answer: Any) -> str:
    """The gradient over a group of unequal batches."""
    for sizes in ((4, 4, 4), (5, 5, 2), (3,), (6, 1)):
        weight = torch.randn(3, dtype=torch.float64, requires_grad=True)  # d
        batches = [torch.randn(size, 3, dtype=torch.float64) for size in sizes]  # B×d each

        def loss(x: torch.Tensor, weight: torch.Tensor = weight) -> torch.Tensor:
            return (x @ weight - 1).square().mean()

        value = answer(loss, batches)
        got = weight.grad
        expect(got is not None, "no gradient arrived: is a `backward()` missing?")
        weight.grad = None
        whole = loss(torch.cat(batches))
        whole.backward()
        expect_close(got, weight.grad, f"the accumulated gradient of batches of {sizes} images")
        expect_close(value, whole, f"the returned mean loss over batches of {sizes} images")
    return "equal batches, a smaller last one, a single one"


@exercise("12.4")
def ex_12_4(answer: Any) -> str:
    """Bytes that a run keeps all the time."""
    for bits, images, classes in ((5, 30, 4), (16, 100, 10)):
        model = torch.nn.Sequential(torch.nn.Linear(7, 11), torch.nn.Linear(11, bits, bias=False))
        loss = DHIDALoss(bits, images, classes)
        parameters = list(model.parameters())
        optimizer = torch.optim.RMSprop(parameters, lr=0.1)
        model(torch.randn(2, 7)).sum().backward()
        optimizer.step()
        want = sum(p.nbytes + (p.grad.nbytes if p.grad is not None else 0) for p in parameters)
        want += sum(optimizer.state[p]["square_avg"].nbytes for p in parameters)
        want += sum(b.nbytes for b in loss.buffers())
        count = sum(p.numel() for p in parameters)
        got = answer(count, bits, images, classes)
        where = f"the bytes of {count} weights and a bank of {images} rows, {bits} bits, {classes} classes"
        expect_close(got, want, where, 1e-9)
    return "weights, gradients, running means and bank, counted on real tensors"
