"""Frozen backbones: what stands still does, and maps cached on disk give the codes of the live path."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from dhida_lib import frozen
from dhida_lib.config import RunConfig, TrainConfig
from dhida_lib.data import RetrievalData, batches, load_dataset
from dhida_lib.frozen import MapSplit, cached_maps, with_maps
from dhida_lib.losses import build_loss
from dhida_lib.models import HashNetwork, Head
from dhida_lib.runs import hold_out, measure, run
from dhida_lib.training import encode, outputs, seed_everything, train

STAGES = ("stem", "block1", "block2", "block3", "block4")


def network(frozen="all", **settings):
    seed_everything(0)
    model = HashNetwork(
        "narrow-resnet", **{"attention": "none", "bits": 8, "in_channels": 1, "width": 2, "frozen": frozen,
                            **settings}
    )  # fmt: skip
    seed_everything(1)
    for module in model.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):  # as trained weights have them
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def data() -> RetrievalData:
    return hold_out(load_dataset("fashion-mini"), 0.9)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DHIDA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


# ---- what stands still ------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [None, "stem", "block2", "all"])
def test_what_is_frozen_does_not_change(data, frozen):
    """Neither weights nor running means; all else learns. `frozen="block2"` holds all up to it."""
    model = network(frozen)
    count = {None: 0, "all": 5}.get(frozen) if frozen in (None, "all") else STAGES.index(frozen) + 1
    still = [module for name in STAGES[:count] for module in model.backbone.parts(name)]
    assert [module for _, module in model.frozen_parts()] == still
    assert {name for name, _ in model.frozen_parts()} == set(STAGES[:count])
    before = state(model)
    train(model, build_loss("dhida", 8), data.train.take(40), TrainConfig(epochs=2, batch_size=8, lr=1e-2))
    assert model.training
    for module in still:
        assert not any(part.training for part in module.modules())
        assert not any(p.requires_grad or p.grad is not None for p in module.parameters())
    inside = {id(value) for module in still for value in module.state_dict(keep_vars=True).values()}
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) in inside:
            assert torch.equal(value, before[name]), name
        else:
            assert not torch.equal(value, before[name]), name
    model.eval()
    model.train()
    assert not any(part.training for module in still for part in module.modules())


@pytest.mark.parametrize(("frozen", "count"), [("stem", 1), ("block3", 4), ("all", 5)])
def test_the_frozen_map_is_rounded_and_the_rest_follows(data, frozen, count):
    x, _ = data.query.batch(range(6))
    model = network(frozen).eval()
    y = x
    with torch.no_grad():
        for _, step in model.backbone.stages()[:count]:
            y = step(y)
        half = model.frozen_map(x)
        assert half.dtype == torch.float16
        assert torch.equal(half, y.half())
        assert torch.equal(model.from_frozen(half), model(x))
        torch.testing.assert_close(model(x), network(None).eval()(x), rtol=1e-2, atol=1e-3)
    assert not half.requires_grad
    assert model(x).requires_grad
    with pytest.raises(ValueError, match="`frozen` must be all, or the last of the stages"):
        network(None).frozen_map(x)


def test_wrong_names_of_stages():
    with pytest.raises(ValueError, match=r"`frozen` must be one of 'all', 'stem'.*did you mean 'block3'\?"):
        network("blok3")
    with pytest.raises(ValueError, match="`frozen` must be one of 'all', 'features'"):
        HashNetwork("narrow-alexnet", "none", 8, in_channels=1, width=2, frozen="conv1")


# ---- the neck ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [None, "all"])
def test_a_neck_stands_between_backbone_and_attention(data, frozen):
    model = network(frozen, neck=5, attention="ida")
    assert isinstance(model.neck, nn.Conv2d)
    assert model.neck.weight.shape == (5, 8, 1, 1)
    assert model.hash_layer.in_features == 5
    x, _ = data.query.batch(range(4))
    model.eval()
    A = model.backbone.feature_map(x)
    if frozen:
        torch.testing.assert_close(model.frozen_map(x).float(), A, atol=1e-3, rtol=1e-3)
        A = model.frozen_map(x).float()
    assert torch.equal(model.feature_map(x), model.neck(A))
    assert model.attend(model.feature_map(x)).shape == (4, 5, 7, 7)
    before = state(model)
    train(model, build_loss("dhida", 8), data.train.take(24), TrainConfig(epochs=1, batch_size=8, lr=1e-2))
    assert not torch.equal(model.neck.weight, before["neck.weight"])
    assert isinstance(network(None).neck, nn.Identity)
    with pytest.raises(ValueError, match="`neck` must be None with a backbone whose pooling has layers"):
        HashNetwork("narrow-alexnet", "none", 8, width=2, neck=4)
    with pytest.raises(ValueError, match="`neck` must be a positive integer"):
        network(neck=0)


def test_without_attention_the_neck_comes_after_pooling_and_gives_the_same(data):
    """The mean of a 1×1 convolution is that of the mean; a pooling of one's own keeps its place."""
    model = network(neck=5).eval()
    x, _ = data.query.batch(range(4))
    longer = model.hash_layer(model.backbone.pool(model.feature_map(x)))
    torch.testing.assert_close(model(x), longer)
    places = []
    model.neck.register_forward_pre_hook(lambda _, given: places.append(given[0].shape[2:]))
    model(x)
    assert places == [(1, 1)]

    class Highest(type(model.backbone)):
        def pool(self, A):
            return A.amax(dim=(2, 3))

    model.backbone.__class__ = Highest
    highest = model.hash_layer(model.backbone.pool(model.feature_map(x)))
    assert torch.equal(model(x), highest)
    assert not torch.allclose(highest, longer)


