"""Codes in a LanceDB table: exact search, filters, updates, killed and parallel writers."""

import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.table import LanceTable, Tags

from dhida_lib.search import pack
from dhida_lib.search.store import CodeStore


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


def ids_of(store):
    return sorted(store._table.search().select(["id"]).limit(10**6).to_arrow()["id"].to_pylist())


def test_columns_of_each_type(tmp_path):
    columns = {"n": int, "score": float, "name": str, "good": bool}
    for _ in range(2):  # made, then found
        store = CodeStore(tmp_path, "t", 8, columns)
        store.add(made(2, 8), [1, 2], n=[3, -4], score=[0.5, -1e300], name=["a", "ä"], good=[True, False])
        row = store.search(made(2, 8)[1:], 1, where="score < 0")[0][0]
        assert {c: row[c] for c in columns} == {"n": -4, "score": -1e300, "name": "ä", "good": False}


def test_numbers_at_the_edge(tmp_path):
    store = CodeStore(tmp_path, "t", 8)
    d = made(3, 8)
    assert store.search(d, 2**31 - 1) == [[], [], []]
    edge = [-(2**63) + 1, 2**63 - 1, 0]
    store.add(d, edge)
    assert ids_of(store) == sorted(edge)
    assert store.missing(edge).tolist() == []
    assert store.missing([-(2**63) + 2, 2**63 - 1]).tolist() == [-(2**63) + 2]
    assert [len(found) for found in store.search(d, 2**31 - 1, probes=2**31 - 1)] == [3, 3, 3]
    assert store.keep_only(edge[1:]) == 1


