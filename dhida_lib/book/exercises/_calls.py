"""Which torch functions does an answer call? For the exercises that forbid one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode


class TorchCalls(TorchFunctionMode):
    """Notes, inside a ``with``, the names of the torch functions and methods that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Note the name, and call the function as if nobody were looking."""
        self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))
