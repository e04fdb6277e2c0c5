"""The losses of Chapter 14: values and gradients against loops, and what each method is for."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dhida_lib import runs
from dhida_lib.losses import (
    LOSSES,
    CNNHLoss,
    CSQLoss,
    DBDHLoss,
    DFHLoss,
    DHIDALoss,
    DSDHLoss,
    DSHLoss,
    DTSHLoss,
    HashNetLoss,
    IDHNLoss,
    OrthoHashLoss,
    build_loss,
    class_centres,
    hadamard,
)
from dhida_lib.training import Callback

B, K, N, C = 6, 5, 11, 4  # batch, bits, training images, classes: all different

IDS = torch.tensor([2, 0, 2, 3, 0, 1])
MULTI = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 1], [1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0]])
INDEX = torch.tensor([7, 1, 10, 0, 4, 3])


def draw(seed=0, rows=B, bits=K, scale=1.0, dtype=torch.float64):
    """Outputs on both sides of ±1."""
    u = scale * torch.randn(rows, bits, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return u.requires_grad_()


def sets(labels):
    """Label sets of class ids or multi-hot rows."""
    if labels.ndim == 1:
        return [{int(y)} for y in labels]
    return [{c for c, on in enumerate(row) if on} for row in labels.tolist()]


# -- independent versions: loops over rows of floats and label sets, nothing of the library --
# Each takes the batch (u, y), the codes to compare it with (U, Y: the batch itself, or the bank), the
# options o and the loss's buffers before the call.


def sgn(x):
    return 1.0 if x >= 0 else -1.0


def signs(rows):
    return [[sgn(x) for x in row] for row in rows]


def dot(a, b):
    return sum(x * z for x, z in zip(a, b, strict=True))


def nll(theta, s):
    return math.log(1 + math.exp(theta)) - s * theta


def average(values):
    values = list(values)
    return sum(values) / len(values)


def over_pairs(cost, u, y, U, Y):
    """The mean of cost(u_i, U_j, s_ij) over all pairs."""
    return average(
        cost(a, b, 1.0 if i & j else 0.0)
        for (a, i), (b, j) in itertools.product(zip(u, y, strict=True), zip(U, Y, strict=True))
    )


def likelihood(u, y, U, Y):
    return over_pairs(lambda a, b, s: nll(0.5 * dot(a, b), s), u, y, U, Y)


def off_signs(u, b=None):
    """The mean of (u − b)², b the signs unless given."""
    return average(
        (x - z) ** 2 for r, q in zip(u, b or signs(u), strict=True) for x, z in zip(r, q, strict=True)
    )


def ref_dsh(u, y, U, Y, o, state):
    def cost(a, b, s):
        D = sum((x - z) ** 2 for x, z in zip(a, b, strict=True))
        r = sum(abs(abs(x) - 1) for x in a) + sum(abs(abs(x) - 1) for x in b)
        return 0.5 * s * D + 0.5 * (1 - s) * max(o["margin"] - D, 0.0) + o["alpha"] * r

    return over_pairs(cost, u, y, U, Y)


def ref_dhn(u, y, U, Y, o, state):
    prior = average(math.log(math.cosh(abs(x) - 1)) for row in u for x in row)
    return likelihood(u, y, U, Y) + o["alpha"] * prior


def ref_dpsh(u, y, U, Y, o, state):
    return likelihood(u, y, U, Y) + o["eta"] * off_signs(u)


def ref_hashnet(u, y, U, Y, o, state):
    beta = float(state["beta"])
    costs = {True: [], False: []}
    for a, i in zip(u, y, strict=True):
        for b, j in zip(U, Y, strict=True):
            v, V = [math.tanh(beta * x) for x in a], [math.tanh(beta * x) for x in b]
            similar = bool(i & j)
            weight = len(i & j) / len(i | j) if similar and o["overlap"] else 1.0
            costs[similar].append(weight * nll(o["alpha"] * dot(v, V), float(similar)))
    every = len(costs[True]) + len(costs[False])
    return sum(every / len(c) * sum(c) for c in costs.values()) / every


def dcc(bits, u, y, o):
    """W by the normal equations, B by trying both values of every single bit on the whole objective."""
    Y = np.array([[float(c in labels) for c in range(C)] for labels in y])
    codes, U = np.array(bits), np.array(u)
    for _ in range(o["rounds"]):
        gram = codes.T @ codes + o["nu"] / o["mu"] * np.eye(K)
        W = np.linalg.inv(gram) @ codes.T @ Y
        for k in range(K):
            for i in range(len(codes)):
                costs = {}
                for bit in (1.0, -1.0):
                    codes[i, k] = bit
                    costs[bit] = o["mu"] * ((Y[i] - codes[i] @ W) ** 2).sum()
                    costs[bit] += o["eta"] * ((codes[i] - U[i]) ** 2).sum()
                codes[i, k] = 1.0 if costs[1.0] <= costs[-1.0] else -1.0
    return codes, W


def ref_dsdh(u, y, U, Y, o, state):
    if "B" in state:  # the bank's codes, changed only as an epoch begins
        b = [row if any(row) else signs([x])[0] for row, x in zip(state["B"][INDEX].tolist(), u, strict=True)]
    else:
        b = dcc(signs(state["u"]), state["u"], y, o)[0].tolist()
    return likelihood(u, y, U, Y) + o["eta"] * off_signs(u, b)


def centre_cost(centres, b, y, o):
    """The two sums that DFH's centres lower."""
    c, n = len(centres), len(b)
    near = sum(((sum(centres[k] for k in labels) - row) ** 2).sum() for row, labels in zip(b, y, strict=True))
    apart = sum(centres[k] @ centres[j] for k in range(c) for j in range(c) if j != k)
    return c / n * near + o["omega"] / (c - 1) * apart


def dfh_codes(u, y, centres, o):
    return [
        [sgn(o["mu"] * sum(centres[c][k] for c in labels) + x) for k, x in enumerate(row)]
        for row, labels in zip(u, y, strict=True)
    ]


