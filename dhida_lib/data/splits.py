"""A split in memory, and the three splits of a retrieval experiment (§4.1, Chapter 2)."""

from __future__ import annotations

import operator
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dhida_lib._tensors import send
from dhida_lib._validate import bad, instance, known_device, sized, tensor
from dhida_lib.data.preprocess import Preprocess, as_array, as_bytes
from dhida_lib.data.protocols import Protocol, class_ids, split_rows
from dhida_lib.labels import as_labels

__all__ = ["Images", "RetrievalData", "Split", "assemble"]


_MOST_CLASSES = 1_000_000  # that `from_arrays` gives names to


class Images(NamedTuple):
    """A whole data set in memory.

    Attributes:
        pixels: bytes (uint8, n×C×H×W).
        labels: class ids (n,).
        test: True where a row belongs to the official test part (n,); None: there is none.
        source: in what form the images came, for records.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]
    test: NDArray[np.bool_] | None = None
    source: str = "arrays"


class Split(Dataset[tuple[Tensor, "int | Tensor"]]):
    """One part of a data set, held as bytes (in memory, or in a file mapped into it), normalised when read.

    ``len(split)`` counts its images. ``split[i]`` is a pair: the normalised image (float32, C×H×W) and its
    label (an int, or a multi-hot tensor (c,)), so a split works in a ``for`` loop and in a torch
    ``DataLoader``.

    Args:
        pixels: uint8 images (n×C×H×W), C = 1 or 3.
        labels: class ids (n,) or multi-hot rows (n×c).
        indices: where each image comes from: rows of the source (n,), or several rows per image (n×m).
        preprocess: what happens to them on their way to the network; its ``stored`` is their side.
        rows: which rows of ``pixels`` these images are (n,), where several splits share one store; None: all.

    Raises:
        ValueError: if shapes, lengths or types do not fit together.

    Source: §4.1; built in Chapter 2, ``rows`` in Chapter 16.
    """

    def __init__(
        self,
        pixels: Tensor,
        labels: Any,
        indices: Any,
        preprocess: Preprocess,
        rows: Tensor | None = None,
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
        if self.rows is not None and n:
            first, final = int(self.rows.min()), int(self.rows.max())
            if first < 0 or final >= len(pixels):
                raise bad("rows", f"{first} … {final}", f"row numbers of the {len(pixels)} stored images")
        instance("preprocess", preprocess, Preprocess, "a Preprocess")
        form = (preprocess.channels, preprocess.kept, preprocess.kept)
        if tuple(pixels.shape[1:]) != form:
            got = "×".join(map(str, pixels.shape[1:]))
            raise bad(
                "pixels", f"images of {got}", f"{form[0]}×{form[1]}×{form[2]}, as `preprocess` keeps them"
            )
        self.preprocess = preprocess

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
        return self.preprocess.side

    @property
    def crop(self) -> int | None:
        """Side in pixels of the square that is cut from a stored image; None: the whole is taken."""
        return self.preprocess.crop

    @property
    def background(self) -> Tensor:
        """What a black pixel becomes after normalisation (C numbers)."""
        means, stds = self.preprocess.mean, self.preprocess.std
        return torch.tensor([-m / s for m, s in zip(means, stds, strict=True)])

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
            ValueError: if a position is outside the split or not an integer, or corners, flips or device do
                not fit.

        Source: §4.1; built in Chapter 2.
        """
        at = send(self._positions(indices), self.pixels.device)
        x = self.preprocess.normalise(self._stored(at), corners, device, flips)
        return x, self.labels[at]

    def picture(self, i: int) -> NDArray[np.uint8]:
        """Return image ``i`` for showing: uint8, H×W for grey and H×W×3 for colour, at its stored size.

        Raises:
            ValueError: if ``i`` is outside the split.
        """
        return self.pictures([i])[0]

    def pictures(self, indices: Any) -> NDArray[np.uint8]:
        """Return several images for showing: uint8, B×H×W for grey and B×H×W×3 for colour.

        Raises:
            ValueError: if a position is outside the split or not an integer.
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

        Raises:
            ValueError: if there is no such device.
        """
        place = known_device("device", device)
        pixels = self.pixels if self.rows is None else self.pixels[self.rows]
        try:
            pixels = pixels.to(place)
        except (RuntimeError, AssertionError) as error:  # it is not on this machine, or has too little memory
            raise bad("device", device, f"one that takes the images here ({error})") from error
        return self._like(pixels, self.labels, self.indices)

    def _like(self, pixels: Tensor, labels: Tensor, indices: Tensor, rows: Tensor | None = None) -> Split:
        return Split(pixels, labels, indices.to(pixels.device), self.preprocess, rows)

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
    """A retrieval experiment's data: the queries, the training images and the database.

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
        return self.preprocess.channels

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that reach the network."""
        return self.preprocess.side

    @property
    def preprocess(self) -> Preprocess:
        """What happens to a picture before the network."""
        return self.train.preprocess

    @classmethod
    def from_arrays(
        cls,
        query: tuple[Any, Any],
        train: tuple[Any, Any],
        database: tuple[Any, Any],
        preprocess: Preprocess | None = None,
        class_names: Sequence[str] | None = None,
        name: str = "arrays",
        map_k: int | None = None,
        database_includes_train: bool = False,
    ) -> RetrievalData:
        """Images and labels that you have already, split by yourself.

        Args:
            query: images and labels of the queries. Images are an array n×H×W or n×H×W×C or a tensor
                n×C×H×W, with C = 1 or 3, of bytes (uint8), uint16, or floating numbers from 0 to 1.
                Labels are class ids (n,) or multi-hot rows (n×c).
            train: those of the training images.
            database: those of the images that are searched.
            preprocess: what happens to them; None: squares of their shorter side, normalised by mean and
                standard deviation of the training images.
            class_names: names of the classes; None: their numbers.
            name: what to call the data in records.
            map_k: depth of the mAP; None is mAP@ALL.
            database_includes_train: whether the database holds the training images too; for records.

        Returns:
            The data, as `load_dataset` gives it.

        Raises:
            ValueError: if images and labels do not fit together, or something is no image.

        Source: §4.1; used in Chapter 18.
        """
        given = {"query": query, "train": train, "database": database}
        pictures = {part: _pictures(part, pair) for part, pair in given.items()}
        labels = {part: _labels(part, pair[1], len(pictures[part])) for part, pair in given.items()}
        names = _class_names(labels, class_names)
        form = _own_form(pictures["train"]) if preprocess is None else preprocess
        instance("preprocess", form, Preprocess, "a Preprocess")
        splits = {
            part: Split(_stored(x, form), labels[part], torch.arange(len(x)), form)
            for part, x in pictures.items()
        }
        text = "Split by whoever gave the arrays."
        protocol = Protocol("given", 1, 1, database_includes_train, map_k, text, official_split=True)
        return cls(name, protocol, 0, names, source="arrays", **splits)

    @classmethod
    def from_folders(
        cls,
        path: str | os.PathLike[str],
        seed: int = 0,
        protocol: str | Protocol | None = None,
        image_size: int | None = None,
    ) -> RetrievalData:
        """Class folders of your own: ``path/<class>/…``, or ``path/train/<class>/…`` and ``val`` or ``test``.

        Args:
            path: the folder.
            seed: the split's seed.
            protocol: as for `load_dataset`; None: 10 queries and 50 training images a class, or the folders'
                own split.
            image_size: side in pixels of the square that is cut; None: 224.

        Returns:
            The data, as ``load_dataset("folder", path)`` gives it.

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if a class has too few images, or none can be read.
        """
        from dhida_lib.data.source import DATASETS

        return DATASETS["folder"].load(path, seed, protocol, image_size)

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


