"""What happens to a picture before a network: the same for training and for a saved model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import dhida_lib
from dhida_lib.data import DATASETS, DataSource, Images, Preprocess, Protocol, RetrievalData, load_dataset
from dhida_lib.data.cifar import CIFAR10_CLASSES
from dhida_lib.models import HashNetwork
from dhida_lib.training import encode, outputs

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth colour picture with a bright disc (uint8, height×width×3)."""
    g = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x * f + p) * np.cos(y * q) for f, p, q in g.uniform(0.02, 0.3, (3, 3))]
    rgb = 127 + 90 * np.stack(waves, axis=2)
    cy, cx = g.uniform(0, height), g.uniform(0, width)
    rgb[(y - cy) ** 2 + (x - cx) ** 2 < 60] = g.integers(0, 256, 3)
    return rgb.clip(0, 255).astype(np.uint8)


# ---- one picture ------------------------------------------------------------------------------------------


def test_every_form_of_a_picture_is_the_same_picture(tmp_path):
    rgb = photograph(30, 44)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    form = Preprocess(3, 16, stored=20, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), crop=16)
    forms = [str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(rgb), rgb]
    forms += [torch.from_numpy(rgb).permute(2, 0, 1)]
    wanted = form.pixels(forms[0])
    assert wanted.shape == (3, 20, 20)
    assert wanted.dtype == torch.uint8
    for picture in forms:
        assert torch.equal(form.pixels(picture), wanted)
        assert torch.equal(form(picture), form(forms)[0])
    middle = wanted[:, 2:18, 2:18].float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (form.mean, form.std))
    torch.testing.assert_close(form(rgb), (middle - mean) / std)


@pytest.mark.parametrize("shape", [(12, 12), (9, 17), (17, 9), (1, 5)])
def test_numbers_of_every_scale_are_the_same_picture(tmp_path, shape):
    deep = np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)
    share = deep / 65535  # 0 … 1
    Image.fromarray(deep).save(tmp_path / "deep.png")
    bytes_ = np.round(share * 255).astype(np.uint8)
    for channels in (1, 3):
        form = Preprocess(channels, 8)
        wanted = form.pixels(bytes_)
        for picture in (
            deep,
            share,
            share.astype(np.float64),
            torch.from_numpy(deep)[None],
            torch.from_numpy(share)[None],
            bytes_[..., None],
            tmp_path / "deep.png",
            Image.fromarray(deep),
            Image.fromarray(bytes_),
        ):
            assert torch.equal(form.pixels(picture), wanted), type(picture)
    assert form(bytes_).shape == (3, 8, 8)


def test_colour_and_grey():
    rgb = photograph(10, 10)
    grey = Preprocess(1, 10).pixels(rgb)[0].numpy()
    luminance = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - luminance).max() <= 1
    planes = Preprocess(3, 10).pixels(grey)
    assert torch.equal(planes, torch.from_numpy(np.stack([grey] * 3)))
    assert torch.equal(Preprocess(1, 10).pixels(planes)[0], torch.from_numpy(grey))  # there and back
    clear = Image.fromarray(rgb).convert("RGBA")
    clear.putalpha(0)
    assert (Preprocess(1, 10).pixels(clear) == 255).all()  # what is transparent lies on white


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("stored", "side"), [(10, 23), (23, 10), (16, 16)])
def test_resizing_is_torchs_with_antialiasing(mode, stored, side):
    form = Preprocess(3, side, stored=stored, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), interpolation=mode)
    x = torch.randint(0, 256, (2, 3, stored, stored), dtype=torch.uint8)
    wanted = F.interpolate(x.float() / 255, size=(side, side), mode=mode, antialias=True)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (form.mean, form.std))
    torch.testing.assert_close(form.normalise(x), (wanted - mean) / std, rtol=1e-4, atol=1e-5)
    assert torch.equal(form(x), form.normalise(x))
    if stored != side:
        other = replace(form, interpolation="bilinear" if mode == "bicubic" else "bicubic")
        assert not torch.allclose(other(x), form(x), atol=1e-3)


