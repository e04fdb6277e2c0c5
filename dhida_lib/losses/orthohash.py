"""OrthoHash: a classifier by angle whose weights are fixed binary codes.

Hoe, Ng, Zhang, Chan, Song, Xiang: *One Loss for All: Deep Hashing with a Single Cosine Similarity based
Learning Objective*, NeurIPS 2021, arXiv 2109.14449. Chapter 14.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dhida_lib._validate import bad, choice, positive, seed_int
from dhida_lib.losses.base import HashLoss, Search, multi_hot, register_loss
from dhida_lib.losses.centres import class_centres

__all__ = ["OrthoHashLoss"]


@register_loss("orthohash")
class OrthoHashLoss(HashLoss):
    """L = mean cross-entropy of the logits scale·(cos(u, h_k) − margin·[k is a label of the image]).

    h_k are the fixed ±1 centres of the classes. With several labels the target is y / Σ y, and the margin
    is taken off for each of them; an image without labels counts 0. There are no pairs and no bank. A code
    lies near a centre exactly when its angle to it is small, so one term serves both similarity and
    quantization.

    The paper normalises the outputs by batch (u = BN(Wψ)), which gives balanced bits. That layer belongs to
    the network, because codes need it too; the book's hash layer does not have it. The centres are
    balanced random rows as in the paper, but no two alike or near, see `class_centres`.

    Args:
        bits: length K of the code.
        num_train: accepted, because all losses are built alike; not used.
        num_classes: number c of classes; always needed: each has a centre.
        scale: factor > 0 of the logits; the authors' is 8.
        margin: margin ≥ 0 of the cosine; the authors' is 0.2 (0.3 on CIFAR-10).
        centres: ``"bernoulli"`` or ``"hadamard"``, see `class_centres`.
        seed: seed of the random rows.

    Raises:
        ValueError: if an argument is wrong, ``num_classes`` is missing or ``bits`` are too few for it.

    Source: Hoe et al., arXiv 2109.14449; built in Chapter 14.
    """

    uses_bank = False
    label = "OrthoHash"
    reference = "Hoe et al., NeurIPS 2021, arXiv 2109.14449"
    search = Search("margin", (0.0, 0.4))

    centres: Tensor

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        scale: float = 8.0,
        margin: float = 0.2,
        centres: str = "bernoulli",
        seed: int = 0,
    ) -> None:
        super().__init__(bits, num_classes=num_classes)
        self.seed = seed_int("seed", seed)
        if self.num_classes is None:
            raise bad("num_classes", None, "given: every class has a centre")
        self.scale, self.margin = positive("scale", scale), positive("margin", margin, zero=True)
        choice("centres", centres, ("bernoulli", "hadamard"))
        rows = class_centres(self.num_classes, self.bits, centres, seed)
        self.register_buffer("centres", rows)  # c×K

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        labels = multi_hot(y, self.num_classes).to(u.dtype)  # B×c
        cosine = F.normalize(u) @ F.normalize(self.centres.to(u.dtype)).T  # B×c
        log_p = torch.log_softmax(self.scale * (cosine - self.margin * labels), dim=1)  # B×c
        target = labels / labels.sum(dim=1, keepdim=True).clamp_min(1)  # B×c
        return -(target * log_p).sum(dim=1).mean()
