"""Checks of Chapter 3: expected P@N, the AP of a lazy network, the first hit, a bug in AP@k, the tie band."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from dhida_lib.book.checks import exercise, expect, expect_close, expect_report


@exercise("3.1")
def ex_3_1(answer: Any) -> str:
    """Expected P@N of one query."""
    counts, relevant = [1, 3, 0, 4, 2], [1, 1, 0, 3, 0]
    try:
        answer(list(counts), list(relevant), 10)
    except ZeroDivisionError:
        expect(False, "at a distance without any image, m⁺/m is 0/0: skip such a distance")

    def hits(n: int, of_tie: Callable[[int, int, int], float]) -> float:
        """Hits among the first n if `of_tie` says how many of a tie's shown slots are relevant."""
        total, left = 0.0, n
        for m, good in zip(counts, relevant, strict=True):
            shown = min(m, left)
            total, left = total + (of_tie(shown, m, good) if shown else 0.0), left - shown
        return total

    for n in (6, *range(1, sum(counts) + 1)):  # 6 first: there every slip gives another number
        want = hits(n, lambda shown, m, good: shown * good / m)
        slips = {
            "the relevant images of a cut tie were put first, its best order": hits(
                n, lambda shown, m, good: min(shown, good)
            ),
            "the relevant images of a cut tie were put last, its worst order": hits(
                n, lambda shown, m, good: max(0, shown - (m - good))
            ),
            "all relevant images of the tie were counted, though rank N cuts it": hits(
                n, lambda shown, m, good: good
            ),
            "only ties that lie whole in the first N were counted": hits(
                n, lambda shown, m, good: good if shown == m else 0
            ),
        }
        slips = {sentence: value / n for sentence, value in slips.items()}
        slips["this is the number of relevant images; P@N is their share, so divide by N"] = want
        expect_close(answer(list(counts), list(relevant), n), want / n, f"the expected P@{n}", slips=slips)
    expect_close(answer([0, 0, 2], [0, 0, 1], 1), 0.5, "the expected P@1 with nothing at distances 0 and 1")
    return f"every N from 1 to {sum(counts)}, and empty distances"


@exercise("3.2")
def ex_3_2(answer: Any) -> str:
    """Expected AP when all images are tied."""
    sizes = [(10, 3), (4000, 400), (7, 7), (5, 1)]
    for n, good in sizes:
        zeta = sum(1 / rank for rank in range(1, n + 1))
        rho = (good - 1) / (n - 1)
        want = (zeta + rho * (n - zeta)) / n
        slips = {
            "this is the share R/n: AP looks only at ranks with a hit, and a hit counts itself": good / n,
            "ρ has n in its divisor: a hit leaves n − 1 other images": (zeta + (good - 1) / n * (n - zeta))
            / n,
            "ρ counts all R: a hit leaves R − 1 other relevant images": (zeta + good / (n - 1) * (n - zeta))
            / n,
            "the hit itself is missing, the 1 in a⁺ + 1": rho * (n - zeta) / n,
            "ζ is a sum, not the logarithm": (math.log(n) + rho * (n - math.log(n))) / n,
            "ζ stops one rank too early: it runs to n": (zeta - 1 / n + rho * (n - zeta + 1 / n)) / n,
            "the factor (1/R)·(m⁺/m) is 1/n, not 1/R": (zeta + rho * (n - zeta)) / good,
        }
        expect_close(answer(n, good), want, f"the AP with n = {n} and R = {good}", 1e-9, slips=slips)
    try:
        single = answer(1, 1)
    except ZeroDivisionError:
        expect(False, "with n = 1, ρ is 0/0: a tie of one image has ρ = 0")
    expect_close(single, 1.0, "the AP of a database that is one relevant image")
    return f"(n, R) = {', '.join(map(str, sizes))} and (1, 1)"


@exercise("3.3")
def ex_3_3(answer: Any) -> str:
    """Expected reciprocal rank under ties."""
    cases = [([2, 5, 3], [0, 2, 3]), ([4], [4]), ([0, 6], [0, 1]), ([3, 1, 0, 8], [0, 0, 0, 3])]
    for counts, relevant in cases:
        i = next(i for i, good in enumerate(relevant) if good)
        a, m, good = sum(counts[:i]), counts[i], relevant[i]
        ways = [math.comb(m - t, good - 1) / math.comb(m, good) for t in range(1, m + 1)]
        share = good / m
        slips = {
            "1/(mean rank) is not the mean of 1/rank": 1 / (a + (m + 1) / (good + 1)),
            "the first hit was put at the front of its tie, the best order": 1 / (a + 1),
            "the first hit was put behind all misses of its tie, the worst order": 1 / (a + m - good + 1),
            "the misses ahead of the tie push its ranks back: divide by a + t": sum(
                p / t for t, p in enumerate(ways, 1)
            ),
            "every hit of the tie was counted; only the first one matters": share
            * sum(1 / (a + t) for t in range(1, m + 1)),
            "the slots were drawn with putting back; a tie's images are drawn without": sum(
                share * (1 - share) ** (t - 1) / (a + t) for t in range(1, m + 1)
            ),
        }
        want = sum(p / (a + t) for t, p in enumerate(ways, 1))
        got = answer(list(counts), list(relevant))
        expect_close(got, want, f"the mean of 1/rank for counts {counts}, relevant {relevant}", slips=slips)
    expect_close(answer([2, 3], [0, 0]), 0.0, "the reciprocal rank where nothing is relevant")
    return f"{len(cases)} rankings, and one without any relevant image"


@exercise("3.4")
def ex_3_4(answer: Any) -> str:
    """AP@k whose two bugs are mended."""
    nan = float("nan")
    early, late = "the cut comes one rank too early", "the cut comes one rank too late"
    lost = "the last rank is lost: with topk = -1, relevance[:-1] leaves it out"
    empty = "the mean of nothing is nan; a ranking without a hit in the top k scores 0"
    cases = [
        ([1, 0, 1], -1, 5 / 6, {lost: 1.0, "only the first topk ranks count, and -1 means all": 0.0}),
        ([0, 0, 1], 2, 0.0, {empty: nan, late: 1 / 3}),
        ([0, 0, 0], -1, 0.0, {empty: nan}),
        ([1], -1, 1.0, {lost: nan}),
        ([1, 0, 1, 1], 3, 5 / 6, {early: 1.0, late: 29 / 36, "the divisor is the hits in the top k": 5 / 9}),
        ([0, 1, 1, 0], 4, 7 / 12, {"the divisor is the hits in the top k, not k": 7 / 24}),
    ]
    for relevance, k, want, slips in cases:
        try:
            got = answer(torch.tensor(relevance), k)
        except (ZeroDivisionError, IndexError):
            expect(False, f"it stops with an error for the ranking {relevance}, topk = {k}: {empty}")
        expect_close(got, want, f"AP of the ranking {relevance} with topk = {k}", slips=slips)
    return f"{len(cases)} rankings, with and without a cut, with and without a hit"


@exercise("3.5")
def ex_3_5(answer: Any) -> str:
    """The report on the width of the band."""
    return expect_report(answer, "plain", "changed")
