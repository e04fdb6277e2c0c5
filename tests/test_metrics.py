"""The measures against hand work, loops written apart, and every order that tied items can take."""

import json
import subprocess
import sys
from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import retrieval_average_precision

from dhida_lib import metrics
from dhida_lib.metrics import histograms, measures

# ---- versions written apart: loops over one query's distances and relevances, no histogram ----


def distances(q, d):
    return np.array([[sum(a != b for a, b in zip(x, y, strict=True)) for y in d] for x in q])


def relevance(ql, dl):
    def share(a, b):
        return any(x and y for x, y in zip(a, b, strict=True)) if np.ndim(a) else a == b

    return np.array([[int(share(a, b)) for b in dl] for a in ql])


def ap(hits, k=None):
    """AP@k of one ranked list of 0 and 1, divided by the hits inside the top k."""
    found, total = 0, 0.0
    for rank, hit in enumerate(list(hits)[:k], start=1):
        if hit:
            found += 1
            total += found / rank
    return total / found if found else 0.0


def orders(distance, relevant):
    """The relevances in each order that sorting by distance allows."""
    ties = [[r for x, r in zip(distance, relevant, strict=True) if x == v] for v in sorted(set(distance))]
    for parts in product(*(list(permutations(tie)) for tie in ties)):
        yield [r for part in parts for r in part]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def argsort_map(q, d, ql, dl, k=None):
    """The field's loop, with a stable sort."""
    total = 0.0
    for code, label in zip(q, ql, strict=True):
        order = np.argsort((q.shape[1] - d @ code) / 2, kind="stable")
        hit = (dl[order] == label)[:k].astype(float)
        rank = np.flatnonzero(hit) + 1
        total += float(np.mean(np.arange(1, len(rank) + 1) / rank)) if len(rank) else 0.0
    return total / len(q)


def random_set(seed, nq=7, nd=23, bits=5, classes=3, multi=False):
    g = np.random.default_rng(seed)
    q, d = g.choice([-1.0, 1.0], (nq, bits)), g.choice([-1.0, 1.0], (nd, bits))
    if multi:
        return q, d, (g.random((nq, classes)) < 0.4).astype(int), (g.random((nd, classes)) < 0.4).astype(int)
    return q, d, g.integers(0, classes, nq), g.integers(0, classes, nd)


def everything(q, d, ql, dl):
    return metrics.evaluate(q, d, ql, dl, n=range(1, len(d) + 1), radius=1)


def close(a, b):
    """Compare two results of `evaluate`, numbers up to rounding."""
    a, b = json.loads(json.dumps(a)), json.loads(json.dumps(b))
    assert a.keys() == b.keys()
    for key in a:
        if isinstance(a[key], dict):
            for name in a[key]:
                assert a[key][name] == pytest.approx(b[key][name], abs=1e-12), (key, name)
        elif isinstance(a[key], float):
            assert a[key] == pytest.approx(b[key], abs=1e-12), key
        else:
            assert a[key] == b[key], key


@st.composite
def small_sets(draw):
    """Few bits and few items: nearly everything is tied, and all orders can be listed."""
    bits, nq, nd = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    code = st.lists(st.sampled_from([-1, 1]), min_size=bits, max_size=bits)
    multi = draw(st.booleans())
    one = st.lists(st.integers(0, 1), min_size=2, max_size=2) if multi else st.integers(0, 2)
    sides = [st.lists(kind, min_size=n, max_size=n) for kind in (code, one) for n in (nq, nd)]
    return tuple(np.array(draw(side)) for side in sides)


# ---- by hand: one query, six images, four bits ----

Q = np.array([[1, 1, 1, 1]])
D = np.array(
    [
        [1, 1, 1, 1],  # distance 0, relevant
        [-1, 1, 1, 1],  # distance 1, relevant
        [1, -1, 1, 1],  # distance 1
        [1, 1, -1, -1],  # distance 2
        [-1, -1, -1, 1],  # distance 3, relevant
        [-1, -1, 1, -1],  # distance 3
    ]
)
QL, DL = np.array([4]), np.array([4, 4, 9, 9, 4, 7])


