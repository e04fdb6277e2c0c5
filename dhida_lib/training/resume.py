"""A training run that can go on after a crash: its newest state on disk (Algorithm 1, §4.2; Chapter 11)."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dhida_lib import _tensors
from dhida_lib.config import TrainConfig

__all__ = ["load_about", "load_state", "same_run", "save_state"]

STATE = "checkpoint.json"
_FILE = re.compile(r"epoch-\d{4,}(-[0-9a-f]{16})?\.(pt|safetensors)")
_NEEDED = ("epoch", "about")


def save_state(
    folder: str | os.PathLike[str],
    model: nn.Module,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    about: dict[str, Any],
) -> Path:
    """Save everything that a run needs to go on after ``epoch`` epochs.

    Args:
        folder: the run's folder; it keeps only the newest state.
        model: the network.
        loss: the loss, whose buffers (the bank of codes) are part of the state.
        optimizer: the optimizer, with its running averages.
        epoch: how many epochs are done.
        about: the run's settings and history (JSON-able).

    Returns:
        The JSON file's path.
    """
    folder = Path(folder)
    parts = {"model": model, "loss": loss, "optimizer": optimizer}
    state = {name: part.state_dict() for name, part in parts.items()}  # type: ignore[attr-defined]
    card = _tensors.write(
        folder / STATE,
        f"epoch-{epoch:04d}.pt",
        lambda path: torch.save(state, path),
        {"epoch": epoch, "about": about},
    )
    now = _tensors.read(card, _NEEDED)["file"]
    for left in folder.glob("epoch-*"):  # what a run that was killed between two steps left
        if left.name != now and _FILE.fullmatch(left.name):
            left.unlink(missing_ok=True)
    return card


def load_about(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read what `save_state` was told of a run, without its tensors.

    Args:
        folder: the run's folder.

    Returns:
        The saved ``about``; ``None`` if the folder has no state yet.

    Raises:
        ValueError: if the JSON file is damaged or of another format.
    """
    where = Path(folder) / STATE
    return _tensors.read(where, _NEEDED)["about"] if where.is_file() else None


def load_state(
    folder: str | os.PathLike[str], model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Any]] | None:
    """Bring a run back to where `save_state` left it. Nothing in the file is executed.

    Args:
        folder: the run's folder.
        model: a network of the same shape; its weights are overwritten.
        loss: a loss of the same kind; its buffers are overwritten.
        optimizer: an optimizer over the network's parameters; its state is overwritten.

    Returns:
        How many epochs are done, and the saved ``about``; ``None`` if the folder has no state yet.

    Raises:
        FileNotFoundError: if the tensors are missing.
        ValueError: if a file is damaged or of another format, or holds the state of another network or loss;
            then nothing has been overwritten.
    """
    where = Path(folder) / STATE
    if not where.is_file():
        return None
    content = _tensors.read(where, _NEEDED)
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
