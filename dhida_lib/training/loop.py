"""Algorithm 1: from images to a trained hash network (§3.5 and §4.2; built in Chapters 11 and 12).

The trainer knows networks and losses only through their call. It draws every random number of an epoch from
the pair (seed, epoch), so a run that was killed and resumed is the same run as one that never stopped.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dhida_lib import _distributed
from dhida_lib._files import as_json
from dhida_lib._tensors import not_finite
from dhida_lib._validate import about_dict, bad, first_weight, instance, sized, trusting
from dhida_lib.config import TrainConfig
from dhida_lib.training import devices, memory, resume
from dhida_lib.training.callbacks import Callback
from dhida_lib.training.feeds import Augment, Batch, Feed, as_feed
from dhida_lib.training.history import History, describe
from dhida_lib.training.optimizers import Factory, build_optimizer, learning_rate, set_rate
from dhida_lib.training.session import Clock

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
        callbacks: what watches. On a GPU the losses of some steps are read together, to wait for it less
            often: ``on_batch`` then comes for these steps together.
        folder: where to keep the newest state; if it has one, the run goes on from there.
        about: what else identifies the run (JSON-able); a state of another run is refused.
        optimizer: makes the optimizer from parameter groups, instead of ``config.optimizer``.
        augment: a function of one training image (C×H×W, normalised), such as a transform of torchvision; it
            draws from torch's generator. It comes after ``config.augment``.

    Returns:
        The history, over all sessions of the run; with ``config.budget`` it may have fewer epochs than asked.

    Raises:
        ValueError: if ``folder`` holds another run's state, or a damaged one; if this machine, this network
            or these images do not allow a setting.
        MemoryError: if the device's memory is full; it says which settings to change.
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
    choice = devices.chosen(config, device)
    network = devices.prepare(model, config, device)
    loss.to(device).train()
    feed = as_feed(data, config, device, augment)
    if callable(look := getattr(loss, "check_values", None)):
        feed.check(look)
    updates = build_optimizer(model, config, optimizer)
    run = _identity(config, about, optimizer, augment)
    if folder is not None:
        as_json(Path(folder) / resume.STATE, run)  # else the first save would fail, an epoch later
    scaler = devices.scaler(choice.precision, device)
    keeper = _Keeper(folder, run, model, loss, updates, scaler, callbacks)
    history = keeper.resumed()
    if str(choice) not in history.formats:
        history.formats.append(str(choice))
    if config.precision != "float32":
        _say(callbacks, f"precision {choice}")
    clock = Clock(config, feed.steps - feed.short, len(history.epochs))
    step = _Step(model, network, loss, updates, config, device, feed, choice.precision, scaler)
    try:
        with devices.arithmetic(choice.precision == "tf32"):
            _epochs(step, keeper, history, clock, callbacks)
    except memory.OUT_OF_MEMORY as error:
        raise MemoryError(memory.explain(error, config, choice.precision, device)) from error
    return history


def _epochs(
    step: _Step, keeper: _Keeper, history: History, clock: Clock, callbacks: Sequence[Callback]
) -> None:
    """All epochs that are left, or as many as fit into the budget."""
    epochs, model = step.config.epochs, step.model
    for epoch in range(len(history.epochs), epochs):
        row = _one_epoch(step, epoch, clock, callbacks)
        if row is None:
            _say(callbacks, f"stopped before epoch {epoch + 1} of {epochs}: it would not fit into the budget")
            return
        _distributed.share_buffers(model)
        if (name := not_finite(model)) is not None:
            raise _diverged(f"The weights hold NaN or infinity after epoch {epoch + 1} ({name})", row["lr"])
        for callback in callbacks:
            callback.on_epoch(row, model)
        history.epochs.append(row)
        go_on = clock.epoch_done() or epoch + 1 == epochs
        if clock.due(epoch + 1) or epoch + 1 == epochs or not go_on:
            keeper.save(history)
        if not go_on:
            _say(callbacks, f"stopped after epoch {epoch + 1} of {epochs}: no other fits into the budget")
            return


def _say(callbacks: Sequence[Callback], text: str) -> None:
    """Tell those who watch and can be told."""
    for callback in callbacks:
        if callable(note := getattr(callback, "on_note", None)):
            note(text)


@dataclass
class _Keeper:
    """The run's state on disk, if it has a folder."""

    folder: str | os.PathLike[str] | None
    run: dict[str, Any]
    model: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: Any
    callbacks: Sequence[Callback]
    told: bool = False

    def resumed(self) -> History:
        """Go back to the newest state of this run, if there is one."""
        if self.folder is None or (saved := resume.load_about(self.folder)) is None:
            return History()
        resume.same_run(saved, self.run, self.folder)
        resume.load_state(self.folder, self.model, self.loss, self.optimizer, self.scaler)
        return History(saved["history"], saved.get("formats", []))

    def save(self, history: History) -> None:
        """Write the state; before the first one its size is said."""
        if self.folder is None:
            return
        with _distributed.first_alone():
            if _distributed.rank() > 0:
                return
            parts = self.model, self.loss, self.optimizer
            if not self.told:
                self.told = True
                place = "in place, on Drive" if resume.on_drive(self.folder) else "in the old one's place"
                size = resume.state_bytes(*parts, self.scaler) / 1e6
                _say(self.callbacks, f"a state of the run takes {size:,.1f} MB; each is written {place}")
            about = {"run": self.run, "history": history.epochs, "formats": history.formats}
            resume.save_state(self.folder, *parts, len(history.epochs), about, self.scaler)