# ---- maps on disk -----------------------------------------------------------------------------------------


def test_maps_of_several_files_are_read_in_one_gather(data, cache, monkeypatch):
    monkeypatch.setattr(frozen, "_SEGMENT", 64)
    split = data.train
    maps = cached_maps(network(), split, say=lambda _: None)
    assert len(maps.files) > 1
    near = maps.in_memory()
    assert len(near.files) == 1
    at = [5, 150, 64, 5]
    for one, other in zip(maps.batch(at), near.batch(at), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(near.indices, split.indices)
    monkeypatch.setattr(frozen, "_IN_MEMORY", 10)
    assert maps.in_memory() is maps
    head, mapped = with_maps(network(), data, say=lambda _: None)
    assert isinstance(head, Head)
    assert len(mapped.train.files) > 1


@pytest.mark.parametrize("settings", [{"frozen": "block2"}, {"frozen": "all", "neck": 4}], ids=str)
@pytest.mark.parametrize("attention", ["none", "ida"])
def test_cached_maps_and_the_live_path_give_the_same_codes(data, cache, settings, attention):
    """Before and after a training, whichever of the two it was; in the training itself too."""
    model = network(attention=attention, **settings)
    said = []
    head, mapped = with_maps(model, data, say=said.append)
    assert isinstance(head, Head)
    assert [len(getattr(mapped, part)) for part in ("train", "query", "database")] == [200, 900, 900]
    assert "200 maps of" in said[0]
    assert str(cache) in said[0]
    for part in ("train", "query", "database"):
        assert torch.equal(getattr(mapped, part).labels, getattr(data, part).labels)
        assert torch.equal(getattr(mapped, part).indices, getattr(data, part).indices)
        assert torch.equal(outputs(head, getattr(mapped, part)), outputs(model, getattr(data, part)))
    assert mapped.protocol_record() == data.protocol_record()
    assert mapped.preprocess == data.preprocess
    config = TrainConfig(epochs=2, batch_size=16, lr=1e-2)
    live = network(attention=attention, **settings)
    histories = [
        train(net, build_loss("dhida", 8, 200, 10), split, config).epochs
        for net, split in ((head, mapped.train), (live, data.train))
    ]
    assert [row["loss"] for row in histories[0]] == [row["loss"] for row in histories[1]]
    for name, value in model.state_dict().items():
        assert torch.equal(value, live.state_dict()[name]), name
    assert torch.equal(encode(head, mapped.query), encode(model, data.query))
    assert measure(head, mapped) == measure(live, data)


def test_a_map_is_computed_once(data, cache, monkeypatch):
    """For every split and every call; another preprocessing or other weights need other maps."""
    seen = []
    real = HashNetwork.frozen_map

    def counted(self, x):
        seen.append(len(x))
        return real(self, x)

    monkeypatch.setattr(HashNetwork, "frozen_map", counted)
    model, quiet = network(), lambda line: None
    first = cached_maps(model, data.train.take(50), say=quiet)
    computed = sum(seen)
    assert computed == 1 + 50  # one image tells the size
    again = cached_maps(network(bits=4), data.train.take(range(20, 60)), say=quiet)  # another head
    assert sum(seen) - computed == 1 + 10
    x = torch.arange(30)
    assert torch.equal(first.batch(x + 20)[0], again.batch(x)[0])
    seen.clear()
    cached_maps(model, data.train.take([3, 3, 7, 59]), say=quiet)
    assert seen == []
    with torch.no_grad():
        model.backbone.block4.conv2.weight[0, 0, 0, 0] += 1
    cached_maps(model, data.train.take(4), say=quiet)
    assert sum(seen) == 1 + 4
    other = load_dataset("fashion-mini", image_size=20)
    cached_maps(network(), other.train.take(4), say=quiet)
    assert sum(seen) == 2 * (1 + 4)
    assert len(list(cache.glob("maps-*"))) == 3


def test_two_pictures_of_the_same_bytes_share_a_map(data, cache):
    pictures = data.train.take([5, 5, 5, 9])
    maps = cached_maps(network(), pictures, say=lambda line: None)
    x, y = maps.batch(range(4))
    assert torch.equal(x[0], x[1])
    assert not torch.equal(x[0], x[3])
    assert torch.equal(y, pictures.labels)
    assert maps.files[0].shape[0] == 2


def test_a_killed_computation_goes_on(data, cache, monkeypatch):
    """Files of eight maps; the third is never written."""
    monkeypatch.setattr(frozen, "_SEGMENT", 8)
    split, model = data.train.take(40), network()
    real, written = frozen._write, []

    def dies(folder, names, maps):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(names)
        return real(folder, names, maps)

    monkeypatch.setattr(frozen, "_write", dies)
    said = []
    with pytest.raises(KeyboardInterrupt):
        cached_maps(model, split, say=said.append)
    assert said[0].startswith("40 maps of 8×7×7 take")
    assert said[1:] == ["8 of 40 maps", "16 of 40 maps"]
    monkeypatch.setattr(frozen, "_write", real)
    said.clear()
    maps = cached_maps(model, split, say=said.append)
    assert said[0].startswith("24 maps of")
    assert len(maps.files) == 5
    order = torch.randperm(40)
    live = model.eval().frozen_map(split.batch(order)[0])
    torch.testing.assert_close(maps.batch(order)[0], live, rtol=1e-3, atol=1e-4)
    assert not list(cache.rglob("*.tmp"))


@pytest.mark.parametrize("damage", ["flipped", "short", "gone", "card", "card gone"])
def test_a_damaged_cache_is_found(data, cache, damage):
    split, model, quiet = data.train.take(12), network(), lambda line: None
    before = cached_maps(model, split, say=quiet).batch(range(12))[0].clone()
    (file,) = cache.rglob("*.maps")
    card = file.with_suffix(".json")
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[100] ^= 1
        file.write_bytes(content)
    elif damage == "short":
        file.write_bytes(content[:-2])
    elif damage == "gone":
        file.unlink()
    elif damage == "card":
        card.write_text(json.dumps({**json.loads(card.read_text()), "shape": [1, 2]}))
    if damage == "card gone":  # then nothing of the file counts
        card.unlink()
    else:
        with pytest.raises(ValueError, match="damaged") as told:
            cached_maps(model, split, say=quiet)
        assert file.stem in str(told.value)
        file.unlink(missing_ok=True)
        card.unlink()
    assert torch.equal(cached_maps(model, split, say=quiet).batch(range(12))[0], before)


def test_too_little_room_and_too_large_maps(data, cache, monkeypatch):
    split, quiet = data.train.take(4), lambda line: None
    model = network("stem")
    with torch.no_grad():
        model.backbone.bn1.weight.fill_(1e6)
    with pytest.raises(ValueError, match="`frozen` must be a part whose maps stay below 65,504"):
        cached_maps(model, split, say=quiet)
    with pytest.raises(ValueError, match="outputs hold NaN or infinity"):
        outputs(model, split)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(frozen.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ValueError, match=r"has only 0 MB free\. Set DHIDA_CACHE"):
        cached_maps(network(), split, say=quiet)
    with pytest.raises(ValueError, match="`frozen` must be"):
        cached_maps(network(None), split, say=quiet)
    with pytest.raises(ValueError, match="`network` must be a HashNetwork with `frozen`"):
        Head(network(None))


def test_maps_are_neither_cut_nor_mirrored(data, cache):
    maps = cached_maps(network(), data.train.take(8), say=lambda line: None)
    (x, y, index), *_ = batches(maps, 8, augment="none")
    assert x.dtype == torch.float16
    assert torch.equal(index, torch.arange(8))
    assert torch.equal(y, data.train.labels[:8])
    for augment in ("flip", "flip-shift", "crop-flip"):
        with pytest.raises(ValueError, match="`augment` must be "):
            next(iter(batches(maps, 8, augment=augment)))
    for settings in ({"augment": "flip"}, {"data_on_device": True}):
        with pytest.raises(ValueError, match=r"`(augment|data_on_device)` must be"):
            train(Head(network()), build_loss("dhida", 8), maps, TrainConfig(epochs=1, **settings))
    assert isinstance(maps, MapSplit)


# ---- a whole run ------------------------------------------------------------------------------------------


@pytest.fixture
def config():
    return RunConfig().change(
        dataset="fashion-mini", backbone="narrow-resnet", weights=None, width=2, bits=8, held_out=0.9,
        epochs=2, batch_size=16, lr=1e-2, neck=4, frozen="block4",
    )  # fmt: skip


def test_a_run_with_cached_maps_is_the_run_without(config, cache, tmp_path, capsys):
    live, plain = run(config)
    model, record = run(config.change(cache_maps=True), folder=tmp_path / "state")
    assert record.metrics == plain.metrics
    assert record.protocol == plain.protocol
    assert record.config["network"]["frozen"] == "block4"
    assert record.config["training"]["cache_maps"] is True
    assert [r["loss"] for r in record.history] == [r["loss"] for r in plain.history]
    for name, value in model.state_dict().items():
        assert torch.equal(value, live.state_dict()[name]), name
    assert "maps of 8×7×7 take" in capsys.readouterr().err
    _, again = run(config.change(cache_maps=True), folder=tmp_path / "state")  # goes on behind its end
    assert again.metrics == record.metrics
    saved = HashNetwork.load(model.save(tmp_path / "model"))
    assert saved.config["frozen"] == "block4"
    split = load_dataset("fashion-mini").query.take(50)
    assert torch.equal(encode(saved, split), encode(model, split))
    pictures = [split.picture(i) for i in range(50)]
    assert np.array_equal(encode(saved, saved.preprocess(pictures)), encode(live, split))


def test_wrong_settings_are_refused_before_any_data_are_read(config):
    with pytest.raises(ValueError, match="`cache_maps` must be False where nothing is frozen"):
        config.change(frozen=None, cache_maps=True)
    with pytest.raises(ValueError, match="`augment` must be 'none' with `cache_maps`"):
        config.change(cache_maps=True, augment="flip")
    with pytest.raises(ValueError, match="`data_on_device` must be False with `cache_maps`"):
        config.change(cache_maps=True, data_on_device=True)