def _pictures(part: str, pair: Any) -> NDArray[np.uint8]:
    """The images of one part as bytes n×H×W×C, whatever form they came in."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise bad(part, type(pair).__name__, "a pair of images and labels")
    x = pair[0]
    need = "images n×H×W, n×H×W×C (an array) or n×C×H×W (a tensor) with C = 1 or 3"
    if not isinstance(x, (Tensor, np.ndarray)):
        raise bad(part, type(x).__name__, need)
    got = f"shape {tuple(x.shape)}"
    if isinstance(x, Tensor):
        x = as_array(x, part, need)
        x = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or 0 in x.shape or x.shape[3] not in (1, 3):
        raise bad(part, got, need)
    return as_bytes(x, part)


def _labels(part: str, labels: Any, images: int) -> Tensor:
    """The labels of one part, as many as its images."""
    y = as_labels(labels, part)
    if len(y) != images:
        raise bad(part, f"{images} images and {len(y)} labels", "one label for each image")
    if y.ndim == 1 and int(y.min()) < 0:
        raise bad(part, f"the label {int(y.min())}", "images and labels, which are class ids ≥ 0 or rows")
    return y


def _class_names(labels: dict[str, Tensor], names: Sequence[str] | None) -> tuple[str, ...]:
    """Names for all classes, after a look whether the parts' labels have one form."""
    form = labels["train"].shape[1:]
    for part, y in labels.items():
        if y.shape[1:] != form:
            need = "images and labels of the form of the training images' labels"
            raise bad(part, f"labels of shape {tuple(y.shape)}", need)
    count = form[0] if form else 1 + max(int(y.max()) for y in labels.values())
    if names is None and count > _MOST_CLASSES:
        raise bad("class_names", None, f"given, for class ids go up to {count - 1:,}")
    if names is None:
        return tuple(map(str, range(count)))
    need = f"{count:,} names" + " or more" * (not form) + ", texts"
    found = tuple(sized("class_names", names, need))
    for each in found:
        instance("class_names", each, str, need)
    if len(found) < count or (form and len(found) != count):
        raise bad("class_names", f"{len(found)} of them", need)
    return found