def test_six_images_by_hand():
    assert metrics.hamming_distance(Q, D).tolist() == [[0, 1, 1, 2, 3, 3]]
    counts, relevant = metrics.ranking_histograms(Q, D, QL, DL)
    assert counts.tolist() == [[1, 2, 1, 2, 0]]
    assert relevant.tolist() == [[1, 1, 0, 1, 0]]
    # Four orders: the second hit at rank 2 or 3, the third at rank 5 or 6.
    best, worst = (1 + 2 / 2 + 3 / 5) / 3, (1 + 2 / 3 + 3 / 6) / 3
    expected = (1 + (2 / 2 + 2 / 3) / 2 + (3 / 5 + 3 / 6) / 2) / 3
    assert metrics.map_bounds(Q, D, QL, DL) == pytest.approx((worst, best))
    assert metrics.mean_average_precision(Q, D, QL, DL) == pytest.approx(expected)
    assert metrics.mean_average_precision(Q, D, QL, DL, ties="stable") == pytest.approx(best)
    # k = 2 cuts the first tie: with the hit 2/2 and two hits, without it one hit at rank 1.
    assert metrics.mean_average_precision(Q, D, QL, DL, k=2) == pytest.approx(1.0)
    # k = 5: the last hit is in or out; each of the two cases with the second hit at rank 2 or 3.
    inside = mean([(1 + 1 + 3 / 5) / 3, (1 + 2 / 3 + 3 / 5) / 3])
    outside = mean([(1 + 1) / 2, (1 + 2 / 3) / 2])
    assert metrics.mean_average_precision(Q, D, QL, DL, k=5) == pytest.approx((inside + outside) / 2)
    at_n = metrics.precision_at_n(Q, D, QL, DL, [1, 2, 3, 4, 5, 6])
    assert at_n.tolist() == pytest.approx([1, 1.5 / 2, 2 / 3, 2 / 4, 2.5 / 5, 3 / 6])
    curve = metrics.precision_recall_curve(Q, D, QL, DL)
    assert curve.radius.tolist() == [0, 1, 2, 3, 4]
    assert curve.precision.tolist() == pytest.approx([1, 2 / 3, 2 / 4, 3 / 6, 3 / 6])
    assert curve.recall.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert metrics.precision_within_radius(Q, D, QL, DL) == pytest.approx(0.5)
    assert metrics.precision_within_radius(Q, D, QL, DL, radius=1) == pytest.approx(2 / 3)


def test_empty_ball_and_query_without_relevant_items_count_zero():
    far = -D[:1]  # its nearest image is two bits away
    q, ql = np.concatenate([Q, far, Q]), np.array([4, 4, 5])  # the third has no relevant image
    result = metrics.evaluate(q, D, ql, DL, radius=0)
    assert result["empty_balls"] == pytest.approx(1 / 3)
    assert result["precision_within_radius"] == pytest.approx((1 + 0 + 0) / 3)
    aps = metrics.average_precision(q, D, ql, DL)
    assert aps[2] == 0
    assert result["map"] == pytest.approx(float(aps.sum()) / 3)
    curve = metrics.precision_recall_curve(q, D, ql, DL)
    assert curve.recall[-1] == pytest.approx(2 / 3)
    assert metrics.average_precision(q, D, ql, DL, ties="stable")[2] == 0


# ---- against loops ----


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("bits", [1, 5, 31, 64, 100])
def test_distances_and_histograms_against_loops(bits, multi):
    q, d, ql, dl = random_set(bits, bits=bits, multi=multi)
    d[3:6], dl[4] = d[2], dl[2]  # equal codes, with equal and with other labels
    q[1], ql[1] = q[0], ql[0]
    dist, rel = distances(q, d), relevance(ql, dl)
    assert (metrics.hamming_distance(q, d).numpy() == dist).all()
    counts, relevant = metrics.ranking_histograms(q, d, ql, dl)
    assert counts.dtype == relevant.dtype == torch.int64
    for i in range(len(q)):
        for r in range(bits + 1):
            assert counts[i, r] == sum(dist[i] == r)
            assert relevant[i, r] == sum(rel[i][dist[i] == r])


