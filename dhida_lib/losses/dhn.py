"""DHN: the likelihood of the pairs, and a prior that has its peaks at ±1.

Zhu, Long, Wang, Cao: *Deep Hashing Network for Efficient Similarity Retrieval*, AAAI 2016. Chapter 14.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from dhida_lib._validate import positive
from dhida_lib.losses.base import HashLoss, Search, pairwise_nll, register_loss, similar

__all__ = ["DHNLoss"]


@register_loss("dhn")
class DHNLoss(HashLoss):
    """L = mean over pairs of log(1 + exp θ) − s·θ, plus α · mean of log cosh(|u| − 1).

    θ_ij = ½ u_i·U_j. The second term smooths the distance ||u| − 1| (a bimodal Laplace prior on u): it is
    about ½(|u| − 1)² near ±1, and grows by 1 per unit far from it. Labels: ids or multi-hot.

    Written as ``log(cosh(x))`` it overflows from |x| ≈ 89 in float32. Here it is the same function as
    |x| + log(1 + exp(−2|x|)) − log 2, which never does. Both terms are means, as in common ports; the paper
    sums, so its weight is of another scale.

    Args:
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch.
        num_classes: number c of classes; needed with ``num_train``.
        alpha: weight α ≥ 0 of the prior.
        empty_rows: what unfilled rows of the bank count, see :class:`HashLoss`.

    Raises:
        ValueError: if an argument is wrong.

    Source: Zhu et al., AAAI 2016; built in Chapter 14.
    """

    label = "DHN"
    reference = "Zhu, Long, Wang, Cao, AAAI 2016"
    search = Search("alpha", (0.01, 1.0))

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        alpha: float = 0.1,
        empty_rows: str = "drop",
    ) -> None:
        super().__init__(bits, num_train, num_classes, empty_rows)
        self.alpha = positive("alpha", alpha, zero=True)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        S = similar(y, Y, u)  # B×m
        x = (u.abs() - 1).abs()  # B×K
        log_cosh = x + F.softplus(-2 * x) - math.log(2)  # B×K
        return pairwise_nll(0.5 * u @ U.T, S) + self.alpha * log_cosh.mean()
