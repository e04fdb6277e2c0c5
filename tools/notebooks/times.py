"""How long each chapter runs: what `time` measures and writes."""

from __future__ import annotations

import datetime
import json
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path

import nbformat

from .house import House, write_atomic
from .stored import sync


def machine() -> str:
    """This machine in words, without names that only its owner knows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    words = f"{cores} CPU core{'s' * (cores > 1)} ({platform.machine()}, {platform.system()})"
    try:
        import torch

        gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    except ImportError:
        gpu = None
    return f"{words} and one {gpu}" if gpu else f"{words}, no GPU"


def measure(path: Path) -> float:
    """Seconds to run a notebook from a fresh kernel to its last cell."""
    from nbclient import NotebookClient

    with open(path, encoding="utf-8") as file:
        nb = nbformat.read(file, as_version=4)
    start = time.perf_counter()
    NotebookClient(nb, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    return time.perf_counter() - start


def time_notebooks(paths: Iterable[Path], house: House) -> int:
    """Run notebooks, keep their times, rewrite their run-time rows. Returns how many failed."""
    os.environ["DHIDA_STATIC"] = "1"
    records = house.root / "data" / "records" / "runtimes.json"
    today, failed = datetime.date.today().isoformat(), 0
    for path in paths:
        try:
            seconds = measure(path)
        except Exception as error:
            print(f"{path.name}: failed: {str(error).strip().splitlines()[-1]}", flush=True)
            failed += 1
            continue
        print(f"{path.name}: {seconds:.1f} s", flush=True)
        house.runtimes = json.loads(records.read_text(encoding="utf-8")) if records.is_file() else {}
        house.runtimes[path.name] = {"seconds": round(seconds, 1), "machine": machine(), "date": today}
        write_atomic(records, json.dumps(house.runtimes, indent=1, sort_keys=True) + "\n")
        sync([path], house)
    return failed