@pytest.mark.parametrize("multi", [False, True])
def test_curves_against_loops(multi):
    q, d, ql, dl = random_set(2, nq=11, nd=17, bits=6, classes=4, multi=multi)
    ql[0] = 0 if multi else 99  # a query without relevant items
    dist, rel = distances(q, d), relevance(ql, dl)
    curve = metrics.precision_recall_curve(q, d, ql, dl)
    for r in range(7):
        balls = [rel[i][dist[i] <= r] for i in range(len(q))]
        precision = mean(b.mean() if len(b) else 0.0 for b in balls)
        recall = mean(b.sum() / max(rel[i].sum(), 1) for i, b in enumerate(balls))
        assert curve.precision[r] == pytest.approx(precision)
        assert curve.recall[r] == pytest.approx(recall)
        assert metrics.precision_within_radius(q, d, ql, dl, radius=r) == pytest.approx(precision)
        share = metrics.evaluate(q, d, ql, dl, radius=r)["empty_balls"]
        assert share == pytest.approx(mean(len(b) == 0 for b in balls))
    assert metrics.precision_within_radius(q, d, ql, dl, radius=50) == pytest.approx(rel.mean())


# ---- against every tie order ----


@settings(max_examples=60, deadline=None)
@given(small_sets())
def test_expected_values_equal_the_mean_over_all_tie_orders(data):
    q, d, ql, dl = data
    dist, rel = distances(q, d), relevance(ql, dl)
    lists = [list(orders(dist[i], rel[i])) for i in range(len(q))]
    for k in (None, *range(1, len(d) + 2)):
        got = metrics.average_precision(q, d, ql, dl, k=k)
        want = [mean(ap(hits, k) for hits in all_orders) for all_orders in lists]
        assert got.tolist() == pytest.approx(want, abs=1e-12)
        assert metrics.mean_average_precision(q, d, ql, dl, k) == pytest.approx(mean(want), abs=1e-12)
    ns = list(range(1, len(d) + 1))
    want = [mean(mean(sum(hits[:n]) / n for hits in all_orders) for all_orders in lists) for n in ns]
    assert metrics.precision_at_n(q, d, ql, dl, ns).tolist() == pytest.approx(want, abs=1e-12)
    worst = mean(min(ap(hits) for hits in all_orders) for all_orders in lists)
    best = mean(max(ap(hits) for hits in all_orders) for all_orders in lists)
    assert metrics.map_bounds(q, d, ql, dl) == pytest.approx((worst, best), abs=1e-12)


def test_large_tie_against_the_sum_over_slots():
    """One tie of 3,000 items after a near hit: the slot-by-slot sum of the guide, in plain Python."""
    g = np.random.default_rng(5)
    d = np.concatenate([np.ones((1, 8)), np.repeat([[-1.0] + [1.0] * 7], 3000, axis=0)])
    dl = np.concatenate([[1], (g.random(3000) < 0.3).astype(int)])
    p, c, n, r = int(dl[1:].sum()), 3000, 1, 1
    total = 1 + sum(p / c * (r + 1 + (t - 1) * (p - 1) / (c - 1)) / (n + t) for t in range(1, c + 1))
    got = metrics.mean_average_precision(np.ones((1, 8)), d, [1], dl)
    assert got == pytest.approx(total / (p + 1), rel=1e-12)


def test_expected_ap_at_k_is_the_mean_of_many_shuffles():
    q, d, ql, dl = random_set(8, nq=1, nd=400, bits=3, classes=2)
    dist, rel = distances(q, d)[0], relevance(ql, dl)[0]
    g = np.random.default_rng(0)
    for k in (1, 60, 200, 333):
        values = []
        for _ in range(1500):
            order = np.lexsort((g.random(400), dist))
            values.append(ap(rel[order], k))
        error = np.std(values) / np.sqrt(len(values))
        assert abs(metrics.mean_average_precision(q, d, ql, dl, k) - np.mean(values)) < 4 * error


@pytest.mark.parametrize("k", [None, 1, 4, 15, 23, 99])
def test_stable_is_the_argsort_loop(k):
    for seed in range(4):
        q, d, ql, dl = random_set(seed)
        got = metrics.mean_average_precision(q, d, ql, dl, k=k, ties="stable")
        assert got == pytest.approx(argsort_map(q, d, ql, dl, k), abs=1e-12)


def test_stable_with_several_labels():
    q, d, ql, dl = random_set(3, multi=True)
    dist, rel = distances(q, d), relevance(ql, dl)
    want = [ap(r[np.argsort(x, kind="stable")], 10) for x, r in zip(dist, rel, strict=True)]
    assert metrics.average_precision(q, d, ql, dl, 10, "stable").tolist() == pytest.approx(want)


