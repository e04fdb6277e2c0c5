"""Write what the page "Try it" runs on: the shipped model and images, for a browser.

    python tools/try_it.py [FOLDER]        (make book does it; FOLDER: _build/html/_static/try_it)

A page that was opened as a file may not read another file, but it may load a script. So weights and images
come as scripts: a card of JSON and base64. A model's card holds settings, the names and shapes of its tensors
in the order in which they stand, and the database's codes; the tensors are float32, low byte first.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from PIL import Image  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import dhida_lib  # noqa: E402
from dhida_lib._files import write_atomic  # noqa: E402
from dhida_lib.attention import DualAttention  # noqa: E402
from dhida_lib.backbones.narrow import NarrowResNet  # noqa: E402

FOLDER = ROOT / "_build" / "html" / "_static" / "try_it"
MODEL = "fashion-mini-dhida-16"
"""Its folder in data/checkpoints."""

QUERIES_PER_CLASS = 20
COLUMNS = 20
"""Images in a row of a sprite."""


def folded(conv: nn.Module, norm: nn.Module) -> tuple[NDArray[Any], NDArray[Any]]:
    """A convolution without bias and the batch norm behind it as one convolution with bias."""
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = conv.weight.double() * scale[:, None, None, None]
    bias = norm.bias.double() - norm.running_mean.double() * scale
    return weight.detach().numpy(), bias.detach().numpy()


def tensors(model: dhida_lib.HashNetwork) -> dict[str, NDArray[Any]]:
    """All weights by the names that network.js knows.

    Raises:
        ValueError: if the network is of a kind that network.js does not run.
    """
    net, attention = model.backbone, model.attention
    if not (isinstance(net, NarrowResNet) and isinstance(attention, DualAttention)) or net.in_channels != 1:
        raise ValueError(
            "The page runs a narrow ResNet of grey images with attention; this network is another."
        )
    if attention.position.variant != "ida" or model.code_rule != "sign":
        raise ValueError("The page runs the paper's attention and codes by sign; this network has others.")
    pairs = {"stem": (net.conv1, net.bn1)}
    for name in ("block1", "block2", "block3", "block4"):
        block = getattr(net, name)
        pairs |= {f"{name}.conv{k}": (getattr(block, f"conv{k}"), getattr(block, f"bn{k}")) for k in (1, 2)}
        if len(block.shortcut):
            pairs[f"{name}.shortcut"] = (block.shortcut[0], block.shortcut[1])
    found: dict[str, NDArray[Any]] = {}
    for name, (conv, norm) in pairs.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = folded(conv, norm)
    parts = {part: getattr(attention.position, part) for part in ("query", "key", "value")}
    for name, layer in (parts | {"hash": model.hash_layer}).items():
        found |= {f"{name}.{kind}": getattr(layer, kind).detach().numpy() for kind in ("weight", "bias")}
    return found


def packed(codes: Tensor) -> list[int]:
    """Codes of ±1 (n×K, K ≤ 16) as numbers, the first bit lowest."""
    bits = (codes > 0).numpy().astype(np.int64)
    return [int(number) for number in bits @ (1 << np.arange(bits.shape[1]))]


def model_script(folder: Path, data: Any) -> str:
    """The model: its card, the database's codes and its weights."""
    model = dhida_lib.HashNetwork.load(folder / "model.json")
    found = tensors(model)
    raw = b"".join(np.ascontiguousarray(array, dtype="<f4").tobytes() for array in found.values())
    assert model.preprocess is not None
    card = {
        "side": model.preprocess.side,
        "mean": model.preprocess.mean[0],
        "std": model.preprocess.std[0],
        "bits": model.bits,
        "reduce": model.config["reduce"],
        "fusion": model.config["fusion"],
        "alpha": model.attention.position.alpha.item(),
        "beta": model.attention.channel.beta.item(),
        "codes": packed(dhida_lib.encode(model, data.database)),
        "tensors": [[name, list(array.shape)] for name, array in found.items()],
    }
    text = base64.b64encode(raw).decode()
    return f"tryIt.model = {{card: {json.dumps(card)}, weights: {json.dumps(text)}}};\n"


def sprite(images: NDArray[np.uint8]) -> Image.Image:
    """Squares n×s×s side by side, `COLUMNS` in a row, as one picture."""
    n, side = len(images), images.shape[1]
    rows = -(-n // COLUMNS)
    sheet = np.zeros((rows * COLUMNS, side, side), np.uint8)
    sheet[:n] = images
    tiled = sheet.reshape(rows, COLUMNS, side, side).transpose(0, 2, 1, 3)
    return Image.fromarray(tiled.reshape(rows * side, COLUMNS * side))


def first_of_each_class(labels: NDArray[Any], count: int) -> list[int]:
    """The first ``count`` of every class, class by class."""
    return [int(i) for label in np.unique(labels) for i in np.flatnonzero(labels == label)[:count]]


def images_script(data: Any) -> str:
    """The queries to choose from (their pixels), and the classes of all."""
    labels = np.asarray(data.query.labels)
    chosen = first_of_each_class(labels, QUERIES_PER_CLASS)
    pixels = np.ascontiguousarray(data.query.pictures(chosen)).tobytes()
    card = {
        "classes": list(data.class_names),
        "columns": COLUMNS,
        "queries": {"rows": chosen, "labels": labels[chosen].tolist()},
        "labels": np.asarray(data.database.labels).tolist(),
    }
    text = base64.b64encode(pixels).decode()
    return (
        f"const tryIt = {{name: {json.dumps(MODEL)}, images: {json.dumps(card)}}};\n"
        f"tryIt.images.pixels = {json.dumps(text)};\n"
    )


def write(folder: Path, name: str, content: bytes) -> None:
    """Write a file, in one move."""
    write_atomic(folder / name, lambda path: Path(path).write_bytes(content))


def export(folder: Path = FOLDER) -> list[Path]:
    """Write all files of the page that are made from data.

    Args:
        folder: where to; it is made.

    Returns:
        The files.
    """
    data = dhida_lib.load_dataset("fashion-mini")
    folder.mkdir(parents=True, exist_ok=True)
    files = {"images.js": images_script(data).encode()}
    files[f"{MODEL}.js"] = model_script(dhida_lib.data_path("checkpoints", MODEL), data).encode()
    labels = np.asarray(data.database.labels)
    for label in np.unique(labels):  # an image of the database is looked at only: its sheet is compressed
        buffer = io.BytesIO()
        sprite(data.database.pictures(np.flatnonzero(labels == label))).save(buffer, "webp", quality=80)
        files[f"database-{label}.webp"] = buffer.getvalue()
    for name, content in files.items():
        write(folder, name, content)
    return [folder / name for name in files]


if __name__ == "__main__":
    for path in export(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER):
        print(f"{path.stat().st_size:>9,} bytes  {path.name}")
