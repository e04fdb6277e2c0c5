"""Wrong answers to the exercises of Chapter 11, and the sentence that each must get."""

from __future__ import annotations

import math

import torch


def rate(start=1, after=True, floored=True, rising=False, lasts=False, on_top=False, cut=False):
    def answer(step, total, warm, lr, floor):
        if step < warm:
            return lr * (step + start) / warm
        done = (step - warm) / (total if lasts else total - warm) if after else step / total
        fall = 0.5 * (1 + math.cos(math.pi * done))
        fall = 1 - fall if rising else fall
        if cut:
            return max(floor, lr * fall)
        if on_top:
            return floor + lr * fall
        return floor + (lr - floor) * fall if floored else lr * fall

    return answer


def always_divides(step, total, warm, lr, floor):
    rise = min(1.0, (step + 1) / warm)
    progress = max(0, step - warm) / (total - warm)
    return rise * (floor + (lr - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def product(step, total, warm, lr, floor):
    rise = min(1.0, (step + 1) / warm) if warm else 1.0
    return lr * rise * 0.5 * (1 + math.cos(math.pi * step / total))


def error(u, f=True, square=True):
    v = u.clamp(-1, 1) if f else u
    gap = (v - torch.where(v >= 0, 1.0, -1.0)).abs()
    return (gap.square() if square else gap).mean().item()


def zero_is_no_sign(run):
    parts = [torch.cat(epoch).clamp(-1, 1) for epoch in run]
    return [(v - v.sign()).square().mean().item() for v in parts]


def typed_decay(w, gradients, lr, decay, weight_decay):
    return rmsprop()(w, gradients, lr, 0.99, weight_decay)


def swapped(w, gradients, lr, decay, weight_decay):
    return rmsprop()(w, gradients, lr, 1 - decay, weight_decay)


def rmsprop(inside=False, decoupled=False, old=False, corrected=False, in_place=False, root=True, eps=1e-8):
    def answer(w, gradients, lr, decay, weight_decay):
        r = torch.zeros_like(w)
        for t, g in enumerate(gradients, 1):
            if not decoupled:
                g = g + weight_decay * w
            before, r = r, decay * r + (1 - decay) * g**2
            scale = before if old else r / (1 - decay**t) if corrected else r
            bottom = (scale + eps).sqrt() if inside else (scale.sqrt() if root else scale) + eps
            move = lr * g / bottom
            if decoupled:
                move = move + lr * weight_decay * w
            if in_place:
                w -= move
            else:
                w = w - move
        return w

    return answer


def by_torch(w, gradients, lr, decay, weight_decay):
    w = w.clone()
    optimizer = torch.optim.RMSprop([w], lr=lr, alpha=decay, weight_decay=weight_decay)
    for g in gradients:
        w.grad = g
        optimizer.step()
    return w


REPORT = {
    "prediction": "Large batches do worse because there are fewer steps.",
    "plain": [0.53, 0.55, 0.54],
    "changed": [0.5, 0.49, 0.51],
    "conclusion": "They do worse here; nothing is shown for deep networks.",
}

WRONG = {
    "11.1": [
        ("always the first step", lambda t, p: (1 / (1 - p) + 0.0 * t) ** 0.5, "the first step at every t"),
        ("r itself", lambda t, p: 1 - p**t, "this is r"),
        ("its root", lambda t, p: (1 - p**t) ** 0.5, "this is √r"),
        ("no root", lambda t, p: 1 / (1 - p**t), "the root is missing"),
        ("one step short", lambda t, p: 1 / (1 - p ** (t - 1)) ** 0.5, "not t − 1 times"),
        ("one step more", lambda t, p: 1 / (1 - p ** (t + 1)) ** 0.5, "not t + 1 times"),
        ("nothing fades", lambda t, p: 1 / ((1 - p) * t) ** 0.5, "the older ones have faded"),
        ("what is missing", lambda t, p: 1 / p ** (t / 2), "not what is there"),
    ],
    "11.2": [
        ("warm-up from zero", rate(start=0), "not at 0"),
        ("cosine starts at step 0", rate(after=False), "the cosine begins at step 0"),
        ("cosine lasts too long", rate(lasts=True), "lasts `total` steps from there"),
        ("floor forgotten", rate(floored=False), "scales all of lr"),
        ("floor on top", rate(on_top=True), "on top of the whole lr"),
        ("cut off at the floor", rate(cut=True), "scales all of lr"),
        ("cosine rises", rate(rising=True), "rises from the floor"),
        ("the book's product", product, "falls during the warm-up already"),
        ("divides by a warm-up of zero", always_divides, "it divides by zero"),
    ],
    "11.3": [
        (
            "mean of the batches' means",
            lambda run: [sum(map(error, e)) / len(e) for e in run],
            "the mean of the batches' means",
        ),
        (
            "last batch dropped",
            lambda run: [error(torch.cat(e[:-1])) for e in run],
            "the small last batch is missing",
        ),
        ("f forgotten", lambda run: [error(torch.cat(e), f=False) for e in run], "f is missing"),
        (
            "absolute values",
            lambda run: [error(torch.cat(e), square=False) for e in run],
            "the squares are asked for",
        ),
        ("sign of zero is zero", zero_is_no_sign, "here it has the sign 0"),
        (
            "sum over the bits",
            lambda run: [6 * error(torch.cat(e)) for e in run],
            "the sum over the bits",
        ),
        ("root", lambda run: [error(torch.cat(e)) ** 0.5 for e in run], "the root of the mean"),
        (
            "one number for each batch",
            lambda run: [error(u) for e in run for u in e],
            "one epoch is one number",
        ),
        (
            "one number for the run",
            lambda run: error(torch.cat([u for e in run for u in e])),
            "a list with one number for each epoch",
        ),
    ],
    "11.4": [
        ("epsilon under the root", rmsprop(inside=True), "ε stands under the root"),
        ("weight decay beside the gradient", rmsprop(decoupled=True), "belongs into ḡ"),
        ("mean corrected as Adam does", rmsprop(corrected=True), "as Adam does"),
        ("divides by the old mean", rmsprop(old=True), "update r first"),
        ("no root", rmsprop(root=False), "not by its root"),
        ("changes w in place", rmsprop(in_place=True), "it belongs to the caller"),
        ("0.99 typed in", typed_decay, "0.99 is written into it"),
        ("decay and its rest swapped", swapped, "have changed places"),
        ("no weight decay", lambda w, g, lr, p, wd: rmsprop()(w, g, lr, p, 0.0), "is not used"),
        ("no epsilon", rmsprop(eps=0.0), "this is what ε is for"),
        ("torch.optim", by_torch, "torch.optim took the steps"),
    ],
    "11.5": [
        ("not repeated", REPORT | {"plain": [0.5, 0.6], "changed": [0.6, 0.5]}, "fewer than 3 seeds"),
        ("other seeds", REPORT | {"changed": [0.5, 0.6, 0.55, 0.5]}, "use the same seeds"),
        (
            "the change does not arrive",
            REPORT | {"changed": REPORT["plain"]},
            "does the change reach the run",
        ),
        ("seed not passed on", REPORT | {"plain": [0.5] * 3, "changed": [0.6] * 3}, "is the seed passed on"),
        ("no prediction", REPORT | {"prediction": "worse"}, "the prediction should be a sentence"),
        ("no conclusion", {k: v for k, v in REPORT.items() if k != "conclusion"}, "no entry 'conclusion'"),
    ],
}
