"""Names of things that users can add to: losses, data sets, backbones.

A registry is a mapping from names to things. Ours are put there by the files that define them, a user's by
the same decorator, or by an entry point of an installed package, which is loaded when the registry is first
asked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from dhida_lib._validate import bad, choice

__all__ = ["Registry", "foreign_modules"]

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Name → thing.

    Args:
        what: what the things are, in words, for error messages.
        group: the entry points of installed packages that are loaded too, e.g. ``"dhida_lib.losses"``. Each
            names a module or a thing in one; importing it must call the decorator.
    """

    def __init__(self, what: str, group: str) -> None:
        self.what, self.group = what, group
        self._things: dict[str, T] = {}
        self._complete = False

    def add(self, name: str, thing: T) -> T:
        """Put a thing under a name; a name that another thing has is refused, a reload of the same is not."""
        if not isinstance(name, str) or not name or name != name.strip():
            raise bad("name", name, f"a name for the {self.what}")
        old = self._things.get(name)
        if old is not None and _home(old) != _home(thing):
            raise bad("name", name, f"free, but {_home(old)} is registered under it")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        self._load()
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._things)

    def __len__(self) -> int:
        self._load()
        return len(self._things)

    def find(self, name: str, argument: str) -> T:
        """The thing of this name, or a ``ValueError`` that names the argument and suggests what was meant."""
        return self[choice(argument, name, self)]

    def _load(self) -> None:
        """Import what installed packages add, once."""
        if self._complete:
            return
        self._complete = True  # first: what is imported may ask the registry itself
        for point in entry_points(group=self.group):
            point.load()


def _home(thing: object) -> str:
    """Where a thing was defined: the same for a class that a reload defined again."""
    kind = thing if isinstance(thing, type) or callable(thing) else type(thing)
    return f"{getattr(kind, '__module__', '?')}.{getattr(kind, '__qualname__', '?')}"


def foreign_modules(*registries: Mapping[str, object]) -> list[str]:
    """Files and modules outside this package that registered something: a worker process imports them again.

    Returns:
        Paths of the files, else names of the modules; those of installed entry points come by themselves.
    """
    found: dict[str, None] = {}
    for registry in registries:
        for thing in registry.values():
            kind = thing if isinstance(thing, type) or callable(thing) else type(thing)
            module = getattr(kind, "__module__", "")
            if module.split(".")[0] != __name__.split(".")[0] and module != "__main__":
                file = getattr(sys.modules.get(module), "__file__", None)
                found[str(Path(file).resolve()) if file else module] = None
    return list(found)
