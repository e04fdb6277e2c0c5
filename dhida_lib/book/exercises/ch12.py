"""Checks of Chapter 12, training on a GPU."""

from __future__ import annotations

import math
import statistics
from typing import Any

import torch

from dhida_lib.book.checks import exercise, expect, expect_close, expect_report
from dhida_lib.book.traces import Span
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
        true = [10.0, 9.0, 8.0, 60.0, 7.0][:repeats]
        gpu = _Device([*slow, *true, 8.0])
        got = answer(gpu.step, gpu.synchronize, gpu.clock, warmup, repeats)
        case = f"warm-up {warmup}, {repeats} repeats"
        expect(
            gpu.launched == warmup + repeats,
            f"with {case} the step should run {warmup + repeats} times, but it ran {gpu.launched} times",
        )
        times = [cost + 0.25 for cost in true]
        sums = [sum(times[: i + 1]) for i in range(repeats)]
        left = sum(slow) - 0.25 * warmup  # of the warm-up, when nobody waits for it
        again = left + 0.25 * (warmup > 0)
        slips = {
            "only the queueing is timed: wait for the device before the clock stops": 0.25,
            "the steps of the warm-up are counted": statistics.median([*(s + 0.25 for s in slow), *times]),
            "the clock is never started again: this is the time since the first step": statistics.median(
                [again + t for t in sums]
            ),
            "the work of the warm-up is in it: wait before the clock starts": statistics.median(
                [left + t for t in sums]
            ),
            "the first step has the warm-up in it: wait before the clock starts, too": statistics.median(
                [left + 0.25 + times[0], *times[1:]]
            ),
            "this is the mean, which one disturbed step moves; take the median": statistics.fmean(times),
            "this is the smallest time; take the median": min(times),
        }
        expect_close(got, statistics.median(times), f"the median of one step ({case})", slips=slips)
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
            before, counted = scale, good + 1
            if finite:
                good += 1
                if good == interval:
                    scale, good = scale * 2, 0
            else:
                scale, good = scale / 2, 0
            what = "finite gradients" if finite else "an overflow"
            where = f"after {what} in step {step} (interval {interval})"
            if finite:
                slips = {
                    "it has not grown after enough good steps": before,
                    "it grew too early": before * 2,
                    "it shrank although all was finite": before / 2,
                }
            else:
                slips = {"it stays after an overflow": before, "it grows after an overflow": before * 2}
            expect_close(got[0], scale, f"the scale {where}", slips=slips)
            late = {"the count goes on: start anew here": counted if finite else counted - 1}
            late["an overflow is not a good step"] = counted
            expect_close(got[1], good, f"the count of good steps {where}", slips=late)
    return "three runs of fourteen steps, with overflows and without"


@exercise("12.3")
def ex_12_3(answer: Any) -> str:
    """The gradient over a group of unequal batches."""
    for sizes in ((4, 4, 4), (5, 5, 2), (3,), (6, 1)):
        weight = torch.randn(3, dtype=torch.float64, requires_grad=True)  # d
        batches = [torch.randn(size, 3, dtype=torch.float64) for size in sizes]  # B×d each

        passes: list[torch.Tensor] = []

        def loss(x: torch.Tensor, weight: torch.Tensor = weight) -> torch.Tensor:
            return (x @ weight - 1).square().mean()

        with weight.register_hook(passes.append):
            value = answer(loss, batches)
        got = weight.grad
        expect(got is not None, "no gradient arrived: is a `backward()` missing?")
        values = torch.stack([loss(x) for x in batches]).detach()
        slopes = torch.stack([torch.autograd.grad(loss(x), weight)[0] for x in batches])
        n, counts = len(batches), torch.tensor(sizes, dtype=torch.float64)
        whole = loss(torch.cat(batches))
        (want,) = torch.autograd.grad(whole, weight)
        first = counts / (counts[0] * n) if n > 1 else counts * 0
        slips = {
            "the mean of the batches' means: a small batch counts as much as a full one": slopes.mean(0),
            "the batches' means are added without a weight": slopes.sum(0),
            "every batch is divided as if all were as large as the first": _weighted(first, slopes),
            "each batch is weighted with its number of images: divide by the number of all": _weighted(
                counts, slopes
            ),
            "only the last batch is in it": slopes[-1] * counts[-1] / counts.sum(),
        }
        expect_close(got, want, f"the accumulated gradient of batches of {sizes} images", slips=slips)
        expect(
            len(passes) == len(sizes),
            f"there are {len(sizes)} batches and {len(passes)} backward passes: with one for each batch, "
            "only one batch is in memory at a time",
        )
        expect(
            not isinstance(value, torch.Tensor),
            "give back a number, as `.item()` makes it: a tensor would keep its graph in memory",
        )
        mean = {"this is the mean of the batches' means": values.mean()}
        expect_close(value, whole, f"the returned mean loss over batches of {sizes} images", slips=mean)
    return "equal batches, a smaller last one, a single one"


