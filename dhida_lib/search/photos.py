"""Your own pictures: encode a folder, find what looks like an image. Built in Chapter 18.

An index of photos is a `CodeIndex` that also knows the files behind its ids, and the model that made the
codes. Encoding a folder again reads only what is new or has changed. Past one machine the codes go into a
`CodeStore` instead, and several processes share the work.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dhida_lib import _distributed
from dhida_lib._validate import bad, computable, file_path, instance, positive_int, sized
from dhida_lib.data.files import list_images
from dhida_lib.data.images import printable
from dhida_lib.models import HashNetwork, weights_hash
from dhida_lib.search.index import CodeIndex
from dhida_lib.search.store import CodeStore
from dhida_lib.training import pick_device

__all__ = [
    "Encoder",
    "Match",
    "Report",
    "encode_folder",
    "encode_to_store",
    "find_in_store",
    "find_similar",
]

_SAVE = 100  # batches between two savings
_COLUMNS = {"file": str, "bytes": int}


class Match(NamedTuple):
    """One picture that was found.

    Attributes:
        distance: its Hamming distance to the question.
        file: the picture, as it was called when the folder was encoded.
    """

    distance: int
    file: Path


class Report(NamedTuple):
    """What `encode_folder` did.

    Attributes:
        encoded: pictures that were read.
        kept: pictures whose codes were there already.
        removed: codes whose pictures are gone or have changed.
        skipped: files that are no image that can be read, with the reason.
    """

    encoded: int
    kept: int
    removed: int
    skipped: dict[str, str]


class Encoder:
    """A trained network with what must happen to a picture before it.

    Args:
        model: the JSON file that `save_model` wrote.
        device: ``"auto"`` takes a GPU if there is one.

    Attributes:
        bits: length of the codes.
        name: SHA-256 of the weights: codes of two models must not be mixed.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if it is damaged, or does not say what images it was trained on.

    Source: Eq. (15); built in Chapter 18.
    """

    def __init__(self, model: str | os.PathLike[str], device: str = "auto") -> None:
        self.device = pick_device(device)
        self.model = HashNetwork.load(model).to(self.device)
        self.bits: int = self.model.bits
        self.name = weights_hash(model)
        if self.model.preprocess is None:
            raise bad("model", str(model), "a model that says what images it was trained on (`preprocess`)")
        self.preprocess = self.model.preprocess

    def read(self, file: str | os.PathLike[str]) -> Tensor:
        """A picture as the network sees it (float32, C×side×side). Raises as `Preprocess` does."""
        return self.preprocess(file)

    def codes(self, images: Sequence[Tensor]) -> Tensor:
        """Codes of pictures that `read` gave (±1, n×bits, on the CPU).

        Raises:
            ValueError: if there is none, or one of them is no such picture.
        """
        shape = (self.preprocess.channels, self.preprocess.side, self.preprocess.side)
        need = f"pictures as `read` gives them, tensors of shape {shape}"
        if not len(sized("images", images, need)):
            raise bad("images", "none", need)
        for image in images:
            x = instance("images", image, Tensor, need)
            if x.shape != shape or x.dtype != torch.float32 or not computable(x) or x.is_meta:
                raise bad("images", f"shape {tuple(x.shape)} of {x.dtype}, {x.layout}, on {x.device}", need)
        with torch.inference_mode():
            return self.model.codes(torch.stack(list(images)).to(self.device)).cpu()


def encode_folder(
    folder: str | os.PathLike[str],
    model: str | os.PathLike[str],
    index: str | os.PathLike[str],
    device: str = "auto",
    batch_size: int = 64,
    say: Callable[[str], object] = lambda line: None,
) -> Report:
    """Encode the pictures in a folder and below it, and save their index.

    A file that cannot be read is passed over and reported. An index that is there is brought up to date:
    pictures that are not in this folder leave it, so each folder needs an index of its own. It is saved now
    and then, so a killed call goes on.

    Args:
        folder: where the pictures are.
        model: the network's JSON file.
        index: where the index is kept, without suffix.
        device: ``"auto"`` takes a GPU if there is one.
        batch_size: pictures per step.
        say: called with each line of progress.

    Returns:
        What was done.

    Raises:
        FileNotFoundError: if folder or model are not there.
        ValueError: if the folder holds no picture, the index is damaged or was made by another model.
    """
    positive_int("batch_size", batch_size)
    folder, index = _folder(folder), file_path("index", index)
    encoder = Encoder(model, device)
    skipped: dict[str, str] = {}
    now = {path: [state.st_size, state.st_mtime_ns] for path, state in _states(folder, skipped).items()}
    codes = CodeIndex(encoder.bits)
    about: dict[str, Any] = {"model": encoder.name, "files": {}}
    if index.with_name(index.name + ".json").is_file():
        codes, about = _load(index, encoder)
    known: dict[str, list[Any]] = about["files"]  # id → path, size, time
    gone = [i for i, (path, *state) in known.items() if now.get(path) != state]
    codes.remove(np.array([int(i) for i in gone], dtype=np.int64))
    for i in gone:
        del known[i]
    have = {path for path, *_ in known.values()}
    todo = [path for path in now if path not in have]
    done = 0
    for start in range(0, len(todo), batch_size):
        read = _readable(encoder, todo[start : start + batch_size], skipped)
        if read:
            new = codes.add(encoder.codes(list(read.values())))
            known |= {str(i): [path, *now[path]] for i, path in zip(new.tolist(), read, strict=True)}
            done += len(read)
        if len(codes) and (start // batch_size + 1) % _SAVE == 0:
            codes.save(index, about)
            say(f"{min(start + batch_size, len(todo)):,} of {len(todo):,} pictures")
    if not len(codes):
        raise _none_read(folder, skipped)
    codes.save(index, about)
    return Report(done, len(codes) - done, len(gone), skipped)


def _load(index: str | os.PathLike[str], encoder: Encoder) -> tuple[CodeIndex, dict[str, Any]]:
    """An index of photos that this encoder has made, and what it knows of their files."""
    codes, about = CodeIndex.load(index)
    if about.get("model") != encoder.name:
        need = "an index of this model's codes; encode the folder with this model under another name"
        raise bad("index", str(index), need)
    files = about.get("files")
    if not isinstance(files, dict) or files.keys() != {str(i) for i in codes.ids.tolist()}:
        raise ValueError(f"The index {index} is damaged: it does not name one file for each code.")
    return codes, about


def _folder(folder: str | os.PathLike[str]) -> Path:
    """The folder as a path; an empty name would be the folder that one happens to stand in."""
    if not os.fspath(folder):
        raise bad("folder", "''", "the folder of the pictures ('.' for this one)")
    return Path(folder)


def _states(folder: str | os.PathLike[str], skipped: dict[str, str]) -> dict[str, os.stat_result]:
    """Path → size and time of each picture; a name that no index can hold goes into ``skipped``."""
    found: dict[str, os.stat_result] = {}
    for file in list_images(folder):
        path = str(file.absolute())
        try:
            path.encode()
            found[path] = file.stat()
        except UnicodeEncodeError:
            skipped[path] = f"{printable(path)} is passed over: its name is not UTF-8"
        except OSError as error:  # it has gone meanwhile, for example
            skipped[path] = f"{printable(path)} cannot be read: {error.strerror}"
    return found


def _readable(encoder: Encoder, paths: Sequence[str], skipped: dict[str, str]) -> dict[str, Tensor]:
    """Path → picture; what cannot be read goes into ``skipped`` with the reason."""
    read: dict[str, Tensor] = {}
    for path in paths:
        try:
            read[path] = encoder.read(path)
        except Exception as error:  # whatever a damaged file makes its reader raise
            reason = str(error) or type(error).__name__
            name = printable(path)
            skipped[path] = reason if name in reason else f"{name} cannot be read: {reason}"
    return read


def _none_read(folder: str | os.PathLike[str], skipped: dict[str, str]) -> ValueError:
    """The error for a folder without a picture."""
    first = f" The first: {next(iter(skipped.values()))}" if skipped else ""
    return ValueError(
        f"{printable(folder)} holds no picture that can be read ({len(skipped)} files were tried).{first}"
    )


def encode_to_store(
    folder: str | os.PathLike[str],
    model: str | os.PathLike[str],
    uri: str | os.PathLike[str],
    device: str = "auto",
    batch_size: int = 64,
    say: Callable[[str], object] = lambda line: None,
) -> Report:
    """Encode the pictures in a folder and below it into a LanceDB table, with as many processes as there are.

    As `encode_folder`, but for collections past one machine: started by torchrun, each process encodes its
    share and writes it itself, a few batches at a time. A call that was killed goes on: what was written
    stays, and what was not is encoded. Two calls at once do the work twice, and each picture is in the table
    once. Each model has a table of its own, so codes of two never mix.

    Args:
        folder: where the pictures are; every process must see it.
        model: the network's JSON file.
        uri: a folder, or an address of object storage.
        device: ``"auto"`` takes a GPU if there is one.
        batch_size: pictures per step.
        say: called with each line of this process's progress.

    Returns:
        What all processes did together.

    Raises:
        ImportError: if LanceDB is not installed.
        FileNotFoundError: if folder or model are not there.
        ValueError: if the folder holds no picture, or a number is wrong.
    """
    positive_int("batch_size", batch_size)
    _distributed.begin()
    encoder = Encoder(model, device)
    skipped: dict[str, str] = {}
    states = _states(_folder(folder), skipped)
    if not states:
        raise _none_read(folder, skipped)
    ids = {_file_id(path, state): path for path, state in states.items()}
    wanted = np.array(list(ids), dtype=np.int64)
    with _distributed.first_alone():
        store = CodeStore(uri, f"photos-{encoder.name[:16]}", encoder.bits, _COLUMNS)
        removed = store.keep_only(wanted) if _distributed.rank() == 0 else 0
    todo = np.sort(store.missing(wanted))  # the same order for all
    _distributed.collect(None)  # nobody writes before all have looked
    mine = np.array_split(todo, _distributed.world())[_distributed.rank()]
    done = 0
    for start in range(0, len(mine), batch_size * _SAVE):
        part = mine[start : start + batch_size * _SAVE]
        codes: dict[int, Tensor] = {}
        for at in range(0, len(part), batch_size):
            of = {ids[i]: i for i in part[at : at + batch_size].tolist()}
            read = _readable(encoder, list(of), skipped)
            if read:
                made = encoder.codes(list(read.values()))
                codes |= {of[path]: code for path, code in zip(read, made, strict=True)}
        if codes:
            paths = [ids[i] for i in codes]
            numbers = np.array(list(codes), dtype=np.int64)
            lengths = [states[path].st_size for path in paths]
            store.add(torch.stack(list(codes.values())), numbers, file=paths, bytes=lengths)
            done += len(codes)
        say(f"{min(start + len(part), len(mine)):,} of {len(mine):,} pictures")
    parts = _distributed.collect((done, skipped))
    done = sum(part[0] for part in parts)
    if done and _distributed.rank() == 0:
        store.compact()
    skipped = {path: reason for part in parts for path, reason in part[1].items()}
    if not len(store):
        raise _none_read(folder, skipped)
    return Report(done, len(wanted) - len(todo), _distributed.collect(removed)[0], skipped)


def _file_id(path: str, state: os.stat_result) -> int:
    """A number for a file as it is now, another one when it changes: 63 bits, two never meet in practice."""
    digest = hashlib.sha256(f"{path}\t{state.st_size}\t{state.st_mtime_ns}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def find_in_store(
    image: str | os.PathLike[str],
    model: str | os.PathLike[str],
    uri: str | os.PathLike[str],
    k: int = 10,
    where: str | None = None,
    device: str = "auto",
) -> list[Match]:
    """The pictures of a table that are nearest to an image.

    Args:
        image: the question, any image file.
        model: the network's JSON file, the one that made the codes.
        uri: the folder or address, as for `encode_to_store`.
        k: how many at most.
        where: only rows that fit this condition in SQL, over ``file`` and ``bytes``, for example
            ``"file LIKE '%/holiday/%'"``.
        device: ``"auto"`` takes a GPU if there is one.

    Returns:
        The nearest ones first.

    Raises:
        ImportError: if LanceDB is not installed.
        FileNotFoundError: if the image or the model is not there.
        ValueError: if the image cannot be read, a number or the condition is wrong, or there are no codes of
            this model.
    """
    positive_int("k", k)
    encoder = Encoder(model, device)
    question = encoder.codes([encoder.read(image)])  # 1×bits
    store = CodeStore(uri, f"photos-{encoder.name[:16]}", encoder.bits, _COLUMNS, create=False)
    return [Match(row["distance"], Path(row["file"])) for row in store.search(question, k, where)[0]]


def find_similar(
    image: str | os.PathLike[str],
    model: str | os.PathLike[str],
    index: str | os.PathLike[str],
    k: int = 10,
    within: int | None = None,
    only: str | None = None,
    device: str = "auto",
) -> list[Match]:
    """The pictures of an index that are nearest to an image.

    Args:
        image: the question, any image file.
        model: the network's JSON file, the one that made the index.
        index: the index, as for `encode_folder`.
        k: how many at most.
        within: only those within this Hamming radius.
        only: only files whose path fits this pattern, for example ``"*/holiday/*"``.
        device: ``"auto"`` takes a GPU if there is one.

    Returns:
        The nearest ones first.

    Raises:
        FileNotFoundError: if image, model or index are not there.
        ValueError: if the image cannot be read, a number is wrong, or the index is damaged or another
            model's.
    """
    positive_int("k", k)
    if only is not None:
        instance("only", only, str, "a pattern of paths, or None")
    encoder = Encoder(model, device)
    codes, about = _load(index, encoder)
    question = encoder.codes([encoder.read(image)])  # 1×bits
    if within is not None:
        found = codes.within(question, within)[0]
    else:
        found = codes.search(question, len(codes) if only else k)[0]
    pairs = zip(found.distance.tolist(), found.ids.tolist(), strict=True)
    matches = [Match(d, Path(about["files"][str(i)][0])) for d, i in pairs]
    return [m for m in matches if only is None or fnmatch(str(m.file), only)][:k]
