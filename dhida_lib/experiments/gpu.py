"""A session on a GPU in one call: check the card, climb the ladder, train what fits, record (Chapter 12).

What is recorded already is not made again, and a run that the session cut off goes on in the next one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from dhida_lib._files import read_card, write_card
from dhida_lib._validate import bad, choice, instance, positive, seed_int, sized
from dhida_lib.experiments.cards import card_of, check_card, copies
from dhida_lib.experiments.ladder import ATTENTIONS, Size, climb, measured, memory_of, profile_of, trace_of
from dhida_lib.experiments.plan import Job, checked_change, plan
from dhida_lib.experiments.schedule import missing
from dhida_lib.records import Record, machine, save_record
from dhida_lib.runs import run
from dhida_lib.training import Callback, pick_device

__all__ = ["PARTS", "gpu_records", "run_gpu"]

PARTS = ("card", "ladder", "train")
"""What a session does, in this order."""
TELLING = ("DHIDA", "DHIDA-R", "DHIDA-D", "A doubled")
"""The rows of Table 4 that are trained first: the system, it without attention, DANet's, the control."""
_TABLES = ("table4", "table3")
_TRACED = "ida"
_SHARE = 0.5  # of the budget, for what is not training
_TOY = Size(side=32, batch=4, steps=2, backbone="narrow-resnet", width=8, compiled=False)


@dataclass
class _Session:
    """What all parts of a session share."""

    device: torch.device
    folder: Path
    work: Path
    size: Size
    toy: bool
    end: float
    say: Callable[[str], object]
    root: str | os.PathLike[str] | None
    dataset: str
    seeds: Sequence[int]
    change: dict[str, Any] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.end - time.monotonic()

    def read(self, name: str) -> dict[str, Any]:
        """What is recorded under a name; nothing is an empty dictionary."""
        where = self.folder / f"{name}.json"
        return read_card(where) if where.is_file() else {}

    def write(self, file: str, /, **content: Any) -> None:
        """Record something, with the machine that it was measured on."""
        from dhida_lib import __version__

        now = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"machine": machine(), "version": __version__, "created": now, "toy": self.toy}
        write_card(self.folder / f"{file}.json", {**content, **about})


