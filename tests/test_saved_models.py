"""A saved model: everything that turns a picture into its code comes back, in this and in earlier forms."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dhida_lib._files import read_json, write_card, write_json
from dhida_lib.backbones import BACKBONES, register_backbone
from dhida_lib.config import PROFILES, RunConfig
from dhida_lib.data import DATASETS, Preprocess, data_path, load_dataset
from dhida_lib.models import HashNetwork, load_model, save_model, weights_hash
from dhida_lib.runs import build, measure
from dhida_lib.search.photos import Encoder
from dhida_lib.training import encode, seed_everything

FORM = Preprocess(3, 12, 15, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), interpolation="bicubic", crop=14)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def network(backbone="narrow-resnet", **settings):
    seed_everything(0)
    small = {"width": 2} if backbone == "narrow-resnet" else {}
    return HashNetwork(backbone, **{"attention": "none", "bits": 6, **small, **settings}).eval()


def pictures(n=8, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (n, 20, 26, 3), dtype=np.uint8))


# ---- what travels with a model ----------------------------------------------------------------------------


def test_everything_comes_back(tmp_path):
    model = network(code_rule="one-hot", frozen="block2", neck=5, attention="ida", reduce="row")
    model.preprocess, model.class_names = FORM, ("one", "two", "three", "four", "five", "six")
    card = model.save(tmp_path / "m", run="record.json", note={"a": [1, 2]})
    again = HashNetwork.load(card)
    assert again.preprocess == FORM
    assert again.class_names == model.class_names
    assert again.code_rule == "one-hot"
    assert again.about == {"run": "record.json", "note": {"a": [1, 2]}}
    assert again.config == model.config
    assert not again.training
    x = again.preprocess(pictures())
    assert torch.equal(again(x), model(x))
    assert torch.equal(again.codes(x), model.codes(x))
    assert ((again.codes(x) > 0).sum(dim=1) == 1).all()
    assert [name for name, _ in again.frozen_parts()] == [name for name, _ in model.frozen_parts()]
    content = json.loads(card.read_text())
    assert content["preprocess"] == FORM.as_dict()
    assert content["class_names"][0] == "one"
    assert content["model"]["code_rule"] == "one-hot"


def test_what_is_not_known_is_not_invented(tmp_path):
    again = HashNetwork.load(network().save(tmp_path / "m"))
    assert (again.preprocess, again.class_names, again.about) == (None, None, {})
    assert again.code_rule == "sign"


def test_what_was_said_of_a_model_stays_with_it(tmp_path):
    card = network().save(tmp_path / "m", run="a", note="b")
    again = HashNetwork.load(card)
    again.save(tmp_path / "n", note="c")
    assert HashNetwork.load(tmp_path / "n").about == {"run": "a", "note": "c"}


def test_the_older_names_do_the_same(tmp_path):
    model = network()
    model.preprocess = FORM
    card = save_model(model, tmp_path / "m", {"run": 7})
    loaded, about = load_model(card)
    assert about == {"run": 7} == loaded.about
    assert loaded.preprocess == FORM
    assert weights_hash(card) == weights_hash(model.save(tmp_path / "n"))


def test_a_run_s_model_knows_its_data(tmp_path):
    config = PROFILES["fast"].change(width=2, bits=5, method="classifier", image_size=20, held_out=0.9)
    data, model, _ = build(config)
    model.eval()
    again = HashNetwork.load(model.save(tmp_path / "m", config=config.as_dict()))
    assert again.preprocess == DATASETS["fashion-mini"].sized(20)
    assert again.class_names == DATASETS["fashion-mini"].classes
    assert (again.bits, again.code_rule) == (10, "one-hot")
    assert RunConfig.from_dict(again.about["config"]) == config
    assert measure(again, data) == measure(model, data)
    split = data.query.take(20)
    x = again.preprocess([split.picture(i) for i in range(20)])
    assert torch.equal(encode(again, x), encode(model, split))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("preprocess", 3), ("preprocess", []), ("preprocess", {"side": 3}), ("preprocess", "gone"),
        ("class_names", "names"), ("class_names", {}), ("class_names", [1, 2]), ("class_names", "gone"),
        ("about", None), ("about", "gone"), ("model", []), ("model", "gone"),
        ("code_rule", "colour"), ("code_rule", 3),
    ],
    ids=str,
)  # fmt: skip
def test_a_card_with_something_else_in_it_is_damaged(tmp_path, part, value):
    model = network()
    model.preprocess, model.class_names = FORM, tuple("abcdef")
    card = model.save(tmp_path / "m")
    content = read_json(card)
    inside = content["model"] if part == "code_rule" else content
    inside[part] = value
    if value == "gone":
        del inside[part]
    write_card(card, content)
    if (part, value) == ("preprocess", "gone"):  # as in a card of an earlier version
        assert HashNetwork.load(card).preprocess is None
        return
    with pytest.raises(ValueError, match=r"m\.json is damaged|`(code_rule|preprocess)` must be"):
        HashNetwork.load(card)


# ---- earlier cards ----------------------------------------------------------------------------------------


def earlier(card, data=None, config=None):
    """The card as it was written before models knew their preprocessing."""
    young = ("card_sha256", "preprocess", "class_names")
    content = {k: v for k, v in read_json(card).items() if k not in young}
    for name in ("frozen", "neck", "code_rule"):
        del content["model"][name]
    about = {"record": "r.json"}
    if data is not None:
        about |= {"data": data, "config": config}
    return write_json(card, {**content, "about": about})


def flat(**change):
    """Settings as records and cards had them before there were parts."""
    config = PROFILES["fast"].change(**change)
    settings = {**asdict(config.data), **asdict(config.network), **asdict(config.loss)}
    settings["loss_options"] = settings.pop("options")
    for young in ("folder", "image_size", "frozen", "neck"):
        del settings[young]
    return {**settings, "train": asdict(config.training)}


@pytest.mark.parametrize(
    ("dataset", "size", "form"),
    [
        ("fashion-mini", 28, DATASETS["fashion-mini"].preprocess),
        ("fashion-mini", 20, Preprocess(1, 20, stored=28, mean=(0.286,), std=(0.353,))),
        ("fashion-multi", 56, DATASETS["fashion-multi"].preprocess),
        ("cifar10", 224, Preprocess(3, 224, stored=32, **IMAGENET)),
        ("nus-wide-21", 224, DATASETS["nus-wide-21"].preprocess),
        ("folder", 28, Preprocess(3, 28, stored=32, crop=28, **IMAGENET)),
    ],
)
def test_an_earlier_card_is_completed(tmp_path, dataset, size, form):
    model = network(in_channels=form.channels)
    record = {"dataset": dataset, "image_size": size, "protocol": "x", "query": 1}
    card = earlier(model.save(tmp_path / "m"), record, flat(method="dhn"))
    again = HashNetwork.load(card)
    assert again.preprocess == form
    assert again.class_names == (DATASETS[dataset].classes or None)
    assert again.code_rule == "sign"
    assert again.about["data"] == record
    assert RunConfig.from_dict(again.about["config"]).loss.method == "dhn"
    x = torch.rand(3, form.channels, 28, 28)
    assert torch.equal(again(x), model(x))
    encoder = Encoder(card)
    assert encoder.preprocess == form
    later = HashNetwork.load(again.save(tmp_path / "later"))  # and from now on it has the form of today
    assert later.preprocess == form
    assert "preprocess" in read_json(tmp_path / "later.json")


def test_an_earlier_classifier_keeps_its_one_hot_code(tmp_path):
    model = network(in_channels=1)
    card = earlier(model.save(tmp_path / "m"), {"dataset": "fashion-mini"}, flat(method="classifier"))
    again = HashNetwork.load(card)
    assert again.code_rule == "one-hot"
    assert ((again.codes(torch.rand(5, 1, 28, 28)) > 0).sum(dim=1) == 1).all()


def test_an_earlier_card_that_says_nothing(tmp_path):
    card = earlier(network().save(tmp_path / "m"))
    assert HashNetwork.load(card).preprocess is None
    for about in ({"data": {"dataset": "unknown"}}, {"data": {}, "config": {"method": "gone"}}):
        write_json(card, {**read_json(card), "about": about})
        assert HashNetwork.load(card).preprocess is None
    for about in ({"data": 3}, {"config": []}, 3):
        write_json(card, {**read_json(card), "about": about})
        with pytest.raises(ValueError, match=r"m\.json is damaged"):
            HashNetwork.load(card)


def test_the_shipped_model():
    """It is older than the preprocessing in the card, and its codes are what its record measured."""
    card = data_path("checkpoints/fashion-mini-dhida-16/model.json")
    assert "preprocess" not in json.loads(card.read_text())
    model = HashNetwork.load(card)
    assert model.preprocess == DATASETS["fashion-mini"].preprocess
    assert model.class_names == DATASETS["fashion-mini"].classes
    assert model.config["code_rule"] == "sign"
    data = load_dataset("fashion-mini")
    record = json.loads(card.with_name("record.json").read_text())
    assert measure(model, data)["map"] == pytest.approx(record["metrics"]["map"], abs=1e-3)
    pictures = [data.query.picture(i) for i in range(50)]
    assert torch.equal(encode(model, model.preprocess(pictures)), encode(model, data.query.take(50)))


# ---- backbones without a name -----------------------------------------------------------------------------


class Eighth(nn.Module):
    """Somebody's network: one convolution, then an eighth of the side."""

    def __init__(self, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)

    def forward(self, x):
        return F.avg_pool2d(self.conv(x), 8)


