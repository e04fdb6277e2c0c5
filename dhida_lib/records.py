"""What a run measured, under which protocol: one JSON file per run (tables and figures are drawn from them).

Built in Chapter 11, used in Chapters 13 to 16.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from dhida_lib._files import read_card, sha256, write_card
from dhida_lib._validate import bad, instance
from dhida_lib.config import RunConfig, TrainConfig, nested

__all__ = ["Record", "as_recorded", "load_record", "load_records", "machine", "save_record", "weights_name"]

_KINDS: dict[str, Any] = {
    **dict.fromkeys(("config", "protocol", "metrics", "machine"), dict),
    **dict.fromkeys(("version", "created", "note"), str),
    "history": list,
    "seconds": (int, float),
}


@dataclass(frozen=True)
class Record:
    """One run's result, with all that is needed to judge and to repeat it.

    Args:
        config: the run's settings, part → setting → value (a `RunConfig` as a dictionary).
        protocol: the data: set, protocol, sizes, split seed, k (`RetrievalData.protocol_record`).
        metrics: the dictionary of `metrics.evaluate`: expected mAP with its bounds, curves, P@H≤2, tie rule.
        history: one row per epoch (`History.epochs`).
        seconds: training time in seconds.
        machine: the machine, in words (`machine`).
        version: version of dhida_lib.
        created: when, in UTC (ISO 8601).
        note: anything else that a reader must know, for example which weights the backbone started from.
    """

    config: dict[str, Any]
    protocol: dict[str, Any]
    metrics: dict[str, Any]
    history: list[dict[str, float]]
    seconds: float
    machine: dict[str, Any]
    version: str
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    note: str = ""

    @property
    def run(self) -> RunConfig:
        """The run's settings, checked.

        Raises:
            ValueError: if one is wrong, or names what is not known here, such as a loss of somebody else.
        """
        return RunConfig.from_dict(self.config)


def as_recorded(config: RunConfig) -> dict[str, Any]:
    """Settings as a record has them: a file of weights by its content, a folder by its last part, and
    without what one session was told of itself (`TrainConfig.SESSION`).

    Args:
        config: the run.

    Returns:
        Part → setting → value.

    Raises:
        FileNotFoundError: if the file of weights is not there.
        ValueError: if ``config`` is no `RunConfig`.
    """
    settings = instance("config", config, RunConfig, "a RunConfig").as_dict()
    settings["network"]["weights"] = weights_name(config.network.weights)
    folder = config.data.folder
    settings["data"]["folder"] = None if folder is None else Path(folder).name
    usual = TrainConfig()
    settings["training"] |= {name: getattr(usual, name) for name in TrainConfig.SESSION}
    return settings


def weights_name(weights: str | None) -> str | None:
    """What a record says of a backbone's start.

    Args:
        weights: as `RunConfig` has it, or what a record said.

    Returns:
        A file by its name and content, not by its place on this machine; the rest as it is.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if ``weights`` is no text.
    """
    if weights is not None:
        instance("weights", weights, str, "None, 'imagenet' or the path of a file")
    if weights is None or weights == "imagenet" or re.fullmatch(r".+ \(SHA-256 [0-9a-f]{16}\)", weights):
        return weights
    if not Path(weights).is_file():
        raise FileNotFoundError(
            f"There are no weights at {weights}. `python -m dhida_lib pretrain` makes some."
        )
    state = Path(weights).stat()
    return _named(weights, state.st_size, state.st_mtime_ns)


@lru_cache
def _named(file: str, size: int, time: int) -> str:
    """Hashed once for each state of a file."""
    return f"{Path(file).name} (SHA-256 {sha256(file)[:16]})"


def machine() -> dict[str, Any]:
    """Describe the machine in words that mean something to a stranger; no host name, no path.

    Returns:
        Processor (two of one name but of another family or model round differently), its cores, threads that
        torch uses and the vector instructions it found, GPU (or None), versions of Python and torch.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """The processor's name, family and model where the system tells them, else its architecture."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.is_file() else ""
    lines = {
        k: re.search(rf"^{k}\s*:\s*(.+)$", text, re.MULTILINE) for k in ("model name", "cpu family", "model")
    }
    if name := lines["model name"]:
        rest = [f"{k.split()[-1]} {m[1].strip()}" for k, m in lines.items() if m and m != name]
        return name[1].strip() + (f" ({', '.join(rest)})" if rest else "")
    return platform.processor() or platform.machine()


def save_record(record: Record, path: str | os.PathLike[str]) -> Path:
    """Write a record as JSON that holds its own hash, whole or not at all.

    Args:
        record: what was measured.
        path: the file to write.

    Returns:
        The path.

    Raises:
        ValueError: if ``record`` is none, or JSON cannot hold it.
    """
    instance("record", record, Record, "a Record")
    return write_card(path, asdict(record))


def load_record(path: str | os.PathLike[str]) -> Record:
    """Read one record.

    Args:
        path: the JSON file.

    Returns:
        The record. A setting that did not exist when it was written has its default.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or is no record.
    """
    content = read_card(path)
    names = {f.name for f in fields(Record)}
    if set(content) != names:
        raise ValueError(f"{path} is not a record: it needs exactly the keys {', '.join(sorted(names))}.")
    for name, kind in _KINDS.items():
        if not isinstance(content[name], kind):
            raise ValueError(f"{path} is not a record: its {name} is {content[name]!r:.80}.")
    return Record(**{**content, "config": nested(content["config"])})


def load_records(folder: str | os.PathLike[str], **config: Any) -> list[Record]:
    """Read the records of a folder.

    Args:
        folder: where the JSON files lie (not below).
        config: keep only records whose config has these values, e.g. ``bits=16``.

    Returns:
        The records in the order of their file names; an empty list if there is none.

    Raises:
        ValueError: if ``folder`` is not a folder, or a file is damaged or is no record.
    """
    if not Path(folder).is_dir():
        raise bad("folder", str(folder), "a folder of records")
    records = [load_record(path) for path in sorted(Path(folder).glob("*.json"))]
    wanted = nested(config, complete=False)
    parts = [(part, name, v) for part, values in wanted.items() for name, v in values.items()]
    return [r for r in records if all(r.config[part].get(name) == v for part, name, v in parts)]
