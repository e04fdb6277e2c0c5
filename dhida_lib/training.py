"""Algorithm 1: from images to a trained hash network (§3.5 and §4.2; built in Chapters 11 and 12).

The trainer knows networks and losses only through their call. It draws every random number of an epoch from
the pair (seed, epoch), so a run that was killed and resumed is the same run as one that never stopped.
"""

from __future__ import annotations

import json
import math
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dhida_lib import _distributed, checkpoints
from dhida_lib._validate import bad, choice, instance, positive, positive_int, seed_int, tensor
from dhida_lib.data import AUGMENTATIONS, Split, batches
from dhida_lib.quantization import piecewise, quantization_error, sign

__all__ = [
    "PRECISIONS",
    "Callback",
    "History",
    "TrainConfig",
    "bit_balance",
    "encode",
    "learning_rate",
    "outputs",
    "pick_device",
    "seed_everything",
    "train",
]

PRECISIONS = ("float32", "bfloat16")
"""The names that `TrainConfig` takes for ``precision``."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are the paper's where it gives a value (§4.2), else the field's.

    The last five are about speed and memory. At their defaults they change nothing; a state that was saved
    before they existed counts as one with the defaults.

    Args:
        epochs: passes over the training images; the paper does not say, 150 is usual in the field.
        batch_size: images per step.
        lr: RMSProp's learning rate.
        weight_decay: L2 penalty that RMSProp adds to every gradient.
        schedule: ``"constant"`` (the paper names no other) or ``"cosine"``: down to 0 at the last step.
        warmup: epochs during which the rate rises linearly from 0; may be a fraction.
        augment: what happens to training images, one of ``dhida_lib.data.AUGMENTATIONS``.
        seed: decides order, augmentation and dropout.
        device: ``"auto"`` takes a GPU if there is one.
        precision: ``"float32"``, or ``"bfloat16"``: autocast of the network. Weights, their gradients, the
            loss and its bank stay float32.
        channels_last: keep images and maps as B×H×W×C in memory. Not for a narrow network of a width below 8
            on a CPU, where PyTorch can crash.
        compile: let `torch.compile` translate the network; needs a C++ compiler, and a width as above.
        accumulate: batches per optimizer step. The step's gradient is the mean over all their images, but a
            loss and a batch normalisation see one batch at a time.
        data_on_device: copy the training images to the device once, as bytes, instead of batch by batch.

    Raises:
        ValueError: if a value is wrong.

    Source: §4.2; built in Chapter 11, the last five in Chapter 12.
    """

    epochs: int = 150
    batch_size: int = 128
    lr: float = 5e-5
    weight_decay: float = 1e-5
    schedule: str = "constant"
    warmup: float = 0.0
    augment: str = "none"
    seed: int = 0
    device: str = "auto"
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    accumulate: int = 1
    data_on_device: bool = False

    def __post_init__(self) -> None:
        positive_int("epochs", self.epochs)
        positive_int("batch_size", self.batch_size)
        positive("lr", self.lr)
        positive("weight_decay", self.weight_decay, zero=True)
        choice("schedule", self.schedule, ("constant", "cosine"))
        positive("warmup", self.warmup, zero=True)
        choice("augment", self.augment, AUGMENTATIONS)
        seed_int("seed", self.seed)
        _device(self.device)
        choice("precision", self.precision, PRECISIONS)
        for name in ("channels_last", "compile", "data_on_device"):
            if not isinstance(value := getattr(self, name), bool):
                raise bad(name, value, "True or False")
        positive_int("accumulate", self.accumulate)


