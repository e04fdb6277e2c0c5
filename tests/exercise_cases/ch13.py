"""Wrong answers to the exercises of Chapter 13."""

import numpy as np
import torch


def shares(distance, d_labels, classes, radius):
    inside = (distance <= radius).double()
    counts = inside @ torch.nn.functional.one_hot(d_labels, classes).double()
    return counts / inside.sum(1, keepdim=True).clamp(min=1), counts


def table(share, q_labels, classes):
    return torch.stack([share[q_labels == c].mean(0) for c in range(classes)])


def right_table(distance, q_labels, d_labels, classes, radius):
    return table(shares(distance, d_labels, classes, radius)[0], q_labels, classes)


def pooled(distance, q_labels, d_labels, classes, radius):
    counts = shares(distance, d_labels, classes, radius)[1]
    sums = torch.stack([counts[q_labels == c].sum(0) for c in range(classes)])
    return sums / sums.sum(1, keepdim=True).clamp(min=1)


def empty_skipped(distance, q_labels, d_labels, classes, radius):
    share, counts = shares(distance, d_labels, classes, radius)
    full = counts.sum(1) > 0
    rows = [share[(q_labels == c) & full] for c in range(classes)]
    return torch.stack([r.mean(0) if len(r) else torch.zeros(classes).double() for r in rows])


def unpaired(a, b):
    return a.mean() - b.mean(), ((a.var() + b.var()) / len(a)) ** 0.5


WRONG = {
    "13.1": [
        ("ties by position", lambda d, rows, m: np.argsort(d, kind="stable")[:m]),
        ("the keys swapped", lambda d, rows, m: np.lexsort((d, rows))[:m]),
        ("larger row number first", lambda d, rows, m: np.lexsort((-rows, d))[:m]),
        ("farthest first", lambda d, rows, m: np.lexsort((rows, -d))[:m]),
        ("row numbers instead of positions", lambda d, rows, m: rows[np.lexsort((rows, d))[:m]]),
        ("all results instead of m", lambda d, rows, m: np.lexsort((rows, d))),
    ],
    "13.2": [
        ("mean over the queries", lambda ap, y: ap.mean()),
        (
            "classes without a query count 0",
            lambda ap, y: sum(ap[y == c].sum() / max(1, (y == c).sum()) for c in range(10)) / 10,
        ),
        ("sum instead of mean over the classes", lambda ap, y: sum(ap[y == c].mean() for c in y.unique())),
        ("sums of the classes", lambda ap, y: torch.stack([ap[y == c].sum() for c in y.unique()]).mean()),
        ("one value for each class", lambda ap, y: torch.stack([ap[y == c].mean() for c in y.unique()])),
    ],
    "13.3": [
        ("the counts pooled before dividing", pooled),
        ("empty balls skipped", empty_skipped),
        ("below the radius instead of within", lambda d, q, y, c, r: right_table(d, q, y, c, r - 1)),
        ("transposed", lambda *a: right_table(*a).T),
        ("counts instead of shares", lambda d, q, y, c, r: table(shares(d, y, c, r)[1], q, c)),
    ],
    "13.4": [
        ("not paired", unpaired),
        ("divided by n", lambda a, b: ((a - b).mean(), (a - b).std(correction=0) / len(a) ** 0.5)),
        ("the root forgotten", lambda a, b: ((a - b).mean(), (a - b).std() / len(a))),
        ("not divided at all", lambda a, b: ((a - b).mean(), (a - b).std())),
        ("b minus a", lambda a, b: ((b - a).mean(), (a - b).std() / len(a) ** 0.5)),
        ("only the difference", lambda a, b: (a - b).mean()),
    ],
}
