"""What a command is, and the parser that all of them share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from dhida_lib.commands._output import harmless

__all__ = ["PROGRAM", "Command", "Parser"]

PROGRAM = "python -m dhida_lib"


@dataclass(frozen=True)
class Command:
    """A command: how it is described, which arguments it takes, and what it does.

    Args:
        help: what it does, in half a line.
        example: lines that can be typed, for the end of its help.
        arguments: adds its arguments to a parser.
        handle: does the work; returns the exit status, None for 0.
    """

    help: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    handle: Callable[[argparse.Namespace], int | None]


class _Format(argparse.RawDescriptionHelpFormatter):
    """A flag's names, then its value once; of a name with ``_`` the form with ``-`` is not shown."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        known = [n.replace("_", "-") for n in action.option_strings if "_" in n]
        names = ", ".join(n for n in action.option_strings if n not in known)
        if action.nargs == 0:
            return names
        return f"{names} {self._format_args(action, (action.dest or '').upper())}"


class Parser(argparse.ArgumentParser):
    """A parser that suggests what was meant, and whose errors cannot steer a terminal.

    Args:
        prog: What is typed to run the command.
        description: What it is for, in a line.
        epilog: What stands under the list of its flags.
    """

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(prog, None, description, epilog, allow_abbrev=False, formatter_class=_Format)

    def error(self, message: str) -> NoReturn:
        """Say how the command is used and what is wrong, and end with status 2."""
        super().error(harmless(message))

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all words; of a flag that is not known the nearest one is suggested."""
        args, rest = self.parse_known_args(words)
        if rest:
            from dhida_lib._validate import suggestion

            flags = [word.partition("=")[0] for word in rest if word.startswith("--")]
            near = suggestion(flags[0], self._option_string_actions) if flags else ""
            self.error(f"unknown: {' '.join(rest)}{near}")
        return args
