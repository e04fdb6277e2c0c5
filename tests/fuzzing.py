"""Random calls of everything public: each gives an answer, or says in one sentence of ours what is wrong.

A *door* is a public function, a public class or a public method of one. Each argument of a call is sensible
or hostile: a value that its annotation allows and its docstring does not, or one of another type altogether.
What may come out is written in the docstring: a `ValueError` that a `raise` statement of the library makes,
and what stands under "Raises". A function that takes a path may also pass on what the system says of it: an
`OSError`, or that this is no path. Everything else is a fault: an error of torch, NumPy or Python that says
nothing to the caller, a call that takes long, one that takes much memory.

`make test` makes some calls of each door (`tests/test_fuzz.py`), `make reliability` goes on for ten minutes
with new seeds: ``python tests/fuzzing.py --minutes 10``.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import functools
import importlib
import inspect
import io
import itertools
import linecache
import math
import os
import pkgutil
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import torch
from fuzz_values import BATCH, BITS, GOOD, HOSTILE, MANY, PLAIN, Case, World, dressed
from matplotlib import pyplot as plt
from torch import Tensor, nn

import dhida_lib
from dhida_lib.book.checks import Wrong
from dhida_lib.data import Split
from dhida_lib.search import CodeIndex
from dhida_lib.search.store import CodeStore

SECONDS = 20  # a call that takes longer is a fault
MEGABYTES = 1000  # and so is one that takes more memory

# ---- what is called --------------------------------------------------------------------------------------

ROOMS = {"dhida_lib.commands*": "the command line, which has hostile lines of its own"}
"""Modules that are left out → why."""

LEFT_OUT = {
    "*Config.check": "called by the constructor",
    "Choice": "a result: it holds what it is given",
    "run_gpu": "a session of minutes; tests/test_gpu_command.py has one",
    "Batch": "holds what a feed gives it",
    "DataSource*": "the base of the sources, which are called",
    "Feed*": "made by `as_feed`",
    "Images": "holds what a source reads; `assemble` checks",
    "HashNetwork.from_frozen": "a step of `Head`",
    "ListSource*": "the base of the sources that are lists",
    "MapSplit*": "made by `cached_maps`",
    "Repeated": "a result: it holds what it is given",
    "Shrunk": "a result: it holds what it is given",
    "Variant*": "a row of a table: it holds what it is given",
    "*.at_side": "a step of `sized`; `cut_at` is called",
    "left_out": "called by the sources, with what `shrunk` gave",
    "check_backbone": "a test itself: an AssertionError says what is wrong",
    "check_source": "a test itself: an AssertionError says what is wrong",
    "check_loss": "a test itself: an AssertionError says what is wrong",
    "Backbone": "the base of the backbones, which are called",
    "Backbone.*": "the base of the backbones, which are called",
    "Wrong": "an exception: it holds what it is given",
    "RetrievalData": "holds what the loaders give it; its methods are called",
    "Difference": "a result: it holds what it is given",
    "Job": "a pair: it holds what it is given",
    "PrecisionRecall": "a result: it holds what it is given",
    "Match": "a result: it holds what it is given",
    "Report": "a result: it holds what it is given",
    "Record": "holds what was measured; `load_record` checks, and its methods are called",
    "Found": "a result: it holds what it is given",
    "History": "holds what was measured; its methods are called",
    "HashLoss.forward": "not implemented by the base",
    "ImageForm": "a constant of a backbone: it holds what it is given",
    "Search": "a constant of a method: it holds what it is given",
    "*.formula": "a step of `forward`, which is called",
    "*Loss.update": "a step of `forward`, which is called",
    "*.parts": "for the parameters of a stage that the backbone itself names",
    "fill": "a step of a backbone with weights, which is called",
    "imagenet_file": "takes a member of an enum of torchvision's",
    "as_feed": "called by the trainer",
    "same_run": "called by the trainer",
    "byte_array": "a step of `read_cifar10`, which turns every error into its own",
    "read_pickled": "a step of `read_cifar10`, which turns every error into its own",
    "similar": "a step of a loss, after its checks",
    "register_*": "for the authors of backbones and losses",
    "live": "needs a kernel; without one it only calls the caller's function",
}
"""Door → why it is not called."""

TRUSTED = {
    "describe": "called by the trainer",
    "Head.forward": "it gets the maps that `cached_maps` gave",
    "set_rate": "called by the trainer",
    "*.pool": "a part of the network: it gets the map that the backbone made",
    "ResidualBlock*": "a part of the network",
    "*.on_*": "called by the trainer",
    "load_state.[!f]*": "given by the trainer; the folder is not",
    "save_state.[!f]*": "given by the trainer; the folder is not",
    "exercise": "for the authors of checks",
    "expect": "for the authors of checks",
    "expect_close.[!g]*": "for the authors of checks; what the reader's answer gave is not",
    "expect_report.[!r]*": "for the authors of checks; the reader's report is not",
    "content_sha256": "called by the loader, on the arrays that it read",
    "dataset_folder.[!r]*": "written into the loaders; the root is not",
    "*.discrete_steps": "a step of the loss, after its checks",
    "*.factory": "the caller's own function",
    "train.optimizer": "the caller's own function",
    "train.augment": "the caller's own function",
    "train.loss": "the caller's own module",
    "*.jobs": "given by `plan`",
    "*.make_plan": "the caller's own function",
    "*.records": "given by `load_records`",
    "*.say": "the caller's own function",
    "*.start_epoch": "called by the trainer",
    "*.targets": "a step of the loss, after its checks",
    "*.update_centres": "a step of the loss, after its checks",
    "multi_hot": "a step of the loss, after its checks",
    "shared_labels": "a step of the loss, after its checks",
    "Callback.*": "called by the trainer",
}
"""Doors, or parameters of doors, that get sensible values only → why."""

# Doors that take long even for small things, or get sensible values only: how many of 200 calls they get.
SLOW = {
    **dict.fromkeys(("AlexNet*", "EfficientNetLite0*"), 4),
    **dict.fromkeys(("FashionMnist*", "read_fashion_mnist"), 6),
    **dict.fromkeys(("ResNet18*", "*.on_*"), 10),
    **dict.fromkeys(("Fashion*", "import_extension", "read_fashion_mini", "where_*"), 20),
    **dict.fromkeys(("frame_slider", "gallery", "heatmap", "image_grid", "pipeline", "png", "show"), 40),
    **dict.fromkeys(("encode_*", "find_*", "module_picture", "plan", "repeat", "run", "Timm*"), 40),
    **dict.fromkeys(("CodeStore*", "Encoder*", "HashNetwork", "ITQ*", "*_state", "train"), 80),
}


@dataclass(frozen=True)
class Door:
    """Something public that can be called."""

    name: str  # without its module, which may change
    function: Callable[..., Any]  # a class, or a plain function: for a method its first argument is `self`
    owner: type | None = None  # the class of a method
    bound: bool = True  # a method that needs an object

    @functools.cached_property
    def parameters(self) -> list[inspect.Parameter]:
        """The arguments that a caller gives."""
        found = list(inspect.signature(self.function).parameters.values())
        return found[1:] if self.owner else found

    @functools.cached_property
    def raises(self) -> tuple[type[BaseException], ...]:
        """What the docstring says it may raise, beside a `ValueError`."""
        text = inspect.getdoc(self.function) or ""
        if self.owner and "Raises:" not in text:
            text = inspect.getdoc(self.owner) or ""
        if other := re.search(r"see `dhida_lib\.(\w+)` for the arguments and errors", text):
            text = inspect.getdoc(getattr(dhida_lib, other[1])) or ""
        section = text.split("Raises:")[-1].split("Source:")[0] if "Raises:" in text else ""
        names = re.findall(r"^ +(\w+): ", section, re.M)
        named = {**vars(builtins), "Wrong": Wrong}
        return tuple({named[name] for name in names if name in named} - {ValueError})

    @functools.cached_property
    def takes_a_path(self) -> bool:
        """Is one of the arguments a path?"""
        return self.name in PATHS or any(kind_of(self, p) == "path" for p in self.parameters)


def doors() -> list[Door]:
    """Every public function, class and method that is called."""
    return [door for name, door in sorted(everything().items()) if not listed(name, LEFT_OUT)]


def everything() -> dict[str, Door]:
    """Every public function, class and method, once, by its name."""
    found: dict[str, Door] = {}
    for module in pkgutil.walk_packages(dhida_lib.__path__, "dhida_lib."):
        if any(part.startswith("_") for part in module.name.split(".")) or listed(module.name, ROOMS):
            continue
        for name in getattr(importlib.import_module(module.name), "__all__", ()):
            thing = getattr(importlib.import_module(module.name), name, None)  # a module may not be read yet
            if not getattr(thing, "__module__", "").startswith("dhida_lib"):
                continue
            if inspect.isfunction(thing) or inspect.isclass(thing):
                same = found.setdefault(thing.__qualname__, Door(thing.__qualname__, thing))
                assert same.function is thing, f"two public things are called {thing.__qualname__}"
            if inspect.isclass(thing):
                found |= {door.name: door for door in _methods(thing.__qualname__, thing)}
    return found


def listed(name: str, patterns: Iterable[str]) -> bool:
    """Does one of the patterns fit the name?"""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _methods(place: str, owner: type) -> Iterator[Door]:
    """The public methods that a class or a private base defines, and `forward` wherever it comes from."""
    for name, member in inspect.getmembers(owner):
        raw = inspect.getattr_static(owner, name)
        function = raw.__func__ if isinstance(raw, (classmethod, staticmethod)) else member
        function = inspect.unwrap(function) if inspect.isfunction(function) else function
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        if not function.__module__.startswith("dhida_lib"):
            continue
        maker = next(c for c in owner.__mro__ if name in vars(c))
        if maker is owner or maker.__name__.startswith("_") or name == "forward":
            yield Door(f"{place}.{name}", function, owner, not isinstance(raw, classmethod))


# ---- what it is called with ------------------------------------------------------------------------------


def make(c: Case, owner: type) -> Any:
    """An object of a public class, with sensible arguments."""
    name = owner.__name__
    if name == "RetrievalData":
        return c.world.data
    if name == "Record":
        return c.world.record
    if name == "History":
        return owner([{"epoch": 1.0, "loss": 0.5}])
    if issubclass(owner, Split):
        return c.world.data.query
    if name == "CodeStore":
        made = _store(c.world)
        if len(made) < BATCH:
            made.add(c.world.signs(c.r, BATCH, BITS), torch.arange(BATCH), n=list(range(BATCH)))
        return made
    door = Door(name, owner)
    for _ in range(20):
        inner = Case(c.r, c.world, multi=c.multi)
        given = {
            p.name: good(inner, door, p) for p in door.parameters if p.name in _NEEDED or p.default is p.empty
        }
        made = None
        with contextlib.suppress(ValueError):
            made = owner(**given)
        if made is not None:
            break
    assert made is not None, f"no {name} can be made of sensible arguments"
    if isinstance(made, CodeIndex):
        made.add(c.world.signs(c.r, MANY, BITS))
    if hasattr(made, "fit") and c.r.random() < 0.9:
        made.fit(c.world.normal(c.r, 40, 9))
    return made.eval() if isinstance(made, nn.Module) and c.r.random() < 0.5 else made


# Arguments that an object is made with, though they have a default: they make it small, or whole.
_NEEDED = {"frozen", "num_classes", "num_train", "width", "anchors", "backbone", "device"}


@functools.lru_cache(maxsize=1)
def _store(world: World) -> CodeStore:
    return CodeStore("shared-table", "codes", BITS, {"n": int})


PATHS = {"Preprocess.pixels"}
"""Doors that take a path, though their annotations do not tell."""

KINDS = {"weights_name.weights": "path"}
"""What sort of value a parameter takes where its annotation does not tell."""


def kind_of(door: Door, p: inspect.Parameter) -> str:
    """What sort of value a parameter takes, by its annotation."""
    if f"{door.name}.{p.name}" in KINDS:
        return KINDS[f"{door.name}.{p.name}"]
    if p.kind is p.VAR_KEYWORD:
        return "dict"
    if p.kind is p.VAR_POSITIONAL:  # parts of a path, the only ones that the library has
        return "path"
    text = str(p.annotation)
    for mark, kind in (
        ("Callable", "callable"), ("Sequence", "list"), ("Iterable", "list"), ("Mapping", "dict"),
        ("dict", "dict"), ("list", "list"), ("Path", "path"), ("Root", "path"), ("ArrayLike", "array"),
        ("NDArray", "array"), ("Tensor", "tensor"), ("tuple", "list"), ("bool", "bool"), ("float", "float"),
        ("int", "int"),
        ("Any", "array"),
    ):  # fmt: skip
        if mark in text and not ("Protocol" in text or "device" in text):
            return kind
    return "str" if text.startswith(("str", "'str")) else "thing"


def good(c: Case, door: Door, p: inspect.Parameter) -> Any:
    """A value that fits, in some form."""
    maker = GOOD.get(f"{door.name}.{p.name}") or GOOD.get(p.name) or PLAIN[kind_of(door, p)]
    value = maker(c)
    plain = isinstance(c.me, nn.Module) or is_trusted(door, p)  # such tensors have one form
    if isinstance(value, Tensor) and value.ndim and not plain:
        text = str(p.annotation)
        form = "any" if text == "Any" else "array" if "Array" in text else "tensor"
        value = dressed(c.r, value, form)
    return value


def hostile(c: Case, door: Door, p: inspect.Parameter) -> Any:
    """A value that does not fit: one of a list, or a sensible one that was damaged."""
    kind = kind_of(door, p)
    plain = p.kind is not p.VAR_KEYWORD
    if plain and c.r.random() < 0.4 and (value := _damaged(c, good(c, door, p))) is not None:
        return value
    pool = {
        "array": HOSTILE["array"] + HOSTILE["tensor"],
        "tensor": HOSTILE["array"] + HOSTILE["tensor"] * 2,
    }.get(kind, HOSTILE[kind])
    if kind != "bool" and c.r.random() < 0.1:
        pool = HOSTILE[c.r.choice(["int", "float", "str", "dict", "list", "thing", "array"])]
    return c.r.choice(pool)


def _damaged(c: Case, value: Any) -> Any:
    """A sensible array or collection with one thing wrong; None if this is neither."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value.copy())
    if isinstance(value, Tensor) and value.ndim:
        value = value.detach().clone()
        at = tuple(c.r.randrange(n) for n in value.shape) if value.numel() else None
        kinds: list[Callable[[], Any]] = [
            lambda: value[:-1], lambda: value[:0], lambda: value[None], lambda: value[0], lambda: value.T,
            lambda: torch.cat([value, value]), lambda: value * 0, lambda: value.bool(),
            lambda: value.to(torch.complex64), lambda: value.to(torch.uint8),
            lambda: value.to(torch.float16), lambda: value.to(torch.int64) * 2**40,
            lambda: value.to_sparse(), lambda: value.to("meta"), lambda: -value.double(),
            lambda: value[..., :-1],
        ]  # fmt: skip
        if at is not None and value.is_floating_point():
            for odd in (math.nan, math.inf, 1e30):
                kinds.append(
                    lambda odd=odd: value.index_put(
                        tuple(map(torch.tensor, at)), torch.tensor(odd, dtype=value.dtype)
                    )
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return c.r.choice(kinds)()
    if isinstance(value, dict) and value:
        name = c.r.choice(list(value))
        rest = {k: v for k, v in value.items() if k != name}
        return c.one(
            rest, {**rest, name: c.r.choice(HOSTILE["thing"])}, {**value, "more": 1}, {**value, 3: 4}
        )
    if isinstance(value, (list, tuple)) and value:
        at = c.r.randrange(len(value))
        new = [*value]
        new[at] = c.r.choice(HOSTILE["thing"] + HOSTILE["int"])
        return c.one(new, new[:at], [*value, *value], [list(value)])
    return None


def is_trusted(door: Door, p: inspect.Parameter) -> bool:
    """Does this parameter get sensible values only?"""
    return listed(door.name, TRUSTED) or listed(f"{door.name}.{p.name}", TRUSTED)


def arguments(c: Case, door: Door) -> dict[str, Any]:
    """All arguments of one call."""
    mood = c.r.random()
    named = [p for p in door.parameters if p.kind is not p.VAR_POSITIONAL]
    share = 0.0 if mood < 0.25 else 1.5 / max(len(named), 1) if mood < 0.85 else 0.7
    for p in named:
        if c.r.random() < share and not is_trusted(door, p):
            value = hostile(c, door, p)
        elif p.kind is p.VAR_KEYWORD:
            value = GOOD[f"{door.name}.**"](c) if f"{door.name}.**" in GOOD else {}
        elif p.default is not p.empty and c.r.random() < 0.5:
            continue
        else:
            value = good(c, door, p)
        if p.kind is p.VAR_KEYWORD:
            named_too = {q.name for q in named}
            value = value if isinstance(value, dict) else {}
            c.args |= {
                k: v for k, v in value.items() if isinstance(k, str) and k not in named_too and k != "self"
            }
        else:
            c.args[p.name] = value
    return c.args


# ---- the verdict -----------------------------------------------------------------------------------------


class Hang(BaseException):
    """A call took too long."""


@dataclass(frozen=True)
class Fault:
    """A call that ended as none may."""

    door: str
    call: str
    what: str

    def __str__(self) -> str:
        return f"{self.door}({self.call})\n    {self.what}"


@functools.cache
def _raise_lines(file: str) -> frozenset[int]:
    """The lines of a file that belong to a `raise` statement."""
    tree = ast.parse("".join(linecache.getlines(file)))
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.Raise))
    return frozenset(itertools.chain(*(range(s.lineno, (s.end_lineno or s.lineno) + 1) for s in statements)))


