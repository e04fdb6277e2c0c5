"""``reproduce``: the runs behind a table, except those recorded (Chapters 14, 15, 16 and 19)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dhida_lib.commands._command import PROGRAM, Command
from dhida_lib.commands._listed import listed
from dhida_lib.commands._output import make_folder, say
from dhida_lib.commands._settings import add_change, given

if TYPE_CHECKING:
    from dhida_lib.experiments import Job
    from dhida_lib.records import Record

__all__ = ["COMMAND"]


def _arguments(parser: argparse.ArgumentParser) -> None:
    tables = listed()["tables"]
    shown = "; ".join(f"{name}: {text}" for name, text in tables.items())
    parser.add_argument("table", choices=tables, metavar="table", help=shown)
    parser.add_argument(
        "--dataset", default="fashion-mnist", metavar="NAME", help="the data set (default: fashion-mnist)"
    )
    parser.add_argument(
        "--bits", type=int, nargs="+", default=[16], metavar="N", help="code lengths (default: 16)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="seeds (default: 0)")
    parser.add_argument(
        "--rows", nargs="+", metavar="ROW", help="only these rows; in a table of methods any registered loss"
    )
    parser.add_argument(
        "--init-std", type=float, nargs="+", metavar="X", help="starts of the hash layer, for table4"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="runs at a time, each in a process of its own (default: 1)",
    )
    parser.add_argument(
        "--budget", type=float, metavar="SECONDS", help="begin no run that would not end in time"
    )
    parser.add_argument(
        "--records",
        type=Path,
        default=Path("data/records"),
        metavar="FOLDER",
        help="parent of the records' folder (default: data/records)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("_build/runs"),
        metavar="FOLDER",
        help="states of unfinished runs (default: _build/runs)",
    )
    parser.add_argument("--dry-run", action="store_true", help="list what is left, run nothing")
    add_change(parser)
    parser.add_argument("--root", metavar="FOLDER", help="where the data set lies, if it does not ship")


def _reproduce(args: argparse.Namespace) -> None:
    from dhida_lib.config import RunConfig
    from dhida_lib.data import DATASETS
    from dhida_lib.experiments import missing, plan, reproduce
    from dhida_lib.records import load_records

    folder = args.records / args.dataset
    source = args.records / (DATASETS.find(args.dataset, "--dataset").settings_from or args.dataset)
    change = given(args, RunConfig)

    def make_plan(records: list[Record]) -> list[Job]:
        searched = load_records(source) if source != folder and source.is_dir() else []
        known = [*records, *searched]
        return plan(args.table, args.dataset, args.bits, args.seeds, known, args.rows, args.init_std, change)

    if args.dry_run:
        left = missing(make_plan, folder)
        for job in left:
            say(f"{job.row:20s} {job.name}")
        say(f"{len(left)} runs left in {folder}")
        return
    make_folder("--records", folder)
    make_folder("--work", args.work)
    count = reproduce(make_plan, folder, args.root, args.work, args.jobs, args.budget, say)
    say(f"{count} runs made, records in {folder}")


COMMAND = Command(
    help="make the runs behind a table, except those recorded",
    example=f"""\
  {PROGRAM} reproduce table4 --dataset fashion-mini --seeds 0 1 2 --dry-run
  {PROGRAM} reproduce table3 --rows DHIDA my-loss --import my_loss.py --set epochs=4 --records mine""",
    arguments=_arguments,
    handle=_reproduce,
)
"""Plan, run what is missing, record."""
