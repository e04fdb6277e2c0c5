"""Making the runs of a plan: several at a time, within a budget, resumed; and making one again
(Chapters 14 and 15).
"""

from __future__ import annotations

import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dhida_lib._registry import foreign_modules
from dhida_lib._validate import bad, positive, positive_int
from dhida_lib.backbones import BACKBONES
from dhida_lib.data import DATASETS
from dhida_lib.experiments.plan import Job, checked_change, find
from dhida_lib.extensions import import_extension
from dhida_lib.losses import LOSSES
from dhida_lib.records import Record, load_record, load_records, save_record
from dhida_lib.runs import run

__all__ = ["Repeated", "missing", "repeat", "reproduce"]

Plan = Callable[[list[Record]], list[Job]]


def missing(make_plan: Plan, folder: str | os.PathLike[str]) -> list[Job]:
    """The runs of a plan that have no record in a folder.

    Args:
        make_plan: from what is recorded to the runs that are needed.
        folder: where the records are; it need not exist.

    Returns:
        The runs, each once.
    """
    records = load_records(folder) if Path(folder).is_dir() else []
    todo: list[Job] = []
    for job in make_plan(records):
        if find(job.config, records) is None and all(job.config != other.config for other in todo):
            todo.append(job)
    return todo


def reproduce(
    make_plan: Plan,
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
        say: called with one line for every run.

    Returns:
        How many runs were made.

    Raises:
        ValueError: if a number is wrong, or a run's settings are.
        FileNotFoundError: if the data are not there.
    """
    positive_int("jobs", jobs)
    if budget is not None:
        positive("budget", budget)
    Path(folder).mkdir(parents=True, exist_ok=True)
    clock = _Clock(budget, [r.seconds for r in load_records(folder)])
    with _workers(jobs) as pool:

        def begin(job: Job) -> Future[tuple[float, float]]:
            return pool.submit(_one, job, str(folder), root, str(work))

        while todo := missing(make_plan, folder):
            if not _make(todo, begin, clock, jobs, say):
                say(f"budget of {budget:.0f} s used; {len(todo)} runs left")
                break
    return len(clock.times)


def _make(
    todo: list[Job],
    begin: Callable[[Job], Future[tuple[float, float]]],
    clock: _Clock,
    jobs: int,
    say: Callable[[str], object],
) -> bool:
    """Make runs, taking each from ``todo`` as it begins; False if the time was not enough for all."""
    running: dict[Future[tuple[float, float]], Job] = {}
    while running or (todo and clock.enough(running)):
        while todo and len(running) < jobs and clock.enough(running):
            job = todo.pop(0)
            running[begin(job)] = job
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            job = running.pop(future)
            score, seconds = future.result()
            clock.times.append(seconds)
            left = len(todo) + len(running)
            what = f"{job.row}, {job.config.network.bits} bits, seed {job.config.training.seed}"
            about = f"about {statistics.fmean(clock.times) * left / jobs / 60:.0f} min"
            say(f"{what}: mAP {score:.4f}, {seconds:.0f} s; {left} left, {about}")
    return not todo


@dataclass
class _Clock:
    """How long runs take, and whether another one would end in time."""

    budget: float | None
    known: list[float]  # training alone, from records: a low first guess
    times: list[float] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def enough(self, running: Mapping[Any, Any]) -> bool:
        """Whether another run may begin, beside those that are running."""
        if self.budget is None:
            return True
        if running and not (self.times or self.known):
            return False  # how long a run takes is not known before the first has ended
        typical = statistics.fmean(self.times) if self.times else statistics.median(self.known or [0.0])
        return time.monotonic() - self.started + typical <= self.budget


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that know what this one knows, share its cores, and end with it."""
    threads = max(1, torch.get_num_threads() // jobs)
    own = foreign_modules(LOSSES, DATASETS, BACKBONES)
    context = get_context("spawn")  # a forked process would inherit torch's threads in a broken state
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker, initargs=(threads, own))
    with pool:
        try:
            yield pool
        except BaseException:
            for process in list((pool._processes or {}).values()):  # a run may take hours: do not wait for it
                process.terminate()
            raise


def _begin_worker(threads: int, extensions: list[str]) -> None:
    """Give a worker its share of the cores and the user's classes, and let it end with its parent."""
    torch.set_num_threads(threads)

    def follow() -> None:
        if (parent := parent_process()) is not None:
            parent.join()  # returns when the system closes the parent's end of a pipe, as SIGKILL does too
            os._exit(1)  # what lies on disk is whole at any moment

    threading.Thread(target=follow, daemon=True).start()
    for extension in extensions:
        import_extension(extension)


def _one(job: Job, folder: str, root: str | os.PathLike[str] | None, work: str) -> tuple[float, float]:
    """Make one run in a process of its own; its state is removed once the record is safe."""
    started = time.monotonic()
    state = Path(work) / job.name
    _, record = run(job.config, root, state, note=job.row)
    save_record(record, Path(folder) / f"{job.name}.json")
    shutil.rmtree(state, ignore_errors=True)
    return float(record.metrics["map"]), time.monotonic() - started


class Repeated(NamedTuple):
    """A record's run, made again.

    Attributes:
        old: what was recorded.
        new: what came now.
        same: is every number of the metrics the same?
        machines: what differs between the two machines, as far as records know.
    """

    old: Record
    new: Record
    same: bool
    machines: list[str]


def repeat(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    change: dict[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Repeated:
    """Make a record's run again, with as many threads, and compare every number.

    Another processor or version of torch may round differently.

    Args:
        path: the record's file.
        root: where the data set lies, if it does not ship.
        change: settings to change, such as a file of weights that lies elsewhere now.
        out: folder for the new record; never that of the old one.

    Returns:
        Both records, and how they differ.

    Raises:
        ValueError: if ``out`` is the record's own folder, or a setting is wrong.
        FileNotFoundError: if the record or the data are not there.
    """
    path = Path(path)
    if out is not None and (Path(out) / path.name).resolve() == path.resolve():
        raise bad("out", str(out), f"another folder than that of {path.name}, which it would replace")
    change = checked_change(change)
    old = load_record(path)
    threads = torch.get_num_threads()
    torch.set_num_threads(old.machine.get("threads", threads))  # a sum's order depends on it
    try:
        _, new = run(old.run.change(**change), root, note=old.note)
    finally:
        torch.set_num_threads(threads)
    if out is not None:
        save_record(new, Path(out) / path.name)
    was = {k: old.machine.get(k, "not recorded") for k in new.machine}
    odd = [f"{k} {was[k]} → {v}" for k, v in new.machine.items() if was[k] != v]
    return Repeated(old, new, new.metrics == old.metrics, odd)
