"""Images as files: reading any of them, the shrunk store, lists and class folders."""

import io
import json
import os
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from dhida_lib.data import DATASETS, Preprocess, batches, files, images, load_dataset, protocols
from dhida_lib.data.files import list_images, read_image, read_list, shrunk
from dhida_lib.data.sources import lists as list_source
from dhida_lib.data.splits import Split


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DHIDA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(height=40, width=60, seed=0):
    """A smooth colour picture: shrinking and JPEG change it little."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 255 / width, y * 255 / height, np.full_like(x, 40 * (seed % 6))], axis=2)
    return rgb.astype(np.uint8)


# ---- reading any image ----


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tif"])
def test_the_middle_square_is_kept(tmp_path, suffix):
    Image.fromarray(picture()).save(tmp_path / f"a.{suffix}")
    x = read_image(tmp_path / f"a.{suffix}", 40)
    assert x.shape == (3, 40, 40)
    assert x.dtype == np.uint8
    middle = picture()[:, 10:50].transpose(2, 0, 1).astype(int)
    assert abs(x - middle).max() <= (0 if suffix in ("png", "bmp", "tif") else 12)
    small = read_image(tmp_path / f"a.{suffix}", 10)
    assert small.shape == (3, 10, 10)
    blocks = middle.reshape(3, 10, 4, 10, 4).mean(axis=(2, 4))
    assert abs(small - blocks).mean() < 4


def test_kinds_of_images(tmp_path):
    rgb = Image.fromarray(picture(8, 8))
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg")
    assert (
        abs(read_image(tmp_path / "cmyk.jpg", 8).astype(int) - np.asarray(rgb).transpose(2, 0, 1)).mean() < 12
    )
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(grey).save(tmp_path / "deep.png")
    expected = np.round(grey * (255 / 65535)).astype(np.uint8)
    assert (read_image(tmp_path / "deep.png", 8) == expected).all()
    Image.fromarray(np.full((8, 8), 200, np.uint16)).save(tmp_path / "dark.png")
    assert (read_image(tmp_path / "dark.png", 8) == 1).all()
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "float.tif")
    assert (read_image(tmp_path / "float.tif", 8) == 128).all()
    clear = rgb.convert("RGBA")
    clear.putalpha(Image.fromarray(np.repeat([[0, 0, 0, 0, 255, 255, 255, 255]], 8, axis=0).astype(np.uint8)))
    clear.save(tmp_path / "clear.png")
    x = read_image(tmp_path / "clear.png", 8)
    assert (x[:, :, :4] == 255).all()  # on white
    assert (x[:, :, 4:] == np.asarray(rgb).transpose(2, 0, 1)[:, :, 4:]).all()
    rgb.convert("P").save(tmp_path / "palette.gif")
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "moving.gif", 8)[:, 4, 4] == [255, 0, 0]).all()  # the first picture
    assert read_image(tmp_path / "palette.gif", 8).shape == (3, 8, 8)
    rgb.convert("L").save(tmp_path / "grey.jpg")
    grey8 = read_image(tmp_path / "grey.jpg", 8)
    assert (grey8[0] == grey8[2]).all()


def test_exif_turns_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(picture(40, 40)).save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(picture(40, 40), -1).transpose(2, 0, 1)
    assert (read_image(tmp_path / "turned.png", 40) == upright).all()


def test_what_is_no_image_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"There is no image .*none\.jpg"):
        read_image(tmp_path / "none.jpg", 8)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "half.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:2000])
    (tmp_path / "text.jpg").write_text("<html>")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name in ("half.png", "text.jpg", "empty.jpg"):
        with pytest.raises(ValueError, match=rf"{name} is no image that can be read"):
            read_image(tmp_path / name, 8)
    Image.fromarray(picture()).save(tmp_path / "big.png")
    monkeypatch.setattr(images, "_MOST", 60 * 40 * 16 - 1)
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("the header says enough"))
    with pytest.raises(ValueError, match=r"big.png is no image that can be read: it has 60×40 pixels, which"):
        read_image(tmp_path / "big.png", 8)
    with pytest.raises(ValueError, match="`side` must be a positive integer"):
        read_image(tmp_path / "big.png", 0)


def test_tags_that_do_not_matter_stop_nothing(tmp_path):
    """A malformed resolution or maker is no reason to refuse a picture; which way is up is still read."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "M", 72.0
    whole = exif.tobytes()
    Image.fromarray(picture(40, 40)).save(tmp_path / "whole.jpg", exif=whole)
    turned = read_image(tmp_path / "whole.jpg", 40)
    for at, value in ((17, 0), (41, 13), (43, 2)):  # maker: no type; resolution: a type, a count that lie
        odd = bytearray(whole)
        odd[at] = value
        Image.fromarray(picture(40, 40)).save(tmp_path / "odd.jpg", exif=bytes(odd))
        assert (read_image(tmp_path / "odd.jpg", 40) == turned).all()


