"""Measured speed beside its peers, in one run on one thread: ``make bench``.

Times are medians of repeats taken in turn; the ratio is what counts, for machines differ. Codes are made:
noisy copies of one random code per class, as trained codes are (10 % of the bits flipped), and random ones
(50 %), the worst case. The result goes to ``data/records/bench.json``; ``tools/speed.py`` makes a page of it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dhida_lib._files import read_json, write_json
from dhida_lib.data import IMAGENET_MEAN, IMAGENET_STD, Preprocess, Split, batches
from dhida_lib.data.files import shrunk
from dhida_lib.losses import DHIDALoss
from dhida_lib.metrics import mean_average_precision
from dhida_lib.models import HashNetwork
from dhida_lib.records import machine
from dhida_lib.training import TrainConfig, train

OUT = Path(__file__).resolve().parents[1] / "data" / "records" / "bench.json"


def made_codes(bits: int, labels: Tensor, flip: float, seed: int) -> Tensor:
    """Codes (n×bits) for class ids or multi-hot rows: the sign of the sum of the classes' codes, noisy."""
    one_hot = labels if labels.ndim == 2 else nn.functional.one_hot(labels, 10)
    g = torch.Generator().manual_seed(7)
    centres = torch.randint(0, 2, (one_hot.shape[1], bits), generator=g) * 2.0 - 1
    pull = one_hot.float() @ centres + 0.1  # no ties
    g = torch.Generator().manual_seed(seed)
    return pull.sign() * ((torch.rand(len(labels), bits, generator=g) < flip).float() * -2 + 1)


def usual_loop(q: Tensor, d: Tensor, q_y: Tensor, d_y: Tensor, k: int | None = None) -> float:
    """The field's loop: sort the whole database for each query, average the precision at the hits."""
    q_, d_ = q.numpy(), d.numpy()
    q_l, d_l = ((y if y.ndim == 2 else nn.functional.one_hot(y, 10)).float().numpy() for y in (q_y, d_y))
    total = 0.0
    for i in range(len(q_)):
        hit = (q_l[i] @ d_l.T > 0).astype(np.float32)
        hit = hit[np.argsort(0.5 * (q_.shape[1] - q_[i] @ d_.T))][:k]
        ranks = np.flatnonzero(hit) + 1
        total += float(np.mean(np.arange(1, len(ranks) + 1) / ranks)) if len(ranks) else 0.0
    return total / len(q_)


def with_torchmetrics(q: Tensor, d: Tensor, q_y: Tensor, d_y: Tensor, k: int | None = None) -> float:
    """Torchmetrics' average precision, query by query; scores must be above 0."""
    from torchmetrics.functional.retrieval import retrieval_average_precision

    values = []
    for code, y in zip(q, q_y, strict=True):
        hit = (d_y @ y > 0) if d_y.ndim == 2 else d_y == y
        values.append(retrieval_average_precision(d @ code + code.numel() + 1, hit, top_k=k))
    return float(torch.stack(values).mean())


