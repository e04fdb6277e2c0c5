"""Files that are whole or absent: written beside their place, then moved; checked by their hash."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "as_json",
    "card_bytes",
    "one_writer",
    "read_card",
    "read_json",
    "sha256",
    "write_atomic",
    "write_card",
    "write_hashed",
    "write_json",
]

CARD_HASH = "card_sha256"
"""The key under which a card holds the hash of everything else in it."""


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomic(path: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Let ``write`` make a temporary file in the same folder, then move it to ``path``.

    A crash at any moment leaves the old file (or none), never half of the new one. What a killed call left
    beside it, the next call for the same path removes.
    """
    path = Path(path)
    with _written(path, write) as temporary:
        os.replace(temporary, path)
    return path


def write_hashed(path: str | os.PathLike[str], write: Callable[[Path], object]) -> tuple[Path, str]:
    """As `write_atomic`, under a name that holds the content's hash: ``a.bin`` becomes ``a-0123….bin``.

    So it replaces no file of another content, and a card can name either the old file or the new one.

    Returns:
        The file, and its SHA-256.
    """
    path = Path(path)
    with _written(path, write) as temporary:
        digest = sha256(temporary)
        file = path.with_name(f"{path.stem}-{digest[:16]}{path.suffix}")
        os.replace(temporary, file)
    return file, digest


@contextmanager
def _written(path: Path, write: Callable[[Path], object]) -> Iterator[Path]:
    """What ``write`` made, in a temporary folder beside ``path``, for the caller to move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    with _folder(path) as folder:
        temporary = folder / path.name
        write(temporary)
        with open(temporary, "rb") as f:
            os.fsync(f.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # some libraries make files that only their owner may read
        yield temporary


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path``, locked while this process uses it, and then removed."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
        lock = _lock(folder, wait=True)
        if folder.is_dir():  # else another writer removed it before it was locked
            break
        _unlock(lock)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unlock(lock)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary folders of dead writers of ``path``; those of living ones are locked."""
    left = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.tmp")
    for name in filter(left.fullmatch, os.listdir(path.parent)):
        folder = path.with_name(name)
        if (lock := _lock(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            _unlock(lock)


def _lock(folder: Path, wait: bool = False) -> int | None:
    """Take a folder's lock, which ends with its process; None if it is taken, or if there are no locks."""
    if fcntl is not None:
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError:
                os.close(handle)
            else:
                return handle
    return None


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Let one process at a time into this block for the folder; the others wait.

    The lock ends with its process. A file system without locks lets everybody in.
    """
    lock = _lock(folder, wait=True)
    try:
        yield
    finally:
        _unlock(lock)


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write ``value`` as readable JSON, whole or not at all; what JSON cannot hold is a ``ValueError``."""
    content = as_json(path, value)
    return write_atomic(path, lambda p: p.write_bytes(content))


def as_json(path: str | os.PathLike[str], value: Any) -> bytes:
    """What `write_json` would write to ``path``."""
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not written: JSON cannot hold its content ({error}).") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; a damaged one is a ``ValueError`` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also endless digits and endless brackets
        raise ValueError(f"{path} is damaged: it is not JSON ({error}).") from error


def write_card(path: str | os.PathLike[str], content: dict[str, Any]) -> Path:
    """Write a JSON file that holds its own hash, whole or not at all; `read_card` checks it.

    Args:
        path: the file to write.
        content: what the card says (JSON-able); the key ``"card_sha256"`` is the hash's.

    Returns:
        The path.
    """
    raw = card_bytes(path, content)
    return write_atomic(path, lambda p: p.write_bytes(raw))


def card_bytes(path: str | os.PathLike[str], content: dict[str, Any]) -> bytes:
    """What `write_card` would write to ``path``."""
    content = {key: value for key, value in content.items() if key != CARD_HASH}
    as_json(path, content)
    return as_json(path, {**content, CARD_HASH: _content_hash(content)})


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `write_card` wrote, or a card that is older than the hash.

    Args:
        path: the JSON file.

    Returns:
        The content, without its hash.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not JSON, is no JSON object, or its content does not have the hash it names.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not one of the library's files: its JSON is no object.")
    said = content.pop(CARD_HASH, None)
    if said is None:  # an old card, unless the damage has hit the name of the hash
        damaged = any(
            isinstance(value, str) and value == _content_hash({k: v for k, v in content.items() if k != key})
            for key, value in content.items()
        )
    else:
        damaged = said != _content_hash(content)
    if damaged:
        raise ValueError(
            f"{path} is damaged: its SHA-256 is not the one written in it. Make or get it again."
        )
    return content


def _content_hash(content: dict[str, Any]) -> str:
    """SHA-256 of what JSON keeps of a content, whatever the order of its keys and the spaces between."""
    kept = json.loads(json.dumps(content))  # keys become strings, tuples lists
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
