"""Typical wrong answers to the exercises of Chapter 12."""

from __future__ import annotations

import statistics


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


WRONG = {
    "12.1": [
        ("no synchronize at all", timer(before=False, after=False)),
        ("no synchronize before the clock stops", timer(after=False)),
        ("warm-up not run", timer(warm=False)),
        ("warm-up's work still running when the clock starts", timer(before=False, whole=True)),
        ("clock never restarted", timer(whole=True)),
        ("mean instead of median", timer(summary=statistics.fmean)),
        ("the smallest", timer(summary=min)),
    ],
    "12.2": [
        ("counter not reset after doubling", scaler(reset=False)),
        ("one step too late", scaler(late=True)),
        ("never grows", scaler(up=1.0)),
        ("never shrinks", scaler(down=1.0)),
        ("grows after an overflow", scaler(down=0.5)),
        ("an overflow does not reset the counter", scaler(forget=False)),
    ],
    "12.3": [
        ("mean of the batches' means", accumulated(lambda x, b: 1 / len(b))),
        ("sum of the batches' means", accumulated(lambda x, b: 1.0)),
        ("as large as the first", accumulated(lambda x, b: len(x) / (len(b[0]) * len(b)))),
        ("only the last batch", accumulated(share, which=slice(-1, None))),
        ("sum over images", accumulated(lambda x, b: float(len(x)))),
        ("right gradient, mean of means returned", accumulated(share, value=lambda x, b: 1 / len(b))),
        ("no backward", no_backward),
    ],
    "12.4": [
        ("gradients forgotten", lambda p, K, n, c: 8 * p + n * (4 * K + c + 1)),
        ("running means forgotten", lambda p, K, n, c: 4 * p + 4 * p + n * (4 * K + c + 1)),
        ("bank as bits", lambda p, K, n, c: 12 * p + n * (K / 8 + c + 1)),
        ("bank forgotten", lambda p, K, n, c: 12 * p),
        ("labels in float32", lambda p, K, n, c: 12 * p + n * (4 * K + 4 * c + 1)),
        ("the mask of filled rows forgotten", lambda p, K, n, c: 12 * p + n * (4 * K + c)),
        ("two means, as Adam has", lambda p, K, n, c: 16 * p + n * (4 * K + c + 1)),
    ],
}
