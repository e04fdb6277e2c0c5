"""Typical wrong answers to the exercises of Chapter 9."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from dhida_lib.labels import similarity
from dhida_lib.losses import pairwise_nll


def naive(theta, s):
    return (torch.log(1 + torch.exp(theta)) - s * theta).mean()


def clamped(theta, s):
    return naive(theta.clamp(-50, 50), s)


def bank(factor=0.5, keep=False, detach=True, turned=False):
    def answer(u, y, U, Y, filled):
        rows = torch.ones_like(filled) if keep else filled
        V = U[rows].detach() if detach else U[rows]
        s = similarity(y, Y[rows]).to(u.dtype)
        return pairwise_nll(factor * u @ V.T, 1 - s if turned else s)

    return answer


def largest(y, step, power=2, shift=0.5):
    pull = (similarity(y).double() - shift) / len(y) ** power
    return 1 + step * torch.linalg.eigvalsh(pull)[-1].item()


WRONG = {
    "9.1": [
        ("overflows", naive),
        ("theta clamped, so the gradient dies", clamped),
        ("sum instead of mean", lambda t, s: (softplus(t) - s * t).sum()),
        ("sign of s turned", lambda t, s: (softplus(t) + s * t).mean()),
        ("exponent without abs", lambda t, s: (t.clamp(min=0) + torch.log1p(torch.exp(-t)) - s * t).mean()),
    ],
    "9.2": [
        ("axes swapped", lambda v: (v.mean(dim=0).square().mean(), v.mean(dim=1).square().mean())),
        ("squares first", lambda v: (v.square().mean(dim=1).mean(), v.square().mean(dim=0).mean())),
        ("sums of squares", lambda v: (v.mean(dim=1).square().sum(), v.mean(dim=0).square().sum())),
        ("only one of the two", lambda v: v.mean(dim=1).square().mean()),
        ("absolute values", lambda v: (v.mean(dim=1).abs().mean(), v.mean(dim=0).abs().mean())),
    ],
    "9.3": [
        ("empty rows kept", bank(keep=True)),
        ("without the factor", bank(factor=1.0)),
        ("gradient into the bank", bank(detach=False)),
        ("similarity turned over", bank(turned=True)),
        (
            "batch detached instead",
            lambda u, y, U, Y, filled: bank(detach=False)(u.detach(), y, U, Y, filled),
        ),
    ],
    "9.4": [
        ("divided by B, not by its square", lambda y, step: largest(y, step, power=1)),
        ("without the half", lambda y, step: largest(y, step, shift=0.0)),
        ("equal classes assumed", lambda y, step: 1 + step / (len(y) * len(y.unique()))),
        ("the eigenvalue alone", lambda y, step: largest(y, step) - 1),
    ],
}
