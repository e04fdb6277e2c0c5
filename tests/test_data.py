"""Data: what ships, the protocols, the splits, batches, and every promised error (Chapter 2)."""

import gzip
import hashlib
import importlib.util
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tracemalloc
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from dhida_lib import data as D
from dhida_lib.data import cifar, fashion, paths, pickled, protocols, splits
from dhida_lib.data.preprocess import Preprocess
from dhida_lib.data.protocols import Protocol
from dhida_lib.data.sources import fashion_multi as multilabel
from dhida_lib.experiments import base
from dhida_lib.labels import similarity

REPOSITORY = Path(__file__).resolve().parents[1]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
SAME = ("cifar10", "cifar10-frozen")
PARTS = ("query", "train", "database")
FIRST_QUERIES = [6037, 855, 921, 3697, 269, 2693]
FIRST_ORDER = [3, 2, 1, 6, 0, 7, 4, 5]
TINY = Protocol("tiny", 1, 2, False, 5, "For a test.")
TINY_ALL = Protocol("tiny-all", 1, 2, True, None, "For a test.")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("DHIDA_DATA", raising=False)
    monkeypatch.delenv("DHIDA_ROOT", raising=False)


@pytest.fixture(scope="module")
def mini():
    return D.load_dataset("fashion-mini")


