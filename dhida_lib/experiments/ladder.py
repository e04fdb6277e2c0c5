"""The ladder: one network trained in seven ways, each a step faster than the one before; a profile and a
trace of a step, and the memory that it takes beside the memory that it must take (Chapter 12).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dhida_lib._validate import trusting
from dhida_lib.backbones.base import torchvision_models
from dhida_lib.config import TrainConfig
from dhida_lib.data import Preprocess, Split, batches
from dhida_lib.experiments.cards import CARDS, card_of, wait
from dhida_lib.losses import DHIDALoss
from dhida_lib.models import HashNetwork
from dhida_lib.training import History, devices, seed_everything, train

__all__ = ["ATTENTIONS", "LADDER"]

ATTENTIONS = ("none", "danet", "ida")
"""What stands behind the backbone."""
_CLASSES, _BITS = 10, 16


@dataclass(frozen=True)
class Size:
    """How large the ladder's work is.

    Args:
        side: side of the images in pixels.
        batch: images per step.
        steps: steps of an epoch; the second epoch is measured.
        backbone: the network.
        width: of a narrow network.
        compiled: is the rung with the compiler made? It takes a minute or more.
    """

    side: int = 224
    batch: int = 128
    steps: int = 20
    backbone: str = "resnet18"
    width: int = 16
    compiled: bool = True


class Rung(NamedTuple):
    """A step of the ladder.

    Attributes:
        name: what tables call it.
        change: settings that it adds to those below it; None: the bare loop, without the library's trainer.
    """

    name: str
    change: dict[str, Any] | None


LADDER = (
    Rung("bare torchvision loop", None),
    Rung("ours, float32", {}),
    Rung("TF32", {"precision": "tf32"}),
    Rung("channels_last", {"channels_last": True}),
    Rung("half precision", {"precision": "auto"}),
    Rung("compile", {"compile": True}),
    Rung("larger batch", {"batch": 2}),
)
"""The rungs, from the bottom; ``batch`` multiplies the batch's size."""


def climb(attention: str, size: Size, done: set[str] | None = None) -> Iterator[Rung]:
    """The rungs that can be made for one attention, in order.

    Args:
        attention: ``"none"``, ``"danet"`` or ``"ida"``.
        size: how large it is.
        done: names of rungs that are recorded already.

    Returns:
        An iterator; `measured` takes what it gives.
    """
    for rung in LADDER:
        bare = rung.change is None and attention != ATTENTIONS[0]  # torchvision's network has no attention
        if bare or rung.name in (done or ()) or ("compile" in (rung.change or {}) and not size.compiled):
            continue
        yield rung


def settings_of(rung: Rung, size: Size) -> dict[str, Any]:
    """All that a rung changes, with what the rungs below it changed."""
    found: dict[str, Any] = {}
    for below in LADDER:
        found |= below.change or {}
        if below == rung:
            break
    if not size.compiled:
        found.pop("compile", None)
    times = found.pop("batch", 1)
    return {**found, "batch_size": size.batch * times}


def measured(rung: Rung, attention: str, device: torch.device, size: Size) -> dict[str, Any]:
    """Train one rung's way for two epochs, and say what the second one took.

    Args:
        rung: what to measure.
        attention: what stands behind the backbone.
        device: where it runs.
        size: how large it is.

    Returns:
        ``attention``, ``rung``, ``settings``, ``precision``, ``images_per_second``, ``peak_bytes`` (None on a
        CPU), ``tflops`` and ``share`` of the data sheet's (None for a card that has none here); or ``error``
        where it did not fit.

    Source: used in Chapter 12.
    """
    settings = settings_of(rung, size)
    row: dict[str, Any] = {"attention": attention, "rung": rung.name, "settings": settings}
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        if rung.change is None:
            taken, images, precision = *_bare(device, size), "float32"
        else:
            history, images = _ours(attention, device, size, settings)
            taken, precision = history.epochs[-1]["seconds"], history.formats[-1].partition(":")[0]
    except (MemoryError, ValueError, RuntimeError) as error:  # too large, or no compiler on this machine
        return {**row, "error": f"{type(error).__name__}: {error}"[:300]}
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    tflops = images / taken * flops_of(attention, size) / 1e12
    speed = {"precision": precision, "images_per_second": images / taken, "peak_bytes": peak}
    return {**row, **speed, "tflops": tflops, "share": _share(tflops, precision, device)}


