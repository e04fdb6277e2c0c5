"""Codes in a LanceDB table: exact search, filters, updates, killed and parallel writers."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dhida_lib.store import CodeStore


def made(n, bits, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, bits)) * 2 - 1


def filled(folder, bits=20, n=300):
    store = CodeStore(folder, "photos", bits, {"label": int, "file": str})
    d = made(n, bits)
    store.add(d, np.arange(n) + 5, label=[i % 3 for i in range(n)], file=[f"{i}.jpg" for i in range(n)])
    return store, d


@pytest.mark.parametrize("bits", [8, 20, 64])
def test_search_is_exact_without_an_index(tmp_path, bits):
    store, d = filled(tmp_path, bits)
    q = made(4, bits, 1)
    true = (q[:, None] != d[None]).sum(axis=2)
    for row, found in zip(true, store.search(q, 10), strict=True):
        assert [r["distance"] for r in found] == np.sort(row)[:10].tolist()
        for r in found:
            i = r["id"] - 5
            assert row[i] == r["distance"]
            assert (r["label"], r["file"]) == (i % 3, f"{i}.jpg")
    for row, found in zip(true, store.search(q, 10, where="label = 1"), strict=True):
        assert [r["distance"] for r in found] == np.sort(row[np.arange(300) % 3 == 1])[:10].tolist()
        assert {r["label"] for r in found} == {1}
    assert len(store.search(q[:1], 1000)[0]) == 300


def test_add_replaces_update_changes_delete_removes(tmp_path):
    store, d = filled(tmp_path)
    store.add(-d[:2], [5, 1000], label=[9, 9], file=["new", "newer"])
    assert len(store) == 301
    assert store.search(-d[:1], 1)[0][0]["file"] == "new"
    store.update("id = 6", label=7, file="moved")
    found = store.search(d[1:2], 1)[0][0]
    assert (found["id"], found["label"], found["file"]) == (6, 7, "moved")
    store.delete("label = 9")
    assert len(store) == 299
    assert store.missing([5, 6, 1000, 7]).tolist() == [5, 1000]
    assert store.missing(np.array([], dtype=np.int64)).tolist() == []
    again = CodeStore(tmp_path, "photos", 20)  # opened by another reader
    assert len(again) == 299
    assert again.columns == {"label": "int64", "file": "string"}


def test_keep_only_and_compact(tmp_path):
    store, d = filled(tmp_path, 16, 2500)
    for i in range(5):
        store.append(d[i : i + 1], [9000 + i], label=[1], file=["x"])
    assert store.keep_only(np.arange(5, 5 + 1200)) == 1300 + 5
    store.compact()
    assert len(store) == 1200
    assert store.missing(np.arange(5, 1205)).tolist() == []
    found = store.search(d[1199:1200], 1)[0][0]
    assert (found["distance"], found["file"][-4:]) == (0, ".jpg")
    assert store.keep_only(np.arange(5, 1205)) == 0


def test_an_open_store_sees_what_others_write(tmp_path):
    reader, writing = CodeStore(tmp_path, "t", 16), CodeStore(tmp_path, "t", 16)
    codes = made(4, 16)
    writing.append(codes, np.arange(4))
    assert reader.search(codes[:1], 1)[0][0]["id"] == 0
    writing.append(codes[:1], [9])
    assert len(reader) == 5


def test_an_index_of_clusters(tmp_path):
    store, d = filled(tmp_path, 64, 2000)
    store.build(8)
    exact = (d[:5, None] != d[None]).sum(axis=2)
    for row, found in zip(exact, store.search(d[:5], 10, probes=8), strict=True):
        assert [r["distance"] for r in found] == np.sort(row)[:10].tolist()  # all clusters: exact
    store.append(d[:1], [9999], label=[0], file=["late"])
    assert {r["id"] for r in store.search(d[:1], 2, probes=8)[0]} == {5, 9999}  # written later, found too


def test_wrong_input_writes_nothing(tmp_path, monkeypatch):
    store, d = filled(tmp_path)
    good = {"label": [1, 2], "file": ["a", "b"]}
    for call, match in (
        (lambda: store.add(made(2, 19), [1, 2], **good), "`codes` must be codes n×20"),
        (lambda: store.add(np.zeros((2, 20)), [1, 2], **good), "codes of −1 and"),
        (lambda: store.add(d[:2], [1], **good), "one for each of the 2 codes"),
        (lambda: store.add(d[:2], [1, 1], **good), "each id once"),
        (lambda: store.add(d[:2], [1.5, 2], **good), r"integers \(n,\)"),
        (lambda: store.add(d[:2], [1, 2], label=[1, 2]), "the table's column 'file'"),
        (lambda: store.add(d[:2], [1, 2], **good, size=[1, 2]), "`columns` must be one of the table's own"),
        (lambda: store.add(d[:2], [1, 2], label=[1], file=["a", "b"]), "`label` must be one for each"),
        (lambda: store.add(d[:2], [1, 2], label=["x", "y"], file=["a", "b"]), "does not fit the table"),
        (lambda: store.update("id = 6", size=1), "`columns` must be one of"),
        (lambda: store.update("nonsense ===", label=1), "not understood"),
        (lambda: store.delete("colour = 'red'"), "not understood"),
        (lambda: store.search(d[:1], 3, where="colour = 'red'"), "not understood"),
        (lambda: store.search(d[:1], 0), "`k` must be a positive integer"),
        (lambda: store.search(d[:1], 1, probes=0), "`probes` must be a positive integer"),
        (lambda: store.build(0), "`lists` must be a positive integer"),
        (lambda: store.build(301), "`lists` must be at most the number of rows, 300"),
        (lambda: CodeStore(tmp_path, "photos", 30), "`bits` must be the length of the codes"),
        (lambda: CodeStore(tmp_path, "photos", 20, {"label": str, "file": str}), "the table's own"),
        (lambda: CodeStore(tmp_path, "x", 8, {"id": int}), "other than id and code"),
        (lambda: CodeStore(tmp_path, "x", 8, {"a b": int}), "names of letters"),
        (lambda: CodeStore(tmp_path, "x", 8, {"a": list}), "of the types int, float"),
        (lambda: CodeStore(tmp_path, "x", 0), "`bits` must be a positive integer"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    assert len(store) == 300
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ImportError, match="pip install lancedb"):
        CodeStore(tmp_path)


WRITER = """
import sys, numpy as np
from dhida_lib.store import CodeStore
folder, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = CodeStore(folder, "parts", 16, {"label": int})
codes = np.random.default_rng(0).integers(0, 2, (10_000, 16)) * 2 - 1
todo = store.missing(np.arange(first, last))
for part in np.array_split(todo, max(1, len(todo) // 50)):
    store.append(codes[part], part, label=part % 7)
    print(len(store), flush=True)
"""


def writer(folder, first, last):
    line = [
        sys.executable,
        "-c",
        WRITER.replace("{{", "{").replace("}}", "}"),
        str(folder),
        str(first),
        str(last),
    ]
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_writer_leaves_whole_parts_and_goes_on(tmp_path):
    process = writer(tmp_path, 0, 5000)
    for _ in range(4):
        process.stdout.readline()
    time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = CodeStore(tmp_path, "parts", 16)
    before = len(store)
    assert 200 <= before < 5000
    assert before % 50 == 0  # no part is half there
    assert store.missing(np.arange(5000)).tolist() == list(range(before, 5000))
    again = writer(tmp_path, 0, 5000)
    again.communicate()
    assert again.returncode == 0
    store = CodeStore(tmp_path, "parts", 16)
    assert len(store) == 5000
    codes = np.random.default_rng(0).integers(0, 2, (10_000, 16)) * 2 - 1
    found = store.search(codes[4321:4322], 50)[0]
    assert 4321 in [r["id"] for r in found if r["distance"] == 0]
    assert all(r["label"] == r["id"] % 7 for r in found)


def test_two_processes_write_at_the_same_time(tmp_path):
    CodeStore(tmp_path, "parts", 16, {"label": int})
    both = [writer(tmp_path, 0, 1000), writer(tmp_path, 1000, 2000)]
    for process in both:
        process.communicate()
        assert process.returncode == 0
    store = CodeStore(tmp_path, "parts", 16)
    assert len(store) == 2000
    assert store.missing(np.arange(2000)).tolist() == []
