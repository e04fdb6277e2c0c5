"""Checks of Chapter 19's exercises: beyond DHIDA."""

from __future__ import annotations

from typing import Any

import torch

from dhida_lib.book.checks import exercise, expect, expect_close, expect_report


@exercise("19.1")
def ex_19_1(answer: Any) -> str:
    """The largest mean distance of class centres."""
    for classes, bits in ((7, 16), (10, 16), (3, 12), (2, 20), (21, 48)):
        low, high = classes // 2, classes - classes // 2
        pairs = classes * (classes - 1) / 2
        slips = {
            "for an odd number of classes no whole k reaches C²/4": bits * classes**2 / 4 / pairs,
            "each pair is counted twice: there are C(C − 1)/2 pairs": bits * low * high / (2 * pairs),
            "this divides by C²/2; a class makes no pair with itself": bits * low * high / (classes**2 / 2),
            "this is the mean of random centres, and of a Hadamard matrix; one can do better": bits / 2,
            "this is for one bit; the code has K of them": low * high / pairs,
            "this is the sum over all pairs; the mean is asked for": bits * low * high,
            "not all pairs of classes can differ in every bit, for a bit has only two values": float(bits),
        }
        want = bits * low * high / pairs
        slips = {text: n for text, n in slips.items() if abs(n - want) > 1e-9}
        expect_close(answer(classes, bits), want, f"{classes} classes, {bits} bits", 1e-9, slips)
    return "odd and even numbers of classes, and two of them"


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


def _behind(score: float, classes: int, per_class: int, halvings: int = 40) -> float:
    """The accuracy behind an mAP, by so many halvings."""
    low, high = 1 / classes, 1.0
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if _one_hot_map(middle, classes, per_class) < score else (low, middle)
    return low


@exercise("19.2")
def ex_19_2(answer: Any) -> str:
    """The accuracy behind an mAP."""
    for score, classes, per_class in [(0.7, 10, 540), (0.8213, 10, 5400), (0.45, 4, 200), (0.93, 21, 60)]:
        low = _behind(score, classes, per_class, 60)
        what = f"the accuracy behind mAP {score} with {classes} classes of {per_class} images"
        got = answer(score, classes, per_class)
        expect(
            isinstance(got, (int, float)) and 0 <= got <= 1, f"{what} should be a number from 0 to 1: {got}"
        )
        slips = {
            "this is the mAP itself": score,
            "the root of the mAP leaves out the images behind; one_hot_map knows them": score**0.5,
            "the classes of the argument are not passed on": _behind(score, 10, per_class),
            "forty halvings are asked for; after five the interval is still wide": _behind(
                score, classes, per_class, 5
            ),
            "the wrong half is kept: if the mAP is below the score, the accuracy lies above the middle": 1.0
            if got > 0.5
            else 1 / classes,
        }
        slips = {text: n for text, n in slips.items() if abs(n - low) > 1e-3}
        expect_close(got, low, what, tolerance=2e-4, slips=slips)
    return "four mAPs, four accuracies"


SAID = {  # what an audit that misses a fault has not looked at
    "a class that is trained and asked": "compare the classes of training and queries",
    "a class that is trained and only searched": "the database has classes, too, that no query may ask for",
    "a query that is searched, too": "the third pair of parts is the queries and the database",
    "a query without an answer": "look for an answer for each query",
    "a query whose only answer is itself": "a query is no answer to itself",
    "a training image in the database": "compare all three pairs of parts",
    "a training image that asks": "compare all three pairs of parts",
    "everything at once": "one fault must not hide another",
}


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
        expect(not want - got, f"{what}: the fault {sorted(want - got)} was not found; {SAID.get(what, '')}")
        expect(not got - want, f"{what}: {sorted(got - want)} was reported, but is not there")
    return "nine splits, three kinds of faults"


@exercise("19.4")
def ex_19_4(answer: Any) -> str:
    """The average gain over the best rival at each length."""
    tables = [
        {"ours": [0.60, 0.70], "c": [0.55, 0.10], "a": [0.50, 0.65], "b": [0.40, 0.68]},
        {"ours": [0.80, 0.80, 0.80], "a": [0.79, 0.30, 0.78], "b": [0.10, 0.85, 0.20]},
        {"z": [0.20], "ours": [0.10]},
    ]
    for table in tables:
        rivals = [row for name, row in table.items() if name != "ours"]
        row = table["ours"]
        tops = [max(r[i] for r in rivals) for i in range(len(row))]
        gains = [x - top for x, top in zip(row, tops, strict=True)]

        def mean(values: Any) -> float:
            values = list(values)
            return sum(values) / len(values)

        middle = [mean(r[i] for r in rivals) for i in range(len(row))]
        slips = {
            "this is the largest gain; the mean is asked for": max(gains),
            "not only the first rival: the best of all at each length": mean(row) - mean(rivals[0]),
            "the best rival may be another one at each length; this takes one for all of them": (
                mean(row) - max(mean(r) for r in rivals)
            ),
            "this compares with the average rival; the claim is about the best": mean(
                x - m for x, m in zip(row, middle, strict=True)
            ),
            "losses count as well, a gain can be negative": mean(max(0.0, gain) for gain in gains),
            "this is a ratio; points are asked for, the difference": mean(
                x / t - 1 for x, t in zip(row, tops, strict=True)
            ),
            "our own row is no rival": mean(x - max(t, x) for x, t in zip(row, tops, strict=True)),
        }
        want = mean(gains)
        slips = {text: n for text, n in slips.items() if abs(n - want) > 1e-9}
        got = answer({k: list(v) for k, v in table.items()}, "ours")
        expect_close(got, want, f"the average gain of 'ours' in {table}", slips=slips)
    return "three tables; one of them has a loss in it"


@exercise("19.5")
def ex_19_5(report: Any) -> str:
    """The report on label-free codes."""
    return expect_report(report, "plain", "changed")