def _own_form(x: NDArray[np.uint8]) -> Preprocess:
    """Squares of the images' shorter side, normalised by their own mean and standard deviation."""
    plain = Preprocess(channels=x.shape[3], side=min(x.shape[1:3]))
    pixels = _stored(x, plain).float() / 255
    mean, std = pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3)).clamp_min(1e-3)
    return replace(plain, mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def _stored(x: NDArray[np.uint8], form: Preprocess) -> Tensor:
    """Images (n×H×W×C) as bytes of the side at which they are kept (n×C×side×side)."""
    if x.shape[1:] == (form.kept, form.kept, form.channels):
        return torch.from_numpy(np.array(x.transpose(0, 3, 1, 2)))
    return torch.stack([form.pixels(image) for image in x])


def assemble(
    name: str,
    images: Images,
    protocol: Protocol,
    seed: int,
    class_names: tuple[str, ...],
    preprocess: Preprocess,
) -> RetrievalData:
    """Split a whole single-label data set by a protocol.

    Args:
        name: the data set's name.
        images: all images and their labels.
        protocol: how many of what.
        seed: the split's seed.
        class_names: names of the classes, by id.
        preprocess: what happens to an image.

    Returns:
        The three splits; their ``indices`` are rows of ``images``.

    Raises:
        ValueError: as `split_rows` and `Split` do.

    Source: §4.1; built in Chapter 2.
    """
    ids = class_ids(instance("images", images, Images, "Images").labels)
    need = "an array of uint8 images n×C×H×W"
    if instance("pixels", images.pixels, np.ndarray, need).ndim != 4:
        raise bad("pixels", f"shape {images.pixels.shape}", need)
    if len(ids) != len(images.pixels):
        raise bad("labels", f"{len(ids)} of them", f"as many as the {len(images.pixels)} images")
    pixels = torch.from_numpy(images.pixels)
    parts = {}
    for part, rows in split_rows(ids, protocol, seed, class_names, images.test).items():
        at = torch.from_numpy(rows)
        parts[part] = Split(pixels[at], ids[rows], at, preprocess)
    return RetrievalData(name, protocol, int(seed), class_names, source=images.source, **parts)
