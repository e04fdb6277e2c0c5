"""What can be trained on and encoded: a split, any data set of torch, a loader, a tensor.

A *feed* gives batches of images, labels and places in the training set, the same for the same epoch, so that
a run which was killed and resumed is the same run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from dhida_lib import _distributed
from dhida_lib._tensors import send
from dhida_lib._validate import bad
from dhida_lib.config import TrainConfig
from dhida_lib.data import Split, batches
from dhida_lib.training.devices import on_device

__all__ = ["Batch", "Feed", "as_feed", "image_of"]

Augment = Callable[[Tensor], Tensor]
_CHANGE = "a function of one image (C×H×W) that returns one"


class Batch(NamedTuple):
    """This process's share of a batch.

    Attributes:
        images: B×C×H×W, normalised.
        labels: (B,) or (B×c).
        places: places in the training set (B,); None if they are not known.
        size: number of images in the shares of all processes together.
        whole: the places of all these shares, on the host; None if they are not known.
    """

    images: Tensor
    labels: Tensor
    places: Tensor | None
    size: int
    whole: Tensor | None = None


class Feed:
    """Batches of one training set.

    Args:
        images: how many images an epoch has.
        batch_size: images per batch, of all processes together.
        walk: from the epoch's generator to its batches.
        steps: how many batches an epoch has, where their sizes differ; None: as the first two say.
        labels: all labels, where they are at hand before the first batch.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        walk: Callable[[torch.Generator, bool], Iterator[Batch]],
        steps: int | None = None,
        labels: Any = None,
    ) -> None:
        self.labels, self.places = labels, torch.tensor([0, images - 1])
        self.steps = math.ceil(images / batch_size) if steps is None else steps
        rest = images % batch_size if steps is None else 0
        # Batch normalisation has no variance over one image: a last batch too small for all is left out.
        self.short = 0 < rest < 2 * _distributed.world() and self.steps > 1
        self.images = images - rest * self.short
        self.batch_size = batch_size
        self._walk = walk

    def epoch(self, generator: torch.Generator) -> Iterator[Batch]:
        """The batches of one epoch, in an order that the generator decides."""
        return self._walk(generator, not self.short)

    def sent(
        self,
        generator: torch.Generator,
        device: torch.device,
        look: Callable[[Any, Any], object] | None = None,
    ) -> Iterator[Batch]:
        """The batches of one epoch on a device.

        Args:
            generator: decides their order.
            device: where they go.
            look: checks labels and places of a batch, while they are on the host; not called where the labels
                of all are at hand, see `check`.
        """
        for batch in self.epoch(generator):
            if look is not None and self.labels is None:
                look(batch.labels, batch.places)
            places = None if batch.places is None else send(batch.places, device)
            images, labels = (send(torch.as_tensor(x), device) for x in batch[:2])
            yield batch._replace(images=images, labels=labels, places=places)

    def check(self, look: Callable[[Any, Any], object]) -> None:
        """Check labels and places of all images at once, where they are at hand."""
        if self.labels is not None:
            look(self.labels.cpu() if isinstance(self.labels, Tensor) else self.labels, self.places)

    def augmented(self, augment: Augment) -> None:
        """From now on, change every image by a function of one (C×H×W)."""
        if not callable(augment):
            raise bad("augment", augment, _CHANGE)
        plain = self._walk

        def walk(generator: torch.Generator, last: bool) -> Iterator[Batch]:
            for batch in plain(generator, last):
                images = [augment(image) for image in batch.images]
                odd = next((x for x in images if not isinstance(x, Tensor)), None)
                if odd is not None:
                    raise bad("augment", type(odd).__name__, _CHANGE)
                yield batch._replace(images=torch.stack(images))

        self._walk = walk


def as_feed(data: Any, config: TrainConfig, device: torch.device, augment: Augment | None = None) -> Feed:
    """Make a feed of what `train` was given.

    Args:
        data: a `Split`, a data set of torch with a length that yields (image, label), or a ``DataLoader``.
        config: batch size, augmentation, and whether the images go to the device.
        device: where they go.
        augment: a function of one image (C×H×W, normalised), such as a transform of torchvision.

    Returns:
        The feed.

    Raises:
        ValueError: if it is something else, or a setting does not go with it.
    """
    if config.data_on_device and not hasattr(data, "batch"):
        raise bad("data_on_device", True, "False with a Dataset or a DataLoader: only a Split lies in memory")
    if isinstance(data, DataLoader):
        feed = _of_loader(data, config)
    elif hasattr(data, "batch") and hasattr(data, "labels"):
        feed = _of_split(data, config, device)
    elif isinstance(data, Dataset) and not isinstance(data, IterableDataset) and hasattr(data, "__len__"):
        feed = _of_dataset(data, config)
    else:
        raise bad("data", type(data).__name__, "a Split, a Dataset of (image, label), or a DataLoader")
    if augment is not None:
        feed.augmented(augment)
    return feed


