"""One run, described in one place: data, network, loss, training. The book's profiles are such runs.

`RunConfig` is what the command line, the notebooks and the records all speak (Chapter 11). A value is checked
when the configuration is built, before any data are read. `nested`, on which `RunConfig.from_dict` stands,
reads what any earlier version wrote, and is the only place that knows how settings were called before.
"""

from __future__ import annotations

import os
import re
import tomllib
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

import torch

from dhida_lib._validate import (
    bad,
    choice,
    instance,
    known_device,
    positive,
    positive_int,
    seed_int,
    suggestion,
)

__all__ = [
    "PROFILES",
    "DataConfig",
    "LossConfig",
    "NetworkConfig",
    "RunConfig",
    "TrainConfig",
    "automatic",
    "kinds_of",
    "named_device",
    "nested",
]

EARLIER = {"train": "training", "loss_options": "options"}
"""Settings that had another name before, and how they are called now."""


class _Part:
    """What every part of a configuration does when it is built: look at the type of each value, and whether
    it is one that can be chosen.
    """

    _hints: ClassVar[dict[type, dict[str, Any]]] = {}

    def __post_init__(self) -> None:
        cls = type(self)
        hints = self._hints.setdefault(cls, get_type_hints(cls))
        for f in fields(self):  # type: ignore[arg-type]
            value = _fitting(f.name, getattr(self, f.name), hints[f.name])
            object.__setattr__(self, f.name, value)
        for name, names in self.choices().items():
            if (value := getattr(self, name)) is not None:
                choice(name, value, names)
        self.check()

    @classmethod
    def choices(cls) -> dict[str, Iterable[str]]:
        """Setting → the names that it can have, for the settings that are such a choice."""
        return {}

    def check(self) -> None:
        """Raise ``ValueError`` if values of the right types are wrong all the same."""


def kinds_of(hint: Any) -> list[Any]:
    """The types that a setting can have.

    Args:
        hint: its annotation, such as ``str | None``.

    Returns:
        The types, such as ``str`` and ``NoneType``; of ``dict[str, Any]`` it is ``dict``.
    """
    union = get_origin(hint) in (Union, types.UnionType)
    return [get_origin(kind) or kind for kind in (get_args(hint) if union else [hint])]


def _fitting(name: str, value: Any, hint: Any) -> Any:
    """The value if it is of the type that the field has, else a ``ValueError`` that names the setting."""
    kinds = kinds_of(hint)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if float in kinds and number:
        return _float(name, value)
    fits = Any in kinds or any(isinstance(value, kind) for kind in kinds if isinstance(kind, type))
    if fits and (not isinstance(value, bool) or bool in kinds):
        return value
    words = {str: "text", int: "an integer", float: "a number", bool: "True or False", dict: "a dictionary"}
    need = " or ".join(words.get(k, "nothing (None)" if k is type(None) else str(k)) for k in kinds)
    raise bad(name, value, need)


def _float(name: str, value: float) -> float:
    """A number as a float; one that no float can hold is refused."""
    try:
        return float(value)
    except OverflowError as error:
        raise bad(name, "a number of many digits", "a number that a float can hold") from error


@dataclass(frozen=True)
class DataConfig(_Part):
    """Which images, and how they are split.

    Args:
        dataset: name of the data set, see `load_dataset`.
        folder: class folders of your own; with it the data set is ``"folder"``. A record keeps its last part.
        protocol: name of the data set's protocol; None takes its first.
        split_seed: seed of the split.
        image_size: side in pixels to which images are resized when read; None takes the data set's, or with
            weights from ImageNet the one that these were made for.
        held_out: share of the training images cut off for validation, 0 ≤ held_out < 1; 0 measures on the
            queries.

    Raises:
        ValueError: if a value is wrong.

    Source: §4.1; built in Chapter 11.
    """

    dataset: str = "cifar10"
    folder: str | None = None
    protocol: str | None = None
    split_seed: int = 0
    image_size: int | None = None
    held_out: float = 0.0

    @classmethod
    def choices(cls) -> dict[str, Iterable[str]]:
        """See the base class."""
        from dhida_lib.data import DATASETS

        return {"dataset": DATASETS}

    def check(self) -> None:
        """See the class."""
        from dhida_lib.data import DATASETS

        if self.folder is not None:
            object.__setattr__(self, "dataset", _of_folders())
        if self.protocol is not None:
            DATASETS[self.dataset].protocol(self.protocol)
        seed_int("split_seed", self.split_seed)
        if self.image_size is not None:
            positive_int("image_size", self.image_size)
        if not 0 <= self.held_out < 1:
            raise bad("held_out", self.held_out, "a share with 0 ≤ held_out < 1")


