"""HashNet: a tanh that grows into the sign, and pairs weighted against their imbalance.

Cao, Long, Wang, Yu: *HashNet: Deep Learning to Hash by Continuation*, ICCV 2017, arXiv 1702.00758.
Chapter 14.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dhida_lib._validate import bad, instance, positive, positive_int
from dhida_lib.losses.base import HashLoss, Search, register_loss, shared_labels

__all__ = ["HashNetLoss"]


@register_loss("hashnet")
class HashNetLoss(HashLoss):
    """L = mean over pairs of w·(log(1 + exp θ) − s·θ) on v = tanh(β·u), with θ_ij = α·v_i·V_j.

    w_ij = |S|/|S₁| for the similar and |S|/|S₀| for the dissimilar of the |S| pairs at hand, so the few
    similar pairs weigh as much as the many others. With several labels a similar pair is also weighted by
    its overlap |y_i ∩ y_j| / |y_i ∪ y_j|, as in the paper; dissimilar pairs, for which that ratio
    is 0, keep their weight.

    β rises in ``stages`` equal steps of β² from 1 to ``beta_end``² over the run, whatever its length.
    Common ports tie it to the epoch's number (one step every 20 epochs), so that a short run never leaves
    tanh(u). Some also write the logarithm so that it overflows, and give every similar pair the weight
    "number of classes" instead of |S|/|S₁|.

    Args:
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch,
            as in the paper. The bank keeps u, so that its codes follow β.
        num_classes: number c of classes; needed with ``num_train``.
        alpha: α > 0 in θ; ``None``: 10/K, the authors' own, so that θ stays within ±10.
        beta_end: β ≥ 1 of the last stage; the authors' program ends near 7.
        stages: number of values that β takes; the paper has 10. A run of fewer epochs takes one each.
        overlap: weight similar pairs by their overlap; changes nothing where each image has one label.
        empty_rows: what unfilled rows of the bank count, see :class:`HashLoss`.

    Raises:
        ValueError: if an argument is wrong.

    Source: Cao et al., arXiv 1702.00758; built in Chapter 14.
    """

    label = "HashNet"
    reference = "Cao, Long, Wang, Yu, ICCV 2017, arXiv 1702.00758"
    search = Search("alpha", (0.2, 1.0))

    beta: Tensor

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        alpha: float | None = None,
        beta_end: float = 7.0,
        stages: int = 10,
        overlap: bool = True,
        empty_rows: str = "drop",
    ) -> None:
        super().__init__(bits, num_train, num_classes, empty_rows)
        self.alpha = positive("alpha", 10 / bits if alpha is None else alpha)
        self.beta_end = positive("beta_end", beta_end)
        if self.beta_end < 1:
            raise bad("beta_end", beta_end, "a number ≥ 1, where β starts")
        self.stages = positive_int("stages", stages)
        self.overlap = instance("overlap", overlap, bool, "True or False")
        self.register_buffer("beta", torch.tensor(1.0))

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Set β for the epoch that begins.

        Args:
            epoch: the epoch that begins, from 0.
            epochs: how many there will be.

        Raises:
            ValueError: if ``epoch`` is not within 0 … ``epochs`` − 1.

        Source: Cao et al., arXiv 1702.00758, Algorithm 1; built in Chapter 14.
        """
        if not 0 <= epoch < positive_int("epochs", epochs):
            raise bad("epoch", epoch, f"within 0 … {epochs - 1}")
        stages = min(self.stages, epochs)
        share = (stages * epoch // epochs) / max(stages - 1, 1)  # 0 in the first stage, 1 in the last
        self.beta.fill_(math.sqrt(1 + share * (self.beta_end**2 - 1)))

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        v, V = (torch.tanh(self.beta.to(u.dtype) * x) for x in (u, U))
        common, n, N = (x.to(u.dtype) for x in shared_labels(y, Y))  # B×m, B×1, m
        S = (common > 0).to(u.dtype)  # B×m
        c = common / (n + N - common).clamp_min(1) if self.overlap else S  # B×m
        nll = F.binary_cross_entropy_with_logits(self.alpha * v @ V.T, S, reduction="none")  # B×m
        similar = (c * nll).sum() / S.sum().clamp_min(1)
        return similar + ((1 - S) * nll).sum() / (1 - S).sum().clamp_min(1)