def test_corners_and_flips():
    form = Preprocess(1, 4, stored=9, crop=4)
    x = torch.randint(0, 256, (3, 1, 9, 9), dtype=torch.uint8)
    corners = torch.tensor([[0, 0], [5, 5], [2, 1]])
    flips = torch.tensor([False, True, False])
    made = form.normalise(x, corners, flips=flips) * 255
    for image, (r, c), flip, got in zip(x, corners.tolist(), flips, made, strict=True):
        cut = image[:, r : r + 4, c : c + 4].float()
        torch.testing.assert_close(got, cut.flip(-1) if flip else cut)
    torch.testing.assert_close(form.normalise(x) * 255, x[:, :, 2:6, 2:6].float())
    assert form.normalise(x[:0]).shape[0] == 0


def test_one_picture_and_several():
    form = Preprocess(3, 6)
    pictures = [photograph(8, 9, seed) for seed in range(3)]
    x = form(pictures)
    assert x.shape == (3, 3, 6, 6)
    assert torch.equal(x, torch.stack([form(picture) for picture in pictures]))
    assert torch.equal(form(tuple(pictures)), x)


def test_as_a_dictionary_and_back():
    form = Preprocess(3, 24, stored=30, mean=(0.1, 0.2, 0.3), std=(1, 2, 3), interpolation="bicubic", crop=28)
    values = form.as_dict()
    assert values == {
        "channels": 3, "side": 24, "stored": 30, "mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0],
        "interpolation": "bicubic", "crop": 28,
    }  # fmt: skip
    assert Preprocess.from_dict(values) == form
    plain = Preprocess.from_dict({"channels": 1, "side": 5})
    assert (plain.kept, plain.mean, plain.std, plain.crop) == (5, (0.0,), (1.0,), None)
    assert Preprocess(1, 10, crop=7).kept == 7
    for wrong in ({}, {"channels": 1}, {**values, "colour": 3}, None, [("side", 3)], {**values, "side": 0}):
        with pytest.raises(ValueError, match=r"`(preprocess|side)` must be"):
            Preprocess.from_dict(wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 2}, "`channels` must be 1 or 3"),
        ({"side": 0}, "`side` must be a positive integer"),
        ({"side": 2.5}, "`side` must be a positive integer"),
        ({"stored": -1}, "`stored` must be a positive integer"),
        ({"crop": 0}, "`crop` must be a positive integer"),
        ({"crop": 9, "stored": 8}, "`crop` must be at most the side of the stored images, 8"),
        ({"mean": (1, 2)}, "`mean` must be 3 finite numbers, one per channel"),
        ({"mean": 0.5}, "`mean` must be 3 finite numbers"),
        ({"std": (1, 0, 1)}, "`std` must be numbers > 0"),
        ({"std": (1, float("nan"), 1)}, "`std` must be 3 finite numbers"),
        ({"interpolation": "cubic"}, r"`interpolation` must be one of .*did you mean 'bicubic'\?"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Preprocess(**{"channels": 3, "side": 8, **settings})


@pytest.mark.parametrize(
    "picture",
    [
        3, None, b"bytes", np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 4), np.uint8),
        np.zeros((4, 4), np.int32), np.full((4, 4), 1.5), np.full((4, 4), -0.1), np.full((4, 4), np.nan),
        np.zeros((4, 4), complex), np.zeros((4, 4), bool), torch.zeros(4, 4, 3), torch.zeros(2, 2, 4, 4),
        torch.zeros(1, 4, 4).to_sparse(), torch.zeros(1, 4, 4, device="meta"),
    ],
    ids=lambda picture: f"{type(picture).__name__}{tuple(getattr(picture, 'shape', ()))}",
)  # fmt: skip
def test_what_is_no_picture(picture):
    with pytest.raises(ValueError, match="`image` must be"):
        Preprocess(3, 4).pixels(picture)


def test_wrong_files_and_batches(tmp_path):
    form = Preprocess(3, 4)
    with pytest.raises(FileNotFoundError, match=r"no\.png"):
        form(tmp_path / "no.png")
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png is no image that can be read"):
        form([tmp_path / "a.png"])
    with pytest.raises(ValueError, match="`images` must be at least one picture"):
        form([])


# ---- a saved model sees what its training saw -------------------------------------------------------------


