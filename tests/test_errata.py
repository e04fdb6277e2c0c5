"""Errors of the paper that a calculation shows: each entry of book/errata.md that no other test covers."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dhida_lib
from dhida_lib import DHIDALoss, HashNetwork, PositionAttention, data, metrics
from dhida_lib.backbones import AlexNet

ROOT = Path(__file__).resolve().parents[1]
BITS = (16, 32, 48, 64)
DATASETS = ("CIFAR-10", "NUS-WIDE", "ImageNet-100")
B, K, D = 5, 3, 7  # images, bits, features


def paper(name: str) -> list[dict[str, str]]:
    with open(ROOT / "data" / "paper" / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


TABLE_3 = {(r["method"], r["dataset"], int(r["bits"])): 100 * float(r["map"]) for r in paper("table3.csv")}
TABLE_4 = {r["model"]: 100 * float(r["map"]) for r in paper("table4.csv")}
RIVALS = sorted({method for method, _, _ in TABLE_3} - {"DHIDA"})


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def gain(dataset: str, rival: str) -> float:
    """Points that DHIDA is above a method, mean over the four lengths."""
    return mean(TABLE_3["DHIDA", dataset, b] - TABLE_3[rival, dataset, b] for b in BITS)


def best(dataset: str, bits: int) -> str:
    return max(RIVALS, key=lambda method: TABLE_3[method, dataset, bits])


# ---- §4.3 and §4.4 against Tables 3 and 4 ------------------------------------------------------------------


def test_gain_over_the_best_rival():
    """§4.3: +2.4, +0.8 and +18.9 "compared with the highest mAP results". The third is the gain over DBDH."""
    over_best = {d: mean(TABLE_3["DHIDA", d, b] - TABLE_3[best(d, b), d, b] for b in BITS) for d in DATASETS}
    assert over_best["CIFAR-10"] == pytest.approx(2.4, abs=0.05)
    assert over_best["NUS-WIDE"] == pytest.approx(0.8, abs=0.05)
    assert over_best["ImageNet-100"] == pytest.approx(11.1, abs=0.05)
    assert [best("ImageNet-100", b) for b in BITS] == ["DHN", "DHN", "DBDH", "DBDH"]
    assert gain("ImageNet-100", "DBDH") == pytest.approx(18.9, abs=0.05)
    # "the best rival" as one method for all lengths is no way to 18.9 either
    whole = min(RIVALS, key=lambda method: gain("ImageNet-100", method))
    assert (whole, round(gain("ImageNet-100", whole), 1)) == ("DHN", 14.9)


def test_dbdh_is_not_the_best_rival_everywhere():
    exceptions = {(d, b): best(d, b) for d in DATASETS for b in BITS if best(d, b) != "DBDH"}
    want = {("NUS-WIDE", 32): "DSDH", ("ImageNet-100", 16): "DHN", ("ImageNet-100", 32): "DHN"}
    assert exceptions == want


def test_gain_over_hashnet():
    """§4.3: +6.8, +3.6, +18.1. The second rounds to 3.7."""
    assert [round(gain(d, "HashNet"), 1) for d in DATASETS] == [6.8, 3.7, 18.1]
    assert gain("NUS-WIDE", "HashNet") == pytest.approx(3.68)


def test_table_4_and_its_prose():
    """§4.4: +4.0 for f, +3.7 for ResNet18, +0.6 for DANet, +2.0 for IDA (the last two over DHIDA-R)."""
    steps = {
        "f": TABLE_4["DHIDA-I"] - TABLE_4["DHIDA-A"],
        "ResNet18": TABLE_4["DHIDA-R"] - TABLE_4["DHIDA-I"],
        "DANet": TABLE_4["DHIDA-D"] - TABLE_4["DHIDA-R"],
        "IDA": TABLE_4["DHIDA"] - TABLE_4["DHIDA-R"],
        "IDA over DANet": TABLE_4["DHIDA"] - TABLE_4["DHIDA-D"],
    }
    want = {"f": 4.01, "ResNet18": 3.80, "DANet": 0.55, "IDA": 1.92, "IDA over DANet": 1.37}
    assert steps == pytest.approx(want, abs=1e-9)


def test_dhida_without_attention_has_the_number_of_dbdh():
    assert TABLE_4["DHIDA-R"] == TABLE_3["DBDH", "CIFAR-10", 16] == pytest.approx(80.21)
    assert TABLE_4["DHIDA"] == TABLE_3["DHIDA", "CIFAR-10", 16]


def test_the_rest_of_cifar_10_is_one_of_two_databases():
    """§4.1: "the rest of the images serve as the database": without the queries only, or without both."""
    rest = 60_000 - 1_000 - 5_000
    literal, wide = (data.DATASETS["cifar10"].protocol(name) for name in ("cifar10", "cifar10-1"))
    assert literal.database_includes_train is False
    assert wide.database_includes_train is True
    assert (rest, rest + 5_000) == (54_000, 59_000)


# ---- formulas ----------------------------------------------------------------------------------------------


def test_f_is_hardtanh():
    u = torch.linspace(-3, 3, 61, dtype=torch.float64)
    assert torch.equal(dhida_lib.piecewise(u), F.hardtanh(u))


def test_a_larger_weight_means_a_smaller_product():
    """After Eq. 4: "the larger the P_ij, the higher the correlation". With −M in the exponent it falls."""
    torch.manual_seed(0)
    branch, A = PositionAttention(6).double(), torch.randn(2, 6, 3, 4, dtype=torch.float64)
    M = torch.bmm(branch.query(A).flatten(2).transpose(1, 2), branch.key(A).flatten(2))  # [b, i, j]
    P = branch.attention_map(A)  # [b, j, i]
    falling = M.transpose(1, 2).argsort(dim=2, descending=True)
    assert torch.equal(P.argsort(dim=2), falling)


def test_product_of_d_and_p():
    """§3.3.1 multiplies "the transpose of P with D": D is C×N, so the product that fits is D·Pᵀ."""
    C, N = 2, 5
    D_map, P = torch.randn(C, N), torch.rand(N, N)
    with pytest.raises(RuntimeError):
        P.T @ D_map
    by_sums = torch.stack([sum(P[j, i] * D_map[:, i] for i in range(N)) for j in range(N)], dim=1)
    torch.testing.assert_close(D_map @ P.T, by_sums)


def test_distance_as_printed():
    """§3.4: with ⟨h, h'⟩ = ½hᵀh' inside ½(K − ⟨h, h'⟩) a code lies at distance K/4 from itself."""
    h = torch.tensor([[1.0, -1, 1, 1, -1, -1, 1, -1]])  # K = 8
    assert 0.5 * (8 - 0.5 * (h @ h.T)).item() == 8 / 4
    assert 0.5 * (8 - (h @ h.T)).item() == metrics.hamming_distance(h, h).item() == 0


def test_eq_9_counts_every_prior_for_each_pair():
    """The sum over all n² pairs of log p(h_i) + log p(h_j) holds each prior 2n times, not once."""
    prior = torch.randn(4, dtype=torch.float64)  # log p(h_i), n = 4
    in_pairs = sum(prior[i] + prior[j] for i in range(4) for j in range(4))
    torch.testing.assert_close(in_pairs, 8 * prior.sum())


def test_eq_12_to_the_letter_pulls_outputs_to_zero():
    """The n-th element of u_i is one number; its mean is itself, so L2 would be |u_i|²."""
    u = torch.tensor([0.9, -0.8, 0.7], requires_grad=True)
    literal = sum(u[n].mean().abs() ** 2 for n in range(3))
    torch.testing.assert_close(literal, u.square().sum())
    (gradient,) = torch.autograd.grad(literal, u)
    assert (gradient * u > 0).all(), "a step against the gradient moves every output towards 0"
    # both readings of the library leave a perfectly balanced batch alone
    codes = torch.tensor([[1.0, -1], [-1, 1]])
    for balance in ("code", "bit"):
        assert DHIDALoss(2, balance=balance).terms(codes, torch.tensor([0, 1]))[1] == 0


def test_eq_14_shapes():
    """Printed: Wᵀ is 4096×K. Then Wᵀψ does not fit, and 4096 is AlexNet's width."""
    network = HashNetwork("resnet18", "none", bits=K)
    assert network.hash_layer.weight.shape == (K, 512)  # Wᵀ as nn.Linear stores it
    assert AlexNet.feature_dim == 4096
    with pytest.raises(RuntimeError):
        torch.zeros(4096, K) @ torch.zeros(4096)


def test_table_1_has_54_where_56_belongs():
    image = torch.zeros(1, 1, 112, 112)
    assert nn.MaxPool2d(3, 2, 1)(image).shape[2] == 56
    assert nn.MaxPool2d(3, 2, 0)(image).shape[2] == 55  # no padding gives no 54 either
    positive = torch.rand(1, 2, 8, 8)
    assert torch.equal(nn.MaxPool2d(3, 2, 1)(positive).relu(), nn.MaxPool2d(3, 2, 1)(positive))
    four = nn.Sequential(*(nn.MaxPool2d(3, 2, 1) for _ in range(4)))
    assert four(torch.zeros(1, 1, 56, 56)).shape[2] == 4  # s = 2 four times: no 28


def test_letters_of_section_4_2():
    """§4.2 calls p the kernel, s the stride and k the padding; row Conv1 then gives no 112."""
    image = torch.zeros(1, 3, 224, 224)
    assert nn.Conv2d(3, 1, kernel_size=7, stride=2, padding=3)(image).shape[2] == 112
    assert nn.Conv2d(3, 1, kernel_size=3, stride=2, padding=7)(image).shape[2] != 112


# ---- gradients ---------------------------------------------------------------------------------------------


def likelihood(u: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """L1 of Eq. 11 as a sum over all pairs, with θ = ½uᵀu'."""
    theta = 0.5 * u @ u.T
    return (F.softplus(theta) - s * theta).sum()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    y = torch.tensor([0, 1, 0, 2, 1])
    return torch.randn(B, K, dtype=torch.float64, requires_grad=True), (y[:, None] == y).double()


def test_eq_16_needs_its_bracket_and_its_sum():
    """½Σ_j (a_ij − s_ij)u_j + ½Σ_j (a_ji − s_ji)u_j is the gradient; a_ij − s_ij u_j as printed is not."""
    u, s = batch()
    (gradient,) = torch.autograd.grad(likelihood(u, s), u)
    v = u.detach()
    a = torch.sigmoid(0.5 * v @ v.T)
    torch.testing.assert_close(0.5 * (a - s) @ v + 0.5 * (a - s).T @ v, gradient, atol=1e-12, rtol=0)
    printed = 0.5 * (a.sum(1, keepdim=True) - s @ v) + 0.5 * (a.T.sum(1, keepdim=True) - s.T @ v)
    assert (printed - gradient).abs().max() > 0.1
    over_all = 0.5 * ((a - s) @ v).sum(0) + 0.5 * ((a - s).T @ v).sum(0)  # Σ over all of S: same for every i
    assert (over_all - gradient).abs().max() > 0.1


@pytest.mark.parametrize("reading", ["code", "bit"])
def test_balance_term_of_eq_16(reading):
    """Printed: 2γ mean(u). The gradient of L2 has 1/K (code) or 1/n (bit) besides, and no sum over bits."""
    u, _ = batch()
    L2 = u.mean(dim=1 if reading == "code" else 0).square().sum()  # Σ over images, or Σ over bits
    (gradient,) = torch.autograd.grad(L2, u)
    v = u.detach()
    means = v.mean(1, keepdim=True) / K if reading == "code" else v.mean(0, keepdim=True) / B
    torch.testing.assert_close(gradient, 2 * means.expand(B, K), atol=1e-12, rtol=0)


def test_eq_17_to_19_need_a_sum_over_the_images():
    """Those of W (d×K) and b are sums over i of what is printed; that of ψ_i (Eq. 19) is as printed."""
    torch.manual_seed(1)
    W, b = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((D, K), (K,)))
    psi = torch.randn(B, D, dtype=torch.float64, requires_grad=True)
    _, s = batch()
    u = psi @ W + b  # Eq. 14, row by row
    loss = likelihood(u, s)
    by_u, by_W, by_b, by_psi = torch.autograd.grad(loss, (u, W, b, psi))
    one = [torch.outer(psi[i].detach(), by_u[i]) for i in range(B)]  # Eq. 17 for image i, d×K
    torch.testing.assert_close(sum(one), by_W, atol=1e-12, rtol=0)
    torch.testing.assert_close(by_u.sum(0), by_b, atol=1e-12, rtol=0)
    torch.testing.assert_close(by_u @ W.detach().T, by_psi, atol=1e-12, rtol=0)  # W ∂L/∂u_i in each row
    assert (one[0] - by_W).abs().max() > 0.1
    assert (by_u[0] - by_b).abs().max() > 0.1


def test_f_stops_the_gradient_beyond_one():
    """Eq. 16 holds for f(u); by u it has the factor f'(u), which is 0 where |u| > 1."""
    u, s = batch()
    v = dhida_lib.piecewise(u)
    (by_u,) = torch.autograd.grad(likelihood(v, s), u)
    inner = v.detach().requires_grad_()
    (by_v,) = torch.autograd.grad(likelihood(inner, s), inner)
    inside = u.detach().abs() < 1
    assert 0 < inside.sum() < inside.numel()
    torch.testing.assert_close(by_u, by_v * inside, atol=1e-12, rtol=0)


# ---- the page ----------------------------------------------------------------------------------------------


def test_the_page_names_tests_that_exist():
    text = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`tests/(test_\w+\.py)(?:::(test_\w+))?`", text))
    assert named
    for file, test in sorted(named):
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert not test or re.search(rf"^def {test}\(", source, re.M), f"{file}::{test}"


def test_the_page_uses_every_test_of_this_file():
    text = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
    own = re.findall(r"^def (test_\w+)\(", Path(__file__).read_text(encoding="utf-8"), re.M)
    assert [t for t in own if not t.startswith("test_the_page") and t not in text] == []
