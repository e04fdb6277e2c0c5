"""ImageNet-100 by HashNet's lists (§4.1; Chapter 16)."""

from __future__ import annotations

from dhida_lib.data.protocols import Protocol
from dhida_lib.data.source import register_dataset
from dhida_lib.data.sources.lists import ListSource

__all__ = ["ImageNet100"]


@register_dataset("imagenet100")
class ImageNet100(ListSource):
    """ImageNet-100, one label an image; see `ListSource`. Class folders are read as ``"folder"``."""

    label = "ImageNet-100"
    classes = tuple(f"class {i}" for i in range(100))  # the lists do not name their columns
    sizes = {"train": 13_000, "test": 5_000, "database": 128_503}
    single = True
    images = "image-net.org, after accepting its terms"
    protocols = (
        Protocol(
            "lists", 50, 130, True, 1000,
            "HashNet's lists, in the paper's sizes (§4.1): 5,000 queries, 13,000 training images, 128,503 in "
            "the database, which holds the training images.",
            official_split=True,
        ),
        Protocol(
            "any-size", 50, 130, True, 1000,
            "Lists of your own in the field's form. Not the paper's split.",
        ),
    )  # fmt: skip
