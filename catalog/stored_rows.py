"""The embedding files that a partition consists of, read some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from catalog.embedding_file import EmbeddingFile, damaged
from catalog.metadata import comparable
from catalog.snapshot import FileEntry

_TOLD = ("item_id", "image_uri", "source_version", "content_hash", "product_id", "metadata")


@dataclass(frozen=True)
class StoredItem:
    """Where an item's current embedding is: file number in the partition, row in that file; and what it came from.
    `metadata` is as `catalog.metadata.comparable` gives it."""

    file: int
    row: int
    image_uri: str
    source_version: str
    content_hash: bytes
    product_id: str | None
    metadata: tuple[tuple[str, str], ...]


class StoredRows:
    """The files of one partition, opened when they are needed and closed at the end of a `with`. At most a row group of
    each is held."""

    def __init__(self, store: str, files: Sequence[FileEntry]) -> None:
        self.files = files
        self._urls = [storage.join(store, entry.path) for entry in files]
        self._open: dict[int, EmbeddingFile] = {}
        self._last: dict[int, tuple[int, tuple[str, ...], pa.Table]] = {}

    def __enter__(self) -> StoredRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._last.clear()
        for file in self._open.values():
            file.close()

    def schema(self, number: int) -> pa.Schema:
        """Of the columns of a file."""
        return self._file(number).schema

    def told_schema(self, number: int) -> pa.Schema:
        """Of the tables of `told`."""
        schema = self.schema(number)
        return pa.schema([*(schema.field(name) for name in _TOLD if name in schema.names), pa.field("row", pa.int64())])

    def told(self, number: int) -> Iterator[pa.Table]:
        """What a file says of its live rows beside their vectors and pictures, and their `row` in it, in order."""
        file, schema = self._file(number), self.told_schema(number)
        removed = pa.array(self.files[number].removed, pa.string())
        for group in range(len(file.starts) - 1):
            rows = pa.array(np.arange(file.starts[group], file.starts[group + 1]))
            table = file.read(group, _TOLD).append_column("row", rows).select(schema.names).cast(schema)
            yield table.filter(pc.invert(pc.is_in(table["item_id"], value_set=removed))) if len(removed) else table

    def take(self, number: int, rows: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Columns of some rows of a file, in the order given. One that the file does not have is left out.

        Args:
            number: which file.
            rows: int64 [n], ascending positions.
            columns: names.
        """
        file = self._file(number)
        groups = np.searchsorted(file.starts, rows, side="right") - 1
        pieces = []
        for group in np.unique(groups).tolist():
            here = rows[groups == group] - file.starts[group]
            pieces.append(self._group(number, group, tuple(columns)).take(pa.array(here)))
        return pa.concat_tables(pieces)

    def _group(self, number: int, group: int, columns: tuple[str, ...]) -> pa.Table:
        last = self._last.get(number)
        if last is None or last[:2] != (group, columns):
            self._last[number] = last = (group, columns, self._file(number).read(group, columns))
        return last[2]

    def _file(self, number: int) -> EmbeddingFile:
        if number not in self._open:
            self._open[number] = EmbeddingFile(self._urls[number])
            found, expected = int(self._open[number].starts[-1]), self.files[number].rows
            if found != expected:
                raise damaged(self._urls[number], f"it has {found:,} rows where its snapshot says {expected:,}")
        return self._open[number]


def stored_items(number: int, table: pa.Table) -> dict[str, StoredItem]:
    """Rows that `StoredRows.told` gave of a file, by item id."""
    metadata = comparable(table["metadata"] if "metadata" in table.column_names else None, len(table))
    names = ("item_id", "row", "image_uri", "source_version", "content_hash", "product_id")
    rows = zip(*(table[name].to_pylist() for name in names), metadata, strict=True)
    return {row[0]: StoredItem(number, *row[1:]) for row in rows}
