"""A partition in slices of ids: its catalog rows beside what an earlier run left there, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from catalog.id_slices import IdStream, slices
from catalog.partition_rows import PartitionRows, clean
from catalog.rejects import SCHEMA, Reject, read_lasting
from catalog.row_files import read_rows
from catalog.stored_rows import StoredItem, StoredRows, stored_items

# A quarter more than the most rows that an average partition has by default: nearly always, a partition is one slice.
_SLICE_ROWS = 40_960
_FOLDED_ROWS = 4_096
_SLICE_BYTES = 64 << 20


@dataclass(frozen=True)
class PartitionSources:
    """Where a partition is read from.

    Attributes:
        folder: of its row files.
        names: of the row files.
        key: with which they were stored.
        schema: of its rows, see `catalog.rows.row_schema`.
        stored: its embedding files.
        rejects: URL of its rejects in the snapshot before; None where there were none.
        scratch: a folder for copies.
    """

    folder: str
    names: tuple[str, ...]
    key: bytes
    schema: pa.Schema
    stored: StoredRows
    rejects: str | None
    scratch: Path

    def slices(self, reject: Callable[[Reject], None], count: Callable[[int], None]) -> Iterator[PartitionRows]:
        """All of the partition, a range of ids after the other.

        Args:
            reject: told each row that cannot be tried.
            count: told how many rows there are, some at a time.
        """
        streams = [self._rows(reject, count), *self._stored()]
        if self.rejects is not None:
            streams.append(IdStream(read_lasting(self.rejects), SCHEMA))
        for rows, *others in slices(streams, _SLICE_ROWS, _SLICE_BYTES):
            lasting = others.pop() if self.rejects is not None else SCHEMA.empty_table()
            rejected = {row["item_id"]: Reject(**row) for row in lasting.to_pylist()}
            yield PartitionRows(rows, _items(others), rejected)

    def with_fresh(self, fresh: Iterable[pa.Table], schema: pa.Schema) -> Iterator[tuple[PartitionRows, pa.Table]]:
        """The same rows and stored items once more, and sorted `fresh` rows of `schema` beside them."""
        streams = [self._rows(lambda reject: None, lambda rows: None), *self._stored(), IdStream(fresh, schema)]
        for rows, *others in slices(streams, _FOLDED_ROWS, _SLICE_BYTES):
            new = others.pop()
            yield PartitionRows(rows, _items(others)), new

    def _rows(self, reject: Callable[[Reject], None], count: Callable[[int], None]) -> IdStream:
        def counted() -> Iterator[pa.Table]:
            for table in read_rows(self.folder, self.names, self.scratch, self.key):
                count(len(table))
                yield table

        return IdStream(clean(counted(), reject), self.schema)

    def _stored(self) -> list[IdStream]:
        numbers = range(len(self.stored.files))
        return [IdStream(self.stored.told(number), self.stored.told_schema(number)) for number in numbers]


def _items(tables: Iterable[pa.Table]) -> dict[str, StoredItem]:
    items: dict[str, StoredItem] = {}
    for number, table in enumerate(tables):
        items |= stored_items(number, table)
    return items
