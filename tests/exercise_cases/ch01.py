"""Wrong answers to the exercises of Chapter 1, and what their readers are told."""

import math

import numpy as np
import torch

TABLE = np.array([bin(byte).count("1") for byte in range(256)])


def in_place(q, d):
    result = TABLE[q[:, None] ^ d[None]].sum(axis=2)
    q ^= q
    return result


def unpacked(q, d):
    a, b = (np.unpackbits(codes, axis=1).astype(int) for codes in (q, d))
    return (a[:, None] != b[None]).sum(axis=2)


def unpacked_late(q, d):
    return np.unpackbits(q[:, None] ^ d[None], axis=2).astype(int).sum(axis=2)


def loop(q, d):
    return np.array([[TABLE[a ^ b].sum() for b in d] for a in q])


def loop_by_number(q, d):
    out = np.zeros((len(q), len(d)), dtype=int)
    for i in range(len(q)):
        out[i] = TABLE[q[i] ^ d].sum(axis=1)
    return out


def angle(x, y):
    return torch.acos(((x @ y) / (x.norm() * y.norm())).clamp(-1, 1))


def code(U, Q):
    return torch.where(U @ Q >= 0, 1.0, -1.0).to(U.dtype)


def procrustes(A):
    Q1, _, Q2t = torch.linalg.svd(A)
    return Q1 @ Q2t


def not_transposed_back(U, Q, a):
    Q1, _, Q2t = torch.linalg.svd(U.T @ (a[:, None] * code(U, Q)))
    return Q1 @ Q2t.T


def waves(sides, bits, longest=None):
    pairs = [(side, k) for side in range(len(sides)) for k in range(1, (longest or bits) + 1)]
    return sorted(pairs, key=lambda wave: wave[1] / sides[wave[0]])


def needed(alpha, beta, variance, square, unit=math.pi):
    return math.ceil(square * variance / ((beta - alpha) / unit) ** 2)


def exact(alpha, beta):
    p, q = alpha / math.pi, beta / math.pi
    return p + q - (q - p) ** 2


def independent(alpha, beta, s):
    p, q = alpha / math.pi, beta / math.pi
    return needed(alpha, beta, p * (1 - p) + q * (1 - q), s * s)


def one_side(alpha, beta, s):
    gap = (beta - alpha) / math.pi
    return needed(alpha, beta, gap - gap**2, s * s)


REPORT = {
    "prediction": "The random rotation brings most of the gain, I think.",
    "plain": [0.44, 0.45, 0.44],
    "changed": [0.42, 0.43, 0.41],
    "conclusion": "The iterations add little, so skip them if time is short.",
}

