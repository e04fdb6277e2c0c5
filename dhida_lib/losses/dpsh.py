"""DPSH: the likelihood of the pairs, and outputs drawn to their own signs.

Li, Wang, Kang: *Feature Learning based Deep Supervised Hashing with Pairwise Labels*, IJCAI 2016,
arXiv 1511.03855. Chapter 14.
"""

from __future__ import annotations

from torch import Tensor

from dhida_lib._validate import positive
from dhida_lib.losses.base import HashLoss, Search, pairwise_nll, register_loss, similar
from dhida_lib.quantization import quantization_error

__all__ = ["DPSHLoss"]


@register_loss("dpsh")
class DPSHLoss(HashLoss):
    """L = mean over pairs of log(1 + exp θ) − s·θ, plus η · mean of (u − sign u)².

    θ_ij = ½ u_i·U_j. sign(u) is a constant for the gradient. Labels: ids or multi-hot.

    Both terms are means, as in common ports; the paper sums, so its η is of another scale. Zero has the code
    +1, as in the paper (``torch.sign(0)`` is 0, which would ask for u = 0).

    Args:
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch.
        num_classes: number c of classes; needed with ``num_train``.
        eta: weight η ≥ 0 of the quantization error.
        empty_rows: what unfilled rows of the bank count, see :class:`HashLoss`.

    Raises:
        ValueError: if an argument is wrong.

    Source: Li et al., arXiv 1511.03855; built in Chapter 14.
    """

    label = "DPSH"
    reference = "Li, Wang, Kang, IJCAI 2016, arXiv 1511.03855"
    search = Search("eta", (0.01, 1.0))

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        eta: float = 0.1,
        empty_rows: str = "drop",
    ) -> None:
        super().__init__(bits, num_train, num_classes, empty_rows)
        self.eta = positive("eta", eta, zero=True)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        S = similar(y, Y, u)  # B×m
        return pairwise_nll(0.5 * u @ U.T, S) + self.eta * quantization_error(u)
