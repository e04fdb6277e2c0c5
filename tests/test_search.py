"""Packed codes and their search: against plain loops, with FAISS's traps."""

import itertools
import json
import os
import sys
import threading

import numpy as np
import pytest
import torch

from dhida_lib.search import CodeIndex, pack, unpack
from dhida_lib.search import index as search


def made(n, bits, seed=0, clusters=0):
    rng = np.random.default_rng(seed)
    if not clusters:
        return rng.integers(0, 2, (n, bits)) * 2 - 1
    centres = np.random.default_rng(99).integers(0, 2, (clusters, bits)) * 2 - 1
    noise = 1 - 2 * (rng.random((n, bits)) < 0.06)
    return centres[rng.integers(0, clusters, n)] * noise


def distances(q, d):
    return (q[:, None] != d[None]).sum(axis=2)


@pytest.mark.parametrize("bits", [1, 7, 8, 12, 48, 64, 100])
def test_pack_and_back(bits):
    codes = made(5, bits)
    packed = pack(codes)
    assert packed.shape == (5, -(-bits // 8))
    assert packed.dtype == np.uint8
    assert (unpack(packed, bits) == codes).all()
    for row, code in zip(packed, codes, strict=True):  # the first bit is the highest of its byte
        text = "".join("1" if b > 0 else "0" for b in code).ljust(8 * packed.shape[1], "0")
        assert [int(text[i : i + 8], 2) for i in range(0, len(text), 8)] == row.tolist()
    assert (pack(torch.from_numpy(codes)) == packed).all()


@pytest.mark.parametrize("bits", [5, 16, 20, 48, 64])
@pytest.mark.parametrize("clusters", [0, 30])
def test_search_is_exact(monkeypatch, bits, clusters):
    monkeypatch.setattr(search, "_TABLES_FROM", 100)
    q, d = made(20, bits, 1, clusters), made(700, bits, 2, clusters)
    ids = np.random.default_rng(3).permutation(5000)[:700]
    index = CodeIndex(bits)
    assert (index.add(d, ids) == ids).all()
    true = distances(q, d)
    where = {int(i): row for row, i in enumerate(ids)}
    for k in (1, 10, 700, 10_000):
        for row, found in zip(true, index.search(q, k), strict=True):
            assert found.distance.tolist() == np.sort(row)[:k].tolist()
            assert [row[where[int(i)]] for i in found.ids] == found.distance.tolist()
            assert len(set(found.ids.tolist())) == len(found.ids)
    for radius in (0, 1, 2, 3, 5, 6, bits):
        for row, found in zip(true, index.within(q, radius), strict=True):
            expected = sorted((int(row[j]), int(ids[j])) for j in np.flatnonzero(row <= radius))
            assert list(zip(found.distance.tolist(), found.ids.tolist(), strict=True)) == expected
    assert ("tables" in index._built) == (bits >= 24)


def test_pigeonhole_needs_the_thirds_to_be_exact():
    """Two changed bits in one third, one in another: radius 3 needs a flip, and gets it."""
    d = np.ones((search._TABLES_FROM, 48), int)
    d[:, :16] = made(len(d), 16)
    query = d[:1].copy()
    query[0, [0, 16, 32]] *= -1  # no third is left whole
    index = CodeIndex(48)
    index.add(d)
    assert 0 not in index.within(query, 2)[0].ids
    assert 0 in index.within(query, 3)[0].ids
    assert index._built["tables"].nflip == 1


@pytest.mark.parametrize("bits", [191, 192, 194, 195, 200, 256, 513])
def test_balls_of_long_codes_are_exact(bits):
    """A third of such a code is longer than the 64 bits that FAISS's tables compare."""
    rng = np.random.default_rng(bits)
    d = np.repeat(made(1, bits), search._TABLES_FROM, axis=0)
    for row in d:
        row[rng.choice(bits, rng.integers(0, 9), replace=False)] *= -1
    q = d[:10]
    index = CodeIndex(bits)
    index.add(d)
    true = distances(q, d)
    for radius in range(7):
        for row, found in zip(true, index.within(q, radius), strict=True):
            expected = sorted((int(row[j]), int(j)) for j in np.flatnonzero(row <= radius))
            assert list(zip(found.distance.tolist(), found.ids.tolist(), strict=True)) == expected
    assert "tables" in index._built


def test_numbers_at_the_edge():
    d, q = made(40, 24), made(3, 24, 1)
    most = 2**31 - 1
    index, near = CodeIndex(24), CodeIndex(24, lists=4, probes=most)
    index.add(d)
    near.add(d)
    everything = [f.distance.tolist() for f in index.within(q, 24)]
    assert [f.distance.tolist() for f in index.within(q, most)] == everything
    assert [f.distance.tolist() for f in index.search(q, most)] == everything
    assert [f.distance.tolist() for f in near.search(q, most)] == everything
    last = 2**63 - 1
    index.add(d[:1], np.array([last], dtype=np.uint64))
    assert last in index.search(d[:1], 2)[0].ids
    with pytest.raises(ValueError, match="`ids` must be given: the index holds id 9,223,372,036,854,775,807"):
        index.add(d[:1])


def test_add_and_remove():
    d = made(9, 12)
    index = CodeIndex(12)
    assert index.add(d[:4]).tolist() == [0, 1, 2, 3]
    assert index.add(d[4:6], [20, 10]).tolist() == [20, 10]
    assert index.add(d[6:]).tolist() == [21, 22, 23]
    assert index.search(d[4:5], 1)[0].ids.tolist() == [20]
    assert index.remove([20, 3, 999]) == 2
    assert index.remove(torch.tensor([20])) == 0
    assert len(index) == 7
    found = index.search(d[4:5], 100)[0]
    assert set(found.ids.tolist()) == {0, 1, 2, 10, 21, 22, 23}
    index.add(d[4:5], [3])
    assert index.search(d[4:5], 1)[0].ids.tolist() == [3]


def test_clusters_answer_nearly_as_the_scan_does():
    q, d = made(50, 64, 1, 20), made(4000, 64, 2, 20)
    exact, near = CodeIndex(64), CodeIndex(64, lists=20, probes=4)
    exact.add(d)
    near.add(d)
    recall = []
    for a, b in zip(exact.search(q, 50), near.search(q, 50), strict=True):
        assert (np.diff(b.distance) >= 0).all()
        recall.append((b.distance <= a.distance[-1]).mean())
    assert np.mean(recall) > 0.9
    one = CodeIndex(64, lists=20, probes=1)
    one.add(d)
    assert np.mean([len(f.ids) for f in one.search(q, 4000)]) < 2000  # it looked into one cluster only
    one.probes = 20  # takes effect at once
    assert {len(f.ids) for f in one.search(q, 4000)} == {4000}
    all_of_it = [f.distance.tolist() for f in near.within(q, 2)]  # balls stay exact
    assert all_of_it == [f.distance.tolist() for f in exact.within(q, 2)]


def test_save_and_load(tmp_path):
    d, q = made(30, 20), made(3, 20, 5)
    index = CodeIndex(20, lists=3, probes=2)
    index.add(d, np.arange(30) * 7)
    written = index.save(tmp_path / "shop.v1", {"model": "m"})
    assert written.name == "shop.v1.json"
    for path in (tmp_path / "shop.v1", written):
        again, about = CodeIndex.load(path)
        assert about == {"model": "m"}
        assert (again.bits, again.lists, again.probes, len(again)) == (20, 3, 2, 30)
        for a, b in zip(index.within(q, 6), again.within(q, 6), strict=True):
            assert a.ids.tolist() == b.ids.tolist()
    again.remove([0])
    again.save(tmp_path / "shop.v1")
    assert len(list(tmp_path.iterdir())) == 2  # the old codes are gone
    assert len(CodeIndex.load(written)[0]) == 29
    again.add(d[:1], [3])
    assert len(again) == 30  # what was loaded can be changed


def test_a_crash_between_the_files_leaves_the_old_index(tmp_path, monkeypatch):
    index = CodeIndex(8)
    index.add(made(5, 8))
    index.save(tmp_path / "x")
    index.add(made(5, 8, 1))

    def crash(*args):
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(search, "write_card", crash)
        with pytest.raises(OSError, match="power cut"):
            index.save(tmp_path / "x")
    assert len(CodeIndex.load(tmp_path / "x")[0]) == 5
    index.add(made(5, 8, 2))
    index.save(tmp_path / "x")
    assert len(list(tmp_path.iterdir())) == 2  # the codes that no card names are gone


def die_at(step):
    """This process ends at its n-th system call that changes a folder, as a killed one: nothing is tidied."""
    left = itertools.count(step, -1)

    def dying(real):
        def call(*args, **more):
            if next(left) == 0:
                os._exit(9)
            return real(*args, **more)

        return call

    for name in ("mkdir", "replace", "unlink", "rmdir", "fsync", "chmod"):
        setattr(os, name, dying(getattr(os, name)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_at_any_step_the_old_index_is_there_or_the_new_one(tmp_path):
    index = CodeIndex(8)
    index.add(made(5, 8))
    index.save(tmp_path / "x")
    sizes = []
    for step in range(100):
        index.add(made(1, 8, step))
        if (child := os.fork()) == 0:
            die_at(step)
            index.save(tmp_path / "x")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sizes.append(len(CodeIndex.load(tmp_path / "x")[0]) - len(index))
        index.save(tmp_path / "x")
        assert len(CodeIndex.load(tmp_path / "x")[0]) == len(index)
        assert len(list(tmp_path.iterdir())) == 2, f"step {step}"
        if status == 0:
            break
    assert step > 8
    assert sizes == sorted(sizes)  # first the old one, from some step on the new one
    assert set(sizes) == {-1, 0}


def test_saving_removes_only_what_its_own_card_named(tmp_path):
    others = {
        "photos-resnet18.safetensors": b"a model",
        "photos-deadbeef.safetensors": b"its name looks like ours",
        "photos-0123456789abcdef.safetensors": b"so does this",
        "photos2-deadbeef.safetensors": b"another index's",
        "photos[1]-deadbeef.safetensors": b"odd",
    }
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    index = CodeIndex(8)
    for _ in range(3):
        index.add(made(5, 8))
        index.save(tmp_path / "photos")
        index.save(tmp_path / "photos[1]")
    assert {name: (tmp_path / name).read_bytes() for name in others} == others
    assert len(list(tmp_path.iterdir())) == len(others) + 4
    copy = tmp_path / "copy.json"
    copy.write_bytes((tmp_path / "photos.json").read_bytes())
    index.remove([0])
    for name in ("photos", "copy", "photos"):
        kept = len(CodeIndex.load(copy)[0])
        index.save(tmp_path / name)
        assert len(CodeIndex.load(copy)[0]) == (14 if name == "copy" else kept)
        assert len(CodeIndex.load(tmp_path / "photos")[0]) == 14


def test_saving_replaces_no_file_that_is_no_index(tmp_path):
    index = CodeIndex(8)
    index.add(made(5, 8))
    for content in ('{"format": 1, "file": "model.safetensors"}', '{"name": "package"}', "[1]", "notes", ""):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(
            ValueError, match=r"`path` must be another name: x\.json is there and is no index"
        ):
            index.save(tmp_path / "x")
        assert [f.name for f in tmp_path.iterdir()] == ["x.json"]
        assert (tmp_path / "x.json").read_text() == content


def test_an_index_of_the_first_releases(tmp_path):
    """Its card has no hash, and its file's name eight digits of one."""
    index = CodeIndex(8)
    index.add(made(5, 8))
    card = index.save(tmp_path / "x")
    content = json.loads(card.read_text())
    del content["card_sha256"]
    old = tmp_path / f"x-{content['sha256'][:8]}.safetensors"
    (tmp_path / content["file"]).rename(old)
    card.write_text(json.dumps({**content, "file": old.name}))
    again, _ = CodeIndex.load(card)
    assert (again.packed == index.packed).all()
    again.add(made(1, 8))
    again.save(tmp_path / "x")
    assert not old.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_two_savers_and_a_reader_at_once(tmp_path):
    done, failed = threading.Event(), []

    def guarded(work):
        try:
            work()
        except Exception as error:
            failed.append(error)
            done.set()

    def save(who):
        index = CodeIndex(16)
        for i in range(40):
            if not i % 4:
                index = CodeIndex(16)  # the same content once more
            index.add(made(100 + who, 16, i % 4))
            index.save(tmp_path / "x", {"who": who})

    def read():
        while not done.is_set():
            index, about = CodeIndex.load(tmp_path / "x")
            assert len(index) % (100 + about["who"]) == 0  # not one's card with the other's codes

    CodeIndex(16).save(tmp_path / "x", {"who": 0})
    savers = [threading.Thread(target=guarded, args=(lambda who=who: save(who),)) for who in range(2)]
    reader = threading.Thread(target=guarded, args=(read,))
    for thread in (*savers, reader):
        thread.start()
    for thread in savers:
        thread.join()
    done.set()
    reader.join()
    assert failed == []
    assert len(list(tmp_path.iterdir())) == 2
    assert len(CodeIndex.load(tmp_path / "x")[0]) in (400, 404)


def test_every_flip_in_the_card_is_found_or_means_nothing(tmp_path):
    index = CodeIndex(12, lists=2)
    index.add(made(5, 12), [4, 8, 1, 9, 3])
    card = index.save(tmp_path / "x", {"model": "m", "files": {"4": ["/a", 1, 2]}})
    whole, found = card.read_bytes(), 0
    about = CodeIndex.load(card)[1]
    for at in range(len(whole)):
        card.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            again, told = CodeIndex.load(card)
        except (ValueError, FileNotFoundError):
            found += 1
        else:  # a space that became another one
            assert (told, again.bits, again.lists, again.probes) == (about, 12, 2, 16)
            assert (again.packed == index.packed).all()
            assert (again.ids == index.ids).all()
    assert found > 0.8 * len(whole)


def test_damaged_and_foreign_files(tmp_path):
    index = CodeIndex(8)
    index.add(made(5, 8))
    card = index.save(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        CodeIndex.load(tmp_path / "y")
    codes = next(tmp_path.glob("*.safetensors"))
    whole = codes.read_bytes()
    codes.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="is damaged: its SHA-256"):
        CodeIndex.load(card)
    codes.unlink()
    with pytest.raises(FileNotFoundError, match="is missing"):
        CodeIndex.load(card)
    content = json.loads(card.read_text())
    card.write_text(json.dumps({**content, "version": 2}))
    with pytest.raises(ValueError, match="is damaged: its SHA-256"):
        CodeIndex.load(card)
    codes.write_bytes(whole)
    del content["card_sha256"]  # as in an old card
    for change, match in (
        ({"version": 2}, "has version 2"),
        ({"format": "other"}, "is not an index of codes"),
        ({"codes": 6}, "does not hold 6 codes of 8 bits"),
        ({"bits": 16}, "does not hold 5 codes of 16 bits"),
        ({"bits": 0}, "`bits` must be a positive integer"),
        ({"bits": "8"}, "is damaged: bits must be there"),
        ({"file": None}, "is damaged: file must be there"),
        ({"about": []}, "is damaged: about must be there"),
    ):
        card.write_text(json.dumps({**content, **change}))
        with pytest.raises(ValueError, match=match):
            CodeIndex.load(card)
    card.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        CodeIndex.load(card)


def test_wrong_input(monkeypatch):
    for arguments, match in (
        ((0,), "`bits` must be a positive integer"),
        ((8, -1), "`lists` must be an integer ≥ 0"),
        ((8, 2, 0), "`probes` must be a positive integer"),
    ):
        with pytest.raises(ValueError, match=match):
            CodeIndex(*arguments)
    index = CodeIndex(8)
    with pytest.raises(ValueError, match="The index is empty"):
        index.search(made(1, 8), 1)
    index.add(made(4, 8))
    for call, match in (
        (lambda: index.add(made(2, 9)), r"`codes` must be codes n×8"),
        (lambda: index.add(np.zeros((2, 8))), "codes of −1 and"),
        (lambda: index.add(made(2, 8), [5]), "one for each of the 2 codes"),
        (lambda: index.add(made(2, 8), [5, 5]), "new ids ≥ 0, each once"),
        (lambda: index.add(made(2, 8), [0, 5]), "new ids ≥ 0, each once"),
        (lambda: index.add(made(2, 8), [-1, 5]), "new ids ≥ 0, each once"),
        (lambda: index.add(made(2, 8), [0.5, 5.0]), r"`ids` must be integers \(n,\)"),
        (lambda: index.remove([[1]]), r"`ids` must be integers \(n,\)"),
        (lambda: index.remove(np.array([False] * 3 + [True])), r"`ids` must be integers \(n,\)"),
        (lambda: index.remove(torch.tensor([True, False])), r"`ids` must be integers \(n,\)"),
        (lambda: index.add(made(2, 8), [True, False]), r"`ids` must be integers \(n,\)"),
        (
            lambda: index.remove(np.array([2**63], dtype=np.uint64)),
            "`ids` must be integers between −2⁶³ and 2⁶³",
        ),
        (lambda: index.remove([2**64]), "`ids` must be"),
        (lambda: index.add(made(2, 8), [2**63, 2**63 + 1]), "`ids` must be integers between −2⁶³ and 2⁶³"),
        (lambda: index.add(np.ones((2, 8), bool)), "codes of −1 and"),
        (lambda: index.search(torch.ones(2, 8, dtype=torch.bool), 1), "codes of −1 and"),
        (lambda: pack(np.full((2, 8), 1j)), "codes of −1 and"),
        (lambda: index.search(made(2, 8), 10**400), "`k` must be an integer of at most"),
        (lambda: index.within(made(2, 8), 2**31), "`radius` must be an integer of at most"),
        (lambda: CodeIndex(8, probes=2**63), "`probes` must be an integer of at most"),
        (lambda: index.search(made(2, 16), 1), "`codes`"),
        (lambda: index.search(made(2, 8), 0), "`k` must be a positive integer"),
        (lambda: index.within(made(2, 8), -1), "`radius` must be an integer ≥ 0"),
        (lambda: index.within(made(2, 8), 1.5), "`radius` must be an integer ≥ 0"),
        (lambda: pack(np.ones(8)), r"`codes` must be codes \(n×bits\)"),
        (lambda: unpack(pack(made(2, 12)), 20), "`packed` must be bytes n×3"),
        (lambda: unpack([[1]], 8), "`packed` must be bytes n×1"),
        (lambda: unpack(pack(made(2, 12)), "12"), "`bits` must be a positive integer"),
        (lambda: CodeIndex.load(3), "`path` must be a path"),
        (lambda: index.save(None), "`path` must be a path"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    assert len(index) == 4
    assert index.remove([]) == 0
    monkeypatch.setitem(sys.modules, "faiss", None)
    index.add(made(1, 8))
    with pytest.raises(ImportError, match="pip install faiss-cpu"):
        index.search(made(1, 8), 1)
