"""Expected mAP against the field's usual argsort loop, in one run on one thread.

The codes are made: noisy copies of one random code per class, as trained codes are. Times are medians; the
ratio is what counts, for machines differ.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dhida_lib._files import write_json
from dhida_lib.metrics import mean_average_precision
from dhida_lib.records import machine

OUT = Path(__file__).resolve().parents[1] / "_build" / "bench.json"


def made_codes(bits: int, n: int, flip: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (n×bits) of ten classes and their labels (n,)."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randint(0, 2, (10, bits), generator=torch.Generator().manual_seed(7)) * 2.0 - 1
    y = torch.randint(0, 10, (n,), generator=g)
    noise = (torch.rand(n, bits, generator=g) < flip).float() * -2 + 1
    return centres[y] * noise, y


def usual_loop(q: torch.Tensor, d: torch.Tensor, q_y: torch.Tensor, d_y: torch.Tensor) -> float:
    """Sort the whole database for each query and average the precision at the hits."""
    q_, d_ = q.numpy(), d.numpy()
    total = 0.0
    for i in range(len(q_)):
        order = np.argsort(0.5 * (q_.shape[1] - d_ @ q_[i]))
        hits = np.flatnonzero((d_y.numpy() == int(q_y[i]))[order]) + 1
        total += float(np.mean(np.arange(1, len(hits) + 1) / hits)) if len(hits) else 0.0
    return total / len(q_)


def seconds(call: Callable[[], float], repeat: int) -> float:
    """Median wall time of a call."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--database", type=int, default=54_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for bits in (16, 64):
        for flip in (0.1, 0.5):
            q, q_y = made_codes(bits, args.queries, flip, 0)
            d, d_y = made_codes(bits, args.database, flip, 1)
            ours = seconds(lambda: mean_average_precision(q, d, q_y, d_y), 3)  # noqa: B023
            loop = seconds(lambda: usual_loop(q, d, q_y, d_y), 1)  # noqa: B023
            row = {"bits": bits, "flip": flip, "loop_s": loop, "ours_s": ours, "ratio": loop / ours}
            rows.append(row)
            shown = f"loop {loop:.2f} s, ours {ours:.3f} s, ratio {loop / ours:.0f}"
            print(f"{bits} bits, {flip:.0%} flipped: {shown}")
    print(f"written to {write_json(OUT, {'machine': machine(), 'map': rows}).relative_to(OUT.parents[1])}")


if __name__ == "__main__":
    main()
