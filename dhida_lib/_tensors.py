"""Tensors in a file, and a JSON file (the *card*) beside it that names the file and its hash.

The tensor file's name holds its hash, so a new version never replaces the old one's tensors. The card is
written next, and from then on the new version counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dhida_lib._files import as_json, one_writer, read_card, sha256, write_card, write_hashed
from dhida_lib._validate import file_path

__all__ = [
    "card_path",
    "differences",
    "file_of",
    "named_elsewhere",
    "not_finite",
    "plain",
    "read",
    "send",
    "write",
]

FORMAT = 1
_ENDINGS = (".json", ".safetensors")
_NAMED = 5  # differences that a message names


def card_path(path: str | os.PathLike[str]) -> Path:
    """The card of a name: only known endings are cut off, so ``lr-0.1`` stays whole."""
    path = file_path("path", path)
    ending = next((e for e in _ENDINGS if path.name.endswith(e) and path.name != e), "")
    return path.with_name(path.name.removesuffix(ending) + ".json")


def write(card: Path, name: str, save: Callable[[Path], object], content: dict[str, Any]) -> Path:
    """Let ``save`` write the file ``name`` (with its hash in it), then the card; remove what only the old
    card named.
    """
    as_json(card, content)  # else the card would fail after its tensors were written
    card.parent.mkdir(parents=True, exist_ok=True)
    with one_writer(card.parent):
        old = _named_by(card)
        file, digest = write_hashed(card.with_name(name), save)
        write_card(card, {"format": FORMAT, "file": file.name, "sha256": digest, **content})
        if old is not None and old != file and not named_elsewhere(old, card):
            old.unlink(missing_ok=True)
    return card


def read(card: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    """Read a card of ours and make sure that it is one."""
    content = read_card(card)
    if content.get("format") != FORMAT:
        raise ValueError(f"{card} is not a checkpoint of format {FORMAT} of dhida_lib.")
    missing = [key for key in ("file", "sha256", *needed) if key not in content]
    if missing:
        raise ValueError(f"{card} is damaged: it lacks {', '.join(missing)}.")
    file = content["file"]
    if not isinstance(file, str) or Path(file).name != file or not file.endswith((".safetensors", ".pt")):
        raise ValueError(f"{card} is damaged: {file!r} is no name of a tensor file beside it.")
    return content


def file_of(card: Path, content: dict[str, Any]) -> Path:
    """The tensor file that a card names, if it is there and whole."""
    path = card.parent / content["file"]
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, though {path.parent} has the JSON file that names it.")
    if sha256(path) != content["sha256"]:
        raise ValueError(
            f"{path} is damaged: its SHA-256 is not the one written beside it. Make or get it again."
        )
    return path


def send(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; from the host to a GPU by way of pinned memory, so that nobody waits for it."""
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as a file takes them."""
    return {name: t.detach().cpu().contiguous() for name, t in tensors.items()}


def _named_by(card: Path) -> Path | None:
    """The tensor file that a card names; None if there is no card, or one that cannot be trusted."""
    try:
        return card.with_name(read(card, ())["file"])
    except (OSError, ValueError):
        return None


def named_elsewhere(file: Path, card: Path) -> bool:
    """Whether another JSON file of the folder names this file, such as a copy of its card."""
    name = json.dumps(file.name, ensure_ascii=False).encode()
    others = (other for other in file.parent.glob("*.json") if other != card and other.is_file())
    return any(name in other.read_bytes() for other in others)


def not_finite(model: nn.Module) -> str | None:
    """The first weight or running mean that holds NaN or infinity, by name; a GPU is waited for once."""
    tensors = {name: t for name, t in model.state_dict().items() if t.is_floating_point()}
    fine = torch.stack([t.isfinite().all() for t in tensors.values()]).tolist() if tensors else []
    return next((name for name, good in zip(tensors, fine, strict=True) if not good), None)


def differences(old: dict[str, Tensor], new: dict[str, Tensor]) -> str:
    """Which tensors have other shapes, in words; empty if none."""

    def shape(t: Tensor | None) -> str:
        return "not there" if t is None else "×".join(map(str, t.shape)) or "a number"

    pairs = {name: (shape(old.get(name)), shape(new.get(name))) for name in sorted({*old, *new})}
    changed = [f"{name} was {was}, is now {now}" for name, (was, now) in pairs.items() if was != now]
    rest = [f"and {len(changed) - _NAMED} more"] if len(changed) > _NAMED else []
    return "; ".join(changed[:_NAMED] + rest)
