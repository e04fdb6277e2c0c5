"""Wrong answers to the exercises of Chapter 5, and the sentence that each must get."""

import torch


def outer(p, d):
    return p[:, None] * d


def exponents(M, allowed, fill):
    return (-M).masked_fill(~allowed[:, :, None], fill)


def with_zeros(M, allowed):
    return (-(M * allowed[:, :, None])).softmax(1).mT


def in_M(fill):
    return lambda M, allowed: (-M.masked_fill(~allowed[:, :, None], fill)).softmax(1).mT


def through_max(M, allowed):
    hidden = M.masked_fill(~allowed[:, :, None], torch.inf)
    t = (hidden.amax(1, keepdim=True) + hidden.mean(1, keepdim=True)) / 2
    return (t - hidden).softmax(1).mT


def at_lookers(M, allowed):
    return (-M).masked_fill(~allowed[:, None, :], -torch.inf).nan_to_num(0.0).softmax(1).mT


def not_renormalised(M, allowed):
    return ((-M).softmax(1) * allowed[:, :, None]).mT


def whole(B, C, D, size):
    return D @ (-(B.T @ C)).softmax(0)


def cut_along_i(B, C, D, size):
    parts = zip(B.split(size, 1), D.split(size, 1), strict=True)
    return sum(d @ (-(b.T @ C)).softmax(0) for b, d in parts)


def chunked(B, C, D, size, sign=-1, drop=False):
    starts = range(0, C.shape[1] - (size - 1 if drop else 0), size)
    return torch.cat([D @ (sign * (B.T @ C[:, k : k + size])).softmax(0) for k in starts], 1)


def divided(M, shift):
    e = (shift - M).exp()
    return (e / e.sum(1, keepdim=True)).mT


def careless(M):
    return divided(M, (M.amax(1, keepdim=True) + M.mean(1, keepdim=True)) / 2)


def cut(M):
    e = (-M).clamp(max=80).exp()
    return (e / e.sum(1, keepdim=True)).mT


REPORT = {
    "prediction": "It gets sharper because the scores grow.",
    "plain": [1.5, 1.4, 1.6],
    "changed": [40.0, 41.0, 42.0],
    "conclusion": "It does; nothing is shown for trained modules.",
}

WRONG = {
    "5.1": [
        ("the denominator forgotten", outer, "the denominator too"),
        ("only its own weight", lambda p, d: outer(p * (1 - p), d), "all the others move as well"),
        ("sign", lambda p, d: outer(p, p @ d - d), "the sign is turned round"),
        ("p forgotten", lambda p, d: d - p @ d, "the factor p is missing"),
        ("plain mean", lambda p, d: outer(p, d - d.mean(0)), "not the plain one"),
        ("transposed", lambda p, d: outer(p, d - p @ d).T, "transpose it"),
    ],
    "5.2": [
        ("score 0", with_zeros, "exp(0) = 1 is a weight"),
        ("minus infinity in M", in_M(-torch.inf), "behind the minus"),
        ("through max and mean", through_max, "behind the minus"),
        ("not normalised again", not_renormalised, "the rows do not sum to 1"),
        ("no mask", lambda M, allowed: (-M).softmax(1).mT, "the map without the mask"),
        ("on those who look", at_lookers, "stands on those who look"),
        ("plus M", lambda M, allowed: exponents(-M, allowed, -torch.inf).softmax(1).mT, "softmax of −M"),
        ("layout", lambda M, allowed: exponents(M, allowed, -torch.inf).softmax(1), "give back [b, j, i]"),
        ("a large number", lambda M, allowed: exponents(M, allowed, -50).softmax(1).mT, "not exactly 0"),
    ],
    "5.3": [
        ("the whole M", whole, "the whole M, 60×60"),
        ("cut along i", cut_along_i, "never along i"),
        ("plus M", lambda *a: chunked(*a, sign=1), "softmax of −M"),
        ("B and C exchanged", lambda B, C, D, size: chunked(C, B, D, size), "the other way round"),
        (
            "the last portion dropped",
            lambda *a: chunked(*a, drop=True),
            "the last, smaller portion is missing",
        ),
    ],
    "5.4": [
        ("as it was", careless, "t − min(M)"),
        ("the max subtracted", lambda M: divided(M, M.amax(1, keepdim=True)), "t − min(M)"),
        ("nan put away", lambda M: careless(M).nan_to_num(0.0), "nan was put away"),
        ("exponents cut", cut, "cut exponents are all alike"),
        ("one minimum for all", lambda M: divided(M, M.amin()).nan_to_num(0.0), "each column's own number"),
        ("plus M", lambda M: M.softmax(1).mT, "softmax of −M"),
        ("over j", lambda M: (-M).softmax(2).mT, "runs over j"),
        ("layout", lambda M: (-M).softmax(1), "give back [b, j, i]"),
        ("by softmax", lambda M: (-M).softmax(1).mT, "softmax was called"),
        ("by log_softmax", lambda M: (-M).log_softmax(1).exp().mT, "softmax was called"),
    ],
    "5.5": [
        ("two seeds", REPORT | {"plain": [1.5, 1.4], "changed": [40.0, 41.0]}, "fewer than 3 seeds"),
        ("other seeds", REPORT | {"changed": [40.0] * 4}, "use the same seeds"),
        ("no reason", REPORT | {"prediction": "sharper"}, "should be a sentence"),
        ("nothing changed", REPORT | {"changed": [1.5, 1.4, 1.6]}, "does the change reach the run"),
    ],
}
