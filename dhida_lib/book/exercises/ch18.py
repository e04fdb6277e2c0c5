"""Checks of Chapter 18's exercises: pictures, folders, duplicates."""

from __future__ import annotations

import math
from math import comb
from typing import Any

import numpy as np
import torch

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close, expect_report


@exercise("18.1")
def ex_18_1(answer: Any) -> str:
    """The probability that a copy at an angle is found."""
    for angle, bits, radius in ((0.3, 64, 6), (0.7, 16, 3), (math.pi / 3, 5, 0), (1.2, 12, 12)):

        def within(
            p: float, inside: range = range(radius + 1), bits: int = bits, choose: bool = True
        ) -> float:
            return sum((comb(bits, i) if choose else 1) * p**i * (1 - p) ** (bits - i) for i in inside)

        p = angle / math.pi
        slips = {
            "a plane is the same after half a turn, so divide by π, not by 2π": within(p / 2),
            "the angle is in radians; this divides by 180": within(angle / 180),
            "each bit differs with the probability φ/π, which is not 1 − cos φ": within(1 - math.cos(angle)),
            "this counts agreeing bits where it should count differing ones": within(1 - p),
            "the radius itself is missing: at most r includes r": within(p, range(radius)),
            "only exactly r differing bits are counted; fewer are found as well": within(
                p, range(radius, radius + 1)
            ),
            "which i of the K bits differ? There are K over i ways": within(p, choose=False),
        }
        want = within(p)
        slips = {text: n for text, n in slips.items() if abs(n - want) > 1e-6}
        expect_close(
            answer(angle, bits, radius),
            want,
            f"the share at {angle:.2f} rad, {bits} bits, r = {radius}",
            1e-6,
            slips,
        )
    return "four angles, lengths and radii, a radius that finds everything"


@exercise("18.2")
def ex_18_2(answer: Any) -> str:
    """New, edited and gone files."""
    before = {"e": (5, 9), "a": (10, 1), "b": (20, 1), "c": (30, 4), "d": (40, 4), "z": (1, 1), "y": (2, 2)}
    now = {"x": (10, 1), "n": (7, 7), "e": (5, 9), "b": (21, 1), "d": (40, 5), "c": (30, 3)}
    for old, new, what in [
        (before, now, "the mixed folder"),
        ({}, now, "a first look"),
        (before, {}, "an empty folder"),
    ]:
        got = answer(dict(old), dict(new))
        try:
            lists = [list(part) for part in got]
        except TypeError as problem:
            raise Wrong("give back three lists: new, edited, gone") from problem
        expect(len(lists) == 3, f"give back three lists (new, edited, gone), not {len(lists)}")
        want = [
            sorted(set(new) - set(old)),
            sorted(p for p in set(new) & set(old) if new[p] != old[p]),
            sorted(set(old) - set(new)),
        ]
        both = set(new) & set(old)
        turned = [want[2], want[1], want[0]]
        either = sorted(p for p in new if p not in old or new[p] != old[p])
        misses = {
            "a time can be earlier, too: an old copy was put back": lambda x, y: y[1] > x[1] or x[0] != y[0],
            "a file of the same size may show something else: look at the time as well": (
                lambda x, y: x[0] != y[0]
            ),
            "a file can change and keep its time: look at the size as well": lambda x, y: x[1] != y[1],
            "one of the two is enough, size or time": lambda x, y: x[0] != y[0] and x[1] != y[1],
        }
        found = [sorted(part) for part in lists]
        expect(
            found == want or found != turned, f"{what}: new and gone have changed places: {lists[0]} is gone"
        )
        expect(
            found == want or found[0] != either or either == want[0],
            f"{what}: an edited picture is not new: {lists[0]}",
        )
        for sentence, differs in misses.items():
            edited = sorted(p for p in both if differs(old[p], new[p]))
            expect(found[1] == want[1] or found[1] != edited, f"{what}: edited is {edited}: {sentence}")
        for name, mine, right in zip(("new", "edited", "gone"), lists, want, strict=True):
            expect(sorted(mine) == right, f"{what}: {name} is {sorted(mine)}, but should be {right}")
            expect(mine == right, f"{what}: the list {name} is not sorted: {mine}")
    return "other sizes, later and earlier times, an empty side"


