"""Typical wrong answers to the exercises of Chapter 12."""

from __future__ import annotations

import statistics

import torch


def timer(warm=True, before=True, after=True, whole=False, summary=statistics.median):
    def answer(step, synchronize, clock, warmup, repeats):
        for _ in range(warmup if warm else 0):
            step()
        times = []
        start = clock()
        for _ in range(repeats + (0 if warm else warmup)):
            if before:
                synchronize()
            if not whole:
                start = clock()
            step()
            if after:
                synchronize()
            times.append(clock() - start)
        return summary(times)

    return answer


def scaler(reset=True, up=2.0, down=2.0, late=False, forget=True):
    def answer(scale, good, finite, interval):
        if not finite:
            return scale / down, 0 if forget else good
        good += 1
        if good > interval if late else good == interval:
            return scale * up, 0 if reset else good
        return scale, good

    return answer


def accumulated(factor, value=None, which=slice(None)):
    """A pass over the batches with ``factor(x, batches)`` on each loss; ``value`` on what is returned."""

    def answer(loss, batches):
        total = 0.0
        for x in batches[which]:
            part = loss(x) * factor(x, batches)
            part.backward()
            total += (loss(x) * (value or factor)(x, batches)).item()
        return total

    return answer


def share(x, batches):
    return len(x) / sum(map(len, batches))


def no_backward(loss, batches):
    return sum(loss(x).item() * share(x, batches) for x in batches)


def at_once(loss, batches):
    value = loss(torch.cat(batches))
    value.backward()
    return value.item()


def summed(loss, batches):
    value = sum(loss(x) * share(x, batches) for x in batches)
    value.backward()
    return value.item()


ASK, MASK, SYNC = "aten::_local_scalar_dense", "aten::nonzero", "cudaStreamSynchronize"


def counter(
    names=(ASK, MASK), bare=True, depth=True, zeros=True, result=dict, twice=False, shallow=False, lane="host"
):
    """Waits by line, with one thing wrong."""

    def answer(spans):
        def inside(span, other):
            return other.start <= span.start < other.start + other.length

        host = [s for s in spans if s.lane != "device" and lane in (s.lane, "any")]
        asks = [s for s in host if s.name in names]
        alone = [s for s in host if s.name == SYNC and (twice or not any(inside(s, a) for a in asks))]
        alone = [s for s in alone if not shallow or s.depth == 1]
        found = asks + (alone if bare else [])
        lines = [s for s in host if s.depth == 0 or not depth]
        counts = {line.name: sum(inside(s, line) for s in found) for line in lines}
        return result({name: n for name, n in counts.items() if n or zeros})

    return answer


def starving(mode):
    """The line with the longest rest, by a wrong measure of rest."""

    def both(a, b):
        return max(0.0, min(a[1] + a[2], b[1] + b[2]) - max(a[1], b[1]))

    def answer(lines, kernels):
        rest = {}
        for line in lines:
            busy = sum(both(line, k) for k in kernels)
            if mode == "started":  # only kernels that start in the line
                busy = sum(both(line, k) for k in kernels if line[1] <= k[1] < line[1] + line[2])
            if mode == "after first":
                first = max(line[1], kernels[0][1])
                busy += min(line[2], max(0.0, first - line[1]))
            rest[line[0]] = line[2] if mode == "longest" else busy if mode == "busy" else line[2] - busy
            if mode == "share":
                rest[line[0]] /= line[2]
        name = max(rest, key=rest.get)
        return rest[name] if mode == "number" else name

    return answer


def stepped(unscale=True, clip=True, zero=True, update=True, back="true", plain=False):
    """One scaled step, with one thing wrong."""

    def answer(scaler, optimizer, loss, weights):
        if zero:
            optimizer.zero_grad()
        scaler.scale(loss).backward()
        length = weights[0].grad.norm()
        if unscale:
            scaler.unscale_(optimizer)
        true = weights[0].grad.norm()
        if clip:
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
        (optimizer if plain else scaler).step(*([] if plain else [optimizer]))
        if update:
            scaler.update()
        return {"true": true, "scaled": length, "clipped": weights[0].grad.norm()}[back]

    return answer


def still(scaler, optimizer, loss, weights):
    return loss.new_ones(())


REPORT = {
    "prediction": "It is faster because fewer copies are made.",
    "plain": [11.0, 12.0, 11.5],
    "changed": [9.0, 9.5, 9.1],
    "control": [11.2, 11.9, 11.4],
    "conclusion": "It is faster by a fifth on this CPU; nothing is shown for a GPU.",
}

