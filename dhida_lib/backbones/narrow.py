"""Narrow forms of ResNet18 and AlexNet, for images of 28 to 32 pixels on a laptop (Chapter 4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from dhida_lib._validate import bad, positive_int
from dhida_lib.backbones.base import Backbone, is_imagenet, register_backbone

__all__ = ["NarrowAlexNet", "NarrowResNet", "ResidualBlock"]

_LARGEST = 128  # a map is a quarter of the side: attention compares each of 1,024 positions with all others


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a way around them: y = relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)).

    Args:
        channels: channels that come in.
        out_channels: channels that go out.
        stride: step of the first convolution; 2 halves the sides of the map.

    Source: He et al. (2016), as in Table 1; built in Chapter 4.
    """

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()  # the identity, unless the shape changes
        if stride != 1 or channels != out_channels:
            self.shortcut.append(nn.Conv2d(channels, out_channels, 1, stride=stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """B×channels×H×W → B×out_channels×⌈H/stride⌉×⌈W/stride⌉."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


@register_backbone("narrow-resnet")
class NarrowResNet(Backbone):
    """ResNet18's idea for images of 28 to 32 pixels on a laptop: four residual blocks.

    With width w the maps of a 28-pixel image are w×28×28 (first convolution and block 1), 2w×14×14 (block 2)
    and 4w×7×7 (blocks 3 and 4): 49 positions, as many as ResNet18 has at 224. 32 pixels give 8×8.

    Args:
        weights: ``None`` (random) or the path of a state dict of a network of the same shape (.pth, .pt,
            .safetensors). There are no ImageNet weights.
        in_channels: channels of the images, 1 for grey.
        width: w, the channels of the first map; the last map and ψ(x) have 4w.

    Raises:
        ValueError: for a wrong argument, or a file that is damaged or does not fit.
        FileNotFoundError: if the weights are not on disk.

    Source: a small ResNet of ours after Table 1; built in Chapter 4.
    """

    has_width = True
    largest = _LARGEST
    plain = "narrow-alexnet"
    _STEM = "stem"

    def __init__(self, weights: str | Path | None = None, in_channels: int = 3, width: int = 16) -> None:
        super().__init__()
        self.in_channels, w = positive_int("in_channels", in_channels), positive_int("width", width)
        self.map_channels = self.feature_dim = 4 * w
        self.conv1 = nn.Conv2d(in_channels, w, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        self.block1 = ResidualBlock(w, w)
        self.block2 = ResidualBlock(w, 2 * w, stride=2)
        self.block3 = ResidualBlock(2 * w, 4 * w, stride=2)
        self.block4 = ResidualBlock(4 * w, 4 * w)
        if is_imagenet(weights):
            raise bad("weights", weights, "None or the path of a file: narrow-resnet has no ImageNet weights")
        if weights is not None:
            self._load(weights, first="conv1.weight", head="fc.")

    def stages(self) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        """B×in_channels×H×W → B×4w×⌈H/4⌉×⌈W/4⌉, behind block 4."""
        # Not in channels_last, though that is faster on a CPU: PyTorch 2.14's gradient of a strided 1×1
        # convolution with fewer than eight channels writes outside its memory there.
        return [
            (self._STEM, self._stem),  # B×w×H×W
            ("block1", self.block1),  # B×w×H×W
            ("block2", self.block2),  # B×2w×H/2×W/2
            ("block3", self.block3),  # B×4w×H/4×W/4
            ("block4", self.block4),  # B×4w×H/4×W/4
        ]

    def parts(self, stage: str) -> list[nn.Module]:
        """The modules of a stage; the stem is the first convolution and its batch norm."""
        return [self.conv1, self.bn1] if stage == self._STEM else super().parts(stage)

    def _stem(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(x)))


@register_backbone("narrow-alexnet")
class NarrowAlexNet(Backbone):
    """AlexNet's idea for images of 28 to 32 pixels: five convolutions, two hidden layers, no batch norm.

    With width w the maps of a 28-pixel image are 2w×28×28, 4w×14×14, and 6w, 4w and 4w×7×7. As in `AlexNet`,
    ψ(x) is no average: the map is pooled to 4w×3×3, flattened, and goes through two layers with dropout.

    Args:
        weights: as in `NarrowResNet`.
        in_channels: channels of the images, 1 for grey.
        width: w; the last map has 4w channels, ψ(x) has 16w numbers.

    Raises:
        ValueError: for a wrong argument, or a file that is damaged or does not fit.
        FileNotFoundError: if the weights are not on disk.

    Source: a small AlexNet of ours, for the rows DHIDA-A and DHIDA-I of Table 4; used in Chapter 15.
    """

    smallest = 4
    largest = _LARGEST
    has_width = True
    plain = "narrow-alexnet"

    def __init__(self, weights: str | Path | None = None, in_channels: int = 3, width: int = 16) -> None:
        super().__init__()
        self.in_channels, w = positive_int("in_channels", in_channels), positive_int("width", width)
        self.map_channels, self.feature_dim = 4 * w, 16 * w
        self.features = nn.Sequential(
            *(nn.Conv2d(in_channels, 2 * w, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(2 * w, 4 * w, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(4 * w, 6 * w, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(6 * w, 4 * w, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(4 * w, 4 * w, 3, padding=1), nn.ReLU()),
        )
        self.classifier = nn.Sequential(
            *(nn.Dropout(), nn.Linear(9 * 4 * w, 16 * w), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(16 * w, 16 * w), nn.ReLU()),
        )
        if is_imagenet(weights):
            raise bad(
                "weights", weights, "None or the path of a file: narrow-alexnet has no ImageNet weights"
            )
        if weights is not None:
            self._load(weights, first="features.0.weight", head="fc.")

    def stages(self) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        """B×in_channels×H×W → B×4w×⌊H/4⌋×⌊W/4⌋, behind the last convolution; needs sides ≥ 4."""
        return [("features", self.features)]

    def pool(self, A: Tensor) -> Tensor:
        """ψ(x) of a map A (B×4w×h×w → B×16w): max-pooled to 3×3, flattened, two hidden layers."""
        return self.classifier(F.adaptive_max_pool2d(A, 3).flatten(1))
