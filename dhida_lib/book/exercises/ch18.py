"""Checks of Chapter 18's exercises: pictures, folders, duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close


@exercise("18.1")
def ex_18_1(answer: Any) -> str:
    """The middle square of H×W×C."""
    rng = np.random.default_rng(0)
    cases = [
        ((4, 9, 3), "a wide picture", 0, 2),
        ((8, 5, 1), "a high one", 1, 0),
        ((6, 6, 4), "a square", 0, 0),
    ]
    for shape, what, top, left in cases:
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        short = min(shape[:2])
        got = np.asarray(answer(pixels.copy()))
        right = (short, short, shape[2])
        expect(
            got.shape == right,
            f"{what} of shape {shape} gave shape {got.shape}, expected {right}: sides as the shorter one",
        )
        want = pixels[top : top + short, left : left + short]
        where = f"rows from {top} and columns from {left}, with an odd one cut at the end"
        expect(np.array_equal(got, want), f"{what} of shape {shape}: not its middle ({where})")
    return "wide, high and square pictures, odd differences"


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
        for name, mine, right in zip(("new", "edited", "gone"), lists, want, strict=True):
            expect(
                sorted(mine) == right,
                f"{what}: {name} is {sorted(mine)}, expected {right} (size or time differs, either way)",
            )
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
        same = sorted(sorted(g) for g in mine) == right
        expect(
            same, f"radius {radius}: the groups are {mine}, expected {right} (links count over several steps)"
        )
        expect(mine == right, f"radius {radius}: right groups, wrong order: {mine}, expected {right}")
    return "three radii, chains of links, singles left out"


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
    expect(numbers[0, 0].tolist() == [255] * 3, f"opacity 0 must be white, got {numbers[0, 0].tolist()}")
    expect(
        numbers[0, 1].tolist() == [10, 200, 30], f"opacity 255 keeps the colour, got {numbers[0, 1].tolist()}"
    )
    alpha = rgba[..., 3:].astype(float) / 255
    want = alpha * rgba[..., :3] + (1 - alpha) * 255  # before rounding; an exact half may go either way
    worst = float(np.abs(numbers - want).max())
    expect(worst < 100, f"differs by up to {worst:.0f}: did bytes overflow? Go to floats first")
    expect(worst <= 0.5 + 1e-9, f"differs by up to {worst:.2f}: round to the nearest whole number")
    expect_close(numbers.mean(), want.round().mean(), "the mean of all bytes", tolerance=1e-3)
    return "35 pixels of all opacities"
