"""From images to outputs and codes, for whole sets of them (Eq. 14 and 15; Chapter 11)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from dhida_lib import _distributed
from dhida_lib._validate import bad, first_weight, positive_int, tensor
from dhida_lib.codes import to_codes
from dhida_lib.training.devices import arithmetic
from dhida_lib.training.feeds import image_of

__all__ = ["encode", "outputs"]


def outputs(model: nn.Module, data: Any, batch_size: int | None = None) -> Tensor:
    """The network's outputs u for all images.

    Args:
        model: the network; it is put into evaluation mode and back.
        data: the images: a `Split`, normalised images (a tensor n×C×H×W), a data set of torch that yields
            images or (image, label), or a ``DataLoader`` of such batches.
        batch_size: images per step; None: what is fast, 32 on a CPU (its cache is small) and 500 elsewhere. A
            loader has its own.

    Returns:
        u (n×K) on the CPU, float32. With several processes each computes its share, and all get the whole.

    Raises:
        ValueError: if ``model`` is no network, ``data`` is something else, or an output is not a finite
            number, as after a training that diverged.

    Source: Eq. (14); built in Chapter 11.
    """
    device = first_weight(model).device
    if not hasattr(data, "__len__"):
        raise bad("data", type(data).__name__, "a Split, a tensor of images, a Dataset, or a DataLoader")
    if isinstance(data, Tensor):
        data = tensor("data", data, "images")
    usual = 32 if device.type == "cpu" else 500
    size = usual if batch_size is None else positive_int("batch_size", batch_size)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode(), arithmetic():
            if isinstance(data, DataLoader):
                parts = [model(image_of(batch).to(device)).float() for batch in data]
                u = torch.cat(parts).cpu()  # n×K; every process reads the whole loader
            else:
                n = _length(data)
                own = torch.arange(n).tensor_split(_distributed.world())[_distributed.rank()]
                parts = [model(x).float() for x in _batches(data, own, size, device)]
                u = _distributed.everyone(torch.cat(parts), n).cpu()  # n×K
    finally:
        model.train(training)
    if not u.isfinite().all():
        need = "a network whose training did not diverge"
        raise bad("model", "one whose outputs hold NaN or infinity", need)
    return u


def encode(model: nn.Module, data: Any, batch_size: int | None = None) -> Tensor:
    """The codes of all images: sign(u), or what the network's `code_rule` says.

    Args:
        model: the network; it is put into evaluation mode and back.
        data: the images, as for `outputs`.
        batch_size: images per step; None: as `outputs`.

    Returns:
        ±1 codes (n×K) on the CPU.

    Raises:
        ValueError: as `outputs`.

    Source: Eq. (15); built in Chapter 11.
    """
    return to_codes(outputs(model, data, batch_size), getattr(model, "code_rule", "sign"))


def _batches(data: Any, own: Tensor, size: int, device: torch.device) -> Iterator[Tensor]:
    """Batches of images on the device, at the given places."""
    for at in own.split(size):
        if isinstance(data, Tensor):
            yield data[at.to(data.device)].to(device)
        elif hasattr(data, "batch"):
            yield data.batch(at, device=device)[0]
        else:
            yield default_collate([image_of(data[int(i)]) for i in at]).to(device)


def _length(data: Any) -> int:
    """How many images there are, if these are images."""
    if isinstance(data, (Tensor, Dataset)) or hasattr(data, "batch"):
        with suppress(TypeError):  # a stream has no length
            return len(data)
    raise bad("data", type(data).__name__, "a Split, a tensor of images, a Dataset, or a DataLoader")
