"""Images as files: read any of them, shrink all of them once, split them by lists or folders (Chapter 16).

The paper's larger sets come as a folder of JPEGs and three lists (`path l_1 … l_C` per line). Reading and
shrinking a JPEG takes longer than a GPU needs to train on it, so `shrunk` does it once and keeps the bytes in
one file, which is mapped into memory: later epochs copy bytes, and sets larger than the memory work too.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dhida_lib._files import read_card, sha256, write_card
from dhida_lib._validate import bad, instance, positive_int, sized
from dhida_lib.data.images import printable, read_image
from dhida_lib.data.preprocess import Preprocess

__all__ = [
    "IMAGE_SUFFIXES",
    "STORED_PER_CUT",
    "Shrunk",
    "cut_at",
    "left_out",
    "list_images",
    "read_image",
    "read_list",
    "shrunk",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
"""Endings of the files that count as images, in small letters."""

SIDE, CROP = 256, 224  # the field's: shorter side 256, then a square of 224
STORED_PER_CUT = SIDE / CROP
"""How much larger images are stored than the square that is cut from them."""

_CHECKED = 4 << 30  # bytes that are hashed in a few seconds
_BLOCK = 256  # images between two looks at the clock, and two writes
_NAMED = 10  # images left out that are named one by one


def cut_at(preprocess: Preprocess, side: int) -> Preprocess:
    """A preprocessing of images in files at another side: they are stored a little larger.

    Args:
        preprocess: the preprocessing.
        side: side in pixels of the square that is cut, and reaches the network.

    Returns:
        The changed preprocessing.

    Raises:
        ValueError: if ``preprocess`` is none, or ``side`` no positive integer.

    Source: §4.1; used in Chapter 16.
    """
    instance("preprocess", preprocess, Preprocess, "a Preprocess")
    positive_int("side", side)
    return replace(preprocess, side=side, crop=side, stored=round(side * STORED_PER_CUT))


class Shrunk(NamedTuple):
    """What `shrunk` gives.

    Attributes:
        pixels: the images that can be read (uint8, m×3×side×side), not to be written to.
        kept: which of the files they are: positions, ascending (int64, m).
        skipped: position of each other file → why it cannot be read, with its name.
    """

    pixels: Tensor
    kept: Tensor
    skipped: dict[int, str]


def left_out(store: Shrunk) -> str:
    """What a record must say of a set that is not whole.

    Args:
        store: what `shrunk` gave.

    Returns:
        Words to put behind the source; empty if nothing was left out.
    """
    return f", without {len(store.skipped):,} that cannot be read" if store.skipped else ""


def shrunk(
    files: Sequence[str | os.PathLike[str]],
    side: int = SIDE,
    cache: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    say: Callable[[str], object] | None = None,
) -> Shrunk:
    """All images as squares of one size, made once and kept in a file that is mapped into memory.

    A file that is no image that can be read is left out, and named each time. The size is said before the
    store is made. It is written beside its place and moved when whole, with a JSON file that holds its
    SHA-256, which is checked when it is opened (of a store over 4 GB only the size), and what was left out;
    it is made again when the images' names, sizes or times change.

    Args:
        files: the images.
        side: side in pixels.
        cache: folder of such stores; None is ``$DHIDA_CACHE``, or else ``~/.cache/dhida``.
        workers: threads that read; None: as many as cores.
        say: called with each line of progress; None prints it to standard error.

    Returns:
        The pixels, which of the files they are, and what was left out.

    Raises:
        FileNotFoundError: if an image is missing.
        ValueError: if no image can be read, the system fails while it reads one, the disk has too little
            room, or the store is damaged.
    """
    say = say or (lambda line: print(line, file=sys.stderr))
    paths = [Path(f) for f in sized("files", files, "a list of image files")]
    if not paths:
        raise bad("files", "none", "at least one image")
    positive_int("side", side)
    workers = (os.cpu_count() or 1) if workers is None else positive_int("workers", workers)
    usual = os.environ.get("DHIDA_CACHE") or Path.home() / ".cache" / "dhida"
    folder = Path(usual if cache is None else cache).expanduser()
    target = folder / f"{_key(paths, side)}.bytes"
    card = target.with_suffix(".json")
    if not card.is_file():
        need = len(paths) * 3 * side**2
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        say(f"{len(paths):,} images at {side} pixels take {_size(need)} in {target}")
        if need > free:
            raise ValueError(f"{folder} has only {_size(free)} free. Set DHIDA_CACHE to a folder with more.")
        digest, failed = _shrink(paths, side, target, workers, say)
        shape = [len(paths) - len(failed), 3, side, side]
        write_card(card, {"format": "dhida-images", "shape": shape, "sha256": digest, "skipped": failed})
    skipped = _skipped(target, card, len(paths), side)
    for reason in list(skipped.values())[:_NAMED]:
        say(f"left out: {reason}")
    if len(skipped) > _NAMED:
        say(f"left out: {len(skipped) - _NAMED:,} more, which {card} names")
    kept = torch.tensor([i for i in range(len(paths)) if i not in skipped])
    try:
        pixels = torch.from_file(str(target), shared=False, size=len(kept) * 3 * side**2, dtype=torch.uint8)
    except RuntimeError as error:  # of a name that is not UTF-8, for one
        text = f"a folder whose files torch can map into memory ({error})"
        raise bad("cache", str(folder), text) from error
    return Shrunk(pixels.view(len(kept), 3, side, side), kept, skipped)


def _skipped(target: Path, card: Path, count: int, side: int) -> dict[int, str]:
    """Which of ``count`` files a store lacks, after a look whether it is whole."""
    try:
        written = read_card(card)
        skipped = {int(at): str(reason) for at, reason in written.get("skipped", {}).items()}
        shape = [count - len(skipped), 3, side, side]
        size = math.prod(shape)
        whole = written.get("shape") == shape and target.is_file() and target.stat().st_size == size
        good = whole and (size > _CHECKED or sha256(target) == written["sha256"])
    except (ValueError, KeyError, AttributeError):
        good = False
    if not good:
        raise ValueError(f"{target} is damaged or incomplete. Remove it and {card.name}; it is made again.")
    return skipped


def _size(count: int) -> str:
    """Bytes in a unit that suits them."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"