def with_faiss(q: Tensor, d: Tensor, q_y: Tensor, d_y: Tensor, k: int | None = None) -> float:
    """FAISS ranks the database (its counting search), then the precision at the hits."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(q.shape[1])
    index.use_heap = False
    index.add(np.packbits(d.numpy() > 0, axis=1))
    _, order = index.search(np.packbits(q.numpy() > 0, axis=1), k or len(d))
    q_n, d_n = q_y.numpy(), d_y.numpy()
    total = 0.0
    for y, found in zip(q_n, order, strict=True):
        hit = (d_n[found] @ y > 0) if d_n.ndim == 2 else d_n[found] == y
        ranks = np.flatnonzero(hit) + 1
        total += float(np.mean(np.arange(1, len(ranks) + 1) / ranks)) if len(ranks) else 0.0
    return total / len(q)


def seconds(call: Callable[[], Any], repeat: int) -> float:
    """Median wall time of a call, after one that is not counted."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def timed(call: Callable[[], Any]) -> float:
    """Wall time of one call, for what can be done once only."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def bench_map() -> list[dict[str, Any]]:
    """Expected mAP and its peers. A slow peer answers a part of the queries, and its time is scaled."""
    g = torch.Generator().manual_seed(0)
    cases = []
    for bits in (16, 64):
        for flip in (0.1, 0.5):
            labels = [torch.randint(0, 10, (n,), generator=g) for n in (1000, 54_000)]
            cases.append(("one label, mAP@ALL", bits, flip, labels, None))
    # The sizes of NUS-WIDE-21. Frequent and rare labels, drawn independently: more sets of labels than where
    # labels go together. Then the worst case: almost every item has a set of its own.
    for name, often in (("several", 0.36 / torch.arange(1, 22) ** 0.75), ("many", torch.full((21,), 0.35))):
        labels = [(torch.rand(n, 21, generator=g) < often).long() for n in (2100, 193_734)]
        for y in labels:
            y[:, 0] |= y.sum(dim=1) == 0
        sets = len(labels[1].unique(dim=0))
        cases.append((f"{name} labels ({sets:,} sets), mAP@5000", 64, 0.1, labels, 5000))
    rows = []
    for name, bits, flip, (q_y, d_y), k in cases:
        q, d = made_codes(bits, q_y, flip, 0), made_codes(bits, d_y, flip, 1)
        first = timed(lambda: mean_average_precision(q, d, q_y, d_y, k))  # noqa: B023
        ours = seconds(lambda: mean_average_precision(q, d, q_y, d_y, k), 5)  # noqa: B023
        row = {
            "case": name,
            "bits": bits,
            "flipped": flip,
            "queries": len(q),
            "database": len(d),
            "ours_s": ours,
            "first_s": first,
        }
        peers: dict[str, tuple[Callable[..., float], int]] = {"loop": (usual_loop, 300)}
        peers["torchmetrics"] = (with_torchmetrics, 20)
        if find_spec("faiss"):
            peers["faiss"] = (with_faiss, 100)
        for peer, (call, n) in peers.items():
            took = seconds(lambda: call(q[:n], d, q_y[:n], d_y, k), 3) * len(q) / n  # noqa: B023
            row[f"{peer}_s"], row[f"{peer}_ratio"] = took, took / ours
        rows.append(row)
        shown = ", ".join(f"{peer} {row[f'{peer}_s']:.2f} s = ×{row[f'{peer}_ratio']:.0f}" for peer in peers)
        print(f"{name}, {bits} bits, {flip:.0%} flipped: ours {ours:.3f} s; {shown}", flush=True)
    return rows


def bench_search() -> list[dict[str, Any]]:
    """A million codes of 64 bits in 2,000 noisy clusters, 1,000 queries: what FAISS's structures give."""
    import faiss

    from dhida_lib.search import CodeIndex, pack

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2, (2000, 64), dtype=np.int8) * 2 - 1

    def noisy(n: int) -> np.ndarray:
        flips = (rng.random((n, 64), dtype=np.float32) < 0.06).astype(np.int8)
        return centres[rng.integers(0, 2000, n)] * (1 - 2 * flips)

    d, q = noisy(1_000_000), noisy(1000)
    exact, near = CodeIndex(64), CodeIndex(64, lists=1024, probes=16)
    built = {"scan": timed(lambda: (exact.add(d), exact.search(q[:1], 1)))}
    built["clusters"] = timed(lambda: (near.add(d), near.search(q[:1], 1)))
    built["tables"] = timed(lambda: exact.within(q[:1], 2))
    truth = np.array([[f.distance[-1]] for f in exact.search(q, 100)])  # 1000×1
    balls = [len(f.ids) for f in exact.within(q, 2)]
    graph = faiss.IndexBinaryHNSW(64, 16)
    built["graph"] = timed(lambda: graph.add(pack(d[:100_000])))  # a tenth: it takes long to build
    part = CodeIndex(64)
    part.add(d[:100_000])
    graph.hnsw.efSearch = 256
    last = [f.distance[-1] for f in part.search(q, 100)]
    found, _ = graph.search(pack(q), 100)
    n = len(q)
    rows = [
        {
            "what": "100 nearest, scan",
            "ms": seconds(lambda: exact.search(q, 100), 3) / n * 1e3,
            "recall": 1.0,
        },
        {
            "what": "100 nearest, 1,024 clusters, 16 looked into",
            "ms": seconds(lambda: near.search(q, 100), 3) / n * 1e3,
            "recall": float(np.mean(np.array([f.distance for f in near.search(q, 100)]) <= truth)),
        },
        {
            "what": "100 nearest of 100,000, graph (HNSW, ef 256)",
            "ms": seconds(lambda: graph.search(pack(q), 100), 3) / n * 1e3,
            "recall": float(np.mean(found <= np.array(last)[:, None])),
        },
        {
            "what": "radius 2, hash tables",
            "ms": seconds(lambda: exact.within(q, 2), 3) / n * 1e3,
            "recall": 1.0,
        },
    ]
    scan = exact._index("scan")
    limits, _, _ = scan.range_search(pack(q), 3)
    assert np.diff(limits.astype(int)).tolist() == balls, "the tables must find what the scan finds"
    took = seconds(lambda: scan.range_search(pack(q), 3), 3) / n * 1e3
    rows.append({"what": "radius 2, scan", "ms": took, "recall": 1.0})
    stored = {kind: len(faiss.serialize_index_binary(exact._index(kind))) for kind in ("scan", "tables")}
    stored["clusters"] = len(faiss.serialize_index_binary(near._index("clusters")))
    stored["graph"] = len(faiss.serialize_index_binary(graph))
    kinds = ("scan", "clusters", "graph", "tables", "scan")
    for row, kind in zip(rows, kinds, strict=True):
        row |= {"build_s": built[kind], "bytes": stored[kind]}
        print(f"{row['what']}: {row['ms']:.3f} ms per query, recall {row['recall']:.3f}", flush=True)
    return rows


