"""``evaluate``: a trained network measured again, on its own or on other data (Chapter 13)."""

from __future__ import annotations

import argparse
from pathlib import Path

from dhida_lib.commands._command import PROGRAM, Command
from dhida_lib.commands._output import say, summary

__all__ = ["COMMAND"]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="the model's JSON file")
    parser.add_argument("--dataset", metavar="NAME", help="another data set than the one it was trained on")
    parser.add_argument(
        "--protocol", metavar="NAME", help="another protocol than the one it was trained with"
    )
    parser.add_argument("--root", metavar="FOLDER", help="where the data set lies, if it does not ship")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda … (default: auto)")


def _evaluate(args: argparse.Namespace) -> None:
    from dhida_lib._validate import bad
    from dhida_lib.config import RunConfig
    from dhida_lib.data import load_dataset
    from dhida_lib.models import HashNetwork
    from dhida_lib.runs import measure
    from dhida_lib.training import pick_device

    model = HashNetwork.load(args.model)
    own = RunConfig.from_dict(model.about.get("config", {})).data
    protocol = args.protocol or (own.protocol if args.dataset in (None, own.dataset) else None)
    form = None if model.preprocess is None else model.preprocess.form
    where = own.folder if args.root is None else args.root
    data = load_dataset(args.dataset or own.dataset, where, own.split_seed, protocol, None, form)
    if data.channels != model.config["in_channels"]:
        raise bad(
            "--dataset", data.name, f"images of {model.config['in_channels']} channels, as {args.model}"
        )
    model.to(pick_device(args.device))
    say(*data.describe().splitlines())
    say(*summary(measure(model, data)))


COMMAND = Command(
    help="measure a trained network again",
    example=f"""\
  {PROGRAM} evaluate runs/first/model.json
  {PROGRAM} evaluate runs/photos/model.json --root PHOTOS""",
    arguments=_arguments,
    handle=_evaluate,
)
"""Load, encode, measure."""
