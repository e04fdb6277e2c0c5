"""A frozen backbone, and its maps on disk: the cached and the live way give the same codes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import dhida_lib
from dhida_lib import frozen, training
from dhida_lib.models import Head

FROZEN = {"backbone": "narrow-resnet", "width": 4, "frozen": "all", "weights": None, "device": "cpu"}


@pytest.fixture(scope="module")
def few():
    data = dhida_lib.load_dataset("fashion-mini")
    return replace(data, **{part: getattr(data, part).take(70) for part in ("train", "query", "database")})


def network():
    torch.manual_seed(0)
    return dhida_lib.HashNetwork("narrow-resnet", "ida", 16, in_channels=1, width=4, frozen="all").eval()


def test_cached_maps_give_the_codes_of_the_images(few, tmp_path):
    model = network()
    head, mapped = frozen.with_maps(model, few, tmp_path, lambda line: None)
    for part in ("train", "query", "database"):
        live = training.encode(model, getattr(few, part))
        assert torch.equal(training.encode(head, getattr(mapped, part)), live), part
        assert torch.equal(getattr(mapped, part).labels, getattr(few, part).labels), part


def test_maps_are_computed_once_and_known_by_weights_and_picture(few, tmp_path):
    said: list[str] = []
    model = network()
    frozen.cached_maps(model, few.train, tmp_path, said.append)
    assert len(said) == 1
    assert said[0].startswith("70 maps")
    again = frozen.cached_maps(model, few.train.take([5, 3]), tmp_path, said.append)
    assert len(said) == 1
    assert len(again) == 2
    frozen.cached_maps(model, few.query, tmp_path, said.append)
    assert len(said) == 2
    with torch.no_grad():
        next(model.backbone.parameters()).mul_(2)
    frozen.cached_maps(model, few.train, tmp_path, said.append)
    assert len(said) == 3


def test_a_damaged_file_of_maps_is_refused(few, tmp_path):
    model = network()
    frozen.cached_maps(model, few.train, tmp_path, lambda line: None)
    (file,) = tmp_path.glob("maps-*/*.maps")
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        frozen.cached_maps(model, few.train, tmp_path, lambda line: None)


def test_a_run_trains_the_head_on_cached_maps(tmp_path, monkeypatch):
    monkeypatch.setenv("DHIDA_CACHE", str(tmp_path / "cache"))
    config = dhida_lib.PROFILES["fast"].change(**FROZEN, epochs=2, augment="none", held_out=0.9)
    live, live_record = dhida_lib.run(config)
    model, record = dhida_lib.run(config.change(cache_maps=True))
    assert record.protocol == live_record.protocol
    assert record.run.training.cache_maps
    assert model.preprocess == live.preprocess
    for name, tensor in live.backbone.state_dict().items():
        assert torch.equal(tensor, model.backbone.state_dict()[name]), name
    start = network().hash_layer.weight
    assert not torch.equal(model.hash_layer.weight, start)
    torch.testing.assert_close(model.hash_layer.weight, live.hash_layer.weight, atol=1e-2, rtol=0)
    assert abs(record.metrics["map"] - live_record.metrics["map"]) < 0.01


def test_cached_maps_refuse_what_would_change_the_images(few, tmp_path):
    flat = dhida_lib.PROFILES["fast"].change(**FROZEN)
    with pytest.raises(ValueError, match=r"`augment` must be 'none' with `cache_maps`"):
        flat.change(cache_maps=True)
    with pytest.raises(ValueError, match="cache_maps"):
        flat.change(cache_maps=True, frozen=None, augment="none")
    model = network()
    maps = frozen.cached_maps(model, few.train, tmp_path, lambda line: None)
    loss = dhida_lib.DHIDALoss(16, 70, 10)
    config = dhida_lib.TrainConfig(epochs=1, batch_size=32, augment="flip", device="cpu")
    with pytest.raises(ValueError, match="augment"):
        dhida_lib.train(Head(model), loss, maps, config)