def _key(paths: Sequence[Path], side: int) -> str:
    """A name for these files as they are now."""
    digest = hashlib.sha256(f"{side}".encode())
    for path in paths:
        try:
            state = path.stat()
        except (OSError, ValueError) as error:  # a NUL in a name is a ValueError
            raise FileNotFoundError(f"There is no image {printable(path)}.") from error
        digest.update(os.fsencode(f"\n{path.absolute()}\t{state.st_size}\t{state.st_mtime_ns}"))
    return digest.hexdigest()[:24]


def _shrink(
    paths: Sequence[Path], side: int, target: Path, workers: int, say: Callable[[str], object]
) -> tuple[str, dict[int, str]]:
    """Write all images to ``target``, whole or not at all; return the SHA-256, and what cannot be read."""

    def read(path: Path) -> NDArray[np.uint8] | str:
        try:
            return read_image(path, side)
        except ValueError as error:
            if _of_the_system(error.__cause__):  # may go another way tomorrow: a store must not remember it
                raise
            return str(error)

    digest = hashlib.sha256()
    skipped: dict[int, str] = {}
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as out, ThreadPoolExecutor(workers) as pool:
            for first in range(0, len(paths), _BLOCK):
                if first and first % (40 * _BLOCK) == 0:
                    say(f"{first:,} of {len(paths):,} images")
                for at, image in enumerate(pool.map(read, paths[first : first + _BLOCK]), start=first):
                    if isinstance(image, str):
                        skipped[at] = image
                        continue
                    content = image.tobytes()
                    digest.update(content)
                    out.write(content)
            out.flush()
            os.fsync(out.fileno())
        if len(skipped) == len(paths):
            raise ValueError(f"None of {len(paths):,} images can be read. The first: {skipped[0]}")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return digest.hexdigest(), skipped


def _of_the_system(error: BaseException | None) -> bool:
    """Did the system fail (rights, disk, memory), not the picture? Pillow's own OSErrors have no number."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files in a folder and below it, in the order of their names.

    Args:
        folder: where to look.

    Returns:
        The files; hidden ones are left out.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    found = (f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file())
    return sorted(f for f in found if not any(part.startswith(".") for part in f.relative_to(folder).parts))


def read_list(file: str | os.PathLike[str], classes: int) -> tuple[list[str], NDArray[np.int64]]:
    """Read one of the field's list files: a path and C zeros or ones per line.

    Args:
        file: the list.
        classes: C.

    Returns:
        Paths as they are written, and multi-hot labels (n×C).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not UTF-8 text, or for a line that is not a path and C labels of 0 or 1, at
            least one of them 1, or a path that stands twice; the message names file and line.

    Source: §4.1; used in Chapter 16.
    """
    positive_int("classes", classes)
    if not Path(file).is_file():
        raise FileNotFoundError(f"There is no list {file}.")
    paths: list[str] = []
    seen: set[str] = set()
    rows = []
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no list: byte {error.start:,} is not UTF-8 text.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path, *labels = line.split()
        where = f"{file}, line {number}"
        if len(labels) != classes:
            raise ValueError(f"{where}: {classes} labels must follow the path, but there are {len(labels)}.")
        if not set(labels) <= {"0", "1"} or "1" not in labels:
            raise ValueError(f"{where}: labels must be 0 or 1, and at least one of them 1.")
        if "\0" in path:
            raise ValueError(f"{where}: {printable(path)} is no file's name.")
        if path in seen:
            raise ValueError(f"{where}: {printable(path)} stands in the list twice.")
        seen.add(path)
        paths.append(path)
        rows.append([label == "1" for label in labels])
    if not paths:
        raise ValueError(f"{file} is empty.")
    return paths, np.array(rows, dtype=np.int64)