def with_odd_orientation(file):
    """A TIFF file whose tag for orientation holds text."""
    made = io.BytesIO()
    Image.fromarray(picture()).save(made, "TIFF", tiffinfo={0x0112: 6})
    raw = bytearray(made.getvalue())
    (start,) = struct.unpack("<I", raw[4:8])
    (count,) = struct.unpack("<H", raw[start : start + 2])
    tags = [start + 2 + 12 * i for i in range(count)]
    (orientation,) = (at for at in tags if raw[at : at + 2] == b"\x12\x01")
    raw[orientation + 2] = 2
    file.write_bytes(raw)


def test_an_odd_orientation_is_named(tmp_path):
    with_odd_orientation(tmp_path / "odd.tif")
    with pytest.raises(ValueError, match=r"odd\.tif is no image that can be read: its EXIF says which way"):
        read_image(tmp_path / "odd.tif", 8)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tif"])
def test_damage_is_a_picture_or_one_error(tmp_path, suffix):
    """200 random damages of each format: nothing else ever comes out."""
    rng = np.random.default_rng(5)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "Maker", 72.0
    made = io.BytesIO()
    kind = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix)
    about = {} if suffix in ("gif", "bmp") else {"exif": exif}
    Image.fromarray(picture(12, 16)).save(made, kind, **about)
    whole = made.getvalue()
    file = tmp_path / f"odd.{suffix}"
    for _ in range(200):
        raw = bytearray(whole[: len(whole) if rng.random() < 0.8 else rng.integers(len(whole))])
        for at in rng.integers(0, len(raw) or 1, 3)[: len(raw)]:
            raw[at] = rng.choice([0, 1, 2, 5, 12, 13, 255, rng.integers(256)])
        file.write_bytes(raw)
        said = ""
        try:
            assert read_image(file, 8).shape == (3, 8, 8)
        except ValueError as error:
            said = str(error)
        assert not said or f"odd.{suffix} is no image that can be read: " in said


def test_no_other_program_is_started(tmp_path, monkeypatch):
    """An EPS called holiday.jpg is a program that Pillow hands to Ghostscript."""
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: started.append(a))
    Image.fromarray(picture()).save(tmp_path / "holiday.jpg", "EPS")
    with pytest.raises(ValueError, match=r"holiday\.jpg .*: it is none of JPEG, PNG, BMP, GIF, TIFF, WEBP"):
        read_image(tmp_path / "holiday.jpg", 8)
    assert not started
    for kind in ("PPM", "ICO", "PCX", "TGA", "SGI"):
        Image.fromarray(picture()).save(tmp_path / "other.png", kind)
        with pytest.raises(ValueError, match="it is none of"):
            read_image(tmp_path / "other.png", 8)
    Image.fromarray(picture()).save(tmp_path / "really-a-png.jpg", "PNG")
    assert (read_image(tmp_path / "really-a-png.jpg", 40)[:, 0, 0] == picture()[0, 10]).all()


