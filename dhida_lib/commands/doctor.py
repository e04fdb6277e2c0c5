"""``doctor``: is all in order on this machine? For a reader who is stuck, and for an issue."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from dhida_lib.commands._command import PROGRAM, Command
from dhida_lib.commands._output import say

__all__ = ["COMMAND"]

OLDEST = (3, 11)
LITTLE = 2e9  # bytes of free disk below which a training run may not end well
_HOME = Path(__file__).resolve().parents[2]  # a checkout, or the folder of installed packages


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        fact: what is there.
        todo: what to do about it; nothing if all is in order.
    """

    fact: str
    todo: str = ""


def _python() -> Finding:
    name = platform.python_implementation()
    fact = f"{name} {platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    return Finding(fact, "" if sys.version_info >= OLDEST else "install Python 3.11 or newer")


def _library() -> Finding:
    from dhida_lib import __version__

    place = "a checkout" if (_HOME / "pyproject.toml").is_file() else "installed"
    return Finding(f"dhida_lib {__version__}, {place} in {_HOME}")


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding(
            f"cannot be imported: {error}", "pip install torch, or see pytorch.org for your system"
        )
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    return Finding(f"torch {torch.__version__}, built with {build}; {torch.get_num_threads()} threads")


def _gpu() -> Finding:
    import torch

    from dhida_lib.config import named_device

    device = named_device("auto")
    if device.type != "cuda":
        driver = shutil.which("nvidia-smi") is not None
        todo = "there is an NVIDIA driver: `make TORCH=cuda`, or pip install torch with CUDA"
        return Finding(f'none with CUDA; device="auto" is {device.type}', todo if driver else "")
    major, minor = torch.cuda.get_device_capability(device)
    memory = torch.cuda.get_device_properties(device).total_memory / 2**30
    name = torch.cuda.get_device_name(device)
    known = f"sm_{major}{minor}" in torch.cuda.get_arch_list()
    todo = "" if known else "this torch was not built for it: see pytorch.org for one that was"
    return Finding(f"{name}, capability {major}.{minor}, {memory:.0f} GiB", todo)


def _data() -> Finding:
    from dhida_lib.data import data_path, load_dataset
    from dhida_lib.models import HashNetwork

    data = load_dataset("fashion-mini")
    cards = sorted(data_path("checkpoints").glob("*/model.json"))
    for card in cards:
        HashNetwork.load(card)  # compares the checksum too
    names = ", ".join(card.parent.name for card in cards)
    return Finding(f"{data.name} with {len(data.database):,} images, model {names}: whole, in {data_path()}")


def numbers(version: str) -> tuple[int, ...]:
    """The numbers at the start of a version: ``"2.10.1+cpu"`` → (2, 10, 1)."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def judge(needs: Collection[str], version_of: Callable[[str], str]) -> tuple[list[str], list[str], list[str]]:
    """Compare requirements with what is installed.

    Args:
        needs: requirements, as ``"faiss-cpu>=1.8; extra == 'search'"``.
        version_of: name → installed version; raises `PackageNotFoundError` for one that is not there.

    Returns:
        What is there, what is too old or missing, and which optional packages are missing.
    """
    there: list[str] = []
    wrong: list[str] = []
    absent: list[str] = []
    split = (re.match(r"([\w.-]+)[^;>]*(?:>=\s*([\w.]+))?", need) for need in needs)
    optional = {need.split(">")[0].strip() for need in needs if "extra" in need}
    for name, bound in sorted({(parts[1], parts[2] or "") for parts in split if parts}):
        try:
            version = version_of(name)
        except metadata.PackageNotFoundError:
            (absent if name in optional else wrong).append(name)
            continue
        old = numbers(version) < numbers(bound)
        (wrong if old else there).append(f"{name} {version}" + (f" (needs {bound})" if old else ""))
    return there, wrong, absent


def _versions() -> Finding:
    try:
        needs = metadata.requires("dhida-lib") or []
    except metadata.PackageNotFoundError:  # beside a checkout whose library was never installed
        text = (_HOME / "requirements.txt").read_text(encoding="utf-8")
        needs = [line.split("#")[0].strip() for line in text.splitlines() if line[:1].isalpha()]
    there, wrong, absent = judge(needs, metadata.version)
    fact = ", ".join(there)
    if absent:
        fact += f"; not installed, and needed only for some parts: {', '.join(absent)}"
    return Finding(fact, f"pip install --upgrade {' '.join(w.split(' ')[0] for w in wrong)}" if wrong else "")


def _disk() -> Finding:
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    fact = f"{free / 1e9:.1f} GB free in {here}"
    if not os.access(here, os.W_OK):
        return Finding(f"{fact}, which cannot be written to", "work in a folder of your own: `make start`")
    return Finding(fact, "make room: a run and its checkpoints need some" if free < LITTLE else "")


def _address() -> Finding:
    settings = _HOME / "_config.yml"
    if not settings.is_file():
        return Finding("not in a checkout")
    found = re.search(r"^repository:\s*\n\s+url:\s*(\S+)", settings.read_text(encoding="utf-8"), re.M)
    url = found[1] if found else ""
    if "/OWNER/" in url:
        return Finding(
            f"{url} is a placeholder, so links to Colab and to the sources lead nowhere; reading and running "
            "here need none. Whoever publishes the book writes its own with `make address URL=…`"
        )
    return Finding(url, "" if url else "repository.url is missing in _config.yml")


CHECKS: dict[str, Callable[[], Finding]] = {
    "Python": _python,
    "library": _library,
    "torch": _torch,
    "GPU": _gpu,
    "data": _data,
    "packages": _versions,
    "disk": _disk,
    "address": _address,
}
"""Name → check, in the order in which one builds on another."""


def looked_at(check: Callable[[], Finding]) -> Finding:
    """What a check found; one that fails is a finding as well."""
    try:
        return check()
    except Exception as error:  # a doctor reports whatever is wrong
        text = re.sub(r"\s+", " ", str(error))[:500]
        todo = "see the message; in a checkout, `git status` shows files that changed"
        return Finding(f"{type(error).__name__}: {text}", todo)


def _doctor(args: argparse.Namespace) -> int:
    width, amiss = max(map(len, CHECKS)), 0
    for name, check in CHECKS.items():
        found = looked_at(check)
        say(f"{name:{width}}  {'TO DO' if found.todo else 'OK   '}  {found.fact}")
        if found.todo:
            amiss += 1
            say(f"{'':{width}}         → {found.todo}")
    say("all is in order" if not amiss else f"{amiss} of {len(CHECKS)} need something")
    return int(amiss > 0)


COMMAND = Command(
    help="say whether Python, torch, GPU, data, versions and disk are in order",
    example=f"  {PROGRAM} doctor",
    arguments=lambda parser: None,
    handle=_doctor,
)
"""Check, report."""
