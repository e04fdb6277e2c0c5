"""Wrong answers to the exercises of Chapter 15."""

import math
from statistics import NormalDist, fmean, pvariance, stdev, variance

RIGHT = {
    "a": ("DHIDA", "A doubled"),
    "b": ("sum halved", "DHIDA-R"),
    "c": ("DHIDA", "plain convolutions"),
    "d": ("DHIDA", "sign flipped"),
    "e": ("DHIDA, row", "DHIDA"),
    "f": ("A doubled", "DHIDA-R"),
    "g": ("DHIDA-I", "DHIDA-A"),
}


def differences(a, b):
    return [a[seed] - b[seed] for seed in a.keys() & b.keys()]


def compared(error):
    """A solution whose standard error is another function of the differences."""

    def compare(a, b):
        d = differences(a, b)
        return fmean(d), error(d) if len(d) > 1 else math.nan, len(d)

    return compare


def by_position(a, b):
    d = [x - y for x, y in zip(a.values(), b.values(), strict=False)]
    return fmean(d), stdev(d) / math.sqrt(len(d)), len(d)


def unpaired(a, b):
    d = differences(a, b)
    both = a.keys() & b.keys()
    if len(d) == 1:
        return d[0], math.nan, 1
    total = variance(a[s] for s in both) + variance(b[s] for s in both)
    return fmean(d), math.sqrt(total / len(d)), len(d)


def means_of_all(a, b):
    d = differences(a, b)
    error = stdev(d) / math.sqrt(len(d)) if len(d) > 1 else math.nan
    return fmean(a.values()) - fmean(b.values()), error, len(d)


def reversed_sign(a, b):
    mean, error, n = compared(lambda d: stdev(d) / math.sqrt(len(d)))(a, b)
    return -mean, error, n


def zero_error(a, b):
    d = differences(a, b)
    return fmean(d), stdev(d) / math.sqrt(len(d)) if len(d) > 1 else 0.0, len(d)


def counts(d):
    return sum(x > 0 for x in d), sum(x != 0 for x in d)


def tail(n, m):
    return sum(math.comb(n, i) for i in range(m, n + 1)) / 2**n


def one_sided(d):
    k, n = counts(d)
    return tail(n, max(k, n - k))


def only_heads(d):
    k, n = counts(d)
    return min(1.0, 2 * tail(n, k))


def not_capped(d):
    k, n = counts(d)
    return 2 * tail(n, max(k, n - k))


def zeros_below(d):
    k, n = sum(x > 0 for x in d), len(d)
    return min(1.0, 2 * tail(n, max(k, n - k)))


def exactly_m(d):
    k, n = counts(d)
    return min(1.0, 2 * math.comb(n, k) / 2**n)


def other(**changes):
    """The right pairs, but for some claims."""
    return lambda claim: {**RIGHT, **changes}[claim]


WRONG = {
    "15.1": [
        ("by position, not by seed", by_position),
        ("unpaired", unpaired),
        ("the means of all seeds", means_of_all),
        ("b minus a", reversed_sign),
        ("divided by n", compared(lambda d: math.sqrt(pvariance(d) / len(d)))),
        ("the root forgotten", compared(lambda d: stdev(d) / len(d))),
        ("not divided at all", compared(stdev)),
        ("no error means error 0", zero_error),
        ("only the mean", lambda a, b: fmean(differences(a, b))),
    ],
    "15.2": [
        ("one-sided", one_sided),
        ("only many heads count", only_heads),
        ("p above 1", not_capped),
        ("zeros count as below", zeros_below),
        ("exactly as many, not at least", exactly_m),
    ],
    "15.3": [
        ("the right order instead", lambda g, s, n: NormalDist().cdf(g / (s * math.sqrt(2 / n)))),
        ("only one model is noisy", lambda g, s, n: NormalDist().cdf(-g / (s / math.sqrt(n)))),
        ("single runs instead of means", lambda g, s, n: NormalDist().cdf(-g / (s * math.sqrt(2)))),
        ("divided by n, not by its root", lambda g, s, n: NormalDist().cdf(-g / (s * math.sqrt(2) / n))),
        (
            "both sides",
            lambda g, s, n: min(1.0, 2 * NormalDist().cdf(-g / (s * math.sqrt(2 / n)))),
        ),
    ],
    "15.4": [
        ("always against no attention", lambda claim: ("DHIDA", "DHIDA-R")),
        ("the factor 2 forgotten", other(a=("DHIDA", "DHIDA-R"))),
        ("halved against doubled", other(b=("sum halved", "A doubled"))),
        ("DANet as the other sign", other(d=("DHIDA", "DHIDA-D"))),
        ("the axis against no attention", other(e=("DHIDA, row", "DHIDA-R"))),
        ("wrong way round", other(f=("DHIDA-R", "A doubled"))),
        ("another backbone for f(u)", other(g=("DHIDA-R", "DHIDA-A"))),
        ("one name only", lambda claim: RIGHT[claim][1]),
    ],
}