def ref_dfh(u, y, U, Y, o, state):
    m = o["margin"]

    def cost(a, b, s):
        theta = 0.5 * dot(a, b)
        return s * math.log(1 + math.exp(m - theta)) + (1 - s) * math.log(1 + math.exp(m + theta))

    centres = state["centres"].numpy().copy()
    b = np.array(dfh_codes(U, Y, centres, o))
    for k in range(C):
        for bit in range(K):
            costs = {}
            for value in (1.0, -1.0):
                centres[k, bit] = value
                costs[value] = centre_cost(centres, b, Y, o)
            centres[k, bit] = 1.0 if costs[1.0] <= costs[-1.0] + 1e-9 else -1.0
    return over_pairs(cost, u, y, U, Y) + o["eta"] * off_signs(u, dfh_codes(u, y, centres, o))


def ref_dbdh(u, y, U, Y, o, state):
    def act(rows):
        return rows if o["activation"] == "sign" else [[min(max(x, -1.0), 1.0) for x in r] for r in rows]

    # for "sign" the test hands in ±1 codes as u, where the function of v is to be differentiated
    v, V = act(u), act(U)
    return likelihood(v, y, V, Y) + o["alpha"] * average(average(row) ** 2 for row in v)


def ref_idhn(u, y, U, Y, o, state):
    total = 0.0
    for a, i in zip(u, y, strict=True):
        for b, j in zip(U, Y, strict=True):
            t = dot([x / (1 + abs(x)) for x in a], [x / (1 + abs(x)) for x in b])
            if not i & j or i == j:
                total += nll(o["alpha"] * t / K, 1.0 if i & j else 0.0)
            else:
                s = len(i & j) / math.sqrt(len(i) * len(j))
                total += o["gamma"] * K * ((t + K) / (2 * K) - s) ** 2
    quantization = average(abs(abs(x / (1 + abs(x))) - 1) for row in u for x in row)
    return total / (len(u) * len(U)) + o["lam"] * quantization


def ref_lcdsh(u, y, U, Y, o, state):
    def sigma(x):
        return 1 / (1 + math.exp(-x))

    def cost(a, b, s):
        theta, binary = 0.5 * dot(a, b), 0.5 * dot([sgn(x) for x in a], [sgn(x) for x in b])
        return math.log(1 + math.exp(-(2 * s - 1) * theta)) + o["lam"] * (sigma(theta) - sigma(binary)) ** 2

    return over_pairs(cost, u, y, U, Y)


def ref_dtsh(u, y, U, Y, o, state):
    costs = []
    for q, p, n in itertools.permutations(range(len(u)), 3):
        if y[q] & y[p] and not y[q] & y[n]:
            margin = 0.5 * dot(u[q], u[p]) - 0.5 * dot(u[q], u[n]) - o["alpha"]
            costs.append(math.log(1 + math.exp(-margin)))
    return average(costs) + o["lam"] * off_signs(u)


def ref_cnnh(u, y, U, Y, o, state):
    """Stage two; stage one has its own test."""
    codes = state["class_codes"].numpy()
    h = []
    for labels in y:
        if len(labels) == 1:
            h.append(codes[next(iter(labels))].tolist())
            continue
        h.append(settle(labels, codes))
    return off_signs(u, h)


def settle(labels, codes):
    """From the sign of the sum of the classes' codes, flip bits in turn while the squares fall."""

    def cost(h):
        return sum((K * (1 if c in labels else -1) - h @ codes[c]) ** 2 for c in range(len(codes)))

    h = np.array([sgn(sum(codes[c][k] for c in labels)) for k in range(K)])
    for k in list(range(K)) * 20:
        flipped = h.copy()
        flipped[k] *= -1
        if cost(flipped) < cost(h) or (cost(flipped) == cost(h) and flipped[k] > 0):
            h = flipped
    return h.tolist()


def ref_csq(u, y, U, Y, o, state):
    total = []
    for row, labels in zip(u, y, strict=True):
        for k, x in enumerate(row):
            votes = sum(float(state["centres"][c][k]) for c in labels)
            h = sgn(votes) if votes else float(state["ties"][k])
            p = 0.5 * (math.tanh(x) + 1)
            total.append(-math.log(p if h > 0 else 1 - p) + o["lam"] * (abs(math.tanh(x)) - 1) ** 2)
    return average(total)


def ref_orthohash(u, y, U, Y, o, state):
    total = []
    for row, labels in zip(u, y, strict=True):
        logits = []
        for c, h in enumerate(state["centres"].tolist()):
            cosine = dot(row, h) / math.sqrt(dot(row, row) * dot(h, h))
            logits.append(o["scale"] * (cosine - (o["margin"] if c in labels else 0.0)))
        log_sum = math.log(sum(math.exp(x) for x in logits))
        total.append(average(log_sum - logits[c] for c in labels))
    return average(total)


# Options apart from the defaults, so that one that is ignored is seen.
CASES = {
    "dsh": (ref_dsh, {"margin": 6.0, "alpha": 0.3}),
    "dhn": (ref_dhn, {"alpha": 0.3}),
    "hashnet": (ref_hashnet, {"alpha": 0.7, "overlap": True}),
    "dsdh": (ref_dsdh, {"mu": 0.4, "nu": 0.2, "eta": 0.3, "rounds": 2}),
    "dfh": (ref_dfh, {"margin": 1.5, "mu": 0.6, "eta": 0.4, "omega": 0.7}),
    "dbdh": (ref_dbdh, {"alpha": 0.3, "activation": "piecewise"}),
    "idhn": (ref_idhn, {"alpha": 3.0, "gamma": 0.7, "lam": 0.2}),
    "lcdsh": (ref_lcdsh, {"lam": 2.0}),
    "dpsh": (ref_dpsh, {"eta": 0.3}),
    "dtsh": (ref_dtsh, {"alpha": 1.5, "lam": 0.4}),
    "cnnh": (ref_cnnh, {}),
    "csq": (ref_csq, {"lam": 0.3}),
    "orthohash": (ref_orthohash, {"scale": 4.0, "margin": 0.3}),
}
NO_BANK = {"dtsh", "cnnh", "csq", "orthohash"}
TABLE_3 = {"dhida", "dsh", "dhn", "hashnet", "dsdh", "dfh", "dbdh", "idhn", "lcdsh"}
METHODS = [name for name in LOSSES if name != "classifier"]  # its u are logits, not codes


