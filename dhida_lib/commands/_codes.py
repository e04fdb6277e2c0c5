"""What `encode` and `search` share: the model, where the codes are kept, the device."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_codes"]


def add_codes(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, ``--index`` or ``--store``, and ``--device``."""
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="the model's JSON file")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--index", type=Path, metavar="NAME", help="the index, without suffix")
    place.add_argument("--store", metavar="URI", help="a LanceDB folder or address, past one machine")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda … (default: auto)")
