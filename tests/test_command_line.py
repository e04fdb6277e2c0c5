"""Whatever is written on the command line: one sentence and status 2, or the work is done."""

from __future__ import annotations

import errno
import importlib.metadata
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

import dhida_lib
from dhida_lib import runs
from dhida_lib.__main__ import main
from dhida_lib.commands import COMMANDS, _listed
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
    "recompute": ["3", "[]", "null", "x"],
    "checkpoint_every": ["x", "[]", "null", "0", "-1", "1.5", "0 min", "5 hours", "true"],
    "budget": ["x", "[]", "0", "-1", "1e400", "NaN", "true"],
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
    # flags instead of --set, and settings that do not go together
    *([*TRAIN, f"--{name}", value] for name, value in (("bits", "x"), ("epochs", "1.5"), ("lr", "nan"))),
    *([*TRAIN, "--training.epochs", value] for value in ("9" * 5000, "none", "true", "")),
    *([*TRAIN, "--loss.options", value] for value in ("x", "{", "3", '{"nothing": 1}', "gamma=x", DEEP)),
    *([*TRAIN, *more] for more in (["--epohcs", "3"], ["--epoch", "3"], ["--training.bits", "8"], ["x"])),
    *([*TRAIN, "--set", text] for text in ("data.epochs=3", "nothing.epochs=3", ".epochs=3", "epochs.=3")),
    [*TRAIN, "--cache_maps"],
    [*TRAIN, "--frozen", "all", "--profile", "fast", "--cache_maps"],
    [*TRAIN, "--frozen", "all", "--profile", "frozen", "--augment", "flip"],
    [*TRAIN, "--frozen", "all", "--profile", "frozen", "--data_on_device"],
    [*TRAIN, "--folder", "@folder", "--dataset", "cifar10"],
    [*TRAIN, "--folder", "@folder", "--profile", "fast"],
    [*TRAIN, "--folder", "@folder", "--backbone", "narrow-resnet"],
    [*TRAIN, "--dataset", "cifar10", "--profile", "fast", "--width", "16", "--backbone", "alexnet"],
    *([*TRAIN, "--config", file] for file in ("@nothing", "@folder", "@model", LONG, "\x00")),
    *(["train", "--import", file, "--out", "@out"] for file in ("@nothing", "@file", "no_such", "", LONG)),
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
    *(["gpu", "--toy", "--out", place, "--work", "@out/w"] for place in ("@file", f"@out/{LONG}")),
    *(
        ["gpu", "--toy", "--out", "@out", *more]
        for more in (["--budget", "0"], ["--parts", "x"], ["--seeds", "-1"])
    ),
    ["gpu", "--toy", "--out", "@out", "--work", "@out/w", "--parts", "train", "--set", "bitz=3"],
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

    for module in (runs, schedule):
        monkeypatch.setattr(module, "run", fails)
    for line in ([*TRAIN], ["repeat", "@record"]):
        said = refused(line, places, capsys)
        if not isinstance(
            error, (OSError, MemoryError)
        ):  # no check foresaw it: say what it is, and how to find it
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


# ---- what can be written -----------------------------------------------------------------------------------