PEAK = """
import resource, sys
from dhida_lib.data.files import read_image
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before = peak()
for file in sys.argv[1:]:
    read_image(file, 64)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no `resource` module")
def test_memory_is_bounded(tmp_path):
    """16 bits and transparency once took 34 and 16 bytes a pixel beside what decoding takes."""
    pixels = 5000 * 5000
    deep = Image.fromarray(np.full((5000, 5000), 3000, np.uint16))
    deep.save(tmp_path / "deep.png", compress_level=1)
    Image.new("LA", (5000, 5000), (7, 99)).save(tmp_path / "clear.png", compress_level=1)
    command = [sys.executable, "-c", PEAK, *(str(tmp_path / name) for name in ("clear.png", "deep.png"))]
    took = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert took < 14 * pixels, f"{took / pixels:.1f} bytes a pixel"


def test_tiles_change_nothing(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (50, 70, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    Image.fromarray(rng.integers(0, 65536, (50, 70), dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(rng.random((50, 70)).astype(np.float32)).save(tmp_path / "float.tif")
    names = ("clear.png", "deep.png", "float.tif")
    whole = [read_image(tmp_path / name, 20) for name in names]
    monkeypatch.setattr(images, "_TILE", 16)
    for name, before in zip(names, whole, strict=True):
        assert (read_image(tmp_path / name, 20) == before).all()


def test_names_for_messages():
    assert images.printable("caf\u00e9 1.jpg") == "caf\u00e9 1.jpg"
    assert images.printable("a\n\x1b[2Jb\udcff") == r"a\n\x1b[2Jb\udcff"
    assert images.printable(os.fsencode("b.png")) == "b.png"


# ---- the store ----


def made(folder, names):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(30 + i, 33, i)).save(folder / name)
    return [folder / name for name in names]


def test_the_store_is_made_once(tmp_path, cache):
    paths = made(tmp_path / "in", [f"{i}.png" for i in range(5)])
    told = []
    x, kept, skipped = shrunk(paths, 16, say=told.append)
    assert x.shape == (5, 3, 16, 16)
    assert kept.tolist() == [0, 1, 2, 3, 4]
    assert skipped == {}
    for row, path in zip(x, paths, strict=True):
        assert (row.numpy() == read_image(path, 16)).all()
    assert "5 images at 16 pixels take 0.00 MB" in told[0]
    before = sorted(cache.iterdir())
    assert torch.equal(shrunk(paths, 16, say=told.append).pixels, x)
    assert len(told) == 1
    assert sorted(cache.iterdir()) == before
    assert len(before) == 2
    shrunk(paths[:3], 16, say=told.append)  # other images, another store
    Image.fromarray(picture(50, 50)).save(paths[0])
    assert not torch.equal(shrunk(paths, 16, say=told.append).pixels, x)  # a changed image is read again
    assert len(told) == 3


def test_a_damaged_store_is_refused(tmp_path, cache):
    paths = made(tmp_path / "in", ["a.png", "b.png"])
    shrunk(paths, 8, say=lambda line: None)
    store = next(cache.glob("*.bytes"))
    content = bytearray(store.read_bytes())
    content[7] ^= 1
    store.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged or incomplete. Remove it"):
        shrunk(paths, 8)
    store.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"is damaged or incomplete"):
        shrunk(paths, 8)


def test_a_bad_image_is_left_out_and_named(tmp_path, cache):
    paths = made(tmp_path / "in", [f"{i}.png" for i in range(6)])
    paths[1].write_text("no image")
    with_odd_orientation(paths[4])
    for _ in range(2):  # when the store is made, and when it is found
        told = []
        x, kept, skipped = shrunk(paths, 8, say=told.append)
        assert kept.tolist() == [0, 2, 3, 5]
        for row, path in zip(x, (paths[i] for i in kept), strict=True):
            assert (row.numpy() == read_image(path, 8)).all()
        assert list(skipped) == [1, 4]
        assert "1.png is no image that can be read" in skipped[1]
        assert [line for line in told if "left out" in line] == [f"left out: {skipped[i]}" for i in (1, 4)]
    Image.fromarray(picture()).save(paths[1])  # mended: read again
    assert shrunk(paths, 8, say=told.append).kept.tolist() == [0, 1, 2, 3, 5]


def test_the_card_of_a_store_is_hashed(tmp_path, cache):
    """Another row left out, and every label behind it would belong to another image."""
    paths = made(tmp_path / "in", [f"{i}.png" for i in range(4)])
    paths[1].write_text("no image")
    shrunk(paths, 8, say=lambda line: None)
    (card,) = cache.glob("*.json")
    text = card.read_text()
    for odd in (text.replace('"1": "', '"2": "'), text.replace('"skipped"', '"sk1pped"'), "[1]", "{}", "{"):
        assert odd != text
        card.write_text(odd)
        with pytest.raises(ValueError, match=r"is damaged or incomplete. Remove it"):
            shrunk(paths, 8, say=lambda line: None)
    card.write_text(text)
    assert shrunk(paths, 8, say=lambda line: None).kept.tolist() == [0, 2, 3]


def test_a_store_without_images_is_none(tmp_path, cache, monkeypatch):
    paths = made(tmp_path / "in", [f"{i}.png" for i in range(3)])
    for path in paths:
        path.write_text("no image")
    with pytest.raises(ValueError, match=r"None of 3 images can be read. The first: .*0\.png is no image"):
        shrunk(paths, 8, say=lambda line: None)
    assert list(cache.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r"There is no image .*9\.png"):
        shrunk([*paths, tmp_path / "9.png"], 8)
    with pytest.raises(FileNotFoundError, match=r"There is no image a\\x00b\.png"):
        shrunk(["a\0b.png"], 8)
    with pytest.raises(ValueError, match="`files` must be at least one image"):
        shrunk([], 8)
    for wrong in (0, -1, "2"):
        with pytest.raises(ValueError, match="`workers` must be a positive integer"):
            shrunk(paths, 8, workers=wrong)
    with pytest.raises(ValueError, match=r"has only .* GB free"):
        shrunk(paths, 2**31 - 1, say=lambda line: None)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: type("Free", (), {"free": 5}))
    with pytest.raises(ValueError, match=r"has only 0\.00 MB free"):
        shrunk(paths[:1], 8, say=lambda line: None)


@pytest.mark.parametrize("trouble", [OSError(5, "Input/output error"), MemoryError()])
def test_a_store_does_not_remember_the_systems_trouble(tmp_path, cache, monkeypatch, trouble):
    paths = made(tmp_path / "in", [f"{i}.png" for i in range(3)])
    plain = images._turned

    def fails(image):
        if image.height == 31:  # 1.png
            raise trouble
        return plain(image)

    monkeypatch.setattr(images, "_turned", fails)
    with pytest.raises(ValueError, match=r"1\.png is no image that can be read: "):
        shrunk(paths, 8, say=lambda line: None)
    assert list(cache.iterdir()) == []
    monkeypatch.setattr(images, "_turned", plain)
    assert len(shrunk(paths, 8, say=lambda line: None).pixels) == 3


def test_many_that_are_left_out_are_counted(tmp_path, cache):
    paths = made(tmp_path / "in", [f"{i:02}.png" for i in range(14)])
    for path in paths[1:]:
        path.write_text("no image")
    told = []
    shrunk(paths, 8, say=told.append)
    assert sum("is no image" in line for line in told) == 10
    assert "left out: 3 more, which" in told[-1]
    (card,) = cache.glob("*.json")
    assert str(card) in told[-1]
    assert list(json.loads(card.read_text())["skipped"]) == [str(i) for i in range(1, 14)]


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="all names are Unicode there")
def test_a_name_that_is_not_utf8_is_left_out_and_named(tmp_path, cache):
    paths = made(tmp_path / "in", ["a.png", "b.png"])
    odd = tmp_path / "in" / os.fsdecode(b"caf\xe9.png")
    paths[1].rename(odd)
    assert list_images(tmp_path / "in") == [paths[0], odd]
    match = r"caf\\udce9\.png is no image that can be read: its name is not UTF-8; rename it"
    with pytest.raises(ValueError, match=match):
        read_image(odd, 8)
    told = []
    x, kept, skipped = shrunk([odd, paths[0]], 8, say=told.append)
    assert kept.tolist() == [1]
    assert re.search(match, skipped[0])
    assert (x[0].numpy() == read_image(paths[0], 8)).all()
    "".join(told).encode()  # can be written anywhere


def test_the_store_says_its_size_on_standard_error(tmp_path, capsys):
    shrunk(made(tmp_path / "in", ["a.png"]), 8)
    assert "1 images at 8 pixels" in capsys.readouterr().err


def test_list_images(tmp_path):
    made(tmp_path, ["b/2.png", "a/1.PNG", "c.jpg", ".hidden/3.png"])
    (tmp_path / "notes.txt").write_text("no image")
    assert [f.relative_to(tmp_path).as_posix() for f in list_images(tmp_path)] == [
        "a/1.PNG",
        "b/2.png",
        "c.jpg",
    ]
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        list_images(tmp_path / "none")


# ---- lists ----


def lists(root, sizes, classes, single):
    """A small set in the field's form; every image differs."""
    rng = np.random.default_rng(0)
    number = 0
    lines = {}
    for part, n in sizes.items():
        lines[part] = []
        for i in range(n):
            name = f"images/{part}_{number:04d}.png"
            number += 1
            (root / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(8, 8 + i % 3, number)).save(root / name)
            row = np.eye(classes, dtype=int)[i % classes]
            if not single:
                row |= rng.integers(0, 2, classes)
            lines[part].append(f"{name} {' '.join(map(str, row))}")
    lines["database"] += lines["train"]  # as in the field's lists
    for part, text in lines.items():
        (root / f"{part}.txt").write_text("\n".join(text) + "\n")
    return lines


