"""The losses against loops written apart from them, their gradients against Eq. 16, and their errors."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from dhida_lib.losses import (
    LOSSES,
    ClassifierLoss,
    DHIDALoss,
    HashLoss,
    build_loss,
    pairwise_nll,
    register_loss,
)
from dhida_lib.training import TrainConfig

B, K, N, C = 5, 7, 11, 4  # batch, bits, training images, classes: all different


def draw(seed=0, rows=B, bits=K, scale=1.0, dtype=torch.float64):
    """Outputs on both sides of ±1, so that f(u) matters."""
    u = scale * torch.randn(rows, bits, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return u.requires_grad_()


IDS = torch.tensor([2, 0, 2, 3, 0])
INDEX = torch.tensor([7, 1, 10, 0, 4])
MULTI = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]])


# -- independent versions: Python loops, math.exp, nothing of the library --


def f(x):
    return -1.0 if x < -1 else (1.0 if x > 1 else x)


def loop_terms(u, y, U, Y, balance="code", inner="half", act=f):
    """L1 and L2 by loops; y and Y are lists of label sets."""
    v = [[act(x) for x in row] for row in u]
    V = [[act(x) for x in row] for row in U]
    total = 0.0
    for vi, yi in zip(v, y, strict=True):
        for Vj, Yj in zip(V, Y, strict=True):
            theta = sum(a * b for a, b in zip(vi, Vj, strict=True)) * (0.5 if inner == "half" else 1.0)
            total += math.log(1 + math.exp(theta)) - (1.0 if yi & Yj else 0.0) * theta
    L1 = total / (len(v) * len(V))
    groups = v if balance == "code" else list(zip(*v, strict=True))
    L2 = sum((sum(g) / len(g)) ** 2 for g in groups) / len(groups)
    return L1, L2


def sets(labels):
    """Label sets of class ids or multi-hot rows."""
    if labels.ndim == 1:
        return [{int(y)} for y in labels]
    return [{c for c, on in enumerate(row) if on} for row in labels.tolist()]


def loop_gradient(u, y, U, Y, gamma, balance, both_sides):
    """Eq. 16 with the corrections: parentheses, the sum over j, means, L2's factor, and 1[|u| < 1]."""
    u, U = np.asarray(u), np.asarray(U)
    v, V = np.clip(u, -1, 1), np.clip(U, -1, 1)
    b, k, m = len(v), v.shape[1], len(V)
    grad = np.zeros_like(v)
    for i in range(b):
        for j in range(m):
            s = 1.0 if y[i] & Y[j] else 0.0
            a = 1 / (1 + math.exp(-0.5 * float(v[i] @ V[j])))
            grad[i] += 0.5 * (a - s) * V[j] / (b * m)  # the pair (i, j)
            if both_sides:
                grad[i] += 0.5 * (a - s) * V[j] / (b * m)  # the pair (j, i): a_ji = a_ij, s_ji = s_ij
        for n in range(k):
            mean = v[i].mean() if balance == "code" else v[:, n].mean()
            grad[i, n] += gamma * 2 * mean / (b * k)
    return grad * (np.abs(u) < 1)


# -- values --


@pytest.mark.parametrize("labels", [IDS, MULTI], ids=["ids", "multi-hot"])
@pytest.mark.parametrize("balance", ["code", "bit"])
@pytest.mark.parametrize("inner", ["half", "plain"])
@pytest.mark.parametrize("activation", ["piecewise", "identity"])
def test_batch_value_is_the_loop(labels, balance, inner, activation):
    u = draw()
    loss = DHIDALoss(K, gamma=0.3, balance=balance, inner=inner, activation=activation)
    act = f if activation == "piecewise" else float
    rows = u.tolist()
    L1, L2 = loop_terms(rows, sets(labels), rows, sets(labels), balance, inner, act)
    got1, got2 = loss.terms(u, labels)
    assert got1.item() == pytest.approx(L1, abs=1e-12)
    assert got2.item() == pytest.approx(L2, abs=1e-12)
    assert loss(u, labels).item() == pytest.approx(L1 + 0.3 * L2, abs=1e-12)


