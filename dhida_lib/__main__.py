"""The command line: ``python -m dhida_lib train | evaluate`` (Chapters 11 and 13)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dhida_lib._files import sha256
from dhida_lib._validate import bad
from dhida_lib.checkpoints import load_model, save_model
from dhida_lib.data import load_dataset
from dhida_lib.records import save_record
from dhida_lib.runs import PROFILES, RunConfig, measure, run
from dhida_lib.training import Progress, pick_device

__all__ = ["main"]


def _setting(text: str) -> tuple[str, Any]:
    """Read ``name=value``; the value is JSON, or else text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value, for example bits=32")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dhida_lib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    t = commands.add_parser("train", help="train a hash network; a run that was killed goes on")
    t.add_argument("--profile", choices=list(PROFILES), default="fast", help="settings to start from")
    t.add_argument(
        "--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="change one setting"
    )
    t.add_argument("--root", help="where the data set lies, if it does not ship")
    t.add_argument("--out", required=True, type=Path, help="folder for the state, the model and the record")
    e = commands.add_parser("evaluate", help="measure a trained network again")
    e.add_argument("model", type=Path, help="the model's JSON file")
    e.add_argument("--dataset", help="another data set than the one it was trained on")
    e.add_argument("--protocol", help="another protocol than the one it was trained with")
    e.add_argument("--root", help="where the data set lies, if it does not ship")
    e.add_argument("--device", default="auto", help="auto, cpu, cuda …")
    return parser


def _summary(metrics: dict[str, Any]) -> str:
    """Two lines that say what was measured and under which rule."""
    k = "ALL" if metrics["k"] is None else metrics["k"]
    bounds = ""
    if metrics["map_pessimistic"] is not None:
        low, high = metrics["map_pessimistic"], metrics["map_optimistic"]
        bounds = f" ({low:.4f} to {high:.4f} by the order of ties)"
    return (
        f"mAP@{k} {metrics['map']:.4f}, expected under ties{bounds}; {metrics['bits']} bits, "
        f"{metrics['queries']:,} queries, {metrics['database']:,} images in the database\n"
        f"precision within Hamming radius 2: {metrics['precision_within_radius']:.4f} "
        f"({metrics['empty_balls']:.1%} of the balls are empty and count 0)"
    )


def _train(args: argparse.Namespace) -> None:
    config = PROFILES[args.profile].change(**dict(args.set))
    model, record = run(config, args.root, args.out, [Progress(config.train.epochs)])
    where = save_record(record, args.out / "record.json")
    about = {
        "record": where.name,
        "record_sha256": sha256(where),
        "config": record.config,
        "data": record.protocol,
    }
    saved = save_model(model, args.out / "model", about)
    print(_summary(record.metrics))
    print(f"model {saved}, record {where}; {record.seconds:.0f} s of training")


def _evaluate(args: argparse.Namespace) -> None:
    model, about = load_model(args.model)
    config = about.get("config", RunConfig().as_dict())
    other = args.dataset is not None and args.dataset != config["dataset"]
    protocol = args.protocol or (None if other else config["protocol"])
    data = load_dataset(args.dataset or config["dataset"], args.root, config["split_seed"], protocol)
    if data.channels != model.config["in_channels"]:
        raise bad(
            "--dataset", data.name, f"images of {model.config['in_channels']} channels, as {args.model}"
        )
    model.to(pick_device(args.device))
    print(data.describe())
    print(_summary(measure(model, data, config["method"])))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; None takes those of the process.

    Returns:
        The exit status: 0, or 2 after an error, which is one line on standard error.

    Source: ours; used in Chapters 11 and 13.
    """
    args = _parser().parse_args(argv)
    try:
        {"train": _train, "evaluate": _evaluate}[args.command](args)
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last whole epoch", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
