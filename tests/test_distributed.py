"""Two processes on the CPU (Gloo) are one: same loss, same weights, same codes, same record."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dhida_lib
from dhida_lib import _distributed
from dhida_lib.data import Preprocess, batches, load_dataset
from dhida_lib.losses import build_loss
from dhida_lib.models import HashNetwork
from dhida_lib.records import load_record
from dhida_lib.runs import hold_out
from dhida_lib.search.photos import find_in_store
from dhida_lib.training import TrainConfig, outputs, seed_everything, train

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun with Gloo")

SCRIPT = """
import json, sys, torch
sys.path.insert(0, {tests!r})
from test_distributed import small_run
from dhida_lib import _distributed
_distributed.begin()
losses, weights, u = small_run(*{arguments!r})
out = {out!r} + f"-{{_distributed.rank()}}"
torch.save((losses, weights, u), out)
"""


def small_run(method, options, accumulate, settings, folder=None):
    """No batch normalisation and no dropout, so that one process and two compute the same."""
    data = hold_out(load_dataset("fashion-mini"), 0.97)  # 60 images train
    seed_everything(0)
    model = HashNetwork("narrow-alexnet", "ida", 12, in_channels=1, width=2, init_std=0.3).double().float()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    loss = build_loss(method, 12, len(data.train), data.num_classes, **options)
    config = TrainConfig(epochs=2, batch_size=13, lr=1e-3, accumulate=accumulate, **settings)  # 60 = 4·13 + 8
    history = train(model, loss, data.train, config, folder=folder)
    losses = [row["loss"] for row in history.epochs]
    return losses, model.state_dict(), outputs(model, data.database)


def torchrun(code, tmp_path, processes=2):
    script = tmp_path / "script.py"
    script.write_text(code)
    line = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
    line += ["--master_port=0", "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", str(script)]
    here = Path(dhida_lib.__file__).parents[1]  # the processes import what this one has imported
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(here)}
    return subprocess.run(line, capture_output=True, text=True, env=environment, check=False, timeout=300)


@pytest.mark.parametrize(
    ("method", "options", "accumulate", "settings"),
    [
        ("dhida", {"balance": "bit", "gamma": 1.0}, 1, {}),  # the balance is a mean over the whole batch
        ("dfh", {}, 2, {"recompute": True, "budget": 60.0}),  # the centres follow the bank
        ("dhida", {}, 2, {"precision": "float16", "checkpoint_every": 2}),  # they scale and skip together
    ],
)
def test_two_processes_give_the_loss_of_one(tmp_path, method, options, accumulate, settings):
    arguments = (method, options, accumulate, settings)
    losses, weights, u = small_run(*arguments)
    exact = settings.get("precision", "float32") == "float32"
    arguments += (str(tmp_path / "state"),)
    code = SCRIPT.format(tests=os.path.dirname(__file__), arguments=arguments, out=str(tmp_path / "out"))
    done = torchrun(code, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for rank in (0, 1):
        theirs, their_weights, their_u = torch.load(tmp_path / f"out-{rank}")
        assert theirs == pytest.approx(losses, abs=1e-6 if exact else 1e-3)
        for name, value in weights.items():
            close = {"rtol": 1e-4, "atol": 1e-5} if exact else {"rtol": 0.1, "atol": 1e-2}
            torch.testing.assert_close(their_weights[name], value, **close)
        torch.testing.assert_close(
            their_u, u, **({"rtol": 1e-3, "atol": 1e-4} if exact else {"rtol": 0.1, "atol": 0.1})
        )
    (state,) = (tmp_path / "state").glob("epoch-*.pt")
    assert bool(torch.load(state, weights_only=True)["scaler"]) != exact


def test_the_command_line_under_torchrun(tmp_path):
    out = tmp_path / "run"
    command = ["train", "--set", "epochs=2", "--set", "width=4", "--set", "held_out=0.9", "--out", str(out)]
    code = f"import sys\nfrom dhida_lib.__main__ import main\nsys.exit(main({command!r}))"
    done = torchrun(code, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("mAP@ALL") == 1  # one process speaks
    record = load_record(out / "record.json")
    assert len(record.history) == 2
    again = torchrun(code, tmp_path)  # the state is whole: nothing is trained again
    assert again.returncode == 0, again.stderr[-2000:]
    assert load_record(out / "record.json").metrics == record.metrics
    assert json.loads((out / "model.json").read_text())["about"]["record"] == "record.json"


def test_two_processes_encode_a_folder_into_one_table(tmp_path):
    pytest.importorskip("lancedb")
    rng = np.random.default_rng(0)
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(23):
        Image.fromarray(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    torch.manual_seed(0)
    net = HashNetwork("narrow-resnet", "none", 16, in_channels=3, width=4)
    net.preprocess = Preprocess(3, 12)
    model = net.save(tmp_path / "model")
    command = ["encode", str(folder), "--model", str(model), "--store", str(tmp_path / "lance")]
    code = f"import sys\nfrom dhida_lib.__main__ import main\nsys.exit(main({command!r}))"
    done = torchrun(code, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("23 pictures encoded, 0 kept, 0 removed, 1 skipped") == 1
    again = torchrun(code, tmp_path)
    assert again.stdout.count("0 pictures encoded, 23 kept, 0 removed, 1 skipped") == 1
    for i in (0, 22):
        nearest = find_in_store(folder / f"{i}.png", model, tmp_path / "lance", k=23)
        assert folder / f"{i}.png" in [m.file for m in nearest if m.distance == 0]
        assert len({m.file for m in nearest}) == 23
    other = [*command[:-2], "--index", str(tmp_path / "index")]
    refused = torchrun(
        f"import sys\nfrom dhida_lib.__main__ import main\nsys.exit(main({other!r}))", tmp_path
    )
    assert refused.returncode != 0
    assert "several processes cannot write one index" in refused.stderr


def test_alone_nothing_changes():
    assert (_distributed.world(), _distributed.rank()) == (1, 0)
    x = torch.ones(3, requires_grad=True)
    assert _distributed.everyone(x, 3) is x
    assert _distributed.collect(7) == [7]
    with _distributed.first_alone():
        pass


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_of_a_batch_make_the_whole(world):
    split = load_dataset("fashion-mini").train.take(23)

    def walk(**kwargs):
        return list(batches(split, 10, True, torch.Generator().manual_seed(3), **kwargs))

    whole = walk()
    shares = [walk(share=(rank, world)) for rank in range(world)]
    for i, (images, labels, index) in enumerate(whole):
        parts = [share[i] for share in shares]
        assert torch.equal(torch.cat([p[0] for p in parts]), images)
        assert torch.equal(torch.cat([p[1] for p in parts]), labels)
        assert torch.equal(torch.cat([p[2] for p in parts]), index)
        assert max(len(p[0]) for p in parts) - min(len(p[0]) for p in parts) <= 1
    assert len(walk(last=False)) == 2
