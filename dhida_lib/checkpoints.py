"""A network on disk, and a training run that can go on after a crash (Algorithm 1, §4.2; Chapter 11).

Tensors lie in a safetensors file, everything else in a JSON file beside it (the *card*), which names the
tensor file and its SHA-256, and its own. The tensor file's name holds its hash, so a new version never
replaces the old one's tensors; the card is written next, and from then on the new version counts.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dhida_lib._files import as_json, one_writer, read_card, sha256, write_card, write_hashed
from dhida_lib._validate import bad
from dhida_lib.models import HashNetwork

__all__ = ["load_about", "load_model", "load_state", "save_model", "save_state", "weights_hash"]

FORMAT = 1
STATE = "checkpoint.json"
_STATE_FILE = re.compile(r"epoch-\d{4,}(-[0-9a-f]{16})?\.safetensors")
_STATE_KEYS = ("file", "sha256", "epoch", "optimizer", "about")
_ENDINGS = (".json", ".safetensors")
_NAMED = 5  # differences that a message names


def _save(card: Path, stem: str, tensors: dict[str, Tensor], content: dict[str, Any]) -> Path:
    """Write tensors, then the card that names them; then remove the tensors that only the old card named."""
    as_json(card, content)  # else the card would fail after its tensors were written
    plain = _plain(tensors)
    card.parent.mkdir(parents=True, exist_ok=True)
    with one_writer(card.parent):
        old = _tensors_of(card)
        file, digest = write_hashed(card.with_name(f"{stem}.safetensors"), lambda p: save_file(plain, str(p)))
        write_card(card, {"format": FORMAT, "file": file.name, "sha256": digest, **content})
        if old is not None and old != file and not _named_elsewhere(old, card):
            old.unlink(missing_ok=True)
    return card


def _tensors_of(card: Path) -> Path | None:
    """The tensor file that a card names; None if there is no card, or one that cannot be trusted."""
    try:
        return card.with_name(_read(card, ("file",))["file"])
    except (OSError, ValueError):
        return None


def _named_elsewhere(file: Path, card: Path) -> bool:
    """Whether another JSON file of the folder names this file, such as a copy of its card."""
    name = json.dumps(file.name, ensure_ascii=False).encode()
    others = (other for other in file.parent.glob("*.json") if other != card and other.is_file())
    return any(name in other.read_bytes() for other in others)


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them."""
    return {name: t.detach().cpu().contiguous() for name, t in tensors.items()}


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

    Killed at any moment, the old version is still there, or the new one.

    Args:
        model: the network.
        path: where to: ``NAME.json``, or the same without ending. The tensors go beside it, into
            ``NAME-HASH.safetensors``; those of the version before are removed.
        about: what else to say of it (JSON-able), for example the data set's mean and the run's record.

    Returns:
        The JSON file's path.

    Raises:
        ValueError: if a weight is not a finite number.

    Source: ours; used in Chapters 11 and 13.
    """
    if (name := not_finite(model)) is not None:
        raise bad("model", f"{name} with NaN or infinity", "a network of finite weights")
    card = _model_card(path)
    return _save(card, card.stem, model.state_dict(), {"model": model.config, "about": about or {}})


def load_model(path: str | os.PathLike[str]) -> tuple[HashNetwork, dict[str, Any]]:
    """Load what `save_model` saved.

    Args:
        path: the JSON file, or its name without ending.

    Returns:
        The network (on the CPU, in evaluation mode) and the ``about`` that was saved with it.

    Raises:
        FileNotFoundError: if a file is missing; nothing is ever trained instead.
        ValueError: if a file is damaged or of another format, or a weight is not a finite number.

    Source: ours; used in Chapter 13.
    """
    where = _model_card(path)
    if not where.is_file():
        raise FileNotFoundError(
            f"There is no model at {where}. `python -m dhida_lib train --help` says how to make one."
        )
    content = _read(where, ("file", "sha256", "model"))
    try:
        model = HashNetwork(**{**content["model"], "weights": None})  # the file has all weights
    except TypeError as error:
        raise ValueError(f"{where} is damaged: it describes no network ({error}).") from error
    tensors = _load_tensors(where.parent / content["file"], content["sha256"])
    if differ := _differences(tensors, model.state_dict()):
        raise ValueError(f"{where} is damaged: it describes a network of other weights ({differ}).")
    model.load_state_dict(tensors)
    if (name := not_finite(model)) is not None:
        raise ValueError(f"{where} is no trained network: {name} holds NaN or infinity.")
    return model.eval(), content.get("about", {})


def weights_hash(path: str | os.PathLike[str]) -> str:
    """What tells two models apart: the SHA-256 of a saved network's weights, as its JSON file names it.

    Args:
        path: as for `load_model`, which also checks that the weights have this hash.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or of another format.

    Source: ours; used in Chapter 18.
    """
    return str(_read(_model_card(path), ("file", "sha256", "model"))["sha256"])


def _model_card(path: str | os.PathLike[str]) -> Path:
    """The JSON file of a model's name: only known endings are cut off, so ``lr-0.1`` stays whole."""
    path = Path(path)
    ending = next((e for e in _ENDINGS if path.name.endswith(e) and path.name != e), "")
    return path.with_name(path.name.removesuffix(ending) + ".json")


