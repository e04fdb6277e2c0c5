"""Data of your own: a registered data set, arrays, folders, and any Dataset or DataLoader of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from dhida_lib import experiments
from dhida_lib.config import DataConfig, RunConfig, TrainConfig
from dhida_lib.data import (
    DATASETS,
    DataSource,
    Images,
    Preprocess,
    Protocol,
    RetrievalData,
    load_dataset,
    register_dataset,
)
from dhida_lib.losses import build_loss
from dhida_lib.models import HashNetwork
from dhida_lib.runs import build, measure, run
from dhida_lib.training import Callback, build_optimizer, encode, outputs, seed_everything, train

TINY = TrainConfig(epochs=2, batch_size=16, lr=1e-3)


def network(in_channels=1, bits=8, **settings):
    seed_everything(0)
    return HashNetwork("narrow-resnet", "none", bits, in_channels=in_channels, width=2, **settings)


def weights(model):
    return torch.cat([v.flatten().double() for v in model.state_dict().values()])


# ---- a registered data set --------------------------------------------------------------------------------


@pytest.fixture
def stripes(monkeypatch):
    """A data set of a user's own: three kinds of stripes."""
    monkeypatch.setattr(DATASETS, "_things", dict(DATASETS._things))

    @register_dataset("stripes")
    class Stripes(DataSource):
        """Rows, columns and diagonals."""

        label = "Stripes"
        classes = ("rows", "columns", "diagonals")
        protocols = (
            Protocol("drawn", 4, 8, True, None, "Drawn by the seed."),
            Protocol("strict", 4, 8, False, 10, "The same, without the training images."),
        )
        preprocess = Preprocess(1, 16, mean=(0.4,), std=(0.3,))
        base = {"profile": "fast", "epochs": 1, "width": 2, "bits": 8}

        def read(self, root=None):
            g = np.random.default_rng(0)
            labels = np.arange(90) % 3
            r, c = np.mgrid[:16, :16]
            where = np.stack([r, c, r + c])[labels]  # n×16×16
            waves = np.sin(where * 1.3 + g.uniform(0, 6, (90, 1, 1))) + g.normal(0, 0.3, (90, 16, 16))
            return Images((100 + 50 * waves).clip(0, 255).astype(np.uint8)[:, None], labels)

    return Stripes


def test_a_registered_data_set_works_everywhere(stripes, tmp_path):
    data = load_dataset("stripes", seed=3)
    assert (data.name, data.num_classes, str(data.protocol)) == ("stripes", 3, "drawn")
    assert [len(s) for s in (data.query, data.train, data.database)] == [12, 24, 78]
    assert len(load_dataset("stripes", protocol="strict").database) == 54
    config = experiments.base("stripes", held_out=0.0)
    assert (config.data.dataset, config.training.epochs, config.network.width) == ("stripes", 1, 2)
    model, record = run(config)
    assert record.protocol["dataset"] == "stripes"
    assert record.config["data"]["dataset"] == "stripes"
    assert model.class_names == ("rows", "columns", "diagonals")
    again = HashNetwork.load(model.save(tmp_path / "model"))
    assert again.preprocess == stripes.preprocess
    assert torch.equal(encode(again, data.query), encode(model, data.query))
    jobs = experiments.plan("table3", "stripes", rows=["DHN", "DSH"])
    assert [job.config.loss.method for job in jobs] == ["dhn", "dsh"]
    assert {job.config.data.dataset for job in jobs} == {"stripes"}
    assert {job.config.network.width for job in jobs} == {2}


def test_a_registered_data_set_is_checked_like_ours(stripes):
    with pytest.raises(ValueError, match=r"`dataset` must be one of .*did you mean 'stripes'\?"):
        DataConfig(dataset="strips")
    with pytest.raises(ValueError, match=r"`protocol` must be one of 'drawn', 'strict'.*mean 'strict'\?"):
        RunConfig().change(dataset="stripes", protocol="strickt")
    with pytest.raises(ValueError, match="`name` must be free, but dhida_lib"):
        register_dataset("cifar10")(stripes)
    with pytest.raises(ValueError, match="`register_dataset` must be used on a DataSource"):
        register_dataset("nothing")(dict)
    register_dataset("stripes")(stripes)  # a cell that is run again
    other = register_dataset("more-stripes")(stripes)
    assert other is stripes
    assert {DATASETS[name].name for name in ("stripes", "more-stripes")} == {"stripes", "more-stripes"}