def _share(tflops: float, precision: str, device: torch.device) -> float | None:
    """The part of what the data sheet promises in this format."""
    card = card_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    limit = CARDS[card].tflops.get(precision) if card else None
    return None if limit is None else tflops / limit


def images_of(size: Size, batch: int) -> Split:
    """Random pictures of CIFAR-10's form, resized on the device as real ones are."""
    g = torch.Generator().manual_seed(0)
    n, stored = batch * size.steps, min(32, size.side)
    pixels = torch.randint(0, 256, (n, 3, stored, stored), generator=g, dtype=torch.uint8)
    labels = torch.randint(0, _CLASSES, (n,), generator=g)
    form = Preprocess(channels=3, side=size.side, stored=stored, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Split(pixels, labels, torch.arange(n), form)


def network_of(attention: str, size: Size) -> HashNetwork:
    """The ladder's network, from random weights: these are as fast as trained ones."""
    seed_everything(0)
    return HashNetwork(size.backbone, attention, _BITS, in_channels=3, width=size.width)


def _ours(
    attention: str, device: torch.device, size: Size, settings: dict[str, Any], epochs: int = 2
) -> tuple[History, int]:
    """The library's trainer; the history, and how many images an epoch has."""
    split = images_of(size, settings["batch_size"])
    config = TrainConfig(epochs=epochs, device=str(device), data_on_device=True, **settings)
    loss = DHIDALoss(_BITS, len(split), _CLASSES)
    return train(network_of(attention, size), loss, split, config), len(split)


def _bare(device: torch.device, size: Size) -> tuple[float, int]:
    """What one writes without the library: torchvision's network, a loop, and a wait in every step."""
    split = images_of(size, size.batch)
    net = torchvision_models().resnet18(weights=None, num_classes=_CLASSES).to(device).train()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=5e-5)
    taken = 0.0
    with devices.arithmetic():
        for _ in range(2):
            wait(device)
            begin = time.perf_counter()
            for images, labels, _ in batches(split, size.batch, True, torch.Generator().manual_seed(0)):
                value = F.cross_entropy(net(images.to(device)), labels.to(device))
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                value.item()
            wait(device)
            taken = time.perf_counter() - begin
    return taken, len(split)


def flops_of(attention: str, size: Size) -> float:
    """Floating point operations of one image, forward and backward, as PyTorch counts them."""
    net = network_of(attention, size).train()
    with FlopCounterMode(display=False) as counter:
        net(torch.randn(2, 3, size.side, size.side)).sum().backward()
    return counter.get_total_flops() / 2


def memory_of(attention: str, device: torch.device, size: Size) -> dict[str, Any]:
    """The memory of a step in float32: by formula, and on a GPU measured.

    Weights, gradients and RMSProp's mean squares are four bytes each for every parameter; activations are
    what autograd keeps for the backward pass, counted for two images and multiplied.

    Args:
        attention: what stands behind the backbone.
        device: where it runs.
        size: how large it is.

    Returns:
        ``weights``, ``gradients``, ``optimizer``, ``activations``, ``formula`` (their sum) and ``measured``
        (None on a CPU), in bytes; or ``error`` where it did not fit.

    Source: used in Chapter 12.
    """
    net = network_of(attention, size).train()
    own = {p.untyped_storage().data_ptr() for p in (*net.parameters(), *net.buffers())}
    kept: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        store = t.untyped_storage()
        if store.data_ptr() not in own:
            kept[store.data_ptr()] = store.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        out = net(torch.randn(2, 3, size.side, size.side))  # alive, so that no storage is counted twice
    parameters = sum(p.nbytes for p in net.parameters())
    found: dict[str, Any] = dict.fromkeys(("weights", "gradients", "optimizer"), parameters)
    found["activations"] = sum(kept.values()) * size.batch // len(out)
    found["formula"] = sum(found.values())
    row = measured(LADDER[1], attention, device, size)
    rest = {key: row[key] for key in ("error",) if key in row}
    return {
        "attention": attention,
        "batch_size": size.batch,
        **found,
        "measured": row.get("peak_bytes"),
        **rest,
    }


