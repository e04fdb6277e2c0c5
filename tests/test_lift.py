"""Notebook = library: a chapter's own class or function and the library's give equal outputs and gradients.

`lift` takes a name out of a notebook's source and executes its definition and what this needs, nothing else:
imports, functions, classes and assigned constants of the cells before, as far as they are used. So no data
are loaded and no figure is drawn. The comparisons use random inputs whose dimensions all differ.
"""

from __future__ import annotations

import ast
import builtins
import copy
import math
import symtable
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import dhida_lib
from dhida_lib import (
    attention,
    backbones,
    experiments,
    losses,
    metrics,
    models,
    quantization,
    search,
    training,
    unsupervised,
)
from dhida_lib.data.fashion import FASHION_MEAN, FASHION_STD
from dhida_lib.data.files import read_image
from dhida_lib.data.protocols import Protocol, split_rows
from dhida_lib.records import Record
from dhida_lib.search.photos import Encoder
from dhida_lib.training import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import notebooks  # noqa: E402

HOUSE = notebooks.House.at(ROOT)
CHAPTERS = {c.number: c for c in (notebooks.Chapter.read(p, HOUSE) for p in HOUSE.notebooks()) if c.number}
SECTION = "The library's version"
NO_PAIR: dict[
    int, str
] = {  # chapter → why its section "The library's version" compares nothing that can be lifted
    18: "its pieces read files: they have a test of their own, test_pair_of_chapter_18",
}


# ---- lifting -----------------------------------------------------------------------------------------------

DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign)


def binds(node: ast.stmt) -> set[str]:
    """The names that a statement of a cell's top level defines."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    names = (n for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
    return {n.id for n in names if isinstance(n.ctx, ast.Store)}  # `a.b = 1` does not define a


def loads(node: ast.stmt) -> set[str]:
    """The names that a statement takes from its surroundings, now or when it is called."""
    found: set[str] = set()
    tables = [symtable.symtable(ast.unparse(node), "cell", "exec")]
    while tables:
        table = tables.pop()
        outermost = table.get_type() == "module"
        found |= {
            s.get_name() for s in table.get_symbols() if s.is_referenced() and (outermost or s.is_global())
        }
        tables += table.get_children()
    return found


def lift(number: int, name: str) -> Any:
    """A class or function of a chapter, as its last definition outside exercises stands in the notebook."""
    chapter = CHAPTERS[number]
    hidden = {"setup", "exercise", "solution"}
    statements = [
        node
        for cell in chapter.cells
        if cell.is_code and not hidden & set(cell.tags)
        for node in cell.tree.body
        if isinstance(node, DEFINITIONS)
    ]
    kinds = (ast.FunctionDef, ast.ClassDef)
    at = max((i for i, n in enumerate(statements) if isinstance(n, kinds) and n.name == name), default=None)
    if at is None:
        raise LookupError(f"{chapter.path.name} defines no function or class {name}")
    chosen, open_names = {at}, [(at, used) for used in loads(statements[at])]
    while open_names:
        place, used = open_names.pop()
        before = [i for i in range(place) if used in binds(statements[i])]
        if before and before[-1] not in chosen and not hasattr(builtins, used):
            node = statements[before[-1]]
            if isinstance(node, ast.Assign) and not constant(node.value):
                continue  # a variable that a cell computes; if it is truly needed, the call will say so
            chosen.add(before[-1])
            open_names += [(before[-1], more) for more in loads(node)]
    names: dict[str, Any] = {"__name__": f"chapter{number:02d}"}
    body = [statements[i] for i in sorted(chosen)]
    exec(compile(ast.Module(body, []), str(chapter.path), "exec"), names)
    return names[name]


def constant(value: ast.expr) -> bool:
    """Is it a literal such as 4, -1.5, "a" or (1, 2)?"""
    try:
        ast.literal_eval(value)
    except ValueError:
        return False
    return True


# ---- comparing ---------------------------------------------------------------------------------------------


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_gradients(
    call: Callable[[Tensor], Tensor], x: Tensor, module: nn.Module | None = None
) -> list[Tensor]:
    """The output for x, and the gradients of a sum that tells all its elements apart."""
    x = x.clone().requires_grad_()
    out = call(x)
    weights = torch.arange(1, out.numel() + 1, dtype=out.dtype).view_as(out).cos()
    wanted = [x, *(module.parameters() if module is not None else ())]
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), wanted)]


def same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)


def same_function(ours: Callable, theirs: Callable, *inputs: Tensor) -> None:
    for x in inputs:
        same(with_gradients(ours, x), with_gradients(theirs, x))


def same_module(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    """Same weights by name; then outputs and the gradients of input and weights, in both modes."""
    ours, theirs = ours.double(), theirs.double()
    for i, parameter in enumerate(ours.parameters()):
        nn.init.normal_(parameter, std=0.4, generator=torch.Generator().manual_seed(i))
    theirs.load_state_dict(ours.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    for mode in (True, False):
        same(
            with_gradients(ours.train(mode), x, ours),
            with_gradients(theirs.train(mode), x, theirs),
        )


def codes(n: int, bits: int, seed: int) -> Tensor:
    return torch.randint(0, 2, (n, bits), generator=torch.Generator().manual_seed(seed)).double() * 2 - 1


def retrieval() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """7 queries, 23 items, 5 bits, 3 classes."""
    g = torch.Generator().manual_seed(9)
    labels = torch.randint(0, 3, (7,), generator=g), torch.randint(0, 3, (23,), generator=g)
    return codes(7, 5, 1), codes(23, 5, 2), *labels


# ---- the pairs: (chapter, its name, the library's name) → how they are compared ----------------------------

PAIRS: dict[tuple[int, str, str], Callable[[Any], None]] = {}


def pair(number: int, name: str, library: str) -> Callable[[Callable], Callable]:
    """Enter a comparison into the list: it gets the chapter's piece."""

    def enter(compare: Callable[[Any], None]) -> Callable[[Any], None]:
        PAIRS[number, name, library] = compare
        return compare

    return enter


