"""The small set that ships with the book: 7,000 images of Fashion-MNIST (Chapter 2)."""

from __future__ import annotations

from dhida_lib.data.fashion import FASHION, FASHION_CLASSES, read_fashion_mini
from dhida_lib.data.protocols import Protocol
from dhida_lib.data.source import DataSource, Root, register_dataset
from dhida_lib.data.splits import Images

__all__ = ["FashionMini"]


@register_dataset("fashion-mini")
class FashionMini(DataSource):
    """The shipped set. ``indices`` of its splits are rows of the shipped file."""

    label = "Fashion-MNIST, small"
    classes = FASHION_CLASSES
    preprocess = FASHION
    base = {"profile": "fast"}
    settings_from = "fashion-mnist"
    protocols = (
        Protocol(
            "mini", 100, 200, False, None,
            "The paper's CIFAR-10 split (§4.1) in small: the database is the rest, read literally, without "
            "the training images.",
        ),
        Protocol(
            "mini-with-train", 100, 200, True, None,
            "The paper's CIFAR-10 split (§4.1) in small: the database is all but the queries, so it holds "
            "the training images.",
        ),
        Protocol(
            "unseen", 100, 200, False, None,
            "Not the paper's, but after Sablayrolles et al. (arXiv 1609.06753): three of the ten classes, "
            "drawn by the seed, never occur in training; only they ask and are searched.",
            unseen=3,
        ),
    )  # fmt: skip

    def read(self, root: Root = None) -> Images:
        """See `DataSource.read`."""
        arrays = read_fashion_mini(root)
        return Images(arrays["images"][:, None], arrays["labels"], source="7,000 images of Fashion-MNIST")