# ---- torchmetrics, where nothing is tied ----


def without_ties(seed, bits=9):
    """A database with one item at each distance 0…bits from the query of all ones, in random order."""
    g = np.random.default_rng(seed)
    d = np.ones((bits + 1, bits))
    for i in range(bits + 1):
        d[i, :i] = -1
    return np.ones((1, bits)), d[g.permutation(bits + 1)], np.array([1]), g.integers(0, 2, bits + 1)


@pytest.mark.parametrize("seed", range(5))
def test_torchmetrics_agrees_without_ties(seed):
    q, d, ql, dl = without_ties(seed)
    # Scores must be positive there, hence K+1−distance.
    score = q.shape[1] + 1 - metrics.hamming_distance(q, d)[0].float()
    want = float(retrieval_average_precision(score, torch.tensor(dl == 1)))
    for ties in ("expected", "stable"):
        assert metrics.mean_average_precision(q, d, ql, dl, ties=ties) == pytest.approx(want, abs=1e-6)
    assert metrics.map_bounds(q, d, ql, dl) == pytest.approx((want, want), abs=1e-6)


def test_torchmetrics_drops_targets_whose_score_is_not_positive():
    """The trap: with qᵀd as score, relevant items at or beyond K/2 vanish and the result is too good."""
    q, d, ql, dl = without_ties(0)
    far = metrics.hamming_distance(q, d)[0].argmax()
    dl[far] = 1
    trapped = retrieval_average_precision(torch.tensor(q[0] @ d.T), torch.tensor(dl == 1))
    assert float(trapped) > metrics.map_bounds(q, d, ql, dl)[1] + 0.01


# ---- what must not change the result ----


@pytest.mark.parametrize("multi", [False, True])
def test_order_of_the_database_and_bit_flips_do_not_matter(multi):
    q, d, ql, dl = random_set(11, multi=multi)
    want = everything(q, d, ql, dl)
    order = np.random.default_rng(1).permutation(len(d))
    close(everything(q, d[order], ql, dl[order]), want)
    one = np.array([1, 1, -1, 1, 1])
    close(everything(q * one, d * one, ql, dl), want)
    close(everything(-q, -d, ql, dl), want)
    bits = [3, 0, 4, 2, 1]
    close(everything(q[:, bits], d[:, bits], ql, dl), want)
    names = [2, 0, 1]
    close(everything(q, d, ql[:, names], dl[:, names]) if multi else everything(q, d, 7 - ql, 7 - dl), want)


def test_one_hot_rows_equal_class_ids():
    q, d, ql, dl = random_set(12)
    one_hot = np.eye(3, dtype=int)
    close(everything(q, d, one_hot[ql], one_hot[dl]), everything(q, d, ql, dl))


def test_class_ids_may_be_large_or_negative():
    q, d, ql, dl = random_set(13)
    ids = np.array([-5, 2**40, 2**40 + 1])
    close(everything(q, d, ids[ql], ids[dl]), everything(q, d, ql, dl))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.int8, torch.int64])
def test_every_kind_of_codes(kind):
    q, d, ql, dl = random_set(14, bits=70)
    got = everything(*(torch.tensor(x, dtype=kind) for x in (q, d)), torch.tensor(ql), torch.tensor(dl))
    close(got, everything(q, d, ql, dl))


def test_views_read_only_arrays_lists_and_gradients_are_accepted():
    q, d, ql, dl = random_set(15)
    want = everything(q, d, ql, dl)
    close(everything(q[:, ::-1], d[:, ::-1], ql, dl), want)
    q.flags.writeable = False
    close(everything(q, d.tolist(), ql.tolist(), dl), want)
    close(everything(torch.tensor(q, requires_grad=True), d, ql, dl), want)
    aps = metrics.average_precision(torch.tensor(q, requires_grad=True), d, ql, dl)
    assert not aps.requires_grad


def test_autocast_changes_nothing():
    q, d, ql, dl = random_set(16, bits=600)  # bfloat16 holds integers up to 256 only
    want = everything(q, d, ql, dl)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(everything(q, d, ql, dl), want)
        assert (metrics.hamming_distance(q, d).numpy() == distances(q, d)).all()


