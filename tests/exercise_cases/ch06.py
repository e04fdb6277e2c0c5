"""Wrong answers to the exercises of Chapter 6."""

import torch


def products(A):
    flat = A.flatten(2)
    return flat @ flat.transpose(1, 2)


def improved(N, axis, keepdim=True):
    return (N.amax(axis, keepdim=keepdim) + N.mean(axis, keepdim=keepdim)) / 2 - N


def axis_of(reduce):
    return 1 if reduce == "column" else 2


def reshaped(A, reduce):
    flat = A.flatten(2)
    N = flat @ flat.reshape(len(A), -1, A.shape[1])
    return improved(N, axis_of(reduce)).softmax(1).transpose(1, 2)


def read(A, axis):
    return improved(products(A), axis).softmax(1).transpose(1, 2)


def positions(A, reduce):
    flat = A.flatten(2)
    N = flat.transpose(1, 2) @ flat
    return improved(N, axis_of(reduce)).softmax(1).transpose(1, 2)


def without_keepdim(A, reduce):
    return improved(products(A), axis_of(reduce), keepdim=False).softmax(1).transpose(1, 2)


def whole(A, reduce):
    N = products(A)
    return ((N.amax() + N.mean()) / 2 - N).softmax(1).transpose(1, 2)


def branch(A, X, beta):
    return beta * (X @ A.flatten(2)).view_as(A) + A


def tau_map(A, tau):
    return (tau * products(A)).softmax(1).transpose(1, 2)


WRONG = {
    "6.1": [
        ("reshape instead of the transpose", reshaped),
        ("the axes swapped", lambda A, reduce: read(A, 3 - axis_of(reduce))),
        ("reduce ignored", lambda A, reduce: read(A, 1)),
        ("no transpose at the end", lambda A, reduce: read(A, axis_of(reduce)).transpose(1, 2)),
        ("softmax over j", lambda A, reduce: improved(products(A), axis_of(reduce)).softmax(2)),
        ("keepdim forgotten", without_keepdim),
        ("max and mean of the whole batch", whole),
        ("plus N", lambda A, reduce: products(A).softmax(1).transpose(1, 2)),
        ("positions instead of channels", positions),
    ],
    "6.2": [
        ("nan where a weight is 0", lambda X: (-(X * X.log()).sum(-1)).exp()),
        ("the entropy itself", lambda X: torch.special.entr(X).sum(-1)),
        ("the other count", lambda X: 1 / X.square().sum(-1)),
        ("over the columns", lambda X: torch.special.entr(X).sum(1).exp()),
        ("the minus forgotten", lambda X: (-torch.special.entr(X).sum(-1)).exp()),
        ("log2 and exp", lambda X: (torch.special.entr(X).sum(-1) / torch.tensor(2.0).log()).exp()),
        ("log(X + 0.001) against the nan", lambda X: (-(X * (X + 1e-3).log()).sum(-1)).exp()),
    ],
    "6.3": [
        ("A times tau: the sign is lost", lambda A, t, b: branch(A, products(t * A).softmax(1).mT, b)),
        ("one factor A times tau, and the sum too", lambda A, t, b: branch(t * A, tau_map(A, t), b)),
        ("tau after the softmax", lambda A, t, b: branch(A, t * products(A).softmax(1).mT, b)),
        ("the minus kept besides", lambda A, t, b: branch(A, tau_map(A, -t), b)),
        ("transpose forgotten", lambda A, t, b: branch(A, tau_map(A, t).mT, b)),
        ("A not added", lambda A, t, b: branch(A, tau_map(A, t), b) - A),
        ("tau detached", lambda A, t, b: branch(A, tau_map(A, torch.as_tensor(t).detach()), b)),
    ],
}
