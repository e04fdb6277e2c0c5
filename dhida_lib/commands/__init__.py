"""The commands of ``python -m dhida_lib``, a file each: parser and handler side by side.

Importing a command costs nothing: torch and the library are imported when its arguments are read.
"""

from dhida_lib.commands import doctor, encode, evaluate, gpu, pretrain, repeat, reproduce, search, train
from dhida_lib.commands._command import PROGRAM, Command, Parser

__all__ = ["COMMANDS", "PROGRAM", "Command", "Parser"]

COMMANDS: dict[str, Command] = {
    "train": train.COMMAND,
    "pretrain": pretrain.COMMAND,
    "evaluate": evaluate.COMMAND,
    "reproduce": reproduce.COMMAND,
    "repeat": repeat.COMMAND,
    "gpu": gpu.COMMAND,
    "encode": encode.COMMAND,
    "search": search.COMMAND,
    "doctor": doctor.COMMAND,
}
"""Name → command, in the order in which one needs them."""
