"""The images that weights were made for: a data source gives them to the network, and the model keeps it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from dhida_lib import data, runs
from dhida_lib.backbones import BACKBONES, ImageForm, image_form
from dhida_lib.backbones.base import IMAGENET_FORM
from dhida_lib.config import RunConfig
from dhida_lib.data import DATASETS, DataSource, Images, Preprocess, Protocol, load_dataset
from dhida_lib.data.sources.lists import ListSource

HALF = (0.5, 0.5, 0.5)
LITE = ImageForm(224, HALF, HALF, "bicubic")
OTHER = ImageForm(112, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")


def test_a_backbone_says_what_its_weights_were_made_for():
    assert image_form("efficientnet-lite0", "imagenet") == LITE
    assert image_form("resnet18", "imagenet") == image_form("alexnet", "imagenet") == IMAGENET_FORM
    assert image_form("timm:tf_efficientnet_lite0", "imagenet") == LITE
    for weights in (None, "runs/start/backbone.safetensors"):
        assert all(image_form(name, weights) is None for name in [*BACKBONES, "timm:resnet18"])
    with pytest.raises(ValueError, match=r"`weights` must be None .* narrow-resnet has no ImageNet weights"):
        image_form("narrow-resnet", "imagenet")


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("form", [LITE, OTHER])
def test_every_source_takes_a_form_of_its_channels_and_no_other(name, form):
    source = DATASETS[name]
    own, taken = source.preprocess, source.sized(None, form)
    assert source.sized() == own
    if own.channels == 1:
        assert taken == own
        return
    assert taken.form == form
    assert source.sized(64, form).form == form._replace(side=64)
    if own.crop is None:  # images in memory stay as they are
        assert taken.kept == own.kept
    else:
        assert taken.crop == form.side
        assert taken.kept == round(form.side * 256 / 224)


def test_lists_are_cut_at_the_forms_side(tmp_path):
    for name in ("train", "test", "database"):
        (tmp_path / f"{name}.txt").write_text("a.jpg 1 0\n")

    class Few(ListSource):
        name, classes = "few", ("a", "b")
        sizes = {"train": 1, "test": 1, "database": 1}
        protocols = (Protocol("any-size", 1, 1, True, None, "Few."),)

    with pytest.raises(ValueError, match="`image_size` must be None: images are cut to 112 pixels"):
        Few().load(tmp_path, image_size=224, form=OTHER)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Class folders of noise, 62 pictures a class."""
    monkeypatch.setenv("DHIDA_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(62):
            picture = Image.fromarray(rng.integers(0, 256, (40, 56, 3), dtype=np.uint8))
            picture.save(tmp_path / "in" / name / f"{i}.png")
    return tmp_path / "in"


def test_a_folder_reaches_the_network_as_its_weights_want_it(photos):
    plain = load_dataset("folder", photos, image_size=28)
    formed = load_dataset("folder", photos, image_size=28, form=OTHER)
    assert plain.preprocess.mean == data.IMAGENET_MEAN
    assert formed.preprocess.form == OTHER._replace(side=28)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (OTHER.mean, OTHER.std))
    middle = formed.query.pixels[formed.query.rows[:5], :, 2:30, 2:30].float() / 255  # 28 of 32
    assert torch.allclose(formed.query.batch(range(5))[0], (middle - mean) / std, atol=1e-6)
    assert torch.equal(plain.query.indices, formed.query.indices)


def test_an_image_in_memory_is_resized_as_the_form_says():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 3, 8, 8), dtype=np.uint8)

    class Small(DataSource):
        name, classes = "small", ("a", "b")
        preprocess = Preprocess(3, 8)
        protocols = (Protocol("drawn", 2, 4, True, None, "Small."),)

        def read(self, root=None):
            return Images(pixels, np.arange(24) % 2)

    split = Small().load(form=ImageForm(20, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")).query
    x, _ = split.batch(range(3))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (OTHER.mean, OTHER.std))
    want = (split.pixels[:3].float() / 255 - mean) / std
    want = F.interpolate(want, (20, 20), mode="bicubic", antialias=True, align_corners=False)
    assert torch.allclose(x, want, atol=1e-5)


def test_a_run_gives_weights_the_images_that_they_want(photos):
    """ImageNet's weights have their own numbers, random ones the data set's; the model keeps them."""
    frozen = RunConfig().change(
        folder=str(photos), backbone="efficientnet-lite0", attention="none", image_size=32
    )
    with_weights, model, _ = runs.build(frozen)
    assert model.preprocess == with_weights.preprocess
    assert model.preprocess.form == LITE._replace(side=32)
    without, model, _ = runs.build(frozen.change(weights=None))
    assert model.preprocess == without.preprocess
    assert model.preprocess.mean == data.IMAGENET_MEAN


@pytest.mark.parametrize(
    ("change", "need"),
    [
        ({"backbone": "narrow-resnet", "weights": None, "folder": "nowhere"}, "at most 128 pixels"),
        ({"backbone": "alexnet", "weights": None, "dataset": "cifar10"}, "at least 224 pixels"),
        ({"backbone": "alexnet", "dataset": "cifar10", "image_size": 200}, "at least 224 pixels"),
    ],
)
def test_a_side_that_a_backbone_cannot_have_is_found_before_anything_is_read(change, need):
    with pytest.raises(ValueError, match=f"`image_size` must be {need} with the backbone"):
        runs.build(RunConfig().change(**change))