def test_every_option_changes_the_value():
    u = draw()
    values = [
        DHIDALoss(K, gamma=0.3, balance=b, inner=i, activation=a)(u, IDS).item()
        for b in ("code", "bit")
        for i in ("half", "plain")
        for a in ("piecewise", "identity")
    ]
    assert len({round(v, 9) for v in values}) == 8


def test_defaults_are_the_papers():
    loss = DHIDALoss(K)
    assert (loss.gamma, loss.balance, loss.inner, loss.activation) == (0.1, "code", "half", "piecewise")


def test_pairwise_nll_is_the_mean_of_softplus_minus_s_theta():
    theta = torch.tensor([[-3.0, 0.0, 0.5], [2.0, 7.0, -1.0]], dtype=torch.float64)
    s = torch.tensor([[True, False, True], [False, True, False]])
    pairs = zip(theta.flatten().tolist(), s.flatten().tolist(), strict=True)
    expected = np.mean([math.log(1 + math.exp(t)) - z * t for t, z in pairs])
    assert pairwise_nll(theta, s).item() == pytest.approx(expected, abs=1e-14)


def test_half_precision_is_averaged_in_float32():
    theta = torch.full((300, 300), 4.0, dtype=torch.float16)
    value = pairwise_nll(theta, torch.zeros(300, 300))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(math.log(1 + math.exp(4)), abs=1e-6)


def test_large_outputs_stay_finite_where_the_naive_form_overflows():
    u = torch.full((3, 6), 1e4, requires_grad=True)  # float32
    labels = torch.tensor([0, 1, 0])
    loss = DHIDALoss(6, activation="identity")
    value = loss(u, labels)
    value.backward()
    theta = 0.5 * u.detach() @ u.detach().T
    assert torch.isinf(torch.log(1 + torch.exp(theta))).all()  # the formula as printed
    assert torch.isfinite(value)
    assert torch.isfinite(u.grad).all()
    # 4 of the 9 pairs are dissimilar and cost θ each; the similar ones cost nothing; γ·L2 = 0.1·u²
    assert value.item() == pytest.approx(4 / 9 * 3e8 + 0.1 * 1e8, rel=1e-6)
    assert torch.isfinite(DHIDALoss(6)(u, labels))


# -- gradients --


@pytest.mark.parametrize("labels", [IDS, MULTI], ids=["ids", "multi-hot"])
@pytest.mark.parametrize("balance", ["code", "bit"])
def test_batch_gradient_is_eq_16(labels, balance):
    u = draw(1)
    DHIDALoss(K, gamma=0.3, balance=balance)(u, labels).backward()
    rows = u.detach().numpy()
    assert (np.abs(rows) > 1).any()
    expected = loop_gradient(rows, sets(labels), rows, sets(labels), 0.3, balance, both_sides=True)
    np.testing.assert_allclose(u.grad.numpy(), expected, rtol=0, atol=1e-12)


def test_plain_inner_product_is_not_eq_16():
    u = draw(1)
    DHIDALoss(K, gamma=0.3, inner="plain")(u, IDS).backward()
    rows = u.detach().numpy()
    expected = loop_gradient(rows, sets(IDS), rows, sets(IDS), 0.3, "code", both_sides=True)
    assert np.abs(u.grad.numpy() - expected).max() > 1e-3


