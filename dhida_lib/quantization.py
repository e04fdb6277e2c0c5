"""From real outputs to binary codes: Eq. 1, 2 and 15 of the paper, built in Chapter 8.

The network gives a real vector u for each image, the index needs a code of ±1. `sign` makes the code,
`piecewise` (the paper's f) keeps u inside [−1, 1] while the network learns, `quantization_error` says how
far u still is from its code, and `straight_through_sign` lets a gradient pass the sign.
`one_hot_codes` turns a classifier into a hash function: the yardstick that every hash code must beat.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dhida_lib._validate import bad, computable

__all__ = ["one_hot_codes", "piecewise", "quantization_error", "sign", "straight_through_sign"]


def sign(u: Tensor) -> Tensor:
    """The binary code of u: +1 where u ≥ 0, −1 elsewhere.

    Unlike `torch.sign`, zero becomes +1, so every element is a bit. No gradient flows back
    (its derivative is 0 wherever it has one). NaN is not ≥ 0 and becomes −1, as Eq. 2 reads.

    Args:
        u: network outputs of any shape, floating or signed integers.

    Returns:
        A tensor of u's shape **and dtype** that holds only −1 and +1 (integers stay integers).

    Raises:
        ValueError: if u is not a tensor of real numbers that can hold −1.

    Example:
        >>> import torch
        >>> sign(torch.tensor([-0.3, 0.0, 2.0]))
        tensor([-1.,  1.,  1.])

    Source: Eq. (2) and (15); built in Chapter 8.
    """
    one = torch.ones_like(_real(u), requires_grad=False)
    return torch.where(u >= 0, one, -one)


def piecewise(u: Tensor) -> Tensor:
    """f(u): u inside [−1, 1], and the nearer end outside.

    The gradient is 1 inside and 0 outside. Eq. 1 leaves u = ±1 open: here f(±1) = ±1 and the gradient
    there is 1, so f(f(u)) equals f(u) in values *and* gradients. Which of the two gradients is
    taken at ±1 hardly matters: a real output hits these two points almost never.
    f never changes a code: sign(f(u)) = sign(u). Integers are only compared, so none of them overflows.

    Args:
        u: network outputs of any shape.

    Returns:
        A tensor of u's shape and dtype with values in [−1, 1].

    Raises:
        ValueError: if u is not a tensor of real numbers that can hold −1.

    Example:
        >>> import torch
        >>> piecewise(torch.tensor([-3.0, -0.5, 0.25, 1.5]))
        tensor([-1.0000, -0.5000,  0.2500,  1.0000])

    Source: Eq. (1); built in Chapter 8.
    """
    outside = (_real(u) < -1) | (u > 1)  # not |u| > 1: the absolute value of int8 −128 is −128
    return torch.where(outside, sign(u), u)


def quantization_error(u: Tensor) -> Tensor:
    """How much the sign throws away: the mean of (u − sign(u))² over all elements.

    Integers and half precision are turned into float32 first: their own squares overflow.

    Args:
        u: network outputs of any shape, at least one element.

    Returns:
        A scalar ≥ 0, float32 (float64 for a float64 u); exactly 0 when u holds only ±1. The gradient treats
        sign(u) as a constant.

    Raises:
        ValueError: if u is empty or not a tensor of real numbers that can hold −1.

    Example:
        >>> import torch
        >>> quantization_error(torch.tensor([1.0, -1.0, 0.5, -0.5]))
        tensor(0.1250)

    Source: the "quantization error" of §3.1; built in Chapter 8.
    """
    if _real(u).numel() == 0:
        raise bad("u", f"shape {tuple(u.shape)}", "a tensor with at least one element")
    u = u.to(torch.promote_types(u.dtype, torch.float32))
    return ((u - sign(u)) ** 2).mean()


def straight_through_sign(u: Tensor) -> Tensor:
    """sign(u) going forward, the identity going backward.

    The sign has no useful gradient, so this pretends that it was the identity. To stop the gradient
    where |u| > 1, chain it with f: ``straight_through_sign(piecewise(u))``.

    Args:
        u: network outputs of any shape, floating and finite.

    Returns:
        A tensor of u's shape and dtype that holds exactly −1 and +1, with gradient 1 to u.

    Raises:
        ValueError: if u is not a floating tensor.

    Example:
        >>> import torch
        >>> u = torch.tensor([0.2, -0.7], requires_grad=True)
        >>> straight_through_sign(u).sum().backward()
        >>> u.grad
        tensor([1., 1.])

    Source: the straight-through estimator that §2 names for DBDH; built in Chapter 8.
    """
    if not _real(u).is_floating_point():
        raise bad("u", str(u.dtype), "a floating tensor (integers have no gradient)")
    return sign(u) + (u - u.detach())  # the bracket is exactly 0, but its gradient is 1


def one_hot_codes(logits: Tensor) -> Tensor:
    """A classifier's answer as a code: +1 at the winning class, −1 at all others.

    Two images get the same code exactly when the classifier puts them into the same class.
    Retrieval with these codes is the baseline that says what a hash code adds to a classifier.

    Args:
        logits: class scores (n×c), higher is better; the first of equal scores wins.

    Returns:
        Codes ±1 (n×c) of the dtype of ``logits``.

    Raises:
        ValueError: if ``logits`` is not a real n×c tensor with c ≥ 1.

    Example:
        >>> import torch
        >>> one_hot_codes(torch.tensor([[0.1, 2.0, 0.3]]))
        tensor([[-1.,  1., -1.]])

    Source: Sablayrolles et al. (2017), arXiv 1609.06753; built in Chapter 13.
    """
    if _real(logits, "logits").ndim != 2 or logits.shape[1] == 0:
        raise bad("logits", f"shape {tuple(logits.shape)}", "class scores (n×c) with c ≥ 1")
    codes = torch.full_like(logits, -1, requires_grad=False)  # n×c
    return codes.scatter_(1, logits.argmax(dim=1, keepdim=True), 1)


def _real(u: Tensor, name: str = "u") -> Tensor:
    """Return u if it is a tensor of real numbers that can hold −1, else raise ``ValueError``."""
    if not isinstance(u, Tensor):
        raise bad(name, type(u).__name__, "a torch tensor")
    if u.is_complex() or not u.dtype.is_signed or not computable(u):  # bool and uint8 are not signed
        got = str(u.dtype) if u.layout == torch.strided else str(u.layout)
        raise bad(name, got, "a tensor of floating numbers or signed integers")
    return u
