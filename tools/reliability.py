"""What happens to the library when things go wrong, measured: `make reliability`.

    python tools/reliability.py measure [--moments 12] [--regions 16] [--minutes 2] [--only PART …]
    python tools/reliability.py page        write book/reliability.md from the measurement
    python tools/reliability.py check       exit status 1 if the page differs from the measurement

Each part does the damage itself and counts what came of it: bits flipped in shipped files, files cut short,
commands killed at many moments and called again, a full disk, two writers, files made to harm their reader,
and random calls. A command runs in a child that is forked off, so that the library is imported once. Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import pickle
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import notebooks

ROOT = notebooks.ROOT
sys.path.insert(0, str(ROOT))
DATA, PAGE = Path("data/records/reliability.json"), Path("book/reliability.md")
SECONDS = 900.0  # a child that takes longer hangs: the machine may be busy
SHORT_RUN = ("held_out=0.9", "width=4", "epochs=3", "batch_size=16", "augment=none", "device=cpu")

# ---- a child ---------------------------------------------------------------------------------------------


@dataclass
class Ended:
    """How a child ended."""

    status: int  # as a shell has it: below 0 for a signal
    answer: Any  # what the function returned, None if it did not
    errors: str  # standard error
    cpu: float  # seconds of processor time
    megabytes: float  # the most memory


def forked(function: Callable[[], Any], kill_at: float | None = None) -> Ended:
    """Call a function in a child of this process.

    Args:
        function: returns what JSON can hold.
        kill_at: seconds of the child's processor time after which it gets signal 9; None never kills it.

    Returns:
        How it ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        said, errors = Path(folder) / "answer", Path(folder) / "errors"
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _in_child(function, said, errors)
        clock, end = (~child << 3) | 2, time.monotonic() + SECONDS  # the child's own clock, as Linux names it
        while True:
            done, state, used = os.wait4(child, os.WNOHANG)
            if done:
                break
            with contextlib.suppress(OSError):
                if (kill_at is not None and time.clock_gettime(clock) >= kill_at) or time.monotonic() > end:
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.001)
        answer = json.loads(said.read_text(encoding="utf-8")) if said.exists() else None
        cpu = used.ru_utime + used.ru_stime
        text = errors.read_text(encoding="utf-8", errors="replace")
        return Ended(os.waitstatus_to_exitcode(state), answer, text, cpu, used.ru_maxrss / 1024)


def _in_child(function: Callable[[], Any], said: Path, errors: Path) -> None:
    status = 70
    try:
        for number, path in ((1, os.devnull), (2, str(errors))):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        # what pytest or a notebook put in their place would not write there
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)  # a fork has none of the threads that its parent had
        ends = [io.FileIO(number, "w", closefd=False) for number in (1, 2)]
        sys.stdout, sys.stderr = (io.TextIOWrapper(e, encoding="utf-8", write_through=True) for e in ends)
        answer = function()
        said.with_suffix(".new").write_text(json.dumps(answer), encoding="utf-8")
        said.with_suffix(".new").rename(said)
        status = answer if isinstance(answer, int) else 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(status)


# ---- what is done to ----------------------------------------------------------------------------------