def profile_of(attention: str, device: torch.device, size: Size, rows: int = 12) -> list[dict[str, Any]]:
    """Where the time of a step goes, in float32.

    Args:
        attention: what stands behind the backbone.
        device: where it runs.
        size: how large it is.
        rows: how many operations to keep, those that take longest.

    Returns:
        One dictionary for each operation: ``name``, ``calls``, ``device_ms`` and ``host_ms``, for one step.

    Source: PyTorch, torch.profiler; used in Chapter 12.
    """
    from torch.profiler import ProfilerActivity, profile

    short = replace(size, steps=min(size.steps, 4))
    settings = {"batch_size": size.batch}
    _ours(attention, device, short, settings, epochs=1)  # warms up
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=kinds) as seen:
        _ours(attention, device, short, settings, epochs=1)
    table = []
    for event in seen.key_averages():
        on_device = getattr(event, "self_device_time_total", getattr(event, "self_cuda_time_total", 0))
        each = {
            "device_ms": on_device / 1e3,
            "host_ms": event.self_cpu_time_total / 1e3,
            "calls": event.count,
        }
        table.append({"name": event.key[:80], **{k: v / short.steps for k, v in each.items()}})
    main = "device_ms" if device.type == "cuda" else "host_ms"
    return sorted(table, key=lambda row: -row[main])[:rows]


def trace_of(attention: str, device: torch.device, size: Size, steps: int = 2) -> list[list[Any]]:
    """What host and device did, and when, in a few steps in float32 whose batch is on the device already.

    Args:
        attention: what stands behind the backbone.
        device: where it runs.
        size: how large it is.
        steps: how many steps are recorded, after two that warm up.

    Returns:
        Lane, name, start and length in ms, by their start: of lane ``"host"`` the four parts of each step and
        the host's waits, of lane ``"device"`` all kernels (on a CPU none).

    Source: PyTorch, torch.profiler; used in Chapter 12.
    """
    from torch.profiler import ProfilerActivity, profile

    split = images_of(replace(size, steps=1), size.batch)
    net, loss = network_of(attention, size).to(device).train(), DHIDALoss(_BITS, size.batch, _CLASSES)
    optimizer = torch.optim.RMSprop(net.parameters(), lr=5e-5)
    images, labels = split.batch(range(size.batch), device=device)
    batch = (images, labels.to(device), torch.arange(size.batch, device=device))
    loss.to(device).check_values(split.labels, torch.arange(size.batch))
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with devices.arithmetic():
        for _ in range(2):
            _labelled(net, loss, optimizer, batch)
        wait(device)
        with profile(activities=kinds) as seen:
            for _ in range(steps):
                _labelled(net, loss, optimizer, batch)
            wait(device)
    return _lanes(seen.events() or ())


_PARTS = ("forward", "loss", "backward", "update")


def _labelled(net: HashNetwork, loss: DHIDALoss, optimizer: Any, batch: tuple[Tensor, ...]) -> None:
    """One step, its parts with labels for the profiler."""
    images, labels, places = batch
    forward, value_of, backward, update = (torch.profiler.record_function(part) for part in _PARTS)
    with forward:
        u = net(images)
    with value_of, trusting():
        value = loss(u, labels, places)
    with backward:
        optimizer.zero_grad()
        value.backward()
    with update:
        optimizer.step()


def _lanes(events: Any) -> list[list[Any]]:
    """The labels and waits of the host and the kernels of the device, as rows."""
    on_host = torch.autograd.DeviceType.CPU
    rows = []
    for event in events:
        host = event.device_type == on_host
        if event.name in _PARTS if not host else event.name not in _PARTS and "ynchronize" not in event.name:
            continue
        start, length = (event.time_range.start / 1e3, event.time_range.elapsed_us() / 1e3)
        rows.append(["host" if host else "device", event.name[:60], start, length])
    first = min((row[2] for row in rows), default=0.0)
    return sorted(([lane, name, round(at - first, 4), round(ms, 4)] for lane, name, at, ms in rows),
                  key=lambda row: row[2])  # fmt: skip
