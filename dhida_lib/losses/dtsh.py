"""DTSH: the likelihood of triplets: an image, one like it, one unlike it.

Wang, Shi, Kitani: *Deep Supervised Hashing with Triplet Labels*, ACCV 2016, arXiv 1612.03900. Chapter 14.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dhida_lib._validate import positive
from dhida_lib.labels import similarity
from dhida_lib.losses.base import HashLoss, Search, register_loss
from dhida_lib.quantization import quantization_error

__all__ = ["DTSHLoss"]


@register_loss("dtsh")
class DTSHLoss(HashLoss):
    """L = mean over triplets of log(1 + exp(−(θ_qp − θ_qn − α))), plus λ · mean of (u − sign u)².

    θ_ij = ½ u_i·u_j. The triplets are all (q, p, n) of the batch in which p ≠ q shares a label with q and n
    does not; a batch without any has only the second term. There is no bank. Labels: ids or multi-hot.

    Common ports leave out the ½, so that their α = 5 is 2.5 here, count q as its own positive (whose θ
    only grows with ‖u_q‖), and clamp the argument against overflow, which the stable form does not need.

    Args:
        bits: length K of the code.
        num_train: accepted, because all losses are built alike; not used.
        num_classes: number c of classes; only checks the labels.
        alpha: margin α ≥ 0, in units of θ.
        lam: weight λ ≥ 0 of the quantization error.

    Raises:
        ValueError: if an argument is wrong.

    Source: Wang et al., arXiv 1612.03900; built in Chapter 14.
    """

    uses_bank = False
    label = "DTSH"
    reference = "Wang, Shi, Kitani, ACCV 2016, arXiv 1612.03900"
    search = Search("lam", (0.1, 10.0))

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        alpha: float = 2.5,
        lam: float = 1.0,
    ) -> None:
        super().__init__(bits, num_classes=num_classes)
        self.alpha = positive("alpha", alpha, zero=True)
        self.lam = positive("lam", lam, zero=True)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        S = similarity(y)  # B×B
        itself = torch.eye(len(u), dtype=torch.bool, device=u.device)
        q, p, n = ((S & ~itself)[:, :, None] & ~S[:, None, :]).nonzero().T  # T each
        theta = 0.5 * u @ u.T  # B×B
        nll = F.softplus(self.alpha - theta[q, p] + theta[q, n])  # T
        return nll.sum() / max(len(q), 1) + self.lam * quantization_error(u)
