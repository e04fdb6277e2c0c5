"""README.md: its Python snippets run one after the other, and its commands on a folder of photographs."""

import csv
import doctest
import json
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
from dhida_lib.experiments import paired, plan, scores
from dhida_lib.records import load_records

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import readme_picture  # noqa: E402

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


def test_the_output_that_is_shown_is_what_comes():
    (shown,) = fences("pycon")
    example = doctest.DocTestParser().get_doctest(shown, {}, "README", "README.md", 0)
    assert len(example.examples) > 5
    said: list[str] = []
    doctest.DocTestRunner().run(example, out=said.append)
    assert said == []


def section(title: str) -> str:
    """The text of a section, up to the next one."""
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], maxsplit=1, flags=re.M)[0]


def test_every_number_of_the_findings_is_in_a_record():
    record = json.loads(
        (ROOT / "data/checkpoints/fashion-mini-dhida-16/record.json").read_text(encoding="utf-8")
    )
    got = record["metrics"]
    with open(ROOT / "data/paper/table3.csv", encoding="utf-8", newline="") as file:
        paper = {(r["method"], r["dataset"], r["bits"]): 100 * float(r["map"]) for r in csv.DictReader(file)}

    def ahead(dataset: str) -> str:
        return f"{paper['DHIDA', dataset, '16'] - paper['DBDH', dataset, '16']:.1f} points"

    labels = dhida_lib.load_dataset("fashion-mini").database.labels
    chance = max((labels == c).float().mean().item() for c in labels.unique())
    still = load_records(ROOT / "data/records/cifar10-frozen")
    heads = scores(plan("table4", "cifar10-frozen", seeds=range(3), records=still), still)
    gains = [100 * paired(heads[row], heads["DHIDA-R"]).mean for row in ("DHIDA", "plain convolutions")]
    expected = [
        *(f"{gain:.1f} points" for gain in gains),
        f"{record['seconds'] / 60:.0f} minutes",
        *(f"{got['bits']} bits", f"{got['database']:,} images", f"{chance:.2f}"),
        *(f"{got[name]:.2f}" for name in ("map", "map_pessimistic", "map_optimistic")),
        *(f"{got['precision_within_radius']:.2f}", f"{100 * got['empty_balls']:.1f} %"),
        *(ahead("CIFAR-10"), ahead("ImageNet-100"), "16 bits"),
    ]
    text = re.sub(r"CIFAR-10|ImageNet-100|Chapters? \d+(?: and \d+)?", "", section("What it finds"))
    numbers = set(re.findall(r"\d[\d.,]*\d|\d", text))
    assert numbers == {re.match(r"[\d.,]+", words)[0] for words in expected}
    joined = " ".join(text.split())
    for words in expected:
        assert words in joined, words


def test_the_picture_shows_what_the_model_finds():
    found = readme_picture.retrieve()
    assert f"![{readme_picture.words(found)}](book/_static/retrieval.png)" in PAGE
    with Image.open(readme_picture.PICTURE) as picture:
        assert picture.info["Description"] == readme_picture.words(found)
        assert picture.width > 800
    assert readme_picture.PICTURE.stat().st_size < 100_000
    differ = (found.codes != found.codes[0]).sum(1).tolist()
    assert differ == found.distances
    assert len(readme_picture.draw(found).axes) == 2 * len(found.names)


def test_every_file_that_is_linked_is_there():
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "SECURITY.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:\s]+)\)", text):
            assert (ROOT / target).exists(), f"{page}: {target}"


def test_every_target_of_make_that_is_named_is_there():
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for page in ROOT.glob("*.md"):
        named = set(re.findall(r"`make ([a-z][a-z-]*)", page.read_text(encoding="utf-8")))
        assert named <= known, page.name
