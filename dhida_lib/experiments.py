"""The experiments behind the book's tables: which runs they need, running them, reading their records.

``python -m dhida_lib reproduce tune | table3 | table4`` makes the records; Chapters 14 and 15 read them. A
run is known by its whole configuration: one that has a record is never run again, whichever table asks.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dhida_lib._validate import bad, choice, positive, positive_int
from dhida_lib.records import Record, load_records, save_record
from dhida_lib.runs import PROFILES, RunConfig, run, weights_name

__all__ = [
    "BASES",
    "BEYOND",
    "METHODS",
    "MODELS",
    "SEARCH",
    "SOURCES",
    "STARTS",
    "TABLES",
    "Difference",
    "Job",
    "find",
    "missing",
    "paired",
    "plan",
    "reproduce",
    "scores",
    "tuned",
]

BASES: dict[str, RunConfig] = {
    "fashion-mini": PROFILES["fast"],
    "fashion-multi": PROFILES["fast"].change(dataset="fashion-multi", epochs=6),
    "fashion-mnist": PROFILES["fast"].change(dataset="fashion-mnist", epochs=8),
    "cifar10": PROFILES["full"],
    "nus-wide-21": PROFILES["full"].change(dataset="nus-wide-21", augment="crop-flip"),
    "imagenet100": PROFILES["full"].change(dataset="imagenet100", augment="crop-flip"),
}
"""Data set → what all its runs share."""

METHODS: dict[str, str] = {
    "dhida": "DHIDA",
    "dbdh": "DBDH",
    "dsdh": "DSDH",
    "dhn": "DHN",
    "lcdsh": "LCDSH",
    "hashnet": "HashNet",
    "idhn": "IDHN",
    "dfh": "DFH",
    "dsh": "DSH",
    "orthohash": "OrthoHash",
    "classifier": "Classifier",
}
"""The rows of Table 3, and two that the paper left out: a centre method and a classifier's one-hot code."""

BEYOND: dict[str, str] = {
    "dhida": "DHIDA",
    "dbdh": "DBDH",
    "csq": "CSQ",
    "orthohash": "OrthoHash",
    "classifier": "Classifier",
}
"""The rows of Chapter 19's table: pairs with and without attention, two centre methods, a classifier."""

MODELS: dict[str, dict[str, Any]] = {
    "DHIDA-A": {"backbone": "alexnet", "attention": "none", "loss_options": {"activation": "identity"}},
    "DHIDA-I": {"backbone": "alexnet", "attention": "none"},
    "DHIDA-R": {"attention": "none"},
    "DHIDA-D": {"attention": "danet"},
    "DHIDA": {},
    "DHIDA, row": {"reduce": "row"},
    "sign flipped": {"attention": "flipped"},
    "A doubled": {"attention": "double"},
    "plain convolutions": {"attention": "conv"},
    "sum halved": {"fusion": "mean"},
}
"""The rows of Table 4, and what it left out: the other axis, the other sign, and three controls."""

RATES = (1.0, 0.5, 2.0)
"""The learning rates that every method tries, as multiples of its data set's."""

SEARCH: dict[str, tuple[str, tuple[float, float]]] = {
    "dhida": ("gamma", (0.01, 1.0)),
    "dbdh": ("alpha", (0.01, 1.0)),
    "dsdh": ("eta", (0.01, 1.0)),
    "dhn": ("alpha", (0.01, 1.0)),
    "lcdsh": ("lam", (0.3, 1.0)),
    "hashnet": ("alpha", (0.2, 1.0)),
    "idhn": ("lam", (0.01, 1.0)),
    "dfh": ("eta", (0.05, 2.0)),
    "dsh": ("alpha", (0.1, 1.0)),
    "csq": ("lam", (0.01, 0.1)),
    "orthohash": ("margin", (0.0, 0.4)),
    "classifier": ("weight_decay", (1e-4, 1e-3)),
}
"""Method → its own setting and the values that are tried beside the default: five trials for each method."""

STARTS: dict[str, dict[str, Any]] = {"dbdh": {"activation": "piecewise"}}
"""Loss options that a method's search starts from, where they are not the defaults. DBDH as its paper has it
does not learn from a random start here (its trials are recorded too), so its row is the form of common ports.
"""

TABLES = ("tune", "edge", "table3", "table4", "beyond")
_VALIDATION = 0.25  # the share of the training images that the search cuts off
SOURCES = {"fashion-multi": "fashion-mnist", "fashion-mini": "fashion-mnist"}
"""Data sets that take their settings from the search on another."""
_LISTED = ("nus-wide-21", "imagenet100")  # their lists are the split, whatever the seed


