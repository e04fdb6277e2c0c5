"""When are two images similar? The matrix S of §3.1, built in Chapter 2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dhida_lib._validate import bad, tensor, trusted

__all__ = ["as_labels", "similarity"]


def as_labels(labels: Any, name: str = "labels") -> Tensor:
    """Bring labels into one of the two forms that the library knows.

    Args:
        labels: class ids (n,) of an integer type, or multi-hot rows (n×c) of zeros and ones;
            tensors, arrays or lists.
        name: the argument's name for the error message.

    Returns:
        An int64 tensor, (n,) or (n×c).

    Raises:
        ValueError: if the labels have another shape, or are neither integers nor zeros and ones.

    Source: §3.1; built in Chapter 2.
    """
    y = tensor(name, labels).detach()
    if y.ndim == 1 and not y.is_floating_point() and y.dtype != torch.bool and not y.is_complex():
        return y.long()
    if y.ndim == 2 and (trusted() or bool(((y == 0) | (y == 1)).all())):
        return y.long()
    raise bad(
        name, f"shape {tuple(y.shape)} of {y.dtype}", "class ids (n,) or multi-hot rows (n×c) of 0 and 1"
    )


def similarity(labels: Any, others: Any = None) -> Tensor:
    """s_ij of §3.1: do image i and image j share a label?

    The paper does not say what "similar" means when an image has several labels; the field's reading,
    used here, is *at least one label in common*.

    Args:
        labels: class ids (n,) or multi-hot rows (n×c).
        others: the same for the other side (m); ``None`` compares ``labels`` with itself.

    Returns:
        A boolean tensor (n×m), True where the two images are similar.

    Raises:
        ValueError: if one side holds class ids and the other multi-hot rows, or their widths differ.

    Example:
        >>> similarity([0, 1], [0, 0, 1])
        tensor([[ True,  True, False],
                [False, False,  True]])
        >>> similarity([[1, 1, 0]], [[0, 1, 1], [0, 0, 1]])
        tensor([[ True, False]])

    Source: §3.1; built in Chapter 2.
    """
    a = as_labels(labels)
    b = a if others is None else as_labels(others, "others")
    if a.ndim != b.ndim or (a.ndim == 2 and a.shape[1] != b.shape[1]):
        raise bad(
            "others", f"shape {tuple(b.shape)}", f"labels of the same form as `labels` {tuple(a.shape)}"
        )
    if a.ndim == 1:
        return a[:, None] == b[None, :]  # n×m
    return (a.float() @ b.float().T) > 0  # n×m: how many labels the two share
