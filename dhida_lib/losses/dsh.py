"""DSH: a contrastive loss on squared distances, and outputs drawn towards ±1.

Liu, Wang, Shan, Chen: *Deep Supervised Hashing for Fast Image Retrieval*, CVPR 2016. Chapter 14.
"""

from __future__ import annotations

from torch import Tensor

from dhida_lib._validate import positive
from dhida_lib.labels import similarity
from dhida_lib.losses.base import HashLoss, Search, register_loss

__all__ = ["DSHLoss"]


@register_loss("dsh")
class DSHLoss(HashLoss):
    """L = mean over pairs of ½·s·D + ½·(1 − s)·max(m − D, 0) + α·(r_i + r_j).

    D_ij = ‖u_i − U_j‖² and r_i = Σ_k ||u_ik| − 1|. Similar codes are drawn together, dissimilar ones pushed
    until D reaches the margin m; two ±1 codes have D = 4 × their Hamming distance. Labels: ids or multi-hot.

    Common ports take the *mean* over bits in r, which makes the second term K times weaker than the paper's
    sum, and let the bank's empty rows count. Those are zero codes without labels, hence "dissimilar": in
    the first epoch they push every ‖u‖² up to m. Here they are no pairs (``empty_rows="drop"``).

    Args:
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch.
        num_classes: number c of classes; needed with ``num_train``.
        margin: m > 0, in units of D; ``None``: 2K, the paper's, half the largest D of two codes.
        alpha: weight α ≥ 0 of r; the paper's is 0.01.
        empty_rows: what unfilled rows of the bank count, see :class:`HashLoss`.

    Raises:
        ValueError: if an argument is wrong.

    Source: Liu et al., CVPR 2016; built in Chapter 14.
    """

    label = "DSH"
    reference = "Liu, Wang, Shan, Chen, CVPR 2016"
    search = Search("alpha", (0.1, 1.0))

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        margin: float | None = None,
        alpha: float = 0.01,
        empty_rows: str = "drop",
    ) -> None:
        super().__init__(bits, num_train, num_classes, empty_rows)
        self.margin = positive("margin", 2 * bits if margin is None else margin)
        self.alpha = positive("alpha", alpha, zero=True)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        D = u.square().sum(1)[:, None] + U.square().sum(1) - 2 * u @ U.T  # B×m
        data = 0.5 * D.where(similarity(y, Y), (self.margin - D).clamp_min(0))  # B×m
        r, R = ((x.abs() - 1).abs().sum(1) for x in (u, U))  # B, m
        return data.mean() + self.alpha * (r.mean() + R.mean())
