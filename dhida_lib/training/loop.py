"""Algorithm 1: from images to a trained hash network (§3.5 and §4.2; built in Chapters 11 and 12).

The trainer knows networks and losses only through their call. It draws every random number of an epoch from
the pair (seed, epoch), so a run that was killed and resumed is the same run as one that never stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dhida_lib import _distributed
from dhida_lib._files import as_json
from dhida_lib._tensors import not_finite
from dhida_lib._validate import about_dict, bad, first_weight, instance, sized
from dhida_lib.config import TrainConfig
from dhida_lib.training import devices, resume
from dhida_lib.training.callbacks import Callback
from dhida_lib.training.feeds import Augment, Batch, Feed, as_feed
from dhida_lib.training.history import History, describe
from dhida_lib.training.optimizers import Factory, build_optimizer, learning_rate, set_rate

__all__ = ["train"]


def train(
    model: nn.Module,
    loss: nn.Module,
    data: Any,
    config: TrainConfig,
    callbacks: Sequence[Callback] = (),
    folder: str | os.PathLike[str] | None = None,
    about: dict[str, Any] | None = None,
    optimizer: Factory | None = None,
    augment: Augment | None = None,
) -> History:
    """Algorithm 1. The model and the loss are changed in place; the state after the last epoch counts.

    Started by torchrun, several processes share each batch (``batch_size`` is that of all together). The loss
    is computed over all their outputs, so bank and balance term are those of one process. Batch normalisation
    sees the whole batch on GPUs, and each process's share on CPUs.

    Args:
        model: the network, already initialised (`seed_everything` first).
        loss: called as ``loss(u, labels, index)``; its ``start_epoch(epoch, epochs)`` is called too, if it
            has one.
        data: the training images: a `Split`, any ``Dataset`` of torch with a length that yields
            (image, label), or a ``DataLoader`` (whose order and batch size then count).
        config: how to train.
        callbacks: what watches.
        folder: where to keep the newest state; if it has one, the run goes on from there.
        about: what else identifies the run (JSON-able); a state of another run is refused.
        optimizer: makes the optimizer from parameter groups, instead of ``config.optimizer``.
        augment: a function of one training image (C×H×W, normalised), such as a transform of torchvision; it
            draws from torch's generator. It comes after ``config.augment``.

    Returns:
        The history, over all sessions of the run.

    Raises:
        ValueError: if ``folder`` holds another run's state, or a damaged one; if this machine, this network
            or these images do not allow a setting.
        FloatingPointError: if the loss, an output or a weight is not a finite number; the last checkpoint
            stays.

    Source: Algorithm 1; built in Chapters 11 and 12.
    """
    instance("config", config, TrainConfig, "a TrainConfig")
    first_weight(model)
    instance("loss", loss, nn.Module, "a loss, an nn.Module")
    for callback in sized("callbacks", callbacks, "a list of callbacks"):
        if not all(callable(getattr(callback, name, None)) for name in ("on_batch", "on_epoch")):
            raise bad("callbacks", type(callback).__name__, "a list of callbacks, each a Callback")
    about = about_dict(about)
    if augment is not None and not callable(augment):
        raise bad("augment", type(augment).__name__, "a function of one image")
    _distributed.begin()
    device = devices.pick_device(config.device)
    network = devices.prepare(model, config, device)
    loss.to(device).train()
    feed = as_feed(data, config, device, augment)
    updates = build_optimizer(model, config, optimizer)
    run = _identity(config, about, optimizer, augment)
    if folder is not None:
        as_json(Path(folder) / resume.STATE, run)  # else the first save would fail, an epoch later
    history = _resumed(folder, run, model, loss, updates)
    step = _Step(model, network, loss, updates, config, device, feed)
    for epoch in range(len(history.epochs), config.epochs):
        row = _one_epoch(step, feed, epoch, callbacks)
        _distributed.share_buffers(model)
        if (name := not_finite(model)) is not None:
            raise _diverged(f"The weights hold NaN or infinity after epoch {epoch + 1} ({name})", row["lr"])
        for callback in callbacks:
            callback.on_epoch(row, model)
        history.epochs.append(row)
        with _distributed.first_alone():
            if folder is not None and _distributed.rank() == 0:
                state = {"run": run, "history": history.epochs}
                resume.save_state(folder, model, loss, updates, epoch + 1, state)
    return history


def _identity(
    config: TrainConfig, about: dict[str, Any] | None, optimizer: Factory | None, augment: Augment | None
) -> dict[str, Any]:
    """What makes this run another one than the next: settings, and what stands in their place."""
    run = {k: v for k, v in asdict(config).items() if k != "device"}
    if optimizer is not None:
        run["optimizer"] = _name(optimizer)
    if augment is not None:
        run["augment"] = f"{config.augment}, {_name(augment)}"
    return {**run, **(about or {})}


def _name(thing: object) -> str:
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def _resumed(
    folder: str | os.PathLike[str] | None,
    run: dict[str, Any],
    model: nn.Module,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> History:
    """Go back to the newest state of this run, if there is one."""
    if folder is None or (saved := resume.load_about(folder)) is None:
        return History()
    resume.same_run(saved, run, folder)
    resume.load_state(folder, model, loss, optimizer)
    return History(saved["history"])


def _one_epoch(step: _Step, feed: Feed, epoch: int, callbacks: Sequence[Callback]) -> dict[str, float]:
    """One pass over the training images, and the row that describes it."""
    start = time.perf_counter()
    config, device = step.config, step.device
    if callable(begin := getattr(step.loss, "start_epoch", None)):
        begin(epoch, config.epochs)
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    gpus = [device] if device.type == "cuda" else []
    total, produced = 0.0, []
    with torch.random.fork_rng(devices=gpus):  # dropout draws from the global generators
        torch.manual_seed(config.seed * 1_000_003 + epoch + 7919 * _distributed.rank())
        parts = devices.ahead(feed.epoch(generator)) if gpus else feed.epoch(generator)
        for number, batch in enumerate(parts):
            u, value = step(batch, number, epoch)
            produced.append(u)
            total += value * batch.size
            for callback in callbacks:
                callback.on_batch(epoch + 1, number + 1, feed.steps, value)
    u = torch.cat(produced)  # n×K, as the network gave them in the course of the epoch
    fine = u.isfinite().all(dim=1)  # n; looked at here, since each look makes a GPU wait
    if not fine.all():
        where = f"in epoch {epoch + 1}, step {int(fine.int().argmin()) // feed.batch_size + 1}"
        raise _diverged(f"An output holds NaN or infinity {where}", step.rate)
    row = {"epoch": epoch + 1, "loss": total / len(u), "lr": step.rate, **describe(u, step.model)}
    return {**row, "seconds": time.perf_counter() - start}


@dataclass
class _Step:
    """One batch: outputs, loss, gradient, and the optimizer's step where a group of batches is complete."""

    model: nn.Module
    network: Callable[[Tensor], Tensor]
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    config: TrainConfig
    device: torch.device
    feed: Feed
    rate: float = 0.0

    def __call__(self, batch: Batch, number: int, epoch: int) -> tuple[Tensor, float]:
        """The outputs (B×K, of all processes) and the loss of the epoch's batch ``number``, from 0."""
        every = self.config.accumulate
        first, last = number % every == 0, number % every == every - 1 or number + 1 == self.batches
        per_epoch = -(-self.feed.steps // every)
        self.rate = learning_rate(self.config, epoch * per_epoch + number // every, per_epoch)
        set_rate(self.optimizer, self.rate)
        u, labels, index = self.forward(batch)
        value = self.loss(u, labels, index)
        if not torch.isfinite(value):
            raise _diverged(f"The loss is {value.item()} in epoch {epoch + 1}, step {number + 1}", self.rate)
        if first:
            self.optimizer.zero_grad(set_to_none=True)
        together = every * self.feed.batch_size
        rest = self.feed.images - (number // every) * together
        shared = min(together, rest) if every > 1 else batch.size  # images of this step
        # Each process has the gradient of its share, and DistributedDataParallel takes their mean.
        weight = _distributed.world() * batch.size / shared
        (value if weight == 1 else value * weight).backward()
        if last:
            self.optimizer.step()
        return u.detach(), value.item()

    @property
    def batches(self) -> int:
        """How many batches an epoch really has."""
        return self.feed.steps - self.feed.short

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Outputs (B×K), labels and places of the whole batch, of all processes."""
        form = torch.channels_last if self.config.channels_last else torch.preserve_format
        with devices.autocast(self.config, self.device):
            u = self.network(batch.images.to(self.device, memory_format=form))
        u = _distributed.everyone(u.float(), batch.size)
        labels = _distributed.everyone(batch.labels.to(self.device), batch.size)
        index = batch.places
        if index is not None:
            index = _distributed.everyone(index.to(self.device), batch.size)
        return u, labels, index


def _diverged(what: str, lr: float) -> FloatingPointError:
    return FloatingPointError(f"{what}. A lower `lr` (now {lr:g}) or a look at the images may help.")
