"""Wrong answers to the exercises of Chapter 1."""

import math

import numpy as np
import torch

TABLE = np.array([bin(byte).count("1") for byte in range(256)])


def small_type(q, d):
    return TABLE.astype(np.uint8)[q[:, None] ^ d[None]].sum(axis=2, dtype=np.uint8)


def in_place(q, d):
    result = TABLE[q[:, None] ^ d[None]].sum(axis=2)
    q ^= q
    return result


def angle(x, y):
    return torch.acos(((x @ y) / (x.norm() * y.norm())).clamp(-1, 1))


def code(V, R):
    return torch.where(V @ R >= 0, 1.0, -1.0).to(V.dtype)


def procrustes(A):
    P, _, Qt = torch.linalg.svd(A)
    return P @ Qt


def not_transposed_back(V, R):
    P, _, Qt = torch.linalg.svd(V.T @ code(V, R))
    return P @ Qt.T


def waves(sides, bits, longest=None):
    pairs = [(side, k) for side in range(len(sides)) for k in range(1, (longest or bits) + 1)]
    return sorted(pairs, key=lambda wave: wave[1] / sides[wave[0]])


WRONG = {
    "1.1": [
        ("sum of the XOR, not of its ones", lambda q, d: (q[:, None] ^ d[None]).sum(axis=2)),
        ("AND instead of XOR", lambda q, d: TABLE[q[:, None] & d[None]].sum(axis=2)),
        ("bytes that differ, not bits", lambda q, d: (q[:, None] != d[None]).sum(axis=2)),
        ("summed in bytes: 256 becomes 0", small_type),
        ("the table transposed", lambda q, d: TABLE[q[:, None] ^ d[None]].sum(axis=2).T),
        ("the number of equal bits", lambda q, d: TABLE[~(q[:, None] ^ d[None])].sum(axis=2)),
        ("the input changed", in_place),
    ],
    "1.2": [
        ("lengths forgotten", lambda x, y, bits: bits * torch.acos((x @ y).clamp(-1, 1)) / math.pi),
        ("expected number of equal bits", lambda x, y, bits: bits * (1 - angle(x, y) / math.pi)),
        ("one bit only", lambda x, y, bits: angle(x, y) / math.pi),
        ("over two pi", lambda x, y, bits: bits * angle(x, y) / (2 * math.pi)),
        ("linear in the cosine", lambda x, y, bits: bits * (1 - angle(x, y).cos()) / 2),
        ("in degrees", lambda x, y, bits: bits * torch.rad2deg(angle(x, y)) / math.pi),
    ],
    "1.3": [
        ("no sign", lambda V, R: procrustes(V.T @ (V @ R))),
        ("the answer transposed", lambda V, R: procrustes(V.T @ code(V, R)).T),
        (
            "codes of V, the rotation forgotten",
            lambda V, R: procrustes(V.T @ code(V, torch.eye(len(R)).to(R))),
        ),
        ("transposed product", lambda V, R: procrustes(code(V, R).T @ V)),
        ("Q transposed twice", not_transposed_back),
        ("the singular values kept", lambda V, R: V.T @ code(V, R)),
        ("least squares, not a rotation", lambda V, R: torch.linalg.lstsq(V, code(V, R)).solution),
        ("R returned", lambda V, R: R),
    ],
    "1.4": [
        ("one wave a side", lambda sides, bits: waves(sides, bits, longest=1)[:bits]),
        ("the fastest first", lambda sides, bits: waves(sides, bits)[::-1][:bits]),
        (
            "k times r",
            lambda sides, bits: sorted(waves(sides, bits), key=lambda w: w[1] * sides[w[0]])[:bits],
        ),
        ("k counted from 0", lambda sides, bits: [(s, k - 1) for s, k in waves(sides, bits)[:bits]]),
        ("sides counted from 1", lambda sides, bits: [(s + 1, k) for s, k in waves(sides, bits)[:bits]]),
        ("all waves", waves),
        ("k before side", lambda sides, bits: [(k, s) for s, k in waves(sides, bits)[:bits]]),
    ],
}