@pytest.mark.parametrize("balance", ["code", "bit"])
def test_bank_value_and_gradient(balance):
    loss = DHIDALoss(K, num_train=N, num_classes=C, gamma=0.3, balance=balance).double()
    first, later = draw(2, 6), draw(3)
    places, ids = torch.tensor([2, 3, 4, 5, 6, 7]), torch.tensor([1, 2, 3, 0, 1, 2])
    loss(first, ids, places)
    value = loss(later, IDS, INDEX)  # rows 7 and 4 are overwritten, 1, 10 and 0 are new
    value.backward()
    book = dict(zip(places.tolist(), zip(first.tolist(), sets(ids), strict=True), strict=True))
    book |= dict(zip(INDEX.tolist(), zip(later.tolist(), sets(IDS), strict=True), strict=True))
    assert len(book) == 9
    U, Y = [r for r, _ in book.values()], [y for _, y in book.values()]
    L1, L2 = loop_terms(later.tolist(), sets(IDS), U, Y, balance)
    assert value.item() == pytest.approx(L1 + 0.3 * L2, abs=1e-12)
    expected = loop_gradient(later.detach().numpy(), sets(IDS), U, Y, 0.3, balance, both_sides=False)
    np.testing.assert_allclose(later.grad.numpy(), expected, rtol=0, atol=1e-12)
    assert first.grad is None


@pytest.mark.parametrize("balance", ["code", "bit"])
@pytest.mark.parametrize("inner", ["half", "plain"])
def test_gradcheck_of_batch_pairs(balance, inner):
    loss = DHIDALoss(K, gamma=0.7, balance=balance, inner=inner)
    assert torch.autograd.gradcheck(lambda u: loss(u, IDS), (draw(4),))


def test_backward_works_after_the_bank_was_overwritten():
    """Two batches, then one backward pass, as gradient accumulation does it."""
    loss = DHIDALoss(K, N, C, activation="identity", empty_rows="keep").double()
    a, b = draw(5), draw(6)
    total = loss(a, IDS, INDEX) + loss(b, IDS, INDEX)
    total.backward()
    alone = draw(5)
    fresh = DHIDALoss(K, N, C, activation="identity", empty_rows="keep").double()
    fresh(alone, IDS, INDEX).backward()
    assert torch.equal(a.grad, alone.grad)


def test_zero_is_a_saddle_of_l1():
    u = torch.zeros(B, K, dtype=torch.float64, requires_grad=True)
    L1, L2 = DHIDALoss(K).terms(u, IDS)
    (L1 + L2).backward()
    assert torch.equal(u.grad, torch.zeros(B, K, dtype=torch.float64))
    assert L1.item() == pytest.approx(math.log(2), abs=1e-15)
    small, smaller = draw(7, scale=1e-3), draw(7, scale=1e-6)
    DHIDALoss(K, gamma=0)(small, IDS).backward()
    DHIDALoss(K, gamma=0)(smaller, IDS).backward()
    # near zero the gradient is linear in the codes: a thousand times nearer moves a thousand times less
    assert smaller.grad.norm().item() == pytest.approx(1e-3 * small.grad.norm().item(), rel=1e-3)
    # and it is no minimum: along some directions L1 falls
    direction = torch.zeros(B, K, dtype=torch.float64)
    direction[IDS == 2, 0], direction[IDS == 0, 0] = 0.5, -0.5
    assert DHIDALoss(K, gamma=0)(direction, IDS) < math.log(2)


def pessimistic_map(codes, labels):
    """mAP with the wrong images first among equal distances, each query left out of its own ranking."""
    scores = []
    for i in range(len(codes)):
        rest = [j for j in range(len(codes)) if j != i]
        order = sorted(rest, key=lambda j: (int((codes[i] != codes[j]).sum()), bool(labels[i] == labels[j])))
        hits = [rank for rank, j in enumerate(order, 1) if labels[i] == labels[j]]
        scores.append(np.mean([n / rank for n, rank in enumerate(hits, 1)]))
    return float(np.mean(scores))


@pytest.mark.parametrize("bank", [False, True])
def test_descent_on_free_codes_separates_four_classes(bank):
    labels = torch.arange(40) % 4
    u = draw(8, rows=40, bits=16, scale=0.1).detach().requires_grad_()
    start = pessimistic_map(u.detach().numpy() >= 0, labels.tolist())
    loss = DHIDALoss(16, 40 if bank else None, 4)
    values = []
    for _ in range(150):
        value = loss(u, labels, torch.arange(40))
        (grad,) = torch.autograd.grad(value, u)
        with torch.no_grad():
            u -= 20 * grad
        values.append(value.item())
    assert start < 0.5
    assert pessimistic_map(u.detach().numpy() >= 0, labels.tolist()) > 0.99
    assert values[-1] < 0.3 * values[0]