def skewed(n: int, seed: int) -> Tensor:
    """n×11 features that are correlated and not centred."""
    return rand(n, 11, seed=seed) @ rand(11, 11, seed=99) + 5


def same_hash(W: Tensor, theirs: Any) -> None:
    """The library's fitted method has these directions (d×K) and gives the same codes for new rows."""
    same([W], [theirs.projection_])
    signs = lift(1, "signs")
    centred = skewed(23, 2) - skewed(90, 1).mean(0)
    assert torch.equal(signs(centred @ W).float(), theirs.encode(skewed(23, 2)))


@pair(1, "random_planes", "unsupervised.RandomHyperplanes")
def _(random_planes):
    same_hash(random_planes(11, 4, seed=3), unsupervised.RandomHyperplanes(4, seed=3).fit(skewed(90, 1)))


@pair(1, "principal_directions", "unsupervised.PCAHash")
def _(principal_directions):
    same_hash(principal_directions(skewed(90, 1), 4)[0], unsupervised.PCAHash(4).fit(skewed(90, 1)))


@pair(1, "itq_rotation", "unsupervised.ITQ")
def _(itq_rotation):
    F = skewed(90, 1)
    W, _ = lift(1, "principal_directions")(F, 4)
    turn, errors = itq_rotation((F - F.mean(0)) @ W, iterations=20, seed=3)
    theirs = unsupervised.ITQ(4, iterations=20, seed=3).fit(F)
    same_hash(W @ turn, theirs)
    torch.testing.assert_close(errors, theirs.errors_)


@pair(2, "deal", "data.protocols.split_rows")
def _(deal):
    labels = np.repeat([0, 1, 2], [11, 7, 23])
    mix, order = lift(2, "mix"), lift(2, "seeded_order")(len(labels), 5)
    theirs = split_rows(labels, Protocol("own", 2, 3, False, None, "A split of our own."), seed=5)
    for part, rows in deal(labels, 2, 3, seed=5).items():
        assert mix(rows, order).tolist() == theirs[part].tolist(), part


@pair(2, "same_class", "similarity")
def _(same_class):
    a, b = np.arange(7) % 3, np.arange(11) % 4
    assert (same_class(a, b) == dhida_lib.similarity(a, b).numpy()).all()


