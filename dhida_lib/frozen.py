"""Maps of a frozen backbone, kept on disk: a head then trains in seconds an epoch (Chapter 16).

A map depends on three things: the frozen weights, the preprocessing, and the picture's bytes. Weights and
preprocessing name a folder of the cache; in it a picture is known by the hash of its bytes, so every split of
every seed finds what another has computed. Maps are kept in half precision, in files of some thousand, which
are written beside their place, moved when whole, and never changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dhida_lib._files import read_card, sha256, write_atomic, write_card
from dhida_lib._validate import bad, instance
from dhida_lib.data import Preprocess, RetrievalData, Split
from dhida_lib.models import HashNetwork, Head

__all__ = ["MapSplit", "cached_maps", "with_maps"]

_SEGMENT = 4096  # maps in one file
_CHECKED = 4 << 30  # bytes that are hashed in a few seconds
_IN_MEMORY = 1 << 30  # bytes of a training set's maps that are copied into memory
_BATCH = 32

Say = Callable[[str], object]


class MapSplit:
    """Maps with labels: what a `Split` is to a network, this is to its `Head`.

    Args:
        files: the maps, memory-mapped, float16, each m×C×h×w.
        file: which of them holds an image's map (n,).
        row: the row in it (n,).
        labels: class ids (n,) or multi-hot rows (n×c).
        indices: as in `Split`.
        preprocess: what happened to the images.
    """

    def __init__(
        self,
        files: list[Tensor],
        file: Tensor,
        row: Tensor,
        labels: Tensor,
        indices: Tensor,
        preprocess: Preprocess,
    ) -> None:
        self.files, self.file, self.row = files, file, row
        self.labels, self.indices, self.preprocess = labels, indices, preprocess

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, indices: Any, corners: None = None, device: torch.device | None = None, flips: None = None
    ) -> tuple[Tensor, Tensor]:
        """Read several maps at once.

        Args:
            indices: positions (B).
            corners: None, as images that are cut elsewhere have other maps.
            device: where the maps go; None: the CPU.
            flips: None, as mirrored images have other maps.

        Returns:
            Maps (float16, B×C×h×w) and labels.

        Raises:
            ValueError: if images are to be changed.
        """
        if flips is not None or corners is not None:
            raise bad(
                "augment", "a change of the images", "'none' with cached maps, which are of whole images"
            )
        at = torch.as_tensor(indices)
        first = self.files[0]
        if len(self.files) == 1:
            maps = first[self.row[at]]
            return (maps if device is None else maps.to(device)), self.labels[at]
        maps = torch.empty(len(at), *first.shape[1:], dtype=first.dtype)
        for number, part in enumerate(self.files):
            here = self.file[at] == number
            maps[here] = part[self.row[at[here]]]
        return (maps if device is None else maps.to(device)), self.labels[at]

    def in_memory(self) -> MapSplit:
        """The same maps in their own order in memory: a batch is then one gather.

        Returns:
            A split of one file, or this one where its maps take more than a gigabyte.
        """
        if 2 * len(self) * self.files[0][0].numel() > _IN_MEMORY:
            return self
        rows = torch.arange(len(self))
        maps = self.batch(rows)[0]
        return MapSplit([maps], torch.zeros_like(rows), rows, self.labels, self.indices, self.preprocess)


def with_maps(
    model: HashNetwork,
    data: RetrievalData,
    cache: str | os.PathLike[str] | None = None,
    say: Say | None = None,
) -> tuple[Head, RetrievalData]:
    """Put cached maps in the place of images: what is trained and measured then is the network's `Head`.

    Args:
        model: a network with a frozen part.
        data: the images.
        cache: folder of the cache; None is ``$DHIDA_CACHE``, or else ``~/.cache/dhida``.
        say: called with each line of progress; None prints it to standard error.

    Returns:
        The head, which shares the network's weights, and the data with a `MapSplit` for each split.

    Raises:
        ValueError: if nothing is frozen, the disk has too little room, or a file is damaged.
    """
    instance("data", data, RetrievalData, "the data, as `load_dataset` gives them")
    splits: dict[str, Any] = {
        part: cached_maps(model, getattr(data, part), cache, say) for part in ("train", "query", "database")
    }
    splits["train"] = splits["train"].in_memory()  # each of them is read in every epoch
    return Head(model), replace(data, **splits)


def cached_maps(
    model: HashNetwork, split: Split, cache: str | os.PathLike[str] | None = None, say: Say | None = None
) -> MapSplit:
    """The frozen part's maps of all images of a split, computed where they are not on disk yet.

    The size is said before. A call that was killed goes on.

    Args:
        model: a network with a frozen part.
        split: the images.
        cache: folder of the cache; None is ``$DHIDA_CACHE``, or else ``~/.cache/dhida``.
        say: called with each line of progress; None prints it to standard error.

    Returns:
        The maps, with the split's labels.

    Raises:
        ValueError: if nothing is frozen, a map does not fit into half precision, the disk has too little
            room, or a file is damaged.
    """
    instance("model", model, HashNetwork, "a HashNetwork with `frozen`")
    instance("split", split, Split, "a Split")
    say = say or (lambda line: print(line, file=sys.stderr))
    usual = os.environ.get("DHIDA_CACHE") or Path.home() / ".cache" / "dhida"
    home = Path(usual if cache is None else cache).expanduser()
    folder = home / f"maps-{_key(model, split)}"
    names = _names(split)
    known = _known(folder)
    todo: dict[str, int] = {name: i for i, name in enumerate(names) if name not in known}
    if todo:
        _compute(model, split, todo, folder, say)
        known = _known(folder)
    files = sorted({file for file, _ in known.values()})
    tensors = [_opened(folder / file) for file in files]
    number = {file: i for i, file in enumerate(files)}
    places = torch.tensor([(number[known[n][0]], known[n][1]) for n in names])  # n×2
    labels, indices = split.labels.cpu(), split.indices.cpu()
    return MapSplit(tensors, places[:, 0], places[:, 1], labels, indices, split.preprocess)


def _key(model: HashNetwork, split: Split) -> str:
    """What the maps depend on beside the picture."""
    digest = hashlib.sha256(json.dumps(split.preprocess.as_dict(), sort_keys=True).encode())
    for name, module in model.frozen_parts():
        for key, value in module.state_dict().items():
            digest.update(f"{name}.{key}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def _names(split: Split) -> list[str]:
    """Each picture's hash."""
    rows = range(len(split)) if split.rows is None else split.rows.tolist()
    each = (split.pixels[i].cpu().numpy().tobytes() for i in rows)
    return [hashlib.blake2b(image, digest_size=16).hexdigest() for image in each]


