"""Wrong answers to the exercises of Chapter 17, and the sentence that each must get."""

from math import comb, prod

import numpy as np


def one(lengths, f):
    return [sum(comb(b, r) for r in range(f + 1)) / 2**b for b in lengths]


def out(probabilities):
    return prod(1 - p for p in probabilities)


def hasty(look, m, k, more=0):
    f = 0
    while len(look(f)) < k:
        f += 1
    return np.sort(look(f + more))[:k]


def unsorted(look, m, k):
    f = 0
    while True:
        found = np.sort(look(f))
        if len(found) >= k and found[k - 1] <= m * (f + 1) - 1:
            return look(f)[:k]
        f += 1


def until(bound):
    def nearest(look, m, k):
        f = 0
        while True:
            found = np.sort(look(f))
            if len(found) >= k and found[k - 1] <= bound(m, f):
                return found[:k]
            f += 1

    return nearest


def merged(answers, k, keys=lambda d, i: (i, d)):
    d, i = (np.concatenate([a[j] for a in answers]) for j in (0, 1))
    at = np.lexsort(keys(d, i))[:k]
    return d[at], i[at]


def in_order(answers, k):
    d, i = (np.concatenate([a[j] for a in answers]) for j in (0, 1))
    return d[:k], i[:k]


def few_from_each(answers, k):
    share = -(-k // len(answers))
    return merged([(d[:share], i[:share]) for d, i in answers], k)


def cost(lengths, flips):
    return sum(comb(b, r) for b, f in zip(lengths, flips, strict=True) for r in range(f + 1))


def same(lengths, radius, short=0):
    f = -(-(radius + 1) // len(lengths)) - 1 - short
    flips = [f] * len(lengths)
    return flips, cost(lengths, flips)


def greedy(lengths, radius, start=-1, steps=None, pick=min, counted=cost):
    flips = [start] * len(lengths)
    for _ in range(radius + 1 - (start + 1) * len(lengths) if steps is None else steps(radius)):
        each = [comb(b, f + 1) for b, f in zip(lengths, flips, strict=True)]
        flips[each.index(pick(each))] += 1
    return flips, counted(lengths, flips)


def shells(lengths, flips):
    return sum(comb(b, f) for b, f in zip(lengths, flips, strict=True) if f >= 0)


def multiplied(lengths, flips):
    return prod(cost([b], [f]) for b, f in zip(lengths, flips, strict=True) if f >= 0)


REPORT = {
    "prediction": "Correlated bits in one part sort less finely, so more come in.",
    "plain": [1.26, 1.25, 1.27],
    "changed": [1.81, 1.79, 1.8],
    "conclusion": "More come in; shown for the codes of one model only.",
}

WRONG = {
    "17.1": [
        ("the sum", lambda b, f: sum(one(b, f)), "counted twice"),
        ("all parts agree", lambda b, f: prod(one(b, f)), "one part is enough"),
        ("those that stay out", lambda b, f: out(one(b, f)), "the candidates are the others"),
        (
            "exactly f",
            lambda b, f: 1 - out([comb(n, f) / 2**n for n in b]),
            "fewer let a code in as well",
        ),
        ("flips forgotten", lambda b, f: 1 - out(one(b, 0)), "the flips are forgotten"),
        ("the bound", lambda b, f: len(b) * 2.0 ** (-sum(b) / len(b)), "the bound of the chapter"),
        (
            "divided by all codes",
            lambda b, f: 1 - out([p * 2**n / 2 ** sum(b) for p, n in zip(one(b, f), b, strict=True)]),
            "a part has its own number of keys",
        ),
        (
            "the whole code's ball",
            lambda b, f: sum(comb(sum(b), r) for r in range(f + 1)) / 2 ** sum(b),
            "the parts are searched one by one",
        ),
    ],
    "17.2": [
        ("as it was", hasty, "you stop as soon as there are 2 candidates"),
        ("one flip more", lambda *a: hasty(*a, more=1), "one flip more is no proof"),
        ("not sorted", unsorted, "nearest first"),
        ("always many flips", lambda look, m, k: np.sort(look(40))[:k], "40 flips where"),
        ("radius f", until(lambda m, f: f), "m(f + 1) − 1 is complete"),
        ("radius mf", until(lambda m, f: m * f), "m(f + 1) − 1 is complete"),
    ],
    "17.3": [
        ("not sorted", in_order, "they are not sorted"),
        ("ties in the order of the machines", lambda a, k: merged(a, k, lambda d, i: (d,)), "not by id"),
        ("sorted by id", lambda a, k: merged(a, k, lambda d, i: (d, i)), "sorted by id"),
        ("larger id first", lambda a, k: merged(a, k, lambda d, i: (-i, d)), "the larger id stands first"),
        ("k divided by the machines", few_from_each, "each machine sent only its share"),
        ("ids before distances", lambda a, k: merged(a, k)[::-1], "the ids come first here"),
        ("only the ids", lambda a, k: merged(a, k)[1], "give back two arrays"),
    ],
    "17.4": [
        ("the same f everywhere", same, "all parts need not have the same f"),
        ("no part idle", lambda b, r: greedy(b, max(r, len(b) - 1), 0), "(f = −1)"),
        (
            "the flips make the radius",
            lambda b, r: greedy(b, r, steps=lambda radius: radius),
            "exact only up to radius",
        ),
        ("the dearest step", lambda b, r: greedy(b, r, pick=max), "are enough"),
        ("exactly f", lambda b, r: greedy(b, r, counted=shells), "exactly f flips"),
        ("multiplied", lambda b, r: greedy(b, r, counted=multiplied), "they do not multiply"),
        ("only the look-ups", lambda b, r: greedy(b, r)[1], "give back a pair"),
    ],
    "17.5": [
        ("two seeds", REPORT | {"plain": [1.2, 1.3], "changed": [1.8, 1.9]}, "fewer than 3 seeds"),
        ("other seeds", REPORT | {"changed": [1.8, 1.7]}, "fewer than 3 seeds"),
        ("no reason", REPORT | {"prediction": "more"}, "should be a sentence"),
        ("nothing changed", REPORT | {"changed": [1.26, 1.25, 1.27]}, "does the change reach the run"),
    ],
}
