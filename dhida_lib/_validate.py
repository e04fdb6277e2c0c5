"""One way to say that an argument is wrong: its name, what came, what is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

__all__ = [
    "about_dict",
    "bad",
    "choice",
    "computable",
    "file_path",
    "first_weight",
    "instance",
    "known_device",
    "number",
    "positive",
    "positive_int",
    "same_type",
    "seed_int",
    "sized",
    "suggestion",
    "tensor",
    "trusted",
    "trusting",
    "whole",
]

T = TypeVar("T")

# Sizes and counts end here: what comes below (FAISS, a C library) often counts in 32 bits.
_LARGEST = 2**31 - 1
_FINITE = sys.float_info.max
_SHOWN = 300  # characters of a value in a message
# The types that torch computes with everywhere; it stores others (8-bit floats, large unsigned) and no more.
_NUMBERS = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
_NUMBERS |= {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128}
_WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}


_TRUSTING: ContextVar[bool] = ContextVar("_TRUSTING", default=False)


@contextmanager
def trusting() -> Iterator[None]:
    """Inside, checks of labels and places look at shapes and types alone. To read values would make a GPU
    wait; whoever opens this block has checked them on the host.
    """
    before = _TRUSTING.set(True)
    try:
        yield
    finally:
        _TRUSTING.reset(before)


def trusted() -> bool:
    """Are values checked already (`trusting`)?"""
    return _TRUSTING.get()


def bad(name: str, got: Any, need: str) -> ValueError:
    """Build the error for a wrong argument; the caller raises it.

    Args:
        name: the argument's name as the caller wrote it.
        got: the value (or a short description of it) that came.
        need: what would have been right, in words.
    """
    return ValueError(f"`{name}` must be {need}, but got {_shown(got)}.")


def _shown(got: Any) -> str:
    """A value as one short line; a table, or a number of a thousand digits, has a long ``repr`` or none."""
    try:
        text = " ".join(repr(got).split())
    except Exception:  # whatever came may not even know how to say what it is
        text = type(got).__name__
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def positive_int(name: str, value: Any) -> int:
    """Return ``value`` if it is an integer from 1 to 2³¹ − 1, else raise ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise bad(name, value, "a positive integer")
    return _not_huge(name, value, _LARGEST)


def whole(name: str, value: Any) -> int:
    """Return ``value`` if it is an integer from 0 to 2³¹ − 1, else raise ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise bad(name, value, "an integer ≥ 0")
    return _not_huge(name, value, _LARGEST)


def seed_int(name: str, value: Any) -> int:
    """Return ``value`` if it is an integer from 0 to 2³² − 1, NumPy's limit, else raise ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise bad(name, value, "an integer ≥ 0")
    return _not_huge(name, value, 2**32 - 1)


def _not_huge(name: str, value: int, largest: int) -> int:
    if value > largest:
        raise bad(name, value, f"an integer of at most {largest}")
    return value


def number(name: str, value: Any) -> float:
    """Return ``value`` as a float if it is a finite number, else raise ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _FINITE:
        raise bad(name, value, "a finite number")
    return float(value)


def positive(name: str, value: Any, *, zero: bool = False) -> float:
    """Return ``value`` as a float if it is finite and > 0 (≥ 0 with ``zero``), else raise ``ValueError``."""
    need = "a number ≥ 0" if zero else "a number > 0"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad(name, value, need)
    if not (value >= 0 if zero else value > 0):
        raise bad(name, value, need)
    return number(name, value)


def computable(x: Tensor) -> bool:
    """Is this a dense tensor of a type that torch computes with? On "meta" it may have no values."""
    return x.layout == torch.strided and not x.is_nested and x.dtype in _NUMBERS


def same_type(x: Tensor, weight: Tensor) -> bool:
    """Can a layer with this weight read x? Autocast brings types together; where it is on, torch decides."""
    if x.device != weight.device:
        return False
    try:
        cast = torch.is_autocast_enabled(x.device.type)
    except (TypeError, RuntimeError):  # before torch 2.4 it cannot be asked so, and on "meta" never
        cast = True
    return cast or x.dtype == weight.dtype


def first_weight(model: Any) -> Tensor:
    """Return the first weight of a network; what has none is a ``ValueError``."""
    weight = next(instance("model", model, nn.Module, "a network, an nn.Module").parameters(), None)
    if weight is None:
        raise bad("model", type(model).__name__, "a network with weights")
    return weight


def tensor(name: str, value: Any, need: str = "a tensor or an array of numbers") -> Tensor:
    """Return ``value`` as a dense tensor of a type that torch computes with, else raise ``ValueError``.

    A tensor keeps its gradient and its strides; an array or a list is copied, because torch dislikes
    read-only and flipped ones. Unsigned integers of 16 bits and more become signed.
    """
    try:
        x = value if isinstance(value, Tensor) else torch.as_tensor(np.array(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise bad(name, type(value).__name__, need) from error
    x = x.to(_WIDER.get(x.dtype, x.dtype))
    if not computable(x) or x.is_meta:
        got = f"{x.dtype}, {x.layout}, on {x.device}"
        raise bad(name, got, f"{need}: dense, with its values, of a type that torch computes with")
    return x


def instance(name: str, value: Any, kind: type[T] | tuple[type, ...], need: str) -> T:
    """Return ``value`` if it is of the class ``kind``, else raise ``ValueError``."""
    if not isinstance(value, kind):
        raise bad(name, type(value).__name__, need)
    return value  # type: ignore[return-value]


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``options``, else raise a ``ValueError`` that lists them."""
    options = list(options)
    if not isinstance(value, str) or value not in options:
        need = "one of " + ", ".join(repr(o) for o in options)
        raise bad(name, value, need + suggestion(value, options))
    return value


def suggestion(value: Any, options: Iterable[str]) -> str:
    """What was probably meant, as the end of an error message; empty if nothing is near."""
    near = get_close_matches(value.lower(), list(options), n=1) if isinstance(value, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def known_device(name: str, value: Any) -> torch.device:
    """Return the device that ``value`` names, whether it is here or not, else raise ``ValueError``."""
    need = "a device that torch finds, such as 'cpu' or 'cuda:1'"
    try:
        found = torch.device(instance(name, value, (str, torch.device), need))
    except RuntimeError as error:
        raise bad(name, value, need) from error
    if found.type == "meta":  # it computes nothing
        raise bad(name, value, need)
    return found


def file_path(name: str, value: Any) -> Path:
    """Return ``value`` as the path of a file, there or not; one without a name is a ``ValueError``."""
    path = Path(instance(name, value, (str, os.PathLike), "a path that names a file"))
    if not path.name:
        raise bad(name, str(value), "a path that names a file")
    return path


def about_dict(about: Any) -> dict[str, Any]:
    """Return what else is said of a file, an empty dictionary for None, else raise ``ValueError``."""
    need = "a dictionary with texts as keys, or None"
    given = {} if about is None else instance("about", about, dict, need)
    for key in given:
        instance("about", key, str, need)
    return given


def sized(name: str, value: Any, need: str, length: int | None = None) -> Any:
    """Return ``value`` if it is a sequence (of ``length`` items), not a text, else raise ``ValueError``."""
    try:
        if isinstance(value, (str, bytes, Mapping, Set)):
            raise TypeError
        got = len(value)
    except TypeError:
        raise bad(name, value, need) from None
    if length is not None and got != length:
        raise bad(name, f"{got} of them", need)
    return value
