"""Wrong answers to the exercises of Chapter 4."""

import torch
from torch import nn


def walk(q, layers, padding=True, last_off=0, order=reversed, clip=False):
    first = last = q
    for k, s, p in order(layers):
        p = p if padding else 0
        first, last = first * s - p, last * s - p + k - 1 + last_off
        if clip:
            first = max(first, 0)
    return first, last


def by_jump(q, layers):
    jump = 1
    for _, s, _ in layers:
        jump *= s
    return q * jump, q * jump + jump - 1


def positions(bias="each", order=(0, 3, 1, 2), reshape=None, sign=False):
    def answer(A, W, b):
        rows = A.reshape(2, 4, 5, 3) if reshape == "before" else A.permute(0, 2, 3, 1)
        u = rows @ W + {"each": b, "none": 0, "shared": b / (A.shape[2] * A.shape[3])}[bias]
        u = u.reshape(2, 6, 4, 5) if reshape == "after" else u.permute(order)
        return torch.where(u >= 0, 1.0, -1.0) if sign else u

    return answer


def batched(model, x, size, last=True):
    parts = [part for part in x.split(size) if last or len(part) == size]
    return torch.cat([model.codes(part) for part in parts])


def eval_and_leave(model, x, size):
    model.eval()
    return batched(model, x, size)


def always_train_after(model, x, size):
    codes = eval_and_leave(model, x, size)
    model.train()
    return codes


def in_eval(function):
    def answer(model, x, size):
        mode = model.training
        model.eval()
        out = function(model, x, size)
        model.train(mode)
        return out

    return answer


def real_numbers(model, x, size):
    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(size)])


def folded(factor, bias, stride=True):
    def answer(conv, norm):
        new = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            stride=conv.stride if stride else 1,
            padding=conv.padding,
            dtype=conv.weight.dtype,
        )
        with torch.no_grad():
            f = factor(norm)
            new.weight.copy_(conv.weight * f[:, None, None, None])
            new.bias.copy_(bias(norm, f))
        return new

    return answer


def line(norm):
    return norm.weight / (norm.running_var + norm.eps).sqrt()


def shift(norm, f):
    return norm.bias - norm.running_mean * f


def in_place(conv, norm):
    with torch.no_grad():
        conv.weight.mul_(line(norm)[:, None, None, None])
        conv.bias = nn.Parameter(shift(norm, line(norm)))
    return conv


def asked_too_late(model, x, size):
    model.eval()
    mode = model.training
    codes = batched(model, x, size)
    model.train(mode)
    return codes


REPORT = {
    "prediction": "The network wins, because it sees edges.",
    "network": [0.25, 0.19, 0.19],
    "changed": [0.33, 0.33, 0.33],
    "control": [0.26, 0.27, 0.24],
    "conclusion": "It does not, for centred clothes and random weights.",
}

WRONG = {
    "4.1": [
        ("the first layer first", lambda q, layers: walk(q, layers, order=list), "in the wrong order"),
        ("padding forgotten", lambda q, layers: walk(q, layers, padding=False), "the padding is forgotten"),
        ("last pixel one too far", lambda q, layers: walk(q, layers, last_off=1), "one too far"),
        ("cut at the border", lambda q, layers: walk(q, layers, clip=True), "it is cut at the border"),
        ("the patch of the jump", by_jump, "this is the patch of the jump"),
        ("only the first pixel", lambda q, layers: walk(q, layers)[0], "give back two integers"),
        ("one too early", lambda q, layers: (walk(q, layers)[0] - 1, walk(q, layers)[1]), "position 0 sees"),
    ],
    "4.2": [
        ("bias forgotten", positions(bias="none"), "b is missing"),
        ("bias shared out", positions(bias="shared"), "b is shared out"),
        ("pooled", lambda A, W, b: A.mean(dim=(2, 3)) @ W + b, "keep the positions"),
        ("bits last", positions(order=(0, 1, 2, 3)), "the bits stand last"),
        ("transposed positions", positions(order=(0, 3, 2, 1)), "height and width are exchanged"),
        ("map reshaped", positions(reshape="before"), "the map was reshaped"),
        ("result reshaped", positions(reshape="after"), "the result was reshaped"),
        ("signs", positions(sign=True), "these are signs"),
    ],
    "4.3": [
        ("as it stood", asked_too_late, "arrived in train() and left in eval()"),
        ("eval forgotten", batched, "was eval() forgotten?"),
        ("left in eval", eval_and_leave, "arrived in train() and left in eval()"),
        ("always back to train", always_train_after, "arrived in eval() and left in train()"),
        (
            "the last batch dropped",
            in_eval(lambda m, x, size: batched(m, x, size, last=False)),
            "the last, smaller batch is missing",
        ),
        ("u instead of codes", in_eval(real_numbers), "these are the outputs u"),
        ("all images at once", in_eval(lambda m, x, size: m.codes(x)), "went through the model at once"),
        (
            "batches, then all once more",
            in_eval(lambda m, x, size: (batched(m, x, size), m.codes(x))[1]),
            "went through the model at once",
        ),
        ("only the first batch", in_eval(lambda m, x, size: m.codes(x[:size])), "only the first batch"),
    ],
    "4.4": [
        ("no mean in the bias", folded(line, lambda norm, f: norm.bias), "the mean is missing in the bias"),
        ("mean not scaled", folded(line, lambda norm, f: norm.bias - norm.running_mean), "not scaled"),
        ("eps forgotten", folded(lambda n: n.weight / n.running_var.sqrt(), shift), "ε is forgotten"),
        (
            "variance instead of its root",
            folded(lambda n: n.weight / (n.running_var + n.eps), shift),
            "it divides by the variance",
        ),
        ("the factor g forgotten", folded(lambda n: line(n) / n.weight, shift), "the factor g is forgotten"),
        (
            "mean added instead of subtracted",
            folded(line, lambda n, f: n.bias + n.running_mean * f),
            "the mean is added",
        ),
        ("no shift", folded(line, lambda n, f: -n.running_mean * f), "the shift t is forgotten"),
        (
            "no factor in the weights",
            folded(lambda n: torch.ones_like(n.weight), lambda n, f: shift(n, line(n))),
            "the factor is missing in the weights",
        ),
        ("stride forgotten", folded(line, shift, stride=False), "the stride of conv"),
        ("the old convolution changed", in_place, "make a new convolution"),
        ("both in a Sequential", lambda conv, norm: nn.Sequential(conv, norm), "not an nn.Conv2d"),
    ],
    "4.5": [
        ("no control", {k: v for k, v in REPORT.items() if k != "control"}, "no entry 'control'"),
        ("two seeds", REPORT | {"changed": [0.33, 0.33]}, "fewer than 3 seeds"),
        ("no reason", REPORT | {"prediction": "pixels"}, "the prediction should be a sentence"),
        ("seeds that differ", REPORT | {"control": [0.2, 0.3, 0.2, 0.3]}, "use the same seeds"),
    ],
}
