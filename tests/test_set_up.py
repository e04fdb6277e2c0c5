"""tools/set_up.py: whatever goes wrong is one sentence, and nothing half made stays."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import set_up  # noqa: E402

NOWHERE = "http://127.0.0.1:9"  # the port where everything is thrown away, and nobody listens


@pytest.mark.parametrize(
    ("wanted", "system", "driver", "cpu"),
    [
        *(("auto", "Linux", False, True), ("auto", "Linux", True, False)),
        *(("auto", "Darwin", False, False), ("auto", "Windows", False, False)),
        *(("cpu", "Linux", True, True), ("cpu", "Darwin", False, False)),
        *(("cuda", "Linux", False, False), ("cuda", "Windows", True, False)),
    ],
)
def test_the_small_build_of_torch_is_taken_where_it_is_another_one(wanted, system, driver, cpu):
    assert set_up.wants_cpu(wanted, system, driver) is cpu


def test_a_driver_is_a_file_or_a_command(tmp_path, monkeypatch):
    monkeypatch.setattr(set_up, "DRIVER", [str(tmp_path / "nvidiactl")])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not set_up.has_driver()
    (tmp_path / "nvidiactl").touch()
    assert set_up.has_driver()
    monkeypatch.setattr(set_up, "DRIVER", [])
    command = tmp_path / ("nvidia-smi.exe" if os.name == "nt" else "nvidia-smi")
    command.touch()
    command.chmod(0o755)
    assert set_up.has_driver()


def test_an_index_that_does_not_answer_is_given_up_in_time(tmp_path):
    assert not set_up.answers(NOWHERE)
    with socket.socket() as silent:  # takes the call, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert not set_up.answers("http://127.0.0.1:{1}".format(*silent.getsockname()), 1)
    (tmp_path / "torch").mkdir()
    assert not set_up.answers(tmp_path.as_uri())


def test_an_index_that_lists_torch_answers(tmp_path):
    page = tmp_path / "torch"
    page.mkdir()
    (page / "index.html").write_text('<a href="torch-2.2.0+cpu-cp311-linux_x86_64.whl">torch</a>')
    server = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(server, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as web:
        try:
            port = web.stdout.readline().decode().split("port ")[1].split()[0]
            environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
            code = f"import set_up; print(set_up.answers('http://127.0.0.1:{port}', 60))"
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=ROOT / "tools", env=environment, capture_output=True, text=True,
            )  # fmt: skip
            assert done.stdout == "True\n", done.stderr
        finally:
            web.terminate()


def test_only_torch_and_torchvision_come_from_that_index():
    lines = set_up.torch_lines((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert [line.split(">")[0] for line in lines] == ["torch", "torchvision"]
    assert set_up.torch_lines("torchmetrics>=1.4\n# torch\n") == []


# ---- the environment ---------------------------------------------------------------------------------------


def fake_python(folder: Path, script: str) -> str:
    path = folder / "fake-python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.name == "nt", reason="a shell script plays Python")
def test_debian_without_venv_is_one_sentence_and_leaves_nothing(tmp_path):
    """What Debian's `python3 -m venv` says and leaves where the package python3-venv is not installed."""
    script = 'mkdir -p "$3/bin" && touch "$3/bin/python" "$3/pyvenv.cfg"\n'
    script += "echo 'The virtual environment was not created: ensurepip is not available'; exit 1"
    venv = tmp_path / "venv"
    with pytest.raises(set_up.SetUpError, match=r"sudo apt install python3\.\d+-venv"):
        set_up.ensure_venv(venv, fake_python(tmp_path, script))
    assert not venv.exists()


@pytest.mark.skipif(os.name == "nt", reason="a shell script plays Python")
def test_another_failure_says_its_reason(tmp_path):
    script = "echo one; echo 'Error: [Errno 28] No space left on device' >&2; exit 1"
    with pytest.raises(set_up.SetUpError, match=r"No space left on device$"):
        set_up.ensure_venv(tmp_path / "venv", fake_python(tmp_path, script))


