"""Protocols: which images are queries, which train the network, which are searched (§4.1, Chapter 2).

The paper draws 100 queries and 500 training images per class from CIFAR-10 and calls "the rest" the database.
Whether the training images belong to that rest changes the mAP by about a point, so each reading has a name,
which stands with its data set in `dhida_lib.data.sources`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dhida_lib._validate import bad, instance, positive_int, sized, whole
from dhida_lib.labels import as_labels

__all__ = [
    "Protocol",
    "class_ids",
    "rank_in_class",
    "seeded_bits",
    "seeded_order",
    "split_rows",
]

_AGAIN = 100  # the stream that shuffles a database with training images
_UNSEEN = 101  # the stream that draws the classes that training does not see


@dataclass(frozen=True)
class Protocol:
    """One way to split a data set, with everything that a reader of a number must know.

    Args:
        name: the name that records and tables show.
        query_per_class: queries drawn from each class (images; fashion-multi puts several on one canvas).
        train_per_class: training images drawn from each class; None: all but the queries.
        database_includes_train: does the database hold the training images too?
        map_k: depth of the mAP; None is mAP@ALL.
        text: how this protocol stands to the paper, one sentence.
        official_split: keep the data set's own test part as queries and its training part as training images,
            instead of drawing them from the union.
        unseen: how many classes, drawn by the seed, never occur in training; only they ask and are searched.
            With 0 all classes are everywhere.

    Raises:
        ValueError: if a count is not a positive integer, or ``unseen`` does not go with the rest.

    Source: §4.1; built in Chapter 2.
    """

    name: str
    query_per_class: int
    train_per_class: int | None
    database_includes_train: bool
    map_k: int | None
    text: str
    official_split: bool = False
    unseen: int = 0

    def __post_init__(self) -> None:
        positive_int("query_per_class", self.query_per_class)
        if self.train_per_class is not None:
            positive_int("train_per_class", self.train_per_class)
        elif not self.database_includes_train:
            raise bad(
                "train_per_class", None, "a number where the database does not hold the training images"
            )
        if self.map_k is not None:
            positive_int("map_k", self.map_k)
        if isinstance(self.unseen, bool) or not isinstance(self.unseen, int) or self.unseen < 0:
            raise bad("unseen", self.unseen, "an integer ≥ 0")
        if self.unseen and (self.official_split or self.database_includes_train):
            raise bad("unseen", self.unseen, "0 with an official split or training images in the database")

    def __str__(self) -> str:
        return self.name


def seeded_bits(shape: int | tuple[int, ...], seed: int, stream: int = 0) -> NDArray[np.uint64]:
    """Draw 64-bit random integers that depend on the seed alone.

    NumPy promises that a bit generator's raw stream never changes, but not that `permutation` or `choice`
    keep giving the same. Everything that decides a split is made from this stream, so a seed written in a
    record stays true with later versions.

    Args:
        shape: shape of the result.
        seed: an integer ≥ 0.
        stream: number of the stream; streams of one seed are independent.

    Returns:
        Integers, uniform over 0 … 2⁶⁴ − 1.

    Raises:
        ValueError: if a number is not an integer ≥ 0.
    """
    sides = (shape,) if isinstance(shape, int) else sized("shape", shape, "an integer or a tuple of integers")
    for side in sides:
        whole("shape", side)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise bad("seed", seed, "an integer ≥ 0")
    bits = np.random.PCG64(np.random.SeedSequence((int(seed), whole("stream", stream))))
    raw = bits.random_raw(int(np.prod(shape)))
    return np.asarray(raw, dtype=np.uint64).reshape(shape)


def seeded_order(n: int, seed: int, stream: int = 0) -> NDArray[np.int64]:
    """Shuffle 0 … n−1 in a way that depends on the seed alone (see `seeded_bits`).

    Args:
        n: how many.
        seed: an integer ≥ 0.
        stream: number of the stream, as in `seeded_bits`.

    Returns:
        A permutation (n,).

    Raises:
        ValueError: if the seed is not an integer ≥ 0.
    """
    return np.argsort(seeded_bits(whole("n", n), seed, stream), kind="stable").astype(np.int64)


def class_ids(labels: Any) -> NDArray[np.int64]:
    """Check that labels are class ids.

    Args:
        labels: class ids (n,), integers ≥ 0.

    Returns:
        The same as int64 (n,).

    Raises:
        ValueError: if they are something else.
    """
    ids = as_labels(labels).cpu()
    if ids.ndim != 1:
        raise bad("labels", f"shape {tuple(ids.shape)}", "class ids (n,)")
    if len(ids) and ids.min() < 0:
        raise bad("labels", int(ids.min()), "class ids ≥ 0")
    return ids.numpy()


def rank_in_class(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count, for each item, how many items before it have the same label.

    Args:
        labels: class ids (n,).

    Returns:
        Ranks (n,): 0 for the first item of a class, 1 for the second, …
    """
    labels = class_ids(labels)
    by_class = np.argsort(labels, kind="stable")
    grouped = labels[by_class]
    first = np.searchsorted(grouped, grouped)  # where the item's class begins
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - first
    return rank