def _known(folder: Path) -> dict[str, tuple[str, int]]:
    """Picture → its file and row, from the cards of all files that are whole."""
    known: dict[str, tuple[str, int]] = {}
    for card in sorted(folder.glob("*.json")):
        for row, name in enumerate(read_card(card)["images"]):
            known[name] = (card.stem, row)
    return known


def _opened(base: Path) -> Tensor:
    """A file of maps, mapped into memory, after a look whether it is whole."""
    content = read_card(base.with_suffix(".json"))
    file, shape = base.with_suffix(".maps"), content["shape"]
    size = int(np.prod(shape))
    whole = file.is_file() and file.stat().st_size == 2 * size
    if not whole or (2 * size <= _CHECKED and sha256(file) != content["sha256"]):
        raise ValueError(f"{file} is damaged. Remove it and {base.name}.json; its maps are made again.")
    try:
        return torch.from_file(str(file), shared=False, size=size, dtype=torch.float16).view(shape)
    except RuntimeError as error:  # of a name that is not UTF-8, for one
        text = f"a folder whose files torch can map into memory ({error})"
        raise bad("cache", str(file.parent), text) from error


def _compute(model: HashNetwork, split: Split, todo: dict[str, int], folder: Path, say: Say) -> None:
    """Compute maps, and write them a file at a time."""
    device = next(model.parameters()).device
    folder.mkdir(parents=True, exist_ok=True)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            one = model.frozen_map(split.batch([0], device=device)[0])
            form = "×".join(map(str, one.shape[1:]))
            need, free = 2 * one.numel() * len(todo), shutil.disk_usage(folder).free
            say(f"{len(todo):,} maps of {form} take {need / 1e6:,.0f} MB in {folder}")
            if need > free:
                raise ValueError(
                    f"{folder} has only {free / 1e6:,.0f} MB free. Set DHIDA_CACHE to another folder."
                )
            names = list(todo)
            for first in range(0, len(names), _SEGMENT):
                part = names[first : first + _SEGMENT]
                rows = torch.tensor([todo[name] for name in part])
                maps = torch.cat(
                    [model.frozen_map(split.batch(at, device=device)[0]).cpu() for at in rows.split(_BATCH)]
                )
                if not maps.isfinite().all():
                    raise bad("frozen", "maps beyond half precision", "a part whose maps stay below 65,504")
                _write(folder, part, maps)
                if first + _SEGMENT < len(names):
                    say(f"{first + len(part):,} of {len(names):,} maps")
    finally:
        model.train(training)


def _write(folder: Path, names: list[str], maps: Tensor) -> None:
    """Write one file of maps, then the card that makes it count."""
    content = maps.numpy().tobytes()
    digest = hashlib.sha256(content).hexdigest()
    file = write_atomic(folder / f"{digest[:16]}.maps", lambda path: path.write_bytes(content))
    write_card(file.with_suffix(".json"), {"images": names, "shape": list(maps.shape), "sha256": digest})