def bare_epoch(x: Tensor, y: Tensor, batch: int) -> Callable[[], None]:
    """One epoch as torchvision's references have it: ResNet18, a DataLoader, flips, cross-entropy."""
    from torchvision.models import resnet18
    from torchvision.transforms import v2

    model, flip = resnet18(num_classes=16), v2.RandomHorizontalFlip()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch, shuffle=True)

    def epoch() -> None:
        model.train()
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(flip(images / 255)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def bench_training() -> list[dict[str, Any]]:
    """Images per second of `train` with ResNet18, beside the bare loop, in turn."""
    n, side, batch = 32, 224, 16
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=g)
    y = torch.randint(0, 10, (n,), generator=g)
    form = Preprocess(3, side, mean=(0.5,) * 3, std=(0.25,) * 3)
    split = Split(x, y, torch.arange(n), form)
    config = TrainConfig(epochs=1, batch_size=batch, lr=1e-4, augment="flip")

    def ours(attention: str) -> Callable[[], None]:
        model, loss = HashNetwork("resnet18", attention, 16), DHIDALoss(16, n, 10)

        def epoch() -> None:
            train(model, loss, split, config)

        return epoch

    calls = {
        "bare": bare_epoch(x, y, batch),
        "none": ours("none"),
        "danet": ours("danet"),
        "ida": ours("ida"),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(4):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    rows = []
    for name in calls:
        speed = n / statistics.median(times[name])
        ratio = statistics.median(b / t for b, t in zip(times["bare"], times[name], strict=True))
        rows.append({"attention": name, "images_per_s": speed, "of_bare": ratio})
        print(f"training, ResNet18 at {side} px, {name}: {speed:.0f} images/s, {ratio:.2f} of the bare loop")
    return rows


class EachTime(torch.utils.data.Dataset):
    """The usual data set: decode, resize and cut whenever an image is asked for."""

    def __init__(self, files: list[Path]) -> None:
        from torchvision.transforms import v2

        self.files = files
        self.change = v2.Compose(
            [
                v2.ToImage(),
                v2.Resize(256),
                v2.RandomCrop(224),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor:
        with Image.open(self.files[i]) as image:
            return self.change(image.convert("RGB"))


def bench_loading() -> list[dict[str, Any]]:
    """Training images per second of the usual DataLoader and of `batches`: photographs and CIFAR's size."""
    n, batch = 128, 32
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []

    def measure(case: str, calls: dict[str, Callable[[], Any]]) -> None:
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(4):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if turn:
                    times[name].append(time.perf_counter() - start)
        usual = next(iter(calls))
        for name in calls:
            speed = n / statistics.median(times[name])
            ratio = statistics.median(b / t for b, t in zip(times[usual], times[name], strict=True))
            rows.append({"case": case, "what": name, "images_per_s": speed, "of_usual": ratio})
            print(f"loading, {case}, {name}: {speed:.0f} images/s, {ratio:.1f} of the usual", flush=True)

    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{i:03d}.jpg" for i in range(n)]
        for file in files:  # clouds of colour with noise, as large as ImageNet's photographs are typically
            small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
            cloud = np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC), dtype=float)
            noisy = (cloud + rng.normal(0, 12, cloud.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(file, quality=90)
        usual = torch.utils.data.DataLoader(EachTime(files), batch, shuffle=True)
        stored = shrunk(files, 256, folder, say=lambda line: None).pixels
        form = Preprocess(3, 224, stored=256, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop=224)
        split = Split(stored, torch.zeros(n, dtype=torch.long), torch.arange(n), form)
        measure(
            "photographs of 500×375",
            {
                "DataLoader, decoded each time": lambda: [None for _ in usual],
                "batches, from the file of bytes": lambda: [
                    None for _ in batches(split, batch, True, augment="crop-flip")
                ],
            },
        )
        del stored, split
    from torchvision.transforms import v2

    x = torch.from_numpy(rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8))
    change = v2.Compose(
        [
            v2.Resize(224, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )

    class Small(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return n

        def __getitem__(self, i: int) -> Tensor:
            return change(x[i])

    loader = torch.utils.data.DataLoader(Small(), batch, shuffle=True)
    form = Preprocess(3, 224, stored=32, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    split = Split(x, torch.zeros(n, dtype=torch.long), torch.arange(n), form)
    measure(
        "CIFAR-10's 32 pixels made 224",
        {
            "DataLoader, image by image": lambda: [None for _ in loader],
            "batches": lambda: [None for _ in batches(split, batch, True, augment="flip")],
        },
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("map", "search", "loading", "training"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = read_json(OUT) if OUT.is_file() else {}  # parts measured before stay
    result["machine"] = machine()
    parts = {
        "map": bench_map,
        "search": bench_search,
        "loading": bench_loading,
        "training": bench_training,
    }
    for name, call in parts.items():
        if args.only in (None, name):
            result[name] = call()
    print(f"written to {write_json(OUT, result).relative_to(OUT.parents[1])}")


if __name__ == "__main__":
    main()
