"""Checks of Chapter 13's exercises: evaluating trained codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dhida_lib.book.checks import exercise, expect, expect_close, expect_report


@exercise("13.1")
def ex_13_1(answer: Any) -> str:
    """Positions of the first results, ties by row number."""
    distance = np.array([2, 0, 3, 1, 1, 0, 2, 1, 0])
    rows = np.array([4, 90, 1, 33, 12, 7, 2, 50, 61])
    order = np.lexsort((rows, distance))
    for m in (9, 5, 1):
        got = torch.as_tensor(np.array(answer(distance.copy(), rows.copy(), m)))
        expect(
            got.shape == (m,) or m == 9,
            f"asked for {m} results, got something of shape {tuple(got.shape)}: cut the list after m",
        )
        slips = {
            "equal distances are ordered by position; the smaller row number comes first": (
                distance.argsort(kind="stable")
            ),
            "the two keys are swapped: the row number counts first here, the distance only after it": (
                np.lexsort((distance, rows))
            ),
            "equal distances: the larger row number comes first": np.lexsort((-rows, distance)),
            "the farthest image comes first": np.lexsort((rows, -distance)),
            "these are row numbers of the source; positions 0 … n−1 are asked for": rows[order],
            "these are distances; positions 0 … n−1 are asked for": distance[order],
        }
        cut = {sentence: numbers[:m] for sentence, numbers in slips.items()}
        expect_close(got, order[:m], f"the list of {m} positions", slips=cut)
    return "three lengths, three ties"


@exercise("13.2")
def ex_13_2(answer: Any) -> str:
    """The mean over classes."""
    ap = torch.tensor([0.9, 0.7, 0.8, 0.8, 0.2, 0.1, 0.6], dtype=torch.float64)
    labels = torch.tensor([5, 5, 5, 5, 2, 2, 9])
    means = torch.tensor([0.15, 0.8, 0.6], dtype=torch.float64)  # of the classes 2, 5 and 9
    slips = {
        "this is the mean over the queries: the class with many queries decides it": ap.mean(),
        "classes without a query count 0 here; leave them out": means.sum() / 10,
        "classes without a query count 0 here; leave them out, also ids below the largest": means.sum() / 6,
        "this is the sum over the classes, not the mean": means.sum(),
        "each class enters with the sum of its queries, not with their mean": ap.sum() / 3,
        "this is one value for each class; now take their mean": means,
        "this is the median of the classes": means.median(),
    }
    what = "the mean over three classes with 4, 2 and 1 queries"
    expect_close(answer(ap.clone(), labels.clone()), means.mean(), what, slips=slips)
    expect_close(answer(ap[:4], labels[:4]), 0.8, "the mean over a single class")
    return "classes of unequal size, ids that do not occur"


def _shares(distance: Tensor, d_labels: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """For each query the share of each of three classes in the ball, and the counts."""
    inside = (distance <= radius).double()
    counts = inside @ torch.nn.functional.one_hot(d_labels, 3).double()
    return counts / inside.sum(1, keepdim=True).clamp(min=1), counts


@exercise("13.3")
def ex_13_3(answer: Any) -> str:
    """Classes in the ball."""
    distance = torch.tensor(
        [[0, 2, 3, 2, 1, 5, 4], [2, 6, 6, 6, 6, 6, 6], [3, 4, 5, 3, 3, 6, 3], [1, 0, 2, 2, 2, 2, 3]]
    )
    q_labels, d_labels = torch.tensor([1, 1, 0, 2]), torch.tensor([1, 0, 1, 0, 1, 2, 2])

    def table(share: Tensor, how: Any = lambda rows: rows.mean(0)) -> Tensor:
        return torch.stack([how(share[q_labels == c]) for c in range(3)])

    for radius, note in ((2, "class 0 has an empty ball"), (0, "two balls are empty")):
        share, counts = _shares(distance, d_labels, radius)
        pooled = table(counts, lambda rows: rows.sum(0))
        full = counts.sum(1) > 0
        spoken = torch.stack(
            [
                share[(q_labels == c) & full].sum(0) / max(1, int(((q_labels == c) & full).sum()))
                for c in range(3)
            ]
        )
        slips = {
            "queries with an empty ball are left out; they count with a row of zeros": spoken,
            "the counts of all queries of a class were added before dividing: large balls weigh more": (
                pooled / pooled.sum(1, keepdim=True).clamp(min=1)
            ),
            "this is *below* the radius; within means up to and with it": table(
                _shares(distance, d_labels, radius - 1)[0]
            ),
            "the table is transposed: its rows are the classes of the queries": table(share).T,
            "these are counts, not shares": table(counts),
            "this is the sum over the queries of a class, not the mean": table(share, lambda r: r.sum(0)),
            "these are shares of the class, not of the ball: divide by the size of the ball": table(
                counts / torch.nn.functional.one_hot(d_labels, 3).sum(0)
            ),
        }
        got = answer(distance.clone(), q_labels.clone(), d_labels.clone(), 3, radius)
        if isinstance(got, Tensor):
            expect(not got.isnan().any(), "an empty ball gives nan, 0 divided by 0; it should be a row of 0")
        expect_close(got, table(share), f"the table for radius {radius} ({note})", slips=slips)
    return "two radii, with balls of unequal size and empty ones"


@exercise("13.4")
def ex_13_4(answer: Any) -> str:
    """The paired standard error over the unpaired one."""
    a, b = 0.1 + torch.rand(2, 7, dtype=torch.float64)
    rho = 1.8 * torch.rand(7, dtype=torch.float64) - 0.9
    both, cross = a**2 + b**2, a * b
    want = (1 - 2 * rho * cross / both).sqrt()
    slips = {
        "the 2 of the binomial formula is missing": (1 - rho * cross / both).sqrt(),
        "the root is missing: this is the quotient of the variances": want**2,
        "the sign: this is the variance of a sum, not of a difference": (1 + 2 * rho * cross / both).sqrt(),
        "this holds for equal deviations only": (1 - rho).sqrt(),
        "1 − ρ² is what is left in a regression; here ρ itself is asked for": (1 - rho**2).sqrt(),
        "this is upside down": 1 / want,
        "the covariance is ρ times both deviations, not ρ alone": ((both - 2 * rho) / both).abs().sqrt(),
        "this is the paired error itself (times √n); divide it by the other one": (
            (both - 2 * rho * cross).sqrt()
        ),
        "the variances subtract here; both add, and the covariance is taken away": (
            ((a**2 - b**2) / both).abs().sqrt()
        ),
    }
    error = expect_close(answer(a.clone(), b.clone(), rho.clone()), want, "the quotient", slips=slips)
    return f"seven pairs of codes, with correlations of both signs (largest difference {error:.1e})"


@exercise("13.5")
def ex_13_5(answer: Any) -> str:
    """Precision in the ball, query by query."""
    distance = torch.tensor([[0, 1, 2, 2, 3], [1, 4, 4, 4, 5], [5, 3, 5, 5, 4], [2, 2, 6, 6, 6]])
    same = torch.tensor([[1, 1, 1, 0, 1], [0, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 1, 1, 0]]) > 0
    for radius in (2, 1):
        inside = distance <= radius
        hits, found = (inside & same).sum(1).double(), inside.sum(1)
        share = hits / found.clamp(min=1)
        strict = distance < radius
        slips = {
            "a query with a large ball still weighs more, and an empty one nothing: divide first": (
                hits.sum() / found.sum()
            ),
            "empty balls are left out; each counts 0": share[found > 0].mean(),
            "this is the recall: divide by the images in the ball": (hits / same.sum(1)).mean(),
            "divided by all images of the database, not by those in the ball": (hits / 5).mean(),
            "this is *below* the radius; the ball holds distance = radius, too": (
                ((strict & same).sum(1) / strict.sum(1).clamp(min=1)).double().mean()
            ),
            "an empty ball counts 1 here": torch.where(found > 0, share, 1.0).mean(),
            "this is one number for each query; give back their mean": share,
        }
        got = answer(distance.clone(), same.clone(), radius)
        if isinstance(got, Tensor):
            expect(not got.isnan().any(), "an empty ball gives nan, 0 divided by 0; it should count 0")
        expect_close(got, share.mean(), f"P@H≤{radius} of four queries", slips=slips)
    return "balls of unequal size, one of them empty, two radii"


@exercise("13.6")
def ex_13_6(report: Any) -> str:
    """The report on which bits to keep."""
    return expect_report(report, "plain", "changed")