# ---- arrays -----------------------------------------------------------------------------------------------


def pictures(n, height=12, width=10, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def test_from_arrays_in_every_form():
    """Bytes, 16 bits and shares of 1, as arrays and tensors: the same data."""
    x = {part: pictures(n, seed=n) for part, n in (("query", 4), ("train", 9), ("database", 6))}
    y = {part: np.arange(len(a)) % 3 for part, a in x.items()}
    forms = {
        "bytes": lambda a: a,
        "16 bits": lambda a: a.astype(np.uint16) * 257,
        "shares": lambda a: a / 255,
        "tensor": lambda a: torch.from_numpy(a).permute(0, 3, 1, 2),
        "tensor of shares": lambda a: torch.from_numpy(a).permute(0, 3, 1, 2) / 255,
    }
    made = {
        name: RetrievalData.from_arrays(**{part: (change(x[part]), y[part]) for part in x})
        for name, change in forms.items()
    }
    first = made["bytes"]
    middle = x["train"][:, 1:11]  # the middle square
    assert torch.equal(first.train.pixels, torch.from_numpy(middle).permute(0, 3, 1, 2))
    form = first.preprocess
    assert (form.channels, form.side, form.kept) == (3, 10, 10)
    assert form.mean == pytest.approx((middle / 255).mean(axis=(0, 1, 2)), abs=1e-5)
    assert form.std == pytest.approx((middle / 255).std(axis=(0, 1, 2), ddof=1), abs=1e-5)
    assert (first.name, first.class_names, first.protocol.map_k) == ("arrays", ("0", "1", "2"), None)
    assert first.train.labels.tolist() == y["train"].tolist()
    for data in made.values():
        assert data.preprocess == form
        for part in x:
            assert torch.equal(getattr(data, part).pixels, getattr(first, part).pixels)


@pytest.mark.parametrize("shape", [(12, 12), (12, 9)])
def test_grey_arrays_in_every_form(shape):
    x = pictures(6, *shape, channels=1)[..., 0]
    y = np.eye(3, dtype=int)[[0, 1, 2, 0, 1, 2]]
    y[0, 1] = 1
    made = [
        RetrievalData.from_arrays((a, y), (a, y), (a, y), class_names=("a", "b", "c"))
        for a in (x, x[..., None], torch.from_numpy(x), torch.from_numpy(x)[:, None])
    ]
    side = min(shape)
    assert made[0].train.pixels.shape == (6, 1, side, side)
    assert made[0].multi_label
    for data in made:
        assert torch.equal(data.train.pixels, made[0].train.pixels)
        assert data.preprocess == made[0].preprocess


def test_from_arrays_with_a_preprocess_trains_and_measures(tmp_path):
    form = Preprocess(1, 14, stored=16, mean=(0.3,), std=(0.4,), crop=14)
    x, y = pictures(40, 20, 30), np.arange(40) % 2
    x[y == 0, :, :15] //= 4  # the classes differ
    given = {"query": (x[:8], y[:8]), "train": (x[8:], y[8:]), "database": (x[8:], y[8:])}
    data = RetrievalData.from_arrays(
        **given, preprocess=form, class_names=["dark", "light"], name="mine", map_k=5,
        database_includes_train=True,
    )  # fmt: skip
    assert data.train.pixels.shape == (32, 1, 16, 16)
    assert torch.equal(data.query.pixels[3], form.pixels(x[3]))
    model = network()
    loss = build_loss("dhida", 8, len(data.train), data.num_classes)
    train(model, loss, data.train, TINY)
    metrics = measure(model, data)
    assert (metrics["k"], metrics["queries"], metrics["database"]) == (5, 8, 32)
    assert data.protocol_record()["database_includes_train"] is True
    assert "mine, protocol 'given'" in data.describe()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": None}, "`query` must be a pair of images and labels"),
        ({"query": (1, 2, 3)}, "`query` must be a pair of images and labels"),
        ({"train": ([[1]], [0])}, "`train` must be images n×H×W, n×H×W×C .*got 'list'"),
        ({"train": (np.zeros((3, 4), np.uint8), [0, 1, 2])}, r"`train` must be images .*shape \(3, 4\)"),
        ({"train": (pictures(3, channels=4), [0, 1, 0])}, r"`train` must be images .*\(3, 12, 10, 4\)"),
        ({"train": (pictures(0), [])}, "`train` must be images"),
        ({"database": (pictures(3) * 1.0, [0, 1, 0])}, "`database` must be bytes .*float64 from 0.0 to 25"),
        ({"database": (pictures(3), [0, 1])}, "`database` must be one label for each image"),
        ({"query": (pictures(3), [0.5, 1, 0])}, "`query` must be class ids"),
        ({"query": (pictures(3), np.eye(3, dtype=int))}, "`query` must be .* of the training images' labels"),
        ({"query": (pictures(3), [0, -1, 0])}, "`query` must be .*≥ 0"),
        ({"class_names": ("a",)}, "`class_names` must be 2 names or more"),
        ({"preprocess": "none"}, "`preprocess` must be a Preprocess"),
        ({"map_k": 0}, "`map_k` must be a positive integer"),
    ],
)
def test_wrong_arrays(change, message):
    pair = (pictures(3), [0, 1, 0])
    with pytest.raises(ValueError, match=message):
        RetrievalData.from_arrays(**{"query": pair, "train": pair, "database": pair, **change})