@pair(2, "shares_label", "similarity")
def _(shares_label):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (7, 5)), rng.integers(0, 2, (11, 5))
    assert (shares_label(a, b) == dhida_lib.similarity(a, b).numpy()).all()


@pair(3, "ap_at_k", "metrics.average_precision")
def _(ap_at_k):
    q, d, q_labels, d_labels = retrieval()
    rank = metrics.hamming_distance(q, d).argsort(dim=1, stable=True)
    relevance = (q_labels[:, None] == d_labels).long().gather(1, rank)
    for k in (1, 4, None):
        ours = torch.tensor([ap_at_k(row, k) for row in relevance], dtype=torch.float64)
        same([ours], [metrics.average_precision(q, d, q_labels, d_labels, k=k, ties="stable")])


@pair(3, "expected_ap", "metrics.average_precision")
def _(expected_ap):
    case = retrieval()
    c, p = metrics.ranking_histograms(*case)
    ours = [expected_ap(*row) for row in zip(c.tolist(), p.tolist(), strict=True)]
    same([torch.tensor(ours, dtype=torch.float64)], [metrics.average_precision(*case)])


@pair(3, "ball_curve", "metrics.precision_recall_curve")
def _(ball_curve):
    case = retrieval()
    curve = metrics.precision_recall_curve(*case)
    same(list(ball_curve(*metrics.ranking_histograms(*case))), [curve.precision, curve.recall])


@pair(4, "ResidualBlock", "backbones.ResidualBlock")
def _(block):
    for arguments in ((3, 3, 1), (3, 5, 1), (3, 5, 2)):
        same_module(block(*arguments), backbones.ResidualBlock(*arguments), rand(2, 3, 8, 6))


def narrow_plan(theirs: backbones.NarrowResNet) -> list[tuple[int, int, int]]:
    blocks = [m for m in theirs.children() if isinstance(m, backbones.ResidualBlock)]
    return [(m.conv1.in_channels, m.conv1.out_channels, m.conv1.stride[0]) for m in blocks]


@pair(4, "NarrowResNet", "backbones.NarrowResNet")
def _(narrow):
    theirs = backbones.NarrowResNet(in_channels=2, width=6)
    same_module(narrow(narrow_plan(theirs), in_channels=2), theirs, rand(3, 2, 28, 20))


@pair(4, "HashNetwork", "models.HashNetwork")
def _(network):
    theirs = models.HashNetwork("narrow-resnet", "none", bits=5, in_channels=2, width=6)
    body = lift(4, "NarrowResNet")(narrow_plan(theirs.backbone), in_channels=2)
    ours, x = network(body, theirs.backbone.feature_dim, bits=5), rand(3, 2, 28, 20)
    same_module(ours, theirs, x)
    assert torch.equal(ours.codes(x).double(), theirs.codes(x).double())


@pair(5, "PositionAttention", "attention.PositionAttention")
def _(block):
    for variant, channels in (("ida", 5), ("danet", 16)):
        inner = channels if variant == "ida" else channels // 8
        ours = block(channels, inner, plain=variant == "danet").double()
        theirs = attention.PositionAttention(channels, variant).double()
        x = rand(2, channels, 3, 4)
        same_module(ours, theirs, x)
        same_function(ours.attention_map, theirs.attention_map, x)


@pair(5, "effective_number", "attention.effective_number")
def _(effective_number):
    same_function(effective_number, attention.effective_number, rand(2, 3, 7).softmax(-1))


@pair(6, "ChannelAttention", "attention.ChannelAttention")
def _(block):
    for variant in ("ida", "danet"):
        ours = block(danet=variant == "danet").double()
        theirs = attention.ChannelAttention(5, variant).double()
        x = rand(2, 5, 3, 4)
        same_module(ours, theirs, x)
        same_function(ours.attention_map, theirs.attention_map, x)


