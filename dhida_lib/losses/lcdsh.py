"""LCDSH: the likelihood of the pairs, and binary codes that keep the similarities of the real ones.

Zhu, Gao: *Locality Constrained Deep Supervised Hashing for Image Retrieval*, IJCAI 2017. Chapter 14.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dhida_lib._validate import positive
from dhida_lib.losses.base import HashLoss, Search, pairwise_nll, register_loss, similar
from dhida_lib.quantization import sign

__all__ = ["LCDSHLoss"]


@register_loss("lcdsh")
class LCDSHLoss(HashLoss):
    """L = mean over pairs of log(1 + exp(−s̃·θ)) + λ·(σ(θ) − σ(½ b_i·b_j))², s̃ = ±1.

    θ_ij = ½ u_i·U_j, b = sign(u), a constant for the gradient; σ is the logistic function. The first term
    is the likelihood of the pairs in another notation. The second, the *locality* term, asks that two
    images be as similar by their codes as by their outputs. Labels: ids or multi-hot.

    Common ports clamp θ to ±50 against overflow, which also cuts the gradient there; here the stable form
    needs no clamp.

    Args:
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch,
            as in common ports.
        num_classes: number c of classes; needed with ``num_train``.
        lam: weight λ ≥ 0 of the locality term.
        empty_rows: what unfilled rows of the bank count, see :class:`HashLoss`. With ``"keep"`` the sign
            makes them codes of ones.

    Raises:
        ValueError: if an argument is wrong.

    Source: Zhu and Gao, IJCAI 2017; built in Chapter 14.
    """

    label = "LCDSH"
    reference = "Zhu, Gao, IJCAI 2017"
    search = Search("lam", (0.3, 1.0))

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        lam: float = 3.0,
        empty_rows: str = "drop",
    ) -> None:
        super().__init__(bits, num_train, num_classes, empty_rows)
        self.lam = positive("lam", lam, zero=True)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        S = similar(y, Y, u)  # B×m
        theta = 0.5 * u @ U.T  # B×m
        binary = 0.5 * sign(u) @ sign(U).T  # B×m
        locality = (torch.sigmoid(theta) - torch.sigmoid(binary)).square().mean()
        return pairwise_nll(theta, S) + self.lam * locality
