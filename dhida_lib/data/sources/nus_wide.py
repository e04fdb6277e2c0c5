"""NUS-WIDE-21 by the field's lists (§4.1; Chapter 16)."""

from __future__ import annotations

from dhida_lib.data.protocols import Protocol
from dhida_lib.data.source import register_dataset
from dhida_lib.data.sources.lists import ListSource

__all__ = ["NUS_WIDE_CLASSES", "NusWide"]

NUS_WIDE_CLASSES = (
    "animal", "beach", "buildings", "clouds", "flowers", "grass", "lake", "mountain", "ocean", "person",
    "plants", "reflection", "road", "rocks", "sky", "snow", "sunset", "tree", "vehicle", "water", "window",
)  # fmt: skip
"""The 21 most frequent concepts of NUS-WIDE, in alphabetical order. The lists do not name their columns."""


@register_dataset("nus-wide-21")
class NusWide(ListSource):
    """NUS-WIDE-21, several labels an image; see `ListSource`."""

    label = "NUS-WIDE"
    classes = NUS_WIDE_CLASSES
    sizes = {"train": 10_500, "test": 2_100, "database": 193_734}
    images = "the NUS-WIDE page of the National University of Singapore"
    protocols = (
        Protocol(
            "lists", 100, 500, True, 5000,
            "The field's lists, in the paper's sizes (§4.1): 2,100 queries, 10,500 training images, 193,734 "
            "in the database, which holds the training images.",
            official_split=True,
        ),
        Protocol(
            "any-size", 100, 500, True, 5000,
            "Lists of your own in the field's form. Not the paper's split.",
        ),
    )  # fmt: skip
