"""The whole network of Fig. 1: backbone, attention, pooling, hash layer; built in Chapters 4 to 7.

x → feature map A → attention E → ψ(x) → u = Wᵀψ + b (Eq. 14) → h = sign(u) (Eq. 15)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dhida_lib._validate import bad, choice, positive, positive_int
from dhida_lib.attention import Doubled, DualAttention, PlainConvolutions
from dhida_lib.backbones import build_backbone
from dhida_lib.quantization import sign

__all__ = ["ATTENTIONS", "HashNetwork"]

ATTENTIONS = ("none", "double", "conv", "flipped", "danet", "ida")
"""The names that `HashNetwork` takes for ``attention``; the second to the fourth are controls."""


class HashNetwork(nn.Module):
    """Images in, one real number per bit out; its sign is the bit.

    The paper says of the hash layer only that W and b are sampled "from Gaussian distribution". ``init_std``,
    the standard deviation of both, is our choice: 0.1. The field's usual 0.01 starts on the saddle that the
    likelihood loss has at u = 0 (Chapter 9). Backbone and hash layer are drawn before
    attention: under one seed they start alike whatever ``attention`` is, so comparisons can be paired.

    Args:
        backbone: ``"resnet18"`` (the paper's), ``"alexnet"``, or ``"narrow-resnet"`` and ``"narrow-alexnet"``
            for images of 28 to 32 pixels.
        attention: between map and pooling: ``"ida"`` (the paper's), ``"danet"``, ``"none"``, or a control:
            ``"double"`` (`Doubled`, 2A), ``"conv"`` (`PlainConvolutions`, as many parameters) and
            ``"flipped"`` (`DualAttention` with softmax of +M and +N).
        bits: K, the length of the code.
        weights: start of the backbone: ``None`` (random), ``"imagenet"`` or the path of a state dict.
        init_std: standard deviation of W and b at the start, > 0.
        in_channels: channels of the images, 3 for colour, 1 for grey.
        reduce: ``"column"`` or ``"row"``, see `DualAttention`; a choice only with ``"ida"``.
        fusion: ``"sum"`` or ``"mean"``, see `DualAttention`, whose variants alone have a choice.
        width: w of ``"narrow-resnet"`` and ``"narrow-alexnet"``.

    Attributes:
        backbone, attention, hash_layer: the three parts, modules.
        bits: K.

    Raises:
        ValueError: for a wrong argument or weights that do not fit.
        FileNotFoundError: if the weights are not on disk; the message says how to get them.

    Source: Fig. 1, Eq. (14) and (15); built in Chapter 4.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        attention: str = "ida",
        bits: int = 16,
        weights: str | Path | None = None,
        init_std: float = 0.1,
        in_channels: int = 3,
        reduce: str = "column",
        fusion: str = "sum",
        width: int = 16,
    ) -> None:
        super().__init__()
        choice("attention", attention, ATTENTIONS)
        self.bits = positive_int("bits", bits)
        init_std = positive("init_std", init_std)
        self._config = {
            "backbone": backbone,
            "attention": attention,
            "bits": bits,
            "weights": None,
            "init_std": init_std,
            "in_channels": in_channels,
            "reduce": reduce,
            "fusion": fusion,
            "width": width,
        }
        self.backbone = build_backbone(backbone, weights, in_channels, width)
        self.hash_layer = nn.Linear(self.backbone.feature_dim, bits)
        nn.init.normal_(self.hash_layer.weight, std=init_std)
        nn.init.normal_(self.hash_layer.bias, std=init_std)
        self.attention = _build_attention(attention, self.backbone.map_channels, reduce, fusion)

    def feature_map(self, x: Tensor) -> Tensor:
        """A: images x (B×in_channels×H×W) → the backbone's last map (B×C×h×w)."""
        return self.backbone.feature_map(x)

    def attend(self, A: Tensor) -> Tensor:
        """E: attention on a map A; both B×C×h×w."""
        return self.attention(A)

    def forward(self, x: Tensor) -> Tensor:
        """The real outputs, one for each bit (the loss applies f to them, Eq. 1).

        Args:
            x: normalised images B×in_channels×H×W, floating.

        Returns:
            u, B×bits.

        Raises:
            ValueError: if x is no such batch, or its images are too small for the backbone.
        """
        A = self.feature_map(x)  # B×C×h×w
        E = self.attend(A)  # B×C×h×w
        psi = self.backbone.pool(E)  # B×d
        return self.hash_layer(psi)  # Eq. 14, B×K

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """The binary codes h = sign(u), without gradient.

        Batch norm and dropout act as the mode of the network says: call ``model.eval()`` first, else the
        code of an image depends on the batch that it came in.

        Args:
            x: normalised images B×in_channels×H×W, floating.

        Returns:
            Codes of ±1, B×bits, floating.

        Raises:
            ValueError: if x is no such batch, or the network's output holds NaN or infinity.
        """
        u = self(x)  # B×K
        if not u.isfinite().all():
            need = "finite images, for a network whose training did not diverge"
            raise bad("x", "images whose output u holds NaN or infinity", need)
        return sign(u)  # Eq. 15

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, ready for JSON: ``HashNetwork(**model.config)`` has the same shape.

        ``weights`` is always ``None`` here: a state dict that is loaded afterwards brings all weights, and
        must not need the file from which training once started.
        """
        return dict(self._config)


def _build_attention(name: str, channels: int, reduce: str, fusion: str) -> nn.Module:
    """The module that stands between map and pooling."""
    choice("reduce", reduce, ("column", "row"))
    choice("fusion", fusion, ("sum", "mean"))
    if reduce != "column" and name != "ida":
        raise bad("reduce", reduce, f'left at "column" with attention={name!r}: only "ida" has a choice')
    if name in ("ida", "danet", "flipped"):
        return DualAttention(channels, name, reduce, fusion)
    if fusion != "sum":
        raise bad("fusion", fusion, f'left at "sum" with attention={name!r}, which fuses nothing')
    return {"none": nn.Identity, "double": Doubled, "conv": PlainConvolutions}[name](channels)
