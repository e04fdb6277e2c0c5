"""Reading records: a table's rows, and differences seed by seed (Chapters 14 and 15)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from dhida_lib._validate import bad, instance
from dhida_lib.experiments.plan import Job, find
from dhida_lib.records import Record

__all__ = ["Difference", "paired", "scores"]


class Difference(NamedTuple):
    """A paired comparison.

    Attributes:
        mean: mean difference over the seeds.
        error: its standard error, sd/√n; NaN for one seed.
        values: seed → difference.
    """

    mean: float
    error: float
    values: dict[int, float]


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
            row[job.config.training.seed] = record
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
        ValueError: if they share no seed, or a record has no such measure.
    """
    instance("measure", measure, str, "the name of a number of the records' metrics")
    for name, row in (("a", a), ("b", b)):
        for record in instance(name, row, dict, "a dictionary: seed → record").values():
            metrics = instance(name, record, Record, "a dictionary: seed → record").metrics
            if not isinstance(metrics.get(measure), (int, float)):
                numbers = [key for key, value in metrics.items() if isinstance(value, (int, float))]
                raise bad("measure", measure, f"a number of the records' metrics: {', '.join(numbers)}")
    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise bad("b", f"seeds {sorted(b)}", f"at least one of the seeds of `a`, {sorted(a)}")
    values = {seed: a[seed].metrics[measure] - b[seed].metrics[measure] for seed in shared}
    n = len(values)
    error = statistics.stdev(values.values()) / math.sqrt(n) if n > 1 else math.nan
    return Difference(statistics.fmean(values.values()), error, values)
