"""``encode``: codes of all pictures in a folder (Chapter 18)."""

from __future__ import annotations

import argparse
import sys

from dhida_lib.commands._codes import add_codes
from dhida_lib.commands._command import PROGRAM, Command
from dhida_lib.commands._output import say

__all__ = ["COMMAND"]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="where the pictures are")
    add_codes(parser)


def _encode(args: argparse.Namespace) -> None:
    from dhida_lib._distributed import begin, rank, world
    from dhida_lib._validate import bad
    from dhida_lib.search.photos import encode_folder, encode_to_store

    begin()
    if args.store:
        report = encode_to_store(args.folder, args.model, args.store, args.device, say=say)
    elif world() > 1:
        raise bad("--index", str(args.index), "--store: several processes cannot write one index")
    else:
        report = encode_folder(args.folder, args.model, args.index, args.device, say=say)
    if rank() > 0:
        return
    for reason in report.skipped.values():
        say(f"skipped: {reason}", file=sys.stderr)
    where = f"table in {args.store}" if args.store else f"index {args.index}.json"
    changes = f"{report.encoded:,} pictures encoded, {report.kept:,} kept, {report.removed:,} removed"
    say(f"{changes}, {len(report.skipped):,} skipped; {where}")


COMMAND = Command(
    help="encode the pictures in a folder; a second call reads what is new",
    example=f"  {PROGRAM} encode PHOTOS --model runs/photos/model.json --index runs/photos/index",
    arguments=_arguments,
    handle=_encode,
)
"""Read pictures, write codes."""
