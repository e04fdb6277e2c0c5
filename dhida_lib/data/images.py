"""One image file as a square of bytes: any usual format, mode and turn, and never a crash (Chapters 16, 18).

Pictures come from strangers. The formats are a fixed list (Pillow alone would start Ghostscript for an EPS
called holiday.jpg), the header is looked at before anything is decoded, the memory is bounded, and whatever
fails is one error that names the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dhida_lib._validate import instance, positive_int

__all__ = ["IMAGE_FORMATS", "fit_square", "opened", "printable", "read_image"]

IMAGE_FORMATS = {"JPEG": 16, "PNG": 16, "BMP": 16, "GIF": 16, "TIFF": 16, "WEBP": 24}
"""Formats that are read → bytes of memory that a pixel takes at most until it is part of the square."""

_MOST = 3_000_000_000  # bytes of memory for one image; more is a mistake or an attack
_TILE = 1024  # side in pixels of what is brought to RGB at a time
_TURNS = {  # EXIF's orientation → what brings the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(file: str | os.PathLike[str], side: int) -> NDArray[np.uint8]:
    """Read an image file as a square in colour, see `fit_square`.

    JPEG, PNG, BMP, GIF, TIFF and WebP are read, whatever the file's name ends in; no other program is ever
    started.

    Args:
        file: the image.
        side: side of the square in pixels.

    Returns:
        Bytes (uint8, 3×side×side).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: as `opened` does; the message names the file.

    Source: §4.1; used in Chapters 16 and 18.
    """
    positive_int("side", side)
    with opened(file) as image:
        image.draft("RGB", (2 * side, 2 * side))  # JPEG: decode at a fraction of the size
        return fit_square(image, side)


@contextmanager
def opened(file: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Open an image file: its header is read and found fit, its pixels come when they are asked for.

    Args:
        file: the image.

    Returns:
        A context that gives the image. Whatever fails inside is an error of this file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no image, damaged, so large that reading it would take more than 3 GB of memory,
            or its name is not UTF-8 (no index or record could hold it); the message names the file.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"There is no image {printable(file)}.")
    try:
        os.fspath(file).encode()
        with Image.open(file, formats=list(IMAGE_FORMATS)) as image:
            _fits_memory(image)
            yield image
    except Exception as error:  # decoders raise anything when a file is damaged
        raise ValueError(f"{printable(file)} is no image that can be read: {_reason(error)}") from error


def printable(name: str | os.PathLike[str]) -> str:
    """A file's name for a message: what cannot be printed, or would move the cursor, is escaped.

    Args:
        name: the name, as the system gives it.

    Returns:
        Text that can be printed and written as UTF-8.
    """
    text = os.fsdecode(name)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _fits_memory(image: Image.Image) -> None:
    """Refuse an image by its header if reading it would take too much memory."""
    need = image.width * image.height * IMAGE_FORMATS.get(image.format or "", max(IMAGE_FORMATS.values()))
    if need > _MOST:
        raise ValueError(
            f"it has {image.width}×{image.height} pixels, which may take {need / 1e9:.1f} GB of memory, more "
            f"than {_MOST / 1e9:.1f}. Make it smaller first"
        )


def _reason(error: Exception) -> str:
    """Why an image was refused."""
    if isinstance(error, UnicodeEncodeError):
        return "its name is not UTF-8; rename it"
    if isinstance(error, UnidentifiedImageError):
        return f"it is none of {', '.join(IMAGE_FORMATS)}"
    return printable(str(error) or type(error).__name__)


def fit_square(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """A picture as a square in colour: the shorter side becomes ``side``, the middle is kept.

    Turned as its EXIF says; of an animation the first picture; CMYK, grey, palettes and 16 bits become RGB of
    8 bits; what is transparent lies on white.

    Args:
        image: the picture.
        side: side of the square in pixels.

    Returns:
        Bytes (uint8, 3×side×side).

    Raises:
        ValueError: if ``image`` is no picture of PIL's, or ``side`` no positive integer.

    Source: §4.1; used in Chapters 16 and 18.
    """
    instance("image", image, Image.Image, "a picture of PIL")
    positive_int("side", side)
    rgb = _rgb(_turned(image))
    return np.asarray(ImageOps.fit(rgb, (side, side), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def _turned(image: Image.Image) -> Image.Image:
    """Upright, as the EXIF says. `ImageOps.exif_transpose` fails over tags that do not matter here."""
    image.load()
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if type(orientation) is not int:
        raise ValueError("its EXIF says which way is up, but by no integer")
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    """Any of PIL's modes as RGB, tile by tile: what comes between takes 40 bytes a pixel."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    width, height = image.size
    tiles = [
        (left, top, min(left + _TILE, width), min(top + _TILE, height))
        for top in range(0, height, _TILE)
        for left in range(0, width, _TILE)
    ]
    white = 255.0
    if image.mode[0] in "IF":  # grey of 16 or 32 bits, or floating
        most = max(_grey(image.crop(tile)).max() for tile in tiles)
        tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)  # only "I;16" says its white
        fits = [top for top in tops if most <= top]
        white = 65535.0 if image.mode.startswith("I;16") or not fits else fits[0]
    rgb = Image.new("RGB", image.size)
    for tile in tiles:
        rgb.paste(_tile_as_rgb(image.crop(tile), white), tile)
    return rgb


def _grey(image: Image.Image) -> NDArray[np.float64]:
    return np.nan_to_num(np.asarray(image).astype(np.float64))


def _tile_as_rgb(image: Image.Image, white: float) -> Image.Image:
    if image.mode[0] in "IF":
        image = Image.fromarray((_grey(image).clip(0, white) * (255 / white)).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
