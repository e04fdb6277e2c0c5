"""What happens to a picture before a network sees it: one description, made by a data source, used by every
split, and saved inside every model (Chapters 2 and 18).

A picture becomes a square of bytes of the side at which its data set keeps images (`Preprocess.pixels`); a
batch of such squares is cut, normalised and resized (`Preprocess.normalise`). Training and a saved model go
the same way, so a picture has one code, whichever of them makes it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dhida_lib._tensors import send
from dhida_lib._validate import bad, choice, computable, instance, positive_int, tensor
from dhida_lib.backbones.base import ImageForm
from dhida_lib.data.images import fit_square, read_image

__all__ = ["INTERPOLATIONS", "Preprocess"]

INTERPOLATIONS = ("bilinear", "bicubic")
"""How `Preprocess` can resize; both with antialiasing."""


@dataclass(frozen=True)
class Preprocess:
    """From a picture to what a network was trained on.

    Args:
        channels: C: 1 for grey, 3 for colour.
        side: side in pixels of the square that reaches the network.
        stored: side in pixels of the square at which images are kept; None: ``crop`` or ``side``.
        mean: mean of each channel (C numbers, in units where white is 1), subtracted.
        std: standard deviation of each channel (> 0), divided by.
        interpolation: how a square is resized to ``side``: ``"bilinear"`` or ``"bicubic"``, antialiased.
        crop: side of the square that is cut from a stored one before resizing (its middle, but where training
            chooses another place); None: the whole.

    Raises:
        ValueError: if a number is wrong or they do not fit together.

    Source: §4.1; built in Chapter 2.
    """

    channels: int
    side: int
    stored: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: str = "bilinear"
    crop: int | None = None

    def __post_init__(self) -> None:
        if positive_int("channels", self.channels) not in (1, 3):
            raise bad("channels", self.channels, "1 or 3")
        positive_int("side", self.side)
        if self.crop is not None:
            positive_int("crop", self.crop)
        if self.stored is None:
            object.__setattr__(self, "stored", self.crop or self.side)
        positive_int("stored", self.stored)
        if self.crop is not None and self.crop > self.kept:
            raise bad("crop", self.crop, f"at most the side of the stored images, {self.kept}")
        choice("interpolation", self.interpolation, INTERPOLATIONS)
        for name, usual in (("mean", 0.0), ("std", 1.0)):
            object.__setattr__(self, name, self._channels(name, getattr(self, name), usual))
        if min(self.std) <= 0:
            raise bad("std", self.std, "numbers > 0")

    def _channels(self, name: str, numbers: Any, usual: float) -> tuple[float, ...]:
        """One finite number for each channel; none at all means ``usual``."""
        need = f"{self.channels} finite numbers, one per channel"
        try:
            found = tuple(float(v) for v in numbers) or (usual,) * self.channels
        except (TypeError, ValueError, OverflowError) as error:
            raise bad(name, numbers, need) from error
        if len(found) != self.channels or not np.isfinite(found).all():
            raise bad(name, numbers, need)
        return found

    @property
    def kept(self) -> int:
        """The side at which images are kept, as a number."""
        return int(self.stored or self.side)

    @property
    def form(self) -> ImageForm:
        """What a network sees of it: side, mean, standard deviation and interpolation."""
        return ImageForm(self.side, self.mean, self.std, self.interpolation)

    def as_dict(self) -> dict[str, Any]:
        """The same as a dictionary that JSON can hold."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """Read what `as_dict` wrote.

        Raises:
            ValueError: if a name is unknown, one is missing, or a value is wrong.
        """
        names = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or not {"channels", "side"} <= set(values) <= names:
            got = sorted(map(str, values)) if isinstance(values, dict) else type(values).__name__
            raise bad("preprocess", got, f"a dictionary of {', '.join(sorted(names))}")
        lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**lists)

    def pixels(self, image: Any) -> Tensor:
        """A picture as it would be kept.

        Args:
            image: a file's path, a PIL image, an array H×W or H×W×3 or a tensor C×H×W. Numbers are bytes
                (uint8), uint16, or floating from 0 to 1.

        Returns:
            Bytes (uint8, C×stored×stored): the shorter side becomes ``stored``, the middle is kept; colour
            becomes grey by its luminance, grey becomes three equal planes.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no picture.
        """
        size = self.kept
        if isinstance(image, (str, os.PathLike)):
            made = read_image(image, size)  # 3×stored×stored
        else:
            made = fit_square(image if isinstance(image, Image.Image) else _picture(image), size)
        if self.channels == 1:
            grey = np.asarray(Image.fromarray(made.transpose(1, 2, 0)).convert("L"))  # ITU-R 601
            made = grey[None]
        return torch.from_numpy(np.array(made))

    def normalise(
        self,
        pixels: Tensor,
        corners: Tensor | None = None,
        device: torch.device | None = None,
        flips: Tensor | None = None,
    ) -> Tensor:
        """Stored squares as a network sees them.

        Args:
            pixels: bytes (uint8, B×C×h×w), usually of side ``stored``.
            corners: row and column of each image's cut (B×2), with ``crop``; None: the middle.
            device: where the bytes go, to be resized and normalised there; None: where they are.
            flips: True for each image that is mirrored left to right (B); None: none is.

        Returns:
            float32, B×C×side×side.

        Raises:
            ValueError: if ``pixels`` are no such bytes, or another argument does not fit.

        Source: §4.1; built in Chapter 2.
        """
        need = f"bytes, a uint8 tensor B×{self.channels}×h×w"
        x = instance("pixels", pixels, Tensor, need)
        if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[1] != self.channels or not computable(x):
            raise bad("pixels", f"shape {tuple(x.shape)} of {x.dtype}, {x.layout}", need)
        if device is not None:
            instance("device", device, torch.device, "a torch.device, or None")
        if min(x.shape[2:]) < (self.crop or 1):
            raise bad("pixels", f"shape {tuple(x.shape)}", f"squares of at least {self.crop or 1} pixels")
        if self.crop is not None and len(x):
            s = self.crop
            if corners is None:
                r, c = ((edge - s) // 2 for edge in x.shape[-2:])
                x = x[..., r : r + s, c : c + s]
            else:
                places = zip(x, self._places(corners, x), strict=True)
                x = torch.stack([image[:, r : r + s, c : c + s] for image, (r, c) in places])
        if device is not None:
            x = send(x, device)  # from pinned memory: the host goes on at once
        if flips is not None:  # of bytes: a quarter of the memory
            if not isinstance(flips, Tensor) or flips.dtype != torch.bool or flips.shape != (len(x),):
                got = f"shape {tuple(flips.shape)} of {flips.dtype}" if isinstance(flips, Tensor) else flips
                raise bad("flips", got, f"a boolean tensor ({len(x)},)")
            x = torch.where(send(flips, x.device)[:, None, None, None], x.flip(-1), x)
        mean, std = (_numbers(v, x.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        x = x.float().div_(255).sub_(mean).div_(std)  # B×C×H×W
        size = (self.side, self.side)
        if x.shape[-2:] != size:  # after normalising, which is the same and mostly less to do
            pairs = zip(x.shape[-2:], size, strict=True)
            rows, columns = (_resizing(a, b, self.interpolation, x.device) for a, b in pairs)
            x = rows @ x @ columns.T
        return x

    def _places(self, corners: Any, x: Tensor) -> list[list[int]]:
        """Row and column of each cut of images ``x``, checked."""
        need = f"integers ({len(x)}×2)"
        at = tensor("corners", corners, need)
        if at.is_floating_point() or at.is_complex() or at.shape != (len(x), 2):
            raise bad("corners", f"shape {tuple(at.shape)} of {at.dtype}", need)
        free = [side - (self.crop or 0) for side in x.shape[-2:]]
        places: list[list[int]] = at.tolist()
        if not all(0 <= r <= free[0] and 0 <= c <= free[1] for r, c in places):
            raise bad("corners", places, f"rows 0 to {free[0]} and columns 0 to {free[1]}")
        return places

    def __call__(self, images: Any, device: torch.device | None = None) -> Tensor:
        """Pictures as a network sees them.

        Args:
            images: one picture, as `pixels` takes it, or a list of them, or a batch of bytes (a uint8 tensor
                B×C×H×W).
            device: where the result lies; None: the CPU.

        Returns:
            float32: C×side×side for one picture, B×C×side×side for several.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if something is no picture.
        """
        several = isinstance(images, (list, tuple)) or (isinstance(images, Tensor) and images.ndim == 4)
        each: Sequence[Any] = images if several else [images]
        if not len(each):
            raise bad("images", "none", "at least one picture")
        x = self.normalise(torch.stack([self.pixels(image) for image in each]), device=device)
        return x if several else x[0]


def _picture(image: Any) -> Image.Image:
    """An array or tensor as a PIL image."""
    need = "a file's path, a PIL image, an array H×W or H×W×3, or a tensor C×H×W with C = 1 or 3"
    if isinstance(image, Tensor):
        if image.ndim != 3 or len(image) not in (1, 3):
            raise bad("image", f"shape {tuple(image.shape)}", need)
        image = as_array(image, "image", need).transpose(1, 2, 0)
    if not isinstance(image, np.ndarray):
        raise bad("image", type(image).__name__, need)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise bad("image", f"shape {image.shape}", need)
    return Image.fromarray(as_bytes(image, "image"))


def as_array(x: Tensor, name: str, need: str) -> NDArray[Any]:
    """The numbers of a dense tensor, those of 16 bits too, with which torch does not compute.

    Args:
        x: the tensor.
        name: the argument's name for the error message.
        need: what is needed, in words.

    Returns:
        An array of the same shape.

    Raises:
        ValueError: if the tensor has no such numbers.
    """
    if x.layout != torch.strided or x.is_nested or x.is_meta:
        raise bad(name, f"{x.layout} on {x.device}", need)
    x = x.detach().cpu()
    try:
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    except (TypeError, RuntimeError) as error:
        raise bad(name, x.dtype, need) from error


def as_bytes(x: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Numbers of a scale that says itself what white is, as bytes.

    Args:
        x: bytes (uint8), uint16, or floating numbers from 0 to 1; any shape.
        name: the argument's name for the error message.

    Returns:
        Bytes of the same shape.

    Raises:
        ValueError: if the numbers are others.
    """
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype == np.uint16:
        return (x * (255 / 65535)).round().astype(np.uint8)
    if x.dtype.kind == "f" and np.isfinite(x).all() and x.min() >= 0 and x.max() <= 1:
        return (x * 255).round().astype(np.uint8)
    what = f"{x.dtype} from {x.min()} to {x.max()}" if x.dtype.kind in "iuf" else str(x.dtype)
    raise bad(name, what, "bytes (uint8), uint16, or floating numbers from 0 to 1")


@lru_cache(maxsize=32)
def _numbers(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A few numbers on a device, copied once: to copy them with every batch would make a GPU wait."""
    return torch.tensor(values, device=device)


@lru_cache(maxsize=32)
def _resizing(old: int, new: int, mode: str, device: torch.device) -> Tensor:
    """Resizing of one side, antialiased, as a matrix (new×old): a product is the fastest way."""
    each = torch.eye(old, device=device)[None, None]  # 1×1×old×old
    made = F.interpolate(each, size=(new, old), mode=mode, antialias=True, align_corners=False)
    return made[0, 0]