@pytest.mark.parametrize("multi", [False, True])
def test_blocks_give_the_same_result_and_bound_the_memory(monkeypatch, multi):
    q, d, ql, dl = random_set(17, nq=300, nd=500, bits=12, multi=multi)
    want = everything(q, d, ql, dl)
    k_want = [metrics.average_precision(q, d, ql, dl, 40, ties) for ties in ("expected", "stable")]
    pairs, plain = [], histograms.distances

    def spy(a, b):
        pairs.append(len(a) * len(b))
        return plain(a, b)

    for module in (histograms, measures):  # both look it up by name
        monkeypatch.setattr(module, "distances", spy)
    for most in (1, 2048):
        pairs.clear()
        monkeypatch.setattr(histograms, "PAIRS", most)
        close(everything(q, d, ql, dl), want)
        assert max(pairs) <= max(most, 256)
        for ties, values in zip(("expected", "stable"), k_want, strict=True):
            torch.testing.assert_close(metrics.average_precision(q, d, ql, dl, 40, ties), values)


# ---- evaluate ----


def test_evaluate_equals_the_single_functions():
    q, d, ql, dl = random_set(18, nq=9, nd=40, bits=6)
    result = metrics.evaluate(q, d, ql, dl)
    assert json.loads(json.dumps(result)) == result
    assert result["map"] == metrics.mean_average_precision(q, d, ql, dl)
    assert (result["map_pessimistic"], result["map_optimistic"]) == metrics.map_bounds(q, d, ql, dl)
    assert result["map_pessimistic"] < result["map"] < result["map_optimistic"]
    assert result["precision_at_n"]["n"] == [1, 10]  # the larger ones are beyond the database
    at_n = metrics.precision_at_n(q, d, ql, dl, (1, 10))
    assert result["precision_at_n"]["values"] == at_n.tolist()
    curve = metrics.precision_recall_curve(q, d, ql, dl)
    assert result["precision_recall"] == {k: v.tolist() for k, v in curve._asdict().items()}
    assert result["precision_within_radius"] == metrics.precision_within_radius(q, d, ql, dl)
    rest = {"radius": 2, "queries": 9, "database": 40, "bits": 6, "k": None, "ties": "expected"}
    assert {key: result[key] for key in rest} == rest


def test_evaluate_with_k_and_nothing_left_of_n():
    q, d, ql, dl = random_set(19)
    result = metrics.evaluate(q, d, ql, dl, k=5, n=1000, radius=50)
    assert result["map"] == metrics.mean_average_precision(q, d, ql, dl, k=5)
    assert result["map_pessimistic"] is None
    assert result["map_optimistic"] is None
    assert result["k"] == 5
    assert result["precision_at_n"] == {"n": [], "values": []}
    assert result["empty_balls"] == 0
    json.dumps(result)


def test_evaluate_makes_one_pass(monkeypatch):
    calls, plain = [], metrics.ranking_histograms
    monkeypatch.setattr(measures, "ranking_histograms", lambda *args: calls.append(1) or plain(*args))
    metrics.evaluate(*random_set(20))
    assert len(calls) == 1


def test_precision_at_n_returns_what_n_asks_for():
    q, d, ql, dl = random_set(21)
    one = metrics.precision_at_n(q, d, ql, dl, 3)
    assert isinstance(one, float)
    for n in ([3, 5], (3, 5), range(3, 6, 2), np.array([3, 5]), torch.tensor([3, 5])):
        several = metrics.precision_at_n(q, d, ql, dl, n)
        assert several.dtype == torch.float64
        assert several.shape == (2,)
        assert several[0] == one
    assert metrics.precision_at_n(q, d, ql, dl, np.int64(3)) == one


# ---- any strides ----


def laid_out(x, how):
    """The same table with other strides; the last is an array that torch dislikes."""
    if how == "transposed":
        return x.T.contiguous().T
    if how == "every second":
        return torch.stack([x, 1 - x], dim=-1).flatten(1)[:, ::2]
    if how == "every second row":
        return torch.cat([x, x], dim=1).view(2 * len(x), -1)[::2]
    if how == "in a corner":
        return torch.nn.functional.pad(x, (3, 2, 1, 4))[1:-4, 3:-2]
    return x.flip(0).numpy()[::-1]