# -- the bank --


def test_batch_pairs_keep_the_gradient_and_bank_pairs_do_not():
    u = draw()
    U, S = DHIDALoss(K).pairs(u, IDS)
    assert U is u
    assert S.dtype == u.dtype
    assert torch.equal(S, torch.tensor([[float(a == b) for b in IDS] for a in IDS], dtype=u.dtype))
    U, S = DHIDALoss(K, N, C).double().pairs(u, IDS, INDEX)
    assert not U.requires_grad
    order = INDEX.argsort()  # the bank stands in the order of the training set
    assert torch.equal(U, u.detach()[order])
    assert torch.equal(S, torch.tensor([[float(a == b) for b in IDS[order]] for a in IDS], dtype=u.dtype))


def test_full_bank_has_the_batch_value_and_half_its_gradient():
    u, w = draw(9), draw(9)
    batch, bank = DHIDALoss(K, gamma=0), DHIDALoss(K, B, C, gamma=0).double()
    one, two = batch(u, IDS), bank(w, IDS, torch.arange(B))
    one.backward()
    two.backward()
    assert one.item() == pytest.approx(two.item(), abs=1e-14)
    torch.testing.assert_close(u.grad, 2 * w.grad, rtol=0, atol=1e-14)


def test_multi_hot_bank_equals_the_batch():
    u = draw(9)
    bank = DHIDALoss(K, B, C).double()
    assert bank(u, MULTI, torch.arange(B)).item() == pytest.approx(DHIDALoss(K)(u, MULTI).item(), abs=1e-14)
    assert torch.equal(bank.bank_labels.long(), MULTI)


def test_class_ids_and_one_hot_rows_give_the_same():
    u = draw(9)
    one_hot = torch.nn.functional.one_hot(IDS, C)
    ids, rows = DHIDALoss(K, N, C).double(), DHIDALoss(K, N, C).double()
    assert ids(u, IDS, INDEX) == rows(u, one_hot, INDEX)
    assert torch.equal(ids.bank_labels, rows.bank_labels)
    assert DHIDALoss(K)(u, IDS) == DHIDALoss(K)(u, one_hot)


def test_empty_rows():
    u = draw(10)
    drop = DHIDALoss(K, N, C, gamma=0).double()
    keep = DHIDALoss(K, N, C, gamma=0, empty_rows="keep").double()
    a, b = drop(u, IDS, INDEX), keep(u, IDS, INDEX)
    (ga,), (gb,) = torch.autograd.grad(a, u), torch.autograd.grad(b, u)
    # "keep": N − B zero rows add log 2 each and thin the rest out
    assert b.item() == pytest.approx((B * a.item() + (N - B) * math.log(2)) / N, abs=1e-14)
    torch.testing.assert_close(gb, ga * B / N, rtol=0, atol=1e-14)
    for start, rows in ((0, 6), (6, 5)):  # once every row is filled, the two are the same
        index, labels = torch.arange(start, start + rows), torch.arange(rows) % C
        batch = draw(11 + start, rows)
        a, b = drop(batch, labels, index), keep(batch, labels, index)
    assert drop.bank_filled.all()
    assert torch.equal(a, b)


def test_terms_and_forward_may_be_called_in_turn():
    loss = DHIDALoss(K, N, C).double()
    u = draw(12)
    value = loss(u, IDS, INDEX)
    before = {k: v.clone() for k, v in loss.state_dict().items()}
    L1, L2 = loss.terms(u, IDS, INDEX)
    assert torch.equal(L1 + 0.1 * L2, value)
    assert torch.equal(loss(u, IDS, INDEX), value)
    assert all(torch.equal(v, before[k]) for k, v in loss.state_dict().items())