def _of_folders() -> str:
    """The data set whose place the setting ``folder`` says."""
    from dhida_lib.data import DATASETS

    return next(name for name, source in DATASETS.items() if source.has_folder)


@dataclass(frozen=True)
class NetworkConfig(_Part):
    """The network: see `HashNetwork` for each.

    Args:
        bits: K, the length of the code.
        backbone: name of the backbone, such as ``"resnet18"`` or ``"efficientnet-lite0"``; ``"timm:NAME"``
            takes one of timm's.
        attention: attention between the backbone's last map and pooling.
        weights: start of the backbone: None (random), ``"imagenet"``, or a file, which a record names by its
            hash.
        init_std: standard deviation of the hash layer's start.
        reduce: axis of max and mean in the attention map.
        fusion: how the two branches are joined.
        width: width of the narrow networks.
        frozen: which part of the backbone stands still: None, ``"all"`` or the name of the last frozen stage.
        neck: channels of a trainable 1×1 convolution before attention; None: there is none.

    Raises:
        ValueError: if a value is wrong.

    Source: Fig. 1; built in Chapters 4 and 11.
    """

    bits: int = 16
    backbone: str = "resnet18"
    attention: str = "ida"
    weights: str | None = "imagenet"
    init_std: float = 0.1
    reduce: str = "column"
    fusion: str = "sum"
    width: int = 16
    frozen: str | None = None
    neck: int | None = None

    @classmethod
    def choices(cls) -> dict[str, Iterable[str]]:
        """See the base class."""
        from dhida_lib.attention import ATTENTIONS

        return {"attention": ATTENTIONS, "reduce": ("column", "row"), "fusion": ("sum", "mean")}

    def check(self) -> None:
        """See the class."""
        from dhida_lib.attention import build_attention
        from dhida_lib.backbones import known_backbone

        positive_int("bits", self.bits)
        known_backbone(self.backbone)
        positive("init_std", self.init_std)
        positive_int("width", self.width)
        if self.neck is not None:
            positive_int("neck", self.neck)
        build_attention(self.attention, 1, self.reduce, self.fusion)  # do the three go together?


@dataclass(frozen=True)
class LossConfig(_Part):
    """The loss.

    Args:
        method: name of the loss.
        pairs: ``"bank"`` (codes of all training images) or ``"batch"``.
        options: the loss's own arguments, such as ``{"gamma": 0.1}``.

    Raises:
        ValueError: if a value is wrong or the loss has no such argument.

    Source: §3.4; built in Chapter 11.
    """

    method: str = "dhida"
    pairs: str = "bank"
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def choices(cls) -> dict[str, Iterable[str]]:
        """See the base class."""
        from dhida_lib.losses import LOSSES

        return {"method": LOSSES, "pairs": ("bank", "batch")}

    def check(self) -> None:
        """See the class."""
        from dhida_lib.losses import check_options

        check_options(self.method, self.options)


