"""CSQ: every class has a fixed binary centre, and the outputs go there.

Yuan, Wang, Zhang, Tay, Jie, Liu, Feng: *Central Similarity Quantization for Efficient Image and Video
Retrieval*, CVPR 2020, arXiv 1908.00347. Chapter 14.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dhida_lib._validate import bad, positive, seed_int
from dhida_lib.losses.base import HashLoss, Search, multi_hot, register_loss
from dhida_lib.losses.centres import class_centres
from dhida_lib.quantization import sign

__all__ = ["CSQLoss"]


@register_loss("csq")
class CSQLoss(HashLoss):
    """L = mean over images and bits of the cross-entropy of ½(v + 1) against ½(h + 1), plus λ·mean(|v| − 1)².

    v = tanh(u), and h is the image's centre: that of its class, or with several labels the sign of the sum of
    their centres. Where that sum is 0, one fixed random code decides. There are no pairs and no bank.
    ½(tanh u + 1) = σ(2u), so the cross-entropy is taken from 2u in the stable form.

    The centres are rows of a Hadamard matrix, whose size common ports limit to powers of two. With
    Paley's construction 48 bits work as well; otherwise random rows, see `class_centres`. The first column
    of Sylvester's matrix is constant: with at most K classes it is a bit that carries nothing, here as in the
    paper.

    Args:
        bits: length K of the code.
        num_train: accepted, because all losses are built alike; not used.
        num_classes: number c of classes; always needed: each has a centre.
        lam: weight λ ≥ 0 of the quantization term.
        seed: seed of the random rows and of the code that decides where a sum is 0.

    Raises:
        ValueError: if an argument is wrong, ``num_classes`` is missing or ``bits`` are too few for it.

    Source: Yuan et al., arXiv 1908.00347; built in Chapter 14.
    """

    uses_bank = False
    label = "CSQ"
    reference = "Yuan et al., CVPR 2020, arXiv 1908.00347"
    search = Search("lam", (0.01, 0.1))

    centres: Tensor
    ties: Tensor

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        lam: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__(bits, num_classes=num_classes)
        self.seed = seed_int("seed", seed)
        if self.num_classes is None:
            raise bad("num_classes", None, "given: every class has a centre")
        self.lam = positive("lam", lam, zero=True)
        self.register_buffer("centres", class_centres(self.num_classes, self.bits, seed=seed))  # c×K
        random = torch.randn(self.bits, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("ties", sign(random))  # K

    def targets(self, y: Tensor) -> Tensor:
        """The centres of some labels.

        Args:
            y: class ids (n,) or multi-hot rows (n×c), int64.

        Returns:
            ±1 codes, n×K.

        Source: Yuan et al., arXiv 1908.00347, §3.2; built in Chapter 14.
        """
        total = multi_hot(y, self.num_classes).to(self.centres.dtype) @ self.centres  # n×K
        return sign(total).where(total != 0, self.ties)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        h = self.targets(y).to(u.dtype)  # B×K
        central = F.binary_cross_entropy_with_logits(2 * u, 0.5 * (h + 1))
        return central + self.lam * (torch.tanh(u).abs() - 1).square().mean()