def is_ours(error: BaseException) -> bool:
    """Was the error raised by a `raise` statement of the library, not by something that it called?"""
    last = traceback.extract_tb(error.__traceback__)[-1]
    inside = Path(last.filename).is_relative_to(Path(dhida_lib.__file__).parent)
    return inside and last.lineno in _raise_lines(last.filename)


_OF_A_PATH = re.compile(
    r"os\.PathLike|null (byte|character)|surrogates not allowed|[Ss]ymlink loop|home directory"
)


def allowed(door: Door, error: BaseException) -> bool:
    """May this door end with this error?"""
    if door.takes_a_path and (isinstance(error, OSError) or _OF_A_PATH.search(str(error))):
        return True  # the system's words
    if isinstance(error, ValueError):
        return is_ours(error)
    return isinstance(error, door.raises)


def shown(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Tensor):
        return f"tensor{tuple(value.shape)} of {value.dtype}, {value.layout}, {value.device}"
    if isinstance(value, np.ndarray):
        return f"array{value.shape} of {value.dtype}"
    try:
        text = repr(value)
    except Exception:
        text = type(value).__name__
    return text if len(text) < 80 else text[:80] + "…"


def _stop(signum: int, frame: FrameType | None) -> None:
    raise Hang


def call(door: Door, world: World, seed: str) -> tuple[str, Fault | None]:
    """Make one call: "answered", "refused" or "fault", and the fault."""
    c = Case(random.Random(seed), world)
    c.multi = c.r.random() < 0.3
    said = io.StringIO()
    old = signal.signal(signal.SIGALRM, _stop)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if door.owner is not None and door.bound:
            c.me = make(c, door.owner)
        args = arguments(c, door)
        text = ", ".join(f"{name}={shown(value)}" for name, value in args.items())
        first = [] if door.owner is None else [c.me if door.bound else door.owner]
        before = _memory(forget=True)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        fault = None
        outcome = "answered"
        try:
            result = _called(c, door, first, args)
            if isinstance(result, Iterator):
                list(itertools.islice(result, 5))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            outcome = "refused"
            if not allowed(door, error):
                at = traceback.extract_tb(error.__traceback__)
                ours = [f for f in at if "dhida_lib" in f.filename] or at
                where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
                fault = Fault(door.name, text, f"{type(error).__name__}: {str(error)[:200]} ({where})")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
            plt.close("all")
    grown = _memory() - before
    if grown > MEGABYTES and fault is None:
        fault = Fault(door.name, text, f"took {grown:.0f} MB")
    return ("fault" if fault else outcome), fault


