"""Several processes as one (torchrun): who I am, how results come together. Alone, it all does nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["begin", "collect", "everyone", "first_alone", "rank", "share_buffers", "world"]


def begin() -> None:
    """Join the processes that torchrun started, if it did: NCCL between GPUs, Gloo between CPUs."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        gpu = torch.cuda.is_available()
        if gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if gpu else "gloo")


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world() > 1 else 0


def everyone(mine: Tensor, total: int) -> Tensor:
    """The rows of all processes in order, as `torch.tensor_split` dealt them; only mine keep a gradient.

    Args:
        mine: this process's rows.
        total: number of all rows.
    """
    if world() == 1:
        return mine
    sizes = [len(part) for part in torch.arange(total).tensor_split(world())]
    own = mine.detach()
    padded = torch.cat([own, own.new_zeros(max(sizes) - len(own), *own.shape[1:])]).contiguous()
    gathered = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(gathered, padded)
    parts = [part[:size] for part, size in zip(gathered, sizes, strict=True)]
    parts[rank()] = mine
    return torch.cat(parts)


def collect(mine: Any) -> list[Any]:
    """What each process has, in the order of the ranks; all of them wait for it."""
    if world() == 1:
        return [mine]
    gathered: list[Any] = [None] * world()
    dist.all_gather_object(gathered, mine)
    return gathered


def share_buffers(model: nn.Module) -> None:
    """Give all processes the first one's running means and variances."""
    if world() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


@contextmanager
def first_alone() -> Iterator[None]:
    """Process 0 goes first, the others when it is through: a file is made once and then read."""
    if world() > 1 and rank() > 0:
        dist.barrier()
    yield
    if world() > 1 and rank() == 0:
        dist.barrier()