@pytest.mark.parametrize(
    ("name", "classes", "single"), [("nus-wide-21", 21, False), ("imagenet100", 100, True)]
)
def test_lists_are_the_split(tmp_path, monkeypatch, name, classes, single):
    small = Preprocess(3, 6, 8, (0.5,) * 3, (0.5,) * 3, crop=6)
    monkeypatch.setattr(list_source.ListSource, "preprocess", small)
    lines = lists(tmp_path / name, {"test": 5, "train": 7, "database": 4}, classes, single)
    data = load_dataset(name, tmp_path / name, protocol="any-size")
    assert (len(data.query), len(data.train), len(data.database)) == (5, 7, 11)
    assert data.multi_label is not single
    assert data.num_classes == classes
    assert data.image_size == 6
    for part, split in (("test", data.query), ("train", data.train), ("database", data.database)):
        for i, line in enumerate(lines[part]):
            path, *labels = line.split()
            label = [int(x) for x in labels]
            assert split.labels[i].tolist() == (label.index(1) if single else label)
            stored = read_image(tmp_path / name / path, 8)
            assert (split.picture(i) == stored.transpose(1, 2, 0)).all()
            scaled = (torch.from_numpy(stored[:, 1:7, 1:7].copy()).float() / 255).numpy()
            mean, std = (np.array(v).reshape(3, 1, 1) for v in (small.mean, small.std))
            np.testing.assert_allclose(split[i][0].numpy(), (scaled - mean) / std, rtol=1e-4, atol=1e-5)
    assert data.train.pixels.data_ptr() == data.database.pixels.data_ptr()  # one store for all
    assert "list files" in data.describe()
    with pytest.raises(ValueError, match=r"lists 7 images, 1.,.00 are expected"):
        load_dataset(name, tmp_path / name)
    with pytest.raises(ValueError, match="`seed` must be 0: the lists are the split"):
        load_dataset(name, tmp_path / name, seed=1, protocol="any-size")
    with pytest.raises(ValueError, match="`image_size`"):
        load_dataset(name, tmp_path / name, protocol="any-size", image_size=100)
    with pytest.raises(FileNotFoundError, match="HashNet"):
        load_dataset(name, tmp_path / "elsewhere")
    query = lines["test"][0].split()[0]
    (tmp_path / name / query).unlink()
    with pytest.raises(FileNotFoundError, match=query):
        load_dataset(name, tmp_path / name, protocol="any-size")
    with (tmp_path / name / "train.txt").open("a") as out:
        out.write(lines["test"][0] + "\n")
    with pytest.raises(ValueError, match=f"{query} is a query and stands in another list"):
        load_dataset(name, tmp_path / name, protocol="any-size")