def _memory(forget: bool = False) -> float:
    """The most memory that was in use, in MB, since it was last told to forget what was before."""
    peak = Path("/proc/self/clear_refs")
    if not peak.exists():  # not Linux: the most since the beginning, which hides all but the largest
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1024 if sys.platform != "darwin" else 1 << 20
        )
    if forget:
        peak.write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.M)[1]) / 1024  # type: ignore[index]


def _called(c: Case, door: Door, first: list[Any], args: dict[str, Any]) -> Any:
    """Call the door: what comes before ``*args`` by position, the rest by name."""
    kinds = [p.kind for p in door.parameters]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return door.function(*first, **args)
    at = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    before = [p.name for p in door.parameters[:at]]
    rest = list(GOOD[f"{door.name}.*"](c))
    if rest and c.r.random() < 0.5 and not is_trusted(door, door.parameters[at]):
        rest[c.r.randrange(len(rest))] = c.r.choice(HOSTILE["str"])
    named = {name: value for name, value in args.items() if name not in before}
    return door.function(*first, *(args[name] for name in before if name in args), *rest, **named)


@contextlib.contextmanager
def sandbox() -> Iterator[World]:
    """A folder of its own to call in: nothing outside is written."""
    here = os.getcwd()
    keep = {name: os.environ.get(name) for name in ("HOME", "DHIDA_ROOT", "DHIDA_CACHE", "DHIDA_DATA")}
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.environ.update(HOME=folder, DHIDA_ROOT=folder, DHIDA_CACHE=f"{folder}/cache")
            os.environ.pop("DHIDA_DATA", None)
            os.chdir(folder)
            yield World(Path(folder) / "world")
        finally:
            os.chdir(here)
            for name, value in keep.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def fuzz(door: Door, world: World, calls: int, seed: int) -> tuple[dict[str, int], list[Fault]]:
    """Make calls of one door in a copy of the world's folder that no other door has written to."""
    counts = {"answered": 0, "refused": 0, "fault": 0}
    faults: dict[str, Fault] = {}
    here = Path.cwd()
    copy = here / "copy"
    if not copy.exists():
        shutil.copytree(world.folder, copy, symlinks=True)
    os.chdir(copy)
    try:
        share = min((n for pattern, n in SLOW.items() if fnmatchcase(door.name, pattern)), default=200)
        for i in range(max(1, calls * share // 200)):
            outcome, fault = call(door, world, f"{seed}/{door.name}/{i}")
            counts[outcome] += 1
            if fault is not None:
                faults.setdefault(re.sub(r"[\d'\"].*", "", fault.what) + fault.what[-30:], fault)
    finally:
        os.chdir(here)
        if door.takes_a_path or (door.owner and Door("", door.owner).takes_a_path):  # it may have written
            shutil.rmtree(copy)
            _store.cache_clear()
    return counts, list(faults.values())


def main(arguments: list[str] | None = None) -> int:
    """Call everything, again and again with new seeds, and say what was called and found."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--seed", type=int, default=None, help="the first seed (default: the time)")
    parser.add_argument("--calls", type=int, default=200, help="calls of a door in one round (default 200)")
    parser.add_argument("--only", default="", help="only doors whose name holds this")
    parser.add_argument("--times", action="store_true", help="say how long each door took")
    asked = parser.parse_args(arguments)
    seed = int(time.time()) if asked.seed is None else asked.seed
    end = time.monotonic() + 60 * asked.minutes
    chosen = [door for door in doors() if asked.only in door.name]
    total = {"answered": 0, "refused": 0, "fault": 0}
    faults: dict[tuple[str, str], Fault] = {}
    rounds = 0
    print(f"{len(chosen)} doors, from seed {seed}")
    with sandbox() as world:
        while time.monotonic() < end or not rounds:
            for door in chosen:
                start = time.process_time()
                counts, found = fuzz(door, world, asked.calls, seed + rounds)
                total = {key: total[key] + counts[key] for key in total}
                if asked.times:
                    print(f"{time.process_time() - start:6.2f} s  {door.name}: {counts}", flush=True)
                for fault in found:
                    key = (fault.door, fault.what.split(":")[0] + fault.what[-25:])
                    if key not in faults:
                        faults[key] = fault
                        print(f"seed {seed + rounds}: {fault}", flush=True)
                if time.monotonic() > end and rounds:
                    break
            rounds += 1
    calls = sum(total.values())
    print(
        f"{calls:,} calls of {len(chosen)} doors in {rounds} rounds: {total['answered']:,} answered, "
        f"{total['refused']:,} refused in words of ours, {total['fault']:,} faults ({len(faults)} kinds)"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
