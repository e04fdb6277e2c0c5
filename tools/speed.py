"""Write the page of measured speed, book/speed.md, from data/records/bench.json (`make bench` makes both).

python tools/speed.py          write the page
python tools/speed.py check    exit status 1 if the page differs from the measurements
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import notebooks

ROOT = notebooks.ROOT
DATA, PAGE = Path("data/records/bench.json"), Path("book/speed.md")

INTRO = """# Measured speed

<!-- Written by tools/speed.py from data/records/bench.json. Run `make bench` to measure again. -->

How fast the library is, beside what people usually write. `make bench` measures it, on one thread, each
piece in turn with its rivals, and writes this page. Times depend on the machine; the ratios depend on it
less.

The machine of these numbers: {machine}.
"""

PARTS = {
    "map": """## Expected mAP

1,000 queries against 54,000 codes, or as the row says. "Flipped" is the share of bits by which the made
codes differ from their class's: 10 % is like trained codes, 50 % is random. The loop sorts the database
for each query; torchmetrics and FAISS rank it too. They see one order of the ties, ours is the mean over
all orders. The rows with several labels have NUS-WIDE-21's sizes and made labels, drawn independently; in
the last one almost every item has a set of labels of its own, which is the worst case. The first call in a
process took {first:.1f} s, as it loads the compiled loop; it is not counted. Built in
[Chapter 3](03_evaluating_a_ranking.ipynb).
""",
    "search": """## Search

A million codes of 64 bits in noisy clusters, 1,000 queries; recall is the share of the 100 nearest that
were found (equal distances count as found). Built in [Chapter 17](17_search_at_scale.ipynb).
""",
    "loading": """## Loading images

Training images a second, one process. Built in [Chapter 16](16_paper_scale.ipynb).
""",
    "training": """## Training

ResNet18 at 224 pixels on one CPU thread, beside a bare loop over torchvision's network with a DataLoader
and cross-entropy. The first row is that loop. Built in [Chapter 12](12_training_on_gpu.ipynb).
""",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def map_table(rows: list[dict[str, Any]]) -> str:
    peers = {"loop": "the usual loop", "torchmetrics": "torchmetrics", "faiss": "FAISS"}
    body = []
    for r in rows:
        size = f"{r['queries']:,} × {r['database']:,}"
        cells = [r["case"], size, str(r["bits"]), f"{r['flipped']:.0%}", f"{r['ours_s']:.3f} s"]
        for peer in peers:
            known = f"{peer}_s" in r
            cells.append(f"{r[f'{peer}_s']:.2f} s, ×{r[f'{peer}_ratio']:.0f}" if known else "not installed")
        body.append(cells)
    return table(["case", "size", "bits", "flipped", "ours", *peers.values()], body)


def search_table(rows: list[dict[str, Any]]) -> str:
    body = []
    for r in rows:
        stored = f"{r['bytes'] / 1e6:.0f} MB" if "bytes" in r else "not measured"
        built = f"{r['build_s']:.1f} s" if "build_s" in r else "not measured"
        body.append([r["what"], f"{r['ms']:.3f} ms", f"{r['recall']:.3f}", built, stored])
    return table(["what", "a query", "recall", "to build", "stored"], body)


def loading_table(rows: list[dict[str, Any]]) -> str:
    body = [[r["case"], r["what"], f"{r['images_per_s']:,.0f}", f"×{r['of_usual']:.1f}"] for r in rows]
    return table(["images", "how", "images a second", "of the usual"], body)


def training_table(rows: list[dict[str, Any]]) -> str:
    names = {"bare": "bare loop", "none": "no attention", "danet": "DANet", "ida": "IDA"}
    body = [[names[r["attention"]], f"{r['images_per_s']:.1f}", f"{r['of_bare']:.2f}"] for r in rows]
    return table(["network", "images a second", "of the bare loop"], body)


TABLES = {"map": map_table, "search": search_table, "loading": loading_table, "training": training_table}


def page(found: dict[str, Any]) -> str:
    """The page's text."""
    m = found["machine"]
    machine = f"{m['processor']}, one thread, Python {m['python']}, PyTorch {m['torch'].split('+')[0]}"
    parts = [INTRO.format(machine=machine)]
    first = found["map"][0]["first_s"] if "map" in found else math.nan
    for name, text in PARTS.items():
        text = text.format(first=first) if name == "map" else text
        parts += [text, TABLES[name](found[name]) if name in found else "Not measured yet: `make bench`.\n"]
    return "\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("command", nargs="?", choices=["write", "check"], default="write")
    command = parser.parse_args(argv).command
    text = page(json.loads((ROOT / DATA).read_text(encoding="utf-8")))
    if command == "write":
        notebooks.write_atomic(ROOT / PAGE, text)
    elif not (ROOT / PAGE).is_file() or (ROOT / PAGE).read_text(encoding="utf-8") != text:
        print(f"{PAGE} differs from {DATA}: run `python tools/speed.py`")
        return 1
    print(f"{PAGE}: {', '.join(name for name in PARTS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