def _weighted(weights: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return (weights[:, None] * rows).sum(0)


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
        slips = {
            "one of weights, gradients and running means is missing: 12 bytes a weight": want - 4 * count,
            "there are two running means in it, as Adam has; RMSProp has one": want + 4 * count,
            "the bank is missing": 12 * count,
            "the bank's codes are float32, not bits": want - images * (4 * bits - bits / 8),
            "a label of the bank takes one byte for each class, not four": want + 3 * images * classes,
            "a byte for each image says whether its row is filled": want - images,
        }
        expect_close(got, want, where, 1e-9, slips)
    return "weights, gradients, running means and bank, counted on real tensors"


_ASK, _MASK, _SYNC = "aten::_local_scalar_dense", "aten::nonzero", "cudaStreamSynchronize"


def _traces() -> dict[str, tuple[list[Span], dict[str, int]]]:
    """Small traces with their right counts: a CPU's, a GPU's, and one that waits nowhere."""
    cpu = [
        Span("forward", 0.0, 5.0),
        Span("aten::mm", 1.0, 3.0, depth=1),
        Span("check", 5.0, 4.0),
        Span("aten::item", 5.5, 1.0, depth=1),
        Span(_ASK, 5.6, 0.8, depth=2),
        Span("aten::index", 7.0, 1.0, depth=1),
        Span(_MASK, 7.1, 0.5, depth=2),
        Span("print", 9.0, 2.0),
        Span("aten::item", 9.0, 1.0, depth=1),
        Span(_ASK, 9.0, 0.5, depth=2),
    ]
    gpu = [
        Span("forward", 0.0, 2.0),
        Span("step", 2.0, 9.0),
        Span("aten::item", 2.5, 8.0, depth=1),
        Span(_ASK, 2.6, 7.8, depth=2),
        Span(_SYNC, 3.0, 7.0, depth=3),
        Span("mm_kernel", 2.0, 8.0, "device"),
        Span("wait", 11.0, 3.0),
        Span(_SYNC, 11.5, 2.0, depth=1),
        Span(_ASK, 12.0, 1.0, "device"),
        Span("send", 14.0, 3.0),
        Span("aten::to", 14.1, 2.8, depth=1),
        Span("aten::_to_copy", 14.2, 2.6, depth=2),
        Span("aten::copy_", 14.3, 2.4, depth=3),
        Span(_SYNC, 14.5, 2.0, depth=4),
        Span("MmBackward0", 2.2, 3.0, "autograd"),
        Span(_SYNC, 2.4, 1.0, "autograd", depth=1),
    ]
    calm = [Span("a", 0.0, 1.0), Span("aten::add", 0.2, 0.5, depth=1), Span("b", 1.0, 1.0)]
    return {
        "a CPU's trace": (cpu, {"forward": 0, "check": 2, "print": 1}),
        "a GPU's trace": (gpu, {"forward": 0, "step": 1, "wait": 1, "send": 1}),
        "a trace without waits": (calm, {"a": 0, "b": 0}),
    }


@exercise("12.5")
def ex_12_5(answer: Any) -> str:
    """How often each line of a trace makes the host wait."""
    for name, (spans, want) in _traces().items():
        got = answer(list(spans))
        expect(isinstance(got, dict), f"give back a dictionary, not a {type(got).__name__}")
        missing = [line for line in want if line not in got]
        expect(
            not missing, f"{name}: the line {missing[:1]} is not in it; one without a wait has the count 0"
        )
        more = [str(line) for line in got if line not in want]
        expect(not more, f"{name}: {more[:1]} is no line: the lines are the host's spans of depth 0")
        for line, right in want.items():
            count = got[line]
            where = f"{name}, line {line!r}: {right} is right, not {count}"
            own = next(s for s in spans if s.name == line)
            inside = [s.name for s in spans if s.lane == "host" and _within(s, own)]
            slips = [
                ((_ASK, _SYNC, _MASK), "a wait and the wait inside it count once"),
                ((_ASK, _MASK), "a bare `cudaStreamSynchronize` is a wait, too"),
                ((_ASK,), "a selection with a mask waits, too (`aten::nonzero`)"),
                ((_ASK, _MASK, "aten::item"), "`aten::item` contains the wait"),
            ]
            said = {sum(name in kinds for name in inside): why for kinds, why in reversed(slips)}
            expect(count == right, f"{where}. Perhaps: {said.get(count, 'does it start inside the line?')}")
    return "three small traces, of a CPU and of a GPU"


def _within(span: Span, line: Span) -> bool:
    return line.start <= span.start < line.start + line.length


_Bars = list[tuple[str, float, float]]


@exercise("12.6")
def ex_12_6(answer: Any) -> str:
    """The line of the host during which the device rests longest."""
    cases: list[tuple[_Bars, _Bars, str, dict[str, str]]] = [
        (
            [("network(x)", 0, 2), ("resize(x)", 2, 6), ("loss.item()", 8, 10)],
            [("k1", 1, 2), ("k2", 8, 9)],
            "resize(x)",
            {"loss.item()": "it takes longest, but the device works while it waits"},
        ),
        (
            [("load", 0, 3), ("forward", 3, 3), ("check", 6, 2.5)],
            [("k1", 3.5, 1), ("k2", 4.5, 3)],
            "load",
            {"check": "the time before the first kernel is rest, too"},
        ),
        (
            [("a", 0, 4), ("b", 4, 5), ("c", 9, 4)],
            [("k1", 0, 2.0), ("k2", 2.5, 4.0), ("k3", 9.5, 0.5)],
            "c",
            {"b": "a kernel that began in the line before still runs in this one"},
        ),
        ([("a", 0, 1), ("b", 1, 2)], [("k", 0, 1)], "b", {}),
        (
            [("a", 0, 10), ("b", 10, 1)],
            [("k1", 0, 1.6), ("k2", 2.5, 1.6), ("k3", 5, 1.6), ("k4", 7.5, 1.6)],
            "a",
            {"b": "add up all gaps of a line: neither the longest gap counts, nor its share of the line"},
        ),
    ]
    for lines, kernels, want, slips in cases:
        got = answer(list(lines), list(kernels))
        names = [name for name, _, _ in lines]
        expect(isinstance(got, str) and got in names, f"give back the name of a line, one of {names}")
        rest = f"of {lines} with the kernels {kernels} the device rests longest during {want!r}, not {got!r}"
        why = slips.get(got, "subtract from each line all its overlaps with kernels")
        expect(got == want, f"{rest}: {why}")
    return "five timelines, with kernels that reach over two lines"


@exercise("12.7")
def ex_12_7(answer: Any) -> str:
    """The best time between two saved states."""
    for cost, mean in ((0.4, 100.0), (0.1, 45.0), (2.0, 720.0)):
        want = math.sqrt(2 * cost * mean)
        slips = {
            "the factor 2 is missing: half of T is lost, not all of it": math.sqrt(cost * mean),
            "half of T is lost on average, so the 2 multiplies": math.sqrt(cost * mean / 2),
            "take the square root": 2 * cost * mean,
            "this is one state in each session": mean,
            "the square root of the quotient has no unit of time": math.sqrt(2 * mean / cost),
        }
        expect_close(answer(cost, mean), want, f"T for states of {cost} min, sessions of {mean} min",
                     slips=slips)  # fmt: skip
    return "three pairs of numbers; it is the square root of 2cM"


@exercise("12.8")
def ex_12_8(answer: Any) -> str:
    """One step with a loss scaler and a clipped gradient, against the same step in float32."""
    for start, slope, scale in ((3.0, 2.0, 1024.0), (0.2, 1.0, 256.0), (5.0, 0.5, 4.0)):
        weight = torch.nn.Parameter(torch.tensor([start, 0.0]))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1)
        weight.grad = torch.full((2,), 7.0)  # left from a step before
        loss = (slope * weight[0] ** 2).sum()
        true = 2 * slope * start
        got = answer(scaler, optimizer, loss, [weight])
        moved = start - weight.detach()[0].item()
        right = 0.1 * min(1.0, true)
        slips = {
            "the weight does not move": 0.0,
            "the scaled gradient was clipped: divide it first, with `unscale_`": 0.1
            * min(1.0, true * scale)
            / scale,
            "the gradient is not clipped": 0.1 * true,
            "the step was taken with the scaled gradient": 0.1 * true * scale,
            "the gradient was clipped, but of the scaled loss": 0.1 * min(1.0, true * scale),
        }
        stays = "the old gradient is still in it: set it to zero first"
        expect(weight.detach()[1].item() == 0.0, stays)
        expect_close(moved, right, f"the step at a true gradient of {true:g}", 2e-6, slips)
        expect_close(
            got,
            true,
            "the length that is given back",
            1e-4,
            {
                "this is the length of the scaled gradient": true * scale,
                "it is clipped already": min(1.0, true),
            },
        )
        expect(scaler.get_scale() != scale, "`scaler.update()` is missing: the scale can never change")
    weight = torch.nn.Parameter(torch.tensor([1.0, 0.0]))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126)
    answer(scaler, torch.optim.SGD([weight], lr=0.1), (8 * weight[0] ** 2).sum(), [weight])
    expect(
        weight.detach()[0].item() == 1.0,
        "a scaled gradient was infinite, and the weight moved: `scaler.step` would have left it alone",
    )
    return "three steps, clipped and not, equal those in float32, and one that overflows is skipped"


@exercise("12.9")
def ex_12_9(report: Any) -> str:
    """The report on a knob of one's own machine."""
    return expect_report(report, "plain", "changed", "control")