class Invented(DataSource):
    """Colour pictures with a mean and a deviation of their own, resized by the other rule."""

    name = "invented"
    classes = ("even", "odd")
    protocols = (Protocol("drawn", 5, 10, True, None, "Drawn by the seed."),)
    preprocess = Preprocess(
        3, 20, stored=24, mean=(0.61, 0.22, 0.48), std=(0.11, 0.35, 0.2), interpolation="bicubic"
    )

    def read(self, root=None):
        pixels = np.stack([self.preprocess.pixels(photograph(24, 24, seed)).numpy() for seed in range(120)])
        return Images(pixels, np.arange(120) % 2)


class Case(NamedTuple):
    """One data set, and its files where it has some: position of an image in the split → its file."""

    data: RetrievalData
    file: Callable[[int], Path] | None = None


def class_folders(folder: Path, save: Callable[[int, Path], object]) -> list[Path]:
    files = [folder / name / f"{i:03}.png" for name in ("cat", "dog") for i in range(70)]
    for seed, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        save(seed, file)
    return files


def save_photograph(seed: int, file: Path) -> None:
    """Neither square nor of one size."""
    Image.fromarray(photograph(30 + seed % 7, 40 - seed % 5, seed)).save(file)


def save_deep(seed: int, file: Path) -> None:
    """Grey of 16 bits."""
    grey = photograph(33, 29, seed)[..., 0].astype(np.uint16) * 257 - seed % 3
    Image.fromarray(grey).save(file)


def folder_case(folder: Path, save: Callable[[int, Path], object], image_size: int | None = None) -> Case:
    files = class_folders(folder, save)
    data = RetrievalData.from_folders(folder, image_size=image_size)
    return Case(data, lambda i: files[int(data.database.indices[i])])


def list_case(name: str, folder: Path, classes: int) -> Case:
    """The field's lists over small JPEG and PNG files."""
    folder.mkdir()
    rows = []
    for seed in range(124):
        file = f"{seed}.{'jpg' if seed % 3 else 'png'}"
        Image.fromarray(photograph(40 + seed % 5, 52, seed)).save(folder / file)
        rows.append(f"{file} " + " ".join(str(int(seed % classes == c)) for c in range(classes)))
    for part, some in (("test", rows[:4]), ("train", rows[4:24]), ("database", rows[4:])):
        (folder / f"{part}.txt").write_text("\n".join(some) + "\n")
    data = load_dataset(name, folder, protocol="any-size")
    files = [line.split()[0] for line in [*rows[4:24], *rows[:4], *rows[24:]]]  # train, test, database
    return Case(data, lambda i: folder / files[int(data.database.indices[i])])


def cifar_case(folder: Path, name: str = "cifar10", training: int = 12) -> Case:
    for part, count in (("train", training), ("test", 2)):
        for label, kind in enumerate(CIFAR10_CLASSES):
            (folder / part / kind).mkdir(parents=True)
            for i in range(count):
                picture = photograph(32, 32, 100 * label + i)
                Image.fromarray(picture).save(folder / part / kind / f"{i}.png")
    tiny = Protocol("tiny", 1, 2, True, None, "Small.")
    return Case(load_dataset(name, folder, protocol=tiny))


def fashion_mnist_case(_: Path) -> Case:
    if not DEBIAN.is_dir():
        pytest.skip("Fashion-MNIST is not on this machine")
    return Case(load_dataset("fashion-mnist", DEBIAN))


