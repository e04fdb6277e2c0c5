"""Checks of Chapter 17's exercises: search at scale."""

from __future__ import annotations

from itertools import product
from math import comb, prod
from typing import Any

import numpy as np

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close, expect_report


@exercise("17.1")
def ex_17_1(answer: Any) -> str:
    """The exact share of random codes that become candidates."""
    for lengths, f in (([3, 4, 2], 1), ([5, 5, 6], 0), ([8], 2), ([4, 4, 4, 4], 1)):
        m, bits = len(lengths), sum(lengths)
        one = [sum(comb(b, r) for r in range(f + 1)) / 2**b for b in lengths]
        shell = [comb(b, f) / 2**b for b in lengths]
        equal = sum(comb(bits, r) for r in range(f + 1)) / 2**bits
        slips = {
            "a code that comes in through two parts is counted twice: the sum of the probabilities is only a "
            "bound": sum(one),
            "these are the codes that agree in all parts; one part is enough": prod(one),
            "these are the codes that stay out; the candidates are the others": 1 - prod(1 - p for p in one),
            "this counts exactly f differing bits in a part; fewer let a code in as well": 1
            - prod(1 - p for p in shell),
            "the flips are forgotten: this is the share for f = 0": 1
            - prod(1 - 2.0 ** (-b) for b in lengths),
            "this is the bound of the chapter, for equal parts and f = 0": m * 2.0 ** (-bits / m),
            "a part has its own number of keys, 2 to the power of its bits": 1
            - prod(1 - p * 2**b / 2**bits for p, b in zip(one, lengths, strict=True)),
            "this is the ball of the whole code; the parts are searched one by one": equal,
        }
        want = 1 - prod(1 - p for p in one)
        slips = {text: n for text, n in slips.items() if abs(n - want) > 1e-9}
        slips["these are the codes that stay out; the candidates are the others"] = 1 - want
        expect_close(
            answer(list(lengths), f), want, f"the share for parts of {lengths}, f = {f}", 1e-9, slips
        )
    return "four ways to cut, parts of unequal length, with flips and without"


class _Look:
    """Candidates of made-up codes, each with a distance and the bits that differ in its best part."""

    def __init__(self, codes: list[tuple[int, int]]) -> None:
        self.distance, self.best = (np.array(column) for column in zip(*codes, strict=True))
        self.asked = 0

    def __call__(self, f: int) -> np.ndarray:
        """The distances of the candidates with at most f flips in each part."""
        self.asked = max(self.asked, f)
        return self.distance[self.best <= f]

    def needed(self, m: int, k: int) -> int:
        """The fewest flips with which the k nearest are certain."""
        f = 0
        while True:
            found = np.sort(self.distance[self.best <= f])
            if len(found) >= k and found[k - 1] <= m * (f + 1) - 1:
                return f
            f += 1


@exercise("17.2")
def ex_17_2(answer: Any) -> str:
    """The k nearest by tables: stop when they are certain, and not when there are k."""
    cases = [
        (3, 2, [(15, 0), (9, 0), (4, 1), (1, 0), (30, 8)]),  # a nearer one is not among the first candidates
        (3, 1, [(20, 0), (15, 1), (7, 2)]),  # one flip more does not bring it either
        (4, 3, [(2, 0), (0, 0), (3, 0), (12, 3), (5, 1)]),  # the first look is enough
        (2, 2, [(6, 3), (5, 2), (11, 5)]),  # the first looks bring nothing at all
    ]
    for m, k, codes in cases:
        look = _Look(codes)
        first = next(f for f in range(99) if len(look(f)) >= k)
        hasty = np.sort(look(first))[:k]
        look.asked, want = 0, np.sort(look.distance)[:k]
        got = answer(look, m, k)
        found = np.sort(look.distance[look.best <= look.asked])[:k]
        what = f"the {k} nearest with {m} parts"
        if isinstance(got, (list, tuple)):
            got = np.array(got)
        slips = {
            f"you stop as soon as there are {k} candidates; a nearer code may be missing, because f flips "
            "make only a certain radius complete": hasty,
            "one flip more is no proof either: compare the k-th distance with the radius that is complete": (
                found if look.asked > first else hasty
            ),
            "they come as look brings them; give them back nearest first": look.distance[
                look.best <= look.asked
            ][:k],
        }
        slips = {text: n for text, n in slips.items() if not np.array_equal(n, want)}
        expect_close(got, want, what, slips=slips)
        needed = look.needed(m, k)
        expect(
            look.asked <= needed,
            f"right, but you look with {look.asked} flips where {needed} are enough: with f flips everything "
            "up to radius m(f + 1) − 1 is complete",
        )
    return "near codes that hide from the first look, looks that bring nothing, and no flip too many"