def not_finite(model: nn.Module) -> str | None:
    """The first weight or running mean that holds NaN or infinity, by name; a GPU is waited for once."""
    tensors = {name: t for name, t in model.state_dict().items() if t.is_floating_point()}
    fine = torch.stack([t.isfinite().all() for t in tensors.values()]).tolist() if tensors else []
    return next((name for name, good in zip(tensors, fine, strict=True) if not good), None)


def _differences(old: dict[str, Tensor], new: dict[str, Tensor]) -> str:
    """Which tensors have other shapes, in words; empty if none."""

    def shape(t: Tensor | None) -> str:
        return "not there" if t is None else "×".join(map(str, t.shape)) or "a number"

    pairs = {name: (shape(old.get(name)), shape(new.get(name))) for name in sorted({*old, *new})}
    told = [f"{name} was {was}, is now {now}" for name, (was, now) in pairs.items() if was != now]
    rest = [f"and {len(told) - _NAMED} more"] if len(told) > _NAMED else []
    return "; ".join(told[:_NAMED] + rest)


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
    content = {"epoch": epoch, "optimizer": numbers, "about": about}
    written = _save(folder / STATE, f"epoch-{epoch:04d}", tensors, content)
    now = _tensors_of(written)
    for left in folder.glob("epoch-*.safetensors"):  # what a run that was killed between two steps left
        if left != now and _STATE_FILE.fullmatch(left.name):
            left.unlink(missing_ok=True)
    return written


def load_about(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read what `save_state` was told of a run, without its tensors.

    Args:
        folder: the run's folder.

    Returns:
        The saved ``about``; ``None`` if the folder has no state yet.

    Raises:
        ValueError: if the JSON file is damaged or of another format.

    Source: ours; built in Chapter 11.
    """
    where = Path(folder) / STATE
    return _read(where, _STATE_KEYS)["about"] if where.is_file() else None


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
        ValueError: if a file is damaged or of another format, or holds the state of another network or loss;
            then nothing has been overwritten.

    Source: ours; built in Chapter 11.
    """
    where = Path(folder) / STATE
    if not where.is_file():
        return None
    content = _read(where, _STATE_KEYS)
    tensors = _load_tensors(where.parent / content["file"], content["sha256"])

    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}

    now = {f"model.{k}": v for k, v in model.state_dict().items()}
    now |= {f"loss.{k}": v for k, v in loss.state_dict().items()}
    old = {name: t for name, t in tensors.items() if not name.startswith("optimizer.")}
    if differ := _differences(old, now):
        raise ValueError(f"{folder} holds the state of another network or loss ({differ}).")
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
    file = content["file"]
    if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
        raise ValueError(f"{where} is damaged: {file!r} is no name of a tensor file beside it.")
    return content