@pytest.fixture(scope="module")
def multi():
    return D.load_dataset("fashion-multi")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A copy of the shipped folder, found through DHIDA_DATA."""
    shutil.copytree(REPOSITORY / "data" / "fashion-mini", tmp_path / "fashion-mini")
    monkeypatch.setenv("DHIDA_DATA", str(tmp_path))
    return tmp_path / "fashion-mini"


def tool():
    spec = importlib.util.spec_from_file_location("build", REPOSITORY / "tools" / "build_fashion_mini.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- what ships ---------------------------------------------------------------------------------------------


def test_shipped_file_is_small_balanced_and_as_its_card_says():
    folder = REPOSITORY / "data" / "fashion-mini"
    raw = (folder / "fashion-mini.npz").read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    card = (folder / "README.md").read_text()
    licence = (folder / "LICENSE").read_text()
    assert len(raw) == manifest["bytes"] <= 4_000_000
    assert hashlib.sha256(raw).hexdigest() == manifest["sha256"]
    for said in (manifest["sha256"], manifest["content_sha256"], f"{len(raw):,} bytes", "MIT", "Zalando"):
        assert said in card
    for said in ("2017 Zalando SE", "Permission is hereby granted", "WITHOUT WARRANTY OF ANY KIND"):
        assert said in licence
    with np.load(folder / "fashion-mini.npz") as npz:
        images, labels, rows = npz["images"], npz["labels"], npz["source_index"]
    assert (images.shape, images.dtype) == ((7000, 28, 28), np.uint8)
    assert (labels.dtype, rows.dtype) == (np.uint8, np.int32)
    assert np.bincount(labels).tolist() == [700] * 10
    assert len(set(rows.tolist())) == 7000
    assert 0 <= rows.min() < 60_000 <= rows.max() < 70_000  # both parts of the source
    changes = (np.diff(labels.astype(int)) != 0).mean()
    assert changes > 0.8  # shuffled: a neighbour mostly has another class (9 in 10 by chance)


def test_content_hash_is_written_out_by_hand():
    a = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int32)
    b = np.array([7], dtype=np.uint8)
    byhand = hashlib.sha256(
        b"a int32 (2, 3)\n" + struct.pack("<6i", 1, 2, 3, 4, 5, 6) + b"b uint8 (1,)\n\x07"
    )
    assert fashion.content_sha256({"b": b, "a": a}) == byhand.hexdigest()
    assert (
        fashion.content_sha256({"b": b, "a": a.astype(">i4")}) == byhand.hexdigest()
    )  # byte order is no content
    assert fashion.content_sha256({"a": np.asfortranarray(a), "b": b}) == byhand.hexdigest()
    assert fashion.content_sha256({"a": a.astype(np.int64), "b": b}) != byhand.hexdigest()


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_rebuilds_bit_for_bit(tmp_path, capsys):
    out = tmp_path / "new" / "fashion-mini.npz"
    assert tool().main(["--idx", str(DEBIAN), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    shipped = (REPOSITORY / "data" / "fashion-mini" / "fashion-mini.npz").read_bytes()
    if "packed otherwise" in said:
        pytest.skip("this machine's zlib or NumPy packs otherwise; the content is the same")
    assert "bit for bit" in said
    assert out.read_bytes() == shipped
    assert [f.name for f in out.parent.iterdir()] == ["fashion-mini.npz"]  # no temporary file stays


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_source_index_points_at_the_same_images():
    images, labels, test = fashion.read_fashion_mnist(DEBIAN)
    arrays = fashion.read_fashion_mini()
    rows = arrays["source_index"]
    assert (images[rows] == arrays["images"]).all()
    assert (labels[rows] == arrays["labels"]).all()
    assert test.sum() == 10_000
    assert not test[:60_000].any()


def test_builder_refuses_another_source_and_writes_nothing(tmp_path, capsys):
    write_idx(tmp_path, 3, 1)
    out = tmp_path / "out" / "fashion-mini.npz"
    assert tool().main(["--idx", str(tmp_path), "--out", str(out)]) == 1
    assert "WRONG" in capsys.readouterr().out
    assert list(out.parent.iterdir()) == []


def test_builder_records_and_tells_packing_from_content(tmp_path, capsys, monkeypatch):
    write_idx(tmp_path, 3, 1)
    build = tool()
    monkeypatch.setattr(build, "HOME", tmp_path)
    out = tmp_path / "fashion-mini.npz"
    assert build.main(["--idx", str(tmp_path), "--out", str(out), "--record"]) == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["images"] == 40  # all of the little source
    assert manifest["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    arrays = fashion.read_fashion_mini(tmp_path)  # the loader takes what the builder recorded
    assert manifest["content_sha256"] == fashion.content_sha256(arrays)
    manifest["sha256"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    capsys.readouterr()
    assert build.main(["--idx", str(tmp_path), "--out", str(out)]) == 0
    assert "packed otherwise" in capsys.readouterr().out


# --- damaged and missing files ------------------------------------------------------------------------------

MEND = r"git checkout -- data/fashion-mini.*reinstall"


def test_copy_in_dhida_data_is_used(own):
    assert D.data_path("fashion-mini") == own
    assert len(D.load_dataset("fashion-mini").query) == 1000


@pytest.mark.parametrize("gone", ["fashion-mini.npz", "manifest.json"])
def test_missing_file(own, gone):
    (own / gone).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{gone} is missing.*{MEND}"):
        D.load_dataset("fashion-mini")


@pytest.mark.parametrize("name", ["fashion-mini", "fashion-multi"])
@pytest.mark.parametrize("keep", [0, 1, 1000, 3_000_000])
def test_truncated_file(own, name, keep):
    file = own / "fashion-mini.npz"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"fashion-mini.npz is damaged.*has {keep:,} bytes.*{MEND}"):
        D.load_dataset(name)


def test_flipped_bits_never_pass(own):
    file = own / "fashion-mini.npz"
    raw = file.read_bytes()
    whole = fashion.content_sha256(fashion.read_fashion_mini())
    rng = np.random.default_rng(3)
    ends = [*range(0, 60, 3), *range(len(raw) - 250, len(raw), 11)]  # heads and the zip's directory
    refused = 0
    for at in [*ends, *rng.integers(0, len(raw), 12).tolist()]:
        broken = bytearray(raw)
        broken[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(broken)
        message = ""
        try:
            came = fashion.read_fashion_mini()
        except ValueError as error:
            message = str(error)
            refused += 1
        if message:
            assert "damaged" in message
        else:  # a bit that no reader looks at: then the content must be whole
            assert fashion.content_sha256(came) == whole
    assert refused >= 15


def test_other_content_is_refused(own):
    with np.load(own / "fashion-mini.npz") as npz:
        arrays = dict(npz)
    arrays["labels"] = arrays["labels"][::-1]
    np.savez_compressed(own / "fashion-mini.npz", **arrays)
    with pytest.raises(ValueError, match=rf"SHA-256 of its content is .*expected.*{MEND}"):
        D.load_dataset("fashion-mini")
    with pytest.raises(ValueError, match="SHA-256"):
        D.load_dataset("fashion-mini", root=own)


def test_same_content_packed_otherwise_is_accepted(own):
    with np.load(own / "fashion-mini.npz") as npz:
        arrays = dict(npz)
    np.savez(own / "fashion-mini.npz", **arrays)
    assert len(D.load_dataset("fashion-mini", root=own).train) == 2000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"bytes": "many", "content_sha256": "x"}',
        '{"bytes": 1e999, "content_sha256": "x"}',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_damaged_manifest(own, text):
    (own / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=rf"manifest.json is damaged.*{MEND}"):
        D.load_dataset("fashion-mini")


def test_wrong_root(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"nowhere.*fashion-mini.npz is missing.*{MEND}"):
        D.load_dataset("fashion-mini", root=tmp_path / "nowhere")


# --- paths --------------------------------------------------------------------------------------------------


def test_data_path_looks_in_three_places(tmp_path, monkeypatch):
    checkout, mine = tmp_path / "checkout", tmp_path / "mine"
    for folder in (checkout / "data", checkout / "dhida_lib" / "_data", mine):
        folder.mkdir(parents=True)
    monkeypatch.setattr(paths, "_PACKAGE", checkout / "dhida_lib")
    inside = checkout / "dhida_lib" / "_data" / "x.csv"
    inside.write_text("wheel")
    (checkout / "data" / "x.csv").write_text("somebody else's data folder beside site-packages")
    assert D.data_path("x.csv") == inside  # no pyproject.toml: an installed wheel
    (checkout / "pyproject.toml").touch()
    assert D.data_path("x.csv") == checkout / "data" / "x.csv"
    monkeypatch.setenv("DHIDA_DATA", str(mine))
    assert D.data_path("x.csv") == checkout / "data" / "x.csv"  # mine has no such file
    (mine / "x.csv").write_text("mine")
    assert D.data_path("x.csv") == mine / "x.csv"
    assert D.data_path() == mine


def test_data_path_errors(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no/such\.csv ships.*git checkout -- data/no.*reinstall"):
        D.data_path("no", "such.csv")
    monkeypatch.setenv("DHIDA_DATA", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"DHIDA_DATA is .*gone.* not a folder"):
        D.data_path("fashion-mini")
    monkeypatch.delenv("DHIDA_DATA")
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "dhida_lib")
    with pytest.raises(FileNotFoundError, match=r"data ships.*no data folder at all"):
        D.data_path()


# --- protocols and splits -----------------------------------------------------------------------------------

SIZES = [
    ("fashion-mini", None, (1000, 2000, 4000)),
    ("fashion-mini", "mini", (1000, 2000, 4000)),
    ("fashion-mini", "mini-with-train", (1000, 2000, 6000)),
    ("fashion-multi", None, (1000, 2000, 4000)),
    ("fashion-multi", "mini-with-train", (1000, 2000, 6000)),
    ("fashion-mnist", None, (1000, 5000, 64_000)),
    ("fashion-mnist", "paper-with-train", (1000, 5000, 69_000)),
]


@pytest.mark.parametrize("name, protocol, sizes", SIZES)
def test_sizes(name, protocol, sizes):
    if name == "fashion-mnist" and not DEBIAN.is_dir():
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    data = D.load_dataset(name, protocol=protocol)
    assert tuple(len(getattr(data, part)) for part in PARTS) == sizes
    record = data.protocol_record()
    assert tuple(record[part] for part in PARTS) == sizes
    if not data.multi_label:
        for part, size in zip(PARTS, sizes, strict=True):
            assert Counter(getattr(data, part).labels.tolist()) == {c: size // 10 for c in range(10)}


@pytest.mark.parametrize("protocol", ["mini", "mini-with-train"])
@pytest.mark.parametrize("seed", [0, 7])
def test_parts_are_disjoint(protocol, seed):
    data = D.load_dataset("fashion-mini", seed=seed, protocol=protocol)
    query, train, database = (set(getattr(data, part).indices.tolist()) for part in PARTS)
    assert len(query) == 1000
    assert len(train) == 2000
    assert not query & train
    assert not query & database
    assert (train <= database) if protocol == "mini-with-train" else not (train & database)
    assert query | train | database == set(range(7000))  # and nothing is lost


def test_splits_hold_the_images_their_indices_name(mini):
    arrays = fashion.read_fashion_mini()
    for part in PARTS:
        split = getattr(mini, part)
        assert (split.pictures(range(len(split))) == arrays["images"][split.indices]).all()
        assert (split.labels.numpy() == arrays["labels"][split.indices]).all()


@pytest.mark.parametrize("name", ["fashion-mini", "fashion-multi"])
def test_seed_decides(name):
    a, b, c = (D.load_dataset(name, seed=seed) for seed in (4, 4, 5))
    for part in PARTS:
        assert torch.equal(getattr(a, part).indices, getattr(b, part).indices)
        assert torch.equal(getattr(a, part).pixels, getattr(b, part).pixels)
        assert not torch.equal(getattr(a, part).indices, getattr(c, part).indices)


def test_split_is_the_same_on_every_machine(mini):
    # The first queries of seed 0, noted when the split was made: a record's seed must keep its meaning.
    assert mini.query.indices[:6].tolist() == FIRST_QUERIES
    assert protocols.seeded_order(8, 0).tolist() == FIRST_ORDER


def test_protocols_share_queries_and_training_images():
    for name in ("fashion-mini", "fashion-multi"):
        a = D.load_dataset(name, protocol="mini")
        b = D.load_dataset(name, protocol="mini-with-train")
        for part in ("query", "train"):
            assert torch.equal(getattr(a, part).indices, getattr(b, part).indices)
            assert torch.equal(getattr(a, part).pixels, getattr(b, part).pixels)
        sources = torch.cat([a.train.indices, a.database.indices]).tolist()
        assert sorted(sources) == sorted(b.database.indices.tolist())


@pytest.mark.parametrize("protocol", ["mini", "mini-with-train"])
def test_database_is_not_sorted(protocol):
    data = D.load_dataset("fashion-mini", protocol=protocol)
    labels = data.database.labels
    assert (labels[1:] != labels[:-1]).float().mean() > 0.85
    train = np.isin(
        data.database.indices.numpy(), data.train.indices.numpy()
    )  # nor do training images stand together
    if train.any():
        halves = train[: len(train) // 2].mean(), train[len(train) // 2 :].mean()
        assert abs(halves[0] - halves[1]) < 0.1


def test_split_rows_against_a_loop():
    labels = np.random.default_rng(0).integers(0, 3, 40)
    rows = protocols.split_rows(labels, Protocol("p", 2, 3, False, None, ""), seed=9)
    expected = {part: [] for part in PARTS}
    seen = Counter()
    for row in protocols.seeded_order(40, 9).tolist():
        k = seen[labels[row]]
        expected["query" if k < 2 else "train" if k < 5 else "database"].append(row)
        seen[labels[row]] += 1
    assert {part: rows[part].tolist() for part in PARTS} == expected
    with_train = protocols.split_rows(labels, Protocol("p", 2, 3, True, None, ""), seed=9)["database"]
    assert sorted(with_train.tolist()) == sorted(expected["train"] + expected["database"])


def test_official_split_keeps_the_parts():
    labels = np.arange(60) % 3
    test = np.arange(60) >= 42
    official = Protocol("o", 6, 14, True, None, "", official_split=True)
    rows = protocols.split_rows(labels, official, seed=1, test_rows=test)
    assert sorted(rows["query"].tolist()) == list(range(42, 60))
    assert sorted(rows["train"].tolist()) == sorted(rows["database"].tolist()) == list(range(42))
    fewer = Protocol("o", 2, 5, True, None, "", official_split=True)
    rows = protocols.split_rows(labels, fewer, seed=1, test_rows=test)
    assert test[rows["query"]].all()
    assert len(rows["query"]) == 6
    assert not test[rows["train"]].any()  # spare test images never train
    assert sorted(rows["database"].tolist()) == list(range(42))


def test_all_but_the_queries_train():
    labels = np.arange(31) % 3
    rows = protocols.split_rows(labels, Protocol("p", 2, None, True, None, ""), seed=4)
    assert len(rows["query"]) == 6
    assert sorted(rows["train"]) == sorted(rows["database"]) == sorted(set(range(31)) - set(rows["query"]))
    with pytest.raises(ValueError, match="`train_per_class` must be a number where the database does not"):
        Protocol("p", 2, None, False, None, "")
    with pytest.raises(ValueError, match="needs 3 images of each class"):
        protocols.split_rows(np.arange(6) % 3, Protocol("p", 2, None, True, None, ""))


def test_unseen_classes_only_ask():
    sizes = {}
    drawn = set()
    for seed in (0, 1, 2):
        data = D.load_dataset("fashion-mini", protocol="unseen", seed=seed)
        sizes[seed] = [len(getattr(data, part)) for part in PARTS]
        known, new = (set(split.labels.tolist()) for split in (data.train, data.query))
        assert len(new) == data.protocol.unseen == 3
        assert new == set(data.database.labels.tolist())
        assert known == set(range(10)) - new
        assert np.bincount(data.query.labels)[sorted(new)].tolist() == [100] * 3
        assert not set(data.query.indices.tolist()) & set(data.database.indices.tolist())
        drawn.add(tuple(sorted(new)))
    assert set(map(tuple, sizes.values())) == {(300, 1400, 1800)}
    assert len(drawn) > 1  # the seed draws the classes


def test_unseen_classes_wrong():
    with pytest.raises(ValueError, match="`unseen` must be 0 with an official split or training images"):
        Protocol("p", 2, 3, True, None, "", unseen=1)
    with pytest.raises(ValueError, match="`unseen` must be an integer"):
        Protocol("p", 2, 3, False, None, "", unseen=-1)
    with pytest.raises(ValueError, match="leaves two of the 3 classes to train on"):
        protocols.split_rows(np.arange(30) % 3, Protocol("p", 2, 3, False, None, "", unseen=2))
    with pytest.raises(ValueError, match="needs 3 images of each class"):  # 2 queries and one to be found
        protocols.split_rows(np.arange(10) % 4, Protocol("p", 2, 1, False, None, "", unseen=2))
    with pytest.raises(ValueError, match="a canvas shows several"):
        D.load_dataset("fashion-multi", protocol=Protocol("p", 2, 3, False, None, "", unseen=3))


def test_rank_in_class_against_a_loop():
    labels = np.random.default_rng(1).integers(0, 4, 50).astype(np.uint8)
    byhand = [sum(labels[j] == labels[i] for j in range(i)) for i in range(50)]
    assert protocols.rank_in_class(labels).tolist() == byhand


def test_seeded_bits():
    a = protocols.seeded_bits((5, 3), 2, 1)
    assert (a.shape, a.dtype) == ((5, 3), np.uint64)
    assert (a == protocols.seeded_bits((5, 3), np.int64(2), 1)).all()
    assert not (a == protocols.seeded_bits((5, 3), 2, 2)).any()
    assert sorted(protocols.seeded_order(50, 3).tolist()) == list(range(50))


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_wrong_seed(seed):
    with pytest.raises(ValueError, match="`seed` must be an integer ≥ 0"):
        D.load_dataset("fashion-mini", seed=seed)


@pytest.mark.parametrize("seed", ["0", None, -1, 0.5, [1]])
def test_wrong_seed_everywhere(seed):
    calls = (
        lambda: protocols.seeded_bits(3, seed),
        lambda: protocols.seeded_order(3, seed),
        lambda: protocols.split_rows(np.arange(6) % 2, TINY_ALL, seed),
        lambda: D.load_dataset("fashion-multi", seed=seed),
        lambda: multilabel.draw_canvases(np.zeros((4, 2, 2), np.uint8), np.arange(4), 3, seed, 1, 4),
    )
    for call in calls:
        with pytest.raises(ValueError, match="`seed` must be an integer ≥ 0"):
            call()
    with pytest.raises(ValueError, match="`stream` must be an integer ≥ 0"):
        protocols.seeded_bits(3, 0, seed)
    with pytest.raises(ValueError, match="`n` must be an integer ≥ 0"):
        protocols.seeded_order(seed, 0)


@pytest.mark.parametrize(
    "labels", [None, "ab", ["a", "b"], [0.5, 1.0], [[0, 1], [1]], [-1, 0], 3, [[0, 1], [1, 0]], {}]
)
def test_wrong_labels_everywhere(labels):
    garments = np.zeros((2, 2, 2), np.uint8)
    pixels, plain = np.zeros((2, 1, 3, 3), np.uint8), Preprocess(1, 3)
    calls = (
        lambda: protocols.class_ids(labels),
        lambda: protocols.rank_in_class(labels),
        lambda: protocols.split_rows(labels, TINY_ALL),
        lambda: multilabel.draw_canvases(garments, labels, 3, 0, 1, 4),
        lambda: splits.assemble("x", splits.Images(pixels, labels), TINY_ALL, 0, ("a", "b"), plain),
    )
    for call in calls:
        with pytest.raises(ValueError, match="`labels` must be"):
            call()


def test_labels_and_rows_that_do_not_fit():
    for labels in ([0, 1, 10**12], [0, 1, 2]):
        with pytest.raises(ValueError, match="`labels` must be class ids, counted from 0"):
            protocols.split_rows(labels, TINY_ALL, class_names=("a", "b"))
    with pytest.raises(ValueError, match="`labels` must be class ids, counted from 0"):
        protocols.split_rows([0, 1, 10**12], TINY_ALL)  # no table of 10¹² classes is made
    with pytest.raises(ValueError, match="class '0' has only 0"):
        protocols.split_rows(np.zeros(0, np.int64), TINY_ALL)
    official = Protocol("o", 1, 1, True, None, "", official_split=True)
    for test_rows in ([True, False], np.array([1, 0]), np.array([True])):
        with pytest.raises(ValueError, match="`test_rows` must be"):
            protocols.split_rows([0, 0], official, test_rows=test_rows)
    with pytest.raises(ValueError, match="`protocol` must be a Protocol"):
        protocols.split_rows([0, 0], "tiny")
    pixels = np.zeros((2, 1, 3, 3), np.uint8)
    with pytest.raises(ValueError, match="`labels` must be as many as the 2 images"):
        splits.assemble("x", splits.Images(pixels, [0, 1, 0]), TINY_ALL, 0, ("a", "b"), Preprocess(1, 2))
    garments = np.zeros((4, 2, 2), np.uint8)
    for labels, classes in (([0, 1, 2, 2], 4), ([0, 1, 2, 3, 3], 4), ([0, 1, 2, 4], 4)):
        with pytest.raises(ValueError, match="`labels` must be a class of 4 for each image"):
            multilabel.draw_canvases(garments, labels, 3, 0, 1, classes)
    for name, n, classes in (("n", 0, 4), ("n", "3", 4), ("classes", 3, 3), ("classes", 3, "4")):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            multilabel.draw_canvases(garments, np.arange(4), n, 0, 1, classes)


def test_wrong_root_and_size():
    for name in D.DATASETS:
        with pytest.raises(ValueError, match="`root` must be the path of a folder, but got 'int'"):
            D.load_dataset(name, root=5)
        for size in (0, "28", 2.5, True):
            with pytest.raises(ValueError, match="`image_size` must be a positive integer"):
                D.load_dataset(name, root="/", image_size=size)


def test_too_few_images():
    labels = np.array([0] * 9 + [1] * 4)
    with pytest.raises(ValueError, match=r"'tiny' needs 5 images of each class, but class 'b' has only 4"):
        protocols.split_rows(labels, Protocol("tiny", 2, 3, False, None, ""), class_names=("a", "b"))
    with pytest.raises(ValueError, match="class 'c' has only 0"):
        protocols.split_rows(labels, TINY, class_names=("a", "b", "c"))
    with pytest.raises(ValueError, match="class '1' has only 4"):
        protocols.split_rows(labels, Protocol("tiny", 2, 3, False, None, ""))
    with pytest.raises(ValueError, match="leaves images for the database"):
        protocols.split_rows(np.array([0] * 3 + [1] * 3), TINY)
    official = Protocol("o", 2, 2, True, None, "", official_split=True)
    with pytest.raises(ValueError, match="no official split"):
        protocols.split_rows(labels, official)
    with pytest.raises(ValueError, match="needs 2 official test images of each class, but class '1'"):
        protocols.split_rows(labels, official, test_rows=np.arange(13) < 3)
    with pytest.raises(ValueError, match="needs 2 official training images of each class, but class '0'"):
        protocols.split_rows(labels, official, test_rows=(np.arange(13) < 8) | (np.arange(13) > 10))


def test_a_protocol_of_ones_own():
    data = D.load_dataset("fashion-mini", protocol=TINY)
    assert [len(getattr(data, part)) for part in PARTS] == [10, 20, 6970]
    assert data.protocol_record()["k"] == 5
    assert "mAP@5\n" in data.describe()
    assert str(data.protocol) == "tiny"


def test_protocol_is_frozen_and_checked():
    with pytest.raises(FrozenInstanceError):
        TINY.name = "other"
    for field, wrong in (("query_per_class", 0), ("train_per_class", 2.0), ("map_k", -1), ("map_k", True)):
        values = {"query_per_class": 1, "train_per_class": 1, "map_k": None, field: wrong}
        with pytest.raises(ValueError, match=f"`{field}` must be a positive integer"):
            Protocol("p", database_includes_train=True, text="", **values)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"`name`.*'fashion-mini', .*, 'folder'.*but got 'mnist'"):
        D.load_dataset("mnist")
    with pytest.raises(ValueError, match=r"`protocol`.*'mini', 'mini-with-train', 'unseen', but"):
        D.load_dataset("fashion-mini", protocol="paper")
    with pytest.raises(ValueError, match=r"`protocol`.*'cifar10', 'cifar10-1', 'cifar10-2'"):
        D.load_dataset("cifar10", protocol="cifar10-3")
    assert all(source.protocols for source in D.DATASETS.values())


def test_the_papers_numbers():
    p = {protocol.name: protocol for protocol in D.DATASETS["cifar10"].protocols}
    assert list(p) == ["cifar10", "cifar10-1", "cifar10-2"]
    for name in ("cifar10", "cifar10-1"):  # §4.1: 100 and 500 of each of ten classes, mAP@ALL
        assert (p[name].query_per_class, p[name].train_per_class, p[name].map_k) == (100, 500, None)
    assert not p["cifar10"].database_includes_train
    assert p["cifar10-1"].database_includes_train
    assert p["cifar10-2"].official_split
    assert D.DATASETS["cifar10"].protocol().name == "cifar10"


def test_describe_and_record(mini, multi):
    text = mini.describe()
    for said in (
        "fashion-mini",
        "'mini'",
        "seed 0",
        "1,000 queries",
        "2,000 training",
        "4,000",
        "does not hold",
    ):
        assert said in text
    assert "§4.1" in text
    assert "mAP@ALL" in text
    assert "several labels" in multi.describe()
    assert "which holds the training" in D.load_dataset("fashion-mini", protocol="mini-with-train").describe()
    record = json.loads(json.dumps(D.load_dataset("fashion-multi", seed=np.int64(3)).protocol_record()))
    assert record == {
        "dataset": "fashion-multi",
        "source": "canvases of fashion-mini's images",
        "protocol": "mini",
        "query": 1000,
        "train": 2000,
        "database": 4000,
        "database_includes_train": False,
        "seed": 3,
        "k": None,
        "classes": 10,
        "multi_label": True,
        "image_size": 56,
    }


def test_attributes_of_the_contract(mini, multi):
    assert (mini.name, mini.protocol.name, mini.seed) == ("fashion-mini", "mini", 0)
    assert (mini.num_classes, mini.channels, mini.image_size, mini.multi_label) == (10, 1, 28, False)
    assert mini.class_names[9] == "Ankle boot"
    assert (multi.num_classes, multi.channels, multi.image_size, multi.multi_label) == (10, 1, 56, True)
    assert D.similarity is similarity


# --- Split --------------------------------------------------------------------------------------------------


MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)


def form(channels, stored, mean, std, side=None):
    return Preprocess(channels, side or stored, stored, mean, std)


def colour_split(n=7, side=5, image_size=None, seed=0):
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 3, side, side), generator=rng, dtype=torch.uint8)
    labels = torch.arange(n) % 4
    return splits.Split(pixels, labels, torch.arange(n) + 100, form(3, side, MEAN, STD, image_size))


def test_item_against_numpy(mini):
    image, label = mini.train[3]
    assert (image.dtype, tuple(image.shape)) == (torch.float32, (1, 28, 28))
    picture = mini.train.picture(3)
    assert (picture.dtype, picture.shape) == (np.uint8, (28, 28))
    np.testing.assert_allclose(image[0], (picture / 255.0 - 0.286) / 0.353, rtol=1e-5, atol=1e-6)
    assert type(label) is int
    assert label == mini.train.labels[3]


def test_colour_channels_are_normalised_each_and_pictures_stand_up():
    split = colour_split(side=4)
    x, y = split.batch([2, 0, 2])
    for b, i in enumerate([2, 0, 2]):
        for c in range(3):
            byhand = (split.pixels[i, c].numpy() / 255.0 - [0.1, 0.2, 0.3][c]) / [0.5, 0.6, 0.7][c]
            np.testing.assert_allclose(x[b, c], byhand, rtol=1e-5, atol=1e-6)
    assert y.tolist() == [2, 0, 2]
    picture = split.picture(1)
    assert picture.shape == (4, 4, 3)
    assert picture[3, 1, 2] == split.pixels[1, 2, 3, 1]


def test_normalised_training_images_have_mean_0_and_deviation_1(mini):
    x, _ = mini.train.batch(range(2000))
    assert abs(x.mean()) < 0.03
    assert abs(x.std() - 1) < 0.03


def test_split_is_a_sequence_and_a_dataset(mini):
    few = mini.query.take(11)
    assert [label for _, label in few] == few.labels.tolist()  # the loop ends by itself
    assert torch.equal(few[-1][0], few[10][0])
    with pytest.raises(IndexError, match="image 11 of a split with 11"):
        few[11]
    with pytest.raises(IndexError):
        few[-12]
    with pytest.raises(TypeError):
        few[1.5]
    images, labels = next(iter(torch.utils.data.DataLoader(few, batch_size=4)))
    assert torch.equal(images, few.batch(range(4))[0])
    assert torch.equal(labels, few.labels[:4])


def test_multi_label_items(multi):
    image, label = multi.train[5]
    assert tuple(image.shape) == (1, 56, 56)
    assert torch.equal(label, multi.train.labels[5])
    images, labels = next(iter(torch.utils.data.DataLoader(multi.query, batch_size=3)))
    assert (tuple(images.shape), tuple(labels.shape)) == ((3, 1, 56, 56), (3, 10))


@pytest.mark.parametrize(
    "which",
    [
        [3, 1],
        (3, 1),
        np.array([3, 1]),
        np.array([3, 1], dtype=np.uint8),
        torch.tensor([3, 1]),
        range(3, 0, -2),
    ],
)
def test_positions_in_every_form(which):
    split = colour_split()
    x, y = split.batch(which)
    assert torch.equal(x, torch.stack([split[3][0], split[1][0]]))
    assert y.tolist() == [3, 1]
    assert split.take(which).indices.tolist() == [103, 101]


@pytest.mark.parametrize(
    "wrong", [[7], [-1], [0.5], [True, False], [[0, 1]], 3, torch.ones(7, dtype=torch.bool), None, "a", ["a"]]
)
def test_wrong_positions(wrong):
    split = colour_split()
    for call in (split.batch, split.pictures):
        with pytest.raises(ValueError, match="`indices` must be"):
            call(wrong)


def test_take():
    split = colour_split(image_size=9)
    few = split.take(2)
    assert len(few) == 2
    assert few.image_size == 9
    assert torch.equal(few.batch([1])[0], split.batch([1])[0])
    assert len(split.take([])) == 0
    for wrong in (0, 8, -1):
        with pytest.raises(ValueError, match="`which` must be a number of images from 1 to 7"):
            split.take(wrong)


def test_resize():
    split = colour_split(side=8, image_size=4)
    assert split.image_size == 4
    x, _ = split.batch([0, 1])
    assert tuple(x.shape) == (2, 3, 4, 4)
    # antialiased bilinear to half the size: four pixels, weights 1 3 3 1, cut off at the border
    weights = np.zeros((4, 8))
    for i in range(4):
        for j, weight in zip(range(2 * i - 1, 2 * i + 3), (1, 3, 3, 1), strict=True):
            if 0 <= j < 8:
                weights[i, j] = weight
    weights /= weights.sum(1, keepdims=True)
    for c in range(3):
        byhand = weights @ (split.pixels[0, c].numpy() / 255.0) @ weights.T
        np.testing.assert_allclose(
            x[0, c], (byhand - split.preprocess.mean[c]) / split.preprocess.std[c], rtol=1e-4, atol=1e-5
        )
    assert split.picture(0).shape == (8, 8, 3)  # for showing, the stored size
    flat = splits.Split(
        torch.full((1, 1, 5, 5), 51, dtype=torch.uint8), [0], [0], form(1, 5, (0.0,), (1.0,), 13)
    )
    torch.testing.assert_close(flat[0][0], torch.full((1, 13, 13), 0.2))


def test_image_size_of_a_data_set():
    data = D.load_dataset("fashion-mini", image_size=32)
    assert data.image_size == data.protocol_record()["image_size"] == 32
    assert tuple(data.query[0][0].shape) == (1, 32, 32)
    with pytest.raises(ValueError, match="`image_size` must be a positive integer"):
        D.load_dataset("fashion-mini", image_size=0)


def test_wrong_splits():
    good, plain = torch.zeros(2, 1, 3, 3, dtype=torch.uint8), form(1, 3, (0.0,), (1.0,))
    for pixels in (good.float(), good[0], torch.zeros(2, 2, 3, 3, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="`pixels` must be uint8 images"):
            splits.Split(pixels, [0, 1], [0, 1], plain)
    with pytest.raises(ValueError, match="`labels` must be as many as the 2 images"):
        splits.Split(good, [0, 1, 2], [0, 1], plain)
    with pytest.raises(ValueError, match="`indices` must be as many"):
        splits.Split(good, [0, 1], [0], plain)
    with pytest.raises(ValueError, match="`pixels` must be a tensor"):
        splits.Split(None, [0, 1], [0, 1], plain)
    for name, wrong in (("labels", None), ("labels", "ab"), ("indices", None), ("indices", 3), ("rows", 1)):
        values = {"labels": [0, 1], "indices": [0, 1], name: wrong}
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            splits.Split(good, preprocess=plain, **values)
    with pytest.raises(ValueError, match="`preprocess` must be a Preprocess"):
        splits.Split(good, [0, 1], [0, 1], None)
    with pytest.raises(ValueError, match="`pixels` must be 1×4×4, as `preprocess` keeps them"):
        splits.Split(good, [0, 1], [0, 1], form(1, 4, (0.0,), (1.0,)))
    with pytest.raises(ValueError, match="`mean` must be 1 finite numbers, one per channel"):
        form(1, 3, (0.0, 1.0), (1.0,))
    with pytest.raises(ValueError, match="`std` must be"):
        form(1, 3, (0.0,), (0.0,))


def check_device(device):
    split, there = colour_split(image_size=10), colour_split(image_size=10).to(device)
    walks = [
        list(D.batches(s, 3, True, torch.Generator().manual_seed(2), "flip-shift")) for s in (split, there)
    ]
    for (x, y, i), (x2, y2, i2) in zip(*walks, strict=True):
        assert x2.device.type == y2.device.type == i2.device.type == torch.device(device).type
        torch.testing.assert_close(x2.cpu(), x, rtol=1e-4, atol=1e-4)
        assert torch.equal(y2.cpu(), y)
        assert torch.equal(i2.cpu(), i)
    assert (there.picture(2) == split.picture(2)).all()
    assert there.take([4]).indices.tolist() == [104]


def test_to_cpu():
    check_device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_to_cuda_gives_the_same_batches():
    check_device("cuda")


# --- batches and augmentation -------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", ["none", "flip", "flip-shift"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_cover_the_split_once(mini, augment, shuffle):
    split = mini.query.take(23)
    rows, sizes = [], []
    for x, y, index in D.batches(split, 5, shuffle, torch.Generator().manual_seed(1), augment):
        assert index.dtype == torch.int64
        assert torch.equal(y, split.labels[index])
        assert tuple(x.shape) == (len(index), 1, 28, 28)
        if augment == "none":
            assert torch.equal(x, split.batch(index)[0])
        rows += index.tolist()
        sizes.append(len(index))
    assert sizes == [5, 5, 5, 5, 3]
    assert sorted(rows) == list(range(23))
    assert (rows == list(range(23))) is not shuffle


def test_generator_decides_order_and_augmentation(mini):
    split = mini.train.take(40)

    def walk(seed):
        return list(D.batches(split, 16, True, torch.Generator().manual_seed(seed), "flip-shift"))

    a, b, c = walk(1), walk(1), walk(2)
    for one, two in zip(a, b, strict=True):
        assert all(torch.equal(u, v) for u, v in zip(one, two, strict=True))
    assert not torch.equal(a[0][2], c[0][2])
    torch.manual_seed(5)
    first = [i.tolist() for *_, i in D.batches(split, 16, True)]
    torch.manual_seed(5)
    assert first == [i.tolist() for *_, i in D.batches(split, 16, True)]  # without one: torch's own


def test_batches_errors_come_at_once(mini):
    for wrong in (0, -3, 2.0, None):
        with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
            D.batches(mini.train, wrong)
    with pytest.raises(
        ValueError, match="`augment` must be one of 'none', 'flip', 'flip-shift', 'crop-flip'"
    ):
        D.batches(mini.train, 8, augment="crop")


def test_random_flip_mirrors_about_half():
    x = torch.randn(400, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    y = D.random_flip(x, torch.Generator().manual_seed(0))
    same = [torch.equal(a, b) for a, b in zip(x, y, strict=True)]
    turned = [np.array_equal(a.numpy()[:, :, ::-1], b.numpy()) for a, b in zip(x, y, strict=True)]
    assert all(s != t for s, t in zip(same, turned, strict=True))
    assert 150 < sum(turned) < 250
    assert torch.equal(x, before)


def test_random_shift_moves_whole_images_over_the_background():
    x = torch.randn(300, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    fill = torch.tensor([-9.0, 9.0])
    y = D.random_shift(x, 2, torch.Generator().manual_seed(0), fill)
    seen = Counter()
    for a, b in zip(x.numpy(), y.numpy(), strict=True):
        for down in range(-2, 3):
            for right in range(-2, 3):
                moved = np.empty_like(a)
                moved[0], moved[1] = -9, 9
                for i in range(5):
                    for j in range(7):
                        if 0 <= i - down < 5 and 0 <= j - right < 7:
                            moved[:, i, j] = a[:, i - down, j - right]
                if np.array_equal(moved, b):
                    seen[down, right] += 1
    assert sum(seen.values()) == 300  # each image is exactly one shift of its original
    assert len(seen) == 25  # and all shifts occur
    assert (D.random_shift(torch.ones(30, 1, 4, 4), 1) == 0).any()  # the default fill is 0
    with pytest.raises(ValueError, match="`pixels` must be a positive integer"):
        D.random_shift(x, 0)


def test_shifted_background_is_black():
    white = torch.full((60, 3, 28, 28), 255, dtype=torch.uint8)
    split = splits.Split(white, torch.zeros(60).long(), range(60), form(3, 28, MEAN, STD))
    ((x, _, _),) = D.batches(split, 60, augment="flip-shift", generator=torch.Generator().manual_seed(0))
    for c in range(3):
        black, bright = (
            (0 - split.preprocess.mean[c]) / split.preprocess.std[c],
            (1 - split.preprocess.mean[c]) / split.preprocess.std[c],
        )
        values = x[:, c].unique()
        torch.testing.assert_close(values, torch.tensor([black, bright]))
    assert (x[:, :, 2:-2, 2:-2] > 0).all()  # never more than two pixels
    assert (x[:, :, 1] < 0).any()  # but two do occur


def test_shift_grows_with_the_resized_image():
    white = torch.full((40, 1, 28, 28), 255, dtype=torch.uint8)
    split = splits.Split(white, torch.zeros(40).long(), range(40), form(1, 28, (0.5,), (0.5,), 112))
    ((x, _, _),) = D.batches(split, 40, augment="flip-shift", generator=torch.Generator().manual_seed(0))
    border = (x[:, 0] < 0).float().amax(2).sum(1)  # rows with black: all where shifted sideways
    top = (x[:, 0, :, 56] < 0).sum(1)
    assert border.max() == 112
    assert top.max() == 8  # two stored pixels are eight here


# --- fashion-multi ------------------------------------------------------------------------------------------


def test_labels_match_the_garments_placed(multi):
    arrays = fashion.read_fashion_mini()
    for part in PARTS:
        split = getattr(multi, part)
        for i in range(0, len(split), 7):
            canvas, placed = split.picture(i), []
            for cell, row in enumerate(split.indices[i].tolist()):
                top, left = 28 * (cell // 2), 28 * (cell % 2)
                tile = canvas[top : top + 28, left : left + 28]
                if row < 0:
                    assert not tile.any()
                else:
                    assert (tile == arrays["images"][row]).all()
                    placed.append(int(arrays["labels"][row]))
            assert 1 <= len(placed) <= 4
            assert len(set(placed)) == len(placed)  # different classes
            assert split.labels[i].nonzero()[:, 0].tolist() == sorted(placed)


@pytest.mark.parametrize("protocol", ["mini", "mini-with-train"])
def test_canvases_use_their_own_part_only(protocol):
    multi = D.load_dataset("fashion-multi", seed=2, protocol=protocol)
    single = D.load_dataset("fashion-mini", seed=2, protocol=protocol)
    for part in PARTS:
        used = set(getattr(multi, part).indices.flatten().tolist()) - {-1}
        assert used <= set(getattr(single, part).indices.tolist())
        assert len(used) > 0.8 * len(getattr(single, part))
    if protocol == "mini-with-train":  # the training canvases themselves are in the database, mixed in
        database = {tuple(row): at for at, row in enumerate(multi.database.indices.tolist())}
        places = [database[tuple(row)] for row in multi.train.indices.tolist()]
        assert 2500 < np.mean(places) < 3500


def test_canvases_are_drawn_evenly(multi):
    counts = multi.database.labels.sum(1)
    for k in range(1, 5):
        assert 0.22 < (counts == k).float().mean() < 0.28
    assert (multi.database.labels.float().mean(0) - 0.25).abs().max() < 0.03  # 2.5 garments over 10 classes
    assert ((multi.database.indices >= 0).float().mean(0) - 0.625).abs().max() < 0.03  # over the four cells


def test_draw_canvases_with_unequal_sides():
    rng = np.random.default_rng(0)
    images = rng.integers(1, 255, (30, 3, 5), dtype=np.uint8)
    labels = rng.permutation(np.arange(30) % 6)
    canvas, hot, rows = multilabel.draw_canvases(images, labels, 17, seed=1, stream=2, classes=6)
    assert (canvas.shape, hot.shape, rows.shape) == ((17, 6, 10), (17, 6), (17, 4))
    for i in range(17):
        for cell in range(4):
            top, left = 3 * (cell // 2), 5 * (cell % 2)
            tile = canvas[i, top : top + 3, left : left + 5]
            assert (tile == (images[rows[i, cell]] if rows[i, cell] >= 0 else 0)).all()
        assert sorted(labels[rows[i][rows[i] >= 0]].tolist()) == hot[i].nonzero()[0].tolist()


def test_multi_needs_images_for_its_database():
    everything = Protocol("greedy", 200, 500, True, None, "")
    with pytest.raises(ValueError, match="one that leaves images for the database, but got 'greedy'"):
        D.load_dataset("fashion-multi", protocol=everything)


# --- Fashion-MNIST from idx files ---------------------------------------------------------------------------


def write_idx(folder, train_per_class, test_per_class, end="", seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    made = {}
    for part, per_class in (("train", train_per_class), ("t10k", test_per_class)):
        labels = rng.permutation(np.repeat(np.arange(10), per_class)).astype(np.uint8)
        images = rng.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        made[part] = images, labels
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            raw = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
            path = folder / f"{part}-{name}-ubyte{end}"
            path.write_bytes(gzip.compress(raw, 1) if end else raw)
    return made


@pytest.mark.parametrize("below", ["", "raw", "FashionMNIST/raw", "FashionMNIST"])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_files_in_every_layout(tmp_path, below, end):
    made = write_idx(tmp_path / below, 4, 2, end)
    images, labels, test = fashion.read_fashion_mnist(tmp_path)
    assert (images == np.concatenate([made["train"][0], made["t10k"][0]])).all()
    assert (labels == np.concatenate([made["train"][1], made["t10k"][1]])).all()
    assert test.tolist() == [False] * 40 + [True] * 20
    data = D.load_dataset("fashion-mnist", root=str(tmp_path), protocol=TINY)
    assert [len(getattr(data, part)) for part in PARTS] == [10, 20, 30]
    assert (data.query.picture(4) == images[data.query.indices[4]]).all()


def test_fashion_mnist_is_found_under_dhida_root(tmp_path, monkeypatch):
    write_idx(tmp_path / "fashion-mnist", 4, 2)
    monkeypatch.setenv("DHIDA_ROOT", str(tmp_path))
    assert len(D.load_dataset("fashion-mnist", protocol=TINY_ALL).database) == 50


def test_missing_fashion_mnist(tmp_path):
    advice = r"looked in: .*never downloaded.*\(root, download=True\).*apt-get install dataset-fashion-mnist"
    with pytest.raises(FileNotFoundError, match=advice):
        D.load_dataset("fashion-mnist", root=tmp_path)
    write_idx(tmp_path, 1, 1)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte\.gz"
    ):
        D.load_dataset("fashion-mnist", root=tmp_path)


def test_too_small_fashion_mnist(tmp_path):
    write_idx(tmp_path, 4, 2)
    with pytest.raises(
        ValueError, match="'paper' needs 600 images of each class, but class 'T-shirt/top' has only 6"
    ):
        D.load_dataset("fashion-mnist", root=tmp_path)


def test_damaged_idx_files(tmp_path):
    write_idx(tmp_path, 2, 2, ".gz")
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    plain = gzip.decompress(whole)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is damaged.*apt-get"):
        D.load_dataset("fashion-mnist", root=tmp_path)
    for raw, said in (
        (
            plain[:-1],
            r"is damaged: 15,679 bytes after its head, 15,680 are expected for shape \(20, 28, 28\)",
        ),
        (plain + b"x" * 9, "is damaged: at least 15,681 bytes"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "not an idx file"),  # 255 dimensions
        (
            struct.pack(">BBBB4I", 0, 0, 8, 4, *[1 << 16] * 4),
            "says it holds 18,446,744,073,709,551,616 bytes",
        ),
        (b"", "not an idx file"),
        (plain[:9], "not an idx file"),
        (b"\0\0\x0d" + plain[3:], "not an idx file"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 20, 14, 56) + plain[16:], r"has shape \(20, 14, 56\)"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 19, 28, 28) + plain[16:-784], r"its labels \(20,\)"),
    ):
        file.write_bytes(raw)
        with pytest.raises(ValueError, match=said):
            D.load_dataset("fashion-mnist", root=tmp_path)
    file.write_bytes(whole)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(
        struct.pack(">BBBBI", 0, 0, 8, 1, 20) + bytes([10] * 20)
    )
    with pytest.raises(ValueError, match="labels from 0 to 9"):
        D.load_dataset("fashion-mnist", root=tmp_path)


def peak_memory(call):
    """The most bytes of Python's and NumPy's memory while ``call`` runs."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_is_not_unpacked(tmp_path):
    """An idx file that unpacks to more than its head says is read no further than that."""
    head = struct.pack(">BBBB3I", 0, 0, 8, 3, 20, 28, 28)
    bomb = tmp_path / "train-images-idx3-ubyte.gz"
    bomb.write_bytes(gzip.compress(head + bytes(100_000_000), 1))

    def read():
        with pytest.raises(ValueError, match="at least 15,681 bytes after its head"):
            fashion.read_idx(bomb)

    assert peak_memory(read) < 10_000_000


