"""Which runs a table needs, recorded or not. A run is known by its whole configuration: one that has a record
is never made again, whichever table needs it (Chapters 14 and 15).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dhida_lib._validate import choice, instance, positive, positive_int, seed_int, sized
from dhida_lib.config import RunConfig, TrainConfig
from dhida_lib.data import DATASETS
from dhida_lib.experiments.tables import BEYOND, METHODS, MODELS, RATES, VALIDATION, base
from dhida_lib.losses import LOSSES, HashLoss, build_loss
from dhida_lib.records import Record, as_recorded

__all__ = ["TABLES", "Job", "find", "plan", "tuned"]

_LATER = ("recompute", *TrainConfig.SESSION)


class Job(NamedTuple):
    """One run of a plan.

    Attributes:
        row: the table's row, for example ``"DHIDA-R"``.
        config: the run.
    """

    row: str
    config: RunConfig

    @property
    def name(self) -> str:
        """The record's file name without ``.json``: what a reader looks for, and a hash of the whole."""
        c, settings = self.config, as_recorded(self.config)
        usual = TrainConfig()
        for name in _LATER:  # so that a run has the name that it had before these settings existed
            if settings["training"][name] == getattr(usual, name):
                del settings["training"][name]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        kind = f"{c.loss.method}-{c.network.backbone.replace(':', '-')}-{c.network.attention}"
        return f"{kind}-{c.network.bits}bit-seed{c.training.seed}-{digest}"


def find(config: RunConfig, records: Iterable[Record]) -> Record | None:
    """The record of a run, if there is one.

    Args:
        config: the run.
        records: where to look.

    Returns:
        The record whose whole configuration is this one, or None.

    Raises:
        ValueError: if ``config`` is no `RunConfig`.
    """
    wanted = as_recorded(config)
    return next((r for r in records if r.config == wanted), None)


# ---- the search for a method's settings --------------------------------------------------------------------