CASES: dict[str, Callable[[Path], Case]] = {
    "fashion-mini": lambda _: Case(load_dataset("fashion-mini")),
    "fashion-mini at 64": lambda _: Case(load_dataset("fashion-mini", image_size=64)),
    "fashion-multi": lambda _: Case(load_dataset("fashion-multi")),
    "fashion-mnist": fashion_mnist_case,
    "cifar10": cifar_case,
    "cifar10-frozen": lambda top: cifar_case(top, "cifar10-frozen"),
    "cifar10-fifth": lambda top: cifar_case(top, "cifar10-fifth", 58),
    "nus-wide-21": lambda top: list_case("nus-wide-21", top, 21),
    "imagenet100": lambda top: list_case("imagenet100", top, 100),
    "folder": lambda top: folder_case(top, save_photograph, 28),
    "folder at 64": lambda top: folder_case(top, save_photograph, 64),
    "folder of 16 bits": lambda top: folder_case(top, save_deep, 28),
    "invented": lambda _: Case(Invented().load()),
}
PROCESS = """
import sys, torch
from pathlib import Path
from dhida_lib.models import HashNetwork
from dhida_lib.training import encode
torch.set_num_threads({threads})
for case in map(Path, sys.argv[1:]):
    model = HashNetwork.load(case / "model")
    for kind in ("pictures", "files"):
        if (case / f"{{kind}}.txt").is_file():
            x = model.preprocess((case / f"{{kind}}.txt").read_text().splitlines())
            torch.save((encode(model, x), model.class_names), case / f"{{kind}}.pt")
"""


def test_every_data_set_is_among_them():
    own = {name for name, source in DATASETS.items() if type(source).__module__.startswith("dhida_lib.")}
    assert own <= set(CASES)


class Encoded(NamedTuple):
    model: HashNetwork
    data: RetrievalData
    folder: Path
    images: int


@pytest.fixture(scope="module")
def encoded(tmp_path_factory) -> dict[str, Encoded]:
    """All cases, trained-like models saved, and their pictures encoded by one other process."""
    top = tmp_path_factory.mktemp("encoded")
    made: dict[str, Encoded] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DHIDA_CACHE", str(top / "cache"))
        for number, (name, make) in enumerate(CASES.items()):
            try:
                case = make(top / f"in{number}")
            except pytest.skip.Exception:
                continue
            folder = top / str(number)
            (folder / "png").mkdir(parents=True)
            split = case.data.database.take(100)
            torch.manual_seed(number)
            backbone = "narrow-alexnet" if split.image_size > 100 else "narrow-resnet"  # the faster one
            model = HashNetwork(backbone, "none", 16, in_channels=case.data.channels, width=2).eval()
            with torch.no_grad():  # every bit is near its threshold for some image
                model.hash_layer.bias -= outputs(model, split).median(dim=0).values
            model.preprocess, model.class_names = case.data.preprocess, case.data.class_names
            model.save(folder / "model")
            for i in range(len(split)):
                Image.fromarray(split.picture(i)).save(folder / "png" / f"{i}.png")
            pictures = [str(folder / "png" / f"{i}.png") for i in range(len(split))]
            (folder / "pictures.txt").write_text("\n".join(pictures))
            if case.file is not None:
                (folder / "files.txt").write_text("\n".join(str(case.file(i)) for i in range(len(split))))
            made[name] = Encoded(model, case.data, folder, len(split))
    (top / "process.py").write_text(PROCESS.format(threads=torch.get_num_threads()))
    environment = {**os.environ, "PYTHONPATH": str(Path(dhida_lib.__file__).parents[1])}
    line = [sys.executable, str(top / "process.py"), *(str(case.folder) for case in made.values())]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return made


@pytest.mark.parametrize("name", CASES)
def test_a_saved_model_gives_the_codes_of_its_split(encoded, name):
    """In another process, from files: equal bit for bit."""
    if name not in encoded:
        pytest.skip("these images are not on this machine")
    case = encoded[name]
    codes = encode(case.model, case.data.database.take(100))
    assert len(codes) == case.images == 100
    assert len(codes.unique(dim=0)) >= 15, "the codes must tell pictures apart"
    kinds = ("pictures", "files") if (case.folder / "files.txt").is_file() else ("pictures",)
    for kind in kinds:
        theirs, names = torch.load(case.folder / f"{kind}.pt")
        assert torch.equal(theirs, codes), f"{(theirs != codes).sum()} bits differ"
        assert names == case.data.class_names


def test_another_mean_would_be_seen(encoded):
    """The comparison above has teeth: with the usual mean, codes of the invented data differ."""
    case = encoded["invented"]
    split = case.data.database.take(100)
    usual = replace(case.data.preprocess, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    x = usual([split.picture(i) for i in range(100)])
    assert (encode(case.model, x) != encode(case.model, split)).sum() > 50
