"""Fashion-MNIST: the small set that ships with the book, and the whole of it from files on disk (Chapter 2).

Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747) holds 70,000 grey photographs of clothing, 28×28
pixels, in 10 classes. `data/fashion-mini/` ships 7,000 of them; its README says how they were chosen.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dhida_lib.data.paths import data_path, dataset_folder
from dhida_lib.data.preprocess import Preprocess

__all__ = [
    "FASHION",
    "FASHION_CLASSES",
    "FASHION_MEAN",
    "FASHION_STD",
    "content_sha256",
    "read_fashion_mini",
    "read_fashion_mnist",
    "read_idx",
]

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
"""Names of the ten classes, by id."""

FASHION_MEAN, FASHION_STD = (0.286,), (0.353,)
"""Mean and standard deviation of all pixels, where white is 1; fixed, so every split sees the same scale."""

FASHION = Preprocess(channels=1, side=28, mean=FASHION_MEAN, std=FASHION_STD)
"""What happens to an image of Fashion-MNIST."""

_MINI_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {  # name → type, shape of one image's part
    "images": ("uint8", (28, 28)),
    "labels": ("uint8", ()),
    "source_index": ("int32", ()),
}
_MOST_MINI = 1 << 24  # bytes of the file, and of each array in it: three times what the set has
_MOST_IDX = 1 << 28  # bytes of an idx file: five times what Fashion-MNIST's largest has
_IDX_FILES = {  # part → images, labels
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_MINI_ADVICE = (
    "Get it back with `git checkout -- data/fashion-mini` in the repository, or reinstall dhida-lib "
    "(`pip install --force-reinstall --no-deps .`)."
)
_FULL_ADVICE = (
    "Get it with torchvision (`torchvision.datasets.FashionMNIST(root, download=True)`), or on Debian and "
    "Ubuntu with `apt-get install dataset-fashion-mnist`, and pass the folder as `root`."
)


def content_sha256(arrays: dict[str, NDArray[Any]]) -> str:
    """Hash what arrays hold, whatever file they came from.

    Args:
        arrays: arrays by name.

    Returns:
        SHA-256 over each array in the order of the names: name, type, shape, then its numbers row by row, low
        byte first.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def read_fashion_mini(root: str | os.PathLike[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read the shipped file and check it against the SHA-256 in its manifest.

    Args:
        root: the folder that holds ``fashion-mini.npz`` and ``manifest.json``; None is the shipped one.

    Returns:
        ``images`` (uint8, 7000×28×28), ``labels`` (uint8, 7000) and ``source_index`` (int32, 7000: the row in
        Fashion-MNIST's training part followed by its test part).

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged. Both say how to get it back.
    """
    folder = data_path("fashion-mini") if root is None else Path(root).expanduser()
    file = folder / "fashion-mini.npz"
    for path in (file, folder / "manifest.json"):
        if not path.is_file():
            raise FileNotFoundError(f"fashion-mini: the file {path} is missing. {_MINI_ADVICE}")
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        size, content = int(manifest["bytes"]), str(manifest["content_sha256"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"fashion-mini: {folder / 'manifest.json'} is damaged ({error!r}). {_MINI_ADVICE}"
        ) from error
    try:
        arrays = _read_arrays(file)
    except Exception as error:  # a damaged zip file can raise anything
        raise ValueError(
            f"fashion-mini: {file} is damaged: it cannot be read ({error}); it has {file.stat().st_size:,} "
            f"bytes, {size:,} are expected. {_MINI_ADVICE}"
        ) from error
    came = content_sha256(arrays)
    if came != content:
        raise ValueError(
            f"fashion-mini: {file} is damaged or another file: the SHA-256 of its content is {came[:12]}…, "
            f"{content[:12]}… is expected. {_MINI_ADVICE}"
        )
    return arrays


def _read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the shipped file; their heads are looked at before they are unpacked."""
    if file.stat().st_size > _MOST_MINI:
        raise ValueError(f"more than {_MOST_MINI:,} bytes")
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        if sorted(archive.namelist()) != [f"{name}.npy" for name in sorted(_MINI_ARRAYS)]:
            raise ValueError(f"it must hold {', '.join(_MINI_ARRAYS)} and nothing else")
        for name, (kind, each) in _MINI_ARRAYS.items():
            with archive.open(f"{name}.npy") as member:
                if npy.read_magic(member) != (1, 0):
                    raise ValueError(f"{name} has another version of NumPy's format than 1.0")
                shape, _, dtype = npy.read_array_header_1_0(member)
            if (
                dtype != kind
                or shape[1:] != each
                or not 0 <= math.prod(shape) <= _MOST_MINI // dtype.itemsize
            ):
                raise ValueError(f"{name} has shape {shape} of {dtype}")
            with archive.open(f"{name}.npy") as member:
                arrays[name] = npy.read_array(member, allow_pickle=False)
    if len({len(array) for array in arrays.values()}) != 1:
        raise ValueError("its arrays are not of one length")
    return arrays


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read one file in the idx format of MNIST, compressed with gzip or not.

    Args:
        path: the file. Format: two zero bytes, 8 (unsigned bytes), the number of dimensions (1 to 4), each
            dimension in four bytes (high byte first), then the numbers.

    Returns:
        An uint8 array in the file's shape.

    Raises:
        ValueError: if the file is not of this format, is cut short or too long, or says that it holds more
            than 268 million numbers.
    """
    with Path(path).open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        file = gzip.GzipFile(fileobj=plain) if packed else plain
        try:
            head = file.read(4)
            dimensions = head[3] if len(head) == 4 else 0
            sizes = file.read(4 * dimensions)
            if head[:3] != b"\0\0\x08" or not 1 <= dimensions <= 4 or len(sizes) < 4 * dimensions:
                raise ValueError(
                    f"{path} is not an idx file of bytes: it starts with {head!r}. {_FULL_ADVICE}"
                )
            shape = tuple(np.frombuffer(sizes, ">u4").tolist())
            expected = math.prod(shape)
            if expected > _MOST_IDX:
                raise ValueError(f"{path} says it holds {expected:,} bytes, more than {_MOST_IDX:,}.")
            raw = file.read(expected + 1)  # one more shows that the file is too long
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}. {_FULL_ADVICE}") from error
    if len(raw) != expected:
        least = "at least " if len(raw) > expected else ""
        raise ValueError(
            f"{path} is damaged: {least}{len(raw):,} bytes after its head, {expected:,} are expected for "
            f"shape {shape}. {_FULL_ADVICE}"
        )
    return np.frombuffer(raw, np.uint8).reshape(shape)


def read_fashion_mnist(
    root: str | os.PathLike[str] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Read Fashion-MNIST from its four idx files.

    Args:
        root: the folder that holds them, compressed or not, or the root of torchvision's layout. None looks
            in ``$DHIDA_ROOT/fashion-mnist``, then where Debian's package puts them.

    Returns:
        Images (n×28×28) and labels (n), training part first, and a mask (n) that is True for the test part.

    Raises:
        FileNotFoundError: if there are no such files; the message says how to get them.
        ValueError: if a file is damaged, or images and labels do not fit together.
    """
    first = _IDX_FILES["train"][0]
    markers = [
        f"{below}{first}{end}"
        for below in ("", "raw/", "FashionMNIST/raw/", "FashionMNIST/")
        for end in ("", ".gz")
    ]
    system = ["/usr/share/datasets/fashion-mnist"]
    folder = dataset_folder("fashion-mnist", root, markers, _FULL_ADVICE, system)
    images, labels = [], []
    for names in _IDX_FILES.values():
        x, y = (read_idx(_plain_or_gz(folder, name)) for name in names)
        if x.ndim != 3 or x.shape[1:] != (28, 28) or y.shape != (len(x),) or (len(y) and y.max() > 9):
            raise ValueError(
                f"{folder / names[0]} has shape {x.shape} and its labels {y.shape}, but n×28×28 images and "
                f"n labels from 0 to 9 are expected. {_FULL_ADVICE}"
            )
        images.append(x)
        labels.append(y)
    test = np.repeat([False, True], [len(labels[0]), len(labels[1])])
    return np.concatenate(images), np.concatenate(labels), test


def _plain_or_gz(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"fashion-mnist: {folder} has neither {name} nor {name}.gz. {_FULL_ADVICE}")
