"""Training, checkpoints, records, runs and the command line."""

import csv
import gc
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import dhida_lib
from dhida_lib import models, records, runs, training
from dhida_lib.__main__ import main
from dhida_lib._files import one_writer, read_card, sha256, write_atomic, write_card, write_json
from dhida_lib._validate import choice, positive, positive_int
from dhida_lib.config import PROFILES, LossConfig
from dhida_lib.data import load_dataset
from dhida_lib.labels import as_labels, similarity
from dhida_lib.models import HashNetwork, load_model, save_model
from dhida_lib.records import load_record
from dhida_lib.runs import build, hold_out, measure, run
from dhida_lib.training import (
    TrainConfig,
    devices,
    encode,
    feeds,
    learning_rate,
    outputs,
    resume,
    train,
)
from dhida_lib.training.callbacks import CsvLog, Monitor, PrintLog, Progress, TensorBoardLog

TINY = PROFILES["fast"].change(epochs=3, batch_size=32, width=4, held_out=0.9, seed=3)  # 200 images train


class Killed(Exception):
    pass


class Kill(training.Callback):
    """Stop the run in the middle of an epoch, as a power cut would."""

    def __init__(self, epoch, batch):
        self.at = (epoch, batch)

    def on_batch(self, epoch, batch, batches, loss):
        if (epoch, batch) == self.at:
            raise Killed


def weights(model):
    return torch.cat([p.detach().flatten().double() for p in model.state_dict().values()])


def trained(folder=None, callbacks=(), config=TINY):
    data, model, loss = build(config)
    history = train(model, loss, data.train, config.training, callbacks, folder, {"name": "test"})
    return model, loss, history


def test_one_step_of_rmsprop_by_hand():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    split = load_dataset("fashion-mini").train.take(4)
    before = model[1].weight.detach().clone()
    x, _ = split.batch(range(4))
    config = TrainConfig(epochs=1, batch_size=4, lr=0.01, weight_decay=0.1)

    class Square(nn.Module):
        def forward(self, u, labels, index):
            return (u**2).mean()

    u = x.flatten(1) @ before.T + model[1].bias.detach()
    gradient = (2 * u / u.numel()).T @ x.flatten(1) + 0.1 * before
    square = 0.01 * gradient**2  # RMSProp's running mean, decay 0.99
    expected = before - 0.01 * gradient / (square.sqrt() + 1e-8)
    history = train(model, Square(), split, config)
    torch.testing.assert_close(model[1].weight.detach(), expected, rtol=1e-4, atol=1e-5)
    assert history.epochs[0]["loss"] == pytest.approx((u**2).mean().item(), rel=1e-5)


def test_a_killed_run_resumes_to_the_same_result(tmp_path):
    whole, loss, history = trained(tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tmp_path / "killed", [Kill(3, 2)])
    state = json.loads((tmp_path / "killed" / "checkpoint.json").read_text())
    assert state["epoch"] == 2
    resumed, loss_again, history_again = trained(tmp_path / "killed")
    assert torch.equal(weights(whole), weights(resumed))
    assert torch.equal(loss.bank_codes, loss_again.bank_codes)
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in history.epochs]
    assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in history_again.epochs]
    assert len(list((tmp_path / "killed").glob("epoch-*.pt"))) == 1
    assert history_again.seconds > 0


def test_kill_minus_nine(tmp_path):
    code = (
        "import os, signal, dhida_lib\n"
        "from dhida_lib.training import Callback\n"
        "class K(Callback):\n"
        "    def on_batch(self, epoch, batch, batches, loss):\n"
        "        if epoch == 2 and batch == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "c = dhida_lib.PROFILES['fast'].change(epochs=3, width=4, held_out=0.95, seed=3)\n"
        f"dhida_lib.run(c, folder={str(tmp_path / 'run')!r}, callbacks=[K()])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    config = PROFILES["fast"].change(epochs=3, width=4, held_out=0.95, seed=3)
    model, record = run(config, folder=tmp_path / "run")
    other, unbroken = run(config)
    assert torch.equal(weights(model), weights(other))
    assert record.metrics == unbroken.metrics


def test_seed_decides_everything():
    one, _, _ = trained()
    two, _, _ = trained()
    three, _, _ = trained(config=TINY.change(seed=4))
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(three))


def test_training_lowers_the_loss_and_logs(capsys, tmp_path):
    data, model, loss = build(TINY)
    small = data.query.take(50)
    callbacks = [Monitor(small, data.database, every=2), PrintLog(2), Progress(3)]
    history = train(model, loss, data.train, TINY.training, callbacks)
    epochs, losses = history.column("loss")
    assert epochs == [1, 2, 3]
    assert losses[-1] < losses[0]
    assert history.column("map")[0] == [2]
    assert 0 < history.column("map")[1][0] < 1
    assert history.column("alpha")[1][-1] != 0
    out = capsys.readouterr().out
    assert "epoch   1" in out
    assert "epoch   2" in out
    assert "epoch   3" not in out
    with pytest.raises(ValueError, match="one of alpha"):
        history.column("nothing")


def test_another_runs_state_is_refused(tmp_path):
    trained(tmp_path)
    with pytest.raises(ValueError, match=r"lr was 0\.001, is now 0\.5"):
        trained(tmp_path, config=TINY.change(lr=0.5))


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"bits": 8}, r"network\.bits was 16, is now 8"),
        ({"width": 8}, r"network\.width was 4, is now 8"),
        ({"attention": "none"}, r"network\.attention was 'ida', is now 'none'"),
        ({"pairs": "batch"}, r"loss\.pairs was 'bank', is now 'batch'"),
        ({"backbone": "narrow-alexnet"}, r"network\.backbone was 'narrow-resnet', is now 'narrow-alexnet'"),
        ({"method": "csq"}, r"loss\.method was 'dhida', is now 'csq'"),
        ({"loss_options": {"gamma": 0.5}}, r"loss\.options\.gamma was None, is now 0\.5"),
        (
            {"split_seed": 1, "lr": 0.5},
            r"data\.split_seed was 0, is now 1; lr was 0\.001, is now 0\.5; protocol\.seed was 0",
        ),
    ],
)
def test_a_run_of_other_settings_does_not_go_on(tmp_path_factory, changes, told):
    folder = tmp_path_factory.getbasetemp() / "bits16"  # made once for all cases
    if not folder.exists():
        run(TINY.change(epochs=1), folder=folder)
    with pytest.raises(ValueError, match=rf"bits16 holds another run's state \({told}.*\)\. Choose another"):
        run(TINY.change(**{"epochs": 1, **changes}), folder=folder)


