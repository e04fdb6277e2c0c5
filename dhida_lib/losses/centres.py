"""Binary class centres that lie far from each other, for CSQ and OrthoHash. Chapter 14."""

from __future__ import annotations

import torch
from torch import Tensor

from dhida_lib._validate import bad, choice, positive_int, seed_int

__all__ = ["class_centres", "hadamard"]

POOL = 8192  # random rows from which centres are chosen


def hadamard(n: int) -> Tensor:
    """A Hadamard matrix: n rows of ±1, each two of which differ in exactly half of their places.

    Two constructions: Sylvester's doubling of a smaller matrix, and Paley's from the squares modulo a prime
    q = n − 1 with q mod 4 = 3. Doubling alone gives only powers of two; with Paley's also 12, 20, 24, 40,
    **48**, 60, 80, 96 and many more.

    Args:
        n: number of rows and columns.

    Returns:
        H (n×n, float32) with HHᵀ = n·I and a first row of ones.

    Raises:
        ValueError: if neither construction gives an n×n matrix, as for 28, or if there is none, as for 6.

    Source: Sylvester 1867, Paley 1933; used by CSQ in Chapter 14.
    """
    positive_int("n", n)
    if n == 1:
        return torch.ones(1, 1)
    if n % 2 == 0:
        try:
            H = hadamard(n // 2)
        except ValueError:
            pass
        else:
            return torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)])
    q = n - 1
    if n % 4 == 0 and all(q % d for d in range(2, int(q**0.5) + 1)):
        place = torch.arange(q)
        chi = torch.full((q,), -1.0)  # χ(x): 0 at 0, +1 at squares modulo q, −1 elsewhere
        chi[place**2 % q] = 1.0
        chi[0] = 0.0
        H = torch.ones(n, n)
        H[1:, 0] = -1.0
        H[1:, 1:] = chi[(place[:, None] - place) % q] + torch.eye(q)
        return H
    raise bad("n", n, "1, 2, or a multiple of 4 that Sylvester's or Paley's construction reaches")


def class_centres(classes: int, bits: int, kind: str = "hadamard", seed: int = 0) -> Tensor:
    """One binary centre for each class.

    ``"hadamard"``: the first rows of [H; −H], for at most 2·bits classes; where there is no H of that size,
    or too few rows, as for ``"bernoulli"``: rows with as many +1 as −1 (one fewer, if ``bits`` is odd) are
    drawn at random, and each new one is kept if it differs from all before in more than a quarter of
    its bits. If that gives too few, the least distance is lowered by one, and so on.

    Args:
        classes: number c of classes.
        bits: length K of the centres.
        kind: ``"hadamard"`` or ``"bernoulli"``.
        seed: seed of the random rows.

    Returns:
        Centres (c×K, ±1, float32), no two alike.

    Raises:
        ValueError: if an argument is wrong, or ``bits`` are too few for so many classes.

    Source: Yuan et al., arXiv 1908.00347, §3.2; built in Chapter 14.
    """
    positive_int("classes", classes)
    positive_int("bits", bits)
    seed_int("seed", seed)
    if choice("kind", kind, ("hadamard", "bernoulli")) == "hadamard" and classes <= 2 * bits:
        try:
            H = hadamard(bits)
        except ValueError:
            pass
        else:
            return torch.cat([H, -H])[:classes]
    order = torch.rand(POOL, bits, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
    pool = torch.where(order < bits // 2, 1.0, -1.0)  # POOL×K
    for least in range(bits // 4 + 1, 0, -1):
        free = torch.ones(POOL, dtype=torch.bool)
        chosen: list[Tensor] = []
        while len(chosen) < classes and free.any():
            row = pool[int(free.int().argmax())]  # the first that is left
            chosen.append(row)
            free &= (bits - pool @ row) / 2 >= least
        if len(chosen) == classes:
            return torch.stack(chosen)
    raise bad("bits", bits, f"enough for {classes} different class centres with as many +1 as −1")
