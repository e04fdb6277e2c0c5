"""Checks of Chapter 15's exercises: the ablation."""

from __future__ import annotations

import math
from statistics import NormalDist, fmean, stdev
from typing import Any

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close
from dhida_lib.experiments import MODELS


@exercise("15.1")
def ex_15_1(answer: Any) -> str:
    """The paired difference over the shared seeds."""
    a = {0: 0.71, 3: 0.66, 1: 0.75, 4: 0.68, 7: 0.90}
    b = {4: 0.69, 1: 0.73, 5: 0.10, 0: 0.70, 3: 0.63}
    for x, y, what in [(a, b, "a over b"), (b, a, "b over a")]:
        got = answer(dict(x), dict(y))
        try:
            mean, error, n = got
        except (TypeError, ValueError) as problem:
            raise Wrong("give back three numbers: the mean difference, its standard error and n") from problem
        expect_close(
            n, 4, f"n ({what}; the first has seeds {sorted(x)}, the second {sorted(y)}: four shared)"
        )
        d = [x[seed] - y[seed] for seed in (0, 1, 3, 4)]
        expect_close(mean, fmean(d), f"the mean over the four shared seeds ({what})")
        expect_close(error, stdev(d) / 2, f"the standard error over the four shared seeds ({what})")
    mean, error, n = answer({5: 0.4, 2: 0.6}, {2: 0.5, 8: 0.1})
    expect_close(n, 1, "n for dictionaries that share one seed")
    expect_close(mean, 0.1, "the mean for one shared seed")
    expect(
        isinstance(error, float) and math.isnan(error),
        f"one seed has no standard error: give back math.nan, not {error}",
    )
    return "seeds in any order, with holes, and a single one"


@exercise("15.2")
def ex_15_2(answer: Any) -> str:
    """The sign test."""
    cases = [
        ([0.01, 0.02, 0.001, 0.3, 0.02], 2 / 32, "five differences above 0"),
        ([-0.01, -0.02, -0.3], 2 / 8, "three differences below 0"),
        ([0.01, 0.02, -0.01, 0.03, 0.04], 12 / 32, "four above 0, one below"),
        ([0.01, -0.02, 0.02, -0.01], 1.0, "two above and two below 0 (p is at most 1)"),
        ([0.0, 0.01, 0.02, 0.0, 0.03, -0.01], 10 / 16, "three above, one below, two exactly 0"),
        ([0.0, 0.0], 1.0, "nothing but zeros"),
    ]
    for differences, want, what in cases:
        expect_close(answer(list(differences)), want, f"p for {what}")
    return "six lists: both signs, even ones, zeros"


@exercise("15.3")
def ex_15_3(answer: Any) -> str:
    """The chance of the wrong order."""
    for gain, sd, n in [(0.0137, 0.01, 1), (0.0137, 0.01, 5), (0.004, 0.02, 3), (0.0, 0.03, 2)]:
        got = answer(gain, sd, n)
        want = NormalDist().cdf(-gain / (sd * math.sqrt(2 / n)))
        what = f"the chance for gain {gain}, sd {sd}, n = {n}"
        expect(
            isinstance(got, (int, float)) and 0 <= got <= 1, f"{what} should be a number from 0 to 1: {got}"
        )
        expect(got <= 0.5 + 1e-9, f"{what} is {got:.3f}: the better model comes out below in at most half")
        expect_close(got, want, what)
    return "four cases; without a gain it is a coin"


_CONTROLS = {
    "a": ("DHIDA", "A doubled"),
    "b": ("sum halved", "DHIDA-R"),
    "c": ("DHIDA", "plain convolutions"),
    "d": ("DHIDA", "sign flipped"),
    "e": ("DHIDA, row", "DHIDA"),
    "f": ("A doubled", "DHIDA-R"),
    "g": ("DHIDA-I", "DHIDA-A"),
}
_ASKS = {
    "a": "both rows must have the factor 2, and one of them attention as well",
    "b": "neither row may have the factor 2",
    "c": "both rows must have the same number of parameters",
    "d": "the rows must have the same widths and differ in the sign only (DANet has other widths)",
    "e": "the rows must differ in the axis only, and in one of them max and mean must not cancel",
    "f": "neither row may have attention",
    "g": "the rows must differ in f(u) only",
}


@exercise("15.4")
def ex_15_4(answer: Any) -> str:
    """The pair of rows that a claim needs."""
    for claim, want in _CONTROLS.items():
        got = answer(claim)
        expect(
            isinstance(got, (tuple, list)) and len(got) == 2,
            f'claim "{claim}": give back two names of rows, not {got!r}',
        )
        for row in got:
            expect(
                row in MODELS,
                f'claim "{claim}": {row!r} is no row; rows are {", ".join(map(repr, MODELS))}',
            )
        expect(
            tuple(got) != want[::-1],
            f'claim "{claim}": the right pair in the wrong order; first the row that should be higher',
        )
        expect(tuple(got) == want, f'claim "{claim}": {got[0]} and {got[1]} do not fit: {_ASKS[claim]}')
    return "seven claims, seven pairs"
