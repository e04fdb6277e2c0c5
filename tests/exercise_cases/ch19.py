"""Wrong answers to the exercises of Chapter 19."""

import torch


def draw(classes, bits, least, seed, balanced=True, tries=5000, seeded=True, compare="all", strict=False):
    """Random centres; the arguments switch single parts of the right answer off."""
    g = torch.Generator().manual_seed(seed if seeded else 7)
    chosen = []
    for _ in range(tries):
        row = (
            torch.where(torch.rand(bits, generator=g).argsort() < bits // 2, 1.0, -1.0)
            if balanced
            else torch.where(torch.rand(bits, generator=g) < 0.5, 1.0, -1.0)
        )
        others = chosen[-1:] if compare == "last" else chosen
        if all((bits - row @ other) / 2 >= least for other in others):
            chosen.append(row)
        if len(chosen) == classes:
            return torch.stack(chosen)
    if strict:
        raise ValueError("no such centres")
    return torch.stack(chosen)


def half_distance(classes, bits, least, seed):
    """K − ⟨a, b⟩ taken for the distance: twice as large as it is."""
    return draw(classes, bits, (least + 1) // 2, seed, strict=True)


def zero_one(classes, bits, least, seed):
    return (draw(classes, bits, least, seed, strict=True) + 1) / 2


def unseeded(classes, bits, least, seed):
    return draw(classes, bits, least, torch.randint(0, 10**6, ()).item(), strict=True)


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


WRONG = {
    "19.1": [
        ("never gives up with an error", draw),
        ("not balanced", lambda c, b, d, s: draw(c, b, d, s, balanced=False, strict=True)),
        ("compares with the last one only", lambda c, b, d, s: draw(c, b, d, s, compare="last", strict=True)),
        ("the distance twice too large", half_distance),
        ("0 and 1 instead of ±1", zero_one),
        ("does not use the seed", lambda c, b, d, s: draw(c, b, d, s, seeded=False, strict=True)),
        ("another draw each time", unseeded),
    ],
    "19.2": [
        ("the mAP itself", lambda s, c, n: s),
        ("the root of the mAP", lambda s, c, n: s**0.5),
        ("10 classes always", lambda s, c, n: bisect(lambda a: one_hot_map(a, 10, n), s, low=0.1)),
        ("only queries that are right", lambda s, c, n: bisect(lambda a: a * a, s)),
        ("too few steps", lambda s, c, n: bisect(lambda a: one_hot_map(a, c, n), s, steps=5)),
        ("the wrong half kept", lambda s, c, n: bisect(lambda a: -one_hot_map(a, c, n), -s)),
    ],
    "19.3": [
        ("finds nothing", lambda *x: set()),
        ("the database is not looked at", lambda *x: audit(*x, only_queries=True)),
        ("images are not compared", lambda *x: audit(*x, skip=("image",))),
        ("answers are not looked for", lambda *x: audit(*x, skip=("answer",))),
        ("a query may answer itself", lambda *x: audit(*x, with_itself=True)),
        ("a list", lambda *x: sorted(audit(*x))),
        ("yes or no", lambda *x: bool(audit(*x))),
    ],
    "19.4": [
        ("the rival that is best on average", best_on_average),
        ("the largest gain", largest),
        ("the first rival", first_rival),
        ("the average rival", average_rival),
        ("losses left out", never_negative),
        ("relative", relative),
    ],
}