def test_every_method_is_here():
    assert {*CASES, "dhida"} == set(METHODS)
    assert set(METHODS) >= TABLE_3


def reference(name, u, labels, bank, state):
    """The loop's value at u; ``bank`` maps places to (code, label set) of other images, or is None."""
    ref, options = CASES[name]
    rows, y = u.tolist(), sets(labels)
    U, Y = (rows, y) if bank is None else ([r for r, _ in bank.values()], [s for _, s in bank.values()])
    return ref(rows, y, U, Y, options, state)


def slope(f, u, step=1e-6):
    """The gradient of f by central differences."""
    grad = torch.zeros_like(u)
    for i, k in itertools.product(*map(range, u.shape)):
        ahead, behind = u.clone(), u.clone()
        ahead[i, k] += step
        behind[i, k] -= step
        grad[i, k] = (f(ahead) - f(behind)) / (2 * step)
    return grad


def buffers(loss):
    return {key: value.clone() for key, value in loss.state_dict().items()}


@pytest.mark.parametrize("labels", [IDS, MULTI], ids=["ids", "multi-hot"])
@pytest.mark.parametrize("with_bank", [False, True], ids=["batch", "bank"])
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_the_loops(name, with_bank, labels):
    loss = build_loss(name, K, N if with_bank else None, C, **CASES[name][1]).double()
    bank = None
    if with_bank:  # some rows stay empty, some are overwritten, some are not in the batch
        first, places = draw(2).detach(), torch.tensor([2, 3, 4, 5, 6, 7])
        loss.start_epoch(0, 4)
        loss(first, labels.flip(0), places)
        bank = dict(zip(places.tolist(), zip(first.tolist(), sets(labels.flip(0)), strict=True), strict=True))
    loss.start_epoch(1, 4)
    u = draw(1)
    assert (u.abs() > 1).any()
    assert (u.abs() < 1).any()
    state = {**buffers(loss), "u": u.detach().tolist()}
    value = loss(u, labels, INDEX)
    value.backward()
    if with_bank and name not in NO_BANK:
        bank |= dict(zip(INDEX.tolist(), zip(u.tolist(), sets(labels), strict=True), strict=True))
        assert len(bank) == 9
    assert value.shape == ()
    assert value.item() == pytest.approx(reference(name, u.detach(), labels, bank, state), rel=1e-10)
    expected = slope(lambda x: reference(name, x, labels, bank, state), u.detach())
    torch.testing.assert_close(u.grad, expected, rtol=0, atol=2e-8)
    assert u.grad.abs().max() > 1e-3


@pytest.mark.parametrize("with_bank", [False, True])
def test_dbdh_differentiates_at_the_signs(with_bank):
    loss = DBDHLoss(K, N if with_bank else None, C, alpha=0.3).double()
    u = draw(1)
    b = torch.where(u.detach() >= 0, 1.0, -1.0).double()
    bank = dict(zip(range(B), zip(b.tolist(), sets(MULTI), strict=True), strict=True)) if with_bank else None
    value = loss(u, MULTI, torch.arange(B))
    value.backward()
    ref = {"alpha": 0.3, "activation": "sign"}

    def f(v):
        U = v if bank is None else b
        return ref_dbdh(v.tolist(), sets(MULTI), U.tolist(), sets(MULTI), ref, {})

    assert value.item() == pytest.approx(f(b), rel=1e-12)
    torch.testing.assert_close(u.grad, slope(f, b), rtol=0, atol=2e-8)
    # only signs count, and the gradient reaches bits far beyond ±1
    assert torch.equal(loss(7 * u, MULTI, torch.arange(B)), value)
    assert u.grad[u.abs() > 1].abs().max() > 1e-3


@pytest.mark.parametrize("labels", [IDS, MULTI], ids=["ids", "multi-hot"])
@pytest.mark.parametrize("name", METHODS)
def test_gradcheck(name, labels):
    loss = build_loss(name, K, None, C, **({"activation": "piecewise"} if name == "dbdh" else {})).double()
    u = draw(4)
    for _ in range(20):  # DFH's centres come to rest
        loss(u, labels)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (u,))


def test_options_change_the_value():
    """Every numeric option of every method enters its value; the schedule and seeds have their own tests."""
    u, labels, seen = draw(3, rows=24, scale=0.5), MULTI.repeat(4, 1), 0
    changes = {
        "dsh": {"margin": 2.0, "alpha": 1.0}, "dhn": {"alpha": 1.0}, "dpsh": {"eta": 1.0},
        "hashnet": {"alpha": 1.0, "overlap": False},
        "dsdh": {"mu": 30.0, "eta": 2.0}, "dfh": {"margin": 1.0, "mu": 0.01, "eta": 2.0},
        "dbdh": {"alpha": 1.0, "activation": "piecewise"}, "idhn": {"alpha": 1.0, "gamma": 1.0, "lam": 1.0},
        "lcdsh": {"lam": 1.0}, "dtsh": {"alpha": 1.0, "lam": 0.1}, "csq": {"lam": 1.0},
        "orthohash": {"scale": 1.0, "margin": 0.0},
    }  # fmt: skip
    for name, options in changes.items():
        usual = build_loss(name, K, None, C).double()(u, labels).item()
        for key, value in options.items():
            assert build_loss(name, K, None, C, **{key: value}).double()(u, labels).item() != usual, (
                name,
                key,
            )
            seen += 1
    assert seen == 22


# -- what a loss is for --


def worst_map(codes, labels):
    """mAP with the wrong images first among equal distances, each query left out of its own ranking."""
    scores = []
    for i in range(len(codes)):
        distance = (codes[i] != codes).sum(1)
        relevant = np.array(labels == labels[i])
        order = [j for j in np.lexsort((relevant, distance)) if j != i]
        hits = np.flatnonzero(relevant[order]) + 1
        scores.append(np.mean(np.arange(1, len(hits) + 1) / hits))
    return float(np.mean(scores))


def descend(loss, u, labels, steps, rate):
    optimizer = torch.optim.Adam([u], lr=rate)
    index, values = torch.arange(len(u)), []
    for step in range(steps):
        loss.start_epoch(step, steps)
        value = loss(u, labels, index)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


