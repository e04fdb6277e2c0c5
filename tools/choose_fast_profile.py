"""How the fast profile was chosen: change one setting at a time, measure on images cut from the training set.

Writes one record per run to ``data/records/fast-profile/`` and skips those already there, so it can be
stopped and started again. ``python tools/choose_fast_profile.py --list`` shows what is measured; Chapter 11
draws it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dhida_lib.records import load_records, save_record
from dhida_lib.runs import PROFILES, run

FOLDER = Path(__file__).resolve().parents[1] / "data" / "records" / "fast-profile"
# Where the search began; the fast profile is what it found ("lr=0.001, batch_size=32").
CENTRE = PROFILES["fast"].change(held_out=0.25, lr=5e-4, batch_size=64)
CHANGES: dict[str, dict[str, object]] = {
    "centre": {},
    "init_std=0.01": {"init_std": 0.01},
    "init_std=0.3": {"init_std": 0.3},
    "attention=none": {"attention": "none"},
    "augment=none": {"augment": "none"},
    "augment=flip-shift": {"augment": "flip-shift"},
    "lr=0.001": {"lr": 1e-3},
    "lr=0.0002": {"lr": 2e-4},
    "pairs=batch": {"pairs": "batch"},
    "batch_size=128": {"batch_size": 128},
    "activation=identity": {"loss_options": {"activation": "identity"}},
    "balance=bit": {"loss_options": {"balance": "bit"}},
    "schedule=constant": {"schedule": "constant"},
    "lr=0.001, augment=none": {"lr": 1e-3, "augment": "none"},
    "lr=0.001, batch_size=32": {"lr": 1e-3, "batch_size": 32},
    "lr=0.001, augment=none, batch_size=32": {"lr": 1e-3, "augment": "none", "batch_size": 32},
    "lr=0.002": {"lr": 2e-3},
    "lr=0.001, init_std=0.2": {"lr": 1e-3, "init_std": 0.2},
    "lr=0.001, pairs=batch": {"lr": 1e-3, "pairs": "batch"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="print what is recorded, run nothing")
    args = parser.parse_args()
    if args.list:
        for record in load_records(args.out):
            seed = record.run.training.seed
            print(f"{record.note:24s} seed {seed}  mAP {record.metrics['map']:.3f}  {record.seconds:.0f} s")
        return
    for seed in range(args.first_seed, args.seeds):
        for name, change in CHANGES.items():
            path = args.out / f"{name}-seed{seed}.json"
            if path.exists():
                continue
            _, record = run(CENTRE.change(seed=seed, **change), note=name)
            save_record(record, path)
            print(f"{name}, seed {seed}: mAP {record.metrics['map']:.3f}, {record.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
