"""Your own pictures: encode a folder, find what looks like an image."""

import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dhida_lib.__main__ import main
from dhida_lib._files import sha256
from dhida_lib.data import DATASETS, Preprocess, load_dataset, preprocess
from dhida_lib.models import HashNetwork, weights_hash
from dhida_lib.search import CodeIndex, photos
from dhida_lib.search.photos import Encoder, encode_folder, encode_to_store, find_in_store, find_similar


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    net = HashNetwork("narrow-resnet", "ida", 24, in_channels=3, width=4)
    net.preprocess = Preprocess(3, 12, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
    return net.save(tmp_path / "model")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("sea/1.png", "sea/2.png", "hill/3.jpg", "hill/4.gif"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (14, 12 + int(name[-5]), 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    return tmp_path / "in"


def names(matches):
    return [m.file.name for m in matches]


def test_a_picture_finds_itself_and_the_distances_are_right(tmp_path, model, folder):
    report = encode_folder(folder, model, tmp_path / "index")
    assert report == (4, 0, 0, {})
    encoder = Encoder(model)
    files = sorted(folder.rglob("*.*"))
    codes = {f: encoder.codes([encoder.read(f)])[0] for f in files}
    for file in files:
        matches = find_similar(file, model, tmp_path / "index")
        assert len(matches) == 4
        for match in matches:
            assert match.distance == int((codes[match.file] != codes[file]).sum())
        assert [m.distance for m in matches] == sorted(m.distance for m in matches)
        near = find_similar(file, model, tmp_path / "index", within=0)
        assert file in [m.file for m in near]
        assert all(m.distance == 0 for m in near)
    assert len(find_similar(files[0], model, tmp_path / "index", k=2)) == 2
    some = find_similar(files[0], model, tmp_path / "index", k=3, only="*/sea/*")
    assert sorted(names(some)) == ["1.png", "2.png"]


def test_a_batch_gives_the_codes_of_single_pictures(model, folder):
    encoder = Encoder(model)
    images = [encoder.read(f) for f in sorted(folder.rglob("*.*"))]
    together = encoder.codes(images)
    assert torch.equal(together, torch.cat([encoder.codes([x]) for x in images]))
    assert images[0].shape == (3, 12, 12)


def test_grey_networks_see_luminance(tmp_path, folder):
    net = HashNetwork("narrow-resnet", "none", 8, in_channels=1, width=2, code_rule="one-hot")
    net.preprocess = DATASETS["fashion-mini"].sized(12)
    card = net.save(tmp_path / "grey-0.1")
    encoder = Encoder(card)
    copy = tmp_path / "best.json"
    copy.write_bytes(card.read_bytes())
    assert encoder.name == Encoder(copy).name == Encoder(tmp_path / "grey-0.1").name == weights_hash(copy)
    assert encoder.name == sha256(next(tmp_path.glob("grey-0.1-*.safetensors")))
    Image.new("RGB", (20, 20), (255, 0, 0)).save(tmp_path / "red.png")
    x = encoder.read(tmp_path / "red.png")
    assert x.shape == (1, 12, 12)
    torch.testing.assert_close(x, torch.full_like(x, (round(0.299 * 255) / 255 - 0.286) / 0.353))
    code = encoder.codes([x])
    assert (code > 0).sum() == 1  # a classifier's one-hot code


def test_a_model_of_class_folders_sees_what_it_was_trained_on(tmp_path, monkeypatch):
    monkeypatch.setenv("DHIDA_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(61):
            pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "in" / name / f"{i:02d}.png")
    data = load_dataset("folder", tmp_path / "in", image_size=28)
    net = HashNetwork("narrow-resnet", "none", 8, in_channels=3, width=2)
    net.preprocess = data.preprocess
    encoder = Encoder(net.save(tmp_path / "m"))
    files = sorted((tmp_path / "in").rglob("*.png"))
    for i in range(3):
        assert torch.equal(encoder.read(files[int(data.query.indices[i])]), data.query[i][0])


def test_a_second_call_reads_only_what_is_new(tmp_path, model, folder, monkeypatch):
    encode_folder(folder, model, tmp_path / "index")
    read = []
    old = Encoder.read
    monkeypatch.setattr(Encoder, "read", lambda self, file: read.append(str(file)) or old(self, file))
    assert encode_folder(folder, model, tmp_path / "index") == (0, 4, 0, {})
    assert read == []
    (folder / "sea" / "1.png").unlink()
    Image.new("RGB", (30, 30), "green").save(folder / "sea" / "2.png")
    Image.new("RGB", (30, 30), "blue").save(folder / "new.png")
    (folder / "broken.jpg").write_text("no image")
    report = encode_folder(folder, model, tmp_path / "index", batch_size=1)
    assert report[:3] == (2, 2, 2)
    assert list(report.skipped) == [str((folder / "broken.jpg").absolute())]
    assert sorted(read)[0].endswith("broken.jpg")
    assert len(read) == 3
    found = find_similar(folder / "new.png", model, tmp_path / "index", k=10)
    assert sorted(names(found)) == ["2.png", "3.jpg", "4.gif", "new.png"]


def test_a_killed_call_goes_on(tmp_path, model, folder, monkeypatch):
    """The index is saved on the way; here after every picture."""
    monkeypatch.setattr(photos, "_SAVE", 1)
    told = []
    old = Encoder.codes
    calls = []

    def codes(self, images):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return old(self, images)

    monkeypatch.setattr(Encoder, "codes", codes)
    with pytest.raises(KeyboardInterrupt):
        encode_folder(folder, model, tmp_path / "index", batch_size=1, say=told.append)
    assert told == ["1 of 4 pictures", "2 of 4 pictures"]
    assert len(CodeIndex.load(tmp_path / "index")[0]) == 2
    assert encode_folder(folder, model, tmp_path / "index")[:2] == (2, 2)


BOTH = pytest.mark.parametrize("encode", [encode_folder, encode_to_store])


@BOTH
def test_a_picture_that_raises_anything_is_skipped_and_named(tmp_path, model, folder, monkeypatch, encode):
    errors = {
        "a": TypeError("'<' not supported"),
        "b": struct.error("unpack requires a buffer"),
        "c": AttributeError(),
        "d": MemoryError(),
        "e": ValueError("not enough image data"),
        "f": RecursionError("maximum recursion depth exceeded"),
    }
    for name in errors:
        Image.new("RGB", (20, 20)).save(folder / f"{name}.png")
    real = preprocess.read_image

    def read(file, side):
        if Path(file).stem in errors:
            raise errors[Path(file).stem]
        return real(file, side)

    monkeypatch.setattr(preprocess, "read_image", read)
    report = encode(folder, model, tmp_path / "index", batch_size=3)
    assert report[:3] == (4, 0, 0)
    assert sorted(report.skipped) == [str(folder / f"{name}.png") for name in errors]
    for path, reason in report.skipped.items():
        error = errors[Path(path).stem]
        assert path in reason
        assert (str(error) or type(error).__name__) in reason
    shutil.rmtree(folder / "sea")
    shutil.rmtree(folder / "hill")
    with pytest.raises(
        ValueError, match=r"\(6 files were tried\)\. The first: .*[a-f]\.png cannot be read: "
    ):
        encode(folder, model, tmp_path / "other")


@BOTH
def test_a_name_that_is_not_utf8_or_a_file_that_has_gone(
    tmp_path, model, folder, monkeypatch, encode, capsys
):
    odd = os.fsdecode(bytes(folder / "sea") + b"/caf\xe9.png")
    try:
        Image.new("RGB", (20, 20)).save(odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    real = photos.list_images
    gone = folder / "gone.png"
    monkeypatch.setattr(photos, "list_images", lambda folder: [gone, *real(folder)])
    report = encode(folder, model, tmp_path / "index")
    assert report[:3] == (4, 0, 0)
    assert sorted(report.skipped) == sorted([odd, str(gone)])
    assert "caf\\udce9.png" in report.skipped[odd]
    assert "not UTF-8" in report.skipped[odd]
    assert "gone.png" in report.skipped[str(gone)]
    assert encode(folder, model, tmp_path / "index")[:3] == (0, 4, 0)
    place = "--index" if encode is encode_folder else "--store"
    assert main(["encode", str(folder), "--model", str(model), place, str(tmp_path / "index")]) == 0
    said = capsys.readouterr()
    assert "4 kept, 0 removed, 2 skipped" in said.out
    said.err.encode("ascii")  # nothing of it reaches the terminal as it is


def test_an_index_whose_files_are_not_those_of_its_codes(tmp_path, model, folder):
    encode_folder(folder, model, tmp_path / "index")
    codes, about = CodeIndex.load(tmp_path / "index")
    for files in ({}, {**about["files"], "99": ["/a", 1, 2]}, [], None):
        codes.save(tmp_path / "index", {**about, "files": files})
        for ask in (
            lambda: find_similar(folder / "sea" / "1.png", model, tmp_path / "index"),
            lambda: encode_folder(folder, model, tmp_path / "index"),
        ):
            with pytest.raises(ValueError, match="is damaged: it does not name one file for each code"):
                ask()


def test_two_encoders_at_once_leave_one_row_each(tmp_path, model, folder, monkeypatch):
    """The second one comes when the first has seen that all is to do, and does all of it."""
    real, second = Encoder.codes, []

    def codes(self, images):
        if not second:
            second.append(None)
            second[0] = encode_to_store(folder, model, tmp_path / "lance")
        return real(self, images)

    monkeypatch.setattr(Encoder, "codes", codes)
    assert encode_to_store(folder, model, tmp_path / "lance")[:3] == (4, 0, 0)
    assert second[0][:3] == (4, 0, 0)
    found = find_in_store(folder / "sea" / "1.png", model, tmp_path / "lance", k=100)
    assert sorted(names(found)) == ["1.png", "2.png", "3.jpg", "4.gif"]


def test_wrong_input(tmp_path, model, folder, capsys):
    encode_folder(folder, model, tmp_path / "index")
    other = HashNetwork("narrow-resnet", "ida", 24, in_channels=3, width=4)
    mute = other.save(tmp_path / "mute")
    other.preprocess = Preprocess(3, 12)
    wrong = other.save(tmp_path / "other")
    picture = folder / "sea" / "1.png"
    with pytest.raises(ValueError, match="`index` must be an index of this model's codes"):
        find_similar(picture, wrong, tmp_path / "index")
    with pytest.raises(ValueError, match="`index` must be an index of this model's codes"):
        encode_folder(folder, wrong, tmp_path / "index")
    with pytest.raises(ValueError, match="a model that says what images it was trained on"):
        Encoder(mute)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no picture that can be read \(0 files"):
        encode_folder(tmp_path / "empty", model, tmp_path / "nothing")
    assert not list(tmp_path.glob("nothing*"))
    with pytest.raises(FileNotFoundError, match="There is no index at"):
        find_similar(picture, model, tmp_path / "nothing")
    with pytest.raises(ValueError, match="`k` must be"):
        find_similar(picture, model, tmp_path / "index", k=0)
    with pytest.raises(ValueError, match="`batch_size` must be"):
        encode_folder(folder, model, tmp_path / "index", batch_size=0)


def test_from_a_shell(tmp_path, model, folder, capsys):
    (folder / "broken.jpg").write_text("no image")
    with_model = ["--model", str(model), "--index", str(tmp_path / "index")]
    assert main(["encode", str(folder), *with_model]) == 0
    said = capsys.readouterr()
    assert "4 pictures encoded, 0 kept, 0 removed, 1 skipped" in said.out
    assert "broken.jpg is no image" in said.err
    picture = str(folder / "sea" / "1.png")
    assert main(["search", picture, *with_model, "-k", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["search", picture, *with_model, "--only", "*/none/*"]) == 0
    assert "nothing found" in capsys.readouterr().out
    for command in (
        ["search", str(tmp_path / "no.png"), *with_model],
        ["search", str(folder / "broken.jpg"), *with_model],
        ["search", picture, *with_model, "--within", "-1"],
        ["search", picture, *with_model, "-k", "0"],
        ["encode", str(tmp_path / "none"), *with_model],
        ["encode", str(folder), "--model", str(tmp_path / "no.json"), "--index", str(tmp_path / "i")],
    ):
        assert main(command) == 2, command
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
    card = tmp_path / "index.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "sha256": "0"}))
    assert main(["search", picture, *with_model]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_the_table_finds_what_the_index_finds(tmp_path, model, folder):
    (folder / "sea" / "broken.jpg").write_bytes(b"no picture")
    report = encode_to_store(folder, model, tmp_path / "lance", batch_size=3)
    assert report[:3] == (4, 0, 0)
    assert [name.endswith("broken.jpg") for name in report.skipped] == [True]
    encode_folder(folder, model, tmp_path / "index")
    for file in sorted(folder.rglob("*.png")):
        theirs = find_similar(file, model, tmp_path / "index")
        ours = find_in_store(file, model, tmp_path / "lance")
        assert [m.distance for m in ours] == [m.distance for m in theirs]
        assert {m.file.name for m in ours} == {m.file.name for m in theirs}
    some = find_in_store(folder / "sea" / "1.png", model, tmp_path / "lance", where="file LIKE '%/sea/%'")
    assert sorted(names(some)) == ["1.png", "2.png"]
    (folder / "sea" / "1.png").unlink()
    Image.new("RGB", (30, 20), "red").save(folder / "hill" / "3.jpg")  # changed
    Image.new("RGB", (20, 20), "blue").save(folder / "new.png")
    assert encode_to_store(folder, model, tmp_path / "lance")[:3] == (2, 2, 2)
    found = find_in_store(folder / "new.png", model, tmp_path / "lance")
    assert sorted(names(found)) == ["2.png", "3.jpg", "4.gif", "new.png"]


def test_a_killed_encoder_keeps_what_it_wrote(tmp_path, model, folder, monkeypatch):
    monkeypatch.setattr(photos, "_SAVE", 1)
    real, seen = photos.Encoder.codes, []

    def dies(self, images):
        seen.append(len(images))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(self, images)

    monkeypatch.setattr(photos.Encoder, "codes", dies)
    with pytest.raises(KeyboardInterrupt):
        encode_to_store(folder, model, tmp_path / "lance", batch_size=3)
    assert encode_to_store(folder, model, tmp_path / "lance", batch_size=3)[:3] == (1, 3, 0)


def test_wrong_input_of_the_table(tmp_path, model, folder, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no picture"):
        encode_to_store(tmp_path / "empty", model, tmp_path / "lance")
    (tmp_path / "empty" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"can be read \(1 files were tried\)"):
        encode_to_store(tmp_path / "empty", model, tmp_path / "lance")
    picture = folder / "sea" / "1.png"
    for place in ("other", "empty"):  # nothing is made by asking
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ValueError, match="`uri` must be a place that holds the table 'photos-"):
            find_in_store(picture, model, tmp_path / place)
        assert sorted(tmp_path.rglob("*")) == before
    encode = ["encode", str(folder), "--model", str(model), "--store", str(tmp_path / "lance")]
    assert main(encode) == 0
    assert "4 pictures encoded, 0 kept, 0 removed, 0 skipped; table in" in capsys.readouterr().out
    ask = ["search", str(picture), "--model", str(model)]
    store = ["--store", str(tmp_path / "lance")]
    assert main([*ask, *store, "--where", "bytes > 0", "-k", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    for wrong, message in (
        ([*ask, *store, "--within", "2"], "`--within` must be left out with --store"),
        ([*ask, *store, "--only", "*"], "`--only` must be left out with --store"),
        ([*ask, *store, "--where", "colour = 1"], "not understood"),
        ([*ask, "--index", str(tmp_path / "i"), "--where", "x"], "`--where` must be left out with --index"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["encode", str(folder), "--model", str(model)])
