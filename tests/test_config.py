"""One configuration for a run: its parts, what earlier versions wrote, files of settings, and near names."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from dhida_lib.backbones import BACKBONES
from dhida_lib.config import (
    PROFILES,
    DataConfig,
    LossConfig,
    NetworkConfig,
    RunConfig,
    TrainConfig,
    nested,
)
from dhida_lib.data import DATASETS
from dhida_lib.losses import LOSSES
from dhida_lib.records import load_record, load_records

RECORDS = Path(__file__).resolve().parents[1] / "data" / "records"
OTHER = {
    "dataset": "fashion-multi", "split_seed": 3, "image_size": 40, "held_out": 0.25, "bits": 24,
    "backbone": "narrow-resnet", "attention": "none", "weights": None, "width": 4, "frozen": "block1",
    "neck": 8, "method": "hashnet", "pairs": "batch", "epochs": 3, "lr": 0.01, "optimizer": "adamw",
    "backbone_rate": 0.1, "schedule": "cosine", "warmup": 0.5, "seed": 5, "precision": "bfloat16",
}  # fmt: skip


# ---- parts ------------------------------------------------------------------------------------------------


def test_no_two_parts_share_a_name():
    names = [f.name for part in (DataConfig, NetworkConfig, LossConfig, TrainConfig) for f in fields(part)]
    assert len(names) == len(set(names))
    assert dict(RunConfig.settings()).keys() == set(names)
    assert RunConfig().flat().keys() == set(names)


def test_change_by_flat_names_and_by_parts():
    config = RunConfig().change(**OTHER)
    assert {name: config.flat()[name] for name in OTHER} == OTHER
    for name, part in RunConfig.settings():
        if name not in OTHER:
            assert getattr(getattr(config, part), name) == getattr(getattr(RunConfig(), part), name)
    assert config.change() == config
    slow = config.change(training=TrainConfig(epochs=9), bits=8)
    assert (slow.training, slow.network.bits, slow.data) == (TrainConfig(epochs=9), 8, config.data)
    both = config.change(training=TrainConfig(epochs=9), lr=0.5)
    assert (both.training.epochs, both.training.lr) == (9, 0.5)
    with pytest.raises(FrozenInstanceError):
        config.data = DataConfig()
    assert RunConfig().change(**OTHER) == config  # and nothing of the first was changed


def test_numbers_become_what_they_are():
    config = RunConfig().change(lr=1, warmup=2, held_out=0)
    assert config == RunConfig().change(lr=1.0, warmup=2.0, held_out=0.0)
    assert isinstance(config.training.lr, float)
    for wrong in ({"bits": 8.0}, {"bits": True}, {"lr": True}, {"lr": 10**400}, {"compile": 1}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            RunConfig().change(**wrong)


# ---- dictionaries, of today and of before -----------------------------------------------------------------


@pytest.mark.parametrize("config", [*PROFILES.values(), RunConfig().change(**OTHER)])
def test_there_and_back(config):
    assert RunConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    assert RunConfig.from_dict(config.flat()) == config
    assert set(config.as_dict()) == {"data", "network", "loss", "training"}


def earlier(config: RunConfig) -> dict:
    """As the first version wrote it: flat, with the training inside and the loss's options by their name."""
    flat = config.as_dict()
    training = flat.pop("training")
    flat = {name: value for part in flat.values() for name, value in part.items()}
    flat["loss_options"] = flat.pop("options")
    return {**flat, "train": training}


def test_earlier_forms():
    config = RunConfig().change(**OTHER, options={"alpha": 2.0})
    assert RunConfig.from_dict(earlier(config)) == config
    inside = {
        **config.as_dict(),
        "loss": {"method": "hashnet", "pairs": "batch", "loss_options": {"alpha": 2.0}},
    }
    assert RunConfig.from_dict(inside) == config
    mixed = {"data": {"dataset": "fashion-mini"}, "bits": 8, "train": {"epochs": 2}}
    assert RunConfig.from_dict(mixed) == RunConfig().change(dataset="fashion-mini", bits=8, epochs=2)
    assert RunConfig.from_dict({}) == RunConfig()
    assert nested({"bits": 8, "train": {"epochs": 2}}, complete=False) == {
        "data": {}, "network": {"bits": 8}, "loss": {}, "training": {"epochs": 2}
    }  # fmt: skip
    assert nested({"bits": 8})["network"] == {**RunConfig().as_dict()["network"], "bits": 8}


def test_every_record_is_read_whatever_version_wrote_it():
    """Its settings are checked, and come back as they were written."""
    files = sorted(path for path in RECORDS.rglob("*.json") if "config" in json.loads(path.read_text()))
    assert len(files) > 100
    written = {len(json.loads(path.read_text())["config"]) for path in files}
    assert max(written) > 4, "some are flat"
    for path in files:
        old, record = json.loads(path.read_text())["config"], load_record(path)
        given = {**{k: v for k, v in old.items() if not isinstance(v, dict)}, **old.get("train", {})}
        assert set(record.config) == {"data", "network", "loss", "training"}
        flat = {name: value for part in record.config.values() for name, value in part.items()}
        assert {name: flat[name] for name in given} == given
        if str(flat["weights"]).count("SHA-256"):
            continue  # a file of somebody else's
        assert record.run.loss.method == flat["method"]
        assert record.run.flat()["options"] == flat["options"]


