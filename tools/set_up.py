"""Set up .venv with everything the book needs; `make` calls it before its first target.

    python tools/set_up.py [--venv .venv] [--torch auto|cpu|cuda] [PIP'S FLAGS …]

It says what happens and how long it takes, and each thing that can go wrong is one sentence: no pip in the
Python that is there, no network, a full disk. Nothing half made stays. Needs the standard library only, and
no more than Python 3.8 to say that the book needs a newer one.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = 5  # seconds that the index of the CPU builds may take to answer
SIZES = {True: "2 GB", False: "7 GB"}  # on the disk: with the CPU build of torch, and with CUDA
DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1")
"""Files of which one is there where Linux has an NVIDIA driver."""


class SetUpError(Exception):
    """What the reader can do something about, in one sentence."""


def say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


# ---- the Python and its environment ------------------------------------------------------------------------


def python_of(venv: Path) -> Path:
    """The interpreter of a virtual environment, on any system."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def has_pip(python: Path) -> bool:
    """Whether an interpreter runs and has pip."""
    try:
        return subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def ensure_venv(venv: Path, python: str) -> None:
    """Make the environment if none is there that works; of one that fails nothing stays.

    Args:
        venv: its folder.
        python: the interpreter that makes it.

    Raises:
        SetUpError: if it cannot be made, or the folder holds something else.
    """
    if has_pip(python_of(venv)):
        return
    if venv.exists():
        if not (venv / "pyvenv.cfg").is_file():
            raise SetUpError(f"{venv} is there, but is no virtual environment: move it away, then try again.")
        say(f"{venv} has no pip, as after a set-up that failed: it is made again.")
        shutil.rmtree(venv)
    done = subprocess.run([python, "-m", "venv", str(venv)], capture_output=True, text=True)
    if done.returncode == 0 and has_pip(python_of(venv)):
        return
    shutil.rmtree(venv, ignore_errors=True)
    said = done.stdout + done.stderr
    if "ensurepip" in said or done.returncode == 0:
        package = "python{}.{}-venv".format(*sys.version_info)
        raise SetUpError(
            "this Python cannot put pip into a virtual environment. On Debian and Ubuntu: "
            f"sudo apt install {package} (or python3-venv); elsewhere name a whole one: make PYTHON=…"
        )
    reason = (said.strip().splitlines() or ["no reason was given"])[-1]
    raise SetUpError(f"the virtual environment {venv} could not be made: {reason}")


# ---- which build of torch ----------------------------------------------------------------------------------


def has_driver() -> bool:
    """Whether this machine has an NVIDIA driver."""
    return any(Path(path).exists() for path in DRIVER) or shutil.which("nvidia-smi") is not None


def wants_cpu(wanted: str, system: str, driver: bool) -> bool:
    """Whether torch comes from the index of the CPU builds.

    Only Linux's usual build has CUDA, and the 4 GB that this takes; elsewhere the usual build is the small
    one already.

    Args:
        wanted: ``"auto"``, ``"cpu"`` or ``"cuda"``, as the reader said.
        system: as `platform.system` names it.
        driver: whether there is an NVIDIA driver.
    """
    if wanted == "auto":
        return system == "Linux" and not driver
    return wanted == "cpu" and system == "Linux"


PROBE = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1] + "/torch/", timeout=float(sys.argv[2])) as page:
    sys.exit("torch-" not in page.read(200_000).decode("utf-8", "replace"))
"""


def answers(index: str, patience: float = PATIENCE) -> bool:
    """Whether an index lists torch. In a process of its own: looking up a name knows no time limit."""
    probe = [sys.executable, "-c", PROBE, index, str(patience)]
    try:
        return subprocess.run(probe, capture_output=True, timeout=patience).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def torch_lines(requirements: str) -> list[str]:
    """The requirements that have a build of their own for CPUs: torch and torchvision."""
    lines = [line.split("#")[0].strip() for line in requirements.splitlines()]
    return [line for line in lines if re.match(r"torch(vision)?\b", line)]


# ---- the packages ------------------------------------------------------------------------------------------


def pip(venv: Path, *words: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the environment's pip; unless ``quiet``, its lines and bars are shown as they come."""
    command = [str(python_of(venv)), "-m", "pip", "--disable-pip-version-check", *words]
    if quiet:
        return subprocess.run(command, capture_output=True, text=True)
    if not sys.stdout.isatty():  # a log file: no bars
        command += ["--progress-bar", "off"]
    return subprocess.run(command, text=True)


def check_network(venv: Path, flags: list[str]) -> None:
    """Ask pip for one small package, without waiting long.

    Raises:
        SetUpError: if it finds none.
    """
    ask = ["install", "--dry-run", "--ignore-installed", "--no-deps", "--retries", "0", "--timeout", "15"]
    done = pip(venv, *ask, *flags, "tqdm", quiet=True)
    if done.returncode:
        raise SetUpError(
            "pip reaches no index of packages: is there a network, or a proxy that pip must know "
            "(HTTPS_PROXY)? Nothing was installed; the same command goes on when it is there."
        )


def install(venv: Path, flags: list[str], cpu: bool) -> None:
    """Install what requirements.txt lists, then this library, in place.

    Raises:
        SetUpError: if pip fails.
    """
    steps = []
    if cpu:
        lines = torch_lines((ROOT / "requirements.txt").read_text(encoding="utf-8"))
        steps.append(("torch for CPUs", ["--index-url", CPU_INDEX, *lines]))
    steps.append(("all that requirements.txt lists", ["-r", str(ROOT / "requirements.txt")]))
    steps.append(("the library, in place", ["--quiet", "--no-deps", "-e", str(ROOT)]))
    for number, (what, words) in enumerate(steps, 1):
        begin = time.monotonic()
        say(f"step {number} of {len(steps)}: {what}")
        done = pip(venv, "install", *flags, *words)
        if done.returncode:
            raise SetUpError(
                f"pip could not install {what}; its last lines say why. What was installed stays, "
                "and the same command goes on from there."
            )
        say(f"step {number} of {len(steps)} took {time.monotonic() - begin:.0f} s")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="its folder (default: .venv)")
    parser.add_argument("--torch", choices=["auto", "cpu", "cuda"], default="auto", help="default: auto")
    arguments, flags = parser.parse_known_args(argv)
    begin = time.monotonic()
    try:
        if sys.version_info < OLDEST:
            raise SetUpError(
                "the book needs Python 3.11 or newer, and this is {}.{}. Name another: "
                "make PYTHON=python3.12".format(*sys.version_info)
            )
        ensure_venv(arguments.venv, sys.executable)
        check_network(arguments.venv, flags)
        cpu = wants_cpu(arguments.torch, platform.system(), has_driver())
        if cpu and not answers(CPU_INDEX):
            say(f"the index of torch's CPU builds does not answer in {PATIENCE} s: the usual build is taken.")
            cpu = False
        why = (
            "by your choice" if arguments.torch != "auto" else "no NVIDIA driver" if cpu else "the usual one"
        )
        small = cpu or platform.system() != "Linux"
        say(
            f"the packages of the book go into {arguments.venv}: about {SIZES[small]}, some minutes, most of "
            f"them for torch ({'CPU' if small else 'CUDA'} build, {why}; TORCH=cpu or TORCH=cuda forces one)."
        )
        install(arguments.venv, flags, cpu)
    except SetUpError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up stopped; the same command goes on from here", file=sys.stderr)
        return 130
    say(f"done in {time.monotonic() - begin:.0f} s. Is all in order? `python -m dhida_lib doctor` says.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
