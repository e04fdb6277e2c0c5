"""The whole network of Fig. 1: backbone, attention, pooling, hash layer; built in Chapters 4 to 7.

x → feature map A → attention E → ψ(x) → u = Wᵀψ + b (Eq. 14) → h = sign(u) (Eq. 15)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dhida_lib import _tensors
from dhida_lib._files import write_atomic
from dhida_lib._validate import about_dict, bad, choice, instance, positive, positive_int
from dhida_lib.attention import ATTENTIONS, build_attention
from dhida_lib.backbones import Backbone, build_backbone
from dhida_lib.codes import CODE_RULES, to_codes
from dhida_lib.data import DATASETS
from dhida_lib.data.preprocess import Preprocess
from dhida_lib.losses import LOSSES

__all__ = ["ATTENTIONS", "HashNetwork", "Head", "load_model", "save_model", "weights_hash"]

# Images that a frozen part sees at a time on a CPU: their maps fit its cache. Depthwise convolutions are
# three times as fast so, with the channels last.
_FEW = 4


class HashNetwork(nn.Module):
    """Images in, one real number per bit out; its sign is the bit.

    The paper says of the hash layer only that W and b are sampled "from Gaussian distribution". ``init_std``,
    the standard deviation of both, is our choice: 0.1. The field's usual 0.01 starts on the saddle that the
    likelihood loss has at u = 0 (Chapter 9). Backbone and hash layer are drawn before
    attention: under one seed they start alike whatever ``attention`` is, so comparisons can be paired.

    Args:
        backbone: ``"resnet18"`` (the paper's), ``"alexnet"``, ``"narrow-resnet"`` and ``"narrow-alexnet"``
            for images of 28 to 32 pixels, ``"efficientnet-lite0"``, ``"timm:NAME"`` for a model of timm, a
            name that `register_backbone` knows, or a network of your own (an ``nn.Module``, see
            `ModuleBackbone`).
        attention: between map and pooling: ``"ida"`` (the paper's), ``"danet"``, ``"none"``, or a control:
            ``"double"`` (`Doubled`, 2A), ``"conv"`` (`PlainConvolutions`, as many parameters) and
            ``"flipped"`` (`DualAttention` with softmax of +M and +N).
        bits: K, the length of the code.
        weights: start of the backbone: ``None`` (random), ``"imagenet"`` or the path of a state dict.
        init_std: standard deviation of W and b at the start, > 0.
        in_channels: channels of the images, 3 for colour, 1 for grey.
        reduce: ``"column"`` or ``"row"``, see `DualAttention`; a choice only with ``"ida"``.
        fusion: ``"sum"`` or ``"mean"``, see `DualAttention`, whose variants alone have a choice.
        width: w of ``"narrow-resnet"`` and ``"narrow-alexnet"``.
        frozen: which part of the backbone stands still: None, ``"all"``, or the last frozen one of its
            `stages`. It runs in evaluation mode and without gradient, and its map is rounded to half
            precision, so that a map that was cached on disk gives the same codes (see `dhida_lib.frozen`).
        neck: channels of a trainable 1×1 convolution between backbone and attention; None: there is none.
        code_rule: how codes are made of the outputs, a name in `dhida_lib.codes.CODE_RULES`.

    Attributes:
        backbone, neck, attention, hash_layer: the parts, modules.
        bits: K.
        preprocess: what must happen to a picture before it; None: not known (`dhida_lib.run` sets it).
        class_names: names of the classes that it was trained on, by id; None: not known.
        about: whatever else was saved with it.

    Raises:
        ValueError: for a wrong argument or weights that do not fit.
        FileNotFoundError: if the weights are not on disk; the message says how to get them.

    Example:
        >>> import torch
        >>> network = HashNetwork("narrow-resnet", bits=16, in_channels=1, width=4).eval()
        >>> network.codes(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 16])

    Source: Fig. 1, Eq. (14) and (15); built in Chapter 4.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        attention: str = "ida",
        bits: int = 16,
        weights: str | Path | None = None,
        init_std: float = 0.1,
        in_channels: int = 3,
        reduce: str = "column",
        fusion: str = "sum",
        width: int = 16,
        frozen: str | None = None,
        neck: int | None = None,
        code_rule: str = "sign",
    ) -> None:
        super().__init__()
        self._frozen_stages = 0
        choice("attention", attention, ATTENTIONS)
        self.bits = positive_int("bits", bits)
        init_std = positive("init_std", init_std)
        self.code_rule = choice("code_rule", code_rule, CODE_RULES)
        self.preprocess: Preprocess | None = None
        self.class_names: tuple[str, ...] | None = None
        self.about: dict[str, Any] = {}
        self._config = {
            "backbone": backbone,
            "attention": attention,
            "bits": bits,
            "weights": None,
            "init_std": init_std,
            "in_channels": in_channels,
            "reduce": reduce,
            "fusion": fusion,
            "width": width,
            "frozen": frozen,
            "neck": neck,
            "code_rule": code_rule,
        }
        self.backbone = build_backbone(backbone, weights, in_channels, width)
        channels, features = self.backbone.map_channels, self.backbone.feature_dim
        if neck is not None:
            if features != channels:
                raise bad("neck", neck, "None with a backbone whose pooling has layers of its own")
            channels = features = positive_int("neck", neck)
        self.hash_layer = nn.Linear(features, bits)
        nn.init.normal_(self.hash_layer.weight, std=init_std)
        nn.init.normal_(self.hash_layer.bias, std=init_std)
        self.neck = nn.Identity() if neck is None else nn.Conv2d(self.backbone.map_channels, neck, 1)
        self.attention = build_attention(attention, channels, reduce, fusion)
        self._frozen_stages = self._freeze(frozen)

    def _freeze(self, frozen: str | None) -> int:
        """Stop the learning of the backbone's first stages, and return how many."""
        if frozen is None:
            return 0
        names = [name for name, _ in self.backbone.stages()]
        count = len(names) if choice("frozen", frozen, ["all", *names]) == "all" else names.index(frozen) + 1
        for name in names[:count]:
            for module in self.backbone.parts(name):
                module.requires_grad_(False).eval().to(memory_format=torch.channels_last)
        return count

    def frozen_parts(self) -> list[tuple[str, nn.Module]]:
        """The modules that stand still, with the names of their stages."""
        names = [name for name, _ in self.backbone.stages()[: self._frozen_stages]]
        return [(name, module) for name in names for module in self.backbone.parts(name)]

    def train(self, mode: bool = True) -> HashNetwork:
        """Switch to training mode (or evaluation); what is frozen stays in evaluation mode.

        Raises:
            ValueError: if ``mode`` is neither True nor False.
        """
        instance("mode", mode, bool, "True or False")
        super().train(mode)
        for _, module in self.frozen_parts():
            module.eval()
        return self

    def frozen_map(self, x: Tensor) -> Tensor:
        """What the frozen stages make of images, rounded to half precision.

        Args:
            x: normalised images B×in_channels×H×W, floating.

        Returns:
            B×C'×h×w, float16, without gradient.

        Raises:
            ValueError: if nothing is frozen, or a number is too large for half precision.
        """
        if not self._frozen_stages:
            raise bad("frozen", None, "all, or the last of the stages that stand still")
        stages = self.backbone.stages()[: self._frozen_stages]
        x = self.backbone.check_images(x).contiguous(memory_format=torch.channels_last)
        maps = []
        with torch.no_grad():
            for y in x.split(_FEW if x.device.type == "cpu" else max(len(x), 1)):
                for _, stage in stages:
                    y = stage(y)
                maps.append(y.half())
        return torch.cat(maps).contiguous()

    def from_frozen(self, y: Tensor) -> Tensor:
        """The outputs u (B×bits), from what `frozen_map` gave (B×C'×h×w)."""
        y = y.to(self.hash_layer.weight.dtype)
        y = self.backbone.through(self.backbone.stages()[self._frozen_stages :], y)
        return self._from_map(y)

    def feature_map(self, x: Tensor) -> Tensor:
        """A: images x (B×in_channels×H×W) → the map that attention sees (B×C×h×w)."""
        if not self._frozen_stages:
            return self.neck(self.backbone.feature_map(x))
        y = self.frozen_map(x).to(x.dtype)
        y = self.backbone.through(self.backbone.stages()[self._frozen_stages :], y)
        return self.neck(y)

    def attend(self, A: Tensor) -> Tensor:
        """E: attention on a map A; both B×C×h×w."""
        return self.attention(A)

    def forward(self, x: Tensor) -> Tensor:
        """The real outputs, one for each bit (the loss applies f to them, Eq. 1).

        Args:
            x: normalised images B×in_channels×H×W, floating.

        Returns:
            u, B×bits.

        Raises:
            ValueError: if x is no such batch, or its images are too small for the backbone.
        """
        if self._frozen_stages:
            return self.from_frozen(self.frozen_map(x))
        return self._from_map(self.backbone.feature_map(x))

    def _from_map(self, y: Tensor) -> Tensor:
        """U from the backbone's last map (B×C×h×w)."""
        plain = isinstance(self.attention, nn.Identity) and type(self.backbone).pool is Backbone.pool
        if plain and isinstance(self.neck, nn.Conv2d):
            # The mean of a 1×1 convolution is that of the mean, and costs one position instead of h·w.
            psi = self.neck(y.mean(dim=(2, 3), keepdim=True)).flatten(1)  # B×d
        else:
            E = self.attend(self.neck(y))  # B×C×h×w
            psi = self.backbone.pool(E)  # B×d
        return self.hash_layer(psi)  # Eq. 14, B×K

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """The binary codes h = sign(u) (or by another `code_rule`), without gradient.

        Batch norm and dropout act as the mode of the network says: call ``model.eval()`` first, else the
        code of an image depends on the batch that it came in.

        Args:
            x: normalised images B×in_channels×H×W, floating.

        Returns:
            Codes of ±1, B×bits, floating.

        Raises:
            ValueError: if x is no such batch, or the network's output holds NaN or infinity.
        """
        u = self(x)  # B×K
        if not u.isfinite().all():
            need = "finite images, for a network whose training did not diverge"
            raise bad("x", "images whose output u holds NaN or infinity", need)
        return to_codes(u, self.code_rule)  # Eq. 15

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, ready for JSON: ``HashNetwork(**model.config)`` has the same shape.

        ``weights`` is always ``None`` here: a state dict that is loaded afterwards brings all weights, and
        must not need the file from which training once started. With a backbone of your own that has no name,
        ``backbone`` is ``None``.
        """
        name = self._config["backbone"]
        return {**self._config, "backbone": name if isinstance(name, str) else None}

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        shown = {k: v for k, v in self.config.items() if k not in ("weights", "backbone") and v is not None}
        return ", ".join(f"{k}={v!r}" for k, v in shown.items())

    def save(self, path: str | os.PathLike[str], **about: Any) -> Path:
        """Save everything that turns a picture into its code: settings, weights, preprocessing, code rule.

        Killed at any moment, the old version is still there, or the new one.

        Args:
            path: where to: ``NAME.json``, or the same without ending. The tensors go beside it, into
                ``NAME-HASH.safetensors``; those of the version before are removed.
            about: what else to say of it (JSON-able), for example ``run="…"``; it comes back as `about`.

        Returns:
            The JSON file's path.

        Raises:
            ValueError: if a weight is not a finite number.
        """
        return save_model(self, path, about)

    def save_backbone(self, path: str | os.PathLike[str]) -> Path:
        """Save the backbone alone, as ``weights=PATH`` of another network takes it.

        Args:
            path: the file to write, ``NAME.safetensors``.

        Returns:
            The path.

        Raises:
            ValueError: if the name ends otherwise, or a weight is not a finite number.
        """
        if Path(path).suffix != ".safetensors":
            raise bad("path", str(path), "a file name that ends in .safetensors")
        if (name := _tensors.not_finite(self.backbone)) is not None:
            raise bad("model", f"{name} with NaN or infinity", "a network of finite weights")
        tensors = _tensors.plain(self.backbone.state_dict())
        return write_atomic(path, lambda p: save_file(tensors, str(p)))

    @classmethod
    def load(cls, path: str | os.PathLike[str], backbone: nn.Module | None = None) -> HashNetwork:
        """Load what `save` saved, by this or an earlier version.

        Args:
            path: the JSON file, or its name without ending.
            backbone: a network of the same shape as the backbone that was saved, if that had no name.

        Returns:
            The network, on the CPU, in evaluation mode.

        Raises:
            FileNotFoundError: if a file is missing; nothing is ever trained instead.
            ValueError: if a file is damaged or of another format, a weight is not a finite number, or the
                backbone is not known here.
        """
        where = _tensors.card_path(path)
        content = _read_card(where)
        settings = {**content["model"], "weights": None}  # the file has all weights
        if backbone is not None:
            settings["backbone"] = instance("backbone", backbone, nn.Module, "an nn.Module")
        elif settings.get("backbone") is None:
            raise bad("backbone", None, "given: the saved network had one without a name (or register it)")
        try:
            model = cls(**settings)
        except TypeError as error:
            raise ValueError(f"{where} is damaged: it describes no network ({error}).") from error
        tensors = load_file(str(_tensors.file_of(where, content)))
        if differ := _tensors.differences(tensors, model.state_dict()):
            raise ValueError(f"{where} is damaged: it describes a network of other weights ({differ}).")
        model.load_state_dict(tensors)
        if (name := _tensors.not_finite(model)) is not None:
            raise ValueError(f"{where} is no trained network: {name} holds NaN or infinity.")
        if content["preprocess"] is not None:
            model.preprocess = Preprocess.from_dict(content["preprocess"])
        if content["class_names"] is not None:
            model.class_names = tuple(content["class_names"])
        model.about = content["about"]
        return model.eval()


class Head(nn.Module):
    """What is left of a network behind its frozen part: maps in, outputs out. It shares its weights.

    Args:
        network: a network with a frozen part.

    Raises:
        ValueError: if nothing is frozen.
    """

    def __init__(self, network: HashNetwork) -> None:
        super().__init__()
        if not instance("network", network, HashNetwork, "a HashNetwork with `frozen`")._frozen_stages:
            raise bad("network", "one without a frozen part", "a HashNetwork with `frozen`")
        self.network = network
        self.bits = network.bits
        self.code_rule = network.code_rule

    def forward(self, maps: Tensor) -> Tensor:
        """U (B×bits) from what `HashNetwork.frozen_map` gave (B×C×h×w)."""
        return self.network.from_frozen(maps)


def save_model(model: HashNetwork, path: str | os.PathLike[str], about: dict[str, Any] | None = None) -> Path:
    """Save a network: `HashNetwork.save` under its older name.

    Args:
        model: the network.
        path: where to.
        about: what else to say of it (JSON-able); it is added to the network's own `about`.

    Returns:
        The JSON file's path.

    Raises:
        ValueError: if a weight is not a finite number, or an argument is of another kind.
    """
    instance("model", model, HashNetwork, "a HashNetwork")
    if (name := _tensors.not_finite(model)) is not None:
        raise bad("model", f"{name} with NaN or infinity", "a network of finite weights")
    content = {
        "model": model.config,
        "preprocess": None if model.preprocess is None else model.preprocess.as_dict(),
        "class_names": None if model.class_names is None else list(model.class_names),
        "about": {**model.about, **about_dict(about)},
    }
    card, tensors = _tensors.card_path(path), _tensors.plain(model.state_dict())
    return _tensors.write(card, f"{card.stem}.safetensors", lambda p: save_file(tensors, str(p)), content)


def load_model(path: str | os.PathLike[str]) -> tuple[HashNetwork, dict[str, Any]]:
    """Load a network: `HashNetwork.load` under its older name.

    Args:
        path: the JSON file, or its name without ending.

    Returns:
        The network (on the CPU, in evaluation mode) and the ``about`` that was saved with it.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged or of another format.
    """
    model = HashNetwork.load(path)
    return model, model.about


def weights_hash(path: str | os.PathLike[str]) -> str:
    """What tells two models apart: the SHA-256 of a saved network's weights, as its JSON file names it.

    Args:
        path: as for `load_model`, which also checks that the weights have this hash.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or of another format.
    """
    return str(_read_card(_tensors.card_path(path))["sha256"])


def _read_card(where: Path) -> dict[str, Any]:
    """Read a model's card; one that was written before it told of its images is completed."""
    if not where.is_file():
        raise FileNotFoundError(
            f"There is no model at {where}. `python -m dhida_lib train --help` says how to make one."
        )
    content = _tensors.read(where, ("model",))
    full = content if "preprocess" in content else _completed(where, content)
    kinds = {"model": dict, "preprocess": dict | None, "class_names": list | None, "about": dict}
    _of_kinds(where, full, kinds)
    if not all(isinstance(name, str) for name in full["class_names"] or []):
        raise ValueError(f"{where} is damaged: not all of its 'class_names' are texts.")
    return full


def _of_kinds(where: Path, content: dict[str, Any], kinds: dict[str, Any]) -> None:
    """Refuse a card of which a part is missing or is something else."""
    for part, kind in kinds.items():
        if part not in content or not isinstance(content[part], kind):
            raise ValueError(f"{where} is damaged: its {part!r} is missing or something else.")


def _completed(where: Path, old: dict[str, Any]) -> dict[str, Any]:
    """An older card with what it left to guess: it names data set, side and method in ``about``."""
    card = {"about": {}, "preprocess": None, "class_names": None, **old}
    _of_kinds(where, card, {"model": dict, "about": dict})
    about = {"data": {}, "config": {}, **card["about"]}
    _of_kinds(where, about, {"data": dict, "config": dict})
    method, name = about["config"].get("method"), about["data"].get("dataset")
    card["model"] = {"code_rule": LOSSES[method].code_rule if method in LOSSES else "sign", **card["model"]}
    if name in DATASETS:
        source = DATASETS[name]
        card["preprocess"] = source.sized(about["data"].get("image_size")).as_dict()
        card["class_names"] = list(source.classes) or None
    return card
