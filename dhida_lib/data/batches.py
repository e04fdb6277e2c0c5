"""Batches of a split, and what happens to training images (Algorithm 1, Chapters 2 and 11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dhida_lib._tensors import send
from dhida_lib._validate import bad, choice, computable, instance, positive_int, sized, tensor, whole
from dhida_lib.data.splits import Split

__all__ = ["AUGMENTATIONS", "batches", "random_flip", "random_shift"]

AUGMENTATIONS = ("none", "flip", "flip-shift", "crop-flip")
"""What `batches` can do to training images."""

_SHIFT = 2  # pixels of the stored picture


def _images(batch: Any) -> Tensor:
    """Return a batch of images (B×C×H×W), else raise ``ValueError``."""
    need = "a dense tensor of images B×C×H×W"
    x = instance("batch", batch, Tensor, need)
    if x.ndim != 4 or not computable(x):
        raise bad("batch", f"shape {tuple(x.shape)} of {x.dtype}, {x.layout}", need)
    return x


def _generator(generator: Any) -> None:
    """Refuse what is neither None nor a generator on the CPU."""
    need = "a torch.Generator on the CPU, or None"
    if generator is not None and instance("generator", generator, torch.Generator, need).device.type != "cpu":
        raise bad("generator", generator.device, need)


def random_flip(batch: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Mirror each image left to right with probability ½.

    Args:
        batch: images (B×C×H×W).
        generator: a CPU generator that decides; None uses torch's own.

    Returns:
        The images (B×C×H×W).

    Raises:
        ValueError: if these are no images, or ``generator`` is none.
    """
    _images(batch)
    _generator(generator)
    flip = torch.rand(len(batch), generator=generator) < 0.5  # B
    flip = send(flip, batch.device)
    return torch.where(flip[:, None, None, None], batch.flip(-1), batch)


def random_shift(
    batch: Tensor, pixels: int, generator: torch.Generator | None = None, fill: float | Tensor = 0.0
) -> Tensor:
    """Move each image by up to ``pixels`` up or down and left or right.

    Args:
        batch: images (B×C×H×W).
        pixels: the largest shift; every shift −pixels … pixels is as likely as another.
        generator: a CPU generator that decides; None uses torch's own.
        fill: what the uncovered border becomes: one number, or one per channel (C).

    Returns:
        The images (B×C×H×W).

    Raises:
        ValueError: if these are no images, ``pixels`` is not a positive integer (at most their longer side),
            or another argument does not fit.
    """
    b, c, h, w = _images(batch).shape
    _generator(generator)
    if positive_int("pixels", pixels) > max(h, w, 1):
        raise bad("pixels", pixels, f"at most the longer side of the images, {max(h, w)}")
    need = f"one number, or {c}, one per channel"
    border = tensor("fill", fill, need)
    if border.is_complex() or border.numel() not in (1, c) or border.ndim > 1:
        raise bad("fill", f"shape {tuple(border.shape)} of {border.dtype}", need)
    device = batch.device
    canvas = torch.empty(b, c, h + 2 * pixels, w + 2 * pixels, dtype=batch.dtype, device=device)
    canvas[:] = send(border.to(batch.dtype), device).reshape(1, -1, 1, 1)
    canvas[:, :, pixels : pixels + h, pixels : pixels + w] = batch
    corner = torch.randint(0, 2 * pixels + 1, (2, b), generator=generator)
    corner = send(corner, device)  # where each window starts
    rows = corner[0, :, None] + torch.arange(h, device=device)  # B×H
    columns = corner[1, :, None] + torch.arange(w, device=device)  # B×W
    image, channel = torch.arange(b, device=device), torch.arange(c, device=device)
    return canvas[
        image[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None]
    ]


def batches(
    split: Split,
    batch_size: int,
    shuffle: bool = False,
    generator: torch.Generator | None = None,
    augment: str = "none",
    share: tuple[int, int] = (0, 1),
    last: bool = True,
    device: torch.device | None = None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Walk through a split once, batch by batch.

    Args:
        split: the images.
        batch_size: images per batch; the last batch may be smaller.
        shuffle: visit the images in random order.
        generator: a CPU generator that decides order and augmentation, so that a run can be repeated; None
            uses torch's own.
        augment: ``"none"``, ``"flip"`` (mirror half of the images), ``"flip-shift"`` (and move each by up
            to two pixels of its stored size, black behind it) or ``"crop-flip"`` (cut a split's ``crop``
            anywhere from the stored image, and mirror half).
        share: (rank, world): this process gets its share of each batch, as `torch.tensor_split` deals it.
        last: also a last batch that is smaller.
        device: where the images go, see `Split.batch`.

    Returns:
        An iterator over triples: images (B×C×H×W), labels (B or B×c), and their positions in the split (B,
        int64).

    Raises:
        ValueError: if an argument is wrong.

    Source: Algorithm 1; built in Chapter 2.
    """
    positive_int("batch_size", batch_size)
    choice("augment", augment, AUGMENTATIONS)
    if not callable(getattr(split, "batch", None)):
        raise bad("split", type(split).__name__, "a Split")
    _generator(generator)
    rank, world = (whole("share", n) for n in sized("share", share, "a pair (rank, world)", 2))
    if rank >= world:
        raise bad("share", share, "a pair (rank, world) with rank < world")
    if device is not None:
        instance("device", device, torch.device, "a torch.device, or None")
    if augment == "crop-flip" and getattr(split, "crop", None) is None:
        raise bad("augment", augment, "another one for a split without `crop`")
    return _walk(split, batch_size, shuffle, generator, augment, share, last, device)


def _walk(
    split: Split,
    batch_size: int,
    shuffle: bool,
    generator: torch.Generator | None,
    augment: str,
    share: tuple[int, int],
    last: bool,
    device: torch.device | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    order = torch.randperm(len(split), generator=generator) if shuffle else torch.arange(len(split))
    rank, world = share
    for part in order.split(batch_size):
        if len(part) < batch_size and not last:
            return
        index = part.tensor_split(world)[rank] if world > 1 else part
        corners = None
        if augment == "crop-flip":
            free = torch.tensor([side - (split.crop or 0) + 1 for side in split.pixels.shape[-2:]])
            corners = (torch.rand(len(index), 2, generator=generator) * free).long()  # B×2
        flips = None if augment == "none" else torch.rand(len(index), generator=generator) < 0.5  # B
        images, labels = split.batch(index, corners, device, flips)
        if augment == "flip-shift":
            shift = round(_SHIFT * split.image_size / split.pixels.shape[-1]) or 1  # of a resized image
            images = random_shift(images, shift, generator, split.background)
        yield images, labels, send(index, labels.device)