@pytest.mark.parametrize("wrong", ["huge", "shape", "type", "names", "unequal", "object"])
def test_a_shipped_file_is_looked_at_before_it_is_unpacked(own, wrong):
    """Whatever the manifest says: a file of 200 kB can hold an array of gigabytes."""
    n = 200_000 if wrong == "huge" else 6
    arrays = {
        "images": np.zeros((n, 28, 28), np.uint8),
        "labels": np.zeros(n, np.uint8),
        "source_index": np.zeros(n, np.int32),
    }
    if wrong == "shape":
        arrays["images"] = arrays["images"].reshape(n, 784)
    if wrong == "type":
        arrays["labels"] = arrays["labels"].astype(np.int64)
    if wrong == "names":
        arrays["more"] = np.zeros(2)
    if wrong == "unequal":
        arrays["labels"] = arrays["labels"][1:]
    if wrong == "object":
        arrays["labels"] = np.array([Evil()] * n)
    np.savez_compressed(own / "fashion-mini.npz", **arrays)
    manifest = json.loads((own / "manifest.json").read_text())
    if wrong != "object":
        manifest["content_sha256"] = fashion.content_sha256(arrays)
    (own / "manifest.json").write_text(json.dumps(manifest))
    said = {
        "huge": r"images has shape \(200000, 28, 28\)",
        "shape": r"images has shape \(6, 784\)",
        "type": "labels has shape .* of int64",
        "names": "must hold images, labels, source_index and nothing else",
        "unequal": "not of one length",
        "object": "labels has shape .* of object",
    }[wrong]
    del arrays

    def read():
        with pytest.raises(ValueError, match=rf"fashion-mini\.npz is damaged: it cannot be read \(.*{said}"):
            fashion.read_fashion_mini()

    assert peak_memory(read) < 20_000_000


