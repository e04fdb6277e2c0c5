"""The baseline that needs no hashing: train a classifier, use its one-hot answer as the code.

Sablayrolles et al. (arXiv 1609.06753) showed that such a code does well on the field's own measure, because
the measure asks only for the right class. Every table of the book shows it; Chapters 11 and 13.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dhida_lib._validate import bad
from dhida_lib.losses.base import HashLoss, Search, register_loss

__all__ = ["ClassifierLoss"]


@register_loss("classifier")
class ClassifierLoss(HashLoss):
    """Classification loss on u as logits: one output for each class, so K = c.

    Class ids: cross-entropy. Multi-hot rows: binary cross-entropy, a mean over images and classes.
    There are no pairs and no bank. The code is ``quantization.one_hot_codes(u)``.

    Args:
        bits: number of outputs; must be the number of classes.
        num_train: accepted, because all losses are built alike; not used.
        num_classes: number c of classes; ``None`` takes ``bits``.

    Raises:
        ValueError: if ``bits`` is not ``num_classes``.

    Source: Sablayrolles et al., arXiv 1609.06753; used from Chapter 11.
    """

    code_rule = "one-hot"
    uses_bank = False
    any_length = False
    label = "Classifier"
    reference = "Sablayrolles et al., arXiv 1609.06753"
    search = Search("weight_decay", (0.0001, 0.001))

    def __init__(self, bits: int, num_train: int | None = None, num_classes: int | None = None) -> None:
        super().__init__(bits, num_classes=bits if num_classes is None else num_classes)
        if self.bits != self.num_classes:
            raise bad("bits", bits, f"the number of classes, {num_classes}: one output for each class")

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        if y.ndim == 1:
            return F.cross_entropy(u, y)
        return F.binary_cross_entropy_with_logits(u, y.to(u.dtype))
