"""`python -m dhida_lib gpu`: the card, the ladder, training within a budget; whole, at toy size, on a CPU."""

import json

import pytest
import torch

from dhida_lib.__main__ import main
from dhida_lib._files import read_card, write_card
from dhida_lib.config import TrainConfig
from dhida_lib.experiments import cards, gpu, gpu_records, ladder, run_gpu
from dhida_lib.experiments.cards import CARDS, card_of
from dhida_lib.experiments.ladder import LADDER, Size
from dhida_lib.records import load_records
from dhida_lib.training import choose_precision

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """The whole command, once, and what it said."""
    home = tmp_path_factory.mktemp("gpu")
    said = []
    places = {"out": home / "records", "work": home / "work"}
    folder = run_gpu(budget=60.0, toy=True, device="cpu", say=said.append, **places)
    return folder, said, places


def test_a_rehearsal_leaves_every_record(session):
    folder, said, _ = session
    assert folder.name == "cpu-toy"
    assert {f.name for f in folder.iterdir()} == {
        *("card.json", "ladder.json", "memory.json", "profile.json", "trace.json", "runs"),
    }
    for name in ("card", "ladder", "memory", "profile", "trace"):
        content = read_card(folder / f"{name}.json")
        assert content["toy"] is True
        assert content["machine"]["torch"] == torch.__version__
    card = read_card(folder / "card.json")
    assert card["sheet"] is None
    assert set(card["tflops"]) == {"float32", "bfloat16", "float16"}  # no TF32 on a CPU
    assert min(card["tflops"].values()) > 0
    assert set(card["host_to_device_gb_per_second"]) == {"pageable"}
    assert said[0].startswith("cpu: 60 min, records in ")
    assert said[-1].endswith("the same command goes on")


def test_the_ladder_has_its_rungs_for_each_attention(session):
    rows = read_card(session[0] / "ladder.json")["rows"]
    names = [rung.name for rung in LADDER if rung.name != "compile"]  # it takes minutes on a CPU
    assert [(row["attention"], row["rung"]) for row in rows] == [
        *(("none", name) for name in names),
        *(("danet", name) for name in names[1:]),
        *(("ida", name) for name in names[1:]),
    ]
    for row in rows:
        assert "error" not in row, row
        assert row["images_per_second"] > 0
        assert row["tflops"] > 0
        assert row["share"] is row["peak_bytes"] is None
        assert row["precision"] == "float32"
    assert {row["settings"]["batch_size"] for row in rows} == {4, 8}
    memory = read_card(session[0] / "memory.json")
    assert memory["ida"]["formula"] == sum(
        memory["ida"][part] for part in ("weights", "gradients", "optimizer", "activations")
    )
    assert memory["ida"]["activations"] > memory["none"]["activations"] > 0
    profile = read_card(session[0] / "profile.json")["none"]
    assert 0 < len(profile) <= 12
    assert [row["host_ms"] for row in profile] == sorted((row["host_ms"] for row in profile), reverse=True)
    assert any("conv" in row["name"] for row in profile)
    trace = read_card(session[0] / "trace.json")["ida"]
    assert [row[1] for row in trace] == 2 * ["forward", "loss", "backward", "update"], "two steps of a CPU"
    assert {row[0] for row in trace} == {"host"}
    ends = [start + length for _, _, start, length in trace]
    assert trace[0][2] == 0
    assert all(end <= start for end, (_, _, start, _) in zip(ends, trace[1:], strict=False))


def test_a_recorded_trace_has_the_kernels_and_waits_of_a_gpu():
    cpu, cuda = torch.autograd.DeviceType.CPU, torch.autograd.DeviceType.CUDA

    class Event:
        def __init__(self, name, start, length, device):
            self.name, self.device_type = name, device
            self.time_range = torch.autograd.profiler_util.Interval(start, start + length)

    events = [
        Event("gemm", 2500, 4000, cuda),
        Event("forward", 1000, 3000, cpu),
        Event("aten::mm", 2000, 1000, cpu),
        Event("forward", 2500, 4000, cuda),
        Event("cudaDeviceSynchronize", 4000, 2500, cpu),
    ]
    assert ladder._lanes(events) == [
        ["host", "forward", 0.0, 3.0],
        ["device", "gemm", 1.5, 4.0],
        ["host", "cudaDeviceSynchronize", 3.0, 2.5],
    ]
    assert ladder._lanes([]) == []


def test_it_trains_the_most_telling_runs_and_does_nothing_twice(session):
    folder, _, places = session
    records = load_records(folder / "runs")
    assert sorted(record.note for record in records) == ["DHIDA", "DHIDA-R"]
    assert all(record.machine["precision"].startswith("float32: ") for record in records)
    assert not any((places["work"] / "cpu-toy").iterdir())  # the states of whole runs are removed
    before = {f: f.stat().st_mtime_ns for f in folder.rglob("*.json")}
    again = []
    run_gpu(budget=60.0, toy=True, device="cpu", parts=("ladder",), say=again.append, **places)
    assert {f: f.stat().st_mtime_ns for f in folder.rglob("*.json")} == before
    assert len(again) == 2
    assert gpu_records(places["out"]) == {}  # a rehearsal is no record of a GPU
    card = read_card(folder / "card.json")
    write_card(places["out"] / "t4" / "card.json", {**card, "toy": False})
    assert gpu_records(places["out"])["t4"]["card"]["tflops"] == card["tflops"]
    with pytest.raises(ValueError, match="`folder` must be a folder of cards"):
        gpu_records(places["out"] / "none")