def test_a_file_larger_than_the_set_is_not_read(own):
    with (own / "fashion-mini.npz").open("r+b") as file:
        file.truncate(100_000_000)

    def read():
        with pytest.raises(ValueError, match=r"more than 16,777,216 bytes.*it has 100,000,000 bytes"):
            fashion.read_fashion_mini()

    assert peak_memory(read) < 10_000_000


# --- CIFAR-10 -----------------------------------------------------------------------------------------------


def vouch(folder, monkeypatch):
    """Let these files be the archive."""
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in cifar.CIFAR10_MD5}
    monkeypatch.setattr(cifar, "CIFAR10_MD5", sums)


def write_archive(folder, per_batch=20, protocol=2):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    made = []
    for name in (
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ):
        pixels = rng.integers(0, 256, (per_batch, 3072), dtype=np.uint8)
        labels = rng.permutation(np.arange(per_batch) % 10).tolist()
        batch = {
            b"batch_label": b"some",
            b"labels": labels,
            b"data": pixels,
            b"filenames": [b"a.png"] * per_batch,
        }
        with (folder / name).open("wb") as file:
            pickle.dump(batch, file, protocol=protocol)
        made.append((pixels, labels))
    return made


def write_folders(folder, train=4, test=2, end=".png"):
    rng = np.random.default_rng(1)
    made = []
    for part, count in (("train", train), ("test", test)):
        for label, name in enumerate(D.CIFAR10_CLASSES):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i:04}{end}")
                made.append((pixels, label))
    return made