def test_lists_without_what_cannot_be_read(tmp_path, monkeypatch):
    small = Preprocess(3, 6, 8, (0.5,) * 3, (0.5,) * 3, crop=6)
    monkeypatch.setattr(list_source.ListSource, "preprocess", small)
    sizes = {"test": 5, "train": 7, "database": 4}
    lines = lists(tmp_path, sizes, 21, single=False)
    whole = load_dataset("nus-wide-21", tmp_path, protocol="any-size")
    bad = [lines["test"][1].split()[0], lines["train"][3].split()[0]]
    for name in bad:
        (tmp_path / name).write_text("no image")
    data = load_dataset("nus-wide-21", tmp_path, protocol="any-size")
    assert (len(data.query), len(data.train), len(data.database)) == (4, 6, 10)
    assert data.protocol_record()["source"] == "list files, without 2 that cannot be read"
    for part, split, before in zip(
        ("test", "train", "database"),
        (data.query, data.train, data.database),
        (whole.query, whole.train, whole.database),
        strict=True,
    ):
        left = [line.split() for line in lines[part] if line.split()[0] not in bad]
        assert set(split.indices.tolist()) < set(before.indices.tolist())  # still rows of all images
        for i, (path, *labels) in enumerate(left):
            assert split.labels[i].tolist() == [int(x) for x in labels]
            assert (split.picture(i) == read_image(tmp_path / path, 8).transpose(1, 2, 0)).all()
    monkeypatch.setattr(type(DATASETS["nus-wide-21"]), "sizes", {**sizes, "database": 11})  # a whole list
    with pytest.raises(ValueError, match=r"2 of the listed images cannot be read\. Get them again, or use "):
        load_dataset("nus-wide-21", tmp_path, protocol="lists")
    for line in lines["test"]:
        (tmp_path / line.split()[0]).write_text("no image")
    with pytest.raises(ValueError, match=r"test\.txt: none of its images can be read"):
        load_dataset("nus-wide-21", tmp_path, protocol="any-size")