def test_an_id_has_one_row_whoever_adds_it(tmp_path):
    d = made(400, 16)
    stores = [CodeStore(tmp_path, "t", 16, {"who": int}) for _ in range(3)]  # all opened when it is empty
    start = threading.Barrier(3)

    def work(who):
        start.wait()
        for part in np.array_split(np.arange(400), 8):
            stores[who].add(d[part], part, who=[who] * len(part))

    threads = [threading.Thread(target=work, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids_of(CodeStore(tmp_path, "t", 16)) == list(range(400))


def old_table(folder, d, times):
    """A table as it was made before the id was its key, in which two writers have doubled rows."""
    code = pa.list_(pa.uint8(), 2)
    table = lancedb.connect(folder).create_table("t", schema=pa.schema([("id", pa.int64()), ("code", code)]))
    values = pa.FixedSizeListArray.from_arrays(pa.array(pack(d).reshape(-1)), 2)
    for _ in range(times):
        table.add(pa.table({"id": np.arange(len(d)), "code": values}))


def test_tables_that_are_older_than_the_key(tmp_path):
    d = made(40, 16)
    old_table(tmp_path, d[:20], 2)
    stores = [CodeStore(tmp_path, "t", 16) for _ in range(2)]
    assert stores[0].keep_only(np.arange(10)) == 40  # strangers, and what stands there twice
    assert stores[0].missing(np.arange(20)).tolist() == list(range(20))
    start = threading.Barrier(2)
    failed = []

    def work(store):
        start.wait()
        try:
            store.add(d, np.arange(40))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert ids_of(CodeStore(tmp_path, "t", 16)) == list(range(40))


def manifests(folder, name):
    """Newest first: Lance counts down in their names."""
    return sorted((folder / f"{name}.lance" / "_versions").glob("*.manifest"))


def test_a_lost_version_is_not_passed_over(tmp_path):
    store, d = filled(tmp_path)
    reader = CodeStore(tmp_path, "photos", 20)
    for change in (
        lambda: store.append(d[:1], [1000], label=[1], file=["x"]),
        lambda: store.add(d[:1], [1001], label=[1], file=["x"]),
        lambda: store.update("id = 6", label=7),
        lambda: store.delete("id = 6"),
        lambda: store.keep_only(np.arange(5, 200)),
        lambda: store.build(4),
        lambda: store.compact(),
    ):
        change()
        newest = manifests(tmp_path, "photos")[0]
        newest.rename(tmp_path / "away")
        with pytest.raises(ValueError, match=r"'photos' in .* is damaged: version \d+ was written"):
            CodeStore(tmp_path, "photos", 20)
        (tmp_path / "away").rename(newest)
        assert len(reader) == len(CodeStore(tmp_path, "photos", 20)) == len(store)
    store.append(d[:1], [2000], label=[1], file=["x"])
    for manifest in manifests(tmp_path, "photos"):
        manifest.unlink()
    with pytest.raises(ValueError, match="is damaged"):  # and not a new, empty table
        CodeStore(tmp_path, "photos", 20, {"label": int, "file": str})


def test_an_open_reader_sees_that_a_version_is_lost(tmp_path):
    store, d = filled(tmp_path)
    reader = CodeStore(tmp_path, "photos", 20)
    store.delete("id = 6")
    manifests(tmp_path, "photos")[0].unlink()
    for ask in (
        lambda: len(reader),
        lambda: reader.search(d[:1], 1),
        lambda: reader.missing([6]),
        lambda: reader.delete("id = 7"),
        lambda: reader.update("id = 7", label=1),
        lambda: reader.add(d[:1], [1], label=[1], file=["x"]),
    ):
        with pytest.raises(ValueError, match=r"^The table 'photos' in .* is damaged"):
            ask()


def test_a_writer_killed_before_its_mark_is_no_damage(tmp_path, monkeypatch):
    store, _ = filled(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Tags, "update", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.delete("id = 5")
    again = CodeStore(tmp_path, "photos", 20)
    assert len(again) == 299
    again.delete("id = 6")
    assert again._marked() == again._table.version


def test_of_two_marks_the_newer_one_stays(tmp_path, monkeypatch):
    """Another process writes and marks after this one has written and before it marks."""
    store, _ = filled(tmp_path)
    other = CodeStore(tmp_path, "photos", 20)
    real = Tags.update

    def late(self, tag, version):
        monkeypatch.setattr(Tags, "update", real)
        other.delete("id = 6")
        real(self, tag, version)

    monkeypatch.setattr(Tags, "update", late)
    store.delete("id = 5")
    assert store._marked() == CodeStore(tmp_path, "photos", 20)._table.version == other._table.version


@pytest.mark.filterwarnings("ignore:optimize")
def test_compact_forgets_old_versions_though_one_was_marked(tmp_path, monkeypatch):
    store, d = filled(tmp_path)
    for i in range(3):
        store.append(d[:1], [1000 + i], label=[1], file=["x"])
    real = LanceTable.optimize

    def a_week_later(self, cleanup_older_than=timedelta(0)):
        return real(self, cleanup_older_than=cleanup_older_than)

    monkeypatch.setattr(LanceTable, "optimize", a_week_later)
    store.compact()
    assert len(manifests(tmp_path, "photos")) <= 2
    assert len(CodeStore(tmp_path, "photos", 20)) == 303


def test_compact_leaves_the_work_to_others_that_write(tmp_path, monkeypatch):
    store, _ = filled(tmp_path)

    def preempted(*args, **more):
        raise RuntimeError("lance error: Retryable commit conflict for version 3: … Please retry.")

    def broken(*args, **more):
        raise RuntimeError("lance error: no space left")

    monkeypatch.setattr(LanceTable, "optimize", preempted)
    store.compact()
    monkeypatch.setattr(LanceTable, "optimize", broken)
    with pytest.raises(RuntimeError, match="no space left"):
        store.compact()


def test_wrong_input_writes_nothing(tmp_path, monkeypatch):
    store, d = filled(tmp_path)
    good = {"label": [1, 2], "file": ["a", "b"]}
    for call, match in (
        (lambda: store.add(made(2, 19), [1, 2], **good), "`codes` must be codes n×20"),
        (lambda: store.add(np.zeros((2, 20)), [1, 2], **good), "codes of −1 and"),
        (lambda: store.add(d[:2], [1], **good), "one for each of the 2 codes"),
        (lambda: store.add(d[:2], [1, 1], **good), "each id once"),
        (lambda: store.add(d[:2], [1.5, 2], **good), r"integers \(n,\)"),
        (
            lambda: store.add(d[:2], np.array([2**63, 1], np.uint64), **good),
            "`ids` must be integers between −2⁶³ and 2⁶³",
        ),
        (
            lambda: store.missing(np.array([2**64 - 1], np.uint64)),
            "`ids` must be integers between −2⁶³ and 2⁶³",
        ),
        (
            lambda: store.keep_only(np.array([2**63], np.uint64)),
            "`ids` must be integers between −2⁶³ and 2⁶³",
        ),
        (lambda: store.missing([-(2**63)]), "`ids` must be integers between −2⁶³ and 2⁶³"),
        (lambda: store.missing([True, False]), r"integers \(n,\)"),
        (lambda: store.add(d[:2] > 0, [1, 2], **good), "codes of −1 and"),
        (lambda: store.search(np.float64(1), 1), "`codes` must be codes n×20"),
        (lambda: store.add(d[:2], [1, 2], label=[2**70, 1], file=["a", "b"]), "does not fit the table"),
        (lambda: store.add(d[:2], [1, 2], label=5, file=["a", "b"]), "`label` must be one for each"),
        (lambda: store.add(d[:2], [1, 2], label=[1, 2]), "the table's column 'file'"),
        (lambda: store.add(d[:2], [1, 2], **good, size=[1, 2]), "`columns` must be one of the table's own"),
        (lambda: store.add(d[:2], [1, 2], label=[1], file=["a", "b"]), "`label` must be one for each"),
        (lambda: store.add(d[:2], [1, 2], label=["x", "y"], file=["a", "b"]), "does not fit the table"),
        (lambda: store.update("id = 6", size=1), "`columns` must be one of"),
        (lambda: store.update("nonsense ===", label=1), "not understood"),
        (lambda: store.delete("colour = 'red'"), "not understood"),
        (lambda: store.delete("\ud800"), "not understood"),
        (lambda: store.delete(None), "`where` must be a condition in SQL"),
        (lambda: store.update(3, label=1), "`where` must be a condition in SQL"),
        (lambda: store.search(d[:1], 3, where=b"id = 3"), "`where` must be a condition in SQL"),
        (lambda: CodeStore(3, "x", 8), "`uri` must be a folder"),
        (lambda: CodeStore(tmp_path, 3, 8), "`name` must be a table's name"),
        (lambda: CodeStore(tmp_path, "x", 8, [int]), "`columns` must be a dictionary"),
        (lambda: CodeStore(tmp_path, "x", 8, {1: int}), "names of letters"),
        (lambda: CodeStore(tmp_path, "x", 8, {"a": []}), "of the types int, float"),
        (lambda: store.search(d[:1], 3, where="colour = 'red'"), "not understood"),
        (lambda: store.search(d[:1], 0), "`k` must be a positive integer"),
        (lambda: store.search(d[:1], 2**31), "`k` must be an integer of at most"),
        (lambda: store.search(d[:1], 1, probes=0), "`probes` must be a positive integer"),
        (lambda: store.build(0), "`lists` must be a positive integer"),
        (lambda: store.build(301), "`lists` must be at most the number of rows, 300"),
        (lambda: CodeStore(tmp_path, "photos", 30), "`bits` must be the length of the codes"),
        (lambda: CodeStore(tmp_path, "photos", 20, {"label": str, "file": str}), "the table's own"),
        (lambda: CodeStore(tmp_path, "x", 8, {"id": int}), "other than id and code"),
        (lambda: CodeStore(tmp_path, "x", 8, {"codes": int}), "and than ids, codes, where"),
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
from dhida_lib.search.store import CodeStore
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
