"""``gpu``: a session on a GPU: check the card, climb the ladder, train what fits (Chapter 12)."""

from __future__ import annotations

import argparse
from pathlib import Path

from dhida_lib.commands._command import PROGRAM, Command
from dhida_lib.commands._listed import listed
from dhida_lib.commands._output import make_folder, say
from dhida_lib.commands._settings import add_change, given

__all__ = ["COMMAND"]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parts = listed()["gpu"]
    parser.add_argument(
        "--budget", type=float, default=40.0, metavar="MINUTES", help="time for all of it (default: 40)"
    )
    parser.add_argument("--root", metavar="FOLDER", help="where CIFAR-10 lies")
    parser.add_argument(
        "--download",
        action="store_true",
        help="get CIFAR-10 and the ImageNet weights with torchvision if they are not here",
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        default=parts,
        choices=parts,
        metavar="PART",
        help=f"only these of {', '.join(parts)}",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="seeds (default: 0)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("data/records/gpu"),
        metavar="FOLDER",
        help="parent of the card's folder (default: data/records/gpu)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("_build/gpu"),
        metavar="FOLDER",
        help="states of unfinished runs, and what is downloaded (default: _build/gpu)",
    )
    parser.add_argument("--toy", action="store_true", help="all of it at the smallest size, on any machine")
    parser.add_argument("--device", default="auto", metavar="NAME", help="where it runs (default: auto)")
    add_change(parser)


def _gpu(args: argparse.Namespace) -> None:
    from dhida_lib.config import RunConfig
    from dhida_lib.experiments.gpu import run_gpu

    change = given(args, RunConfig)
    make_folder("--out", args.out)
    make_folder("--work", args.work)
    run_gpu(
        args.budget,
        args.root,
        args.out,
        args.work,
        args.toy,
        args.download,
        args.parts,
        args.seeds,
        change,
        args.device,
        say,
    )


COMMAND = Command(
    help="a session on a GPU: check the card, measure, train what fits",
    example=f"""\
  {PROGRAM} gpu --budget 40 --download
  {PROGRAM} gpu --toy --out rehearsal""",
    arguments=_arguments,
    handle=_gpu,
)
"""Check, measure, train, record."""