def test_a_backbone_without_a_name_must_be_given_again(tmp_path):
    model = network(Eighth())
    model.preprocess = Preprocess(3, 24)
    card = model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="`backbone` must be given: the saved network had one without"):
        HashNetwork.load(card)
    with pytest.raises(ValueError, match="`backbone` must be given"):
        load_model(card)
    again = HashNetwork.load(card, backbone=Eighth())
    x = model.preprocess(pictures())
    assert torch.equal(again(x), model(x))
    assert again.config["backbone"] is None
    with pytest.raises(ValueError, match="describes a network of other weights"):
        HashNetwork.load(card, backbone=Eighth(5))
    with pytest.raises(ValueError, match=r"`backbone` must be an nn\.Module"):
        HashNetwork.load(card, backbone=3)
    half = network(Eighth(), frozen="all")
    assert HashNetwork.load(half.save(tmp_path / "n"), backbone=Eighth()).config["frozen"] == "all"


def test_a_registered_backbone_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(BACKBONES, "_things", dict(BACKBONES._things))
    register_backbone("eighth")(lambda weights, in_channels: Eighth())
    model = network("eighth")
    card = model.save(tmp_path / "m")
    assert HashNetwork.load(card).config["backbone"] == "eighth"
    x = torch.rand(2, 3, 24, 24)
    assert torch.equal(HashNetwork.load(card)(x), model(x))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="`backbone` must be one of"):
        HashNetwork.load(card)
