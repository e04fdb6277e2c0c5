"""Write what the helps of the commands list of the library, so that no help has to import torch.

    python tools/listed.py

`make sync` calls it; a test says when it is due.
"""

from __future__ import annotations

import json
import sys

import notebooks

sys.path.insert(0, str(notebooks.ROOT))

from dhida_lib.commands import _listed


def main() -> int:
    notebooks.write_atomic(_listed.FILE, json.dumps(_listed.computed(), indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