# ---- folders ----------------------------------------------------------------------------------------------


def test_from_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("DHIDA_CACHE", str(tmp_path / "cache"))
    for part, count in (("train", 51), ("test", 10)):
        for name in ("cat", "dog"):
            (tmp_path / "in" / part / name).mkdir(parents=True)
            for i, picture in enumerate(pictures(count, 20, 24)):
                Image.fromarray(picture).save(tmp_path / "in" / part / name / f"{i:02}.png")
    data = RetrievalData.from_folders(tmp_path / "in", image_size=14)
    assert data.class_names == ("cat", "dog")
    assert str(data.protocol) == "own-split"
    assert [len(s) for s in (data.query, data.train, data.database)] == [20, 100, 102]
    assert (data.image_size, data.preprocess.kept) == (14, 16)
    same = load_dataset("folder", tmp_path / "in", image_size=14)
    assert torch.equal(same.train.indices, data.train.indices)
    drawn = RetrievalData.from_folders(tmp_path / "in" / "train", seed=1, image_size=14,
                                       protocol=Protocol("few", 2, 3, True, None, "Few."))  # fmt: skip
    assert [len(s) for s in (drawn.query, drawn.train, drawn.database)] == [4, 6, 98]
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        RetrievalData.from_folders(tmp_path / "none")


# ---- what torch users have: Dataset and DataLoader --------------------------------------------------------


@pytest.fixture(scope="module")
def split():
    return load_dataset("fashion-mini").train.take(56)


class Items(Dataset):
    """Somebody's data set: normalised images and labels, and something more that nobody asked for."""

    def __init__(self, split):
        self.split = split

    def __len__(self):
        return len(self.split)

    def __getitem__(self, i):
        image, label = self.split[i]
        return image, label, f"name {i}"


class AsSplit(Sampler):
    """The order in which `train` walks through a Split."""

    def __init__(self, n, seed):
        self.n, self.seed, self.epoch = n, seed, 0

    def __len__(self):
        return self.n

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        self.epoch += 1
        return iter(torch.randperm(self.n, generator=generator).tolist())


def trained(data, config=TINY, folder=None, method="dhida", **more):
    model = network()
    loss = build_loss(method, 8, 56, 10)
    history = train(model, loss, data, config, folder=folder, **more)
    return model, loss, history


def same_run(one, two):
    rows = [[{k: v for k, v in r.items() if k != "seconds"} for r in run[2].epochs] for run in (one, two)]
    assert rows[0] == rows[1]
    assert torch.equal(weights(one[0]), weights(two[0]))
    assert torch.equal(one[1].bank_codes, two[1].bank_codes)
    assert torch.equal(one[1].bank_filled, two[1].bank_filled)


