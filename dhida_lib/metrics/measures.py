"""How good is a ranking by Hamming distance? The measures of §4.2, built in Chapter 3.

K bits give only K+1 distances, so thousands of database items share one distance, and the order inside such a
tie is an accident. The measures here are therefore *expected values over all tie orders*, computed exactly.
All of them follow from two histograms per query: how many items, and how many relevant items, lie at each
distance (`ranking_histograms`).

Notation, for one query and one distance: c items, p of them relevant; before this distance n items, r of them
relevant. R is the number of relevant items, H(x) = 1 + 1/2 + … + 1/x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dhida_lib._validate import bad, choice, positive_int, whole
from dhida_lib.metrics import histograms
from dhida_lib.metrics.histograms import (
    ArrayLike,
    checked_codes,
    checked_labels,
    distances,
    ranking_histograms,
    relevance,
)

__all__ = [
    "PrecisionRecall",
    "average_precision",
    "evaluate",
    "map_bounds",
    "mean_average_precision",
    "precision_at_n",
    "precision_recall_curve",
    "precision_within_radius",
]


class PrecisionRecall(NamedTuple):
    """A precision-recall curve by Hamming radius, means over the queries.

    Attributes:
        radius: 0, 1, …, K (int64, K+1).
        precision: share of relevant items among those within the radius (float64, K+1).
        recall: share of the relevant items that lie within the radius (float64, K+1).

    Source: §4.2, Figs. 3–5; built in Chapter 3.
    """

    radius: Tensor
    precision: Tensor
    recall: Tensor


def average_precision(
    q: ArrayLike,
    d: ArrayLike,
    q_labels: ArrayLike,
    d_labels: ArrayLike,
    k: int | None = None,
    ties: str = "expected",
) -> Tensor:
    """AP@k of every query: the mean of hit number / rank over the hits in the first k ranks.

    As in the field, the divisor is the number of relevant items *inside the top k*. When a tie is cut at k
    this number is random too, and the expectation runs over it (a hypergeometric distribution).

    Args:
        q: query codes of ±1 (nq×K).
        d: database codes of ±1 (nd×K).
        q_labels: class ids (nq,) or multi-hot rows (nq×c).
        d_labels: class ids (nd,) or multi-hot rows (nd×c).
        k: ranks that count; ``None``, or more than the database holds, means all.
        ties: ``"expected"`` averages over all orders of tied items, exactly; ``"stable"`` keeps the order of
            the database inside a tie, as ``np.argsort(kind="stable")`` does.

    Returns:
        AP of each query (float64, nq); 0 where no relevant item is in reach.

    Raises:
        ValueError: as `ranking_histograms`, or if ``k`` is not an integer from 1 to 2³¹ − 1 or ``ties``
            is unknown.

    Example:
        >>> import torch
        >>> query, database = torch.tensor([[1, 1, 1]]), torch.tensor([[1, 1, 1], [1, 1, -1], [1, -1, -1]])
        >>> average_precision(query, database, torch.tensor([5]), torch.tensor([5, 2, 5]))
        tensor([0.8333], dtype=torch.float64)

    Source: §4.2; built in Chapter 3.
    """
    k = None if k is None else positive_int("k", k)
    if choice("ties", ties, ("expected", "stable")) == "expected":
        return _expected_ap(*ranking_histograms(q, d, q_labels, d_labels), k)
    q, d = checked_codes(q, d)
    q_y, d_y = checked_labels(q_labels, d_labels, q, d)
    q, d, q_y, d_y = q.float(), d.float(), q_y.float(), d_y.float()  # once, not in every block
    rows = max(1, histograms.PAIRS // len(d))
    values = torch.empty(len(q), dtype=torch.float64, device=q.device)
    for a, y, out in zip(q.split(rows), q_y.split(rows), values.split(rows), strict=True):
        # NumPy sorts 16-bit integers by radix, ten times as fast as torch sorts anything.
        distance = distances(a, d).to(torch.int16 if d.shape[1] < 2**15 else torch.int32).cpu().numpy()
        order = torch.from_numpy(np.argsort(distance, axis=1, kind="stable")[:, :k]).to(a.device)  # a×k
        hit = relevance(y, d_y).gather(1, order).double()
        found = hit.cumsum(dim=1)
        rank = torch.arange(1, hit.shape[1] + 1, device=hit.device)
        out.copy_((hit * found / rank).sum(dim=1) / found[:, -1].clamp(min=1))
    return values


def mean_average_precision(
    q: ArrayLike,
    d: ArrayLike,
    q_labels: ArrayLike,
    d_labels: ArrayLike,
    k: int | None = None,
    ties: str = "expected",
) -> float:
    """mAP@k: the mean of `average_precision` over the queries; a query without a relevant item counts 0.

    Args:
        q: query codes of ±1 (nq×K).
        d: database codes of ±1 (nd×K).
        q_labels: class ids (nq,) or multi-hot rows (nq×c).
        d_labels: class ids (nd,) or multi-hot rows (nd×c).
        k: ranks that count; ``None`` means all.
        ties: ``"expected"`` or ``"stable"``, see `average_precision`.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: as `average_precision`.

    Source: §4.2; built in Chapter 3.
    """
    return float(average_precision(q, d, q_labels, d_labels, k, ties).mean())


def map_bounds(q: ArrayLike, d: ArrayLike, q_labels: ArrayLike, d_labels: ArrayLike) -> tuple[float, float]:
    """The smallest and the largest mAP (over all ranks) that some order of the tied items gives.

    Args:
        q: query codes of ±1 (nq×K).
        d: database codes of ±1 (nd×K).
        q_labels: class ids (nq,) or multi-hot rows (nq×c).
        d_labels: class ids (nd,) or multi-hot rows (nd×c).

    Returns:
        (pessimistic, optimistic): relevant items last, or first, inside every tie.

    Raises:
        ValueError: as `ranking_histograms`.

    Example:
        >>> import torch
        >>> query, database = torch.tensor([[1, 1]]), torch.tensor([[1, -1], [-1, 1]])
        >>> map_bounds(query, database, torch.tensor([5]), torch.tensor([5, 2]))
        (0.5, 1.0)

    Source: §4.2; built in Chapter 3.
    """
    return _bounds(*ranking_histograms(q, d, q_labels, d_labels))


def precision_recall_curve(
    q: ArrayLike, d: ArrayLike, q_labels: ArrayLike, d_labels: ArrayLike
) -> PrecisionRecall:
    """Precision and recall of the items within Hamming radius 0, 1, …, K, means over the queries.

    A ball that holds no item has precision 0. A query without any relevant item has recall 0.

    Args:
        q: query codes of ±1 (nq×K).
        d: database codes of ±1 (nd×K).
        q_labels: class ids (nq,) or multi-hot rows (nq×c).
        d_labels: class ids (nd,) or multi-hot rows (nd×c).

    Returns:
        The curve, three tensors of length K+1.

    Raises:
        ValueError: as `ranking_histograms`.

    Source: §4.2, Figs. 3–5; built in Chapter 3.
    """
    return _curve(*ranking_histograms(q, d, q_labels, d_labels))


def precision_at_n(
    q: ArrayLike, d: ArrayLike, q_labels: ArrayLike, d_labels: ArrayLike, n: int | Sequence[int]
) -> float | Tensor:
    """P@N: the expected share of relevant items among the first n, mean over the queries.

    Args:
        q: query codes of ±1 (nq×K).
        d: database codes of ±1 (nd×K).
        q_labels: class ids (nq,) or multi-hot rows (nq×c).
        d_labels: class ids (nd,) or multi-hot rows (nd×c).
        n: number of returned items, or several such numbers, each at most nd.

    Returns:
        A float for one n; for a sequence, a float64 tensor as long as it.

    Raises:
        ValueError: as `ranking_histograms`, or if an ``n`` is not an integer from 1 to nd.

    Source: §4.2, Figs. 7–9; built in Chapter 3.
    """
    ns = _numbers(n)
    counts, relevant = ranking_histograms(q, d, q_labels, d_labels)
    if max(ns) > len(d):
        raise bad("n", max(ns), f"at most the size of the database, {len(d)}")
    values = _precision_at(counts, relevant, ns)
    return values if np.ndim(n) else float(values)


def precision_within_radius(
    q: ArrayLike, d: ArrayLike, q_labels: ArrayLike, d_labels: ArrayLike, radius: int = 2
) -> float:
    """P@H≤radius: the share of relevant items among those within the radius, mean over the queries.

    A query whose ball is empty counts 0.

    Args:
        q: query codes of ±1 (nq×K).
        d: database codes of ±1 (nd×K).
        q_labels: class ids (nq,) or multi-hot rows (nq×c).
        d_labels: class ids (nd,) or multi-hot rows (nd×c).
        radius: largest Hamming distance that is returned; K or more returns everything.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: as `ranking_histograms`, or if ``radius`` is not an integer ≥ 0.

    Source: §4.2, Fig. 6; built in Chapter 3.
    """
    whole("radius", radius)
    precision = precision_recall_curve(q, d, q_labels, d_labels).precision
    return float(precision[min(radius, len(precision) - 1)])


def evaluate(
    q: ArrayLike,
    d: ArrayLike,
    q_labels: ArrayLike,
    d_labels: ArrayLike,
    k: int | None = None,
    n: int | Sequence[int] = (1, 10, 50, 100, 200, 500, 1000),
    radius: int = 2,
) -> dict[str, Any]:
    """Every measure of this module from one pass over the codes, ready for a JSON record.

    Args:
        q: query codes of ±1 (nq×K).
        d: database codes of ±1 (nd×K).
        q_labels: class ids (nq,) or multi-hot rows (nq×c).
        d_labels: class ids (nd,) or multi-hot rows (nd×c).
        k: ranks that count for mAP; ``None`` means all.
        n: the numbers of P@N; those larger than the database are dropped.
        radius: the Hamming radius of P@H≤radius.

    Returns:
        A dictionary of plain numbers, lists and strings: ``map``, ``map_pessimistic`` and ``map_optimistic``
        (``None`` unless ``k`` is), ``precision_at_n`` (``n``, ``values``), ``precision_recall`` (``radius``,
        ``precision``, ``recall``), ``precision_within_radius``, ``empty_balls`` (share of queries that find
        nothing within ``radius``), ``radius``, ``queries``, ``database``, ``bits``, ``k``, ``ties``.

    Raises:
        ValueError: as the single functions; an ``n`` beyond the database is no error here.

    Source: §4.2; built in Chapter 3.
    """
    k = None if k is None else positive_int("k", k)
    ns = _numbers(n)
    whole("radius", radius)
    counts, relevant = ranking_histograms(q, d, q_labels, d_labels)
    size, bits = len(d), counts.shape[1] - 1
    ns = [x for x in ns if x <= size]
    low, high = _bounds(counts, relevant) if k is None else (None, None)
    curve = _curve(counts, relevant)
    return {
        "map": float(_expected_ap(counts, relevant, k).mean()),
        "map_pessimistic": low,
        "map_optimistic": high,
        "precision_at_n": {"n": ns, "values": _precision_at(counts, relevant, ns).tolist()},
        "precision_recall": {name: values.tolist() for name, values in curve._asdict().items()},
        "precision_within_radius": float(curve.precision[min(radius, bits)]),
        "empty_balls": float((counts[:, : radius + 1].sum(dim=1) == 0).double().mean()),
        "radius": radius,
        "queries": len(counts),
        "database": size,
        "bits": bits,
        "k": k,
        "ties": "expected",
    }


# ---- the measures, from the histograms `counts` and `relevant` (nq×(K+1)) ----


def _before(counts: Tensor) -> Tensor:
    """How many items come before each distance: n from the c, r from the p."""
    return counts.cumsum(dim=1) - counts


def _harmonic(size: int, device: torch.device) -> Tensor:
    """H(0), H(1), …, H(size)."""
    steps = 1 / torch.arange(1, size + 1, dtype=torch.float64, device=device)
    return torch.cat([steps.new_zeros(1), steps.cumsum(dim=0)])


def _expected_ap(counts: Tensor, relevant: Tensor, k: int | None) -> Tensor:
    """Expected AP@k of every query.

    Slot t of a tie is relevant with probability p/c; then the t−1 slots before it hold (t−1)(p−1)/(c−1)
    relevant items on average. Summed over the c slots this is `_gain`. The tie that holds rank k shows only
    its first m slots; they hold J relevant items, and J is hypergeometric.
    """
    size = int(counts[0].sum())
    k = size if k is None else min(k, size)
    H = _harmonic(size, counts.device)
    c, p, n, r, end = counts, relevant, _before(counts), _before(relevant), counts.cumsum(dim=1)
    whole = end < k  # ties that end before rank k; the next one holds it
    A = torch.where(whole, _gain(p, c, n, r, H[end] - H[n]), 0.0).sum(dim=1, keepdim=True)  # nq×1
    last = whole.sum(dim=1, keepdim=True)
    c, p, n, r = (x.gather(1, last) for x in (c, p, n, r))  # from here on of that tie, nq×1
    m = k - n
    low, high = (m - (c - p)).clamp(min=0), torch.minimum(m, p)  # J lies between them
    steps = torch.arange(int((high - low).max()) + 1, device=counts.device)
    if len(steps) == 1:  # no tie is cut, as always without k
        return ((A + _gain(low, m, n, r, H[k] - H[n])) / (r + low).clamp(min=1))[:, 0]
    log_factorial = torch.lgamma(torch.arange(1, size + 2, dtype=torch.float64, device=counts.device))
    blocks = []
    for i in torch.arange(len(m), device=m.device).split(max(1, histograms.PAIRS // len(steps))):
        j = torch.minimum(low[i] + steps, high[i])  # i×steps
        log_p = -sum(log_factorial[x] for x in (j, p[i] - j, m[i] - j, (c - p - m)[i] + j))
        log_p = torch.where(low[i] + steps <= high[i], log_p, -torch.inf)
        hits = A[i] + _gain(j, m[i], n[i], r[i], (H[k] - H[n])[i])
        blocks.append((log_p.softmax(dim=1) * hits / (r[i] + j).clamp(min=1)).sum(dim=1))
    return torch.cat(blocks)


def _gain(p: Tensor, c: Tensor, n: Tensor, r: Tensor, h: Tensor) -> Tensor:
    """Expected sum of hit number / rank over c tied slots with p relevant items; h = H(n+c) − H(n)."""
    p, c = p.double(), c.double()
    rho = (p - 1) / (c - 1).clamp(min=1)
    return p / c.clamp(min=1) * ((r + 1) * h + rho * (c - (n + 1) * h))


def _bounds(counts: Tensor, relevant: Tensor) -> tuple[float, float]:
    """Pessimistic and optimistic mAP: inside a tie the q = c−p others come first, or last."""
    H = _harmonic(int(counts[0].sum()), counts.device)
    c, p, n, r = counts, relevant, _before(counts), _before(relevant)
    q = c - p
    R = relevant.sum(dim=1).clamp(min=1)
    worst = (p + (r - n - q) * (H[n + c] - H[n + q])).sum(dim=1) / R
    best = (p + (r - n) * (H[n + p] - H[n])).sum(dim=1) / R
    return float(worst.mean()), float(best.mean())


def _curve(counts: Tensor, relevant: Tensor) -> PrecisionRecall:
    """Precision and recall within each radius."""
    found, hits = counts.cumsum(dim=1), relevant.cumsum(dim=1).double()
    precision = hits / found.clamp(min=1)
    recall = hits / hits[:, -1:].clamp(min=1)
    radius = torch.arange(counts.shape[1], device=counts.device)
    return PrecisionRecall(radius, precision.mean(dim=0), recall.mean(dim=0))


def _precision_at(counts: Tensor, relevant: Tensor, ns: list[int]) -> Tensor:
    """Expected P@n for every n: r hits before the tie that holds rank n, and its share p/c of the rest."""
    n = torch.tensor(ns, dtype=torch.int64, device=counts.device)
    tie = torch.searchsorted(counts.cumsum(dim=1), n.expand(len(counts), -1).contiguous())  # nq×|n|
    c, p, before, r = (x.gather(1, tie) for x in (counts, relevant, _before(counts), _before(relevant)))
    return ((r + (n - before) * (p.double() / c)) / n).mean(dim=0)


# ---- the histograms ----


def _numbers(n: Any) -> list[int]:
    """The `n` of P@N as a list of integers ≥ 1."""
    n = n.tolist() if isinstance(n, (Tensor, np.ndarray, np.generic)) else n
    ns = list(n) if isinstance(n, Sequence) and not isinstance(n, str) else [n]
    if not ns:
        raise bad("n", n, "one or more positive integers")
    return [positive_int("n", x) for x in ns]