def helped(words: list[str], capsys) -> str:
    """What a line with --help prints, in one line."""
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_help_and_version_cost_nothing():
    """In a fresh process: neither torch nor NumPy is imported, for no command; and all commands are named."""
    code = "import sys\nfrom dhida_lib.__main__ import main\nfor words in map(str.split, sys.argv[1:]):\n"
    code += "    try:\n        main(words)\n    except SystemExit as end:\n"
    code += "        print(words, end.code, 'torch' in sys.modules, 'numpy' in sys.modules)"
    lines = ["--help", "--version", *(f"{name} --help" for name in COMMANDS)]
    done = subprocess.run([sys.executable, "-c", code, *lines], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(text in done.stdout for text in (*COMMANDS, f"dhida_lib {dhida_lib.__version__}"))
    for line in lines:
        assert f"{line.split()} 0 False False" in done.stdout.splitlines()


def test_what_a_help_lists_is_what_the_library_says(monkeypatch):
    """The file is as `make sync` writes it; a package that adds names is asked all the same."""
    said = _listed.computed()
    assert json.loads(_listed.FILE.read_text(encoding="utf-8")) == json.loads(json.dumps(said)), "make sync"
    point = importlib.metadata.EntryPoint("mine", "mine", "dhida_lib.losses")
    points = importlib.metadata.EntryPoints([point])
    monkeypatch.setattr(_listed, "entry_points", lambda: points)
    monkeypatch.setattr(_listed, "computed", lambda: "asked")
    assert _listed.listed.__wrapped__() == "asked"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_says_what_the_command_does_and_has_an_example(name, capsys):
    text = helped([name], capsys)
    assert f"usage: python -m dhida_lib {name} " in text
    assert COMMANDS[name].help in text
    assert f"python -m dhida_lib {name}" in text.split("example:")[1]
    assert "--import FILE" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_each_help_can_be_parsed(name):
    from dhida_lib.__main__ import _parsed

    for line in COMMANDS[name].example.splitlines():
        words = line.split()
        assert words[:3] == ["python", "-m", "dhida_lib"]
        command, _ = _parsed(words[3:])
        assert command is COMMANDS[words[3]]


def test_help_shows_every_setting_with_its_meaning_and_default(capsys):
    text = helped(["train"], capsys).replace("- ", "-")  # argparse breaks lines at hyphens
    for name, part in RunConfig.settings():
        flags = f"--{part}.{name}, --{name} "
        assert flags in text, name
        meaning = text.split(flags)[1].partition("(default: ")
        assert len(meaning[0].split()) > 3, name
        values = {profile: config.flat()[name] for profile, config in PROFILES.items()}
        shown = meaning[2].partition(")")[0]
        for profile, value in values.items():
            word = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
            assert word in shown
            assert len({*map(str, values.values())}) == 1 or profile in shown


@pytest.fixture
def run_of(tmp_path, monkeypatch):
    """From words to the run that `train` (or another command) would make of them."""

    def of(*words: str, command: str = "train") -> RunConfig:
        seen = []

        def stop(config, *more):
            seen.append(config)
            raise KeyboardInterrupt

        monkeypatch.setattr(runs, "run", stop)
        assert main([command, "--out", str(tmp_path / "out"), *words]) == 130
        return seen[0]

    return of


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (["--epochs", "4"], {"epochs": 4}),
        (["--training.epochs", "4", "--network.bits=32"], {"epochs": 4, "bits": 32}),
        (["--batch-size", "8", "--loss.method", "dsh"], {"batch_size": 8, "method": "dsh"}),
        (["--training.batch_size", "8", "--lr", "1e-4"], {"batch_size": 8, "lr": 1e-4}),
        (["--epochs", "4", "--set", "epochs=5"], {"epochs": 5}),
        (["--set", "epochs=5", "--epochs", "4"], {"epochs": 4}),
        (["--set", "training.epochs=5", "--set", "train.lr=0.5"], {"epochs": 5, "lr": 0.5}),
        (["--set", 'loss_options={"gamma": 0.2}'], {"options": {"gamma": 0.2}}),
        (
            ["--options", "gamma=0.2", "--options", "balance=bit"],
            {"options": {"gamma": 0.2, "balance": "bit"}},
        ),
        (["--loss.options", '{"gamma": 0.2}'], {"options": {"gamma": 0.2}}),
        (["--data_on_device"], {"data_on_device": True}),
        (["--data_on_device", "false"], {}),
        (["--channels_last", "True"], {"channels_last": True}),
        (["--protocol", "none", "--attention", "none"], {"protocol": None, "attention": "none"}),
        (["--weights", "None"], {"weights": None}),
        (["--held_out", "0.25", "--warmup", "1"], {"held_out": 0.25, "warmup": 1.0}),
    ],
)
def test_flags_say_what_settings_say(words, change, run_of):
    assert run_of(*words) == PROFILES["fast"].change(**change)


