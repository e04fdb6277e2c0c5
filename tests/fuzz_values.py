"""Values for `fuzzing`: a folder of files, sensible arguments by parameter, and hostile ones."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from dhida_lib import losses
from dhida_lib.backbones.base import IMAGENET_FORM
from dhida_lib.codes import CODE_RULES
from dhida_lib.config import DataConfig, LossConfig, NetworkConfig, RunConfig, TrainConfig
from dhida_lib.data import Images, Preprocess, Protocol, RetrievalData, Split
from dhida_lib.experiments import Job
from dhida_lib.metrics import evaluate
from dhida_lib.models import HashNetwork
from dhida_lib.records import Record, save_record
from dhida_lib.search import CodeIndex
from dhida_lib.search.photos import encode_folder, encode_to_store
from dhida_lib.training import PrintLog, build_optimizer
from dhida_lib.training.resume import save_state

# ---- sensible values -------------------------------------------------------------------------------------

BITS, BATCH, MANY, CLASSES, CHANNELS, SIDE = 8, 6, 20, 3, 4, 8
FORM = Preprocess(3, SIDE, mean=(0.5,) * 3, std=(0.2,) * 3)


class World:
    """A folder of files, good and damaged, and the things that calls need, made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        g = np.random.default_rng(0)
        for name in ("a", "b", "c"):
            for i in range(12):
                file = folder / "classes" / name / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(g.integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(file)
        (folder / "photos").mkdir()
        shutil.copy(folder / "classes" / "a" / "0.png", folder / "photos" / "one.png")
        shutil.copy(folder / "classes" / "b" / "1.png", folder / "photos" / "two.png")
        (folder / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
        torch.manual_seed(0)
        self.model = HashNetwork("narrow-resnet", "ida", BITS, width=1).eval()
        self.model.save(folder / "mute")
        self.model.preprocess, self.model.class_names = FORM, ("a", "b", "c")
        self.model.save(folder / "model", run="a run")
        save_file(dict(self.model.backbone.state_dict()), str(folder / "weights.safetensors"))
        encode_folder(folder / "photos", folder / "model.json", folder / "photo-index")
        encode_to_store(folder / "photos", folder / "model.json", folder / "photo-table")
        index = CodeIndex(BITS)
        index.add(self.signs(random.Random(0), MANY, BITS))
        index.save(folder / "index", {"model": "another"})
        self.data = self._data()
        record = Record(
            config=run_config(Case(random.Random(0), self)).as_dict(),
            protocol=self.data.protocol_record(),
            metrics=evaluate(*self._measured()),
            history=[{"epoch": 1, "loss": 1.0}],
            seconds=1.0,
            machine={"cores": 2},
            version="0",
        )
        self.record = record
        save_record(record, folder / "record.json")
        save_record(record, folder / "records" / "one.json")
        loss = losses.build_loss("dhida", BITS, MANY, CLASSES)
        optimizer = build_optimizer(self.model, TrainConfig())
        save_state(folder / "state", self.model, loss, optimizer, 1, {"run": {}, "history": []})
        (folder / "list.txt").write_text("".join(f"classes/a/{i}.png 0 1 0\n" for i in range(3)))
        (folder / "images.idx").write_bytes(b"\0\0\x08\x03" + b"\0\0\0\2" * 3 + bytes(8))
        # … and the damaged ones.
        for name, content in {
            "empty.json": b"",
            "list.json": b"[]",
            "number.json": b"3",
            "null.json": b"null",
            "deep.json": b"[" * 100_000,
            "latin.json": b'{"\xe4": 1}',
            "format.json": b'{"format": 1, "file": 3, "sha256": null, "model": [], "version": "x"}',
            "bytes.safetensors": bytes(range(256)),
            "huge.safetensors": b"\xff" * 8 + b"{}",
            "bytes.pth": bytes(range(256)),
            "cut.idx": b"\0\0\x08\x03" + b"\xff" * 8,
            "bytes.npz": b"PK\x03\x04 no archive",
            "bytes.png": b"\x89PNG\r\n\x1a\n no picture",
            "settings.toml": b'profile = "fast"\n[network]\nbits = 8\n',
            "odd.toml": b"bits = [1, {a = 2}]\n",
            "extension.py": b"VALUE = 3\n",
            "text.txt": "Größe\n".encode(),
            "odd.txt": b"classes/a/0.png 0 7 x\n",
        }.items():
            (folder / name).write_bytes(content)
        (folder / "nothing").mkdir()
        (folder / "loop").symlink_to("loop")

    def _data(self) -> RetrievalData:
        g = torch.Generator().manual_seed(0)
        parts = []
        for first, n in ((0, MANY), (20, BATCH), (26, MANY)):
            pixels = torch.randint(0, 256, (n, 3, SIDE, SIDE), generator=g, dtype=torch.uint8)
            rows = torch.arange(first, first + n)
            parts.append(Split(pixels, rows % CLASSES, rows, FORM))
        protocol = Protocol("tiny", 2, 4, False, None, "For tests.")
        return RetrievalData("tiny", protocol, 0, ("a", "b", "c"), *parts, source="random bytes")

    def _measured(self) -> tuple[Tensor, ...]:
        r = random.Random(0)
        codes = self.signs(r, BATCH, BITS), self.signs(r, MANY, BITS)
        return *codes, torch.arange(BATCH) % CLASSES, torch.arange(MANY) % CLASSES

    @staticmethod
    def normal(r: random.Random, *shape: int) -> Tensor:
        """Random numbers that depend on ``r`` alone."""
        return torch.randn(*shape, generator=torch.Generator().manual_seed(r.getrandbits(32)))

    @classmethod
    def signs(cls, r: random.Random, *shape: int) -> Tensor:
        """Random codes."""
        return torch.where(cls.normal(r, *shape) > 0, 1.0, -1.0)


@dataclass
class Case:
    """What the arguments of one call share."""

    r: random.Random
    world: World
    me: Any = None  # the object whose method is called
    args: dict[str, Any] = field(default_factory=dict)
    multi: bool = False  # several labels an image?

    def one(self, *options: Any) -> Any:
        """One of the options."""
        return self.r.choice(options)

    def labels(self, n: int, c: int = CLASSES) -> Tensor:
        """Class ids, or rows of zeros and ones."""
        if self.multi:
            return (self.world.normal(self.r, n, c) > 0).long()
        return torch.tensor([self.r.randrange(c) for _ in range(n)])

    def channels(self) -> int:
        """The channels of the map that the module in question reads."""
        return getattr(self.me, "channels", None) or getattr(self.me, "map_channels", CHANNELS)

    def batch(self) -> Tensor:
        """Images for the network in question."""
        side = 64 if "alexnet" in type(self.me).__name__.lower() else SIDE
        return self.world.normal(self.r, 2, getattr(self.me, "in_channels", 3), side, side)


def dressed(r: random.Random, x: Tensor, form: str) -> Any:
    """The same numbers in another form: strides, type, or no tensor at all."""
    if r.random() < 0.3:
        return x
    forms: list[Callable[[], Any]] = [
        lambda: x.transpose(0, -1).contiguous().transpose(0, -1),
        lambda: torch.stack([x, x], dim=-1)[..., 1],
        lambda: torch.cat([x, x])[: len(x)],
        lambda: x.double() if x.is_floating_point() else x.int(),
        lambda: x.clone().requires_grad_() if x.is_floating_point() else x.short(),
    ]
    if form != "tensor":
        forms += [
            lambda: x.numpy(),
            lambda: np.asfortranarray(x.numpy()),
            lambda: x.flip(0).numpy()[::-1],
            lambda: np.frombuffer(x.numpy().tobytes(), x.numpy().dtype).reshape(x.shape),  # read-only
        ]
    if form == "any":
        forms += [lambda: x.tolist(), lambda: tuple(x.tolist())]
    return r.choice(forms)()


def alt(c: Case) -> str:
    """A description that says enough."""
    return "a figure that shows something " + "x" * c.r.randrange(5)


def figure(c: Case) -> Figure:
    """A small figure."""
    fig, ax = plt.subplots(figsize=(1, 1))
    ax.plot([0, 1])
    return fig


def network(c: Case) -> HashNetwork:
    """A network of its own: calls change it."""
    torch.manual_seed(0)
    return HashNetwork("narrow-resnet", c.one("none", "ida"), BITS, width=1)


def frozen_network(c: Case) -> HashNetwork:
    """A network of which only the head learns."""
    torch.manual_seed(0)
    return HashNetwork("narrow-resnet", "none", BITS, width=1, frozen="all")


def run_config(c: Case) -> RunConfig:
    """A run so small that it takes a moment."""
    return RunConfig().change(
        dataset="folder",
        protocol="all",
        image_size=SIDE,
        backbone="narrow-resnet",
        width=1,
        weights=None,
        bits=BITS,
        attention=c.one("none", "ida"),
        epochs=1,
        batch_size=4,
        lr=1e-3,
        device="cpu",
    )


GOOD: dict[str, Callable[[Case], Any]] = {
    # numbers
    "accumulate": lambda c: c.one(1, 2),
    "alpha": lambda c: c.one(0.1, 1, 2.5),
    "anchors": lambda c: c.one(10, 12),
    "beta_end": lambda c: c.one(1.0, 7),
    "bits": lambda c: BITS,
    "batch_size": lambda c: c.one(1, 4, 100),
    "center": lambda c: c.one(None, 0, 0.5),
    "channels": lambda c: c.one(1, CHANNELS),
    "chapter": lambda c: c.one(None, 1, 5, 19, 99),
    "classes": lambda c: CLASSES,
    "columns": lambda c: c.one(1, 3, 10),
    "crop": lambda c: c.one(None, 1, 4, SIDE),
    "epoch": lambda c: c.one(0, 1),
    "epochs": lambda c: c.one(1, 2),
    "eta": lambda c: c.one(0.1, 1),
    "every": lambda c: c.one(1, 2),
    "fill": lambda c: c.one(0.0, 1, torch.zeros(3)),
    "gamma": lambda c: c.one(0, 0.1),
    "held_out": lambda c: c.one(0.0, 0.3),
    "image_size": lambda c: c.one(None, 6, SIDE),
    "in_channels": lambda c: c.one(1, 3),
    "init_std": lambda c: c.one(0.1, 1),
    "iterations": lambda c: c.one(1, 3),
    "jobs": lambda c: 1,
    "k": lambda c: c.one(1, 5, 100),
    "lam": lambda c: c.one(0, 0.5),
    "lists": lambda c: c.one(0, 2),
    "loss": lambda c: 1.0,
    "lr": lambda c: c.one(1e-4, 1),
    "map_k": lambda c: c.one(None, 5),
    "margin": lambda c: c.one(0.2, 3),
    "mean": lambda c: (0.5, 0.5, 0.5),
    "mu": lambda c: c.one(0.1, 1),
    "n": lambda c: c.one(1, 4, 12),
    "nearest": lambda c: c.one(1, 3),
    "nu": lambda c: c.one(0.1, 1),
    "num_classes": lambda c: CLASSES,
    "num_train": lambda c: c.one(None, MANY),
    "omega": lambda c: c.one(0, 0.5),
    "out_channels": lambda c: c.one(1, CHANNELS),
    "pixels": lambda c: c.one(1, 3),
    "probes": lambda c: c.one(1, 4),
    "query_per_class": lambda c: c.one(1, 2),
    "radius": lambda c: c.one(0, 2, 5, 100),
    "rounds": lambda c: c.one(1, 2),
    "scale": lambda c: c.one(1, 8.0),
    "seed": lambda c: c.one(0, 1, 12345, 2**32 - 1),
    "share": lambda c: c.one(0.3, 0.5),
    "side": lambda c: c.one(1, SIDE),
    "size": lambda c: c.one(0.3, 1),
    "split_seed": lambda c: c.one(0, 3),
    "stages": lambda c: c.one(1, 10),
    "std": lambda c: (0.2, 0.2, 0.2),
    "step": lambda c: c.one(0, 3),
    "steps_per_epoch": lambda c: c.one(1, 4),
    "stream": lambda c: c.one(0, 1),
    "stride": lambda c: c.one(1, 2),
    "tolerance": lambda c: c.one(1e-5, 0.1),
    "train_per_class": lambda c: c.one(1, 2),
    "unseen": lambda c: 0,
    "warmup": lambda c: c.one(0, 0.5),
    "weight_decay": lambda c: c.one(0, 1e-5),
    "width": lambda c: c.one(1, 2),
    "within": lambda c: c.one(None, 2),
    "workers": lambda c: c.one(None, 1),
    "budget": lambda c: c.one(None, 10.0),
    "checkpoint_every": lambda c: c.one(1, "10 min"),
    "in_place": lambda c: c.one(None, True, False),
    "scaler": lambda c: None,
    "choose_precision.asked": lambda c: c.one("auto", "float32", "tf32", "bfloat16", "float16"),
    "choose_precision.capability": lambda c: c.one((7, 5), (8, 0), [9, 0]),
    "choose_precision.device_type": lambda c: c.one("cuda", "cpu"),
    "card_of.name": lambda c: c.one("Tesla T4", "NVIDIA L40S"),
    "gpu_records.folder": lambda c: c.one("records", "nothing"),
    "HashLoss.check_values.index": lambda c: c.one(None, [0, 1]),
    "HashLoss.foresee.places": lambda c: c.one(None, torch.tensor([0, 1])),
    "batches": lambda c: 4,
    "ylim": lambda c: c.one(None, (0, 1)),
    # words
    "activation": lambda c: c.one("sign", "piecewise", "identity"),
    "advice": lambda c: "Get it.",
    "alt": alt,
    "annotate": lambda c: c.one(True, False, ".2f"),
    "attention": lambda c: c.one("none", "ida", "conv"),
    "augment": lambda c: c.one("none", "flip", "flip-shift"),
    "backbone": lambda c: c.one("narrow-resnet", "narrow-alexnet"),
    "balance": lambda c: c.one("code", "bit"),
    "caption": lambda c: c.one(None, "a line"),
    "centres": lambda c: c.one("bernoulli", "hadamard"),
    "dataset": lambda c: c.one("folder", "fashion-mini", "fashion-mnist"),
    "device": lambda c: c.one("cpu", "auto"),
    "empty_rows": lambda c: c.one("drop", "keep"),
    "fusion": lambda c: c.one("sum", "mean"),
    "highlight": lambda c: c.one(None, "ida", "loss"),
    "inner": lambda c: c.one("half", "plain"),
    "kind": lambda c: c.one("hadamard", "bernoulli"),
    "measure": lambda c: "map",
    "message": lambda c: "what is wrong",
    "method": lambda c: c.one("dhida", "classifier"),
    "name": lambda c: c.one("folder", "some name"),
    "note": lambda c: "",
    "number": lambda c: c.one("1.1", "5.1"),
    "only": lambda c: c.one(None, "*.png"),
    "pairs": lambda c: c.one("bank", "batch"),
    "precision": lambda c: "float32",
    "profile": lambda c: c.one("fast", "full"),
    "protocol": lambda c: c.one(None, "all"),
    "reduce": lambda c: c.one("column", "row"),
    "schedule": lambda c: c.one("constant", "cosine"),
    "table": lambda c: c.one("tune", "table3", "table4", "beyond"),
    "text": lambda c: "A sentence.",
    "ties": lambda c: c.one("expected", "stable"),
    "title": lambda c: c.one("a title"),
    "variant": lambda c: c.one("ida", "danet", "flipped"),
    "what": lambda c: "the answer",
    "where": lambda c: c.one("id > 3", "id = 1"),
    "xlabel": lambda c: "x",
    "ylabel": lambda c: "y",
    "weights": lambda c: c.one(None, None, "weights.safetensors"),
    # yes or no
    **dict.fromkeys(
        (
            "channels_last",
            "create",
            "data_on_device",
            "recompute",
            "database_includes_train",
            "last",
            "markers",
            "overlap",
            "official_split",
            "shuffle",
            "strict",
            "tight",
            "condition",
        ),
        lambda c: c.one(True, False),
    ),
    "compile": lambda c: False,
    "xticks": lambda c: c.one(True, False),
    "yticks": lambda c: c.one(True, False),
    # arrays
    "A": lambda c: c.world.normal(
        c.r, 2, getattr(c.me, "channels", getattr(c.me, "map_channels", CHANNELS)), 3, 4
    ),
    "B": lambda c: c.world.signs(c.r, BATCH, BITS),
    "U": lambda c: c.world.normal(c.r, BATCH, BITS),
    "Y": lambda c: (c.world.normal(c.r, BATCH, CLASSES) > 0).long(),
    "batch": lambda c: c.world.normal(c.r, 2, 3, SIDE, SIDE),
    "codes": lambda c: c.world.signs(c.r, BATCH, BITS),
    "corners": lambda c: None,
    "d": lambda c: c.world.signs(c.r, MANY, BITS),
    "d_labels": lambda c: c.labels(MANY),
    "flips": lambda c: None,
    "ids": lambda c: torch.tensor(c.r.sample(range(1000), BATCH)),
    "images": lambda c: torch.zeros(BATCH, 4, 5, dtype=torch.uint8),
    "index": lambda c: torch.tensor(c.r.sample(range(MANY), BATCH)),
    "indices": lambda c: torch.tensor(c.r.sample(range(BATCH), 3)),
    "labels": lambda c: c.labels(BATCH),
    "logits": lambda c: c.world.normal(c.r, BATCH, CLASSES),
    "matrix": lambda c: c.world.normal(c.r, 3, 4),
    "others": lambda c: c.labels(4),
    "packed": lambda c: np.zeros((BATCH, 1), np.uint8),
    "q": lambda c: c.world.signs(c.r, BATCH, BITS),
    "q_labels": lambda c: c.labels(BATCH),
    "rows": lambda c: None,
    "s": lambda c: c.world.normal(c.r, 3, 4) > 0,
    "test_rows": lambda c: None,
    "theta": lambda c: c.world.normal(c.r, 3, 4),
    "u": lambda c: c.world.normal(c.r, BATCH, getattr(c.me, "bits", BITS)),
    "which": lambda c: c.one(2, torch.tensor([0, 3])),
    "x": lambda c: c.batch() if isinstance(c.me, nn.Module) else c.world.normal(c.r, 40, 9),
    "y": lambda c: c.labels(BATCH),
    "got": lambda c: torch.ones(3),
    "want": lambda c: torch.ones(3),
    # paths
    "cache": lambda c: "cache",
    "file": lambda c: c.one("photos/one.png", "list.txt", "log.csv"),
    "folder": lambda c: c.one("photos", "records", "nothing", "new/folder"),
    "image": lambda c: "photos/one.png",
    "model": network,
    "path": lambda c: c.one("model.json", "model", "new", "images.idx", "record.json"),
    "root": lambda c: c.one(None, "classes"),
    "uri": lambda c: "table",
    "work": lambda c: "work",
    # things
    "about": lambda c: c.one(None, {}, {"a": [1, None]}),
    "answer": lambda c: c.one(None, lambda *a: 1, lambda *a: torch.ones(2)),
    "arrays": lambda c: {"a": np.zeros(3), "b": np.arange(4)},
    "ax": lambda c: None,
    "callbacks": lambda c: c.one((), [PrintLog()]),
    "change": lambda c: c.one(None, {"epochs": 2}),
    "class_names": lambda c: ("a", "b", "c"),
    "config": run_config,
    "correct": lambda c: [[True, False], [False, True]],
    "data": lambda c: c.world.data,
    "train.data": lambda c: c.world.data.train,
    "outputs.data": lambda c: c.one(c.world.data.train, c.world.normal(c.r, 2, 3, SIDE, SIDE)),
    "encode.data": lambda c: c.one(c.world.data.train, c.world.normal(c.r, 2, 3, SIDE, SIDE)),
    "preprocess": lambda c: FORM,
    "rule": lambda c: c.one(*CODE_RULES),
    "stored": lambda c: c.one(None, SIDE, 10),
    "interpolation": lambda c: c.one("bilinear", "bicubic"),
    "database": lambda c: c.world.data.database,
    "fig": figure,
    "files": lambda c: ["photos/one.png", "photos/two.png"],
    "frames": lambda c: [figure(c), figure(c)],
    "generator": lambda c: c.one(None, torch.Generator()),
    "make_plan": lambda c: lambda records: [],
    "optimizer": lambda c: build_optimizer(network(c), TrainConfig()),
    "query": lambda c: c.world.data.query,
    "queries": lambda c: [np.zeros((4, 4)), np.zeros((4, 4, 3))],
    "query_titles": lambda c: c.one(None, ["a", "b"]),
    "records": lambda c: c.one([], [c.world.record]),
    "record": lambda c: c.world.record,
    "result_titles": lambda c: c.one(None, [["a", "b"], ["c", "d"]]),
    "results": lambda c: [[np.zeros((4, 4))] * 2] * 2,
    "row": lambda c: {"epoch": 1.0, "loss": 2.0},
    "say": lambda c: lambda line: None,
    "seeds": lambda c: c.one((0,), [1, 2]),
    "series": lambda c: {"a": ([1, 2], [3, 4]), "b": (np.arange(3), torch.arange(3))},
    "shape": lambda c: c.one(3, (2, 4)),
    "slips": lambda c: c.one(None, {"half of it": torch.ones(3) / 2}),
    "split": lambda c: c.world.data.train,
    "start": lambda c: c.one(0, 1),
    "system": lambda c: (),
    "train": lambda c: TrainConfig(epochs=1),
    "alts": lambda c: [alt(c), alt(c)],
    "marks": lambda c: c.one(None, [True, False, None, True, False, None]),
    "titles": lambda c: c.one(None, list("abcdef")),
}
"""Parameter → a value that fits; a key `door.parameter` comes first."""

GOOD |= {
    "build_backbone.name": lambda c: c.one("narrow-resnet", "narrow-alexnet"),
    "CsvLog.file": lambda c: c.one("log.csv", "new/log.csv"),
    "Progress.on_batch.epoch": lambda c: 1,
    "Progress.on_batch.batch": lambda c: 1,
    "TensorBoardLog.folder": lambda c: "board",
    "expect_report.*": lambda c: c.one(["a", "b"], ["a"]),
    "expect_report.seeds": lambda c: 3,
    "expect_report.report": lambda c: {
        "prediction": "a helps because it is so",
        "a": [1, 2, 3],
        "b": [2, 3, 5],
        "conclusion": "b helps more than a did",
    },
    "load_model.path": lambda c: c.one("model", "model.json", "mute.safetensors"),
    "load_state.folder": lambda c: c.one("state", "nothing"),
    "load_state.loss": lambda c: losses.build_loss("dhida", BITS, MANY, CLASSES),
    "save_model.path": lambda c: c.one("saved", "new/saved.json"),
    "save_state.about": lambda c: {"history": []},
    "save_state.folder": lambda c: c.one("saved-state", "new/state"),
    "save_state.loss": lambda c: losses.build_loss("dhida", BITS, MANY, CLASSES),
    "draw_canvases.classes": lambda c: 4,
    "draw_canvases.images": lambda c: np.zeros((BATCH, 4, 4), np.uint8),
    "draw_canvases.labels": lambda c: np.array([0, 1, 2, 3, 0, 1]),
    "data_path.*": lambda c: c.one([], ["fashion-mini"], ["fashion-mini", "LICENSE"], ["no-such-file"]),
    "dataset_folder.markers": lambda c: ["a/0.png"],
    "dataset_folder.name": lambda c: "classes",
    "dataset_folder.root": lambda c: "classes",
    "Protocol.database_includes_train": lambda c: True,
    "rank_in_class.labels": lambda c: np.array([0, 2, 1, 0, 2, 1]),
    "split_rows.labels": lambda c: np.arange(30) % 3,
    "split_rows.protocol": lambda c: Protocol("own", 2, 3, c.one(True, False), None, "Mine."),
    "list_images.folder": lambda c: c.one("photos", "classes"),
    "fit_square.image": lambda c: Image.new("RGB", (4, 5)),
    "read_image.file": lambda c: "photos/one.png",
    "read_list.file": lambda c: "list.txt",
    "load_dataset.root": lambda c: "classes",
    "load_dataset.protocol": lambda c: "all",
    "load_dataset.name": lambda c: "folder",
    "read_idx.path": lambda c: "images.idx",
    "Split.indices": lambda c: torch.arange(BATCH),
    "Split.pixels": lambda c: torch.zeros(BATCH, 3, SIDE, SIDE, dtype=torch.uint8),
    "Split.to.device": lambda c: c.one("cpu", torch.device("cpu")),
    "Split.picture.i": lambda c: 0,
    "Split.batch.device": lambda c: None,
    "assemble.protocol": lambda c: Protocol("own", 2, 3, c.one(True, False), None, "Mine."),
    "batches.device": lambda c: None,
    "batches.share": lambda c: c.one((0, 1), (1, 2)),
    "load.chapter": lambda c: c.one(1, 5, 99),
    "find.config": lambda c: run_config(c),
    "missing.folder": lambda c: c.one("records", "nothing", "new"),
    "paired.a": lambda c: {0: c.world.record, 1: c.world.record},
    "paired.b": lambda c: {0: c.world.record},
    "plan.bits": lambda c: c.one((16,), [8, 32]),
    "plan.dataset": lambda c: c.one("fashion-mnist", "fashion-mini"),
    "plan.init_std": lambda c: c.one(None, [0.1, 0.2]),
    "plan.rows": lambda c: c.one(None, ["DHIDA"]),
    "reproduce.folder": lambda c: c.one("records", "nothing", "new"),
    "scores.jobs": lambda c: [Job("a", run_config(c))],
    "tuned.dataset": lambda c: c.one("fashion-mnist", "fashion-mini"),
    "tuned.method": lambda c: c.one("dhida", "dsh"),
    "build_loss.name": lambda c: c.one(*losses.LOSSES),
    "DFHLoss.targets.Y": lambda c: (c.world.normal(c.r, BATCH, CLASSES) > 0).long(),
    "shared_labels.Y": lambda c: c.labels(4),
    "DBDHLoss.activation": lambda c: c.one("sign", "piecewise"),
    "DHIDALoss.activation": lambda c: c.one("identity", "piecewise"),
    "ResidualBlock.forward.x": lambda c: c.world.normal(c.r, 2, c.me.conv1.in_channels, 3, 4),
    "DataConfig.folder": lambda c: c.one(None, "classes"),
    "DataConfig.protocol": lambda c: None,
    "DataConfig.dataset": lambda c: "folder",
    "Folder.load.root": lambda c: "classes",
    "Folder.load.protocol": lambda c: "all",
    "Head.network": frozen_network,
    "Head.forward.maps": lambda c: c.world.normal(c.r, 2, c.me.network.backbone.map_channels, 2, 2),
    "HashNetwork.load.path": lambda c: c.one("model", "model.json", "mute"),
    "HashNetwork.load.backbone": lambda c: None,
    "HashNetwork.save.path": lambda c: c.one("saved", "new/saved.json"),
    "HashNetwork.code_rule": lambda c: c.one(*CODE_RULES),
    "HashNetwork.frozen": lambda c: c.one(None, "all"),
    "HashNetwork.neck": lambda c: c.one(None, 2),
    "HashNetwork.train.mode": lambda c: c.one(True, False),
    "LossConfig.options": lambda c: c.one({}, {"gamma": 0.1}),
    "NetworkConfig.frozen": lambda c: c.one(None, "all"),
    "NetworkConfig.neck": lambda c: c.one(None, 2),
    "NetworkConfig.weights": lambda c: c.one(None, "imagenet"),
    "Preprocess.channels": lambda c: 3,
    "Preprocess.from_dict.values": lambda c: FORM.as_dict(),
    "Preprocess.normalise.pixels": lambda c: torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8),
    "Preprocess.normalise.device": lambda c: None,
    "Preprocess.pixels.image": lambda c: c.one("photos/one.png", torch.zeros(3, 9, 9), np.zeros((9, 9))),
    "RetrievalData.from_arrays.query": lambda c: (np.zeros((4, 9, 9)), c.labels(4)),
    "RetrievalData.from_arrays.train": lambda c: (np.zeros((6, 9, 9)) + 0.5, c.labels(6)),
    "RetrievalData.from_arrays.database": lambda c: (np.zeros((5, 9, 9)), c.labels(5)),
    "RetrievalData.from_arrays.preprocess": lambda c: c.one(None, Preprocess(1, 5)),
    "RetrievalData.from_folders.path": lambda c: "classes",
    "RetrievalData.from_folders.protocol": lambda c: "all",
    "RunConfig.data": lambda c: DataConfig(),
    "RunConfig.loss": lambda c: LossConfig(),
    "RunConfig.network": lambda c: NetworkConfig(),
    "RunConfig.training": lambda c: TrainConfig(),
    "RunConfig.change.**": lambda c: c.one({"bits": 8}, {"epochs": 2, "lr": 0.1}),
    "RunConfig.from_dict.values": lambda c: run_config(c).as_dict(),
    "RunConfig.from_file.path": lambda c: "settings.toml",
    "TrainConfig.backbone_rate": lambda c: c.one(1, 0.1),
    "TrainConfig.cache_maps": lambda c: c.one(True, False),
    "TrainConfig.optimizer": lambda c: c.one("rmsprop", "adam"),
    "assemble.images": lambda c: Images(np.zeros((30, 3, SIDE, SIDE), np.uint8), np.arange(30) % 3),
    "base.dataset": lambda c: c.one("fashion-mnist", "fashion-mini"),
    "build_attention.name": lambda c: c.one("none", "ida", "double"),
    "build_optimizer.factory": lambda c: None,
    "build_optimizer.config": lambda c: TrainConfig(),
    "cached_maps.model": frozen_network,
    "form": lambda c: c.one(None, IMAGENET_FORM),
    "image_form.name": lambda c: c.one("resnet18", "timm:test_resnet"),
    "image_form.weights": lambda c: c.one("imagenet", None),
    "save_run.model": network,
    "import_extension.name": lambda c: "extension.py",
    "load_about.folder": lambda c: c.one("state", "nothing"),
    "named_device.name": lambda c: c.one("cpu", "auto", "cuda:7"),
    "nested.values": lambda c: run_config(c).as_dict(),
    "read_cifar10.checked": lambda c: c.one(True, False),
    "repeat.root": lambda c: "classes",
    "train.augment": lambda c: None,
    "train.optimizer": lambda c: None,
    "repeat.path": lambda c: "record.json",
    "repeat.out": lambda c: c.one(None, "repeated"),
    "to_codes.u": lambda c: c.world.normal(c.r, BATCH, BITS),
    "weights_hash.path": lambda c: c.one("model", "mute.json"),
    "with_maps.model": frozen_network,
    "TimmBackbone.model": lambda c: "test_resnet",
    "ModuleBackbone.module": lambda c: nn.Conv2d(3, 4, 3),
    "check_options.name": lambda c: "dhida",
    "known_backbone.name": lambda c: c.one("resnet18", "narrow-resnet"),
    "check_options.options": lambda c: c.one({}, {"gamma": 0.1}),
    "effective_number.weights": lambda c: c.world.normal(c.r, 3, 4).softmax(-1),
    "ClassifierLoss.bits": lambda c: CLASSES,
    "ClassifierLoss.num_train": lambda c: None,
    "followed.arrows": lambda c: ["to"],
    "followed.columns": lambda c: [("a", [1.0, 2.0]), ("b", torch.ones(2, 3))],
    "followed.rows": lambda c: ["x", "y"],
    "heatmap.limits": lambda c: c.one(None, (0, 1)),
    "read_state_dict.weights": lambda c: "weights.safetensors",
    "Encoder.model": lambda c: "model.json",
    "Encoder.codes.images": lambda c: [c.world.normal(c.r, 3, SIDE, SIDE)] * 2,
    "Encoder.read.file": lambda c: "photos/one.png",
    "encode_folder.folder": lambda c: "photos",
    "encode_folder.index": lambda c: c.one("photo-index", "new/index"),
    "encode_folder.model": lambda c: "model.json",
    "encode_to_store.folder": lambda c: "photos",
    "encode_to_store.model": lambda c: "model.json",
    "find_in_store.model": lambda c: "model.json",
    "find_similar.index": lambda c: "photo-index",
    "find_similar.model": lambda c: "model.json",
    "find_in_store.uri": lambda c: "photo-table",
    "find_in_store.where": lambda c: c.one(None, "bytes > 3"),
    "table.best": lambda c: c.one(None, {"b": "max"}),
    "table.caption": lambda c: "what it shows",
    "table.form": lambda c: c.one(".3f", {"b": ".2f"}),
    "table.header": lambda c: ["a", "b"],
    "table.rows": lambda c: [["x", 0.5], ["y", None]],
    "heatmap.title": lambda c: c.one(None, "a title"),
    "image_grid.images": lambda c: [np.zeros((4, 4))] * 6,
    "png.scale": lambda c: c.one(0.5, 1),
    "show.width": lambda c: c.one(None, 100),
    "load_record.path": lambda c: "record.json",
    "load_records.folder": lambda c: c.one("records", "nothing"),
    "save_record.path": lambda c: c.one("saved.json", "new/saved.json"),
    "build.root": lambda c: "classes",
    "run.root": lambda c: "classes",
    "run.folder": lambda c: None,
    "weights_name.weights": lambda c: c.one(None, "imagenet", "text.txt"),
    "CodeIndex.load.path": lambda c: c.one("index", "index.json"),
    "CodeIndex.save.path": lambda c: c.one("saved-index", "new/index"),
    "CodeStore.add.**": lambda c: {"n": list(range(BATCH))},
    "CodeStore.append.**": lambda c: {"n": list(range(BATCH))},
    "CodeStore.update.**": lambda c: {"n": 3},
    "CodeStore.columns": lambda c: c.one(None, {}),
    "CodeStore.create": lambda c: True,
    "CodeStore.update.where": lambda c: c.one("id > 3", "id = 1"),
    "CodeStore.build.lists": lambda c: 2,
    "CodeStore.name": lambda c: "codes",
    "History.column.name": lambda c: "loss",
    "learning_rate.config": lambda c: TrainConfig(epochs=2),
    "train.config": lambda c: TrainConfig(epochs=1, batch_size=8, lr=1e-3, device="cpu"),
    "train.folder": lambda c: c.one(None, "run"),
    "train.loss": lambda c: losses.build_loss("dhida", BITS, MANY, CLASSES),
    "pick_device.device": lambda c: c.one("cpu", "auto"),
    "AnchorGraphHashing.bits": lambda c: 4,
    "frame_slider.labels": lambda c: ["a", "b"],
}


PLAIN: dict[str, Callable[[Case], Any]] = {
    "array": lambda c: c.world.normal(c.r, 3),
    "bool": lambda c: c.one(True, False),
    "callable": lambda c: lambda *given: None,
    "dict": lambda c: {},
    "float": lambda c: c.one(0.1, 1.0),
    "int": lambda c: c.one(1, 2),
    "list": lambda c: c.one([1, 2], ["a", "b"]),
    "path": lambda c: "new-file",
    "str": lambda c: "some text",
    "tensor": lambda c: c.world.normal(c.r, 2, 3),
    "thing": lambda c: None,
}
"""What a parameter gets that `GOOD` does not know, by its kind."""


# ---- hostile values --------------------------------------------------------------------------------------


class Odd:
    """An object that nothing expects."""


HOSTILE: dict[str, list[Any]] = {
    "int": [
        -1, 0, 7, True, False, 1.5, 3.0, math.nan, math.inf, "3", "", None, [], [1], 2**31, 2**63, 2**64,
        10**400, -(10**400), 10**5000, np.int64(3), np.float32(2), np.array([1, 2]), torch.tensor(3), 1j,
        b"3", Fraction(3), Odd(),
    ],
    "float": [
        -1, 0, -0.0, math.nan, math.inf, -math.inf, 1e308, 5e-324, True, "0.1", "", None, [], [0.1],
        10**400, 10**5000, np.float64(0.1), np.array([0.1]), torch.tensor(0.1), 1j, Odd(),
    ],
    "bool": [None, 0, 1, 2, "yes", "", math.nan, [], np.bool_(True), Odd()],  # a switch takes any truth value
    "str": [
        "", " ", "no-such-thing", "x" * 5000, "a\0b", "\ud800", "ä\n<b>&\"'", "$\\frac{", "{", "%s", None,
        3, 1.5, True, b"bytes", [], ["ida"], ("sum",), {"a": 1}, np.array(["a"]), Odd(),
    ],
    "path": [
        "", ".", "no-such-file", "nothing", "photos", "text.txt", "text.txt/inside", "x" * 300, "a\0b",
        "\udcff.png", "loop", "loop/inside", "~no-such-user/x", "empty.json", "list.json", "number.json",
        "null.json", "deep.json", "latin.json", "format.json", "bytes.safetensors", "huge.safetensors",
        "bytes.pth", "cut.idx", "bytes.npz", "bytes.png", "odd.txt", "record.json", "index.json",
        "model.json", "mute.json", "photos/broken.jpg", b"photos", None, 3, True, [], {}, Odd(), "s3://",
        "memory://x", Path("nothing"),
    ],
    "dict": [
        None, {}, [], "x", 3, {"x": 1}, {1: 2}, {"epochs": "x"}, {"a": math.nan}, {"a": Odd()},
        {None: None}, Odd(),
    ],
    "list": [
        None, [], (), "ab", 3, [None], [3], ["a"], [[]], [math.nan], {1: 2}, {"a"}, range(3), [10**400],
        Odd(),
    ],
    "callable": [None, 3, "f", [], Odd()],
    "thing": [None, 3, "x", [], {}, 1.5, Odd(), Odd, lambda: None, torch.ones(2), np.zeros(2), nn.Identity()],
    "array": [
        None, 3, 1.5, True, "ab", b"ab", [], (), [[]], [1, 2], [[1, -1], [1]], [None], ["a"], {}, {1: 2},
        Odd(), [Odd()], [10**400], np.array(["a", "b"]), np.array([None, 1]),
        np.array(["2020-01-01"], "M8[D]"), np.zeros(0), np.zeros((2, 0)), np.zeros((0, BITS)),
        np.zeros((BATCH, BITS)), np.ones((2, 3, 4, 5)), np.ones(3, ">f4"), np.ones(3, np.float16),
        np.ones(3, np.longdouble), np.array(3), np.ones((2, 2), np.uint64),
    ],
    "tensor": [
        torch.zeros(0), torch.zeros(0, BITS), torch.zeros(BATCH, 0), torch.tensor(3), torch.zeros(3),
        torch.ones(BATCH, BITS), torch.ones(2, 3, 4), torch.ones(2, CHANNELS, 0, 3),
        torch.ones(0, CHANNELS, 3, 4), torch.ones(1, 1, 1, 1), torch.ones(2, 3).to_sparse(),
        torch.ones(2, 3, device="meta"), torch.ones(2, 3).to(torch.float8_e5m2),
        torch.ones(2, 3, dtype=torch.complex64), torch.ones(2, 3, dtype=torch.bool),
        torch.ones(2, 3, dtype=torch.uint8), torch.ones(2, 3, dtype=torch.uint16),
        torch.full((2, 3), 2**63 - 1), torch.full((3,), -(2**63)), torch.full((BATCH, BITS), math.nan),
        torch.full((BATCH, BITS), 1e38), torch.full((40, 9), 1e308, dtype=torch.float64),
    ],
}  # fmt: skip
