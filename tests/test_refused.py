"""What random calls found in the library (`fuzzing`), each by hand: one sentence that names the argument."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dhida_lib.backbones import build_backbone
from dhida_lib.config import RunConfig, TrainConfig
from dhida_lib.data import (
    Images,
    Preprocess,
    Protocol,
    RetrievalData,
    Split,
    batches,
    random_flip,
    random_shift,
)
from dhida_lib.data.files import shrunk
from dhida_lib.data.protocols import seeded_bits, split_rows
from dhida_lib.data.sources.fashion_multi import draw_canvases
from dhida_lib.data.splits import assemble
from dhida_lib.experiments import find, paired, plan, repeat, tuned
from dhida_lib.frozen import cached_maps, with_maps
from dhida_lib.losses import build_loss, check_options
from dhida_lib.models import HashNetwork, Head, load_model, save_model
from dhida_lib.records import as_recorded, save_record, weights_name
from dhida_lib.runs import build, hold_out, measure
from dhida_lib.search import CodeIndex, unpack
from dhida_lib.search.photos import find_similar
from dhida_lib.search.store import CodeStore
from dhida_lib.training import (
    History,
    PrintLog,
    build_optimizer,
    encode,
    learning_rate,
    outputs,
    pick_device,
    train,
)
from dhida_lib.training.resume import load_state, save_state

SIDE = 8
FORM = Preprocess(3, SIDE)
MODEL = HashNetwork("narrow-resnet", "none", 8, width=1)
X = torch.zeros(2, 3, SIDE, SIDE)
GENERATOR = torch.Generator()


def split(**change):
    given = {
        "pixels": torch.zeros(6, 3, SIDE, SIDE, dtype=torch.uint8),
        "labels": torch.arange(6) % 3,
        "indices": torch.arange(6),
        "preprocess": FORM,
    }
    return Split(**(given | change))


def arrays(**change):
    pair = np.zeros((4, 5, 5)), np.array([0, 1, 2, 0])
    return RetrievalData.from_arrays(**({"query": pair, "train": pair, "database": pair} | change))


SPLIT, CUT = split(), split(preprocess=Preprocess(3, SIDE, crop=4, stored=SIDE))
RULE = Protocol("p", 1, 1, True, None, "For tests.")
DATA = RetrievalData("tiny", RULE, 0, ("a", "b", "c"), SPLIT, SPLIT, SPLIT, "")
LOSS, CONFIG = build_loss("dhida", 8), TrainConfig(epochs=1, device="cpu")
ROW = {0: object()}

REFUSED = {
    # images and splits
    "rows": [lambda: split(rows=torch.arange(1, 7)), lambda: split(rows=torch.tensor([-1] * 6))],
    "channels": [lambda: Preprocess(np.array([3]), SIDE), lambda: Preprocess(2, SIDE)],
    "preprocess": [lambda: arrays(preprocess=3), lambda: Preprocess.from_dict({"channels": 3, 4: 5})],
    "query": [lambda: arrays(query=(np.zeros((4, 5, 5)), np.array([0, -1, 2, 0])))],
    "image": [lambda: FORM.pixels(torch.zeros(3, 4, 4).to_sparse())],
    "device": [
        lambda: SPLIT.to("meta"),
        lambda: SPLIT.to("no-such-device"),
        lambda: SPLIT.to(3),
        lambda: SPLIT.batch([0], device="cpu"),
        lambda: batches(SPLIT, 2, device=1.5),
        lambda: pick_device(np.zeros((0, 8))),
        lambda: pick_device(None),
    ],
    "flips": [
        lambda: SPLIT.batch([0], flips=torch.ones(1)),
        lambda: SPLIT.batch([0], flips=np.ones(1, bool)),
    ],
    "corners": [
        lambda: CUT.batch([0], corners=torch.tensor([[0, 5]])),
        lambda: CUT.batch([0], corners=torch.tensor([[0.0, 1.0]])),
        lambda: CUT.batch([0, 1], corners=torch.tensor([[0, 1]])),
    ],
    "batch": [
        lambda: random_flip(np.zeros(2)),
        lambda: random_flip(X.to_sparse()),
        lambda: random_shift(X[0], 1),
        lambda: random_shift(range(3), 1),
    ],
    "generator": [
        lambda: random_flip(X, 3),
        lambda: random_shift(X, 1, []),
        lambda: batches(SPLIT, 2, generator="x"),
    ],
    "fill": [
        lambda: random_shift(X, 1, GENERATOR, [10**400]),
        lambda: random_shift(X, 1, GENERATOR, torch.zeros(2)),
        lambda: random_shift(X, 1, GENERATOR, "x"),
    ],
    "pixels": [
        lambda: random_shift(X, SIDE + 1),
        lambda: assemble("x", Images(np.zeros(3), np.arange(3)), RULE, 0, ("a", "b", "c"), FORM),
        lambda: FORM.normalise(X),
        lambda: FORM.normalise(torch.zeros(2, 1, 4, 4, dtype=torch.uint8)),
    ],
    "split": [lambda: batches(None, 2), lambda: cached_maps(MODEL, "x")],
    "share": [
        lambda: batches(SPLIT, 2, share=(2, 2)),
        lambda: batches(SPLIT, 2, share=["3", 2]),
        lambda: batches(SPLIT, 2, share=3),
    ],
    "held_out": [lambda: hold_out(DATA, "0.1"), lambda: hold_out(DATA, torch.tensor(0.5))],
    "shape": [lambda: seeded_bits([[2]], 0), lambda: seeded_bits(None, 0), lambda: seeded_bits(-1, 0)],
    "class_names": [
        lambda: split_rows(np.arange(6) % 3, RULE, 0, 3),
        lambda: split_rows(np.arange(6) % 3, RULE, 0, (1, 2, 3)),
        lambda: arrays(class_names=np.array([1, 2])),
        lambda: arrays(train=(np.zeros((2, 5, 5)), np.array([0, 2**40]))),
    ],
    "images": [
        lambda: assemble("x", [1], RULE, 0, ("a",), FORM),
        lambda: draw_canvases(torch.zeros(4, 2, 2), np.arange(4), 2, 0, 0, 4),
    ],
    "files": [lambda: shrunk(3, 4), lambda: shrunk("ab", 4)],
    # networks and training
    "x": [
        lambda: MODEL(X.double()),
        lambda: MODEL(X.half()),
        lambda: MODEL(X.to_sparse()),
        lambda: MODEL(X.to("meta")),
        lambda: MODEL.train().feature_map(X[:1, :, :1, :1]),
    ],
    "weights": [
        lambda: build_backbone("narrow-resnet", np.array([None, 1])),
        lambda: weights_name(3),
        lambda: weights_name(["imagenet"]),
    ],
    "model": [
        lambda: outputs(None, SPLIT),
        lambda: encode(nn.Identity(), SPLIT),
        lambda: measure(nn.Identity(), DATA),
        lambda: train(1.5, LOSS, SPLIT, CONFIG),
        lambda: save_model(nn.Identity(), "never-written"),
        lambda: build_optimizer("x", CONFIG),
        lambda: with_maps([], DATA),
    ],
    "network": [lambda: Head(3), lambda: Head(MODEL)],
    "mode": [lambda: MODEL.train(np.True_), lambda: MODEL.train("yes")],
    "optimizer": [
        lambda: build_optimizer(MODEL, CONFIG, {}),
        lambda: train(MODEL, LOSS, SPLIT, CONFIG, optimizer=3),
    ],
    "augment": [lambda: train(MODEL, LOSS, SPLIT, CONFIG, augment="flip")],
    "loss": [lambda: train(MODEL, "x", SPLIT, CONFIG)],
    "callbacks": [
        lambda: train(MODEL, LOSS, SPLIT, CONFIG, callbacks=[3]),
        lambda: train(MODEL, LOSS, SPLIT, CONFIG, callbacks=PrintLog()),
    ],
    "about": [
        lambda: train(MODEL, LOSS, SPLIT, CONFIG, about={1: 2}),
        lambda: CodeIndex(8).save("never-written", np.zeros(0)),
        lambda: save_model(MODEL, "never-written", [1]),
        lambda: save_model(MODEL, "never-written", {1: 2}),
    ],
    "config": [
        lambda: learning_rate(None, 0, 1),
        lambda: build(None),
        lambda: find(None, []),
        lambda: as_recorded(np.zeros(2)),
        lambda: build_optimizer(MODEL, None),
    ],
    "step": [lambda: learning_rate(CONFIG, -1, 1), lambda: learning_rate(CONFIG, 1.5, 1)],
    "name": [lambda: History([{"epoch": 1.0}]).column([]), lambda: CodeStore("never-made", 1.5)],
    "data": [
        lambda: measure(MODEL, None),
        lambda: hold_out(SPLIT, 0.5),
        lambda: outputs(MODEL, [1, 2]),
        lambda: encode(MODEL, None),
        lambda: with_maps(MODEL, None),
    ],
    "method": [lambda: measure(MODEL, DATA, np.array(["a", "b"]))],
    "options": [lambda: check_options("dhida", 3), lambda: check_options("dhida", {1: 2})],
    # records, plans, indices
    "record": [lambda: save_record(3, "never-written")],
    "a": [lambda: paired(3, {}), lambda: paired(ROW, ROW)],
    "change": [
        lambda: tuned("dhida", "fashion-mini", [], 3),
        lambda: tuned("dhida", "fashion-mini", [], {1: 2}),
        lambda: plan("tune", change=[1]),
        lambda: repeat("no-such-file", change="x"),
    ],
    "init_std": [lambda: plan("table3", init_std=np.array(["a"])), lambda: plan("table3", init_std=[0.0])],
    "seeds": [lambda: plan("table3", seeds=3), lambda: plan("table3", seeds=[[0]])],
    "bits": [lambda: unpack(np.zeros((2, 1), np.uint8), b"3"), lambda: plan("table3", bits=16)],
    "packed": [lambda: unpack([[1]], 8), lambda: unpack(torch.zeros(2, 1, dtype=torch.uint8), 8)],
    "only": [lambda: find_similar("x", "y", "z", only=b"*.png")],
    "path": [lambda: load_model(""), lambda: CodeIndex.load("."), lambda: CodeIndex(8).save("")],
    "columns": [lambda: CodeStore("t", columns="x"), lambda: CodeStore("t", columns={1: 2})],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "call"),
    [pytest.param(n, c, id=f"{n}-{i}") for n, calls in REFUSED.items() for i, c in enumerate(calls)],
)
def test_refused_by_name(name, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^`{name}` must be") as caught:
        call()
    assert len(str(caught.value)) < 1000
    assert not list(tmp_path.iterdir())


def test_a_run_that_json_cannot_describe_is_said_before_the_first_epoch(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint\.json is not written: JSON cannot hold its content"):
        train(MODEL, LOSS, SPLIT, CONFIG, folder=tmp_path / "run", about={"a": object()})
    assert not list(tmp_path.iterdir())


def test_a_state_of_another_optimizer_leaves_the_network_alone(tmp_path):
    saved = HashNetwork("narrow-resnet", "none", 8, width=1)
    save_state(tmp_path, saved, LOSS, build_optimizer(saved, CONFIG), 1, {})
    other = HashNetwork("narrow-resnet", "none", 8, width=1)
    before = {name: t.clone() for name, t in other.state_dict().items()}
    split_rates = RunConfig().change(backbone_rate=0.1).training
    with pytest.raises(ValueError, match="holds the state of another optimizer"):
        load_state(tmp_path, other, LOSS, build_optimizer(other, split_rates))
    assert all(torch.equal(t, before[name]) for name, t in other.state_dict().items())


def test_a_measure_that_no_record_has(tmp_path):
    from fuzz_values import World

    record = World(tmp_path / "world").record
    for wrong in ("no such", None, ["map"], "precision_recall"):
        with pytest.raises(ValueError, match=r"^`measure` must be"):
            paired({0: record}, {0: record}, wrong)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    made = CodeStore(tmp_path_factory.mktemp("tables") / "t", "codes", 8)
    made.add(torch.ones(2, 8), [1, 2])
    return made


@pytest.mark.parametrize("where", [None, b"id = 1", 3, ("id = 1",), {"id": 1}])
def test_a_condition_is_text(where, table):
    for ask in (table.delete, table.update):
        with pytest.raises(ValueError, match=r"^`where` must be"):
            ask(where)
    assert len(table) == 2


def test_a_condition_over_which_the_parser_panics(table):
    with pytest.raises(ValueError, match="`where` or a value is not understood"):
        table.delete("$\\frac{")
    assert len(table) == 2


@pytest.mark.parametrize("name", ["", "a b", "%s", "a/b", "x" * 300])
def test_a_tables_name_is_a_name(name, tmp_path):
    with pytest.raises(ValueError, match=r"^`name` must be a table's name: letters"):
        CodeStore(tmp_path / "t", name, 8)


def test_an_address_without_a_bucket(tmp_path):
    with pytest.raises(ValueError, match=r"^`uri` must be"):
        CodeStore("s3://", "codes", 8)
