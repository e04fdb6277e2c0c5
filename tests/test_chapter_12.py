"""What Chapter 12 says of GPUs, held where there is none: its own cells, run with stand-ins."""

from __future__ import annotations

import re
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import nbformat
import pytest
import torch
from torch.profiler import record_function

import dhida_lib
from dhida_lib import training
from dhida_lib.config import PROFILES
from dhida_lib.data import Split

ROOT = Path(__file__).resolve().parents[1]
NAMES = {
    "dhida_lib": dhida_lib,
    "training": training,
    "torch": torch,
    "record_function": record_function,
    "statistics": statistics,
    "time": time,
    "sys": sys,
    "Path": Path,
    "TemporaryDirectory": TemporaryDirectory,
    "device": torch.device("cpu"),
}


@pytest.fixture(scope="module")
def names():
    """The functions that the chapter defines in a cell: name → what its cell gives."""
    cells = nbformat.read(ROOT / "book" / "12_training_on_gpu.ipynb", as_version=4).cells

    def cell(name):
        [source] = [c.source for c in cells if c.cell_type == "code" and f"def {name}(" in c.source]
        given = dict(NAMES)
        exec(source, given)
        return given[name]

    return cell


def test_the_step_that_is_timed_makes_no_batch_and_float32_is_float32(names, monkeypatch):
    step = names("stepper")(PROFILES["fast"].change(device="cpu"), 4)
    seen, real = [], torch.optim.RMSprop.step

    def look(self, *args, **kwargs):
        seen.append((torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()))
        return real(self, *args, **kwargs)

    def refuse(*args, **kwargs):
        raise AssertionError("the step makes its batch on the host")

    monkeypatch.setattr(torch.optim.RMSprop, "step", look)
    monkeypatch.setattr(Split, "batch", refuse)
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    step()
    assert seen == [(False, "highest")]
    assert before == (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())


def test_a_gpus_clock_starts_and_stops_with_an_empty_queue(names, monkeypatch):
    log = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            log.append("mark")

        def elapsed_time(self, other):
            return 2.0 + log.count("mark")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append("wait"))
    milliseconds = names("milliseconds")
    median = milliseconds(lambda: log.append("step"), SimpleNamespace(type="cuda"), warmup=1, repeats=3)
    assert log == ["step", *(3 * ["wait", "mark", "step", "mark", "wait"])]
    assert median == 2.0 + 4, "the median of three"


def test_the_folder_on_drive_is_made_before_it_is_called_safe(names, tmp_path):
    keeping_place = names("keeping_place")
    folder, holder = keeping_place(tmp_path)
    assert folder == tmp_path / "dhida"
    assert folder.is_dir()
    assert holder is None
    assert keeping_place(tmp_path)[0] == folder, "twice"
    folder, holder = keeping_place(tmp_path / "no drive")
    assert folder.is_dir()
    holder.cleanup()


def test_every_command_of_the_full_profile_says_where_the_images_are():
    found = 0
    for path in (*sorted((ROOT / "book").iterdir()), ROOT / "README.md"):
        if path.suffix not in (".ipynb", ".md"):
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            for command in re.findall(r"dhida_lib train [^`\"]*--profile full\b[^`\"]*", line):
                found += 1
                assert "--root" in command, f"{path.name}: {line.strip()}"
                assert "bfloat16" not in command, f"{path.name}: {line.strip()}"
    assert found
