"""A split in memory, the three splits of a retrieval experiment, and batches of them (§4.1, Chapter 2)."""

from __future__ import annotations

import operator
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dhida_lib._validate import bad, choice, instance, positive_int, tensor
from dhida_lib.data.protocols import Protocol, class_ids, split_rows
from dhida_lib.labels import as_labels

__all__ = ["AUGMENTATIONS", "RetrievalData", "Split", "assemble", "batches", "random_flip", "random_shift"]

AUGMENTATIONS = ("none", "flip", "flip-shift", "crop-flip")
"""What `batches` can do to training images."""

_SHIFT = 2  # pixels of the stored picture


class Split(Dataset[tuple[Tensor, "int | Tensor"]]):
    """One part of a data set, held as bytes (in memory, or in a file mapped into it), normalised when read.

    ``len(split)`` counts its images. ``split[i]`` is a pair: the normalised image (float32, C×H×W) and its
    label (an int, or a multi-hot tensor (c,)), so a split works in a ``for`` loop and in a torch
    ``DataLoader``.

    Args:
        pixels: uint8 images (n×C×H×W), C = 1 or 3.
        labels: class ids (n,) or multi-hot rows (n×c).
        indices: where each image comes from: rows of the source (n,), or several rows per image (n×m).
        mean: mean of each channel (C numbers, in units where white is 1), subtracted.
        std: standard deviation of each channel, divided by.
        image_size: side in pixels to which images are resized (bilinear, antialiased) when read; None keeps
            the stored size.
        rows: which rows of ``pixels`` these images are (n,), where several splits share one store; None: all.
        crop: side in pixels of the square that is cut from a stored image, its middle unless training
            chooses another place; None takes the whole.

    Raises:
        ValueError: if shapes, lengths or types do not fit together.

    Source: §4.1; built in Chapter 2, ``rows`` and ``crop`` in Chapter 16.
    """

    def __init__(
        self,
        pixels: Tensor,
        labels: Any,
        indices: Any,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        image_size: int | None = None,
        rows: Tensor | None = None,
        crop: int | None = None,
    ) -> None:
        instance("pixels", pixels, Tensor, "a tensor of uint8 images n×C×H×W with C = 1 or 3")
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
            got = f"shape {tuple(pixels.shape)} of {pixels.dtype}"
            raise bad("pixels", got, "uint8 images n×C×H×W with C = 1 or 3")
        self.pixels = pixels  # n×C×H×W
        self.labels = as_labels(labels).to(pixels.device)  # n or n×c
        self.indices = tensor("indices", indices).to(pixels.device, torch.int64)  # n or n×m
        self.rows = None if rows is None else tensor("rows", rows).to(pixels.device, torch.int64)  # n
        if self.rows is not None and self.rows.ndim != 1:
            raise bad("rows", f"shape {tuple(self.rows.shape)}", "row numbers (n,)")
        n = len(pixels) if self.rows is None else len(self.rows)
        for name, value in (("labels", self.labels), ("indices", self.indices)):
            if not value.ndim or len(value) != n:
                raise bad(name, f"shape {tuple(value.shape)}", f"as many as the {n} images")
        for name, numbers in (("mean", mean), ("std", std)):
            if len(numbers) != pixels.shape[1]:
                raise bad(name, numbers, f"{pixels.shape[1]} numbers, one per channel")
        self.mean, self.std = tuple(mean), tuple(std)
        if image_size is not None:
            positive_int("image_size", image_size)
        if crop is not None and positive_int("crop", crop) > min(pixels.shape[-2:]):
            raise bad("crop", crop, f"at most the side of the stored images, {min(pixels.shape[-2:])}")
        self._resize, self.crop = image_size, crop

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int | Tensor]:
        i = operator.index(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of a split with {len(self)} images")
        images, labels = self.batch([i % len(self)])
        return images[0], (int(labels[0]) if labels.ndim == 1 else labels[0])

    @property
    def channels(self) -> int:
        """C: 1 for grey images, 3 for colour."""
        return self.pixels.shape[1]

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that `batch` returns."""
        return self._resize or self.crop or self.pixels.shape[-1]

    @property
    def background(self) -> Tensor:
        """What a black pixel becomes after normalisation (C numbers)."""
        return torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)])

    def batch(
        self,
        indices: Any,
        corners: Tensor | None = None,
        device: torch.device | None = None,
        flips: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Read several images at once.

        Args:
            indices: positions in the split (B): integers 0 … n−1 as list, array, range or tensor.
            corners: row and column of each image's cut (B×2), for a split with ``crop``; None: the middle.
            device: where the bytes go, to be resized and normalised there; None: where the split is.
            flips: True for each image that is mirrored left to right (B); None: none is.

        Returns:
            Normalised images (float32, B×C×H×W) and their labels (int64, B or B×c), the labels on the split's
            device.

        Raises:
            ValueError: if a position is outside the split or not an integer.

        Source: §4.1; built in Chapter 2.
        """
        at = self._positions(indices).to(self.pixels.device)
        x = self._stored(at)  # B×C×H×W, bytes
        if self.crop is not None and len(x):
            s = self.crop
            if corners is None:
                r, c = ((side - s) // 2 for side in x.shape[-2:])
                x = x[..., r : r + s, c : c + s]
            else:
                places = zip(x, corners.tolist(), strict=True)
                x = torch.stack([image[:, r : r + s, c : c + s] for image, (r, c) in places])
        if device is not None:
            pin = device.type == "cuda" and x.device.type == "cpu"  # then the copy runs beside the computing
            x = (x.pin_memory() if pin else x).to(device, non_blocking=pin)
        if flips is not None:  # of bytes: a quarter of the memory
            x = torch.where(flips.to(x.device)[:, None, None, None], x.flip(-1), x)
        mean, std = (torch.tensor(v, device=x.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        x = x.float().div_(255).sub_(mean).div_(std)  # B×C×H×W
        size = (self.image_size, self.image_size)
        if x.shape[-2:] != size:  # after normalising, which is the same and mostly less to do
            rows, columns = (_bilinear(a, b, x.device) for a, b in zip(x.shape[-2:], size, strict=True))
            x = rows @ x @ columns.T
        return x, self.labels[at]

    def picture(self, i: int) -> NDArray[np.uint8]:
        """Return image ``i`` for showing: uint8, H×W for grey and H×W×3 for colour, at its stored size.

        Raises:
            ValueError: if ``i`` is outside the split.

        Source: ours; used in Chapter 2.
        """
        return self.pictures([i])[0]

    def pictures(self, indices: Any) -> NDArray[np.uint8]:
        """Return several images for showing: uint8, B×H×W for grey and B×H×W×3 for colour.

        Raises:
            ValueError: if a position is outside the split or not an integer.

        Source: ours; used in Chapter 2.
        """
        x = self._stored(self._positions(indices).to(self.pixels.device)).cpu().numpy()  # B×C×H×W
        return x[:, 0] if self.channels == 1 else x.transpose(0, 2, 3, 1)

    def take(self, which: Any) -> Split:
        """Make a smaller split: its first ``which`` images, or the images at given positions.

        Args:
            which: an integer 1 … n, or positions in the split.

        Returns:
            A new split with the same normalisation.

        Raises:
            ValueError: if there are not so many images, or a position is outside the split.

        Source: ours; used in Chapter 2.
        """
        if isinstance(which, int) and not isinstance(which, bool):
            if not 1 <= which <= len(self):
                raise bad("which", which, f"a number of images from 1 to {len(self)}, or positions")
            which = range(which)
        at = self._positions(which).to(self.pixels.device)
        if self.rows is None:
            return self._like(self.pixels[at], self.labels[at], self.indices[at])
        return self._like(self.pixels, self.labels[at], self.indices[at], self.rows[at])

    def to(self, device: str | torch.device) -> Split:
        """Copy the split to a device, so that batches are cut, resized and normalised there.

        Args:
            device: e.g. ``"cuda"``.

        Returns:
            A split whose tensors lie on ``device``.

        Source: ours; used in Chapter 12.
        """
        pixels = self.pixels if self.rows is None else self.pixels[self.rows]
        return self._like(pixels.to(device), self.labels, self.indices)

    def _like(self, pixels: Tensor, labels: Tensor, indices: Tensor, rows: Tensor | None = None) -> Split:
        return Split(
            pixels, labels, indices.to(pixels.device), self.mean, self.std, self._resize, rows, self.crop
        )

    def _stored(self, at: Tensor) -> Tensor:
        """The stored bytes of images at checked positions."""
        return self.pixels[at if self.rows is None else self.rows[at]]

    def _positions(self, indices: Any) -> Tensor:
        at = tensor("indices", indices, "a list of integers")
        if at.numel() == 0 and at.ndim == 1:
            return at.long()
        if at.ndim != 1 or at.dtype == torch.bool or at.is_floating_point() or at.is_complex():
            raise bad("indices", f"shape {tuple(at.shape)} of {at.dtype}", "a list of integers")
        low, high = int(at.min()), int(at.max())
        if low < 0 or high >= len(self):
            raise bad("indices", low if low < 0 else high, f"positions from 0 to {len(self) - 1}")
        return at.long()


@dataclass(frozen=True)
class RetrievalData:
    """A retrieval experiment's data: who asks, what trains, what is searched.

    Args:
        name: the data set's name.
        protocol: how it was split; ``str(data.protocol)`` is its name.
        seed: the split's seed.
        class_names: names of the classes, by id.
        train: training images.
        query: queries; none of them is in another split.
        database: the images that are searched.
        source: in what form the images came, e.g. "JPEG files"; goes into records.

    Source: §4.1; built in Chapter 2.
    """

    name: str
    protocol: Protocol
    seed: int
    class_names: tuple[str, ...]
    train: Split
    query: Split
    database: Split
    source: str

    @property
    def num_classes(self) -> int:
        """Number of classes c."""
        return len(self.class_names)

    @property
    def multi_label(self) -> bool:
        """Are labels multi-hot rows (n×c) rather than class ids (n)?"""
        return self.train.labels.ndim == 2

    @property
    def channels(self) -> int:
        """C: 1 for grey images, 3 for colour."""
        return self.train.channels

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that reach the network."""
        return self.train.image_size

    def describe(self) -> str:
        """Say in a few lines what the data are and how they were split.

        Returns:
            Name, protocol, seed, sizes, image form, and how the split stands to the paper.

        Source: §4.1; built in Chapter 2.
        """
        inside = "holds" if self.protocol.database_includes_train else "does not hold"
        depth = "ALL" if self.protocol.map_k is None else f"{self.protocol.map_k:,}"
        kind = "several labels per image" if self.multi_label else "one label per image"
        return (
            f"{self.name}, protocol {self.protocol.name!r}, split seed {self.seed}, from {self.source}\n"
            f"{len(self.query):,} queries, {len(self.train):,} training images, {len(self.database):,} "
            f"images in the database,\nwhich {inside} the training images; mAP@{depth}\n"
            f"{self.num_classes} classes, {kind}; {self.channels}×{self.image_size}×{self.image_size} "
            f"pixels\n{textwrap.fill(self.protocol.text, 100)}"
        )

    def protocol_record(self) -> dict[str, Any]:
        """Say the same for a machine: the part of a run's record that names its data.

        Returns:
            A dictionary that JSON can hold; ``k`` is None for mAP@ALL.

        Source: §4.1; built in Chapter 2.
        """
        return {
            "dataset": self.name,
            "source": self.source,
            "protocol": self.protocol.name,
            "query": len(self.query),
            "train": len(self.train),
            "database": len(self.database),
            "database_includes_train": self.protocol.database_includes_train,
            "seed": int(self.seed),
            "k": self.protocol.map_k,
            "classes": self.num_classes,
            "multi_label": self.multi_label,
            "image_size": self.image_size,
        }


def assemble(
    name: str,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.integer],
    protocol: Protocol,
    seed: int,
    class_names: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    source: str,
    image_size: int | None = None,
    test_rows: NDArray[np.bool_] | None = None,
) -> RetrievalData:
    """Split a whole single-label data set by a protocol.

    Args:
        name: the data set's name.
        pixels: all images, uint8 (n×C×H×W).
        labels: class ids (n,).
        protocol: how many of what.
        seed: the split's seed.
        class_names: names of the classes, by id.
        mean: mean of each channel, as in `Split`.
        std: standard deviation of each channel.
        source: in what form the images came.
        image_size: side to which images are resized; None keeps it.
        test_rows: True where a row belongs to the official test part (n,), if there is one.

    Returns:
        The three splits; their ``indices`` are rows of ``pixels``.

    Raises:
        ValueError: as `split_rows` and `Split` do.

    Source: §4.1; built in Chapter 2.
    """
    ids = class_ids(labels)
    instance("pixels", pixels, np.ndarray, "an array of uint8 images n×C×H×W")
    if len(ids) != len(pixels):
        raise bad("labels", f"{len(ids)} of them", f"as many as the {len(pixels)} images")
    images = torch.from_numpy(pixels)
    parts = {}
    for part, rows in split_rows(ids, protocol, seed, class_names, test_rows).items():
        at = torch.from_numpy(rows)
        parts[part] = Split(images[at], ids[rows], at, mean, std, image_size)
    return RetrievalData(name, protocol, int(seed), class_names, source=source, **parts)


@lru_cache(maxsize=32)
def _bilinear(old: int, new: int, device: torch.device) -> Tensor:
    """Bilinear resizing of one side, antialiased, as a matrix (new×old): a product is the fastest way."""
    each = torch.eye(old, device=device)[None, None]  # 1×1×old×old
    made = F.interpolate(each, size=(new, old), mode="bilinear", antialias=True, align_corners=False)
    return made[0, 0]


def random_flip(batch: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Mirror each image left to right with probability ½.

    Args:
        batch: images (B×C×H×W).
        generator: a CPU generator that decides; None uses torch's own.

    Returns:
        The images (B×C×H×W).

    Source: ours; used in Chapter 11.
    """
    flip = (torch.rand(len(batch), generator=generator) < 0.5).to(batch.device)  # B
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
        ValueError: if ``pixels`` is not a positive integer.

    Source: ours; used in Chapter 11.
    """
    positive_int("pixels", pixels)
    b, c, h, w = batch.shape
    device = batch.device
    canvas = torch.empty(b, c, h + 2 * pixels, w + 2 * pixels, dtype=batch.dtype, device=device)
    canvas[:] = torch.as_tensor(fill, dtype=batch.dtype, device=device).reshape(1, -1, 1, 1)
    canvas[:, :, pixels : pixels + h, pixels : pixels + w] = batch
    corner = torch.randint(0, 2 * pixels + 1, (2, b), generator=generator).to(
        device
    )  # where each window starts
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
        ValueError: if ``batch_size`` or ``augment`` is wrong.

    Source: Algorithm 1; built in Chapter 2.
    """
    positive_int("batch_size", batch_size)
    choice("augment", augment, AUGMENTATIONS)
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
    shift = (
        round(_SHIFT * split.image_size / split.pixels.shape[-1]) or 1
    )  # the same share of a resized image
    rank, world = share
    for whole in order.split(batch_size):
        if len(whole) < batch_size and not last:
            return
        index = whole.tensor_split(world)[rank] if world > 1 else whole
        corners = None
        if augment == "crop-flip":
            free = torch.tensor([side - (split.crop or 0) + 1 for side in split.pixels.shape[-2:]])
            corners = (torch.rand(len(index), 2, generator=generator) * free).long()  # B×2
        flips = None if augment == "none" else torch.rand(len(index), generator=generator) < 0.5  # B
        images, labels = split.batch(index, corners, device, flips)
        if augment == "flip-shift":
            images = random_shift(images, shift, generator, split.background)
        yield images, labels, index.to(labels.device)
