"""Wrong answers to the exercises of Chapter 17."""

from math import comb

import numpy as np


def bits_of(packed, shifts):
    return ((packed[..., None] >> np.array(shifts, np.uint8)) & 1).reshape(len(packed), -1)


DOWN, UP = range(7, -1, -1), range(8)


def parts_that_agree(query, codes, ends):
    equal = codes == query
    return np.stack([equal[:, a:b].all(1) for a, b in zip([0, *ends[:-1]], ends, strict=True)])


def merged(answers, k, keys=lambda d, i: (i, d)):
    d, i = (np.concatenate([a[j] for a in answers]) for j in (0, 1))
    at = np.lexsort(keys(d, i))[:k]
    return d[at], i[at]


def unsorted(answers, k):
    d, i = (np.concatenate([a[j] for a in answers]) for j in (0, 1))
    return d[:k], i[:k]


def few_from_each(answers, k):
    share = -(-k // len(answers))
    return merged([(d[:share], i[:share]) for d, i in answers], k)


def lengths(bits, m):
    return [bits * (i + 1) // m - bits * i // m for i in range(m)]


def up(radius, f):
    return -(-(radius + 1) // (f + 1))


def floor_parts(bits, radius, f):
    m = max(1, (radius + 1) // (f + 1))
    return m, sum(comb(b, r) for b in lengths(bits, m) for r in range(f + 1))


def parts_without_flips(bits, radius, f):
    m = radius + 1
    return m, sum(comb(b, r) for b in lengths(bits, m) for r in range(f + 1))


WRONG = {
    "17.1": [
        ("the filling stays", lambda p, k: bits_of(p, DOWN).astype(np.int8) * 2 - 1),
        ("the lowest bit first", lambda p, k: bits_of(p, UP)[:, :k].astype(np.int8) * 2 - 1),
        ("0 and 1", lambda p, k: bits_of(p, DOWN)[:, :k].astype(np.int8)),
        ("no signed type", lambda p, k: bits_of(p, DOWN)[:, :k] * np.uint8(2) - np.uint8(1)),
        ("sign turned", lambda p, k: 1 - 2 * bits_of(p, DOWN)[:, :k].astype(np.int8)),
        ("the front cut off", lambda p, k: bits_of(p, DOWN)[:, -k:].astype(np.int8) * 2 - 1),
    ],
    "17.2": [
        ("a code counts for each part", lambda q, c, e: int(parts_that_agree(q, c, e).sum())),
        ("all parts must agree", lambda q, c, e: int(parts_that_agree(q, c, e).all(0).sum())),
        (
            "equal parts instead of the given",
            lambda q, c, e: int(parts_that_agree(q, c, [3, 6, 9]).any(0).sum()),
        ),
        ("one equal bit is enough", lambda q, c, e: int((c == q).any(1).sum())),
        (
            "the last bit of each part left out",
            lambda q, c, e: sum(
                any((row == q)[a : b - 1].all() for a, b in zip([0, *e[:-1]], e, strict=True)) for row in c
            ),
        ),
        ("the share", lambda q, c, e: parts_that_agree(q, c, e).any(0).mean()),
    ],
    "17.3": [
        ("not sorted", unsorted),
        ("ties in the order of the machines", lambda a, k: merged(a, k, lambda d, i: (d,))),
        ("sorted by id", lambda a, k: merged(a, k, lambda d, i: (d, i))),
        ("larger id first", lambda a, k: merged(a, k, lambda d, i: (-i, d))),
        ("k divided by the machines", few_from_each),
        ("ids before distances", lambda a, k: merged(a, k)[::-1]),
        ("only the ids", lambda a, k: merged(a, k)[1]),
    ],
    "17.4": [
        ("rounded down", floor_parts),
        ("flips forgotten in the parts", parts_without_flips),
        (
            "only the flips of exactly f",
            lambda k, r, f: (up(r, f), sum(comb(b, f) for b in lengths(k, up(r, f)))),
        ),
        (
            "parts of equal length",
            lambda k, r, f: (up(r, f), up(r, f) * sum(comb(k // up(r, f), i) for i in range(f + 1))),
        ),
        ("one look-up for each part", lambda k, r, f: (up(r, f), up(r, f))),
        ("all flips of the whole code", lambda k, r, f: (up(r, f), sum(comb(k, i) for i in range(r + 1)))),
    ],
    "17.5": [
        ("only the outer shell", lambda n, k, r: n * comb(k, r) / 2**k),
        ("radius exclusive", lambda n, k, r: n * sum(comb(k, i) for i in range(r)) / 2**k),
        ("the probability", lambda n, k, r: sum(comb(k, i) for i in range(r + 1)) / 2**k),
        ("not divided", lambda n, k, r: n * sum(comb(k, i) for i in range(r + 1))),
        ("all distances alike", lambda n, k, r: n * (r + 1) / (k + 1)),
    ],
}
