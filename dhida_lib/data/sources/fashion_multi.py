"""A multi-label set: one to four garments on one canvas (Chapter 2).

NUS-WIDE has several labels per image and cannot ship. So that code for several labels runs on real pictures
all the same, this set puts images of fashion-mini side by side. It is made when it is loaded, from the seed
alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dhida_lib._validate import bad, instance, positive_int
from dhida_lib.backbones.base import ImageForm
from dhida_lib.data.fashion import FASHION, FASHION_CLASSES, read_fashion_mini
from dhida_lib.data.protocols import Protocol, class_ids, rank_in_class, seeded_bits, seeded_order, split_rows
from dhida_lib.data.source import DataSource, Root, register_dataset
from dhida_lib.data.splits import RetrievalData, Split

__all__ = ["FashionMulti", "draw_canvases"]

_CELLS = 4  # a canvas is 2×2 cells


def draw_canvases(
    images: NDArray[np.uint8], labels: NDArray[np.integer], n: int, seed: int, stream: int, classes: int = 10
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Draw canvases, each with one to four garments of different classes in random cells.

    Args:
        images: the garments to draw from (m×h×w).
        labels: their class ids (m); each class must occur.
        n: number of canvases.
        seed: what everything random is made from.
        stream: another number gives other canvases from the same seed.
        classes: number of classes c ≥ 4.

    Returns:
        Canvases (n×2h×2w), multi-hot labels (n×c), and the row of the garment in each cell (n×4: top left,
        top right, bottom left, bottom right; −1 where the cell is empty).

    Raises:
        ValueError: if a number is wrong, a class does not occur, or ``images`` are none.
    """
    labels = class_ids(labels)
    need = "garments as an array m×h×w of uint8"
    if instance("images", images, np.ndarray, need).ndim != 3 or images.dtype != np.uint8:
        raise bad("images", f"shape {images.shape} of {images.dtype}", need)
    positive_int("n", n)
    if positive_int("classes", classes) < _CELLS:
        raise bad("classes", classes, f"at least {_CELLS}")
    if not np.array_equal(np.unique(labels), np.arange(classes)) or len(labels) != len(images):
        need = f"a class of {classes} for each image, each at least once"
        raise bad("labels", f"{len(labels)} of them", need)
    bits = seeded_bits((n, 1 + classes + 2 * _CELLS), seed, stream)  # all that is random, one row per canvas
    count = (bits[:, 0] % _CELLS).astype(np.int64) + 1  # n: garments on the canvas, 1 … 4
    kinds = bits[:, 1 : 1 + classes].argsort(axis=1)[:, :_CELLS]  # n×4: different classes
    cells = bits[:, 1 + classes : 1 + classes + _CELLS].argsort(axis=1)  # n×4: different cells
    copies = np.bincount(labels, minlength=classes)  # c: images of each class
    table = np.full((classes, copies.max()), -1, dtype=np.int64)  # class, which one → row in `images`
    table[labels, rank_in_class(labels)] = np.arange(len(labels))
    which = (bits[:, -_CELLS:] % copies[kinds].astype(np.uint64)).astype(np.int64)  # n×4
    used = np.arange(_CELLS) < count[:, None]  # n×4

    rows = np.full((n, _CELLS), -1, dtype=np.int64)
    np.put_along_axis(rows, cells, np.where(used, table[kinds, which], -1), axis=1)
    multi_hot = np.zeros((n, classes), dtype=np.int64)
    np.put_along_axis(multi_hot, kinds, used.astype(np.int64), axis=1)

    h, w = images.shape[1:]
    with_black = np.concatenate([images, np.zeros((1, h, w), dtype=images.dtype)])  # row −1 is an empty cell
    tiles = with_black[rows].reshape(n, 2, 2, h, w)
    return tiles.transpose(0, 1, 3, 2, 4).reshape(n, 2 * h, 2 * w), multi_hot, rows


@register_dataset("fashion-multi")
class FashionMulti(DataSource):
    """Canvases of the shipped set.

    fashion-mini is split first. Query canvases are then drawn from its query images only, training canvases
    from its training images and database canvases from the rest, as many canvases as the part has images, so
    no photograph is on both sides. A protocol whose database holds the training images adds the training
    canvases to it. ``indices`` (n×4) are the rows of fashion-mini in the four cells, −1 for an empty cell.
    """

    label = "Fashion-MNIST, several labels"
    classes = FASHION_CLASSES
    preprocess = replace(FASHION, side=56, stored=56)
    base = {"profile": "fast", "epochs": 6}
    settings_from = "fashion-mnist"
    protocols = (
        Protocol(
            "mini", 100, 200, False, None,
            "Stands in for the paper's NUS-WIDE (several labels, §4.1); sizes as fashion-mini's, counted in "
            "canvases. The database does not hold the training canvases.",
        ),
        Protocol(
            "mini-with-train", 100, 200, True, None,
            "Stands in for the paper's NUS-WIDE (several labels, §4.1); sizes as fashion-mini's, counted in "
            "canvases. As there, the database holds the training canvases.",
        ),
    )  # fmt: skip

    def load(
        self,
        root: Root = None,
        seed: int = 0,
        protocol: str | Protocol | None = None,
        image_size: int | None = None,
        form: ImageForm | None = None,
    ) -> RetrievalData:
        """See `DataSource.load`."""
        found, preprocess = self.protocol(protocol), self.sized(image_size, form)
        if found.unseen:
            raise bad(
                "protocol", found.name, "one in which training sees all classes: a canvas shows several"
            )
        arrays = read_fashion_mini(root)
        images, labels = arrays["images"], arrays["labels"]
        parts = split_rows(labels, replace(found, database_includes_train=False), seed, FASHION_CLASSES)
        drawn: dict[str, tuple[NDArray[Any], ...]] = {}
        for stream, (part, rows) in enumerate(parts.items(), start=1):
            canvas, multi_hot, cells = draw_canvases(images[rows], labels[rows], len(rows), seed, stream)
            drawn[part] = canvas, multi_hot, np.where(cells < 0, -1, rows[cells])
        if found.database_includes_train:
            both = [np.concatenate(pair) for pair in zip(drawn["database"], drawn["train"], strict=True)]
            mixed = seeded_order(len(both[0]), seed)  # training canvases do not stand at the end
            drawn["database"] = tuple(array[mixed] for array in both)
        splits = {
            part: Split(torch.from_numpy(x[:, None]), y, cells, preprocess)
            for part, (x, y, cells) in drawn.items()
        }
        source = "canvases of fashion-mini's images"
        return RetrievalData(self.name, found, int(seed), self.classes, source=source, **splits)
