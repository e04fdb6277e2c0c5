"""Wrong answers to the exercises of Chapter 7."""

import copy

import torch

from dhida_lib.models import HashNetwork


def prior(M, axis=2):
    return ((M.amax(axis) + M.mean(axis)) / 2).exp()


def normalised(scaled, axis=2):
    return scaled / scaled.sum(axis, keepdim=True)


def absorbed(weight=2.0, bias=1.0, attention="none"):
    def answer(model):
        new = HashNetwork(**{**model.config, "attention": attention})
        new.load_state_dict(model.state_dict())
        with torch.no_grad():
            new.hash_layer.weight.mul_(weight)
            new.hash_layer.bias.mul_(bias)
        return new

    return answer


def in_place(model):
    with torch.no_grad():
        model.hash_layer.weight.mul_(2)
    model.attention = torch.nn.Identity()
    return model


def first_convolution(model):
    new = absorbed(weight=1.0)(model)
    with torch.no_grad():
        new.backbone.conv1.weight.mul_(2)
    return new


def pooled(times=2, over=1, transpose=False, value=True, beta="beta"):
    def answer(module, A):
        P, X = module.position.attention_map(A), module.channel.attention_map(A)
        D = (module.position.value(A) if value else A).flatten(2)
        A_bar = A.mean((2, 3))
        position = torch.einsum("bcn,bn->bc", D, P.mean(over))
        channel = torch.einsum("bij,bi->bj" if transpose else "bji,bi->bj", X, A_bar)
        scale = module.channel.beta if beta == "beta" else module.position.alpha
        return times * A_bar + module.position.alpha * position + scale * channel

    return answer


WRONG = {
    "7.1": [
        ("not normalised again", lambda P, M: prior(M)[:, None, :] * P),
        ("normalised over j", lambda P, M: normalised(prior(M)[:, None, :] * P, 1)),
        ("the column's max and mean, on j", lambda P, M: normalised(prior(M, 1)[:, :, None] * P)),
        ("no exponential", lambda P, M: normalised(prior(M).log()[:, None, :] * P)),
        ("not halved", lambda P, M: normalised(prior(M)[:, None, :] ** 2 * P)),
        ("divided by the prior", lambda P, M: normalised(P / prior(M)[:, None, :])),
        ("the column map itself", lambda P, M: P),
        ("layout of M", lambda P, M: normalised(prior(M)[:, None, :] * P).transpose(1, 2)),
    ],
    "7.2": [
        ("the bias doubled, too", absorbed(bias=2.0)),
        ("nothing doubled", absorbed(weight=1.0)),
        ("halved", absorbed(weight=0.5)),
        ("still the doubled model", absorbed(weight=1.0, attention="double")),
        ("a plain copy", copy.deepcopy),
        ("the old model changed", in_place),
        ("the first convolution doubled", first_convolution),
    ],
    "7.3": [
        ("A counted once", pooled(times=1)),
        ("P averaged over i", pooled(over=2)),
        ("X transposed", pooled(transpose=True)),
        ("A instead of D", pooled(value=False)),
        ("alpha for beta", pooled(beta="alpha")),
        ("the long way", lambda module, A: module(A).mean((2, 3))),
        (
            "the branches called",
            lambda module, A: (module.position(A) + module.channel(A)).mean((2, 3)),
        ),
    ],
    "7.4": [
        ("unpaired", lambda a, b: ((a - b).mean(), (a.var() / len(a) + b.var() / len(b)).sqrt())),
        ("the deviation, not the error", lambda a, b: ((a - b).mean(), (a - b).std())),
        ("divided by n", lambda a, b: ((a - b).mean(), (a - b).std() / len(a))),
        ("with n instead of n - 1", lambda a, b: ((a - b).mean(), (a - b).std(correction=0) / len(a) ** 0.5)),
        ("b minus a", lambda a, b: ((b - a).mean(), (a - b).std() / len(a) ** 0.5)),
        ("only the mean", lambda a, b: (a - b).mean()),
    ],
}
