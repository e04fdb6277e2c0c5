"""Checks of Chapter 19's exercises: beyond DHIDA."""

from __future__ import annotations

from typing import Any

import torch

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close


@exercise("19.1")
def ex_19_1(answer: Any) -> str:
    """Random centres with a least distance."""
    drawn = {}
    for classes, bits, least, seed in [(10, 16, 5, 0), (10, 16, 5, 1), (21, 48, 13, 0), (3, 4, 2, 4)]:
        what = f"{classes} centres of {bits} bits, least distance {least}, seed {seed}"
        got = answer(classes, bits, least, seed)
        expect(isinstance(got, torch.Tensor), f"{what}: give back a tensor, not a {type(got).__name__}")
        expect(
            tuple(got.shape) == (classes, bits),
            f"{what}: shape {tuple(got.shape)}, expected {(classes, bits)}",
        )
        expect(bool((got.abs() == 1).all()), f"{what}: every element must be −1 or +1")
        expect(bool((got.sum(1) == 0).all()), f"{what}: each centre needs as many +1 as −1")
        h = (bits - got.double() @ got.double().T) / 2
        nearest = int(h[~torch.eye(classes, dtype=torch.bool)].min())
        expect(nearest >= least, f"{what}: two centres are only {nearest} bits apart")
        again = answer(classes, bits, least, seed)
        expect(torch.equal(got, again), f"{what}: a second call gave other centres; draw from the seed alone")
        drawn[classes, bits, seed] = got
    expect(
        not torch.equal(drawn[10, 16, 0], drawn[10, 16, 1]),
        "seeds 0 and 1 gave the same centres; use the seed",
    )
    try:
        answer(5, 4, 3, 0)
    except ValueError:
        return "four sets: ±1, balanced, far enough apart, repeatable; an impossible one refused"
    raise Wrong("five centres of 4 bits with distance 3 do not exist: raise a ValueError after many draws")


def _one_hot_map(accuracy: float, classes: int, per_class: int) -> float:
    """Expected mAP of a one-hot code with even errors, by the sum over ranks."""
    n, c = per_class, classes
    total = 0.0
    for share, hits in ((accuracy, accuracy * n), (1 - accuracy, (1 - accuracy) * n / (c - 1))):
        groups = [(n, hits), (n * (c - 1), n - hits)]
        ap, items, relevant = 0.0, 0.0, 0.0
        for size, inside in groups:
            t = torch.arange(1, round(size) + 1, dtype=torch.float64)
            expected = relevant + 1 + (t - 1) * (inside - 1) / max(size - 1, 1)
            ap += float((inside / size * expected / (items + t)).sum())
            items, relevant = items + size, relevant + inside
        total += share * ap / n
    return total


@exercise("19.2")
def ex_19_2(answer: Any) -> str:
    """The accuracy behind an mAP."""
    for score, classes, per_class in [(0.7, 10, 540), (0.8213, 10, 5400), (0.45, 4, 200), (0.93, 21, 60)]:
        low, high = 1 / classes, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if _one_hot_map(middle, classes, per_class) < score else (low, middle)
        what = f"the accuracy behind mAP {score} with {classes} classes of {per_class} images"
        got = answer(score, classes, per_class)
        expect(
            isinstance(got, (int, float)) and 0 <= got <= 1, f"{what} should be a number from 0 to 1: {got}"
        )
        expect_close(got, low, what, tolerance=2e-4)
    return "four mAPs, four accuracies"


@exercise("19.3")
def ex_19_3(answer: Any) -> str:
    """The audit of a split by unseen classes."""
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    cases = [
        ("a clean split", ([0, 1, 3], [6, 9], [7, 8, 10, 11]), set()),
        ("a class that is trained and asked", ([0, 1, 6], [7, 9], [8, 10, 11]), {"class"}),
        ("a class that is trained and only searched", ([0, 1, 3], [6], [7, 8, 4]), {"class"}),
        ("a query that is searched, too", ([0, 1, 3], [6, 9], [6, 7, 10]), {"image"}),
        ("a query without an answer", ([0, 1, 3], [6, 9], [7, 8]), {"answer"}),
        ("a query whose only answer is itself", ([0, 3], [6, 9], [6, 10]), {"image", "answer"}),
        ("a training image in the database", ([0, 3], [6], [7, 3]), {"class", "image"}),
        ("a training image that asks", ([0, 6], [6], [7, 8]), {"class", "image"}),
        ("everything at once", ([0, 6], [6, 9], [0, 7]), {"class", "image", "answer"}),
    ]
    for what, (train, query, database), want in cases:
        got = answer(torch.tensor(labels), *(torch.tensor(x) for x in (train, query, database)))
        expect(isinstance(got, set), f"{what}: give back a set of words, not a {type(got).__name__}")
        unknown = got - {"class", "image", "answer"}
        expect(not unknown, f'{what}: {unknown} are no faults; they are "class", "image" and "answer"')
        expect(not want - got, f"{what}: the fault {sorted(want - got)} was not found")
        expect(not got - want, f"{what}: {sorted(got - want)} was reported, but is not there")
    return "nine splits, three kinds of faults"


@exercise("19.4")
def ex_19_4(answer: Any) -> str:
    """The average gain over the best rival at each length."""
    tables = [
        {"ours": [0.60, 0.70], "a": [0.50, 0.65], "b": [0.40, 0.68], "c": [0.55, 0.10]},
        {"ours": [0.80, 0.80, 0.80], "a": [0.79, 0.30, 0.78], "b": [0.10, 0.85, 0.20]},
        {"z": [0.20], "ours": [0.10]},
    ]
    for table in tables:
        rivals = [row for name, row in table.items() if name != "ours"]
        gains = [x - max(r[i] for r in rivals) for i, x in enumerate(table["ours"])]
        got = answer({k: list(v) for k, v in table.items()}, "ours")
        expect_close(got, sum(gains) / len(gains), f"the average gain of 'ours' in {table}")
    return "three tables; one of them has a loss in it"
