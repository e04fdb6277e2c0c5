"""Checks of Chapter 1's exercises: Hamming distance, random hyperplanes, ITQ, spectral hashing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from dhida_lib.book.checks import exercise, expect, expect_close
from dhida_lib.metrics import hamming_distance


@exercise("1.1")
def ex_1_1(answer: Any) -> str:
    """Distances of packed codes."""
    rng = np.random.default_rng(0)
    for bits in (8, 24, 512):
        q, d = rng.choice([-1, 1], size=(3, bits)), rng.choice([-1, 1], size=(5, bits))
        q[0], d[0], d[1] = 1, 1, -1  # distances 0 and K
        packed = (np.packbits(q > 0, axis=1), np.packbits(d > 0, axis=1))
        before = [codes.copy() for codes in packed]
        got = answer(*packed)
        expect(
            all(np.array_equal(a, b) for a, b in zip(before, packed, strict=True)),
            "the codes that came in were changed: work on new arrays",
        )
        expect_close(got, hamming_distance(q, d), f"the distances of codes with {bits} bits")
    return "3 codes against 5, of 8, 24 and 512 bits, from distance 0 to K"


@exercise("1.2")
def ex_1_2(answer: Any) -> str:
    """The expected distance of random-hyperplane codes."""
    x, y = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 0.5, 0.0])
    expect_close(answer(x, y, 10), 5.0, "the distance of orthogonal vectors with 10 bits", 1e-4)
    expect_close(answer(x, x / 7, 24), 0.0, "the distance of vectors in one direction", 1e-2)
    expect_close(answer(x, -2 * x, 24), 24.0, "the distance of opposite vectors with 24 bits", 1e-3)
    u, v = torch.randn(2, 9, dtype=torch.float64)
    angle = math.acos(float(u @ v / (u.norm() * v.norm())))
    error = expect_close(answer(u, v, 48), 48 * angle / math.pi, "the distance of two random vectors", 1e-6)
    return f"orthogonal, equal, opposite and random vectors (largest difference {error:.1e})"


@exercise("1.3")
def ex_1_3(answer: Any) -> str:
    """One step of ITQ: codes, then the Procrustes rotation."""
    error = 0.0
    for n, bits in ((40, 3), (25, 5)):
        V = torch.randn(n, bits, dtype=torch.float64)
        V[0] = 0  # a row of zeros: its bits are +1
        R = torch.linalg.qr(torch.randn(bits, bits, dtype=torch.float64))[0]
        B = torch.where(V @ R >= 0, 1.0, -1.0).double()
        P, _, Qt = torch.linalg.svd(V.T @ B)
        got = answer(V.clone(), R.clone())
        expect_close(got, P @ Qt, f"the rotation for n = {n}, K = {bits}", 1e-8)
        loss = (B - V @ got).square().mean()
        expect(loss <= (B - V @ R).square().mean() + 1e-12, "the error rose: it never should")
        error = max(error, float((got.T @ got - torch.eye(bits)).abs().max()))
    return f"two sizes; R is a rotation (largest entry of RᵀR − I: {error:.1e})"


@exercise("1.4")
def ex_1_4(answer: Any) -> str:
    """The slowest waves of spectral hashing."""
    for sides, bits in (
        ([5.0, 2.3], 4),
        ([1.1, 9.7, 3.2], 8),
        ([7.0, 0.3, 0.2], 5),
        ([2.0], 3),
        ([2.0, 3.1, 1.7], 1),
    ):
        frequency = torch.arange(1, bits + 1) / torch.tensor(sides)[:, None]  # sides×bits
        order = frequency.flatten().argsort()[:bits].tolist()
        want = [(i // bits, i % bits + 1) for i in order]
        got = answer(list(sides), bits)
        expect(isinstance(got, (list, tuple)), f"the answer is a {type(got).__name__}, not a list of pairs")
        pairs = [tuple(int(part) for part in pair) for pair in got]
        expect(len(pairs) == bits, f"for sides {sides} and {bits} bits there are {len(pairs)} waves")
        for i, (pair, right) in enumerate(zip(pairs, want, strict=True), 1):
            expect(pair == right, f"sides {sides}: wave {i} of {bits} is {pair}, expected {right} (side, k)")
    return "five boxes; a long side gets several waves, a short one none"