def test_bank_survives_a_round_trip_in_mid_epoch(tmp_path):
    loss = DHIDALoss(K, N, C)
    loss(draw(13, dtype=torch.float32), IDS, INDEX)
    torch.save(loss.state_dict(), tmp_path / "loss.pt")
    again = DHIDALoss(K, N, C)
    again.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    assert set(again.state_dict()) == {"bank_codes", "bank_labels", "bank_filled"}
    assert again.bank_labels.dtype == torch.uint8
    assert again.bank_filled.sum() == B
    u = draw(14, 3, dtype=torch.float32)
    where, labels = torch.tensor([2, 7, 9]), torch.tensor([0, 1, 2])
    assert torch.equal(loss(u, labels, where), again(u, labels, where))
    fresh = DHIDALoss(K, N, C)
    assert not torch.equal(loss(u, labels, where), fresh(u, labels, where))


def test_bank_keeps_its_dtype_for_half_outputs():
    loss = DHIDALoss(K, N, C)
    value = loss(draw(15).detach().to(torch.bfloat16), IDS, INDEX)
    assert loss.bank_codes.dtype == torch.float32
    assert torch.isfinite(value)
    assert value.dtype == torch.float32


def test_without_num_train_there_is_no_state():
    assert not DHIDALoss(K, num_classes=C).state_dict()


@pytest.mark.parametrize("bank", [False, True])
def test_the_order_of_a_batch_does_not_matter(bank):
    u, order = draw(16).detach(), torch.tensor([3, 0, 4, 1, 2])
    loss = DHIDALoss(K, N if bank else None, C).double()
    one = loss(u, MULTI, INDEX).item()
    assert loss(u[order], MULTI[order], INDEX[order]).item() == pytest.approx(one, abs=1e-14)


def test_labels_and_index_may_be_lists():
    u = draw(17)
    a = DHIDALoss(K, N, C).double()(u, IDS.tolist(), INDEX.tolist())
    assert a == DHIDALoss(K, N, C).double()(u, IDS.numpy(), INDEX.int())


# -- the classifier --


def test_classifier_cross_entropy():
    u = draw(18, bits=C)
    expected = np.mean(
        [math.log(sum(math.exp(x) for x in row)) - row[y] for row, y in zip(u.tolist(), IDS, strict=True)]
    )
    loss = ClassifierLoss(C, num_train=N, num_classes=C)
    assert loss(u, IDS, INDEX).item() == pytest.approx(expected, abs=1e-12)
    assert not loss.state_dict()
    assert torch.autograd.gradcheck(lambda x: loss(x, IDS), (u,))


def test_classifier_multi_hot():
    u = draw(19, bits=C)
    cells = [
        -math.log(1 / (1 + math.exp(-x if on else x)))
        for row, y in zip(u.tolist(), MULTI.tolist(), strict=True)
        for x, on in zip(row, y, strict=True)
    ]
    assert ClassifierLoss(C)(u, MULTI).item() == pytest.approx(np.mean(cells), abs=1e-12)


def test_classifier_errors():
    with pytest.raises(ValueError, match=r"`bits` must be the number of classes, 4.*got 16"):
        ClassifierLoss(16, num_classes=4)
    with pytest.raises(ValueError, match=r"`labels` must be class ids 0 … 3"):
        ClassifierLoss(4)(draw(bits=4), torch.tensor([0, 1, 2, 3, 4]))


# -- registry and errors --