WRONG = {
    "12.1": [
        ("no synchronize at all", timer(before=False, after=False), "only the queueing is timed"),
        ("no synchronize before the clock stops", timer(after=False), "only the queueing is timed"),
        ("warm-up not run", timer(warm=False), "the steps of the warm-up are counted"),
        (
            "warm-up's work still running when the clock starts",
            timer(before=False, whole=True),
            "the work of the warm-up is in it",
        ),
        (
            "no synchronize before the clock starts",
            timer(before=False),
            "wait before the clock starts",
        ),
        ("clock never restarted", timer(whole=True), "the clock is never started again"),
        ("mean instead of median", timer(summary=statistics.fmean), "this is the mean"),
        ("the smallest", timer(summary=min), "this is the smallest time"),
    ],
    "12.2": [
        ("counter not reset after doubling", scaler(reset=False), "the count goes on"),
        ("one step too late", scaler(late=True), "it has not grown after enough good steps"),
        ("never grows", scaler(up=1.0), "it has not grown after enough good steps"),
        ("never shrinks", scaler(down=1.0), "it stays after an overflow"),
        ("grows after an overflow", scaler(down=0.5), "it grows after an overflow"),
        ("an overflow does not reset the counter", scaler(forget=False), "the count goes on"),
    ],
    "12.3": [
        ("mean of the batches' means", accumulated(lambda x, b: 1 / len(b)), "counts as much as a full one"),
        ("sum of the batches' means", accumulated(lambda x, b: 1.0), "added without a weight"),
        (
            "as large as the first",
            accumulated(lambda x, b: len(x) / (len(b[0]) * len(b))),
            "as if all were as large as the first",
        ),
        ("only the last batch", accumulated(share, which=slice(-1, None)), "only the last batch"),
        ("sum over images", accumulated(lambda x, b: float(len(x))), "divide by the number of all"),
        (
            "right gradient, mean of means returned",
            accumulated(share, value=lambda x, b: 1 / len(b)),
            "this is the mean of the batches' means",
        ),
        ("no backward", no_backward, "is a `backward()` missing?"),
        ("all batches as one", at_once, "1 backward passes"),
        ("one backward of the sum", summed, "1 backward passes"),
        ("a tensor", lambda loss, b: torch.tensor(accumulated(share)(loss, b)), "give back a number"),
    ],
    "12.4": [
        ("gradients forgotten", lambda p, K, n, c: 8 * p + n * (4 * K + c + 1), "12 bytes a weight"),
        ("bank as bits", lambda p, K, n, c: 12 * p + n * (K / 8 + c + 1), "float32, not bits"),
        ("bank forgotten", lambda p, K, n, c: 12 * p, "the bank is missing"),
        ("labels in float32", lambda p, K, n, c: 12 * p + n * (4 * K + 4 * c + 1), "one byte for each class"),
        ("the mask forgotten", lambda p, K, n, c: 12 * p + n * (4 * K + c), "whether its row is filled"),
        ("two means, as Adam has", lambda p, K, n, c: 16 * p + n * (4 * K + c + 1), "as Adam has"),
    ],
    "12.5": [
        ("every kind counted", counter(twice=True), "count once"),
        ("item counted as well", counter(names=(ASK, MASK, "aten::item")), "contains the wait"),
        ("masks forgotten", counter(names=(ASK,)), "with a mask waits, too"),
        ("bare waits forgotten", counter(bare=False), "a bare `cudaStreamSynchronize`"),
        ("every span a line", counter(depth=False), "is no line"),
        ("bare waits only directly in a line", counter(shallow=True), "a bare `cudaStreamSynchronize`"),
        ("autograd's thread too", counter(lane="any"), "is no line"),
        ("calm lines left out", counter(zeros=False), "has the count 0"),
        ("the sum", counter(result=lambda d: sum(d.values())), "give back a dictionary"),
    ],
    "12.6": [
        ("the longest line", starving("longest"), "it takes longest, but the device works"),
        ("the busiest line", starving("busy"), "it takes longest, but the device works"),
        ("only from the first kernel on", starving("after first"), "before the first kernel is rest, too"),
        ("kernels that start there", starving("started"), "still runs in this one"),
        ("the largest share", starving("share"), "add up all gaps of a line"),
        ("the time", starving("number"), "give back the name of a line"),
    ],
    "12.7": [
        ("no factor", lambda c, M: (c * M) ** 0.5, "the factor 2 is missing"),
        ("the half inside", lambda c, M: (c * M / 2) ** 0.5, "so the 2 multiplies"),
        ("no root", lambda c, M: 2 * c * M, "take the square root"),
        ("a session", lambda c, M: M, "one state in each session"),
        ("a quotient", lambda c, M: (2 * M / c) ** 0.5, "has no unit of time"),
    ],
    "12.8": [
        ("the bug kept", stepped(unscale=False), "the scaled gradient was clipped"),
        ("no clipping", stepped(clip=False), "the gradient is not clipped"),
        ("no zero_grad", stepped(zero=False), "set it to zero first"),
        ("no update", stepped(update=False), "`scaler.update()` is missing"),
        ("no step", still, "the weight does not move"),
        ("the scaled length", stepped(back="scaled"), "the length of the scaled gradient"),
        ("the clipped length", stepped(back="clipped"), "it is clipped already"),
        ("the optimizer's own step", stepped(plain=True), "would have left it alone"),
        (
            "a step without the scaler",
            stepped(unscale=False, clip=False, plain=True, update=False),
            "with the scaled gradient",
        ),
    ],
    "12.9": [
        ("no control", {k: v for k, v in REPORT.items() if k != "control"}, "no entry 'control'"),
        ("measured twice", REPORT | {"changed": [9.0, 9.5]}, "fewer than 3"),
        ("no conclusion", REPORT | {"conclusion": "faster"}, "the conclusion should be a sentence"),
        ("plain again", REPORT | {"changed": [11.0, 12.0, 11.5]}, "does the change reach"),
    ],
}
