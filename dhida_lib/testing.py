"""Conformance: a loss, a data set or a backbone of your own does what ours do (CONTRIBUTING).

Each function raises an ``AssertionError`` that says what is wrong, and returns what it looked at, in words.
They are the tests that the library's own classes pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dhida_lib.backbones import Backbone, build_backbone
from dhida_lib.data import DataSource, RetrievalData
from dhida_lib.losses import HashLoss

__all__ = ["check_backbone", "check_loss", "check_source"]

_BITS, _CLASSES, _BATCH = 8, 3, 12


def _hold(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def _refuses(call: Callable[[], object], what: str) -> None:
    """The call must raise a ``ValueError``."""
    try:
        call()
    except ValueError:
        return
    raise AssertionError(f"{what} must be a ValueError")


# ---- losses ------------------------------------------------------------------------------------------------


def check_loss(cls: type[HashLoss], **options: Any) -> str:
    """Check a loss: finite, differentiable, indifferent to the order of the batch, and worth descending.

    Args:
        cls: a subclass of `HashLoss`.
        options: its own arguments, where the defaults are not to be checked.

    Returns:
        What was looked at.

    Raises:
        AssertionError: naming what is wrong.
    """
    _hold(isinstance(cls, type) and issubclass(cls, HashLoss), "a loss is a subclass of HashLoss")
    bits = cls.length(_BITS, _CLASSES)
    g = torch.Generator().manual_seed(0)
    u = torch.randn(_BATCH, bits, generator=g, dtype=torch.float64)
    ids = torch.arange(_BATCH) % _CLASSES
    hot = nn.functional.one_hot(ids, _CLASSES)
    hot[::2, 0] = 1  # some images have two labels

    def made(bank: bool = False) -> HashLoss:
        return cls(bits, _BATCH if bank else None, _CLASSES, **options).double()

    for labels, kind in ((ids, "class ids"), (hot, "multi-hot labels")):
        for bank in (False, cls.uses_bank):
            where = f"with {kind}" + (" and a bank" if bank else "")
            value = made(bank)(u, labels, torch.arange(_BATCH))
            _hold(value.ndim == 0 and bool(value.isfinite()), f"{where} the loss must be one finite number")
    _finite_where_it_is_steep(made, u, ids)
    _right_gradient(made, u, ids)
    _any_order(made, u, ids)
    _descends(made, u, ids)
    loss = made()
    _refuses(lambda: loss(u[:, :-1], ids), "outputs of another length")
    _refuses(lambda: loss(u, ids[:-1]), "labels for fewer images")
    _hold(str(bits) in repr(loss), "print(loss) must show its settings (HashLoss does)")
    return f"{cls.__name__}: finite, gradient, order, descent, bad input"


def _finite_where_it_is_steep(made: Callable[..., HashLoss], u: Tensor, ids: Tensor) -> None:
    for scale in (1e-3, 30.0, 1e3):
        x = (scale * u).requires_grad_()
        value = made()(x, ids)
        (slope,) = torch.autograd.grad(value, x)
        fine = bool(value.isfinite()) and bool(slope.isfinite().all())
        _hold(fine, f"loss and gradient must be finite for outputs of size {scale:g}")


def _right_gradient(made: Callable[..., HashLoss], u: Tensor, ids: Tensor) -> None:
    """The gradient against differences, unless the loss says that its gradient is another one."""
    if getattr(made(), "straight_through", False):
        return
    x = (0.7 * u[:6] + 0.05).requires_grad_()
    right = torch.autograd.gradcheck(lambda v: made()(v, ids[:6]), (x,), raise_exception=False)
    _hold(right, "the gradient must be that of the formula (torch.autograd.gradcheck)")


def _any_order(made: Callable[..., HashLoss], u: Tensor, ids: Tensor) -> None:
    order = torch.randperm(len(u), generator=torch.Generator().manual_seed(1))
    one, other = made()(u, ids), made()(u[order], ids[order])
    _hold(torch.allclose(one, other), "the order of the images in a batch must not matter")


def _descends(made: Callable[..., HashLoss], u: Tensor, ids: Tensor) -> None:
    """Free codes that follow the gradient come nearer to those of their class than to others'."""
    x, loss = (0.3 * u).requires_grad_(), made()
    optimizer = torch.optim.Adam([x], lr=0.05)
    first = None
    for _ in range(300):
        value = loss(x, ids)
        first = value.item() if first is None else first
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    _hold(value.item() < first, "300 steps along the gradient must lower the loss")
    codes = x.detach().sign()
    near = (codes @ codes.T)[ids[:, None] == ids].mean()
    far = (codes @ codes.T)[ids[:, None] != ids].mean()
    _hold(bool(near > far), "codes of one class must end nearer to each other than to other classes'")


