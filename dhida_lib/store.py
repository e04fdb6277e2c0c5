"""Codes past one machine: the same packed codes in a LanceDB table, with metadata. Built in Chapter 17.

A table lies in a folder or on object storage (``s3://…``, ``gs://…``). Every write is one new version: a
reader sees the old one or the new one, and a writer that is killed leaves the old one. Several processes may
write.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dhida_lib._validate import bad, positive_int
from dhida_lib.search import pack

__all__ = ["CodeStore"]

ArrayLike = Tensor | NDArray[Any]
_TYPES = {int: "int64", float: "float64", str: "string", bool: "bool"}
_OWN = ("id", "code")


class CodeStore:
    """A table of codes with ids and columns of your own.

    Args:
        uri: a folder, or an address of object storage; made if it is not there.
        name: the table's name; made if it is not there.
        bits: K, the length of the codes.
        columns: name → int, float, str or bool, for a new table; an old one has its own.
        create: make what is not there; with False a table that is not there is an error, and nothing is made.

    Attributes:
        bits: K.
        columns: the table's own columns.

    Raises:
        ImportError: if LanceDB is not installed.
        ValueError: if a table of this name holds codes of another length or other columns, a name is wrong,
            or there is none and ``create`` is False.

    Source: ours; built in Chapter 17.
    """

    def __init__(
        self,
        uri: str | os.PathLike[str],
        name: str = "codes",
        bits: int = 64,
        columns: dict[str, type] | None = None,
        create: bool = True,
    ) -> None:
        try:
            import lancedb
        except ImportError as error:
            raise ImportError("A table of codes needs LanceDB: pip install lancedb") from error
        self.bits = positive_int("bits", bits)
        schema = self._schema(columns or {})
        absent = bad("uri", str(uri), f"a place that holds the table {name!r}")
        if not create and "://" not in str(uri) and not os.path.isdir(uri):
            raise absent  # to connect would make the folder
        database = lancedb.connect(str(uri))
        self._table: Any
        try:
            self._table = database.open_table(name)
        except (ValueError, FileNotFoundError):  # there is none yet
            if not create:
                raise absent from None
            self._table = database.create_table(name, schema=schema, exist_ok=True)
        found = self._table.schema
        if "code" not in found.names or found.field("code").type != schema.field("code").type:
            raise bad("bits", bits, f"the length of the codes in table {name!r} of {str(uri)!r}")
        self.columns = {c: str(found.field(c).type) for c in found.names if c not in _OWN}
        if columns is not None and set(self.columns.items()) != {(c, _TYPES[t]) for c, t in columns.items()}:
            raise bad("columns", sorted(columns), f"the table's own: {self.columns}")

    def _schema(self, columns: dict[str, type]) -> Any:
        import pyarrow as pa

        for column, kind in columns.items():
            if not re.fullmatch(r"[A-Za-z]\w*", column) or column in _OWN:
                raise bad("columns", column, "names of letters, digits and _, other than id and code")
            if kind not in _TYPES:
                raise bad("columns", f"{column}: {kind}", "of the types int, float, str and bool")
        own = [(column, pa.type_for_alias(_TYPES[kind])) for column, kind in columns.items()]
        code = pa.list_(pa.uint8(), -(-self.bits // 8))
        return pa.schema([("id", pa.int64()), ("code", code), *own])

    def __len__(self) -> int:
        self._table.checkout_latest()  # what other writers have written since counts too
        return int(self._table.count_rows())

    def add(self, codes: ArrayLike, ids: ArrayLike, **columns: Sequence[Any]) -> None:
        """Write codes; a code whose id is there already is replaced. All of them, or none.

        Args:
            codes: codes of ±1 (n×K).
            ids: their ids (n,), integers, each once.
            columns: a sequence of n values for each of the table's own columns.

        Raises:
            ValueError: if something does not fit; nothing is written then.

        Source: ours; built in Chapter 17.
        """
        self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(
            self._rows(codes, ids, columns)
        )

    def append(self, codes: ArrayLike, ids: ArrayLike, **columns: Sequence[Any]) -> None:
        """Write codes whose ids are new: as `add`, but nothing is looked up.

        This is for many processes that write different ids at the same time: appends never conflict.

        Args:
            codes: codes of ±1 (n×K).
            ids: their ids (n,), integers, each once, and none of them in the table.
            columns: a sequence of n values for each of the table's own columns.

        Raises:
            ValueError: if something does not fit; nothing is written then.

        Source: ours; built in Chapter 17.
        """
        self._table.add(self._rows(codes, ids, columns))

    def missing(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Which ids are not in the table: what is left to do after a writer was killed.

        Args:
            ids: ids (n,).

        Returns:
            Those that are not there, in their order.

        Raises:
            ValueError: if ``ids`` are not integers.

        Source: ours; built in Chapter 17.
        """
        wanted = self._ids(ids)
        if not len(wanted):
            return wanted
        between = f"id >= {wanted.min()} AND id <= {wanted.max()}"
        there = (
            self._table.search().where(between).select(["id"]).limit(len(self)).to_arrow()["id"].to_numpy()
        )
        return wanted[~np.isin(wanted, there)]

    def keep_only(self, ids: ArrayLike) -> int:
        """Remove the rows whose ids are not among these.

        Args:
            ids: ids (n,).

        Returns:
            How many rows were removed.

        Raises:
            ValueError: if ``ids`` are not integers.

        Source: ours; built in Chapter 17.
        """
        wanted = self._ids(ids)
        self._table.checkout_latest()
        there = self._table.search().select(["id"]).limit(len(self)).to_arrow()["id"].to_numpy()
        gone = there[~np.isin(there, wanted)]
        for part in np.array_split(gone, -(-len(gone) // 1000)) if len(gone) else ():  # short conditions
            self._table.delete(f"id IN ({', '.join(map(str, part.tolist()))})")
        return len(gone)

    def update(self, where: str, **values: Any) -> None:
        """Change columns of the rows that fit.

        Args:
            where: a condition in SQL, such as ``"label = 3"``.
            values: new values for the table's own columns.

        Raises:
            ValueError: if the condition or a value does not fit.

        Source: ours; built in Chapter 17.
        """
        self._known(values)
        self._ask(lambda: self._table.update(where=where, values=values))

    def delete(self, where: str) -> None:
        """Remove the rows that fit.

        Args:
            where: a condition in SQL, such as ``"id = 7"``.

        Raises:
            ValueError: if the condition does not fit.

        Source: ours; built in Chapter 17.
        """
        self._ask(lambda: self._table.delete(where))

    def compact(self) -> None:
        """Join the many small files that many writes leave into few large ones; the rows stay as they are.

        Source: ours; built in Chapter 17.
        """
        self._table.checkout_latest()
        self._table.optimize()

    def build(self, lists: int) -> None:
        """Build a cluster index (IVF), which makes `search` fast and approximate; before, it is a scan.

        Rows that are written later are scanned until it is built again.

        Args:
            lists: number of clusters, at most the number of rows.

        Raises:
            ValueError: if ``lists`` is wrong.

        Source: ours; built in Chapter 17.
        """
        from lancedb.index import IvfFlat

        if positive_int("lists", lists) > len(self):
            raise bad("lists", lists, f"at most the number of rows, {len(self)}")
        self._table.create_index("code", config=IvfFlat(distance_type="hamming", num_partitions=lists))

    def search(
        self, codes: ArrayLike, k: int, where: str | None = None, probes: int = 20
    ) -> list[list[dict[str, Any]]]:
        """The k nearest rows of each query.

        Args:
            codes: queries of ±1 (nq×K).
            k: how many.
            where: only among the rows that fit this condition in SQL.
            probes: clusters that are looked into, if `build` made some.

        Returns:
            For each query its rows, nearest first, equal distances by id: ``id``, ``distance`` and the
            table's own columns. Which rows of the last distance come back is LanceDB's choice.

        Raises:
            ValueError: if codes, numbers or the condition are wrong.

        Source: ours; built in Chapter 17.
        """
        positive_int("k", k)
        positive_int("probes", probes)
        self._table.checkout_latest()
        return [self._nearest(row, k, where, probes) for row in self._pack(codes)]

    def _nearest(
        self, query: NDArray[np.uint8], k: int, where: str | None, probes: int
    ) -> list[dict[str, Any]]:
        asked = self._table.search(query, vector_column_name="code").distance_type("hamming")
        asked = asked.nprobes(probes).limit(k).select(["id", *self.columns, "_distance"])
        asked = asked if where is None else asked.where(where, prefilter=True)
        rows = self._ask(asked.to_list)
        found = [
            {"id": r["id"], "distance": int(r["_distance"]), **{c: r[c] for c in self.columns}} for r in rows
        ]
        return sorted(found, key=lambda r: (r["distance"], r["id"]))

    def _rows(self, codes: ArrayLike, ids: ArrayLike, columns: dict[str, Sequence[Any]]) -> Any:
        import pyarrow as pa

        packed, number = self._pack(codes), self._ids(ids)
        if len(number) != len(packed):
            raise bad("ids", f"{len(number)} of them", f"one for each of the {len(packed)} codes")
        if len(np.unique(number)) < len(number):
            raise bad("ids", "ids that repeat", "each id once")
        self._known(columns)
        if lacking := sorted(set(self.columns) - set(columns)):
            raise bad("columns", "nothing", f"given for the table's column {lacking[0]!r}")
        for name, values in columns.items():
            if len(values) != len(packed):
                raise bad(name, f"{len(values)} values", f"one for each of the {len(packed)} codes")
        code = pa.FixedSizeListArray.from_arrays(pa.array(packed.reshape(-1)), packed.shape[1])
        try:
            own = {c: pa.array(list(columns[c]), pa.type_for_alias(t)) for c, t in self.columns.items()}
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise ValueError(f"A column does not fit the table {self.columns}: {error}") from error
        return pa.table({"id": pa.array(number), "code": code, **own})

    def _known(self, columns: dict[str, Any]) -> None:
        if unknown := sorted(set(columns) - set(self.columns)):
            raise bad("columns", unknown[0], f"one of the table's own: {', '.join(self.columns) or 'none'}")

    def _pack(self, codes: ArrayLike) -> NDArray[np.uint8]:
        packed_bits = torch.as_tensor(codes).shape[-1] if hasattr(codes, "shape") else None
        if packed_bits != self.bits:
            raise bad("codes", f"shape {getattr(codes, 'shape', None)}", f"codes n×{self.bits}")
        return pack(codes)

    @staticmethod
    def _ids(ids: ArrayLike) -> NDArray[np.int64]:
        array = np.asarray(ids)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise bad("ids", f"shape {array.shape} of {array.dtype}", "integers (n,)")
        return array.astype(np.int64)

    @staticmethod
    def _ask(call: Any) -> Any:
        """Ask LanceDB; what it cannot understand becomes one line."""
        try:
            return call()
        except (ValueError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0][:200]
            raise ValueError(f"`where` or a value is not understood: {reason}") from error
