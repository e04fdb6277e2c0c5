"""The fixed parts of a chapter: what `sync` writes, what `check` forbids, what `time` measures.

`house` (the project) and `cells` (a chapter and its cells), `stored` (the stored form), `rules`, `times`.
"""

from .cells import Cell, Chapter
from .house import ROOT, House, write_atomic
from .rules import RULES, check
from .rules.text import MATH
from .stored import sync, sync_notebook
from .times import time_notebooks

__all__ = [
    "MATH",
    "ROOT",
    "RULES",
    "Cell",
    "Chapter",
    "House",
    "check",
    "sync",
    "sync_notebook",
    "time_notebooks",
    "write_atomic",
]