@pytest.mark.parametrize("with_bank", [False, True], ids=["batch", "bank"])
@pytest.mark.parametrize("name", METHODS)
def test_descent_on_free_codes_separates_four_classes(name, with_bank):
    labels = torch.arange(24) % 4
    u = draw(8, rows=24, bits=16, scale=0.3, dtype=torch.float32)
    assert worst_map(u.detach().numpy() >= 0, labels.numpy()) < 0.4
    options = {"rounds": 2} if name == "dsdh" else {}
    loss = build_loss(name, 16, 24 if with_bank else None, 4, **options)
    values = descend(loss, u, labels, 120, 0.05)
    codes = u.detach().numpy() >= 0
    distance = (codes[:, None] != codes).sum(-1)
    same = (labels[:, None] == labels).numpy()
    assert distance[same & ~np.eye(24, dtype=bool)].mean() < 3
    assert distance[~same].mean() > 7
    assert worst_map(codes, labels.numpy()) > 0.98
    if name != "hashnet":  # its loss changes with β
        assert values[-1] < 0.6 * values[0]


@pytest.mark.parametrize("name", METHODS)
def test_descent_with_several_labels(name):
    """Five kinds of label sets: images that share a label come nearer than those that do not."""
    kinds = torch.tensor(
        [[1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]
    )
    labels = kinds[torch.arange(25) % 5]
    u = draw(9, rows=25, bits=16, scale=0.3, dtype=torch.float32)
    similar = (labels @ labels.T > 0).numpy()
    other = ~np.eye(25, dtype=bool)

    def gap():
        codes = u.detach().numpy() >= 0
        distance = (codes[:, None] != codes).sum(-1)
        return distance[~similar].mean() - distance[similar & other].mean()

    assert abs(gap()) < 1
    descend(build_loss(name, 16, 25, 5, **({"rounds": 2} if name == "dsdh" else {})), u, labels, 120, 0.05)
    assert gap() > 4


# -- state, determinism, precision --


@pytest.mark.parametrize("name", METHODS)
def test_state_round_trip_continues_exactly(name, tmp_path):
    def epoch(loss, number, seed):
        loss.start_epoch(number, 3)
        u = draw(seed, dtype=torch.float32)
        value = loss(u, MULTI, INDEX)
        value.backward()
        return value.detach(), u.grad

    loss = build_loss(name, K, N, C)
    epoch(loss, 0, 20)
    epoch(loss, 1, 21)
    torch.save(loss.state_dict(), tmp_path / "loss.pt")
    again = build_loss(name, K, N, C)
    again.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    u = draw(22, dtype=torch.float32)
    one, two = buffers(loss), buffers(again)
    assert torch.equal(loss(u, MULTI, INDEX), again(u, MULTI, INDEX))  # in mid-epoch
    loss.load_state_dict(one)
    again.load_state_dict(two)
    for a, b in zip(epoch(loss, 2, 23), epoch(again, 2, 23), strict=True):
        assert torch.equal(a, b)
    for key, value in loss.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert ("bank_codes" in one) == (name not in NO_BANK)


@pytest.mark.parametrize("name", METHODS)
def test_a_loss_does_not_touch_the_global_generator(name):
    torch.manual_seed(3)
    first = build_loss(name, K, N, C)
    drawn = torch.rand(())
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(()))
    torch.manual_seed(4)
    second = build_loss(name, K, N, C)
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


@pytest.mark.parametrize("name", ["dfh", "cnnh", "csq", "orthohash"])
def test_seed_draws_other_centres(name):
    one, two = (build_loss(name, 14, None, 9, seed=seed).state_dict() for seed in (0, 1))
    assert any(not torch.equal(value, two[key]) for key, value in one.items())


@pytest.mark.parametrize("with_bank", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_precision(name, with_bank):
    index = INDEX if with_bank else None
    for dtype in (torch.float16, torch.bfloat16):
        loss = build_loss(name, K, N if with_bank else None, C)
        u = draw(15, scale=20, dtype=torch.float32).detach().to(dtype).requires_grad_()
        value = loss(u, IDS, index)
        assert value.dtype == torch.float32
        value.backward()
        assert u.grad.dtype == dtype
        assert torch.isfinite(u.grad).all()
    loss = build_loss(name, K, N if with_bank else None, C)
    u = draw(16, scale=1e4, dtype=torch.float32)
    value = loss(u, IDS, index)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(u.grad).all()
    zero = torch.zeros(B, K, requires_grad=True)
    value = loss(zero, IDS, index)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(zero.grad).all()


@pytest.mark.parametrize("name", METHODS)
def test_one_image_and_one_class(name):
    for labels in (torch.tensor([0]), torch.tensor([[1]])):
        u = draw(17, rows=1)
        value = build_loss(name, K, N, 1).double()(u, labels, torch.tensor([3]))
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(u.grad).all()


@pytest.mark.parametrize("name", METHODS)
def test_images_without_labels(name):
    labels = MULTI.clone()
    labels[1] = 0
    u = draw(18)
    value = build_loss(name, K, N, C).double()(u, labels, INDEX)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(u.grad).all()


@pytest.mark.parametrize("name", METHODS)
def test_class_ids_and_one_hot_rows_give_the_same(name):
    one, two = build_loss(name, K, N, C).double(), build_loss(name, K, N, C).double()
    u = draw(19)
    a, b = one(u, IDS, INDEX), two(u, F.one_hot(IDS, C), INDEX)
    assert a.item() == pytest.approx(b.item(), abs=1e-12)
    a, b = (build_loss(name, K, None, C).double()(u, y) for y in (IDS, F.one_hot(IDS, C)))
    assert a.item() == pytest.approx(b.item(), abs=1e-12)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"dfh", "cnnh", "csq", "orthohash"}))
def test_batch_pairs_need_no_number_of_classes(name):
    u = draw(19)
    known = build_loss(name, K, None, 9).double()(u, IDS)
    assert build_loss(name, K).double()(u, IDS).item() == pytest.approx(known.item(), abs=1e-12)
    for ids in (IDS + 4, IDS - 5):
        assert build_loss(name, K).double()(u, ids).item() == pytest.approx(known.item(), abs=1e-12)


