"""How often the host waits for the GPU, counted (Chapter 12).

A GPU works through a queue; the host goes on at once and waits only where it needs a number: `.item()`,
`if tensor:`, a mask whose result has as many rows as the mask has ones. On a GPU PyTorch itself says so
(``torch.cuda.set_sync_debug_mode``). Where there is none, the same operations are counted as they are called.
"""

from __future__ import annotations

import traceback
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Waits"]

_READS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal")
"""Operations of ATen that hand a number, or a size, to the host."""
_COPIES = (Tensor.tolist, Tensor.cpu)
"""Methods that bring a whole tensor to the host; on a CPU they call nothing that could be counted instead."""


class Waits:
    """A block in which waits for the GPU are counted: ``with Waits() as waits: step()``.

    Copies from a CPU's memory to itself cost nothing; what is counted there is what would wait if the tensors
    were a GPU's. What happens in other threads is not counted.

    Attributes:
        where: one entry for each wait: what waited and in which line, such as ``"item, loop.py:210"``.

    Source: PyTorch, CUDA semantics, asynchronous execution; used in Chapter 12.
    """

    def __init__(self) -> None:
        self._found: list[str] = []
        self._caught: list[warnings.WarningMessage] | None = None
        self._stack = ExitStack()

    @property
    def where(self) -> list[str]:
        """What waited and in which line, in order."""
        said = [w for w in self._caught or () if "called a synchronizing" in str(w.message)]
        return self._found + [f"wait, {_place(w.filename, w.lineno)}" for w in said]

    @property
    def count(self) -> int:
        """How many waits there were."""
        return len(self.where)

    def __enter__(self) -> Waits:
        if torch.cuda.is_available():
            self._caught = self._stack.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            self._stack.callback(torch.cuda.set_sync_debug_mode, torch.cuda.get_sync_debug_mode())
            torch.cuda.set_sync_debug_mode("warn")
        else:
            self._stack.enter_context(_Methods(self))
            self._stack.enter_context(_Operations(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _add(self, what: str) -> None:
        """Count a wait of the line that called torch."""
        frames = [f for f in traceback.extract_stack() if "/torch/" not in f.filename.replace("\\", "/")]
        frames = [f for f in frames if not f.filename.endswith("waits.py")]
        self._found.append(f"{what}, {_place(frames[-1].filename, frames[-1].lineno)}")


def _place(file: str, line: int | None) -> str:
    """A line of a file, without its folder."""
    return f"{Path(file).name}:{line}"


class _Operations(TorchDispatchMode):
    """Sees every operation of ATen, those inside of others too."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = [
            x for x in (args[1] if name in ("index", "index_put", "index_put_") else ()) if x is not None
        ]
        if name in _READS or any(mask.dtype in (torch.bool, torch.uint8) for mask in masks):
            self.waits._add(name)
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    """Sees every call of a function or method of torch."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _COPIES:
            self.waits._add(func.__name__)
        return func(*args, **(kwargs or {}))
