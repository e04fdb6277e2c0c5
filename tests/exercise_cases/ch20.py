"""Wrong answers to the exercises of Chapter 20, and the sentence that each must get."""

from math import hypot, pi, sqrt
from statistics import fmean, stdev

import numpy as np


def both(a, b):
    seeds = sorted(a.keys() & b.keys())
    return [a[s] for s in seeds], [b[s] for s in seeds]


def differences(a, b):
    return [x - y for x, y in zip(*both(a, b), strict=True)]


def too_sure(a, b):
    d = [p - q for p, q in zip(a.values(), b.values(), strict=True)]
    return fmean(d), float(np.std(d))


def paired(error, sign=1):
    def answer(a, b):
        d = differences(a, b)
        return sign * fmean(d), error(d, *both(a, b))

    return answer


def choose(by, key=fmean, report="test", summary=fmean):
    def answer(validation, test):
        sides = {"validation": validation, "test": test}
        name = max(sides[by], key=lambda v: key(sides[by][v]))
        return name, summary(sides[report][name])

    return answer


REPORT = {
    "prediction": "It rises, because unsure bits count less.",
    "plain": [0.70, 0.71, 0.69],
    "changed": [0.72, 0.73, 0.71],
    "conclusion": "It rises for one model and three draws.",
}

WRONG = {
    "20.1": [
        ("no half", lambda m, s: m + 2 * s / sqrt(pi), "half of the difference"),
        ("the deviation of one run", lambda m, s: m + s * sqrt(2 / pi) / 2, "the deviation σ√2"),
        ("deviations added", lambda m, s: m + s * sqrt(2 / pi), "variances do"),
        ("no gain", lambda m, s: m, "the larger of two lies above it"),
        ("one deviation", lambda m, s: m + s, "one standard deviation above"),
        ("the smaller one", lambda m, s: m - s / sqrt(pi), "the smaller of the two"),
    ],
    "20.2": [
        ("as it was", too_sure, "in the order of writing"),
        ("not divided by the root", paired(lambda d, x, y: stdev(d)), "√n times smaller"),
        ("np.std alone", paired(lambda d, x, y: float(np.std(d))), "and the mean needs"),
        ("n for n − 1", paired(lambda d, x, y: float(np.std(d)) / sqrt(len(d))), "a sample needs n − 1"),
        (
            "unpaired",
            paired(lambda d, x, y: hypot(stdev(x), stdev(y)) / sqrt(len(d))),
            "the error for unpaired runs",
        ),
        ("the variance", paired(lambda d, x, y: stdev(d) ** 2 / len(d)), "take the root"),
        ("b − a", paired(lambda d, x, y: stdev(d) / sqrt(len(d)), -1), "the sign is turned round"),
        ("only the mean", lambda a, b: fmean(differences(a, b)), "give back a pair"),
    ],
    "20.3": [
        ("by the test", choose("test"), "that is looking"),
        ("by the best seed", choose("validation", max), "the best single seed"),
        ("the validation's mean", choose("validation", report="validation"), "report the test"),
        ("the best seed of the test", choose("validation", summary=max), "report the mean"),
        ("only the name", lambda v, t: max(v, key=lambda n: fmean(v[n])), "give back a pair"),
    ],
    "20.4": [
        ("two seeds", REPORT | {"plain": [0.7, 0.71], "changed": [0.72, 0.73]}, "fewer than 3 seeds"),
        ("other seeds", REPORT | {"changed": [0.72, 0.73, 0.71, 0.7]}, "use the same seeds"),
        ("no reason", REPORT | {"prediction": "rises"}, "should be a sentence"),
        ("nothing changed", REPORT | {"changed": [0.70, 0.71, 0.69]}, "does the change reach the run"),
    ],
}