def test_records_are_chosen_by_settings_of_any_form():
    folder = RECORDS / "fashion-mini"
    by_name = load_records(folder, method="dhida")
    assert by_name
    assert {record.config["loss"]["method"] for record in by_name} == {"dhida"}
    assert load_records(folder, loss={"method": "dhida"}) == by_name
    one = load_records(folder, method="dhida", seed=1)
    assert load_records(folder, method="dhida", train={"seed": 1}) == one
    assert load_records(folder, method="no such method") == []
    with pytest.raises(ValueError, match=r"`setting` must be the name of a setting.*did you mean 'method'\?"):
        load_records(folder, methd="dhida")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (3, "`config` must be a dictionary of settings"),
        ([("bits", 3)], "`config` must be a dictionary of settings"),
        ({"bitz": 8}, r"`setting` must be the name of a setting \(did you mean 'bits'\?\), but got 'bitz'"),
        ({"network": {"bitz": 8}}, r"mean 'bits'\?\), but got 'network\.bitz'"),
        ({"data": {"bits": 8}}, r"`setting` must be the name of a setting.*'data\.bits'"),
        ({"train": {"epoch": 8}}, r"mean 'epochs'\?\), but got 'train\.epoch'"),
        ({"network": 3}, "`network` must be a dictionary of settings"),
        ({"train": None}, "`train` must be a dictionary of settings"),
        ({"bits": "8"}, "`bits` must be an integer"),
        ({"training": {"lr": "fast"}}, "`lr` must be a number"),
    ],
    ids=str,
)
def test_wrong_dictionaries(values, message):
    with pytest.raises(ValueError, match=message):
        RunConfig.from_dict(values)


# ---- files ------------------------------------------------------------------------------------------------


def test_a_file_of_settings(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        'profile = "fast"\nbits = 32\n\n[data]\nheld_out = 0.25\n\n[loss]\nmethod = "hashnet"\n'
        "options = {alpha = 2.0}\n\n[training]\nepochs = 3\nlr = 1\n",
        encoding="utf-8",
    )
    wanted = PROFILES["fast"].change(
        bits=32, held_out=0.25, method="hashnet", options={"alpha": 2.0}, epochs=3, lr=1.0
    )
    assert RunConfig.from_file(file) == RunConfig.from_file(str(file)) == wanted
    file.write_text("[network]\nbits = 8\n")
    assert RunConfig.from_file(file) == RunConfig().change(bits=8)
    file.write_text("")
    assert RunConfig.from_file(file) == RunConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"bits = ", "run.toml is not TOML"),
        (b"\xff", "run.toml is not TOML"),
        (b'profile = "fats"', r"`profile` must be one of .*did you mean 'fast'\?"),
        (b"profile = 3", "`profile` must be one of"),
        (b"[training]\nepoch = 3", r"did you mean 'epochs'\?\), but got 'training\.epoch'"),
        (b"[trainning]\nepochs = 3", r"did you mean 'training'\?"),
        (b"[network]\nbits = 8.0", "`bits` must be an integer"),
        (b"[loss]\nmethod = 'hashnett'", r"`method` must be one of .*did you mean 'hashnet'\?"),
    ],
)
def test_wrong_files(tmp_path, text, message):
    (tmp_path / "run.toml").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        RunConfig.from_file(tmp_path / "run.toml")
    with pytest.raises(FileNotFoundError, match=r"There is no file of settings .*no\.toml"):
        RunConfig.from_file(tmp_path / "no.toml")


# ---- what was meant ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ({"method": "hashnett"}, "hashnet"), ({"method": "DHIDA"}, "dhida"),
        ({"dataset": "cifar-10"}, "cifar10"),
        ({"dataset": "fashion_mini"}, "fashion-mini"), ({"backbone": "resnet-18"}, "resnet18"),
        ({"backbone": "efficientnet-lite"}, "efficientnet-lite0"), ({"attention": "idaa"}, "ida"),
        ({"reduce": "colum"}, "column"), ({"fusion": "Mean"}, "mean"), ({"pairs": "batches"}, "batch"),
        ({"optimizer": "adam-w"}, "adamw"), ({"schedule": "cosin"}, "cosine"), ({"augment": "flips"}, "flip"),
        ({"precision": "bfloat"}, "bfloat16"), ({"dataset": "cifar10", "protocol": "cifar10_1"}, "cifar10-1"),
        ({"dataset": "nus-wide-21", "protocol": "list"}, "lists"),
    ],
    ids=str,
)  # fmt: skip
def test_a_near_name_is_suggested(wrong, meant):
    name = list(wrong)[-1]
    with pytest.raises(ValueError, match=rf"`{name}` must be one of .*\(did you mean '{meant}'\?\), but got"):
        RunConfig().change(**wrong)


def test_what_is_near_to_nothing_has_no_suggestion():
    with pytest.raises(ValueError, match="`method` must be one of") as told:
        RunConfig().change(method="zzzz")
    assert "did you mean" not in str(told.value)
    assert all(repr(name) in str(told.value) for name in LOSSES)


def test_options_of_a_loss_have_near_names_too():
    with pytest.raises(ValueError, match=r"did you mean 'gamma'\?"):
        RunConfig().change(method="dhida", options={"gama": 0.1})


def test_registries_suggest_by_the_argument_that_was_written():
    for registry, argument, near in ((LOSSES, "method", "dhida"), (DATASETS, "name", "cifar10"),
                                     (BACKBONES, "backbone", "alexnet")):  # fmt: skip
        assert registry.find(near, argument) is registry[near]
        with pytest.raises(ValueError, match=rf"^`{argument}` must be one of .*did you mean '{near}'\?"):
            registry.find(f"{near}x", argument)
        with pytest.raises(ValueError, match=f"`{argument}` must be one of"):
            registry.find(3, argument)
