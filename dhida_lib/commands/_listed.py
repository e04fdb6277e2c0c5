"""What a help lists of the library (settings, profiles, tables), so that no help has to import torch.

`computed` reads it from the library itself. `listed` takes the file beside this module, which ``make sync``
writes from `computed` and a test compares with it; where an installed package adds names of its own, the
library is asked after all.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_type_hints

__all__ = ["FILE", "computed", "listed", "meanings"]

FILE = Path(__file__).with_name("listed.json")
"""What `computed` gave when ``make sync`` was last run."""

_GROUP = "dhida_lib."  # how the groups of entry points begin


@functools.cache
def listed() -> dict[str, Any]:
    """What `computed` gives, from the file if nothing is installed that could have changed it."""
    if any(group.startswith(_GROUP) for group in entry_points().groups):
        return computed()
    return json.loads(FILE.read_text(encoding="utf-8"))


def computed() -> dict[str, Any]:
    """What the library itself says.

    Returns:
        ``"profiles"``: their names; ``"parts"``: each part's title, and for each setting the names of its
        types, its meaning, the names that it can have, and each profile's value; ``"tables"``: name → what it
        is; ``"gpu"``: the parts of a session on a GPU.
    """
    from dhida_lib.config import PROFILES, RunConfig, kinds_of
    from dhida_lib.experiments import TABLES
    from dhida_lib.experiments.gpu import PARTS

    starts = {name: profile.flat() for name, profile in PROFILES.items()}
    titles, parts = meanings(RunConfig), {}
    for part, kind in RunConfig.parts().items():
        texts, hints, choices = meanings(kind), get_type_hints(kind), kind.choices()
        settings = {
            name: {
                "kinds": [one.__name__ for one in kinds_of(hints[name])],
                "meaning": texts[name],
                "choices": list(choices.get(name, ())),
                "values": {profile: start[name] for profile, start in starts.items()},
            }
            for name in (f.name for f in fields(kind))
        }
        parts[part] = {"title": titles[part].removesuffix("."), "settings": settings}
    tables = {name: table.help for name, table in TABLES.items()}
    return {"profiles": list(PROFILES), "parts": parts, "tables": tables, "gpu": list(PARTS)}


def meanings(kind: type) -> dict[str, str]:
    """What the docstring of a class says of each argument, as text without marks."""
    text = (inspect.getdoc(kind) or "").partition("Args:\n")[2]
    block = re.split(r"\n(?=\S)", text)[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", block, re.MULTILINE)
    return {name: " ".join(words.split()).replace("`", "") for name, words in entries}
