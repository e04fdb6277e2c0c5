"""Wrong answers to the exercises of Chapter 19, and the sentence that each must get."""

import torch


def halves(c):
    return (c // 2) * (c - c // 2)


def pairs(c):
    return c * (c - 1) / 2


def one_hot_map(a, c, n, groups=None):
    total = 0.0
    for share, hits in ((a, a * n), (1 - a, (1 - a) * n / (c - 1))):
        ap, items, relevant = 0.0, 0.0, 0.0
        for size, inside in ((n, hits), (n * (c - 1), n - hits)):
            t = torch.arange(1, size + 1, dtype=torch.float64)
            expected = relevant + 1 + (t - 1) * (inside - 1) / (size - 1)
            ap += float((inside / size * expected / (items + t)).sum())
            items, relevant = items + size, relevant + inside
        total += share * ap / n
    return total


def bisect(function, score, steps=40, low=0.0):
    high = 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < score else (low, middle)
    return low


def audit(labels, train, query, database, skip=(), only_queries=False, with_itself=False):
    y = labels.tolist()
    t, q, d = (x.tolist() for x in (train, query, database))
    found = set()
    tested = q if only_queries else q + d
    if {y[i] for i in t} & {y[i] for i in tested}:
        found.add("class")
    if set(t) & set(q) or set(t) & set(d) or set(q) & set(d):
        found.add("image")
    for i in q:
        if not any(y[j] == y[i] and (with_itself or j != i) for j in d):
            found.add("answer")
    return found - set(skip)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def rivals(table, ours):
    return [row for name, row in table.items() if name != ours]


def best_on_average(table, ours):
    best = max(rivals(table, ours), key=mean)
    return mean(table[ours]) - mean(best)


def largest(table, ours):
    return max(x - max(r[i] for r in rivals(table, ours)) for i, x in enumerate(table[ours]))


def first_rival(table, ours):
    return mean(table[ours]) - mean(rivals(table, ours)[0])


def average_rival(table, ours):
    return mean(x - mean(r[i] for r in rivals(table, ours)) for i, x in enumerate(table[ours]))


def never_negative(table, ours):
    return mean(max(0, x - max(r[i] for r in rivals(table, ours))) for i, x in enumerate(table[ours]))


def relative(table, ours):
    best = [max(r[i] for r in rivals(table, ours)) for i in range(len(table[ours]))]
    return mean(x / b - 1 for x, b in zip(table[ours], best, strict=True))


def kind(labels, train, query, database):
    """The colleague's audit, as the chapter prints it."""
    y = labels.tolist()
    t, q, d = (set(x.tolist()) for x in (train, query, database))
    faults = set()
    if {y[i] for i in t} & {y[i] for i in q}:
        faults.add("class")
    if t & q or t & d:
        faults.add("image")
    if not {y[i] for i in q} <= {y[j] for j in d}:
        faults.add("answer")
    return faults


def own_row_too(table, ours):
    best = [max(row[i] for row in table.values()) for i in range(len(table[ours]))]
    return mean(x - b for x, b in zip(table[ours], best, strict=True))


REPORT = {
    "prediction": "More bits keep more directions, so mAP should rise.",
    "plain": [0.66, 0.6, 0.78],
    "changed": [0.7, 0.62, 0.8],
    "conclusion": "It rises, for centred grey images.",
}

WRONG = {
    "19.1": [
        ("no whole k", lambda c, k: k * c * c / 4 / pairs(c), "no whole k reaches"),
        ("pairs counted twice", lambda c, k: k * halves(c) / (2 * pairs(c)), "counted twice"),
        ("a class with itself", lambda c, k: k * halves(c) / (c * c / 2), "no pair with itself"),
        ("half of the bits", lambda c, k: k / 2, "one can do better"),
        ("one bit", lambda c, k: halves(c) / pairs(c), "the code has K of them"),
        ("the sum", lambda c, k: k * halves(c), "the mean is asked for"),
        ("all bits", lambda c, k: k, "a bit has only two values"),
    ],
    "19.2": [
        ("the mAP itself", lambda s, c, n: s, "the mAP itself"),
        ("the root of the mAP", lambda s, c, n: s**0.5, "the root of the mAP"),
        (
            "10 classes always",
            lambda s, c, n: bisect(lambda a: one_hot_map(a, 10, n), s, low=0.1),
            "classes of the argument",
        ),
        (
            "too few steps",
            lambda s, c, n: bisect(lambda a: one_hot_map(a, c, n), s, steps=5, low=1 / c),
            "the interval is still wide",
        ),
        (
            "the wrong half kept",
            lambda s, c, n: bisect(lambda a: -one_hot_map(a, c, n), -s, low=1 / c),
            "the wrong half is kept",
        ),
    ],
    "19.3": [
        ("as it was", kind, "a class that is trained and only searched"),
        ("finds nothing", lambda *x: set(), "compare the classes of training and queries"),
        ("the database is not looked at", lambda *x: audit(*x, only_queries=True), "has classes, too"),
        ("images are not compared", lambda *x: audit(*x, skip=("image",)), "the third pair of parts"),
        ("answers are not looked for", lambda *x: audit(*x, skip=("answer",)), "an answer for each query"),
        ("a query may answer itself", lambda *x: audit(*x, with_itself=True), "no answer to itself"),
        ("a list", lambda *x: sorted(audit(*x)), "give back a set of words"),
        ("yes or no", lambda *x: bool(audit(*x)), "give back a set of words"),
    ],
    "19.4": [
        ("the rival that is best on average", best_on_average, "another one at each length"),
        ("the largest gain", largest, "the largest gain"),
        ("the first rival", first_rival, "not only the first rival"),
        ("the average rival", average_rival, "the claim is about the best"),
        ("losses left out", never_negative, "a gain can be negative"),
        ("relative", relative, "points are asked for"),
        ("our own row among the rivals", own_row_too, "our own row is no rival"),
    ],
    "19.5": [
        ("two seeds", REPORT | {"plain": [0.6, 0.7], "changed": [0.7, 0.8]}, "fewer than 3 seeds"),
        ("other seeds", REPORT | {"changed": [0.7, 0.6, 0.8, 0.7]}, "use the same seeds"),
        ("no reason", REPORT | {"prediction": "better"}, "should be a sentence"),
        ("nothing changed", REPORT | {"changed": [0.66, 0.6, 0.78]}, "does the change reach the run"),
    ],
}