def tuned(
    method: str, dataset: str, records: Iterable[Record], change: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The settings that a method's search found: those of its trial with the highest mAP.

    Args:
        method: a name in `LOSSES`.
        dataset: a name in `DATASETS`.
        records: all that is recorded; trials are known by their validation split.
        change: settings that were changed in every trial, such as the weights.

    Returns:
        Settings for `RunConfig.change`; empty if nothing was tried.

    Raises:
        ValueError: if ``method`` or ``dataset`` is unknown.

    Source: the paper does not say how its baselines were set; used in Chapter 14.
    """
    LOSSES.find(method, "method")
    start = base(dataset, **checked_change(change))
    records = list(records)
    done = [(c, r) for c in _trials(method, start, records) if (r := find(c, records)) is not None]
    if not done:
        return {}
    best = max(done, key=lambda pair: pair[1].metrics["map"])[0]
    kept = {"lr": best.training.lr, "weight_decay": best.training.weight_decay}
    return {**kept, "options": dict(best.loss.options)}


def checked_change(change: Any) -> dict[str, Any]:
    """Settings to change by name, none for None, else ``ValueError``."""
    need = "a dictionary: setting → value"
    given = {} if change is None else instance("change", change, dict, need)
    for name in given:
        instance("change", name, str, need)
    return given


def _trials(method: str, start: RunConfig, records: list[Record]) -> list[RunConfig]:
    """A method's search as far as it is known: three learning rates, then its own setting at the best.

    Where the data set says so, a grid whose best value is its first or last goes on by the same ratio.
    """
    loss, wider = LOSSES[method], DATASETS[start.data.dataset].widens
    options = dict(loss.start)
    first = _system(method, start.change(method=method, held_out=VALIDATION, options=options), start)
    rates = {lr: first.change(lr=lr) for lr in (start.training.lr * factor for factor in RATES)}
    rates = _widened(rates, lambda lr: first.change(lr=lr), records, wider)
    best = _best(rates, records)
    if best is None or loss.search is None:
        return list(rates.values())
    name, values = loss.search
    of_the_run = name in dict(RunConfig.settings())

    def changed(value: float) -> RunConfig:
        return best.change(**{name: value} if of_the_run else {"options": {**options, name: value}})

    own = {value: changed(value) for value in values}
    usual = best.flat()[name] if of_the_run else getattr(_built(method, best), name, None)
    if wider and isinstance(usual, float):
        own = _widened({usual: best, **own}, changed, records, wider)
    return [*rates.values(), *(config for config in own.values() if config != best)]


def _widened(
    grid: dict[float, RunConfig], make: Callable[[float], RunConfig], records: list[Record], steps: int
) -> dict[float, RunConfig]:
    """A grid that goes on by the same ratio, so many steps at most, while its best value is at an end."""
    grid = dict(grid)
    for _ in range(steps):
        best = _best(grid, records)
        ordered = sorted(grid)
        if best is None or best not in (grid[ordered[0]], grid[ordered[-1]]) or ordered[0] <= 0:
            break
        end, inner = ordered[:2] if best == grid[ordered[0]] else ordered[:-3:-1]
        further = float(f"{end * end / inner:.6g}")
        grid[further] = make(further)
    return grid


def _best(grid: dict[float, RunConfig], records: list[Record]) -> RunConfig | None:
    """The run of a grid with the highest mAP; None while one has no record."""
    found = {value: find(config, records) for value, config in grid.items()}
    known = {value: r.metrics["map"] for value, r in found.items() if r is not None}
    return grid[max(known, key=known.__getitem__)] if len(known) == len(grid) else None


def _built(method: str, config: RunConfig) -> HashLoss:
    """A method's loss with a run's options, to ask it for its defaults."""
    source = DATASETS[config.data.dataset]
    bits = LOSSES[method].length(config.network.bits, len(source.classes))
    return build_loss(method, bits, None, len(source.classes), **config.loss.options)


def _further(method: str, start: RunConfig, records: list[Record]) -> RunConfig | None:
    """One rate beyond the search's last, if a whole search took that one. A check: `tuned` ignores it."""
    trials = _trials(method, start, records)
    if len(trials) == len(RATES) or DATASETS[start.data.dataset].widens:
        return None
    slow, usual, fast = sorted(trial.training.lr for trial in trials[: len(RATES)])
    taken = trials[-1].training.lr  # the trials of its own setting are made at the best rate
    further = {slow: slow * slow / usual, fast: fast * fast / usual}.get(taken)
    return None if further is None else trials[0].change(lr=further)


def _system(method: str, config: RunConfig, start: RunConfig) -> RunConfig:
    """A method in its own system: with the base run's attention or none, at a length that it can have."""
    loss = LOSSES[method]
    bits = config.network.bits if loss.any_length else start.network.bits
    return config.change(attention=start.network.attention if loss.has_attention else "none", bits=bits)


# ---- tables ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Request:
    """What `plan` was asked for, with names checked."""

    dataset: str
    bits: Sequence[int]
    seeds: Sequence[int]
    records: list[Record]
    rows: Sequence[str]
    init_std: Sequence[float] | None
    change: dict[str, Any] = field(default_factory=dict)

    @property
    def start(self) -> RunConfig:
        return base(self.dataset, **self.change)

    def settings(self, method: str) -> dict[str, Any]:
        """What the search found: one with the same change, or else one without."""
        source = DATASETS[self.dataset].settings_from or self.dataset
        same = self.change if source == self.dataset else None
        found = tuned(method, source, self.records, same) or tuned(method, source, self.records)
        return {"options": dict(LOSSES[method].start), **found, **self.change}

    def runs(self, method: str) -> list[RunConfig]:
        """One method's runs for every seed, length and start."""
        start, settings = self.start, self.settings(method)
        fixed = DATASETS[self.dataset].fixed_split
        made = []
        for seed in self.seeds:
            for k in self.bits:
                for std in self.init_std or (start.network.init_std,):
                    drawn = {"seed": seed, "split_seed": 0 if fixed else seed}
                    own = {"method": method, "bits": k, "init_std": std, **drawn}
                    run = start.change(**{**own, **settings})
                    made.append(_system(method, run, start))
        return made


def _search_jobs(asked: _Request) -> list[Job]:
    start = asked.start
    return [Job(LOSSES[m].label, c) for m in asked.rows for c in _trials(m, start, asked.records)]


def _edge_jobs(asked: _Request) -> list[Job]:
    found = [(m, _further(m, asked.start, asked.records)) for m in asked.rows]
    return [Job(LOSSES[m].label, c) for m, c in found if c is not None]


def _method_jobs(asked: _Request) -> list[Job]:
    each = [[Job(LOSSES[m].label, c) for c in asked.runs(m)] for m in asked.rows]
    return [job for jobs in zip(*each, strict=True) for job in jobs]


def _model_jobs(asked: _Request) -> list[Job]:
    return [Job(row, MODELS[row].of(c)) for c in asked.runs("dhida") for row in asked.rows]


class Table(NamedTuple):
    """A table, or a search, as `plan` knows it.

    Attributes:
        help: what it is, in a few words.
        rows: row's label → what the jobs need to know of it.
        jobs: from a request to its runs.
    """

    help: str
    rows: dict[str, str]
    jobs: Callable[[_Request], list[Job]]


def _by_label(methods: dict[str, str]) -> dict[str, str]:
    return {label: name for name, label in methods.items()}


_BOTH = _by_label({**METHODS, **BEYOND})
TABLES: dict[str, Table] = {
    "tune": Table("the search for every method's settings", _BOTH, _search_jobs),
    "edge": Table("one learning rate further, where the search took the last one", _BOTH, _edge_jobs),
    "table3": Table("methods (Chapter 14)", _by_label(METHODS), _method_jobs),
    "table4": Table("models (Chapter 15)", {row: row for row in MODELS}, _model_jobs),
    "beyond": Table("methods on other ground (Chapter 19)", _by_label(BEYOND), _method_jobs),
}
"""The tables by name."""


def _rows(table: Table, rows: Sequence[str] | None) -> list[str]:
    """The rows that were asked for; in a table of methods any registered loss can be one."""
    known = dict(table.rows)
    if table.jobs is not _model_jobs:
        known |= {k: name for name, cls in LOSSES.items() for k in (name, cls.label) if k not in known}
    if rows is None:
        return list(table.rows.values())
    asked = [known[choice("rows", row, known)] for row in rows]
    own = [method for method in table.rows.values() if method in asked]
    return own + [method for method in dict.fromkeys(asked) if method not in own]


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
        table: a name in `TABLES`: ``"tune"`` (the search, seed 0), ``"edge"`` (one rate further, where the
            search took the last one), ``"table3"`` (methods), ``"table4"`` (models) or ``"beyond"``.
        dataset: a name in `DATASETS`.
        bits: the code lengths.
        seeds: the seeds.
        records: what is recorded. The search's second half follows from its first, tables from the search.
        rows: only these rows, by label; in a table of methods any registered loss. None: the table's own.
        init_std: standard deviations of the hash layer's start; None means the data set's own.
        change: settings to change in every run, by flat name.

    Returns:
        The runs in the order in which they should be made: all rows of a seed before the next seed.

    Raises:
        ValueError: if a name or a number is wrong.

    Source: Tables 3 and 4; used in Chapters 14, 15 and 19.
    """
    found = TABLES[choice("table", table, TABLES)]
    DATASETS.find(dataset, "dataset")
    for k in sized("bits", bits, "a list of code lengths"):
        positive_int("bits", k)
    for seed in sized("seeds", seeds, "a list of seeds"):
        seed_int("seeds", seed)
    for std in () if init_std is None else sized("init_std", init_std, "a list of standard deviations"):
        positive("init_std", std)
    if rows is not None:
        sized("rows", rows, "a list of rows")
    change = checked_change(change)
    asked = _Request(dataset, bits, seeds, list(records), _rows(found, rows), init_std, change)
    jobs: list[Job] = []
    for job in found.jobs(asked):
        if job not in jobs:
            jobs.append(job)
    return jobs
