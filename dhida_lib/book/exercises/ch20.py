"""Checks of Chapter 20's exercises: projects and their reports."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import Any

import numpy as np

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close, expect_report


@exercise("20.1")
def ex_20_1(answer: Any) -> str:
    """The expected value of the larger of two runs."""
    for mean, sd in ((0.7, 0.01), (0.0, 3.0), (-2.0, 0.5)):
        slips = {
            "the half is forgotten: max(X, Y) has half of the difference": mean + 2 * sd / math.sqrt(math.pi),
            "the variances of two independent runs add up, so the difference has the deviation σ√2": (
                mean + sd * math.sqrt(2 / math.pi) / 2
            ),
            "standard deviations do not add up, variances do": mean + sd * math.sqrt(2 / math.pi),
            "this is the mean of a single run; the larger of two lies above it": mean,
            "this is one standard deviation above; the half of E|X − Y| is less": mean + sd,
            "this is the smaller of the two": mean - sd / math.sqrt(math.pi),
        }
        want = mean + sd / math.sqrt(math.pi)
        expect_close(
            answer(mean, sd), want, f"the larger of two runs, mean {mean}, deviation {sd}", 1e-6, slips
        )
    return "three means and deviations"


@exercise("20.2")
def ex_20_2(answer: Any) -> str:
    """A paired difference and its standard error."""
    cases = [
        ({0: 0.71, 1: 0.60, 2: 0.83, 7: 0.2}, {2: 0.78, 1: 0.58, 0: 0.68, 5: 0.9}),
        ({3: 1.0, 1: 4.0, 2: 2.5, 0: 0.0}, {0: 1.0, 1: 1.0, 2: 1.0, 3: 3.5}),
    ]
    for a, b in cases:
        seeds = sorted(a.keys() & b.keys())
        d = [a[s] - b[s] for s in seeds]
        by_place = [p - q for p, q in zip(a.values(), b.values(), strict=True)]
        n = len(d)
        x, y = [a[s] for s in seeds], [b[s] for s in seeds]
        got = answer(dict(a), dict(b))
        try:
            mean, error = got
        except (TypeError, ValueError) as problem:
            raise Wrong("give back a pair: the mean of the differences and its standard error") from problem
        slips = {
            "a dictionary gives its values in the order of writing: look up each seed": fmean(by_place),
            "the sign is turned round: it is a − b": -fmean(d),
        }
        slips = {text: value for text, value in slips.items() if abs(value - fmean(d)) > 1e-9}
        expect_close(mean, fmean(d), "the mean of the differences", 1e-6, slips)
        slips = {
            "this is the deviation of the differences; that of their mean is √n times smaller": stdev(d),
            "np.std divides by n, a sample needs n − 1 (and the mean needs ÷ √n)": float(np.std(d)),
            "np.std divides by n, a sample needs n − 1": float(np.std(d)) / math.sqrt(n),
            "this is the error for unpaired runs; the seeds are shared": math.hypot(stdev(x), stdev(y))
            / math.sqrt(n),
            "this is the variance divided by n; take the root": stdev(d) ** 2 / n,
        }
        expect_close(error, stdev(d) / math.sqrt(n), "the standard error", 1e-6, slips)
    return "seeds in another order, seeds that only one side has"


@exercise("20.3")
def ex_20_3(answer: Any) -> str:
    """The variant that validation chooses, and its test mean."""
    validation = {"a": [0.50, 0.90, 0.40], "b": [0.70, 0.68, 0.72], "c": [0.60, 0.61, 0.62]}
    test = {"a": [0.55, 0.50, 0.45], "b": [0.66, 0.64, 0.68], "c": [0.80, 0.81, 0.79]}
    got = answer({k: list(v) for k, v in validation.items()}, {k: list(v) for k, v in test.items()})
    try:
        name, mean = got
    except (TypeError, ValueError) as problem:
        raise Wrong("give back a pair: the name and its mean test mAP") from problem
    expect(name != "c", "this is the best variant of the test: that is looking, not choosing")
    expect(name != "a", "this variant has the best single seed; choose by the mean over the seeds")
    expect(name == "b", f"{name!r} was chosen, expected 'b'")
    slips = {
        "this is its mean on the validation images, on which it was chosen; report the test": 0.70,
        "this is its best seed; report the mean": 0.68,
    }
    expect_close(mean, 0.66, "the mean test mAP of 'b'", 1e-6, slips)
    return "three variants: one lucky seed, one that the test would choose"


@exercise("20.4")
def ex_20_4(report: Any) -> str:
    """The first page of a project."""
    return expect_report(report, "plain", "changed")
