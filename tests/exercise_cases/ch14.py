"""Wrong answers to the exercises of Chapter 14."""

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


WRONG = {
    "14.1": [
        ("the naive form", lambda x: x.cosh().log()),
        ("log 2 forgotten", lambda x: x.abs() + F.softplus(-2 * x.abs())),
        ("no softplus term", lambda x: x.abs() - math.log(2)),
        ("right for x > 0 only", lambda x: x + F.softplus(-2 * x.clamp(min=0)) - math.log(2)),
        ("clamped input", lambda x: x.clamp(-80, 80).cosh().log()),
        ("x instead of 2x", lambda x: x.abs() + F.softplus(-x.abs()) - math.log(2)),
    ],
    "14.2": [
        (
            "the two weights swapped",
            lambda S: torch.where(S > 0, S.numel() / (1 - S).sum(), S.numel() / S.sum()),
        ),
        (
            "counted row by row",
            lambda S: torch.where(S > 0, S.shape[1] / S.sum(1, True), S.shape[1] / (1 - S).sum(1, True)),
        ),
        ("similar pairs only", lambda S: torch.where(S > 0, S.numel() / S.sum(), 1.0)),
        ("the share instead of its inverse", lambda S: torch.where(S > 0, S.mean(), 1 - S.mean())),
        ("1/count without |S|", lambda S: torch.where(S > 0, 1 / S.sum(), 1 / (1 - S).sum())),
        ("no weights", lambda S: torch.ones_like(S)),
    ],
    "14.3": [
        ("correlation of the values", correlation),
        ("ties broken by place", lambda a, b: correlation(broken_ties(a), broken_ties(b))),
        ("argsort once", lambda a, b: correlation(a.argsort().double(), b.argsort().double())),
        ("one list backwards", lambda a, b: correlation(ranks(a), ranks(-b))),
        (
            "ties get the best rank",
            lambda a, b: correlation(*((x > x[:, None]).sum(1).double() for x in (a, b))),
        ),
        ("squared", lambda a, b: correlation(ranks(a), ranks(b)) ** 2),
    ],
    "14.4": [
        ("empty rows count as pairs", lambda u, y, V, Y, f: dsh(u, y, V.detach(), Y)),
        ("divided by all rows", lambda u, y, V, Y, f: dsh(u, y, V[f].detach(), Y[f], len(u) * len(V))),
        ("gradient into the bank", lambda u, y, V, Y, f: dsh(u, y, V[f], Y[f])),
        ("the half forgotten", lambda u, y, V, Y, f: dsh(u, y, V[f].detach(), Y[f], half=1.0)),
        ("the margin is K", lambda u, y, V, Y, f: dsh(u, y, V[f].detach(), Y[f], margin=5)),
        ("no margin for dissimilar pairs", lambda u, y, V, Y, f: dsh(u, y, V[f].detach(), Y[f], margin=1e3)),
        ("the batch detached", lambda u, y, V, Y, f: dsh(u.detach(), y, V[f].detach(), Y[f])),
    ],
}
