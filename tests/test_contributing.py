"""CONTRIBUTING.md: each section's code is lifted out and run, in order, in an empty folder."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
MAX_LINES = 30  # of a loss


class Fence(NamedTuple):
    language: str
    code: str

    @property
    def file(self) -> str | None:
        """The file that the code is, if its first line names one."""
        found = re.match(r"# (\w+\.py)\n", self.code)
        return found[1] if found else None


def fences(section: str) -> list[Fence]:
    return [Fence(*pair) for pair in re.findall(r"^```(\w+)\n(.*?)^```$", SECTIONS[section], re.M | re.S)]


def environment(**more: str) -> dict[str, str]:
    """This Python first, this tree's library, one thread."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def run(folder: Path, command: list[str], **more: str) -> str:
    done = subprocess.run(command, cwd=folder, env=environment(**more), capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def follow(section: str, folder: Path) -> str:
    """Do what a section says; everything that was printed."""
    said = []
    for fence in fences(section):
        if fence.file:
            (folder / fence.file).write_text(fence.code, encoding="utf-8")
        elif fence.language == "python":
            said.append(run(folder, [sys.executable, "-c", fence.code]))
        else:
            assert fence.language == "sh"
            said.append(run(folder, ["sh", "-e", "-c", fence.code]))
    return "".join(said)


def test_a_loss_is_one_short_file(tmp_path):
    (own,) = [fence for fence in fences("A loss") if fence.file]
    assert len(own.code.splitlines()) <= MAX_LINES
    said = follow("A loss", tmp_path)
    assert "MarginLoss: finite, gradient, order, descent" in said
    assert re.search(r"^Margin, 16 bits, seed 0: mAP", said, re.M), "tabulated"
    assert re.search(r"^\{0: 0\.\d+\}$", said, re.M), "read from its record"
    assert len(re.findall(r"\d+", said.splitlines()[-1])) >= 10, "ten neighbours"


def test_a_data_set_is_one_file(tmp_path):
    said = follow("A data set", tmp_path)
    assert "Stripes: read, split by seed" in said
    assert "stripes, protocol 'drawn'" in said
    assert len(list((tmp_path / "mine" / "stripes").glob("*.json"))) == 1


def test_a_backbone_is_one_file(tmp_path):
    said = follow("A backbone", tmp_path)
    assert "ModuleBackbone: maps 32×16×16" in said
    codes = re.findall(r"-?1\b", said[said.index("tensor") :])
    assert len(codes) == 16


def test_a_record_is_made_and_made_again(tmp_path):
    assert "every number the same" in follow("A record", tmp_path)


def test_an_installed_package_is_found(tmp_path):
    """The entry points that the page shows, as an installer would write them."""
    for section in ("A loss", "A data set", "A backbone"):
        for fence in fences(section):
            if fence.file:
                (tmp_path / fence.file).write_text(fence.code, encoding="utf-8")
    (shown,) = fences("From a package")
    groups = tomllib.loads(shown.code)["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in own.items()) for group, own in groups.items()
    ]
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("\n".join(lines))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    code = (
        "from dhida_lib.losses import LOSSES; from dhida_lib.data import DATASETS; "
        "from dhida_lib.backbones import BACKBONES; "
        "print(LOSSES['margin'].__name__, DATASETS['stripes'].label, BACKBONES['patches'].__name__)"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    assert run(tmp_path, [sys.executable, "-c", code], PYTHONPATH=path) == "MarginLoss Stripes patches\n"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_with_code_is_run(section):
    done = {"A loss", "A data set", "A backbone", "From a package", "A record", "A chapter"}
    assert section in done or not fences(section)