# -- the bank --


@pytest.mark.parametrize("name", sorted(set(METHODS) - NO_BANK))
def test_empty_rows_are_no_pairs(name):
    """A bank that holds only the batch gives the batch's value; kept empty rows change it."""
    u = draw(10)
    batch = build_loss(name, K, None, C).double()(u, IDS)
    options = {"rounds": 1} if name == "dsdh" else {}
    drop = build_loss(name, K, N, C, **options).double()(u, IDS, INDEX)
    keep = build_loss(name, K, N, C, empty_rows="keep", **options).double()(u, IDS, INDEX)
    if name != "dsdh":  # its codes b are the signs at first with a bank, and fitted at once without
        assert drop.item() == pytest.approx(batch.item(), abs=1e-12)
    assert abs(keep.item() - drop.item()) > 1e-3


def test_dsh_empty_rows_push_the_outputs_away():
    """With the usual bank, unseen rows are zero codes unlike all: ‖u‖ grows, though all are alike."""
    u, alike = draw(11, scale=0.5), torch.zeros(B, dtype=torch.int64)
    along = {}
    for rule in ("drop", "keep"):
        value = DSHLoss(K, 200, C, alpha=0, empty_rows=rule).double()(u, alike, INDEX)
        (grad,) = torch.autograd.grad(value, u)
        along[rule] = (grad * u).sum().item()  # > 0: descent shortens u
    assert along["drop"] > 0.1
    assert along["keep"] < -0.1


# -- each method's own points --


def test_hashnet_continuation():
    loss = HashNetLoss(K, beta_end=5.0, stages=4)
    assert loss.beta == 1
    beta = []
    for epoch in range(8):
        loss.start_epoch(epoch, 8)
        beta.append(loss.beta.item())
    assert beta[0] == 1
    assert beta[-1] == pytest.approx(5)
    assert beta == sorted(beta)
    assert beta[0::2] == beta[1::2]  # 4 stages of 2 epochs
    assert np.diff(np.square(beta[::2])) == pytest.approx([8, 8, 8], rel=1e-5)
    assert loss.state_dict()["beta"] == 5
    for epochs, last in ((1, 1), (2, 5), (3, 5), (5, 5)):  # a short run gets there as well
        loss.start_epoch(epochs - 1, epochs)
        assert loss.beta.item() == pytest.approx(last)
    u = draw(3)
    loss.start_epoch(0, 9)
    early = loss(u, IDS)
    loss.start_epoch(8, 9)
    assert loss(u, IDS) != early
    assert HashNetLoss(20).alpha == 0.5


def test_hashnet_weights_do_not_see_how_many_are_unlike():
    """The dissimilar pairs together weigh as much as the similar ones, however many there are."""
    u = draw(3, rows=2)
    few = HashNetLoss(K)(u, torch.tensor([0, 1]))
    many = HashNetLoss(K)(u.repeat(9, 1), torch.tensor([0, 1]).repeat(9))
    assert many.item() == pytest.approx(few.item(), abs=1e-12)
    bank = HashNetLoss(K, 30, 2).double()
    bank(u[:1].repeat(3, 1), torch.tensor([0, 0, 0]), torch.arange(3))
    one = bank(u[:1], torch.tensor([0]), torch.tensor([0])).item()
    bank(u[1:].repeat(2, 1), torch.tensor([1, 1]), torch.tensor([3, 4]))
    two = bank(u[:1], torch.tensor([0]), torch.tensor([0])).item()
    bank(u[1:].repeat(9, 1), torch.tensor([1] * 9), torch.arange(5, 14))
    assert bank(u[:1], torch.tensor([0]), torch.tensor([0])).item() == pytest.approx(two, abs=1e-12)
    assert two > one


def objective(loss, Y, U):
    """DSDH's μ‖Y − BW‖² + ν‖W‖² + η‖B − U‖²."""
    fit = loss.mu * (Y - loss.B @ loss.W).square().sum() + loss.nu * loss.W.square().sum()
    return (fit + loss.eta * (loss.B - U).square().sum()).item()


def test_dsdh_codes_and_classifier_live_across_epochs():
    labels, index, rows = torch.arange(40) % C, torch.arange(40), F.one_hot(torch.arange(40) % C, C)
    loss = DSDHLoss(K, 40, C, mu=2.0, nu=0.5, eta=0.1).double()
    u = draw(5, rows=40, scale=0.3)
    loss.start_epoch(0, 3)  # an empty bank: nothing to fit
    assert not loss.B.any()
    assert not loss.W.any()
    loss(u, labels, index)
    signs_of_u = torch.where(u.detach() >= 0, 1.0, -1.0).double()
    assert torch.equal(loss.B, signs_of_u)
    before = objective(loss, rows, u.detach())
    loss.start_epoch(1, 3)
    assert objective(loss, rows, u.detach()) < before
    assert not torch.equal(loss.B, signs_of_u)  # labels overrule small outputs
    options = {"rounds": 10, "mu": 2.0, "nu": 0.5, "eta": 0.1}
    expected, W = dcc(signs_of_u.numpy(), u.tolist(), sets(labels), options)
    np.testing.assert_array_equal(loss.B.numpy(), expected)
    np.testing.assert_allclose(loss.W.numpy(), W, atol=1e-10)
    fitted = loss.B.clone()
    value = loss(u, labels, index)
    assert torch.equal(loss.B, fitted)  # seen images keep their code until the next epoch
    value.backward()
    plain = draw(5, rows=40, scale=0.3)
    DSDHLoss(K, 40, C, mu=2.0, nu=0.5, eta=0.1).double()(plain, labels, index).backward()
    step = u.grad - plain.grad  # what the classifier adds to the gradient: η · 2(sign u − b)/(nK)
    torch.testing.assert_close(step, 0.1 * 2 * (signs_of_u - fitted) / (40 * K))
    assert step.abs().max() > 1e-4