@dataclass(frozen=True)
class TrainConfig(_Part):
    """How to train. The defaults are the paper's where it gives a value (§4.2), else the field's.

    Those from ``precision`` on are about speed, memory and sessions that end. At their defaults they change
    nothing; the last two never change a result, whatever they are.

    Args:
        epochs: passes over the training images; the paper does not say, 150 is usual in the field.
        batch_size: images per step.
        lr: the learning rate.
        weight_decay: L2 penalty that the optimizer adds.
        optimizer: ``"rmsprop"`` (the paper's), ``"sgd"`` (with momentum 0.9), ``"adam"`` or ``"adamw"``.
        backbone_rate: the backbone's learning rate as a multiple of ``lr``; the paper has one rate for all.
        schedule: ``"constant"`` (the paper names no other) or ``"cosine"``: down to 0 at the last step.
        warmup: epochs during which the rate rises linearly from 0; may be a fraction.
        augment: what happens to training images, see `batches`.
        seed: decides order, augmentation and dropout.
        device: ``"auto"`` takes a GPU if there is one.
        precision: ``"float32"`` (without TF32); ``"tf32"``: convolutions and products of a recent GPU with
            short factors; ``"bfloat16"`` or ``"float16"``: autocast of the network, with a scaled loss for
            ``"float16"``; ``"auto"``: what the device is fast in, see `choose_precision`. Weights, their
            gradients, the loss and its bank stay float32.
        channels_last: keep images and maps as B×H×W×C in memory. Not for a narrow network of a width below 8
            on a CPU, where PyTorch can crash.
        compile: let `torch.compile` translate the network; needs a C++ compiler, and a width as above.
        accumulate: batches per optimizer step. The step's gradient is the mean over all their images, but a
            loss and a batch normalisation see one batch at a time.
        data_on_device: copy the training images to the device once, as bytes, instead of batch by batch.
        cache_maps: keep the maps of the frozen part of the backbone on disk, and train on these.
        recompute: keep no maps of the backbone's stages for the backward pass, but compute them again there:
            less memory, about a third more time, the same gradients.
        checkpoint_every: how often the state of a run is written: after so many epochs (``5``), or when so
            many minutes have passed (``"10 min"``); and always after the last epoch.
        budget: minutes for this call; the run stops after the last epoch that fits, and the next call goes
            on. None: no limit.

    Raises:
        ValueError: if a value is wrong.

    Source: §4.2; built in Chapter 11, those from ``precision`` on in Chapters 12 and 16.
    """

    epochs: int = 150
    batch_size: int = 128
    lr: float = 5e-5
    weight_decay: float = 1e-5
    optimizer: str = "rmsprop"
    backbone_rate: float = 1.0
    schedule: str = "constant"
    warmup: float = 0.0
    augment: str = "none"
    seed: int = 0
    device: str = "auto"
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    accumulate: int = 1
    data_on_device: bool = False
    cache_maps: bool = False
    recompute: bool = False
    checkpoint_every: int | str = 1
    budget: float | None = None

    OPTIMIZERS: ClassVar[tuple[str, ...]] = ("rmsprop", "sgd", "adam", "adamw")
    PRECISIONS: ClassVar[tuple[str, ...]] = ("auto", "float32", "tf32", "bfloat16", "float16")
    SCHEDULES: ClassVar[tuple[str, ...]] = ("constant", "cosine")
    SESSION: ClassVar[tuple[str, ...]] = ("checkpoint_every", "budget")
    """Settings of one session: they decide no result, and a run is the same run with others."""

    @classmethod
    def choices(cls) -> dict[str, Iterable[str]]:
        """See the base class."""
        from dhida_lib.data import AUGMENTATIONS

        return {
            "optimizer": cls.OPTIMIZERS,
            "schedule": cls.SCHEDULES,
            "augment": AUGMENTATIONS,
            "precision": cls.PRECISIONS,
        }

    def check(self) -> None:
        """See the class."""
        for name in ("epochs", "batch_size", "accumulate"):
            positive_int(name, getattr(self, name))
        positive("lr", self.lr)
        for name in ("weight_decay", "backbone_rate", "warmup"):
            positive(name, getattr(self, name), zero=True)
        seed_int("seed", self.seed)
        named_device(self.device)
        _ = self.rhythm
        if self.budget is not None:
            positive("budget", self.budget)

    @property
    def rhythm(self) -> tuple[int | None, float | None]:
        """``checkpoint_every`` as (epochs, None) or (None, minutes).

        Raises:
            ValueError: if it is neither.
        """
        every = self.checkpoint_every
        if isinstance(every, int):
            return positive_int("checkpoint_every", every), None
        found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) *min(?:utes?)?|(\d{1,6})", every.strip())
        if found is None or not float(found[1] or found[2]):
            raise bad("checkpoint_every", every, 'a number of epochs, or minutes such as "10 min"')
        return (int(found[2]), None) if found[2] else (None, float(found[1]))


