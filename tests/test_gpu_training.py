"""What training needs on a GPU, held on a CPU: number formats, waits, memory, sessions (Chapter 12)."""

import json
import warnings

import pytest
import torch
from torch import nn

import dhida_lib
from dhida_lib import records, training
from dhida_lib._validate import trusted, trusting
from dhida_lib.config import PROFILES
from dhida_lib.data import load_dataset
from dhida_lib.losses import LOSSES, build_loss
from dhida_lib.models import HashNetwork
from dhida_lib.runs import run
from dhida_lib.training import (
    TrainConfig,
    Waits,
    choose_precision,
    devices,
    loop,
    memory,
    resume,
    session,
    train,
)

SPLIT = load_dataset("fashion-mini").train.take(70)
CARDS = {"T4": (7, 5), "V100": (7, 0), "L4": (8, 9), "A100": (8, 0), "H100": (9, 0)}
TINY = PROFILES["fast"].change(epochs=3, width=4, held_out=0.95, batch_size=25, seed=3)  # 100 images train


def small(attention="none", bits=6):
    torch.manual_seed(0)
    return HashNetwork("narrow-resnet", attention, bits, in_channels=1, width=4)


def small_run(model=None, loss=None, split=SPLIT, callbacks=(), folder=None, **settings):
    model = model or small()
    loss = loss or dhida_lib.DHIDALoss(bits=6, num_train=len(SPLIT), num_classes=10)
    config = TrainConfig(**{"epochs": 2, "batch_size": 16, "lr": 1e-3, "device": "cpu", **settings})
    return model, loss, train(model, loss, split, config, callbacks, folder)


def weights(model):
    return torch.cat([p.detach().flatten().double() for p in model.state_dict().values()])


class Notes(training.Callback):
    def __init__(self):
        self.texts, self.losses = [], []

    def on_note(self, text):
        self.texts.append(text)

    def on_batch(self, epoch, batch, batches, loss):
        self.losses.append((epoch, batch, loss))


# ---- number formats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "auto", "tf32"),
    [
        ("T4", "float16", "float32"),
        ("V100", "float16", "float32"),
        ("L4", "bfloat16", "tf32"),
        ("A100", "bfloat16", "tf32"),
        ("H100", "bfloat16", "tf32"),
    ],
)
def test_the_format_of_five_cards(card, auto, tf32):
    capability = CARDS[card]
    number = ".".join(map(str, capability))
    precision, why = choose_precision("auto", "cuda", capability)
    assert precision == auto
    assert number in why
    assert choose_precision("tf32", "cuda", capability).precision == tf32
    for asked in ("float32", "float16", "bfloat16"):
        found = choose_precision(asked, "cuda", capability)
        assert found.precision == asked
        slow = asked == "bfloat16" and capability < (8, 0)
        assert ("slow" in found.why and "float16" in found.why) == slow


def test_the_format_of_what_is_no_such_card():
    assert choose_precision("auto", "cuda", (6, 0)).precision == "float32"
    for kind in ("cpu", "mps"):
        assert (
            choose_precision("auto", kind).precision == choose_precision("tf32", kind).precision == "float32"
        )
        assert choose_precision("float16", kind) == ("float16", f"asked for, on a device of type {kind}")
    with pytest.raises(ValueError, match="`asked` must be one of 'auto'"):
        choose_precision("float8", "cpu")
    with pytest.raises(ValueError, match="`capability` must be the compute capability"):
        choose_precision("auto", "cuda")


def test_slow_bfloat16_is_a_warning(monkeypatch):
    card = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.warns(
        UserWarning, match="`precision` bfloat16: .* 7.5 .*bypassed.* float16 is the fast format"
    ):
        devices.chosen(TrainConfig(precision="bfloat16"), card)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert devices.chosen(TrainConfig(precision="auto"), card).precision == "float16"
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
        assert devices.chosen(TrainConfig(precision="bfloat16"), card).precision == "bfloat16"


def test_float32_means_float32_and_tf32_is_put_back():
    def state():
        return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()

    before = state()
    with devices.arithmetic():
        assert state() == (False, "highest")
        with devices.arithmetic(tf32=True):
            assert state() == (True, "high")
        assert state() == (False, "highest")
    assert state() == before
    seen = []

    class Look(training.Callback):
        def on_epoch(self, row, model):
            seen.append(state())

    small_run(callbacks=[Look()], epochs=1)
    assert seen == [(False, "highest")]
    assert state() == before


