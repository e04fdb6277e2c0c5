"""Wrong answers to the exercises of Chapter 14, and the sentence that each must get."""

import math

import torch
import torch.nn.functional as F


def ranks(x):
    above = (x > x[:, None]).sum(1)
    return above + ((x == x[:, None]).sum(1) + 1) / 2


def correlation(A, B):
    return torch.corrcoef(torch.stack([A, B]).double())[0, 1]


def broken_ties(x):
    return x.argsort(stable=True).argsort().double()


def dsh(u, y, U, Y, count=None, half=0.5, margin=None):
    D = (u[:, None] - U).square().sum(2)
    far = ((2 * u.shape[1] if margin is None else margin) - D).clamp(min=0)
    pair = half * torch.where(y[:, None] == Y, D, far)
    return pair.mean() if count is None else pair.sum() / count


def push(K, m, q, odds=True, sign=-1.0, half=0.5):
    return half * K + m + sign * (torch.log(q / (1 - q)) if odds else q.log())


REPORT = {
    "prediction": "It learns with a smaller scale because the push is softer.",
    "plain": [0.38, 0.37, 0.36],
    "changed": [0.63, 0.61, 0.6],
    "conclusion": "It does; nothing is shown for other networks.",
}

WRONG = {
    "14.1": [
        ("the naive form", lambda x: x.cosh().log(), "cosh itself overflows"),
        ("log 2 forgotten", lambda x: x.abs() + F.softplus(-2 * x.abs()), "log 2 is missing"),
        ("no softplus term", lambda x: x.abs() - math.log(2), "near 0 the bend is missing"),
        (
            "right for x > 0 only",
            lambda x: x + F.softplus(-2 * x.clamp(min=0)) - math.log(2),
            "right for positive x only",
        ),
        ("clamped input", lambda x: x.clamp(-80, 80).cosh().log(), "was x clamped"),
        ("x instead of 2x", lambda x: x.abs() + F.softplus(-x.abs()) - math.log(2), "x in the place of 2x"),
        (
            "no absolute value in the power",
            lambda x: x.abs() + F.softplus(-2 * x) - math.log(2),
            "the absolute value is missing",
        ),
    ],
    "14.2": [
        (
            "the two weights swapped",
            lambda S: torch.where(S > 0, S.numel() / (1 - S).sum(), S.numel() / S.sum()),
            "changed places",
        ),
        (
            "counted row by row",
            lambda S: torch.where(S > 0, S.shape[1] / S.sum(1, True), S.shape[1] / (1 - S).sum(1, True)),
            "counted row by row",
        ),
        (
            "similar pairs only",
            lambda S: torch.where(S > 0, S.numel() / S.sum(), 1.0),
            "the dissimilar ones need theirs",
        ),
        (
            "the share instead of its inverse",
            lambda S: torch.where(S > 0, S.mean(), 1 - S.mean()),
            "the weight is its inverse",
        ),
        (
            "1/count without |S|",
            lambda S: torch.where(S > 0, 1 / S.sum(), 1 / (1 - S).sum()),
            "the number of all pairs is missing",
        ),
        ("no weights", lambda S: torch.ones_like(S), "all weights are 1"),
        (
            "no guard",
            lambda S: S * S.numel() / S.sum() + (1 - S) * S.numel() / (1 - S).sum(),
            "the count of the other kind is 0",
        ),
    ],
    "14.3": [
        ("correlation of the values", correlation, "the correlation of the values"),
        (
            "ties broken by place",
            lambda a, b: correlation(broken_ties(a), broken_ties(b)),
            "different ranks, by their place",
        ),
        (
            "argsort once",
            lambda a, b: correlation(a.argsort().double(), b.argsort().double()),
            "one `argsort` gives the order",
        ),
        ("one list backwards", lambda a, b: correlation(ranks(a), ranks(-b)), "from the other end"),
        (
            "ties get the best rank",
            lambda a, b: correlation(*((x > x[:, None]).sum(1).double() for x in (a, b))),
            "the best of their ranks",
        ),
        ("squared", lambda a, b: correlation(ranks(a), ranks(b)) ** 2, "this is ρ²"),
        (
            "the short formula",
            lambda a, b: 1 - 6 * (ranks(a) - ranks(b)).square().sum() / (len(a) ** 3 - len(a)),
            "holds only without ties",
        ),
    ],
    "14.4": [
        ("empty rows count as pairs", lambda u, y, V, Y, f: dsh(u, y, V.detach(), Y), "count as pairs"),
        (
            "divided by all rows",
            lambda u, y, V, Y, f: dsh(u, y, V[f].detach(), Y[f], len(u) * len(V)),
            "divided by all rows",
        ),
        ("gradient into the bank", lambda u, y, V, Y, f: dsh(u, y, V[f], Y[f]), "the bank gets a gradient"),
        (
            "the half forgotten",
            lambda u, y, V, Y, f: dsh(u, y, V[f].detach(), Y[f], half=1.0),
            "the ½ is missing",
        ),
        (
            "the margin is K",
            lambda u, y, V, Y, f: dsh(u, y, V[f].detach(), Y[f], margin=5),
            "the margin should be 2K",
        ),
        (
            "no margin for dissimilar pairs",
            lambda u, y, V, Y, f: dsh(u, y, V[f].detach(), Y[f], margin=1e3),
            "beyond the margin",
        ),
        (
            "the batch detached",
            lambda u, y, V, Y, f: dsh(u.detach(), y, V[f].detach(), Y[f]),
            "no gradient flows to the batch",
        ),
    ],
    "14.5": [
        ("sign of the odds", lambda K, m, q: push(K, m, q, sign=1.0), "the sign of the odds"),
        ("margin inwards", lambda K, m, q: push(K, -m, q), "not to smaller"),
        ("K for its half", lambda K, m, q: push(K, m, q, half=1.0), "not K − h"),
        ("no half of K", lambda K, m, q: push(0, m, q), "the K/2 is missing"),
        ("the cost", lambda K, m, q: K / 2 + m - torch.expm1(q).log(), "where the *cost* is q"),
        ("q alone", lambda K, m, q: push(K, m, q, odds=False), "not for q alone"),
        ("no margin", lambda K, m, q: push(K, 0, q), "the margin is missing"),
    ],
    "14.6": [
        ("not repeated", REPORT | {"plain": [0.5, 0.6], "changed": [0.6, 0.5]}, "fewer than 3 seeds"),
        ("other seeds", REPORT | {"changed": [0.5, 0.6, 0.55, 0.5]}, "use the same seeds"),
        (
            "the change does not arrive",
            REPORT | {"changed": REPORT["plain"]},
            "does the change reach the run",
        ),
        ("no prediction", REPORT | {"prediction": "better"}, "the prediction should be a sentence"),
        ("no conclusion", {k: v for k, v in REPORT.items() if k != "conclusion"}, "no entry 'conclusion'"),
    ],
}