@dataclass
class World:
    """Pictures and a small model, which the commands work on."""

    top: Path

    def __post_init__(self) -> None:
        import numpy as np
        from PIL import Image

        from dhida_lib import HashNetwork, Preprocess
        from dhida_lib.training import seed_everything

        (self.top / "pictures").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for i in range(150):
            pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.top / "pictures" / f"{i:03d}.png")
        seed_everything(0)
        network = HashNetwork("narrow-resnet", "none", 16, in_channels=3, width=4)
        network.preprocess = Preprocess(3, 20)
        self.model = network.save(self.top / "model")

    def questions(self) -> list[Path]:
        """The pictures that are asked for."""
        return sorted((self.top / "pictures").iterdir())[::60]

    def words(self, command: str, out: Path) -> list[str]:
        """What is typed, without the program."""
        settings = [word for setting in SHORT_RUN for word in ("--set", setting)]
        pictures = ["encode", str(self.top / "pictures"), "--model", str(self.model), "--device", "cpu"]
        table = ["reproduce", "table3", "--dataset", "fashion-mini", "--rows", "OrthoHash"]
        return {
            "train": ["train", "--out", str(out), *settings],
            "encode": [*pictures, "--index", str(out / "index")],
            "ingest": [*pictures, "--store", str(out / "store")],
            "reproduce": [*table, "--records", str(out / "records"), "--work", str(out / "work"), *settings],
        }[command]

    def made(self, command: str, out: Path) -> Any:
        """What a command has made, as far as it must be the same each time."""
        from dhida_lib.records import load_record, load_records
        from dhida_lib.search.photos import find_in_store, find_similar

        if command == "train":
            record = load_record(out / "record.json")
            card = json.loads((out / "model.json").read_text(encoding="utf-8"))
            return [card["sha256"], record.metrics, [row["loss"] for row in record.history]]
        if command == "reproduce":
            records = load_records(out / "records" / "fashion-mini")
            return [[r.metrics, [row["loss"] for row in r.history]] for r in records]
        find, where = {"encode": (find_similar, "index"), "ingest": (find_in_store, "store")}[command]
        found = [find(q, self.model, out / where, 1000, device="cpu") for q in self.questions()]
        return [sorted((match.distance, str(match.file)) for match in matches) for matches in found]

    def call(self, command: str, out: Path, kill_at: float | None = None) -> Ended:
        """Type a command, in a child."""

        def typed() -> int:
            from dhida_lib.__main__ import main

            return main(self.words(command, out))

        out.mkdir(parents=True, exist_ok=True)
        return forked(typed, kill_at)

    def result(self, command: str, out: Path) -> Any:
        """What a command has made, read in a child; None if it cannot be read."""
        return forked(lambda: self.made(command, out)).answer


COMMANDS = ("train", "encode", "ingest", "reproduce")


def one_sentence(text: str) -> bool:
    """Is it one line, and no traceback?"""
    lines = text.strip().splitlines()
    return len(lines) == 1 and lines[0].startswith("error: ")


# ---- parts -----------------------------------------------------------------------------------------------


def readers() -> dict[str, Callable[[Path], Any]]:
    """Pattern of shipped files → what reads them, given the file; its answer can be compared."""
    from dhida_lib.data.fashion import read_fashion_mini
    from dhida_lib.models import HashNetwork
    from dhida_lib.records import load_record

    def images(file: Path) -> Any:
        return {name: array.tobytes() for name, array in read_fashion_mini(file.parent).items()}

    def model(file: Path) -> Any:
        network = HashNetwork.load(file.parent / "model.json")
        weights = {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}
        return weights, network.config, network.preprocess, network.class_names, network.about

    return {
        "fashion-mini/fashion-mini.npz": images,
        "fashion-mini/manifest.json": images,
        "checkpoints/*/model.json": model,
        "checkpoints/*/model.safetensors": model,
        "checkpoints/*/record.json": load_record,
        "records/*/*.json": load_record,
    }


