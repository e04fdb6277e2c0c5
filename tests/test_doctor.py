"""`python -m dhida_lib doctor`, and what "auto" means on a machine."""

from __future__ import annotations

import builtins
import os
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest
import torch

from dhida_lib.__main__ import main
from dhida_lib.commands import doctor
from dhida_lib.config import automatic, named_device

ROOT = Path(__file__).resolve().parents[1]


def report(capsys) -> tuple[int, dict[str, list[str]]]:
    """The doctor's status, and for each check its words."""
    status = main(["doctor"])
    said: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        name = line.split(" ")[0]
        said.setdefault(name or list(said)[-1], []).append(line)
    return status, said


def test_a_machine_on_which_the_tests_run_is_in_order(capsys):
    status, said = report(capsys)
    assert set(doctor.CHECKS) <= set(said)
    assert "0.1.0" in said["library"][0] or "dhida_lib" in said["library"][0]
    assert torch.__version__ in said["torch"][0]
    assert sys.executable in said["Python"][0]
    assert "whole" in said["data"][0]
    amiss = [line for lines in said.values() for line in lines if "TO DO" in line]
    assert status == bool(amiss)
    assert amiss == [] or not torch.cuda.is_available()


def test_damaged_data_are_found(tmp_path, capsys, monkeypatch):
    source = ROOT / "data"
    for name in ("fashion-mini", "checkpoints/fashion-mini-dhida-16"):
        (tmp_path / name).mkdir(parents=True)
        for file in (source / name).iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "checkpoints/fashion-mini-dhida-16/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    monkeypatch.setenv("DHIDA_DATA", str(tmp_path))
    status, said = report(capsys)
    assert status == 1
    assert "TO DO" in said["data"][0]
    assert "→" in said["data"][1]


def test_without_torch_the_rest_is_still_said(capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *more):
        if name.split(".")[0] == "torch":
            raise ImportError("No module named 'torch'")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    status, said = report(capsys)
    assert status == 1
    assert "pip install torch" in said["torch"][1]
    assert "OK" in said["Python"][0]


def test_requirements_are_compared_with_what_is_there():
    have = {"torch": "2.10.1+cpu", "numpy": "1.25.9", "faiss-cpu": "1.8"}

    def version_of(name):
        if name not in have:
            raise metadata.PackageNotFoundError(name)
        return have[name]

    needs = ["torch>=2.2", "numpy>=1.26", "pillow>=10", "faiss-cpu>=1.8; extra == 'search'"]
    needs += ["faiss-cpu>=1.8; extra == 'scale'", "timm>=1.0; extra == 'timm'"]
    there, wrong, absent = doctor.judge(needs, version_of)
    assert there == ["faiss-cpu 1.8", "torch 2.10.1+cpu"]
    assert wrong == ["numpy 1.25.9 (needs 1.26)", "pillow"]
    assert absent == ["timm"]
    assert doctor.numbers("unknown") == ()


def test_old_packages_are_named_with_their_cure(monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: ["torch>=999", "pillow>=1"])
    found = doctor.CHECKS["packages"]()
    assert "pillow" in found.fact
    assert found.todo == "pip install --upgrade torch"


def test_a_library_that_was_never_installed_reads_the_requirements(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert "pytest" in doctor.CHECKS["packages"]().fact


def test_a_full_or_locked_disk(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1e9))
    assert "make room" in doctor.CHECKS["disk"]().todo
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "make start" in doctor.CHECKS["disk"]().todo


def test_the_address(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_HOME", tmp_path)
    assert doctor.CHECKS["address"]().fact == "not in a checkout"
    settings = tmp_path / "_config.yml"
    settings.write_text("repository:\n  url: https://example.org/OWNER/book\n")
    assert "placeholder" in doctor.CHECKS["address"]().fact
    settings.write_text("repository:\n  url: https://example.org/me/book\n")
    assert doctor.CHECKS["address"]() == doctor.Finding("https://example.org/me/book")
    settings.write_text("title: x\n")
    assert doctor.CHECKS["address"]().todo


@pytest.mark.parametrize(("arches", "todo"), [(["sm_75", "sm_90"], ""), (["sm_50"], "not built for it")])
def test_a_card_and_what_this_torch_was_built_for(arches, todo, monkeypatch):
    cuda = {
        "is_available": lambda: True,
        "get_device_capability": lambda device: (7, 5),
        "get_device_properties": lambda device: types.SimpleNamespace(total_memory=15 * 2**30),
        "get_device_name": lambda device: "Tesla T4",
        "get_arch_list": lambda: arches,
    }
    for name, function in cuda.items():
        monkeypatch.setattr(torch.cuda, name, function)
    found = doctor.CHECKS["GPU"]()
    assert found.fact == "Tesla T4, capability 7.5, 15 GiB"
    assert todo in found.todo
    assert bool(todo) is bool(found.todo)


def test_a_driver_that_this_torch_cannot_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "nvidia-smi")
    assert "make TORCH=cuda" in doctor.CHECKS["GPU"]().todo


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_device(cuda, mps, device, monkeypatch):
    assert automatic(cuda, mps) == device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert named_device("auto").type == device
