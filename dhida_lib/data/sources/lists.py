"""Data sets whose images and split are named by lists (`path l_1 … l_C` per line): NUS-WIDE, ImageNet-100."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from dhida_lib._validate import bad, positive_int, seed_int
from dhida_lib.backbones.base import ImageForm
from dhida_lib.data.cifar import IMAGENET_MEAN, IMAGENET_STD
from dhida_lib.data.files import CROP, SIDE, cut_at, left_out, read_list, shrunk
from dhida_lib.data.images import printable
from dhida_lib.data.paths import dataset_folder
from dhida_lib.data.preprocess import Preprocess
from dhida_lib.data.protocols import Protocol
from dhida_lib.data.source import DataSource, Root
from dhida_lib.data.splits import RetrievalData, Split

__all__ = ["ListSource"]


class ListSource(DataSource):
    """Lists in a folder, ``train.txt``, ``test.txt`` (the queries) and ``database.txt``, and the images.

    The lists are the split, so the seed changes nothing and must be 0. ``indices`` are rows of all images.

    Attributes:
        sizes: list → how many images the whole one names.
        single: has each image one label?
        images: where to get the images, in words.
    """

    preprocess = Preprocess(
        channels=3, side=CROP, stored=SIDE, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop=CROP
    )
    fixed_split = True
    base = {"augment": "crop-flip"}
    sizes: ClassVar[dict[str, int]] = {}
    single: bool = False
    images: str = ""

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
        """See `DataSource.load`."""
        found = self.protocol(protocol)
        if seed_int("seed", seed) != 0:
            raise bad("seed", seed, "0: the lists are the split")
        preprocess = self.sized(None, form)
        if image_size is not None and positive_int("image_size", image_size) != preprocess.side:
            raise bad("image_size", image_size, f"None: images are cut to {preprocess.side} pixels")
        names = ", ".join(self.sizes)
        advice = f"Images: {self.images}; lists: those that came with HashNet, under the names {names}."
        folder = dataset_folder(self.name, root, ["test.txt", f"{self.name}/test.txt"], advice)
        parts = {part: read_list(folder / f"{part}.txt", len(self.classes)) for part in self.sizes}
        if found.official_split:
            for part, size in self.sizes.items():
                if (got := len(parts[part][0])) != size:
                    raise ValueError(
                        f"{folder / part}.txt lists {got:,} images, {size:,} are expected. Use the whole "
                        "list, or protocol 'any-size' for one of your own."
                    )
        for part, (paths, multi_hot) in parts.items():
            if self.single and (many := np.flatnonzero(multi_hot.sum(axis=1) != 1)).size:
                raise ValueError(f"{folder / part}.txt: {printable(paths[many[0]])} must have one label.")
        asked = set(parts["test"][0])
        if both := asked & {path for part in ("train", "database") for path in parts[part][0]}:
            raise ValueError(f"{folder}: {printable(min(both))} is a query and stands in another list too.")
        order = list(dict.fromkeys(path for paths, _ in parts.values() for path in paths))
        store = shrunk([folder / path for path in order], preprocess.kept)
        if store.skipped and found.official_split:
            raise ValueError(
                f"{len(store.skipped):,} of the listed images cannot be read. Get them again, or use "
                f"protocol 'any-size', which leaves them out. The first: {next(iter(store.skipped.values()))}"
            )
        place = {path: i for i, path in enumerate(order)}
        splits = {}
        for part, (paths, multi_hot) in parts.items():
            at = torch.tensor([place[path] for path in paths])  # rows of all images
            there = torch.isin(at, store.kept)
            if not there.any():
                raise ValueError(f"{folder / part}.txt: none of its images can be read.")
            labels = multi_hot.argmax(axis=1) if self.single else multi_hot
            at, labels = at[there], labels[there.numpy()]
            rows = torch.searchsorted(store.kept, at)  # rows of the store
            splits[part] = Split(store.pixels, labels, at, preprocess, rows)
        source = f"list files{left_out(store)}"
        train, query, database = (splits[part] for part in ("train", "test", "database"))
        return RetrievalData(self.name, found, 0, self.classes, train, query, database, source)
