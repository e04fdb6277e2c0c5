"""A network on disk, and a training run that can go on after a crash (Algorithm 1, §4.2; Chapter 11).

Tensors lie in a safetensors file, everything else in a JSON file beside it, which names the tensor file and
its SHA-256, and its own. The JSON file is written last: as long as it is the old one, the old state counts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dhida_lib._files import read_card, sha256, write_atomic, write_card
from dhida_lib.models import HashNetwork

__all__ = ["load_model", "load_state", "save_model", "save_state"]

FORMAT = 1
STATE = "checkpoint.json"


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> str:
    """Write tensors atomically and return the file's SHA-256."""
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_atomic(path, lambda p: save_file(plain, str(p)))
    return sha256(path)


def _load_tensors(path: Path, expected: str) -> dict[str, Tensor]:
    """Read tensors from a file whose hash is known."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, though {path.parent} has the JSON file that names it.")
    if sha256(path) != expected:
        raise ValueError(
            f"{path} is damaged: its SHA-256 is not the one written beside it. Make or get it again."
        )
    return load_file(str(path))


def save_model(model: HashNetwork, path: str | os.PathLike[str], about: dict[str, Any] | None = None) -> Path:
    """Save a network so that `load_model` rebuilds it without knowing anything else.

    Args:
        model: the network.
        path: where to; with the ending ``.safetensors`` it gets the tensors, with ``.json`` the rest.
        about: what else to say of it (JSON-able), for example the data set's mean and the run's record.

    Returns:
        The JSON file's path.

    Source: ours; used in Chapters 11 and 13.
    """
    tensors = Path(path).with_suffix(".safetensors")
    digest = _save_tensors(dict(model.state_dict()), tensors)
    content = {
        "format": FORMAT,
        "file": tensors.name,
        "sha256": digest,
        "model": model.config,
        "about": about or {},
    }
    return write_card(tensors.with_suffix(".json"), content)


def load_model(path: str | os.PathLike[str]) -> tuple[HashNetwork, dict[str, Any]]:
    """Load what `save_model` saved.

    Args:
        path: the JSON file, the safetensors file, or their common name without ending.

    Returns:
        The network (on the CPU, in evaluation mode) and the ``about`` that was saved with it.

    Raises:
        FileNotFoundError: if a file is missing; nothing is ever trained instead.
        ValueError: if a file is damaged or of another format.

    Source: ours; used in Chapter 13.
    """
    where = Path(path).with_suffix(".json")
    if not where.is_file():
        raise FileNotFoundError(
            f"There is no model at {where}. `python -m dhida_lib train --help` says how to make one."
        )
    content = _read(where, ("file", "sha256", "model"))
    model = HashNetwork(**{**content["model"], "weights": None})  # the file has all weights
    tensors = _load_tensors(where.parent / content["file"], content["sha256"])
    model.load_state_dict(tensors)
    return model.eval(), content.get("about", {})


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

    Source: ours; built in Chapter 11.
    """
    folder = Path(folder)
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"loss.{k}": v for k, v in loss.state_dict().items()}
    numbers: dict[str, Any] = {}
    for i, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{i}.{key}"] = value
            else:
                numbers[f"{i}.{key}"] = value
    file = folder / f"epoch-{epoch:04d}.safetensors"
    digest = _save_tensors(tensors, file)
    content = {
        "format": FORMAT,
        "file": file.name,
        "sha256": digest,
        "epoch": epoch,
        "optimizer": numbers,
        "about": about,
    }
    written = write_card(folder / STATE, content)
    for old in folder.glob("epoch-*.safetensors"):
        if old != file:
            old.unlink()
    return written


def load_state(
    folder: str | os.PathLike[str], model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Any]] | None:
    """Bring a run back to where `save_state` left it.

    Args:
        folder: the run's folder.
        model: a network of the same shape; its weights are overwritten.
        loss: a loss of the same kind; its buffers are overwritten.
        optimizer: an optimizer over the network's parameters; its state is overwritten.

    Returns:
        How many epochs are done, and the saved ``about``; ``None`` if the folder has no state yet.

    Raises:
        FileNotFoundError: if the tensors are missing.
        ValueError: if a file is damaged or of another format.

    Source: ours; built in Chapter 11.
    """
    where = Path(folder) / STATE
    if not where.is_file():
        return None
    content = _read(where, ("file", "sha256", "epoch", "optimizer", "about"))
    tensors = _load_tensors(where.parent / content["file"], content["sha256"])

    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}

    model.load_state_dict(part("model."))
    loss.load_state_dict(part("loss."))
    state: dict[int, dict[str, Any]] = {}
    for name, value in (part("optimizer.") | content["optimizer"]).items():
        i, key = name.split(".", 1)
        state.setdefault(int(i), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(content["epoch"]), content["about"]


def _read(where: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    """Read a JSON file of ours and make sure that it is one."""
    content = read_card(where)
    if content.get("format") != FORMAT:
        raise ValueError(f"{where} is not a checkpoint of format {FORMAT} of dhida_lib.")
    missing = [key for key in needed if key not in content]
    if missing:
        raise ValueError(f"{where} is damaged: it lacks {', '.join(missing)}.")
    return content
