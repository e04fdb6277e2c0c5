"""One run, described in one place: data, network, loss, training. The book's profiles are such runs.

`RunConfig` is what the command line, the notebooks and the records all speak. Built in Chapter 11.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dhida_lib import _distributed
from dhida_lib._files import sha256
from dhida_lib._validate import bad, choice, positive, positive_int, seed_int
from dhida_lib.data import RetrievalData, load_dataset
from dhida_lib.losses import HashLoss, build_loss
from dhida_lib.metrics import evaluate
from dhida_lib.models import HashNetwork
from dhida_lib.quantization import one_hot_codes, sign
from dhida_lib.records import Record, machine
from dhida_lib.training import Callback, TrainConfig, outputs, seed_everything, train

__all__ = ["PROFILES", "RunConfig", "build", "hold_out", "measure", "run", "start", "weights_name"]


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run. The defaults are the paper's system on the paper's CIFAR-10.

    Args:
        dataset: name of the data set, see `load_dataset`.
        protocol: name of its protocol; None takes its first.
        split_seed: seed of the split.
        image_size: side to which images are resized when read; None keeps the data set's.
        held_out: share of the training images cut off for validation, see `hold_out`; 0 measures on the
            queries.
        method: name of the loss, a key of `LOSSES`; ``"classifier"`` trains a classifier and measures its
            one-hot code.
        bits: K, the length of the code.
        backbone: see `HashNetwork`, as are the next six.
        attention: attention between the backbone's last map and pooling.
        weights: start of the backbone, see `HashNetwork`; a record names a file by its hash.
        init_std: standard deviation of the hash layer's start.
        reduce: axis of max and mean in the attention map.
        fusion: how the two branches are joined.
        width: width of the narrow network.
        pairs: ``"bank"`` (codes of all training images) or ``"batch"``.
        loss_options: the loss's own arguments, such as ``{"gamma": 0.1}``.
        train: how to train.

    Raises:
        ValueError: if a value is of the wrong kind, or ``pairs`` is unknown. Whether a name is known and a
            number fits is checked where it is used.

    Source: §4; built in Chapter 11.
    """

    dataset: str = "cifar10"
    protocol: str | None = None
    split_seed: int = 0
    image_size: int | None = None
    held_out: float = 0.0
    method: str = "dhida"
    bits: int = 16
    backbone: str = "resnet18"
    attention: str = "ida"
    weights: str | None = "imagenet"
    init_std: float = 0.1
    reduce: str = "column"
    fusion: str = "sum"
    width: int = 16
    pairs: str = "bank"
    loss_options: dict[str, Any] = field(default_factory=dict)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        for name in ("dataset", "method", "backbone", "attention", "reduce", "fusion"):
            if not isinstance(value := getattr(self, name), str):
                raise bad(name, value, "text")
        for name in ("protocol", "weights"):
            if not isinstance(value := getattr(self, name), (str, type(None))):
                raise bad(name, value, "text or None")
        seed_int("split_seed", self.split_seed)
        if self.image_size is not None:
            positive_int("image_size", self.image_size)
        if positive("held_out", self.held_out, zero=True) >= 1:
            raise bad("held_out", self.held_out, "a share from 0 to below 1")
        positive_int("bits", self.bits)
        positive("init_std", self.init_std)
        positive_int("width", self.width)
        choice("pairs", self.pairs, ("bank", "batch"))
        if not isinstance(self.loss_options, dict):
            raise bad("loss_options", self.loss_options, 'a dictionary, such as {"gamma": 0.1}')
        if given := {"name", "bits", "num_train", "num_classes"} & set(self.loss_options):
            raise bad("loss_options", sorted(given), "without what the run itself says")
        if not isinstance(self.train, TrainConfig):
            raise bad("train", self.train, "a TrainConfig; its fields are settings too, such as epochs")

    def change(self, **values: Any) -> RunConfig:
        """A copy with other values; the fields of `TrainConfig` may be named directly.

        Args:
            values: for example ``bits=32, epochs=4``.

        Returns:
            The changed configuration.

        Raises:
            ValueError: if a name is not a setting.

        Source: ours; built in Chapter 11.
        """
        own = {f.name for f in fields(self)}
        inner = {f.name for f in fields(self.train)}
        unknown = sorted(set(values) - own - inner)
        if unknown:
            raise bad("setting", unknown[0], "one of " + ", ".join(sorted((own | inner) - {"train"})))
        mine = {k: v for k, v in values.items() if k in own}
        training = {k: v for k, v in values.items() if k in inner}
        changed = replace(self, **mine)
        return replace(changed, train=replace(changed.train, **training)) if training else changed

    def as_dict(self) -> dict[str, Any]:
        """The settings as a dictionary that JSON can hold.

        Returns:
            One entry per field; ``train`` is a dictionary.

        Source: ours; built in Chapter 11.
        """
        return asdict(self)


_FAST = RunConfig(
    dataset="fashion-mini",
    backbone="narrow-resnet",
    weights=None,
    train=TrainConfig(epochs=16, batch_size=32, lr=1e-3, schedule="cosine", warmup=0.5, augment="flip"),
)

PROFILES: dict[str, RunConfig] = {
    "fast": _FAST,
    "long": _FAST.change(epochs=60, augment="flip-shift"),
    "full": RunConfig(image_size=224),
    "full-speed": RunConfig(image_size=224).change(
        precision="bfloat16", channels_last=True, compile=True, data_on_device=True
    ),
}
"""The book's settings by name. ``"fast"``: the shipped images on a laptop, about a minute. ``"long"``: the
same network, trained until it is good. ``"full"``: the paper's, on a GPU. ``"full-speed"``: the same, with
all that makes a recent GPU fast and changes no setting of the paper."""


