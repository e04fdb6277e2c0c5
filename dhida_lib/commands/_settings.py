"""Flags for the settings of a run, generated from `RunConfig`: names, meanings and defaults stand there once.

Why a generator of our own over argparse: tyro 1.0 and jsonargparse 4.53 were tried on `RunConfig`. Both are
fast (0.03 s to import, 0.05 s to print the help, beside 1.3 s for torch) and print a good help. But tyro
leaves ``loss.options`` out, a dictionary without fixed fields, and frames an error in ten lines; jsonargparse
prints the usage of all flags before an error, and takes "none" for a text. Neither shows what each profile
sets, and short names, a profile below and ``--set`` above took code of about this length with either. So
nothing more is installed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dhida_lib.commands._listed import listed

if TYPE_CHECKING:
    from dhida_lib.config import RunConfig

__all__ = ["add_change", "add_settings", "given"]

Given = tuple[str, Any]
"""A setting's name and its value, as one flag says it."""


def add_change(parser: argparse._ActionsContainer) -> None:
    """Add ``--set NAME=VALUE``."""
    parser.add_argument(
        "--set",
        dest="settings",
        type=_assignment,
        action="append",
        metavar="NAME=VALUE",
        help="change one setting, by its short or long name; the value is JSON, or else text",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add two flags for every setting: ``--part.name`` and ``--name``."""
    for part, about in listed()["parts"].items():
        group = parser.add_argument_group(f"{part}: {about['title']}")
        for name, setting in about["settings"].items():
            text = _with_choices(setting["meaning"], setting["choices"])
            usual = _defaults(setting["values"])
            _add_setting(group, part, name, setting["kinds"], f"{text} (default: {usual})")


def _add_setting(group: argparse._ArgumentGroup, part: str, name: str, kinds: list[str], text: str) -> None:
    read, value = _reader(name, kinds)
    both = [f"--{part}.{name}", f"--{name}"]
    dashed = [flag.replace("_", "-") for flag in both if "_" in flag]
    alone: dict[str, Any] = {"nargs": "?", "const": (name, True)} if bool.__name__ in kinds else {}
    shown = text.replace("%", "%%")
    group.add_argument(
        *both, *dashed, dest="settings", action="append", type=read, metavar=value, help=shown, **alone
    )


def given(args: argparse.Namespace, config: type[RunConfig]) -> dict[str, Any]:
    """The settings that a line gives, by flat name; the last one counts, and loss options add up.

    Args:
        args: what was parsed.
        config: the class that knows the names.

    Returns:
        What `RunConfig.change` takes.

    Raises:
        ValueError: if a long name is none.
    """
    values: dict[str, Any] = {}
    for long, value in args.settings or []:
        name = config.short(long)
        both = isinstance(value, dict) and isinstance(values.get(name), dict)
        values[name] = {**values[name], **value} if both else value
    return values


# ---- values ------------------------------------------------------------------------------------------------


def _assignment(text: str) -> Given:
    """Read ``name=value``; the value is JSON, or else text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value, for example bits=32")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists in lists in lists
        raise argparse.ArgumentTypeError(f"the value of {name!r} cannot be read: {error}") from error


def _reader(name: str, kinds: Sequence[str]) -> tuple[Callable[[str], Given], str]:
    """How the text of a setting is read, and what the help writes in its place.

    A text that is no such value stays text: the configuration says what it needs.
    """
    empty = type(None).__name__ in kinds

    def reader(convert: Callable[[str], Any]) -> Callable[[str], Given]:
        def read(text: str) -> Given:
            if empty and text.lower() in ("none", "null"):
                return name, None
            try:
                return name, convert(text)
            except ValueError:
                return name, text

        return read

    for kind, convert, value in _KINDS:
        if kind.__name__ in kinds:
            return reader(convert), value
    return _options(name), "NAME=VALUE"


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_KINDS: tuple[tuple[type, Callable[[str], Any], str], ...] = (
    (bool, _truth, "{true,false}"),
    (int, int, "N"),
    (float, float, "X"),
    (str, str, "TEXT"),
)


def _options(name: str) -> Callable[[str], Given]:
    """Read one entry of a dictionary, ``gamma=0.2``, or the whole of it as JSON."""

    def read(text: str) -> Given:
        if not text.lstrip().startswith("{"):
            return name, dict([_assignment(text)])
        return name, _assignment(f"{name}={text}")[1]

    return read


# ---- words -------------------------------------------------------------------------------------------------


def _with_choices(text: str, choices: Iterable[str]) -> str:
    """The meaning, with the names that can be given unless it says them all."""
    names = list(choices)
    return text if all(f'"{name}"' in text for name in names) else f"{text} One of: {', '.join(names)}."


def _defaults(values: dict[str, Any]) -> str:
    """Each profile's value in words; one word where all have the same."""
    of: dict[str, list[str]] = {}
    for profile, value in values.items():
        of.setdefault("none" if value is None else _shown(value), []).append(profile)
    if len(of) == 1:
        return next(iter(of))
    return "; ".join(f"{value} in {', '.join(names)}" for value, names in of.items())


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
