"""Typical wrong answers to the exercises of Chapter 9."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from dhida_lib.labels import similarity
from dhida_lib.losses import pairwise_nll
from dhida_lib.quantization import piecewise


def logit(s):
    return torch.log(s / (1 - s))


def entropy(s):
    return -(s * torch.log(s) + (1 - s) * torch.log(1 - s))


def triplets(half=0.5, swap=False, sign=1.0, over="mean", safe=softplus, cut=None, pairs=False):
    def answer(a, p, n, margin):
        near, far = (n, p) if swap else (p, n)
        lead = half * (a @ (near - far).T if pairs else (a * (near - far)).sum(dim=1)) - sign * margin
        lead = lead if cut is None else lead.clamp(-cut, cut)
        costs = safe(-lead)
        return {"mean": costs.mean, "sum": costs.sum, "none": costs.clone}[over]()

    return answer


def naive(x):
    return torch.log(1 + torch.exp(x))


def bank(filled="own", half=0.5, detach=True, graph=True):
    class Bank:
        def __init__(self, n, bits):
            self.codes, self.labels = torch.zeros(n, bits), torch.zeros(n, dtype=torch.long)
            self.filled = torch.zeros(n, dtype=torch.bool)

        def loss(self, u, y, index):
            v = piecewise(u) if graph else piecewise(u).detach()
            self.codes[index], self.labels[index] = v.detach() if detach else v, y
            self.filled[index] = True
            rows = {"own": self.filled, "labels": self.labels > 0, "all": self.labels >= 0}[filled]
            theta = half * v @ self.codes[rows].T
            return pairwise_nll(theta, similarity(y, self.labels[rows]).to(v.dtype))

    return Bank


def largest(y, step, power=2, shift=0.5, which=-1):
    pull = (similarity(y).double() - shift) / len(y) ** power
    return 1 + step * torch.linalg.eigvalsh(pull)[which].item()


REPORT = {
    "prediction": "It halves, because the step is doubled.",
    "plain": [90, 91, 92],
    "changed": [45, 46, 44],
    "control": [46, 45, 44],
    "conclusion": "It halves, and a larger step does it as well.",
}

WRONG = {
    "9.1": [
        ("sign turned over", lambda s: (-logit(s), entropy(s)), "the sign is turned over"),
        ("the logarithm alone", lambda s: (torch.log(s), entropy(s)), "this is the logarithm of s"),
        ("sigma instead of its inverse", lambda s: (torch.sigmoid(s), entropy(s)), "σ has to be undone"),
        ("theta is s", lambda s: (s, entropy(s)), "the slope is σ(θ) − s, not θ − s"),
        ("the odds", lambda s: (s / (1 - s), entropy(s)), "θ is their logarithm"),
        ("only theta", logit, "it should give two things"),
        ("a negative cost", lambda s: (logit(s), -entropy(s)), "it cannot be negative"),
        ("in bits", lambda s: (logit(s), entropy(s) / torch.log(torch.tensor(2.0))), "counted in bits"),
        ("the cost of a certain pair", lambda s: (logit(s), softplus(-logit(s))), "a pair with s = 1 costs"),
        ("the second term forgotten", lambda s: (logit(s), softplus(logit(s))), "−s·θ is missing"),
        ("no cost at all", lambda s: (logit(s), 0 * s), "a doubtful pair is never free"),
    ],
    "9.2": [
        ("the half forgotten", triplets(half=1.0), "the half of θ"),
        ("p and n exchanged", triplets(swap=True), "p and n have changed places"),
        ("the margin added to the lead", triplets(sign=-1.0), "the margin has the wrong sign"),
        ("no margin", triplets(sign=0.0), "the margin is not used"),
        ("a sum", triplets(over="sum"), "this is a sum over the triplets"),
        ("no mean", triplets(over="none"), "one number for each triplet"),
        ("all with all", triplets(pairs=True), "every a meets every p and n"),
        ("overflows", triplets(safe=naive), "it overflows for long outputs"),
        ("clamped", triplets(safe=naive, cut=50), "is something clamped?"),
    ],
    "9.3": [
        ("the bug kept", bank(filled="labels"), "class 0 is still left out"),
        ("all rows", bank(filled="all"), "the empty rows count"),
        ("the half forgotten", bank(half=1.0), "the half of θ"),
        ("gradient into the bank", bank(detach=False), "they are constants"),
        ("the batch detached", bank(graph=False), "no gradient flows to the batch"),
    ],
    "9.4": [
        (
            "divided by B, not by its square",
            lambda y, step: largest(y, step, power=1),
            "divide by B², not by B",
        ),
        ("without the half", lambda y, step: largest(y, step, shift=0.0), "the −½ is missing"),
        (
            "equal classes assumed",
            lambda y, step: 1 + step / (len(y) * len(y.unique())),
            "for classes of equal size only",
        ),
        ("the eigenvalue alone", lambda y, step: largest(y, step) - 1, "the eigenvalue alone"),
        ("the first eigenvalue", lambda y, step: largest(y, step, which=0), "the smallest factor"),
    ],
    "9.5": [
        ("no control", {k: v for k, v in REPORT.items() if k != "control"}, "no entry 'control'"),
        ("two seeds", REPORT | {"changed": [45, 46]}, "fewer than 3 seeds"),
        ("predicted nothing", REPORT | {"prediction": ""}, "the prediction should be a sentence"),
        ("the change does nothing", REPORT | {"changed": [90, 91, 92]}, "does the change reach the run?"),
        ("seeds that differ", REPORT | {"control": [46, 45, 44, 43]}, "use the same seeds in both"),
    ],
}