# ---- data sets ---------------------------------------------------------------------------------------------


def check_source(source: DataSource, root: Any = None) -> str:
    """Check a data set: it can be read, split twice alike, and its splits do what ours do.

    Args:
        source: an object of a subclass of `DataSource`.
        root: where its files lie, if it does not ship.

    Returns:
        What was looked at.

    Raises:
        AssertionError: naming what is wrong.
    """
    _hold(isinstance(source, DataSource), "a data set is an object of a subclass of DataSource")
    _hold(len(source.protocols) > 0, "it needs a protocol at least")
    data, again = (source.load(root, 0) for _ in range(2))
    _hold(isinstance(data, RetrievalData), "`load` must return RetrievalData")
    for part in ("train", "query", "database"):
        a, b = getattr(data, part), getattr(again, part)
        _hold(len(a) > 0, f"`{part}` is empty")
        _hold(torch.equal(a.indices, b.indices), f"one seed must give one split, but `{part}` changed")
        _one_split(a, part, data.num_classes)
    asked, trained = (set(s.indices.flatten().tolist()) for s in (data.query, data.train))
    _hold(not {i for i in asked & trained if i >= 0}, "a query must not be a training image")
    if not source.fixed_split:
        other = source.load(root, 1)
        _hold(
            not torch.equal(data.query.indices, other.query.indices),
            "another seed must give another split (or set `fixed_split`)",
        )
    _refuses(lambda: source.protocol("no such protocol"), "an unknown protocol")
    return f"{source.name or type(source).__name__}: read, split by seed, batches, preprocessing"


def _one_split(split: Any, part: str, classes: int) -> None:
    """A batch has the form that the preprocessing says, and a stored picture goes the same way."""
    form = split.preprocess
    x, y = split.batch(range(min(3, len(split))))
    _hold(tuple(x.shape[1:]) == (form.channels, form.side, form.side), f"`{part}`: batches of another shape")
    _hold(bool(x.isfinite().all()), f"`{part}`: a batch that is not finite")
    most = y.shape[1] if y.ndim == 2 else int(split.labels.max()) + 1
    _hold(most <= classes, f"`{part}`: labels beyond the {classes} classes")
    again = form(split.picture(0))
    _hold(torch.equal(again, x[0]), f"`{part}`: the preprocessing of a stored picture gives another image")


# ---- backbones ---------------------------------------------------------------------------------------------


def check_backbone(module: nn.Module | str, in_channels: int = 3, side: int = 64) -> str:
    """Check a backbone: maps of the promised shape, whatever the batch, and a gradient for each weight.

    Args:
        module: a backbone, any network that `ModuleBackbone` takes, or a name.
        in_channels: channels of the images.
        side: side in pixels of the images that it is tried on.

    Returns:
        What was looked at.

    Raises:
        AssertionError: naming what is wrong.
    """
    net: Backbone = build_backbone(module, None, in_channels)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4, in_channels, side, side, generator=g)
    net.eval()
    with torch.no_grad():
        A = net.feature_map(x)
        psi = net.pool(A)
        alone = net.feature_map(x[:1])
        turned = net.feature_map(x.flip(0)).flip(0)
    _hold(A.ndim == 4 and A.shape[:2] == (4, net.map_channels), "`feature_map` must give B×map_channels×h×w")
    _hold(tuple(psi.shape) == (4, net.feature_dim), "`pool` must give B×feature_dim")
    _hold(bool(A.isfinite().all()), "a map must be finite")
    _hold(torch.allclose(alone[0], A[0], atol=1e-4), "in eval mode an image must not feel its batch")
    _hold(torch.allclose(turned, A, atol=1e-4), "the order of the images in a batch must not matter")
    y: Any = x
    for _, step in net.stages():
        y = step(y)
    _hold(y.shape[1] == net.map_channels, "the last of `stages` must give the map")
    net.train()
    net(x).square().sum().backward()
    deaf = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    _hold(not deaf, f"no gradient reaches {', '.join(deaf[:3])}")
    _refuses(lambda: net.feature_map(x[:, 0]), "images without a channel axis")
    return (
        f"{type(net).__name__}: maps {'×'.join(map(str, A.shape[1:]))}, batch, stages, gradients, bad input"
    )
