"""Checks of Chapter 17's exercises: search at scale."""

from __future__ import annotations

from itertools import pairwise
from math import comb
from typing import Any

import numpy as np

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close
from dhida_lib.search import pack


@exercise("17.1")
def ex_17_1(answer: Any) -> str:
    """Bytes back to codes."""
    rng = np.random.default_rng(0)
    for bits in (8, 20, 5, 64):
        codes = rng.choice(np.array([-1, 1], np.int8), (7, bits))
        codes[0, 0] = -codes[0, -1]  # a turned code is another code
        got = np.asarray(answer(pack(codes), bits))
        expect(
            got.shape == (7, bits),
            f"{bits} bits: the codes have shape {got.shape}, expected (7, {bits}); is the filling cut off?",
        )
        expect(
            bool(np.isin(got.astype(float), (-1, 1)).all()),
            f"{bits} bits: the codes hold {np.unique(got).tolist()[:4]}, expected −1 and +1",
        )
        expect_close(got.astype(np.int64), codes, f"the codes of {bits} bits")
    return "four lengths, two of them no multiple of 8"


@exercise("17.2")
def ex_17_2(answer: Any) -> str:
    """Candidates of unequal parts."""
    rng = np.random.default_rng(1)
    query = rng.choice([-1, 1], 9)
    codes = rng.choice([-1, 1], (200, 9))
    codes[:10] = query  # they agree in every part, and count once
    for ends in ([3, 5, 9], [4, 9], [9], [1, 2, 9]):
        equal = codes == query
        starts = [0, *ends[:-1]]
        want = sum(any(row[a:b].all() for a, b in zip(starts, ends, strict=True)) for row in equal)
        got = answer(query.copy(), codes.copy(), list(ends))
        expect_close(got, want, f"the number of candidates for parts that end at {ends}")
    return "four ways to cut, parts of unequal length, codes that agree in all of them"


@exercise("17.3")
def ex_17_3(answer: Any) -> str:
    """The answers of three machines."""
    answers = [
        (np.array([0, 2, 2, 5]), np.array([90, 4, 31, 8])),
        (np.array([], dtype=np.int64), np.array([], dtype=np.int64)),
        (np.array([2, 2, 3, 3, 9]), np.array([11, 50, 2, 77, 1])),
    ]
    every = sorted((int(d), int(i)) for ds, ids in answers for d, i in zip(ds, ids, strict=True))
    for k in (1, 4, 7, 100):
        got = answer([(d.copy(), i.copy()) for d, i in answers], k)
        try:
            distances, ids = got
        except (TypeError, ValueError) as problem:
            raise Wrong("give back two arrays: the distances and the ids") from problem
        want = every[:k]
        expect(
            len(np.asarray(distances)) == len(want) == len(np.asarray(ids)),
            f"k = {k}: {len(np.asarray(distances))} results, expected {len(want)} of {len(every)} in all",
        )
        expect_close(np.asarray(distances), np.array([d for d, _ in want]), f"the distances for k = {k}")
        expect_close(
            np.asarray(ids), np.array([i for _, i in want]), f"the ids for k = {k} (equal distances by id)"
        )
    return "three machines, one of them empty, ties across machines, k larger than all"


@exercise("17.4")
def ex_17_4(answer: Any) -> str:
    """Parts and look-ups."""
    for bits, radius, flips in ((64, 2, 0), (64, 5, 1), (64, 5, 0), (20, 3, 1), (16, 4, 1), (128, 5, 2)):
        parts = 1
        while parts * (flips + 1) - 1 < radius:
            parts += 1
        edges = [bits * i // parts for i in range(parts + 1)]
        lengths = [b - a for a, b in pairwise(edges)]
        look_ups = sum(comb(b, r) for b in lengths for r in range(flips + 1))
        got = answer(bits, radius, flips)
        try:
            got_parts, got_look_ups = got
        except (TypeError, ValueError) as problem:
            raise Wrong("give back two integers: the parts and the look-ups") from problem
        what = f"{bits} bits, radius {radius}, {flips} flips"
        expect_close(got_parts, parts, f"the number of parts ({what})")
        expect_close(got_look_ups, look_ups, f"the number of look-ups ({what})", 1e-12)
    return "six plans, with parts of unequal length and radii between two steps"


@exercise("17.5")
def ex_17_5(answer: Any) -> str:
    """The mean of a ball."""
    for n, bits, radius in ((4000, 16, 2), (10, 3, 3), (7, 5, 0), (10**9, 64, 2)):
        want = n * sum(comb(bits, r) for r in range(radius + 1)) / 2**bits
        got = answer(n, bits, radius)
        # compared as a ratio: for long codes the number itself is almost 0
        expect_close(
            got / want, 1.0, f"your number over the right one ({n} codes, {bits} bits, r = {radius})"
        )
    return "short codes, long ones, radius 0, and a ball that holds everything"