def test_float16_scales_its_loss_and_counts_skipped_steps():
    plain, _, exact = small_run()
    notes = Notes()
    half, _, rounded = small_run(callbacks=[notes], precision="float16")
    assert rounded.column("loss")[1] == pytest.approx(exact.column("loss")[1], rel=0.02)
    assert rounded.column("skipped")[1] == [0, 0]
    assert "skipped" not in exact.epochs[0]
    assert not torch.equal(weights(plain), weights(half))
    assert {p.grad.dtype for p in half.parameters() if p.grad is not None} == {torch.float32}
    assert notes.texts[0] == "precision float16: asked for, on a device of type cpu"
    assert rounded.formats == ["float16: asked for, on a device of type cpu"]

    class Steep(nn.Module):
        """Its gradient is finite, but not once it is multiplied by the scaler's 65,536."""

        def forward(self, u, labels, index):
            return 1e36 * u.square().sum()

    model = small()
    before = weights(model)
    _, _, history = small_run(model, Steep(), epochs=1, precision="float16")
    assert history.column("skipped")[1] == [5]  # all batches of the epoch
    parameters = dict(model.named_parameters())
    start = dict(small().named_parameters())
    assert all(torch.equal(parameters[name], start[name]) for name in parameters)
    assert len(before) == len(weights(model))


def test_the_scaler_goes_on_where_it_was(tmp_path):
    class Kill(training.Callback):
        def on_batch(self, epoch, batch, batches, loss):
            if (epoch, batch) == (2, 2):
                raise KeyboardInterrupt

    class Steep(nn.Module):
        def forward(self, u, labels, index):
            return 1e33 * u.square().sum()

    settings = {"precision": "float16", "epochs": 3, "lr": 1e-5}
    whole, _, history = small_run(loss=Steep(), **settings)
    assert sum(history.column("skipped")[1]) > 0
    with pytest.raises(KeyboardInterrupt):
        small_run(loss=Steep(), folder=tmp_path, callbacks=[Kill()], **settings)
    (file,) = tmp_path.glob("epoch-*.pt")
    assert torch.load(file, weights_only=True)["scaler"]["scale"] < 65536
    again, _, resumed = small_run(loss=Steep(), folder=tmp_path, **settings)
    assert torch.equal(weights(whole), weights(again))
    assert resumed.column("skipped") == history.column("skipped")


def test_the_format_is_recorded_with_its_reason():
    _, record = run(TINY.change(epochs=1, precision="auto", device="cpu"))
    assert record.machine["precision"].startswith("float32: a device of type cpu")
    _, record = run(TINY.change(epochs=1, device="cpu"))
    assert "precision" not in record.machine


# ---- waits -------------------------------------------------------------------------------------------------


def test_waits_are_counted():
    x = torch.arange(4.0)
    reads = {
        "item": lambda: x[0].item(),
        "bool": lambda: bool(x.isfinite().all()),
        "int": lambda: int(x.max()),
        "tolist": x.tolist,
        "cpu": x.cpu,
        "mask": lambda: x[x > 1],
        "nonzero": lambda: x.nonzero(),
        "unique": lambda: x.unique(),
        "write through a mask": lambda: x.index_put((x > 9,), torch.tensor(0.0)),
    }
    for name, read in reads.items():
        with Waits() as waits:
            (x * 2).sum()
            assert waits.count == 0
            read()
        assert waits.count >= 1, name
        assert all("test_gpu_training.py" in where for where in waits.where)
    with Waits() as waits:
        y = x.where(x > 1, x).sort().indices[:2]
        x[y].mean()
    assert waits.count == 0