@exercise("17.3")
def ex_17_3(answer: Any) -> str:
    """The answers of three machines."""
    answers = [
        (np.array([0, 2, 2, 5]), np.array([90, 4, 31, 8])),
        (np.array([], dtype=np.int64), np.array([], dtype=np.int64)),
        (np.array([2, 2, 3, 3, 9]), np.array([11, 50, 2, 77, 1])),
    ]
    pairs = [(int(d), int(i)) for ds, ids in answers for d, i in zip(ds, ids, strict=True)]
    every = sorted(pairs)
    for k in (1, 4, 7, 100):
        got = answer([(d.copy(), i.copy()) for d, i in answers], k)
        try:
            distances, ids = (np.asarray(x) for x in got)
        except (TypeError, ValueError) as problem:
            raise Wrong("give back two arrays: the distances and the ids") from problem
        want = every[:k]
        n = len(want)
        expect(
            len(distances) == n == len(ids),
            f"k = {k}: {len(distances)} results, expected {n} of {len(every)} in all; did every machine send "
            "its k nearest?",
        )
        d, i = (np.array(column) for column in zip(*want, strict=True))
        share = -(-k // len(answers))
        cut = sorted(
            (int(a), int(b)) for ds, ids in answers for a, b in zip(ds[:share], ids[:share], strict=True)
        )
        by_machine, by_id = sorted(pairs, key=lambda pair: pair[0]), sorted(pairs, key=lambda pair: pair[1])
        largest = sorted(pairs, key=lambda pair: (pair[0], -pair[1]))
        slips = {
            "the ids come first here; give back (distances, ids)": [pair[1] for pair in want],
            "they are not sorted: the machines' answers stand one after the other": [p[0] for p in pairs[:k]],
            "they are sorted by id; the last key of np.lexsort counts first": [p[0] for p in by_id[:k]],
            "each machine sent only its share of k; all k nearest may lie on one machine": [
                pair[0] for pair in cut[:k]
            ],
        }
        expect_close(distances, d, f"the distances for k = {k}", slips=_others(slips, d))
        slips = {
            "equal distances stand in the order of the machines, not by id": [
                pair[1] for pair in by_machine[:k]
            ],
            "of equal distances the larger id stands first": [pair[1] for pair in largest[:k]],
            "each machine sent only its share of k; all k nearest may lie on one machine": [
                pair[1] for pair in cut[:k]
            ],
        }
        expect_close(ids, i, f"the ids for k = {k}", slips=_others(slips, i))
    return "three machines, one of them empty, ties across machines, k larger than all"


def _others(slips: dict[str, Any], want: np.ndarray) -> dict[str, Any]:
    """The slips that give other numbers than the right ones here."""
    arrays = {text: np.array(numbers) for text, numbers in slips.items()}
    return {text: n for text, n in arrays.items() if not np.array_equal(n, want)}


def _cost(lengths: list[int], flips: tuple[int, ...]) -> int:
    """The look-ups of a plan."""
    return sum(comb(b, r) for b, f in zip(lengths, flips, strict=True) for r in range(f + 1))


@exercise("17.4")
def ex_17_4(answer: Any) -> str:
    """Flips of unequal number in the parts."""
    for lengths, radius in (([21, 21, 22], 3), ([21, 21, 22], 1), ([8, 24], 4), ([16, 16], 0), ([12], 3)):
        m = len(lengths)
        plans = [p for p in product(range(-1, radius + 1), repeat=m) if sum(p) + m >= radius + 1]
        cheapest = min(_cost(lengths, plan) for plan in plans)
        got = answer(list(lengths), radius)
        try:
            flips, look_ups = got
            flips = tuple(int(f) for f in flips)
        except (TypeError, ValueError) as problem:
            raise Wrong("give back a pair: the list of flips and the number of look-ups") from problem
        what = f"parts of {lengths}, radius {radius}"
        expect(len(flips) == m, f"{what}: {len(flips)} numbers of flips for {m} parts")
        reached = sum(flips) + m - 1
        expect(
            reached >= radius,
            f"{what}: the flips {list(flips)} are exact only up to radius {reached}; a missed code "
            "differs in at least f + 1 bits of each part",
        )
        own = _cost(lengths, flips)
        shells = sum(comb(b, f) for b, f in zip(lengths, flips, strict=True) if f >= 0)
        product_of = prod(_cost([b], (f,)) for b, f in zip(lengths, flips, strict=True) if f >= 0)
        slips = {
            "only the keys with exactly f flips are counted; those with fewer are looked up as well": shells,
            "each part has a table of its own, so the look-ups add up; they do not multiply": product_of,
        }
        slips = {text: n for text, n in slips.items() if n != own}
        expect_close(look_ups, own, f"the look-ups of the flips {list(flips)} ({what})", 1e-12, slips)
        same = "; all parts need not have the same f" if len(set(flips)) == 1 and m > 1 else ""
        idle = "; a part need not be looked at at all (f = −1)" if min(flips) >= 0 and radius < m - 1 else ""
        expect(
            own <= cheapest,
            f"{what}: exact, but {own} look-ups where {cheapest} are enough{idle or same or _greedy(flips)}",
        )
    return "five plans, with equal and unequal parts, and parts that stay idle"


def _greedy(flips: tuple[int, ...]) -> str:
    """The hint for a plan that is neither equal nor has an idle part too few."""
    return f"; which step of {list(flips)} costs least?"


@exercise("17.5")
def ex_17_5(report: Any) -> str:
    """The report on the order of the bits."""
    return expect_report(report, "plain", "changed")
