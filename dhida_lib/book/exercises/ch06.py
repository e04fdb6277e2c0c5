"""Checks of Chapter 6's exercises: channel attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dhida_lib.book.checks import exercise, expect, expect_close, expect_report


@exercise("6.1")
def ex_6_1(answer: Any) -> str:
    """The weight of a channel for itself, of two channels."""
    a, b = 0.5 + torch.rand(2, 7, dtype=torch.float64)
    c = 2 * torch.rand(7, dtype=torch.float64) - 1
    own, other = a.square(), a * b * c
    want = torch.stack([-own, -other]).softmax(0)[0]
    slips = {
        "this is the weight of the other channel, or that of the softmax of +G": 1 - want,
        "the other channel's score is not 0: it is the inner product a·b·c": torch.sigmoid(-own),
        "the score of a channel with itself is a², for a is its length": torch.sigmoid(other - a),
        "the other channel's score is the inner product a·b·c, not the cosine alone": torch.sigmoid(c - own),
        "these are the two loudnesses; the score of channel 2 for channel 1 is a·b·c": torch.sigmoid(
            b.square() - own
        ),
        "this is exp(−a²), not yet divided by the sum of both": (-own).exp(),
    }
    error = expect_close(answer(a.clone(), b.clone(), c.clone()), want, "the weight", slips=slips)
    return f"7 pairs of channels (largest difference {error:.1e})"


def _branch(A: Tensor, X: Tensor, beta: float) -> Tensor:
    """E of Eq. 8 for a map X[b, j, i]."""
    return beta * (X @ A.flatten(2)).view_as(A) + A


@exercise("6.2")
def ex_6_2(answer: Any) -> str:
    """E of Eq. 8 with softmax(τ·G)."""
    A = torch.randn(2, 5, 3, 4, dtype=torch.float64)  # batch×C×H×W
    G = A.flatten(2) @ A.flatten(2).mT
    error = 0.0
    for tau, beta in ((-0.3, -2.0), (1.0, 0.7), (-1.0, 0.7), (0.0, 0.7), (-1.0, 0.0)):
        X = (tau * G).softmax(1).mT  # [b, j, i]
        slips = {
            "τ went into A, and stands in G squared: its sign is lost": _branch(
                A, (tau**2 * G).softmax(1).mT, beta
            ),
            "the A that is fetched, or the one that is added, was multiplied by τ too": _branch(
                tau * A, X, beta
            ),
            "τ stands behind the softmax, where it scales what is fetched; it belongs into the exponent": (
                _branch(A, tau * G.softmax(1).mT, beta)
            ),
            "there is a second minus: τ = −1 should be the softmax of −G": _branch(
                A, (-tau * G).softmax(1).mT, beta
            ),
            "the map is transposed: row j of X holds the weights with which j fetches": _branch(
                A, X.mT, beta
            ),
            "A itself is not added": _branch(A, X, beta) - A,
        }
        what = f"E with τ = {tau:g} and β = {beta:g}"
        error = max(
            error, expect_close(answer(A.clone(), tau, beta), (_branch(A, X, beta)), what, slips=slips)
        )
    scalar = torch.tensor(-0.5, dtype=torch.float64, requires_grad=True)
    E = answer(A, scalar, 0.7)
    expect(E.requires_grad, "no gradient reaches τ, so it could not be learnt: is it detached?")
    (slope,) = torch.autograd.grad(E.pow(3).sum(), scalar, allow_unused=True)
    expect(slope is not None and slope != 0, "no gradient reaches τ, so it could not be learnt")
    return f"five pairs of τ and β, and τ gets a gradient (largest difference {error:.1e})"


@exercise("6.3")
def ex_6_3(answer: Any) -> str:
    """Softmax of minus the cosine."""
    A = torch.randn(2, 5, 3, 4, dtype=torch.float64) * torch.tensor([0.2, 1.0, 3.0, 1.0, 0.5])[:, None, None]
    flat = A.flatten(2)
    G, length = flat @ flat.mT, flat.norm(dim=2)
    unit = F.normalize(flat, dim=2)
    want = (-(unit @ unit.mT)).softmax(1).mT
    across = F.normalize(flat, dim=1)
    slips = {
        "this is the map of inner products; nothing was brought to length 1": (-G).softmax(1).mT,
        "this prefers what is alike; Eq. 7 has a minus": (unit @ unit.mT).softmax(1).mT,
        "the length was taken over the channels of a position; a channel's length runs over its positions": (
            (-(across @ across.mT)).softmax(1).mT
        ),
        "divided by the loudness, which is the length squared": (
            (-G / (length**2)[:, :, None] / (length**2)[:, None]).softmax(1).mT
        ),
        "only those that are looked at were brought to length 1, not the one that looks": (
            (-G / length[:, :, None]).softmax(1).mT
        ),
        "only the one that looks was brought to length 1, not those that are looked at": (
            (-G / length[:, None]).softmax(1).mT
        ),
        "the layout is still [b, i, j]; give back [b, j, i]": want.mT,
    }
    error = expect_close(answer(A.clone()), want, "the map", slips=slips)
    A[:, 3] = 0  # a silent channel
    unit = F.normalize(A.flatten(2), dim=2)
    got = answer(A.clone())
    if isinstance(got, Tensor):
        expect(not got.isnan().any(), "a silent channel gives nan: 0 divided by its length 0")
    error = max(error, expect_close(got, (-(unit @ unit.mT)).softmax(1).mT, "the map with a silent channel"))
    return f"5 channels of any loudness, and a silent one (largest difference {error:.1e})"


@exercise("6.4")
def ex_6_4(answer: Any) -> str:
    """Every image by itself."""
    A = 0.5 * torch.randn(3, 5, 3, 4, dtype=torch.float64)
    flat, rows = A.flatten(2), A.reshape(-1, 12)
    X = (-(flat @ flat.mT)).softmax(1).mT
    mixed = (-(rows @ rows.T)).softmax(0).T
    blocks = torch.stack([mixed[5 * k : 5 * k + 5, 5 * k : 5 * k + 5] for k in range(3)])
    by_position = (-(flat.mT @ flat)).softmax(1)
    slips = {
        "the channels of one image still look at those of the others": 0.7 * (mixed @ rows).view_as(A) + A,
        "every image gets the map of the first one": _branch(A, X[:1].expand_as(X), 0.7),
        "the images are apart now, but the weights were shared out among all of them before: "
        "they no longer sum to 1": _branch(A, blocks, 0.7),
        "the map is transposed: row j of X holds the weights with which j fetches": _branch(A, X.mT, 0.7),
        "this prefers the largest scores: Eq. 7 has the softmax of −G": _branch(
            A, (flat @ flat.mT).softmax(1).mT, 0.7
        ),
        "these are scores between positions; the channels should look": (
            0.7 * (flat @ by_position).view_as(A) + A
        ),
        "one map for all, from the mean of the batch": _branch(
            A, (-(flat.mean(0) @ flat.mean(0).T)).softmax(0).T.expand(3, 5, 5), 0.7
        ),
    }
    error = expect_close(answer(A.clone(), 0.7), _branch(A, X, 0.7), "E", slips=slips)
    return f"3 images, each as if it were alone (largest difference {error:.1e})"


@exercise("6.5")
def ex_6_5(report: Any) -> str:
    """The report on whom a channel looks at."""
    return expect_report(report, "plain", "changed")
