"""What depends on the machine: device, memory format, number format, batches ahead of time (Chapter 12)."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dhida_lib import _distributed
from dhida_lib._validate import bad, choice, instance, seed_int, sized, whole
from dhida_lib.backbones import Backbone
from dhida_lib.config import TrainConfig, named_device
from dhida_lib.data import Split

__all__ = ["Choice", "choose_precision", "pick_device", "seed_everything"]

AMPERE = (8, 0)
"""The compute capability from which a card's tensor cores know TF32 and bfloat16: A100, L4, H100 …"""
VOLTA = (7, 0)
"""The compute capability from which a card has tensor cores, at first for float16 alone: V100, T4."""
_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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


class Choice(NamedTuple):
    """A number format, and why it was taken.

    Attributes:
        precision: ``"float32"``, ``"tf32"``, ``"bfloat16"`` or ``"float16"``.
        why: the reason, in half a sentence.
    """

    precision: str
    why: str

    def __str__(self) -> str:
        return f"{self.precision}: {self.why}"


def choose_precision(asked: str, device_type: str, capability: tuple[int, int] | None = None) -> Choice:
    """Which number format a network computes in. Nothing is asked of the machine.

    Args:
        asked: a setting's value, one of ``TrainConfig.PRECISIONS``.
        device_type: ``"cuda"``, ``"cpu"`` or another of torch's.
        capability: the card's compute capability, such as (7, 5) for a T4; needed for ``"cuda"``.

    Returns:
        The format and the reason. What was asked for by name is taken, but for ``"tf32"`` where it is not.

    Raises:
        ValueError: if a name is unknown, or a GPU has no capability.

    Source: NVIDIA, CUDA C++ Programming Guide, compute capabilities; PyTorch, automatic mixed precision. Used
    in Chapter 12.
    """
    choice("asked", asked, TrainConfig.PRECISIONS)
    instance("device_type", device_type, str, "the type of a device, such as 'cuda'")
    if device_type != "cuda":
        return _without_gpu(asked, device_type)
    need = "the compute capability of the card, such as (7, 5)"
    major, minor = (whole("capability", number) for number in sized("capability", capability, need, 2))
    card = f"compute capability {major}.{minor}"
    if asked == "auto":
        return _fastest((major, minor), card)
    if asked == "tf32" and (major, minor) < AMPERE:
        return Choice("float32", f"{card} has no TF32, which came with 8.0")
    if asked == "bfloat16" and (major, minor) < AMPERE:
        slow = "no tensor core knows bfloat16, cuDNN's convolutions are bypassed and it is slow; float16 is"
        return Choice(asked, f"asked for, but on {card} {slow} the fast format here")
    return Choice(asked, f"asked for, on {card}")


def _without_gpu(asked: str, device_type: str) -> Choice:
    if asked == "auto":
        return Choice("float32", f"a device of type {device_type} gains nothing from shorter numbers here")
    if asked == "tf32":
        return Choice("float32", f"a device of type {device_type} has no TF32")
    return Choice(asked, f"asked for, on a device of type {device_type}")


def _fastest(capability: tuple[int, ...], card: str) -> Choice:
    if capability >= AMPERE:
        return Choice("bfloat16", f"{card} multiplies it on tensor cores, and it has float32's range")
    if capability >= VOLTA:
        return Choice("float16", f"{card} has tensor cores for float16 and none for bfloat16")
    return Choice("float32", f"{card} has no tensor cores")


def chosen(config: TrainConfig, device: torch.device) -> Choice:
    """`choose_precision` for this machine; slow bfloat16 is also a warning."""
    card = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    found = choose_precision(config.precision, device.type, card)
    if found.precision == "bfloat16" and card is not None and card < AMPERE:
        warnings.warn(f"`precision` {found}", stacklevel=2)
    return found


@contextmanager
def arithmetic(tf32: bool = False) -> Iterator[None]:
    """Inside, a GPU's float32 is float32, or TF32 where that is wanted; then all is as it was.

    PyTorch as it comes lets cuDNN's convolutions round to TF32, and matrix products not.
    """
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


def scaler(precision: str, device: torch.device) -> Any:
    """What scales the loss so that small gradients do not vanish in float16; of other formats it keeps off.

    Returns:
        A ``torch.amp.GradScaler`` (of torch before 2.3 the GPU's own).
    """
    wanted = precision == "float16"
    made: Any = getattr(torch.amp, "GradScaler", None)
    return torch.cuda.amp.GradScaler(enabled=wanted) if made is None else made(device.type, enabled=wanted)


def prepare(model: nn.Module, config: TrainConfig, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Bring the model to the device, in training mode; return what the loop calls."""
    asked = next((name for name in ("channels_last", "compile") if getattr(config, name)), None)
    if asked and device.type == "cpu" and (where := _fragile(model)) is not None:
        raise bad(
            asked, True, f"False for this network on a CPU: PyTorch's gradient of `{where}` can crash there"
        )
    if config.compile and config.recompute:
        raise bad("recompute", True, "False with `compile`, which decides by itself what it computes again")
    if config.compile and not _compiler():
        raise bad("compile", True, "False on a machine without a C++ compiler (g++, clang++ or cl)")
    backbones = [module for module in model.modules() if isinstance(module, Backbone)]
    if config.recompute and not backbones:
        raise bad("recompute", True, "False for a network without a backbone that has stages")
    for backbone in backbones:
        backbone.recompute = config.recompute
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


def reads_every(device: torch.device) -> int:
    """After how many steps the losses are read: from a CPU's memory at once, from a GPU, which is waited for,
    several together.
    """
    return 16 if device.type == "cuda" else 1


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Where the network computes: as it is, or with autocast to a format of 16 bits."""
    if precision not in _HALF:
        return nullcontext()
    return torch.autocast(device.type, dtype=_HALF[precision])