def test_registry():
    assert {"dhida": DHIDALoss, "classifier": ClassifierLoss}.items() <= LOSSES.items()
    for name, cls in LOSSES.items():
        loss = build_loss(name, bits=C, num_train=N, num_classes=C)
        assert type(loss) is cls
        assert isinstance(loss, HashLoss)
        loss.start_epoch(0, 3)
        value = loss(draw(20, bits=C, dtype=torch.float32), IDS, INDEX)
        assert value.shape == ()
        value.backward()
    loss = build_loss("dhida", K, gamma=0.5, balance="bit")
    assert isinstance(loss, DHIDALoss)
    assert (loss.gamma, loss.balance, loss.num_train) == (0.5, "bit", None)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: build_loss("dpsn", K), r"`name` must be one of .*'dhida'.*did you mean 'dpsh'.*got 'dpsn'"),
        (lambda: build_loss("dhida", K, margin=1, alpha=2), r"`options` must be .* 'dhida' \(gamma, .*alpha"),
        (lambda: build_loss("classifier", K, gamma=1), r"`options` .*it has none.*gamma"),
        (lambda: DHIDALoss(0), r"`bits` must be a positive integer"),
        (lambda: DHIDALoss(K, num_train=0, num_classes=C), r"`num_train` must be a positive integer"),
        (lambda: DHIDALoss(K, num_classes=-1), r"`num_classes` must be a positive integer"),
        (lambda: DHIDALoss(K, num_train=N), r"`num_classes` must be given with `num_train`"),
        (lambda: DHIDALoss(K, gamma=-0.1), r"`gamma` must be a number ≥ 0"),
        (lambda: DHIDALoss(K, balance="row"), r"`balance` must be one of 'code', 'bit'"),
        (lambda: DHIDALoss(K, inner="whole"), r"`inner` must be one of 'half', 'plain'"),
        (lambda: DHIDALoss(K, activation="tanh"), r"`activation` must be one of 'piecewise', 'identity'"),
        (lambda: DHIDALoss(K, empty_rows="zero"), r"`empty_rows` must be one of 'drop', 'keep'"),
        (lambda: DHIDALoss(K)([[0.0] * K], [0]), r"`u` must be a floating point tensor.*'list'"),
        (lambda: DHIDALoss(K)(torch.ones(B, K, dtype=torch.int64), IDS), r"`u` must be a floating point"),
        (lambda: DHIDALoss(K)(torch.ones(B, K + 1), IDS), r"`u` must be B×bits = B×7.*\(5, 8\)"),
        (lambda: DHIDALoss(K)(torch.ones(K), IDS), r"`u` must be B×bits"),
        (lambda: DHIDALoss(K)(torch.ones(0, K), IDS[:0]), r"`u` must be B×bits"),
        (lambda: DHIDALoss(K)(draw(), None), r"`labels` must be "),
        (lambda: DHIDALoss(K)(draw(), "cats"), r"`labels` must be "),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS, "first"), r"`index` must be "),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS, INDEX + 0j), r"`index` must be 5 integers"),
        (lambda: DHIDALoss(K)(draw(), IDS[:3]), r"`labels` must be one for each of the 5 rows.*3 of them"),
        (lambda: DHIDALoss(K)(draw(), IDS.double()), r"`labels` must be class ids \(n,\) or"),
        (lambda: DHIDALoss(K, num_classes=3)(draw(), MULTI), r"`labels` must be multi-hot .* = 3"),
        (lambda: DHIDALoss(K, num_classes=3)(draw(), IDS), r"`labels` must be class ids 0 … 2 .*ids 0 … 3"),
        (lambda: DHIDALoss(K, num_classes=C)(draw(), IDS - 1), r"`labels` must be class ids 0 … 3 .* -1 … 2"),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS), r"`index` must be the images' places"),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS, INDEX[:4]), r"`index` must be 5 integers"),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS, INDEX.double()), r"`index` must be 5 integers.*float64"),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS, INDEX > 3), r"`index` must be 5 integers.*bool"),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS, INDEX + 0j), r"`index` must be 5 integers.*complex"),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS, "ab"), r"`index` must be 5 integers.*'str'"),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS, [None] * B), r"`index` must be 5 integers.*'list'"),
        (lambda: DHIDALoss(K, N, C)(draw(), None, INDEX), r"`labels` must be a tensor or.*'NoneType'"),
        (lambda: DHIDALoss(K)(draw().to_sparse(), IDS), r"`u` must be a dense tensor with its values"),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS, INDEX + 1), r"`index` must be within 0 … 10 .*1 … 11"),
        (lambda: DHIDALoss(K, N, C)(draw(), IDS, INDEX - 1), r"`index` must be within 0 … 10 .*-1 … 9"),
        (lambda: pairwise_nll(torch.ones(2, 3), torch.ones(3, 2)), r"`s` must be of the shape of `theta`"),
        (lambda: pairwise_nll(torch.ones(0), torch.ones(0)), r"not empty"),
        (lambda: pairwise_nll(torch.ones(2), "x"), r"`s` must be a dense tensor of real numbers.*'str'"),
        (lambda: pairwise_nll(torch.ones(2).long(), torch.ones(2)), r"`theta` must be a floating point"),
        (lambda: pairwise_nll(torch.ones(2).to_sparse(), torch.ones(2)), r"`theta` must be a dense tensor"),
        (lambda: pairwise_nll(torch.ones(2), torch.ones(2) + 1j), r"`s` must be a dense tensor of real"),
    ],
)  # fmt: skip
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize("name", LOSSES)
def test_an_option_of_the_wrong_kind_is_named(name):
    for option, default in LOSSES[name].options().items():
        yes = 1 if isinstance(default, bool) else True
        for wrong in ("7", [1], -1, float("nan"), 10**400, object(), yes):
            with pytest.raises(ValueError, match=f"`{option}` must be"):
                build_loss(name, 8, num_classes=C, **{option: wrong})


