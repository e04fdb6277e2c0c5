"""A training run that can go on after a crash: its newest state on disk (Algorithm 1, §4.2; Chapter 11).

A state is a file of tensors and a card that names it by its hash. On a disk the new state is written beside
the old one, which is then removed. Google's Drive, mounted as a folder, would keep each removed file in its
bin, and the bin counts: 150 states of 96 MB fill a free account. There two states take turns, each written
over the one before the last; Drive keeps older revisions of a file for a while and does
not count them (Google, Drive API v3, `files.quotaBytesUsed`; Chapter 12).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dhida_lib import _tensors
from dhida_lib._files import as_json, card_bytes
from dhida_lib.config import TrainConfig

__all__ = ["load_about", "load_state", "same_run", "save_state"]

STATE = "checkpoint.json"
SLOTS = ("checkpoint-a.json", "checkpoint-b.json")
"""The cards of the two states that take turns where files are written in place."""
_FILE = re.compile(r"epoch-\d{4,}(-[0-9a-f]{16})?\.(pt|safetensors)")
_NEEDED = ("epoch", "about")


def save_state(
    folder: str | os.PathLike[str],
    model: nn.Module,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    about: dict[str, Any],
    scaler: Any = None,
    in_place: bool | None = None,
) -> Path:
    """Save everything that a run needs to go on after ``epoch`` epochs.

    Args:
        folder: the run's folder; it keeps only the newest state, or the newest two that take turns.
        model: the network.
        loss: the loss, whose buffers (the bank of codes) are part of the state.
        optimizer: the optimizer, with its running averages.
        epoch: how many epochs are done.
        about: the run's settings and history (JSON-able).
        scaler: what scales the loss in float16; None: nothing does.
        in_place: write over files that are there; None: where the folder lies on Google's Drive.

    Returns:
        The JSON file's path.
    """
    folder = Path(folder)
    state = _state(model, loss, optimizer, scaler)
    content = {"epoch": epoch, "about": about}
    if on_drive(folder) if in_place is None else in_place:
        return _write_in_place(folder, state, content)
    name = f"epoch-{epoch:04d}.pt"
    card = _tensors.write(folder / STATE, name, lambda path: torch.save(state, path), content)
    now = _tensors.read(card, _NEEDED)["file"]
    for left in folder.glob("epoch-*"):  # what a run that was killed between two steps left
        if left.name != now and _FILE.fullmatch(left.name):
            left.unlink(missing_ok=True)
    return card


def _state(
    model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any
) -> dict[str, Any]:
    parts = {"model": model, "loss": loss, "optimizer": optimizer}
    state = {name: part.state_dict() for name, part in parts.items()}  # type: ignore[attr-defined]
    return state if scaler is None else {**state, "scaler": scaler.state_dict()}


def state_bytes(
    model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any = None
) -> int:
    """How many bytes of tensors a state has; its file is a little larger.

    Args:
        model: as in `save_state`.
        loss: as in `save_state`.
        optimizer: as in `save_state`; before its first step it has no averages yet.
        scaler: as in `save_state`.

    Returns:
        The number of bytes.
    """
    left: list[Any] = [_state(model, loss, optimizer, scaler)]
    total = 0
    while left:
        item = left.pop()
        if isinstance(item, torch.Tensor):
            total += item.nbytes
        elif isinstance(item, dict):
            left += item.values()
        elif isinstance(item, (list, tuple)):
            left += item
    return total


def on_drive(folder: str | os.PathLike[str], mounts: str | None = None) -> bool:
    """Does a folder lie on Google's Drive, as Colab mounts it?

    Args:
        folder: the folder; it need not exist.
        mounts: the system's table of mounts, as ``/proc/mounts`` has it; None reads it, if there is one.

    Returns:
        True if it lies under a mount of type ``fuse.drive``, or under ``/content/drive``.
    """
    table = Path("/proc/mounts")
    if mounts is None:
        mounts = table.read_text(encoding="utf-8", errors="replace") if table.is_file() else ""
    lines = [line.split() for line in mounts.splitlines()]
    drives = [Path(line[1].replace("\\040", " ")) for line in lines if line[2:3] == ["fuse.drive"]]
    place = Path(folder).expanduser().resolve()
    return any(place.is_relative_to(drive) for drive in [*drives, Path("/content/drive")])


def _write_in_place(folder: Path, state: dict[str, Any], content: dict[str, Any]) -> Path:
    """Write a state over the older one of two. A crash at any moment leaves the other one whole."""
    as_json(folder / SLOTS[0], content)
    folder.mkdir(parents=True, exist_ok=True)
    newest = _newest(folder)
    card = folder / SLOTS[1 if newest is not None and newest[0].name == SLOTS[0] else 0]
    raw = io.BytesIO()
    torch.save(state, raw)
    file, digest = card.with_suffix(".pt"), hashlib.sha256(raw.getbuffer()).hexdigest()
    named = {"format": _tensors.FORMAT, "file": file.name, "sha256": digest, **content}
    for path, data in ((file, raw.getbuffer()), (card, card_bytes(card, named))):
        with open(path, "r+b" if path.exists() else "wb") as out:
            out.write(data)
            out.truncate()
            out.flush()
            os.fsync(out.fileno())
    return card


def _newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Card and content of the newest state of a folder; None if there is none.

    Of two that take turns, one that is not whole does not count while the other is.
    """
    found, wrong = [], []
    for name in (STATE, *SLOTS):
        card = folder / name
        if not card.is_file():
            continue
        try:
            content = _tensors.read(card, _NEEDED)
            if name in SLOTS:
                _tensors.file_of(card, content)
            found.append((card, content))
        except (ValueError, FileNotFoundError) as error:
            wrong.append((name, error))
    broken = [error for name, error in wrong if name not in SLOTS or not found]
    if broken:
        raise broken[0]
    return max(found, key=lambda pair: int(pair[1]["epoch"])) if found else None