@pytest.mark.parametrize("kind", ["items", "subset", "tensors", "loader", "workers", "loader of a split"])
def test_a_dataset_trains_as_a_split_does(split, kind):
    """One batch is the same images, labels and places in the bank, whoever gives it."""
    sampler = AsSplit(len(split), TINY.seed)
    data = {
        "items": lambda: Items(split),
        "subset": lambda: Subset(split, range(len(split))),
        "tensors": lambda: TensorDataset(*split.batch(range(len(split)))),
        "loader": lambda: DataLoader(Items(split), batch_size=16, sampler=sampler),
        "workers": lambda: DataLoader(Items(split), batch_size=16, sampler=sampler, num_workers=1),
        "loader of a split": lambda: DataLoader(split, batch_size=16, sampler=sampler),
    }[kind]()
    one, two = trained(split), trained(data)
    same_run(one, two)
    assert one[1].bank_filled.all()
    assert not torch.equal(weights(one[0]), weights(network()))


def by_hand(loader, config):
    """The same without the trainer: pairs within the batch, one step for each batch."""
    model = network().train()
    loss, updates = build_loss("dhida", 8), build_optimizer(model, config)
    for epoch in range(config.epochs):
        torch.manual_seed(config.seed * 1_000_003 + epoch)
        for x, y, *_ in loader:
            updates.zero_grad()
            loss(model(x), y).backward()
            updates.step()
    return model


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({"batch_size": 16, "sampler": SubsetRandomSampler(range(5, 40))}, [16, 16, 3]),
        ({"batch_size": 16, "sampler": WeightedRandomSampler(torch.ones(56), 100)}, [16] * 6 + [4]),
        ({"batch_size": 16, "shuffle": True, "drop_last": True}, [16] * 3),
        ({"batch_sampler": [range(5), range(5, 30), range(30, 32), [7, 7, 8]]}, [5, 25, 2, 3]),
        ({"batch_sampler": [range(4 * i, 4 * i + 4) for i in range(14)]}, [4] * 14),
    ],
    ids=["some", "more than all", "drop last", "uneven", "even"],
)
def test_a_loader_decides_its_batches(split, settings, sizes):
    """However many images it gives, in batches of whatever sizes: each is one whole step."""
    seen = []

    class Look(Callback):
        def on_batch(self, epoch, batch, batches, loss):
            seen.append((batch, batches))

    loader = DataLoader(Items(split), **settings)
    model = network()
    history = train(model, build_loss("dhida", 8), loader, TINY, callbacks=[Look()])
    assert seen == 2 * [(i + 1, len(sizes)) for i in range(len(sizes))]
    assert len(history.epochs) == 2
    assert torch.equal(weights(model), weights(by_hand(loader, TINY)))


def test_batches_of_several_sizes_are_not_accumulated(split):
    loader = DataLoader(Items(split), batch_sampler=[range(5), range(5, 30)])
    with pytest.raises(ValueError, match="`accumulate` must be 1 with a batch sampler of your own"):
        trained(loader, TrainConfig(epochs=1, accumulate=2))


def test_a_last_batch_of_one_image_is_left_out_everywhere(split):
    part = split.take(49)  # 3·16 + 1
    for data in (part, Items(part), DataLoader(Items(part), batch_size=16, shuffle=True)):
        _, loss, history = trained(data, TrainConfig(epochs=1, batch_size=16))
        assert len(history.epochs) == 1
        assert int(loss.bank_filled.sum()) == 48


@pytest.mark.parametrize("kind", ["dataset", "loader", "generator"])
def test_a_resumed_run_is_the_same_run(split, tmp_path, kind):
    def data():
        own = torch.Generator().manual_seed(5) if kind == "generator" else None
        items = Items(split)
        return items if kind == "dataset" else DataLoader(items, 16, shuffle=True, generator=own)

    whole = trained(data(), folder=tmp_path / "whole")

    class Kill(Callback):
        def on_batch(self, epoch, batch, batches, loss):
            if (epoch, batch) == (2, 2):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(data(), folder=tmp_path / "killed", callbacks=[Kill()])
    same_run(whole, trained(data(), folder=tmp_path / "killed"))


