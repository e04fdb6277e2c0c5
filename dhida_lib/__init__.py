"""Deep hashing for image retrieval: the finished and tested pieces of the DHIDA book.

A network is trained and measured, saved, and asked for the codes of files:

    model, record = run(PROFILES["fast"])
    model.save("first")
    model = HashNetwork.load("first.json")
    codes = model.codes(model.preprocess(["a.png", "b.png"]))

`train`, `encode` and `RetrievalData` do the same with images, data sets and networks of your own (README).

The rooms, from the ground up: `quantization` (Eq. 1, 2, 15), `attention` (Eq. 3–8), `backbones` and `models`
(Table 1, Eq. 14; a saved model knows what its images go through), `metrics` (§4.2), `data` (§4.1; its
`sources` hold a data set each), `losses` (Eq. 9–13 and other methods, a file each), `config` (every setting),
`training` (Algorithm 1), `runs` and `records` (a whole run, and what it gave), `search` (codes in use),
`experiments` (Tables 3 and 4), `testing` (checks for classes of your own, which `register_loss`,
`register_dataset` and `register_backbone` make known), `book` (what only the chapters need).

A name is imported when it is first used: ``import dhida_lib`` loads torch, and nothing for drawing, searching
or notebooks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "dhida_lib.attention": ("ChannelAttention", "DualAttention", "PositionAttention"),
    "dhida_lib.backbones": ("register_backbone",),
    "dhida_lib.data": (
        "DataSource",
        "Preprocess",
        "Protocol",
        "RetrievalData",
        "Split",
        "batches",
        "data_path",
        "load_dataset",
        "register_dataset",
    ),
    "dhida_lib.losses": ("ClassifierLoss", "DHIDALoss", "HashLoss", "register_loss"),
    "dhida_lib.models": ("HashNetwork", "load_model", "save_model"),
    "dhida_lib.quantization": (
        "one_hot_codes",
        "piecewise",
        "quantization_error",
        "sign",
        "straight_through_sign",
    ),
    "dhida_lib.records": ("Record", "load_record", "load_records", "save_record"),
    "dhida_lib.book.start": ("start",),
    "dhida_lib.config": ("PROFILES", "RunConfig", "TrainConfig"),
    "dhida_lib.runs": ("build", "measure", "run"),
    "dhida_lib.labels": ("similarity",),
    "dhida_lib.training": (
        "CsvLog",
        "History",
        "Monitor",
        "PrintLog",
        "Progress",
        "TensorBoardLog",
        "encode",
        "outputs",
        "seed_everything",
        "train",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = {name: f"dhida_lib.book.{name}" for name in ("checks", "exercises", "plots", "widgets")}
"""Modules that are asked for as if they stood here."""

__all__ = sorted([*_HOME, "checks", "losses", "metrics", "plots", "widgets"])


def __getattr__(name: str) -> Any:
    """Import a name, or a module, when it is first asked for."""
    if name in _HOME:
        found = getattr(importlib.import_module(_HOME[name]), name)
    elif name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    else:
        module = _ROOMS.get(name, f"{__name__}.{name}")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from dhida_lib import losses, metrics
    from dhida_lib.attention import ChannelAttention, DualAttention, PositionAttention
    from dhida_lib.backbones import register_backbone
    from dhida_lib.book import checks, plots, widgets
    from dhida_lib.book.start import start
    from dhida_lib.config import PROFILES, RunConfig, TrainConfig
    from dhida_lib.data import (
        DataSource,
        Preprocess,
        Protocol,
        RetrievalData,
        Split,
        batches,
        data_path,
        load_dataset,
        register_dataset,
    )
    from dhida_lib.labels import similarity
    from dhida_lib.losses import ClassifierLoss, DHIDALoss, HashLoss, register_loss
    from dhida_lib.models import HashNetwork, load_model, save_model
    from dhida_lib.quantization import (
        one_hot_codes,
        piecewise,
        quantization_error,
        sign,
        straight_through_sign,
    )
    from dhida_lib.records import Record, load_record, load_records, save_record
    from dhida_lib.runs import build, measure, run
    from dhida_lib.training import (
        CsvLog,
        History,
        Monitor,
        PrintLog,
        Progress,
        TensorBoardLog,
        encode,
        outputs,
        seed_everything,
        train,
    )