def test_a_session_without_time_only_looks_at_the_card(tmp_path, capsys):
    words = [
        "gpu",
        "--toy",
        "--device",
        "cpu",
        "--budget",
        "1e-9",
        "--out",
        str(tmp_path),
        "--work",
        str(tmp_path),
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "the ladder's half of the budget is used" in out
    assert [f.name for f in (tmp_path / "cpu-toy").iterdir()] == ["card.json"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"budget": 0}, "budget"),
        ({"parts": ["cook"]}, "parts"),
        ({"seeds": [-1]}, "seeds"),
        ({"toy": 1}, "toy"),
        ({"download": "yes"}, "download"),
        ({"change": 3}, "change"),
        ({"device": "gpu"}, "device"),
    ],
)
def test_wrong_arguments(arguments, named, tmp_path):
    with pytest.raises(ValueError, match=f"`{named}` must be"):
        run_gpu(**{"out": tmp_path, "work": tmp_path, **arguments})


def test_missing_data_are_said_and_nothing_is_downloaded(tmp_path, monkeypatch):
    from torchvision import datasets

    def no(*args, **kwargs):
        raise AssertionError("a download that nobody asked for")

    monkeypatch.setattr(datasets, "CIFAR10", no)
    monkeypatch.delenv("DHIDA_ROOT", raising=False)
    said = []
    places = {"out": tmp_path / "out", "work": tmp_path / "work"}
    change = {"weights": None, "bits": 8}
    run_gpu(device="cpu", parts=("train",), root=tmp_path, change=change, say=said.append, **places)
    assert any("nothing is trained" in line and "--download" in line for line in said)
    assert not (tmp_path / "out" / "cpu" / "runs").exists()


def test_a_download_is_torchvisions_and_checked(tmp_path, monkeypatch):
    from torchvision import datasets, models

    asked = []
    monkeypatch.setattr(datasets, "CIFAR10", lambda root, download: asked.append((root, download)))
    for weights in (models.ResNet18_Weights, models.AlexNet_Weights):
        monkeypatch.setattr(weights, "get_state_dict", lambda self, **how: asked.append((self.url, how)))
    run_gpu(toy=True, device="cpu", download=True, parts=(), out=tmp_path, work=tmp_path, say=str)
    assert asked[0] == (str(tmp_path / "cifar10"), True)
    assert [how for _, how in asked[1:]] == [{"progress": False, "check_hash": True}] * 2


# ---- cards -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("Tesla T4", "T4"), ("NVIDIA L4", "L4"), ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA H200", "H200"), ("NVIDIA L40S", None), ("cpu", None),
    ],
)  # fmt: skip
def test_cards_are_known_by_their_names(name, card):
    assert card_of(name) == card


def test_the_data_sheets_agree_with_the_formats():
    """A card has a rate in TF32 and bfloat16 exactly where training would take them."""
    for name, sheet in CARDS.items():
        assert "data sheet" in sheet.source, name
        auto = choose_precision("auto", "cuda", sheet.capability).precision
        assert sheet.tflops[auto] == max(sheet.tflops.values())
        assert ("tf32" in sheet.tflops) == (
            choose_precision("tf32", "cuda", sheet.capability).precision == "tf32"
        )


def test_the_share_of_a_card(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    assert ladder._share(6.5, "float16", cuda) == pytest.approx(0.1)
    assert ladder._share(6.5, "bfloat16", cuda) is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some Card")
    assert ladder._share(6.5, "float16", cuda) is None


def test_what_a_card_says_of_itself(monkeypatch):
    properties = type("P", (), {"name": "Tesla T4", "major": 7, "minor": 5, "total_memory": 16})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(cards, "_driver", lambda: "550.1")
    found = cards._identity(torch.device("cuda"))
    assert found == {
        "name": "Tesla T4",
        "card": "T4",
        "capability": [7, 5],
        "memory_bytes": 16,
        "driver": "550.1",
    }
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    assert cards._driver() is None


def test_rungs_add_up():
    size = Size(batch=128)
    by_name = {rung.name: ladder.settings_of(rung, size) for rung in LADDER}
    assert by_name["ours, float32"] == {"batch_size": 128}
    assert by_name["channels_last"] == {"precision": "tf32", "channels_last": True, "batch_size": 128}
    assert by_name["larger batch"] == {
        **{"precision": "auto", "channels_last": True, "compile": True, "batch_size": 256},
    }
    for settings in by_name.values():
        TrainConfig(**settings)
    assert [rung.name for rung in ladder.climb("ida", size, {"TF32"})] == [
        *("ours, float32", "channels_last", "half precision", "compile", "larger batch"),
    ]


def test_a_rung_that_does_not_fit_is_recorded_as_such(monkeypatch):
    def full(*args, **kwargs):
        raise MemoryError("The memory is full")

    monkeypatch.setattr(ladder, "train", full)
    row = ladder.measured(LADDER[1], "none", CPU, gpu._TOY)
    assert row["error"] == "MemoryError: The memory is full"
    assert json.dumps(row)