def test_multi_hot_labels_of_a_dataset():
    split = load_dataset("fashion-multi").train.take(20)
    model = network()
    loss = build_loss("dhida", 8, 20, 10)
    train(model, loss, Items(split), TrainConfig(epochs=1, batch_size=8))
    assert torch.equal(loss.bank_labels.long(), split.labels)


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "`data` must be a Split, a Dataset of .*got 'int'"),
        ([1, 2], "`data` must be a Split, a Dataset"),
        (torch.zeros(4, 1, 28, 28), "`data` must be a Split, a Dataset"),
        (Endless(), "`data` must be a Split, a Dataset"),
        (DataLoader(Endless()), "`data` must be one that knows how many batches it has"),
        (TensorDataset(torch.zeros(20, 1, 28, 28)), "`data` must be pairs of image and label"),
    ],
    ids=["int", "list", "tensor", "stream", "loader of a stream", "no labels"],
)
def test_what_cannot_be_trained_on(data, message):
    with pytest.raises(ValueError, match=message):
        trained(data)


def test_images_that_are_no_tensors(split):
    class Pictures(Items):
        def __getitem__(self, i):
            return Image.fromarray(self.split.picture(i)), 0

    for call in (lambda data: trained(data), lambda data: encode(network(), data)):
        with pytest.raises(ValueError, match=r"`data` must be images as tensors C×H×W.*got 'Image'"):
            call(Pictures(split))


def test_settings_that_need_a_split(split):
    for data in (Items(split), DataLoader(Items(split), 16)):
        with pytest.raises(ValueError, match='`augment` must be "none" with data of your own'):
            trained(data, TrainConfig(epochs=1, augment="flip"))
        with pytest.raises(ValueError, match="`data_on_device` must be False"):
            trained(data, TrainConfig(epochs=1, data_on_device=True))


# ---- augment= ---------------------------------------------------------------------------------------------


def test_a_callable_augments_each_image(split):
    """It sees single normalised images, draws from the epoch's generator, and comes after the named one."""
    seen = []

    def dim(image):
        seen.append(tuple(image.shape))
        return image * torch.rand(())

    one, two, plain = trained(split, augment=dim), trained(split, augment=dim), trained(split)
    assert set(seen) == {(1, 28, 28)}
    assert len(seen) == 2 * 2 * 56
    same_run(one, two)
    assert not torch.equal(weights(one[0]), weights(plain[0]))
    same_run(one, trained(Items(split), augment=dim))
    loaders = [DataLoader(Items(split), 16, shuffle=True) for _ in range(2)]
    same_run(*(trained(loader, augment=dim) for loader in loaders))
    same_run(plain, trained(split, augment=lambda image: image))
    flipped = TrainConfig(epochs=2, batch_size=16, lr=1e-3, augment="flip")
    assert not torch.equal(weights(trained(split, flipped, augment=dim)[0]), weights(one[0]))


def test_a_transform_of_torchvision(split):
    v2 = pytest.importorskip("torchvision.transforms.v2")
    transform = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(28, padding=2)])
    same_run(trained(split, augment=transform), trained(split, augment=transform))


def test_wrong_augment(split):
    with pytest.raises(ValueError, match="`augment` must be a function"):
        trained(split, augment="flip")
    with pytest.raises(ValueError, match=r"`augment` must be a function .* got 'int'"):
        trained(split, augment=lambda image: 3)


# ---- optimizers -------------------------------------------------------------------------------------------

KINDS = {
    "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD, "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}  # fmt: skip


@pytest.mark.parametrize("name", TrainConfig.OPTIMIZERS)
def test_optimizers_by_name(split, name):
    config = TrainConfig(epochs=1, batch_size=16, lr=1e-3, weight_decay=0.01, optimizer=name)
    made = build_optimizer(network(), config)
    assert type(made) is KINDS[name]
    assert (made.defaults["lr"], made.defaults["weight_decay"]) == (1e-3, 0.01)
    by_name = trained(split, config)
    more = {"momentum": 0.9} if name == "sgd" else {}
    by_factory = trained(
        split, config, optimizer=lambda groups: KINDS[name](groups, lr=9.0, weight_decay=0.01, **more)
    )  # the rate is the schedule's
    same_run(by_name, by_factory)
    assert not torch.equal(weights(by_name[0]), weights(network()))