def test_a_state_of_another_network_overwrites_nothing(tmp_path):
    """Where the caller did not say what identifies the run."""
    config = TINY.change(epochs=1)
    data, model, loss = build(config)
    train(model, loss, data.train, config.training, folder=tmp_path)
    data, model, loss = build(config.change(bits=8))
    before = weights(model)
    with pytest.raises(ValueError, match=r"hash_layer.weight was 16×\d+, is now 8×"):
        train(model, loss, data.train, config.training, folder=tmp_path)
    assert torch.equal(weights(model), before)
    resume.save_state(tmp_path, model, loss, torch.optim.RMSprop(model.parameters()), 1, {"mine": 1})
    with pytest.raises(ValueError, match="a state that `train` did not write"):
        train(model, loss, data.train, config.training, folder=tmp_path)


def test_a_training_that_diverged_is_an_error(tmp_path, capsys):
    """All images in one step: the only update is the one that no later loss sees."""
    one = ["--set", "batch_size=2000", "--set", "warmup=0", "--set", "schedule=constant"]
    assert main(["train", *ARGS, *one, "--set", "lr=1e38", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "The weights hold NaN or infinity after epoch 1 (" in error
    assert "A lower `lr` (now 1e+38)" in error
    assert list(tmp_path.iterdir()) == []
    finite = TINY.change(epochs=1, batch_size=2000, warmup=0.0, schedule="constant", lr=1e36)
    with pytest.raises(ValueError, match="`model` must be a network whose training did not diverge"):
        run(finite)


def test_an_output_that_is_not_finite_is_an_error_though_the_loss_is(tmp_path):
    class Overflows(nn.Linear):
        calls = 0

        def forward(self, x):
            Overflows.calls += 1
            return super().forward(x.flatten(1)) + (float("inf") if Overflows.calls == 2 else 0)

    class Clipped(nn.Module):
        def forward(self, u, labels, index):
            return u.clamp(-1, 1).mean()

    split = load_dataset("fashion-mini").train.take(96)
    with pytest.raises(FloatingPointError, match="An output holds NaN or infinity in epoch 1, step 2"):
        train(Overflows(784, 2), Clipped(), split, TrainConfig(epochs=1, batch_size=32), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_is_not_finite_measures_encodes_and_saves_nothing(tmp_path, capsys, value):
    data, model, _ = build(TINY)
    path = save_model(model, tmp_path / "m", {"config": TINY.as_dict()})
    model.hash_layer.bias.data[3] = value
    for use in (
        lambda: outputs(model, data.query.take(5)),
        lambda: encode(model, data.query.take(5)),
        lambda: measure(model, data),
        lambda: measure(model, data, "classifier"),
        lambda: model.codes(data.query.batch(range(3))[0]),
        lambda: save_model(model, tmp_path / "m"),
    ):
        with pytest.raises(ValueError, match=r"NaN or infinity|must be (a|finite)"):
            use()
    content = read_card(path)
    save_file(model.state_dict(), tmp_path / "m.safetensors")  # as it was saved before
    digest = sha256(tmp_path / "m.safetensors")
    write_card(path, {**content, "file": "m.safetensors", "sha256": digest})
    with pytest.raises(ValueError, match=r"no trained network: hash_layer.bias holds NaN or infinity"):
        load_model(path)
    assert main(["evaluate", str(path)]) == 2
    assert "hash_layer.bias" in capsys.readouterr().err


def test_damaged_states_are_detected(tmp_path):
    trained(tmp_path)
    (file,) = tmp_path.glob("epoch-*.pt")
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(ValueError, match="damaged"):
        trained(tmp_path)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="missing"):
        trained(tmp_path)
    (tmp_path / "checkpoint.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match="lacks file"):
        trained(tmp_path)
    (tmp_path / "checkpoint.json").write_text("{}")
    with pytest.raises(ValueError, match="format 1"):
        trained(tmp_path)
    (tmp_path / "checkpoint.json").write_text("[]")
    with pytest.raises(ValueError, match="its JSON is no object"):
        trained(tmp_path)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        trained(tmp_path)


def test_a_loss_that_is_not_finite_stops(tmp_path):
    data, model, loss = build(TINY)
    with torch.no_grad():
        model.hash_layer.bias[0] = float("nan")
    with pytest.raises((FloatingPointError, ValueError)):
        train(model, loss, data.train, TINY.training)

    class Infinite(nn.Module):
        def forward(self, u, labels, index):
            return u.sum() * float("inf")

    _, model, _ = build(TINY)
    with pytest.raises(FloatingPointError, match="A lower `lr`"):
        train(model, Infinite(), data.train, TINY.training)


def test_a_batch_of_one_image_is_left_out():
    config = TINY.change(epochs=1, batch_size=32)
    data, model, loss = build(config)
    history = train(model, loss, data.train.take(33), config.training)
    assert len(history.epochs) == 1


def test_optimizer_numbers_that_are_not_tensors_survive(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = torch.optim.RMSprop(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    optimizer.state[model.weight]["plain"] = 7
    resume.save_state(tmp_path, model, nn.Module(), optimizer, 1, {"a": 1})
    fresh = torch.optim.RMSprop(model.parameters())
    assert resume.load_state(tmp_path, model, nn.Module(), fresh) == (1, {"a": 1})
    assert fresh.state[model.weight]["plain"] == 7
    assert resume.load_state(tmp_path / "none", model, nn.Module(), fresh) is None


def test_learning_rate():
    flat = TrainConfig(epochs=2, lr=0.1)
    assert [learning_rate(flat, s, 2) for s in range(4)] == [0.1] * 4
    warm = TrainConfig(epochs=2, lr=0.1, warmup=1, schedule="cosine")
    rates = [learning_rate(warm, s, 4) for s in range(8)]
    assert rates[0] == pytest.approx(0.025)
    assert max(rates) < 0.1
    assert rates[-1] < 0.01


@pytest.mark.parametrize(
    "name, value",
    [
        ("epochs", 0), ("batch_size", 1.5), ("lr", 0), ("lr", "x"), ("weight_decay", -1),
        ("warmup", float("inf")), ("schedule", "step"), ("augment", "blur"), ("seed", -1), ("seed", True),
        ("precision", "float8"), ("precision", 16), ("channels_last", 1), ("compile", "yes"),
        ("data_on_device", None), ("accumulate", 0), ("accumulate", 2.0), ("accumulate", True),
        ("lr", 10**400), ("lr", True), ("lr", None), ("warmup", 10**400), ("weight_decay", float("nan")),
        ("epochs", 10**400), ("batch_size", 10**400), ("seed", "1"), ("seed", 2**32), ("seed", 1.0),
        ("device", "gpu"), ("device", 3), ("device", None), ("device", "meta"), ("device", "cuda:x"),
        ("schedule", ["cosine"]), ("augment", None), ("precision", {}),
    ],
)  # fmt: skip
def test_wrong_settings(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        TrainConfig(**{name: value})


def test_every_setting_of_the_training_is_checked():
    for setting in fields(TrainConfig):
        for wrong in (object(), [[]], 3 + 4j, None, -1, float("nan"), "", b"cpu"):
            if wrong is None and setting.default is None:
                continue
            with pytest.raises(ValueError, match=f"`{setting.name}` must be"):
                TrainConfig(**{setting.name: wrong})
    assert TrainConfig(device="cuda:7").device == "cuda:7"  # of another machine


def test_wrong_arguments_are_named(tmp_path):
    data, model, loss = build(TINY)
    for name, call in {
        "seed": lambda: training.seed_everything("7"),
        "batch_size": lambda: outputs(model, data.query.take(3), 0),
        "steps_per_epoch": lambda: learning_rate(TINY.training, 0, 0),
        "codes": lambda: training.bit_balance(torch.ones(3)),
        "config": lambda: train(model, loss, data.train, TINY),
    }.items():
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            call()
    with pytest.raises(ValueError, match="`seed` must be"):
        dhida_lib.start("fast", "7")
    assert training.bit_balance(torch.tensor([[1, 1], [1, -1]])) == 0.5  # whole numbers too


class Small(nn.Module):
    """A small network with batch norm or without."""

    def __init__(self, bits=6, norm=False):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=4, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1),
            nn.Linear(8 * 49, bits),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


PIECE = load_dataset("fashion-mini").train.take(70)


def small_run(model=None, loss=None, folder=None, callbacks=(), split=PIECE, **settings):
    config = TrainConfig(**{"epochs": 3, "batch_size": 16, "lr": 1e-3, "device": "cpu", **settings})
    model = model or Small()
    loss = loss or dhida_lib.DHIDALoss(bits=6, num_train=len(PIECE), num_classes=10)
    history = train(model, loss, split, config, callbacks, folder)
    return model, loss, history


def test_bfloat16_is_close_to_float32_and_its_loss_is_float32():
    seen = []

    class Watch(dhida_lib.DHIDALoss):
        def forward(self, u, labels, index=None):
            seen.append((u.dtype, torch.is_autocast_enabled("cpu")))
            return super().forward(u, labels, index)

    plain, _, exact = small_run()
    mixed, loss, rounded = small_run(loss=Watch(6, len(PIECE), 10), precision="bfloat16")
    assert set(seen) == {(torch.float32, False)}
    assert {p.dtype for p in mixed.parameters()} == {loss.bank_codes.dtype} == {torch.float32}
    assert {p.grad.dtype for p in mixed.parameters()} == {torch.float32}
    a, b = exact.column("loss")[1], rounded.column("loss")[1]
    assert b == pytest.approx(a, rel=0.02)
    assert a != b
    assert not torch.equal(weights(plain), weights(mixed))


def last_gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


class PerImage(nn.Module):
    def forward(self, u, labels, index):
        return nn.functional.cross_entropy(u, labels % u.shape[1])


class FullBank(dhida_lib.DHIDALoss):
    """A bank that already holds what this network gives for each image, and is not overwritten."""

    def __init__(self, model):
        super().__init__(6, len(PIECE), 10)
        x, y = PIECE.batch(range(len(PIECE)))
        with torch.no_grad():
            self(model.eval()(x), y, range(len(PIECE)))


def one_step(loss, model=None, **settings):
    model = model or Small()
    model.layers[6].p = 0.0  # no dropout: it draws other numbers for other batches
    small_run(model, loss, epochs=1, **settings)
    return last_gradients(model)


@pytest.mark.parametrize("n", [70, 64, 65])  # a last batch of 6, a whole one, a last batch of one image
def test_accumulated_gradients_are_those_of_the_large_batch(n):
    split = PIECE.take(n)
    for make in (PerImage, lambda: FullBank(Small())):
        parts = one_step(make(), split=split, accumulate=5)
        model, loss = Small(), make()
        model.layers[6].p = 0.0
        if n == 65:  # the trainer leaves the last image out; so do we
            keep = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:64]
            x, y = split.batch(keep)
            loss(model(x), y, keep).backward()
        else:
            small_run(model, loss, split=split, epochs=1, batch_size=n)
        torch.testing.assert_close(parts, last_gradients(model), rtol=1e-4, atol=1e-7)


def test_accumulated_gradients_differ_where_images_meet():
    def differ(make, norm=False):
        parts = one_step(make(), Small(norm=norm), accumulate=5)
        whole = one_step(make(), Small(norm=norm), batch_size=70)
        return float((parts - whole).norm() / whole.norm())

    assert differ(lambda: dhida_lib.DHIDALoss(6)) > 0.01  # pairs within the batch
    assert differ(lambda: dhida_lib.DHIDALoss(6, 70, 10)) > 0.01  # a bank that is still filling
    assert differ(PerImage, norm=True) > 0.01
    assert differ(PerImage) < 1e-5


def test_accumulation_steps_the_schedule_and_flushes_the_last_group():
    moved = []

    class Watch(training.Callback):
        def on_batch(self, epoch, batch, batches, loss):
            now = weights(model)
            moved.append(not torch.equal(now, moved_from[0]))
            moved_from[0] = now

    model = Small()
    moved_from = [weights(model)]
    settings = {"accumulate": 2, "epochs": 2, "schedule": "cosine", "warmup": 1.0}
    _, _, history = small_run(model, callbacks=[Watch()], **settings)
    assert moved == [False, True, False, True, True] * 2  # five batches of up to 16 of 70 images
    config = TrainConfig(**{"lr": 1e-3, **settings})
    assert history.column("lr")[1] == [learning_rate(config, 2, 3), learning_rate(config, 5, 3)]


KNOBS = {"precision": "bfloat16", "channels_last": True, "accumulate": 2, "data_on_device": True}


def eager_compiler(monkeypatch):
    """torch.compile as it is, but without the C++ that takes a minute."""
    real, calls = torch.compile, []

    def compile(model, **options):
        calls.append(options)
        return real(model, backend="eager", **options)

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(devices, "_compiler", lambda: "g++")
    return calls


def test_a_killed_run_with_all_knobs_resumes_exactly(tmp_path, monkeypatch):
    calls = eager_compiler(monkeypatch)
    knobs = {**KNOBS, "compile": True, "augment": "flip-shift"}
    whole, loss, history = small_run(folder=tmp_path / "whole", **knobs)
    with pytest.raises(Killed):
        small_run(folder=tmp_path / "killed", callbacks=[Kill(3, 3)], **knobs)
    resumed, loss_again, again = small_run(folder=tmp_path / "killed", **knobs)
    assert calls == [{"dynamic": False}] * 3
    assert torch.equal(weights(whole), weights(resumed))
    assert torch.equal(loss.bank_codes, loss_again.bank_codes)
    assert history.column("loss") == again.column("loss")
    assert whole.layers[3].weight.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="accumulate was 2, is now 3"):
        small_run(folder=tmp_path / "killed", **{**knobs, "accumulate": 3})


def test_layout_place_and_compiler_change_no_result(monkeypatch):
    eager_compiler(monkeypatch)
    plain, _, _ = small_run()
    for knobs in ({"data_on_device": True}, {"compile": True}):
        assert torch.equal(weights(plain), weights(small_run(**knobs)[0]))
    other, _, _ = small_run(channels_last=True)
    torch.testing.assert_close(weights(plain), weights(other), rtol=1e-3, atol=1e-4)
    # The layout is the run's, not the network's: the next run of the same network has its own.
    small_run(other)
    assert other.layers[0].weight.is_contiguous()


@pytest.mark.parametrize("name", ["channels_last", "compile"])
def test_a_very_narrow_network_refuses_what_crashes_on_a_cpu(name):
    with pytest.raises(ValueError, match=rf"`{name}` must be False .* `backbone\.block2\.shortcut\.0`"):
        trained(config=TINY.change(device="cpu", **{name: True}))


def test_the_fast_network_in_channels_last():
    config = TINY.change(width=16, epochs=1, device="cpu", data_on_device=True)
    plain, _, history = trained(config=config)
    other, _, last = trained(config=config.change(channels_last=True))
    assert last.column("loss")[1] == pytest.approx(history.column("loss")[1], rel=0.01)
    assert other.backbone.block1.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert devices._fragile(plain) is None


def test_compile_needs_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"`compile` must be False on a machine without a C\+\+ compiler"):
        small_run(compile=True)
    monkeypatch.setattr(devices.shutil, "which", lambda name: "/bin/c++" if name == "clang++" else None)
    assert devices._compiler() == "/bin/c++"


def test_images_go_to_the_device_only_if_they_fit(monkeypatch):
    cpu = torch.device("cpu")
    assert devices.on_device(PIECE, cpu).pixels.equal(PIECE.pixels)
    with pytest.raises(ValueError, match="`data_on_device` must be False for images that are read"):
        devices.on_device([1, 2], cpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    with pytest.raises(ValueError, match="54,880 bytes, of the GPU's memory 1,000 are free"):
        devices.on_device(PIECE, torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 10**9))
    monkeypatch.setattr(type(PIECE), "to", lambda split, device: f"on {device}")
    assert devices.on_device(PIECE, torch.device("cuda")) == "on cuda"


def test_what_was_written_before_the_knobs_still_counts(tmp_path):
    new = ("precision", "channels_last", "compile", "accumulate", "data_on_device", "optimizer")
    small_run(folder=tmp_path, callbacks=[], epochs=1)
    where = tmp_path / "checkpoint.json"
    state = json.loads(where.read_text())
    for name in new:
        del state["about"]["run"][name]
    del state["card_sha256"]  # nor did its card have a hash
    where.write_text(json.dumps(state))
    assert len(small_run(folder=tmp_path, epochs=1)[2].epochs) == 1
    with pytest.raises(ValueError, match="precision was 'float32', is now 'bfloat16'"):
        small_run(folder=tmp_path, epochs=1, precision="bfloat16")
    old = json.loads((dhida_lib.data_path("records", "fast-profile") / "centre-seed0.json").read_text())
    assert not set(new) & set(old["config"]["train"])
    record = records.load_record(dhida_lib.data_path("records", "fast-profile") / "centre-seed0.json")
    have = record.config["training"]
    usual = asdict(TrainConfig())
    assert {name: have[name] for name in new} == {name: usual[name] for name in new}
    assert {k: v for k, v in have.items() if k in old["config"]["train"]} == old["config"]["train"]


def test_validators():
    assert positive_int("n", 3) == 3
    assert positive("x", 0, zero=True) == 0
    assert choice("c", "a", ["a"]) == "a"
    with pytest.raises(ValueError, match=r"`x` must be a number > 0, but got True"):
        positive("x", True)


def test_devices():
    assert training.pick_device().type in ("cpu", "cuda")
    assert training.pick_device("cpu").type == "cpu"
    for wrong in ("gpu", "cuda:99"):
        with pytest.raises(ValueError, match="`device`"):
            training.pick_device(wrong)


def test_outputs_use_evaluation_mode_and_put_the_mode_back():
    data, model, _ = build(TINY)
    model.train()
    u = outputs(model, data.query.take(10), batch_size=3)
    assert model.training
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(u, model(data.query.batch(range(10))[0]), rtol=1e-4, atol=1e-5)
    assert set(encode(model, data.query.take(10)).unique().tolist()) <= {-1.0, 1.0}


def test_bit_balance():
    codes = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    assert training.bit_balance(codes) == 0.5


def test_model_files(tmp_path):
    _, model, _ = build(TINY)
    where = save_model(model, tmp_path / "m.json", {"a": 1})
    again, about = load_model(tmp_path / "m")
    assert about == {"a": 1}
    assert not again.training
    assert torch.equal(weights(model), weights(again))
    with pytest.raises(FileNotFoundError, match="python -m dhida_lib train"):
        load_model(tmp_path / "other")
    (tensors,) = tmp_path.glob("m-*.safetensors")
    assert json.loads(where.read_text())["file"] == tensors.name
    tensors.write_bytes(b"x")
    with pytest.raises(ValueError, match="damaged"):
        load_model(where)


def small_model(seed, **changes):
    torch.manual_seed(seed)
    return HashNetwork(**{"backbone": "narrow-resnet", "attention": "none", "bits": 4, "width": 1, **changes})


def events_until_killed(work, at):
    """Do some work in a child process that dies before its ``at``-th step with files; how many steps it made.

    A step is a file opened to be written, moved, removed or closed to others, and half of a tensor file.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        made = len(os.fdopen(reader, "rb").read())
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in (0, 9)
        return made, os.waitstatus_to_exitcode(status) == 9

    def step():
        nonlocal at
        if at == 0:
            os._exit(9)
        at -= 1
        os.write(writer, b".")

    def watch(event, args):
        reads = event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR)
        steps = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "shutil.rmtree")
        if event in steps and not reads:
            step()

    def halves(save):
        def saved(tensors, path):
            save(tensors, path)
            whole = Path(path).read_bytes()
            Path(path).write_bytes(whole[: len(whole) // 2])
            step()
            save(tensors, path)

        return saved

    models.save_file, torch.save = halves(models.save_file), halves(torch.save)
    sys.addaudithook(watch)
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("before", ["as it is saved now", "as it was saved before"])
def test_a_model_survives_a_crash_at_any_step_of_its_saving(tmp_path, before):
    old, new = small_model(1), small_model(2)
    at, killed, seen = 0, True, set()
    while killed:
        folder = tmp_path / str(at)
        if before == "as it is saved now":
            save_model(old, folder / "m", {"version": "old"})
        else:
            folder.mkdir()
            save_file(old.state_dict(), folder / "m.safetensors")
            card = {"format": 1, "file": "m.safetensors", "sha256": sha256(folder / "m.safetensors")}
            write_json(folder / "m.json", {**card, "model": old.config, "about": {"version": "old"}})
        work = partial(save_model, new, folder / "m", {"version": "new"})
        made, killed = events_until_killed(work, at)
        assert made == at
        model, about = load_model(folder / "m.json")
        assert torch.equal(weights(model), weights({"old": old, "new": new}[about["version"]])), at
        seen.add(about["version"])
        save_model(new, folder / "m")  # and the next saving leaves two files, or one that no card names
        left = [f for f in folder.iterdir() if f.suffix != ".safetensors"]
        assert [f.name for f in left] == ["m.json"], at
        at += 1
    assert at > 10
    assert seen == {"old", "new"}
    assert len(list(folder.iterdir())) == 2


def test_a_state_survives_a_crash_at_any_step_of_its_saving(tmp_path):
    """Also where the same epoch is saved again, with other weights."""

    def parts(seed):
        model = small_model(seed)
        return model, nn.Identity(), torch.optim.RMSprop(model.parameters())

    at, killed, seen = 0, True, set()
    while killed:
        folder = tmp_path / str(at)
        resume.save_state(folder, *parts(1), 3, {"seed": 1})
        work = partial(resume.save_state, folder, *parts(2), 3, {"seed": 2})
        made, killed = events_until_killed(work, at)
        assert made == at
        fresh = parts(0)
        epoch, about = resume.load_state(folder, *fresh)
        assert epoch == 3
        assert torch.equal(weights(fresh[0]), weights(parts(about["seed"])[0])), at
        assert resume.load_about(folder) == about
        seen.add(about["seed"])
        resume.save_state(folder, *parts(4), 3, {})  # the run that goes on comes to this epoch again
        assert len(list(folder.iterdir())) == 2, at
        at += 1
    assert seen == {1, 2}
    assert resume.load_about(tmp_path) is None


def test_models_of_a_folder_are_saved_one_after_another(tmp_path):
    path = save_model(small_model(1), tmp_path / "m", {"i": 1})
    other = threading.Thread(target=save_model, args=(small_model(2), path, {"i": 2}))
    before = sorted(tmp_path.iterdir())
    with one_writer(tmp_path):
        other.start()
        other.join(0.5)
        assert other.is_alive()
        assert sorted(tmp_path.iterdir()) == before
    other.join()
    assert load_model(path)[1] == {"i": 2}


def test_names_with_dots_are_models_of_their_own(tmp_path):
    names = ["lr-0.1", "lr-0.01", "lr-0.01.json", "v1.2.safetensors", "lr-0", ".json"]
    where = [save_model(small_model(i), tmp_path / name, {"i": i}) for i, name in enumerate(names)]
    found = [path.name for path in where]
    assert found == ["lr-0.1.json", "lr-0.01.json", "lr-0.01.json", "v1.2.json", "lr-0.json", ".json.json"]
    for i, name in enumerate(names):
        if i != 1:  # the third replaced it
            for path in (tmp_path / name, where[i]):
                model, about = load_model(path)
                assert about == {"i": i}
                assert torch.equal(weights(model), weights(small_model(i)))
    assert len(list(tmp_path.iterdir())) == 10


def test_saving_removes_only_what_its_own_card_named(tmp_path):
    first = save_model(small_model(1), tmp_path / "photos")
    copy = tmp_path / "best.json"
    copy.write_bytes(first.read_bytes())
    other = save_model(small_model(2), tmp_path / "photos-resnet18")
    (tmp_path / "photos-0123456789abcdef.safetensors").write_text("somebody's")
    save_model(small_model(3), tmp_path / "photos")
    assert (tmp_path / "photos-0123456789abcdef.safetensors").is_file()
    for path, seed in ((first, 3), (copy, 1), (other, 2)):
        assert torch.equal(weights(load_model(path)[0]), weights(small_model(seed)))
    first.write_text("damaged, so it is not believed")
    save_model(small_model(4), tmp_path / "photos")
    assert torch.equal(weights(load_model(first)[0]), weights(small_model(4)))


def test_a_card_that_describes_no_such_network(tmp_path):
    path = save_model(small_model(1), tmp_path / "m")
    content = read_card(path)
    for change, message in (
        ({"bits": 5}, r"hash_layer.bias was 4, is now 5; hash_layer.weight was 4×4, is now 5×4"),
        ({"bitz": 5}, "it describes no network"),
        ({"attention": "ida"}, r"attention.+ was not there, is now .+ and \d+ more"),
    ):
        write_json(path, {**content, "model": {**content["model"], **change}})  # as an old card, without hash
        with pytest.raises(ValueError, match=f"m.json is damaged: .*{message}"):
            load_model(path)


def test_what_json_cannot_hold_is_said_before_anything_is_written(tmp_path):
    path = save_model(small_model(1), tmp_path / "m", {"a": 1})
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="`about` must be a dictionary with texts as keys"):
        save_model(small_model(2), path, {("a", "b"): 1})
    for wrong in ({"a": {1, 2}}, {"a": float("nan")}, {"a": "\udcff"}):
        with pytest.raises(ValueError, match=r"m\.json is not written: JSON cannot hold its content"):
            save_model(small_model(2), path, wrong)
        with pytest.raises(ValueError, match=r"n\.json is not written"):
            write_json(tmp_path / "n.json", wrong)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == before


def test_a_card_names_only_a_tensor_file_beside_it(tmp_path):
    path = save_model(small_model(1), tmp_path / "in" / "m")
    elsewhere = tmp_path / "w.safetensors"
    (next((tmp_path / "in").glob("*.safetensors"))).rename(elsewhere)
    content = read_card(path)
    for name in ("../w.safetensors", str(elsewhere), 3, None, "m.json", ["w.safetensors"], ".."):
        write_card(path, {**content, "file": name})
        with pytest.raises(ValueError, match="is no name of a tensor file beside it"):
            load_model(path)
    save_model(small_model(2), path)  # it is not believed when it comes to removing either
    assert elsewhere.is_file()


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "a.json"
    code = (
        "import os, signal\n"
        "from dhida_lib._files import write_atomic\n"
        "def write(temporary):\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_atomic({str(path)!r}, write)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    (tmp_path / ".a.json.my-notes.tmp").write_text("not ours")
    (left,) = [f.name for f in tmp_path.iterdir() if f.name != ".a.json.my-notes.tmp"]
    write_json(tmp_path / "b.json", 1)
    assert (tmp_path / left).exists()  # another file's writer does not touch it

    def slow(temporary):
        write_json(path, "another writer, in between")  # leaves the folder of a living writer alone
        temporary.write_text('"the slow one"')

    write_atomic(path, slow)
    assert json.loads(path.read_text()) == "the slow one"
    assert sorted(f.name for f in tmp_path.iterdir()) == [".a.json.my-notes.tmp", "a.json", "b.json"]


def test_write_atomic_leaves_the_old_file_after_a_crash(tmp_path):
    path = write_json(tmp_path / "sub" / "a.json", {"a": 1})
    digest = sha256(path)

    def crash(temporary):
        temporary.write_text("half")
        raise Killed

    with pytest.raises(Killed):
        write_atomic(path, crash)
    assert sha256(path) == digest
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_every_flip_in_a_card_is_found(tmp_path):
    """Each bit of each byte: an error, or the content that was written (a space more, 1E-05 for 1e-05)."""
    content = {"format": 1, "name": "é", "lr": 1e-05, "shape": (2, 3), "of": {7: None, "deep": [True, -0.5]}}
    kept = json.loads(json.dumps(content))
    path = write_card(tmp_path / "card.json", content)
    assert read_card(path) == kept
    whole = path.read_bytes()
    found = 0
    for at in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            try:
                assert read_card(path) == kept, (at, bit)
            except ValueError as error:
                assert "card.json is damaged" in str(error)  # noqa: PT017
                found += 1
    assert found > 8 * len(whole) * 0.98
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"card.json is damaged: it is not JSON"):
        read_card(path)


def test_cards_older_than_their_hash_and_foreign_ones(tmp_path):
    path = write_json(tmp_path / "old.json", {"a": 1})
    assert read_card(path) == {"a": 1}
    write_card(path, {**json.loads(path.read_text()), "card_sha256": "of another content"})
    assert read_card(path) == {"a": 1}
    for text in ("[1]", "3", "null"):
        path.write_text(text)
        with pytest.raises(ValueError, match="is not one of the library's files"):
            read_card(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is damaged: it is not JSON"):
        read_card(path)


def test_flips_in_what_is_saved_are_found(tmp_path):
    """A digit of a model's, a record's and a checkpoint's card."""
    config = TINY.change(epochs=1)
    model, record = run(config, folder=tmp_path)
    save_model(model, tmp_path / "model", {"lr": 0.5})
    records.save_record(record, tmp_path / "record.json")
    reads = {
        "model.json": (b'"lr": 0.5', b'"lr": 0.4', load_model),
        "record.json": (b'"seed": 3', b'"seed": 2', load_record),
        "checkpoint.json": (b'"seed": 3', b'"seed": 2', lambda _: run(config, folder=tmp_path)),
    }
    for name, (was, now, read) in reads.items():
        read(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        assert was in content
        (tmp_path / name).write_bytes(content.replace(was, now))
        with pytest.raises(ValueError, match=f"{name} is damaged: its SHA-256 is not the one written in it"):
            read(tmp_path / name)


def test_records(tmp_path):
    config = TINY.change(epochs=1)
    _, record = run(config, note="a try")
    path = records.save_record(record, tmp_path / "r.json")
    assert records.load_record(path) == record
    assert record.metrics["ties"] == "expected"
    assert record.protocol["train"] == 200
    assert [r.note for r in records.load_records(tmp_path, bits=16)] == ["a try"]
    assert records.load_records(tmp_path, bits=32) == []
    with pytest.raises(ValueError, match="a folder of records"):
        records.load_records(tmp_path / "none")
    content = read_card(path)
    for key in content:
        write_card(path, {**content, key: None})
        with pytest.raises(ValueError, match=rf"r\.json is not a record: its {key} is None"):
            records.load_record(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="is not a record"):
        records.load_record(path)


def test_processor_without_proc(monkeypatch):
    monkeypatch.setattr(records, "Path", lambda _: type("P", (), {"is_file": staticmethod(lambda: False)})())
    assert records._processor()


def test_hold_out_is_disjoint_and_leaves_the_queries_alone():
    data = load_dataset("fashion-mini")
    held = hold_out(data, 0.25)
    assert (len(held.train), len(held.query), len(held.database)) == (1500, 250, 250)
    splits = (held.train, held.query, held.database, data.query, data.database)
    parts = [set(s.indices.flatten().tolist()) for s in splits]
    assert len(set().union(*parts)) == sum(map(len, parts))
    with_train = hold_out(load_dataset("fashion-mini", protocol="mini-with-train"), 0.25)
    assert len(with_train.database) == 1750
    for share in (0, 1, 0.00001):
        with pytest.raises(ValueError, match="`held_out`"):
            hold_out(data, share)


def test_classifier_run_scores_its_one_hot_code():
    config = TINY.change(method="classifier", attention="none")
    model, record = run(config)
    assert model.bits == 10
    assert record.metrics["bits"] == 10
    data, _, _ = build(config)
    u = outputs(model, data.query)
    codes = -torch.ones_like(u)
    codes[torch.arange(len(u)), u.argmax(1)] = 1
    assert measure(model, data, "classifier")["queries"] == len(codes)


def test_batch_pairs_and_changes():
    _, _, loss = build(TINY.change(pairs="batch"))
    assert loss.num_train is None
    with pytest.raises(ValueError, match="`pairs`"):
        LossConfig(pairs="all")
    with pytest.raises(ValueError, match="`setting`"):
        TINY.change(nonsense=1)
    assert TINY.change(bits=8).training == TINY.training


def test_paper_defaults():
    full = PROFILES["full"]
    t, n = full.training, full.network
    assert (t.lr, t.weight_decay, t.batch_size, t.optimizer) == (5e-5, 1e-5, 128, "rmsprop")
    assert (n.backbone, n.attention, n.bits) == ("resnet18", "ida", 16)


def test_start(capsys):
    assert dhida_lib.start("fast") is PROFILES["fast"]
    assert "profile 'fast'" in capsys.readouterr().out
    dhida_lib.start("full")
    assert "full" in capsys.readouterr().out
    with pytest.raises(ValueError, match="`profile`"):
        dhida_lib.start("slow")


def test_similarity():
    assert similarity([0, 1], [1, 1, 2]).tolist() == [[False] * 3, [True, True, False]]
    hot = torch.tensor([[1, 0, 1], [0, 1, 0]])
    assert similarity(hot).tolist() == [[True, False], [False, True]]
    with pytest.raises(ValueError, match="`others`"):
        similarity(hot, [0, 1])
    for wrong in ([0.5, 1.0], [[2, 0]], torch.zeros(1, 1, 1)):
        with pytest.raises(ValueError, match="`labels`"):
            as_labels(wrong)


ARGS = ["--set", "epochs=1", "--set", "width=4", "--set", "held_out=0.9", "--set", "augment=none"]


def test_command_line(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", *ARGS, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "expected under ties" in text
    assert (out / "record.json").is_file()
    assert main(["evaluate", str(out / "model.json")]) == 0
    assert "1,000 queries" in capsys.readouterr().out
    knobs = ["--set", "precision=bfloat16", "--set", "accumulate=2", "--set", "data_on_device=true"]
    assert main(["train", *ARGS, *knobs, "--out", str(tmp_path / "knobs")]) == 0
    assert (
        json.loads((tmp_path / "knobs" / "record.json").read_text())["config"]["training"]["accumulate"] == 2
    )
    capsys.readouterr()
    assert main(["evaluate", str(out / "model.json"), "--protocol", "mini-with-train"]) == 0
    assert main(["evaluate", str(tmp_path / "none.json")]) == 2
    assert "There is no model" in capsys.readouterr().err


def test_items_made_ahead_are_the_same():
    made = []

    def items(n, wrong=None):
        for i in range(n):
            if i == wrong:
                raise OSError("the disk is gone")
            made.append(i)
            yield i

    assert list(devices.ahead(items(50))) == list(range(50))
    with pytest.raises(OSError, match="the disk is gone"):
        list(devices.ahead(items(9, wrong=7)))
    made.clear()
    before = threading.active_count()
    for i in devices.ahead(items(1000)):  # left early, as after an error in the loop
        if i == 5:
            break
    gc.collect()
    assert threading.active_count() == before
    assert len(made) <= 10


def test_training_ahead_changes_nothing(monkeypatch):
    """What a GPU run does with its batches, on a CPU: the same weights, bit for bit."""
    data, plain, loss = build(TINY)
    train(plain, loss, data.train, TINY.training)
    data, other, loss = build(TINY)
    real = feeds.batches
    monkeypatch.setattr(feeds, "batches", lambda *a: devices.ahead(real(*a)))
    train(other, loss, data.train, TINY.training)
    for a, b in zip(plain.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_resized_images_train_after_they_were_encoded():
    """The resizing matrices are made once, here without gradients, and used again where there are some."""
    config = TINY.change(image_size=20, epochs=1)
    data, model, loss = build(config)
    outputs(model, data.train)
    train(model, loss, data.train, config.training)


def test_logs_by_choice_survive_a_killed_run(tmp_path, capsys, monkeypatch):
    few = [*ARGS[2:], "--set", "epochs=3", "--log", "csv", "tensorboard", "--out", str(tmp_path)]
    whole = CsvLog.on_epoch

    def dies(self, row, model):
        whole(self, row, model)
        if row["epoch"] == 2:  # its row is written, its state is not
            raise KeyboardInterrupt

    monkeypatch.setattr(CsvLog, "on_epoch", dies)
    assert main(["train", *few]) == 130
    monkeypatch.setattr(CsvLog, "on_epoch", whole)
    assert main(["train", *few]) == 0
    history = load_record(tmp_path / "record.json").history
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items() if k != "seconds"} for row in rows] == [
        {k: v for k, v in row.items() if k != "seconds"} for row in history
    ]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    seen = events.Scalars("loss")
    assert [e.step for e in seen] == [1, 2, 3]
    assert [e.value for e in seen] == pytest.approx([row["loss"] for row in history])
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        TensorBoardLog(tmp_path)


def test_pretraining_on_a_folder_takes_all_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DHIDA_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(70):
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(
                tmp_path / "in" / name / f"{i}.png"
            )
    small = ["--set", "dataset=folder", "--set", "image_size=16", "--set", "epochs=1", "--set", "width=4"]
    assert main(["pretrain", *small, "--root", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    protocol = load_record(tmp_path / "out" / "record.json").protocol
    assert (protocol["protocol"], protocol["query"], protocol["train"]) == ("all", 20, 120)


def test_a_pretrained_backbone_starts_a_run(tmp_path, capsys):
    made = tmp_path / "backbone.safetensors"
    assert main(["pretrain", *ARGS, "--out", str(tmp_path)]) == 0
    assert "weights=PATH takes it" in capsys.readouterr().out
    assert json.loads((tmp_path / "record.json").read_text())["config"]["loss"]["method"] == "classifier"
    start = ["--set", f"weights={made}", "--set", "lr=1e-12", "--set", "weight_decay=0"]
    assert main(["train", *ARGS, *start, "--out", str(tmp_path / "run")]) == 0
    model, about = load_model(tmp_path / "run" / "model.json")
    for name, value in load_file(made).items():
        if "bn" not in name and "num_batches" not in name and ".1." not in name:
            torch.testing.assert_close(model.backbone.state_dict()[name], value, rtol=0, atol=1e-6)
    said = about["config"]["network"]["weights"]
    assert said == f"backbone.safetensors (SHA-256 {sha256(made)[:16]})"
    assert str(tmp_path) not in (tmp_path / "run" / "record.json").read_text()  # no path of this machine


@pytest.mark.parametrize(
    "extra, message",
    [
        (["--set", "bits=0"], "`bits` must be a positive integer, but got 0"),
        (["--set", "bitz=8"], "`setting`"),
        (["--set", "dataset=mnist"], "mnist"),
        (["--set", "dataset=fashion-mnist", "--root", "no-such-folder"], "not found"),
        (["--set", "device=gpu"], "`device`"),
        (["--set", "device=cpu", "--set", "channels_last=true"], "`channels_last` must be False"),
        (["--set", "precision=float8"], "`precision` must be one of 'auto', 'float32', 'tf32', 'bfloat16'"),
    ],
)
def test_command_line_errors_are_one_line(tmp_path, capsys, extra, message):
    assert main(["train", *ARGS, *extra, "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_command_line_refuses_what_it_cannot_read(tmp_path, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        main(["train", "--set", "bits", "--out", str(tmp_path)])
    assert "name=value" in capsys.readouterr().err

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("dhida_lib.runs.run", stop)
    assert main(["train", "--out", str(tmp_path)]) == 130
    model = HashNetwork("narrow-resnet", "none", 8, in_channels=3, width=4)
    save_model(model, tmp_path / "colour")
    assert main(["evaluate", str(tmp_path / "colour.json"), "--dataset", "fashion-mini"]) == 2
    assert "channels" in capsys.readouterr().err


def test_runs_is_exported():
    assert runs.run is dhida_lib.run


def test_a_record_older_than_a_setting_has_its_default(tmp_path):
    _, record = run(TINY.change(epochs=1))
    path = records.save_record(record, tmp_path / "r.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["config"]["data"]["image_size"], content["config"]["training"]["compile"]
    write_card(path, content)
    assert records.load_record(path).config == TINY.change(epochs=1).as_dict()
