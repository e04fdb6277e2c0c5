"""The losses of the book: one signature, one registry.

Every loss is built as ``cls(bits=…, num_train=…, num_classes=…)`` and called as ``loss(u, labels, index)``.
A method is its class: formula, label, reference, own settings and what is tried of them. What they share
(checks, pairs, the bank of training codes) stands in ``base``. Equations 9–13 and 16 of the paper; Chapters
9, 10 and 14.
"""

from __future__ import annotations

from typing import Any

from dhida_lib._validate import bad, instance, suggestion
from dhida_lib.losses.base import LOSSES, HashLoss, Search, pairwise_nll, register_loss
from dhida_lib.losses.centres import class_centres, hadamard
from dhida_lib.losses.classifier import ClassifierLoss
from dhida_lib.losses.cnnh import CNNHLoss
from dhida_lib.losses.csq import CSQLoss
from dhida_lib.losses.dbdh import DBDHLoss
from dhida_lib.losses.dfh import DFHLoss
from dhida_lib.losses.dhida import DHIDALoss
from dhida_lib.losses.dhn import DHNLoss
from dhida_lib.losses.dpsh import DPSHLoss
from dhida_lib.losses.dsdh import DSDHLoss
from dhida_lib.losses.dsh import DSHLoss
from dhida_lib.losses.dtsh import DTSHLoss
from dhida_lib.losses.hashnet import HashNetLoss
from dhida_lib.losses.idhn import IDHNLoss
from dhida_lib.losses.lcdsh import LCDSHLoss
from dhida_lib.losses.orthohash import OrthoHashLoss

__all__ = [
    "LOSSES",
    "CNNHLoss",
    "CSQLoss",
    "ClassifierLoss",
    "DBDHLoss",
    "DFHLoss",
    "DHIDALoss",
    "DHNLoss",
    "DPSHLoss",
    "DSDHLoss",
    "DSHLoss",
    "DTSHLoss",
    "HashLoss",
    "HashNetLoss",
    "IDHNLoss",
    "LCDSHLoss",
    "OrthoHashLoss",
    "Search",
    "build_loss",
    "check_options",
    "class_centres",
    "hadamard",
    "pairwise_nll",
    "register_loss",
]


def build_loss(
    name: str, bits: int, num_train: int | None = None, num_classes: int | None = None, **options: Any
) -> HashLoss:
    """Build a loss from its name.

    Args:
        name: a key of ``LOSSES``.
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch.
        num_classes: number c of classes; needed with ``num_train``.
        options: the method's own arguments, for example ``gamma=0.1``.

    Returns:
        The loss, an ``nn.Module``.

    Raises:
        ValueError: if the name or an option is unknown, or an argument is wrong.

    Source: §3.4; built in Chapter 9.
    """
    cls = LOSSES.find(name, "name")
    check_options(name, options)
    return cls(bits=bits, num_train=num_train, num_classes=num_classes, **options)


def check_options(name: str, options: dict[str, Any]) -> None:
    """Make sure that a loss has arguments of these names; their values are checked when it is built.

    Args:
        name: a key of ``LOSSES``.
        options: the method's own arguments.

    Raises:
        ValueError: if one is unknown.
    """
    known = list(LOSSES.find(name, "name").options())
    given = [str(option) for option in instance("options", options, dict, "a dictionary: argument → value")]
    for unknown in sorted(set(given) - set(known)):
        need = f"among those of {name!r} ({', '.join(known) or 'it has none'})"
        raise bad("options", unknown, need + suggestion(unknown, known))