def test_wrong_optimizers(split):
    with pytest.raises(ValueError, match=r"`optimizer` must be one of .*did you mean 'adamw'\?"):
        TrainConfig(optimizer="adamW")
    with pytest.raises(ValueError, match=r"`optimizer` must be a function .* got 'int'"):
        trained(split, optimizer=lambda groups: 3)


def test_a_state_of_another_optimizer_or_augment_is_refused(split, tmp_path):
    trained(split, folder=tmp_path, optimizer=torch.optim.Adagrad, augment=torch.clone)
    again = {"folder": tmp_path}
    trained(split, **again, optimizer=torch.optim.Adagrad, augment=torch.clone)
    with pytest.raises(ValueError, match=r"holds another run's state .*optimizer was 'Adagrad', is now 'rms"):
        trained(split, **again, augment=torch.clone)
    with pytest.raises(ValueError, match=r"augment was 'none, .*clone', is now 'none'"):
        trained(split, **again, optimizer=torch.optim.Adagrad)


def test_the_backbone_may_have_a_rate_of_its_own(split):
    model = network()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    config = TrainConfig(epochs=1, batch_size=16, lr=1e-3, backbone_rate=0.25, optimizer="sgd")
    groups = build_optimizer(model, config).param_groups
    assert [g["scale"] for g in groups] == [1.0, 0.25]
    assert len(groups[0]["params"]) == 2  # the hash layer
    assert sum(len(g["params"]) for g in groups) == len(start)

    class Rates(nn.Module):
        def forward(self, u, labels, index):
            return u.sum()  # every gradient is the same at the same weights

    moved = {}
    for rate in (1.0, 0.25, 0.0):
        other = network()
        one = TrainConfig(epochs=1, batch_size=56, lr=1e-4, weight_decay=0, backbone_rate=rate,
                          optimizer="sgd")  # fmt: skip
        train(other, Rates(), split, one)
        moved[rate] = {name: p.detach() - start[name] for name, p in other.named_parameters()}
    for name in start:
        share = 0.25 if name.startswith("backbone.") else 1.0
        torch.testing.assert_close(moved[0.25][name], share * moved[1.0][name], rtol=1e-3, atol=1e-7)
        if name.startswith("backbone."):
            assert not moved[0.0][name].any()
    assert moved[1.0]["backbone.conv1.weight"].any()
    with pytest.raises(ValueError, match="`backbone_rate` must be 1 for a network without `backbone`"):
        build_optimizer(nn.Linear(3, 3), config)


# ---- encode and outputs -----------------------------------------------------------------------------------


def test_whatever_holds_the_images_gives_the_same_codes(split):
    model = network().eval()
    x, y = split.batch(range(len(split)))
    u = outputs(model, split)
    assert u.shape == (56, 8)
    each = [
        x, Items(split), TensorDataset(x, y), TensorDataset(x), Subset(split, range(56)), list_of(x),
        DataLoader(Items(split), 32), DataLoader(x, 32), DataLoader(TensorDataset(x), 32),
    ]  # fmt: skip
    for data in each:
        torch.testing.assert_close(outputs(model, data), u, rtol=0, atol=0)
        assert torch.equal(encode(model, data), torch.where(u >= 0, 1.0, -1.0))
    torch.testing.assert_close(outputs(model, x, batch_size=7), u, rtol=1e-4, atol=1e-5)
    one_hot = network(code_rule="one-hot")
    assert ((encode(one_hot, x) > 0).sum(dim=1) == 1).all()
    model.train()
    encode(model, x[:3])
    assert model.training, "the mode comes back"


class list_of(Dataset):
    """Images alone."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i]


@pytest.mark.parametrize(
    "data", [3, None, "images", [torch.zeros(1, 28, 28)], Endless()], ids=lambda data: type(data).__name__
)
def test_what_cannot_be_encoded(data):
    for call in (encode, outputs):
        with pytest.raises(ValueError, match="`data` must be a Split, a tensor of images, a Dataset, or"):
            call(network(), data)


def test_a_built_run_knows_its_data(stripes):
    data, model, loss = build(RunConfig().change(dataset="stripes", backbone="narrow-resnet", weights=None,
                                                 width=2, method="classifier"))  # fmt: skip
    assert (model.preprocess, model.class_names) == (data.preprocess, data.class_names)
    assert (model.bits, model.code_rule) == (3, "one-hot")
    assert loss.bits == 3
