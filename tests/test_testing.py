"""The conformance checks: our own classes pass them, and a class with a fault is told which."""

import numpy as np
import pytest
import torch
from torch import nn

from dhida_lib.backbones import BACKBONES
from dhida_lib.data import DATASETS, DataSource, Images, Preprocess, Protocol
from dhida_lib.losses import LOSSES, HashLoss
from dhida_lib.testing import check_backbone, check_loss, check_source


@pytest.mark.parametrize("name", LOSSES)
def test_our_losses_conform(name):
    assert LOSSES[name].__name__ in check_loss(LOSSES[name], **LOSSES[name].start)


@pytest.mark.parametrize("name", ["fashion-mini", "fashion-multi"])
def test_our_data_sets_conform(name):
    assert name in check_source(DATASETS[name])


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"alexnet"}))
def test_our_backbones_conform(name):
    if name == "efficientnet-lite0":
        pytest.importorskip("timm")
    assert "gradients" in check_backbone(name)


class Good(HashLoss):
    """Similar pairs near, others apart; ±1."""

    def formula(self, u, U, y, Y):
        S = (y @ Y.T > 0) if y.ndim == 2 else (y[:, None] == Y)
        theta = 0.5 * u @ U.T
        return nn.functional.binary_cross_entropy_with_logits(theta, S.to(u.dtype))


class Wrong(Good):
    def formula(self, u, U, y, Y):
        return -super().formula(u, U, y, Y).sigmoid()


class Overflows(Good):
    def formula(self, u, U, y, Y):
        return super().formula(u, U, y, Y) + u.exp().mean()


class Ordered(Good):
    def formula(self, u, U, y, Y):
        return super().formula(u, U, y, Y) + u[0].square().mean()


class Deaf(Good):
    def formula(self, u, U, y, Y):
        return super().formula(u, U, y, Y) + u.detach().square().mean()


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Wrong, "nearer to each other"),
        (Overflows, "finite for outputs of size"),
        (Ordered, "order of the images"),
        (Deaf, "gradient must be that of the formula"),
        (nn.Linear, "subclass of HashLoss"),
    ],
)
def test_a_faulty_loss_is_told(cls, said):
    check_loss(Good)
    with pytest.raises(AssertionError, match=said):
        check_loss(cls)


class Dots(DataSource):
    """Noise of two brightnesses."""

    name = "dots"
    classes = ("dark", "bright")
    protocols = (Protocol("drawn", 3, 5, True, None, "Drawn by the seed."),)
    preprocess = Preprocess(channels=3, side=8)

    def read(self, root=None):
        labels = np.repeat([0, 1], 20)
        noise = np.random.default_rng(0).integers(0, 100, (40, 3, 8, 8))
        return Images((noise + 100 * labels[:, None, None, None]).astype(np.uint8), labels)


class Unsteady(Dots):
    def load(self, root=None, seed=0, protocol=None, image_size=None):
        return super().load(root, int(torch.randint(1000, ())), protocol, image_size)


class Frozen(Dots):
    def load(self, root=None, seed=0, protocol=None, image_size=None):
        return super().load(root, 0, protocol, image_size)


def test_a_faulty_data_set_is_told():
    assert "dots" in check_source(Dots())
    with pytest.raises(AssertionError, match="one seed must give one split"):
        check_source(Unsteady())
    with pytest.raises(AssertionError, match="another seed must give another split"):
        check_source(Frozen())
    with pytest.raises(AssertionError, match="an object of a subclass"):
        check_source(Dots)


class FeelsItsBatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)

    def forward(self, x):
        return self.conv(x) - x.mean()


def test_a_faulty_backbone_is_told():
    assert "ModuleBackbone" in check_backbone(nn.Conv2d(3, 5, 3, stride=8))
    with pytest.raises(AssertionError, match="must not feel its batch"):
        check_backbone(FeelsItsBatch())
