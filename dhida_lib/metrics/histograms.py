"""Histograms of a ranking: how many items, and how many relevant ones, lie at each distance (Chapter 3).

All measures follow from these two histograms per query. Equal rows are counted once, the rest a block at a
time, by a compiled loop where there are many pairs.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dhida_lib._validate import bad, tensor
from dhida_lib.labels import as_labels

__all__ = ["hamming_distance", "ranking_histograms"]

ArrayLike = Tensor | np.ndarray

# Query-database pairs held in memory at once. About 20 bytes each: a block should stay near the cache.
PAIRS = 1 << 19
# Database items that are converted and sorted at once.
_ITEMS = 1 << 18
# Pairs from which the compiled loop is worth loading, and worth using once it is loaded.
_MANY, _FEW = 1 << 25, 1 << 18


def hamming_distance(q: ArrayLike, d: ArrayLike) -> Tensor:
    """Number of differing bits for every pair of codes: (K − h·h')/2.

    The whole table is built; for the measures of a large database use the other functions here.

    Args:
        q: query codes of ±1 (nq×K).
        d: database codes of ±1 (nd×K).

    Returns:
        Distances 0…K (int64, nq×nd).

    Raises:
        ValueError: if a code is not ±1, a side is empty, or the two have different numbers of bits.

    Example:
        >>> import torch
        >>> query = torch.tensor([[1, 1, -1, -1]])
        >>> database = torch.tensor([[1, 1, -1, -1], [1, -1, 1, -1], [-1, -1, 1, 1]])
        >>> hamming_distance(query, database)
        tensor([[0, 2, 4]])

    Source: §3.4, with ½(K − hᵀh') for the misprinted formula; built in Chapter 3.
    """
    q, d = checked_codes(q, d)
    return distances(q, d).long()


def ranking_histograms(
    q: ArrayLike, d: ArrayLike, q_labels: ArrayLike, d_labels: ArrayLike
) -> tuple[Tensor, Tensor]:
    """Count, for each query, the items and the relevant items at every Hamming distance.

    An item is relevant if it shares a label with the query. Items that agree in code and labels are counted
    together, and pairs are taken a block at a time: memory does not grow with their number, only by some
    30 bytes for each item of the database.

    Args:
        q: query codes of ±1 (nq×K).
        d: database codes of ±1 (nd×K).
        q_labels: class ids (nq,) or multi-hot rows (nq×c) of the queries.
        d_labels: the same for the database, (nd,) or (nd×c).

    Returns:
        Two int64 tensors nq×(K+1): all items, and relevant items, at distance 0…K.

    Raises:
        ValueError: if codes are not ±1 or have different numbers of bits, a side is empty,
            or labels do not fit.

    Example:
        >>> import torch
        >>> query, database = torch.tensor([[1, 1]]), torch.tensor([[1, 1], [1, -1], [-1, 1]])
        >>> items, relevant = ranking_histograms(query, database, torch.tensor([7]), torch.tensor([7, 7, 3]))
        >>> items, relevant
        (tensor([[1, 2, 0]]), tensor([[1, 1, 0]]))

    Source: §4.2; built in Chapter 3.
    """
    q, d = checked_codes(q, d)
    q_y, d_y = checked_labels(q_labels, d_labels, q, d)
    compiled = _compile(q, d)
    count = _count_compiled if compiled else _count
    words = _words(q > 0)
    some, _, row = _distinct(words, q_y)
    q, q_y = (words if compiled else q)[some], q_y[some]
    table = torch.zeros(len(q), 2, d.shape[1] + 1, dtype=torch.int64, device=q.device)
    for b, b_y in zip(d.split(_ITEMS), d_y.split(_ITEMS), strict=True):
        words = _words(b > 0)
        some, weight, _ = _distinct(words, b_y)
        count(q, q_y, (words if compiled else b)[some], b_y[some], weight, table)
    both = table[row]  # nq×2×(K+1)
    return both.sum(dim=1), both[:, 1]


def _compile(q: Tensor, d: Tensor) -> bool:
    """Is the compiled loop there, and worth it for these codes?"""
    enough = _FEW if "dhida_lib.metrics.compiled" in sys.modules else _MANY
    if len(q) * len(d) < enough or q.device.type != "cpu" or q.shape[1] > 64:
        return False
    try:
        import dhida_lib.metrics.compiled  # noqa: F401
    except ImportError:  # Numba is a help, not a need
        return False
    return True


def _count(q: Tensor, q_y: Tensor, d: Tensor, d_y: Tensor, weight: Tensor, table: Tensor) -> None:
    """Add items (each ``weight`` times) to ``table``: not relevant, relevant, by distance (nq×2×(K+1))."""
    q, d, q_y, d_y = q.float(), d.float(), q_y.float(), d_y.float()  # once, not in every block
    bins = table.shape[2]
    rows, columns = min(256, len(q)), max(1, PAIRS // 256)
    sums = torch.zeros(len(q), 2 * bins, dtype=torch.float64, device=q.device)
    for a, y, out in zip(q.split(rows), q_y.split(rows), sums.split(rows), strict=True):
        for b, b_y, w in zip(d.split(columns), d_y.split(columns), weight.split(columns), strict=True):
            index = distances(a, b).add_(relevance(y, b_y), alpha=bins).long()  # rows×columns
            out.scatter_add_(1, index, w.double().expand(len(a), -1))
    table += sums.long().view(-1, 2, bins)


def _count_compiled(q: Tensor, q_y: Tensor, d: Tensor, d_y: Tensor, weight: Tensor, table: Tensor) -> None:
    """The same on the CPU; ``q`` and ``d`` are words (n×1), and ``d_y`` is sorted."""
    from dhida_lib.metrics.compiled import count_pairs

    new = d_y[1:] != d_y[:-1]
    new = new.any(dim=1) if new.ndim == 2 else new
    start = F.pad(new.nonzero()[:, 0] + 1, (1, 1))  # where items of the same labels begin
    start[-1] = len(d_y)
    groups, q_y = d_y[start[:-1]].float(), q_y.float()
    threads = torch.get_num_threads()
    share = -(-len(q) // (4 * threads)) * 4  # queries of a thread, a multiple of 4
    more = (0, 0, 0, share * threads - len(q))  # rows
    words = F.pad(q, more)[:, 0].numpy().view(np.uint64)
    out = np.zeros((len(words), *table.shape[1:]), np.int64)
    items, weights = d[:, 0].numpy().view(np.uint64), weight.numpy()

    def part(first: int) -> None:
        mine = slice(first, first + share)
        count_pairs(words[mine], items, weights, border, relevant[mine], out[mine])

    size = max(1, PAIRS // len(words))  # label groups at a time, where almost every item has its own
    with ThreadPoolExecutor(threads) as pool:  # the loop holds no lock
        for at, some in zip(range(0, len(groups), size), groups.split(size), strict=True):
            border = start[at : at + size + 1].numpy()
            relevant = F.pad(relevance(q_y, some).byte(), more).numpy()
            list(pool.map(part, range(0, len(words), share)))
    table += torch.from_numpy(out[: len(q)])


# ---- codes and labels ----


def distances(q: Tensor, d: Tensor) -> Tensor:
    """Hamming distances in float32, exact: one matrix product, whatever autocast says."""
    q, d = q.float(), d.float()
    with torch.autocast(q.device.type, enabled=False):
        return torch.addmm(q.new_tensor(q.shape[1] / 2), q, d.T, alpha=-0.5)  # nq×nd


def relevance(q_y: Tensor, d_y: Tensor) -> Tensor:
    """1 where query and item share a label, else 0 (float32, nq×nd)."""
    if q_y.ndim == 1:
        return torch.eq(q_y[:, None], d_y, out=q_y.new_empty(len(q_y), len(d_y)))  # no detour over bool
    return (q_y @ d_y.T).clamp_(max=1)


def _distinct(words: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Group equal (code, labels) rows, sorted by labels: one row of each, how many, each row's group."""
    first = labels[:, None] if labels.ndim == 1 else _words(labels > 0)
    key = torch.cat([first, words], dim=1).T.contiguous()  # parts×n
    order = torch.arange(len(words), device=words.device)
    for part in key.flip(0):  # the last part first: each sort keeps the order of the ones before
        order = order[part[order].argsort(stable=True)]
    key = key[:, order]
    new = F.pad((key[:, 1:] != key[:, :-1]).any(dim=0), (1, 0), value=True)
    group = torch.empty_like(order)
    group[order] = new.cumsum(dim=0) - 1
    return order[new], group.bincount(), group


def _words(bits: Tensor) -> Tensor:
    """Booleans as words of 64 bits (n×K → n×⌈K/64⌉, int64); their order as numbers means nothing."""
    parts = [F.pad(part, (0, -part.shape[1] % 64)) for part in bits.split(64, dim=1)]
    if bits.device.type != "cpu":
        return torch.stack([_word_by_sums(part) for part in parts], dim=1)
    # In C order, whatever order the codes have: the 8 bytes of a word lie side by side.
    packed = [np.ascontiguousarray(np.packbits(part.numpy(), axis=1)).view(np.int64) for part in parts]
    return torch.from_numpy(np.concatenate(packed, axis=1))


def _word_by_sums(part: Tensor) -> Tensor:
    """64 booleans as one word, where NumPy is not (n×64 → n)."""
    powers = 2.0 ** torch.arange(32, dtype=torch.float64, device=part.device)  # exact, and has a matmul
    low, high = ((half.double() @ powers).long() for half in part.split(32, dim=1))
    return low | (high << 32)


def as_values(name: str, x: Any) -> Tensor:
    """A tensor without gradient."""
    return tensor(name, x).detach()


def checked_codes(q: Any, d: Any) -> tuple[Tensor, Tensor]:
    """Check codes of both sides and bring them to the device of `q`."""
    sides = []
    for name, x in (("q", as_values("q", q)), ("d", as_values("d", d))):
        if x.ndim != 2 or x.numel() == 0:
            raise bad(name, f"shape {tuple(x.shape)}", "codes (n×bits), n and bits at least 1")
        if x.dtype == torch.bool or x.is_complex() or not are_signs(x):
            raise bad(name, f"other values ({x.dtype})", "codes of −1 and +1 only; apply `sign` first")
        sides.append(x)
    q, d = sides
    if q.shape[1] != d.shape[1]:
        raise bad("d", f"{d.shape[1]} bits", f"codes of as many bits as `q` has, {q.shape[1]}")
    device = q.device if q.device.type == "cuda" else torch.device("cpu")  # elsewhere float64 may be missing
    return q.to(device), d.to(device)


def are_signs(x: Tensor) -> bool:
    """Is every value −1 or +1? Looked at a block at a time: a large database is not copied."""
    rows = 4096 if x.device.type == "cpu" else _ITEMS  # a block should stay in the cache
    return all(bool((part.abs() == 1).all()) for part in x.split(rows))


def checked_labels(q_labels: Any, d_labels: Any, q: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Check labels against the codes: renumbered class ids (int64), or multi-hot rows."""
    sides = []
    for name, y, codes in (("q_labels", q_labels, q), ("d_labels", d_labels, d)):
        y = as_labels(as_values(name, y), name)
        if len(y) != len(codes):
            raise bad(name, f"{len(y)} labels", f"one label for each of the {len(codes)} codes")
        sides.append(y.to(codes.device))
    q_y, d_y = sides
    if q_y.shape[1:] != d_y.shape[1:]:
        need = f"labels of the same form as `q_labels` {tuple(q_y.shape)}"
        raise bad("d_labels", f"shape {tuple(d_y.shape)}", need)
    if q_y.ndim == 1:  # ids 0, 1, 2, … are exact in float32
        _, ids = torch.cat([q_y, d_y]).unique(return_inverse=True)
        q_y, d_y = ids.split([len(q_y), len(d_y)])
    return q_y, d_y
