"""Which rows a search may find: by item ids, and by the values of columns."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UsageError
from index_builder.searching.items import Items
from index_builder.searching.row_set import RowFilter, RowSet

# What a column's value selects is found by reading the column once, and then kept: a bit a row, or less.
_KEPT_BYTES = 256 << 20


class Filters:
    """Turns filters into rows. Safe to use from many threads at once."""

    def __init__(self, items: Items, kept_bytes: int = _KEPT_BYTES) -> None:
        self._items = items
        self._most = kept_bytes
        self._kept: OrderedDict[Any, RowSet] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def rows(
        self,
        allow: Collection[str] | None = None,
        block: Collection[str] | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> RowFilter | None:
        """The rows that may be found; None where there is no filter.

        Args:
            allow: item ids, of which alone results are chosen. Ids that the version does not have are passed over, so
                that a list may be older or newer than the version.
            block: item ids that are no results. Unknown ones are passed over.
            where: for a column, a value or a collection of values, of which a result has one, in each of the columns;
                None stands for no value. Values are compared in the column's type: "3" is 3 in a column of numbers.

        Raises:
            UsageError: there is no such column, a value is none of its type, or the version has none of the allowed
                items though some are named.
        """
        if allow is None and not block and not where:
            return None
        total = len(self._items)
        allowed = self._where(where) if where else None
        if allow is not None:
            named = RowSet.of_rows(self._known(allow, "allowed"), total)
            allowed = named if allowed is None else allowed.intersection(named)
        return RowFilter(total, allowed, np.unique(self._known(block, None)) if block else np.empty(0, np.int64))

    def _known(self, item_ids: Collection[str], must: str | None) -> np.ndarray:
        if isinstance(item_ids, str):
            raise UsageError(f"item ids are given as a list; {item_ids!r} is one text")
        found = self._items.rows_of(list(item_ids))
        known = found[found >= 0]
        if must and len(found) and not len(known):
            raise UsageError(f"there is none of the {len(found):,} {must} items; the first is {next(iter(item_ids))!r}")
        return known

    def _where(self, where: Mapping[str, Any]) -> RowSet:
        wanted = {column: self._scalars(column, value) for column, value in where.items()}
        everything = tuple(sorted((column, tuple(sorted(map(repr, values)))) for column, values in wanted.items()))
        chosen = self._get(everything)
        if chosen is None:
            chosen = functools.reduce(RowSet.intersection, [self._either(*each) for each in wanted.items()])
            if sum(map(len, wanted.values())) > 1:
                self._keep(everything, chosen)
        return chosen

    def _scalars(self, column: str, value: Any) -> list[pa.Scalar]:
        """The values asked for, in the column's type, each once."""
        columns = self._items.columns
        if column not in columns:
            raise UsageError(f"there is no column {column!r} to choose by; the columns are: {', '.join(columns)}")
        kind = columns[column]
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_nested(kind):
            raise UsageError(f"column {column!r} holds {kind}, which cannot be chosen by")
        values = value if isinstance(value, (list, tuple, set, frozenset, np.ndarray)) else [value]
        scalars = []
        for each in values:
            try:
                scalars.append(pa.scalar(each).cast(kind))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
                raise UsageError(f"column {column!r} holds {kind}; {each!r} is none") from None
        return list({repr(scalar): scalar for scalar in scalars}.values())

    def _either(self, column: str, values: list[pa.Scalar]) -> RowSet:
        """The rows with one of the values."""
        kept = [(value, self._get((column, repr(value)))) for value in values]
        missing = [value for value, rows in kept if rows is None]
        found = [rows for _, rows in kept if rows is not None]
        for value, rows in zip(missing, self._read(column, missing), strict=True):
            found.append(rows)
            self._keep((column, repr(value)), rows)
        return functools.reduce(RowSet.union, found, RowSet.of_rows(np.empty(0, np.int64), len(self._items)))

    def _read(self, column: str, values: list[pa.Scalar]) -> Iterable[RowSet]:
        """The rows of each value, in one pass over the column."""
        if not values:
            return []
        total = len(self._items)
        bits = [np.zeros((total + 7) // 8, np.uint8) for _ in values]
        for first, block in self._items.blocks(column):
            if pa.types.is_dictionary(block.type):
                block = block.dictionary_decode()
            for value, chosen in zip(values, bits, strict=True):
                same = pc.equal(block, value).fill_null(False) if value.is_valid else block.is_null()
                mask = np.concatenate([np.zeros(first % 8, bool), same.to_numpy(zero_copy_only=False)])
                packed = np.packbits(mask, bitorder="little")
                chosen[first // 8 : first // 8 + len(packed)] |= packed
        return [RowSet.of_bits(each, total) for each in bits]

    def _get(self, key: Any) -> RowSet | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: Any, rows: RowSet) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = rows
            self._bytes += rows.nbytes
            while self._bytes > self._most and self._kept:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
