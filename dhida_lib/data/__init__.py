"""Data sets, protocols, splits and batches: §3.1 and §4.1, built in Chapter 2.

`load_dataset` is the door. Behind it: `paths` (where files lie), `protocols` (who asks, who trains, who is
searched), `splits` (images in memory, batches), and one module per source of images.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from dhida_lib._validate import choice, instance, positive_int
from dhida_lib.data.cifar import CIFAR10_CLASSES, IMAGENET_MEAN, IMAGENET_STD, load_cifar10
from dhida_lib.data.fashion import FASHION_CLASSES, load_fashion_mini, load_fashion_mnist
from dhida_lib.data.files import load_folder, load_imagenet100, load_nus_wide
from dhida_lib.data.multilabel import load_fashion_multi
from dhida_lib.data.paths import data_path
from dhida_lib.data.protocols import PROTOCOLS, Protocol, get_protocol
from dhida_lib.data.splits import AUGMENTATIONS, RetrievalData, Split, batches, random_flip, random_shift
from dhida_lib.labels import as_labels, similarity

__all__ = [
    "AUGMENTATIONS",
    "CIFAR10_CLASSES",
    "DATASETS",
    "FASHION_CLASSES",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "PROTOCOLS",
    "Protocol",
    "RetrievalData",
    "Split",
    "as_labels",
    "batches",
    "data_path",
    "get_protocol",
    "load_dataset",
    "random_flip",
    "random_shift",
    "similarity",
]

DATASETS: dict[str, Callable[..., RetrievalData]] = {
    "fashion-mini": load_fashion_mini,
    "fashion-multi": load_fashion_multi,
    "fashion-mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
    "nus-wide-21": load_nus_wide,
    "imagenet100": load_imagenet100,
    "folder": load_folder,
}
"""Data set → the function that loads it."""


def load_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    seed: int = 0,
    protocol: str | Protocol | None = None,
    image_size: int | None = None,
) -> RetrievalData:
    """Load a data set, split for retrieval. Nothing is ever downloaded.

    ``"fashion-mini"`` (7,000 grey images of clothing) ships, and so does ``"fashion-multi"`` (several
    garments on one canvas, several labels), which is made from it. ``"fashion-mnist"``, ``"cifar10"``,
    ``"nus-wide-21"`` and ``"imagenet100"`` (both by the field's lists) and ``"folder"`` (class folders of
    your own) are read from disk.

    Args:
        name: a name in `DATASETS`.
        root: the folder that holds the data set. None is the shipped one, or ``$DHIDA_ROOT/name``.
        seed: the split's seed, an integer ≥ 0: the same seed gives the same split everywhere.
        protocol: a name in ``PROTOCOLS[name]``, None for the first of them, or a `Protocol` of your own.
        image_size: side in pixels to which images are resized when they are read; None keeps their size.

    Returns:
        ``.train``, ``.query`` and ``.database``, each a `Split`, with ``.describe()`` to print.

    Raises:
        ValueError: for an unknown name or protocol, a wrong seed or size, a damaged file, or too few images.
        FileNotFoundError: if the data set is not there; the message says how to get it.

    Source: §4.1; built in Chapter 2.
    """
    load = DATASETS[choice("name", name, DATASETS)]
    if root is not None:
        instance("root", root, (str, os.PathLike), "the path of a folder")
    if image_size is not None:
        positive_int("image_size", image_size)
    return load(root, seed, protocol, image_size)
