"""All of Fashion-MNIST, from its four files (Chapter 2)."""

from __future__ import annotations

from dhida_lib.data.fashion import FASHION, FASHION_CLASSES, read_fashion_mnist
from dhida_lib.data.protocols import Protocol
from dhida_lib.data.source import DataSource, Root, register_dataset
from dhida_lib.data.splits import Images

__all__ = ["FashionMnist"]


@register_dataset("fashion-mnist")
class FashionMnist(DataSource):
    """The whole set. ``indices`` of its splits are rows of the training part followed by the test part."""

    label = "Fashion-MNIST"
    classes = FASHION_CLASSES
    preprocess = FASHION
    base = {"profile": "fast", "epochs": 8}
    protocols = (
        Protocol(
            "paper", 100, 500, False, None,
            "The paper's CIFAR-10 sizes (§4.1) on Fashion-MNIST: the database is the rest, read literally, "
            "without the training images.",
        ),
        Protocol(
            "paper-with-train", 100, 500, True, None,
            "The paper's CIFAR-10 sizes (§4.1) on Fashion-MNIST: the database is all but the queries, so it "
            "holds the training images.",
        ),
        Protocol(
            "unseen", 100, 500, False, None,
            "Not the paper's, but after Sablayrolles et al. (arXiv 1609.06753): three of the ten classes, "
            "drawn by the seed, never occur in training; only they ask and are searched.",
            unseen=3,
        ),
    )  # fmt: skip

    def read(self, root: Root = None) -> Images:
        """See `DataSource.read`."""
        images, labels, test = read_fashion_mnist(root)
        return Images(images[:, None], labels, test, "idx files")
