"""``repeat``: a record's run made again, every number compared (Chapter 15)."""

from __future__ import annotations

import argparse
from pathlib import Path

from dhida_lib.commands._command import PROGRAM, Command
from dhida_lib.commands._output import make_folder, say
from dhida_lib.commands._settings import add_change, given

__all__ = ["COMMAND"]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("record", type=Path, nargs="+", help="the record's JSON file")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep the new records here")
    add_change(parser)
    parser.add_argument("--root", metavar="FOLDER", help="where the data set lies, if it does not ship")


def _repeat(args: argparse.Namespace) -> int:
    """Status 1 if a number differs. It will, on another processor or with another version of torch."""
    from dhida_lib.config import RunConfig
    from dhida_lib.experiments import repeat
    from dhida_lib.records import load_record

    if args.out:
        make_folder("--out", args.out)
    for path in args.record:
        load_record(path)  # a wrong name is found before the first run
    differ = 0
    for path in args.record:
        again = repeat(path, args.root, given(args, RunConfig), args.out)
        old, new = (record.metrics["map"] for record in (again.old, again.new))
        result = "every number the same" if again.same else f"now {new:.4f}: NOT the same"
        say(f"{path.name}: mAP {old:.4f}, {result}")
        if not again.same:
            differ += 1
            odd = "; ".join(again.machines) or "no difference that a record knows"
            say(f"  between the machines: {odd}")
    return int(differ > 0)


COMMAND = Command(
    help="make a record's run again, and compare every number",
    example=f"  {PROGRAM} repeat runs/first/record.json",
    arguments=_arguments,
    handle=_repeat,
)
"""Read, run, compare."""