@dataclass
class History:
    """What a run wrote down: one dictionary per epoch, in order.

    Args:
        epochs: the rows; every row has ``epoch`` (from 1), ``loss``, ``lr``, ``bit_balance``,
            ``quantization_error`` and ``seconds``; ``alpha`` and ``beta`` where the network has attention;
            and what callbacks added.

    Source: ours; built in Chapter 11.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """Read one quantity over the run.

        Args:
            name: for example ``"loss"``.

        Returns:
            The epochs that have it, and its values.

        Raises:
            ValueError: if no epoch has it.

        Source: ours; built in Chapter 11.
        """
        rows = [row for row in self.epochs if name in row]
        if not rows:
            known = sorted({key for row in self.epochs for key in row})
            raise bad("name", name, "one of " + ", ".join(known))
        return [row["epoch"] for row in rows], [row[name] for row in rows]

    @property
    def seconds(self) -> float:
        """Time spent in the epochs, in seconds, over all sessions of the run."""
        return sum(row["seconds"] for row in self.epochs)


class Callback:
    """Something that watches a run. Both methods do nothing here; override what you need.

    Source: ours; built in Chapter 11.
    """

    def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """Called after every batch.

        Args:
            epoch: the current epoch, from 1.
            batch: the batch within it, from 1.
            batches: batches per epoch.
            loss: the batch's loss.

        Source: ours; built in Chapter 11.
        """

    def on_epoch(self, row: dict[str, float], model: nn.Module) -> None:
        """Called after every epoch, before the checkpoint is written.

        Args:
            row: the epoch's row of the history; what is added to it is kept.
            model: the network, in training mode.

        Source: ours; built in Chapter 11.
        """


def pick_device(device: str = "auto") -> torch.device:
    """Turn a device's name into a device.

    Args:
        device: ``"auto"`` (a GPU if there is one) or a name that torch knows, such as ``"cuda:1"``.

    Returns:
        The device.

    Raises:
        ValueError: if torch does not know the name or has no such device.

    Source: ours; used in Chapter 11.
    """
    found = _device(device)
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise bad("device", device, "'auto' or a device that torch finds here") from error
    return found


def _device(name: str) -> torch.device:
    """The device of this name, here or on another machine."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    need = "'auto' or a device that torch finds, such as 'cpu' or 'cuda:1'"
    try:
        found = torch.device(instance("device", name, str, need))
    except RuntimeError as error:
        raise bad("device", name, need) from error
    if found.type == "meta":  # it computes nothing
        raise bad("device", name, need)
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


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step.

    Args:
        config: base rate, schedule, warm-up and number of epochs.
        step: the optimizer's step, from 0, over the whole run.
        steps_per_epoch: the optimizer's steps in one epoch.

    Returns:
        The rate.

    Raises:
        ValueError: if there is no step in an epoch.

    Source: §4.2 has a constant rate; built in Chapter 11.
    """
    positive_int("steps_per_epoch", steps_per_epoch)
    total, warm = config.epochs * steps_per_epoch, config.warmup * steps_per_epoch
    rate = config.lr if warm == 0 else config.lr * min(1.0, (step + 1) / warm)
    if config.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * step / total))
    return rate


def bit_balance(codes: Tensor) -> float:
    """How far each bit is from being +1 for half of the images.

    Args:
        codes: ±1 codes (n×K).

    Returns:
        mean over bits of |mean over images|: 0 if every bit is balanced, 1 if every bit is constant.

    Raises:
        ValueError: if ``codes`` is no such table, or an empty one.

    Source: the aim of Eq. (12), measured; built in Chapter 11.
    """
    codes = tensor("codes", codes)
    if codes.ndim != 2 or codes.numel() == 0 or codes.is_complex():
        raise bad("codes", f"shape {tuple(codes.shape)} of {codes.dtype}", "codes n×K, not empty")
    codes = codes.to(torch.promote_types(codes.dtype, torch.float32))
    return float(codes.mean(dim=0).abs().mean())


def outputs(model: nn.Module, split: Split, batch_size: int | None = None) -> Tensor:
    """The network's outputs u for all images of a split.

    Args:
        model: the network; it is put into evaluation mode and back.
        split: the images.
        batch_size: images per step; None: what is fast, 32 on a CPU (its cache is small) and 500 elsewhere.

    Returns:
        u (n×K) on the CPU, float32. With several processes each computes its share, and all get the whole.

    Raises:
        ValueError: if an output is not a finite number, as after a training that diverged; if ``batch_size``
            is wrong.

    Source: Eq. (14); built in Chapter 11.
    """
    device = next(model.parameters()).device
    mine = torch.arange(len(split)).tensor_split(_distributed.world())[_distributed.rank()]
    usual = 32 if device.type == "cpu" else 500
    size = usual if batch_size is None else positive_int("batch_size", batch_size)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = [model(split.batch(i, device=device)[0]).float() for i in mine.split(size)]
    finally:
        model.train(training)
    u = _distributed.everyone(torch.cat(parts), len(split)).cpu()  # n×K
    if not u.isfinite().all():
        raise bad(
            "model", "one whose outputs hold NaN or infinity", "a network whose training did not diverge"
        )
    return u


def encode(model: nn.Module, split: Split, batch_size: int | None = None) -> Tensor:
    """The codes of all images of a split: sign(u).

    Args:
        model: the network; it is put into evaluation mode and back.
        split: the images.
        batch_size: images per step; None: as `outputs`.

    Returns:
        ±1 codes (n×K) on the CPU.

    Raises:
        ValueError: as `outputs`.

    Source: Eq. (15); built in Chapter 11.
    """
    return sign(outputs(model, split, batch_size))


def train(
    model: nn.Module,
    loss: nn.Module,
    split: Split,
    config: TrainConfig,
    callbacks: Sequence[Callback] = (),
    folder: str | os.PathLike[str] | None = None,
    about: dict[str, Any] | None = None,
) -> History:
    """Algorithm 1. The model and the loss are changed in place; the state after the last epoch counts.

    Started by torchrun, several processes share each batch (``batch_size`` is that of all together). The loss
    is computed over all their outputs, so bank and balance term are those of one process. Batch normalisation
    sees the whole batch on GPUs, and each process's share on CPUs.

    Args:
        model: the network, already initialised (`seed_everything` first).
        loss: called as ``loss(u, labels, index)``; its ``start_epoch(epoch, epochs)`` is called too, if it
            has one.
        split: the training images.
        config: how to train.
        callbacks: what watches.
        folder: where to keep the newest state; if it has one, the run goes on from there.
        about: what else identifies the run (JSON-able); a state of another run is refused.

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
    _distributed.begin()
    device = pick_device(config.device)
    network = _prepare(model, config, device)
    loss.to(device).train()
    if config.data_on_device:
        split = _on_device(split, device)
    # RMSprop has no fused form; on a GPU torch takes foreach, one kernel for many tensors, by itself.
    optimizer = torch.optim.RMSprop(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    history = History()
    run = {"config": {k: v for k, v in asdict(config).items() if k != "device"}, "about": about or {}}
    first = 0
    if folder is not None and (saved := checkpoints.load_about(folder)) is not None:
        _same_run(saved, run, folder)
        if found := checkpoints.load_state(folder, model, loss, optimizer):
            first, history.epochs = found[0], found[1]["history"]
    for epoch in range(first, config.epochs):
        row = _one_epoch(model, network, loss, optimizer, split, config, epoch, callbacks)
        _distributed.share_buffers(model)
        if (name := checkpoints.not_finite(model)) is not None:
            what = f"The weights hold NaN or infinity after epoch {epoch + 1} ({name})"
            raise FloatingPointError(f"{what}. {_advice(row['lr'])}")
        for callback in callbacks:
            callback.on_epoch(row, model)
        history.epochs.append(row)
        with _distributed.first_alone():
            if folder is not None and _distributed.rank() == 0:
                state = {"run": run, "history": history.epochs}
                checkpoints.save_state(folder, model, loss, optimizer, epoch + 1, state)
    return history


def _prepare(model: nn.Module, config: TrainConfig, device: torch.device) -> Callable[[Tensor], Tensor]:
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


def _on_device(split: Split, device: torch.device) -> Split:
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


def _one_epoch(
    model: nn.Module,
    network: Callable[[Tensor], Tensor],
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    split: Split,
    config: TrainConfig,
    epoch: int,
    callbacks: Iterable[Callback],
) -> dict[str, float]:
    """One pass over the training images, and the row that describes it."""
    start = time.perf_counter()
    device = next(model.parameters()).device
    if callable(begin := getattr(loss, "start_epoch", None)):
        begin(epoch, config.epochs)
    steps = math.ceil(len(split) / config.batch_size)
    world, rank = _distributed.world(), _distributed.rank()
    rest = len(split) % config.batch_size
    few = 0 < rest < 2 * world and steps > 1  # batch normalisation has no variance over one image
    used = len(split) - rest * few  # such a last batch is left out
    updates, together = math.ceil(steps / config.accumulate), config.accumulate * config.batch_size
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    total, seen, lr = 0.0, 0, config.lr
    produced: list[Tensor] = []
    gpus = [device] if device.type == "cuda" else []
    form = torch.channels_last if config.channels_last else torch.preserve_format
    with torch.random.fork_rng(devices=gpus):  # dropout draws from the global generators
        torch.manual_seed(config.seed * 1_000_003 + epoch + 7919 * rank)
        loader = batches(
            split, config.batch_size, True, generator, config.augment, (rank, world), not few, device
        )
        if gpus:
            loader = _ahead(loader)
        for step, (images, labels, index) in enumerate(loader):
            size = min(config.batch_size, len(split) - step * config.batch_size)  # of all processes
            update = step // config.accumulate
            lr = learning_rate(config, epoch * updates + update, updates)
            for group in optimizer.param_groups:
                group["lr"] = lr
            with _autocast(config, device):
                u = network(images.to(device, memory_format=form))  # B×K
            u = _distributed.everyone(u.float(), size)
            labels, index = (_distributed.everyone(x.to(device), size) for x in (labels, index))
            value = loss(u, labels, index)
            if not torch.isfinite(value):
                raise FloatingPointError(
                    f"The loss is {value.item()} in epoch {epoch + 1}, step {step + 1}. {_advice(lr)}"
                )
            if step % config.accumulate == 0:
                optimizer.zero_grad(set_to_none=True)
            shared = min(together, used - update * together)  # images of this optimizer step
            # Each process has the gradient of its share, and DistributedDataParallel takes their mean.
            weight = world * size / shared
            (value if weight == 1 else value * weight).backward()
            produced.append(u.detach())
            total, seen = total + value.item() * size, seen + size
            if (step + 1) % config.accumulate == 0 or seen == used:
                optimizer.step()
            for callback in callbacks:
                callback.on_batch(epoch + 1, step + 1, steps, value.item())
    u = torch.cat(produced)  # n×K, as the network gave them in the course of the epoch
    fine = u.isfinite().all(dim=1)  # n; looked at here, since each look makes a GPU wait
    if not fine.all():
        step = int(fine.int().argmin()) // config.batch_size + 1
        raise FloatingPointError(
            f"An output holds NaN or infinity in epoch {epoch + 1}, step {step}. {_advice(lr)}"
        )
    row = {
        "epoch": epoch + 1,
        "loss": total / seen,
        "lr": lr,
        "bit_balance": bit_balance(sign(u)),
        "quantization_error": float(quantization_error(piecewise(u))),
    }
    for name, parameter in model.named_parameters():
        if name.endswith((".alpha", ".beta")):
            row[name.rsplit(".", 1)[1]] = parameter.item()
    row["seconds"] = time.perf_counter() - start
    return row


def _advice(lr: float) -> str:
    return f"A lower `lr` (now {lr:g}) or a look at the images may help."


def _ahead(items: Iterator[Any], depth: int = 2) -> Iterator[Any]:
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


def _autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[Any]:
    """Where the network computes: as it is, or with autocast."""
    if config.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _same_run(saved: dict[str, Any], now: dict[str, Any], folder: str | os.PathLike[str]) -> None:
    """Refuse to go on with a state that another run left. A setting that it does not name had its default."""
    run = saved.get("run")
    if not isinstance(run, dict) or not {"config", "about"} <= set(run) or "history" not in saved:
        raise ValueError(f"{folder} holds a state that `train` did not write. Choose another folder.")
    defaults = {k: v for k, v in asdict(TrainConfig()).items() if k != "device"}
    old = _flat({**defaults, **run["config"], **run["about"]})
    new = _flat({**now["config"], **now["about"]})
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    if keys:
        differ = "; ".join(f"{key} was {old.get(key)!r}, is now {new.get(key)!r}" for key in keys)
        raise ValueError(
            f"{folder} holds another run's state ({differ}). Choose another folder, or remove this one."
        )


def _flat(settings: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Settings as JSON keeps them, those of a dictionary by names such as ``data.seed``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[above + str(name)] = json.loads(json.dumps(value))
    return flat
