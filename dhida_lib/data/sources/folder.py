"""Class folders of your own (Chapters 16 and 18)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dhida_lib._validate import bad
from dhida_lib.backbones.base import ImageForm
from dhida_lib.data.cifar import IMAGENET_MEAN, IMAGENET_STD
from dhida_lib.data.files import CROP, SIDE, cut_at, left_out, list_images, shrunk
from dhida_lib.data.preprocess import Preprocess
from dhida_lib.data.protocols import Protocol, split_rows
from dhida_lib.data.source import DataSource, Root, register_dataset
from dhida_lib.data.splits import RetrievalData, Split

__all__ = ["Folder"]


@register_dataset("folder")
class Folder(DataSource):
    """Class folders: the classes are the folders' names.

    Either ``root/<class>/…``, split by the seed, or ``root/train/<class>/…`` with ``root/val`` or
    ``root/test``: then these ask, and the training part trains and is searched. A file that is no image that
    can be read is named and left out, and the data's ``source`` says how many were. ``indices`` are rows of
    all images, in the order of class and name, also of those left out.
    """

    label = "class folders"
    preprocess = Preprocess(
        channels=3, side=CROP, stored=SIDE, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop=CROP
    )
    base = {"augment": "crop-flip"}
    to_pretrain = "all"
    has_folder = True
    protocols = (
        Protocol(
            "drawn", 10, 50, True, None,
            "Class folders, split by the seed: 10 queries and 50 training images of each class; the database "
            "is all but the queries.",
        ),
        Protocol(
            "own-split", 10, 50, True, None,
            "Class folders that come split: 10 images of each class of the test part ask, 50 of the training "
            "part train, and the whole training part is searched.",
            official_split=True,
        ),
        Protocol(
            "all", 10, None, True, None,
            "Class folders to pretrain on: 10 images of each class ask, all others train and are searched.",
        ),
    )  # fmt: skip

    def at_side(self, preprocess: Preprocess, side: int) -> Preprocess:
        """Images are stored a little larger than the square that is cut from them."""
        return cut_at(preprocess, side)

    def load(
        self,
        root: Root = None,
        seed: int = 0,
        protocol: str | Protocol | None = None,
        image_size: int | None = None,
        form: ImageForm | None = None,
    ) -> RetrievalData:
        """See `DataSource.load`; ``root`` is the folder of the class folders."""
        found = self.protocol(protocol)
        if root is None:
            raise bad("root", root, "the folder that holds one folder for each class")
        preprocess = self.sized(image_size, form)
        folder = Path(root).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}.")
        asks = next((folder / name for name in ("val", "test") if (folder / name).is_dir()), None)
        tops = [folder / "train", asks] if asks and (folder / "train").is_dir() else [folder]
        names = sorted({f.name for top in tops for f in top.iterdir() if f.is_dir() and f.name[0] != "."})
        if len(names) < 2:
            raise ValueError(f"{folder} holds {len(names)} class folders; at least two are needed.")
        files: list[Path] = []
        labels: list[int] = []
        test: list[bool] = []
        for top in tops:
            for label, name in enumerate(names):
                images = list_images(top / name) if (top / name).is_dir() else []
                if not images:
                    raise ValueError(f"{top / name} holds no image.")
                files += images
                labels += [label] * len(images)
                test += [top is asks] * len(images)
        if len(tops) == 2 and not found.official_split:
            found = self.protocol("own-split") if protocol is None else found
        ids, mask = np.array(labels), np.array(test)

        def deal(kept: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
            tests = mask[kept] if found.official_split else None
            return split_rows(ids[kept], found, seed, tuple(names), tests)

        deal(np.arange(len(files)))  # are there enough? Before the long part
        store = shrunk(files, preprocess.kept)
        kept = store.kept.numpy()
        splits = {}
        for part, rows in deal(kept).items():
            at = torch.from_numpy(rows)
            splits[part] = Split(store.pixels, ids[kept[rows]], store.kept[at], preprocess, at)
        source = f"image files{left_out(store)}"
        return RetrievalData(self.name, found, int(seed), tuple(names), source=source, **splits)
