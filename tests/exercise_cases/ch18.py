"""Wrong answers to the exercises of Chapter 18."""

import numpy as np
import torch


def square(pixels, top, left, short=None):
    short = short or min(pixels.shape[:2])
    return pixels[top : top + short, left : left + short]


def spare(pixels):
    height, width = pixels.shape[:2]
    short = min(height, width)
    return height - short, width - short


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


WRONG = {
    "18.1": [
        ("the corner instead of the middle", lambda x: square(x, 0, 0)),
        ("the odd one cut at the begin", lambda x: square(x, *((s + 1) // 2 for s in spare(x)))),
        ("all cut at the begin", lambda x: square(x, *spare(x))),
        ("height and width mixed up", lambda x: square(x, spare(x)[1] // 2, spare(x)[0] // 2)),
        ("only wide pictures cut", lambda x: x[:, spare(x)[1] // 2 :][:, : x.shape[0]]),
        ("nothing cut", lambda x: x),
        ("the channels lost", lambda x: square(x, *(s // 2 for s in spare(x)))[..., 0]),
    ],
    "18.2": [
        ("only a later time counts", lambda b, n: parts(b, n, lambda x, y: y[1] > x[1] or x[0] != y[0])),
        ("only the size counts", lambda b, n: parts(b, n, lambda x, y: x[0] != y[0])),
        ("only the time counts", lambda b, n: parts(b, n, lambda x, y: x[1] != y[1])),
        (
            "size and time must both differ",
            lambda b, n: parts(b, n, lambda x, y: x[0] != y[0] and x[1] != y[1]),
        ),
        ("new and gone swapped", lambda b, n: parts(n, b, lambda x, y: x != y)),
        (
            "an edited one is new and gone too",
            lambda b, n: listed(
                [p for p in n if n[p] != b.get(p)],
                [p for p in n if p in b and n[p] != b[p]],
                [p for p in b if b[p] != n.get(p)],
            ),
        ),
        ("not sorted", lambda b, n: tuple(part[::-1] for part in parts(b, n, lambda x, y: x != y))),
        ("only what must be read", lambda b, n: sorted(p for p in n if n[p] != b.get(p))),
    ],
    "18.3": [
        ("one step only", one_step),
        ("singles are groups too", lambda h, r: [list(g) for g in chains(h, r)]),
        ("below the radius", lambda h, r: [list(g) for g in chains(h, r - 1) if len(g) > 1]),
        ("the product taken for the distance", as_dot),
        ("pairs instead of groups", lambda h, r: torch.triu(linked(h, r), 1).nonzero().tolist()),
        (
            "a group for each row",
            lambda h, r: [g for g in (row.nonzero()[:, 0].tolist() for row in linked(h, r)) if len(g) > 1],
        ),
        ("the largest first", lambda h, r: [list(g) for g in chains(h, r) if len(g) > 1][::-1]),
        ("twice the radius", lambda h, r: [list(g) for g in chains(h, 2 * r + 1) if len(g) > 1]),
    ],
    "18.4": [
        ("on black", lambda x: blended(x, ground=0)),
        ("the opacity dropped", lambda x: x[..., :3]),
        ("cut instead of rounded", lambda x: blended(x, cut=True)),
        ("bytes overflow", overflow),
        ("opacity the wrong way round", lambda x: blended(np.dstack([x[..., :3], 255 - x[..., 3]]))),
        ("floats", lambda x: blended(x).astype(float)),
        (
            "only fully transparent ones",
            lambda x: np.where(x[..., 3:] == 0, 255, x[..., :3]).astype(np.uint8),
        ),
        ("the opacity kept", lambda x: np.dstack([blended(x), x[..., 3]])),
    ],
}
