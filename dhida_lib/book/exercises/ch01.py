"""Checks of Chapter 1: packed distances, random hyperplanes, ITQ, spectral hashing, bits against angles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close, expect_report
from dhida_lib.metrics import hamming_distance

N_QUERIES, N_ITEMS = 11, 13  # sizes that no number of bytes in the check equals


class _Codes(np.ndarray):
    """Packed codes that notice what Exercise 1.1 forbids: unpacking them, and a walk over them one by one."""

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.unpackbits:
            raise Wrong("the bits are unpacked, which takes eight times the memory: count the ones of bytes")
        return super().__array_function__(func, types, args, kwargs)

    def _one_by_one(self) -> None:
        if self.ndim == 2 and len(self) in (N_QUERIES, N_ITEMS):
            raise Wrong("a loop goes over the codes: q[:, None] ^ d[None] compares all of them at once")

    def __iter__(self) -> Iterator[Any]:
        self._one_by_one()
        return super().__iter__()

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, np.integer)) and key > 2:  # q[0] may be looked at, for its length
            self._one_by_one()
        return super().__getitem__(key)


@exercise("1.1")
def ex_1_1(answer: Any) -> str:
    """Distances of packed codes."""
    rng = np.random.default_rng(0)
    ones = np.array([bin(byte).count("1") for byte in range(256)])
    for bits in (24, 64, 512):
        q, d = rng.choice([-1, 1], size=(N_QUERIES, bits)), rng.choice([-1, 1], size=(N_ITEMS, bits))
        q[0], d[0], d[1] = 1, 1, -1  # distances 0 and K
        packed = [np.packbits(codes > 0, axis=1).view(_Codes) for codes in (q, d)]
        before = [np.array(codes) for codes in packed]
        got = answer(*packed)
        changed = not all(np.array_equal(a, np.asarray(b)) for a, b in zip(before, packed, strict=True))
        expect(not changed, "the codes that came in were changed: work on new arrays")
        xor = before[0][:, None] ^ before[1][None]  # nq×nd×bytes
        want = hamming_distance(q, d)
        slips = {
            "the sum runs in 8 bits, where 255 + 1 is 0: sum in a larger type": want % 256,
            "this sums the XOR's bytes as numbers, not their ones": xor.sum(axis=2, dtype=np.int64),
            "AND counts the ones that both have; different bits are those of XOR": ones[
                before[0][:, None] & before[1][None]
            ].sum(axis=2),
            "this counts bytes that differ, not bits": (xor > 0).sum(axis=2),
            "rows and columns are swapped: a row is a query": want.T,
            "this is the number of equal bits": bits - want,
        }
        what = f"the distances of codes with {bits} bits"
        expect_close(np.asarray(got) if isinstance(got, np.ndarray) else got, want, what, slips=slips)
    return f"{N_QUERIES} codes against {N_ITEMS}, of 24, 64 and 512 bits, from distance 0 to K"


@exercise("1.2")
def ex_1_2(answer: Any) -> str:
    """The expected distance of random-hyperplane codes."""
    u, v = torch.randn(2, 9, dtype=torch.float64)
    cosine = float(u @ v / (u.norm() * v.norm()))
    share = math.acos(cosine) / math.pi  # of the bits that differ
    slips = {
        "this is the number of equal bits; the distance counts those that differ": 48 * (1 - share),
        "this is the chance of one bit; a code has K of them": share,
        "all lines fit into half a turn, π: dividing by 2π counts each twice": 48 * share / 2,
        "the angle is wanted, and this is linear in its cosine": 48 * (1 - cosine) / 2,
        "the angle is in degrees, but π stands for half a turn in radians": 48 * math.degrees(share),
        "divide the inner product by both lengths before acos": 48
        * math.acos(max(-1.0, min(1.0, float(u @ v))))
        / math.pi,
    }
    what = "the distance of two random vectors with 48 bits"
    error = expect_close(answer(u, v, 48), 48 * share, what, 1e-6, slips=slips)
    x, y = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 0.5, 0.0])
    expect_close(answer(x, y, 10), 5.0, "the distance of orthogonal vectors with 10 bits", 1e-4)
    expect_close(answer(x, -2 * x, 24), 24.0, "the distance of opposite vectors with 24 bits", 1e-3)
    unclamped = {"rounding pushed the cosine beyond 1, where acos has no answer: clamp it": math.nan}
    for x in torch.randn(200, 9):  # with some of them x·y/(|x||y|) is above 1, by the last bit
        expect_close(answer(x, 3 * x, 24), 0.0, "the distance of vectors in one direction", 1e-2, unclamped)
    return f"random, orthogonal, opposite and equal directions (largest difference {error:.1e})"


@exercise("1.3")
def ex_1_3(answer: Any) -> str:
    """One step of ITQ with weights: codes, then the Procrustes rotation."""

    def rotation(A: Tensor) -> Tensor:
        Q1, _, Q2t = torch.linalg.svd(A)
        return Q1 @ Q2t

    error = 0.0
    for n, bits in ((40, 3), (25, 5)):
        U = torch.randn(n, bits, dtype=torch.float64)
        U[0, 0], U[0, 1:] = 0.0, 9.0  # with Q = I its first number is exactly 0, and its bit +1
        a = torch.rand(n, dtype=torch.float64) + 0.5
        for Q in (torch.eye(bits, dtype=torch.float64), rotation(torch.randn(bits, bits).double())):
            V = U @ Q
            H = torch.where(V >= 0, 1.0, -1.0).double()
            of_u = torch.where(U >= 0, 1.0, -1.0).double()
            weighted = a[:, None] * H
            want = rotation(U.T @ weighted)
            Q1, _, Q2t = torch.linalg.svd(U.T @ weighted)
            slips = {
                "the sign of 0 is +1 here, and torch.sign(0) is 0": rotation(U.T @ (a[:, None] * V.sign())),
                "the weights are missing": rotation(U.T @ H),
                "the weights came in twice: once is enough in Σ aᵢ (uᵢQ)·hᵢ": rotation(
                    (a[:, None] * U).T @ weighted
                ),
                "the codes are those of U: turn it by Q first": rotation(U.T @ (a[:, None] * of_u)),
                "this is the rotation transposed; it should be Q1·Q2ᵀ of UᵀH": want.T,
                "svd gives Q2 already transposed; it was transposed once more": Q1 @ Q2t.T,
                "this is UᵀH itself, with its singular values: a rotation has none but 1": U.T @ weighted,
                "this is the rotation that came in; H is sign(UQ), and UQ without a sign changes nothing": Q,
            }
            got = _in_one_type(answer, U.clone(), Q.clone(), a.clone())
            what = f"the rotation for n = {n}, K = {bits}"
            expect_close(got, want, what, 1e-8, slips)
            error = max(error, float((got.T @ got - torch.eye(bits)).abs().max()))
    return f"two sizes, two rotations; the answer is one, too (largest entry of QᵀQ − I: {error:.1e})"


def _in_one_type(answer: Callable[..., Any], *inputs: Tensor) -> Any:
    """Call an answer with doubles; a mixture with float32 is named."""
    try:
        return answer(*inputs)
    except RuntimeError as error:
        if "dtype" in str(error):
            where = "torch.where(u >= 0, 1.0, -1.0) is float32, and U is not: add .to(U.dtype)"
            raise Wrong(f"two types meet in one product ({error}). {where}") from error
        raise


@exercise("1.4")
def ex_1_4(answer: Any) -> str:
    """The slowest waves of spectral hashing."""
    boxes = [([5.0, 2.3], 4), ([1.1, 9.7, 3.2], 8), ([7.0, 0.3, 0.2], 5), ([2.0], 3), ([2.0, 3.1, 1.7], 1)]
    for sides, bits in boxes:
        waves = [(side, k) for side in range(len(sides)) for k in range(1, bits + 1)]
        waves.sort(key=lambda wave: wave[1] / sides[wave[0]])
        want = waves[:bits]
        once = sorted(((side, 1) for side in range(len(sides))), key=lambda w: 1 / sides[w[0]])[:bits]
        slips = {
            "these are the fastest waves": waves[::-1][:bits],
            "a long side may have several waves, k = 1, 2, …": once,
            "the frequency is k/r, not k·r": sorted(waves, key=lambda w: w[1] * sides[w[0]])[:bits],
            "k starts at 1: the wave with k = 0 is constant and makes no bit": [(s, k - 1) for s, k in want],
            "sides are counted from 0": [(side + 1, k) for side, k in want],
            "the list should be cut to the number of bits": waves,
            "a pair is (side, k), in this order": [(k, side) for side, k in want],
        }
        got = answer(list(sides), bits)
        expect(isinstance(got, (list, tuple)), f"the answer is a {type(got).__name__}, not a list of pairs")
        pairs = [tuple(int(part) for part in pair) for pair in got]
        if pairs == want:
            continue
        for sentence, pairs_of_slip in slips.items():
            expect(pairs != pairs_of_slip, f"sides {sides}, {bits} bits: {sentence}")
        raise Wrong(f"sides {sides}, {bits} bits: the waves are {pairs}, expected {want} (side, k)")
    return "five boxes; a long side gets several waves, a short one none"


@exercise("1.5")
def ex_1_5(answer: Any) -> str:
    """Bits at which the mean of a distance gap is so many standard deviations."""
    for near, far, s in ((45, 60, 2.0), (20, 100, 1.0), (80, 90, 3.0), (10, 30, 1.5)):
        p, q = near / 180, far / 180
        gap = q - p

        def bits(variance: float, square: float = s * s, gap: float = gap) -> int:
            return math.ceil(square * variance / gap**2)

        want = bits(p + q - gap**2)
        slips = {
            "no plane separates both images, so the two events are not independent": bits(
                p * (1 - p) + q * (1 - q)
            ),
            "here both images lie on one side of the query; they lie on different sides": bits(gap - gap**2),
            "the variance is the mean of the square less the square of the mean": bits(p + q),
            "sigmas goes into the bound as a square": bits(p + q - gap**2, square=s),
            "the smallest whole K that reaches the bound: round up": want - 1,
            "a gap of angles becomes a gap of shares when divided by π": math.ceil(
                s * s * (p + q - gap**2) / (gap * math.pi) ** 2
            ),
        }
        got = answer(math.radians(near), math.radians(far), s)
        what = f"the bits for {near}° against {far}° with {s:g} standard deviations"
        if isinstance(got, float) and not got.is_integer():
            expect(abs(got - want) >= 1, f"{what} are a whole number: round {got:.2f} up")
        expect_close(got, want, what, 1e-9, slips)
    return "four pairs of angles"


@exercise("1.6")
def ex_1_6(answer: Any) -> str:
    """The report on ITQ's iterations."""
    return expect_report(answer, "plain", "changed")
