"""Files that are whole or absent: written beside their place, then moved; checked by their hash."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["read_card", "read_json", "sha256", "write_atomic", "write_card", "write_json"]

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

    A crash at any moment leaves the old file (or none), never half of the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with open(temporary, "rb") as f:
            os.fsync(f.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner may read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write ``value`` as readable JSON, whole or not at all."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return write_atomic(path, lambda p: p.write_text(text, encoding="utf-8"))


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
    content = {key: value for key, value in content.items() if key != CARD_HASH}
    return write_json(path, {**content, CARD_HASH: _content_hash(content)})


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
