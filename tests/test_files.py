"""Images as files: reading any of them, the shrunk store, lists and class folders."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from dhida_lib.data import batches, files, load_dataset, protocols
from dhida_lib.data.files import list_images, read_image, read_list, shrunk
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
    monkeypatch.setattr(files, "_BIG", 2000)
    with pytest.raises(ValueError, match=r"big.png has 60×40 pixels, more than 2,000"):
        read_image(tmp_path / "big.png", 8)
    with pytest.raises(ValueError, match="`side` must be a positive integer"):
        read_image(tmp_path / "big.png", 0)


# ---- the store ----


def made(folder, names):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(30 + i, 33, i)).save(folder / name)
    return [folder / name for name in names]


def test_the_store_is_made_once(tmp_path, cache):
    paths = made(tmp_path / "in", [f"{i}.png" for i in range(5)])
    told = []
    x = shrunk(paths, 16, say=told.append)
    assert x.shape == (5, 3, 16, 16)
    for row, path in zip(x, paths, strict=True):
        assert (row.numpy() == read_image(path, 16)).all()
    assert "5 images at 16 pixels take 0.00 MB" in told[0]
    before = sorted(cache.iterdir())
    assert torch.equal(shrunk(paths, 16, say=told.append), x)
    assert len(told) == 1
    assert sorted(cache.iterdir()) == before
    assert len(before) == 2
    shrunk(paths[:3], 16, say=told.append)  # other images, another store
    Image.fromarray(picture(50, 50)).save(paths[0])
    assert not torch.equal(shrunk(paths, 16, say=told.append), x)  # a changed image is read again
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


def test_a_bad_image_leaves_nothing_behind(tmp_path, cache, monkeypatch):
    paths = made(tmp_path / "in", [f"{i}.png" for i in range(4)])
    paths[2].write_text("no image")
    with pytest.raises(ValueError, match=r"2.png is no image"):
        shrunk(paths, 8, say=lambda line: None)
    assert list(cache.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r"There is no image .*9\.png"):
        shrunk([*paths, tmp_path / "9.png"], 8)
    with pytest.raises(ValueError, match="`files` must be at least one image"):
        shrunk([], 8)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: type("Free", (), {"free": 5}))
    with pytest.raises(ValueError, match=r"has only 0\.00 MB free"):
        shrunk(paths[:1], 8, say=lambda line: None)


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
    monkeypatch.setattr(files, "_SIDE", 8)
    monkeypatch.setattr(files, "_CROP", 6)
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
            mean, std = (np.array(v).reshape(3, 1, 1) for v in (split.mean, split.std))
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


# ---- class folders ----


@pytest.fixture
def small(monkeypatch):
    drawn = protocols.Protocol("drawn", 1, 2, True, None, "small")
    own = protocols.Protocol("own-split", 1, 2, True, None, "small", official_split=True)
    monkeypatch.setitem(protocols.PROTOCOLS, "folder", {"drawn": drawn, "own-split": own})


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
    return Split(store(), rows * 10, rows, (0.5,) * 3, (0.5,) * 3, rows=rows, crop=crop, **kwargs)


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
        Split(store(), [1, 2, 3], [1, 2], (0.5,) * 3, (0.5,) * 3, rows=torch.tensor([0, 1]))


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
    x = shrunk(paths, 8, say=lambda line: None)
    assert (x[2].numpy() == read_image(paths[2], 8)).all()
