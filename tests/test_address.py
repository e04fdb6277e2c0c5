"""The book's public address (tools/address.py), the setup cell without one, and the chapters as on Colab."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest

import dhida_lib
from dhida_lib.book.start import missing
from dhida_lib.config import PROFILES

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import address  # noqa: E402
import colab  # noqa: E402
import notebooks  # noqa: E402
import wheel  # noqa: E402

NEW = "https://github.com/somebody/a-book"
HOUSE = notebooks.House.at(ROOT)


@pytest.fixture
def copy(tmp_path):
    """The pages that hold the address, and one chapter."""
    (tmp_path / "book").mkdir()
    for name in (*address.PAGES, "book/01_why_hash.ipynb"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_books_own_pages_have_one_address():
    assert address.wrong(notebooks.House.at(ROOT)) == []


def test_an_address_is_written_everywhere(copy):
    old = notebooks.House.at(copy).url
    house = address.write(f"{NEW}.git/", copy)
    assert house.url == notebooks.House.at(copy).url == NEW
    assert address.wrong(house) == []
    for path in (*(copy / name for name in address.PAGES), copy / "book" / "01_why_hash.ipynb"):
        words = path.read_text(encoding="utf-8")
        assert "somebody/a-book" in words, path.name
        assert old not in words, path.name
    chapter = (copy / "book" / "01_why_hash.ipynb").read_text(encoding="utf-8")
    assert f"git+{NEW}@v{dhida_lib.__version__}" in chapter, "the library of the same version"
    assert f"https://somebody.github.io/a-book/wheel/dhida_lib-{dhida_lib.__version__}-py3" in chapter
    assert "no public address" not in chapter
    again = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    address.write(NEW, copy)
    assert again == {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}, "twice is once"


def test_a_place_that_differs_is_found(copy):
    address.write(NEW, copy)
    for name in ("CITATION.cff", "README.md"):
        path = copy / name
        path.write_text(path.read_text(encoding="utf-8").replace("somebody", "somewhere"), encoding="utf-8")
    found = "\n".join(address.wrong(notebooks.House.at(copy)))
    assert "CITATION.cff: not the address" in found
    assert "README.md: not the address" in found
    (copy / "README.md").write_text("no place", encoding="utf-8")
    with pytest.raises(ValueError, match=r"README\.md: there are 0 places"):
        address.write(NEW, copy)


@pytest.mark.parametrize(
    "url",
    ["", "github.com/a/b", "https://github.com/a", "https://gitlab.com/a/b", "https://github.com/a/b/tree/x"],
)
def test_what_is_no_address_is_refused(url, copy):
    before = (copy / "_config.yml").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"URL is .*NAME/REPOSITORY is needed"):
        address.write(url, copy)
    assert (copy / "_config.yml").read_text(encoding="utf-8") == before


def test_the_command_says_where_the_address_stands(capsys, monkeypatch, copy):
    assert address.main(["nonsense"]) == 2
    assert "is needed" in capsys.readouterr().err
    monkeypatch.setattr(notebooks.House, "at", classmethod(lambda cls, root=copy: cls(root, NEW)))
    assert address.main([]) == 1
    assert "places differ" in capsys.readouterr().out


# ---- the setup cell alone --------------------------------------------------------------------------------


def alone(folder: Path, house: notebooks.House) -> subprocess.CompletedProcess:
    """Run the setup cell in a folder, in a Python that does not know the library."""
    show = "\nimport dhida_lib\nprint('from', dhida_lib.__file__)\n"
    code = house.setup(False).replace("profile = dhida_lib", "profile = 0 and dhida_lib") + show
    command = [sys.executable, "-I", "-S", "-c", code]  # without site-packages and PYTHONPATH
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_without_an_address_the_setup_cell_says_so_in_one_sentence(tmp_path):
    house = notebooks.House(ROOT, f"{notebooks.house.PLACEHOLDER}dhida-book")
    assert not house.public
    done = alone(tmp_path, house)
    assert done.returncode != 0
    [said] = [line for line in done.stderr.splitlines() if line.startswith("ImportError: ")]
    assert "no public address yet" in said
    assert "unzip a copy of its repository beside this notebook" in said
    assert said.count(". ") == 0, "one sentence"


def test_a_copy_beside_the_notebook_is_found(tmp_path):
    (tmp_path / "dhida-book-main" / "dhida_lib").mkdir(parents=True)
    (tmp_path / "dhida-book-main" / "dhida_lib" / "__init__.py").write_text("")
    for url in (f"{notebooks.house.PLACEHOLDER}dhida-book", NEW):
        done = alone(tmp_path, notebooks.House(ROOT, url))
        assert f"from {tmp_path / 'dhida-book-main' / 'dhida_lib'}" in done.stdout, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site that serves the wheel; its address."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "wheel").mkdir()
    (folder / "wheel" / "dhida_lib-0.0.0-py3-none-any.whl").write_text("an old one")
    assert wheel.build(folder) == folder / HOUSE.wheel
    assert len(list((folder / "wheel").iterdir())) == 1, "the old one is gone"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_where_the_repository_does_not_answer_the_site_gives_the_library(site, tmp_path, monkeypatch):
    """The whole setup cell, in an empty folder and an environment without the library: twice."""
    monkeypatch.setattr(notebooks.House, "site", site)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("JUPYTER_PATH", "")  # given back at the end
    python = colab.environment(tmp_path, ())
    before = colab.versions(python)
    code = notebooks.House(ROOT, NEW).setup(False) + "\nprint(dhida_lib.__file__, profile.training.epochs)"
    (tmp_path / "empty").mkdir()
    there = colab.bare(os.environ | colab.led(NEW, tmp_path / "nowhere.git"))
    for said in (["The library of this page is not at git+" + NEW + f"@v{dhida_lib.__version__}"], []):
        done = subprocess.run(
            [str(python), "-c", code], cwd=tmp_path / "empty", env=there, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[: len(said)] == said
        assert lines[len(said)].startswith(f"dhida_lib {dhida_lib.__version__} ")
        assert lines[-1].startswith(str(tmp_path / "venv")), "it is not this checkout's"
        assert lines[-1].endswith(f" {PROFILES['fast'].training.epochs}")
    assert colab.versions(python) == before


def test_a_wheel_under_another_name_is_no_wheel_of_the_site(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks.House, "wheel", "wheel/dhida_lib-9-py3-none-any.whl")
    with pytest.raises(FileNotFoundError, match=r"look for dhida_lib-9-py3.*, but dhida_lib-.* was built"):
        wheel.build(tmp_path)


def test_the_profile_is_shown_where_it_changes_something():
    def shown(path):
        cells = nbformat.read(path, as_version=4).cells
        return any('PROFILE = "fast"  # @param' in cell.source for cell in cells)

    showing = {path for path in HOUSE.notebooks() if shown(path)}
    assert showing == {path for path in HOUSE.notebooks() if colab.uses_profile(path)}
    assert {path.stem[:2] for path in showing} >= {"11", "12"}
    assert len(showing) < len(HOUSE.notebooks())
    assert "PROFILE" not in HOUSE.setup(False)
    assert 'PROFILE = "fast"  # @param ["fast", "full"]' in HOUSE.setup()


# ---- the full profile ------------------------------------------------------------------------------------


def test_a_profile_whose_data_are_missing_says_what_to_get(capsys, monkeypatch):
    monkeypatch.delenv("DHIDA_ROOT", raising=False)
    assert dhida_lib.start("full") is PROFILES["fast"]
    said = capsys.readouterr().out
    assert "'cifar10'" in said
    assert "torchvision.datasets.CIFAR10(root, download=True)" in said
    assert 'os.environ["DHIDA_ROOT"] + "/cifar10"' in said


def test_what_is_here_is_notmissing():
    assert missing(PROFILES["fast"]) is None
    nowhere = PROFILES["fast"].change(weights="no-such-file.pth")
    assert "no-such-file.pth" in str(missing(nowhere))


def test_chapters_that_use_the_profile_are_found():
    using = {path.name[:2] for path in colab.chapters(list(colab.CHAPTERS)) if colab.uses_profile(path)}
    assert using >= {"11", "12"}
    assert "07" not in using
    assert [path.name[:2] for path in colab.chapters([2, 16])] == ["02", "16"]


def test_a_toy_of_the_full_profile():
    nb = nbformat.read(ROOT / "book" / "12_training_on_gpu.ipynb", as_version=4)
    made = colab.in_full(nb)
    assert 'PROFILE = "full"' in "\n".join(cell.source for cell in made.cells)
    names = {"PROFILES": {"full": PROFILES["full"]}}
    exec(made.cells[0].source.replace("from dhida_lib.config import PROFILES", ""), names)
    toy = names["PROFILES"]["full"]
    assert toy == PROFILES["full"].change(**colab.TOY) != PROFILES["full"]
    assert toy.training.lr == PROFILES["full"].training.lr
    assert toy.data.dataset == "cifar10"


IMAGES = os.environ.get(colab.VARIABLE)


@pytest.mark.skipif(not IMAGES, reason=f"{colab.VARIABLE} does not name a folder with CIFAR-10's images")
@pytest.mark.parametrize(
    "path", [p for p in HOUSE.notebooks() if colab.uses_profile(p)], ids=lambda p: p.stem
)
def test_the_full_profile_runs_at_toy_size(path, tmp_path, monkeypatch):
    monkeypatch.setenv("DHIDA_ROOT", str(colab.toy_root(Path(IMAGES), tmp_path)))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    colab.execute(colab.in_full(nbformat.read(path, as_version=4)), path.parent)
