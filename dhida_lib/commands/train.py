"""``train``: a hash network, its model and its record (Chapter 11)."""

from __future__ import annotations

import argparse

from dhida_lib.commands._command import PROGRAM, Command
from dhida_lib.commands._output import say, summary
from dhida_lib.commands._runs import add_run, configured, made

__all__ = ["COMMAND"]


def _train(args: argparse.Namespace) -> None:
    if (pair := made(configured(args), args)) is None:
        return
    from dhida_lib.runs import save_run

    model, record = pair
    saved, where = save_run(model, record, args.out)
    say(*summary(record.metrics))
    say(f"model {saved}, record {where}; {record.seconds:.0f} s of training")


COMMAND = Command(
    help="train a hash network; a run that was killed goes on",
    example=f"""\
  {PROGRAM} train --out runs/first
  {PROGRAM} train --bits 32 --training.epochs 8 --loss.options gamma=0.2 --out runs/second
  {PROGRAM} train --folder PHOTOS --backbone efficientnet-lite0 --frozen all --out runs/photos""",
    arguments=add_run,
    handle=_train,
)
"""Train, measure, save."""