def test_on_a_gpu_pytorch_itself_says_what_waits(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with Waits() as waits:
        warnings.warn("Synchronization debug mode is a prototype feature", stacklevel=1)
        assert waits.count == 0
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        assert waits.count == 2
    assert modes == ["warn", 0]
    assert all(where.startswith("wait, test_gpu_training.py:") for where in waits.where)


def counted(monkeypatch, loss, split=SPLIT, **settings):
    """The waits of every step of two epochs: those before its backward pass, and all."""
    steps, real, backward = [], loop._Step.__call__, torch.Tensor.backward
    current = []

    def watch(step, batch, number, epoch):
        with Waits() as waits:
            current[:] = [waits]
            out = real(step, batch, number, epoch)
        steps.append((before.pop(), waits.count, waits.where))
        return out

    before = []

    def marked(self, *args, **kwargs):
        before.append(current[0].count)
        return backward(self, *args, **kwargs)

    monkeypatch.setattr(loop._Step, "__call__", watch)
    monkeypatch.setattr(torch.Tensor, "backward", marked)
    bits = loss.bits
    small_run(small("ida", bits), loss, split, **settings)
    monkeypatch.undo()
    return steps


BY_ROWS = {"dfh", "dtsh"}
"""Methods whose own formula chooses rows by their values."""


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_no_step_waits(name, monkeypatch):
    bits = LOSSES[name].length(6, 10)
    loss = build_loss(name, bits, len(SPLIT), 10)
    steps = counted(monkeypatch, loss)
    assert len(steps) == 10
    waits = [where for _, _, where in steps]
    assert (sum(map(len, waits)) > 0) == (name in BY_ROWS), waits


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_with_a_scaler_a_step_waits_once_and_after_its_backward_pass(precision, monkeypatch):
    loss = dhida_lib.DHIDALoss(bits=6, num_train=len(SPLIT), num_classes=10)
    steps = counted(monkeypatch, loss, precision=precision, augment="flip-shift", data_on_device=True)
    assert {(before, count) for before, count, _ in steps} == {(0, int(precision == "float16"))}


def test_several_labels_make_no_step_wait(monkeypatch):
    split = load_dataset("fashion-multi").train.take(70)
    assert split.labels.ndim == 2
    loss = dhida_lib.DHIDALoss(bits=6, num_train=70, num_classes=split.labels.shape[1])
    assert {count for _, count, _ in counted(monkeypatch, loss, split)} == {0}


def test_the_bank_is_the_same_whether_its_rows_are_foreseen_or_asked_for():
    for empty_rows in ("drop", "keep"):
        asked, told = (
            dhida_lib.DHIDALoss(bits=6, num_train=70, num_classes=10, empty_rows=empty_rows) for _ in range(2)
        )
        order = torch.randperm(70, generator=torch.Generator().manual_seed(1))
        u = torch.randn(70, 6, generator=torch.Generator().manual_seed(2))
        for at in [*order.split(16), order[:16]]:
            told.foresee(at)
            pairs = [loss.known(u[at], SPLIT.labels[at], at) for loss in (asked, told)]
            assert all(torch.equal(a, b) for a, b in zip(*pairs, strict=True))
        one = torch.tensor([3])
        told.foresee(None)
        assert torch.equal(
            told.known(u[one], SPLIT.labels[one], one)[0], asked.known(u[one], SPLIT.labels[one], one)[0]
        )


def test_what_was_foreseen_does_not_outlive_a_call_without_it():
    loss = dhida_lib.DHIDALoss(bits=6, num_train=70, num_classes=10)
    u, y = torch.ones(4, 6), torch.zeros(4, dtype=torch.long)
    loss.foresee(torch.arange(4))
    loss(u, y, torch.arange(4))
    loss(u, y, torch.arange(4, 8))  # nobody foresaw these
    loss.foresee(torch.arange(8, 12))
    assert len(loss.known(u, y, torch.arange(8, 12))[0]) == 12
    for wrong in ([70], [-1], [0.5], [True]):
        with pytest.raises(ValueError, match="`places` must be"):
            loss.foresee(wrong)


def test_what_a_user_calls_is_checked_and_so_is_what_the_trainer_is_given():
    loss = dhida_lib.DHIDALoss(bits=6, num_train=70, num_classes=10)
    u = torch.ones(2, 6)
    for labels, index, name in (([0, 10], [0, 1], "labels"), ([0, 1], [0, 70], "index")):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            loss(u, torch.tensor(labels), torch.tensor(index))
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            loss.check_values(labels, index)
    with pytest.raises(ValueError, match="`labels` must be class ids"):
        loss(u, torch.full((2, 10), 2), [0, 1])
    for wrong in ([], [0.5], [[1, 2]]):
        with pytest.raises(ValueError, match="`labels`"):
            loss.check_values(wrong)
    with pytest.raises(ValueError, match="`index` must be integers"):
        loss.check_values([1], [0.5])
    assert not trusted()
    with trusting():
        assert trusted()
    few = dhida_lib.DHIDALoss(bits=6, num_train=60, num_classes=10)
    with pytest.raises(ValueError, match="`index` must be within 0 … 59"):
        small_run(loss=few)
    narrow = dhida_lib.DHIDALoss(bits=6, num_train=70, num_classes=5)
    with pytest.raises(ValueError, match="`labels` must be class ids 0 … 4"):
        small_run(loss=narrow)
    pairs = torch.utils.data.TensorDataset(torch.randn(70, 1, 28, 28), SPLIT.labels)
    with pytest.raises(ValueError, match="`labels` must be class ids 0 … 4"):
        small_run(loss=dhida_lib.DHIDALoss(bits=6, num_train=70, num_classes=5), split=pairs)


@pytest.mark.parametrize("every", [1, 3, 16])
def test_losses_that_are_read_together_are_the_same(every, monkeypatch):
    plain = Notes()
    one, _, history = small_run(callbacks=[plain])
    monkeypatch.setattr(devices, "reads_every", lambda device: every)
    late = Notes()
    other, _, read = small_run(callbacks=[late])
    assert late.losses == plain.losses
    assert read.column("loss") == history.column("loss")
    assert torch.equal(weights(one), weights(other))

    class Bad(nn.Module):
        calls = 0

        def forward(self, u, labels, index):
            self.calls += 1
            return u.sum() * (float("nan") if self.calls == 7 else 1)

    with pytest.raises(FloatingPointError, match=r"The loss is nan in epoch 2, step 2\. A lower `lr`"):
        small_run(loss=Bad())


def test_a_loss_that_diverges_leaves_the_last_state(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "reads_every", lambda device: 16)

    class Bad(dhida_lib.DHIDALoss):
        calls = 0

        def formula(self, *args):
            self.calls += 1
            return super().formula(*args) * (float("inf") if self.calls == 13 else 1)

    with pytest.raises(FloatingPointError, match="The loss is inf in epoch 3, step 3"):
        small_run(loss=Bad(6, 70, 10), folder=tmp_path, epochs=3)
    assert json.loads((tmp_path / "checkpoint.json").read_text())["epoch"] == 2


# ---- memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["none", "ida"])
def test_recomputing_gives_the_same_gradients(attention):
    kept, _, history = small_run(small(attention))
    again, _, other = small_run(small(attention), recompute=True)
    assert torch.equal(weights(kept), weights(again))  # the running means too: each batch counts once
    assert history.column("loss") == other.column("loss")
    assert again.backbone.recompute
    small_run(again, epochs=1)
    assert not again.backbone.recompute  # it is the run's, not the network's


def test_recomputing_keeps_less():
    def saved(recompute):
        net, sizes = small().train(), []
        net.backbone.recompute = recompute
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            net(torch.randn(8, 1, 28, 28)).sum()
        return sum(sizes)

    assert saved(True) < 0.5 * saved(False)


def test_what_cannot_be_recomputed():
    with pytest.raises(ValueError, match="`recompute` must be False for a network without a backbone"):
        small_run(nn.Sequential(nn.Flatten(), nn.Linear(784, 6)), recompute=True)
    with pytest.raises(ValueError, match="`recompute` must be False with `compile`"):
        small_run(
            HashNetwork("narrow-resnet", "none", 6, in_channels=1, width=16), recompute=True, compile=True
        )


def test_a_full_memory_is_one_sentence(monkeypatch):
    text = (
        "CUDA out of memory. Tried to allocate 1.53 GiB. GPU 0 has a total capacity of 14.74 GiB of which "
        "512.12 MiB is free. Process 1 has 14.2 GiB memory in use."
    )

    class Full(nn.Module):
        def forward(self, u, labels, index):
            raise memory.OUT_OF_MEMORY(text)

    with pytest.raises(MemoryError) as caught:
        small_run(loss=Full())
    said = str(caught.value)
    assert said == (
        "The memory of cpu is full: 1.53 GiB was asked for and 512.12 MiB was free; try `recompute=True`, "
        '`precision="auto"`, or `batch_size=8` with `accumulate=2`.'
    )
    assert isinstance(caught.value.__cause__, memory.OUT_OF_MEMORY)
    config = TrainConfig(batch_size=1, recompute=True, data_on_device=True, precision="auto")
    first = memory.advice(config, "float16")
    assert len(first) == 3
    assert first[0] == "`data_on_device=False`"
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * 2**20, 2**30))
    assert "more was asked for and 3 MiB was free" in memory.explain(
        RuntimeError("full"), config, "float16", cuda
    )


