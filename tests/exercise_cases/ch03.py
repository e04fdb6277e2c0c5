"""Typical wrong answers to the exercises of Chapter 3, and what their readers are told."""

import math

import torch


def p_at_n(counts, relevant, N, hits_of):
    a = hits = 0
    for m, good in zip(counts, relevant, strict=True):
        shown = min(m, N - a)
        hits += hits_of(shown, m, good) if shown else 0
        a += shown
    return hits / N


def divide_by_zero(counts, relevant, N):
    a = hits = 0
    for m, good in zip(counts, relevant, strict=True):
        shown = min(m, N - a)
        hits += shown * (good / m)
        a += shown
    return hits / N


def lazy(n, zeta, rho, hit=1.0):
    return (hit * zeta + rho * (n - zeta)) / n


def harmonic(n):
    return sum(1 / rank for rank in range(1, n + 1))


def rr(counts, relevant, of_tie, ahead=True):
    a = 0
    for m, good in zip(counts, relevant, strict=True):
        if good:
            return of_tie(a if ahead else 0, m, good)
        a += m
    return 0.0


def exact_rr(a, m, good):
    ways = [math.comb(m - t, good - 1) / math.comb(m, good) for t in range(1, m + 1)]
    return sum(p / (a + t) for t, p in enumerate(ways, 1))


def every_hit(a, m, good):
    return good / m * sum(1 / (a + t) for t in range(1, m + 1))


def put_back(a, m, good):
    p = good / m
    return sum(p * (1 - p) ** (t - 1) / (a + t) for t in range(1, m + 1))


def ap_of(shown, divisor=None, empty=0.0):
    at = shown.nonzero()[:, 0] + 1
    number = torch.arange(1, len(at) + 1)
    if not len(at):
        return empty
    return float((number / at).sum() / (divisor or len(at)))


def cut(relevance, topk):
    return relevance if topk == -1 else relevance[:topk]


def crash_on_nothing(relevance, topk=-1):
    at = cut(relevance, topk).nonzero()[:, 0] + 1
    return sum((i + 1) / int(r) for i, r in enumerate(at)) / len(at)


REPORT = {
    "prediction": "The band widens, for strangers come into the ties.",
    "plain": [0.15, 0.16, 0.15],
    "changed": [0.21, 0.22, 0.21],
    "conclusion": "Do not trust the third decimal of crisp codes.",
}

WRONG = {
    "3.1": [
        (
            "relevant first",
            lambda c, p, N: p_at_n(c, p, N, lambda shown, m, good: min(shown, good)),
            "its best order",
        ),
        (
            "relevant last",
            lambda c, p, N: p_at_n(c, p, N, lambda shown, m, good: max(0, shown - (m - good))),
            "its worst order",
        ),
        (
            "the whole tie counted",
            lambda c, p, N: p_at_n(c, p, N, lambda shown, m, good: good),
            "though rank N cuts it",
        ),
        (
            "the cut tie left out",
            lambda c, p, N: p_at_n(c, p, N, lambda shown, m, good: good if shown == m else 0),
            "only ties that lie whole",
        ),
        (
            "not divided by N",
            lambda c, p, N: N * p_at_n(c, p, N, lambda shown, m, good: shown * good / m),
            "divide by N",
        ),
        ("empty distance divides by 0", divide_by_zero, "skip such a distance"),
    ],
    "3.2": [
        ("the share", lambda n, R: R / n, "this is the share R/n"),
        ("n for n − 1", lambda n, R: lazy(n, harmonic(n), (R - 1) / n), "leaves n − 1 other images"),
        (
            "R for R − 1",
            lambda n, R: lazy(n, harmonic(n), R / max(1, n - 1)),
            "leaves R − 1 other relevant images",
        ),
        (
            "the hit itself forgotten",
            lambda n, R: lazy(n, harmonic(n), (R - 1) / max(1, n - 1)) - harmonic(n) / n,
            "the hit itself is missing",
        ),
        (
            "logarithm for the sum",
            lambda n, R: lazy(n, math.log(n), (R - 1) / max(1, n - 1)),
            "not the logarithm",
        ),
        (
            "sum to n − 1",
            lambda n, R: lazy(n, harmonic(n - 1), (R - 1) / max(1, n - 1)),
            "one rank too early",
        ),
        (
            "divided by R",
            lambda n, R: lazy(n, harmonic(n), (R - 1) / max(1, n - 1)) * n / R,
            "is 1/n, not 1/R",
        ),
        (
            "0/0 for one image",
            lambda n, R: lazy(n, harmonic(n), (R - 1) / (n - 1)),
            "a tie of one image has ρ = 0",
        ),
    ],
    "3.3": [
        (
            "one over the mean rank",
            lambda c, p: rr(c, p, lambda a, m, good: 1 / (a + (m + 1) / (good + 1))),
            "not the mean of 1/rank",
        ),
        ("best order", lambda c, p: rr(c, p, lambda a, m, good: 1 / (a + 1)), "the best order"),
        ("worst order", lambda c, p: rr(c, p, lambda a, m, good: 1 / (a + m - good + 1)), "the worst order"),
        ("ahead forgotten", lambda c, p: rr(c, p, exact_rr, ahead=False), "push its ranks back"),
        ("every hit", lambda c, p: rr(c, p, every_hit), "only the first one matters"),
        ("with putting back", lambda c, p: rr(c, p, put_back), "drawn without"),
    ],
    "3.4": [
        (
            "only the nan mended",
            lambda r, topk=-1: ap_of(r[:topk]),
            "the last rank is lost",
        ),
        (
            "only the last rank mended",
            lambda r, topk=-1: ap_of(cut(r, topk), empty=float("nan")),
            "the mean of nothing is nan",
        ),
        ("stops with an error", crash_on_nothing, "it stops with an error for the ranking [0, 0, 1]"),
        ("one rank too few", lambda r, topk=-1: ap_of(r if topk == -1 else r[: topk - 1]), "too early"),
        ("one rank too many", lambda r, topk=-1: ap_of(r if topk == -1 else r[: topk + 1]), "too late"),
        (
            "divided by R",
            lambda r, topk=-1: ap_of(cut(r, topk), divisor=int(r.sum())),
            "the divisor is the hits in the top k",
        ),
        (
            "divided by k",
            lambda r, topk=-1: ap_of(cut(r, topk), divisor=topk if topk > 0 else None),
            "the divisor is the hits in the top k",
        ),
    ],
    "3.5": [
        ("no reason given", REPORT | {"prediction": "wider"}, "the prediction should be a sentence"),
        ("one seed", REPORT | {"plain": [0.15], "changed": [0.21]}, "fewer than 3 seeds"),
        ("nothing changed", REPORT | {"changed": REPORT["plain"]}, "does the change reach the run"),
        ("no conclusion", REPORT | {"conclusion": ""}, "the conclusion should be a sentence"),
    ],
}
