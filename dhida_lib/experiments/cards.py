"""GPUs as their data sheets describe them, and what a card really does (Chapter 12)."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dhida_lib._validate import instance, positive_int
from dhida_lib.training.devices import arithmetic

__all__ = ["CARDS", "card_of"]


class Sheet(NamedTuple):
    """A card's limits, by its maker. Tensor cores without sparsity.

    Attributes:
        capability: compute capability.
        memory: GB.
        bandwidth: of its memory, GB/s.
        tflops: number format → 10¹² floating point operations a second.
        source: the document.
    """

    capability: tuple[int, int]
    memory: float
    bandwidth: float
    tflops: dict[str, float]
    source: str


def _formats(float32: float, tf32: float | None, bfloat16: float | None, float16: float) -> dict[str, float]:
    given = {"float32": float32, "tf32": tf32, "bfloat16": bfloat16, "float16": float16}
    return {name: value for name, value in given.items() if value is not None}


CARDS: dict[str, Sheet] = {
    "T4": Sheet((7, 5), 16, 320, _formats(8.1, None, None, 65), "NVIDIA T4 Tensor Core GPU, data sheet"),
    "L4": Sheet((8, 9), 24, 300, _formats(30.3, 60, 121, 121), "NVIDIA L4 Tensor Core GPU, data sheet"),
    "V100": Sheet((7, 0), 16, 900, _formats(15.7, None, None, 125), "NVIDIA V100 (SXM2), data sheet"),
    "A100": Sheet((8, 0), 40, 1555, _formats(19.5, 156, 312, 312), "NVIDIA A100 40GB (SXM), data sheet"),
    "H100": Sheet((9, 0), 80, 3350, _formats(67, 494.7, 989, 989), "NVIDIA H100 (SXM), data sheet"),
    "H200": Sheet((9, 0), 141, 4800, _formats(67, 494.7, 989, 989), "NVIDIA H200 (SXM), data sheet"),
}
"""The cards that one meets in Colab and in data centres. Where a data sheet prints rates with sparsity (L4,
H100, H200), they are halved; a card of the same name in another form (PCIe, 80 GB) has other limits."""


def card_of(name: str) -> str | None:
    """Which card of `CARDS` a device's name means.

    Args:
        name: as torch gives it, such as ``"NVIDIA A100-SXM4-40GB"``.

    Returns:
        The key in `CARDS`, or None.
    """
    words = re.split(r"[^A-Z0-9]+", instance("name", name, str, "a device's name").upper())
    return next((card for card in CARDS if card in words), None)


def check_card(device: torch.device, side: int = 4096, size: int = 1 << 28) -> dict[str, Any]:
    """What a device is, and how fast it copies and multiplies, beside its data sheet.

    Args:
        device: a GPU, or the CPU.
        side: side of the square matrices that are multiplied.
        size: bytes that are copied.

    Returns:
        ``name``, ``card`` (a key of `CARDS` or None), ``capability``, ``memory_bytes``, ``driver`` (None on
        a CPU), ``torch``, ``cuda``, ``copy_gb_per_second`` (read and written), ``tflops`` (format → measured)
        and ``sheet`` (the data sheet, or None).

    Raises:
        ValueError: if a size is no positive integer.

    Source: the data sheets named in `CARDS`; used in Chapter 12.
    """
    positive_int("side", side)
    positive_int("size", size)
    found: dict[str, Any] = {**_identity(device), "torch": torch.__version__, "cuda": torch.version.cuda}
    x = torch.empty(size, dtype=torch.uint8, device=device)
    y = torch.empty_like(x)
    found["copy_gb_per_second"] = 2 * size / seconds(lambda: y.copy_(x), device) / 1e9
    formats = {"float32": torch.float32, "tf32": torch.float32}
    formats |= {"bfloat16": torch.bfloat16, "float16": torch.float16}
    capability = tuple(found["capability"] or ())
    found["tflops"] = {}
    for name, dtype in formats.items():
        if name == "tf32" and capability < (8, 0):
            continue
        a = torch.randn(side, side, device=device, dtype=dtype)
        with arithmetic(tf32=name == "tf32"):
            found["tflops"][name] = 2 * side**3 / seconds(lambda a=a: a @ a, device) / 1e12  # type: ignore[misc]
    card = found["card"]
    found["sheet"] = None if card is None else CARDS[card]._asdict()
    return found


def _identity(device: torch.device) -> dict[str, Any]:
    if device.type != "cuda":
        return {"name": device.type, "card": None, "capability": None, "memory_bytes": None, "driver": None}
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "card": card_of(properties.name),
        "capability": [properties.major, properties.minor],
        "memory_bytes": properties.total_memory,
        "driver": _driver(),
    }


def _driver() -> str | None:
    """The driver's version, as its own tool says; None without the tool."""
    import subprocess

    line = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout.split() or [None])[0]  # type: ignore[list-item]


def copies(device: torch.device, batch: int = 128, side: int = 224) -> dict[str, float]:
    """How fast a batch of float32 images comes from the host, GB/s.

    Args:
        device: where it goes.
        batch: images.
        side: their side in pixels.

    Returns:
        ``pageable``, and on a GPU ``pinned`` too.
    """
    x = torch.zeros(batch, 3, side, side)
    y = torch.empty_like(x, device=device)
    found = {"pageable": x.nbytes / seconds(lambda: y.copy_(x), device) / 1e9}
    if device.type == "cuda":
        pinned = x.pin_memory()
        found["pinned"] = x.nbytes / seconds(lambda: y.copy_(pinned, non_blocking=True), device) / 1e9
    return found


def seconds(work: Callable[[], Tensor], device: torch.device, times: int = 5) -> float:
    """The median time of some work, in seconds, after two calls that warm up.

    Args:
        work: what is measured.
        device: where it runs; a GPU is waited for before and after.
        times: how often.
    """
    taken = []
    for number in range(times + 2):
        wait(device)
        begin = time.perf_counter()
        work()
        wait(device)
        if number >= 2:
            taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def wait(device: torch.device) -> None:
    """Wait until a GPU has done all that it was told; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