# ---- sessions ----------------------------------------------------------------------------------------------


class Hands:
    """A clock that is moved by hand."""

    def __init__(self):
        self.at = 0.0

    def __call__(self):
        return self.at


def test_the_first_steps_tell_how_long_the_run_takes():
    hands = Hands()
    clock = session.Clock(TrainConfig(epochs=10, budget=12.0), steps=100, done=2, now=hands)
    marks = []
    for number in range(100):
        hands.at += 60 if number == 0 else 3  # the first step compiles
        if clock.marks(number):
            marks.append(number)
            told = clock.estimate(number)
    assert marks == [1, 19]
    assert told == (
        "about 5.0 min an epoch, 40.0 min for the 8 to come; the budget of 12 min is enough for 2",
        True,
    )
    assert hands.at == 357
    assert clock.epoch_done()  # 357 + 357 < 720
    hands.at += 300
    assert not clock.epoch_done()
    slow = session.Clock(TrainConfig(epochs=10, budget=1.0), steps=100, done=0, now=hands)
    for number in range(20):
        hands.at += 1
        if slow.marks(number):
            text, fits = slow.estimate(number)
    assert not fits
    assert text.endswith("the budget of 1 min is enough for 0")
    free = session.Clock(TrainConfig(epochs=1), steps=3, done=0, now=hands)
    assert [free.estimate(n) for n in range(3) if free.marks(n)] == [(None, True), (None, True)]
    assert [session.minutes(s) for s in (40, 210, 22320)] == ["40 s", "3.5 min", "6.2 h"]