WRONG = {
    "1.1": [
        (
            "summed in bytes: 256 becomes 0",
            lambda q, d: TABLE.astype(np.uint8)[q[:, None] ^ d[None]].sum(axis=2, dtype=np.uint8),
            "the sum runs in 8 bits",
        ),
        (
            "sum of the XOR, not of its ones",
            lambda q, d: (q[:, None] ^ d[None]).sum(axis=2),
            "sums the XOR's bytes as numbers",
        ),
        ("AND instead of XOR", lambda q, d: TABLE[q[:, None] & d[None]].sum(axis=2), "AND counts the ones"),
        (
            "bytes that differ, not bits",
            lambda q, d: (q[:, None] != d[None]).sum(axis=2),
            "counts bytes that differ",
        ),
        (
            "the table transposed",
            lambda q, d: TABLE[q[:, None] ^ d[None]].sum(axis=2).T,
            "rows and columns are swapped",
        ),
        (
            "the number of equal bits",
            lambda q, d: TABLE[~(q[:, None] ^ d[None])].sum(axis=2),
            "the number of equal bits",
        ),
        ("the input changed", in_place, "the codes that came in were changed"),
        ("unpacked", unpacked, "the bits are unpacked"),
        ("unpacked after XOR", unpacked_late, "the bits are unpacked"),
        ("a loop over pairs", loop, "a loop goes over the codes"),
        ("a loop over queries", loop_by_number, "a loop goes over the codes"),
    ],
    "1.2": [
        (
            "no clamp",
            lambda x, y, bits: bits * torch.acos((x @ y) / (x.norm() * y.norm())) / math.pi,
            "rounding pushed the cosine beyond 1",
        ),
        (
            "lengths forgotten",
            lambda x, y, bits: bits * torch.acos((x @ y).clamp(-1, 1)) / math.pi,
            "divide the inner product by both lengths",
        ),
        (
            "expected number of equal bits",
            lambda x, y, bits: bits * (1 - angle(x, y) / math.pi),
            "the number of equal bits",
        ),
        ("one bit only", lambda x, y, bits: angle(x, y) / math.pi, "the chance of one bit"),
        ("over two pi", lambda x, y, bits: bits * angle(x, y) / (2 * math.pi), "dividing by 2π"),
        (
            "linear in the cosine",
            lambda x, y, bits: bits * (1 - angle(x, y).cos()) / 2,
            "linear in its cosine",
        ),
        (
            "in degrees",
            lambda x, y, bits: bits * torch.rad2deg(angle(x, y)) / math.pi,
            "the angle is in degrees",
        ),
    ],
    "1.3": [
        (
            "torch.sign",
            lambda U, Q, a: procrustes(U.T @ (a[:, None] * (U @ Q).sign())),
            "torch.sign(0) is 0",
        ),
        (
            "float32 signs",
            lambda U, Q, a: procrustes(U.T @ torch.where(U @ Q >= 0, 1.0, -1.0)),
            "two types meet in one product",
        ),
        ("no weights", lambda U, Q, a: procrustes(U.T @ code(U, Q)), "the weights are missing"),
        (
            "weights twice",
            lambda U, Q, a: procrustes((a[:, None] * U).T @ (a[:, None] * code(U, Q))),
            "the weights came in twice",
        ),
        (
            "no sign",
            lambda U, Q, a: procrustes(U.T @ (a[:, None] * (U @ Q))),
            "UQ without a sign changes nothing",
        ),
        (
            "the answer transposed",
            lambda U, Q, a: procrustes(U.T @ (a[:, None] * code(U, Q))).T,
            "the rotation transposed",
        ),
        (
            "codes of U, the rotation forgotten",
            lambda U, Q, a: procrustes(U.T @ (a[:, None] * code(U, torch.eye(len(Q)).to(Q)))),
            "the codes are those of U",
        ),
        (
            "transposed product",
            lambda U, Q, a: procrustes((a[:, None] * code(U, Q)).T @ U),
            "the rotation transposed",
        ),
        ("Q2 transposed twice", not_transposed_back, "transposed once more"),
        ("the singular values kept", lambda U, Q, a: U.T @ (a[:, None] * code(U, Q)), "singular values"),
        ("Q returned", lambda U, Q, a: Q, "the rotation that came in"),
    ],
    "1.4": [
        ("one wave a side", lambda sides, bits: waves(sides, bits, longest=1)[:bits], "several waves"),
        ("the fastest first", lambda sides, bits: waves(sides, bits)[::-1][:bits], "the fastest waves"),
        (
            "k times r",
            lambda sides, bits: sorted(waves(sides, bits), key=lambda w: w[1] * sides[w[0]])[:bits],
            "not k·r",
        ),
        (
            "k counted from 0",
            lambda sides, bits: [(s, k - 1) for s, k in waves(sides, bits)[:bits]],
            "k starts at 1",
        ),
        (
            "sides counted from 1",
            lambda sides, bits: [(s + 1, k) for s, k in waves(sides, bits)[:bits]],
            "sides are counted from 0",
        ),
        ("all waves", waves, "cut to the number of bits"),
        (
            "k before side",
            lambda sides, bits: [(k, s) for s, k in waves(sides, bits)[:bits]],
            "a pair is (side, k)",
        ),
    ],
    "1.5": [
        ("independent", independent, "are not independent"),
        ("both on one side", one_side, "here both images lie on one side"),
        (
            "square of the mean kept",
            lambda a, b, s: needed(a, b, (a + b) / math.pi, s * s),
            "less the square of the mean",
        ),
        (
            "sigmas not squared",
            lambda a, b, s: needed(a, b, exact(a, b), s),
            "goes into the bound as a square",
        ),
        ("rounded down", lambda a, b, s: needed(a, b, exact(a, b), s * s) - 1, "round up"),
        (
            "not rounded",
            lambda a, b, s: s * s * exact(a, b) / ((b - a) / math.pi) ** 2,
            "are a whole number",
        ),
        (
            "the gap not over pi",
            lambda a, b, s: needed(a, b, exact(a, b), s * s, unit=1.0),
            "when divided by π",
        ),
    ],
    "1.6": [
        ("no reason given", REPORT | {"prediction": "less"}, "the prediction should be a sentence"),
        ("one seed", REPORT | {"plain": [0.44], "changed": [0.42]}, "fewer than 3 seeds"),
        ("nothing changed", REPORT | {"changed": REPORT["plain"]}, "does the change reach the run"),
        ("no conclusion", REPORT | {"conclusion": None}, "the conclusion should be a sentence"),
    ],
}
