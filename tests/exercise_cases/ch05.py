"""Wrong answers to the exercises of Chapter 5."""

import copy

import torch


def column_softmax(B, C, D, j):
    return D @ (-(B.T @ C[:, j])).softmax(0)


def negate(*names):
    def answer(module):
        new = copy.deepcopy(module)
        with torch.no_grad():
            for name in names:
                new.get_parameter(name).neg_()
        return new

    return answer


def in_place(module):
    with torch.no_grad():
        module.query.weight.neg_()
        module.query.bias.neg_()
    return module


def half_sum(M, axis, keepdim=True):
    return (M.amax(axis, keepdim=keepdim) + M.mean(axis, keepdim=keepdim)) / 2


def axis_of(reduce):
    return 1 if reduce == "column" else 2


WRONG = {
    "5.1": [
        ("softmax of plus M, as in DANet", lambda B, C, D, j: D @ (B.T @ C[:, j]).softmax(0)),
        ("the row of M instead of its column", lambda B, C, D, j: D @ (-(C.T @ B[:, j])).softmax(0)),
        ("the weights instead of the sum", lambda B, C, D, j: (-(B.T @ C[:, j])).softmax(0)),
        ("position counted from 1", lambda B, C, D, j: column_softmax(B, C, D, j - 1)),
        ("scaled by the root of the width", lambda B, C, D, j: D @ (-(B.T @ C[:, j]) / 3**0.5).softmax(0)),
    ],
    "5.2": [
        ("the axes swapped", lambda M, reduce: half_sum(M, 3 - axis_of(reduce)) - M),
        ("keepdim forgotten", lambda M, reduce: half_sum(M, axis_of(reduce), keepdim=False) - M),
        ("reduce ignored", lambda M, reduce: half_sum(M, 1) - M),
        ("over the whole matrix", lambda M, reduce: half_sum(M, (1, 2)) - M),
        ("not halved", lambda M, reduce: 2 * half_sum(M, axis_of(reduce)) - M),
        ("M minus the half sum", lambda M, reduce: M - half_sum(M, axis_of(reduce))),
    ],
    "5.3": [
        ("only the bias negated", negate("query.bias")),
        ("query and key negated", negate("query.weight", "query.bias", "key.weight", "key.bias")),
        ("value negated", negate("value.weight", "value.bias")),
        ("alpha negated", negate("alpha")),
        ("the old module changed", in_place),
        ("a copy and no change", copy.deepcopy),
    ],
}