def _of_split(split: Split, config: TrainConfig, device: torch.device) -> Feed:
    if config.data_on_device:
        split = on_device(split, device)
    share = (_distributed.rank(), _distributed.world())

    def walk(generator: torch.Generator, last: bool) -> Iterator[Batch]:
        size, n = config.batch_size, len(split)
        twin = torch.Generator().set_state(generator.get_state())
        order = torch.randperm(n, generator=twin).split(size)  # as `batches` draws it, but whole and here
        parts = batches(split, size, True, generator, config.augment, share, last, device)
        for whole, (images, labels, index) in zip(order, parts, strict=False):
            yield Batch(images, labels, index, len(whole), whole)

    return Feed(len(split), config.batch_size, walk, labels=split.labels)


def _of_dataset(data: Dataset[Any], config: TrainConfig) -> Feed:
    _no_named_augment(config)
    n, size = len(data), config.batch_size  # type: ignore[arg-type]
    rank, world = _distributed.rank(), _distributed.world()

    def walk(generator: torch.Generator, last: bool) -> Iterator[Batch]:
        for whole in torch.randperm(n, generator=generator).split(size):
            if len(whole) == size or last:
                index = whole.tensor_split(world)[rank]
                images, labels = default_collate([_pair(data[int(i)]) for i in index])
                yield Batch(images, labels, index, len(whole), whole)

    return Feed(n, size, walk)


class _Numbered(Dataset[Any]):
    """A data set whose items know their place."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        return self.data[i], i


def _of_loader(loader: DataLoader[Any], config: TrainConfig) -> Feed:
    """The loader's own order, batch size, workers and collation; places are added where they can be."""
    _no_named_augment(config)
    if _distributed.world() > 1:
        raise bad(
            "data", "a DataLoader", "a Split or a Dataset with several processes: they share the batches"
        )
    countable = not isinstance(loader.dataset, IterableDataset) and loader.batch_sampler is not None
    try:
        steps = len(loader)
    except TypeError as error:
        raise bad(
            "data", "a DataLoader without a length", "one that knows how many batches it has"
        ) from error
    if not countable:
        raise bad("data", "a DataLoader over a stream", "one over a data set with a length, with batches")
    numbered = _numbered(loader)
    samplers = (loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None))
    drawn = {g: g.initial_seed() for s in samplers if (g := getattr(s, "generator", None)) is not None}
    size = loader.batch_size

    def walk(generator: torch.Generator, last: bool) -> Iterator[Batch]:
        for own, seed in drawn.items():  # its order too follows from the epoch, so that a run can go on
            own.manual_seed((seed + generator.initial_seed()) % 2**63)
        for (x, y), index in numbered:
            if last or len(index) == size:
                yield Batch(x, y, index, len(index), index)

    if size is not None:
        return Feed(min(steps * size, len(loader.sampler)), size, walk)  # type: ignore[arg-type]
    if config.accumulate > 1:
        raise bad(
            "accumulate", config.accumulate, "1 with a batch sampler of your own: its batches may differ"
        )
    images = len(loader.dataset)  # type: ignore[arg-type]
    return Feed(images, math.ceil(images / steps), walk, steps)


def _numbered(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The same loader, with places beside its batches."""
    return DataLoader(
        _Numbered(loader.dataset),
        batch_sampler=loader.batch_sampler,
        num_workers=loader.num_workers,
        collate_fn=_Collate(loader.collate_fn),
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
    )


class _Collate:
    """The loader's own collation, and the places beside it; a class, so that workers can be given it."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, items: list[tuple[Any, int]]) -> tuple[tuple[Tensor, Tensor], Tensor]:
        return _pair(self.collate([item for item, _ in items])), torch.tensor([i for _, i in items])


def _pair(item: Any) -> tuple[Any, Any]:
    """An item as (image, label); what stands behind these two is left out."""
    if not isinstance(item, (tuple, list)) or len(item) < 2:
        raise bad("data", f"items of type {type(item).__name__}", "pairs of image and label")
    return image_of(item), item[1]


def image_of(item: Any) -> Any:
    """The image of an item, or the images of a batch, without labels.

    Args:
        item: an image, or a tuple that begins with it.

    Returns:
        A tensor or an array.

    Raises:
        ValueError: if it is something else.
    """
    image = item[0] if isinstance(item, (tuple, list)) and len(item) else item
    if not isinstance(image, (Tensor, np.ndarray)):
        need = "images as tensors C×H×W: a transform such as `model.preprocess` makes them"
        raise bad("data", type(image).__name__, need)
    return image


def _no_named_augment(config: TrainConfig) -> None:
    if config.augment != "none":
        need = '"none" with data of your own: give a function of one image to `train(…, augment=…)`'
        raise bad("augment", config.augment, need)
