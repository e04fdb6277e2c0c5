"""Wrong answers to the exercises of Chapter 2, and what their readers are told."""

from __future__ import annotations

import math

import numpy as np
import torch


def collected(batches):
    return torch.cat([rows for rows, _ in batches]), torch.cat([ids for _, ids in batches])


def in_order(batches):
    rows, ids = collected(batches)
    ordered = torch.empty_like(ids)
    ordered[rows] = ids
    return ordered


def arrived(batches):
    ids = collected(batches)[1]
    return ids[:, None] == ids


def opposite(batches):
    rows, ids = collected(batches)
    return ids[rows][:, None] == ids[rows]


def only_rows(batches):
    return in_order(batches)[:, None] == collected(batches)[1]


def only_columns(batches):
    return collected(batches)[1][:, None] == in_order(batches)


def differ(batches):
    ids = in_order(batches)
    return ids[:, None] != ids


def _audit(leak_train=True, leak_database=True, minlength=True, down=False, wide=False, kind=set):
    """An audit with one mistake."""

    def audit(query, train, database, labels):
        problems = []
        leak = leak_train and np.isin(query, train).any()
        leak = leak or (leak_database and np.isin(query, database).any())
        leak = leak or (wide and np.isin(train, database).any())
        if leak:
            problems.append("leak")
        counts = np.bincount(labels[query], minlength=labels.max() + 1 if minlength else 0)
        if (counts != counts[0]).any():
            problems.append("unbalanced")
        step = np.diff(labels[database])
        if ((step <= 0) if down else (step >= 0)).all():
            problems.append("sorted")
        return kind(problems)

    return audit


def per_class(query, database):
    sizes = np.bincount(database, minlength=query.max() + 1) / len(database)
    return float(sizes[np.unique(query)].mean())


def shared(a, b):
    return a.float() @ b.float().T


def lengths(a, power=0.5, clamp=True):
    sizes = a.float().sum(1) ** power
    return sizes.clamp(min=1) if clamp else sizes


def cosine(a, b):
    return shared(a, b) / (lengths(a)[:, None] * lengths(b))


REPORT = {
    "prediction": "A better network gains less, since it slips less.",
    "plain": [0.08, 0.09, 0.08],
    "changed": [0.03, 0.04, 0.03],
    "conclusion": "Ask for the database of both papers before you compare.",
}

WRONG = {
    "2.1": [
        ("the order of arrival", arrived, "in the order in which the images arrived"),
        ("the opposite permutation", opposite, "is the opposite permutation"),
        ("only the rows", only_rows, "only the rows are put in order"),
        ("only the columns", only_columns, "only the columns are put in order"),
        ("unequal", differ, "where labels differ"),
        ("a list", lambda batches: [in_order(batches)], "should be a tensor, but is a list"),
    ],
    "2.2": [
        (
            "the training set is not compared",
            _audit(leak_train=False),
            "for a query in the training set you miss ['leak']",
        ),
        (
            "the database is not compared",
            _audit(leak_database=False),
            "for a query in the database you miss ['leak']",
        ),
        (
            "a class without queries is forgotten",
            _audit(minlength=False),
            "for no query of the last class you miss ['unbalanced']",
        ),
        (
            "sorted downwards",
            _audit(down=True),
            "for a database sorted by class you miss ['sorted']",
        ),
        (
            "the wide reading counts as a leak",
            _audit(wide=True),
            "for the wide reading, which is sound you report ['leak']",
        ),
        ("a list", _audit(kind=list), "should be a Python set, but is a list"),
    ],
    "2.3": [
        (
            "one over the number of classes",
            lambda q, d: 1 / len(np.unique(q)),
            "the classes are not equally large",
        ),
        (
            "pairs inside the database",
            lambda q, d: float((d[:, None] == d[None, :]).mean()),
            "two images of the database",
        ),
        (
            "the number of right answers",
            lambda q, d: float((q[:, None] == d[None, :]).sum(1).mean()),
            "divide by the size of the database",
        ),
        (
            "the largest class",
            lambda q, d: float(np.bincount(d).max() / len(d)),
            "the share of the largest class",
        ),
        ("mean over classes", per_class, "each class counts once here"),
    ],
    "2.4": [
        (
            "the opposite",
            lambda a, b, c: math.comb(c - a, b) / math.comb(c, b),
            "the chance that they share nothing",
        ),
        ("the mean number", lambda a, b, c: a * b / c, "the mean number of shared labels"),
        ("with putting back", lambda a, b, c: 1 - (1 - a / c) ** b, "without putting back"),
        (
            "exactly one",
            lambda a, b, c: a * math.comb(c - a, b - 1) / math.comb(c, b),
            "exactly one label",
        ),
        (
            "the wrong total",
            lambda a, b, c: 1 - math.comb(c - a, b) / math.comb(c, a),
            "one of C(c, b), not of C(c, a)",
        ),
    ],
    "2.5": [
        (
            "0/0",
            lambda a, b: shared(a, b) / (lengths(a, clamp=False)[:, None] * lengths(b, clamp=False)),
            "0/0 is nan",
        ),
        ("counts", shared, "the number of shared labels"),
        (
            "k for the root of k",
            lambda a, b: shared(a, b) / (lengths(a, 1)[:, None] * lengths(b, 1)),
            "is √k, not k",
        ),
        (
            "Jaccard",
            lambda a, b: (
                shared(a, b) / (a.float().sum(1)[:, None] + b.float().sum(1) - shared(a, b)).clamp(min=1)
            ),
            "Jaccard",
        ),
        ("at least one", lambda a, b: (shared(a, b) > 0).float(), "S of 'at least one label'"),
        ("transposed", lambda a, b: cosine(a, b).T, "rows and columns are swapped"),
        ("only a's lengths", lambda a, b: shared(a, b) / lengths(a)[:, None], "only the rows of a"),
        ("only b's lengths", lambda a, b: shared(a, b) / lengths(b), "only the rows of b"),
        ("whole numbers", lambda a, b: (a @ b.T) / a.norm(dim=1)[:, None], "call .float() first"),
    ],
    "2.6": [
        ("no reason given", REPORT | {"prediction": "less"}, "the prediction should be a sentence"),
        ("one seed", REPORT | {"plain": [0.08], "changed": [0.03]}, "fewer than 3 seeds"),
        ("nothing changed", REPORT | {"changed": REPORT["plain"]}, "does the change reach the run"),
        ("no conclusion", REPORT | {"conclusion": ""}, "the conclusion should be a sentence"),
    ],
}
