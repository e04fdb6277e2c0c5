"""Wrong answers to the exercises of Chapter 18, and the sentence that each must get."""

from math import comb, cos, pi

import numpy as np
import torch


def within(p, bits, inside, choose=comb):
    return sum(choose(bits, i) * p**i * (1 - p) ** (bits - i) for i in inside)


def listed(new, edited, gone):
    return sorted(new), sorted(edited), sorted(gone)


def parts(before, now, differs):
    both = now.keys() & before.keys()
    edited = [p for p in both if differs(before[p], now[p])]
    return listed(now.keys() - before.keys(), edited, before.keys() - now.keys())


def linked(codes, radius):
    return (codes.shape[1] - codes @ codes.T) / 2 <= radius


def chains(codes, radius):
    near = linked(codes, radius)
    for _ in range(len(codes)):
        near = near.float() @ near.float() > 0
    return sorted({tuple(r.nonzero()[:, 0].tolist()) for r in near})


def one_step(codes, radius):
    """The neighbours of the first free row, without theirs."""
    near, seen, found = linked(codes, radius), set(), []
    for row in range(len(codes)):
        group = [j for j in near[row].nonzero()[:, 0].tolist() if j not in seen]
        if row not in seen and len(group) > 1:
            found.append(group)
            seen |= set(group)
    return found


def as_dot(codes, radius):
    return [list(g) for g in chains(codes, (codes.shape[1] - radius) / 2) if len(g) > 1]


def blended(rgba, ground=255, cut=False):
    alpha = rgba[..., 3:].astype(float) / 255
    mixed = alpha * rgba[..., :3] + (1 - alpha) * ground
    return (mixed if cut else mixed.round()).astype(np.uint8)


def overflow(rgba):
    alpha = rgba[..., 3:]
    return (rgba[..., :3] * alpha // 255 + (255 - alpha)).astype(np.uint8)


REPORT = {
    "prediction": "More bits find more copies, because they measure the angle finely.",
    "plain": [0.6, 0.62, 0.58],
    "changed": [0.8, 0.81, 0.79],
    "conclusion": "They do, in this album and with these changes.",
}

WRONG = {
    "18.1": [
        ("a whole turn", lambda a, k, r: within(a / 2 / pi, k, range(r + 1)), "not by 2π"),
        ("degrees", lambda a, k, r: within(a / 180, k, range(r + 1)), "this divides by 180"),
        ("the cosine", lambda a, k, r: within(1 - cos(a), k, range(r + 1)), "not 1 − cos φ"),
        ("agreeing bits", lambda a, k, r: within(1 - a / pi, k, range(r + 1)), "counts agreeing bits"),
        ("below the radius", lambda a, k, r: within(a / pi, k, range(r)), "at most r includes r"),
        ("exactly r", lambda a, k, r: within(a / pi, k, [r]), "fewer are found as well"),
        (
            "no binomial coefficient",
            lambda a, k, r: within(a / pi, k, range(r + 1), lambda *_: 1),
            "K over i ways",
        ),
    ],
    "18.2": [
        (
            "as it was: only a later time counts",
            lambda b, n: parts(b, n, lambda x, y: y[1] > x[1] or x[0] != y[0]),
            "a time can be earlier, too",
        ),
        ("only the size counts", lambda b, n: parts(b, n, lambda x, y: x[0] != y[0]), "look at the time"),
        ("only the time counts", lambda b, n: parts(b, n, lambda x, y: x[1] != y[1]), "look at the size"),
        (
            "size and time must both differ",
            lambda b, n: parts(b, n, lambda x, y: x[0] != y[0] and x[1] != y[1]),
            "one of the two is enough",
        ),
        (
            "new and gone swapped",
            lambda b, n: parts(n, b, lambda x, y: x != y),
            "new and gone have changed places",
        ),
        (
            "an edited one is new and gone too",
            lambda b, n: listed(
                [p for p in n if n[p] != b.get(p)],
                [p for p in n if p in b and n[p] != b[p]],
                [p for p in b if b[p] != n.get(p)],
            ),
            "an edited picture is not new",
        ),
        (
            "not sorted",
            lambda b, n: tuple(part[::-1] for part in parts(b, n, lambda x, y: x != y)),
            "is not sorted",
        ),
        (
            "only what must be read",
            lambda b, n: sorted(p for p in n if n[p] != b.get(p)),
            "three lists",
        ),
    ],
    "18.3": [
        ("one step only", one_step, "links count over several steps"),
        (
            "singles are groups too",
            lambda h, r: [list(g) for g in chains(h, r)],
            "a group has at least two members",
        ),
        (
            "below the radius",
            lambda h, r: [list(g) for g in chains(h, r - 1) if len(g) > 1],
            "includes the radius",
        ),
        ("the product taken for the distance", as_dot, "h·h′ is no distance"),
        (
            "pairs instead of groups",
            lambda h, r: torch.triu(linked(h, r), 1).nonzero().tolist(),
            "a row stands in more than one place",
        ),
        (
            "a group for each row",
            lambda h, r: [g for g in (row.nonzero()[:, 0].tolist() for row in linked(h, r)) if len(g) > 1],
            "a row stands in more than one place",
        ),
        (
            "the largest first",
            lambda h, r: [list(g) for g in chains(h, r) if len(g) > 1][::-1],
            "sort by the first member",
        ),
        (
            "twice the radius",
            lambda h, r: [list(g) for g in chains(h, 2 * r + 1) if len(g) > 1],
            "not up to twice as far",
        ),
    ],
    "18.4": [
        ("on black", lambda x: blended(x, ground=0), "this lies on black"),
        ("the opacity dropped", lambda x: x[..., :3], "what was hidden shows now"),
        ("cut instead of rounded", lambda x: blended(x, cut=True), "round to the nearest"),
        ("bytes overflow", overflow, "did bytes overflow"),
        (
            "opacity the wrong way round",
            lambda x: blended(np.dstack([x[..., :3], 255 - x[..., 3]])),
            "it is turned round",
        ),
        ("floats", lambda x: blended(x).astype(float), "bytes (uint8) are asked for"),
        (
            "only fully transparent ones",
            lambda x: np.where(x[..., 3:] == 0, 255, x[..., :3]).astype(np.uint8),
            "mix the rest too",
        ),
        ("the opacity kept", lambda x: np.dstack([blended(x), x[..., 3]]), "the opacity is used up"),
    ],
    "18.5": [
        ("two seeds", REPORT | {"plain": [0.6, 0.7], "changed": [0.8, 0.9]}, "fewer than 3 seeds"),
        ("other seeds", REPORT | {"changed": [0.8, 0.9, 0.8, 0.7]}, "use the same seeds"),
        ("no reason", REPORT | {"prediction": "better"}, "should be a sentence"),
        ("nothing changed", REPORT | {"changed": [0.6, 0.62, 0.58]}, "does the change reach the run"),
    ],
}
