"""What every hashing loss shares: checks, pairs, and the bank of training codes.

A pairwise loss compares the codes u of the batch (B×K) with other codes U (m×K). U is either the batch
itself or the *bank*: the last known code of every training image, kept without gradient. Equations 9–11;
Chapter 9.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dhida_lib._registry import Registry
from dhida_lib._validate import bad, choice, computable, positive_int, tensor, trusted
from dhida_lib.labels import as_labels, similarity

__all__ = [
    "LOSSES",
    "HashLoss",
    "Search",
    "multi_hot",
    "pairwise_nll",
    "register_loss",
    "shared_labels",
    "similar",
]


class Search(NamedTuple):
    """A method's own setting that the search of Chapter 14 tries, beside the learning rate.

    Attributes:
        setting: an argument of the loss, or a setting of the training such as ``weight_decay``.
        values: what is tried beside the default.
    """

    setting: str
    values: tuple[float, ...]


def multi_hot(y: Tensor, classes: int | None = None) -> Tensor:
    """Write labels as rows of zeros and ones.

    Args:
        y: class ids (n,) or multi-hot rows (n×c), as `HashLoss.check` returns them.
        classes: number c of classes; ``None``: one column for each id that occurs, in order.

    Returns:
        Rows (n×c), int64; multi-hot rows come back as they are.

    Source: §3.1; built in Chapter 9.
    """
    if y.ndim == 2:
        return y
    if classes is None:
        return F.one_hot(torch.unique(y, return_inverse=True)[1])
    return (y[:, None] == torch.arange(classes, device=y.device)).long()


def shared_labels(y: Tensor, Y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How many labels two images share, and how many each has.

    Args:
        y: labels of the batch, class ids (B,) or multi-hot rows (B×c).
        Y: labels of the other side in the same form, (m,) or (m×c).

    Returns:
        |y_i ∩ Y_j| (B×m), |y_i| (B×1) and |Y_j| (m): whole numbers, in float32, which is exact here.
    """
    if y.ndim == 1:
        common = (y[:, None] == Y).float()  # B×m
        return common, torch.ones_like(common[:, :1]), torch.ones_like(common[0])
    return y.float() @ Y.float().T, y.sum(1, keepdim=True).float(), Y.sum(1).float()


def pairwise_nll(theta: Tensor, s: Tensor) -> Tensor:
    """Mean of log(1 + exp θ) − s·θ: the negative log-likelihood of the pairs (Eq. 11 with a mean).

    exp θ overflows as soon as θ > 88 in float32. The form used here is the same function, written
    max(θ, 0) − s·θ + log(1 + exp(−|θ|)): its exponent is never positive, so it is finite for every θ.

    Args:
        theta: inner products of the pairs, any shape (B×m in the losses), no unit.
        s: 1 for a similar pair, 0 for a dissimilar one; the same shape, boolean or float.

    Returns:
        A scalar, in float32 at least (a mean over many pairs needs it).

    Raises:
        ValueError: if the two shapes differ, there is no pair, or these are no real numbers.

    Example:
        >>> import torch
        >>> theta = torch.tensor([[0.0]])
        >>> pairwise_nll(theta, torch.tensor([[True]]))  # log 2
        tensor(0.6931)

    Source: Eq. (11); built in Chapter 9.
    """
    for name, x in (("theta", theta), ("s", s)):
        if not isinstance(x, Tensor) or not computable(x) or x.is_complex() or x.device != theta.device:
            raise bad(name, getattr(x, "dtype", type(x).__name__), "a dense tensor of real numbers")
    if not theta.is_floating_point():
        raise bad("theta", theta.dtype, "a floating point tensor")
    if theta.shape != s.shape or theta.numel() == 0:
        raise bad("s", f"shape {tuple(s.shape)}", f"of the shape of `theta` {tuple(theta.shape)}, not empty")
    if theta.dtype in (torch.float16, torch.bfloat16):
        theta = theta.float()
    return F.binary_cross_entropy_with_logits(theta, s.to(theta.dtype))


