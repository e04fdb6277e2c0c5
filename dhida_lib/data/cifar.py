"""CIFAR-10 from files on disk: the Python archive, or folders of images (§4.1, Chapter 16).

The paper's first data set: 60,000 colour photographs, 32×32 pixels, in 10 classes. Never downloaded here.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dhida_lib.data.images import opened, printable
from dhida_lib.data.paths import dataset_folder
from dhida_lib.data.pickled import byte_array, read_pickled

__all__ = ["CIFAR10_CLASSES", "CIFAR10_MD5", "IMAGENET_MEAN", "IMAGENET_STD", "read_cifar10"]

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
"""Names of the ten classes, by id."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Channel means and standard deviations that networks trained on ImageNet expect."""

CIFAR10_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""The Python archive's files, the test part last, with their checksums (torchvision checks the same)."""

_SIDE = 32
_MOST_BYTES = 1 << 26  # of a batch; each of CIFAR-10's has 31 million
_JPEG = {".jpg", ".jpeg"}
_ADVICE = (
    "Get it with `torchvision.datasets.CIFAR10(root, download=True)` and pass that `root`, or pass a folder "
    "with train/<class>/*.png and test/<class>/*.png (or .jpg)."
)


def read_cifar10(
    root: str | os.PathLike[str] | None = None, checked: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_], str]:
    """Read CIFAR-10 from disk, whichever of the two layouts is there.

    Args:
        root: a folder with ``cifar-10-batches-py`` (torchvision's layout) or with ``train`` and ``test``,
            each with one folder of images per class; or one of these folders' parents called ``cifar10``.
            None looks in ``$DHIDA_ROOT/cifar10``.
        checked: compare the archive's files with `CIFAR10_MD5`; False reads batches of one's own making.

    Returns:
        Images (n×3×32×32) and labels (n), training part first; a mask (n), True for the test part; and the
        form in which the images came.

    Raises:
        FileNotFoundError: if neither layout is there; the message says how to get the set.
        ValueError: if a file is damaged or another one, or a class folder is missing, empty or unknown.

    Source: §4.1; used in Chapter 16.
    """
    archive = next(iter(CIFAR10_MD5))
    markers = [f"{below}{archive}" for below in ("", "cifar-10-batches-py/", "cifar10/cifar-10-batches-py/")]
    folder = dataset_folder("cifar10", root, [*markers, "train", "cifar10/train"], _ADVICE)
    if (folder / archive).exists():
        parts = [_read_batch(folder / name, md5 if checked else None) for name, md5 in CIFAR10_MD5.items()]
        split = len(parts) - 1  # the last file is the test part
        source = "the Python archive"
    else:
        parts = [_read_images(folder / part) for part in ("train", "test")]
        split = 1
        lossy = any(f.suffix.lower() in _JPEG for f in folder.glob("*/*/*"))
        source = "JPEG files (lossy)" if lossy else "PNG files"
    sizes = [sum(len(y) for _, y in part) for part in (parts[:split], parts[split:])]
    pixels, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return pixels, labels, np.repeat([False, True], sizes), source


def _read_batch(path: Path, md5: str | None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not path.is_file():
        raise FileNotFoundError(f"cifar10: the file {path} is missing. {_ADVICE}")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, more than {_MOST_BYTES:,}")
        raw = path.read_bytes()
        came = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        if md5 is not None and came != md5:
            raise ValueError(f"its MD5 is {came}, {md5} is expected")
        batch = read_pickled(raw)
        pixels, labels = byte_array(batch["data"]), batch["labels"]
        if type(labels) is not list:
            raise ValueError("its labels are no list")
        if pixels.shape != (len(labels), 3 * _SIDE * _SIDE):
            raise ValueError(f"it holds data of shape {pixels.shape} and {len(labels)} labels")
        if any(type(label) is not int or not 0 <= label <= 9 for label in labels):
            raise ValueError(f"not all of its {len(labels)} labels are integers from 0 to 9")
    except Exception as error:  # a damaged file can make the steps above raise anything
        reason = error if isinstance(error, ValueError) else repr(error)[:200]
        raise ValueError(f"cifar10: {path} is damaged or another file: {reason}. {_ADVICE}") from error
    return pixels.reshape(-1, 3, _SIDE, _SIDE), np.array(labels, dtype=np.int64)


def _read_images(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    names = {f.name for f in folder.iterdir() if f.is_dir()} if folder.is_dir() else set()
    if names != set(CIFAR10_CLASSES):
        odd = ", ".join(sorted(names ^ set(CIFAR10_CLASSES)))
        raise ValueError(
            f"cifar10: {folder} must hold one folder for each class; missing or unknown: {odd}. {_ADVICE}"
        )
    pixels, labels = [], []
    for label, name in enumerate(CIFAR10_CLASSES):
        files = sorted(f for f in (folder / name).iterdir() if f.suffix.lower() in _JPEG | {".png"})
        if not files:
            raise ValueError(f"cifar10: {folder / name} holds no .png or .jpg image. {_ADVICE}")
        pixels += [_read_image(file) for file in files]
        labels += [label] * len(files)
    stacked = np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2))  # n×3×32×32
    return stacked, np.array(labels, dtype=np.int64)


def _read_image(file: Path) -> NDArray[np.uint8]:
    with opened(file) as image:
        width, height = image.size
        if width == height == _SIDE:
            return np.asarray(image.convert("RGB"))
    raise ValueError(f"cifar10: {printable(file)} has {width}×{height} pixels, 32×32 are expected.")
