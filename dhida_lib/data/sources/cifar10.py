"""CIFAR-10, the paper's first data set, from torchvision's archive or as image files (Chapter 16)."""

from __future__ import annotations

import numpy as np

from dhida_lib.data.cifar import CIFAR10_CLASSES, IMAGENET_MEAN, IMAGENET_STD, read_cifar10
from dhida_lib.data.preprocess import Preprocess
from dhida_lib.data.protocols import Protocol, rank_in_class, seeded_order
from dhida_lib.data.source import DataSource, Root, register_dataset
from dhida_lib.data.splits import Images

__all__ = ["Cifar10", "Cifar10Fifth", "Cifar10Frozen"]

_FIFTH = 102  # the stream that draws the fifth


@register_dataset("cifar10")
class Cifar10(DataSource):
    """CIFAR-10. ``indices`` of its splits are rows of the training part followed by the test part."""

    label = "CIFAR-10"
    classes = CIFAR10_CLASSES
    preprocess = Preprocess(channels=3, side=32, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    protocols: tuple[Protocol, ...] = (
        Protocol(
            "cifar10", 100, 500, False, None,
            "The paper's text (§4.1) read literally: the database is the rest, without the training images.",
        ),
        Protocol(
            "cifar10-1", 100, 500, True, None,
            "The paper's sizes (§4.1), but the database is all but the queries, so it holds the training "
            "images, as in most papers of the field.",
        ),
        Protocol(
            "cifar10-2", 1000, 5000, True, None,
            "CIFAR-10's own split: its test part asks, its training part trains and is searched. Not the "
            "paper's; never compare its numbers with the other protocols'.",
            official_split=True,
        ),
    )  # fmt: skip

    def read(self, root: Root = None) -> Images:
        """See `DataSource.read`."""
        pixels, labels, test, source = read_cifar10(root)
        return Images(pixels, labels, test, source)


@register_dataset("cifar10-frozen")
class Cifar10Frozen(Cifar10):
    """CIFAR-10 on features that stand still: the same images, splits and protocols as `Cifar10`.

    Its tables train a head on the maps that a network pretrained on ImageNet has of the images at 224 pixels
    (the profile ``"frozen"``): the paper's data on a machine without a GPU.
    """

    label = "CIFAR-10 on ImageNet features"
    base = {"profile": "frozen", "image_size": 224, "batch_size": 128, "lr": 1e-3, "epochs": 40}
    widens = 2


@register_dataset("cifar10-fifth")
class Cifar10Fifth(Cifar10):
    """A fifth of CIFAR-10's images, the same for every seed: for machines with little time.

    ``indices`` of its splits count the fifth's images, in the order of `Cifar10`'s rows. Its tables stand on
    ImageNet features (the profile ``"frozen"``) of images resized to 128 pixels.
    """

    label = "CIFAR-10, a fifth"
    base = {"profile": "frozen", "image_size": 128, "batch_size": 128, "lr": 1e-3}
    settings_from = "fashion-mnist"
    protocols = (
        Protocol(
            "cifar10-fifth", 100, 500, False, None,
            "The paper's queries and training images (§4.1), drawn from a fifth of the images: the database "
            "is a ninth of the paper's.",
        ),
    )  # fmt: skip

    def read(self, root: Root = None) -> Images:
        """See `DataSource.read`; of each class a fifth, drawn once, is kept."""
        whole = super().read(root)
        order = seeded_order(len(whole.labels), 0, stream=_FIFTH)
        share = np.bincount(whole.labels) // 5  # of each class
        labels = whole.labels[order]
        rows = np.sort(order[rank_in_class(labels) < share[labels]])
        test = None if whole.test is None else whole.test[rows]
        return Images(whole.pixels[rows], whole.labels[rows], test, f"a fifth of {whole.source}")
