"""CIFAR-10 from files on disk: the Python archive, or folders of images (§4.1, Chapter 16).

The paper's first data set: 60,000 colour photographs, 32×32 pixels, in 10 classes. Never downloaded here.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dhida_lib.data.paths import dataset_folder
from dhida_lib.data.protocols import Protocol, get_protocol
from dhida_lib.data.splits import RetrievalData, assemble

__all__ = ["CIFAR10_CLASSES", "IMAGENET_MEAN", "IMAGENET_STD", "load_cifar10", "read_cifar10"]

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
"""Names of the ten classes, by id."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Channel means and standard deviations that networks trained on ImageNet expect."""

_SIDE = 32
_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_JPEG = {".jpg", ".jpeg"}
_ADVICE = (
    "Get it with `torchvision.datasets.CIFAR10(root, download=True)` and pass that `root`, or pass a folder "
    "with train/<class>/*.png and test/<class>/*.png (or .jpg)."
)
_ALLOWED = {  # all that a pickled uint8 array needs, with the names of old and new NumPy
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays and plain values, and refuses to call anything else that a pickle file may name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of CIFAR-10")
        here = "numpy._core" if hasattr(np, "_core") else "numpy.core"
        for core in ("numpy._core", "numpy.core"):
            module = here + module[len(core) :] if module.startswith(f"{core}.") else module
        return super().find_class(module, name)


def read_cifar10(
    root: str | os.PathLike[str] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_], str]:
    """Read CIFAR-10 from disk, whichever of the two layouts is there.

    Args:
        root: a folder with ``cifar-10-batches-py`` (torchvision's layout) or with ``train`` and ``test``,
            each with one folder of images per class; or one of these folders' parents called ``cifar10``.
            None looks in ``$DHIDA_ROOT/cifar10``.

    Returns:
        Images (n×3×32×32) and labels (n), training part first; a mask (n), True for the test part; and the
        form in which the images came.

    Raises:
        FileNotFoundError: if neither layout is there; the message says how to get the set.
        ValueError: if a file is damaged, or a class folder is missing, empty or unknown.

    Source: §4.1; used in Chapter 16.
    """
    archive = _BATCHES[0]
    markers = [f"{below}{archive}" for below in ("", "cifar-10-batches-py/", "cifar10/cifar-10-batches-py/")]
    folder = dataset_folder("cifar10", root, [*markers, "train", "cifar10/train"], _ADVICE)
    if (folder / archive).exists():
        parts = [_read_batch(folder / name) for name in _BATCHES]
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


def _read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not path.is_file():
        raise FileNotFoundError(f"cifar10: the file {path} is missing. {_ADVICE}")
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="bytes").load()
        batch = {(k.decode() if isinstance(k, bytes) else k): v for k, v in batch.items()}
        pixels, labels = batch["data"], np.asarray(batch["labels"], dtype=np.int64)
        good = pixels.dtype == np.uint8 and pixels.shape == (len(labels), 3 * _SIDE * _SIDE)
        if not good or (len(labels) and not 0 <= labels.min() <= labels.max() <= 9):
            raise ValueError(f"it holds shape {pixels.shape} of {pixels.dtype} and {len(labels)} labels")
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"cifar10: {path} is damaged: {error}. {_ADVICE}") from error
    return pixels.reshape(-1, 3, _SIDE, _SIDE), labels


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
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"cifar10: {file} is damaged: {error}") from error
    if pixels.shape != (_SIDE, _SIDE, 3):
        raise ValueError(
            f"cifar10: {file} has {pixels.shape[1]}×{pixels.shape[0]} pixels, 32×32 are expected."
        )
    return pixels


def load_cifar10(
    root: str | os.PathLike[str] | None = None,
    seed: int = 0,
    protocol: str | Protocol | None = None,
    image_size: int | None = None,
) -> RetrievalData:
    """Load CIFAR-10 from disk; see `dhida_lib.load_dataset` for the arguments and errors.

    Returns:
        The three splits; ``indices`` are rows of the training part followed by the test part.

    Source: §4.1; used in Chapter 16.
    """
    found = get_protocol("cifar10", protocol)
    pixels, labels, test, source = read_cifar10(root)
    return assemble(
        "cifar10", pixels, labels, found, seed, CIFAR10_CLASSES,
        IMAGENET_MEAN, IMAGENET_STD, source, image_size, test,
    )  # fmt: skip