@pytest.mark.parametrize("how", ["transposed", "every second", "every second row", "in a corner", "flipped"])
@pytest.mark.parametrize("bits", [1, 10, 64, 96, 128])
def test_strides_do_not_matter(monkeypatch, how, bits):
    q, d, _, _ = random_set(bits, nq=9, nd=30, bits=bits)
    for classes in (0, 3, 64, 96):  # 0: class ids
        _, _, ql, dl = random_set(1, nq=9, nd=30, classes=classes or 4, multi=classes > 0)
        plain = [torch.from_numpy(x) for x in (q, d, ql, dl)]
        other = [laid_out(x, how) if x.ndim == 2 else laid_out(x[:, None], how)[:, 0] for x in plain]
        assert all(a.tolist() == b.tolist() for a, b in zip(plain, other, strict=True))
        want = metrics.hamming_distance(*plain[:2]), *metrics.ranking_histograms(*plain)
        for least in (histograms._MANY, 0):  # without and with the compiled loop
            monkeypatch.setattr(histograms, "_MANY", least)
            monkeypatch.setattr(histograms, "_FEW", least)
            got = metrics.hamming_distance(*other[:2]), *metrics.ranking_histograms(*other)
            assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))
            close(everything(*other), everything(*plain))
        for k in (None, 7):
            for ties in ("expected", "stable"):
                want = metrics.average_precision(*plain, k, ties)
                assert torch.equal(metrics.average_precision(*other, k, ties), want)
            assert metrics.mean_average_precision(*other, k) == metrics.mean_average_precision(*plain, k)
        assert metrics.map_bounds(*other) == metrics.map_bounds(*plain)
        assert metrics.precision_at_n(*other, 5) == metrics.precision_at_n(*plain, 5)
        assert metrics.precision_within_radius(*other) == metrics.precision_within_radius(*plain)
        for a, b in zip(*(metrics.precision_recall_curve(*x) for x in (plain, other)), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("bits", [2**15 - 1, 2**15, 2**15 + 1, 2**16 + 1])
def test_stable_ties_of_very_long_codes(bits):
    q = torch.ones(1, bits, dtype=torch.int8)
    d = torch.cat([-q, q])  # the farthest item comes first in the database
    assert metrics.average_precision(q, d, [0], [1, 0], ties="stable") == 1
    assert metrics.average_precision(q, d, [0], [0, 1], ties="stable") == 0.5


# ---- errors ----


def with_value(value, dtype=float):
    codes = np.ones((4, 6), dtype=dtype)
    codes[2, 3] = value
    return codes


BAD_CODES = [
    with_value(0),
    with_value(0, int),
    with_value(2),
    with_value(np.nan),
    with_value(np.inf),
    with_value(-128, np.int8),
    with_value(1j, complex),
    np.ones((4, 6), dtype=bool),
    np.ones(6),
    np.ones((2, 4, 6)),
    np.ones((0, 6)),
    np.ones((4, 0)),
    np.array([["a"] * 6] * 4),
    [[1, -1], [1]],
    None,
    torch.ones(4, 6).to(torch.float8_e5m2),
    torch.ones(4, 6).to_sparse(),
    torch.ones(4, 6, device="meta"),
]


@pytest.mark.parametrize("codes", BAD_CODES, ids=range(len(BAD_CODES)))
def test_codes_that_are_not_plus_or_minus_one(codes):
    good, labels = np.ones((4, 6)), np.arange(4)
    for run in (
        lambda q, d: metrics.hamming_distance(q, d),
        lambda q, d: metrics.evaluate(q, d, labels, labels),
        lambda q, d: metrics.average_precision(q, d, labels, labels, ties="stable"),
        lambda q, d: metrics.precision_at_n(q, d, labels, labels, 1),
    ):
        with pytest.raises(ValueError, match="`q` must be"):
            run(codes, good)
        with pytest.raises(ValueError, match="`d` must be"):
            run(good, codes)


def test_different_numbers_of_bits():
    with pytest.raises(ValueError, match="`d` must be codes of as many bits as `q` has, 6, but got '5 bits'"):
        metrics.hamming_distance(np.ones((4, 6)), np.ones((4, 5)))


@pytest.mark.parametrize(
    "ql, dl, name",
    [
        (np.arange(3), np.arange(5), "q_labels"),
        (np.arange(4), np.arange(6), "d_labels"),
        (np.arange(4.0), np.arange(5), "q_labels"),
        (np.arange(4), np.eye(5, dtype=int), "d_labels"),
        (np.eye(4, dtype=int), np.eye(5, dtype=int), "d_labels"),
        (np.arange(4), 2 * np.eye(5, dtype=int), "d_labels"),
        (np.arange(4), None, "d_labels"),
        (["a", "b", "c", "d"], np.arange(5), "q_labels"),
        (3, np.arange(5), "q_labels"),
        (None, np.arange(5), "q_labels"),
        (np.arange(4), torch.eye(5).to_sparse(), "d_labels"),
        (torch.arange(4, device="meta"), np.arange(5), "q_labels"),
    ],
)
def test_labels_that_do_not_fit(ql, dl, name):
    q, d = np.ones((4, 6)), np.ones((5, 6))
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        metrics.ranking_histograms(q, d, ql, dl)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        metrics.average_precision(q, d, ql, dl, ties="stable")


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "all"])
def test_wrong_k(k):
    for run in (metrics.average_precision, metrics.mean_average_precision, metrics.evaluate):
        with pytest.raises(ValueError, match="`k` must be a positive integer"):
            run(Q, D, QL, DL, k=k)


