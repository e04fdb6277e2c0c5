"""README.md: its Python snippets run one after the other, and its commands on a folder of photographs."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dhida_lib

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
SMALLER = {"bits=32)": "bits=32, epochs=1, width=4)", "epochs=8": "epochs=1"}
"""What makes the snippets short; each must be there."""

GIVEN = """
import numpy as np, torch
from PIL import Image

def made(n, seed):
    noise = np.random.default_rng(seed).integers(0, 128, (n, 28, 28))
    labels = np.arange(n) % 4
    return (noise + 32 * labels[:, None, None]).astype(np.uint8), labels

(x_query, y_query), (x_train, y_train), (x_all, y_all) = made(8, 0), made(64, 1), made(80, 2)
dataset = torch.utils.data.TensorDataset(torch.tensor(x_train)[:, None] / 255, torch.tensor(y_train))
for name, picture in zip("ab", x_query):
    Image.fromarray(picture).save(f"{name}.png")
"""
SHOWN = """
assert 0 < record.metrics["map"] <= 1
assert codes.shape == (2, 16) and set(codes.unique().tolist()) <= {-1.0, 1.0}
assert torch.equal(codes, encode(model, data.query)[:2]), "files give the codes of the split"
assert [len(found.ids) for found in nearest] == [5, 5]
"""
FROM_LIBRARY = "from dhida_lib import *\n"


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def run(folder: Path, command: list[str]) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_python_snippets_run(tmp_path):
    code = "\n".join(fences("python"))
    for shown, small in SMALLER.items():
        assert shown in code
        code = code.replace(shown, small)
    (same,) = re.findall(r"(?:^    .+\n)+", dhida_lib.__doc__, re.M)  # the library's own few lines
    same = textwrap.dedent(same).replace('PROFILES["fast"]', "config")
    run(tmp_path, [sys.executable, "-c", GIVEN + code + SHOWN + FROM_LIBRARY + same])


def test_the_commands_take_a_folder_of_photographs_to_its_neighbours(tmp_path):
    pytest.importorskip("timm")
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    for name, colour in (("cat", (200, 60, 40)), ("dog", (40, 90, 200))):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(62):
            noise = rng.integers(0, 56, (48, 64, 3))
            Image.fromarray((noise + colour).astype(np.uint8)).save(tmp_path / "photos" / name / f"{i}.jpg")
    (commands,) = fences("sh")
    small = commands.replace("--out", "--epochs 2 --image-size 64 --out")
    said = run(tmp_path, ["sh", "-e", "-c", small])
    found = re.findall(r"^ *(\d+)  \S*photos/(\w+)/(\d+)\.jpg$", said, re.M)
    assert len(found) == 5
    assert found[0][0] == "0", "the picture itself is in the index"


def test_every_room_is_there():
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.M)
    rooms = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert len(rooms) > 10
    for name in rooms:
        place = ROOT / "dhida_lib" / name.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), name
