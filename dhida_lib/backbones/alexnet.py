"""AlexNet, the backbone of the rows DHIDA-A and DHIDA-I of Table 4 (Chapter 4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from dhida_lib._validate import positive_int
from dhida_lib.backbones.base import (
    IMAGENET_FORM,
    Backbone,
    imagenet_file,
    is_imagenet,
    register_backbone,
    torchvision_models,
)

__all__ = ["AlexNet"]


@register_backbone("alexnet")
class AlexNet(Backbone):
    """AlexNet up to fc7, the backbone of DHIDA-A and DHIDA-I in Table 4.

    The map is 256×6×6. Pooling is no average here: the map is flattened and goes through
    the two hidden layers fc6 and fc7 with their dropout, so ψ(x) has 4096 numbers (the 4096 of Eq. 14).

    Args:
        weights: as in `ResNet18`; the last layer ``classifier.6`` of a file is left out.
        in_channels: as in `ResNet18`.

    Raises:
        ValueError: for a wrong argument, or a file that is damaged or does not fit.
        FileNotFoundError: if the weights are not on disk; the message says how to get them.
        ImportError: without torchvision.

    Source: Table 4; built in Chapter 4.
    """

    map_channels = 256
    feature_dim = 4096
    smallest = 224
    form = IMAGENET_FORM

    def __init__(self, weights: str | Path | None = None, in_channels: int = 3) -> None:
        super().__init__()
        models = torchvision_models()
        self.in_channels = positive_int("in_channels", in_channels)
        net = models.alexnet(weights=None)
        self.features, self.classifier = net.features, net.classifier[:6]  # all but the last layer
        if in_channels != 3:
            self.features[0] = nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2)
        if weights is not None:
            path = imagenet_file(models.AlexNet_Weights.IMAGENET1K_V1) if is_imagenet(weights) else weights
            self._load(path, first="features.0.weight", head="classifier.6.")

    def stages(self) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        """B×in_channels×H×W → B×256×6×6 at 224 px, behind the last max pooling; needs sides ≥ 224."""
        return [("features", self.features)]

    def pool(self, A: Tensor) -> Tensor:
        """ψ(x) of a map A (B×256×h×w → B×4096): averaged to 6×6 if it is larger, flattened, fc6, fc7."""
        return self.classifier(F.adaptive_avg_pool2d(A, 6).flatten(1))
