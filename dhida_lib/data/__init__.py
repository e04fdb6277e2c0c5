"""Data sets, protocols, splits and batches: §3.1 and §4.1, built in Chapter 2.

`load_dataset` is the door. Behind it: `source` (what a data set is), `sources` (ours, a file each),
`preprocess` (what happens to a picture), `protocols` (which images are queries, training images and
database), `splits` and `batches` (images in memory), `files`, `images` and `paths` (images on disk).
"""

from __future__ import annotations

import os

from dhida_lib._validate import instance
from dhida_lib.backbones.base import ImageForm
from dhida_lib.data import sources
from dhida_lib.data.batches import AUGMENTATIONS, batches, random_flip, random_shift
from dhida_lib.data.cifar import CIFAR10_CLASSES, IMAGENET_MEAN, IMAGENET_STD
from dhida_lib.data.fashion import FASHION_CLASSES
from dhida_lib.data.paths import data_path
from dhida_lib.data.preprocess import Preprocess
from dhida_lib.data.protocols import Protocol
from dhida_lib.data.source import DATASETS, DataSource, register_dataset
from dhida_lib.data.splits import Images, RetrievalData, Split
from dhida_lib.labels import as_labels, similarity

__all__ = [
    "AUGMENTATIONS",
    "CIFAR10_CLASSES",
    "DATASETS",
    "FASHION_CLASSES",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "DataSource",
    "Images",
    "Preprocess",
    "Protocol",
    "RetrievalData",
    "Split",
    "as_labels",
    "batches",
    "data_path",
    "load_dataset",
    "random_flip",
    "random_shift",
    "register_dataset",
    "similarity",
    "sources",
]


def load_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    seed: int = 0,
    protocol: str | Protocol | None = None,
    image_size: int | None = None,
    form: ImageForm | None = None,
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
        protocol: the name of one of the data set's protocols, None for the first, or a `Protocol` of your
            own.
        image_size: side in pixels to which images are resized when they are read; None takes the form's, or
            else keeps their size.
        form: the images that a network's weights were made for, as `backbones.image_form` says; None: mean
            and standard deviation are the data set's.

    Returns:
        ``.train``, ``.query`` and ``.database``, each a `Split`, with ``.describe()`` to print.

    Raises:
        ValueError: for an unknown name or protocol, a wrong seed or size, a damaged file, or too few images.
        FileNotFoundError: if the data set is not there; the message says how to get it.

    Source: §4.1; built in Chapter 2.
    """
    source = DATASETS.find(name, "name")
    if root is not None:
        instance("root", root, (str, os.PathLike), "the path of a folder")
    if form is None:
        return source.load(root, seed, protocol, image_size)
    return source.load(root, seed, protocol, image_size, form)