@pytest.mark.parametrize("below", ["", "cifar-10-batches-py", "cifar10/cifar-10-batches-py"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_cifar_archive(tmp_path, monkeypatch, below, protocol):
    made = write_archive(tmp_path / "root" / below, protocol=protocol)
    vouch(tmp_path / "root" / below, monkeypatch)
    data = D.load_dataset("cifar10", root=tmp_path / "root", protocol=TINY)
    assert [len(getattr(data, part)) for part in PARTS] == [10, 20, 90]
    pixels = np.concatenate([x for x, _ in made])
    labels = np.concatenate([y for _, y in made])
    for part in PARTS:
        split = getattr(data, part)
        for i in range(0, len(split), 4):
            row = int(split.indices[i])
            red = pixels[row, :1024].reshape(32, 32)  # the archive's rows: red, green, blue planes
            assert (split.picture(i)[:, :, 0] == red).all()
            assert split.labels[i] == labels[row]
    image, _ = data.train[0]
    blue = pixels[int(data.train.indices[0]), 2048:].reshape(32, 32)
    np.testing.assert_allclose(image[2], (blue / 255.0 - 0.406) / 0.225, rtol=1e-5, atol=1e-6)
    assert data.protocol_record()["source"] == "the Python archive"
    assert (data.channels, data.image_size, data.class_names[3]) == (3, 32, "cat")


@pytest.mark.parametrize("below", ["", "cifar10"])
def test_cifar_folders(tmp_path, below):
    made = write_folders(tmp_path / below)
    data = D.load_dataset("cifar10", root=tmp_path, protocol=TINY_ALL, image_size=64)
    assert [len(getattr(data, part)) for part in PARTS] == [10, 20, 50]
    for part in PARTS:
        split = getattr(data, part)
        for i in range(len(split)):
            pixels, label = made[int(split.indices[i])]
            assert (split.picture(i) == pixels).all()
            assert split.labels[i] == label
    assert tuple(data.query[0][0].shape) == (3, 64, 64)
    assert data.protocol_record()["source"] == "PNG files"


def test_frozen_cifar_has_the_images_and_splits_of_cifar(tmp_path):
    write_folders(tmp_path)
    whole, frozen = (D.load_dataset(name, root=tmp_path, protocol=TINY_ALL, seed=3) for name in SAME)
    for part in PARTS:
        one, other = getattr(whole, part), getattr(frozen, part)
        assert one.indices.tolist() == other.indices.tolist()
        assert (one.pictures(range(len(one))) == other.pictures(range(len(other)))).all()
    config = base("cifar10-frozen")
    assert (config.network.frozen, config.training.cache_maps, config.data.image_size) == ("all", True, 224)
    assert config.data.dataset == "cifar10-frozen"


def test_a_fifth_of_cifar_is_the_same_for_every_seed(tmp_path):
    made = write_folders(tmp_path, train=16, test=4)
    seeds = [D.load_dataset("cifar10-fifth", root=tmp_path, protocol=TINY, seed=seed) for seed in (0, 1)]
    pictures = []
    for data in seeds:
        whole = [data.query, data.train, data.database]
        rows = torch.cat([split.indices for split in whole])
        assert sorted(rows.tolist()) == list(range(40))  # 4 of 20 in each of ten classes
        assert torch.cat([split.labels for split in whole]).bincount().tolist() == [4] * 10
        pixels = np.concatenate([split.pictures(range(len(split))) for split in whole])
        pictures.append(pixels[rows.argsort().numpy()])
    assert (pictures[0] == pictures[1]).all()
    assert seeds[0].query.indices.tolist() != seeds[1].query.indices.tolist()
    known = {pixels.tobytes() for pixels, _ in made}
    assert all(picture.tobytes() in known for picture in pictures[0])
    assert seeds[0].protocol_record()["source"] == "a fifth of PNG files"


def test_cifar_jpeg_is_called_lossy(tmp_path, monkeypatch):
    write_folders(tmp_path / "cifar10", end=".JPG")
    monkeypatch.setenv("DHIDA_ROOT", str(tmp_path))
    assert "from JPEG files (lossy)" in D.load_dataset("cifar10", protocol=TINY).describe()


def test_cifar_official_split(tmp_path):
    write_folders(tmp_path, train=4, test=2)
    official = Protocol("own", 2, 4, True, None, "", official_split=True)
    data = D.load_dataset("cifar10", root=tmp_path, protocol=official)
    assert sorted(data.query.indices.tolist()) == list(range(40, 60))
    assert sorted(data.train.indices.tolist()) == sorted(data.database.indices.tolist()) == list(range(40))


@pytest.mark.parametrize(
    "protocol, said",
    [
        (None, "'cifar10' needs 600 images of each class, but class 'airplane' has only 6"),
        ("cifar10-1", "'cifar10-1' needs 600 images"),
        ("cifar10-2", "'cifar10-2' needs 1,000 official test images"),
    ],
)
def test_too_small_cifar(tmp_path, protocol, said):
    write_folders(tmp_path)
    with pytest.raises(ValueError, match=said):
        D.load_dataset("cifar10", root=tmp_path, protocol=protocol)


def test_missing_cifar(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"looked in: .*CIFAR10\(root, download=True\).*train/<class>"
    ):
        D.load_dataset("cifar10", root=tmp_path)
    with pytest.raises(FileNotFoundError, match="`root` is None and DHIDA_ROOT is not set"):
        D.load_dataset("cifar10")


class Evil:
    def __reduce__(self):
        return print, ("this must not be printed",)


def test_the_archive_is_checked_before_it_is_read(tmp_path, monkeypatch):
    write_archive(tmp_path)
    said = (
        r"data_batch_1 is damaged or another file: its MD5 is [0-9a-f]{32}, c99cafc152244af753f735de768cd75f"
    )
    with pytest.raises(ValueError, match=said + r" is expected\. Get it with"):
        D.load_dataset("cifar10", root=tmp_path, protocol=TINY)
    vouch(tmp_path, monkeypatch)
    D.load_dataset("cifar10", root=tmp_path, protocol=TINY)
    file = tmp_path / "test_batch"
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1  # of a pixel: nothing but a checksum sees it
    file.write_bytes(raw)
    with pytest.raises(ValueError, match="test_batch is damaged or another file: its MD5"):
        D.load_dataset("cifar10", root=tmp_path, protocol=TINY)


def test_the_checksums_are_torchvisions():
    sets = pytest.importorskip("torchvision").datasets
    assert list(cifar.CIFAR10_MD5.items()) == [
        tuple(row) for row in sets.CIFAR10.train_list + sets.CIFAR10.test_list
    ]


def test_damaged_archive(tmp_path, capsys):
    write_archive(tmp_path)
    file = tmp_path / "data_batch_3"
    whole = file.read_bytes()
    good = pickle.loads(whole)
    pixels = good[b"data"]
    for raw, said in (
        (whole[:5000], "data_batch_3 is damaged.*download=True"),
        (b"", "data_batch_3 is damaged"),
        (pickle.dumps({b"data": Evil()}), r"asks for builtins\.print, which is no part of a batch of images"),
        (pickle.dumps([1, 2]), "is damaged"),
        (pickle.dumps({"data": pixels}), "labels"),
        (pickle.dumps({"data": pixels[:, 1:], "labels": good[b"labels"]}), r"shape \(20, 3071\)"),
        (pickle.dumps({"data": pixels, "labels": [10] * 20}), "not all of its 20 labels are integers from 0"),
        (
            pickle.dumps({"data": pixels, "labels": ["1"] * 20}),
            "not all of its 20 labels are integers from 0",
        ),
        (pickle.dumps({"data": pixels, "labels": pixels[:, 0]}), "its labels are no list"),
        (pickle.dumps({"data": pixels.astype("u2"), "labels": [1] * 20}), "its data are no array of bytes"),
        (pickle.dumps({"data": pixels.tobytes(), "labels": [1] * 20}), "its data are no array"),
        (pickle.dumps({(1, 2): pixels}), "has a tuple where text must stand"),
        (pickle.dumps({"data": 1.5}), "has the instruction BINFLOAT, which no batch of images needs"),
    ):
        file.write_bytes(raw)
        with pytest.raises(ValueError, match=said):
            cifar.read_cifar10(tmp_path, checked=False)
    assert capsys.readouterr().out == ""
    with file.open("wb") as out:
        out.truncate(100_000_000)
    with pytest.raises(ValueError, match="it has 100,000,000 bytes, more than"):
        cifar.read_cifar10(tmp_path, checked=False)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_3 is missing"):
        cifar.read_cifar10(tmp_path, checked=False)


class OutsideItsItem:
    """An array of a type whose one field lies a gigabyte behind its item: NumPy reads there."""

    def __reduce__(self):
        return reconstruct, (np.ndarray, (0,), b"b"), (1, (), Displaced(), False, bytes(8))


class Displaced:
    def __reduce__(self):
        fields = {"a": (np.dtype("i8"), 1 << 30)}
        return np.dtype, ("V8", False, True), (3, "|", None, ("a",), fields, 8, 1, 16)


reconstruct = np.zeros(1).__reduce__()[0]


def test_no_archive_ends_the_process(tmp_path):
    """Signal 11, once: a list of allowed names did not stop this one."""
    for name in cifar.CIFAR10_MD5:
        batch = {"data": np.zeros((1, 3072), np.uint8), "labels": [OutsideItsItem()]}
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=2))
    code = (
        "import inspect, sys\nfrom dhida_lib.data.cifar import read_cifar10\n"
        "known = inspect.signature(read_cifar10).parameters\n"
        "try:\n    read_cifar10(sys.argv[1], **({'checked': False} if 'checked' in known else {}))\n"
        "except ValueError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "not all of its 1 labels are integers from 0 to 9" in done.stdout


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pickletools")
def test_pickled_damage_is_a_batch_or_an_error(monkeypatch):
    """What comes is plain values or an exception, whatever the file says, also deep and endless ones."""
    batch = {"labels": [3, 4], "data": np.arange(6144, dtype=np.uint8).reshape(2, 3072), "name": b"x"}
    rng = np.random.default_rng(0)
    for protocol in (2, 3, 4, 5):
        whole = pickle.dumps(batch, protocol=protocol)
        read = pickled.read_pickled(whole)
        assert read["labels"] == [3, 4]
        assert (pickled.byte_array(read["data"]) == batch["data"]).all()
        for _ in range(200):
            raw = bytearray(whole)
            for at in rng.choice([*range(130), *range(len(raw) - 60, len(raw))], 2):
                raw[at] = rng.integers(256)
            try:
                made = pickled.byte_array(pickled.read_pickled(bytes(raw))["data"])
            except Exception:  # any will do: `read_cifar10` makes one of it that names the file
                continue
            assert made.dtype == np.uint8
    deep = b")" + b"\x85" * 200_000  # a tuple in a tuple in …
    pickled.read_pickled(b"\x80\2" + deep + b".")
    with pytest.raises(ValueError, match="it has a tuple where text must stand"):
        pickled.read_pickled(b"\x80\2}" + deep + b"K\1s.")
    monkeypatch.setattr(pickled, "_MOST", 1000)
    with pytest.raises(ValueError, match="it has more than 1,000 instructions"):
        pickled.read_pickled(b"\x80\2" + b"]" * 2000 + b".")


def test_batches_of_python_2(tmp_path):
    """As CIFAR-10's own files are written: strings without encoding, NumPy's old names, 0 and 1 as flags."""

    def text(s):
        return b"U" + bytes([len(s)]) + s

    made = {}
    for i, name in enumerate(cifar.CIFAR10_MD5):
        pixels = np.random.default_rng(i).integers(0, 256, (3, 3072), dtype=np.uint8)
        made[name] = pixels
        array = (
            b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\x09U\x01bq\x0a\x87Rq\x0b"
            b"(K\x01K\x03M\x00\x0c\x86cnumpy\ndtype\nq\x0cU\x02u1K\x00K\x01\x87Rq\x0d"
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
            b"T" + struct.pack("<I", pixels.nbytes) + pixels.tobytes() + b"tb"
        )
        (tmp_path / name).write_bytes(
            b"\x80\x02}q\x01(" + text(b"batch_label") + b"q\x02" + text(b"training batch") + b"q\x03"
            + text(b"labels") + b"q\x04]q\x05(K\x06K\x09K\x00e" + text(b"data") + b"q\x06" + array
            + text(b"filenames") + b"]q\x0e(" + text(b"a.png") + text(b"b.png") + b"eu."
        )  # fmt: skip
        assert pickle.loads((tmp_path / name).read_bytes(), encoding="bytes")[b"labels"] == [6, 9, 0]
    pixels, labels, _, _ = cifar.read_cifar10(tmp_path, checked=False)
    assert labels.tolist() == [6, 9, 0] * 6
    assert (pixels.reshape(18, 3072) == np.concatenate(list(made.values()))).all()


def test_archives_of_old_numpy_can_be_read(tmp_path):
    write_archive(tmp_path, protocol=2)
    raw = (tmp_path / "test_batch").read_bytes()
    old = raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "test_batch").write_bytes(old)
    pixels, *_ = cifar.read_cifar10(tmp_path, checked=False)
    assert pixels.shape == (120, 3, 32, 32)


