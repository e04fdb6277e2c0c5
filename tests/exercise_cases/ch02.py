"""Wrong answers to the exercises of Chapter 2."""

from __future__ import annotations

import numpy as np


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


WRONG = {
    "2.1": [
        ("counts instead of truth", lambda a, b: a @ b.T),
        ("all labels equal", lambda a, b: (a[:, None] == b[None]).all(dim=-1)),
        ("any entry equal, so a shared zero counts", lambda a, b: (a[:, None] == b[None]).any(dim=-1)),
        ("transposed", lambda a, b: b @ a.T > 0),
        ("more than one label", lambda a, b: a @ b.T > 1),
    ],
    "2.2": [
        ("the training set is not compared", _audit(leak_train=False)),
        ("the database is not compared", _audit(leak_database=False)),
        ("a class without queries is forgotten", _audit(minlength=False)),
        ("sorted downwards", _audit(down=True)),
        ("the wide reading counts as a leak", _audit(wide=True)),
        ("a list", _audit(kind=list)),
    ],
    "2.3": [
        ("one over the number of classes", lambda q, d: 1 / len(np.unique(q))),
        ("pairs inside the database", lambda q, d: float((d[:, None] == d[None, :]).mean())),
        ("the number of right answers", lambda q, d: float((q[:, None] == d[None, :]).sum(1).mean())),
        ("the largest class", lambda q, d: float(np.bincount(d).max() / len(d))),
    ],
}
