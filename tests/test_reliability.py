"""tools/reliability.py: it sees what it must see, holds in small, and its page is what was measured."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import reliability  # noqa: E402

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a child's clock")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return reliability.World(tmp_path_factory.mktemp("reliability") / "world")


def test_every_shipped_record_holds_its_hash():
    records = [*ROOT.glob("data/records/*/*.json"), *ROOT.glob("data/checkpoints/*/record.json")]
    without = [path.name for path in records if "card_sha256" not in json.loads(path.read_text())]
    assert len(records) > 100
    assert without == [], "write it with dhida_lib.save_record"


# ---- damage ------------------------------------------------------------------------------------------------


def test_changes_reach_every_region_and_change_something():
    raw = bytes(range(64))
    made = list(reliability.changes(raw, 8, random.Random(0)))
    flips, cuts = made[:8], made[8:]
    places = [next(i for i in range(64) if flip[i] != raw[i]) for flip in flips]
    assert [place // 8 for place in places] == list(range(8))
    assert all(sum((a ^ b).bit_count() for a, b in zip(raw, flip, strict=True)) == 1 for flip in flips)
    assert [len(cut) for cut in cuts] == [0, 16, 32, 48, 63]


def test_damage_of_shipped_files_is_refused(tmp_path):
    data = tmp_path / "data"
    for folder in ("fashion-mini", "checkpoints/fashion-mini-dhida-16"):
        shutil.copytree(ROOT / "data" / folder, data / folder)
    records = sorted((ROOT / "data" / "records" / "fashion-mini").glob("*.json"))[:2]
    (data / "records" / "fashion-mini").mkdir(parents=True)
    for record in records:
        shutil.copy(record, data / "records" / "fashion-mini")
    found = reliability.damage(data, 4, tmp_path / "work")
    assert found["files"] == 7
    assert found["refused"] + found["unchanged"] == 7 * 9
    assert found["refused"] > 40
    assert (found["unseen"], found["crashed"], found["faults"]) == (0, 0, [])


def test_a_reader_that_sees_nothing_or_crashes_is_found(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("2")
    assert reliability.answered(lambda path: path.read_text(), file, "1") == "unseen"
    assert reliability.answered(lambda path: path.read_text(), file, "2") == "unchanged"
    assert reliability.answered(lambda path: [][0], file, "1") == "crashed"
    assert reliability.answered(lambda path: int("x"), file, "1") == "refused"


# ---- children --------------------------------------------------------------------------------------------


@linux
def test_a_child_is_killed_at_its_moment():
    def busy() -> int:
        end = time.process_time() + 30
        while time.process_time() < end:
            pass
        return 0

    ended = reliability.forked(busy, 0.2)
    assert (ended.status, ended.answer) == (-9, None)
    assert 0.1 < ended.cpu < 10
    assert reliability.forked(lambda: [1, "a"]).answer == [1, "a"]
    failed = reliability.forked(lambda: [][0])
    assert (failed.status, failed.answer) == (70, None)
    assert "IndexError" in failed.errors


@linux
def test_a_killed_command_goes_on(world):
    found = reliability.killed(world, 1, ("encode",))
    assert found["encode"]["faults"] == []
    assert found["encode"]["same"] == 1
    assert found["encode"]["seconds"] > 0


@linux
def test_a_killed_command_that_makes_something_else_is_found(world, monkeypatch):
    results = iter(["one", "another"])
    monkeypatch.setattr(world, "call", lambda *given: reliability.Ended(0, 0, "", 1.0, 1.0))
    monkeypatch.setattr(world, "result", lambda *given: next(results))
    (world.top / "killed").mkdir()
    monkeypatch.setattr(reliability.shutil, "rmtree", lambda path: None)
    found = reliability.killed(world, 1, ("encode",))
    assert found["encode"]["same"] == 0
    assert reliability.faults({"killed": found})
    os.rmdir(world.top / "killed")


@linux
def test_a_full_disk_is_told_and_passes(world):
    found = reliability.full_disk(world, ("encode",), sizes=1)
    if "skipped" in found:
        pytest.skip(found["skipped"])
    assert found["encode"] == {"full": 1, "told": 1, "same": 1, "faults": []}


@linux
def test_two_writers_leave_one_result(world):
    found = reliability.two_writers(world, ("encode",), times=1)
    assert found["encode"]["faults"] == []
    assert found["encode"]["same"] == 1


@linux
def test_harmful_files_are_refused_and_nothing_is_executed(tmp_path):
    found = reliability.bombs(tmp_path / "bombs")
    assert [name for name, one in found["files"].items() if not one["refused"]] == []
    assert max(one["megabytes"] for one in found["files"].values()) < 500
    assert not found["executed"]


@linux
def test_a_payload_that_is_executed_is_seen(tmp_path):
    """The proof of the test above: unpickled carelessly, the file does what it says."""
    import pickle

    pickle.loads(pickle.dumps(reliability.Payload(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


# ---- the page --------------------------------------------------------------------------------------------


def test_the_page_is_what_was_measured():
    assert reliability.main(["check"]) == 0


def test_each_part_has_a_section():
    assert set(reliability.SECTIONS) == set(reliability.PARTS)


def test_what_does_not_hold_stands_on_the_page():
    found = json.loads((ROOT / reliability.DATA).read_text(encoding="utf-8"))
    assert reliability.faults(found) == []
    assert "What did not hold" not in reliability.page(found)
    found["damage"]["faults"] = ["a.json: unseen"]
    found["bombs"]["executed"] = True
    assert "- damage: a.json: unseen" in reliability.page(found)
    assert "bombs: something was executed" in reliability.faults(found)
