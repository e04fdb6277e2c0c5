"""Typical wrong answers to the exercises of Chapter 11."""

from __future__ import annotations

import math

import torch


def rate(start=1, after=True, floored=True, rising=False):
    def answer(step, total, warm, lr, floor):
        if step < warm:
            return lr * (step + start) / warm
        done = (step - warm) / (total - warm) if after else step / total
        fall = 0.5 * (1 + math.cos(math.pi * done))
        fall = 1 - fall if rising else fall
        return floor + (lr - floor) * fall if floored else lr * fall

    return answer


def always_divides(step, total, warm, lr, floor):
    rise = min(1.0, (step + 1) / warm)
    progress = max(0, step - warm) / (total - warm)
    return rise * (floor + (lr - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def error(u, f=True, square=True):
    v = u.clamp(-1, 1) if f else u
    gap = (v - torch.where(v >= 0, 1.0, -1.0)).abs()
    return (gap.square() if square else gap).mean().item()


def zero_is_no_sign(run):
    parts = [torch.cat(epoch).clamp(-1, 1) for epoch in run]
    return [(v - v.sign()).square().mean().item() for v in parts]


def typed_decay(theta, gradients, lr, decay, weight_decay):
    return rmsprop()(theta, gradients, lr, 0.99, weight_decay)


def rmsprop(inside=False, decoupled=False, old=False, corrected=False, in_place=False, root=True):
    def answer(theta, gradients, lr, decay, weight_decay):
        s = torch.zeros_like(theta)
        for t, g in enumerate(gradients, 1):
            if not decoupled:
                g = g + weight_decay * theta
            before, s = s, decay * s + (1 - decay) * g**2
            scale = before if old else s / (1 - decay**t) if corrected else s
            bottom = (scale + 1e-3).sqrt() if inside else scale.sqrt() if root else scale
            move = lr * g / (bottom + 1e-8)
            if decoupled:
                move = move + lr * weight_decay * theta
            if in_place:
                theta -= move
            else:
                theta = theta - move
        return theta

    return answer


WRONG = {
    "11.1": [
        ("axes swapped", lambda h: h.mean(dim=1).abs().mean()),
        ("no absolute value", lambda h: h.mean(dim=0).mean()),
        ("absolute value last", lambda h: h.mean().abs()),
        ("absolute value first", lambda h: h.abs().mean(dim=0).mean()),
        ("squares, as in the loss", lambda h: h.mean(dim=0).square().mean()),
        ("one number for each bit", lambda h: h.mean(dim=0).abs()),
    ],
    "11.2": [
        ("warm-up from zero", rate(start=0)),
        ("cosine starts at step 0", rate(after=False)),
        ("floor forgotten", rate(floored=False)),
        ("cosine rises", rate(rising=True)),
        ("divides by a warm-up of zero", always_divides),
    ],
    "11.3": [
        ("mean of the batches' means", lambda run: [sum(map(error, e)) / len(e) for e in run]),
        ("last batch dropped", lambda run: [error(torch.cat(e[:-1])) for e in run]),
        ("f forgotten", lambda run: [error(torch.cat(e), f=False) for e in run]),
        ("absolute values", lambda run: [error(torch.cat(e), square=False) for e in run]),
        ("sign of zero is zero", zero_is_no_sign),
        ("one number for each batch", lambda run: [error(u) for e in run for u in e]),
        ("one number for the run", lambda run: error(torch.cat([u for e in run for u in e]))),
    ],
    "11.4": [
        ("weight decay beside the gradient", rmsprop(decoupled=True)),
        ("mean corrected as Adam does", rmsprop(corrected=True)),
        ("divides by the old mean", rmsprop(old=True)),
        ("constant inside the root", rmsprop(inside=True)),
        ("no root", rmsprop(root=False)),
        ("changes theta in place", rmsprop(in_place=True)),
        ("0.99 typed in", typed_decay),
    ],
}