def test_several_labels_are_refused_where_there_must_be_one(tmp_path):
    lists(tmp_path, {"test": 2, "train": 2, "database": 2}, 100, single=False)
    with pytest.raises(ValueError, match="must have one label"):
        load_dataset("imagenet100", tmp_path, protocol="any-size")


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("a.jpg 1 0", "line 3: 3 labels must follow the path, but there are 2"),
        ("a.jpg 1 0 0 1", "line 3: 3 labels must follow the path, but there are 4"),
        ("a.jpg 1 0 2", "line 3: labels must be 0 or 1"),
        ("a.jpg 0 0 0", "line 3: labels must be 0 or 1, and at least one of them 1"),
        ("x.jpg 1 0 0", "line 3: x.jpg stands in the list twice"),
        ("a\0b.jpg 1 0 0", r"line 3: a\\x00b.jpg is no file's name"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, match):
    file = tmp_path / "train.txt"
    file.write_text(f"x.jpg 1 0 0\n\n{line}\n")
    with pytest.raises(ValueError, match=rf"train.txt, {match}"):
        read_list(file, 3)
    with pytest.raises(FileNotFoundError, match="There is no list"):
        read_list(tmp_path / "none.txt", 3)
    file.write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        read_list(file, 3)
    file.write_bytes(b"x.jpg 1 0 0\ncaf\xe9.jpg 1 0 0\n")
    with pytest.raises(ValueError, match=r"train\.txt is no list: byte 15 is not UTF-8 text"):
        read_list(file, 3)