class Job(NamedTuple):
    """One run of a plan.

    Attributes:
        row: the table's row, for example ``"DHIDA-R"``.
        config: the run.

    Source: ours; used in Chapters 14 and 15.
    """

    row: str
    config: RunConfig

    @property
    def name(self) -> str:
        """The record's file name without ``.json``: what a reader looks for, and a hash of the whole."""
        c = self.config
        digest = hashlib.sha256(json.dumps(_recorded(c), sort_keys=True).encode()).hexdigest()[:8]
        kind = f"{c.method}-{c.backbone}-{c.attention}"
        return f"{kind}-{c.bits}bit-seed{c.train.seed}-{digest}"


class Difference(NamedTuple):
    """A paired comparison.

    Attributes:
        mean: mean difference over the seeds.
        error: its standard error, sd/√n; NaN for one seed.
        values: seed → difference.

    Source: ours; built in Chapter 15.
    """

    mean: float
    error: float
    values: dict[int, float]


def tuned(
    method: str, dataset: str, records: Iterable[Record], change: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The settings that a method's search found: those of its trial with the highest mAP.

    Args:
        method: a key of `METHODS` or `BEYOND`.
        dataset: a key of `BASES`.
        records: all that is recorded; trials are told by their validation split.
        change: settings that were changed in every trial, such as the weights.

    Returns:
        Settings for `RunConfig.change`; empty if nothing was tried.

    Raises:
        ValueError: if ``method`` or ``dataset`` is unknown.

    Source: ours, the paper does not say how its baselines were set; used in Chapter 14.
    """
    base = BASES[choice("dataset", dataset, BASES)].change(**(change or {}))
    choice("method", method, {**METHODS, **BEYOND})
    records = list(records)
    done = [(c, r) for c in _trials(method, base, records) if (r := find(c, records)) is not None]
    if not done:
        return {}
    best = max(done, key=lambda pair: pair[1].metrics["map"])[0]
    kept = {"lr": best.train.lr, "weight_decay": best.train.weight_decay}
    return {**kept, "loss_options": dict(best.loss_options)}


def _trials(method: str, base: RunConfig, records: list[Record]) -> list[RunConfig]:
    """A method's search as far as it is known: three learning rates, then its own setting at the best."""
    options = STARTS.get(method, {})
    start = base.change(
        method=method, held_out=_VALIDATION, attention=_attention(method, base), loss_options=options
    )
    rates = [start.change(lr=base.train.lr * factor) for factor in RATES]
    found = [find(config, records) for config in rates]
    if not all(found):
        return rates
    best = max(range(len(rates)), key=lambda i: found[i].metrics["map"])  # type: ignore[union-attr]
    name, values = SEARCH[method]
    inner = name in base.as_dict()["train"]
    more = [
        rates[best].change(**({name: v} if inner else {"loss_options": {**options, name: v}})) for v in values
    ]
    return rates + more


def _further(method: str, base: RunConfig, records: list[Record]) -> RunConfig | None:
    """One rate beyond the search's last, if a whole search took that one. A check: `tuned` ignores it."""
    trials = _trials(method, base, records)
    if len(trials) == len(RATES):
        return None
    slow, usual, fast = sorted(trial.train.lr for trial in trials[: len(RATES)])
    taken = trials[-1].train.lr  # the trials of its own setting are made at the best rate
    further = {slow: slow * slow / usual, fast: fast * fast / usual}.get(taken)
    return None if further is None else trials[0].change(lr=further)


def _attention(method: str, base: RunConfig) -> str:
    """Attention belongs to DHIDA; every other method has the same backbone without it."""
    return base.attention if method == "dhida" else "none"


def plan(
    table: str,
    dataset: str = "fashion-mnist",
    bits: Sequence[int] = (16,),
    seeds: Sequence[int] = (0,),
    records: Iterable[Record] = (),
    rows: Sequence[str] | None = None,
    init_std: Sequence[float] | None = None,
    change: dict[str, Any] | None = None,
) -> list[Job]:
    """The runs that a table needs, recorded or not.

    A seed decides everything that is drawn: the split (but of sets whose lists are the split), the network's
    start and the order of the images. Two rows of one seed share all three, so their difference is paired.

    Args:
        table: ``"tune"`` (the search, seed 0), ``"edge"`` (one learning rate further, where the search took
            the last one), ``"table3"`` (methods), ``"table4"`` (models) or ``"beyond"``.
        dataset: a key of `BASES`.
        bits: the code lengths.
        seeds: the seeds.
        records: what is recorded. The search's second half follows from its first, tables from the search.
        rows: only these rows; None means all.
        init_std: standard deviations of the hash layer's start; None means the data set's own.
        change: settings to change in every run.

    Returns:
        The runs in the order in which they should be made: all rows of a seed before the next seed.

    Raises:
        ValueError: if a name or a number is wrong.

    Source: Tables 3 and 4; used in Chapters 14, 15 and 19.
    """
    choice("table", table, TABLES)
    base = BASES[choice("dataset", dataset, BASES)].change(**(change or {}))
    records = list(records)
    both = {**METHODS, **BEYOND}
    labels = {"tune": both, "edge": both, "beyond": BEYOND}.get(table, METHODS)
    names = list(MODELS if table == "table4" else labels.values())
    for row in rows or ():
        choice("rows", row, names)
    for k in bits:
        positive_int("bits", k)
    names = [name for name in names if rows is None or name in rows]
    method = {label: name for name, label in labels.items()}
    if table == "tune":
        return [Job(row, c) for row in names for c in _trials(method[row], base, records)]
    if table == "edge":
        return [Job(row, c) for row in names if (c := _further(method[row], base, records)) is not None]
    jobs = []
    source = SOURCES.get(dataset, dataset)
    mine = change if source == dataset else None  # a search with the same change comes first
    used = {"dhida"} if table == "table4" else {method[row] for row in names}
    found = {name: tuned(name, source, records, mine) or tuned(name, source, records) for name in used}
    for seed in seeds:
        for k in bits:
            for std in init_std or (base.init_std,):
                for row in names:
                    name = "dhida" if table == "table4" else method[row]
                    start = {"loss_options": STARTS.get(name, {})}
                    settings = {**start, **found[name], **(change or {})}
                    split = 0 if dataset in _LISTED else seed
                    config = base.change(
                        method=name, bits=k, seed=seed, split_seed=split, init_std=std, **settings
                    )
                    config = config.change(attention=_attention(name, base))
                    if table == "table4":
                        config = _model(config, MODELS[row])
                    if name == "classifier":  # its length is the number of classes, whatever `bits` says
                        config = config.change(bits=BASES[dataset].bits)
                    if (job := Job(row, config)) not in jobs:
                        jobs.append(job)
    return jobs


def _model(config: RunConfig, change: dict[str, Any]) -> RunConfig:
    """A row of Table 4: the system with one thing changed."""
    change = dict(change)
    if change.get("backbone") == "alexnet" and config.backbone == "narrow-resnet":
        change["backbone"] = "narrow-alexnet"
    change["loss_options"] = {**config.loss_options, **change.get("loss_options", {})}
    return config.change(**change)


def find(config: RunConfig, records: Iterable[Record]) -> Record | None:
    """The record of a run, if there is one.

    Args:
        config: the run.
        records: where to look.

    Returns:
        The record whose whole configuration is this one, or None.

    Source: ours; used in Chapters 14 and 15.
    """
    wanted = _recorded(config)
    return next((r for r in records if r.config == wanted), None)


def _recorded(config: RunConfig) -> dict[str, Any]:
    """A configuration as its record has it: weights by their content."""
    return {**config.as_dict(), "weights": weights_name(config.weights)}


def scores(jobs: Iterable[Job], records: Iterable[Record]) -> dict[str, dict[int, Record]]:
    """Sort records into a table's rows.

    Args:
        jobs: the runs that one column needs, from `plan`.
        records: what is recorded.

    Returns:
        Row → seed → record. Runs without a record are left out; a row without any is an empty dictionary.

    Source: Tables 3 and 4; used in Chapters 14 and 15.
    """
    records = list(records)
    table: dict[str, dict[int, Record]] = {}
    for job in jobs:
        row = table.setdefault(job.row, {})
        if (record := find(job.config, records)) is not None:
            row[job.config.train.seed] = record
    return table


def paired(a: dict[int, Record], b: dict[int, Record], measure: str = "map") -> Difference:
    """How much more a row has than another, seed by seed.

    Args:
        a: seed → record.
        b: seed → record.
        measure: a number of the records' metrics.

    Returns:
        a − b over the seeds that both have.

    Raises:
        ValueError: if they share no seed.

    Source: ours; built in Chapter 15.
    """
    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise bad("b", f"seeds {sorted(b)}", f"at least one of the seeds of `a`, {sorted(a)}")
    values = {seed: a[seed].metrics[measure] - b[seed].metrics[measure] for seed in shared}
    n = len(values)
    error = statistics.stdev(values.values()) / math.sqrt(n) if n > 1 else math.nan
    return Difference(statistics.fmean(values.values()), error, values)


def reproduce(
    make_plan: Callable[[list[Record]], list[Job]],
    folder: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    work: str | os.PathLike[str] = "_build/runs",
    jobs: int = 1,
    budget: float | None = None,
    say: Callable[[str], object] = print,
) -> int:
    """Make the runs of a plan that have no record yet, several at a time.

    Killed at any moment, it loses at most one epoch of each run in progress: its processes end with it, and
    the next call goes on.

    Args:
        make_plan: from what is recorded to the runs that are needed. It is asked again when all are made,
            for a search goes on from what it found.
        folder: where the records are read and written.
        root: where the data set lies, if it does not ship.
        work: where the states of unfinished runs are kept.
        jobs: processes; each has its share of the cores, or one thread if OMP_NUM_THREADS says so.
        budget: seconds; no run is begun that would not end within them, judged by those made so far, or by
            the folder's records while none is. Without either, one is begun to see.
        say: told one line for every run.

    Returns:
        How many runs were made.

    Raises:
        ValueError: if a number is wrong, or a run's settings are.
        FileNotFoundError: if the data are not there.

    Source: ours; used in Chapters 14 and 15.
    """
    positive_int("jobs", jobs)
    if budget is not None:
        positive("budget", budget)
    Path(folder).mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    times: list[float] = []
    known = [
        r.seconds for r in load_records(folder)
    ]  # measuring comes on top, so the first guess is a low one
    threads = max(1, torch.get_num_threads() // jobs)
    context = get_context("spawn")  # a forked process would inherit torch's threads in a broken state
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker, initargs=(threads,))
    with pool:
        try:
            while todo := missing(make_plan, folder):
                running: dict[Future[tuple[float, float]], Job] = {}
                stopped = False
                while running or (todo and not stopped):
                    while todo and len(running) < jobs and not stopped:
                        if budget is not None and running and not (times or known):
                            break  # how long a run takes is not known before the first has ended
                        typical = statistics.fmean(times) if times else statistics.median(known or [0.0])
                        stopped = budget is not None and time.monotonic() - started + typical > budget
                        if not stopped:
                            job = todo.pop(0)
                            running[pool.submit(_one, job, str(folder), root, str(work))] = job
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        job = running.pop(future)
                        score, seconds = future.result()
                        times.append(seconds)
                        left = statistics.fmean(times) * (len(todo) + len(running)) / jobs
                        what = f"{job.row}, {job.config.bits} bits, seed {job.config.train.seed}"
                        rest = f"{len(todo) + len(running)} left, about {left / 60:.0f} min"
                        say(f"{what}: mAP {score:.4f}, {seconds:.0f} s; {rest}")
                if stopped:
                    say(f"budget of {budget:.0f} s used; {len(todo)} runs left")
                    break
        except BaseException:
            for process in list((pool._processes or {}).values()):  # a run may take hours: do not wait for it
                process.terminate()
            raise
    return len(times)


def missing(make_plan: Callable[[list[Record]], list[Job]], folder: str | os.PathLike[str]) -> list[Job]:
    """The runs of a plan that have no record in a folder.

    Args:
        make_plan: from what is recorded to the runs that are needed.
        folder: where the records are; it need not exist.

    Returns:
        The runs, each once.

    Source: ours; used by `reproduce`.
    """
    records = load_records(folder) if Path(folder).is_dir() else []
    todo: list[Job] = []
    for job in make_plan(records):
        if find(job.config, records) is None and all(job.config != other.config for other in todo):
            todo.append(job)
    return todo


def _begin_worker(threads: int) -> None:
    """Give a worker its share of the cores, and let it end when the process that started it ends."""
    torch.set_num_threads(threads)

    def follow() -> None:
        if (parent := parent_process()) is not None:
            parent.join()  # returns when the system closes the parent's end of a pipe, as SIGKILL does too
            os._exit(1)  # what lies on disk is whole at any moment

    threading.Thread(target=follow, daemon=True).start()


def _one(job: Job, folder: str, root: str | os.PathLike[str] | None, work: str) -> tuple[float, float]:
    """Make one run in a process of its own; its state is removed once the record is safe."""
    started = time.monotonic()
    state = Path(work) / job.name
    _, record = run(job.config, root, state, note=job.row)
    save_record(record, Path(folder) / f"{job.name}.json")
    shutil.rmtree(state, ignore_errors=True)
    return float(record.metrics["map"]), time.monotonic() - started