def split_rows(
    labels: NDArray[np.integer],
    protocol: Protocol,
    seed: int = 0,
    class_names: tuple[str, ...] | None = None,
    test_rows: NDArray[np.bool_] | None = None,
) -> dict[str, NDArray[np.int64]]:
    """Deal the rows of a data set into query, training set and database.

    All rows are shuffled once; of each class the first become queries, the next training images, and the rest
    the database. With ``protocol.unseen``, some classes give only queries and database, the others only
    training images. No part is sorted: neither classes nor training images stand together in the database,
    so a ranking that breaks ties by position gains nothing from it.

    Args:
        labels: class ids (n,) of the whole set.
        protocol: how many of what.
        seed: the split's seed, an integer ≥ 0.
        class_names: names for the error message.
        test_rows: True where a row belongs to the official test part (n,); only for ``official_split``.

    Returns:
        Rows by part: ``"query"``, ``"train"``, ``"database"``. Queries are in no other part.

    Raises:
        ValueError: if a class has too few images, nothing is left for the database, or the seed is wrong.

    Source: §4.1; built in Chapter 2.
    """
    labels = class_ids(labels)
    instance("protocol", protocol, Protocol, "a Protocol")
    order = seeded_order(len(labels), seed)
    most = int(labels.max(initial=0))
    for name in () if class_names is None else sized("class_names", class_names, "the names of the classes"):
        instance("class_names", name, str, "the names of the classes")
    classes = len(class_names) if class_names else most + 1
    if most >= (classes if class_names else max(len(labels), 1)):
        raise bad("labels", f"{len(labels)} of them, up to {most}", "class ids, counted from 0")
    if test_rows is not None:
        instance("test_rows", test_rows, np.ndarray, "an array of True and False")
        if test_rows.dtype != bool or test_rows.shape != labels.shape:
            got = f"shape {test_rows.shape} of {test_rows.dtype}"
            raise bad("test_rows", got, f"True or False for each of the {len(labels)} images")
    query, train = protocol.query_per_class, protocol.train_per_class
    if train is None:
        train = len(labels)
    need = protocol.train_per_class or 1
    if protocol.unseen:
        return _split_classes(labels, protocol, seed, classes, class_names, order)
    if protocol.official_split:
        if test_rows is None:
            raise bad("protocol", protocol.name, "one that draws its queries: this set has no official split")
        _enough(labels[test_rows], query, classes, class_names, protocol, "official test images")
        _enough(labels[~test_rows], need, classes, class_names, protocol, "official training images")
        tests, others = order[test_rows[order]], order[~test_rows[order]]
        queries = tests[rank_in_class(labels[tests]) < query]
    else:
        _enough(labels, query + need, classes, class_names, protocol, "images")
        asks = rank_in_class(labels[order]) < query
        queries, others = order[asks], order[~asks]
    trains = rank_in_class(labels[others]) < train
    database = others[~trains]
    if protocol.database_includes_train:  # shuffled again, or the training images would come first
        database = others[seeded_order(len(others), seed, stream=_AGAIN)]
    if not len(database):
        raise bad("protocol", protocol.name, "one that leaves images for the database")
    return {"query": queries, "train": others[trains], "database": database}


def _split_classes(
    labels: NDArray[np.integer],
    protocol: Protocol,
    seed: int,
    classes: int,
    names: tuple[str, ...] | None,
    order: NDArray[np.int64],
) -> dict[str, NDArray[np.int64]]:
    """Deal whole classes: some ask and are searched, the others train."""
    query, train = protocol.query_per_class, protocol.train_per_class
    if protocol.unseen > classes - 2 or train is None:
        raise bad("protocol", protocol.name, f"one that leaves two of the {classes} classes to train on")
    _enough(
        labels,
        max(query + 1, train),
        classes,
        names,
        protocol,
        "images",
    )
    new = np.isin(labels[order], seeded_order(classes, seed, stream=_UNSEEN)[: protocol.unseen])
    tests, others = order[new], order[~new]
    asks = rank_in_class(labels[tests]) < query
    trains = others[rank_in_class(labels[others]) < train]
    return {"query": tests[asks], "train": trains, "database": tests[~asks]}


def _enough(
    labels: NDArray[np.integer],
    need: int,
    classes: int,
    names: tuple[str, ...] | None,
    protocol: Protocol,
    what: str,
) -> None:
    counts = np.bincount(labels, minlength=classes)
    poorest = int(counts.argmin())
    if counts[poorest] < need:
        name = names[poorest] if names else str(poorest)
        raise ValueError(
            f"Protocol {protocol.name!r} needs {need:,} {what} of each class, but class {name!r} has only "
            f"{counts[poorest]:,}. Is the data set complete?"
        )