def test_dsdh_with_the_papers_weights_is_the_sign():
    labels, index = torch.arange(40) % C, torch.arange(40)
    changed = {}
    for eta in (0.05, 55.0):
        loss = DSDHLoss(K, 40, C, mu=1.0, nu=0.1, eta=eta).double()
        u = draw(5, rows=40)
        loss(u, labels, index)
        loss.start_epoch(1, 2)
        changed[eta] = (torch.where(u >= 0, 1.0, -1.0) != loss.B).sum().item()
    assert changed[55.0] == 0 < changed[0.05]


def test_dsdh_without_a_bank_has_no_state():
    loss = DSDHLoss(K)
    loss.start_epoch(1, 2)
    assert not loss.state_dict()


def test_dfh_centres_fall_to_rest():
    loss = DFHLoss(16, None, 10).double()
    labels = torch.arange(60) % 10
    codes = draw(6, rows=60, bits=16).detach().sign()
    rows, o = F.one_hot(labels, 10), {"omega": 0.5}
    costs = [centre_cost(loss.centres.numpy(), codes.numpy(), sets(labels), o)]
    for _ in range(6):
        loss.update_centres(codes, rows)
        costs.append(centre_cost(loss.centres.numpy(), codes.numpy(), sets(labels), o))
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(costs))
    assert costs[-1] < costs[0]
    assert torch.equal(loss.centres.abs(), torch.ones(10, 16).double())
    # tight classes: their centres are their codes; pushed hard, they part even if the codes do not
    tight = class_centres(10, 16)[labels].double()
    for _ in range(5):
        loss.update_centres(tight, rows)
    assert torch.equal(loss.centres[labels], tight)
    one_place = torch.ones(60, 16).double()
    loss.omega = 2.0
    for _ in range(5):
        loss.update_centres(one_place, rows)
    assert (loss.centres @ loss.centres.T).fill_diagonal_(0).sum() < 90 * 16 / 2
    loss.omega = 0.5
    for _ in range(5):
        loss.update_centres(one_place, rows)
    assert torch.equal(loss.centres, torch.ones(10, 16).double())


def test_dfh_centres_do_not_see_empty_rows():
    drop, keep = (DFHLoss(K, N, C, empty_rows=rule).double() for rule in ("drop", "keep"))
    u = draw(6)
    drop(u, IDS, INDEX)
    keep(u, IDS, INDEX)
    assert torch.equal(drop.centres, keep.centres)
    unlabelled = DFHLoss(K, None, C).double()
    before = unlabelled.centres.clone()
    unlabelled(u, torch.zeros(B, C, dtype=torch.int64))
    assert torch.equal(unlabelled.centres, before)


@pytest.mark.parametrize("with_bank", [False, True])
def test_dbdh_with_the_piecewise_function_is_dhida(with_bank):
    """What the common port trains as DBDH is the DHIDA loss."""
    n, u = N if with_bank else None, draw(7)
    port = DBDHLoss(K, n, C, alpha=0.1, activation="piecewise").double()(u, MULTI, INDEX)
    assert port == DHIDALoss(K, n, C, gamma=0.1).double()(u, MULTI, INDEX)


def test_idhn_soft_pairs_are_best_at_their_similarity():
    """Agreement (t + K)/2K equals s at the minimum; with the port's scale it would not."""
    labels = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]])
    agreement = torch.linspace(0.02, 0.98, 97).double()
    costs = []
    for a in agreement:
        v = torch.stack([torch.full((K,), 1 - 1e-9, dtype=torch.float64), (2 * a - 1).expand(K)])
        u = v / (1 - v.abs())  # softsign(u) = v
        with_soft, without = (IDHNLoss(K, gamma=g, lam=0)(u, labels).item() for g in (1.0, 0.0))
        costs.append(with_soft - without)
    assert agreement[int(np.argmin(costs))].item() == pytest.approx(1 / math.sqrt(2), abs=0.01)


def test_idhn_counts_labels_to_find_hard_pairs():
    """Two sets of 51 and 50 labels have a cosine of 0.99 and are a soft pair all the same."""
    labels = torch.ones(2, 51, dtype=torch.int64)
    labels[1, 0] = 0
    u = draw(7, rows=2)
    assert IDHNLoss(K, gamma=1.0)(u, labels) != IDHNLoss(K, gamma=2.0)(u, labels)
    assert IDHNLoss(K, gamma=1.0)(u, labels[[0, 0]]) == IDHNLoss(K, gamma=2.0)(u, labels[[0, 0]])


def test_dtsh_without_triplets_only_quantizes():
    u = draw(7)
    for labels in (torch.zeros(B, dtype=torch.int64), torch.arange(B), torch.zeros(B, C, dtype=torch.int64)):
        value = DTSHLoss(K)(u, labels)
        assert value.item() == pytest.approx(off_signs(u.tolist()), rel=1e-12)


@pytest.mark.parametrize("classes, bits", [(2, 4), (4, 5), (10, 16), (21, 32), (38, 48)])
def test_cnnh_stage_one_is_at_rest(classes, bits):
    """No single bit lowers ‖S − HHᵀ/K‖², and the codes are far apart."""
    H = CNNHLoss(bits, None, classes).class_codes.numpy()
    S = 2 * np.eye(classes) - 1

    def cost(h):
        return ((bits * S - h @ h.T) ** 2).sum()

    rest = cost(H)
    for c, k in itertools.product(range(classes), range(bits)):
        H[c, k] *= -1
        assert cost(H) >= rest
        H[c, k] *= -1
    distance = (bits - H @ H.T) / 2
    assert distance[~np.eye(classes, dtype=bool)].min() >= bits // 4


def test_cnnh_codes_follow_the_labels_not_the_order():
    loss = CNNHLoss(16, None, C)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    for labels in (IDS, MULTI):
        assert torch.equal(loss.targets(labels)[order], loss.targets(labels[order]))
    assert torch.equal(loss.targets(IDS), loss.class_codes[IDS])
    assert torch.equal(loss.targets(F.one_hot(IDS, C)), loss.class_codes[IDS])
    h = loss.targets(torch.tensor([[1, 1, 0, 0]]))[0]
    near, far = (loss.class_codes[:2] @ h).min(), (loss.class_codes[2:] @ h).max()
    assert near > far


