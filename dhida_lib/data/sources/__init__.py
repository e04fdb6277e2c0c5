"""The data sets that the library knows, a file each; importing them makes them known."""

from dhida_lib.data.sources import (
    cifar10,
    fashion_mini,
    fashion_mnist,
    fashion_multi,
    folder,
    imagenet100,
    nus_wide,
)

__all__ = ["cifar10", "fashion_mini", "fashion_mnist", "fashion_multi", "folder", "imagenet100", "nus_wide"]
