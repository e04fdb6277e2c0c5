"""Everything public, called at random: an answer, or one clear sentence. Planted faults are found."""

from __future__ import annotations

import time

import fuzzing
import numpy as np
import pytest
import torch
from fuzz_values import GOOD, World
from fuzzing import LEFT_OUT, SLOW, TRUSTED, Door, call, fuzz, listed, sandbox

from dhida_lib._validate import positive_int
from dhida_lib.metrics import histograms, measures

CALLS, SEED = 200, 0
DOORS = fuzzing.doors()
ABSENT = {
    "Cifar10*.read": "CIFAR-10 does not ship",
    "read_cifar10": "CIFAR-10 does not ship",
}
"""Doors that refuse every call here → why."""


@pytest.fixture(scope="module")
def world():
    with sandbox() as made:
        yield made


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_every_call_gives_an_answer_or_one_clear_sentence(door: Door, world: World):
    counts, faults = fuzz(door, world, CALLS, SEED)
    assert not faults, "\n" + "\n".join(map(str, faults))
    if not listed(door.name, [*ABSENT, *SLOW]):
        assert counts["answered"], f"no call was sensible: tell fuzz_values.GOOD what {door.name} takes"


def test_lists_name_what_there_is():
    every = fuzzing.everything()
    for patterns in (LEFT_OUT, SLOW, ABSENT):
        for pattern in patterns:
            assert any(listed(name, [pattern]) for name in every), pattern
    parameters = {p.name for door in DOORS for p in door.parameters}
    places = {f"{door.name}.{p.name}" for door in DOORS for p in door.parameters}
    places |= {f"{door.name}.{stars}" for door in DOORS for stars in ("*", "**")}
    assert set(GOOD) <= parameters | places
    for pattern in TRUSTED:
        assert any(listed(name, [pattern]) for name in places | set(every)), pattern


# ---- planted faults --------------------------------------------------------------------------------------


def fails_inside(n: int) -> int:
    return [0, 1][n if type(n) is int else 7]


def speaks_foreign_words(n: int) -> int:
    return len(np.zeros(n if type(n) is int and 0 < n < 9 else -1))


def never_ends(n: int) -> int:
    while True:
        time.sleep(0.01)


def takes_memory(n: int) -> int:
    return len(np.ones(30_000_000).tobytes())


def fine(n: int) -> int:
    return positive_int("n", n)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (fails_inside, "IndexError"),
        (speaks_foreign_words, "ValueError: negative dimensions"),
        (never_ends, "Hang"),
        (takes_memory, "took"),
        (fine, None),
    ],
)
def test_planted_faults_are_found(function, found, world, monkeypatch):
    monkeypatch.setattr(fuzzing, "SECONDS", 0.2 if function is never_ends else 20)
    monkeypatch.setattr(fuzzing, "MEGABYTES", 200)
    door = Door(function.__name__, function)
    faults = [call(door, world, f"{SEED}/{i}")[1] for i in range(1 if found in ("Hang", "took") else 50)]
    said = [fault.what for fault in faults if fault]
    if found is None:
        assert not said
    else:
        assert any(found in what for what in said), said


def test_a_library_that_says_nothing_is_found(world, monkeypatch):
    """The measures without their checks: what came out before they had them is a fault."""
    monkeypatch.setattr(histograms, "tensor", lambda name, x: torch.as_tensor(x))
    monkeypatch.setattr(measures, "positive_int", lambda name, n: n)
    door = next(d for d in DOORS if d.name == "mean_average_precision")
    _, faults = fuzz(door, world, 100, SEED)
    assert {fault.what.split(":")[0] for fault in faults} >= {"TypeError", "RuntimeError"}


def test_the_same_seed_makes_the_same_calls(world):
    door = next(d for d in DOORS if d.name == "as_labels")
    assert fuzz(door, world, 50, 7)[0] == fuzz(door, world, 50, 7)[0]
    assert fuzz(door, world, 50, 7)[0] != fuzz(door, world, 50, 8)[0]


def test_the_command_says_what_it_did(capsys):
    assert fuzzing.main(["--minutes", "0", "--seed", "3", "--calls", "5", "--only", "metrics"]) == 0
    assert "0 doors" in capsys.readouterr().out
    assert fuzzing.main(["--minutes", "0", "--seed", "3", "--calls", "20", "--only", "similarity"]) == 0
    said = capsys.readouterr().out
    assert "1 doors, from seed 3" in said
    assert "20 calls of 1 doors in 1 rounds" in said
    assert "0 faults" in said
