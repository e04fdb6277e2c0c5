"""Wrong answers to the exercises of Chapter 13, and the sentence that each must get."""

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


def empty_is_nan(distance, q_labels, d_labels, classes, radius):
    counts = shares(distance, d_labels, classes, radius)[1]
    return table(counts / counts.sum(1, keepdim=True), q_labels, classes)


def in_ball(distance, same, radius):
    inside = distance <= radius
    return (inside & same).sum(1).double(), inside.sum(1)


def mended(distance, same, radius, empty=0.0):
    hits, found = in_ball(distance, same, radius)
    return torch.where(found > 0, hits / found.clamp(min=1), empty).mean()


def careless(distance, same, radius):
    hits, found = in_ball(distance, same, radius)
    return hits.sum() / found.sum()


def silent_left_out(distance, same, radius):
    hits, found = in_ball(distance, same, radius)
    return (hits / found)[found > 0].mean()


REPORT = {
    "prediction": "Free bits do best because none repeats another.",
    "plain": [0.58, 0.59, 0.6],
    "changed": [0.6, 0.61, 0.6],
    "conclusion": "A little better here; one model only.",
}

WRONG = {
    "13.1": [
        ("ties by position", lambda d, rows, m: np.argsort(d, kind="stable")[:m], "ordered by position"),
        ("the keys swapped", lambda d, rows, m: np.lexsort((d, rows))[:m], "the two keys are swapped"),
        ("larger row number first", lambda d, rows, m: np.lexsort((-rows, d))[:m], "the larger row number"),
        ("farthest first", lambda d, rows, m: np.lexsort((rows, -d))[:m], "the farthest image"),
        (
            "row numbers instead of positions",
            lambda d, rows, m: rows[np.lexsort((rows, d))[:m]],
            "these are row numbers",
        ),
        ("distances", lambda d, rows, m: np.sort(d)[:m], "these are distances"),
        ("all results instead of m", lambda d, rows, m: np.lexsort((rows, d)), "cut the list after m"),
    ],
    "13.2": [
        ("mean over the queries", lambda ap, y: ap.mean(), "the mean over the queries"),
        (
            "classes without a query count 0",
            lambda ap, y: sum(ap[y == c].sum() / max(1, (y == c).sum()) for c in range(10)) / 10,
            "classes without a query count 0",
        ),
        (
            "sum instead of mean over the classes",
            lambda ap, y: sum(ap[y == c].mean() for c in y.unique()),
            "the sum over the classes",
        ),
        (
            "sums of the classes",
            lambda ap, y: torch.stack([ap[y == c].sum() for c in y.unique()]).mean(),
            "with the sum of its queries",
        ),
        (
            "one value for each class",
            lambda ap, y: torch.stack([ap[y == c].mean() for c in y.unique()]),
            "now take their mean",
        ),
        (
            "median",
            lambda ap, y: torch.stack([ap[y == c].mean() for c in y.unique()]).median(),
            "the median of the classes",
        ),
    ],
    "13.3": [
        ("the counts pooled before dividing", pooled, "large balls weigh more"),
        ("empty balls skipped", empty_skipped, "queries with an empty ball are left out"),
        ("nan", empty_is_nan, "an empty ball gives nan"),
        (
            "below the radius instead of within",
            lambda d, q, y, c, r: right_table(d, q, y, c, r - 1),
            "this is *below* the radius",
        ),
        ("transposed", lambda *a: right_table(*a).T, "the table is transposed"),
        (
            "counts instead of shares",
            lambda d, q, y, c, r: table(shares(d, y, c, r)[1], q, c),
            "these are counts, not shares",
        ),
        (
            "sum over the queries",
            lambda d, q, y, c, r: torch.stack([shares(d, y, c, r)[0][q == k].sum(0) for k in range(c)]),
            "the sum over the queries of a class",
        ),
    ],
    "13.4": [
        ("no 2", lambda a, b, r: (1 - r * a * b / (a**2 + b**2)).sqrt(), "the 2 of the binomial"),
        ("no root", lambda a, b, r: 1 - 2 * r * a * b / (a**2 + b**2), "the root is missing"),
        ("plus", lambda a, b, r: (1 + 2 * r * a * b / (a**2 + b**2)).sqrt(), "of a sum"),
        ("equal deviations", lambda a, b, r: (1 - r).sqrt(), "for equal deviations only"),
        ("regression", lambda a, b, r: (1 - r**2).sqrt(), "left in a regression"),
        ("upside down", lambda a, b, r: (1 - 2 * r * a * b / (a**2 + b**2)).rsqrt(), "upside down"),
        (
            "rho for the covariance",
            lambda a, b, r: ((a**2 + b**2 - 2 * r) / (a**2 + b**2)).abs().sqrt(),
            "not ρ alone",
        ),
        ("not divided", lambda a, b, r: (a**2 + b**2 - 2 * r * a * b).sqrt(), "divide it by the other one"),
    ],
    "13.5": [
        ("pooled", careless, "divide first"),
        ("empty skipped", silent_left_out, "empty balls are left out"),
        (
            "recall",
            lambda d, s, r: (in_ball(d, s, r)[0] / s.sum(1)).mean(),
            "this is the recall",
        ),
        (
            "by all images",
            lambda d, s, r: (in_ball(d, s, r)[0] / d.shape[1]).mean(),
            "divided by all images",
        ),
        ("below the radius", lambda d, s, r: mended(d, s, r - 1), "this is *below* the radius"),
        (
            "nan",
            lambda d, s, r: (in_ball(d, s, r)[0] / in_ball(d, s, r)[1]).mean(),
            "an empty ball gives nan",
        ),
        ("empty is 1", lambda d, s, r: mended(d, s, r, 1.0), "an empty ball counts 1"),
        (
            "one for each query",
            lambda d, s, r: in_ball(d, s, r)[0] / in_ball(d, s, r)[1].clamp(min=1),
            "one number for each query",
        ),
    ],
    "13.6": [
        ("not repeated", REPORT | {"plain": [0.5, 0.6], "changed": [0.6, 0.5]}, "fewer than 3 seeds"),
        ("other groups", REPORT | {"changed": [0.5, 0.6, 0.55, 0.5]}, "use the same seeds"),
        (
            "the change does not arrive",
            REPORT | {"changed": REPORT["plain"]},
            "does the change reach the run",
        ),
        ("no prediction", REPORT | {"prediction": "better"}, "the prediction should be a sentence"),
        ("no conclusion", {k: v for k, v in REPORT.items() if k != "conclusion"}, "no entry 'conclusion'"),
    ],
}