@exercise("18.3")
def ex_18_3(answer: Any) -> str:
    """Connected groups of codes."""
    codes = torch.ones(9, 12)
    flips = {
        1: [0],
        4: [0, 1],
        7: [0, 1, 2],
        2: [4, 5, 6, 7, 8, 9],
        5: [4, 5, 6, 7, 8, 9],
        8: [6, 7, 8, 9, 10, 11],
    }
    for row, bits in flips.items():
        codes[row, bits] = -1
    codes[3], codes[6] = -1, -codes[8]
    wanted = {0: [[0], [1]], 1: [], 3: []}
    for radius in wanted:
        near = (codes[:, None] != codes[None]).sum(2) <= radius
        for _ in range(9):
            near = (near.float() @ near.float()) > 0
        rows = {tuple(r.nonzero()[:, 0].tolist()) for r in near}
        wanted[radius] = sorted(list(r) for r in rows if len(r) > 1)
    for radius, right in wanted.items():
        got = answer(codes.clone(), radius)
        try:
            mine = [[int(row) for row in group] for group in got]
        except TypeError as problem:
            raise Wrong("give back a list of lists of row numbers") from problem
        expect(
            all(len(group) > 1 for group in mine),
            f"radius {radius}: a group has at least two members, got {mine}",
        )
        flat = [row for group in mine for row in group]
        expect(len(flat) == len(set(flat)), f"radius {radius}: a row stands in more than one place: {mine}")
        had = sorted(sorted(g) for g in mine)
        distance = (codes[:, None] != codes[None]).sum(2)
        steps = {
            "links count over several steps, and here only the direct neighbours of a row are with it": _step(
                distance <= radius
            ),
            "at most the radius includes the radius": _chains(distance < radius),
            "two pictures are linked up to the radius, not up to twice as far": _chains(
                distance <= 2 * radius + 1
            ),
            "h·h′ is no distance: that is (K − h·h′)/2": _chains(codes @ codes.T <= radius),
        }
        for sentence, groups in steps.items():
            expect(had == right or had != groups, f"radius {radius}: the groups are {mine}: {sentence}")
        expect(had == right, f"radius {radius}: the groups are {mine}, but should be {right}")
        expect(mine == right, f"radius {radius}: right groups, wrong order: {mine}; sort by the first member")
    return "three radii, chains of links, singles left out"


def _chains(linked: torch.Tensor) -> list[list[int]]:
    """The groups of at least two that hang together by these links."""
    near = linked | torch.eye(len(linked), dtype=torch.bool)
    for _ in range(len(near)):
        near = (near.float() @ near.float()) > 0
    rows = {tuple(r.nonzero()[:, 0].tolist()) for r in near}
    return sorted(list(r) for r in rows if len(r) > 1)


def _step(linked: torch.Tensor) -> list[list[int]]:
    """Each free row with its free direct neighbours."""
    seen: set[int] = set()
    found = []
    for row in range(len(linked)):
        group = [j for j in linked[row].nonzero()[:, 0].tolist() if j not in seen]
        if row not in seen and len(group) > 1:
            found.append(group)
            seen |= set(group)
    return found


@exercise("18.4")
def ex_18_4(answer: Any) -> str:
    """A transparent picture on white."""
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (5, 7, 4), dtype=np.uint8)
    rgba[0, :3] = [[10, 200, 30, 0], [10, 200, 30, 255], [0, 0, 0, 51]]
    got = answer(rgba.copy())
    expect(isinstance(got, np.ndarray), f"give back a NumPy array, not a {type(got).__name__}")
    expect(got.shape == (5, 7, 3), f"shape {got.shape}, expected (5, 7, 3): the opacity is used up")
    expect(got.dtype == np.uint8, f"bytes (uint8) are asked for, got {got.dtype}")
    numbers = got.astype(int)
    expect(
        not np.array_equal(numbers, rgba[..., :3]), "the opacity is only dropped: what was hidden shows now"
    )
    ground = rgba[..., 3:] / 255 * rgba[..., :3]
    expect(np.abs(numbers - ground).max() > 0.6, "this lies on black: (1 − opacity/255) · 255 is missing")
    expect(
        numbers[0, 0].tolist() != rgba[0, 0, :3].tolist(),
        "0 is transparent and 255 covers; it is turned round",
    )
    expect(numbers[0, 0].tolist() == [255] * 3, f"opacity 0 must be white, got {numbers[0, 0].tolist()}")
    expect(
        numbers[0, 1].tolist() == [10, 200, 30],
        f"opacity 255 keeps the colour, got {numbers[0, 1].tolist()}; did bytes overflow?",
    )
    alpha = rgba[..., 3:].astype(float) / 255
    want = alpha * rgba[..., :3] + (1 - alpha) * 255  # before rounding; an exact half may go either way
    worst = float(np.abs(numbers - want).max())
    hard = np.where(rgba[..., 3:] == 0, 255, rgba[..., :3])
    expect(not np.array_equal(numbers, hard), "only what is fully transparent became white; mix the rest too")
    expect(worst < 100, f"wrong by up to {worst:.0f}: did bytes overflow? Go to floats first")
    expect(worst <= 0.5 + 1e-9, f"wrong by up to {worst:.2f}: round to the nearest whole number")
    expect_close(numbers.mean(), want.round().mean(), "the mean of all bytes", tolerance=1e-3)
    return "35 pixels of all opacities"


@exercise("18.5")
def ex_18_5(report: Any) -> str:
    """The report on what finds copies."""
    return expect_report(report, "plain", "changed")