def test_when_a_state_is_due():
    hands = Hands()
    by_time = session.Clock(TrainConfig(checkpoint_every="10 min"), 1, 0, hands)
    found = []
    for epoch in range(1, 9):
        hands.at += 240
        found.append(by_time.due(epoch))
    assert found == [False, False, True, False, False, True, False, False]
    by_epochs = session.Clock(TrainConfig(checkpoint_every=3), 1, 0, hands)
    assert [by_epochs.due(epoch) for epoch in range(1, 8)] == [False, False, True] * 2 + [False]


@pytest.mark.parametrize(
    ("value", "rhythm"),
    [
        (5, (5, None)),
        ("5", (5, None)),
        ("10 min", (None, 10)),
        ("2.5min", (None, 2.5)),
        ("1 minute", (None, 1)),
    ],
)
def test_how_often_a_state_is_written_can_be_said_in_two_ways(value, rhythm):
    assert TrainConfig(checkpoint_every=value).rhythm == rhythm


def test_a_run_stops_within_its_budget_and_goes_on(tmp_path, monkeypatch):
    whole, _, history = small_run(epochs=3)
    real, hands = session.Clock, Hands()
    monkeypatch.setattr(loop, "Clock", lambda *args: real(*args, now=hands))

    class Slow(Notes):
        def on_epoch(self, row, model):
            hands.at += 50

    notes = Slow()
    first, _, part = small_run(folder=tmp_path, callbacks=[notes], epochs=3, budget=2.0, checkpoint_every=3)
    assert len(part.epochs) == 2
    assert notes.texts[-1] == "stopped after epoch 2 of 3: no other fits into the budget"
    assert "a state of the run takes" in notes.texts[-2]
    again, _, rest = small_run(folder=tmp_path, epochs=3, budget=3.0)
    assert torch.equal(weights(whole), weights(again))
    assert rest.column("loss") == history.column("loss")
    assert not torch.equal(weights(first), weights(again))


def test_an_epoch_that_cannot_end_in_time_is_not_finished(tmp_path, monkeypatch):
    real, hands = session.Clock, Hands()
    monkeypatch.setattr(loop, "Clock", lambda *args: real(*args, now=hands))

    class Slow(Notes):
        def on_batch(self, epoch, batch, batches, loss):
            hands.at += 60

    notes = Slow()
    _, _, history = small_run(folder=tmp_path, callbacks=[notes], budget=3.0)
    assert history.epochs == []
    assert notes.texts[-1] == "stopped before epoch 1 of 2: it would not fit into the budget"
    assert list(tmp_path.iterdir()) == []