def changes(raw: bytes, regions: int, rng: random.Random) -> Iterator[bytes]:
    """The content with one bit flipped in each region, and cut short at several places."""
    regions = min(regions, len(raw))
    for k in range(regions):
        at = rng.randrange(k * len(raw) // regions, (k + 1) * len(raw) // regions)
        yield raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
    for share in (0, 0.25, 0.5, 0.75):
        yield raw[: int(share * len(raw))]
    yield raw[:-1]


def damage(data: Path, regions: int, top: Path) -> dict[str, Any]:
    """Flip bits of the shipped files and cut them; count how the library answers.

    Args:
        data: the folder that ships.
        regions: how many flips a file gets, each in another region.
        top: a folder to work in.

    Returns:
        Counts: ``"refused"`` in one sentence, ``"unchanged"`` (what was read is the same), and two faults:
        ``"unseen"`` (something else was read) and ``"crashed"``, with where.
    """
    rng, found = random.Random(0), {"files": 0, "refused": 0, "unchanged": 0, "unseen": 0, "crashed": 0}
    faults: list[str] = []
    for pattern, read in readers().items():
        for file in sorted(data.glob(pattern)):
            if pattern.startswith("records/") and not _is_record(file):
                continue
            folder = top / "damage"
            shutil.copytree(file.parent, folder, ignore=_others(file))
            target, raw = folder / file.name, file.read_bytes()
            before = read(target)
            found["files"] += 1
            for changed in changes(raw, regions, rng):
                target.write_bytes(changed)
                outcome = answered(read, target, before)
                found[outcome] += 1
                if outcome in ("unseen", "crashed") and len(faults) < 20:
                    faults.append(f"{file.relative_to(data)}: {outcome}")
            shutil.rmtree(folder)
    return {**found, "faults": faults}


def _is_record(file: Path) -> bool:
    from dhida_lib.records import load_record

    try:
        load_record(file)
    except ValueError:
        return False
    return True


def _others(file: Path) -> Callable[[str, list[str]], list[str]]:
    """Of a folder of records only the one is copied."""
    alone = "records" in file.parts
    return lambda folder, names: [name for name in names if alone and name != file.name]


def answered(read: Callable[[Path], Any], target: Path, before: Any) -> str:
    """How a reader answers to a damaged file."""
    try:
        after = read(target)
    except (ValueError, OSError) as error:
        return "refused" if str(error).strip() and type(error) is not UnicodeDecodeError else "crashed"
    except Exception:
        return "crashed"
    return "unchanged" if after == before else "unseen"


def killed(world: World, moments: int, commands: tuple[str, ...] = COMMANDS) -> dict[str, Any]:
    """Kill each command at many moments of its processor time, call it again, and compare what it made.

    Args:
        world: what the commands work on.
        moments: how many for each command, evenly over an unbroken run.
        commands: which.

    Returns:
        For each command: how often it was killed, how often it had ended before, and how often the second
        call ended well with the same result; any other end is a fault, with what was said.
    """
    found: dict[str, Any] = {}
    for command in commands:
        out = world.top / "killed"
        whole = world.call(command, out)
        expected = world.result(command, out)
        counts = {"killed": 0, "ended": 0, "same": 0, "seconds": round(whole.cpu, 2)}
        faults = [] if whole.status == 0 and expected else [f"unbroken: {whole.errors[-300:]}"]
        for moment in range(moments):
            shutil.rmtree(out)
            kill_at = whole.cpu * (moment + 0.5) / moments
            first = world.call(command, out, kill_at)
            counts["killed" if first.status == -signal.SIGKILL else "ended"] += 1
            again = world.call(command, out)
            same = again.status == 0 and world.result(command, out) == expected
            counts["same"] += same
            if not same:
                faults.append(f"killed after {kill_at:.2f} s: status {again.status}, {again.errors[-300:]}")
        shutil.rmtree(out)
        found[command] = {**counts, "faults": faults}
    return found


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """A disk of so many bytes at a folder; gives a function that makes it large.

    Raises:
        PermissionError: if nothing can be mounted here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PermissionError(str(error)) from error
    if done.returncode:
        raise PermissionError(done.stderr.strip() or "mount failed")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=512m", str(folder)], check=True) and None
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(world: World, commands: tuple[str, ...] = COMMANDS, sizes: int = 4) -> dict[str, Any]:
    """Let each command write to disks that are too small; then make them large and call it again.

    Args:
        world: what the commands work on.
        commands: which.
        sizes: how many disks, from nearly none to nearly enough.

    Returns:
        For each command: how often the disk was full, how often this was told in one sentence, and how often
        the next call, with room, ended with the same result. ``{"skipped": why}`` where nothing can be
        mounted.
    """
    found: dict[str, Any] = {}
    for command in commands:
        out = world.top / "whole"
        world.call(command, out)
        expected = world.result(command, out)
        needed = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        shutil.rmtree(out)
        counts, faults = {"full": 0, "told": 0, "same": 0}, []
        for k in range(sizes):
            disk = world.top / "disk"
            try:
                with small_disk(disk, max(4096, int(needed * (k + 0.5) / sizes))) as make_large:
                    first = world.call(command, disk)
                    told = first.status == 2 and one_sentence(first.errors)
                    if first.status != 0:
                        counts["full"] += 1
                        counts["told"] += told
                    make_large()
                    again = world.call(command, disk)
                    same = again.status == 0 and world.result(command, disk) == expected
                    counts["same"] += same and first.status != 0
                    if not same or (first.status != 0 and not told):
                        faults.append(f"status {first.status}, {first.errors[-300:]}{again.errors[-300:]}")
            except PermissionError as error:
                return {"skipped": f"no disk can be mounted here: {error}"}
        found[command] = {**counts, "faults": faults}
    return found


def two_writers(world: World, commands: tuple[str, ...] = COMMANDS, times: int = 2) -> dict[str, Any]:
    """Call each command twice at once for the same place; what is there after both must be what one makes."""
    found: dict[str, Any] = {}
    for command in commands:
        out = world.top / "writers"
        world.call(command, out)
        expected = world.result(command, out)
        counts, faults = {"pairs": 0, "done": 0, "refused": 0, "same": 0}, []
        for _ in range(times):
            shutil.rmtree(out)
            out.mkdir()
            other = os.fork()
            if other == 0:
                ended = world.call(command, out)
                os._exit(0 if ended.status == 0 else 1 if one_sentence(ended.errors) else 2)
            mine = world.call(command, out)
            codes = [0 if mine.status == 0 else 1 if one_sentence(mine.errors) else 2]
            codes.append(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
            counts["pairs"] += 1
            counts["done"] += codes.count(0)
            counts["refused"] += codes.count(1)
            same = world.result(command, out) == expected
            counts["same"] += same
            if not same or 2 in codes or 0 not in codes:
                faults.append(f"{codes}, {mine.errors[-300:]}")
        shutil.rmtree(out)
        found[command] = {**counts, "faults": faults}
    return found


# ---- files that mean harm ------------------------------------------------------------------------------


class Payload:
    """A thing that, unpickled, makes a file: proof that a file was executed."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def make_harmful(top: Path) -> None:
    """Make the files that `attempts` gives to the library."""
    import numpy as np
    import torch

    mark = top / "executed"

    def arrays(name: str, content: bytes) -> None:
        shutil.copytree(ROOT / "data" / "fashion-mini", top / name)
        with zipfile.ZipFile(top / name / "fashion-mini.npz", "w", zipfile.ZIP_DEFLATED) as file:
            for member in ("images", "labels", "source_index"):
                file.writestr(f"{member}.npy", content)

    head = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (2**31, 28, 28)}
    np.lib.format.write_array_header_1_0(head, shape)
    arrays("huge", head.getvalue() + bytes(100_000_000))
    objects = io.BytesIO()
    np.save(objects, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    arrays("objects", objects.getvalue())

    (top / "idx").mkdir()
    start = struct.pack(">BBBB3I", 0, 0, 8, 3, 20, 28, 28)
    images = gzip.compress(start + bytes(300_000_000), 1)
    (top / "idx" / "train-images-idx3-ubyte.gz").write_bytes(images)
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 20) + bytes(20)
    (top / "idx" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))

    side, rows = 20_000, zlib.compressobj(1)
    packed = b"".join(rows.compress(bytes(side + 1)) for _ in range(side)) + rows.flush()
    shape_of = struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", shape_of), (b"IDAT", packed), (b"IEND", b"")):
        png += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (top / "large.png").write_bytes(png)
    program = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch {mark}) (w) file\n"
    (top / "script.png").write_text(program)

    cifar = top / "cifar" / "cifar-10-batches-py"
    cifar.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (cifar / name).write_bytes(pickle.dumps({b"data": Payload(mark), b"labels": []}, protocol=2))
    torch.save({"weight": Payload(mark)}, top / "weights.pth")
    (top / "long.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")
    for name in ("card", "record"):
        (top / f"{name}.json").write_bytes(b"[" * 1_000_000)


