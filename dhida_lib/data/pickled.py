"""Python's pickle format without Python's unpickler: nothing that a file names is called (Chapter 16).

CIFAR-10 comes as pickle files. Unpickling runs what a file asks for, and a list of allowed names does not
make that safe: NumPy's own `dtype` can be told to read outside its memory. So the few instructions that a
batch of images needs are carried out here, on plain values; all others are refused.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["byte_array", "read_pickled"]

_MOST = 1_000_000  # instructions; a batch of CIFAR-10 has about 40,000
_PLAIN = (
    "INT", "BININT", "BININT1", "BININT2", "LONG1", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE",
    "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
)  # fmt: skip

_ARRAYS = (
    "numpy.dtype",
    *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
)


@dataclass(eq=False, repr=False)
class _Asked:
    """Something that a file asks to be called: noted, not called."""

    name: str
    args: Any = None
    state: Any = None


def read_pickled(raw: bytes) -> Any:
    """Read a pickle file's content if it is made of dictionaries, lists, tuples, numbers, text and bytes.

    Args:
        raw: the file's bytes.

    Returns:
        The content. Keys are text, also where the file has bytes. For an array it holds a note of what was
        asked, which `byte_array` understands.

    Raises:
        ValueError: for anything else in the file. A damaged file may raise other errors too.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    instructions: Iterator[tuple[Any, Any, Any]] = pickletools.genops(raw)
    for number, (code, arg, _) in enumerate(instructions):
        if number == _MOST:
            raise ValueError(f"it has more than {_MOST:,} instructions")
        match code.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case plain if plain in _PLAIN:
                stack.append(arg)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[code.name])
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(code.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            case "APPENDS":
                items = since_mark()
                stack[-1].extend(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1][_text(key)] = value
            case "SETITEMS":
                items = since_mark()
                stack[-1].update(zip(map(_text, items[::2]), items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if arg is None else arg] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[arg])
            case "GLOBAL":
                stack.append(_Asked(arg.replace(" ", ".")))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_Asked(f"{_text(module)}.{_text(name)}"))
            case "REDUCE":
                args, asked = stack.pop(), stack.pop()
                stack.append(_noted(asked.name, args))
            case "BUILD":
                state = stack.pop()
                stack[-1].state = state
            case other:
                raise ValueError(f"it has the instruction {other}, which no batch of images needs")
    return stack.pop()


def _text(key: Any) -> str:
    """A key as text, also where the file has bytes."""
    text = key.decode("latin-1") if type(key) is bytes else key
    if type(text) is not str:
        raise ValueError(f"it has a {type(key).__name__} where text must stand")
    return text


def _noted(name: str, args: Any) -> Any:
    """What a call stands for: old formats write bytes as one; arrays are noted."""
    if name == "_codecs.encode":
        text, how = args
        if how != "latin1":
            raise ValueError("it has bytes written as text of another encoding than latin1")
        return _text(text).encode("latin-1")
    if name not in _ARRAYS:
        raise ValueError(f"it asks for {name}, which is no part of a batch of images")
    return _Asked(name, args)


def byte_array(noted: Any) -> NDArray[np.uint8]:
    """Make the array of bytes that `read_pickled` has noted.

    Args:
        noted: what stood in the content where an array was pickled.

    Returns:
        The array (uint8), in the shape that the file says.

    Raises:
        ValueError: if it is no array of bytes, or its shape does not fit.
    """
    match noted:
        case _Asked(args=(content, _Asked("numpy.dtype", (kind, *_)), tuple(shape), order), state=None):
            fortran = order != "C"
        case _Asked(state=(_, tuple(shape), _Asked("numpy.dtype", (kind, *_)), fortran, content)):
            pass
        case _:
            raise ValueError("its data are no array")
    content = content.encode("latin-1") if type(content) is str else content  # Python 2's bytes
    if kind not in ("u1", "|u1") or not isinstance(content, (bytes, bytearray)):
        raise ValueError("its data are no array of bytes")
    if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) != len(content):
        raise ValueError(f"its data have {len(content):,} bytes, which is not what their shape says")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")