def test_the_record_of_a_stopped_run_is_not_that_of_the_run(monkeypatch, tmp_path):
    real, hands = session.Clock, Hands()
    monkeypatch.setattr(loop, "Clock", lambda *args: real(*args, now=hands))

    class Slow(training.Callback):
        def on_epoch(self, row, model):
            hands.at += 50

    _, record = run(TINY.change(budget=1.0), folder=tmp_path, callbacks=[Slow()], note="a try")
    assert record.note == "a try; stopped by its budget after 1 of 3 epochs"
    assert record.config != records.as_recorded(TINY)
    _, record = run(TINY.change(budget=60.0, checkpoint_every="10 min"), folder=tmp_path)
    assert record.config == records.as_recorded(TINY) == TINY.as_dict()
    assert len(record.history) == 3


# ---- Drive -------------------------------------------------------------------------------------------------


def test_where_drive_is(tmp_path):
    table = f"drive {tmp_path}/my\\040drive fuse.drive rw 0 0\ntmpfs /tmp tmpfs rw 0 0\nshort\n"
    assert resume.on_drive(tmp_path / "my drive" / "runs", table)
    assert not resume.on_drive(tmp_path / "my", table)
    assert not resume.on_drive(tmp_path)
    assert resume.on_drive("/content/drive/MyDrive/runs", "")


def on_drive_of_ours(monkeypatch):
    monkeypatch.setattr(resume, "on_drive", lambda folder: True)


def test_on_drive_two_states_take_turns(tmp_path, monkeypatch):
    on_drive_of_ours(monkeypatch)
    seen = []

    class Look(Notes):
        def on_epoch(self, row, model):
            seen.append({f.name: f.stat().st_ino for f in tmp_path.iterdir()})

    notes = Look()
    small_run(folder=tmp_path, callbacks=[notes], epochs=4)
    names = {"checkpoint-a.json", "checkpoint-a.pt", "checkpoint-b.json", "checkpoint-b.pt"}
    assert {f.name for f in tmp_path.iterdir()} == names
    assert seen[2] == seen[3] == {f.name: f.stat().st_ino for f in tmp_path.iterdir()}  # no file was replaced
    assert any(text.endswith("each is written in place, on Drive") for text in notes.texts)
    assert len(small_run(folder=tmp_path, epochs=4)[2].epochs) == 4


@pytest.mark.parametrize("broken", ["checkpoint-{}.pt", "checkpoint-{}.json"])
def test_a_crash_while_writing_in_place_costs_one_state(tmp_path, monkeypatch, broken):
    on_drive_of_ours(monkeypatch)
    whole, _, history = small_run(epochs=3)

    class Stop(training.Callback):
        def on_epoch(self, row, model):
            if row["epoch"] == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_run(folder=tmp_path, callbacks=[Stop()], epochs=3)
    newest = max("ab", key=lambda s: json.loads((tmp_path / f"checkpoint-{s}.json").read_text())["epoch"])
    file = tmp_path / broken.format(newest)
    file.write_bytes(file.read_bytes()[:-20])
    assert len(resume.load_about(tmp_path)["history"]) == 1
    again, _, rest = small_run(folder=tmp_path, epochs=3)
    assert torch.equal(weights(whole), weights(again))
    assert rest.column("loss") == history.column("loss")
    for file in tmp_path.glob("*.pt"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="damaged"):
        small_run(folder=tmp_path, epochs=3)


def test_the_newest_state_counts_wherever_it_was_written(tmp_path, monkeypatch):
    small_run(folder=tmp_path, epochs=1)
    model, loss, optimizer = small(), dhida_lib.DHIDALoss(6, 70, 10), None
    optimizer = training.build_optimizer(model, TrainConfig())
    about = resume.load_about(tmp_path)
    resume.save_state(tmp_path, model, loss, optimizer, 2, {**about, "history": [1, 2]}, in_place=True)
    assert resume.load_about(tmp_path)["history"] == [1, 2]
    assert resume.load_state(tmp_path, model, loss, optimizer)[0] == 2
    size = resume.state_bytes(model, loss, optimizer)
    assert size == sum(t.nbytes for part in (model, loss) for t in part.state_dict().values())
