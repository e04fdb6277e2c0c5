"""Typical wrong answers to the exercises of Chapter 3."""

import torch


def ap(relevance, k, divisor, first=1):
    top = relevance[:k].double()
    total = (top * top.cumsum(0) / torch.arange(first, len(top) + first)).sum()
    return float(total / max(1, divisor(relevance, top)))


def skip_empty(distance, relevant, radius):
    inside = (distance <= radius).double()
    found = inside.sum(1)
    return float(((inside * relevant).sum(1) / found)[found > 0].mean())


def pooled(distance, relevant, radius):
    inside = (distance <= radius).double()
    return float((inside * relevant).sum() / inside.sum())


def open_ball(distance, relevant, radius):
    inside = (distance < radius).double()
    return float(((inside * relevant).sum(1) / inside.sum(1).clamp(min=1)).mean())


def not_a_number(distance, relevant, radius):
    inside = (distance <= radius).double()
    return float(((inside * relevant).sum(1) / inside.sum(1)).mean())


def ball_recall(distance, relevant, radius):
    inside = (distance <= radius).double()
    return float(((inside * relevant).sum(1) / relevant.sum(1)).mean())


def in_tie(counts, relevant, N, hits_of):
    n = hits = 0
    for c, p in zip(counts, relevant, strict=True):
        shown = min(c, N - n)
        hits += hits_of(shown, c, p) if shown else 0
        n += shown
    return hits / N


def divide_by_zero(counts, relevant, N):
    n = hits = 0
    for c, p in zip(counts, relevant, strict=True):
        shown = min(c, N - n)
        hits += shown * (p / c)
        n += shown
    return hits / N


WRONG = {
    "3.1": [
        ("the half forgotten", lambda q, d: q.shape[1] - q @ d.T),
        ("the sign of the product", lambda q, d: (q.shape[1] + q @ d.T) / 2),
        ("the paper's misprint", lambda q, d: (q.shape[1] - 0.5 * (q @ d.T)) / 2),
        ("items as rows", lambda q, d: (q.shape[1] - d @ q.T) / 2),
        ("number of queries for K", lambda q, d: (q.shape[0] - q @ d.T) / 2),
    ],
    "3.2": [
        ("hits in the top k", lambda r, k: ap(r, k, lambda _, top: top.sum())),
        ("R", lambda r, k: ap(r, k, lambda r, _: r.sum())),
        ("k", lambda r, k: ap(r, k, lambda *_: k)),
        ("ranks from 2", lambda r, k: ap(r, k, lambda r, _: min(int(r.sum()), k), first=2)),
        ("precision at k", lambda r, k: float(r[:k].double().mean())),
    ],
    "3.3": [
        ("empty balls skipped", skip_empty),
        ("share of the sums", pooled),
        ("radius left out", open_ball),
        ("0/0", not_a_number),
        ("recall", ball_recall),
    ],
    "3.4": [
        ("relevant first", lambda c, p, N: in_tie(c, p, N, lambda shown, c, p: min(shown, p))),
        ("relevant last", lambda c, p, N: in_tie(c, p, N, lambda shown, c, p: max(0, shown - (c - p)))),
        ("the whole tie counted", lambda c, p, N: in_tie(c, p, N, lambda shown, c, p: p)),
        ("empty distance divides by 0", divide_by_zero),
    ],
}
