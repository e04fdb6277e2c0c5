"""Where files lie: what ships with the library, and data sets that the reader has on disk.

What ships (`data/` of the repository: the small image set, the paper's tables, records, checkpoints) travels
inside the wheel as `dhida_lib/_data`. `data_path` finds it in both places, so a notebook opened alone on
Colab reads the same files as one in a checkout. Nothing here ever downloads. Used from Chapter 2 on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["data_path", "data_roots", "dataset_folder"]

_PACKAGE = Path(__file__).resolve().parents[1]  # the folder dhida_lib


def data_roots() -> list[Path]:
    """List the folders in which shipped data are looked up, first match first.

    They are the folder named by the environment variable ``DHIDA_DATA`` (if set), the repository's
    ``data/`` (if the library is imported from a checkout) and ``dhida_lib/_data`` (inside a wheel).

    Returns:
        The folders that exist.

    Raises:
        FileNotFoundError: if ``DHIDA_DATA`` is set, but is not a folder.
    """
    roots = []
    own = os.environ.get("DHIDA_DATA")
    if own:
        if not Path(own).expanduser().is_dir():
            raise FileNotFoundError(f"DHIDA_DATA is {own!r}, which is not a folder; correct it or unset it.")
        roots.append(Path(own).expanduser())
    if (_PACKAGE.parent / "pyproject.toml").is_file():  # a checkout, not somebody's site-packages
        roots.append(_PACKAGE.parent / "data")
    roots.append(_PACKAGE / "_data")
    return [root for root in roots if root.is_dir()]


def data_path(*parts: str) -> Path:
    """Find a file or folder that ships with the library.

    Args:
        parts: the path below ``data/``, e.g. ``data_path("fashion-mini", "LICENSE")``.

    Returns:
        The path in the first of `data_roots` that has it.

    Raises:
        FileNotFoundError: if no root has it; the message lists where it was looked for.
    """
    roots = data_roots()
    for root in roots:
        path = root.joinpath(*parts)
        if path.exists():
            return path
    wanted = "/".join(parts) or "data"
    looked = ", ".join(str(root) for root in roots) or "no data folder at all"
    raise FileNotFoundError(
        f"{wanted} ships with dhida_lib, but is missing (looked in: {looked}). "
        f"Get it back with `git checkout -- data/{parts[0] if parts else ''}` in the repository, "
        "or reinstall dhida-lib."
    )


def dataset_folder(
    name: str,
    root: str | os.PathLike[str] | None,
    markers: Iterable[str],
    advice: str,
    system: Iterable[str] = (),
) -> Path:
    """Find the folder of a data set that does not ship; never download it.

    Args:
        name: the data set's name. Without ``root`` its folder is ``$DHIDA_ROOT/name``.
        root: the folder that the caller named, or None.
        markers: paths below the root that tell a layout, e.g. ``"cifar-10-batches-py/data_batch_1"``. The
            first one that exists decides.
        advice: how to get the data set, for the error message.
        system: folders to try after ``$DHIDA_ROOT/name``.

    Returns:
        The folder that holds the marker (its parent).

    Raises:
        FileNotFoundError: if no candidate has a marker; the message lists the folders tried and gives the
            advice.
    """
    markers = list(markers)
    if root is not None:
        candidates = [Path(root).expanduser()]
    else:
        home = os.environ.get("DHIDA_ROOT")
        candidates = [Path(home).expanduser() / name] if home else []
        candidates += [Path(folder) for folder in system]
    for candidate in candidates:
        for marker in markers:
            if (candidate / marker).exists():
                return (candidate / marker).parent
    tried = ", ".join(str(c) for c in candidates) or "nowhere: `root` is None and DHIDA_ROOT is not set"
    raise FileNotFoundError(
        f"The data set {name!r} was not found (looked in: {tried}). It is never downloaded without being "
        f"asked for. {advice}"
    )