def test_the_profile_to_start_from(run_of, tmp_path):
    frozen = PROFILES["frozen"]
    assert run_of() == PROFILES["fast"]
    assert run_of("--profile", "long", "--bits", "8") == PROFILES["long"].change(bits=8)
    assert run_of("--frozen", "all", "--dataset", "cifar10") == frozen
    assert run_of("--data.folder", "pictures") == frozen.change(folder="pictures")
    words = ["--frozen", "none", "--profile", "full"]
    assert run_of(*words, "--set", "dataset=folder") == PROFILES["full"].change(dataset="folder")
    classifier = {"method": "classifier", "attention": "none", "weights": None}
    assert run_of("--image_size", "32", "--folder", "x", command="pretrain") == PROFILES["fast"].change(
        folder="x", image_size=32, protocol="all", **classifier
    )
    file = tmp_path / "run.toml"
    file.write_text('profile = "long"\n[training]\nepochs = 3\n[loss.options]\ngamma = 0.2\n')
    long = PROFILES["long"].change(epochs=3, options={"gamma": 0.2})
    assert run_of("--config", str(file)) == long
    assert run_of("--config", str(file), "--epochs", "4") == long.change(epochs=4)
    file.write_text("[network]\nbits = 8\n")
    assert run_of("--config", str(file)) == RunConfig().change(bits=8)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["train", "--out", "x", "--epohcs", "3"], "did you mean '--epochs'?"),
        (["train", "--out", "x", "--training.epoch", "3"], "did you mean '--training.epochs'?"),
        (["train", "--out", "x", "--set", "epoch=3"], "did you mean 'epochs'?"),
        (["train", "--out", "x", "--set", "training.epoch=3"], "did you mean 'training.epochs'?"),
        (["train", "--out", "x", "--method", "hashnett"], "did you mean 'hashnet'?"),
        (["trian"], "did you mean 'train'?"),
        (["reproduce", "table3", "--dataset", "fashion_mini"], "did you mean 'fashion-mini'?"),
        (["train", "--out", "x", "--profile", "fast", "--weights", "imagenet"], "no ImageNet weights"),
        (["train", "--out", "x", "--profile", "fast", "--folder", "x"], "`image_size` must be at most 128"),
        (["train", "--out", "x", "--folder", "x", "--dataset", "cifar10"], "`dataset` must be 'folder'"),
        (["train", "--out", "x", "--config", "x.toml", "--profile", "fast"], "not allowed with"),
        (["train", "--out", "x", "--import", "nothing.py"], "There is no Python file nothing.py"),
    ],
)
def test_an_error_says_what_would_be_right(line, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in refused(line, {}, capsys)


MINE = """
from dhida_lib import register_loss
from dhida_lib.losses import HashLoss

@register_loss("mine")
class Mine(HashLoss):
    label = "Mine"

    def formula(self, u, U, y, Y):
        return (u * u - 1).square().mean()
"""


def test_a_loss_of_ones_own_is_a_row_and_its_workers_know_it(tmp_path):
    """In a fresh process, so that it is known here no more than to a user."""
    (tmp_path / "mine.py").write_text(MINE)
    tiny = ["epochs=1", "width=2", "batch_size=500", "augment=none", "attention=none"]
    line = ["reproduce", "table3", "--dataset", "fashion-mini", "--rows", "Mine", "--import", "mine.py"]
    line += ["--records", "records", "--work", "work", *(w for text in tiny for w in ("--set", text))]
    env = {**os.environ, "PYTHONPATH": str(Path(dhida_lib.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "dhida_lib", *line], capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert done.returncode == 0, done.stderr
    assert "1 runs made" in done.stdout
    (record,) = (tmp_path / "records" / "fashion-mini").glob("mine-*.json")
    assert json.loads(record.read_text())["config"]["loss"]["method"] == "mine"


def test_from_a_folder_of_pictures_to_an_answer(tmp_path, capsys, monkeypatch):
    """ImageNet's weights, their maps kept on disk, a head that learns; then encode, search, evaluate."""
    monkeypatch.setenv("DHIDA_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(62):
            noise = rng.integers(-40, 41, (48, 40, 3))
            picture = Image.fromarray((np.array(colour) + noise).astype(np.uint8))
            picture.save(tmp_path / "in" / name / f"{i}.png")
    photos, model = str(tmp_path / "in"), str(tmp_path / "out" / "model.json")
    backbone = ["--network.backbone", "efficientnet-lite0", "--network.frozen", "all"]
    small = ["--image_size", "32", "--epochs", "15", "--bits", "8", "--device", "cpu"]
    assert main(["train", "--data.folder", photos, *backbone, *small, "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    measured = [line for line in lines if line.startswith(("mAP", "precision within"))]
    assert len(measured) == 2
    made = HashNetwork.load(model)
    half = (0.5, 0.5, 0.5)
    assert made.preprocess == Preprocess(3, 32, 37, half, half, "bicubic", 32)
    assert made.class_names == ("blue", "red")
    assert not any(p.requires_grad for p in made.backbone.parameters())
    index = ["--model", model, "--index", str(tmp_path / "index"), "--device", "cpu"]
    assert main(["encode", photos, *index]) == 0
    assert "124 pictures encoded" in capsys.readouterr().out
    assert main(["search", str(tmp_path / "in" / "red" / "3.png"), *index, "-k", "20"]) == 0
    found = capsys.readouterr().out.splitlines()
    assert len(found) == 20
    assert sum("red" in line for line in found) > 15
    assert main(["evaluate", model, "--root", photos, "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == measured, "the saved model measures as the run did"