@pair(7, "attention_map", "attention.PositionAttention.attention_map")
def _(attention_map):
    products, x = lift(7, "inner_products"), rand(2, 5, 3, 4)
    for reduce in ("column", "row"):
        theirs = attention.PositionAttention(5, "ida", reduce).double()
        same_function(lambda A: attention_map(products(theirs, A), reduce), theirs.attention_map, x)  # noqa: B023
    plain, wide = attention.PositionAttention(16, "danet").double(), rand(2, 16, 3, 4)
    same_function(lambda A: attention_map(products(plain, A), sign=+1), plain.attention_map, wide)


@pair(7, "attention_map", "attention.ChannelAttention.attention_map")
def _(attention_map):
    def products(A: Tensor) -> Tensor:
        return A.flatten(2) @ A.flatten(2).transpose(1, 2)

    for variant, reduce in (("ida", "column"), ("ida", "row"), ("danet", "column")):
        theirs = attention.ChannelAttention(5, variant, reduce).double()
        same_function(lambda A: attention_map(products(A), reduce), theirs.attention_map, rand(2, 5, 3, 4))  # noqa: B023


@pair(7, "DualAttention", "attention.DualAttention")
def _(block):
    for variant, reduce in (("ida", "column"), ("ida", "row"), ("danet", "column")):
        for fusion in ("sum", "mean"):
            setting = (9, variant, reduce, fusion)
            same_module(block(*setting), attention.DualAttention(*setting), rand(2, 9, 3, 4))


@pair(7, "Doubled", "attention.Doubled")
def _(block):
    same_module(block(5), attention.Doubled(5), rand(2, 5, 3, 4))


@pair(7, "PlainConvolutions", "attention.PlainConvolutions")
def _(block):
    same_module(block(5), attention.PlainConvolutions(5), rand(2, 5, 3, 4))


def outputs_of_all_kinds() -> Tensor:
    """3×5 numbers on both sides of ±1, with 0, −0, 1 and −1 among them."""
    u = 2 * rand(3, 5)
    u[0, :4] = torch.tensor([0.0, -0.0, 1.0, -1.0])
    return u


@pair(8, "sign", "quantization.sign")
def _(sign):
    u = outputs_of_all_kinds()
    assert torch.equal(sign(u), quantization.sign(u))
    wants = [function(u.clone().requires_grad_()).requires_grad for function in (sign, quantization.sign)]
    assert wants == [False, False], "neither lets a gradient through"


@pair(8, "piecewise", "quantization.piecewise")
def _(piecewise):
    same_function(piecewise, quantization.piecewise, outputs_of_all_kinds(), rand(4, 2, 7))


@pair(8, "quantization_error", "quantization.quantization_error")
def _(error):
    same_function(error, quantization.quantization_error, outputs_of_all_kinds(), rand(4, 2, 7))


@pair(8, "straight_through", "quantization.straight_through_sign")
def _(straight_through):
    same_function(straight_through, quantization.straight_through_sign, outputs_of_all_kinds())


@pair(9, "stable_nll", "losses.pairwise_nll")
def _(nll):
    s = (rand(3, 7, seed=1) > 0).double()
    same_function(lambda t: nll(t, s), lambda t: losses.pairwise_nll(t, s), rand(3, 7), 200 * rand(3, 7))


@pair(9, "MyLoss", "losses.DHIDALoss")
def _(loss):
    y, u = torch.tensor([0, 2, 1, 0, 2]), 1.5 * rand(5, 7)
    for reading in ("code", "bit"):
        ours, theirs = loss(0.3, reading), dhida_lib.DHIDALoss(7, gamma=0.3, balance=reading)
        s = dhida_lib.similarity(y).double()
        same_function(lambda v: ours(v, s), lambda v: theirs(v, y), u)  # noqa: B023
    bank = dhida_lib.DHIDALoss(7, num_train=11, num_classes=3).double()
    first, y_first = 1.5 * rand(6, 7, seed=3), torch.tensor([1, 1, 0, 2, 0, 2])
    bank(first, y_first, torch.arange(6))
    rows = torch.cat([first[:4], u])  # the batch overwrites rows 4 and 5
    s = dhida_lib.similarity(y, torch.cat([y_first[:4], y])).double()  # 5×9
    place = torch.arange(4, 9)
    same_function(lambda v: loss()(v, s, rows), lambda v: copy.deepcopy(bank)(v, y, place), u)


