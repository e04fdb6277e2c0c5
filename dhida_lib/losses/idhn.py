"""IDHN: similarity in percent for images with several labels.

Zhang, Zou, Lin, Chen, Wang: *Improved Deep Hashing with Soft Pairwise Similarity for Multi-label Image
Retrieval*, IEEE Transactions on Multimedia, 2020, arXiv 1803.02987. Chapter 14.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dhida_lib._validate import positive
from dhida_lib.losses.base import HashLoss, Search, register_loss, shared_labels

__all__ = ["IDHNLoss"]


@register_loss("idhn")
class IDHNLoss(HashLoss):
    """Likelihood for pairs that share all labels or none, least squares for those in between.

    v = u / (1 + |u|), t_ij = v_i·V_j, and s_ij = the cosine of the two label vectors.

    Hard pairs (s = 0 or 1): log(1 + exp(αt/K)) − s·αt/K.
    Soft pairs (0 < s < 1): γ·K·((t + K)/(2K) − s)²: the agreement of two codes, which runs from 0 to 1, is
    to be s itself.
    L = mean over all pairs, plus λ · mean of ||v| − 1|. With one label an image all pairs are hard.

    A common port compares α·t, which stays within ±K/2 at its α = ½, with 2sK − K, so that identical codes
    of s = 1 − ε cost most and the minimum lies elsewhere. The scale here is that of the authors' program.
    Whether a pair is hard is decided by counting labels, not by s > 0.99.

    Args:
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch,
            as in the authors' program.
        num_classes: number c of classes; needed with ``num_train``.
        alpha: α > 0; the authors' is 5.
        gamma: weight γ ≥ 0 of the soft pairs.
        lam: weight λ ≥ 0 of the quantization term.
        empty_rows: what unfilled rows of the bank count, see :class:`HashLoss`.

    Raises:
        ValueError: if an argument is wrong.

    Source: Zhang et al., arXiv 1803.02987; built in Chapter 14.
    """

    label = "IDHN"
    reference = "Zhang, Zou, Lin, Chen, Wang, IEEE Transactions on Multimedia 2020, arXiv 1803.02987"
    search = Search("lam", (0.01, 1.0))

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        alpha: float = 5.0,
        gamma: float = 0.1,
        lam: float = 0.1,
        empty_rows: str = "drop",
    ) -> None:
        super().__init__(bits, num_train, num_classes, empty_rows)
        self.alpha = positive("alpha", alpha)
        self.gamma = positive("gamma", gamma, zero=True)
        self.lam = positive("lam", lam, zero=True)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        v, V = F.softsign(u), F.softsign(U)
        common, n, N = (x.to(u.dtype) for x in shared_labels(y, Y))  # B×m, B×1, m
        hard = (common == 0) | (common.square() == n * N)  # B×m: s is 0 or 1
        s = common / (n * N).clamp_min(1).sqrt()  # B×m
        t = v @ V.T  # B×m
        S = (common > 0).to(u.dtype)
        nll = F.binary_cross_entropy_with_logits(self.alpha / self.bits * t, S, reduction="none")  # B×m
        soft = self.gamma * self.bits * ((t + self.bits) / (2 * self.bits) - s).square()  # B×m
        return nll.where(hard, soft).mean() + self.lam * (v.abs() - 1).abs().mean()