class _Told(Callback):
    """Passes on what a run has to say."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self.say = say

    def on_note(self, text: str) -> None:
        """Say it."""
        self.say(f"  {text}")


def run_gpu(
    budget: float = 40.0,
    root: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "data/records/gpu",
    work: str | os.PathLike[str] = "_build/gpu",
    toy: bool = False,
    download: bool = False,
    parts: Sequence[str] = PARTS,
    seeds: Sequence[int] = (0,),
    change: dict[str, Any] | None = None,
    device: str = "auto",
    say: Callable[[str], object] = print,
) -> Path:
    """A session on a GPU, or a rehearsal of it: measure the card, climb the ladder, train what fits.

    Args:
        budget: minutes for all of it. What does not fit is left to the next call.
        root: where CIFAR-10 lies; None: ``$DHIDA_ROOT``, or the folder that ``download`` fills.
        out: parent of the card's folder.
        work: states of unfinished runs, and what is downloaded; on Colab best a folder of Drive.
        toy: everything at the smallest size, in a folder of its own: a rehearsal without a GPU. It trains on
            the images that ship, unless ``root`` is given.
        download: get CIFAR-10 and the ImageNet weights with torchvision, which checks them, if they are not
            here. Nothing is downloaded otherwise.
        parts: which of `PARTS` to do.
        seeds: seeds of the runs.
        change: settings to change in every run, by flat name.
        device: where it runs; ``"auto"`` takes a GPU if there is one.
        say: called with each line of progress.

    Returns:
        The card's folder: ``card.json``, ``ladder.json``, ``memory.json``, ``profile.json``, ``trace.json``,
        and ``runs`` with a record for each run of Tables 4 and 3.

    Raises:
        ValueError: if an argument is wrong.

    Source: Tables 3 and 4; used in Chapter 12.
    """
    positive("budget", budget)
    for part in sized("parts", parts, "a list of parts"):
        choice("parts", part, PARTS)
    for seed in sized("seeds", seeds, "a list of seeds"):
        seed_int("seeds", seed)
    for name, value in (("toy", toy), ("download", download)):
        instance(name, value, bool, "True or False")
    place = pick_device(device)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else place.type
    folder = Path(out) / ((card_of(name) or "-".join(name.split())).lower() + "-toy" * toy)
    folder.mkdir(parents=True, exist_ok=True)
    dataset = "cifar10" if root is not None or not toy else "fashion-mini"
    end = time.monotonic() + 60 * budget
    size = _TOY if toy else Size()
    given = (root, dataset, list(seeds), checked_change(change))
    session = _Session(place, folder, Path(work), size, toy, end, say, *given)
    say(f"{name}: {budget:g} min, records in {folder}")
    if download:
        session.root = _downloaded(session)
    doing = {"card": _card, "ladder": _ladder, "train": _train}
    for part in PARTS:
        if part in parts:
            doing[part](session)
    say(f"done, {max(session.left, 0) / 60:.1f} of {budget:g} min left; the same command goes on")
    return folder


def _downloaded(session: _Session) -> Path:
    """CIFAR-10 and the ImageNet weights by torchvision, which compares their checksums."""
    try:
        from torchvision import datasets, models
    except ImportError as error:
        raise ImportError("To download needs torchvision: pip install 'dhida-lib[imagenet]'") from error
    where = Path(session.root or session.work / "cifar10")
    session.say(f"CIFAR-10 by torchvision into {where}")
    datasets.CIFAR10(str(where), download=True)
    for weights in (models.ResNet18_Weights.IMAGENET1K_V1, models.AlexNet_Weights.IMAGENET1K_V1):
        weights.get_state_dict(progress=False, check_hash=True)
    return where


# ---- the card ----------------------------------------------------------------------------------------------


def _card(session: _Session) -> None:
    """Check the card, and how fast images come to it."""
    small = {"side": 64, "size": 1 << 16} if session.toy else {}
    if session.device.type != "cuda" and not session.toy:
        small = {"side": 1024}
    found = check_card(session.device, **small)
    moved = copies(session.device, session.size.batch, session.size.side)
    session.write("card", **found, host_to_device_gb_per_second=moved)
    limits = (found["sheet"] or {}).get("tflops", {})
    for name, value in found["tflops"].items():
        sheet = f" of {limits[name]:g}" if name in limits else ""
        session.say(f"  {name}: {value:.3g}{sheet} TFLOPS")
    session.say(f"  memory {found['copy_gb_per_second']:.3g} GB/s, from the host {moved} GB/s")


# ---- the ladder --------------------------------------------------------------------------------------------


def _ladder(session: _Session) -> None:
    """Climb with each attention, then look where time and memory go; what is recorded stays."""
    until = session.begun + _SHARE * (session.end - session.begun)
    for attention in ATTENTIONS:
        rows = session.read("ladder").get("rows", [])
        known = {row["rung"] for row in rows if row["attention"] == attention and "error" not in row}
        rows = [row for row in rows if row["attention"] != attention or row["rung"] in known]
        for rung in climb(attention, session.size, known):
            if time.monotonic() > until:
                session.say("  the ladder's half of the budget is used; the rest is for the next call")
                return
            rows.append(row := measured(rung, attention, session.device, session.size))
            session.write("ladder", rows=rows)
            result = row.get("error") or f"{row['images_per_second']:.0f} images/s in {row['precision']}"
            session.say(f"  {attention}, {rung.name}: {result}")
    for name, look in (("memory", memory_of), ("profile", profile_of)):
        if not session.read(name) and time.monotonic() < until:
            session.write(name, **{a: look(a, session.device, session.size) for a in ATTENTIONS})
    if not session.read("trace") and time.monotonic() < until:
        session.write("trace", **{_TRACED: trace_of(_TRACED, session.device, session.size)})


# ---- training ----------------------------------------------------------------------------------------------


def _jobs(session: _Session, records: list[Record]) -> list[Job]:
    """The runs of both tables, the most telling rows first."""
    small = {"epochs": 1, "width": 4, "held_out": 0.95} if session.toy else {}
    fast = {} if session.toy else {"channels_last": True, "data_on_device": True}
    change = {"precision": "auto", "device": str(session.device), **fast, **small, **session.change}
    made: list[Job] = []
    for table in _TABLES:
        made += plan(table, session.dataset, seeds=session.seeds, records=records, change=change)
    order = {row: number for number, row in enumerate(TELLING)}
    return sorted(made, key=lambda job: order.get(job.row, len(order)))  # else as the tables have them


def _train(session: _Session) -> None:
    """Train run after run until the time is used up."""
    folder = session.folder / "runs"
    most = 2 if session.toy else None
    todo = missing(lambda records: _jobs(session, records), folder)
    for number, job in enumerate(todo):
        if session.left <= 0 or number == most:
            break
        session.say(f"{job.row}, {job.config.network.bits} bits, seed {job.config.training.seed}")
        try:
            whole = _one(session, job, folder)
        except FileNotFoundError as error:
            session.say(f"  nothing is trained: {error} With --download torchvision gets what is missing.")
            return
        if not whole:
            break


def _one(session: _Session, job: Job, folder: Path) -> bool:
    """One run, or as much of it as fits; True if it is whole."""
    state = session.work / session.folder.name / job.name
    config = job.config.change(budget=session.left / 60, checkpoint_every="5 min")
    _, record = run(config, session.root, state, [_Told(session.say)], note=job.row)
    if len(record.history) < config.training.epochs:
        return False
    save_record(record, folder / f"{job.name}.json")
    shutil.rmtree(state, ignore_errors=True)
    session.say(f"  mAP {record.metrics['map']:.4f} after {record.seconds:.0f} s")
    return True


def gpu_records(folder: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """What `run_gpu` has recorded.

    Args:
        folder: the parent of the cards' folders.

    Returns:
        Card → name (``"card"``, ``"ladder"``, ``"memory"``, ``"profile"``, ``"trace"``) → content. Rehearsals
        (``toy``) are left out; an empty dictionary if no GPU has been recorded.

    Raises:
        ValueError: if ``folder`` is not a folder, or a file is damaged.
    """
    if not Path(folder).is_dir():
        raise bad("folder", str(folder), "a folder of cards")
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(folder).glob("*/*.json")):
        content = read_card(path)
        if not content.get("toy"):
            found.setdefault(path.parent.name, {})[path.stem] = content
    return found
