"""ResNet18, the paper's backbone (Table 1; Chapter 4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from dhida_lib._validate import positive_int
from dhida_lib.backbones.base import (
    IMAGENET_FORM,
    Backbone,
    imagenet_file,
    is_imagenet,
    register_backbone,
    torchvision_models,
)

__all__ = ["ResNet18"]


@register_backbone("resnet18")
class ResNet18(Backbone):
    """ResNet18 up to its last map, the paper's backbone (Table 1).

    The stages carry torchvision's names (``conv1``, ``maxpool``, ``layer1`` … ``layer4``). At 224 pixels the
    maps are 64×112×112, 64×56×56 (Table 1 prints 54), 64×56×56, 128×28×28, 256×14×14 and 512×7×7.
    Any size works, but below 33 pixels the last map is 1×1 and position attention has nothing to compare.

    Args:
        weights: ``None`` (random), ``"imagenet"`` (torchvision's, which must be on disk already: nothing is
            downloaded), or the path of a state dict (.pth, .pt, .safetensors) with torchvision's names.
            A last layer ``fc`` in the file is left out.
        in_channels: channels of the images. With 1 and weights made for colour, the first
            convolution is summed over colour, which is exact for a grey image shown as three equal planes.

    Raises:
        ValueError: for a wrong argument, or a file that is damaged or does not fit.
        FileNotFoundError: if the weights are not on disk; the message says how to get them.
        ImportError: without torchvision.

    Source: Table 1; built in Chapter 4.
    """

    map_channels = 512
    feature_dim = 512
    form = IMAGENET_FORM
    _STEM = "stem"

    def __init__(self, weights: str | Path | None = None, in_channels: int = 3) -> None:
        super().__init__()
        models = torchvision_models()
        self.in_channels = positive_int("in_channels", in_channels)
        net = models.resnet18(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        if in_channels != 3:
            self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        if weights is not None:
            path = imagenet_file(models.ResNet18_Weights.IMAGENET1K_V1) if is_imagenet(weights) else weights
            self._load(path, first="conv1.weight", head="fc.")

    def stages(self) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        """B×in_channels×H×W → B×512×⌈H/32⌉×⌈W/32⌉, behind ``layer4``."""
        return [
            (self._STEM, self._stem),  # B×64×H/4×W/4
            ("layer1", self.layer1),  # B×64×H/4×W/4
            ("layer2", self.layer2),  # B×128×H/8×W/8
            ("layer3", self.layer3),  # B×256×H/16×W/16
            ("layer4", self.layer4),  # B×512×H/32×W/32
        ]

    def parts(self, stage: str) -> list[nn.Module]:
        """The modules of a stage; the stem is the first convolution and its batch norm."""
        return [self.conv1, self.bn1] if stage == self._STEM else super().parts(stage)

    def _stem(self, x: Tensor) -> Tensor:
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))
