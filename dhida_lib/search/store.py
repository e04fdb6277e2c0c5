"""Codes past one machine: the same packed codes in a LanceDB table, with metadata. Built in Chapter 17.

A table lies in a folder or on object storage (``s3://…``, ``gs://…``). Every write is one new version: a
reader sees the old one or the new one, and a writer that is killed leaves the old one. Several processes may
write: the id is the table's key, so two that `add` the same id at once leave one row. After each write a tag
names the version. So a table whose newest files are lost is an error, and not silently an older table.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dhida_lib._validate import bad, instance, positive_int
from dhida_lib.search.index import _packed, as_ids

__all__ = ["CodeStore"]

ArrayLike = Tensor | NDArray[Any]
_TYPES = {int: "int64", float: "double", str: "string", bool: "bool"}
_OWN = ("id", "code")
_TAKEN = (*_OWN, "ids", "codes", "where", "self")  # arguments of `add` and `update`
_KEY = b"lance-schema:unenforced-primary-key"  # Lance then refuses a second writer's insert of the same id
_MARK = "dhida-newest"  # the tag on the newest version
_PATIENCE = timedelta(
    hours=1
)  # for a write that meets other writers; Lance's own 30 s are short for many rows
_NO_CLEANING = timedelta(days=36_500)


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
        ValueError: if a table of this name holds codes of another length or other columns or has lost its
            newest version, a name is wrong, or there is none and ``create`` is False.
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
        instance("uri", uri, (str, os.PathLike), "a folder or an address")
        need = "a table's name: letters, digits, _, - and ., at most 200 of them"
        if not re.fullmatch(r"[\w.-]{1,200}", instance("name", name, str, need), re.ASCII):
            raise bad("name", name, need)
        schema = self._schema({} if columns is None else columns)
        absent = bad("uri", str(uri), f"a place that holds the table {name!r}")
        if not create and "://" not in str(uri) and not os.path.isdir(uri):
            raise absent  # to connect would make the folder
        try:
            database = lancedb.connect(str(uri))
        except (ValueError, RuntimeError) as error:
            raise bad("uri", str(uri), f"a folder or an address of object storage ({error})") from error
        self._table: Any
        self._where = f"table {name!r} in {str(uri)!r}"
        try:
            self._table = database.open_table(name)
        except (ValueError, FileNotFoundError):  # there is none yet
            if not create:
                raise absent from None
            self._table = database.create_table(name, schema=schema, exist_ok=True)
        self._newest()
        found = self._table.schema
        if "code" not in found.names or found.field("code").type != schema.field("code").type:
            raise bad("bits", bits, f"the length of the codes of the {self._where}")
        self.columns = {c: str(found.field(c).type) for c in found.names if c not in _OWN}
        if columns is not None and set(self.columns.items()) != {(c, _TYPES[t]) for c, t in columns.items()}:
            raise bad("columns", sorted(columns), f"the table's own: {self.columns}")

    def _schema(self, columns: dict[str, type]) -> Any:
        import pyarrow as pa

        for column, kind in instance("columns", columns, dict, "a dictionary name → type").items():
            if not isinstance(column, str) or not re.fullmatch(r"[A-Za-z]\w*", column) or column in _TAKEN:
                need = (
                    "names of letters, digits and _, other than id and code, and than ids, codes, where, self"
                )
                raise bad("columns", column, need)
            if not isinstance(kind, type) or kind not in _TYPES:
                raise bad("columns", f"{column}: {kind}", "of the types int, float, str and bool")
        own = [(column, pa.type_for_alias(_TYPES[kind])) for column, kind in columns.items()]
        code = pa.list_(pa.uint8(), -(-self.bits // 8))
        key = pa.field("id", pa.int64(), nullable=False, metadata={_KEY: b"true"})
        return pa.schema([key, ("code", code), *own])

    def __len__(self) -> int:
        self._newest()  # what other writers have written since counts too
        return int(self._table.count_rows())

    def _newest(self) -> None:
        """Look at the newest version, and make sure that it is no older one than was written."""
        marked = self._marked()  # first: another writer may add a version and mark it now
        self._table.checkout_latest()
        if self._table.version < marked:
            raise ValueError(
                f"The {self._where} is damaged: version {marked} was written, but the newest one that is "
                f"there is {self._table.version}. Get its files back, or delete the table and make it again."
            )

    def _marked(self) -> int:
        """The version that the tag names, 0 without a tag."""
        return int(self._table.tags.list().get(_MARK, {"version": 0})["version"])

    def _write(self, change: Callable[[], object]) -> None:
        """Make a new version and mark it."""
        self._newest()
        change()
        while (marked := self._marked()) < (version := self._table.version):
            if marked:
                self._table.tags.update(_MARK, version)
            else:
                try:
                    self._table.tags.create(_MARK, version)
                except RuntimeError:
                    if not self._marked():  # else another process was faster
                        raise
            self._table.checkout_latest()  # look again: of two writers' marks the older one may come last

    def add(self, codes: ArrayLike, ids: ArrayLike, **columns: Sequence[Any]) -> None:
        """Write codes; a code whose id is there already is replaced. All of them, or none.

        Ids are looked up, also against what others write at the same time: each has one row, whoever writes.

        Args:
            codes: codes of ±1 (n×K).
            ids: their ids (n,), integers, each once.
            columns: a sequence of n values for each of the table's own columns.

        Raises:
            ValueError: if something does not fit; nothing is written then.
        """
        self._key()
        rows = self._rows(codes, ids, columns)
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        self._write(lambda: merge.execute(rows, timeout=_PATIENCE))

    def _key(self) -> None:
        """Make the id the key of a table that was made before tables had one."""
        while not self._has_key():
            try:
                self._table.alter_columns({"path": "id", "nullable": False})
                self._table.set_unenforced_primary_key(["id"])
            except RuntimeError as error:  # another process does the same?
                self._table.checkout_latest()
                if not self._has_key() and "conflict" not in str(error):
                    raise

    def _has_key(self) -> bool:
        return any(name.startswith(_KEY) for name in self._table.schema.field("id").metadata or {})

    def append(self, codes: ArrayLike, ids: ArrayLike, **columns: Sequence[Any]) -> None:
        """Write codes whose ids are new: as `add`, but nothing is looked up.

        This is for many processes that write different ids at the same time: appends never conflict.

        Args:
            codes: codes of ±1 (n×K).
            ids: their ids (n,), integers, each once, and none of them in the table.
            columns: a sequence of n values for each of the table's own columns.

        Raises:
            ValueError: if something does not fit; nothing is written then.
        """
        rows = self._rows(codes, ids, columns)
        self._write(lambda: self._table.add(rows))

    def missing(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Which ids are not in the table: what is left to do after a writer was killed.

        Args:
            ids: ids (n,).

        Returns:
            Those that are not there, in their order.

        Raises:
            ValueError: if ``ids`` are not integers.
        """
        wanted = as_ids(ids)
        if not len(wanted):
            return wanted
        return wanted[~np.isin(wanted, self._present(f"id >= {wanted.min()} AND id <= {wanted.max()}"))]

    def _present(self, where: str | None = None) -> NDArray[np.int64]:
        """The ids of the rows that fit, as often as they stand there."""
        asked = self._table.search() if where is None else self._table.search().where(where)
        found: NDArray[np.int64] = asked.select(["id"]).limit(len(self)).to_arrow()["id"].to_numpy()
        return found

    def keep_only(self, ids: ArrayLike) -> int:
        """Remove the rows whose ids are not among these, and those whose id stands in the table twice.

        Args:
            ids: ids (n,).

        Returns:
            How many rows were removed.

        Raises:
            ValueError: if ``ids`` are not integers.
        """
        there = self._present()
        number, times = np.unique(there, return_counts=True)
        gone = number[~np.isin(number, as_ids(ids)) | (times > 1)]
        if len(gone):
            parts = np.array_split(gone, -(-len(gone) // 1000))  # short conditions
            conditions = [f"id IN ({', '.join(map(str, part.tolist()))})" for part in parts]
            self._write(lambda: [self._table.delete(condition) for condition in conditions])
        return int(np.isin(there, gone).sum())

    def update(self, where: str, **values: Any) -> None:
        """Change columns of the rows that fit.

        Args:
            where: a condition in SQL, such as ``"label = 3"``.
            values: new values for the table's own columns.

        Raises:
            ValueError: if the condition or a value does not fit.
        """
        self._known(values)
        instance("where", where, str, "a condition in SQL")
        self._write(lambda: self._ask(lambda: self._table.update(where=where, values=values)))

    def delete(self, where: str) -> None:
        """Remove the rows that fit.

        Args:
            where: a condition in SQL, such as ``"id = 7"``.

        Raises:
            ValueError: if the condition does not fit.
        """
        instance("where", where, str, "a condition in SQL")
        self._write(lambda: self._ask(lambda: self._table.delete(where)))

    def compact(self) -> None:
        """Join the many small files that many writes leave into few large ones; the rows stay as they are.

        While others write, it may leave the joining to them.
        """
        try:
            self._write(lambda: self._table.optimize(cleanup_older_than=_NO_CLEANING))
            self._table.optimize()  # forgets old versions; a step of its own, since the marked one must stay
        except RuntimeError as error:
            if "conflict" not in str(error):
                raise

    def build(self, lists: int) -> None:
        """Build a cluster index (IVF), which makes `search` fast and approximate; before, it is a scan.

        Rows that are written later are scanned until it is built again.

        Args:
            lists: number of clusters, at most the number of rows.

        Raises:
            ValueError: if ``lists`` is wrong.
        """
        from lancedb.index import IvfFlat

        if positive_int("lists", lists) > len(self):
            raise bad("lists", lists, f"at most the number of rows, {len(self)}")
        config = IvfFlat(distance_type="hamming", num_partitions=lists)
        self._write(lambda: self._table.create_index("code", config=config))

    def search(
        self, codes: ArrayLike, k: int, where: str | None = None, probes: int = 20
    ) -> list[list[dict[str, Any]]]:
        """The k nearest rows of each query.

        Args:
            codes: queries of ±1 (nq×K).
            k: how many; more than there are means all.
            where: only among the rows that fit this condition in SQL.
            probes: clusters that are looked into, if `build` made some.

        Returns:
            For each query its rows, nearest first, equal distances by id: ``id``, ``distance`` and the
            table's own columns. Which rows of the last distance come back is LanceDB's choice.

        Raises:
            ValueError: if codes, numbers or the condition are wrong.
        """
        positive_int("k", k)
        positive_int("probes", probes)
        if where is not None:
            instance("where", where, str, "a condition in SQL")
        queries = _packed("codes", codes, self.bits)
        k = min(k, max(len(self), 1))  # LanceDB refuses 0
        return [self._nearest(row, k, where, probes) for row in queries]

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

        packed, number = _packed("codes", codes, self.bits), as_ids(ids)
        if len(number) != len(packed):
            raise bad("ids", f"{len(number)} of them", f"one for each of the {len(packed)} codes")
        if len(np.unique(number)) < len(number):
            raise bad("ids", "ids that repeat", "each id once")
        self._known(columns)
        if lacking := sorted(set(self.columns) - set(columns)):
            raise bad("columns", "nothing", f"given for the table's column {lacking[0]!r}")
        for name, values in columns.items():
            need = f"one for each of the {len(packed)} codes"
            try:
                size = len(values)
            except TypeError as error:
                raise bad(name, values, need) from error
            if size != len(packed):
                raise bad(name, f"{size} values", need)
        code = pa.FixedSizeListArray.from_arrays(pa.array(packed.reshape(-1)), packed.shape[1])
        try:
            own = {c: pa.array(list(columns[c]), pa.type_for_alias(t)) for c, t in self.columns.items()}
        except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
            raise ValueError(f"A column does not fit the table {self.columns}: {error}") from error
        rows = {"id": pa.array(number), "code": code, **own}
        return pa.table(rows, schema=pa.schema([self._table.schema.field(c) for c in rows]))

    def _known(self, columns: dict[str, Any]) -> None:
        if unknown := sorted(set(columns) - set(self.columns)):
            raise bad("columns", unknown[0], f"one of the table's own: {', '.join(self.columns) or 'none'}")

    @staticmethod
    def _ask(call: Any) -> Any:
        """Ask LanceDB; what it cannot understand becomes one line."""
        try:
            return call()
        except Exception as error:  # its parser may even panic
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise ValueError(f"`where` or a value is not understood: {reason}") from error
