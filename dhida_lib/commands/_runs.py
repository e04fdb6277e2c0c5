"""What `train` and `pretrain` share: a configuration from flags, what watches the run, the run itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhida_lib.commands._listed import listed
from dhida_lib.commands._output import make_folder
from dhida_lib.commands._settings import add_change, add_settings, given

if TYPE_CHECKING:
    from dhida_lib.config import RunConfig
    from dhida_lib.models import HashNetwork
    from dhida_lib.records import Record
    from dhida_lib.training import Callback

__all__ = ["add_run", "configured", "made"]


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add everything that decides a run, and where its files go."""
    profiles = listed()["profiles"]
    parser.usage = f"{parser.prog} --out FOLDER [--profile NAME | --config FILE] [--SETTING VALUE …]"
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="folder for all that is made"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--profile",
        choices=profiles,
        metavar="NAME",
        help=f"settings to start from, one of {', '.join(profiles)} (default: frozen with --folder or "
        "--frozen, else fast)",
    )
    start.add_argument(
        "--config", type=Path, metavar="FILE", help="settings in a TOML file, a table for each part"
    )
    add_change(parser)
    parser.add_argument("--root", metavar="FOLDER", help="where the data set lies, if it does not ship")
    parser.add_argument(
        "--log", choices=("csv", "tensorboard"), nargs="+", default=[], help="write each epoch's row"
    )
    add_settings(parser)


def configured(args: argparse.Namespace, start: dict[str, Any] | None = None) -> RunConfig:
    """The run that a line describes: a profile or a file, then what the command changes, then the flags."""
    from dhida_lib.config import PROFILES, RunConfig

    change = given(args, RunConfig)
    if args.config is not None:
        base = RunConfig.from_file(args.config)
    else:
        photos = any(change.get(name) is not None for name in ("folder", "frozen"))
        base = PROFILES[args.profile or ("frozen" if photos and not start else "fast")]
    return base.change(**{**(start or {}), **change})


def made(config: RunConfig, args: argparse.Namespace) -> tuple[HashNetwork, Record] | None:
    """Make the run; None in every process but the first, which alone writes and speaks."""
    from dhida_lib._distributed import begin, rank
    from dhida_lib.runs import run

    make_folder("--out", args.out)
    begin()
    first = rank() == 0
    pair = run(config, args.root, args.out, _watching(args, config) if first else [])
    return pair if first else None


def _watching(args: argparse.Namespace, config: RunConfig) -> list[Callback]:
    """A progress bar, and the logs that were asked for."""
    from dhida_lib.training import CsvLog, Progress, TensorBoardLog

    watching: list[Callback] = [Progress(config.training.epochs)]
    if "csv" in args.log:
        watching.append(CsvLog(args.out / "log.csv"))
    if "tensorboard" in args.log:
        watching.append(TensorBoardLog(args.out / "tensorboard"))
    return watching