@dataclass(frozen=True)
class RunConfig(_Part):
    """Everything that decides a run. The defaults are the paper's system on the paper's CIFAR-10.

    A setting belongs to one part, and no two parts share a name.

    Args:
        data: which images, and how they are split.
        network: backbone, attention and hash layer.
        loss: the method, and its own arguments.
        training: how to train.

    Raises:
        ValueError: if a value is wrong; it names the setting.

    Source: §4; built in Chapter 11.
    """

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainConfig = field(default_factory=TrainConfig)

    def check(self) -> None:
        """See the class."""
        t = self.training
        if t.cache_maps and self.network.frozen is None:
            raise bad("cache_maps", True, "False where nothing is frozen: set `frozen` too")
        if t.cache_maps and t.augment != "none":
            raise bad("augment", t.augment, "'none' with `cache_maps`: a changed image has another map")
        if t.cache_maps and t.data_on_device:
            raise bad("data_on_device", True, "False with `cache_maps`: maps are read from their file")

    def change(self, **values: Any) -> RunConfig:
        """A copy with other values.

        Args:
            values: settings by their own names, such as ``bits=32, epochs=4``: no two parts share a name. A
                whole part (``training=TrainConfig(…)``) may be given too.

        Returns:
            The changed configuration.

        Raises:
            ValueError: if a name is not a setting, or a value is wrong.
        """
        places = dict(self.settings())
        named = values.get("dataset", own := _of_folders())
        if values.get("folder", self.data.folder) is not None and named != own:
            raise bad("dataset", named, f"{own!r} or left out where `folder` is given")
        parts: dict[str, dict[str, Any]] = {}
        whole: dict[str, Any] = {}
        for given, value in values.items():
            name = EARLIER.get(given, given)
            if any(f.name == name for f in fields(self)):
                whole[name] = value
            else:
                parts.setdefault(_part_of(given, name, places), {})[name] = value
        changed = replace(self, **whole)
        made = {part: replace(getattr(changed, part), **own) for part, own in parts.items()}
        return replace(changed, **made) if made else changed

    @classmethod
    def parts(cls) -> dict[str, Any]:
        """Name of each part → its class."""
        return {part: kind for part, kind in get_type_hints(cls).items() if is_dataclass(kind)}

    @classmethod
    def settings(cls) -> Iterator[tuple[str, str]]:
        """All settings: pairs of a setting's name and its part's."""
        for part, kind in cls.parts().items():
            yield from ((f.name, part) for f in fields(kind))

    @classmethod
    def short(cls, name: str) -> str:
        """A setting's name without its part: ``"training.epochs"`` is ``"epochs"``.

        Args:
            name: with or without the part.

        Returns:
            The name as `change` takes it; one without a part is not looked at.

        Raises:
            ValueError: if ``name`` is no text, or the part has no such setting.
        """
        part, dot, own = instance("setting", name, str, "the name of a setting").rpartition(".")
        if not dot:
            return name
        part, own = (EARLIER.get(word, word) for word in (part, own))
        places = {f"{place}.{setting}": place for setting, place in cls.settings()}
        _part_of(name, f"{part}.{own}", places)
        return own

    def flat(self) -> dict[str, Any]:
        """All settings by name, without the parts: what `change` takes."""
        return {name: getattr(getattr(self, part), name) for name, part in self.settings()}

    def as_dict(self) -> dict[str, Any]:
        """The settings as a dictionary that JSON can hold: part → setting → value."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """Read settings that this or an earlier version wrote, or that stand in a file.

        Args:
            values: part → setting → value, as `as_dict` gives; settings may also stand outside of their part,
                as they did before there were parts. What is missing has its default.

        Returns:
            The configuration.

        Raises:
            ValueError: if a name is not a setting, or a value is wrong.
        """
        parts = nested(values, complete=False)
        return cls().change(**{name: v for part in parts.values() for name, v in part.items()})

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> RunConfig:
        """Read a TOML file with a table for each part; ``profile = "fast"`` at its top starts from a profile.

        Args:
            path: the file.

        Returns:
            The configuration.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no TOML, or a setting in it is wrong.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no file of settings {path}.")
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not TOML: {error}") from error
        profile = values.pop("profile", None)
        base = cls() if profile is None else PROFILES[choice("profile", profile, PROFILES)]
        parts = nested(values, complete=False)
        return base.change(**{name: v for part in parts.values() for name, v in part.items()})


