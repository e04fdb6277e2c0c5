"""One run: data, network, loss; training, measuring, and the record of it. Built in Chapter 11."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dhida_lib import _distributed
from dhida_lib._files import sha256
from dhida_lib._validate import bad, instance, number
from dhida_lib.backbones import BACKBONES, ImageForm, image_form
from dhida_lib.codes import to_codes
from dhida_lib.config import PROFILES, RunConfig
from dhida_lib.data import DATASETS, RetrievalData, load_dataset
from dhida_lib.frozen import with_maps
from dhida_lib.losses import LOSSES, HashLoss, build_loss
from dhida_lib.metrics import evaluate
from dhida_lib.models import HashNetwork, Head
from dhida_lib.records import Record, as_recorded, machine, save_record
from dhida_lib.training import Callback, outputs, pick_device, seed_everything, train

__all__ = ["PROFILES", "RunConfig", "build", "hold_out", "measure", "run", "save_run"]


def hold_out(data: RetrievalData, held_out: float) -> RetrievalData:
    """Cut a validation set from the training images, to choose settings by; the queries stay untouched.

    One half of the cut are the queries, the other half is the database. Both are images that training has
    not seen, as in the protocol: a search among training images would favour settings that learn those by
    heart.

    Args:
        data: the data.
        held_out: which part of the training images is cut off, 0 < held_out < 1.

    Returns:
        Data whose training images are the first of the old ones, and whose queries and database are the two
        halves of the cut; the database also holds the training images where the protocol's does.

    Raises:
        ValueError: if ``held_out`` is no number, or leaves no image on one side.

    Source: the paper has no validation set; used for the settings of Chapter 11.
    """
    n = len(instance("data", data, RetrievalData, "the data, as `load_dataset` gives them").train)
    held_out = number("held_out", held_out)
    cut = n - round(n * held_out) if 0 < held_out < 1 else 0
    middle = (cut + n) // 2
    if not 0 < cut < middle < n:
        raise bad("held_out", held_out, f"a share between 0 and 1 that leaves images on both sides of {n}")
    inside = data.protocol.database_includes_train
    searched = [*range(cut), *range(middle, n)] if inside else range(middle, n)
    text = f"Validation: {n - cut:,} of {n:,} training images are cut off; half ask, half are searched."
    protocol = replace(data.protocol, name=f"{data.protocol.name}, validation", text=text)
    return replace(
        data,
        protocol=protocol,
        train=data.train.take(cut),
        query=data.train.take(range(cut, middle)),
        database=data.train.take(searched),
    )


def build(
    config: RunConfig, root: str | os.PathLike[str] | None = None
) -> tuple[RetrievalData, HashNetwork, HashLoss]:
    """Make a run's parts: its data, its network (seeded) and its loss.

    Args:
        config: the run.
        root: where the data set lies, if it does not ship.

    Returns:
        Data, network, loss. The network knows the data's preprocessing and classes, and how the method makes
        codes.

    Raises:
        ValueError: if a setting is wrong.
        FileNotFoundError: if the data or the weights are not here.

    Source: Algorithm 1; built in Chapter 11.
    """
    instance("config", config, RunConfig, "a RunConfig")
    d, n, method = config.data, config.network, LOSSES[config.loss.method]
    form = image_form(n.backbone, n.weights)
    _fitting_side(config, form)
    with _distributed.first_alone():
        where = d.folder if root is None else root
        data = load_dataset(d.dataset, where, d.split_seed, d.protocol, d.image_size, form)
    if d.held_out:
        data = hold_out(data, d.held_out)
    bits = method.length(n.bits, data.num_classes)
    seed_everything(config.training.seed)
    model = HashNetwork(
        n.backbone,
        n.attention,
        bits,
        weights=n.weights,
        init_std=n.init_std,
        in_channels=data.channels,
        reduce=n.reduce,
        fusion=n.fusion,
        width=n.width,
        frozen=n.frozen,
        neck=n.neck,
        code_rule=method.code_rule,
    )
    model.preprocess, model.class_names = data.preprocess, data.class_names
    bank = len(data.train) if config.loss.pairs == "bank" and method.uses_bank else None
    loss = build_loss(config.loss.method, bits, bank, data.num_classes, **config.loss.options)
    return data, model, loss


def _fitting_side(config: RunConfig, form: ImageForm | None) -> None:
    """Do the images' side and the backbone go together? Asked before anything is read."""
    source, maker = DATASETS[config.data.dataset], BACKBONES.get(config.network.backbone)
    if not hasattr(source, "preprocess") or maker is None:  # these say it later
        return
    side = source.sized(config.data.image_size, form).side
    least, most = getattr(maker, "smallest", 1), getattr(maker, "largest", None)
    if side < least or (most is not None and side > most):
        need = f"at least {least}" if side < least else f"at most {most}"
        raise bad("image_size", side, f"{need} pixels with the backbone {config.network.backbone!r}")


