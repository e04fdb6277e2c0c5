"""Wrong answers to the exercises of Chapter 6, and the sentence that each must get."""

import torch
from torch.nn import functional as F


def products(A):
    flat = A.flatten(2)
    return flat @ flat.mT


def branch(A, X, beta):
    return beta * (X @ A.flatten(2)).view_as(A) + A


def tau_map(A, tau):
    return (tau * products(A)).softmax(1).mT


def cosine(A, dim=2, sign=-1):
    unit = F.normalize(A.flatten(2), dim=dim)
    return (sign * unit @ unit.mT).softmax(1).mT


def divided(A, looked_at, looks):
    length = A.flatten(2).norm(dim=2)
    return (-products(A) / length[:, :, None] ** looked_at / length[:, None] ** looks).softmax(1).mT


def careless(A, beta):
    flat = A.reshape(-1, A.shape[2] * A.shape[3])
    return beta * ((-(flat @ flat.T)).softmax(0).T @ flat).view_as(A) + A


def cut_out(A, beta):
    flat, n = A.reshape(-1, A.shape[2] * A.shape[3]), A.shape[1]
    X = (-(flat @ flat.T)).softmax(0).T
    return branch(A, torch.stack([X[n * k : n * k + n, n * k : n * k + n] for k in range(len(A))]), beta)


def first_for_all(A, beta):
    return branch(A, tau_map(A[:1], -1).expand(len(A), -1, -1), beta)


def mean_for_all(A, beta):
    return branch(A, tau_map(A.mean(0, keepdim=True), -1).expand(len(A), -1, -1), beta)


def positions(A, beta):
    flat = A.flatten(2)
    return beta * (flat @ (-(flat.mT @ flat)).softmax(1)).view_as(A) + A


REPORT = {
    "prediction": "It goes to loud channels because their scores are negative.",
    "plain": [0.81, 0.8, 0.79],
    "changed": [0.18, 0.17, 0.19],
    "conclusion": "It does so; nothing is shown for retrieval.",
}

WRONG = {
    "6.1": [
        ("plus G", lambda a, b, c: torch.sigmoid(a * (a - b * c)), "softmax of +G"),
        ("the other's score forgotten", lambda a, b, c: torch.sigmoid(-a * a), "is not 0"),
        ("length for loudness", lambda a, b, c: torch.sigmoid(a * b * c - a), "a is its length"),
        ("cosine for the product", lambda a, b, c: torch.sigmoid(c - a * a), "not the cosine alone"),
        ("the two loudnesses", lambda a, b, c: torch.sigmoid(b * b - a * a), "the two loudnesses"),
        ("not divided", lambda a, b, c: (-a * a).exp(), "not yet divided"),
    ],
    "6.2": [
        ("A times tau", lambda A, t, b: branch(A, products(t * A).softmax(1).mT, b), "its sign is lost"),
        ("and the sum too", lambda A, t, b: branch(t * A, tau_map(A, t), b), "was multiplied by τ too"),
        ("behind the softmax", lambda A, t, b: branch(A, t * tau_map(A, 1), b), "behind the softmax"),
        ("the minus kept", lambda A, t, b: branch(A, tau_map(A, -t), b), "a second minus"),
        ("transposed", lambda A, t, b: branch(A, tau_map(A, t).mT, b), "the map is transposed"),
        ("A not added", lambda A, t, b: branch(A, tau_map(A, t), b) - A, "A itself is not added"),
        ("detached", lambda A, t, b: branch(A, tau_map(A, torch.as_tensor(t).detach()), b), "no gradient"),
    ],
    "6.3": [
        ("inner products", lambda A: tau_map(A, -1), "nothing was brought to length 1"),
        ("plus", lambda A: cosine(A, sign=1), "Eq. 7 has a minus"),
        ("along the channels", lambda A: cosine(A, dim=1), "runs over its positions"),
        ("by the loudness", lambda A: divided(A, 2, 2), "the length squared"),
        ("only i", lambda A: divided(A, 1, 0), "not the one that looks"),
        ("only j", lambda A: divided(A, 0, 1), "not those that are looked at"),
        ("nan for silence", lambda A: divided(A, 1, 1), "a silent channel gives nan"),
        ("layout", lambda A: cosine(A).mT, "give back [b, j, i]"),
    ],
    "6.4": [
        ("as it was", careless, "still look at those of the others"),
        ("cut out afterwards", cut_out, "they no longer sum to 1"),
        ("the first image's map", first_for_all, "the map of the first one"),
        ("the mean image's map", mean_for_all, "from the mean of the batch"),
        ("transposed", lambda A, b: branch(A, tau_map(A, -1).mT, b), "the map is transposed"),
        ("plus G", lambda A, b: branch(A, tau_map(A, 1), b), "softmax of −G"),
        ("positions", positions, "scores between positions"),
    ],
    "6.5": [
        ("two groups", REPORT | {"plain": [0.8, 0.8], "changed": [0.2, 0.2]}, "fewer than 3 seeds"),
        ("other groups", REPORT | {"changed": [0.2] * 4}, "use the same seeds"),
        ("no conclusion", REPORT | {"conclusion": "yes"}, "should be a sentence"),
        ("nothing changed", REPORT | {"changed": [0.81, 0.8, 0.79]}, "does the change reach the run"),
    ],
}