def similar(y: Tensor, Y: Tensor, like: Tensor) -> Tensor:
    """S (B×m): 1 for similar pairs, 0 for dissimilar ones, of the dtype of ``like``.

    Args:
        y: labels of the batch, (B,) or (B×c).
        Y: labels of the other side in the same form.
        like: a tensor of the wanted dtype.

    Returns:
        S, B×m.

    Source: §3.1; built in Chapter 9.
    """
    return similarity(y, Y).to(like.dtype)


class HashLoss(nn.Module):
    """Base of the losses: it checks the arguments, makes the pairs and keeps the bank.

    A subclass defines `formula`, which `forward` calls, and says of itself what tables and searches need
    (below). `register_loss` makes it known under a name. The bank is three
    buffers, so ``.to(device)`` moves it and ``state_dict`` saves it: ``bank_codes`` (n×K), ``bank_labels``
    (n×c, 0/1), ``bank_filled`` (n). Every call writes the batch into the bank, so only training images may
    be given to a loss with a bank.

    Args:
        bits: length K of the code.
        num_train: number n of training images: keep a bank of that many rows. ``None``: pairs within the
            batch.
        num_classes: number c of classes; needed with ``num_train``.
        empty_rows: rows of the bank that no batch has filled yet. ``"drop"``: they are no pairs.
            ``"keep"``: they count as zero codes that are similar to nothing, as in the usual code. Their θ
            is 0, so they add log 2 each to the loss and thin the gradient out; in a loss that compares
            distances they would pull codes apart.

    Attributes:
        name: its name, set when it is registered.
        label: what tables call it; empty: its name.
        reference: where it comes from, in one line.
        code_rule: how codes are made of the outputs, a name in `dhida_lib.codes.CODE_RULES`.
        uses_bank: False for a method that compares an image with no other one.
        any_length: False for a method whose network has one output for each class, whatever ``bits`` says.
        has_attention: does the method's own system put attention behind the backbone?
        search: its own setting and the values that are tried; None: only learning rates are.
        start: options that its search starts from, where they are not the defaults.

    Raises:
        ValueError: if an argument is wrong, or ``num_train`` comes without ``num_classes``.

    Source: Eq. (9)–(11), Algorithm 1; built in Chapter 9.
    """

    name: ClassVar[str] = ""
    label: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    code_rule: ClassVar[str] = "sign"
    uses_bank: ClassVar[bool] = True
    any_length: ClassVar[bool] = True
    has_attention: ClassVar[bool] = False
    search: ClassVar[Search | None] = None
    start: ClassVar[dict[str, Any]] = {}

    bank_codes: Tensor
    bank_labels: Tensor
    bank_filled: Tensor
    _filled: NDArray[np.bool_] | None = None
    _foreseen: int | None = None

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        empty_rows: str = "drop",
    ) -> None:
        super().__init__()
        self.bits = positive_int("bits", bits)
        self.num_train = None if num_train is None else positive_int("num_train", num_train)
        self.num_classes = None if num_classes is None else positive_int("num_classes", num_classes)
        self.empty_rows = choice("empty_rows", empty_rows, ("drop", "keep"))
        if self.num_train is not None:
            if self.num_classes is None:
                raise bad(
                    "num_classes", None, "given with `num_train`: the bank keeps the labels as multi-hot rows"
                )
            self.register_buffer("bank_codes", torch.zeros(self.num_train, self.bits))  # n×K
            self.register_buffer(
                "bank_labels", torch.zeros(self.num_train, self.num_classes, dtype=torch.uint8)
            )
            self.register_buffer("bank_filled", torch.zeros(self.num_train, dtype=torch.bool))  # n

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Tell the loss that an epoch begins; a method with a schedule overrides it, the base does nothing.

        Args:
            epoch: the epoch that begins, from 0.
            epochs: how many there will be.

        Source: Algorithm 1; built in Chapter 11.
        """

    def forward(self, u: Tensor, labels: Any, index: Any = None) -> Tensor:
        """The loss of one batch; half-precision outputs are brought to float32 first.

        Args:
            u: network outputs, B×K, before any f, tanh or sign: the loss applies its own.
            labels: class ids (B,) or multi-hot rows (B×c).
            index: the images' places in the training set (B,); needed with a bank, else not used.

        Returns:
            The loss, a scalar.

        Raises:
            ValueError: naming the argument that is wrong.

        Source: Eq. (13) for DHIDA, else the method's own paper; built in Chapters 9 and 14.
        """
        if isinstance(u, Tensor) and u.dtype in (torch.float16, torch.bfloat16):
            u = u.float()  # squares and means are safe there; the gradient passes
        y, rows = self.check(u, labels, index)
        U, y, Y = self._meet(u, y, rows)
        self.update(u, U, y, Y, rows)
        return self.formula(u, U, y, Y)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """The method's formula, and nothing else: all arguments are checked.

        Args:
            u: outputs of the batch, B×K.
            U: the codes to compare them with, m×K: the bank's, or ``u`` itself.
            y: labels of the batch, int64: multi-hot rows (B×c) with a bank, else as they were given.
            Y: labels of U in the same form.

        Returns:
            The loss, a scalar.
        """
        raise NotImplementedError

    def update(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor, rows: Tensor | None) -> None:
        """Change what the method keeps beside the bank, before the formula; the base does nothing.

        Args:
            u: as in `formula`.
            U: as in `formula`.
            y: as in `formula`.
            Y: as in `formula`.
            rows: places of the batch in the training set (B,); None without a bank.
        """

    @classmethod
    def length(cls, bits: int, num_classes: int) -> int:
        """How many outputs the network needs: K, or one for each class.

        Args:
            bits: the length K that was asked for.
            num_classes: number c of classes.

        Returns:
            The number of outputs.
        """
        return bits if cls.any_length else num_classes

    @classmethod
    def options(cls) -> dict[str, Any]:
        """The method's own arguments and their defaults.

        Returns:
            Name → default.
        """
        own = inspect.signature(cls).parameters.values()
        return {p.name: p.default for p in own if p.name not in ("bits", "num_train", "num_classes")}

    def extra_repr(self) -> str:
        """The settings, for ``print(loss)``."""
        names = ["bits", "num_train", "num_classes", *self.options()]
        values = {name: getattr(self, name, None) for name in names}
        shown = {k: v for k, v in values.items() if v is not None and not isinstance(v, Tensor)}
        return ", ".join(f"{k}={v!r}" for k, v in shown.items())

    def check(self, u: Tensor, labels: Any, index: Any = None) -> tuple[Tensor, Tensor | None]:
        """Check one batch.

        Args:
            u: network outputs, B×K, floating point.
            labels: class ids (B,) or multi-hot rows (B×c).
            index: the images' places in the training set (B,), from 0; needed with a bank, else not used.

        Returns:
            The labels (int64) and the index (int64, ``None`` without a bank), both on the device of ``u``.

        Raises:
            ValueError: naming the argument that is wrong.
        """
        if not isinstance(u, Tensor) or not u.is_floating_point():
            raise bad("u", getattr(u, "dtype", type(u).__name__), "a floating point tensor")
        if u.ndim != 2 or u.shape[1] != self.bits or len(u) == 0:
            raise bad("u", f"shape {tuple(u.shape)}", f"B×bits = B×{self.bits} with B ≥ 1")
        if not computable(u) or u.is_meta:
            raise bad("u", f"{u.dtype}, {u.layout}, on {u.device}", "a dense tensor with its values")
        y = as_labels(labels).to(u.device)
        if len(y) != len(u):
            raise bad("labels", f"{len(y)} of them", f"one for each of the {len(u)} rows of `u`")
        c = self.num_classes
        if c is not None and y.ndim == 2 and y.shape[1] != c:
            raise bad("labels", f"shape {tuple(y.shape)}", f"multi-hot rows of width num_classes = {c}")
        self._check_ids(y)
        return y, None if self.num_train is None else self._check_index(u, index, self.num_train)

    def _check_index(self, u: Tensor, index: Any, n: int) -> Tensor:
        """Return the rows of the bank that the batch fills, checked."""
        if index is None:
            raise bad(
                "index", None, "the images' places in the training set: a loss with `num_train` keeps a bank"
            )
        rows = tensor("index", index, f"{len(u)} integers, one for each row of `u`")
        odd = rows.is_floating_point() or rows.is_complex() or rows.dtype == torch.bool
        if odd or rows.shape != (len(u),):
            raise bad(
                "index",
                f"shape {tuple(rows.shape)} of {rows.dtype}",
                f"{len(u)} integers, one for each row of `u`",
            )
        self._check_places(rows)
        if u.device != self.bank_codes.device:
            raise bad(
                "u",
                u.device,
                f"on the bank's device {self.bank_codes.device}: move the loss with `.to(device)`",
            )
        return rows.to(u.device, torch.int64)

    def _check_ids(self, y: Tensor) -> None:
        """Refuse class ids that no class has, unless that was checked already."""
        c = self.num_classes
        if c is None or y.ndim != 1 or trusted():
            return
        if not 0 <= int(y.min()) <= int(y.max()) < c:
            raise bad(
                "labels", f"ids {int(y.min())} … {int(y.max())}", f"class ids 0 … {c - 1} (num_classes = {c})"
            )

    def _check_places(self, rows: Tensor) -> None:
        """Refuse places that the bank does not have, unless that was checked already."""
        n = self.num_train
        if n is not None and not trusted() and not 0 <= int(rows.min()) <= int(rows.max()) < n:
            raise bad(
                "index", f"{int(rows.min())} … {int(rows.max())}", f"within 0 … {n - 1} (num_train = {n})"
            )

    def check_values(self, labels: Any, index: Any = None) -> None:
        """Check what needs the numbers themselves: that ids and places are within their bounds.

        `forward` does it with every call. The trainer does it before, on the host, for all images at once or
        batch by batch, since reading a number from a GPU makes the host wait for it.

        Args:
            labels: class ids (n,) or multi-hot rows (n×c), not empty.
            index: places in the training set; None: these are not looked at.

        Raises:
            ValueError: naming the argument that is wrong.

        Source: Algorithm 1; built in Chapter 12.
        """
        y = as_labels(labels)
        if not len(y):
            raise bad("labels", "none", "at least one label")
        self._check_ids(y)
        if index is not None:
            rows = tensor("index", index, "integers")
            if rows.is_floating_point() or rows.is_complex() or rows.dtype == torch.bool or not rows.numel():
                raise bad("index", f"shape {tuple(rows.shape)} of {rows.dtype}", "integers, at least one")
            self._check_places(rows)

    def foresee(self, places: Any) -> None:
        """Say on the host which rows of the bank the next batch fills, so that nobody has to ask a GPU.

        While the bank fills, the number of its filled rows is the size of a tensor, which the host must know.
        The next call of the loss uses what was said here; a call without it asks the bank.

        Args:
            places: the batch's places in the training set (B,), on the host; None: forget what was said, and
                read from the bank which rows are filled.

        Raises:
            ValueError: if a place is outside the bank.

        Source: Algorithm 1; built in Chapter 12.
        """
        self._foreseen = None
        if self.num_train is None:
            return
        if places is None or self._filled is None:
            self._filled = self.bank_filled.cpu().numpy().copy()
        if places is None:
            return
        at = tensor("places", places, "integers on the host")
        if at.device.type != "cpu" or at.is_floating_point() or at.is_complex() or at.dtype == torch.bool:
            raise bad("places", f"{at.dtype} on {at.device}", "integers on the host")
        rows = at.numpy().astype(np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < self.num_train:
            raise bad("places", f"{rows.min()} … {rows.max()}", f"within 0 … {self.num_train - 1}")
        self._filled[rows] = True
        self._foreseen = int(self._filled.sum())

    def known(self, u: Tensor, labels: Any, index: Any = None) -> tuple[Tensor, Tensor, Tensor]:
        """The codes to compare the batch with, and the labels of both sides.

        Without a bank, U is ``u`` itself, with its gradient, so a pair pulls on both its codes. With a
        bank, the batch first overwrites its own rows; U is then a copy of the filled rows without gradient,
        so a pair pulls only on the batch's code. Either way each image also meets itself (s = 1). A second
        call with the same batch writes the same rows again and changes nothing.

        Args:
            u: network outputs, B×K.
            labels: class ids (B,) or multi-hot rows (B×c).
            index: the images' places in the training set (B,); needed with a bank.

        Returns:
            U (m×K, of the dtype of ``u``), and the labels of the batch and of U (int64): multi-hot rows (B×c
            and m×c) with a bank, in the form of ``labels`` without one.

        Raises:
            ValueError: naming the argument that is wrong.

        Source: §3.1; built in Chapter 9.
        """
        return self._meet(u, *self.check(u, labels, index))

    def _meet(self, u: Tensor, y: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Write the batch into the bank, and return what `known` says; all arguments are checked."""
        if rows is None:
            return u, y, y
        y = multi_hot(y, self.num_classes)  # B×c
        self.bank_codes[rows] = u.detach().to(self.bank_codes.dtype)
        self.bank_labels[rows] = y.to(torch.uint8)
        self.bank_filled[rows] = True
        met = self._met()
        # All are copied: the next batch may overwrite the bank before this one's backward pass.
        if met is None:
            return self.bank_codes.to(u.dtype, copy=True), y, self.bank_labels.long()
        return self.bank_codes[met].to(u.dtype), y, self.bank_labels[met].long()

    def _met(self) -> Tensor | None:
        """Which rows of the bank take part: a mask, or places where their number was foreseen; None: all."""
        count, self._foreseen = self._foreseen, None
        if count is None:
            self._filled = None  # this batch was not foreseen, so what is known on the host is out of date
        if self.empty_rows == "keep" or count == self.num_train:
            return None
        if count is None:
            return self.bank_filled
        return self.bank_filled.to(torch.uint8).sort(descending=True, stable=True).indices[:count]

    def pairs(self, u: Tensor, labels: Any, index: Any = None) -> tuple[Tensor, Tensor]:
        """The codes to compare the batch with, and which pairs are similar; see `known`.

        Args:
            u: network outputs, B×K.
            labels: class ids (B,) or multi-hot rows (B×c).
            index: the images' places in the training set (B,); needed with a bank.

        Returns:
            U (m×K) and S (B×m, 1 for similar and 0 for dissimilar pairs), both of the dtype of ``u``.

        Raises:
            ValueError: naming the argument that is wrong.

        Source: §3.1 and Eq. (11); built in Chapter 9.
        """
        U, y, Y = self.known(u, labels, index)
        return U, similarity(y, Y).to(u.dtype)  # m×K, B×m


LOSSES: Registry[type[HashLoss]] = Registry("loss", "dhida_lib.losses")
"""The losses by name: DHIDA, the eight baselines of Table 3, further methods, and the trivial baseline.
§3.4 and §4.2; Chapters 9 and 14."""

H = TypeVar("H", bound=type[HashLoss])


def register_loss(name: str) -> Callable[[H], H]:
    """Make a loss known under a name: to `build_loss`, settings, tables, the command line, saved models.

    Args:
        name: the name, as in ``build_loss(name, bits=16)``.

    Returns:
        A decorator for a subclass of `HashLoss`.

    Raises:
        ValueError: if the name is taken, or what is decorated is no such class.
    """

    def add(cls: H) -> H:
        if not (isinstance(cls, type) and issubclass(cls, HashLoss)):
            raise bad("register_loss", getattr(cls, "__name__", cls), "used on a subclass of HashLoss")
        LOSSES.add(name, cls)
        cls.name = name
        cls.label = cls.label or name
        return cls

    return add