# ---- class folders ----


@pytest.fixture
def small(monkeypatch):
    drawn = protocols.Protocol("drawn", 1, 2, True, None, "small")
    own = protocols.Protocol("own-split", 1, 2, True, None, "small", official_split=True)
    monkeypatch.setattr(type(DATASETS["folder"]), "protocols", (drawn, own))


def test_class_folders(tmp_path, small):
    made(tmp_path / "in", [f"{c}/{i}.png" for c in ("cat", "dog", "emu") for i in range(4)])
    data = load_dataset("folder", tmp_path / "in", seed=3, image_size=14)
    assert data.class_names == ("cat", "dog", "emu")
    assert (len(data.query), len(data.train), len(data.database)) == (3, 6, 9)
    assert data.train[0][0].shape == (3, 14, 14)
    order = [f"{c}/{i}.png" for c in ("cat", "dog", "emu") for i in range(4)]
    for i in range(3):
        path = order[int(data.query.indices[i])]
        assert data.class_names[int(data.query.labels[i])] == path.split("/")[0]
        assert (data.query.picture(i) == read_image(tmp_path / "in" / path, 16).transpose(1, 2, 0)).all()
    assert not set(data.query.indices.tolist()) & set(data.database.indices.tolist())


def test_class_folders_without_what_cannot_be_read(tmp_path, small, capsys):
    order = [f"{c}/{i}.png" for c in ("cat", "dog", "emu") for i in range(6)]
    root = tmp_path / "in"
    made(root, order)
    (root / order[0]).write_text("no image")
    with_odd_orientation(root / order[8])
    data = load_dataset("folder", root, seed=3, image_size=14)
    assert (len(data.query), len(data.train), len(data.database)) == (3, 6, 13)
    assert data.protocol_record()["source"] == "image files, without 2 that cannot be read"
    said = capsys.readouterr().err
    assert "cat/0.png is no image" in said
    assert "dog/2.png is no image" in said
    seen = set()
    for split in (data.query, data.train, data.database):
        for i, row in enumerate(split.indices.tolist()):
            assert data.class_names[int(split.labels[i])] == order[row].split("/")[0]
            assert (split.picture(i) == read_image(root / order[row], 16).transpose(1, 2, 0)).all()
            seen.add(row)
    assert seen == set(range(18)) - {0, 8}
    for i in range(1, 5):
        (root / f"cat/{i}.png").write_text("no image")
    with pytest.raises(ValueError, match="needs 3 images of each class, but class 'cat' has only 1"):
        load_dataset("folder", root, seed=3, image_size=14)
    for wrong in (0, "14", True):
        with pytest.raises(ValueError, match="`image_size` must be a positive integer"):
            load_dataset("folder", root, image_size=wrong)


def test_class_folders_that_come_split(tmp_path, small):
    made(
        tmp_path / "in",
        [f"{p}/{c}/{i}.png" for p in ("train", "val") for c in ("cat", "dog") for i in range(3)],
    )
    data = load_dataset("folder", tmp_path / "in", image_size=14)
    assert data.protocol.name == "own-split"
    assert (len(data.query), len(data.train), len(data.database)) == (2, 4, 6)
    assert set(data.query.indices.tolist()) <= set(range(6, 12))  # from val
    assert set(data.database.indices.tolist()) == set(range(6))
    drawn = load_dataset("folder", tmp_path / "in", protocol="drawn", image_size=14)
    assert len(drawn.database) == 10


def test_wrong_class_folders(tmp_path, small):
    with pytest.raises(ValueError, match="`root` must be the folder"):
        load_dataset("folder")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        load_dataset("folder", tmp_path / "none")
    made(tmp_path / "one", ["cat/1.png"])
    with pytest.raises(ValueError, match="holds 1 class folders; at least two"):
        load_dataset("folder", tmp_path / "one")
    (tmp_path / "one" / "dog").mkdir()
    with pytest.raises(ValueError, match="dog holds no image"):
        load_dataset("folder", tmp_path / "one")
    made(tmp_path / "one", ["dog/1.png"])
    with pytest.raises(ValueError, match="needs 3 images of each class"):
        load_dataset("folder", tmp_path / "one")


