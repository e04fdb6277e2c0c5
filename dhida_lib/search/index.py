"""Search by code: packed codes, exact nearest neighbours and balls by FAISS. Built in Chapter 17.

A code of K bits takes ⌈K/8⌉ bytes. `CodeIndex` keeps codes and ids, which can be added, removed, saved and
loaded, and lets FAISS search them: a linear scan for nearest neighbours, and for small balls hash tables that
are exact by the pigeonhole principle. FAISS's conventions (radius exclusive, K a multiple of 8) stay inside.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from dhida_lib import _tensors
from dhida_lib._files import one_writer, read_card, read_json, sha256, write_card, write_hashed
from dhida_lib._validate import about_dict, bad, file_path, instance, positive_int, whole
from dhida_lib.metrics.histograms import are_signs, as_values

__all__ = ["CodeIndex", "Found", "pack", "unpack"]

FORMAT = "dhida-codes"
VERSION = 1
_KEYS = {"file": str, "sha256": str, "bits": int, "lists": int, "probes": int, "codes": int, "about": dict}
_PARTS = 3  # substrings of a code in the hash tables: with f flips each, a radius of 3·(f + 1) − 1 is exact
_FLIPS = 1  # more flips, and a table is asked hundreds of times: the scan is as fast then
_TABLES_FROM = 4096  # codes from which tables beat the scan
_KEY = 64  # bits of a key in FAISS's tables
_LAST_ID = 2**63 - 1

ArrayLike = Tensor | NDArray[Any]


class Found(NamedTuple):
    """What one query found, nearest first; equal distances by id.

    Attributes:
        distance: Hamming distances (int64, n).
        ids: the codes' ids (int64, n).
    """

    distance: NDArray[np.int64]
    ids: NDArray[np.int64]


def pack(codes: ArrayLike) -> NDArray[np.uint8]:
    """±1 codes as bytes, eight bits each; the last byte is filled with zeros.

    Args:
        codes: codes of ±1 (n×K).

    Returns:
        Bytes (uint8, n×⌈K/8⌉), the first bit of a code highest: what FAISS's binary indexes read.

    Raises:
        ValueError: if ``codes`` holds other values or has another shape.

    Example:
        >>> import numpy as np
        >>> pack(np.array([[1, -1, -1, -1, -1, -1, -1, 1]]))
        array([[129]], dtype=uint8)
    """
    x = as_values("codes", codes)
    if x.ndim != 2 or x.shape[1] == 0:
        raise bad("codes", f"shape {tuple(x.shape)}", "codes (n×bits)")
    if x.dtype == torch.bool or x.is_complex() or not are_signs(x):
        raise bad("codes", f"other values ({x.dtype})", "codes of −1 and +1 only; apply `sign` first")
    return np.packbits((x > 0).cpu().numpy(), axis=1)


def _packed(name: str, codes: ArrayLike, bits: int) -> NDArray[np.uint8]:
    """Pack codes that must have so many bits."""
    x = as_values(name, codes)
    if x.ndim != 2 or x.shape[1] != bits:
        raise bad(name, f"shape {tuple(x.shape)}", f"codes n×{bits}")
    return pack(x)


def as_ids(ids: ArrayLike) -> NDArray[np.int64]:
    """Ids as integers of 64 bits (n,).

    Raises:
        ValueError: if ``ids`` are not integers between −2⁶³ and 2⁶³; a mask of truth values is none.
    """
    need = "integers (n,)"
    try:
        array = ids.cpu().numpy() if isinstance(ids, Tensor) else np.asarray(ids)
    except (TypeError, ValueError, RuntimeError) as error:
        raise bad("ids", type(ids).__name__, need) from error
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):  # an empty list has no kind
        raise bad("ids", f"shape {array.shape} of {array.dtype}", need)
    if array.size and (array.max() > _LAST_ID or array.min() < -_LAST_ID):  # SQL cannot write −2⁶³
        raise bad("ids", max(int(array.max()), int(array.min()), key=abs), "integers between −2⁶³ and 2⁶³")
    return array.astype(np.int64)


def unpack(packed: NDArray[np.uint8], bits: int) -> NDArray[np.int8]:
    """The inverse of `pack`.

    Args:
        packed: bytes (uint8, n×⌈K/8⌉).
        bits: K.

    Returns:
        Codes of ±1 (int8, n×K).

    Raises:
        ValueError: if the bytes do not hold codes of ``bits`` bits.

    Example:
        >>> import numpy as np
        >>> unpack(np.array([[129]], dtype=np.uint8), bits=8)
        array([[ 1, -1, -1, -1, -1, -1, -1,  1]], dtype=int8)
    """
    size = -(-positive_int("bits", bits) // 8)
    need = f"bytes n×{size} for codes of {bits} bits"
    if instance("packed", packed, np.ndarray, need).dtype != np.uint8 or packed.shape[1:] != (size,):
        raise bad("packed", f"shape {packed.shape} of {packed.dtype}", need)
    return np.unpackbits(packed, axis=1, count=bits).astype(np.int8) * 2 - 1


class CodeIndex:
    """Codes of K bits with ids, and their search by Hamming distance.

    Nearest neighbours come from a scan of all codes, exact. A ball comes from three hash tables, one for each
    third of the code: two codes that differ in at most 2 bits agree in at least one third, so three look-ups
    find all of them (and with one flipped bit in each third, up to radius 5). Of a third that is longer than
    64 bits the tables know 64, which is as exact. Larger balls, few codes and short codes are scanned.

    With ``lists`` the nearest neighbours are approximate: the codes are sorted into so many clusters, and a
    query looks into the ``probes`` nearest ones.

    FAISS's structures are built at the first search after a change.

    Args:
        bits: K, any positive number.
        lists: number of clusters; 0 for the exact scan.
        probes: clusters that a query looks into.

    Raises:
        ValueError: if a number is wrong.

    Source: §1's "O(1)"; built in Chapter 17.
    """

    def __init__(self, bits: int, lists: int = 0, probes: int = 16) -> None:
        self.bits, self.probes = positive_int("bits", bits), positive_int("probes", probes)
        self.lists = whole("lists", lists)
        self.packed: NDArray[np.uint8] = np.zeros((0, -(-bits // 8)), np.uint8)
        self.ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self._built: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, codes: ArrayLike, ids: ArrayLike | None = None) -> NDArray[np.int64]:
        """Add codes.

        Args:
            codes: codes of ±1 (n×K).
            ids: their ids (n,), integers ≥ 0 that the index does not hold; None counts on from the largest.

        Returns:
            The ids.

        Raises:
            ValueError: if codes or ids are wrong; nothing is added then.
        """
        packed = _packed("codes", codes, self.bits)
        if ids is None:
            first = int(self.ids.max()) + 1 if len(self) else 0
            if first + len(packed) > _LAST_ID + 1:
                raise bad("ids", None, f"given: the index holds id {first - 1:,}, and ids end below 2⁶³")
            new = first + np.arange(len(packed), dtype=np.int64)
        else:
            new = as_ids(ids)
            if len(new) != len(packed):
                raise bad("ids", f"{len(new)} of them", f"one for each of the {len(packed)} codes")
            if len(np.unique(new)) < len(new) or (new < 0).any() or np.isin(new, self.ids).any():
                raise bad("ids", "ids that repeat, are in the index or negative", "new ids ≥ 0, each once")
        self.packed, self.ids = np.concatenate([self.packed, packed]), np.concatenate([self.ids, new])
        self._built.clear()
        return new

    def remove(self, ids: ArrayLike) -> int:
        """Remove codes.

        Args:
            ids: the ids to remove (n,); unknown ones are passed over.

        Returns:
            How many were removed.

        Raises:
            ValueError: if ``ids`` are not integers; a mask of truth values is none.
        """
        keep = ~np.isin(self.ids, as_ids(ids))
        removed = int((~keep).sum())
        if removed:
            self.packed, self.ids = self.packed[keep], self.ids[keep]
            self._built.clear()
        return removed

    def search(self, codes: ArrayLike, k: int) -> list[Found]:
        """The k nearest codes of each query.

        Many codes may share the last distance. Which of them come back is FAISS's choice; the distances are
        right in any case.

        Args:
            codes: queries of ±1 (nq×K).
            k: how many; more than the index holds means all.

        Returns:
            One `Found` for each query.

        Raises:
            ValueError: if codes or k are wrong, or the index is empty.
            ImportError: if FAISS is not installed.

        Source: §1; built in Chapter 17.
        """
        queries = self._queries(codes)
        k = min(positive_int("k", k), len(self))
        index = self._index("clusters" if self.lists else "scan")
        if self.lists:
            index.nprobe = min(self.probes, index.nlist)
        distance, rows = index.search(queries, k)  # nq×k
        return [self._found(d[r >= 0], r[r >= 0]) for d, r in zip(distance, rows, strict=True)]

    def within(self, codes: ArrayLike, radius: int = 2) -> list[Found]:
        """All codes within a Hamming radius of each query, exactly.

        Args:
            codes: queries of ±1 (nq×K).
            radius: the largest distance that counts, ≥ 0.

        Returns:
            One `Found` for each query; it may be empty.

        Raises:
            ValueError: if codes or radius are wrong, or the index is empty.
            ImportError: if FAISS is not installed.

        Source: §4.2's P@H≤2; built in Chapter 17.
        """
        queries = self._queries(codes)
        radius = min(whole("radius", radius), self.bits)  # no two codes are farther apart
        flips = radius // _PARTS
        tables = flips <= _FLIPS and self.bits >= 8 * _PARTS and len(self) >= _TABLES_FROM
        index = self._index("tables" if tables else "scan")
        if tables:
            index.nflip = flips
        limits, distance, rows = index.range_search(queries, radius + 1)  # FAISS's radius is exclusive
        starts = limits.astype(np.int64)
        return [self._found(distance[a:b], rows[a:b]) for a, b in pairwise(starts)]

    def save(self, path: str | os.PathLike[str], about: dict[str, Any] | None = None) -> Path:
        """Write the index as two files: the codes, then ``path.json``, which names them and their hash.

        Killed at any moment, the old index is still there, or the new one. Of two processes that save the
        same index at once, one waits; the later one's codes stay.

        Args:
            path: where, without suffix.
            about: what else belongs to it (JSON-able), such as the model that made the codes.

        Returns:
            The JSON file's path.

        Raises:
            ValueError: if ``path.json`` is there and is no index.
        """
        path, about = file_path("path", path), about_dict(about)
        card = path.with_name(path.name + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"packed": torch.from_numpy(self.packed), "ids": torch.from_numpy(self.ids)}
        with one_writer(path.parent):
            old = _codes_of(card)
            file, digest = write_hashed(
                path.with_name(path.name + ".safetensors"), lambda p: save_file(tensors, str(p))
            )
            content = {
                "format": FORMAT,
                "version": VERSION,
                "file": file.name,
                "sha256": digest,
                "bits": self.bits,
                "lists": self.lists,
                "probes": self.probes,
                "codes": len(self),
                "about": about,
            }
            write_card(card, content)
            for left in _superseded(path, old):
                if left != file and not _tensors.named_elsewhere(left, card):
                    with suppress(OSError):  # the next one tries again
                        left.unlink()
        return card

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> tuple[CodeIndex, dict[str, Any]]:
        """Read an index that `save` wrote.

        Args:
            path: as for `save`, or the JSON file.

        Returns:
            The index and its ``about``.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file is damaged, of another kind or of a newer version.
        """
        path = file_path("path", path)
        path = path if path.suffix == ".json" else path.with_name(path.name + ".json")
        while True:
            card = _read(path)
            index = cls(card["bits"], card["lists"], card["probes"])
            try:
                tensors = load_file(str(_tensors.file_of(path, card)))
            except FileNotFoundError:
                if _read(path) == card:
                    raise
                continue  # a writer has put a new index into its place
            index.packed, index.ids = (
                tensors.get(name, torch.zeros(0)).numpy() for name in ("packed", "ids")
            )
            n, kinds = card["codes"], (index.packed.dtype, index.ids.dtype)
            if (
                index.packed.shape != (n, -(-index.bits // 8))
                or kinds != (np.uint8, np.int64)
                or len(index) != n
            ):
                raise ValueError(f"{path} is damaged: its file does not hold {n} codes of {index.bits} bits.")
            return index, card["about"]

    def _queries(self, codes: ArrayLike) -> NDArray[np.uint8]:
        if not len(self):
            raise ValueError("The index is empty: `add` codes before searching.")
        return _packed("codes", codes, self.bits)

    def _found(self, distance: NDArray[Any], rows: NDArray[Any]) -> Found:
        """Ids for FAISS's rows, sorted by distance and id."""
        distance, ids = distance.astype(np.int64), self.ids[rows]
        order = np.lexsort((ids, distance))
        return Found(distance[order], ids[order])

    def _index(self, kind: str) -> Any:
        """FAISS's structure of this kind, built if something changed."""
        if kind in self._built:
            return self._built[kind]
        try:
            import faiss
        except ImportError as error:
            raise ImportError("Search needs FAISS: pip install faiss-cpu") from error
        size = 8 * self.packed.shape[1]  # FAISS counts whole bytes; the filling is equal everywhere
        index: Any
        if kind == "scan":
            index = faiss.IndexBinaryFlat(size)
        elif kind == "tables":
            index = faiss.IndexBinaryMultiHash(size, _PARTS, min(self.bits // _PARTS, _KEY))
        else:
            coarse = faiss.IndexBinaryFlat(size)
            index = faiss.IndexBinaryIVF(coarse, size, min(self.lists, len(self)))
            index.train(self.packed)
            self._built["coarse"] = coarse  # FAISS keeps only a pointer to it
        index.add(self.packed)
        self._built[kind] = index
        return index


def _read(path: Path) -> dict[str, Any]:
    """An index's card."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no index at {path}. `python -m dhida_lib encode` makes one.")
    card = read_card(path)
    if card.get("format") != FORMAT:
        raise ValueError(f"{path} is not an index of codes: its format is not {FORMAT!r}.")
    if card.get("version") != VERSION:
        raise ValueError(f"{path} has version {card.get('version')}; this library reads version {VERSION}.")
    if lacking := [key for key, kind in _KEYS.items() if not isinstance(card.get(key), kind)]:
        raise ValueError(f"{path} is damaged: {', '.join(lacking)} must be there and of its type.")
    return card


def _codes_of(card: Path) -> str | None:
    """The name of the file that the card names, None without a card. What is no card must not be lost."""
    if not card.exists():
        return None
    try:
        content = read_json(card)
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise bad("path", str(card.with_suffix("")), f"another name: {card.name} is there and is no index")
    return str(content.get("file"))


def _superseded(path: Path, old: str | None) -> list[Path]:
    """Codes of older versions of this index: those that the old card named, and what killed savings left.

    A file is known by its name, which holds the hash of its content. So another's is never taken for one.
    """
    ours = re.compile(rf"{re.escape(path.name)}-([0-9a-f]{{8,16}})\.safetensors")
    found = []
    for file in path.parent.iterdir():
        with suppress(OSError):  # what cannot be read is not ours
            hit = ours.fullmatch(file.name)
            if hit and file.is_file() and (file.name == old or sha256(file).startswith(hit[1])):
                found.append(file)
    return found
