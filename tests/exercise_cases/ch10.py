"""Typical wrong answers to the exercises of Chapter 10."""

from __future__ import annotations

import torch

from dhida_lib.quantization import piecewise


def pairs(half=0.5, sums="both", mean=True, mask="u", through=True, turned=False):
    def answer(u, s):
        v = piecewise(u) if through else u
        g = torch.sigmoid(0.5 * v @ v.T) - s
        g = (s - torch.sigmoid(0.5 * v @ v.T)) if turned else g
        g = g / s.numel() if mean else g
        out = half * g @ v + half * g.T @ v if sums == "both" else 2 * half * g @ v
        inside = {"u": u.abs() <= 1, "v": v.abs() <= 1, "none": torch.ones_like(u)}[mask]
        return out * inside

    return answer


def linear(dW=None, db=None, dpsi=None):
    def answer(psi, W, g):
        return (
            psi.T @ g if dW is None else dW(psi, W, g),
            g.sum(dim=0) if db is None else db(psi, W, g),
            g @ W.T if dpsi is None else dpsi(psi, W, g),
        )

    return answer


def numeric(forward=False, twice=True, restore=True, own=None):
    def answer(function, x, eps):
        eps = own or eps
        x = x.clone() if restore else x
        out = torch.zeros_like(x)
        for k in range(x.numel()):
            flat = x.view(-1)
            middle, old = function(x), flat[k].item()
            flat[k] = old + eps
            up = function(x)
            flat[k] = old - eps
            down = middle if forward else function(x)
            if restore:
                flat[k] = old
            out.view(-1)[k] = (up - down) / (eps if forward or not twice else 2 * eps)
        return out

    return answer


def balance(over="all", two=2.0, swap=False, mask=True, through=True):
    def answer(u, reading):
        v = piecewise(u) if through else u
        per_code = (reading == "code") != swap
        means = v.mean(dim=1 if per_code else 0, keepdim=True).expand_as(v)
        size = {"all": v.numel(), "none": 1, "K": v.shape[1], "B": v.shape[0]}[over]
        return two * means / size * ((u.abs() <= 1) if mask else 1)

    return answer


WRONG = {
    "10.1": [
        ("the half dropped", pairs(half=1.0)),
        ("one sum only, doubled", pairs(sums="first")),
        ("one sum only", pairs(half=0.25, sums="first")),
        ("sum over pairs instead of the mean", pairs(mean=False)),
        ("no factor of f", pairs(mask="none")),
        ("the factor of f taken from f(u)", pairs(mask="v")),
        ("u in the product instead of f(u)", pairs(through=False)),
        ("sign turned over", pairs(turned=True)),
    ],
    "10.2": [
        ("Eq. 17 transposed", linear(dW=lambda psi, W, g: g.T @ psi)),
        ("no sum in b", linear(db=lambda psi, W, g: g)),
        ("a mean in b", linear(db=lambda psi, W, g: g.mean(dim=0))),
        ("a mean in W", linear(dW=lambda psi, W, g: psi.T @ g / len(g))),
        ("one image only", linear(dW=lambda psi, W, g: torch.outer(psi[0], g[0]))),
        ("W transposed", linear(dpsi=lambda psi, W, g: g @ W.reshape(W.T.shape))),
        ("order of the three", lambda psi, W, g: (g.sum(dim=0), psi.T @ g, g @ W.T)),
        ("only W", lambda psi, W, g: psi.T @ g),
    ],
    "10.3": [
        ("one-sided", numeric(forward=True)),
        ("divided by ε instead of 2ε", numeric(twice=False)),
        ("x not put back", numeric(restore=False)),
        ("a fixed ε", numeric(own=1e-6)),
    ],
    "10.4": [
        ("as Eq. 16 prints it", balance(over="none")),
        ("1/K missing", balance(over="B")),
        ("1/B missing", balance(over="K")),
        ("readings swapped", balance(swap=True)),
        ("2 forgotten", balance(two=1.0)),
        ("no factor of f", balance(mask=False)),
        ("the mean of u, not of f(u)", balance(through=False)),
    ],
}