def automatic(cuda: bool, mps: bool) -> str:
    """What ``"auto"`` means on a machine: a card with CUDA, else a Mac's GPU (MPS), else the processor.

    Args:
        cuda: whether torch finds a card.
        mps: whether torch finds a Mac's GPU.

    Returns:
        ``"cuda"``, ``"mps"`` or ``"cpu"``.

    Raises:
        ValueError: if an argument is not True or False.
    """
    if instance("cuda", cuda, bool, "True or False"):
        return "cuda"
    return "mps" if instance("mps", mps, bool, "True or False") else "cpu"


def named_device(name: str) -> torch.device:
    """The device of this name, on this machine or another one.

    Args:
        name: ``"auto"`` (a GPU if there is one, see `automatic`) or a name that torch knows: ``"cuda:1"``.

    Returns:
        The device.

    Raises:
        ValueError: if torch knows no such device, or it computes nothing.
    """
    if isinstance(name, str) and name == "auto":
        return torch.device(automatic(torch.cuda.is_available(), torch.backends.mps.is_available()))
    return known_device("device", instance("device", name, str, "'auto' or the name of a device"))


def nested(values: Mapping[str, Any], complete: bool = True) -> dict[str, dict[str, Any]]:
    """Settings of this or an earlier version as part → setting → value; no value is checked.

    Args:
        values: as `RunConfig.from_dict` takes them.
        complete: put in the defaults of what is missing.

    Returns:
        A new dictionary.

    Raises:
        ValueError: if a name is not a setting.
    """
    if not isinstance(values, Mapping):
        raise bad("config", type(values).__name__, "a dictionary of settings")
    places = dict(RunConfig.settings())
    parts: dict[str, dict[str, Any]] = {part: {} for part in dict.fromkeys(places.values())}
    for key, value in values.items():
        name = EARLIER.get(key, key)
        if name not in parts:
            parts[_part_of(key, name, places)][name] = value
            continue
        if not isinstance(value, Mapping):
            raise bad(key, value, "a dictionary of settings")
        own = {k: part for k, part in places.items() if part == name}
        for inner, given in value.items():
            setting = str(EARLIER.get(inner, inner))
            parts[_part_of(f"{key}.{inner}", setting, own)][setting] = given
    if complete:
        usual = RunConfig().as_dict()
        parts = {part: {**usual[part], **own} for part, own in parts.items()}
    return parts


def _part_of(given: str, name: str, places: Mapping[str, str]) -> str:
    """The part that a setting belongs to."""
    if name not in places:
        outside = given == name  # of every part, so a part may have been meant
        near = suggestion(name, {**places, **RunConfig.parts()} if outside else places)
        raise bad("setting", given, "the name of a setting" + near)
    return places[name]


_FAST = RunConfig(
    data=DataConfig(dataset="fashion-mini"),
    network=NetworkConfig(backbone="narrow-resnet", weights=None),
    training=TrainConfig(epochs=16, batch_size=32, lr=1e-3, schedule="cosine", warmup=0.5, augment="flip"),
)
_FULL = RunConfig().change(image_size=224)
_FROZEN = RunConfig(
    data=DataConfig(dataset="cifar10"),
    network=NetworkConfig(backbone="efficientnet-lite0", frozen="all", neck=64),
    training=TrainConfig(epochs=15, batch_size=32, lr=2e-3, schedule="cosine", warmup=0.5, cache_maps=True),
)

PROFILES: dict[str, RunConfig] = {
    "fast": _FAST,
    "long": _FAST.change(epochs=60, augment="flip-shift"),
    "frozen": _FROZEN,
    "full": _FULL,
    "full-speed": _FULL.change(precision="auto", channels_last=True, compile=True, data_on_device=True),
}
"""The book's settings by name. ``"fast"``: the shipped images on a laptop, about a minute. ``"long"``: the
same network, trained until it is good. ``"frozen"``: ImageNet features on a CPU: the backbone stands still,
its maps are kept on disk, and only attention and hash layer learn. ``"full"``: the paper's, on a GPU.
``"full-speed"``: the same, with all that makes a GPU fast and changes no setting of the paper."""
