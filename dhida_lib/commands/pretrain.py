"""``pretrain``: a backbone as a classifier, for those without ImageNet weights (Chapter 16)."""

from __future__ import annotations

import argparse

from dhida_lib.commands._command import PROGRAM, Command
from dhida_lib.commands._output import say, summary
from dhida_lib.commands._runs import add_run, configured, made

__all__ = ["COMMAND"]


def _pretrain(args: argparse.Namespace) -> None:
    """A classifier without attention; its backbone is what `weights` of a later run takes."""
    from dhida_lib.data import DATASETS
    from dhida_lib.records import save_record

    config = configured(args, {"method": "classifier", "attention": "none", "weights": None})
    if config.data.protocol is None:
        config = config.change(protocol=DATASETS[config.data.dataset].to_pretrain)
    if (pair := made(config, args)) is None:
        return
    model, record = pair
    saved = model.save_backbone(args.out / "backbone.safetensors")
    where = save_record(record, args.out / "record.json")
    say(*summary(record.metrics))
    say(f"backbone {saved} (weights=PATH takes it), record {where}; {record.seconds:.0f} s of training")


COMMAND = Command(
    help="train a backbone as a classifier, for those without weights",
    example=f"""\
  {PROGRAM} pretrain --profile full --folder PHOTOS --out runs/start
  {PROGRAM} train --profile full --weights runs/start/backbone.safetensors --folder PHOTOS --out runs/mine""",
    arguments=add_run,
    handle=_pretrain,
)
"""Train a classifier, save its backbone."""