def _identity(
    config: TrainConfig, about: dict[str, Any] | None, optimizer: Factory | None, augment: Augment | None
) -> dict[str, Any]:
    """What makes this run another one than the next: settings, and what stands in their place."""
    free = ("device", "recompute", *TrainConfig.SESSION)  # they decide no result
    run = {k: v for k, v in asdict(config).items() if k not in free}
    if optimizer is not None:
        run["optimizer"] = _name(optimizer)
    if augment is not None:
        run["augment"] = f"{config.augment}, {_name(augment)}"
    return {**run, **(about or {})}


def _name(thing: object) -> str:
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def _one_epoch(
    step: _Step, epoch: int, clock: Clock, callbacks: Sequence[Callback]
) -> dict[str, float] | None:
    """One pass over the training images, and the row that describes it; None if it would not end in time."""
    start = time.perf_counter()
    config, device, feed = step.config, step.device, step.feed
    if callable(begin := getattr(step.loss, "start_epoch", None)):
        begin(epoch, config.epochs)
    step.begin_epoch()
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    gpus = [device] if device.type == "cuda" else []
    losses, produced = _Losses(step, epoch, callbacks), []
    with torch.random.fork_rng(devices=gpus):  # dropout draws from the global generators
        torch.manual_seed(config.seed * 1_000_003 + epoch + 7919 * _distributed.rank())
        parts = feed.sent(generator, device, step.look)
        for number, batch in enumerate(devices.ahead(parts) if gpus else parts):
            u, value = step(batch, number, epoch)
            produced.append(u)
            losses.add(number, value, batch.size)
            if clock.marks(number):
                losses.read()
                text, fits = clock.estimate(number)
                if text is not None:
                    _say(callbacks, text)
                if not fits:
                    return None
    losses.read()
    u = torch.cat(produced)  # n×K, as the network gave them in the course of the epoch
    fine = u.isfinite().all(dim=1)  # n; looked at here, since each look makes a GPU wait
    if not fine.all():
        where = f"in epoch {epoch + 1}, step {int(fine.int().argmin()) // feed.batch_size + 1}"
        raise _diverged(f"An output holds NaN or infinity {where}", step.rate)
    row = {"epoch": epoch + 1, "loss": losses.total / len(u), "lr": step.rate, **describe(u, step.model)}
    if step.scaler.is_enabled():
        row["skipped"] = step.tried - step.made
    return {**row, "seconds": time.perf_counter() - start}