def measure(model: HashNetwork | Head, data: RetrievalData, method: str | None = None) -> dict[str, Any]:
    """Encode queries and database, and measure everything that a record holds.

    Args:
        model: the trained network.
        data: the data.
        method: name of the loss whose way of making codes is taken; None: the network's own.

    Returns:
        The dictionary of `metrics.evaluate`, at the protocol's k.

    Raises:
        ValueError: if the network diverged, the method is unknown, or ``data`` are none.

    Source: §4.2; used in Chapters 11 and 13.
    """
    instance("data", data, RetrievalData, "the data, as `load_dataset` gives them")
    own = getattr(model, "code_rule", "sign")
    rule = own if method is None else LOSSES.find(method, "method").code_rule
    q, d = [to_codes(outputs(model, split), rule) for split in (data.query, data.database)]
    return evaluate(q, d, data.query.labels, data.database.labels, k=data.protocol.map_k)


def run(
    config: RunConfig,
    root: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    note: str = "",
) -> tuple[HashNetwork, Record]:
    """Train and measure: the last epoch counts. Under torchrun all processes do it together.

    Args:
        config: the run.
        root: where the data set lies, if it does not ship.
        folder: where to keep the run's state; a run that was killed goes on from there.
        callbacks: what watches.
        note: goes into the record.

    Returns:
        The trained network and the record. If the budget ended the run before its last epoch, the record
        keeps the budget and says so: it is not that of the whole run, with which the next call goes on.

    Raises:
        ValueError: if a setting is wrong, or the folder holds another run.
        MemoryError: if the device's memory is full.
        FileNotFoundError: if the data or the weights are not here.

    Source: Algorithm 1 and §4.2; built in Chapter 11.
    """
    from dhida_lib import __version__

    _distributed.begin()
    data, model, loss = build(config, root)
    settings, protocol = as_recorded(config), data.protocol_record()
    parts = {part: values for part, values in settings.items() if part != "training"}
    about = {**parts, "protocol": protocol}
    network: HashNetwork | Head = model
    if config.training.cache_maps:
        model.to(pick_device(config.training.device))
        network, data = with_maps(model, data)
    history = train(network, loss, data.train, config.training, callbacks, folder, about)
    metrics = measure(network, data)
    made, epochs = len(history.epochs), config.training.epochs
    if made < epochs:
        settings["training"]["budget"] = config.training.budget
        note = f"{note}; " * bool(note) + f"stopped by its budget after {made} of {epochs} epochs"
    asked = {} if config.training.precision == "float32" else {"precision": "; then ".join(history.formats)}
    record = Record(
        config=settings,
        protocol=protocol,
        metrics=metrics,
        history=history.epochs,
        seconds=round(history.seconds, 2),
        machine={**machine(), **asked},
        version=__version__,
        note=note,
    )
    return model, record


def save_run(model: HashNetwork, record: Record, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Save what `run` gave: ``record.json``, and ``model.json``, which names the record that measured it.

    Args:
        model: the trained network.
        record: its record.
        folder: where to.

    Returns:
        The model's JSON file and the record's.

    Raises:
        ValueError: if a weight is not a finite number, or an argument is of another kind.
    """
    instance("model", model, HashNetwork, "a HashNetwork")
    instance("record", record, Record, "a Record")
    where = save_record(record, Path(folder) / "record.json")
    about = {"record": where.name, "record_sha256": sha256(where)}
    saved = model.save(Path(folder) / "model", **about, config=record.config, data=record.protocol)
    return saved, where
