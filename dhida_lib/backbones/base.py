"""What every backbone is, the names of all of them, and the files of their weights (Chapter 4)."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dhida_lib._registry import Registry
from dhida_lib._validate import bad, computable, same_type

__all__ = [
    "BACKBONES",
    "IMAGENET_FORM",
    "Backbone",
    "ImageForm",
    "fill",
    "imagenet_file",
    "read_state_dict",
    "register_backbone",
    "torchvision_models",
]

TIMM = "timm:"
"""How the names of timm's models begin."""


class ImageForm(NamedTuple):
    """The images that a backbone's weights were made for.

    Attributes:
        side: side in pixels.
        mean: mean of each channel, in units where white is 1.
        std: standard deviation of each channel.
        interpolation: how images were resized.
    """

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    @property
    def channels(self) -> int:
        """C: 1 for grey images, 3 for colour."""
        return len(self.mean)


IMAGENET_FORM = ImageForm(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What torchvision's ImageNet weights were trained on."""


class Backbone(nn.Module):
    """What every backbone is: `feature_map`, which runs its `stages` one after the other, then `pool`.

    A subclass sets the attributes and defines `stages`; `register_backbone` makes it known.

    Attributes:
        map_channels: C, the channels of the feature map.
        feature_dim: d, the length of ψ(x).
        in_channels: channels of the images, 3 for colour, 1 for grey.
        smallest: smallest side in pixels of the images.
        largest: largest side of the images for which a run can be made with it; None: any.
        name: its name, set when it is registered.
        has_width: does it take ``width``?
        plain: name of the AlexNet of the same size, for the rows DHIDA-A and DHIDA-I of Table 4.
        form: the images that its ImageNet weights were made for; None: it has none.
        recompute: keep no maps inside a stage for the backward pass, see `through`.

    Source: Fig. 1, Table 1; built in Chapter 4.
    """

    map_channels: int
    feature_dim: int
    in_channels: int
    smallest: int = 1
    largest: ClassVar[int | None] = None
    name: ClassVar[str] = ""
    has_width: ClassVar[bool] = False
    plain: ClassVar[str] = "alexnet"
    form: ImageForm | None = None
    recompute: bool = False

    def stages(self) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        """The steps from images to the last map, in order: a name, and what the step does.

        A step is a module of this backbone or a method that calls some. ``frozen="NAME"`` stops the learning
        of all steps up to this one, and a map can be cached behind each.
        """
        raise NotImplementedError

    def parts(self, stage: str) -> list[nn.Module]:
        """The modules that a step uses: by default the one of the same name."""
        return [self.get_submodule(stage)]

    def feature_map(self, x: Tensor) -> Tensor:
        """The last feature map.

        Args:
            x: normalised images B×in_channels×H×W, floating.

        Returns:
            A, B×map_channels×h×w.

        Raises:
            ValueError: if x is no such batch, or its images are too small for this backbone.
        """
        y = self.check_images(x)
        try:
            y = self.through(self.stages(), y)
        except ValueError as error:  # batch norm, of one number
            need = "larger, or more than one image, for training: batch norm needs several numbers"
            raise bad("x", f"shape {tuple(x.shape)}", need) from error
        return y

    def through(self, steps: list[tuple[str, Callable[[Tensor], Tensor]]], y: Tensor) -> Tensor:
        """Take a map through some of the `stages`.

        Args:
            steps: these stages, in order.
            y: what the first of them takes.

        Returns:
            What the last of them gives. With ``recompute``, what lies inside a stage is computed again in the
            backward pass; batch norms count each batch once all the same.
        """
        for _, step in steps:
            if self.recompute and self.training and torch.is_grad_enabled():
                y = checkpoint(
                    step, y, use_reentrant=False, context_fn=lambda: (nullcontext(), self._again())
                )
            else:
                y = step(y)
        return y

    def _twice(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """The surroundings of a stage when it is computed first, and when again."""
        return nullcontext(), self._again()

    @contextmanager
    def _again(self) -> Iterator[None]:
        """Inside, a batch norm uses its batch's mean and variance and does not count them."""
        norms = [m for m in self.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        kept = [(m, m.momentum, m.num_batches_tracked) for m in norms if m.training and m.track_running_stats]
        for norm, _, _ in kept:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        try:
            yield
        finally:
            for norm, momentum, batches in kept:
                norm.momentum, norm.num_batches_tracked = momentum, batches

    def pool(self, A: Tensor) -> Tensor:
        """ψ(x): the average over all positions of a map A (B×C×h×w → B×C)."""
        return A.mean(dim=(2, 3))

    def extra_repr(self) -> str:
        """The settings, for ``print(backbone)``."""
        return f"in_channels={self.in_channels}, map_channels={self.map_channels}"

    def forward(self, x: Tensor) -> Tensor:
        """ψ(x) of images x (B×in_channels×H×W → B×feature_dim), with nothing between map and pooling."""
        return self.pool(self.feature_map(x))

    def check_images(self, x: Tensor) -> Tensor:
        """Return x if it is a batch of floating images that are large enough, else raise ``ValueError``."""
        need = f"floating images B×{self.in_channels}×H×W"
        if not isinstance(x, Tensor):
            raise bad("x", type(x).__name__, need)
        if x.ndim != 4 or x.shape[1] != self.in_channels or not x.is_floating_point():
            raise bad("x", f"shape {tuple(x.shape)} of {x.dtype}", need)
        weight = next(self.parameters(), None)
        if not computable(x) or (weight is not None and not same_type(x, weight)):
            own = "" if weight is None else f", of this network's {weight.dtype} on {weight.device}"
            raise bad("x", f"{x.dtype}, {x.layout}, on {x.device}", f"dense {need}{own}")
        if min(x.shape[2:]) < self.smallest:
            need = f"images of at least {self.smallest}×{self.smallest} pixels"
            raise bad("x", f"shape {tuple(x.shape)}", need)
        return x

    def _load(self, weights: str | Path, first: str, head: str | tuple[str, ...]) -> None:
        """Fill the network from a file; ``first`` is its first convolution, ``head`` what it left out."""
        given = read_state_dict(weights)
        self._load_state({k: v for k, v in given.items() if not k.startswith(head)}, first, str(weights))

    def _load_state(self, given: dict[str, Tensor], first: str, name: str) -> None:
        """Fill the network with tensors by its own names."""
        if self.in_channels == 1 and first in given and given[first].ndim == 4 and given[first].shape[1] == 3:
            # Three equal colour planes through w are one grey plane through the sum of w over colour.
            given[first] = given[first].sum(dim=1, keepdim=True)
        fill(self, given, name, type(self).__name__, self.in_channels)


BACKBONES: Registry[Callable[..., nn.Module]] = Registry("backbone", "dhida_lib.backbones")
"""Name → what builds the backbone, called with ``weights`` and ``in_channels``."""

B = TypeVar("B", bound=Callable[..., nn.Module])


def register_backbone(name: str) -> Callable[[B], B]:
    """Make a backbone known under a name: to `HashNetwork`, settings, saved models, the command line.

    Args:
        name: the name, as in ``HashNetwork(name)``.

    Returns:
        A decorator for a subclass of `Backbone`, or for a function of ``weights`` and ``in_channels`` that
        returns any module which `ModuleBackbone` takes.

    Raises:
        ValueError: if the name is taken.
    """

    def add(thing: B) -> B:
        if name.startswith(TIMM):
            raise bad("name", name, f"a name that does not begin with {TIMM}")
        if isinstance(thing, type) and issubclass(thing, Backbone):
            thing.name = name
        BACKBONES.add(name, thing)
        return thing

    return add


def fill(module: nn.Module, given: dict[str, Tensor], weights: str, kind: str, in_channels: int) -> None:
    """Load tensors that must be exactly the module's own, or say which one is not.

    Args:
        module: what is filled.
        given: tensors by name.
        weights: where they came from, for the message.
        kind: what the module is called, for the message.
        in_channels: channels of the images, for the message.

    Raises:
        ValueError: if a tensor is missing, unknown or of another shape.
    """
    own = {name: value.shape for name, value in module.state_dict().items()}
    wrong = [name for name in own if name not in given or given[name].shape != own[name]]
    wrong = [name for name in wrong if not name.endswith("num_batches_tracked")]  # older files have none
    wrong += [name for name in given if name not in own]
    if wrong:
        raise ValueError(
            f"`weights` {weights!r} does not fit {kind} with in_channels="
            f"{in_channels}: {len(wrong)} tensors are missing, unknown or of another shape, "
            f"the first is {wrong[0]!r}."
        )
    missing = {name: value for name, value in module.state_dict().items() if name not in given}
    module.load_state_dict({**missing, **given})


def torchvision_models() -> Any:
    """Return ``torchvision.models``, imported now; an ``ImportError`` says where it comes from."""
    try:
        from torchvision import models
    except ImportError as error:
        raise ImportError("This backbone needs torchvision: pip install 'dhida-lib[imagenet]'") from error
    return models


def is_imagenet(weights: Any) -> bool:
    """Are the weights asked for by the name ``"imagenet"``, and not by a path?"""
    return isinstance(weights, str) and weights == "imagenet"


def imagenet_file(weights: Any) -> Path:
    """Find the file of torchvision's weights, if it is there.

    Args:
        weights: a member of torchvision's enum of weights.

    Returns:
        The file in torch's hub cache.

    Raises:
        FileNotFoundError: if it is not there; the message says how to get it.
    """
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


def read_state_dict(weights: str | Path) -> dict[str, Tensor]:
    """Read a file of tensors; nothing in it is executed.

    Args:
        weights: a .pth, .pt or .safetensors file.

    Returns:
        Tensors by name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or holds something else.
    """
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
