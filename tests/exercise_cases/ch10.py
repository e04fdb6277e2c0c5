"""Typical wrong answers to the exercises of Chapter 10."""

from __future__ import annotations

import torch

from dhida_lib.quantization import piecewise


def triplet(half=0.5, weight=0.5, sign=1.0, margin_sign=1.0, mean=True, order=-1.0, only=None):
    def answer(a, p, n, margin):
        lead = half * (a * (p - n)).sum(dim=1, keepdim=True) - margin_sign * margin  # T×1
        error = sign * weight * torch.sigmoid(order * lead) / (len(a) if mean else 1)
        return (-error * (p - n), -error * a, error * a)[:only]

    return answer


def triplet_by_autograd(a, p, n, margin):
    leaves = [x.requires_grad_() for x in (a, p, n)]
    lead = 0.5 * (a * (p - n)).sum(dim=1) - margin  # T
    return torch.autograd.grad(torch.nn.functional.softplus(-lead).mean(), leaves)


def centres_by_backward(u, C, s):
    u.requires_grad_(), C.requires_grad_()
    theta = 0.5 * piecewise(u) @ C.T  # B×c
    (torch.nn.functional.softplus(theta) - s * theta).mean().backward()
    return u.grad, C.grad


def centres(half=0.5, weight=0.5, over="all", mask=True, f=piecewise, sign=1.0, pull="v", only=None):
    def answer(u, C, s):
        v = f(u)
        size = {"all": s.numel(), "B": len(u), "none": 1}[over]
        delta = sign * (torch.sigmoid(half * v @ C.T) - s) / size  # B×c
        inside = (u.abs() <= 1) if mask else torch.ones_like(u)
        left = {"v": v, "u": u, "inside": v * (u.abs() <= 1)}[pull]
        return (weight * delta @ C * inside, weight * delta.T @ left)[:only]

    return answer


def checker(views=False, absolute=True, restore=True, how="max", fixed=None, result=bool, never=False):
    def answer(function, gradient, x, eps=1e-5, tolerance=1e-6):
        tolerance = fixed or tolerance
        numeric = torch.zeros_like(x)
        for k in range(x.numel()):
            above, below = (x.view(-1), x.view(-1)) if views else (x.clone().view(-1), x.clone().view(-1))
            above[k] += eps
            below[k] -= eps
            numeric.view(-1)[k] = (function(above.view_as(x)) - function(below.view_as(x))) / (2 * eps)
            if not restore:
                x.view(-1)[k] += eps
        gap = numeric - gradient(x)
        gap = gap.abs() if absolute else gap
        if how == "sum":
            gap = (numeric - gradient(x)).sum().abs()
        return result(not never and gap.max() < tolerance)

    return answer


REPORT = {
    "prediction": "It costs nothing, because a factor is divided away.",
    "right": [0.70, 0.68, 0.69],
    "mistake": [0.55, 0.53, 0.50],
    "control": [0.70, 0.67, 0.69],
    "conclusion": "It costs much under RMSProp; nothing is shown for Adam.",
}

WRONG = {
    "10.1": [
        ("uphill", triplet(sign=-1.0), "the sign is turned over"),
        ("no half anywhere", triplet(half=1.0, weight=1.0), "missing in the error and in the weights"),
        ("no half in the weights", triplet(weight=1.0), "the factor ½ of the weights is missing"),
        ("a sum", triplet(mean=False), "for the mean divide by T"),
        ("no margin", triplet(margin_sign=0.0), "the margin is missing"),
        ("margin turned over", triplet(margin_sign=-1.0), "the margin has the wrong sign"),
        ("the error of the right order", triplet(order=1.0), "it should be σ(−x)"),
        ("only two", triplet(only=2), "it should give three gradients"),
        ("by autograd", triplet_by_autograd, "autograd found them"),
    ],
    "10.2": [
        ("no factor of f", centres(mask=False), "the factor of f is missing"),
        ("no half in the weights", centres(weight=1.0), "the ½ of the derivative of θ is missing"),
        ("no half anywhere", centres(half=1.0, weight=1.0), "the half of θ = ½vCᵀ is missing"),
        ("no f", centres(f=lambda u: u, mask=False), "f is missing: θ is made of v = f(u)"),
        ("a sum", centres(over="none"), "for the mean divide by B·c"),
        ("divided by B", centres(over="B"), "it is divided by B only"),
        ("sign turned over", centres(sign=-1.0), "the sign is turned over"),
        ("f's factor for the centres too", centres(pull="inside"), "they still pull on the centres"),
        ("u meets the centres", centres(pull="u"), "the centres meet v = f(u)"),
        ("only u", centres(only=1), "it should give two gradients"),
        ("by backward", centres_by_backward, "autograd found them"),
    ],
    "10.3": [
        (
            "both bugs kept",
            checker(views=True, absolute=False),
            "it accepts a gradient that is much too large",
        ),
        ("still views", checker(views=True), "it accepts a gradient of zeros"),
        ("still without abs", checker(absolute=False), "look at the sign inside the last line"),
        ("x is moved", checker(restore=False), "x is changed after the call"),
        ("the sum of the differences", checker(how="sum"), "two mistakes that cancel in the sum"),
        ("a fixed tolerance", checker(fixed=1e-6), "it does not use the tolerance"),
        ("rejects everything", checker(never=True), "it rejects the right gradient"),
        ("a tensor", checker(result=torch.as_tensor), "it should give True or False"),
    ],
    "10.4": [
        ("no control", {k: v for k, v in REPORT.items() if k != "control"}, "no entry 'control'"),
        ("two seeds", REPORT | {"mistake": [0.5, 0.5]}, "fewer than 3 seeds"),
        ("no conclusion", REPORT | {"conclusion": "yes"}, "the conclusion should be a sentence"),
        (
            "the mistake does not reach the run",
            REPORT | {"mistake": [0.70, 0.68, 0.69]},
            "does the change reach",
        ),
    ],
}