@dataclass
class _Losses:
    """The losses of an epoch: they stay on the device, and are read for several steps at once."""

    step: _Step
    epoch: int
    callbacks: Sequence[Callback]
    total: float = 0.0
    kept: list[tuple[int, Tensor, int]] = field(default_factory=list)

    def add(self, number: int, value: Tensor, size: int) -> None:
        """Keep a step's loss, and read those that are kept if they are many."""
        self.kept.append((number, value.reshape(()), size))
        if len(self.kept) >= devices.reads_every(self.step.device):
            self.read()

    def read(self) -> None:
        """Read what is kept: the only wait of these steps. A loss that is not finite ends the run."""
        if not self.kept:
            return
        numbers, losses, sizes = zip(*self.kept, strict=True)
        self.kept = []
        for number, value, size in zip(numbers, torch.stack(losses).tolist(), sizes, strict=True):
            if not math.isfinite(value):
                where = f"in epoch {self.epoch + 1}, step {number + 1}"
                raise _diverged(f"The loss is {value} {where}", self.step.rate)
            self.total += value * size
            for callback in self.callbacks:
                callback.on_batch(self.epoch + 1, number + 1, self.step.feed.steps, value)


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
    precision: str
    scaler: Any
    rate: float = 0.0
    tried: int = 0
    made: int = 0

    def __post_init__(self) -> None:
        self.look = getattr(self.loss, "check_values", None)
        self.foresee = getattr(self.loss, "foresee", None)
        self.optimizer.register_step_post_hook(self._count)

    def _count(self, *_: Any) -> None:
        """The optimizer made a step: the gradients were finite, or their loss was not scaled."""
        self.made += 1

    def begin_epoch(self) -> None:
        """Count steps anew, and let the loss look at its bank."""
        self.tried = self.made = 0
        if callable(self.foresee):
            self.foresee(None)

    def __call__(self, batch: Batch, number: int, epoch: int) -> tuple[Tensor, Tensor]:
        """The outputs (B×K, of all processes) and the loss of the epoch's batch ``number``, from 0.

        Nothing before the backward pass reads a number from the device, and behind it only the scaler does.
        """
        every = self.config.accumulate
        first, last = number % every == 0, number % every == every - 1 or number + 1 == self.batches
        per_epoch = -(-self.feed.steps // every)
        self.rate = learning_rate(self.config, epoch * per_epoch + number // every, per_epoch)
        set_rate(self.optimizer, self.rate)
        u, labels, index = self.forward(batch)
        if callable(self.foresee) and batch.whole is not None:
            self.foresee(batch.whole)
        with trusting() if self.look is not None else nullcontext():
            value = self.loss(u, labels, index)
        if first:
            self.optimizer.zero_grad(set_to_none=True)
        together = every * self.feed.batch_size
        rest = self.feed.images - (number // every) * together
        shared = min(together, rest) if every > 1 else batch.size  # images of this step
        # Each process has the gradient of its share, and DistributedDataParallel takes their mean.
        weight = _distributed.world() * batch.size / shared
        self.scaler.scale(value if weight == 1 else value * weight).backward()
        if last:
            self.tried += 1
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return u.detach(), value.detach()

    @property
    def batches(self) -> int:
        """How many batches an epoch really has."""
        return self.feed.steps - self.feed.short

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Outputs (B×K), labels and places of the whole batch, of all processes."""
        form = torch.channels_last if self.config.channels_last else torch.preserve_format
        with devices.autocast(self.precision, self.device):
            u = self.network(batch.images.to(memory_format=form))
        u = _distributed.everyone(u.float(), batch.size)
        labels = _distributed.everyone(batch.labels, batch.size)
        index = batch.places
        if index is not None:
            index = _distributed.everyone(index, batch.size)
        return u, labels, index


def _diverged(what: str, lr: float) -> FloatingPointError:
    return FloatingPointError(f"{what}. A lower `lr` (now {lr:g}) or a look at the images may help.")