def test_damaged_folders(tmp_path):
    write_folders(tmp_path, train=2, test=1)
    file = tmp_path / "train" / "dog" / "0001.png"
    Image.new("RGB", (31, 32)).save(file)
    with pytest.raises(ValueError, match=r"0001\.png has 31×32 pixels, 32×32 are expected"):
        D.load_dataset("cifar10", root=tmp_path)
    Image.new("RGB", (32, 32)).save(file, "PPM")
    with pytest.raises(ValueError, match=r"0001\.png is no image that can be read: it is none of JPEG, PNG"):
        D.load_dataset("cifar10", root=tmp_path)
    file.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"0001\.png is no image that can be read"):
        D.load_dataset("cifar10", root=tmp_path)
    for old in (tmp_path / "train" / "dog").iterdir():
        old.unlink()
    with pytest.raises(ValueError, match=r"dog holds no \.png or \.jpg image"):
        D.load_dataset("cifar10", root=tmp_path)
    (tmp_path / "train" / "dog").rename(tmp_path / "train" / "wolf")
    with pytest.raises(ValueError, match="missing or unknown: dog, wolf"):
        D.load_dataset("cifar10", root=tmp_path)
    shutil.rmtree(tmp_path / "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match="must hold one folder for each class"):
        D.load_dataset("cifar10", root=tmp_path)


def test_grey_pictures_become_colour(tmp_path):
    write_folders(tmp_path, train=4, test=1)
    Image.new("L", (32, 32), 77).save(tmp_path / "train" / "cat" / "0000.png")
    pixels, *_ = cifar.read_cifar10(tmp_path)
    assert (pixels[12] == 77).all()  # three classes of four images come before


@pytest.mark.skipif(
    not os.environ.get("DHIDA_TEST_CIFAR10"), reason="DHIDA_TEST_CIFAR10 names no CIFAR-10 folder"
)
def test_real_cifar():
    pixels, labels, test, source = cifar.read_cifar10(os.environ["DHIDA_TEST_CIFAR10"])
    assert pixels.shape == (60_000, 3, 32, 32)
    assert test.sum() == 10_000
    for protocol, sizes in (
        ("cifar10", (1000, 5000, 54_000)),
        ("cifar10-1", (1000, 5000, 59_000)),
        ("cifar10-2", (10_000, 50_000, 50_000)),
    ):
        rows = protocols.split_rows(labels, D.DATASETS["cifar10"].protocol(protocol), test_rows=test)
        assert tuple(len(rows[part]) for part in PARTS) == sizes
        assert not set(rows["query"]) & set(rows["database"])
    assert source


def test_a_batch_made_on_another_device_is_the_same(mini):
    here, labels = mini.train.batch([3, 1, 2])
    there, same = mini.train.batch([3, 1, 2], device=torch.device("cpu"))
    assert torch.equal(here, there)
    assert torch.equal(labels, same)
    shape, _ = mini.train.batch([3, 1], device=torch.device("meta"))
    assert (shape.device.type, shape.shape) == ("meta", (2, 1, 28, 28))
    other = next(iter(D.batches(mini.train, 4, augment="flip", device=torch.device("meta"))))
    assert (other[0].device.type, other[1].device.type) == ("meta", "cpu")


@pytest.mark.parametrize("size", [5, 13, 21, 40])
def test_resizing_by_a_product_is_interpolation(size):
    pixels = torch.randint(
        0, 256, (3, 3, 13, 13), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    split = D.Split(
        pixels, torch.arange(3), torch.arange(3), form(3, 13, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), size)
    )
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (split.preprocess.mean, split.preprocess.std))
    resized = F.interpolate(pixels / 255.0, (size, size), mode="bilinear", antialias=True)
    torch.testing.assert_close(split.batch(range(3))[0], (resized - mean) / std, atol=1e-5, rtol=1e-5)
    mirrored, _ = split.batch(range(3), flips=torch.tensor([True, False, True]))
    theirs = split.batch(range(3))[0]
    theirs[[0, 2]] = theirs[[0, 2]].flip(-1)
    torch.testing.assert_close(mirrored, theirs, atol=1e-5, rtol=1e-5)