def test_hadamard():
    reached = {1, 2, 4, 8, 12, 16, 20, 24, 32, 40, 44, 48, 60, 64}
    for n in reached:
        H = hadamard(n)
        assert torch.equal(H @ H.T, n * torch.eye(n))
        assert torch.equal(H[0], torch.ones(n))
    for n in set(range(1, 65)) - reached:
        with pytest.raises(ValueError, match=f"`n` must be 1, 2, or a multiple of 4 .*got {n}"):
            hadamard(n)
    sylvester = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    assert torch.equal(hadamard(4), sylvester)


@pytest.mark.parametrize(
    "classes, bits, kind, least",
    [
        (10, 16, "hadamard", 8), (32, 16, "hadamard", 8), (10, 48, "hadamard", 24),
        (96, 48, "hadamard", 24), (100, 64, "hadamard", 32), (33, 16, "hadamard", 4),
        (100, 16, "hadamard", 4), (100, 48, "hadamard", 13),
        (10, 28, "hadamard", 8), (10, 16, "bernoulli", 5), (4, 4, "bernoulli", 2), (6, 4, "bernoulli", 2),
        (4, 7, "bernoulli", 2), (1, 1, "bernoulli", 0),
    ],
)  # fmt: skip
def test_class_centres(classes, bits, kind, least):
    centres = class_centres(classes, bits, kind)
    assert centres.shape == (classes, bits)
    assert torch.equal(centres.abs(), torch.ones(classes, bits))
    distance = (bits - centres @ centres.T) / 2
    if classes > 1:
        assert distance[~torch.eye(classes, dtype=torch.bool)].min() >= least
    if kind == "bernoulli" or classes > 2 * bits:
        assert set(centres.sum(1).tolist()) == {-(bits % 2)}
        assert not torch.equal(centres, class_centres(classes, bits, kind, seed=1)) or bits < 3
    assert torch.equal(centres, class_centres(classes, bits, kind))


def test_csq_targets():
    loss = CSQLoss(48, None, 10)  # no power of two
    assert torch.equal(loss.targets(IDS), loss.centres[IDS])
    three, two = torch.zeros(1, 10, dtype=torch.int64), torch.zeros(1, 10, dtype=torch.int64)
    three[0, [1, 4, 7]] = 1
    assert torch.equal(loss.targets(three)[0], loss.centres[[1, 4, 7]].sum(0).sign())
    two[0, [1, 4]] = 1
    agree = loss.centres[1] == loss.centres[4]
    assert 0 < agree.sum() < 48
    assert torch.equal(loss.targets(two)[0, agree], loss.centres[1, agree])
    assert torch.equal(loss.targets(two)[0, ~agree], loss.ties[~agree])
    assert torch.equal(loss.targets(0 * two)[0], loss.ties)


def test_orthohash_sees_only_angles():
    loss = OrthoHashLoss(16, None, C).double()
    u = draw(3, bits=16)
    assert loss(5 * u, IDS).item() == pytest.approx(loss(u, IDS).item(), abs=1e-12)
    assert loss(loss.centres[IDS], IDS) < 0.1 * loss(-loss.centres[IDS], IDS)
    assert torch.equal(OrthoHashLoss(16, None, C, centres="hadamard").centres, hadamard(16)[:C])
    assert not torch.equal(loss.centres.float(), hadamard(16)[:C])


# -- errors --


@pytest.mark.parametrize("seed", ["1", None, -1, 1.0, True, [1], 2**32, 10**400], ids=range(8))
@pytest.mark.parametrize("name", ["cnnh", "csq", "dfh", "orthohash"])
def test_a_seed_is_a_number(name, seed):
    with pytest.raises(ValueError, match=r"^`seed` must be an integer"):
        build_loss(name, 16, None, 4, seed=seed)
    with pytest.raises(ValueError, match=r"^`seed` must be an integer"):
        class_centres(4, 16, seed=seed)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: build_loss("dsh", K, margin=0), r"`margin` must be a number > 0"),
        (lambda: build_loss("dsh", K, alpha=-1), r"`alpha` must be a number ≥ 0"),
        (lambda: build_loss("dsh", K, gamma=1), r"`options` must be among those of 'dsh' \(margin, alpha"),
        (lambda: build_loss("dhn", K, alpha=-1), r"`alpha` must be a number ≥ 0"),
        (lambda: build_loss("hashnet", K, alpha=0), r"`alpha` must be a number > 0"),
        (lambda: build_loss("hashnet", K, beta_end=0.5), r"`beta_end` must be a number ≥ 1.*got 0.5"),
        (lambda: build_loss("hashnet", K, stages=0), r"`stages` must be a positive integer"),
        (lambda: build_loss("hashnet", K).start_epoch(3, 3), r"`epoch` must be within 0 … 2, but got 3"),
        (lambda: build_loss("hashnet", K).start_epoch(-1, 3), r"`epoch` must be within 0 … 2, but got -1"),
        (lambda: build_loss("hashnet", K).start_epoch(0, 0), r"`epochs` must be a positive integer"),
        (lambda: build_loss("dsdh", K, mu=0), r"`mu` must be a number > 0"),
        (lambda: build_loss("dsdh", K, nu=0), r"`nu` must be a number > 0"),
        (lambda: build_loss("dsdh", K, eta=0), r"`eta` must be a number > 0"),
        (lambda: build_loss("dsdh", K, rounds=0), r"`rounds` must be a positive integer"),
        (lambda: build_loss("dfh", K), r"`num_classes` must be given: every class has a centre"),
        (lambda: build_loss("dfh", K, None, C, margin=-1), r"`margin` must be a number ≥ 0"),
        (lambda: build_loss("dfh", K, None, C, mu=-1), r"`mu` must be a number ≥ 0"),
        (lambda: build_loss("dfh", K, None, C, eta=-1), r"`eta` must be a number ≥ 0"),
        (lambda: build_loss("dfh", K, None, C, omega=-1), r"`omega` must be a number ≥ 0"),
        (lambda: build_loss("dbdh", K, alpha=-1), r"`alpha` must be a number ≥ 0"),
        (lambda: build_loss("dbdh", K, activation="tanh"), r"`activation` must be one of 'sign', 'piece"),
        (lambda: build_loss("idhn", K, alpha=0), r"`alpha` must be a number > 0"),
        (lambda: build_loss("idhn", K, gamma=-1), r"`gamma` must be a number ≥ 0"),
        (lambda: build_loss("idhn", K, lam=-1), r"`lam` must be a number ≥ 0"),
        (lambda: build_loss("lcdsh", K, lam=-1), r"`lam` must be a number ≥ 0"),
        (lambda: build_loss("dpsh", K, eta=-1), r"`eta` must be a number ≥ 0"),
        (lambda: build_loss("dtsh", K, alpha=-1), r"`alpha` must be a number ≥ 0"),
        (lambda: build_loss("dtsh", K, lam=-1), r"`lam` must be a number ≥ 0"),
        (lambda: build_loss("cnnh", K), r"`num_classes` must be given: stage one finds a code"),
        (lambda: build_loss("csq", K), r"`num_classes` must be given: every class has a centre"),
        (lambda: build_loss("csq", K, None, C, lam=-1), r"`lam` must be a number ≥ 0"),
        (lambda: build_loss("csq", 4, None, 9), r"`bits` must be enough for 9 different class .*got 4"),
        (lambda: build_loss("orthohash", K), r"`num_classes` must be given: every class has a centre"),
        (lambda: build_loss("orthohash", K, None, C, scale=0), r"`scale` must be a number > 0"),
        (lambda: build_loss("orthohash", K, None, C, margin=-1), r"`margin` must be a number ≥ 0"),
        (lambda: build_loss("orthohash", K, None, C, centres="x"), r"`centres` must be one of 'bernoulli'"),
        (lambda: class_centres(0, 4), r"`classes` must be a positive integer"),
        (lambda: class_centres(4, 0), r"`bits` must be a positive integer"),
        (lambda: class_centres(4, 4, "random"), r"`kind` must be one of 'hadamard', 'bernoulli'"),
        (lambda: hadamard(0), r"`n` must be a positive integer"),
    ],
)  # fmt: skip
def test_errors_of_construction(call, match):
    with pytest.raises(ValueError, match=match):
        call()


