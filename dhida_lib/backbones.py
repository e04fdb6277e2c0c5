"""The networks under the hash layer: ResNet18 (Table 1), AlexNet, a narrow form of each; built in Chapter 4.

A backbone turns images into a feature map A (B×C×h×w), where attention works, and pools the map to ψ(x)
(B×d), what the hash layer of Eq. 14 reads. ResNet18 and AlexNet are torchvision's, under torchvision's
parameter names, without the classification layer.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dhida_lib._validate import bad, choice, positive_int

# torchvision is imported where it is used: it takes longer than the rest of the library together.

__all__ = [
    "BACKBONES",
    "AlexNet",
    "Backbone",
    "NarrowAlexNet",
    "NarrowResNet",
    "ResNet18",
    "ResidualBlock",
    "build_backbone",
]


class Backbone(nn.Module):
    """What every backbone is: `feature_map`, then `pool`.

    Attributes:
        map_channels: C, the channels of the feature map.
        feature_dim: d, the length of ψ(x).
        in_channels: channels of the images, 3 for colour, 1 for grey.

    Source: Fig. 1, Table 1; built in Chapter 4.
    """

    map_channels: int
    feature_dim: int
    in_channels: int

    def feature_map(self, x: Tensor) -> Tensor:
        """The last feature map.

        Args:
            x: normalised images B×in_channels×H×W, floating.

        Returns:
            A, B×map_channels×h×w.

        Raises:
            ValueError: if x is no such batch, or its images are too small for this backbone.
        """
        raise NotImplementedError

    def pool(self, A: Tensor) -> Tensor:
        """ψ(x): the average over all positions of a map A (B×C×h×w → B×C)."""
        return A.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """ψ(x) of images x (B×in_channels×H×W → B×feature_dim), with nothing between map and pooling."""
        return self.pool(self.feature_map(x))

    def _check(self, x: Tensor, smallest: int = 1) -> Tensor:
        """Return x if it is a batch of floating images, sides ≥ ``smallest``, else raise ``ValueError``."""
        need = f"floating images B×{self.in_channels}×H×W"
        if not isinstance(x, Tensor):
            raise bad("x", type(x).__name__, need)
        if x.ndim != 4 or x.shape[1] != self.in_channels or not x.is_floating_point():
            raise bad("x", f"shape {tuple(x.shape)} of {x.dtype}", need)
        if min(x.shape[2:]) < smallest:
            raise bad("x", f"shape {tuple(x.shape)}", f"images of at least {smallest}×{smallest} pixels")
        return x

    def _load(self, weights: str | Path, first: str, head: str) -> None:
        """Fill the network from a file; ``first`` is its first convolution, ``head`` what it left out."""
        given = _read_state_dict(weights)
        given = {name: value for name, value in given.items() if not name.startswith(head)}
        if self.in_channels == 1 and first in given and given[first].ndim == 4 and given[first].shape[1] == 3:
            # Three equal colour planes through w are one grey plane through the sum of w over colour.
            given[first] = given[first].sum(dim=1, keepdim=True)
        own = {name: value.shape for name, value in self.state_dict().items()}
        wrong = [name for name in own if name not in given or given[name].shape != own[name]]
        wrong = [name for name in wrong if not name.endswith("num_batches_tracked")]  # older files have none
        wrong += [name for name in given if name not in own]
        if wrong:
            raise ValueError(
                f"`weights` {str(weights)!r} does not fit {type(self).__name__} with in_channels="
                f"{self.in_channels}: {len(wrong)} tensors are missing, unknown or of another shape, "
                f"the first is {wrong[0]!r}."
            )
        self.load_state_dict(given)


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

    Source: Table 1; built in Chapter 4.
    """

    map_channels = 512
    feature_dim = 512

    def __init__(self, weights: str | Path | None = None, in_channels: int = 3) -> None:
        from torchvision.models import ResNet18_Weights, resnet18

        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        net = resnet18(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        if in_channels != 3:
            self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        if weights is not None:
            path = _imagenet_file(ResNet18_Weights.IMAGENET1K_V1) if weights == "imagenet" else weights
            self._load(path, first="conv1.weight", head="fc.")

    def feature_map(self, x: Tensor) -> Tensor:
        """The map after ``layer4``: B×in_channels×H×W → B×512×⌈H/32⌉×⌈W/32⌉. Raises as `Backbone` says."""
        y = self.relu(self.bn1(self.conv1(self._check(x))))  # B×64×H/2×W/2
        y = self.layer1(self.maxpool(y))  # B×64×H/4×W/4
        y = self.layer2(y)  # B×128×H/8×W/8
        y = self.layer3(y)  # B×256×H/16×W/16
        return self.layer4(y)  # B×512×H/32×W/32


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

    Source: Table 4; built in Chapter 4.
    """

    map_channels = 256
    feature_dim = 4096

    def __init__(self, weights: str | Path | None = None, in_channels: int = 3) -> None:
        from torchvision.models import AlexNet_Weights, alexnet

        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        net = alexnet(weights=None)
        self.features, self.classifier = net.features, net.classifier[:6]  # all but the last layer
        if in_channels != 3:
            self.features[0] = nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2)
        if weights is not None:
            path = _imagenet_file(AlexNet_Weights.IMAGENET1K_V1) if weights == "imagenet" else weights
            self._load(path, first="features.0.weight", head="classifier.6.")

    def feature_map(self, x: Tensor) -> Tensor:
        """The map after the last max pooling: B×in_channels×H×W → B×256×6×6 at 224 px; needs sides ≥ 224."""
        return self.features(self._check(x, smallest=224))

    def pool(self, A: Tensor) -> Tensor:
        """ψ(x) of a map A (B×256×h×w → B×4096): averaged to 6×6 if it is larger, flattened, fc6, fc7."""
        return self.classifier(F.adaptive_avg_pool2d(A, 6).flatten(1))


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
        if weights == "imagenet":
            raise bad("weights", weights, "None or the path of a file: narrow-resnet has no ImageNet weights")
        if weights is not None:
            self._load(weights, first="conv1.weight", head="fc.")

    def feature_map(self, x: Tensor) -> Tensor:
        """The map after block 4: B×in_channels×H×W → B×4w×⌈H/4⌉×⌈W/4⌉. Raises as `Backbone` says."""
        # Not in channels_last, though that is faster on a CPU: PyTorch 2.14's gradient of a strided 1×1
        # convolution with fewer than eight channels writes outside its memory there.
        y = self.conv1(self._check(x))  # B×w×H×W
        y = self.block1(F.relu(self.bn1(y)))  # B×w×H×W
        y = self.block2(y)  # B×2w×H/2×W/2
        y = self.block3(y)  # B×4w×H/4×W/4
        return self.block4(y)  # B×4w×H/4×W/4


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
        if weights == "imagenet":
            raise bad(
                "weights", weights, "None or the path of a file: narrow-alexnet has no ImageNet weights"
            )
        if weights is not None:
            self._load(weights, first="features.0.weight", head="fc.")

    def feature_map(self, x: Tensor) -> Tensor:
        """The map after the last convolution: B×in_channels×H×W → B×4w×⌊H/4⌋×⌊W/4⌋; needs sides ≥ 4."""
        return self.features(self._check(x, smallest=4))

    def pool(self, A: Tensor) -> Tensor:
        """ψ(x) of a map A (B×4w×h×w → B×16w): max-pooled to 3×3, flattened, two hidden layers."""
        return self.classifier(F.adaptive_max_pool2d(A, 3).flatten(1))


BACKBONES: dict[str, type[Backbone]] = {
    "resnet18": ResNet18,
    "alexnet": AlexNet,
    "narrow-resnet": NarrowResNet,
    "narrow-alexnet": NarrowAlexNet,
}


def build_backbone(
    name: str, weights: str | Path | None = None, in_channels: int = 3, width: int = 16
) -> Backbone:
    """Make a backbone by its name.

    Args:
        name: a key of `BACKBONES`.
        weights: ``None`` (random), ``"imagenet"`` or the path of a state dict, as the class says.
        in_channels: channels of the images.
        width: w of the narrow backbones; the others have one width.

    Returns:
        The backbone, in training mode.

    Raises:
        ValueError: for a wrong argument, a file that is damaged or does not fit, or a width for
            a backbone that has no choice of it.
        FileNotFoundError: if the weights are not on disk.

    Source: Table 1; built in Chapter 4.
    """
    cls = BACKBONES[choice("backbone", name, BACKBONES)]
    if cls in (NarrowResNet, NarrowAlexNet):
        return cls(weights, in_channels, width)
    if width != 16:
        raise bad("width", width, f"left at 16 with {name}: only the narrow backbones have a choice")
    return cls(weights, in_channels)


def _imagenet_file(weights: Any) -> Path:
    """Where torchvision keeps the file of ``weights`` (a member of its enum), if it is there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    if not path.is_file():
        code = (
            f"from torchvision.models import {type(weights).__name__} as W; W.{weights.name}.get_state_dict()"
        )
        raise FileNotFoundError(
            f"The ImageNet weights are not on this machine ({path.name} in torch's hub cache). "
            f'With a network, get them once with:  python -c "{code}"'
        )
    return path


def _read_state_dict(weights: str | Path) -> dict[str, Tensor]:
    """Read a file of tensors; nothing in it is executed."""
    if not isinstance(weights, (str, Path)) or Path(weights).suffix not in {".pth", ".pt", ".safetensors"}:
        raise bad("weights", weights, 'None, "imagenet" or the path of a .pth, .pt or .safetensors file')
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"`weights` names {str(path)!r}, which is not there. Is the path right?")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, EOFError) as error:
        raise ValueError(f"`weights` {str(path)!r} cannot be read; get the file again. ({error})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise bad("weights", str(path), "a file that holds a state dict: names and tensors, nothing else")
    return state
