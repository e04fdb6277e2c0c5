"""The inner loop of `metrics.ranking_histograms`, compiled by Numba where that is installed.

A pair costs an exclusive or, a count of bits and one addition: no distance is ever stored. Imported only for
large tables, as Numba takes a second to load and a few more the first time.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["count_pairs"]

_1, _2, _4, _56 = (np.uint64(n) for n in (1, 2, 4, 56))
_5555, _3333 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_0F0F, _0101 = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)


@njit(inline="always")
def _ones(x: np.uint64) -> np.uint64:
    """Number of ones in a word; the compiler makes one instruction of it where the processor has one."""
    x = x - ((x >> _1) & _5555)
    x = (x & _3333) + ((x >> _2) & _3333)
    x = (x + (x >> _4)) & _0F0F
    return (x * _0101) >> _56


@njit(nogil=True, cache=True)
def count_pairs(
    q: NDArray[np.uint64],
    d: NDArray[np.uint64],
    weight: NDArray[np.int64],
    start: NDArray[np.int64],
    relevant: NDArray[np.uint8],
    out: NDArray[np.int64],
) -> None:
    """Count, for each query, the items at each distance, relevant ones apart.

    Args:
        q: codes of the queries, one word each (nq,); nq is a multiple of 4.
        d: codes of the items (nd,), sorted by label group.
        weight: how often each item occurs (nd,).
        start: where each label group begins in ``d``, and where the last one ends (g+1,).
        relevant: 1 where a label group shares a label with a query, else 0 (nq×g).
        out: the counts, added to here (nq×2×bins): not relevant, then relevant.
    """
    bins = out.shape[2]
    both = np.zeros((4, 2 * bins), np.int64)
    h0, h1, h2, h3 = both[0], both[1], both[2], both[3]
    for i in range(0, len(q), 4):  # four tables at once: an addition need not wait for the one before it
        both[:] = 0
        q0, q1, q2, q3 = q[i], q[i + 1], q[i + 2], q[i + 3]
        for g in range(len(start) - 1):
            t0 = h0[bins * relevant[i, g] :]
            t1 = h1[bins * relevant[i + 1, g] :]
            t2 = h2[bins * relevant[i + 2, g] :]
            t3 = h3[bins * relevant[i + 3, g] :]
            for j in range(start[g], start[g + 1]):
                x, w = d[j], weight[j]
                t0[_ones(x ^ q0)] += w
                t1[_ones(x ^ q1)] += w
                t2[_ones(x ^ q2)] += w
                t3[_ones(x ^ q3)] += w
        for s in range(4):
            out[i + s, 0] += both[s, :bins]
            out[i + s, 1] += both[s, bins:]
