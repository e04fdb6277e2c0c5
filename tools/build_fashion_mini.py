"""Rebuild data/fashion-mini/fashion-mini.npz from Fashion-MNIST's idx files, bit for bit.

    python tools/build_fashion_mini.py --idx FOLDER [--out FILE]

FOLDER holds the four idx files (Debian: dataset-fashion-mnist puts them in
/usr/share/datasets/fashion-mnist). The result is compared with the SHA-256 in
data/fashion-mini/manifest.json, which the library's loader checks too. If the content differs, nothing is
written and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import zlib
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from dhida_lib.data.fashion import content_sha256, read_fashion_mnist  # noqa: E402
from dhida_lib.data.protocols import rank_in_class, seeded_order  # noqa: E402

HOME = REPOSITORY / "data" / "fashion-mini"
PER_CLASS = 700
SEED = 2021  # the paper's year; any number would do, but it must not change


def choose(idx: str | Path) -> dict[str, np.ndarray]:
    """Pick 700 images of each class from all 70,000, in a fixed shuffled order."""
    images, labels, _ = read_fashion_mnist(idx)
    order = seeded_order(len(labels), SEED)
    rows = order[rank_in_class(labels[order]) < PER_CLASS]  # the first 700 of each class, still shuffled
    return {"images": images[rows], "labels": labels[rows], "source_index": rows.astype(np.int32)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Rebuild the shipped image set and check it.")
    parser.add_argument(
        "--idx", required=True, metavar="DIR", help="folder with Fashion-MNIST's four idx files"
    )
    parser.add_argument(
        "--out", default=HOME / "fashion-mini.npz", type=Path, metavar="FILE", help="where to write"
    )
    parser.add_argument(
        "--record", action="store_true", help="write the manifest anew instead of checking against it"
    )
    args = parser.parse_args(argv)

    arrays = choose(args.idx)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    partial = args.out.with_name(f".{args.out.stem}.{os.getpid()}.npz")
    try:
        np.savez_compressed(partial, **arrays)
        raw = partial.read_bytes()
        made = {
            "file": "fashion-mini.npz",
            "bytes": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "content_sha256": content_sha256(arrays),
            "images": len(arrays["labels"]),
            "per_class": PER_CLASS,
            "choice_seed": SEED,
        }
        print(f"file     {made['bytes']:,} bytes, SHA-256 {made['sha256']}")
        print(f"content  SHA-256 {made['content_sha256']}")
        if args.record:
            manifest = json.dumps(made, indent=2) + "\n"
            (HOME / "manifest.json").write_text(manifest, encoding="utf-8", newline="\n")
            print("recorded in the manifest")
        else:
            expected = json.loads((HOME / "manifest.json").read_text(encoding="utf-8"))
            if made["content_sha256"] != expected["content_sha256"]:
                print(f"WRONG: the content should be {expected['content_sha256']}; nothing was written")
                return 1
            if made["sha256"] == expected["sha256"]:
                print("the same file, bit for bit")
            else:
                print(
                    f"the same content, packed otherwise (expected {expected['sha256']}; zlib "
                    f"{zlib.ZLIB_VERSION})"
                )
        partial.replace(args.out)
        print(f"wrote {args.out}")
        return 0
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