def start(profile: str = "fast", seed: int = 0) -> RunConfig:
    """Open a chapter: choose the profile, seed torch, and say what this machine is.

    Args:
        profile: ``"fast"`` or ``"full"``.
        seed: seed of torch's generators.

    Returns:
        The profile's settings.

    Raises:
        ValueError: if there is no such profile.

    Source: ours; the first cell of every chapter.
    """
    from dhida_lib import __version__
    from dhida_lib.book.plots import use_style

    config = PROFILES[choice("profile", profile, PROFILES)]
    seed_everything(seed)
    use_style()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    version = torch.__version__.split("+")[0]
    print(f"dhida_lib {__version__} · torch {version} · {gpu or 'CPU'} · profile {profile!r}")
    if profile == "full" and gpu is None:
        print('No GPU here: "full" will take days. On Colab: Runtime → Change runtime type → T4 GPU.')
    return config


def hold_out(data: RetrievalData, share: float) -> RetrievalData:
    """Cut a validation set from the training images, to choose settings by; the queries stay untouched.

    One half of the cut asks, the other half is searched. Both are images that training has not seen, as in
    the protocol: a search among training images would favour settings that learn those by heart.

    Args:
        data: the data.
        share: which part of the training images is cut off, 0 < share < 1.

    Returns:
        Data whose training images are the first of the old ones, and whose queries and database are the two
        halves of the cut; the database also holds the training images where the protocol's does.

    Raises:
        ValueError: if ``share`` leaves no image on one side.

    Source: the paper has no validation set; used for the settings of Chapter 11.
    """
    n = len(data.train)
    cut = n - round(n * share) if 0 < share < 1 else 0
    middle = (cut + n) // 2
    if not 0 < cut < middle < n:
        raise bad("share", share, f"a share between 0 and 1 that leaves images on both sides of {n}")
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
        Data, network, loss.

    Raises:
        ValueError: if a setting is wrong.
        FileNotFoundError: if the data or the weights are not here.

    Source: Algorithm 1; built in Chapter 11.
    """
    with _distributed.first_alone():
        data = load_dataset(config.dataset, root, config.split_seed, config.protocol, config.image_size)
    if config.held_out:
        data = hold_out(data, config.held_out)
    bits = data.num_classes if config.method == "classifier" else config.bits
    seed_everything(config.train.seed)
    model = HashNetwork(
        config.backbone,
        config.attention,
        bits,
        weights=config.weights,
        init_std=config.init_std,
        in_channels=data.channels,
        reduce=config.reduce,
        fusion=config.fusion,
        width=config.width,
    )
    bank = len(data.train) if config.pairs == "bank" and config.method != "classifier" else None
    loss = build_loss(config.method, bits, bank, data.num_classes, **config.loss_options)
    return data, model, loss


def measure(model: HashNetwork, data: RetrievalData, method: str = "dhida") -> dict[str, Any]:
    """Encode queries and database, and measure everything that a record holds.

    Args:
        model: the trained network.
        data: the data.
        method: ``"classifier"`` takes one-hot codes of its outputs, every other method sign(u).

    Returns:
        The dictionary of `metrics.evaluate`, at the protocol's k.

    Source: §4.2; used in Chapters 11 and 13.
    """

    def to_codes(u: Tensor) -> Tensor:
        return one_hot_codes(u) if method == "classifier" else sign(u)

    q, d = (to_codes(outputs(model, split)) for split in (data.query, data.database))
    return evaluate(q, d, data.query.labels, data.database.labels, k=data.protocol.map_k)


def weights_name(weights: str | None) -> str | None:
    """What a record says of a backbone's start.

    Args:
        weights: as `RunConfig` has it, or what a record said.

    Returns:
        A file by its name and content, not by its place on this machine; the rest as it is.

    Raises:
        FileNotFoundError: if there is no such file.

    Source: ours; used by `run` and in Chapter 16.
    """
    if weights is None or weights == "imagenet" or re.fullmatch(r".+ \(SHA-256 [0-9a-f]{16}\)", weights):
        return weights
    if not Path(weights).is_file():
        raise FileNotFoundError(
            f"There are no weights at {weights}. `python -m dhida_lib pretrain` makes some."
        )
    state = Path(weights).stat()
    return _named(weights, state.st_size, state.st_mtime_ns)


@lru_cache
def _named(file: str, size: int, time: int) -> str:
    """Hashed once for each state of a file."""
    return f"{Path(file).name} (SHA-256 {sha256(file)[:16]})"


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
        The trained network and the record.

    Raises:
        ValueError: if a setting is wrong, or the folder holds another run.
        FileNotFoundError: if the data or the weights are not here.

    Source: Algorithm 1 and §4.2; built in Chapter 11.
    """
    from dhida_lib import __version__

    _distributed.begin()
    data, model, loss = build(config, root)
    settings = {**config.as_dict(), "weights": weights_name(config.weights)}
    about = {**{k: v for k, v in settings.items() if k != "train"}, "data": data.protocol_record()}
    history = train(model, loss, data.train, config.train, callbacks, folder, about)
    metrics = measure(model, data, config.method)
    record = Record(
        config=settings,
        protocol=data.protocol_record(),
        metrics=metrics,
        history=history.epochs,
        seconds=round(history.seconds, 2),
        machine=machine(),
        version=__version__,
        note=note,
    )
    return model, record