WRONG = [
    ([[0.0] * K] * B, IDS, INDEX, r"`u` must be a floating point tensor"),
    (torch.ones(B, K, dtype=torch.int64), IDS, INDEX, r"`u` must be a floating point tensor"),
    (torch.ones(B, K + 1), IDS, INDEX, r"`u` must be B×bits"),
    (torch.ones(K), IDS, INDEX, r"`u` must be B×bits"),
    (torch.ones(0, K), IDS[:0], INDEX[:0], r"`u` must be B×bits"),
    (torch.ones(B, K), IDS[:3], INDEX, r"`labels` must be one for each of the 6 rows"),
    (torch.ones(B, K), IDS.double(), INDEX, r"`labels` must be class ids \(n,\) or"),
    (torch.ones(B, K), 2 * MULTI, INDEX, r"`labels` must be class ids \(n,\) or"),
    (torch.ones(B, K), MULTI[:, :3], INDEX, r"`labels` must be multi-hot .* = 4"),
    (torch.ones(B, K), IDS + 1, INDEX, r"`labels` must be class ids 0 … 3"),
    (torch.ones(B, K), IDS - 1, INDEX, r"`labels` must be class ids 0 … 3"),
]
WRONG_INDEX = [
    (None, r"`index` must be the images' places"),
    (INDEX[:4], r"`index` must be 6 integers"),
    (INDEX.double(), r"`index` must be 6 integers"),
    (INDEX + 1, r"`index` must be within 0 … 10"),
    (INDEX - 1, r"`index` must be within 0 … 10"),
]


@pytest.mark.parametrize("name", METHODS)
def test_errors_of_a_call(name):
    """Every method refuses a wrong batch in the same words, and a refused batch changes nothing."""
    loss = build_loss(name, K, N, C)
    before = buffers(loss)
    for u, labels, index, match in WRONG:
        with pytest.raises(ValueError, match=match):
            loss(u, labels, index)
    if name not in NO_BANK:
        for index, match in WRONG_INDEX:
            with pytest.raises(ValueError, match=match):
                loss(torch.ones(B, K), IDS, index)
    else:
        assert torch.isfinite(loss(torch.ones(B, K), IDS))  # no bank: no index needed
    assert all(torch.equal(value, before[key]) for key, value in loss.state_dict().items())


# -- runs, end to end --


@pytest.fixture
def few_images(monkeypatch):
    """60 training images, 20 queries, 60 images to search."""
    data = runs.load_dataset("fashion-mini")
    small = replace(
        data, train=data.train.take(60), query=data.query.take(20), database=data.database.take(60)
    )
    monkeypatch.setattr(runs, "load_dataset", lambda *args, **kwargs: small)
    return small


TINY = runs.RunConfig().change(
    dataset="fashion-mini", backbone="narrow-resnet", weights=None, attention="none", width=4, bits=8
)


class Kill(Callback):
    def on_batch(self, epoch, batch, batches, loss):
        if (epoch, batch) == (2, 2):
            raise KeyboardInterrupt


@pytest.mark.parametrize("pairs", ["bank", "batch"])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_trains_and_measures(method, pairs, few_images):
    config = TINY.change(method=method, pairs=pairs, epochs=1, batch_size=30, lr=1e-3)
    before = runs.build(config)[1].state_dict()
    model, record = runs.run(config)
    assert any(
        not torch.equal(value, before[key]) for key, value in model.state_dict().items() if "num" not in key
    )
    assert math.isfinite(record.history[0]["loss"])
    assert 0 < record.metrics["map"] <= 1
    assert record.config["loss"]["method"] == method


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_resumes_exactly(method, few_images, tmp_path):
    config = TINY.change(method=method, epochs=3, batch_size=20, lr=1e-3)
    whole, record = runs.run(config)
    with pytest.raises(KeyboardInterrupt):
        runs.run(config, folder=tmp_path, callbacks=[Kill()])
    again, resumed = runs.run(config, folder=tmp_path)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert [row["loss"] for row in record.history] == [row["loss"] for row in resumed.history]
    assert record.metrics == resumed.metrics