@pair(9, "balance", "losses.DHIDALoss.terms")
def _(balance):
    y, u = torch.arange(5) % 3, 0.2 * rand(5, 7)  # inside ±1, where f is the identity
    for reading in ("code", "bit"):
        theirs = dhida_lib.DHIDALoss(7, balance=reading)
        same_function(lambda v: balance(v, reading), lambda v: theirs.terms(v, y)[1], u)  # noqa: B023


@pair(10, "head", "losses.DHIDALoss")
def _(head):
    """Loss and gradients of a linear layer with f and the loss on top, written out and by autograd."""
    psi, W, b = (torch.randn(*shape, dtype=torch.float64) for shape in ((6, 4), (4, 3), (3,)))
    old, labels, index = torch.randn(11, 3).double(), torch.tensor([0, 1, 2, 1, 0, 4]), torch.arange(2, 8)
    for bank in (False, True):
        for reading in ("code", "bit"):
            loss = losses.DHIDALoss(3, 11 if bank else None, 5 if bank else None, balance=reading).double()
            y = torch.arange(11) % 5
            if bank:
                loss(old, y, torch.arange(11))
                y[index] = labels
            leaves = [x.clone().requires_grad_() for x in (psi, W, b)]
            u = leaves[0] @ leaves[1] + leaves[2]
            theirs = loss(u, labels, index)
            codes = old.index_copy(0, index, u.detach()) if bank else None
            s = dhida_lib.similarity(labels, y if bank else labels).double()
            ours, g_W, g_b, g_psi = head(psi, W, b, s, codes, 0.1, reading)
            same([ours, g_psi, g_W, g_b], [theirs, *torch.autograd.grad(theirs, leaves)])


@pair(11, "my_rate", "training.learning_rate")
def _(my_rate):
    for config in (TrainConfig(epochs=3, warmup=1), TrainConfig(epochs=2, warmup=0, schedule="constant")):
        for step in range(5 * config.epochs):
            theirs = training.learning_rate(config, step, 5)
            assert math.isclose(my_rate(config, step, 5), theirs, rel_tol=1e-12)