# ---- splits over a shared store, and cuts ----


def store(n=6, side=9):
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=g)


def split(rows=(5, 0, 3), crop=None, **kwargs):
    rows = torch.tensor(rows)
    form = Preprocess(3, kwargs.get("image_size", crop or 9), 9, (0.5,) * 3, (0.5,) * 3, crop=crop)
    return Split(store(), rows * 10, rows, form, rows)


def test_rows_of_a_shared_store():
    s = split()
    assert len(s) == 3
    for i, row in enumerate((5, 0, 3)):
        assert (s.picture(i) == store()[row].permute(1, 2, 0).numpy()).all()
        assert s[i][1] == row * 10
    few = s.take([2, 0])
    assert few.labels.tolist() == [30, 50]
    assert (few.picture(0) == store()[3].permute(1, 2, 0).numpy()).all()
    moved = few.to("cpu")
    assert moved.rows is None
    assert len(moved.pixels) == 2
    assert torch.equal(moved.batch([0, 1])[0], few.batch([0, 1])[0])
    with pytest.raises(ValueError, match="`labels` must be as many as the 2 images"):
        Split(store(), [1, 2, 3], [1, 2], Preprocess(3, 9), torch.tensor([0, 1]))


def test_cuts():
    s = split(crop=5)
    assert s.image_size == 5
    whole = split()
    x, w = s.batch([0, 1, 2])[0], whole.batch([0, 1, 2])[0]
    assert torch.equal(x, w[:, :, 2:7, 2:7])
    corners = torch.tensor([[0, 4], [4, 0], [1, 2]])
    x = s.batch([0, 1, 2], corners)[0]
    for i, (r, c) in enumerate(corners.tolist()):
        assert torch.equal(x[i], w[i, :, r : r + 5, c : c + 5])
    assert s.take(2).crop == 5
    assert split(crop=5, image_size=3).batch([0])[0].shape == (1, 3, 3, 3)
    with pytest.raises(ValueError, match="`crop` must be at most the side of the stored images, 9"):
        split(crop=10)


def test_training_cuts_anywhere_and_mirrors():
    s = split(rows=[0] * 400, crop=5)
    g = torch.Generator().manual_seed(1)
    x, _, _ = next(batches(s, 400, generator=g, augment="crop-flip"))
    whole = split(rows=[0]).batch([0])[0][0]
    windows = {
        (r, c, m): (whole[:, r : r + 5, c : c + 5].flip(-1) if m else whole[:, r : r + 5, c : c + 5])
        for r in range(5)
        for c in range(5)
        for m in (0, 1)
    }
    seen = [next(k for k, v in windows.items() if torch.equal(v, image)) for image in x]
    assert len(set(seen)) > 45  # of 50
    assert 150 < sum(m for _, _, m in seen) < 250
    again, _, _ = next(batches(s, 400, generator=torch.Generator().manual_seed(1), augment="crop-flip"))
    assert torch.equal(x, again)
    with pytest.raises(ValueError, match="`augment` must be another one for a split without `crop`"):
        batches(split(), 4, augment="crop-flip")


def test_a_killed_store_is_made_again(tmp_path, cache):
    """Killed while it writes: no store is found, and the next call makes it."""
    paths = made(tmp_path / "in", [f"{i}.png" for i in range(3)])
    code = (
        "import os, sys\nfrom dhida_lib.data import files\nold = files.read_image\n"
        "def read(path, side):\n"
        "    if path.name == '2.png': os._exit(9)\n"
        "    return old(path, side)\n"
        "files.read_image = read\n"
        f"files.shrunk({[str(p) for p in paths]!r}, 8, workers=1)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 9
    assert not list(cache.glob("*.json"))
    x = shrunk(paths, 8, say=lambda line: None).pixels
    assert (x[2].numpy() == read_image(paths[2], 8)).all()