def attempts(top: Path) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Harmful file → its kind, and the call of the library that reads it."""
    from dhida_lib.backbones import build_backbone
    from dhida_lib.data import load_dataset
    from dhida_lib.data.fashion import read_fashion_mini
    from dhida_lib.data.images import read_image
    from dhida_lib.models import HashNetwork
    from dhida_lib.records import load_record

    def start_from(file: str) -> Callable[[], Any]:
        return lambda: build_backbone("narrow-resnet", weights=str(top / file))

    return {
        "arrays that say they hold 1.7 TB": ("zip", lambda: read_fashion_mini(top / "huge")),
        "an array of pickled objects": ("pickle", lambda: read_fashion_mini(top / "objects")),
        "an idx file that goes on and on": ("gzip", lambda: load_dataset("fashion-mnist", top / "idx")),
        "a picture of 400 million pixels": ("picture", lambda: read_image(top / "large.png", 32)),
        "a PostScript program called .png": ("picture", lambda: read_image(top / "script.png", 32)),
        "CIFAR-10 with a command in it": ("pickle", lambda: load_dataset("cifar10", top / "cifar")),
        "weights with a command in them": ("pickle", start_from("weights.pth")),
        "weights with a head of 1 TB": ("safetensors", start_from("long.safetensors")),
        "a model's card of a million brackets": ("JSON", lambda: HashNetwork.load(top / "card.json")),
        "a record of a million brackets": ("JSON", lambda: load_record(top / "record.json")),
    }


def bombs(top: Path) -> dict[str, Any]:
    """Give the library files that mean harm; each must be refused, and nothing in it executed.

    Args:
        top: a folder to make them in.

    Returns:
        For each: its kind, whether it was refused in a sentence, and the memory that this took beyond that of
        a child that does nothing; and whether anything was executed.
    """
    top.mkdir(parents=True, exist_ok=True)
    made = forked(lambda: make_harmful(top))  # in a child: to make them takes memory
    if made.status:
        raise RuntimeError(f"the files could not be made: {made.errors}")
    found: dict[str, Any] = {}
    tried = attempts(top)
    usual = forked(lambda: None).megabytes
    for name, (kind, call) in tried.items():
        ended = forked(lambda call=call: told(call))
        found[name] = {
            "kind": kind,
            "refused": bool(ended.answer),
            "said": " ".join(str(ended.answer or ended.errors).replace(str(top), "…").split())[:160],
            "megabytes": max(0, round(ended.megabytes - usual)),
        }
    return {"files": found, "executed": (top / "executed").exists()}


def told(call: Callable[[], Any]) -> str:
    """What a call refuses with; an empty text if it does not."""
    try:
        call()
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def random_calls(minutes: float, calls: int = 20) -> dict[str, Any]:
    """Call everything public at random (`tests/fuzzing.py`), in random order, until the time is over.

    Args:
        minutes: how long.
        calls: how many times a function is called before the next one's turn.

    Returns:
        Calls of each module, and over all how many were answered and refused; a fault is anything else.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    import fuzzing

    seed, end = int(time.time()), time.monotonic() + 60 * minutes
    modules: dict[str, int] = {}
    total, faults, doors = {"answered": 0, "refused": 0, "fault": 0}, [], []
    with fuzzing.sandbox() as world:
        while time.monotonic() < end:
            if not doors:
                doors, seed = fuzzing.doors(), seed + 1
                random.Random(seed).shuffle(doors)
            door = doors.pop()
            counts, found = fuzzing.fuzz(door, world, calls, seed)
            total = {key: total[key] + counts[key] for key in total}
            module = door.function.__module__
            modules[module] = modules.get(module, 0) + sum(counts.values())
            faults += [str(fault) for fault in found]
    return {**total, "modules": modules, "faults": faults[:20]}


