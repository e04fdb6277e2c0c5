"""``search``: the pictures that are nearest to one (Chapter 18)."""

from __future__ import annotations

import argparse
from pathlib import Path

from dhida_lib.commands._codes import add_codes
from dhida_lib.commands._command import PROGRAM, Command
from dhida_lib.commands._output import say

__all__ = ["COMMAND"]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="the question")
    parser.add_argument("-k", type=int, default=10, metavar="N", help="how many at most (default: 10)")
    parser.add_argument("--within", type=int, metavar="RADIUS", help="only within this Hamming radius")
    parser.add_argument("--only", metavar="PATTERN", help="only files whose path fits, such as '*/holiday/*'")
    parser.add_argument(
        "--where", metavar="SQL", help="with --store: only rows that fit, over file and bytes"
    )
    add_codes(parser)


def _search(args: argparse.Namespace) -> None:
    from dhida_lib._validate import bad
    from dhida_lib.search.photos import find_in_store, find_similar

    if args.store:
        for name in ("within", "only"):
            if getattr(args, name) is not None:
                raise bad(f"--{name}", getattr(args, name), "left out with --store; --where takes conditions")
        matches = find_in_store(args.image, args.model, args.store, args.k, args.where, args.device)
    elif args.where is not None:
        raise bad("--where", args.where, "left out with --index; --only takes a pattern")
    else:
        matches = find_similar(
            args.image, args.model, args.index, args.k, args.within, args.only, args.device
        )
    for match in matches:
        say(f"{match.distance:4d}  {match.file}")
    if not matches:
        say("nothing found")


COMMAND = Command(
    help="find the pictures that are nearest to one",
    example=f"  {PROGRAM} search CAT.jpg --model runs/photos/model.json --index runs/photos/index -k 5",
    arguments=_arguments,
    handle=_search,
)
"""Encode the question, rank the codes."""
