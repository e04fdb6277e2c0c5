"""Whatever is written on the command line: one sentence and status 2, or the work is done."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from dhida_lib import __main__ as command_line
from dhida_lib.__main__ import main
from dhida_lib.data import Preprocess
from dhida_lib.experiments import schedule
from dhida_lib.models import HashNetwork
from dhida_lib.records import Record, save_record
from dhida_lib.runs import PROFILES, RunConfig
from dhida_lib.search.photos import encode_folder

DEEP = "[" * 100_000
LESS_DEEP = "[" * 400 + "]" * 400  # JSON reads it
LONG = "a" * 5000

# A setting, and values that no run can have. Each stands in a line of its own.
SETTINGS = {
    "data": ["3", "[]", "{}", "null", '{"dataset": "fashion-mini"}'],
    "network": ["3", "[]", "{}", "null", '{"bits": 8}'],
    "loss": ["3", "[]", "{}", "null", '{"method": "dhida"}'],
    "dataset": ["3", "[]", "{}", "null", "true", "nothing", f'"{LONG}"'],
    "folder": ["3", "[]", "{}", "true", "@nothing", "@file", "@empty", f'"{LONG}"', '"\\u0000"'],
    "protocol": ["3", "[]", "{}", "true", "nothing"],
    "split_seed": ['"x"', "[]", "null", "-1", "1.5", "true"],
    "image_size": ['"x"', "[]", "0", "-3", "1.5", "true", "1e400"],
    "held_out": ["x", "[]", "null", "-0.1", "1", "1e400", "NaN", "true"],
    "method": ["3", "[]", "null", "{}", "nothing"],
    "bits": ["x", "[]", "null", "0", "-1", "1.5", "true", "1e400"],
    "backbone": ["3", "[]", "null", "{}", "nothing"],
    "attention": ["3", "[]", "null", "{}", "nothing"],
    "weights": ["3", "[]", "{}", "true", "nothing", f'"{LONG}"', '"\\u0000"', '"\\ud800"', "@folder"],
    "init_std": ["x", "[]", "null", "0", "-1", "1e400", "NaN", "true"],
    "reduce": ["3", "[]", "null", "{}", "nothing"],
    "fusion": ["3", "[]", "null", "{}", "nothing"],
    "width": ["x", "[]", "null", "0", "-1", "1.5", "true"],
    "frozen": ["3", "[]", "{}", "true", "nothing"],
    "neck": ["x", "[]", "{}", "0", "-1", "1.5", "true"],
    "pairs": ["3", "[]", "null", "{}", "nothing"],
    "options": [
        *("3", "[]", "null", "x", '{"nothing": 1}', '{"bits": 8}', '{"name": "dsh"}', '{"num_train": 3}'),
        *('{"gamma": "x"}', '{"gamma": []}', '{"gamma": null}', '{"gamma": -1}', '{"activation": 3}'),
        *('{"activation": []}', '{"empty_rows": {}}', f'{{"gamma": {LESS_DEEP}}}'),
    ],
    "loss_options": ["3", '{"nothing": 1}'],  # as it was called before
    "training": ["3", "[]", "{}", "null", '{"epochs": 3}'],
    "train": ["3"],
    "epochs": ["x", "[]", "null", "0", "-1", "1.5", "true"],
    "batch_size": ["x", "[]", "null", "0", "-1", "1.5", "true"],
    "lr": ["x", "[]", "null", "0", "-1", "1e400", "NaN", "true"],
    "weight_decay": ["x", "[]", "null", "-1", "1e400", "NaN"],
    "optimizer": ["3", "[]", "null", "{}", "nothing"],
    "backbone_rate": ["x", "[]", "null", "-1", "1e400", "NaN"],
    "schedule": ["3", "[]", "null", "{}", "nothing"],
    "warmup": ["x", "[]", "null", "-1", "1e400", "NaN"],
    "augment": ["3", "[]", "null", "{}", "nothing"],
    "seed": ["x", "[]", "null", "-1", "1.5", "true"],
    "device": ["3", "[]", "{}", "null", "nothing", "cuda:99", '""'],
    "precision": ["3", "[]", "null", "{}", "nothing"],
    "channels_last": ["3", "[]", "null", "x"],
    "compile": ["3", "[]", "null", "x"],
    "accumulate": ["x", "[]", "null", "0", "-1", "1.5"],
    "data_on_device": ["3", "[]", "null", "x"],
    "cache_maps": ["3", "[]", "null", "x", "true"],  # nothing is frozen
    "nothing": ["3"],
    "": ["3"],
}
TRAIN = ["train", "--out", "@out", "--set", "held_out=0.9", "--set", "width=4", "--set", "epochs=1"]
ENCODE = ["encode", "@folder", "--model", "@model", "--index", "@index"]
SEARCH = ["search", "@folder/1.png", "--model", "@model", "--index", "@index"]
TABLE = ["reproduce", "table3", "--dataset", "fashion-mini", "--records", "@out", "--work", "@out/w"]

LINES: list[list[str]] = [
    *([*TRAIN, "--set", f"{name}={value}"] for name, values in SETTINGS.items() for value in values),
    *([*TRAIN, "--set", text] for text in ("x", "=", "", f"bits={DEEP}", f"bits={'9' * 5000}", f"{LONG}=3")),
    # places that cannot be what they should be
    *([*TRAIN[:1], "--out", out, *TRAIN[3:]] for out in ("@file", "@file/below", f"@out/{LONG}")),
    *(["pretrain", "--out", out, "--set", "epochs=1"] for out in ("@file", "@file/below", f"@out/{LONG}")),
    [*TRAIN, "--set", "dataset=fashion-mnist", "--root", "@file"],
    [*TRAIN, "--set", "dataset=cifar10", "--root", "@nothing"],
    [*TRAIN, "--set", "dataset=cifar10", "--root", LONG],
    [*TRAIN, "--set", "dataset=folder", "--root", "@file"],
    [*TRAIN, "--set", "dataset=nus-wide-21", "--root", "@folder"],
    *([*TABLE[:4], "--records", place, "--work", "@out/w"] for place in ("@file", f"@out/{LONG}")),
    *([*TABLE[:6], "--work", place] for place in ("@file", f"@out/{LONG}")),
    *(["repeat", "@record", "--out", place] for place in ("@file", "@file/below", f"@out/{LONG}")),
    [*TABLE[:4], "--records", "@cards", "--dry-run"],
    # numbers and names of the other commands
    *(
        [*TABLE, *more]
        for more in (["--jobs", "0"], ["--jobs", "x"], ["--bits", "0"], ["--bits", "9" * 5000])
    ),
    *([*TABLE, *more] for more in (["--rows", "nothing"], ["--seeds", "-1"], ["--seeds", "1.5"])),
    *([*TABLE, *more] for more in (["--budget", "-1"], ["--budget", "nan"], ["--budget", "inf"])),
    *([*TABLE, "--init-std", std] for std in ("-1", "nan", "inf", "x")),
    *([*TABLE, "--set", text] for text in ("options=3", "training=3", "method=3", "weights=3", "lr=x")),
    *([*ENCODE, "--device", device] for device in ("nothing", "cuda:99", "", "\x00", LONG)),
    *([*SEARCH, *more] for more in (["-k", "0"], ["-k", "-1"], ["-k", "x"], ["--within", "-1"])),
    [*SEARCH, "--where", "x"],
    *(["encode", folder, *ENCODE[2:]] for folder in ("@nothing", "@file", "@empty", LONG, "", "\x00")),
    *(["search", image, *SEARCH[2:]] for image in ("@nothing", "@file", "@folder", LONG, "", "\x00")),
    *([*command[:5], index] for command in (ENCODE, SEARCH) for index in ("@broken", LONG, "", "\x00")),
    [*SEARCH[:5], "@folder"],
    ["evaluate", "@model", "--dataset", "nothing"],
    ["evaluate", "@model", "--dataset", "fashion-mini", "--protocol", "nothing"],
    ["evaluate", "@model", "--dataset", "fashion-mini"],  # its images are grey
    ["evaluate", "@model", "--device", "nothing"],
    *(
        [command]
        for command in ("train", "evaluate", "reproduce", "repeat", "encode", "search", "nothing", "")
    ),
    [],
]
CARDS = {  # what may stand in a file that is given as a model and as a record
    "empty": b"",
    "bytes": bytes(range(256)),
    "null": b"null",
    "number": b"3",
    "text": b'"text"',
    "list": b"[1, 2]",
    "object": b"{}",
    "deep": DEEP.encode(),
    "digits": b"9" * 5000,
    "nan": b'{"format": NaN}',
}
DAMAGE = [3, "x", [], {}, None]  # what a part of a card may have become
PARTS = {
    "model": ("format", "file", "sha256", "model", "preprocess", "about"),
    "record": ("config", "metrics", "machine"),
}


def damaged(card: dict, parts: Iterable[str]) -> dict[str, bytes]:
    """The card with each of its parts in turn replaced by something else, or gone."""
    made = {f"{part}-gone": {k: v for k, v in card.items() if k != part} for part in parts}
    for part in parts:
        others = [value for value in DAMAGE if type(value) is not type(card[part])]
        made |= {f"{part}-{json.dumps(value)}": {**card, part: value} for value in others}
    return {name.replace('"', ""): json.dumps(card).encode() for name, card in made.items()}


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """What stands behind the words with an @."""
    top = tmp_path_factory.mktemp("hostile")
    for name in ("folder", "empty", "cards/fashion-mini"):
        (top / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(top / "folder" / f"{i}.png")
    (top / "file").write_text("a file, where a folder is wanted")
    torch.manual_seed(0)
    network = HashNetwork("narrow-resnet", "none", 8, in_channels=3, width=4)
    network.preprocess = Preprocess(3, 12)
    model = network.save(top / "model", config=PROFILES["fast"].as_dict())
    encode_folder(top / "folder", model, top / "index")
    encode_folder(top / "folder", model, top / "broken")
    (top / "broken.json").write_text(DEEP)
    tiny = PROFILES["fast"].change(width=2, epochs=1, held_out=0.9, augment="none")
    record = save_record(
        Record(json.loads(json.dumps(tiny.as_dict())), {}, {"map": 0.5}, [], 1.0, {}, "0"),
        top / "record.json",
    )
    (top / "cards" / "fashion-mini" / "a.json").write_text("3")
    (top / "made").mkdir()
    for name, content in CARDS.items():
        (top / "made" / f"{name}.json").write_bytes(content)
    shutil.copy(top / json.loads(model.read_text())["file"], top / "made")
    for kind, path in (("model", model), ("record", record)):
        card = {k: v for k, v in json.loads(path.read_text()).items() if not k.startswith("card_")}
        for name, content in damaged(card, PARTS[kind]).items():
            (top / "made" / f"{kind}-{name}.json").write_bytes(content)
    names = ("folder", "empty", "file", "nothing", "out", "index", "broken", "cards", "made")
    return {**{f"@{name}": str(top / name) for name in names}, "@model": str(model), "@record": str(record)}


STEERS = {*map(chr, range(32)), "\x7f", "\x9b", "\u202e"}  # a terminal obeys these


def refused(line: list[str], places: dict[str, str], capsys) -> str:
    """Give a line to `main` and make sure of status 2 and one sentence, which is returned."""
    for word in sorted(places, key=len, reverse=True):
        line = [part.replace(word, places[word]) for part in line]
    capsys.readouterr()
    try:
        status = main(line)
        alone = True
    except SystemExit as end:  # the parser says how the command is used, then what is wrong
        status, alone = end.code, False
    said = capsys.readouterr()
    assert status == 2, (status, said)
    *usage, last = said.err.splitlines()
    assert "error: " in last
    assert len(last) < 1500 or not alone
    assert usage == [] if alone else usage[0].startswith("usage: ")
    assert not set(last) & STEERS
    return last


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line[:1] + line[-1:])[:60] or "none")
def test_a_wrong_line_is_one_sentence(line, places, capsys):
    refused(line, places, capsys)


def test_every_setting_is_among_them():
    assert set(SETTINGS) >= {*RunConfig().as_dict(), *RunConfig().flat()}


@pytest.mark.parametrize("command", ["evaluate", "search", "repeat"])
def test_a_damaged_card_is_one_sentence(command, places, capsys):
    files = sorted(Path(places["@made"]).glob("*.json"))
    assert len(files) > 40
    for file in files:
        more = ["--model", str(file), "--index", "@index"]
        refused(
            ["search", "@folder/1.png", *more] if command == "search" else [command, str(file)],
            places,
            capsys,
        )


@pytest.mark.parametrize("name", [*RunConfig().as_dict(), *RunConfig().flat()])
def test_a_setting_of_the_wrong_kind_is_named(name):
    """By the configuration itself: nothing is read or trained before."""
    for wrong in (object(), [[]], 3 + 4j, float("nan")):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            RunConfig().change(**{name: wrong})


@pytest.mark.parametrize(
    "error",
    [
        *(
            kind("a fault")
            for kind in (OSError, TypeError, KeyError, RuntimeError, AttributeError, MemoryError)
        ),
        *(kind("a fault") for kind in (OverflowError, RecursionError, ZeroDivisionError, StopIteration)),
        SafetensorError("a fault"),
        AssertionError(),
        OSError(errno.ENOSPC, "No space left on device", "model.safetensors"),
        RuntimeError("many\nlines\n" * 1000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_goes_wrong_is_status_2(error, places, capsys, monkeypatch):
    """Also in `repeat`, whose 1 says that a record did not repeat."""

    def fails(*args, **more):
        raise error

    for module in (command_line, schedule):
        monkeypatch.setattr(module, "run", fails)
    for line in ([*TRAIN], ["repeat", "@record"]):
        said = refused(line, places, capsys)
        if not isinstance(error, OSError):  # no check foresaw it: say what it is, and how to find it
            assert type(error).__name__ in said
            assert "DHIDA_TRACEBACK=1" in said
    monkeypatch.setenv("DHIDA_TRACEBACK", "1")
    assert main(["repeat", places["@record"]]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "in fails" in said
    assert said.splitlines()[-1].startswith("error: ")


HOSTILE = "a\x1b[31mred\nerror: all is well\u202egnp.\x07.png"


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be")
def test_file_names_cannot_steer_the_terminal(places, tmp_path, capsys):
    folder = tmp_path / "in\x1b[2J"
    folder.mkdir()
    shutil.copy(Path(places["@folder"]) / "1.png", folder / HOSTILE)
    shutil.copy(Path(places["@folder"]) / "2.png", folder / "b c\u202fdé.png")  # spaces and letters stay
    (folder / ("x" + HOSTILE)).write_bytes(b"no picture")
    more = ["--model", places["@model"], "--index", str(tmp_path / "i\x1b[2J")]
    assert main(["encode", str(folder), *more]) == 0
    encoded = capsys.readouterr()
    assert main(["search", str(folder / HOSTILE), *more]) == 0
    found = capsys.readouterr()
    assert "2 pictures encoded" in encoded.out
    assert len(encoded.err.splitlines()) == 1
    assert len(found.out.splitlines()) == 2
    assert "b c\u202fdé.png" in found.out
    assert r"a\x1b[31mred\nerror: all is well\u202egnp.\x07.png" in found.out
    said = [
        refused(["search", *images, *more], {}, capsys)
        for images in ([str(folder / ("x" + HOSTILE))], [str(file) for file in folder.iterdir()])
    ]
    for text in (encoded.out, encoded.err, found.out, *said):
        assert set(text) & STEERS <= {"\n"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_and_a_reader_that_left(places):
    """What cannot be printed is an error like any other, also at the very end."""
    line = [sys.executable, "-m", "dhida_lib", *TABLE, "--dry-run"]
    line = [part.replace("@out", places["@out"]) for part in line]
    with open("/dev/full", "w") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: [Errno 28] No space left on device\n"
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141  # as a program that SIGPIPE ended


def test_a_terminal_of_few_letters(places):
    line = [sys.executable, "-m", "dhida_lib", "search", f"{places['@folder']}/1.png"]
    folder = Path(places["@index"]).parent / "letters"
    folder.mkdir()
    shutil.copy(Path(places["@folder"]) / "1.png", folder / "é→.png")
    encode_folder(folder, places["@model"], folder / "index")
    more = ["--model", places["@model"], "--index", str(folder / "index")]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*line, *more], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\xe9\u2192.png" in done.stdout
