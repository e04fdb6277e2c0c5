"""CNNH: first find codes for the labels, then teach a network to give them.

Xia, Pan, Lai, Liu, Yan: *Supervised Hashing for Image Retrieval via Image Representation Learning*,
AAAI 2014. Chapter 14.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dhida_lib._validate import bad, seed_int
from dhida_lib.losses.base import HashLoss, register_loss
from dhida_lib.quantization import sign

__all__ = ["CNNHLoss"]


@register_loss("cnnh")
class CNNHLoss(HashLoss):
    """L = mean of (u − h)², where h is the code that stage one found for the image's labels.

    Stage one minimises ‖S − HHᵀ/K‖² over ±1 codes H, bit by bit, each bit the exact minimum with the others
    fixed; S_ij is 1 for similar images and −1 for others. S depends on labels alone, so images with the
    same labels share one code. Here stage one runs once, when the loss is made, over the classes (all of
    one weight); the codes of the classes are a buffer and are saved. An image's h lowers
    Σ_c (±1 − h·H_c/K)², +1 for its classes, −1 for the others; with one label that is its class's code.

    The paper factorises the n×n matrix S of the images by Newton steps, which needs all labels beforehand. In
    the usual port the labels for S come from a shuffled loader while its rows are looked up by place in
    the data set: the codes belong to other images, and the mAP is that of chance (0.134). Codes found from an
    image's own label cannot be confused.

    Args:
        bits: length K of the code.
        num_train: accepted, because all losses are built alike; not used.
        num_classes: number c of classes; always needed: stage one finds a code for each.
        seed: seed of the start of stage one.

    Raises:
        ValueError: if an argument is wrong or ``num_classes`` is missing.

    Source: Xia et al., AAAI 2014; built in Chapter 14.
    """

    uses_bank = False
    label = "CNNH"
    reference = "Xia, Pan, Lai, Liu, Yan, AAAI 2014"

    class_codes: Tensor

    def __init__(
        self, bits: int, num_train: int | None = None, num_classes: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(bits, num_classes=num_classes)
        self.seed = seed_int("seed", seed)
        if self.num_classes is None:
            raise bad("num_classes", None, "given: stage one finds a code for every class")
        H = sign(torch.randn(self.num_classes, self.bits, generator=torch.Generator().manual_seed(seed)))
        classes, before = torch.arange(self.num_classes), torch.zeros_like(H)
        while not torch.equal(H, before):  # ends, as `_descend` does
            before = H.clone()
            for c in range(self.num_classes):
                others = classes != c
                H[c] = self._descend(H[c][None], -torch.ones(1, self.num_classes - 1), H[others])
        self.register_buffer("class_codes", H)  # c×K

    def _descend(self, h: Tensor, s: Tensor, H: Tensor) -> Tensor:
        """Lower Σ_c (s_c − h·H_c/K)² bit by bit until no bit changes; h is m×K, s is m×c, H is c×K."""
        before = torch.zeros_like(h)
        while not torch.equal(h, before):  # ends: the sum falls, or a bit of no account becomes +1
            before, h = h, h.clone()
            for k in range(self.bits):
                rest = h @ H.T - h[:, k, None] * H[:, k]  # m×c: the inner products without bit k
                h[:, k] = sign((self.bits * s - rest) @ H[:, k])
        return h

    def targets(self, y: Tensor) -> Tensor:
        """The codes h for some labels.

        Args:
            y: class ids (n,) or multi-hot rows (n×c), int64.

        Returns:
            ±1 codes, n×K.

        Source: Xia et al., AAAI 2014; built in Chapter 14.
        """
        if y.ndim == 1:
            return self.class_codes[y]
        rows = y.to(self.class_codes.dtype)  # n×c
        return self._descend(sign(rows @ self.class_codes), 2 * rows - 1, self.class_codes)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        return (u - self.targets(y).to(u.dtype)).square().mean()
