"""DFH: pairs with a margin, and binary class centres that are pushed apart and pull their images.

Li, Pei, Zha, van Gemert: *Push for Quantization: Deep Fisher Hashing*, BMVC 2019, arXiv 1909.00206.
Chapter 14.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dhida_lib._validate import bad, positive, seed_int
from dhida_lib.labels import similarity
from dhida_lib.losses.base import HashLoss, Search, multi_hot, register_loss
from dhida_lib.quantization import sign

__all__ = ["DFHLoss"]


@register_loss("dfh")
class DFHLoss(HashLoss):
    """L = mean over pairs of s·log(1 + exp(m − θ)) + (1 − s)·log(1 + exp(m + θ)), plus η · mean of (b − u)².

    θ_ij = ½ u_i·U_j. b = sign(μ·yC + u) is the code that an image is to get: its own sign, corrected by the
    centres C (c×K, ±1) of its classes; y is its multi-hot label. The centres are found without a gradient.
    Every call lowers

        (c/n)·Σ_i ‖y_i C − b_i‖² + (ω/(c − 1))·Σ_{k≠l} C_k·C_l

    over the images met so far (or the batch) by one turn over the classes, each centre the exact minimum with
    the others fixed: the centres stay near their images' codes, and far from each other.

    The usual port takes 200 gradient steps a batch on real centres instead, towards C_k·C_l = −K for every
    two classes, which more than two classes cannot reach. It also clamps θ, which cuts the gradient. The
    authors' program has the discrete step; its two sums are unscaled there, so that ω does nothing
    for large classes.

    Args:
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch.
        num_classes: number c of classes; always needed: each has a centre.
        margin: m ≥ 0, in units of θ.
        mu: μ ≥ 0: how far a centre can overrule u; the authors' is 1.
        eta: weight η ≥ 0 of the quantization term.
        omega: ω ≥ 0: how hard the centres push each other; below 1, images of one code keep their centre.
        seed: seed of the first centres.
        empty_rows: what unfilled rows of the bank count as pairs, see :class:`HashLoss`; the centres never
            see them.

    Raises:
        ValueError: if an argument is wrong or ``num_classes`` is missing.

    Source: Li et al., arXiv 1909.00206; built in Chapter 14.
    """

    label = "DFH"
    reference = "Li, Pei, Zha, van Gemert, BMVC 2019, arXiv 1909.00206"
    search = Search("eta", (0.05, 2.0))

    centres: Tensor

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        margin: float = 3.0,
        mu: float = 1.0,
        eta: float = 0.5,
        omega: float = 0.5,
        seed: int = 0,
        empty_rows: str = "drop",
    ) -> None:
        super().__init__(bits, num_train, num_classes, empty_rows)
        self.seed = seed_int("seed", seed)
        if self.num_classes is None:
            raise bad("num_classes", None, "given: every class has a centre")
        self.margin = positive("margin", margin, zero=True)
        self.mu = positive("mu", mu, zero=True)
        self.eta = positive("eta", eta, zero=True)
        self.omega = positive("omega", omega, zero=True)
        start = torch.randn(self.num_classes, self.bits, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("centres", sign(start))  # c×K

    def targets(self, u: Tensor, Y: Tensor) -> Tensor:
        """The codes b = sign(μ·yC + u) that the images are to get.

        Args:
            u: outputs, n×K; no gradient flows.
            Y: multi-hot labels, n×c.

        Returns:
            ±1 codes, n×K, of the dtype of ``u``.

        Source: Li et al., arXiv 1909.00206; built in Chapter 14.
        """
        return sign(self.mu * (Y.to(u.dtype) @ self.centres.to(u.dtype)) + u.detach())

    def update_centres(self, B: Tensor, Y: Tensor) -> None:
        """One turn over the classes; each centre becomes the best one for the codes and the other centres.

        Args:
            B: the images' ±1 codes, n×K.
            Y: their multi-hot labels, n×c.

        Source: Li et al., arXiv 1909.00206; built in Chapter 14.
        """
        C, c = self.centres, len(self.centres)
        B, Y = B.to(C.dtype), Y.to(C.dtype)
        Q = c / len(B) * (Y.T @ B)  # c×K
        A = c / len(B) * (Y.T @ Y) + self.omega / max(c - 1, 1)  # c×c
        A.fill_diagonal_(0)
        for k in range(c):
            C[k] = sign(Q[k] - A[k] @ C)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        theta = 0.5 * u @ U.T  # B×m
        data = F.softplus(self.margin + theta.where(~similarity(y, Y), -theta)).mean()
        return data + self.eta * (self.targets(u, multi_hot(y, self.num_classes)) - u).square().mean()

    def update(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor, rows: Tensor | None) -> None:
        """Bring the centres up to date with all images met so far."""
        Y = multi_hot(Y, self.num_classes)  # m×c
        met = Y.any(dim=1)  # m: rows that say something about centres; not those kept empty
        if met.any():
            self.update_centres(self.targets(U[met], Y[met]), Y[met])