@pytest.mark.parametrize("huge", [2**31, 2**64, 10**400, 10**5000], ids=["31", "64", "400", "5000"])
def test_numbers_beyond_any_database(huge):
    for run, name in (
        (metrics.average_precision, "k"),
        (metrics.mean_average_precision, "k"),
        (metrics.precision_at_n, "n"),
        (metrics.precision_within_radius, "radius"),
        *((metrics.evaluate, name) for name in ("k", "n", "radius")),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be an integer of at most 2147483647") as caught:
            run(Q, D, QL, DL, **{name: huge})
        assert len(str(caught.value)) < 400


def test_wrong_ties():
    with pytest.raises(ValueError, match="`ties` must be one of 'expected', 'stable'"):
        metrics.mean_average_precision(Q, D, QL, DL, ties="random")


@pytest.mark.parametrize("n", [0, -3, 1.5, True, "12", [], [1, 0], [1, 2.0], None])
def test_wrong_n(n):
    for run in (metrics.precision_at_n, metrics.evaluate):
        with pytest.raises(ValueError, match="`n` must be"):
            run(Q, D, QL, DL, n=n)


def test_n_beyond_the_database():
    with pytest.raises(ValueError, match="`n` must be at most the size of the database, 6, but got 7"):
        metrics.precision_at_n(Q, D, QL, DL, [1, 7])


@pytest.mark.parametrize("radius", [-1, 1.0, True, None])
def test_wrong_radius(radius):
    for run in (metrics.precision_within_radius, metrics.evaluate):
        with pytest.raises(ValueError, match="`radius` must be an integer ≥ 0"):
            run(Q, D, QL, DL, radius=radius)


# ---- large databases: a block at a time, and the compiled loop ----


@pytest.mark.parametrize("bits", [1, 7, 16, 64])
@pytest.mark.parametrize("multi", [False, True])
def test_the_compiled_loop_counts_the_same(monkeypatch, bits, multi):
    g = torch.Generator().manual_seed(bits)
    for nq, nd, threads in ((1, 1, 1), (5, 300, 2), (9, 1000, 3)):
        q, d = (torch.randint(0, 2, (n, bits), generator=g) * 2 - 1 for n in (nq, nd))
        if multi:
            q_y, d_y = (torch.randint(0, 2, (n, 5), generator=g) for n in (nq, nd))
        else:
            q_y, d_y = (torch.randint(-3, 4, (n,), generator=g) for n in (nq, nd))
        plain = metrics.ranking_histograms(q, d, q_y, d_y)
        monkeypatch.setattr(histograms, "_MANY", 0)
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        monkeypatch.setattr(histograms, "_FEW", 0)
        assert histograms._compile(q, d)
        for items, pairs in (
            (histograms._ITEMS, histograms.PAIRS),
            (7, histograms.PAIRS),
            (histograms._ITEMS, 20),
        ):
            monkeypatch.setattr(histograms, "_ITEMS", items)
            monkeypatch.setattr(histograms, "PAIRS", pairs)  # 20: one or two label groups at a time
            compiled = metrics.ranking_histograms(q, d, q_y, d_y)
            assert all(torch.equal(a, b) for a, b in zip(plain, compiled, strict=True))
        monkeypatch.undo()


def test_without_numba_the_plain_loop_counts(monkeypatch):
    monkeypatch.setattr(histograms, "_MANY", 0)
    monkeypatch.setattr(histograms, "_FEW", 0)
    assert histograms._compile(torch.ones(2, 64), torch.ones(2, 64))
    assert not histograms._compile(torch.ones(2, 65), torch.ones(2, 65))
    monkeypatch.setitem(sys.modules, "dhida_lib.metrics.compiled", None)
    assert not histograms._compile(torch.ones(2, 64), torch.ones(2, 64))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("multi", [False, True])
def test_a_gpu_measures_the_same(multi):
    g = torch.Generator().manual_seed(0)
    q, d = (torch.randint(0, 2, (n, 40), generator=g) * 2 - 1 for n in (30, 5000))
    if multi:
        q_y, d_y = (torch.randint(0, 2, (n, 5), generator=g) for n in (30, 5000))
    else:
        q_y, d_y = (torch.randint(0, 9, (n,), generator=g) for n in (30, 5000))
    gpu = [x.cuda() for x in (q, d, q_y, d_y)]
    for mine, theirs in zip(
        metrics.ranking_histograms(*gpu), metrics.ranking_histograms(q, d, q_y, d_y), strict=True
    ):
        assert mine.is_cuda
        assert torch.equal(mine.cpu(), theirs)
    for k in (None, 100):
        for ties in ("expected", "stable"):
            ap = metrics.average_precision(*gpu, k, ties)
            assert ap.is_cuda
            assert ap.cpu().tolist() == pytest.approx(
                metrics.average_precision(q, d, q_y, d_y, k, ties).tolist()
            )
    assert metrics.mean_average_precision(*gpu) == pytest.approx(
        metrics.mean_average_precision(q, d, q_y, d_y)
    )
    assert metrics.precision_within_radius(*gpu) == pytest.approx(
        metrics.precision_within_radius(q, d, q_y, d_y)
    )


@pytest.mark.parametrize("bits", [1, 31, 32, 64, 100])
def test_words_are_equal_where_the_bits_are(bits):
    rows = torch.randint(0, 2, (200, bits), generator=torch.Generator().manual_seed(bits)) > 0
    rows = torch.cat([rows, rows.roll(3, dims=0)])
    words = histograms._words(rows)
    assert words.shape == (400, -(-bits // 64))
    same = (rows[:, None] == rows).all(dim=2)  # 400×400
    assert torch.equal((words[:, None] == words).all(dim=2), same)
    if bits == 64:  # the way for a GPU gives other words, equal for the same rows
        sums = histograms._word_by_sums(rows)
        assert torch.equal(sums[:, None] == sums, same)


PEAK = """
import resource, torch
from dhida_lib import metrics
from dhida_lib.metrics import histograms
g = torch.Generator().manual_seed(0)
q, d = ((torch.randint(0, 2, (n, 64), generator=g) * 2 - 1).to(torch.int8) for n in (1000, {size}))
q_y, d_y = (torch.arange(n) % 10 for n in (1000, {size}))
if {sets}:  # almost every item has labels of its own
    q_y, d_y = ((torch.rand(n, 21, generator=g) < 0.35).to(torch.uint8) for n in (1000, {size}))
{before}
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
counts, relevant = metrics.ranking_histograms(q, d, q_y, d_y)
hits = (d_y.float() @ q_y[0].float() > 0).sum() if {sets} else {size} // 10
assert (counts.sum(dim=1) == {size}).all() and relevant[0].sum() == hits
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize(
    "before", ["import dhida_lib.metrics.compiled", "histograms._compile = lambda q, d: False"]
)
@pytest.mark.parametrize(("size", "sets"), [(54_000, False), (54_000, True), (1_000_000, False)])
def test_memory_stays_small(before, size, sets):
    """Under 300 MB beyond the codes themselves, however many pairs and sets of labels there are."""
    if size > 100_000 and "lambda" in before:
        pytest.skip("a minute of matrix products; the blocks are the same")
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(size=size, before=before, sets=sets)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 300
