"""Files and modules of a user's own, imported by name so that what they register is known."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

from dhida_lib._validate import bad

__all__ = ["import_extension"]


def import_extension(name: str | os.PathLike[str]) -> ModuleType:
    """Import a file or a module that registers losses, data sets or backbones; a second call does nothing.

    Args:
        name: path of a Python file, or name of a module.

    Returns:
        The module.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there is no such module.
    """
    path = Path(name)
    if path.suffix != ".py":
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", str(name)):
            raise bad("import", str(name), "a Python file or a module that can be imported")
        try:
            return importlib.import_module(str(name))
        except ModuleNotFoundError as error:
            if error.name != str(name).split(".")[0] and error.name != str(name):
                raise
            raise bad("import", str(name), "a Python file or a module that can be imported") from error
    if not path.is_file():
        raise FileNotFoundError(f"There is no Python file {path} to import.")
    for module in list(sys.modules.values()):
        known = getattr(module, "__file__", None)
        if known and Path(known).resolve() == path.resolve() and module.__name__ != "__main__":
            return module
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise bad("import", str(name), "a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module