def test_a_half_made_environment_is_made_again_and_a_whole_one_left_alone(tmp_path, capsys):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    set_up.ensure_venv(venv, sys.executable)
    assert set_up.has_pip(set_up.python_of(venv))
    assert "it is made again" in capsys.readouterr().out
    made = (venv / "pyvenv.cfg").stat().st_mtime_ns
    set_up.ensure_venv(venv, "no-such-python")
    assert (venv / "pyvenv.cfg").stat().st_mtime_ns == made


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    with pytest.raises(set_up.SetUpError, match="no virtual environment"):
        set_up.ensure_venv(other, sys.executable)
    assert (other / "letter.txt").read_text() == "mine"


# ---- the packages ------------------------------------------------------------------------------------------


class Pip:
    """Plays pip: remembers what it was asked, and fails where it is told to."""

    def __init__(self, failing: str = "nothing") -> None:
        self.asked: list[tuple[str, ...]] = []
        self.failing = failing

    def __call__(self, venv, *words, quiet=False):
        self.asked.append(words)
        return subprocess.CompletedProcess(words, int(any(self.failing in word for word in words)), "", "")


def run(monkeypatch, tmp_path, failing="nothing", *, driver=False, index=True, words=()):
    pip = Pip(failing)
    monkeypatch.setattr(set_up, "pip", pip)
    monkeypatch.setattr(set_up, "has_driver", lambda: driver)
    monkeypatch.setattr(set_up, "answers", lambda index_asked: index)
    monkeypatch.setattr(set_up, "ensure_venv", lambda venv, python: None)
    monkeypatch.setattr(set_up.platform, "system", lambda: "Linux")
    return set_up.main(["--venv", str(tmp_path / "venv"), *words]), pip.asked


def test_what_is_installed_and_what_is_said(tmp_path, monkeypatch, capsys):
    status, asked = run(monkeypatch, tmp_path)
    assert status == 0
    assert [set_up.CPU_INDEX in words for words in asked] == [False, True, False, False]
    assert "-r" in asked[2]
    assert "-e" in asked[3]
    said = capsys.readouterr().out
    assert "2 GB" in said
    assert "no NVIDIA driver" in said
    assert said.count("step 1 of 3") == 2


@pytest.mark.parametrize("more", [{"driver": True}, {"index": False}, {"words": ["--torch", "cuda"]}])
def test_the_usual_build(more, tmp_path, monkeypatch, capsys):
    status, asked = run(monkeypatch, tmp_path, **more)
    assert status == 0
    assert not any(set_up.CPU_INDEX in words for words in asked)
    said = capsys.readouterr().out
    assert "7 GB" in said
    assert ("does not answer" in said) is ("index" in more)


def test_flags_for_pip_reach_it(tmp_path, monkeypatch):
    _, asked = run(monkeypatch, tmp_path, words=["--no-index", "--find-links=wheels"])
    assert all({"--no-index", "--find-links=wheels"} <= set(words) for words in asked)


@pytest.mark.parametrize(
    ("failing", "sentence"),
    [("--dry-run", "is there a network"), ("requirements.txt", "pip could not install all that")],
)
def test_no_network_is_one_sentence(failing, sentence, tmp_path, monkeypatch, capsys):
    status, asked = run(monkeypatch, tmp_path, failing)
    assert status == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert any(failing in word for word in asked[-1]), "nothing was tried after it"


def test_pip_itself_finds_no_network(tmp_path):
    """The real pip, with an index where nobody listens."""
    code = (
        "import set_up, pathlib, sys\n"
        "set_up.python_of = lambda venv: pathlib.Path(sys.executable)\n"
        f"set_up.check_network(None, ['--isolated', '--index-url', '{NOWHERE}'])"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PIP_") and "proxy" not in k.lower()}
    clean |= {"PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "tools", env=clean, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "is there a network" in done.stderr


def test_an_old_python_can_read_the_script():
    text = (ROOT / "tools" / "set_up.py").read_text(encoding="utf-8")
    ast.parse(text, feature_version=(3, 8))


def test_too_old_a_python_is_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(set_up, "OLDEST", (9, 0))
    status, asked = run(monkeypatch, tmp_path)
    assert (status, asked) == (1, [])
    assert "make PYTHON=" in capsys.readouterr().err