def load_about(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read what `save_state` was told of a run, without its tensors.

    Args:
        folder: the run's folder.

    Returns:
        The saved ``about``; ``None`` if the folder has no state yet.

    Raises:
        ValueError: if the JSON file is damaged or of another format.
    """
    newest = _newest(Path(folder))
    return None if newest is None else newest[1]["about"]


def load_state(
    folder: str | os.PathLike[str],
    model: nn.Module,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: Any = None,
) -> tuple[int, dict[str, Any]] | None:
    """Bring a run back to where `save_state` left it. Nothing in the file is executed.

    Args:
        folder: the run's folder.
        model: a network of the same shape; its weights are overwritten.
        loss: a loss of the same kind; its buffers are overwritten.
        optimizer: an optimizer over the network's parameters; its state is overwritten.
        scaler: what scales the loss in float16; its state is overwritten if the file has one.

    Returns:
        How many epochs are done, and the saved ``about``; ``None`` if the folder has no state yet.

    Raises:
        FileNotFoundError: if the tensors are missing.
        ValueError: if a file is damaged or of another format, or holds the state of another network or loss;
            then nothing has been overwritten.
    """
    newest = _newest(Path(folder))
    if newest is None:
        return None
    where, content = newest
    file = _tensors.file_of(where, content)
    if file.suffix != ".pt":
        raise ValueError(
            f"{folder} holds a state of an earlier version; choose another folder, or remove it."
        )
    state = torch.load(file, map_location="cpu", weights_only=True)
    for name, part in (("model", model), ("loss", loss)):
        if differ := _tensors.differences(state[name], part.state_dict()):
            raise ValueError(f"{folder} holds the state of another network or loss ({differ}).")
    groups = state["optimizer"]["param_groups"], optimizer.param_groups
    was, now = ([len(group["params"]) for group in own] for own in groups)
    if was != now:
        differ = f"groups of {was} tensors, now {now}"
        raise ValueError(f"{folder} holds the state of another optimizer ({differ}).")
    model.load_state_dict(state["model"])
    loss.load_state_dict(state["loss"])
    optimizer.load_state_dict(state["optimizer"])
    if scaler is not None and scaler.is_enabled() and state.get("scaler"):  # else it starts anew
        scaler.load_state_dict(state["scaler"])
    return int(content["epoch"]), content["about"]


def same_run(saved: dict[str, Any], now: dict[str, Any], folder: str | os.PathLike[str]) -> None:
    """Refuse to go on with a state that another run left.

    Args:
        saved: what `load_about` gave.
        now: the settings of the run that wants to go on.
        folder: where the state lies, for the message.

    Raises:
        ValueError: if a setting differs, or `train` did not write the state; the message names each.
    """
    run = saved.get("run")
    if not isinstance(run, dict) or "history" not in saved:
        raise ValueError(f"{folder} holds a state that `train` did not write. Choose another folder.")
    usual = {k: v for k, v in asdict(TrainConfig()).items() if k in now}  # of settings that are younger
    old, new = _flat({**usual, **run}), _flat(now)
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