# ---- all of it, and the page -----------------------------------------------------------------------------

PARTS = ("damage", "bombs", "two_writers", "full_disk", "random_calls", "killed")  # the longest one last


@dataclass(frozen=True)
class Size:
    """How much is done."""

    regions: int = 16
    moments: int = 50
    disks: int = 4
    pairs: int = 2
    minutes: float = 10.0


def measure(parts: Sequence[str], size: Size, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Do the parts, one after the other, and hand on what is known after each."""
    from dhida_lib.records import machine

    about = machine()
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{about['processor']}, torch {about['torch']}",
    }
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        world = World(top / "world")
        ways: dict[str, Callable[[], dict[str, Any]]] = {
            "damage": lambda: damage(ROOT / "data", size.regions, top),
            "killed": lambda: killed(world, size.moments),
            "full_disk": lambda: full_disk(world, sizes=size.disks),
            "two_writers": lambda: two_writers(world, times=size.pairs),
            "bombs": lambda: bombs(top / "bombs"),
            "random_calls": lambda: random_calls(size.minutes),
        }
        for part in parts:
            start = time.monotonic()
            found[part] = ways[part]()
            print(f"{part}: {time.monotonic() - start:.0f} s", flush=True)
            keep(found)
    return found


def faults(found: dict[str, Any]) -> list[str]:
    """What did not hold, in words."""
    said = []
    for part in ("damage", "random_calls"):
        said += [f"{part}: {fault}" for fault in found.get(part, {}).get("faults", [])]
    for part in ("killed", "full_disk", "two_writers"):
        for command, counts in found.get(part, {}).items():
            if command != "skipped":
                said += [f"{part}, {command}: {fault}" for fault in counts["faults"]]
    if "bombs" in found:
        said += [
            f"bombs: {n} was not refused" for n, one in found["bombs"]["files"].items() if not one["refused"]
        ]
        said += ["bombs: something was executed"] if found["bombs"]["executed"] else []
    return said


def table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [
        "| " + " | ".join(f"{c:,}" if isinstance(c, int) else str(c) for c in row) + " |" for row in lines
    ]


def page(found: dict[str, Any]) -> str:
    """The page that shows a measurement; a part that was not measured has no section."""
    lines = [
        "# Measured reliability",
        "",
        "<!-- Written by tools/reliability.py from data/records/reliability.json: `make reliability`. -->",
        "",
        "Files get damaged, disks fill up, and power fails in the middle of a run. `make reliability` does",
        "all of this to the library on purpose, counts what comes of it, and writes this page. Every number",
        f"below is from its run of {found['date']} ({found['machine']}).",
        "",
    ]
    for part, section in SECTIONS.items():
        if part in found:
            lines += [*section(found[part]), ""]
    wrong = faults(found)
    if wrong:
        lines += ["## What did not hold", "", *(f"- {fault}" for fault in wrong), ""]
    return "\n".join(lines)


def _of_damage(hit: dict[str, Any]) -> list[str]:
    tried = hit["refused"] + hit["unchanged"] + hit["unseen"] + hit["crashed"]
    return [
        "## Damaged files",
        "",
        f"Each of the {hit['files']:,} shipped files that the library reads was damaged again and again: one",
        "bit was flipped in each region of the file, and the file was cut short. Damage that nobody notices",
        "would give a wrong number some day, so the library compares a checksum whenever it reads.",
        "",
        *table(
            ["damaged and read", "refused in a sentence", "read as before", "read wrongly", "crashed"],
            [[tried, hit["refused"], hit["unchanged"], hit["unseen"], hit["crashed"]]],
        ),
        "",
        '"Read as before" is damage that changes nothing, such as a line break that is missing at the end.',
    ]


def _of_killed(commands: dict[str, Any]) -> list[str]:
    return [
        "## Killed",
        "",
        "Each command was stopped with `kill -9` at moments that are spread evenly over its run, and then",
        "called again. The second call must end well and give what an unbroken run gives, to the last digit:",
        "the same weights, records and search results. (`ingest` is `encode` into a LanceDB table.)",
        "",
        *table(
            ["command", "killed", "over before", "same result after the second call"],
            [
                [f"`{name}`", c["killed"], c["ended"], f"{c['same']} of {c['killed'] + c['ended']}"]
                for name, c in commands.items()
            ],
        ),
    ]


def _of_full_disk(commands: dict[str, Any]) -> list[str]:
    if "skipped" in commands:
        return ["## A full disk", "", f"Not measured: {commands['skipped']}."]
    return [
        "## A full disk",
        "",
        "Each command wrote to disks that were too small for what it makes. It must say so in one sentence,",
        "and go on once there is room.",
        "",
        *table(
            ["command", "disk was full", "told in one sentence", "same result with room"],
            [[f"`{name}`", c["full"], c["told"], c["same"]] for name, c in commands.items()],
        ),
    ]


def _of_writers(commands: dict[str, Any]) -> list[str]:
    return [
        "## Two at once",
        "",
        "Two calls of a command wrote to the same place at the same time.",
        "",
        *table(
            ["command", "pairs", "calls that ended well", "refused in a sentence", "result as of one call"],
            [[f"`{name}`", c["pairs"], c["done"], c["refused"], c["same"]] for name, c in commands.items()],
        ),
    ]


def _of_bombs(harm: dict[str, Any]) -> list[str]:
    return [
        "## Files that mean harm",
        "",
        "Such a file asks for more memory than there is, or holds a command that a careless reader would",
        f"execute. Commands that were executed: {'some' if harm['executed'] else 'none'}.",
        "",
        *table(
            ["file", "kind", "refused", "memory it took"],
            [
                [name, one["kind"], "yes" if one["refused"] else "**no**", f"{one['megabytes']:,} MB"]
                for name, one in harm["files"].items()
            ],
        ),
    ]


def _of_calls(calls: dict[str, Any]) -> list[str]:
    return [
        "## Random calls",
        "",
        f"Public functions of {len(calls['modules'])} modules were called with sensible and with senseless",
        f"arguments, {sum(calls['modules'].values()):,} times in all. {calls['answered']:,} calls",
        f"were answered, {calls['refused']:,} were refused in words of the library's own, and",
        f"{calls['fault']:,} ended in any other way.",
    ]


SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "damage": _of_damage,
    "killed": _of_killed,
    "full_disk": _of_full_disk,
    "two_writers": _of_writers,
    "bombs": _of_bombs,
    "random_calls": _of_calls,
}
"""Part → its section, in the order of the page."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["measure", "page", "check"])
    for name, text in (
        ("regions", "bits flipped in a file"),
        ("moments", "kills of a command"),
        ("disks", "disks that are too small"),
        ("pairs", "pairs of writers"),
        ("minutes", "minutes of random calls"),
    ):
        usual = getattr(Size, name)
        parser.add_argument(f"--{name}", type=type(usual), default=usual, help=f"{text} (default: {usual:g})")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts (default: all)")
    arguments = parser.parse_args(argv)
    if arguments.command == "measure":
        if not sys.platform.startswith("linux"):
            print("reliability: this needs Linux, for a child's clock and its memory", file=sys.stderr)
            return 2
        os.environ["OMP_NUM_THREADS"] = "1"
        before = json.loads((ROOT / DATA).read_text(encoding="utf-8")) if (ROOT / DATA).is_file() else {}

        def keep(found: dict[str, Any]) -> None:
            text = json.dumps({**before, **found}, indent=1, ensure_ascii=False) + "\n"
            notebooks.write_atomic(ROOT / DATA, text)

        size = Size(**{field.name: getattr(arguments, field.name) for field in fields(Size)})
        wrong = faults(measure(arguments.only, size, keep))
        print("\n".join(wrong) or "everything held")
        return 1 if wrong else 0
    text = page(json.loads((ROOT / DATA).read_text(encoding="utf-8")))
    if arguments.command == "check":
        if not (ROOT / PAGE).is_file() or (ROOT / PAGE).read_text(encoding="utf-8") != text:
            print(f"{PAGE} is not what {DATA} says: python tools/reliability.py page", file=sys.stderr)
            return 1
        return 0
    notebooks.write_atomic(ROOT / PAGE, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
