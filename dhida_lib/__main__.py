"""The command line, ``python -m dhida_lib COMMAND``: the first word, and what happens to an error.

Parsers and handlers stand in `dhida_lib.commands`, a file for each command. Used in Chapters 11, 13 and 18.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence

from dhida_lib import __version__
from dhida_lib.commands import COMMANDS, PROGRAM, Command, Parser
from dhida_lib.commands._output import harmless

__all__ = ["main"]

_ABOUT = """\
Train a deep hashing network, measure it, search pictures with it.

An error is one line on standard error; with DHIDA_TRACEBACK=1 in the environment, the place in the code where
it arose stands above it. With --import FILE a command first imports a Python file of your own, so that what
this registers (a loss, a data set, a backbone) can be named like ours."""
_LONGEST = 1000  # characters of an error; torch lists every tensor, and a path may be longer than a page


def _top() -> Parser:
    """The parser of the first word."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.help}" for name, command in COMMANDS.items()]
    listed = "commands (COMMAND --help says more, with an example):\n" + "\n".join(lines)
    parser = Parser(PROGRAM, _ABOUT, listed)
    parser.usage = f"{PROGRAM} COMMAND …"
    parser.add_argument("--version", action="version", version=f"dhida_lib {__version__}")
    parser.add_argument("command", type=_known, metavar="COMMAND", help="one of those below")
    return parser


def _known(name: str) -> str:
    if name in COMMANDS:
        return name
    from dhida_lib._validate import suggestion

    known = ", ".join(COMMANDS)
    raise argparse.ArgumentTypeError(f"must be one of {known}, but got {name!r}{suggestion(name, COMMANDS)}")


def _parsed(words: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """The command, and its arguments; the first word says whose."""
    name = _top().parse_args(words[:1]).command
    command = COMMANDS[name]
    parser = Parser(f"{PROGRAM} {name}", f"{command.help}.", f"example:\n{command.example}")
    command.arguments(parser)
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="FILE",
        help="import a Python file or module first, for what it registers",
    )
    return command, parser.read(words[1:])


def _sentence(error: Exception) -> str:
    """An error in one line. Those that no check foresaw have their kind before them, and how to see more."""
    text = re.sub(r"\s*\n\s*", " ", str(error).strip())
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
    if not isinstance(error, (ValueError, OSError, FloatingPointError, ImportError, MemoryError)):
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
        text += " (with DHIDA_TRACEBACK=1 in the environment the same command says where)"
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; None takes those of the process.

    Returns:
        The exit status: 0; 1 if a record did not repeat or `doctor` found something to do; 2 after an error,
        which is one line on standard error; 130 after Ctrl-C.
    """
    warnings.filterwarnings("ignore", module="PIL")  # it warns of odd files that it reads all the same
    try:
        command, args = _parsed(sys.argv[1:] if argv is None else argv)
        if args.imports:
            from dhida_lib.extensions import import_extension

            for extension in args.imports:
                import_extension(extension)
        return command.handle(args) or 0
    except Exception as error:  # whatever it is, a shell needs a status of its own for it
        if os.environ.get("DHIDA_TRACEBACK"):
            traceback.print_exc()
        print(f"error: {harmless(_sentence(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last whole epoch", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