def test_a_bank_on_another_device_is_an_error():
    loss = DHIDALoss(K, N, C)
    loss.bank_codes = loss.bank_codes.to("meta")
    with pytest.raises(ValueError, match=r"`u` must be on the bank's device meta: move the loss"):
        loss(draw(), IDS, INDEX)


def test_a_refused_batch_leaves_the_bank_alone():
    loss = DHIDALoss(K, N, C)
    for labels, index in ((IDS[:3], INDEX), (IDS, INDEX + 1), (IDS + 3, INDEX)):
        with pytest.raises(ValueError):
            loss(draw(dtype=torch.float32), labels, index)
    assert not loss.bank_filled.any()
    assert not loss.bank_codes.any()


def test_a_method_says_what_tables_and_searches_need():
    for name, cls in LOSSES.items():
        assert cls.name == name
        assert cls.label
        assert len(cls.reference) > 15
        if cls.search:
            training = {f.name for f in dataclasses.fields(TrainConfig)}
            assert cls.search.setting in {*cls.options(), *training}
        assert set(cls.start) <= set(cls.options())


def test_a_loss_of_ones_own(monkeypatch):
    """Registered, it is built by its name; its formula gets checked arguments, with and without a bank."""
    monkeypatch.setattr(LOSSES, "_things", dict(LOSSES._things))

    @register_loss("contrastive")
    class Contrastive(HashLoss):
        """Similar pairs near, others apart."""

        def formula(self, u, U, y, Y):
            S = (y @ Y.T > 0).to(u.dtype) if y.ndim == 2 else (y[:, None] == Y).to(u.dtype)
            D = torch.cdist(u, U).square()
            return (S * D + (1 - S) * (2 * self.bits - D).clamp_min(0)).mean()

    assert Contrastive.label == "contrastive"
    u, y = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    batch = build_loss("contrastive", 4)(u, y)
    bank = build_loss("contrastive", 4, 6, 3)(u, y, torch.arange(6))
    torch.testing.assert_close(batch, bank)
    with pytest.raises(ValueError, match="`u` must be B×bits"):
        build_loss("contrastive", 5)(u, y)
    with pytest.raises(ValueError, match="used on a subclass of HashLoss"):
        register_loss("no")(nn.Linear)
    assert repr(build_loss("contrastive", 4)) == "Contrastive(bits=4, empty_rows='drop')"