@pair(11, "my_train", "training.train")
def _(my_train):
    """Two short runs: equal weights, last gradients, banks and rows."""
    config = dhida_lib.PROFILES["fast"].change(epochs=2, width=4, batch_size=19)
    small = dhida_lib.load_dataset("fashion-mini").train.take(50)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        model = models.HashNetwork("narrow-resnet", "ida", bits=7, in_channels=1, width=4)
        runs.append((model, dhida_lib.DHIDALoss(bits=7, num_train=50, num_classes=10)))
    (mine, my_loss), (other, their_loss) = runs
    rows = my_train(mine, my_loss, small, config.training)
    history = training.train(other, their_loss, small, config.training)
    for name, tensor in mine.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    for a, b in zip(mine.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    assert torch.equal(my_loss.bank_codes, their_loss.bank_codes)
    for row, theirs in zip(rows, history.epochs, strict=True):
        assert row == pytest.approx({name: theirs[name] for name in row}, rel=1e-6)


@pair(12, "my_epoch", "training.train")
def _(my_epoch):
    """Two epochs with bfloat16 and accumulation: equal weights and banks."""
    config = dhida_lib.PROFILES["fast"].change(
        epochs=2, width=4, batch_size=8, augment="none", precision="bfloat16", accumulate=3, device="cpu"
    )
    small = dhida_lib.load_dataset("fashion-mini").train.take(45)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        model = models.HashNetwork("narrow-resnet", "ida", bits=7, in_channels=1, width=4)
        runs.append((model, dhida_lib.DHIDALoss(bits=7, num_train=45, num_classes=10)))
    (mine, my_loss), (other, their_loss) = runs
    optimizer = torch.optim.RMSprop(
        mine.parameters(), lr=config.training.lr, weight_decay=config.training.weight_decay
    )
    mine.train()
    for epoch in range(2):
        my_epoch(mine, my_loss, optimizer, small, config.training, epoch)
    training.train(other, their_loss, small, config.training)
    for name, tensor in mine.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert torch.equal(my_loss.bank_codes, their_loss.bank_codes)


@pair(13, "histograms", "metrics.ranking_histograms")
def _(histograms):
    case = retrieval()
    for ours, theirs in zip(histograms(*case), metrics.ranking_histograms(*case), strict=True):
        assert torch.equal(ours, theirs)


@pair(13, "by_radius", "metrics.precision_recall_curve")
def _(by_radius):
    case = retrieval()
    curve = metrics.precision_recall_curve(*case)
    same(list(by_radius(*metrics.ranking_histograms(*case))), [curve.precision, curve.recall])


@pair(13, "first_n", "metrics.precision_at_n")
def _(first_n):
    case = retrieval()
    lists = metrics.ranking_histograms(*case)
    ours = [first_n(*lists, n) for n in (1, 3, 10, 23)]
    assert ours == pytest.approx(metrics.precision_at_n(*case, [1, 3, 10, 23]).tolist(), rel=1e-6)


@pair(13, "ball", "metrics.precision_within_radius")
def _(ball):
    case = retrieval()
    lists = metrics.ranking_histograms(*case)
    for radius in (0, 1, 2):
        theirs = metrics.precision_within_radius(*case, radius=radius)
        assert ball(*lists, radius=radius)[0] == pytest.approx(theirs, rel=1e-12)


def several_labels() -> tuple[Tensor, Tensor]:
    """u (7×5) that wants a gradient, and labels (7×3) of which each row has at least one."""
    y = (rand(7, 3, seed=4) > 0.3).double()
    y[torch.arange(7), torch.arange(7) % 3] = 1
    return rand(7, 5, seed=3).requires_grad_(), y


def same_loss(mine: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Equal values and gradients."""
    results = []
    for call in (mine, theirs):
        u, y = several_labels()
        value = call(u, y)
        value.backward()
        results += [[value, u.grad]]
    same(*results)


for _name, _class in (
    ("dsh", "DSHLoss"),
    ("dhn", "DHNLoss"),
    ("lcdsh", "LCDSHLoss"),
    ("hashnet", "HashNetLoss"),
    ("dbdh", "DBDHLoss"),
    ("idhn", "IDHNLoss"),
):

    @pair(14, _name, f"losses.{_class}")
    def _(mine, theirs=_class):
        same_loss(lambda u, y: mine(u, u, y, y), lambda u, y: getattr(losses, theirs)(5)(u, y.long()))


@pair(14, "dsdh", "losses.DSDHLoss")
def _(dsdh):
    def mine(u, y):
        b = lift(14, "discrete_step")(quantization.sign(u.detach()), u.detach(), y)[0]
        return dsdh(u, u, y, y, b)

    same_loss(mine, lambda u, y: losses.DSDHLoss(5, num_classes=3)(u, y.long()))


@pair(14, "dfh", "losses.DFHLoss")
def _(dfh):
    def fresh():
        return losses.DFHLoss(5, num_classes=3).double()

    same_loss(lambda u, y: dfh(u, u, y, y, fresh().centres.double()), lambda u, y: fresh()(u, y.long()))


@pair(14, "orthohash", "losses.OrthoHashLoss")
def _(orthohash):
    loss = losses.OrthoHashLoss(5, num_classes=3).double()
    same_loss(lambda u, y: orthohash(u, y, loss.centres), lambda u, y: loss(u, y.long()))


def row_of(scores: dict[int, float]) -> dict[int, Record]:
    """Seed → a record with this mAP."""
    return {seed: Record({}, {}, {"map": score}, [], 1.0, {}, "0") for seed, score in scores.items()}


@pair(15, "paired_difference", "experiments.paired")
def _(paired_difference):
    a, b = row_of({4: 0.5, 2: 0.75, 9: 0.625, 1: 0.0}), row_of({9: 0.5, 7: 0.125, 2: 0.5, 4: 0.25})
    for other in (b, row_of({9: 0.5, 8: 1.0})):
        mean, error, values = paired_difference(a, other)
        theirs = experiments.paired(a, other)
        assert values == theirs.values
        assert (mean, error) == pytest.approx((theirs.mean, theirs.error), nan_ok=True)


@pair(20, "by_hand", "experiments.paired")
def _(by_hand):
    a, b = {4: 0.5, 2: 0.75, 9: 0.625, 1: 0.0}, {9: 0.5, 7: 0.125, 2: 0.5, 4: 0.25}
    theirs = experiments.paired(row_of(a), row_of(b))
    assert by_hand(a, b) == pytest.approx((theirs.mean, theirs.error))


def signs(n: int, bits: int, seed: int) -> Tensor:
    return rand(n, bits, seed=seed).sign()


@pair(16, "one_hot_map", "metrics.mean_average_precision")
def _(one_hot_map):
    classes, size, right, each_wrong = 5, 40, 28, 3  # 28 of 40 right, 3 in each of four wrong classes
    truth = torch.arange(classes).repeat_interleave(size)
    guess = truth.clone().view(classes, size)
    for y in range(classes):
        guess[y, right:] = torch.tensor([k for k in range(classes) if k != y]).repeat_interleave(each_wrong)
    codes = 2.0 * torch.nn.functional.one_hot(guess.flatten(), classes) - 1
    theirs = metrics.mean_average_precision(codes, codes, truth, truth)
    assert one_hot_map(right / size, N=classes * size, c=classes) == pytest.approx(theirs, abs=1e-9)
    learnt = torch.arange(classes).repeat_interleave(10)  # found rightly, in the database alone
    known = 2.0 * torch.nn.functional.one_hot(learnt, classes) - 1
    theirs = metrics.mean_average_precision(
        codes, torch.cat([codes, known]), truth, torch.cat([truth, learnt])
    )
    ours = one_hot_map(right / size, N=classes * size, c=classes, learnt=len(learnt))
    assert ours == pytest.approx(theirs, abs=1e-9)


@pair(16, "gathered", "losses.DHIDALoss")
def _(gathered):
    shares, labels = (5, 4, 2), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 2, 0])
    u = torch.randn(11, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = dhida_lib.DHIDALoss(6, balance="bit")
    whole = u.clone().requires_grad_()
    loss(whole, labels).backward()
    rows = []
    for rank in range(len(shares)):
        parts = [part.clone().requires_grad_() for part in u.split(shares)]
        loss(gathered(parts, rank), labels).backward()
        assert all((part.grad is None) == (i != rank) for i, part in enumerate(parts))
        rows.append(parts[rank].grad)
    torch.testing.assert_close(torch.cat(rows), whole.grad)


@pair(17, "pack", "search.pack")
def _(pack):
    for bits in (5, 8, 27):
        assert np.array_equal(np.asarray(pack(signs(9, bits, 1))), search.pack(signs(9, bits, 1)))


@pair(17, "scan", "metrics.hamming_distance")
def _(scan):
    q, d = signs(4, 27, 1), signs(50, 27, 2)
    pack, theirs = lift(17, "pack"), metrics.hamming_distance(q, d).numpy()
    for query, row in zip(pack(q), theirs, strict=True):
        assert np.array_equal(np.asarray(scan(query, pack(d))), row)


@pair(17, "make_tables", "search.CodeIndex")
def _(make_tables):
    d = signs(5000, 27, 3)
    q = d[:3].clone()
    q[:, ::13] *= -1  # three bits of each
    pack, look, keep = (lift(17, name) for name in ("pack", "candidates_with_flips", "keep_near"))
    index = search.CodeIndex(27)
    index.add(d)
    tables = make_tables(d, 3)
    for radius in (0, 2, 5):
        for query, theirs in zip(q, index.within(q, radius), strict=True):
            rows = look(tables, query, radius // 3)[0]
            rows, distance = keep(rows, pack(d), query, radius)
            order = np.lexsort((rows, distance))
            assert np.array_equal(np.asarray(rows)[order], theirs.ids)
            assert np.array_equal(np.asarray(distance)[order], theirs.distance)


@pair(19, "csq", "losses.CSQLoss")
def _(csq):
    y, theirs = torch.arange(7) % 5, losses.CSQLoss(12, num_classes=5, lam=0.3).double()
    same_function(lambda u: csq(u, y, theirs.centres, 0.3), lambda u: theirs(u, y), rand(7, 12))


@pair(19, "orthohash", "losses.OrthoHashLoss")
def _(orthohash):
    y, theirs = torch.arange(7) % 5, losses.OrthoHashLoss(12, num_classes=5, margin=0.25).double()
    same_function(lambda u: orthohash(u, y, theirs.centres, margin=0.25), lambda u: theirs(u, y), rand(7, 12))


@pair(19, "doubled", "losses.hadamard")
def _(doubled):
    for n in (1, 2, 8, 32):
        assert torch.equal(doubled(n), losses.hadamard(n))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Noise in three kinds of files, one of them turned by its EXIF."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options in (("a.png", {"exif": exif}), ("b.jpg", {}), ("c.gif", {})):
        pixels = rng.integers(0, 256, (33, 41, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name, **options)
    return sorted(folder.iterdir())


def test_reader_of_chapter_16(pictures):
    read_square = lift(16, "read_square")
    for file in pictures[1:]:  # the first is turned by its EXIF, which the chapter leaves out
        assert np.array_equal(read_square(file, 20), read_image(file, 20))


def test_pair_of_chapter_18(pictures):
    """Its pieces read files, which the pairs above have no place for."""
    read_square, prepare = lift(18, "read_square"), lift(18, "prepare")
    encoder = Encoder(dhida_lib.data_path("checkpoints", "fashion-mini-dhida-16", "model.json"))
    for file in pictures:
        assert np.array_equal(np.asarray(read_square(file, 20)), read_image(file, 20))
        mine = prepare(file, 28, FASHION_MEAN[0], FASHION_STD[0])
        torch.testing.assert_close(torch.as_tensor(mine).view(1, 28, 28), encoder.read(file))


# ---- the tests ---------------------------------------------------------------------------------------------


@cache
def library(dotted: str) -> Any:
    thing: Any = dhida_lib
    for part in dotted.split("."):
        thing = getattr(thing, part)
    return thing


@pytest.mark.parametrize(
    ("number", "name", "other"), list(PAIRS), ids=[f"{n:02d}-{a}-{b}" for n, a, b in PAIRS]
)
def test_pair(number, name, other):
    ours = lift(number, name)
    theirs = library(other)
    assert ours is not theirs
    assert ours.__module__ == f"chapter{number:02d}"
    assert theirs.__module__.startswith("dhida_lib")
    PAIRS[number, name, other](ours)


def test_every_chapter_with_a_librarys_version_has_a_pair_or_a_reason():
    compared = {number for number, _, _ in PAIRS}
    having = {number for number, chapter in CHAPTERS.items() if chapter.section(SECTION)}
    assert having - compared - set(NO_PAIR) == set()
    assert {number for number in NO_PAIR if number in compared} == set()
    assert all(len(reason) > 20 for reason in NO_PAIR.values())


def test_a_wrong_piece_is_noticed():
    """The comparisons compare: each of these is one slip away from the chapter's."""
    piecewise = PAIRS[8, "piecewise", "quantization.piecewise"]
    with pytest.raises(AssertionError):
        piecewise(torch.tanh)
    with pytest.raises(AssertionError):
        PAIRS[8, "piecewise", "quantization.piecewise"](lambda u: u.clamp(-1, 1).detach() + 0 * u)

    class Summed(lift(9, "MyLoss")):
        def forward(self, u, s, bank=None):
            return 2 * super().forward(u, s, bank)

    with pytest.raises(AssertionError):
        PAIRS[9, "MyLoss", "losses.DHIDALoss"](Summed)

    class Transposed(lift(5, "PositionAttention")):
        def attention_map(self, A):
            return super().attention_map(A).transpose(1, 2)

    with pytest.raises(AssertionError):
        PAIRS[5, "PositionAttention", "attention.PositionAttention"](Transposed)


def test_lift_takes_a_definition_with_what_it_needs_and_nothing_else():
    names = lift(9, "MyLoss").forward.__globals__
    assert {"MyLoss", "stable_nll", "balance", "piecewise"} <= set(names)
    assert "descend" not in names
    with pytest.raises(LookupError, match="defines no"):
        lift(9, "no_such_name")
