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


def signs(u):
    return torch.where(u >= 0, 1.0, -1.0)


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


WRONG = {
    "4.1": [
        ("the first layer first", lambda q, layers: walk(q, layers, order=list)),
        ("padding forgotten", lambda q, layers: walk(q, layers, padding=False)),
        ("last pixel one too far", lambda q, layers: walk(q, layers, last_off=1)),
        ("cut at the border", lambda q, layers: walk(q, layers, clip=True)),
        ("the patch of the jump", by_jump),
        ("only the first pixel", lambda q, layers: walk(q, layers)[0]),
    ],
    "4.2": [
        ("torch.sign", lambda psi, W, b: (psi @ W + b).sign()),
        ("zero becomes -1", lambda psi, W, b: torch.where(psi @ W + b > 0, 1.0, -1.0)),
        ("bias forgotten", lambda psi, W, b: signs(psi @ W)),
        ("no sign", lambda psi, W, b: psi @ W + b),
        ("reshaped instead of transposed", lambda psi, W, b: signs(psi @ W.reshape(5, 3).T + b)),
        ("codes in columns", lambda psi, W, b: signs(W.T @ psi.T + b[:, None])),
        ("bits of 0 and 1", lambda psi, W, b: (psi @ W + b >= 0).double()),
    ],
    "4.3": [
        ("eval forgotten", batched),
        ("left in eval", eval_and_leave),
        ("always back to train", always_train_after),
        ("the last batch dropped", in_eval(lambda m, x, size: batched(m, x, size, last=False))),
        ("u instead of codes", in_eval(real_numbers)),
        ("all images at once", in_eval(lambda m, x, size: m.codes(x))),
        ("batches, then all once more", in_eval(lambda m, x, size: (batched(m, x, size), m.codes(x))[1])),
        ("only the first batch", in_eval(lambda m, x, size: m.codes(x[:size]))),
    ],
    "4.4": [
        ("no mean in the bias", folded(line, lambda norm, f: norm.bias)),
        ("mean not scaled", folded(line, lambda norm, f: norm.bias - norm.running_mean)),
        ("eps forgotten", folded(lambda n: n.weight / n.running_var.sqrt(), shift)),
        ("variance instead of its root", folded(lambda n: n.weight / (n.running_var + n.eps), shift)),
        ("the factor g forgotten", folded(lambda n: 1 / (n.running_var + n.eps).sqrt(), shift)),
        ("mean added instead of subtracted", folded(line, lambda n, f: n.bias + n.running_mean * f)),
        ("stride forgotten", folded(line, shift, stride=False)),
        ("the old convolution changed", in_place),
        ("both in a Sequential", lambda conv, norm: nn.Sequential(conv, norm)),
    ],
}
