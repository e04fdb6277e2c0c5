"""The project round the book: workflows that call `make`, a release that is ready, links, templates."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import dhida_lib

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import links  # noqa: E402
import release  # noqa: E402

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def steps(path: Path) -> list[dict]:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_there_are_workflows_for_tests_pages_weeks_and_releases():
    assert [path.stem for path in WORKFLOWS] == ["pages", "release", "tests", "weekly"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_make_and_may_write_nothing_else(path):
    """Its logic can be run anywhere: each step is an action, a target of make, CI's script, or an issue."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for step in steps(path):
        assert ("uses" in step) != ("run" in step)
        if "run" not in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"])
            continue
        made = re.match(r'make "?(\$TARGET|[a-z-]+)', step["run"])
        assert made or step["run"].startswith(("bash .ci/run", "gh issue create"))
        assert "${{" not in step["run"], (
            "a value from outside is an environment variable, not a piece of shell"
        )
        if made and made[1] != "$TARGET":
            assert made[1] in TARGETS, made[1]


def test_the_weekly_targets_are_there():
    weekly = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text(encoding="utf-8"))
    targets = weekly["jobs"]["check"]["strategy"]["matrix"]["target"]
    assert targets
    assert set(targets) <= TARGETS


def test_the_oldest_python_that_is_tested_is_the_oldest_that_is_promised():
    tests = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    matrix = tests["jobs"]["library"]["strategy"]["matrix"]
    promised = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert matrix["python"][0] == promised[1]
    assert len(matrix["system"]) == 3


def test_templates_ask_for_the_doctor():
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    for path in folder.glob("[!c]*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert form["name"]
        assert any("python -m dhida_lib doctor" in str(part["attributes"]) for part in form["body"]), (
            path.name
        )
    assert "python -m dhida_lib doctor" in (ROOT / ".github/pull_request_template.md").read_text()


def test_containers_install_what_requirements_txt_lists():
    """No list of packages of their own."""
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "python tools/set_up.py" in docker
    assert "pip install" not in docker
    lines = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("--")] == ["-r ../requirements.txt"]
    box = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert (ROOT / ".devcontainer" / box["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    oldest = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    runtime = (ROOT / "binder" / "runtime.txt").read_text().strip()
    for version in (re.search(r"FROM python:3\.(\d+)", docker)[1], runtime.split(".")[1]):
        assert int(version) >= int(oldest[1])
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".venv*", "work", ".git"} <= set(ignored)
    if os.name != "nt":
        assert os.access(ROOT / "binder" / "postBuild", os.X_OK)


# ---- releases ----------------------------------------------------------------------------------------------


def test_a_release_needs_version_changes_and_an_address(tmp_path):
    for name in ("CITATION.cff", "CHANGELOG.md", "_config.yml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "dhida_lib").mkdir()
    shutil.copy(ROOT / "dhida_lib" / "__init__.py", tmp_path / "dhida_lib")
    assert release.version_of(tmp_path) == dhida_lib.__version__
    (tmp_path / "_config.yml").write_text("url: https://github.com/me/dhida-book\n")
    (tmp_path / "CHANGELOG.md").write_text(f"# New\n\n## Unreleased\n\n## {dhida_lib.__version__}\n\n- all\n")
    assert list(release.faults(tmp_path, f"v{dhida_lib.__version__}")) == []
    assert "the tag is 'v9'" in next(release.faults(tmp_path, "v9"))
    (tmp_path / "_config.yml").write_text("url: https://github.com/OWNER/dhida-book\n")
    (tmp_path / "CHANGELOG.md").write_text("# New\n\n## Unreleased\n\n- a line\n")
    (tmp_path / "CITATION.cff").write_text("title: x\n")
    said = " ".join(release.faults(tmp_path, f"v{dhida_lib.__version__}"))
    for words in ("CITATION.cff", "no section", "under Unreleased", "placeholder"):
        assert words in said


def test_the_command_of_a_release(capsys):
    assert release.main([]) == 2
    assert release.main(["v0.0"]) == 1
    assert "the tag is 'v0.0'" in capsys.readouterr().out


def build(root: Path, kind: str, folder: Path) -> Path:
    """Build a distribution with what is installed here, without the network."""
    line = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    return made


def test_the_sdist_is_whole_and_gives_the_same_wheel(tmp_path):
    """Who builds from the sdist gets the same files as who builds from the checkout."""
    packed = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    top = {path.name for path in source.iterdir()}
    assert {
        "README.md",
        "LICENSE",
        "LICENSE-text.md",
        "CITATION.cff",
        "CHANGELOG.md",
        "dhida_lib",
        "data",
    } <= top
    assert not top & {"tests", "tools", "book", ".github", "runs", "work"}
    assert packed.stat().st_size < 20_000_000
    names = []
    for number, root in enumerate((ROOT, source)):
        with zipfile.ZipFile(build(root, "wheel", tmp_path / f"wheel{number}")) as wheel:
            names.append(set(wheel.namelist()))
    assert names[0] == names[1]


def test_the_page_on_the_package_index_says_whose_it_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"Homepage", "Changelog", "Paper"} <= set(project["urls"])
    assert project["authors"]
    from trove_classifiers import classifiers  # hatchling brings it

    assert set(project["classifiers"]) <= classifiers
    assert "Typing :: Typed" in project["classifiers"]
    assert (ROOT / "dhida_lib" / "py.typed").is_file()


def test_the_address_of_the_package_is_written_with_the_others(tmp_path):
    import address

    for name in address.PAGES:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "book").mkdir()
    address.write("https://github.com/me/mine", tmp_path)
    urls = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert urls["Homepage"] == "https://github.com/me/mine"
    assert urls["Changelog"] == "https://github.com/me/mine/blob/main/CHANGELOG.md"
    assert urls["Paper"].startswith("https://doi.org/")


# ---- links -------------------------------------------------------------------------------------------------


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers with the number that is asked for, as in /404."""

    def do_GET(self):
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def web(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_is_gone_is_found_and_what_refuses_programs_is_not(web, tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "a.md").write_text(f"[x]({web}/404) and {web}/200, <{web}/403>; `{web}/503`.")
    (tmp_path / "book" / "b.md").write_text(f"{web}/404#part https://github.com/OWNER/dhida-book")
    found = links.check(tmp_path, functools.partial(links.fault, seconds=30))
    assert found == [
        f"{web}/404: 404 Not Found (in a.md, b.md)",
        f"{web}/503: 503 Service Unavailable (in a.md)",
    ]


def test_the_addresses_of_the_book_are_found():
    found = links.addresses(ROOT)
    assert "https://doi.org/10.3390/info12070285" in found
    assert len(found) > 20
    for address in found:
        assert address.count("(") == address.count(")"), address
