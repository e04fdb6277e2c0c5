"""What depends on the machine: device, memory format, number format, batches ahead of time (Chapter 12)."""

from __future__ import annotations

import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dhida_lib import _distributed
from dhida_lib._validate import bad, seed_int
from dhida_lib.config import TrainConfig, named_device
from dhida_lib.data import Split

__all__ = ["pick_device", "seed_everything"]


def pick_device(device: str = "auto") -> torch.device:
    """Turn a device's name into a device.

    Args:
        device: ``"auto"`` (a GPU if there is one) or a name that torch knows, such as ``"cuda:1"``.

    Returns:
        The device.

    Raises:
        ValueError: if torch does not know the name or has no such device.
    """
    found = named_device(device)
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise bad("device", device, "'auto' or a device that torch finds here") from error
    return found


def seed_everything(seed: int) -> None:
    """Seed torch's generators, which draw initial weights.

    Args:
        seed: an integer from 0 to 2³² − 1.

    Raises:
        ValueError: if it is none.

    Source: Algorithm 1; used in Chapter 11.
    """
    torch.manual_seed(seed_int("seed", seed))


def prepare(model: nn.Module, config: TrainConfig, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Bring the model to the device, in training mode; return what the loop calls."""
    asked = next((name for name in ("channels_last", "compile") if getattr(config, name)), None)
    if asked and device.type == "cpu" and (where := _fragile(model)) is not None:
        raise bad(
            asked, True, f"False for this network on a CPU: PyTorch's gradient of `{where}` can crash there"
        )
    if config.compile and not _compiler():
        raise bad("compile", True, "False on a machine without a C++ compiler (g++, clang++ or cl)")
    form = torch.channels_last if config.channels_last else torch.contiguous_format
    model.to(device=device, memory_format=form).train()  # type: ignore[call-overload]
    network: nn.Module = model
    if _distributed.world() > 1:
        if device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        network = nn.parallel.DistributedDataParallel(model)
    # dynamic=False: one program for each batch size, so that a resumed run computes with the same ones.
    return torch.compile(network, dynamic=False) if config.compile else network


def _fragile(model: nn.Module) -> str | None:
    """A convolution whose gradient PyTorch 2.14 writes outside its memory in channels_last, on a CPU.

    These are strided 1×1 convolutions with fewer than 8 input channels; the narrow network of a width below 8
    has one. The compiler chooses channels_last too.
    """
    for name, module in model.named_modules():
        strided = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) != module.stride
        if strided and module.in_channels < 8:
            return name
    return None


def _compiler() -> str | None:
    """The C++ compiler that `torch.compile` would find."""
    names = (os.environ.get("CXX"), "g++", "clang++", "cl")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def on_device(split: Split, device: torch.device) -> Split:
    """Copy a split's bytes to the device, if they leave half of its free memory to the training."""
    if not isinstance(getattr(split, "pixels", None), Tensor):
        raise bad("data_on_device", True, "False for images that are read from files batch by batch")
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        need = split.pixels[:1].nbytes * len(split)
        if need > free // 2:
            text = f"False here: the images need {need:,} bytes, of the GPU's memory {free:,} are free"
            raise bad("data_on_device", True, text)
    return split.to(device)


def ahead(items: Iterator[Any], depth: int = 2) -> Iterator[Any]:
    """The same items, made up to ``depth`` ahead by a thread: the GPU does not wait for the next batch.

    One thread makes them in their order, so the random numbers stay the same.
    """
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stop.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if stop.is_set():
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (got := ready.get())[0] == "item":
            yield got[1]
        if got[0] == "error":
            raise got[1]
    finally:
        stop.set()
        thread.join()


def autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[Any]:
    """Where the network computes: as it is, or with autocast."""
    if config.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
